//! Drains the outbox: the only room that uploads, and the only one that deletes at the service.
//!
//! One save is one file, also when an answer is lost: after a try whose fate is unknown the newest page is looked at
//! before anything is sent again. Nothing is deleted before what replaces it is confirmed; [`State::confirm`] queues
//! those deletions in the same transaction.

mod deleting;
mod look;
mod pause;

use std::io::{self, Cursor, Read};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{
    ApiError, Call, ErrorKind, FileMetadata, FilesApi, Pace, SystemPace, Upload, on_behalf_of,
};
use crate::fs::throw_away_record;
use crate::state::{
    Body, Class, Confirmed, Digest, Ino, Millis, Record, Row, State, StateError, Verified, Work,
    lock, steady,
};
use crate::store::Store;

use deleting::end_lingering;

/// How many uploads, and how many deletions, are under way at once at most. They share nothing: one kind that hangs
/// holds up nothing of the other.
const AT_ONCE: usize = 32;

/// What the person who mounts decides.
#[derive(Debug, Clone, Copy)]
pub struct Conduct {
    /// How long a save is tried before who waits in close(2) is told; it stays in the outbox and is tried on.
    pub patience: Duration,
    /// Whether what is replaced stays at the service.
    pub keeps_replaced: bool,
    /// What pauses between tries are multiplied with, of 0..1: [`by_chance`], or none for who has no time.
    pub jitter: fn() -> f64,
    /// How long after a try whose answer was lost is looked for what it did; usually [`SETTLES`].
    pub settles: Duration,
}

/// Chance: clients that failed together must not come back together.
#[must_use]
pub fn by_chance() -> f64 {
    SystemPace::new().random()
}

/// A service can store a file after the connection that brought it is gone: a look at once would not find it, and the
/// second upload would be a second file. A few seconds are longer than a service is at a request that it has, and
/// shorter than people notice where an answer is lost.
pub const SETTLES: Duration = Duration::from_secs(3);

/// Starts the workers; they end when the outbox stops ([`State::stop`]).
pub fn start(
    api: &Arc<dyn FilesApi>,
    state: &Arc<State>,
    store: &Arc<Store>,
    conduct: Conduct,
) -> io::Result<()> {
    state.let_settle(conduct.settles);
    for (class, name) in [
        (Class::Saves, "afs-uploads"),
        (Class::Deletes, "afs-deletes"),
    ] {
        let worker = Arc::new(Worker {
            api: Arc::clone(api),
            state: Arc::clone(state),
            store: Arc::clone(store),
            conduct,
        });
        thread::Builder::new()
            .name(name.into())
            .spawn(move || worker.hand_out(class))?;
    }
    let state = Arc::clone(state);
    thread::Builder::new()
        .name("afs-lingering".into())
        .spawn(move || end_lingering(&state))?;
    Ok(())
}

/// Places for work that is under way.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn take(&self) {
        let mut taken = self
            .freed
            .wait_while(lock(&self.taken), |taken| *taken >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
    }

    fn free(&self) {
        *lock(&self.taken) -= 1;
        self.freed.notify_one();
    }
}

struct Worker {
    api: Arc<dyn FilesApi>,
    state: Arc<State>,
    store: Arc<Store>,
    conduct: Conduct,
}

/// A save that is under way.
struct Save<'a> {
    record: &'a Record,
    ino: Ino,
    size: u64,
    mime_type: &'a str,
    digest: Option<Digest>,
    body: &'a Body,
}

/// Why a piece of work did not get done.
enum Failure {
    Api(ApiError),
    State(StateError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// The local disk failed in the middle of the work.
fn disk(call: Call, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
        _ => ErrorKind::Disk,
    };
    let message = format!("the local copy could not be used: {error}");
    ApiError::local(call, kind, message).into()
}

/// A body that comes out whole only where it is what was sealed.
fn verified(bytes: impl Read + Send + 'static, save: &Save<'_>) -> Box<dyn Read + Send> {
    match save.digest {
        Some(digest) => Box::new(Verified::new(bytes, save.size, digest)),
        None => Box::new(bytes),
    }
}

impl Worker {
    /// Hands records out to threads of their own: most wait for the network, and few are under way at most times.
    fn hand_out(self: &Arc<Self>, class: Class) {
        let places = Arc::new(Places::default());
        loop {
            places.take();
            let Some(record) = self.state.next_record(class) else {
                return;
            };
            let (worker, free) = (Arc::clone(self), Arc::clone(&places));
            let spawned = thread::Builder::new().name("afs-worker".into()).spawn({
                let record = record.clone();
                move || {
                    worker.survive(&record);
                    free.free();
                }
            });
            if let Err(error) = spawned {
                places.free();
                let why = format!("no thread to send it: {error}");
                self.failed(
                    &record,
                    &ApiError::local(Call::Upload, ErrorKind::Unreachable, why),
                );
            }
        }
    }

    /// Works so that a panic is one more way to fail: a record that nobody lets go of would hang its closers, and keep its
    /// inode's later content from the service.
    fn survive(&self, record: &Record) {
        let program = record.program.clone();
        let work = || on_behalf_of(|| program, || self.work(record));
        let worked = panic::catch_unwind(AssertUnwindSafe(work));
        if worked.is_err() {
            let why = "the thread that sent it ended in the middle, by a mistake in afs";
            self.failed(
                record,
                &ApiError::local(Call::Upload, ErrorKind::Interrupted, why),
            );
        }
    }

    fn work(&self, record: &Record) {
        let result = match &record.work {
            Work::Save {
                ino,
                size,
                mime_type,
                digest,
                body,
            } => self.save(&Save {
                record,
                ino: *ino,
                size: *size,
                mime_type,
                digest: *digest,
                body,
            }),
            Work::Delete { id, doom } => self.delete(record, id, *doom),
        };
        match result {
            Ok(()) => {}
            Err(Failure::Api(error)) => self.failed(record, &error),
            Err(Failure::State(error)) => {
                log::error!("{}: {error}", record.name);
                let kind = match error {
                    StateError::Full => ErrorKind::DiskFull,
                    _ => ErrorKind::Disk,
                };
                let error = ApiError::local(Call::Upload, kind, error.to_string());
                self.failed(record, &error);
            }
        }
    }

    fn save(&self, save: &Save<'_>) -> Result<(), Failure> {
        let record = save.record;
        if let Some(sent_at) = record.sent_at {
            let found = look::for_lost(&*self.api, &self.state, record, save.size, sent_at)?;
            if let Some(file) = found.newest {
                log::info!(
                    "{}: the upload had arrived although its answer was lost",
                    record.name
                );
                return self.confirm(save, &file, found.guessed);
            }
        }
        let Some(row) = self.wanted(save)? else {
            return self.abandon(save);
        };
        if let Some(file) = self.is_there_already(save, &row)? {
            log::info!("{} is the same as before; nothing is sent", record.name);
            return self.confirm(save, &file, row.spared);
        }
        let bytes = match self.open_body(save, &row) {
            // It was removed a moment ago, and its copy is in the trash.
            Err(_) if self.wanted(save)?.is_none() => return self.abandon(save),
            opened => opened?,
        };
        self.state.sending(record.seq)?;
        let file = self.api.upload(Upload {
            filename: record.name.clone(),
            mime_type: save.mime_type.to_owned(),
            size: save.size,
            expires_in_seconds: record.expires_in_seconds,
            body: Box::new(self.state.count_transfer(record.seq, bytes)),
        })?;
        if file.size_bytes != save.size {
            return Err(self.disown(&file, save.size).into());
        }
        if file.filename != record.name {
            log::warn!("{} is called {} at the service", record.name, file.filename);
        }
        log::info!("{} is saved as {}", record.name, file.id);
        self.confirm(save, &file, false)
    }

    /// The row of what is to be sent; `None`: it was removed, or moved aside. That is not sent any more: another file may
    /// have its name there by now.
    fn wanted(&self, save: &Save<'_>) -> Result<Option<Arc<Row>>, StateError> {
        Ok(self.state.row(save.ino)?.filter(|row| !row.scratch))
    }

    /// The end of a save whose file was removed or moved aside. Where it was tried and never arrived, nobody else has the
    /// bytes of what was removed.
    fn abandon(&self, save: &Save<'_>) -> Result<(), Failure> {
        let record = save.record;
        let is_removed = self.state.row(save.ino)?.is_none();
        if is_removed
            && save.size > 0
            && record.sent_at.is_some()
            && let Err(error) = throw_away_record(&self.state, &self.store, record)
        {
            let name = &record.name;
            log::warn!("{name} is removed without a copy in the trash: {error}");
        }
        self.store.drop_stages(&self.state.abandon(record.seq)?);
        Ok(())
    }

    /// The file that the save would replace by its own like: same bytes, same name, same type, and still there.
    fn is_there_already(
        &self,
        save: &Save<'_>,
        row: &Row,
    ) -> Result<Option<FileMetadata>, Failure> {
        let Some(id) = &row.id else {
            return Ok(None);
        };
        let is_same =
            save.digest.is_some() && save.digest == row.digest && *save.body != Body::Held;
        let may_have_expired = row.may_have_expired(Timestamp::now());
        if !is_same || may_have_expired || self.store.open_kept(id, &row.into()).is_err() {
            return Ok(None);
        }
        match self.api.metadata(id) {
            Ok(file) => {
                let is_same = file.filename == save.record.name
                    && file.mime_type == save.mime_type
                    && file.size_bytes == save.size
                    && file.expires_at.is_none_or(|time| time > Timestamp::now());
                Ok(Some(file).filter(|_| is_same))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The service stored something else than was sent: nobody should ever find it.
    fn disown(&self, file: &FileMetadata, size: u64) -> ApiError {
        if let Err(error) = self.api.delete(&file.id) {
            log::error!(
                "{} ({}) should be deleted at the service: {error}",
                file.filename,
                file.id
            );
        }
        let message = format!(
            "{size} bytes were sent, the service stored {}",
            file.size_bytes
        );
        ApiError::local(Call::Upload, ErrorKind::Body, message)
    }

    /// The bytes to send; they fail to come out whole where they are not the ones that were sealed.
    fn open_body(&self, save: &Save<'_>, row: &Row) -> Result<Box<dyn Read + Send>, Failure> {
        let opened = match save.body {
            Body::Inline => {
                let bytes = self.state.inline_body(save.record.seq)?;
                return Ok(verified(Cursor::new(bytes), save));
            }
            Body::Staged(name) => self.store.open_staged(name),
            Body::Held => match &row.id {
                Some(id) => self.store.open_kept(id, &row.into()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        };
        match opened {
            Ok(file) => Ok(verified(file, save)),
            Err(error) => Err(disk(Call::Upload, &error)),
        }
    }

    /// The service has `file`: keeps its bytes under the new id, then lets the record go.
    fn confirm(&self, save: &Save<'_>, file: &FileMetadata, spared: bool) -> Result<(), Failure> {
        let seq = save.record.seq;
        // The new copy must not go for a limit before its row is known to need it.
        let stay = self.store.let_kept_stay();
        // Also of a file that was removed or replaced meanwhile: its bytes go to the trash with it, or are shown again where
        // what replaced it is given up.
        let row = self.state.row(save.ino)?;
        let kept = match (save.body, row.as_ref().and_then(|row| row.id.as_ref())) {
            (Body::Inline, _) => {
                let bytes = self.state.inline_body(seq)?;
                Some(self.store.keep_bytes(&bytes, &file.id))
            }
            (Body::Staged(name), _) => Some(self.store.keep_staged(name, &file.id)),
            (Body::Held, Some(old)) => Some(self.store.keep_again(old, &file.id)),
            // They are kept under the id that was to be renamed, or went with it, or are in the trash already.
            (Body::Held, None) => None,
        };
        let kept = kept
            .transpose()
            .map_err(|error| disk(Call::Upload, &error))?;
        let confirmed = Confirmed {
            file,
            spared,
            kept,
            keeps_replaced: self.conduct.keeps_replaced,
        };
        self.store
            .drop_stages(&self.state.confirm(seq, &confirmed)?);
        drop(stay);
        Ok(self.store.evict_kept(&self.state)?)
    }

    fn failed(&self, record: &Record, error: &ApiError) {
        // Since the first try: what waited for its turn or its handle has not failed for so long.
        let waited = record.tried_at.map_or(0, |tried_at| steady() - tried_at);
        let in_line = error.line.map_or(Duration::ZERO, |line| line.waited);
        let waited = match error.kind {
            ErrorKind::RateLimited => milliseconds(waited),
            _ => milliseconds(waited).saturating_sub(in_line),
        };
        let next = pause::after(
            error,
            record.tries,
            waited,
            self.conduct.patience,
            (self.conduct.jitter)(),
        );
        log::warn!(
            "{}: {error}; it stays in the outbox and is tried again in {} ms",
            record.name,
            next.pause.as_millis()
        );
        if let Err(error) = self
            .state
            .postpone(record.seq, error, next.pause, next.is_told)
        {
            log::error!("{}: {error}", record.name);
        }
    }
}

fn milliseconds(count: Millis) -> Duration {
    Duration::from_millis(count.max(0) as u64)
}
