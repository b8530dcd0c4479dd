//! The save that close(2) is: how often the service is asked, what it has when close returns, and in which order.

use super::harness::{Calls, World, eventually, pattern};
use super::surface::{NEW, On, Setup, calls_by_the_end, on_both};
use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

/// What replacing a file takes.
const REPLACED: Calls = Calls {
    upload: 1,
    delete: 1,
    ..Calls::NONE
};

on_both! {
    a_close_with_nothing_new_saves_nothing
    every_close_of_a_duplicate_saves_only_what_is_new
    fsync_sends_nothing_and_the_close_after_it_sends_once
    what_was_fsynced_and_never_closed_is_sent_by_the_next_mount
    overwriting_keeps_the_inode_and_deletes_the_old_id
    the_old_id_is_deleted_only_after_the_new_one_is_confirmed
    a_refused_save_fails_the_close_and_keeps_the_old_file_and_the_new_bytes
    two_writers_of_one_file_save_it_once_each_at_most
    an_empty_file_reaches_the_service_when_it_stays_empty
    a_file_emptied_and_filled_again_is_replaced_once
    what_was_only_about_to_be_replaced_survives_a_kill
    what_waits_for_its_upload_and_is_about_to_be_replaced_survives_a_kill
    a_file_that_was_emptied_and_closed_is_empty_after_a_kill
    a_file_that_was_created_for_reading_is_there_after_a_kill
    what_is_written_is_readable_and_keeps_its_inode_after_a_remount
    an_output_can_be_appended_to_and_becomes_an_own_upload
    an_empty_output_can_be_overwritten
    media_types_follow_names_rules_and_bytes
    a_read_only_open_that_truncates_empties_the_file
    what_was_just_closed_is_right_at_once_and_nobody_is_asked
    own_bytes_are_read_here_though_the_service_is_gone
    a_close_beside_an_emptied_handle_leaves_the_version_before
}

fn a_close_with_nothing_new_saves_nothing(on: On) {
    let world = World::new();
    world.output("theirs", b"x");
    let fs = on.start(&world);
    fs.put("ours", b"y").unwrap();
    world.forget_calls();
    for flags in [
        libc::O_RDONLY,
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_WRONLY | libc::O_APPEND,
    ] {
        fs.try_open("ours", flags).unwrap();
    }
    fs.try_open("theirs", libc::O_RDONLY).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn every_close_of_a_duplicate_saves_only_what_is_new(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.close_dup(fd).unwrap();
    assert!(world.all_stored("a").is_empty());
    fs.pwrite(fd, 0, b"one").unwrap();
    fs.fsync(fd).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("a"), b"one");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn fsync_sends_nothing_and_the_close_after_it_sends_once(on: On) {
    for size in [10, 100_000, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let fd = fs.open("a", NEW).unwrap();
        let bytes = pattern(size);
        fs.pwrite(fd, 0, &bytes[..5]).unwrap();
        fs.fsync(fd).unwrap();
        fs.pwrite(fd, 5, &bytes[5..]).unwrap();
        fs.fsync(fd).unwrap();
        fs.fsync(fd).unwrap();
        assert_eq!(world.calls().upload, 0);
        fs.close(fd).unwrap();
        assert!(world.stored_bytes("a") == bytes, "{size}");
        assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    }
}

fn what_was_fsynced_and_never_closed_is_sent_by_the_next_mount(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"durable").unwrap();
    fs.fsync(fd).unwrap();
    fs.pwrite(fd, 7, b", not durable").unwrap();
    fs.kill();
    assert!(world.all_stored("a").is_empty());
    let fs = on.start(&world);
    eventually("the next mount sends it", || {
        !world.all_stored("a").is_empty()
    });
    assert_eq!(fs.get("a").unwrap(), b"durable");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("a"), b"durable");
}

fn overwriting_keeps_the_inode_and_deletes_the_old_id(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"one").unwrap();
    let (before, old_id) = (fs.stat("a").unwrap(), world.stored("a").id);
    world.forget_calls();
    fs.put("a", b"second").unwrap();
    let after = fs.stat("a").unwrap();
    assert_eq!((after.ino, after.size), (before.ino, 6));
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_ne!(world.stored("a").id, old_id);
    assert_eq!(world.stored_bytes("a"), b"second");
}

fn the_old_id_is_deleted_only_after_the_new_one_is_confirmed(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"one").unwrap();
    let old_id = world.stored("a").id;
    world.forget_calls();
    fs.put("a", b"two").unwrap();
    fs.end();
    let requests = world.emulator.requests();
    let [upload, delete] = &requests[..] else {
        panic!("an upload and a deletion: {requests:?}");
    };
    assert_eq!(
        (upload.call, upload.status),
        (LoggedCall::Upload, Some(200))
    );
    assert_eq!(
        (delete.call, delete.id.as_ref()),
        (LoggedCall::Delete, Some(&old_id))
    );
    assert!(upload.ended.unwrap() <= delete.started);
}

fn a_refused_save_fails_the_close_and_keeps_the_old_file_and_the_new_bytes(on: On) {
    for (status, errno) in [(403, libc::EACCES), (413, libc::EFBIG), (400, libc::EINVAL)] {
        let world = World::new();
        let fs = on.start(&world);
        fs.put("a", b"one").unwrap();
        world.emulator.set_faults(vec![FaultRule {
            call: Some(LoggedCall::Upload),
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(status)))
        }]);
        assert_eq!(fs.put("a", b"two"), Err(errno), "{status}");
        assert_eq!(world.stored_bytes("a"), b"one");
        assert_eq!(fs.get("a").unwrap(), b"two");
        world.emulator.clear_faults();
        fs.put("a", b"three").unwrap();
        fs.end();
        assert_eq!(world.stored_bytes("a"), b"three");
    }
}

fn two_writers_of_one_file_save_it_once_each_at_most(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let flags = libc::O_WRONLY | libc::O_CREAT;
    let (one, two) = (fs.open("a", flags).unwrap(), fs.open("a", flags).unwrap());
    fs.pwrite(one, 0, b"xx").unwrap();
    fs.pwrite(two, 2, b"yy").unwrap();
    fs.close(one).unwrap();
    fs.close(two).unwrap();
    let calls = calls_by_the_end(&world, fs);
    assert_eq!(calls, ONE_UPLOAD);
    assert_eq!(world.stored_bytes("a"), b"xxyy");
}

fn an_empty_file_reaches_the_service_when_it_stays_empty(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("empty", b"").unwrap();
    assert_eq!(fs.stat("empty").unwrap().size, 0);
    assert_eq!(fs.get("empty").unwrap(), b"");
    eventually("the empty file is at the service", || {
        !world.all_stored("empty").is_empty()
    });
    assert_eq!(world.stored_bytes("empty"), b"");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn a_file_emptied_and_filled_again_is_replaced_once(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"old").unwrap();
    world.forget_calls();
    fs.put("a", b"").unwrap();
    assert_eq!(fs.get("a").unwrap(), b"");
    assert_eq!(world.stored_bytes("a"), b"old");
    fs.append("a", b"new").unwrap();
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("a"), b"new");
}

/// A shell's `> f` truncates, and closes a duplicate before anything is written.
fn what_was_only_about_to_be_replaced_survives_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"text").unwrap();
    let fd = fs.open("f", NEW).unwrap();
    fs.close_dup(fd).unwrap();
    assert_eq!(fs.stat("f").unwrap().size, 0);
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("f").unwrap(), b"text");
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"text");
}

/// The same with content that the service does not have yet.
fn what_waits_for_its_upload_and_is_about_to_be_replaced_survives_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f.tmp", b"text").unwrap();
    let fd = fs.open("f.tmp", NEW).unwrap();
    fs.close_dup(fd).unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("f.tmp").unwrap(), b"text");
    fs.end();
    assert_eq!(world.stored_bytes("f.tmp"), b"text");
}

fn a_file_that_was_emptied_and_closed_is_empty_after_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"text").unwrap();
    fs.put("f", b"").unwrap();
    // Its emptiness has not lasted yet.
    assert_eq!(world.stored_bytes("f"), b"text");
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("f").unwrap(), b"");
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"");
}

/// As flock(1) makes its lock files.
fn a_file_that_was_created_for_reading_is_there_after_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("lock", libc::O_RDONLY | libc::O_CREAT).unwrap();
    assert_eq!(fs.pwrite(fd, 0, b"x"), Err(libc::EBADF));
    fs.close(fd).unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["lock"]);
    fs.end();
    assert_eq!(world.stored_bytes("lock"), b"");
}

fn what_is_written_is_readable_and_keeps_its_inode_after_a_remount(on: On) {
    let world = World::new();
    world.output("theirs.png", b"picture");
    let fs = on.start(&world);
    fs.put("small", b"small").unwrap();
    fs.put("large", &pattern(1_500_000)).unwrap();
    let before = fs.list("").unwrap();
    fs.end();
    world.forget_calls();
    let fs = on.start(&world);
    assert_eq!(fs.list("").unwrap(), before);
    assert_eq!(fs.get("small").unwrap(), b"small");
    assert!(fs.get("large").unwrap() == pattern(1_500_000));
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn an_output_can_be_appended_to_and_becomes_an_own_upload(on: On) {
    let world = World::new();
    let output = world.output("report.md", b"one\n");
    let fs = on.start(&world);
    let ino = fs.stat("report.md").unwrap().ino;
    world.forget_calls();
    fs.append("report.md", b"two\n").unwrap();
    assert_eq!(fs.get("report.md").unwrap(), b"one\ntwo\n");
    assert_eq!(fs.stat("report.md").unwrap().ino, ino);
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            content: 1,
            ..REPLACED
        }
    );
    assert_eq!(world.stored_bytes("report.md"), b"one\ntwo\n");
    assert_ne!(world.stored("report.md").id, output.id);
    let fs = on.start(&world);
    assert_eq!(fs.get("report.md").unwrap(), b"one\ntwo\n");
}

/// Truncating what is empty changes no size; the content still has to become the writer's own.
fn an_empty_output_can_be_overwritten(on: On) {
    let world = World::new();
    world.output("empty", b"");
    let fs = on.start(&world);
    world.forget_calls();
    fs.put("empty", b"full").unwrap();
    assert_eq!(fs.get("empty").unwrap(), b"full");
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("empty"), b"full");
}

fn media_types_follow_names_rules_and_bytes(on: On) {
    let world = World::new();
    let setup = Setup {
        mime_types: &["*.xyz=chemical/x-xyz"],
        ..Setup::default()
    };
    let fs = on.start_with(&world, setup);
    for (name, content, mime_type) in [
        ("a.md", &b"# text"[..], "text/plain"),
        ("a.csv", b"a,b", "text/csv"),
        ("a.pdf", b"%PDF", "application/pdf"),
        ("a.xyz", b"1", "chemical/x-xyz"),
        ("text", b"words", "text/plain"),
        ("binary", b"\0\x01", "application/octet-stream"),
    ] {
        fs.put(name, content).unwrap();
        assert_eq!(world.stored(name).mime_type, mime_type, "{name}");
    }
}

/// Unspecified by POSIX; Linux truncates.
fn a_read_only_open_that_truncates_empties_the_file(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"old").unwrap();
    fs.try_open("a", libc::O_RDONLY | libc::O_TRUNC).unwrap();
    assert_eq!(fs.stat("a").unwrap().size, 0);
    fs.append("a", b"new").unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("a"), b"new");
}

fn what_was_just_closed_is_right_at_once_and_nobody_is_asked(on: On) {
    let world = World::new();
    world.emulator.removes("a");
    world.emulator.removes("b");
    let fs = on.start(&world);
    for size in [10, 100_000, 2_000_000] {
        let content = pattern(size);
        let fd = fs.open("a", NEW).unwrap();
        fs.pwrite(fd, 0, &content[..5]).unwrap();
        assert_eq!(fs.stat("a").unwrap().size, 5);
        fs.pwrite(fd, 5, &content[5..]).unwrap();
        let written = fs.fstat(fd).unwrap();
        assert_eq!(written.size, size as u64);
        fs.close(fd).unwrap();
        world.forget_calls();
        assert_eq!(fs.stat("a").unwrap(), written);
        assert!(fs.get("a").unwrap() == content);
        assert_eq!(fs.open("a", NEW | libc::O_EXCL), Err(libc::EEXIST));
        assert_eq!(world.calls(), Calls::NONE, "{size}");
        fs.rename("a", "b", 0).unwrap();
        assert_eq!(fs.stat("a"), Err(libc::ENOENT));
        assert_eq!(fs.stat("b").unwrap().size, size as u64);
        assert!(fs.get("b").unwrap() == content);
        fs.unlink("b").unwrap();
        assert_eq!(fs.stat("b"), Err(libc::ENOENT));
        assert!(fs.names().is_empty());
        let asked = world.calls();
        assert_eq!((asked.list, asked.metadata, asked.content), (0, 0, 0));
    }
    fs.end();
    assert!(world.emulator.files().unwrap().is_empty());
}

fn own_bytes_are_read_here_though_the_service_is_gone(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    world.hang(&[
        LoggedCall::List,
        LoggedCall::Metadata,
        LoggedCall::Content,
        LoggedCall::Upload,
        LoggedCall::Delete,
    ]);
    assert_eq!(fs.get("a").unwrap(), b"text");
    assert_eq!(fs.names(), ["a"]);
    fs.rename("a", "b", 0).unwrap();
    assert_eq!(fs.get("b").unwrap(), b"text");
    fs.unlink("b").unwrap();
    assert!(fs.names().is_empty());
    world.emulator.clear_faults();
    fs.end();
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_close_beside_an_emptied_handle_leaves_the_version_before(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"old").unwrap();
    let one = fs.open("a", libc::O_RDWR).unwrap();
    fs.pwrite(one, 0, b"OLD").unwrap();
    fs.open("a", libc::O_WRONLY | libc::O_TRUNC).unwrap();
    fs.close(one).unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("a").unwrap(), b"old");
    fs.end();
    assert_eq!(world.stored_bytes("a"), b"old");
}
