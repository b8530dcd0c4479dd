//! What a mount knows of its user stays in its memory: not in what it logs at its most talkative, not in what it keeps,
//! not in what anybody can ask it, not in what it starts, and not in a core file.
//!
//! [`encodings`] is what a secret looks like; [`Texts`] is what is searched for it.

mod children;
mod encodings;
mod mounts;
mod servers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{KEY, World};
use encodings::encodings;

/// In [`KEY`], and in the header below.
const CANARY: &str = "canary";

/// A header that is secret as well.
const HEADER: &str = "canary/9+x yz";

/// A world whose programs say all they can, to a service with a header of the user's own.
fn talkative() -> World {
    let mut world = World::new();
    world.logs = "trace";
    world.variables = vec![("ANTHROPIC_CUSTOM_HEADERS", format!("X-Gateway: {HEADER}"))];
    world.output("output.csv", b"1,2");
    world
}

/// Texts that must not tell a secret, each with what it is.
#[derive(Default)]
struct Texts(Vec<(String, Vec<u8>)>);

impl Texts {
    fn add(&mut self, what: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((what.into(), text.into()));
    }

    /// Both outputs of a program.
    fn add_output(&mut self, what: impl Into<String>, output: &Output) {
        self.add(what, [&output.stdout[..], &output.stderr].concat());
    }

    /// What a command of ours says.
    fn add_answer(&mut self, mut command: Command) {
        let output = command.output().expect("it ran");
        assert!(!output.stdout.is_empty(), "{command:?} says nothing");
        self.add_output(format!("{command:?}"), &output);
    }

    /// Every file below a directory that is to be this user's alone.
    fn add_private(&mut self, directory: &Path) {
        let mut paths = Vec::new();
        below(directory, &mut paths);
        for path in paths {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
            if path.is_file() {
                let name = path.display().to_string();
                self.add(name, fs::read(&path).unwrap());
            }
        }
    }

    /// All of them are as they should be, and so many.
    fn tell_nothing(&self, at_least: usize) {
        let names: Vec<_> = self.0.iter().map(|(what, _)| what).collect();
        assert!(names.len() >= at_least, "{names:?}");
        for (what, text) in &self.0 {
            if let Some(how) = told(text) {
                let text = String::from_utf8_lossy(text);
                panic!("a secret {how} in {what}: {text}");
            }
        }
    }

    fn of(&self, what: &str) -> String {
        let found = self.0.iter().find(|(name, _)| name.contains(what));
        let (_, text) = found.unwrap_or_else(|| panic!("no text of {what}"));
        String::from_utf8_lossy(text).into_owned()
    }
}

/// How a text tells a secret, if it does.
fn told(text: &[u8]) -> Option<String> {
    assert!(KEY.contains(CANARY));
    let lower = text.to_ascii_lowercase();
    [CANARY, KEY, HEADER].into_iter().find_map(|secret| {
        let found = encodings(secret).into_iter().find(|(_, written)| {
            let written = written.as_bytes();
            memchr::memmem::find(text, written)
                .or_else(|| memchr::memmem::find(&lower, written))
                .is_some()
        });
        found.map(|(how, written)| format!("{how} ({written})"))
    })
}

/// All directories, files and sockets below one, itself included. Links are not followed.
fn below(path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.to_owned());
    if path.symlink_metadata().expect("there").is_dir() {
        for entry in fs::read_dir(path).expect("listed") {
            below(&entry.expect("an entry").path(), found);
        }
    }
}

/// A command of ours about a mount.
fn command(world: &World, verb: &str, options: &[&str], path: &Path) -> Command {
    let mut command = world.afs();
    command.arg(verb).args(options).arg(path);
    command
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    for text in [
        format!("key={KEY}"),
        "x-gateway: CANARY".to_owned(),
        // base64 of the key, behind nothing, one and two bytes.
        "c2stdGVzdC1jYW5hcnktNWYzYTlj".to_owned(),
        "OnNrLXRlc3QtY2FuYXJ5LTVmM2E5Yw==".to_owned(),
        "dTpzay10ZXN0LWNhbmFyeS01ZjNhOWM=".to_owned(),
        "a=%63%61%6e%61%72%79".to_owned(),
        "a=canary%2F9%2Bx".to_owned(),
        "63616E617279".to_owned(),
        "[99, 97, 110, 97, 114, 121]".to_owned(),
    ] {
        assert!(told(text.as_bytes()).is_some(), "{text}");
    }
    for text in ["", "can, ary", "sk-test", "Y2FuYX"] {
        assert_eq!(told(text.as_bytes()), None, "{text}");
    }
}
