//! `afs get`: from the service to this machine.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;

use super::{carry_out, workspace_and_files};
use crate::cli::place::Place;
use crate::cli::reaching::Reaching;
use crate::cli::talk::{printable, unexpected};
use crate::cli::{failed, typed_wrongly, worse};
use crate::control::{Get, Reply, Request};
use crate::mount::sys;

/// What can be typed after `afs get`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs get [OPTIONS] [MOUNTPOINT] NAME|ID...",
    after_long_help = "\
Examples:
  afs get chart.png               into this directory, under its name
  afs get file_011CNha8iCJcU1wXNR6q4V8w -o chart-of-may.png
  afs get a.png b.png -o ~/Desktop
                                  several, into another directory
  afs get table.csv -o - | head   to standard output

A file appears whole or not at all. Nothing is overwritten but what afs get
wrote and nobody has changed since: exit code 4. What is there already, of
the same id, is not fetched again. Files that were uploaded elsewhere can't
be had: the service gives back only what tools made."
)]
pub struct GetArguments {
    /// Names in the workspace, or ids; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required = true)]
    files: Vec<PathBuf>,
    /// The directory, or for one file the path, it goes to; - for standard output [default: this directory]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reaching: Reaching,
}

/// Writes files to this machine.
#[must_use]
pub fn get(arguments: &GetArguments) -> ExitCode {
    get_all(arguments).unwrap_or_else(|said| said)
}

fn get_all(arguments: &GetArguments) -> Result<ExitCode, ExitCode> {
    let (mut place, words) = workspace_and_files(&arguments.files, &arguments.reaching)?;
    let output = arguments.output.as_deref().unwrap_or(Path::new("."));
    let is_stdout = output == Path::new("-");
    let is_dir = output.is_dir();
    if words.len() > 1 && !is_dir && !is_stdout {
        return Err(typed_wrongly(&format!(
            "{} is no directory, and one path is that of one file",
            output.display()
        )));
    }
    let mut exit = ExitCode::SUCCESS;
    for word in &words {
        let got = if is_stdout {
            print(&mut place, word)
        } else {
            fetch(&mut place, word, output).map(drop)
        };
        exit = worse(exit, got.err().unwrap_or(ExitCode::SUCCESS));
    }
    place.end();
    Ok(exit)
}

/// Fetches one to its place, and says where it is.
fn fetch(place: &mut Place, word: &str, output: &Path) -> Result<(), ExitCode> {
    let Landed {
        path,
        size,
        unchanged,
    } = land(place, word, output)?;
    let shown = printable(&path.to_string_lossy());
    if unchanged {
        tell!("{shown} is there already");
    } else {
        say!("{shown}  {}", HumanBytes(size));
    }
    Ok(())
}

/// A file that was fetched.
pub(in crate::cli) struct Landed {
    pub(in crate::cli) path: PathBuf,
    /// Bytes.
    pub(in crate::cli) size: u64,
    /// Whether it was there already.
    pub(in crate::cli) unchanged: bool,
}

/// Fetches one.
pub(in crate::cli) fn land(
    place: &mut Place,
    word: &str,
    output: &Path,
) -> Result<Landed, ExitCode> {
    let to = std::path::absolute(output)
        .map_err(|error| failed(&format!("{}: {error}", output.display())))?;
    let request = Request::Get(Get {
        what: word.to_owned(),
        to,
        mode: 0o666 & !sys::umask(),
    });
    match carry_out(place, &request)? {
        Reply::Got {
            path,
            size,
            unchanged,
            ..
        } => Ok(Landed {
            path: short(&path, output),
            size,
            unchanged,
        }),
        other => Err(failed(&unexpected(&other))),
    }
}

/// The path as people would write it who typed `output`.
fn short(path: &Path, output: &Path) -> PathBuf {
    match path.file_name() {
        Some(name) if output == Path::new(".") => PathBuf::from(name),
        Some(name) if output.is_dir() => output.join(name),
        _ => output.to_owned(),
    }
}

/// Fetches one to where nobody sees it, and prints its bytes.
fn print(place: &mut Place, word: &str) -> Result<(), ExitCode> {
    let said = |error: io::Error| failed(&format!("{}: {error}", printable(word)));
    let dir = tempfile::tempdir().map_err(said)?;
    let Landed { path, .. } = land(place, word, dir.path())?;
    let mut file = File::open(path).map_err(said)?;
    match io::copy(&mut file, &mut io::stdout().lock()) {
        // As with other commands: that nobody reads it any more is no failure of ours.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        copied => copied.map(drop).map_err(said),
    }
}
