//! `afs prune`: deletes old files, after showing which.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::files::{Placed, all, line};
use super::place::Place;
use super::reaching::Reaching;
use super::talk::{confirm, printable, unexpected};
use super::transfers::workspace;
use super::{failed, nothing_matched};
use crate::config::parse_time;
use crate::control::{Reply, Request, Which};

/// How long the guard against deleting by mistake is open for it: somebody has said yes.
const ALLOWED: u64 = 10 * 60;

/// What can be typed after `afs prune`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs prune --older-than 30d      what is older than that, after a question
  afs prune --older-than 7d --outputs --dry-run
                                  which of what tools made that would be
  afs prune --copies --yes        older files of names that have newer ones
  afs prune --older-than 1d --glob 'tmp-*' --yes

Deletes at the service, as rm does: what is on this machine goes to the trash
first. The delete guard does not stop it: somebody has said yes. Exit code 3
where there is nothing to delete, 4 where nobody can be asked and --yes is
missing.")]
pub struct PruneArguments {
    /// Where it is mounted; needed where several are
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Only files that the service has had for longer than this
    #[arg(long, value_name = "TIME", value_parser = parse_time, required_unless_present = "copies")]
    older_than: Option<Duration>,
    /// Only older files of names that a newer file has, those with ~XXXXXXXX in theirs
    #[arg(long)]
    copies: bool,
    /// Only files of such names; * is any run of characters, ? any one
    #[arg(long, value_name = "GLOB")]
    glob: Option<String>,
    /// Only what tools made
    #[arg(long, conflicts_with = "uploads")]
    outputs: bool,
    /// Only what was uploaded
    #[arg(long)]
    uploads: bool,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// Deletes old files.
#[must_use]
pub fn run(arguments: &PruneArguments) -> ExitCode {
    prune(arguments).err().unwrap_or(ExitCode::SUCCESS)
}

fn prune(arguments: &PruneArguments) -> Result<(), ExitCode> {
    let mut place = workspace(arguments.mountpoint.as_deref(), &arguments.reaching, false)?;
    let doomed = doomed(arguments, &mut place)?;
    for placed in &doomed {
        say!("{}", line(&placed.file));
    }
    let bytes = doomed.iter().map(|placed| placed.file.size_bytes).sum();
    let what = match doomed.len() {
        0 => return Err(nothing_matched(&"there is nothing to delete")),
        1 => format!("1 file ({})", HumanBytes(bytes)),
        count => format!("{count} files ({})", HumanBytes(bytes)),
    };
    if arguments.dry_run {
        say!("{what} would be deleted");
        return Ok(());
    }
    confirm(&format!("Delete {what} at the service?"), arguments.yes)?;
    delete(&mut place, &doomed)?;
    say!("{what} deleted");
    place.end();
    Ok(())
}

/// The files that are meant.
fn doomed(arguments: &PruneArguments, place: &mut Place) -> Result<Vec<Placed>, ExitCode> {
    let which = Which {
        glob: arguments.glob.clone(),
        session: None,
        downloadable: arguments
            .outputs
            .then_some(true)
            .or(arguments.uploads.then_some(false)),
        fresh: false,
    };
    let mut files = all(place, &which).map_err(|why| failed(&why))?;
    let youngest = arguments
        .older_than
        .and_then(|age| Timestamp::now().checked_sub(age).ok());
    files.retain(|placed| {
        let file = &placed.file;
        let created: Option<Timestamp> = file.created_at.parse().ok();
        let is_old = youngest.is_none_or(|youngest| created.is_some_and(|time| time < youngest));
        let is_meant = !arguments.copies || file.is_older_copy;
        // What the service does not have yet can't be old there.
        is_old && is_meant && file.id.is_some() && !file.pending
    });
    files.sort_by(|a, b| a.file.created_at.cmp(&b.file.created_at));
    Ok(files)
}

/// Removes them from the mount, which deletes at the service; where there is none, there.
fn delete(place: &mut Place, doomed: &[Placed]) -> Result<(), ExitCode> {
    if !matches!(place, Place::Bare(..)) {
        allow(place)?;
    }
    let mut failures = 0;
    for placed in doomed {
        if let Err(why) = delete_one(place, placed) {
            failures += 1;
            failed(&format!("{}: {why}", printable(&placed.file.name)));
        }
    }
    if failures > 0 {
        let why = format!("{failures} of {} could not be deleted", doomed.len());
        return Err(failed(&why));
    }
    Ok(())
}

fn delete_one(place: &mut Place, placed: &Placed) -> Result<(), String> {
    if matches!(place, Place::Mounted(_)) {
        return fs::remove_file(&placed.path).map_err(|error| error.to_string());
    }
    let what = placed.file.id.clone().unwrap_or_default();
    let purges = false;
    match place.ask(&Request::Remove { what, purges }, &mut |_| {})? {
        Reply::Removed { .. } => Ok(()),
        other => Err(unexpected(&other).to_string()),
    }
}

fn allow(place: &mut Place) -> Result<(), ExitCode> {
    let seconds = ALLOWED;
    match place.ask(&Request::AllowDeletes { seconds }, &mut |_| {}) {
        Ok(Reply::DeletesAllowed) => Ok(()),
        Ok(other) => Err(failed(&unexpected(&other))),
        Err(why) => Err(failed(&printable(&why))),
    }
}
