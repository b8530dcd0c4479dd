//! Makes a case that fails smaller. Threads meet differently each time, and many a case fails only now and then: proptest's
//! own way ends when one of those passes, this one tries a smaller case some times before it believes it.

use std::time::{Duration, Instant};

use super::plan::{Case, Manner};
use super::run_one;
use super::service::Answer;

/// So often a smaller case is tried.
const TRIES: usize = 8;

/// For no longer than this.
const PATIENCE: Duration = Duration::from_secs(45);

/// The smallest case found so far, and how it fails.
struct Smallest {
    case: Case,
    why: String,
    deadline: Instant,
}

impl Smallest {
    /// Takes a smaller case, where it fails as well.
    fn take(&mut self, case: Case) -> bool {
        for _ in 0..TRIES {
            if Instant::now() > self.deadline {
                return false;
            }
            if let Err(why) = run_one(&case) {
                self.case = case;
                self.why = why;
                return true;
            }
        }
        false
    }

    /// Leaves operations out, many at once and then fewer; whether any could be.
    fn leave_out(&mut self) -> bool {
        let mut is_smaller = false;
        for count in [16, 8, 4, 2, 1] {
            let mut at = self.case.ops.len();
            while at > 0 {
                let from = at.saturating_sub(count);
                let mut case = self.case.clone();
                case.ops.drain(from..at);
                is_smaller |= self.take(case);
                at = from;
            }
        }
        is_smaller
    }

    /// Has the service answer well.
    fn answer_well(&mut self) {
        let all_is_well = Case {
            answers: Vec::new(),
            ..self.case.clone()
        };
        if self.take(all_is_well) {
            return;
        }
        for at in (0..self.case.answers.len()).rev() {
            if self.case.answers[at] != Answer::Good {
                let mut case = self.case.clone();
                case.answers[at] = Answer::Good;
                self.take(case);
            }
        }
    }

    fn set_up_simply(&mut self) {
        let quiet = Case {
            is_refreshing: false,
            ..self.case.clone()
        };
        let closed = Case {
            is_closed: true,
            ..self.case.clone()
        };
        let patient = Case {
            manner: Manner::Patient,
            ..self.case.clone()
        };
        for case in [quiet, closed, patient] {
            self.take(case);
        }
    }
}

/// Says how a case fails, by a smaller one.
pub(super) fn told(lane: u32, nth: u32, case: &Case, why: &str) -> String {
    eprintln!("lane {lane}, case {nth} fails, and is made smaller now: {why}");
    let mut smallest = Smallest {
        case: case.clone(),
        why: why.to_owned(),
        deadline: Instant::now() + PATIENCE,
    };
    while smallest.leave_out() {}
    smallest.answer_well();
    smallest.set_up_simply();
    while smallest.leave_out() {}
    let Smallest {
        case: small,
        why: small_why,
        ..
    } = smallest;
    let first = why
        .lines()
        .take_while(|line| !line.starts_with("what was done"))
        .collect::<Vec<_>>();
    format!(
        "lane {lane}, case {nth}: {}\n\nmade as small as it gets: {small:?}\n{small_why}\n\nas it was drawn: {case:?}",
        first.join("\n")
    )
}
