//! What may be there after a kill. A writer does one thing at a time, so of each writer at most one operation is in
//! doubt: its files are as they were before it or as they are after it, and nothing else. The shared name holds one of
//! the contents that could have been renamed to it last.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Operation, SHARED, Version};

/// Files by name.
pub(super) type Files = BTreeMap<String, Version>;

/// How far a writer came with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It returned success.
    Done,
    /// It failed, or never returned.
    Doubtful,
}

/// An operation that was begun.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
    pub(super) begun: u64,
    /// `u64::MAX` where nobody knows.
    pub(super) ended: u64,
}

/// What one writer did in a round.
pub(super) type Steps = Vec<Step>;

/// All that is there, as it is known for certain.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// Of each writer its own.
    pub(super) own: Vec<Files>,
    pub(super) shared: Option<Version>,
}

/// A rename to the shared name.
#[derive(Debug, Clone, Copy)]
struct Replacement {
    version: Version,
    begun: u64,
    ended: u64,
}

impl Model {
    pub(super) fn new(writers: usize) -> Self {
        Self {
            own: vec![Files::new(); writers],
            shared: None,
        }
    }

    /// The names that a writer has.
    pub(super) fn names_of(&self, writer: usize) -> BTreeSet<String> {
        self.own[writer].keys().cloned().collect()
    }

    /// Compares what is there with what may be; if it may, it is what is known from now on.
    pub(super) fn settle(&mut self, round: &[Steps], there: &Files) -> Result<(), String> {
        let mut next = Self::new(self.own.len());
        let mut replacements = Vec::new();
        for (writer, steps) in round.iter().enumerate() {
            let prefixes = [format!("w{writer}-"), format!(".w{writer}-")];
            let own: Files = there
                .iter()
                .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
                .map(|(name, version)| (name.clone(), *version))
                .collect();
            let (sure, doubtful) = split(steps);
            let mut before = self.own[writer].clone();
            let mut begun = Vec::new();
            for step in sure {
                begun.extend(apply(&mut before, step));
            }
            let mut after = before.clone();
            let last = doubtful.and_then(|step| apply(&mut after, step));
            if own == after {
                // Renamed, by what is no longer under its old name.
                begun.extend(last);
            } else if own != before {
                return Err(told(writer, &own, &before, &after, doubtful));
            }
            next.own[writer] = own;
            replacements.extend(begun);
        }
        next.shared = there.get(SHARED).copied();
        if !may_be_last(self.shared, &replacements, next.shared) {
            return Err(format!(
                "{SHARED} is {:?}; it was {:?} before {replacements:?}",
                next.shared, self.shared
            ));
        }
        let known: usize = next.own.iter().map(BTreeMap::len).sum();
        if known + usize::from(next.shared.is_some()) != there.len() {
            return Err(format!("there are files that nobody wrote: {there:?}"));
        }
        *self = next;
        Ok(())
    }
}

/// The steps that were done, and the one in doubt.
fn split(steps: &Steps) -> (&[Step], Option<&Step>) {
    match steps.split_last() {
        Some((last, sure)) if last.outcome == Outcome::Doubtful => (sure, Some(last)),
        _ => (steps, None),
    }
}

/// Does to the files what the step does; a rename to the shared name is given back.
fn apply(files: &mut Files, step: &Step) -> Option<Replacement> {
    match &step.operation {
        Operation::Put { name, version, .. } => {
            files.insert(name.clone(), *version);
        }
        Operation::Remove { name } => {
            files.remove(name);
        }
        Operation::Rename { from, to } => {
            let version = files.remove(from)?;
            if to == SHARED {
                return Some(Replacement {
                    version,
                    begun: step.begun,
                    ended: step.ended,
                });
            }
            files.insert(to.clone(), version);
        }
    }
    None
}

/// Whether `there` can have been renamed to the shared name last: no other was begun after it had ended.
fn may_be_last(was: Option<Version>, all: &[Replacement], there: Option<Version>) -> bool {
    let ended = match all.iter().find(|one| Some(one.version) == there) {
        Some(one) => one.ended,
        None if there == was => 0,
        None => return false,
    };
    // Those in doubt that are in `all` have left their old name, so they were done.
    all.iter()
        .all(|other| Some(other.version) == there || other.begun < ended)
}

fn told(
    writer: usize,
    own: &Files,
    before: &Files,
    after: &Files,
    doubtful: Option<&Step>,
) -> String {
    let names: BTreeSet<&String> = own
        .keys()
        .chain(before.keys())
        .chain(after.keys())
        .collect();
    let mut text = format!(
        "writer {writer}, in doubt {:?}:",
        doubtful.map(|step| &step.operation)
    );
    for name in names {
        let (is, before, after) = (own.get(name), before.get(name), after.get(name));
        if is != before || is != after {
            text += &format!("\n  {name} is {is:?}, may be {before:?} or {after:?}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(tag: u64) -> Version {
        Version { tag, size: 20 }
    }

    fn step(operation: Operation, outcome: Outcome, begun: u64) -> Step {
        let ended = match outcome {
            Outcome::Done => begun + 1,
            Outcome::Doubtful => u64::MAX,
        };
        Step {
            operation,
            outcome,
            begun,
            ended,
        }
    }

    fn put(name: &str, tag: u64, outcome: Outcome) -> Step {
        let operation = Operation::Put {
            name: name.to_owned(),
            version: version(tag),
            chunk: 1,
            sync: false,
        };
        step(operation, outcome, 1)
    }

    fn rename(from: &str, to: &str, outcome: Outcome, begun: u64) -> Step {
        let (from, to) = (from.to_owned(), to.to_owned());
        step(Operation::Rename { from, to }, outcome, begun)
    }

    fn files(these: &[(&str, u64)]) -> Files {
        these
            .iter()
            .map(|(name, tag)| ((*name).to_owned(), version(*tag)))
            .collect()
    }

    fn may_be(round: &[Steps], there: &[(&str, u64)]) -> bool {
        let mut model = Model::new(round.len());
        model.own[0] = files(&[("w0-a.md", 1)]);
        model.shared = Some(version(9));
        let mut there = files(there);
        there.entry(SHARED.to_owned()).or_insert(version(9));
        model.settle(round, &there).is_ok()
    }

    use Outcome::{Done, Doubtful};

    #[test]
    fn what_was_acknowledged_must_be_there() {
        let round = [vec![put("w0-a.md", 2, Done)]];
        assert!(may_be(&round, &[("w0-a.md", 2)]));
        assert!(
            !may_be(&round, &[("w0-a.md", 1)]),
            "the old version is back"
        );
        assert!(!may_be(&round, &[]), "lost");
        assert!(
            !may_be(&round, &[("w0-a.md", 2), ("w0-x.md", 3)]),
            "from nowhere"
        );
        assert!(
            !may_be(&round, &[("w0-a.md", 2), ("stranger", 3)]),
            "nobody's"
        );
    }

    #[test]
    fn what_is_in_doubt_is_done_or_not() {
        let round = [vec![put("w0-a.md", 2, Doubtful)]];
        assert!(may_be(&round, &[("w0-a.md", 1)]));
        assert!(may_be(&round, &[("w0-a.md", 2)]));
        assert!(!may_be(&round, &[]));
        let round = [vec![rename("w0-a.md", "w0-b.md", Doubtful, 1)]];
        assert!(may_be(&round, &[("w0-a.md", 1)]));
        assert!(may_be(&round, &[("w0-b.md", 1)]));
        assert!(
            !may_be(&round, &[("w0-a.md", 1), ("w0-b.md", 1)]),
            "duplicated"
        );
        assert!(!may_be(&round, &[]), "lost on the way");
    }

    #[test]
    fn what_was_removed_stays_away() {
        let name = "w0-a.md".to_owned();
        let round = [vec![step(Operation::Remove { name }, Done, 1)]];
        assert!(may_be(&round, &[]));
        assert!(!may_be(&round, &[("w0-a.md", 1)]));
    }

    #[test]
    fn the_shared_name_is_what_was_last_renamed_to_it() {
        let by = |draft: &str, tag, outcome, begun| {
            vec![put(draft, tag, Done), rename(draft, SHARED, outcome, begun)]
        };
        // One after the other.
        let round = [by("w0-a.md", 2, Done, 10), by("w1-s.new", 3, Done, 20)];
        assert!(may_be(&round, &[(SHARED, 3)]));
        assert!(!may_be(&round, &[(SHARED, 2)]));
        assert!(!may_be(&round, &[(SHARED, 9)]));
        // At once.
        let round = [by("w0-a.md", 2, Done, 10), by("w1-s.new", 3, Done, 10)];
        assert!(may_be(&round, &[(SHARED, 2)]));
        assert!(may_be(&round, &[(SHARED, 3)]));
        // In doubt: done when it has left its old name.
        let round = [by("w0-a.md", 2, Doubtful, 10)];
        assert!(may_be(&round, &[(SHARED, 2)]));
        assert!(may_be(&round, &[("w0-a.md", 2)]));
        assert!(!may_be(&round, &[]), "lost on the way");
        assert!(
            !may_be(&round, &[("w0-a.md", 2), (SHARED, 2)]),
            "duplicated"
        );
    }
}
