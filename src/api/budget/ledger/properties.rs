//! The ledger, whatever the service says of limits: no wait is beyond an hour, and no minute sees more than it may.

use proptest::prelude::*;

use super::*;
use crate::api::properties::config;

/// What happens next, after so many milliseconds.
#[derive(Debug, Clone)]
enum Event {
    Sends,
    Ends(Outcome, f64),
    Heard(RateLimits),
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let asked =
        prop::option::of(prop_oneof![0..5_000_u64, Just(u64::MAX)].prop_map(Duration::from_millis));
    let outcome = prop_oneof![
        Just(Outcome::Through),
        Just(Outcome::Lost),
        asked.prop_map(Outcome::Limited)
    ];
    let limits = (
        any::<u32>(),
        0..70_u32,
        any::<u32>(),
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|(limit, few, remaining, seconds, is_absurd)| RateLimits {
            limit: if is_absurd { limit } else { few },
            remaining: if is_absurd { remaining } else { few / 2 },
            resets_in: Duration::from_secs(if is_absurd { seconds } else { seconds % 90 }),
        });
    let event = prop_oneof![
        3 => Just(Event::Sends),
        3 => (outcome, 0.0..1.0_f64).prop_map(|(outcome, random)| Event::Ends(outcome, random)),
        1 => limits.prop_map(Event::Heard),
    ];
    (prop_oneof![0..2_000_u64, 0..200_000_u64], event)
}

const CLASSES: [Class; 4] = [
    Class::Interactive,
    Class::Save,
    Class::Refresh,
    Class::Background,
];

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_wait_is_beyond_an_hour_and_the_first_never_waits_longer_than_the_last(
        per_minute in prop::option::of(prop_oneof![0..200_u32, any::<u32>()]),
        events in prop::collection::vec(event(), 0..12),
    ) {
        let mut ledger = Ledger::new(per_minute);
        let mut now = Duration::ZERO;
        let mut last = Duration::ZERO;
        for (after, event) in events {
            now += Duration::from_millis(after);
            match event {
                Event::Sends => {
                    ledger.sends(now);
                    last = now;
                }
                Event::Ends(outcome, random) => {
                    ledger.ended(last, outcome, now, random);
                    if let Outcome::Limited(Some(asked)) = outcome {
                        prop_assert!(ledger.wait(Class::Interactive, now) >= asked.min(LONGEST_WAIT));
                    }
                }
                Event::Heard(limits) => ledger.heard(limits, now),
            }
            let waits = CLASSES.map(|class| ledger.wait(class, now));
            prop_assert!(waits.is_sorted() && waits[3] <= LONGEST_WAIT, "{:?}", waits);
            prop_assert!(ledger.quiet(now) <= now);
            // None of the limits outlasts what was asked for: in the end there is a turn.
            let later = now + LONGEST_WAIT;
            prop_assert!(ledger.last_wait(3, now) <= 2 * LONGEST_WAIT);
            prop_assert!(ledger.said(later).is_none());
        }
    }

    #[test]
    fn no_minute_sees_more_than_was_asked_for(
        per_minute in 1..40_u32,
        pauses in prop::collection::vec(0..20_000_u64, 1..12),
    ) {
        let mut ledger = Ledger::new(Some(per_minute));
        let mut sent: Vec<Duration> = Vec::new();
        let mut now = Duration::ZERO;
        for pause in pauses {
            now += Duration::from_millis(pause);
            // As many as go at once, and one that waits for its turn.
            loop {
                let wait = ledger.wait(Class::Interactive, now);
                now += wait;
                ledger.sends(now);
                ledger.ended(now, Outcome::Through, now, 0.5);
                sent.push(now);
                if !wait.is_zero() {
                    break;
                }
            }
        }
        for (at, begin) in sent.iter().enumerate() {
            // Less than what rounding may take.
            let end = *begin + Duration::from_millis(59_999);
            let in_minute = sent[at..].iter().take_while(|time| **time < end).count();
            prop_assert!(in_minute <= per_minute as usize, "{} {:?}", in_minute, sent);
        }
    }
}
