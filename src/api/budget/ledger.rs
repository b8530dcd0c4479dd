//! What the service lets through, as far as it shows: pure rules, told the time.
//!
//! Nothing is held back before there is a reason. There are four: somebody said `--rate`; the service said how many
//! requests are left; it refused one for its rate, and asked for a *pause*; and after a pause requests keep a *gap*,
//! learnt from how many got through before the refusal, which shrinks with every one that gets through again.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Class, RateLimits};
use crate::api::retry::{LONGEST_WAIT, backoff};

/// What limits are counted by, in all that is known of the service.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// The widest gap: the 100 requests a minute of the documents. What is less is found by the pauses that are asked for.
const WIDEST_GAP: Duration = Duration::from_millis(600);

/// How much every request that gets through shortens the gap. At a limit that stays one request in twenty is refused for
/// that; where there is none any more, nothing is held back a minute later.
const SHRINK: f64 = 0.99;

/// A gap that nobody has felt for so long is forgotten.
const FORGOTTEN_AFTER: Duration = MINUTE;

/// A limit of our own: a bucket that holds a tenth of a minute's requests and fills up so that no minute sees more than
/// were asked for.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    /// A second.
    fill: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn new(per_minute: u32) -> Self {
        let rate = f64::from(per_minute.max(1));
        let capacity = (rate / 10.0).floor().max(1.0);
        Self {
            capacity,
            fill: (rate - capacity + 1.0) / 60.0,
            tokens: capacity,
            at: Duration::ZERO,
        }
    }

    fn tokens(&self, now: Duration) -> f64 {
        let filled = now.saturating_sub(self.at).as_secs_f64() * self.fill;
        (self.tokens + filled).min(self.capacity)
    }

    fn take(&mut self, now: Duration) {
        self.tokens = self.tokens(now) - 1.0;
        self.at = now;
    }

    /// How long until there is a token for the class.
    fn wait(&self, class: Class, now: Duration) -> Duration {
        let wanted = 1.0 + (self.capacity * class.leaves()).floor();
        seconds((wanted - self.tokens(now)) / self.fill)
    }
}

/// What the service said is left.
#[derive(Debug)]
struct Said {
    limit: f64,
    /// Less those that were on their way when it said so, or were sent since.
    left: f64,
    at: Duration,
    resets_at: Duration,
}

impl Said {
    /// Whether the service counts evenly or by the minute is not documented. It is taken to count evenly; where it does
    /// not, the first that is sent too early is refused with the time to wait, and nobody follows.
    fn left(&self, now: Duration) -> f64 {
        let back = now.saturating_sub(self.at).as_secs_f64() * self.limit / 60.0;
        (self.left + back).min(self.limit)
    }

    fn wait(&self, class: Class, now: Duration) -> Duration {
        let wanted = 1.0 + (self.limit * class.leaves()).floor();
        let wait = seconds((wanted - self.left(now)) * 60.0 / self.limit);
        wait.min(self.resets_at.saturating_sub(now))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_WAIT.as_secs_f64()))
}

/// How one request ended, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service answered it, with whatever.
    Through,
    /// It was refused for its rate; how long the service asks to wait.
    Limited(Option<Duration>),
    /// There was no answer, or one of a service in trouble.
    Lost,
}

/// The account of one workspace's requests.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    bucket: Option<Bucket>,
    said: Option<Said>,
    /// Until when nothing is sent.
    paused_until: Duration,
    /// When the newest refusal came that was not sent before another had come.
    refused_at: Option<Duration>,
    /// Refusals since something got through.
    refusals: u32,
    gap: Option<Duration>,
    /// When the gap last held anybody back.
    felt_at: Duration,
    sent_at: Option<Duration>,
    in_flight: u32,
    /// When those of the last minute had got through.
    through: VecDeque<Duration>,
    through_at: Option<Duration>,
}

impl Ledger {
    pub(super) fn new(per_minute: Option<u32>) -> Self {
        Self {
            bucket: per_minute.map(Bucket::new),
            ..Self::default()
        }
    }

    /// How long a request of this class has to wait, as things are.
    pub(super) fn wait(&mut self, class: Class, now: Duration) -> Duration {
        let pause = self.paused_until.saturating_sub(now);
        let own = self.own_wait(class, now);
        let said = self
            .said(now)
            .map_or(Duration::ZERO, |said| said.wait(class, now));
        pause.max(own).max(said).max(self.gap_wait(now))
    }

    /// How much of it is by our own limit: that ends whatever the service does.
    pub(super) fn own_wait(&self, class: Class, now: Duration) -> Duration {
        let bucket = self.bucket.as_ref();
        bucket.map_or(Duration::ZERO, |bucket| bucket.wait(class, now))
    }

    fn gap_wait(&mut self, now: Duration) -> Duration {
        let (Some(gap), Some(sent_at)) = (self.gap, self.sent_at) else {
            return Duration::ZERO;
        };
        if now.saturating_sub(self.felt_at.max(self.paused_until)) > FORGOTTEN_AFTER {
            self.gap = None;
            return Duration::ZERO;
        }
        let wait = (sent_at + gap).saturating_sub(now);
        if !wait.is_zero() {
            self.felt_at = now;
        }
        wait
    }

    fn said(&self, now: Duration) -> Option<&Said> {
        self.said.as_ref().filter(|said| said.resets_at > now)
    }

    /// A request is sent.
    pub(super) fn sends(&mut self, now: Duration) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if let Some(said) = &mut self.said {
            said.left -= 1.0;
        }
        self.in_flight += 1;
        self.sent_at = Some(now);
    }

    /// A request that was sent at `sent_at` has ended. `random` is of 0..1.
    pub(super) fn ended(
        &mut self,
        sent_at: Duration,
        outcome: Outcome,
        now: Duration,
        random: f64,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Through => {
                self.refusals = 0;
                self.through_at = Some(now);
                self.through.push_back(now);
                self.gap = self.gap.map(|gap| gap.mul_f64(SHRINK));
            }
            Outcome::Limited(asked) => self.limited(sent_at, asked, now, random),
            Outcome::Lost => {}
        }
        self.trim(now);
    }

    /// All that are on their way when the limit is reached are refused: that is one refusal.
    fn limited(&mut self, sent_at: Duration, asked: Option<Duration>, now: Duration, random: f64) {
        let is_new = self
            .refused_at
            .is_none_or(|refused_at| sent_at >= refused_at);
        if is_new {
            self.refusals += 1;
            self.refused_at = Some(now);
        }
        // At least half of what chance may leave nothing of: a pause of no length is none.
        let own = backoff(self.refusals, None, 0.5 + random / 2.0);
        let pause = asked.unwrap_or(own).min(LONGEST_WAIT);
        if is_new {
            self.gap = Some(self.learnt_gap(pause, now));
            self.felt_at = now;
        }
        self.paused_until = self.paused_until.max(now + pause);
    }

    /// So many got through in the last minute, until the service wants to hear from us again. What was saved up at the
    /// service counts among them, so that a gap that was too short is doubled at least.
    fn learnt_gap(&self, pause: Duration, now: Duration) -> Duration {
        let doubled = self.gap.unwrap_or_default() * 2;
        let begun = now.saturating_sub(MINUTE);
        let mut recent = self.through.iter().filter(|time| **time >= begun);
        let Some(first) = recent.next() else {
            return WIDEST_GAP;
        };
        let count = 1 + recent.count();
        let took = now.saturating_sub(*first) + pause;
        let average = took / u32::try_from(count).unwrap_or(u32::MAX);
        average.max(doubled).min(WIDEST_GAP)
    }

    /// The service said what is left.
    pub(super) fn heard(&mut self, limits: RateLimits, now: Duration) {
        // The one that it said so to is among those on their way.
        let others = f64::from(self.in_flight.saturating_sub(1));
        self.said = Some(Said {
            limit: f64::from(limits.limit.max(1)),
            left: f64::from(limits.remaining) - others,
            at: now,
            resets_at: now + limits.resets_in.min(LONGEST_WAIT),
        });
    }

    fn trim(&mut self, now: Duration) {
        let begun = now.saturating_sub(MINUTE);
        while self.through.front().is_some_and(|time| *time < begun) {
            self.through.pop_front();
        }
    }

    /// How long nothing has got through; since the beginning where nothing ever did.
    pub(super) fn quiet(&self, now: Duration) -> Duration {
        now.saturating_sub(self.through_at.unwrap_or_default())
    }

    /// How many may be sent at once, where anybody has said.
    pub(super) fn left(&self, now: Duration) -> Option<u32> {
        let bucket = self.bucket.as_ref().map(|bucket| bucket.tokens(now));
        let said = self.said(now).map(|said| said.left(now));
        let left = match (bucket, said) {
            (Some(bucket), Some(said)) => bucket.min(said),
            (left, None) | (None, left) => left?,
        };
        Some(left.max(0.0) as u32)
    }

    /// About how long one of `waiting` requests has to wait that comes last.
    pub(super) fn last_wait(&mut self, waiting: usize, now: Duration) -> Duration {
        let first = self.wait(Class::Save, now);
        let behind = f64::from(u32::try_from(waiting.saturating_sub(1)).unwrap_or(u32::MAX));
        let gap = self.gap.unwrap_or_default().as_secs_f64();
        let own = self.bucket.as_ref().map_or(0.0, |bucket| 1.0 / bucket.fill);
        let said = self.said(now).map_or(0.0, |said| 60.0 / said.limit);
        first + seconds(behind * gap.max(own).max(said))
    }

    /// Whether it is a limit of our own that a request waits for now, and not the service's.
    pub(super) fn is_own(&mut self, now: Duration) -> bool {
        let own = self.own_wait(Class::Save, now);
        !own.is_zero() && own == self.wait(Class::Save, now)
    }

    /// The time between two requests by our own limit.
    pub(super) fn own_interval(&self) -> Duration {
        let bucket = self.bucket.as_ref();
        bucket.map_or(Duration::ZERO, |bucket| seconds(1.0 / bucket.fill))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
