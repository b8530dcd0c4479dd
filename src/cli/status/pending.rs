//! `afs pending`: what has not reached the service, has it tried again, or gives it up.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;

use super::words::changes;
use super::{ask_status, print_json, say_what_waits, usual_waiting};
use crate::cli::place::Place;
use crate::cli::places::{Places, StateDir, among, asked_all};
use crate::cli::talk::{NOTHING_MOUNTED, printable, reach, unexpected};
use crate::cli::{failed, nothing_matched, typed_wrongly};
use crate::control::{Change, ChangeKind, DroppedChange, Reply, Request};

/// What to do about a file that was never closed.
const UNFINISHED: &str = "never closed by its program; send it with afs pending --retry NAME, or give it up with --drop NAME";

/// What becomes of a scratch file.
const SCRATCH: &str =
    "a program's own file by its name: stays on this machine; renamed, it is sent";

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
    #[command(flatten)]
    state: StateDir,
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

/// Prints what has not reached the service, has it tried again, or gives it up.
#[must_use]
pub fn show_pending(arguments: &PendingArguments) -> ExitCode {
    let mut places = match places(arguments) {
        Ok(places) => places,
        Err(said) => return said,
    };
    let named = what_was_named(arguments);
    if places.is_empty() && named.is_none() && !arguments.json {
        say!("{NOTHING_MOUNTED}");
        say_what_waits(&usual_waiting());
        return ExitCode::SUCCESS;
    }
    let several = places.len() > 1;
    if several && arguments.drop.is_some() {
        return typed_wrongly(
            &"several workspaces are mounted; say in which: afs pending MOUNTPOINT --drop NAME",
        );
    }
    let mut all_well = true;
    let mut known = Vec::new();
    let mut waiting = Vec::new();
    let mut matched = 0;
    for place in &mut places {
        match pending_of(place, arguments, &mut matched) {
            Ok(changes) => {
                // That it can't say this is no reason to call what it has said wrong.
                if let Place::Mounted(mount) = place {
                    waiting.extend(ask_status(mount).map_or_else(|_| Vec::new(), |s| s.waiting));
                }
                known.push((place.path().to_owned(), changes));
            }
            Err(why) => {
                all_well = false;
                failed(&format!("{}: {why}", place.path().display()));
            }
        }
    }
    if arguments.json {
        let changes: Vec<PlacedChange<'_>> = known.iter().flat_map(placed).collect();
        print_json(&changes);
    } else {
        print_pending(&known, several, all_well);
        say_what_waits(&waiting);
    }
    if !all_well {
        return ExitCode::FAILURE;
    }
    // Of several mounts one has it; a name that none has is mistyped, or was sent meanwhile.
    match named {
        Some((name, what)) if matched == 0 => nothing_matched(&format!(
            "{}: nothing is pending under this name{what}",
            printable(name)
        )),
        _ => ExitCode::SUCCESS,
    }
}

/// The mounts that are meant, or the states that are left where nothing is mounted.
fn places(arguments: &PendingArguments) -> Result<Vec<Place>, ExitCode> {
    let mountpoint = arguments.mountpoint.as_ref();
    match reach(mountpoint.map(PathBuf::as_path)) {
        Ok(reached) if !reached.is_empty() => Ok(reached.into_iter().map(Place::Mounted).collect()),
        Ok(_) => {
            let places = Places::look(&[], arguments.state.dir()).unwrap_or_default();
            if places.are_none() {
                return Ok(Vec::new());
            }
            among(places, &[]).map(|(places, _)| places)
        }
        Err(_) => asked_all(mountpoint, &arguments.state),
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
    place: &mut Place,
    arguments: &PendingArguments,
    matched: &mut usize,
) -> Result<Vec<Change>, String> {
    let mut ask = |request: &Request| place.ask(request, &mut |_| {});
    if let Some(name) = &arguments.retry {
        let name = Some(name.clone()).filter(|name| !name.is_empty());
        match ask(&Request::Retry { name })? {
            Reply::Retried { count } => {
                *matched += count;
                if count > 0 || arguments.retry.as_deref() == Some("") {
                    tell!("{} tried again now", changes(count));
                }
            }
            other => return Err(unexpected(&other).to_string()),
        }
    }
    if let Some(name) = arguments.drop.clone() {
        match ask(&Request::Drop { name })? {
            Reply::Dropped { changes } => {
                *matched += changes.len();
                for change in &changes {
                    tell!("{}", what_was_dropped(change));
                }
            }
            other => return Err(unexpected(&other).to_string()),
        }
    }
    match ask(&Request::Pending)? {
        Reply::Pending { changes } => Ok(changes),
        other => Err(unexpected(&other).to_string()),
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
