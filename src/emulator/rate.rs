//! The rate limit of `--rate`: so many calls a minute, all at once or evenly, then 429 and how long to wait.

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
    pub(super) fn new(per_minute: NonZeroU32, now: Instant) -> Self {
        let capacity = Duration::from_secs(60);
        Self {
            interval: capacity / per_minute.get(),
            capacity,
            full_at: Mutex::new(now),
        }
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
            let bucket = Bucket::new(NonZeroU32::new(per_minute).unwrap(), start);
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
}
