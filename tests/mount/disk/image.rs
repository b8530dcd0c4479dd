//! What is on a disk for sure: the content that was synced, under the names that were. The rest may be there after a
//! power cut or not; the worst is that nothing of it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use afs::disk::Step;

/// A file's content as far as it was synced.
type Content = Arc<Mutex<Vec<u8>>>;

type Names = BTreeMap<PathBuf, Content>;

/// A change of names that is not on disk yet. Both ends of a move get there together.
#[derive(Debug, Clone)]
struct Change {
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Content)>,
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let added = self.added.as_ref().map(|(path, _)| path);
        [self.removed.as_ref(), added]
            .into_iter()
            .flatten()
            .any(|path| path.parent() == Some(dir))
    }

    fn apply(self, names: &mut Names) {
        if let Some(path) = self.removed {
            names.retain(|name, _| !name.starts_with(&path));
        }
        if let Some((path, content)) = self.added {
            names.insert(path, content);
        }
    }
}

/// A disk by what was done to it.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// As programs see it.
    current: Names,
    /// As a power cut leaves it.
    durable: Names,
    /// What is between the two, in its order.
    pending: Vec<Change>,
    /// So much of the database's log was synced.
    log: u64,
}

impl Image {
    /// A disk on which everything in the directory `state` is durable: an earlier life's work.
    pub(super) fn of(state: &Path) -> Self {
        let mut image = Self {
            log: fs::metadata(state.join(LOG)).map_or(0, |found| found.len()),
            ..Self::default()
        };
        image.take_in(state);
        image.current = image.durable.clone();
        image
    }

    fn take_in(&mut self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.take_in(&path);
            } else if !is_of_database(&path) {
                let content = Arc::new(Mutex::new(fs::read(&path).unwrap()));
                self.durable.insert(path, content);
            }
        }
    }

    /// A step was taken.
    pub(super) fn note(&mut self, step: &Step<'_>, state: &Path) {
        match *step {
            Step::Create(path) => self.change(None, Some((path.to_owned(), Content::default()))),
            Step::Link { from, to } => {
                let content = self.current.get(from).cloned().unwrap_or_default();
                self.change(None, Some((to.to_owned(), content)));
            }
            Step::Rename { from, to } => {
                let content = self.current.get(from).cloned().unwrap_or_default();
                self.change(Some(from.to_owned()), Some((to.to_owned(), content)));
            }
            Step::Remove(path) => self.change(Some(path.to_owned()), None),
            Step::Sync(path) => {
                if let (Some(content), Ok(bytes)) = (self.current.get(path), fs::read(path)) {
                    *content.lock().unwrap() = bytes;
                }
            }
            Step::SyncDir(dir) => {
                let (synced, rest) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|change| change.touches(dir));
                self.pending = rest;
                let synced: Vec<Change> = synced;
                for change in synced {
                    change.apply(&mut self.durable);
                }
            }
            Step::Commit {
                is_durable: true, ..
            } => {
                // The writer is locked: nobody else makes it longer meanwhile.
                self.log = fs::metadata(state.join(LOG)).map_or(0, |found| found.len());
            }
            Step::MakeDir(_)
            | Step::Write { .. }
            | Step::Resize { .. }
            | Step::Begin(_)
            | Step::Commit { .. } => {}
        }
    }

    fn change(&mut self, removed: Option<PathBuf>, added: Option<(PathBuf, Content)>) {
        let change = Change { removed, added };
        change.clone().apply(&mut self.current);
        self.pending.push(change);
    }

    /// Makes `into` what a power cut leaves of the directory `state`.
    pub(super) fn leave(&self, state: &Path, into: &Path) {
        fs::create_dir_all(into).unwrap();
        for (path, content) in &self.durable {
            if let Ok(inside) = path.strip_prefix(state) {
                let to = into.join(inside);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(to, &*content.lock().unwrap()).unwrap();
            }
        }
        // The log is not folded into the database while so little is in it.
        if state.join(DATABASE).exists() {
            fs::copy(state.join(DATABASE), into.join(DATABASE)).unwrap();
        }
        if let Ok(mut log) = fs::read(state.join(LOG)) {
            log.truncate(self.log as usize);
            fs::write(into.join(LOG), log).unwrap();
        }
    }
}

const DATABASE: &str = "state.db";
const LOG: &str = "state.db-wal";

/// Whether a file is the database's, which syncs its own.
fn is_of_database(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(DATABASE))
}

/// Copies a directory as it is, but for what `SQLite` shares between processes that live.
pub(super) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy_all(&path, &to.join(name));
        } else if name != "state.db-shm" {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
