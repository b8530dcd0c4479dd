//! `afs put`: one upload a file, exactly once, whatever happens meanwhile.

use std::fs;
use std::process::Stdio;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Desk, Way, each_way};
use crate::commands::{Ran, ran};
use crate::harness::{Calls, World, eventually, pattern, start};

const ONE_UPLOAD: Calls = Calls {
    upload: 1,
    ..Calls::NONE
};

#[test]
fn put_is_one_upload_and_prints_the_id() {
    each_way(|desk| {
        let (world, content) = (desk.world, pattern(300_000));
        desk.write("report.pdf", &content);
        world.forget_calls();
        let put = desk.afs("put", &["report.pdf"]);
        let stored = world.stored("report.pdf");
        put.prints_beside_notices(0, &format!("{}  report.pdf\n", stored.id));
        assert_eq!(world.calls().but_lists(), ONE_UPLOAD, "{:?}", desk.way);
        assert_eq!(world.stored_bytes("report.pdf"), content);
        assert_eq!(stored.mime_type, "application/pdf");
    });
}

#[test]
fn put_gives_another_name_and_type_and_several_files_a_line_each() {
    each_way(|desk| {
        desk.write("out.txt", b"x = 1\n");
        desk.write("b.csv", b"a,b\n");
        let words = ["out.txt", "--name", "notes.md", "--mime-type", "text/plain"];
        assert_eq!(desk.afs("upload", &words).code, Some(0));
        assert_eq!(desk.world.stored("notes.md").mime_type, "text/plain");
        let both = desk.afs("put", &["out.txt", "b.csv", "--json"]);
        let json = both.json();
        assert_eq!(json[0]["name"], "out.txt");
        assert_eq!(json[1]["id"], *desk.world.stored("b.csv").id);
        let wrong = desk.afs("put", &["out.txt", "b.csv", "--name", "c"]);
        wrong.complains(2, "--name gives one file its name");
        desk.afs("put", &["b.csv", "--mime-type", "nonsense"])
            .is_refused_by_the_parser();
    });
}

#[test]
fn put_takes_what_another_program_prints() {
    each_way(|desk| {
        let mut command = desk.command("put", &["-", "--name", "table.csv"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = start(&mut command);
        let mut input = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"a,b\n1,2\n").unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        assert_eq!(desk.world.stored_bytes("table.csv"), b"a,b\n1,2\n");
        let nameless = desk.afs("put", &["-"]);
        nameless.complains(2, "--name NAME");
    });
}

#[test]
fn what_can_not_be_put_is_a_sentence_and_the_others_are_put() {
    each_way(|desk| {
        desk.write("a.txt", b"a");
        fs::create_dir(desk.at("dir")).unwrap();
        let ran = desk.afs("put", &["dir", "missing.txt", "a.txt"]);
        assert_eq!(ran.code, Some(1));
        assert!(
            ran.err.contains("dir: it can't be read: it is a directory"),
            "{}",
            ran.err
        );
        assert!(
            ran.err
                .contains("missing.txt: it can't be read: No such file"),
            "{}",
            ran.err
        );
        assert_eq!(desk.world.stored_bytes("a.txt"), b"a");
        assert_eq!(desk.world.emulator.files().unwrap().len(), 1);
    });
}

/// Ids are in prompts: the same file again is the same id, however long ago the service was seen to have it.
#[test]
fn put_of_what_was_not_seen_lately_asks_for_it_and_keeps_its_id() {
    for way in [Way::Mounted, Way::Alone] {
        let mut world = World::new();
        world.variables.push(("AFS_REFRESH", "1ms".into()));
        let _mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        desk.write("report.md", b"one\n");
        assert_eq!(desk.afs("put", &["report.md"]).code, Some(0));
        let first = world.stored("report.md").id;
        world.forget_calls();
        let again = desk.afs("put", &["report.md"]);
        assert_eq!(again.out, format!("{first}  report.md\n"), "{}", again.err);
        let asked = Calls {
            metadata: 1,
            ..Calls::NONE
        };
        assert_eq!(world.calls().but_lists(), asked, "{way:?}");

        // Somebody else deleted it.
        world.removes("report.md");
        assert!(world.emulator.delete(&first).unwrap());
        let sent = desk.afs("put", &["report.md"]);
        assert_eq!(sent.code, Some(0), "{}", sent.err);
        assert_ne!(world.stored("report.md").id, first);
    }
}

/// As a save over it does: the new one is confirmed before the old one goes, and the same bytes again cost nothing.
#[test]
fn put_replaces_a_file_of_the_name_and_sends_nothing_twice() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount());
        let desk = Desk::of(&world, way);
        desk.write("report.md", b"one\n");
        assert_eq!(desk.afs("put", &["report.md"]).code, Some(0));
        let first = world.stored("report.md").id;
        world.forget_calls();
        let again = desk.afs("put", &["report.md"]);
        assert_eq!(again.out, format!("{first}  report.md\n"));
        assert!(again.err.contains("is there already"), "{}", again.err);
        assert_eq!(world.calls().but_lists(), Calls::NONE);

        desk.write("report.md", b"one and two\n");
        world.forget_calls();
        assert_eq!(desk.afs("put", &["report.md"]).code, Some(0));
        eventually("the old one is deleted", || world.calls().delete == 1);
        assert_eq!(world.calls().upload, 1);
        assert_eq!(world.stored_bytes("report.md"), b"one and two\n");
        if let Some(mount) = &mount {
            // The kernel had seen the old one.
            assert_eq!(
                mount.sh("stat -c %s report.md; cat report.md"),
                "12\none and two\n"
            );
        }
    }
}

#[test]
fn an_open_file_keeps_what_it_had_when_put_replaces_it() {
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    mount.sh("echo one > a.md");
    desk.write("a.md", b"two\n");
    let put = desk.command("put", &["a.md"]);
    let words: Vec<String> = std::iter::once(put.get_program())
        .chain(put.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let source = desk.at("a.md");
    let (program, arguments) = words.split_first().unwrap();
    let typed = [
        arguments.split_last().unwrap().1,
        &[source.display().to_string()],
    ]
    .concat();
    let script = format!(
        "exec 3< a.md; {program} {} > /dev/null; cat - a.md <&3",
        typed.join(" ")
    );
    assert_eq!(mount.sh(&script), "one\ntwo\n");
    // Who has it open for writing is not overtaken.
    let script = format!("exec 3>> a.md; {program} {} 2>&1; echo $?", typed.join(" "));
    desk.write("a.md", b"three\n");
    let said = mount.sh(&script);
    assert!(
        said.contains("open for writing") && said.ends_with("1\n"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_put_while_the_service_is_away_is_safe_and_sent_later() {
    for way in [Way::Mounted, Way::Alone] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount_with(&["--timeout", "1s"]));
        let desk = Desk::of(&world, way);
        desk.write("known.md", b"known\n");
        assert_eq!(desk.afs("put", &["known.md"]).code, Some(0));
        let away = FaultRule {
            call: Some(LoggedCall::Upload),
            when: FaultMoment::BeforeEffect,
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
        };
        world.emulator.set_faults(vec![away]);
        desk.write("new.md", b"new\n");
        let words: &[&str] = match way {
            Way::Mounted => &["new.md"],
            _ => &["--timeout", "1s", "new.md"],
        };
        let ran = desk.afs("put", words);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(
            ran.err
                .contains("It is safe on this machine and is sent when it can be"),
            "{}",
            ran.err
        );
        world.emulator.clear_faults();
        if way == Way::Alone {
            // Whatever comes next sends it.
            desk.write("other.md", b"other\n");
            assert_eq!(desk.afs("put", &["other.md"]).code, Some(0));
        } else {
            assert_eq!(ran_retry(&world).code, Some(0));
        }
        eventually("it is sent", || world.all_stored("new.md").len() == 1);
        assert_eq!(world.stored_bytes("new.md"), b"new\n");
        drop(mount);
    }
}

fn ran_retry(world: &World) -> Ran {
    let mountpoint = world.dir.path().join("mnt");
    ran(world.afs().arg("pending").arg(mountpoint).arg("--retry"))
}

#[test]
fn put_has_a_file_expire() {
    for way in [Way::Mounted, Way::Alone, Way::Bare] {
        let world = World::new();
        let mount = (way == Way::Mounted).then(|| world.mount_with(&["--dialect", "ga"]));
        let desk = Desk::of(&world, way);
        desk.write("a.txt", b"a");
        let put = desk.afs("put", &["a.txt", "--expires", "7d", "--json"]);
        assert_eq!(put.code, Some(0), "{}", put.err);
        assert!(put.json()[0]["expires_at"].is_string(), "{}", put.out);
        assert!(world.stored("a.txt").expires_at.is_some());
        drop(mount);
    }
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    desk.write("a.txt", b"a");
    desk.afs("put", &["a.txt", "--expires", "7d"])
        .complains(1, "--dialect ga");
    assert!(world.emulator.files().unwrap().is_empty());
    drop(mount);
}

/// A put that was given up leaves its save to whoever comes next, which can be seen and dropped.
#[test]
fn what_a_put_leaves_is_pending_and_can_be_dropped_or_flushed_without_a_mount() {
    let world = World::new();
    let desk = Desk::of(&world, Way::Alone);
    desk.write("known.md", b"known");
    assert_eq!(desk.afs("put", &["known.md"]).code, Some(0));
    let refused = FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    };
    world.emulator.set_faults(vec![refused]);
    for name in ["a.md", "b.md"] {
        desk.write(name, name.as_bytes());
        assert_eq!(desk.afs("put", &["--timeout", "1s", name]).code, Some(1));
    }
    world.emulator.clear_faults();
    let pending = |words: &[&str]| {
        let mut afs = world.afs();
        afs.args(["pending", "--state-dir"]).arg(world.state_root());
        // The state is called by its place: it was never mounted.
        ran(afs.arg(world.state_dir()).args(words))
    };
    let listed = pending(&["--json"]).json();
    assert_eq!([&listed[0]["name"], &listed[1]["name"]], ["a.md", "b.md"]);
    let dropped = pending(&["--drop", "a.md"]);
    assert_eq!(dropped.code, Some(0), "{}", dropped.err);
    assert!(dropped.err.contains("a.md is not sent"), "{}", dropped.err);
    // A 503 may have had its effect: it is looked for, and deleted.
    let again = pending(&["--drop", "a.md"]);
    assert!(
        again.err.contains("it is given up already"),
        "{}",
        again.err
    );
    assert_eq!(pending(&["--drop", "none.md"]).code, Some(3));
    let mut flush = desk.command("flush", &[]);
    assert_eq!(ran(&mut flush).code, Some(0));
    assert!(world.all_stored("a.md").is_empty());
    assert_eq!(world.stored_bytes("b.md"), b"b.md");
}

#[test]
fn ctrl_c_of_a_put_says_what_goes_on() {
    let world = World::new();
    let mount = world.mount();
    let desk = Desk::of(&world, Way::Mounted);
    world.hang(&[LoggedCall::Upload]);
    desk.write("a.md", b"text");
    let mut put = desk.command("put", &["a.md"]);
    put.stderr(Stdio::piped());
    let child = start(&mut put);
    eventually("it is on its way", || world.calls().upload == 1);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("afs pending --drop a.md"), "{said}");
    world.emulator.clear_faults();
    eventually("it is sent", || world.all_stored("a.md").len() == 1);
    drop(mount);
}
