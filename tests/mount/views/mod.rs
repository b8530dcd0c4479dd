//! `.afs/`: files by their id, what tools made, sessions, and how the mount is; out of the way, and not for writing.

mod session_files;
pub(crate) mod sessions;
mod status;

use std::collections::HashSet;

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
    a_listing_of_ids_shows_what_is_new
    outputs_are_links_to_what_can_be_read
    a_listing_of_outputs_shows_what_is_new
    thousands_of_outputs_are_listed_once_each
    an_output_that_is_replaced_by_an_upload_is_none_any_more
    the_views_are_not_for_changing
}

fn the_views_are_found_and_not_listed(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(fs.stat(".afs").unwrap().mode, 0o500);
    let views = fs.list(".afs").unwrap();
    let views: Vec<_> = views.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(views, ["by-id", "outputs", "sessions", "status.json"]);
    for view in ["by-id", "outputs", "sessions"] {
        let stat = fs.stat(&format!(".afs/{view}")).unwrap();
        assert_eq!(stat.mode, 0o500, "{view}");
    }
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

fn a_listing_of_ids_shows_what_is_new(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    let file = world.output("new", b"text");
    let ids = fs.list(".afs/by-id").unwrap();
    assert_eq!(ids[0].0, file.id);
}

fn names_of(listed: Vec<(String, u64)>) -> Vec<String> {
    let mut names: Vec<String> = listed.into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

fn outputs_are_links_to_what_can_be_read(on: On) {
    let world = World::new();
    world.output("chart.png", b"pixels");
    world.output("a/b", b"hostile");
    world.foreign("foreign.md", b"secret");
    let fs = on.start(&world);
    fs.put("own.md", b"own").unwrap();
    world.forget_calls();
    let listed = names_of(fs.list(".afs/outputs").unwrap());
    assert_eq!(listed, ["a%2Fb", "chart.png"]);
    assert_eq!(
        fs.stat(".afs/outputs/chart.png").unwrap(),
        fs.stat("chart.png").unwrap()
    );
    for missing in ["foreign.md", "own.md", "none.md"] {
        let path = format!(".afs/outputs/{missing}");
        assert_eq!(fs.stat(&path), Err(libc::ENOENT), "{missing}");
    }
    assert_eq!(
        fs.stat(&format!(".afs/outputs/{}", "n".repeat(256))),
        Err(libc::ENAMETOOLONG)
    );
    assert_eq!(world.calls(), Calls::NONE);
    assert_eq!(fs.get(".afs/outputs/chart.png").unwrap(), b"pixels");
    assert_eq!(fs.get(".afs/outputs/a%2Fb").unwrap(), b"hostile");
    assert_eq!(fs.get("chart.png").unwrap(), b"pixels");
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            content: 2,
            ..Calls::NONE
        }
    );
}

fn a_listing_of_outputs_shows_what_is_new(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    world.output("new", b"text");
    let calls = world.calls_of(|| {
        assert_eq!(names_of(fs.list(".afs/outputs").unwrap()), ["new"]);
    });
    assert_eq!(
        calls,
        Calls {
            list: 1,
            ..Calls::NONE
        }
    );
}

fn thousands_of_outputs_are_listed_once_each(on: On) {
    let world = World::new();
    world.emulator.bulk(1200, "upload", 10, false).unwrap();
    world.emulator.bulk(1500, "output", 10, true).unwrap();
    let fs = on.start(&world);
    let listed = fs.list(".afs/outputs").unwrap();
    assert_eq!(listed.len(), 1500);
    let distinct: HashSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), 1500);
    assert!(listed.iter().all(|(name, _)| name.starts_with("output")));
    assert_eq!(fs.list(".afs/outputs").unwrap(), listed);
}

fn an_output_that_is_replaced_by_an_upload_is_none_any_more(on: On) {
    let world = World::new();
    world.output("a", b"made");
    let fs = on.start(&world);
    fs.put("a", b"mine").unwrap();
    assert_eq!(fs.list(".afs/outputs").unwrap(), []);
    assert_eq!(fs.stat(".afs/outputs/a"), Err(libc::ENOENT));
    fs.end();
}

fn the_views_are_not_for_changing(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start(&world);
    let by_id = format!(".afs/by-id/{}", file.id);
    world.forget_calls();
    for path in [
        ".afs/new",
        ".afs/by-id/new.md",
        ".afs/outputs/new.md",
        ".afs/sessions/new.md",
    ] {
        // A new name below by-id could be an id, and is asked for.
        assert_eq!(fs.open(path, NEW), Err(libc::EROFS), "{path}");
    }
    for path in [&by_id, ".afs/outputs/a"] {
        assert_eq!(fs.unlink(path), Err(libc::EROFS), "{path}");
        assert_eq!(fs.rename(path, "b", 0), Err(libc::EROFS), "{path}");
        assert_eq!(fs.rename("a", path, 0), Err(libc::EROFS), "{path}");
    }
    assert_eq!(fs.rename("a", ".afs/a", 0), Err(libc::EROFS));
    for directory in [".afs", ".afs/sessions"] {
        assert_eq!(fs.set_mtime(directory, 0), Err(libc::EROFS), "{directory}");
    }
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(fs.list(".afs/outputs").unwrap().len(), 1);
    assert_eq!(world.calls(), ONE_QUESTION);
    world.forget_calls();
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
    let link = mount.at(".afs/outputs/a b.md");
    let target = std::fs::read_link(&link).unwrap();
    assert_eq!(target.to_str(), Some("../../a b.md"));
    assert_eq!(mount.sh("cat '.afs/outputs/a b.md'"), "text");
    for view in [".afs", ".afs/by-id", ".afs/outputs", ".afs/sessions"] {
        let new = mount.at(view).join("new dir");
        assert_eq!(errno(std::fs::create_dir(&new)), libc::EROFS, "{view}");
        let made = std::os::unix::fs::symlink("anything", &new);
        assert_eq!(errno(made), libc::EROFS, "{view}");
    }
    for fixed in [".afs/by-id", ".afs/outputs", ".afs/sessions"] {
        let removed = std::fs::remove_dir(mount.at(fixed));
        assert_eq!(errno(removed), libc::EROFS, "{fixed}");
        let renamed = std::fs::rename(mount.at(fixed), mount.at(".afs/other"));
        assert_eq!(errno(renamed), libc::EROFS, "{fixed}");
    }
    assert_eq!(
        errno(std::fs::remove_file(mount.at(".afs/status.json"))),
        libc::EROFS
    );
    assert_eq!(errno(std::fs::remove_dir(mount.at(".afs"))), libc::EPERM);
    assert_eq!(errno(std::fs::create_dir(mount.at(".afs"))), libc::EEXIST);
    assert!(std::fs::rename(mount.at(".afs"), mount.at("views")).is_err());
    // Nothing that walks through the workspace walks into it.
    assert_eq!(mount.sh("find . -mindepth 1"), "./a b.md\n");
}
