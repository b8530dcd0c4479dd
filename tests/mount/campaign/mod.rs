//! The kill campaign: several writers at work in a real mount, `kill -9` of its process at a random instant, a mount on
//! the same state, and a comparison of what is there with what was acknowledged. Round after round on the same state, in
//! several worlds at once.
//!
//! `scripts/crash-test` runs it with more rounds. The seed decides what the writers do and when the kill comes; how far
//! they have got by then is the machine's.

mod model;
mod plan;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultMoment, FaultRule, LoggedCall};
use afs::mount::table::MountTable;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::harness::{Dead, KEY, Mount, World, asked, eventually, start};
use model::{Files, Model, Outcome, Step, Steps};
use plan::{Operation, Random, Version};

/// Rounds where nobody asks for more.
const ROUNDS: usize = 20;

/// Worlds at a time.
const LANES: usize = 4;

/// How they are mounted.
const OPTIONS: [&[&str]; LANES] = [
    &[],
    &["--refresh", "100ms"],
    &["--write-back"],
    &["--write-back", "--refresh", "100ms"],
];

const WRITERS: usize = 3;

/// More than a writer gets done in a round.
const OPERATIONS: usize = 300;

/// The kill comes within this long after all writers have begun.
const KILLED_WITHIN_MS: u64 = 500;

/// A caller that has no answer by then is stuck.
const STUCK: Duration = Duration::from_secs(15);

/// A mount after a kill may take this long.
const REMOUNT: Duration = Duration::from_secs(2);

/// Below this share of kills with an upload in flight the campaign proves nothing.
const IN_FLIGHT_PERCENT: usize = 60;

const WRITER: &str = include_str!("writer.py");

/// What a campaign did.
#[derive(Debug, Default)]
struct Tally {
    rounds: usize,
    kills: usize,
    operations: usize,
    acknowledged: usize,
    in_flight: usize,
    slowest_remount: Duration,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.in_flight += other.in_flight;
        self.slowest_remount = self.slowest_remount.max(other.slowest_remount);
    }
}

#[test]
fn a_kill_at_any_instant_loses_tears_and_duplicates_nothing() {
    let rounds: usize = asked("AFS_CRASH_ROUNDS", ROUNDS);
    let seed: u64 = asked("AFS_CRASH_SEED", 1);
    let begun = Instant::now();
    let lanes: Vec<_> = (0..LANES.min(rounds))
        .map(|lane| {
            let rounds = rounds / LANES + usize::from(lane < rounds % LANES);
            thread::spawn(move || Lane::new(seed, lane).run(rounds))
        })
        .collect();
    let ended: Vec<_> = lanes.into_iter().map(thread::JoinHandle::join).collect();
    let mut tally = Tally::default();
    let mut has_failed = false;
    for lane in ended {
        match lane {
            Ok(lane) => tally.add(&lane),
            Err(_) => has_failed = true,
        }
    }
    assert!(!has_failed, "seed {seed}, {rounds} rounds: see above");
    let percent = tally.in_flight * 100 / tally.rounds;
    println!(
        "crash-test: {} rounds with {} kills in {:.0?}, {} operations of which {} were acknowledged\n\
         crash-test: an upload was in flight at the kill in {} rounds ({percent} %), slowest remount {:.2?}\n\
         crash-test: 0 lost, 0 torn, 0 duplicated, 0 came back, 0 stuck; seed {seed}",
        tally.rounds,
        tally.kills,
        begun.elapsed(),
        tally.operations,
        tally.acknowledged,
        tally.in_flight,
        tally.slowest_remount,
    );
    assert!(
        percent >= IN_FLIGHT_PERCENT,
        "uploads were in flight at {percent} % of the kills only: this proves nothing"
    );
}

/// One world, and what is known to be in it.
struct Lane {
    name: usize,
    random: Random,
    options: &'static [&'static str],
    model: Model,
    tally: Tally,
    // In the order in which they have to end.
    mount: Option<Mount>,
    dead: Vec<Dead>,
    world: World,
}

impl Lane {
    fn new(seed: u64, lane: usize) -> Self {
        let world = World::new();
        // Some list again all the time, and so merge while much is on its way; some acknowledge what is only here.
        let options = OPTIONS[lane % OPTIONS.len()];
        Self {
            name: lane,
            random: Random(seed.wrapping_mul(1000).wrapping_add(lane as u64)),
            options,
            model: Model::new(WRITERS),
            tally: Tally::default(),
            mount: Some(world.mount_with(options)),
            dead: Vec::new(),
            world,
        }
    }

    fn run(mut self, rounds: usize) -> Tally {
        for round in 0..rounds {
            self.round(round);
            // At times the next round begins in the middle of the recovery.
            if round + 1 == rounds || self.random.below(3) > 0 {
                self.drain(round);
            }
        }
        if let Some(mount) = self.mount.take() {
            mount.unmount();
        }
        std::mem::take(&mut self.tally)
    }

    fn round(&mut self, round: usize) {
        self.slow_down();
        self.world.forget_calls();
        let plans: Vec<Vec<Operation>> = (0..WRITERS)
            .map(|writer| {
                let names = self.model.names_of(writer);
                plan::plan(&mut self.random, writer, &names, OPERATIONS)
            })
            .collect();
        for name in plans.iter().flat_map(|plan| plan::vacated(plan)) {
            self.world.removes(name);
        }
        let mut writers: Vec<Writer> = plans
            .iter()
            .enumerate()
            .map(|(writer, plan)| Writer::start(&self.world, self.mount(), round, writer, plan))
            .collect();
        for writer in &writers {
            eventually("a writer has begun", || writer.has_begun());
        }
        thread::park_timeout(Duration::from_millis(self.random.below(KILLED_WITHIN_MS)));
        if self.random.below(3) > 0 {
            self.wait_for_an_upload();
        }
        let killed = Timestamp::now();
        self.kill();
        self.wait_for(&mut writers);
        let steps: Vec<Steps> = writers
            .iter()
            .zip(plans)
            .map(|(writer, plan)| writer.steps(plan, killed))
            .collect::<Result<_, _>>()
            .unwrap_or_else(|why| self.fail(round, &why));
        self.count(&steps, killed);

        self.remount();
        if self.random.below(4) == 0 {
            // Again, in the middle of the recovery.
            thread::park_timeout(Duration::from_millis(self.random.below(60)));
            self.kill();
            self.remount();
        }
        self.compare(round, &steps);
    }

    /// Some uploads take a while before they are done, some after; and so do deletions. Longer where nobody waits for
    /// them: there are fewer of them then, since newer content takes the place of older.
    fn slow_down(&self) {
        let times = if self.options.contains(&"--write-back") {
            6
        } else {
            1
        };
        let slow = |call, name: &str, when, millis: u64| FaultRule {
            call: Some(call),
            name: Some(name.to_owned()),
            when,
            ..FaultRule::new(FaultAction::DelayMs(millis * times))
        };
        self.world.emulator.set_faults(vec![
            slow(LoggedCall::Upload, "*-a*", FaultMoment::AfterEffect, 80),
            slow(LoggedCall::Upload, "*-b*", FaultMoment::BeforeEffect, 80),
            slow(LoggedCall::Upload, "*", FaultMoment::AfterEffect, 50),
            slow(LoggedCall::Delete, "*-c*", FaultMoment::AfterEffect, 40),
            slow(LoggedCall::Delete, "*-d*", FaultMoment::BeforeEffect, 40),
        ]);
    }

    /// Most kills are to meet an upload, the others whatever there is. Where nothing is sent for a while they meet that.
    fn wait_for_an_upload(&self) {
        let deadline = Instant::now() + Duration::from_millis(KILLED_WITHIN_MS);
        while Instant::now() < deadline {
            let requests = self.world.emulator.requests();
            if requests
                .iter()
                .any(|request| request.call == LoggedCall::Upload && request.ended.is_none())
            {
                return;
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn mount(&self) -> &Mount {
        self.mount.as_ref().expect("mounted")
    }

    fn kill(&mut self) {
        let mount = self.mount.take().expect("mounted");
        self.dead.push(mount.kill());
        self.tally.kills += 1;
    }

    fn remount(&mut self) {
        let mount = self
            .world
            .try_mount(self.options, KEY)
            .unwrap_or_else(|said| panic!("lane {}: no mount after a kill: {said}", self.name));
        let took = mount.took();
        self.mount = Some(mount);
        self.tally.slowest_remount = self.tally.slowest_remount.max(took);
        assert!(
            took < REMOUNT,
            "lane {}: a remount took {took:?}",
            self.name
        );
    }

    /// Waits for the writers, who have no mount any more.
    fn wait_for(&self, writers: &mut [Writer]) {
        let deadline = Instant::now() + STUCK;
        while writers.iter_mut().any(Writer::is_running) {
            if Instant::now() > deadline {
                abort(&self.world);
                panic!(
                    "lane {}: a caller is stuck {STUCK:?} after the kill",
                    self.name
                );
            }
            thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn count(&mut self, steps: &[Steps], killed: Timestamp) {
        let all = || steps.iter().flatten();
        self.tally.rounds += 1;
        self.tally.operations += all().count();
        self.tally.acknowledged += all().filter(|step| step.outcome == Outcome::Done).count();
        let is_in_flight = self.world.emulator.requests().iter().any(|request| {
            request.call == LoggedCall::Upload
                && request.started < killed
                && request.ended.is_none_or(|ended| ended > killed)
        });
        self.tally.in_flight += usize::from(is_in_flight);
    }

    /// What is there right after the mount must be something that may be there.
    fn compare(&mut self, round: usize, steps: &[Steps]) {
        let there = self.there(round);
        let mut model = std::mem::take(&mut self.model);
        if let Err(why) = model.settle(steps, &there) {
            self.fail(round, &why);
        }
        self.model = model;
    }

    /// What is there when all is sent is what was there before, and what the service has.
    fn drain(&mut self, round: usize) {
        self.world.emulator.clear_faults();
        if let Err(said) = flush(&self.world, self.mount()) {
            self.fail(round, &said);
        }
        let settled = self.there(round);
        let known = self.model.files();
        if settled != known {
            self.fail(round, &format!("it changed from {known:?} to {settled:?}"));
        }
        let stored = self.stored();
        let wanted: BTreeMap<_, _> = settled
            .iter()
            .map(|(name, version)| (name.clone(), vec![sha256(&version.content())]))
            .collect();
        if stored != wanted {
            let differ =
                |(name, hashes): &(&String, &Vec<String>)| wanted.get(*name) != Some(hashes);
            let odd: Vec<_> = stored.iter().filter(differ).collect();
            let missing: Vec<_> = wanted
                .keys()
                .filter(|name| !stored.contains_key(*name))
                .collect();
            self.fail(
                round,
                &format!(
                    "at the service: not there {missing:?}, there {odd:?}, should be {wanted:?}"
                ),
            );
        }
    }

    /// The files in the mount; each must be a whole version.
    fn there(&self, round: usize) -> Files {
        let path = self.mount().path().to_owned();
        let read = or_abort(&self.world, "reading everything", move || read_all(&path));
        let there = read.unwrap_or_else(|why| self.fail(round, &why));
        let versions = there.into_iter().map(|(name, bytes)| {
            let version = Version::of(&bytes).unwrap_or_else(|| {
                let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                let size = bytes.len();
                self.fail(round, &format!("{name} is torn: {size} bytes, {head:?}"))
            });
            (name, version)
        });
        versions.collect()
    }

    /// What the service has: by name, the hashes of all files that have it.
    fn stored(&self) -> BTreeMap<String, Vec<String>> {
        let mut stored: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in self.world.emulator.files().expect("listed") {
            stored.entry(file.filename).or_default().push(file.sha256);
        }
        stored
    }

    fn fail(&self, round: usize, why: &str) -> ! {
        let mut log = String::new();
        for request in self.world.emulator.requests() {
            let _ = writeln!(log, "{request:?}");
        }
        panic!(
            "lane {}, round {round}: {why}\n--- requests:\n{log}",
            self.name
        )
    }
}

/// Runs what may hang; if it does, the connection to the kernel is ended, so that nothing hangs on.
fn or_abort<T: Send + 'static>(
    world: &World,
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let watched = thread::spawn(act);
    let deadline = Instant::now() + STUCK;
    while !watched.is_finished() {
        if Instant::now() > deadline {
            abort(world);
            panic!("{what} took longer than {STUCK:?}");
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    watched.join().expect("it does not panic")
}

/// Every file in a directory with its bytes.
fn read_all(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let listed = fs::read_dir(directory).map_err(|error| format!("nothing is listed: {error}"))?;
    let read = listed.map(|entry| {
        let entry = entry.map_err(|error| format!("the listing ends early: {error}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).map_err(|error| format!("{name}: {error}"))?;
        Ok((name, bytes))
    });
    read.collect()
}

/// Waits until everything is sent.
fn flush(world: &World, mount: &Mount) -> Result<(), String> {
    let mut command = Command::new("timeout");
    command
        .arg("30")
        .arg(env!("CARGO_BIN_EXE_afs"))
        .arg("flush")
        .arg(mount.path())
        .env("HOME", world.dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = start(&mut command).wait_with_output();
    let ended = ended.map_err(|error| error.to_string())?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(format!("not all was sent, {}: {said}", ended.status))
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Ends the kernel's side of this world's mounts: whoever waits in them gets an error.
fn abort(world: &World) {
    let point = world.dir.path().join("mnt");
    if let Some(mount) = MountTable::read()
        .ok()
        .as_ref()
        .and_then(|table| table.at(&point))
    {
        let _ = fs::write(
            format!("/sys/fs/fuse/connections/{}/abort", mount.minor),
            "1",
        );
    }
}

/// A writer's process.
struct Writer {
    child: Child,
    log: PathBuf,
}

impl Writer {
    fn start(
        world: &World,
        mount: &Mount,
        round: usize,
        writer: usize,
        plan: &[Operation],
    ) -> Self {
        let file = |what: &str| world.dir.path().join(format!("{what}-{round}-{writer}"));
        let (plan_file, log) = (file("plan"), file("log"));
        fs::write(&plan_file, plan::written(plan)).expect("written");
        let mut command = Command::new("python3");
        command
            .args(["-I", "-S", "-c", WRITER])
            .args([mount.path(), &plan_file, &log])
            .stdin(Stdio::null());
        let child = start(&mut command);
        Self { child, log }
    }

    fn has_begun(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it did, as its log says. Nothing may have failed before the kill.
    fn steps(&self, plan: Vec<Operation>, killed: Timestamp) -> Result<Steps, String> {
        let log = fs::read_to_string(&self.log).map_err(|error| error.to_string())?;
        let mut steps = Steps::new();
        let mut plan = plan.into_iter();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let time: u64 = words[2].parse().map_err(|_| format!("no time: {line}"))?;
            match words[0] {
                "begin" => steps.push(Step {
                    operation: plan.next().ok_or("more than was planned")?,
                    outcome: Outcome::Doubtful,
                    begun: time,
                    ended: u64::MAX,
                }),
                "done" => {
                    let step = steps.last_mut().ok_or("ended before it began")?;
                    step.outcome = Outcome::Done;
                    step.ended = time;
                }
                "failed" if i128::from(time) < killed.as_nanosecond() => {
                    let step = steps.last().map(|step| &step.operation);
                    return Err(format!("{step:?} failed before the kill: {line}"));
                }
                _ => {}
            }
        }
        Ok(steps)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
