//! What a cell does: four actions through a mount, one after the other, while a rule makes the service fail; then, with
//! the rule gone, the same once more.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use afs::emulator::LoggedCall;

use super::expected::{Fault, Outcome, Pattern, Seen};
use super::rule;
use crate::harness::{Mount, PATIENCE, World, eventually, output, pattern, within};
use crate::hung::close_of;

/// How long nothing may move where nobody should wait for long.
const SHORT: &str = "1s";

#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) call: LoggedCall,
    pub(super) fault: Fault,
    pub(super) pattern: Pattern,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = format!("{:?}", self.call).to_lowercase();
        let (fault, pattern) = (self.fault.name(), self.pattern.name());
        write!(f, "{call:<8} {fault:<14} {pattern:<9}")
    }
}

/// A cell under way.
struct Acting<'a> {
    cell: Cell,
    world: &'a World,
    mount: &'a Mount,
    /// What was planted for each action, by number.
    planted: Vec<afs::emulator::StoredFile>,
}

impl Cell {
    pub(super) fn run(self) -> Seen {
        let world = World::new();
        let is_before = matches!(self.call, LoggedCall::Content | LoggedCall::Delete);
        let plant = |n| world.output(&name(n), &content(n));
        let mut planted: Vec<_> = (0..if is_before { self.pattern.actions() } else { 0 })
            .map(plant)
            .collect();
        let mount = world.mount_with(&self.options());
        if self.call == LoggedCall::Metadata {
            planted = (0..self.pattern.actions()).map(plant).collect();
        }
        let mut acting = Acting {
            cell: self,
            world: &world,
            mount: &mount,
            planted,
        };
        let rule = rule(self.call, self.fault, self.pattern);
        world.emulator.set_faults(vec![rule]);
        world.forget_calls();
        let outcomes = (0..self.pattern.actions()).map(|n| acting.act(n)).collect();
        let calls = world.calls();
        world.emulator.clear_faults();
        Seen {
            outcomes,
            requests: match self.call {
                LoggedCall::Content => calls.content,
                LoggedCall::Metadata => calls.metadata,
                LoggedCall::List => calls.list,
                LoggedCall::Upload => calls.upload,
                LoggedCall::Delete => calls.delete,
            },
            looks: match self.call {
                LoggedCall::Upload => calls.list,
                _ => 0,
            },
            is_whole: acting.is_whole_in_the_end(),
        }
    }

    fn options(self) -> Vec<&'static str> {
        let refresh = match self.call {
            LoggedCall::List | LoggedCall::Delete => "1ms",
            _ => "1h",
        };
        let mut options = vec!["--refresh", refresh];
        if self.pattern == Pattern::Lasting || self.fault == Fault::Stalled {
            options.extend(["--timeout", SHORT]);
        }
        options
    }
}

fn name(n: usize) -> String {
    format!("file {n}")
}

fn content(n: usize) -> Vec<u8> {
    pattern(40_000 + n)
}

impl Acting<'_> {
    /// Action number `n`, and what came of it. It returns when nothing is under way any more.
    fn act(&mut self, n: usize) -> Outcome {
        match self.cell.call {
            LoggedCall::Content => self.reads(n),
            LoggedCall::Metadata => self.asks(n),
            LoggedCall::List => {
                self.planted.push(self.world.output(&name(n), &content(n)));
                self.lists()
            }
            LoggedCall::Upload => self.saves(n),
            LoggedCall::Delete => self.removes(n),
        }
    }

    fn reads(&self, n: usize) -> Outcome {
        let path = self.mount.at(name(n));
        match within(PATIENCE, "a read", move || fs::read(path)) {
            Ok(bytes) if bytes == content(n) => Outcome::Done,
            Ok(bytes) => panic!("{}: {} wrong bytes", self.cell, bytes.len()),
            Err(error) => Outcome::failed(&error),
        }
    }

    fn asks(&self, n: usize) -> Outcome {
        let id = &self.planted[n].id;
        let path = self.mount.at(format!(".afs/by-id/{id}"));
        match within(PATIENCE, "a lookup", move || fs::read_link(path)) {
            Ok(leads) => {
                assert_eq!(leads.to_str(), Some(&*format!("../../{}", name(n))));
                Outcome::Done
            }
            Err(error) => Outcome::failed(&error),
        }
    }

    /// Whether an `ls` shows all there is. It shows what was known before where it does not.
    fn lists_all(&self) -> bool {
        let all: Vec<String> = (0..self.planted.len()).map(name).collect();
        let shown = self.mount.names();
        assert!(shown.iter().all(|name| all.contains(name)), "{shown:?}");
        shown == all
    }

    /// An `ls` of the time when a listing is due.
    fn lists(&self) -> Outcome {
        let before = self.world.calls().list;
        let mut outcome = Outcome::Stale;
        eventually("a listing is due", || {
            if self.lists_all() {
                outcome = Outcome::Done;
            }
            self.world.calls().list > before
        });
        outcome
    }

    fn saves(&self, n: usize) -> Outcome {
        let path = self.mount.at(name(n));
        let closed = within(2 * PATIENCE, "a close", move || close_of(path, &content(n)));
        match closed {
            Ok(()) => Outcome::Done,
            Err(errno) => {
                self.settles(n, &["is saved as", "the upload had arrived"]);
                Outcome::Errno(errno)
            }
        }
    }

    /// Deletions are no business of `rm`'s: what came of it is in the log.
    fn removes(&self, n: usize) -> Outcome {
        fs::remove_file(self.mount.at(name(n))).expect("removed");
        self.settles(n, &["is deleted", "can't be deleted"]);
        if self.world.all_stored(&name(n)).is_empty() {
            Outcome::Done
        } else {
            Outcome::Stays
        }
    }

    /// Waits until the log says of file `n` that it is done, or that nothing will be tried soon.
    fn settles(&self, n: usize, ends: &[&str]) {
        let is_lasting = self.cell.pattern == Pattern::Lasting;
        eventually(&format!("{}: file {n} settles", self.cell), || {
            let log = self.mount.log();
            let mut lines = log.lines().filter(|line| line.contains(&name(n)));
            lines.any(|line| {
                let is_put_off =
                    line.contains("is tried again in") && (is_lasting || !self.cell.fault.passes());
                is_put_off || ends.iter().any(|end| line.contains(end))
            })
        });
    }

    /// Whether, with the service well again, all is as if nothing had been: each file once, with its bytes, or gone.
    fn is_whole_in_the_end(&self) -> bool {
        let actions = 0..self.cell.pattern.actions();
        let mut files: BTreeMap<String, Vec<u8>> =
            actions.clone().map(|n| (name(n), content(n))).collect();
        match self.cell.call {
            LoggedCall::Content => eventually("all is read", || {
                actions.clone().all(|n| self.reads(n) == Outcome::Done)
            }),
            LoggedCall::Metadata => eventually("all is found", || {
                actions.clone().all(|n| self.asks(n) == Outcome::Done)
            }),
            LoggedCall::List => eventually("all is listed", || self.lists_all()),
            LoggedCall::Upload => self.retries(),
            LoggedCall::Delete => {
                files.clear();
                self.retries();
                // What must not be deleted is shown again, and can be removed again.
                eventually("the mount shows what there is", || {
                    self.mount.names().len() == self.world.emulator.files().unwrap().len()
                });
                for name in self.mount.names() {
                    fs::remove_file(self.mount.at(name)).expect("removed");
                }
                self.retries();
            }
        }
        let stored = self.world.emulator.files().expect("listed");
        stored.len() == files.len()
            && files
                .iter()
                .all(|(name, bytes)| self.world.stored_bytes(name) == *bytes)
    }

    /// Has what waits sent now, until nothing does.
    fn retries(&self) {
        eventually(&format!("{}: nothing waits", self.cell), || {
            let pending = |options: &[&str]| {
                let mut command = self.world.afs();
                command.arg("pending").arg(self.mount.path()).args(options);
                output(&mut command).stdout
            };
            pending(&["--retry"]);
            pending(&["--json"]).trim_ascii() == b"[]"
        });
    }
}
