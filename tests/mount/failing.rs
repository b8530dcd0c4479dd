//! A server that refuses, breaks or is gone: what close(2) says, that nothing is lost, and that one save stays one file.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use afs::emulator::{Config, FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};

use super::harness::{Calls, World, errno, eventually, pattern, within};
use super::hung::{close_of, mount_has_confirmed};
use super::versions::Service;

fn once(call: LoggedCall, when: FaultMoment, action: FaultAction) -> FaultRule {
    FaultRule {
        call: Some(call),
        times: Some(1),
        when,
        ..FaultRule::new(action)
    }
}

/// Saves one file while `fault` strikes its first upload; the calls it took.
fn save_through(fault: FaultRule) -> Calls {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    world.emulator.set_faults(vec![fault]);
    let content = pattern(300_000);
    world.forget_calls();
    let closed = within(Duration::from_secs(20), "a close", {
        let (path, content) = (mount.at("f"), content.clone());
        move || close_of(path, &content)
    });
    assert_eq!(closed, Ok(()));
    assert_eq!(world.stored_bytes("f"), content, "exactly one, and whole");
    assert_eq!(fs::read(mount.at("f")).unwrap(), content);
    world.calls()
}

#[test]
fn a_limited_save_waits_as_long_as_asked_and_succeeds() {
    let begun = Instant::now();
    let answer = FaultAnswer {
        headers: BTreeMap::from([("retry-after".to_owned(), "1".to_owned())]),
        ..FaultAnswer::status(429)
    };
    let calls = save_through(once(
        LoggedCall::Upload,
        FaultMoment::BeforeEffect,
        FaultAction::Status(answer),
    ));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // A refusal for its rate was not carried out: nothing has to be looked for.
    assert_eq!(
        calls,
        Calls {
            upload: 2,
            ..Calls::NONE
        }
    );
}

#[test]
fn a_save_that_the_server_broke_off_is_looked_for_and_sent_again() {
    for status in [500, 529, 408] {
        let calls = save_through(once(
            LoggedCall::Upload,
            FaultMoment::BeforeEffect,
            FaultAction::Status(FaultAnswer::status(status)),
        ));
        assert_eq!(
            calls,
            Calls {
                upload: 2,
                list: 1,
                ..Calls::NONE
            },
            "{status}"
        );
    }
}

#[test]
fn a_save_whose_answer_is_lost_is_found_and_not_sent_again() {
    for action in [
        FaultAction::DropAnswer,
        FaultAction::CutAfterBytes(10),
        FaultAction::Status(FaultAnswer::status(500)),
    ] {
        let calls = save_through(once(
            LoggedCall::Upload,
            FaultMoment::AfterEffect,
            action.clone(),
        ));
        assert_eq!(
            calls,
            Calls {
                upload: 1,
                list: 1,
                ..Calls::NONE
            },
            "{action:?}"
        );
    }
}

/// What a refused save leaves: the errno, the bytes, no file at the service. Mended, it arrives at the next mount.
fn refused(status: u16, expected: i32) {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(status)))
    }]);
    let content = pattern(100_000);
    assert_eq!(close_of(mount.at("f"), &content), Err(expected), "{status}");
    assert_eq!(fs::read(mount.at("f")).unwrap(), content);
    assert_eq!(mount.names(), ["f"]);
    assert!(world.all_stored("f").is_empty());
    assert!(mount.log().contains("stays in the outbox"), "it is said");
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));

    world.emulator.clear_faults();
    let mount = world.mount();
    assert_eq!(fs::read(mount.at("f")).unwrap(), content);
    eventually("the save arrives", || mount_has_confirmed(&mount, "f"));
    assert_eq!(world.stored_bytes("f"), content);
}

/// It waited for ever once: what was refused was always about to be tried again.
#[test]
fn an_unmount_does_not_wait_for_what_the_service_refuses() {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(401)))
    }]);
    assert_eq!(close_of(mount.at("f"), b"kept"), Err(libc::EACCES));
    let path = mount.path().to_owned();
    let ended = within(Duration::from_secs(20), "afs unmount", move || {
        Command::new(env!("CARGO_BIN_EXE_afs"))
            .arg("unmount")
            .arg(path)
            .output()
            .unwrap()
    });
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    assert!(said.contains("1 change could not be sent"), "{said}");
    assert_eq!(mount.wait(), Some(0));
    world.emulator.clear_faults();
    let mount = world.mount();
    eventually("the save arrives", || mount_has_confirmed(&mount, "f"));
    assert_eq!(world.stored_bytes("f"), b"kept");
}

#[test]
fn a_refused_key_is_permission_denied_at_close() {
    refused(401, libc::EACCES);
}

#[test]
fn a_forbidden_save_is_permission_denied_at_close() {
    refused(403, libc::EACCES);
}

#[test]
fn a_file_too_large_for_the_service_is_said_at_close() {
    refused(413, libc::EFBIG);
}

#[test]
fn full_storage_at_the_service_is_disk_quota_exceeded_at_close() {
    let world = World::with(Config {
        quota: Some(150_000),
        ..Config::default()
    });
    let mount = world.mount();
    let content = pattern(100_000);
    assert_eq!(close_of(mount.at("first"), &content), Ok(()));
    assert_eq!(close_of(mount.at("second"), &content), Err(libc::EDQUOT));
    assert_eq!(fs::read(mount.at("second")).unwrap(), content);
    assert!(world.all_stored("second").is_empty());
    // Saved again it is tried again, alone; room is made, and it arrives by itself.
    world.forget_calls();
    let newer = pattern(90_000);
    assert_eq!(close_of(mount.at("second"), &newer), Err(libc::EDQUOT));
    fs::remove_file(mount.at("first")).unwrap();
    eventually("it arrives", || !world.all_stored("second").is_empty());
    assert_eq!(world.stored_bytes("second"), newer);
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            upload: 2,
            delete: 1,
            ..Calls::NONE
        }
    );
}

#[test]
fn reading_what_the_service_refuses_is_said_with_its_errno() {
    let world = World::new();
    let content = pattern(1_000);
    world.output("f", &content);
    let mount = world.mount_with(&["--timeout", "3s"]);
    for (status, expected) in [
        (401, libc::EACCES),
        (403, libc::EACCES),
        (500, libc::EIO),
        (429, libc::EAGAIN),
    ] {
        world.emulator.set_faults(vec![FaultRule {
            call: Some(LoggedCall::Content),
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(status)))
        }]);
        let path = mount.at("f");
        let read = within(Duration::from_secs(70), "a read", || fs::read(path));
        assert_eq!(errno(read), expected, "{status}");
    }
    world.emulator.clear_faults();
    // The pauses that were refused for the rate have grown.
    eventually("it is read", || {
        fs::read(mount.at("f")).is_ok_and(|bytes| bytes == content)
    });
}

/// A server that keeps its data and its address over a stop and a start. An address of its own, so that nobody else
/// is given the port meanwhile.
pub(crate) fn lasting(data: &Path) -> Config {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(
        127,
        1 + pid[2] % 250,
        pid[3],
        NEXT.fetch_add(1, Ordering::Relaxed),
    );
    Config {
        listen: SocketAddr::from((ip, 0)),
        data: Some(data.to_owned()),
        ..Config::default()
    }
}

#[test]
fn without_a_server_what_is_here_is_served_and_saves_arrive_when_it_is_back() {
    let data = tempfile::tempdir().unwrap();
    let config = lasting(data.path());
    let mut world = World::with(config.clone());
    world.output("cached", b"read before");
    world.output("remote", b"never read");
    let mount = world.mount_with(&["--timeout", "1s", "--refresh", "100ms"]);
    mount.sh("cat cached; echo mine > kept; echo old > replaced; echo x > removed");
    let address = world.emulator.addr();
    world.emulator.shutdown();

    assert_eq!(mount.sh("cat cached kept"), "read beforemine\n");
    assert_eq!(
        mount.names(),
        ["cached", "kept", "remote", "removed", "replaced"]
    );
    let path = mount.at("remote");
    let read = within(Duration::from_secs(10), "a read", || fs::read(path));
    assert_eq!(errno(read), libc::EIO);
    for (name, content) in [("new", "1"), ("replaced", "2")] {
        let path = mount.at(name);
        let closed = within(Duration::from_secs(10), "a close", move || {
            close_of(path, content.as_bytes())
        });
        assert_eq!(closed, Err(libc::EIO), "{name}");
        assert_eq!(mount.sh(&format!("cat {name}")), content);
    }
    // Names can be changed without anybody to ask.
    mount.sh("rm removed; mv kept moved");

    world.emulator = Service::start(Config {
        listen: address,
        ..config
    });
    eventually("everything arrives", || {
        let mut names: Vec<_> = world.emulator.files().unwrap();
        names.sort_by(|a, b| a.filename.cmp(&b.filename));
        let names: Vec<_> = names.iter().map(|file| file.filename.as_str()).collect();
        names == ["cached", "moved", "new", "remote", "replaced"]
            && world.stored("replaced").size_bytes == 1
    });
    assert_eq!(world.stored_bytes("new"), b"1");
    assert_eq!(world.stored_bytes("replaced"), b"2");
    assert_eq!(world.stored_bytes("moved"), b"mine\n");
    assert_eq!(mount.sh("cat remote moved"), "never readmine\n");
}

/// Changes of several mounts came as one list, and nobody could tell which file was where.
#[test]
fn pending_changes_stand_under_their_mount_where_there_are_several() {
    let worlds = [World::new(), World::new()];
    let mounts = worlds.each_ref().map(World::mount);
    for (world, mount) in worlds.iter().zip(&mounts) {
        world.emulator.set_faults(vec![FaultRule {
            call: Some(LoggedCall::Upload),
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
        }]);
        assert!(!mount.try_sh("cp /etc/passwd refused").status.success());
    }
    // Mounts of other tests may be listed too, and may be on their way out.
    let output = worlds[0].afs().arg("pending").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    for mount in &mounts {
        let at = lines
            .iter()
            .position(|line| Some(*line) == mount.path().to_str());
        let at = at.unwrap_or_else(|| panic!("{} is not in: {said}", mount.path().display()));
        assert!(lines[at + 1].contains("refused"), "{said}");
    }
}
