//! One walk through the service's listing, page by page into the catalogue.

use std::collections::HashSet;
use std::fmt;

use crate::api::{ApiError, Cursor, FileId, FileMetadata, FilePage, FilesApi};
use crate::names;
use crate::state::{Ino, Millis, State, StateError, now};
use crate::store::Store;

use super::COMPLETE_AT;
use super::naming::{Seen, merge_file};
use super::pages::Pages;

/// How long an own upload may be missing from listings before that means that it is gone: that a new file is listed at
/// once is promised nowhere.
pub(super) const OWN_GRACE_MS: Millis = 60_000;

/// A deleted id stays hidden for so long at least, whatever listings say: another one that is under way may hold a page
/// that was read before.
const HIDDEN_FOR_MS: Millis = 60_000;

/// Up to so many names may vanish on the word of one complete listing, or a tenth of all where that is more.
const TRUSTED_LOSSES: usize = 20;

/// The fact that a listing was once seen out of order: then every refresh lists everything.
const UNORDERED: &str = "listing_unordered";

/// Why a refresh did not succeed.
#[derive(Debug)]
pub enum RefreshError {
    /// A list call failed.
    Api(ApiError),
    /// The pages do not add up to a listing.
    Contradictory(&'static str),
    /// The catalogue.
    State(StateError),
    /// It was told to stop.
    Stopped,
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(error) => error.fmt(f),
            Self::Contradictory(what) => {
                write!(f, "the service's listing contradicts itself: {what}")
            }
            Self::State(error) => error.fmt(f),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for RefreshError {}

impl From<StateError> for RefreshError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// To the first page that brings nothing unknown.
    UntilKnown,
    /// To the end.
    Everything,
}

/// What a walk found.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What a walk that reached the end says.
    pub(super) complete: Option<Complete>,
    /// Whether the catalogue is another than before.
    pub(super) changed: bool,
}

/// A listing of everything.
#[derive(Debug, Clone)]
pub(super) struct Complete {
    /// When it began.
    pub(super) began: Millis,
    /// What it should have shown and did not.
    pub(super) missing: HashSet<Ino>,
}

/// Told the number of files after each page; `false` ends the walk.
type Progress<'a> = &'a mut dyn FnMut(usize) -> bool;

/// One walk.
pub(super) struct Listing<'a> {
    api: &'a dyn FilesApi,
    state: &'a State,
    store: &'a Store,
    began: Millis,
    seen: HashSet<Ino>,
    still_hidden: HashSet<FileId>,
    changed: bool,
    pages: Pages<'a>,
    first: Option<FilePage>,
    /// Whether a page is asked for while the one before it is merged.
    reads_ahead: bool,
    /// The session whose files are listed; `None`: the workspace's own.
    session: Option<&'a str>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(api: &'a dyn FilesApi, state: &'a State, store: &'a Store) -> Self {
        Self {
            api,
            state,
            store,
            began: now(),
            seen: HashSet::new(),
            still_hidden: HashSet::new(),
            changed: false,
            pages: Pages::new(api, None),
            first: None,
            reads_ahead: false,
            session: None,
        }
    }

    /// Lists the files of a session.
    pub(super) fn of_session(self, session: &'a str) -> Self {
        Self {
            session: Some(session),
            pages: Pages::new(self.api, Some(session)),
            ..self
        }
    }

    /// Takes the newest page as given instead of asking for it.
    pub(super) fn starting_with(self, first: Option<FilePage>) -> Self {
        Self { first, ..self }
    }

    /// Asks for each page while the one before it is merged, which is for who waits for the end.
    pub(super) fn reading_ahead(self) -> Self {
        Self {
            reads_ahead: true,
            ..self
        }
    }

    pub(super) fn run(
        mut self,
        depth: Depth,
        progress: Progress<'_>,
    ) -> Result<Outcome, RefreshError> {
        let depth = match self.state.fact(UNORDERED)? {
            Some(_) => Depth::Everything,
            None => depth,
        };
        let mut complete = None;
        if self.walk(depth, progress)? {
            complete = Some(Complete {
                began: self.began,
                missing: self.hide_missing(progress)?,
            });
            if let Some(complete) = &complete {
                self.retire_vanished(&complete.missing)?;
            }
            self.forget_hidden()?;
            self.state.set_fact(COMPLETE_AT, &self.began.to_string())?;
            if !self.pages.is_ordered() {
                log::warn!(
                    "the service's listing is not newest first; refreshes list everything from now on"
                );
                self.state.set_fact(UNORDERED, "1")?;
            }
        }
        Ok(Outcome {
            complete,
            changed: self.changed,
        })
    }

    /// The same of a session: everything, for it has 500 files at most (managed agents guide) and one page holds 1000.
    /// Whether the catalogue is another than before.
    pub(super) fn run_session(mut self, progress: Progress<'_>) -> Result<bool, RefreshError> {
        self.walk(Depth::Everything, progress)?;
        self.hide_missing(progress)?;
        self.forget_hidden()?;
        Ok(self.changed)
    }

    /// Lets go of ids that were deleted here and that listings do not show any more.
    fn forget_hidden(&self) -> Result<(), RefreshError> {
        let before = self.began - HIDDEN_FOR_MS;
        Ok(self
            .state
            .merge(|merge| merge.forget_hidden(self.session, before, &self.still_hidden))?)
    }

    /// Merges page after page; whether the end was reached.
    fn walk(&mut self, depth: Depth, progress: Progress<'_>) -> Result<bool, RefreshError> {
        let mut answer = match self.first.take() {
            Some(page) => Ok(page),
            None => self.pages.ask(&Cursor::Newest),
        };
        loop {
            let page = match answer {
                Ok(page) => page,
                Err(error) if self.pages.begins_anew(&error) => {
                    answer = self.pages.ask(&Cursor::Newest);
                    continue;
                }
                Err(error) => return Err(RefreshError::Api(error)),
            };
            let next = self.pages.follow(&page);
            let following = match &next {
                Ok(Some(cursor)) => Some(self.pages.query(cursor)),
                _ => None,
            };
            let mut take = |this: &mut Self| -> Result<_, RefreshError> {
                let unknown = this.merge(&page)?;
                Ok((unknown, following.is_none() || progress(this.seen.len())))
            };
            let (taken, early) = match &following {
                Some(query) if self.reads_ahead => {
                    Pages::ask_beside(self.api, query, || take(self))
                }
                _ => (take(self), None),
            };
            let (unknown, goes_on) = taken?;
            let Some(cursor) = next? else {
                return Ok(true);
            };
            if depth == Depth::UntilKnown && unknown == 0 {
                return Ok(false);
            }
            if !goes_on {
                return Err(RefreshError::Stopped);
            }
            answer = early.unwrap_or_else(|| self.pages.ask(&cursor));
        }
    }

    /// Takes a page in, in one transaction; how many of its files were unknown.
    fn merge(&mut self, page: &FilePage) -> Result<usize, RefreshError> {
        self.must_be_of_session(page)?;
        let in_flight = match self.session {
            Some(_) => Vec::new(),
            None => self.state.saves_in_flight(),
        };
        let learned = now();
        let seen = self.state.merge(|merge| {
            page.files
                .iter()
                .map(|file| merge_file(merge, file, &in_flight, learned))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let mut unknown = 0;
        for (file, seen) in page.files.iter().zip(seen) {
            match seen {
                Seen::Known(ino) => {
                    self.seen.insert(ino);
                }
                Seen::Back(ino) => {
                    self.seen.insert(ino);
                    self.changed = true;
                    if let Err(error) = self.store.take_back(&file.id) {
                        log::warn!(
                            "{} could not be taken out of the trash: {error}",
                            file.filename
                        );
                    }
                }
                Seen::New(ino) => {
                    self.seen.insert(ino);
                    self.changed = true;
                    unknown += 1;
                }
                Seen::Hidden => {
                    self.still_hidden.insert(file.id.clone());
                }
                Seen::NotYet => unknown += 1,
            }
        }
        Ok(unknown)
    }

    /// A server that does not understand `scope_id` answers with the workspace's own files.
    fn must_be_of_session(&self, page: &FilePage) -> Result<(), RefreshError> {
        let Some(session) = self.session else {
            return Ok(());
        };
        let is_of_it =
            |file: &FileMetadata| file.scope.as_ref().is_some_and(|scope| scope.id == session);
        if page.files.iter().all(is_of_it) {
            Ok(())
        } else {
            Err(RefreshError::Contradictory(
                "other files than those of the session that was asked for",
            ))
        }
    }

    /// Brings kept copies to the trash whose files somebody else deleted: an earlier listing did not show them, and this
    /// one does not either. `missing` are those that this is the first to miss.
    fn retire_vanished(&self, missing: &HashSet<Ino>) -> Result<(), RefreshError> {
        for (ino, id, filename) in self.state.vanished()? {
            if self.seen.contains(&ino) || missing.contains(&ino) || !self.store.is_kept(&id) {
                continue;
            }
            match self.store.retire(&id, &names::directory_name(&filename)) {
                Ok(()) => log::info!(
                    "{filename} ({id}) was deleted by others; what was kept of it is in the trash"
                ),
                Err(error) => log::warn!("{filename} could not be brought to the trash: {error}"),
            }
        }
        Ok(())
    }

    /// Takes names out of the directory that a complete listing does not show; which it did not show. Their bytes stay.
    fn hide_missing(&mut self, progress: Progress<'_>) -> Result<HashSet<Ino>, RefreshError> {
        let expected = match self.session {
            Some(session) => self.state.expected_in_session(session, self.began)?,
            None => self.state.expected_in_listing(self.began, OWN_GRACE_MS)?,
        };
        let mut missing: Vec<Ino> = expected
            .iter()
            .copied()
            .filter(|ino| !self.seen.contains(ino))
            .collect();
        let not_shown = missing.iter().copied().collect();
        if missing.len() > TRUSTED_LOSSES.max(expected.len() / 10) {
            log::warn!(
                "{} of {} files are missing from the listing at once; looking again before they are hidden",
                missing.len(),
                expected.len()
            );
            let second = Listing::new(self.api, self.state, self.store);
            let mut second = match self.session {
                Some(session) => second.of_session(session),
                None => second,
            };
            if !second.walk(Depth::Everything, progress)? {
                return Err(RefreshError::Contradictory("it did not end"));
            }
            missing.retain(|ino| !second.seen.contains(ino));
        }
        if !missing.is_empty() {
            self.changed = true;
            self.state
                .merge(|merge| missing.iter().try_for_each(|ino| merge.hide(*ino)))?;
        }
        Ok(not_shown)
    }
}
