//! What `afs trash` asks: what is in the trash, mounted or not, and what can be taken back before it is there.

use std::io;

use crate::fs::{WorkspaceFs, give_up_pending};
use crate::names::{NameStyle, service_name};
use crate::state::{GiveUpError, Pending, State, StateError, Work};
use crate::store::{Store, Trashed};

use super::entries::TrashFile;
use super::named::typed;
use super::protocol::Reply;

/// The trash of a workspace.
#[derive(Debug)]
pub struct Trash<'a> {
    /// Its state.
    pub state: &'a State,
    /// Its copies.
    pub store: &'a Store,
    /// Its files, where it is mounted.
    pub fs: Option<&'a WorkspaceFs>,
}

impl Trash<'_> {
    /// What is in it, and what is on its way there.
    #[must_use]
    pub fn list(&self) -> Reply {
        let trashed = match self.store.trashed() {
            Ok(trashed) => trashed,
            Err(error) => return disk(&error),
        };
        let replaced = match self.replaced() {
            Ok(replaced) => replaced,
            Err(error) => return Reply::failed(&error),
        };
        let pending = self.state.pending();
        let deletions = pending.iter().filter(|change| is_deletion(change));
        let trashed = trashed.into_iter().map(|file| self.entry(file));
        let mut files: Vec<TrashFile> = trashed.chain(replaced).collect();
        files.sort_by_key(|file| file.thrown_at);
        Reply::Trash {
            files,
            deletions: deletions
                .map(|change| typed(self.state, &change.record.name))
                .collect(),
        }
    }

    /// In the trash a file is called what the strict style calls it, whatever the style was when it came there.
    fn entry(&self, file: Trashed) -> TrashFile {
        let name = match self.state.style() {
            NameStyle::Strict => file.name,
            style @ NameStyle::Encode => {
                style.directory_name(&service_name(&file.name)).into_owned()
            }
        };
        TrashFile {
            key: file.key,
            name,
            id: file.id,
            size_bytes: file.size,
            thrown_at: file.thrown_at,
            path: file.path.to_string_lossy().into_owned(),
            lives_until: None,
        }
    }

    /// Replaced files that stay at the service for a while: they are not in the trash yet, but as good as.
    fn replaced(&self) -> Result<Vec<TrashFile>, StateError> {
        let lingering = self.state.lingering_replaced()?;
        let kept = lingering.into_iter().filter_map(|(id, name, until)| {
            let (path, size_bytes) = self.store.kept_file(&id)?;
            let replaced = self.state.successor(&id).ok().flatten();
            Some(TrashFile {
                key: String::new(),
                name: self.state.style().directory_name(&name).into_owned(),
                id: id.to_string(),
                size_bytes,
                thrown_at: replaced.map_or(until, |successor| successor.replaced_at),
                path: path.to_string_lossy().into_owned(),
                lives_until: Some(until),
            })
        });
        Ok(kept.collect())
    }

    /// Takes the deletion of a file back that the service has not been told of. Where its name was given to another file
    /// meanwhile, that one would be in its way.
    #[must_use]
    pub fn take_back(&self, name: &str) -> Reply {
        match self.can_be_taken_back(name) {
            Ok(true) => {}
            Ok(false) => return nothing_of(name),
            Err(error) => return Reply::failed(&error),
        }
        let taken_back = match self.fs {
            Some(fs) => fs.drop_pending(name).map(drop),
            None => give_up_pending(self.state, self.store, name).map(drop),
        };
        match taken_back {
            Ok(()) => Reply::TakenBack,
            // It was sent a moment ago.
            Err(GiveUpError::NotPending) => nothing_of(name),
            Err(error) => Reply::failed(&format!("{name}: {error}")),
        }
    }

    /// Whether deletions are all that is pending under a name, and none of them is under way.
    fn can_be_taken_back(&self, name: &str) -> Result<bool, StateError> {
        if self.state.lookup(name)?.is_some() {
            return Ok(false);
        }
        let pending = self.state.pending();
        let mut named = pending
            .iter()
            .filter(|change| typed(self.state, &change.record.name) == name)
            .peekable();
        Ok(named.peek().is_some() && named.all(|change| is_deletion(change) && !change.in_flight))
    }

    /// Removes a file for good.
    #[must_use]
    pub fn purge(&self, key: &str) -> Reply {
        match self.store.empty_trash(key) {
            Ok(true) => Reply::Purged,
            Ok(false) => nothing_of(key),
            Err(error) => disk(&error),
        }
    }
}

fn is_deletion(change: &Pending) -> bool {
    matches!(change.record.work, Work::Delete { .. })
}

fn nothing_of(name: &str) -> Reply {
    Reply::Unmatched {
        why: format!("{name}: there is nothing of this name in the trash"),
    }
}

fn disk(error: &io::Error) -> Reply {
    Reply::failed(&format!("the trash can't be used: {error}"))
}
