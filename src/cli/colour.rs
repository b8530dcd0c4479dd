//! Colour, sparingly: for what somebody should look at. Only on a terminal, and not where `NO_COLOR` is set
//! (<https://no-color.org>).

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// Whether standard output is a screen that can be drawn on.
pub(super) fn is_screen() -> bool {
    let term = std::env::var_os("TERM");
    io::stdout().is_terminal() && term.is_some_and(|term| term != "dumb")
}

/// What colours the lines of one answer on standard output, or leaves them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colours(bool);

impl Colours {
    /// As standard output and the environment have it.
    pub(super) fn of_output() -> Self {
        Self::of(is_screen(), std::env::var_os("NO_COLOR").as_deref())
    }

    fn of(is_screen: bool, no_color: Option<&OsStr>) -> Self {
        Self(is_screen && no_color.is_none_or(OsStr::is_empty))
    }

    /// Something has failed.
    pub(super) fn failed(self, text: &str) -> String {
        self.painted(31, text)
    }

    /// Something is not as one would like it.
    pub(super) fn warned(self, text: &str) -> String {
        self.painted(33, text)
    }

    fn painted(self, colour: u8, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
pub(super) const PLAIN: Colours = Colours(false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_colour_on_a_screen_where_nobody_forbids_it() {
        for (is_screen, no_color, expected) in [
            (true, None, true),
            // The convention: set and not empty.
            (true, Some(""), true),
            (true, Some("1"), false),
            (false, None, false),
            (false, Some("1"), false),
        ] {
            let colours = Colours::of(is_screen, no_color.map(OsStr::new));
            assert_eq!(colours, Colours(expected), "{is_screen} {no_color:?}");
        }
        assert_eq!(Colours(true).failed("no"), "\x1b[31mno\x1b[0m");
        assert_eq!(Colours(true).warned(""), "");
        assert_eq!(PLAIN.warned("no"), "no");
    }
}
