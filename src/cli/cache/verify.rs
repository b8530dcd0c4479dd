//! `afs cache verify`: whether the kept copies are what was saved.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar};

use crate::cli::talk::{NOTHING_MOUNTED, printable, reach, unexpected};
use crate::cli::{failed, nothing_matched};
use crate::control::{Client, ControlError, Copies, Reply, Request};

/// Between two lines of progress where they don't overwrite each other.
const PLAIN_PACE: Duration = Duration::from_secs(10);

/// What can be typed after `afs cache verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs cache verify                the copies of every mount of yours
  afs cache verify ~/claude-files

Reads every kept copy and compares its SHA-256 with the one taken when it was
saved. Exit code 1 where one is damaged: reading that file fails from then on,
and the copy stays as it is for you to look at.")]
pub(super) struct VerifyArguments {
    /// Where it is mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
}

/// Has the kept copies compared.
pub(super) fn run(arguments: &VerifyArguments) -> ExitCode {
    let reached = match reach(arguments.mountpoint.as_deref()) {
        Ok(reached) => reached,
        Err(why) => return nothing_matched(&why),
    };
    if reached.is_empty() {
        say!("{NOTHING_MOUNTED}");
    }
    let mut exit = ExitCode::SUCCESS;
    for mount in reached {
        let verified = mount
            .client
            .and_then(|mut client| ask(&mut client).map_err(|error| error.to_string()));
        match verified {
            Ok((copies, damaged)) if damaged.is_empty() => say!(
                "{}: {} kept copies ({}) are what was saved",
                mount.mountpoint.display(),
                copies.count,
                HumanBytes(copies.bytes)
            ),
            Ok((copies, damaged)) => {
                for name in &damaged {
                    say!("damaged: {}", printable(name));
                }
                exit = failed(&format!(
                    "{}: {} of {} kept copies are damaged and can't be read here any more; the service still has \
                     these files",
                    mount.mountpoint.display(),
                    damaged.len(),
                    copies.count
                ));
            }
            Err(why) => exit = failed(&format!("{}: {why}", mount.mountpoint.display())),
        }
    }
    exit
}

/// Has a mount compare its copies, and shows how far it is; what it found.
fn ask(client: &mut Client) -> Result<(Copies, Vec<String>), ControlError> {
    let bar = ProgressBar::new_spinner();
    let mut speaks_at = Instant::now() + PLAIN_PACE;
    let mut reply = client.ask(&Request::VerifyKept)?;
    loop {
        match reply {
            Reply::Verifying(copies) => {
                let so_far = format!("{} copies, {}", copies.count, HumanBytes(copies.bytes));
                bar.set_message(so_far.clone());
                bar.tick();
                if bar.is_hidden() && Instant::now() >= speaks_at {
                    tell!("{so_far}");
                    speaks_at = Instant::now() + PLAIN_PACE;
                }
            }
            Reply::Verified { copies, damaged } => {
                bar.finish_and_clear();
                return Ok((copies, damaged));
            }
            other => return Err(unexpected(&other)),
        }
        reply = client.hear()?;
    }
}
