//! `afs prune`: what is old goes, and nothing else.

use afs::emulator::PlantedFile;
use jiff::{Timestamp, ToSpan};

use super::{Ran, ran};
use crate::harness::{Calls, World, eventually};

fn prune(world: &World, words: &[&str]) -> Ran {
    let mut afs = world.afs();
    afs.arg("prune")
        .arg(world.dir.path().join("mnt"))
        .args(words);
    ran(&mut afs)
}

/// Plants a file that the service has had for so many hours.
fn plant(world: &World, name: &str, hours: i64, downloadable: bool) {
    let file = PlantedFile {
        downloadable,
        created_at: Some(Timestamp::now() - hours.hours()),
        ..PlantedFile::output(name, "0123456789")
    };
    world.emulator.plant(file).unwrap();
    world.removes(name);
}

fn names(world: &World) -> Vec<String> {
    let files = world.emulator.files().unwrap();
    let mut names: Vec<String> = files.into_iter().map(|file| file.filename).collect();
    names.sort();
    names
}

fn some_files(world: &World) {
    plant(world, "old output.png", 50, true);
    plant(world, "old upload.pdf", 49, false);
    plant(world, "new output.png", 2, true);
    plant(world, "new upload.pdf", 1, false);
}

#[test]
fn what_is_older_is_shown_and_goes_when_somebody_says_so() {
    let world = World::new();
    some_files(&world);
    // More than the guard lets through: who said yes means it.
    let _mount = world.mount_with(&["--delete-guard", "1"]);
    let dry = prune(&world, &["--older-than", "2d", "--dry-run"]);
    assert_eq!(dry.code, Some(0), "{}", dry.err);
    let lines: Vec<&str> = dry.out.lines().collect();
    assert!(lines[0].ends_with("old output.png") && lines[1].ends_with("old upload.pdf"));
    assert_eq!(lines[2..], ["2 files (20 B) would be deleted"]);
    let unasked = prune(&world, &["--older-than", "2d"]);
    assert_eq!(unasked.code, Some(4), "{}", unasked.err);
    assert!(unasked.err.contains("say --yes"), "{}", unasked.err);
    assert_eq!(names(&world).len(), 4);

    let calls = world.calls_of(|| {
        let done = prune(&world, &["--older-than", "2d", "--yes"]);
        assert!(
            done.out.ends_with("2 files (20 B) deleted\n"),
            "{}{}",
            done.out,
            done.err
        );
        eventually("both are deleted", || {
            names(&world) == ["new output.png", "new upload.pdf"]
        });
    });
    let two_deletions = Calls {
        delete: 2,
        ..Calls::NONE
    };
    assert_eq!(calls, two_deletions);
    prune(&world, &["--older-than", "2d", "--yes"]).complains(3, "nothing to delete");
}

#[test]
fn only_what_is_asked_for_goes() {
    for (words, left) in [
        (
            &["--older-than", "1h", "--outputs"][..],
            &["new upload.pdf", "old upload.pdf"][..],
        ),
        (
            &["--older-than", "1d", "--uploads"],
            &["new output.png", "new upload.pdf", "old output.png"],
        ),
        (
            &["--older-than", "1m", "--glob", "old*"],
            &["new output.png", "new upload.pdf"],
        ),
    ] {
        let world = World::new();
        some_files(&world);
        let _mount = world.mount();
        let done = prune(&world, &[words, &["--yes"]].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        eventually("they are deleted", || names(&world) == left);
    }
}

#[test]
fn older_copies_of_a_name_go_and_the_newest_stays() {
    let world = World::new();
    for hours in [30, 20, 10] {
        plant(&world, "chart.png", hours, true);
    }
    plant(&world, "other.png", 40, true);
    let mount = world.mount();
    assert_eq!(mount.names().len(), 4);
    let done = prune(&world, &["--copies", "--yes"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    eventually("they are deleted", || {
        names(&world) == ["chart.png", "other.png"]
    });
    assert_eq!(mount.names(), ["chart.png", "other.png"]);
    let newest = world.stored("chart.png");
    assert!(newest.created_at > Timestamp::now() - 11.hours());
}

#[test]
fn how_old_has_to_be_said_and_a_mount_has_to_be_there() {
    let world = World::new();
    world.removes("a");
    assert_eq!(prune(&world, &["--yes"]).code, Some(2));
    prune(&world, &["--older-than", "1d", "--yes"]).complains(3, "mount");
    let mount = world.mount();
    mount.sh("echo text > a");
    mount.unmount();
    prune(&world, &["--older-than", "1ms", "--yes"]).complains(3, "mount");
    assert_eq!(names(&world), ["a"]);
}

#[test]
fn without_a_mount_the_key_is_enough() {
    let world = World::new();
    plant(&world, "old.png", 48, true);
    plant(&world, "new.png", 1, true);
    let mut afs = world.afs();
    afs.args(["prune", "--older-than", "1d", "--yes", "--base-url"])
        .arg(world.emulator.base_url())
        .arg("--state-dir")
        .arg(world.state_root());
    let done = ran(&mut afs);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.out.ends_with("1 file (10 B) deleted\n"),
        "{}",
        done.out
    );
    assert_eq!(names(&world), ["new.png"]);
}
