//! Files that are to be uploaded: nobody is asked, and nothing is waited for.

use std::fs;
use std::path::PathBuf;

use super::Found;
use crate::harness::{Calls, Mount, World, pattern};

#[test]
fn files_are_judged_without_asking_anybody() {
    let world = World::new();
    let desk = world.dir.path().join("desk");
    fs::create_dir_all(desk.join("sub")).unwrap();
    for name in ["report.pdf", "empty", "a:b", ".f.swp", "x.tmp", "Thumbs.db"] {
        fs::write(desk.join(name), if name == "empty" { "" } else { "text" }).unwrap();
    }
    fs::File::create(desk.join("big"))
        .unwrap()
        .set_len(500 * 1024 * 1024 + 1)
        .unwrap();
    let judged = |names: &[&str]| {
        // With no key, and no home directory.
        let mut afs = world.afs();
        afs.current_dir(&desk)
            .env_remove("HOME")
            .env_remove("ANTHROPIC_API_KEY");
        Found::by(&world, afs.arg("doctor").args(names))
    };
    for (name, level, says, remedy) in [
        ("report.pdf", "ok", "report.pdf: 4 B to send", ""),
        ("empty", "ok", "it is empty", ""),
        (
            "a:b",
            "fail",
            "no names with : in them; afs mount --names encode",
            "--name",
        ),
        (".f.swp", "warn", "would stay on this machine", "--name"),
        ("x.tmp", "warn", "it is temporary", "--name"),
        ("Thumbs.db", "fail", "nobody wants", "--name"),
        (
            "sub",
            "fail",
            "it is a directory, and the service knows files only",
            "tar czf",
        ),
        (
            "big",
            "fail",
            "more than the service takes (500.00 MiB)",
            "split",
        ),
        ("none", "fail", "No such file", "spelled"),
    ] {
        judged(&[name]).is("file", level, says, remedy);
    }
    let all = judged(&["report.pdf", "x.tmp", "empty"]).0;
    assert_eq!(all.len(), 3);
    assert_eq!(world.calls(), Calls::NONE);
}

/// Whoever names a file of a mount that hangs gets an answer, and so does who names one of a mount that works: what a tool
/// made is not fetched for that.
#[test]
fn files_of_a_mount_are_neither_fetched_nor_waited_for() {
    let world = World::new();
    world.output("chart.png", &pattern(300_000));
    let mount = world.mount();
    assert_eq!(mount.names(), ["chart.png"]);
    let judged = |file: PathBuf| Found::by(&world, world.afs().arg("doctor").arg(file));
    world.forget_calls();
    judged(mount.at("chart.png")).is("file", "ok", "292.97 KiB to send", "");
    judged(mount.path().to_owned()).is("file", "fail", "it is a directory", "tar");
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    stopped(&mount, || {
        judged(mount.at("chart.png")).is("file", "fail", "does not answer", "afs doctor");
        judged(mount.path().to_owned()).is("file", "fail", "does not answer", "afs doctor");
    });
}

fn stopped(mount: &Mount, act: impl FnOnce()) {
    mount.signal("STOP");
    act();
    mount.signal("CONT");
}
