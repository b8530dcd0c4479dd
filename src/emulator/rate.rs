//! The rate limit of `--rate`: so many calls a minute, evenly but for a first burst, then 429 and how long to wait.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::workspace::lock;

/// A bucket of calls that fills up steadily.
#[derive(Debug)]
pub(super) struct Bucket {
    /// How long one call takes to come back.
    interval: Duration,
    capacity: Duration,
    /// When the bucket will be full again; not later than `capacity` from now.
    full_at: Mutex<Instant>,
}

impl Bucket {
    /// A full bucket of `burst` calls.
    pub(super) fn new(per_minute: NonZeroU32, burst: NonZeroU32, now: Instant) -> Self {
        let interval = Duration::from_secs(60) / per_minute.get();
        Self {
            interval,
            capacity: interval * burst.get(),
            full_at: Mutex::new(now),
        }
    }

    /// How many calls there are, and how long it takes until the bucket is full.
    pub(super) fn left(&self, now: Instant) -> (u32, Duration) {
        let missing = lock(&self.full_at).saturating_duration_since(now);
        let there = self.capacity.saturating_sub(missing).as_nanos();
        let left = there / self.interval.as_nanos().max(1);
        (u32::try_from(left).unwrap_or(u32::MAX), missing)
    }

    /// Takes a call out, or says when there will be one.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut full_at = lock(&self.full_at);
        let then = (*full_at).max(now) + self.interval;
        match then.checked_duration_since(now + self.capacity) {
            // Rounding of the interval must not cost the last call of a full bucket.
            None | Some(Duration::ZERO) => {
                *full_at = then;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_calls_come_at_once_and_then_one_by_one() {
        for per_minute in [1, 7, 100, 500] {
            let start = Instant::now();
            let per_minute_or_burst = NonZeroU32::new(per_minute).unwrap();
            let bucket = Bucket::new(per_minute_or_burst, per_minute_or_burst, start);
            assert_eq!(bucket.left(start), (per_minute, Duration::ZERO));
            for call in 0..per_minute {
                assert_eq!(bucket.take(start), Ok(()), "{call} of {per_minute}");
            }
            let wait = bucket.take(start).unwrap_err();
            assert!(wait <= Duration::from_secs(60) / per_minute, "{wait:?}");
            let later = start + wait;
            assert_eq!(bucket.take(later), Ok(()));
            assert!(bucket.take(later).is_err());
            let rested = later + Duration::from_secs(600);
            assert_eq!(
                (0..=per_minute)
                    .filter(|_| bucket.take(rested).is_ok())
                    .count(),
                per_minute as usize
            );
        }
    }

    #[test]
    fn a_smaller_burst_comes_at_once_and_the_rest_evenly() {
        let start = Instant::now();
        let number = |number| NonZeroU32::new(number).unwrap();
        let bucket = Bucket::new(number(60), number(3), start);
        for left in [3, 2, 1] {
            assert_eq!(bucket.left(start).0, left);
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.left(start), (0, Duration::from_secs(3)));
        assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
        let rested = start + Duration::from_secs(60);
        assert_eq!(bucket.left(rested), (3, Duration::ZERO));
    }
}
