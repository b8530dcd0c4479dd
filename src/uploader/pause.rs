//! When failed work is tried again, and whether who waits for it in close(2) is told of the failure: pure rules.

use std::time::Duration;

use crate::api::{ApiError, ErrorKind, LONGEST_WAIT, Policy};

/// The first pause after a refusal: trying again at once can't mend it, somebody has to.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause after a refusal.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The longest pause while the service is away. A try costs next to nothing then, and when it is back nobody should
/// have to wait, or to wonder why nothing is sent.
const AWAY_PAUSE: Duration = Duration::from_secs(30);

/// What follows a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The wait until the next try.
    pub(super) pause: Duration,
    /// Whether who waits is told now; the work is tried on all the same.
    pub(super) is_told: bool,
}

/// What follows failure number `tries` (the first is 0) of work that has waited for `waited`, where people wait for
/// `patience`. `random` is of 0..1.
pub(super) fn after(
    error: &ApiError,
    tries: u32,
    waited: Duration,
    patience: Duration,
    random: f64,
) -> Next {
    // A disk is mended, or given room, without anybody telling us.
    if matches!(error.kind, ErrorKind::Disk | ErrorKind::DiskFull) {
        return Next {
            pause: AWAY_PAUSE.mul_f64(0.5 + random / 2.0),
            is_told: true,
        };
    }
    if !error.is_transient() {
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(16));
        return Next {
            pause: pause.min(LONGEST_PAUSE),
            is_told: true,
        };
    }
    if let Some(pause) = (Policy { patience }).after(error, tries, waited, random) {
        return Next {
            pause,
            is_told: false,
        };
    }
    let away = AWAY_PAUSE.min(patience / 2).mul_f64(0.5 + random / 2.0);
    Next {
        pause: error
            .retry_after
            .map_or(away, |asked| asked.min(LONGEST_WAIT)),
        is_told: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Call, InLine};

    const SECOND: Duration = Duration::from_secs(1);

    fn next(kind: ErrorKind, retry_after: Option<u32>, tries: u32, waited: u32) -> (u64, bool) {
        let error = ApiError {
            retry_after: retry_after.map(|seconds| SECOND * seconds),
            ..ApiError::local(Call::Upload, kind, "no")
        };
        let next = after(&error, tries, SECOND * waited, 60 * SECOND, 1.0);
        (next.pause.as_secs(), next.is_told)
    }

    #[test]
    fn a_refusal_is_told_at_once_and_tried_ever_more_rarely() {
        for (tries, pause) in [(0, 30), (1, 60), (5, 960), (7, 3600), (u32::MAX, 3600)] {
            let next = next(ErrorKind::StorageFull, None, tries, 0);
            assert_eq!(next, (pause, true), "{tries}");
        }
    }

    /// Pauses doubled with every try once, those of the first minute included: after a server's absence of a minute a
    /// save was not tried again for an hour.
    #[test]
    fn a_service_that_is_away_is_asked_every_half_minute_for_as_long_as_it_takes() {
        for kind in [
            ErrorKind::Unreachable,
            ErrorKind::Interrupted,
            ErrorKind::Unavailable,
        ] {
            assert_eq!(next(kind, None, 1, 1), (1, false));
            assert_eq!(next(kind, None, 9, 30), (8, false));
            for tries in [1, 9, 100, u32::MAX] {
                assert_eq!(next(kind, None, tries, 3600), (30, true), "{tries}");
            }
        }
    }

    #[test]
    fn trouble_with_the_local_disk_is_told_at_once_and_tried_again_every_half_minute() {
        for kind in [ErrorKind::Disk, ErrorKind::DiskFull] {
            for tries in [0, 9, u32::MAX] {
                assert_eq!(next(kind, None, tries, 0), (30, true), "{tries}");
            }
        }
    }

    #[test]
    fn what_the_service_asks_for_is_waited_for_but_not_by_people_beyond_their_patience() {
        let busy = ErrorKind::Unavailable;
        assert_eq!(next(busy, Some(5), 0, 0), (5, false));
        assert_eq!(next(busy, Some(5), 3, 50), (5, false));
        assert_eq!(next(busy, Some(100), 0, 0), (100, true));
        assert_eq!(next(busy, Some(5), 9, 3600), (5, true));
    }

    #[test]
    fn a_limit_is_waited_for_while_others_get_through() {
        let next = |retry_after: u32, waited: u32, quiet: u32| {
            let error = ApiError {
                retry_after: Some(SECOND * retry_after),
                line: Some(InLine {
                    waited: Duration::ZERO,
                    quiet: SECOND * quiet,
                }),
                ..ApiError::local(Call::Upload, ErrorKind::RateLimited, "no")
            };
            let next = after(&error, 9, SECOND * waited, 60 * SECOND, 1.0);
            (next.pause.as_secs(), next.is_told)
        };
        assert_eq!(next(60, 0, 0), (60, false), "a whole minute");
        assert_eq!(next(60, 3600, 59), (60, false));
        assert_eq!(next(60, 3600, 61), (60, true));
        assert_eq!(next(130, 0, 0), (130, true));
    }
}
