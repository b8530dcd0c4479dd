//! What commands ask about files: the same answers from a mount that runs and from the state of one that does not.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{FileId, Glob};
use crate::fs::WorkspaceFs;
use crate::state::{Ino, Nanos, Row, State, StateError};
use crate::store::Store;
use crate::sync::{Refresher, SessionError};

use super::entries::{FileEntry, FormerFile, Which};
use super::named::{called, row_of, typed, without_link};
use super::protocol::Reply;

/// Files an answer has at most; more follow in others.
const BATCH: usize = 500;

/// What ids begin with, as the API's examples show them. Other words are not worth a request.
pub(super) const IDS_BEGIN: &str = "file_";

/// The files of a workspace.
#[derive(Debug)]
pub struct Files<'a> {
    /// Its state.
    pub state: &'a State,
    /// Its copies.
    pub store: &'a Store,
    /// What can ask the service, where it is mounted.
    pub live: Option<Live<'a>>,
}

/// The parts of a mount that know more than what is written down.
#[derive(Debug)]
pub struct Live<'a> {
    /// Its listing.
    pub refresher: &'a Arc<Refresher>,
    /// Its files.
    pub fs: &'a WorkspaceFs,
}

/// What a word stands for, or what is to be answered.
pub(super) enum Found {
    Row(Arc<Row>),
    Else(Reply),
}

impl Files<'_> {
    /// Tells `say` the files that are meant, in the order in which they came, a part at a time; the last part is the
    /// answer. A listing that is due is waited for as by who opens the directory. `say` says whether to go on.
    #[must_use]
    pub fn list(&self, which: &Which, say: &mut dyn FnMut(&Reply) -> bool) -> Reply {
        let glob = match which.glob.as_deref().map(str::parse::<Glob>).transpose() {
            Ok(glob) => glob,
            Err(error) => return Reply::failed(&error),
        };
        if let Err(error) = self.refresh_for(which) {
            return Reply::failed(&error);
        }
        let is_meant = |row: &Row, name: &str| {
            glob.as_ref().is_none_or(|glob| glob.matches(name))
                && which
                    .downloadable
                    .is_none_or(|wanted| wanted == row.downloadable)
        };
        let mut after = Ino(0);
        loop {
            let rows = match &which.session {
                Some(session) => self.state.list_scoped(session, after, BATCH),
                None => self.state.list(after, BATCH),
            };
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => return Reply::failed(&error),
            };
            let meant = rows.iter().filter_map(|row| {
                let name = row.scoped_name.as_ref().filter(|_| which.session.is_some());
                let name = name.or(row.name.as_ref())?;
                is_meant(row, name).then(|| self.entry(row))
            });
            let files = meant.collect();
            let Some(last) = rows.last().filter(|_| rows.len() == BATCH) else {
                return Reply::Files { files, more: false };
            };
            after = last.ino;
            if !say(&Reply::Files { files, more: true }) {
                return Reply::failed(&"nobody listens");
            }
        }
    }

    /// The file of a name or an id. Where nothing is known of an id, `asks` has the service asked for it. What `gives` its
    /// id to somebody has it stay alive for a day after it is replaced.
    #[must_use]
    pub fn file(&self, what: &str, asks: bool, gives: bool) -> Reply {
        let found = self.find(what, asks).and_then(|found| match found {
            Found::Row(row) if gives => self.give_out(row),
            Found::Row(row) => Ok(self.found(&row)),
            Found::Else(reply) => Ok(reply),
        });
        found.unwrap_or_else(|error| Reply::failed(&error))
    }

    /// Answers with an id that stays alive. It may be replaced until that is written down: then it is another one.
    fn give_out(&self, mut row: Arc<Row>) -> Result<Reply, StateError> {
        loop {
            let Some(id) = &row.id else {
                return Ok(self.found(&row));
            };
            self.state.give_out(id)?;
            match self.state.row(row.ino)? {
                Some(now) if now.id != row.id => row = now,
                _ => return Ok(self.found(&row)),
            }
        }
    }

    pub(super) fn find(&self, what: &str, asks: bool) -> Result<Found, StateError> {
        let id = FileId::new(without_link(what));
        if let Some(row) = row_of(self.state, what)?.filter(|row| row.is_shown()) {
            return Ok(Found::Row(row));
        }
        if let Some(former) = self.former(&id)? {
            return Ok(Found::Else(Reply::Former(former)));
        }
        let is_id = id.as_str().starts_with(IDS_BEGIN);
        match &self.live {
            Some(live) if asks && !is_id => live.refresher.file_named(),
            _ => self.refresh(),
        }
        if let Some(row) = row_of(self.state, what)?.filter(|row| row.is_shown()) {
            return Ok(Found::Row(row));
        }
        if asks
            && is_id
            && let Some(live) = &self.live
        {
            match live.fs.ask_for_id(&id) {
                Ok(Some(row)) => return Ok(Found::Row(row)),
                Ok(None) => {}
                Err(error) => return Ok(Found::Else(Reply::failed(&format!("{id}: {error}")))),
            }
        }
        Ok(Found::Else(Reply::Unmatched {
            why: format!("{what}: there is no file of this name or id"),
        }))
    }

    fn found(&self, row: &Row) -> Reply {
        Reply::File(Box::new(self.entry(row)))
    }

    fn former(&self, id: &FileId) -> Result<Option<FormerFile>, StateError> {
        let successor = self.state.successor(id)?;
        Ok(successor.map(|successor| FormerFile {
            id: id.to_string(),
            replaced_at: successor.replaced_at,
            successor: successor.id.to_string(),
            name: typed(self.state, &successor.name),
        }))
    }

    fn refresh_for(&self, which: &Which) -> Result<(), SessionError> {
        match (&self.live, &which.session) {
            (Some(live), Some(session)) => {
                live.refresher.sessions().refresh(session, &|| false)?;
            }
            (Some(live), None) if which.fresh => live.refresher.file_named(),
            _ => self.refresh(),
        }
        Ok(())
    }

    /// Has the listing asked for again where that is due.
    pub(super) fn refresh(&self) {
        if let Some(live) = &self.live {
            live.refresher.directory_opened(&|| false);
        }
    }

    pub(super) fn entry(&self, row: &Row) -> FileEntry {
        let is_copied = |id: &FileId| self.store.is_kept(id) || self.store.is_cached(id);
        let is_pending = self.state.is_pending(row.ino);
        FileEntry {
            name: called(self.state, row),
            filename: row.filename.clone(),
            id: row.id.as_ref().map(ToString::to_string),
            size_bytes: row.size,
            mime_type: row.mime_type.clone(),
            created_at: row.created_at.to_string(),
            modified_at: time(row.mtime).to_string(),
            downloadable: row.downloadable,
            on_this_machine: is_pending || row.id.as_ref().is_none_or(is_copied),
            pending: is_pending && !row.scratch,
            scratch: row.scratch,
            is_older_copy: row.suffixed,
            session_id: row.scope.clone(),
            expires_at: row.expires_at.map(|time| time.to_string()),
            expired: row.is_expired,
        }
    }
}

fn time(nanos: Nanos) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or_default()
}
