//! `SQLite` as this house uses it: write-ahead log, one writer, a few readers that never wait for it.

use std::fmt;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::disk::{Disk, Step};

use super::{Ino, lock, schema::MIGRATIONS};

/// What can go wrong with local state.
#[derive(Debug)]
pub enum StateError {
    /// The disk under the database is full.
    Full,
    /// The name is taken in the directory.
    Exists,
    /// The inode is not in the catalogue (any more).
    Gone,
    /// The database was written by a newer version of this program.
    Newer {
        /// The version found.
        found: usize,
    },
    /// Anything else the database says.
    Database(rusqlite::Error),
    /// A file beside the database could not be used.
    Io(PathBuf, std::io::Error),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the local disk is full"),
            Self::Exists => f.write_str("the name is taken"),
            Self::Gone => f.write_str("the file was removed"),
            Self::Newer { found } => write!(
                f,
                "the local state was written by a newer afs (schema {found}); use that one, or another --state-dir"
            ),
            Self::Database(error) => write!(f, "the local state database failed: {error}"),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StateError {}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Database(error),
        }
    }
}

/// Why a step of the database failed.
enum Failed {
    Disk(std::io::Error),
    Sql(rusqlite::Error),
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failed {
    fn of(self, path: &Path) -> StateError {
        match self {
            Self::Disk(error) => match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StateError::Full,
                _ => StateError::Io(path.to_owned(), error),
            },
            Self::Sql(error) => error.into(),
        }
    }
}

/// Whether a commit returns before or after the disk has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Ordered with all other commits, on disk with the next durable one.
    Relaxed,
    /// On disk when the call returns.
    Durable,
}

/// How much the connection that writes holds of the database. Ids are random, so that each of a thousand new files
/// changes another page of their index; with 2 MB of its own nearly all of these are read again for each page of a
/// listing.
const WRITER_CACHE_KB: i32 = 16 << 10;

/// How many pages the log takes in before they go where they belong: each of them goes once, however often it was changed.
const CHECKPOINT_PAGES: u32 = 4096;

/// A write transaction, noting which rows it changed.
pub(super) struct Tx<'a> {
    pub(super) sql: rusqlite::Transaction<'a>,
    pub(super) touched: Vec<Ino>,
}

/// The connection that writes, and how durable it was last told to be: telling costs a statement.
struct Writer {
    connection: Connection,
    durability: Option<Durability>,
}

pub(super) struct Db {
    disk: Disk,
    path: PathBuf,
    writer: Mutex<Writer>,
    commits: AtomicU64,
    idle_readers: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Db {
    pub(super) fn open(disk: &Disk, path: &Path) -> Result<Self, StateError> {
        // SQLite makes files that others may read, and gives its log and index the mode the database has.
        File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| StateError::Io(path.to_owned(), error))?;
        let writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "wal")?;
        writer.pragma_update(None, "cache_size", -(WRITER_CACHE_KB))?;
        writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        writer.busy_timeout(Duration::from_secs(5))?;
        writer.set_prepared_statement_cache_capacity(64);
        let mut db = Self {
            disk: disk.clone(),
            path: path.to_owned(),
            writer: Mutex::new(Writer {
                connection: writer,
                durability: None,
            }),
            commits: AtomicU64::new(0),
            idle_readers: Mutex::new(Vec::new()),
        };
        db.migrate()?;
        Ok(db)
    }

    fn migrate(&mut self) -> Result<(), StateError> {
        let Writer {
            connection: writer, ..
        } = self
            .writer
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let found =
            writer.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize;
        if found > MIGRATIONS.len() {
            return Err(StateError::Newer { found });
        }
        for (version, script) in MIGRATIONS.iter().enumerate().skip(found) {
            let step = Step::Commit {
                name: "migrate",
                is_durable: true,
            };
            let migrated = self.disk.step(step, || -> Result<(), Failed> {
                let tx = writer.transaction()?;
                tx.execute_batch(script)?;
                tx.pragma_update(None, "user_version", version as u32 + 1)?;
                Ok(tx.commit()?)
            });
            migrated.map_err(|failed| failed.of(&self.path))?;
        }
        Ok(())
    }

    /// Runs `read` on a snapshot of the last commit.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let idle = lock(&self.idle_readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.new_reader()?,
        };
        let result = read(&connection);
        lock(&self.idle_readers).push(connection);
        Ok(result?)
    }

    /// The same for a read that is over at once. Where nobody writes, the connection that does answers: nobody else changes
    /// the database, so that it knows its pages without asking the disk again after every commit.
    pub(super) fn look<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        match self.writer.try_lock() {
            Ok(writer) => Ok(read(&writer.connection)?),
            Err(_) => self.read(read),
        }
    }

    fn new_reader(&self) -> Result<Connection, StateError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }

    /// Takes a step of the database.
    fn step<T>(
        &self,
        step: Step<'_>,
        act: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let taken = self.disk.step(step, || act().map_err(Failed::Sql));
        taken.map_err(|failed| failed.of(&self.path))
    }

    /// Runs `write` in a transaction: all of it or nothing. Returns its result and the rows it touched.
    pub(super) fn write<T>(
        &self,
        name: &'static str,
        durability: Durability,
        write: impl FnOnce(&mut Tx<'_>) -> Result<T, StateError>,
    ) -> Result<(T, Vec<Ino>), StateError> {
        let mut writer = lock(&self.writer);
        let Writer {
            connection: writer,
            durability: set,
        } = &mut *writer;
        // In WAL mode FULL syncs the log at every commit and NORMAL only at checkpoints; the log is sequential, so a
        // durable commit brings all earlier ones to disk too (SQLite, PRAGMA synchronous).
        if *set != Some(durability) {
            let level = match durability {
                Durability::Relaxed => "NORMAL",
                Durability::Durable => "FULL",
            };
            writer.pragma_update(None, "synchronous", level)?;
            *set = Some(durability);
        }
        let sql = self.step(Step::Begin(name), || {
            writer.transaction_with_behavior(TransactionBehavior::Immediate)
        })?;
        let mut tx = Tx {
            sql,
            touched: Vec::new(),
        };
        let value = write(&mut tx)?;
        let Tx { sql, touched } = tx;
        let commit = Step::Commit {
            name,
            is_durable: durability == Durability::Durable,
        };
        self.step(commit, || sql.commit())?;
        self.commits.fetch_add(1, Ordering::Release);
        Ok((value, touched))
    }

    /// How many transactions were committed: while it is the same, so is all that is read.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }
}
