//! The command line through its front door: what is said, and with which exit code. Nothing here is mounted.

mod config;
mod emulator;
mod manual;
mod mount;
mod unmount;

use std::path::Path;

use assert_cmd::Command;

/// The program, in an environment of its own: no key, no address, a home directory that is `home`.
fn afs(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afs"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .timeout(std::time::Duration::from_secs(60));
    command
}

/// What a run left behind: exit code, standard output, standard error.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// It failed with this code and one sentence that says `parts`.
    fn complains(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(
            self.err.lines().count(),
            1,
            "more than one line: {}",
            self.err
        );
        assert!(self.err.starts_with("afs: "), "{}", self.err);
        for part in parts {
            assert!(
                self.err.contains(part),
                "\"{part}\" is not in: {}",
                self.err
            );
        }
        assert_eq!(self.out, "");
    }
}

/// Every command, in the order of the help, and those below it.
const COMMANDS: [(&str, &[&str]); 23] = [
    ("mount", &[]),
    ("unmount", &[]),
    ("ls", &[]),
    ("id", &[]),
    ("block", &[]),
    ("show", &[]),
    ("find", &[]),
    ("put", &[]),
    ("get", &[]),
    ("rm", &[]),
    ("watch", &[]),
    ("status", &[]),
    ("pending", &[]),
    ("doctor", &[]),
    ("flush", &[]),
    ("cache", &["list", "evict", "pin", "unpin", "verify"]),
    ("trash", &["list", "restore", "empty"]),
    ("prune", &[]),
    ("allow-deletes", &[]),
    ("config", &[]),
    ("completions", &[]),
    ("man", &[]),
    ("emulator", &[]),
];

fn all_commands() -> impl Iterator<Item = Vec<&'static str>> {
    COMMANDS.into_iter().flat_map(|(command, below)| {
        let own = std::iter::once(vec![command]);
        own.chain(below.iter().map(move |name| vec![command, *name]))
    })
}

#[test]
fn help_is_one_screen_with_every_command_and_how_they_end() {
    let home = tempfile::tempdir().unwrap();
    for flag in ["-h", "--help"] {
        let ran = run(afs(home.path()).arg(flag).env("COLUMNS", "80"));
        assert_eq!(ran.code, Some(0));
        let listed: Vec<&str> = ran
            .out
            .lines()
            .filter_map(|line| {
                line.strip_prefix("  ")?
                    .split_once("  ")
                    .map(|(name, _)| name)
            })
            .filter(|name| !name.contains(' '))
            .collect();
        assert_eq!(listed, COMMANDS.map(|(name, _)| name));
        for part in [
            "\nExamples:",
            "\nExit codes: 0 done, 1 failed",
            "4 refused for safety",
        ] {
            assert!(ran.out.contains(part), "{}", ran.out);
        }
        let is_wide = ran.out.lines().any(|line| line.chars().count() > 80);
        assert!(
            ran.out.lines().count() <= 36 && !is_wide,
            "more than a screen: {}",
            ran.out
        );
    }
}

#[test]
fn every_command_has_examples_in_its_long_help() {
    let home = tempfile::tempdir().unwrap();
    for command in all_commands().chain([vec!["umount"]]) {
        let ran = run(afs(home.path()).args(&command).arg("--help"));
        assert_eq!(ran.code, Some(0), "{command:?}");
        assert!(ran.out.contains("Examples:"), "{command:?}: {}", ran.out);
        assert!(
            !ran.out.contains('`') || command == ["emulator"],
            "{}",
            ran.out
        );
    }
}

#[test]
fn the_version_is_the_packages() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(afs(home.path()).arg("--version"));
    assert_eq!(ran.out.trim(), concat!("afs ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_typed_wrongly_ends_with_2() {
    let home = tempfile::tempdir().unwrap();
    for typed in [
        &[][..],
        &["frobnicate"],
        &["--frobnicate"],
        &["mount", "/a", "/b"],
        &["mount", "--frobnicate", "/a"],
        &["mount", "--cache-size", "10X", "/a"],
        &["cache"],
        &["cache", "evict"],
        &["cache", "evict", "--all", "a", "b"],
        &["cache", "pin"],
        &["cache", "unpin"],
        &["mount", "--refresh", "10", "/a"],
        &["mount", "--timeout", "soon", "/a"],
        &["mount", "--timeout", "0s", "/a"],
        &["mount", "--umask", "999", "/a"],
        &["mount", "--uid", "me", "/a"],
        &["mount", "--mime-type", "*.tex", "/a"],
        &["mount", "--beta", "a,b", "/a"],
        &["mount", "--demo", "--key-file", "k", "/a"],
        &["mount", "-o", "frobnicate", "/a"],
        &["mount", "-o", "ro,exec", "/a"],
        &["unmount"],
        &["unmount", "/a", "/b"],
        &["unmount", "--stale", "--force", "/a"],
        &["config", "--frobnicate"],
        &["config", "--cache-size", "10X"],
        &["completions"],
        &["completions", "tcl"],
        &["man", "mount", "--write", "/a"],
        &["emulator", "--listen", "nowhere"],
        &["emulator", "--quota", "much"],
    ] {
        let ran = run(afs(home.path()).args(typed));
        assert_eq!(ran.code, Some(2), "{typed:?}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{typed:?}");
        assert_eq!(ran.out, "", "{typed:?}");
    }
}

/// As in `afs status | head -1`.
#[test]
fn a_reader_that_has_heard_enough_is_no_reason_to_panic() {
    let home = tempfile::tempdir().unwrap();
    let program = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_afs"));
        command.env_clear().env("HOME", home.path());
        command
    };
    let gone = || std::io::pipe().unwrap().1;
    for typed in [
        &["status"][..],
        &["status", "--json"],
        &["pending"],
        &["pending", "--json"],
        &["cache", "verify"],
        &["cache", "list"],
        &["cache", "list", "--json"],
    ] {
        let ended = program().args(typed).stdout(gone()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!said.contains("panicked"), "{typed:?}: {said}");
        assert!(
            ended.status.code() <= Some(1),
            "{typed:?}: {:?}",
            ended.status
        );
    }
}

#[test]
fn no_line_of_help_is_broken_in_two() {
    let home = tempfile::tempdir().unwrap();
    for command in all_commands().filter(|command| command != &["emulator"]) {
        let mut wide = afs(home.path());
        let narrow = run(afs(home.path())
            .args(&command)
            .arg("--help")
            .env("COLUMNS", "80"));
        let wide = run(wide.args(&command).arg("--help").env("COLUMNS", "100"));
        let after = |ran: &Ran| ran.out.split("Examples:").nth(1).unwrap().to_owned();
        assert_eq!(after(&narrow), after(&wide), "{command:?}");
        assert!(
            after(&narrow)
                .lines()
                .all(|line| line.chars().count() <= 80),
            "{command:?}"
        );
    }
}
