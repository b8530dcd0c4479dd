//! Passing trouble: what may be asked for again is, and the answer is right; what lasts ends at `--timeout` with its
//! errno and a line in the log.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, PATIENCE, World, errno, eventually, within};

const QUIET: &[&str] = &["--refresh", "1h"];

/// Trouble that passes.
fn passing() -> Vec<FaultAction> {
    let limited = FaultAnswer {
        headers: BTreeMap::from([("retry-after-ms".to_owned(), "50".to_owned())]),
        ..FaultAnswer::status(429)
    };
    let mut passing: Vec<_> = [408, 409, 500, 503, 529]
        .map(|status| FaultAction::Status(FaultAnswer::status(status)))
        .to_vec();
    passing.push(FaultAction::Status(limited));
    passing.push(FaultAction::DropAnswer);
    passing.push(FaultAction::ResetAnswer);
    passing
}

/// Two such troubles with `call`, one after the other.
fn twice(call: LoggedCall, action: &FaultAction) -> Vec<FaultRule> {
    vec![FaultRule {
        call: Some(call),
        times: Some(2),
        ..FaultRule::new(action.clone())
    }]
}

#[test]
fn a_download_that_fails_at_first_is_asked_for_again() {
    for action in passing() {
        let world = World::new();
        world.output("f", b"whole");
        let mount = world.mount_with(QUIET);
        world
            .emulator
            .set_faults(twice(LoggedCall::Content, &action));
        let path = mount.at("f");
        let calls = world.calls_of(|| {
            let read = within(PATIENCE, "a read", move || fs::read(path));
            assert_eq!(read.unwrap(), b"whole", "{action:?}");
        });
        let expected = Calls {
            content: 3,
            ..Calls::NONE
        };
        assert_eq!(calls, expected, "{action:?}");
    }
}

#[test]
fn a_listing_that_fails_at_first_is_asked_for_again() {
    for action in passing() {
        let world = World::new();
        world.output("f", b"1");
        world.emulator.set_faults(twice(LoggedCall::List, &action));
        let mut names = Vec::new();
        let calls = world.calls_of(|| names = world.mount_with(QUIET).names());
        assert_eq!(names, ["f"], "{action:?}");
        // The mount's own, and those that failed; the `ls` is within the interval.
        let expected = Calls {
            list: 3,
            ..Calls::NONE
        };
        assert_eq!(calls, expected, "{action:?}");
    }
}

#[test]
fn a_question_for_an_id_that_fails_at_first_is_asked_again() {
    for action in passing() {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        let file = world.output("new", b"12345");
        world
            .emulator
            .set_faults(twice(LoggedCall::Metadata, &action));
        let path = mount.at(format!(".afs/by-id/{}", file.id));
        let calls = world.calls_of(|| {
            let found = within(PATIENCE, "a lookup", move || fs::read_link(path));
            assert_eq!(found.unwrap().to_str(), Some("../../new"), "{action:?}");
        });
        let expected = Calls {
            metadata: 3,
            ..Calls::NONE
        };
        assert_eq!(calls.but_lists(), expected, "{action:?}");
    }
}

#[test]
fn a_deletion_that_fails_at_first_is_sent_again() {
    for action in passing() {
        let world = World::new();
        world.output("f", b"1");
        let mount = world.mount_with(QUIET);
        world
            .emulator
            .set_faults(twice(LoggedCall::Delete, &action));
        world.forget_calls();
        mount.sh("rm f");
        eventually("it is deleted there", || world.all_stored("f").is_empty());
        eventually("that is known here", || mount.log().contains("is deleted"));
        let expected = Calls {
            delete: 3,
            ..Calls::NONE
        };
        assert_eq!(world.calls().but_lists(), expected, "{action:?}");
    }
}

/// The service knows better than its status does.
#[test]
fn what_the_service_says_of_trying_again_goes_before_its_status() {
    let world = World::new();
    world.output("f", b"whole");
    let mount = world.mount_with(QUIET);
    let said = |status, should_retry: &str| {
        FaultAction::Status(FaultAnswer {
            headers: BTreeMap::from([("x-should-retry".to_owned(), should_retry.to_owned())]),
            ..FaultAnswer::status(status)
        })
    };
    let mut always = twice(LoggedCall::Content, &said(503, "false"));
    always[0].times = None;
    world.emulator.set_faults(always);
    world.forget_calls();
    assert_eq!(errno(fs::read(mount.at("f"))), libc::EIO);
    // The kernel asks once more for what it had asked for ahead.
    assert_eq!(world.calls().content, 2);
    world
        .emulator
        .set_faults(twice(LoggedCall::Content, &said(403, "true")));
    world.forget_calls();
    assert_eq!(fs::read(mount.at("f")).unwrap(), b"whole");
    assert_eq!(world.calls().content, 3);
}

#[test]
fn trouble_that_lasts_ends_at_the_deadline_with_a_line_that_names_the_request() {
    let world = World::new();
    for name in ["a", "b"] {
        world.output(name, b"text");
    }
    let mount = world.mount_with(&["--refresh", "1h", "--timeout", "3s"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Content),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    }]);
    world.forget_calls();
    let path = mount.at("a");
    let begun = Instant::now();
    let read = within(PATIENCE, "a read", move || fs::read(path));
    assert_eq!(errno(read), libc::EIO);
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(world.calls().content > 2, "it was tried again");
    let log = mount.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("could not be read"))
        .collect();
    // The kernel asks once more for what it had asked for ahead.
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("503") && lines[0].contains("request req_"),
        "{log}"
    );
    world.emulator.clear_faults();
    assert_eq!(fs::read(mount.at("b")).unwrap(), b"text");
}
