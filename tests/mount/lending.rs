//! Outputs that the kernel reads by itself (passthrough): that it does, that what is yours is not lent, and that a lent
//! file can be changed all the same, without a reader seeing mixed bytes or an error.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::harness::{Calls, Mount, World, eventually, pattern};

const SIZE: usize = 3 << 20;

/// Far above what a read of a file on this machine takes.
const STUCK: Duration = Duration::from_secs(3);

/// An output of the service whose bytes are on this machine already.
fn with_cached_output(options: &[&str]) -> (World, Mount) {
    let world = World::new();
    world.output("chart.png", &pattern(SIZE));
    let mount = world.mount();
    assert_eq!(fs::read(mount.at("chart.png")).unwrap(), pattern(SIZE));
    // The kernel has nothing of it any more.
    mount.unmount();
    let mount = world.mount_with(&[&["--refresh", "1h"], options].concat());
    mount.names();
    world.forget_calls();
    (world, mount)
}

/// Linux 6.9 or later, and `CAP_SYS_ADMIN`: what the kernel asks for.
fn may_lend() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let version = (
        numbers.next().unwrap().unwrap(),
        numbers.next().unwrap().unwrap(),
    );
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("CapEff:"))
        .unwrap();
    let capabilities = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    version >= (6, 9) && capabilities & 1 << 21 != 0
}

/// Whether all threads of a process are stopped.
fn stands_still(pid: u32) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.all(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status"));
        status.is_ok_and(|status| status.contains("State:\tT"))
    })
}

/// Whether a file that is open can be read while the mount's process stands still.
fn reads_without_the_mount(mount: &Mount, file: File) -> bool {
    mount.signal("STOP");
    eventually("it stands still", || stands_still(mount.pid()));
    let (done, is_done) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut bytes = vec![0; SIZE];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let _ = done.send(());
        bytes
    });
    let was_read = is_done.recv_timeout(STUCK).is_ok();
    mount.signal("CONT");
    assert!(reader.join().unwrap() == pattern(SIZE));
    was_read
}

#[test]
fn an_output_that_is_here_is_read_by_the_kernel_itself() {
    let (world, mount) = with_cached_output(&[]);
    let file = File::open(mount.at("chart.png")).unwrap();
    assert_eq!(reads_without_the_mount(&mount, file), may_lend());
    assert_eq!(world.calls(), Calls::NONE);
}

#[test]
fn everything_that_is_here_is_where_nothing_may_be_changed() {
    let world = World::new();
    let mount = world.mount();
    fs::write(mount.at("mine.bin"), pattern(SIZE)).unwrap();
    mount.unmount();
    let mount = world.mount_with(&["--read-only"]);
    let file = File::open(mount.at("mine.bin")).unwrap();
    assert_eq!(reads_without_the_mount(&mount, file), may_lend());
}

#[test]
fn no_passthrough_leaves_reads_to_the_mount() {
    let (_world, mount) = with_cached_output(&["--no-passthrough"]);
    let file = File::open(mount.at("chart.png")).unwrap();
    assert!(!reads_without_the_mount(&mount, file));
}

/// Its readers are to see what is written to it.
#[test]
fn an_own_upload_is_not_lent() {
    let world = World::new();
    let mount = world.mount();
    // As large as what is lent.
    let mut text = "one\n".repeat(100_000);
    fs::write(mount.at("log.txt"), &text).unwrap();
    let mut reader = File::open(mount.at("log.txt")).unwrap();
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    let mut writer = OpenOptions::new()
        .append(true)
        .open(mount.at("log.txt"))
        .unwrap();
    writer.write_all(b"two\n").unwrap();
    reader.read_to_string(&mut seen).unwrap();
    text.push_str("two\n");
    assert!(seen == text, "{} bytes", seen.len());
}

/// What changes a lent file, and what it is afterwards.
#[test]
fn a_lent_file_can_be_changed_and_its_readers_keep_theirs() {
    type Change = (&'static str, fn(&Mount), fn() -> Vec<u8>);
    let changes: [Change; 5] = [
        (
            "replaced",
            |mount| fs::write(mount.at("chart.png"), "new").unwrap(),
            || b"new".to_vec(),
        ),
        (
            "appended to",
            |mount| {
                let mut file = OpenOptions::new()
                    .append(true)
                    .open(mount.at("chart.png"))
                    .unwrap();
                file.write_all(b"more").unwrap();
            },
            || [&pattern(SIZE)[..], b"more"].concat(),
        ),
        (
            "written in its middle",
            |mount| {
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(mount.at("chart.png"))
                    .unwrap();
                file.write_all_at(b"middle", 1000).unwrap();
            },
            || {
                let mut bytes = pattern(SIZE);
                bytes[1000..1006].copy_from_slice(b"middle");
                bytes
            },
        ),
        (
            "truncated by name",
            |mount| drop(mount.sh("truncate -s 1000 chart.png")),
            || pattern(1000),
        ),
        (
            "replaced by a rename",
            |mount| {
                fs::write(mount.at("other"), "other").unwrap();
                fs::rename(mount.at("other"), mount.at("chart.png")).unwrap();
            },
            || b"other".to_vec(),
        ),
    ];
    for (what, change, after) in changes {
        let (world, mount) = with_cached_output(&[]);
        let mut reader = File::open(mount.at("chart.png")).unwrap();
        let mut half = vec![0; SIZE / 2];
        reader.read_exact(&mut half).unwrap();
        change(&mount);
        assert_eq!(fs::read(mount.at("chart.png")).unwrap(), after(), "{what}");
        // On with the half that is left, and once more from the start.
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!([half, rest].concat() == pattern(SIZE), "{what}");
        reader.seek(SeekFrom::Start(0)).unwrap();
        let mut again = Vec::new();
        reader.read_to_end(&mut again).unwrap();
        assert!(again == pattern(SIZE), "{what}");
        assert_eq!(reader.metadata().unwrap().size(), SIZE as u64, "{what}");
        drop(reader);
        mount.unmount();
        assert_eq!(world.stored_bytes("chart.png"), after(), "{what}");
    }
}

/// The kernel fails an open with EIO whose kind is not that of the others.
#[test]
fn many_that_open_read_and_change_at_once_meet_no_error() {
    const FILES: usize = 30;
    let world = World::new();
    let content = pattern(200_000);
    for n in 0..FILES {
        world.output(&format!("chart-{n}"), &content);
    }
    let mount = world.mount_with(&["--refresh", "1h", "--write-back"]);
    let path = |n| mount.at(format!("chart-{n}"));
    for n in 0..FILES {
        assert_eq!(fs::read(path(n)).unwrap(), content);
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for first in 0..4 {
            let (is_over, content) = (&is_over, &content);
            scope.spawn(move || {
                let mut n = first;
                while !is_over.load(Ordering::Relaxed) {
                    let bytes = fs::read(path(n % FILES)).unwrap();
                    let (old, new) = bytes.split_at(content.len().min(bytes.len()));
                    assert!(old == content, "{} bytes", bytes.len());
                    assert!(
                        new.iter().all(|byte| *byte == b'n'),
                        "{} bytes",
                        bytes.len()
                    );
                    n += 1;
                }
            });
        }
        let changed = (0..FILES).try_for_each(|n| {
            let mut writer = OpenOptions::new().append(true).open(path(n))?;
            writer.write_all(&[b'n'; 1000])
        });
        is_over.store(true, Ordering::Relaxed);
        changed.unwrap();
    });
    for n in 0..FILES {
        assert_eq!(
            fs::read(path(n)).unwrap(),
            [&content[..], &[b'n'; 1000]].concat()
        );
    }
}
