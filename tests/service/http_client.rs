//! What the HTTP client sends, to the letter, and what it makes of every kind of answer.

use std::io::{self, Cursor as Bytes};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use afs::api::{
    ApiKey, Budget, Credential, Cursor, CustomHeaders, Dialect, ErrorKind, FileId, FilesApi,
    HttpClient, HttpConfig, ListQuery, Scope,
};
use afs::emulator::{Config, Emulator, Switches};

use crate::raw_server::{RawServer, json};
use crate::{FILE, PATIENT, client, client_of, failures, id, newest, upload};

#[test]
fn each_call_sends_what_the_documents_say() {
    let server = RawServer::start(|exchange| {
        exchange.read_body();
        exchange.json("200 OK", FILE);
        true
    });
    let client = client(&format!("{}/prefix/", server.url()), PATIENT);
    failures(&client);
    let _ = client.list(&ListQuery {
        cursor: Cursor::After(id("file_a&b")),
        limit: 7,
        scope_id: Some("sesn_1".to_owned()),
    });
    let _ = client.list(&ListQuery::page(Cursor::Page("page_a&b".to_owned())));

    let heads = server.heads();
    let lines: Vec<_> = heads
        .iter()
        .map(|head| head.lines().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            "POST /prefix/v1/files HTTP/1.1",
            "GET /prefix/v1/files?limit=1000 HTTP/1.1",
            "GET /prefix/v1/files/file_1 HTTP/1.1",
            "GET /prefix/v1/files/file_1/content HTTP/1.1",
            "DELETE /prefix/v1/files/file_1 HTTP/1.1",
            "GET /prefix/v1/files?limit=7&after_id=file_a%26b&scope_id=sesn_1 HTTP/1.1",
            "GET /prefix/v1/files?limit=1000&page=page_a%26b HTTP/1.1",
        ]
    );
    for head in &heads {
        let accept = if head.contains("/content ") {
            "binary"
        } else {
            "json"
        };
        // What lists a session's files has one more, and is answered in the same shape.
        let betas = if head.contains("scope_id=") {
            "anthropic-beta: files-api-2025-04-14,beta-2,managed-agents-2026-04-01"
        } else {
            "anthropic-beta: files-api-2025-04-14,beta-2"
        };
        for header in [
            "x-api-key: sk-canary",
            "anthropic-version: 2023-06-01",
            betas,
            "accept-encoding: identity",
            &format!("accept: application/{accept}"),
            &format!("user-agent: afs/{}", env!("CARGO_PKG_VERSION")),
        ] {
            let found = head.lines().filter(|line| *line == header).count();
            assert_eq!(found, 1, "{header} in {head}");
        }
    }
    assert_eq!(
        server.connections(),
        2,
        "one for uploads, one for the rest, kept"
    );
}

#[test]
fn errors_and_debug_output_hide_the_key() {
    let server = RawServer::saying(json("401 Unauthorized", "{}"));
    let client = client(&server.url(), PATIENT);
    assert!(!format!("{client:?}").contains("canary"), "{client:?}");
    for (_, error) in failures(&client) {
        let error = error.unwrap();
        let text = format!("{error:?} {error}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn an_upload_is_one_exact_form() {
    const BODY: &[u8] = b"line 1\r\n--afs--\r\n\0\xff end";
    let server = RawServer::start(|exchange| {
        let content_type = exchange.header("content-type").unwrap();
        let boundary = content_type
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap()
            .to_owned();
        assert!(exchange.header("transfer-encoding").is_none());
        let mut expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
             filename=\"Ünï %22x%22 100%.txt\"\r\nContent-Type: text/plain\r\n\r\n"
        )
        .into_bytes();
        expected.extend_from_slice(BODY);
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let is_exact = exchange.read_body() == expected;
        exchange.json(if is_exact { "200 OK" } else { "418 Not It" }, FILE);
        true
    });
    let client = client(&server.url(), PATIENT);
    // More than was announced is not sent.
    let longer = [BODY, b"more"].concat();
    let sent = upload("Ünï \"x\" 100%.txt", BODY.len() as u64, Bytes::new(longer));
    assert_eq!(client.upload(sent).unwrap().id, id("file_1"));
}

#[test]
fn answers_are_read_for_what_they_say() {
    let server = RawServer::start(|exchange| {
        exchange.read_body();
        let file = r#"{"id":"-_x","type":"file","filename":"a/\u0000\ud800\ud83d\ude00","mime_type":"a/b","size_bytes":0,
            "created_at":"2025-04-15T18:37:24Z","downloadable":true,"scope":{"id":"sesn_1","type":"session"},"new":[{}]}"#;
        let scopeless = FILE.replace("\"type\":\"file\"", "\"scope\":null,\"expires_at\":null");
        let page = format!(
            r#"{{"data":[{file},{scopeless},{FILE}],"has_more":true,"first_id":"-_x","last_id":"file_1","new":1}}"#
        );
        exchange.json("200 OK", &page);
        true
    });
    let page = client(&server.url(), PATIENT).list(&newest()).unwrap();
    let (file, rest) = page.files.split_first().unwrap();
    assert_eq!(file.id, id("-_x"));
    assert_eq!(
        file.filename, "a/\0\u{fffd}\u{fffd}\u{fffd}\u{1f600}",
        "half a surrogate pair is no reason to fail"
    );
    assert!(file.downloadable);
    assert_eq!(
        file.scope,
        Some(Scope {
            id: "sesn_1".to_owned()
        })
    );
    assert_eq!(rest[0], rest[1]);
    assert!(!rest[0].downloadable, "absent means no");
    assert_eq!(rest[0].scope, None);
    assert_eq!(
        rest[0].created_at.to_string(),
        "2025-04-15T18:37:24.100435Z"
    );
    assert_eq!(page.next, Some(Cursor::After(id("file_1"))));
    assert_eq!(page.date.unwrap().to_string(), "1994-11-06T08:49:37Z");
}

#[test]
fn answers_that_make_no_sense_are_nonsense() {
    let html = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let object = |field: &str, value: &str| {
        let (before, after) = FILE.split_once(&format!("\"{field}\":")).unwrap();
        let end = after.find([',', '}']).unwrap();
        format!("{before}\"{field}\":{value}{}", &after[end..])
    };
    let without = |field: &str| FILE.replace(&format!("\"{field}\""), "\"other\"");
    let mut answers = vec![
        html.to_owned(),
        json("200 OK", ""),
        json("200 OK", "null"),
        json("200 OK", "[]"),
        json("200 OK", "{"),
        json("200 OK", "{\"id\": 7}"),
        json("200 OK", &FILE[..FILE.len() - 1]),
        json("200 OK", &format!("{FILE}x")),
        json("200 OK", FILE).replace("request-id", "content-encoding: gzip\r\nrequest-id"),
        "not http at all\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nbig: {}\r\n\r\n", "x".repeat(1 << 20)),
    ];
    for field in ["id", "filename", "mime_type", "size_bytes", "created_at"] {
        answers.push(json("200 OK", &without(field)));
        for value in [
            "null",
            "-1",
            "1.5",
            "1e99",
            "99999999999999999999",
            "[7]",
            "{}",
            "true",
        ] {
            answers.push(json("200 OK", &object(field, value)));
        }
    }
    answers.push(json("200 OK", &object("created_at", "\"yesterday\"")));
    answers.push(json("200 OK", &FILE.replace('}', ",\"id\":\"file_2\"}")));
    answers.push(json(
        "200 OK",
        &format!("{}{}", &FILE[..FILE.len() - 1], ",\"scope\":7}"),
    ));

    for answer in answers {
        let about = &answer[..answer.len().min(400)];
        let server = RawServer::saying(answer.clone());
        let client = client(&server.url(), PATIENT);
        let kind = |error: afs::api::ApiError| error.kind;
        assert_eq!(
            client.metadata(&id("file_1")).map_err(kind),
            Err(ErrorKind::Nonsense),
            "{about}"
        );
        assert_eq!(
            client.upload(upload("a", 1, Bytes::new("a"))).map_err(kind),
            Err(ErrorKind::Nonsense),
            "{about}"
        );
        assert_eq!(
            client.list(&newest()).map_err(kind),
            Err(ErrorKind::Nonsense),
            "{about}"
        );
    }

    let server = RawServer::saying(html);
    let client = client(&server.url(), PATIENT);
    assert_eq!(
        client.delete(&id("a")).unwrap_err().kind,
        ErrorKind::Nonsense
    );
}

#[test]
fn an_answer_about_another_file_is_nonsense() {
    let server = RawServer::saying(json("200 OK", FILE));
    let client = client(&server.url(), PATIENT);
    assert_eq!(
        client.metadata(&id("file_2")).unwrap_err().kind,
        ErrorKind::Nonsense
    );
    assert_eq!(
        client.delete(&id("file_2")).unwrap_err().kind,
        ErrorKind::Nonsense
    );
    assert!(client.delete(&id("file_1")).is_ok());
}

#[test]
fn answers_of_any_size_take_bounded_memory() {
    let endless = "HTTP/1.1 200 OK\r\n\r\n{\"data\": [";
    let server = RawServer::start(move |exchange| {
        exchange.read_body();
        exchange.send(endless.as_bytes());
        while exchange.send(&[b' '; 1 << 14]) {}
        false
    });
    let client = client(&server.url(), PATIENT);
    let limited = [
        client.list(&newest()).err(),
        client.metadata(&id("file_1")).err(),
        client.upload(upload("a", 1, Bytes::new("a"))).err(),
        client.delete(&id("file_1")).err(),
    ];
    for error in limited {
        assert_eq!(error.unwrap().kind, ErrorKind::Nonsense);
    }

    let thousand_and_one = vec![FILE; 1001].join(",");
    let server = RawServer::saying(json(
        "200 OK",
        &format!("{{\"data\":[{thousand_and_one}]}}"),
    ));
    let error = crate::client(&server.url(), PATIENT)
        .list(&newest())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Nonsense, "{error}");
}

#[test]
fn refusals_keep_the_services_words_and_ids() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow\ndown"},"request_id":"req_body"}"#;
    let answer = json("429 Too Many Requests", body);
    let server = RawServer::saying(answer.replace("request-id", "retry-after: 7\r\nrequest-id"));
    for (call, error) in failures(&client(&server.url(), PATIENT)) {
        let error = error.unwrap();
        assert_eq!(
            (error.call, error.kind, error.status),
            (call, ErrorKind::RateLimited, Some(429))
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(
            error.to_string(),
            format!("{call} failed: Slow down (status 429, request req_1)")
        );
    }

    let server = RawServer::saying(answer.replace("request-id", "x"));
    for (_, error) in failures(&client(&server.url(), PATIENT)) {
        assert_eq!(error.unwrap().request_id.as_deref(), Some("req_body"));
    }

    let html = "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 1000000\r\n\r\n<h1>";
    let server = RawServer::saying(html);
    for (_, error) in failures(&client(&server.url(), PATIENT)) {
        let error = error.unwrap();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(
            error.message,
            "the server answered \"Bad Gateway\" as text/html"
        );
    }
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = RawServer::saying(json("200 OK", FILE));
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = elsewhere.url();
        let server = RawServer::saying(format!(
            "HTTP/1.1 {status}\r\nlocation: {location}/v1/files\r\ncontent-length: 0\r\n\r\n"
        ));
        for (_, error) in failures(&client(&server.url(), PATIENT)) {
            let error = error.unwrap();
            assert_eq!(error.kind, ErrorKind::Nonsense);
            assert!(!error.is_transient());
            assert!(error.message.contains(&location), "{error}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn ids_that_are_no_path_segment_are_refused_here() {
    let server = RawServer::saying("");
    let client = client(&server.url(), PATIENT);
    for empty in ["", ".", ".."] {
        let id = FileId::new(empty);
        for kind in [
            client.metadata(&id).unwrap_err().kind,
            client.download(&id, 0).unwrap_err().kind,
            client.delete(&id).unwrap_err().kind,
        ] {
            assert_eq!(kind, ErrorKind::Refused);
        }
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn cursors_and_scopes_are_sent_as_they_are() {
    let server = RawServer::start(|exchange| {
        exchange.json("200 OK", "{\"data\":[]}");
        true
    });
    let page = client(&server.url(), PATIENT).list(&ListQuery {
        cursor: Cursor::After(id(" \n%&=+ä")),
        limit: 1,
        scope_id: None,
    });
    assert_eq!(page.unwrap().files, []);
    assert!(
        server.heads()[0].starts_with("GET /v1/files?limit=1&after_id=+%0A%25%26%3D%2B%C3%A4 HTTP")
    );
}

#[test]
fn keys_quotas_and_sizes_are_refused_by_their_kinds() {
    let emulator = Emulator::start(Config {
        keys: vec!["sk-other".to_owned()],
        ..Config::default()
    })
    .unwrap();
    let api = client(&emulator.base_url(), PATIENT);
    let error = api.list(&ListQuery::page(Cursor::Newest)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized, "{error}");
    let early = api.upload(upload("a", 30_000_000, io::repeat(7)));
    assert_eq!(early.unwrap_err().kind, ErrorKind::Unauthorized);

    for status in [400, 403] {
        let mut config = Config {
            quota: Some(10),
            max_file_size: 1_000_000,
            ..Config::default()
        };
        config.switches.storage_full_status = status;
        let emulator = Emulator::start(config).unwrap();
        let api = client(&emulator.base_url(), PATIENT);
        let error = api.upload(upload("a", 11, io::repeat(7))).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StorageFull, "{error}");
        let error = api
            .upload(upload("a", 30_000_000, io::repeat(7)))
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge, "{error}");
    }
}

/// Whether answers about files say so is unknown of the service; where they do, it is heard, of uploads too.
#[test]
fn what_answers_say_of_limits_is_told_to_the_budget() {
    let emulator = Emulator::start(Config {
        rate: NonZeroU32::new(3),
        switches: Switches {
            rate_limits_said: true,
            ..Switches::default()
        },
        ..Config::default()
    })
    .unwrap();
    let budget = Arc::new(Budget::new(None));
    let client = client(&emulator.base_url(), PATIENT).telling(Arc::clone(&budget));
    assert_eq!(budget.traffic().left, None);
    client.list(&newest()).unwrap();
    assert_eq!(budget.traffic().left, Some(2));
    client
        .upload(upload("a.txt", 3, Bytes::new("abc")))
        .unwrap();
    client.metadata(&id("file_none")).unwrap_err();
    assert_eq!(budget.traffic().left, Some(0));
    let refused = client.list(&newest()).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::RateLimited);
    assert!(refused.retry_after.is_some_and(|wait| wait <= PATIENT));
}

#[test]
fn todays_dialect_names_no_beta_of_the_files_and_may_say_how_long() {
    let server = RawServer::start(|exchange| {
        let body = String::from_utf8_lossy(&exchange.read_body()).into_owned();
        let expiry = "name=\"expires_in_seconds\"\r\n\r\n604800\r\n";
        let is_first = body.find(expiry) < body.find("name=\"file\"");
        let is_as_asked =
            exchange.header("content-type").is_none() || body.contains(expiry) && is_first;
        let expired = FILE.replace('}', r#","expires_at":"2026-11-28T00:00:00Z"}"#);
        exchange.json(if is_as_asked { "200 OK" } else { "418 Not It" }, &expired);
        true
    });
    let config = HttpConfig {
        dialect: Dialect::Ga {
            expires: Some(Duration::from_secs(7 * 24 * 3600)),
        },
        ..HttpConfig::new(server.url(), ApiKey::new("sk-canary").unwrap())
    };
    let client = HttpClient::new(&config).unwrap();
    let file = client
        .upload(upload("a.txt", 3, Bytes::new("abc")))
        .unwrap();
    assert_eq!(file.expires_at.unwrap().to_string(), "2026-11-28T00:00:00Z");
    let _ = client.list(&newest());
    let _ = client.list(&ListQuery {
        scope_id: Some("sesn_1".to_owned()),
        ..newest()
    });
    let betas: Vec<_> = server
        .heads()
        .iter()
        .map(|head| {
            let beta = head
                .lines()
                .find_map(|line| line.strip_prefix("anthropic-beta: "));
            beta.map(str::to_owned)
        })
        .collect();
    let sessions = Some("managed-agents-2026-04-01".to_owned());
    assert_eq!(betas, [None, None, sessions]);
}

/// Whichever dialect was asked for: a page says by its shape how to go on, and is gone on from in its own words.
#[test]
fn a_reply_in_the_other_shape_is_understood() {
    for dialect in [Dialect::Beta, Dialect::Ga { expires: None }] {
        let server = RawServer::start(|exchange| {
            exchange.read_body();
            let shape = if exchange.target().contains("page=") {
                r#""has_more":true,"first_id":"file_1","last_id":"file_1""#
            } else if exchange.target().contains("after_id=") {
                r#""next_page":null"#
            } else {
                r#""next_page":"page_x""#
            };
            exchange.json("200 OK", &format!(r#"{{"data":[{FILE}],{shape}}}"#));
            true
        });
        let client = client_of(&server.url(), PATIENT, dialect);
        let mut cursors = Vec::new();
        let mut cursor = Some(Cursor::Newest);
        while let Some(at) = cursor {
            cursor = client.list(&ListQuery::page(at.clone())).unwrap().next;
            cursors.push(at);
        }
        let expected = [
            Cursor::Newest,
            Cursor::Page("page_x".to_owned()),
            Cursor::After(id("file_1")),
        ];
        assert_eq!(cursors, expected);
    }
}

#[test]
fn tokens_workspaces_and_headers_of_the_users_own_are_sent_and_not_shown() {
    let server = RawServer::start(|exchange| {
        exchange.read_body();
        exchange.json("200 OK", FILE);
        true
    });
    let text =
        "X-Gateway: sk-header-canary\nanthropic-workspace-id: wrkspc_2\nanthropic-beta: x, y";
    let config = HttpConfig {
        credential: Credential::Token(ApiKey::new("sk-canary").unwrap()),
        workspace_id: Some("wrkspc_1".to_owned()),
        headers: CustomHeaders::parse(text).unwrap(),
        ..HttpConfig::new(server.url(), ApiKey::new("unused").unwrap())
    };
    let client = HttpClient::new(&config).unwrap();
    let shown = format!("{config:?} {client:?}");
    assert!(!shown.contains("canary"), "{shown}");
    failures(&client);
    for head in server.heads() {
        assert!(!head.contains("x-api-key"), "{head}");
        for header in [
            "authorization: Bearer sk-canary",
            "anthropic-workspace-id: wrkspc_1",
            "x-gateway: sk-header-canary",
            "anthropic-beta: files-api-2025-04-14,x,y",
        ] {
            let found = head.lines().filter(|line| *line == header).count();
            assert_eq!(found, 1, "{header} in {head}");
        }
    }
    let twice = HttpConfig {
        headers: CustomHeaders::parse("Authorization: Bearer canary").unwrap(),
        ..config
    };
    let error = HttpClient::new(&twice).unwrap_err().to_string();
    assert!(
        error.contains("authorization") && !error.contains("canary"),
        "{error}"
    );
}
