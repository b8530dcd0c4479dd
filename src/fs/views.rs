//! Views: read-only virtual directories under a hidden one. `.afs/by-id/FILE_ID` is a link to the file that an id
//! stands for: ids are what people find in prompts and tool results.
//!
//! `.afs` is found by lookup and not listed, so that nothing that walks through the workspace walks into it.

use std::ffi::OsStr;

use crate::api::{ApiError, ErrorKind, FileId};
use crate::state::{Ino, Row};

use super::{Attr, DirEntry, Entry, FsError, Kind, WorkspaceFs};

const BY_ID_NAME: &str = "by-id";

/// Virtual inodes live above every inode number the catalogue will ever reach.
const BASE: u64 = 1 << 62;

/// `.afs`
pub(super) const AFS: Ino = Ino(BASE + 1);

/// `.afs/by-id`
const BY_ID: Ino = Ino(BASE + 2);

/// The link to the catalogue's inode n is this plus n.
const LINKS: u64 = BASE + (1 << 61);

/// How many rows one step of a view's listing reads.
const BATCH: usize = 128;

impl WorkspaceFs {
    /// The attributes of a virtual inode; `None` when it is not one.
    pub(super) fn view_attr(&self, ino: Ino) -> Result<Option<Attr>, FsError> {
        if ino.0 < BASE {
            return Ok(None);
        }
        if ino == AFS || ino == BY_ID {
            return Ok(Some(self.view_directory_attr(ino)));
        }
        let row = self.linked_row(ino)?;
        Ok(Some(self.link_attr(&row)))
    }

    pub(super) fn view_entry(&self, ino: Ino) -> Result<Entry, FsError> {
        let attr = self.view_attr(ino)?.ok_or(FsError::NotFound)?;
        Ok(Entry {
            attr,
            is_lasting: false,
        })
    }

    /// A lookup below `.afs`. An id that the catalogue does not have is asked for at the service.
    pub(super) fn view_lookup(&self, parent: Ino, name: &OsStr) -> Result<Entry, FsError> {
        let name = name.to_str().ok_or(FsError::NotFound)?;
        match parent {
            AFS if name == BY_ID_NAME => self.view_entry(BY_ID),
            AFS => Err(FsError::NotFound),
            BY_ID => {
                let id = FileId::new(name);
                let known = self.state.row_of_id(&id)?;
                // One that a listing did not show any more is asked for as an unknown one is.
                let row = match known.filter(|row| row.name.is_some() || row.scope.is_some()) {
                    Some(row) => row,
                    None => self.learn(&id)?,
                };
                Ok(self.by_id_entry(&row))
            }
            _ => Err(FsError::NotDirectory),
        }
    }

    fn learn(&self, id: &FileId) -> Result<std::sync::Arc<Row>, FsError> {
        match self.api.metadata(id) {
            Ok(file) => self.refresher.learn(&file)?.ok_or(FsError::NotFound),
            Err(ApiError {
                kind: ErrorKind::NotFound | ErrorKind::Refused,
                ..
            }) => Err(FsError::NotFound),
            Err(error) => {
                log::warn!("{error}");
                Err((&error).into())
            }
        }
    }

    /// A link to the file's name, or the file itself where it has none (it belongs to a session).
    fn by_id_entry(&self, row: &Row) -> Entry {
        let attr = match row.name {
            Some(_) => self.link_attr(row),
            None => self.row_attr(row),
        };
        Entry {
            attr,
            is_lasting: false,
        }
    }

    /// readlink(2).
    pub fn readlink(&self, ino: Ino) -> Result<String, FsError> {
        if ino.0 < LINKS {
            return Err(FsError::Invalid);
        }
        let row = self.linked_row(ino)?;
        Ok(link_target(&row))
    }

    pub(super) fn view_readdir(
        &self,
        ino: Ino,
        offset: u64,
        add: &mut dyn FnMut(&DirEntry) -> bool,
    ) -> Result<(), FsError> {
        if ino != AFS && ino != BY_ID {
            return Err(FsError::NotDirectory);
        }
        for (at, name, leads_to) in [(1, ".", ino), (2, "..", AFS)] {
            if offset < at && !add(&self.dot_entry(at, name, leads_to)) {
                return Ok(());
            }
        }
        if ino == BY_ID {
            return self.list_ids(Ino(offset), add);
        }
        if offset < 3 {
            add(&DirEntry {
                offset: 3,
                name: BY_ID_NAME.to_owned(),
                entry: self.view_entry(BY_ID)?,
            });
        }
        Ok(())
    }

    fn list_ids(
        &self,
        mut after: Ino,
        add: &mut dyn FnMut(&DirEntry) -> bool,
    ) -> Result<(), FsError> {
        loop {
            let rows = self.state.list(after, BATCH)?;
            for row in &rows {
                after = row.ino;
                // An id with a slash is reachable by its file's name only.
                let Some(id) = row.id.as_ref().filter(|id| !id.as_str().contains('/')) else {
                    continue;
                };
                let entry = DirEntry {
                    offset: row.ino.0,
                    name: id.to_string(),
                    entry: self.by_id_entry(row),
                };
                if !add(&entry) {
                    return Ok(());
                }
            }
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn linked_row(&self, ino: Ino) -> Result<std::sync::Arc<Row>, FsError> {
        let ino = ino.0.checked_sub(LINKS).ok_or(FsError::Stale)?;
        self.state
            .row(Ino(ino))?
            .filter(|row| row.name.is_some())
            .ok_or(FsError::Stale)
    }

    fn link_attr(&self, row: &Row) -> Attr {
        Attr {
            ino: Ino(LINKS + row.ino.0),
            kind: Kind::Symlink,
            mode: 0o777,
            nlink: 1,
            size: link_target(row).len() as u64,
            ..self.row_attr(row)
        }
    }

    fn view_directory_attr(&self, ino: Ino) -> Attr {
        let attr = self.directory_attr(ino);
        Attr {
            mode: attr.mode & !0o222,
            ..attr
        }
    }
}

/// Where a link in `.afs/by-id/` leads.
fn link_target(row: &Row) -> String {
    format!("../../{}", row.name.as_deref().unwrap_or_default())
}
