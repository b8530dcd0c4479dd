//! What is on this machine: mounts, dead ones and stopped ones, states, and programs that look at everything.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use afs::emulator::LoggedCall;

use super::{Found, command, examined, snapshot};
use crate::harness::{World, eventually};

#[test]
fn a_mount_whose_process_was_killed_is_dead_and_one_that_is_stopped_does_not_answer() {
    let world = World::new();
    let mount = world.mount();
    mount.signal("STOP");
    let begun = Instant::now();
    let found = examined(&world);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    let (pid, path) = (mount.pid(), mount.path().display().to_string());
    found.is(
        "mount",
        "fail",
        &format!("{path} does not answer, and its process {pid} is there"),
        &format!("kill -CONT {pid}"),
    );
    mount.signal("CONT");
    eventually("it answers", || {
        examined(&world).one("mount")["level"] == "ok"
    });
    let dead = mount.kill();
    let found = examined(&world);
    found.is(
        "mount",
        "fail",
        &format!("{path} is dead"),
        &format!("afs mount {path} mends it; to take it away: fusermount3 -uz {path}"),
    );
    assert!(
        crate::harness::is_mounted(Path::new(&path)),
        "it was taken away"
    );
    // The remedy helps.
    let mended = world.mount();
    examined(&world).is("mount", "ok", &path, "");
    drop(mended);
    drop(dead);
}

#[test]
fn what_a_killed_mount_has_left_to_send_is_seen_and_stays() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back"]);
    world.hang(&[LoggedCall::Upload]);
    mount.sh("echo text > a.txt");
    examined(&world).is("pending", "ok", "1 change is on its way", "");
    let dead = mount.kill();
    let before = snapshot(&world.state_root());
    let found = examined(&world);
    found.is("pending", "warn", "with 1 to send", "afs pending");
    found.is("pending", "warn", world.state_dir().to_str().unwrap(), "");
    assert!(
        before == snapshot(&world.state_root()),
        "something was written"
    );
    fs::write(world.state_dir().join("state.db"), "this is no database").unwrap();
    fs::remove_file(world.state_dir().join("state.db-wal")).unwrap();
    examined(&world).is("pending", "fail", "can't be read", "keep a copy");
    drop(dead);
    world.emulator.clear_faults();
}

#[test]
fn a_state_in_a_mount_or_where_nobody_may_write_is_a_failure() {
    let world = World::new();
    let mount = world.mount();
    fs::write(world.dir.path().join("file"), "").unwrap();
    let of = |dir: &Path| {
        Found::by(
            &world,
            world.afs().arg("doctor").arg("--state-dir").arg(dir),
        )
    };
    of(mount.path()).is("state", "fail", "lies in a mount of afs", "--state-dir");
    of(&world.dir.path().join("file/x")).is(
        "state",
        "fail",
        "no directory that you may write to",
        "--state-dir",
    );
    // Commands work without one.
    let found = Found::by(&world, world.afs().arg("doctor").env_remove("HOME"));
    found.is("state", "warn", "there is no home directory", "--state-dir");
    found.is("cache", "warn", "there is no home directory", "--cache-dir");
    // Memory is no disk.
    of(Path::new("/dev/shm")).is("state file system", "warn", "on tmpfs", "--state-dir");
}

#[test]
fn programs_that_look_at_everything_are_warned_of_where_a_mount_is_in_their_way() {
    let world = World::new();
    let mount = world.mount();
    let at = mount.path().to_str().unwrap();
    let plant = |path: &str, text: &str| {
        let path = world.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let look = || {
        let bin = world.dir.path().join("bin").display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
        Found::by(&world, command(&world).env("PATH", path))
    };
    plant("bin/baloo_file", "#!/bin/sh\n");
    plant("bin/localsearch-3", "#!/bin/sh\n");
    plant(
        "bin/gsettings",
        &format!("#!/bin/sh\necho \"['&MUSIC', '{at}']\"\n"),
    );
    let found = look();
    found.is("baloo", "warn", at, "excludeFolders");
    found.is("localsearch", "warn", at, "index-recursive-directories");
    plant("bin/gsettings", "#!/bin/sh\necho \"['&MUSIC', '$HOME']\"\n");
    plant(
        ".config/baloofilerc",
        "[General]\nexclude folders[$e]=$HOME/mnt/\n",
    );
    let found = look();
    found.is("baloo", "ok", "no mount of", "");
    found.is("localsearch", "ok", "no mount of", "");
    // One that hangs is given up.
    plant("bin/gsettings", "#!/bin/sh\nexec sleep 600\n");
    look().is("localsearch", "ok", "is not known", "");
}
