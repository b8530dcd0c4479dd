//! Mounts in the foreground and in the background: their logs, what they keep, and what they answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::{HEADER, Texts, command, talkative};
use crate::background::{self, Detached};
use crate::harness::{KEY, World, eventually, is_mounted};
use crate::logs::Listener;

/// From now on the key is no good.
fn refuse_the_key(world: &World) {
    let refused = FaultAnswer::status(401);
    world
        .emulator
        .set_faults(vec![FaultRule::new(FaultAction::Status(refused))]);
}

/// A shell line in a directory.
fn sh(directory: &Path, line: &str) -> Output {
    let mut shell = Command::new("timeout");
    shell
        .args(["20", "bash", "-c", line])
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8");
    shell.output().expect("it ran")
}

/// Everything that people do, the key being refused in the middle of it; what they saw.
fn use_it(world: &World, path: &Path, texts: &mut Texts) {
    let before = sh(
        path,
        "echo kept > kept && echo changed > kept && touch empty && cat output.csv",
    );
    assert!(before.status.success(), "{before:?}");
    texts.add_output("a shell that works", &before);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(401)))
    }]);
    let refused = sh(path, "cp kept lost; cat lost; ls -la");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("Permission denied"), "{said}");
    texts.add_output("a shell whose key is refused", &refused);
    texts.add_answer(command(world, "status", &["--json"], path));
    texts.add_answer(command(world, "status", &[], path));
    texts.add_answer(command(world, "pending", &["--json"], path));
    texts.add_answer(command(world, "pending", &[], path));
    let flushed = command(world, "flush", &[], path).output().unwrap();
    assert!(!flushed.status.success() && !flushed.stderr.is_empty());
    texts.add_output("flush", &flushed);
    world.emulator.clear_faults();

    let xattrs = sh(path, "getfattr -d -m - -- * .afs/by-id/* 2>&1");
    texts.add_output("xattrs", &xattrs);
    assert!(texts.of("xattrs").contains("user.afs.id"), "{xattrs:?}");
    add_view(texts, path);
}

/// Every file below `.afs`, which is not listed; its links lead to files of the mount.
fn add_view(texts: &mut Texts, path: &Path) {
    let mut paths = Vec::new();
    super::below(&path.join(".afs"), &mut paths);
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        if path.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            texts.add(path.display().to_string(), target.display().to_string());
        }
        if path.is_file() {
            // What only the service has, and does not give, cannot be read.
            let bytes = fs::read(&path).unwrap_or_default();
            texts.add(path.display().to_string(), bytes);
        }
    }
    assert!(texts.of("status.json").contains("kept_bytes"));
}

/// What the system shows of a process.
fn add_process(texts: &mut Texts, pid: u32) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    for file in ["cmdline", "environ", "comm", "status", "maps"] {
        texts.add(file, fs::read(process.join(file)).unwrap());
    }
    let limits = fs::read_to_string(process.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.contains("core file size"));
    let words: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{limits}");
}

/// What it keeps; nobody else may look at it.
fn add_what_is_kept(texts: &mut Texts, world: &World) {
    let before = texts.0.len();
    texts.add_private(&world.state_root());
    texts.add_private(&world.dir.path().join("cache"));
    assert!(texts.of("state.db").starts_with("SQLite format 3"));
    assert!(texts.0.len() > before + 3);
}

#[test]
fn no_secret_is_in_what_a_mount_in_the_foreground_says_keeps_or_shows() {
    let world = talkative();
    let mount = world.mount_with(&["--xattr"]);
    let mut texts = Texts::default();
    use_it(&world, mount.path(), &mut texts);
    add_process(&mut texts, mount.pid());
    add_what_is_kept(&mut texts, &world);
    let requests = format!("{:?}", world.emulator.requests());
    texts.add("the emulator's requests", requests);
    mount.unmount();
    let log = fs::read(world.dir.path().join("stderr.log")).unwrap();
    texts.add("the log", log);
    assert!(texts.of("the log").contains("TRACE"));
    texts.tell_nothing(25);
}

/// It starts with a umask that keeps nothing from anybody.
#[test]
fn no_secret_is_in_what_a_mount_in_the_background_says_keeps_or_shows() {
    let world = talkative();
    let path = world.dir.path().join("m");
    let log = world.dir.path().join("afs.log");
    let log_option = ["--log-file", log.to_str().unwrap(), "--xattr", "-vv"];
    let mounting = background::mount(&world, &log_option, &path);
    let mut careless = Command::new("sh");
    careless
        .args(["-c", "umask 0; exec \"$@\"", "sh"])
        .arg(mounting.get_program())
        .args(mounting.get_args())
        .env_clear()
        .envs(
            mounting
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let mounted = careless.output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let detached = Detached::at(&path);
    let mut texts = Texts::default();
    texts.add_output("mounting", &mounted);
    use_it(&world, &path, &mut texts);
    add_process(&mut texts, detached.pid);
    add_what_is_kept(&mut texts, &world);
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "the root of the mount");
    let ended = command(&world, "unmount", &[], &path).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    texts.add_output("unmounting", &ended);
    texts.add_private(&log);
    assert!(texts.of("afs.log").contains("TRACE"));
    texts.tell_nothing(25);
}

/// What it says to daemons of the system: every line it logs, and how it is.
#[test]
fn no_secret_is_in_what_a_mount_tells_the_log_and_the_service_manager() {
    let mut world = talkative();
    let (log, notify) = (
        world.dir.path().join("log"),
        world.dir.path().join("notify"),
    );
    let (daemon, manager) = (Listener::at(&log), Listener::at(&notify));
    let address = notify.display().to_string();
    world.variables.push(("NOTIFY_SOCKET", address));
    let mut texts = Texts::default();
    let mount = world.mount_with(&[&format!("--syslog={}", log.display()), "--xattr"]);
    use_it(&world, mount.path(), &mut texts);
    refuse_the_key(&world);
    let seen = mount.try_sh("ls -la .afs; echo x > f; rm -f kept");
    texts.add_output("a shell", &seen);
    mount.unmount();
    daemon.hears(&["401"]);
    daemon.hears(&["<31>"]);
    manager.hears(&["STOPPING=1"]);
    texts.add("the system's log", daemon.heard().join("\n"));
    texts.add("the service manager", manager.heard().join("\n"));
    texts.tell_nothing(10);
}

/// In either way of mounting, a refused key is one sentence, and the sentence does not repeat it.
#[test]
fn no_secret_is_in_the_words_of_a_key_that_is_refused_at_once() {
    let world = talkative();
    refuse_the_key(&world);
    let mut texts = Texts::default();
    for options in [
        &["--foreground"][..],
        &[],
        &["--foreground", "-vv"],
        &["-vv"],
    ] {
        let path = world.dir.path().join("m");
        let refused = background::mount(&world, options, &path).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let what = format!("mounting with {options:?}");
        texts.add_output(&what, &refused);
        assert!(texts.of(&what).contains("refuses the key"));
        assert!(!is_mounted(&path));
    }
    texts.tell_nothing(4);
}

/// A token stands where a key does; a mount's own words name neither.
#[test]
fn no_secret_is_in_what_is_said_of_a_key_that_is_refused_later() {
    let world = talkative();
    let mount = world.mount_with(&["--refresh", "0s"]);
    refuse_the_key(&world);
    let mut texts = Texts::default();
    let seen = mount.try_sh("ls -la; echo x > f; rm -f f");
    texts.add_output("a shell", &seen);
    eventually("it is said", || mount.log().contains("401"));
    texts.add_answer(command(&world, "status", &[], mount.path()));
    texts.add("the log", mount.log());
    texts.tell_nothing(3);
}

/// A program that crashes leaves its memory in a file, where the machine is set up so: this one does not. The shell that
/// raises the limit shows that it is the mount which lowers it.
#[test]
fn a_mount_that_crashes_leaves_no_core_file() {
    let world = World::new();
    let path = world.dir.path().join("m");
    let mounting = background::mount(&world, &[], &path);
    let mut generous = Command::new("bash");
    generous
        .args([
            "-c",
            "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$@\"",
            "bash",
        ])
        .arg(mounting.get_program())
        .args(mounting.get_args())
        .arg("--foreground")
        .current_dir(world.dir.path())
        .env_clear()
        .envs(
            mounting
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let mut child = crate::harness::start(&mut generous);
    eventually("it is mounted", || is_mounted(&path));
    let detached = Detached::at(&path);
    let signal = nix::sys::signal::Signal::SIGABRT;
    let pid = nix::unistd::Pid::from_raw(detached.pid.cast_signed());
    nix::sys::signal::kill(pid, signal).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(signal as i32), "{status}");
    assert!(!status.core_dumped(), "{status}");
    drop(detached);
    let left = fs::read_dir(world.dir.path()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let is_core = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("core");
    assert!(!names.iter().any(is_core), "{names:?}");
}

/// The header is a secret as the key is, and both reach the service: else nothing here would be a test.
#[test]
fn the_secrets_that_are_searched_for_are_the_ones_in_use() {
    let mut world = talkative();
    let tap = crate::wiretap::Wiretap::before(world.emulator.addr());
    world.variables.push(("ANTHROPIC_BASE_URL", tap.url()));
    let mount = world.mount();
    mount.sh("echo x > f");
    let heard = tap.heard();
    assert!(heard.contains(&format!("x-api-key: {KEY}")), "{heard}");
    assert!(heard.contains(&format!("x-gateway: {HEADER}")), "{heard}");
    assert!(super::told(heard.as_bytes()).is_some());
}
