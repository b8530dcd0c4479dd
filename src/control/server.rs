//! The answering side, inside the mount's process.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::state::{Pending, State, Work};
use crate::store::Store;
use crate::sync::Refresher;

use super::protocol::{Change, ChangeKind, Progress, Reply, Request, Status};
use super::{SOCKET, address};

/// How often a flush says how far it is.
const PACE: Duration = Duration::from_millis(200);

/// The longest request that is read.
const LONGEST: u64 = 64 * 1024;

/// What a mount knows of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The service's address.
    pub host: String,
    /// Where local state is.
    pub state_dir: PathBuf,
}

/// The parts of a mount that questions are about.
#[derive(Debug)]
pub struct Server {
    /// What it knows of itself.
    pub about: About,
    /// Its state.
    pub state: Arc<State>,
    /// Its copies.
    pub store: Arc<Store>,
    /// Its listing.
    pub refresher: Arc<Refresher>,
}

/// Answers from now on, in threads of its own, for as long as the process lives.
pub fn serve(server: Server) -> io::Result<()> {
    let listener = listen(&server.about.state_dir)?;
    let server = Arc::new(server);
    thread::Builder::new()
        .name("afs-control".into())
        .spawn(move || {
            for stream in listener.incoming() {
                let server = Arc::clone(&server);
                let answering = stream.and_then(|stream| {
                    thread::Builder::new()
                        .name("afs-answer".into())
                        .spawn(move || server.converse(&stream))
                });
                if let Err(error) = answering {
                    log::warn!("a command could not be answered: {error}");
                }
            }
        })?;
    Ok(())
}

/// The state's lock is ours, so a socket that is there already is a dead process's.
fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(state_dir.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (_directory, path) = address(state_dir)?;
    let listener = UnixListener::bind(&path)?;
    // The directory is its owner's alone already; this is for those who look.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Server {
    /// Answers what one client asks, request after request.
    fn converse(&self, stream: &UnixStream) {
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            match (&mut lines).take(LONGEST).read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let answered = match serde_json::from_str(&line) {
                Ok(request) => self.answer(&request, stream),
                Err(error) => say(
                    stream,
                    &Reply::Failed {
                        why: format!("this mount does not understand the request: {error}"),
                    },
                ),
            };
            if answered.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, stream: &UnixStream) -> io::Result<()> {
        match request {
            Request::Status => say(stream, &self.status()),
            Request::Pending => {
                let mut changes: Vec<Change> = self.state.pending().iter().map(change).collect();
                changes.sort_by_key(|change| change.since);
                say(stream, &Reply::Pending { changes })
            }
            Request::Retry { name } => {
                let count = self.state.retry(name.as_deref());
                say(stream, &Reply::Retried { count })
            }
            Request::Flush => self.flush(stream),
        }
    }

    fn status(&self) -> Reply {
        let (files, bytes) = match self.state.totals() {
            Ok(totals) => totals,
            Err(error) => {
                return Reply::Failed {
                    why: error.to_string(),
                };
            }
        };
        let pending = self.state.pending();
        let listing = self.refresher.health();
        Reply::Status(Box::new(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mountpoint: self.about.mountpoint.display().to_string(),
            host: self.about.host.clone(),
            pid: std::process::id(),
            state_dir: self.about.state_dir.display().to_string(),
            files,
            bytes,
            listing_age_seconds: listing.age.map(|age| age.as_secs()),
            listing_error: listing.last_error,
            pending: pending.len(),
            failed: pending.iter().filter(|change| has_failed(change)).count(),
            kept_bytes: self.store.kept_bytes(),
            cached_bytes: self.store.cached_bytes(),
        }))
    }

    /// Says how far it is until nothing is left, or the client is gone.
    fn flush(&self, stream: &UnixStream) -> io::Result<()> {
        self.state.hurry();
        loop {
            let left = self.progress();
            if left.changes == 0 {
                return say(stream, &Reply::Flushed);
            }
            say(stream, &Reply::Progress(left))?;
            let _ = self.state.wait_idle(Instant::now() + PACE);
            if left == self.progress() {
                // Nothing moved: what is left waits for its next try.
                thread::park_timeout(PACE);
            }
        }
    }

    fn progress(&self) -> Progress {
        let pending = self.state.pending();
        // What waits for an open file is not finished by anybody here; its close will send it.
        let due: Vec<_> = pending.iter().filter(|change| !change.on_hold).collect();
        Progress {
            changes: due.len(),
            bytes: due.iter().map(|change| size_of(change)).sum(),
            failed: due.iter().filter(|change| has_failed(change)).count(),
        }
    }
}

fn change(pending: &Pending) -> Change {
    Change {
        kind: match pending.record.work {
            Work::Save { .. } => ChangeKind::Save,
            Work::Delete { .. } => ChangeKind::Delete,
        },
        name: pending.record.name.clone(),
        size: size_of(pending),
        since: pending.record.since,
        tries: pending.record.tries,
        in_flight: pending.in_flight,
        waits_for_close: pending.on_hold,
        last_error: pending.last_error.clone(),
    }
}

fn size_of(pending: &Pending) -> u64 {
    match pending.record.work {
        Work::Save { size, .. } => size,
        Work::Delete { .. } => 0,
    }
}

fn has_failed(pending: &Pending) -> bool {
    pending.last_error.is_some()
}

fn say(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}
