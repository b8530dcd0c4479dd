//! `afs ls` and `afs find`: many files at a time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde::Serialize;

use super::{Found, local_text, look_up, told};
use crate::cli::place::Place;
use crate::cli::places::{asked_all_service, asked_for};
use crate::cli::reaching::Reaching;
use crate::cli::status::print_json;
use crate::cli::talk::{printable, unexpected};
use crate::cli::{failed, nothing_matched, worse};
use crate::control::{FileEntry, Reply, Request, Which};

/// What can be typed after `afs ls`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs ls                          size, time, kind, id and name of every file
  afs ls ~/claude-files --outputs what tools made
  afs ls --sort time              the newest last
  afs ls --session sesn_011CZk    the files of a session of managed agents
  afs ls --json | jq -r '.[].id'  for scripts

It costs what ls of the mount costs: 1 request where the listing is due, else
none. What is not mounted is listed as it was seen last.")]
pub struct LsArguments {
    /// Where it is or was mounted; every mount where none is named
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Only what tools made, which the service gives back
    #[arg(long, conflicts_with = "uploads")]
    outputs: bool,
    /// Only what was uploaded
    #[arg(long)]
    uploads: bool,
    /// The files of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// In which order
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// In which order files are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By name
    Name,
    /// By size, the largest last
    Size,
    /// By the time of the last change, the newest last
    Time,
}

/// What can be typed after `afs find`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs find [MOUNTPOINT] ID|GLOB...",
    after_long_help = "\
Examples:
  afs find file_011CNha8iCJcU1wXNR6q4V8w
                                  the path of the file with this id; of an id
                                  that was replaced, what has its place
  afs find '*.csv'                the paths of all files so named

Exit code 3 where nothing is found."
)]
pub struct FindArguments {
    /// Ids, names, or patterns of names with * and ?; before them the mount point, where several are mounted
    #[arg(value_name = "ID|GLOB", required = true)]
    what: Vec<PathBuf>,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// A file and where it is, for scripts.
#[derive(Serialize)]
pub(in crate::cli) struct Placed {
    pub(in crate::cli) path: String,
    #[serde(flatten)]
    pub(in crate::cli) file: FileEntry,
}

impl Placed {
    fn new(place: &Place, file: FileEntry) -> Self {
        let path = place.path().join(&file.name);
        Self {
            path: path.to_string_lossy().into_owned(),
            file,
        }
    }
}

/// Prints the files of workspaces.
#[must_use]
pub fn ls(arguments: &LsArguments) -> ExitCode {
    let mut places = match asked_all_service(arguments.mountpoint.as_ref(), &arguments.reaching) {
        Ok(places) => places,
        Err(exit) => return exit,
    };
    let which = Which {
        glob: None,
        session: arguments.session.clone(),
        downloadable: arguments
            .outputs
            .then_some(true)
            .or(arguments.uploads.then_some(false)),
        fresh: false,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut files = Vec::new();
    let is_one_of_several = places.len() > 1;
    for place in &mut places {
        match all(place, &which) {
            Ok(found) => files.extend(sorted(found, arguments.sort)),
            Err(why) => exit = failed(&why),
        }
        if !arguments.json {
            if is_one_of_several {
                say!("{}:", place.path().display());
            }
            for placed in files.drain(..) {
                say!("{}", line(&placed.file));
            }
        }
    }
    if arguments.json {
        print_json(&files);
    }
    exit
}

/// Prints where files are.
#[must_use]
pub fn find(arguments: &FindArguments) -> ExitCode {
    let (mut places, words) = match asked_for(&arguments.what, &arguments.reaching) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut files = Vec::new();
    for word in words {
        let found = if word.contains(['*', '?']) {
            matching(&mut places, &word)
        } else {
            one(&mut places, &word)
        };
        match found {
            Ok(found) => files.extend(found),
            Err(said) => exit = worse(exit, said),
        }
    }
    if arguments.json {
        print_json(&files);
    } else {
        for placed in &files {
            say!("{}", printable(&placed.path));
        }
    }
    exit
}

fn one(places: &mut [Place], word: &str) -> Result<Vec<Placed>, ExitCode> {
    match look_up(places, word, false)? {
        Found::File(n, file) => Ok(vec![Placed::new(&places[n], *file)]),
        Found::Former(former) => {
            tell!("{}", told(&former));
            one(places, &former.successor)
        }
    }
}

fn matching(places: &mut [Place], glob: &str) -> Result<Vec<Placed>, ExitCode> {
    let which = Which {
        glob: Some(glob.to_owned()),
        ..Which::default()
    };
    let mut files = Vec::new();
    for place in places {
        let found = all(place, &which).map_err(|why| failed(&why))?;
        files.extend(sorted(found, Sort::Name));
    }
    if files.is_empty() {
        let why = format!("{}: no file is named so", printable(glob));
        return Err(nothing_matched(&why));
    }
    Ok(files)
}

/// All files of a place that are meant.
pub(in crate::cli) fn all(place: &mut Place, which: &Which) -> Result<Vec<Placed>, String> {
    let mut files = Vec::new();
    let request = Request::Files {
        which: which.clone(),
    };
    let last = place.ask(&request, &mut |part| {
        if let Reply::Files { files: some, .. } = part {
            files.extend_from_slice(some);
        }
    })?;
    match last {
        Reply::Files { files: rest, .. } => files.extend(rest),
        other => return Err(unexpected(&other).to_string()),
    }
    Ok(files
        .into_iter()
        .map(|file| Placed::new(place, file))
        .collect())
}

fn sorted(mut files: Vec<Placed>, sort: Sort) -> Vec<Placed> {
    files.sort_by(|a, b| {
        let (a, b) = (&a.file, &b.file);
        let by_name = a.name.cmp(&b.name);
        match sort {
            Sort::Name => by_name,
            Sort::Size => a.size_bytes.cmp(&b.size_bytes).then(by_name),
            Sort::Time => a.modified_at.cmp(&b.modified_at).then(by_name),
        }
    });
    files
}

/// A file as a line; the name last, for it may have any length.
pub(in crate::cli) fn line(file: &FileEntry) -> String {
    let size = HumanBytes(file.size_bytes).to_string();
    let kind = match file {
        FileEntry { scratch: true, .. } => "scratch",
        FileEntry { pending: true, .. } => "pending",
        FileEntry { expired: true, .. } => "expired",
        FileEntry {
            downloadable: true, ..
        } => "output",
        _ => "upload",
    };
    let id = file.id.as_deref().map_or("-".to_owned(), printable);
    let time = local_text(&file.modified_at);
    let name = printable(&file.name);
    format!("{size:>11}  {time}  {kind:<7}  {id:<29}  {name}")
}
