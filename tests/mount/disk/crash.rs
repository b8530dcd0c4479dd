//! Crash points: before each step that changes the disk, the process or the power goes; two recoveries later everything
//! acknowledged is there, whole, and at the service exactly once.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use afs::api::{
    ApiError, Call, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi, ListQuery,
    Upload,
};
use afs::disk::Disk;
use afs::emulator::{ChangeKind, FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};
use afs::state::{Digest, State};

use super::scenario::{Act, Files, scenario, shown, summary};
use super::watch::{End, Point, Script, Trouble};
use crate::harness::{Calls, World, eventually};
use crate::surface::{Direct, Ground, Setup, Surface};

/// What becomes of uploads while the process lives.
#[derive(Debug, Clone, Copy)]
enum Service {
    Answers,
    LosesAnswers,
    LosesRequests,
    Breaks,
}

impl Service {
    const ALL: [Self; 4] = [
        Self::Answers,
        Self::LosesAnswers,
        Self::LosesRequests,
        Self::Breaks,
    ];

    fn rules(self) -> Vec<FaultRule> {
        let uploads = |when, action: FaultAction, is_struck: fn(u64) -> bool| {
            let struck = (1..100).filter(|nth| is_struck(*nth));
            struck
                .map(|nth| FaultRule {
                    call: Some(LoggedCall::Upload),
                    when,
                    nth: Some(nth),
                    ..FaultRule::new(action.clone())
                })
                .collect()
        };
        let (before, after) = (FaultMoment::BeforeEffect, FaultMoment::AfterEffect);
        match self {
            Self::Answers => Vec::new(),
            // Some are answered, so that who does not look before sending again comes to an end all the same.
            Self::LosesAnswers => uploads(after, FaultAction::DropAnswer, |nth| nth % 4 != 0),
            // The try after a lost one goes well.
            Self::LosesRequests => uploads(before, FaultAction::DropAnswer, |nth| nth % 2 == 1),
            Self::Breaks => {
                let answer = FaultAction::Status(FaultAnswer::status(500));
                uploads(before, answer, |nth| nth % 2 == 1)
            }
        }
    }
}

/// The service as a process has it that can end: afterwards it asks for nothing.
pub(crate) struct Mortal {
    api: Arc<dyn FilesApi>,
    script: Arc<Script>,
    under_way: Mutex<usize>,
    ended: Condvar,
}

impl Mortal {
    pub(crate) fn new(api: Arc<dyn FilesApi>, script: Arc<Script>) -> Self {
        Self {
            api,
            script,
            under_way: Mutex::new(0),
            ended: Condvar::new(),
        }
    }

    fn call<T>(
        &self,
        call: Call,
        act: impl FnOnce(&dyn FilesApi) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        *self.under_way.lock().unwrap() += 1;
        let answer = if self.script.is_over() {
            Err(ApiError::local(call, ErrorKind::Body, "the process ended"))
        } else {
            act(&*self.api)
        };
        *self.under_way.lock().unwrap() -= 1;
        self.ended.notify_all();
        answer
    }

    /// Waits until nothing it asked for can come to anything any more.
    pub(crate) fn wait(&self) {
        let under_way = self.under_way.lock().unwrap();
        drop(self.ended.wait_while(under_way, |count| *count > 0));
    }
}

impl FilesApi for Mortal {
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        self.call(Call::Upload, |api| api.upload(upload))
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        self.call(Call::List, |api| api.list(query))
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        self.call(Call::Metadata, |api| api.metadata(id))
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        self.call(Call::Download, |api| api.download(id, from))
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        self.call(Call::Delete, |api| api.delete(id))
    }
}

/// Has failed work tried again at once, as `afs pending --retry` does: nobody has to sit through pauses.
pub(super) struct Hurry {
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Hurry {
    pub(super) fn start(state: &Arc<State>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (state, over) = (Arc::clone(state), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                state.retry(None);
                thread::park_timeout(Duration::from_millis(2));
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// What may be found: the last acknowledged state, and those that were under way.
#[derive(Debug)]
struct Progress {
    possible: Vec<Files>,
    doing: Option<Act>,
}

/// Does the scenario until it is over, one way or the other.
fn act(fs: &Direct, script: &Script) -> Progress {
    let _hurry = Hurry::start(fs.state());
    let mut progress = Progress {
        possible: vec![Files::new()],
        doing: None,
    };
    for act in scenario() {
        let states = act.states(&progress.possible[0]);
        progress.possible.extend(states);
        progress.doing = Some(act.clone());
        let possible = &mut progress.possible;
        let done = act.run(fs, &mut |_| {
            // Acknowledged only if it came before the end.
            if !script.is_over() {
                possible.remove(0);
            }
        });
        if script.is_over() {
            return progress;
        }
        assert_eq!(done, Ok(()), "{act:?}");
        let last = progress.possible.len() - 1;
        progress.possible.drain(..last);
    }
    progress.doing = None;
    eventually("all is sent", || {
        fs.state().hurry();
        script.is_over() || fs.state().pending().is_empty()
    });
    progress
}

/// One life that ends at a point, and two after it.
struct Run<'a> {
    world: &'a World,
    dir: tempfile::TempDir,
}

impl<'a> Run<'a> {
    /// An empty workspace.
    fn new(world: &'a World) -> Self {
        world.emulator.clear_faults();
        user_removes(world);
        for file in world.emulator.files().unwrap() {
            world.emulator.delete(&file.id).unwrap();
        }
        Self {
            world,
            dir: directory(world),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn ground(&self, api: Arc<dyn FilesApi>, disk: Disk, state: &Path) -> Ground {
        Ground {
            api,
            disk,
            state: state.to_owned(),
            cache: self.path("cache"),
        }
    }

    /// Lives until `plan` says it ends; the steps it took, and what may be found.
    fn live(&self, service: Service, plan: Option<(Point, Trouble)>) -> (Arc<Script>, Progress) {
        let (state, remains) = (self.path("state"), self.path("remains"));
        let script = Arc::new(Script::new(plan, &state, &remains));
        let client = Ground::client(self.world);
        let api = Arc::new(Mortal::new(client, Arc::clone(&script)));
        self.world.emulator.set_faults(service.rules());
        let disk = Disk::watched(Arc::clone(&script) as _);
        let ground = self.ground(Arc::clone(&api) as _, disk, &state);
        let progress = match Direct::start_on(ground, &Setup::default()) {
            Ok(fs) => act(&fs, &script),
            Err(error) => {
                assert!(script.is_over(), "{error}");
                Progress {
                    possible: vec![Files::new()],
                    doing: None,
                }
            }
        };
        api.wait();
        script.wait_for_remains();
        self.world.emulator.clear_faults();
        (script, progress)
    }

    /// Finds the work of an earlier life, finishes it, and says what the directory shows then.
    fn recover(&self, state: &Path) -> Files {
        let ground = self.ground(Ground::client(self.world), Disk::real(), state);
        let fs = Direct::start_on(ground, &Setup::default()).expect("recovered");
        let as_found = shown(&fs);
        eventually("all is sent", || {
            fs.state().hurry();
            fs.state().pending().is_empty()
        });
        let files = shown(&fs);
        assert_eq!(
            summary(&as_found),
            summary(&files),
            "sending changes nothing"
        );
        Box::new(fs).end();
        files
    }

    /// Whether the service has the version before or the version after of what was being replaced at the end.
    fn check_one_version(&self, progress: &Progress) {
        let Some(Act::Put(name, _) | Act::Append(name, _)) = progress.doing else {
            return;
        };
        let Some(before) = progress.possible[0].get(name) else {
            return;
        };
        let stored = at_the_service(self.world);
        let has = |bytes: &Vec<u8>| stored.iter().any(|(_, stored)| stored == bytes);
        let versions = progress.possible.iter().filter_map(|files| files.get(name));
        assert!(
            versions.into_iter().any(has),
            "no version of {name} ({} bytes before) is at the service",
            before.len()
        );
    }

    /// Whether every content that was deleted at the service is in the trash, unless another file has it. An orphan among
    /// the kept copies is no help: nobody knows its name.
    fn check_trash(&self, state: &Path) {
        let digest = |bytes: &Vec<u8>| format!("{:?}", Digest::of(bytes));
        let stored = at_the_service(self.world).into_iter();
        let mut here: HashSet<String> = stored.map(|(_, bytes)| digest(&bytes)).collect();
        for thing in names_in(&state.join("trash")) {
            let dir = state.join("trash").join(thing);
            here.extend(names_in(&dir).iter().map(|name| {
                let bytes = fs::read(dir.join(name)).unwrap();
                digest(&bytes)
            }));
        }
        for change in self.world.emulator.history().unwrap() {
            let is_lost = change.kind == ChangeKind::Deleted
                && change.asked.is_some()
                && change
                    .sha256
                    .as_ref()
                    .is_some_and(|sha256| !here.contains(sha256));
            assert!(!is_lost, "deleted, and not in the trash: {change:?}");
        }
    }

    /// Compares what two recoveries find with what may be found.
    fn check(&self, state: &Path, progress: &Progress) {
        self.check_one_version(progress);
        let files = self.recover(state);
        assert!(
            progress.possible.contains(&files),
            "in {:?}: {}\nbut possible is\n{}",
            progress.doing,
            summary(&files),
            progress
                .possible
                .iter()
                .map(summary)
                .collect::<Vec<_>>()
                .join("\n")
        );
        let once: Vec<_> = files.clone().into_iter().collect();
        assert!(
            at_the_service(self.world) == once,
            "{:?}",
            at_the_service(self.world)
        );
        self.check_trash(state);
        self.world.forget_calls();
        let again = self.recover(state);
        assert_eq!(summary(&again), summary(&files));
        assert!(again == files);
        assert_eq!(self.world.calls().but_lists(), Calls::NONE);
        assert!(at_the_service(self.world) == once);
    }
}

/// The scenario removes these or moves them away, and makes new ones.
pub(super) fn user_removes(world: &World) {
    for name in ["synced", "draft.tmp", "a", "renamed", "medium", "big"] {
        world.emulator.removes(name);
    }
}

/// A directory in memory, where there is such a thing: what a power cut leaves is the watch's to say, and a thousand
/// lives on a real disk would wait for it most of the time.
pub(super) fn directory(world: &World) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        world.dir.path()
    };
    tempfile::Builder::new()
        .prefix("afs-test-")
        .tempdir_in(place)
        .unwrap()
}

/// Every file of the workspace by name, each as often as it is there.
pub(super) fn at_the_service(world: &World) -> Vec<(String, Vec<u8>)> {
    let files = world.emulator.files().unwrap().into_iter();
    let mut files: Vec<_> = files
        .map(|file| {
            let bytes = world.emulator.content(&file.id).unwrap().unwrap();
            (file.filename, bytes)
        })
        .collect();
    files.sort();
    files
}

pub(super) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Every point of a life without an end, for each of the service's ways.
fn points(service: Service) -> Vec<Point> {
    let world = World::new();
    let run = Run::new(&world);
    let (script, progress) = run.live(service, None);
    run.check(&run.path("state"), &progress);
    script.points()
}

/// Ends a life at every point; how many lives there were.
fn end_at_every_point(end: End) -> usize {
    /// Machines have more cores than a test should take.
    const AT_ONCE: usize = 4;
    let mut lives = Vec::new();
    for service in Service::ALL {
        lives.extend(points(service).into_iter().map(|point| (service, point)));
    }
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((service, point)) = lives.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // One of its own: its history is checked when it ends.
                    let world = World::new();
                    let told = Told(format!("{service:?}, {end:?} ends before {point:?}"));
                    let run = Run::new(&world);
                    let plan = (point.clone(), Trouble::End(end));
                    let (script, progress) = run.live(*service, Some(plan));
                    if script.has_struck() {
                        run.check(&run.path("remains"), &progress);
                    } else {
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                    drop(told);
                }
            });
        }
    });
    let kinds: HashSet<&str> = lives.iter().map(|(_, point)| point.step.as_str()).collect();
    let missed = missed.into_inner();
    println!(
        "{} lives ended at {} kinds of steps ({end:?}); {missed} points did not come again",
        lives.len() - missed,
        kinds.len()
    );
    assert!(missed * 50 < lives.len(), "{missed} of {}", lives.len());
    lives.len() - missed
}

/// Says where a life was when its test failed.
pub(super) struct Told(pub(super) String);

impl Drop for Told {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {}", self.0);
        }
    }
}

#[test]
fn a_process_that_ends_at_any_point_loses_and_doubles_nothing() {
    assert!(end_at_every_point(End::Process) >= 600);
}

#[test]
fn a_power_cut_at_any_point_loses_and_doubles_nothing() {
    assert!(end_at_every_point(End::Power) >= 600);
}
