//! A file on its way here: its bytes so far in a file of their own beside the cached copies, who waits for which, and
//! the end of it.
//!
//! Locks, in the order in which they are taken: the table of fetches, then `partial` or `writing`, then `state`. None is
//! held while anybody waits; `writing` is held over a look at what is here and the write that follows from it, so that
//! two lanes that meet never write the same bytes.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::api::{FileId, Meter};
use crate::disk::Disk;

use super::super::{Store, cache, file_name, lock};
use super::plan::{LaneId, Next, Plan, Way};
use super::{Arriving, FetchError, Source, disk, stream};

/// How often who waits looks whether it still should.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Who has waited so long for a free lane takes another one's place.
const TURN: Duration = Duration::from_secs(2);

/// A fetch that has no more than this to go when its last reader leaves goes on to its end.
const NEARLY_DONE: u64 = 1 << 20;

/// One fetch.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) id: FileId,
    pub(super) size: u64,
    pub(super) source: Source,
    disk: Disk,
    path: PathBuf,
    file: Arc<File>,
    /// Takes the file away when it is dropped; `None` once it is a cached copy.
    partial: Mutex<Option<NamedTempFile>>,
    writing: Mutex<()>,
    state: Mutex<State>,
    /// Told when bytes have come, or will not.
    arrived: Condvar,
    /// Told when more is wanted of a lane that rests, or nothing any more.
    wanted: Condvar,
    /// Who reads; changed under the table of fetches only.
    pub(super) readers: AtomicUsize,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    meter: Meter,
    /// How many wait for bytes.
    waiting: usize,
    /// How many transfers have failed, and why the last one did.
    failures: u64,
    failure: Option<FetchError>,
    /// What was brought contradicts itself: none of it can be trusted.
    contradiction: Option<FetchError>,
    /// Nobody wants it any more.
    is_over: bool,
    /// All bytes are here and were checked.
    is_whole: bool,
    /// The cached copy, or why there is none.
    outcome: Option<Result<Arc<File>, FetchError>>,
}

impl Fetch {
    pub(super) fn new(
        store: &Store,
        id: &FileId,
        size: u64,
        source: Source,
        honours_ranges: Option<bool>,
    ) -> Result<Self, FetchError> {
        let partial = store.cache.new_partial().map_err(disk)?;
        Ok(Self {
            id: id.clone(),
            size,
            source,
            disk: store.disk.clone(),
            path: partial.path().to_owned(),
            file: Arc::new(partial.as_file().try_clone().map_err(disk)?),
            partial: Mutex::new(Some(partial)),
            writing: Mutex::new(()),
            state: Mutex::new(State {
                plan: Plan::new(size, honours_ranges),
                meter: Meter::default(),
                waiting: 0,
                failures: 0,
                failure: None,
                contradiction: None,
                is_over: false,
                is_whole: false,
                outcome: None,
            }),
            arrived: Condvar::new(),
            wanted: Condvar::new(),
            readers: AtomicUsize::new(0),
        })
    }

    /// A range of bytes, where they are here.
    pub(super) fn read_now(&self, range: &Range<u64>) -> Option<io::Result<Vec<u8>>> {
        let mut state = lock(&self.state);
        if state.contradiction.is_some() || !state.plan.here().contains(range) {
            return None;
        }
        self.was_read(&mut state, range.end);
        drop(state);
        Some(self.bytes(range))
    }

    fn was_read(&self, state: &mut State, until: u64) {
        if state.plan.was_read(until) {
            self.wanted.notify_all();
        }
    }

    fn bytes(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let length = range.end.saturating_sub(range.start);
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    /// A range of bytes, as soon as they are here. The wait ends with the transfer that is to bring them, which ends at
    /// the latest when it makes no progress for the client's deadline; or soon after `is_given_up`.
    pub(super) fn read(
        self: &Arc<Self>,
        store: &Arc<Store>,
        range: &Range<u64>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, FetchError> {
        let state = self.wait_for(store, range, is_given_up)?;
        drop(state);
        self.bytes(range).map_err(disk)
    }

    fn wait_for(
        self: &Arc<Self>,
        store: &Arc<Store>,
        range: &Range<u64>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<MutexGuard<'_, State>, FetchError> {
        let begun = Instant::now();
        let mut looked = begun;
        let mut state = lock(&self.state);
        let mut seen = state.failures;
        loop {
            if let Some(error) = &state.contradiction {
                return Err(error.clone());
            }
            if state.plan.here().contains(range) {
                self.was_read(&mut state, range.end);
                return Ok(state);
            }
            if state.failures != seen {
                seen = state.failures;
                if !state.plan.is_coming(range)
                    && let Some(error) = &state.failure
                {
                    return Err(error.clone());
                }
            }
            self.send_for(store, &mut state, range, begun.elapsed() > TURN)?;
            state = self.wait(state);
            if looked.elapsed() >= LOOK_AROUND {
                if is_given_up() {
                    return Err(FetchError::GivenUp);
                }
                looked = Instant::now();
            }
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let (mut state, _) = self
            .arrived
            .wait_timeout(state, LOOK_AROUND)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Sees to it that a range comes of which something is missing.
    fn send_for(
        self: &Arc<Self>,
        store: &Arc<Store>,
        state: &mut State,
        range: &Range<u64>,
        has_waited_long: bool,
    ) -> Result<(), FetchError> {
        let way = state.plan.way(range, has_waited_long);
        // Its target may be further now, or its place another's.
        self.wanted.notify_all();
        if let Way::Open(lane) = way
            && let Err(error) = stream::start(store, self, lane)
        {
            state.plan.ended(lane);
            return Err(disk(error));
        }
        Ok(())
    }

    /// The whole file, when it is a cached copy, safe on the disk. Waits as [`Fetch::read`] does.
    pub(super) fn whole(
        self: &Arc<Self>,
        store: &Arc<Store>,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Arc<File>, FetchError> {
        let mut looked = Instant::now();
        let mut state = self.wait_for(store, &(0..self.size), is_given_up)?;
        loop {
            match &state.outcome {
                Some(outcome) => return outcome.clone(),
                None => state = self.wait(state),
            }
            if let Some(error) = &state.contradiction {
                return Err(error.clone());
            }
            if looked.elapsed() >= LOOK_AROUND {
                if is_given_up() {
                    return Err(FetchError::GivenUp);
                }
                looked = Instant::now();
            }
        }
    }

    /// The file, once all its bytes are here and were checked.
    pub(super) fn complete(&self) -> Option<Arc<File>> {
        lock(&self.state).is_whole.then(|| Arc::clone(&self.file))
    }

    /// How far it is; `None` where nothing of it is on its way, or nobody reads on.
    pub(super) fn progress(&self) -> Option<Arriving> {
        let state = lock(&self.state);
        state.plan.is_moving().then(|| Arriving {
            id: self.id.clone(),
            done: self.size - state.plan.left(),
            size: self.size,
            rate: state.meter.rate(Instant::now()).unwrap_or(0),
        })
    }

    pub(super) fn is_finishing(&self) -> bool {
        let state = lock(&self.state);
        // Its last transfer may be about to say so.
        state.plan.is_whole() && state.outcome.is_none() && state.contradiction.is_none()
    }

    /// The last reader has left: whether it ends here. One that is nearly done goes on to its end.
    pub(super) fn is_dropped(self: &Arc<Self>, store: &Arc<Store>) -> bool {
        let mut state = lock(&self.state);
        if state.is_whole || state.is_over {
            return false;
        }
        let is_near = state.plan.left() <= NEARLY_DONE.max(self.size / 20);
        if is_near && state.plan.has_lanes() {
            let rest = state.plan.rest();
            return self.send_for(store, &mut state, &rest, true).is_err();
        }
        true
    }

    /// Ends the fetch: its lanes, at their next look, and its file.
    pub(super) fn give_up(&self) {
        lock(&self.state).is_over = true;
        self.wanted.notify_all();
        self.arrived.notify_all();
        drop(lock(&self.partial).take());
    }

    /// Whether lane `id` goes on. It rests in here until it is wanted.
    pub(super) fn goes_on(&self, id: LaneId) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.is_over || state.contradiction.is_some() {
                return false;
            }
            match state.plan.next(id) {
                Next::Bring => return true,
                Next::End => return false,
                Next::Rest => {
                    state = self
                        .wanted
                        .wait(state)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                }
            }
        }
    }

    /// Lets time pass between two tries of a lane. Whether it is still wanted.
    pub(super) fn pause(&self, id: LaneId, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = lock(&self.state);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.is_over || state.plan.resumes_at(id).is_none() {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            state = self
                .wanted
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    /// Looks at the plan, or changes it for a lane.
    pub(super) fn with_plan<T>(&self, act: impl FnOnce(&mut Plan) -> T) -> T {
        act(&mut lock(&self.state).plan)
    }

    /// Who waits for the service's first answer is told that it is there.
    pub(super) fn tell(&self) {
        self.arrived.notify_all();
    }

    /// Takes bytes in that a lane has brought from `at` on: those that are here already must be the same, the others are
    /// written. Whether any were new.
    pub(super) fn take(&self, id: LaneId, at: u64, bytes: &[u8]) -> Result<bool, FetchError> {
        let _writing = lock(&self.writing);
        let end = at + bytes.len() as u64;
        let mut place = at;
        let mut is_new = false;
        while place < end {
            let (is_here, until) = {
                let state = lock(&self.state);
                let missing = state.plan.here().first_missing(place);
                if missing > place {
                    (true, missing.min(end))
                } else {
                    let there = state.plan.here().first_there(place);
                    (false, there.unwrap_or(end).min(end))
                }
            };
            let piece = &bytes[(place - at) as usize..(until - at) as usize];
            if is_here {
                if self.bytes(&(place..until)).map_err(disk)? != piece {
                    return Err(FetchError::Changed { at: place });
                }
            } else {
                self.disk
                    .write_all_at(&self.path, &self.file, piece, place)
                    .map_err(disk)?;
                let mut state = lock(&self.state);
                state.meter.moved(until - place, Instant::now());
                state.plan.brought(place..until);
                is_new = true;
            }
            place = until;
        }
        let mut state = lock(&self.state);
        state.plan.moved(id, end);
        if state.waiting > 0 {
            self.arrived.notify_all();
        }
        Ok(is_new)
    }

    /// A lane has ended; whether the file is whole now, which one lane only is told.
    pub(super) fn ended(&self, id: LaneId, outcome: Result<(), FetchError>) -> bool {
        let mut state = lock(&self.state);
        state.plan.ended(id);
        if let Err(error) = outcome {
            let has_bytes = state.plan.left() < self.size;
            if has_bytes && error.is_contradiction() {
                state.contradiction = Some(error.clone());
            }
            state.failures += 1;
            state.failure = Some(error);
        }
        let is_new = state.plan.is_whole() && !state.is_whole && state.contradiction.is_none();
        state.is_whole |= is_new;
        self.arrived.notify_all();
        self.wanted.notify_all();
        is_new && !state.is_over
    }

    /// What was brought can't be trusted.
    pub(super) fn is_contradictory(&self) -> bool {
        lock(&self.state).contradiction.is_some()
    }

    /// Whether a fetch that nobody reads any more is finished, or on its way to be.
    pub(super) fn finishes(self: &Arc<Self>, store: &Arc<Store>) -> bool {
        let mut state = lock(&self.state);
        if state.is_whole {
            return true;
        }
        if state.is_over || (state.failure.is_some() && !state.plan.has_lanes()) {
            return false;
        }
        let rest = state.plan.rest();
        self.send_for(store, &mut state, &rest, true).is_ok()
    }

    /// Whether it is a cached copy, or will be none.
    pub(super) fn has_outcome(&self) -> bool {
        lock(&self.state).outcome.is_some()
    }

    /// Makes the whole file a cached copy.
    pub(super) fn finish(&self, store: &Store) {
        let partial = lock(&self.partial).take();
        let outcome = match partial {
            Some(partial) => {
                cache::seal(&self.file);
                let name = file_name(&self.id);
                self.disk
                    .sync(&self.path, &self.file)
                    .and_then(|()| store.cache.add(partial, &name, &self.file))
                    .map(|()| Arc::clone(&self.file))
                    .map_err(disk)
            }
            None => Err(FetchError::GivenUp),
        };
        if let Err(error) = &outcome {
            log::warn!("{} could not be cached: {error}", self.id);
        }
        lock(&self.state).outcome = Some(outcome);
        self.arrived.notify_all();
    }
}
