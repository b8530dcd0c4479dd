//! Names that are most often about to change: a save under one is durable at once, and sent when the name has lasted or
//! under the name it gets. What programs do with such files costs one upload.

use afs::emulator::LoggedCall;

use super::harness::{Calls, World, eventually};
use super::surface::{NEW, On, calls_by_the_end, on_both};

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

/// What replacing a file takes.
const REPLACED: Calls = Calls {
    delete: 1,
    ..ONE_UPLOAD
};

on_both! {
    a_temporary_file_that_gets_its_name_is_one_upload
    a_temporary_file_renamed_over_another_is_one_upload_and_one_deletion
    a_temporary_file_that_is_removed_again_is_no_request
    a_provisional_name_that_lasts_is_sent_once_with_the_newest_content
    what_waits_under_a_provisional_name_survives_a_kill
    what_waits_and_is_emptied_is_not_lost_before_its_last_close
    a_file_renamed_to_a_provisional_name_waits_and_goes_out_under_its_last_name
    an_empty_file_that_is_renamed_still_waits_for_its_content
    the_old_file_moved_aside_during_a_save_is_never_uploaded
}

const TEMPORARY: [&str; 8] = [
    ".f.Xa91Qz",
    "tmpk3_x9a0q",
    "sedAb12Cd",
    "XX7ypWrc",
    "zirxgVKU",
    "f.aBcDeF",
    "f.osZdXa7",
    "f.part",
];

fn a_temporary_file_that_gets_its_name_is_one_upload(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for (n, temporary) in TEMPORARY.into_iter().enumerate() {
        let name = format!("file {n}");
        world.forget_calls();
        fs.put(temporary, b"content").unwrap();
        assert_eq!(world.calls().upload, 0, "{temporary}");
        assert_eq!(fs.get(temporary).unwrap(), b"content");
        fs.set_mtime(temporary, 1_000_000_000).unwrap();
        fs.rename(temporary, &name, 0).unwrap();
        // At once: nobody waits for a quiet time any more.
        eventually("it is saved", || !world.all_stored(&name).is_empty());
        assert_eq!(world.stored_bytes(&name), b"content", "{temporary}");
        assert_eq!(fs.stat(&name).unwrap().mtime, 1_000_000_000);
        assert_eq!(world.calls().but_lists(), ONE_UPLOAD, "{temporary}");
    }
    fs.end();
    assert_eq!(world.emulator.files().unwrap().len(), TEMPORARY.len());
}

fn a_temporary_file_renamed_over_another_is_one_upload_and_one_deletion(on: On) {
    for temporary in TEMPORARY {
        let world = World::new();
        let fs = on.start(&world);
        fs.put("f", b"old").unwrap();
        world.forget_calls();
        fs.put(temporary, b"new").unwrap();
        fs.rename(temporary, "f", 0).unwrap();
        assert_eq!(fs.get("f").unwrap(), b"new");
        assert_eq!(fs.names(), ["f"]);
        assert_eq!(calls_by_the_end(&world, fs), REPLACED, "{temporary}");
        assert_eq!(world.stored_bytes("f"), b"new");
        assert_eq!(world.emulator.files().unwrap().len(), 1, "{temporary}");
    }
}

/// vim looks whether it can create 4913; databases remove their journals.
fn a_temporary_file_that_is_removed_again_is_no_request(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for (name, content) in [("4913", &b""[..]), ("4913", b"x"), ("a.db-journal", b"log")] {
        fs.put(name, content).unwrap();
        fs.unlink(name).unwrap();
    }
    assert!(fs.names().is_empty());
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_provisional_name_that_lasts_is_sent_once_with_the_newest_content(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for content in ["KEY=", "KEY=value", "KEY=value\n"] {
        fs.put(".env.sample", content.as_bytes()).unwrap();
    }
    eventually("it is saved by itself", || {
        !world.all_stored(".env.sample").is_empty()
    });
    assert_eq!(world.stored_bytes(".env.sample"), b"KEY=value\n");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn what_waits_under_a_provisional_name_survives_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a.tmp", b"text").unwrap();
    fs.kill();
    assert!(world.emulator.files().unwrap().is_empty());
    let fs = on.start(&world);
    assert_eq!(fs.get("a.tmp").unwrap(), b"text");
    // An unmount waits for no quiet time.
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("a.tmp"), b"text");
}

/// Found by random operations (`model`): a shell's `> f` closes a duplicate of the emptied file, and that took the place
/// of content that was acknowledged and not sent yet. Whoever died then had neither the old content nor the new one.
fn what_waits_and_is_emptied_is_not_lost_before_its_last_close(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f.part", b"acknowledged").unwrap();
    let fd = fs.open("f.part", NEW).unwrap();
    fs.close_dup(fd).unwrap();
    assert_eq!(fs.stat("f.part").unwrap().size, 0);
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("f.part").unwrap(), b"acknowledged");
    fs.end();
    assert_eq!(world.stored_bytes("f.part"), b"acknowledged");
    assert_eq!(world.calls().but_lists(), ONE_UPLOAD);
}

fn a_file_renamed_to_a_provisional_name_waits_and_goes_out_under_its_last_name(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    world.forget_calls();
    fs.rename("a", "a.tmp", 0).unwrap();
    fs.rename("a.tmp", "b.part", 0).unwrap();
    fs.rename("b.part", "b", 0).unwrap();
    eventually("it is saved", || !world.all_stored("b").is_empty());
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("b"), b"text");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

fn an_empty_file_that_is_renamed_still_waits_for_its_content(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("draft", b"").unwrap();
    fs.rename("draft", "f", 0).unwrap();
    fs.put("f", b"text").unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("f"), b"text");
}

/// Some editors move the old file aside first.
fn the_old_file_moved_aside_during_a_save_is_never_uploaded(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("Main.java", b"old").unwrap();
    world.forget_calls();
    fs.put("Main.java___jb_tmp___", b"new").unwrap();
    fs.rename("Main.java", "Main.java___jb_old___", 0).unwrap();
    fs.rename("Main.java___jb_tmp___", "Main.java", 0).unwrap();
    fs.unlink("Main.java___jb_old___").unwrap();
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("Main.java"), b"new");
}

#[test]
fn programs_that_replace_a_file_by_a_temporary_one_cost_one_upload_and_one_deletion() {
    let ways = [
        "sed -i s/old/new/ f",
        "python3 -c 'import os, tempfile; d, t = tempfile.mkstemp(dir=\".\"); os.write(d, b\"new\\n\"); os.fsync(d); \
         os.close(d); os.replace(t, \"f\")'",
        "python3 -c 'import os, tempfile; t = tempfile.NamedTemporaryFile(\"w\", dir=\".\", suffix=\".txt\", \
         delete=False); t.write(\"new\\n\"); t.close(); os.replace(t.name, \"f\")'",
        "t=$(mktemp -p .); echo new > $t; mv $t f",
        "echo new > .f.Ab3dE9; touch -d 2001-02-03 .f.Ab3dE9; chmod 600 .f.Ab3dE9; mv -f .f.Ab3dE9 f",
        "cp f f.tmp; echo new > f.tmp; mv f.tmp f",
    ];
    for way in ways {
        let world = World::new();
        let mount = world.mount_with(&["--refresh", "1h"]);
        mount.sh("echo old > f");
        world.forget_calls();
        mount.sh(way);
        assert_eq!(mount.sh("cat f"), "new\n", "{way}");
        mount.unmount();
        assert_eq!(world.calls().but_lists(), REPLACED, "{way}");
        assert_eq!(world.stored_bytes("f"), b"new\n", "{way}");
        assert_eq!(world.emulator.files().unwrap().len(), 1, "{way}");
    }
}

/// Its close said that it is safe here, so that it is not at the service yet is to be seen.
#[test]
fn what_waits_under_a_provisional_name_is_in_pending_and_counted_at_the_unmount() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    mount.sh("echo text > notes.md");
    // However slow this machine is.
    world.hang(&[LoggedCall::Upload]);
    mount.sh("echo temporary > a.tmp; touch empty; echo swap > .a.swp");
    let afs = |command: &str| {
        let output = world
            .afs()
            .args(command.split(' '))
            .arg(mount.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let pending = afs("pending");
    for (name, what) in [("a.tmp", "save"), ("empty", "save"), (".a.swp", "scratch")] {
        let line = pending.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.starts_with(what), "{line}");
    }
    let status = afs("status");
    assert!(
        status.contains("pending   2 changes; 1 scratch file on this machine only"),
        "{status}"
    );
    let said = afs("unmount --no-wait");
    assert!(
        said.contains("2 changes stay on this machine for the next mount to send"),
        "{said}"
    );
    assert!(
        said.contains("1 scratch file stays on this machine"),
        "{said}"
    );
    assert_eq!(mount.wait(), Some(0));
    world.emulator.clear_faults();
    // This unmount waits for both.
    world.mount_with(&["--refresh", "1h"]).unmount();
    assert_eq!(world.stored_bytes("a.tmp"), b"temporary\n");
    assert_eq!(world.stored_bytes("empty"), b"");
    assert_eq!(world.emulator.files().unwrap().len(), 3);
}
