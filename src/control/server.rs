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

use crate::api::{Budget, Dialect};
use crate::fs::{Dropped, DroppedKind, WorkspaceFs, give_up_pending};
use crate::state::{GiveUpError, Pending, Seq, State, Unfinished, Work};
use crate::store::{Findings, Store};
use crate::sync::Refresher;

use super::named::typed;
use super::protocol::{Change, ChangeKind, Copies, DroppedChange, Progress, Reply, Request};
use super::{Files, Holdings, Live, Reporter, SOCKET, Say, Transfers, Trash, address};

/// How often a flush says how far it is.
const PACE: Duration = Duration::from_millis(200);

/// Between two looks at work that is neither due nor done.
const SHORT: Duration = Duration::from_millis(20);

/// The longest request that is read.
const LONGEST: u64 = 64 * 1024;

/// Why what is pending stays so.
const SENDS_NOTHING: &str = "this mount is read-only and sends nothing; what is pending stays on this machine: mount it without \
                             --read-only to have it sent";

/// What a mount knows of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The service's address.
    pub host: String,
    /// Where local state is.
    pub state_dir: PathBuf,
    /// How it speaks to the service.
    pub dialect: Dialect,
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
    /// Its files.
    pub fs: Arc<WorkspaceFs>,
    /// Its requests.
    pub budget: Arc<Budget>,
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
            let mut is_heard = Ok(());
            let mut hear = |reply: &Reply| {
                is_heard = say(stream, reply);
                is_heard.is_ok()
            };
            match serde_json::from_str(&line) {
                Ok(request) => self.answer(&request, &mut hear),
                Err(error) => hear(&Reply::Failed {
                    why: format!(
                        "this mount does not understand the request ({error}); it may be of another version of \
                         afs: unmount and mount again"
                    ),
                }),
            };
            if is_heard.is_err() {
                return;
            }
        }
    }

    /// Tells `say` the answer, line by line; it says whether anybody still listens, and so does this.
    pub fn answer(&self, request: &Request, say: Say<'_>) -> bool {
        let end = match request {
            Request::Status => self.status(),
            Request::Pending => backlog(&self.state),
            Request::Retry { name } => self.retry(name.as_deref()),
            Request::Drop { name } => dropped(name, self.fs.drop_pending(name)),
            Request::Flush => self.flush(say),
            Request::VerifyKept => self.verify_kept(say),
            Request::Files { which } => self.files().list(which, say),
            Request::File { what, asks, gives } => self.files().file(what, *asks, *gives),
            Request::AllowDeletes { seconds } => {
                self.fs.allow_deletes(Duration::from_secs(*seconds));
                Reply::DeletesAllowed
            }
            Request::Trash => self.trash().list(),
            Request::TakeBack { name } => self.trash().take_back(name),
            Request::Purge { key } => self.trash().purge(key),
            Request::Downloads => self.holdings().list(),
            Request::Evict { what } => self.holdings().evict(what),
            Request::EvictAll => self.holdings().evict_all(),
            Request::Pin { what } => self.holdings().pin(what, &mut seldom(say)),
            Request::Unpin { what } => self.holdings().unpin(what),
            Request::Put(put) => self.transfers().put(put, &mut seldom(say)),
            Request::Get(get) => self.transfers().get(get, &mut seldom(say)),
            Request::Remove { what, purges } => self.transfers().remove(what, *purges),
        };
        say(&end)
    }

    fn files(&self) -> Files<'_> {
        Files {
            state: &self.state,
            store: &self.store,
            live: Some(Live {
                refresher: &self.refresher,
                fs: &self.fs,
            }),
        }
    }

    fn trash(&self) -> Trash<'_> {
        Trash {
            state: &self.state,
            store: &self.store,
            fs: Some(&self.fs),
        }
    }

    fn holdings(&self) -> Holdings<'_> {
        Holdings {
            state: &self.state,
            store: &self.store,
            fs: Some(&self.fs),
        }
    }

    fn transfers(&self) -> Transfers<'_> {
        Transfers {
            state: &self.state,
            store: &self.store,
            fs: &self.fs,
            files: self.files(),
            dialect: self.about.dialect,
        }
    }

    /// Whether nobody works on the outbox.
    fn sends_nothing(&self) -> bool {
        self.fs.settings().read_only
    }

    fn retry(&self, name: Option<&str>) -> Reply {
        if self.sends_nothing() {
            return Reply::failed(&SENDS_NOTHING);
        }
        let sent = match name.map(|name| self.fs.send_unfinished(name)) {
            None => 0,
            Some(Ok(sent)) => sent,
            Some(Err(why)) => {
                return Reply::failed(&format!("{}: {why}", name.unwrap_or_default()));
            }
        };
        Reply::Retried {
            count: sent + self.state.retry(name),
        }
    }

    /// What tells how the mount is.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter {
            about: self.about.clone(),
            state: Arc::clone(&self.state),
            store: Arc::clone(&self.store),
            refresher: Arc::clone(&self.refresher),
            fs: Arc::downgrade(&self.fs),
            budget: Arc::clone(&self.budget),
        }
    }

    fn status(&self) -> Reply {
        match self.reporter().status() {
            Ok(status) => Reply::Status(Box::new(status)),
            Err(error) => Reply::failed(&error),
        }
    }

    /// Says how far it is until nothing is left of what there was but what was tried since and failed, or the client is
    /// gone. Newer content of the same files is waited for, for theirs is gone; files saved later are not.
    fn flush(&self, say: Say<'_>) -> Reply {
        let mut before = self.state.pending();
        let last = before.iter().map(|change| change.record.seq).max();
        before.retain(|change| !change.on_hold && !change.is_scratch);
        if self.sends_nothing() && !before.is_empty() {
            return Reply::failed(&SENDS_NOTHING);
        }
        let tried_before: HashMap<Seq, u32> = before
            .iter()
            .map(|change| (change.record.seq, change.record.tries))
            .collect();
        self.state.hurry();
        loop {
            let due = self.due(last);
            if all_were_tried(&due, &tried_before) {
                let left = due
                    .iter()
                    .map(|pending| change(&self.state, pending))
                    .collect();
                return Reply::Flushed { left };
            }
            if !say(&Reply::Progress(progress(&due))) {
                return Reply::failed(&"nobody listens");
            }
            if let Some(last) = last {
                self.state.hurry_successors(last);
            }
            // Returns earlier when nothing is due; what is left then waits for its next try.
            if self.state.wait_idle(Instant::now() + PACE) == 0 {
                thread::park_timeout(SHORT);
            }
        }
    }

    /// Compares the kept copies, for as long as the client listens.
    fn verify_kept(&self, say: Say<'_>) -> Reply {
        let mut hear = seldom(say);
        let found = self.store.verify(&self.state, true, &mut |findings| {
            hear(&Reply::Verifying(copies(findings)))
        });
        match found {
            Ok(findings) => Reply::Verified {
                copies: copies(&findings),
                damaged: findings.damaged,
            },
            Err(error) => Reply::failed(&error),
        }
    }

    /// What is pending of what there was up to record `last`, and all deletions: those follow from it. Not what waits for
    /// an open file: its close will send it.
    fn due(&self, last: Option<Seq>) -> Vec<Pending> {
        let mut pending = self.state.pending();
        pending.retain(|change| match change.record.work {
            Work::Save { .. } if change.is_scratch => false,
            Work::Save { .. } => !change.on_hold && Some(change.stands_for) <= last,
            Work::Delete { .. } => !change.on_hold,
        });
        pending
    }
}

/// Passes on what is said, unless something was a moment ago. That nobody listens is heard of then only.
fn seldom(say: &mut dyn FnMut(&Reply) -> bool) -> impl FnMut(&Reply) -> bool + '_ {
    let mut said = Instant::now();
    move |reply| {
        if said.elapsed() < PACE {
            return true;
        }
        said = Instant::now();
        say(reply)
    }
}

/// Whether every change was tried since, or waits behind one that was: of its own file, or of its name where the service
/// may have seen that one.
fn all_were_tried(due: &[Pending], tried_before: &HashMap<Seq, u32>) -> bool {
    let mut stuck = HashSet::new();
    let mut stuck_names = HashSet::new();
    due.iter().all(|change| {
        let before = tried_before.get(&change.record.seq).copied().unwrap_or(0);
        let was_tried =
            !change.in_flight && (change.record.tries > before || change.waits_for_room);
        match change.record.work {
            Work::Save { ino, .. } => {
                let name = change.record.name.as_str();
                let is_stuck = was_tried || stuck.contains(&ino) || stuck_names.contains(name);
                if is_stuck {
                    stuck.insert(ino);
                }
                if was_tried && change.record.sent_at.is_some() {
                    stuck_names.insert(name);
                }
                is_stuck
            }
            Work::Delete { .. } => was_tried,
        }
    })
}

/// What is pending, oldest first.
#[must_use]
pub fn backlog(state: &State) -> Reply {
    let mut changes: Vec<Change> = state
        .pending()
        .iter()
        .map(|pending| change(state, pending))
        .collect();
    match state.unfinished() {
        Ok(drafts) => changes.extend(drafts.iter().map(unfinished)),
        Err(error) => return Reply::failed(&error),
    }
    changes.sort_by_key(|change| change.since);
    Reply::Pending { changes }
}

/// Gives up what is pending under a name where nothing is mounted.
#[must_use]
pub fn give_up(state: &State, store: &Store, name: &str) -> Reply {
    let given_up = give_up_pending(state, store, name);
    dropped(name, given_up.map(|(changes, _)| changes))
}

fn dropped(name: &str, dropped: Result<Vec<Dropped>, GiveUpError>) -> Reply {
    match dropped {
        Ok(dropped) => Reply::Dropped {
            changes: dropped.into_iter().map(dropped_change).collect(),
        },
        Err(GiveUpError::NotPending) => Reply::Dropped {
            changes: Vec::new(),
        },
        Err(why) => Reply::failed(&format!("{name}: {why}")),
    }
}

/// How far a flush is.
fn progress(due: &[Pending]) -> Progress {
    Progress {
        changes: due.len(),
        bytes: due.iter().map(size_of).sum(),
        sent: due.iter().map(|change| change.sent).sum(),
        failed: due.iter().filter(|change| has_failed(change)).count(),
    }
}

fn copies(findings: &Findings) -> Copies {
    Copies {
        count: findings.copies,
        bytes: findings.bytes,
    }
}

fn change(state: &State, pending: &Pending) -> Change {
    Change {
        kind: match pending.record.work {
            Work::Save { .. } if pending.is_scratch => ChangeKind::Scratch,
            Work::Save { .. } => ChangeKind::Save,
            Work::Delete { .. } => ChangeKind::Delete,
        },
        name: typed(state, &pending.record.name),
        size: size_of(pending),
        since: pending.record.since,
        tries: pending.record.tries,
        in_flight: pending.in_flight,
        sent: pending.sent,
        waits_for_close: pending.on_hold,
        last_error: pending.last_error.clone().filter(|_| has_failed(pending)),
    }
}

fn unfinished(draft: &Unfinished) -> Change {
    Change {
        kind: ChangeKind::Unfinished,
        name: draft.name.clone(),
        size: draft.size,
        since: draft.since,
        tries: 0,
        in_flight: false,
        sent: 0,
        waits_for_close: false,
        last_error: None,
    }
}

fn dropped_change(dropped: Dropped) -> DroppedChange {
    DroppedChange {
        kind: match dropped.kind {
            DroppedKind::Save => ChangeKind::Save,
            DroppedKind::Delete => ChangeKind::Delete,
            DroppedKind::Unfinished => ChangeKind::Unfinished,
        },
        name: dropped.name,
        size: dropped.size,
        in_trash: dropped.in_trash,
        may_have_arrived: dropped.may_have_arrived,
    }
}

fn size_of(pending: &Pending) -> u64 {
    match pending.record.work {
        Work::Save { size, .. } => size,
        Work::Delete { .. } => 0,
    }
}

/// Whether its last try failed. To be told to wait for a turn is no failure.
pub(super) fn has_failed(pending: &Pending) -> bool {
    pending.last_error.is_some() && !pending.is_held_back
}

fn say(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}
