//! `afs put`: from this machine to the service.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::{carry_out, workspace};
use crate::api::LIFETIMES;
use crate::cli::place::Place;
use crate::cli::reaching::Reaching;
use crate::cli::status::print_json;
use crate::cli::talk::{printable, unexpected};
use crate::cli::{failed, typed_wrongly, worse};
use crate::config::parse_time;
use crate::control::{FileEntry, Put, Reply, Request};
use crate::mount::prepare::resolve;
use crate::mount::sys::Signals;
use crate::mount::table::{MountEntry, MountTable};
use crate::state::lock;

/// What can be typed after `afs put`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs put [OPTIONS] [MOUNTPOINT] FILE...",
    after_long_help = "\
Examples:
  afs put report.pdf              upload it; prints its id
  afs put *.csv --json            with what the service says of each
  afs put out.txt --name notes.txt --mime-type text/plain
  psql -c '...' | afs put - --name table.csv
                                  what another program prints
  afs put draft.pdf --expires 7d  the service gives it up in a week

The same as copying into the mount, and through it where there is one: one
upload a file, exactly once; a file of the same name is replaced when the new
one is confirmed, and is in afs trash then; what the service has already costs
nothing. Without a mount the state of the key's workspace is used; without a
home directory (CI) nothing but the key, and nothing is replaced.
Exit code 1 where one could not be sent; it stays on this machine and is sent
by the next mount or command, and afs pending shows it."
)]
pub struct PutArguments {
    /// Files of this machine; before them the mount point, where several are mounted
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The name it gets [default: its own]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its media type [default: by its name and first bytes]
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    mime_type: Option<String>,
    /// Have the service give it up after this time, 1h to 90d
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Print JSON, a list with one object a file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// Saves files of this machine.
#[must_use]
pub fn put(arguments: &PutArguments) -> ExitCode {
    put_all(arguments).unwrap_or_else(|said| said)
}

fn put_all(arguments: &PutArguments) -> Result<ExitCode, ExitCode> {
    let (mountpoint, files) = take_apart(&arguments.files)?;
    if files.is_empty() {
        return Err(typed_wrongly(&"say which file of this machine"));
    }
    if arguments.name.is_some() && files.len() > 1 {
        return Err(typed_wrongly(&"--name gives one file its name"));
    }
    let sources: Vec<Source> = files
        .iter()
        .map(|file| Source::of(file, arguments.name.as_deref()))
        .collect::<Result<_, _>>()?;
    let expire = arguments.expires.is_some();
    let sending = says_what_goes_on()
        .map_err(|error| failed(&format!("signals can't be waited for: {error}")))?;
    let mut place = workspace(mountpoint.as_deref(), &arguments.reaching, expire)?;
    let (mut exit, mut stored) = (ExitCode::SUCCESS, Vec::new());
    for source in &sources {
        lock(&sending).clone_from(&source.name);
        match put_one(&mut place, source, arguments) {
            Ok(file) => {
                if !arguments.json {
                    let id = file.id.as_deref().unwrap_or("-");
                    say!("{}  {}", printable(id), printable(&file.name));
                }
                stored.push(file);
            }
            Err(said) => exit = worse(exit, said),
        }
    }
    if arguments.json {
        print_json(&stored);
    }
    place.end();
    Ok(exit)
}

/// Has Ctrl-C say what goes on without the command: in the mount, or when the next one runs. Call it before there are
/// other threads; they inherit which signals are blocked. Gives where the name of what is being sent goes.
fn says_what_goes_on() -> io::Result<Arc<Mutex<String>>> {
    let signals = Signals::block()?;
    let sending = Arc::new(Mutex::new(String::new()));
    let name = Arc::clone(&sending);
    thread::Builder::new()
        .name("afs-signals".into())
        .spawn(move || {
            let _ = signals.wait();
            let name = printable(&lock(&name));
            tell!(
                "\nafs: nobody waits for {name} any more; where it was taken in already it is sent all the same, by the \
                 mount or the next command. What is on its way: afs pending; to give it up: afs pending --drop {name}"
            );
            std::process::exit(1);
        })?;
    Ok(sending)
}

fn put_one(
    place: &mut Place,
    source: &Source,
    arguments: &PutArguments,
) -> Result<FileEntry, ExitCode> {
    let request = Request::Put(Put {
        path: source.path.clone(),
        name: source.name.clone(),
        mime_type: arguments.mime_type.clone(),
        expires_in_seconds: arguments.expires.map(|time| time.as_secs()),
    });
    match carry_out(place, &request)? {
        Reply::Stored { file, unchanged } => {
            if unchanged {
                tell!(
                    "{} is there already, with just these bytes",
                    printable(&file.name)
                );
            }
            place.look_again(&source.name);
            Ok(*file)
        }
        other => Err(failed(&unexpected(&other))),
    }
}

/// A file of this machine and the name it is to have.
struct Source {
    path: PathBuf,
    name: String,
    /// What standard input said, until it is sent.
    _spool: Option<tempfile::NamedTempFile>,
}

impl Source {
    fn of(file: &Path, name: Option<&str>) -> Result<Self, ExitCode> {
        if file == Path::new("-") {
            let Some(name) = name else {
                return Err(typed_wrongly(
                    &"what comes from standard input needs a name: --name NAME",
                ));
            };
            let spool = spooled().map_err(|error| {
                failed(&format!("standard input could not be taken in: {error}"))
            })?;
            return Ok(Self {
                path: spool.path().to_owned(),
                name: name.to_owned(),
                _spool: Some(spool),
            });
        }
        let path = std::path::absolute(file)
            .map_err(|error| failed(&format!("{}: {error}", file.display())))?;
        let name = match name {
            Some(name) => name.to_owned(),
            None => path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(|| {
                    failed(&format!(
                        "{} has no name that is text; give it one with --name",
                        printable(&file.to_string_lossy())
                    ))
                })?
                .to_owned(),
        };
        Ok(Self {
            path,
            name,
            _spool: None,
        })
    }
}

/// Takes standard input in: how much it is has to be known before the first byte is sent.
fn spooled() -> io::Result<tempfile::NamedTempFile> {
    let mut spool = tempfile::NamedTempFile::new()?;
    io::copy(&mut io::stdin().lock(), &mut spool)?;
    Ok(spool)
}

/// The mount point, where the first word is one, and the files.
fn take_apart(typed: &[PathBuf]) -> Result<(Option<PathBuf>, &[PathBuf]), ExitCode> {
    let table = MountTable::read()
        .map_err(|error| failed(&format!("the mount table cannot be read: {error}")))?;
    let Some((first, rest)) = typed.split_first() else {
        return Ok((None, typed));
    };
    let is_mount = |path: &PathBuf| table.at(path).is_some_and(MountEntry::is_ours);
    match resolve(first).ok().filter(is_mount) {
        Some(mountpoint) => Ok((Some(mountpoint), rest)),
        None => Ok((None, typed)),
    }
}

/// A media type as the service takes it.
fn media_type(text: &str) -> Result<String, String> {
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c))
    };
    match text.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Ok(text.to_owned()),
        _ => Err("it has to be like text/plain".to_owned()),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = parse_time(text)?;
    if LIFETIMES.contains(&time) {
        Ok(time)
    } else {
        Err("the service takes 1h to 90d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_two_tokens() {
        for (text, is_one) in [
            ("text/plain", true),
            ("image/svg+xml", true),
            ("application/vnd.ms-excel", true),
            ("plain", false),
            ("text/", false),
            ("/plain", false),
            ("text/plain; charset=utf-8", false),
            ("text/pl\nain", false),
        ] {
            assert_eq!(media_type(text).is_ok(), is_one, "{text:?}");
        }
    }
}
