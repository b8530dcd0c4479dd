//! Views: virtual directories under a hidden one, for looking and not for writing.
//!
//! - `.afs/by-id/FILE_ID`: a link to the file that an id stands for (`links`)
//! - `.afs/outputs/NAME`: a link to each file that the service gives back (`links`)
//! - `.afs/sessions/SESSION_ID/`: the files of a session (`sessions`)
//! - `.afs/status.json`: what `afs status --json` says of this mount (`status`)
//!
//! `.afs` is found by lookup and not listed, so that nothing that walks through the workspace walks into it.

mod links;
mod sessions;
mod status;

use std::ffi::OsStr;
use std::sync::Arc;

use crate::state::{Ino, Row};

use super::asking::ask;
use super::{Attr, Caller, DirEntry, Entry, FsError, Kind, ROOT, WorkspaceFs};

pub(super) use sessions::SessionDirs;
pub(super) use status::Status;

/// Virtual inodes live above every inode number the catalogue will ever reach.
const BASE: u64 = 1 << 62;

/// `.afs`
pub(super) const AFS: Ino = Ino(BASE + 1);

/// `.afs/by-id`
const BY_ID: Ino = Ino(BASE + 2);

/// `.afs/outputs`
const OUTPUTS: Ino = Ino(BASE + 3);

/// `.afs/sessions`
const SESSIONS: Ino = Ino(BASE + 4);

/// `.afs/status.json`
const STATUS: Ino = Ino(BASE + 5);

/// What `.afs` holds.
const FIXED: [(&str, Ino); 4] = [
    ("by-id", BY_ID),
    ("outputs", OUTPUTS),
    ("sessions", SESSIONS),
    ("status.json", STATUS),
];

/// The directory of the n-th session that was asked for is this plus n.
const SESSION_DIRS: u64 = BASE + (1 << 60);

/// The link to the catalogue's inode n is this plus n, in whichever view it stands.
const LINKS: u64 = BASE + (1 << 61);

/// How many rows one step of a view's listing reads.
const BATCH: usize = 128;

/// What a virtual inode number stands for.
enum View {
    /// `.afs` and the directories in it.
    Directory,
    /// A session's directory; which session.
    Session(Arc<str>),
    /// `.afs/status.json`
    Status,
    /// A link to a file of the root.
    Link(Arc<Row>),
}

/// Told an entry; `false` when there is no room for it.
type Add<'a> = &'a mut dyn FnMut(&DirEntry) -> bool;

impl WorkspaceFs {
    /// What is behind a virtual inode; `None` when it is not one.
    fn view(&self, ino: Ino) -> Result<Option<View>, FsError> {
        if ino.0 < BASE {
            return Ok(None);
        }
        Ok(Some(match ino {
            AFS | BY_ID | OUTPUTS | SESSIONS => View::Directory,
            STATUS => View::Status,
            Ino(SESSION_DIRS..LINKS) => View::Session(self.session_of(ino)?),
            _ => View::Link(self.linked_row(ino)?),
        }))
    }

    /// The attributes of a virtual inode; `None` when it is not one.
    pub(super) fn view_attr(&self, ino: Ino) -> Result<Option<Attr>, FsError> {
        let Some(view) = self.view(ino)? else {
            return Ok(None);
        };
        Ok(Some(match view {
            View::Directory => {
                let attr = self.directory_attr(ino);
                Attr {
                    mode: attr.mode & !0o222,
                    ..attr
                }
            }
            // What is in it can be removed.
            View::Session(_) => self.directory_attr(ino),
            View::Status => self.status_attr()?,
            View::Link(row) => self.link_attr(&row),
        }))
    }

    pub(super) fn view_entry(&self, ino: Ino) -> Result<Entry, FsError> {
        let attr = self.view_attr(ino)?.ok_or(FsError::NotFound)?;
        Ok(Entry {
            attr,
            is_lasting: false,
        })
    }

    /// A lookup below `.afs`. What is not known here may be asked for at the service.
    pub(super) fn view_lookup(
        &self,
        parent: Ino,
        name: &OsStr,
        caller: Caller,
    ) -> Result<Entry, FsError> {
        let name = name.to_str().ok_or(FsError::NotFound)?;
        match parent {
            AFS => {
                let found = FIXED.iter().find(|(fixed, _)| *fixed == name);
                self.view_entry(found.ok_or(FsError::NotFound)?.1)
            }
            BY_ID => self.lookup_id(name, caller),
            OUTPUTS => self.lookup_output(name),
            SESSIONS => self.lookup_session(name, caller),
            _ => match self.view(parent)? {
                Some(View::Session(session)) => self.lookup_scoped(&session, name, caller),
                _ => Err(FsError::NotDirectory),
            },
        }
    }

    /// opendir(3) below `.afs`: refreshes what is listed there when that is due.
    pub(super) fn view_opendir(&self, ino: Ino, caller: Caller) -> Result<(), FsError> {
        match self.view(ino)? {
            Some(View::Directory) if ino == BY_ID || ino == OUTPUTS => self.refresh_root(caller),
            Some(View::Directory) if ino == SESSIONS => self.learn_sessions(),
            Some(View::Directory) => Ok(()),
            Some(View::Session(session)) => self.refresh_session(&session, caller),
            Some(View::Status | View::Link(_)) | None => Err(FsError::NotDirectory),
        }
    }

    /// Refreshes the root's listing when it is due, and waits as long as people do.
    pub(super) fn refresh_root(&self, caller: Caller) -> Result<(), FsError> {
        if self.refresher.directory_opened(&|| caller.is_dying()) {
            return Err(FsError::Interrupted);
        }
        Ok(())
    }

    pub(super) fn view_readdir(&self, ino: Ino, offset: u64, add: Add<'_>) -> Result<(), FsError> {
        let view = self.view(ino)?.ok_or(FsError::NotDirectory)?;
        let parent = match &view {
            View::Directory if ino == AFS => ROOT,
            View::Directory => AFS,
            View::Session(_) => SESSIONS,
            View::Status | View::Link(_) => return Err(FsError::NotDirectory),
        };
        for (at, name, leads_to) in [(1, ".", ino), (2, "..", parent)] {
            if offset < at && !add(&self.dot_entry(at, name, leads_to)) {
                return Ok(());
            }
        }
        match view {
            View::Session(session) => self.list_scoped(&session, Ino(offset), add),
            _ if ino == BY_ID => self.list_ids(Ino(offset), add),
            _ if ino == OUTPUTS => self.list_outputs(Ino(offset), add),
            _ if ino == SESSIONS => self.list_sessions(offset, add),
            _ => self.list_fixed(offset, add),
        }
    }

    /// Behind the dots, in the order of [`FIXED`].
    fn list_fixed(&self, offset: u64, add: Add<'_>) -> Result<(), FsError> {
        for (at, (name, ino)) in (3..).zip(FIXED) {
            if offset >= at {
                continue;
            }
            let entry = DirEntry {
                offset: at,
                name: name.to_owned(),
                entry: self.fixed_entry(ino)?,
            };
            if !add(&entry) {
                break;
            }
        }
        Ok(())
    }

    /// An entry of [`FIXED`] for a listing. Who wants to know the status's size asks for it: listing renders nothing.
    fn fixed_entry(&self, ino: Ino) -> Result<Entry, FsError> {
        if ino != STATUS {
            return self.view_entry(ino);
        }
        Ok(Entry {
            attr: self.status_attr_of(0),
            is_lasting: false,
        })
    }

    /// Entries of a directory of files, each at its inode number, so that a listing goes on at the right place whatever
    /// came or went meanwhile. `rows` reads some after a number, `entry` makes what is shown of one.
    fn list_rows(
        mut after: Ino,
        rows: impl Fn(Ino) -> Result<Vec<Row>, FsError>,
        entry: impl Fn(&Row) -> Option<(String, Entry)>,
        add: Add<'_>,
    ) -> Result<(), FsError> {
        loop {
            let some = rows(after)?;
            for row in &some {
                after = row.ino;
                let Some((name, entry)) = entry(row) else {
                    continue;
                };
                let offset = row.ino.0;
                if !add(&DirEntry {
                    offset,
                    name,
                    entry,
                }) {
                    return Ok(());
                }
            }
            if some.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Whether this is in a view or a file that only a view shows: then nothing about it can be changed.
    pub(super) fn is_fixed(&self, ino: Ino) -> Result<bool, FsError> {
        Ok(ino.0 >= BASE || self.state.row(ino)?.is_some_and(|row| row.scope.is_some()))
    }
}
