//! `afs show` and `afs id`: what is known of single files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::{Found, id_at_service, local_text, look_up, told};
use crate::cli::place::Place;
use crate::cli::places::asked_for;
use crate::cli::reaching::Reaching;
use crate::cli::status::print_json;
use crate::cli::talk::printable;
use crate::cli::{failed, nothing_matched, worse};
use crate::control::FileEntry;

/// What can be typed after `afs show`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs show [MOUNTPOINT] FILE|ID...",
    after_long_help = "\
Examples:
  afs show report.pdf             its id, size, type, times, where its bytes are
  afs show ~/claude-files/report.pdf
  afs show file_011CNha8iCJcU1wXNR6q4V8w --json | jq -r .[0].filename

A running mount asks the service for an id that it does not know: 1 request.
Exit code 3 where there is no such file."
)]
pub struct ShowArguments {
    /// Names in the mount, paths of files, or ids; before them the mount point, where several are mounted
    #[arg(value_name = "FILE|ID", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// What can be typed after `afs id`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs id [MOUNTPOINT] FILE...",
    after_long_help = "\
Examples:
  afs id report.pdf               its id, for a prompt
  afs id ~/claude-files/*.pdf     one id a line, in this order
  afs id --json report.pdf        with its name

An id that was given out stays alive for 24 h after its file is saved again or
renamed: a prompt that holds it goes on working. Exit code 1 where a file has
no id yet because it is still on its way to the service, 3 where there is no
such file."
)]
pub struct IdArguments {
    /// Names in the mount, or paths of files; before them the mount point, where several are mounted
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// A file's id, for scripts.
#[derive(Serialize)]
struct Named {
    name: String,
    id: String,
}

/// Prints what is known of files.
#[must_use]
pub fn show(arguments: &ShowArguments) -> ExitCode {
    let (mut places, words) = match asked_for(&arguments.files, &arguments.reaching) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut files = Vec::new();
    for word in &words {
        match look_up(&mut places, word, false) {
            Ok(Found::File(n, file)) => {
                if !arguments.json {
                    print(&places[n], &file, words.len() > 1);
                }
                files.push(file);
            }
            Ok(Found::Former(former)) => exit = worse(exit, nothing_matched(&told(&former))),
            Err(said) => exit = worse(exit, said),
        }
    }
    if arguments.json {
        print_json(&files);
    }
    exit
}

fn print(place: &Place, file: &FileEntry, is_one_of_several: bool) {
    let path = place.path().join(&file.name);
    let path = printable(&path.to_string_lossy());
    let line = |what: &str, said: &str| say!("{what:<9} {said}");
    line("path", &path);
    line(
        "id",
        &file.id.as_deref().map_or("none yet".to_owned(), printable),
    );
    if file.filename != file.name {
        line("filename", &printable(&file.filename));
    }
    let bytes = file.size_bytes;
    line("size", &format!("{}, {bytes} bytes", HumanBytes(bytes)));
    line("type", &printable(&file.mime_type));
    line("created", &local_text(&file.created_at));
    if file.modified_at != file.created_at {
        line("modified", &local_text(&file.modified_at));
    }
    if let Some(session) = &file.session_id {
        line("session", &printable(session));
    }
    if let Some(time) = &file.expires_at {
        let verb = if file.expired { "expired" } else { "expires" };
        line(verb, &local_text(time));
    }
    line("bytes", bytes_are(file));
    if is_one_of_several {
        say!("");
    }
}

/// Where a file's bytes are.
fn bytes_are(file: &FileEntry) -> &'static str {
    match file {
        FileEntry { scratch: true, .. } => "on this machine only, by its name",
        FileEntry { pending: true, .. } => "on this machine, on their way to the service",
        FileEntry {
            on_this_machine: true,
            ..
        } => "on this machine and at the service",
        FileEntry { expired: true, .. } => "nowhere any more: the service has given them up",
        FileEntry {
            downloadable: true, ..
        } => "at the service; reading downloads them",
        _ => "at the service, which does not give uploads back",
    }
}

/// Prints the ids of files.
#[must_use]
pub fn id(arguments: &IdArguments) -> ExitCode {
    let (mut places, words) = match asked_for(&arguments.files, &arguments.reaching) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut ids = Vec::new();
    for word in &words {
        let said = match look_up(&mut places, word, true) {
            Ok(Found::File(_, file)) => match id_at_service(&file) {
                Ok(id) => {
                    if !arguments.json {
                        say!("{}", printable(id));
                    }
                    let id = id.to_owned();
                    ids.push(Named {
                        name: file.name,
                        id,
                    });
                    continue;
                }
                Err(why) => failed(&why),
            },
            Ok(Found::Former(former)) => nothing_matched(&told(&former)),
            Err(said) => said,
        };
        exit = worse(exit, said);
    }
    if arguments.json {
        print_json(&ids);
    }
    exit
}
