//! `scripts/live-check`, which is for the real service, against the emulator: what it says, and that it leaves the
//! workspace as it was.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, KEY, World, start};

/// Every line of a probe begins with one of these.
const PROBES: [&str; 13] = [
    "rate limit headers: ",
    "shape without the beta header: 200, data, next_page",
    "order of the list: newest first",
    "cursor of a deleted id: ",
    "empty file: ",
    "name of 255 characters: taken",
    "name of 256 characters: refused with 400",
    "name of 255 characters, more bytes: ",
    "name with a trailing dot: ",
    "name with a trailing space: ",
    "name with a backslash: refused with 400",
    "Range: ",
    "ETag: ",
];

/// Runs it in a home, and a temporary directory, of this test's.
fn live_check(world: &World, options: &[&str]) -> Output {
    let mut command =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/live-check"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", world.dir.path())
        .env("TMPDIR", world.dir.path())
        .env("ANTHROPIC_API_KEY", KEY)
        .args(["--base-url", &world.emulator.base_url()])
        .args(["--afs", env!("CARGO_BIN_EXE_afs")])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    start(&mut command).wait_with_output().expect("waited")
}

/// All it said. The key is not in there, and its directories are gone.
fn said(world: &World, ran: &Output) -> String {
    let said = [&ran.stdout[..], &ran.stderr].concat();
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(!said.contains(KEY), "{said}");
    let left: Vec<_> = fs::read_dir(world.dir.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name.to_string_lossy().starts_with("afs-live-check-"))
        .collect();
    assert!(left.is_empty(), "{left:?}: {said}");
    said
}

/// A workspace with files of others, one of them with a name much like those of the check.
fn workspace() -> World {
    let world = World::new();
    world.foreign("afs-live-check-of-another", b"foreign");
    world.output("chart.png", b"an output");
    world
}

#[test]
fn a_run_holds_and_leaves_the_workspace_as_it_was() {
    let world = workspace();
    let before = world.emulator.files().unwrap();
    let ran = live_check(&world, &["--yes"]);
    let said = said(&world, &ran);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    for probe in PROBES {
        let lines = said.lines().filter(|line| line.starts_with(probe)).count();
        assert_eq!(lines, 1, "{probe}: {said}");
    }
    assert_eq!(world.emulator.files().unwrap(), before, "{said}");
    // The figure of its own announcement.
    let uploads = world.calls().upload;
    assert!((10..=20).contains(&uploads), "{uploads} uploads: {said}");
}

#[test]
fn without_an_output_it_says_what_it_cannot_know() {
    let world = World::new();
    let ran = live_check(&world, &["--yes"]);
    let said = said(&world, &ran);
    assert_eq!(ran.status.code(), Some(0), "{said}");
    for probe in ["Range", "ETag"] {
        let line = format!("{probe}: not known: no downloadable file\n");
        assert!(said.contains(&line), "{said}");
    }
}

#[test]
fn a_run_that_fails_in_the_middle_cleans_up() {
    let world = workspace();
    let before = world.emulator.files().unwrap();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        nth: Some(3),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(400)))
    }]);
    let ran = live_check(&world, &["--yes"]);
    let said = said(&world, &ran);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("live-check: cp failed: "), "{said}");
    assert_eq!(world.emulator.files().unwrap(), before, "{said}");
}

#[test]
fn without_a_yes_nothing_is_asked_of_the_service() {
    let world = workspace();
    let ran = live_check(&world, &[]);
    let said = said(&world, &ran);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("at most 20 small files"), "{said}");
    assert_eq!(world.calls(), Calls::NONE);
}
