//! `afs trash`: what was deleted or replaced and is still on this machine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use jiff::Timestamp;

use super::place::Place;
use super::places::{StateDir, asked, asked_all, asked_here_for};
use super::reaching::Reaching;
use super::status::print_json;
use super::talk::{confirm, local, printable, unexpected};
use super::{failed, nothing_matched, refused, typed_wrongly, worse};
use crate::control::{Put, Reply, Request, TrashFile};

/// What can be typed after `afs trash`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs trash list                  what was deleted or replaced in the last days
  afs trash restore report.pdf    put it back
  afs trash empty                 remove everything for good")]
pub struct TrashArguments {
    #[command(subcommand)]
    command: TrashCommand,
}

/// What can be done with the trash.
#[derive(Debug, Subcommand)]
enum TrashCommand {
    /// Show what is in it
    List(ListArguments),
    /// Put files back into the mount
    Restore(RestoreArguments),
    /// Remove files for good
    Empty(EmptyArguments),
}

/// What can be typed after `afs trash list`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs trash list                  size, time of deletion, id and name of each
  afs trash list --json | jq -r '.[].path'
                                  where the bytes are, to be copied by hand

Files stay for 7 days, up to 5 GB. Deletions that have not reached the service
are shown too: to restore those costs nothing.")]
struct ListArguments {
    /// Where it is or was mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateDir,
}

/// What can be typed after `afs trash restore`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs trash restore [MOUNTPOINT] NAME|ID...",
    after_long_help = "\
Examples:
  afs trash restore report.pdf    the one deleted last, under its name
  afs trash restore report.pdf --as old-report.pdf
  afs trash restore file_011CNha8iCJcU1wXNR6q4V8w

A deletion that the service has not been told of is taken back: 0 requests.
Else the bytes are uploaded again, as a new file with a new id. Exit code 4
where a file has the name already: nothing is overwritten."
)]
struct RestoreArguments {
    /// Names, or ids they had; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<PathBuf>,
    /// The name to give it
    #[arg(long = "as", value_name = "NAME")]
    rename: Option<String>,
    #[command(flatten)]
    reaching: Reaching,
}

/// What can be typed after `afs trash empty`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs trash empty [MOUNTPOINT] [NAME|ID]...",
    after_long_help = "\
Examples:
  afs trash empty                 everything, after a question
  afs trash empty draft.pdf --yes every version of this one, without a question

There is no way back. Exit code 4 where nobody can be asked and --yes is
missing."
)]
struct EmptyArguments {
    /// Names, or ids they had; all where none is named. Before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID")]
    names: Vec<PathBuf>,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    state: StateDir,
}

/// What is in the trash of a place, oldest first, and names whose deletions have not been sent.
type Held = (Vec<TrashFile>, Vec<String>);

/// Does what was asked for.
#[must_use]
pub fn run(arguments: &TrashArguments) -> ExitCode {
    let done = match &arguments.command {
        TrashCommand::List(arguments) => list(arguments),
        TrashCommand::Restore(arguments) => restore(arguments),
        TrashCommand::Empty(arguments) => empty(arguments),
    };
    done.unwrap_or_else(|said| said)
}

fn list(arguments: &ListArguments) -> Result<ExitCode, ExitCode> {
    let mut places = asked_all(arguments.mountpoint.as_ref(), &arguments.state)?;
    let mut all = Vec::new();
    for place in &mut places {
        let (files, deletions) = held(place)?;
        if !arguments.json {
            print(&files, &deletions);
        }
        all.extend(files);
    }
    if arguments.json {
        print_json(&all);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(files: &[TrashFile], deletions: &[String]) {
    for file in files {
        let size = HumanBytes(file.size_bytes).to_string();
        let time = local(Timestamp::from_millisecond(file.thrown_at).unwrap_or_default());
        let (id, name) = (printable(&file.id), printable(&file.name));
        let lives = file.lives_until.map_or_else(String::new, |until| {
            let until = local(Timestamp::from_millisecond(until).unwrap_or_default());
            format!("  (replaced; its id works until {until})")
        });
        say!("{size:>11}  {time}  {id:<29}  {name}{lives}");
    }
    for name in deletions {
        say!(
            "{:>11}  its deletion has not been sent yet  {}",
            "",
            printable(name)
        );
    }
    let bytes = files.iter().map(|file| file.size_bytes).sum();
    let count = match files.len() {
        0 => "the trash is empty".to_owned(),
        1 => format!("1 file, {}", HumanBytes(bytes)),
        count => format!("{count} files, {}", HumanBytes(bytes)),
    };
    say!("{count}");
}

fn held(place: &mut Place) -> Result<Held, ExitCode> {
    match place.ask(&Request::Trash, &mut |_| {}) {
        Ok(Reply::Trash { files, deletions }) => Ok((files, deletions)),
        Ok(other) => Err(failed(&unexpected(&other))),
        Err(why) => Err(failed(&printable(&why))),
    }
}

fn restore(arguments: &RestoreArguments) -> Result<ExitCode, ExitCode> {
    let (mut places, words) = asked_here_for(&arguments.names, arguments.reaching.state())?;
    if arguments.rename.is_some() && words.len() > 1 {
        return Err(typed_wrongly(&"--as gives one file its name"));
    }
    if arguments
        .rename
        .as_deref()
        .is_some_and(|name| name.contains('/'))
    {
        return Err(typed_wrongly(
            &"--as takes a name, not a path: it goes back into the mount",
        ));
    }
    let (mut exit, mut to_send) = (ExitCode::SUCCESS, Vec::new());
    for word in &words {
        match restore_one(&mut places, word, arguments.rename.as_deref()) {
            Ok(unsent) => to_send.extend(unsent),
            Err(said) => exit = worse(exit, said),
        }
    }
    // They hold the states' locks.
    drop(places);
    if !to_send.is_empty() {
        let sent = send(&to_send, &arguments.reaching);
        exit = worse(exit, sent.unwrap_or_else(|said| said));
    }
    Ok(exit)
}

/// Uploads files out of the trash of a workspace that is not mounted.
fn send(files: &[(TrashFile, String)], reaching: &Reaching) -> Result<ExitCode, ExitCode> {
    let mut place = reaching.workspace(false)?;
    let mut exit = ExitCode::SUCCESS;
    for (file, name) in files {
        let sent = send_one(&mut place, file, name);
        exit = worse(exit, sent.err().unwrap_or(ExitCode::SUCCESS));
    }
    place.end();
    Ok(exit)
}

fn send_one(place: &mut Place, file: &TrashFile, name: &str) -> Result<(), ExitCode> {
    let shown = printable(name);
    if !place.has(Path::new(&file.path)) {
        return Err(failed(&format!(
            "{shown} is in the trash of another workspace than that of the key; mount that one first"
        )));
    }
    let what = name.to_owned();
    let (asks, gives) = (false, false);
    match place.ask(&Request::File { what, asks, gives }, &mut |_| {}) {
        Ok(Reply::Unmatched { .. }) => {}
        Ok(Reply::File(_)) => return Err(taken(&shown)),
        Ok(other) => return Err(failed(&unexpected(&other))),
        Err(why) => return Err(failed(&printable(&why))),
    }
    let put = Put {
        path: file.path.clone().into(),
        name: name.to_owned(),
        mime_type: None,
        expires_in_seconds: None,
    };
    match place.ask(&Request::Put(put), &mut |_| {}) {
        Ok(Reply::Stored { .. }) => {}
        Ok(other) => return Err(failed(&unexpected(&other))),
        Err(why) => return Err(failed(&printable(&why))),
    }
    forget(place, file, &shown);
    say!("restored {shown}");
    Ok(())
}

fn taken(shown: &str) -> ExitCode {
    refused(&format!(
        "there is a file called {shown}, and it is not overwritten; to give this one another name: --as NAME"
    ))
}

/// Removes a file from the trash that is back.
fn forget(place: &mut Place, file: &TrashFile, shown: &str) {
    if file.lives_until.is_some() {
        return;
    }
    let key = file.key.clone();
    match place.ask(&Request::Purge { key }, &mut |_| {}) {
        Ok(Reply::Purged | Reply::Unmatched { .. }) => {}
        // There are two of it now, which harms nobody.
        other => log::warn!("{shown} stays in the trash: {other:?}"),
    }
}

/// Restores one; what is left to upload without a mount, and under which name.
fn restore_one(
    places: &mut [Place],
    word: &str,
    rename: Option<&str>,
) -> Result<Option<(TrashFile, String)>, ExitCode> {
    for place in places {
        let (files, deletions) = held(place)?;
        if rename.is_none() && deletions.iter().any(|name| name == word) && take_back(place, word)?
        {
            say!(
                "restored {}: the service had not been told of its deletion",
                printable(word)
            );
            return Ok(None);
        }
        let is_meant = |file: &&TrashFile| file.name == word || file.id == word;
        if let Some(file) = files.iter().rev().find(is_meant) {
            let name = rename.unwrap_or(&file.name);
            if !matches!(place, Place::Mounted(_)) {
                return Ok(Some((file.clone(), name.to_owned())));
            }
            return put_back(place, file, name).map(|()| None);
        }
    }
    Err(nothing_matched(&format!(
        "{}: there is nothing of this name or id in the trash",
        printable(word)
    )))
}

/// Takes a deletion back; whether it could be.
fn take_back(place: &mut Place, name: &str) -> Result<bool, ExitCode> {
    let name = name.to_owned();
    match place.ask(&Request::TakeBack { name }, &mut |_| {}) {
        Ok(Reply::TakenBack) => Ok(true),
        Ok(Reply::Unmatched { .. }) => Ok(false),
        Ok(other) => Err(failed(&unexpected(&other))),
        Err(why) => Err(failed(&printable(&why))),
    }
}

/// Copies a file into the mount, which uploads it as any other, and removes it from the trash.
fn put_back(place: &mut Place, file: &TrashFile, name: &str) -> Result<(), ExitCode> {
    let shown = printable(name);
    let path = place.path().join(name);
    match copy(Path::new(&file.path), &path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(taken(&shown));
        }
        Err(error) => {
            return Err(failed(&format!(
                "{shown} could not be put back, and stays in the trash: {error}"
            )));
        }
    }
    forget(place, file, &shown);
    say!("restored {shown}");
    Ok(())
}

/// Makes a new file of another's bytes. Closing it is what saves it, so that its error counts.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut bytes = File::open(from)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(to)?;
    let copied = io::copy(&mut bytes, &mut file).and_then(|_| close(file));
    if copied.is_err() {
        // What it has so far is nothing that anybody wants.
        let _ = fs::remove_file(to);
    }
    copied
}

/// `File` forgets what close(2) says.
fn close(file: File) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    Ok(nix::unistd::close(file.into_raw_fd())?)
}

fn empty(arguments: &EmptyArguments) -> Result<ExitCode, ExitCode> {
    let (mut places, words) = asked(&arguments.names, &arguments.state)?;
    let mut doomed = Vec::new();
    for (n, place) in places.iter_mut().enumerate() {
        let (mut files, _) = held(place)?;
        files.retain(|file| file.lives_until.is_none());
        doomed.extend(files.into_iter().map(|file| (n, file)));
    }
    let is_named = |word: &String, file: &TrashFile| file.name == *word || file.id == *word;
    if let Some(word) = words
        .iter()
        .find(|word| !doomed.iter().any(|(_, file)| is_named(word, file)))
    {
        return Err(nothing_matched(&format!(
            "{}: there is nothing of this name or id in the trash",
            printable(word)
        )));
    }
    doomed.retain(|(_, file)| words.is_empty() || words.iter().any(|word| is_named(word, file)));
    if doomed.is_empty() {
        say!("the trash is empty");
        return Ok(ExitCode::SUCCESS);
    }
    let bytes: u64 = doomed.iter().map(|(_, file)| file.size_bytes).sum();
    let what = match doomed.len() {
        1 => format!("1 file ({})", HumanBytes(bytes)),
        count => format!("{count} files ({})", HumanBytes(bytes)),
    };
    confirm(&format!("Remove {what} for good?"), arguments.yes)?;
    for (n, file) in doomed {
        match places[n].ask(&Request::Purge { key: file.key }, &mut |_| {}) {
            Ok(Reply::Purged | Reply::Unmatched { .. }) => {}
            Ok(other) => return Err(failed(&unexpected(&other))),
            Err(why) => return Err(failed(&printable(&why))),
        }
    }
    say!("removed {what}");
    Ok(ExitCode::SUCCESS)
}
