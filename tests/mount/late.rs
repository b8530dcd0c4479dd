//! Saves whose files are renamed or replaced while nobody knows yet whether the service has them. Each of these was found by
//! random operations (`model`).

use std::collections::BTreeMap;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};

use super::dropping::trashed;
use super::harness::{World, eventually};
use super::surface::{Direct, NEW, On, Setup, Surface, on_both};

on_both! {
    newer_content_of_a_save_that_failed_goes_along_when_its_file_is_renamed
}

/// Refuses to do `call`, and says not to come back soon: nobody sits through a pause that outlasts their patience.
fn fails(call: LoggedCall) -> FaultRule {
    let answer = FaultAnswer {
        headers: BTreeMap::from([("retry-after".to_owned(), "100".to_owned())]),
        ..FaultAnswer::status(503)
    };
    FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(answer))
    }
}

/// A rename waited behind the failed save, the content that came after it was noted as begun, and then another rename moved
/// the older of the two only: the newest stayed at the service under a name that the directory did not show.
fn newer_content_of_a_save_that_failed_goes_along_when_its_file_is_renamed(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.emulator.set_faults(vec![fails(LoggedCall::Upload)]);
    assert_eq!(fs.put("a", b"older"), Err(libc::EIO));
    // Provisional: it is not noted as begun.
    fs.rename("a", "a.tmp", 0).unwrap();
    fs.rename("a.tmp", "b", 0).unwrap();
    assert_eq!(fs.append("b", b", newer"), Err(libc::EIO));
    fs.kill();
    let fs = on.start(&world);
    fs.rename("b", "c.txt", 0).unwrap();
    world.emulator.clear_faults();
    eventually("it arrives", || {
        fs.retry(None).unwrap();
        !world.all_stored("c.txt").is_empty()
    });
    fs.end();
    assert_eq!(world.stored_bytes("c.txt"), b"older, newer");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

/// A file whose upload is found to have arrived after another one took its place.
fn found_after_it_was_replaced(world: &World) -> Direct {
    let fs = Direct::start(world, &Setup::default());
    let surface: &dyn Surface = &fs;
    let lost = FaultRule {
        call: Some(LoggedCall::Upload),
        when: FaultMoment::AfterEffect,
        ..FaultRule::new(FaultAction::DropAnswer)
    };
    let faults = vec![lost, fails(LoggedCall::List)];
    world.emulator.set_faults(faults);
    assert_eq!(surface.put("f", b"acknowledged"), Err(libc::EIO));
    assert_eq!(world.all_stored("f").len(), 1);
    fs
}

/// It was shown again with nothing that could be read.
#[test]
fn what_arrived_and_was_replaced_is_readable_when_it_is_shown_again() {
    let world = World::new();
    let direct = found_after_it_was_replaced(&world);
    let fs: &dyn Surface = &direct;
    let fd = fs.open("new", NEW).unwrap();
    fs.close_dup(fd).unwrap();
    fs.rename("new", "f", 0).unwrap();
    world.emulator.clear_faults();
    eventually("it is found", || {
        direct.state().retry(None);
        direct.state().pending().len() == 1
    });
    let chunk = vec![7; 1 << 17];
    for n in 0..20 {
        fs.pwrite(fd, n << 17, &chunk).unwrap();
    }
    Box::new(direct).kill();
    let fs = On::Direct.start(&world);
    assert_eq!(fs.unfinished(), [("f".to_owned(), 20 << 17)]);
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(fs.get("f").unwrap(), b"acknowledged");
    fs.end();
    assert_eq!(world.calls().delete, 0);
}

/// There was no copy for the trash.
#[test]
fn what_arrived_and_was_removed_is_in_the_trash() {
    let world = World::new();
    let direct = found_after_it_was_replaced(&world);
    let fs: &dyn Surface = &direct;
    fs.unlink("f").unwrap();
    world.emulator.clear_faults();
    eventually("it is found and deleted", || {
        direct.state().retry(None);
        direct.state().pending().is_empty()
    });
    Box::new(direct).end();
    assert!(world.emulator.files().unwrap().is_empty());
    assert_eq!(
        trashed(&world),
        [("f".to_owned(), b"acknowledged".to_vec())]
    );
}
