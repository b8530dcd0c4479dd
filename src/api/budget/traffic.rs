//! How requests go at present, for those who watch: how many were sent and for whom, and what waits.

use std::collections::VecDeque;
use std::time::Duration;

use super::Class;
use super::ledger::MINUTE;
use crate::api::{Call, Program};

/// How requests go at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent in the last minute.
    pub spent: usize,
    /// For whom, most first.
    pub by_program: Vec<(Program, usize)>,
    /// How many more may be sent at once; `None` where nobody has said.
    pub left: Option<u32>,
    /// What waits for its turn.
    pub waiting: Waits,
    /// About how long the last of it waits.
    pub longest_wait: Duration,
    /// Whether it waits for `--rate`, and not for the service.
    pub is_own_limit: bool,
}

/// How much waits, by what people call it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// Reads of what is not on this machine.
    pub reads: usize,
    /// Questions after a single file.
    pub lookups: usize,
    /// Saves.
    pub saves: usize,
    /// Deletions.
    pub deletions: usize,
    /// Pages of listings.
    pub listings: usize,
}

impl Waits {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> usize {
        self.reads + self.lookups + self.saves + self.deletions + self.listings
    }

    /// This and the other.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            lookups: self.lookups + other.lookups,
            saves: self.saves + other.saves,
            deletions: self.deletions + other.deletions,
            listings: self.listings + other.listings,
        }
    }

    /// Counts a request in.
    pub(super) fn count(&mut self, class: Class, call: Call) {
        *match (class, call) {
            // Before a second try the outbox looks what has become of the first, and it fetches what it replaces for the
            // trash.
            (_, Call::Upload) | (Class::Save, Call::List | Call::Metadata) => &mut self.saves,
            (_, Call::Delete) | (Class::Save, Call::Download) => &mut self.deletions,
            (_, Call::Download) => &mut self.reads,
            (_, Call::Metadata) => &mut self.lookups,
            (_, Call::List) => &mut self.listings,
        } += 1;
    }
}

/// The requests of the last minute.
#[derive(Debug, Default)]
pub(super) struct Spent(VecDeque<(Duration, Program)>);

impl Spent {
    /// A request is sent.
    pub(super) fn sends(&mut self, program: Program, now: Duration) {
        self.0.push_back((now, program));
        self.trim(now);
    }

    fn trim(&mut self, now: Duration) {
        let begun = now.saturating_sub(MINUTE);
        while self.0.front().is_some_and(|(time, _)| *time < begun) {
            self.0.pop_front();
        }
    }

    /// How many they are.
    pub(super) fn count(&mut self, now: Duration) -> usize {
        self.trim(now);
        self.0.len()
    }

    /// For whom they were, most first; of as many, by name.
    pub(super) fn by_program(&mut self, now: Duration) -> Vec<(Program, usize)> {
        self.trim(now);
        let mut programs: Vec<(Program, usize)> = Vec::new();
        for (_, program) in &self.0 {
            match programs.iter_mut().find(|(known, _)| known == program) {
                Some((_, count)) => *count += 1,
                None => programs.push((program.clone(), 1)),
            }
        }
        programs.sort_by(|(a, most), (b, more)| more.cmp(most).then_with(|| a.cmp(b)));
        programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_called_by_what_it_is_for() {
        let waits = |class, call| {
            let mut waits = Waits::default();
            waits.count(class, call);
            assert_eq!(waits.total(), 1);
            waits
        };
        let none = Waits::default();
        let (reads, lookups) = (Waits { reads: 1, ..none }, Waits { lookups: 1, ..none });
        let (saves, listings) = (
            Waits { saves: 1, ..none },
            Waits {
                listings: 1,
                ..none
            },
        );
        let deletions = Waits {
            deletions: 1,
            ..none
        };
        for (class, call, expected) in [
            (Class::Interactive, Call::Download, reads),
            (Class::Interactive, Call::Metadata, lookups),
            (Class::Interactive, Call::List, listings),
            (Class::Save, Call::Upload, saves),
            (Class::Save, Call::List, saves),
            (Class::Save, Call::Metadata, saves),
            (Class::Save, Call::Delete, deletions),
            (Class::Save, Call::Download, deletions),
            (Class::Refresh, Call::List, listings),
            (Class::Background, Call::List, listings),
        ] {
            assert_eq!(waits(class, call), expected, "{class:?} {call}");
        }
    }

    #[test]
    fn requests_count_for_a_minute_and_for_whom_they_were() {
        let at = Duration::from_secs;
        let mut spent = Spent::default();
        for (second, program) in [(0, "cat"), (10, "cp"), (20, "ls"), (30, "cp"), (40, "afs")] {
            spent.sends(Program::named(program), at(second));
        }
        let mut said = |second| {
            let programs = spent.by_program(at(second)).into_iter();
            let said: Vec<String> = programs.map(|(p, n)| format!("{n} {p}")).collect();
            (spent.count(at(second)), said.join(", "))
        };
        assert_eq!(said(50), (5, "2 cp, 1 afs, 1 cat, 1 ls".to_owned()));
        assert_eq!(said(65), (4, "2 cp, 1 afs, 1 ls".to_owned()));
        assert_eq!(said(75), (3, "1 afs, 1 cp, 1 ls".to_owned()));
        assert_eq!(said(200), (0, String::new()));
    }
}
