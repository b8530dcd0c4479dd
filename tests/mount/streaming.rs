//! Large files: they pass through, they do not sit in memory, and they may take as long as they need.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultRule, LoggedCall};
use sha2::{Digest, Sha256};

use super::harness::{Calls, Mount, World, pattern, within};

/// The largest file the service takes.
const LARGEST: u64 = 500 * 1024 * 1024;

/// What a mount may need beyond its idle memory, in KiB.
const MOST: u64 = 64 * 1024;

/// A value of `/proc/PID/status` in KiB.
fn memory(mount: &Mount, label: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(label)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn sha256_of(mut file: File) -> String {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex(&digest.finalize()),
            n => digest.update(&buffer[..n]),
        }
    }
}

#[test]
fn the_largest_file_passes_both_ways_in_little_memory() {
    let world = World::new();
    world
        .emulator
        .bulk(1, "big-output-", LARGEST, true)
        .unwrap();
    let output = world.emulator.files().unwrap().remove(0);
    let mount = world.mount();
    assert_eq!(mount.names(), [output.filename.as_str()]);
    let idle = memory(&mount, "VmRSS:");

    let begun = Instant::now();
    let mut digest = Sha256::new();
    let mut file = File::create(mount.at("big-upload")).unwrap();
    let mut piece = pattern(1 << 20);
    for n in 0..LARGEST >> 20 {
        piece[..8].copy_from_slice(&n.to_be_bytes());
        digest.update(&piece);
        file.write_all(&piece).unwrap();
    }
    nix::unistd::close(file).unwrap();
    let uploaded = memory(&mount, "VmHWM:");
    let upload_time = begun.elapsed();
    let stored = world.stored("big-upload");
    assert_eq!(stored.size_bytes, LARGEST);
    assert_eq!(stored.sha256, hex(&digest.finalize()));

    let begun = Instant::now();
    let read = sha256_of(File::open(mount.at(&output.filename)).unwrap());
    assert_eq!(read, output.sha256);
    let peak = memory(&mount, "VmHWM:");
    println!(
        "idle {idle} KiB, peak {uploaded} KiB after the upload ({upload_time:?}), {peak} KiB after the download ({:?})",
        begun.elapsed()
    );
    assert!(peak < idle + MOST, "{idle} KiB idle, {peak} KiB at most");
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            upload: 1,
            content: 1,
            ..Calls::NONE
        }
    );
}

#[test]
fn the_first_bytes_of_a_large_file_can_be_had() {
    let world = World::new();
    let content = pattern(20_000_000);
    world.output("big", &content);
    let mount = world.mount();
    let head = mount.try_sh("head -c 4096 big");
    assert_eq!(head.stdout, &content[..4096]);
    // Its end is another part of the file; nothing between is fetched.
    let tail = mount.try_sh("tail -c 5 big");
    assert_eq!(tail.stdout, &content[content.len() - 5..]);
    assert_eq!(world.calls().content, 2);
}

/// The deadline is on lack of progress: what moves may take as long as it takes.
#[test]
fn a_slow_download_outlasts_the_deadline_while_it_moves() {
    let world = World::new();
    let content = pattern(500_000);
    world.output("slow", &content);
    let mount = world.mount_with(&["--timeout", "2s"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Content),
        ..FaultRule::new(FaultAction::SlowBytesPerSecond(100_000))
    }]);
    let begun = Instant::now();
    let path = mount.at("slow");
    let read = within(Duration::from_secs(30), "the download", || fs::read(path));
    assert_eq!(read.unwrap(), content);
    assert!(begun.elapsed() >= Duration::from_secs(4));
    assert_eq!(world.calls().content, 1);
}
