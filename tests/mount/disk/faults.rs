//! A disk that is full, or fails: each step of a scenario fails once, or from then on until the disk is mended. Callers
//! get the errno, what was acknowledged stays, and everything goes on afterwards.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use afs::disk::Disk;

use super::crash::{Hurry, Told, at_the_service, directory, names_in, user_removes};
use super::scenario::{Act, Files, scenario, shown, summary};
use super::watch::{Point, Script, Trouble};
use crate::harness::{Calls, World, eventually};
use crate::surface::{Direct, Ground, Setup, Surface};

/// One life on a disk with trouble.
struct Life<'a> {
    world: &'a World,
    dir: tempfile::TempDir,
    script: Arc<Script>,
}

impl<'a> Life<'a> {
    fn new(world: &'a World, plan: Option<(Point, Trouble)>) -> Self {
        user_removes(world);
        for file in world.emulator.files().unwrap() {
            world.emulator.delete(&file.id).unwrap();
        }
        let dir = directory(world);
        fs::create_dir(dir.path().join("state")).unwrap();
        let state = dir.path().join("state");
        let script = Arc::new(Script::new(plan, &state, &dir.path().join("remains")));
        Self { world, dir, script }
    }

    fn start(&self, disk: Disk) -> Result<Direct, Box<dyn std::error::Error>> {
        let ground = Ground {
            api: Ground::client(self.world),
            disk,
            state: self.dir.path().join("state"),
            cache: self.dir.path().join("cache"),
        };
        Direct::start_on(ground, &Setup::default())
    }

    fn start_watched(&self) -> Direct {
        let disk = || Disk::watched(Arc::clone(&self.script) as _);
        self.start(disk()).unwrap_or_else(|error| {
            assert!(self.script.has_struck(), "{error}");
            self.script.mend();
            self.start(disk()).expect("it starts on a mended disk")
        })
    }

    /// Does the scenario; what fails is done again when the disk is mended. The files there must be.
    fn live(&self, fs: &Direct, errno: i32) -> Files {
        let _hurry = Hurry::start(fs.state());
        let mut files = Files::new();
        for act in scenario() {
            let mut possible = vec![files.clone()];
            possible.extend(act.states(&files));
            let result = possible.last().unwrap().clone();
            let done = act.run(fs, &mut |_| drop(possible.remove(0)));
            match done {
                Ok(()) => {}
                Err(error) => {
                    assert!(self.script.has_struck(), "{act:?}: {error}");
                    assert_eq!(error, errno, "{act:?}");
                    self.script.mend();
                    mend(fs, &act, &possible);
                }
            }
            files = result;
            let shown = shown(fs);
            assert!(shown == files, "after {act:?}: {}", summary(&shown));
        }
        self.script.mend();
        files
    }

    /// All is at the service, once; also after a new start there is nothing to do.
    fn check(&self, fs: Direct, files: &Files) {
        eventually("all is sent", || {
            fs.state().hurry();
            fs.state().pending().is_empty()
        });
        let once: Vec<_> = files.clone().into_iter().collect();
        let stored = at_the_service(self.world);
        let names = |files: &[(String, Vec<u8>)]| -> Vec<(String, usize)> {
            let sizes = files
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes.len()));
            sizes.collect()
        };
        assert_eq!(names(&stored), names(&once));
        assert!(stored == once);
        Box::new(fs).end();
        self.world.forget_calls();
        let fs = self.start(Disk::real()).expect("it starts again");
        assert!(shown(&fs) == *files);
        assert!(fs.state().pending().is_empty());
        assert_eq!(self.world.calls().but_lists(), Calls::NONE);
        let staged = self.dir.path().join("state/staged");
        assert_eq!(names_in(&staged), Vec::<String>::new());
        assert!(at_the_service(self.world) == once);
    }
}

/// Looks at what a failed act has left, and does what a person would do: it again, on a mended disk.
fn mend(fs: &Direct, act: &Act, possible: &[Files]) {
    let found = shown(fs);
    let result = possible.last().unwrap();
    assert!(
        possible
            .iter()
            .any(|state| found == *state || is_partial(&found, state)),
        "{act:?} failed and left {}\nbut possible is\n{}",
        summary(&found),
        possible.iter().map(summary).collect::<Vec<_>>().join("\n")
    );
    let again = match act {
        // What is empty looks the same saved and unsaved.
        Act::Put(_, content) => content.is_empty() || found != *result,
        Act::Rename(..) | Act::Unlink(_) | Act::Truncate(..) => found != *result,
        // Not to be repeated: a part of it may have been done.
        Act::Append(..) | Act::PutSynced(..) | Act::PutAs(..) => false,
    };
    if again {
        assert_eq!(act.run(fs, &mut |_| {}), Ok(()), "{act:?} again");
        return;
    }
    let fs: &dyn Surface = fs;
    for (name, content) in result {
        if found.get(name) != Some(content) {
            assert_eq!(fs.put(name, content), Ok(()), "{name} again");
        }
    }
    for name in found.keys().filter(|name| !result.contains_key(*name)) {
        assert_eq!(fs.unlink(name), Ok(()), "{name}");
    }
}

/// Whether one file is there as far as it could be written before a write failed: that failure was told, and the close
/// after it keeps the rest, as on any disk.
fn is_partial(found: &Files, result: &Files) -> bool {
    let differing: Vec<_> = result
        .iter()
        .filter(|(name, content)| found.get(*name) != Some(content))
        .collect();
    match differing[..] {
        [(name, content)] => found.len() == result.len() && content.starts_with(&found[name]),
        _ => false,
    }
}

/// Lets every step of the scenario fail; how many did.
fn fail_at_every_point(trouble: impl Fn(i32) -> Trouble + Sync) -> usize {
    const AT_ONCE: usize = 4;
    let points = {
        let world = World::new();
        let life = Life::new(&world, None);
        let fs = life.start_watched();
        let files = life.live(&fs, 0);
        life.check(fs, &files);
        life.script.points()
    };
    let lives: Vec<_> = [libc::ENOSPC, libc::EIO]
        .into_iter()
        .flat_map(|errno| points.iter().map(move |point| (errno, point)))
        .collect();
    let (next, struck) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((errno, point)) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // One of its own: its history is checked when it ends.
                    let world = World::new();
                    let trouble = trouble(*errno);
                    let told = Told(format!("{trouble:?} at {point:?}"));
                    let life = Life::new(&world, Some(((*point).clone(), trouble)));
                    let fs = life.start_watched();
                    let files = life.live(&fs, *errno);
                    life.check(fs, &files);
                    struck.fetch_add(usize::from(life.script.has_struck()), Ordering::Relaxed);
                    drop(told);
                }
            });
        }
    });
    let struck = struck.into_inner();
    println!("{struck} of {} planned steps failed", lives.len());
    assert!((lives.len() - struck) * 20 < lives.len());
    struck
}

#[test]
fn a_step_that_fails_is_said_by_its_errno_and_loses_nothing() {
    assert!(fail_at_every_point(Trouble::Once) >= 250);
}

#[test]
fn a_disk_that_fails_from_a_step_on_loses_nothing_and_all_goes_on_when_it_is_mended() {
    assert!(fail_at_every_point(Trouble::FromThenOn) >= 250);
}
