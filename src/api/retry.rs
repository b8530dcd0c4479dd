//! How long to wait before the next try, by what the service asks for and by chance; and how a download is taken up again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::{ApiError, ErrorKind};

/// The longest wait a server can ask for; more is taken for a mistake.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The first wait of our own.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait of our own.
const OWN_LONGEST: Duration = Duration::from_secs(8);

/// How long to wait after failed attempt number `attempt` (the first is 0).
///
/// What the server asked for is obeyed; else 0.5 s, doubled each time up to 8 s, times `random` of 0..1 ("full jitter":
/// clients that failed together must not come back together).
#[must_use]
pub(super) fn backoff(attempt: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(LONGEST_WAIT);
    }
    let doubled = FIRST_WAIT.saturating_mul(1 << attempt.min(16));
    doubled.min(OWN_LONGEST).mul_f64(random.clamp(0.0, 1.0))
}

/// What a refusal's headers say of the next attempt: `retry-after-ms` first, then `retry-after` in seconds (whole or
/// not) or as a date, which is read by the server's own clock where it sent one.
pub(crate) fn retry_after(
    milliseconds: Option<&str>,
    after: Option<&str>,
    now: Timestamp,
) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let seconds = milliseconds
        .and_then(number)
        .map(|ms| ms / 1000.0)
        .or_else(|| after.and_then(number))
        .or_else(|| Some(http_date(after?)?.duration_since(now).as_secs_f64()))?;
    Some(Duration::from_secs_f64(
        seconds.clamp(0.0, LONGEST_WAIT.as_secs_f64()),
    ))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as `date` and `retry-after` carry it.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

/// Time and chance, passed in so that no test has to wait for either.
pub trait Pace {
    /// The time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// Lets time pass.
    fn sleep(&self, wait: Duration);
    /// A number of 0..1.
    fn random(&self) -> f64;
}

/// The time of this machine, which does not run while it is suspended, and chance.
#[derive(Debug, Clone, Copy)]
pub struct SystemPace {
    begun: Instant,
}

impl SystemPace {
    /// Starts counting now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }
}

impl Default for SystemPace {
    fn default() -> Self {
        Self::new()
    }
}

impl Pace for SystemPace {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn sleep(&self, wait: Duration) {
        std::thread::sleep(wait);
    }

    fn random(&self) -> f64 {
        // Every `RandomState` hashes differently. Good enough to spread clients, and nothing else is asked of it.
        let bits = RandomState::new().hash_one(self.now());
        f64::from((bits >> 32) as u32) / (f64::from(u32::MAX) + 1.0)
    }
}

/// How often a download is taken up again that brings nothing new.
const FRUITLESS: u32 = 3;

/// How a download is taken up again that broke off in its middle. One that never began is not: its failure is the
/// answer.
#[derive(Debug, Clone, Default)]
pub struct Resuming {
    has_begun: bool,
    /// Tries since something new came.
    fruitless: u32,
    /// Tries from the file's front, where the service does not honour ranges: each moves all again.
    from_front: u32,
}

impl Resuming {
    /// Something new has come.
    pub fn moved(&mut self) {
        self.has_begun = true;
        self.fruitless = 0;
    }

    /// How long to wait before it is taken up again after `error`; `None`: no more. `by_range`: from where it broke off;
    /// otherwise from the front, which is done once. Nothing has moved for `still`, and `patience` is not outlasted.
    pub fn after(
        &mut self,
        error: &ApiError,
        by_range: bool,
        still: Duration,
        patience: Duration,
        random: f64,
    ) -> Option<Duration> {
        let is_passing = error.is_transient() && error.kind != ErrorKind::Nonsense;
        let is_spent = self.fruitless == FRUITLESS || (!by_range && self.from_front > 0);
        if !self.has_begun || !is_passing || is_spent {
            return None;
        }
        let wait = match self.fruitless {
            // A connection that was cut is no sign of a service in trouble.
            0 => error.retry_after.unwrap_or_default(),
            tries => backoff(tries - 1, error.retry_after, random),
        };
        if still + wait >= patience {
            return None;
        }
        self.fruitless += 1;
        self.from_front += u32::from(!by_range);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_and_end_at_eight_seconds() {
        let milliseconds = [500, 1000, 2000, 4000, 8000, 8000, 8000];
        for (attempt, expected) in (0..).zip(milliseconds) {
            let expected = Duration::from_millis(expected);
            assert_eq!(backoff(attempt, None, 1.0), expected);
            assert_eq!(backoff(attempt, None, 0.5), expected / 2);
            assert_eq!(backoff(attempt, None, 0.0), Duration::ZERO);
        }
        assert_eq!(backoff(u32::MAX, None, 1.0), OWN_LONGEST);
        assert_eq!(backoff(7, Some(3 * SECOND), 0.1), 3 * SECOND);
        assert_eq!(backoff(0, Some(Duration::MAX), 0.1), LONGEST_WAIT);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let second = |seconds: f64| Some(Duration::from_secs_f64(seconds));
        #[rustfmt::skip]
        let table = [
            (None, None, None),
            (None, Some("5"), second(5.0)),
            (None, Some(" 0.25 "), second(0.25)),
            (Some("1500"), Some("5"), second(1.5)),
            (Some("soon"), Some("5"), second(5.0)),
            (None, Some("Sun, 06 Nov 1994 08:50:07 GMT"), second(30.0)),
            (None, Some("Sun, 06 Nov 1994 08:49:00 GMT"), second(0.0)),
            (None, Some("Sat, 06 Nov 2094 08:49:37 GMT"), second(3600.0)),
            (None, Some("-3"), second(0.0)),
            (None, Some("1e300"), second(3600.0)),
            (None, Some("inf"), None),
            (None, Some("NaN"), None),
            (None, Some("later"), None),
            (None, Some(""), None),
        ];
        for (milliseconds, after, expected) in table {
            let read = retry_after(milliseconds, after, now);
            assert_eq!(read, expected, "{milliseconds:?} {after:?}");
        }
    }

    #[test]
    fn chance_is_spread_over_zero_to_one() {
        let pace = SystemPace::new();
        let drawn: Vec<f64> = (0..1000).map(|_| pace.random()).collect();
        assert!(drawn.iter().all(|random| (0.0..1.0).contains(random)));
        assert!(drawn.iter().any(|random| *random < 0.1));
        assert!(drawn.iter().any(|random| *random > 0.9));
    }

    fn failure(kind: ErrorKind) -> ApiError {
        ApiError::local(Call::List, kind, "no")
    }

    #[test]
    fn a_download_is_taken_up_again_while_it_brings_something() {
        let cut = failure(ErrorKind::Interrupted);
        let after = |resuming: &mut Resuming, by_range| {
            resuming.after(&cut, by_range, Duration::ZERO, 60 * SECOND, 1.0)
        };
        assert_eq!(after(&mut Resuming::default(), true), None, "never begun");
        let mut resuming = Resuming::default();
        for _ in 0..10 {
            resuming.moved();
            assert_eq!(after(&mut resuming, true), Some(Duration::ZERO));
            assert_eq!(after(&mut resuming, true), Some(SECOND / 2));
        }
        assert_eq!(after(&mut resuming, true), Some(SECOND));
        assert_eq!(after(&mut resuming, true), None);

        let mut resuming = Resuming::default();
        resuming.moved();
        assert_eq!(after(&mut resuming, false), Some(Duration::ZERO));
        resuming.moved();
        assert_eq!(after(&mut resuming, false), None, "from the front once");
    }

    #[test]
    fn a_download_is_not_taken_up_again_where_that_would_be_in_vain_or_too_late() {
        let limited = ApiError {
            retry_after: Some(20 * SECOND),
            ..failure(ErrorKind::RateLimited)
        };
        for (error, still, expected) in [
            (
                failure(ErrorKind::Interrupted),
                SECOND,
                Some(Duration::ZERO),
            ),
            // It stalled: whoever waits has waited long enough.
            (failure(ErrorKind::Interrupted), 10 * SECOND, None),
            (failure(ErrorKind::Nonsense), SECOND, None),
            (failure(ErrorKind::NotFound), SECOND, None),
            (
                failure(ErrorKind::Unavailable),
                SECOND,
                Some(Duration::ZERO),
            ),
            (limited, SECOND, None),
        ] {
            let mut resuming = Resuming::default();
            resuming.moved();
            let wait = resuming.after(&error, true, still, 10 * SECOND, 1.0);
            assert_eq!(wait, expected, "{error} {still:?}");
        }
    }
}
