//! The outbox: durable work for the service. A record goes through these steps, each idempotent, so that a process that
//! dies between two of them is continued by the next one:
//!
//! 1. [`State::seal`], [`State::unlink`], [`State::rename`]: the user's act, in one durable transaction
//! 2. the uploader sends it, and gives the bytes their place among the kept ones under the new id
//! 3. [`State::confirm`]: the inode is on the new id, the ids it replaced are queued for deletion, the record is gone;
//!    one transaction
//! 4. the record's own copy of the bytes is removed

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use crate::api::{FileId, Program};

use super::catalogue::row_where;
use super::clock::{Moment, now, steady};
use super::db::{Durability, Tx};
use super::entry::Entry;
use super::giving_up::{bring_back, take_out};
use super::queue::EntriesGuard;
use super::rows::{
    Content, deletable_id, drop_records, forget, hide, insert_deletes, insert_save, remember,
};
use super::style::send_as;
use super::superseding::{supersede_moved, take_superseded};
use super::unfinished::forget_draft;
use super::{Body, Digest, Doom, Ino, Millis, Nanos, Record, Seq, State, StateError, Ticket, Work};

/// Content that will not change any more, on its way into the outbox.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// For which inode.
    pub ino: Ino,
    /// Bytes.
    pub size: u64,
    /// Under which media type.
    pub mime_type: &'a str,
    /// The content's digest.
    pub digest: Digest,
    /// Where the bytes are; a staged file must be synced already.
    pub bytes: SealedBytes<'a>,
    /// Last change of content.
    pub mtime: Nanos,
    /// Last change of content or attributes.
    pub ctime: Nanos,
    /// When it may be sent.
    pub when: When,
}

/// The bytes of sealed content.
#[derive(Debug)]
pub enum SealedBytes<'a> {
    /// Small content, stored in the record.
    Inline(&'a [u8]),
    /// The name of a file under `staged/`.
    Staged(&'a str),
}

/// The time that never comes.
pub(super) const NEVER: Millis = Millis::MAX;

/// When a record may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as a worker is free.
    Now,
    /// After so many milliseconds without newer content.
    After(Millis),
    /// Not before [`State::release_hold`], or the next start.
    OnHold,
    /// Not for as long as the file has its name: it is a scratch file.
    Never,
}

impl When {
    /// The earliest time to send it.
    pub(super) fn not_before(self, now: Millis) -> Millis {
        match self {
            Self::Now | Self::OnHold => 0,
            Self::After(quiet) => now + quiet,
            Self::Never => NEVER,
        }
    }
}

/// Staged files that no record needs any more; deleting them is safe at any time after the call that returned them.
pub type Cleanup = Vec<String>;

/// Where the newest content of an inode is while the service has not confirmed it.
#[derive(Debug, PartialEq, Eq)]
pub enum PendingBody {
    /// These bytes.
    Inline(Vec<u8>),
    /// This file under `staged/`.
    Staged(String),
}

impl State {
    /// For the first moment after a start: forgets files that were never closed, gives back what these were to replace,
    /// and says which staged files the outbox still needs.
    pub fn recover(&self) -> Result<HashSet<String>, StateError> {
        let entries = self.queue.entries();
        self.write("recover", Durability::Relaxed, |tx| {
            for ino in never_saved(tx)? {
                for id in take_out(tx, ino)? {
                    // Where it can't be shown as it was, the next listing shows it.
                    bring_back(tx, &id, now())?;
                }
            }
            Ok(())
        })?;
        let stages = entries.all().filter_map(|entry| match &entry.record.work {
            Work::Save {
                body: Body::Staged(stage),
                ..
            } => Some(stage.clone()),
            Work::Save { .. } | Work::Delete { .. } => None,
        });
        let mut wanted: HashSet<String> = stages.collect();
        wanted.extend(self.unfinished_stages()?);
        Ok(wanted)
    }

    /// From now on the inode is being written: no listing takes it from its name until [`State::end_writing`].
    pub fn begin_writing(&self, ino: Ino) {
        self.queue.entries().begin_writing(ino);
    }

    /// One writer less; what it wrote is sealed.
    pub fn end_writing(&self, ino: Ino) {
        self.queue.entries().end_writing(ino);
    }

    /// Step 1 of a save. When this returns, the content survives anything and will be sent.
    ///
    /// An earlier record of the same inode that still waits for its handle, its quiet time or, refused and reported, its
    /// next try is replaced: nobody has seen it and nobody waits for it. With write-back nobody ever waits.
    pub fn seal(&self, sealed: &Sealed<'_>) -> Result<(Ticket, Cleanup), StateError> {
        look_for_program();
        let mut entries = self.queue.entries();
        let now = Moment::now();
        let is_held = sealed.when == When::OnHold;
        let replaced = replaced_by_newer(&entries, sealed.ino, is_held, now.steady);
        let mut entry = self.write("seal", Durability::Durable, |tx| {
            drop_records(tx, &replaced)?;
            remember(tx, sealed.ino)?;
            let (filename, is_scratch) = tx
                .sql
                .prepare_cached(
                    "UPDATE files SET size = ?2, mime_type = ?3, mtime = ?4, ctime = ?5, own = 1 WHERE ino = ?1 \
                     RETURNING filename, scratch",
                )?
                .query_row(
                    params![
                        sealed.ino.0 as i64,
                        sealed.size as i64,
                        sealed.mime_type,
                        sealed.mtime,
                        sealed.ctime
                    ],
                    |row| Ok((row.get::<_, String>(0)?, row.get(1)?)),
                )
                .optional()?
                .ok_or(StateError::Gone)?;
            let filename = send_as(tx, sealed.ino, filename, self.style())?;
            tx.touched.push(sealed.ino);
            let when = if is_scratch {
                When::Never
            } else {
                entries.paced(sealed.when, &filename, now.steady)
            };
            let (inline, body) = match sealed.bytes {
                SealedBytes::Inline(bytes) => (Some(bytes), Body::Inline),
                SealedBytes::Staged(stage) => {
                    forget_draft(tx, stage)?;
                    (None, Body::Staged(stage.to_owned()))
                }
            };
            let content = Content {
                size: sealed.size,
                mime_type: sealed.mime_type,
                digest: Some(sealed.digest),
                body,
                expires_in_seconds: None,
            };
            insert_save(tx, sealed.ino, &filename, content, inline, when, now)
        })?;
        for old in replaced.iter().filter_map(|seq| entries.get(*seq)) {
            entry.takes_the_place_of(old, !entries.is_paced());
        }
        let cleanup = forget(&mut entries, &replaced);
        if !is_held {
            hurry_earlier(&mut entries, sealed.ino);
        }
        if entry.is_scratch() {
            entry.is_never_sent(is_held);
        }
        let ticket = entry.ticket.clone();
        entries.insert(entry);
        Ok((ticket, cleanup))
    }

    /// The end of a save that changed nothing: the service has the same bytes as `id` already, and only the times are
    /// new. `false`, and nothing is done, when the inode is not what `id` is any more or has anything pending.
    pub fn stays(
        &self,
        ino: Ino,
        id: &FileId,
        mtime: Nanos,
        ctime: Nanos,
    ) -> Result<bool, StateError> {
        let entries = self.queue.entries();
        if !entries.of_inode(ino).is_empty() {
            return Ok(false);
        }
        self.write("stays", Durability::Relaxed, |tx| {
            let changed = tx.sql.execute(
                "UPDATE files SET mtime = ?3, ctime = ?4 WHERE ino = ?1 AND id = ?2",
                params![ino.0 as i64, id.as_str(), mtime, ctime],
            )?;
            tx.touched.push(ino);
            Ok(changed > 0)
        })
    }

    /// Lets a record go that waited for the inode's open handle, in the place of what waits before it. A scratch file's is
    /// not sent all the same.
    pub fn release_hold(&self, ino: Ino, when: When) -> Cleanup {
        let mut entries = self.queue.entries();
        let now = steady();
        let held = |seq: &Seq| entries.get(*seq).is_some_and(|entry| entry.on_hold);
        let Some(held) = entries.of_inode(ino).into_iter().rfind(held) else {
            return Cleanup::new();
        };
        let mut replaced = replaced_by_newer(&entries, ino, false, now);
        replaced.retain(|seq| *seq < held);
        if !replaced.is_empty() {
            let dropped = self.write("replace", Durability::Durable, |tx| {
                drop_records(tx, &replaced)
            });
            if let Err(error) = dropped {
                log::warn!("what was saved before goes out as well: {error}");
                replaced.clear();
            }
        }
        let is_awaited = !entries.is_paced();
        let old: Vec<Entry> = replaced
            .iter()
            .filter_map(|seq| entries.get(*seq).cloned())
            .collect();
        if let Some(entry) = entries.get_mut(held) {
            entry.on_hold = when == When::OnHold;
            if !entry.is_scratch() {
                entry.not_before = when.not_before(now);
            }
            for old in &old {
                entry.takes_the_place_of(old, is_awaited);
            }
        }
        let cleanup = forget(&mut entries, &replaced);
        if when == When::Now {
            hurry_earlier(&mut entries, ino);
        }
        cleanup
    }

    /// Whether an inode's newest content was sealed and not closed yet.
    #[must_use]
    pub fn is_on_hold(&self, ino: Ino) -> bool {
        let entries = self.queue.entries();
        let mut seqs = entries.of_inode(ino).into_iter();
        seqs.any(|seq| entries.get(seq).is_some_and(|entry| entry.on_hold))
    }

    /// Has what was closed last and waits to be sent go out and stay at the service, whatever comes after it: that comes
    /// from a program that was killed. `false` where there is nothing of that kind; an empty file is nothing to keep, and what
    /// the service refuses does not get there.
    pub fn spare_waiting(&self, ino: Ino) -> bool {
        let mut entries = self.queue.entries();
        let mut is_any = false;
        for seq in entries.of_inode(ino).into_iter().rev() {
            let goes_out = |entry: &&mut Entry| entry.is_closed() && !entry.is_refused;
            let Some(entry) = entries.get_mut(seq).filter(goes_out) else {
                continue;
            };
            entry.is_spared = true;
            is_any = true;
            // A rename sends again what the record before it has sent.
            if !entry.sends_again() {
                break;
            }
        }
        is_any
    }

    /// Removes a file from the directory, durably; what stands for it at the service is deleted later.
    pub fn unlink(&self, ino: Ino) -> Result<Cleanup, StateError> {
        look_for_program();
        let mut entries = self.queue.entries();
        let now = Moment::now();
        let dropped = untouched(&entries, ino);
        let deletes = self.write("unlink", Durability::Durable, |tx| {
            drop_records(tx, &dropped)?;
            // A listing may have moved the file since the caller found it.
            let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?.ok_or(StateError::Gone)?;
            let mut doomed = take_superseded(tx, ino)?;
            let name = row.filename.as_str();
            doomed.extend(deletable_id(&row));
            remember(tx, ino)?;
            if let (Some(_), Some(id)) = (&row.scope, &row.id) {
                hide(tx, id)?;
            }
            tx.sql
                .execute("DELETE FROM files WHERE ino = ?1", [ino.0 as i64])?;
            tx.touched.push(ino);
            let mut gone = Vec::new();
            for id in doomed {
                if !supersede_moved(tx, &id, name)? {
                    gone.push(id);
                }
            }
            insert_deletes(tx, &gone, name, Doom::Removed, now)
        })?;
        let cleanup = forget(&mut entries, &dropped);
        entries.needs_no_room(ino);
        for entry in deletes {
            entries.insert_delete(entry);
        }
        Ok(cleanup)
    }

    /// Lets deletions of an id wait until [`State::release_delete`]: somebody reads bytes that only the service has.
    pub fn hold_delete(&self, id: &FileId) {
        self.queue.entries().hold_delete(id);
    }

    /// Lets deletions of an id go that waited for a reader.
    pub fn release_delete(&self, id: &FileId) {
        self.queue.entries().release_delete(id);
    }

    /// The bytes of a record that holds them itself.
    pub fn inline_body(&self, seq: Seq) -> Result<Vec<u8>, StateError> {
        self.db.read(|sql| {
            sql.prepare_cached("SELECT inline FROM outbox WHERE seq = ?1")?
                .query_row([seq.0], |row| row.get(0))
        })
    }

    /// Where an inode's unconfirmed content is; `None` when the confirmed id has it all.
    pub fn pending_body(&self, ino: Ino) -> Result<Option<PendingBody>, StateError> {
        for (seq, body) in self.queue.bodies(ino).into_iter().rev() {
            match body {
                Body::Inline => match self.inline_body(seq) {
                    Ok(bytes) => return Ok(Some(PendingBody::Inline(bytes))),
                    // Confirmed between the two looks. The row in memory is a moment behind the database, and would lead
                    // to the version before; it is up to date when the confirmation lets go of the queue.
                    Err(StateError::Database(rusqlite::Error::QueryReturnedNoRows)) => {
                        drop(self.queue.entries());
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                },
                Body::Staged(stage) => return Ok(Some(PendingBody::Staged(stage))),
                Body::Held => {}
            }
        }
        Ok(None)
    }

    /// The save that would bring an inode's newest content to the service, where that cannot have seen it yet and it has
    /// bytes.
    #[must_use]
    pub fn unsent(&self, ino: Ino) -> Option<Record> {
        let entries = self.queue.entries();
        let newest = untouched(&entries, ino).into_iter().rev();
        let records = newest.filter_map(|seq| Some(entries.get(seq)?.record.clone()));
        records.into_iter().find(|record| match &record.work {
            Work::Save { size, body, .. } => *size > 0 && !matches!(body, Body::Held),
            Work::Delete { .. } => false,
        })
    }

    /// Whether an inode has anything to be sent.
    #[must_use]
    pub fn is_pending(&self, ino: Ino) -> bool {
        self.queue.has_bodies(ino)
    }
}

/// Finds out whose act new records are: that may be a look at files of the kernel's, which nobody should wait for who
/// wants the queue.
pub(super) fn look_for_program() {
    let _ = Program::current();
}

/// Inodes that nothing at the service and nothing in the outbox stands behind.
fn never_saved(tx: &Tx<'_>) -> Result<Vec<Ino>, StateError> {
    let mut statement = tx.sql.prepare(
        "SELECT ino FROM (SELECT ino FROM files WHERE id IS NULL \
         UNION SELECT ino FROM superseded WHERE ino NOT IN (SELECT ino FROM files)) \
         WHERE ino NOT IN (SELECT ino FROM outbox WHERE kind = 'save')",
    )?;
    let inodes = statement.query_map([], |row| row.get::<_, i64>(0).map(|ino| Ino(ino as u64)))?;
    Ok(inodes.collect::<Result<_, _>>()?)
}

/// The inode's records that the service cannot have seen.
pub(super) fn untouched(entries: &EntriesGuard<'_>, ino: Ino) -> Vec<Seq> {
    let mut seqs = entries.of_inode(ino);
    seqs.retain(|seq| entries.get(*seq).is_some_and(Entry::is_untouched));
    seqs
}

/// The newest of them: those that nothing comes after which the service may have seen.
pub(super) fn untouched_newest(entries: &EntriesGuard<'_>, ino: Ino) -> Vec<Seq> {
    let seqs = entries.of_inode(ino);
    let is_touched = |seq: &Seq| !entries.get(*seq).is_some_and(Entry::is_untouched);
    let first = seqs.iter().rposition(is_touched).map_or(0, |last| last + 1);
    seqs[first..].to_vec()
}

/// The inode's records that newer content replaces. A rename behind what is replaced was to send that again under another
/// name; the newer content has that name.
fn replaced_by_newer(entries: &EntriesGuard<'_>, ino: Ino, on_hold: bool, now: Millis) -> Vec<Seq> {
    let mut replaced = entries.replaceable(ino, on_hold, now);
    if let Some(first) = replaced.first().copied() {
        replaced.extend(renames_behind(entries, ino, first));
    }
    replaced
}

/// Content of one file goes out in order: who waits for the newest must not wait for an earlier one's patience.
fn hurry_earlier(entries: &mut EntriesGuard<'_>, ino: Ino) {
    if entries.is_paced() {
        return;
    }
    for seq in entries.of_inode(ino) {
        if let Some(earlier) = entries.get_mut(seq).filter(|earlier| !earlier.is_scratch()) {
            earlier.not_before = 0;
        }
    }
}

/// The inode's records behind `seq` that send what it has sent again under another name. They wait for it, so that none
/// of them is on its way.
fn renames_behind(entries: &EntriesGuard<'_>, ino: Ino, seq: Seq) -> Vec<Seq> {
    let is_rename =
        |later: &Seq| *later > seq && entries.get(*later).is_some_and(Entry::sends_again);
    entries
        .of_inode(ino)
        .into_iter()
        .filter(is_rename)
        .collect()
}
