//! `afs unmount`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failed;
use crate::mount::unmount::unmount;

/// What can be typed after `afs unmount`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs unmount ~/claude-files

Returns when the process that served the mount has ended. Where somebody still uses the mount it says
who, and nothing is changed.")]
pub struct UnmountArguments {
    /// Where it is mounted
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
}

/// Ends a mount.
#[must_use]
pub fn run(arguments: &UnmountArguments) -> ExitCode {
    let waiting = |pid| eprintln!("unmounted; waiting for afs (process {pid}) to finish its work");
    match unmount(&arguments.mountpoint, &waiting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}
