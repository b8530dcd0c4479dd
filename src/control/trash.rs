//! What `afs trash` asks: what is in the trash, mounted or not, and what can be taken back before it is there.

use std::io;

use crate::fs::{WorkspaceFs, give_up_pending};
use crate::state::{GiveUpError, Pending, State, StateError, Work};
use crate::store::Store;

use super::entries::TrashFile;
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
        let pending = self.state.pending();
        let deletions = pending.iter().filter(|change| is_deletion(change));
        Reply::Trash {
            files: trashed
                .into_iter()
                .map(|file| TrashFile {
                    key: file.key,
                    name: file.name,
                    id: file.id,
                    size_bytes: file.size,
                    thrown_at: file.thrown_at,
                    path: file.path.to_string_lossy().into_owned(),
                })
                .collect(),
            deletions: deletions.map(|change| change.record.name.clone()).collect(),
        }
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
            .filter(|change| change.record.name == name)
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
