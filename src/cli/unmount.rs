//! `afs unmount`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::flush::{drain, what_is_left};
use super::place::Place;
use super::settings::{explained, surroundings, usual};
use super::status::{changes, files, scratch_files};
use super::talk::reach;
use super::{failed, nothing_matched};
use crate::config::ConfigError;
use crate::mount::unmount::{Holder, UnmountError, must_be_free, named, unmount};
use crate::mount::{left_behind, prepare};

/// What can be typed after `afs unmount`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs unmount ~/claude-files

  afs unmount --no-wait ~/claude-files
      what has not reached the service is sent by the next mount

  afs unmount --force ~/claude-files
      also while programs have files open there: what they have not closed is
      kept, and afs pending shows it when the workspace is mounted again

  afs unmount --stale ~/claude-files
      only where the mount's process died: take away what is left of it

Waits until the service has everything, then ends the mount and waits for its
process. Where somebody still uses the mount it says who, and nothing is
changed. What stays on this machine is counted at the end.")]
pub struct UnmountArguments {
    /// Where it is mounted
    #[arg(value_name = "MOUNTPOINT", required_unless_present = "preset")]
    mountpoint: Option<PathBuf>,
    /// The one that the settings under this name in ~/.config/afs/config.toml speak of
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Of the presets of the machine, in /etc/afs/config.toml
    #[arg(long, requires = "preset")]
    system: bool,
    /// Leave what has not reached the service to the next mount
    #[arg(long)]
    no_wait: bool,
    /// End it also while programs use it
    #[arg(long)]
    force: bool,
    /// Take away only what a process that died left behind
    #[arg(long, conflicts_with_all = ["no_wait", "force"])]
    stale: bool,
}

/// Ends a mount, after the service has everything.
#[must_use]
pub fn run(arguments: &UnmountArguments) -> ExitCode {
    let mountpoint = match mountpoint(arguments) {
        Ok(mountpoint) => mountpoint,
        Err(error) => return explained(&error),
    };
    if arguments.stale {
        return heal(&mountpoint);
    }
    let mut holders = match finish_work(arguments, &mountpoint) {
        Ok(holders) => holders,
        Err(why) => return failed(&why),
    };
    let waiting = |pid| tell!("unmounted; waiting for afs (process {pid}) to finish its work");
    match unmount(&mountpoint, arguments.force, &waiting) {
        Ok(state_dir) => {
            holders.retain(Holder::is_running);
            if let Some(named) = named(&holders) {
                tell!(
                    "afs: {} was in use by {named}: what they have open there fails from now on",
                    mountpoint.display()
                );
            }
            if let Some(state_dir) = state_dir {
                say_what_stays(&state_dir);
            }
            ExitCode::SUCCESS
        }
        Err(error @ (UnmountError::NotMounted { .. } | UnmountError::Foreign { .. })) => {
            nothing_matched(&error)
        }
        Err(error) => failed(&error),
    }
}

/// Where it is, as typed or as the settings have it.
fn mountpoint(arguments: &UnmountArguments) -> Result<PathBuf, ConfigError> {
    if let Some(typed) = &arguments.mountpoint {
        return Ok(typed.clone());
    }
    let mountpoint = usual(arguments.preset.as_deref(), arguments.system)?.mountpoint;
    if mountpoint.as_os_str().is_empty() {
        return surroundings(arguments.system).mountpoint();
    }
    Ok(mountpoint)
}

/// Takes a dead mount away. Where there is none, nothing had to be done.
fn heal(mountpoint: &Path) -> ExitCode {
    match prepare::heal(mountpoint) {
        Ok(true) => {
            tell!("took the dead mount on {} away", mountpoint.display());
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Has the mount send everything; who uses it all the same. One that is in use is not even asked, unless it is forced:
/// nobody should wait for an upload only to hear that they can't unmount. One that does not answer is left to `unmount`,
/// which says what is wrong with it.
fn finish_work(
    arguments: &UnmountArguments,
    mountpoint: &Path,
) -> Result<Vec<Holder>, UnmountError> {
    let mut users = Vec::new();
    let Ok(reached) = reach(Some(mountpoint)) else {
        return Ok(users);
    };
    for mount in reached {
        match must_be_free(&mount.mountpoint) {
            Ok(()) => {}
            Err(UnmountError::Busy { holders, .. }) if arguments.force => users.extend(holders),
            // The system says so itself, at once.
            Err(_) if arguments.no_wait => {}
            Err(error) => return Err(error),
        }
        if arguments.no_wait || mount.client.is_err() {
            continue;
        }
        match drain(&mut Place::Mounted(mount)) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => tell!("afs: {}", what_is_left(&left)),
            Err(error) => {
                tell!("afs: what has not reached the service is left to the next mount: {error}");
            }
        }
    }
    Ok(users)
}

/// Counts what the mount that has ended leaves to the next one.
fn say_what_stays(state_dir: &Path) {
    let Some(left) = left_behind(state_dir) else {
        return;
    };
    if left.pending > 0 {
        tell!(
            "afs: {} on this machine for the next mount to send",
            match left.pending {
                1 => "1 change stays".to_owned(),
                count => format!("{} stay", changes(count)),
            }
        );
    }
    if left.scratch > 0 {
        tell!(
            "afs: {} on this machine, for their programs to find at the next mount; they are never sent under such names",
            match left.scratch {
                1 => "1 scratch file stays".to_owned(),
                count => format!("{} stay", scratch_files(count)),
            }
        );
    }
    if left.unfinished > 0 {
        tell!(
            "afs: {} never closed by the programs that wrote them; they are kept and not sent: see afs pending after \
             the next mount",
            match left.unfinished {
                1 => "1 file was".to_owned(),
                count => format!("{} were", files(count)),
            }
        );
    }
}
