//! `afs doctor`: each check with what it looks at, on this machine: real mounts, dead ones and stopped ones, services that
//! refuse, lie and hang. Other tests have mounts of their own here, which are looked at too.

mod files;
mod local;
mod service;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Ran, ran};
use crate::harness::{Calls, KEY, World};

/// One request, and nothing else.
const ONE_LIST: Calls = Calls {
    list: 1,
    ..Calls::NONE
};

/// `afs doctor` of this world's state.
fn command(world: &World) -> Command {
    let mut afs = world.afs();
    afs.arg("doctor")
        .arg("--state-dir")
        .arg(world.state_root())
        .arg("--cache-dir")
        .arg(world.dir.path().join("cache"));
    afs
}

/// What was found, but of other tests' mounts.
struct Found(Vec<Value>);

impl Found {
    /// Runs it with `--json`. It ends with 1 where something failed, and never shows the key.
    fn by(world: &World, command: &mut Command) -> Self {
        let Ran { code, out, err } = ran(command.arg("--json"));
        assert!(!out.contains(KEY) && !err.contains(KEY), "{out}{err}");
        let all: Vec<Value> = serde_json::from_str(&out).expect(&out);
        let has_failed = all.iter().any(|one| one["level"] == "fail");
        assert_eq!(code, Some(i32::from(has_failed)), "{out}{err}");
        assert_eq!(err.is_empty(), !has_failed, "{err}");
        for one in &all {
            let has_remedy = one["remedy"].is_string();
            assert_eq!(has_remedy, one["level"] != "ok", "{one}");
        }
        let own = world.dir.path().to_str().unwrap();
        let is_own =
            |one: &Value| one["check"] != "mount" || one["found"].as_str().unwrap().contains(own);
        Self(all.into_iter().filter(is_own).collect())
    }

    fn one(&self, check: &str) -> &Value {
        let mut found = self.0.iter().filter(|one| one["check"] == check);
        let one = found
            .next()
            .unwrap_or_else(|| panic!("no {check}: {:?}", self.0));
        assert_eq!(found.next(), None, "a second {check}");
        one
    }

    /// The one finding of this check is of this level, says this and, below it, what to do.
    #[track_caller]
    fn is(&self, check: &str, level: &str, says: &str, remedy: &str) {
        let one = self.one(check);
        assert_eq!(one["level"], level, "{one}");
        assert!(
            one["found"].as_str().unwrap().contains(says),
            "{says}: {one}"
        );
        let has = one["remedy"].as_str().unwrap_or_default();
        assert!(has.contains(remedy), "{remedy}: {one}");
    }
}

fn examined(world: &World) -> Found {
    Found::by(world, &mut command(world))
}

/// All files below a directory with their bytes, but for the memory that `SQLite` shares between processes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else if path
            .extension()
            .is_none_or(|extension| extension != "db-shm")
        {
            let bytes = fs::read(&path).unwrap_or_default();
            files.insert(path, bytes);
        }
    }
    files
}

#[test]
fn what_is_well_is_said_to_be_for_one_request_and_nothing_is_changed() {
    let world = World::new();
    for n in 0..20 {
        world.output(&format!("out-{n}"), b"x");
    }
    let mount = world.mount();
    mount.sh("echo text > a.txt; cat out-1");
    world.forget_calls();
    let found = examined(&world);
    let requests = world.emulator.requests();
    assert_eq!(world.calls(), ONE_LIST);
    assert!(
        requests[0].bytes_out < 1_000,
        "more than one entry: {requests:?}"
    );
    found.is("device", "ok", "can be opened", "");
    found.is("kernel", "ok", "Linux ", "");
    found.is("key", "ok", "the key in ANTHROPIC_API_KEY", "");
    found.is("credentials", "ok", "no profiles", "");
    found.is("service", "ok", "and takes the key", "");
    found.is("service", "ok", &world.emulator.base_url(), "");
    found.is("clock", "ok", "goes with", "");
    found.is("state", "ok", "of 1 workspace", "");
    found.is("cache", "ok", "of 1 workspace", "");
    found.is("pending", "ok", "nothing waits", "");
    let served = format!(
        "{}: process {}, state in {}",
        mount.path().display(),
        mount.pid(),
        world.state_dir().display()
    );
    found.is("mount", "ok", &served, "");
    assert!(
        found.0.iter().all(|one| one["level"] != "fail"),
        "{:?}",
        found.0
    );
    mount.unmount();
    // The mount writes no more: what is written now, the doctor wrote.
    let both = || {
        (
            snapshot(&world.state_root()),
            snapshot(&world.dir.path().join("cache")),
        )
    };
    let before = both();
    examined(&world).is("state", "ok", "of 1 workspace", "");
    assert!(before == both(), "something was written");
}

#[test]
fn for_people_each_check_is_a_line_and_what_to_do_is_one_below() {
    let world = World::new();
    let printed = ran(command(&world).env_remove("ANTHROPIC_API_KEY"));
    assert_eq!(printed.code, Some(1));
    let lines: Vec<&str> = printed.out.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("fail  key "))
        .unwrap();
    assert!(lines[at].ends_with("there is no API key"), "{}", lines[at]);
    assert!(
        lines[at + 1]
            .trim_start()
            .starts_with("-> set ANTHROPIC_API_KEY"),
        "{}",
        lines[at + 1]
    );
    assert!(lines[0].starts_with("ok    fusermount3 "), "{}", lines[0]);
    assert!(
        printed.err.starts_with("afs: ") && printed.err.contains("checks failed"),
        "{}",
        printed.err
    );
    assert!(!printed.out.contains('\u{1b}'), "coloured into a pipe");
    assert!(!world.state_root().exists(), "a state was made");
}

#[test]
fn without_a_key_nothing_is_asked_and_profiles_that_are_not_read_are_named() {
    let world = World::new();
    let bare = || {
        let mut afs = command(&world);
        afs.env_remove("ANTHROPIC_API_KEY");
        afs
    };
    let found = Found::by(&world, &mut bare());
    found.is("key", "fail", "there is no API key", "--key-file");
    found.is("credentials", "ok", "no profiles", "");
    let found = Found::by(&world, bare().env("ANTHROPIC_PROFILE", "work"));
    found.is(
        "credentials",
        "warn",
        "ANTHROPIC_PROFILE is set",
        "ANTHROPIC_API_KEY",
    );
    let config = world.dir.path().join(".config/anthropic/configs");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("default.json"), "{}").unwrap();
    let found = Found::by(&world, &mut bare());
    found.is(
        "credentials",
        "warn",
        "configs/default.json is a profile",
        "ANTHROPIC_API_KEY",
    );
    examined(&world).is("credentials", "ok", "afs uses its key", "");
    assert_eq!(world.calls(), ONE_LIST, "only the one with a key");
}
