//! From listings to the catalogue. A *refresh* lists and merges; it asks for as little as it can, and a listing can hide
//! a name but never delete a byte.
//!
//! Lists are newest first. One page of 1000 is a whole workspace for most people, and then every refresh is complete.
//! In larger ones a refresh stops at the first page that brings nothing unknown, and a rare *reconciliation* walks
//! through everything in the background, to find what others deleted.

mod listing;
mod naming;
mod pages;
mod restyling;
mod sessions;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{FileMetadata, FilePage, FilesApi};
use crate::state::{Millis, Row, State, StateError, lock};
use crate::store::Store;

pub use listing::RefreshError;
pub use pages::every_file;
pub use restyling::restyle;
pub use sessions::{SessionError, Sessions};

use listing::{Complete, Depth, Listing, OWN_GRACE_MS, Outcome};

/// How long an `opendir` waits for a refresh before it serves what is known.
const PATIENCE: Duration = Duration::from_secs(2);

/// And for one that follows another which was waited for in vain: a service that is well again answers within this.
const PATIENCE_IN_VAIN: Duration = Duration::from_millis(200);

/// How often who waits looks whether it still should.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// The longest interval that a quiet workspace stretches to.
const LONGEST_INTERVAL: Duration = Duration::from_secs(60);

/// How often everything is walked through where one page does not hold it.
const RECONCILE_EVERY_MS: i64 = 10 * 60 * 1000;

/// Between two pages of a reconciliation: a tenth of the documented 100 requests a minute.
const RECONCILE_PACE: Duration = Duration::from_secs(6);

/// The fact that remembers when a listing was last complete, in milliseconds since 1970.
const COMPLETE_AT: &str = "listing_complete_at";

/// Keeps one workspace's catalogue fresh, one refresh at a time.
pub struct Refresher {
    api: Arc<dyn FilesApi>,
    /// The same service for what nobody waits for.
    background: Arc<dyn FilesApi>,
    state: Arc<State>,
    store: Arc<Store>,
    /// The shortest time between two refreshes.
    interval: Duration,
    sessions: Arc<Sessions>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

/// How far what is shown can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Since the last refresh that went well; `None` when this process has had none.
    pub age: Option<Duration>,
    /// Why the last refresh failed; `None` when it did not.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Since when a refresh is under way.
    running_since: Option<Instant>,
    is_reconciling: bool,
    stopped: bool,
    /// When the last refresh ended, well or not.
    ended: Option<Instant>,
    /// Whether the last one made people wait and failed.
    is_in_vain: bool,
    /// When one last ended well.
    succeeded: Option<Instant>,
    /// Grows while nothing changes.
    interval: Duration,
    last_error: Option<String>,
    /// The last complete listing.
    complete: Option<Complete>,
}

impl std::fmt::Debug for Refresher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refresher")
            .field("interval", &self.interval)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Refresher {
    /// A refresher that leaves at least `interval` between two refreshes. `background` is the same service for what nobody
    /// waits for.
    pub fn new(
        api: Arc<dyn FilesApi>,
        background: Arc<dyn FilesApi>,
        state: Arc<State>,
        store: Arc<Store>,
        interval: Duration,
    ) -> Arc<Self> {
        let sessions = Sessions::new(
            Arc::clone(&api),
            Arc::clone(&state),
            Arc::clone(&store),
            interval,
        );
        Arc::new(Self {
            api,
            background,
            state,
            store,
            interval,
            sessions,
            inner: Mutex::new(Inner {
                interval,
                ..Inner::default()
            }),
            changed: Condvar::new(),
        })
    }

    /// Whether a complete listing has ever been merged: before that, nothing may be served as the workspace.
    pub fn is_known(&self) -> Result<bool, StateError> {
        Ok(self.state.fact(COMPLETE_AT)?.is_some())
    }

    /// Lists everything, telling `progress` the count so far. For a workspace that nothing is known of; `first` is its
    /// newest page, where somebody has asked for it already.
    pub fn list_all(
        &self,
        first: Option<FilePage>,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), RefreshError> {
        let outcome = Listing::new(&*self.api, &self.state, &self.store)
            .starting_with(first)
            .reading_ahead()
            .run(Depth::Everything, &mut |count| {
                progress(count);
                true
            });
        self.ended(&outcome);
        outcome.map(|_| ())
    }

    /// The files of sessions.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Somebody opened the directory: refreshes when the interval is over, and waits for it as long as people do, but
    /// not beyond `is_given_up`; whether that ended the wait.
    pub fn directory_opened(self: &Arc<Self>, is_given_up: &dyn Fn() -> bool) -> bool {
        self.start_if_due();
        let mut inner = self.lock();
        // A refresh that hangs is waited for once, not by everybody who comes later; nor is the next one.
        while let Some(since) = inner.running_since {
            let patience = if inner.is_in_vain {
                PATIENCE_IN_VAIN
            } else {
                PATIENCE
            };
            let left = (since + patience).saturating_duration_since(Instant::now());
            if left.is_zero() {
                log::debug!("the refresh takes its time; serving what is known");
                return false;
            }
            inner = self
                .changed
                .wait_timeout(inner, left.min(LOOK_AROUND))
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
            if is_given_up() {
                return true;
            }
        }
        false
    }

    /// Somebody named a file in a command that is not known, or waits for new ones: it may have come a moment ago. Refreshes
    /// whatever the interval, and waits as [`Refresher::directory_opened`].
    pub fn file_named(self: &Arc<Self>) {
        self.lock().ended = None;
        self.directory_opened(&|| false);
    }

    /// Somebody asked for a name that is not known: it may be new. Does not wait.
    pub fn name_missed(self: &Arc<Self>) {
        self.start_if_due();
    }

    /// Ids are to be shown again that only a listing can say more of: the workspace's, or a session's. Does not wait.
    pub fn ids_are_back(self: &Arc<Self>) {
        self.sessions.forget();
        self.start_if_due();
    }

    /// Takes one file into the catalogue that was learned of outside a listing.
    pub fn learn(&self, file: &FileMetadata) -> Result<Option<Arc<Row>>, StateError> {
        self.state
            .merge(|merge| naming::merge_file(merge, file, &[], crate::state::now()))?;
        self.state.row_of_id(&file.id)
    }

    /// Whether the service had the row's file within the refresh interval, as far as can be told without asking.
    #[must_use]
    pub fn has_seen(&self, row: &Row) -> bool {
        let now = crate::state::now();
        let interval = self.interval.as_millis() as Millis;
        if is_recent(row.learned_at, now, interval) {
            return true;
        }
        let inner = self.lock();
        inner.complete.as_ref().is_some_and(|complete| {
            is_recent(complete.began, now, interval)
                && row.learned_at < complete.began - OWN_GRACE_MS
                && !complete.missing.contains(&row.ino)
        })
    }

    /// How far what is shown can be trusted.
    #[must_use]
    pub fn health(&self) -> Health {
        let inner = self.lock();
        Health {
            age: inner.succeeded.map(|time| time.elapsed()),
            last_error: inner.last_error.clone(),
        }
    }

    /// Ends background work at its next step.
    pub fn stop(&self) {
        self.sessions.stop();
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Starts a refresh where one is due and none is under way.
    fn start_if_due(self: &Arc<Self>) {
        let mut inner = self.lock();
        let is_due = inner
            .ended
            .is_none_or(|ended| ended.elapsed() >= inner.interval);
        if !is_due || inner.stopped || inner.running_since.is_some() {
            return;
        }
        inner.running_since = Some(Instant::now());
        drop(inner);
        let this = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("afs-refresh".into())
            .spawn(move || this.refresh());
        if let Err(error) = spawned {
            log::warn!("no thread for a refresh: {error}");
            self.lock().running_since = None;
        }
    }

    fn refresh(self: &Arc<Self>) {
        let outcome = Listing::new(&*self.api, &self.state, &self.store)
            .run(Depth::UntilKnown, &mut |_| !self.lock().stopped);
        self.ended(&outcome);
        if matches!(&outcome, Ok(outcome) if outcome.complete.is_none()) {
            self.reconcile_if_due();
        }
    }

    fn ended(&self, outcome: &Result<Outcome, RefreshError>) {
        let mut inner = self.lock();
        let took = inner.running_since.take().map(|since| since.elapsed());
        inner.is_in_vain = outcome.is_err()
            && (inner.is_in_vain || took.is_some_and(|took| took > PATIENCE_IN_VAIN));
        inner.ended = Some(Instant::now());
        match outcome {
            Ok(outcome) => {
                if let Some(complete) = outcome.complete.clone() {
                    inner.complete = Some(complete);
                }
                // That nothing changed says something only where there is a listing to compare with.
                let is_quiet = inner.succeeded.is_some() && !outcome.changed;
                inner.interval = next_interval(inner.interval, self.interval, is_quiet);
                inner.succeeded = inner.ended;
                inner.last_error = None;
            }
            Err(error) => {
                log::warn!("the listing could not be refreshed, showing the last one: {error}");
                inner.last_error = Some(error.to_string());
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Walks through everything, slowly, in the background.
    fn reconcile_if_due(self: &Arc<Self>) {
        let last = match self.state.fact(COMPLETE_AT) {
            Ok(last) => last.and_then(|time| time.parse::<i64>().ok()).unwrap_or(0),
            Err(error) => return log::warn!("{error}"),
        };
        {
            let mut inner = self.lock();
            let is_recent = is_recent(last, crate::state::now(), RECONCILE_EVERY_MS);
            if inner.is_reconciling || is_recent {
                return;
            }
            inner.is_reconciling = true;
        }
        let outcome = Listing::new(&*self.background, &self.state, &self.store)
            .run(Depth::Everything, &mut |_| self.pause(RECONCILE_PACE));
        if let Err(error) = outcome {
            log::info!("the reconciliation did not finish: {error}");
        }
        self.lock().is_reconciling = false;
    }

    /// Waits; whether to go on after it.
    fn pause(&self, pace: Duration) -> bool {
        let deadline = Instant::now() + pace;
        let mut inner = self.lock();
        while !inner.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            inner = self
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// Whether `time` is less than `interval` ago. One that is to come was read from a clock that was set back since: it says
/// nothing.
fn is_recent(time: Millis, now: Millis, interval: Millis) -> bool {
    (0..interval).contains(&(now - time))
}

/// The time until the next refresh: `shortest`, doubled for each in a row that finds nothing new.
fn next_interval(current: Duration, shortest: Duration, is_quiet: bool) -> Duration {
    if is_quiet {
        (current * 2).clamp(shortest, LONGEST_INTERVAL.max(shortest))
    } else {
        shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_recent() {
        for (time, expected) in [
            (1_000, true),
            (995, true),
            (990, false),
            (0, false),
            (1_001, false),
        ] {
            assert_eq!(is_recent(time, 1_000, 10), expected, "{time}");
        }
    }

    #[test]
    fn a_quiet_workspace_is_asked_less_and_less_up_to_a_limit() {
        let next = |current, shortest, is_quiet| {
            let seconds = Duration::from_secs;
            next_interval(seconds(current), seconds(shortest), is_quiet).as_secs()
        };
        assert_eq!(next(10, 10, true), 20);
        assert_eq!(next(40, 10, true), 60);
        assert_eq!(next(60, 10, true), 60);
        assert_eq!(next(60, 10, false), 10);
        assert_eq!(next(300, 300, true), 300);
    }
}
