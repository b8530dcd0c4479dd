//! `afs status`: what moves, who caused which requests, what waits, what failed.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile};
use serde_json::{Value, json};

use super::{Ran, ran};
use crate::harness::{Calls, Mount, PATIENCE, World, eventually, pattern, start, within};

const MB: usize = 1 << 20;

/// Runs `afs status WORDS MOUNTPOINT`.
pub(super) fn status(world: &World, mount: &Mount, words: &[&str]) -> Ran {
    let mut status = world.afs();
    ran(status
        .env("TZ", "UTC")
        .arg("status")
        .args(words)
        .arg(mount.path()))
}

/// What it says of the one mount.
fn said(world: &World, mount: &Mount) -> Value {
    status(world, mount, &["--json"]).json()[0].take()
}

/// A rule for a call, of files of this name.
pub(super) fn rule(call: LoggedCall, name: &str, action: FaultAction) -> FaultRule {
    FaultRule {
        call: Some(call),
        name: Some(name.to_owned()),
        ..FaultRule::new(action)
    }
}

/// An answer of this status that asks for `seconds` to wait.
pub(super) fn answer(status: u16, seconds: &str) -> FaultAction {
    FaultAction::Status(FaultAnswer {
        headers: BTreeMap::from([("retry-after".to_owned(), seconds.to_owned())]),
        ..FaultAnswer::status(status)
    })
}

/// The request id of a listed error; the mount's log must have it in a line about `what`.
fn request_id<'a>(mount: &Mount, what: &str, error: &'a Value) -> &'a str {
    let id = error["request_id"].as_str().expect("a request id");
    let (log, request) = (mount.log(), format!("request {id})"));
    let mut lines = log.lines();
    let is_logged = lines.any(|line| line.contains(what) && line.contains(&request));
    assert!(is_logged, "{what}: {id}");
    id
}

/// A shell line in a mount, whose end nobody waits for here.
fn in_background(mount: &Mount, line: &str) -> Child {
    start(
        Command::new("bash")
            .args(["-c", line])
            .current_dir(mount.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

#[test]
fn what_moves_is_shown_with_its_speed() {
    let world = World::new();
    let film = pattern(64 * MB);
    world.output("film.mp4", &film);
    let mount = world.mount_with(&["--refresh", "1h"]);
    assert_eq!(said(&world, &mount)["transfers"], json!([]));
    std::fs::write(world.dir.path().join("large"), pattern(32 * MB)).unwrap();
    world.emulator.set_faults(vec![
        rule(LoggedCall::Upload, "large", FaultAction::Stall),
        rule(
            LoggedCall::Content,
            "film.mp4",
            FaultAction::SlowBytesPerSecond(2_000_000),
        ),
    ]);
    let mut copy = in_background(&mount, "cp ../large .");
    let mut read = in_background(&mount, "cat film.mp4");
    let mut last = Value::Null;
    eventually("both are under way, and the download has its speed", || {
        last = said(&world, &mount)["transfers"].take();
        let is_near = |rate: &Value| (1_000_000..3_000_000).contains(&rate.as_u64().unwrap());
        last[0]["direction"] == "upload"
            && last[1]["done"].as_u64() > Some(3_000_000)
            && is_near(&last[1]["bytes_per_second"])
    });
    let [upload, download] = &last.as_array().unwrap()[..] else {
        panic!("{last}");
    };
    assert_eq!(
        (&upload["name"], &upload["size"]),
        (&json!("large"), &json!(32 * MB))
    );
    assert!(upload["done"].as_u64() < Some(32 << 20), "{upload}");
    assert_eq!(
        (&download["name"], &download["direction"], &download["size"]),
        (&json!("film.mp4"), &json!("download"), &json!(64 * MB))
    );
    // Nothing of it moves any more.
    eventually("the upload is seen to stand", || {
        said(&world, &mount)["transfers"][0]["bytes_per_second"] == 0
    });
    let printed = status(&world, &mount, &[]).out;
    for part in [
        "\n  sending   large: ",
        "\n  fetching  film.mp4: ",
        " of 64.00 MiB, ",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    world.emulator.clear_faults();
    assert!(
        within(PATIENCE, "the copy", move || copy.wait())
            .unwrap()
            .success()
    );
    let _ = read.kill();
    let _ = read.wait();
    eventually("nothing moves", || {
        said(&world, &mount)["transfers"] == json!([])
    });
    assert_eq!(world.stored("large").size_bytes, 32 << 20);
}

/// Requests by program, as the status has them.
fn by_program(world: &World, mount: &Mount) -> BTreeMap<String, usize> {
    let requests = said(world, mount)["requests"].take();
    let caused = requests["by_program"].as_array().unwrap();
    let counts: Vec<u64> = caused
        .iter()
        .map(|c| c["count"].as_u64().unwrap())
        .collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{requests}");
    assert_eq!(Some(counts.iter().sum()), requests["last_minute"].as_u64());
    let named = caused.iter().map(|caused| {
        let program = caused["program"].as_str().unwrap().to_owned();
        (program, caused["count"].as_u64().unwrap() as usize)
    });
    named.collect()
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter()
        .map(|(name, n)| ((*name).to_owned(), *n))
        .collect()
}

#[test]
fn each_request_counts_for_the_program_that_caused_it() {
    let world = World::new();
    world.removes("copied");
    world.output("chart", b"pixels");
    let mount = world.mount_with(&["--refresh", "1h"]);
    assert_eq!(by_program(&world, &mount), counts(&[("afs", 1)]));
    let new = world.output("new", b"new");
    // A lookup of an id that nobody knows, a read, two saves, a rename, and what is asked once only.
    let id = &new.id;
    mount.sh(&format!("stat .afs/by-id/{id}; stat .afs/by-id/{id}"));
    mount.sh("cat chart; cat chart; head -c 1 chart");
    mount.sh("cp /etc/hostname copied; printf 1 | tee teed");
    mount.sh("mv teed moved; ls -l; cat copied");
    let deletions = |count| {
        eventually("the deletions are sent", || world.calls().delete == count);
    };
    deletions(1);
    mount.sh("rm copied");
    deletions(2);
    let calls = Calls {
        list: 1,
        metadata: 1,
        content: 1,
        upload: 3,
        delete: 2,
    };
    assert_eq!(world.calls(), calls);
    // A rename is an upload and the deletion of what had the old name.
    let expected = [("afs", 1), ("stat", 1), ("cat", 1), ("cp", 1), ("tee", 1)];
    let mut expected = counts(&expected);
    expected.extend(counts(&[("mv", 2), ("rm", 1)]));
    assert_eq!(by_program(&world, &mount), expected);
    let printed = status(&world, &mount, &[]).out;
    let line = "\n  requests  8 in the last minute (2 by mv, 1 by afs, 1 by cat, 1 by cp, 1 by rm, 2 by others)\n";
    assert!(printed.contains(line), "{printed}");
}

/// The program is gone when its save is sent, refused, looked for and sent again, and what it replaces deleted.
#[test]
fn a_save_counts_for_who_closed_the_file_though_it_is_sent_later() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "1h", "--write-back"]);
    mount.sh("printf old | tee report; sync report");
    eventually("the old version is there", || world.calls().upload == 1);
    world.emulator.set_faults(vec![FaultRule {
        times: Some(1),
        ..rule(LoggedCall::Upload, "report", answer(529, "1"))
    }]);
    mount.sh("cp /etc/hostname report");
    assert_eq!(world.calls().upload, 1, "nobody waited for it");
    ran(world.afs().arg("flush").arg(mount.path()));
    eventually("the old one is deleted", || world.calls().delete == 1);
    let calls = Calls {
        list: 2,
        upload: 3,
        delete: 1,
        ..Calls::NONE
    };
    assert_eq!(world.calls(), calls);
    let expected = counts(&[("afs", 1), ("tee", 1), ("cp", 4)]);
    assert_eq!(by_program(&world, &mount), expected);
    let errors = said(&world, &mount)["errors"].take();
    request_id(&mount, "report: upload failed", &errors[0]);
    assert_eq!(errors[1], Value::Null);
}

#[test]
fn a_sessions_listing_counts_for_who_looks_into_it() {
    let world = World::new();
    let planted = PlantedFile {
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("a", b"1")
    };
    world.emulator.plant(planted).unwrap();
    let mount = world.mount_with(&["--refresh", "1h"]);
    assert_eq!(mount.sh("ls .afs/sessions/sesn_1"), "a\n");
    mount.sh("stat .afs/sessions/sesn_1/a");
    assert_eq!(world.calls().list, 2);
    let expected = counts(&[("afs", 1), ("ls", 1)]);
    assert_eq!(by_program(&world, &mount), expected);
}

/// Readers of one file share what is fetched, and each has asked for its part.
#[test]
fn a_read_elsewhere_in_a_file_counts_for_who_reads_there() {
    let world = World::new();
    world.output("film", &pattern(48 * MB));
    let mount = world.mount_with(&["--refresh", "1h"]);
    let mut holding = in_background(
        &mount,
        "exec 3< film; head -c 1 <&3 >/dev/null; exec sleep 60",
    );
    eventually("its beginning is asked for", || world.calls().content == 1);
    mount.sh("tail -c 1 film > /dev/null");
    let _ = holding.kill();
    let _ = holding.wait();
    assert_eq!(world.calls().content, 2);
    let expected = counts(&[("afs", 1), ("head", 1), ("tail", 1)]);
    assert_eq!(by_program(&world, &mount), expected);
}

#[test]
fn what_failed_is_listed_with_what_support_asks_for() {
    let world = World::new();
    let chart = world.output("chart", b"pixels");
    let mount = world.mount_with(&["--refresh", "1h", "--timeout", "1s"]);
    world.emulator.set_faults(vec![
        rule(LoggedCall::Content, "chart", answer(500, "1")),
        rule(LoggedCall::Upload, "report", answer(400, "1")),
    ]);
    for _ in 0..2 {
        assert!(!mount.try_sh("cat chart").status.success());
    }
    assert!(!mount.try_sh("cp /etc/hostname report").status.success());
    let errors = said(&world, &mount)["errors"].take();
    let [read, save] = &errors.as_array().unwrap()[..] else {
        panic!("{errors}");
    };
    let read_id = request_id(&mount, &chart.id, read);
    let save_id = request_id(&mount, "report: upload failed", save);
    let times = read["times"].as_u64().unwrap();
    assert!(times >= 2, "the same stands once: {errors}");
    assert!(read["at"].as_i64() <= save["at"].as_i64(), "{errors}");
    let listed = |call, name, id: Option<&str>, status, times, error: &Value| {
        json!({
            "call": call, "name": name, "id": id, "status": status, "times": times,
            "at": error["at"], "why": error["why"], "request_id": error["request_id"],
        })
    };
    let (name, id) = ("chart", Some(&*chart.id));
    assert_eq!(*read, listed("download", name, id, 500, times, read));
    assert_eq!(*save, listed("upload", "report", None, 400, 1, save));

    let printed = status(&world, &mount, &[]).out;
    let why = |error: &Value| error["why"].as_str().unwrap().to_owned();
    let (read_why, save_why) = (why(read), why(save));
    let expected = [
        format!("download of chart: {read_why} (status 500, request {read_id}, {times} times)"),
        format!("upload of report: {save_why} (status 400, request {save_id})"),
    ];
    let mut lines = printed.lines();
    lines.find(|line| line.starts_with("  on disk "));
    for (label, expected) in ["errors", ""].iter().zip(expected) {
        let line = lines.next().unwrap();
        assert!(line.starts_with(&format!("  {label:<10}20")), "{printed}");
        assert!(line.ends_with(&format!("  {expected}")), "{printed}");
    }
    assert!(lines.next().unwrap().starts_with("  process "), "{printed}");
}

#[test]
fn what_was_repeated_or_waited_for_and_went_well_is_no_error() {
    let world = World::new();
    world.output("flaky", b"comes at the second try");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let once = |rule| FaultRule {
        times: Some(1),
        ..rule
    };
    world.emulator.set_faults(vec![
        once(rule(LoggedCall::Content, "flaky", answer(503, "0"))),
        once(rule(LoggedCall::Upload, "limited", answer(429, "0"))),
    ]);
    assert_eq!(mount.sh("cat flaky"), "comes at the second try");
    mount.sh("printf 1 > limited; ! stat .afs/by-id/file_none");
    let calls = Calls {
        list: 1,
        metadata: 1,
        content: 2,
        upload: 2,
        ..Calls::NONE
    };
    assert_eq!(world.calls(), calls);
    assert_eq!(said(&world, &mount)["errors"], json!([]));
}

#[test]
fn a_download_that_breaks_off_is_listed_though_it_is_taken_up_again() {
    let world = World::new();
    let film = pattern(4 * MB);
    world.output("film", &film);
    let mount = world.mount_with(&["--refresh", "1h"]);
    world.emulator.set_faults(vec![FaultRule {
        times: Some(1),
        ..rule(
            LoggedCall::Content,
            "film",
            FaultAction::CutAfterBytes(1 << 20),
        )
    }]);
    assert_eq!(std::fs::read(mount.at("film")).unwrap(), film);
    let errors = said(&world, &mount)["errors"].take();
    assert_eq!(
        (&errors[0]["call"], &errors[0]["name"]),
        (&json!("download"), &json!("film"))
    );
    assert_eq!(errors[1], Value::Null, "{errors}");
}

/// More saves than are under way at once, and those that were refused are under way no more: all of them wait.
#[test]
fn what_waits_is_said_by_what_it_is() {
    const SAVES: usize = 40;
    let world = World::new();
    world.removes("gone");
    world.output("chart", b"pixels");
    world.output("gone", b"1");
    let mount = world.mount_with(&["--refresh", "1h"]);
    let limit = |call| FaultRule {
        call: Some(call),
        ..FaultRule::new(answer(429, "50"))
    };
    let calls = [LoggedCall::Upload, LoggedCall::Content, LoggedCall::Delete];
    world.emulator.set_faults(calls.map(limit).to_vec());
    let line =
        format!("for n in $(seq {SAVES}); do echo $n > save-$n & done; rm gone; cat chart; wait");
    let mut saving = in_background(&mount, &line);
    let expected = json!({"reads": 1, "lookups": 0, "saves": SAVES, "deletions": 1, "listings": 0});
    let mut requests = Value::Null;
    eventually("all of it waits", || {
        requests = said(&world, &mount)["requests"].take();
        requests["waiting_for"] == expected
    });
    assert_eq!(requests["waiting"], SAVES + 2);
    assert_eq!(requests["limited_by"], "service");
    let wait = requests["longest_wait_seconds"].as_u64().unwrap();
    assert!((30..=50 + 60).contains(&wait), "{requests}");
    let printed = status(&world, &mount, &[]).out;
    let words = format!(
        "\n  waiting   Paced by the service: 1 read, {SAVES} saves and 1 deletion wait, about "
    );
    assert!(printed.contains(&words), "{printed}");
    assert_eq!(said(&world, &mount)["errors"], json!([]));
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    within(PATIENCE, "the shell", move || saving.wait()).unwrap();
    world.emulator.clear_faults();
    let mount = world.mount();
    let mut flush = world.afs();
    assert_eq!(ran(flush.arg("flush").arg(mount.path())).code, Some(0));
    assert_eq!(world.emulator.files().unwrap().len(), SAVES + 1);
}
