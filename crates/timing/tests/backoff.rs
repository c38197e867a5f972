//! Laws of the back-off.

use std::time::Duration;

use proptest::prelude::*;
use timing::Backoff;

#[test]
fn the_ceiling_grows_to_the_cap() {
    let backoff = Backoff::new(Duration::from_millis(500), 2.0, Duration::from_secs(3));
    let ceilings: Vec<u128> = (0..5).map(|attempt| backoff.ceiling(attempt).as_millis()).collect();
    assert_eq!(ceilings, [500, 1_000, 2_000, 3_000, 3_000]);
    assert_eq!(backoff.ceiling(u32::MAX), Duration::from_secs(3));
}

proptest! {
    #[test]
    fn a_delay_is_never_above_its_ceiling(base in 0_u64..100_000, factor in -1.0_f64..10.0, cap in 0_u64..1_000_000, attempt: u32, unit in 0.0_f64..1.0) {
        let backoff = Backoff::new(Duration::from_millis(base), factor, Duration::from_millis(cap));
        prop_assert!(backoff.delay(attempt, unit) <= backoff.ceiling(attempt));
        prop_assert!(backoff.ceiling(attempt) <= Duration::from_millis(cap));
    }

    #[test]
    fn the_ceiling_never_shrinks(base in 1_u64..100_000, factor in 1.0_f64..10.0, attempt in 0_u32..1_000) {
        let backoff = Backoff::new(Duration::from_millis(base), factor, Duration::from_secs(600));
        prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt + 1));
    }
}
