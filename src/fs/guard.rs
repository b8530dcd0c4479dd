//! A guard against deleting much by mistake: what a program in a loop, or a `rm` one directory too high, takes away at the
//! service is gone for ever where its bytes are not on this machine. Others are in the trash, and not counted.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::state::{Row, lock};

use super::{FsError, WorkspaceFs};

/// Deletions are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts deletions, and is shut when there were too many.
#[derive(Debug)]
pub(super) struct DeleteGuard {
    /// So many a minute are let through; 0: all.
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    recent: VecDeque<Instant>,
    is_shut: bool,
    /// Until when somebody has said that all may go.
    open_until: Option<Instant>,
}

impl DeleteGuard {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            inner: Mutex::default(),
        }
    }

    /// Whether another one may go at `now`. Once one may not, none may until somebody says so ([`DeleteGuard::open`]).
    fn lets_through(&self, now: Instant) -> bool {
        let mut inner = lock(&self.inner);
        if self.limit == 0 || inner.open_until.is_some_and(|until| now < until) {
            return true;
        }
        while inner
            .recent
            .front()
            .is_some_and(|time| now.saturating_duration_since(*time) >= WINDOW)
        {
            inner.recent.pop_front();
        }
        if !inner.is_shut && inner.recent.len() < self.limit {
            inner.recent.push_back(now);
            return true;
        }
        if !inner.is_shut {
            log::warn!(
                "more than {} files whose bytes are not on this machine were deleted within a minute: no more are until \
                 somebody says that it is no mistake, with afs allow-deletes",
                self.limit
            );
        }
        inner.is_shut = true;
        false
    }

    fn open(&self, until: Instant) {
        *lock(&self.inner) = Inner {
            open_until: Some(until),
            ..Inner::default()
        };
    }

    fn is_shut(&self) -> bool {
        lock(&self.inner).is_shut
    }
}

impl WorkspaceFs {
    /// Fails where a file would be deleted at the service that nobody here could bring back, after too many of them.
    pub(super) fn must_be_expendable(&self, row: &Row) -> Result<(), FsError> {
        let Some(id) = &row.id else {
            return Ok(());
        };
        let is_here = self.store.is_kept(id) || self.store.is_cached(id);
        if is_here && self.store.has_trash() || self.guard.lets_through(Instant::now()) {
            Ok(())
        } else {
            Err(FsError::NotPermitted)
        }
    }

    /// Has all deletions go through for a time: somebody means it.
    pub fn allow_deletes(&self, time: Duration) {
        log::info!("deletions are allowed for {time:?}");
        let now = Instant::now();
        self.guard.open(now.checked_add(time).unwrap_or(now));
    }

    /// Whether deletions are refused, for there were too many.
    #[must_use]
    pub fn refuses_deletes(&self) -> bool {
        self.guard.is_shut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute_go_and_then_none_until_somebody_says_so() {
        let guard = DeleteGuard::new(3);
        let begun = Instant::now();
        let at = |seconds: u64| guard.lets_through(begun + Duration::from_secs(seconds));
        assert!([0, 20, 59].into_iter().all(at));
        // The first is a minute ago.
        assert!(at(60));
        assert!(!guard.is_shut());
        assert!(!at(61));
        assert!(guard.is_shut());
        assert!(!at(3_600), "time does not open it");
        guard.open(begun + Duration::from_secs(3_700));
        assert!((3_600..3_700).all(at));
        assert!([3_700, 3_701, 3_702].into_iter().all(at));
        assert!(!at(3_703));
    }

    #[test]
    fn without_a_limit_there_is_no_guard() {
        let guard = DeleteGuard::new(0);
        let now = Instant::now();
        assert!((0..1_000).all(|_| guard.lets_through(now)));
    }
}
