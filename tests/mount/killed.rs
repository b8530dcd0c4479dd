//! Programs that are killed, or fail. In the middle of replacing a file they leave a part of one, and what was there
//! before is not lost; while they wait for a hung server they are gone at once, and what they saved goes on.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use afs::emulator::LoggedCall;

use super::harness::{Mount, World, eventually, pattern};

/// Writes half of something over `name` and kills itself with `signal` before it closes.
fn half_written(name: &str, signal: &str) -> String {
    format!(
        "python3 -c 'import os, signal; f = open(\"{name}\", \"wb\", 0); f.write(b\"half\"); \
         os.kill(os.getpid(), signal.{signal})'; true"
    )
}

#[test]
fn a_killed_replacement_of_what_only_the_service_has_deletes_nothing() {
    for signal in ["SIGINT", "SIGTERM", "SIGKILL", "SIGHUP"] {
        let world = World::new();
        let old = world.foreign("report.md", b"the only copy in the world");
        let mount = world.mount_with(&["--refresh", "0s"]);
        // Python turns SIGINT into an exception where nobody asks it not to.
        let line = half_written("report.md", signal).replace(
            "f = open",
            "signal.signal(signal.SIGINT, signal.SIG_DFL); f = open",
        );
        mount.sh(&line);
        eventually("the half is saved", || {
            world.all_stored("report.md").len() == 2
        });
        eventually("the old one is shown beside it", || {
            mount.names().len() == 2
        });
        // All that was to be sent is sent, also a deletion.
        let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
        assert!(flushed.success());
        let kept = world.emulator.content(&old.id).unwrap();
        assert_eq!(
            kept.as_deref(),
            Some(&b"the only copy in the world"[..]),
            "{signal}"
        );
    }
}

/// Killed before it has written anything: what is left is an empty file.
#[test]
fn a_killed_replacement_that_had_not_begun_deletes_nothing_either() {
    let world = World::new();
    let old = world.foreign("report.md", b"the only copy in the world");
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh(&half_written("report.md", "SIGKILL").replace("f.write(b\"half\"); ", ""));
    // The kernel tells of a handle's end after the program's.
    eventually("the emptiness is saved", || {
        let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
        assert!(flushed.success());
        world
            .emulator
            .files()
            .unwrap()
            .iter()
            .any(|file| file.id != old.id)
    });
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"the only copy in the world"[..]));
}

/// `cp` of something too large closes what it could write, says "File too large", and is done. Found by looking at what
/// programs do when a write fails: the part took the place of the only copy.
#[test]
fn a_replacement_that_is_too_large_deletes_nothing_of_which_only_the_service_has_a_copy() {
    let world = World::new();
    let old = world.foreign("report.md", b"the only copy in the world");
    let mount = world.mount_with(&["--refresh", "0s"]);
    let failed = mount.try_sh(
        "python3 -c 'f = open(\"report.md\", \"wb\", 0); f.write(b\"half\"); f.seek(500 << 20); f.write(b\"x\")'",
    );
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("File too large"), "{said}");
    eventually("the old one is shown beside the part", || {
        mount.names().len() == 2
    });
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"the only copy in the world"[..]));
}

/// cp ends a copy of a file that ends in a hole with ftruncate(2).
#[test]
fn a_replacement_whose_hole_is_too_large_deletes_nothing_either() {
    let world = World::new();
    let old = world.foreign("report.md", b"the only copy in the world");
    let mount = world.mount_with(&["--refresh", "0s"]);
    let failed =
        mount.try_sh("printf half > ../large; truncate -s 501M ../large; cp ../large report.md");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("File too large"), "{said}");
    all_is_sent(&world, &mount, "report.md", 2);
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"the only copy in the world"[..]));
}

/// Waits until so many files of this name are at the service, and nothing is left to be sent, a deletion neither.
fn all_is_sent(world: &World, mount: &Mount, name: &str, files: usize) {
    eventually("all is saved", || {
        let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
        flushed.success() && world.all_stored(name).len() == files
    });
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
    assert_eq!(world.all_stored(name).len(), files);
}

/// What people do to a copy that takes too long.
#[test]
fn a_cp_over_a_file_that_is_ended_by_ctrl_c_leaves_what_was_there() {
    let world = World::new();
    let old = world.foreign("report.md", b"the only copy in the world");
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("mkfifo ../slow");
    let mut cp = Command::new("cp");
    cp.args(["../slow", "report.md"]).current_dir(mount.path());
    let copy = super::harness::start(&mut cp);
    let mut slow = fs::File::options()
        .write(true)
        .open(world.dir.path().join("slow"))
        .unwrap();
    let part = pattern(700_000);
    slow.write_all(&part).unwrap();
    eventually("a part is copied", || {
        fs::metadata(mount.at("report.md")).unwrap().len() == part.len() as u64
    });
    is_gone_by(copy, "-INT", 2);
    drop(slow);
    all_is_sent(&world, &mount, "report.md", 2);
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"the only copy in the world"[..]));
    assert!(fs::read(mount.at("report.md")).unwrap() == part);
}

/// What was there is the beginning of what is there now, so there is nothing to keep beside it: a log that is ended by
/// Ctrl-C every day is one file.
#[test]
fn a_killed_program_that_only_appended_replaces_what_was_there() {
    for signal in ["SIGINT", "SIGKILL", "SIGSEGV"] {
        for sync in ["", "os.fsync(f); "] {
            let world = World::new();
            let mount = world.mount_with(&["--refresh", "0s"]);
            mount.sh("echo before > log");
            let old = world.stored("log");
            mount.sh(&format!(
                "python3 -c 'import os, signal, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); \
                 signal.signal(signal.SIGINT, signal.SIG_DFL); f = os.open(\"log\", os.O_WRONLY | os.O_APPEND); \
                 os.write(f, b\"more\\n\"); {sync}os.kill(os.getpid(), signal.{signal})'; true"
            ));
            eventually("the old one is gone", || {
                world.emulator.content(&old.id).unwrap().is_none()
            });
            all_is_sent(&world, &mount, "log", 1);
            assert_eq!(world.stored_bytes("log"), b"before\nmore\n");
            assert_eq!(mount.names(), ["log"]);
        }
    }
}

/// It wrote over what was there before it appended.
#[test]
fn a_killed_program_that_wrote_over_and_appended_leaves_what_was_there() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("echo before > log");
    let old = world.stored("log");
    mount.sh(
        "python3 -c 'import os, signal; f = os.open(\"log\", os.O_WRONLY); os.pwrite(f, b\"B\", 0); \
         os.pwrite(f, b\"more\", 7); os.kill(os.getpid(), signal.SIGKILL)'; true",
    );
    all_is_sent(&world, &mount, "log", 2);
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"before\n"[..]));
    assert_eq!(mount.sh("cat log"), "Before\nmore");
}

/// A program that was stopped (Ctrl-Z) and goes on has not crashed: `/proc/PID/stat` has the signal that stopped it.
#[test]
fn a_program_that_was_stopped_in_the_middle_and_goes_on_saves_like_any_other() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo before > notes.md");
    let old = world.stored("notes.md");
    let program = "import os, signal\nf = open(\"notes.md\", \"wb\", 0)\nf.write(b\"half\")\n\
                   os.kill(os.getpid(), signal.SIGSTOP)\nf.write(b\" and half\")\nf.close()";
    let mut python = Command::new("python3");
    python.args(["-c", program]).current_dir(mount.path());
    let mut python = super::harness::start(&mut python);
    let stat = format!("/proc/{}/stat", python.id());
    eventually("it is stopped", || {
        fs::read_to_string(&stat).unwrap().contains(" T ")
    });
    let pid = python.id().to_string();
    let told = Command::new("kill").args(["-CONT", &pid]).status().unwrap();
    assert!(told.success());
    assert!(python.wait().unwrap().success());
    eventually("the old one is gone", || {
        world.emulator.content(&old.id).unwrap().is_none()
    });
    assert_eq!(world.stored_bytes("notes.md"), b"half and half");
}

/// The kernel closes what is to be closed by an execve(2) in the middle of it, and keeps readers of `/proc/PID/stat` waiting
/// meanwhile: the mount was one, and it, the program and every `ps` waited for each other.
#[test]
fn a_program_that_becomes_another_one_saves_what_it_replaced() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo before > notes.md");
    mount.sh(
        "exec python3 -c 'import os; f = os.open(\"notes.md\", os.O_WRONLY | os.O_TRUNC); os.write(f, b\"whole\"); \
         os.execvp(\"true\", [\"true\"])'",
    );
    mount.unmount();
    assert_eq!(world.stored_bytes("notes.md"), b"whole");
}

#[test]
fn a_replacement_that_ends_well_deletes_what_it_replaces() {
    let world = World::new();
    let old = world.foreign("report.md", b"old");
    let mount = world.mount();
    mount.sh("echo whole > report.md");
    eventually("the old one is gone", || {
        world.emulator.content(&old.id).unwrap().is_none()
    });
    assert_eq!(world.stored_bytes("report.md"), b"whole\n");
}

/// Also where its bytes are here: whoever has pasted its id somewhere wants the whole file, not the half.
#[test]
fn a_killed_replacement_of_what_is_here_leaves_it_at_the_service_too() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("echo before > notes.md");
    let old = world.stored("notes.md");
    mount.sh(&half_written("notes.md", "SIGKILL"));
    eventually("the half is saved", || {
        world.all_stored("notes.md").len() == 2
    });
    let suffixed = format!("notes~{}.md", &old.id[old.id.len() - 8..]);
    eventually("the version before is beside it", || {
        mount.names() == ["notes.md".to_owned(), suffixed.clone()]
    });
    assert_eq!(
        mount.sh(&format!("cat notes.md {suffixed}")),
        "halfbefore\n"
    );
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
    assert!(world.emulator.content(&old.id).unwrap().is_some());
}

/// How long a killed program may take to be gone; people are promised a second.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A shell line in the mount, on its way.
fn start(mount: &Mount, line: &str) -> Child {
    Command::new("bash")
        .args(["-c", line])
        .current_dir(mount.path())
        .spawn()
        .unwrap()
}

/// Sends the signal and waits until the program is gone by it.
fn is_gone_by(child: Child, signal: &str, number: i32) {
    is_gone_within(AT_ONCE, child, signal, number);
}

fn is_gone_within(limit: Duration, mut child: Child, signal: &str, number: i32) {
    let killed = Instant::now();
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &pid])
            .status()
            .unwrap()
            .success()
    );
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(number), "{signal}");
    assert!(killed.elapsed() < limit, "{signal}: {:?}", killed.elapsed());
}

const SIGNALS: [(&str, i32); 3] = [("-INT", 2), ("-TERM", 15), ("-KILL", 9)];

#[test]
fn a_reader_of_a_hung_server_is_gone_when_it_is_killed() {
    let world = World::new();
    for (signal, _) in SIGNALS {
        world.output(&format!("out{signal}"), b"content");
    }
    let mount = world.mount();
    world.hang(&[LoggedCall::Content]);
    for (n, (signal, number)) in SIGNALS.into_iter().enumerate() {
        let reader = start(&mount, &format!("exec cat out{signal}"));
        eventually("the download hangs", || world.calls().content == n + 1);
        is_gone_by(reader, signal, number);
    }
    world.emulator.clear_faults();
    assert_eq!(mount.sh("cat ./out-INT"), "content");
}

/// Cutting a file that only the service has fetches it first.
#[test]
fn who_cuts_a_file_of_a_hung_server_is_gone_when_it_is_killed() {
    let world = World::new();
    world.output("out", b"content");
    let mount = world.mount();
    world.hang(&[LoggedCall::Content]);
    for (signal, number) in SIGNALS {
        let cutter = start(&mount, "exec truncate -s 3 out");
        eventually("the download hangs", || world.calls().content == 1);
        is_gone_by(cutter, signal, number);
    }
    world.emulator.clear_faults();
    assert_eq!(mount.sh("cat out"), "content");
}

/// A lookup below `.afs` asks the service for what is not known here. It was the last wait that nothing ended.
#[test]
fn who_looks_into_a_view_of_a_hung_server_is_gone_when_it_is_killed() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let file = world.output("new", b"text");
    world.hang(&[LoggedCall::Metadata, LoggedCall::List]);
    world.forget_calls();
    for (n, (signal, number)) in SIGNALS.into_iter().enumerate() {
        let id = &file.id;
        let asker = start(&mount, &format!("exec stat .afs/by-id/{id}"));
        eventually("the question hangs", || world.calls().metadata == n + 1);
        is_gone_by(asker, signal, number);
        let asker = start(&mount, &format!("exec ls .afs/sessions/sesn_{n}"));
        eventually("the listing hangs", || world.calls().list == n + 1);
        is_gone_by(asker, signal, number);
    }
    world.emulator.clear_faults();
    assert_eq!(mount.sh(&format!("cat .afs/by-id/{}", file.id)), "text");
}

/// An `ls` waits up to two seconds for a listing that is due.
#[test]
fn an_ls_of_a_hung_server_is_gone_when_it_is_killed() {
    const BEFORE_IT_GIVES_UP: Duration = Duration::from_millis(1_500);
    for (signal, number) in SIGNALS {
        let world = World::new();
        world.output("a", b"text");
        let mount = world.mount_with(&["--refresh", "0s"]);
        world.hang(&[LoggedCall::List]);
        world.forget_calls();
        let lister = start(&mount, "exec ls");
        eventually("the listing hangs", || world.calls().list == 1);
        is_gone_within(BEFORE_IT_GIVES_UP, lister, signal, number);
        world.emulator.clear_faults();
    }
}

#[test]
fn a_closer_of_a_hung_server_is_gone_when_it_is_killed_and_its_save_goes_on() {
    let world = World::new();
    std::fs::write(world.dir.path().join("ten-zeros"), [0; 10]).unwrap();
    let mount = world.mount();
    world.hang(&[LoggedCall::Upload]);
    for (n, (signal, number)) in SIGNALS.into_iter().enumerate() {
        // cp catches no signal; dd does, and would rather finish.
        let line = format!("exec cp ../ten-zeros new{signal}");
        let writer = start(&mount, &line);
        eventually("the upload hangs", || world.calls().upload == n + 1);
        is_gone_by(writer, signal, number);
    }
    world.emulator.clear_faults();
    for (signal, _) in SIGNALS {
        let name = format!("new{signal}");
        eventually("the save arrives", || world.all_stored(&name).len() == 1);
        assert_eq!(world.stored_bytes(&name), [0; 10]);
    }
}
