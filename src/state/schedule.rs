//! Which record is next: rules over the outbox as it stands, without a clock or a lock of their own. Times are those of
//! the steady clock.
//!
//! Beside its own time a save may have two reasons to wait. With write-back the saves of one name are *paced*, so that
//! many of them become one. And while the service has no room for what was refused for that, only the smallest of it is
//! tried: the *probe*.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entry::Entry;
use super::{Millis, Seq, When};

pub(super) type Entries = BTreeMap<Seq, Entry>;

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Do(Seq),
    WaitUntil(Millis),
    Wait,
}

/// How often saves of one name are sent: by default as they come.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// The shortest time between two.
    interval: Option<Millis>,
    /// When the last one of each name was begun.
    begun: HashMap<String, Millis>,
}

impl Pacing {
    pub(super) fn every(interval: Millis) -> Self {
        Self {
            interval: Some(interval),
            begun: HashMap::new(),
        }
    }

    /// Whether saves are paced, which is also: whether nobody in close(2) waits for them.
    pub(super) fn is_on(&self) -> bool {
        self.interval.is_some()
    }

    /// A save of this name is sent now.
    pub(super) fn begins(&mut self, name: &str, now: Millis) {
        if let Some(interval) = self.interval {
            self.begun.retain(|_, begun| *begun + interval > now);
            self.begun.insert(name.to_owned(), now);
        }
    }

    /// The earliest time for the next save of this name.
    fn free_at(&self, name: &str, now: Millis) -> Millis {
        match (self.interval, self.begun.get(name)) {
            (Some(interval), Some(begun)) => (*begun).min(now) + interval,
            _ => 0,
        }
    }

    /// When a save of this name may be sent that might be sent at `when`.
    pub(super) fn apply(&self, when: When, name: &str, now: Millis) -> When {
        let rest = self.free_at(name, now) - now;
        if when == When::Now && rest > 0 {
            When::After(rest)
        } else {
            when
        }
    }
}

/// The rules as they apply to one state of the outbox.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pacing: &'a Pacing,
    probe: Option<Seq>,
}

impl<'a> Rules<'a> {
    pub(super) fn new(saves: &Entries, pacing: &'a Pacing) -> Self {
        let probe = probe(saves).map(|entry| entry.record.seq);
        Self { pacing, probe }
    }

    /// When a record's own time and its name's pace let it go.
    fn due_at(&self, entry: &Entry, now: Millis) -> Millis {
        if entry.is_urgent || entry.record.ino().is_none() {
            return entry.not_before;
        }
        let free_at = self.pacing.free_at(&entry.record.name, now);
        entry.not_before.max(free_at)
    }

    /// Whether it was refused because the service is full, and a smaller one is tried first.
    pub(super) fn waits_for_room(&self, entry: &Entry) -> bool {
        entry.wants_room && self.probe != Some(entry.record.seq)
    }

    /// Whether it waits for something else than its turn: an open handle, the end of its quiet time, its next try, room.
    pub(super) fn is_deferred(&self, entry: &Entry, now: Millis) -> bool {
        entry.on_hold || self.waits_for_room(entry) || self.due_at(entry, now) > now
    }

    /// The first record that is due. Records of one inode go out in their order: a later one waits for all earlier ones,
    /// also for those that failed and wait for their next try. And a record waits for others of its name that the service
    /// may have seen: of two files of one name, only their order tells which is whose. A rename can give a record the
    /// name of a later one, so that what was never sent waits for these too.
    pub(super) fn pick(&self, entries: &Entries, now: Millis) -> Next {
        let mut waiting_inodes = HashSet::new();
        // Those that may be sent as far as their order goes. Nobody waits for the name of one that waits itself: two
        // that wait for each other would do so for ever.
        let mut seen_names = HashSet::new();
        let mut in_order = Vec::new();
        for (seq, entry) in entries {
            let is_in_order = match entry.record.ino() {
                Some(ino) => {
                    let is_first = waiting_inodes.insert(ino);
                    let is_seen = !entry.is_untouched();
                    is_first && (!is_seen || seen_names.insert(entry.record.name.as_str()))
                }
                None => true,
            };
            if is_in_order {
                in_order.push((seq, entry));
            }
        }
        let mut earliest: Option<Millis> = None;
        for (seq, entry) in in_order {
            let is_free = entry.record.ino().is_none()
                || !entry.is_untouched()
                || !seen_names.contains(entry.record.name.as_str());
            let is_waiting = entry.on_hold || entry.is_scratch() || self.waits_for_room(entry);
            if !is_free || entry.in_flight || is_waiting {
                continue;
            }
            // Nobody's hurry makes a look before that say more.
            let due_at = self.due_at(entry, now).max(entry.settles_at);
            if due_at <= now {
                return Next::Do(*seq);
            }
            earliest = Some(earliest.map_or(due_at, |time| time.min(due_at)));
        }
        earliest.map_or(Next::Wait, Next::WaitUntil)
    }
}

/// Of all saves that the service had no room for, the one that shows with the least effort whether it has now.
pub(super) fn probe(saves: &Entries) -> Option<&Entry> {
    let refused = saves.values().filter(|entry| entry.wants_room);
    refused.min_by_key(|entry| (entry.size(), entry.record.seq))
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Ino, Record, Ticket, Work};
    use super::*;
    use crate::api::FileId;

    fn entry(seq: i64, ino: Option<u64>, not_before: Millis) -> (Seq, Entry) {
        let work = match ino {
            Some(ino) => Work::Save {
                ino: Ino(ino),
                size: 0,
                mime_type: String::new(),
                digest: None,
                body: Body::Inline,
            },
            None => Work::Delete {
                id: FileId::new("file_x"),
                doom: super::super::Doom::Removed,
            },
        };
        let record = Record {
            seq: Seq(seq),
            work,
            name: format!("name {seq}"),
            expires_in_seconds: None,
            program: crate::api::Program::AFS,
            tries: 0,
            since: 0,
            sent_at: None,
            sent_here_at: None,
            tried_at: None,
        };
        let entry = Entry {
            stands_for: record.seq,
            record,
            on_hold: false,
            is_spared: false,
            is_refused: false,
            not_before,
            settles_at: 0,
            is_urgent: false,
            is_limited: false,
            wants_room: false,
            room: 0,
            in_flight: false,
            is_noted: false,
            last_error: None,
            begun_at: None,
            failed_at: None,
            ticket: Ticket::default(),
        };
        (Seq(seq), entry)
    }

    fn pick(entries: &Entries, now: Millis) -> Next {
        Rules::new(entries, &Pacing::default()).pick(entries, now)
    }

    #[test]
    fn the_oldest_due_record_is_next() {
        let entries = Entries::from([entry(2, Some(7), 0), entry(3, Some(8), 0)]);
        assert_eq!(pick(&entries, 10), Next::Do(Seq(2)));
        assert_eq!(
            pick(&Entries::from([entry(1, None, 0)]), 10),
            Next::Do(Seq(1))
        );
    }

    #[test]
    fn records_of_one_inode_keep_their_order() {
        let mut entries = Entries::from([entry(1, Some(7), 0), entry(2, Some(7), 0)]);
        entries.get_mut(&Seq(1)).unwrap().in_flight = true;
        assert_eq!(pick(&entries, 10), Next::Wait);
        entries.get_mut(&Seq(1)).unwrap().in_flight = false;
        entries.get_mut(&Seq(1)).unwrap().not_before = 50;
        assert_eq!(pick(&entries, 10), Next::WaitUntil(50));
    }

    #[test]
    fn what_may_have_been_sent_goes_before_others_of_its_name() {
        let mut entries = Entries::from([entry(1, Some(7), 0), entry(2, Some(8), 0)]);
        for entry in entries.values_mut() {
            entry.record.name = "a".to_owned();
        }
        entries.get_mut(&Seq(1)).unwrap().not_before = 50;
        assert_eq!(pick(&entries, 10), Next::Do(Seq(2)));
        entries.get_mut(&Seq(1)).unwrap().record.sent_at = Some(5);
        assert_eq!(pick(&entries, 10), Next::WaitUntil(50));
    }

    /// A rename can give an older record the name of a newer one.
    #[test]
    fn what_was_never_sent_waits_for_whatever_of_its_name_may_have_been() {
        let mut entries = Entries::from([entry(1, Some(7), 0), entry(2, Some(8), 50)]);
        for entry in entries.values_mut() {
            entry.record.name = "a".to_owned();
        }
        entries.get_mut(&Seq(2)).unwrap().in_flight = true;
        assert_eq!(pick(&entries, 10), Next::Wait);
        entries.get_mut(&Seq(2)).unwrap().in_flight = false;
        assert_eq!(pick(&entries, 10), Next::Do(Seq(1)));
        entries.get_mut(&Seq(2)).unwrap().record.sent_at = Some(5);
        assert_eq!(pick(&entries, 10), Next::WaitUntil(50));
        // Not for one that waits for others itself: two that wait for each other would do so for ever.
        let (seq, mut first) = entry(0, Some(8), 80);
        first.record.name = "b".to_owned();
        entries.insert(seq, first);
        assert_eq!(pick(&entries, 10), Next::Do(Seq(1)));
    }

    #[test]
    fn a_try_that_may_have_its_effect_yet_is_not_repeated_by_anybodys_hurry() {
        let mut entries = Entries::from([entry(1, Some(7), 0)]);
        let first = entries.get_mut(&Seq(1)).unwrap();
        first.is_urgent = true;
        first.settles_at = 50;
        assert_eq!(pick(&entries, 10), Next::WaitUntil(50));
        assert_eq!(pick(&entries, 50), Next::Do(Seq(1)));
        // It is about to be done: an unmount waits for it.
        let pacing = Pacing::default();
        assert!(!Rules::new(&entries, &pacing).is_deferred(&entries[&Seq(1)], 10));
    }

    #[test]
    fn a_held_or_delayed_record_waits() {
        let mut entries = Entries::from([entry(1, Some(7), 30), entry(2, Some(8), 20)]);
        assert_eq!(pick(&entries, 10), Next::WaitUntil(20));
        assert_eq!(pick(&entries, 20), Next::Do(Seq(2)));
        entries.get_mut(&Seq(2)).unwrap().on_hold = true;
        assert_eq!(pick(&entries, 40), Next::Do(Seq(1)));
    }

    #[test]
    fn saves_of_one_name_keep_their_distance_where_they_are_paced() {
        let mut pacing = Pacing::every(100);
        let mut entries = Entries::from([entry(1, Some(7), 0), entry(2, Some(8), 0)]);
        let next = |pacing: &Pacing, entries: &Entries, now| {
            let rules = Rules::new(entries, pacing);
            (
                rules.pick(entries, now),
                rules.is_deferred(&entries[&Seq(1)], now),
            )
        };
        pacing.begins("name 1", 1000);
        assert_eq!(next(&pacing, &entries, 1050), (Next::Do(Seq(2)), true));
        entries.remove(&Seq(2));
        assert_eq!(next(&pacing, &entries, 1050), (Next::WaitUntil(1100), true));
        assert_eq!(next(&pacing, &entries, 1100), (Next::Do(Seq(1)), false));
        entries.get_mut(&Seq(1)).unwrap().is_urgent = true;
        assert_eq!(next(&pacing, &entries, 1050), (Next::Do(Seq(1)), false));
    }

    #[test]
    fn what_is_due_is_delayed_by_its_names_pace_and_nothing_else_is() {
        let mut pacing = Pacing::every(100);
        pacing.begins("a", 1000);
        for (when, name, now, expected) in [
            (When::Now, "a", 1030, When::After(70)),
            (When::Now, "a", 1100, When::Now),
            (When::Now, "b", 1030, When::Now),
            (When::OnHold, "a", 1030, When::OnHold),
            (When::After(5), "a", 1030, When::After(5)),
        ] {
            assert_eq!(
                pacing.apply(when, name, now),
                expected,
                "{when:?} {name} {now}"
            );
        }
        assert_eq!(Pacing::default().apply(When::Now, "a", 1), When::Now);
    }

    #[test]
    fn of_what_finds_no_room_only_the_smallest_is_tried() {
        let mut entries: Entries = (1..=4).map(|n| entry(n, Some(n as u64), 0)).collect();
        for (n, bytes) in [(1, 500), (2, 20), (3, 100), (4, 9_000)] {
            let entry = entries.get_mut(&Seq(n)).unwrap();
            entry.wants_room = n != 4;
            if let Work::Save { size, .. } = &mut entry.record.work {
                *size = bytes;
            }
        }
        // What is new is tried, whatever its size.
        entries.get_mut(&Seq(2)).unwrap().not_before = 50;
        assert_eq!(pick(&entries, 10), Next::Do(Seq(4)));
        entries.remove(&Seq(4));
        assert_eq!(pick(&entries, 10), Next::WaitUntil(50));
        assert_eq!(pick(&entries, 50), Next::Do(Seq(2)));
        entries.get_mut(&Seq(2)).unwrap().in_flight = true;
        assert_eq!(pick(&entries, 50), Next::Wait);
        entries.remove(&Seq(2));
        assert_eq!(pick(&entries, 50), Next::Do(Seq(3)));
    }
}
