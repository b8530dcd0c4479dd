//! The workspace: catalogue, database and bytes as one thing. Everything here blocks, shortly in memory, for a disk's
//! commit with `--data`.
//!
//! Lock order: database, then catalogue. Whoever adds or removes holds the database's lock from the choice of the
//! place to the entry in the catalogue, so that files become visible in the order of their times.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::ErrorCode;

use super::catalogue::{Catalogue, Page, PageQuery, Place, Range, Stored};
use super::config::UnknownCursor;
use super::content::{self, Content, Reader, Received, ReceivedBody, Shelter};
use super::database::{Database, ImportKey, RowBody};
use super::history::{Change, ChangeKind, History, Tick};
use super::ids::{self, Mint};

/// A file that is about to be one.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) filename: String,
    pub(super) mime_type: String,
    pub(super) downloadable: bool,
    pub(super) session: Option<String>,
    /// An id of somebody's choice instead of the next one.
    pub(super) id: Option<String>,
    /// A time of somebody's choice instead of now.
    pub(super) created_us: Option<i64>,
    /// How long its bytes last.
    pub(super) expiry: Expiry,
    pub(super) received: Received,
    /// The workspace may not grow beyond this.
    pub(super) quota: Option<u64>,
    /// When the request arrived that brings it; `None` for the side door.
    pub(super) asked: Option<Tick>,
}

/// How long the bytes of a file last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Until it is deleted.
    Never,
    /// So many seconds from when it was made.
    After(i64),
    /// Until a time of somebody's choice, in microseconds.
    At(i64),
}

/// Why a file was not stored.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The quota does not have room for it.
    Full,
    /// The id of somebody's choice is another file's.
    IdTaken,
    /// This machine's trouble.
    Io(io::Error),
    /// The database's trouble.
    Database(rusqlite::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the quota is used up"),
            Self::IdTaken => f.write_str("another file has this id"),
            Self::Io(error) => error.fmt(f),
            Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                f.write_str("another emulator is using it")
            }
            Self::Database(rusqlite::Error::InvalidQuery) => {
                f.write_str("it was made by another version")
            }
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What a new file is given.
struct Chosen {
    place: Place,
    /// What later files are to stand above.
    newest: Place,
    id: String,
}

/// The furthest its clock goes ahead: a thousand years.
const MOST_AHEAD_US: i64 = 1000 * 365 * 86_400 * 1_000_000;

#[derive(Debug)]
pub(super) struct Workspace {
    /// Locked by every change, also where there is none.
    database: Mutex<Option<Database>>,
    waits_for_disk: bool,
    catalogue: Mutex<Catalogue>,
    shelter: Arc<Shelter>,
    salt: u64,
    history: History,
    /// How far its clock is ahead of this machine's, in microseconds.
    ahead_us: AtomicI64,
}

impl Workspace {
    /// An empty one that ends with the process.
    pub(super) fn temporary(seed: Option<u64>) -> Result<Self, StoreError> {
        let salt = seed.unwrap_or_else(ids::random);
        Ok(Self {
            database: Mutex::new(None),
            waits_for_disk: false,
            catalogue: Mutex::new(Catalogue::new(Mint::new(salt))),
            shelter: Arc::new(Shelter::temporary()?),
            salt,
            history: History::default(),
            ahead_us: AtomicI64::new(0),
        })
    }

    /// The one kept in `directory`, new when there is none.
    pub(super) fn durable(directory: &Path, seed: Option<u64>) -> Result<Self, StoreError> {
        let shelter = Shelter::durable(directory.join("content"))?;
        let database = Database::open(&directory.join("emulator.db"))?;
        let salt = if let Some(salt) = database.meta("salt")? {
            salt
        } else {
            let salt = seed.unwrap_or_else(ids::random);
            database.set_meta("salt", salt)?;
            salt
        };
        let known = database.content_files()?;
        shelter.sweep(|name| known.contains(name))?;
        let mut catalogue = Catalogue::new(Mint::new(salt));
        database.load(&mut catalogue, |name| shelter.path(name))?;
        Ok(Self {
            database: Mutex::new(Some(database)),
            waits_for_disk: true,
            catalogue: Mutex::new(catalogue),
            shelter: Arc::new(shelter),
            salt,
            history: History::default(),
            ahead_us: AtomicI64::new(0),
        })
    }

    /// Sets the clock ahead of this machine's.
    pub(super) fn set_ahead(&self, ahead: Duration) {
        let us = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX);
        // Not beyond what can be written as a time, wherever the machine's own clock is.
        self.ahead_us
            .store(us.min(MOST_AHEAD_US), Ordering::Relaxed);
    }

    /// The time, in the service's unit.
    pub(super) fn now_us(&self) -> i64 {
        Timestamp::now().as_microsecond() + self.ahead_us.load(Ordering::Relaxed)
    }

    /// Whether the clock is another than this machine's.
    pub(super) fn is_ahead(&self) -> bool {
        self.ahead_us.load(Ordering::Relaxed) != 0
    }

    /// What makes ids and page tokens.
    pub(super) fn mint(&self) -> Mint {
        lock(&self.catalogue).mint()
    }

    pub(super) fn shelter(&self) -> &Arc<Shelter> {
        &self.shelter
    }

    /// What makes this workspace's ids its own.
    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// Whether changes wait for a disk, and so have no place on a thread that serves sockets.
    pub(super) fn waits_for_disk(&self) -> bool {
        self.waits_for_disk
    }

    pub(super) fn add(&self, new: NewFile) -> Result<Arc<Stored>, StoreError> {
        let mut database = lock(&self.database);
        let Chosen { newest, place, id } = self.choose(&new)?;
        let mut file = Stored {
            place,
            id,
            filename: new.filename,
            mime_type: new.mime_type,
            size: new.received.size,
            downloadable: new.downloadable,
            session: new.session,
            expires_us: match new.expiry {
                Expiry::Never => None,
                Expiry::After(seconds) => {
                    Some(place.created_us.saturating_add(seconds * 1_000_000))
                }
                Expiry::At(us) => Some(us),
            },
            content: Content::Row,
            sha256: OnceLock::new(),
        };
        match (new.received.body, &mut *database) {
            (ReceivedBody::Small(bytes), Some(database)) => {
                database.insert(&file, RowBody::Inline(&bytes), newest)?;
            }
            (ReceivedBody::Small(bytes), None) => {
                self.shelter.remember(bytes.len());
                file.content = Content::Memory(bytes);
            }
            (ReceivedBody::Large(body), database) => {
                if let Some(database) = database {
                    let name = body.path().file_name().and_then(|name| name.to_str());
                    database.insert(&file, RowBody::File(name.unwrap_or_default()), newest)?;
                }
                let (_, path) = body.keep().map_err(|error| error.error)?;
                file.content = Content::File(path);
            }
        }
        let file = Arc::new(file);
        let mut catalogue = lock(&self.catalogue);
        catalogue.insert(Arc::clone(&file));
        catalogue.reserve(newest);
        self.note(ChangeKind::Stored, &file, new.asked);
        Ok(file)
    }

    /// Where a new file goes, if it may come in. True until the database's lock is given up.
    fn choose(&self, new: &NewFile) -> Result<Chosen, StoreError> {
        let catalogue = lock(&self.catalogue);
        let size = catalogue
            .used(self.now_us())
            .saturating_add(new.received.size);
        if new.quota.is_some_and(|quota| size > quota) {
            return Err(StoreError::Full);
        }
        if new
            .id
            .as_ref()
            .is_some_and(|id| catalogue.get(id).is_some())
        {
            return Err(StoreError::IdTaken);
        }
        let next = catalogue.next_place(self.now_us());
        let (place, newest) = match new.created_us {
            None => (next, next),
            // A time of somebody's choice is that file's alone.
            Some(created_us) => (
                Place { created_us, ..next },
                Place {
                    created_us: 0,
                    ..next
                },
            ),
        };
        let id = new
            .id
            .clone()
            .unwrap_or_else(|| catalogue.file_id(place.seq));
        Ok(Chosen { place, newest, id })
    }

    /// Adds `count` synthetic files at once.
    pub(super) fn add_range(
        &self,
        count: u64,
        prefix: &str,
        size: u64,
        downloadable: bool,
    ) -> Result<(), StoreError> {
        let mut database = lock(&self.database);
        let range = Range {
            first: lock(&self.catalogue).next_run(self.now_us(), count),
            count,
            prefix: prefix.to_owned(),
            size,
            downloadable,
        };
        if let Some(database) = &mut *database {
            database.insert_range(&range)?;
        }
        lock(&self.catalogue).insert_range(range, |_| false);
        Ok(())
    }

    /// Serves a user's file as an output. One that was here before, unchanged, has its old id; one that was deleted
    /// stays deleted.
    pub(super) fn add_import(
        &self,
        key: &ImportKey,
        path: &Path,
        mime_type: String,
    ) -> Result<(), StoreError> {
        let mut database = lock(&self.database);
        let known = match &*database {
            Some(database) => database.import(key)?,
            None => None,
        };
        if known.is_some_and(|known| known.deleted) {
            return Ok(());
        }
        let seq = known.map_or_else(
            || lock(&self.catalogue).next_place(0).seq,
            |known| known.seq,
        );
        let place = Place {
            created_us: key.modified_us,
            seq,
        };
        if let Some(database) = &mut *database
            && known.is_none()
        {
            database.insert_import(key, place)?;
        }
        let mut catalogue = lock(&self.catalogue);
        let file = Stored {
            place,
            id: catalogue.file_id(seq),
            filename: key.name.clone(),
            mime_type,
            size: key.size,
            downloadable: true,
            session: None,
            expires_us: None,
            content: Content::Imported(path.to_owned()),
            sha256: OnceLock::new(),
        };
        catalogue.insert(Arc::new(file));
        Ok(())
    }

    /// Removes a file, for a request that arrived when `asked` says; `None` when there is none.
    pub(super) fn remove(
        &self,
        id: &str,
        asked: Option<Tick>,
    ) -> Result<Option<Arc<Stored>>, StoreError> {
        if asked.is_some()
            && let Some(file) = self.get(id)
        {
            // For the history, and while the bytes are there. They can be in the database, so its lock is not held yet.
            self.sha256(&file)?;
        }
        let database = lock(&self.database);
        let Some(file) = lock(&self.catalogue).get(id) else {
            return Ok(None);
        };
        if let Some(database) = &*database {
            database.remove(&file)?;
        }
        lock(&self.catalogue).remove(&file);
        self.note(ChangeKind::Deleted, &file, asked);
        drop(database);
        match &file.content {
            Content::File(path) => std::fs::remove_file(path)?,
            Content::Memory(bytes) => self.shelter.forget(bytes.len()),
            Content::Row | Content::Imported(_) | Content::Synthetic(_) => {}
        }
        Ok(Some(file))
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Stored>> {
        lock(&self.catalogue).get(id)
    }

    /// A page of what was there so long ago.
    pub(super) fn page(
        &self,
        query: &PageQuery,
        unknown: UnknownCursor,
        age: Duration,
    ) -> Option<Page> {
        lock(&self.catalogue).page(query, unknown, age)
    }

    /// Those of these files that were there so long ago.
    pub(super) fn these(&self, ids: &[String], age: Duration) -> Page {
        lock(&self.catalogue).these(ids, age)
    }

    /// Whatever is there was always there.
    pub(super) fn forget_past(&self) {
        lock(&self.catalogue).forget_past();
    }

    /// Every file, those of sessions too, newest first. A million of them are never here at once, nor is the
    /// catalogue kept locked for so long.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Stored>> {
        let mut below = None;
        std::iter::from_fn(move || {
            let batch = lock(&self.catalogue).batch(below, 1000);
            below = Some(batch.last()?.place);
            Some(batch)
        })
        .flatten()
    }

    /// Reads a part of a file.
    pub(super) fn open(&self, file: &Stored, offset: u64, length: u64) -> io::Result<Reader> {
        file.content.open(offset, length, || {
            let database = lock(&self.database);
            let database = database.as_ref().ok_or(io::ErrorKind::NotFound)?;
            database.body(file.place.seq).map_err(io::Error::other)
        })
    }

    pub(super) fn sha256(&self, file: &Stored) -> io::Result<String> {
        if let Some(known) = file.sha256.get() {
            return Ok(known.clone());
        }
        let computed = content::sha256(self.open(file, 0, file.size)?, file.size)?;
        Ok(file.sha256.get_or_init(|| computed).clone())
    }

    /// Writes a change into the history, under the database's lock.
    fn note(&self, kind: ChangeKind, file: &Stored, asked: Option<Tick>) {
        self.history.note(Change {
            kind,
            id: file.id.clone(),
            filename: file.filename.clone(),
            size_bytes: file.size,
            sha256: file.sha256.get().cloned(),
            asked,
            done: 0,
        });
    }

    /// The next tick of the history.
    pub(super) fn tick(&self) -> Tick {
        self.history.tick()
    }

    /// Every change since the start, oldest first.
    pub(super) fn history(&self) -> io::Result<Vec<Change>> {
        let mut changes = self.history.changes();
        let mut known = HashMap::new();
        for change in &changes {
            if let Some(sha256) = &change.sha256 {
                known.insert(change.id.clone(), sha256.clone());
            } else if let Some(file) = self.get(&change.id) {
                known.insert(change.id.clone(), self.sha256(&file)?);
            }
        }
        for change in &mut changes {
            change.sha256 = known.get(&change.id).cloned();
        }
        Ok(changes)
    }

    /// Whether this is the first time that somebody asks for this to be done once.
    pub(super) fn first_time(&self, what: &str) -> Result<bool, StoreError> {
        let database = lock(&self.database);
        let Some(database) = &*database else {
            return Ok(true);
        };
        let first = database.meta(what)?.is_none();
        database.set_meta(what, 1)?;
        Ok(first)
    }
}

/// A panic elsewhere has left nothing half done behind these locks: each holder changes them in one step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
