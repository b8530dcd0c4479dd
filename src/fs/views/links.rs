//! Links into the root: by id, since ids are what people find in prompts and tool results, and to what tools made.

use std::sync::Arc;

use crate::api::{ApiError, ErrorKind, FileId, FilesApi};
use crate::names;
use crate::state::{Ino, Row};
use crate::sync::Refresher;

use super::{Add, Attr, BATCH, Caller, Entry, FsError, Kind, LINKS, WorkspaceFs, ask};

impl WorkspaceFs {
    /// The link or file of an id. One that the catalogue does not have is asked for at the service.
    pub(super) fn lookup_id(&self, name: &str, caller: Caller) -> Result<Entry, FsError> {
        let id = FileId::new(name);
        let known = self.state.row_of_id(&id)?;
        // One that a listing did not show any more is asked for as an unknown one is.
        let row = match known.filter(|row| row.is_shown()) {
            Some(row) => row,
            None => self.learn(id, caller)?,
        };
        Ok(self.by_id_entry(&row))
    }

    /// Asks for an id. Who is killed while waiting leaves the question, and its answer is there for the next one.
    fn learn(&self, id: FileId, caller: Caller) -> Result<Arc<Row>, FsError> {
        let (api, refresher) = (Arc::clone(&self.api), Arc::clone(&self.refresher));
        let learned = ask(caller, move || learn(&*api, &refresher, &id))?;
        learned?.ok_or(FsError::NotFound)
    }

    /// What the service says of an id, taken into the catalogue; `None`: it has none such. Blocks for as long as the service
    /// takes.
    pub fn ask_for_id(&self, id: &FileId) -> Result<Option<Arc<Row>>, FsError> {
        learn(&*self.api, &self.refresher, id)
    }

    /// A link to the file's name, or the file itself where it has none (it belongs to a session).
    fn by_id_entry(&self, row: &Row) -> Entry {
        let attr = match row.name {
            Some(_) => self.link_attr(row),
            None => self.row_attr(row),
        };
        Entry {
            attr,
            is_lasting: false,
        }
    }

    pub(super) fn list_ids(&self, after: Ino, add: Add<'_>) -> Result<(), FsError> {
        Self::list_rows(
            after,
            |after| Ok(self.state.list(after, BATCH)?),
            |row| {
                // An id with a slash is reachable by its file's name only.
                let id = row.id.as_ref().filter(|id| !id.as_str().contains('/'))?;
                Some((id.to_string(), self.by_id_entry(row)))
            },
            add,
        )
    }

    /// The link to an output. As in the root, a name that is not known may be new.
    pub(super) fn lookup_output(&self, name: &str) -> Result<Entry, FsError> {
        if name.len() > names::MAX_NAME {
            return Err(FsError::NameTooLong);
        }
        match self.state.lookup(name)? {
            Some(row) if row.downloadable => Ok(self.by_id_entry(&row)),
            Some(_) => Err(FsError::NotFound),
            None => {
                self.name_missed(name);
                Err(FsError::NotFound)
            }
        }
    }

    pub(super) fn list_outputs(&self, after: Ino, add: Add<'_>) -> Result<(), FsError> {
        Self::list_rows(
            after,
            |after| Ok(self.state.list_outputs(after, BATCH)?),
            |row| Some((row.name.clone()?, self.by_id_entry(row))),
            add,
        )
    }

    /// readlink(2).
    pub fn readlink(&self, ino: Ino) -> Result<String, FsError> {
        if ino.0 < LINKS {
            return Err(FsError::Invalid);
        }
        let row = self.linked_row(ino)?;
        Ok(link_target(&row))
    }

    pub(super) fn linked_row(&self, ino: Ino) -> Result<Arc<Row>, FsError> {
        let ino = ino.0.checked_sub(LINKS).ok_or(FsError::Stale)?;
        self.state
            .row(Ino(ino))?
            .filter(|row| row.name.is_some())
            .ok_or(FsError::Stale)
    }

    pub(super) fn link_attr(&self, row: &Row) -> Attr {
        Attr {
            ino: Ino(LINKS + row.ino.0),
            kind: Kind::Symlink,
            mode: 0o777,
            nlink: 1,
            size: link_target(row).len() as u64,
            ..self.row_attr(row)
        }
    }
}

/// Where a link leads: each stands in a directory of `.afs`.
fn link_target(row: &Row) -> String {
    format!("../../{}", row.name.as_deref().unwrap_or_default())
}

fn learn(
    api: &dyn FilesApi,
    refresher: &Refresher,
    id: &FileId,
) -> Result<Option<Arc<Row>>, FsError> {
    match api.metadata(id) {
        Ok(file) => Ok(refresher.learn(&file)?),
        Err(ApiError {
            kind: ErrorKind::NotFound | ErrorKind::Refused,
            ..
        }) => Ok(None),
        Err(error) => {
            log::warn!("{error}");
            Err(FsError::from(&error))
        }
    }
}
