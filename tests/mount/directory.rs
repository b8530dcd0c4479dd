//! readdir(3) and its kin.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use afs::emulator::PlantedFile;
use rustix::fs::{Dir, Mode, OFlags};

use super::harness::{Calls, World};
use super::surface::{On, on_both, read_names};

const QUIET: &[&str] = &["--refresh", "1h"];

on_both! {
    every_name_is_listed_once_with_its_inode_number
}

fn every_name_is_listed_once_with_its_inode_number(on: On) {
    let world = World::new();
    world.emulator.bulk(1_200, "doc-", 10, true).unwrap();
    let surface = on.start(&world);
    surface.put("draft", b"text").unwrap();
    let listed = surface.list("").unwrap();
    let names: BTreeSet<&String> = listed.iter().map(|(name, _)| name).collect();
    assert_eq!((listed.len(), names.len()), (1_201, 1_201));
    for (name, ino) in listed.iter().step_by(50) {
        assert_eq!(surface.stat(name).unwrap().ino, *ino, "{name}");
    }
}

fn open_directory(path: &Path) -> Dir {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Dir::new(rustix::fs::open(path, flags, Mode::empty()).unwrap()).unwrap()
}

#[test]
fn a_listing_shows_every_lasting_name_once_while_others_come_and_go() {
    let world = World::new();
    world.emulator.bulk(1_500, "doc-", 10, true).unwrap();
    let mount = world.mount_with(QUIET);
    let all = mount.names();
    let mut stream = open_directory(mount.path());
    let mut seen = Vec::new();
    for step in 0..10 {
        for _ in 0..100 {
            let entry = stream.read().expect("more").unwrap();
            seen.push(entry.file_name().to_str().unwrap().to_owned());
        }
        fs::write(mount.at(format!("new-{step}")), b"text").unwrap();
        // One that was listed and one that was not, unless it is the same.
        fs::remove_file(mount.at(&all[step])).unwrap();
        fs::remove_file(mount.at(&all[1_499 - step])).unwrap();
    }
    seen.extend(
        read_names(&mut stream)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name),
    );
    seen.retain(|name| name != "." && name != "..");
    let once: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(once.len(), seen.len(), "a name came twice");
    for name in &all[10..1_490] {
        assert!(once.contains(name), "{name} is missing");
    }
}

#[test]
fn rewinddir_sees_local_changes_at_once() {
    let world = World::new();
    world.output("old", b"text");
    let mount = world.mount_with(QUIET);
    let mut stream = open_directory(mount.path());
    assert_eq!(read_names(&mut stream).unwrap().len(), 1);
    fs::write(mount.at("new"), b"text").unwrap();
    fs::remove_file(mount.at("old")).unwrap();
    stream.rewind();
    let names = read_names(&mut stream).unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].0, "new");
}

#[test]
fn seekdir_goes_on_where_telldir_was() {
    let world = World::new();
    world.emulator.bulk(300, "doc-", 10, true).unwrap();
    let mount = world.mount_with(QUIET);
    let mut stream = open_directory(mount.path());
    let mut at = 0;
    for _ in 0..150 {
        at = stream.read().unwrap().unwrap().offset();
    }
    let rest = read_names(&mut stream).unwrap();
    assert_eq!(rest.len(), 302 - 150);
    stream.seek(at).unwrap();
    assert_eq!(read_names(&mut stream).unwrap(), rest);
}

#[test]
fn syncing_the_directory_is_local() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("a"), b"text").unwrap();
    let calls = world.calls_of(|| File::open(mount.path()).unwrap().sync_all().unwrap());
    assert_eq!(calls, Calls::NONE);
}

#[test]
fn a_file_is_no_directory() {
    let world = World::new();
    world.output("a", b"text");
    let mount = world.mount_with(QUIET);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = rustix::fs::open(mount.at("a"), flags, Mode::empty());
    assert_eq!(opened.unwrap_err(), rustix::io::Errno::NOTDIR);
    let inside = fs::read(mount.at("a/b")).unwrap_err();
    assert_eq!(inside.raw_os_error(), Some(libc::ENOTDIR));
    assert_eq!(mount.sh("find . -type f"), "./a\n");
    assert_eq!(mount.sh("ls -a | head -2"), ".\n..\n");
}

/// `find -inum` and archivers that look for links go by what the directory says.
#[test]
fn what_a_directory_lists_has_the_inode_number_that_stat_tells() {
    let world = World::new();
    world.output("an output", b"text");
    let planted = PlantedFile {
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("of a session", b"text")
    };
    world.emulator.plant(planted).unwrap();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("own"), b"text").unwrap();
    fs::write(mount.at("scratch~"), b"text").unwrap();
    assert_eq!(mount.sh("ls .afs/sessions/sesn_1"), "of a session\n");
    let mut checked = 0;
    for (path, parent) in [
        ("", None),
        (".afs", Some("")),
        (".afs/outputs", Some(".afs")),
        (".afs/by-id", Some(".afs")),
        (".afs/sessions", Some(".afs")),
        (".afs/sessions/sesn_1", Some(".afs/sessions")),
    ] {
        let number = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
        let directory = mount.at(path);
        for entry in open_directory(&directory) {
            let entry = entry.unwrap();
            let expected = match entry.file_name().to_str().unwrap() {
                "." => number(&directory),
                ".." => match parent {
                    Some(parent) => number(&mount.at(parent)),
                    // That is another file system's.
                    None => continue,
                },
                name => number(&directory.join(name)),
            };
            assert_eq!(entry.ino(), expected, "{path}/{:?}", entry.file_name());
            checked += 1;
        }
    }
    // Names and dots: 3+1, 4+2, 1+2, 2+2, 1+2, 1+2.
    assert_eq!(checked, 23);
}
