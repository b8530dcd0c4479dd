//! Drafts that nobody closed before the mount ended: kept, shown, and sent or dropped by the user's word only.

use std::fs;
use std::io::Write;
use std::process::Command;

use afs::fs::{Dropped, DroppedKind};

use super::dropping::trashed;
use super::harness::{Calls, World, eventually, pattern};
use super::surface::{NEW, On, Surface, on_both};

/// Larger than what a draft may have in memory.
const STAGED: usize = 2_500_000;

/// Opens and writes, and leaves it open.
fn begin(fs: &dyn Surface, name: &str, content: &[u8]) {
    let fd = fs.open(name, NEW).unwrap();
    for (n, chunk) in content.chunks(128 * 1024).enumerate() {
        fs.pwrite(fd, n as u64 * 128 * 1024, chunk).unwrap();
    }
}

/// Asks for each to be sent, and waits until the service has them.
fn send(world: &World, fs: &dyn Surface, drafts: &[(&str, Vec<u8>)]) {
    for (name, content) in drafts {
        // The kernel tells of a handle's end after its close has returned.
        eventually("it can be sent", || match fs.retry(Some(name)) {
            Ok(count) => count == 1,
            Err(why) if why.contains("open for writing") => false,
            Err(why) => panic!("{why}"),
        });
        assert_eq!(fs.get(name).unwrap(), *content, "{name}");
    }
    eventually("all are sent", || {
        drafts.iter().all(|(name, content)| {
            let found = world.all_stored(name);
            found.len() == 1 && found[0].size_bytes == content.len() as u64
        })
    });
}

on_both! {
    drafts_that_are_open_at_the_end_are_kept_and_sent_by_name_only
    a_staged_draft_survives_a_kill_and_is_sent_by_name_only
    a_dropped_draft_is_in_the_trash
    what_was_synced_is_no_draft
    a_draft_goes_by_its_last_name_and_goes_with_it
    a_draft_that_was_on_record_as_empty_is_not_sent_empty
    a_draft_is_not_sent_over_what_is_being_written
    a_file_that_was_emptied_and_synced_before_its_draft_stays_empty
    the_newest_draft_of_a_name_is_sent
}

fn drafts_that_are_open_at_the_end_are_kept_and_sent_by_name_only(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("replaced", b"the version before").unwrap();
    world.forget_calls();
    let drafts = [
        ("large", pattern(STAGED)),
        ("middle", pattern(300_000)),
        ("replaced", pattern(1_000)),
        ("small", pattern(100)),
    ];
    for (name, content) in &drafts {
        begin(&*fs, name, content);
    }
    fs.terminate();
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["replaced"]);
    assert_eq!(fs.get("replaced").unwrap(), b"the version before");
    let sizes = || {
        let sizes = drafts
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.len() as u64));
        sizes.collect::<Vec<_>>()
    };
    let shown = |fs: &dyn Surface| {
        let mut shown = fs.unfinished();
        shown.sort();
        shown
    };
    assert_eq!(shown(&*fs), sizes());
    assert_eq!(fs.retry(None), Ok(0));
    // Over another mount, too.
    fs.end();
    let fs = on.start(&world);
    assert_eq!(shown(&*fs), sizes());
    assert_eq!(world.calls().but_lists(), Calls::NONE);

    send(&world, &*fs, &drafts);
    assert_eq!(fs.unfinished(), []);
    fs.end();
    for (name, content) in &drafts {
        assert_eq!(world.stored_bytes(name), *content, "{name}");
    }
    assert_eq!(
        trashed(&world),
        [("replaced".to_owned(), b"the version before".to_vec())]
    );
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            upload: 4,
            delete: 1,
            ..Calls::NONE
        }
    );
    let fs = on.start(&world);
    assert_eq!(fs.get("replaced").unwrap(), pattern(1_000));
    fs.end();
}

fn a_staged_draft_survives_a_kill_and_is_sent_by_name_only(on: On) {
    let world = World::new();
    world.output("replaced", b"an output");
    let fs = on.start(&world);
    let drafts = [("new", pattern(STAGED)), ("replaced", pattern(STAGED + 1))];
    for (name, content) in &drafts {
        begin(&*fs, name, content);
    }
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["replaced"]);
    assert_eq!(fs.stat("replaced").unwrap().size, 9);
    assert_eq!(fs.unfinished().len(), 2);
    assert_eq!(fs.retry(None), Ok(0));
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    send(&world, &*fs, &drafts);
    fs.end();
    for (name, content) in &drafts {
        assert_eq!(world.stored_bytes(name), *content, "{name}");
    }
}

fn a_dropped_draft_is_in_the_trash(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let drafts = [("large", pattern(STAGED)), ("small", pattern(10))];
    for (name, content) in &drafts {
        begin(&*fs, name, content);
    }
    fs.terminate();
    let fs = on.start(&world);
    for (name, content) in &drafts {
        let dropped = Dropped {
            kind: DroppedKind::Unfinished,
            name: (*name).to_owned(),
            size: content.len() as u64,
            in_trash: true,
            may_have_arrived: false,
        };
        assert_eq!(fs.drop_pending(name), Ok(vec![dropped]));
    }
    assert_eq!(fs.unfinished(), []);
    let expected = drafts.map(|(name, content)| (name.to_owned(), content));
    assert_eq!(trashed(&world), expected);
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.unfinished(), []);
    assert!(fs.names().is_empty());
    fs.end();
    assert_eq!(world.calls().but_lists(), Calls::NONE);
}

fn what_was_synced_is_no_draft(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for (name, size) in [("small", 100), ("large", STAGED)] {
        let fd = fs.open(name, NEW).unwrap();
        for (n, chunk) in pattern(size).chunks(128 * 1024).enumerate() {
            fs.pwrite(fd, n as u64 * 128 * 1024, chunk).unwrap();
        }
        fs.fsync(fd).unwrap();
    }
    fs.terminate();
    assert_eq!(world.calls().upload, 0);
    let fs = on.start(&world);
    assert_eq!(fs.unfinished(), []);
    assert_eq!(fs.names(), ["large", "small"]);
    fs.end();
    assert_eq!(world.stored_bytes("small"), pattern(100));
    assert_eq!(world.stored_bytes("large"), pattern(STAGED));
    assert_eq!(world.calls().upload, 2);
}

fn a_draft_goes_by_its_last_name_and_goes_with_it(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    begin(&*fs, "removed", &pattern(STAGED));
    fs.unlink("removed").unwrap();
    fs.put("kept", b"saved").unwrap();
    begin(&*fs, "kept", &pattern(STAGED));
    // What was written before is sent under the new name; what is written from here on is a draft again.
    let fd = fs.open("kept", libc::O_WRONLY).unwrap();
    fs.rename("kept", "moved", 0).unwrap();
    fs.pwrite(fd, 0, b"changed").unwrap();
    fs.kill();
    let fs = on.start(&world);
    let moved = ("moved".to_owned(), STAGED as u64);
    assert_eq!(fs.unfinished(), [moved]);
    assert_eq!(fs.get("moved").unwrap(), pattern(STAGED));
    let mut changed = pattern(STAGED);
    changed[..7].copy_from_slice(b"changed");
    send(&world, &*fs, &[("moved", changed.clone())]);
    fs.end();
    assert_eq!(world.stored_bytes("moved"), changed);
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

/// A shell's `> f` closes a duplicate before anything is written: the new file is on record as empty then.
fn a_draft_that_was_on_record_as_empty_is_not_sent_empty(on: On) {
    for kill in [false, true] {
        let world = World::new();
        let fs = on.start(&world);
        let fd = fs.open("f", NEW).unwrap();
        fs.close_dup(fd).unwrap();
        for (n, chunk) in pattern(STAGED).chunks(128 * 1024).enumerate() {
            fs.pwrite(fd, n as u64 * 128 * 1024, chunk).unwrap();
        }
        if kill {
            fs.kill();
        } else {
            fs.terminate();
        }
        let fs = on.start(&world);
        assert!(fs.names().is_empty(), "{kill}");
        assert_eq!(fs.unfinished().len(), 1, "{kill}");
        fs.end();
        assert_eq!(world.calls().but_lists(), Calls::NONE, "{kill}");
    }
}

fn a_draft_is_not_sent_over_what_is_being_written(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    begin(&*fs, "f", b"unfinished");
    fs.terminate();
    let fs = on.start(&world);
    let fd = fs.open("f", NEW).unwrap();
    fs.pwrite(fd, 0, b"newer").unwrap();
    let why = fs.retry(Some("f")).unwrap_err();
    assert!(why.contains("open for writing"), "{why}");
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("f"), b"newer");
    send(&world, &*fs, &[("f", b"unfinished".to_vec())]);
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"unfinished");
    assert_eq!(trashed(&world), [("f".to_owned(), b"newer".to_vec())]);
}

/// Found by random operations (`model`): the emptiness was taken for that of a new file, and its record dropped, while the
/// version before was still to be sent: that one was dropped as well, or shown with the size of the other.
fn a_file_that_was_emptied_and_synced_before_its_draft_stays_empty(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a.tmp", b"the version before").unwrap();
    let fd = fs.open("a.tmp", NEW).unwrap();
    fs.fsync(fd).unwrap();
    for (n, chunk) in pattern(STAGED).chunks(128 * 1024).enumerate() {
        fs.pwrite(fd, n as u64 * 128 * 1024, chunk).unwrap();
    }
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("a.tmp").unwrap(), b"");
    assert_eq!(fs.unfinished(), [("a.tmp".to_owned(), STAGED as u64)]);
    fs.end();
    assert_eq!(world.stored_bytes("a.tmp"), b"");
}

fn the_newest_draft_of_a_name_is_sent(on: On) {
    let world = World::new();
    for content in [&b"first"[..], b"the second"] {
        let fs = on.start(&world);
        begin(&*fs, "f", content);
        fs.terminate();
    }
    let fs = on.start(&world);
    assert_eq!(fs.unfinished().len(), 2);
    send(&world, &*fs, &[("f", b"the second".to_vec())]);
    assert_eq!(fs.unfinished(), [("f".to_owned(), 5)]);
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"the second");
}

#[test]
fn what_was_never_closed_is_told_in_words() {
    let world = World::new();
    let mount = world.mount();
    let mut draft = fs::File::create(mount.at("never closed.txt")).unwrap();
    draft.write_all(b"half of it").unwrap();
    let log = mount.log();
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    draft.sync_all().unwrap_err();
    drop(draft);

    let mount = world.mount();
    assert!(!log.contains("never closed"), "{log}");
    assert!(
        mount.log().contains("1 files were never closed"),
        "{}",
        mount.log()
    );
    let afs = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_afs"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let at = mount.path().to_str().unwrap();
    let shown = afs(&["pending", at]);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    for part in [
        "unfinished",
        "10 B",
        "never closed.txt",
        "never closed by its program; send it with afs pending --retry NAME, or give it up with --drop NAME",
    ] {
        assert!(shown.contains(part), "{part} is not in: {shown}");
    }
    let changes: serde_json::Value =
        serde_json::from_str(&afs(&["pending", "--json", at])).unwrap();
    assert_eq!(changes[0]["kind"], "unfinished");
    assert_eq!(changes[0]["size"], 10);
    let shown = afs(&["status", at]);
    assert!(
        shown.contains("nothing; 1 file never closed by its program: afs pending"),
        "{shown}"
    );
    let mounts: serde_json::Value = serde_json::from_str(&afs(&["status", "--json", at])).unwrap();
    assert_eq!(mounts[0]["unfinished"], 1);
    assert_eq!(mounts[0]["pending"], 0);
    afs(&["pending", at, "--retry", "never closed.txt"]);
    eventually("it is sent", || {
        world.all_stored("never closed.txt").len() == 1
    });
    assert_eq!(world.stored_bytes("never closed.txt"), b"half of it");
    assert_eq!(afs(&["pending", at]).lines().count(), 1);
}
