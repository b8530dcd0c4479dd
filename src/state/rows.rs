//! Records as rows: how the outbox and what hangs on it stand in the database.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::api::{FileId, FileMetadata, Program};

use super::catalogue::nanos;
use super::clock::Moment;
use super::db::Tx;
use super::entry::Entry;
use super::lingering::lingers;
use super::outbox::NEVER;
use super::queue::EntriesGuard;
use super::{
    Body, Cleanup, Confirmed, Digest, Doom, Ino, Millis, Record, Row, Seq, StateError, Ticket,
    When, Work,
};

pub(super) fn load(sql: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let now = Moment::now();
    let mut statement = sql.prepare(
        "SELECT seq, kind, ino, name, size, mime_type, stage, held, id, not_before, since, tries, last_error, \
         sent_at, renamed, sha256, expires_in FROM outbox ORDER BY seq",
    )?;
    let entries = statement.query_map([], |row| {
        let id = row.get::<_, Option<String>>(8)?.map(FileId::new);
        let work = match (row.get::<_, String>(1)?.as_str(), id) {
            ("delete", Some(id)) => Work::Delete {
                id,
                doom: Doom::from_column(row.get(14)?),
            },
            _ => Work::Save {
                ino: Ino(row.get::<_, i64>(2)? as u64),
                size: row.get::<_, i64>(4)? as u64,
                mime_type: row.get(5)?,
                digest: Digest::from_column(row.get(15)?),
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
            expires_in_seconds: row.get::<_, Option<i64>>(16)?.map(|time| time as u64),
            program: Program::AFS,
            tries: row.get(11)?,
            since: row.get(10)?,
            sent_at: row.get(13)?,
            sent_here_at: None,
            tried_at: None,
        };
        Ok(Entry {
            stands_for: record.seq,
            // Whatever held a record at the last run is gone.
            on_hold: false,
            // A mount that dies with a program that it was to spare something from has it in the trash.
            is_spared: false,
            is_refused: false,
            // So is the reason why a failed try was not repeated at once, perhaps: another key, another network.
            not_before: match (row.get::<_, Option<String>>(12)?, row.get(9)?) {
                (Some(_), not_before) if not_before != NEVER => 0,
                (_, not_before) => now.not_before(not_before),
            },
            settles_at: 0,
            is_urgent: false,
            is_limited: false,
            // So may the reason be why there was no room.
            wants_room: false,
            room: 0,
            in_flight: false,
            is_noted: record.sent_at.is_some(),
            last_error: row.get(12)?,
            begun_at: None,
            failed_at: None,
            ticket: Ticket::default(),
            record,
        })
    })?;
    entries.collect()
}

pub(super) fn forget(entries: &mut EntriesGuard<'_>, seqs: &[Seq]) -> Cleanup {
    let mut cleanup = Cleanup::new();
    for seq in seqs {
        if let Some(entry) = entries.remove(*seq) {
            // Sent, or removed or replaced before it was sent: nobody has anything to wait for.
            entry.ticket.settle(Ok(()));
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

pub(super) fn drop_records(tx: &mut Tx<'_>, seqs: &[Seq]) -> Result<(), StateError> {
    for seq in seqs {
        tx.sql
            .prepare_cached("DELETE FROM outbox WHERE seq = ?1")?
            .execute([seq.0])?;
    }
    Ok(())
}

/// Remembers an inode's row as it stands for what the service has, before it is changed or removed here; an earlier memory
/// of the same id stays.
pub(super) fn remember(tx: &Tx<'_>, ino: Ino) -> Result<(), StateError> {
    tx.sql
        .prepare_cached(
            "INSERT OR IGNORE INTO former SELECT id, name, suffixed, filename, mime_type, size, created_at, mtime, \
             downloadable, own, spared, sha256, kept_size, kept_mtime FROM files WHERE ino = ?1 AND id IS NOT NULL",
        )?
        .execute([ino.0 as i64])?;
    Ok(())
}

/// The same of a file that was replaced before it was confirmed, so that no row stands for it; what has its place
/// in the directory is `shown_as` a name with or without a suffix, where there is such a thing.
pub(super) fn remember_replaced(
    tx: &Tx<'_>,
    confirmed: &Confirmed<'_>,
    digest: Option<Digest>,
    shown_as: Option<(String, bool)>,
) -> Result<(), StateError> {
    let file = confirmed.file;
    let (name, is_suffixed) = shown_as.unzip();
    tx.sql
        .prepare_cached(
            "INSERT OR IGNORE INTO former (id, name, suffixed, filename, mime_type, size, created_at, mtime, \
             downloadable, own, spared, sha256, kept_size, kept_mtime) \
             VALUES (?1, ?2, ?11, ?3, ?4, ?5, ?6, ?12, ?7, 1, 0, ?8, ?9, ?10)",
        )?
        .execute(params![
            file.id.as_str(),
            name,
            file.filename,
            file.mime_type,
            file.size_bytes as i64,
            file.created_at.as_microsecond(),
            file.downloadable,
            digest.as_ref().map(Digest::as_bytes),
            confirmed.kept.map(|kept| kept.size as i64),
            confirmed.kept.map(|kept| kept.mtime),
            is_suffixed.unwrap_or(false),
            nanos(file.created_at)
        ])?;
    Ok(())
}

/// The same of an inode that is on `file` now, which the directory called `name`, while its row stands for newer content,
/// perhaps under a newer name.
pub(super) fn remember_confirmed(
    tx: &Tx<'_>,
    ino: Ino,
    file: &FileMetadata,
    name: &str,
) -> Result<(), StateError> {
    remember(tx, ino)?;
    tx.sql
        .prepare_cached(
            "UPDATE former SET name = iif(name IS NULL, NULL, ?5), suffixed = 0, filename = ?2, mime_type = ?3, \
             size = ?4 WHERE id = ?1",
        )?
        .execute(params![
            file.id.as_str(),
            file.filename,
            file.mime_type,
            file.size_bytes as i64,
            name
        ])?;
    Ok(())
}

/// Forgets the row of an id that can't come back.
pub(super) fn forget_former(tx: &Tx<'_>, id: &FileId) -> Result<(), StateError> {
    tx.sql
        .prepare_cached("DELETE FROM former WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Hides an id from listings: from those of its session, where its row is still there and has one.
pub(super) fn hide(tx: &mut Tx<'_>, id: &FileId) -> Result<(), StateError> {
    tx.sql
        .prepare_cached(
            "INSERT OR IGNORE INTO hidden (id, scope) VALUES (?1, (SELECT scope FROM files WHERE id = ?1))",
        )?
        .execute([id.as_str()])?;
    Ok(())
}

/// The id that goes when the row's content does; none where it may be somebody else's.
pub(super) fn deletable_id(row: &Row) -> Option<FileId> {
    row.id.clone().filter(|_| !row.spared)
}

/// Points the inode at its new file; the id that this replaces.
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    row: &Row,
    digest: Option<Digest>,
    confirmed: &Confirmed<'_>,
    now: Millis,
) -> Result<Vec<FileId>, StateError> {
    let file = confirmed.file;
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
            "UPDATE files SET id = ?2, created_at = ?3, downloadable = ?4, own = 1, learned_at = ?5, spared = ?6, \
             sha256 = ?7, kept_size = ?8, kept_mtime = ?9, expires_at = ?10, expired = 0 WHERE ino = ?1",
        )?
        .execute(params![
            row.ino.0 as i64,
            file.id.as_str(),
            file.created_at.as_microsecond(),
            file.downloadable,
            now,
            confirmed.spared,
            digest.as_ref().map(Digest::as_bytes),
            confirmed.kept.map(|kept| kept.size as i64),
            confirmed.kept.map(|kept| kept.mtime),
            file.expires_at.map(Timestamp::as_microsecond)
        ])?;
    tx.touched.push(row.ino);
    Ok(deletable_id(row)
        .filter(|id| *id != file.id)
        .into_iter()
        .collect())
}

/// Remembers which id took the place of which: ids are what people paste into prompts.
pub(super) fn remember_successor(
    tx: &Tx<'_>,
    old: &[FileId],
    file: &FileMetadata,
    now: Millis,
) -> Result<(), StateError> {
    for id in old {
        tx.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO replaced (id, successor, name, replaced_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![id.as_str(), file.id.as_str(), file.filename, now])?;
    }
    Ok(())
}

/// Lets ids be shown by listings again: they stay at the service.
pub(super) fn unhide(tx: &Tx<'_>, ids: &[FileId]) -> Result<(), StateError> {
    for id in ids {
        forget_former(tx, id)?;
        tx.sql
            .prepare_cached("DELETE FROM hidden WHERE id = ?1")?
            .execute([id.as_str()])?;
    }
    Ok(())
}

/// Has files deleted at the service; those whose ids are in somebody's prompts later.
pub(super) fn insert_deletes(
    tx: &mut Tx<'_>,
    ids: &[FileId],
    name: &str,
    doom: Doom,
    now: Moment,
) -> Result<Vec<Entry>, StateError> {
    let mut entries = Vec::new();
    for id in ids {
        hide(tx, id)?;
        if !lingers(tx, id, name, doom, now)? {
            entries.push(insert_delete(tx, id, name, doom, now)?);
        }
    }
    Ok(entries)
}

pub(super) fn insert_delete(
    tx: &Tx<'_>,
    id: &FileId,
    name: &str,
    doom: Doom,
    now: Moment,
) -> Result<Entry, StateError> {
    tx.sql
        .prepare_cached(
            "INSERT INTO outbox (kind, name, size, mime_type, id, renamed, not_before, since) \
             VALUES ('delete', ?1, 0, '', ?2, ?3, 0, ?4)",
        )?
        .execute(params![name, id.as_str(), doom.to_column(), now.wall])?;
    let id = id.clone();
    let work = Work::Delete { id, doom };
    Ok(new_entry(tx, work, name, When::Now, now))
}

/// What a save sends.
pub(super) struct Content<'a> {
    pub(super) size: u64,
    pub(super) mime_type: &'a str,
    pub(super) digest: Option<Digest>,
    pub(super) body: Body,
    /// As [`Record::expires_in_seconds`].
    pub(super) expires_in_seconds: Option<u64>,
}

pub(super) fn insert_save(
    tx: &mut Tx<'_>,
    ino: Ino,
    name: &str,
    content: Content<'_>,
    inline: Option<&[u8]>,
    when: When,
    now: Moment,
) -> Result<Entry, StateError> {
    let Content {
        size,
        mime_type,
        digest,
        body,
        expires_in_seconds,
    } = content;
    let stage = match &body {
        Body::Staged(stage) => Some(stage.as_str()),
        Body::Inline | Body::Held => None,
    };
    tx.sql
        .prepare_cached(
            "INSERT INTO outbox (kind, ino, name, size, mime_type, inline, stage, held, not_before, since, sent_at, \
             sha256, expires_in) VALUES ('save', ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            ino.0 as i64,
            name,
            size as i64,
            mime_type,
            inline,
            stage,
            body == Body::Held,
            when.not_before(now.wall),
            now.wall,
            // What is due is sent at once; should the process die, the next one has to look.
            (when == When::Now).then_some(now.wall),
            digest.as_ref().map(Digest::as_bytes),
            expires_in_seconds.map(|time| time as i64)
        ])?;
    let work = Work::Save {
        ino,
        size,
        mime_type: mime_type.to_owned(),
        digest,
        body,
    };
    let mut entry = new_entry(tx, work, name, when, now);
    entry.record.expires_in_seconds = expires_in_seconds;
    Ok(entry)
}

pub(super) fn new_entry(tx: &Tx<'_>, work: Work, name: &str, when: When, now: Moment) -> Entry {
    let seq = Seq(tx.sql.last_insert_rowid());
    Entry {
        stands_for: seq,
        record: Record {
            seq,
            work,
            name: name.to_owned(),
            expires_in_seconds: None,
            program: Program::current(),
            tries: 0,
            since: now.wall,
            sent_at: None,
            sent_here_at: None,
            tried_at: None,
        },
        on_hold: when == When::OnHold,
        is_spared: false,
        is_refused: false,
        not_before: when.not_before(now.steady),
        settles_at: 0,
        is_urgent: false,
        is_limited: false,
        wants_room: false,
        room: 0,
        in_flight: false,
        is_noted: when == When::Now,
        last_error: None,
        begun_at: None,
        failed_at: None,
        ticket: Ticket::default(),
    }
}
