//! `afs watch`: what tools make lands in a directory as it appears, each file once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ran;
use crate::harness::{World, eventually, pattern, start};

/// A watch under way; it ends with its test.
struct Watch {
    child: Child,
    to: PathBuf,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watch {
    fn start(world: &World, words: &[&str], variables: &[(&str, String)]) -> Self {
        let to = world.dir.path().join("charts");
        let mut afs = world.afs();
        let name = |name: &str| fs::File::create(world.dir.path().join(name)).unwrap();
        afs.arg("watch")
            .arg(world.dir.path().join("mnt"))
            .args(["--every", "20ms", "--to"])
            .arg(&to)
            .args(words)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(name("watch.out"))
            .stderr(name("watch.err"));
        let child = start(&mut afs);
        Self { child, to }
    }

    /// The names that landed, sorted.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.to).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    fn lands(&self, names: &[&str]) {
        eventually(&format!("{names:?} landed"), || self.names() == names);
    }

    fn is_ready(&self) {
        eventually("it watches", || self.to.join(".afs-watch").exists());
    }

    /// Ends as by Ctrl-C.
    fn ends(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn what_comes_lands_once_and_what_was_there_does_not() {
    let world = World::new();
    world.output("before.png", b"before");
    let mount = world.mount();
    let watch = Watch::start(&world, &[], &[]);
    watch.is_ready();
    let content = pattern(300_000);
    world.forget_calls();
    world.output("chart.png", &content);
    world.foreign("theirs.pdf", b"%PDF");
    watch.lands(&["chart.png"]);
    assert_eq!(fs::read(watch.to.join("chart.png")).unwrap(), content);
    assert_eq!(world.calls().content, 1);
    watch.ends();

    // It goes on where it was.
    fs::remove_file(world.dir.path().join("charts/chart.png")).unwrap();
    world.output("meanwhile.png", b"meanwhile");
    let watch = Watch::start(&world, &[], &[]);
    watch.lands(&["meanwhile.png"]);
    watch.ends();
    let out = fs::read_to_string(world.dir.path().join("watch.out")).unwrap();
    let path = world.dir.path().join("charts/meanwhile.png");
    assert_eq!(out, format!("{}  9 B\n", path.display()));
    drop(mount);
}

#[test]
fn with_existing_and_glob_all_that_is_meant_lands_beside_what_is_there() {
    let world = World::new();
    let id = world.output("a.png", b"a").id;
    world.output("b.csv", b"b");
    let _mount = world.mount_with(&["--refresh", "1ms"]);
    let to = world.dir.path().join("charts");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a.png"), b"mine").unwrap();
    let words = ["--existing", "--glob", "*.png", "--json"];
    let watch = Watch::start(&world, &words, &[]);
    let suffixed = format!("a~{}.png", &id[id.len() - 8..]);
    watch.lands(&["a.png", &suffixed]);
    watch.ends();
    assert_eq!(fs::read(to.join("a.png")).unwrap(), b"mine");
    assert_eq!(fs::read(to.join(&suffixed)).unwrap(), b"a");
    let out = fs::read(world.dir.path().join("watch.out")).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(line["id"], *id);
}

#[test]
fn an_arrival_is_announced_where_there_is_a_desktop() {
    let world = World::new();
    let _mount = world.mount_with(&["--refresh", "1ms"]);
    let said = world.dir.path().join("said");
    let tools = world.dir.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let script = tools.join("notify-send");
    fs::write(
        &script,
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n", said.display()),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let bus = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere".to_owned());
    let watch = Watch::start(&world, &[], &[("PATH", path), bus]);
    watch.is_ready();
    world.output("-chart.png", b"chart");
    watch.lands(&["-chart.png"]);
    eventually("it is announced", || {
        fs::read_to_string(&said).is_ok_and(|words| words.contains("\n--\n-chart.png\narrived in "))
    });
    watch.ends();
}

#[test]
fn a_mount_that_ends_and_comes_back_is_watched_on() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1ms"]);
    let watch = Watch::start(&world, &[], &[]);
    watch.is_ready();
    mount.unmount();
    let complaint = || fs::read_to_string(world.dir.path().join("watch.err")).unwrap();
    eventually("it says so", || complaint().contains("it is tried again"));
    let mount = world.mount_with(&["--refresh", "1ms"]);
    world.output("chart.png", b"chart");
    watch.lands(&["chart.png"]);
    watch.ends();
    drop(mount);
}

#[test]
fn what_lands_has_the_name_that_the_mount_shows() {
    let world = World::new();
    let _mount = world.mount_with(&["--refresh", "1ms", "--names", "encode"]);
    let watch = Watch::start(&world, &[], &[]);
    watch.is_ready();
    world.output("10：30.png", b"chart");
    watch.lands(&["10:30.png"]);
    watch.ends();
}

#[test]
fn what_lands_does_not_go_back_into_the_mount() {
    let world = World::new();
    let mount = world.mount();
    let mut afs = world.afs();
    afs.arg("watch")
        .arg(mount.path())
        .arg("--to")
        .arg(mount.path());
    ran(&mut afs).complains(4, "is in the mount itself");
}
