//! Names: every remote file under exactly one, whatever it is called there; and only names that the service takes are
//! given to new files.

use super::harness::{Calls, World, eventually};
use super::surface::{NEW, On, Setup, Surface, calls_by_the_end, on_both};
use afs::emulator::{PlantedFile, StoredFile};

on_both! {
    names_of_255_bytes_work_and_longer_ones_do_not
    forbidden_characters_are_refused_before_a_byte_is_written
    unusual_names_are_kept_as_they_are
    two_unicode_forms_are_two_names
    hostile_names_stay_in_the_mount_and_lead_to_their_files
    hostile_names_can_be_removed_and_stay_over_a_remount
    of_duplicates_the_newest_has_the_plain_name
    a_suffix_stays_when_the_newest_is_removed
    removing_a_name_again_and_again_never_eats_older_files
}

fn names_of_255_bytes_work_and_longer_ones_do_not(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let (longest, wide) = ("n".repeat(255), "\u{e9}".repeat(127));
    for name in [&longest, &wide] {
        fs.put(name, b"text").unwrap();
        assert_eq!(world.stored_bytes(name), b"text");
        assert_eq!(fs.get(name).unwrap(), b"text");
    }
    for name in ["n".repeat(256), "\u{e9}".repeat(128), "n".repeat(1000)] {
        assert_eq!(fs.open(&name, NEW), Err(libc::ENAMETOOLONG));
        assert_eq!(fs.stat(&name), Err(libc::ENAMETOOLONG));
        assert_eq!(fs.unlink(&name), Err(libc::ENAMETOOLONG));
    }
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            upload: 2,
            ..Calls::NONE
        }
    );
}

fn forbidden_characters_are_refused_before_a_byte_is_written(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for c in [
        '<', '>', ':', '"', '|', '?', '*', '\\', '\n', '\x01', '\x7f', '\u{85}',
    ] {
        assert_eq!(fs.open(&format!("a{c}b"), NEW), Err(libc::EINVAL), "{c:?}");
    }
    assert!(fs.names().is_empty());
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn unusual_names_are_kept_as_they_are(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let names = [
        " leading",
        "trailing ",
        "two  spaces",
        "-rf",
        ".hidden",
        "..dots",
        "...",
        "100%.txt",
        "a%20b",
        "a%2Fb",
        "~",
        "a~12345678.md",
        "#x",
        "$HOME",
        "a;b",
        "a&b",
        "a'b",
        "caf\u{e9}",
        "\u{65e5}\u{672c}\u{8a9e}.md",
        "\u{1f600}",
        "CASE",
        "case",
        "con",
        "a,b=c",
    ];
    for name in names {
        fs.put(name, name.as_bytes()).unwrap();
        assert_eq!(world.stored_bytes(name), name.as_bytes(), "{name}");
    }
    let mut sorted: Vec<&str> = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(fs.names(), sorted);
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.names(), sorted);
    for name in names {
        assert_eq!(fs.get(name).unwrap(), name.as_bytes(), "{name}");
    }
}

fn two_unicode_forms_are_two_names(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let (composed, decomposed) = ("\u{e9}.md", "e\u{301}.md");
    fs.put(composed, b"composed").unwrap();
    assert_eq!(fs.stat(decomposed), Err(libc::ENOENT));
    fs.put(decomposed, b"decomposed").unwrap();
    assert_eq!(fs.get(composed).unwrap(), b"composed");
    assert_eq!(world.stored_bytes(decomposed), b"decomposed");
    assert_eq!(fs.names().len(), 2);
}

const HOSTILE: &[&str] = &[
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "..",
    ".",
    "\n",
    "a\0b",
    "\x1b[2J",
    "\u{85}",
    "%2E%2E",
    "%",
    "a\\b",
    "a:b",
    "\u{202e}gpj.exe",
    ".afs",
];

fn plant_hostile(world: &World) -> Vec<StoredFile> {
    let long = [
        "x".repeat(500),
        "x".repeat(499) + "y",
        "\u{1f600}".repeat(400) + ".md",
    ];
    let names = HOSTILE.iter().map(|name| (*name).to_owned()).chain(long);
    names
        .map(|name| world.output(&name, name.as_bytes()))
        .collect()
}

/// The directory name that leads to a file; there is exactly one.
fn name_of(fs: &dyn Surface, file: &StoredFile) -> String {
    let content = file.filename.as_bytes();
    let names = fs.names();
    let mut leading = names.iter().filter(|name| fs.get(name).unwrap() == content);
    let name = leading
        .next()
        .unwrap_or_else(|| panic!("{:?} in {names:?}", file.filename));
    assert_eq!(leading.next(), None, "a second name of {:?}", file.filename);
    name.clone()
}

fn hostile_names_stay_in_the_mount_and_lead_to_their_files(on: On) {
    let world = World::new();
    let planted = plant_hostile(&world);
    let fs = on.start(&world);
    let names = fs.names();
    assert_eq!(names.len(), planted.len());
    for name in &names {
        assert!(!name.is_empty() && name.len() <= 255 && name != "." && name != "..");
        assert!(
            !name.contains('/') && !name.contains(char::is_control),
            "{name:?}"
        );
        fs.stat(name).unwrap();
    }
    for file in &planted {
        name_of(&*fs, file);
    }
}

fn hostile_names_can_be_removed_and_stay_over_a_remount(on: On) {
    let world = World::new();
    let planted = plant_hostile(&world);
    let fs = on.start(&world);
    let before = fs.list("").unwrap();
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.list("").unwrap(), before);
    for file in &planted {
        let name = name_of(&*fs, file);
        fs.unlink(&name).unwrap();
        eventually("the right id is deleted", || {
            world.emulator.content(&file.id).unwrap().is_none()
        });
    }
    assert!(world.emulator.files().unwrap().is_empty());
}

/// Three files of one name, oldest first.
fn plant_versions(world: &World) -> Vec<StoredFile> {
    ["one", "two", "three"]
        .into_iter()
        .map(|content| world.output("notes.md", content.as_bytes()))
        .collect()
}

/// What a file that is not the newest of its name is called.
fn suffixed(file: &StoredFile) -> String {
    format!("notes~{}.md", &file.id[file.id.len() - 8..])
}

fn of_duplicates_the_newest_has_the_plain_name(on: On) {
    let world = World::new();
    let versions = plant_versions(&world);
    let fs = on.start(&world);
    assert_eq!(fs.get("notes.md").unwrap(), b"three");
    assert_eq!(fs.get(&suffixed(&versions[0])).unwrap(), b"one");
    assert_eq!(fs.get(&suffixed(&versions[1])).unwrap(), b"two");
    assert_eq!(fs.names().len(), 3);
}

fn a_suffix_stays_when_the_newest_is_removed(on: On) {
    let world = World::new();
    let versions = plant_versions(&world);
    let fs = on.start(&world);
    world.removes("notes.md");
    fs.unlink("notes.md").unwrap();
    assert_eq!(fs.stat("notes.md"), Err(libc::ENOENT));
    fs.end();
    assert_eq!(world.all_stored("notes.md").len(), 2);
    assert!(world.emulator.content(&versions[2].id).unwrap().is_none());
    let fs = on.start_with(&world, Setup::refreshing());
    let mut expected = [suffixed(&versions[0]), suffixed(&versions[1])];
    expected.sort();
    assert_eq!(fs.names(), expected);
    // A new file of that name is a file of its own.
    fs.put("notes.md", b"four").unwrap();
    assert_eq!(fs.names().len(), 3);
    fs.unlink(&suffixed(&versions[0])).unwrap();
    fs.end();
    assert!(world.emulator.content(&versions[0].id).unwrap().is_none());
    assert!(world.emulator.content(&versions[1].id).unwrap().is_some());
}

fn removing_a_name_again_and_again_never_eats_older_files(on: On) {
    let world = World::new();
    plant_versions(&world);
    let fs = on.start_with(&world, Setup::refreshing());
    fs.unlink("notes.md").unwrap();
    for _ in 0..3 {
        assert_eq!(fs.names().len(), 2);
        assert_eq!(fs.unlink("notes.md"), Err(libc::ENOENT));
    }
    fs.end();
    assert_eq!(world.all_stored("notes.md").len(), 2);
}

#[test]
fn names_that_are_no_utf_8_are_refused() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let said = mount.try_sh("echo x > $'a\\xffb'");
    assert!(String::from_utf8_lossy(&said.stderr).contains("Invalid argument"));
    let said = mount.try_sh("cat $'a\\xffb'");
    assert!(String::from_utf8_lossy(&said.stderr).contains("No such file"));
    mount.sh("echo x > a");
    assert!(!mount.try_sh("mv a $'a\\xffb'").status.success());
    assert_eq!(mount.names(), ["a"]);
}

/// A filename at the service need not be one that could be planted by a tool of ours.
#[test]
fn a_file_of_an_opaque_id_is_read_and_removed() {
    let world = World::new();
    let long = "i".repeat(200);
    for id in ["abc", "file_with-dash_and_underscore", &long] {
        let file = PlantedFile {
            id: Some(id.to_owned()),
            ..PlantedFile::output("same.md", id.as_bytes())
        };
        world.emulator.plant(file).unwrap();
    }
    let mount = world.mount_with(&["--refresh", "1h"]);
    assert_eq!(mount.names().len(), 3);
    assert_eq!(mount.sh("cat *").len(), 3 + 29 + 200);
    mount.sh("rm *");
    mount.unmount();
    assert!(world.emulator.files().unwrap().is_empty());
}
