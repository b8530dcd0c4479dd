//! `afs allow-deletes`: says to the guard against deleting much by mistake that it is none.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::HumanDuration;

use super::talk::{NOTHING_MOUNTED, reach, unexpected};
use super::{failed, nothing_matched};
use crate::config::parse_time;
use crate::control::{Reply, Request};

/// How long it is believed.
const USUAL: Duration = Duration::from_secs(10 * 60);

/// What can be typed after `afs allow-deletes`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs allow-deletes ~/claude-files
  afs allow-deletes --for 1h

A mount refuses to delete (\"Operation not permitted\") after more than 200 files
in a minute whose bytes are not on this machine, so that nobody could bring
them back; afs mount --delete-guard N is another number.")]
pub struct AllowDeletesArguments {
    /// Where it is mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// For how long [default: 10m]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    time: Option<Duration>,
}

/// Has deletions go through.
#[must_use]
pub fn run(arguments: &AllowDeletesArguments) -> ExitCode {
    let reached = match reach(arguments.mountpoint.as_deref()) {
        Ok(reached) => reached,
        Err(why) => return nothing_matched(&why),
    };
    if reached.is_empty() {
        return nothing_matched(&NOTHING_MOUNTED);
    }
    let time = arguments.time.unwrap_or(USUAL);
    let request = Request::AllowDeletes {
        seconds: time.as_secs(),
    };
    let mut exit = ExitCode::SUCCESS;
    for mount in reached {
        let place = mount.mountpoint.display();
        let answer = mount
            .client
            .and_then(|mut client| client.ask(&request).map_err(|error| error.to_string()));
        match answer {
            Ok(Reply::DeletesAllowed) => {
                say!("{place}: deletions go through for {}", HumanDuration(time));
            }
            Ok(other) => exit = failed(&format!("{place}: {}", unexpected(&other))),
            Err(why) => exit = failed(&format!("{place}: {why}")),
        }
    }
    exit
}
