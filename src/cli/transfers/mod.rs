//! `afs put`, `get` and `rm`: what copying into a mount, out of it and removing there do, also where nothing is mounted.

mod get;
mod put;
mod remove;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::files::told;
use super::place::Place;
use super::places::Places;
use super::reaching::Reaching;
use super::talk::{printable, reach};
use super::{failed, nothing_matched, refused, typed_wrongly};
use crate::control::{Reply, Request};

pub use get::{GetArguments, get};
pub(super) use get::{Landed, land};
pub use put::{PutArguments, put};
pub use remove::{RemoveArguments, remove};

/// The name gives way where the terminal is narrow.
const BAR: &str = "{wide_msg} {bytes}/{total_bytes}  {bytes_per_sec}  {eta:>3}  [{bar:16}]";

/// The one workspace that a command is about: that of the mount point, of the only mount, or of the key.
pub(super) fn workspace(
    mountpoint: Option<&Path>,
    reaching: &Reaching,
    expire: bool,
) -> Result<Place, ExitCode> {
    if mountpoint.is_none() && reaching.names_service() {
        return reaching.workspace(expire);
    }
    let mut reached = reach(mountpoint).map_err(|why| nothing_matched(&why))?;
    if reached.len() > 1 {
        return Err(typed_wrongly(
            &"several workspaces are mounted; say which: its mount point before the names",
        ));
    }
    match reached.pop() {
        Some(mount) => Ok(Place::Mounted(mount)),
        None => reaching.workspace(expire),
    }
}

/// The workspace, and the names or ids of files in it.
fn workspace_and_files(
    typed: &[PathBuf],
    reaching: &Reaching,
) -> Result<(Place, Vec<String>), ExitCode> {
    if reaching.names_service() {
        let words = typed.iter().map(|word| word.to_string_lossy().into_owned());
        return Ok((reaching.workspace(false)?, words.collect()));
    }
    // Where no state can be, nothing was mounted either.
    let places = Places::look(typed, reaching.state().dir()).unwrap_or_default();
    let typed = places
        .take_apart(typed)
        .map_err(|why| nothing_matched(&why))?;
    if typed.names.is_empty() {
        return Err(typed_wrongly(
            &"say which file: its name, its path, or its id",
        ));
    }
    let mounted = typed
        .mountpoint
        .filter(|mountpoint| places.is_mounted(mountpoint));
    // It holds the states' locks.
    drop(places);
    let place = workspace(mounted.as_deref(), reaching, false)?;
    Ok((place, typed.names))
}

/// Asks, and shows how far it is.
fn carry_out(place: &mut Place, request: &Request) -> Result<Reply, ExitCode> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    let answered = place.ask(request, &mut |part| {
        if let Reply::Sending { name, done, size } | Reply::Downloading { name, done, size } = part
        {
            bar.set_length(*size);
            bar.set_position(*done);
            bar.set_message(printable(name));
        }
    });
    bar.finish_and_clear();
    match answered {
        Ok(Reply::Refused { why }) => Err(refused(&printable(&why))),
        Ok(Reply::Unmatched { why }) => Err(nothing_matched(&printable(&why))),
        Ok(Reply::Former(former)) => Err(nothing_matched(&told(&former))),
        Ok(reply) => Ok(reply),
        Err(why) => Err(failed(&printable(&why))),
    }
}
