//! `afs put`, `get` and `rm`: through a mount, with the state of a key's workspace, and with nothing but the key. Each does
//! what copying and removing in a mount does, at the same price.

mod get;
mod names;
mod put;
mod remove;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Ran, ran};
use crate::harness::{Calls, World};

/// How a command finds the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the mount.
    Mounted,
    /// By the key, with a state of its own.
    Alone,
    /// By the key, with nothing else.
    Bare,
}

const WAYS: [Way; 3] = [Way::Mounted, Way::Alone, Way::Bare];

/// A directory to work in, beside the world's mount and state.
struct Desk<'a> {
    world: &'a World,
    way: Way,
}

impl<'a> Desk<'a> {
    fn of(world: &'a World, way: Way) -> Self {
        fs::create_dir_all(world.dir.path().join("desk")).unwrap();
        Self { world, way }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.world.dir.path().join("desk").join(name)
    }

    /// The command as it is typed there, whose words may begin with the mount point.
    fn command(&self, name: &str, words: &[&str]) -> Command {
        let mut afs = self.world.afs();
        afs.current_dir(self.at("")).env("TZ", "UTC").arg(name);
        match self.way {
            Way::Mounted => {
                afs.arg(self.world.dir.path().join("mnt"));
            }
            Way::Alone => {
                // Named, for other tests have mounts of their own.
                afs.arg("--base-url").arg(self.world.emulator.base_url());
                afs.arg("--state-dir").arg(self.world.state_root());
                afs.arg("--cache-dir")
                    .arg(self.world.dir.path().join("cache"));
            }
            Way::Bare => {
                afs.arg("--base-url").arg(self.world.emulator.base_url());
                afs.env_remove("HOME");
            }
        }
        afs.args(words);
        afs
    }

    fn afs(&self, name: &str, words: &[&str]) -> Ran {
        ran(&mut self.command(name, words))
    }

    /// The names of what is there, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.at(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.at(name), content).unwrap();
    }
}

/// Runs `act` once for each way; where there is one, the mount is there for as long as that takes.
fn each_way(act: impl Fn(&Desk<'_>)) {
    for way in WAYS {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        act(&Desk::of(&world, way));
        drop(mount);
    }
}

/// In CI: no home directory, no mount, no state. Every question is a request, and nothing is written anywhere.
#[test]
fn the_key_alone_is_enough_to_list_and_to_look_up() {
    let world = World::new();
    world.output("a.txt", b"old");
    let newer = world.output("a.txt", b"newer").id;
    let pdf = world.foreign("b.pdf", b"%PDF").id;
    let desk = Desk::of(&world, Way::Bare);
    world.forget_calls();
    let ls = desk.afs("list", &[]);
    assert_eq!(
        world.calls(),
        Calls {
            list: 1,
            ..Calls::NONE
        }
    );
    assert_eq!(ls.out.lines().count(), 3, "{}", ls.out);
    assert!(
        ls.out.contains(&*newer) && ls.out.contains("b.pdf"),
        "{}",
        ls.out
    );
    desk.afs("id", &["a.txt"]).prints(0, &format!("{newer}\n"));
    world.forget_calls();
    let shown = desk.afs("metadata", &[&pdf, "--json"]).json();
    assert_eq!(shown[0]["filename"], "b.pdf");
    assert_eq!(
        world.calls(),
        Calls {
            metadata: 1,
            ..Calls::NONE
        }
    );
    let inline = desk.afs("block", &["a.txt", "--inline"]).json();
    assert_eq!(inline[0]["text"], "newer");
    let block = desk.afs("block", &["b.pdf"]).json();
    assert_eq!(block[0]["source"]["file_id"], *pdf);
    assert_eq!(desk.afs("show", &["nothing"]).code, Some(3));
    assert_eq!(desk.names(), [""; 0]);
}
