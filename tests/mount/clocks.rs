//! A service whose clock is an hour off, either way: in its `date` and in the times of what is uploaded meanwhile. Nothing
//! is asked more often for it, nothing is missed, and nothing is stored twice.

use std::time::{Duration, Instant};

use afs::api::{ApiKey, FilesApi, HttpClient, HttpConfig, Upload};
use afs::emulator::{FaultAction, FaultMoment, FaultRule, LoggedCall};
use jiff::Timestamp;

use super::harness::{Calls, KEY, World, eventually};
use super::hung::close_of;

const HOUR_S: i64 = 3600;

/// Behind, and ahead.
const SKEWS: [i64; 2] = [-HOUR_S, HOUR_S];

fn skewed(skew: i64) -> FaultRule {
    FaultRule::new(FaultAction::SkewedClock(skew))
}

/// A world whose service had a file before its clock went wrong.
fn world(skew: i64) -> World {
    let world = World::new();
    world.output("before", b"of the true time");
    world.emulator.set_faults(vec![skewed(skew)]);
    world
}

/// Another client, which uploads under the same clock.
fn upload_of_another(world: &World, name: &str) {
    let key = ApiKey::new(KEY).unwrap();
    let other = HttpClient::new(&HttpConfig::new(world.emulator.base_url(), key)).unwrap();
    let stored = other.upload(Upload {
        filename: name.to_owned(),
        mime_type: "text/plain".to_owned(),
        size: 6,
        expires_in_seconds: None,
        body: Box::new(&b"theirs"[..]),
    });
    is_of_the_wrong_time(world, stored.unwrap().created_at);
}

fn is_of_the_wrong_time(world: &World, created_at: Timestamp) {
    let distance = created_at.duration_since(world.stored("before").created_at);
    assert!(distance.abs().as_secs() > HOUR_S / 2, "{distance}");
}

#[test]
fn new_files_of_others_are_found_and_every_file_has_its_place() {
    for skew in SKEWS {
        let world = world(skew);
        let mount = world.mount_with(&["--refresh", "100ms"]);
        assert_eq!(mount.names(), ["before"]);
        for (n, name) in ["first", "second"].into_iter().enumerate() {
            upload_of_another(&world, name);
            eventually("it is found", || mount.names().len() == n + 2);
        }
        mount.sh("echo mine > mine; rm before");
        eventually("the removal arrives", || {
            world.all_stored("before").is_empty()
        });
        let found = world.calls().list;
        eventually("it is listed again", || {
            assert_eq!(mount.names(), ["first", "mine", "second"]);
            world.calls().list > found + 1
        });
        assert_eq!(mount.sh("cat mine"), "mine\n");
        // The clock goes right again, which is a jump as well.
        world.emulator.clear_faults();
        world.output("third", b"theirs");
        eventually("it is found", || mount.names().len() == 4);
        mount.sh("echo again > mine; cat mine");
        mount.unmount();
        assert_eq!(world.stored_bytes("mine"), b"again\n");
        let foreign = ["first", "second", "third"];
        assert!(foreign.iter().all(|name| world.all_stored(name).len() == 1));
    }
}

#[test]
fn no_more_is_asked_than_of_a_clock_that_goes_right() {
    /// How old a listing may get, and for how long people look.
    const INTERVAL: Duration = Duration::from_millis(500);
    const LOOKING: Duration = Duration::from_secs(3);
    for skew in SKEWS {
        let world = world(skew);
        let mount = world.mount_with(&["--refresh", "500ms"]);
        upload_of_another(&world, "theirs");
        mount.sh("cat before; echo mine > mine");
        eventually("theirs is found", || mount.names().len() == 3);
        world.forget_calls();
        let begun = Instant::now();
        let mut looks = 0;
        while begun.elapsed() < LOOKING {
            mount.sh("ls -l; cat before mine; stat missing 2>&1 | head -1");
            looks += 1;
        }
        let calls = world.calls();
        let due = begun.elapsed().as_millis() / INTERVAL.as_millis();
        println!(
            "{skew} s: {looks} looks in {:?}: {calls:?}",
            begun.elapsed()
        );
        assert!(looks > 1);
        assert_eq!(calls.but_lists(), Calls::NONE);
        // One under way at the beginning, one at the end.
        assert!(calls.list as u128 <= due + 2, "{calls:?}, {due} due");
        assert!(calls.list > 0);
    }
}

#[test]
fn a_save_whose_answer_was_lost_is_found_again_and_not_doubled() {
    for skew in SKEWS {
        let world = world(skew);
        let mount = world.mount_with(&["--refresh", "1h"]);
        let lost = FaultAction::All(vec![
            FaultAction::DropAnswer,
            FaultAction::SkewedClock(skew),
        ]);
        world.emulator.set_faults(vec![
            FaultRule {
                call: Some(LoggedCall::Upload),
                times: Some(1),
                when: FaultMoment::AfterEffect,
                ..FaultRule::new(lost)
            },
            skewed(skew),
        ]);
        world.forget_calls();
        assert_eq!(close_of(mount.at("g"), b"answer"), Ok(()));
        assert_eq!(mount.sh("cat g"), "answer");
        let calls = world.calls();
        assert_eq!(calls.upload, 1, "{calls:?}");
        assert!((1..=3).contains(&calls.list), "{calls:?}");
        is_of_the_wrong_time(&world, world.stored("g").created_at);
        mount.unmount();
        assert_eq!(world.stored_bytes("g"), b"answer");
        assert_eq!(world.calls().delete, 0);
    }
}
