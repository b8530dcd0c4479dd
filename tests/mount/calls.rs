//! System calls that other files say nothing of: copying within the kernel, room that is asked for, holes, descriptors
//! that are only paths, times left alone, names that are too long for any call.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::harness::{Calls, World, errno, eventually, no_starts, pattern};
use super::surface::{NEW, On, Setup, calls_by_the_end, on_both};

const QUIET: &[&str] = &["--refresh", "1h"];

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

const MOVED: Calls = Calls {
    upload: 1,
    delete: 1,
    ..Calls::NONE
};

/// The largest size, 500 MB (the Files API guide).
const LARGEST: u64 = 500 * 1024 * 1024;

on_both! {
    asking_for_room_extends_a_file_with_zeros
    asking_for_room_within_a_file_changes_nothing_of_it
    more_room_than_a_file_may_have_is_refused_and_so_are_other_kinds_of_it
    sizes_and_times_do_not_move_while_an_upload_follows_its_close
    a_file_that_is_read_can_be_renamed
    a_whiteout_is_refused
    a_file_replaced_at_the_service_never_gives_the_bytes_of_both
}

/// In memory, and in a file of its own.
fn asking_for_room_extends_a_file_with_zeros(on: On) {
    for size in [10, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let fd = fs.open("a", libc::O_RDWR | libc::O_CREAT).unwrap();
        fs.pwrite(fd, 0, b"text").unwrap();
        fs.fallocate(fd, 2, size - 2, 0).unwrap();
        assert_eq!(fs.fstat(fd).unwrap().size, size);
        let mut expected = vec![0; size as usize];
        expected[..4].copy_from_slice(b"text");
        assert!(fs.read_all(fd).unwrap() == expected);
        fs.pwrite(fd, size - 3, b"end").unwrap();
        expected[size as usize - 3..].copy_from_slice(b"end");
        fs.close(fd).unwrap();
        assert!(world.stored_bytes("a") == expected);
        assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    }
}

fn asking_for_room_within_a_file_changes_nothing_of_it(on: On) {
    for size in [10, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let bytes = pattern(size);
        fs.put("a", &bytes).unwrap();
        let fd = fs.open("a", libc::O_RDWR).unwrap();
        fs.fallocate(fd, 0, 5, 0).unwrap();
        assert!(fs.read_all(fd).unwrap() == bytes);
        fs.close(fd).unwrap();
        assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
        assert!(world.stored_bytes("a") == bytes);
    }
}

fn more_room_than_a_file_may_have_is_refused_and_so_are_other_kinds_of_it(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"text").unwrap();
    assert_eq!(fs.fallocate(fd, 0, LARGEST + 1, 0), Err(libc::EFBIG));
    assert_eq!(fs.fallocate(fd, LARGEST, 1, 0), Err(libc::EFBIG));
    for mode in [
        libc::FALLOC_FL_KEEP_SIZE,
        libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE,
        libc::FALLOC_FL_ZERO_RANGE,
    ] {
        assert_eq!(fs.fallocate(fd, 0, 2, mode), Err(libc::EOPNOTSUPP));
    }
    assert_eq!(fs.fstat(fd).unwrap().size, 4);
    fs.close(fd).unwrap();
    let reader = fs.open("a", libc::O_RDONLY).unwrap();
    assert_eq!(fs.fallocate(reader, 0, 10, 0), Err(libc::EBADF));
    fs.close(reader).unwrap();
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
    assert_eq!(world.stored_bytes("a"), b"text");
}

/// Also where a listing shows the file with the time that the service has for it.
fn sizes_and_times_do_not_move_while_an_upload_follows_its_close(on: On) {
    let world = World::new();
    let setup = Setup {
        write_back: Setup::write_back().write_back,
        ..Setup::refreshing()
    };
    let fs = on.start_with(&world, setup);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"text").unwrap();
    let written = fs.fstat(fd).unwrap();
    fs.close(fd).unwrap();
    let is_there = || {
        assert_eq!(fs.names(), ["a"]);
        assert_eq!(fs.stat("a").unwrap(), written);
        !world.all_stored("a").is_empty()
    };
    eventually("it is uploaded", is_there);
    for _ in 0..3 {
        is_there();
    }
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn a_file_that_is_read_can_be_renamed(on: On) {
    for size in [5, 2_000_000] {
        let world = World::new();
        let fs = on.start(&world);
        let bytes = pattern(size);
        fs.put("a", &bytes).unwrap();
        world.forget_calls();
        let reader = fs.open("a", libc::O_RDONLY).unwrap();
        assert_eq!(fs.pread(reader, 0, 2).unwrap(), bytes[..2]);
        fs.rename("a", "b", 0).unwrap();
        eventually("its former name is gone there", || {
            world.all_stored("a").is_empty()
        });
        assert!(fs.read_all(reader).unwrap() == bytes);
        let stat = fs.fstat(reader).unwrap();
        assert_eq!((stat.nlink, stat), (1, fs.stat("b").unwrap()));
        fs.close(reader).unwrap();
        assert!(fs.get("b").unwrap() == bytes);
        assert_eq!(calls_by_the_end(&world, fs), MOVED);
        assert!(world.stored_bytes("b") == bytes);
    }
}

fn a_whiteout_is_refused(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"a").unwrap();
    let refused = fs.rename("a", "b", libc::RENAME_WHITEOUT);
    assert_eq!(refused, Err(libc::EINVAL));
    assert_eq!(fs.names(), ["a"]);
}

fn a_file_replaced_at_the_service_never_gives_the_bytes_of_both(on: On) {
    let world = World::new();
    let (first, second) = (vec![1; 300_000], vec![2; 300_000]);
    let (read, unread) = (world.output("read", &first), world.output("unread", &first));
    let fs = on.start_with(&world, Setup::refreshing());
    let read_by = fs.open("read", libc::O_RDONLY).unwrap();
    let unread_by = fs.open("unread", libc::O_RDONLY).unwrap();
    assert_eq!(fs.pread(read_by, 0, 3).unwrap(), first[..3]);
    for (name, file) in [("read", &read), ("unread", &unread)] {
        world.emulator.delete(&file.id).unwrap();
        world.output(name, &second);
    }
    eventually("only the new ones are listed", || {
        fs.names() == ["read", "unread"]
    });
    assert!(fs.read_all(read_by).unwrap() == first);
    assert_eq!(fs.read_all(unread_by), Err(libc::ESTALE));
    for name in ["read", "unread"] {
        assert!(fs.get(name).unwrap() == second, "{name}");
    }
    assert!(fs.read_all(read_by).unwrap() == first);
    fs.close(read_by).unwrap();
    fs.close(unread_by).unwrap();
}

/// `cp` and others copy within the kernel where they can.
#[test]
fn copying_within_the_kernel_copies_the_bytes() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    let large = pattern(1_500_000);
    world.output("output", &large);
    fs::write(mount.at("large"), &large).unwrap();
    fs::write(world.dir.path().join("outside"), &large).unwrap();
    mount.sh("cp large copy; cp ../outside in; cp large ../out; python3 -c '
import os
a, b, c = (os.open(n, f) for n, f in [(\"large\", os.O_RDONLY), (\"ranged\", os.O_RDWR | os.O_CREAT), (\"sent\", os.O_WRONLY | os.O_CREAT)])
left = 1500000
while left: left -= os.copy_file_range(a, b, left)
os.copy_file_range(b, b, 1000, 1000, 1499500)
at = 0
while at < 1500000: at += os.sendfile(c, a, at, 1500000 - at)
'");
    let mut ranged = large.clone();
    ranged.truncate(1_499_500);
    ranged.extend_from_slice(&large[1000..2000]);
    assert!(fs::read(world.dir.path().join("out")).unwrap() == large);
    mount.unmount();
    for name in ["large", "copy", "in", "sent"] {
        assert!(world.stored_bytes(name) == large, "{name}");
    }
    assert!(world.stored_bytes("ranged") == ranged);
    assert_eq!(world.calls().upload, 5);
}

/// What a download is copied out with.
#[test]
fn an_output_is_sent_to_another_file_system_within_the_kernel() {
    let world = World::new();
    let bytes = pattern(700_000);
    world.output("output", &bytes);
    let mount = world.mount_with(QUIET);
    mount.sh("cp output ../copied; python3 -c '
import os
a, b = os.open(\"output\", os.O_RDONLY), os.open(\"../sent\", os.O_WRONLY | os.O_CREAT)
at = 0
while at < 700000: at += os.sendfile(b, a, at, 700000 - at)
'");
    for name in ["copied", "sent"] {
        assert!(
            fs::read(world.dir.path().join(name)).unwrap() == bytes,
            "{name}"
        );
    }
    assert_eq!(world.calls().content, 1);
}

/// Where fallocate(2) is not supported, the C library writes into every block instead.
#[test]
fn programs_that_ask_for_room_get_it_in_one_call() {
    let world = World {
        logs: "fuser=debug",
        ..World::new()
    };
    let mount = world.mount_with(QUIET);
    mount.sh("python3 -c '
import os
file = os.open(\"a\", os.O_RDWR | os.O_CREAT)
os.posix_fallocate(file, 0, 4000000)
os.pwrite(file, b\"end\", 3999997)
'; fallocate -l 5000 b");
    let log = mount.log();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count(" FALLOCATE "), count(" WRITE ")), (2, 1));
    mount.unmount();
    let mut expected = vec![0; 4_000_000];
    expected[3_999_997..].copy_from_slice(b"end");
    assert!(world.stored_bytes("a") == expected);
    assert_eq!(world.stored_bytes("b"), vec![0; 5000]);
}

#[test]
fn every_byte_is_data_and_the_only_hole_is_behind_the_end() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    let _no_starts = no_starts();
    let mut file = File::create_new(mount.at("sparse")).unwrap();
    file.seek(SeekFrom::Start(1_200_000)).unwrap();
    file.write_all(b"end").unwrap();
    let seek = |from| rustix::fs::seek(&file, from);
    for at in [0, 1, 1_200_002] {
        assert_eq!(seek(rustix::fs::SeekFrom::Data(at)), Ok(at));
        assert_eq!(seek(rustix::fs::SeekFrom::Hole(at)), Ok(1_200_003));
    }
    for at in [1_200_003, 1 << 40] {
        assert_eq!(seek(rustix::fs::SeekFrom::Data(at)), Err(Errno::NXIO));
        assert_eq!(seek(rustix::fs::SeekFrom::Hole(at)), Err(Errno::NXIO));
    }
}

/// What systemd, Samba and sandboxes hold files with.
#[test]
fn a_descriptor_that_is_only_a_path_leads_to_its_file() {
    let world = World::new();
    world.foreign("unreadable", b"text");
    world.output("a", b"text");
    let mount = world.mount_with(QUIET);
    let open = |name, flags| {
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::open(mount.at(name), flags, Mode::empty())
    };
    let path = open("a", OFlags::PATH).unwrap();
    assert_eq!(rustix::fs::fstat(&path).unwrap().st_size, 4);
    let mut byte = [0];
    assert_eq!(rustix::io::read(&path, &mut byte), Err(Errno::BADF));
    assert_eq!(world.calls().content, 0);
    // Opened again through it, also when the name is another by then.
    fs::rename(mount.at("a"), mount.at("b")).unwrap_err();
    let number = std::os::fd::AsRawFd::as_raw_fd(&path);
    let mut text = String::new();
    let mut again = File::open(format!("/proc/self/fd/{number}")).unwrap();
    again.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
    // It needs no permission to read.
    let held = open("unreadable", OFlags::PATH).unwrap();
    assert_eq!(rustix::fs::fstat(&held).unwrap().st_size, 4);
    // Nobody was told of the descriptor: it does not hold a file that is removed.
    fs::write(mount.at("own"), b"own").unwrap();
    let own = open("own", OFlags::PATH).unwrap();
    fs::remove_file(mount.at("own")).unwrap();
    assert_eq!(rustix::fs::fstat(&own).unwrap_err(), Errno::STALE);
    let directory = open("a", OFlags::PATH | OFlags::DIRECTORY);
    assert_eq!(directory.unwrap_err(), Errno::NOTDIR);
    let root = open("", OFlags::PATH | OFlags::DIRECTORY).unwrap();
    let inside = rustix::fs::statat(&root, "a", AtFlags::empty()).unwrap();
    assert_eq!(inside.st_size, 4);
}

/// `O_TMPFILE` makes a file that has no name: there would be nothing to save it under.
#[test]
fn a_file_without_a_name_is_not_supported() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = rustix::fs::open(mount.path(), flags, Mode::RUSR | Mode::WUSR);
    assert_eq!(opened.unwrap_err(), Errno::OPNOTSUPP);
}

#[test]
fn times_are_set_to_now_and_left_alone() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("a"), b"text").unwrap();
    let set = |sec, nsec| {
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        let times = Timestamps {
            // The last access is not kept.
            last_access: time(1, 0),
            last_modification: time(sec, nsec),
        };
        rustix::fs::utimensat(CWD, mount.at("a"), &times, AtFlags::empty()).unwrap();
        let found = fs::metadata(mount.at("a")).unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    assert_eq!(
        set(1_234_567_890, 123_456_789),
        (1_234_567_890, 123_456_789)
    );
    assert_eq!(set(0, UTIME_OMIT), (1_234_567_890, 123_456_789));
    let before = fs::metadata(mount.at("a")).unwrap().ctime();
    assert!(set(0, UTIME_NOW).0 >= before);
    mount.sh("touch -d @1234567890.5 a; touch -a a");
    let found = fs::metadata(mount.at("a")).unwrap();
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (1_234_567_890, 500_000_000)
    );
    mount.unmount();
    assert_eq!(world.calls().upload, 1);
}

/// Before the call is refused for what it is, the name is for how long it is.
#[test]
fn a_name_that_is_too_long_is_said_first() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("a"), b"text").unwrap();
    let long = mount.at("n".repeat(256));
    // Names with characters that are refused too.
    let strange = mount.at("?".repeat(256));
    for path in [&long, &strange] {
        assert_eq!(errno(File::create(path)), libc::ENAMETOOLONG);
        assert_eq!(errno(fs::create_dir(path)), libc::ENAMETOOLONG);
        assert_eq!(errno(fs::remove_dir(path)), libc::ENAMETOOLONG);
        assert_eq!(
            errno(fs::hard_link(mount.at("a"), path)),
            libc::ENAMETOOLONG
        );
        assert_eq!(
            errno(std::os::unix::fs::symlink("a", path)),
            libc::ENAMETOOLONG
        );
        assert_eq!(errno(fs::rename(mount.at("a"), path)), libc::ENAMETOOLONG);
        assert_eq!(errno(fs::metadata(path)), libc::ENAMETOOLONG);
        assert_eq!(errno(fs::read(path.join("b"))), libc::ENAMETOOLONG);
    }
    assert_eq!(mount.names(), ["a"]);
}

/// With extended attributes `ls -l` asks for two a file. Without, the kernel is told once that there are none.
#[test]
fn listing_ten_thousand_files_asks_for_no_extended_attribute() {
    let world = World {
        logs: "fuser=debug",
        ..World::new()
    };
    world.emulator.bulk(10_000, "doc-", 10, true).unwrap();
    let mount = world.mount_with(QUIET);
    let asked = || {
        let log = mount.log();
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        assert!(count(" READDIRPLUS ") > 0, "requests are not in the log");
        count("XATTR")
    };
    assert_eq!(mount.sh("ls -l").lines().count(), 10_001);
    // Getting and listing, once each.
    assert!(asked() <= 2, "{} requests", asked());
    // What copies attributes along sets them as well.
    mount.sh("cp --preserve=all $(ls | head -20) ../; getfattr -d * 2>/dev/null; true");
    assert_eq!(mount.sh("ls -l").lines().count(), 10_001);
    assert!(asked() <= 4, "{} requests", asked());
}
