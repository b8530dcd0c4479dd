//! `--write-back`: a close returns when the content is safe on this disk, nothing waits for an upload, and of many
//! saves of one name a few are sent. Also what `fsync` and `sync DIRECTORY` mean, in both modes.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use afs::config::WRITE_BACK_PACE;
use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, World, eventually, pattern, start};
use super::surface::{NEW, On, Setup, Surface, calls_by_the_end, on_both};

on_both! {
    nothing_waits_for_an_upload
    many_saves_of_one_name_are_the_first_and_the_newest
    many_saves_by_temporary_files_are_the_first_and_the_newest
    many_saves_by_remove_and_create_are_the_first_and_the_newest
    what_replaces_a_slow_upload_is_sent_once_after_it
    a_file_removed_before_its_turn_is_never_sent
    what_was_synced_is_durable_at_once_in_both_modes
}

fn uploads_and_deletions(upload: usize, delete: usize) -> Calls {
    Calls {
        upload,
        delete,
        ..Calls::NONE
    }
}

fn nothing_waits_for_an_upload(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::write_back());
    world.hang(&[LoggedCall::Upload, LoggedCall::Delete]);
    // Whoever waited would be told of the hung upload, after a minute.
    for n in 0..3 {
        fs.put("f", format!("version {n}").as_bytes()).unwrap();
    }
    fs.append("f", b", more").unwrap();
    fs.put("large", &pattern(1_500_000)).unwrap();
    fs.rename("f", "g", 0).unwrap();
    fs.put("removed", b"x").unwrap();
    fs.unlink("removed").unwrap();
    assert_eq!(fs.get("g").unwrap(), b"version 2, more");
    assert_eq!(fs.stat("g").unwrap().size, 15);
    assert_eq!(fs.names(), ["g", "large"]);
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("g"), b"version 2, more");
    assert_eq!(world.stored("large").size_bytes, 1_500_000);
    assert_eq!(world.emulator.files().unwrap().len(), 2);
}

/// Saves `f` once, which is sent at once, and then many times in a way of its own.
fn saved_often(on: On, world: &World, save: impl Fn(&dyn Surface, &[u8])) {
    const TIMES: usize = 12;
    let fs = on.start_with(world, Setup::write_back());
    let begun = Instant::now();
    fs.put("f", b"first").unwrap();
    eventually("the first is sent at once", || {
        !world.all_stored("f").is_empty()
    });
    let mut content = String::new();
    for n in 0..TIMES {
        content = format!("version {n}");
        save(&*fs, content.as_bytes());
        assert_eq!(fs.get("f").unwrap(), content.as_bytes());
    }
    let calls = calls_by_the_end(world, fs);
    assert_eq!(world.stored_bytes("f"), content.as_bytes());
    assert_eq!(world.emulator.files().unwrap().len(), 1);
    // The first and the newest, and one more for every interval that a busy machine takes for all this.
    let intervals = begun.elapsed().as_secs() / WRITE_BACK_PACE.as_secs();
    assert!(calls.upload <= 2 + intervals as usize, "{calls:?}");
    assert_eq!(calls, uploads_and_deletions(calls.upload, calls.upload - 1));
}

fn many_saves_of_one_name_are_the_first_and_the_newest(on: On) {
    let world = World::new();
    saved_often(on, &world, |fs, content| fs.put("f", content).unwrap());
}

fn many_saves_by_temporary_files_are_the_first_and_the_newest(on: On) {
    let world = World::new();
    saved_often(on, &world, |fs, content| {
        fs.put(".f.aB3dE9", content).unwrap();
        fs.rename(".f.aB3dE9", "f", 0).unwrap();
    });
}

fn many_saves_by_remove_and_create_are_the_first_and_the_newest(on: On) {
    let world = World::new();
    world.emulator.removes("f");
    saved_often(on, &world, |fs, content| {
        fs.unlink("f").unwrap();
        fs.put("f", content).unwrap();
    });
}

fn what_replaces_a_slow_upload_is_sent_once_after_it(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::write_back());
    world.hang(&[LoggedCall::Upload]);
    fs.put("f", b"first").unwrap();
    eventually("the first is on its way", || world.calls().upload == 1);
    for n in 0..20 {
        fs.put("f", format!("version {n}").as_bytes()).unwrap();
    }
    world.emulator.clear_faults();
    assert_eq!(calls_by_the_end(&world, fs), uploads_and_deletions(2, 1));
    assert_eq!(world.stored_bytes("f"), b"version 19");
}

fn a_file_removed_before_its_turn_is_never_sent(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::write_back());
    fs.put("f", b"first").unwrap();
    eventually("the first is sent", || !world.all_stored("f").is_empty());
    fs.put("f", b"second").unwrap();
    fs.unlink("f").unwrap();
    assert_eq!(calls_by_the_end(&world, fs), uploads_and_deletions(1, 1));
    assert!(world.emulator.files().unwrap().is_empty());
}

fn what_was_synced_is_durable_at_once_in_both_modes(on: On) {
    for setup in [Setup::default(), Setup::write_back()] {
        let world = World::new();
        let fs = on.start_with(&world, setup);
        world.hang(&[LoggedCall::Upload, LoggedCall::Delete, LoggedCall::List]);
        let fd = fs.open("f", NEW).unwrap();
        fs.pwrite(fd, 0, b"text").unwrap();
        let begun = Instant::now();
        fs.fsync(fd).unwrap();
        fs.rename("f", "g", 0).unwrap();
        fs.sync_root().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(world.calls().upload, 0);
        fs.kill();
        world.emulator.clear_faults();
        let fs = on.start_with(&world, setup);
        assert_eq!(fs.get("g").unwrap(), b"text");
        fs.end();
        assert_eq!(world.stored_bytes("g"), b"text");
    }
}

/// An editor that saves every second for a minute, in a twentieth of the time.
#[test]
fn sixty_saves_in_six_intervals_are_seven_uploads() {
    const PACE: Duration = Duration::from_millis(500);
    let world = World::new();
    let setup = Setup {
        write_back: Some(PACE),
        ..Setup::default()
    };
    let fs = On::Direct.start_with(&world, setup);
    let begun = Instant::now();
    for n in 0..60 {
        let turn = begun + n * PACE / 10;
        while Instant::now() < turn {
            thread::park_timeout(turn - Instant::now());
        }
        fs.put("f", format!("version {n}").as_bytes()).unwrap();
    }
    eventually("the newest is there, alone", || {
        let stored = world.all_stored("f");
        stored.len() == 1
            && world.emulator.content(&stored[0].id).unwrap().as_deref() == Some(b"version 59")
    });
    let elapsed = begun.elapsed();
    let requests = world.emulator.requests();
    let begun: Vec<_> = requests
        .iter()
        .filter(|request| request.call == LoggedCall::Upload)
        .map(|request| request.started)
        .collect();
    // Seven, as long as this machine keeps up.
    let most = elapsed.as_millis().div_ceil(PACE.as_millis());
    assert!(
        begun.len() as u128 <= most,
        "{} in {elapsed:?}",
        begun.len()
    );
    assert!(begun.len() > 2, "they go on while it is saved");
    fs.end();
}

#[test]
fn a_flush_sends_at_once_what_waits_for_its_turn() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back"]);
    mount.sh("echo one > f");
    eventually("the first is sent", || !world.all_stored("f").is_empty());
    mount.sh("echo two > f; echo three > .f.aB3dE9");
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
    assert_eq!(world.stored_bytes("f"), b"two\n");
    assert_eq!(world.stored_bytes(".f.aB3dE9"), b"three\n");
}

#[test]
fn a_closed_file_survives_a_kill() {
    let world = World::new();
    let fs = On::Mounted.start_with(&world, Setup::write_back());
    fs.put("f", b"first").unwrap();
    eventually("the first is sent", || !world.all_stored("f").is_empty());
    fs.put("f", b"second").unwrap();
    fs.put("large", &pattern(1_500_000)).unwrap();
    fs.kill();
    let fs = On::Mounted.start_with(&world, Setup::write_back());
    assert_eq!(fs.get("f").unwrap(), b"second");
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"second");
    assert_eq!(world.stored("large").size_bytes, 1_500_000);
}

/// What is saved meanwhile does not wait for its turn either: the flush would wait with it, again and again.
#[test]
fn a_flush_ends_soon_though_saves_go_on() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back"]);
    mount.sh("echo 0 > f");
    eventually("the first is sent", || !world.all_stored("f").is_empty());
    let mut writer = Command::new("bash");
    writer
        .args(["-c", "for n in {1..400}; do echo $n > f; sleep 0.02; done"])
        .current_dir(mount.path());
    let mut writer = start(&mut writer);
    eventually("it is saved again", || {
        std::fs::read(mount.at("f")).is_ok_and(|bytes| bytes.len() > 2)
    });
    let begun = Instant::now();
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    let took = begun.elapsed();
    let is_going_on = writer.try_wait().unwrap().is_none();
    assert!(writer.wait().unwrap().success());
    assert!(flushed.success());
    assert!(is_going_on, "the flush took {took:?}");
}

#[test]
fn a_failure_that_no_close_can_tell_is_in_pending_and_in_the_log() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    mount.sh("echo text > refused");
    eventually("it is said", || {
        let output = world
            .afs()
            .arg("pending")
            .arg(mount.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines()
            .any(|line| line.contains("refused") && line.contains("403"))
    });
    assert!(mount.log().contains("refused: "));
    assert!(mount.log().contains("stays in the outbox"));
    assert_eq!(mount.sh("cat refused"), "text\n");
    world.emulator.clear_faults();
    mount.unmount();
    assert_eq!(world.stored_bytes("refused"), b"text\n");
}
