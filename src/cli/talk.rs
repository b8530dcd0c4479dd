//! Finding the mounts that a command is about, and talking to them.

use std::path::{Path, PathBuf};

use crate::control::{Client, ControlError};
use crate::mount::prepare::resolve;
use crate::mount::registration::Daemon;
use crate::mount::table::{MountEntry, MountTable};

/// What is said where nobody could be asked. That nothing is pending would be a guess: an earlier mount may have left
/// changes to the next one.
pub(super) const NOTHING_MOUNTED: &str = "nothing is mounted; to mount: afs mount ~/claude-files";

/// A mount of ours, and the conversation with it.
pub(super) struct Reached {
    pub(super) mountpoint: PathBuf,
    pub(super) client: Result<Client, String>,
}

/// The mount at `path`, or all of this user's where none is named.
pub(super) fn reach(path: Option<&Path>) -> Result<Vec<Reached>, String> {
    let table =
        MountTable::read().map_err(|error| format!("the mount table cannot be read: {error}"))?;
    let Some(path) = path else {
        return Ok(table.ours().map(reached).collect());
    };
    let path = resolve(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match table.at(&path) {
        Some(entry) if entry.is_ours() => Ok(vec![reached(entry)]),
        _ => Err(format!("{} is not a mount of afs", path.display())),
    }
}

fn reached(entry: &MountEntry) -> Reached {
    let client = Daemon::of(entry)
        .ok_or_else(|| {
            "nobody serves it any more; mount it again, or take it away with afs unmount".to_owned()
        })
        .and_then(|daemon| {
            Client::connect(&daemon.registered.state_dir).map_err(|error| error.to_string())
        });
    Reached {
        mountpoint: entry.mountpoint.clone(),
        client,
    }
}

/// A name as it may go to a terminal: without anything that could steer it.
pub(super) fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// What a mount said instead of what it was asked for.
pub(super) fn unexpected(reply: &impl std::fmt::Debug) -> ControlError {
    ControlError::Confused(format!("{reply:?}"))
}
