//! Work for the service on files whose names it has in another spelling: it is found by the one, and done under the other.

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::{encode, stored};
use crate::harness::{Calls, World, eventually};
use crate::surface::{NEW, On, calls_by_the_end, on_both};

on_both! {
    a_backup_of_such_a_file_costs_one_upload_and_one_deletion
    a_file_that_was_replaced_before_it_became_a_backup_is_deleted_then
    a_version_that_arrived_late_is_deleted_with_the_next_of_its_name
    the_older_of_two_generations_comes_back_under_its_name
    what_is_pending_goes_by_the_name_that_was_typed
}

const REPLACED: Calls = Calls {
    upload: 1,
    delete: 1,
    ..Calls::NONE
};

fn a_backup_of_such_a_file_costs_one_upload_and_one_deletion(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("a:b", b"old").unwrap();
    world.forget_calls();
    fs.rename("a:b", "a:b~", 0).unwrap();
    fs.put("a:b", b"new").unwrap();
    assert_eq!(fs.names(), ["a:b", "a:b~"]);
    assert_eq!(fs.get("a:b~").unwrap(), b"old");
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("a：b"), b"new");
}

fn a_file_that_was_replaced_before_it_became_a_backup_is_deleted_then(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("a:b", b"old").unwrap();
    world.forget_calls();
    fs.rename("a:b", "a:b.tmp", 0).unwrap();
    fs.put("a:b", b"new").unwrap();
    fs.rename("a:b.tmp", "a:b~", 0).unwrap();
    assert_eq!(fs.get("a:b~").unwrap(), b"old");
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(stored(&world), ["a：b"]);
    assert_eq!(world.stored_bytes("a：b"), b"new");
}

/// As the same of other names in `scratch`.
fn a_version_that_arrived_late_is_deleted_with_the_next_of_its_name(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    world.hang(&[LoggedCall::Upload]);
    fs.put("a:b~", b"one").unwrap();
    fs.rename("a:b~", "a:b", 0).unwrap();
    eventually("it is on its way", || world.calls().upload == 1);
    let fd = fs.open("a:b", libc::O_RDWR).unwrap();
    fs.pwrite(fd, 0, b"two").unwrap();
    fs.rename("a:b", "c.txt", 0).unwrap();
    // The version that was on its way arrives; the later one waits for its writer.
    world.emulator.clear_faults();
    fs.put("a:b", b"new").unwrap();
    fs.rename("c.txt", "a:b~", 0).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.get("a:b~").unwrap(), b"two");
    assert_eq!(calls_by_the_end(&world, fs).delete, 1);
    assert_eq!(stored(&world), ["a：b"]);
    assert_eq!(world.stored_bytes("a：b"), b"new");
}

/// The first arrives, the second is refused and given up. What the service has then is the first.
fn the_older_of_two_generations_comes_back_under_its_name(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("f", b"zero").unwrap();
    // A rename goes out by itself, so that nobody has to wait for the first generation.
    world.hang(&[LoggedCall::Upload]);
    world.forget_calls();
    fs.rename("f", "a:b", 0).unwrap();
    eventually("the first is on its way", || world.calls().upload == 1);
    let fd = fs.open("a:b", NEW).unwrap();
    fs.pwrite(fd, 0, b"the second generation").unwrap();
    fs.fsync(fd).unwrap();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    eventually("the first arrives", || world.all_stored("a：b").len() == 1);
    assert_eq!(fs.close(fd), Err(libc::EACCES));
    eventually("the second can be dropped", || {
        fs.drop_pending("a:b").is_ok()
    });
    assert_eq!(fs.names(), ["a:b"]);
    assert_eq!(fs.get("a:b").unwrap(), b"zero");
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(stored(&world), ["a：b"]);
}

fn what_is_pending_goes_by_the_name_that_was_typed(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, encode());
    fs.put("d:1", b"precious").unwrap();
    let id = world.stored("d：1").id;
    let later = FaultAnswer {
        headers: [("retry-after".to_owned(), "3000".to_owned())].into(),
        ..FaultAnswer::status(503)
    };
    let refused = |call, answer| FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(answer))
    };
    world.emulator.set_faults(vec![
        refused(LoggedCall::Upload, FaultAnswer::status(403)),
        refused(LoggedCall::Delete, later),
    ]);
    assert_eq!(fs.put("p:1", b"text"), Err(libc::EACCES));
    assert_eq!(fs.retry(Some("p：1")), Ok(0));
    eventually("it is tried again", || fs.retry(Some("p:1")) == Ok(1));
    fs.unlink("d:1").unwrap();
    fs.drop_pending("d：1").unwrap_err();
    eventually("the deletion is taken back", || {
        fs.drop_pending("d:1").is_ok()
    });
    assert_eq!(fs.get("d:1").unwrap(), b"precious");
    eventually("the save is given up", || fs.drop_pending("p:1").is_ok());
    assert_eq!(fs.names(), ["d:1"]);
    assert_eq!(world.stored("d：1").id, id);
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(stored(&world), ["d：1"]);
}
