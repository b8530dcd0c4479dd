//! The same system calls on a mount and on a directory of the disk, in random lists: every answer has to be the same,
//! what is there at the end as well, and after the unmount the service has exactly that. What may differ is written in
//! `side`.
//!
//! The seed decides which calls are made. `AFS_DIFF_LISTS` asks for more lists, `AFS_DIFF_SEED` for others; a difference
//! is shown with the shortest list that is found to have it.

mod plan;
mod side;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::io::Result as Answer;

use crate::harness::{Mount, World, asked, no_starts};
use plan::{List, NAMES, OPERATIONS};
use side::{Kind, SCRATCH, Side, Value};

/// Lists where nobody asks for more.
const LISTS: u32 = 256;

/// So many lists for each mount.
const ROUND: u32 = 256;

/// Where closes wait for the service, one list in four; all others return when it is durable here.
const LANES: [(u32, &[&str]); 2] = [
    (1, &["--refresh", "1h"]),
    (3, &["--refresh", "1h", "--write-back"]),
];

#[test]
fn any_calls_on_a_mount_answer_as_on_a_disk() {
    let lists: u32 = asked("AFS_DIFF_LISTS", LISTS);
    let seed: u64 = asked("AFS_DIFF_SEED", 1);
    let begun = Instant::now();
    let failures: Vec<String> = thread::scope(|scope| {
        let lanes: Vec<_> = LANES
            .into_iter()
            .enumerate()
            .map(|(lane, (share, options))| {
                scope.spawn(move || run_lane(seed, lane, (lists * share).div_ceil(4), options))
            })
            .collect();
        let failures = lanes.into_iter().filter_map(|lane| {
            let result = lane.join();
            result
                .unwrap_or_else(|_| Err("a lane panicked".to_owned()))
                .err()
        });
        failures.collect()
    });
    assert!(failures.is_empty(), "seed {seed}\n{}", failures.join("\n"));
    println!(
        "differential: {lists} lists of {OPERATIONS} calls in {:.0?}, no difference; seed {seed}",
        begun.elapsed()
    );
}

/// So many lists, one after the other, on a fresh mount every [`ROUND`].
fn run_lane(seed: u64, lane: usize, lists: u32, options: &[&str]) -> Result<(), String> {
    let mut done = 0;
    while done < lists {
        let mut seed_bytes = [0; 32];
        seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
        seed_bytes[8..16].copy_from_slice(&(lane as u64).to_le_bytes());
        seed_bytes[16..20].copy_from_slice(&done.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
        let cases = ROUND.min(lists - done);
        run_round(cases, random, options)
            .map_err(|why| format!("lane {lane}, lists from {done}: {why}"))?;
        done += cases;
    }
    Ok(())
}

fn run_round(cases: u32, random: TestRng, options: &[&str]) -> Result<(), String> {
    let pair = Pair::new(options);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let lists = plan::list();
    for _ in 0..cases {
        let drawn = lists.new_tree(&mut runner).map_err(|why| why.to_string())?;
        let list = drawn.current();
        if let Err(why) = pair.run(&list) {
            let (list, why) = pair.smallest(list, why);
            return Err(format!("{why}\n{list:?}{}", troubles(&pair.mount)));
        }
    }
    let (calls, went_well) = (cases * OPERATIONS as u32, pair.went_well.get());
    assert!(pair.count.get() == cases, "each list is made once");
    // A mount where nothing works is not like a disk where nothing does.
    assert!(went_well > calls / 2, "{went_well} of {calls} went well");
    pair.end()
}

/// A mount, and a directory of the disk. Fields end in this order.
struct Pair {
    mount: Mount,
    native: PathBuf,
    world: World,
    /// Lists that were run.
    count: Cell<u32>,
    /// Calls that succeeded.
    went_well: Cell<u32>,
}

impl Pair {
    fn new(options: &[&str]) -> Self {
        let world = World::new();
        let native = world.dir.path().join("native");
        fs::create_dir(&native).expect("made");
        Self {
            mount: world.mount_with(options),
            native,
            world,
            count: Cell::new(0),
            went_well: Cell::new(0),
        }
    }

    /// Makes the calls of a list on both, with names that were never used; how they differ.
    fn run(&self, list: &List) -> Result<(), String> {
        let prefix = format!("{}-", self.count.replace(self.count.get() + 1));
        for name in side::SUFFIXES {
            self.world.removes(&format!("{prefix}{name}"));
        }
        let mut sides = [
            Side::new(Kind::Mount, self.mount.path(), &prefix),
            Side::new(Kind::Native, &self.native, &prefix),
        ];
        let went_well = compare(list, &mut sides)?;
        self.went_well.set(self.went_well.get() + went_well);
        Ok(())
    }

    /// The shortest list that is found to differ, and how: calls are left out, many at once and then fewer.
    fn smallest(&self, mut list: List, mut why: String) -> (List, String) {
        for count in [16, 8, 4, 2, 1, 1] {
            let mut at = list.ops.len();
            while at > 0 {
                let from = at.saturating_sub(count);
                let mut shorter = list.clone();
                shorter.ops.drain(from..at);
                if let Err(now) = self.run(&shorter) {
                    (list, why) = (shorter, now);
                }
                at = from;
            }
        }
        (list, why)
    }

    /// After the unmount, the service has what the disk has, but for scratch files. Where one is the backup of a file
    /// that has no new version, the service still has that file.
    fn end(self) -> Result<(), String> {
        self.mount.unmount();
        let mut stored = BTreeMap::new();
        for file in self.world.emulator.files().expect("the emulator's files") {
            let bytes = self.world.emulator.content(&file.id).expect("readable");
            let again = stored.insert(file.filename.clone(), bytes.expect("there"));
            if again.is_some() {
                return Err(format!("{} is at the service twice", file.filename));
            }
        }
        for entry in fs::read_dir(&self.native).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.expect("UTF-8");
            if name.ends_with(SCRATCH) {
                continue;
            }
            match stored.remove(name) {
                Some(found) if found == fs::read(&path).expect("readable") => {}
                Some(_) => return Err(format!("{name} has other bytes at the service")),
                None => return Err(format!("{name} is not at the service")),
            }
        }
        stored.retain(|name, _| {
            let list = name.split_once('-').map(|(list, _)| list);
            let backup = format!("{}-{SCRATCH}", list.unwrap_or_default());
            !self.native.join(backup).exists()
        });
        if stored.is_empty() {
            return Ok(());
        }
        Err(format!("the service has more: {:?}", stored.keys()))
    }
}

/// What the mount had to say beside what it always says.
fn troubles(mount: &Mount) -> String {
    let log = mount.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"));
    lines.take(20).collect::<Vec<_>>().join("\n")
}

/// How many calls went well, on both alike.
fn compare(list: &List, sides: &mut [Side; 2]) -> Result<u32, String> {
    let _no_starts = no_starts();
    let [mount, native] = sides;
    let mut went_well = 0;
    for (nth, op) in list.ops.iter().enumerate() {
        let what = || format!("call {nth}, {op:?}");
        let answers = (mount.make(*op, nth), native.make(*op, nth));
        must_be_alike(&answers.0, &answers.1, what)?;
        went_well += u32::from(answers.0.is_ok());
        if list.is_watched {
            must_all_be_alike(&mount.look(), &native.look(), "after ", what)?;
        }
    }
    let what = || "all are closed".to_owned();
    must_all_be_alike(&mount.end(), &native.end(), "after ", what)?;
    Ok(went_well)
}

fn must_all_be_alike(
    mount: &[Answer<Value>],
    native: &[Answer<Value>],
    when: &str,
    what: impl Fn() -> String,
) -> Result<(), String> {
    assert_eq!(mount.len(), native.len());
    mount
        .iter()
        .zip(native)
        .enumerate()
        .try_for_each(|(nth, (mount, native))| {
            let seen = if nth < NAMES { "name" } else { "answer" };
            must_be_alike(mount, native, || format!("{when}{}, {seen} {nth}", what()))
        })
}

fn must_be_alike(
    mount: &Answer<Value>,
    native: &Answer<Value>,
    what: impl Fn() -> String,
) -> Result<(), String> {
    if mount == native {
        return Ok(());
    }
    let difference = match (mount, native) {
        (Ok(Value::Bytes(mount)), Ok(Value::Bytes(native))) => {
            let same = mount.iter().zip(native).take_while(|(a, b)| a == b).count();
            format!(
                "{} bytes, on a disk {}; the first {same} are the same",
                mount.len(),
                native.len()
            )
        }
        _ => format!("{}, on a disk {}", short(mount), short(native)),
    };
    Err(format!("{}: {difference}", what()))
}

fn short(answer: &Answer<Value>) -> String {
    match answer {
        Ok(Value::Bytes(bytes)) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}
