//! Positions: opaque texts, each of which stands for the number of deliveries before it.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const SECRET: u64 = 0x6d6f_6f73_6531_3131;

/// The position behind so many deliveries.
pub(super) fn write(after: u64) -> String {
    format!("moose:{after:010x}:{:016x}", check(after))
}

/// Reads a position; none when it was never handed out.
pub(super) fn read(text: &str) -> Option<u64> {
    let (after, sum) = text.strip_prefix("moose:")?.split_once(':')?;
    let (after, sum) = (u64::from_str_radix(after, 16).ok()?, u64::from_str_radix(sum, 16).ok()?);
    (sum == check(after)).then_some(after)
}

fn check(after: u64) -> u64 {
    xxh3_64_with_seed(&after.to_le_bytes(), SECRET)
}

/// Milliseconds of a negative ISO 8601 duration of days, hours, minutes and seconds (`-P5DT2H`); none for anything else.
pub(super) fn read_seek(text: &str) -> Option<i64> {
    let text = text.strip_prefix("-P")?;
    let (days, time) = match text.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let days = match days {
        "" => 0,
        days => days.strip_suffix('D')?.parse::<u32>().ok()?.into(),
    };
    let (mut seconds, mut rest) = (days * 86_400_i64, time);
    for (unit, length) in [('H', 3600), ('M', 60), ('S', 1)] {
        if let Some((number, more)) = rest.split_once(unit) {
            seconds += i64::from(number.parse::<u32>().ok()?) * length;
            rest = more;
        }
    }
    rest.is_empty().then_some(seconds * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_nothing_else_is() {
        for after in [0, 1, 77, u64::from(u32::MAX)] {
            assert_eq!(read(&write(after)), Some(after));
        }
        let forged = write(7).replace("0000000007", "0000000008");
        assert!(["", "moose", "moose:1:2", "1", forged.as_str()].iter().all(|text| read(text).is_none()));
    }

    #[test]
    fn durations_are_negative_and_end_with_a_unit() {
        let hour = 3_600_000;
        assert_eq!(read_seek("-PT2H"), Some(2 * hour));
        assert_eq!(read_seek("-P1D"), Some(24 * hour));
        assert_eq!(read_seek("-P5DT2H"), Some(122 * hour));
        assert_eq!(read_seek("-PT1H1M1S"), Some(hour + 61_000));
        let wrong = ["", "PT2H", "-P", "-PT", "-P1", "-PT2", "-PT2HX", "-P1DT", "-PT1M2H", "-PT-1H"];
        assert!(wrong.iter().all(|text| read_seek(text).is_none()));
    }
}
