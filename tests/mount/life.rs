//! The life of a mount's process: how it ends, what it leaves, and that the next one goes on where it stopped.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultMoment, FaultRule, LoggedCall};

use super::harness::{Calls, KEY, Mount, World, contents, eventually, is_mounted, within};
use super::hung::{close_of, held, mount_has_confirmed};

/// The program's own words on standard error.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn unmount(mount: &Mount) -> Output {
    Command::new(env!("CARGO_BIN_EXE_afs"))
        .args(["unmount"])
        .arg(mount.path())
        .output()
        .expect("afs unmount")
}

/// A program that has the mount's file open for as long as it lives.
fn holder(mount: &Mount, name: &str) -> std::process::Child {
    Command::new("sleep")
        .arg("600")
        .stdin(fs::File::open(mount.at(name)).expect("open"))
        .spawn()
        .expect("sleep")
}

fn end(mut child: std::process::Child) {
    child.kill().expect("killed");
    child.wait().expect("waited");
}

#[test]
fn the_signals_that_end_programs_end_a_mount_in_good_order() {
    for signal in ["TERM", "INT", "HUP"] {
        let world = World::new();
        let mount = world.mount();
        let path = mount.path().to_owned();
        mount.sh("echo x > f");
        mount.signal(signal);
        assert_eq!(mount.wait(), Some(0), "{signal}");
        assert!(!is_mounted(&path), "{signal}");
        assert_eq!(world.stored_bytes("f"), b"x\n");
    }
}

#[test]
fn an_unmount_from_outside_ends_the_process() {
    for command in [&["umount"][..], &["fusermount3", "-u"]] {
        let world = World::new();
        let mount = world.mount();
        let path = mount.path().to_owned();
        mount.sh("echo x > f");
        let status = Command::new(command[0])
            .args(&command[1..])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success(), "{command:?}");
        assert_eq!(mount.wait(), Some(0), "{command:?}");
        assert!(!is_mounted(&path), "{command:?}");
    }
}

#[test]
fn a_signal_ends_a_mount_that_is_in_use_within_seconds() {
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount();
    let path = mount.path().to_owned();
    let holder = holder(&mount, "f");
    let mut draft = fs::File::create(mount.at("draft")).unwrap();
    draft.write_all(b"never closed").unwrap();
    let begun = Instant::now();
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!is_mounted(&path));
    end(holder);
    drop(draft);
    assert!(world.all_stored("draft").is_empty(), "it was never closed");
}

#[test]
fn a_mount_in_use_is_not_unmounted_and_says_by_whom() {
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount();
    let holder = holder(&mount, "f");
    let refused = unmount(&mount);
    assert_eq!(refused.status.code(), Some(1));
    let name = format!("sleep ({})", holder.id());
    assert!(said(&refused).contains(&name), "{}", said(&refused));
    assert!(said(&refused).contains("in use by"), "{}", said(&refused));
    assert_eq!(said(&refused).lines().count(), 1);
    assert_eq!(mount.sh("cat f"), "content");
    end(holder);
    eventually("nobody is in the way", || {
        unmount(&mount).status.code() == Some(0)
    });
    assert_eq!(mount.wait(), Some(0));
}

#[test]
fn a_second_mount_of_a_workspace_is_refused_at_once() {
    let world = World::new();
    let mount = world.mount();
    for other in ["other", "mnt"] {
        let begun = Instant::now();
        let refused = world
            .afs()
            .args(["mount", "--state-dir"])
            .arg(world.state_root())
            .arg(world.dir.path().join(other))
            .output()
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(said(&refused).lines().count(), 1, "{}", said(&refused));
        assert!(
            said(&refused).contains("mounted already")
                || said(&refused).contains("already mounted")
        );
        assert!(said(&refused).contains("afs unmount"), "{}", said(&refused));
    }
    assert!(!world.dir.path().join("other").exists());
    mount.sh("echo x > f");
}

#[test]
fn a_dead_mount_is_replaced_by_the_next() {
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount();
    let path = mount.path().to_owned();
    let open = fs::File::open(mount.at("f")).unwrap();
    let _dead = mount.kill();
    assert!(is_mounted(&path));
    let begun = Instant::now();
    let mount = world.mount();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(mount.sh("cat f"), "content");
    drop(open);
    mount.unmount();
    assert!(!is_mounted(&path), "no dead mount is left below");
}

#[test]
fn a_mount_killed_while_callers_wait_lets_them_go_and_is_replaced() {
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount();
    world.hang(&[LoggedCall::Content]);
    let path = mount.at("f");
    let reader = std::thread::spawn(move || fs::read(path));
    eventually("the reader waits", || {
        held(&world, LoggedCall::Content) == 1
    });
    let _dead = mount.kill();
    within(Duration::from_secs(5), "the reader", || reader.join())
        .unwrap()
        .unwrap_err();
    world.emulator.clear_faults();
    let mount = world.mount();
    assert_eq!(mount.sh("cat f"), "content");
}

#[test]
fn what_was_closed_survives_kill_9_and_is_there_once() {
    let world = World::new();
    let mut dead = Vec::new();
    let mut expected = BTreeMap::from([("replaced".to_owned(), b"4\n".to_vec())]);
    for round in 0..5 {
        let mount = world.mount();
        let (small, large) = (format!("small {round}"), format!("large {round}"));
        mount.sh(&format!(
            "echo {round} > '{small}'; echo {round} > replaced"
        ));
        let content = vec![round; 200_000];
        assert_eq!(close_of(mount.at(&large), &content), Ok(()));
        dead.push(mount.kill());
        expected.insert(small, format!("{round}\n").into_bytes());
        expected.insert(large, content);
    }
    let mount = world.mount();
    assert_eq!(contents(&mount), expected);
    eventually("no old version is left", || {
        world.all_stored("replaced").len() == 1
    });
    assert_eq!(world.emulator.files().unwrap().len(), 11);
    for (name, content) in expected {
        assert_eq!(world.stored_bytes(&name), content, "{name}");
    }
}

#[test]
fn what_was_removed_stays_removed_over_kill_9() {
    let world = World::new();
    world.output("output", b"1");
    let mount = world.mount();
    mount.sh("echo x > own");
    world.hang(&[LoggedCall::Delete]);
    mount.sh("rm output own");
    let _dead = mount.kill();
    assert_eq!(world.emulator.files().unwrap().len(), 2, "nothing was sent");
    world.emulator.clear_faults();
    let mount = world.mount();
    assert!(mount.names().is_empty());
    eventually("both are deleted", || {
        world.emulator.files().unwrap().is_empty()
    });
    assert!(mount.names().is_empty());
}

#[test]
fn what_an_unmount_could_not_send_the_next_mount_sends() {
    let world = World::new();
    world.output("output", b"1");
    let mount = world.mount();
    world.hang(&[LoggedCall::Delete, LoggedCall::Upload]);
    mount.sh("rm output");
    let path = mount.at("f");
    let closer = std::thread::spawn(move || close_of(path, b"2"));
    eventually("both wait at the server", || {
        held(&world, LoggedCall::Delete) + held(&world, LoggedCall::Upload) == 2
    });
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    closer.join().unwrap().unwrap_err();
    world.emulator.clear_faults();
    world.forget_calls();

    let mount = world.mount();
    assert_eq!(mount.names(), ["f"]);
    assert_eq!(mount.sh("cat f"), "2");
    eventually("both are sent", || {
        mount_has_confirmed(&mount, "f") && world.all_stored("output").is_empty()
    });
    assert_eq!(world.stored_bytes("f"), b"2");
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            upload: 1,
            delete: 1,
            ..Calls::NONE
        }
    );
}

#[test]
fn a_save_whose_answer_a_killed_process_never_heard_is_found_by_the_next() {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        when: FaultMoment::AfterEffect,
        ..FaultRule::new(FaultAction::Stall)
    }]);
    let path = mount.at("f");
    let closer = std::thread::spawn(move || close_of(path, b"once"));
    eventually("the server has it", || world.all_stored("f").len() == 1);
    let _dead = mount.kill();
    closer.join().unwrap().unwrap_err();
    world.emulator.clear_faults();
    world.forget_calls();
    let mount = world.mount();
    eventually("it is found", || mount_has_confirmed(&mount, "f"));
    assert_eq!(mount.sh("cat f"), "once");
    assert_eq!(world.stored_bytes("f"), b"once");
    assert_eq!(world.calls().upload, 0);
}

/// What a killed process may have sent is not forgotten when its file is removed before anybody has looked: it came back
/// with the next listing.
#[test]
fn a_file_removed_before_its_lost_upload_is_found_does_not_come_back() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo x > other");
    let stall_after_upload = FaultRule {
        call: Some(LoggedCall::Upload),
        when: FaultMoment::AfterEffect,
        ..FaultRule::new(FaultAction::Stall)
    };
    world.emulator.set_faults(vec![stall_after_upload]);
    let path = mount.at("f");
    let closer = std::thread::spawn(move || close_of(path, b"once"));
    eventually("the server has it", || world.all_stored("f").len() == 1);
    let _dead = mount.kill();
    closer.join().unwrap().unwrap_err();

    // Nothing can be looked for while the removal is made.
    world.hang(&[LoggedCall::List]);
    let mount = world.mount();
    mount.sh("rm f");
    world.emulator.clear_faults();
    eventually("the service has it no more", || {
        world.all_stored("f").is_empty()
    });
    assert_eq!(mount.names(), ["other"]);
}

#[test]
fn the_key_is_nowhere_to_be_seen() {
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount_with(&["-vv"]);
    mount.sh("cat f; echo x > g; rm g");
    let proc = std::path::PathBuf::from(format!("/proc/{}", mount.pid()));
    let contains_key = |bytes: &[u8]| {
        bytes
            .windows(KEY.len())
            .any(|window| window == KEY.as_bytes())
    };
    for file in ["cmdline", "environ"] {
        let bytes = fs::read(proc.join(file)).unwrap();
        assert!(!contains_key(&bytes), "/proc/PID/{file}");
    }
    assert!(!contains_key(mount.log().as_bytes()), "the log");
    mount.unmount();
    for file in files_below(world.dir.path()) {
        assert!(
            !contains_key(&fs::read(&file).unwrap()),
            "{}",
            file.display()
        );
    }
}

/// Every regular file below a directory.
fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn the_state_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.output("f", b"content");
    let mount = world.mount();
    mount.sh("cat f; echo small > g; head -c 2000000 /dev/zero > h");
    for root in [world.state_root(), world.dir.path().join("cache")] {
        let mut directories = vec![root];
        while let Some(directory) = directories.pop() {
            let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&directory) & 0o777, 0o700, "{}", directory.display());
            for entry in fs::read_dir(&directory).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    directories.push(path);
                } else {
                    assert_eq!(mode(&path) & 0o777, 0o600, "{}", path.display());
                }
            }
        }
    }
}

/// The line of the kernel's table for a mount.
fn table_line(mount: &Mount) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(1) == mount.path().to_str())
        .expect("mounted");
    line.split([' ', ',']).map(str::to_owned).collect()
}

#[test]
fn the_kernels_table_shows_what_kind_of_mount_it_is() {
    let world = World::new();
    let mount = world.mount();
    let line = table_line(&mount);
    assert_eq!((&*line[0], &*line[2]), ("afs", "fuse.afs"));
    for word in ["rw", "noexec", "nosuid", "nodev"] {
        assert!(line.iter().any(|shown| shown == word), "{word}: {line:?}");
    }
    for word in ["allow_other", "default_permissions"] {
        assert!(!line.iter().any(|shown| shown == word), "{word}: {line:?}");
    }
    mount.unmount();
    let mount = world.mount_with(&["--read-only", "--allow-other"]);
    let line = table_line(&mount);
    for word in [
        "ro",
        "noexec",
        "nosuid",
        "nodev",
        "allow_other",
        "default_permissions",
    ] {
        assert!(line.iter().any(|shown| shown == word), "{word}: {line:?}");
    }
    mount.unmount();
    let mount = world.mount_with(&["-o", "ro,noatime,default_permissions"]);
    let line = table_line(&mount);
    for word in ["ro", "noatime", "default_permissions"] {
        assert!(line.iter().any(|shown| shown == word), "{word}: {line:?}");
    }
    let error = fs::write(mount.at("f"), "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}
