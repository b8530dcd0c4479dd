//! `afs trash`: what was deleted by mistake is had back.

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::{Ran, ran};
use crate::dropping::trashed;
use crate::harness::{Calls, World, eventually};

/// Runs `afs trash COMMAND MOUNTPOINT WORDS`.
fn trash(world: &World, command: &str, words: &[&str]) -> Ran {
    let mut afs = world.afs();
    afs.env("TZ", "UTC")
        .args(["trash", command, "--state-dir"])
        .arg(world.state_root())
        .arg(world.dir.path().join("mnt"))
        .args(words);
    ran(&mut afs)
}

fn all_is_deleted(world: &World) {
    eventually("it is deleted at the service", || {
        world.emulator.files().unwrap().is_empty()
    });
}

#[test]
fn what_was_deleted_is_listed_and_restored_as_a_new_file() {
    let world = World::new();
    world.removes("report.pdf");
    let mount = world.mount();
    mount.sh("echo text > report.pdf");
    let old = world.stored("report.pdf").id;
    mount.sh("rm report.pdf");
    all_is_deleted(&world);
    eventually("it is in the trash", || !trashed(&world).is_empty());

    let listed = trash(&world, "list", &[]);
    assert_eq!(listed.code, Some(0));
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", listed.out);
    assert!(lines[0].starts_with("        5 B  20"), "{}", lines[0]);
    assert!(
        lines[0].ends_with(&format!("  {old}  report.pdf")),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1], "1 file, 5 B");

    let calls = world.calls_of(|| {
        trash(&world, "restore", &["report.pdf"]).prints(0, "restored report.pdf\n");
    });
    let one_upload = Calls {
        upload: 1,
        ..Calls::NONE
    };
    assert_eq!(calls, one_upload);
    assert_eq!(mount.sh("cat report.pdf"), "text\n");
    assert_eq!(world.stored_bytes("report.pdf"), b"text\n");
    assert_ne!(world.stored("report.pdf").id, old);
    trash(&world, "list", &[]).prints(0, "the trash is empty\n");
    assert_eq!(trashed(&world), []);
}

/// The service has not been told: the file is back as it was, with its id, for nothing.
#[test]
fn a_deletion_that_was_not_sent_is_taken_back() {
    let world = World::new();
    world.removes("report.pdf");
    let mount = world.mount_with(&["--timeout", "1s"]);
    mount.sh("echo text > report.pdf");
    let id = world.stored("report.pdf").id;
    let away = FaultRule {
        call: Some(LoggedCall::Delete),
        ..FaultRule::new(FaultAction::Status(FaultAnswer {
            headers: [("retry-after".to_owned(), "3000".to_owned())].into(),
            ..FaultAnswer::status(503)
        }))
    };
    world.emulator.set_faults(vec![away]);
    mount.sh("rm report.pdf");
    eventually("it is tried", || world.calls().delete > 0);
    eventually("it is shown", || {
        trash(&world, "list", &[])
            .out
            .contains("its deletion has not been sent yet  report.pdf")
    });
    eventually("it is taken back", || {
        trash(&world, "restore", &["report.pdf"]).out
            == "restored report.pdf: the service had not been told of its deletion\n"
    });
    world.emulator.clear_faults();
    let calls = world.calls_of(|| assert_eq!(mount.sh("cat report.pdf"), "text\n"));
    assert_eq!((calls.upload, calls.content, calls.delete), (0, 0, 0));
    assert_eq!(world.stored("report.pdf").id, id);
}

#[test]
fn nothing_is_overwritten_by_what_comes_back() {
    let world = World::new();
    world.removes("a.md");
    let mount = world.mount();
    mount.sh("echo one > a.md; echo two > a.md; echo three > a.md");
    eventually("both old ones are in the trash", || {
        trashed(&world).len() == 2
    });
    trash(&world, "restore", &["a.md"]).complains(4, "not overwritten");
    assert_eq!(mount.sh("cat a.md"), "three\n");
    // The one replaced last.
    trash(&world, "restore", &["a.md", "--as", "b.md"]).prints(0, "restored b.md\n");
    assert_eq!(mount.sh("cat b.md"), "two\n");
    trash(&world, "restore", &["a.md", "--as", "../c.md"]).complains(2, "not a path");
    trash(&world, "restore", &["nothing"]).complains(3, "nothing of this name or id");
    assert_eq!(trashed(&world), [("a.md".to_owned(), b"one\n".to_vec())]);
}

/// What can't be uploaded stays where it is.
#[test]
fn what_can_not_be_put_back_stays_in_the_trash() {
    let world = World::new();
    world.removes("a.md");
    let mount = world.mount_with(&["--timeout", "1s"]);
    mount.sh("echo one > a.md; rm a.md");
    all_is_deleted(&world);
    eventually("it is in the trash", || trashed(&world).len() == 1);
    mount.unmount();
    // That of another workspace than the key's is left alone.
    let other = ["a.md", "--workspace-id", "wrkspc_other"];
    let refused = trash(&world, "restore", &other);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert!(
        refused.err.contains("of another workspace"),
        "{}",
        refused.err
    );
    let _mount = world.mount_with(&["--read-only"]);
    trash(&world, "restore", &["a.md"]).complains(1, "Read-only file system");
    assert_eq!(trashed(&world), [("a.md".to_owned(), b"one\n".to_vec())]);
}

#[test]
fn the_trash_is_emptied_by_who_says_so() {
    let world = World::new();
    for name in ["a.md", "b.md"] {
        world.removes(name);
    }
    let mount = world.mount();
    mount.sh("echo one > a.md; echo two > b.md; rm a.md b.md");
    all_is_deleted(&world);
    eventually("both are in the trash", || trashed(&world).len() == 2);
    trash(&world, "empty", &[]).complains(4, "say --yes");
    trash(&world, "empty", &["c.md", "--yes"]).complains(3, "c.md");
    assert_eq!(trashed(&world).len(), 2);
    trash(&world, "empty", &["a.md", "--yes"]).prints(0, "removed 1 file (4 B)\n");
    assert_eq!(trashed(&world), [("b.md".to_owned(), b"two\n".to_vec())]);
    mount.unmount();
    let listed = trash(&world, "list", &["--json"]).json();
    assert_eq!(listed[0]["name"], "b.md");
    let path = listed[0]["path"].as_str().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"two\n");
    trash(&world, "empty", &["--yes"]).prints(0, "removed 1 file (4 B)\n");
    trash(&world, "empty", &["--yes"]).prints(0, "the trash is empty\n");
    assert_eq!(trashed(&world), []);
}

/// The key is enough to upload it again, and what was not sent needs not even that.
#[test]
fn what_was_deleted_is_restored_without_a_mount() {
    let world = World::new();
    world.removes("a.md");
    world.removes("b.md");
    let mount = world.mount();
    mount.sh("echo one > a.md; echo two > b.md; rm a.md");
    eventually("it is deleted", || world.all_stored("a.md").is_empty());
    eventually("it is in the trash", || trashed(&world).len() == 1);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Delete),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    }]);
    mount.sh("rm b.md");
    mount.unmount();
    world.emulator.clear_faults();
    world.forget_calls();
    trash(&world, "restore", &["b.md"]).prints(
        0,
        "restored b.md: the service had not been told of its deletion\n",
    );
    assert_eq!(world.calls(), Calls::NONE);
    trash(&world, "restore", &["a.md"]).prints(0, "restored a.md\n");
    assert_eq!(world.calls().upload, 1);
    assert_eq!(world.stored_bytes("a.md"), b"one\n");
    trash(&world, "list", &[]).prints(0, "the trash is empty\n");
    let mount = world.mount();
    assert_eq!(mount.sh("cat a.md b.md"), "one\ntwo\n");
    assert_eq!(world.calls().delete, 0);
}
