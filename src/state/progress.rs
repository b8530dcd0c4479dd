//! What becomes of records: the uploader takes them, and says how they ended.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rusqlite::params;

use crate::api::{ApiError, Call, ErrorKind, FileId, FileMetadata};

use super::catalogue::row_where;
use super::clock::{Moment, now};
use super::db::{Durability, Tx};
use super::entry::Entry;
use super::queue::EntriesGuard;
use super::rows::{
    adopt, drop_records, forget, forget_former, insert_deletes, remember_confirmed,
    remember_successor, unhide,
};
use super::superseding::{
    heir_of, supersede_confirmed, take_late, take_moved_aside, take_replaced, take_superseded,
};
use super::{Body, Class, Cleanup, Doom, KeptAs, Millis, Record, Seq, State, StateError, Work};

/// A save's end.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed<'a> {
    /// What the service has for it.
    pub file: &'a FileMetadata,
    /// Whether that it is ours is a guess: then it is never deleted.
    pub spared: bool,
    /// The copy kept here, where one is.
    pub kept: Option<KeptAs>,
    /// Whether what it replaces stays at the service.
    pub keeps_replaced: bool,
}

impl State {
    /// The next record for a worker of `class`; blocks, `None` when the outbox stops.
    #[must_use]
    pub fn next_record(&self, class: Class) -> Option<Record> {
        self.queue.next(class)
    }

    /// From now on nobody waits for saves (write-back), and those of one name are sent `interval` apart at least: each
    /// time only the newest content. What is hurried goes out at once all the same.
    pub fn coalesce_saves(&self, interval: Duration) {
        let interval = Millis::try_from(interval.as_millis()).unwrap_or(Millis::MAX / 2);
        self.queue.pace(interval);
    }

    /// A try whose answer was lost may have its effect so long after its end, or where that is not known, after its
    /// beginning: only then is looked for it, and sent again. For the moment before the workers begin.
    pub fn let_settle(&self, settles: Duration) {
        let settles = Millis::try_from(settles.as_millis()).unwrap_or(Millis::MAX / 2);
        self.queue.let_settle(settles);
    }

    /// Ends all waiting of workers.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// Waits until nothing is due any more; how many records still are at `deadline`.
    #[must_use]
    pub fn wait_idle(&self, deadline: Instant) -> usize {
        self.queue.wait_idle(deadline)
    }

    /// Notes, durably, that a try to send the record begins: should the process die, the next one looks whether it
    /// arrived before it sends again.
    pub fn sending(&self, seq: Seq) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        if entries.get(seq).is_none_or(|entry| entry.is_noted) {
            return Ok(());
        }
        self.write("sending", Durability::Durable, |tx| {
            tx.sql.execute(
                "UPDATE outbox SET sent_at = ?2 WHERE seq = ?1",
                params![seq.0, now()],
            )?;
            Ok(())
        })?;
        if let Some(entry) = entries.get_mut(seq) {
            entry.is_noted = true;
        }
        Ok(())
    }

    /// The end of a save: the service has its file, and its bytes are kept here. Who waits is told. A file that was
    /// removed while it was on its way is deleted again, unless it is spared.
    pub fn confirm(&self, seq: Seq, confirmed: &Confirmed<'_>) -> Result<Cleanup, StateError> {
        let Confirmed { file, spared, .. } = *confirmed;
        let mut entries = self.queue.entries();
        let Some((ino, doom, digest, is_spared)) =
            entries.get(seq).and_then(|entry| match &entry.record.work {
                Work::Save {
                    ino, body, digest, ..
                } => {
                    let doom = match body {
                        Body::Held => Doom::Renamed,
                        Body::Inline | Body::Staged(_) => Doom::Replaced,
                    };
                    Some((*ino, doom, *digest, entry.is_spared))
                }
                Work::Delete { .. } => None,
            })
        else {
            return Ok(Cleanup::new());
        };
        self.queue.save_confirmed();
        entries.had_room_for(file.size_bytes);
        // What a rename put this inode in place of goes when its last content is there, not an earlier one.
        let is_last = entries.of_inode(ino).last() == Some(&seq);
        // What the directory called it when it was sent.
        let style = self.style();
        let name = style.typed_name(&file.filename);
        let deletes = self.write("confirm", Durability::Durable, |tx| {
            let heir = heir_of(tx, seq)?;
            drop_records(tx, &[seq])?;
            let mut deletes = Vec::new();
            match row_where(&tx.sql, "ino = ?1", [ino.0 as i64])? {
                Some(row) => {
                    let spared = spared || is_spared;
                    let confirmed = &Confirmed {
                        spared,
                        ..*confirmed
                    };
                    let replaced = adopt(tx, &row, digest, confirmed, now())?;
                    if let (Some(id), []) = (&row.id, &replaced[..]) {
                        // It stays at the service beside its successor, as a file of its own.
                        forget_former(tx, id)?;
                    }
                    if !is_last {
                        remember_confirmed(tx, ino, file, &name)?;
                    }
                    deletes.extend(succeed(tx, &replaced, confirmed, doom)?);
                    let aside = take_moved_aside(tx, &file.filename, ino)?;
                    deletes.extend(succeed(tx, &aside, confirmed, Doom::Replaced)?);
                    if row.scratch && !spared {
                        let late = take_late(tx, ino, file, &name)?;
                        deletes.extend(insert_deletes(
                            tx,
                            &late,
                            &file.filename,
                            Doom::Replaced,
                            Moment::now(),
                        )?);
                    }
                }
                None if spared => {}
                // Removed, or replaced by a rename: what took its name first.
                None if supersede_confirmed(tx, confirmed, &name, digest, heir)? => {}
                None => {
                    let doomed = [file.id.clone()];
                    let (filename, doom) = (&file.filename, Doom::Removed);
                    deletes.extend(insert_deletes(tx, &doomed, filename, doom, Moment::now())?);
                }
            }
            if is_last {
                let superseded = take_superseded(tx, ino)?;
                deletes.extend(succeed(tx, &superseded, confirmed, Doom::Replaced)?);
            }
            Ok(deletes)
        })?;
        for entry in deletes {
            entries.insert_delete(entry);
        }
        Ok(forget(&mut entries, &[seq]))
    }

    /// The end of a save whose file was removed, or got a scratch name, before the service had it. What that one stands for
    /// was needed for the record's bytes, perhaps, and may have been replaced meanwhile.
    pub fn abandon(&self, seq: Seq) -> Result<Cleanup, StateError> {
        let mut entries = self.queue.entries();
        let of = entries
            .get(seq)
            .and_then(|entry| Some((entry.record.ino()?, entry.record.name.clone())));
        let deletes = self.write("abandon", Durability::Durable, |tx| {
            drop_records(tx, &[seq])?;
            let Some((ino, name)) = &of else {
                return Ok(Vec::new());
            };
            let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?;
            if !row.is_some_and(|row| row.scratch) {
                return Ok(Vec::new());
            }
            let replaced = take_replaced(tx, *ino)?;
            insert_deletes(tx, &replaced, name, Doom::Replaced, Moment::now())
        })?;
        for entry in deletes {
            entries.insert_delete(entry);
        }
        Ok(forget(&mut entries, &[seq]))
    }

    /// The end of a deletion.
    pub fn deleted(&self, seq: Seq, id: &FileId) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        self.write("deleted", Durability::Relaxed, |tx| {
            tx.sql.execute(
                "UPDATE hidden SET deleted_at = ?2 WHERE id = ?1",
                params![id.as_str(), now()],
            )?;
            forget_former(tx, id)?;
            drop_records(tx, &[seq])
        })?;
        forget(&mut entries, &[seq]);
        entries.may_have_room();
        Ok(())
    }

    /// A try failed; the record waits for `pause`. With `report`, who waits for it is told.
    pub fn postpone(
        &self,
        seq: Seq,
        error: &ApiError,
        pause: Duration,
        report: bool,
    ) -> Result<(), StateError> {
        let pause = Millis::try_from(pause.as_millis()).unwrap_or(Millis::MAX / 2);
        let now = Moment::now();
        let mut entries = self.queue.entries();
        // What was asked before the upload left nothing at the service.
        let is_upload = error.call == Call::Upload;
        let is_full = error.kind == ErrorKind::StorageFull;
        let is_removed = self.is_removed(&entries, seq);
        let pause = if is_full && (is_removed || entries.has_missed_room(seq)) {
            0
        } else {
            pause
        };
        if let Some(entry) = entries.get_mut(seq) {
            let since = entry
                .failed_at
                .replace(now.steady)
                .or(entry.record.tried_at);
            if report && entry.record.class() == Class::Saves {
                self.queue.save_failed(error, since.unwrap_or(now.steady));
            }
            entry.in_flight = false;
            entry.is_limited = error.kind == ErrorKind::RateLimited;
            entry.is_refused = !error.is_transient();
            // A service that is away says nothing about its room.
            entry.wants_room &= error.is_transient();
            entry.wants_room |= is_full && !is_removed;
            entry.not_before = now.steady + pause;
            entry.record.tries += 1;
            // Standing in line has not failed.
            if let (Some(tried_at), Some(line)) = (&mut entry.record.tried_at, error.line) {
                *tried_at += line.waited.as_millis() as Millis;
            }
            if is_upload && error.may_have_happened() && entry.record.sent_at.is_none() {
                entry.record.sent_at = entry.begun_at;
                entry.record.sent_here_at = entry.record.tried_at;
            }
            entry.last_error = Some(error.to_string());
        }
        if is_upload && error.may_be_under_way() {
            entries.unsettle(seq, now.steady);
        }
        if report {
            // What waits for its turn behind this one waits as long; its closers are told as well.
            for waiting in behind(&entries, seq) {
                entries.settle(waiting, Err(error.clone()));
            }
        }
        let sent_at = entries.get(seq).and_then(|entry| entry.record.sent_at);
        self.write("postpone", Durability::Relaxed, |tx| {
            tx.sql.execute(
                "UPDATE outbox SET tries = tries + 1, not_before = ?2, last_error = ?3, sent_at = ?4 WHERE seq = ?1",
                params![seq.0, now.wall + pause, error.to_string(), sent_at],
            )?;
            Ok(())
        })?;
        // Where this was not written down, what was noted before still is; or it is noted again before the next try. This
        // commit may be lost with the power: it is no note that an upload may rely on.
        if let Some(entry) = entries.get_mut(seq) {
            entry.is_noted &= sent_at.is_some();
        }
        Ok(())
    }

    /// Whether the record's file was removed while it was on its way: then there is nothing to wait for.
    fn is_removed(&self, entries: &EntriesGuard<'_>, seq: Seq) -> bool {
        let ino = entries.get(seq).and_then(|entry| entry.record.ino());
        // A database that can't be read must not keep the record from its next try.
        ino.is_some_and(|ino| self.row(ino).is_ok_and(|row| row.is_none()))
    }

    /// Why saves fail at present: the error of the last one that was reported as failed for a passing trouble, until
    /// one is confirmed again.
    #[must_use]
    pub fn away(&self) -> Option<ApiError> {
        self.queue.away()
    }

    /// Gives a deletion up that the service refuses for good: the id may be listed again.
    pub fn give_up_delete(&self, seq: Seq, id: &FileId) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        self.write("give up a deletion", Durability::Durable, |tx| {
            tx.sql
                .execute("DELETE FROM hidden WHERE id = ?1", [id.as_str()])?;
            forget_former(tx, id)?;
            drop_records(tx, &[seq])
        })?;
        entries.remove(seq);
        Ok(())
    }

    /// Makes failed work due now: that of `name`, or all; how much it is. What the service had no room for is tried
    /// where it is named, else the smallest of it is.
    pub fn retry(&self, name: Option<&str>) -> usize {
        self.make_due(name.is_some(), |entry| {
            entry.last_error.is_some()
                && name.is_none_or(|name| self.is_called(&entry.record.name, name))
        })
    }

    /// Makes everything due now that waits for its quiet time, its name's pace or its next try.
    pub fn hurry(&self) {
        self.make_due(false, |_| true);
    }

    /// Makes newer content due now that has taken the place of what was hurried as record `last` or before it.
    pub fn hurry_successors(&self, last: Seq) {
        self.make_due(false, |entry| {
            entry.record.seq > last && entry.stands_for <= last && entry.record.tries == 0
        });
    }

    fn make_due(&self, finds_room: bool, is_meant: impl Fn(&Entry) -> bool) -> usize {
        let mut entries = self.queue.entries();
        let meant: Vec<Seq> = entries
            .all()
            .filter(|entry| !entry.in_flight && !entry.is_scratch() && is_meant(entry))
            .map(|entry| entry.record.seq)
            .collect();
        for seq in &meant {
            if let Some(entry) = entries.get_mut(*seq) {
                entry.not_before = 0;
                entry.is_urgent = true;
                entry.wants_room &= !finds_room;
            }
        }
        meant.len()
    }

    /// Whether the id is known here, as a file or as one that was deleted or replaced.
    pub fn is_known_id(&self, id: &FileId) -> Result<bool, StateError> {
        self.knows_any(std::slice::from_ref(id))
    }

    /// Names and sizes of the saves on their way: a listing may show such a file before its upload is answered.
    #[must_use]
    pub fn saves_in_flight(&self) -> Vec<(String, u64)> {
        let entries = self.queue.entries();
        entries
            .all()
            .filter(|entry| entry.in_flight || entry.record.sent_at.is_some())
            .filter_map(|entry| match &entry.record.work {
                Work::Save { size, .. } => Some((entry.record.name.clone(), *size)),
                Work::Delete { .. } => None,
            })
            .collect()
    }
}

/// Puts a confirmed file in the place of `old` ids: they are remembered, and go, or are listed again as files of their
/// own. A renamed file has nothing to be kept for: its bytes are there under the new name.
fn succeed(
    tx: &mut Tx<'_>,
    old: &[FileId],
    confirmed: &Confirmed<'_>,
    doom: Doom,
) -> Result<Vec<Entry>, StateError> {
    let (file, now) = (confirmed.file, Moment::now());
    remember_successor(tx, old, file, now.wall)?;
    if confirmed.keeps_replaced && doom == Doom::Replaced {
        unhide(tx, old)?;
        return Ok(Vec::new());
    }
    insert_deletes(tx, old, &file.filename, doom, now)
}

/// The record, and those that can't be sent before it is: later ones of its inode, others of its name, and what waits
/// behind these.
fn behind(entries: &EntriesGuard<'_>, seq: Seq) -> Vec<Seq> {
    let mut waiting = vec![seq];
    let name = entries.get(seq).map(|entry| entry.record.name.as_str());
    let (mut inodes, mut names) = (HashSet::new(), HashSet::<_>::from_iter(name));
    for entry in entries.all() {
        let record = &entry.record;
        let Some(ino) = record.ino() else { continue };
        let name = record.name.as_str();
        let is_behind = if record.seq > seq {
            inodes.contains(&ino) || names.contains(name)
        } else {
            record.seq < seq && entry.is_untouched() && names.contains(name)
        };
        if record.seq == seq || is_behind {
            inodes.insert(ino);
            names.insert(name);
        }
        if is_behind {
            waiting.push(record.seq);
        }
    }
    waiting
}
