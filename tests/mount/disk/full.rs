//! A disk that is really full: the program's state on a small file system of its own.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Mount, World, eventually, pattern};

/// A file system of a few megabytes.
struct Small(PathBuf);

impl Small {
    fn mount(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        let small = Self(path.to_owned());
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(mounted.success(), "these tests need to mount");
        small
    }

    /// Takes what room there is; gives it back when the file is removed.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("junk");
        let mut junk = fs::File::create(&path).unwrap();
        for size in [1 << 16, 1] {
            while junk.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The mount of ours may still have its state there when a test fails.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// What `cp` does: the first error of its open, its writes or its close.
fn save(mount: &Mount, name: &str, content: &[u8]) -> Result<(), i32> {
    let errno = |error: std::io::Error| error.raw_os_error().unwrap();
    let mut file = fs::File::create(mount.at(name)).map_err(errno)?;
    let written = file.write_all(content).map_err(errno);
    let closed = nix::unistd::close(file).map_err(|errno| errno as i32);
    written.and(closed)
}

#[test]
fn a_mount_whose_disk_is_full_says_so_serves_on_and_saves_when_there_is_room() {
    let world = World::new();
    let small = Small::mount(&world.state_root());
    let mount = world.mount_with(&["--no-trash"]);
    mount.sh("echo before > kept; echo old > replaced");

    // More than there is room for: told at a write or at the close, and the room is given back.
    let large = pattern(16 << 20);
    assert_eq!(save(&mount, "large", &large), Err(libc::ENOSPC));
    mount.sh("rm -f large");
    assert_eq!(mount.sh("cat kept replaced"), "before\nold\n");
    let medium = pattern(2 << 20);
    eventually("there is room again", || {
        save(&mount, "medium", &medium).is_ok()
    });
    assert_eq!(world.stored_bytes("medium"), medium);

    // Not a byte left.
    let junk = small.fill();
    for name in ["new", "replaced"] {
        assert_eq!(save(&mount, name, b"text"), Err(libc::ENOSPC), "{name}");
    }
    assert_eq!(mount.sh("cat kept"), "before\n");
    assert_eq!(fs::read(mount.at("medium")).unwrap(), medium);
    assert!(mount.names().contains(&"kept".to_owned()));
    assert_eq!(world.stored_bytes("replaced"), b"old\n");

    fs::remove_file(junk).unwrap();
    for name in ["new", "replaced"] {
        assert_eq!(save(&mount, name, b"text"), Ok(()), "{name}");
        eventually("what it replaces is gone", || {
            world.all_stored(name).len() == 1
        });
        assert_eq!(world.stored_bytes(name), b"text", "{name}");
    }
    let names = mount.names();
    mount.unmount();
    let mount = world.mount_with(&["--no-trash"]);
    assert_eq!(mount.names(), names);
    assert_eq!(mount.sh("cat kept new replaced"), "before\ntexttext");
    drop(mount);
    drop(small);
}
