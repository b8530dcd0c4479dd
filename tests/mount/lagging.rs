//! Listings that lag behind what the service has, as those of a replica do: what happened here stays as it is, and what
//! others did shows when the listing has caught up.

use std::fs;

use afs::emulator::{Config, FaultAction, FaultRule, LoggedCall};
use tempfile::TempDir;

use super::harness::{World, eventually};
use super::surface::{On, Setup, Surface, on_both};

on_both! {
    what_is_done_here_stays_so_while_listings_are_stale
    what_is_done_here_stays_so_while_every_other_listing_is_stale
    what_another_client_deleted_stays_until_the_listing_has_caught_up
}

/// Longer than a test takes.
const AN_HOUR: f64 = 3600.0;

/// A service that had these files from its start, and whose listings are as stale as can be.
fn lagging(every: Option<u64>) -> (TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["changed", "doomed", "old"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let world = World::with(Config {
        import: Some(folder.path().to_owned()),
        ..Config::default()
    });
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::List),
        every,
        ..FaultRule::new(FaultAction::StaleListing(AN_HOUR))
    }]);
    (folder, world)
}

fn lists(world: &World) -> usize {
    world.calls().list
}

/// Looks until the service was asked so often.
fn look(world: &World, fs: &dyn Surface, times: usize, mut check: impl FnMut(Vec<String>)) {
    world.forget_calls();
    eventually("it is listed", || {
        check(fs.names());
        lists(world) >= times
    });
}

/// Saves a file, replaces one and removes one.
fn act(world: &World, fs: &dyn Surface) {
    assert_eq!(fs.names(), ["changed", "doomed", "old"]);
    fs.put("mine", b"saved here").unwrap();
    fs.put("changed", b"changed here").unwrap();
    fs.unlink("doomed").unwrap();
    eventually("the service has it all", || {
        world.all_stored("doomed").is_empty() && world.all_stored("changed").len() == 1
    });
}

fn check(fs: &dyn Surface) {
    assert_eq!(fs.get("mine").unwrap(), b"saved here");
    assert_eq!(fs.get("changed").unwrap(), b"changed here");
    assert_eq!(fs.get("old").unwrap(), b"old");
    assert_eq!(fs.stat("doomed"), Err(libc::ENOENT));
}

fn what_is_done_here_stays_so_while_listings_are_stale(on: On) {
    let (_folder, world) = lagging(None);
    let fs = on.start_with(&world, Setup::refreshing());
    act(&world, &*fs);
    world.output("theirs", b"of another client");
    look(&world, &*fs, 5, |names| {
        assert_eq!(names, ["changed", "mine", "old"]);
        check(&*fs);
    });
    world.emulator.clear_faults();
    eventually("the listing has caught up", || {
        fs.names() == ["changed", "mine", "old", "theirs"]
    });
    check(&*fs);
    assert_eq!(fs.get("theirs").unwrap(), b"of another client");
    fs.end();
}

/// Two servers behind one address, of which one lags: what one listing has shown as done is not done in the next.
fn what_is_done_here_stays_so_while_every_other_listing_is_stale(on: On) {
    let (_folder, world) = lagging(Some(2));
    let fs = on.start_with(&world, Setup::refreshing());
    act(&world, &*fs);
    look(&world, &*fs, 10, |names| {
        assert_eq!(names, ["changed", "mine", "old"]);
        check(&*fs);
    });
    fs.end();
}

/// It is shown for as long as it is listed; who reads it is told that it has gone.
fn what_another_client_deleted_stays_until_the_listing_has_caught_up(on: On) {
    let (_folder, world) = lagging(None);
    let fs = on.start_with(&world, Setup::refreshing());
    let doomed = world.stored("doomed");
    assert!(world.emulator.delete(&doomed.id).unwrap());
    look(&world, &*fs, 3, |names| {
        assert_eq!(names, ["changed", "doomed", "old"]);
    });
    let errno = fs.get("doomed").unwrap_err();
    assert!([libc::ESTALE, libc::ENOENT].contains(&errno), "{errno}");
    world.emulator.clear_faults();
    eventually("the listing has caught up", || {
        fs.names() == ["changed", "old"]
    });
    fs.end();
}
