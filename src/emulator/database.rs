//! What outlives the process: the database of `--data`. A row that is here is a file that was stored; content
//! files without a row were never answered for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::catalogue::{Catalogue, Place, Range, Stored};
use super::content::Content;

/// Raised with every change of the tables; a database of another number is refused.
const SCHEMA: i64 = 2;

/// From a database of the number before: files that expire.
const FROM_1: &str = "ALTER TABLE files ADD COLUMN expires_us INTEGER";

const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE files (
        seq INTEGER PRIMARY KEY, created_us INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, filename TEXT NOT NULL,
        mime_type TEXT NOT NULL, size INTEGER NOT NULL, downloadable INTEGER NOT NULL, session TEXT,
        body BLOB, content_file TEXT, expires_us INTEGER) STRICT;
    CREATE TABLE ranges (
        seq INTEGER PRIMARY KEY, created_us INTEGER NOT NULL, count INTEGER NOT NULL, prefix TEXT NOT NULL,
        size INTEGER NOT NULL, downloadable INTEGER NOT NULL) STRICT;
    CREATE TABLE range_deletions (seq INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE imports (
        name TEXT NOT NULL, size INTEGER NOT NULL, modified_us INTEGER NOT NULL, seq INTEGER NOT NULL,
        deleted INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (name, size, modified_us)) STRICT;
";

/// Where the bytes of a new row are.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowBody<'a> {
    /// In the row.
    Inline(&'a [u8]),
    /// In a content file of this name.
    File(&'a str),
}

/// A file of the imported folder, as it was when it got its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ImportKey {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) modified_us: i64,
}

/// The number of an imported file, and whether it was deleted since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownImport {
    pub(super) seq: u64,
    pub(super) deleted: bool,
}

#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens or makes it. It stays locked against every other process until it is dropped.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        // Whoever holds the lock holds it for as long as it lives: waiting for it is no use.
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // FULL: a commit that returned is on the disk.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            1 => {
                transaction.execute_batch(FROM_1)?;
                transaction.pragma_update(None, "user_version", SCHEMA)?;
            }
            SCHEMA => {}
            _ => return Err(rusqlite::Error::InvalidQuery),
        }
        transaction.commit()?;
        Ok(Self { connection })
    }

    pub(super) fn meta(&self, key: &str) -> rusqlite::Result<Option<u64>> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                row.get::<_, i64>(0).map(|value| value as u64)
            })
            .optional()
    }

    pub(super) fn set_meta(&self, key: &str, value: u64) -> rusqlite::Result<()> {
        self.connection.execute(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2",
            params![key, value as i64],
        )?;
        Ok(())
    }

    /// Fills an empty catalogue. `content_path` turns the name of a content file into its path.
    pub(super) fn load(
        &self,
        catalogue: &mut Catalogue,
        content_path: impl Fn(&str) -> PathBuf,
    ) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT seq, created_us, id, filename, mime_type, size, downloadable, session, content_file, expires_us \
             FROM files",
        )?;
        let files = statement.query_map([], |row| stored(row, &content_path))?;
        for file in files {
            catalogue.insert(Arc::new(file?));
        }
        let mut statement = self.connection.prepare("SELECT seq FROM range_deletions")?;
        let deleted = statement
            .query_map([], |row| row.get::<_, i64>(0).map(|seq| seq as u64))?
            .collect::<rusqlite::Result<HashSet<u64>>>()?;
        let mut statement = self
            .connection
            .prepare("SELECT seq, created_us, count, prefix, size, downloadable FROM ranges")?;
        for range in statement.query_map([], range)? {
            catalogue.insert_range(range?, |seq| deleted.contains(&seq));
        }
        // Numbers are never given twice, not even those of files that are gone.
        let last: i64 = self.meta("last_seq")?.unwrap_or(0) as i64;
        let newest: i64 = self.meta("newest_us")?.unwrap_or(0) as i64;
        catalogue.reserve(Place {
            created_us: newest,
            seq: last as u64,
        });
        Ok(())
    }

    /// The names of all content files that belong to a row.
    pub(super) fn content_files(&self) -> rusqlite::Result<HashSet<String>> {
        self.connection
            .prepare("SELECT content_file FROM files WHERE content_file IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    /// Adds a row. `newest` is the place that later files are to stand above.
    pub(super) fn insert(
        &mut self,
        file: &Stored,
        body: RowBody<'_>,
        newest: Place,
    ) -> rusqlite::Result<()> {
        let (inline, content_file) = match body {
            RowBody::Inline(bytes) => (Some(bytes), None),
            RowBody::File(name) => (None, Some(name)),
        };
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached(
                "INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?
            .execute(params![
                file.place.seq as i64,
                file.place.created_us,
                file.id,
                file.filename,
                file.mime_type,
                file.size as i64,
                file.downloadable,
                file.session,
                inline,
                content_file,
                file.expires_us,
            ])?;
        remember_place(&transaction, newest)?;
        transaction.commit()
    }

    pub(super) fn insert_range(&mut self, range: &Range) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO ranges VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                range.first.seq as i64,
                range.first.created_us,
                range.count as i64,
                range.prefix,
                range.size as i64,
                range.downloadable,
            ],
        )?;
        remember_place(&transaction, range.place(range.count.saturating_sub(1)))?;
        transaction.commit()
    }

    pub(super) fn remove(&self, file: &Stored) -> rusqlite::Result<()> {
        let statement = match file.content {
            Content::Synthetic(_) => "INSERT OR IGNORE INTO range_deletions VALUES (?1)",
            Content::Imported(_) => "UPDATE imports SET deleted = 1 WHERE seq = ?1",
            Content::Memory(_) | Content::Row | Content::File(_) => {
                "DELETE FROM files WHERE seq = ?1"
            }
        };
        self.connection
            .prepare_cached(statement)?
            .execute([file.place.seq as i64])?;
        Ok(())
    }

    pub(super) fn body(&self, seq: u64) -> rusqlite::Result<Vec<u8>> {
        self.connection
            .prepare_cached("SELECT body FROM files WHERE seq = ?1")?
            .query_row([seq as i64], |row| row.get(0))
    }

    pub(super) fn import(&self, key: &ImportKey) -> rusqlite::Result<Option<KnownImport>> {
        self.connection
            .prepare_cached("SELECT seq, deleted FROM imports WHERE name = ?1 AND size = ?2 AND modified_us = ?3")?
            .query_row(params![key.name, key.size as i64, key.modified_us], |row| {
                Ok(KnownImport {
                    seq: row.get::<_, i64>(0)? as u64,
                    deleted: row.get(1)?,
                })
            })
            .optional()
    }

    pub(super) fn insert_import(&mut self, key: &ImportKey, place: Place) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO imports (name, size, modified_us, seq) VALUES (?1, ?2, ?3, ?4)",
            params![key.name, key.size as i64, key.modified_us, place.seq as i64],
        )?;
        // Only the number: the time is the user's file's.
        remember_place(
            &transaction,
            Place {
                created_us: 0,
                ..place
            },
        )?;
        transaction.commit()
    }
}

/// Keeps the highest number and time in the same commit as the file that has them.
fn remember_place(connection: &Connection, place: Place) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = max(value, ?2)",
    )?;
    statement.execute(params!["last_seq", place.seq as i64])?;
    statement.execute(params!["newest_us", place.created_us])?;
    Ok(())
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        seq: row.get::<_, i64>(0)? as u64,
        created_us: row.get(1)?,
    })
}

fn stored(row: &Row<'_>, content_path: impl Fn(&str) -> PathBuf) -> rusqlite::Result<Stored> {
    let content_file: Option<String> = row.get(8)?;
    Ok(Stored {
        place: place(row)?,
        id: row.get(2)?,
        filename: row.get(3)?,
        mime_type: row.get(4)?,
        size: row.get::<_, i64>(5)? as u64,
        downloadable: row.get(6)?,
        session: row.get(7)?,
        expires_us: row.get(9)?,
        content: content_file.map_or(Content::Row, |name| Content::File(content_path(&name))),
        sha256: OnceLock::new(),
    })
}

fn range(row: &Row<'_>) -> rusqlite::Result<Range> {
    Ok(Range {
        first: place(row)?,
        count: row.get::<_, i64>(2)? as u64,
        prefix: row.get(3)?,
        size: row.get::<_, i64>(4)? as u64,
        downloadable: row.get(5)?,
    })
}
