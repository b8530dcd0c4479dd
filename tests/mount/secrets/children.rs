//! What a mount starts: programs of the system, which it looks for in PATH. What stands there first in these tests writes
//! its environment down.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Texts, talkative};
use crate::background::{self, Detached};
use crate::harness::{self, World, eventually};

/// Programs that a mount might start.
const PROGRAMS: [&str; 6] = ["fusermount3", "fusermount", "stat", "mount", "umount", "sh"];

/// A directory of programs that write their environment into `seen` and then do what they are for.
fn writing_down(world: &World) -> (PathBuf, PathBuf) {
    let programs = world.dir.path().join("programs");
    let seen = world.dir.path().join("seen");
    fs::create_dir(&programs).unwrap();
    fs::create_dir(&seen).unwrap();
    let search = std::env::var("PATH").unwrap_or_default();
    for name in PROGRAMS {
        let seen = seen.join(name);
        let script = format!(
            "#!/bin/sh\n\
             PATH='{search}'\n\
             {{ echo \"$0 $*\"; cat \"/proc/$$/environ\"; }} >> '{}'\n\
             exec {name} \"$@\"\n",
            seen.display()
        );
        let path = programs.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (programs, seen)
}

/// A command that finds these programs before all others.
fn finding(command: &Command, programs: &Path) -> Command {
    let search = std::env::var_os("PATH").unwrap_or_default();
    let directories = [programs.to_owned()].into_iter();
    let search = std::env::join_paths(directories.chain(std::env::split_paths(&search)));
    let mut finding = Command::new(command.get_program());
    finding
        .args(command.get_args())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", search.unwrap());
    finding
}

/// What the programs wrote down; this one was among them.
fn add_seen(texts: &mut Texts, seen: &Path, name: &str) {
    for entry in fs::read_dir(seen).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read(&path).unwrap();
        texts.add(path.display().to_string(), text);
    }
    let of_helper = texts.of(&format!("seen/{name}"));
    assert!(of_helper.contains("PATH="), "{of_helper}");
}

/// A dead mount is asked with `stat` whether it is one; who may not mount by himself has `fusermount3` do it.
#[test]
fn what_a_mount_starts_is_not_told_the_key() {
    for options in [&[][..], &["--foreground"]] {
        let world = talkative();
        let (programs, seen) = writing_down(&world);
        let mount = world.mount();
        let path = mount.path().to_owned();
        let _dead = mount.kill();
        let mut mounting = finding(&background::mount(&world, options, &path), &programs);
        let mut child = harness::start(mounting.stdin(Stdio::null()));
        eventually("it is mounted again", || path.join("output.csv").exists());
        if options.is_empty() {
            // Who starts it ends a moment after.
            child.wait().unwrap();
        }
        let detached = Detached::at(&path);
        let mut texts = Texts::default();
        add_seen(&mut texts, &seen, "stat");
        if !nix::unistd::geteuid().is_root() {
            add_seen(&mut texts, &seen, "fusermount3");
        }
        texts.tell_nothing(1);
        drop(detached);
        child.wait().unwrap();
    }
}

/// `afs unmount` is typed in a shell that has the key in its environment. Where the tests run as root, the privilege to
/// unmount without a helper is taken away.
#[test]
fn what_unmounts_for_those_who_may_not_is_not_told_the_key() {
    let world = talkative();
    let (programs, seen) = writing_down(&world);
    let mount = world.mount();
    let mut unmounting = world.afs();
    if nix::unistd::geteuid().is_root() {
        let words = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
        let mut unprivileged = Command::new("setpriv");
        unprivileged.args(words).arg(unmounting.get_program());
        unprivileged.envs(
            unmounting
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        unmounting = unprivileged;
    }
    unmounting.arg("unmount").arg(mount.path());
    let output = finding(&unmounting, &programs).output().unwrap();
    let mut texts = Texts::default();
    texts.add_output("unmounting", &output);
    add_seen(&mut texts, &seen, "fusermount3");
    texts.tell_nothing(2);
}
