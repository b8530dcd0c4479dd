//! The catalogue's part for outputs, which the service gives back: their rows, and the *pins* of those whose downloaded
//! copies a person wants to stay. A pin is an id's, whether its copy is here or not: the copies lie in a directory that
//! anybody may clean.

use rusqlite::params;

use crate::api::FileId;

use super::catalogue::COLUMNS;
use super::db::Durability;
use super::{Ino, Row, State, StateError};

impl State {
    /// Files that the service gives back, wherever they stand, in the order of their numbers, after `after`.
    pub fn downloadable_files(&self, after: Ino, limit: usize) -> Result<Vec<Row>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM files WHERE ino > ?1 AND downloadable = 1 AND id IS NOT NULL \
                 ORDER BY ino LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![after.0 as i64, limit as i64], Row::read)?;
            rows.collect()
        })
    }

    /// Pins an id, durably; whether it was not pinned before.
    pub fn pin(&self, id: &FileId) -> Result<bool, StateError> {
        self.write("pin", Durability::Durable, |tx| {
            let added = tx.sql.execute(
                "INSERT OR IGNORE INTO pinned (id) VALUES (?1)",
                [id.as_str()],
            )?;
            Ok(added > 0)
        })
    }

    /// Releases an id, durably; whether it was pinned.
    pub fn unpin(&self, id: &FileId) -> Result<bool, StateError> {
        self.write("unpin", Durability::Durable, |tx| {
            let removed = tx
                .sql
                .execute("DELETE FROM pinned WHERE id = ?1", [id.as_str()])?;
            Ok(removed > 0)
        })
    }

    /// The pinned ids.
    pub fn pinned(&self) -> Result<Vec<FileId>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached("SELECT id FROM pinned")?;
            let ids = statement.query_map([], |row| row.get::<_, String>(0).map(FileId::new))?;
            ids.collect()
        })
    }

    /// Releases ids that stand for no file any more, and that no pending work may bring back.
    pub fn release_lost_pins(&self) -> Result<(), StateError> {
        self.write("release pins", Durability::Relaxed, |tx| {
            tx.sql.execute(
                "DELETE FROM pinned WHERE id NOT IN (SELECT id FROM files WHERE id IS NOT NULL) \
                 AND id NOT IN (SELECT id FROM former) \
                 AND id NOT IN (SELECT id FROM outbox WHERE id IS NOT NULL)",
                [],
            )?;
            Ok(())
        })
    }
}
