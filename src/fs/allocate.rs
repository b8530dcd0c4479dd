//! fallocate(2): a file is at least so long, and there is room for all of it. Without it programs that ask for room before
//! a download write a byte into every block instead, which is a request each.

use crate::api::MAX_FILE_SIZE;
use crate::state::Nanos;
use crate::store::Store;

use super::content::Content;
use super::node::Inner;
use super::{Fh, FsError, WorkspaceFs, now};

impl WorkspaceFs {
    /// fallocate(2) of mode 0. Holes, ranges of zeros and room beyond the end are nothing that a file here has.
    pub fn fallocate(&self, fh: Fh, offset: u64, length: u64, mode: i32) -> Result<(), FsError> {
        if mode != 0 {
            return Err(FsError::NotSupported);
        }
        let end = offset
            .checked_add(length)
            .filter(|end| *end <= MAX_FILE_SIZE)
            .ok_or(FsError::TooLarge)?;
        let handle = self.handle(fh)?;
        if !handle.flags.write {
            return Err(FsError::BadHandle);
        }
        self.change_size(&handle.node, |inner, store| {
            inner.allocate(store, end, now())
        })
    }
}

impl Inner {
    /// Extends to `end`, where the file is shorter. A draft in memory has its room; what is immutable is on the disk
    /// already.
    fn allocate(&mut self, store: &Store, end: u64, now: Nanos) -> Result<(), FsError> {
        if end > self.size {
            store.must_have_room(end - self.size)?;
            self.make_private(store, end, self.size)?;
        }
        match &mut self.content {
            Content::Memory(bytes) => {
                let length = bytes.len().max(end as usize);
                bytes.resize(length, 0);
            }
            Content::Staged(draft) => draft.allocate(store, self.size, end)?,
            Content::Remote(..) | Content::Copy(_) | Content::Bytes(_) | Content::Sealed(..) => {}
        }
        if end > self.size {
            self.size = end;
            self.changed(now);
        } else {
            self.mtime = now;
            self.ctime = now;
        }
        Ok(())
    }
}
