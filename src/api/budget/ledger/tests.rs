//! The rules of the ledger against services of both kinds, in virtual time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A service that lets so many through, and refuses the rest with the time to wait.
enum Service {
    /// By the minute of its clock.
    ByTheMinute {
        limit: usize,
        minute: u64,
        count: usize,
    },
    /// Evenly: a bucket, full at the beginning.
    Evenly {
        capacity: f64,
        fill: f64,
        tokens: f64,
        at: Duration,
    },
}

impl Service {
    fn by_the_minute(limit: usize) -> Self {
        Self::ByTheMinute {
            limit,
            minute: 0,
            count: 0,
        }
    }

    fn evenly(per_minute: f64, capacity: f64) -> Self {
        Self::Evenly {
            capacity,
            fill: per_minute / 60.0,
            tokens: capacity,
            at: Duration::ZERO,
        }
    }

    fn answer(&mut self, now: Duration) -> Outcome {
        match self {
            Self::ByTheMinute {
                limit,
                minute,
                count,
            } => {
                let this = now.as_secs() / 60;
                if this != *minute {
                    (*minute, *count) = (this, 0);
                }
                *count += 1;
                if *count <= *limit {
                    return Outcome::Through;
                }
                Outcome::Limited(Some(
                    Duration::from_secs(60 * (this + 1)).saturating_sub(now),
                ))
            }
            Self::Evenly {
                capacity,
                fill,
                tokens,
                at,
            } => {
                *tokens = (*tokens + now.saturating_sub(*at).as_secs_f64() * *fill).min(*capacity);
                *at = now;
                if *tokens >= 1.0 {
                    *tokens -= 1.0;
                    return Outcome::Through;
                }
                // Whole seconds, as the header has them.
                Outcome::Limited(Some(at_least((1.0 - *tokens) / *fill)))
            }
        }
    }
}

fn at_least(seconds: f64) -> Duration {
    Duration::from_secs(seconds.ceil() as u64)
}

/// Sends `count` requests as fast as the ledger lets them go, `at_once` of them under way at most, each answered after
/// `latency`. How many were refused, and how long it took.
fn send(
    ledger: &mut Ledger,
    service: &mut Service,
    count: usize,
    at_once: usize,
    latency: Duration,
) -> (usize, Duration) {
    let mut now = SECOND;
    let mut left = count;
    let mut refused = 0;
    let mut under_way: VecDeque<(Duration, Outcome)> = VecDeque::new();
    while left > 0 {
        let next_answer = under_way.front().map(|(sent, _)| *sent + latency);
        let next_send = now + ledger.wait(Class::Save, now);
        let may_send = under_way.len() < at_once && under_way.len() < left;
        match next_answer {
            Some(answered) if !may_send || answered <= next_send => {
                now = now.max(answered);
                let (sent, outcome) = under_way.pop_front().unwrap();
                ledger.ended(sent, outcome, now, 1.0);
                match outcome {
                    Outcome::Through => left -= 1,
                    _ => refused += 1,
                }
            }
            _ => {
                now = next_send;
                ledger.sends(now);
                under_way.push_back((now, service.answer(now)));
            }
        }
    }
    (refused, now.saturating_sub(SECOND))
}

#[test]
fn without_a_limit_nothing_is_ever_held_back() {
    let mut ledger = Ledger::new(None);
    let mut service = Service::evenly(1e9, 1e9);
    let (refused, took) = send(&mut ledger, &mut service, 10_000, 32, at(0.001));
    assert_eq!(refused, 0);
    assert!(took < SECOND, "{took:?}");
}

#[test]
fn a_limit_by_the_minute_is_used_up_and_hardly_overstepped() {
    let mut ledger = Ledger::new(None);
    let mut service = Service::by_the_minute(100);
    let (refused, took) = send(&mut ledger, &mut service, 1_000, 1, at(0.1));
    assert!(refused <= 20, "{refused} of 1000 were refused");
    assert!(took < at(660.0), "{took:?}");
}

#[test]
fn an_even_limit_is_used_up_and_hardly_overstepped() {
    for (per_minute, burst) in [(100.0, 100.0), (1_200.0, 20.0), (500.0, 1.0)] {
        let mut ledger = Ledger::new(None);
        let mut service = Service::evenly(per_minute, burst);
        let count = per_minute as usize * 4;
        let (refused, took) = send(&mut ledger, &mut service, count, 8, at(0.02));
        assert!(refused * 14 <= count, "{refused} of {count} were refused");
        assert!(took < at(7.0 * 60.0), "{per_minute} {burst}: {took:?}");
    }
}

#[test]
fn all_that_are_under_way_at_the_limit_are_one_refusal() {
    let mut ledger = Ledger::new(None);
    for n in 0..32 {
        ledger.sends(at(1.0 + f64::from(n) / 100.0));
    }
    for n in 0..32 {
        ledger.ended(
            at(1.0 + f64::from(n) / 100.0),
            Outcome::Limited(None),
            at(2.0),
            1.0,
        );
    }
    assert_eq!(ledger.refusals, 1);
    assert_eq!(ledger.wait(Class::Interactive, at(2.0)), SECOND);
    // The probe is refused as well: twice as long.
    ledger.sends(at(3.0));
    ledger.ended(at(3.0), Outcome::Limited(None), at(3.0), 1.0);
    assert_eq!(ledger.wait(Class::Interactive, at(3.0)), 2 * SECOND);
}

#[test]
fn a_refusal_holds_everybody_for_as_long_as_the_service_asks() {
    let mut ledger = Ledger::new(None);
    ledger.sends(SECOND);
    ledger.ended(SECOND, Outcome::Limited(Some(at(7.0))), SECOND, 0.0);
    for class in [
        Class::Interactive,
        Class::Save,
        Class::Refresh,
        Class::Background,
    ] {
        assert_eq!(ledger.wait(class, SECOND), at(7.0), "{class:?}");
        assert_eq!(ledger.wait(class, at(8.0)), Duration::ZERO, "{class:?}");
    }
    // An absurd time is capped.
    ledger.ended(at(9.0), Outcome::Limited(Some(Duration::MAX)), at(9.0), 0.0);
    assert_eq!(ledger.wait(Class::Save, at(9.0)), LONGEST_WAIT);
}

#[test]
fn after_a_single_refusal_the_pace_comes_back() {
    let mut ledger = Ledger::new(None);
    let mut service = Service::evenly(1e9, 1e9);
    ledger.sends(SECOND);
    ledger.ended(SECOND, Outcome::Limited(Some(Duration::ZERO)), SECOND, 0.0);
    let (_, took) = send(&mut ledger, &mut service, 3_000, 8, at(0.01));
    assert!(took < at(75.0), "{took:?}");
    // Nobody felt it for a minute.
    let mut ledger = Ledger::new(None);
    ledger.sends(SECOND);
    ledger.ended(SECOND, Outcome::Limited(Some(SECOND)), SECOND, 0.0);
    ledger.sends(at(100.0));
    assert_eq!(ledger.wait(Class::Save, at(100.0)), Duration::ZERO);
}

#[test]
fn what_the_service_says_is_left_is_not_overdrawn() {
    let mut ledger = Ledger::new(None);
    for _ in 0..4 {
        ledger.sends(SECOND);
    }
    let limits = RateLimits {
        limit: 60,
        remaining: 6,
        resets_in: 30 * SECOND,
    };
    ledger.heard(limits, SECOND);
    // Three others are on their way, and people keep their reserve of a twentieth.
    assert_eq!(ledger.left(SECOND), Some(3));
    assert_eq!(ledger.wait(Class::Interactive, SECOND), Duration::ZERO);
    assert_eq!(ledger.wait(Class::Save, SECOND), SECOND);
    assert_eq!(ledger.wait(Class::Background, SECOND), 4 * SECOND);
    for _ in 0..3 {
        ledger.sends(SECOND);
    }
    assert_eq!(ledger.wait(Class::Interactive, SECOND), SECOND);
    // It starts anew then.
    assert_eq!(ledger.wait(Class::Background, at(31.0)), Duration::ZERO);
    assert_eq!(ledger.left(at(31.0)), None);
}

#[test]
fn no_minute_sees_more_than_our_own_limit_and_most_of_it_is_used() {
    for per_minute in [1, 2, 7, 10, 100, 1_200] {
        let mut ledger = Ledger::new(Some(per_minute));
        let mut now = SECOND;
        let mut sent = Vec::new();
        while sent.len() < per_minute as usize * 5 {
            now += ledger.wait(Class::Interactive, now);
            // Rounding may leave a hair.
            now += Duration::from_micros(1);
            ledger.sends(now);
            sent.push(now);
        }
        for (n, begin) in sent.iter().enumerate() {
            let in_minute = sent[n..]
                .iter()
                .filter(|time| time.saturating_sub(*begin) < MINUTE)
                .count();
            assert!(
                in_minute <= per_minute as usize,
                "{in_minute} of {per_minute}"
            );
        }
        let took = now.saturating_sub(SECOND);
        assert!(took < at(340.0), "{per_minute}: {took:?}");
    }
}

#[test]
fn our_own_limit_keeps_a_reserve_for_people() {
    let mut ledger = Ledger::new(Some(400));
    for _ in 0..30 {
        assert_eq!(ledger.wait(Class::Background, SECOND), Duration::ZERO);
        ledger.sends(SECOND);
    }
    let zero = |ledger: &mut Ledger, class| ledger.wait(class, SECOND).is_zero();
    assert!(zero(&mut ledger, Class::Save));
    for _ in 0..8 {
        ledger.sends(SECOND);
    }
    assert!(zero(&mut ledger, Class::Interactive));
    assert!(!zero(&mut ledger, Class::Save));
    assert!(ledger.is_own(SECOND));
}

#[test]
fn what_is_shown_is_how_long_the_last_one_waits() {
    let mut ledger = Ledger::new(None);
    for n in 0..10 {
        ledger.sends(at(f64::from(n)));
        ledger.ended(at(f64::from(n)), Outcome::Through, at(f64::from(n)), 0.0);
    }
    assert_eq!(ledger.quiet(at(20.0)), at(11.0));
    ledger.sends(at(20.0));
    ledger.ended(at(20.0), Outcome::Limited(Some(at(30.0))), at(20.0), 0.0);
    // Ten in fifty seconds would be a gap of five; the widest is less.
    assert_eq!(ledger.last_wait(1, at(20.0)), at(30.0));
    assert_eq!(ledger.last_wait(11, at(20.0)), at(36.0));
}
