//! `.afs/status.json`: the same that `afs status --json` says, as a file.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use crate::harness::{Calls, Mount, World, errno, eventually};

fn read(mount: &Mount) -> Value {
    let text = fs::read(mount.at(".afs/status.json")).expect("readable");
    serde_json::from_slice(&text).expect("JSON")
}

/// What the command says of the one mount. The listing's age and the last minute's requests are left out: they are others
/// a moment later.
fn said(world: &World, mount: &Mount) -> Value {
    let mut status = world.afs();
    let output = status.args(["status", "--json"]).arg(mount.path());
    let output = output.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    said[0].clone()
}

fn ageless(mut status: Value) -> Value {
    let fields = status.as_object_mut().expect("an object");
    let age = fields.remove("listing_age_seconds").expect("an age");
    assert!(age.is_u64() || age.is_null(), "{age}");
    let requests = fields["requests"].as_object_mut().expect("an object");
    let spent = requests.remove("last_minute").expect("a number");
    assert!(spent.is_u64(), "{spent}");
    let programs = requests.remove("by_program").expect("a list");
    assert!(programs.is_array(), "{programs}");
    status
}

#[test]
fn it_says_what_the_command_says_and_goes_with_the_time() {
    let world = World::new();
    world.output("a", b"12345");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let before = ageless(read(&mount));
    assert_eq!(before, ageless(said(&world, &mount)));
    assert_eq!((&before["files"], &before["bytes"]), (&1.into(), &5.into()));
    mount.sh("cat a; printf 123 > b");
    let after = ageless(read(&mount));
    assert_eq!((&after["files"], &after["bytes"]), (&2.into(), &8.into()));
    assert_eq!(after["cached_bytes"], 5);
    assert_eq!(after["kept_bytes"], 3);
    assert_eq!(after, ageless(said(&world, &mount)));
}

#[test]
fn its_size_is_what_is_read_and_programs_copy_it_whole() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    world.forget_calls();
    let size = mount.sh("stat -c %s .afs/status.json");
    assert_eq!(mount.sh("cat .afs/status.json | wc -c"), size);
    let first = mount.sh("head -c 20 .afs/status.json");
    assert_eq!((first.len(), first.trim()), (20, "{"));
    // Once while the kernel knows nothing of it, once while it does.
    for _ in 0..2 {
        mount.sh("cp .afs/status.json ../copy.json; test -s ../copy.json");
        let copied = fs::read(world.dir.path().join("copy.json")).unwrap();
        assert_eq!(copied.len().to_string(), size.trim());
        let copied: Value = serde_json::from_slice(&copied).unwrap();
        assert_eq!(ageless(copied), ageless(read(&mount)));
    }
    let asked = "python3 -c 'import json; print(json.load(open(\".afs/status.json\"))[\"files\"])'";
    assert_eq!(mount.sh(asked), "0\n");
    assert_eq!(world.calls(), Calls::NONE);
}

/// Numbers that grow must not make its size another between a program's stat and its read.
#[test]
fn its_size_stays_when_numbers_grow() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let size = || fs::metadata(mount.at(".afs/status.json")).unwrap().len();
    let before = size();
    mount.sh("for n in $(seq 11); do echo $n > own-$n; done");
    assert_eq!(read(&mount)["files"], 11);
    assert_eq!(size(), before);
}

#[test]
fn an_open_file_holds_what_was_true_when_it_was_opened() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let mut old = File::open(mount.at(".afs/status.json")).unwrap();
    let mut start = [0; 10];
    old.read_exact(&mut start).unwrap();
    fs::write(mount.at("new"), b"text").unwrap();
    let mut new = String::new();
    File::open(mount.at(".afs/status.json"))
        .unwrap()
        .read_to_string(&mut new)
        .unwrap();
    old.rewind().unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    let files = |text: &str| serde_json::from_str::<Value>(text).unwrap()["files"].clone();
    assert_eq!((files(&text), files(&new)), (0.into(), 1.into()));
}

#[test]
fn a_failing_service_shows_in_it() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "0s", "--timeout", "1s"]);
    assert_eq!(read(&mount)["listing_error"], Value::Null);
    world.emulator.set_faults(vec![afs::emulator::FaultRule {
        call: Some(afs::emulator::LoggedCall::List),
        ..afs::emulator::FaultRule::new(afs::emulator::FaultAction::Status(
            afs::emulator::FaultAnswer::status(529),
        ))
    }]);
    mount.names();
    eventually("the listing's failure shows", || {
        read(&mount)["listing_error"].is_string()
    });
    // A longer text: its size is that of what is read now.
    let size = mount.sh("stat -c %s .afs/status.json");
    assert_eq!(mount.sh("cat .afs/status.json | wc -c"), size);
}

#[test]
fn it_is_not_for_changing() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let path = mount.at(".afs/status.json");
    let stat = fs::metadata(&path).unwrap();
    assert_eq!((stat.mode(), stat.nlink()), (0o100_400, 1));
    for options in [
        File::options().write(true),
        File::options().append(true),
        File::options().write(true).truncate(true),
        File::options().read(true).write(true),
    ] {
        assert_eq!(errno(options.open(&path)), libc::EROFS, "{options:?}");
    }
    let cut = "import os; os.truncate(\".afs/status.json\", 0)";
    let cut = mount.try_sh(&format!("python3 -c '{cut}'")).stderr;
    let cut = String::from_utf8_lossy(&cut);
    assert!(cut.contains(&format!("[Errno {}]", libc::EROFS)), "{cut}");
    let touched = File::open(&path)
        .unwrap()
        .set_modified(std::time::SystemTime::now());
    assert_eq!(errno(touched), libc::EROFS);
    assert_eq!(errno(fs::rename(&path, mount.at("mine"))), libc::EROFS);
    assert_eq!(errno(fs::rename(&path, mount.at(".afs/x"))), libc::EROFS);
    assert_eq!(errno(fs::remove_file(&path)), libc::EROFS);
    fs::write(mount.at("mine"), b"mine").unwrap();
    assert_eq!(errno(fs::rename(mount.at("mine"), &path)), libc::EROFS);
    assert_eq!(read(&mount)["files"], 1);
}
