//! The catalogue: one row per inode, every known remote file and every local one on its way there.
//!
//! Rows are read through an LRU cache, so that `stat` and `lookup` of the files in use cost a hash lookup and no SQL.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use lru::LruCache;
use rusqlite::{Connection, OptionalExtension, params};

use crate::api::{FileId, FileMetadata};

use super::db::{Durability, Tx};
use super::{Digest, Ino, Millis, Nanos, State, StateError, lock};

/// What is known of one inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub ino: Ino,
    /// Its directory name; `None` when it is not in the directory.
    pub name: Option<String>,
    /// Its name in its session's directory; `None` when it is not in one.
    pub scoped_name: Option<String>,
    /// Whether the name carries a `~` suffix, which stays for as long as the file exists.
    pub suffixed: bool,
    /// The confirmed file at the service.
    pub id: Option<FileId>,
    /// The service's label.
    pub filename: String,
    /// The stored media type.
    pub mime_type: String,
    /// Bytes: those of the newest local content where something is pending, else the service's.
    pub size: u64,
    /// When the service stored it (or when it was created here).
    pub created_at: Timestamp,
    /// Last change of content.
    pub mtime: Nanos,
    /// Last change of content or attributes.
    pub ctime: Nanos,
    /// Whether the service gives its bytes back.
    pub downloadable: bool,
    /// The session it is scoped to.
    pub scope: Option<String>,
    /// Whether it was saved through this machine.
    pub own: bool,
    /// Whether its id is never deleted from here: that it is ours was a guess among several, or who replaced it was killed
    /// in the middle.
    pub spared: bool,
    /// The digest of the confirmed content, where it was saved here.
    pub digest: Option<Digest>,
    /// What its kept copy is known by.
    pub kept: Option<KeptAs>,
    /// Whether it stays on this machine for as long as it has its name.
    pub scratch: bool,
    /// When its id was first known here, milliseconds.
    pub learned_at: Millis,
    /// When the service gives its bytes up, as far as it has told.
    pub expires_at: Option<Timestamp>,
    /// Whether the service has said that it did.
    pub is_expired: bool,
}

/// What a kept copy was when it was put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAs {
    /// Bytes.
    pub size: u64,
    /// Its modification time.
    pub mtime: Nanos,
}

/// A row to be: a file seen at the service.
#[derive(Debug)]
pub struct NewRow<'a> {
    /// Its name in the directory, or in that of its session.
    pub name: &'a str,
    /// Whether the name carries a suffix.
    pub suffixed: bool,
    /// What the service says.
    pub file: &'a FileMetadata,
    /// When it was learned, milliseconds.
    pub learned_at: i64,
}

pub(super) const COLUMNS: &str = "ino, name, suffixed, id, filename, mime_type, size, created_at, mtime, ctime, \
     downloadable, scope, own, spared, sha256, kept_size, kept_mtime, learned_at, scratch, scoped_name, \
     expires_at, expired";

impl Row {
    /// Whether it stands under a name, in the directory or in its session's.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.name.is_some() || self.scoped_name.is_some()
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            ino: Ino(row.get::<_, i64>(0)? as u64),
            name: row.get(1)?,
            suffixed: row.get(2)?,
            id: row.get::<_, Option<String>>(3)?.map(FileId::new),
            filename: row.get(4)?,
            mime_type: row.get(5)?,
            size: row.get::<_, i64>(6)? as u64,
            created_at: Timestamp::from_microsecond(row.get(7)?).unwrap_or(Timestamp::UNIX_EPOCH),
            mtime: row.get(8)?,
            ctime: row.get(9)?,
            downloadable: row.get(10)?,
            scope: row.get(11)?,
            own: row.get(12)?,
            spared: row.get(13)?,
            digest: Digest::from_column(row.get(14)?),
            kept: match (row.get::<_, Option<i64>>(15)?, row.get(16)?) {
                (Some(size), Some(mtime)) => Some(KeptAs {
                    size: size as u64,
                    mtime,
                }),
                _ => None,
            },
            learned_at: row.get(17)?,
            scratch: row.get(18)?,
            scoped_name: row.get(19)?,
            expires_at: row
                .get::<_, Option<i64>>(20)?
                .and_then(|time| Timestamp::from_microsecond(time).ok()),
            is_expired: row.get(21)?,
        })
    }
}

/// A service time as a file time; beyond what nanoseconds in 64 bits hold, the nearest that they do.
pub(super) fn nanos(time: Timestamp) -> Nanos {
    let nanos = time.as_nanosecond();
    Nanos::try_from(nanos).unwrap_or(if nanos < 0 { Nanos::MIN } else { Nanos::MAX })
}

impl State {
    /// The file under this directory name.
    pub fn lookup(&self, name: &str) -> Result<Option<Arc<Row>>, StateError> {
        if let Some(row) = self.cache.by_name(name) {
            return Ok(Some(row));
        }
        self.load(|sql| row_where(sql, "name = ?1", [name]))
    }

    /// The inode's row, whether it is in the directory or not.
    pub fn row(&self, ino: Ino) -> Result<Option<Arc<Row>>, StateError> {
        if let Some(row) = self.cache.by_ino(ino) {
            return Ok(Some(row));
        }
        self.load(|sql| row_where(sql, "ino = ?1", [ino.0 as i64]))
    }

    /// The inode that stands for this id now.
    pub fn row_of_id(&self, id: &FileId) -> Result<Option<Arc<Row>>, StateError> {
        self.load(|sql| row_where(sql, "id = ?1", [id.as_str()]))
    }

    /// Up to `limit` directory entries with inode numbers above `after`, in their order.
    pub fn list(&self, after: Ino, limit: usize) -> Result<Vec<Row>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM files WHERE ino > ?1 AND name IS NOT NULL ORDER BY ino LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![after.0 as i64, limit as i64], Row::read)?;
            rows.collect()
        })
    }

    /// The same of files that the service gives back.
    pub fn list_outputs(&self, after: Ino, limit: usize) -> Result<Vec<Row>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM files WHERE ino > ?1 AND name IS NOT NULL AND downloadable = 1 \
                 ORDER BY ino LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![after.0 as i64, limit as i64], Row::read)?;
            rows.collect()
        })
    }

    /// Files saved through this machine and confirmed, in the order of their numbers, after `after`.
    pub fn own_files(&self, after: Ino, limit: usize) -> Result<Vec<Row>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM files WHERE ino > ?1 AND own = 1 AND id IS NOT NULL ORDER BY ino LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![after.0 as i64, limit as i64], Row::read)?;
            rows.collect()
        })
    }

    /// Ids whose bytes pending work may need: of files that are saved or renamed, and of what goes to the trash.
    pub fn needed_ids(&self) -> Result<Vec<FileId>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT id FROM files WHERE id IS NOT NULL AND ino IN (SELECT ino FROM outbox WHERE ino IS NOT NULL) \
                 UNION SELECT id FROM outbox WHERE id IS NOT NULL UNION SELECT id FROM superseded \
                 UNION SELECT id FROM lingering",
            )?;
            let ids = statement.query_map([], |row| row.get::<_, String>(0).map(FileId::new))?;
            ids.collect()
        })
    }

    /// How many files the directory shows, and their bytes. Counted anew only when something has changed: `df` and file
    /// managers ask often.
    pub fn totals(&self) -> Result<(u64, u64), StateError> {
        let commits = self.db.commits();
        if let Some((at, totals)) = *lock(&self.totals)
            && at == commits
        {
            return Ok(totals);
        }
        let totals = self.count()?;
        *lock(&self.totals) = Some((commits, totals));
        Ok(totals)
    }

    fn count(&self) -> Result<(u64, u64), StateError> {
        self.db.read(|sql| {
            sql.prepare_cached(
                "SELECT count(*), CAST(total(size) AS INTEGER) FROM files WHERE name IS NOT NULL",
            )?
            .query_row([], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
            })
        })
    }

    /// Whether any of these ids is or was known here: how an unknown key is told to belong to this workspace.
    pub fn knows_any(&self, ids: &[FileId]) -> Result<bool, StateError> {
        self.db.read(|sql| {
            let mut known = sql.prepare_cached(
                "SELECT 1 FROM files WHERE id = ?1 UNION ALL SELECT 1 FROM hidden WHERE id = ?1 \
                 UNION ALL SELECT 1 FROM replaced WHERE id = ?1",
            )?;
            for id in ids {
                if known.exists([id.as_str()])? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// A new, empty, local file of this directory name, which is never sent under it where it is `scratch`. Not durable by
    /// itself: a file that was never closed was never promised.
    pub fn create(
        &self,
        name: &str,
        mime_type: &str,
        scratch: bool,
        now: Nanos,
    ) -> Result<Arc<Row>, StateError> {
        let filename = self.filename_for(name);
        // Read back rather than built here: one place says what a row is.
        let row = self.write("create", Durability::Relaxed, |tx| {
            tx.sql
                .prepare_cached(&format!(
                    "INSERT INTO files (name, filename, mime_type, size, created_at, mtime, ctime, downloadable, own, \
                     learned_at, scratch) VALUES (?1, ?7, ?2, 0, ?3, ?4, ?4, 0, 1, ?5, ?6) RETURNING {COLUMNS}"
                ))?
                .query_row(
                    params![
                        name,
                        mime_type,
                        now / 1000,
                        now,
                        now / 1_000_000,
                        scratch,
                        filename
                    ],
                    Row::read,
                )
                .map_err(taken)
        })?;
        Ok(Arc::new(row))
    }

    /// Sets a file's times.
    pub fn set_times(&self, ino: Ino, mtime: Nanos, ctime: Nanos) -> Result<(), StateError> {
        self.write("set times", Durability::Relaxed, |tx| {
            tx.sql
                .prepare_cached("UPDATE files SET mtime = ?2, ctime = ?3 WHERE ino = ?1")?
                .execute(params![ino.0 as i64, mtime, ctime])?;
            tx.touched.push(ino);
            Ok(())
        })
    }

    /// Brings every commit so far to disk.
    pub fn sync(&self) -> Result<(), StateError> {
        // A durable commit takes all earlier ones along; without a change SQLite writes none.
        self.write("sync", Durability::Durable, |tx| {
            tx.sql.execute(
                "INSERT INTO facts (key, value) VALUES ('synced', '1') \
                 ON CONFLICT (key) DO UPDATE SET value = 1 - value",
                [],
            )?;
            Ok(())
        })
    }

    /// Has the service keep the file's present id when its content is replaced.
    pub fn spare(&self, ino: Ino) -> Result<(), StateError> {
        self.write("spare", Durability::Relaxed, |tx| {
            tx.sql
                .execute("UPDATE files SET spared = 1 WHERE ino = ?1", [ino.0 as i64])?;
            tx.touched.push(ino);
            Ok(())
        })
    }

    /// A remembered fact about the workspace.
    pub fn fact(&self, key: &str) -> Result<Option<String>, StateError> {
        self.db.read(|sql| {
            sql.query_row("SELECT value FROM facts WHERE key = ?1", [key], |row| {
                row.get(0)
            })
            .optional()
        })
    }

    /// Remembers a fact about the workspace.
    pub fn set_fact(&self, key: &str, value: &str) -> Result<(), StateError> {
        self.write("fact", Durability::Relaxed, |tx| {
            tx.sql.execute(
                "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                [key, value],
            )?;
            Ok(())
        })
    }

    /// A transaction, after which no cached row is older than it. Its beginning and its commit are steps of this name.
    pub(super) fn write<T>(
        &self,
        name: &'static str,
        durability: Durability,
        write: impl FnOnce(&mut Tx<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let (value, touched) = self.db.write(name, durability, write)?;
        self.cache.forget(&touched);
        Ok(value)
    }

    pub(super) fn load(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<Option<Row>>,
    ) -> Result<Option<Arc<Row>>, StateError> {
        let generation = self.cache.generation();
        let row = self.db.look(read)?.map(Arc::new);
        if let Some(row) = &row {
            self.cache.fill(generation, row);
        }
        Ok(row)
    }
}

/// A unique constraint that failed on insert or rename means that the name is taken.
pub(super) fn taken(error: rusqlite::Error) -> StateError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => StateError::Exists,
        _ => error.into(),
    }
}

pub(super) fn row_where<P: rusqlite::Params>(
    sql: &Connection,
    condition: &str,
    params: P,
) -> rusqlite::Result<Option<Row>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM files WHERE {condition}"))?
        .query_row(params, Row::read)
        .optional()
}

/// The rows in use.
#[derive(Debug)]
pub(super) struct RowCache(Mutex<Cached>);

#[derive(Debug)]
struct Cached {
    /// Counts forgettings, so that a row read before a commit is not filled in after it.
    generation: u64,
    rows: LruCache<Ino, Arc<Row>>,
    /// Hints only: a name is believed when the row it leads to still bears it.
    names: LruCache<String, Ino>,
}

impl RowCache {
    const ROWS: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

    pub(super) fn new() -> Self {
        Self(Mutex::new(Cached {
            generation: 0,
            rows: LruCache::new(Self::ROWS),
            names: LruCache::new(Self::ROWS),
        }))
    }

    fn generation(&self) -> u64 {
        lock(&self.0).generation
    }

    fn by_ino(&self, ino: Ino) -> Option<Arc<Row>> {
        lock(&self.0).rows.get(&ino).cloned()
    }

    fn by_name(&self, name: &str) -> Option<Arc<Row>> {
        let mut cached = lock(&self.0);
        let ino = *cached.names.get(name)?;
        let row = cached.rows.get(&ino)?;
        (row.name.as_deref() == Some(name)).then(|| Arc::clone(row))
    }

    fn fill(&self, generation: u64, row: &Arc<Row>) {
        let mut cached = lock(&self.0);
        if cached.generation == generation {
            if let Some(name) = &row.name {
                cached.names.put(name.clone(), row.ino);
            }
            cached.rows.put(row.ino, Arc::clone(row));
        }
    }

    fn forget(&self, touched: &[Ino]) {
        let mut cached = lock(&self.0);
        cached.generation += 1;
        for ino in touched {
            cached.rows.pop(ino);
        }
    }
}
