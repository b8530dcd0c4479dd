//! Both dialects of the service, chosen by each request's beta header, and files that expire.

use std::time::Duration;

use afs::emulator::{Config, Dialect, PlantedFile};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::wire::{Api, Reply, form, read, start};

const AGENTS: &str = "managed-agents-2026-04-01";

/// As a client of today that knows of managed agents.
fn get_agents(api: &Api, path: &str) -> Reply {
    read(
        api.today(Method::GET, path)
            .header("anthropic-beta", AGENTS),
    )
}

fn names(page: &Value) -> Vec<&str> {
    let data = page["data"].as_array().unwrap();
    data.iter()
        .map(|file| file["filename"].as_str().unwrap())
        .collect()
}

fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn the_beta_header_chooses_the_shapes() {
    let (emulator, api) = start(Config::default());
    let uploaded = api.upload("a.txt", b"a").ok();
    let path = format!("/v1/files/{}", text(&uploaded["id"]));
    assert_eq!(uploaded.get("expires_at"), None);
    let today = api.get_today(&path).ok();
    assert_eq!(today["expires_at"], Value::Null);
    let mut fields_today = fields(&uploaded);
    fields_today.push("expires_at");
    fields_today.sort_unstable();
    assert_eq!(fields(&today), fields_today);

    let beta = ["data", "first_id", "has_more", "last_id"];
    assert_eq!(fields(&api.get("/v1/files").ok()), beta);
    assert_eq!(fields(&api.get_scoped("/v1/files").ok()), beta);
    let page = api.get_today("/v1/files").ok();
    assert_eq!(page, json!({"data": [today], "next_page": null}));
    let page = get_agents(&api, "/v1/files").ok();
    let all = ["data", "first_id", "has_more", "last_id", "next_page"];
    assert_eq!(fields(&page), all);
    let spoken: Vec<_> = emulator.requests().iter().map(|r| r.dialect).collect();
    let (beta, ga) = (Dialect::Beta, Dialect::Ga);
    assert_eq!(spoken, [beta, ga, beta, beta, ga, ga]);
}

#[test]
fn today_pages_go_on_by_an_opaque_token_also_where_a_file_is_gone() {
    let (emulator, api) = start(Config::default());
    for n in 0..7 {
        api.upload(&n.to_string(), b"x");
    }
    let first = api.get_today("/v1/files?limit=3").ok();
    assert_eq!(names(&first), ["6", "5", "4"]);
    let token = text(&first["next_page"]);
    assert!(token.starts_with("page_"), "{token}");
    // The token names a place, not a file.
    assert!(emulator.delete(text(&first["data"][2]["id"])).unwrap());
    let second = api
        .get_today(&format!("/v1/files?limit=3&page={token}"))
        .ok();
    assert_eq!(names(&second), ["3", "2", "1"]);
    let token = text(&second["next_page"]);
    let last = api
        .get_today(&format!("/v1/files?limit=3&page={token}"))
        .ok();
    assert_eq!(
        (names(&last), &last["next_page"]),
        (vec!["0"], &Value::Null)
    );
    assert_eq!(api.get_today("/v1/files?page=page_none").error().0, 400);
    // The beta knows no such parameter.
    assert_eq!(names(&api.get("/v1/files?page=page_none").ok()).len(), 6);
}

#[test]
fn today_files_are_asked_for_by_their_ids() {
    let (_emulator, api) = start(Config::default());
    let ids: Vec<_> = (0..4)
        .map(|n| text(&api.upload(&n.to_string(), b"x").ok()["id"]).to_owned())
        .collect();
    let path = format!(
        "/v1/files?ids%5B%5D={}&ids%5B%5D=file_none&ids%5B%5D={}&ids%5B%5D={}",
        ids[1], ids[3], ids[1]
    );
    let page = api.get_today(&path).ok();
    assert_eq!(
        (names(&page), &page["next_page"]),
        (vec!["3", "1"], &Value::Null)
    );
    for query in ["limit=3", "page=page_x"] {
        assert_eq!(api.get_today(&format!("{path}&{query}")).error().0, 400);
    }
    let too_many: Vec<_> = (0..101).map(|id| format!("ids[]={id}")).collect();
    let too_many = too_many.join("&");
    assert_eq!(
        api.get_today(&format!("/v1/files?{too_many}")).error().0,
        400
    );
    assert_eq!(names(&api.get(&path).ok()).len(), 4, "unknown to the beta");
}

#[test]
fn today_ids_are_no_cursors_but_for_managed_agents() {
    let (_emulator, api) = start(Config::default());
    let ids: Vec<_> = (0..4)
        .map(|n| text(&api.upload(&n.to_string(), b"x").ok()["id"]).to_owned())
        .collect();
    for (cursor, expected) in [("after_id", ["1", "0"]), ("before_id", ["3", "2"])] {
        let id = if cursor == "after_id" {
            &ids[2]
        } else {
            &ids[1]
        };
        let path = format!("/v1/files?{cursor}={id}");
        let (status, kind, message, _) = api.get_today(&path).error();
        assert_eq!((status, kind.as_str()), (400, "invalid_request_error"));
        assert!(message.starts_with(cursor), "{message}");
        let page = get_agents(&api, &path).ok();
        assert_eq!(names(&page), expected);
        assert_eq!(page["first_id"], page["data"][0]["id"]);
        assert_eq!(page["has_more"], false);
        assert_eq!(get_agents(&api, &format!("{path}&ids[]=x")).error().0, 400);
    }
}

#[test]
fn today_a_parts_type_may_be_left_out() {
    let (_emulator, api) = start(Config::default());
    for (disposition, name, kind) in [
        (r#"name="file"; filename="a.csv""#, "a.csv", "text/csv"),
        (
            r#"name="file"; filename="a""#,
            "a",
            "application/octet-stream",
        ),
        (r#"name="file""#, "unnamed.bin", "application/octet-stream"),
    ] {
        let stored = api.upload_today(&form(&[(disposition, None, b"1,2")])).ok();
        assert_eq!(
            (text(&stored["filename"]), text(&stored["mime_type"])),
            (name, kind)
        );
        assert_eq!(
            api.upload_form(&form(&[(disposition, None, b"1")]))
                .error()
                .0,
            400
        );
    }
}

#[test]
fn an_expired_file_is_listed_still_and_its_bytes_are_gone() {
    let (emulator, api) = start(Config {
        quota: Some(100),
        ..Config::default()
    });
    let file = (
        r#"name="file"; filename="a""#,
        Some("text/plain"),
        &[b'x'; 60][..],
    );
    let lifetime =
        |seconds: &'static str| (r#"name="expires_in_seconds""#, None, seconds.as_bytes());
    for seconds in ["3599", "7776001", "soon", ""] {
        let (status, _, message, _) = api.upload_today(&form(&[lifetime(seconds), file])).error();
        assert_eq!(status, 400);
        assert!(message.starts_with("expires_in_seconds: "), "{message}");
    }
    // Whichever part comes first.
    let stored = api.upload_today(&form(&[file, lifetime("3600")])).ok();
    let time = |name: &str| text(&stored[name]).parse::<Timestamp>().unwrap();
    let hour = Duration::from_secs(3600);
    assert_eq!(time("created_at") + hour, time("expires_at"));
    let soon = Timestamp::now() + Duration::from_secs(60);
    let output = emulator.plant(PlantedFile {
        expires_at: Some(soon),
        ..PlantedFile::output("b", "bytes")
    });
    let content = format!("/v1/files/{}/content", output.unwrap().id);
    assert_eq!(api.get(&content).body, b"bytes");
    assert_eq!(
        api.upload("c", &[b'x'; 60]).status,
        403,
        "the storage is full"
    );

    emulator.set_clock_ahead(hour + Duration::from_secs(1));
    let (status, kind, _, code) = api.get(&content).error();
    assert_eq!((status, kind.as_str()), (404, "not_found_error"));
    assert_eq!(code.as_deref(), Some("file_expired"));
    assert_eq!(names(&api.get_today("/v1/files").ok()), ["b", "a"]);
    let path = format!("/v1/files/{}", text(&stored["id"]));
    assert_eq!(api.get_today(&path).ok(), stored);
    assert_eq!(
        api.upload("c", &[b'x'; 60]).status,
        200,
        "there is room again"
    );
    let date = api.get("/v1/files").header("date").unwrap().to_owned();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    assert!(date > soon, "{date}");
    assert_eq!(api.delete(&path).status, 200);
    assert_eq!(api.get_today(&path).status, 404);
}
