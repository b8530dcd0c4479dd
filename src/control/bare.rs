//! A workspace with nothing but a key: no state, no home directory, nothing mounted. Every question is a request, an upload
//! is one POST, and what is replaced or deleted is kept nowhere.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{
    ApiError, ErrorKind, FileId, FileMetadata, FilesApi, Glob, MAX_FILE_SIZE, Pace, Policy,
    SystemPace, Upload, mime_type_of,
};
use crate::fs::{FsError, PutError};
use crate::names::{directory_name, suffixed};
use crate::sync::{RefreshError, every_file};

use super::files::IDS_BEGIN;
use super::landing::{Landing, LandingError};
use super::protocol::{Reply, Request};
use super::transfers::{PIECE, SNIFFED, destination, open_source, plainly, why_not_put};
use super::{FileEntry, Get, Put, Say, Which};

/// The service, and nothing beside it.
pub struct Bare {
    api: Arc<dyn FilesApi>,
    /// For uploads, which nobody repeats.
    saves: Arc<dyn FilesApi>,
    /// How long a refused upload is tried again.
    patience: Duration,
    /// What it listed, newest first, once somebody had to know: names are told from it.
    listed: Option<Vec<FileEntry>>,
}

impl fmt::Debug for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").finish_non_exhaustive()
    }
}

/// Why there is no answer.
enum Failure {
    Api(ApiError),
    Reply(Reply),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<LandingError> for Failure {
    fn from(error: LandingError) -> Self {
        Self::Reply(match error {
            LandingError::Taken(why) => Reply::Refused { why },
            LandingError::Failed(why) => Reply::Failed { why },
        })
    }
}

impl Failure {
    fn failed(why: &impl ToString) -> Self {
        Self::Reply(Reply::failed(why))
    }
}

impl Bare {
    /// `saves` sends an upload once, `api` everything else.
    #[must_use]
    pub fn new(api: Arc<dyn FilesApi>, saves: Arc<dyn FilesApi>, patience: Duration) -> Self {
        Self {
            api,
            saves,
            patience,
            listed: None,
        }
    }

    /// Tells `say` how far it is, and gives the end of the answer.
    pub fn answer(&mut self, request: &Request, say: Say<'_>) -> Reply {
        let answered = match request {
            Request::Files { which } => self.files(which),
            Request::File { what, .. } => self.file(what).map(|file| Reply::File(Box::new(file))),
            Request::Put(put) => self.put(put, say),
            Request::Get(get) => self.get(get, say),
            Request::Remove { what, .. } => self.remove(what),
            _ => Err(Failure::failed(
                &"that takes a mount, or the state that one left: afs mount",
            )),
        };
        answered.unwrap_or_else(|failure| match failure {
            Failure::Reply(reply) => reply,
            Failure::Api(error) => Reply::failed(&plainly(&error)),
        })
    }

    fn files(&mut self, which: &Which) -> Result<Reply, Failure> {
        let glob = which.glob.as_deref().map(str::parse::<Glob>).transpose();
        let glob = glob.map_err(|error| Failure::failed(&error))?;
        let listed = entries(self.list(which.session.as_deref())?);
        let is_meant = |file: &&FileEntry| {
            glob.as_ref().is_none_or(|glob| glob.matches(&file.name))
                && which
                    .downloadable
                    .is_none_or(|wanted| wanted == file.downloadable)
        };
        Ok(Reply::Files {
            files: listed.into_iter().filter(|file| is_meant(&file)).collect(),
            more: false,
        })
    }

    /// The file of an id, at the cost of one request, or of a name, at that of a listing.
    fn file(&mut self, what: &str) -> Result<FileEntry, Failure> {
        if what.starts_with(IDS_BEGIN) && self.listed.is_none() {
            match self.api.metadata(&FileId::new(what)) {
                Ok(file) => {
                    let name = directory_name(&file.filename).into_owned();
                    return Ok(entry(file, name, false));
                }
                // It may be a name.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let listed = self.listed()?;
        let found = listed
            .iter()
            .find(|file| file.name == what)
            .or_else(|| listed.iter().find(|file| file.id.as_deref() == Some(what)));
        found.cloned().ok_or_else(|| {
            Failure::Reply(Reply::Unmatched {
                why: format!("{what}: there is no file of this name or id"),
            })
        })
    }

    fn listed(&mut self) -> Result<&Vec<FileEntry>, Failure> {
        if self.listed.is_none() {
            self.listed = Some(entries(self.list(None)?));
        }
        Ok(self.listed.get_or_insert_default())
    }

    fn list(&self, session: Option<&str>) -> Result<Vec<FileMetadata>, Failure> {
        every_file(&*self.api, session).map_err(|error| match error {
            RefreshError::Api(error) => Failure::Api(error),
            error => Failure::failed(&error),
        })
    }

    fn put(&mut self, put: &Put, say: Say<'_>) -> Result<Reply, Failure> {
        let failed =
            |why: &dyn ToString| Failure::failed(&format!("{}: {}", put.name, why.to_string()));
        let (begun, mut tries) = (Instant::now(), 0);
        let file = loop {
            say(&Reply::Sending {
                name: put.name.clone(),
                done: 0,
                size: 0,
            });
            let error = match self.send(put).map_err(|why| failed(&why_not_put(&why)))? {
                Ok(file) => break file,
                Err(error) if error.may_have_happened() => {
                    let what = "it may have arrived all the same: look with afs ls before you send it again";
                    return Err(failed(&format!("{error}; {what}")));
                }
                Err(error) => error,
            };
            let policy = Policy {
                patience: self.patience,
            };
            let random = SystemPace::new().random();
            match policy.after(&error, tries, begun.elapsed(), random) {
                Some(pause) => thread::sleep(pause),
                None => return Err(failed(&plainly(&error))),
            }
            tries += 1;
        };
        self.listed = None;
        let name = directory_name(&file.filename).into_owned();
        Ok(Reply::Stored {
            file: Box::new(entry(file, name, false)),
            unchanged: false,
        })
    }

    /// One POST, or why the file can't be sent at all.
    fn send(&self, put: &Put) -> Result<Result<FileMetadata, ApiError>, PutError> {
        let mut source = open_source(&put.path).map_err(PutError::Source)?;
        let size = source.metadata().map_err(PutError::Source)?.len();
        if size > MAX_FILE_SIZE {
            return Err(PutError::Fs(FsError::TooLarge));
        }
        let mut head = Vec::new();
        (&mut source)
            .take(SNIFFED)
            .read_to_end(&mut head)
            .map_err(PutError::Source)?;
        let by_content = || mime_type_of(&put.name, &head, &[]);
        Ok(self.saves.upload(Upload {
            filename: put.name.clone(),
            mime_type: put.mime_type.clone().unwrap_or_else(by_content),
            size,
            expires_in_seconds: put.expires_in_seconds,
            body: Box::new(std::io::Cursor::new(head).chain(source)),
        }))
    }

    fn get(&mut self, get: &Get, say: Say<'_>) -> Result<Reply, Failure> {
        let file = self.file(&get.what)?;
        let (name, size) = (file.name, file.size_bytes);
        let id = FileId::new(file.id.unwrap_or_default());
        if !file.downloadable {
            return Err(Failure::failed(&format!(
                "{name}: it was uploaded, and the service gives back only what tools made"
            )));
        }
        let path = destination(&get.to, &name);
        let Some(mut landing) = Landing::at(&path, get.mode, Some(&id))? else {
            return Ok(Reply::Got {
                name,
                path,
                size,
                unchanged: true,
            });
        };
        let failed = |why: &dyn ToString| Failure::failed(&format!("{name}: {}", why.to_string()));
        let mut body = self
            .api
            .download(&id, 0)
            .map_err(|error| failed(&error))?
            .body;
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        loop {
            let count = body.read(&mut piece).map_err(|error| failed(&error))?;
            if count == 0 {
                break;
            }
            landing.write(&piece[..count])?;
            done += count as u64;
            say(&Reply::Downloading {
                name: name.clone(),
                done,
                size,
            });
        }
        if done != size {
            return Err(failed(&format!(
                "the service sent {done} bytes of a file of {size}: nothing was written"
            )));
        }
        landing.settle()?;
        Ok(Reply::Got {
            name,
            path,
            size,
            unchanged: false,
        })
    }

    fn remove(&mut self, what: &str) -> Result<Reply, Failure> {
        let file = self.file(what)?;
        let id = FileId::new(file.id.unwrap_or_default());
        // The next oldest would have the name then, and whoever repeats the command would delete that one too.
        if id.as_str() != what && !file.is_older_copy {
            let is_other = |other: &&FileEntry| other.filename == file.filename;
            let count = self.listed()?.iter().filter(is_other).count();
            if count > 1 {
                return Err(Failure::Reply(Reply::Refused {
                    why: format!(
                        "{count} files are called {what}; say by its id which to delete: afs ls"
                    ),
                }));
            }
        }
        self.api.delete(&id)?;
        if let Some(listed) = &mut self.listed {
            listed.retain(|other| other.id.as_deref() != Some(id.as_str()));
        }
        Ok(Reply::Removed { name: file.name })
    }
}

/// Files with the names that a mount would show: of several with one filename the newest has it.
fn entries(files: Vec<FileMetadata>) -> Vec<FileEntry> {
    let mut taken = HashSet::new();
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        let plain = directory_name(&file.filename).into_owned();
        let is_older = taken.contains(&plain);
        let name = if is_older {
            suffixed(&plain, file.id.as_str(), |name| taken.contains(name))
        } else {
            plain
        };
        taken.insert(name.clone());
        entries.push(entry(file, name, is_older));
    }
    entries
}

fn entry(file: FileMetadata, name: String, is_older_copy: bool) -> FileEntry {
    let expired = file
        .expires_at
        .is_some_and(|time| time <= jiff::Timestamp::now());
    FileEntry {
        name,
        filename: file.filename,
        id: Some(file.id.to_string()),
        size_bytes: file.size_bytes,
        mime_type: file.mime_type,
        created_at: file.created_at.to_string(),
        modified_at: file.created_at.to_string(),
        downloadable: file.downloadable,
        on_this_machine: false,
        pending: false,
        scratch: false,
        is_older_copy,
        session_id: file.scope.map(|scope| scope.id),
        expires_at: file.expires_at.map(|time| time.to_string()),
        expired,
    }
}
