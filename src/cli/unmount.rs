//! `afs unmount`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failed;
use super::status::{drain, what_is_left};
use super::talk::reach;
use crate::mount::unmount::{UnmountError, must_be_free, unmount};

/// What can be typed after `afs unmount`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs unmount ~/claude-files

  afs unmount --no-wait ~/claude-files
      what has not reached the service is sent by the next mount

Waits until the service has everything, then ends the mount and waits for its process. Where somebody
still uses the mount it says who, and nothing is changed.")]
pub struct UnmountArguments {
    /// Where it is mounted
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
    /// Leave what has not reached the service to the next mount
    #[arg(long)]
    no_wait: bool,
}

/// Ends a mount, after the service has everything.
#[must_use]
pub fn run(arguments: &UnmountArguments) -> ExitCode {
    if !arguments.no_wait
        && let Err(why) = finish_work(&arguments.mountpoint)
    {
        return failed(&why);
    }
    let waiting = |pid| eprintln!("unmounted; waiting for afs (process {pid}) to finish its work");
    match unmount(&arguments.mountpoint, &waiting) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Has the mount send everything. One that is in use is not even asked: nobody should wait for an upload only to hear
/// that they can't unmount. One that does not answer is left to `unmount`, which says what is wrong with it.
fn finish_work(mountpoint: &Path) -> Result<(), UnmountError> {
    let Ok(reached) = reach(Some(mountpoint)) else {
        return Ok(());
    };
    for mount in reached {
        must_be_free(&mount.mountpoint)?;
        let Ok(mut client) = mount.client else {
            continue;
        };
        match drain(&mut client) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => eprintln!("afs: {}", what_is_left(&left)),
            Err(error) => eprintln!(
                "afs: what has not reached the service is left to the next mount: {error}"
            ),
        }
    }
    Ok(())
}
