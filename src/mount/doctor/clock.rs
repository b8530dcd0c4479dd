//! Whether this machine's clock is right, by the service's.

use indicatif::HumanDuration;
use jiff::{SignedDuration, Timestamp};

use super::Finding;

const CLOCK: &str = "clock";

/// A clock that is off by more is wrong: certificates and signed addresses are good for minutes at times.
const OFF: SignedDuration = SignedDuration::from_secs(60);

/// `now` is this machine's time when the service's came, which has whole seconds.
pub(super) fn examine(service: Option<Timestamp>, now: Timestamp) -> Finding {
    let Some(service) = service else {
        return Finding::ok(CLOCK, "the service did not say what time it has");
    };
    let ahead = now.duration_since(service);
    if ahead.abs() <= OFF {
        return Finding::ok(CLOCK, "goes with the service's");
    }
    let way = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let by = HumanDuration(ahead.unsigned_abs());
    Finding::warn(
        CLOCK,
        format!(
            "this machine's clock is {by} {way} the service's: certificates and expiry go by it"
        ),
        "set it: sudo timedatectl set-ntp true",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Ok as Well, Warn};
    use super::super::tests::is;
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_more_than_a_minute_is_warned_of() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let at = |text: &str| examine(Some(text.parse().unwrap()), now);
        is(&examine(None, now), Well, "did not say", "");
        is(&at("2026-11-29T12:01:00Z"), Well, "goes with", "");
        is(&at("2026-11-29T11:59:00Z"), Well, "goes with", "");
        is(
            &at("2026-11-29T12:01:01Z"),
            Warn,
            "is 61 seconds behind",
            "timedatectl",
        );
        is(
            &at("2026-11-29T10:00:00Z"),
            Warn,
            "is 2 hours ahead of",
            "timedatectl",
        );
    }
}
