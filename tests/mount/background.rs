//! `afs mount` as people type it: in the background, with what it says, and its refusals.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use afs::emulator::Config;

use super::failing::lasting;
use super::harness::{KEY, World, eventually, is_mounted};
use super::versions::Service;

/// What every first mount of a workspace says.
const NOTICE: &str = "Everything copied here is uploaded to this key's workspace";

/// A mount whose process runs by itself; it is ended when this is dropped, however the test went.
pub(crate) struct Detached {
    path: PathBuf,
    pub(crate) pid: u32,
}

impl Detached {
    /// What was mounted at `path` in the background.
    pub(crate) fn at(path: &Path) -> Self {
        let pids = served_at(path);
        assert_eq!(pids.len(), 1, "processes that serve {}", path.display());
        Self {
            path: path.to_owned(),
            pid: pids[0],
        }
    }

    fn is_running(&self) -> bool {
        served_at(&self.path).contains(&self.pid)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = Command::new("kill")
                .args(["-9", &self.pid.to_string()])
                .status();
        }
        if is_mounted(&self.path) {
            let _ = Command::new("umount").arg("-l").arg(&self.path).output();
        }
    }
}

/// The processes whose last argument is this mount point.
fn served_at(path: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = command.split(|byte| *byte == 0).collect();
        if words.iter().any(|word| *word == b"mount")
            && words.contains(&path.as_os_str().as_encoded_bytes())
        {
            found.push(pid);
        }
    }
    found
}

/// `afs mount` with this world's directories.
pub(crate) fn mount(world: &World, options: &[&str], path: &Path) -> Command {
    let mut command = world.afs();
    command
        .args(["mount", "--state-dir"])
        .arg(world.state_root())
        .arg("--cache-dir")
        .arg(world.dir.path().join("cache"))
        .args(options)
        .arg(path);
    command
}

fn afs_unmount(word: &str, path: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_afs"))
        .arg(word)
        .arg(path)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// It failed with one sentence that says `parts`.
fn complains(output: &Output, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    assert!(!said.contains(KEY), "{said}");
}

#[test]
fn mounting_returns_when_the_mount_answers_and_unmounting_when_its_process_is_gone() {
    let world = World::new();
    world.output("f", b"content");
    let path = world.dir.path().join("new");
    for (round, word) in ["unmount", "umount"].into_iter().enumerate() {
        let mounted = mount(&world, &[], &path)
            .env("ANTHROPIC_CUSTOM_HEADERS", "x-gateway: sk-header-canary")
            .output()
            .unwrap();
        assert_eq!(mounted.status.code(), Some(0), "{}", said(&mounted));
        let detached = Detached::at(&path);
        assert_eq!(fs::read(path.join("f")).unwrap(), b"content");
        // Said once, when a workspace is mounted for the first time.
        assert_eq!(said(&mounted).contains(NOTICE), round == 0);
        assert!(mounted.stdout.is_empty());

        let proc = PathBuf::from(format!("/proc/{}", detached.pid));
        for file in ["cmdline", "environ"] {
            let shown = fs::read(proc.join(file)).unwrap();
            let shown = String::from_utf8_lossy(&shown);
            assert!(!shown.contains(KEY), "the key in /proc/PID/{file}");
            assert!(!shown.contains("canary"), "a header in /proc/PID/{file}");
        }
        assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));

        fs::write(path.join(format!("saved {round}")), "x").unwrap();
        let ended = afs_unmount(word, &path);
        assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
        assert!(!detached.is_running());
        assert!(!is_mounted(&path));
        world.stored(&format!("saved {round}"));
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the mount point it made");
}

#[test]
fn a_mount_that_cannot_be_says_why_and_leaves_nothing() {
    let world = World::with(Config {
        keys: vec![KEY.to_owned()],
        ..Config::default()
    });
    let at = |name: &str| world.dir.path().join(name);
    fs::create_dir_all(at("full/child")).unwrap();
    fs::write(at("file"), "").unwrap();
    for (point, parts) in [
        ("full", &["full is not empty"][..]),
        ("file", &["file is not a directory"]),
        ("none/m", &["the directory it should be in does not exist"]),
    ] {
        complains(&mount(&world, &[], &at(point)).output().unwrap(), parts);
    }
    let wrong_key = mount(&world, &[], &at("m"))
        .env("ANTHROPIC_API_KEY", "sk-wrong")
        .output()
        .unwrap();
    complains(&wrong_key, &["refuses the key", "ANTHROPIC_API_KEY"]);
    assert!(!said(&wrong_key).contains("sk-wrong"));
    let begun = Instant::now();
    let unreachable = mount(&world, &["--base-url", "http://127.0.0.1:1"], &at("m"))
        .output()
        .unwrap();
    complains(&unreachable, &["can't be reached", "check the network"]);
    assert!(begun.elapsed() < Duration::from_secs(10));

    assert!(!is_mounted(&at("m")));
    assert!(served_at(&at("m")).is_empty());
    let states: Vec<_> = fs::read_dir(world.state_root())
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    assert!(
        !states
            .iter()
            .any(|name| name.to_string_lossy().starts_with("ws-")),
        "{states:?}"
    );
}

#[test]
fn a_service_that_hangs_at_the_first_mount_is_given_up() {
    let world = World::new();
    world.hang(&[afs::emulator::LoggedCall::List]);
    let path = world.dir.path().join("m");
    let begun = Instant::now();
    let given_up = mount(&world, &["--timeout", "1s"], &path).output().unwrap();
    complains(&given_up, &["nothing moved for 1s"]);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!is_mounted(&path));
}

#[test]
fn a_known_workspace_mounts_without_its_server() {
    let data = tempfile::tempdir().unwrap();
    let config = lasting(data.path());
    let mut world = World::with(config.clone());
    world.output("remote", b"at the service");
    world.output("cached", b"here");
    let mounted = world.mount();
    mounted.sh("cat cached; echo mine > kept");
    mounted.unmount();
    let address = world.emulator.addr();
    let base_url = world.emulator.base_url();
    world.emulator.shutdown();

    // The world is not whole without its emulator, so its pieces are used.
    let path = world.dir.path().join("mnt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_afs"));
    command
        .env("ANTHROPIC_API_KEY", KEY)
        .env("ANTHROPIC_BASE_URL", &base_url)
        .args(["mount", "--refresh", "100ms", "--state-dir"])
        .arg(world.dir.path().join("state"))
        .arg("--cache-dir")
        .arg(world.dir.path().join("cache"))
        .arg(&path);
    let begun = Instant::now();
    let mounted = command.output().unwrap();
    assert_eq!(mounted.status.code(), Some(0), "{}", said(&mounted));
    assert!(begun.elapsed() < Duration::from_secs(5));
    let detached = Detached::at(&path);
    let mut names: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["cached", "kept", "remote"]);
    assert_eq!(fs::read(path.join("cached")).unwrap(), b"here");
    assert_eq!(fs::read(path.join("kept")).unwrap(), b"mine\n");
    fs::remove_file(path.join("cached")).unwrap();

    world.emulator = Service::start(Config {
        listen: address,
        ..config
    });
    eventually("the removal arrives", || {
        world.all_stored("cached").is_empty()
    });
    eventually("the rest can be read", || {
        fs::read(path.join("remote")).is_ok()
    });
    assert_eq!(afs_unmount("unmount", &path).status.code(), Some(0));
    assert!(!detached.is_running());
}

#[test]
fn the_demo_shows_samples_keeps_what_is_saved_and_ends_whole() {
    let world = World::new();
    let path = world.dir.path().join("demo");
    for round in 0..2 {
        let mounted = world
            .afs()
            .env_remove("ANTHROPIC_API_KEY")
            .env_remove("ANTHROPIC_BASE_URL")
            .args(["mount", "--demo"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(mounted.status.code(), Some(0), "{}", said(&mounted));
        let detached = Detached::at(&path);
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = format!("afs:demo {} fuse.afs", path.display());
        assert!(mounts.contains(&line));
        let names: Vec<_> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(names.iter().any(|name| name == "THIS IS A DEMO.txt"));
        assert_eq!(names.len(), 4 + round, "{names:?}");
        for name in &names {
            assert!(!fs::read(path.join(name)).unwrap().is_empty(), "{name}");
        }
        fs::write(path.join("mine"), "kept").unwrap();

        // One demo at a time, and that is said.
        let second = world
            .afs()
            .args(["mount", "--demo"])
            .arg(world.dir.path().join("second"))
            .output()
            .unwrap();
        complains(&second, &["demo"]);

        let ended = afs_unmount("unmount", &path);
        assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
        assert!(!detached.is_running());
    }
    assert!(world.emulator.requests().is_empty());
}
