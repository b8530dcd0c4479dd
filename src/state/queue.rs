//! The outbox in memory: which record is next, who works on it, who waits for it. The database holds the truth; this
//! holds what a process that died does not need.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::api::{ApiError, FileId};

use super::clock::{Moment, now, steady};
use super::entry::Entry;
use super::record::{Body, Class, Record, Seq, Work};
use super::schedule::{Entries, Next, Pacing, Rules, probe};
use super::{Ino, Millis, When, lock};

/// Where the unconfirmed content of each inode is, oldest first. Apart from the queue, whose lock is held over commits:
/// `stat` and `open` look here and must not wait for a disk.
type Bodies = Arc<Mutex<HashMap<Ino, Vec<(Seq, Body)>>>>;

#[derive(Debug, Default)]
struct Inner {
    saves: Entries,
    deletes: Entries,
    /// The saves of each inode, in their order.
    of_inode: HashMap<Ino, Vec<Seq>>,
    bodies: Bodies,
    /// Inodes that are open for writing, and how often. Content on its way into the outbox: no listing may take the
    /// inode from under it.
    writing: HashMap<Ino, usize>,
    /// Ids that somebody reads whose bytes are at the service only: their deletions wait.
    read: HashSet<FileId>,
    pacing: Pacing,
    /// How many deletions have made room at the service.
    room: u64,
    /// How long after a try whose answer was lost its effect may come.
    settles: Millis,
    /// How often anything has changed.
    changes: u64,
    stopped: bool,
}

impl Inner {
    fn class(&mut self, class: Class) -> &mut Entries {
        match class {
            Class::Saves => &mut self.saves,
            Class::Deletes => &mut self.deletes,
        }
    }

    fn insert(&mut self, entry: Entry) {
        let seq = entry.record.seq;
        if let Some(ino) = entry.record.ino() {
            self.of_inode.entry(ino).or_default().push(seq);
        }
        if let Work::Save { ino, body, .. } = &entry.record.work {
            let body = (seq, body.clone());
            lock(&self.bodies).entry(*ino).or_default().push(body);
        }
        self.class(entry.record.class()).insert(seq, entry);
    }

    fn remove(&mut self, seq: Seq) -> Option<Entry> {
        let entry = self
            .saves
            .remove(&seq)
            .or_else(|| self.deletes.remove(&seq))?;
        if let Some(ino) = entry.record.ino()
            && let Some(seqs) = self.of_inode.get_mut(&ino)
        {
            seqs.retain(|other| *other != seq);
            if seqs.is_empty() {
                self.of_inode.remove(&ino);
            }
            let mut bodies = lock(&self.bodies);
            if let Some(of_inode) = bodies.get_mut(&ino) {
                of_inode.retain(|(other, _)| *other != seq);
                if of_inode.is_empty() {
                    bodies.remove(&ino);
                }
            }
        }
        Some(entry)
    }

    fn rules(&self) -> Rules<'_> {
        Rules::new(&self.saves, &self.pacing)
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.saves.values().chain(self.deletes.values())
    }
}

/// The queue; its lock is held over the transactions that change the outbox, so both always say the same.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    bodies: Bodies,
    /// Apart from the queue as well: everybody in close(2) looks at it again and again.
    away: Mutex<Away>,
}

/// Whether saves have been failing of late.
#[derive(Debug, Default)]
struct Away {
    /// Why the last save failed that was reported as failed; none since one was confirmed.
    error: Option<ApiError>,
    confirmed_at: Millis,
}

impl Queue {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let mut inner = Inner::default();
        for entry in entries {
            inner.insert(entry);
        }
        Self {
            bodies: Arc::clone(&inner.bodies),
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            away: Mutex::default(),
        }
    }

    /// A save's failure is reported that has been failing since `since`. Where another one was confirmed meanwhile, the
    /// trouble is this one's alone.
    pub(super) fn save_failed(&self, error: &ApiError, since: Millis) {
        let mut away = lock(&self.away);
        if error.is_transient() && away.confirmed_at < since {
            away.error = Some(error.clone());
        }
    }

    pub(super) fn save_confirmed(&self) {
        *lock(&self.away) = Away {
            error: None,
            confirmed_at: steady(),
        };
    }

    pub(super) fn away(&self) -> Option<ApiError> {
        lock(&self.away).error.clone()
    }

    /// The entries, locked; dropping the guard wakes the workers where anything changed.
    pub(super) fn entries(&self) -> EntriesGuard<'_> {
        EntriesGuard {
            inner: lock(&self.inner),
            changed: &self.changed,
            is_changed: false,
        }
    }

    /// Where the inode's unconfirmed content is, oldest first.
    pub(super) fn bodies(&self, ino: Ino) -> Vec<(Seq, Body)> {
        lock(&self.bodies).get(&ino).cloned().unwrap_or_default()
    }

    /// Whether the inode has unconfirmed content.
    pub(super) fn has_bodies(&self, ino: Ino) -> bool {
        lock(&self.bodies).contains_key(&ino)
    }

    /// Blocks until a record of `class` is due, marks it in flight and returns it; `None` once stopped.
    pub(super) fn next(&self, class: Class) -> Option<Record> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.stopped {
                return None;
            }
            let time = steady();
            let entries = match class {
                Class::Saves => &inner.saves,
                Class::Deletes => &inner.deletes,
            };
            inner = match inner.rules().pick(entries, time) {
                Next::Do(seq) => {
                    let inner = &mut *inner;
                    let room = inner.room;
                    let entry = inner.class(class).get_mut(&seq)?;
                    entry.in_flight = true;
                    entry.record.tried_at.get_or_insert(time);
                    entry.begun_at.get_or_insert_with(now);
                    entry.room = room;
                    let record = entry.record.clone();
                    if class == Class::Saves {
                        inner.pacing.begins(&record.name, time);
                    }
                    return Some(record);
                }
                Next::WaitUntil(due) => {
                    let left = Duration::from_millis((due - time).clamp(1, 3_600_000) as u64);
                    self.changed
                        .wait_timeout(inner, left)
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .0
                }
                Next::Wait => self
                    .changed
                    .wait(inner)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        }
    }

    /// Blocks until nothing is due and nothing is in flight, or `deadline`; what is left is counted.
    pub(super) fn wait_idle(&self, deadline: Instant) -> usize {
        let mut inner = lock(&self.inner);
        loop {
            let now = steady();
            let rules = inner.rules();
            let busy = inner
                .all()
                .filter(|entry| entry.in_flight || !rules.is_deferred(entry, now))
                .count();
            let left = deadline.saturating_duration_since(Instant::now());
            if busy == 0 || left.is_zero() {
                return busy;
            }
            inner = self
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    pub(super) fn let_settle(&self, settles: Millis) {
        let mut inner = lock(&self.inner);
        inner.settles = settles;
        let now = Moment::now();
        for entry in inner.saves.values_mut() {
            entry.settles_at = now.settles_at(entry.record.sent_at, settles);
        }
    }

    pub(super) fn pace(&self, interval: Millis) {
        lock(&self.inner).pacing = Pacing::every(interval);
    }

    /// Waits; whether it was stopped meanwhile.
    pub(super) fn is_stopped_within(&self, wait: Duration) -> bool {
        let inner = lock(&self.inner);
        let waited = self
            .changed
            .wait_timeout_while(inner, wait, |inner| !inner.stopped);
        waited
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0
            .stopped
    }

    /// Waits until anything has changed since it had changed `seen` times, or it is stopped; how often it has by then.
    pub(super) fn wait_for_change(&self, seen: u64) -> u64 {
        let inner = lock(&self.inner);
        let waited = self
            .changed
            .wait_while(inner, |inner| inner.changes == seen && !inner.stopped);
        waited
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .changes
    }

    pub(super) fn stop(&self) {
        lock(&self.inner).stopped = true;
        self.changed.notify_all();
    }
}

/// The entries, locked.
pub(super) struct EntriesGuard<'a> {
    inner: MutexGuard<'a, Inner>,
    changed: &'a Condvar,
    is_changed: bool,
}

impl EntriesGuard<'_> {
    pub(super) fn insert(&mut self, entry: Entry) {
        self.is_changed = true;
        self.inner.insert(entry);
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Entry> {
        self.is_changed = true;
        self.inner.remove(seq)
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Entry> {
        let inner = &self.inner;
        inner.saves.get(&seq).or_else(|| inner.deletes.get(&seq))
    }

    pub(super) fn get_mut(&mut self, seq: Seq) -> Option<&mut Entry> {
        self.is_changed = true;
        let inner = &mut *self.inner;
        inner
            .saves
            .get_mut(&seq)
            .or_else(|| inner.deletes.get_mut(&seq))
    }

    /// Tells who waits for `seq` how it ended.
    pub(super) fn settle(&self, seq: Seq, outcome: Result<(), ApiError>) {
        if let Some(entry) = self.get(seq) {
            entry.ticket.settle(outcome);
        }
    }

    /// The records of an inode, in their order.
    pub(super) fn of_inode(&self, ino: Ino) -> Vec<Seq> {
        self.inner.of_inode.get(&ino).cloned().unwrap_or_default()
    }

    /// The record's last try may have its effect yet.
    pub(super) fn unsettle(&mut self, seq: Seq, now: Millis) {
        let settles = self.inner.settles;
        if let Some(entry) = self.get_mut(seq) {
            entry.settles_at = now + settles;
        }
    }

    /// The inode's records that newer content of it replaces: neither the service knows of them nor anybody in close(2).
    /// Content `on_hold` is not closed yet, and may never be whole: it takes no closed content's place.
    pub(super) fn replaceable(&self, ino: Ino, on_hold: bool, now: Millis) -> Vec<Seq> {
        let rules = self.inner.rules();
        let mut seqs = self.of_inode(ino);
        seqs.retain(|seq| {
            self.get(*seq).is_some_and(|entry| {
                let is_unseen = self.inner.pacing.is_on()
                    || entry.is_reported()
                    || rules.is_deferred(entry, now) && !entry.is_awaited();
                let is_outlived = on_hold && entry.is_closed();
                entry.is_untouched() && is_unseen && !is_outlived && !entry.is_irreplaceable()
            })
        });
        seqs
    }

    /// Whether nobody waits for saves and those of one name keep their distance.
    pub(super) fn is_paced(&self) -> bool {
        self.inner.pacing.is_on()
    }

    /// When a save of this name may be sent that might be sent at `when`.
    pub(super) fn paced(&self, when: When, name: &str, now: Millis) -> When {
        self.inner.pacing.apply(when, name, now)
    }

    /// The rules as they apply now.
    pub(super) fn rules(&self) -> Rules<'_> {
        self.inner.rules()
    }

    /// The service had room for so many bytes. Where that is as much as anything waits for, all of it is tried.
    pub(super) fn had_room_for(&mut self, size: u64) {
        if probe(&self.inner.saves).is_none_or(|probe| probe.size() > size) {
            return;
        }
        self.is_changed = true;
        for entry in self.inner.saves.values_mut() {
            if std::mem::take(&mut entry.wants_room) {
                entry.not_before = 0;
            }
        }
    }

    /// The inode was removed: what is left of it in here needs no room any more.
    pub(super) fn needs_no_room(&mut self, ino: Ino) {
        for seq in self.of_inode(ino) {
            if let Some(entry) = self.get_mut(seq)
                && std::mem::take(&mut entry.wants_room)
            {
                entry.not_before = 0;
            }
        }
    }

    /// Whether room was made since the record's last try began.
    pub(super) fn has_missed_room(&self, seq: Seq) -> bool {
        self.get(seq)
            .is_some_and(|entry| entry.room < self.inner.room)
    }

    /// The service may have room again: the smallest of what waits for it is tried now.
    pub(super) fn may_have_room(&mut self) {
        self.inner.room += 1;
        if let Some(seq) = probe(&self.inner.saves).map(|entry| entry.record.seq)
            && let Some(entry) = self.get_mut(seq)
        {
            entry.not_before = 0;
        }
    }

    /// Lets deletions of the id wait from now on.
    pub(super) fn hold_delete(&mut self, id: &FileId) {
        self.inner.read.insert(id.clone());
    }

    /// Lets deletions of the id go.
    pub(super) fn release_delete(&mut self, id: &FileId) {
        self.is_changed = true;
        self.inner.read.remove(id);
        for entry in self.inner.deletes.values_mut() {
            if matches!(&entry.record.work, Work::Delete { id: doomed, .. } if doomed == id) {
                entry.on_hold = false;
            }
        }
    }

    /// Takes a deletion in, on hold while somebody reads what it deletes.
    pub(super) fn insert_delete(&mut self, mut entry: Entry) {
        if let Work::Delete { id, .. } = &entry.record.work {
            entry.on_hold = self.inner.read.contains(id);
        }
        self.insert(entry);
    }

    /// Counts a writer of the inode in.
    pub(super) fn begin_writing(&mut self, ino: Ino) {
        *self.inner.writing.entry(ino).or_default() += 1;
    }

    /// Counts a writer of the inode out.
    pub(super) fn end_writing(&mut self, ino: Ino) {
        if let Some(count) = self.inner.writing.get_mut(&ino) {
            *count -= 1;
            if *count == 0 {
                self.inner.writing.remove(&ino);
            }
        }
    }

    /// Whether the inode is open for writing.
    pub(super) fn is_being_written(&self, ino: Ino) -> bool {
        self.inner.writing.contains_key(&ino)
    }

    /// Whether the inode has content here that the service has not confirmed, or is about to.
    pub(super) fn is_changing(&self, ino: Ino) -> bool {
        self.inner.of_inode.contains_key(&ino) || self.inner.writing.contains_key(&ino)
    }

    /// All records, saves first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.inner.all()
    }
}

impl Drop for EntriesGuard<'_> {
    fn drop(&mut self) {
        if self.is_changed {
            self.inner.changes += 1;
            self.changed.notify_all();
        }
    }
}
