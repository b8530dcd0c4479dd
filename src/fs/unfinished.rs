//! Drafts that nobody closed. When the mount ends they are kept as *unfinished*: never sent by themselves, for only a
//! person can say whether they are whole.

use std::io;
use std::sync::atomic::Ordering;

use crate::api::mime_type_of;
use crate::state::{
    Digest, GiveUpError, Ino, PendingBody, SealedBytes, StateError, Unfinished, When, lock,
};

use super::content::{Content, Draft, SealedContent, read_at};
use super::file::SNIFFED;
use super::node::{Inner, Node};
use super::save::INLINE_LIMIT;
use super::{FsError, WorkspaceFs};

impl WorkspaceFs {
    /// Tells the catalogue whose bytes a draft's staged file has: should this process die, they are not nobody's.
    pub(super) fn note_draft(&self, ino: Ino, inner: &mut Inner) {
        let Content::Staged(Draft { name: stage, .. }) = &inner.content else {
            return;
        };
        if inner.is_unlinked || inner.noted.as_deref() == Some(stage) {
            return;
        }
        match self.state.note_draft(stage, ino) {
            Ok(()) => inner.noted = Some(stage.clone()),
            Err(error) => log::warn!("a draft would be lost with this process: {error}"),
        }
    }

    /// The end: keeps every draft that is still open, durably; how many. From here on nothing changes any more: whoever
    /// writes or closes such a file is told that it failed.
    pub fn keep_unfinished(&self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        let nodes: Vec<_> = lock(&self.nodes).values().cloned().collect();
        let mut kept = 0;
        for node in nodes {
            match self.keep_draft(&node) {
                Ok(is_kept) => kept += usize::from(is_kept),
                Err(error) => log::error!("a file that is still open could not be kept: {error}"),
            }
        }
        kept
    }

    /// Keeps one; an empty one has nothing to keep. A scratch file's is its content from now on: a swap file is there for
    /// the case that its editor ends early. Whether it is unfinished now.
    fn keep_draft(&self, node: &Node) -> Result<bool, FsError> {
        let _sealing = lock(&node.sealing);
        let (content, size, mtime, ctime) = {
            let mut inner = node.lock();
            if inner.is_unlinked || !inner.is_dirty || inner.size == 0 {
                return Ok(false);
            }
            let content = inner.seal();
            // Its close still has to fail.
            inner.is_dirty = true;
            (content, inner.size, inner.mtime, inner.ctime)
        };
        let row = self.state.row(node.ino)?;
        if row.is_some_and(|row| row.scratch) {
            let committed = self.commit(node, &content, size, (mtime, ctime), When::OnHold);
            return Ok(committed.map(|_| false)?);
        }
        let staged;
        let bytes = match &content {
            SealedContent::Bytes(bytes) if size <= INLINE_LIMIT => SealedBytes::Inline(bytes),
            SealedContent::Bytes(bytes) => {
                staged = self.stage_bytes(node, bytes)?;
                SealedBytes::Staged(&staged)
            }
            SealedContent::Staged(name, file, _) => {
                self.store.sync_stage(name, file)?;
                SealedBytes::Staged(name)
            }
            SealedContent::Unchanged => return Ok(false),
        };
        self.state.keep_unfinished(node.ino, size, &bytes, mtime)?;
        Ok(true)
    }

    /// Sends the newest unfinished draft of a name as a save, in place of what has the name now; how many there were to
    /// send.
    pub fn send_unfinished(&self, name: &str) -> Result<usize, GiveUpError> {
        let Some(draft) = self.unfinished_of(name)?.pop() else {
            return Ok(0);
        };
        let Some(body) = self.state.unfinished_body(draft.seq)? else {
            return Ok(0);
        };
        let (head, digest) = self.look_at(&body).map_err(GiveUpError::Disk)?;
        let mime_type = mime_type_of(name, &head, &self.settings.mime_overrides);
        let over = self
            .state
            .lookup(name)?
            .and_then(|over| self.node(over.ino));
        let mut over = over.as_ref().map(|node| node.lock());
        if let Some(inner) = &mut over {
            self.hold_what_is_read(inner);
        }
        let cleanup = match self
            .state
            .send_unfinished(&draft, &body, &mime_type, digest)
        {
            Ok(cleanup) => cleanup,
            // Somebody else was faster.
            Err(GiveUpError::State(StateError::Gone)) => return Ok(0),
            Err(error) => return Err(error),
        };
        if let Some(inner) = &mut over {
            inner.is_unlinked = true;
        }
        drop(over);
        self.store.drop_stages(&cleanup);
        Ok(1)
    }

    /// The unfinished drafts of a name, oldest first.
    pub(super) fn unfinished_of(&self, name: &str) -> Result<Vec<Unfinished>, StateError> {
        let mut drafts = self.state.unfinished()?;
        drafts.retain(|draft| draft.name == name);
        Ok(drafts)
    }

    /// The first bytes and the digest; a staged file is synced on the way, for it may be that of a process that died.
    fn look_at(&self, body: &PendingBody) -> io::Result<(Vec<u8>, Digest)> {
        match body {
            PendingBody::Inline(bytes) => {
                let head = &bytes[..bytes.len().min(SNIFFED)];
                Ok((head.to_vec(), Digest::of(bytes)))
            }
            PendingBody::Staged(stage) => {
                let mut file = self.store.open_staged(stage)?;
                self.store.sync_stage(stage, &file)?;
                let size = file.metadata()?.len().min(SNIFFED as u64);
                let head = read_at(&file, 0, size as usize)?;
                Ok((head, Digest::of_reader(&mut file)?))
            }
        }
    }
}
