//! A mount that a service manager runs (systemd, `Type=notify`): what it is told, and who tells it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::background::{self, Detached};
use super::harness::{self, PATIENCE, World, eventually, within};
use super::hung::held;
use super::logs::Listener;

/// A world whose programs find a service manager in their environment.
fn supervised() -> (World, Listener) {
    let mut world = World::new();
    let socket = world.dir.path().join("notify");
    let manager = Listener::at(&socket);
    world.variables = vec![("NOTIFY_SOCKET", socket.display().to_string())];
    (world, manager)
}

#[test]
fn a_service_manager_hears_when_the_mount_answers_how_it_is_and_that_it_ends() {
    let (world, manager) = supervised();
    // More than a page.
    world.emulator.bulk(1001, "f", 1, true).unwrap();
    let path = world.dir.path().join("mnt");
    let at = format!("mounted on {}", path.display());
    let mount = thread::scope(|scope| {
        let mounting = scope.spawn(|| world.mount_with(&["--write-back"]));
        let ready = manager.hears(&["READY=1\n"]);
        // Not a moment before it does.
        let looked = path.clone();
        let names = within(PATIENCE, "a look into it", move || {
            fs::read_dir(looked).unwrap().count()
        });
        assert_eq!(names, 1001);
        assert_eq!(ready, format!("READY=1\nSTATUS={at}; everything saved\n"));
        mounting.join().unwrap()
    });
    assert_eq!(
        manager.heard()[0],
        "EXTEND_TIMEOUT_USEC=180000000\nSTATUS=listing the workspace: 1000 files\n"
    );

    world.hang(&[LoggedCall::Upload]);
    fs::write(mount.at("a"), "x").unwrap();
    eventually("it waits at the server", || {
        held(&world, LoggedCall::Upload) == 1
    });
    manager.hears(&[&format!("STATUS={at}; 1 change pending\n")]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    fs::write(mount.at("b"), "x").unwrap();
    manager.hears(&[&format!(
        "STATUS={at}; 1 change pending, 1 could not be sent yet: see afs pending\n"
    )]);
    world.emulator.clear_faults();
    let flushed = world.afs().arg("flush").arg(mount.path()).output().unwrap();
    assert!(flushed.status.success(), "{flushed:?}");
    let before = manager.heard().len();
    eventually("it is saved", || {
        manager.heard()[before - 1..].contains(&format!("STATUS={at}; everything saved\n"))
    });

    world.hang(&[LoggedCall::Upload]);
    fs::write(mount.at("c"), "x").unwrap();
    eventually("it waits at the server", || {
        held(&world, LoggedCall::Upload) == 1
    });
    mount.signal("TERM");
    let stopping = manager.hears(&["STOPPING=1\n"]);
    let place = path.display();
    assert_eq!(
        stopping,
        format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC=28000000\nSTATUS=unmounting {place}; 1 change pending\n"
        )
    );
    world.emulator.clear_faults();
    assert_eq!(mount.wait(), Some(0));
    let heard = manager.heard();
    let ready = heard.iter().filter(|text| text.contains("READY=1"));
    assert_eq!(ready.count(), 1, "{heard:?}");
    let after = heard.iter().skip_while(|text| **text != stopping);
    assert!(
        !after.skip(1).any(|text| text.contains("mounted on")),
        "{heard:?}"
    );
}

#[test]
fn an_unmount_is_an_end_too() {
    let (world, manager) = supervised();
    let mount = world.mount();
    mount.unmount();
    manager.hears(&["STOPPING=1\n", "; everything saved\n"]);
}

/// Somebody's service starts a mount that stays when the service ends: it is not that service.
#[test]
fn a_mount_in_the_background_speaks_to_nobodys_service_manager() {
    let (world, manager) = supervised();
    let path = world.dir.path().join("m");
    let mounted = background::mount(&world, &[], &path).output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let _detached = Detached::at(&path);
    fs::write(path.join("f"), "x").unwrap();
    let ended = world.afs().arg("unmount").arg(&path).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(manager.heard(), [""; 0]);
}

/// A dead mount is looked at with `stat`, which is no part of the service. The one that is found first here writes down
/// what it is told.
#[test]
fn what_a_mount_starts_is_not_told_of_the_service_manager() {
    for (options, speaks) in [(&["--foreground"][..], 1), (&[], 0)] {
        let (mut world, manager) = supervised();
        world.output("f", b"content");
        let seen = world.dir.path().join("seen");
        let mount = world.mount();
        let path = mount.path().to_owned();
        manager.hears(&["READY=1"]);
        let _dead = mount.kill();
        let search = std::env::var("PATH").unwrap();
        let found = format!("{}:{search}", with_stat(&world, &seen).display());
        world.variables.push(("PATH", found));
        let mut mounting = background::mount(&world, options, &path);
        let mut child = harness::start(mounting.stdin(Stdio::null()).stdout(Stdio::null()));
        eventually("it is mounted again", || path.join("f").exists());
        if options.is_empty() {
            // Who starts it ends a moment after.
            child.wait().unwrap();
        }
        let detached = Detached::at(&path);
        let told = fs::read_to_string(&seen).unwrap();
        assert!(
            told.contains("PATH=") && !told.contains("NOTIFY_SOCKET"),
            "{options:?}: {told}"
        );
        let ready = || {
            let heard = manager.heard();
            heard.iter().filter(|text| text.contains("READY=1")).count()
        };
        eventually("it has spoken for itself", || ready() == 1 + speaks);
        drop(detached);
        child.wait().unwrap();
    }
}

/// A directory with a `stat` that takes every mount for a dead one.
fn with_stat(world: &World, seen: &Path) -> PathBuf {
    let programs = world.dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\nenv > '{}'\necho 'not connected' >&2\nexit 1\n",
        seen.display()
    );
    let stat = programs.join("stat");
    fs::write(&stat, script).unwrap();
    fs::set_permissions(&stat, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}
