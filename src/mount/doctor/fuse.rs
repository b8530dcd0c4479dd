//! What mounting takes: the helper program, the device, who may be let in, what the kernel can do. What they mean is decided
//! where a mount decides it, in `preflight`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::super::helper;
use super::super::preflight::{Point, Probes, Refusal, decide_device, decide_rights};
use super::super::prepare::{DEVICE, FUSE_CONF, lets_others_in, look_at_device};
use super::{Finding, LOOK, Machine};

const FUSERMOUNT: &str = "fusermount3";
const DEVICE_CHECK: &str = "device";
const OTHERS: &str = "allow-other";
const KERNEL: &str = "kernel";

/// The first Linux whose kernel reads complete files by itself, where the process may ask for it (see `fuse::lent`).
const PASSTHROUGH: (u32, u32) = (6, 9);

pub(super) fn examine(machine: &Machine) -> Vec<Finding> {
    let probes = Probes {
        point: Point::Empty,
        device: look_at_device(&machine.at(DEVICE)),
        root: machine.is_root,
        may_mount: machine.may_mount,
        fusermount: machine.fusermount.is_some(),
        allow_other: false,
        user_allow_other: lets_others_in(&machine.at(FUSE_CONF)),
    };
    vec![
        fusermount(&probes, machine.fusermount.as_deref()),
        match decide_device(&probes) {
            Ok(()) => Finding::ok(DEVICE_CHECK, format!("{DEVICE} can be opened")),
            Err(refusal) => unfit(DEVICE_CHECK, refusal),
        },
        others(&probes),
        kernel(machine),
    ]
}

fn unfit(check: &'static str, refusal: Refusal) -> Finding {
    Finding::fail(check, refusal.why, refusal.remedy.unwrap_or_default())
}

fn fusermount(probes: &Probes, program: Option<&Path>) -> Finding {
    if let Err(refusal) = decide_rights(probes) {
        return unfit(FUSERMOUNT, refusal);
    }
    let Some(program) = program else {
        return Finding::ok(
            FUSERMOUNT,
            "not there, and not needed: this process may mount",
        );
    };
    let at = program.display();
    let version = helper::output(Command::new(program).arg("--version"), LOOK);
    // "fusermount3 version: 3.14.0"
    let version = version
        .as_deref()
        .and_then(|said| said.split(' ').next_back());
    let version = version.map_or_else(String::new, |version| format!(" {version}"));
    match (is_setuid(program), probes.may_mount) {
        (true, _) => Finding::ok(FUSERMOUNT, format!("{at}{version}, setuid")),
        (false, true) => Finding::ok(
            FUSERMOUNT,
            format!("{at}{version}, not setuid, and not needed: this process may mount"),
        ),
        (false, false) => Finding::fail(
            FUSERMOUNT,
            format!("{at}{version} is not setuid root, without which it can't mount for you"),
            format!(
                "sudo chown root {at} && sudo chmod u+s {at}, or install the package fuse3 again"
            ),
        ),
    }
}

fn is_setuid(program: &Path) -> bool {
    let found = program.metadata();
    found.is_ok_and(|found| found.permissions().mode() & 0o4000 != 0 && found.uid() == 0)
}

/// For information: only who uses `--allow-other` needs it.
fn others(probes: &Probes) -> Finding {
    let found = if probes.root {
        "root can let others in with --allow-other"
    } else if probes.user_allow_other {
        "others can be let in with --allow-other (user_allow_other is in /etc/fuse.conf)"
    } else {
        "only root can let others in; to be able to: sudo sh -c 'echo user_allow_other >> /etc/fuse.conf'"
    };
    Finding::ok(OTHERS, found)
}

fn kernel(machine: &Machine) -> Finding {
    let release = std::fs::read_to_string(machine.at("/proc/sys/kernel/osrelease"));
    let release = release.unwrap_or_default();
    let release = release.trim();
    let reads = match version(release) {
        Some(version) if version < PASSTHROUGH => {
            let (major, minor) = PASSTHROUGH;
            format!(
                "reads go through afs; from {major}.{minor} on the kernel can do them by itself"
            )
        }
        _ if !machine.may_mount => {
            "reads go through afs; the kernel does them by itself (passthrough) for root only"
                .into()
        }
        Some(_) => {
            "the kernel reads downloaded files by itself (passthrough), unless --no-passthrough"
                .into()
        }
        None => "whether the kernel reads files by itself (passthrough) is not known".into(),
    };
    Finding::ok(KERNEL, format!("Linux {release}: {reads}"))
}

/// `6.9` of `6.9.3-1-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Level::{Fail, Ok as Well};
    use super::super::tests::{bare_machine, is, plant};
    use super::*;

    fn program(root: &Path, mode: u32) -> std::path::PathBuf {
        plant(
            root,
            "bin/fusermount3",
            "#!/bin/sh\necho fusermount3 version: 9.8.7\n",
        );
        let path = root.join("bin/fusermount3");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn probes(may_mount: bool, fusermount: bool) -> Probes {
        Probes {
            point: Point::Empty,
            device: look_at_device(Path::new("/dev/null")),
            root: false,
            may_mount,
            fusermount,
            allow_other: false,
            user_allow_other: false,
        }
    }

    #[test]
    fn the_helper_program_has_to_be_setuid_where_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let plain = program(dir.path(), 0o755);
        is(
            &fusermount(&probes(false, false), None),
            Fail,
            "is missing",
            "fuse3",
        );
        is(
            &fusermount(&probes(true, false), None),
            Well,
            "not needed",
            "",
        );
        let found = fusermount(&probes(false, true), Some(&plain));
        is(&found, Fail, "9.8.7 is not setuid root", "chmod u+s");
        let found = fusermount(&probes(true, true), Some(&plain));
        is(&found, Well, "9.8.7, not setuid, and not needed", "");
        let setuid = program(dir.path(), 0o4755);
        let is_roots = setuid.metadata().unwrap().uid() == 0;
        let level = if is_roots { Well } else { Fail };
        is(
            &fusermount(&probes(false, true), Some(&setuid)),
            level,
            "setuid",
            "",
        );
    }

    #[test]
    fn the_device_has_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let machine = bare_machine(dir.path());
        is(
            &examine(&machine)[1],
            Fail,
            "there is no /dev/fuse",
            "modprobe fuse",
        );
        plant(dir.path(), "dev/fuse", "");
        is(&examine(&machine)[1], Well, "can be opened", "");
    }

    #[test]
    fn who_may_let_others_in_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = bare_machine(dir.path());
        plant(dir.path(), "etc/fuse.conf", "#user_allow_other\n");
        is(
            &examine(&machine)[2],
            Well,
            "only root can let others in",
            "",
        );
        plant(
            dir.path(),
            "etc/fuse.conf",
            "mount_max = 9\nuser_allow_other\n",
        );
        is(&examine(&machine)[2], Well, "is in /etc/fuse.conf", "");
        machine.is_root = true;
        is(&examine(&machine)[2], Well, "root can let others in", "");
    }

    #[test]
    fn what_the_kernel_does_by_itself_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = bare_machine(dir.path());
        for (release, may_mount, says) in [
            (
                "6.18.44-fc-v657\n",
                true,
                "Linux 6.18.44-fc-v657: the kernel reads",
            ),
            ("6.9.0", true, "the kernel reads downloaded files"),
            ("6.18.44", false, "for root only"),
            ("6.8.12-generic", true, "from 6.9 on"),
            ("5.15", false, "from 6.9 on"),
            ("strange", true, "is not known"),
        ] {
            plant(dir.path(), "proc/sys/kernel/osrelease", release);
            machine.may_mount = may_mount;
            is(&kernel(&machine), Well, says, "");
        }
    }
}
