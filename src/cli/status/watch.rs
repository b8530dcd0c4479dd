//! `afs status --watch`: the same again and again, until Ctrl-C or until nobody reads it any more.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use console::Term;
use nix::poll::{PollFd, PollFlags, poll};

use super::Seen;
use crate::cli::colour::{Colours, is_screen};
use crate::cli::failed;

/// Milliseconds from one look to the next.
const PACE: u16 = 1000;

/// Shows how the mounts are: on a terminal anew each second, elsewhere whenever anything has changed. Ends with failure
/// when the mount at the path that was named is gone.
pub(super) fn watch(mountpoint: Option<&Path>, json: bool) -> ExitCode {
    let draws = is_screen() && !json;
    let colours = Colours::of_output();
    let mut before: Option<Seen> = None;
    loop {
        let mut seen = match Seen::now(mountpoint) {
            Ok(seen) => seen,
            Err(why) => return failed(&why),
        };
        let shown = if draws {
            let rows = Term::stdout().size_checked().map(|(rows, _)| rows);
            Some(frame(&lines(&seen, colours), rows.map(usize::from)))
        } else {
            let text = if json {
                json_line(&seen)
            } else {
                block(&lines(&seen, colours))
            };
            seen.forget_ages();
            let is_new = before.as_ref() != Some(&seen);
            before = Some(seen);
            is_new.then_some(text)
        };
        let written = shown.map_or(Ok(()), |text| write(&text));
        if written.is_err() || !is_read() {
            return ExitCode::SUCCESS;
        }
    }
}

impl Seen {
    /// Lets go of what changes by itself.
    fn forget_ages(&mut self) {
        for status in &mut self.mounts {
            status.listing_age_seconds = None;
        }
    }
}

/// What is said of all mounts, and of those that say nothing: there is one stream only that goes on.
fn lines(seen: &Seen, colours: Colours) -> Vec<String> {
    let mut lines = seen.lines(colours);
    lines.extend(seen.complaints.iter().map(|why| colours.failed(why)));
    lines
}

fn json_line(seen: &Seen) -> String {
    // Numbers, texts and lists of them: there is nothing in it that JSON does not have.
    serde_json::to_string(&seen.mounts).unwrap_or_default() + "\n"
}

/// The lines, with an empty one behind them: another block may follow.
fn block(lines: &[String]) -> String {
    lines.join("\n") + "\n\n"
}

/// A picture that takes the last one's place without an empty screen between them. Lines that are too long are cut by the
/// terminal, and those that find no room are left out: a screen that scrolls could not be drawn over.
fn frame(lines: &[String], rows: Option<usize>) -> String {
    let room = rows.map_or(usize::MAX, |rows| rows.saturating_sub(1));
    let lines: Vec<&str> = lines.iter().take(room).map(String::as_str).collect();
    let lines = lines.join("\x1b[K\n");
    // Home, no wrapping; each line to its end; what is left below; wrapping again.
    format!("\x1b[H\x1b[?7l{lines}\x1b[K\n\x1b[J\x1b[?7h")
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// Lets the time until the next look pass; `false` when nobody reads any more what is said.
fn is_read() -> bool {
    let output = io::stdout();
    // No event is asked for: what is told then is that the other end is gone.
    let mut ends = [PollFd::new(output.as_fd(), PollFlags::empty())];
    // Who was stopped and goes on is interrupted here.
    !poll(&mut ends, PACE).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_over_the_last_one_and_fits_the_screen() {
        let lines = ["a", "b", "c"].map(str::to_owned);
        let all = "\x1b[H\x1b[?7la\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J\x1b[?7h";
        assert_eq!(frame(&lines, None), all);
        assert_eq!(frame(&lines, Some(4)), all);
        assert_eq!(
            frame(&lines, Some(2)),
            "\x1b[H\x1b[?7la\x1b[K\n\x1b[J\x1b[?7h"
        );
        assert_eq!(block(&lines), "a\nb\nc\n\n");
    }
}
