//! `.afs/`: files by their id, read-only and out of the way.

use super::harness::{Calls, World, errno, eventually};
use super::surface::{NEW, On, Setup, calls_by_the_end, on_both};
use afs::emulator::PlantedFile;

on_both! {
    the_views_are_found_and_not_listed
    an_id_leads_to_its_file
    an_unknown_id_is_asked_for_once_and_missing
    an_id_that_was_not_listed_yet_is_found_by_one_question
    a_file_of_a_session_is_read_by_its_id_and_never_written
    an_id_that_vanished_is_missing
    the_views_are_not_for_changing
}

fn the_views_are_found_and_not_listed(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(fs.stat(".afs").unwrap().mode, 0o500);
    let views = fs.list(".afs").unwrap();
    assert!(views.iter().any(|(name, _)| name == "by-id"));
    let ids = fs.list(".afs/by-id").unwrap();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].0, file.id);
    assert_eq!(fs.stat(".afs/other"), Err(libc::ENOENT));
}

fn an_id_leads_to_its_file(on: On) {
    let world = World::new();
    let output = world.output("output.md", b"text");
    let fs = on.start(&world);
    fs.put("own.md", b"own").unwrap();
    let own = world.stored("own.md");
    world.forget_calls();
    for (id, name, content) in [
        (output.id, "output.md", &b"text"[..]),
        (own.id, "own.md", b"own"),
    ] {
        let path = format!(".afs/by-id/{id}");
        assert_eq!(fs.get(&path).unwrap(), content);
        assert_eq!(fs.stat(&path).unwrap(), fs.stat(name).unwrap());
    }
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            content: 1,
            ..Calls::NONE
        }
    );
}

const ONE_QUESTION: Calls = Calls {
    metadata: 1,
    ..Calls::NONE
};

fn an_unknown_id_is_asked_for_once_and_missing(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.forget_calls();
    assert_eq!(fs.stat(".afs/by-id/file_unknown"), Err(libc::ENOENT));
    assert_eq!(calls_by_the_end(&world, fs), ONE_QUESTION);
}

fn an_id_that_was_not_listed_yet_is_found_by_one_question(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let file = world.output("new.md", b"text");
    world.forget_calls();
    let path = format!(".afs/by-id/{}", file.id);
    assert_eq!(fs.stat(&path).unwrap().size, 4);
    assert_eq!(world.calls(), ONE_QUESTION);
    assert_eq!(fs.names(), ["new.md"]);
    assert_eq!(fs.get(&path).unwrap(), b"text");
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            content: 1,
            ..ONE_QUESTION
        }
    );
}

fn a_file_of_a_session_is_read_by_its_id_and_never_written(on: On) {
    let world = World::new();
    let planted = world.emulator.plant(PlantedFile {
        session: Some("session_1".to_owned()),
        ..PlantedFile::output("scoped.md", "text")
    });
    let path = format!(".afs/by-id/{}", planted.unwrap().id);
    let fs = on.start(&world);
    assert!(fs.names().is_empty());
    assert_eq!(fs.get(&path).unwrap(), b"text");
    for flags in [libc::O_WRONLY, libc::O_RDWR, NEW] {
        assert_eq!(fs.open(&path, flags), Err(libc::EROFS), "{flags:o}");
    }
    assert_eq!(fs.truncate(&path, 0), Err(libc::EROFS));
    assert!(fs.names().is_empty());
    fs.end();
    assert_eq!(world.stored_bytes("scoped.md"), b"text");
}

/// A listing took its name away; its row is still known.
fn an_id_that_vanished_is_missing(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    let path = format!(".afs/by-id/{}", file.id);
    world.emulator.delete(&file.id).unwrap();
    eventually("its name is hidden", || fs.names().is_empty());
    world.forget_calls();
    assert_eq!(fs.stat(&path), Err(libc::ENOENT));
    assert_eq!(world.calls().but_lists(), ONE_QUESTION);
}

fn the_views_are_not_for_changing(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start(&world);
    let path = format!(".afs/by-id/{}", file.id);
    world.forget_calls();
    assert_eq!(fs.open(".afs/new", NEW), Err(libc::EROFS));
    assert_eq!(fs.unlink(&path), Err(libc::EROFS));
    assert_eq!(fs.rename(&path, "b", 0), Err(libc::EROFS));
    assert_eq!(fs.rename("a", ".afs/a", 0), Err(libc::EROFS));
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

#[test]
fn links_lead_out_of_the_view_and_directories_stay_as_they_are() {
    let world = World::new();
    let file = world.output("a b.md", b"text");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let link = mount.at(format!(".afs/by-id/{}", file.id));
    let target = std::fs::read_link(&link).unwrap();
    assert_eq!(target.to_str(), Some("../../a b.md"));
    assert_eq!(mount.sh(&format!("cd .afs/by-id; cat {}", file.id)), "text");
    assert_eq!(errno(std::fs::create_dir(mount.at(".afs/d"))), libc::EROFS);
    assert_eq!(errno(std::fs::create_dir(mount.at(".afs"))), libc::EEXIST);
    assert!(std::fs::remove_dir(mount.at(".afs")).is_err());
    assert!(std::fs::rename(mount.at(".afs"), mount.at("views")).is_err());
    // Nothing that walks through the workspace walks into it.
    assert_eq!(mount.sh("find . -mindepth 1"), "./a b.md\n");
}
