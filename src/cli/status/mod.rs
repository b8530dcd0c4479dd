//! `afs status` and `afs pending`: how a mount is, and what has not reached the service.
//!
//! - `words`: how a mount is, in words
//! - `traffic`: the words for what moves, waits and fails
//! - `watch`: the same again and again
//! - `pending`: what has not reached the service

mod pending;
mod traffic;
mod watch;
mod words;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::colour::Colours;
use super::settings::{surroundings, usual};
use super::talk::{NOTHING_MOUNTED, Reached, printable, reach, unexpected};
use super::{failed, nothing_matched};
use crate::control::{Reply, Request, Status, Waiting};

pub use pending::{PendingArguments, show_pending};
pub(super) use words::{changes, files, scratch_files};

/// What can be typed after `afs status`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs status                      every mount of yours
  afs status --watch              the same, every second, until Ctrl-C
  afs status --json | jq .        for scripts

Listed as errors are the last ten calls to the service that failed, each with
the request id that its support asks for: what a read, a lookup or a listing
came to after all its tries, every try of a save or a deletion, and every
download that broke off. The same of the same file is listed once.
Limits are waited for and are no errors.")]
pub struct StatusArguments {
    /// Where it is mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Print JSON, a list with one object a mount
    #[arg(long)]
    json: bool,
    /// Go on until Ctrl-C: a terminal is drawn anew every second; elsewhere all is printed again when anything has
    /// changed, and with --json as one line
    #[arg(long)]
    watch: bool,
}

/// Prints how the mounts are.
#[must_use]
pub fn status(arguments: &StatusArguments) -> ExitCode {
    let mountpoint = arguments.mountpoint.as_deref();
    if arguments.watch {
        return watch::watch(mountpoint, arguments.json);
    }
    let seen = match Seen::now(mountpoint) {
        Ok(seen) => seen,
        Err(why) => return nothing_matched(&why),
    };
    for complaint in &seen.complaints {
        failed(complaint);
    }
    if arguments.json {
        print_json(&seen.mounts);
    } else {
        for line in seen.lines(Colours::of_output()) {
            say!("{line}");
        }
    }
    if seen.complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How the mounts are at one moment.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mounts: Vec<Status>,
    /// Which mounts say nothing, and why.
    complaints: Vec<String>,
}

impl Seen {
    /// Asks the mount at a path, or all. Fails where there is none at that path.
    fn now(mountpoint: Option<&Path>) -> Result<Self, String> {
        let mut seen = Self {
            mounts: Vec::new(),
            complaints: Vec::new(),
        };
        for mut mount in reach(mountpoint)? {
            match ask_status(&mut mount) {
                Ok(status) => seen.mounts.push(status),
                Err(why) => {
                    let place = mount.mountpoint.display();
                    seen.complaints.push(format!("{place}: {why}"));
                }
            }
        }
        Ok(seen)
    }

    /// All that is said of those that have answered.
    fn lines(&self, colours: Colours) -> Vec<String> {
        if self.mounts.is_empty() && self.complaints.is_empty() {
            let mut lines = vec![NOTHING_MOUNTED.to_owned()];
            lines.extend(lines_of_waiting(&usual_waiting()));
            return lines;
        }
        let mounts = self.mounts.iter();
        let mut lines: Vec<String> = mounts.flat_map(|s| words::lines(s, colours)).collect();
        let waiting = self.mounts.iter().flat_map(|status| &status.waiting);
        lines.extend(lines_of_waiting(waiting));
        lines
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

/// What waits below the usual directory of states, where no mount is there to ask. A settings file with a mistake in it
/// is no reason not to show how mounts are.
fn usual_waiting() -> Vec<Waiting> {
    let said = usual(None, false)
        .ok()
        .and_then(|request| request.state_dir);
    said.map_or_else(|| surroundings(false).state_root(), Ok)
        .map(|root| Waiting::below(&root))
        .unwrap_or_default()
}

/// What workspaces wait with that are not mounted, each once however many mounts know of it.
fn lines_of_waiting<'a>(waiting: impl IntoIterator<Item = &'a Waiting>) -> Vec<String> {
    let mut said = HashSet::new();
    let waiting = waiting.into_iter();
    waiting
        .filter(|waiting| said.insert(&waiting.state_dir))
        .map(|waiting| printable(&waiting.to_string()))
        .collect()
}

fn say_what_waits(waiting: &[Waiting]) {
    for line in lines_of_waiting(waiting) {
        say!("{line}");
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
