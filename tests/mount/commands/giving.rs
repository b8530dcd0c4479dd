//! Ids that were given out live on for a while when their files are replaced: they are in somebody's prompt.

use afs::api::FileId;
use afs::state::now;

use super::{afs, ran};
use crate::dropping::trashed;
use crate::harness::{Calls, World, eventually};
use crate::surface::{Direct, Setup, Surface};

const HOUR: i64 = 60 * 60 * 1000;

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

/// Whether the service has the file of this id.
fn is_alive(world: &World, id: &str) -> bool {
    world.emulator.content(id).unwrap().is_some()
}

#[test]
fn an_id_that_was_given_out_lives_on_when_its_file_is_replaced_or_renamed() {
    for command in ["id", "block"] {
        let world = World::new();
        let mount = world.mount();
        mount.sh("echo one > a.md; echo one > b.md");
        let ids = ["a.md", "b.md"].map(|name| world.stored(name).id);
        assert_eq!(afs(&world, command, &["a.md", "b.md"]).code, Some(0));
        let calls = world.calls_of(|| drop(mount.sh("echo two > a.md; mv b.md c.md; sync .")));
        eventually("both are done", || world.calls().upload == 2);
        assert_eq!(calls.delete, 0);
        // Nobody waits for it, and nothing of it shows.
        let mut flush = world.afs();
        ran(flush.arg("flush").arg(mount.path()));
        assert_eq!(mount.names(), ["a.md", "c.md"]);
        assert!(ids.iter().all(|id| is_alive(&world, id)), "{command}");
        mount.unmount();
        let mount = world.mount();
        assert_eq!(mount.names(), ["a.md", "c.md"]);
        assert_eq!(mount.sh("cat a.md c.md"), "two\none\n");
        assert!(ids.iter().all(|id| is_alive(&world, id)), "{command}");
        let status = mount_status(&world);
        assert_eq!(status["lingering"], 2);
        assert_eq!(status["pending"], 0);
    }
}

fn mount_status(world: &World) -> serde_json::Value {
    let mut status = world.afs();
    let mountpoint = world.dir.path().join("mnt");
    ran(status.args(["status", "--json"]).arg(mountpoint)).json()[0].clone()
}

/// What is only looked at, or removed, is deleted at once as ever.
#[test]
fn other_ids_are_deleted_at_once() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo one > a.md; echo one > b.md");
    let looked_at = world.stored("a.md").id;
    let removed = world.stored("b.md").id;
    for command in ["show", "find"] {
        assert_eq!(afs(&world, command, &["a.md"]).code, Some(0));
    }
    assert_eq!(afs(&world, "id", &["b.md"]).code, Some(0));
    mount.sh("echo two > a.md; rm b.md");
    eventually("both are deleted", || {
        !is_alive(&world, &looked_at) && !is_alive(&world, &removed)
    });
}

#[test]
fn everything_that_is_replaced_stays_for_as_long_as_a_mount_is_told() {
    let world = World::new();
    let mount = world.mount_with(&["--keep-replaced", "1h"]);
    mount.sh("echo one > a.md");
    let first = world.stored("a.md").id;
    let calls = world.calls_of(|| drop(mount.sh("echo two > a.md")));
    assert_eq!(calls, ONE_UPLOAD);
    mount.unmount();
    let mount = world.mount_with(&["--keep-replaced", "1ms"]);
    let mut stored = world.all_stored("a.md");
    stored.retain(|file| file.id != first);
    mount.sh("echo three > a.md");
    eventually("the second one is deleted", || {
        !is_alive(&world, &stored[0].id)
    });
    assert!(is_alive(&world, &first), "its hour is not over yet");
    assert_eq!(mount.sh("cat a.md"), "three\n");
    assert_eq!(mount.names(), ["a.md"]);
}

#[test]
fn after_a_day_it_is_deleted_and_its_bytes_are_in_the_trash() {
    let world = World::new();
    let fs = Direct::start(&world, &Setup::default());
    let surface: &dyn Surface = &fs;
    surface.put("a.md", b"one").unwrap();
    let id = world.stored("a.md").id;
    fs.state().give_out(&FileId::new(id.clone())).unwrap();
    surface.put("a.md", b"two").unwrap();
    assert!(fs.state().pending().is_empty());
    let day = now() + 24 * HOUR;
    let next = fs.state().end_lingering(day - HOUR).unwrap();
    assert!(
        next.is_some_and(|next| (day - HOUR / 60..=day).contains(&next)),
        "{next:?}"
    );
    assert!(fs.state().pending().is_empty());
    assert_eq!(fs.state().lingering().unwrap(), 1);

    assert_eq!(fs.state().end_lingering(day).unwrap(), None);
    assert_eq!(fs.state().lingering().unwrap(), 0);
    eventually("it is deleted", || !is_alive(&world, &id));
    eventually("that is known", || fs.state().pending().is_empty());
    assert_eq!(surface.get("a.md").unwrap(), b"two");
    assert_eq!(trashed(&world), [("a.md".to_owned(), b"one".to_vec())]);
}

/// It can be had back all the same, for who saved over it by mistake.
#[test]
fn a_version_whose_id_lives_on_is_restored_like_others() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo one > a.md");
    let old = world.stored("a.md").id;
    assert_eq!(afs(&world, "id", &["a.md"]).code, Some(0));
    mount.sh("echo two > a.md");
    let trash = |command: &str, words: &[&str]| {
        let mut trash = world.afs();
        trash
            .args(["trash", command, "--state-dir"])
            .arg(world.state_root());
        ran(trash.arg(mount.path()).args(words))
    };
    let listed = trash("list", &[]);
    assert!(
        listed
            .out
            .contains(&format!("{old}  a.md  (replaced; its id works until ")),
        "{}",
        listed.out
    );
    trash("empty", &["--yes"]).prints(0, "the trash is empty\n");
    trash("restore", &["a.md", "--as", "old.md"]).prints(0, "restored old.md\n");
    assert_eq!(mount.sh("cat a.md old.md"), "two\none\n");
    assert!(is_alive(&world, &old));
}
