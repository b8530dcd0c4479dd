//! Requests are the scarce thing: whose turn it is. All requests of a workspace ask here first, and tell how they ended.
//!
//! What people wait for goes before saves, these before listings, and those before what nobody waits for; within a
//! class it is first come, first served. How fast they go is the ledger's to say.

mod ledger;
mod traffic;

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::ledger::{Ledger, Outcome};
use self::traffic::Spent;
use super::failures::Failures;
use super::retry::{Pace, SystemPace};
use super::{ApiError, Call, ErrorKind, Failure, InLine, Program, Subject};

pub use self::traffic::{Traffic, Waits};

/// What a request is for; the first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Somebody reads, looks a name up, or mounts.
    Interactive,
    /// The outbox: what was saved and removed.
    Save,
    /// The listing of what is looked at.
    Refresh,
    /// What nobody waits for.
    Background,
}

impl Class {
    /// Which part of what there is it leaves to those before it.
    fn leaves(self) -> f64 {
        match self {
            Self::Interactive => 0.0,
            Self::Save | Self::Refresh => 0.05,
            Self::Background => 0.1,
        }
    }
}

/// What an answer's headers say of the service's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a minute.
    pub limit: u32,
    /// Those that are left.
    pub remaining: u32,
    /// When they are all back.
    pub resets_in: Duration,
}

/// The requests of one workspace, shared by all threads.
#[derive(Debug)]
pub struct Budget {
    inner: Mutex<Inner>,
    changed: Condvar,
    clock: SystemPace,
    failures: Mutex<Failures>,
}

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    spent: Spent,
    /// Who waits, in the order in which they go, and for which call.
    waiting: BTreeMap<(Class, u64), Call>,
    next_place: u64,
    /// Whether the last request that was given up was so for the service's trouble, and none got through since.
    is_away: bool,
}

/// The right to send one request. Dropped without a word it counts as lost.
#[derive(Debug)]
pub struct Turn<'a> {
    budget: &'a Budget,
    sent_at: Duration,
    /// How long it was waited for.
    pub waited: Duration,
    outcome: Outcome,
}

impl Budget {
    /// A budget; with a limit of `per_minute` requests where there is one, else as much as the service lets through.
    #[must_use]
    pub fn new(per_minute: Option<u32>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                ledger: Ledger::new(per_minute),
                spent: Spent::default(),
                waiting: BTreeMap::new(),
                next_place: 0,
                is_away: false,
            }),
            changed: Condvar::new(),
            clock: SystemPace::new(),
            failures: Mutex::default(),
        }
    }

    /// Waits for the turn of a request, which counts for [`Program::current`]. That ends with an error where no request of the workspace has got through for
    /// `patience` since `begun`, or where none is to for that long.
    pub fn turn(
        &self,
        call: Call,
        class: Class,
        begun: Instant,
        patience: Duration,
    ) -> Result<Turn<'_>, ApiError> {
        let program = Program::current();
        let asked = self.clock.now();
        let mut inner = self.lock();
        let place = (class, inner.next_place);
        inner.next_place += 1;
        inner.waiting.insert(place, call);
        loop {
            let now = self.clock.now();
            let wait = inner.ledger.wait(class, now);
            let is_first = inner.waiting.keys().next() == Some(&place);
            if is_first && wait.is_zero() {
                inner.waiting.remove(&place);
                inner.ledger.sends(now);
                inner.spent.sends(program, now);
                // Who is first now looks how long it has to wait.
                self.changed.notify_all();
                return Ok(Turn {
                    budget: self,
                    sent_at: now,
                    waited: now.saturating_sub(asked),
                    outcome: Outcome::Lost,
                });
            }
            let quiet = inner.ledger.quiet(now).min(begun.elapsed());
            // A limit of our own gives everybody a turn in the end.
            let patience = patience.max(inner.ledger.own_interval() * 2);
            let left = patience.saturating_sub(quiet);
            if left.is_zero() || (is_first && wait > left) {
                inner.waiting.remove(&place);
                self.changed.notify_all();
                let line = InLine {
                    waited: now.saturating_sub(asked),
                    quiet: inner.ledger.quiet(now),
                };
                return Err(out_of_patience(call, wait, line));
            }
            let until = if is_first { wait.min(left) } else { left };
            inner = self
                .changed
                .wait_timeout(inner, until.max(SHORTEST_SLEEP))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// An answer said what is left.
    pub(super) fn heard(&self, limits: RateLimits) {
        let now = self.clock.now();
        self.lock().ledger.heard(limits, now);
        self.changed.notify_all();
    }

    /// How long no request of the workspace has got through.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        let now = self.clock.now();
        self.lock().ledger.quiet(now)
    }

    /// A request was given up, for trouble of the service that may pass.
    pub(super) fn gave_up(&self) {
        self.lock().is_away = true;
    }

    /// Whether the service was in trouble when it was asked last.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.lock().is_away
    }

    /// What went wrong of late, oldest first.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        lock(&self.failures).all()
    }

    /// A call has failed.
    pub(super) fn failed(&self, subject: Subject, error: ApiError) {
        lock(&self.failures).add(Timestamp::now(), subject, error);
    }

    /// How requests go at present.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic_before(Waits::default(), Waits::default())
    }

    /// The same, with what has yet to come here: what is `held_back` because the service refused it for its rate before,
    /// and what is `queued` until others have gone, which waits for the rate only where anything does.
    #[must_use]
    pub fn traffic_before(&self, held_back: Waits, queued: Waits) -> Traffic {
        let now = self.clock.now();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut waiting = held_back;
        for ((class, _), call) in &inner.waiting {
            waiting.count(*class, *call);
        }
        if waiting.total() > 0 {
            waiting = waiting.and(queued);
        }
        let longest_wait = match waiting.total() {
            0 => Duration::ZERO,
            count => inner.ledger.last_wait(count, now),
        };
        Traffic {
            spent: inner.spent.count(now),
            by_program: inner.spent.by_program(now),
            left: inner.ledger.left(now),
            waiting,
            longest_wait,
            is_own_limit: inner.ledger.is_own(now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait that rounding leaves nothing of must not become a loop.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

fn out_of_patience(call: Call, wait: Duration, line: InLine) -> ApiError {
    let message = format!(
        "the service limits requests: none got through for {} s, and the next may be sent in {} s",
        line.quiet.as_secs(),
        wait.as_secs()
    );
    ApiError {
        retry_after: Some(wait),
        line: Some(line),
        ..ApiError::local(call, ErrorKind::RateLimited, message)
    }
}

impl Turn<'_> {
    /// The request has ended so.
    pub fn ended<T>(mut self, result: &Result<T, ApiError>) {
        self.outcome = match result {
            Ok(_) => Outcome::Through,
            Err(error) => match error.kind {
                ErrorKind::RateLimited => Outcome::Limited(error.retry_after),
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::NotFound
                | ErrorKind::Expired
                | ErrorKind::NotDownloadable
                | ErrorKind::StorageFull
                | ErrorKind::TooLarge
                | ErrorKind::Refused => Outcome::Through,
                ErrorKind::Unavailable
                | ErrorKind::Unreachable
                | ErrorKind::Interrupted
                | ErrorKind::Nonsense
                | ErrorKind::Body
                | ErrorKind::Disk
                | ErrorKind::DiskFull => Outcome::Lost,
            },
        };
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let clock = &self.budget.clock;
        let (now, random) = (clock.now(), clock.random());
        let mut inner = self.budget.lock();
        inner.ledger.ended(self.sent_at, self.outcome, now, random);
        inner.is_away &= self.outcome != Outcome::Through;
        drop(inner);
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn turn(budget: &Budget, class: Class) -> Turn<'_> {
        budget
            .turn(Call::List, class, Instant::now(), LONG)
            .expect("a turn")
    }

    fn waiting(budget: &Budget) -> usize {
        budget.traffic().waiting.total()
    }

    fn limited(seconds: f64) -> Result<(), ApiError> {
        Err(ApiError {
            retry_after: Some(Duration::from_secs_f64(seconds)),
            ..ApiError::local(Call::List, ErrorKind::RateLimited, "no")
        })
    }

    #[test]
    fn who_is_waited_for_overtakes_who_came_before() {
        let budget = Budget::new(None);
        turn(&budget, Class::Save).ended(&limited(1.0));
        let (said, heard) = mpsc::channel();
        let order = [
            Class::Background,
            Class::Save,
            Class::Refresh,
            Class::Interactive,
        ];
        thread::scope(|scope| {
            for (n, class) in order.into_iter().enumerate() {
                let (budget, said) = (&budget, said.clone());
                scope.spawn(move || {
                    let turn = turn(budget, class);
                    said.send(class).unwrap();
                    turn.ended(&Ok(()));
                });
                while waiting(budget) <= n {
                    thread::yield_now();
                }
            }
            let traffic = budget.traffic();
            assert_eq!((traffic.waiting.listings, traffic.spent), (3, 1));
            // The outbox looks for a save whose answer was lost.
            assert_eq!(traffic.waiting.saves, 1);
            assert!(!traffic.is_own_limit);
            drop(said);
            let went: Vec<Class> = heard.iter().collect();
            let mut sorted = order;
            sorted.sort();
            assert_eq!(went, sorted);
        });
    }

    #[test]
    fn a_turn_that_will_not_come_in_time_is_refused_at_once() {
        let budget = Budget::new(None);
        turn(&budget, Class::Save).ended(&limited(100.0));
        let begun = Instant::now();
        let error = budget
            .turn(Call::Metadata, Class::Interactive, begun, LONG)
            .unwrap_err();
        assert!(begun.elapsed() < LONG / 2);
        assert_eq!(
            (error.call, error.kind),
            (Call::Metadata, ErrorKind::RateLimited)
        );
        assert!(error.retry_after.is_some_and(|wait| wait > LONG));
        assert_eq!(waiting(&budget), 0);
    }

    #[test]
    fn work_that_waits_elsewhere_waits_for_a_limit_only_while_there_is_one() {
        let budget = Budget::new(None);
        let saves = |saves| Waits {
            saves,
            ..Waits::default()
        };
        assert_eq!(budget.traffic_before(saves(0), saves(67)).waiting, saves(0));
        assert_eq!(
            budget.traffic_before(saves(32), saves(67)).waiting,
            saves(99)
        );
        turn(&budget, Class::Save).ended(&limited(30.0));
        let traffic = budget.traffic_before(saves(1), saves(0));
        let wait = traffic.longest_wait.as_secs_f64();
        assert!((29.0..=30.0).contains(&wait), "{wait}");
        assert_eq!(traffic.by_program, [(Program::AFS, 1)]);
    }

    #[test]
    fn a_service_is_away_from_a_failure_that_was_given_up_until_something_gets_through() {
        let budget = Budget::new(None);
        budget.gave_up();
        for (kind, is_away) in [
            (ErrorKind::Unreachable, true),
            (ErrorKind::RateLimited, true),
            (ErrorKind::NotFound, false),
        ] {
            let error = ApiError {
                retry_after: Some(Duration::ZERO),
                ..ApiError::local(Call::List, kind, "no")
            };
            turn(&budget, Class::Refresh).ended(&Err::<(), _>(error));
            assert_eq!(budget.is_away(), is_away, "{kind:?}");
        }
    }
}
