//! `afs rm`: deletions at the service.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{carry_out, workspace_and_files};
use crate::cli::reaching::Reaching;
use crate::cli::talk::{printable, unexpected};
use crate::cli::{failed, worse};
use crate::control::{Reply, Request};

/// What can be typed after `afs rm`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs rm [OPTIONS] [MOUNTPOINT] NAME|ID...",
    after_long_help = "\
Examples:
  afs rm old-report.pdf           at the service and here; afs trash has a copy
  afs rm file_011CNha8iCJcU1wXNR6q4V8w
  afs rm secret.pdf --purge       and no copy stays on this machine

The same as removing from the mount, and it returns when the service has
deleted it. What this machine has no copy of is gone for good; too many of
those in a minute are refused, exit code 4: afs allow-deletes. Exit code 3
where there is no such file."
)]
pub struct RemoveArguments {
    /// Names in the workspace, or ids; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required = true)]
    files: Vec<PathBuf>,
    /// Leave no copy of it on this machine, in the trash or among the downloads; earlier versions stay: afs trash empty
    #[arg(long)]
    purge: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// Deletes files.
#[must_use]
pub fn remove(arguments: &RemoveArguments) -> ExitCode {
    remove_all(arguments).unwrap_or_else(|said| said)
}

fn remove_all(arguments: &RemoveArguments) -> Result<ExitCode, ExitCode> {
    let (mut place, words) = workspace_and_files(&arguments.files, &arguments.reaching)?;
    let mut exit = ExitCode::SUCCESS;
    for word in words {
        let request = Request::Remove {
            what: word,
            purges: arguments.purge,
        };
        let removed = match carry_out(&mut place, &request) {
            Ok(Reply::Removed { name }) => {
                say!("deleted {}", printable(&name));
                place.look_again(&name);
                ExitCode::SUCCESS
            }
            Ok(other) => failed(&unexpected(&other)),
            Err(said) => said,
        };
        exit = worse(exit, removed);
    }
    place.end();
    Ok(exit)
}
