//! `afs flush`, and how far it is: for people in front of a terminal, and for log files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::failed;
use super::place::Place;
use super::reaching::Reaching;
use super::status::changes;
use super::talk::{printable, unexpected};
use super::transfers::workspace;
use crate::control::{Change, Progress, Reply, Request};

/// What is done within this needs no words.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// Between two lines of progress where they don't overwrite each other.
const PLAIN_PACE: Duration = Duration::from_secs(10);

/// What the line on a terminal looks like.
const BAR: &str = "{bar:30} {msg}";

/// What can be typed after `afs flush`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs flush ~/claude-files        returns when the service has everything
  afs flush                       the same, also where nothing is mounted

Exit code 1 where something could not be sent; it is kept and tried again.")]
pub struct FlushArguments {
    /// Where it is mounted, where several workspaces are
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    #[command(flatten)]
    reaching: Reaching,
}

/// Waits until the service has everything.
#[must_use]
pub fn run(arguments: &FlushArguments) -> ExitCode {
    let mountpoint = arguments.mountpoint.as_deref();
    let mut place = match workspace(mountpoint, &arguments.reaching, false) {
        Ok(place) => place,
        Err(said) => return said,
    };
    match drain(&mut place) {
        Ok(left) if left.is_empty() => {}
        Ok(left) => return failed(&what_is_left(&left)),
        Err(why) => return failed(&why),
    }
    place.end();
    ExitCode::SUCCESS
}

/// Has everything sent and shows how far it is: on a terminal in one line that changes, elsewhere in a line now and
/// then.
pub(super) fn drain(place: &mut Place) -> Result<Vec<Change>, String> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style);
    }
    let mut drained = Drained::new(Instant::now());
    let mut speaks_at = Instant::now() + FIRST_WORD;
    let ended = place.ask(&Request::Flush, &mut |part| {
        let Reply::Progress(left) = part else { return };
        drained.take(left);
        let words = drained.words(left, Instant::now());
        bar.set_length(drained.total);
        bar.set_position(drained.done);
        bar.set_message(words.clone());
        if bar.is_hidden() && Instant::now() >= speaks_at {
            tell!("{words}");
            speaks_at = Instant::now() + PLAIN_PACE;
        }
    });
    bar.finish_and_clear();
    match ended? {
        Reply::Flushed { left } => Ok(left),
        other => Err(unexpected(&other).to_string()),
    }
}

/// How much was there to send, and how much of it is sent.
#[derive(Debug)]
struct Drained {
    begun: Instant,
    total: u64,
    confirmed: u64,
    /// Those that are confirmed, and those on their way.
    done: u64,
}

impl Drained {
    fn new(begun: Instant) -> Self {
        Self {
            begun,
            total: 0,
            confirmed: 0,
            done: 0,
        }
    }

    /// Programs may go on writing meanwhile: that makes nothing less of what is confirmed.
    fn take(&mut self, left: &Progress) {
        self.total = self.total.max(self.confirmed + left.bytes);
        self.confirmed = self.total - left.bytes;
        self.done = self.confirmed + left.sent.min(left.bytes);
    }

    fn words(&self, left: &Progress, now: Instant) -> String {
        let failed = match left.failed {
            0 => String::new(),
            failed => format!(", {failed} failed and tried again"),
        };
        let millis = now.duration_since(self.begun).as_millis() as u64;
        let rate = (self.done * 1000).checked_div(millis).unwrap_or(0);
        format!(
            "{} left, {} of {} sent, {}/s{failed}",
            changes(left.changes),
            HumanBytes(self.done),
            HumanBytes(self.total),
            HumanBytes(rate)
        )
    }
}

/// What could not be sent, as a sentence.
pub(super) fn what_is_left(left: &[Change]) -> String {
    let first = left.first().map_or_else(String::new, |change| {
        let why = change.last_error.as_deref().unwrap_or("not tried yet");
        format!(" ({}: {})", printable(&change.name), printable(why))
    });
    format!(
        "{} could not be sent{first}; nothing is lost: it stays on this machine and is tried again, also by the next \
         mount",
        changes(left.len())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(changes: usize, bytes: u64, sent: u64) -> Progress {
        Progress {
            changes,
            bytes,
            sent,
            failed: 0,
        }
    }

    #[test]
    fn what_is_done_is_told_by_what_is_left() {
        let begun = Instant::now();
        let mut drained = Drained::new(begun);
        for (progress, seconds, words) in [
            (
                left(3, 4096, 0),
                0,
                "3 changes left, 0 B of 4.00 KiB sent, 0 B/s",
            ),
            (
                left(3, 4096, 1024),
                1,
                "3 changes left, 1.00 KiB of 4.00 KiB sent, 1.00 KiB/s",
            ),
            (
                left(2, 2048, 0),
                2,
                "2 changes left, 2.00 KiB of 4.00 KiB sent, 1.00 KiB/s",
            ),
            // Somebody saves another file.
            (
                left(3, 3072, 0),
                2,
                "3 changes left, 2.00 KiB of 5.00 KiB sent, 1.00 KiB/s",
            ),
            // A deletion.
            (
                left(1, 0, 0),
                5,
                "1 change left, 5.00 KiB of 5.00 KiB sent, 1.00 KiB/s",
            ),
        ] {
            drained.take(&progress);
            let now = begun + Duration::from_secs(seconds);
            assert_eq!(drained.words(&progress, now), words);
        }
    }
}
