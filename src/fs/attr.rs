//! What `stat(2)`, `access(2)` and `statfs(2)` show, and what `utimensat(2)`, `truncate(2)` and their like change.

use crate::state::{Ino, Row};
use crate::store::Store;

use super::node::{Inner, Node};
use super::{
    Attr, Caller, Changes, Entry, Fh, FsError, Kind, OpenFlags, ROOT, Space, WorkspaceFs, now,
};

impl WorkspaceFs {
    /// stat(2). `Stale` when the inode is not in the directory any more and nobody has it open.
    pub fn getattr(&self, ino: Ino, fh: Option<Fh>) -> Result<Attr, FsError> {
        if let (true, Some(fh)) = (Self::is_live(ino), fh) {
            // What is read here was rendered when it was opened.
            return Ok(self.status_attr_of(self.handle(fh)?.node.shown().size));
        }
        if let Some(attr) = self.view_attr(ino)? {
            return Ok(attr);
        }
        if ino == ROOT {
            return Ok(self.directory_attr(ROOT));
        }
        match self.state.row(ino)? {
            Some(row) if row.is_shown() => Ok(self.row_attr(&row)),
            // A file whose name is gone lives on in its handles (fstat after unlink); by path it is stale.
            _ => {
                let node = match fh {
                    Some(fh) => self.handle(fh)?.node.clone(),
                    None => self.node(ino).ok_or(FsError::Stale)?,
                };
                let shown = node.shown();
                Ok(Attr {
                    nlink: 0,
                    size: shown.size,
                    mtime: shown.mtime,
                    ctime: shown.ctime,
                    ..self.file_attr(ino, true)
                })
            }
        }
    }

    /// Sets times and length. Owner, group and mode are fixed at mount: setting them is accepted and ignored, so that
    /// `cp -p` and rsync go through.
    pub fn setattr(
        &self,
        ino: Ino,
        fh: Option<Fh>,
        changes: Changes,
        caller: Caller,
    ) -> Result<Attr, FsError> {
        if changes == Changes::default() {
            return self.getattr(ino, fh);
        }
        self.must_be_writable()?;
        if ino == ROOT {
            // A directory's times are not kept anywhere; touch(1) of it does no harm.
            return match changes.size {
                Some(_) => Err(FsError::IsDirectory),
                None => self.getattr(ino, fh),
            };
        }
        if self.is_fixed(ino)? {
            return Err(FsError::ReadOnly);
        }
        if let Some(size) = changes.size {
            self.set_size(ino, fh, size, caller)?;
        }
        if changes.mtime.is_some() || changes.ctime.is_some() {
            self.set_times(ino, &changes)?;
        }
        self.getattr(ino, fh)
    }

    fn set_size(&self, ino: Ino, fh: Option<Fh>, size: u64, caller: Caller) -> Result<(), FsError> {
        let handle = match fh {
            Some(fh) => Some(self.handle(fh)?),
            None => None,
        };
        if let Some(handle) = handle {
            if !handle.flags.write {
                return Err(FsError::Invalid);
            }
            return self.truncate(&handle.node, size);
        }
        // truncate(2) by path: as an open, ftruncate and close would do it, but durable here is enough.
        let opened = self.open(
            ino,
            OpenFlags {
                write: true,
                truncate: size == 0,
                ..OpenFlags::default()
            },
            caller,
        )?;
        let result = self.handle(opened).and_then(|handle| {
            self.truncate(&handle.node, size)?;
            self.save_truncated(&handle.node)
        });
        self.release(opened);
        result
    }

    /// Saves what truncate(2) made of a file, unless somebody writes to it, whose close does.
    fn save_truncated(&self, node: &Node) -> Result<(), FsError> {
        if node.has_one_writer() {
            let when = self.after_close(node)?;
            self.save(node, when)?;
        }
        Ok(())
    }

    pub(super) fn truncate(&self, node: &Node, size: u64) -> Result<(), FsError> {
        self.change_size(node, |inner, store| inner.truncate(store, size, now()))
    }

    /// Changes a file's length, and its times in any case.
    pub(super) fn change_size(
        &self,
        node: &Node,
        change: impl FnOnce(&mut Inner, &Store) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let mut inner = node.lock();
        self.must_go_on()?;
        change(&mut inner, &self.store)?;
        self.note_draft(node.ino, &mut inner);
        if !inner.is_dirty {
            // Content is what it was: no save will bring the new times along.
            self.state.set_times(node.ino, inner.mtime, inner.ctime)?;
        }
        Ok(())
    }

    fn set_times(&self, ino: Ino, changes: &Changes) -> Result<(), FsError> {
        let node = self.node(ino);
        let (mtime, ctime) = match (&node, self.state.row(ino)?) {
            (Some(node), _) => {
                let mut inner = node.lock();
                inner.mtime = changes.mtime.unwrap_or(inner.mtime);
                inner.ctime = changes.ctime.unwrap_or_else(now);
                (inner.mtime, inner.ctime)
            }
            (None, Some(row)) => (
                changes.mtime.unwrap_or(row.mtime),
                changes.ctime.unwrap_or_else(now),
            ),
            (None, None) => return Err(FsError::Stale),
        };
        Ok(self.state.set_times(ino, mtime, ctime)?)
    }

    /// access(2), with the answers that opening would give.
    pub fn access(&self, ino: Ino, mask: i32) -> Result<(), FsError> {
        let attr = self.getattr(ino, None)?;
        let wanted = (mask & 0o7) as u16;
        let is_for_writing = wanted & libc::W_OK as u16 != 0;
        if is_for_writing && attr.kind == Kind::File && self.is_fixed(ino)? {
            return Err(FsError::ReadOnly);
        }
        // Everything belongs to one owner; the owner's bits are the answer. Root is held to them too: what is not here
        // can't be read by being root.
        if (attr.mode >> 6) & wanted != wanted {
            return Err(FsError::Access);
        }
        if is_for_writing {
            self.must_be_writable()?;
        }
        Ok(())
    }

    /// statfs(2).
    pub fn statfs(&self) -> Result<Space, FsError> {
        let (files, used) = self.state.totals()?;
        Ok(Space {
            total: self.settings.quota,
            used,
            files,
        })
    }

    /// The entry of a row under its name.
    pub(super) fn row_entry(&self, row: &Row) -> Entry {
        Entry {
            attr: self.row_attr(row),
            is_lasting: true,
        }
    }

    /// A row's attributes; a draft's where the file is being written.
    pub(super) fn row_attr(&self, row: &Row) -> Attr {
        let attr = Attr {
            size: row.size,
            mtime: row.mtime,
            ctime: row.ctime,
            ..self.file_attr(row.ino, false)
        };
        // What belongs to a session is not for writing.
        let kept_bits = if row.scope.is_some() { !0o222 } else { !0 };
        if let Some(node) = self.node(row.ino) {
            let shown = node.shown();
            return Attr {
                size: shown.size,
                mtime: shown.mtime,
                ctime: shown.ctime,
                mode: self.file_mode(!shown.is_remote || row.downloadable) & kept_bits,
                ..attr
            };
        }
        Attr {
            mode: self.file_mode(self.is_readable(row)) & kept_bits,
            ..attr
        }
    }

    /// Whether the file's bytes can be had: they are here, or the service gives them.
    pub(super) fn is_readable(&self, row: &Row) -> bool {
        row.downloadable
            || row.id.as_ref().is_some_and(|id| self.store.has(id))
            || self.state.is_pending(row.ino)
            // Of what others uploaded nothing is kept, and a listing may have thousands of those.
            || row.own && self.has_bytes(row).unwrap_or(false)
    }

    /// Whether the file's bytes are here for good: to be sent, or kept.
    pub(super) fn has_bytes(&self, row: &Row) -> Result<bool, FsError> {
        let is_kept = |row: &Row| row.id.as_ref().is_some_and(|id| self.store.is_kept(id));
        if self.state.is_pending(row.ino) || is_kept(row) {
            return Ok(true);
        }
        // What was pending may have been confirmed since the caller's row was read, and the copy under the old id be gone
        // by now.
        let now = self.state.row(row.ino)?;
        Ok(now.is_some_and(|now| is_kept(&now)))
    }

    fn file_attr(&self, ino: Ino, is_readable: bool) -> Attr {
        Attr {
            ino,
            kind: Kind::File,
            mode: self.file_mode(is_readable),
            nlink: 1,
            size: 0,
            mtime: 0,
            ctime: 0,
            uid: self.settings.uid,
            gid: self.settings.gid,
        }
    }

    fn file_mode(&self, is_readable: bool) -> u16 {
        let write = if self.settings.read_only { 0 } else { 0o222 };
        let read = if is_readable { 0o444 } else { 0 };
        (read | write) & !(self.settings.umask as u16)
    }

    pub(super) fn directory_attr(&self, ino: Ino) -> Attr {
        let write = if self.settings.read_only { 0 } else { 0o222 };
        Attr {
            kind: Kind::Directory,
            mode: (0o555 | write) & !(self.settings.umask as u16),
            nlink: 2,
            mtime: self.mounted_at,
            ctime: self.mounted_at,
            ..self.file_attr(ino, true)
        }
    }
}
