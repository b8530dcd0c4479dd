//! Whether kept copies are what was saved. At every open their size and modification time are compared with what was
//! noted when they were kept; where that differs, and after an unclean end, their digest is.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use crate::api::FileId;
use crate::state::{Digest, Ino, Nanos, Row, State, StateError, system_time};

use super::{Store, file_name, lock};

/// What a kept copy should be.
#[derive(Debug, Clone, Copy)]
pub struct Print {
    /// Bytes, where that is known.
    pub size: Option<u64>,
    /// The content's digest, where it is known.
    pub digest: Option<Digest>,
    /// The modification time it had when it was kept, where that is known.
    pub mtime: Option<Nanos>,
}

impl From<&Row> for Print {
    fn from(row: &Row) -> Self {
        Self {
            // Not the row's own size, which is that of content on its way where there is some.
            size: row.kept.map(|kept| kept.size),
            digest: row.digest,
            mtime: row.kept.map(|kept| kept.mtime),
        }
    }
}

impl Print {
    fn has_size(&self, metadata: &Metadata) -> bool {
        self.size.is_none_or(|size| size == metadata.len())
    }

    fn has_time(&self, metadata: &Metadata) -> bool {
        self.mtime.is_none_or(|mtime| mtime == mtime_of(metadata))
    }
}

/// What is held against a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// The end before was unclean, and nobody has looked since.
    Unchecked,
    /// Somebody has looked.
    Damaged,
}

/// The copies that are not simply trusted, by file name.
pub(super) type Suspects = HashMap<String, Suspicion>;

/// What a look through the kept copies found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Copies compared.
    pub copies: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The names of files whose copies are damaged or can't be read.
    pub damaged: Vec<String>,
}

/// How many rows one step of a look through the kept copies reads.
const BATCH: usize = 128;

impl Store {
    /// Compares the kept copies' digests: all of them, or those that wait for it since an unclean end. `go_on` is told
    /// again and again, also within a file, whose bytes count as they are read; `false` ends the look.
    pub fn verify(
        &self,
        state: &State,
        all: bool,
        go_on: &mut dyn FnMut(&Findings) -> bool,
    ) -> Result<Findings, StateError> {
        let mut findings = Findings::default();
        let mut after = Ino(0);
        loop {
            let rows = state.own_files(after, BATCH)?;
            for row in &rows {
                after = row.ino;
                let Some(id) = row.id.as_ref().filter(|id| self.is_kept(id)) else {
                    continue;
                };
                if !all && !self.is_unchecked(id) {
                    continue;
                }
                let name = || state.style().typed_name(&row.filename).into_owned();
                let before = findings.bytes;
                let mut is_heard = true;
                let compared = self.verify_kept(id, &row.into(), &mut |read| {
                    findings.bytes += read;
                    is_heard = go_on(&findings);
                    is_heard
                });
                findings.bytes = before;
                if !is_heard {
                    return Ok(findings);
                }
                match compared {
                    Ok(true) => {}
                    // Removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Ok(false) => findings.damaged.push(name()),
                    Err(error) => {
                        log::error!("the kept copy of {} can't be read: {error}", row.filename);
                        findings.damaged.push(name());
                    }
                }
                findings.copies += 1;
                findings.bytes += row.kept.map_or(row.size, |kept| kept.size);
                if !go_on(&findings) {
                    return Ok(findings);
                }
            }
            if rows.len() < BATCH {
                return Ok(findings);
            }
        }
    }

    /// Has every kept copy's digest compared before it is given out the next time: the machine may have gone down while
    /// they were written.
    pub fn distrust_kept(&self) {
        let names = lock(&self.kept_names).clone();
        let mut suspects = lock(&self.suspects);
        for name in names {
            suspects.entry(name).or_insert(Suspicion::Unchecked);
        }
    }

    /// Whether a copy waits for its check.
    fn is_unchecked(&self, id: &FileId) -> bool {
        lock(&self.suspects).get(&file_name(id)) == Some(&Suspicion::Unchecked)
    }

    /// The kept copy of an id. An error of the kind `InvalidData` when its bytes are not those that were saved: such a
    /// copy is worse than none, and stays for a person to look at.
    pub fn open_kept(&self, id: &FileId, print: &Print) -> io::Result<File> {
        let name = file_name(id);
        let file = File::open(self.kept.join(&name))?;
        let suspicion = lock(&self.suspects).get(&name).copied();
        let metadata = file.metadata()?;
        let is_as_noted = print.has_size(&metadata) && print.has_time(&metadata);
        let is_whole = match suspicion {
            Some(Suspicion::Damaged) => false,
            None if is_as_noted => true,
            None | Some(Suspicion::Unchecked) => {
                self.compare(&name, &file, print, &mut |_| true)?
            }
        };
        if is_whole {
            self.note_use(id, &file);
            return Ok(file);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is damaged", self.kept.join(&name).display()),
        ))
    }

    /// Whether opening an id's kept copy means to read all of it: it is in doubt.
    #[must_use]
    pub fn must_compare(&self, id: &FileId, print: &Print) -> bool {
        if !self.is_kept(id) {
            return false;
        }
        let name = file_name(id);
        let suspicion = lock(&self.suspects).get(&name).copied();
        match suspicion {
            Some(Suspicion::Unchecked) => true,
            Some(Suspicion::Damaged) => false,
            None => fs::metadata(self.kept.join(&name))
                .is_ok_and(|found| !print.has_size(&found) || !print.has_time(&found)),
        }
    }

    /// Compares a kept copy's digest with what was saved; whether it is whole. `go_on` is told how many bytes more were
    /// read; `false` is an error.
    fn verify_kept(
        &self,
        id: &FileId,
        print: &Print,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<bool> {
        let name = file_name(id);
        let file = File::open(self.kept.join(&name))?;
        self.compare(&name, &file, print, go_on)
    }

    fn compare(
        &self,
        name: &str,
        file: &File,
        print: &Print,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<bool> {
        // A descriptor of its own: the position of the one that is given out is nobody's to move.
        let mut reader = Told {
            file: File::open(self.kept.join(name))?,
            go_on,
        };
        let is_whole = print.has_size(&file.metadata()?)
            && match print.digest {
                Some(digest) => Digest::of_reader(&mut reader)? == digest,
                // Kept by a version that took none.
                None => true,
            };
        if is_whole {
            lock(&self.suspects).remove(name);
            if let Some(mtime) = print.mtime {
                // So that the next open need not look so closely.
                file.set_modified(system_time(mtime))?;
            }
            return Ok(true);
        }
        let known = lock(&self.suspects).insert(name.to_owned(), Suspicion::Damaged);
        if known != Some(Suspicion::Damaged) {
            log::error!(
                "{} does not have the bytes that were saved any more; reading it fails, and it stays as it is for you \
                 to look at. The service still has the right ones",
                self.kept.join(name).display()
            );
        }
        Ok(false)
    }
}

/// A file that is read while somebody is told, and may have it ended.
struct Told<'a> {
    file: File,
    go_on: &'a mut dyn FnMut(u64) -> bool,
}

impl Read for Told<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read > 0 && !(self.go_on)(read as u64) {
            return Err(io::Error::other("nobody wants to know any more"));
        }
        Ok(read)
    }
}

/// A file's modification time, nanoseconds since 1970.
pub(super) fn mtime_of(metadata: &Metadata) -> Nanos {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SIZE, kept};

    /// A command that has a copy of hundreds of megabytes compared hears nothing for so long that it takes the mount for
    /// dead.
    #[test]
    fn progress_is_told_within_a_file_and_ends_the_look_there() {
        let dir = tempfile::tempdir().unwrap();
        let (state, store, _) = kept(dir.path(), None, &["a"]);
        let mut told = Vec::new();
        let found = store.verify(&state, true, &mut |findings| {
            told.push((findings.copies, findings.bytes));
            true
        });
        let size = SIZE as u64;
        assert_eq!(found.unwrap().bytes, size);
        assert!(told.contains(&(0, 256 * 1024)), "{told:?}");
        assert_eq!(told.last(), Some(&(1, size)));
        let mut count = 0;
        let found = store.verify(&state, true, &mut |_| {
            count += 1;
            false
        });
        assert_eq!((found.unwrap().copies, count), (0, 1));
    }
}
