//! The outbox: durable work for the service. A record goes through these steps, each idempotent, so that a process that
//! dies between two of them is continued by the next one:
//!
//! 1. [`State::seal`], [`State::unlink`], [`State::rename`]: the user's act, in one durable transaction
//! 2. the uploader sends it, and gives the bytes their place among the kept ones under the new id
//! 3. [`State::confirm`]: the inode is on the new id, the ids it replaced are queued for deletion, the record is gone;
//!    one transaction
//! 4. the record's own copy of the bytes is removed

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use crate::api::{ApiError, FileId, FileMetadata};

use super::catalogue::{row_where, taken};
use super::db::{Durability, Tx};
use super::queue::{EntriesGuard, Entry, now};
use super::{
    Body, Class, Ino, Millis, Nanos, Pending, Record, Row, Seq, State, StateError, Ticket, Work,
};

/// Content that will not change any more, on its way into the outbox.
#[derive(Debug)]
pub struct Sealed<'a> {
    /// For which inode.
    pub ino: Ino,
    /// Bytes.
    pub size: u64,
    /// Under which media type.
    pub mime_type: &'a str,
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

/// When a record may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as a worker is free.
    Now,
    /// After so many milliseconds without newer content.
    After(Millis),
    /// Not before [`State::release_hold`], or the next start.
    OnHold,
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

pub(super) fn load(sql: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = sql.prepare(
        "SELECT seq, kind, ino, name, size, mime_type, stage, held, id, not_before, since, tries, last_error \
         FROM outbox ORDER BY seq",
    )?;
    let entries = statement.query_map([], |row| {
        let id = row.get::<_, Option<String>>(8)?.map(FileId::new);
        let work = match (row.get::<_, String>(1)?.as_str(), id) {
            ("delete", Some(id)) => Work::Delete { id },
            _ => Work::Save {
                ino: Ino(row.get::<_, i64>(2)? as u64),
                size: row.get::<_, i64>(4)? as u64,
                mime_type: row.get(5)?,
                body: match (row.get::<_, Option<String>>(6)?, row.get(7)?) {
                    (Some(stage), _) => Body::Staged(stage),
                    (None, true) => Body::Held,
                    (None, false) => Body::Inline,
                },
            },
        };
        let record = Record {
            seq: Seq(row.get(0)?),
            work,
            name: row.get(3)?,
            tries: row.get(11)?,
            since: row.get(10)?,
            // The process that knew is gone.
            maybe_sent: true,
        };
        Ok(Entry {
            record,
            // Whatever held a record at the last run is gone.
            on_hold: false,
            not_before: row.get(9)?,
            in_flight: false,
            last_error: row.get(12)?,
            ticket: Ticket::default(),
        })
    })?;
    entries.collect()
}

impl State {
    /// For the first moment after a start: forgets files that were never closed, and says which staged files the outbox
    /// still needs.
    pub fn recover(&self) -> Result<HashSet<String>, StateError> {
        let entries = self.queue.entries();
        self.write(Durability::Relaxed, |tx| {
            tx.sql.execute(
                "DELETE FROM files WHERE id IS NULL AND ino NOT IN (SELECT ino FROM outbox WHERE kind = 'save')",
                [],
            )?;
            Ok(())
        })?;
        let stages = entries.all().filter_map(|entry| match &entry.record.work {
            Work::Save {
                body: Body::Staged(stage),
                ..
            } => Some(stage.clone()),
            Work::Save { .. } | Work::Delete { .. } => None,
        });
        Ok(stages.collect())
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
    /// An earlier record of the same inode that still waits for its handle or its quiet time is replaced: nobody has
    /// seen it and nobody waits for it.
    pub fn seal(&self, sealed: &Sealed<'_>) -> Result<(Ticket, Cleanup), StateError> {
        let mut entries = self.queue.entries();
        let now = now();
        let replaced = deferred(&entries, sealed.ino, now);
        let entry = self.write(Durability::Durable, |tx| {
            drop_records(tx, &replaced)?;
            let filename = tx
                .sql
                .prepare_cached(
                    "UPDATE files SET size = ?2, mime_type = ?3, mtime = ?4, ctime = ?5, own = 1 WHERE ino = ?1 \
                     RETURNING filename",
                )?
                .query_row(
                    params![
                        sealed.ino.0 as i64,
                        sealed.size as i64,
                        sealed.mime_type,
                        sealed.mtime,
                        sealed.ctime
                    ],
                    |row| row.get::<_, String>(0),
                )
                .optional()?
                .ok_or(StateError::Gone)?;
            tx.touched.push(sealed.ino);
            let (inline, body) = match sealed.bytes {
                SealedBytes::Inline(bytes) => (Some(bytes), Body::Inline),
                SealedBytes::Staged(stage) => (None, Body::Staged(stage.to_owned())),
            };
            insert_save(tx, sealed.ino, &filename, sealed.size, sealed.mime_type, body, inline, sealed.when, now)
        })?;
        let cleanup = forget(&mut entries, &replaced);
        // Content of one file goes out in order: who waits for this must not wait for an earlier one's patience.
        for seq in entries.of_inode(sealed.ino) {
            if let Some(earlier) = entries.get_mut(seq) {
                earlier.not_before = 0;
            }
        }
        let ticket = entry.ticket.clone();
        entries.insert(entry);
        Ok((ticket, cleanup))
    }

    /// Lets a record go that waited for the inode's open handle.
    pub fn release_hold(&self, ino: Ino, when: When) {
        let mut entries = self.queue.entries();
        for seq in entries.of_inode(ino) {
            if let Some(entry) = entries.get_mut(seq)
                && entry.on_hold
            {
                entry.on_hold = when == When::OnHold;
                entry.not_before = when.not_before(now());
            }
        }
    }

    /// Removes a file from the directory, durably; what stands for it at the service is deleted later.
    pub fn unlink(&self, ino: Ino) -> Result<Cleanup, StateError> {
        let mut entries = self.queue.entries();
        let now = now();
        let dropped = untouched(&entries, ino);
        let deletes = self.write(Durability::Durable, |tx| {
            drop_records(tx, &dropped)?;
            let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?;
            let mut doomed = take_superseded(tx, ino)?;
            let name = row.as_ref().map_or("", |row| row.filename.as_str());
            doomed.extend(row.as_ref().and_then(|row| row.id.clone()));
            tx.sql
                .execute("DELETE FROM files WHERE ino = ?1", [ino.0 as i64])?;
            tx.touched.push(ino);
            insert_deletes(tx, &doomed, name, now)
        })?;
        let cleanup = forget(&mut entries, &dropped);
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

    /// Gives an inode another name, durably, in place of `over` where that is in the way. What is not sent yet goes out
    /// under the new name; a confirmed file is uploaded again under it and its old id deleted then.
    pub fn rename(
        &self,
        ino: Ino,
        name: &str,
        mime_type: &str,
        over: Option<Ino>,
        ctime: Nanos,
    ) -> Result<Cleanup, StateError> {
        let mut entries = self.queue.entries();
        let now = now();
        let waiting = untouched(&entries, ino);
        let dropped = over.map_or_else(Vec::new, |over| untouched(&entries, over));
        let any = !entries.of_inode(ino).is_empty();
        let held = self.write(Durability::Durable, |tx| {
            if let Some(over) = over {
                drop_records(tx, &dropped)?;
                supersede(tx, ino, over)?;
            }
            tx.sql
                .execute(
                    "UPDATE files SET name = ?2, filename = ?2, mime_type = ?3, suffixed = 0, ctime = ?4 WHERE ino = ?1",
                    params![ino.0 as i64, name, mime_type, ctime],
                )
                .map_err(taken)?;
            tx.touched.push(ino);
            for seq in &waiting {
                tx.sql.execute(
                    "UPDATE outbox SET name = ?2, mime_type = ?3, not_before = 0 WHERE seq = ?1",
                    params![seq.0, name, mime_type],
                )?;
            }
            let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?;
            match row {
                Some(row) if waiting.is_empty() && (row.id.is_some() || any) => {
                    insert_save(tx, ino, name, row.size, mime_type, Body::Held, None, When::Now, now).map(Some)
                }
                _ => Ok(None),
            }
        })?;
        for seq in waiting {
            if let Some(entry) = entries.get_mut(seq) {
                name.clone_into(&mut entry.record.name);
                if let Work::Save {
                    mime_type: sent, ..
                } = &mut entry.record.work
                {
                    mime_type.clone_into(sent);
                }
                entry.not_before = 0;
            }
        }
        if let Some(held) = held {
            entries.insert(held);
        }
        Ok(forget(&mut entries, &dropped))
    }

    /// The next record for a worker of `class`; blocks, `None` when the outbox stops.
    #[must_use]
    pub fn next_record(&self, class: Class) -> Option<Record> {
        self.queue.next(class)
    }

    /// Ends all waiting of workers.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// Waits until nothing is due any more; how many records still are at `deadline`.
    #[must_use]
    pub fn wait_idle(&self, deadline: std::time::Instant) -> usize {
        self.queue.wait_idle(deadline)
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
        let entries = self.queue.entries();
        for seq in entries.of_inode(ino).into_iter().rev() {
            if let Some(Work::Save { body, .. }) = entries.get(seq).map(|entry| &entry.record.work)
            {
                match body {
                    Body::Inline => {
                        return self.inline_body(seq).map(PendingBody::Inline).map(Some);
                    }
                    Body::Staged(stage) => return Ok(Some(PendingBody::Staged(stage.clone()))),
                    Body::Held => {}
                }
            }
        }
        Ok(None)
    }

    /// Whether an inode has anything to be sent.
    #[must_use]
    pub fn is_pending(&self, ino: Ino) -> bool {
        !self.queue.entries().of_inode(ino).is_empty()
    }

    /// The end of a save: the service has `file` for the record, and its bytes are kept here. Who waits is told. A file
    /// that was removed while it was on its way is deleted again.
    pub fn confirm(&self, seq: Seq, file: &FileMetadata) -> Result<Cleanup, StateError> {
        let mut entries = self.queue.entries();
        let Some(ino) = entries.get(seq).and_then(|entry| entry.record.ino()) else {
            return Ok(Cleanup::new());
        };
        let deletes = self.write(Durability::Durable, |tx| {
            let doomed = match row_where(&tx.sql, "ino = ?1", [ino.0 as i64])? {
                Some(row) => adopt(tx, &row, file, now())?,
                None => vec![file.id.clone()],
            };
            drop_records(tx, &[seq])?;
            insert_deletes(tx, &doomed, &file.filename, now())
        })?;
        for entry in deletes {
            entries.insert_delete(entry);
        }
        Ok(forget(&mut entries, &[seq]))
    }

    /// The end of a save whose file was removed before the service had it.
    pub fn abandon(&self, seq: Seq) -> Result<Cleanup, StateError> {
        let mut entries = self.queue.entries();
        self.write(Durability::Relaxed, |tx| drop_records(tx, &[seq]))?;
        Ok(forget(&mut entries, &[seq]))
    }

    /// The end of a deletion.
    pub fn deleted(&self, seq: Seq, id: &FileId) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        self.write(Durability::Relaxed, |tx| {
            tx.sql.execute(
                "UPDATE hidden SET deleted_at = ?2 WHERE id = ?1",
                params![id.as_str(), now()],
            )?;
            drop_records(tx, &[seq])
        })?;
        forget(&mut entries, &[seq]);
        Ok(())
    }

    /// A try failed; the record waits until `not_before`. With `report`, who waits for it is told.
    pub fn postpone(
        &self,
        seq: Seq,
        error: &ApiError,
        not_before: Millis,
        report: bool,
    ) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        if let Some(entry) = entries.get_mut(seq) {
            entry.in_flight = false;
            entry.not_before = not_before;
            entry.record.tries += 1;
            entry.record.maybe_sent |= error.may_have_happened();
            entry.last_error = Some(error.to_string());
        }
        if report {
            // Later content of the same file waits behind this one; its closers are told as well.
            let ino = entries.get(seq).and_then(|entry| entry.record.ino());
            for waiting in ino.map_or_else(Vec::new, |ino| entries.of_inode(ino)) {
                entries.settle(waiting, Err(error.clone()));
            }
        }
        self.write(Durability::Relaxed, |tx| {
            tx.sql.execute(
                "UPDATE outbox SET tries = tries + 1, not_before = ?2, last_error = ?3 WHERE seq = ?1",
                params![seq.0, not_before, error.to_string()],
            )?;
            Ok(())
        })
    }

    /// Gives a deletion up that the service refuses for good: the id may be listed again.
    pub fn give_up_delete(&self, seq: Seq, id: &FileId) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        self.write(Durability::Durable, |tx| {
            tx.sql
                .execute("DELETE FROM hidden WHERE id = ?1", [id.as_str()])?;
            drop_records(tx, &[seq])
        })?;
        entries.remove(seq);
        Ok(())
    }

    /// All that is pending.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let entries = self.queue.entries();
        entries
            .all()
            .map(|entry| Pending {
                record: entry.record.clone(),
                in_flight: entry.in_flight,
                on_hold: entry.on_hold,
                last_error: entry.last_error.clone(),
            })
            .collect()
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
            .filter(|entry| entry.in_flight || entry.record.maybe_sent)
            .filter_map(|entry| match &entry.record.work {
                Work::Save { size, .. } => Some((entry.record.name.clone(), *size)),
                Work::Delete { .. } => None,
            })
            .collect()
    }
}

/// The inode's records that wait for a handle or for quiet, and that nobody has seen.
fn deferred(entries: &EntriesGuard<'_>, ino: Ino, now: Millis) -> Vec<Seq> {
    filtered(entries, ino, |entry| {
        entry.is_untouched() && entry.is_deferred(now)
    })
}

/// The inode's records that the service cannot have seen.
fn untouched(entries: &EntriesGuard<'_>, ino: Ino) -> Vec<Seq> {
    filtered(entries, ino, Entry::is_untouched)
}

fn filtered(entries: &EntriesGuard<'_>, ino: Ino, keep: impl Fn(&Entry) -> bool) -> Vec<Seq> {
    let mut seqs = entries.of_inode(ino);
    seqs.retain(|seq| entries.get(*seq).is_some_and(&keep));
    seqs
}

fn forget(entries: &mut EntriesGuard<'_>, seqs: &[Seq]) -> Cleanup {
    let mut cleanup = Cleanup::new();
    for seq in seqs {
        if let Some(entry) = entries.remove(*seq) {
            // Who waits for content that was removed or replaced before it was sent has nothing to wait for.
            if entry.ticket.fate().is_none() {
                entry.ticket.settle(Ok(()));
            }
            if let Work::Save {
                body: Body::Staged(stage),
                ..
            } = entry.record.work
            {
                cleanup.push(stage);
            }
        }
    }
    cleanup
}

fn drop_records(tx: &mut Tx<'_>, seqs: &[Seq]) -> Result<(), StateError> {
    for seq in seqs {
        tx.sql
            .prepare_cached("DELETE FROM outbox WHERE seq = ?1")?
            .execute([seq.0])?;
    }
    Ok(())
}

/// Makes `over`'s ids the ones that are deleted when `ino` is confirmed, and takes `over` out of the directory.
fn supersede(tx: &mut Tx<'_>, ino: Ino, over: Ino) -> Result<(), StateError> {
    let id: Option<String> = tx
        .sql
        .query_row(
            "SELECT id FROM files WHERE ino = ?1",
            [over.0 as i64],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    let mut ids = take_superseded(tx, over)?;
    ids.extend(id.map(FileId::new));
    for id in &ids {
        tx.sql.execute(
            "INSERT OR IGNORE INTO superseded (ino, id) VALUES (?1, ?2)",
            params![ino.0 as i64, id.as_str()],
        )?;
        hide(tx, id)?;
    }
    tx.sql
        .execute("DELETE FROM files WHERE ino = ?1", [over.0 as i64])?;
    tx.touched.push(over);
    Ok(())
}

fn take_superseded(tx: &mut Tx<'_>, ino: Ino) -> Result<Vec<FileId>, StateError> {
    let mut statement = tx
        .sql
        .prepare_cached("DELETE FROM superseded WHERE ino = ?1 RETURNING id")?;
    let ids = statement.query_map([ino.0 as i64], |row| {
        row.get::<_, String>(0).map(FileId::new)
    })?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn hide(tx: &mut Tx<'_>, id: &FileId) -> Result<(), StateError> {
    tx.sql
        .prepare_cached("INSERT OR IGNORE INTO hidden (id) VALUES (?1)")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Points the inode at its new file; the ids that this replaces.
fn adopt(
    tx: &mut Tx<'_>,
    row: &Row,
    file: &FileMetadata,
    now: Millis,
) -> Result<Vec<FileId>, StateError> {
    // A listing may have brought the new id in before its upload was answered.
    let mut statement = tx
        .sql
        .prepare_cached("DELETE FROM files WHERE id = ?1 AND ino <> ?2 RETURNING ino")?;
    let twins = statement.query_map(params![file.id.as_str(), row.ino.0 as i64], |row| {
        row.get::<_, i64>(0)
    })?;
    for twin in twins {
        tx.touched.push(Ino(twin? as u64));
    }
    drop(statement);
    tx.sql
        .prepare_cached(
            "UPDATE files SET id = ?2, created_at = ?3, downloadable = ?4, own = 1, learned_at = ?5 WHERE ino = ?1",
        )?
        .execute(params![
            row.ino.0 as i64,
            file.id.as_str(),
            file.created_at.as_microsecond(),
            file.downloadable,
            now
        ])?;
    tx.touched.push(row.ino);
    let mut doomed = take_superseded(tx, row.ino)?;
    doomed.extend(row.id.clone());
    doomed.retain(|id| *id != file.id);
    Ok(doomed)
}

fn insert_deletes(
    tx: &mut Tx<'_>,
    ids: &[FileId],
    name: &str,
    now: Millis,
) -> Result<Vec<Entry>, StateError> {
    let mut entries = Vec::new();
    for id in ids {
        hide(tx, id)?;
        tx.sql
            .prepare_cached(
                "INSERT INTO outbox (kind, name, size, mime_type, id, not_before, since) \
                 VALUES ('delete', ?1, 0, '', ?2, 0, ?3)",
            )?
            .execute(params![name, id.as_str(), now])?;
        entries.push(new_entry(
            tx,
            Work::Delete { id: id.clone() },
            name,
            When::Now,
            now,
        ));
    }
    Ok(entries)
}

fn insert_save(
    tx: &mut Tx<'_>,
    ino: Ino,
    name: &str,
    size: u64,
    mime_type: &str,
    body: Body,
    inline: Option<&[u8]>,
    when: When,
    now: Millis,
) -> Result<Entry, StateError> {
    let stage = match &body {
        Body::Staged(stage) => Some(stage.as_str()),
        Body::Inline | Body::Held => None,
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO outbox (kind, ino, name, size, mime_type, inline, stage, held, not_before, since) \
             VALUES ('save', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            ino.0 as i64,
            name,
            size as i64,
            mime_type,
            inline,
            stage,
            body == Body::Held,
            when.not_before(now),
            now
        ])?;
    let work = Work::Save {
        ino,
        size,
        mime_type: mime_type.to_owned(),
        body,
    };
    Ok(new_entry(tx, work, name, when, now))
}

fn new_entry(tx: &Tx<'_>, work: Work, name: &str, when: When, now: Millis) -> Entry {
    Entry {
        record: Record {
            seq: Seq(tx.sql.last_insert_rowid()),
            work,
            name: name.to_owned(),
            tries: 0,
            since: now,
            maybe_sent: false,
        },
        on_hold: when == When::OnHold,
        not_before: when.not_before(now),
        in_flight: false,
        last_error: None,
        ticket: Ticket::default(),
    }
}

impl When {
    fn not_before(self, now: Millis) -> Millis {
        match self {
            Self::Now | Self::OnHold => 0,
            Self::After(quiet) => now + quiet,
        }
    }
}
