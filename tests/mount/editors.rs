//! Editors that save in place: they truncate the file they have open and write it anew, so that for a moment there is
//! nothing in it. Each is the sequence of system calls that the program makes. A save that ends costs what any
//! replacement costs; one that is killed in the middle leaves the version before at the service, where whoever has its
//! id still finds it, and readable here.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use afs::config::WRITE_BACK_PACE;
use afs::emulator::{LoggedCall, StoredFile};

use super::harness::{Calls, Mount, World, eventually, no_starts, pattern};
use super::surface::{On, Setup, Surface, calls_by_the_end, on_both};
use super::trash::trashed;

on_both! {
    vs_code_and_obsidian_save_with_one_upload_and_one_deletion
    vim_with_backupcopy_saves_with_one_upload_and_one_deletion
    fdatasync_of_an_editor_sends_nothing
}

/// An upload of the new version and the deletion of the old one.
const REPLACED: Calls = Calls {
    upload: 1,
    delete: 1,
    ..Calls::NONE
};

/// What VS Code and Obsidian (Electron's `fs.writeFile`) open with.
const IN_PLACE: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;

/// The save of VS Code, and of Obsidian in a vault that is one directory.
fn save_in_place(fs: &dyn Surface, name: &str, content: &[u8]) {
    let fd = fs.open(name, IN_PLACE).unwrap();
    for (n, block) in content.chunks(512 * 1024).enumerate() {
        fs.pwrite(fd, n as u64 * 512 * 1024, block).unwrap();
    }
    fs.fsync(fd).unwrap();
    fs.close(fd).unwrap();
}

/// The save of vim with `set backupcopy=yes`: a copy of the old version beside it, for as long as the save takes.
fn save_with_backup(fs: &dyn Surface, name: &str, content: &[u8]) {
    let backup = format!("{name}~");
    let old = fs.get(name).unwrap();
    let new = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL;
    let fd = fs.open(&backup, new).unwrap();
    for (n, block) in old.chunks(8192).enumerate() {
        fs.pwrite(fd, n as u64 * 8192, block).unwrap();
    }
    fs.close(fd).unwrap();
    let fd = fs.open(name, IN_PLACE).unwrap();
    for (n, block) in content.chunks(8192).enumerate() {
        fs.pwrite(fd, n as u64 * 8192, block).unwrap();
    }
    fs.fsync(fd).unwrap();
    fs.close(fd).unwrap();
    fs.unlink(&backup).unwrap();
}

/// Sizes of notes that are written into a record, from memory, and from a staged file.
const SIZES: [usize; 3] = [1_000, 200_000, 1_500_000];

fn vs_code_and_obsidian_save_with_one_upload_and_one_deletion(on: On) {
    for size in SIZES {
        let world = World::new();
        let fs = on.start(&world);
        fs.put("notes.md", b"first version").unwrap();
        let (old, ino) = (
            world.stored("notes.md").id,
            fs.stat("notes.md").unwrap().ino,
        );
        world.forget_calls();
        save_in_place(&*fs, "notes.md", &pattern(size));
        assert!(fs.get("notes.md").unwrap() == pattern(size));
        assert_eq!(fs.stat("notes.md").unwrap().ino, ino);
        assert_eq!(calls_by_the_end(&world, fs), REPLACED, "{size}");
        assert!(world.stored_bytes("notes.md") == pattern(size));
        assert_eq!(world.emulator.content(&old).unwrap(), None);
    }
}

/// The requests that were made for a name.
fn calls_for(world: &World, name: &str) -> Calls {
    let mut requests = world.emulator.requests();
    requests.retain(|request| request.filename.as_deref() == Some(name));
    Calls::of(&requests)
}

/// Of the backup, which is gone before anybody could need it, only its own name is asked for.
fn vim_with_backupcopy_saves_with_one_upload_and_one_deletion(on: On) {
    for size in SIZES {
        let world = World::new();
        let fs = on.start(&world);
        fs.put("notes.md", b"first version").unwrap();
        let ino = fs.stat("notes.md").unwrap().ino;
        world.forget_calls();
        save_with_backup(&*fs, "notes.md", &pattern(size));
        assert_eq!(fs.names(), ["notes.md"]);
        assert_eq!(fs.stat("notes.md").unwrap().ino, ino);
        fs.end();
        assert_eq!(calls_for(&world, "notes.md"), REPLACED, "{size}");
        assert!(world.stored_bytes("notes.md") == pattern(size));
        assert_eq!(world.emulator.files().unwrap().len(), 1);
    }
}

fn fdatasync_of_an_editor_sends_nothing(on: On) {
    for setup in [Setup::default(), Setup::write_back()] {
        let world = World::new();
        let fs = on.start_with(&world, setup);
        fs.put("notes.md", b"first version").unwrap();
        eventually("it is saved", || world.all_stored("notes.md").len() == 1);
        world.forget_calls();
        let fd = fs.open("notes.md", IN_PLACE).unwrap();
        for n in 0..3 {
            fs.pwrite(fd, n * 5, b"words").unwrap();
            fs.fsync(fd).unwrap();
        }
        assert_eq!(world.calls().but_lists(), Calls::NONE);
        assert_eq!(world.stored_bytes("notes.md"), b"first version");
        fs.close(fd).unwrap();
        assert_eq!(calls_by_the_end(&world, fs), REPLACED);
        assert_eq!(world.stored_bytes("notes.md"), b"wordswordswords");
    }
}

const OLD: &[u8] = b"what was there before";
const NEW: &[u8] = b"what comes after it, in two parts";

/// Where in its save a program dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Truncated,
    HalfWritten,
    Written,
    Synced,
}

impl Moment {
    const ALL: [Self; 4] = [
        Self::Truncated,
        Self::HalfWritten,
        Self::Written,
        Self::Synced,
    ];

    /// What is in the file then.
    fn content(self) -> &'static [u8] {
        match self {
            Self::Truncated => b"",
            Self::HalfWritten => &NEW[..NEW.len() / 2],
            Self::Written | Self::Synced => NEW,
        }
    }
}

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Editor {
    /// As [`save_in_place`].
    Code,
    /// As [`save_with_backup`].
    Vim,
}

/// Starts a save of `notes.md` and ends the program with `signal` in the middle of it.
fn dies(mount: &Mount, editor: Editor, moment: Moment, signal: &str) {
    let new = String::from_utf8_lossy(NEW);
    let backup = match editor {
        Editor::Code => "",
        Editor::Vim => {
            "b = os.open('notes.md~', os.O_WRONLY | os.O_CREAT | os.O_EXCL)\n\
             os.write(b, open('notes.md', 'rb').read())\n\
             os.close(b)\n"
        }
    };
    let program = format!(
        "import os, signal, resource\n\
         resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n\
         new = b'{new}'\n\
         half = len(new) // 2\n\
         def at(moment):\n    if moment == '{moment:?}': os.kill(os.getpid(), signal.{signal})\n\
         {backup}\
         f = os.open('notes.md', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)\n\
         at('Truncated')\n\
         os.write(f, new[:half])\n\
         at('HalfWritten')\n\
         os.write(f, new[half:])\n\
         at('Written')\n\
         os.fdatasync(f)\n\
         at('Synced')\n"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &program]).current_dir(mount.path());
    let status = super::harness::start(&mut command).wait().unwrap();
    assert!(!status.success(), "it was killed: {status}");
}

/// Waits until everything that was to be sent is sent, a deletion too.
fn settle(world: &World, mount: &Mount, moment: Moment, old: &StoredFile) {
    // The kernel tells of a handle's end after the program's.
    eventually("what it left is saved", || {
        let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
        assert!(flushed.success());
        world
            .all_stored("notes.md")
            .iter()
            .any(|file| file.id != old.id && file.size_bytes == moment.content().len() as u64)
    });
    let flushed = world.afs().arg("flush").arg(mount.path()).status().unwrap();
    assert!(flushed.success());
}

/// The version before was never missing at the service, and is there now.
fn check_service(world: &World, moment: Moment, old: &StoredFile) {
    let content = world.emulator.content(&old.id).unwrap();
    assert_eq!(content.as_deref(), Some(OLD), "{moment:?}");
    let deleted = world.emulator.requests().into_iter().any(|request| {
        request.call == LoggedCall::Delete && request.id.as_deref() == Some(&*old.id)
    });
    assert!(!deleted, "{moment:?}");
}

/// The plain name has what the program left, and another one the version before.
fn check_mount(mount: &Mount, moment: Moment, old: &StoredFile) {
    let suffixed = format!("notes~{}.md", &old.id[old.id.len() - 8..]);
    eventually("the version before is shown beside it", || {
        mount.names().contains(&suffixed)
    });
    assert_eq!(fs::read(mount.at("notes.md")).unwrap(), moment.content());
    assert_eq!(fs::read(mount.at(suffixed)).unwrap(), OLD, "{moment:?}");
}

/// Whether an editor's file was written through this mount, or made by a tool.
fn a_killed_save_leaves_the_version_before(editor: Editor, is_own: bool) {
    for moment in Moment::ALL {
        let world = World::new();
        let mount = world.mount_with(&["--refresh", "0s"]);
        if is_own {
            fs::write(mount.at("notes.md"), OLD).unwrap();
        } else {
            world.output("notes.md", OLD);
            eventually("it is listed", || mount.names() == ["notes.md"]);
        }
        let old = world.stored("notes.md");
        dies(&mount, editor, moment, "SIGKILL");
        settle(&world, &mount, moment, &old);
        check_service(&world, moment, &old);
        check_mount(&mount, moment, &old);
        if editor == Editor::Vim {
            assert_eq!(fs::read(mount.at("notes.md~")).unwrap(), OLD);
        }
        assert_eq!(trashed(&world), [], "nothing was deleted");
        // It is so for ever, not only for now.
        mount.unmount();
        let mount = world.mount_with(&["--refresh", "0s"]);
        check_mount(&mount, moment, &old);
        // Whoever saves again replaces what the dead program left, and nothing else.
        fs::write(mount.at("notes.md"), "again").unwrap();
        mount.unmount();
        check_service(&world, moment, &old);
        assert_eq!(world.all_stored("notes.md").len(), 2);
    }
}

#[test]
fn vs_code_killed_in_a_save_leaves_the_version_before() {
    a_killed_save_leaves_the_version_before(Editor::Code, true);
}

#[test]
fn vs_code_killed_in_a_save_leaves_a_tools_version_before() {
    a_killed_save_leaves_the_version_before(Editor::Code, false);
}

#[test]
fn vim_killed_in_a_save_leaves_the_version_before() {
    a_killed_save_leaves_the_version_before(Editor::Vim, true);
}

/// A program that crashes is no better than one that is killed.
#[test]
fn an_editor_that_crashes_in_a_save_leaves_the_version_before() {
    for signal in ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGTERM", "SIGHUP"] {
        for moment in [Moment::Truncated, Moment::HalfWritten] {
            let world = World::new();
            let mount = world.mount_with(&["--refresh", "0s"]);
            fs::write(mount.at("notes.md"), OLD).unwrap();
            let old = world.stored("notes.md");
            dies(&mount, Editor::Code, moment, signal);
            settle(&world, &mount, moment, &old);
            check_service(&world, moment, &old);
            check_mount(&mount, moment, &old);
        }
    }
}

/// A program that ends, well or not, without being killed has closed what it wrote: that is a save like any other.
#[test]
fn an_editor_that_exits_without_closing_has_saved() {
    for code in [0, 1] {
        let world = World::new();
        let mount = world.mount();
        fs::write(mount.at("notes.md"), OLD).unwrap();
        let old = world.stored("notes.md");
        let program = format!(
            "import os; f = os.open('notes.md', os.O_WRONLY | os.O_TRUNC); os.write(f, b'new'); os._exit({code})"
        );
        let exited = mount.try_sh(&format!("exec python3 -c \"{program}\""));
        assert_eq!(exited.status.code(), Some(code));
        eventually("the old version is gone", || {
            world.emulator.content(&old.id).unwrap().is_none()
        });
        assert_eq!(world.stored_bytes("notes.md"), b"new");
    }
}

/// With write-back the version before may be waiting for its turn: then it is sent first, and stays beside what the dead
/// program left. Once it was dropped for that, as it is for a newer save; later for what was synced only.
#[test]
fn a_version_that_was_not_sent_yet_outlives_a_save_that_was_killed() {
    for moment in Moment::ALL {
        let world = World::new();
        let mount = world.mount_with(&["--write-back", "--refresh", "0s"]);
        fs::write(mount.at("notes.md"), "older still").unwrap();
        eventually("the first is saved", || {
            world.all_stored("notes.md").len() == 1
        });
        let oldest = world.stored("notes.md");
        // One name is sent every ten seconds at most.
        fs::write(mount.at("notes.md"), OLD).unwrap();
        assert_eq!(world.calls().upload, 1, "{moment:?}");
        dies(&mount, Editor::Code, moment, "SIGKILL");
        settle(&world, &mount, moment, &oldest);
        let stored = world.all_stored("notes.md");
        let old = stored.iter().find(|file| {
            file.id != oldest.id
                && world.emulator.content(&file.id).unwrap().as_deref() == Some(OLD)
        });
        let old = old.unwrap_or_else(|| panic!("{moment:?}: {stored:?}"));
        check_service(&world, moment, old);
        check_mount(&mount, moment, old);
        // What it had replaced itself is gone, as after any save.
        assert_eq!(world.all_stored("notes.md").len(), 2, "{moment:?}");
        assert_eq!(world.calls().upload, 3, "{moment:?}");
        assert_eq!(
            trashed(&world),
            [("notes.md".to_owned(), b"older still".to_vec())],
            "{moment:?}"
        );
        mount.unmount();
    }
}

/// The same where the mount dies too, before anything is sent: both are there for the next one.
#[test]
fn a_version_that_was_not_sent_yet_outlives_its_mount_and_what_was_synced_over_it() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back", "--refresh", "0s"]);
    world.hang(&[LoggedCall::Upload]);
    fs::write(mount.at("notes.md"), "older still").unwrap();
    eventually("the first hangs", || world.calls().upload == 1);
    fs::write(mount.at("notes.md"), OLD).unwrap();
    let nothing_starts = no_starts();
    let mut draft = File::create(mount.at("notes.md")).unwrap();
    draft.write_all(b"half").unwrap();
    draft.sync_data().unwrap();
    let _dead = mount.kill();
    drop(draft);
    drop(nothing_starts);
    world.emulator.clear_faults();
    let mount = world.mount_with(&["--write-back", "--refresh", "0s"]);
    mount.unmount();
    assert_eq!(world.stored_bytes("notes.md"), b"half");
    assert!(trashed(&world).contains(&("notes.md".to_owned(), OLD.to_vec())));
}

/// An editor that syncs before it closes, as most do, still costs what one costs that does not.
#[test]
fn saves_that_are_synced_take_the_place_of_each_other_with_write_back() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back", "--refresh", "1h"]);
    let begun = Instant::now();
    fs::write(mount.at("notes.md"), OLD).unwrap();
    eventually("the first is saved", || world.calls().upload == 1);
    let save = "import os\nfor n in range(20):\n    f = os.open('notes.md', os.O_WRONLY | os.O_TRUNC)\n    \
                os.write(f, b'version %d' % n)\n    os.fdatasync(f)\n    os.close(f)\n";
    mount.sh(&format!("python3 -c \"{save}\""));
    mount.unmount();
    assert_eq!(world.stored_bytes("notes.md"), b"version 19");
    let calls = world.calls().but_lists();
    let intervals = begun.elapsed().as_secs() / WRITE_BACK_PACE.as_secs();
    assert!(calls.upload <= 2 + intervals as usize, "{calls:?}");
    assert_eq!(calls.delete, calls.upload - 1);
}
