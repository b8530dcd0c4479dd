//! How fast a transfer goes: what has moved in the last few seconds. Told the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back a rate looks: a network's hiccup must not make it jump, and a transfer that has stopped shows soon.
const WINDOW: Duration = Duration::from_secs(5);

/// What moves within so long is counted together.
const SLOT: Duration = Duration::from_millis(250);

/// A rate is that of a second at least: at first the machine's own buffers take what they can hold.
const LEAST: Duration = Duration::from_secs(1);

/// Counts the bytes of one transfer.
#[derive(Debug, Default)]
pub struct Meter {
    total: u64,
    begun: Option<Instant>,
    /// Bytes by the time when the first of them moved.
    slots: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// So many bytes have moved; 0 only begins.
    pub fn moved(&mut self, bytes: u64, now: Instant) {
        self.begun.get_or_insert(now);
        self.total += bytes;
        match self.slots.back_mut() {
            Some((at, slot)) if now.saturating_duration_since(*at) < SLOT => *slot += bytes,
            _ => self.slots.push_back((now, bytes)),
        }
        while self.slots.len() > 1 && !is_recent(self.slots[0].0, now) {
            self.slots.pop_front();
        }
    }

    /// All bytes so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes a second of late; `None` before it has begun.
    #[must_use]
    pub fn rate(&self, now: Instant) -> Option<u64> {
        let took = now.saturating_duration_since(self.begun?);
        let recent = self.slots.iter().filter(|(at, _)| is_recent(*at, now));
        let bytes: u64 = recent.map(|(_, bytes)| bytes).sum();
        Some(bytes.saturating_mul(1000) / took.clamp(LEAST, WINDOW).as_millis() as u64)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_seconds() {
        let begun = Instant::now();
        let at = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        let mut meter = Meter::default();
        assert_eq!(meter.rate(at(0.0)), None);
        meter.moved(0, at(0.0));
        assert_eq!(meter.rate(at(0.0)), Some(0));
        // A hundred bytes ten times a second, for twenty seconds; then nothing.
        for n in 0..200 {
            meter.moved(100, at(f64::from(n) / 10.0));
        }
        assert_eq!(meter.total(), 20_000);
        let rate = meter.rate(at(20.0)).unwrap();
        assert!((900..=1000).contains(&rate), "{rate}");
        let rate = meter.rate(at(22.5)).unwrap();
        assert!((400..=550).contains(&rate), "{rate}");
        assert_eq!(meter.rate(at(25.0)), Some(0));
        assert!(meter.slots.len() <= 21, "{}", meter.slots.len());
    }

    #[test]
    fn what_goes_into_buffers_at_once_is_no_speed() {
        let begun = Instant::now();
        let mut meter = Meter::default();
        meter.moved(4000, begun);
        for (ms, expected) in [(1, 4000), (1000, 4000), (2000, 2000), (4000, 1000)] {
            let now = begun + Duration::from_millis(ms);
            assert_eq!(meter.rate(now), Some(expected), "{ms}");
        }
    }
}
