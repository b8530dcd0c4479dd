//! Trouble to order, third part: a service that is in another state than it should be, where its lists lag behind, its quota
//! is used up or its clock is off; and which calls a rule strikes.

use std::fs;
use std::time::{Duration, Instant};

use afs::api::ErrorKind;
use afs::emulator::{Config, Emulator, LoggedCall, PlantedFile, Switches};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::wire::{Api, start, wait_until};
use crate::{PATIENT, client, failures};

fn order(api: &Api, rules: &Value) {
    let reply = api.put_faults(rules);
    let said = String::from_utf8_lossy(&reply.body);
    assert_eq!(reply.status, 204, "{said}");
}

/// The names a list shows, in its order.
fn names(api: &Api, path: &str) -> Vec<String> {
    let data = api.get(path).ok()["data"].take();
    let name = |file: &Value| file["filename"].as_str().unwrap().to_owned();
    data.as_array().unwrap().iter().map(name).collect()
}

/// An emulator that had the files `doomed` and `old` from its start.
fn with_old_files() -> (tempfile::TempDir, Emulator, Api) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["doomed", "old"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let (emulator, api) = start(Config {
        import: Some(folder.path().to_owned()),
        ..Config::default()
    });
    (folder, emulator, api)
}

fn id_of(emulator: &Emulator, name: &str) -> String {
    let files = emulator.files().unwrap();
    let file = files.into_iter().find(|file| file.filename == name);
    file.unwrap().id
}

#[test]
fn a_stale_list_shows_what_was_and_a_single_file_is_as_it_is() {
    let (_folder, emulator, api) = with_old_files();
    let before = names(&api, "/v1/files");
    assert_eq!(before.len(), 2);
    let doomed = id_of(&emulator, "doomed");
    order(
        &api,
        &json!([{"call": "list", "do": {"stale_listing_s": 3600}}]),
    );
    let new = api.upload("new", b"new").ok()["id"].take();
    let new = new.as_str().unwrap();
    api.delete(&format!("/v1/files/{doomed}")).ok();
    emulator.bulk(3, "many-", 10, true).unwrap();
    let short = api.upload("short", b"x").ok()["id"].take();
    api.delete(&format!("/v1/files/{}", short.as_str().unwrap()))
        .ok();

    assert_eq!(names(&api, "/v1/files"), before);
    // Page by page, in both directions: past a file that has gone, and not to one that has come.
    let first = names(&api, "/v1/files?limit=1");
    let page = api.get("/v1/files?limit=1").ok();
    assert_eq!(page["has_more"], true);
    let cursor = page["last_id"].as_str().unwrap();
    let rest = names(&api, &format!("/v1/files?after_id={cursor}"));
    assert_eq!([first, rest].concat(), before);
    let last = api.get("/v1/files").ok()["last_id"].take();
    let newer = format!("/v1/files?before_id={}", last.as_str().unwrap());
    assert_eq!(names(&api, &newer), before[..1]);

    assert_eq!(api.get(&format!("/v1/files/{new}")).status, 200);
    assert_eq!(api.get(&format!("/v1/files/{doomed}")).status, 404);
    order(&api, &json!([{"do": {"stale_listing_s": 0}}]));
    let now = ["many-0000002.txt", "many-0000001.txt", "many-0000000.txt"];
    let now = [&now[..], &["new", "old"]].concat();
    let mut shown = names(&api, "/v1/files");
    shown.sort_unstable();
    let mut expected = now.clone();
    expected.sort_unstable();
    assert_eq!(shown, expected);
    emulator.clear_faults();
    assert_eq!(names(&api, "/v1/files").len(), now.len());
}

#[test]
fn a_stale_list_catches_up_when_its_time_is_over_and_not_before() {
    const LAG: Duration = Duration::from_millis(700);
    let (_folder, emulator, api) = with_old_files();
    let lag = LAG.as_secs_f64();
    order(&api, &json!([{"do": {"stale_listing_s": lag}}]));
    let begun = Instant::now();
    api.upload("new", b"new").ok();
    emulator.delete(&id_of(&emulator, "doomed")).unwrap();
    wait_until("the list has caught up", || {
        let mut shown = names(&api, "/v1/files");
        shown.sort_unstable();
        shown == ["new", "old"]
    });
    assert!(begun.elapsed() >= LAG, "{:?}", begun.elapsed());
}

#[test]
fn a_full_quota_to_order_is_answered_as_a_full_quota_is() {
    let (emulator, api) = start(Config {
        quota: Some(10),
        switches: Switches {
            empty_files_accepted: false,
            ..Switches::default()
        },
        ..Config::default()
    });
    let full = api.upload("large", &[0; 20]).error();
    let empty = api.upload("empty", b"").error();
    order(&api, &json!([{"name": "l*", "do": {"quota_full": true}}]));
    emulator.reset_requests();
    assert_eq!(api.upload("little", b"x").error(), full);
    let line = emulator.requests().remove(0);
    assert_eq!((line.call, line.status), (LoggedCall::Upload, Some(full.0)));
    assert!(line.bytes_in > 0);
    // What is refused for another reason is refused for that, and others are not.
    assert_eq!(api.upload("lost", b"").error(), empty);
    assert_eq!(api.upload("other", b"x").status, 200);
    order(&api, &json!([{"do": {"quota_full": true}}]));
    assert_eq!(names(&api, "/v1/files"), ["other"]);
    emulator.clear_faults();
    assert_eq!(api.upload("little", b"x").status, 200);
}

#[test]
fn a_skewed_clock_is_told_in_times_and_dates_and_by_nothing_else() {
    let (emulator, api) = start(Config::default());
    api.upload("before", b"x").ok();
    // How far both clocks are from this machine's, to a few seconds: a date has whole ones.
    let told = |name: &str| {
        let reply = api.upload(name, b"x");
        let date = DateTimeParser::new().parse_timestamp(reply.header("date").unwrap());
        let created: Timestamp = reply.ok()["created_at"].as_str().unwrap().parse().unwrap();
        let ahead = |time: Timestamp| {
            let skew = time.duration_since(Timestamp::now()) + SignedDuration::from_secs(30);
            skew.as_secs().div_euclid(60)
        };
        (ahead(created), ahead(date.unwrap()))
    };
    for (name, minutes) in [("behind", -60), ("ahead", 60)] {
        order(&api, &json!([{"do": {"skewed_clock_s": minutes * 60}}]));
        assert_eq!(told(name), (minutes, minutes));
        let date = api.get("/v1/files").header("date").map(str::to_owned);
        let date = DateTimeParser::new().parse_timestamp(date.unwrap());
        let skew = date.unwrap().duration_since(Timestamp::now()).as_secs();
        assert!((skew - minutes * 60).abs() < 30, "{skew}");
        // What comes beside the API has the true time.
        let planted = PlantedFile::output("planted", "x");
        let planted = emulator.plant(planted).unwrap();
        let age = Timestamp::now().duration_since(planted.created_at);
        assert!(age.abs() < SignedDuration::from_secs(30), "{age}");
        emulator.delete(&planted.id).unwrap();
    }
    emulator.clear_faults();
    assert_eq!(told("after"), (0, 0));
    let order = names(&api, "/v1/files");
    assert_eq!(order, ["ahead", "after", "before", "behind"]);
    // An answer of a rule's own keeps its own.
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let answer = json!({"status": 503, "headers": {"date": date}, "skewed_clock_s": 60});
    order_one(&api, &answer);
    assert_eq!(api.get("/v1/files").header("date"), Some(date));
}

fn order_one(api: &Api, action: &Value) {
    order(api, &json!([{ "do": action }]));
}

#[test]
fn a_state_that_cannot_be_is_refused_by_its_name() {
    let (_emulator, api) = start(Config::default());
    for (action, word) in [
        (json!({"stale_listing_s": -1}), "stale_listing_s"),
        (json!({"stale_listing_s": 3601}), "stale_listing_s"),
        (
            json!({"skewed_clock_s": 4_000_000_000_i64}),
            "skewed_clock_s",
        ),
        (
            json!({"skewed_clock_s": -4_000_000_000_i64}),
            "skewed_clock_s",
        ),
        (json!({"quota_full": "yes"}), "yes"),
        (json!({"quota_full": false}), "no action"),
    ] {
        let (status, _, message, _) = api.put_faults(&json!([{ "do": action }])).error();
        assert_eq!(status, 400, "{action}");
        assert!(message.contains(word), "{action}: {message}");
    }
}

/// The statuses of so many lists.
fn statuses(api: &Api, lists: usize) -> Vec<u16> {
    (0..lists).map(|_| api.get("/v1/files").status).collect()
}

#[test]
fn a_rule_strikes_each_so_many_th_of_the_calls_it_matches() {
    let (_emulator, api) = start(Config::default());
    let rule = json!({"call": "list", "nth": 2, "every": 3, "times": 2, "do": {"status": 503}});
    order(&api, &json!([rule]));
    let mut struck = Vec::new();
    for status in statuses(&api, 9) {
        // Between them a call that it does not match, and does not count.
        assert_eq!(api.get("/v1/files/file_x").status, 404);
        struck.push(status == 503);
    }
    let expected = [false, true, false, false, true, false, false, false, false];
    assert_eq!(struck, expected);
}

#[test]
fn a_rule_strikes_by_the_same_chance_every_time() {
    let (_emulator, api) = start(Config::default());
    let by_chance = |probability: f64, seed: u64| {
        let rule = json!({"probability": probability, "seed": seed, "do": {"status": 503}});
        order(&api, &json!([rule]));
        statuses(&api, 40)
    };
    assert_eq!(by_chance(0.0, 1), [200; 40]);
    assert_eq!(by_chance(1.0, 1), [503; 40]);
    let half = by_chance(0.5, 1);
    assert!(half.contains(&200) && half.contains(&503), "{half:?}");
    assert_eq!(by_chance(0.5, 1), half);
    assert_ne!(by_chance(0.5, 2), half);
}

#[test]
fn a_rule_strikes_between_its_seconds() {
    let (_emulator, api) = start(Config::default());
    let lists_answer = |status: u16| {
        let begun = Instant::now();
        wait_until("the rule's time comes", || statuses(&api, 1) == [status]);
        begun.elapsed()
    };
    let second = Duration::from_millis(600);
    order(&api, &json!([{"from_s": 0.7, "do": {"status": 503}}]));
    assert!(lists_answer(503) >= second);
    order(&api, &json!([{"to_s": 0.7, "do": {"status": 503}}]));
    assert!(lists_answer(200) >= second);
}

/// The key would go there too.
#[test]
fn a_redirect_to_order_leads_the_client_nowhere() {
    let (elsewhere, _) = start(Config::default());
    let (emulator, api) = start(Config::default());
    let location = format!("{}/v1/files", elsewhere.base_url());
    for status in [301, 302, 303, 307, 308] {
        emulator.reset_requests();
        order_one(
            &api,
            &json!({"status": status, "headers": {"location": location}}),
        );
        for (call, error) in failures(&client(&emulator.base_url(), PATIENT)) {
            let error = error.unwrap();
            assert_eq!(error.kind, ErrorKind::Nonsense, "{call:?}: {error}");
        }
        let answered = emulator.requests();
        assert!(answered.iter().all(|line| line.status == Some(status)));
        assert_eq!(answered.len(), 5);
    }
    assert_eq!(elsewhere.requests(), []);
}
