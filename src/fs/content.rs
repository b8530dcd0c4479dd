//! The bytes of an open file, and where they are: at the service, in a complete copy, sealed, or in a draft that is being
//! written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::api::FileId;
use crate::state::{Digest, Digester};
use crate::store::{Reading, Stage, Store};

use super::FsError;
use super::file::SNIFFED;

/// The bytes of an open file.
#[derive(Debug)]
pub(super) enum Content {
    /// At the service, to be fetched at the first read, or on its way here.
    Remote(FileId, Option<Arc<Reading>>),
    /// A complete local copy.
    Copy(Arc<File>),
    /// Small sealed content.
    Bytes(Arc<Vec<u8>>),
    /// A sealed staged file. Its name belongs to the outbox once a record is committed.
    Sealed(String, Arc<File>),
    /// A small draft.
    Memory(Vec<u8>),
    /// A larger draft.
    Staged(Draft),
}

/// A draft in a staged file, and the digest of what was written from its start without a gap: most files are written
/// so, and then sealing them reads nothing.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) file: Arc<File>,
    digester: Option<Digester>,
    /// So many bytes from the start have their place on the disk: fallocate(2) promised it.
    allocated: u64,
}

impl Draft {
    /// A staged draft of bytes in memory.
    pub(super) fn of_bytes(store: &Store, bytes: &[u8]) -> Result<Self, FsError> {
        let mut draft = Self::new(store)?;
        draft.fill(store, |draft| draft.write(store, 0, bytes, 0))?;
        Ok(draft)
    }

    /// A staged copy of a file's first `length` bytes.
    pub(super) fn of_file(store: &Store, from: &File, length: u64) -> Result<Self, FsError> {
        let mut draft = Self::new(store)?;
        draft.fill(store, |draft| {
            Ok(store.copy_to_stage(&draft.name, &draft.file, from, length)?)
        })?;
        // It was copied to be changed; what is written next starts anywhere.
        draft.digester = None;
        Ok(draft)
    }

    /// A staged file that was sealed, and has become a draft again.
    pub(super) fn of_stage(name: String, file: Arc<File>) -> Self {
        Self {
            name,
            file,
            digester: None,
            allocated: 0,
        }
    }

    fn new(store: &Store) -> Result<Self, FsError> {
        let Stage { name, file } = store.stage()?;
        Ok(Self {
            name,
            file: Arc::new(file),
            digester: Some(Digester::default()),
            allocated: 0,
        })
    }

    fn fill(
        &mut self,
        store: &Store,
        fill: impl FnOnce(&mut Self) -> Result<(), FsError>,
    ) -> Result<(), FsError> {
        let filled = fill(self);
        if filled.is_err() {
            store.drop_stage(&self.name);
        }
        filled
    }

    /// Writes to a draft of `size` bytes. Where the disk fills up in the middle, a part has been written; what of it lies
    /// beyond the draft's end must not come back as content where zeros belong.
    pub(super) fn write(
        &mut self,
        store: &Store,
        size: u64,
        data: &[u8],
        offset: u64,
    ) -> Result<(), FsError> {
        if offset > size {
            trim(store, &self.name, &self.file, size)?;
        }
        if self
            .digester
            .as_ref()
            .is_some_and(|digester| digester.length() != offset)
        {
            self.digester = None;
        }
        store.write_stage(&self.name, &self.file, data, offset)?;
        if let Some(digester) = &mut self.digester {
            digester.update(data);
        }
        Ok(())
    }

    /// Cuts or extends a draft of `old` bytes to `new`.
    pub(super) fn resize(&mut self, store: &Store, old: u64, new: u64) -> Result<(), FsError> {
        self.digester = None;
        self.allocated = self.allocated.min(new);
        if new > old {
            trim(store, &self.name, &self.file, old)?;
        }
        Ok(store.resize_stage(&self.name, &self.file, new)?)
    }

    /// Makes sure of the room for `end` bytes of a draft of `size`, which is extended to that where it is shorter.
    pub(super) fn allocate(&mut self, store: &Store, size: u64, end: u64) -> Result<(), FsError> {
        if end > size {
            self.digester = None;
            trim(store, &self.name, &self.file, size)?;
        }
        store
            .allocate_stage(&self.name, &self.file, end)
            .map_err(|error| match error.kind() {
                io::ErrorKind::Unsupported => FsError::NotSupported,
                _ => error.into(),
            })?;
        self.allocated = self.allocated.max(end);
        Ok(())
    }

    /// Whether the first `end` bytes have their place on the disk.
    pub(super) fn has_room_for(&self, end: u64) -> bool {
        end <= self.allocated
    }

    /// The digest of all `size` bytes, where it was taken while they were written.
    pub(super) fn digest(self, size: u64) -> Option<Digest> {
        self.digester
            .filter(|digester| digester.length() == size)
            .map(Digester::finish)
    }
}

/// Content that will not change any more.
#[derive(Debug)]
pub(super) enum SealedContent {
    /// Small content.
    Bytes(Arc<Vec<u8>>),
    /// A staged file, and its digest where that is known already.
    Staged(String, Arc<File>, Option<Digest>),
    /// Nothing was written: what the service has.
    Unchanged,
}

impl SealedContent {
    /// The digest of its `size` bytes.
    pub(super) fn digest(&self, size: u64) -> io::Result<Digest> {
        match self {
            Self::Bytes(bytes) => Ok(Digest::of(bytes)),
            Self::Staged(_, _, Some(digest)) => Ok(*digest),
            Self::Staged(_, file, None) => {
                Digest::of_reader(&mut Positioned { file, at: 0 }.take(size))
            }
            Self::Unchanged => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Its first bytes, by which its media type is told where its name does not tell.
    pub(super) fn head(&self, size: u64) -> io::Result<Vec<u8>> {
        let length = SNIFFED.min(size as usize);
        match self {
            Self::Bytes(bytes) => Ok(bytes[..length].to_vec()),
            Self::Staged(_, file, _) => read_at(file, 0, length),
            Self::Unchanged => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Cuts what a failed write left beyond the end of a staged file of `size` bytes.
pub(super) fn trim(store: &Store, name: &str, file: &File, size: u64) -> Result<(), FsError> {
    if file.metadata()?.len() > size {
        store.resize_stage(name, file, size)?;
    }
    Ok(())
}

pub(super) fn slice(bytes: &[u8], offset: u64, size: usize) -> Vec<u8> {
    let start = (offset as usize).min(bytes.len());
    let end = start.saturating_add(size).min(bytes.len());
    bytes[start..end].to_vec()
}

/// Exactly `size` bytes, or an error: a local copy that ends early is damaged, and zeros or a short read would be a lie.
pub(super) fn read_at(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Reads a shared file from a position of its own.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
