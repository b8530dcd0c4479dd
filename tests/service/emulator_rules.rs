//! Who may ask, what every answer carries, and how refusals are worded.

use std::net::SocketAddr;

use afs::emulator::{Config, Emulator, EmulatorError, PlantedFile, Switches};
use reqwest::Method;

use crate::wire::{exchange, read, start};

#[test]
fn a_key_comes_in_either_header_and_any_will_do() {
    let (_emulator, api) = start(Config::default());
    for (header, value, status) in [
        ("x-api-key", "anything", 200),
        ("authorization", "Bearer anything", 200),
        ("authorization", "bearer anything", 200),
        ("x-api-key", "", 401),
        ("authorization", "Bearer ", 401),
        ("authorization", "Basic YTpi", 401),
        ("x-other", "anything", 401),
    ] {
        let request = api
            .bare(Method::GET, "/v1/files")
            .header("anthropic-version", "2023-06-01")
            .header(header, value);
        let reply = read(request);
        assert_eq!(reply.status, status, "{header}: {value}");
        if status == 401 {
            let (_, kind, message, _) = reply.error();
            assert_eq!(
                (kind.as_str(), message.as_str()),
                ("authentication_error", "x-api-key header is required")
            );
        }
    }
}

#[test]
fn with_keys_only_those_are_accepted_and_the_side_door_is_shut() {
    let keys = vec!["first".to_owned(), "second".to_owned()];
    let (_emulator, api) = start(Config {
        keys,
        ..Config::default()
    });
    for (key, status) in [("first", 200), ("second", 200), ("third", 401)] {
        let request = api
            .bare(Method::GET, "/v1/files")
            .header("anthropic-version", "2023-06-01")
            .header("x-api-key", key);
        let reply = read(request);
        assert_eq!(reply.status, status, "{key}");
        if status == 401 {
            assert_eq!(reply.error().2, "invalid x-api-key");
        }
    }
    for path in [
        "/_emulator/files",
        "/_emulator/requests",
        "/_emulator/faults",
    ] {
        assert_eq!(
            read(api.bare(Method::GET, path).header("x-api-key", "first")).status,
            404
        );
    }
}

#[test]
fn a_missing_version_is_refused_unless_switched() {
    for (version_required, status) in [(true, 400), (false, 200)] {
        let switches = Switches {
            version_required,
            ..Switches::default()
        };
        let (_emulator, api) = start(Config {
            switches,
            ..Config::default()
        });
        let reply = read(api.bare(Method::GET, "/v1/files").header("x-api-key", "k"));
        assert_eq!(reply.status, status);
        if status == 400 {
            let (_, kind, message, _) = reply.error();
            assert_eq!(kind, "invalid_request_error");
            assert_eq!(message, "anthropic-version: header is required");
        }
    }
}

#[test]
fn any_version_that_can_be_one_is_known() {
    let (_emulator, api) = start(Config::default());
    for (version, status) in [
        ("2023-01-01", 200),
        ("2023-06-01", 200),
        ("2026-10-21", 200),
        ("latest", 400),
        ("", 400),
        ("2026-10-21x", 400),
    ] {
        let request = api
            .bare(Method::GET, "/v1/files")
            .header("x-api-key", "k")
            .header("anthropic-version", version);
        assert_eq!(read(request).status, status, "{version}");
    }
}

#[test]
fn beyond_the_rate_calls_are_refused_with_how_long_to_wait() {
    let (emulator, api) = start(Config {
        rate: std::num::NonZeroU32::new(3),
        ..Config::default()
    });
    let statuses: Vec<_> = (0..4).map(|_| api.get("/v1/files").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = api.upload("a.txt", b"a");
    let (status, kind, message, _) = refused.error();
    assert_eq!(
        (status, kind.as_str(), message.as_str()),
        (429, "rate_limit_error", "Rate limited")
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1..=20).contains(&wait),
        "a call comes back every 20 s: {wait}"
    );
    assert!(emulator.files().unwrap().is_empty());
    // Who has no key is told that.
    let keyless = api
        .bare(Method::GET, "/v1/files")
        .header("anthropic-version", "2023-06-01");
    assert_eq!(read(keyless).status, 401);
}

#[test]
fn betas_unknown_to_us_and_the_beta_parameter_change_nothing() {
    let (_emulator, api) = start(Config::default());
    for (path, betas) in [
        ("/v1/files", "files-api-2025-04-14, something-2099-01-01"),
        ("/v1/files?beta=true", "x"),
        ("/v1/files?beta=true&limit=3&unheard=of", ""),
    ] {
        let reply = read(
            api.request(Method::GET, path)
                .header("anthropic-beta", betas),
        );
        assert_eq!(reply.status, 200, "{path}");
    }
}

#[test]
fn every_answer_has_a_date_and_an_id_of_its_own() {
    let (_emulator, api) = start(Config::default());
    let replies = [
        api.upload("a.txt", b"a"),
        api.get("/v1/files"),
        api.get("/v1/files/file_none"),
        api.get("/nowhere"),
        api.delete("/v1/files"),
        read(api.bare(Method::GET, "/v1/files")),
        read(api.bare(Method::GET, "/_emulator/files")),
        read(
            api.request(Method::GET, "/v1/files")
                .header("origin", "https://example.com"),
        ),
    ];
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 404, 404, 405, 401, 200, 403]);
    let mut ids: Vec<_> = replies
        .iter()
        .map(|reply| reply.header("request-id").unwrap())
        .collect();
    assert!(
        ids.iter()
            .all(|id| id.starts_with("req_01") && id.len() == 28),
        "{ids:?}"
    );
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), replies.len());
    for reply in &replies {
        assert!(reply.header("date").unwrap().ends_with(" GMT"));
        assert!(reply.header("anthropic-organization-id").is_some());
        if reply.status >= 400 {
            assert_eq!(
                reply.json()["request_id"],
                reply.header("request-id").unwrap()
            );
        }
    }
}

#[test]
fn what_is_not_there_is_not_found_in_the_services_words() {
    let (_emulator, api) = start(Config::default());
    let uploaded = api.upload("a.txt", b"a").ok();
    let gone = uploaded["id"].as_str().unwrap();
    assert_eq!(api.delete(&format!("/v1/files/{gone}")).status, 200);
    for id in ["file_011CNha8iCJcU1wXNR6q4V8w", gone, "x"] {
        let expected = (
            404,
            "not_found_error".to_owned(),
            format!("File `{id}` not found."),
            None,
        );
        assert_eq!(api.get(&format!("/v1/files/{id}")).error(), expected);
        assert_eq!(
            api.get(&format!("/v1/files/{id}/content")).error(),
            expected
        );
        assert_eq!(api.delete(&format!("/v1/files/{id}")).error(), expected);
    }
    // Path ids arrive percent-encoded, whatever is in them.
    let (_, _, message, _) = api.get("/v1/files/file%2F..%2Fx%20y").error();
    assert_eq!(message, "File `file/../x y` not found.");
    for path in [
        "/",
        "/v1",
        "/v1/files/",
        "/v1/files/a/b",
        "/_emulator/nothing",
    ] {
        let (status, kind, _, _) = api.get(path).error();
        assert_eq!((status, kind.as_str()), (404, "not_found_error"), "{path}");
    }
}

#[test]
fn an_id_of_another_shape_may_be_refused_by_switch() {
    let switches = Switches {
        malformed_id_status: 400,
        ..Switches::default()
    };
    let (_emulator, api) = start(Config {
        switches,
        ..Config::default()
    });
    assert_eq!(api.get("/v1/files/x").status, 400);
    assert_eq!(api.get("/v1/files/file_x").status, 404);
}

#[test]
fn ids_and_times_look_like_the_services() {
    let (_emulator, api) = start(Config::default());
    let file = api.upload("a.txt", b"content").ok();
    let id = file["id"].as_str().unwrap();
    assert_eq!(id.len(), "file_011CNha8iCJcU1wXNR6q4V8w".len());
    let digits = id.strip_prefix("file_01").unwrap();
    assert!(
        digits
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() && !b"0OIl".contains(&c)),
        "{id}"
    );
    let time = file["created_at"].as_str().unwrap();
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    let mut fields: Vec<_> = file
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    // No scope, not even null, and no expires_at.
    let expected = [
        "created_at",
        "downloadable",
        "filename",
        "id",
        "mime_type",
        "size_bytes",
        "type",
    ];
    assert_eq!(fields, expected);
    assert_eq!(file["type"], "file");
    assert_eq!(file["size_bytes"], 7);
    assert_eq!(file["downloadable"], false);
    assert_eq!(api.get(&format!("/v1/files/{id}?beta=true")).ok(), file);
}

#[test]
fn a_deleted_file_is_gone() {
    let (_emulator, api) = start(Config::default());
    let id = api.upload("a.txt", b"a").ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    // As the official client sends it: with a media type and without a body.
    let request = api
        .request(Method::DELETE, &format!("/v1/files/{id}?beta=true"))
        .header("content-type", "application/json");
    let answer = read(request).ok();
    assert_eq!(
        answer,
        serde_json::json!({"id": id, "type": "file_deleted"})
    );
    assert_eq!(api.ids("/v1/files"), [""; 0]);
}

#[test]
fn foreign_hosts_and_origins_are_refused_everywhere() {
    let (emulator, api) = start(Config::default());
    let port = emulator.addr().port();
    let own = format!("127.0.0.1:{port}");
    for (path, host, origin, status) in [
        ("/v1/files", own.clone(), None, "401"),
        ("/_emulator/files", own.clone(), None, "200"),
        ("/_emulator/files", format!("localhost:{port}"), None, "200"),
        (
            "/_emulator/files",
            own.clone(),
            Some(format!("http://{own}")),
            "200",
        ),
        (
            "/_emulator/files",
            own.clone(),
            Some("http://example.com".to_owned()),
            "403",
        ),
        (
            "/_emulator/files",
            format!("example.com:{port}"),
            None,
            "403",
        ),
        ("/v1/files", format!("example.com:{port}"), None, "403"),
        ("/v1/files", own, Some("null".to_owned()), "403"),
    ] {
        let origin = origin
            .map(|origin| format!("Origin: {origin}\r\n"))
            .unwrap_or_default();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{origin}Connection: close\r\n\r\n");
        let answer = String::from_utf8(exchange(&emulator, &request)).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{answer}"
        );
    }
    assert_eq!(api.get("/v1/files").status, 200);
}

#[test]
fn beyond_loopback_it_needs_a_key() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let open = Emulator::start(Config {
        listen,
        ..Config::default()
    });
    assert!(matches!(open, Err(EmulatorError::NeedsKey(_))));
    let locked = Emulator::start(Config {
        listen,
        keys: vec!["k".to_owned()],
        ..Config::default()
    });
    assert!(locked.unwrap().addr().port() > 0);
}

#[test]
fn it_is_over_when_it_is_dropped() {
    let (emulator, _) = start(Config::default());
    emulator.plant(PlantedFile::output("a", "a")).unwrap();
    let address = emulator.addr();
    emulator.shutdown();
    assert!(std::net::TcpStream::connect(address).is_err());
}
