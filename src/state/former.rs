//! What files were before: which id took the place of which, what a replaced file was, and which files listings have
//! stopped to show.

use std::collections::HashSet;

use rusqlite::OptionalExtension;

use crate::api::FileId;

use super::{Ino, Millis, State, StateError};

/// What took an id's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// The newest id.
    pub id: FileId,
    /// The name it was given.
    pub name: String,
    /// When the first one took it, milliseconds.
    pub replaced_at: Millis,
}

impl State {
    /// What took an id's place, over as many steps as there were; `None` where nothing did.
    pub fn successor(&self, id: &FileId) -> Result<Option<Successor>, StateError> {
        self.db.read(|sql| {
            let mut next = sql.prepare_cached(
                "SELECT successor, name, replaced_at FROM replaced WHERE id = ?1",
            )?;
            let mut known = HashSet::from([id.clone()]);
            let mut newest: Option<Successor> = None;
            loop {
                let id = newest.as_ref().map_or(id, |newest| &newest.id);
                let first = newest.as_ref().map(|newest| newest.replaced_at);
                let found = next
                    .query_row([id.as_str()], |row| {
                        Ok(Successor {
                            id: FileId::new(row.get::<_, String>(0)?),
                            name: row.get(1)?,
                            replaced_at: first.unwrap_or(row.get(2)?),
                        })
                    })
                    .optional()?;
                match found {
                    Some(found) if known.insert(found.id.clone()) => newest = Some(found),
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
