//! Questions about files: `afs ls`, `find`, `show`, `id` and `block`. A mount that runs answers them; where none does, the
//! state it left.

mod block;
mod list;
mod show;

use std::process::ExitCode;

use jiff::Timestamp;

use super::place::Place;
use super::talk::{local, printable, unexpected};
use super::{failed, nothing_matched};
use crate::control::{FileEntry, FormerFile, Reply, Request};

pub use block::{BlockArguments, block};
pub use list::{FindArguments, LsArguments, find, ls};
pub(super) use list::{Placed, all, line};
pub use show::{IdArguments, ShowArguments, id, show};

/// What a word stands for.
enum Found {
    /// A file, and in which of the places.
    File(usize, Box<FileEntry>),
    /// One that another took the place of.
    Former(FormerFile),
}

/// What a word stands for, in the first place that knows it. Only where none does is the service asked. What `gives` the id
/// to somebody has it stay alive for a day after it is replaced.
fn look_up(places: &mut [Place], word: &str, gives: bool) -> Result<Found, ExitCode> {
    let mut why = String::new();
    for asks in [false, true] {
        for (n, place) in places.iter_mut().enumerate() {
            let what = word.to_owned();
            match place.ask(&Request::File { what, asks, gives }, &mut |_| {}) {
                Ok(Reply::File(file)) => return Ok(Found::File(n, file)),
                Ok(Reply::Former(former)) => return Ok(Found::Former(former)),
                Ok(Reply::Unmatched { why: said }) => why = said,
                Ok(other) => return Err(failed(&unexpected(&other))),
                Err(said) => return Err(failed(&printable(&said))),
            }
        }
    }
    Err(nothing_matched(&printable(&why)))
}

/// The id that a file has at the service with the content it has here, or why it has none.
fn id_at_service(file: &FileEntry) -> Result<&str, String> {
    let name = printable(&file.name);
    match &file.id {
        _ if file.scratch => Err(format!(
            "{name} stays on this machine by its name; under another one it is sent"
        )),
        Some(id) if !file.pending => Ok(id),
        _ => Err(format!(
            "{name} is still on its way to the service; wait for it with afs flush, and ask again"
        )),
    }
}

/// What became of an id, as a sentence.
pub(super) fn told(former: &FormerFile) -> String {
    format!(
        "{} was replaced by {} ({}) on {}",
        printable(&former.id),
        printable(&former.successor),
        printable(&former.name),
        local(Timestamp::from_millisecond(former.replaced_at).unwrap_or_default())
    )
}

/// The same of one that is written as RFC 3339 says.
fn local_text(time: &str) -> String {
    time.parse().map_or_else(|_| printable(time), local)
}
