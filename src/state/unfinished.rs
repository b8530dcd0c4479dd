//! Drafts that were never closed when their mount ended. Whether they are whole, only a person can say: they are kept
//! here, shown, and sent or dropped by the user's word only.
//!
//! A mount that ends in good order brings its open drafts here. One that dies leaves the staged files of the larger
//! ones; a row written when such a file came to be says whose it is.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, params};

use super::catalogue::row_where;
use super::clock::{Moment, now};
use super::db::{Durability, Tx};
use super::outbox::untouched;
use super::queue::EntriesGuard;
use super::rows::{Content, drop_records, forget, insert_save};
use super::superseding::supersede;
use super::{
    Body, Cleanup, Digest, GiveUpError, Ino, Millis, Nanos, PendingBody, SealedBytes, Seq, State,
    StateError, Ticket, When, Work,
};

/// The number of an unfinished draft; later ones have a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnfinishedSeq(pub(super) i64);

impl std::fmt::Display for UnfinishedSeq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A draft that was never closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its number.
    pub seq: UnfinishedSeq,
    /// Its directory name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// The file under `staged/` that holds them; `None`: the database does.
    pub stage: Option<String>,
    /// Since when it is so.
    pub since: Millis,
    /// When it was written last.
    pub mtime: Nanos,
}

/// Whole content that gets a name.
#[derive(Debug)]
pub struct Placing<'a> {
    /// The name, in the directory.
    pub name: &'a str,
    /// Bytes.
    pub size: u64,
    /// Its media type.
    pub mime_type: &'a str,
    /// The content's digest.
    pub digest: Digest,
    /// Where the bytes are; a staged file must be synced already.
    pub bytes: SealedBytes<'a>,
    /// Last change of content.
    pub mtime: Nanos,
    /// After how many seconds the service is to give it up; `None`: as the mount says.
    pub expires_in_seconds: Option<u64>,
    /// The unfinished draft that it was.
    pub draft: Option<UnfinishedSeq>,
}

/// Content that has got its name.
#[derive(Debug)]
pub struct Placed {
    /// Its inode.
    pub ino: Ino,
    /// Its record.
    pub seq: Seq,
    /// What tells the record's fate.
    pub ticket: Ticket,
    /// What is not needed any more.
    pub cleanup: Cleanup,
}

/// A draft takes its leave of the stage it is in: the stage is sealed now.
pub(super) fn forget_draft(tx: &Tx<'_>, stage: &str) -> Result<(), StateError> {
    tx.sql
        .prepare_cached("DELETE FROM drafts WHERE stage = ?1")?
        .execute([stage])?;
    Ok(())
}

impl State {
    /// Notes whose bytes a staged file has, for the case that this process dies.
    pub fn note_draft(&self, stage: &str, ino: Ino) -> Result<(), StateError> {
        self.write("note draft", Durability::Relaxed, |tx| {
            tx.sql
                .prepare_cached(
                    "INSERT OR REPLACE INTO drafts (stage, ino, since) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![stage, ino.0 as i64, now()])?;
            Ok(())
        })
    }

    /// For the first moment after a start, before [`State::recover`]: makes unfinished what a process that died was
    /// writing. `staged` are the files there are, with their sizes and times.
    pub fn keep_drafts(&self, staged: &HashMap<String, (u64, Nanos)>) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        let drafts = self.db.read(|sql| {
            let mut statement = sql.prepare("SELECT stage, ino, since FROM drafts")?;
            let rows = statement.query_map([], |row| {
                let ino = Ino(row.get::<_, i64>(1)? as u64);
                Ok((row.get::<_, String>(0)?, ino, row.get::<_, Millis>(2)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        if drafts.is_empty() {
            return Ok(());
        }
        let dropped = self.write("keep drafts", Durability::Durable, |tx| {
            let mut dropped = Vec::new();
            for (stage, ino, since) in &drafts {
                let Some((size, mtime)) = staged.get(stage).filter(|(size, _)| *size > 0) else {
                    continue;
                };
                let bytes = SealedBytes::Staged(stage);
                dropped.extend(make_unfinished(
                    tx, &entries, *ino, *size, &bytes, *since, *mtime,
                )?);
            }
            tx.sql.execute("DELETE FROM drafts", [])?;
            Ok(dropped)
        })?;
        forget(&mut entries, &dropped);
        Ok(())
    }

    /// Keeps an open draft, durably: its mount ends. A staged file must be synced already.
    pub fn keep_unfinished(
        &self,
        ino: Ino,
        size: u64,
        bytes: &SealedBytes<'_>,
        mtime: Nanos,
    ) -> Result<(), StateError> {
        let mut entries = self.queue.entries();
        let dropped = self.write("keep unfinished", Durability::Durable, |tx| {
            if let SealedBytes::Staged(stage) = bytes {
                forget_draft(tx, stage)?;
            }
            make_unfinished(tx, &entries, ino, size, bytes, now(), mtime)
        })?;
        forget(&mut entries, &dropped);
        Ok(())
    }

    /// Every draft that was never closed, oldest first.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT seq, name, size, stage, since, mtime FROM unfinished ORDER BY seq",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Unfinished {
                    seq: UnfinishedSeq(row.get(0)?),
                    name: row.get(1)?,
                    size: row.get::<_, i64>(2)? as u64,
                    stage: row.get(3)?,
                    since: row.get(4)?,
                    mtime: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    pub(super) fn unfinished_stages(&self) -> Result<HashSet<String>, StateError> {
        let all = self.unfinished()?;
        Ok(all.into_iter().filter_map(|draft| draft.stage).collect())
    }

    /// Where an unfinished draft's bytes are; `None` when it is one no more.
    pub fn unfinished_body(&self, seq: UnfinishedSeq) -> Result<Option<PendingBody>, StateError> {
        self.db.read(|sql| {
            sql.query_row(
                "SELECT inline, stage FROM unfinished WHERE seq = ?1",
                [seq.0],
                |row| {
                    Ok(match row.get::<_, Option<String>>(1)? {
                        Some(stage) => PendingBody::Staged(stage),
                        None => PendingBody::Inline(row.get(0)?),
                    })
                },
            )
            .optional()
        })
    }

    /// Drops an unfinished draft; its bytes are elsewhere, or nobody wants them.
    pub fn drop_unfinished(&self, draft: &Unfinished) -> Result<Cleanup, StateError> {
        self.write("drop unfinished", Durability::Durable, |tx| {
            tx.sql
                .execute("DELETE FROM unfinished WHERE seq = ?1", [draft.seq.0])?;
            Ok(())
        })?;
        Ok(draft.stage.iter().cloned().collect())
    }

    /// Makes an unfinished draft a save under its name, in place of what has the name now. A staged file must be synced
    /// already.
    pub fn send_unfinished(
        &self,
        draft: &Unfinished,
        body: &PendingBody,
        mime_type: &str,
        digest: Digest,
    ) -> Result<Cleanup, GiveUpError> {
        let placing = Placing {
            name: &draft.name,
            size: draft.size,
            mime_type,
            digest,
            bytes: match body {
                PendingBody::Inline(bytes) => SealedBytes::Inline(bytes),
                PendingBody::Staged(stage) => SealedBytes::Staged(stage),
            },
            mtime: draft.mtime,
            expires_in_seconds: None,
            draft: Some(draft.seq),
        };
        self.place(&placing).map(|placed| placed.cleanup)
    }

    /// Makes whole content a save under a name, in place of what has the name now, as a rename would put it there. Nothing
    /// is done while somebody writes to that.
    pub fn place(&self, placing: &Placing<'_>) -> Result<Placed, GiveUpError> {
        let over = self.lookup(placing.name)?;
        let mut entries = self.queue.entries();
        let over_ino = over.as_ref().map(|over| over.ino);
        if over_ino.is_some_and(|over| entries.is_being_written(over)) {
            return Err(GiveUpError::Open);
        }
        let dropped = over_ino.map_or_else(Vec::new, |over| untouched(&entries, over));
        let filename = &*match &over {
            Some(over) => self.style().sent_again(&over.filename),
            None => self.filename_for(placing.name),
        };
        let is_suffixed = over.as_ref().is_some_and(|over| over.suffixed);
        let now = Moment::now();
        let (ino, entry) = self.write("place", Durability::Durable, |tx| {
            tx.sql.execute(
                "INSERT INTO files (filename, suffixed, mime_type, size, created_at, mtime, ctime, downloadable, own, \
                 learned_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, 1, ?7)",
                params![
                    filename,
                    is_suffixed,
                    placing.mime_type,
                    placing.size as i64,
                    now.wall * 1000,
                    placing.mtime,
                    now.wall
                ],
            )?;
            let ino = Ino(tx.sql.last_insert_rowid() as u64);
            if let Some(over) = over_ino {
                drop_records(tx, &dropped)?;
                supersede(tx, ino, over)?;
            }
            tx.sql.execute(
                "UPDATE files SET name = ?2 WHERE ino = ?1",
                params![ino.0 as i64, placing.name],
            )?;
            tx.touched.push(ino);
            if let Some(draft) = placing.draft
                && tx.sql.execute("DELETE FROM unfinished WHERE seq = ?1", [draft.0])? == 0
            {
                return Err(StateError::Gone);
            }
            let (inline, body) = match placing.bytes {
                SealedBytes::Inline(bytes) => (Some(bytes), Body::Inline),
                SealedBytes::Staged(stage) => (None, Body::Staged(stage.to_owned())),
            };
            let content = Content {
                size: placing.size,
                mime_type: placing.mime_type,
                digest: Some(placing.digest),
                body,
                expires_in_seconds: placing.expires_in_seconds,
            };
            Ok((ino, insert_save(tx, ino, filename, content, inline, When::Now, now)?))
        })?;
        let (seq, ticket) = (entry.record.seq, entry.ticket.clone());
        entries.insert(entry);
        Ok(Placed {
            ino,
            seq,
            ticket,
            cleanup: forget(&mut entries, &dropped),
        })
    }
}

/// Takes a draft in under its inode's name; which records go for it. A draft that was removed meanwhile is none any more.
///
/// A new file is on record as empty from the first close of a duplicate on (a shell's `> f` is one). That was about the
/// file that this draft was to become. One that had content before was emptied by a program that then called fsync(2).
fn make_unfinished(
    tx: &mut Tx<'_>,
    entries: &EntriesGuard<'_>,
    ino: Ino,
    size: u64,
    bytes: &SealedBytes<'_>,
    since: Millis,
    mtime: Nanos,
) -> Result<Vec<Seq>, StateError> {
    let Some(row) = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])? else {
        return Ok(Vec::new());
    };
    let (inline, stage) = match bytes {
        SealedBytes::Inline(bytes) => (Some(*bytes), None),
        SealedBytes::Staged(stage) => (None, Some(*stage)),
    };
    let name = row.name.as_ref().unwrap_or(&row.filename);
    tx.sql.execute(
        "INSERT INTO unfinished (name, size, inline, stage, since, mtime) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![name, size as i64, inline, stage, since, mtime],
    )?;
    let had_content = entries
        .of_inode(ino)
        .iter()
        .filter_map(|seq| entries.get(*seq))
        .any(|entry| matches!(entry.record.work, Work::Save { size: 1.., .. }));
    if row.id.is_some() || row.size > 0 || had_content {
        return Ok(Vec::new());
    }
    let empty = untouched(entries, ino);
    drop_records(tx, &empty)?;
    Ok(empty)
}
