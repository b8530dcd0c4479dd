//! The side door: planting, looking behind, deleting as somebody else, and the request log.

use std::collections::HashSet;

use afs::emulator::{Config, LoggedCall, LoggedRequest, PlantedFile};
use reqwest::Method;
use serde_json::{Value, json};

use crate::wire::{Api, Reply, noise, read, start};

fn door(api: &Api, method: Method, path: &str, body: impl Into<reqwest::blocking::Body>) -> Reply {
    read(api.bare(method, &format!("/_emulator/{path}")).body(body))
}

fn get(api: &Api, path: &str) -> Reply {
    door(api, Method::GET, path, "")
}

#[test]
fn tools_files_are_planted_with_any_name() {
    let (emulator, api) = start(Config::default());
    let planted = door(
        &api,
        Method::POST,
        "files?filename=..%2Fa%00%0A%3Cb%3E&mime_type=text/x&session=sesn_1",
        "raw",
    )
    .ok();
    assert_eq!(planted["filename"], "../a\0\n<b>");
    assert_eq!(planted["mime_type"], "text/x");
    assert_eq!(planted["downloadable"], true);
    assert_eq!(planted["scope"]["id"], "sesn_1");
    let path = format!("/v1/files/{}/content", planted["id"].as_str().unwrap());
    assert_eq!(api.get(&path).body, b"raw");

    let body = noise(2_000_000);
    let path = format!(
        "files?filename={}&downloadable=false&id=abc&created_at=2001-02-03T04:05:06.789Z",
        "x".repeat(500)
    );
    let planted = door(&api, Method::POST, &path, body.clone()).ok();
    assert_eq!(
        (&planted["id"], &planted["downloadable"]),
        (&"abc".into(), &false.into())
    );
    assert_eq!(planted["created_at"], "2001-02-03T04:05:06.789000Z");
    assert!(emulator.content("abc").unwrap().unwrap() == body);
    assert_eq!(api.get("/v1/files/abc/content").status, 400);

    for (query, status) in [
        ("", 400),
        ("filename=", 400),
        (&format!("filename={}", "x".repeat(501)), 400),
        ("filename=a&id=", 400),
        ("filename=a&id=abc", 409),
        ("filename=a&downloadble=true", 400),
        ("filename=a&created_at=yesterday", 400),
    ] {
        assert_eq!(
            door(&api, Method::POST, &format!("files?{query}"), "x").status,
            status,
            "{query}"
        );
    }
    assert_eq!(emulator.files().unwrap().len(), 2);
}

#[test]
fn everything_is_seen_with_its_hash_and_its_bytes() {
    let (emulator, api) = start(Config::default());
    let upload = api.upload("mine.txt", b"abc").ok();
    let scoped = PlantedFile {
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("scoped", noise(100_000))
    };
    emulator.plant(scoped).unwrap();
    emulator.bulk(3, "b-", 70, true).unwrap();
    let files = get(&api, "files").ok();
    let files = files.as_array().unwrap();
    let names: Vec<_> = files
        .iter()
        .map(|file| file["filename"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "b-0000002.txt",
            "b-0000001.txt",
            "b-0000000.txt",
            "scoped",
            "mine.txt"
        ]
    );
    let mine = &files[4];
    assert_eq!(
        mine["sha256"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    for (name, value) in upload.as_object().unwrap() {
        assert_eq!(&mine[name], value);
    }
    for (file, typed) in files.iter().zip(emulator.files().unwrap()) {
        assert_eq!(file["sha256"], typed.sha256);
        let reply = get(&api, &format!("content/{}", typed.id));
        assert_eq!(reply.body.len() as u64, typed.size_bytes);
        assert!(reply.body == emulator.content(&typed.id).unwrap().unwrap());
    }
    assert_eq!(get(&api, "content/file_none").status, 404);
}

#[test]
fn a_million_files_are_planted_and_listed_in_no_time() {
    let (emulator, api) = start(Config::default());
    let order = json!({"count": 1_000_000, "prefix": "many-", "size": 1234, "downloadable": true});
    assert_eq!(
        door(&api, Method::POST, "bulk", order.to_string()).status,
        200
    );
    let after = api.upload("after.txt", b"x").ok();
    let page = api.get("/v1/files?limit=1000").ok();
    let data = page["data"].as_array().unwrap();
    assert_eq!((data.len(), page["has_more"].as_bool()), (1000, Some(true)));
    assert_eq!(data[0], after);
    assert_eq!(data[1]["filename"], "many-0999999.txt");
    assert_eq!(data[1]["size_bytes"], 1234);
    let times: Vec<_> = data
        .iter()
        .map(|file| file["created_at"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted_by(|newer, older| newer > older));

    let id = data[500]["id"].as_str().unwrap();
    let content = api.get(&format!("/v1/files/{id}/content")).body;
    assert_eq!(content.len(), 1234);
    assert_ne!(
        content,
        api.get(&format!(
            "/v1/files/{}/content",
            data[501]["id"].as_str().unwrap()
        ))
        .body
    );
    assert_eq!(content, emulator.content(id).unwrap().unwrap());
    assert_eq!(api.get(&format!("/v1/files/{id}")).ok(), data[500]);
    assert_eq!(api.delete(&format!("/v1/files/{id}")).status, 200);
    assert_eq!(api.get(&format!("/v1/files/{id}")).status, 404);
    let again = api.get("/v1/files?limit=1000").ok();
    assert_eq!(again["data"][499], data[499]);
    assert_eq!(again["data"][500], data[501]);
}

#[test]
fn an_order_for_many_files_is_checked() {
    let (_emulator, api) = start(Config::default());
    for order in [
        json!({}),
        json!({"count": -1}),
        json!({"count": 1, "sice": 3}),
        json!({"count": 1_000_000_000}),
    ] {
        assert_eq!(
            door(&api, Method::POST, "bulk", order.to_string()).status,
            400,
            "{order}"
        );
    }
    assert_eq!(get(&api, "files").ok(), json!([]));
}

#[test]
fn somebody_elses_delete_is_not_in_the_log() {
    let (emulator, api) = start(Config::default());
    let id = emulator
        .plant(PlantedFile::output("a", noise(100_000)))
        .unwrap()
        .id;
    assert_eq!(
        door(&api, Method::DELETE, &format!("files/{id}"), "").status,
        204
    );
    assert_eq!(
        door(&api, Method::DELETE, &format!("files/{id}"), "").status,
        404
    );
    assert_eq!(api.ids("/v1/files").len(), 0);
    assert_eq!(emulator.requests().len(), 1);
}

#[test]
fn the_log_has_every_call_and_nothing_else() {
    let (emulator, api) = start(Config::default());
    let id = api.upload("mine.txt", b"abc").ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = emulator
        .plant(PlantedFile::output("out.bin", noise(1_000_000)))
        .unwrap()
        .id;
    let list = api.get("/v1/files").body.len() as u64;
    let _ = api.get(&format!("/v1/files/{id}"));
    let _ = api.get(&format!("/v1/files/{id}/content"));
    let _ = api.get(&format!("/v1/files/{output}/content"));
    let _ = api.delete(&format!("/v1/files/{id}"));
    let _ = api.get("/v1/files/file_none");
    let _ = read(api.bare(Method::GET, "/v1/files"));
    let _ = api.get("/nowhere");
    let log: Vec<LoggedRequest> = serde_json::from_value(get(&api, "requests").ok()).unwrap();
    let lines: Vec<_> = log
        .iter()
        .map(|r| {
            (
                r.method.as_str(),
                r.call,
                r.id.as_deref(),
                r.filename.as_deref(),
                r.status,
            )
        })
        .collect();
    let (mine, output, ok) = (Some(id.as_str()), Some(output.as_str()), Some(200));
    let expected = [
        ("POST", LoggedCall::Upload, mine, Some("mine.txt"), ok),
        ("GET", LoggedCall::List, None, None, ok),
        ("GET", LoggedCall::Metadata, mine, Some("mine.txt"), ok),
        (
            "GET",
            LoggedCall::Content,
            mine,
            Some("mine.txt"),
            Some(400),
        ),
        ("GET", LoggedCall::Content, output, Some("out.bin"), ok),
        ("DELETE", LoggedCall::Delete, mine, Some("mine.txt"), ok),
        (
            "GET",
            LoggedCall::Metadata,
            Some("file_none"),
            None,
            Some(404),
        ),
        ("GET", LoggedCall::List, None, None, Some(401)),
    ];
    assert_eq!(lines, expected);
    assert!(log[0].bytes_in > 3 && log[1].bytes_in == 0);
    assert_eq!((log[1].bytes_out, log[4].bytes_out), (list, 1_000_000));
    // An answer read whole belongs to a request that is over.
    assert!(
        log.iter()
            .all(|r| r.ended.is_some_and(|ended| ended >= r.started))
    );
    // Times are microseconds where they are read over the wire as well.
    let text = get(&api, "requests").ok();
    let started = text[0]["started"].as_str().unwrap();
    assert_eq!(started.len(), "2025-04-15T18:37:24.100435Z".len());
    assert_eq!(emulator.requests().len(), log.len());
    assert_eq!(door(&api, Method::DELETE, "requests", "").status, 204);
    assert_eq!(get(&api, "requests").ok(), Value::Array(Vec::new()));
}

#[test]
fn files_that_come_at_the_same_time_get_places_of_their_own() {
    let (emulator, _) = start(Config::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    emulator.plant(PlantedFile::output("a", "x")).unwrap();
                }
            });
        }
    });
    let files = emulator.files().unwrap();
    assert_eq!(files.len(), 40_000);
    assert!(files.is_sorted_by(|newer, older| newer.created_at > older.created_at));
    let ids: HashSet<_> = files.iter().map(|file| &file.id).collect();
    assert_eq!(ids.len(), 40_000);
}
