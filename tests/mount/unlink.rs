//! unlink(2): gone here at once and durably, gone at the service soon after; whoever has the file open keeps it.

use super::harness::{Calls, World, pattern};
use super::surface::{NEW, On, Surface, calls_by_the_end, on_both};
use afs::emulator::LoggedCall;

const ONE_DELETE: Calls = Calls {
    delete: 1,
    ..Calls::NONE
};

on_both! {
    a_removed_file_is_gone_here_and_at_the_service
    a_removed_file_stays_gone_after_a_remount_though_its_deletion_hangs
    an_open_file_survives_its_removal_and_nothing_is_saved_any_more
    a_new_file_removed_before_its_close_never_reaches_the_service
    an_output_removed_while_it_is_read_is_still_read_whole_and_deleted_then
    an_output_removed_while_open_and_never_read_is_deleted_at_the_last_close
    a_removed_name_can_be_created_again_at_once
    removing_a_hundred_files_is_a_hundred_deletions
}

fn a_removed_file_is_gone_here_and_at_the_service(on: On) {
    let world = World::new();
    world.output("theirs", b"x");
    world.foreign("foreign", b"y");
    let fs = on.start(&world);
    fs.put("ours", b"z").unwrap();
    world.forget_calls();
    for name in ["theirs", "foreign", "ours"] {
        fs.unlink(name).unwrap();
        assert_eq!(fs.stat(name), Err(libc::ENOENT));
        assert_eq!(fs.unlink(name), Err(libc::ENOENT));
    }
    assert!(fs.names().is_empty());
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            delete: 3,
            ..Calls::NONE
        }
    );
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_removed_file_stays_gone_after_a_remount_though_its_deletion_hangs(on: On) {
    let world = World::new();
    world.output("a", b"x");
    let fs = on.start(&world);
    world.hang(&[LoggedCall::Delete]);
    fs.unlink("a").unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert!(fs.names().is_empty());
    world.emulator.clear_faults();
    fs.end();
    assert!(world.all_stored("a").is_empty());
}

fn an_open_file_survives_its_removal_and_nothing_is_saved_any_more(on: On) {
    for size in [5, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let mut bytes = pattern(size);
        fs.put("a", &bytes).unwrap();
        let fd = fs.open("a", libc::O_RDWR).unwrap();
        fs.unlink("a").unwrap();
        world.forget_calls();
        assert!(fs.read_all(fd).unwrap() == bytes);
        fs.pwrite(fd, 0, b"new").unwrap();
        bytes[..3].copy_from_slice(b"new");
        assert!(fs.read_all(fd).unwrap() == bytes);
        let stat = fs.fstat(fd).unwrap();
        assert_eq!((stat.nlink, stat.size), (0, size as u64));
        fs.ftruncate(fd, 2).unwrap();
        fs.fsync(fd).unwrap();
        assert_eq!(fs.read_all(fd).unwrap(), b"ne");
        fs.close(fd).unwrap();
        assert!(fs.names().is_empty());
        assert_eq!(calls_by_the_end(&world, fs).upload, 0);
        assert!(world.emulator.files().unwrap().is_empty());
    }
}

fn a_new_file_removed_before_its_close_never_reaches_the_service(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"one").unwrap();
    fs.fsync(fd).unwrap();
    fs.unlink("a").unwrap();
    fs.pwrite(fd, 3, b"two").unwrap();
    fs.close_dup(fd).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
    let fs = on.start(&world);
    assert!(fs.names().is_empty());
}

fn an_output_removed_while_it_is_read_is_still_read_whole_and_deleted_then(on: On) {
    let world = World::new();
    world.output("a", b"content");
    let fs = on.start(&world);
    let fd = fs.open("a", libc::O_RDONLY).unwrap();
    fs.unlink("a").unwrap();
    assert_eq!(fs.read_all(fd).unwrap(), b"content");
    fs.close(fd).unwrap();
    deleted_in_the_end(&world, fs);
}

fn an_output_removed_while_open_and_never_read_is_deleted_at_the_last_close(on: On) {
    let world = World::new();
    world.output("a", b"content");
    let fs = on.start(&world);
    let (one, two) = (
        fs.open("a", libc::O_RDONLY).unwrap(),
        fs.open("a", libc::O_RDONLY).unwrap(),
    );
    fs.unlink("a").unwrap();
    fs.close(one).unwrap();
    assert_eq!(world.calls().delete, 0);
    fs.close(two).unwrap();
    deleted_in_the_end(&world, fs);
}

fn deleted_in_the_end(world: &World, fs: Box<dyn Surface>) {
    let calls = calls_by_the_end(world, fs);
    assert_eq!(
        Calls {
            content: 0,
            ..calls
        },
        ONE_DELETE
    );
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_removed_name_can_be_created_again_at_once(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"one").unwrap();
    let before = fs.stat("a").unwrap();
    let reader = fs.open("a", libc::O_RDONLY).unwrap();
    world.forget_calls();
    world.removes("a");
    fs.unlink("a").unwrap();
    fs.put("a", b"second").unwrap();
    assert_eq!(fs.get("a").unwrap(), b"second");
    assert_ne!(fs.stat("a").unwrap().ino, before.ino);
    assert_eq!(fs.read_all(reader).unwrap(), b"one");
    fs.close(reader).unwrap();
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            upload: 1,
            ..ONE_DELETE
        }
    );
    assert_eq!(world.stored_bytes("a"), b"second");
}

fn removing_a_hundred_files_is_a_hundred_deletions(on: On) {
    let world = World::new();
    world.emulator.bulk(100, "doc-", 10, true).unwrap();
    let fs = on.start(&world);
    world.forget_calls();
    for name in fs.names() {
        fs.unlink(&name).unwrap();
    }
    assert!(fs.names().is_empty());
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            delete: 100,
            ..Calls::NONE
        }
    );
    assert!(world.emulator.files().unwrap().is_empty());
}

/// What databases, browsers and build tools hold at their end: files that were removed while open. Whether a close is the
/// last one is seen in every descriptor of who closes, and of such files nothing is saved anyway.
#[test]
fn closing_many_removed_files_looks_at_no_descriptors() {
    const FILES: usize = 300;
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    mount.sh("echo text > warm");
    world.forget_calls();
    let reads = || {
        let io = std::fs::read_to_string(format!("/proc/{}/io", mount.pid())).unwrap();
        let syscr = io.lines().find_map(|line| line.strip_prefix("syscr: "));
        syscr.unwrap().parse::<usize>().unwrap()
    };
    let before = reads();
    mount.sh(&format!(
        "python3 -c '
import os
files = []
for n in range({FILES}):
    files.append(os.open(str(n), os.O_RDWR | os.O_CREAT))
    os.write(files[-1], b\"text\")
    os.unlink(str(n))
for file in files:
    assert os.pread(file, 9, 0) == b\"text\"
    os.close(file)
'"
    ));
    let each = (reads() - before) / FILES;
    // Some calls come with a file, each a read of the device of the kernel; with a look at the descriptors it is hundreds.
    assert!(each < 40, "{each} reads for a file");
    assert_eq!(mount.names(), ["warm"]);
    assert_eq!(
        {
            mount.unmount();
            world.calls().but_lists()
        },
        Calls::NONE
    );
}
