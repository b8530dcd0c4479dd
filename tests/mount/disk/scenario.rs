//! What is done to a workspace, and what of it must be there afterwards: all that was acknowledged, whole; of what was
//! under way either all or nothing.

use std::collections::BTreeMap;

use crate::harness::pattern;
use crate::surface::{Answer, NEW, Surface};

/// A directory's files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// One thing a program does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A whole content under a name, new or not.
    Put(&'static str, Vec<u8>),
    /// More at the end of a file.
    Append(&'static str, Vec<u8>),
    /// A beginning, fsync(2), and the rest.
    PutSynced(&'static str, Vec<u8>, Vec<u8>),
    /// A new file that is renamed while it is open.
    PutAs(&'static str, &'static str, Vec<u8>),
    Rename(&'static str, &'static str),
    Unlink(&'static str),
    /// truncate(2), by name.
    Truncate(&'static str, usize),
}

/// Large enough to be staged while it is written.
pub(crate) const LARGE: usize = 1024 * 1024 + 1;

/// Too large for a record, small enough for memory.
pub(crate) const MEDIUM: usize = 64 * 1024 + 1;

/// Every kind of change, on every kind of content.
pub(super) fn scenario() -> Vec<Act> {
    use Act::{Append, Put, PutAs, PutSynced, Rename, Truncate, Unlink};
    vec![
        Put("a", b"one".to_vec()),
        Put("big", pattern(LARGE)),
        Put("a", b"another one".to_vec()),
        Truncate("a", 7),
        Append("big", b"and more".to_vec()),
        PutSynced("synced", pattern(100), pattern(MEDIUM)),
        Rename("a", "renamed"),
        Rename("big", "a"),
        Put("medium", pattern(MEDIUM)),
        Put("renamed", Vec::new()),
        Rename("medium", "renamed"),
        Unlink("synced"),
        PutAs("draft.tmp", "a", b"as editors do it".to_vec()),
        Put("empty", Vec::new()),
        Put("last", b"the last one".to_vec()),
        Truncate("last", 0),
    ]
}

impl Act {
    /// The states it leads through; the last one is its result.
    pub(super) fn states(&self, before: &Files) -> Vec<Files> {
        let mut after = before.clone();
        match self {
            Self::Put(name, content) => {
                after.insert((*name).to_owned(), content.clone());
            }
            Self::Append(name, more) => {
                after.entry((*name).to_owned()).or_default().extend(more);
            }
            Self::PutSynced(name, first, rest) => {
                after.insert((*name).to_owned(), first.clone());
                let synced = after.clone();
                after.entry((*name).to_owned()).or_default().extend(rest);
                return vec![synced, after];
            }
            Self::PutAs(draft, name, content) => {
                let mut drafted = before.clone();
                drafted.insert((*draft).to_owned(), content.clone());
                after.remove(*draft);
                after.insert((*name).to_owned(), content.clone());
                return vec![drafted, after];
            }
            Self::Rename(from, to) => {
                if let Some(content) = after.remove(*from) {
                    after.insert((*to).to_owned(), content);
                }
            }
            Self::Unlink(name) => {
                after.remove(*name);
            }
            Self::Truncate(name, size) => {
                after.entry((*name).to_owned()).or_default().truncate(*size);
            }
        }
        vec![after]
    }

    /// Does it; `reached` is called when a state before the last one is acknowledged.
    pub(super) fn run(&self, fs: &dyn Surface, reached: &mut dyn FnMut(usize)) -> Answer<()> {
        match self {
            Self::Put(name, content) => fs.put(name, content),
            Self::Append(name, more) => fs.append(name, more),
            Self::PutSynced(name, first, rest) => {
                let fd = fs.open(name, NEW)?;
                let written = fs
                    .pwrite(fd, 0, first)
                    .and_then(|()| fs.fsync(fd))
                    .map(|()| reached(0))
                    .and_then(|()| fs.pwrite(fd, first.len() as u64, rest));
                written.and(fs.close(fd))
            }
            Self::PutAs(draft, name, content) => {
                let fd = fs.open(draft, NEW)?;
                let written = fs
                    .pwrite(fd, 0, content)
                    .and_then(|()| fs.rename(draft, name, 0));
                written.and(fs.close(fd))
            }
            Self::Rename(from, to) => fs.rename(from, to, 0),
            Self::Unlink(name) => fs.unlink(name),
            Self::Truncate(name, size) => fs.truncate(name, *size as u64),
        }
    }
}

/// All files a directory shows.
pub(super) fn shown(fs: &dyn Surface) -> Files {
    let names = fs.names().into_iter();
    names
        .map(|name| {
            let bytes = fs.get(&name);
            let bytes = bytes.unwrap_or_else(|errno| panic!("{name}: errno {errno}"));
            (name, bytes)
        })
        .collect()
}

/// Says files by name and size, and how they begin: contents are long.
pub(super) fn summary(files: &Files) -> String {
    let words = files.iter().map(|(name, bytes)| {
        let begin = &bytes[..bytes.len().min(8)];
        format!("{name}: {} bytes {begin:?}", bytes.len())
    });
    words.collect::<Vec<_>>().join("; ")
}
