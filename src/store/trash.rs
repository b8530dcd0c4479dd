//! The trash: the service deletes for ever, so bytes that are here go here first. `trash/TIME-ID/NAME`, for a week
//! and up to 5 GB, oldest out first.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::disk::{Disk, Step};

use super::{lock, names_in};

/// How long things stay.
const KEPT_FOR_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How many bytes stay.
const LIMIT: u64 = 5 << 30;

#[derive(Debug)]
pub(super) struct Trash {
    disk: Disk,
    dir: PathBuf,
    things: Mutex<Things>,
}

#[derive(Debug, Default)]
struct Things {
    /// Oldest first.
    order: VecDeque<Thing>,
    total: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Thing {
    thrown_at: i64,
    /// The name of its directory.
    name: String,
    size: u64,
}

impl Thing {
    /// What its name says after the time; an id may have dashes itself.
    fn id(&self) -> &str {
        self.name.split_once('-').map_or("", |(_, id)| id)
    }
}

/// A file in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trashed {
    /// What it is told from others by.
    pub key: String,
    /// The name people know it by.
    pub name: String,
    /// The id it had at the service, or one of this machine's own where it never was there.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// When it came here, milliseconds.
    pub thrown_at: i64,
    /// Where its bytes are.
    pub path: PathBuf,
}

impl Trash {
    pub(super) fn open(disk: &Disk, dir: PathBuf, now: i64) -> io::Result<Self> {
        let mut found: Vec<Thing> = names_in(&dir)?
            .into_iter()
            .map(|name| Thing {
                thrown_at: name
                    .split('-')
                    .next()
                    .and_then(|time| time.parse().ok())
                    .unwrap_or(0),
                size: size_in(&dir.join(&name)),
                name,
            })
            .collect();
        found.sort();
        let trash = Self {
            disk: disk.clone(),
            dir,
            things: Mutex::new(Things {
                total: found.iter().map(|thing| thing.size).sum(),
                order: found.into(),
            }),
        };
        trash.purge(now);
        Ok(trash)
    }

    /// Moves a copy in, under the name people know it by. Whether there was one.
    pub(super) fn take(&self, copy: &Path, id: &str, name: &str, now: i64) -> io::Result<bool> {
        let metadata = match fs::metadata(copy) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.put(id, name, metadata.len(), now, |to| self.move_file(copy, to))?;
        Ok(true)
    }

    /// Has `place` put `size` bytes in, under the name people know them by; they have to be on the disk then, and their
    /// names are when this returns. What fails at that stays in the trash all the same: [`Trash::settle`] tries it again.
    pub(super) fn put(
        &self,
        id: &str,
        name: &str,
        size: u64,
        now: i64,
        place: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let thing = Thing {
            thrown_at: now,
            name: format!("{now}-{id}"),
            size,
        };
        let dir = self.dir.join(&thing.name);
        self.disk.step(Step::MakeDir(&dir), || {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
        })?;
        if let Err(error) = place(&dir.join(name)) {
            // Work that fails is tried again, and each try makes a directory.
            if let Err(why) = self.remove_dir(&dir) {
                log::debug!("{} stays in the trash: {why}", thing.name);
            }
            return Err(error);
        }
        let mut things = lock(&self.things);
        things.total += thing.size;
        things.order.push_back(thing);
        drop(things);
        self.sync_names(&dir)?;
        self.purge(now);
        Ok(())
    }

    /// Makes the names of what is here of an id safe on the disk; whether there is anything.
    pub(super) fn settle(&self, id: &str) -> io::Result<bool> {
        let found = {
            let things = lock(&self.things);
            let thing = things.order.iter().rev().find(|thing| thing.id() == id);
            thing.map(|thing| self.dir.join(&thing.name))
        };
        match found {
            Some(dir) => self.sync_names(&dir).map(|()| true),
            None => Ok(false),
        }
    }

    /// The thing's own name, and that of the directory it is in.
    fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)?;
        self.disk.sync_dir(&self.dir)
    }

    /// Moves a copy back out, where there is one: its deletion was refused, or it was none. Whether there was.
    pub(super) fn give_back(&self, id: &str, copy: &Path) -> io::Result<bool> {
        let mut things = lock(&self.things);
        let Some(at) = things.order.iter().rposition(|thing| thing.id() == id) else {
            return Ok(false);
        };
        let dir = self.dir.join(&things.order[at].name);
        for name in names_in(&dir)? {
            self.move_file(&dir.join(name), copy)?;
        }
        // Until here it can be asked for again.
        if let Some(thing) = things.order.remove(at) {
            things.total -= thing.size;
        }
        self.remove_dir(&dir)?;
        Ok(true)
    }

    /// What is here, oldest first.
    pub(super) fn list(&self) -> io::Result<Vec<Trashed>> {
        let things = lock(&self.things);
        let mut files = Vec::new();
        for thing in &things.order {
            let dir = self.dir.join(&thing.name);
            for name in names_in(&dir)? {
                files.push(Trashed {
                    key: thing.name.clone(),
                    id: thing.id().to_owned(),
                    size: thing.size,
                    thrown_at: thing.thrown_at,
                    path: dir.join(&name),
                    name,
                });
            }
        }
        Ok(files)
    }

    /// Removes one for good; whether it was there.
    pub(super) fn remove(&self, key: &str) -> io::Result<bool> {
        let mut things = lock(&self.things);
        let Some(at) = things.order.iter().position(|thing| thing.name == key) else {
            return Ok(false);
        };
        self.disk.remove_dir_all(&self.dir.join(key))?;
        if let Some(thing) = things.order.remove(at) {
            things.total -= thing.size;
        }
        Ok(true)
    }

    /// Bytes that are here.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.things).total
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.step(Step::Remove(dir), || fs::remove_dir(dir))
    }

    fn purge(&self, now: i64) {
        let mut things = lock(&self.things);
        while let Some(oldest) = things.order.front() {
            if oldest.thrown_at + KEPT_FOR_MS > now && things.total <= LIMIT {
                return;
            }
            let Some(oldest) = things.order.pop_front() else {
                return;
            };
            things.total -= oldest.size;
            if let Err(error) = self.disk.remove_dir_all(&self.dir.join(&oldest.name)) {
                log::warn!(
                    "{} could not be removed from the trash: {error}",
                    oldest.name
                );
            }
        }
    }

    /// By rename; the cache may be on another file system than the state, and then it is a copy.
    fn move_file(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.disk.rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.disk.step(Step::Create(to), || fs::copy(from, to))?;
                self.disk.sync(to, &File::open(to)?)?;
                self.disk.remove_file(from)
            }
            result => result,
        }
    }
}

fn size_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn trash(now: i64, dir: &Path) -> Trash {
        let path = dir.join("trash");
        fs::create_dir_all(&path).unwrap();
        Trash::open(&Disk::real(), path, now).unwrap()
    }

    fn copy(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, name).unwrap();
        path
    }

    #[test]
    fn a_thing_stays_a_week_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let now = 1_700_000_000_000;
        let first = trash(now, dir.path());
        first
            .take(&copy(dir.path(), "one"), "file_1", "report.pdf", now)
            .unwrap();
        let kept = dir.path().join(format!("trash/{now}-file_1/report.pdf"));
        assert_eq!(fs::read(&kept).unwrap(), b"one");
        trash(now + 6 * DAY, dir.path());
        assert!(kept.exists());
        trash(now + 8 * DAY, dir.path());
        assert!(!kept.exists());
    }

    #[test]
    fn a_refused_deletion_gives_the_bytes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = copy(dir.path(), "one");
        let trash = trash(5, dir.path());
        trash.take(&path, "file_1", "a", 5).unwrap();
        assert!(!path.exists());
        trash.give_back("file_1", &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(lock(&trash.things).total, 0);
    }

    #[test]
    fn what_can_not_be_given_back_now_is_given_back_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = copy(dir.path(), "one");
        let trash = trash(5, dir.path());
        trash.take(&path, "file_1", "a", 5).unwrap();
        let nowhere = dir.path().join("missing/one");
        trash.give_back("file_1", &nowhere).unwrap_err();
        assert!(trash.give_back("file_1", &path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(lock(&trash.things).total, 0);
    }

    #[test]
    fn an_id_that_ends_like_another_one_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = copy(dir.path(), "one");
        let trash = trash(5, dir.path());
        trash.take(&path, "file-1", "a", 5).unwrap();
        assert!(!trash.give_back("1", &path).unwrap());
        assert!(trash.give_back("file-1", &path).unwrap());
    }

    #[test]
    fn one_that_is_removed_is_gone_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let trash = trash(5, dir.path());
        for (n, name) in [(1, "a"), (2, "b")] {
            let copy = copy(dir.path(), name);
            trash.take(&copy, &format!("file_{n}"), name, 5).unwrap();
        }
        let listed = trash.list().unwrap();
        let names: Vec<&str> = listed.iter().map(|file| &file.name[..]).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(fs::read(&listed[1].path).unwrap(), b"b");
        assert!(trash.remove(&listed[0].key).unwrap());
        assert!(!trash.remove(&listed[0].key).unwrap());
        assert!(!trash.remove("../../elsewhere").unwrap());
        assert_eq!(trash.list().unwrap(), listed[1..]);
        assert_eq!(trash.bytes(), 1);
    }

    #[test]
    fn what_can_not_be_put_in_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let trash = trash(5, dir.path());
        let full = |_: &Path| Err(io::ErrorKind::StorageFull.into());
        trash.put("file_1", "a", 3, 5, full).unwrap_err();
        assert_eq!(names_in(&dir.path().join("trash")).unwrap(), [""; 0]);
    }
}
