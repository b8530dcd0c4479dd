//! What `afs put`, `afs get` and `afs rm` ask: the same work, with the same promises, as copying into a mount, out of it,
//! and removing there.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{ApiError, Dialect, ErrorKind, FileId};
use crate::fs::{Caller, Fh, FsError, OpenFlags, PutError, Saving, Wish, WorkspaceFs};
use crate::state::{Pending, Placed, Row, State, Work};
use crate::store::Store;

use super::downloads::bring;
use super::files::{Files, Found};
use super::landing::{Landing, LandingError};
use super::named::{called, typed};
use super::protocol::Reply;
use super::{Get, Put, Say};

/// How often who waits is told how far it is.
const PACE: Duration = Duration::from_millis(50);

/// How much is read at a time.
pub(super) const PIECE: usize = 1 << 20;

/// How much of a file its media type is told by, where the name does not tell; bytes.
pub(super) const SNIFFED: u64 = 4096;

/// How long a deletion may take until its asker is told that it is under way still.
const DELETION: Duration = Duration::from_secs(60);

/// Between two looks at a deletion under way.
const SHORT: Duration = Duration::from_millis(10);

/// The files of a workspace, to be changed.
#[derive(Debug)]
pub struct Transfers<'a> {
    /// Its state.
    pub state: &'a State,
    /// Its copies.
    pub store: &'a Store,
    /// Its files.
    pub fs: &'a WorkspaceFs,
    /// What words stand for.
    pub files: Files<'a>,
    /// How it speaks to the service.
    pub dialect: Dialect,
}

impl Transfers<'_> {
    /// Saves a file of this machine under a name, and waits until the service has it or the save is reported as failed;
    /// then it stays in the outbox all the same.
    #[must_use]
    pub fn put(&self, put: &Put, say: Say<'_>) -> Reply {
        let failed =
            |why: &dyn ToString| Reply::failed(&format!("{}: {}", put.name, why.to_string()));
        if put.expires_in_seconds.is_some() && self.dialect == Dialect::Beta {
            return failed(
                &"the mount speaks the service's beta dialect, which has no expiry; mount it with --dialect ga",
            );
        }
        // What came under its name since is known then, and makes way.
        self.files.refresh();
        let source = match open_source(&put.path) {
            Ok(source) => source,
            Err(error) => return failed(&PutError::Source(error)),
        };
        let wish = Wish {
            name: &put.name,
            mime_type: put.mime_type.as_deref(),
            expires_in_seconds: put.expires_in_seconds,
        };
        let saving = match self.fs.put(&wish, source) {
            Ok(saving) => saving,
            Err(PutError::Fs(FsError::NameRefused)) => {
                return failed(&self.why_refused(&put.name));
            }
            Err(why) => return failed(&why_not_put(&why)),
        };
        if let Saving::Begun(placed) = &saving
            && let Err(error) = self.wait_for(placed, say)
        {
            return failed(&kept(&error));
        }
        let row = match self.state.lookup(&put.name) {
            Ok(Some(row)) => row,
            Ok(None) => return failed(&"it was removed as soon as it was there"),
            Err(error) => return failed(&error),
        };
        Reply::Stored {
            file: Box::new(self.files.entry(&row)),
            unchanged: matches!(saving, Saving::Unchanged),
        }
    }

    /// Why no file may have this name.
    fn why_refused(&self, name: &str) -> String {
        let why = self.state.style().filename(name).err();
        let why = why.map_or_else(|| sentence(FsError::NameRefused), |why| why.to_string());
        format!("{why}; or give it another with --name")
    }

    /// Waits for a save's fate, which does not depend on anybody's hearing of it.
    fn wait_for(&self, placed: &Placed, say: Say<'_>) -> Result<(), ApiError> {
        loop {
            if let Some(fate) = placed.ticket.wait(Some(Instant::now() + PACE)) {
                return fate;
            }
            let pending = self.state.pending();
            if let Some(save) = pending.iter().find(|save| save.record.seq == placed.seq)
                && let Work::Save { size, .. } = save.record.work
            {
                say(&Reply::Sending {
                    name: typed(self.state, &save.record.name),
                    done: save.sent,
                    size,
                });
            }
        }
    }

    /// Writes a file to this machine, in one step, over nothing but what was written so before.
    #[must_use]
    pub fn get(&self, get: &Get, say: Say<'_>) -> Reply {
        let row = match self.files.find(&get.what, true) {
            Ok(Found::Row(row)) => row,
            Ok(Found::Else(reply)) => return reply,
            Err(error) => return Reply::failed(&error),
        };
        let name = called(self.state, &row);
        let path = destination(&get.to, &name);
        match self.write_down((&path, get.mode), &row, &name, say) {
            Ok((size, unchanged)) => Reply::Got {
                name,
                path,
                size,
                unchanged,
            },
            Err(LandingError::Taken(why)) => Reply::Refused { why },
            Err(LandingError::Failed(why)) => Reply::failed(&format!("{name}: {why}")),
        }
    }

    /// Bytes of the file, and whether it was there already.
    fn write_down(
        &self,
        (path, mode): (&Path, u32),
        row: &Row,
        name: &str,
        say: Say<'_>,
    ) -> Result<(u64, bool), LandingError> {
        let id = row.id.as_ref().filter(|_| !self.state.is_pending(row.ino));
        let landing = Landing::at(path, mode, id)?;
        let Some(mut landing) = landing else {
            return Ok((row.size, true));
        };
        let failed = |why: String| LandingError::Failed(why);
        self.bring(row, name, say).map_err(failed)?;
        let flags = OpenFlags {
            read: true,
            ..OpenFlags::default()
        };
        let fh = self
            .fs
            .open(row.ino, flags, Caller::NOBODY)
            .map_err(|error| failed(why_unreadable(row, error)))?;
        let copied = self.copy(fh, &mut landing);
        self.fs.release(fh);
        let size = copied?;
        landing.settle()?;
        Ok((size, false))
    }

    /// Has the bytes on this machine that only the service has.
    fn bring(&self, row: &Row, name: &str, say: Say<'_>) -> Result<(), String> {
        let is_here = |id: &FileId| self.store.is_kept(id) || self.store.is_cached(id);
        match &row.id {
            Some(id)
                if row.downloadable
                    && row.size > 0
                    && !row.is_expired
                    && !is_here(id)
                    && !self.state.is_pending(row.ino) =>
            {
                bring(self.fs, name, id, row.size, say)
            }
            _ => Ok(()),
        }
    }

    fn copy(&self, fh: Fh, landing: &mut Landing) -> Result<u64, LandingError> {
        let mut size = 0;
        loop {
            let bytes = self
                .fs
                .read(fh, size, PIECE, Caller::NOBODY)
                .map_err(|error| LandingError::Failed(sentence(error)))?;
            if bytes.is_empty() {
                return Ok(size);
            }
            landing.write(&bytes)?;
            size += bytes.len() as u64;
        }
    }

    /// Deletes a file, and waits until the service has; with `purges` no copy of it stays on this machine.
    #[must_use]
    pub fn remove(&self, what: &str, purges: bool) -> Reply {
        let row = match self.files.find(what, true) {
            Ok(Found::Row(row)) => row,
            Ok(Found::Else(reply)) => return reply,
            Err(error) => return Reply::failed(&error),
        };
        let name = called(self.state, &row);
        match self.fs.remove(&row) {
            Ok(()) => {}
            Err(FsError::NotPermitted) => {
                return Reply::Refused {
                    why: format!(
                        "{name} is not deleted: too many files were deleted in a minute that nobody here could bring \
                         back; if that is no mistake: afs allow-deletes"
                    ),
                };
            }
            Err(error) => return Reply::failed(&format!("{name}: {}", sentence(error))),
        }
        let Some(id) = &row.id else {
            return Reply::Removed { name };
        };
        if let Err(why) = self.wait_until_deleted(id) {
            return Reply::failed(&format!(
                "{name} is gone from here, and its deletion at the service waits: {why}"
            ));
        }
        if purges && let Err(error) = self.purge(id) {
            return Reply::failed(&format!(
                "{name} is deleted, and a copy stays in the trash: {error}"
            ));
        }
        Reply::Removed { name }
    }

    fn wait_until_deleted(&self, gone: &FileId) -> Result<(), String> {
        let until = Instant::now() + DELETION;
        let is_of = |change: &&Pending| match &change.record.work {
            Work::Delete { id, .. } => id == gone,
            Work::Save { .. } => false,
        };
        loop {
            let pending = self.state.pending();
            let Some(change) = pending.iter().find(is_of) else {
                return Ok(());
            };
            if let Some(error) = &change.last_error {
                return Err(error.clone());
            }
            if change.on_hold {
                return Err("some program has it open".to_owned());
            }
            if Instant::now() >= until {
                return Err("the service has not answered; see afs pending".to_owned());
            }
            thread::park_timeout(SHORT);
        }
    }

    fn purge(&self, id: &FileId) -> io::Result<()> {
        for file in self.store.trashed()? {
            if id.as_str() == file.id {
                self.store.empty_trash(&file.key)?;
            }
        }
        // Pinned ones stay: somebody said so.
        let _ = self.store.evict_cached(id);
        Ok(())
    }
}

/// Where a file of this name goes: in a directory it has its own.
pub(super) fn destination(to: &Path, name: &str) -> PathBuf {
    // That of a session's file is a path.
    let own = Path::new(name).file_name();
    match own.filter(|_| to.is_dir()) {
        Some(own) => to.join(own),
        None => to.to_owned(),
    }
}

/// Opens what is to be saved. A named pipe would hang, a directory fail late and unclearly.
pub(super) fn open_source(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    must_be_file(&file.metadata()?)?;
    Ok(file)
}

/// What is saved are files.
pub fn must_be_file(found: &Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = if found.is_dir() {
        "it is a directory, and the service knows files only"
    } else {
        "it is no file"
    };
    Err(io::Error::other(what))
}

/// Why a save failed, and what becomes of it.
fn kept(error: &ApiError) -> String {
    let when = match error.kind {
        ErrorKind::StorageFull => "is sent when there is room",
        ErrorKind::Unauthorized => "is sent when the key is taken",
        _ if error.is_transient() => "is sent when it can be",
        _ => "stays here until you say more: afs pending",
    };
    format!("{}. It is safe on this machine and {when}", plainly(error))
}

/// What failed in the words of who did not make a request, and what was said, for who is asked for help.
pub(super) fn plainly(error: &ApiError) -> String {
    let why = match error.kind {
        ErrorKind::StorageFull => "the organisation's storage at the service is full",
        ErrorKind::Unauthorized => {
            "the service refuses the key: check ANTHROPIC_API_KEY, or the file given with --key-file"
        }
        ErrorKind::Forbidden => "the key may not do this",
        ErrorKind::RateLimited => "the service takes no more requests at present",
        ErrorKind::Unreachable => {
            "the service can't be reached: check the network, and the address"
        }
        kind if kind != ErrorKind::Body && error.is_transient() => "the service is in trouble",
        _ => return error.to_string(),
    };
    format!("{why} ({error})")
}

/// An error of the file system for people who did not make a system call.
fn sentence(error: FsError) -> String {
    match error {
        FsError::NameRefused => "the service would refuse this name".into(),
        FsError::NameTooLong => "the name is too long: 255 bytes are the most".into(),
        FsError::TooLarge => "it is larger than the service takes (500 MiB)".into(),
        FsError::DiskFull => "too little is free on the disk of the state directory".into(),
        FsError::ReadOnly => "the mount is read-only".into(),
        FsError::NotPermitted => "too many files were deleted in a minute that nobody here could bring back, and to replace \
             this one is to delete it; if that is no mistake: afs allow-deletes"
            .into(),
        FsError::Access => "by its name it is a thing of this system that nobody wants to have uploaded; to send it all \
             the same: --name"
            .into(),
        other => other.to_string(),
    }
}

/// Why a file is not saved.
pub(super) fn why_not_put(why: &PutError) -> String {
    match why {
        PutError::Fs(error) => sentence(*error),
        other => other.to_string(),
    }
}

/// Why a file's bytes can't be had.
fn why_unreadable(row: &Row, error: FsError) -> String {
    match error {
        FsError::Access if !row.downloadable => {
            "it was uploaded from elsewhere, and the service gives back only what tools made"
                .to_owned()
        }
        FsError::NotFound if row.is_expired => "it has expired at the service".to_owned(),
        other => sentence(other),
    }
}
