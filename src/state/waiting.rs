//! What the workspaces of this machine that nobody has mounted have left to do. Pending work is sent by a mount of its
//! own workspace only: who mounts another one has to be told why nothing of it moves.
//!
//! Looking changes nothing: no lock is kept, no log is written back, no file is made, so that a mount may come up in the
//! middle of it.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::outbox::NEVER;
use super::{Millis, StateError, Workspaces};

/// The file in a workspace's state directory that its mount keeps locked for as long as it lives.
pub const LOCK: &str = "lock";

/// What a workspace that is not mounted waits with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its state directory.
    pub dir: PathBuf,
    /// What stands for its host in the index of workspaces.
    pub base_url: String,
    /// Changes that have not reached the service.
    pub pending: usize,
    /// Files that were never closed.
    pub unfinished: usize,
    /// Since when the oldest of them waits.
    pub since: Millis,
}

/// What a workspace has left to do, mounted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Its state directory.
    pub dir: PathBuf,
    /// What stands for its host in the index of workspaces.
    pub base_url: String,
    /// Whether a living process has the state.
    pub is_served: bool,
    /// How many changes have not reached the service, how many files were never closed, and since when the oldest of them
    /// waits; or why that can't be told.
    pub left: Result<(usize, usize, Option<Millis>), String>,
}

/// What the workspaces with state under `root` have left to do. Unlike [`Workspaces::waiting`] it makes no directory, waits
/// for nobody's lock, and passes nothing over: it is for who looks for what is wrong.
pub fn backlogs(root: &Path) -> Result<Vec<Backlog>, StateError> {
    let workspaces = Workspaces::looked_at(root);
    let mut backlogs = Vec::new();
    for (id, base_url) in workspaces.all_unlocked()? {
        let dir = workspaces.dir_of(&id);
        let database = dir.join("state.db");
        if !database.exists() {
            continue;
        }
        let is_served = is_served(&dir);
        backlogs.push(Backlog {
            base_url,
            is_served,
            left: look(&database, is_served).map_err(|error| error.to_string()),
            dir,
        });
    }
    Ok(backlogs)
}

impl Workspaces {
    /// The workspaces that have something to send, or to decide about, and that nobody has mounted. State that can't be
    /// read is passed over: it is the business of whoever mounts it.
    pub fn waiting(&self) -> Result<Vec<Waiting>, StateError> {
        let mut waiting = Vec::new();
        for (id, base_url) in self.all()? {
            let dir = self.dir_of(&id);
            if !dir.join("state.db").exists() || is_served(&dir) {
                continue;
            }
            match look(&dir.join("state.db"), false) {
                Ok((pending, unfinished, Some(since))) => waiting.push(Waiting {
                    dir,
                    base_url,
                    pending,
                    unfinished,
                    since,
                }),
                Ok((_, _, None)) => {}
                Err(error) => log::debug!("{} is passed over: {error}", dir.display()),
            }
        }
        Ok(waiting)
    }
}

/// Whether a living process has the state. The lock is tried for no longer than that takes.
fn is_served(dir: &Path) -> bool {
    File::open(dir.join(LOCK)).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// How many changes and how many unfinished files a database has, and since when the oldest waits. `is_in_use`: somebody
/// may write to it meanwhile.
fn look(path: &Path, is_in_use: bool) -> rusqlite::Result<(usize, usize, Option<Millis>)> {
    let sql = open_to_look(path, is_in_use)?;
    let of = |what: &str| {
        let query = format!("SELECT count(*), min(since) FROM {what}");
        sql.query_row(&query, [], |row| {
            Ok((
                row.get::<_, i64>(0)? as usize,
                row.get::<_, Option<Millis>>(1)?,
            ))
        })
    };
    let (pending, first) = of(&format!("outbox WHERE not_before < {NEVER}"))?;
    // An earlier version's state has no such table.
    let has_unfinished = sql
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'unfinished'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    let (unfinished, first_unfinished) = match has_unfinished {
        Some(()) => of("unfinished")?,
        None => (0, None),
    };
    Ok((
        pending,
        unfinished,
        first.into_iter().chain(first_unfinished).min(),
    ))
}

/// A database as its last process left it. Where that ended in good order there is no log beside it, and `SQLite` would
/// make one only to be able to read; *immutable* spares that.
fn open_to_look(path: &Path, is_in_use: bool) -> rusqlite::Result<Connection> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = std::fs::metadata(log).is_ok_and(|found| found.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if has_log || is_in_use {
        Connection::open_with_flags(path, flags)?
    } else {
        let uri = format!("file:{}?immutable=1", escaped(path));
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    connection.busy_timeout(Duration::from_millis(200))?;
    Ok(connection)
}

/// A path as a URI filename has it (`SQLite`, "Uniform Resource Identifiers").
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::super::{Digest, Sealed, SealedBytes, State, When};
    use super::*;

    /// A workspace with one change to send; its state, open.
    fn workspace(root: &Path, key: &str) -> (PathBuf, State) {
        let workspaces = Workspaces::open(root).unwrap();
        let id = workspaces.place("https://a.example", key, &[]).unwrap();
        let dir = workspaces.dir_of(&id);
        fs::create_dir(&dir).unwrap();
        let state = State::open(&dir).unwrap();
        let row = state.create("a", "text/plain", false, 1).unwrap();
        let sealed = Sealed {
            ino: row.ino,
            size: 4,
            mime_type: "text/plain",
            digest: Digest::of(b"text"),
            bytes: SealedBytes::Inline(b"text"),
            mtime: 1,
            ctime: 1,
            when: When::Now,
        };
        state.seal(&sealed).unwrap();
        (dir, state)
    }

    fn waiting(root: &Path) -> Vec<Waiting> {
        Workspaces::open(root).unwrap().waiting().unwrap()
    }

    fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    /// A workspace whose last process has written its log back.
    fn finished(root: &Path, key: &str) -> PathBuf {
        let (dir, state) = workspace(root, key);
        drop(state);
        let last = Connection::open(dir.join("state.db")).unwrap();
        last.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        dir
    }

    #[test]
    fn what_a_clean_end_has_left_is_seen_and_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let dir = finished(root.path(), "k");
        let before = files(&dir);
        assert_eq!(before.len(), 1, "no log is left: {:?}", before.keys());
        let found = waiting(root.path());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].dir, found[0].pending, found[0].unfinished),
            (&dir, 1, 0)
        );
        assert_eq!(found[0].base_url, "https://a.example");
        assert!(found[0].since > 0);
        assert!(files(&dir) == before);
    }

    #[test]
    fn what_a_process_that_died_has_left_is_seen_in_its_log_and_stays_there() {
        let root = tempfile::tempdir().unwrap();
        let (dir, state) = workspace(root.path(), "k");
        // As a process leaves it that is gone without a word: with its log, and nothing locked.
        let copy = root.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for name in ["state.db", "state.db-wal"] {
            fs::copy(dir.join(name), copy.join(name)).unwrap();
        }
        drop(state);
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(&copy, &dir).unwrap();
        let before = files(&dir);
        assert_eq!(waiting(root.path())[0].pending, 1);
        for (path, bytes) in before {
            assert!(fs::read(&path).unwrap() == bytes, "{}", path.display());
        }
        assert_eq!(State::open(&dir).unwrap().pending().len(), 1);
    }

    #[test]
    fn what_is_served_does_not_wait_and_what_can_not_be_read_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let served = finished(root.path(), "served");
        let damaged = finished(root.path(), "damaged");
        fs::write(damaged.join("state.db"), "this is no database").unwrap();
        let lock = File::create(served.join(LOCK)).unwrap();
        lock.lock().unwrap();
        assert_eq!(waiting(root.path()), []);
        lock.unlock().unwrap();
        assert_eq!(waiting(root.path()).len(), 1);
    }

    /// Each workspace of `root`: whether it is served, and how many changes wait; `None` where that can't be told.
    fn backlogs_of(root: &Path) -> Vec<(bool, Option<usize>)> {
        let backlogs = backlogs(root).unwrap().into_iter();
        backlogs
            .map(|one| (one.is_served, one.left.ok().map(|(pending, ..)| pending)))
            .collect()
    }

    #[test]
    fn who_looks_for_what_is_wrong_sees_what_is_served_and_what_is_damaged_and_waits_for_nobody() {
        let root = tempfile::tempdir().unwrap();
        // Its log has all that was written so far, as that of a mount at work.
        let (dir, _state) = workspace(root.path(), "served");
        let served = File::create(dir.join(LOCK)).unwrap();
        served.lock().unwrap();
        let damaged = finished(root.path(), "damaged");
        fs::write(damaged.join("state.db"), "this is no database").unwrap();
        let index = File::open(root.path().join("workspaces.lock")).unwrap();
        index.lock().unwrap();
        assert_eq!(backlogs_of(root.path()), [(true, Some(1)), (false, None)]);
        served.unlock().unwrap();
        assert_eq!(backlogs_of(root.path())[0], (false, Some(1)));
    }

    #[test]
    fn where_no_state_is_none_is_made() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(backlogs(root.path()).unwrap(), []);
        assert_eq!(backlogs(&root.path().join("none")).unwrap(), []);
        assert_eq!(files(root.path()), BTreeMap::new());
    }

    #[test]
    fn a_state_of_an_earlier_version_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let dir = finished(root.path(), "k");
        let old = Connection::open(dir.join("state.db")).unwrap();
        old.execute_batch("DROP TABLE unfinished").unwrap();
        drop(old);
        assert_eq!(waiting(root.path())[0].pending, 1);
    }

    #[test]
    fn any_path_is_a_uri_of_its_own() {
        let path = Path::new("/a b/50%/#1?x/\u{e9}");
        assert_eq!(escaped(path), "/a%20b/50%25/%231%3fx/%c3%a9");
    }
}
