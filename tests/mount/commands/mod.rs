//! The commands for people who work with Claude, as they are typed: what is printed, with which exit code, and what it
//! costs at the service.

mod blocks;
mod doctor;
mod exits;
mod files;
mod giving;
mod guard;
mod prune;
mod status;
mod status_watch;
mod transfers;
mod trash;
mod watch;

use std::process::Command;

use serde_json::Value;

use crate::harness::World;

/// What a command left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// It ended with this code and printed this.
    #[track_caller]
    fn prints(&self, code: i32, out: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, out, "{}", self.err);
        assert_eq!(self.err.is_empty(), code == 0, "{}", self.err);
    }

    /// It printed nothing, ended with this code and said this.
    #[track_caller]
    fn complains(&self, code: i32, part: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        assert!(self.err.starts_with("afs: "), "{}", self.err);
        assert!(self.err.contains(part), "{}", self.err);
    }

    /// The same where the first use of a workspace, or the end of a transfer, may be told of.
    #[track_caller]
    fn prints_beside_notices(&self, code: i32, out: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert_eq!(self.out, out, "{}", self.err);
        assert!(!self.err.contains("afs: "), "{}", self.err);
    }

    /// It was typed wrongly, which the parser says in its own words.
    #[track_caller]
    fn is_refused_by_the_parser(&self) {
        assert_eq!(self.code, Some(2), "{}{}", self.out, self.err);
        assert!(self.err.starts_with("error: "), "{}", self.err);
    }

    #[track_caller]
    fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.out);
        parsed.unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("afs runs");
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Runs `afs COMMAND MOUNTPOINT WORDS`, mounted or not. Other tests have mounts of their own.
fn afs(world: &World, command: &str, words: &[&str]) -> Ran {
    let mut afs = world.afs();
    afs.env("TZ", "UTC")
        .arg(command)
        .arg("--state-dir")
        .arg(world.state_root())
        .arg(world.dir.path().join("mnt"))
        .args(words);
    ran(&mut afs)
}
