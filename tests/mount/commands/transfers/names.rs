//! Names that the service refuses, typed to commands: through a mount that encodes them, and where one has left its
//! state. With nothing but the key names are as they are.

use std::fs;

use super::{Desk, Way};
use crate::commands::{Ran, ran};
use crate::dropping::trashed;
use crate::harness::{Calls, Mount, World, eventually};

const NAME: &str = "Meeting 10:30.txt";
const STORED: &str = "Meeting 10：30.txt";

/// Through a mount, and with what one has left; a mount lasts for as long as `act` takes.
fn each_way(act: impl Fn(&Desk<'_>)) {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = world.mount_with(&["--names", "encode", "--refresh", "1ms"]);
        let mount = stays(mount, way == Way::Mounted);
        act(&Desk::of(&world, way));
        drop(mount);
    }
}

/// The mount, or nothing but the state that it has left.
fn stays(mount: Mount, is_mounted: bool) -> Option<Mount> {
    if is_mounted {
        return Some(mount);
    }
    mount.unmount();
    None
}

/// `afs trash`, mounted or not.
fn trash(world: &World, command: &str, words: &[&str]) -> Ran {
    let mut afs = world.afs();
    afs.args(["trash", command, "--state-dir"])
        .arg(world.state_root())
        .arg(world.dir.path().join("mnt"))
        .args(words);
    ran(&mut afs)
}

#[test]
fn put_get_and_rm_take_the_names_that_a_mount_shows() {
    each_way(|desk| {
        let world = desk.world;
        desk.write(NAME, b"text\n");
        world.forget_calls();
        let put = desk.afs("put", &[NAME]);
        assert_eq!(put.code, Some(0), "{}", put.err);
        assert!(put.out.ends_with(&format!("  {NAME}\n")), "{}", put.out);
        assert_eq!(world.stored_bytes(STORED), b"text\n");
        assert_eq!(world.calls().upload, 1);
        desk.write(NAME, b"text, changed\n");
        assert_eq!(desk.afs("put", &[NAME]).code, Some(0));
        eventually("it is replaced", || world.all_stored(STORED).len() == 1);
        fs::remove_file(desk.at(NAME)).unwrap();
        let got = desk.afs("get", &[NAME]);
        assert_eq!(got.code, Some(0), "{}", got.err);
        assert_eq!(fs::read(desk.at(NAME)).unwrap(), b"text, changed\n");
        world.removes(STORED);
        assert_eq!(desk.afs("rm", &[NAME]).code, Some(0));
        assert!(world.emulator.files().unwrap().is_empty());
        desk.afs("rm", &[NAME]).complains(3, NAME);
        // What tools make comes under the plain name as well.
        world.output("a：b.png", b"image");
        eventually("it is known", || {
            desk.afs("get", &["a:b.png"]).code == Some(0)
        });
        assert_eq!(fs::read(desk.at("a:b.png")).unwrap(), b"image");
    });
}

#[test]
fn questions_are_answered_by_the_names_that_a_mount_shows() {
    for is_mounted in [true, false] {
        let world = World::new();
        let id = world.output(STORED, b"text\n").id;
        let mount = world.mount_with(&["--names", "encode"]);
        let mount = stays(mount, is_mounted);
        let asked = |command: &str, words: &[&str]| {
            let ran = crate::commands::afs(&world, command, words);
            assert_eq!(ran.code, Some(0), "{command}: {}", ran.err);
            ran
        };
        assert_eq!(asked("ls", &["--json"]).json()[0]["name"], NAME);
        assert_eq!(asked("id", &[NAME]).out, format!("{id}\n"));
        let shown = asked("show", &[NAME, "--json"]).json();
        assert_eq!(
            (&shown[0]["name"], &shown[0]["filename"]),
            (&NAME.into(), &STORED.into())
        );
        assert_eq!(asked("block", &[NAME]).json()[0]["source"]["file_id"], *id);
        assert!(asked("find", &["*10:3?.txt"]).out.contains(NAME));
        assert_eq!(crate::commands::afs(&world, "id", &[STORED]).code, Some(3));
        let bare = Desk::of(&world, Way::Bare);
        bare.afs("id", &[STORED]).prints(0, &format!("{id}\n"));
        drop(mount);
    }
}

#[test]
fn the_trash_calls_files_by_the_names_of_the_style() {
    let world = World::new();
    let mount = world.mount_with(&["--names", "encode"]);
    mount.sh(&format!("echo text > '{NAME}'"));
    world.removes(STORED);
    mount.sh(&format!("rm '{NAME}'"));
    eventually("it is deleted", || {
        !trashed(&world).is_empty() && world.emulator.files().unwrap().is_empty()
    });
    assert!(
        trash(&world, "list", &[])
            .out
            .contains(&format!("  {NAME}\n"))
    );
    mount.unmount();
    assert!(
        trash(&world, "list", &[])
            .out
            .contains(&format!("  {NAME}\n"))
    );
    let mount = world.mount();
    assert!(
        trash(&world, "list", &[])
            .out
            .contains(&format!("  {STORED}\n"))
    );
    mount.unmount();
    let mount = world.mount_with(&["--names", "encode"]);
    trash(&world, "restore", &[NAME]).prints(0, &format!("restored {NAME}\n"));
    assert_eq!(world.stored_bytes(STORED), b"text\n");
    assert_eq!(mount.names(), [NAME]);
    drop(mount);
}

#[test]
fn what_is_pending_goes_by_the_name_that_was_typed() {
    use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

    let world = World::new();
    let mount = world.mount_with(&["--names", "encode", "--timeout", "300ms"]);
    let rules = [LoggedCall::Upload, LoggedCall::Delete].map(|call| FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    });
    mount.sh(&format!("echo text > '{NAME}'"));
    let id = world.stored(STORED).id;
    world.emulator.set_faults(rules.into());
    mount.sh(&format!("rm '{NAME}'"));
    assert!(!mount.try_sh("cp /etc/hostname 'p?'").status.success());
    let pending = |words: &[&str]| crate::commands::afs(&world, "pending", words);
    let changes = pending(&["--json"]).out;
    assert!(
        changes.contains(NAME) && changes.contains("p?"),
        "{changes}"
    );
    assert!(
        !changes.contains('：') && !changes.contains('？'),
        "{changes}"
    );
    let status = ran(world.afs().arg("status").arg(mount.path()).arg("--json")).out;
    assert!(
        status.contains("\"p?\"") && !status.contains('？'),
        "{status}"
    );
    // A deletion that was not sent is taken back by that name, a save given up.
    trash(&world, "restore", &[NAME]).prints(
        0,
        &format!("restored {NAME}: the service had not been told of its deletion\n"),
    );
    assert_eq!(mount.sh(&format!("cat '{NAME}'")), "text\n");
    eventually("it can be dropped", || {
        pending(&["--drop", "p?"]).code == Some(0)
    });
    assert_eq!(mount.names(), [NAME]);
    assert_eq!(world.stored(STORED).id, id);
    world.emulator.clear_faults();
    mount.unmount();
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

#[test]
fn a_name_that_is_refused_is_explained() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        desk.write("a?b", b"text");
        let refused = desk.afs("put", &["a?b"]);
        assert_eq!(refused.code, Some(1), "{}", refused.err);
        for part in [
            "afs mount --names encode stores it as ？",
            "or give it another with --name",
        ] {
            assert!(refused.err.contains(part), "{}", refused.err);
        }
        assert_eq!(world.calls().but_lists(), Calls::NONE);
        drop(mount);
    }
}
