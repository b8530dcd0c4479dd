//! `afs unmount` and signals while there is work: who is told what, and that nothing is lost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, Mount, World, eventually, is_mounted, pattern};
use super::hung::{close_of, held, mount_has_confirmed};

fn unmount(mount: &Mount, options: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_afs"))
        .arg("unmount")
        .args(options)
        .arg(mount.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refuse_uploads(world: &World) {
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
}

/// Saves that wait at the server, each in a thread of its own.
fn hung_saves(world: &World, mount: &Mount, names: &[&str]) -> Vec<JoinHandle<Result<(), i32>>> {
    world.hang(&[LoggedCall::Upload]);
    let saves = names
        .iter()
        .map(|name| {
            let path = mount.at(name);
            thread::spawn(move || close_of(path, &pattern(100_000)))
        })
        .collect();
    eventually("all wait at the server", || {
        held(world, LoggedCall::Upload) == names.len()
    });
    saves
}

#[test]
fn a_forced_unmount_ends_a_mount_in_use_and_loses_nothing() {
    let world = World::new();
    world.output("read", b"content");
    let mount = world.mount();
    let path = mount.path().to_owned();
    refuse_uploads(&world);
    assert_eq!(close_of(mount.at("refused"), b"kept"), Err(libc::EACCES));
    let mut reader = Command::new("sleep")
        .arg("600")
        .stdin(fs::File::open(mount.at("read")).unwrap())
        .spawn()
        .unwrap();
    let mut draft = fs::File::create(mount.at("draft")).unwrap();
    draft.write_all(&pattern(2_000_000)).unwrap();
    let ended = unmount(&mount, &["--force"]);
    assert!(!is_mounted(&path));
    assert_eq!(mount.wait(), Some(0));
    let said = said(&ended);
    for part in [
        "1 change could not be sent (refused",
        &format!("sleep ({})", reader.id()),
        "what they have open there fails from now on",
        "1 change stays on this machine for the next mount to send",
        "1 file was never closed by the programs that wrote them",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    draft.sync_all().unwrap_err();
    drop(draft);
    reader.kill().unwrap();
    reader.wait().unwrap();

    world.emulator.clear_faults();
    let mount = world.mount();
    eventually("the refused one is sent", || {
        mount_has_confirmed(&mount, "refused")
    });
    assert_eq!(world.stored_bytes("refused"), b"kept");
    assert_eq!(mount.names(), ["read", "refused"]);
    let retried = world
        .afs()
        .arg("pending")
        .arg(mount.path())
        .args(["--retry", "draft"])
        .status()
        .unwrap();
    assert!(retried.success());
    eventually("the draft is sent", || world.all_stored("draft").len() == 1);
    assert_eq!(world.stored_bytes("draft"), pattern(2_000_000));
}

#[test]
fn a_forced_unmount_of_a_mount_that_nobody_uses_is_an_unmount() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo x > f");
    let ended = unmount(&mount, &["--force"]);
    assert_eq!(said(&ended), "");
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(world.stored_bytes("f"), b"x\n");
}

#[test]
fn an_unmount_that_does_not_wait_says_how_much_stays() {
    let world = World::new();
    let mount = world.mount();
    refuse_uploads(&world);
    for name in ["a", "b"] {
        assert_eq!(close_of(mount.at(name), b"kept"), Err(libc::EACCES));
    }
    world.forget_calls();
    let ended = unmount(&mount, &["--no-wait"]);
    assert_eq!(
        said(&ended),
        "afs: 2 changes stay on this machine for the next mount to send\n"
    );
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    world.emulator.clear_faults();
    let mount = world.mount();
    for name in ["a", "b"] {
        eventually("it is sent", || mount_has_confirmed(&mount, name));
        assert_eq!(world.stored_bytes(name), b"kept");
    }
}

/// `afs flush`, which must come back; its exit code and its words.
fn flush(mount: &Mount) -> (Option<i32>, String) {
    let flushed = Command::new("timeout")
        .args(["-k", "1", "20", env!("CARGO_BIN_EXE_afs"), "flush"])
        .arg(mount.path())
        .output()
        .unwrap();
    (flushed.status.code(), said(&flushed))
}

/// Removed and made anew while its first upload may or may not have arrived: the second waits for the first, and that
/// one is tried, in vain.
#[test]
fn a_flush_ends_though_a_save_waits_behind_another_of_its_name() {
    let world = World::new();
    let mount = world.mount_with(&["--timeout", "1s"]);
    let broken = [LoggedCall::Upload, LoggedCall::List].map(|call| FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(500)))
    });
    world.emulator.set_faults(broken.to_vec());
    assert_eq!(close_of(mount.at("f"), b"first"), Err(libc::EIO));
    mount.sh("rm f");
    assert_eq!(close_of(mount.at("f"), b"second"), Err(libc::EIO));
    let (code, said) = flush(&mount);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("2 changes could not be sent (f: "), "{said}");
    world.emulator.clear_faults();
    assert_eq!(flush(&mount).0, Some(0));
    assert_eq!(world.stored_bytes("f"), b"second");
}

#[test]
fn a_read_only_mount_says_that_it_sends_nothing_and_ends_at_once() {
    let world = World::new();
    let mount = world.mount();
    refuse_uploads(&world);
    assert_eq!(close_of(mount.at("a"), b"kept"), Err(libc::EACCES));
    unmount(&mount, &["--no-wait"]);
    assert_eq!(mount.wait(), Some(0));
    world.emulator.clear_faults();
    world.forget_calls();
    let mount = world.mount_with(&["--read-only"]);
    let (code, words) = flush(&mount);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("mount it without --read-only"), "{words}");
    let mut retry = world.afs();
    let retried = retry
        .arg("pending")
        .arg(mount.path())
        .arg("--retry")
        .output()
        .unwrap();
    assert_eq!(retried.status.code(), Some(1));
    assert!(said(&retried).contains("mount it without --read-only"));
    let begun = Instant::now();
    let words = said(&unmount(&mount, &[]));
    assert_eq!(mount.wait(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert!(words.contains("1 change stays on this machine"), "{words}");
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    // Where nothing is pending there is nothing to say.
    let mount = world.mount();
    eventually("it is sent", || mount_has_confirmed(&mount, "a"));
    mount.unmount();
    let mount = world.mount_with(&["--read-only"]);
    assert_eq!(flush(&mount), (Some(0), String::new()));
    assert_eq!(said(&unmount(&mount, &[])), "");
    assert_eq!(mount.wait(), Some(0));
}

/// `afs unmount` while two saves hang, started by `watch`; its first words on how far it is, from `output`.
fn first_words(
    watch: impl FnOnce(&Mount) -> Child,
    output: impl FnOnce(&mut Child) -> Box<dyn Read>,
) -> String {
    let world = World::new();
    let mount = world.mount();
    world.hang(&[LoggedCall::Upload]);
    let zeros = world.dir.path().join("zeros");
    fs::write(&zeros, vec![0; 100_000]).unwrap();
    let copies: Vec<Child> = ["a", "b"]
        .iter()
        .map(|name| {
            let mut copy = Command::new("cp");
            copy.arg(&zeros).arg(mount.at(name)).spawn().unwrap()
        })
        .collect();
    eventually("both wait at the server", || {
        held(&world, LoggedCall::Upload) == 2
    });
    // So that nobody uses the mount; what they saved goes on.
    for mut copy in copies {
        copy.kill().unwrap();
        copy.wait().unwrap();
    }
    let mut child = watch(&mount);
    let mut output = BufReader::new(output(&mut child));
    let mut words = String::new();
    let mut bytes = Vec::new();
    while !words.contains("2 changes left") {
        bytes.clear();
        // A terminal's line is redrawn after a carriage return.
        let n = output.read_until(b'/', &mut bytes).unwrap();
        assert!(n > 0, "it ended without a word: {words}");
        words += &String::from_utf8_lossy(&bytes);
    }
    world.emulator.clear_faults();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(mount.wait(), Some(0));
    for name in ["a", "b"] {
        assert_eq!(world.stored_bytes(name), vec![0; 100_000]);
    }
    words
}

#[test]
fn an_unmount_says_how_far_it_is_in_lines_where_there_is_no_terminal() {
    let words = first_words(
        |mount| {
            Command::new(env!("CARGO_BIN_EXE_afs"))
                .arg("unmount")
                .arg(mount.path())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        },
        |child| Box::new(child.stderr.take().unwrap()),
    );
    assert!(words.starts_with("2 changes left, "), "{words}");
    assert!(words.contains(" of 195.31 KiB sent, "), "{words}");
    assert!(!words.contains('\r'), "{words}");
}

#[test]
fn an_unmount_shows_how_far_it_is_on_a_terminal() {
    let words = first_words(
        |mount| {
            Command::new("python3")
                .args([
                    "-c",
                    "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)",
                ])
                .arg(env!("CARGO_BIN_EXE_afs"))
                .arg("unmount")
                .arg(mount.path())
                .env("TERM", "xterm")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        },
        |child| Box::new(child.stdout.take().unwrap()),
    );
    assert!(words.contains('█') || words.contains('░'), "{words}");
    assert!(words.contains(" of 195.31 KiB sent, "), "{words}");
}

#[test]
fn a_signal_ends_a_mount_with_hung_uploads_and_open_drafts_within_ten_seconds() {
    let world = World::new();
    let mount = world.mount();
    let names = ["a", "b", "c"];
    let mut drafts = Vec::new();
    for (name, size) in [("draft 1", 1_000), ("draft 2", 3_000_000)] {
        let mut draft = fs::File::create(mount.at(name)).unwrap();
        draft.write_all(&pattern(size)).unwrap();
        drafts.push(draft);
    }
    let saves = hung_saves(&world, &mount, &names);
    let begun = Instant::now();
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    for save in saves {
        save.join().unwrap().unwrap_err();
    }
    drop(drafts);
    world.emulator.clear_faults();
    let mount = world.mount();
    for name in names {
        eventually("it is sent", || mount_has_confirmed(&mount, name));
        assert_eq!(world.stored_bytes(name), pattern(100_000));
    }
    assert_eq!(mount.names(), names);
    let pending = world
        .afs()
        .arg("pending")
        .arg(mount.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(pending.stdout).unwrap();
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

/// Scripts that look at several mounts must know whose change it is.
#[test]
fn pending_changes_in_json_name_their_mount() {
    let world = World::new();
    let mount = world.mount();
    refuse_uploads(&world);
    assert_eq!(close_of(mount.at("a"), b"kept"), Err(libc::EACCES));
    let mut pending = world.afs();
    let pending = pending.args(["pending", "--json"]).arg(mount.path());
    let listed = pending.output().unwrap();
    let changes: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(changes[0]["mountpoint"], mount.path().to_str().unwrap());
    assert_eq!(changes[0]["name"], "a");
    assert_eq!(changes[0]["kind"], "save");
    world.emulator.clear_faults();
}
