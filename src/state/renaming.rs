//! Renaming in the outbox. A file's name is what the service will call it, so what is not sent yet goes out under the new
//! one, and a confirmed file is uploaded again under it.
//!
//! Under a scratch name nothing goes out. Such a file has bytes of its own from then on, for its id may be replaced: the
//! file of the name it had before is most often about to be written anew (editors keep backups so).

use std::fmt;
use std::io;

use rusqlite::params;

use crate::api::FileId;

use super::catalogue::{row_where, taken};
use super::clock::Moment;
use super::db::{Durability, Tx};
use super::entry::Entry;
use super::outbox::{look_for_program, untouched, untouched_newest};
use super::queue::EntriesGuard;
use super::rows::{Content, drop_records, forget, insert_deletes, insert_save, remember};
use super::superseding::{bequeath, supersede, take_replaced};
use super::{
    Body, Cleanup, Doom, Ino, Nanos, PendingBody, Record, Seq, State, StateError, Ticket, When,
    Work,
};

/// Bytes that are on this machine under a name that may go.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    /// In this file under `staged/`.
    Staged(String),
    /// Kept, of this id.
    Kept(FileId),
}

/// A rename to be.
pub struct Renaming<'a> {
    /// Of which inode.
    pub ino: Ino,
    /// Its new name, in the directory.
    pub name: &'a str,
    /// Its media type under that.
    pub mime_type: &'a str,
    /// What has the new name now, and makes way.
    pub over: Option<Ino>,
    /// How soon it may be sent under the new name; never makes it a scratch file.
    pub when: When,
    /// Gives bytes a second name under `staged/`, durably: a scratch file must not lose them with its id. Nothing else
    /// happens to the outbox meanwhile.
    pub stage: &'a dyn Fn(&Held) -> io::Result<String>,
    /// The time of the rename.
    pub ctime: Nanos,
}

impl fmt::Debug for Renaming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renaming")
            .field("ino", &self.ino)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Gives an inode another name, durably. What is not sent yet goes out under the new name; a confirmed file is uploaded
    /// again under it and its old id deleted then. Under a scratch name nothing goes out: its id at the service stays until
    /// another file has the name it had there, or it is removed.
    pub fn rename(&self, renaming: &Renaming<'_>) -> Result<Cleanup, StateError> {
        look_for_program();
        let ino = renaming.ino;
        let mut entries = self.queue.entries();
        let now = Moment::now();
        let waiting = if renaming.is_to_scratch() {
            untouched(&entries, ino)
        } else {
            untouched_newest(&entries, ino)
        };
        let mut dropped = renaming
            .over
            .map_or_else(Vec::new, |over| untouched(&entries, over));
        // What is on its way will be what the confirmed id has when the record of this rename is sent.
        let newest = newest(&entries, ino).map(|entry| &entry.record);
        let own = self.own_body(&entries, renaming)?;
        let filename = self.filename_for(renaming.name);
        let (added, deletes) = self.write("rename", Durability::Durable, |tx| {
            if let Some(over) = renaming.over {
                drop_records(tx, &dropped)?;
                supersede(tx, ino, over)?;
                if renaming.is_to_scratch() {
                    bequeath(tx, over, ino)?;
                }
            }
            take_name(tx, renaming, &filename)?;
            if renaming.is_to_scratch() {
                drop_records(tx, &waiting)?;
            } else if !waiting.is_empty() {
                rename_records(tx, renaming, &filename, &waiting, now)?;
                return Ok((None, Vec::new()));
            }
            let added = add_record(tx, renaming, &filename, newest, own.as_ref(), now)?;
            let deletes = if renaming.is_to_scratch() {
                let replaced = take_replaced(tx, ino)?;
                insert_deletes(tx, &replaced, &filename, Doom::Replaced, now)?
            } else {
                Vec::new()
            };
            Ok((added, deletes))
        })?;
        for delete in deletes {
            entries.insert_delete(delete);
        }
        if renaming.is_to_scratch() {
            let is_held = waiting
                .iter()
                .any(|seq| entries.get(*seq).is_some_and(|entry| entry.on_hold));
            dropped.extend(waiting);
            if let Some(mut added) = added {
                added.is_never_sent(is_held);
                entries.insert(added);
            }
        } else {
            let oldest = dropped
                .iter()
                .filter_map(|seq| entries.get(*seq))
                .map(|over| over.stands_for)
                .min();
            for seq in waiting {
                if let Some(entry) = entries.get_mut(seq) {
                    entry.stands_for =
                        oldest.map_or(entry.stands_for, |seq| seq.min(entry.stands_for));
                    entry.is_renamed(renaming, &filename, now);
                }
            }
            if let Some(added) = added {
                entries.insert(added);
            }
        }
        if let Some(over) = renaming.over {
            entries.needs_no_room(over);
        }
        Ok(forget(&mut entries, &dropped))
    }

    /// What who closes an inode waits for: the fate of its newest record, where it has one.
    #[must_use]
    pub fn newest_ticket(&self, ino: Ino) -> Option<Ticket> {
        let entries = self.queue.entries();
        newest(&entries, ino).map(|entry| entry.ticket.clone())
    }

    /// The newest content of a file that gets a scratch name, as bytes of its own; `None` where there is none, or it keeps
    /// what it has.
    fn own_body(
        &self,
        entries: &EntriesGuard<'_>,
        renaming: &Renaming<'_>,
    ) -> Result<Option<PendingBody>, StateError> {
        if !renaming.is_to_scratch() {
            return Ok(None);
        }
        let seqs = entries.of_inode(renaming.ino);
        let bodies = seqs.into_iter().rev().filter_map(|seq| {
            let entry = entries.get(seq)?;
            match &entry.record.work {
                Work::Save {
                    body: Body::Held, ..
                }
                | Work::Delete { .. } => None,
                Work::Save { body, .. } => Some((seq, body)),
            }
        });
        let held = match bodies.into_iter().next() {
            Some((seq, Body::Inline)) => {
                return Ok(Some(PendingBody::Inline(self.inline_body(seq)?)));
            }
            Some((_, Body::Staged(stage))) => Held::Staged(stage.clone()),
            Some((_, Body::Held)) | None => {
                match self.row(renaming.ino)?.and_then(|row| row.id.clone()) {
                    Some(id) => Held::Kept(id),
                    None => return Ok(None),
                }
            }
        };
        let stage = (renaming.stage)(&held).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StateError::Full,
            _ => StateError::Io(renaming.name.into(), error),
        })?;
        Ok(Some(PendingBody::Staged(stage)))
    }
}

impl Renaming<'_> {
    fn is_to_scratch(&self) -> bool {
        self.when == When::Never
    }
}

impl Entry {
    /// It goes out under another name. Who closes what was a scratch file has something to wait for from now on.
    fn is_renamed(&mut self, renaming: &Renaming<'_>, filename: &str, now: Moment) {
        if self.is_scratch() {
            self.ticket = Ticket::default();
        }
        filename.clone_into(&mut self.record.name);
        if let Work::Save { mime_type, .. } = &mut self.record.work {
            renaming.mime_type.clone_into(mime_type);
        }
        self.not_before = renaming.when.not_before(now.steady);
        self.is_noted = false;
    }
}

/// The inode's newest record.
fn newest<'a>(entries: &'a EntriesGuard<'_>, ino: Ino) -> Option<&'a Entry> {
    let seq = entries.of_inode(ino).last().copied()?;
    entries.get(seq)
}

/// The row, under its new name.
fn take_name(tx: &mut Tx<'_>, renaming: &Renaming<'_>, filename: &str) -> Result<(), StateError> {
    remember(tx, renaming.ino)?;
    let changed = tx
        .sql
        .execute(
            "UPDATE files SET name = ?2, filename = ?6, mime_type = ?3, suffixed = 0, ctime = ?4, scratch = ?5 \
             WHERE ino = ?1",
            params![
                renaming.ino.0 as i64,
                renaming.name,
                renaming.mime_type,
                renaming.ctime,
                renaming.is_to_scratch(),
                filename
            ],
        )
        .map_err(taken)?;
    if changed == 0 {
        return Err(StateError::Gone);
    }
    tx.touched.push(renaming.ino);
    Ok(())
}

/// What was not sent yet goes out under the new name.
fn rename_records(
    tx: &Tx<'_>,
    renaming: &Renaming<'_>,
    filename: &str,
    waiting: &[Seq],
    now: Moment,
) -> Result<(), StateError> {
    for seq in waiting {
        tx.sql.execute(
            // It was not sent yet, whatever was noted when it was about to be: what the service has under the new name is
            // something else.
            "UPDATE outbox SET name = ?2, mime_type = ?3, not_before = ?4, sent_at = NULL WHERE seq = ?1",
            params![
                seq.0,
                filename,
                renaming.mime_type,
                renaming.when.not_before(now.wall)
            ],
        )?;
    }
    Ok(())
}

/// A record that sends the file again under its new name, or has its bytes under a scratch name; none of a file that was
/// never saved.
fn add_record(
    tx: &mut Tx<'_>,
    renaming: &Renaming<'_>,
    filename: &str,
    newest: Option<&Record>,
    own: Option<&PendingBody>,
    now: Moment,
) -> Result<Option<Entry>, StateError> {
    let Renaming {
        ino,
        mime_type,
        when,
        ..
    } = *renaming;
    let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?;
    let Some(row) = row.filter(|row| row.id.is_some() || newest.is_some()) else {
        return Ok(None);
    };
    let (inline, body) = match own {
        Some(PendingBody::Inline(bytes)) => (Some(&bytes[..]), Body::Inline),
        Some(PendingBody::Staged(stage)) => (None, Body::Staged(stage.clone())),
        None => (None, Body::Held),
    };
    let content = Content {
        size: row.size,
        mime_type,
        digest: newest.map_or(row.digest, Record::digest),
        body,
        expires_in_seconds: None,
    };
    insert_save(tx, ino, filename, content, inline, when, now).map(Some)
}
