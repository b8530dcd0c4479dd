//! The pages of one walk through the service's listing: asking for them, and noticing a listing that goes nowhere.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::thread;

use jiff::Timestamp;

use crate::api::{
    ApiError, Cursor, ErrorKind, FileId, FileMetadata, FilePage, FilesApi, ListQuery,
};

use super::RefreshError;

/// A walk begins anew so often when its cursor is refused (the file it names was deleted meanwhile).
const RESTARTS: usize = 3;

/// What was asked for, and what came.
pub(super) type Answer = Result<FilePage, ApiError>;

/// Every file there is, newest first, for who keeps none of it; with `session`, only the files of that.
pub fn every_file(
    api: &dyn FilesApi,
    session: Option<&str>,
) -> Result<Vec<FileMetadata>, RefreshError> {
    let mut pages = Pages::new(api, session);
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    let mut cursor = Cursor::Newest;
    loop {
        let page = match pages.ask(&cursor) {
            Ok(page) => page,
            Err(error) if pages.begins_anew(&error) => {
                (files, seen) = (Vec::new(), HashSet::new());
                cursor = Cursor::Newest;
                continue;
            }
            Err(error) => return Err(RefreshError::Api(error)),
        };
        let next = pages.follow(&page)?;
        // What is uploaded meanwhile pushes files from one page to the next.
        let new = page
            .files
            .into_iter()
            .filter(|file| seen.insert(file.id.clone()));
        files.extend(new);
        match next {
            Some(next) => cursor = next,
            None => return Ok(files),
        }
    }
}

/// The pages of one walk.
pub(super) struct Pages<'a> {
    api: &'a dyn FilesApi,
    /// The session whose files are listed; `None`: the workspace's own.
    session: Option<&'a str>,
    /// Every cursor of this walk.
    cursors: HashSet<Cursor>,
    /// Every id of this walk, by a hash: a million of them must not weigh.
    shown: HashSet<u64>,
    hasher: RandomState,
    oldest: Option<Timestamp>,
    is_ordered: bool,
    restarts: usize,
}

impl<'a> Pages<'a> {
    pub(super) fn new(api: &'a dyn FilesApi, session: Option<&'a str>) -> Self {
        Self {
            api,
            session,
            cursors: HashSet::new(),
            shown: HashSet::new(),
            hasher: RandomState::new(),
            oldest: None,
            is_ordered: true,
            restarts: 0,
        }
    }

    /// Whether all came newest first so far.
    pub(super) fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// Asks for a page.
    pub(super) fn ask(&self, cursor: &Cursor) -> Answer {
        self.api.list(&self.query(cursor))
    }

    /// Asks for a page while `work` is done; no answer where there is no thread for it.
    pub(super) fn ask_beside<T>(
        api: &dyn FilesApi,
        query: &ListQuery,
        work: impl FnOnce() -> T,
    ) -> (T, Option<Answer>) {
        thread::scope(|scope| {
            let asking = thread::Builder::new()
                .name("afs-list".into())
                .spawn_scoped(scope, || api.list(query));
            let done = work();
            (done, asking.ok().and_then(|asking| asking.join().ok()))
        })
    }

    pub(super) fn query(&self, cursor: &Cursor) -> ListQuery {
        ListQuery {
            scope_id: self.session.map(str::to_owned),
            ..ListQuery::page(cursor.clone())
        }
    }

    /// Whether the walk may begin anew after this failure: the service does not know the cursor any more.
    pub(super) fn begins_anew(&mut self, error: &ApiError) -> bool {
        let is_refused = matches!(error.kind, ErrorKind::NotFound | ErrorKind::Refused);
        if self.cursors.is_empty() || !is_refused || self.restarts == RESTARTS {
            return false;
        }
        self.restarts += 1;
        self.cursors.clear();
        self.shown.clear();
        self.oldest = None;
        true
    }

    /// Where the walk goes on after this page; `None`: that was the last.
    ///
    /// What would go round for ever is an error: nothing but files that came before, under ever new cursors; the same
    /// cursor again; more files after none.
    pub(super) fn follow(&mut self, page: &FilePage) -> Result<Option<Cursor>, RefreshError> {
        for file in &page.files {
            if self.oldest.is_some_and(|oldest| file.created_at > oldest) {
                self.is_ordered = false;
            }
            self.oldest = Some(file.created_at);
        }
        let Some(next) = page.next.clone() else {
            return Ok(None);
        };
        let contradiction = if page.files.is_empty() {
            "more files after an empty page"
        } else if self.shown_first(page.files.iter().map(|file| &file.id)) == 0 {
            "nothing but files it has shown already"
        } else if !self.cursors.insert(next.clone()) {
            "the same page again"
        } else {
            return Ok(Some(next));
        };
        Err(RefreshError::Contradictory(contradiction))
    }

    /// How many of these have not come before.
    fn shown_first<'i>(&mut self, ids: impl Iterator<Item = &'i FileId>) -> usize {
        ids.filter(|id| self.shown.insert(self.hasher.hash_one(id)))
            .count()
    }
}
