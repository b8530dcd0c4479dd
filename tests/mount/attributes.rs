//! What stat(2), utimensat(2) and statfs(2) say, and that it stays true: over closes, uploads and remounts.

use super::harness::World;
use super::surface::{NEW, On, Setup, on_both};

/// A time with nanoseconds, in 2009.
const OLD: i64 = 1_234_567_890_123_456_789;

on_both! {
    truncating_what_is_empty_sets_its_time_for_good
    files_and_the_directory_belong_to_their_owner_alone
    the_umask_decides_about_modes_and_never_gives_execution
    sizes_and_times_do_not_move_after_the_close
    a_set_time_stays_to_the_nanosecond
    a_time_set_before_the_close_stays
    writing_moves_the_time_and_reading_does_not
    an_output_has_the_time_of_its_creation
    times_of_a_foreign_upload_can_be_set
    inode_numbers_are_never_used_again
}

/// Build stamps live by it.
fn truncating_what_is_empty_sets_its_time_for_good(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("stamp", b"").unwrap();
    fs.set_mtime("stamp", 1_000_000_000).unwrap();
    fs.put("stamp", b"").unwrap();
    let touched = fs.stat("stamp").unwrap().mtime;
    assert!(touched > 1_000_000_000, "{touched}");
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.stat("stamp").unwrap().mtime, touched);
    fs.end();
}

fn files_and_the_directory_belong_to_their_owner_alone(on: On) {
    let world = World::new();
    world.output("output", b"text");
    let fs = on.start(&world);
    fs.put("ours", b"text").unwrap();
    let (uid, gid) = (
        nix::unistd::getuid().as_raw(),
        nix::unistd::getgid().as_raw(),
    );
    for name in ["output", "ours"] {
        let stat = fs.stat(name).unwrap();
        assert_eq!((stat.mode, stat.nlink, stat.size), (0o600, 1, 4), "{name}");
        assert_eq!((stat.uid, stat.gid), (uid, gid), "{name}");
    }
    let root = fs.stat("").unwrap();
    assert_eq!((root.mode, root.nlink, root.uid), (0o700, 2, uid));
}

fn the_umask_decides_about_modes_and_never_gives_execution(on: On) {
    let world = World::new();
    world.output("output", b"text");
    world.foreign("theirs", b"text");
    let setup = Setup {
        umask: 0o022,
        ..Setup::default()
    };
    let fs = on.start_with(&world, setup);
    assert_eq!(fs.stat("output").unwrap().mode, 0o644);
    assert_eq!(fs.stat("theirs").unwrap().mode, 0o200);
    assert_eq!(fs.stat("").unwrap().mode, 0o755);
}

fn sizes_and_times_do_not_move_after_the_close(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"text").unwrap();
    let written = fs.fstat(fd).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.stat("a").unwrap(), written);
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(fs.stat("a").unwrap(), written);
}

fn a_set_time_stays_to_the_nanosecond(on: On) {
    let world = World::new();
    world.output("output", b"text");
    let fs = on.start(&world);
    fs.put("ours", b"text").unwrap();
    for (name, time) in [("output", OLD), ("ours", -OLD)] {
        fs.set_mtime(name, time).unwrap();
        assert_eq!(fs.stat(name).unwrap().mtime, time);
    }
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.names().len(), 2);
    assert_eq!(fs.stat("output").unwrap().mtime, OLD);
    assert_eq!(fs.stat("ours").unwrap().mtime, -OLD);
    assert_eq!(world.calls().upload, 1);
}

/// `cp -p` and rsync set times through the descriptor they wrote to.
fn a_time_set_before_the_close_stays(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("a", NEW).unwrap();
    fs.pwrite(fd, 0, b"text").unwrap();
    fs.futimens(fd, OLD).unwrap();
    assert_eq!(fs.fstat(fd).unwrap().mtime, OLD);
    fs.close(fd).unwrap();
    assert_eq!(fs.stat("a").unwrap().mtime, OLD);
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.stat("a").unwrap().mtime, OLD);
}

fn writing_moves_the_time_and_reading_does_not(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    fs.set_mtime("a", OLD).unwrap();
    fs.get("a").unwrap();
    fs.try_open("a", libc::O_RDWR).unwrap();
    assert_eq!(fs.stat("a").unwrap().mtime, OLD);
    fs.append("a", b"more").unwrap();
    assert!(fs.stat("a").unwrap().mtime > OLD);
    fs.set_mtime("a", OLD).unwrap();
    fs.truncate("a", 1).unwrap();
    assert!(fs.stat("a").unwrap().mtime > OLD);
}

fn an_output_has_the_time_of_its_creation(on: On) {
    let world = World::new();
    let output = world.output("output", b"text");
    let fs = on.start(&world);
    let created = i64::try_from(output.created_at.as_nanosecond()).unwrap();
    assert_eq!(fs.stat("output").unwrap().mtime, created);
    fs.get("output").unwrap();
    assert_eq!(fs.stat("output").unwrap().mtime, created);
}

fn times_of_a_foreign_upload_can_be_set(on: On) {
    let world = World::new();
    world.foreign("theirs", b"text");
    let fs = on.start(&world);
    fs.set_mtime("theirs", OLD).unwrap();
    let stat = fs.stat("theirs").unwrap();
    assert_eq!((stat.mtime, stat.size, stat.mode), (OLD, 4, 0o200));
}

fn inode_numbers_are_never_used_again(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.removes("a");
    let mut last = 0;
    for _ in 0..3 {
        fs.put("a", b"text").unwrap();
        let ino = fs.stat("a").unwrap().ino;
        assert!(ino > last);
        last = ino;
        fs.unlink("a").unwrap();
    }
    fs.end();
    let fs = on.start(&world);
    fs.put("b", b"text").unwrap();
    assert!(fs.stat("b").unwrap().ino > last);
}

/// The rest through a real mount only: these calls end at the adapter or in the kernel.
mod mounted {
    use super::*;
    use crate::harness::{Calls, errno, eventually};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const QUIET: &[&str] = &["--refresh", "1h"];

    #[test]
    fn changing_mode_or_owner_is_accepted_and_ignored() {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        mount.sh("echo text > a");
        let calls = world.calls_of(|| {
            mount.sh("chmod 755 a; chmod u-w a; chown 1:1 a; chgrp 1 a; chmod 777 .");
        });
        assert_eq!(
            mount.sh("stat -c '%a %u' a .").lines().next(),
            Some("600 0")
        );
        let mode = fs::metadata(mount.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(calls, Calls::NONE);
    }

    #[test]
    fn owners_are_those_of_the_options() {
        let world = World::new();
        world.output("a", b"text");
        let mount = world.mount_with(&["--refresh", "1h", "--uid", "1234", "--gid", "5678"]);
        assert_eq!(mount.sh("stat -c '%u %g' a ."), "1234 5678\n1234 5678\n");
    }

    #[test]
    fn cp_p_and_touch_d_keep_their_times() {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        let when = "2001-02-03 04:05:06.123456789";
        let calls = world.calls_of(|| {
            mount.sh(&format!(
                "echo text > ../src; touch -d '{when}' ../src; cp -p ../src copied"
            ));
            mount.sh(&format!("echo text > touched; touch -d '{when}' touched"));
        });
        assert_eq!(calls.but_lists().upload, 2);
        mount.unmount();
        let mount = world.mount_with(QUIET);
        for name in ["copied", "touched"] {
            assert!(
                mount.sh(&format!("stat -c %y {name}")).starts_with(when),
                "{name}"
            );
        }
    }

    #[test]
    fn df_shows_the_quota_and_what_is_used_of_it() {
        let world = World::new();
        world.output("a", &[0; 5000]);
        world.foreign("b", &[0; 3192]);
        let mount = world.mount_with(&["--refresh", "1h", "--quota", "1G"]);
        let space = rustix::fs::statvfs(mount.path()).unwrap();
        assert_eq!(space.f_blocks * space.f_frsize, 1 << 30);
        assert_eq!((space.f_blocks - space.f_bfree) * space.f_frsize, 8192);
        assert_eq!(space.f_bavail, space.f_bfree);
        assert_eq!((space.f_namemax, space.f_files), (255, 2));
        mount.sh("echo more > c");
        let space = rustix::fs::statvfs(mount.path()).unwrap();
        assert_eq!((space.f_blocks - space.f_bfree) * space.f_frsize, 12288);
        assert!(
            mount
                .sh("df -B1 --output=size,fstype .")
                .contains("1073741824 fuse.afs")
        );
    }

    #[test]
    fn directories_links_and_devices_are_refused() {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        fs::write(mount.at("a"), b"text").unwrap();
        world.forget_calls();
        assert_eq!(errno(fs::create_dir(mount.at("d"))), libc::EPERM);
        assert_eq!(
            errno(std::os::unix::fs::symlink("a", mount.at("s"))),
            libc::EPERM
        );
        assert_eq!(
            errno(fs::hard_link(mount.at("a"), mount.at("l"))),
            libc::EPERM
        );
        let fifo = nix::unistd::mkfifo(&mount.at("p"), nix::sys::stat::Mode::S_IRUSR);
        assert_eq!(fifo, Err(nix::errno::Errno::EPERM));
        assert_eq!(
            errno(std::os::unix::net::UnixListener::bind(mount.at("u"))),
            libc::EPERM
        );
        for kind in ["f b 7 0", "f c 1 3"] {
            let said = mount.try_sh(&format!("mknod {kind}"));
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.contains("Operation not permitted"), "{kind}: {said}");
        }
        assert_eq!(errno(fs::remove_dir(mount.at("a"))), libc::ENOTDIR);
        assert_eq!(errno(fs::remove_dir(mount.at("missing"))), libc::ENOENT);
        assert_eq!(mount.names(), ["a"]);
        assert_eq!(world.calls().but_lists(), Calls::NONE);
    }

    #[test]
    fn a_read_only_mount_refuses_every_change() {
        let world = World::new();
        world.output("a", b"text");
        let mount = world.mount_with(&["--refresh", "1h", "--read-only"]);
        world.forget_calls();
        for line in [
            "echo x > a",
            "echo x >> a",
            "echo x > b",
            "rm a",
            "mv a b",
            "truncate -s 1 a",
            "touch a",
            "mkdir d",
        ] {
            let output = mount.try_sh(line);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("Read-only file system"), "{line}: {said}");
        }
        assert_eq!(mount.sh("stat -c %a a ."), "400\n500\n");
        assert_eq!(world.calls(), Calls::NONE);
        assert_eq!(mount.sh("cat a"), "text");
    }

    #[test]
    fn extended_attributes_are_answered_when_asked_for() {
        let world = World::new();
        let output = world.output("a.csv", b"a,b\n");
        let mount = world.mount_with(&["--refresh", "1h", "--xattr"]);
        let get = |name: &str| {
            let mut value = [0; 200];
            rustix::fs::getxattr(mount.at("a.csv"), name, &mut value[..])
                .map(|length| String::from_utf8(value[..length].to_vec()).unwrap())
        };
        assert_eq!(get("user.afs.id"), Ok(output.id));
        assert_eq!(get("user.afs.mime_type"), Ok("text/csv".into()));
        assert_eq!(get("user.mime_type"), Ok("text/csv".into()));
        assert_eq!(get("user.afs.size"), Ok("4".into()));
        assert_eq!(get("user.afs.downloadable"), Ok("true".into()));
        assert_eq!(
            get("user.afs.created_at"),
            Ok(output.created_at.to_string())
        );
        assert_eq!(get("user.afs.state"), Ok("remote".into()));
        assert_eq!(get("user.other"), Err(rustix::io::Errno::NODATA));
        assert!(mount.sh("getfattr a.csv").contains("user.afs.id"));
        mount.sh("cat a.csv");
        // A reader has its bytes before they are safe on the disk.
        eventually("it is cached", || {
            get("user.afs.state") == Ok("cached".into())
        });
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::setxattr(mount.at("a.csv"), "user.x", b"1", flags);
        assert_eq!(set, Err(rustix::io::Errno::OPNOTSUPP));
        let removed = rustix::fs::removexattr(mount.at("a.csv"), "user.afs.id");
        assert_eq!(removed, Err(rustix::io::Errno::OPNOTSUPP));
    }

    #[test]
    fn extended_attributes_are_not_supported_unless_asked_for() {
        let world = World::new();
        world.emulator.bulk(500, "doc-", 10, true).unwrap();
        let mount = world.mount_with(QUIET);
        assert_eq!(mount.sh("ls -l").lines().count(), 501);
        let name = mount.names().remove(0);
        let mut value = [0; 10];
        let got = rustix::fs::getxattr(mount.at(&name), "user.afs.id", &mut value);
        assert_eq!(got, Err(rustix::io::Errno::OPNOTSUPP));
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::setxattr(mount.at(&name), "user.x", b"1", flags);
        assert_eq!(set, Err(rustix::io::Errno::OPNOTSUPP));
    }
}
