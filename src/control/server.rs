//! The answering side, inside the mount's process.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::state::{Pending, Seq, State, Work};
use crate::store::Store;
use crate::sync::Refresher;

use super::protocol::{Change, ChangeKind, Progress, Reply, Request, Status};
use super::{SOCKET, address};

/// How often a flush says how far it is.
const PACE: Duration = Duration::from_millis(200);

/// Between two looks at work that is neither due nor done.
const SHORT: Duration = Duration::from_millis(20);

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
                    // Out of descriptors, say: the same would fail again at once, and fill the log.
                    thread::park_timeout(PACE);
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

    /// Says how far it is until nothing is left of what there was but what was tried since and failed, or the client is
    /// gone. Newer content of the same files is waited for, for theirs is gone; files saved later are not.
    fn flush(&self, stream: &UnixStream) -> io::Result<()> {
        let mut before = self.state.pending();
        let last = before.iter().map(|change| change.record.seq).max();
        before.retain(|change| !change.on_hold);
        let tried_before: HashMap<Seq, u32> = before
            .iter()
            .map(|change| (change.record.seq, change.record.tries))
            .collect();
        self.state.hurry();
        loop {
            let due = self.due(last);
            if all_were_tried(&due, &tried_before) {
                let left = due.iter().map(change).collect();
                return say(stream, &Reply::Flushed { left });
            }
            say(stream, &Reply::Progress(progress(&due)))?;
            if let Some(last) = last {
                self.state.hurry_successors(last);
            }
            // Returns earlier when nothing is due; what is left then waits for its next try.
            if self.state.wait_idle(Instant::now() + PACE) == 0 {
                thread::park_timeout(SHORT);
            }
        }
    }

    /// What is pending of what there was up to record `last`, and all deletions: those follow from it. Not what waits for
    /// an open file: its close will send it.
    fn due(&self, last: Option<Seq>) -> Vec<Pending> {
        let mut pending = self.state.pending();
        pending.retain(|change| match change.record.work {
            Work::Save { .. } => !change.on_hold && Some(change.stands_for) <= last,
            Work::Delete { .. } => !change.on_hold,
        });
        pending
    }
}

/// Whether every change was tried since, or waits behind one of its own file that was.
fn all_were_tried(due: &[Pending], tried_before: &HashMap<Seq, u32>) -> bool {
    let mut stuck = HashSet::new();
    due.iter().all(|change| {
        let before = tried_before.get(&change.record.seq).copied().unwrap_or(0);
        let was_tried =
            !change.in_flight && (change.record.tries > before || change.waits_for_room);
        match change.record.work {
            Work::Save { ino, .. } if was_tried => {
                stuck.insert(ino);
                true
            }
            Work::Save { ino, .. } => stuck.contains(&ino),
            Work::Delete { .. } => was_tried,
        }
    })
}

/// How far a flush is.
fn progress(due: &[Pending]) -> Progress {
    Progress {
        changes: due.len(),
        bytes: due.iter().map(size_of).sum(),
        failed: due.iter().filter(|change| has_failed(change)).count(),
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
