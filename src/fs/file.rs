//! Open files: open(2), read(2), write(2) and the end of a handle.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;

use crate::api::{ApiError, ErrorKind, FileId, mime_type_of, on_behalf_of};
use crate::names::NameKind;
use crate::state::{Ino, PendingBody, Row, When};
use crate::store::{FetchError, Fetched};

use super::asking::ask;
use super::content::Content;
use super::node::{Local, Node};
use super::{Caller, Entry, Fh, FsError, OpenFlags, Place, ROOT, WorkspaceFs, lock, now};

/// How much of a file its media type is told by, where the name does not tell.
pub(super) const SNIFFED: usize = 4096;

impl WorkspaceFs {
    /// creat(2): a new file, local until its first close.
    pub fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        flags: OpenFlags,
        caller: Caller,
    ) -> Result<(Entry, Fh), FsError> {
        if parent != ROOT {
            return Err(FsError::ReadOnly);
        }
        self.must_be_writable()?;
        let (name, kind) = self.new_name(name)?;
        let row = match self.create_row(name, kind == NameKind::Scratch) {
            Ok(row) => row,
            // The kernel asks for a new file only where it knows of none; a listing may have brought the name in since.
            Err(error) => match self.state.lookup(name)? {
                Some(_) if flags.exclusive => return Err(FsError::Exists),
                Some(row) => {
                    let fh = self.open(row.ino, flags, caller)?;
                    return Ok((self.row_entry(&row), fh));
                }
                None => return Err(error),
            },
        };
        let node = Node::new(
            row.ino,
            Content::Memory(Vec::new()),
            0,
            row.mtime,
            row.ctime,
        );
        node.lock().is_dirty = true;
        // Whatever it is opened for, its close makes it durable: flock(1) creates its file for reading.
        let flags = OpenFlags {
            truncate: true,
            ..flags
        };
        let node = self.enter(Arc::new(node), flags);
        let fh = self.add_handle(node, flags, caller);
        Ok((self.row_entry(&row), fh))
    }

    fn create_row(&self, name: &str, is_scratch: bool) -> Result<Arc<Row>, FsError> {
        self.store.must_have_room(0)?;
        let mime_type = mime_type_of(name, &[], &self.settings.mime_overrides);
        Ok(self.state.create(name, &mime_type, is_scratch, now())?)
    }

    /// open(2). Fails at once where the bytes can't be had; waits where a part of a file that only the service has is
    /// to be changed.
    pub fn open(&self, ino: Ino, flags: OpenFlags, caller: Caller) -> Result<Fh, FsError> {
        if Self::is_live(ino) {
            return self.open_status(flags, caller);
        }
        let row = self.state.row(ino)?.ok_or(FsError::Stale)?;
        if !row.is_shown() {
            return Err(FsError::Stale);
        }
        if flags.changes() {
            self.must_be_writable()?;
            if row.scope.is_some() {
                return Err(FsError::ReadOnly);
            }
        }
        let node = match self.enter_open(ino, flags) {
            Some(node) => node,
            None => self.enter(self.new_node(&row, flags)?, flags),
        };
        let fh = self.add_handle(Arc::clone(&node), flags, caller);
        if let Err(error) = self.prepare(&node, flags, caller) {
            self.release(fh);
            return Err(error);
        }
        Ok(fh)
    }

    /// Whether open(2) takes as long as reading the whole file does: its kept copy is in doubt.
    #[must_use]
    pub fn opens_slowly(&self, ino: Ino) -> bool {
        let row = self.state.row(ino).ok().flatten();
        row.is_some_and(|row| {
            let id = row.id.as_ref();
            id.is_some_and(|id| self.store.must_compare(id, &(&*row).into()))
        })
    }

    /// Makes content ready for what it is opened for.
    fn prepare(&self, node: &Node, flags: OpenFlags, caller: Caller) -> Result<(), FsError> {
        if flags.changes() {
            self.must_not_be_lent(node)?;
            if !self.is_named(node.ino)? {
                // A listing moved the file away before it was known to be written.
                return Err(FsError::Stale);
            }
        }
        if flags.truncate {
            self.truncate(node, 0)
        } else if flags.write {
            self.bring_here(node, caller)
        } else {
            Ok(())
        }
    }

    fn is_named(&self, ino: Ino) -> Result<bool, FsError> {
        Ok(self.state.row(ino)?.is_some_and(|row| row.name.is_some()))
    }

    /// A node for a file that is not open yet.
    fn new_node(&self, row: &Row, flags: OpenFlags) -> Result<Arc<Node>, FsError> {
        let content = match self.content_of(row) {
            // A whole replacement needs nothing of what it replaces.
            Err(FsError::Access | FsError::Io | FsError::NotFound) if flags.truncate => {
                Content::Bytes(Arc::new(Vec::new()))
            }
            content => content?,
        };
        let is_unsaved = matches!(content, Content::Memory(_));
        let is_lent = self.may_lend(row, flags, &content);
        let node = Node::new(row.ino, content, row.size, row.mtime, row.ctime);
        node.lock().is_dirty = is_unsaved;
        Ok(Arc::new(if is_lent { node.lending() } else { node }))
    }

    /// Counts a handle in where the inode is open already.
    fn enter_open(&self, ino: Ino, flags: OpenFlags) -> Option<Arc<Node>> {
        let nodes = lock(&self.nodes);
        let node = nodes.get(&ino)?;
        node.count_in(flags);
        Some(Arc::clone(node))
    }

    /// Counts a handle in, and makes the node the inode's, unless somebody was faster.
    fn enter(&self, node: Arc<Node>, flags: OpenFlags) -> Arc<Node> {
        let mut nodes = lock(&self.nodes);
        let node = Arc::clone(nodes.entry(node.ino).or_insert(node));
        node.count_in(flags);
        node
    }

    /// Where a file's bytes are, newest first: not yet confirmed, local copy, service.
    fn content_of(&self, row: &Row) -> Result<Content, FsError> {
        let mut seen = None;
        loop {
            match self.state.pending_body(row.ino)? {
                Some(PendingBody::Inline(bytes)) => return Ok(Content::Bytes(Arc::new(bytes))),
                Some(PendingBody::Staged(name)) => match self.store.open_staged(&name) {
                    Ok(file) => return Ok(Content::Copy(Arc::new(file))),
                    // Confirmed between the two looks: its bytes are kept under the new id now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                },
                None => {}
            }
            // Looked up again: the record may have been confirmed since the caller's row was read.
            let row = self.state.row(row.ino)?.ok_or(FsError::Stale)?;
            let Some(id) = &row.id else {
                // Created, and never saved: its first save failed, or it is being created just now.
                return Ok(Content::Memory(Vec::new()));
            };
            match self.store.open_copy(id, row.size, &(&*row).into()) {
                Ok(Some(file)) => return Ok(Content::Copy(file)),
                Ok(None) if row.is_expired => {
                    log::info!("{} ({id}) has expired at the service", row.filename);
                    return Err(FsError::NotFound);
                }
                Ok(None) if row.downloadable => return Ok(Content::Remote(id.clone(), None)),
                // Replaced between the two looks, and the copies of the old id thrown away.
                Ok(None) | Err(_) if seen.as_ref() != Some(id) => seen = Some(id.clone()),
                Ok(None) => return Err(FsError::Access),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The first bytes of a file, by which its media type is told where its name does not tell; none where they are not
    /// here.
    pub(super) fn head_of(&self, row: &Row) -> Vec<u8> {
        let local = match self.node(row.ino) {
            Some(node) => node.read_local(0, SNIFFED),
            None => self.content_of(row).and_then(|content| {
                Node::new(row.ino, content, row.size, row.mtime, row.ctime).read_local(0, SNIFFED)
            }),
        };
        match local {
            Ok(Local::Data(head)) => head,
            Ok(Local::Elsewhere(..) | Local::Arriving(..)) | Err(_) => Vec::new(),
        }
    }

    /// read(2) as far as it can be answered at once; `None` when the bytes are at the service still.
    pub fn read_now(&self, fh: Fh, offset: u64, size: usize) -> Result<Option<Vec<u8>>, FsError> {
        let handle = self.handle(fh)?;
        match handle.node.try_read_local(offset, size).transpose()? {
            Some(Local::Data(data)) => Ok(Some(data)),
            Some(Local::Arriving(_, reading)) => Ok(reading.read_now(offset, size).transpose()?),
            Some(Local::Elsewhere(..)) | None => Ok(None),
        }
    }

    /// read(2). The first read of a file that only the service has begins to fetch it; each is answered as soon as its
    /// bytes are here.
    pub fn read(
        &self,
        fh: Fh,
        offset: u64,
        size: usize,
        caller: Caller,
    ) -> Result<Vec<u8>, FsError> {
        let node = &self.handle(fh)?.node;
        loop {
            match node.read_local(offset, size)? {
                Local::Data(data) => return Ok(data),
                Local::Elsewhere(id, size) => self.begin_fetch(node, &id, size, caller)?,
                Local::Arriving(id, reading) => {
                    if self.has_expired(node, &id)? {
                        // What of it is here was asked for already.
                        return Err(FsError::NotFound);
                    }
                    let read = reading.read(offset, size, &|| caller.is_dying());
                    return read.map_err(|error| self.unreadable(node.ino, &id, &error, caller));
                }
            }
        }
    }

    /// Fetches all of what only the service has, for as long as the caller lives.
    fn bring_here(&self, node: &Node, caller: Caller) -> Result<(), FsError> {
        loop {
            match node.read_local(0, 0)? {
                Local::Data(_) => return Ok(()),
                Local::Elsewhere(id, size) => self.begin_fetch(node, &id, size, caller)?,
                Local::Arriving(id, reading) => match reading.whole(&|| caller.is_dying()) {
                    Ok(file) => node.fetched(&id, Fetched::Here(file)),
                    Err(error) => return Err(self.unreadable(node.ino, &id, &error, caller)),
                },
            }
        }
    }

    fn begin_fetch(
        &self,
        node: &Node,
        id: &FileId,
        size: u64,
        caller: Caller,
    ) -> Result<(), FsError> {
        if self.has_expired(node, id)? {
            return Err(FsError::NotFound);
        }
        match self.fetch_copy(id, size) {
            Ok(fetched) => {
                node.fetched(id, fetched);
                Ok(())
            }
            Err(error) => Err(self.unreadable(node.ino, id, &error, caller)),
        }
    }

    /// Whether the service has said that it gave the file's bytes up. The kernel asks again where a read fails; the service
    /// need not be.
    fn has_expired(&self, node: &Node, id: &FileId) -> Result<bool, FsError> {
        let row = self.state.row(node.ino)?;
        Ok(row.is_some_and(|row| row.is_expired && row.id.as_ref() == Some(id)))
    }

    /// Why a read of what only the service has fails.
    fn unreadable(&self, ino: Ino, id: &FileId, error: &FetchError, caller: Caller) -> FsError {
        if matches!(error, FetchError::GivenUp) {
            return FsError::Interrupted;
        }
        log::warn!("{id} could not be read: {error}");
        if error.is_contradiction() {
            lock(&self.doubtful).insert(ino);
        }
        if let FetchError::Api(ApiError {
            kind: ErrorKind::Expired,
            ..
        }) = error
        {
            // Nobody need ask again.
            if let Err(error) = self.state.set_expired(id) {
                log::warn!("{error}");
            }
        }
        self.explain(id, error, caller)
    }

    /// Whether the kernel may keep the pages that it has of a file: not at the first open after they were found to be in
    /// doubt.
    #[must_use]
    pub fn trusts_pages(&self, ino: Ino) -> bool {
        !lock(&self.doubtful).remove(&ino)
    }

    /// An answer that contradicts the listing earns one more question: is the file still there?
    fn explain(&self, id: &FileId, error: &FetchError, caller: Caller) -> FsError {
        match error {
            FetchError::WrongLength { .. }
            | FetchError::Changed { .. }
            | FetchError::Api(ApiError {
                kind: ErrorKind::NotFound | ErrorKind::NotDownloadable,
                ..
            }) => {
                self.refresher.name_missed();
                let (api, id) = (Arc::clone(&self.api), id.clone());
                match ask(caller, move || api.metadata(&id)) {
                    Err(not_asked) => not_asked,
                    Ok(Err(ApiError {
                        kind: ErrorKind::NotFound,
                        ..
                    })) => FsError::Stale,
                    Ok(Err(_) | Ok(_)) => error.into(),
                }
            }
            FetchError::Api(_) | FetchError::Cut(_) | FetchError::Disk(_) | FetchError::GivenUp => {
                error.into()
            }
        }
    }

    /// write(2). All of `data` or an error. May copy sealed content first, so it may take as long as the disk does.
    pub fn write(&self, fh: Fh, place: Place, data: &[u8]) -> Result<(), FsError> {
        let handle = self.handle(fh)?;
        if !handle.flags.write {
            return Err(FsError::BadHandle);
        }
        let offset = place.of(handle.flags);
        let mut inner = handle.node.lock();
        self.must_go_on()?;
        inner.write(&self.store, offset, data, now())?;
        self.note_draft(handle.node.ino, &mut inner);
        Ok(())
    }

    /// write(2) as far as memory is all it takes; `None` when the disk is needed or somebody else is at the file.
    pub fn write_now(&self, fh: Fh, place: Place, data: &[u8]) -> Option<Result<(), FsError>> {
        let handle = match self.handle(fh) {
            Ok(handle) if handle.flags.write => handle,
            Ok(_) => return Some(Err(FsError::BadHandle)),
            Err(error) => return Some(Err(error)),
        };
        let offset = place.of(handle.flags);
        let mut inner = handle.node.try_lock()?;
        let written = self
            .must_go_on()
            .and_then(|()| inner.write_in_memory(&self.store, offset, data, now()));
        match written {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the end of this handle may have something to save.
    #[must_use]
    pub fn changes(&self, fh: Fh) -> bool {
        self.handle(fh).is_ok_and(|handle| handle.flags.changes())
    }

    /// The end of a handle. What a close could not save is queued again; there is nobody left to tell.
    pub fn release(&self, fh: Fh) {
        let Some(handle) = lock(&self.handles).remove(&fh) else {
            return;
        };
        let node = &handle.node;
        // Looked at before it is counted out: the kernel tells of this end after the close has returned, when another
        // program may be writing already, and what that one writes is its own close's.
        let is_dirty = node.shown().is_dirty;
        if handle.flags.changes() && node.count_writer_out() {
            let when = self.after_close(node).unwrap_or(When::Now);
            // Who closed it the kernel does not say any more.
            let opener = handle.opener;
            let save = || on_behalf_of(move || opener.program(), || self.save(node, when));
            if is_dirty
                && let Err(error) = save()
                && self.must_go_on().is_ok()
            {
                log::error!("what was written last could not be queued for upload: {error}");
            }
            self.release_hold(node, when);
        }
        if handle.flags.changes() {
            self.state.end_writing(node.ino);
        }
        self.leave(node);
    }

    /// Counts a handle out; the last one takes the node with it.
    fn leave(&self, node: &Node) {
        let mut nodes = lock(&self.nodes);
        if !node.count_out() {
            return;
        }
        nodes.remove(&node.ino);
        drop(nodes);
        let mut inner = node.lock();
        if let Some(id) = inner.deleted_at_close.take() {
            self.state.release_delete(&id);
        }
        inner.replace(&self.store, Content::Memory(Vec::new()));
        drop(inner);
        self.store.copy_closed();
    }
}
