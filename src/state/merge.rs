//! What a listing does to the catalogue: the primitives, in one transaction a page. Which of them are used when is
//! `sync`'s to decide.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::params;

use crate::api::FileId;
use crate::names::NameStyle;

use super::catalogue::{nanos, row_where, taken};
use super::clock::now;
use super::db::{Durability, Tx};
use super::queue::EntriesGuard;
use super::{Ino, Millis, NewRow, Row, State, StateError};

/// A merge in progress. The outbox does not change under it.
pub struct Merge<'a, 'tx> {
    pub(super) tx: &'a mut Tx<'tx>,
    entries: &'a EntriesGuard<'a>,
    style: NameStyle,
}

impl std::fmt::Debug for Merge<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").finish_non_exhaustive()
    }
}

impl State {
    /// Changes the catalogue to what a listing says: all of it or nothing.
    pub fn merge<T>(
        &self,
        change: impl FnOnce(&mut Merge<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.change("merge", Durability::Relaxed, self.style(), change)
    }

    /// A change to the catalogue whose names are in `style`.
    pub(super) fn change<T>(
        &self,
        name: &'static str,
        durability: Durability,
        style: NameStyle,
        change: impl FnOnce(&mut Merge<'_, '_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let entries = self.queue.entries();
        self.write(name, durability, |tx| {
            change(&mut Merge {
                tx,
                entries: &entries,
                style,
            })
        })
    }

    /// Gives a file that nothing is pending for another inode number; its name stays. Which one.
    pub fn renumber(&self, ino: Ino) -> Result<Ino, StateError> {
        let entries = self.queue.entries();
        if !entries.of_inode(ino).is_empty() {
            return Ok(ino);
        }
        self.write("renumber", Durability::Relaxed, |tx| {
            let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?.ok_or(StateError::Gone)?;
            let new = move_row(tx, ino)?;
            tx.sql
                .prepare_cached("UPDATE files SET name = ?2 WHERE ino = ?1")?
                .execute(params![new.0 as i64, row.name])?;
            Ok(new)
        })
    }

    /// Inodes that a complete listing begun at `listed_at` should have shown: confirmed, in the directory, and known
    /// since before then (own saves with some grace: that a new file is listed at once is promised nowhere).
    pub fn expected_in_listing(
        &self,
        listed_at: Millis,
        grace: Millis,
    ) -> Result<Vec<Ino>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT ino FROM files WHERE id IS NOT NULL AND name IS NOT NULL AND scope IS NULL \
                 AND learned_at < CASE own WHEN 1 THEN ?2 ELSE ?1 END",
            )?;
            let inodes = statement.query_map(params![listed_at, listed_at - grace], |row| {
                row.get::<_, i64>(0).map(|ino| Ino(ino as u64))
            })?;
            inodes.collect()
        })
    }
}

/// Gives a file's row a new inode number, and no name yet.
fn move_row(tx: &mut Tx<'_>, ino: Ino) -> Result<Ino, StateError> {
    tx.sql
        .prepare_cached(
            "INSERT INTO files (suffixed, filename, mime_type, size, created_at, mtime, ctime, downloadable, scope, \
             own, spared, sha256, kept_size, kept_mtime, expires_at, expired, learned_at) \
             SELECT suffixed, filename, mime_type, size, created_at, mtime, ctime, downloadable, scope, \
             own, spared, sha256, kept_size, kept_mtime, expires_at, expired, ?2 FROM files WHERE ino = ?1",
        )?
        .execute(params![ino.0 as i64, now()])?;
    let new = tx.sql.last_insert_rowid();
    let id: Option<String> = tx
        .sql
        .prepare_cached("DELETE FROM files WHERE ino = ?1 RETURNING id")?
        .query_row([ino.0 as i64], |row| row.get(0))?;
    tx.sql
        .prepare_cached("UPDATE files SET id = ?2 WHERE ino = ?1")?
        .execute(params![new, id])?;
    tx.touched.push(ino);
    Ok(Ino(new as u64))
}

impl Merge<'_, '_> {
    /// The style that names are given in.
    #[must_use]
    pub fn style(&self) -> NameStyle {
        self.style
    }

    /// Whether the id is deleted or replaced here, whatever a listing says.
    pub fn is_hidden(&self, id: &FileId) -> Result<bool, StateError> {
        Ok(self
            .tx
            .sql
            .prepare_cached("SELECT 1 FROM hidden WHERE id = ?1")?
            .exists([id.as_str()])?)
    }

    /// The inode of an id.
    pub fn row_of_id(&self, id: &FileId) -> Result<Option<Row>, StateError> {
        Ok(row_where(&self.tx.sql, "id = ?1", [id.as_str()])?)
    }

    /// The inode under a name in the directory, or in that of a session.
    pub fn row_named(&self, scope: Option<&str>, name: &str) -> Result<Option<Row>, StateError> {
        let sql = &self.tx.sql;
        Ok(match scope {
            None => row_where(sql, "name = ?1", [name])?,
            Some(session) => row_where(sql, "scope = ?1 AND scoped_name = ?2", [session, name])?,
        })
    }

    /// Whether the inode holds content that the service has not confirmed, or is about to: it is open for writing.
    #[must_use]
    pub fn is_local(&self, row: &Row) -> bool {
        row.id.is_none() || self.entries.is_changing(row.ino)
    }

    /// A file that is new here.
    pub fn insert(&mut self, new: &NewRow<'_>) -> Result<Ino, StateError> {
        let file = new.file;
        let time = nanos(file.created_at);
        self.tx
            .sql
            .prepare_cached(
                "INSERT INTO files (name, suffixed, id, filename, mime_type, size, created_at, mtime, ctime, \
                 downloadable, scope, own, learned_at, scoped_name, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, 0, ?11, ?12, ?13)",
            )?
            .execute(params![
                Some(new.name).filter(|_| file.scope.is_none()),
                new.suffixed,
                file.id.as_str(),
                file.filename,
                file.mime_type,
                i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
                file.created_at.as_microsecond(),
                time,
                file.downloadable,
                file.scope.as_ref().map(|scope| scope.id.as_str()),
                new.learned_at,
                Some(new.name).filter(|_| file.scope.is_some()),
                file.expires_at.map(Timestamp::as_microsecond)
            ])
            .map_err(taken)?;
        Ok(Ino(self.tx.sql.last_insert_rowid() as u64))
    }

    /// Takes an inode out of its directory, unless it is local in any way. Should it come back, it still is one with
    /// or without a suffix.
    pub fn hide(&mut self, ino: Ino) -> Result<(), StateError> {
        if self.entries.is_changing(ino) {
            return Ok(());
        }
        self.tx
            .sql
            .prepare_cached("UPDATE files SET name = NULL, scoped_name = NULL WHERE ino = ?1")?
            .execute([ino.0 as i64])?;
        self.tx.touched.push(ino);
        Ok(())
    }

    /// Puts an inode that is not in its directory under a name there.
    pub fn set_name(&mut self, ino: Ino, name: &str, suffixed: bool) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached(
                "UPDATE files SET name = CASE WHEN scope IS NULL THEN ?2 END, \
                 scoped_name = CASE WHEN scope IS NULL THEN NULL ELSE ?2 END, suffixed = ?3 WHERE ino = ?1",
            )?
            .execute(params![ino.0 as i64, name, suffixed])
            .map_err(taken)?;
        self.tx.touched.push(ino);
        Ok(())
    }

    /// Moves a file to a suffixed name, so that a newer one can have the plain name.
    ///
    /// It gets a new inode number with it. The kernel may still hold the plain name as the old number, and an OPEN says
    /// only the number: a number that is gone answers ESTALE and is looked up again, where an old one would quietly
    /// open the previous file. A listing that is under way has seen the old number; it must not miss the new one.
    pub fn displace(&mut self, ino: Ino, name: &str) -> Result<Ino, StateError> {
        let new = move_row(self.tx, ino)?;
        self.set_name(new, name, true)?;
        Ok(new)
    }

    /// Takes over what the service may change about a file: whether it can be downloaded.
    pub fn set_downloadable(&mut self, ino: Ino, downloadable: bool) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached("UPDATE files SET downloadable = ?2 WHERE ino = ?1")?
            .execute(params![ino.0 as i64, downloadable])?;
        self.tx.touched.push(ino);
        Ok(())
    }

    /// Takes over when the service gives a file's bytes up.
    pub fn set_expires_at(&mut self, ino: Ino, time: Timestamp) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached("UPDATE files SET expires_at = ?2 WHERE ino = ?1")?
            .execute(params![ino.0 as i64, time.as_microsecond()])?;
        self.tx.touched.push(ino);
        Ok(())
    }

    /// Forgets ids that were deleted before `deleted_before` and that a complete listing of their scope does not show any
    /// more.
    pub fn forget_hidden(
        &mut self,
        scope: Option<&str>,
        deleted_before: Millis,
        still_listed: &HashSet<FileId>,
    ) -> Result<(), StateError> {
        let gone: Vec<String> = {
            let mut statement = self
                .tx
                .sql
                .prepare_cached("SELECT id FROM hidden WHERE deleted_at < ?1 AND scope IS ?2")?;
            let ids = statement.query_map(params![deleted_before, scope], |row| row.get(0))?;
            ids.collect::<Result<_, _>>()?
        };
        for id in gone {
            if !still_listed.contains(&FileId::new(id.as_str())) {
                self.tx
                    .sql
                    .prepare_cached("DELETE FROM hidden WHERE id = ?1")?
                    .execute([id])?;
            }
        }
        Ok(())
    }
}
