//! What next after a failure: the one rule for everybody who tries again.
//!
//! Lists, metadata, downloads and deletes may be repeated at will. An upload may not: its answer can be lost after the
//! service has stored the file ([`ApiError::may_have_happened`]), so that whoever uploads looks first.

use std::time::Duration;

use super::retry::backoff;
use super::{ApiError, ErrorKind};

/// What follows a failure that may pass.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// How long it is tried on while nothing moves.
    pub patience: Duration,
}

impl Policy {
    /// How long to wait for a turn where requests are limited: limits are counted by the minute, so that after a burst
    /// nothing gets through for one. Twice the patience is more than that where it is the usual one.
    #[must_use]
    pub fn patience_with_limits(&self) -> Duration {
        self.patience.saturating_mul(2)
    }

    /// How long to wait before the next try after failed attempt number `attempt` (the first is 0) of a call for which
    /// nothing has moved for `still`; `None`: no more. A wait that would outlast the patience is nothing to sit through.
    ///
    /// That requests are limited is no standstill for as long as others of the workspace get through.
    #[must_use]
    pub fn after(
        &self,
        error: &ApiError,
        attempt: u32,
        still: Duration,
        random: f64,
    ) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let wait = backoff(attempt, error.retry_after, random);
        let (still, patience) = match error.kind {
            ErrorKind::RateLimited => {
                let quiet = error.line.map_or(still, |line| line.quiet);
                (still.min(quiet), self.patience_with_limits())
            }
            _ => (still, self.patience),
        };
        (still + wait < patience).then_some(wait)
    }

    /// The same of a call that is repeated as it is. An answer without sense is not asked for again: the next one will
    /// be like it, and may be as long.
    #[must_use]
    pub fn repeats(
        &self,
        error: &ApiError,
        attempt: u32,
        still: Duration,
        random: f64,
    ) -> Option<Duration> {
        let is_nonsense = error.kind == ErrorKind::Nonsense && error.should_retry != Some(true);
        if is_nonsense {
            return None;
        }
        self.after(error, attempt, still, random)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, InLine};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failure(kind: ErrorKind) -> ApiError {
        ApiError::local(Call::List, kind, "no")
    }

    /// A failure as the service's headers describe it: kind, `x-should-retry`, `retry-after`, quiet.
    fn said(
        kind: ErrorKind,
        should_retry: Option<bool>,
        retry_after: Option<u32>,
        quiet: Option<u32>,
    ) -> ApiError {
        ApiError {
            should_retry,
            retry_after: retry_after.map(|seconds| SECOND * seconds),
            line: quiet.map(|seconds| InLine {
                waited: Duration::ZERO,
                quiet: SECOND * seconds,
            }),
            ..failure(kind)
        }
    }

    #[test]
    fn what_follows_a_failure() {
        use ErrorKind::*;
        let (yes, no) = (Some(true), Some(false));
        #[rustfmt::skip]
        let table = [
            // kind, x-should-retry, retry-after, quiet; attempt, still; the wait in milliseconds
            (said(Unavailable, None, None, None), 0, 0, Some(500)),
            (said(Unreachable, None, None, None), 1, 1, Some(1_000)),
            (said(Interrupted, None, None, None), 9, 51, Some(8_000)),
            (said(Interrupted, None, None, None), 9, 52, None),
            // A call that stalled has waited long enough.
            (said(Interrupted, None, None, None), 0, 60, None),
            (said(Unavailable, None, Some(7), None), 5, 0, Some(7_000)),
            (said(Unavailable, None, Some(60), None), 0, 0, None),
            (said(Unavailable, None, Some(1_000_000), None), 0, 0, None),
            // The service knows better, both ways.
            (said(Unavailable, no, None, None), 0, 0, None),
            (said(RateLimited, no, Some(1), None), 0, 0, None),
            (said(Refused, yes, None, None), 0, 0, Some(500)),
            (said(NotFound, yes, Some(2), None), 0, 0, Some(2_000)),
            (said(Nonsense, yes, None, None), 0, 0, Some(500)),
            // A whole minute of a limit is waited for; not more than two in which nothing gets through.
            (said(RateLimited, None, Some(60), None), 0, 0, Some(60_000)),
            (said(RateLimited, None, Some(60), None), 0, 61, None),
            (said(RateLimited, None, Some(60), Some(3)), 40, 3_600, Some(60_000)),
            (said(RateLimited, None, Some(60), Some(61)), 40, 3_600, None),
            (said(RateLimited, None, Some(60), Some(3_600)), 0, 1, Some(60_000)),
            (said(RateLimited, None, Some(120), Some(0)), 0, 0, None),
            (said(RateLimited, None, None, Some(0)), 3, 3_600, Some(4_000)),
            // Nothing that stays as it is.
            (said(Unauthorized, None, None, None), 0, 0, None),
            (said(Forbidden, None, None, None), 0, 0, None),
            (said(NotFound, None, None, None), 0, 0, None),
            (said(NotDownloadable, None, None, None), 0, 0, None),
            (said(StorageFull, None, None, None), 0, 0, None),
            (said(TooLarge, None, None, None), 0, 0, None),
            (said(Refused, None, None, None), 0, 0, None),
            (said(Body, None, None, None), 0, 0, None),
            (said(Disk, None, None, None), 0, 0, None),
            (said(DiskFull, None, None, None), 0, 0, None),
            (said(Nonsense, None, None, None), 0, 0, None),
        ];
        let policy = Policy {
            patience: 60 * SECOND,
        };
        for (error, attempt, still, expected) in table {
            let wait = policy.repeats(&error, attempt, SECOND * still, 1.0);
            let expected = expected.map(Duration::from_millis);
            assert_eq!(wait, expected, "{error:?} {attempt} {still}");
        }
        // Whoever looks before sending again may try that after nonsense too.
        let nonsense = failure(ErrorKind::Nonsense);
        assert_eq!(policy.after(&nonsense, 0, SECOND, 1.0), Some(SECOND / 2));
    }

    #[test]
    fn waits_of_our_own_are_left_to_chance_and_asked_ones_are_not() {
        let policy = Policy {
            patience: 60 * SECOND,
        };
        let wait = |error: &ApiError, random| policy.repeats(error, 0, Duration::ZERO, random);
        let busy = failure(ErrorKind::Unavailable);
        assert_eq!(wait(&busy, 0.0), Some(Duration::ZERO));
        assert_eq!(wait(&busy, 0.5), Some(SECOND / 4));
        let asked = said(ErrorKind::Unavailable, None, Some(3), None);
        assert_eq!(wait(&asked, 0.0), Some(3 * SECOND));
    }
}
