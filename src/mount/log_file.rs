//! A log file that does not grow for ever. At its size it is put aside as `FILE.1` and another one is begun; what was put
//! aside before moves on to `FILE.2`, and so on, and the oldest goes.
//!
//! Other processes may write to the same file, and others may move it, as logrotate(8) does: before each line it is asked
//! whether the file that is open still has its name. Nothing here waits for another process.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sys;

/// How many files are kept beside the one that is written.
const KEPT: u32 = 5;

/// How often a file is opened that vanishes before anybody has looked where it is.
const OPENINGS: usize = 20;

/// A log file; a clone is the same one.
#[derive(Debug, Clone)]
pub struct LogFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    /// How large the file may become, in bytes; 0: it is never put aside.
    limit: u64,
    /// Where it could not be put aside, that is tried again at this size.
    again_at: u64,
    /// Whether standard output and standard error are this file too.
    carries_output: bool,
}

impl LogFile {
    /// Opens a file for appending, with a size in bytes at which another one is begun; 0: never. What is made is its
    /// owner's alone. A pipe or a device is written to as it is.
    pub fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let (file, path) = open_behind_links(path)?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            path,
            file,
            limit,
            again_at: 0,
            carries_output: false,
        }))))
    }

    /// Has standard output and standard error go there as well from now on: what panics and helpers say.
    pub fn carry_output(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.carries_output = true;
        sys::output_to(&inner.file)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for LogFile {
    /// Writes all of it, in one file: whoever logs hands over whole lines. Nothing is logged in here, for the log is
    /// locked.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut inner = self.inner();
        inner.make_ready(lines.len() as u64);
        inner.file.write_all(lines)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().file.flush()
    }
}

impl Inner {
    /// Sees to it that the open file is the one of this name, and has room for so many bytes more.
    fn make_ready(&mut self, more: u64) {
        let Ok(open) = self.file.metadata() else {
            return;
        };
        if !open.is_file() {
            return;
        }
        if !self.is_in_place(&open) {
            self.follow();
            return;
        }
        let size = open.len();
        let is_due = self.limit > 0 && size > 0 && size + more > self.limit.max(self.again_at);
        if !is_due {
            return;
        }
        self.again_at = 0;
        if let Err(error) = self.rotate() {
            let shown = self.path.display();
            let note =
                format!("{shown} could not be put aside as {shown}.1, so it grows: {error}\n");
            self.again_at = size + note.len() as u64 + self.limit;
            // Best effort: it is a note in a log.
            let _ = self.file.write_all(note.as_bytes());
        }
    }

    /// Whether a file's name still leads to it. Where that can't be told it stays.
    fn is_in_place(&self, open: &Metadata) -> bool {
        match fs::metadata(&self.path) {
            Ok(named) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Goes on in the file that has the name now; where that can't be opened, in the one that had it.
    fn follow(&mut self) {
        if let Ok(file) = open(&self.path) {
            self.file = file;
            if self.carries_output {
                // Should it fail, panics go to the file that was put aside: they are not lost.
                let _ = sys::output_to(&self.file);
            }
        }
    }

    /// Puts the file aside and begins another one. Of several processes that write to it one does that; the others find
    /// the new file at their next line, and write this one to where they have it open.
    fn rotate(&mut self) -> io::Result<()> {
        let is_locked = match self.file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Ok(()),
            // A file system without locks is no reason to let it grow.
            Err(TryLockError::Error(_)) => false,
        };
        let put_aside = match self.file.metadata() {
            // Somebody was faster between the look and the lock.
            Ok(open) if !self.is_in_place(&open) => Ok(()),
            Ok(_) => put_aside(&self.path),
            Err(error) => Err(error),
        };
        if is_locked {
            // The lock belongs to standard error too, where that is a copy: it does not end with this descriptor.
            let _ = self.file.unlock();
        }
        put_aside?;
        self.follow();
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Opens a file, and says where it is: the file behind a link is what is put aside, so that the link goes on leading to the
/// newest. A pipe or a device is where it was said to be.
fn open_behind_links(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut moved = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..OPENINGS {
        let file = open(path)?;
        if !file.metadata()?.is_file() {
            return Ok((file, path.to_owned()));
        }
        match path.canonicalize() {
            Ok(path) => return Ok((file, path)),
            // Another process puts the file aside in this moment, and opens the next one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => moved = error,
            Err(error) => return Err(error),
        }
    }
    Err(moved)
}

/// Moves every file on by one number; the last one's place is taken. Oldest first: whatever stops it in the middle, no
/// file has been put in the place of one that should stay.
fn put_aside(path: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// So many lines of ten bytes.
    fn lines(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| format!("line {n:04}\n")).collect()
    }

    fn write(log: &mut LogFile, lines: &[String]) {
        for line in lines {
            log.write_all(line.as_bytes()).unwrap();
        }
    }

    /// The files' contents, oldest first.
    fn kept(path: &Path) -> Vec<String> {
        let numbers = (1..=KEPT + 1).rev();
        let paths = numbers.map(|number| numbered(path, number));
        paths
            .chain([path.to_owned()])
            .filter_map(|path| fs::read_to_string(path).ok())
            .collect()
    }

    #[test]
    fn a_file_is_put_aside_at_its_size_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "from before\n").unwrap();
        let mut log = LogFile::open(&path, 50).unwrap();
        write(&mut log, &lines(0, 13));
        let all = lines(0, 13).concat();
        assert_eq!(
            kept(&path),
            [
                &format!("from before\n{}", &all[..30]),
                &all[30..80],
                &all[80..130]
            ]
        );
        write(&mut log, &lines(13, 40));
        // 37 lines after the first file's three: it is gone, and so is the one after it.
        let all = lines(0, 40).concat();
        assert_eq!(kept(&path).concat(), all[130..]);
        assert_eq!(kept(&path).len(), 6);
        for number in 1..=KEPT {
            let found = fs::metadata(numbered(&path, number)).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, 0o600, "{number}");
        }
    }

    #[test]
    fn a_line_larger_than_a_file_has_one_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 5).unwrap();
        write(&mut log, &lines(0, 3));
        assert_eq!(kept(&path), lines(0, 3));
    }

    #[test]
    fn without_a_size_it_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        write(&mut LogFile::open(&path, 0).unwrap(), &lines(0, 100));
        assert_eq!(kept(&path), [lines(0, 100).concat()]);
    }

    /// Two descriptors of one file in one process are to each other as two processes are: flock(2) goes by the open.
    #[test]
    fn several_may_write_to_one_file_and_no_line_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let path = path.clone();
                std::thread::spawn(move || {
                    let mut log = LogFile::open(&path, 4000).unwrap();
                    write(&mut log, &lines(writer * 400, writer * 400 + 400));
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        let kept = kept(&path);
        let mut found: Vec<_> = kept.iter().flat_map(|text| text.lines()).collect();
        found.sort_unstable();
        assert_eq!(found, lines(0, 1600).concat().lines().collect::<Vec<_>>());
        // Who finds the lock taken writes on, so that files may become larger, and fewer.
        assert!((2..=6).contains(&kept.len()), "{} files", kept.len());
    }

    #[test]
    fn who_has_the_lock_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 30).unwrap();
        let other = open(&path).unwrap();
        other.lock().unwrap();
        write(&mut log, &lines(0, 5));
        assert_eq!(kept(&path), [lines(0, 5).concat()]);
        other.unlock().unwrap();
        write(&mut log, &lines(5, 6));
        assert_eq!(kept(&path), [lines(0, 5).concat(), lines(5, 6).concat()]);
    }

    /// Both have seen that the file is full; one puts it aside before the other has the lock.
    #[test]
    fn who_comes_second_leaves_the_new_file_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 30).unwrap();
        write(&mut log, &lines(0, 3));
        write(&mut LogFile::open(&path, 30).unwrap(), &lines(3, 4));
        log.inner().rotate().unwrap();
        write(&mut log, &lines(4, 5));
        assert_eq!(kept(&path), [lines(0, 3).concat(), lines(3, 5).concat()]);
    }

    #[test]
    fn a_file_that_somebody_moves_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, 0).unwrap();
        write(&mut log, &lines(0, 1));
        fs::rename(&path, dir.path().join("taken")).unwrap();
        write(&mut log, &lines(1, 2));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another\n").unwrap();
        write(&mut log, &lines(2, 3));
        assert_eq!(kept(&path), ["another\nline 0002\n"]);
    }

    #[test]
    fn where_it_cannot_be_put_aside_it_grows_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(numbered(&path, 4), "").unwrap();
        fs::create_dir(numbered(&path, 5)).unwrap();
        let mut log = LogFile::open(&path, 100).unwrap();
        write(&mut log, &lines(0, 12));
        let text = fs::read_to_string(&path).unwrap();
        let said: Vec<_> = text.lines().collect();
        assert_eq!(said.len(), 13, "{text}");
        assert!(said[10].contains("could not be put aside"), "{text}");
        fs::remove_dir(numbered(&path, 5)).unwrap();
        write(&mut log, &lines(12, 40));
        assert!(numbered(&path, 1).exists(), "it was tried again");
        assert_eq!(kept(&path).concat().lines().count(), 41);
    }

    #[test]
    fn a_link_goes_on_leading_to_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("log"), dir.path().join("link"));
        fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink("log", &link).unwrap();
        let mut log = LogFile::open(&link, 20).unwrap();
        write(&mut log, &lines(0, 3));
        assert_eq!(kept(&path), [lines(0, 2).concat(), lines(2, 3).concat()]);
        assert_eq!(fs::read_to_string(&link).unwrap(), lines(2, 3).concat());
    }

    #[test]
    fn a_device_is_written_to_as_it_is() {
        let mut log = LogFile::open(Path::new("/dev/null"), 10).unwrap();
        write(&mut log, &lines(0, 3));
        assert!(!Path::new("/dev/null.1").exists());
    }
}
