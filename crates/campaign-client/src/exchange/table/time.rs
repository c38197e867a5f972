use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// How exactly a file says a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimePrecision {
    /// A day; the time is its first moment.
    Day,
    /// A second.
    Second,
    /// A fraction of a second, kept to the nanosecond.
    Fraction,
}

/// A time in a file. Before it is compared with a finer one, both are to be cut to [`FileTime::precision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTime {
    /// The time.
    pub at: DateTime<Utc>,
    /// How exactly it was given.
    pub precision: TimePrecision,
}

/// Digits at the front, as a number.
fn number(text: &mut &[u8], digits: usize) -> Option<u32> {
    let (front, rest) = text.split_at_checked(digits)?;
    let value = front
        .iter()
        .try_fold(0_u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))?;
    *text = rest;
    Some(value)
}

fn skip(text: &mut &[u8], wanted: u8) -> Option<()> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    (*first == wanted).then_some(())
}

impl FileTime {
    /// Reads a date, or a date and time, in the forms of the extract activity and of the API: `2026/02/21 09:26:57`,
    /// `2026-02-21 09:26:57.584Z`, ISO 8601 with `T`, with `Z`, an offset or nothing. `offset` is that of a time that names none.
    /// Everything else is `None`: no guessing, no leap second, no blank around it.
    #[must_use]
    pub fn parse(text: &str, offset: FixedOffset) -> Option<Self> {
        let mut rest = text.as_bytes();
        let year = i32::try_from(number(&mut rest, 4)?).ok()?;
        let dash = *rest.first().filter(|byte| matches!(byte, b'/' | b'-'))?;
        skip(&mut rest, dash)?;
        let month = number(&mut rest, 2)?;
        skip(&mut rest, dash)?;
        let date = NaiveDate::from_ymd_opt(year, month, number(&mut rest, 2)?)?;
        if rest.is_empty() {
            return Self::at(date.and_time(NaiveTime::MIN), offset, TimePrecision::Day);
        }
        if !matches!(rest.first(), Some(b' ' | b'T')) {
            return None;
        }
        rest = rest.get(1..)?;
        let hour = number(&mut rest, 2)?;
        skip(&mut rest, b':')?;
        let minute = number(&mut rest, 2)?;
        skip(&mut rest, b':')?;
        let second = number(&mut rest, 2)?;
        let mut precision = TimePrecision::Second;
        let mut nanos = 0;
        if rest.first() == Some(&b'.') {
            rest = rest.get(1..)?;
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            precision = TimePrecision::Fraction;
            nanos = number(&mut rest, digits)?;
            for _ in digits..9 {
                nanos *= 10;
            }
        }
        let time = date.and_time(NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?);
        let offset = match rest {
            [] => offset,
            [b'Z'] => FixedOffset::east_opt(0)?,
            [sign @ (b'+' | b'-'), ..] => {
                let mut rest = rest.get(1..)?;
                let hours = number(&mut rest, 2)?;
                if rest.first() == Some(&b':') {
                    rest = rest.get(1..)?;
                }
                let minutes = number(&mut rest, 2)?;
                if !rest.is_empty() || hours > 14 || minutes > 59 {
                    return None;
                }
                let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
                FixedOffset::east_opt(if *sign == b'-' { -seconds } else { seconds })?
            }
            _ => return None,
        };
        Self::at(time, offset, precision)
    }

    fn at(time: NaiveDateTime, offset: FixedOffset, precision: TimePrecision) -> Option<Self> {
        let at = time.and_local_timezone(offset).single()?.with_timezone(&Utc);
        Some(Self { at, precision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utc() -> FixedOffset {
        FixedOffset::east_opt(0).unwrap()
    }

    fn read(text: &str) -> Option<(String, TimePrecision)> {
        FileTime::parse(text, utc()).map(|time| (time.at.to_rfc3339(), time.precision))
    }

    #[test]
    fn every_published_form_is_read() {
        use TimePrecision::{Day, Fraction, Second};
        for (text, at, precision) in [
            ("2026/02/21 09:26:57", "2026-02-21T09:26:57+00:00", Second),
            ("2026-02-21 09:26:57.584Z", "2026-02-21T09:26:57.584+00:00", Fraction),
            ("2026-02-21T09:26:57Z", "2026-02-21T09:26:57+00:00", Second),
            ("2026-02-21T09:26:57.5+02:00", "2026-02-21T07:26:57.500+00:00", Fraction),
            ("2026-02-21T09:26:57-0330", "2026-02-21T12:56:57+00:00", Second),
            ("2026-02-21", "2026-02-21T00:00:00+00:00", Day),
            ("2026/02/21", "2026-02-21T00:00:00+00:00", Day),
        ] {
            assert_eq!(read(text), Some((at.to_owned(), precision)), "{text}");
        }
        let paris = FixedOffset::east_opt(3600).unwrap();
        let there = FileTime::parse("2026/02/21 09:26:57", paris).unwrap();
        assert_eq!(there.at.to_rfc3339(), "2026-02-21T08:26:57+00:00");
        assert_eq!(
            FileTime::parse("2026-02-21T09:26:57Z", paris).unwrap().at.to_rfc3339(),
            "2026-02-21T09:26:57+00:00"
        );
    }

    #[test]
    fn nothing_is_guessed() {
        for text in [
            "",
            " ",
            "21/02/2026",
            "02/21/2026 09:26:57",
            "2026-2-21",
            "2026-02-30",
            "2026/02-21",
            "2026-02-21 9:26:57",
            "2026-02-21 24:00:00",
            "2026-02-21 09:26:60",
            "2026-02-21 09:26",
            "2026-02-21 09:26:57 ",
            " 2026-02-21",
            "2026-02-21 09:26:57.",
            "2026-02-21 09:26:57.0123456789",
            "2026-02-21 09:26:57z",
            "2026-02-21 09:26:57+15:00",
            "2026-02-21 09:26:57+0",
            "+2026-02-21",
            "２０２６-02-21",
            "292277026596-01-01",
            "20260221",
            "now",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = FileTime::parse(&text, utc());
        }

        #[test]
        fn what_is_written_is_read(seconds in 0_i64..4_102_444_800, millis in 0_u32..1000) {
            let at = DateTime::from_timestamp(seconds, millis * 1_000_000).unwrap();
            let whole = DateTime::from_timestamp(seconds, 0).unwrap();
            for (form, expected) in [
                ("%Y/%m/%d %H:%M:%S", whole), ("%Y-%m-%d %H:%M:%S%.3fZ", at), ("%Y-%m-%dT%H:%M:%S%.3f", at),
                ("%Y-%m-%dT%H:%M:%SZ", whole),
            ] {
                let text = at.format(form).to_string();
                prop_assert_eq!(FileTime::parse(&text, utc()).unwrap().at, expected, "{}", text);
            }
        }
    }
}
