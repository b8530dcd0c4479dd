//! Memory maps: what one program writes another one sees in its map, and what was written through a map is saved, also
//! where the descriptor was closed before. A program in the mount does it: maps are out of the tests' own reach.

use std::fs;

use super::harness::{World, eventually, pattern};

const QUIET: &[&str] = &["--refresh", "1h"];

/// A program with its names ready.
fn python(program: &str) -> String {
    format!("python3 - <<'END'\nimport mmap, os\n{program}\nEND")
}

#[test]
fn a_map_shows_what_is_written_and_a_reader_what_is_changed_in_a_map() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("a"), pattern(300_000)).unwrap();
    mount.sh(&python(
        "writer = os.open('a', os.O_RDWR)\n\
         reader = os.open('a', os.O_RDONLY)\n\
         seen = mmap.mmap(reader, 0, mmap.MAP_SHARED, mmap.PROT_READ)\n\
         changed = mmap.mmap(writer, 0)\n\
         os.pwrite(writer, b'written', 200000)\n\
         assert seen[200000:200007] == b'written'\n\
         assert changed[200000:200007] == b'written'\n\
         changed[100000:100006] = b'mapped'\n\
         assert seen[100000:100006] == b'mapped'\n\
         assert os.pread(reader, 6, 100000) == b'mapped'\n\
         changed.flush()\n\
         assert os.pread(reader, 6, 100000) == b'mapped'\n\
         os.ftruncate(writer, 250000)\n\
         assert os.fstat(reader).st_size == 250000\n\
         assert seen[249999] == changed[249999]",
    ));
    let mut expected = pattern(300_000);
    expected.truncate(250_000);
    expected[200_000..200_007].copy_from_slice(b"written");
    expected[100_000..100_006].copy_from_slice(b"mapped");
    assert!(fs::read(mount.at("a")).unwrap() == expected);
    mount.unmount();
    assert!(world.stored_bytes("a") == expected);
}

/// The close that saves comes before the change: what is written when the map goes is a save of its own.
#[test]
fn what_is_changed_in_a_map_after_the_close_is_saved() {
    for size in [5_000, 1_500_000] {
        let world = World::new();
        let mount = world.mount_with(QUIET);
        fs::write(mount.at("a"), pattern(size)).unwrap();
        mount.sh(&python(
            "file = os.open('a', os.O_RDWR)\n\
             map = mmap.mmap(file, 0)\n\
             os.close(file)\n\
             map[3:8] = b'later'\n\
             map.close()",
        ));
        let mut expected = pattern(size);
        expected[3..8].copy_from_slice(b"later");
        assert!(fs::read(mount.at("a")).unwrap() == expected, "{size}");
        eventually("it is at the service", || {
            world.all_stored("a").len() == 1 && world.stored_bytes("a") == expected
        });
    }
}

#[test]
fn a_map_of_a_file_that_is_removed_keeps_its_bytes() {
    let world = World::new();
    world.output("output", &pattern(200_000));
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("own"), pattern(200_000)).unwrap();
    mount.sh(&python(
        "for name in ['own', 'output']:\n    \
             file = os.open(name, os.O_RDONLY)\n    \
             whole = os.pread(file, 200000, 0)\n    \
             map = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)\n    \
             os.unlink(name)\n    \
             os.close(file)\n    \
             assert map[:] == whole",
    ));
    mount.unmount();
    assert!(world.emulator.files().unwrap().is_empty());
}

#[test]
fn a_private_map_changes_nothing() {
    let world = World::new();
    let mount = world.mount_with(QUIET);
    fs::write(mount.at("a"), b"text").unwrap();
    mount.sh(&python(
        "file = os.open('a', os.O_RDWR)\n\
         map = mmap.mmap(file, 0, mmap.MAP_PRIVATE)\n\
         map[0:4] = b'mine'\n\
         map.close()\n\
         os.close(file)",
    ));
    assert_eq!(fs::read(mount.at("a")).unwrap(), b"text");
    mount.unmount();
    assert_eq!(world.calls().upload, 1);
}

/// Ripgrep and image viewers read so; the first page brings the download.
#[test]
fn an_output_is_read_through_a_map() {
    let world = World::new();
    let bytes = pattern(700_001);
    world.output("output", &bytes);
    let mount = world.mount_with(QUIET);
    mount.sh(&python(
        "file = os.open('output', os.O_RDONLY)\n\
         map = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)\n\
         open('../mapped', 'wb').write(map[:])",
    ));
    assert!(fs::read(world.dir.path().join("mapped")).unwrap() == bytes);
    assert_eq!(world.calls().content, 1);
}
