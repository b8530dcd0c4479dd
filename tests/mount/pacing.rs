//! A service that limits how often it is asked: everything waits for its turn, nothing fails for it, what people wait for
//! goes first, and every wait can be ended.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use afs::api::{ApiKey, Cursor, FilesApi, HttpClient, HttpConfig, ListQuery};
use afs::emulator::{Config, FaultAction, FaultAnswer, FaultRule, LoggedCall, Switches};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::harness::{KEY, Mount, PATIENCE, World, errno, eventually, start, within};
use super::hung::{close_of, mount_has_confirmed};

/// A service that takes ten calls a second, and `burst` at once.
fn ten_a_second(burst: u32, says_what_is_left: bool) -> World {
    World::with(Config {
        rate: NonZeroU32::new(600),
        switches: Switches {
            rate_burst: NonZeroU32::new(burst),
            rate_limits_said: says_what_is_left,
            ..Switches::default()
        },
        ..Config::default()
    })
}

/// A rule that refuses `call` for its rate and asks for so many seconds.
fn limited(call: LoggedCall, retry_after: &str) -> FaultRule {
    let answer = FaultAnswer {
        headers: BTreeMap::from([("retry-after".to_owned(), retry_after.to_owned())]),
        ..FaultAnswer::status(429)
    };
    FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(answer))
    }
}

/// Saves so many files at once, each in a thread of its own.
fn save_many(mount: &Mount, count: usize) -> Vec<JoinHandle<Result<(), i32>>> {
    (0..count)
        .map(|n| {
            let path = mount.at(format!("save-{n:03}"));
            thread::spawn(move || close_of(path, format!("content {n}").as_bytes()))
        })
        .collect()
}

/// How many calls of this kind were answered with this status.
fn answered(world: &World, call: LoggedCall, status: u16) -> usize {
    let requests = world.emulator.requests();
    let is_such = |r: &&afs::emulator::LoggedRequest| r.call == call && r.status == Some(status);
    requests.iter().filter(is_such).count()
}

fn all_are_saved(world: &World, saves: Vec<JoinHandle<Result<(), i32>>>) {
    let count = saves.len();
    for (n, save) in saves.into_iter().enumerate() {
        let closed = within(Duration::from_secs(60), "a close", move || save.join());
        assert_eq!(closed.unwrap(), Ok(()), "save {n}");
    }
    for n in 0..count {
        let name = format!("save-{n:03}");
        assert_eq!(world.stored_bytes(&name), format!("content {n}").as_bytes());
    }
    assert_eq!(answered(world, LoggedCall::Upload, 200), count);
}

fn requests(mount: &Mount) -> Value {
    let text = fs::read(mount.at(".afs/status.json")).expect("readable");
    let status: Value = serde_json::from_slice(&text).expect("JSON");
    status["requests"].clone()
}

/// More saves than `--timeout` has time for: while others get through, a wait is no failure.
#[test]
fn saves_beyond_the_limit_wait_for_their_turn_and_all_succeed() {
    let world = ten_a_second(10, false);
    let mount = world.mount_with(&["--refresh", "1h", "--timeout", "3s"]);
    world.forget_calls();
    let begun = Instant::now();
    let saves = save_many(&mount, 80);
    eventually("the status says so", || {
        let said = requests(&mount);
        said["limited_by"] == "service" && said["waiting"].as_u64() > Some(10)
    });
    all_are_saved(&world, saves);
    assert!(begun.elapsed() > Duration::from_secs(6), "no limit was met");
    // Those that were on their way when the limit showed itself, and one now and then that looks whether it is still there.
    let refused = answered(&world, LoggedCall::Upload, 429);
    assert!(
        refused <= 32 + 10,
        "{refused} of {} were refused",
        80 + refused
    );
    assert_eq!(requests(&mount)["waiting"], 0);
    mount.unmount();
}

/// Where the service says what is left, not one request too many is sent.
#[test]
fn a_limit_that_is_said_is_not_overstepped_by_more_than_one() {
    let world = ten_a_second(600, true);
    let mount = world.mount_with(&["--refresh", "1h"]);
    // Another client uses it up but for a few.
    let key = ApiKey::new(KEY).unwrap();
    let other = HttpClient::new(&HttpConfig::new(world.emulator.base_url(), key)).unwrap();
    let query = ListQuery {
        limit: 1,
        ..ListQuery::page(Cursor::Newest)
    };
    while other.list(&query).is_ok() {}
    mount.sh("echo first > first");
    world.forget_calls();
    let saves = save_many(&mount, 40);
    all_are_saved(&world, saves);
    let refused = answered(&world, LoggedCall::Upload, 429);
    assert!(refused <= 1, "{refused} were refused");
    assert!(requests(&mount)["left"].is_u64());
}

#[test]
fn a_read_overtakes_the_saves_that_wait() {
    let world = ten_a_second(10, false);
    world.output("chart", b"a picture");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let saves = save_many(&mount, 80);
    eventually("many saves wait", || {
        requests(&mount)["waiting"].as_u64() > Some(25)
    });
    let before = answered(&world, LoggedCall::Upload, 200);
    assert_eq!(fs::read(mount.at("chart")).unwrap(), b"a picture");
    let meanwhile = answered(&world, LoggedCall::Upload, 200) - before;
    // It waits out a pause at most, and saves wait with it; those that had their turn already end.
    assert!(meanwhile < 25, "{meanwhile} saves went before it");
    all_are_saved(&world, saves);
}

#[test]
fn a_rate_of_our_own_is_kept_and_said() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h", "--rate", "120"]);
    // A tenth of a minute's requests at once, the mount's own listing among them; the rest one every half second.
    let begun = Instant::now();
    let saves = save_many(&mount, 16);
    eventually("the status says so", || {
        let said = requests(&mount);
        said["limited_by"] == "rate" && said["waiting"].as_u64() > Some(0)
    });
    let mut status = world.afs();
    let said = status.arg("status").arg(mount.path()).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("in the last minute"), "{said}");
    all_are_saved(&world, saves);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(2), "{took:?}");
    let log = world.emulator.requests();
    let times: Vec<_> = log.iter().map(|request| request.started).collect();
    // 17 requests, 12 of them at once: no second half has more than a few.
    let first = times[0].as_microsecond();
    let early = times
        .iter()
        .filter(|time| time.as_microsecond() - first < 1_000_000);
    assert!(early.count() <= 15);
    assert_eq!(answered(&world, LoggedCall::Upload, 429), 0);
}

#[test]
fn a_limit_is_neither_an_absent_file_nor_an_empty_directory() {
    let world = World::new();
    world.output("known", b"1");
    let mount = world.mount_with(&["--refresh", "0s", "--timeout", "1s"]);
    assert_eq!(mount.names(), ["known"]);
    let unknown = world.output("unknown", b"2");
    let calls = [LoggedCall::List, LoggedCall::Metadata, LoggedCall::Content];
    world
        .emulator
        .set_faults(calls.map(|call| limited(call, "30")).to_vec());
    assert_eq!(mount.names(), ["known"]);
    let by_id = mount.at(format!(".afs/by-id/{}", unknown.id));
    let asked = within(PATIENCE, "a lookup", move || fs::metadata(by_id));
    assert_eq!(errno(asked), libc::EAGAIN);
    let known = mount.at("known");
    let read = within(PATIENCE, "a read", move || fs::read(known));
    assert_eq!(errno(read), libc::EAGAIN);
    assert_eq!(mount.names(), ["known"]);
}

#[test]
fn who_waits_for_a_turn_ends_when_it_is_interrupted() {
    let world = World::new();
    world.output("f", b"text");
    let mount = world.mount_with(&["--refresh", "1h"]);
    world
        .emulator
        .set_faults(vec![limited(LoggedCall::Content, "40")]);
    let cat = Command::new("cat")
        .arg(mount.at("f"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it is refused for the rate, and waits", || {
        requests(&mount)["waiting"] == 1
    });
    let copy = start(
        Command::new("cp")
            .arg("/etc/passwd")
            .arg(mount.at("copied"))
            .stderr(Stdio::null()),
    );
    eventually("the copy waits as well", || {
        requests(&mount)["waiting"] == 2
    });
    for mut child in [cat, copy] {
        let begun = Instant::now();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        within(PATIENCE, "its end", move || child.wait()).unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    // What was to be saved waits on, and is readable meanwhile.
    let passwd = fs::read("/etc/passwd").unwrap();
    assert_eq!(fs::read(mount.at("copied")).unwrap(), passwd);
    assert!(world.all_stored("copied").is_empty());
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    world.emulator.clear_faults();
    let mount = world.mount();
    eventually("it arrives", || mount_has_confirmed(&mount, "copied"));
    assert_eq!(world.stored_bytes("copied"), passwd);
}

#[test]
fn a_mount_ends_in_seconds_while_requests_wait_for_their_turn() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    world
        .emulator
        .set_faults(vec![limited(LoggedCall::Upload, "45")]);
    let saves = save_many(&mount, 3);
    eventually("they were refused for the rate", || {
        answered(&world, LoggedCall::Upload, 429) > 0
    });
    let begun = Instant::now();
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    for save in saves {
        let closed = within(PATIENCE, "a close", move || save.join());
        closed.unwrap().unwrap_err();
    }
    world.emulator.clear_faults();
    let mount = world.mount();
    for n in 0..3 {
        let name = format!("save-{n:03}");
        eventually("it arrives", || mount_has_confirmed(&mount, &name));
        assert_eq!(world.stored_bytes(&name), format!("content {n}").as_bytes());
    }
}
