//! Outputs on their way here: bytes are served as they arrive, no byte is fetched that nobody wants, and a download that
//! breaks off goes on without a wrong byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use afs::emulator::{
    Config, FaultAction, FaultAnswer, FaultRule, LoggedCall, LoggedRequest, StoredFile,
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::{Mount, PATIENCE, World, errno, eventually, pattern, start, within};

/// Enough that nothing takes it in by chance.
const SOME: usize = 3_000_000;

/// The largest file the service takes.
const LARGEST: u64 = 500 * 1024 * 1024;

/// What looking at a file's beginning may move: the window, and what the kernel's buffers of a connection take in, which
/// is up to 10 MB on a slow machine (`tcp_wmem` and `tcp_rmem` of tcp(7)).
const LITTLE: u64 = 14 << 20;

fn without_ranges() -> World {
    let mut config = Config::default();
    config.switches.ranges = false;
    World::with(config)
}

/// A tool's output of this size.
fn large(world: &World, size: u64) -> StoredFile {
    world.emulator.bulk(1, "large-", size, true).unwrap();
    world.emulator.files().unwrap().remove(0)
}

fn downloads(world: &World) -> Vec<LoggedRequest> {
    let mut requests = world.emulator.requests();
    requests.retain(|request| request.call == LoggedCall::Content);
    requests
}

fn statuses(world: &World) -> Vec<u16> {
    let requests = downloads(world).into_iter();
    requests
        .map(|request| request.status.unwrap_or(0))
        .collect()
}

fn moved(world: &World) -> u64 {
    downloads(world).iter().map(|r| r.bytes_out).sum()
}

fn at_the_first(action: FaultAction) -> FaultRule {
    FaultRule {
        call: Some(LoggedCall::Content),
        times: Some(1),
        ..FaultRule::new(action)
    }
}

fn at_each(action: FaultAction) -> FaultRule {
    FaultRule {
        times: None,
        ..at_the_first(action)
    }
}

/// The names in the cache: ids, and downloads in progress.
pub(super) fn cached(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    let mut directories = vec![world.dir.path().join("cache")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                directories.push(entry.path());
            } else {
                names.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    names
}

fn read_at(file: &File, offset: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// What the kernel reads ahead it waits for, also with the close.
fn without_reading_ahead(file: &File) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM).unwrap();
}

fn read_all(mount: &Mount, name: &str) -> std::io::Result<Vec<u8>> {
    let path = mount.at(name);
    within(PATIENCE, "a read", move || fs::read(path))
}

#[test]
fn many_readers_of_a_file_are_one_download() {
    let world = World::new();
    let content = pattern(SOME);
    world.output("f", &content);
    let mount = world.mount();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| assert!(read_all(&mount, "f").unwrap() == content));
        }
    });
    assert_eq!(statuses(&world), [200]);
}

#[test]
fn what_has_come_is_read_while_the_rest_is_held() {
    for world in [World::new(), without_ranges()] {
        let content = Arc::new(pattern(SOME));
        world.output("f", &content);
        let mount = world.mount();
        let hold = FaultAction::StallAfterBytes(1_500_000);
        world.emulator.set_faults(vec![at_each(hold)]);
        let file = File::open(mount.at("f")).unwrap();
        let (file, expected) = (Arc::new(file), Arc::clone(&content));
        let reading = Arc::clone(&file);
        within(PATIENCE, "what has come", move || {
            for offset in [0, 900_000, 500_000] {
                let read = read_at(&reading, offset, 4096);
                assert!(read == expected[offset as usize..][..4096]);
            }
        });
        let rest = thread::spawn(move || read_at(&file, 2_000_000, 4096));
        assert!(!rest.is_finished());
        assert_eq!(downloads(&world)[0].ended, None);
        world.emulator.clear_faults();
        assert!(rest.join().unwrap() == content[2_000_000..][..4096]);
        assert_eq!(statuses(&world), [200]);
    }
}

#[test]
fn a_look_at_the_beginning_of_the_largest_file_moves_little() {
    let world = World::new();
    let output = large(&world, LARGEST);
    let mount = world.mount();
    let head = mount.try_sh(&format!("head -c 4096 {}", output.filename));
    assert_eq!(head.stdout.len(), 4096);
    eventually("the download ends", || {
        downloads(&world).iter().all(|r| r.ended.is_some())
    });
    assert_eq!(statuses(&world), [200]);
    let moved = moved(&world);
    assert!(moved < LITTLE, "{moved} bytes");
    eventually("nothing is left of it", || cached(&world).is_empty());
}

/// A file that is open and not read on is not fetched on; its last close ends the download.
#[test]
fn a_download_rests_where_nobody_reads_on_and_ends_with_the_last_close() {
    let world = World::new();
    world.emulator.bulk(2, "large-", 100 << 20, true).unwrap();
    let [output, other] = world.emulator.files().unwrap().try_into().unwrap();
    let content = world.emulator.content(&output.id).unwrap().unwrap();
    let mount = world.mount();
    let files = [(); 2].map(|()| File::open(mount.at(&output.filename)).unwrap());
    assert!(read_at(&files[0], 0, 4096) == content[..4096]);
    assert!(read_at(&files[1], 0, 4096) == content[..4096]);
    let [first, second] = files;
    drop(first);
    assert!(read_at(&second, 1 << 20, 4096) == content[1 << 20..][..4096]);
    // Time enough for all of it.
    for _ in 0..2 {
        assert_eq!(read_all(&mount, &other.filename).unwrap().len(), 100 << 20);
    }
    let resting = &downloads(&world)[0];
    assert_eq!(resting.id.as_ref(), Some(&output.id));
    assert_eq!(resting.ended, None);
    let moved = resting.bytes_out;
    assert!(moved < 2 * LITTLE, "{moved} bytes");
    drop(second);
    eventually("the download ends", || downloads(&world)[0].ended.is_some());
    eventually("nothing is left of it", || {
        cached(&world) == [other.id.as_str()]
    });
    assert!(read_all(&mount, &output.filename).unwrap() == content);
    // From the front; a reader that is far ahead of what has come may ask for a part of its own beside that.
    let anew = downloads(&world).into_iter().skip(1);
    let whole = |r: &LoggedRequest| r.id.as_ref() == Some(&output.id) && r.status == Some(200);
    assert!(anew.filter(whole).count() >= 1);
}

#[test]
fn a_download_that_is_nearly_done_goes_on_without_readers() {
    let world = World::new();
    let content = pattern(SOME);
    let stored = world.output("f", &content);
    let mount = world.mount();
    let hold = FaultAction::StallAfterBytes(2_500_000);
    world.emulator.set_faults(vec![at_each(hold)]);
    let file = File::open(mount.at("f")).unwrap();
    assert!(read_at(&file, 2_000_000, 4096) == content[2_000_000..][..4096]);
    eventually("most of it has come", || moved(&world) == 2_500_000);
    assert!(read_at(&file, 2_490_000, 4096) == content[2_490_000..][..4096]);
    drop(file);
    world.emulator.clear_faults();
    eventually("it is cached", || cached(&world) == [stored.id.as_str()]);
    world.hang(&[LoggedCall::Content]);
    assert!(read_all(&mount, "f").unwrap() == content);
    assert_eq!(statuses(&world), [200]);
}

#[test]
fn of_a_large_file_nearly_done_is_a_twentieth() {
    let world = World::new();
    world.emulator.bulk(2, "large-", 100 << 20, true).unwrap();
    let [far, near] = world.emulator.files().unwrap().try_into().unwrap();
    let mount = world.mount();
    let read_up_to = |output: &StoredFile, end: u64| {
        let content = world.emulator.content(&output.id).unwrap().unwrap();
        let hold = FaultAction::StallAfterBytes(end + 4096);
        world.emulator.set_faults(vec![at_each(hold)]);
        let file = File::open(mount.at(&output.filename)).unwrap();
        without_reading_ahead(&file);
        for at in (0..end).step_by(1 << 20) {
            let bytes = read_at(&file, at, 1 << 20);
            assert!(bytes == content[at as usize..][..1 << 20], "{at}");
        }
    };
    read_up_to(&far, 94 << 20);
    eventually("nothing is left of it", || cached(&world).is_empty());
    read_up_to(&near, 96 << 20);
    world.emulator.clear_faults();
    eventually("it is cached", || cached(&world) == [near.id.as_str()]);
    assert_eq!(statuses(&world), [200, 200]);
}

#[test]
fn what_was_read_is_here_at_the_next_mount() {
    let world = World::new();
    let output = large(&world, 50 << 20);
    let content = world.emulator.content(&output.id).unwrap().unwrap();
    let mount = world.mount();
    assert!(read_all(&mount, &output.filename).unwrap() == content);
    // At once: it may not be on the disk yet.
    mount.unmount();
    world.hang(&[LoggedCall::Content]);
    let mount = world.mount();
    assert!(read_all(&mount, &output.filename).unwrap() == content);
    assert_eq!(statuses(&world), [200]);
}

/// Reads at the beginning, and then far ahead of it.
fn seek_ahead(world: &World) -> u64 {
    const FAR: u64 = 60 << 20;
    let output = large(world, 80 << 20);
    let content = world.emulator.content(&output.id).unwrap().unwrap();
    let mount = world.mount();
    let file = File::open(mount.at(&output.filename)).unwrap();
    for offset in [0, FAR, 0, FAR + 500_000] {
        let read = read_at(&file, offset, 4096);
        assert!(read == content[offset as usize..][..4096], "{offset}");
    }
    moved(world)
}

#[test]
fn a_seek_ahead_asks_for_what_is_wanted_where_the_service_honours_ranges() {
    let world = World::new();
    let moved = seek_ahead(&world);
    assert_eq!(statuses(&world), [200, 206]);
    // Each of the two transfers has something in flight when it rests; what lies between them is not moved.
    assert!(moved < 4 * LITTLE, "{moved} bytes");
}

/// That ranges are honoured is documented nowhere: the service has to show it first.
#[test]
fn the_first_download_asks_for_no_range_wherever_its_reader_begins() {
    const FAR: u64 = 60 << 20;
    let world = World::new();
    let output = large(&world, 80 << 20);
    let content = world.emulator.content(&output.id).unwrap().unwrap();
    let mount = world.mount();
    let file = File::open(mount.at(&output.filename)).unwrap();
    assert!(read_at(&file, FAR, 4096) == content[FAR as usize..][..4096]);
    assert_eq!(statuses(&world).first(), Some(&200));
}

#[test]
fn a_seek_ahead_waits_for_the_front_where_it_does_not() {
    let world = without_ranges();
    let moved = seek_ahead(&world);
    assert_eq!(statuses(&world), [200]);
    assert!(moved > 60 << 20, "{moved} bytes");
}

#[test]
fn all_of_a_file_that_was_read_in_bits_is_had_without_moving_them_again() {
    let world = World::new();
    let output = large(&world, 40 << 20);
    let content = world.emulator.content(&output.id).unwrap().unwrap();
    let mount = world.mount();
    let file = File::open(mount.at(&output.filename)).unwrap();
    for offset in [0, 30 << 20, 15 << 20, 22 << 20] {
        let read = read_at(&file, offset, 4096);
        assert!(read == content[offset as usize..][..4096], "{offset}");
    }
    assert!(read_all(&mount, &output.filename).unwrap() == content);
    let moved = moved(&world);
    // What was in flight when a transfer met what is here comes on top.
    assert!(moved < (40 << 20) + 3 * LITTLE, "{moved} bytes");
    eventually("it is cached", || cached(&world) == [output.id.as_str()]);
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was_cut() {
    let world = World::new();
    let content = pattern(SOME);
    world.output("f", &content);
    let mount = world.mount();
    let cut = FaultAction::CutAfterBytes(1_000_000);
    world.emulator.set_faults(vec![FaultRule {
        times: Some(2),
        ..at_the_first(cut)
    }]);
    assert!(read_all(&mount, "f").unwrap() == content);
    assert_eq!(statuses(&world), [200, 206, 206]);
    let moved = moved(&world);
    assert!(moved < SOME as u64 + 100_000, "{moved} bytes");
}

#[test]
fn a_download_that_is_cut_is_had_again_whole_where_ranges_are_not_honoured() {
    let world = without_ranges();
    let content = pattern(SOME);
    world.output("f", &content);
    let mount = world.mount();
    let cut = FaultAction::CutAfterBytes(1_000_000);
    world.emulator.set_faults(vec![at_the_first(cut)]);
    assert!(read_all(&mount, "f").unwrap() == content);
    assert_eq!(statuses(&world), [200, 200]);
}

/// Not for ever: a download that brings nothing new is an error soon.
#[test]
fn a_download_that_is_cut_again_and_again_is_an_error() {
    for (world, cut_at) in [(World::new(), 0), (without_ranges(), 1_000_000)] {
        let content = pattern(SOME);
        world.output("f", &content);
        let mount = world.mount();
        world.emulator.set_faults(vec![
            at_the_first(FaultAction::CutAfterBytes(1_000_000)),
            at_each(FaultAction::CutAfterBytes(cut_at)),
        ]);
        assert_eq!(errno(read_all(&mount, "f")), libc::EIO);
        let tries = downloads(&world).len();
        // The kernel asks again for each page that it had asked for ahead.
        assert!((3..=20).contains(&tries), "{tries} requests");
        world.emulator.clear_faults();
        assert!(read_all(&mount, "f").unwrap() == content);
    }
}

#[test]
fn other_bytes_after_a_cut_are_an_error_and_nothing_is_mixed() {
    const CUT: usize = 100_000;
    let world = World::new();
    let content = vec![b'a'; 1_000_000];
    world.output("f", &content);
    let mount = world.mount();
    let others = |from: usize| FaultAnswer {
        status: 206,
        headers: BTreeMap::from([(
            "content-range".to_owned(),
            format!("bytes {from}-999999/1000000"),
        )]),
        body: Some("b".repeat(1_000_000 - from).into()),
    };
    world.emulator.set_faults(vec![
        at_the_first(FaultAction::CutAfterBytes(CUT as u64)),
        at_each(FaultAction::Status(others(CUT - 4096))),
    ]);
    let file = File::open(mount.at("f")).unwrap();
    let mut bytes = vec![0; 1_000_000];
    let mut at = 0;
    let failed = loop {
        match file.read_at(&mut bytes[at..], at as u64) {
            Ok(0) => panic!("all of it was read"),
            Ok(n) => at += n,
            Err(error) => break error,
        }
    };
    assert_eq!(failed.raw_os_error(), Some(libc::EIO));
    assert!(bytes[..at].iter().all(|byte| *byte == b'a'));
    assert!(mount.log().contains("other bytes than before"));
    world.emulator.clear_faults();
    // Whoever has it open is not given a part of each.
    assert_eq!(errno(file.read_at(&mut bytes[at..], at as u64)), libc::EIO);
    drop(file);
    // The kernel tells of a close when it is over.
    eventually("a new open reads what is there now", || {
        fs::read(mount.at("f")).is_ok_and(|bytes| bytes == content)
    });
}

/// The kernel has kept a page that it was given before the lie came out.
#[test]
fn pages_that_turned_out_to_be_in_doubt_are_read_again() {
    const CUT: u64 = 1_000_000;
    const PAGE: u64 = 995_328;
    let world = World::new();
    let content = pattern(SOME);
    world.output("f", &content);
    let mount = world.mount();
    let lie = FaultAction::All(vec![
        FaultAction::CorruptByte(PAGE + 4000),
        FaultAction::CutAfterBytes(CUT),
    ]);
    world
        .emulator
        .set_faults(vec![at_the_first(lie), at_each(FaultAction::Stall)]);
    let file = File::open(mount.at("f")).unwrap();
    without_reading_ahead(&file);
    let page = read_at(&file, PAGE, 4096);
    assert!(page[..4000] == content[PAGE as usize..][..4000]);
    assert_ne!(page[4000], content[PAGE as usize + 4000]);
    world.emulator.clear_faults();
    let after = file.read_at(&mut [0; 4096], PAGE + 8192);
    assert_eq!(errno(after), libc::EIO);
    drop(file);
    eventually("a new open reads what is there", || {
        fs::read(mount.at("f")).is_ok_and(|bytes| bytes == content)
    });
}

#[test]
fn a_waiting_reader_ends_when_it_is_interrupted_and_the_others_go_on() {
    let world = World::new();
    let content = pattern(SOME);
    world.output("f", &content);
    let mount = world.mount();
    let hold = FaultAction::StallAfterBytes(1_500_000);
    world.emulator.set_faults(vec![at_each(hold)]);
    let mut cat = start(
        Command::new("cat")
            .arg(mount.at("f"))
            .stdout(std::process::Stdio::null()),
    );
    eventually("it waits", || moved(&world) == 1_500_000);
    let file = File::open(mount.at("f")).unwrap();
    let other = thread::spawn(move || read_at(&file, 0, SOME));
    let begun = Instant::now();
    kill(Pid::from_raw(cat.id().cast_signed()), Signal::SIGINT).unwrap();
    within(PATIENCE, "its end", move || cat.wait()).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    world.emulator.clear_faults();
    assert!(other.join().unwrap() == content);
    assert_eq!(statuses(&world), [200]);
}
