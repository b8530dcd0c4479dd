//! Ids that are deleted once something else is confirmed. What takes the place of a file may itself be replaced, moved aside
//! or removed before it is at the service, and what it stood for must then wait for the next one: an id goes when another
//! file of its name is there, or when nothing is left that stands for it.

use rusqlite::{OptionalExtension, params};

use crate::api::{FileId, FileMetadata};

use super::catalogue::row_where;
use super::db::Tx;
use super::rows::{deletable_id, hide, remember, remember_replaced};
use super::{Confirmed, Digest, Ino, Seq, StateError};

/// Makes `over`'s ids the ones that are deleted when `ino` is confirmed, and takes `over` out of the directory.
pub(super) fn supersede(tx: &mut Tx<'_>, ino: Ino, over: Ino) -> Result<(), StateError> {
    let row = row_where(&tx.sql, "ino = ?1", [over.0 as i64])?;
    let mut ids = take_superseded(tx, over)?;
    ids.extend(row.as_ref().and_then(deletable_id));
    for id in &ids {
        tx.sql.execute(
            "INSERT OR IGNORE INTO superseded (ino, id) VALUES (?1, ?2)",
            params![ino.0 as i64, id.as_str()],
        )?;
        hide(tx, id)?;
    }
    remember(tx, over)?;
    tx.sql
        .execute("DELETE FROM files WHERE ino = ?1", [over.0 as i64])?;
    tx.touched.push(over);
    Ok(())
}

/// Makes the confirmed file, which has no place in the directory any more, go when the file that has its `name` now is
/// confirmed; false where nothing of that name is on its way. Where it was moved aside, and what it was moved to was
/// replaced, a later one of its name may come: then `heir` stands for it, unless that one is there already.
pub(super) fn supersede_confirmed(
    tx: &mut Tx<'_>,
    confirmed: &Confirmed<'_>,
    name: &str,
    digest: Option<Digest>,
    heir: Option<Ino>,
) -> Result<bool, StateError> {
    let file = confirmed.file;
    if let Some(shown_as) = supersede_named(tx, &file.filename, &file.id)? {
        remember_replaced(tx, confirmed, digest, Some(shown_as))?;
        return Ok(true);
    }
    let Some(heir) = heir else {
        return Ok(false);
    };
    if is_there(tx, &file.filename, name)? {
        return Ok(false);
    }
    let changed = tx.sql.execute(
        "INSERT OR IGNORE INTO superseded (ino, id) SELECT ino, ?2 FROM files WHERE ino = ?1 AND (scratch = 1 \
         OR ino IN (SELECT ino FROM outbox WHERE kind = 'save'))",
        params![heir.0 as i64, file.id.as_str()],
    )?;
    if changed > 0 {
        remember_replaced(tx, confirmed, digest, None)?;
        hide(tx, &file.id)?;
    }
    Ok(changed > 0)
}

/// What is still on its way of `over` is `heir`'s to stand for, which has taken its place as a scratch file.
pub(super) fn bequeath(tx: &Tx<'_>, over: Ino, heir: Ino) -> Result<(), StateError> {
    tx.sql.execute(
        "UPDATE outbox SET heir = ?2 WHERE kind = 'save' AND (ino = ?1 OR heir = ?1)",
        params![over.0 as i64, heir.0 as i64],
    )?;
    Ok(())
}

/// The heir of what a record sends.
pub(super) fn heir_of(tx: &Tx<'_>, seq: Seq) -> Result<Option<Ino>, StateError> {
    let heir: Option<i64> = tx
        .sql
        .prepare_cached("SELECT heir FROM outbox WHERE seq = ?1")?
        .query_row([seq.0], |row| row.get(0))?;
    Ok(heir.map(|ino| Ino(ino as u64)))
}

/// The same of an id that was moved aside before it was removed: it had another name than `name` at the service, and
/// what has that one now may still be on its way. Some editors save so.
pub(super) fn supersede_moved(
    tx: &mut Tx<'_>,
    id: &FileId,
    name: &str,
) -> Result<bool, StateError> {
    let former = tx
        .sql
        .prepare_cached("SELECT filename FROM former WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get::<_, String>(0))
        .optional()?;
    match former {
        Some(former) if former != name => Ok(supersede_named(tx, &former, id)?.is_some()),
        _ => Ok(false),
    }
}

/// The directory name of what stands for the id from now on, where anything does, and whether that has a suffix.
fn supersede_named(
    tx: &mut Tx<'_>,
    filename: &str,
    id: &FileId,
) -> Result<Option<(String, bool)>, StateError> {
    let successor = tx
        .sql
        .prepare_cached(
            "SELECT ino, name, suffixed FROM files
             WHERE filename = ?1 AND name IS NOT NULL AND ino IN (SELECT ino FROM outbox WHERE kind = 'save')
             ORDER BY ino DESC LIMIT 1",
        )?
        .query_row([filename], |row| {
            Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?)))
        })
        .optional()?;
    let Some((ino, shown_as)) = successor else {
        return Ok(None);
    };
    tx.sql.execute(
        "INSERT OR IGNORE INTO superseded (ino, id) VALUES (?1, ?2)",
        params![ino, id.as_str()],
    )?;
    hide(tx, id)?;
    Ok(Some(shown_as))
}

pub(super) fn take_superseded(tx: &mut Tx<'_>, ino: Ino) -> Result<Vec<FileId>, StateError> {
    let mut statement = tx
        .sql
        .prepare_cached("DELETE FROM superseded WHERE ino = ?1 RETURNING id")?;
    let ids = statement.query_map([ino.0 as i64], |row| {
        row.get::<_, String>(0).map(FileId::new)
    })?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Ids that scratch files other than `ino` still stand for, or were to replace, and that had the name `filename` at the
/// service: files that were moved aside, as editors keep backups. Another file has that name there now; the scratch files
/// go on with bytes of their own.
pub(super) fn take_moved_aside(
    tx: &mut Tx<'_>,
    filename: &str,
    ino: Ino,
) -> Result<Vec<FileId>, StateError> {
    let aside = {
        let mut statement = tx.sql.prepare_cached(
            "WITH aside (ino, id) AS (SELECT ino, id FROM files WHERE scratch = 1 AND spared = 0 \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.ino = files.ino AND held = 1) \
             UNION ALL SELECT ino, superseded.id FROM files JOIN superseded USING (ino) WHERE scratch = 1) \
             SELECT ino, id FROM aside WHERE ino <> ?2 \
             AND EXISTS (SELECT 1 FROM former WHERE former.id = aside.id AND former.filename = ?1)",
        )?;
        let rows = statement.query_map(params![filename, ino.0 as i64], id_of_inode)?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    detach(tx, aside)
}

/// The same of one inode that has just become a scratch file: what it stands for has been replaced already where the name
/// it had is another's, and that one is at the service.
pub(super) fn take_replaced(tx: &mut Tx<'_>, ino: Ino) -> Result<Vec<FileId>, StateError> {
    let replaced = {
        let mut statement = tx.sql.prepare_cached(
            "WITH aside (ino, id) AS (SELECT ino, id FROM files WHERE ino = ?1 AND spared = 0 \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.ino = files.ino AND held = 1) \
             UNION ALL SELECT ino, id FROM superseded WHERE ino = ?1) \
             SELECT aside.ino, aside.id FROM aside JOIN former ON former.id = aside.id \
             JOIN files AS other ON other.name = former.name AND other.filename = former.filename \
             WHERE other.ino <> ?1 AND other.id IS NOT NULL \
             AND other.ino NOT IN (SELECT ino FROM outbox WHERE kind = 'save')",
        )?;
        let rows = statement.query_map([ino.0 as i64], id_of_inode)?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    detach(tx, replaced)
}

/// The same of `file`, called `name` once, which the scratch file `ino` has just come to stand for: its upload was answered late, and the file
/// that has its name now was there first.
pub(super) fn take_late(
    tx: &mut Tx<'_>,
    ino: Ino,
    file: &FileMetadata,
    name: &str,
) -> Result<Vec<FileId>, StateError> {
    if !is_there(tx, &file.filename, name)? {
        return Ok(Vec::new());
    }
    detach(tx, vec![(ino.0 as i64, file.id.as_str().to_owned())])
}

/// Whether a file of this filename is at the service for certain that the directory shows under `name`.
fn is_there(tx: &Tx<'_>, filename: &str, name: &str) -> Result<bool, StateError> {
    let is_there = tx
        .sql
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM files WHERE name = ?2 AND filename = ?1 AND id IS NOT NULL \
             AND ino NOT IN (SELECT ino FROM outbox WHERE kind = 'save'))",
        )?
        .query_row([filename, name], |row| row.get(0))?;
    Ok(is_there)
}

fn id_of_inode(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Inodes stand for these ids no more.
fn detach(tx: &mut Tx<'_>, ids: Vec<(i64, String)>) -> Result<Vec<FileId>, StateError> {
    let mut detached = Vec::new();
    for (ino, id) in ids {
        tx.sql.execute(
            "UPDATE files SET id = NULL, sha256 = NULL, kept_size = NULL, kept_mtime = NULL WHERE ino = ?1 AND id = ?2",
            params![ino, id],
        )?;
        tx.sql.execute(
            "DELETE FROM superseded WHERE ino = ?1 AND id = ?2",
            params![ino, id],
        )?;
        tx.touched.push(Ino(ino as u64));
        detached.push(FileId::new(id));
    }
    Ok(detached)
}
