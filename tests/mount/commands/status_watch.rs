//! `afs status` on a terminal and off it: `--watch`, and colours.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use afs::emulator::LoggedCall;
use serde_json::Value;

use super::ran;
use super::status::{answer, rule, status};
use crate::harness::{Calls, Mount, PATIENCE, World, eventually, start, within};

/// A program that goes on, and what it has printed so far.
struct Watching {
    child: Child,
    typed: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Watching {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(command);
        let mut output = child.stdout.take().unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let into = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                into.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self {
            typed: child.stdin.take().unwrap(),
            child,
            shown,
        }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    #[track_caller]
    fn shows(&self, part: &str) {
        eventually(part, || self.shown().contains(part));
    }

    fn end(mut self) -> Option<i32> {
        within(PATIENCE, "its end", move || self.child.wait())
            .unwrap()
            .code()
    }
}

fn watch(world: &World, mount: &Mount, words: &[&str]) -> Command {
    let mut watch = world.afs();
    watch
        .args(["status", "--watch"])
        .args(words)
        .arg(mount.path());
    watch
}

#[test]
fn watching_prints_what_has_changed_and_ends_with_the_mount_or_its_reader() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let text = Watching::start(watch(&world, &mount, &[]).stderr(Stdio::null()));
    text.shows("files     0 (");
    // Somebody who reads one line only, of a mount where nothing happens.
    let mut short = start(watch(&world, &mount, &["--json"]).stdout(Stdio::piped()));
    let mut line = String::new();
    let mut output = BufReader::new(short.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let parsed: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(parsed[0]["files"], 0, "{parsed}");
    drop(output);
    let ended = within(PATIENCE, "its end", move || short.wait()).unwrap();
    assert_eq!(ended.code(), Some(0));

    assert_eq!(text.shown().matches("files     ").count(), 1);
    world.forget_calls();
    mount.sh("printf 123 | tee new");
    text.shows("files     1 (3 B)");
    assert_eq!(
        world.calls(),
        Calls {
            upload: 1,
            ..Calls::NONE
        }
    );
    assert!(!text.shown().contains('\x1b'), "{}", text.shown());
    mount.unmount();
    assert_eq!(text.end(), Some(1), "there is nothing to watch any more");
}

/// On a terminal of its own; `script` gives it one.
fn on_a_terminal(command: &Command) -> Command {
    let words = command.get_args().map(|word| word.to_str().unwrap());
    let program = command.get_program().to_str().unwrap();
    let line: Vec<&str> = std::iter::once(program).chain(words).collect();
    let mut script = Command::new("script");
    script
        .args(["-q", "-e", "-f", "-c", &line.join(" "), "/dev/null"])
        .env_remove("NO_COLOR")
        .env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        match (name.to_str(), value) {
            (Some("HOME" | "NO_COLOR" | "TERM"), Some(value)) => script.env(name, value),
            _ => &mut script,
        };
    }
    script
}

#[test]
fn watching_draws_a_terminal_anew_until_ctrl_c() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let mut watching = Watching::start(&mut on_a_terminal(&watch(&world, &mount, &[])));
    watching.shows("files     0 (");
    mount.sh("printf 123 > new");
    watching.shows("files     1 (3 B)");
    let shown = watching.shown();
    assert!(shown.starts_with("\x1b[H"), "{shown:?}");
    assert!(!shown.contains("\x1b[2J"), "{shown:?}");
    let pictures = shown.matches("\x1b[H").count();
    eventually("it is drawn again though nothing changes", || {
        watching.shown().matches("\x1b[H").count() > pictures + 1
    });
    watching.typed.write_all(b"\x03").unwrap();
    assert_eq!(watching.end(), Some(128 + 2));
}

#[test]
fn what_failed_is_red_on_a_terminal_only() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let refusal = answer(400, "1");
    world
        .emulator
        .set_faults(vec![rule(LoggedCall::Upload, "no", refusal)]);
    assert!(!mount.try_sh("cp /etc/hostname no").status.success());
    let mut command = world.afs();
    command.arg("status").arg(mount.path());
    let shown = |command: &Command| {
        let ran = ran(on_a_terminal(command).stdin(Stdio::null()));
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        ran.out
    };
    let coloured = shown(&command);
    assert!(
        coloured.contains("\x1b[31m1 failed and tried again"),
        "{coloured}"
    );
    assert!(coloured.contains("\x1b[31mupload of no: "), "{coloured}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut plain = world.afs();
        plain.arg("status").arg(mount.path()).env(name, value);
        assert!(!shown(&plain).contains('\x1b'), "{name}");
    }
    assert!(!status(&world, &mount, &[]).out.contains('\x1b'));
}
