//! What the workspace was a while ago: which files came and went lately, and when. For lists that a fault makes answer
//! late, as a replica would that lags behind.
//!
//! A file is known here by its number, which is never another's. So the order of what happened does not matter: a while
//! ago there was what is there now and what has gone since, without what has come since.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalogue::{Place, Stored};

/// The longest time ago that can be asked for.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// Older changes are forgotten beyond this many: then they were always so.
const MOST: usize = 100_000;

/// The changes of the last hour, oldest first.
#[derive(Debug, Default)]
pub(super) struct Past {
    changes: VecDeque<(Instant, Step)>,
}

#[derive(Debug)]
enum Step {
    /// So many files came, from this number on.
    Came(u64, u64),
    /// A file went; what is kept of it has no bytes.
    Went(Arc<Stored>),
}

impl Past {
    /// `count` files have come, of which `first` is the lowest number.
    pub(super) fn came(&mut self, first: u64, count: u64) {
        self.note(Step::Came(first, count));
    }

    /// A file has gone.
    pub(super) fn went(&mut self, file: Stored) {
        self.note(Step::Went(Arc::new(file)));
    }

    /// Whatever is there was always there.
    pub(super) fn forget(&mut self) {
        self.changes.clear();
    }

    fn note(&mut self, step: Step) {
        let now = Instant::now();
        let is_old = |(then, _): &(Instant, Step)| now.duration_since(*then) > LONGEST;
        while self.changes.len() >= MOST || self.changes.front().is_some_and(is_old) {
            self.changes.pop_front();
        }
        self.changes.push_back((now, step));
    }

    /// What was different so long ago.
    pub(super) fn ago(&self, age: Duration) -> Difference {
        let mut difference = Difference::default();
        let since = self.changes.iter().rev();
        for (_, step) in since.take_while(|(then, _)| then.elapsed() < age) {
            match step {
                Step::Came(first, count) => {
                    difference.came.insert(*first, first + count);
                }
                Step::Went(file) => {
                    difference.went.insert(file.place, Arc::clone(file));
                }
            }
        }
        let Difference { came, went } = &mut difference;
        went.retain(|place, _| !contains(came, place.seq));
        difference
    }
}

/// What is different between a time and now; none by default.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The numbers of what has come since: the first of a run, and the one behind it.
    came: BTreeMap<u64, u64>,
    /// What has gone since.
    pub(super) went: BTreeMap<Place, Arc<Stored>>,
}

impl Difference {
    /// Whether a file was not there yet.
    pub(super) fn hides(&self, file: Place) -> bool {
        contains(&self.came, file.seq)
    }

    /// A file that was there still.
    pub(super) fn gone(&self, id: &str) -> Option<&Arc<Stored>> {
        self.went.values().find(|file| file.id == id)
    }
}

fn contains(runs: &BTreeMap<u64, u64>, seq: u64) -> bool {
    let run = runs.range(..=seq).next_back();
    run.is_some_and(|(_, behind)| seq < *behind)
}
