//! Saving while the service is away. The first save is tried for as long as its patience lasts; until one is confirmed
//! again the later ones are told within seconds, stay here and are sent all the same.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{World, eventually};
use super::surface::{On, Surface, on_both};

on_both! {
    after_a_reported_failure_a_close_is_told_within_seconds
    a_save_that_is_confirmed_restores_patience
    what_is_saved_again_and_again_meanwhile_is_sent_once
}

/// Far below the minute that a save is tried for, far above the two seconds that a close waits then.
const SOON: Duration = Duration::from_secs(15);

/// Has the save of a file fail at once: nobody sits through a pause that outlasts their patience.
fn a_save_fails(world: &World, fs: &dyn Surface) {
    let answer = FaultAnswer {
        headers: BTreeMap::from([("retry-after".to_owned(), "100".to_owned())]),
        ..FaultAnswer::status(503)
    };
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        times: Some(1),
        ..FaultRule::new(FaultAction::Status(answer))
    }]);
    assert_eq!(fs.put("first", b"1"), Err(libc::EIO));
}

fn after_a_reported_failure_a_close_is_told_within_seconds(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    a_save_fails(&world, &*fs);
    world.hang(&[LoggedCall::Upload]);
    let begun = Instant::now();
    assert_eq!(fs.put("second", b"2"), Err(libc::EIO));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(fs.get("second").unwrap(), b"2");
    // It was sent at once all the same: it is how the service's return is noticed.
    world.emulator.clear_faults();
    eventually("it arrives", || !world.all_stored("second").is_empty());
    fs.end();
    assert_eq!(world.stored_bytes("first"), b"1");
    assert_eq!(world.stored_bytes("second"), b"2");
}

fn a_save_that_is_confirmed_restores_patience(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    a_save_fails(&world, &*fs);
    fs.put("second", b"2").unwrap();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::DelayMs(3_500))
    }]);
    fs.put("slow", b"3").unwrap();
    assert_eq!(world.stored_bytes("slow"), b"3");
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("first"), b"1");
}

fn what_is_saved_again_and_again_meanwhile_is_sent_once(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    a_save_fails(&world, &*fs);
    world.hang(&[LoggedCall::Upload]);
    world.forget_calls();
    for content in ["a", "ab", "abc"] {
        let begun = Instant::now();
        assert_eq!(fs.put("notes", content.as_bytes()), Err(libc::EIO));
        assert!(begun.elapsed() < SOON, "{content}: {:?}", begun.elapsed());
    }
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("notes"), b"abc");
    let sent = world.emulator.requests();
    let sent = sent
        .iter()
        .filter(|request| request.filename.as_deref() == Some("notes"));
    let uploads = sent.filter(|request| request.call == LoggedCall::Upload);
    assert_eq!(uploads.count(), 2, "the first and the newest");
}
