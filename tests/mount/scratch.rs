//! Names that are a program's own: swap files, locks, backups, downloads that are not done. Such files work like any other
//! and never reach the service; renamed to an ordinary name they are saved. What desktops strew can't be created.

use std::fs::{self, File};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{Calls, World, eventually, no_starts};
use super::surface::{NEW, On, Setup, calls_by_the_end, on_both};

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

/// What replacing a file takes.
const REPLACED: Calls = Calls {
    delete: 1,
    ..ONE_UPLOAD
};

const SCRATCH: [&str; 6] = [
    ".notes.md.swp",
    "notes.md~",
    ".~lock.report.odt#",
    "lu21852ghkq3.tmp",
    ".goutputstream-7K3X91",
    "Unconfirmed 123456.crdownload",
];

on_both! {
    a_scratch_file_works_and_never_reaches_the_service
    a_scratch_file_survives_a_remount_and_a_kill
    a_scratch_file_that_gets_an_ordinary_name_is_one_upload
    the_last_close_of_a_file_that_was_scratch_waits_for_the_service
    a_scratch_file_renamed_over_a_file_is_one_upload_and_one_deletion
    a_backup_by_renaming_costs_one_upload_and_one_deletion_and_stays_here
    a_backup_keeps_its_bytes_when_its_original_goes
    a_backup_that_is_removed_before_the_new_version_is_saved_costs_the_same
    backups_of_versions_that_were_not_sent_yet_leave_nothing_behind
    a_backup_taken_while_its_original_is_on_its_way_has_its_bytes
    a_backup_of_what_the_service_failed_to_take_is_not_sent_after_all
    a_file_that_was_replaced_before_it_became_a_backup_is_deleted_then
    a_version_that_arrived_under_a_name_that_had_been_left_is_deleted_with_the_next_of_that_name
    a_backup_without_a_new_version_leaves_the_service_as_it_is
    a_backup_that_gets_its_name_back_is_not_sent_again
    a_backup_that_is_removed_takes_its_original_along
    a_scratch_name_that_the_service_lists_is_a_file_like_any_other
    an_open_scratch_file_is_there_after_the_mount_was_ended
    junk_is_not_created
    what_the_person_says_goes_before_the_lists
}

fn a_scratch_file_works_and_never_reaches_the_service(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for name in SCRATCH {
        fs.put(name, b"first").unwrap();
        fs.append(name, b", second").unwrap();
        assert_eq!(fs.get(name).unwrap(), b"first, second", "{name}");
        assert_eq!(fs.stat(name).unwrap().size, 13, "{name}");
    }
    fs.put("a~", &vec![7; 3 << 20]).unwrap();
    fs.rename("a~", "b~", 0).unwrap();
    assert_eq!(fs.get("b~").unwrap(), vec![7; 3 << 20]);
    fs.put("c~", b"").unwrap();
    let mut names: Vec<&str> = SCRATCH.into_iter().chain(["b~", "c~"]).collect();
    names.sort_unstable();
    assert_eq!(fs.names(), names);
    let mut shown: Vec<_> = fs.scratch().into_iter().map(|(name, _)| name).collect();
    shown.sort();
    assert_eq!(shown, names);
    for name in names {
        fs.unlink(name).unwrap();
    }
    assert_eq!(fs.scratch(), []);
    fs.put("last~", b"stays").unwrap();
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_scratch_file_survives_a_remount_and_a_kill(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("small~", b"small").unwrap();
    fs.put("large~", &vec![1; 2 << 20]).unwrap();
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.get("small~").unwrap(), b"small");
    fs.put("small~", b"smaller").unwrap();
    let open = fs.open(".f.swp", NEW).unwrap();
    fs.pwrite(open, 0, b"synced").unwrap();
    fs.fsync(open).unwrap();
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("small~").unwrap(), b"smaller");
    assert_eq!(fs.get("large~").unwrap(), vec![1; 2 << 20]);
    assert_eq!(fs.get(".f.swp").unwrap(), b"synced");
    assert_eq!(fs.names(), [".f.swp", "large~", "small~"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn a_scratch_file_that_gets_an_ordinary_name_is_one_upload(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    for (n, scratch) in SCRATCH.into_iter().enumerate() {
        let name = format!("file {n}.txt");
        world.forget_calls();
        fs.put(scratch, b"content").unwrap();
        fs.set_mtime(scratch, 1_000_000_000).unwrap();
        fs.rename(scratch, &name, 0).unwrap();
        eventually("it is saved", || !world.all_stored(&name).is_empty());
        assert_eq!(world.stored_bytes(&name), b"content", "{scratch}");
        assert_eq!(world.stored(&name).mime_type, "text/plain");
        assert_eq!(fs.stat(&name).unwrap().mtime, 1_000_000_000);
        assert_eq!(world.calls().but_lists(), ONE_UPLOAD, "{scratch}");
    }
    // While it is still open, as some programs do it.
    world.forget_calls();
    let open = fs.open(".goutputstream-ABCDEF", NEW).unwrap();
    fs.pwrite(open, 0, b"written ").unwrap();
    fs.rename(".goutputstream-ABCDEF", "open.txt", 0).unwrap();
    fs.pwrite(open, 8, b"on").unwrap();
    fs.close(open).unwrap();
    assert_eq!(fs.scratch(), []);
    assert_eq!(world.stored_bytes("open.txt"), b"written on");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

/// Found by random operations (`model`): the close returned at once, as a scratch file's does.
fn the_last_close_of_a_file_that_was_scratch_waits_for_the_service(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let open = fs.open("f~", NEW).unwrap();
    fs.put("f~", b"text").unwrap();
    fs.rename("f~", "f", 0).unwrap();
    fs.close(open).unwrap();
    assert_eq!(world.stored_bytes("f"), b"text");
    assert_eq!(calls_by_the_end(&world, fs), ONE_UPLOAD);
}

fn a_scratch_file_renamed_over_a_file_is_one_upload_and_one_deletion(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"old").unwrap();
    world.forget_calls();
    fs.put("lu85mn2.tmp", b"new").unwrap();
    fs.rename("lu85mn2.tmp", "f", 0).unwrap();
    assert_eq!(fs.get("f").unwrap(), b"new");
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("f"), b"new");
}

/// emacs, and vim with `backupcopy=no` and `backup`: the file becomes the backup, a new one has its name.
fn a_backup_by_renaming_costs_one_upload_and_one_deletion_and_stays_here(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"version 0").unwrap();
    for version in 1..4 {
        world.forget_calls();
        let old = format!("version {}", version - 1);
        let new = format!("version {version}");
        fs.rename("f", "f~", 0).unwrap();
        assert_eq!(fs.get("f~").unwrap(), old.as_bytes());
        fs.put("f", new.as_bytes()).unwrap();
        eventually("the old one is gone", || world.all_stored("f").len() == 1);
        assert_eq!(world.calls().but_lists(), REPLACED, "{new}");
        assert_eq!(world.stored_bytes("f"), new.as_bytes());
        assert_eq!(fs.get("f~").unwrap(), old.as_bytes());
    }
    fs.kill();
    let fs = on.start(&world);
    assert_eq!(fs.get("f~").unwrap(), b"version 2");
    assert_eq!(fs.get("f").unwrap(), b"version 3");
    assert_eq!(fs.names(), ["f", "f~"]);
    fs.end();
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

fn a_backup_keeps_its_bytes_when_its_original_goes(on: On) {
    let world = World::new();
    let large = vec![3; 2 << 20];
    let fs = on.start_with(
        &world,
        Setup {
            keep_limit: Some(3 << 20),
            ..Setup::default()
        },
    );
    fs.put("f", &large).unwrap();
    fs.rename("f", "f~", 0).unwrap();
    fs.put("f", b"new").unwrap();
    // More than the limit: what is kept of others goes.
    for n in 0..3 {
        fs.put(&format!("other {n}"), &large).unwrap();
    }
    assert_eq!(fs.get("f~").unwrap(), large);
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"new");
}

/// vim with `backupcopy=no` and no `backup`: the old version is moved aside for the time of the save only.
fn a_backup_that_is_removed_before_the_new_version_is_saved_costs_the_same(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"old").unwrap();
    world.forget_calls();
    let swap = fs.open(".f.swp", NEW).unwrap();
    fs.pwrite(swap, 0, b"b0VIM").unwrap();
    fs.rename("f", "f~", 0).unwrap();
    let new = fs.open("f", NEW).unwrap();
    fs.pwrite(new, 0, b"new").unwrap();
    fs.fsync(new).unwrap();
    fs.unlink("f~").unwrap();
    fs.close(new).unwrap();
    fs.close(swap).unwrap();
    fs.unlink(".f.swp").unwrap();
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("f"), b"new");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
}

/// Three saves with backups faster than the service: only the last one arrives, and the first version goes for it.
fn backups_of_versions_that_were_not_sent_yet_leave_nothing_behind(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::write_back());
    fs.put("f", b"version 0").unwrap();
    eventually("it is saved", || !world.all_stored("f").is_empty());
    for version in 1..4 {
        fs.rename("f", "f~", 0).unwrap();
        fs.put("f", format!("version {version}").as_bytes())
            .unwrap();
    }
    assert_eq!(fs.get("f~").unwrap(), b"version 2");
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"version 3");
    assert_eq!(world.emulator.files().unwrap().len(), 1);
    let fs = on.start(&world);
    assert_eq!(fs.get("f~").unwrap(), b"version 2");
    assert_eq!(fs.get("f").unwrap(), b"version 3");
    fs.end();
}

fn a_backup_taken_while_its_original_is_on_its_way_has_its_bytes(on: On) {
    for content in [b"small".to_vec(), vec![9; 2 << 20]] {
        let world = World::new();
        let fs = on.start_with(&world, Setup::write_back());
        world.hang(&[LoggedCall::Upload]);
        fs.put("f", &content).unwrap();
        eventually("it is on its way", || world.calls().upload > 0);
        fs.rename("f", "f~", 0).unwrap();
        assert_eq!(fs.get("f~").unwrap(), content);
        fs.put("f", b"new").unwrap();
        world.emulator.set_faults(Vec::new());
        fs.end();
        assert_eq!(world.stored_bytes("f"), b"new");
        let fs = on.start(&world);
        assert_eq!(fs.get("f~").unwrap(), content);
        assert_eq!(fs.get("f").unwrap(), b"new");
        fs.end();
    }
}

/// Found by random operations (`model`): whether the service has it or not is looked up, and that is all. Sent again, it
/// would have come after the file that has its name by then.
fn a_backup_of_what_the_service_failed_to_take_is_not_sent_after_all(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::write_back());
    let failing = FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(500)))
    };
    world.emulator.set_faults(vec![failing]);
    fs.put("f", b"old").unwrap();
    eventually("it has failed", || world.calls().upload > 0);
    fs.rename("f", "f~", 0).unwrap();
    fs.put("f", b"new").unwrap();
    world.emulator.set_faults(Vec::new());
    assert_eq!(calls_by_the_end(&world, fs).delete, 0);
    assert_eq!(world.stored_bytes("f"), b"new");
    let fs = on.start(&world);
    assert_eq!(fs.get("f~").unwrap(), b"old");
    fs.end();
}

/// Found by random operations (`model`).
fn a_file_that_was_replaced_before_it_became_a_backup_is_deleted_then(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"old").unwrap();
    world.forget_calls();
    fs.rename("f", "f.tmp", 0).unwrap();
    fs.put("f", b"new").unwrap();
    fs.rename("f.tmp", "f~", 0).unwrap();
    assert_eq!(fs.get("f~").unwrap(), b"old");
    assert_eq!(calls_by_the_end(&world, fs), REPLACED);
    assert_eq!(world.stored_bytes("f"), b"new");
}

/// Found by random operations (`model`): it was remembered under the name that its file had by then.
fn a_version_that_arrived_under_a_name_that_had_been_left_is_deleted_with_the_next_of_that_name(
    on: On,
) {
    let world = World::new();
    let fs = on.start(&world);
    world.hang(&[LoggedCall::Upload]);
    fs.put("f~", b"one").unwrap();
    fs.rename("f~", "f", 0).unwrap();
    eventually("it is on its way", || world.calls().upload == 1);
    let fd = fs.open("f", libc::O_RDWR).unwrap();
    fs.pwrite(fd, 0, b"two").unwrap();
    fs.rename("f", "c.txt", 0).unwrap();
    // The version that was on its way arrives; the later one waits for its writer.
    world.emulator.clear_faults();
    fs.put("f", b"new").unwrap();
    fs.rename("c.txt", "f~", 0).unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.get("f~").unwrap(), b"two");
    assert_eq!(calls_by_the_end(&world, fs).delete, 1);
    assert_eq!(world.emulator.files().unwrap().len(), 1);
    assert_eq!(world.stored_bytes("f"), b"new");
}

/// Nothing has its place: other machines go on seeing it.
fn a_backup_without_a_new_version_leaves_the_service_as_it_is(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    fs.put("f", b"text").unwrap();
    world.forget_calls();
    fs.rename("f", "f~", 0).unwrap();
    assert_eq!(fs.names(), ["f~"]);
    assert_eq!(fs.get("f~").unwrap(), b"text");
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.names(), ["f~"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
    assert_eq!(world.stored_bytes("f"), b"text");
}

fn a_backup_that_gets_its_name_back_is_not_sent_again(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"text").unwrap();
    let id = world.stored("f").id;
    world.forget_calls();
    fs.rename("f", "f~", 0).unwrap();
    fs.rename("f~", "f", 0).unwrap();
    assert_eq!(fs.get("f").unwrap(), b"text");
    assert_eq!(fs.scratch(), []);
    let calls = calls_by_the_end(&world, fs);
    assert_eq!((calls.upload, calls.delete), (0, 0));
    assert_eq!(world.stored("f").id, id);
}

fn a_backup_that_is_removed_takes_its_original_along(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"text").unwrap();
    world.forget_calls();
    fs.rename("f", "f~", 0).unwrap();
    fs.unlink("f~").unwrap();
    let calls = calls_by_the_end(&world, fs);
    assert_eq!((calls.upload, calls.delete), (0, 1));
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_scratch_name_that_the_service_lists_is_a_file_like_any_other(on: On) {
    let world = World::new();
    world.output("chart~", b"made by a tool");
    let other = world.foreign("notes.swp", b"of somebody");
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["chart~", "notes.swp"]);
    assert_eq!(fs.get("chart~").unwrap(), b"made by a tool");
    world.forget_calls();
    fs.put("notes.swp", b"mine now").unwrap();
    fs.put("x.tmp", b"moved over it").unwrap();
    fs.rename("x.tmp", "notes.swp", 0).unwrap();
    assert_eq!(fs.scratch(), []);
    fs.end();
    assert_eq!(world.stored_bytes("notes.swp"), b"moved over it");
    assert_ne!(world.stored("notes.swp").id, other.id);
}

/// `vim -r` needs it.
fn an_open_scratch_file_is_there_after_the_mount_was_ended(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let swap = fs.open(".f.swp", NEW).unwrap();
    fs.pwrite(swap, 0, b"b0VIM, never closed").unwrap();
    fs.terminate();
    let fs = on.start(&world);
    assert_eq!(fs.unfinished(), []);
    assert_eq!(fs.get(".f.swp").unwrap(), b"b0VIM, never closed");
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn junk_is_not_created(on: On) {
    let world = World::new();
    world.output("desktop.ini", b"listed all the same");
    let fs = on.start(&world);
    fs.put("f", b"text").unwrap();
    for junk in [".Trash-1000", "Thumbs.db", "autorun.inf", ".Spotlight-V100"] {
        assert_eq!(fs.put(junk, b"x"), Err(libc::EACCES), "{junk}");
        assert_eq!(fs.rename("f", junk, 0), Err(libc::EACCES), "{junk}");
    }
    assert_eq!(fs.names(), ["desktop.ini", "f"]);
    assert_eq!(fs.get("desktop.ini").unwrap(), b"listed all the same");
    fs.end();
}

fn what_the_person_says_goes_before_the_lists(on: On) {
    let world = World::new();
    let setup = Setup {
        scratch: &["*.bak", "private-*"],
        send: &["*.swp", "Thumbs.db", "now.tmp"],
        ..Setup::default()
    };
    let fs = on.start_with(&world, setup);
    for name in ["a.bak", "private-notes.md", "a.swp", "Thumbs.db", "now.tmp"] {
        fs.put(name, name.as_bytes()).unwrap();
    }
    // Its close waited for the service, which a provisional name's does not.
    assert_eq!(world.stored_bytes("now.tmp"), b"now.tmp");
    fs.end();
    let mut stored: Vec<_> = world.emulator.files().unwrap();
    stored.sort_by(|a, b| a.filename.cmp(&b.filename));
    let stored: Vec<_> = stored.iter().map(|file| file.filename.as_str()).collect();
    assert_eq!(stored, ["Thumbs.db", "a.swp", "now.tmp"]);
    // What once was local stays so without the option.
    let fs = on.start(&world);
    assert_eq!(fs.get("private-notes.md").unwrap(), b"private-notes.md");
    assert_eq!(calls_by_the_end(&world, fs).upload, 3);
    assert_eq!(world.emulator.files().unwrap().len(), 3);
}

#[test]
fn scratch_files_are_counted_and_explained_by_the_commands() {
    let world = World::new();
    let mount = world.mount_with(&["--xattr"]);
    mount.sh("echo backup > notes.md~; echo swap > .notes.md.swp; echo text > notes.md");
    let afs = |arguments: &str| {
        let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_afs"));
        let output = mount.try_sh(&line);
        assert!(output.status.success(), "{line}: {output:?}");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    };
    assert_eq!(
        mount.sh("getfattr --only-values -n user.afs.state notes.md~"),
        "scratch"
    );
    let point = mount.path().display();
    let pending = afs(&format!("pending {point}"));
    for name in ["notes.md~", ".notes.md.swp"] {
        let line = pending.lines().find(|line| line.contains(name)).unwrap();
        assert!(line.starts_with("scratch"), "{line}");
        assert!(line.contains("stays on this machine"), "{line}");
    }
    let status = afs(&format!("status {point}"));
    assert!(
        status.contains("2 scratch files on this machine only"),
        "{status}"
    );
    assert!(status.contains("pending   nothing"), "{status}");
    let json: serde_json::Value =
        serde_json::from_str(&afs(&format!("status --json {point}"))).unwrap();
    assert_eq!(
        (&json[0]["scratch"], &json[0]["pending"]),
        (&2.into(), &0.into())
    );
    // Neither waits for them.
    afs(&format!("flush {point}"));
    let mut unmount = world.afs();
    let output = unmount.arg("unmount").arg(mount.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("2 scratch files stay on this machine"),
        "{said}"
    );
    assert_eq!(mount.wait(), Some(0));
    assert_eq!(world.calls().upload, 1);
}

/// Found by `differential`: the kernel tells of the end of a handle when close(2) has returned, perhaps together with the
/// rename. What was decided about the scratch name before was done to the file with the ordinary one: it was never sent.
#[test]
fn files_that_are_renamed_the_moment_they_are_closed_are_all_sent() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h"]);
    let names: Vec<String> = (0..400).map(|n| format!("file {n:03}")).collect();
    for name in &names {
        let _no_starts = no_starts();
        let scratch = mount.at("f~");
        drop(File::create_new(&scratch).unwrap());
        fs::rename(scratch, mount.at(name)).unwrap();
    }
    mount.unmount();
    let files = world.emulator.files().unwrap();
    let mut sent: Vec<String> = files.into_iter().map(|file| file.filename).collect();
    sent.sort();
    assert_eq!(sent, names);
}
