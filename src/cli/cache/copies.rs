//! `afs cache list`, `evict`, `pin` and `unpin`: the downloaded copies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, HumanDuration, ProgressBar};
use serde::Serialize;

use crate::cli::place::Place;
use crate::cli::places::{Places, StateDir};
use crate::cli::status::print_json;
use crate::cli::talk::{NOTHING_MOUNTED, printable};
use crate::cli::{failed, nothing_matched, typed_wrongly, worse};
use crate::control::{Download, Downloads, Reply, Request};
use crate::mount::prepare::resolve;
use crate::state::now;

/// Between two lines of progress where they don't overwrite each other.
const PLAIN_PACE: Duration = Duration::from_secs(10);

/// What can be typed after `afs cache list`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs cache list                  what is downloaded of every mount of yours
  afs cache list ~/claude-files   also where it is not mounted now
  afs cache list --json | jq .    for scripts

Size, last use, whether it is pinned, id and name of each output whose bytes
are on this machine. Copies of your own uploads are not among them.")]
pub(super) struct ListArguments {
    /// Where it is or was mounted; every mount where none is named, and every workspace where nothing is mounted
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// Print JSON, a list with one object a workspace
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateDir,
}

/// What can be typed after `afs cache evict`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs cache evict [MOUNTPOINT] NAME|ID...\n       afs cache evict [MOUNTPOINT] --all",
    after_long_help = "\
Examples:
  afs cache evict chart.png       the next read downloads it again
  afs cache evict ~/claude-files/*.png
  afs cache evict ~/claude-files file_011CNha8iCJcU1wXNR6q4V8w
  afs cache evict --all           everything that is neither pinned nor open

The first word may say where it is or was mounted; the others are names, ids,
or paths of files. Copies of your own uploads stay: they are the only ones.
Exit code 1 where a copy had to stay, 3 where nothing is downloaded under a
name."
)]
pub(super) struct EvictArguments {
    /// Names in the mount, ids, or paths of files; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required_unless_present = "all")]
    names: Vec<PathBuf>,
    /// All downloaded copies but those that are pinned or open
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    state: StateDir,
}

/// What can be typed after `afs cache pin`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs cache pin [MOUNTPOINT] NAME|ID...",
    after_long_help = "\
Examples:
  afs cache pin chart.png         downloads it, where that is not done yet
  afs cache pin ~/claude-files/.afs/outputs/*
                                  every output

The first word may say where it is or was mounted; the others are names, ids,
or paths of files. A pinned copy stays, whatever --cache-size says, until it is
unpinned or the file is deleted. A newer file of the same name is another one."
)]
pub(super) struct PinArguments {
    /// Names in the mount, ids, or paths of files; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<PathBuf>,
    #[command(flatten)]
    state: StateDir,
}

/// What can be typed after `afs cache unpin`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs cache unpin [MOUNTPOINT] NAME|ID...",
    after_long_help = "\
Examples:
  afs cache unpin chart.png       its copy goes again when others need the room

The first word may say where it is or was mounted; the others are names, ids,
or paths of files. Exit code 3 where nothing is pinned under a name."
)]
pub(super) struct UnpinArguments {
    /// Names in the mount, ids, or paths of files; before them the mount point, where several are mounted
    #[arg(value_name = "NAME|ID", required = true)]
    names: Vec<PathBuf>,
    #[command(flatten)]
    state: StateDir,
}

/// The copies of a workspace, for scripts.
#[derive(Serialize)]
struct Listed {
    mountpoint: String,
    limit: u64,
    bytes: u64,
    copies: Vec<Download>,
}

/// Prints the downloaded copies.
pub(super) fn list(arguments: &ListArguments) -> ExitCode {
    let typed: Vec<PathBuf> = arguments.mountpoint.iter().cloned().collect();
    let places = match found(&typed, arguments.state.dir(), true) {
        Ok((places, _)) => places,
        Err(why) => return nothing_matched(&why),
    };
    let mut exit = ExitCode::SUCCESS;
    let mut known = Vec::new();
    for mut place in places {
        match place.ask(&Request::Downloads, &mut |_| {}) {
            Ok(Reply::Downloads(Downloads { limit, copies })) => known.push(Listed {
                mountpoint: place.path().display().to_string(),
                limit,
                bytes: here(&copies).map(|copy| copy.size).sum(),
                copies,
            }),
            Ok(other) => exit = unexpected(&place, &other),
            Err(why) => exit = failed(&format!("{}: {why}", place.path().display())),
        }
    }
    if arguments.json {
        print_json(&known);
    } else if known.is_empty() && exit == ExitCode::SUCCESS {
        say!("{NOTHING_MOUNTED}");
    } else {
        let several = known.len() > 1;
        for listed in &known {
            if several {
                say!("{}", listed.mountpoint);
            }
            print(listed);
        }
    }
    exit
}

fn here(copies: &[Download]) -> impl Iterator<Item = &Download> {
    copies.iter().filter(|copy| copy.last_used.is_some())
}

fn print(listed: &Listed) {
    let now = now();
    for copy in &listed.copies {
        say!("{}", line(copy, now));
    }
    let count = match here(&listed.copies).count() {
        0 => "nothing is downloaded".to_owned(),
        1 => format!("1 downloaded copy, {}", HumanBytes(listed.bytes)),
        count => format!("{count} downloaded copies, {}", HumanBytes(listed.bytes)),
    };
    say!("{count}; the limit is {}", HumanBytes(listed.limit));
}

/// A copy as a line; the name last, for it may have any length.
fn line(copy: &Download, now: i64) -> String {
    let used = copy.last_used.map_or_else(
        || "not downloaded".to_owned(),
        |used| {
            let ago = now.saturating_sub(used).max(0) as u64;
            format!("{} ago", HumanDuration(Duration::from_millis(ago)))
        },
    );
    let pinned = if copy.pinned { "pinned" } else { "" };
    let name = match &copy.name {
        Some(name) => printable(name),
        None => "(not in the mount any more)".to_owned(),
    };
    let size = HumanBytes(copy.size).to_string();
    let id = printable(&copy.id);
    format!("{size:>12}  {used:<16}  {pinned:<6}  {id}  {name}")
}

/// Removes downloaded copies.
pub(super) fn evict(arguments: &EvictArguments) -> ExitCode {
    let state_dir = arguments.state.dir();
    if !arguments.all {
        return each(&arguments.names, state_dir, "evict", &|what| {
            Request::Evict { what }
        });
    }
    if arguments.names.len() > 1 {
        return typed_wrongly(&"with --all there is nothing to name but a mount point");
    }
    match found(&arguments.names, state_dir, true) {
        Ok((places, _)) if places.is_empty() => {
            say!("{NOTHING_MOUNTED}");
            ExitCode::SUCCESS
        }
        Ok((places, _)) => places
            .into_iter()
            .map(evict_all)
            .fold(ExitCode::SUCCESS, worse),
        Err(why) => nothing_matched(&why),
    }
}

fn evict_all(mut place: Place) -> ExitCode {
    let path = place.path().display().to_string();
    match place.ask(&Request::EvictAll, &mut |_| {}) {
        Ok(Reply::EvictedAll {
            count,
            bytes,
            pinned,
            open,
        }) => {
            let stay = match pinned {
                0 => String::new(),
                pinned => format!("; {pinned} pinned stay"),
            };
            say!("{path}: {count} evicted, {}{stay}", HumanBytes(bytes));
            match open.first() {
                None => ExitCode::SUCCESS,
                Some(first) => failed(&format!(
                    "{path}: {} open in some program and stay ({}); try again when they are closed",
                    open.len(),
                    printable(first)
                )),
            }
        }
        Ok(other) => unexpected(&place, &other),
        Err(why) => failed(&format!("{path}: {why}")),
    }
}

/// Pins downloaded copies.
pub(super) fn pin(arguments: &PinArguments) -> ExitCode {
    let state_dir = arguments.state.dir();
    each(&arguments.names, state_dir, "pin", &|what| Request::Pin {
        what,
    })
}

/// Releases pinned copies.
pub(super) fn unpin(arguments: &UnpinArguments) -> ExitCode {
    let state_dir = arguments.state.dir();
    each(&arguments.names, state_dir, "unpin", &|what| {
        Request::Unpin { what }
    })
}

/// Asks the one workspace that was meant for something about each file that was named.
fn each(
    typed: &[PathBuf],
    state_dir: Option<&Path>,
    word: &str,
    request: &dyn Fn(String) -> Request,
) -> ExitCode {
    let (mut places, names) = match found(typed, state_dir, false) {
        Ok(found) => found,
        Err(why) => return nothing_matched(&why),
    };
    if names.is_empty() {
        return typed_wrongly(&format!(
            "say what: afs cache {word} MOUNTPOINT NAME, a name or an id"
        ));
    }
    if places.len() > 1 {
        return typed_wrongly(&format!(
            "there are several workspaces; say in which: afs cache {word} MOUNTPOINT NAME"
        ));
    }
    let Some(place) = places.first_mut() else {
        return nothing_matched(&NOTHING_MOUNTED);
    };
    let done = names.into_iter().map(|name| one(place, &request(name)));
    done.fold(ExitCode::SUCCESS, worse)
}

fn one(place: &mut Place, request: &Request) -> ExitCode {
    let bar = ProgressBar::new_spinner();
    let mut speaks_at = Instant::now() + PLAIN_PACE;
    let answer = place.ask(request, &mut |reply| {
        if let Reply::Downloading { name, done, size } = reply {
            let words = format!(
                "{}: {} of {}",
                printable(name),
                HumanBytes(*done),
                HumanBytes(*size)
            );
            bar.set_message(words.clone());
            bar.tick();
            if bar.is_hidden() && Instant::now() >= speaks_at {
                tell!("{words}");
                speaks_at = Instant::now() + PLAIN_PACE;
            }
        }
    });
    bar.finish_and_clear();
    match answer {
        Ok(Reply::Evicted { name, size }) => {
            say!("evicted {}, {}", printable(&name), HumanBytes(size));
        }
        Ok(Reply::Pinned { name, size }) => {
            say!("pinned {}, {}", printable(&name), HumanBytes(size));
        }
        Ok(Reply::Unpinned { name }) => say!("unpinned {}", printable(&name)),
        Ok(Reply::Unmatched { why }) => return nothing_matched(&printable(&why)),
        Ok(other) => return unexpected(place, &other),
        Err(why) => return failed(&printable(&why)),
    }
    ExitCode::SUCCESS
}

/// The workspaces that were meant, and the names; `lone` is the mount point itself.
fn found(
    typed: &[PathBuf],
    state_dir: Option<&Path>,
    lone: bool,
) -> Result<(Vec<Place>, Vec<String>), String> {
    if lone {
        let mountpoint = typed.first().map(|path| resolve(path)).transpose();
        let mountpoint = mountpoint.map_err(|error| error.to_string())?;
        let typed: Vec<PathBuf> = mountpoint.iter().cloned().collect();
        let places = Places::look(&typed, state_dir)?;
        return Ok((places.chosen(mountpoint.as_deref())?, Vec::new()));
    }
    let places = Places::look(typed, state_dir)?;
    let taken = places.take_apart(typed)?;
    Ok((places.chosen(taken.mountpoint.as_deref())?, taken.names))
}

fn unexpected(place: &Place, reply: &Reply) -> ExitCode {
    let error = crate::cli::talk::unexpected(reply);
    failed(&format!("{}: {error}", place.path().display()))
}
