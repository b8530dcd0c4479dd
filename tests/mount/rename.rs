//! rename(2): local for what is only here, an upload and a deletion for what the service has, refused for outputs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use afs::emulator::LoggedCall;
use afs::state::{Class, Digest, Sealed, SealedBytes, State, When};
use afs::store::{Limits, Store};
use afs::uploader;

use super::harness::{Calls, PATIENCE, World, eventually, pattern};
use super::recovery::renaming;
use super::surface::{Ground, NEW, On, Setup, calls_by_the_end, on_both};

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

const MOVED: Calls = Calls {
    upload: 1,
    delete: 1,
    ..Calls::NONE
};

on_both! {
    a_renamed_draft_is_uploaded_once_under_its_final_name
    a_renamed_empty_file_is_uploaded_once_under_its_final_name
    a_renamed_upload_is_uploaded_again_and_its_old_id_deleted
    a_file_renamed_twice_ends_as_one_file
    a_renamed_upload_has_its_name_after_a_remount_though_the_service_hangs
    renaming_over_a_file_replaces_it
    a_draft_renamed_over_a_file_is_one_upload_and_one_deletion
    a_file_renamed_over_an_open_one_leaves_its_readers_their_bytes
    an_output_replaced_while_it_is_read_is_still_read_whole
    a_file_open_for_writing_is_saved_under_its_new_name
    an_atomic_save_keeps_the_old_id_until_the_new_one_is_there
    renaming_without_replacing_fails_where_the_name_is_taken
    exchanging_is_refused
    an_output_keeps_its_name
    a_foreign_upload_keeps_its_name
    a_file_can_be_renamed_over_an_output_and_over_a_foreign_upload
    a_file_is_not_renamed_to_a_name_the_service_refuses
    renaming_a_file_onto_itself_does_nothing
    a_renamed_binary_file_stays_binary
    the_time_of_a_renamed_file_stays
}

fn a_renamed_draft_is_uploaded_once_under_its_final_name(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("draft.tmp", NEW).unwrap();
    fs.pwrite(fd, 0, b"text").unwrap();
    fs.rename("draft.tmp", "final.md", 0).unwrap();
    assert_eq!(fs.names(), ["final.md"]);
    assert_eq!(fs.get("final.md").unwrap(), b"text");
    assert_eq!(world.calls().upload, 0);
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("final.md"), b"text");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn a_renamed_empty_file_is_uploaded_once_under_its_final_name(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"").unwrap();
    fs.rename("a", "b", 0).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("b"), b"");
}

fn a_renamed_upload_is_uploaded_again_and_its_old_id_deleted(on: On) {
    for size in [5, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let bytes = pattern(size);
        fs.put("a.md", &bytes).unwrap();
        let before = fs.stat("a.md").unwrap();
        world.forget_calls();
        fs.rename("a.md", "b.md", 0).unwrap();
        assert_eq!(fs.stat("a.md"), Err(libc::ENOENT));
        assert!(fs.get("b.md").unwrap() == bytes);
        assert_eq!(fs.stat("b.md").unwrap().ino, before.ino);
        assert_eq!(calls_by_the_end(&world, fs), MOVED);
        assert!(world.stored_bytes("b.md") == bytes);
        assert_eq!(world.emulator.files().unwrap().len(), 1);
        let fs = on.start(&world);
        assert!(fs.get("b.md").unwrap() == bytes);
    }
}

fn a_file_renamed_twice_ends_as_one_file(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    fs.rename("a", "b", 0).unwrap();
    fs.rename("b", "c", 0).unwrap();
    assert_eq!(fs.names(), ["c"]);
    assert_eq!(fs.get("c").unwrap(), b"text");
    fs.end();
    assert_eq!(world.stored_bytes("c"), b"text");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

fn a_renamed_upload_has_its_name_after_a_remount_though_the_service_hangs(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    world.hang(&[LoggedCall::Upload, LoggedCall::Delete]);
    fs.rename("a", "b", 0).unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["b"]);
    assert_eq!(fs.get("b").unwrap(), b"text");
}

fn renaming_over_a_file_replaces_it(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"new").unwrap();
    fs.put("b", b"old").unwrap();
    world.forget_calls();
    fs.rename("a", "b", 0).unwrap();
    assert_eq!(fs.names(), ["b"]);
    assert_eq!(fs.get("b").unwrap(), b"new");
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            upload: 1,
            delete: 2,
            ..Calls::NONE
        }
    );
    assert_eq!(world.stored_bytes("b"), b"new");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

fn a_draft_renamed_over_a_file_is_one_upload_and_one_deletion(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("b", b"old").unwrap();
    world.forget_calls();
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"new").unwrap();
    fs.rename("a", "b", 0).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), MOVED);
    assert_eq!(world.stored_bytes("b"), b"new");
}

fn a_file_renamed_over_an_open_one_leaves_its_readers_their_bytes(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("b", b"old").unwrap();
    fs.put("a", b"new").unwrap();
    let reader = fs.open("b", libc::O_RDONLY).unwrap();
    fs.rename("a", "b", 0).unwrap();
    assert_eq!(fs.read_all(reader).unwrap(), b"old");
    assert_eq!(fs.get("b").unwrap(), b"new");
    fs.close(reader).unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("b"), b"new");
}

/// Its bytes are at the service only until they are read: the deletion waits for the last close.
fn an_output_replaced_while_it_is_read_is_still_read_whole(on: On) {
    let world = World::new();
    world.output("b", b"old");
    let fs = on.start(&world);
    let reader = fs.open("b", libc::O_RDONLY).unwrap();
    fs.put("a", b"new").unwrap();
    fs.rename("a", "b", 0).unwrap();
    eventually("the new file is there", || {
        !world.all_stored("b").is_empty()
    });
    eventually("its former name is gone there", || {
        world.all_stored("a").is_empty()
    });
    assert_eq!(fs.read_all(reader).unwrap(), b"old");
    assert_eq!(fs.get("b").unwrap(), b"new");
    fs.close(reader).unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("b"), b"new");
}

fn a_file_open_for_writing_is_saved_under_its_new_name(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"old").unwrap();
    let fd = fs.open("a", libc::O_WRONLY | libc::O_APPEND).unwrap();
    fs.pwrite(fd, 0, b" and new").unwrap();
    fs.rename("a", "b", 0).unwrap();
    fs.pwrite(fd, 0, b" and newer").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.names(), ["b"]);
    assert_eq!(fs.get("b").unwrap(), b"old and new and newer");
    fs.end();
    assert_eq!(world.stored_bytes("b"), b"old and new and newer");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

/// How editors save: write beside, fsync, close, rename over.
fn an_atomic_save_keeps_the_old_id_until_the_new_one_is_there(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("notes.md", b"old").unwrap();
    fs.put("notes.md.new", b"new").unwrap();
    world.hang(&[LoggedCall::Upload]);
    fs.rename("notes.md.new", "notes.md", 0).unwrap();
    assert_eq!(fs.get("notes.md").unwrap(), b"new");
    assert_eq!(world.stored_bytes("notes.md"), b"old");
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("notes.md"), b"new");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

fn renaming_without_replacing_fails_where_the_name_is_taken(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"a").unwrap();
    fs.put("b", b"b").unwrap();
    assert_eq!(
        fs.rename("a", "b", libc::RENAME_NOREPLACE),
        Err(libc::EEXIST)
    );
    fs.rename("a", "c", libc::RENAME_NOREPLACE).unwrap();
    assert_eq!(fs.names(), ["b", "c"]);
    fs.end();
    assert_eq!(world.stored_bytes("b"), b"b");
    assert_eq!(world.stored_bytes("c"), b"a");
}

fn exchanging_is_refused(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"a").unwrap();
    fs.put("b", b"b").unwrap();
    assert_eq!(
        fs.rename("a", "b", libc::RENAME_EXCHANGE),
        Err(libc::EINVAL)
    );
    assert_eq!(fs.get("a").unwrap(), b"a");
}

fn an_output_keeps_its_name(on: On) {
    let world = World::new();
    world.output("chart.png", b"picture");
    let fs = on.start(&world);
    // Also when its bytes are here: uploaded again it could never be downloaded.
    fs.get("chart.png").unwrap();
    world.forget_calls();
    assert_eq!(fs.rename("chart.png", "a.png", 0), Err(libc::EPERM));
    assert_eq!(fs.names(), ["chart.png"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_foreign_upload_keeps_its_name(on: On) {
    let world = World::new();
    world.foreign("theirs.md", b"text");
    let fs = on.start(&world);
    assert_eq!(fs.rename("theirs.md", "mine.md", 0), Err(libc::EPERM));
    assert_eq!(fs.names(), ["theirs.md"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_file_can_be_renamed_over_an_output_and_over_a_foreign_upload(on: On) {
    let world = World::new();
    world.output("output", b"old");
    world.foreign("foreign", b"old");
    let fs = on.start(&world);
    for name in ["output", "foreign"] {
        fs.put("new", name.as_bytes()).unwrap();
        fs.rename("new", name, 0).unwrap();
        assert_eq!(fs.get(name).unwrap(), name.as_bytes());
    }
    fs.end();
    for name in ["output", "foreign"] {
        assert_eq!(world.stored_bytes(name), name.as_bytes());
    }
    assert_eq!(world.emulator.files().unwrap().len(), 2);
}

fn a_file_is_not_renamed_to_a_name_the_service_refuses(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"a").unwrap();
    for name in ["a:b", "a?", "a|b", "a\\b", "a\nb"] {
        assert_eq!(fs.rename("a", name, 0), Err(libc::EINVAL), "{name:?}");
    }
    let long = "n".repeat(256);
    assert_eq!(fs.rename("a", &long, 0), Err(libc::ENAMETOOLONG));
    assert_eq!(fs.rename(&long, "b", 0), Err(libc::ENAMETOOLONG));
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn renaming_a_file_onto_itself_does_nothing(on: On) {
    let world = World::new();
    world.output("theirs", b"x");
    let fs = on.start(&world);
    fs.put("ours", b"y").unwrap();
    world.forget_calls();
    fs.rename("ours", "ours", 0).unwrap();
    fs.rename("theirs", "theirs", 0).unwrap();
    assert_eq!(fs.names(), ["ours", "theirs"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

/// A type that only the bytes tell must still be told by them under the new name.
fn a_renamed_binary_file_stays_binary(on: On) {
    for size in [10, 100_000] {
        let world = World::new();
        let fs = on.start(&world);
        let mut bytes = pattern(size);
        bytes[0] = 0;
        fs.put("saved", &bytes).unwrap();
        fs.rename("saved", "renamed", 0).unwrap();
        let fd = fs.open("draft", NEW).unwrap();
        fs.pwrite(fd, 0, &bytes).unwrap();
        fs.rename("draft", "closed", 0).unwrap();
        fs.close(fd).unwrap();
        fs.end();
        for name in ["renamed", "closed"] {
            assert_eq!(
                world.stored(name).mime_type,
                "application/octet-stream",
                "{name}"
            );
        }
    }
}

fn the_time_of_a_renamed_file_stays(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"a").unwrap();
    fs.set_mtime("a", 1_234_567_890_123_456_789).unwrap();
    fs.rename("a", "b", 0).unwrap();
    assert_eq!(fs.stat("b").unwrap().mtime, 1_234_567_890_123_456_789);
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.stat("b").unwrap().mtime, 1_234_567_890_123_456_789);
}

#[test]
fn the_log_says_why_an_output_keeps_its_name() {
    let world = World::new();
    world.output("chart.png", b"picture");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let said = mount.try_sh("mv chart.png a.png");
    assert!(String::from_utf8_lossy(&said.stderr).contains("Operation not permitted"));
    assert!(
        mount
            .log()
            .contains("chart.png was not renamed: it was made by a tool")
    );
}

/// The save was in a worker's hands when its file was renamed, the process died before it was sent, and the next one was
/// given newer content before its turn. The rename then had nothing to send and the newer content waited behind it for
/// ever.
#[test]
fn a_rename_whose_content_was_replaced_before_it_was_sent_holds_nothing_up() {
    let world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let content = |state: &State, ino, bytes: &[u8], when| {
        let sealed = Sealed {
            ino,
            size: bytes.len() as u64,
            mime_type: "text/plain",
            digest: Digest::of(bytes),
            bytes: SealedBytes::Inline(bytes),
            mtime: 0,
            ctime: 0,
            when,
        };
        state.seal(&sealed).unwrap()
    };
    let state = State::open(dir.path()).unwrap();
    let ino = state.create("a.tmp", "text/plain", false, 0).unwrap().ino;
    content(&state, ino, b"older", When::After(60_000));
    state.hurry();
    assert_eq!(state.next_record(Class::Saves).unwrap().name, "a.tmp");
    state.rename(&renaming(ino, "b.txt")).unwrap();
    drop(state);

    let state = Arc::new(State::open(dir.path()).unwrap());
    state.recover().unwrap();
    let (ticket, _) = content(&state, ino, b"newer", When::Now);
    let limits = Limits {
        cache: 1 << 20,
        trash: true,
        min_free: Some(0),
        kept: None,
        no_progress: Duration::from_secs(60),
    };
    let store = Arc::new(Store::open(dir.path(), &dir.path().join("cache"), limits).unwrap());
    let conduct = Setup::default().conduct;
    uploader::start(&Ground::client(&world), &state, &store, conduct).unwrap();
    let deadline = Instant::now() + PATIENCE;
    assert!(matches!(ticket.wait(Some(deadline)), Some(Ok(()))));
    assert_eq!(state.wait_idle(deadline), 0);
    state.stop();
    assert_eq!(world.stored_bytes("b.txt"), b"newer");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
    assert_eq!(state.pending(), []);
}
