//! Content: whatever is written where, it is read back here and stored there byte for byte.

use std::fs;

use super::harness::{Calls, World, pattern};
use super::surface::{NEW, On, calls_by_the_end, on_both};

/// One upload and nothing else.
const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

/// What the service takes at most, 500 MB (the Files API guide).
const LARGEST: u64 = 500 * 1024 * 1024;

on_both! {
    what_is_written_is_read_back_before_and_after_the_close
    another_handle_reads_what_was_written_a_moment_ago
    writes_may_come_at_any_offset_in_any_order
    a_hole_reads_as_zeros_and_is_stored_as_zeros
    two_appending_handles_never_overwrite_each_other
    files_of_every_size_arrive_whole
    ftruncate_cuts_and_extends
    truncating_by_path_is_saved_without_an_open_file
    truncating_by_path_shows_in_open_handles
    truncating_to_the_same_size_saves_nothing
    writing_beyond_the_largest_size_fails_at_the_write
    truncating_beyond_the_largest_size_fails_and_changes_nothing
    changing_a_part_of_an_own_file_keeps_the_rest
    a_file_open_for_reading_cannot_be_written
    an_exclusive_create_of_an_existing_name_fails
    opening_a_missing_file_fails
}

fn what_is_written_is_read_back_before_and_after_the_close(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a.txt", libc::O_RDWR | libc::O_CREAT).unwrap();
    fs.pwrite(fd, 0, b"hello").unwrap();
    assert_eq!(fs.read_all(fd).unwrap(), b"hello");
    assert_eq!(fs.fstat(fd).unwrap().size, 5);
    assert!(world.all_stored("a.txt").is_empty());
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("a.txt"), b"hello");
    assert_eq!(fs.get("a.txt").unwrap(), b"hello");
    assert_eq!(fs.stat("a.txt").unwrap().size, 5);
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn another_handle_reads_what_was_written_a_moment_ago(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let writer = fs.open("a.txt", NEW).unwrap();
    fs.pwrite(writer, 0, b"one").unwrap();
    let reader = fs.open("a.txt", libc::O_RDONLY).unwrap();
    assert_eq!(fs.read_all(reader).unwrap(), b"one");
    fs.pwrite(writer, 3, b" two").unwrap();
    assert_eq!(fs.read_all(reader).unwrap(), b"one two");
    fs.close(writer).unwrap();
    assert_eq!(fs.read_all(reader).unwrap(), b"one two");
    fs.close(reader).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn writes_may_come_at_any_offset_in_any_order(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a.bin", NEW).unwrap();
    let bytes = pattern(300_000);
    for at in [200_000, 0, 100_000, 250_000, 50_000, 150_000] {
        fs.pwrite(fd, at as u64, &bytes[at..at + 50_000]).unwrap();
    }
    fs.pwrite(fd, 10, b"patched").unwrap();
    fs.close(fd).unwrap();
    let mut expected = bytes;
    expected[10..17].copy_from_slice(b"patched");
    assert!(world.stored_bytes("a.bin") == expected);
    assert!(fs.get("a.bin").unwrap() == expected);
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn a_hole_reads_as_zeros_and_is_stored_as_zeros(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("sparse", libc::O_RDWR | libc::O_CREAT).unwrap();
    fs.pwrite(fd, 2_000_000, b"end").unwrap();
    assert_eq!(fs.pread(fd, 1_000_000, 4).unwrap(), [0; 4]);
    fs.close(fd).unwrap();
    let stored = world.stored_bytes("sparse");
    assert_eq!(stored.len(), 2_000_003);
    assert!(stored[..2_000_000].iter().all(|byte| *byte == 0));
    assert_eq!(&stored[2_000_000..], b"end");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn two_appending_handles_never_overwrite_each_other(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
    let (one, two) = (
        fs.open("log", flags).unwrap(),
        fs.open("log", flags).unwrap(),
    );
    // Offsets mean nothing to a handle that appends.
    fs.pwrite(one, 0, b"a").unwrap();
    fs.pwrite(two, 0, b"b").unwrap();
    fs.pwrite(one, 0, b"c").unwrap();
    fs.pwrite(two, 0, b"d").unwrap();
    fs.close(one).unwrap();
    fs.close(two).unwrap();
    assert_eq!(fs.get("log").unwrap(), b"abcd");
    fs.append("log", b"e").unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("log"), b"abcde");
}

/// Around the sizes where content moves from the outbox record to a staged file (64 KB), and a draft from memory to
/// disk (1 MiB).
fn files_of_every_size_arrive_whole(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let edges = [64 * 1024, 1024 * 1024, 3_000_000];
    let sizes = edges
        .into_iter()
        .flat_map(|edge| [edge - 1, edge, edge + 1]);
    let sizes: Vec<usize> = std::iter::once(1).chain(sizes).collect();
    for size in &sizes {
        let (name, bytes) = (format!("{size}.bin"), pattern(*size));
        fs.put(&name, &bytes).unwrap();
        assert!(
            world.stored_bytes(&name) == bytes,
            "{size} bytes at the service"
        );
        assert!(fs.get(&name).unwrap() == bytes, "{size} bytes here");
    }
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            upload: sizes.len(),
            ..Calls::NONE
        }
    );
    let fs = on.start(&world);
    for size in sizes {
        let bytes = fs.get(&format!("{size}.bin")).unwrap();
        assert!(bytes == pattern(size), "{size} bytes after a remount");
    }
}

fn ftruncate_cuts_and_extends(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", libc::O_RDWR | libc::O_CREAT).unwrap();
    fs.pwrite(fd, 0, b"0123456789").unwrap();
    fs.ftruncate(fd, 4).unwrap();
    assert_eq!(fs.fstat(fd).unwrap().size, 4);
    assert_eq!(fs.read_all(fd).unwrap(), b"0123");
    // What was cut off is gone, not uncovered again.
    fs.ftruncate(fd, 6).unwrap();
    assert_eq!(fs.read_all(fd).unwrap(), b"0123\0\0");
    fs.ftruncate(fd, 2_000_000).unwrap();
    fs.ftruncate(fd, 5).unwrap();
    assert_eq!(fs.read_all(fd).unwrap(), b"0123\0");
    fs.ftruncate(fd, 0).unwrap();
    fs.pwrite(fd, 0, b"new").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("a"), b"new");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn truncating_by_path_is_saved_without_an_open_file(on: On) {
    for (size, expected) in [(3, &b"012"[..]), (7, b"01234\0\0")] {
        let world = World::new();
        let fs = on.start(&world);
        fs.put("a", b"01234").unwrap();
        let before = fs.stat("a").unwrap();
        fs.truncate("a", size).unwrap();
        let after = fs.stat("a").unwrap();
        assert_eq!((after.size, after.ino), (size, before.ino));
        assert_eq!(fs.get("a").unwrap(), expected);
        assert_eq!(
            calls_by_the_end(&world, fs),
            Calls {
                upload: 2,
                delete: 1,
                ..Calls::NONE
            }
        );
        assert_eq!(world.stored_bytes("a"), expected);
    }
}

fn truncating_by_path_shows_in_open_handles(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", libc::O_RDWR | libc::O_CREAT).unwrap();
    fs.pwrite(fd, 0, b"01234").unwrap();
    fs.truncate("a", 2).unwrap();
    assert_eq!(fs.read_all(fd).unwrap(), b"01");
    fs.pwrite(fd, 2, b"x").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("a"), b"01x");
}

fn truncating_to_the_same_size_saves_nothing(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"01234").unwrap();
    fs.truncate("a", 5).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn writing_beyond_the_largest_size_fails_at_the_write(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", libc::O_RDWR | libc::O_CREAT).unwrap();
    fs.pwrite(fd, 0, b"small").unwrap();
    assert_eq!(fs.pwrite(fd, LARGEST, b"x"), Err(libc::EFBIG));
    assert_eq!(fs.pwrite(fd, 1 << 40, b"x"), Err(libc::EFBIG));
    assert_eq!(fs.fstat(fd).unwrap().size, 5);
    // The kernel may write what still fits before it says so, as POSIX has it.
    assert_eq!(fs.pwrite(fd, LARGEST - 1, b"xy"), Err(libc::EFBIG));
    assert!(fs.fstat(fd).unwrap().size <= LARGEST);
    fs.ftruncate(fd, 5).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("a"), b"small");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn truncating_beyond_the_largest_size_fails_and_changes_nothing(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"small").unwrap();
    assert_eq!(fs.truncate("a", LARGEST + 1), Err(libc::EFBIG));
    let fd = fs.open("a", libc::O_WRONLY).unwrap();
    assert_eq!(fs.ftruncate(fd, LARGEST + 1), Err(libc::EFBIG));
    // The largest size itself is allowed; it is never closed at it here.
    fs.ftruncate(fd, LARGEST).unwrap();
    assert_eq!(fs.fstat(fd).unwrap().size, LARGEST);
    fs.ftruncate(fd, 5).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.get("a").unwrap(), b"small");
    fs.end();
    assert_eq!(world.stored_bytes("a"), b"small");
}

fn changing_a_part_of_an_own_file_keeps_the_rest(on: On) {
    for size in [100, 100_000, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let mut bytes = pattern(size);
        fs.put("a.bin", &bytes).unwrap();
        let fd = fs.open("a.bin", libc::O_RDWR).unwrap();
        fs.pwrite(fd, 50, b"changed").unwrap();
        bytes[50..57].copy_from_slice(b"changed");
        assert!(fs.read_all(fd).unwrap() == bytes, "{size}");
        fs.close(fd).unwrap();
        assert_eq!(
            calls_by_the_end(&world, fs),
            Calls {
                upload: 2,
                delete: 1,
                ..Calls::NONE
            }
        );
        assert!(world.stored_bytes("a.bin") == bytes, "{size}");
    }
}

fn a_file_open_for_reading_cannot_be_written(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"01234").unwrap();
    let fd = fs.open("a", libc::O_RDONLY).unwrap();
    assert_eq!(fs.pwrite(fd, 0, b"x"), Err(libc::EBADF));
    assert_eq!(fs.ftruncate(fd, 1), Err(libc::EINVAL));
    fs.close(fd).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn an_exclusive_create_of_an_existing_name_fails(on: On) {
    let world = World::new();
    world.output("theirs", b"x");
    let fs = on.start(&world);
    fs.put("ours", b"y").unwrap();
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    assert_eq!(fs.open("theirs", flags), Err(libc::EEXIST));
    assert_eq!(fs.open("ours", flags), Err(libc::EEXIST));
    let fd = fs.open("new", flags).unwrap();
    assert_eq!(fs.open("new", flags), Err(libc::EEXIST));
    fs.pwrite(fd, 0, b"z").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.names(), ["new", "ours", "theirs"]);
}

fn opening_a_missing_file_fails(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR | libc::O_TRUNC] {
        assert_eq!(fs.open("missing", flags), Err(libc::ENOENT));
    }
    assert_eq!(fs.stat("missing"), Err(libc::ENOENT));
    assert_eq!(fs.unlink("missing"), Err(libc::ENOENT));
    assert_eq!(fs.rename("missing", "other", 0), Err(libc::ENOENT));
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

/// Without a cache that writes back, the kernel brings what was changed through a map at msync(2) and when the map goes.
#[test]
fn a_file_changed_through_a_memory_map_is_saved() {
    let world = World::new();
    let mount = world.mount();
    fs::write(mount.at("small"), b"hello world").unwrap();
    let large = pattern(1_500_000);
    fs::write(mount.at("large"), &large).unwrap();
    world.forget_calls();
    mount.sh("python3 -c '
import mmap
for name in [\"small\", \"large\"]:
    with open(name, \"r+b\") as file:
        with mmap.mmap(file.fileno(), 0) as map:
            map[0:5] = b\"HELLO\"
            map.flush()
'");
    let mut changed = large;
    changed[..5].copy_from_slice(b"HELLO");
    assert_eq!(fs::read(mount.at("small")).unwrap(), b"HELLO world");
    assert!(fs::read(mount.at("large")).unwrap() == changed);
    mount.unmount();
    assert_eq!(world.stored_bytes("small"), b"HELLO world");
    assert!(world.stored_bytes("large") == changed);
    assert_eq!(world.calls().upload, 2);
}
