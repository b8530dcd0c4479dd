//! What is kept here is what was saved: its digest is taken when it is sealed, goes with it to the service, tells that
//! the same bytes are saved again, and finds damage.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, Mount, PATIENCE, World, errno, eventually, pattern, within};
use super::surface::{On, Setup, calls_by_the_end, on_both};

on_both! {
    the_same_bytes_again_over_the_same_name_ask_nothing
    the_same_bytes_are_sent_again_where_others_deleted_them
    the_same_bytes_under_another_name_are_another_file
}

const LARGE: usize = 1_500_000;

fn the_same_bytes_again_over_the_same_name_ask_nothing(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("small", b"text").unwrap();
    fs.put("large", &pattern(LARGE)).unwrap();
    let ids = (world.stored("small").id, world.stored("large").id);
    let before = fs.stat("small").unwrap();
    world.forget_calls();
    for _ in 0..2 {
        fs.put("small", b"text").unwrap();
        fs.put("large", &pattern(LARGE)).unwrap();
    }
    let after = fs.stat("small").unwrap();
    assert!(after.mtime > before.mtime, "{after:?}");
    assert_eq!(after.ino, before.ino);
    // Other bytes of the same size are another content.
    fs.put("small", b"tex.").unwrap();
    fs.put("small", b"tex.").unwrap();
    assert_eq!(fs.get("small").unwrap(), b"tex.");
    assert!(fs.get("large").unwrap() == pattern(LARGE));
    let calls = calls_by_the_end(&world, fs);
    assert_eq!(
        calls,
        Calls {
            upload: 1,
            delete: 1,
            ..Calls::NONE
        }
    );
    assert_ne!(world.stored("small").id, ids.0);
    assert_eq!(world.stored("large").id, ids.1);
    assert!(world.stored_bytes("large") == pattern(LARGE));
}

/// With a refresh interval of nothing, what was seen is always too long ago.
fn the_same_bytes_are_sent_again_where_others_deleted_them(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    fs.put("a", b"text").unwrap();
    let id = world.stored("a").id;
    world.forget_calls();
    fs.put("a", b"text").unwrap();
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            metadata: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(world.stored("a").id, id);
    assert!(world.emulator.delete(&id).unwrap());
    world.forget_calls();
    fs.put("a", b"text").unwrap();
    assert_eq!(fs.get("a").unwrap(), b"text");
    assert_eq!(world.stored_bytes("a"), b"text");
    let calls = calls_by_the_end(&world, fs);
    assert_eq!((calls.metadata, calls.upload), (1, 1));
}

fn the_same_bytes_under_another_name_are_another_file(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"text").unwrap();
    fs.put("b", b"text").unwrap();
    fs.rename("a", "c", 0).unwrap();
    fs.put("c", b"text").unwrap();
    fs.end();
    assert_eq!(world.emulator.files().unwrap().len(), 2);
    assert_eq!(world.stored_bytes("b"), b"text");
    assert_eq!(world.stored_bytes("c"), b"text");
}

/// The only file in a directory of the workspace's state.
fn only_file(world: &World, directory: &str) -> PathBuf {
    let workspaces = fs::read_dir(world.state_root()).unwrap();
    let mut files: Vec<PathBuf> = workspaces
        .map(|entry| entry.unwrap().path().join(directory))
        .filter(|path| path.is_dir())
        .flat_map(|path| fs::read_dir(path).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Changes a byte in the middle, and sets the time back as if nothing had been.
fn flip_a_byte(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(2)).unwrap();
    file.write_all(b"~").unwrap();
    file.set_modified(modified).unwrap();
}

fn read_fails_with_eio(mount: &Mount, name: &str) {
    let output = mount.try_sh(&format!("cat {name}"));
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Input/output error"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_kept_copy_that_somebody_changed_is_an_error_and_not_wrong_bytes() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo precious > a.md");
    let copy = only_file(&world, "kept");
    fs::write(&copy, "otherwise").unwrap();
    read_fails_with_eio(&mount, "a.md");
    fs::write(&copy, "previous\n").unwrap();
    read_fails_with_eio(&mount, "a.md");
    assert!(
        mount
            .log()
            .contains("does not have the bytes that were saved")
    );
    // A whole replacement needs nothing of it.
    mount.sh("echo new > a.md");
    assert_eq!(mount.sh("cat a.md"), "new\n");
    // The old one goes after the close.
    eventually("one is left", || world.all_stored("a.md").len() == 1);
    assert_eq!(world.stored_bytes("a.md"), b"new\n");
}

#[test]
fn a_kept_copy_that_was_only_touched_is_read() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo precious > a.md");
    let copy = fs::File::open(only_file(&world, "kept")).unwrap();
    copy.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(
        mount.sh("cat a.md; mv a.md b.md; cat b.md"),
        "precious\nprecious\n"
    );
}

#[test]
fn after_an_unclean_end_the_kept_copies_are_compared() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo precious > a.md");
    let dead = mount.kill();
    let copy = only_file(&world, "kept");
    flip_a_byte(&copy);
    let mount = world.mount();
    eventually("the damage is found", || {
        mount.log().contains("1 kept copies checked, 1 damaged")
    });
    read_fails_with_eio(&mount, "a.md");
    mount.unmount();
    drop(dead);
    let mount = world.mount();
    assert!(
        !mount
            .log()
            .rsplit("mounted")
            .next()
            .unwrap()
            .contains("did not end cleanly")
    );
    drop(mount);
}

/// How many threads of the mount are in open(2).
fn opening(mount: &Mount) -> usize {
    let threads = fs::read_dir(format!("/proc/{}/task", mount.pid())).unwrap();
    let calls = threads
        .flatten()
        .map(|thread| thread.path().join("syscall"));
    let open = format!("{} ", libc::SYS_openat);
    // A thread may have ended since.
    let is_open =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|call| call.starts_with(&open));
    calls.filter(is_open).count()
}

/// After an unclean end the first open of a copy reads all of it, seconds for a large one, and the threads that take
/// requests from the kernel are few. Here a copy takes as long as the test likes: whoever opens a pipe waits for somebody
/// to write to it.
#[test]
fn opening_copies_that_are_in_doubt_holds_up_nobody_else() {
    let world = World::new();
    let mount = world.mount();
    let names = ["a", "b", "c"];
    mount.sh("for name in a b c other; do echo text > $name; done");
    let dead = mount.kill();
    let pipes = names.map(|name| world.state_dir().join("kept").join(world.stored(name).id));
    for pipe in &pipes {
        fs::remove_file(pipe).unwrap();
        nix::unistd::mkfifo(pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let mount = world.mount();
    let readers = names.map(|name| {
        let path = mount.at(name);
        std::thread::spawn(move || fs::read(path))
    });
    // And the one that checks all copies in the background.
    eventually("all of them wait", || opening(&mount) > names.len());
    let other = mount.at("other");
    let read = within(PATIENCE, "reading another file", || {
        fs::read(other).unwrap()
    });
    assert_eq!(read, b"text\n");
    let writers = pipes.map(|pipe| {
        fs::File::options()
            .read(true)
            .write(true)
            .open(pipe)
            .unwrap()
    });
    for reader in readers {
        // It is no copy of anything.
        assert_eq!(errno(reader.join().unwrap()), libc::EIO);
    }
    drop(writers);
    mount.unmount();
    drop(dead);
}

#[test]
fn cache_verify_finds_what_is_damaged_and_says_so() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo precious > a.md");
    let verify = || {
        let output = world
            .afs()
            .args(["cache", "verify"])
            .arg(mount.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, said, _) = verify();
    assert_eq!(code, Some(0));
    assert!(
        said.contains("1 kept copies (9 B) are what was saved"),
        "{said}"
    );
    flip_a_byte(&only_file(&world, "kept"));
    let (code, said, complaint) = verify();
    assert_eq!(code, Some(1));
    assert_eq!(said, "damaged: a.md\n");
    assert!(
        complaint.contains("1 of 1 kept copies are damaged"),
        "{complaint}"
    );
    read_fails_with_eio(&mount, "a.md");
}

/// What was sealed is what is sent, or nothing is.
#[test]
fn bytes_that_changed_on_disk_after_they_were_sealed_are_never_sent() {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(413)))
    }]);
    let refused = mount.try_sh("head -c 1500000 /dev/zero > a.bin");
    assert!(!refused.status.success());
    flip_a_byte(&only_file(&world, "staged"));
    world.emulator.clear_faults();
    let retry = world
        .afs()
        .args(["pending", "--retry", "a.bin"])
        .arg(mount.path())
        .output()
        .unwrap();
    assert!(retry.status.success());
    eventually("it is tried again", || {
        mount
            .log()
            .contains("the bytes on this machine are not the ones that were saved")
    });
    assert!(world.emulator.files().unwrap().is_empty());
}
