//! Which directory holds a workspace's state. Keys rotate and kept files must survive that, so the directory is named
//! by an id of our own; an index remembers which keys (by fingerprint) have led to it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::api::FileId;

use super::{State, StateError};

/// The name of a workspace's state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceId(String);

impl WorkspaceId {
    /// The directory's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The workspaces known on this machine.
#[derive(Debug)]
pub struct Workspaces {
    root: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    id: WorkspaceId,
    base_url: String,
    /// Fingerprints of the keys that lead here.
    keys: Vec<String>,
}

impl Workspaces {
    /// The workspaces with state under `root`, which is created where it is missing, for its owner only.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| StateError::Io(root.to_owned(), error))?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The same for who only looks: nothing is created.
    pub(super) fn looked_at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The workspace that this key led to before.
    pub fn known(&self, base_url: &str, key: &str) -> Result<Option<WorkspaceId>, StateError> {
        let index = self.locked_index()?.1;
        let known = index
            .into_iter()
            .find(|known| known.base_url == base_url && known.keys.iter().any(|seen| seen == key));
        Ok(known.map(|known| known.id))
    }

    /// Finds the place of a key that is new here. `listed` are ids its workspace shows: a workspace of the same host that
    /// knows one of them is the same one, and the key is added to it; otherwise a new one begins.
    pub fn place(
        &self,
        base_url: &str,
        key: &str,
        listed: &[FileId],
    ) -> Result<WorkspaceId, StateError> {
        let (lock, mut index) = self.locked_index()?;
        // Another process may have found a place for this key while its listing was on its way here.
        if let Some(known) = index
            .iter()
            .find(|known| known.base_url == base_url && known.keys.iter().any(|seen| seen == key))
        {
            return Ok(known.id.clone());
        }
        for known in &mut index {
            if known.base_url == base_url && self.knows_any(&known.id, listed) {
                known.keys.push(key.to_owned());
                let id = known.id.clone();
                self.write_index(&index)?;
                return Ok(id);
            }
        }
        let id = WorkspaceId(format!("ws-{}", random_hex().map_err(|e| self.io(e))?));
        index.push(Known {
            id: id.clone(),
            base_url: base_url.to_owned(),
            keys: vec![key.to_owned()],
        });
        self.write_index(&index)?;
        drop(lock);
        Ok(id)
    }

    /// Whether a workspace's state knows one of these ids. State that is gone or can't be read knows none; it must not
    /// keep every new key of its host out.
    fn knows_any(&self, id: &WorkspaceId, listed: &[FileId]) -> bool {
        let dir = self.dir_of(id);
        if !dir.join("state.db").exists() {
            return false;
        }
        let known = State::open(&dir).and_then(|state| state.knows_any(listed));
        known.unwrap_or_else(|error| {
            log::warn!("the state in {} is passed over: {error}", dir.display());
            false
        })
    }

    /// Every workspace with the base URL it belongs to.
    pub(super) fn all(&self) -> Result<Vec<(WorkspaceId, String)>, StateError> {
        let index = self.locked_index()?.1;
        let all = index.into_iter().map(|known| (known.id, known.base_url));
        Ok(all.collect())
    }

    /// The same without the lock: the index is replaced as a whole, so that each look sees a complete one.
    pub(super) fn all_unlocked(&self) -> Result<Vec<(WorkspaceId, String)>, StateError> {
        let index = self.index()?.into_iter();
        Ok(index.map(|known| (known.id, known.base_url)).collect())
    }

    /// The state directories of all workspaces; some may be gone.
    pub fn dirs(&self) -> Result<Vec<PathBuf>, StateError> {
        let all = self.all()?;
        Ok(all.iter().map(|(id, _)| self.dir_of(id)).collect())
    }

    /// Where a workspace's state is.
    #[must_use]
    pub fn dir_of(&self, id: &WorkspaceId) -> PathBuf {
        self.root.join(id.as_str())
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("workspaces.json")
    }

    fn io(&self, error: std::io::Error) -> StateError {
        StateError::Io(self.index_path(), error)
    }

    /// The index, and the lock under which it may be changed.
    fn locked_index(&self) -> Result<(File, Vec<Known>), StateError> {
        let path = self.root.join("workspaces.lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| StateError::Io(path, error))?;
        let index = self.index()?;
        Ok((lock, index))
    }

    fn index(&self) -> Result<Vec<Known>, StateError> {
        match fs::read(self.index_path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| self.io(e.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.io(error)),
        }
    }

    fn write_index(&self, index: &[Known]) -> Result<(), StateError> {
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            file.write_all(&serde_json::to_vec_pretty(index)?)?;
            file.as_file().sync_all()?;
            file.persist(self.index_path())?;
            File::open(&self.root)?.sync_all()
        };
        write().map_err(|error| self.io(error))
    }
}

fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
