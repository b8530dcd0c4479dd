//! Where a mount's log lines go: a file that does not grow for ever, the system's log, the journal.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::background::{self, Detached};
use super::harness::{Mount, World, eventually};
use super::hung::close_of;

/// Who listens at a socket of datagrams: a log daemon, a service manager. Its socket stays when it ends, as sockets do.
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        // Short: it is how long its end takes.
        let wait = Duration::from_millis(20);
        socket.set_read_timeout(Some(wait)).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (into, ends) = (Arc::clone(&heard), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let mut datagram = vec![0; 64 * 1024];
            while !ends.load(Ordering::Relaxed) {
                if let Ok(length) = socket.recv(&mut datagram) {
                    let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
                    into.lock().unwrap().push(text);
                }
            }
        });
        Self {
            heard,
            is_over,
            thread: Some(thread),
        }
    }

    /// All it has heard, oldest first.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits for a datagram that has all `parts` in it.
    pub(crate) fn hears(&self, parts: &[&str]) -> String {
        let mut found = None;
        eventually(&format!("{parts:?} is heard"), || {
            let all_in = |text: &String| parts.iter().all(|part| text.contains(part));
            found = self.heard().into_iter().find(all_in);
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The log file and those that were put aside, newest first.
fn files(log: &Path) -> Vec<PathBuf> {
    let aside = (1..=9).map(|number| PathBuf::from(format!("{}.{number}", log.display())));
    let all = [log.to_owned()].into_iter().chain(aside);
    all.filter(|path| path.exists()).collect()
}

fn refuse_uploads(world: &World) {
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
}

/// Has the mount say something of a file.
fn save(mount: &Path, name: &str) {
    fs::write(mount.join(name), name).unwrap();
}

#[test]
fn a_log_file_is_put_aside_at_its_size_and_five_are_kept() {
    let world = World::new();
    let log = world.dir.path().join("afs.log");
    fs::write(&log, "from before\n").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
    let path = world.dir.path().join("m");
    let options = [
        "--log-file",
        log.to_str().unwrap(),
        "--log-size",
        "500",
        "-v",
    ];
    let mounted = background::mount(&world, &options, &path).output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let detached = Detached::at(&path);
    save(&path, "first");
    let text: String = files(&log)
        .iter()
        .rev()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert!(text.starts_with("from before\n"), "{text}");
    assert!(text.contains("first is saved as"), "{text}");
    for number in 0..60 {
        save(&path, &format!("file {number:02}"));
    }
    let found = files(&log);
    assert_eq!(found.len(), 6, "{found:?}");
    let mut saved = Vec::new();
    for file in found.iter().rev() {
        let about = fs::metadata(file).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{file:?}");
        assert!(about.len() <= 500, "{file:?}: {}", about.len());
        let text = fs::read_to_string(file).unwrap();
        assert!(text.ends_with('\n') && text.starts_with('['), "{text}");
        let named = text.lines().filter_map(|line| {
            let (before, _) = line.split_once(" is saved as")?;
            before.rsplit_once("file ")?.1.parse::<usize>().ok()
        });
        saved.extend(named);
    }
    // The last lines, all of them.
    let expected: Vec<usize> = (60 - saved.len()..60).collect();
    assert_eq!(saved, expected);
    assert!(saved.len() > 5 && saved.len() < 60);
    // What the process says without its logger goes where its lines go.
    let outputs = [1, 2].map(|number| fs::read_link(format!("/proc/{}/fd/{number}", detached.pid)));
    for output in outputs {
        // Nobody but root looks into a process that knows a key.
        let is_root = nix::unistd::geteuid().is_root();
        assert_eq!(output.ok(), is_root.then(|| log.clone()));
    }
    let ended = world.afs().arg("unmount").arg(&path).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn the_systems_log_gets_each_line_with_its_priority() {
    let world = World::new();
    let socket = world.dir.path().join("log");
    let daemon = Listener::at(&socket);
    let mount = world.mount_with(&[&format!("--syslog={}", socket.display())]);
    let me = format!("afs[{}]: afs::", mount.pid());
    save(mount.path(), "fine");
    let line = daemon.hears(&["fine is saved as"]);
    assert!(line.starts_with("<30>") && line.contains(&me), "{line}");
    let time = &line["<30>".len()..][..15];
    let now = jiff::Zoned::now();
    assert!(time.starts_with(&now.strftime("%b ").to_string()), "{time}");
    refuse_uploads(&world);
    assert_eq!(close_of(mount.at("refused"), b"x"), Err(libc::EACCES));
    let line = daemon.hears(&["refused: "]);
    assert!(line.starts_with("<28>") && line.contains(&me), "{line}");
    assert!(!line.contains('\n'), "{line:?}");
    assert!(!mount.log().contains("saved as"), "{}", mount.log());
}

/// Its daemon ends, its socket goes, another daemon starts; one that takes nothing any more.
#[test]
fn a_mount_goes_on_whatever_becomes_of_the_log_daemon() {
    let world = World::new();
    let socket = world.dir.path().join("log");
    let daemon = Listener::at(&socket);
    let mount = world.mount_with(&[&format!("--syslog={}", socket.display())]);
    save(mount.path(), "one");
    daemon.hears(&["one is saved as"]);
    drop(daemon);
    save(mount.path(), "two");
    fs::remove_file(&socket).unwrap();
    save(mount.path(), "three");
    let daemon = Listener::at(&socket);
    save(mount.path(), "four");
    daemon.hears(&["lines before this one did not reach the log"]);
    daemon.hears(&["four is saved as"]);
    drop(daemon);
    fs::remove_file(&socket).unwrap();

    let _hangs = UnixDatagram::bind(&socket).unwrap();
    let begun = Instant::now();
    for number in 0..30 {
        save(mount.path(), &format!("f{number}"));
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(world.stored_bytes("f29"), b"f29");
    mount.unmount();
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let mut world = World::new();
    let stderr = world.dir.path().join("stderr.log");
    fs::write(&stderr, "").unwrap();
    let about = fs::metadata(&stderr).unwrap();
    let lines_of = |mount: &Mount, name: &str| {
        save(mount.path(), name);
        let said = mount.log();
        let line = said
            .lines()
            .find(|line| line.contains(&format!("{name} is saved as")));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    // A process may have been started by one in the journal, and write to another place.
    let elsewhere = format!("{}:{}", about.dev(), about.ino() + 1);
    world.variables = vec![("JOURNAL_STREAM", elsewhere)];
    let mount = world.mount();
    let line = lines_of(&mount, "a");
    assert!(line.starts_with("[2"), "{line}");
    mount.unmount();

    world.variables = vec![("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()))];
    let mount = world.mount();
    let line = lines_of(&mount, "b");
    assert!(
        line.starts_with("<6>afs::uploader: b is saved as"),
        "{line}"
    );
    refuse_uploads(&world);
    assert_eq!(close_of(mount.at("refused"), b"x"), Err(libc::EACCES));
    let said = mount.log();
    assert!(
        said.lines()
            .any(|line| line.starts_with("<4>afs::") && line.contains("refused: ")),
        "{said}"
    );
}
