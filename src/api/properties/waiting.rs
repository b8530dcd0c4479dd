//! Waiting and trying again: bounded whatever was asked for, and never beyond the patience.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::super::retry::{backoff, http_date, retry_after};
use super::super::{ErrorKind, LONGEST_WAIT, Policy, Resuming};
use super::{config, failure, hostile_text, some_time};

const SECOND: Duration = Duration::from_secs(1);

/// What one failure of a download comes to: the failure, whether it goes on by range, and for how long nothing moved.
fn step() -> impl Strategy<Value = Option<(super::ApiError, bool, Duration)>> {
    let passing = failure().prop_map(|error| super::ApiError {
        kind: ErrorKind::Interrupted,
        should_retry: None,
        ..error
    });
    let error = prop_oneof![3 => passing, 1 => failure()];
    prop::option::weighted(0.7, (error, any::<bool>(), some_time()))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_wait_is_what_was_asked_for_or_our_own_and_ends_within_the_patience(
        error in failure(),
        attempt in prop_oneof![0..12_u32, any::<u32>()],
        still in some_time(),
        patience in some_time(),
        random in 0.0..1.0_f64,
    ) {
        let policy = Policy { patience };
        let (stood, limit) = match (error.kind, error.line) {
            (ErrorKind::RateLimited, Some(line)) => (still.min(line.quiet), patience * 2),
            (ErrorKind::RateLimited, None) => (still, patience * 2),
            _ => (still, patience),
        };
        // Half a second, doubled up to eight.
        let own_most = SECOND / 2 * (1 << attempt.min(4));
        let Some(wait) = policy.after(&error, attempt, still, random) else {
            let longest = error.retry_after.unwrap_or(own_most);
            prop_assert!(!error.is_transient() || stood + longest >= limit);
            return Ok(());
        };
        prop_assert!(error.is_transient());
        prop_assert!(stood + wait < limit);
        match error.retry_after {
            Some(asked) => prop_assert_eq!(wait, asked),
            None => prop_assert!(wait <= own_most),
        }
    }

    #[test]
    fn who_has_waited_longer_or_has_less_patience_never_gets_more_tries(
        error in failure(),
        attempt in 0..40_u32,
        (still, longer) in (some_time(), some_time()),
        (patience, more) in (some_time(), some_time()),
        (random, chance) in (0.0..1.0_f64, 0.0..1.0_f64),
    ) {
        let after = |still, patience| Policy { patience }.after(&error, attempt, still, random);
        if after(still, patience).is_none() {
            prop_assert_eq!(after(still + longer, patience), None);
        } else {
            prop_assert_eq!(after(still, patience + more), after(still, patience));
        }
        // Our own waits grow with the attempts and with chance; what is asked for does not.
        let asked = error.retry_after;
        let wait = backoff(attempt, asked, random);
        prop_assert!(wait <= LONGEST_WAIT && wait <= backoff(attempt + 1, asked, random));
        let (less, greater) = (random.min(chance), random.max(chance));
        prop_assert!(backoff(attempt, asked, less) <= backoff(attempt, asked, greater));
        prop_assert!(asked.is_none() || wait == backoff(0, asked, chance));
    }

    #[test]
    fn what_made_no_sense_is_not_asked_for_again_unless_the_service_says_so(
        error in failure(),
        attempt in 0..8_u32,
        still in some_time(),
        random in 0.0..1.0_f64,
    ) {
        let policy = Policy { patience: 60 * SECOND };
        let repeated = policy.repeats(&error, attempt, still, random);
        if error.kind == ErrorKind::Nonsense && error.should_retry != Some(true) {
            prop_assert_eq!(repeated, None);
        } else {
            prop_assert_eq!(repeated, policy.after(&error, attempt, still, random));
        }
        if error.should_retry == Some(false) {
            prop_assert_eq!(repeated, None);
        }
    }

    #[test]
    fn trying_ends_when_the_patience_does(
        errors in prop::collection::vec(failure(), 1..4),
        took in 100..5_000_u64,
        patience in 0..60_000_u64,
        random in 0.0..1.0_f64,
    ) {
        let (took, patience) = (Duration::from_millis(took), Duration::from_millis(patience));
        let policy = Policy { patience };
        let mut elapsed = Duration::ZERO;
        for attempt in 0.. {
            elapsed += took;
            let error = &errors[attempt as usize % errors.len()];
            let Some(wait) = policy.repeats(error, attempt, elapsed, random) else {
                break;
            };
            elapsed += wait;
            if error.kind == ErrorKind::RateLimited {
                // Others get through for as long as it takes: here, for no longer.
                prop_assert!(error.line.is_some() || elapsed < policy.patience_with_limits());
                if error.line.is_some() && attempt > 100 {
                    break;
                }
            } else {
                prop_assert!(elapsed < patience);
            }
        }
    }

    #[test]
    fn a_download_is_taken_up_again_a_few_times_and_from_its_front_once(
        steps in prop::collection::vec(step(), 0..24),
        patience in some_time(),
        random in 0.0..1.0_f64,
    ) {
        let mut resuming = Resuming::default();
        let (mut has_begun, mut fruitless, mut from_front) = (false, 0, 0);
        for step in &steps {
            let Some((error, by_range, still)) = step else {
                resuming.moved();
                (has_begun, fruitless) = (true, 0);
                continue;
            };
            let wait = resuming.after(error, *by_range, *still, patience, random);
            if let Some(wait) = wait {
                fruitless += 1;
                from_front += u32::from(!by_range);
                prop_assert!(has_begun && error.is_transient() && error.kind != ErrorKind::Nonsense);
                prop_assert!(fruitless <= 3 && from_front <= 1);
                prop_assert!(*still + wait < patience);
                prop_assert!(wait <= error.retry_after.unwrap_or(8 * SECOND));
            }
        }
    }

    #[test]
    fn whatever_stands_in_retry_after_the_wait_is_an_hour_at_most(
        milliseconds in prop::option::of(hostile_text()),
        after in prop::option::of(hostile_text()),
        now in -62_135_596_800..253_402_000_000_i64,
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let wait = retry_after(milliseconds.as_deref(), after.as_deref(), now);
        prop_assert!(wait.is_none_or(|wait| wait <= LONGEST_WAIT));
        if let Some(date) = after.as_deref().and_then(http_date) {
            prop_assert!(wait.is_some());
            prop_assert!(milliseconds.is_some() || date > now || wait == Some(Duration::ZERO));
        }
    }
}
