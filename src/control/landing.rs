//! Where a fetched file lands: whole or not at all, and over nothing but an earlier landing that nobody has touched since.

use std::ffi::CStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use tempfile::{NamedTempFile, TempPath};

use crate::api::FileId;

/// The extended attribute that says of which file a landing is, and what it was like: `ID SIZE MTIME`, bytes and
/// nanoseconds. Where a disk has none, nothing is ever written over.
const MARK: &CStr = c"user.afs.landed";

/// The longest mark that is read.
const LONGEST: usize = 1024;

/// A file on its way to its name.
#[derive(Debug)]
pub(super) struct Landing {
    to: PathBuf,
    file: File,
    temporary: TempPath,
    /// Whose bytes they are, where the service has them.
    id: Option<String>,
    /// Whether an earlier landing is there, to be replaced.
    replaces: bool,
}

/// Why it did not land.
#[derive(Debug)]
pub(super) enum LandingError {
    /// Something is there that is not to be written over; as a sentence.
    Taken(String),
    /// As a sentence.
    Failed(String),
}

impl Landing {
    /// Makes room beside `to`; `None` where just this file landed there before. Symbolic links are not followed.
    pub(super) fn at(
        to: &Path,
        mode: u32,
        id: Option<&FileId>,
    ) -> Result<Option<Self>, LandingError> {
        let id = id.map(ToString::to_string);
        let replaces = match fs::symlink_metadata(to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(disk(to, &error)),
            Ok(_) => match (landed(to), &id) {
                (Some(before), Some(id)) if before == *id => return Ok(None),
                (Some(_), _) => true,
                (None, _) => return Err(taken(to)),
            },
        };
        let dir = to.parent().unwrap_or(Path::new("/"));
        if !dir.is_dir() {
            let why = format!("{} is no directory; make it first", dir.display());
            return Err(LandingError::Failed(why));
        }
        let unnamed = tempfile::Builder::new()
            .prefix(".afs-get-")
            .tempfile_in(dir)
            .map_err(|error| disk(to, &error))?;
        let (file, temporary) = NamedTempFile::into_parts(unnamed);
        file.set_permissions(Permissions::from_mode(mode & 0o777))
            .map_err(|error| disk(to, &error))?;
        Ok(Some(Self {
            to: to.to_owned(),
            file,
            temporary,
            id,
            replaces,
        }))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), LandingError> {
        self.file
            .write_all(bytes)
            .map_err(|error| disk(&self.to, &error))
    }

    /// Gives the whole file its name, durably.
    pub(super) fn settle(self) -> Result<(), LandingError> {
        let Self {
            to,
            file,
            temporary,
            id,
            replaces,
        } = self;
        let settle = || {
            if let Some(id) = &id {
                mark(&file, id);
            }
            file.sync_all()
        };
        settle().map_err(|error| disk(&to, &error))?;
        // Looked at again: somebody may have worked on it while this one was fetched.
        if replaces && landed(&to).is_some() {
            return temporary
                .persist(&to)
                .map_err(|error| disk(&to, &error.error));
        }
        temporary.persist_noclobber(&to).map_err(|error| {
            if error.error.kind() == io::ErrorKind::AlreadyExists {
                taken(&to)
            } else {
                disk(&to, &error.error)
            }
        })
    }
}

/// Which id landed here, where nobody has changed the file since.
fn landed(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)?;
    let mut buffer = vec![0; LONGEST];
    let length = rustix::fs::lgetxattr(path, MARK, &mut buffer[..]).ok()?;
    let text = String::from_utf8(buffer[..length].to_vec()).ok()?;
    let (id, rest) = text.split_once(' ')?;
    (rest == likeness(&metadata)).then(|| id.to_owned())
}

/// Notes on a landing what it is. Without it the next one is refused, and nothing else.
fn mark(file: &File, id: &str) {
    let marked = file.metadata().and_then(|metadata| {
        let text = format!("{id} {}", likeness(&metadata));
        Ok(rustix::fs::fsetxattr(
            file,
            MARK,
            text.as_bytes(),
            XattrFlags::empty(),
        )?)
    });
    if let Err(error) = marked {
        log::debug!("no note on what landed: {error}");
    }
}

fn likeness(metadata: &fs::Metadata) -> String {
    let mtime = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("{} {mtime}", metadata.len())
}

fn taken(to: &Path) -> LandingError {
    LandingError::Taken(format!(
        "{} is there already, and is not overwritten; to write elsewhere: -o PATH",
        to.display()
    ))
}

fn disk(to: &Path, error: &io::Error) -> LandingError {
    LandingError::Failed(format!("{} can't be written: {error}", to.display()))
}
