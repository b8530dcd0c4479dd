//! `afs rm`: what is meant goes, and nothing else.

use std::fs;
use std::path::Path;

use super::{Desk, Way, each_way};
use crate::harness::{Calls, World};

const ONE_DELETION: Calls = Calls {
    delete: 1,
    ..Calls::NONE
};

#[test]
fn rm_is_one_deletion_and_returns_when_it_is_done() {
    each_way(|desk| {
        let world = desk.world;
        let id = world.output("b.txt", b"b").id;
        world.output("a.txt", b"a");
        world.removes("a.txt");
        world.removes("b.txt");
        world.forget_calls();
        desk.afs("rm", &["a.txt"])
            .prints_beside_notices(0, "deleted a.txt\n");
        assert_eq!(world.calls().but_lists().delete, ONE_DELETION.delete);
        assert!(world.all_stored("a.txt").is_empty());
        assert_eq!(desk.afs("delete", &[&id]).code, Some(0));
        assert!(world.emulator.files().unwrap().is_empty());
        let gone = desk.afs("rm", &["a.txt"]);
        assert_eq!(gone.code, Some(3), "{}", gone.err);
    });
}

#[test]
fn what_rm_deletes_is_in_the_trash_unless_it_is_purged() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        for name in ["kept.md", "secret.md"] {
            desk.write(name, name.as_bytes());
            assert_eq!(desk.afs("put", &[name]).code, Some(0));
            world.removes(name);
        }
        assert_eq!(desk.afs("rm", &["kept.md"]).code, Some(0));
        assert_eq!(desk.afs("rm", &["secret.md", "--purge"]).code, Some(0));
        assert!(world.emulator.files().unwrap().is_empty());
        let trash = world.state_dir().join("trash");
        let mut names = Vec::new();
        collect(&trash, &mut names);
        assert!(
            names.iter().any(|name| name.contains("kept.md")),
            "{names:?}"
        );
        assert!(holds(&world.state_dir(), b"kept.md"));
        assert!(!holds(&world.state_dir(), b"secret.md"));
        assert!(
            !names.iter().any(|name| name.contains("secret")),
            "{names:?}"
        );
        drop(mount);
    }
}

fn collect(dir: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
        collect(&entry.path(), names);
    }
}

/// Whether a file of just these bytes is below a directory.
fn holds(dir: &Path, content: &[u8]) -> bool {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                holds(&path, content)
            } else {
                fs::read(path).is_ok_and(|bytes| bytes == content)
            }
        })
}

#[test]
fn rm_is_refused_where_too_much_would_be_lost() {
    let world = World::new();
    for n in 0..3 {
        world.output(&format!("{n}.txt"), b"x");
    }
    let mount = world.mount_with(&["--delete-guard", "2"]);
    let desk = Desk::of(&world, Way::Mounted);
    world.removes("0.txt");
    world.removes("1.txt");
    let ran = desk.afs("rm", &["0.txt", "1.txt", "2.txt"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("afs allow-deletes"), "{}", ran.err);
    assert_eq!(mount.names(), ["2.txt"]);
}

/// Whoever repeats it must not delete an older one each time.
#[test]
fn with_the_key_alone_a_name_of_several_files_is_not_enough_to_delete() {
    let world = World::new();
    let older = world.output("a.txt", b"old").id;
    world.output("a.txt", b"new");
    let desk = Desk::of(&world, Way::Bare);
    desk.afs("rm", &["a.txt"])
        .complains(4, "2 files are called a.txt");
    assert_eq!(world.emulator.files().unwrap().len(), 2);
    world.removes("a.txt");
    desk.afs("rm", &[&older]).prints(0, "deleted a.txt\n");
    assert_eq!(world.stored_bytes("a.txt"), b"new");
}
