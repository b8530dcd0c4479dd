//! What `afs doctor` looks at: what is wrong with this machine, the key, the state and the mounts.
//!
//! A *finding* is what one check came to: how it is, what was seen and, where something is to be done, what. A check is a
//! function from facts to findings. Where the facts of a machine lie is said by [`Machine`], so that tests can plant them.
//!
//! No check changes anything, and none may hang: what a dead mount or a lost server could hold up is looked at by a helper
//! program first, the service gets one request with a deadline, and all checks run beside one another under a last one.
//!
//! - `fuse`: what mounting takes
//! - `service`: the key and the host
//! - `clock`: this machine's, by the service's
//! - `credentials`: those of the official clients, which are not read here
//! - `disk`: the directories of state and cache
//! - `pending`: what has not reached the service
//! - `mounts`: those of this machine
//! - `scanners`: programs that look at everything by themselves
//! - `files`: what would become of files that are to be uploaded

mod clock;
mod credentials;
mod disk;
mod files;
mod fuse;
mod mounts;
mod pending;
mod scanners;
mod service;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::table::MountTable;
use super::{helper, sys, unmount};
use crate::config::{ConfigError, MountRequest, ServiceSettings, Surroundings};

pub use files::{Naming, look_at};

/// How long a helper program may take to look at something.
const LOOK: Duration = Duration::from_secs(2);

/// How long a check may take. Each has deadlines of its own that are shorter.
const LIMIT: Duration = Duration::from_secs(15);

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be, or only to be known.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two that stay the same.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub found: String,
    /// What to do about it; none where it is well.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn warn(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Warn,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn fail(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(check, found, remedy)
        }
    }
}

/// Where the facts of a machine are.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What `/` is: `etc`, `proc` and `usr` are looked for below it.
    root: PathBuf,
    /// The home directory, where there is one that answers.
    home: Option<PathBuf>,
    /// The directories of `PATH`.
    path: Vec<PathBuf>,
    /// The program that mounts for those who may not.
    fusermount: Option<PathBuf>,
    is_root: bool,
    /// Whether this process may mount by itself.
    may_mount: bool,
    table: MountTable,
    /// Of the variables that [`credentials`] and [`service`] know those that are set, with their values; none is a secret.
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    /// The one this runs on; fails where the kernel's mount table can't be read.
    pub fn here(around: &Surroundings<'_>) -> io::Result<Self> {
        let set = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        let text = |name: &'static str| Some((name, set(name)?.to_string_lossy().into_owned()));
        let home = set("HOME").map(PathBuf::from);
        let names = credentials::VARIABLES.iter().chain(&service::PROXIES);
        Ok(Self {
            root: "/".into(),
            home: home.filter(|home| home.is_absolute() && helper::answers(home, LOOK)),
            path: std::env::split_paths(&set("PATH").unwrap_or_default()).collect(),
            fusermount: unmount::fusermount(),
            is_root: around.uid == 0,
            may_mount: sys::may_mount(),
            table: MountTable::read()?,
            variables: names.filter_map(|name| text(name)).collect(),
        })
    }

    /// Where a file of the system is, given by its absolute path.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let mut set = self.variables.iter();
        set.find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first of these programs that is in `PATH` or in one of these directories of the system.
    fn program(&self, names: &[&str], directories: &[&str]) -> Option<PathBuf> {
        let own = directories.iter().map(|directory| self.at(directory));
        let all: Vec<PathBuf> = self.path.iter().cloned().chain(own).collect();
        unmount::find_program(names, &all)
    }
}

/// What is to be examined: the settings that a mount would have.
#[derive(Debug, Clone)]
pub struct Case {
    /// How the service would be spoken to, or why not.
    service: Result<ServiceSettings, ConfigError>,
    state_root: Result<PathBuf, ConfigError>,
    cache_root: Result<PathBuf, ConfigError>,
}

impl Case {
    /// That of a request. It reads the key: forget the secrets of the environment after that. What was typed wrongly is an
    /// error.
    pub fn of(request: &MountRequest, around: &Surroundings<'_>) -> Result<Self, ConfigError> {
        let named = |dir: &Option<PathBuf>, usual: &dyn Fn() -> Result<PathBuf, ConfigError>| {
            let Some(dir) = dir else { return usual() };
            std::path::absolute(dir).map_err(|error| {
                ConfigError::Unusable(format!(
                    "{} cannot be made absolute: {error}",
                    dir.display()
                ))
            })
        };
        let held_up = |path: &&PathBuf| !helper::answers(path, LOOK);
        let service = match request.key_file.as_ref().filter(held_up) {
            Some(path) => Err(ConfigError::Unusable(format!(
                "the key file {} does not answer",
                path.display()
            ))),
            None => request.service(around),
        };
        if let Err(error @ ConfigError::Usage(_)) = service {
            return Err(error);
        }
        Ok(Self {
            service,
            state_root: named(&request.state_dir, &|| around.state_root()),
            cache_root: named(&request.cache_dir, &|| around.cache_root()),
        })
    }
}

type Check = Box<dyn FnOnce() -> Vec<Finding> + Send>;

/// Runs all checks but those of files.
#[must_use]
pub fn examine(case: Case, machine: Machine) -> Vec<Finding> {
    let machine = Arc::new(machine);
    let mut checks: Vec<(&'static str, Check)> = Vec::new();
    let on = Arc::clone(&machine);
    checks.push(("fuse", Box::new(move || fuse::examine(&on))));
    let (on, service) = (Arc::clone(&machine), case.service);
    checks.push(("service", Box::new(move || service::examine(&service, &on))));
    let state = case.state_root.clone();
    let on = Arc::clone(&machine);
    checks.push((
        "state",
        Box::new(move || disk::examine(&disk::STATE, state, &on)),
    ));
    let on = Arc::clone(&machine);
    let cache = case.cache_root;
    checks.push((
        "cache",
        Box::new(move || disk::examine(&disk::CACHE, cache, &on)),
    ));
    if let Ok(state) = case.state_root {
        checks.push(("pending", Box::new(move || pending::examine(&state))));
    }
    for entry in machine.table.ours() {
        let entry = entry.clone();
        let is_own = entry.owner().is_none_or(|owner| owner == sys::uid());
        let check = move || vec![mounts::examine(&entry, is_own)];
        checks.push((mounts::MOUNT, Box::new(check)));
    }
    if machine.table.ours().next().is_none() {
        checks.push((mounts::MOUNT, Box::new(|| vec![mounts::none()])));
    }
    checks.push(("scanners", Box::new(move || scanners::examine(&machine))));
    all_of(checks, LIMIT)
}

/// Runs checks beside one another; the findings in their order. A check that takes longer than `limit` is left behind.
fn all_of(checks: Vec<(&'static str, Check)>, limit: Duration) -> Vec<Finding> {
    let until = Instant::now() + limit;
    let running: Vec<(&'static str, Receiver<Vec<Finding>>)> = checks
        .into_iter()
        .map(|(name, check)| {
            let (say, heard) = channel();
            // Where there is no thread to be had nobody says anything, which is a finding too.
            let _ = thread::Builder::new()
                .name(format!("afs-{name}"))
                .spawn(move || say.send(check()));
            (name, heard)
        })
        .collect();
    let findings = running.into_iter().flat_map(|(name, heard)| {
        let left = until.saturating_duration_since(Instant::now());
        heard.recv_timeout(left).unwrap_or_else(|why| {
            let found = match why {
                RecvTimeoutError::Timeout => {
                    format!(
                        "this look took more than {} s and was given up",
                        limit.as_secs()
                    )
                }
                RecvTimeoutError::Disconnected => "this look broke off".to_owned(),
            };
            let remedy = "look for a disk or a server that does not answer: df, dmesg";
            vec![Finding::fail(name, found, remedy)]
        })
    });
    findings.collect()
}

/// A sentence as the house writes them, taken apart: what is wrong, and what to do. `otherwise` where it does not say.
fn in_two(sentence: &str, otherwise: &str) -> (String, String) {
    match sentence.rsplit_once("; ") {
        Some((wrong, remedy)) => (wrong.to_owned(), remedy.to_owned()),
        None => (sentence.to_owned(), otherwise.to_owned()),
    }
}

/// Whether a path lies in a directory, or is it.
fn lies_in(path: &Path, directory: &Path) -> bool {
    !directory.as_os_str().is_empty() && path.starts_with(directory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;

    use super::*;

    /// A machine with nothing in it; its files are to be planted below `root`, the home directory is `root/home`.
    pub(super) fn bare_machine(root: &Path) -> Machine {
        fs::create_dir_all(root.join("home")).unwrap();
        Machine {
            root: root.to_owned(),
            home: Some(root.join("home")),
            path: Vec::new(),
            fusermount: None,
            is_root: false,
            may_mount: false,
            table: MountTable::default(),
            variables: Vec::new(),
        }
    }

    /// Plants a file, with its directories.
    pub(super) fn plant(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A finding is of this level, says this and has a remedy with this in it; `""`: none.
    #[track_caller]
    pub(super) fn is(finding: &Finding, level: Level, says: &str, remedy: &str) {
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.found.contains(says), "{says}: {finding:?}");
        let has = finding.remedy.as_deref().unwrap_or_default();
        assert!(has.contains(remedy), "{remedy}: {finding:?}");
        assert_eq!(has.is_empty(), level == Level::Ok, "{finding:?}");
    }

    #[test]
    fn a_check_that_hangs_or_breaks_off_is_a_finding_and_the_others_go_on() {
        let (_held, hold) = mpsc::channel::<()>();
        let checks: Vec<(&'static str, Check)> = vec![
            ("fine", Box::new(|| vec![Finding::ok("fine", "well")])),
            (
                "hung",
                Box::new(move || {
                    let _ = hold.recv();
                    Vec::new()
                }),
            ),
            (
                "broken",
                Box::new(|| std::panic::resume_unwind(Box::new(()))),
            ),
        ];
        // The others are done by then: a deadline that is over is none for what has been said.
        let findings = all_of(checks, Duration::from_secs(1));
        assert_eq!(findings.len(), 3);
        is(&findings[0], Level::Ok, "well", "");
        is(
            &findings[1],
            Level::Fail,
            "took more than 1 s",
            "does not answer",
        );
        is(&findings[2], Level::Fail, "broke off", "does not answer");
    }

    #[test]
    fn a_sentence_has_its_remedy_behind_the_last_semicolon() {
        for (sentence, wrong, remedy) in [
            ("a: b; do c: d", "a: b", "do c: d"),
            ("a; b; do c", "a; b", "do c"),
            ("a: b", "a: b", "else"),
        ] {
            let expected = (wrong.to_owned(), remedy.to_owned());
            assert_eq!(in_two(sentence, "else"), expected);
        }
    }
}
