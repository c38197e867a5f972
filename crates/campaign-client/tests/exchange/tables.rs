//! Tables in every form of the extract activity, refused rows, and laws.

use campaign_client::exchange::table::{
    ColumnMap, HumanWriter, LogDecoder, LogField, LogKind, LogKindRule, LogLayout, OptOutColumns, OptOutDecoder,
    OptOutLayout, Quotes, Row, RowError, RowErrorKind, Separator, TableLimits, TableReader, TableWriter, TextForm,
    TimePrecision, WriteForm,
};
use campaign_client::exchange::{ExchangeError, ExchangeErrorKind, Limit};
use proptest::prelude::*;

type Rows = Vec<Result<Row, RowError>>;

/// Reads all of it, a few bytes at a time, so that every border falls everywhere.
fn read_in(content: &[u8], form: &TextForm, step: usize) -> Result<(Vec<String>, Rows), ExchangeError> {
    let chunks: Vec<Result<bytes::Bytes, std::io::Error>> =
        content.chunks(step.max(1)).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
    let reader = tokio_util::io::StreamReader::new(futures::stream::iter(chunks));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut table = TableReader::open(reader, form).await?;
        let mut rows = Vec::new();
        while let Some(row) = table.next().await? {
            rows.push(row);
        }
        Ok((table.columns().to_vec(), rows))
    })
}

fn read(content: &[u8], form: &TextForm) -> Result<(Vec<String>, Rows), ExchangeError> {
    read_in(content, form, 1 << 20)
}

fn cells(row: &Row) -> Vec<String> {
    row.iter().map(str::to_owned).collect()
}

/// Values of the rows that were taken, and lines with reasons of those that were not.
fn told(rows: &Rows) -> (Vec<Vec<String>>, Vec<(u64, &'static str)>) {
    let taken = rows.iter().flatten().map(cells).collect();
    let refused =
        rows.iter().filter_map(|row| row.as_ref().err()).map(|error| (error.line, error.kind.code())).collect();
    (taken, refused)
}

fn sniffed() -> TextForm {
    TextForm::default()
}

#[test]
fn every_form_of_the_extract_activity_is_read() {
    let expected = vec![vec!["c-1".to_owned(), "a b".to_owned(), String::new()]];
    for separator in ["\t", ",", ";", "|"] {
        for quote in ["", "\"", "'"] {
            for end in ["\n", "\r\n"] {
                for mark in ["", "\u{feff}"] {
                    let line =
                        |values: [&str; 3]| values.map(|value| format!("{quote}{value}{quote}")).join(separator) + end;
                    let text = format!("{mark}{}{}", line(["id", "name", "at"]), line(["c-1", "a b", ""]));
                    for content in [text.as_str(), text.trim_end_matches(['\r', '\n'])] {
                        let (columns, rows) = read(content.as_bytes(), &sniffed()).unwrap();
                        assert_eq!(columns, ["id", "name", "at"], "{content:?}");
                        assert_eq!(told(&rows), (expected.clone(), vec![]), "{content:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_without_a_header_line_has_its_columns_from_the_configuration() {
    let columns = Some(vec!["id".to_owned(), "name".to_owned()]);
    let form = TextForm { separator: Some(Separator::Semicolon), columns: columns.clone(), ..TextForm::default() };
    let (found, rows) = read(b"c-1;Ida\nc-2;\"Bo;\"\n", &form).unwrap();
    assert_eq!(found, ["id", "name"]);
    assert_eq!(told(&rows).0, [["c-1", "Ida"], ["c-2", "Bo;"]]);
    assert_eq!(rows[0].as_ref().unwrap().line(), 1);
    let (_, rows) = read(b"", &form).unwrap();
    assert!(rows.is_empty());
    let error = read(b"c-1;Ida\n", &TextForm { columns, ..TextForm::default() }).unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Configuration);
}

#[test]
fn a_refused_row_is_one_error_and_the_next_one_follows() {
    let content = b"id,name\nc-1,Ida\nc-2\nc-3,a,b\nc-4,\0\nc-5,\xff\n\n\r\nc-6,Bo\nc-7,\"two\nlines\"\nc-8,\n";
    for step in [1, 2, 3, 7, 1000] {
        let (_, rows) = read_in(content, &sniffed(), step).unwrap();
        let (taken, refused) = told(&rows);
        assert_eq!(taken, [["c-1", "Ida"], ["c-6", "Bo"], ["c-7", "two\nlines"], ["c-8", ""]]);
        assert_eq!(refused, [(3, "column_count"), (4, "column_count"), (5, "nul"), (6, "not_utf8")]);
        assert_eq!(rows.last().unwrap().as_ref().unwrap().line(), 12);
    }
}

#[test]
fn a_quote_that_does_not_end_costs_its_line_alone() {
    let form = TextForm { limits: TableLimits { line: 64, ..TableLimits::default() }, ..TextForm::default() };
    let mut content = b"id,name\nc-1,\"open\n".to_vec();
    for number in 2..20 {
        content.extend(format!("c-{number},x\n").into_bytes());
    }
    let (_, rows) = read(&content, &form).unwrap();
    assert_eq!((told(&rows).0.len(), told(&rows).1), (18, vec![(2, "too_long")]));
    // The same near the end, where the end of the file comes before the limit.
    let (_, rows) = read(b"id,name\nc-1,a\nc-2,\"open\nc-3,b\nc-4,\"open", &sniffed()).unwrap();
    let (taken, refused) = told(&rows);
    assert_eq!(taken, [["c-1", "a"], ["c-3", "b"]]);
    assert_eq!(refused, [(3, "stray_quote"), (5, "open_quote")]);
    // Two open quotes do not swallow what is between them; text behind a quoted value is not joined to it.
    let (_, rows) = read(b"id,name\n\"c-1,a\nc-2,b\n\"c-3\",c\nc-4,\"x\"y\nc-5,\"d\"\r\n", &sniffed()).unwrap();
    let (taken, refused) = told(&rows);
    assert_eq!(taken, [["c-2", "b"], ["c-3", "c"], ["c-5", "d"]]);
    assert_eq!(refused, [(2, "stray_quote"), (5, "stray_quote")]);
}

#[test]
fn a_line_beyond_the_limit_is_skipped_in_bounded_memory() {
    let form = TextForm { limits: TableLimits { line: 100, ..TableLimits::default() }, ..TextForm::default() };
    let mut content = b"id\tname\nc-1\t".to_vec();
    content.extend(vec![b'x'; 3 << 20]);
    content.extend(b"\nc-2\tBo\n");
    let (_, rows) = read_in(&content, &form, 8000).unwrap();
    assert_eq!(told(&rows), (vec![vec!["c-2".to_owned(), "Bo".to_owned()]], vec![(2, "too_long")]));
}

#[test]
fn limits_of_the_whole_table_end_it_with_a_name() {
    let limited = |limits| TextForm { limits, ..TextForm::default() };
    let limit = |content: &[u8], limits| read(content, &limited(limits)).unwrap_err().kind();
    let base = TableLimits::default();
    let wide = vec!["c"; 513].iter().enumerate().map(|(at, name)| format!("{name}{at}")).collect::<Vec<_>>().join(",");
    assert_eq!(limit(wide.as_bytes(), base), ExchangeErrorKind::Limit(Limit::Columns));
    let wider = vec!["c"; 9000].join(",");
    assert_eq!(limit(wider.as_bytes(), base), ExchangeErrorKind::Limit(Limit::Columns));
    assert_eq!(limit(b"a\n1\n2\n3\n", TableLimits { rows: 2, ..base }), ExchangeErrorKind::Limit(Limit::Rows));
    let long = vec![b'x'; 200 << 10];
    assert_eq!(limit(&long, TableLimits { line: 1000, ..base }), ExchangeErrorKind::Limit(Limit::Line));
    // Lines that never close a quote, whether they are read from inside one or from outside.
    let storm = [b"a,b\n".as_slice(), &b"\"x\"y,\"z\n".repeat(100_000)].concat();
    let small = TableLimits { line: 10_000, rescan: 1 << 20, ..base };
    assert_eq!(limit(&storm, small), ExchangeErrorKind::Limit(Limit::Rescan));
    for wrong in [&b""[..], b"\n\n", b"a,,b\n", b"a,b,a\n", b"\xff,a\n", b"\"a,b"] {
        assert_eq!(limit(wrong, base), ExchangeErrorKind::Layout, "{wrong:?}");
    }
    assert_eq!(limit(b"a;b,c\n", base), ExchangeErrorKind::Layout, "two separators are as likely");
}

fn first(content: &str) -> (Vec<String>, Row) {
    let (columns, rows) = read(content.as_bytes(), &sniffed()).unwrap();
    (columns, rows.into_iter().next().unwrap().unwrap())
}

#[test]
fn opt_outs_are_read_by_the_contract() {
    let header = "externalId,blackList,blackListLastModified,blackListAllLastModified,denyListEmail,denyListEmailLastModified,\
                  ccpaOptOut,firstName";
    let (columns, row) = first(&format!("{header}\nc-1,1,2026/02/21 09:26:57,2026-02-22 00:00:00.500Z,FALSE,,,Ida\n"));
    let row = OptOutDecoder::new(&columns, &OptOutLayout::default()).unwrap().decode(&row).unwrap();
    assert_eq!((row.external_id.as_str(), row.line), ("c-1", 2));
    let told: Vec<_> = row
        .attributes
        .iter()
        .map(|a| (&*a.name, a.value, a.modified.map(|time| (time.at.to_rfc3339(), time.precision))))
        .collect();
    let later = ("2026-02-22T00:00:00.500+00:00".to_owned(), TimePrecision::Fraction);
    assert_eq!(
        told,
        [("blackList", Some(true), Some(later)), ("blackListEmail", Some(false), None), ("ccpaOptOut", None, None)]
    );
}

#[test]
fn half_a_row_of_opt_outs_is_no_row() {
    let header = "externalId,blackListEmail,blackListEmailLastModified";
    let decode = |line: &str| {
        let (columns, row) = first(&format!("{header}\n{line}\n"));
        OptOutDecoder::new(&columns, &OptOutLayout::default()).unwrap().decode(&row).map_err(|error| error.kind)
    };
    assert_eq!(decode(" ,1,"), Err(RowErrorKind::NoKey));
    assert_eq!(decode("c-1,yes,"), Err(RowErrorKind::NotBoolean { column: "blackListEmail".to_owned() }));
    let column = "blackListEmailLastModified".to_owned();
    assert_eq!(decode("c-1,1,yesterday"), Err(RowErrorKind::NotTime { column }));
    for header in ["id,blackList", "externalId,firstName", "externalId,blackListEmail,denyListEmail"] {
        let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
        let error = OptOutDecoder::new(&columns, &OptOutLayout::default()).unwrap_err();
        assert_eq!(error.kind(), ExchangeErrorKind::Layout, "{header}");
    }
}

#[test]
fn opt_outs_of_another_layout_are_read_by_a_map() {
    let layout = OptOutLayout {
        external_id: "crm".to_owned(),
        attributes: Some(vec![OptOutColumns {
            attribute: "blackListEmail".to_owned(),
            value: "no mail".to_owned(),
            modified: Some("since".to_owned()),
        }]),
        offset: chrono::FixedOffset::east_opt(3600).unwrap(),
    };
    let (columns, row) = first("since\tno mail\tcrm\n2026/02/21 09:26:57\ttrue\tc-1\n");
    let row = OptOutDecoder::new(&columns, &layout).unwrap().decode(&row).unwrap();
    let attribute = &row.attributes[0];
    assert_eq!((&*attribute.name, attribute.value), ("blackListEmail", Some(true)));
    assert_eq!(attribute.modified.unwrap().at.to_rfc3339(), "2026-02-21T08:26:57+00:00");
    let error = OptOutDecoder::new(&["crm".to_owned()], &layout).unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Layout);
}

#[test]
fn logs_are_read_by_the_default_columns_and_by_any_map() {
    let content =
        "eventType;timestamp;externalId;url;deliveryName\nclick;2026-02-21T09:26:57.584Z;c-1;https://x/?a=1;DM190\n";
    let (columns, row) = first(content);
    let decoder = LogDecoder::new(&columns, &LogLayout::default()).unwrap();
    let event = decoder.decode(&row).unwrap().unwrap();
    assert_eq!((event.kind, event.get(LogField::Url)), (LogKind::Click, Some("https://x/?a=1")));
    assert_eq!((event.get(LogField::DeliveryName), event.get(LogField::Email)), (Some("DM190"), None));

    let map = ColumnMap::default()
        .with(LogField::At, "logDate")
        .with(LogField::ExternalId, "@externalId")
        .with(LogField::Kind, "url-id");
    let words = [("1".to_owned(), LogKind::Open)].into();
    let layout = LogLayout {
        columns: map.clone(),
        kind: LogKindRule::Words { words, ignore_others: true },
        ..LogLayout::default()
    };
    let (columns, rows) =
        read(b"url-id\tlogDate\t@externalId\n1\t2026/02/21 09:26:57\tc-1\n7\t2026/02/21 09:26:57\tc-1\n", &sniffed())
            .unwrap();
    let decoder = LogDecoder::new(&columns, &layout).unwrap();
    let kinds: Vec<_> = rows.iter().flatten().map(|row| decoder.decode(row).unwrap().map(|event| event.kind)).collect();
    assert_eq!(kinds, [Some(LogKind::Open), None]);
    let fixed = LogLayout { columns: map, kind: LogKindRule::Fixed(LogKind::Send), ..LogLayout::default() };
    let event = LogDecoder::new(&columns, &fixed).unwrap().decode(rows[1].as_ref().unwrap()).unwrap().unwrap();
    assert_eq!(event.kind, LogKind::Send);

    let (columns, row) = first("eventType,timestamp\nlike,2026-02-21T09:26:57Z\n");
    let refused = LogDecoder::new(&columns, &LogLayout::default()).unwrap().decode(&row).unwrap_err();
    assert_eq!(refused.kind, RowErrorKind::UnknownKind);
    let error = LogDecoder::new(&["eventType".to_owned()], &LogLayout::default()).unwrap_err();
    assert_eq!(error.kind(), ExchangeErrorKind::Layout);
    assert!(error.to_string().contains("timestamp"));
}

#[test]
fn what_a_machine_could_not_read_back_is_not_written() {
    let form = |quotes| WriteForm { quotes, ..WriteForm::default() };
    for (quotes, value) in [
        (Quotes::None, "a\tb"),
        (Quotes::None, "a\nb"),
        (Quotes::None, "a\rb"),
        (Quotes::None, ""),
        (Quotes::Double, "a\0b"),
        (Quotes::Double, "\u{feff}a"),
    ] {
        let error = TableWriter::new(form(quotes)).write(&[value]).unwrap_err();
        assert_eq!(error.kind(), ExchangeErrorKind::Unrepresentable, "{value:?}");
    }
}

#[test]
fn only_files_for_people_are_guarded_against_formulas() {
    let cells = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\0=1",
        "＝1",
        "－1",
        " =1",
        "\u{feff}=1",
        "\n@x",
        "plain",
        "1-2",
        "a=b",
        "",
    ];
    let mut human = HumanWriter::new();
    human.write(&cells).unwrap();
    let text = String::from_utf8(human.finish().unwrap()).unwrap();
    let (_, rows) = read(
        text.as_bytes(),
        &TextForm {
            separator: Some(Separator::Comma),
            quotes: Some(Quotes::Double),
            columns: Some((0..cells.len()).map(|at| format!("c{at}")).collect()),
            ..TextForm::default()
        },
    )
    .unwrap();
    // The NUL alone keeps the reader from taking the row; the text is looked at instead.
    assert_eq!(rows[0].as_ref().unwrap_err().kind, RowErrorKind::Nul);
    for dangerous in &cells[..12] {
        assert!(text.contains(&format!("'{dangerous}")), "{dangerous:?}");
    }
    for harmless in &cells[12..15] {
        assert!(text.contains(harmless) && !text.contains(&format!("'{harmless}")), "{harmless:?}");
    }
    assert_eq!(HumanWriter::file_name("status"), "status.human.csv");

    let mut machine = TableWriter::new(WriteForm::default());
    machine.write(&["=1+1", "-1"]).unwrap();
    assert_eq!(machine.finish().unwrap(), b"=1+1\t-1\n");
}

fn form_strategy() -> impl Strategy<Value = WriteForm> {
    let separators = prop::sample::select(Separator::ALL.to_vec());
    let quotes = prop::sample::select(vec![Quotes::Double, Quotes::Single]);
    (separators, quotes, any::<bool>()).prop_map(|(separator, quotes, crlf)| WriteForm { separator, quotes, crlf })
}

proptest! {
    #[test]
    fn a_machine_file_comes_back_exactly(
        form in form_strategy(),
        rows in prop::collection::vec(prop::collection::vec("[\\PC\\n\\r\t\"',;|=]{0,12}", 3), 0..8),
        step in 1_usize..40,
    ) {
        let mut writer = TableWriter::new(form);
        writer.write(&["a", "b", "c"]).unwrap();
        for row in &rows {
            writer.write(row).unwrap();
        }
        let content = writer.finish().unwrap();
        let text = TextForm { separator: Some(form.separator), quotes: Some(form.quotes), ..TextForm::default() };
        let (columns, found) = read_in(&content, &text, step).unwrap();
        prop_assert_eq!(columns, ["a", "b", "c"]);
        let (taken, refused) = told(&found);
        prop_assert_eq!(refused, vec![]);
        prop_assert_eq!(taken, rows);
    }

    #[test]
    fn a_file_without_quotes_comes_back_exactly(
        separator in prop::sample::select(Separator::ALL.to_vec()),
        rows in prop::collection::vec(prop::collection::vec("[a-z\"' =é]{0,12}", 2), 0..8),
    ) {
        let mut writer = TableWriter::new(WriteForm { separator, quotes: Quotes::None, crlf: false });
        for row in &rows {
            writer.write(row).unwrap();
        }
        let text = TextForm {
            separator: Some(separator),
            quotes: Some(Quotes::None),
            columns: Some(vec!["a".to_owned(), "b".to_owned()]),
            ..TextForm::default()
        };
        let (_, found) = read(&writer.finish().unwrap(), &text).unwrap();
        prop_assert_eq!(told(&found), (rows, vec![]));
    }

    #[test]
    fn any_bytes_are_rows_errors_or_an_end(
        content in prop::collection::vec(prop::sample::select(b"a\"',;|\t\r\n\0\xc3\xa9\xff\xef\xbb\xbf1".to_vec()), 0..400),
        step in 1_usize..50,
        line in 1_usize..80,
        known in any::<bool>(),
    ) {
        let limits = TableLimits { line, columns: 6, rows: 1000, rescan: 100_000 };
        let columns = known.then(|| vec!["a".to_owned(), "b".to_owned()]);
        let form = TextForm { separator: known.then_some(Separator::Comma), columns, limits, ..TextForm::default() };
        if let Ok((columns, rows)) = read_in(&content, &form, step) {
            let whole = read_in(&content, &form, 1 << 20).unwrap();
            prop_assert_eq!(&whole, &(columns.clone(), rows.clone()), "how the bytes arrive makes no difference");
            let mut before = 0;
            for row in rows {
                let number = match &row {
                    Ok(row) => {
                        prop_assert_eq!(row.len(), columns.len());
                        row.line()
                    }
                    Err(error) => error.line,
                };
                prop_assert!(number > before, "lines grow: {} after {}", number, before);
                before = number;
            }
            let decoded = OptOutDecoder::new(&columns, &OptOutLayout::default());
            prop_assert!(decoded.is_err(), "no opt-out columns");
        }
    }
}
