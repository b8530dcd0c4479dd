//! The fault matrix: each of the five calls meets each of fourteen faults at the 1st, the 2nd, the 3rd and every 2nd
//! request, and for longer than anybody waits. Every cell is a mount of its own; what it came to is compared with what
//! [`expected`] works out from one table of rules: outcome and errno of each action, the data, and the requests.
//!
//! Run with `--nocapture` it prints the table.

mod actions;
mod expected;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};

use actions::Cell;
use expected::{Expected, Fault, Pattern, Seen};

/// Cells at a time: they wait for pauses and deadlines most of the time.
const LANES: usize = 12;

/// How many of the cells of a call there must be.
const CELLS: usize = Fault::ALL.len() * Pattern::ALL.len();

#[test]
fn downloads_that_meet_faults() {
    all_cells_of(LoggedCall::Content);
}

#[test]
fn questions_for_an_id_that_meet_faults() {
    all_cells_of(LoggedCall::Metadata);
}

#[test]
fn listings_that_meet_faults() {
    all_cells_of(LoggedCall::List);
}

#[test]
fn uploads_that_meet_faults() {
    all_cells_of(LoggedCall::Upload);
}

#[test]
fn deletions_that_meet_faults() {
    all_cells_of(LoggedCall::Delete);
}

/// Runs the cells of one call, prints them as a table, and fails with those that came to something else.
fn all_cells_of(call: LoggedCall) {
    let cells: Vec<Cell> = Fault::ALL
        .iter()
        .flat_map(|fault| {
            Pattern::ALL.iter().map(move |pattern| Cell {
                call,
                fault: *fault,
                pattern: *pattern,
            })
        })
        .collect();
    assert_eq!(cells.len(), CELLS);
    let next = AtomicUsize::new(0);
    let rows: Vec<Mutex<Option<Row>>> = cells.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some((cell, row)) = {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    cells.get(n).zip(rows.get(n))
                } {
                    *row.lock().unwrap() = Some(Row::of(*cell));
                }
            });
        }
    });
    let (mut table, mut wrong) = (String::new(), String::new());
    for (cell, row) in cells.iter().zip(rows) {
        let row = row.into_inner().unwrap();
        let row = row.unwrap_or_else(|| panic!("{cell}: panicked"));
        writeln!(table, "{cell} {}", row.seen).unwrap();
        if !row.expected.fits(&row.seen) {
            writeln!(wrong, "{cell} {}\n{:>33} {}", row.seen, "not", row.expected).unwrap();
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "cells of {call:?}:\n{wrong}");
}

/// What came of a cell, and what had to.
struct Row {
    seen: Seen,
    expected: Expected,
}

impl Row {
    fn of(cell: Cell) -> Self {
        Self {
            seen: cell.run(),
            expected: expected::of(cell.call, cell.fault, cell.pattern),
        }
    }
}

/// The rule that makes the emulator do it.
fn rule(call: LoggedCall, fault: Fault, pattern: Pattern) -> FaultRule {
    let (nth, every) = match pattern {
        Pattern::First => (Some(1), None),
        Pattern::Second => (Some(2), None),
        Pattern::Third => (Some(3), None),
        Pattern::EverySecond => (Some(2), Some(2)),
        Pattern::Lasting => (None, None),
    };
    let (when, action) = doing(call, fault);
    FaultRule {
        call: Some(call),
        nth,
        every,
        when,
        ..FaultRule::new(action)
    }
}

/// Refusals come instead of the effect; what breaks an answer comes after it.
fn doing(call: LoggedCall, fault: Fault) -> (FaultMoment, FaultAction) {
    use FaultMoment::{AfterEffect, BeforeEffect};
    let refusal = |status, header: Option<(&str, &str)>, body: Option<&str>| {
        let header = header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        FaultAction::Status(FaultAnswer {
            headers: header.into_iter().collect(),
            body: body.map(Into::into),
            ..FaultAnswer::status(status)
        })
    };
    match fault {
        Fault::Internal => (BeforeEffect, refusal(500, None, None)),
        Fault::Unavailable => (BeforeEffect, refusal(503, None, None)),
        Fault::Overloaded => (BeforeEffect, refusal(529, None, None)),
        Fault::Timeout => (BeforeEffect, refusal(408, None, None)),
        Fault::Limited => (
            BeforeEffect,
            refusal(429, Some(("retry-after-ms", "300")), None),
        ),
        Fault::Forbidden => (BeforeEffect, refusal(403, None, None)),
        Fault::Redirect => {
            let elsewhere = ("location", "http://127.0.0.2:9/v1/files");
            (BeforeEffect, refusal(307, Some(elsewhere), None))
        }
        Fault::Html => {
            let page = "<!doctype html><title>Sign in to the guest network</title>";
            (
                AfterEffect,
                refusal(200, Some(("content-type", "text/html")), Some(page)),
            )
        }
        Fault::Dropped => (AfterEffect, FaultAction::DropAnswer),
        Fault::Reset => (AfterEffect, FaultAction::ResetAnswer),
        Fault::CutRequest if call == LoggedCall::Upload => {
            (BeforeEffect, FaultAction::CutRequestAfterBytes(10))
        }
        // The others have no body: their connection ends before anything is done.
        Fault::CutRequest => (BeforeEffect, FaultAction::DropAnswer),
        Fault::CutAnswer => (AfterEffect, FaultAction::CutAfterBytes(20)),
        Fault::SaysMore => (AfterEffect, FaultAction::SaysLength(1 << 20)),
        Fault::Stalled => (BeforeEffect, FaultAction::Stall),
    }
}
