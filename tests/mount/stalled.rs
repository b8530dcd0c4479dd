//! A server that answers nothing at all while people go on working: how long each operation takes that needs no server,
//! and that whoever does wait for the server is gone when `timeout` says so.
//!
//! The load runs for `AFS_STALL_SECONDS`, 3 unless said; `scripts/test --all` asks for a minute.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultRule, LoggedCall};

use super::harness::{World, asked, eventually, pattern, start};

/// What 99 of 100 operations may take, and what none may.
const MOSTLY: Duration = Duration::from_millis(50);
const EVER: Duration = Duration::from_secs(1);

/// So often at least is each operation done.
const TIMES: usize = 200;

/// So many files are copied in, over and over.
const COPIES: usize = 20;

/// The times that one operation took.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn of<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = act();
        self.0.push(begun.elapsed());
        done
    }

    /// So many of a hundred took no longer.
    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() - 1) * percent / 100]
    }

    fn most(&self) -> Duration {
        self.at(100)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, mostly, most) = (self.at(50), self.at(99), self.most());
        write!(
            f,
            "{} times, p50 {:.2} ms, p99 {:.2} ms, at most {:.2} ms",
            self.0.len(),
            ms(median),
            ms(mostly),
            ms(most)
        )
    }
}

/// What people do in a directory, timed.
#[derive(Default)]
struct Load {
    ls: Times,
    stat: Times,
    cat: Times,
    cp: Times,
}

impl Load {
    /// Everything once in a mount.
    fn in_mount(&mut self, directory: &Path, round: usize) {
        self.ls.of(|| list(directory));
        let path = directory.join("cached");
        self.stat.of(|| fs::metadata(&path).unwrap());
        let read = self.cat.of(|| fs::read(&path).unwrap());
        assert!(read == pattern(CACHED));
        let path = directory.join(copy_name(round));
        self.cp.of(|| copy(path, &content_of(round), false));
    }

    /// As much on this machine's disk, and as many words with another process as the kernel and a mount exchange; what
    /// is copied is synced twice, as a change and its record are.
    fn beside(&mut self, directory: &Path, round: usize, process: &mut Echo) {
        self.ls.of(|| {
            process.talk(4);
            list(directory);
        });
        let path = directory.join("cached");
        self.stat.of(|| {
            process.talk(2);
            fs::metadata(&path).unwrap()
        });
        self.cat.of(|| {
            process.talk(4);
            fs::read(&path).unwrap()
        });
        self.cp.of(|| {
            process.talk(5);
            copy(directory.join(copy_name(round)), &content_of(round), true);
            copy(directory.join("record"), b"of a change", true);
        });
    }

    /// What took longer than it may; all is printed.
    fn slower_than(&self, machine: &Self) -> Vec<String> {
        let mut slow = Vec::new();
        for ((what, times), (_, machine)) in self.each().into_iter().zip(machine.each()) {
            println!("{what}: {times}; this machine's share: {machine}");
            let mostly = times.at(99) < MOSTLY + machine.at(99);
            if !mostly || times.most() > EVER + machine.most() {
                slow.push(format!("{what}: {times}"));
            }
        }
        slow
    }

    fn each(&self) -> [(&'static str, &Times); 4] {
        [
            ("ls -l", &self.ls),
            ("stat", &self.stat),
            ("cat", &self.cat),
            ("cp", &self.cp),
        ]
    }
}

const CACHED: usize = 50_000;

/// What `ls -l` asks.
fn list(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        entry.unwrap().metadata().unwrap();
    }
}

/// What `cp` does, up to its close.
fn copy(path: PathBuf, content: &[u8], syncs: bool) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(content).unwrap();
    if syncs {
        file.sync_all().unwrap();
    }
    nix::unistd::close(file).unwrap();
}

/// A process that says again what it is told, and so has to be woken as a mount has.
struct Echo(Child);

impl Echo {
    fn start() -> Self {
        let mut cat = Command::new("cat");
        Self(start(cat.stdin(Stdio::piped()).stdout(Stdio::piped())))
    }

    /// Says so many words, and waits for the answer to each.
    fn talk(&mut self, words: usize) {
        for _ in 0..words {
            let (said, heard) = (&mut self.0.stdin, &mut self.0.stdout);
            said.as_mut().expect("piped").write_all(b"x").unwrap();
            let mut answer = [0];
            heard
                .as_mut()
                .expect("piped")
                .read_exact(&mut answer)
                .unwrap();
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn copy_name(round: usize) -> String {
    format!("copy {}", round % COPIES)
}

fn content_of(round: usize) -> Vec<u8> {
    let mut content = pattern(10_000);
    content.extend(round.to_string().bytes());
    content
}

fn stall_everything(world: &World) {
    let everything = FaultRule::new(FaultAction::Stall);
    world.emulator.set_faults(vec![everything]);
}

/// Beside each round in the mount there is one on this machine alone: what that takes is the machine's share, which no
/// mount can be without.
#[test]
fn while_the_server_answers_nothing_what_is_here_goes_on_at_once() {
    let seconds = Duration::from_secs(asked("AFS_STALL_SECONDS", 3));
    let world = World::new();
    world.output("cached", &pattern(CACHED));
    for n in 0..50 {
        world.output(&format!("other {n}"), b"not read before");
    }
    let mount = world.mount_with(&["--write-back", "--refresh", "100ms"]);
    assert!(fs::read(mount.at("cached")).unwrap() == pattern(CACHED));
    let beside = world.dir.path().join("beside");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("cached"), pattern(CACHED)).unwrap();

    stall_everything(&world);
    world.forget_calls();
    // The first who looks waits for a listing; it takes two seconds to give that up.
    eventually("a listing hangs", || {
        mount.names().len() == 51 && world.calls().list == 1
    });
    let mut echo = Echo::start();
    let mut rounds = 0;
    // A machine that is busy with something else is asked again.
    let mut tries = if seconds < Duration::from_secs(10) {
        3
    } else {
        1
    };
    loop {
        let (mut load, mut machine) = (Load::default(), Load::default());
        let begun = Instant::now();
        while begun.elapsed() < seconds || load.stat.0.len() < TIMES {
            load.in_mount(mount.path(), rounds);
            machine.beside(&beside, rounds, &mut echo);
            rounds += 1;
        }
        let slow = load.slower_than(&machine);
        tries -= 1;
        if slow.is_empty() {
            break;
        }
        assert!(tries > 0, "{slow:?}");
    }
    let requests = world.emulator.requests();
    let answered = requests.iter().find(|request| request.status.is_some());
    assert_eq!(answered, None, "the server was not to answer");
    assert!(!requests.is_empty());

    world.emulator.clear_faults();
    mount.unmount();
    for round in rounds - COPIES..rounds {
        let stored = world.stored_bytes(&copy_name(round));
        assert!(stored == content_of(round), "round {round}");
    }
}

/// Every listing that ended without an answer was followed by one that the next `ls` waited two seconds for: once a minute,
/// for as long as the server was silent.
#[test]
fn a_server_that_stays_silent_is_waited_for_once() {
    let world = World::new();
    world.output("a", b"1");
    let mount = world.mount_with(&["--refresh", "100ms", "--timeout", "1s"]);
    assert_eq!(mount.names(), ["a"]);
    world.hang(&[LoggedCall::List]);
    world.forget_calls();
    let mut times = Times::default();
    eventually("three listings hung", || {
        times.of(|| assert_eq!(mount.names(), ["a"]));
        world.calls().list >= 4
    });
    let waited = times.0.iter().filter(|took| **took > EVER * 3 / 4);
    assert!(waited.count() <= 1, "{times}");
    world.output("b", b"2");
    world.emulator.clear_faults();
    eventually("the new name is shown", || mount.names() == ["a", "b"]);
}

/// So long a program waits before it is ended.
const PATIENCE: Duration = Duration::from_millis(400);

/// How often a program is ended before its quickest end counts: this machine may be busy.
const TRIES: usize = 3;

/// `timeout` ends a program that waits; how long that took, from its signal on.
fn ended(world: &World, directory: &Path, signal: &str, words: &[String]) -> Duration {
    let begun = Instant::now();
    let child = start(
        Command::new("timeout")
            .args(["-s", signal, &PATIENCE.as_secs_f64().to_string()])
            .args(words)
            .current_dir(directory),
    );
    let status = child.wait_with_output().unwrap().status;
    let took = begun.elapsed();
    // It says so by its exit code, but for a signal that ends it as well.
    let is_ended = match signal {
        "KILL" => status.signal() == Some(9),
        _ => status.code() == Some(124),
    };
    assert!(is_ended, "{signal} {words:?}: {status}, {took:?}");
    assert!(!world.emulator.requests().is_empty(), "it asked nothing");
    took.saturating_sub(PATIENCE)
}

#[test]
fn who_waits_for_a_server_that_answers_nothing_is_gone_within_a_second_of_its_timeout() {
    let world = World::new();
    let names: Vec<_> = (0..3 * TRIES).map(|n| format!("out {n}")).collect();
    for name in &names {
        world.output(name, name.as_bytes());
    }
    fs::write(world.dir.path().join("to copy"), b"copied").unwrap();
    let mount = world.mount_with(&["--refresh", "0s"]);
    let mut copies = Vec::new();
    for (n, signal) in ["INT", "TERM", "KILL"].into_iter().enumerate() {
        for what in ["cat", "ls", "cp"] {
            let quickest = (0..TRIES).map(|attempt| {
                let name = format!("{signal} {attempt}");
                let words: Vec<String> = match what {
                    "cat" => vec![what.to_owned(), names[n * TRIES + attempt].clone()],
                    "ls" => vec![what.to_owned()],
                    _ => {
                        copies.push(name.clone());
                        vec![what.to_owned(), "../to copy".to_owned(), name]
                    }
                };
                // What hung before is let go, so that this one finds nothing to join.
                world.emulator.clear_faults();
                eventually("all is at rest", || {
                    world.forget_calls();
                    let names = mount.names();
                    let is_saved = |name| !world.all_stored(name).is_empty();
                    let requests = world.emulator.requests();
                    let lists = requests.iter().filter(|one| one.call == LoggedCall::List);
                    let is_over = requests.iter().all(|one| one.ended.is_some());
                    lists.count() > 0 && is_over && names.iter().all(|name| is_saved(name))
                });
                stall_everything(&world);
                world.forget_calls();
                ended(&world, mount.path(), signal, &words)
            });
            let quickest = quickest.min().unwrap();
            println!("{what}, {signal}: {quickest:?}");
            assert!(quickest < EVER, "{what}, {signal}: {quickest:?}");
        }
    }
    world.emulator.clear_faults();
    // The mount is unharmed: it lists, reads, saves, and sends what was being sent.
    for name in &names {
        assert_eq!(fs::read(mount.at(name)).unwrap(), name.as_bytes());
    }
    mount.sh("echo fine > fine; cat fine");
    eventually("the copies arrive", || {
        copies.iter().all(|name| world.all_stored(name).len() == 1)
    });
    let log = mount.log();
    assert!(!log.contains("panicked"), "{log}");
    mount.unmount();
    assert_eq!(world.stored_bytes("fine"), b"fine\n");
    for name in &copies {
        assert_eq!(world.stored_bytes(name), b"copied", "{name}");
    }
}
