//! Two clocks. What outlives the process is told by the wall clock ([`now`]). What somebody waits for goes by the steady
//! one ([`steady`]): people and time servers set the wall clock, and it runs on while the machine sleeps. A save must
//! neither wait for an hour because of that, nor count as failed for one.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use super::Millis;
use super::outbox::NEVER;

/// The longest wait that is taken over from another process: as long as a quiet time or the pace of write-back. It was
/// written down by a clock that may have been wrong.
const LONGEST_TAKEN_OVER: Millis = 10_000;

/// What the steady clock said when this process looked first. Far from 0, which in schedules means: at any time.
const BEGINNING: Millis = 1_000_000_000;

/// Milliseconds since 1970, by the wall clock.
#[must_use]
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as Millis)
}

/// Milliseconds by a clock that nobody sets and that stands while the machine sleeps.
#[must_use]
pub fn steady() -> Millis {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGINNING + BEGUN.elapsed().as_millis() as Millis
}

/// What both clocks say at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) wall: Millis,
    pub(super) steady: Millis,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            wall: now(),
            steady: steady(),
        }
    }

    /// The earliest time for a record, as it was written down by the wall clock, by the steady one.
    pub(super) fn not_before(self, written: Millis) -> Millis {
        match written {
            NEVER | 0 => written,
            time => self.steady + time.saturating_sub(self.wall).clamp(0, LONGEST_TAKEN_OVER),
        }
    }

    /// When a look tells, by the steady clock, whether a try arrived that began at `sent_at` by the wall clock of another
    /// process; at once where there was none. A clock that was set back must not make anybody wait for longer.
    pub(super) fn settles_at(self, sent_at: Option<Millis>, settles: Millis) -> Millis {
        sent_at.map_or(0, |sent_at| {
            let rest = sent_at.min(self.wall).saturating_add(settles) - self.wall;
            self.steady + rest.max(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wall clock is an hour off, either way.
    #[test]
    fn what_was_written_down_by_a_wrong_clock_is_not_waited_for() {
        let hour = 3_600_000;
        let moment = Moment {
            wall: 5_000_000,
            steady: 70,
        };
        for (written, expected) in [
            (0, 0),
            (NEVER, NEVER),
            (5_000_000, 70),
            (5_003_000, 3_070),
            (5_000_000 - hour, 70),
            (5_000_000 + hour, 70 + LONGEST_TAKEN_OVER),
            (Millis::MIN, 70),
            (NEVER - 1, 70 + LONGEST_TAKEN_OVER),
        ] {
            assert_eq!(moment.not_before(written), expected, "{written}");
        }
        for (sent_at, expected) in [
            (None, 0),
            (Some(4_999_000), 2_070),
            (Some(4_000_000), 70),
            (Some(5_000_000 + hour), 3_070),
            (Some(5_000_000 - hour), 70),
        ] {
            assert_eq!(moment.settles_at(sent_at, 3_000), expected, "{sent_at:?}");
        }
    }

    #[test]
    fn the_steady_clock_goes_on() {
        let before = steady();
        assert!(before >= BEGINNING);
        assert!(steady() >= before);
    }
}
