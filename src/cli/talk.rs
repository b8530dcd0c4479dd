//! Finding the mounts that a command is about, and talking to them.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::refused;
use crate::control::{Client, ControlError};
use crate::mount::prepare::resolve;
use crate::mount::registration::Daemon;
use crate::mount::sys;
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
        return Ok(table.of_user(sys::uid()).map(reached).collect());
    };
    let path = resolve(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match table.at(&path) {
        Some(entry) if entry.is_ours() => Ok(vec![reached(entry)]),
        _ => Err(format!("{} is not a mount of afs", path.display())),
    }
}

fn reached(entry: &MountEntry) -> Reached {
    let is_anothers = sys::uid() != 0 && entry.owner().is_some_and(|owner| owner != sys::uid());
    let client = Daemon::of(entry)
        .ok_or_else(|| {
            let why = if is_anothers {
                "it is another user's, who alone can ask it"
            } else {
                "nobody serves it any more; mount it again, or take it away with afs unmount"
            };
            why.to_owned()
        })
        .and_then(|daemon| {
            Client::connect(&daemon.registered.state_dir).map_err(|error| error.to_string())
        });
    Reached {
        mountpoint: entry.mountpoint.clone(),
        client,
    }
}

/// A name as it may go to a terminal: without anything that could steer it, or have it read in another order than it is
/// written.
pub(super) fn printable(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_control() || is_bidi(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The formatting characters of the Unicode bidirectional algorithm (UAX #9, section 2).
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time as this machine's users read it.
pub(super) fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M")
        .to_string()
}

/// Asks whether to go on, where there is somebody to ask.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), ExitCode> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let why = format!("{question} Nobody can be asked here: say --yes");
        return Err(refused(&why));
    }
    eprint!("{question} [y/N] ");
    let mut said = String::new();
    match io::stdin().read_line(&mut said) {
        Ok(_) if matches!(said.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(refused(&"nothing was done")),
    }
}

/// What a mount said instead of what it was asked for.
pub(super) fn unexpected(reply: &impl std::fmt::Debug) -> ControlError {
    ControlError::Confused(format!("{reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_steers_a_terminal() {
        for (name, expected) in [
            ("Übersicht 2026 – 图.pdf", "Übersicht 2026 – 图.pdf"),
            (
                "a\u{1b}[2Jb\n\r\u{9b}",
                "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("invoice\u{202e}fdp.exe", "invoice\u{fffd}fdp.exe"),
            (
                "\u{2066}a\u{2069}\u{200f}\u{61c}",
                "\u{fffd}a\u{fffd}\u{fffd}\u{fffd}",
            ),
        ] {
            assert_eq!(printable(name), expected);
        }
    }
}
