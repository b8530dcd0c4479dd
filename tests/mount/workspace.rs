//! Whose state a mount uses: the workspace's, by whatever key it is reached, and never another's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use afs::emulator::{Config, LoggedCall};

use super::failing::lasting;
use super::harness::{Mount, World, eventually};
use super::hung::{close_of, held, mount_has_confirmed};
use super::versions::Service;

const OTHER_KEY: &str = "sk-test-rotated-77";

/// The workspaces this machine has state of.
fn states(world: &World) -> usize {
    fs::read_dir(world.state_root())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("ws-")
        })
        .count()
}

#[test]
fn a_rotated_key_finds_what_was_kept_under_the_old_one() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo mine > kept");
    mount.unmount();

    let mount = world.try_mount(&[], OTHER_KEY).unwrap();
    assert_eq!(mount.sh("cat kept"), "mine\n");
    assert_eq!(states(&world), 1);
    mount.unmount();

    // And from then on the new key is known: no server is needed to tell whose it is.
    world.hang(&[LoggedCall::List]);
    let mount = world.try_mount(&[], OTHER_KEY).unwrap();
    assert_eq!(mount.sh("cat kept"), "mine\n");
}

#[test]
fn a_rotated_key_sends_what_the_old_one_could_not() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo x > anchor");
    world.hang(&[LoggedCall::Upload]);
    let closers: Vec<_> = (0..3)
        .map(|n| {
            let path = mount.at(format!("pending {n}"));
            std::thread::spawn(move || close_of(path, format!("{n}").as_bytes()))
        })
        .collect();
    eventually("the saves hang", || held(&world, LoggedCall::Upload) == 3);
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    for closer in closers {
        closer.join().unwrap().unwrap_err();
    }
    world.emulator.clear_faults();
    world.forget_calls();

    let mount = world.try_mount(&[], OTHER_KEY).unwrap();
    for n in 0..3 {
        let name = format!("pending {n}");
        eventually("it is sent", || mount_has_confirmed(&mount, &name));
        assert_eq!(world.stored_bytes(&name), format!("{n}").as_bytes());
    }
    assert_eq!(world.calls().upload, 3);
}

/// Every file below a directory with its content, but for what `SQLite` shares between processes that live.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => found.extend(contents(&path)),
            kind if kind.is_file() && !path.ends_with("state.db-shm") => {
                drop(found.insert(path.clone(), fs::read(&path).unwrap()));
            }
            _ => {}
        }
    }
    found
}

/// Nothing of the workspace at `dir` moves, and whoever wonders why is told: at the mount, by status, by pending.
fn says_what_waits(world: &World, mount: &Mount, dir: &Path) {
    let sentence =
        "Another workspace of this machine is not mounted and has had 2 changes to send for";
    let place = dir.to_str().unwrap();
    let is_said = |text: &str| {
        text.lines()
            .any(|l| l.starts_with(sentence) && l.contains(place))
    };
    assert!(is_said(&mount.log()), "{}", mount.log());
    let afs = |arguments: &[&str]| {
        let output = world.afs().args(arguments).arg(mount.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    for arguments in [["status"], ["pending"]] {
        assert!(is_said(&afs(&arguments)), "{arguments:?}");
    }
    let mounts: serde_json::Value = serde_json::from_str(&afs(&["status", "--json"])).unwrap();
    let waiting = mounts[0]["waiting"].as_array().unwrap();
    assert_eq!(waiting.len(), 1, "{mounts}");
    assert_eq!(waiting[0]["state_dir"], place);
    assert_eq!(waiting[0]["host"], world.emulator.base_url());
    assert_eq!(
        (&waiting[0]["pending"], &waiting[0]["unfinished"]),
        (&2.into(), &0.into())
    );
    assert!(waiting[0]["since"].as_i64().unwrap() > 1_700_000_000_000);
}

#[test]
fn the_key_of_another_workspace_shows_and_sends_nothing_of_the_first() {
    let data = tempfile::tempdir().unwrap();
    let mut world = World::with(lasting(data.path()));
    world.output("theirs", b"1");
    let mount = world.mount();
    mount.sh("cat theirs; echo mine > kept");
    world.hang(&[LoggedCall::Upload, LoggedCall::Delete]);
    let path = mount.at("pending");
    let closer = std::thread::spawn(move || close_of(path, b"never sent elsewhere"));
    eventually("the save hangs", || held(&world, LoggedCall::Upload) == 1);
    mount.sh("rm theirs");
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    closer.join().unwrap().unwrap_err();
    let first = world.state_dir();
    let address = world.emulator.addr();
    world.emulator.shutdown();

    // Another workspace at the same address.
    let other = tempfile::tempdir().unwrap();
    world.emulator = Service::start(Config {
        listen: address,
        ..lasting(other.path())
    });
    world.output("other", b"2");
    let left = contents(&first);
    let mount = world.try_mount(&[], OTHER_KEY).unwrap();
    assert_eq!(mount.names(), ["other"]);
    says_what_waits(&world, &mount, &first);
    assert!(contents(&first) == left, "looking at it changed something");
    assert_eq!(mount.sh("cat other; echo y > new"), "2");
    assert_eq!(states(&world), 2);
    mount.unmount();
    assert_eq!(world.emulator.files().unwrap().len(), 2);
    let calls = world.calls();
    assert_eq!((calls.upload, calls.delete), (1, 0));
    world.emulator.shutdown();

    // And back: the first is as it was, and goes on.
    world.emulator = Service::start(Config {
        listen: address,
        ..lasting(data.path())
    });
    let mount = world.mount();
    // What is mounted does not wait, and neither does what has nothing to send.
    let status = world
        .afs()
        .arg("status")
        .arg(mount.path())
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&status.stdout).contains("Another workspace"));
    assert_eq!(mount.names(), ["kept", "pending"]);
    assert_eq!(mount.sh("cat kept"), "mine\n");
    eventually("what was pending is sent", || {
        mount_has_confirmed(&mount, "pending") && world.all_stored("theirs").is_empty()
    });
    assert_eq!(states(&world), 2);
}
