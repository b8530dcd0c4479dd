//! A file saved as a whole: what `afs put` does. Its content is taken in first and gets its name in one step then, so that
//! whoever has the name open keeps what it had, and what fails on the way changes nothing.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use jiff::Timestamp;

use crate::api::{FileId, MAX_FILE_SIZE, mime_type_of};
use crate::names::NameKind;
use crate::state::{Digest, Digester, GiveUpError, Nanos, Placed, Placing, Row, SealedBytes};
use crate::store::Stage;

use super::file::SNIFFED;
use super::save::INLINE_LIMIT;
use super::{FsError, WorkspaceFs, to_nanos};

/// How much is copied at a time.
const PIECE: usize = 1 << 20;

/// What is to become of a file.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Its name in the directory.
    pub name: &'a str,
    /// Its media type; `None`: told by its name and first bytes.
    pub mime_type: Option<&'a str>,
    /// After how many seconds the service is to give it up; `None`: as the mount says.
    pub expires_in_seconds: Option<u64>,
}

/// How it went.
#[derive(Debug)]
pub enum Saving {
    /// The service has just this already; nothing is sent.
    Unchanged,
    /// It is durable here and on its way.
    Begun(Placed),
}

/// Why a file was not taken in.
#[derive(Debug)]
pub enum PutError {
    /// It can't be read.
    Source(io::Error),
    /// Its name is that of a program's own file, which would stay on this machine.
    Scratch,
    /// What has the name can't make way.
    Taken(GiveUpError),
    /// Anything else.
    Fs(FsError),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "it can't be read: {error}"),
            Self::Scratch => f.write_str(
                "by its name it is a program's own file, and would stay on this machine; to send it, give it another with --name",
            ),
            Self::Taken(error) => error.fmt(f),
            Self::Fs(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PutError {}

impl<E: Into<FsError>> From<E> for PutError {
    fn from(error: E) -> Self {
        Self::Fs(error.into())
    }
}

/// Content that was taken in.
struct Taken {
    bytes: Bytes,
    size: u64,
    head: Vec<u8>,
    digest: Digest,
}

enum Bytes {
    Small(Vec<u8>),
    Staged(Stage),
}

impl WorkspaceFs {
    /// Takes a file in, durably, and has it sent. Whoever waits for that waits for the ticket.
    pub fn put(&self, wish: &Wish<'_>, mut source: File) -> Result<Saving, PutError> {
        self.must_be_writable()?;
        let (name, kind) = self.new_name(wish.name.as_ref())?;
        if kind == NameKind::Scratch {
            return Err(PutError::Scratch);
        }
        let metadata = source.metadata().map_err(PutError::Source)?;
        let mtime = metadata.modified().map_or_else(|_| super::now(), to_nanos);
        if metadata.len() > MAX_FILE_SIZE {
            return Err(FsError::TooLarge.into());
        }
        self.store.must_have_room(metadata.len())?;
        let taken = self.take_in(&mut source)?;
        let saving = self.place(wish, name, &taken, mtime);
        if let (Bytes::Staged(stage), Err(_) | Ok(Saving::Unchanged)) = (&taken.bytes, &saving) {
            self.store.drop_stage(&stage.name);
        }
        saving
    }

    fn place(
        &self,
        wish: &Wish<'_>,
        name: &str,
        taken: &Taken,
        mtime: Nanos,
    ) -> Result<Saving, PutError> {
        let by_content = || mime_type_of(name, &taken.head, &self.settings.mime_overrides);
        let mime_type = wish.mime_type.map_or_else(by_content, str::to_owned);
        let is_same = |over: &Row| {
            over.digest == Some(taken.digest)
                && over.mime_type == mime_type
                && wish.expires_in_seconds.is_none()
        };
        // Before anything is held: it asks the service.
        let over = self.state.lookup(name)?;
        let found = over
            .filter(|over| is_same(over))
            .and_then(|over| self.found(&over));
        let _stay = self.store.let_kept_stay();
        let over = self.state.lookup(name)?;
        if let Some(over) = &over {
            if is_same(over) && found.is_some() && found == over.id && self.is_there(over) {
                return Ok(Saving::Unchanged);
            }
            self.must_be_expendable(over)?;
        }
        let node = over.and_then(|over| self.node(over.ino));
        let mut inner = node.as_ref().map(|node| node.lock());
        if let Some(inner) = &mut inner {
            self.hold_what_is_read(inner);
        }
        let placed = self.state.place(&Placing {
            name,
            size: taken.size,
            mime_type: &mime_type,
            digest: taken.digest,
            bytes: match &taken.bytes {
                Bytes::Small(bytes) => SealedBytes::Inline(bytes),
                Bytes::Staged(stage) => SealedBytes::Staged(&stage.name),
            },
            mtime,
            expires_in_seconds: wish.expires_in_seconds,
            draft: None,
        });
        let mut placed = match placed {
            Ok(placed) => placed,
            Err(GiveUpError::State(error)) => return Err(error.into()),
            Err(why) => return Err(PutError::Taken(why)),
        };
        if let Some(inner) = &mut inner {
            inner.is_unlinked = true;
        }
        drop(inner);
        self.store.drop_stages(&std::mem::take(&mut placed.cleanup));
        Ok(Saving::Begun(placed))
    }

    /// The id of what a row shows where the service has it: as it was seen a moment ago, or as it says now.
    fn found(&self, row: &Row) -> Option<FileId> {
        let id = row.id.as_ref()?;
        if self.refresher.has_seen(row) {
            return Some(id.clone());
        }
        let file = self.api.metadata(id).ok()?;
        let is_it = file.filename == row.filename
            && file.mime_type == row.mime_type
            && file.size_bytes == row.size
            && file.expires_at.is_none_or(|time| time > Timestamp::now());
        is_it.then(|| id.clone())
    }

    /// Whether what a row shows can be read here and is about to stay.
    fn is_there(&self, row: &Row) -> bool {
        let id = row.id.as_ref();
        let is_kept = id.is_some_and(|id| self.store.open_kept(id, &row.into()).is_ok());
        is_kept && !self.state.is_pending(row.ino) && !row.may_have_expired(Timestamp::now())
    }

    fn take_in(&self, source: &mut File) -> Result<Taken, PutError> {
        let mut first = Vec::new();
        let limit = INLINE_LIMIT + 1;
        (&mut *source)
            .take(limit)
            .read_to_end(&mut first)
            .map_err(PutError::Source)?;
        let head = first[..first.len().min(SNIFFED)].to_vec();
        if first.len() < limit as usize {
            return Ok(Taken {
                size: first.len() as u64,
                head,
                digest: Digest::of(&first),
                bytes: Bytes::Small(first),
            });
        }
        let stage = self.store.stage()?;
        match self.fill(&stage, first, source) {
            Ok((size, digest)) => Ok(Taken {
                bytes: Bytes::Staged(stage),
                size,
                head,
                digest,
            }),
            Err(error) => {
                self.store.drop_stage(&stage.name);
                Err(error)
            }
        }
    }

    /// Copies into a staged file what was read and the rest; its size and digest.
    fn fill(
        &self,
        stage: &Stage,
        mut piece: Vec<u8>,
        source: &mut File,
    ) -> Result<(u64, Digest), PutError> {
        let mut digester = Digester::default();
        while !piece.is_empty() {
            let at = digester.length();
            if at + piece.len() as u64 > MAX_FILE_SIZE {
                return Err(FsError::TooLarge.into());
            }
            self.store
                .write_stage(&stage.name, &stage.file, &piece, at)?;
            digester.update(&piece);
            piece.clear();
            (&mut *source)
                .take(PIECE as u64)
                .read_to_end(&mut piece)
                .map_err(PutError::Source)?;
        }
        self.store.sync_stage(&stage.name, &stage.file)?;
        Ok((digester.length(), digester.finish()))
    }
}
