//! Files that the kernel reads by itself (passthrough), where it and this process may: Linux 6.9 and `CAP_SYS_ADMIN`.
//!
//! All handles of an inode that are open at once must be of one kind, and lead to the same backing file, or the kernel
//! fails the open with EIO. `fs` sees to it that a lent inode has no other handles; here is counted which have which.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::sync::{Mutex, PoisonError};

use fuser::{BackingId, FileHandle, FopenFlags, INodeNo, ReplyOpen};

use crate::fs::{Fh, WorkspaceFs};

/// The lent inodes that are open.
#[derive(Debug, Default)]
pub(super) struct Lent(Mutex<HashMap<INodeNo, Backing>>);

#[derive(Debug)]
struct Backing {
    /// What the kernel reads; `None`: it would not, and reads come here as for any other file.
    id: Option<BackingId>,
    handles: usize,
}

impl Lent {
    /// Answers an open of a lent inode with what the kernel can read by itself, else with `otherwise`.
    pub(super) fn opened(
        &self,
        fs: &WorkspaceFs,
        inode: INodeNo,
        (fh, file): (Fh, &File),
        otherwise: impl FnOnce() -> FopenFlags,
        reply: ReplyOpen,
    ) {
        let fh = FileHandle(fh.0);
        let mut inodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let backing = match inodes.entry(inode) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let id = match reply.open_backing(file) {
                    Ok(id) => Some(id),
                    Err(error) => {
                        log::debug!("the kernel does not read files by itself: {error}");
                        fs.let_lend(false);
                        None
                    }
                };
                entry.insert(Backing { id, handles: 0 })
            }
        };
        backing.handles += 1;
        match &backing.id {
            // It takes no KEEP_CACHE: there are no pages of its own to keep.
            Some(id) => reply.opened_passthrough(fh, FopenFlags::FOPEN_NOFLUSH, id),
            None => reply.opened(fh, otherwise()),
        }
    }

    /// One handle less of an inode, where it is lent. Before `fs` hears of it: what is opened from then on may be of
    /// another kind.
    pub(super) fn closed(&self, inode: INodeNo) {
        let mut inodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = inodes.entry(inode) {
            entry.get_mut().handles -= 1;
            if entry.get().handles == 0 {
                entry.remove();
            }
        }
    }
}
