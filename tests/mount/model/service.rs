//! The service in memory: the contract of [`FilesApi`] and nothing else, with answers to order. It looks at what it is
//! asked while it is asked: nothing torn is ever stored, and nothing replaced deleted before its successor is there.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::sync::{Mutex, MutexGuard};

use afs::api::{
    ApiError, Call, Cursor, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi,
    ListQuery, Upload,
};
use jiff::Timestamp;

use super::files::{Name, Serial, serial_of};
use super::plan::SCRATCH;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is done, and the answer says so.
    Good,
    /// It is done, and the answer is lost.
    LostAfter,
    /// It is not done, and the answer is lost.
    LostBefore,
    /// 429
    Limited,
    /// 500, and nothing is done.
    Broken,
    /// 500, although it is done.
    BrokenAfter,
}

impl Answer {
    fn is_done(self) -> bool {
        matches!(self, Self::Good | Self::LostAfter | Self::BrokenAfter)
    }

    fn error(self, call: Call) -> Option<ApiError> {
        let (kind, status) = match self {
            Self::Good => return None,
            Self::LostAfter | Self::LostBefore => (ErrorKind::Interrupted, None),
            Self::Limited => (ErrorKind::RateLimited, Some(429)),
            Self::Broken | Self::BrokenAfter => (ErrorKind::Unavailable, Some(500)),
        };
        Some(ApiError {
            status,
            ..ApiError::local(call, kind, format!("{self:?}"))
        })
    }
}

#[derive(Debug)]
struct Stored {
    file: FileMetadata,
    bytes: Vec<u8>,
    /// Whether another of its name, or a newer version of it, was stored after it: it may go since.
    is_followed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Service(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Oldest first.
    files: Vec<Stored>,
    given: u64,
    answers: VecDeque<Answer>,
    /// Calls that change something or look at one file.
    calls: usize,
    /// Contents that were sealed: no other may arrive.
    sealed: HashSet<u64>,
    /// The files that are there for certain, with all the names they had: one version of each stays.
    there: HashMap<Serial, BTreeSet<Name>>,
    /// The file that was moved aside, with all the names it had: what is here of it stays until its name is another's.
    aside: Option<(Serial, BTreeSet<Name>)>,
    violation: Option<String>,
}

impl Service {
    pub(super) fn new(answers: &[Answer]) -> Self {
        let inner = Inner {
            answers: answers.iter().copied().collect(),
            ..Inner::default()
        };
        Self(Mutex::new(inner))
    }

    /// From now on all goes well.
    pub(super) fn behave(&self) {
        self.inner().answers.clear();
    }

    /// This content is acknowledged, or may be from now on.
    pub(super) fn may_arrive(&self, bytes: &[u8]) {
        self.inner().sealed.insert(digest(bytes));
    }

    /// These files are there for certain.
    pub(super) fn are_there(
        &self,
        there: HashMap<Serial, BTreeSet<Name>>,
        aside: Option<(Serial, BTreeSet<Name>)>,
    ) {
        let mut inner = self.inner();
        inner.there = there;
        inner.aside = aside;
    }

    /// What was done that must never be.
    pub(super) fn violation(&self) -> Option<String> {
        self.inner().violation.clone()
    }

    /// Whether it has such a content.
    pub(super) fn has(&self, bytes: &[u8]) -> bool {
        self.inner()
            .files
            .iter()
            .any(|stored| stored.bytes == bytes)
    }

    /// Every file by name, each as often as it is there.
    pub(super) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let inner = self.inner();
        let files = inner.files.iter();
        let mut files: Vec<_> = files
            .map(|stored| (stored.file.filename.clone(), stored.bytes.clone()))
            .collect();
        files.sort();
        files
    }

    /// How many calls there were beside lists.
    pub(super) fn calls(&self) -> usize {
        self.inner().calls
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// One call: `act` is what it does, where it is done.
    fn answer<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Inner) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut inner = self.inner();
        inner.calls += usize::from(call != Call::List);
        let answer = inner.answers.pop_front().unwrap_or(Answer::Good);
        let done = answer.is_done().then(|| act(&mut inner));
        match (answer.error(call), done) {
            (Some(error), _) => Err(error),
            (None, Some(done)) => done,
            (None, None) => unreachable!("what is not done has an error"),
        }
    }
}

impl Inner {
    fn store(&mut self, filename: String, mime_type: String, bytes: Vec<u8>) -> FileMetadata {
        if !self.sealed.contains(&digest(&bytes)) {
            let size = bytes.len();
            self.violate(format!(
                "{filename} is stored with {size} bytes that no close sealed"
            ));
        }
        for at in 0..self.files.len() {
            let is_followed = self.files[at].file.filename == filename
                || self.is_version(serial_of(&self.files[at].bytes), &filename, &bytes);
            self.files[at].is_followed |= is_followed;
        }
        self.given += 1;
        let file = FileMetadata {
            id: FileId::new(format!("file_{:08}", self.given)),
            filename,
            mime_type,
            size_bytes: bytes.len() as u64,
            created_at: Timestamp::now(),
            downloadable: false,
            scope: None,
            expires_at: None,
        };
        self.files.push(Stored {
            file: file.clone(),
            bytes,
            is_followed: false,
        });
        file
    }

    fn position(&self, call: Call, id: &FileId) -> Result<usize, ApiError> {
        let found = self.files.iter().position(|stored| stored.file.id == *id);
        found.ok_or_else(|| ApiError {
            status: Some(404),
            ..ApiError::local(call, ErrorKind::NotFound, "no such file")
        })
    }

    /// Whether these are bytes of that file. Of an empty content, and of one that begins with a hole, nothing but its name
    /// says whose it is.
    fn is_version(&self, serial: Option<Serial>, filename: &str, bytes: &[u8]) -> bool {
        let Some(serial) = serial else { return false };
        if let Some(other) = serial_of(bytes) {
            return other == serial;
        }
        let aside = self.aside.as_ref().filter(|(other, _)| *other == serial);
        let names = aside.map(|(_, names)| names);
        names
            .or_else(|| self.there.get(&serial))
            .is_some_and(|names| names.contains(filename))
    }

    fn remove(&mut self, at: usize) {
        let gone = self.files.remove(at);
        let serial = serial_of(&gone.bytes);
        let is_another = |stored: &Stored| {
            stored.file.filename == gone.file.filename
                || self.is_version(serial, &stored.file.filename, &stored.bytes)
        };
        let may_go = gone.is_followed || self.files.iter().any(is_another);
        let is_aside = |(aside, _): &(Serial, _)| serial == Some(*aside);
        if self.aside.as_ref().is_some_and(is_aside) && !may_go {
            let why = format!(
                "{} ({}) is deleted, which was moved aside, and nothing had its name since",
                gone.file.filename, gone.file.id
            );
            return self.violate(why);
        }
        let Some(names) = serial_of(&gone.bytes).and_then(|serial| {
            let names = self.there.get(&serial)?;
            let is_successor = |stored: &Stored| match serial_of(&stored.bytes) {
                Some(other) => other == serial,
                // Empty, or a hole at its beginning: nothing but the name says whose it is.
                None => names.contains(stored.file.filename.as_str()),
            };
            // What was moved aside goes when its name is another's, which may have gone as well since; and it may have come
            // back.
            let was_aside = names.contains(SCRATCH) && gone.is_followed;
            (!was_aside && !self.files.iter().any(is_successor)).then_some(names)
        }) else {
            return;
        };
        let why = format!(
            "{} ({}) is deleted, and no version of the file that is called {names:?} is left",
            gone.file.filename, gone.file.id
        );
        self.violate(why);
    }

    fn violate(&mut self, why: String) {
        self.violation.get_or_insert(why);
    }
}

impl FilesApi for Service {
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        let mut bytes = Vec::new();
        let Upload {
            filename,
            mime_type,
            size,
            expires_in_seconds: _,
            mut body,
        } = upload;
        let read = body.read_to_end(&mut bytes);
        if read.is_err() || bytes.len() as u64 != size {
            let why = format!("the body is not whole: {read:?}");
            return Err(ApiError::local(Call::Upload, ErrorKind::Body, why));
        }
        self.answer(Call::Upload, |inner| {
            Ok(inner.store(filename, mime_type, bytes))
        })
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        self.answer(Call::List, |inner| {
            let newest_first = inner.files.iter().rev().map(|stored| stored.file.clone());
            let all: Vec<FileMetadata> = newest_first.collect();
            let place = |id: &FileId| all.iter().position(|file| file.id == *id);
            let rest = match &query.cursor {
                Cursor::Newest => &all[..],
                Cursor::After(id) => place(id).map_or(&[][..], |at| &all[at + 1..]),
                Cursor::Page(_) => &[],
            };
            let count = rest.len().min(query.limit.into());
            let files = &rest[..count];
            let last = files.last().filter(|_| count < rest.len());
            Ok(FilePage {
                next: last.map(|file| Cursor::After(file.id.clone())),
                files: files.to_vec(),
                date: Some(Timestamp::now()),
            })
        })
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        self.answer(Call::Metadata, |inner| {
            let at = inner.position(Call::Metadata, id)?;
            Ok(inner.files[at].file.clone())
        })
    }

    fn download(&self, id: &FileId, _from: u64) -> Result<Download, ApiError> {
        self.answer(Call::Download, |inner| {
            inner.position(Call::Download, id)?;
            let (kind, why) = (ErrorKind::NotDownloadable, "an upload is never given back");
            Err(ApiError::local(Call::Download, kind, why))
        })
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        self.answer(Call::Delete, |inner| {
            let at = inner.position(Call::Delete, id)?;
            inner.remove(at);
            Ok(())
        })
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
