//! How a mount is, in words: the lines of `afs status`.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use jiff::Timestamp;

use super::traffic;
use crate::cli::colour::Colours;
use crate::cli::talk::printable;
use crate::control::Status;

/// A line with what it is about in front.
pub(super) fn labelled(label: &str, said: impl std::fmt::Display) -> String {
    format!("  {label:<10}{said}")
}

/// All that is said of one mount. Nothing in it steers a terminal but `colours`.
pub(super) fn lines(status: &Status, colours: Colours) -> Vec<String> {
    let mut lines = vec![
        printable(&status.mountpoint),
        labelled("service", printable(&status.host)),
        labelled(
            "files",
            format!("{} ({})", status.files, HumanBytes(status.bytes)),
        ),
        labelled("listing", listing(status, colours)),
        labelled("pending", pending(status, colours)),
    ];
    lines.extend(traffic::transfers(&status.transfers));
    lines.push(labelled("requests", traffic::requests(&status.requests)));
    if let Some(paced) = traffic::pacing(&status.requests) {
        lines.push(labelled("waiting", colours.warned(&paced)));
    }
    if status.refuses_deletes {
        let why = format!(
            "refused, for there were too many in a minute; if that is no mistake: afs allow-deletes {}",
            printable(&status.mountpoint)
        );
        lines.push(labelled("deletes", colours.warned(&why)));
    }
    if status.lingering > 0 {
        let stay = match status.lingering {
            1 => "1 file stays".to_owned(),
            count => format!("{count} files stay"),
        };
        let why = "at the service for a while, because their ids may be used";
        lines.push(labelled("replaced", format!("{stay} {why}")));
    }
    if let Some(expiring) = expiring(status) {
        lines.push(labelled("expiring", expiring));
    }
    lines.push(labelled(
        "on disk",
        format!(
            "{} kept, {} cached, {} in the trash",
            HumanBytes(status.kept_bytes),
            HumanBytes(status.cached_bytes),
            HumanBytes(status.trash_bytes)
        ),
    ));
    lines.extend(traffic::errors(&status.errors, colours));
    let state_dir = printable(&status.state_dir);
    lines.push(labelled(
        "process",
        format!("{}, state in {state_dir}", status.pid),
    ));
    lines
}

fn listing(status: &Status, colours: Colours) -> String {
    let age = status.listing_age_seconds.map_or_else(
        || "of an earlier mount".to_owned(),
        |age| format!("{} old", HumanDuration(Duration::from_secs(age))),
    );
    match &status.listing_error {
        Some(error) => {
            let failed = format!("the last refresh failed: {}", printable(error));
            format!("{age}; {}", colours.failed(&failed))
        }
        None => age,
    }
}

/// What the service gives up soon, and what it has given up.
fn expiring(status: &Status) -> Option<String> {
    let mut said = Vec::new();
    if let Some(next) = &status.next_to_expire {
        let time = Timestamp::from_millisecond(next.at).unwrap_or_default();
        said.push(format!(
            "{} within a day; the next is {}, {}",
            files(status.expiring as usize),
            printable(&next.name),
            time.strftime("%Y-%m-%d %H:%M UTC")
        ));
    }
    if status.expired > 0 {
        said.push(format!(
            "{} expired and listed still",
            files(status.expired as usize)
        ));
    }
    Some(said.join("; ")).filter(|said| !said.is_empty())
}

fn pending(status: &Status, colours: Colours) -> String {
    let mut said = vec![pending_changes(status, colours)];
    if status.unfinished > 0 {
        let whose = if status.unfinished == 1 {
            "its program"
        } else {
            "their programs"
        };
        said.push(format!(
            "{} never closed by {whose}: afs pending",
            files(status.unfinished)
        ));
    }
    if status.scratch > 0 {
        said.push(format!(
            "{} on this machine only, by their names: afs pending",
            scratch_files(status.scratch)
        ));
    }
    said.join("; ")
}

fn pending_changes(status: &Status, colours: Colours) -> String {
    match (status.pending, status.failed) {
        (0, _) => "nothing".to_owned(),
        (pending, 0) => changes(pending),
        (pending, failed) => {
            let failed = format!("{failed} failed and tried again; why: afs pending");
            format!("{}, {}", changes(pending), colours.failed(&failed))
        }
    }
}

pub(in crate::cli) fn changes(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}

pub(in crate::cli) fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

pub(in crate::cli) fn scratch_files(count: usize) -> String {
    match count {
        1 => "1 scratch file".to_owned(),
        count => format!("{count} scratch files"),
    }
}
