//! flock(2) and fcntl(2) locks: they hold on this machine, and nobody at the service learns of them.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

use super::harness::{Calls, Mount, World, eventually, no_starts, start};

const QUIET: &[&str] = &["--refresh", "1h"];

/// A program that has a lock of a file until it is killed.
fn holder(mount: &Mount, how: &str) -> Child {
    let program = format!(
        "import fcntl, os, time\n\
         f = os.open('a', os.O_RDWR)\n\
         fcntl.{how}(f, fcntl.LOCK_EX)\n\
         open('../locked', 'w').close()\n\
         time.sleep(600)"
    );
    let mut command = Command::new("python3");
    command
        .args(["-c", &program])
        .current_dir(mount.path())
        .stdin(Stdio::null());
    let child = start(&mut command);
    let locked = mount.path().with_file_name("locked");
    eventually("it is locked", || locked.exists());
    std::fs::remove_file(locked).unwrap();
    child
}

fn open(mount: &Mount) -> File {
    let mut options = File::options();
    options.read(true).write(true).open(mount.at("a")).unwrap()
}

#[test]
fn a_lock_of_one_descriptor_keeps_another_out_until_it_is_closed() {
    let world = World::new();
    world.output("a", b"text");
    let mount = world.mount_with(QUIET);
    let _no_starts = no_starts();
    let open = || File::open(mount.at("a")).unwrap();
    world.forget_calls();
    let (one, two) = (open(), open());
    flock(&one, FlockOperation::NonBlockingLockShared).unwrap();
    flock(&two, FlockOperation::NonBlockingLockShared).unwrap();
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    assert_eq!(flock(&two, exclusive), Err(Errno::WOULDBLOCK));
    let copy = one.try_clone().unwrap();
    drop(one);
    assert_eq!(flock(&two, exclusive), Err(Errno::WOULDBLOCK));
    drop(copy);
    flock(&two, exclusive).unwrap();
    assert_eq!(flock(open(), exclusive), Err(Errno::WOULDBLOCK));
    flock(&two, FlockOperation::Unlock).unwrap();
    flock(open(), exclusive).unwrap();
    assert_eq!(world.calls(), Calls::NONE);
}

#[test]
fn a_lock_of_one_process_keeps_another_out_until_it_dies() {
    for how in ["flock", "lockf"] {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        mount.sh("echo text > a");
        let mut child = holder(&mount, how);
        let _no_starts = no_starts();
        let file = open(&mount);
        let lock = || match how {
            "flock" => flock(&file, FlockOperation::NonBlockingLockExclusive),
            _ => fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
        };
        assert_eq!(lock(), Err(Errno::WOULDBLOCK), "{how}");
        child.kill().unwrap();
        child.wait().unwrap();
        lock().unwrap();
    }
}

/// How cron jobs and updaters see to it that only one of them runs.
#[test]
fn flock_runs_a_command_under_a_lock_file_in_the_mount() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    mount.sh("flock a sh -c '! flock -n a true'; flock -n a sh -c 'echo done > b'");
    assert_eq!(mount.sh("cat b"), "done\n");
    mount.unmount();
    assert_eq!(world.stored_bytes("b"), b"done\n");
    assert_eq!(world.stored_bytes("a"), b"");
}

/// As `SQLite` and office programs do: locks of ranges, by a program that writes under them.
#[test]
fn what_is_written_under_a_lock_is_saved_once() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    mount.sh("python3 -c '
import fcntl, os
f = os.open(\"a\", os.O_RDWR | os.O_CREAT)
for n in range(5):
    fcntl.lockf(f, fcntl.LOCK_EX, 10, n * 10)
    os.pwrite(f, b\"x\" * 10, n * 10)
    fcntl.lockf(f, fcntl.LOCK_UN, 10, n * 10)
os.close(f)
'");
    assert_eq!(world.stored_bytes("a"), b"x".repeat(50));
    mount.unmount();
    assert_eq!(world.calls().upload, 1);
}
