//! The one directory: lookup, readdir(3), unlink(2), rename(2). None of these waits for the network.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::sync::Arc;

use crate::api::mime_type_of;
use crate::names::{self, NameKind};
use crate::state::{Ino, Renaming, Row, When};

use super::content::Content;
use super::node::Inner;
use super::pending::throw_away_record;
use super::{Caller, DirEntry, Entry, FsError, ROOT, RenameMode, WorkspaceFs, now, views};

/// How many rows one step of a directory listing reads.
const BATCH: usize = 128;

impl WorkspaceFs {
    /// What `name` leads to. A name that is not known starts a refresh in the background: it may be new.
    pub fn lookup(&self, parent: Ino, name: &OsStr, caller: Caller) -> Result<Entry, FsError> {
        if parent != ROOT {
            return self.view_lookup(parent, name, caller);
        }
        if name.len() > names::MAX_NAME {
            return Err(FsError::NameTooLong);
        }
        // Every directory name is UTF-8; another one can't be here.
        let name = name.to_str().ok_or(FsError::NotFound)?;
        if name == names::VIEWS {
            return self.view_entry(views::AFS);
        }
        if let Some(row) = self.state.lookup(name)? {
            return Ok(self.row_entry(&row));
        }
        self.name_missed(name);
        Err(FsError::NotFound)
    }

    /// A name that is not known was asked for.
    pub(super) fn name_missed(&self, name: &str) {
        if self.may_be_new(name) {
            self.refresher.name_missed();
        }
    }

    /// Whether it says anything that a name is asked for: programs look for some everywhere.
    pub(super) fn may_be_new(&self, name: &str) -> bool {
        !name.starts_with('.') && self.settings.names.kind_of(name) == NameKind::Ordinary
    }

    /// opendir(3): refreshes the listing when it is due.
    pub fn opendir(&self, ino: Ino, caller: Caller) -> Result<(), FsError> {
        if ino == ROOT {
            self.refresh_root(caller)
        } else {
            self.view_opendir(ino, caller)
        }
    }

    /// Entries after `offset`, in their lasting order, to `add` until it returns false (its buffer is full). An entry's
    /// offset is its inode number, so a listing goes on at the right place whatever came or went meanwhile.
    pub fn readdir(
        &self,
        ino: Ino,
        offset: u64,
        add: &mut dyn FnMut(&DirEntry) -> bool,
    ) -> Result<(), FsError> {
        if ino != ROOT {
            return self.view_readdir(ino, offset, add);
        }
        for (at, name) in [(1, "."), (2, "..")] {
            if offset < at && !add(&self.dot_entry(at, name, ROOT)) {
                return Ok(());
            }
        }
        let mut after = Ino(offset);
        loop {
            let rows = self.state.list(after, BATCH)?;
            for row in &rows {
                let entry = DirEntry {
                    offset: row.ino.0,
                    name: row.name.clone().unwrap_or_default(),
                    entry: self.row_entry(row),
                };
                if !add(&entry) {
                    return Ok(());
                }
                after = row.ino;
            }
            if rows.len() < BATCH {
                return Ok(());
            }
        }
    }

    pub(super) fn dot_entry(&self, offset: u64, name: &str, ino: Ino) -> DirEntry {
        DirEntry {
            offset,
            name: name.to_owned(),
            entry: Entry {
                attr: self.directory_attr(ino),
                is_lasting: false,
            },
        }
    }

    /// unlink(2): durable here when it returns; the service's copy is deleted soon after.
    pub fn unlink(&self, parent: Ino, name: &OsStr) -> Result<(), FsError> {
        // That nothing may be removed is said before what there is not.
        self.must_be_writable()?;
        let row = match self.row_in_session(parent, name)? {
            Some(row) => row,
            None => self.row_named(parent, name)?,
        };
        self.remove(&row)
    }

    /// The same of a file that is known.
    pub fn remove(&self, row: &Row) -> Result<(), FsError> {
        self.must_be_writable()?;
        self.must_be_expendable(row)?;
        let node = self.node(row.ino);
        let mut inner = node.as_ref().map(|node| node.lock());
        if let Some(inner) = &mut inner {
            self.hold_what_is_read(inner);
        }
        self.throw_away_unsent(row);
        let cleanup = self.state.unlink(row.ino)?;
        if let Some(inner) = &mut inner {
            inner.is_unlinked = true;
        }
        drop(inner);
        self.store.drop_stages(&cleanup);
        Ok(())
    }

    /// Brings content to the trash that is about to go with its name, and that the service cannot have. What programs make
    /// for themselves, and what is empty, is nobody's loss. A disk that is full is no reason not to remove: that is what
    /// people do then.
    fn throw_away_unsent(&self, row: &Row) {
        let is_ordinary = |name: &String| self.settings.names.kind_of(name) == NameKind::Ordinary;
        if !row.name.as_ref().is_some_and(is_ordinary) {
            return;
        }
        let Some(record) = self.state.unsent(row.ino) else {
            return;
        };
        if let Err(error) = throw_away_record(&self.state, &self.store, &record) {
            let name = &record.name;
            log::warn!(
                "{name} was never sent, and is removed without a copy in the trash: {error}"
            );
        }
    }

    /// mkdir(2), mknod(2), symlink(2), link(2): the service knows files only.
    #[must_use]
    pub fn refuse_to_make(parent: Ino) -> FsError {
        if parent == ROOT {
            FsError::NotPermitted
        } else {
            FsError::ReadOnly
        }
    }

    /// rmdir(2): there is no directory that could be removed.
    pub fn rmdir(&self, parent: Ino, name: &OsStr) -> Result<(), FsError> {
        match self.row_named(parent, name) {
            Ok(_) => Err(FsError::NotDirectory),
            Err(error) => Err(error),
        }
    }

    /// fsync(2) of the directory: everything it shows is durable on this machine.
    pub fn fsyncdir(&self) -> Result<(), FsError> {
        Ok(self.state.sync()?)
    }

    /// rename(2). What is only here is renamed here and uploaded once, under the final name. A file the service has is
    /// uploaded again under the new name from the bytes kept here and its old id deleted then: the service has no
    /// rename.
    pub fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        mode: RenameMode,
    ) -> Result<(), FsError> {
        self.must_be_writable()?;
        if new_parent != ROOT {
            return Err(FsError::ReadOnly);
        }
        let row = self.row_named(parent, name)?;
        let (new_name, kind) = self.new_name(new_name)?;
        let over = self.state.lookup(new_name)?;
        if over.is_some() && mode == RenameMode::NoReplace {
            return Err(FsError::Exists);
        }
        if over.as_ref().is_some_and(|over| over.ino == row.ino) {
            return Ok(());
        }
        let node = self.node(row.ino);
        if let Some(node) = &node {
            // What a writer has not closed yet goes out under the new name, and only so.
            self.seal_on_hold(node)?;
        }
        let _stay = self.store.let_kept_stay();
        self.must_be_renamable(&row)?;
        if let Some(over) = &over {
            self.must_be_expendable(over)?;
        }
        let mime_type = mime_type_of(new_name, &self.head_of(&row), &self.settings.mime_overrides);
        let size = node.as_ref().map_or(row.size, |node| node.shown().size);
        // A name that the service has is a file's, whatever it looks like.
        let is_scratch = kind == NameKind::Scratch && over.as_ref().is_none_or(|over| over.scratch);
        let when = if is_scratch {
            When::Never
        } else {
            self.when_quiet(new_name, size)
        };
        let over_node = over.as_ref().and_then(|over| self.node(over.ino));
        // Locked over the change, so that its writers find both their name and their row gone, or neither.
        let mut over_inner = over_node.as_ref().map(|node| node.lock());
        if let Some(inner) = &mut over_inner {
            self.hold_what_is_read(inner);
        }
        let staged = OnceCell::new();
        let renamed = self.state.rename(&Renaming {
            ino: row.ino,
            name: new_name,
            mime_type: &mime_type,
            over: over.as_ref().map(|over| over.ino),
            when,
            stage: &|held| {
                let stage = self.store.stage_again(held)?;
                Ok(staged.get_or_init(|| stage).clone())
            },
            ctime: now(),
        });
        if let (Err(_), Some(stage)) = (&renamed, staged.get()) {
            self.store.drop_stage(stage);
        }
        let cleanup = renamed?;
        if let Some(node) = node.filter(|_| row.scratch) {
            // A scratch file's close waits for nobody; now there is something to wait for.
            node.lock().ticket = self.state.newest_ticket(row.ino);
        }
        if let Some(inner) = &mut over_inner {
            inner.is_unlinked = true;
        }
        self.store.drop_stages(&cleanup);
        Ok(())
    }

    /// Bytes that only the service has and somebody has open are deleted there after their last close.
    pub(super) fn hold_what_is_read(&self, inner: &mut Inner) {
        if let Content::Remote(id, _) = &inner.content {
            self.state.hold_delete(id);
            inner.deleted_at_close = Some(id.clone());
        }
    }

    /// Whether the file can be put at the service under another name: its bytes must be here.
    fn must_be_renamable(&self, row: &Row) -> Result<(), FsError> {
        if row.id.is_none() || self.has_bytes(row)? {
            return Ok(());
        }
        let name = row.name.as_deref().unwrap_or_default();
        if row.downloadable {
            log::warn!(
                "{name} was not renamed: it was made by a tool, and uploaded again under another name the service \
                 would never give it back"
            );
        } else {
            log::warn!(
                "{name} was not renamed: the service has no rename, and its bytes are not on this machine"
            );
        }
        Err(FsError::NotPermitted)
    }

    /// A name that a new file may have, and its kind. That it is too long is said before anything else (POSIX, pathname
    /// resolution).
    pub(super) fn new_name<'a>(&self, name: &'a OsStr) -> Result<(&'a str, NameKind), FsError> {
        if name.len() > names::MAX_NAME {
            return Err(FsError::NameTooLong);
        }
        let name = name.to_str().ok_or(FsError::NameRefused)?;
        if name == names::VIEWS {
            return Err(FsError::Exists);
        }
        if let Err(error) = self.state.style().filename(name) {
            log::warn!("{name:?} can't be the name of a file: {error}");
            return Err(error.into());
        }
        match self.settings.names.kind_of(name) {
            NameKind::Junk => Err(FsError::Access),
            kind => Ok((name, kind)),
        }
    }

    /// The file under a name of the root; views are not for changing.
    pub(super) fn row_named(&self, parent: Ino, name: &OsStr) -> Result<Arc<Row>, FsError> {
        if parent != ROOT {
            return Err(FsError::ReadOnly);
        }
        if name.len() > names::MAX_NAME {
            return Err(FsError::NameTooLong);
        }
        let name = name.to_str().ok_or(FsError::NotFound)?;
        if name == names::VIEWS {
            return Err(FsError::NotPermitted);
        }
        self.state.lookup(name)?.ok_or(FsError::NotFound)
    }
}
