//! `user.afs.*`: what the service says of a file, for scripts. Off by default: with extended attributes on, the kernel
//! asks for some at every small write and `ls -l` asks for two a file.

use std::ffi::OsStr;

use crate::state::{Ino, Row};

use super::{FsError, WorkspaceFs};

/// Every attribute a file can have.
const NAMES: &[&str] = &[
    "user.afs.id",
    "user.afs.mime_type",
    "user.afs.created_at",
    "user.afs.expires_at",
    "user.afs.downloadable",
    "user.afs.size",
    "user.afs.scope",
    "user.afs.state",
    "user.mime_type",
];

impl WorkspaceFs {
    /// getxattr(2).
    pub fn getxattr(&self, ino: Ino, name: &OsStr) -> Result<Vec<u8>, FsError> {
        self.must_have_xattrs()?;
        let row = self.row_with_xattrs(ino)?;
        name.to_str()
            .and_then(|name| self.xattr(&row, name))
            .map(String::into_bytes)
            .ok_or(FsError::NoAttribute)
    }

    /// listxattr(2): names, each ended by a zero byte.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>, FsError> {
        self.must_have_xattrs()?;
        let Ok(row) = self.row_with_xattrs(ino) else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for name in NAMES.iter().filter(|name| self.xattr(&row, name).is_some()) {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        Ok(names)
    }

    /// setxattr(2), removexattr(2): the service keeps none of ours.
    pub fn change_xattr(&self) -> Result<(), FsError> {
        self.must_have_xattrs()?;
        Err(FsError::NotSupported)
    }

    fn must_have_xattrs(&self) -> Result<(), FsError> {
        if self.settings.xattr {
            Ok(())
        } else {
            Err(FsError::NotImplemented)
        }
    }

    fn row_with_xattrs(&self, ino: Ino) -> Result<std::sync::Arc<Row>, FsError> {
        self.state.row(ino)?.ok_or(FsError::NoAttribute)
    }

    fn xattr(&self, row: &Row, name: &str) -> Option<String> {
        match name {
            "user.afs.id" => row.id.as_ref().map(ToString::to_string),
            "user.afs.mime_type" | "user.mime_type" => Some(row.mime_type.clone()),
            "user.afs.created_at" => Some(row.created_at.to_string()),
            "user.afs.expires_at" => row.expires_at.map(|time| time.to_string()),
            "user.afs.downloadable" => Some(row.downloadable.to_string()),
            "user.afs.size" => Some(row.size.to_string()),
            "user.afs.scope" => row.scope.clone(),
            "user.afs.state" => Some(self.file_state(row).to_owned()),
            _ => None,
        }
    }

    /// Where the file's bytes stand, in one word.
    fn file_state(&self, row: &Row) -> &'static str {
        let is_dirty = self.node(row.ino).is_some_and(|node| node.shown().is_dirty);
        match &row.id {
            _ if row.scratch => "scratch",
            _ if is_dirty => "draft",
            _ if self.state.is_pending(row.ino) => "pending",
            None => "draft",
            Some(id) if self.store.is_kept(id) => "kept",
            Some(id) if self.store.has(id) => "cached",
            Some(_) if row.is_expired => "expired",
            Some(_) if row.downloadable => "remote",
            Some(_) => "unreadable",
        }
    }
}
