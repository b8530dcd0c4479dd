//! Writing on while an upload is under way: what is sent is what there was at the close, what is written meanwhile is
//! the next version, and each close says how its own ended.

use std::process::{Child, Command, Stdio};

use afs::emulator::{FaultAction, FaultRule, LoggedCall};

use super::harness::{Calls, Mount, World, eventually, pattern};
use super::hung::held;
use super::surface::{On, Setup, on_both};

on_both! {
    what_is_sent_is_what_was_closed_though_the_file_is_written_on
}

/// In the record, in memory until it is closed, in a file of its own.
const SIZES: [usize; 3] = [50_000, 300_000, 3_000_000];

/// The bytes of all files of this name, oldest first.
fn versions(world: &World, name: &str) -> Vec<Vec<u8>> {
    let mut files = world.all_stored(name);
    files.sort_by_key(|file| file.created_at);
    let bytes = files
        .iter()
        .map(|file| world.emulator.content(&file.id).unwrap().unwrap());
    bytes.collect()
}

fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

fn what_is_sent_is_what_was_closed_though_the_file_is_written_on(on: On) {
    for size in SIZES {
        let world = World::new();
        let fs = on.start_with(&world, Setup::write_back());
        // A held upload has not been read by the server yet, and what is replaced is left to be looked at.
        world.hang(&[LoggedCall::Upload, LoggedCall::Delete]);
        let first = pattern(size);
        fs.put("f", &first).unwrap();
        eventually("its upload hangs", || held(&world, LoggedCall::Upload) == 1);
        let second = reversed(first.clone());
        let fd = fs.open("f", libc::O_RDWR).unwrap();
        for (at, block) in second.chunks(40_000).enumerate() {
            fs.pwrite(fd, 7, b"passing").unwrap();
            fs.fsync(fd).unwrap();
            fs.pwrite(fd, at as u64 * 40_000, block).unwrap();
        }
        fs.pwrite(fd, 0, &second[..40_000]).unwrap();
        fs.close(fd).unwrap();
        assert!(fs.get("f").unwrap() == second);
        world.hang(&[LoggedCall::Delete]);
        eventually("the first arrives", || !versions(&world, "f").is_empty());
        assert!(versions(&world, "f")[0] == first, "{size}");
        world.emulator.clear_faults();
        fs.end();
        assert!(versions(&world, "f") == [second], "{size}");
    }
}

/// A program in the mount.
fn start(mount: &Mount, program: &str) -> Child {
    let mut command = Command::new("python3");
    command
        .args(["-c", program])
        .current_dir(mount.path())
        .stdin(Stdio::null());
    super::harness::start(&mut command)
}

#[test]
fn both_closes_tell_the_truth_when_a_file_is_hammered_during_its_upload() {
    for size in SIZES {
        let world = World::new();
        std::fs::write(world.dir.path().join("first"), pattern(size)).unwrap();
        std::fs::write(world.dir.path().join("second"), reversed(pattern(size))).unwrap();
        let mount = world.mount_with(&["--refresh", "1h"]);
        let stalled = |call, nth| FaultRule {
            call: Some(call),
            nth: Some(nth),
            ..FaultRule::new(FaultAction::Stall)
        };
        world.emulator.set_faults(vec![
            stalled(LoggedCall::Upload, 1),
            stalled(LoggedCall::Delete, 1),
        ]);
        let mut saver = start(&mount, "import shutil; shutil.copyfile('../first', 'f')");
        eventually("its upload hangs", || held(&world, LoggedCall::Upload) == 1);
        let mut hammer = start(
            &mount,
            "import os\n\
             new = open('../second', 'rb').read()\n\
             f = os.open('f', os.O_RDWR)\n\
             for n in range(50):\n    os.pwrite(f, bytes([n]) * 5000, n * 900)\n\
             at = 0\n\
             while at < len(new): at += os.pwrite(f, new[at:], at)\n\
             os.close(f)",
        );
        eventually("it is written all over", || {
            std::fs::read(mount.at("f")).is_ok_and(|bytes| bytes == reversed(pattern(size)))
        });
        assert!(saver.try_wait().unwrap().is_none(), "its save is not done");
        assert!(world.all_stored("f").is_empty());
        // Lets the first upload go, holds the second.
        world.emulator.set_faults(vec![
            stalled(LoggedCall::Upload, 1),
            stalled(LoggedCall::Delete, 1),
        ]);
        assert!(saver.wait().unwrap().success());
        assert!(versions(&world, "f") == [pattern(size)], "{size}");
        eventually("the second upload hangs", || {
            held(&world, LoggedCall::Upload) == 1
        });
        assert!(hammer.try_wait().unwrap().is_none(), "nor is the other");
        world.hang(&[LoggedCall::Delete]);
        assert!(hammer.wait().unwrap().success());
        let expected = [pattern(size), reversed(pattern(size))];
        assert!(versions(&world, "f") == expected, "{size}");
        world.emulator.clear_faults();
        mount.unmount();
        assert_eq!(
            world.calls().but_lists(),
            Calls {
                upload: 2,
                delete: 1,
                ..Calls::NONE
            }
        );
    }
}
