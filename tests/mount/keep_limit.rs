//! `--keep-limit`: how much of one's own uploads stays readable here, where a person has said so.

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::dropping::local_files;
use super::harness::{Calls, World, eventually, pattern};
use super::surface::{On, Setup, Surface, on_both};

/// Every file here has this size; small content and staged content are kept in different ways.
const SIZE: usize = 100_000;

fn keeping(files: usize) -> Setup {
    Setup {
        keep_limit: Some((files * SIZE) as u64),
        ..Setup::default()
    }
}

/// The names that can be read, by their modes and by opening them, which must say the same. Opening is a use: whoever
/// looks gives the names in the order that shall be theirs.
fn readable<'a>(fs: &dyn Surface, names: &[&'a str]) -> Vec<&'a str> {
    let is_readable = |name: &&&str| {
        let mode = fs.stat(name).unwrap().mode;
        let opened = fs.try_open(name, libc::O_RDONLY);
        match mode & 0o400 {
            0 => assert_eq!(opened, Err(libc::EACCES), "{name}"),
            _ => assert_eq!(opened, Ok(()), "{name}"),
        }
        opened.is_ok()
    };
    names.iter().filter(is_readable).copied().collect()
}

on_both! {
    without_a_limit_everything_stays_readable
    the_least_recently_used_copies_go_over_a_remount_too
    a_copy_goes_when_a_save_needs_its_room
    an_open_file_stays_readable_to_whoever_has_it_open
    what_pending_work_needs_stays
}

fn without_a_limit_everything_stays_readable(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for name in ["a", "b", "c"] {
        fs.put(name, &pattern(SIZE)).unwrap();
    }
    fs.end();
    let fs = on.start(&world);
    assert_eq!(readable(&*fs, &["a", "b", "c"]), ["a", "b", "c"]);
    fs.end();
}

fn the_least_recently_used_copies_go_over_a_remount_too(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, keeping(4));
    for name in ["a", "b", "c", "d"] {
        fs.put(name, &pattern(SIZE)).unwrap();
    }
    assert_eq!(fs.get("a").unwrap(), pattern(SIZE));
    fs.kill();
    let fs = on.start_with(&world, keeping(2));
    world.forget_calls();
    assert_eq!(readable(&*fs, &["a", "b", "c", "d"]), ["a", "d"]);
    assert_eq!(fs.get("a").unwrap(), pattern(SIZE));
    assert_eq!(fs.names(), ["a", "b", "c", "d"]);
    assert_eq!(fs.stat("b").unwrap().size, SIZE as u64);
    // Half of such a file is never written.
    assert_eq!(fs.append("b", b"x"), Err(libc::EACCES));
    fs.end();
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(world.stored_bytes(name), pattern(SIZE), "{name}");
    }
}

fn a_copy_goes_when_a_save_needs_its_room(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, keeping(2));
    for name in ["a", "b", "c"] {
        fs.put(name, &pattern(SIZE)).unwrap();
    }
    // The kernel may show the mode it knows for a while: what counts is what a new mount says.
    fs.end();
    let fs = on.start_with(&world, keeping(2));
    assert_eq!(readable(&*fs, &["a", "b", "c"]), ["b", "c"]);
    // A replaced file is readable again, and another one goes.
    fs.put("a", &pattern(SIZE)[..SIZE - 1]).unwrap();
    fs.end();
    let fs = on.start_with(&world, keeping(2));
    assert_eq!(readable(&*fs, &["a", "b", "c"]), ["a", "c"]);
    fs.end();
}

fn an_open_file_stays_readable_to_whoever_has_it_open(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, keeping(1));
    fs.put("a", &pattern(SIZE)).unwrap();
    let fd = fs.open("a", libc::O_RDONLY).unwrap();
    fs.put("b", &pattern(SIZE)).unwrap();
    // Looked for on the disk: to open the file would be a use of it.
    eventually("one copy goes", || local_files(&world, "kept").len() == 1);
    assert_eq!(fs.read_all(fd).unwrap(), pattern(SIZE));
    fs.close(fd).unwrap();
    eventually("it goes with its last handle", || {
        fs.try_open("a", libc::O_RDONLY) == Err(libc::EACCES)
    });
    assert_eq!(fs.get("b").unwrap(), pattern(SIZE));
    fs.end();
}

fn what_pending_work_needs_stays(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, keeping(1));
    fs.put("a", &pattern(SIZE)).unwrap();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        name: Some("moved".to_owned()),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    world.forget_calls();
    fs.rename("a", "moved", 0).unwrap();
    eventually("it is refused", || world.calls().upload == 1);
    for name in ["b", "c"] {
        fs.put(name, &pattern(SIZE)).unwrap();
    }
    assert_eq!(fs.get("moved").unwrap(), pattern(SIZE));
    fs.kill();
    world.emulator.clear_faults();
    let fs = on.start_with(&world, keeping(1));
    eventually("it is renamed", || {
        world.all_stored("moved").len() == 1 && world.all_stored("a").is_empty()
    });
    fs.end();
    assert_eq!(world.stored_bytes("moved"), pattern(SIZE));
}
