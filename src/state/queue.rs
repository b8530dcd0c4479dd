//! The outbox in memory: which record is next, who works on it, who waits for it. The database holds the truth; this
//! holds what a process that died does not need.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::api::{ApiError, FileId};

use super::record::{Body, Class, Record, Seq, Ticket, Work};
use super::{Ino, Millis, lock};

/// A record and what only this process knows of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) on_hold: bool,
    pub(super) not_before: Millis,
    pub(super) in_flight: bool,
    /// Whether the database says that it may have been sent.
    pub(super) is_noted: bool,
    pub(super) last_error: Option<String>,
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

    /// Whether it waits for something else than its turn: an open handle, the end of its quiet time, its next try.
    pub(super) fn is_deferred(&self, now: Millis) -> bool {
        self.on_hold || self.not_before > now
    }
}

type Entries = BTreeMap<Seq, Entry>;

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
}

/// What a worker does next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Do(Seq),
    WaitUntil(Millis),
    Wait,
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
        }
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
            let now = now();
            inner = match pick(inner.class(class), now) {
                Next::Do(seq) => {
                    let entry = inner.class(class).get_mut(&seq)?;
                    entry.in_flight = true;
                    entry.record.tried_at.get_or_insert(now);
                    return Some(entry.record.clone());
                }
                Next::WaitUntil(time) => {
                    let left = Duration::from_millis((time - now).clamp(1, 3_600_000) as u64);
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
            let now = now();
            let busy = inner
                .all()
                .filter(|entry| entry.in_flight || !entry.is_deferred(now))
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

    pub(super) fn stop(&self) {
        lock(&self.inner).stopped = true;
        self.changed.notify_all();
    }
}

/// The first record that is due. Records of one inode go out in their order: a later one waits for all earlier ones,
/// also for those that failed and wait for their next try. So do records of one name, once the service may have seen
/// the earlier one: of two files of one name, only their order tells which is whose.
fn pick(entries: &Entries, now: Millis) -> Next {
    let mut waiting_inodes = HashSet::new();
    let mut waiting_names = HashSet::new();
    let mut earliest: Option<Millis> = None;
    for (seq, entry) in entries {
        let is_free = match entry.record.ino() {
            Some(ino) => {
                let name = entry.record.name.as_str();
                let is_name_free = !waiting_names.contains(name);
                if !entry.is_untouched() {
                    waiting_names.insert(name);
                }
                waiting_inodes.insert(ino) && is_name_free
            }
            None => true,
        };
        if !is_free || entry.in_flight || entry.on_hold {
            continue;
        }
        if entry.not_before <= now {
            return Next::Do(*seq);
        }
        earliest = Some(earliest.map_or(entry.not_before, |time| time.min(entry.not_before)));
    }
    earliest.map_or(Next::Wait, Next::WaitUntil)
}

/// The wall clock in milliseconds: schedules outlive the process.
#[must_use]
pub fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as Millis)
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
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                renamed: false,
            },
        };
        let record = Record {
            seq: Seq(seq),
            work,
            name: String::new(),
            tries: 0,
            since: 0,
            sent_at: None,
            tried_at: None,
        };
        let entry = Entry {
            record,
            on_hold: false,
            not_before,
            in_flight: false,
            is_noted: false,
            last_error: None,
            ticket: Ticket::default(),
        };
        (Seq(seq), entry)
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
    fn a_hung_deletion_leaves_the_saves_their_turn() {
        let queue = Queue::new(vec![entry(1, None, 0).1, entry(2, Some(7), 0).1]);
        assert_eq!(queue.next(Class::Deletes).unwrap().seq, Seq(1));
        assert_eq!(queue.next(Class::Saves).unwrap().seq, Seq(2));
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

    #[test]
    fn a_held_or_delayed_record_waits() {
        let mut entries = Entries::from([entry(1, Some(7), 30), entry(2, Some(8), 20)]);
        assert_eq!(pick(&entries, 10), Next::WaitUntil(20));
        assert_eq!(pick(&entries, 20), Next::Do(Seq(2)));
        entries.get_mut(&Seq(2)).unwrap().on_hold = true;
        assert_eq!(pick(&entries, 40), Next::Do(Seq(1)));
    }
}
