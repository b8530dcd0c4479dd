//! `afs id`, `show`, `find` and `ls`.

use afs::emulator::{FaultAction, FaultRule, LoggedCall, PlantedFile};
use serde_json::{Value, json};

use super::{afs, ran};
use crate::harness::{Calls, World, eventually};

const DAY: &str = "2026-11-21T09:12:00Z";

fn planted(world: &World, id: &str, file: PlantedFile) {
    world
        .emulator
        .plant(PlantedFile {
            id: Some(id.to_owned()),
            created_at: Some(DAY.parse().unwrap()),
            ..file
        })
        .unwrap();
}

/// An output, and an upload of somebody else.
fn two_files(world: &World) {
    planted(
        world,
        "file_chart",
        PlantedFile::output("chart.png", "0123456789"),
    );
    planted(
        world,
        "file_theirs",
        PlantedFile {
            downloadable: false,
            ..PlantedFile::output("theirs.pdf", vec![0; 2048])
        },
    );
}

#[test]
fn the_id_of_a_file_is_had_by_its_name_or_path_without_a_request() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    mount.sh("echo text > report.md");
    let id = world.stored("report.md").id;
    let calls = world.calls_of(|| {
        afs(&world, "id", &["report.md"]).prints(0, &format!("{id}\n"));
        let path = mount.at("report.md").display().to_string();
        afs(&world, "id", &["chart.png", &path]).prints(0, &format!("file_chart\n{id}\n"));
        let found = afs(&world, "id", &["--json", "report.md"]).json();
        assert_eq!(found, json!([{"name": "report.md", "id": id}]));
    });
    assert_eq!(calls, Calls::NONE);
}

#[test]
fn who_stands_in_the_mount_need_not_say_where_it_is() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    let mut command = world.afs();
    command.args(["id", "chart.png"]).current_dir(mount.path());
    // Anything of the mount's own is fine; a mount elsewhere that has such a file too would be another answer.
    ran(&mut command).prints(0, "file_chart\n");
}

#[test]
fn what_is_not_at_the_service_has_no_id() {
    let world = World::new();
    let mount = world.mount_with(&["--write-back"]);
    world.hang(&[LoggedCall::Upload]);
    mount.sh("echo text > new.md; echo text > own~");
    afs(&world, "id", &["new.md"]).complains(1, "still on its way to the service");
    afs(&world, "id", &["own~"]).complains(1, "stays on this machine");
    afs(&world, "id", &["nothing"]).complains(3, "no file of this name or id");
    world.emulator.clear_faults();
    eventually("it is sent", || !world.all_stored("new.md").is_empty());
    eventually("its id is known", || {
        afs(&world, "id", &["new.md"]).code == Some(0)
    });
}

/// One of several that fails is a failure, and the others are done.
#[test]
fn the_worst_of_several_is_the_exit_code() {
    let world = World::new();
    two_files(&world);
    let _mount = world.mount();
    afs(&world, "id", &["chart.png", "nothing", "theirs.pdf"])
        .prints(3, "file_chart\nfile_theirs\n");
    afs(&world, "id", &[]).complains(2, "say which file");
    let mut elsewhere = world.afs();
    ran(elsewhere.args(["id", "/etc/passwd"])).complains(3, "in no mount of afs");
}

#[test]
fn what_is_known_of_a_file_is_shown() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    let path = mount.path().display();
    afs(&world, "show", &["chart.png"]).prints(
        0,
        &format!(
            "\
path      {path}/chart.png
id        file_chart
size      10 B, 10 bytes
type      image/png
created   2026-11-21 09:12
bytes     at the service; reading downloads them
"
        ),
    );
    let shown = afs(&world, "show", &["theirs.pdf", "--json"]).json();
    assert_eq!(
        shown,
        json!([{
            "name": "theirs.pdf",
            "filename": "theirs.pdf",
            "id": "file_theirs",
            "size_bytes": 2048,
            "mime_type": "application/pdf",
            "created_at": DAY,
            "modified_at": DAY,
            "downloadable": false,
            "on_this_machine": false,
            "pending": false,
            "scratch": false,
            "is_older_copy": false,
            "session_id": null,
            "expires_at": null,
            "expired": false,
        }])
    );
}

#[test]
fn where_the_bytes_are_is_shown() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    let bytes = |name| {
        let shown = afs(&world, "show", &[name]);
        shown.out.lines().last().unwrap_or_default().to_owned()
    };
    assert_eq!(
        bytes("theirs.pdf"),
        "bytes     at the service, which does not give uploads back"
    );
    mount.sh("cat chart.png; echo text > own.md; echo text > own~");
    eventually("it is here", || {
        bytes("chart.png") == "bytes     on this machine and at the service"
    });
    assert_eq!(
        bytes("own.md"),
        "bytes     on this machine and at the service"
    );
    assert_eq!(bytes("own~"), "bytes     on this machine only, by its name");
}

/// An id from a prompt, of a file that no listing has shown yet.
#[test]
fn an_id_that_nobody_knows_is_asked_for_once() {
    let world = World::new();
    let _mount = world.mount();
    planted(
        &world,
        "file_other",
        PlantedFile {
            session: Some("sesn_1".to_owned()),
            ..PlantedFile::output("plot.svg", "<svg/>")
        },
    );
    let metadata = |metadata| Calls {
        metadata,
        ..Calls::NONE
    };
    let calls = world.calls_of(|| {
        let shown = afs(&world, "show", &["file_other", "--json"]).json();
        assert_eq!(shown[0]["filename"], "plot.svg");
        assert_eq!(shown[0]["session_id"], "sesn_1");
        assert_eq!(shown[0]["name"], ".afs/sessions/sesn_1/plot.svg");
    });
    assert_eq!(calls, metadata(1));
    let again = world.calls_of(|| assert_eq!(afs(&world, "show", &["file_other"]).code, Some(0)));
    assert_eq!(again, Calls::NONE);
    let unknown = world.calls_of(|| {
        afs(&world, "show", &["file_unknown"]).complains(3, "no file of this name or id");
        afs(&world, "show", &["unknown.pdf"]).complains(3, "no file of this name or id");
    });
    // A file of that name may have come since the last listing.
    let listed = Calls {
        list: 1,
        ..metadata(1)
    };
    assert_eq!(unknown, listed);
}

#[test]
fn files_are_found_by_id_and_by_pattern() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    let path = |name: &str| format!("{}\n", mount.at(name).display());
    let calls = world.calls_of(|| {
        afs(&world, "find", &["file_theirs"]).prints(0, &path("theirs.pdf"));
        afs(&world, "find", &["*.PNG"]).prints(0, &path("chart.png"));
        afs(&world, "find", &["*t*.p??"]).prints(0, &(path("chart.png") + &path("theirs.pdf")));
        afs(&world, "find", &["*.csv"]).complains(3, "no file is named so");
    });
    assert_eq!(calls, Calls::NONE);
    let found = afs(&world, "find", &["file_chart", "--json"]).json();
    assert_eq!(
        found[0]["path"],
        mount.at("chart.png").display().to_string()
    );
    assert_eq!(found[0]["id"], "file_chart");
}

/// The id in a prompt of yesterday, of a file that was saved again since.
#[test]
fn an_old_id_leads_to_what_has_its_place() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo one > report.md");
    let old = world.stored("report.md").id;
    mount.sh("echo two > report.md; mv report.md final.md");
    eventually("it is renamed", || world.all_stored("report.md").is_empty());
    let new = world.stored("final.md").id;
    let said = format!("{old} was replaced by {new} (final.md) on 20");
    let found = afs(&world, "find", &[&old]);
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert_eq!(found.out, format!("{}\n", mount.at("final.md").display()));
    assert!(found.err.starts_with(&said), "{}", found.err);
    for command in ["id", "show"] {
        afs(&world, command, &[&old]).complains(3, &said);
    }
    mount.unmount();
    afs(&world, "show", &[&old]).complains(3, &said);
}

#[test]
fn files_are_listed_with_their_ids() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    let theirs =
        "   2.00 KiB  2026-11-21 09:12  upload   file_theirs                    theirs.pdf\n";
    let chart =
        "       10 B  2026-11-21 09:12  output   file_chart                     chart.png\n";
    let calls = world.calls_of(|| {
        afs(&world, "ls", &[]).prints(0, &format!("{chart}{theirs}"));
        afs(&world, "ls", &["--outputs"]).prints(0, chart);
        afs(&world, "ls", &["--uploads"]).prints(0, theirs);
    });
    assert_eq!(calls, Calls::NONE);
    mount.sh("printf a > b; touch -d 2020-01-01 b");
    let names = |sort| {
        let listed = afs(&world, "ls", &["--json", "--sort", sort]).json();
        let files = listed.as_array().unwrap().iter();
        files
            .map(|file| file["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("name"), ["b", "chart.png", "theirs.pdf"]);
    assert_eq!(names("size"), ["b", "chart.png", "theirs.pdf"]);
    mount.sh("printf 0123456789abcdef > b; touch -d 2020-01-01 b");
    assert_eq!(names("size"), ["chart.png", "b", "theirs.pdf"]);
    assert_eq!(names("time"), ["b", "chart.png", "theirs.pdf"]);
}

/// A script that asks what is new needs no mount to be looked at first.
#[test]
fn a_listing_that_is_due_is_one_request() {
    let world = World::new();
    let _mount = world.mount_with(&["--refresh", "1ms"]);
    world.output("new.csv", b"1,2");
    let calls = world.calls_of(|| {
        let listed = afs(&world, "ls", &["--json"]).json();
        assert_eq!(listed[0]["name"], "new.csv");
    });
    let one_list = Calls {
        list: 1,
        ..Calls::NONE
    };
    assert_eq!(calls, one_list);
}

#[test]
fn the_files_of_a_session_are_listed() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    planted(
        &world,
        "file_plot",
        PlantedFile {
            session: Some("sesn_1".to_owned()),
            ..PlantedFile::output("plot.svg", "<svg/>")
        },
    );
    let listed = afs(&world, "ls", &["--session", "sesn_1", "--json"]).json();
    let [file] = &listed.as_array().unwrap()[..] else {
        panic!("{listed}");
    };
    assert_eq!(file["id"], "file_plot");
    let path = mount.at(".afs/sessions/sesn_1/plot.svg");
    assert_eq!(file["path"], path.display().to_string());
    afs(&world, "id", &[&path.display().to_string()]).prints(0, "file_plot\n");
}

/// More than an answer on the socket has.
#[test]
fn thousands_of_files_are_listed_whole() {
    let world = World::new();
    world.emulator.bulk(1_234, "doc-", 10, true).unwrap();
    let mount = world.mount();
    assert_eq!(afs(&world, "ls", &[]).out.lines().count(), 1_234);
    mount.unmount();
    let listed = afs(&world, "ls", &["--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1_234));
}

#[test]
fn what_is_not_mounted_is_answered_from_what_was_seen_last() {
    let world = World::new();
    two_files(&world);
    let mount = world.mount();
    mount.sh("echo text > report.md");
    let id = world.stored("report.md").id;
    mount.unmount();
    let calls = world.calls_of(|| {
        afs(&world, "id", &["report.md"]).prints(0, &format!("{id}\n"));
        let path = world.dir.path().join("mnt/chart.png");
        afs(&world, "find", &["file_chart"]).prints(0, &format!("{}\n", path.display()));
        assert_eq!(afs(&world, "ls", &[]).out.lines().count(), 3);
        afs(&world, "show", &["file_unknown"]).complains(3, "no file of this name or id");
    });
    assert_eq!(calls, Calls::NONE);
}

#[test]
fn what_was_never_mounted_is_said_so() {
    let world = World::new();
    for command in ["ls", "id", "show", "find", "block"] {
        let words: &[&str] = if command == "ls" { &[] } else { &["a"] };
        afs(&world, command, words).complains(3, "mount");
    }
}

/// A name that others gave may hold anything.
#[test]
fn a_terminal_is_not_steered_by_names_and_json_has_them_as_they_are() {
    let world = World::new();
    let name = "in\u{202e}fdp\u{1b}[2J.exe";
    planted(&world, "file_evil", PlantedFile::output(name, "x"));
    let _mount = world.mount();
    for words in [&["ls"][..], &["show", "file_evil"], &["find", "file_evil"]] {
        let shown = afs(&world, words[0], &words[1..]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        let is_steering = |c: char| c == '\u{202e}' || c == '\u{1b}';
        assert!(!shown.out.contains(is_steering), "{:?}", shown.out);
        assert!(shown.out.contains("fdp"), "{:?}", shown.out);
    }
    let listed = afs(&world, "ls", &["--json"]).json();
    assert_eq!(listed[0]["filename"], Value::from(name));
}

/// A question that the service does not answer ends by itself, with a sentence.
#[test]
fn a_refused_question_is_a_sentence() {
    let world = World::new();
    let _mount = world.mount_with(&["--timeout", "1s"]);
    let rule = FaultRule {
        call: Some(LoggedCall::Metadata),
        ..FaultRule::new(FaultAction::Stall)
    };
    world.emulator.set_faults(vec![rule]);
    afs(&world, "show", &["file_unknown"]).complains(1, "file_unknown: ");
}
