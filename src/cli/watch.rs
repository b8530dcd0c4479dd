//! `afs watch`: what tools make lands in a directory of this machine as it appears.

use std::collections::HashSet;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;

use super::files::{Placed, all};
use super::place::Place;
use super::places::is_path;
use super::reaching::Reaching;
use super::talk::{printable, reach};
use super::transfers::{Landed, land, workspace};
use super::{failed, refused, typed_wrongly};
use crate::config::parse_time;
use crate::control::{FileEntry, Which};
use crate::mount::sys::Signals;
use crate::names::suffixed;

/// What was delivered to a directory, or was there before: an id a line. It is how a watch goes on where it was.
const LEDGER: &str = ".afs-watch";

/// What can be typed after `afs watch`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs watch --to ~/Desktop/charts what tools make from now on, as it appears
  afs watch --to charts --existing --glob '*.png'
                                  what is there already too, and pictures only
  afs watch --to out --json | while read -r line; do ...
                                  one object a line, for scripts

Files appear whole or not at all. Nothing is overwritten: where a name is
taken the newer file has a part of its id in its name. Ends with Ctrl-C; the
next watch to the same directory delivers what came meanwhile (it keeps a
list of ids there, .afs-watch). It costs a list request each time it looks,
and a download a file. On a desktop each arrival is announced, by notify-send.")]
pub struct WatchArguments {
    /// Where it is mounted, where several workspaces are
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,
    /// The directory they land in; it is made where it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Only files of such names; * is any run of characters, ? any one
    #[arg(long, value_name = "GLOB")]
    glob: Option<String>,
    /// Deliver what is there already, too
    #[arg(long)]
    existing: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    every: Duration,
    /// Don't announce arrivals on the desktop
    #[arg(long)]
    quiet: bool,
    /// Print JSON, an object a line for each file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// An arrival, for scripts.
#[derive(Serialize)]
struct Arrival<'a> {
    path: &'a Path,
    #[serde(flatten)]
    file: &'a FileEntry,
}

/// Delivers until it is told to end.
#[must_use]
pub fn run(arguments: &WatchArguments) -> ExitCode {
    watch(arguments).unwrap_or_else(|said| said)
}

fn watch(arguments: &WatchArguments) -> Result<ExitCode, ExitCode> {
    // Before there are other threads: they inherit which signals are blocked.
    let told = ends().map_err(|error| failed(&format!("signals can't be waited for: {error}")))?;
    let to = &arguments.to;
    let unusable = |error: io::Error| failed(&format!("{} can't be used: {error}", to.display()));
    if let Some(word) = &arguments.mountpoint
        && !is_path(word)
    {
        return Err(typed_wrongly(&format!(
            "{} is no mount point; files are chosen with --glob",
            printable(&word.to_string_lossy())
        )));
    }
    let mut place = workspace(arguments.mountpoint.as_deref(), &arguments.reaching, false)?;
    let is_inside = std::path::absolute(to).is_ok_and(|to| to.starts_with(place.path()));
    if is_inside && matches!(place, Place::Mounted(_)) {
        return Err(refused(&format!(
            "{} is in the mount itself: what lands there would be uploaded again",
            to.display()
        )));
    }
    let which = Which {
        glob: arguments.glob.clone(),
        session: None,
        downloadable: Some(true),
        fresh: true,
    };
    // What comes after this look is new, also what comes before the ledger is there.
    let before = if arguments.existing || to.join(LEDGER).exists() {
        Vec::new()
    } else {
        all(&mut place, &which).map_err(|why| failed(&printable(&why)))?
    };
    fs::create_dir_all(to).map_err(unusable)?;
    let mut ledger = Ledger::open(to).map_err(unusable)?;
    ledger
        .note(before.iter().map(|placed| &placed.file))
        .map_err(unusable)?;
    let mut watch = Watch {
        arguments,
        place,
        ledger,
        complained: None,
    };
    loop {
        let is_over = watch.deliver(&which, &told);
        if is_over || told.recv_timeout(arguments.every).is_ok() {
            watch.place.end();
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Hears of the signals that end it. The second of them ends it in the middle of a file.
fn ends() -> io::Result<Receiver<()>> {
    let signals = Signals::block()?;
    let (tell, told) = channel();
    thread::Builder::new()
        .name("afs-signals".into())
        .spawn(move || {
            let _first = signals.wait();
            let _ = tell.send(());
            let _second = signals.wait();
            std::process::exit(1);
        })?;
    Ok(told)
}

struct Watch<'a> {
    arguments: &'a WatchArguments,
    place: Place,
    ledger: Ledger,
    /// What went wrong at the last look: said once, not every ten seconds.
    complained: Option<String>,
}

impl Watch<'_> {
    /// Delivers what is new; whether it was told to end meanwhile. What fails is tried again at the next look.
    fn deliver(&mut self, which: &Which, told: &Receiver<()>) -> bool {
        let files = match all(&mut self.place, which) {
            Ok(files) => files,
            Err(why) => {
                self.complain(printable(&why));
                self.reach_again();
                return false;
            }
        };
        self.complained = None;
        for Placed { file, .. } in files {
            if self.ledger.has(&file) || file.expired {
                continue;
            }
            if let Ok(path) = self.bring(&file) {
                self.tell(&path, &file);
                if let Err(error) = self.ledger.note([&file]) {
                    self.complain(format!("{LEDGER} can't be written: {error}"));
                }
            }
            if told.try_recv().is_ok() {
                return true;
            }
        }
        false
    }

    /// A mount may have ended, and another one come.
    fn reach_again(&mut self) {
        if let Place::Mounted(before) = &self.place
            && let Some(mount) = reach(Some(&before.mountpoint))
                .ok()
                .and_then(|mut all| all.pop())
        {
            self.place = Place::Mounted(mount);
        }
    }

    /// Brings one, under another name where its own is taken.
    fn bring(&mut self, file: &FileEntry) -> Result<PathBuf, ExitCode> {
        let id = file.id.as_deref().unwrap_or_default();
        let to = self.arguments.to.join(&file.name);
        let to = if fs::symlink_metadata(&to).is_ok() {
            let is_taken = |name: &str| fs::symlink_metadata(self.arguments.to.join(name)).is_ok();
            self.arguments.to.join(suffixed(&file.name, id, is_taken))
        } else {
            to
        };
        let Landed { path, .. } = land(&mut self.place, id, &to)?;
        Ok(path)
    }

    fn tell(&self, path: &Path, file: &FileEntry) {
        if self.arguments.json {
            match serde_json::to_string(&Arrival { path, file }) {
                Ok(line) => say!("{line}"),
                Err(error) => drop(failed(&error)),
            }
        } else {
            let shown = printable(&path.to_string_lossy());
            say!("{shown}  {}", HumanBytes(file.size_bytes));
        }
        if !self.arguments.quiet {
            announce(&file.name, &self.arguments.to);
        }
    }

    fn complain(&mut self, why: String) {
        if self.complained.as_ref() != Some(&why) {
            tell!("afs: {why}; it is tried again");
            self.complained = Some(why);
        }
    }
}

/// Announces an arrival, where there is a desktop to do so on.
fn announce(name: &str, to: &Path) {
    let has_bus = env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
        || env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
    if !has_bus {
        return;
    }
    let announced = Command::new("notify-send")
        .args(["--app-name=afs", "--icon=document-save", "--"])
        // The second is markup to some desktops, the first is not.
        .arg(printable(name))
        .arg(format!("arrived in {}", to.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = announced {
        log::debug!("no announcement: {error}");
    }
}

/// What a directory has been given.
struct Ledger {
    file: File,
    ids: HashSet<String>,
}

impl Ledger {
    fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LEDGER);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            // Cut by a crash: what it was about is delivered again, which finds it there.
            file.write_all(b"\n")?;
        }
        let ids = text.lines().map(str::to_owned).collect();
        Ok(Self { file, ids })
    }

    fn has(&self, file: &FileEntry) -> bool {
        file.id.as_ref().is_none_or(|id| self.ids.contains(id))
    }

    fn note<'f>(&mut self, files: impl IntoIterator<Item = &'f FileEntry>) -> io::Result<()> {
        let mut text = String::new();
        for id in files.into_iter().filter_map(|file| file.id.as_ref()) {
            text.push_str(id);
            text.push('\n');
            self.ids.insert(id.clone());
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}
