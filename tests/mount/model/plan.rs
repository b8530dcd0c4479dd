//! What is done in a case, drawn by chance: operations, the service's answers, and how the mount is set up.

use std::fmt;
use std::time::Duration;

use afs::uploader::Conduct;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::files::{HEAD, Name};
use super::service::Answer;
use crate::disk::scenario::{LARGE, MEDIUM};
use crate::surface::Setup;

/// Few, so that operations meet; one of them is provisional, and one a scratch file's.
pub(super) const NAMES: [Name; 5] = ["a", "b", "a.tmp", "c.txt", SCRATCH];

pub(super) const PROVISIONAL: Name = "a.tmp";

pub(super) const SCRATCH: Name = "b~";

/// Drawn for each case.
pub(super) const OPERATIONS: usize = 40;

const ANSWERS: usize = 60;

/// Where a write begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Start,
    Middle,
    End,
    /// So far behind the end.
    Behind(usize),
}

/// When everything ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crash {
    /// After so many steps of the disk.
    pub(super) steps: usize,
    /// Whether what was not synced is lost.
    pub(super) is_power_cut: bool,
}

/// One operation. Numbers choose among the names, or among the handles that are open.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Read(Name),
    List,
    /// A whole content.
    Put(Name, usize),
    Open {
        name: Name,
        truncate: bool,
    },
    Write {
        handle: usize,
        place: Place,
        len: usize,
    },
    /// The same bytes over themselves.
    WriteAgain(usize),
    Truncate {
        handle: usize,
        size: usize,
    },
    TruncatePath(Name, usize),
    /// The close of a duplicate.
    Flush(usize),
    Close(usize),
    Fsync(usize),
    Rename(Name, Name),
    Unlink(Name),
    /// What waits for its time has waited long enough.
    TimePasses,
    /// Now or a little later; the recovery may meet an end as well.
    Crash(Crash, Option<Crash>),
}

/// How closes are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// When the service has confirmed, however often it was tried.
    Patient,
    /// After the first failure, by its errno.
    Impatient,
    /// When it is durable here.
    WriteBack,
}

/// One case.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) manner: Manner,
    /// Whether every look at a name that is not there brings a listing.
    pub(super) is_refreshing: bool,
    /// Whether all is closed at the end, or ends as well.
    pub(super) is_closed: bool,
    pub(super) ops: Vec<Op>,
    pub(super) answers: Vec<Answer>,
}

impl Case {
    pub(super) fn setup(&self) -> Setup {
        let base = if self.is_refreshing {
            Setup::refreshing()
        } else {
            Setup::default()
        };
        let patience = match self.manner {
            Manner::Patient | Manner::WriteBack => Duration::from_secs(60),
            Manner::Impatient => Duration::ZERO,
        };
        Setup {
            write_back: (self.manner == Manner::WriteBack).then_some(Duration::from_secs(10)),
            // Nobody sits through pauses.
            conduct: Conduct {
                patience,
                jitter: || 0.0,
                ..base.conduct
            },
            ..base
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}{}{}",
            self.manner,
            if self.is_refreshing {
                ", refreshing"
            } else {
                ""
            },
            if self.is_closed {
                ", closed at the end"
            } else {
                ""
            },
        )?;
        for op in &self.ops {
            writeln!(f, "  {op:?}")?;
        }
        let last = self.answers.iter().rposition(|one| *one != Answer::Good);
        write!(
            f,
            "  answers {:?}",
            &self.answers[..last.map_or(0, |at| at + 1)]
        )
    }
}

fn name() -> impl Strategy<Value = Name> {
    prop::sample::select(&NAMES[..])
}

/// Lengths, with the limits at which contents change their place.
fn len() -> impl Strategy<Value = usize> {
    prop_oneof![
        60 => 8..300_usize,
        12 => Just(MEDIUM - 1),
        12 => MEDIUM..MEDIUM + 1000,
        2 => LARGE..LARGE + 1000,
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 6 => 8..300_usize, 1 => MEDIUM..MEDIUM + 1000]
}

fn handle() -> impl Strategy<Value = usize> {
    0..4_usize
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        4 => Just(Place::Start),
        3 => Just(Place::End),
        2 => Just(Place::Middle),
        // Not within the serial number.
        1 => (HEAD..5000).prop_map(Place::Behind),
    ]
}

fn crash() -> impl Strategy<Value = Crash> {
    (0..40_usize, any::<bool>()).prop_map(|(steps, is_power_cut)| Crash {
        steps,
        is_power_cut,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => name().prop_map(Op::Read),
        2 => Just(Op::List),
        14 => (name(), len()).prop_map(|(name, len)| Op::Put(name, len)),
        12 => (name(), any::<bool>()).prop_map(|(name, truncate)| Op::Open { name, truncate }),
        20 => (handle(), place(), len())
            .prop_map(|(handle, place, len)| Op::Write { handle, place, len }),
        4 => handle().prop_map(Op::WriteAgain),
        5 => (handle(), size()).prop_map(|(handle, size)| Op::Truncate { handle, size }),
        3 => (name(), size()).prop_map(|(name, size)| Op::TruncatePath(name, size)),
        6 => handle().prop_map(Op::Flush),
        12 => handle().prop_map(Op::Close),
        4 => handle().prop_map(Op::Fsync),
        14 => (name(), name()).prop_map(|(from, to)| Op::Rename(from, to)),
        6 => name().prop_map(Op::Unlink),
        3 => Just(Op::TimePasses),
        4 => (crash(), option::weighted(0.3, crash()))
            .prop_map(|(first, second)| Op::Crash(first, second)),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        10 => Just(Answer::Good),
        2 => Just(Answer::LostAfter),
        2 => Just(Answer::LostBefore),
        1 => Just(Answer::Limited),
        1 => Just(Answer::Broken),
        1 => Just(Answer::BrokenAfter),
    ]
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let manner = prop_oneof![
        2 => Just(Manner::Patient),
        2 => Just(Manner::Impatient),
        1 => Just(Manner::WriteBack),
    ];
    let parts = (
        manner,
        any::<bool>(),
        any::<bool>(),
        vec(op(), OPERATIONS),
        vec(answer(), ANSWERS),
    );
    parts.prop_map(|(manner, is_refreshing, is_closed, ops, answers)| Case {
        manner,
        is_refreshing,
        is_closed,
        ops,
        answers,
    })
}
