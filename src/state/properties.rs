//! Times of the service as times of files: exact where nanoseconds in 64 bits hold them, never a panic.

use std::time::SystemTime;

use jiff::Timestamp;
use proptest::prelude::*;

use super::catalogue::nanos;
use super::system_time;
use crate::api::properties::config;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_time_of_the_service_is_a_files_time(
        second in prop_oneof![
            Timestamp::MIN.as_second()..=Timestamp::MAX.as_second(),
            -9_300_000_000..9_300_000_000_i64,
        ],
        fraction in 0..1_000_000_000_i32,
    ) {
        let time = Timestamp::new(second, fraction).unwrap_or(Timestamp::MAX);
        let exact = time.as_nanosecond();
        let held = nanos(time);
        prop_assert_eq!(i128::from(held), exact.clamp(i64::MIN.into(), i64::MAX.into()));
        let shown = system_time(held);
        let back = match shown.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        prop_assert_eq!(back, i128::from(held));
        // What the database keeps of it.
        let kept = Timestamp::from_microsecond(time.as_microsecond()).expect("a time");
        prop_assert!(kept.duration_until(time).abs() < jiff::SignedDuration::from_micros(1));
    }
}
