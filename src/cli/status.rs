//! `afs status` and `afs pending`: how a mount is, and what has not reached the service.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{HumanBytes, HumanDuration};
use jiff::Timestamp;

use super::talk::{NOTHING_MOUNTED, Reached, printable, reach, unexpected};
use super::{failed, nothing_matched, typed_wrongly};
use crate::config::Surroundings;
use crate::control::{
    Change, ChangeKind, Client, ControlError, DroppedChange, Limiter, Reply, Request, Requests,
    Status, Waiting,
};
use crate::mount::sys;

/// What to do about a file that was never closed.
const UNFINISHED: &str = "never closed by its program; send it with afs pending --retry NAME, or give it up with --drop NAME";

/// What becomes of a scratch file.
const SCRATCH: &str =
    "a program's own file by its name: stays on this machine; renamed, it is sent";

/// What can be typed after `afs status`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs status                      every mount of yours
  afs status --json | jq .        for scripts")]
pub struct StatusArguments {
    /// Where it is mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Print JSON, a list with one object a mount
    #[arg(long)]
    json: bool,
}

/// What can be typed after `afs pending`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs pending                     what has not reached the service
  afs pending --retry report.pdf  try that one again now
  afs pending ~/claude-files --retry
                                  try everything of this mount again now
  afs pending --drop report.pdf   don't send it: what the service has stays
  afs pending --json              for scripts")]
pub struct PendingArguments {
    /// Where it is mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Print JSON, a list of changes, each with its mount point
    #[arg(long)]
    json: bool,
    /// Try again now what failed: the file of this name, or everything. A file that was never closed is sent by its
    /// name only
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    retry: Option<String>,
    /// Give up what is pending under this name; bytes that were not sent go to the trash
    #[arg(long, value_name = "NAME", conflicts_with = "retry")]
    drop: Option<String>,
}

/// A change and where it was made, for scripts.
#[derive(serde::Serialize)]
struct PlacedChange<'a> {
    mountpoint: String,
    #[serde(flatten)]
    change: &'a Change,
}

fn placed(
    (mountpoint, changes): &(PathBuf, Vec<Change>),
) -> impl Iterator<Item = PlacedChange<'_>> {
    changes.iter().map(|change| PlacedChange {
        mountpoint: mountpoint.display().to_string(),
        change,
    })
}

/// Prints how the mounts are.
#[must_use]
pub fn status(arguments: &StatusArguments) -> ExitCode {
    let reached = match reach(arguments.mountpoint.as_deref()) {
        Ok(reached) => reached,
        Err(why) => return failed(&why),
    };
    let mut all_well = true;
    let mut known = Vec::new();
    for mut mount in reached {
        match ask_status(&mut mount) {
            Ok(status) => known.push(status),
            Err(why) => {
                all_well = false;
                failed(&format!("{}: {why}", mount.mountpoint.display()));
            }
        }
    }
    if arguments.json {
        print_json(&known);
    } else if known.is_empty() && all_well {
        say!("{NOTHING_MOUNTED}");
        say_what_waits(usual_waiting());
    } else {
        known.iter().for_each(print_status);
        say_what_waits(known.into_iter().flat_map(|status| status.waiting));
    }
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn ask_status(mount: &mut Reached) -> Result<Status, String> {
    let client = mount.client.as_mut().map_err(|why| why.clone())?;
    match client.ask(&Request::Status) {
        Ok(Reply::Status(status)) => Ok(*status),
        Ok(other) => Err(unexpected(&other).to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What waits below the usual directory of states, where no mount is there to ask.
fn usual_waiting() -> Vec<Waiting> {
    let around = Surroundings {
        variable: &|name| std::env::var_os(name),
        uid: sys::uid(),
        gid: sys::gid(),
    };
    around
        .state_root()
        .map(|root| Waiting::below(&root))
        .unwrap_or_default()
}

/// Says what workspaces wait with that are not mounted, each once however many mounts know of it.
fn say_what_waits(waiting: impl IntoIterator<Item = Waiting>) {
    let mut said = HashSet::new();
    for waiting in waiting {
        if said.insert(waiting.state_dir.clone()) {
            say!("{}", printable(&waiting.to_string()));
        }
    }
}

fn print_status(status: &Status) {
    say!("{}", status.mountpoint);
    say!("  service   {}", status.host);
    say!(
        "  files     {} ({})",
        status.files,
        HumanBytes(status.bytes)
    );
    say!("  listing   {}", listing(status));
    say!("  pending   {}", pending(status));
    say!("  requests  {}", requests(&status.requests));
    if status.refuses_deletes {
        say!(
            "  deletes   refused, for there were too many in a minute; if that is no mistake: afs allow-deletes {}",
            status.mountpoint
        );
    }
    if status.lingering > 0 {
        say!(
            "  replaced  {} at the service for a while, because their ids may be used",
            match status.lingering {
                1 => "1 file stays".to_owned(),
                count => format!("{count} files stay"),
            }
        );
    }
    if let Some(expiring) = expiring(status) {
        say!("  expiring  {expiring}");
    }
    say!(
        "  on disk   {} kept, {} cached, {} in the trash",
        HumanBytes(status.kept_bytes),
        HumanBytes(status.cached_bytes),
        HumanBytes(status.trash_bytes)
    );
    say!("  process   {}, state in {}", status.pid, status.state_dir);
}

fn listing(status: &Status) -> String {
    let age = status.listing_age_seconds.map_or_else(
        || "of an earlier mount".to_owned(),
        |age| format!("{} old", HumanDuration(Duration::from_secs(age))),
    );
    match &status.listing_error {
        Some(error) => format!("{age}; the last refresh failed: {}", printable(error)),
        None => age,
    }
}

fn requests(requests: &Requests) -> String {
    let mut said = format!("{} in the last minute", requests.last_minute);
    if let Some(left) = requests.left {
        said = format!("{said}, {left} more at once");
    }
    let by = match requests.limited_by {
        None => return said,
        Some(Limiter::Service) => "paced by the service",
        Some(Limiter::Rate) => "paced by --rate",
    };
    let wait = match requests.waiting {
        1 => "1 request waits".to_owned(),
        count => format!("{count} requests wait"),
    };
    let seconds = requests.longest_wait_seconds;
    said + &format!("; {by}: {wait}, about {seconds} s")
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

fn pending(status: &Status) -> String {
    let mut said = vec![pending_changes(status)];
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

fn pending_changes(status: &Status) -> String {
    match (status.pending, status.failed) {
        (0, _) => "nothing".to_owned(),
        (pending, 0) => changes(pending),
        (pending, failed) => format!(
            "{}, {failed} failed and tried again; why: afs pending",
            changes(pending)
        ),
    }
}

/// Prints what has not reached the service, has it tried again, or gives it up.
#[must_use]
pub fn show_pending(arguments: &PendingArguments) -> ExitCode {
    let reached = match reach(arguments.mountpoint.as_deref()) {
        Ok(reached) => reached,
        Err(why) => return failed(&why),
    };
    if reached.is_empty() && !arguments.json {
        say!("{NOTHING_MOUNTED}");
        say_what_waits(usual_waiting());
        return ExitCode::SUCCESS;
    }
    let several = reached.len() > 1;
    if several && arguments.drop.is_some() {
        return typed_wrongly(
            &"several workspaces are mounted; say in which: afs pending MOUNTPOINT --drop NAME",
        );
    }
    let mut all_well = true;
    let mut known = Vec::new();
    let mut waiting = Vec::new();
    let mut matched = 0;
    for mut mount in reached {
        let answered = match &mut mount.client {
            Ok(client) => {
                pending_of(client, arguments, &mut matched).map_err(|error| error.to_string())
            }
            Err(why) => Err(why.clone()),
        };
        match answered {
            Ok(changes) => {
                // That it can't say this is no reason to call what it has said wrong.
                waiting.extend(ask_status(&mut mount).map_or_else(|_| Vec::new(), |s| s.waiting));
                known.push((mount.mountpoint, changes));
            }
            Err(why) => {
                all_well = false;
                failed(&format!("{}: {why}", mount.mountpoint.display()));
            }
        }
    }
    if arguments.json {
        let changes: Vec<PlacedChange<'_>> = known.iter().flat_map(placed).collect();
        print_json(&changes);
    } else {
        print_pending(&known, several, all_well);
        say_what_waits(waiting);
    }
    if !all_well {
        return ExitCode::FAILURE;
    }
    // Of several mounts one has it; a name that none has is mistyped, or was sent meanwhile.
    match what_was_named(arguments) {
        Some((name, what)) if matched == 0 => nothing_matched(&format!(
            "{}: nothing is pending under this name{what}",
            printable(name)
        )),
        _ => ExitCode::SUCCESS,
    }
}

/// The name that something was to be done about, and what else it had to be.
fn what_was_named(arguments: &PendingArguments) -> Option<(&str, &'static str)> {
    let retried = arguments.retry.as_deref().filter(|name| !name.is_empty());
    retried
        .map(|name| (name, " that waits for another try"))
        .or_else(|| arguments.drop.as_deref().map(|name| (name, "")))
}

/// Where there are several mounts, each one's changes stand under its name. That nothing is pending is said only where
/// every mount has said so.
fn print_pending(known: &[(PathBuf, Vec<Change>)], several: bool, all_well: bool) {
    let waiting = known.iter().filter(|(_, changes)| !changes.is_empty());
    if all_well && waiting.clone().next().is_none() {
        say!("nothing is pending: the service has everything");
        return;
    }
    for (mountpoint, changes) in waiting {
        if several {
            say!("{}", mountpoint.display());
        }
        changes.iter().for_each(print_change);
    }
}

/// Does what was asked for and gives what is pending then; adds to `matched` how many changes that was done to.
fn pending_of(
    client: &mut Client,
    arguments: &PendingArguments,
    matched: &mut usize,
) -> Result<Vec<Change>, ControlError> {
    if let Some(name) = &arguments.retry {
        let name = Some(name.clone()).filter(|name| !name.is_empty());
        match client.ask(&Request::Retry { name })? {
            Reply::Retried { count } => {
                *matched += count;
                if count > 0 || arguments.retry.as_deref() == Some("") {
                    tell!("{} tried again now", changes(count));
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
    if let Some(name) = arguments.drop.clone() {
        match client.ask(&Request::Drop { name })? {
            Reply::Dropped { changes } => {
                *matched += changes.len();
                for change in &changes {
                    tell!("{}", what_was_dropped(change));
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
    match client.ask(&Request::Pending)? {
        Reply::Pending { changes } => Ok(changes),
        other => Err(unexpected(&other)),
    }
}

fn print_change(change: &Change) {
    let what = match change.kind {
        ChangeKind::Save => format!("save   {}", HumanBytes(change.size)),
        ChangeKind::Delete => "delete".to_owned(),
        ChangeKind::Unfinished => format!("unfinished   {}", HumanBytes(change.size)),
        ChangeKind::Scratch => format!("scratch   {}", HumanBytes(change.size)),
    };
    let state = match (&change.last_error, change.in_flight, change.waits_for_close) {
        _ if change.kind == ChangeKind::Unfinished => UNFINISHED.to_owned(),
        _ if change.kind == ChangeKind::Scratch => SCRATCH.to_owned(),
        (_, true, _) if change.sent > 0 => format!("on its way, {} sent", HumanBytes(change.sent)),
        (_, true, _) => "on its way".to_owned(),
        (_, _, true) => "waits until it is closed".to_owned(),
        (Some(error), ..) => format!("tried {} times: {}", change.tries, printable(error)),
        (None, ..) => "waits for its turn".to_owned(),
    };
    say!("{what:<20} {:<40} {state}", printable(&change.name));
}

/// What was given up, as a sentence.
fn what_was_dropped(change: &DroppedChange) -> String {
    let name = printable(&change.name);
    let mut said = match (change.kind, change.in_trash) {
        (ChangeKind::Delete, _) => format!("{name} is not deleted: it stays at the service"),
        (ChangeKind::Save | ChangeKind::Unfinished | ChangeKind::Scratch, true) => format!(
            "{name} is not sent; its {} are in the trash",
            HumanBytes(change.size)
        ),
        (ChangeKind::Save | ChangeKind::Unfinished | ChangeKind::Scratch, false) => {
            format!("{name} is not sent")
        }
    };
    if change.may_have_arrived {
        said += "; an earlier try may have arrived: afs looks for it and deletes it at the service";
    }
    said
}

pub(super) fn changes(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}

pub(super) fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

pub(super) fn scratch_files(count: usize) -> String {
    match count {
        1 => "1 scratch file".to_owned(),
        count => format!("{count} scratch files"),
    }
}

pub(super) fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say!("{text}"),
        Err(error) => {
            failed(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_requests_go_is_said_in_words() {
        let row = |last_minute, left, waiting, longest_wait_seconds, limited_by| {
            requests(&Requests {
                last_minute,
                left,
                waiting,
                longest_wait_seconds,
                limited_by,
            })
        };
        for (said, expected) in [
            (row(0, None, 0, 0, None), "0 in the last minute"),
            (
                row(12, Some(88), 0, 0, None),
                "12 in the last minute, 88 more at once",
            ),
            (
                row(100, None, 99, 60, Some(Limiter::Service)),
                "100 in the last minute; paced by the service: 99 requests wait, about 60 s",
            ),
            (
                row(9, Some(0), 1, 6, Some(Limiter::Rate)),
                "9 in the last minute, 0 more at once; paced by --rate: 1 request waits, about 6 s",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
