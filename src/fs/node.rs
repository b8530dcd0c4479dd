//! An open inode: what all handles of one file share. A *draft* is a node whose content was changed here and is not
//! sealed yet.
//!
//! Content is either immutable (a local copy, sealed bytes) or private to the node; the first change after a seal moves
//! it from one to the other, so that bytes on their way to the service can't change under the uploader.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use crate::api::{FileId, MAX_FILE_SIZE};
use crate::state::{Ino, Nanos, Ticket};
use crate::store::{Fetched, Reading, Store};

use super::content::{Content, Draft, SealedContent, read_at, slice};
use super::{FsError, OpenFlags, lock};

/// A draft up to this size lives in memory; creating and writing a small file then touches no disk.
pub(super) const MEMORY_LIMIT: u64 = 1024 * 1024;

/// What is behind the node's lock.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) content: Content,
    pub(super) size: u64,
    /// Whether content differs from all that is sealed.
    pub(super) is_dirty: bool,
    /// Whether a write failed since the last save: the content may be a part of what was meant.
    pub(super) is_cut: bool,
    /// How many bytes the last version had that was closed, and whether any of them were cut off or written over since:
    /// without that, they are the beginning of what is there now.
    version: u64,
    pub(super) is_rewritten: bool,
    pub(super) mtime: Nanos,
    pub(super) ctime: Nanos,
    /// The newest sealed record's.
    pub(super) ticket: Option<Ticket>,
    /// Whether the name is gone: nothing is saved any more.
    pub(super) is_unlinked: bool,
    /// The id whose deletion waits for the last close: the name went while its bytes were at the service only.
    pub(super) deleted_at_close: Option<FileId>,
    /// The staged file that the catalogue knows as this draft's.
    pub(super) noted: Option<String>,
}

/// What others see of a node, without waiting for whoever is at its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) size: u64,
    pub(super) mtime: Nanos,
    pub(super) ctime: Nanos,
    pub(super) is_dirty: bool,
    /// Whether the bytes are at the service only.
    pub(super) is_remote: bool,
}

impl Shown {
    fn of(inner: &Inner) -> Self {
        Self {
            size: inner.size,
            mtime: inner.mtime,
            ctime: inner.ctime,
            is_dirty: inner.is_dirty,
            is_remote: matches!(inner.content, Content::Remote(..)),
        }
    }
}

/// An open inode.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) ino: Ino,
    /// Held while content is copied, which takes as long as the disk does: never by an event loop, and never together
    /// with the table of nodes.
    inner: Mutex<Inner>,
    shown: Mutex<Shown>,
    /// Open handles, and those that can write; changed under the table of nodes only.
    handles: AtomicUsize,
    writers: AtomicUsize,
    /// Whether the kernel reads its content by itself: then nobody changes it.
    is_lent: bool,
    /// Held over seal and commit, so that generations reach the outbox in their order. Taken before `inner`.
    pub(super) sealing: Mutex<()>,
}

/// What a read found without waiting.
pub(super) enum Local {
    /// The bytes.
    Data(Vec<u8>),
    /// They are at the service.
    Elsewhere(FileId, u64),
    /// They are on their way.
    Arriving(FileId, Arc<Reading>),
}

impl Node {
    pub(super) fn new(ino: Ino, content: Content, size: u64, mtime: Nanos, ctime: Nanos) -> Self {
        let inner = Inner {
            content,
            size,
            is_dirty: false,
            is_cut: false,
            version: size,
            is_rewritten: false,
            mtime,
            ctime,
            ticket: None,
            is_unlinked: false,
            deleted_at_close: None,
            noted: None,
        };
        Self {
            ino,
            shown: Mutex::new(Shown::of(&inner)),
            inner: Mutex::new(inner),
            handles: AtomicUsize::new(0),
            writers: AtomicUsize::new(0),
            sealing: Mutex::new(()),
            is_lent: false,
        }
    }

    /// The same, for the kernel to read by itself from the first open to the last close.
    pub(super) fn lending(self) -> Self {
        Self {
            is_lent: true,
            ..self
        }
    }

    pub(super) fn is_lent(&self) -> bool {
        self.is_lent
    }

    /// What the kernel reads from.
    pub(super) fn lent(&self) -> Option<Arc<File>> {
        match &self.lock().content {
            Content::Copy(file) if self.is_lent => Some(Arc::clone(file)),
            _ => None,
        }
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked {
            inner: lock(&self.inner),
            shown: &self.shown,
        }
    }

    pub(super) fn shown(&self) -> Shown {
        *lock(&self.shown)
    }

    /// One more handle.
    pub(super) fn count_in(&self, flags: OpenFlags) {
        self.handles.fetch_add(1, Ordering::SeqCst);
        self.writers
            .fetch_add(usize::from(flags.changes()), Ordering::SeqCst);
    }

    /// One handle less; whether it was the last.
    pub(super) fn count_out(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// One writer less; whether it was the last.
    pub(super) fn count_writer_out(&self) -> bool {
        self.writers.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Whether a single open handle can write.
    pub(super) fn has_one_writer(&self) -> bool {
        self.writers.load(Ordering::SeqCst) == 1
    }

    /// The lock, where nobody has it.
    pub(super) fn try_lock(&self) -> Option<Locked<'_>> {
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Locked {
            inner,
            shown: &self.shown,
        })
    }

    /// Reads what is here; the disk is read outside the lock.
    pub(super) fn read_local(&self, offset: u64, size: usize) -> Result<Local, FsError> {
        Self::read_locked(self.lock(), offset, size)
    }

    /// The same, unless somebody is at the content: then `None`.
    pub(super) fn try_read_local(
        &self,
        offset: u64,
        size: usize,
    ) -> Option<Result<Local, FsError>> {
        let inner = self.try_lock()?;
        Some(Self::read_locked(inner, offset, size))
    }

    fn read_locked(mut inner: Locked<'_>, offset: u64, size: usize) -> Result<Local, FsError> {
        inner.take_complete();
        let file = match &inner.content {
            Content::Remote(id, None) => return Ok(Local::Elsewhere(id.clone(), inner.size)),
            Content::Remote(id, Some(reading)) => {
                return Ok(Local::Arriving(id.clone(), Arc::clone(reading)));
            }
            Content::Memory(bytes) => return Ok(Local::Data(slice(bytes, offset, size))),
            Content::Bytes(bytes) => return Ok(Local::Data(slice(bytes, offset, size))),
            Content::Copy(file) | Content::Sealed(_, file) => Arc::clone(file),
            Content::Staged(draft) => Arc::clone(&draft.file),
        };
        let size = size.min(inner.size.saturating_sub(offset) as usize);
        drop(inner);
        Ok(Local::Data(read_at(&file, offset, size)?))
    }

    /// Puts what was had of the remote content in its place, unless that was replaced meanwhile.
    pub(super) fn fetched(&self, id: &FileId, fetched: Fetched) {
        let mut inner = self.lock();
        if !matches!(&inner.content, Content::Remote(wanted, _) if wanted == id) {
            return;
        }
        inner.content = match fetched {
            Fetched::Here(file) => Content::Copy(file),
            Fetched::Arriving(reading) => Content::Remote(id.clone(), Some(Arc::new(reading))),
        };
    }
}

/// A node's inner, locked; what others see of it is brought up to date when it is let go.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    inner: MutexGuard<'a, Inner>,
    shown: &'a Mutex<Shown>,
}

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        *lock(self.shown) = Shown::of(&self.inner);
    }
}

impl Inner {
    /// What was on its way is a copy when it has come.
    fn take_complete(&mut self) {
        if let Content::Remote(_, Some(reading)) = &self.content
            && let Some(file) = reading.complete()
        {
            self.content = Content::Copy(file);
        }
    }

    /// Writes at `offset`, or at the end where the handle appends.
    pub(super) fn write(
        &mut self,
        store: &Store,
        offset: Option<u64>,
        data: &[u8],
        now: Nanos,
    ) -> Result<(), FsError> {
        let offset = offset.unwrap_or(self.size);
        let written = end_of(offset, data)
            .and_then(|end| self.must_have_room(store, end, data))
            .and_then(|()| self.put(store, offset, data, now));
        self.is_cut |= written.is_err();
        written
    }

    fn must_have_room(&self, store: &Store, end: u64, data: &[u8]) -> Result<(), FsError> {
        match &self.content {
            Content::Staged(draft) if draft.has_room_for(end) => Ok(()),
            _ => Ok(store.must_have_room(data.len() as u64)?),
        }
    }

    /// The same as far as memory is all it takes: `false`, and nothing is done, where it is not, or is refused.
    pub(super) fn write_in_memory(
        &mut self,
        store: &Store,
        offset: Option<u64>,
        data: &[u8],
        now: Nanos,
    ) -> Result<bool, FsError> {
        let offset = offset.unwrap_or(self.size);
        let stays = matches!(self.content, Content::Memory(_))
            && end_of(offset, data).is_ok_and(|end| end <= MEMORY_LIMIT);
        if !stays || !store.takes_room_now(data.len() as u64) {
            return Ok(false);
        }
        self.put(store, offset, data, now)?;
        Ok(true)
    }

    /// Writes what there is room for.
    fn put(&mut self, store: &Store, offset: u64, data: &[u8], now: Nanos) -> Result<(), FsError> {
        let end = end_of(offset, data)?;
        self.make_private(store, self.size.max(end), self.size)?;
        // A write that fails may have written some of it.
        self.is_rewritten |= offset < self.version;
        match &mut self.content {
            Content::Memory(bytes) => {
                let (start, end) = (offset as usize, end as usize);
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
            Content::Staged(draft) => draft.write(store, self.size, data, offset)?,
            Content::Remote(..) | Content::Copy(_) | Content::Bytes(_) | Content::Sealed(..) => {
                return Err(FsError::Io);
            }
        }
        self.size = self.size.max(end);
        self.changed(now);
        Ok(())
    }

    /// Cuts or extends (with zeros) to `size`.
    pub(super) fn truncate(&mut self, store: &Store, size: u64, now: Nanos) -> Result<(), FsError> {
        let resized = self.resize(store, size, now);
        // Programs that copy holes end so.
        self.is_cut |= resized.is_err();
        resized
    }

    fn resize(&mut self, store: &Store, size: u64, now: Nanos) -> Result<(), FsError> {
        if size > MAX_FILE_SIZE {
            return Err(FsError::TooLarge);
        }
        if size == self.size {
            if size == 0 && matches!(self.content, Content::Remote(..)) {
                // There is nothing to fetch, and what is written next must find content of its own.
                self.content = Content::Memory(Vec::new());
            }
            // Content is what it was, but truncate(2) and O_TRUNC set the times all the same: build stamps live by it.
            self.mtime = now;
            self.ctime = now;
            return Ok(());
        }
        // Cutting a draft needs nothing; cutting anything else is the beginning of one.
        let is_draft = matches!(self.content, Content::Memory(_) | Content::Staged(_));
        if size > self.size || !is_draft {
            store.must_have_room(size.saturating_sub(self.size))?;
        }
        if size == 0 {
            self.is_cut = false;
            self.replace(store, Content::Memory(Vec::new()));
        } else {
            self.make_private(store, size, self.size.min(size))?;
            match &mut self.content {
                Content::Memory(bytes) => bytes.resize(size as usize, 0),
                Content::Staged(draft) => draft.resize(store, self.size, size)?,
                Content::Remote(..)
                | Content::Copy(_)
                | Content::Bytes(_)
                | Content::Sealed(..) => {
                    return Err(FsError::Io);
                }
            }
        }
        self.is_rewritten |= size < self.version;
        self.size = size;
        self.changed(now);
        Ok(())
    }

    /// What is there now is closed.
    pub(super) fn begin_version(&mut self) {
        self.version = self.size;
        self.is_rewritten = false;
    }

    pub(super) fn changed(&mut self, now: Nanos) {
        self.is_dirty = true;
        self.mtime = now;
        self.ctime = now;
    }

    /// Makes content changeable that will have up to `size` bytes, the first `left` of them those of now: so many of
    /// sealed and shared bytes are copied. A draft that outgrows memory moves to a staged file.
    pub(super) fn make_private(
        &mut self,
        store: &Store,
        size: u64,
        left: u64,
    ) -> Result<(), FsError> {
        let fits = size <= MEMORY_LIMIT;
        let private = match &self.content {
            Content::Staged(..) => return Ok(()),
            Content::Memory(_) if fits => return Ok(()),
            Content::Memory(bytes) => Content::Staged(Draft::of_bytes(store, bytes)?),
            Content::Bytes(bytes) if fits => Content::Memory(slice(bytes, 0, left as usize)),
            Content::Bytes(bytes) => {
                let left = bytes.len().min(left as usize);
                Content::Staged(Draft::of_bytes(store, &bytes[..left])?)
            }
            Content::Copy(file) | Content::Sealed(_, file) if fits => {
                Content::Memory(read_at(file, 0, left as usize)?)
            }
            Content::Copy(file) | Content::Sealed(_, file) => {
                Content::Staged(Draft::of_file(store, file, left)?)
            }
            // Fetched before a writable open is answered.
            Content::Remote(..) => return Err(FsError::Io),
        };
        self.replace(store, private);
        Ok(())
    }

    /// Puts other content in place; a staged file that only this node knew goes with the old one.
    pub(super) fn replace(&mut self, store: &Store, content: Content) {
        let old = std::mem::replace(&mut self.content, content);
        if let Content::Staged(draft) = old {
            store.drop_stage(&draft.name);
        }
    }

    /// The commit of a sealed staged file failed: no record has it, and it goes with the draft again. Otherwise a disk
    /// that is full would stay so.
    pub(super) fn take_back(&mut self, store: &Store, stage: &str) {
        match &self.content {
            Content::Sealed(name, file) if name == stage => {
                self.content = Content::Staged(Draft::of_stage(name.clone(), Arc::clone(file)));
            }
            // Written to meanwhile.
            _ => store.drop_stage(stage),
        }
    }

    /// Makes the content immutable and gives it out.
    pub(super) fn seal(&mut self) -> SealedContent {
        let content = std::mem::replace(&mut self.content, Content::Memory(Vec::new()));
        let (content, sealed) = match content {
            Content::Memory(bytes) => {
                let bytes = Arc::new(bytes);
                (
                    Content::Bytes(Arc::clone(&bytes)),
                    SealedContent::Bytes(bytes),
                )
            }
            Content::Bytes(bytes) => (
                Content::Bytes(Arc::clone(&bytes)),
                SealedContent::Bytes(bytes),
            ),
            Content::Staged(draft) => {
                let (name, file) = (draft.name.clone(), Arc::clone(&draft.file));
                (
                    Content::Sealed(name.clone(), Arc::clone(&file)),
                    SealedContent::Staged(name, file, draft.digest(self.size)),
                )
            }
            Content::Sealed(name, file) => (
                Content::Sealed(name.clone(), Arc::clone(&file)),
                SealedContent::Staged(name, file, None),
            ),
            unchanged @ (Content::Remote(..) | Content::Copy(_)) => {
                (unchanged, SealedContent::Unchanged)
            }
        };
        self.content = content;
        self.is_dirty = false;
        sealed
    }
}

/// Where a write ends; not beyond what the service takes.
fn end_of(offset: u64, data: &[u8]) -> Result<u64, FsError> {
    offset
        .checked_add(data.len() as u64)
        .filter(|end| *end <= MAX_FILE_SIZE)
        .ok_or(FsError::TooLarge)
}
