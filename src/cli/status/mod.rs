//! `afs status` and `afs pending`: how a mount is, and what has not reached the service.
//!
//! - `words`: how a mount is, in words
//! - `pending`: what has not reached the service

mod pending;
mod words;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failed;
use super::talk::{NOTHING_MOUNTED, Reached, printable, reach, unexpected};
use crate::config::Surroundings;
use crate::control::{Reply, Request, Status, Waiting};
use crate::mount::sys;

pub use pending::{PendingArguments, show_pending};
pub(super) use words::{changes, files, scratch_files};

use words::print_status;

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

pub(super) fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say!("{text}"),
        Err(error) => {
            failed(&error);
        }
    }
}
