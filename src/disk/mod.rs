//! Changes to the local disk. Each one that must survive, or can fail, is a *step*, and every step is taken through a
//! [`Disk`]: files and directories made, written, synced, linked, renamed and removed, transactions begun and committed.
//!
//! A [`Watch`] sees each step before it is taken and may refuse it, and sees it again when it is done. That is how disks
//! that are full, that fail, and that lose power between two steps are had without owning one. Looking at the disk is
//! no step: it changes nothing.

mod step;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, copy_file_range, fallocate};
use rustix::io::Errno;

pub use step::Step;

/// What sees every step.
pub trait Watch: Send + Sync + fmt::Debug {
    /// Before a step; an error is the step's own, and then it is not taken.
    fn before(&self, step: &Step<'_>) -> io::Result<()>;

    /// After a step that was not refused, whether it went well or not.
    fn after(&self, _step: &Step<'_>, _is_done: bool) {}
}

/// The way to the local disk; clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Disk(Arc<dyn Watch>);

/// The watch of a real disk.
#[derive(Debug)]
struct Nobody;

impl Watch for Nobody {
    fn before(&self, _step: &Step<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl Disk {
    /// The disk as it is.
    #[must_use]
    pub fn real() -> Self {
        Self(Arc::new(Nobody))
    }

    /// The disk, with somebody who sees and may refuse each step.
    #[must_use]
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self(watch)
    }

    /// Takes a step: `act` does it.
    pub fn step<T, E: From<io::Error>>(
        &self,
        step: Step<'_>,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.before(&step)?;
        let done = act();
        self.0.after(&step, done.is_ok());
        done
    }

    /// A directory for its owner only, and what is missing above it. A new one has a durable name.
    pub fn make_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.step(Step::MakeDir(path), || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)
        })?;
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// A new file, to be read and written by its owner only.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.step(Step::Create(path), || {
            File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
        })
    }

    /// Writes all of `data`. After an error, any part of it may have been written.
    pub fn write_all_at(
        &self,
        path: &Path,
        file: &File,
        data: &[u8],
        offset: u64,
    ) -> io::Result<()> {
        let len = data.len() as u64;
        self.step(Step::Write { path, offset, len }, || {
            file.write_all_at(data, offset)
        })
    }

    /// Copies the first `len` bytes of a file to an empty one; the disk shares the blocks where it knows how to. After an
    /// error, any part may have been copied.
    pub fn copy(&self, from: &File, path: &Path, to: &File, len: u64) -> io::Result<()> {
        let step = Step::Write {
            path,
            offset: 0,
            len,
        };
        self.step(step, || {
            let (mut out, mut into) = (0, 0);
            while out < len {
                // At places of our own: the position of a shared descriptor is nobody's to move.
                let left = usize::try_from(len - out).unwrap_or(usize::MAX);
                match copy_file_range(from, Some(&mut out), to, Some(&mut into), left) {
                    Err(Errno::INTR) => {}
                    // Not between these two file systems; or an error that the plain way meets as well.
                    Err(_) | Ok(0) => return copy_plainly(from, to, out, len),
                    Ok(_) => {}
                }
            }
            Ok(())
        })
    }

    /// Cuts or extends a file.
    pub fn set_len(&self, path: &Path, file: &File, len: u64) -> io::Result<()> {
        self.step(Step::Resize { path, len }, || file.set_len(len))
    }

    /// Extends a file to `len` bytes, where it is shorter, and gives all of them their place on the disk. `Unsupported`
    /// where the file system below can't.
    pub fn allocate(&self, path: &Path, file: &File, len: u64) -> io::Result<()> {
        self.step(Step::Resize { path, len }, || {
            Ok(fallocate(file, FallocateFlags::empty(), 0, len)?)
        })
    }

    /// Makes a file's content durable.
    pub fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        self.step(Step::Sync(path), || file.sync_data())
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::SyncDir(dir), || File::open(dir)?.sync_all())
    }

    /// Moves a file, in place of one that has the name already.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename { from, to }, || fs::rename(from, to))
    }

    /// A second name for a file.
    pub fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Link { from, to }, || fs::hard_link(from, to))
    }

    /// Removes a file.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove(path), || fs::remove_file(path))
    }

    /// Removes a directory with all that is in it.
    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove(path), || fs::remove_dir_all(path))
    }
}

/// Copies what is from `at` up to `len` by reading and writing it.
fn copy_plainly(from: &File, to: &File, mut at: u64, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while at < len {
        let piece = buffer.len().min((len - at) as usize);
        from.read_exact_at(&mut buffer[..piece], at)?;
        to.write_all_at(&buffer[..piece], at)?;
        at += piece as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Refuses what contains a word, and writes down the rest as it is done.
    #[derive(Debug, Default)]
    struct Guard {
        refused: &'static str,
        done: Mutex<Vec<String>>,
    }

    impl Watch for Guard {
        fn before(&self, step: &Step<'_>) -> io::Result<()> {
            if !self.refused.is_empty() && step.to_string().contains(self.refused) {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            Ok(())
        }

        fn after(&self, step: &Step<'_>, is_done: bool) {
            assert!(is_done, "{step}");
            self.done.lock().unwrap().push(step.to_string());
        }
    }

    fn life_of_a_file(disk: &Disk, dir: &Path) -> io::Result<()> {
        let (staged, kept) = (dir.join("staged"), dir.join("kept"));
        disk.make_dir(&staged)?;
        disk.make_dir(&kept)?;
        let path = staged.join("1");
        let file = disk.create(&path)?;
        disk.write_all_at(&path, &file, b"text", 2)?;
        disk.set_len(&path, &file, 5)?;
        disk.sync(&path, &file)?;
        disk.hard_link(&path, &kept.join("a"))?;
        disk.rename(&kept.join("a"), &kept.join("b"))?;
        disk.remove_file(&path)?;
        assert_eq!(fs::read(kept.join("b"))?, b"\0\0tex");
        disk.remove_dir_all(&kept)
    }

    #[test]
    fn each_step_is_seen_when_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let guard = Arc::new(Guard::default());
        life_of_a_file(&Disk::watched(Arc::clone(&guard) as _), dir.path()).unwrap();
        let done = guard.done.lock().unwrap();
        let without_parents: Vec<&str> = done
            .iter()
            .map(String::as_str)
            .filter(|step| !step.starts_with("sync names"))
            .collect();
        assert_eq!(
            without_parents,
            [
                "make directory in ROOT",
                "make directory in ROOT",
                "create in staged",
                "write in staged",
                "resize in staged",
                "sync in staged",
                "link staged to kept",
                "rename kept to kept",
                "remove in staged",
                "remove in ROOT"
            ]
            .map(|step| step.replace("ROOT", dir.path().file_name().unwrap().to_str().unwrap()))
        );
    }

    #[test]
    fn a_refused_step_is_not_taken() {
        for refused in [
            "make", "create", "write", "resize", "sync", "link", "rename", "remove",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let guard = Arc::new(Guard {
                refused,
                ..Guard::default()
            });
            let disk = Disk::watched(Arc::clone(&guard) as _);
            let error = life_of_a_file(&disk, dir.path()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{refused}");
            let done = guard.done.lock().unwrap();
            assert!(!done.iter().any(|step| step.contains(refused)), "{done:?}");
            let staged = dir.path().join("staged/1");
            let length = fs::metadata(&staged).map_or(0, |found| found.len());
            match refused {
                "create" => assert!(!staged.exists()),
                "write" => assert_eq!(length, 0),
                "resize" => assert_eq!(length, 6),
                "link" => assert!(!dir.path().join("kept/a").exists()),
                "rename" => assert!(dir.path().join("kept/a").exists()),
                "remove" => assert!(staged.exists()),
                _ => {}
            }
        }
    }
}
