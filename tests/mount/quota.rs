//! A service without room: who saves is told at once, and whether there is room again is found out with the smallest of
//! what waits, not with all of it.

use std::fs;

use afs::emulator::{Config, FaultAction, FaultRule, LoggedCall};

use super::harness::{Mount, World, eventually, pattern};
use super::hung::close_of;
use super::surface::{On, Setup, on_both};

on_both! {
    room_that_a_removed_file_leaves_is_used_at_once
    with_write_back_newer_content_of_what_finds_no_room_is_not_tried_either
    what_the_service_says_it_has_no_room_for_is_kept_and_sent_when_it_has
}

/// Room for 50,000 bytes, of which the file `hog` takes 40,000.
fn nearly_full() -> World {
    let world = World::with(Config {
        quota: Some(50_000),
        ..Config::default()
    });
    world.foreign("hog", &pattern(40_000));
    world
}

/// The names of the uploads since the log was reset, in their order.
fn uploads(world: &World) -> Vec<String> {
    let requests = world.emulator.requests();
    let uploads = requests
        .into_iter()
        .filter(|request| request.call == LoggedCall::Upload);
    uploads.filter_map(|request| request.filename).collect()
}

fn room_that_a_removed_file_leaves_is_used_at_once(on: On) {
    let world = nearly_full();
    let fs = on.start(&world);
    for (name, size) in [("large", 49_000), ("middle", 28_000), ("small", 20_000)] {
        let tried = fs.put(name, &pattern(size));
        assert_eq!(tried, Err(libc::EDQUOT), "{name}");
    }
    assert_eq!(uploads(&world), ["large", "middle", "small"]);
    world.forget_calls();
    fs.unlink("hog").unwrap();
    eventually("what has room now arrives", || {
        !world.all_stored("middle").is_empty()
    });
    assert_eq!(world.stored_bytes("small"), pattern(20_000));
    assert_eq!(world.stored_bytes("middle"), pattern(28_000));
    eventually("the other one was tried", || uploads(&world).len() == 3);
    assert_eq!(uploads(&world)[0], "small");
    assert_eq!(fs.get("large").unwrap(), pattern(49_000));
    fs.unlink("small").unwrap();
    fs.unlink("middle").unwrap();
    eventually("the last one arrives", || {
        !world.all_stored("large").is_empty()
    });
    fs.end();
}

fn with_write_back_newer_content_of_what_finds_no_room_is_not_tried_either(on: On) {
    let world = nearly_full();
    let fs = on.start_with(&world, Setup::write_back());
    fs.put("f", &pattern(30_000)).unwrap();
    eventually("it is refused", || {
        let requests = world.emulator.requests();
        let answer = |call| requests.iter().find(|r| r.call == call)?.ended;
        answer(LoggedCall::Upload).is_some()
    });
    // Whatever the answer's way here takes: it has come when another save has been through.
    fs.put("fits", b"x").unwrap();
    eventually("another is saved", || !world.all_stored("fits").is_empty());
    world.forget_calls();
    for n in 1..10 {
        fs.put("f", &pattern(30_000 + n)).unwrap();
    }
    fs.put("fits too", b"x").unwrap();
    eventually("another is saved", || {
        !world.all_stored("fits too").is_empty()
    });
    assert_eq!(uploads(&world), ["fits too"]);
    fs.unlink("hog").unwrap();
    eventually("there is room", || world.all_stored("hog").is_empty());
    fs.end();
    assert_eq!(world.stored_bytes("f"), pattern(30_009));
}

/// Nothing of ours makes room here: another client may have, or the organisation has bought some.
fn what_the_service_says_it_has_no_room_for_is_kept_and_sent_when_it_has(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::QuotaFull)
    }]);
    assert_eq!(fs.put("f", &pattern(30_000)), Err(libc::EDQUOT));
    assert_eq!(fs.get("f").unwrap(), pattern(30_000));
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(world.all_stored("f"), []);
    world.emulator.clear_faults();
    assert_eq!(fs.retry(None), Ok(1));
    eventually("it arrives", || !world.all_stored("f").is_empty());
    assert_eq!(world.stored_bytes("f"), pattern(30_000));
    fs.end();
}

fn afs(world: &World, command: &str, mount: &Mount, words: &[&str]) -> String {
    let mut afs = world.afs();
    afs.arg(command).arg(mount.path()).args(words);
    let output = afs.output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn only_the_smallest_of_what_finds_no_room_is_tried_again() {
    let world = nearly_full();
    let mount = world.mount_with(&["--refresh", "1h"]);
    for (name, size) in [("large", 49_000), ("middle", 30_000), ("small", 20_000)] {
        let closed = close_of(mount.at(name), &pattern(size));
        assert_eq!(closed, Err(libc::EDQUOT), "{name}");
    }
    world.forget_calls();
    // Comes back when all that is to be tried was.
    let said = afs(&world, "flush", &mount, &[]);
    assert_eq!(uploads(&world), ["small"], "{said}");
    assert!(said.contains("3 changes could not be sent"), "{said}");
    afs(&world, "pending", &mount, &["--retry"]);
    eventually("it is tried", || uploads(&world).len() == 2);
    assert_eq!(uploads(&world), ["small", "small"]);
    // One that is named is what somebody wants to have tried.
    afs(&world, "pending", &mount, &["--retry", "large"]);
    eventually("it is tried", || uploads(&world).len() == 3);
    assert_eq!(uploads(&world)[2], "large");
    // Without the smallest the next one is.
    mount.sh("rm small");
    afs(&world, "flush", &mount, &[]);
    // Once by itself, perhaps, and once by the flush.
    let next = uploads(&world).split_off(3);
    assert!(
        !next.is_empty() && next.iter().all(|name| name == "middle"),
        "{next:?}"
    );
}

/// What a killed program was replacing goes out before what it left; not where the service refuses it, for then nothing
/// of that name would ever be sent again.
#[test]
fn a_killed_program_does_not_make_what_finds_no_room_go_before_all_that_comes() {
    let world = nearly_full();
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("echo before > notes.md");
    let old = world.stored("notes.md");
    let refused = mount.try_sh("head -c 49000 /dev/zero > ../large; cp ../large notes.md");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("Disk quota exceeded"), "{said}");
    mount.sh(
        "python3 -c 'import os, signal; f = open(\"notes.md\", \"wb\", 0); f.write(b\"half\"); \
         os.kill(os.getpid(), signal.SIGKILL)'; true",
    );
    eventually("what it left arrives", || {
        world.all_stored("notes.md").len() == 2
    });
    fs::write(mount.at("notes.md"), "again").unwrap();
    mount.unmount();
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"before\n"[..]));
    let stored = world.all_stored("notes.md");
    let contents: Vec<_> = stored
        .iter()
        .filter(|file| file.id != old.id)
        .map(|file| world.emulator.content(&file.id).unwrap().unwrap())
        .collect();
    assert_eq!(contents, [b"again"]);
}
