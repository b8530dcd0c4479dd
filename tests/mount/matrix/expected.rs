//! What must come of a cell: a table of what a single fault comes to for a call, and the arithmetic of how often it
//! strikes.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use afs::emulator::LoggedCall;

/// What the service does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Internal,
    Unavailable,
    Overloaded,
    Timeout,
    Limited,
    Dropped,
    Reset,
    CutRequest,
    CutAnswer,
    SaysMore,
    Html,
    Stalled,
    Forbidden,
    Redirect,
}

impl Fault {
    pub(super) const ALL: [Self; 14] = [
        Self::Internal,
        Self::Unavailable,
        Self::Overloaded,
        Self::Timeout,
        Self::Limited,
        Self::Dropped,
        Self::Reset,
        Self::CutRequest,
        Self::CutAnswer,
        Self::SaysMore,
        Self::Html,
        Self::Stalled,
        Self::Forbidden,
        Self::Redirect,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Internal => "500",
            Self::Unavailable => "503",
            Self::Overloaded => "529",
            Self::Timeout => "408",
            Self::Limited => "429",
            Self::Dropped => "dropped",
            Self::Reset => "reset",
            Self::CutRequest => "request cut",
            Self::CutAnswer => "answer cut",
            Self::SaysMore => "wrong length",
            Self::Html => "200, HTML",
            Self::Stalled => "stalled",
            Self::Forbidden => "403",
            Self::Redirect => "307",
        }
    }

    /// Whether another try may help.
    pub(super) fn passes(self) -> bool {
        !matches!(self, Self::Forbidden | Self::Redirect)
    }
}

/// Which requests it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    First,
    Second,
    Third,
    EverySecond,
    /// For longer than anybody waits.
    Lasting,
}

impl Pattern {
    pub(super) const ALL: [Self; 5] = [
        Self::First,
        Self::Second,
        Self::Third,
        Self::EverySecond,
        Self::Lasting,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::First => "1st",
            Self::Second => "2nd",
            Self::Third => "3rd",
            Self::EverySecond => "every 2nd",
            Self::Lasting => "lasting",
        }
    }

    /// How many actions there are, one after the other.
    pub(super) fn actions(self) -> usize {
        if self == Self::Lasting { 1 } else { 4 }
    }

    /// Whether it strikes request number `n`, counted from 1.
    fn strikes(self, n: usize) -> bool {
        match self {
            Self::First => n == 1,
            Self::Second => n == 2,
            Self::Third => n == 3,
            Self::EverySecond => n.is_multiple_of(2),
            Self::Lasting => true,
        }
    }
}

/// What somebody sees of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Errno(i32),
    /// A listing shows what was known before.
    Stale,
    /// What was to be deleted is still there.
    Stays,
}

impl Outcome {
    pub(super) fn failed(error: &io::Error) -> Self {
        Self::Errno(error.raw_os_error().expect("an errno"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("ok"),
            Self::Errno(errno) => write!(f, "{:?}", nix::errno::Errno::from_raw(*errno)),
            Self::Stale => f.write_str("stale"),
            Self::Stays => f.write_str("stays"),
        }
    }
}

/// The columns of a cell.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) outcomes: Vec<Outcome>,
    /// Requests of the call itself.
    pub(super) requests: usize,
    /// Lists that uploads cause: looks for what was lost.
    pub(super) looks: usize,
    /// Whether each file is there once with its bytes, or gone, when the fault is over.
    pub(super) is_whole: bool,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outcomes, requests, looks) = (told(&self.outcomes), self.requests, self.looks);
        let data = if self.is_whole { "whole" } else { "NOT WHOLE" };
        write!(
            f,
            "{outcomes:<24} {requests:>2} requests, {looks} looks; {data}"
        )
    }
}

/// What the columns must be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    outcomes: Vec<Outcome>,
    requests: RangeInclusive<usize>,
    looks: RangeInclusive<usize>,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outcomes, requests, looks) = (told(&self.outcomes), &self.requests, &self.looks);
        write!(
            f,
            "{outcomes:<24} {requests:?} requests, {looks:?} looks; whole"
        )
    }
}

impl Expected {
    pub(super) fn fits(&self, seen: &Seen) -> bool {
        self.outcomes == seen.outcomes
            && self.requests.contains(&seen.requests)
            && self.looks.contains(&seen.looks)
            && seen.is_whole
    }
}

fn told(outcomes: &[Outcome]) -> String {
    let told: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
    told.join(" ")
}

/// What one fault comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// It is asked again; where that does not help in time, this is the errno.
    Again(i32),
    /// The effect took place and its answer was lost: asked again, that shows.
    Gone,
    /// Before an upload is sent again it is looked for.
    Looks(i32),
    /// The same, and it is found: nothing is sent again.
    Found,
    /// The caller is told so, and it is looked for and sent again behind him.
    Later(i32),
    /// It is told, and not asked again by itself.
    Ends(i32),
}

/// A caller is told of what lasts after so many requests at most: `--timeout` is a second then, of a limit two are waited
/// for, and each wait for it is 0.3 s.
const LIMIT: usize = 7;

#[rustfmt::skip]
const fn meets(call: LoggedCall, fault: Fault) -> Meets {
    use Fault::*;
    use Meets::*;
    use libc::{EACCES, EAGAIN, EIO};
    //                                                        download       metadata       list           upload         delete
    let row = match fault {
        Internal | Unavailable | Overloaded |
        Timeout | CutRequest                          => [Again(EIO),    Again(EIO),    Again(EIO),    Looks(EIO),    Again(EIO)],
        Limited                                       => [Again(EAGAIN), Again(EAGAIN), Again(EAGAIN), Again(EAGAIN), Again(EAGAIN)],
        Dropped | Reset | CutAnswer                   => [Again(EIO),    Again(EIO),    Again(EIO),    Found,         Gone],
        SaysMore                                      => [Ends(EIO),     Again(EIO),    Again(EIO),    Found,         Gone],
        Html                                          => [Ends(EIO),     Ends(EIO),     Ends(EIO),     Found,         Gone],
        Stalled                                       => [Ends(EIO),     Ends(EIO),     Ends(EIO),     Later(EIO),    Again(EIO)],
        Forbidden                                     => [Ends(EACCES),  Ends(EACCES),  Ends(EACCES),  Ends(EACCES),  Ends(EACCES)],
        Redirect                                      => [Ends(EIO),     Ends(EIO),     Ends(EIO),     Ends(EIO),     Ends(EIO)],
    };
    match call {
        LoggedCall::Content => row[0],
        LoggedCall::Metadata => row[1],
        LoggedCall::List => row[2],
        LoggedCall::Upload => row[3],
        LoggedCall::Delete => row[4],
    }
}

pub(super) fn of(call: LoggedCall, fault: Fault, pattern: Pattern) -> Expected {
    let meets = meets(call, fault);
    if pattern == Pattern::Lasting {
        return lasting(call, meets);
    }
    let (mut requests, mut looks) = (0, 0);
    let outcomes = (0..pattern.actions())
        .map(|_| {
            let mut asked = 1;
            let mut told = None;
            loop {
                requests += 1;
                if !pattern.strikes(requests) {
                    break told.map_or(Outcome::Done, Outcome::Errno);
                }
                match meets {
                    Meets::Again(_) | Meets::Gone => {}
                    Meets::Looks(_) => looks += 1,
                    Meets::Later(errno) => {
                        looks += 1;
                        told = Some(errno);
                    }
                    Meets::Found => {
                        looks += 1;
                        break Outcome::Done;
                    }
                    Meets::Ends(_) if asked < asks(call) => asked += 1,
                    Meets::Ends(errno) => break failed(call, errno),
                }
            }
        })
        .collect();
    Expected {
        outcomes,
        requests: requests..=requests,
        looks: looks..=looks,
    }
}

/// How often somebody asks before it is an error: the kernel asks once more for a page that it had asked for ahead.
fn asks(call: LoggedCall) -> usize {
    if call == LoggedCall::Content { 2 } else { 1 }
}

/// What is told of a call that failed.
fn failed(call: LoggedCall, errno: i32) -> Outcome {
    match call {
        LoggedCall::List => Outcome::Stale,
        LoggedCall::Delete => Outcome::Stays,
        _ => Outcome::Errno(errno),
    }
}

/// "No more than one request above the limit": it is a rule of the outbox that who waits is told after one try, so that the
/// fewest are one.
fn lasting(call: LoggedCall, meets: Meets) -> Expected {
    let (outcome, requests, looks) = match meets {
        Meets::Found => (Outcome::Done, 1..=1, 1..=1),
        Meets::Gone => (Outcome::Done, 1..=LIMIT + 1, 0..=0),
        Meets::Ends(errno) => (failed(call, errno), asks(call)..=asks(call), 0..=0),
        Meets::Again(errno) => {
            let fewest = if call == LoggedCall::Delete { 1 } else { 2 };
            let requests = fewest * asks(call)..=(LIMIT + 1) * asks(call);
            (failed(call, errno), requests, 0..=0)
        }
        Meets::Looks(errno) | Meets::Later(errno) => {
            (failed(call, errno), 1..=LIMIT + 1, 0..=LIMIT)
        }
    };
    Expected {
        outcomes: vec![outcome],
        requests,
        looks,
    }
}
