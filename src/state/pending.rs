//! What is pending, as people are shown it.

use super::clock::steady;
use super::{Record, Seq, State};

/// A record as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The record.
    pub record: Record,
    /// The oldest record whose content this one has taken the place of, or itself.
    pub stands_for: Seq,
    /// Whether a worker has it.
    pub in_flight: bool,
    /// Bytes of it that are sent.
    pub sent: u64,
    /// How many a second; `None` where none is being sent.
    pub rate: Option<u64>,
    /// Whether only other work that goes before it keeps it from its turn.
    pub is_queued: bool,
    /// Whether the service refused it for its rate, and its next try is to come.
    pub is_held_back: bool,
    /// Whether it waits for an open handle.
    pub on_hold: bool,
    /// Whether it waits until the service has room for a smaller one.
    pub waits_for_room: bool,
    /// Whether it is a scratch file's, which nobody sends.
    pub is_scratch: bool,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// How much is pending, scratch files aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingCount {
    /// Changes that have not reached the service.
    pub all: usize,
    /// Those of them whose last try failed. To be told to wait for a turn is no failure.
    pub failed: usize,
}

impl State {
    /// How much is pending.
    #[must_use]
    pub fn count_pending(&self) -> PendingCount {
        let entries = self.queue.entries();
        let mut count = PendingCount::default();
        for entry in entries.all().filter(|entry| !entry.is_scratch()) {
            count.all += 1;
            if entry.last_error.is_some() && !entry.is_limited {
                count.failed += 1;
            }
        }
        count
    }

    /// Waits until anything pending has changed since it had changed `seen` times, or the outbox stops; how often it has by
    /// then.
    #[must_use]
    pub fn wait_for_change(&self, seen: u64) -> u64 {
        self.queue.wait_for_change(seen)
    }

    /// All that is pending.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let entries = self.queue.entries();
        let rules = entries.rules();
        let now = steady();
        entries
            .all()
            .map(|entry| {
                let (sent, rate) = self.transfers.sent(entry.record.seq);
                let is_waiting = !entry.in_flight && !entry.on_hold && !entry.is_scratch();
                let is_held_back = is_waiting && entry.is_limited;
                Pending {
                    record: entry.record.clone(),
                    stands_for: entry.stands_for,
                    in_flight: entry.in_flight,
                    sent,
                    rate,
                    is_queued: is_waiting && !is_held_back && !rules.is_deferred(entry, now),
                    is_held_back,
                    on_hold: entry.on_hold,
                    waits_for_room: rules.waits_for_room(entry),
                    is_scratch: entry.is_scratch(),
                    last_error: entry.last_error.clone(),
                }
            })
            .collect()
    }
}
