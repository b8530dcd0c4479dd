//! One change to the local disk, named.

use std::fmt;
use std::path::Path;

/// What is about to be done, or has been. Its text says the kind and the directories, not the file: it is the same
/// in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Make a directory.
    MakeDir(&'a Path),
    /// Make an empty file.
    Create(&'a Path),
    /// Write to a file.
    Write {
        /// Which.
        path: &'a Path,
        /// From which byte on.
        offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Cut or extend a file.
    Resize {
        /// Which.
        path: &'a Path,
        /// Its new length.
        len: u64,
    },
    /// Make a file's content durable.
    Sync(&'a Path),
    /// Make the names in a directory durable.
    SyncDir(&'a Path),
    /// Move a file.
    Rename {
        /// From this path.
        from: &'a Path,
        /// To this one, whatever is there.
        to: &'a Path,
    },
    /// Give a file a second name.
    Link {
        /// Beside this one.
        from: &'a Path,
        /// This one.
        to: &'a Path,
    },
    /// Remove a file, or a directory with all that is in it.
    Remove(&'a Path),
    /// Begin a transaction of the state database.
    Begin(&'static str),
    /// Commit it.
    Commit {
        /// Which.
        name: &'static str,
        /// Whether it is on disk with all earlier ones when it is done.
        is_durable: bool,
    },
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MakeDir(path) => write!(f, "make directory in {}", place(path)),
            Self::Create(path) => write!(f, "create in {}", place(path)),
            Self::Write { path, .. } => write!(f, "write in {}", place(path)),
            Self::Resize { path, .. } => write!(f, "resize in {}", place(path)),
            Self::Sync(path) => write!(f, "sync in {}", place(path)),
            Self::SyncDir(path) => write!(f, "sync names in {}", named(path.ancestors())),
            Self::Rename { from, to } => write!(f, "rename {} to {}", place(from), place(to)),
            Self::Link { from, to } => write!(f, "link {} to {}", place(from), place(to)),
            Self::Remove(path) => write!(f, "remove in {}", place(path)),
            Self::Begin(name) => write!(f, "begin {name}"),
            Self::Commit { name, .. } => write!(f, "commit {name}"),
        }
    }
}

/// The directory of a file.
fn place(path: &Path) -> String {
    named(path.ancestors().skip(1))
}

/// The innermost directory's name. What was thrown away is in one of its own, which is named by a time and an id; then
/// it is the one around it.
fn named<'a>(dirs: impl Iterator<Item = &'a Path>) -> String {
    dirs.map(name)
        .find(|name| !name.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap_or_default()
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_step_is_the_same_in_every_run() {
        let path = Path::new;
        for (step, text) in [
            (Step::Create(path("/s/staged/12")), "create in staged"),
            (Step::SyncDir(path("/s/kept")), "sync names in kept"),
            (
                Step::SyncDir(path("/s/trash/1700-file_a")),
                "sync names in trash",
            ),
            (
                Step::Rename {
                    from: path("/s/kept/file_a"),
                    to: path("/s/trash/1700-file_a/notes.md"),
                },
                "rename kept to trash",
            ),
            (
                Step::Commit {
                    name: "seal",
                    is_durable: true,
                },
                "commit seal",
            ),
        ] {
            assert_eq!(step.to_string(), text);
        }
    }
}
