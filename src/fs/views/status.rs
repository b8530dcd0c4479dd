//! `.afs/status.json`: how the mount is, for scripts that would rather read a file than run a program.
//!
//! Its bytes change by themselves. An open file holds what was true when it was opened, and the kernel keeps nothing of
//! it ([`WorkspaceFs::is_live`]). `stat` tells the size of what would be read at that moment; so that it is the same a
//! moment later, lines are filled up with blanks, so that a number that grows by a digit changes no length, and so is the
//! whole, so that mostly neither does a transfer or a program more.

use std::sync::{Arc, OnceLock};

use crate::fs::content::Content;
use crate::fs::node::Node;
use crate::fs::{Fh, OpenFlags, now};
use crate::state::Ino;

use super::{Attr, Caller, FsError, Kind, STATUS, WorkspaceFs};

/// The length that lines are filled up to: the longest name with the largest number.
const LINE: usize = 52;

/// The text's length is a multiple of this.
const BLOCK: usize = 4096;

/// Says how the mount is, as JSON over several lines.
type Render = Box<dyn Fn() -> Result<String, FsError> + Send + Sync>;

/// Where the status comes from, once somebody has said.
#[derive(Default)]
pub(in crate::fs) struct Status(OnceLock<Render>);

impl WorkspaceFs {
    /// Tells the file system how to say how the mount is. Until then there is nothing to read.
    pub fn set_status(&self, render: impl Fn() -> Result<String, FsError> + Send + Sync + 'static) {
        // Set once, by whoever mounts.
        let _ = self.status.0.set(Box::new(render));
    }

    /// Whether the inode's bytes change by themselves: the kernel must not keep any, and asking for it takes its time.
    #[must_use]
    pub fn is_live(ino: Ino) -> bool {
        ino == STATUS
    }

    fn status_text(&self) -> Result<Vec<u8>, FsError> {
        let render = self.status.0.get().ok_or(FsError::Io)?;
        Ok(filled_up(&render()?))
    }

    pub(super) fn status_attr(&self) -> Result<Attr, FsError> {
        Ok(self.status_attr_of(self.status_text()?.len() as u64))
    }

    /// The attributes where so much is to be read.
    pub(in crate::fs) fn status_attr_of(&self, size: u64) -> Attr {
        let now = now();
        Attr {
            ino: STATUS,
            kind: Kind::File,
            mode: 0o444 & !(self.settings.umask as u16),
            nlink: 1,
            size,
            mtime: now,
            ctime: now,
            ..self.directory_attr(STATUS)
        }
    }

    /// open(2) of it.
    pub(in crate::fs) fn open_status(
        &self,
        flags: OpenFlags,
        caller: Caller,
    ) -> Result<Fh, FsError> {
        if flags.changes() {
            return Err(FsError::ReadOnly);
        }
        let text = self.status_text()?;
        let (size, now) = (text.len() as u64, now());
        // A node of its own, in no table: other opens see other bytes.
        let node = Node::new(STATUS, Content::Bytes(Arc::new(text)), size, now, now);
        node.count_in(flags);
        Ok(self.add_handle(Arc::new(node), flags, caller))
    }
}

/// The text with each line filled up to [`LINE`], and with a blank line that fills it up to whole [`BLOCK`]s.
fn filled_up(text: &str) -> Vec<u8> {
    let lines = text.lines().map(|line| format!("{line:LINE$}\n"));
    let mut text = lines.collect::<String>().into_bytes();
    let missing = text.len().next_multiple_of(BLOCK) - text.len();
    if missing > 0 {
        text.resize(text.len() + missing - 1, b' ');
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_grows_or_a_line_more_changes_no_length() {
        let text = |n: u64| format!("{{\n  \"listing_age_seconds\": {n},\n  \"files\": {n}\n}}");
        let lengths = [0, 9, 10, u64::MAX].map(|n| filled_up(&text(n)).len());
        assert_eq!(lengths, [BLOCK; 4]);
        let lines = |count| filled_up(&"\n".repeat(count)).len();
        let whole = BLOCK / (LINE + 1);
        assert_eq!(
            [0, 1, whole, whole + 1].map(lines),
            [0, BLOCK, BLOCK, 2 * BLOCK]
        );
        assert!(filled_up(&text(0)).ends_with(b" \n"));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&filled_up(&text(10))).unwrap(),
            serde_json::json!({"listing_age_seconds": 10, "files": 10})
        );
    }
}
