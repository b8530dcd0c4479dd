//! Too little room on the local disk: no new content is taken in, everything else goes on, and when there is room again
//! so does writing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::harness::{Calls, World, errno, eventually, no_starts, pattern};
use super::surface::{On, Setup, on_both};

/// More than any disk has.
const TOO_MUCH: u64 = 1_000_000 << 30;

on_both! {
    without_room_nothing_is_written_and_everything_else_works
}

fn without_room_nothing_is_written_and_everything_else_works(on: On) {
    let world = World::new();
    world.output("output", b"made by a tool");
    world.output("empty", b"");
    let fs = on.start(&world);
    fs.put("small", b"here").unwrap();
    fs.put("large", &pattern(300_000)).unwrap();
    fs.put("removed", b"here").unwrap();
    fs.end();
    let setup = Setup {
        min_free: Some(TOO_MUCH),
        ..Setup::default()
    };
    let fs = on.start_with(&world, setup);
    world.forget_calls();
    assert_eq!(fs.put("new", b"x"), Err(libc::ENOSPC));
    for name in ["small", "large", "output"] {
        assert_eq!(fs.put(name, b"x"), Err(libc::ENOSPC), "{name}");
        assert_eq!(fs.append(name, b"x"), Err(libc::ENOSPC), "{name}");
        assert_eq!(fs.truncate(name, 0), Err(libc::ENOSPC), "{name}");
        assert_eq!(fs.truncate(name, 2), Err(libc::ENOSPC), "{name}");
        assert_eq!(fs.truncate(name, 1_000_000), Err(libc::ENOSPC), "{name}");
    }
    assert_eq!(fs.put("empty", b"x"), Err(libc::ENOSPC));
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            content: 1,
            ..Calls::NONE
        },
        "what is changed in a part is fetched first, and nothing else is asked for"
    );
    assert_eq!(fs.names(), ["empty", "large", "output", "removed", "small"]);
    assert_eq!(fs.get("small").unwrap(), b"here");
    assert_eq!(fs.get("large").unwrap(), pattern(300_000));
    assert_eq!(fs.get("output").unwrap(), b"made by a tool");
    assert_eq!(fs.get("empty").unwrap(), b"");
    // A name is no content.
    fs.unlink("removed").unwrap();
    fs.rename("small", "renamed", 0).unwrap();
    fs.end();
    assert_eq!(world.stored_bytes("renamed"), b"here");
    assert_eq!(world.stored_bytes("large"), pattern(300_000));
    assert_eq!(world.stored_bytes("output"), b"made by a tool");
    for name in ["small", "removed", "new"] {
        assert!(world.all_stored(name).is_empty(), "{name}");
    }
}

/// A file system of its own, of this size.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=700"),
                "tmpfs",
            ])
            .arg(path)
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting a tmpfs takes root");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_fills_up_and_is_emptied_again() {
    let world = World::new();
    let disk = SmallDisk::at(&world.state_root(), "64m");
    let filler = disk.0.join("filler");
    let mount = world.mount_with(&["--min-free", "32M", "--refresh", "1h"]);
    mount.sh("echo old > kept; echo x > removed");
    let mut draft = fs::File::create(mount.at("draft")).unwrap();
    draft.write_all(&pattern(2_000_000)).unwrap();
    world.forget_calls();

    fs::write(&filler, vec![0; 40 << 20]).unwrap();
    eventually("it is full", || draft.write_all(b"x").is_err());
    let error = errno(draft.write_all(b"x"));
    assert_eq!(error, libc::ENOSPC);
    assert_eq!(errno(fs::write(mount.at("kept"), "new")), libc::ENOSPC);
    assert_eq!(errno(fs::write(mount.at("new"), "new")), libc::ENOSPC);
    assert_eq!(world.calls(), Calls::NONE);
    assert_eq!(mount.sh("cat kept; rm removed; ls"), "old\ndraft\nkept\n");
    let log = mount.log();
    let said = log
        .lines()
        .filter(|line| line.contains("writing is refused"));
    assert_eq!(said.count(), 1, "{log}");
    assert!(log.contains("--min-free"), "{log}");

    fs::remove_file(&filler).unwrap();
    let written = draft.metadata().unwrap().len();
    eventually("there is room", || draft.write_all(b"y").is_ok());
    drop(draft);
    mount.sh("echo new > kept");
    assert!(
        mount.log().contains("there is room again"),
        "{}",
        mount.log()
    );
    assert_eq!(world.stored("draft").size_bytes, written + 1);
    assert_eq!(world.stored_bytes("draft")[..2_000_000], pattern(2_000_000));
    mount.unmount();
    assert_eq!(world.stored_bytes("kept"), b"new\n");
    assert!(world.all_stored("new").is_empty());
    assert!(world.all_stored("removed").is_empty());
}

/// What could be written has the name, as on any disk that is full; what was there is not deleted for it.
#[test]
fn a_replacement_in_whose_middle_the_disk_is_full_deletes_nothing() {
    let world = World::new();
    let old = world.foreign("report.md", b"the only copy in the world");
    let disk = SmallDisk::at(&world.state_root(), "64m");
    let filler = disk.0.join("filler");
    let mount = world.mount_with(&["--min-free", "32M", "--refresh", "0s"]);
    let nothing_starts = no_starts();
    let mut draft = fs::File::create(mount.at("report.md")).unwrap();
    draft.write_all(&pattern(100_000)).unwrap();
    fs::write(&filler, vec![0; 40 << 20]).unwrap();
    eventually("it is full", || draft.write_all(b"x").is_err());
    let written = draft.metadata().unwrap().len();
    drop(draft);
    drop(nothing_starts);
    mount.unmount();
    let stored = world.all_stored("report.md");
    assert_eq!(stored.len(), 2);
    let kept = world.emulator.content(&old.id).unwrap();
    assert_eq!(kept.as_deref(), Some(&b"the only copy in the world"[..]));
    assert!(stored.iter().any(|file| file.size_bytes == written));
}
