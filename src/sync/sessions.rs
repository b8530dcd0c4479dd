//! The files of sessions, listed when somebody looks: a session's directory is refreshed as the root's is, each on its
//! own. Nothing lists them in the background.

use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::api::{FilesApi, Program, on_behalf_of};
use crate::state::{State, lock, now};
use crate::store::Store;

use super::listing::{Listing, RefreshError};
use super::{LOOK_AROUND, PATIENCE, next_interval};

/// So many sessions are remembered as asked for. Who makes names up asks for others without end.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// A failure is told to others for so long at most, then the service is asked again.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// Why nothing can be said of a session.
#[derive(Debug, Clone)]
pub enum SessionError {
    /// It could not be listed, and never was.
    Failed(Arc<RefreshError>),
    /// Who asked does not wait any more.
    GivenUp,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::GivenUp => f.write_str("nobody waits for the listing any more"),
        }
    }
}

impl std::error::Error for SessionError {}

/// Keeps what is known of sessions fresh, one refresh of each at a time.
pub struct Sessions {
    api: Arc<dyn FilesApi>,
    state: Arc<State>,
    store: Arc<Store>,
    /// The shortest time between two refreshes of one session.
    interval: Duration,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inner {
    asked: LruCache<String, Course>,
    is_stopped: bool,
}

/// How the refreshes of one session go.
#[derive(Debug, Clone, Default)]
struct Course {
    running_since: Option<Instant>,
    ended: Option<Instant>,
    /// From one to the next; grows while nothing changes.
    interval: Duration,
    has_succeeded: bool,
    /// Why the last one failed.
    failed: Option<Arc<RefreshError>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("interval", &self.interval)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(
        api: Arc<dyn FilesApi>,
        state: Arc<State>,
        store: Arc<Store>,
        interval: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            api,
            state,
            store,
            interval,
            inner: Mutex::new(Inner {
                asked: LruCache::new(REMEMBERED),
                is_stopped: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Refreshes a session where that is due, and waits: for the end where it was never listed completely, else for as
    /// long as people do. A wait ends soon after `is_given_up`; the refresh goes on for whoever comes next.
    pub fn refresh(
        self: &Arc<Self>,
        session: &str,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(), SessionError> {
        let is_known = self
            .is_known(session)
            .map_err(|error| SessionError::Failed(Arc::new(error)))?;
        self.start_if_due(session);
        let mut inner = self.lock();
        loop {
            let course = inner.asked.peek(session).cloned().unwrap_or_default();
            let Some(since) = course.running_since else {
                return match course.failed {
                    Some(error) if !is_known => Err(SessionError::Failed(error)),
                    Some(_) | None => Ok(()),
                };
            };
            let mut left = LOOK_AROUND;
            if is_known {
                left = left.min((since + PATIENCE).saturating_duration_since(Instant::now()));
            }
            if left.is_zero() {
                log::debug!("the listing of {session} takes its time; serving what is known");
                return Ok(());
            }
            inner = self
                .changed
                .wait_timeout(inner, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
            if is_given_up() {
                return Err(SessionError::GivenUp);
            }
        }
    }

    /// Lists every session again when somebody looks next.
    pub(super) fn forget(&self) {
        for (_, course) in &mut self.lock().asked {
            course.ended = None;
        }
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Whether a complete listing of the session has ever been merged.
    fn is_known(&self, session: &str) -> Result<bool, RefreshError> {
        Ok(self.state.fact(&fact(session))?.is_some())
    }

    fn start_if_due(self: &Arc<Self>, session: &str) {
        {
            let mut inner = self.lock();
            let is_stopped = inner.is_stopped;
            let course = inner
                .asked
                .get_or_insert_mut(session.to_owned(), Course::default);
            if !course.is_due(self.interval) {
                return;
            }
            if is_stopped {
                course.failed = Some(Arc::new(RefreshError::Stopped));
                return;
            }
            course.running_since = Some(Instant::now());
        }
        // Nobody lists sessions but for who looks into them.
        let program = Program::current();
        let (this, named) = (Arc::clone(self), session.to_owned());
        let spawned = thread::Builder::new()
            .name("afs-session".into())
            .spawn(move || on_behalf_of(|| program, || this.list(&named)));
        if let Err(error) = spawned {
            log::warn!("no thread to list {session}: {error}");
            self.ended(session, Err(RefreshError::Stopped));
        }
    }

    fn list(&self, session: &str) {
        // A refresh that nobody ends would be waited for without end.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.merge_all(session)));
        self.ended(session, outcome.unwrap_or(Err(RefreshError::Stopped)));
    }

    fn merge_all(&self, session: &str) -> Result<bool, RefreshError> {
        let changed = Listing::new(&*self.api, &self.state, &self.store)
            .of_session(session)
            .run_session(&mut |_| !self.lock().is_stopped)?;
        // Of a session without files nothing is kept: anybody can make up its name.
        if self.state.has_session(session)? {
            self.state.set_fact(&fact(session), &now().to_string())?;
        }
        Ok(changed)
    }

    fn ended(&self, session: &str, outcome: Result<bool, RefreshError>) {
        let mut inner = self.lock();
        let course = inner
            .asked
            .get_or_insert_mut(session.to_owned(), Course::default);
        course.running_since = None;
        course.ended = Some(Instant::now());
        match outcome {
            Ok(changed) => {
                let is_quiet = course.has_succeeded && !changed;
                course.interval = next_interval(course.interval, self.interval, is_quiet);
                course.has_succeeded = true;
                course.failed = None;
            }
            Err(error) => {
                log::warn!("the session {session} could not be listed: {error}");
                course.failed = Some(Arc::new(error));
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Course {
    fn is_due(&self, shortest: Duration) -> bool {
        let interval = match self.failed {
            Some(_) => shortest.min(FAILED_FOR),
            None => self.interval.max(shortest),
        };
        self.running_since.is_none() && self.ended.is_none_or(|ended| ended.elapsed() >= interval)
    }
}

/// The fact that remembers when a session was last listed completely, in milliseconds since 1970.
fn fact(session: &str) -> String {
    format!("session_complete_at {session}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_due_after_its_interval_and_a_failed_one_soon() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
        let course = |seconds, interval, failed: bool| Course {
            ended: ago(seconds),
            interval: Duration::from_secs(interval),
            failed: failed.then(|| Arc::new(RefreshError::Stopped)),
            ..Course::default()
        };
        let hour = Duration::from_secs(3600);
        let ten = Duration::from_secs(10);
        assert!(Course::default().is_due(hour));
        for (course, shortest, expected) in [
            (course(5, 10, false), ten, false),
            (course(11, 10, false), ten, true),
            (course(11, 20, false), ten, false),
            (course(21, 20, false), ten, true),
            (course(11, 0, false), hour, false),
            (course(11, 0, true), hour, true),
            (course(5, 0, true), hour, false),
        ] {
            assert_eq!(course.is_due(shortest), expected, "{course:?}");
        }
        let running = Course {
            running_since: ago(100),
            ..Course::default()
        };
        assert!(!running.is_due(ten));
    }
}
