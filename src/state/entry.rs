//! A record as the queue has it: with what the process that holds it knows beside the database.

use super::outbox::NEVER;
use super::{Body, Millis, Record, Seq, Ticket, Work};

/// A record and what only this process knows of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// The oldest record whose content this one has taken the place of, or itself.
    pub(super) stands_for: Seq,
    pub(super) on_hold: bool,
    /// Nothing takes its place, and once it is confirmed it stays at the service: what came after it was cut off.
    pub(super) is_spared: bool,
    /// The service's answer to its last try will be the same next time, as far as can be told.
    pub(super) is_refused: bool,
    /// The earliest time to send it, by the steady clock, as the other times in here but `begun_at`.
    pub(super) not_before: Millis,
    /// When a look tells what became of its last try.
    pub(super) settles_at: Millis,
    /// Somebody asked for it to be sent now, whatever the pace.
    pub(super) is_urgent: bool,
    /// The service refused its last try for its rate.
    pub(super) is_limited: bool,
    /// The service had no room for it.
    pub(super) wants_room: bool,
    /// How many deletions had made room when its last try began.
    pub(super) room: u64,
    pub(super) in_flight: bool,
    /// Whether the database says that it may have been sent.
    pub(super) is_noted: bool,
    pub(super) last_error: Option<String>,
    /// When this process tried it first, by the wall clock.
    pub(super) begun_at: Option<Millis>,
    /// When its last try in this process failed.
    pub(super) failed_at: Option<Millis>,
    pub(super) ticket: Ticket,
}

impl Entry {
    /// Whether the service cannot have seen it, so that dropping it leaves nothing behind there.
    pub(super) fn is_untouched(&self) -> bool {
        !self.in_flight && self.record.sent_at.is_none()
    }

    /// Whether somebody in close(2) may wait for it: it is on its way, and neither done nor reported as failed.
    pub(super) fn is_awaited(&self) -> bool {
        self.record.tries > 0 && self.ticket.fate().is_none()
    }

    /// Whether nobody in close(2) waits for it any more: its failure was reported.
    pub(super) fn is_reported(&self) -> bool {
        self.ticket.fate().is_some()
    }

    /// Newer content of a file. Where nobody waits for it (write-back) nothing is gained by trying at once what the
    /// service had no room for before.
    pub(super) fn takes_the_place_of(&mut self, old: &Self, is_awaited: bool) {
        self.stands_for = self.stands_for.min(old.stands_for);
        if old.wants_room && !is_awaited {
            self.wants_room = true;
            self.not_before = self.not_before.max(old.not_before);
            self.record.tries = self.record.tries.max(old.record.tries);
            self.last_error.clone_from(&old.last_error);
        }
    }

    /// Whether it is a scratch file's: nobody sends it, and nobody waits for that.
    pub(super) fn is_scratch(&self) -> bool {
        self.not_before == NEVER
    }

    /// A scratch file's: it is durable here, and that is all that will come of it. Should the file get another name before
    /// its handle is closed, it waits for that where it `is_held`.
    pub(super) fn is_never_sent(&mut self, is_held: bool) {
        self.on_hold = is_held;
        self.ticket.settle(Ok(()));
    }

    /// Whether newer content waits for it however long that takes. What the service refuses would keep all that comes
    /// after it from ever being sent.
    pub(super) fn is_irreplaceable(&self) -> bool {
        self.is_spared && !self.is_refused
    }

    /// Whether it is what a program closed, and something to lose: neither empty nor a scratch file's.
    pub(super) fn is_closed(&self) -> bool {
        !self.on_hold && !self.is_scratch() && self.size() > 0
    }

    /// Whether it is a rename of what was sent before.
    pub(super) fn sends_again(&self) -> bool {
        let body = match &self.record.work {
            Work::Save { body, .. } => Some(body),
            Work::Delete { .. } => None,
        };
        body == Some(&Body::Held)
    }

    /// Bytes to be sent.
    pub(super) fn size(&self) -> u64 {
        match self.record.work {
            Work::Save { size, .. } => size,
            Work::Delete { .. } => 0,
        }
    }
}
