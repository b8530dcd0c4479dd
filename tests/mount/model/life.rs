//! A case as it is lived: each operation is done to the model and to the file system, and both have to agree; where
//! everything ends in the middle, the next life goes on with what is left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use afs::disk::Disk;

use super::files::{Model, label, summary};
use super::plan::{Case, Crash, Op, SCRATCH};
use super::service::Service;
use crate::disk::crash::Mortal;
use crate::disk::watch::{End, Script};
use crate::harness::{PATIENCE, eventually};
use crate::surface::{Answer, Direct, Fd, Ground, Surface};

/// So often a mount is tried where the service does not even list.
const STARTS: usize = 100;

/// What went wrong.
pub(super) type Failed = String;

/// What happened in a case.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) operations: usize,
    pub(super) crashes: usize,
    /// Closes that failed.
    pub(super) failed: usize,
}

/// An open file, and which one of the model it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handle {
    pub(super) fd: Fd,
    pub(super) file: usize,
}

/// One process.
pub(super) struct Life {
    pub(super) fs: Box<Direct>,
    api: Arc<Mortal>,
    pub(super) script: Arc<Script>,
}

/// See the module.
pub(super) struct Run<'a> {
    pub(super) case: &'a Case,
    dir: tempfile::TempDir,
    pub(super) service: Arc<Service>,
    pub(super) model: Model,
    pub(super) handles: Vec<Handle>,
    /// Of the recovery to come.
    pub(super) next_crash: Option<Crash>,
    lives: usize,
    pub(super) tally: Tally,
    pub(super) trace: Vec<String>,
}

/// Does all of a case; where something is wrong it says what, and what was done.
pub(super) fn run(case: &Case) -> Result<Tally, Failed> {
    let mut run = Run::new(case);
    let done = run.live_all();
    done.map(|()| run.tally).map_err(|why| {
        let trace = run.trace.join("\n  ");
        format!("{why}\nwhat was done:\n  {trace}")
    })
}

/// A directory in memory, where there is such a thing: what a power cut leaves is the watch's to say.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("afs-model-");
    let made = if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    made.expect("a directory")
}

impl From<Crash> for End {
    fn from(crash: Crash) -> Self {
        if crash.is_power_cut {
            Self::Power
        } else {
            Self::Process
        }
    }
}

impl Life {
    /// Reads everything, unless it ends meanwhile.
    fn shown(&self) -> Answer<BTreeMap<String, Vec<u8>>> {
        let fs: &dyn Surface = &*self.fs;
        let listed = fs.list("")?;
        let names = listed.into_iter().map(|(name, _)| name);
        names
            .map(|name| Ok((name.clone(), fs.get(&name)?)))
            .collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.script.is_over()
    }

    /// Waits until nothing of it runs any more.
    fn bury(self) {
        self.api.wait();
        self.script.wait_for_remains();
    }
}

impl<'a> Run<'a> {
    fn new(case: &'a Case) -> Self {
        Self {
            case,
            dir: directory(),
            service: Arc::new(Service::new(&case.answers)),
            model: Model::new(),
            handles: Vec::new(),
            next_crash: None,
            lives: 0,
            tally: Tally::default(),
            trace: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Begins a life on what is there; `None` where it ends before it has begun.
    fn start(&mut self) -> Result<Option<Life>, Failed> {
        let state = self.path(&format!("state{}", self.lives));
        let remains = self.dir.path().join(format!("state{}", self.lives + 1));
        let script = Arc::new(Script::new(None, &state, &remains));
        if let Some(crash) = self.next_crash.take() {
            script.end_after(crash.steps, crash.into());
        }
        let service = Arc::clone(&self.service);
        let api = Arc::new(Mortal::new(service, Arc::clone(&script)));
        let mut why = String::new();
        for _ in 0..STARTS {
            let ground = Ground {
                api: Arc::clone(&api) as _,
                disk: Disk::watched(Arc::clone(&script) as _),
                state: state.clone(),
                cache: self.path("cache"),
            };
            match Direct::start_on(ground, &self.case.setup()) {
                Ok(fs) => {
                    return Ok(Some(Life {
                        fs: Box::new(fs),
                        api,
                        script,
                    }));
                }
                Err(_) if script.is_over() => {
                    api.wait();
                    script.wait_for_remains();
                    return Ok(None);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(format!("it does not start: {why}"))
    }

    /// The first life that gets anywhere.
    fn first(&mut self) -> Result<Life, Failed> {
        loop {
            match self.start()? {
                Some(life) => return Ok(life),
                None => self.lives += 1,
            }
        }
    }

    /// The life after one that ended: what it finds is compared with what may be.
    fn recover(&mut self, mut ended: Life) -> Result<Life, Failed> {
        self.handles.clear();
        loop {
            ended.bury();
            self.lives += 1;
            self.tally.crashes += 1;
            let life = self.first()?;
            let shown = life.shown();
            if life.is_over() {
                ended = life;
                continue;
            }
            let shown = shown.map_err(|errno| format!("after a crash: errno {errno}"))?;
            self.trace
                .push(format!("-- recovered: {}", summary(&shown)));
            self.model.found(&shown)?;
            self.service
                .are_there(self.model.certain(), self.model.moved_aside());
            return Ok(life);
        }
    }

    fn live_all(&mut self) -> Result<(), Failed> {
        let case = self.case;
        let mut life = self.first()?;
        for op in &case.ops {
            self.trace.push(format!("{op:?}"));
            self.tally.operations += 1;
            self.act(&life, op)?;
            if life.is_over() {
                life = self.recover(life)?;
            }
        }
        while case.is_closed && !self.handles.is_empty() {
            self.act(&life, &Op::Close(0))?;
            if life.is_over() {
                life = self.recover(life)?;
            }
        }
        self.service.behave();
        self.next_crash = None;
        life.script.go_on();
        if !case.is_closed {
            life.script.end_now(End::Process);
        }
        if life.is_over() {
            life = self.recover(life)?;
        }
        self.finish(life)
    }

    /// All that is pending is sent, and compared; the next start finds nothing to do.
    fn finish(&mut self, life: Life) -> Result<(), Failed> {
        self.compare(&life)?;
        Self::drain(&life)?;
        self.compare(&life)?;
        self.compare_service()?;
        let state = Arc::clone(life.fs.state());
        life.fs.end();
        // Two processes never have one state: whoever still tidies up in this one ends first.
        eventually("its threads end", || Arc::strong_count(&state) == 1);
        drop(state);
        let calls = self.service.calls();
        let again = self.first()?;
        self.compare(&again)?;
        again.fs.end();
        if self.service.calls() > calls {
            return Err("a start with nothing to do sends something".to_owned());
        }
        self.compare_service()
    }

    /// Waits until nothing is pending. What failed a moment ago, before the service behaved, has to be hurried again.
    fn drain(life: &Life) -> Result<(), Failed> {
        let state = life.fs.state();
        let deadline = Instant::now() + PATIENCE;
        loop {
            state.hurry();
            let left = state.wait_idle(deadline);
            let mut pending = state.pending();
            pending.retain(|change| !change.is_scratch);
            if pending.is_empty() {
                return Ok(());
            }
            if left > 0 || Instant::now() > deadline {
                return Err(format!("it is never sent: {pending:#?}"));
            }
        }
    }

    /// The directory shows what the model says.
    pub(super) fn compare(&self, life: &Life) -> Result<(), Failed> {
        let shown = life.shown();
        if life.is_over() {
            return Ok(());
        }
        let shown = shown.map_err(|errno| format!("reading everything: errno {errno}"))?;
        let expected = self.model.shown();
        if shown == expected {
            return Ok(());
        }
        Err(format!(
            "it shows\n    {}\n  and should\n    {}",
            summary(&shown),
            summary(&expected)
        ))
    }

    /// The service has each file once, and nothing else.
    fn compare_service(&self) -> Result<(), Failed> {
        if let Some(violation) = self.service.violation() {
            return Err(violation);
        }
        let mut sent = self.model.shown();
        sent.remove(SCRATCH);
        let mut labelled: Vec<(String, Vec<u8>)> = sent
            .iter()
            .map(|(name, bytes)| (label(name), bytes.clone()))
            .collect();
        labelled.sort();
        let mut stored = self.service.files();
        // What was moved aside stays for as long as nothing has its name.
        let is_sent = |name: &String| labelled.iter().any(|(label, _)| label == name);
        stored.retain(|(name, bytes)| is_sent(name) || !self.model.is_aside(bytes));
        stored.sort();
        if stored == labelled {
            return Ok(());
        }
        let stored = stored.into_iter().map(|(name, bytes)| {
            let one = BTreeMap::from([(name, bytes)]);
            summary(&one)
        });
        Err(format!(
            "the service has\n    {}\n  and should\n    {}",
            stored.collect::<Vec<_>>().join("; "),
            summary(&sent)
        ))
    }
}
