//! A world of its own for every test: an emulator, a throwaway directory, and mounts of the real program in it.
//!
//! Whatever a test started ends with it, also when it fails: a [`Mount`] takes its process and its mount point away when
//! it is dropped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use afs::emulator::{
    Config, FaultAction, FaultRule, LoggedCall, LoggedRequest, PlantedFile, StoredFile,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::versions::Service;

/// The key every mount uses unless it says otherwise.
pub(crate) const KEY: &str = "sk-test-canary-5f3a9c";

/// How long anything that should happen may take before the test fails. Generous: machines are slow at times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long a mount may live: a system call that hangs in it must fail its test, not hang the tests.
const LIFETIME: Duration = Duration::from_secs(240);

/// How many files are open here that a process must not be started beside. A process that is started gets a copy of every
/// open descriptor and closes it again at its exec, and each of those closes is a FLUSH: it would save another test's
/// half-written file. No lock for readers and writers: a test that opens a second file must not wait for a start that
/// waits for the first one's close.
static OPEN: Mutex<usize> = Mutex::new(0);
static CLOSED: Condvar = Condvar::new();

/// Keeps processes from being started.
pub(crate) struct NoStarts;

thread_local! {
    static FORBIDDEN_HERE: Cell<usize> = const { Cell::new(0) };
}

impl Drop for NoStarts {
    fn drop(&mut self) {
        FORBIDDEN_HERE.set(FORBIDDEN_HERE.get() - 1);
        *open_files() -= 1;
        CLOSED.notify_all();
    }
}

pub(crate) fn no_starts() -> NoStarts {
    FORBIDDEN_HERE.set(FORBIDDEN_HERE.get() + 1);
    *open_files() += 1;
    NoStarts
}

fn open_files() -> MutexGuard<'static, usize> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process.
pub(crate) fn start(command: &mut Command) -> Child {
    let is_forbidden = FORBIDDEN_HERE.get() > 0;
    assert!(!is_forbidden, "{command:?} with files open would save them");
    let child = {
        let _none_opens = CLOSED
            .wait_while(open_files(), |open| *open > 0)
            .unwrap_or_else(PoisonError::into_inner);
        command.spawn().expect("the program starts")
    };
    wait_for_exec(child.id());
    child
}

/// The parent goes on before the kernel has closed, in the new program's name, what was open here. Where that is a file of
/// a mount that hangs for another test, its FLUSH takes a while: that is not the new program's time. Until then it has no
/// command line (`proc_pid_cmdline(5)`); nor has it when it is over.
fn wait_for_exec(pid: u32) {
    let deadline = Instant::now() + LIFETIME;
    let is_under_way = || {
        let proc = Path::new("/proc").join(pid.to_string());
        let has_name = fs::read(proc.join("cmdline")).map_or(true, |words| !words.is_empty());
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        let is_over = stat
            .rsplit(") ")
            .next()
            .is_none_or(|rest| rest.starts_with('Z'));
        !has_name && !is_over
    };
    while is_under_way() && Instant::now() < deadline {
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Runs a process to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    start(command).wait_with_output().expect("waited")
}

/// An emulator and a directory. When it ends, all that was deleted in it must be accounted for (`versions`).
pub(crate) struct World {
    pub(crate) emulator: Service,
    pub(crate) dir: TempDir,
    /// What else its programs log, as `RUST_LOG` has it.
    pub(crate) logs: &'static str,
    /// What else is in their environment; it stands before what is there usually.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self {
            emulator: Service::start(config),
            dir: tempfile::Builder::new()
                .prefix("afs-test-")
                .tempdir()
                .expect("a temporary directory"),
            logs: "",
            variables: Vec::new(),
        }
    }

    /// Plants a tool's output.
    pub(crate) fn output(&self, name: &str, content: &[u8]) -> StoredFile {
        self.emulator
            .plant(PlantedFile::output(name, content))
            .expect("planted")
    }

    /// Plants an upload of somebody else: listed, never downloadable.
    pub(crate) fn foreign(&self, name: &str, content: &[u8]) -> StoredFile {
        self.emulator
            .plant(PlantedFile {
                downloadable: false,
                ..PlantedFile::output(name, content)
            })
            .expect("planted")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The one workspace's state directory.
    pub(crate) fn state_dir(&self) -> PathBuf {
        let mut found = fs::read_dir(self.state_root())
            .expect("a state directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_dir());
        let only = found.next().expect("a workspace");
        assert_eq!(found.next(), None, "a second workspace");
        only
    }

    /// Mounts with the usual options.
    pub(crate) fn mount(&self) -> Mount {
        self.mount_with(&[])
    }

    /// Mounts with `options` added; they override the usual ones where they repeat them.
    pub(crate) fn mount_with(&self, options: &[&str]) -> Mount {
        self.try_mount(options, KEY)
            .unwrap_or_else(|error| panic!("the mount did not come up: {error}"))
    }

    /// Mounts, or says what the program said.
    pub(crate) fn try_mount(&self, options: &[&str], key: &str) -> Result<Mount, String> {
        Mount::start(self, options, key)
    }

    /// The program, in this world's environment.
    pub(crate) fn afs(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afs"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("ANTHROPIC_BASE_URL", self.emulator.base_url())
            .env("ANTHROPIC_API_KEY", KEY)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if !self.logs.is_empty() {
            command.env("RUST_LOG", self.logs);
        }
        command
    }

    /// How many of each call came since the last reset.
    pub(crate) fn calls(&self) -> Calls {
        Calls::of(&self.emulator.requests())
    }

    pub(crate) fn forget_calls(&self) {
        self.emulator.reset_requests();
    }

    /// Runs `act` and returns the calls it caused by the time nothing is under way any more.
    pub(crate) fn calls_of(&self, act: impl FnOnce()) -> Calls {
        self.forget_calls();
        act();
        self.calls()
    }

    /// The one stored file of this name; fails when there is none or more.
    pub(crate) fn stored(&self, name: &str) -> StoredFile {
        let mut found = self.all_stored(name);
        assert_eq!(found.len(), 1, "files called {name}: {found:?}");
        found.remove(0)
    }

    pub(crate) fn all_stored(&self, name: &str) -> Vec<StoredFile> {
        let mut files = self.emulator.files().expect("the emulator's files");
        files.retain(|file| file.filename == name);
        files
    }

    /// The bytes the service has for the one file of this name.
    pub(crate) fn stored_bytes(&self, name: &str) -> Vec<u8> {
        self.emulator
            .content(&self.stored(name).id)
            .expect("readable")
            .expect("there")
    }

    /// Says that the user removes files of this name from now on and may make new ones after: see `versions`.
    pub(crate) fn removes(&self, name: &str) {
        self.emulator.removes(name);
    }

    /// From now on, every `call` is held until the faults change.
    pub(crate) fn hang(&self, calls: &[LoggedCall]) {
        let rules = calls.iter().map(|call| FaultRule {
            call: Some(*call),
            ..FaultRule::new(FaultAction::Stall)
        });
        self.emulator.set_faults(rules.collect());
    }
}

/// Counts of calls; compare with `Calls { list: 1, ..Calls::NONE }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) upload: usize,
    pub(crate) list: usize,
    pub(crate) metadata: usize,
    pub(crate) content: usize,
    pub(crate) delete: usize,
}

impl Calls {
    pub(crate) const NONE: Self = Self {
        upload: 0,
        list: 0,
        metadata: 0,
        content: 0,
        delete: 0,
    };

    pub(crate) fn of(requests: &[LoggedRequest]) -> Self {
        let count = |call| {
            requests
                .iter()
                .filter(|request| request.call == call)
                .count()
        };
        Self {
            upload: count(LoggedCall::Upload),
            list: count(LoggedCall::List),
            metadata: count(LoggedCall::Metadata),
            content: count(LoggedCall::Content),
            delete: count(LoggedCall::Delete),
        }
    }

    /// The same without lists: those of the background are allowed at any time.
    pub(crate) fn but_lists(self) -> Self {
        Self { list: 0, ..self }
    }
}

/// A running mount.
pub(crate) struct Mount {
    child: Option<Child>,
    path: PathBuf,
    log: PathBuf,
    /// Whether a dead mount is meant to stay.
    is_left: bool,
    /// How long it took until the mount answered.
    took: Duration,
    /// Dropped with the mount, which calls the watchdog off.
    _watched: mpsc::Sender<()>,
}

/// A mount whose process was killed. Keep it until the test's end: dropped, it takes away what nobody healed.
#[must_use]
pub(crate) struct Dead(PathBuf);

impl Drop for Dead {
    fn drop(&mut self) {
        detach(&self.0);
    }
}

impl Mount {
    fn start(world: &World, options: &[&str], key: &str) -> Result<Self, String> {
        let path = world.dir.path().join("mnt");
        let log = world.dir.path().join("stderr.log");
        let errors = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let mut command = world.afs();
        command
            .env("ANTHROPIC_API_KEY", key)
            .args(["mount", "--foreground", "-v"])
            .arg("--state-dir")
            .arg(world.state_root())
            .arg("--cache-dir")
            .arg(world.dir.path().join("cache"))
            .args(options)
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            // A Ctrl-C at the tests ends the mount through its harness, not behind its back.
            .process_group(0);
        let mut child = start(&mut command);
        let started = Instant::now();
        let output = child.stdout.take().expect("piped");
        let mut mount = Self {
            _watched: watchdog(child.id()),
            child: Some(child),
            path,
            log,
            is_left: false,
            took: Duration::ZERO,
        };
        let (said, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = said.send(line);
        });
        match heard.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("mounted on") => {
                mount.took = started.elapsed();
                Ok(mount)
            }
            _ => {
                mount.end();
                Err(mount.log())
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// How long it took from the start of the process until the mount answered.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// All the program has said on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The names in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.path)
            .expect("listed")
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.into_string().expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }

    /// Runs a shell line in it; it must succeed. Its standard output.
    pub(crate) fn sh(&self, line: &str) -> String {
        let output = self.try_sh(line);
        assert!(
            output.status.success(),
            "{line}: {}{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a shell line in it, killed when it takes longer than [`PATIENCE`].
    pub(crate) fn try_sh(&self, line: &str) -> Output {
        output(
            Command::new("timeout")
                .args(["-k", "1"])
                .arg(PATIENCE.as_secs().to_string())
                .args(["bash", "-c", line])
                .current_dir(&self.path)
                .env("LC_ALL", "C.UTF-8"),
        )
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        let signal: Signal = format!("SIG{name}").parse().expect("a signal");
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("signalled");
    }

    /// `kill -9` of the process; the mount point is left dead, for the next mount to heal.
    pub(crate) fn kill(mut self) -> Dead {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.is_left = true;
        Dead(self.path.clone())
    }

    /// Unmounts as users do, and waits for the process.
    pub(crate) fn unmount(mut self) {
        let unmount = output(
            Command::new(env!("CARGO_BIN_EXE_afs"))
                .arg("unmount")
                .arg(&self.path),
        );
        let said = String::from_utf8_lossy(&unmount.stderr);
        assert!(
            unmount.status.success(),
            "afs unmount failed: {said}{}",
            self.log()
        );
        let mut child = self.child.take().expect("running");
        assert!(wait_for_exit(&mut child), "the process is still there");
    }

    /// Waits until the process has ended by itself; its exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let mut child = self.child.take().expect("running");
        assert!(wait_for_exit(&mut child), "the process is still there");
        child.wait().expect("waited").code()
    }

    fn end(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        if !wait_for_exit(&mut child) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.end();
        if !self.is_left {
            // Killed by a failed test.
            detach(&self.path);
        }
        if thread::panicking() {
            eprintln!("--- the mount said:\n{}", self.log());
        }
    }
}

fn detach(path: &Path) {
    if is_mounted(path) {
        output(Command::new("umount").arg("-l").arg(path));
    }
}

/// Kills a mount's process when it outlives [`LIFETIME`]: whoever hangs in a system call there gets an error then.
fn watchdog(pid: u32) -> mpsc::Sender<()> {
    let (watched, end) = mpsc::channel();
    thread::spawn(move || {
        if end.recv_timeout(LIFETIME) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a mount outlived {LIFETIME:?}: killing process {pid}");
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    });
    watched
}

pub(crate) fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == path.to_str())
}

fn wait_for_exit(child: &mut Child) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return true;
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    false
}

/// Waits until `condition` holds; fails with `what` when it does not within [`PATIENCE`].
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// A number from the environment, for the scripts that ask for more.
pub(crate) fn asked<T: std::str::FromStr>(variable: &str, otherwise: T) -> T {
    std::env::var(variable).map_or(otherwise, |text| {
        let number = text.parse().ok();
        number.unwrap_or_else(|| panic!("{variable} is no number: {text}"))
    })
}

/// Runs `act` on a thread of its own and fails when it is not done within `limit`: a hung mount must fail a test, not
/// hang it.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(act());
    });
    result
        .recv_timeout(limit)
        .unwrap_or_else(|_| panic!("{what} took longer than {limit:?}"))
}

/// The errno of a failed call.
pub(crate) fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result
        .expect_err("it should have failed")
        .raw_os_error()
        .expect("an errno")
}

/// Bytes that differ everywhere: a shifted or repeated block shows.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as u8)
        .collect()
}

/// Files by name with their bytes, as a directory shows them.
pub(crate) fn contents(mount: &Mount) -> BTreeMap<String, Vec<u8>> {
    mount
        .names()
        .into_iter()
        .map(|name| {
            let bytes = fs::read(mount.at(&name)).expect("readable");
            (name, bytes)
        })
        .collect()
}
