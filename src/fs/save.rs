//! The save that close(2) is.
//!
//! It happens in `flush`, because flush's error is close's error; `release` has none. A file that is still empty at
//! close is not sent at once: `touch f; echo x > f` would be two uploads, and what a truncation replaces must not
//! disappear before there is something in its place. Nor is one under a provisional name (`names`): most of those are
//! about to be renamed, and then it is sent once, under its final name. A scratch file is not sent at all until it is
//! renamed. Such closes are durable here when they return.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::api::{ApiError, mime_type_of};
use crate::names::NameKind;
use crate::state::{Nanos, Row, Sealed, SealedBytes, StateError, Ticket, When};
use crate::store::Stage;

use super::content::{Content, SealedContent, trim};
use super::node::Node;
use super::{Caller, Fh, FsError, Handle, WorkspaceFs, closers, lock};

/// How long a file that is empty, or has a provisional name, stays as it is before it is sent.
const QUIET_MS: i64 = 5_000;

/// How often who waits for the service looks whether its caller still does.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// How long a close waits while saves are failing.
const AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// Content up to this size is stored in its outbox record: one commit makes it durable.
pub(super) const INLINE_LIMIT: u64 = 64 * 1024;

impl WorkspaceFs {
    /// close(2), each of them: the last one saves what is new and waits until the service has confirmed it, or with
    /// write-back until it is durable here.
    pub fn flush(&self, fh: Fh, caller: Caller) -> Result<(), FsError> {
        let handle = self.handle(fh)?;
        let node = &handle.node;
        // Of a file without a name nothing is saved, and to see whether others have it open costs a look at each of the
        // closer's descriptors.
        if !handle.flags.changes() || node.lock().is_unlinked {
            return Ok(());
        }
        let is_empty = node.lock().size == 0;
        if is_empty && self.had_nothing(node)? {
            // A new file is durable here from its first close on.
            return self.seal_on_hold(node);
        }
        let last = self.is_last_close(&handle, caller);
        if last == Some(false) {
            return Ok(());
        }
        let is_cut = mem::take(&mut node.lock().is_cut);
        if is_cut || caller.is_dying() {
            self.spare_what_is_replaced(node)?;
        }
        if is_empty && (last.is_none() || self.is_written_elsewhere(&handle)) {
            // Perhaps it is about to be written: whoever dies between truncating and writing leaves the version before.
            return Ok(());
        }
        handle.is_closed.store(true, Ordering::SeqCst);
        let when = self.after_close(node)?;
        let ticket = self.save(node, when)?;
        self.release_hold(node, when);
        let is_awaited = when == When::Now
            && !self.settings.write_back
            && self.state.row(node.ino)?.is_none_or(|row| !row.scratch);
        let Some(ticket) = ticket.filter(|_| is_awaited) else {
            return Ok(());
        };
        match self.wait(&ticket, caller)? {
            Ok(()) => Ok(()),
            // Removed while it was on its way: nothing of it is missing.
            Err(_) if node.lock().is_unlinked => Ok(()),
            Err(error) => Err((&error).into()),
        }
    }

    /// Who is killed in the middle of replacing a file, or finds that it is too large or the disk full, leaves a part of
    /// one. What was there before stays at the service, as a file of its own: whoever has its id still finds it whole.
    /// Where it was not sent yet it is sent first. The part may be what an fsync sealed already. Who only appended has
    /// replaced nothing: what was there is the beginning of what is there now.
    fn spare_what_is_replaced(&self, node: &Node) -> Result<(), FsError> {
        let is_rewritten = node.lock().is_rewritten;
        let is_new = node.shown().is_dirty || self.state.is_on_hold(node.ino);
        if !is_rewritten || !is_new {
            return Ok(());
        }
        let is_waiting = self.state.spare_waiting(node.ino);
        let row = self.state.row(node.ino)?;
        if let Some(row) = row.filter(|row| is_waiting || row.id.is_some()) {
            log::warn!(
                "{} was being replaced by a program that could not finish; its old version stays at the service",
                row.filename
            );
            if !is_waiting {
                self.state.spare(row.ino)?;
            }
        }
        Ok(())
    }

    /// Whether somebody else has the file open for writing. A close counts as one when it happened, not when the kernel
    /// lets go of the handle, which is some time later.
    fn is_written_elsewhere(&self, handle: &Arc<Handle>) -> bool {
        lock(&self.handles).values().any(|other| {
            !Arc::ptr_eq(other, handle)
                && Arc::ptr_eq(&other.node, &handle.node)
                && other.flags.changes()
                && !other.is_closed.load(Ordering::SeqCst)
        })
    }

    /// Whether no other close of this file is to come; `None` where that can't be seen.
    fn is_last_close(&self, handle: &Handle, caller: Caller) -> Option<bool> {
        let mount_id = *self.mount_id.get()?;
        let closer = caller.process();
        // Looked up only now: most files are closed by who opened them. An opener that has ended has no descriptors left;
        // where only its thread has, its process is not found, and at worst a save more is made.
        let opener = Some(handle.opener)
            .filter(|opener| *opener != caller)
            .and_then(Caller::process)
            .filter(|opener| Some(*opener) != closer);
        let mut is_seen = closer.is_some();
        for process in [closer, opener].into_iter().flatten() {
            match closers::can_write(process, mount_id, handle.node.ino) {
                Some(true) => return Some(false),
                Some(false) => {}
                None => is_seen = false,
            }
        }
        is_seen.then_some(true)
    }

    /// When content that its last writer closed is sent, if it is. That a scratch file is not, the outbox sees to: the file
    /// may get another name meanwhile.
    pub(super) fn after_close(&self, node: &Node) -> Result<When, FsError> {
        let size = node.lock().size;
        let row = self.state.row(node.ino)?;
        let name = |row: &Row| self.state.style().typed_name(&row.filename).into_owned();
        Ok(row.map_or(When::Now, |row| self.when_quiet(&name(&row), size)))
    }

    /// When a file of this name and size is sent that nobody writes to any more, and that is no scratch file.
    pub(super) fn when_quiet(&self, name: &str, size: u64) -> When {
        if size == 0 || self.settings.names.kind_of(name) == NameKind::Provisional {
            When::After(QUIET_MS)
        } else {
            When::Now
        }
    }

    /// Whether no version of the file has content, neither at the service nor on its way there.
    fn had_nothing(&self, node: &Node) -> Result<bool, FsError> {
        let row = self.state.row(node.ino)?;
        Ok(row.is_some_and(|row| row.id.is_none() && row.size == 0))
    }

    /// fsync(2): durable on this machine when it returns, sent at the next close.
    pub fn fsync(&self, fh: Fh) -> Result<(), FsError> {
        let handle = self.handle(fh)?;
        self.seal_on_hold(&handle.node)
    }

    /// Seals new content without letting it go yet.
    pub(super) fn seal_on_hold(&self, node: &Node) -> Result<(), FsError> {
        self.save(node, When::OnHold).map(|_| ())
    }

    /// Lets sealed content go that waited for its close.
    pub(super) fn release_hold(&self, node: &Node, when: When) {
        let cleanup = self.state.release_hold(node.ino, when);
        self.store.drop_stages(&cleanup);
    }

    /// Seals what is new and commits it to the outbox; the ticket of the newest content.
    pub(super) fn save(&self, node: &Node, when: When) -> Result<Option<Ticket>, FsError> {
        let _sealing = lock(&node.sealing);
        let (content, size, mtime, ctime, was_rewritten) = {
            let mut inner = node.lock();
            if inner.is_unlinked {
                return Ok(None);
            }
            let is_dirty = inner.is_dirty;
            if is_dirty {
                self.must_go_on()?;
            }
            let was_rewritten = inner.is_rewritten;
            if when != When::OnHold {
                inner.begin_version();
            }
            if !is_dirty {
                return Ok(inner.ticket.clone());
            }
            let content = inner.seal();
            (content, inner.size, inner.mtime, inner.ctime, was_rewritten)
        };
        let committed = self.commit(node, &content, size, (mtime, ctime), when);
        if let (Err(_), SealedContent::Staged(name, ..)) = (&committed, &content) {
            node.lock().take_back(&self.store, name);
        }
        match committed {
            Ok(ticket) => {
                node.lock().ticket = Some(ticket.clone());
                Ok(Some(ticket))
            }
            // Unlinked at the same moment.
            Err(StateOrFs::State(StateError::Gone)) if node.lock().is_unlinked => Ok(None),
            Err(error) => {
                let mut inner = node.lock();
                inner.is_dirty = true;
                inner.is_rewritten |= was_rewritten;
                Err(error.into())
            }
        }
    }

    pub(super) fn commit(
        &self,
        node: &Node,
        content: &SealedContent,
        size: u64,
        (mtime, ctime): (i64, i64),
        when: When,
    ) -> Result<Ticket, StateOrFs> {
        let row = self.state.row(node.ino)?.ok_or(StateError::Gone)?;
        let digest = content.digest(size).map_err(FsError::from)?;
        let head = content.head(size).map_err(FsError::from)?;
        let style = self.state.style();
        let name = style.typed_name(&row.filename);
        let mime_type = mime_type_of(&name, &head, &self.settings.mime_overrides);
        let is_same = row.digest == Some(digest)
            && row.mime_type == mime_type
            && !row.may_have_expired(Timestamp::now());
        if is_same && self.refresher.has_seen(&row) && self.stays(node, &row, (mtime, ctime))? {
            if let SealedContent::Staged(name, ..) = content {
                self.store.drop_stage(name);
            }
            return Ok(Ticket::settled());
        }
        let mut staged = String::new();
        let bytes = match content {
            SealedContent::Bytes(bytes) if size <= INLINE_LIMIT => SealedBytes::Inline(bytes),
            SealedContent::Bytes(bytes) => {
                staged = self.stage_bytes(node, bytes)?;
                SealedBytes::Staged(&staged)
            }
            SealedContent::Staged(name, file, _) => {
                trim(&self.store, name, file, size)?;
                self.store.sync_stage(name, file).map_err(FsError::from)?;
                SealedBytes::Staged(name)
            }
            SealedContent::Unchanged => return Err(FsError::Io.into()),
        };
        let sealed = self.state.seal(&Sealed {
            ino: node.ino,
            size,
            mime_type: &mime_type,
            digest,
            bytes,
            mtime,
            ctime,
            when,
        });
        if sealed.is_err() && !staged.is_empty() {
            node.lock().take_back(&self.store, &staged);
        }
        let (ticket, cleanup) = sealed?;
        self.store.drop_stages(&cleanup);
        Ok(ticket)
    }

    /// Leaves the confirmed file as it is, where nothing else of the inode is pending: the same bytes were saved again
    /// over the same name. `false` when they have to be saved after all.
    fn stays(
        &self,
        node: &Node,
        row: &Row,
        (mtime, ctime): (Nanos, Nanos),
    ) -> Result<bool, StateOrFs> {
        let Some(id) = row.id.as_ref().filter(|id| self.store.is_kept(id)) else {
            return Ok(false);
        };
        // The draft's own copy goes; a damaged kept one is a reason to save.
        let Ok(kept) = self.store.open_kept(id, &row.into()) else {
            return Ok(false);
        };
        if !self.state.stays(node.ino, id, mtime, ctime)? {
            return Ok(false);
        }
        let mut inner = node.lock();
        if let Content::Sealed(..) = &inner.content {
            inner.content = Content::Copy(Arc::new(kept));
        }
        Ok(true)
    }

    /// Moves sealed bytes that are too large for a record into a staged file, and the node's content with them.
    pub(super) fn stage_bytes(&self, node: &Node, bytes: &Arc<Vec<u8>>) -> Result<String, FsError> {
        let Stage { name, file } = self.store.stage()?;
        let written = self
            .store
            .write_stage(&name, &file, bytes, 0)
            .and_then(|()| self.store.sync_stage(&name, &file));
        if let Err(error) = written {
            self.store.drop_stage(&name);
            return Err(error.into());
        }
        let mut inner = node.lock();
        if matches!(&inner.content, Content::Bytes(current) if Arc::ptr_eq(current, bytes)) {
            inner.content = Content::Sealed(name.clone(), Arc::new(file));
        }
        Ok(name)
    }

    /// Waits for a record's fate, for as long as the caller lives; the record goes on without it.
    ///
    /// Once a save was reported as failed because the service is away, nobody waits long until one is confirmed again:
    /// an editor that saves every few seconds must not hang for a minute each time.
    fn wait(&self, ticket: &Ticket, caller: Caller) -> Result<Result<(), ApiError>, FsError> {
        let mut away_since = None;
        loop {
            if let Some(fate) = ticket.wait(Some(Instant::now() + LOOK_AROUND)) {
                return Ok(fate);
            }
            if caller.is_dying() {
                return Err(FsError::Interrupted);
            }
            match self.state.away() {
                None => away_since = None,
                Some(error) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() + LOOK_AROUND > AWAY_PATIENCE {
                        return Ok(ticket.give_up(error));
                    }
                }
            }
        }
    }
}

/// Why a commit failed; that the row is gone is told apart.
pub(super) enum StateOrFs {
    State(StateError),
    Fs(FsError),
}

impl From<StateError> for StateOrFs {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<FsError> for StateOrFs {
    fn from(error: FsError) -> Self {
        Self::Fs(error)
    }
}

impl From<StateOrFs> for FsError {
    fn from(error: StateOrFs) -> Self {
        match error {
            StateOrFs::State(error) => error.into(),
            StateOrFs::Fs(error) => error,
        }
    }
}
