//! What others do at the service meanwhile: it shows after the next refresh, and no byte of ours is lost by it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use afs::disk::Disk;
use afs::emulator::PlantedFile;
use afs::state::State;
use afs::store::{Limits, Store};
use afs::sync::Refresher;

use super::harness::{Calls, World, eventually};
use super::surface::{Ground, NEW, On, Setup, Surface, on_both};

const ONE_LIST: Calls = lists(1);

const fn lists(list: usize) -> Calls {
    Calls {
        list,
        ..Calls::NONE
    }
}

on_both! {
    a_new_remote_file_shows_after_the_interval_by_one_list
    within_the_interval_nothing_is_asked
    a_missing_name_that_is_new_at_the_service_is_found_soon
    a_file_that_others_deleted_disappears
    many_lost_files_are_hidden_only_when_a_second_listing_agrees
    a_file_that_vanished_before_it_was_read_is_stale
    a_file_that_vanished_while_it_was_read_is_read_to_its_end
    a_name_that_somebody_replaced_never_opens_the_old_content
    a_suffixed_name_stays_when_its_file_was_hidden_and_comes_back
    a_file_written_here_while_somebody_replaces_it_is_saved_beside
    a_file_written_here_while_somebody_deletes_it_is_saved
    a_new_file_and_a_remote_one_of_its_name_both_live
}

fn a_new_remote_file_shows_after_the_interval_by_one_list(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    world.output("new", b"text");
    let calls = world.calls_of(|| assert_eq!(fs.names(), ["new"]));
    assert_eq!(calls, ONE_LIST);
    assert_eq!(fs.get("new").unwrap(), b"text");
}

/// The first listing of an empty workspace, and of every remount, counted as one that found nothing new: the first file
/// that somebody made showed after twice the time asked for.
#[test]
fn the_first_listing_does_not_make_the_interval_longer() {
    const INTERVAL: Duration = Duration::from_secs(2);
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "2s"]);
    let mounted = Instant::now();
    world.output("new", b"text");
    eventually("it is listed", || mount.names() == ["new"]);
    assert!(mounted.elapsed() < INTERVAL * 7 / 4);
}

/// Ten pages of a workspace that nothing is known of must not cost ten requests and, one after the other, ten merges.
#[test]
fn a_page_of_an_unknown_workspace_is_asked_for_while_the_one_before_is_taken_in() {
    const FILES: usize = 2_500;
    let world = World::new();
    world.emulator.bulk(FILES as u64, "doc-", 10, true).unwrap();
    let (state, store) = (world.dir.path().join("ahead"), world.dir.path().join("c"));
    fs::create_dir_all(&state).unwrap();
    let limits = Limits {
        cache: 1 << 30,
        trash: true,
        min_free: None,
        kept: None,
        no_progress: Duration::from_secs(60),
    };
    let store = Arc::new(Store::open_on(&Disk::real(), &state, &store, limits).unwrap());
    let state = Arc::new(State::open_on(&Disk::real(), &state).unwrap());
    let api = Ground::client(&world);
    let hour = Duration::from_secs(3_600);
    let refresher = Refresher::new(api.clone(), api, Arc::clone(&state), store, hour);
    let mut taken_in = Vec::new();
    refresher
        .list_all(None, &mut |count| {
            taken_in.push(count);
            eventually("the next page is asked for", || {
                world.calls() == lists(taken_in.len() + 1)
            });
        })
        .unwrap();
    assert_eq!(taken_in, [1_000, 2_000]);
    assert_eq!(world.calls(), lists(3));
    assert_eq!(state.totals().unwrap().0, FILES as u64);
}

fn within_the_interval_nothing_is_asked(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.output("new", b"text");
    let calls = world.calls_of(|| {
        assert!(fs.names().is_empty());
        assert_eq!(fs.stat("new"), Err(libc::ENOENT));
    });
    assert_eq!(calls, Calls::NONE);
}

fn a_missing_name_that_is_new_at_the_service_is_found_soon(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    world.output("new", b"text");
    eventually("it is found", || fs.stat("new").is_ok());
    assert_eq!(fs.get("new").unwrap(), b"text");
}

fn a_file_that_others_deleted_disappears(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    world.output("b", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.names(), ["a", "b"]);
    world.emulator.delete(&file.id).unwrap();
    let calls = world.calls_of(|| assert_eq!(fs.names(), ["b"]));
    assert_eq!(calls, ONE_LIST);
}

fn many_lost_files_are_hidden_only_when_a_second_listing_agrees(on: On) {
    let world = World::new();
    world.emulator.bulk(30, "doc-", 10, true).unwrap();
    let fs = on.start_with(&world, Setup::refreshing());
    for file in world.emulator.files().unwrap() {
        world.emulator.delete(&file.id).unwrap();
    }
    let calls = world.calls_of(|| assert!(fs.names().is_empty()));
    assert_eq!(
        calls,
        Calls {
            list: 2,
            ..ONE_LIST
        }
    );
}

fn a_file_that_vanished_before_it_was_read_is_stale(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start(&world);
    let fd = fs.open("a", libc::O_RDONLY).unwrap();
    world.emulator.delete(&file.id).unwrap();
    assert_eq!(fs.read_all(fd), Err(libc::ESTALE));
    fs.close(fd).unwrap();
}

fn a_file_that_vanished_while_it_was_read_is_read_to_its_end(on: On) {
    let world = World::new();
    let file = world.output("a", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    let fd = fs.open("a", libc::O_RDONLY).unwrap();
    assert_eq!(fs.pread(fd, 0, 1).unwrap(), b"t");
    world.emulator.delete(&file.id).unwrap();
    assert!(fs.names().is_empty());
    assert_eq!(fs.read_all(fd).unwrap(), b"text");
    assert_eq!(fs.fstat(fd).unwrap().size, 4);
    fs.close(fd).unwrap();
    assert_eq!(fs.open("a", libc::O_RDONLY), Err(libc::ENOENT));
}

/// The kernel goes on believing for a while that the name leads to the previous inode; opening that one is ESTALE, and
/// the kernel looks again.
fn a_name_that_somebody_replaced_never_opens_the_old_content(on: On) {
    let world = World::new();
    let old = world.output("a", b"old");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.get("a").unwrap(), b"old");
    world.output("a", b"newer");
    // A refresh behind the kernel's back: it is not told.
    eventually("a refresh", || {
        assert!(fs.stat("missing").is_err());
        fs.stat(&format!("a~{}", &old.id[old.id.len() - 8..]))
            .is_ok()
    });
    assert_eq!(fs.get("a").unwrap(), b"newer");
    assert_eq!(fs.names().len(), 2);
}

fn a_suffixed_name_stays_when_its_file_was_hidden_and_comes_back(on: On) {
    let world = World::new();
    let old = world.output("a", b"old");
    let new = world.output("a", b"new");
    let fs = on.start_with(&world, Setup::refreshing());
    let before = fs.names();
    assert_eq!(before.len(), 2);
    for file in [&old, &new] {
        world.emulator.delete(&file.id).unwrap();
    }
    eventually("both are hidden", || fs.names().is_empty());
    // The service had forgotten them for a moment; the older one is back first.
    for (file, content, count) in [(old, &b"old"[..], 1), (new, b"new", 2)] {
        world
            .emulator
            .plant(PlantedFile {
                id: Some(file.id),
                created_at: Some(file.created_at),
                ..PlantedFile::output("a", content)
            })
            .unwrap();
        eventually("it is back", || fs.names().len() == count);
        // Opened, not asked: the kernel may remember for a while what the name led to.
        assert_eq!(fs.try_open("a", libc::O_RDONLY).is_ok(), count == 2);
    }
    assert_eq!(fs.names(), before);
    assert_eq!(fs.get("a").unwrap(), b"new");
}

/// The contents of everything in the directory, sorted.
fn contents(fs: &dyn Surface) -> Vec<Vec<u8>> {
    let mut contents: Vec<_> = fs
        .names()
        .iter()
        .map(|name| fs.get(name).unwrap())
        .collect();
    contents.sort();
    contents
}

/// Once the listing had moved the older file to a suffixed name and a new inode number, the save of what was being
/// written under the old number found no row, took that for an unlink and answered 0 with nothing saved.
fn a_file_written_here_while_somebody_replaces_it_is_saved_beside(on: On) {
    for own in [true, false] {
        let world = World::new();
        let fs = if own {
            let fs = on.start_with(&world, Setup::refreshing());
            fs.put("a", b"ours").unwrap();
            fs
        } else {
            world.output("a", b"ours");
            on.start_with(&world, Setup::refreshing())
        };
        let fd = fs.open("a", libc::O_WRONLY | libc::O_APPEND).unwrap();
        fs.pwrite(fd, 0, b", written").unwrap();
        world.output("a", b"theirs");
        eventually("theirs is listed", || fs.names().len() == 2);
        fs.pwrite(fd, 0, b" on").unwrap();
        fs.close(fd).unwrap();
        let expected = [&b"ours, written on"[..], b"theirs"];
        assert_eq!(contents(&*fs), expected);
        fs.end();
        let mut stored: Vec<_> = world.all_stored("a");
        stored.sort_by_key(|file| file.size_bytes);
        let stored = stored
            .iter()
            .map(|file| world.emulator.content(&file.id).unwrap().unwrap());
        let stored: Vec<_> = stored.collect();
        assert_eq!(stored, [&b"theirs"[..], b"ours, written on"]);
        let fs = on.start(&world);
        assert_eq!(contents(&*fs), expected);
    }
}

fn a_file_written_here_while_somebody_deletes_it_is_saved(on: On) {
    let world = World::new();
    let file = world.output("a", b"ours");
    let fs = on.start_with(&world, Setup::refreshing());
    let fd = fs.open("a", libc::O_WRONLY | libc::O_APPEND).unwrap();
    fs.pwrite(fd, 0, b", written").unwrap();
    world.emulator.delete(&file.id).unwrap();
    fs.names();
    fs.close(fd).unwrap();
    assert_eq!(fs.get("a").unwrap(), b"ours, written");
    assert_eq!(fs.names(), ["a"]);
    fs.end();
    assert_eq!(world.stored_bytes("a"), b"ours, written");
}

fn a_new_file_and_a_remote_one_of_its_name_both_live(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"ours").unwrap();
    world.output("a", b"theirs");
    eventually("theirs is listed", || fs.names().len() == 2);
    fs.close(fd).unwrap();
    assert_eq!(fs.get("a").unwrap(), b"ours");
    assert_eq!(contents(&*fs), [&b"ours"[..], b"theirs"]);
    fs.end();
    assert_eq!(world.all_stored("a").len(), 2);
}
