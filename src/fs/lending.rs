//! Lending: the kernel may read a complete file by itself, straight from the copy on this machine (FUSE passthrough), as
//! long as nobody here can change it.
//!
//! Whoever has such a file open sees its bytes and no others, and the kernel takes no other kind of handle of an inode
//! while it is lent. So what may be lent is what stays as it is: tools' files, and everything where nothing may be changed.
//! An own upload is not: its readers are to see what is written to it. Who opens a lent file to change it gets a new inode
//! of the same name; its readers keep theirs, as if the file had been replaced by a rename.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::state::{Ino, Row};

use super::content::Content;
use super::node::Node;
use super::{Fh, FsError, OpenFlags, WorkspaceFs, lock};

/// Lending takes two calls to the kernel, which is more than reading a small file: opening, reading and closing files of
/// 1 KB got a fifth slower by it.
const LENT_FROM: u64 = 128 * 1024;

/// What may be lent.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// Whether the kernel reads files by itself at all.
    is_possible: AtomicBool,
    /// Inodes that somebody is about to change. The kernel looks a name up again once, and fails the open where it meets
    /// another lent inode there: a reader may have been faster.
    wanted: Mutex<HashSet<Ino>>,
}

impl WorkspaceFs {
    /// Whether files may be lent from now on. What is lent already stays so until its last close.
    pub fn let_lend(&self, lends: bool) {
        self.lending.is_possible.store(lends, Ordering::Relaxed);
    }

    /// The file to read from behind a handle, where the inode is lent: then all its handles are until the last close.
    #[must_use]
    pub fn lent(&self, fh: Fh) -> Option<Arc<File>> {
        let handle = self.handle(fh).ok()?;
        handle.node.lent()
    }

    /// Whether a file that nobody has open yet is lent to who opens it now.
    pub(super) fn may_lend(&self, row: &Row, flags: OpenFlags, content: &Content) -> bool {
        let is_final = self.settings.read_only
            || row.downloadable && row.id.as_ref().is_some_and(|id| !self.store.is_kept(id));
        self.lending.is_possible.load(Ordering::Relaxed)
            && is_final
            && row.size >= LENT_FROM
            && !flags.changes()
            && matches!(content, Content::Copy(_))
            && !self.state.is_pending(row.ino)
            && !lock(&self.lending.wanted).contains(&row.ino)
    }

    /// Sends who is about to change a lent file away, to look its name up again and find another inode there.
    pub(super) fn must_not_be_lent(&self, node: &Node) -> Result<(), FsError> {
        if !node.is_lent() {
            return Ok(());
        }
        let mut wanted = lock(&self.lending.wanted);
        let new = self.state.renumber(node.ino)?;
        wanted.insert(new);
        log::debug!(
            "inode {} is read by the kernel and is to be changed: its name has inode {} now",
            node.ino.0,
            new.0
        );
        Err(FsError::Stale)
    }
}
