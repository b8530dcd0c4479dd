//! The command line through its front door: what is said, and with which exit code. Nothing here is mounted.

mod emulator;
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

#[test]
fn help_says_what_there_is_and_how_it_ends() {
    let home = tempfile::tempdir().unwrap();
    for flag in ["-h", "--help"] {
        let ran = run(afs(home.path()).arg(flag));
        assert_eq!(ran.code, Some(0));
        for part in ["mount", "unmount", "emulator", "Exit codes:"] {
            assert!(ran.out.contains(part), "{}", ran.out);
        }
        assert!(ran.out.lines().count() <= 50, "more than a screen");
    }
    assert!(
        run(afs(home.path()).arg("--help"))
            .out
            .contains("Examples:")
    );
}

#[test]
fn every_command_has_examples_in_its_long_help() {
    let home = tempfile::tempdir().unwrap();
    for command in ["mount", "unmount", "umount", "emulator"] {
        let ran = run(afs(home.path()).args([command, "--help"]));
        assert_eq!(ran.code, Some(0), "{command}");
        assert!(ran.out.contains("Examples:"), "{command}: {}", ran.out);
        assert!(
            !ran.out.contains('`') || command == "emulator",
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
        &["mount"],
        &["mount", "/a", "/b"],
        &["mount", "--frobnicate", "/a"],
        &["mount", "--cache-size", "10X", "/a"],
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
        &["emulator", "--listen", "nowhere"],
        &["emulator", "--quota", "much"],
    ] {
        let ran = run(afs(home.path()).args(typed));
        assert_eq!(ran.code, Some(2), "{typed:?}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{typed:?}");
        assert_eq!(ran.out, "", "{typed:?}");
    }
}
