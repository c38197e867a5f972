//! The daily opt-out file, from the sandbox's workflow to typed rows, in every form.

use std::collections::BTreeMap;

use campaign_client::exchange::table::{
    LogDecoder, LogField, LogKind, LogLayout, OptOutDecoder, OptOutLayout, OptOutRow, TableReader, TextForm,
};
use campaign_client::exchange::{Exchange, FileEntry};
use serde_json::{Value, json};

use crate::behaviour::{Server, exports};
use crate::sandboxed::Stage;

impl Stage {
    async fn control(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.sandbox.info().control);
        let response = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn profile(&self, id: &str, fields: &Value) {
        self.sandbox.campaign().put_record("profile", id, fields.as_object().unwrap().clone()).unwrap();
    }
}

async fn rows(exchange: &Exchange, file: &FileEntry) -> Vec<OptOutRow> {
    let reader = exchange.open(&exports(), file).await.unwrap();
    let mut table = TableReader::open(reader, &TextForm::default()).await.unwrap();
    let decoder = OptOutDecoder::new(table.columns(), &OptOutLayout::default()).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = table.next().await.unwrap() {
        rows.push(decoder.decode(&row.unwrap()).unwrap());
    }
    rows
}

fn said(row: &OptOutRow, name: &str) -> (Option<bool>, Option<String>) {
    let attribute = row.attributes.iter().find(|attribute| &*attribute.name == name).unwrap();
    (attribute.value, attribute.modified.map(|time| time.at.format("%F %T").to_string()))
}

#[tokio::test]
async fn the_daily_file_is_read_in_every_form() {
    let stage = Stage::open().await;
    let at = "2026-02-21 09:26:57.584Z";
    stage.profile("c-1", &json!({"blackListEmail": true, "blackListEmailLastModified": at}));
    stage.profile("c-2", &json!({"firstName": "Bo"}));
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let mut seen = BTreeMap::new();
    for separator in ["tab", "comma", "semicolon", "pipe"] {
        for quotes in ["none", "double", "single"] {
            for (dates, booleans, gzip, bom, crlf) in [
                ("slashes", "digits", false, false, false),
                ("iso", "words", true, true, false),
                ("wire", "digits", true, false, true),
            ] {
                let form = json!({"separator": separator, "quotes": quotes, "dates": dates, "booleans": booleans,
                    "gzip": gzip, "bom": bom, "crlf": crlf, "full": true});
                let made = stage.control("/exports/opt-out", &form).await;
                assert_eq!((made["rows"].as_u64(), made["folder"].as_str()), (Some(2), Some("d365_loads/exports")));
                let listing = exchange.list(&exports()).await.unwrap();
                let file = listing.files.iter().find(|file| file.name.as_str() == made["file"]).unwrap();
                let rows = rows(&exchange, file).await;
                assert_eq!(
                    rows.iter().map(|row| row.external_id.as_str()).collect::<Vec<_>>(),
                    ["c-1", "c-2"],
                    "{form}"
                );
                let told = (Some(true), Some("2026-02-21 09:26:57".to_owned()));
                assert_eq!(said(&rows[0], "blackListEmail"), told, "{form}");
                assert_eq!(said(&rows[1], "blackListEmail"), (Some(false), None), "{form}");
                assert!(seen.insert(made["file"].to_string(), form).is_none(), "a name of its own");
            }
        }
    }
    assert_eq!(seen.len(), 36);
}

#[tokio::test]
async fn the_daily_file_holds_what_changed_and_is_complete_at_its_end() {
    let stage = Stage::open().await;
    let opted = |day: &str| json!({"blackList": true, "blackListLastModified": format!("2026-02-{day} 00:00:00.000Z")});
    stage.profile("c-1", &opted("01"));
    stage.profile("c-2", &json!({}));
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let first = stage.control("/exports/opt-out", &json!({})).await;
    assert_eq!(first["rows"], 1, "nobody asked c-2");
    assert_eq!(stage.control("/exports/opt-out", &json!({"skip_empty": true})).await["file"], Value::Null);
    stage.profile("c-2", &opted("02"));
    let held = stage.control("/exports/opt-out", &json!({"hold": true})).await;
    assert_eq!(held["rows"], 1);
    let name = |listing: &campaign_client::exchange::Listing| {
        listing.files.iter().find(|file| file.name.as_str() == held["file"]).unwrap().clone()
    };
    let half = name(&exchange.list(&exports()).await.unwrap());
    stage.control("/exports/finish", &json!({})).await;
    let whole = name(&exchange.list(&exports()).await.unwrap());
    assert!(half.size < whole.size);
    let rows = rows(&exchange, &whole).await;
    assert_eq!(rows.iter().map(|row| row.external_id.as_str()).collect::<Vec<_>>(), ["c-2"]);
    assert_eq!(said(&rows[0], "blackList"), (Some(true), Some("2026-02-02 00:00:00".to_owned())));
}

#[tokio::test]
async fn exported_logs_are_the_events_that_were_made() {
    let stage = Stage::open().await;
    stage.control("/mutate", &json!({"side": "dataverse", "table": "contact", "create": 5, "seed": 3})).await;
    stage.control("/events", &json!({"send": 6, "open": 2, "click": 2, "bounce": 1, "seed": 7})).await;
    let made = stage.control("/exports/logs", &json!({"separator": "tab", "dates": "iso", "gzip": true})).await;
    assert_eq!(made["rows"], 11);
    let exchange = Exchange::connect(stage.config()).await.unwrap();
    let file = exchange.list(&exports()).await.unwrap().files.remove(0);
    let reader = exchange.open(&exports(), &file).await.unwrap();
    let mut table = TableReader::open(reader, &TextForm::default()).await.unwrap();
    let decoder = LogDecoder::new(table.columns(), &LogLayout::default()).unwrap();
    let mut kinds: BTreeMap<LogKind, usize> = BTreeMap::new();
    while let Some(row) = table.next().await.unwrap() {
        let event = decoder.decode(&row.unwrap()).unwrap().unwrap();
        assert!(event.get(LogField::ExternalId).is_some() && event.get(LogField::DeliveryName).is_some());
        assert_eq!(event.get(LogField::Url).is_some(), event.kind == LogKind::Click);
        *kinds.entry(event.kind).or_default() += 1;
    }
    let expected = [(LogKind::Send, 6), (LogKind::Open, 2), (LogKind::Click, 2), (LogKind::Bounce, 1)];
    assert_eq!(kinds, expected.into());
    assert_eq!(stage.control("/exports/logs", &json!({})).await["rows"], 0, "each event is exported once");
}
