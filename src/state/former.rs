//! What files were before: which id took the place of which, what a replaced file was, and which files listings have
//! stopped to show.

use std::collections::HashSet;

use rusqlite::OptionalExtension;

use crate::api::FileId;

use super::{Ino, State, StateError};

impl State {
    /// The newest id that took an id's place, and the name it was given, over as many steps as there were; `None` where
    /// nothing did.
    pub fn successor(&self, id: &FileId) -> Result<Option<(FileId, String)>, StateError> {
        self.db.read(|sql| {
            let mut next =
                sql.prepare_cached("SELECT successor, name FROM replaced WHERE id = ?1")?;
            let mut known = HashSet::from([id.clone()]);
            let mut newest: Option<(FileId, String)> = None;
            loop {
                let id = newest.as_ref().map_or(id, |(id, _)| id);
                let found = next
                    .query_row([id.as_str()], |row| {
                        Ok((FileId::new(row.get::<_, String>(0)?), row.get(1)?))
                    })
                    .optional()?;
                match found {
                    Some(found) if known.insert(found.0.clone()) => newest = Some(found),
                    _ => return Ok(newest),
                }
            }
        })
    }

    /// What was known of a replaced or removed file before: its size, and whether the service gives its bytes back.
    /// `None` once it is deleted there.
    pub fn former(&self, id: &FileId) -> Result<Option<(u64, bool)>, StateError> {
        self.db.read(|sql| {
            sql.prepare_cached("SELECT size, downloadable FROM former WHERE id = ?1")?
                .query_row([id.as_str()], |row| {
                    Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
                })
                .optional()
        })
    }

    /// Own files that listings have stopped to show: their ids and the names people know them by.
    pub fn vanished(&self) -> Result<Vec<(Ino, FileId, String)>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT ino, id, filename FROM files WHERE name IS NULL AND scope IS NULL AND own = 1 AND id IS NOT NULL",
            )?;
            let rows = statement.query_map([], |row| {
                let ino = Ino(row.get::<_, i64>(0)? as u64);
                Ok((ino, FileId::new(row.get::<_, String>(1)?), row.get(2)?))
            })?;
            rows.collect()
        })
    }
}
