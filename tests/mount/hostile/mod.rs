//! A workspace full of names that other people's tools made up: two thousand files, each under one name of its own, which
//! is read, kept over everything that can happen to a mount, and deleted under the right id. Nothing leads out.
//!
//! Every file holds other bytes, so that what a name leads to is told by reading it.

mod made_up;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile, StoredFile};
use afs::names;

use super::harness::{Mount, World, eventually};
use super::trash::trashed;
use made_up::{CROWDED, MANY, TWIN_IDS, WHOLE, names_to_plant};

/// A file that was planted, by the bytes only it has.
type Known = HashMap<Vec<u8>, StoredFile>;

fn plant(world: &World, escape: &str) -> Known {
    let planned = names_to_plant(escape).into_iter().enumerate();
    planned
        .map(|(n, (filename, id))| {
            let content = format!("the bytes of number {n}").into_bytes();
            let file = PlantedFile {
                id: id.map(str::to_owned),
                ..PlantedFile::output(filename, content.as_slice())
            };
            (content, world.emulator.plant(file).unwrap())
        })
        .collect()
}

/// By id: what a file is called here, and its inode number.
type Shown = BTreeMap<String, (String, u64)>;

/// Reads everything in the directory; each name leads to another file.
fn shown(mount: &Mount, known: &Known) -> Shown {
    let entries: Vec<_> = fs::read_dir(mount.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), entry.ino())
        })
        .collect();
    let share = entries.len().div_ceil(8).max(1);
    let read = |entries: &[(String, u64)]| -> Vec<(String, (String, u64))> {
        let read = entries.iter().map(|(name, ino)| {
            // Not `join`: that reads a leading slash as another root.
            let path = mount.at(format!("./{name}"));
            let content = fs::read(&path).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            assert_eq!(fs::metadata(&path).unwrap().ino(), *ino, "{name:?}");
            let file = known
                .get(&content)
                .unwrap_or_else(|| panic!("{name:?} reads {content:?}"));
            (file.id.clone(), (name.clone(), *ino))
        });
        read.collect()
    };
    let mut shown = Shown::new();
    thread::scope(|scope| {
        let readers: Vec<_> = entries
            .chunks(share)
            .map(|entries| scope.spawn(move || read(entries)))
            .collect();
        for (id, name) in readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap())
        {
            assert_eq!(
                shown.insert(id, name.clone()),
                None,
                "two names of {name:?}"
            );
        }
    });
    shown
}

/// Whether a name is one that a directory can have and a terminal can show.
fn is_harmless(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c.is_control())
}

/// What the promises say of every single name: the newest of a filename has the plain name, from which the filename can
/// be told; the others, and those that are cut, carry the end of their id.
fn check_names(known: &Known, shown: &Shown) {
    let mut newest: HashMap<&str, &StoredFile> = HashMap::new();
    for file in known.values() {
        let holder = newest.entry(&file.filename).or_insert(file);
        if file.created_at > holder.created_at {
            *holder = file;
        }
    }
    for file in known.values() {
        let (name, _) = &shown[&file.id];
        assert!(is_harmless(name), "{name:?}");
        let plain = names::directory_name(&file.filename);
        let is_plain = newest[&*file.filename].id == file.id
            && names::fits(&file.filename)
            && plain != names::VIEWS
            && file.filename != "letter~NR6q4V8w.pdf";
        if is_plain {
            assert_eq!(*name, plain, "{:?}", file.filename);
            assert_eq!(names::service_name(name), file.filename, "{name:?}");
        } else if file.filename != "report.pdf" {
            let expected = names::suffixed(&plain, &file.id, |_| false);
            assert_eq!(*name, expected, "{:?}", file.filename);
        }
    }
    let collided = |id: &str| shown[id].0.as_str();
    assert_eq!(collided(TWIN_IDS[0]), "letter~NR6q4V8w.pdf");
    // The newer of the two chose first; the plain suffix was a file's own name already.
    assert_eq!(collided(TWIN_IDS[2]), "report~ANR6q4V8w.pdf");
    assert_eq!(collided(TWIN_IDS[1]), "report~BNR6q4V8w.pdf");
}

/// Everything in the throwaway directory that is neither the mount nor its own, with contents.
fn beside(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.insert(path.clone(), Vec::new());
                walk(&path, found);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    let own = ["mnt", "state", "cache", "stderr.log"].map(|name| world.dir.path().join(name));
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(world.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if own.contains(&path) {
            continue;
        }
        found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        if path.is_dir() {
            walk(&path, &mut found);
        }
    }
    found
}

/// The ids of the deletions that were asked for.
fn deleted(world: &World) -> Vec<String> {
    let requests = world.emulator.requests().into_iter();
    requests
        .filter(|request| request.call == LoggedCall::Delete)
        .map(|request| request.id.unwrap())
        .collect()
}

fn remove(mount: &Mount, name: &str) {
    fs::remove_file(mount.at(format!("./{name}")))
        .unwrap_or_else(|error| panic!("{name:?}: {error}"));
}

/// Removes files one by one; each time exactly its own id is deleted.
fn remove_singly(world: &World, mount: &Mount, known: &mut Known, shown: &mut Shown) {
    let special: HashSet<&str> = WHOLE.into_iter().chain([CROWDED]).collect();
    let mut chosen: Vec<Vec<u8>> = known
        .iter()
        .filter(|(_, file)| special.contains(&*file.filename) || !names::fits(&file.filename))
        .map(|(content, _)| content.clone())
        .collect();
    chosen.sort();
    for content in chosen.iter().step_by(2) {
        let file = known.remove(content).unwrap();
        let (name, _) = shown.remove(&file.id).unwrap();
        world.forget_calls();
        remove(mount, &name);
        eventually("it is deleted", || {
            world.emulator.content(&file.id).unwrap().is_none()
        });
        assert_eq!(deleted(world), [file.id], "{name:?}");
    }
}

/// Removes three of four in one go.
fn remove_many(mount: &Mount, known: &mut Known, shown: &mut Shown) -> BTreeSet<String> {
    let chosen: Vec<String> = shown
        .keys()
        .enumerate()
        .filter(|(n, _)| n % 4 != 0)
        .map(|(_, id)| id.clone())
        .collect();
    for id in &chosen {
        let (name, _) = shown.remove(id).unwrap();
        remove(mount, &name);
    }
    known.retain(|_, file| shown.contains_key(&file.id));
    chosen.into_iter().collect()
}

/// The names of all files are the same as before, after whatever happened.
fn assert_same(now: &Shown, before: &Shown, what: &str) {
    for (id, name) in before {
        assert_eq!(now.get(id), Some(name), "after {what}");
    }
    assert_eq!(now.len(), before.len(), "after {what}");
}

#[test]
fn two_thousand_hostile_names_stay_lead_to_their_files_and_go_with_their_ids() {
    let world = World::new();
    let stem = world.dir.path().file_name().unwrap().to_str().unwrap();
    let escape = format!("{stem}-escaped");
    fs::create_dir(world.dir.path().join("beside")).unwrap();
    fs::write(world.dir.path().join("beside/passwd"), "untouched").unwrap();
    let outside = beside(&world);
    let mut known = plant(&world, &escape);
    assert_eq!(known.len(), MANY);

    let mount = world.mount_with(&["--refresh", "0s"]);
    let mut names = shown(&mount, &known);
    assert_eq!(names.len(), MANY);
    check_names(&known, &names);

    // Over refreshes, a clean end and none.
    let calls = world.calls_of(|| assert_same(&shown(&mount, &known), &names, "a refresh"));
    assert!(calls.list > 0);
    assert_eq!(calls.content, 0, "each was downloaded once");
    mount.unmount();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_same(&shown(&mount, &known), &names, "a remount");
    let _dead = mount.kill();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_same(&shown(&mount, &known), &names, "a kill");

    remove_singly(&world, &mount, &mut known, &mut names);
    assert_same(&shown(&mount, &known), &names, "single deletions");

    // Killed with most of its deletions before it.
    world.forget_calls();
    let gone = remove_many(&mount, &mut known, &mut names);
    let _dead = mount.kill();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_same(&shown(&mount, &known), &names, "many deletions and a kill");
    eventually("all are deleted", || {
        world.emulator.files().unwrap().len() == known.len()
    });
    mount.unmount();
    assert_eq!(deleted(&world).into_iter().collect::<BTreeSet<_>>(), gone);
    let left: BTreeSet<String> = known.values().map(|file| file.id.clone()).collect();
    let stored = world.emulator.files().unwrap().into_iter();
    assert_eq!(stored.map(|file| file.id).collect::<BTreeSet<_>>(), left);

    // What was removed is in the trash, and nothing is anywhere else.
    assert_eq!(trashed(&world).len(), MANY - known.len());
    assert_eq!(beside(&world), outside);
    let mut parents = world.dir.path().ancestors();
    assert!(parents.all(|parent| !parent.join(&escape).exists()));
}

/// What the names of the twins in `world` are, oldest first.
fn names_of(mount: &Mount, known: &Known) -> Vec<String> {
    let shown = shown(mount, known);
    let mut files: Vec<_> = known.values().collect();
    files.sort_by_key(|file| file.created_at);
    files
        .iter()
        .filter_map(|file| shown.get(&file.id).map(|(name, _)| name.clone()))
        .collect()
}

/// A name that has to be mapped follows the same rule as any other: nothing slides into a name that was removed, and a
/// newer file takes it.
#[test]
fn a_removed_hostile_name_stays_free_until_a_newer_file_takes_it() {
    let world = World::new();
    let mut known = Known::new();
    let plant = |known: &mut Known, n: usize| {
        let content = format!("version {n}").into_bytes();
        let file = world.output("../a\nb.md", &content);
        let suffixed = format!("..%2Fa%0Ab~{}.md", &file.id[file.id.len() - 8..]);
        known.insert(content, file);
        suffixed
    };
    let plain = "..%2Fa%0Ab.md".to_owned();
    let first = plant(&mut known, 1);
    let second = plant(&mut known, 2);
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_eq!(names_of(&mount, &known), [first.clone(), plain.clone()]);
    // The newest is displaced by one that is newer still.
    let third = plant(&mut known, 3);
    let expected = [first.clone(), second.clone(), plain.clone()];
    eventually("the newer is listed", || {
        names_of(&mount, &known) == expected
    });
    remove(&mount, &plain);
    let expected = [first.clone(), second.clone()];
    assert_eq!(names_of(&mount, &known), expected);
    mount.unmount();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_eq!(names_of(&mount, &known), expected);
    let _dead = mount.kill();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_eq!(names_of(&mount, &known), expected);
    assert_eq!(
        fs::read(mount.at(&plain)).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
    // Somebody else removes a twin: that gives no name to the other either.
    let oldest = known.values().min_by_key(|file| file.created_at).unwrap();
    world.emulator.delete(&oldest.id.clone()).unwrap();
    eventually("it is hidden", || {
        names_of(&mount, &known) == [second.clone()]
    });
    plant(&mut known, 4);
    let expected = [second, plain];
    eventually("the newest has the name", || {
        names_of(&mount, &known) == expected
    });
    assert!(!names_of(&mount, &known).contains(&third));
}

/// A listing that shows `files` under other names than they have.
fn renamed_listing(files: &[(&StoredFile, String)]) -> FaultRule {
    let data: Vec<_> = files
        .iter()
        .map(|(file, name)| {
            serde_json::json!({
                "id": file.id, "type": "file", "filename": name, "mime_type": "text/plain",
                "size_bytes": file.size_bytes, "created_at": file.created_at.to_string(), "downloadable": true,
            })
        })
        .collect();
    let ends = (&files[0].0.id, &files[files.len() - 1].0.id);
    let body = serde_json::json!({
        "data": data, "has_more": false, "first_id": ends.0, "last_id": ends.1,
    });
    FaultRule {
        call: Some(LoggedCall::List),
        ..FaultRule::new(FaultAction::Status(FaultAnswer {
            body: Some(body),
            ..FaultAnswer::status(200)
        }))
    }
}

/// The service's own schema allows 1 to 500 characters; nothing here depends on it.
#[test]
fn names_that_the_service_itself_rules_out_are_names_too() {
    let world = World::new();
    let mut known = Known::new();
    for content in ["one", "two", "three", "four", "five"] {
        let content = content.as_bytes();
        known.insert(content.to_vec(), world.output("placeholder", content));
    }
    let by_age = world.emulator.files().unwrap();
    let long = |end: &str| "n".repeat(100_000) + end;
    let names = [
        String::new(),
        String::new(),
        "%empty".to_owned(),
        long("a"),
        long("b"),
    ];
    let files: Vec<_> = by_age.iter().zip(names).collect();
    world.emulator.set_faults(vec![renamed_listing(&files)]);
    let mount = world.mount_with(&["--refresh", "0s"]);
    let before = shown(&mount, &known);
    let tail = |n: usize| &by_age[n].id[by_age[n].id.len() - 8..];
    let called = |n: usize| before[&by_age[n].id].0.clone();
    assert_eq!(called(0), "%empty");
    assert_eq!(called(1), format!("%empty~{}", tail(1)));
    assert_eq!(called(2), "%25empty");
    assert_eq!(called(3), format!("{}~{}", "n".repeat(246), tail(3)));
    assert_eq!(called(4), format!("{}~{}", "n".repeat(246), tail(4)));
    let _dead = mount.kill();
    let mount = world.mount_with(&["--refresh", "0s"]);
    assert_same(&shown(&mount, &known), &before, "a kill");
    for (n, file) in by_age.iter().enumerate() {
        world.forget_calls();
        remove(&mount, &called(n));
        eventually("it is deleted", || {
            world.emulator.content(&file.id).unwrap().is_none()
        });
        assert_eq!(deleted(&world), std::slice::from_ref(&file.id));
    }
    assert!(mount.names().is_empty());
}
