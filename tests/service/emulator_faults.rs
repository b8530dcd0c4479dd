//! Trouble to order: each action, where it strikes, and what the log says of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use afs::emulator::{
    Config, Emulator, FaultAction, FaultMoment, FaultRule, LoggedCall, PlantedFile,
};
use reqwest::Method;
use rustix::net::getpeername;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};

use crate::wire::{Api, connect, exchange, form, noise, read, start, try_read, wait_until};

fn order(api: &Api, rule: &Value) {
    let reply = api.put_faults(&json!([rule]));
    assert_eq!(
        reply.status,
        204,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
}

fn running(emulator: &Emulator, call: LoggedCall) -> usize {
    let requests = emulator.requests();
    requests
        .iter()
        .filter(|r| r.call == call && r.ended.is_none())
        .count()
}

#[test]
fn a_stalled_call_is_held_until_the_rules_change() {
    let (emulator, api) = start(Config::default());
    let id = emulator
        .plant(PlantedFile::output("a.csv", "abc"))
        .unwrap()
        .id;
    let path = format!("/v1/files/{id}/content");
    order(
        &api,
        &json!({"call": "content", "name": "*.csv", "do": {"stall": true}}),
    );
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..3).map(|_| scope.spawn(|| api.get(&path))).collect();
        wait_until("three are held", || {
            running(&emulator, LoggedCall::Content) == 3
        });
        assert!(
            emulator
                .requests()
                .iter()
                .all(|r| r.status.is_none() && r.filename.as_deref() == Some("a.csv"))
        );
        // Others are not.
        assert_eq!(api.get("/v1/files").status, 200);
        assert_eq!(
            read(api.bare(Method::DELETE, "/_emulator/faults")).status,
            204
        );
        for reply in held {
            assert_eq!(reply.join().unwrap().body, b"abc");
        }
    });
    assert_eq!(running(&emulator, LoggedCall::Content), 0);
    assert_eq!(
        read(api.bare(Method::GET, "/_emulator/faults")).ok(),
        json!([])
    );
}

#[test]
fn a_stall_strikes_before_or_after_the_effect() {
    let (emulator, api) = start(Config::default());
    for (when, stored) in [("before_effect", 0), ("after_effect", 1)] {
        order(
            &api,
            &json!({"call": "upload", "when": when, "do": {"stall": true}}),
        );
        std::thread::scope(|scope| {
            let held = scope.spawn(|| api.upload("a.txt", b"x"));
            wait_until("it is held", || {
                running(&emulator, LoggedCall::Upload) == 1
                    && emulator.files().unwrap().len() == stored
                    && emulator
                        .requests()
                        .last()
                        .is_some_and(|r| r.filename.is_some())
            });
            emulator.clear_faults();
            assert_eq!(held.join().unwrap().status, 200);
        });
        for file in emulator.files().unwrap() {
            assert!(emulator.delete(&file.id).unwrap());
        }
    }
}

#[test]
fn a_client_that_gives_up_ends_its_held_request() {
    let (emulator, api) = start(Config::default());
    let body = form(&[(r#"name="file"; filename="a""#, Some("text/plain"), b"x")]);
    emulator.set_faults(vec![FaultRule::new(FaultAction::Stall)]);
    let request = api
        .request(Method::POST, "/v1/files")
        .header(
            "content-type",
            format!("multipart/form-data; boundary={}", crate::wire::BOUNDARY),
        )
        .timeout(Duration::from_millis(300))
        .body(body);
    assert!(try_read(request).unwrap_err().is_timeout());
    wait_until("it is over", || running(&emulator, LoggedCall::Upload) == 0);
    emulator.clear_faults();
    assert!(emulator.files().unwrap().is_empty());
}

#[test]
fn a_status_replaces_the_answer_before_or_after_the_effect() {
    let (emulator, api) = start(Config::default());
    for (when, left) in [("before_effect", 1), ("after_effect", 0)] {
        let id = emulator.plant(PlantedFile::output("a", "x")).unwrap().id;
        order(
            &api,
            &json!({"call": "delete", "id": id, "when": when, "do": {"status": 529}}),
        );
        let (status, kind, message, _) = api.delete(&format!("/v1/files/{id}")).error();
        assert_eq!(
            (status, kind.as_str(), message.as_str()),
            (529, "overloaded_error", "Overloaded")
        );
        assert_eq!(emulator.files().unwrap().len(), left);
        emulator.delete(&id).unwrap();
    }
    assert!(emulator.requests().iter().all(|r| r.status == Some(529)));
}

#[test]
fn a_status_brings_its_own_headers_and_body() {
    let (_emulator, api) = start(Config::default());
    for (body, content_type, expected) in [
        (json!("<html>"), "text/html", "<html>"),
        (json!({"a": 1}), "application/json", r#"{"a":1}"#),
        (json!([]), "application/json", "[]"),
    ] {
        let headers = json!({"retry-after": "7", "content-type": content_type});
        order(
            &api,
            &json!({"do": {"status": 429, "headers": headers, "body": body}}),
        );
        let reply = api.get("/v1/files");
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (429, Some("7"))
        );
        assert_eq!(reply.header("content-type"), Some(content_type));
        assert_eq!(String::from_utf8(reply.body).unwrap(), expected);
    }
}

#[test]
fn a_delay_is_a_delay() {
    let (_emulator, api) = start(Config::default());
    order(&api, &json!({"call": "list", "do": {"delay_ms": 150}}));
    let start = Instant::now();
    assert_eq!(api.get("/v1/files").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn slow_content_is_slow_and_whole() {
    let (emulator, api) = start(Config::default());
    let content = noise(60_000);
    let id = emulator
        .plant(PlantedFile::output("a", content.clone()))
        .unwrap()
        .id;
    order(
        &api,
        &json!({"call": "content", "do": {"slow_bytes_per_second": 200_000}}),
    );
    let start = Instant::now();
    let reply = api.get(&format!("/v1/files/{id}/content"));
    assert!(reply.body == content);
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_cut_answer_ends_at_its_byte() {
    let (emulator, api) = start(Config::default());
    let content = noise(3_000_000);
    let id = emulator
        .plant(PlantedFile::output("a", content.clone()))
        .unwrap()
        .id;
    for bytes in [0, 1, 1000, 600_000, 2_999_999] {
        order(
            &api,
            &json!({"call": "content", "do": {"cut_after_bytes": bytes}}),
        );
        let path = format!("/v1/files/{id}/content");
        let answer = exchange(
            &emulator,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\r\n"
            ),
        );
        let head = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
        let (head, received) = (
            String::from_utf8_lossy(&answer[..head]),
            &answer[head + 4..],
        );
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("content-length: 3000000"),
            "{head}"
        );
        assert!(
            received == &content[..bytes],
            "{bytes}, got {}",
            received.len()
        );
    }
    // Not within the body: nothing to cut.
    order(&api, &json!({"do": {"cut_after_bytes": 3_000_000}}));
    assert!(api.get(&format!("/v1/files/{id}/content")).body == content);
}

#[test]
fn an_answer_is_held_in_the_middle_of_its_body() {
    let (emulator, api) = start(Config::default());
    let content = noise(1_000_000);
    let id = emulator
        .plant(PlantedFile::output("a", content.clone()))
        .unwrap()
        .id;
    order(
        &api,
        &json!({"call": "content", "do": {"stall_after_bytes": 1000}}),
    );
    let request = api.request(Method::GET, &format!("/v1/files/{id}/content"));
    let mut response = request.send().unwrap();
    let mut received = vec![0; 1000];
    response.read_exact(&mut received).unwrap();
    let line = emulator.requests().remove(0);
    assert_eq!(
        (line.status, line.bytes_out, line.ended),
        (Some(200), 1000, None)
    );
    emulator.clear_faults();
    response.read_to_end(&mut received).unwrap();
    assert!(received == content);
}

#[test]
fn a_dropped_answer_leaves_the_effect_where_it_was_to_be() {
    let (emulator, api) = start(Config::default());
    for (when, stored) in [
        (FaultMoment::BeforeEffect, 0),
        (FaultMoment::AfterEffect, 1),
    ] {
        emulator.reset_requests();
        emulator.set_faults(vec![FaultRule {
            call: Some(LoggedCall::Upload),
            when,
            ..FaultRule::new(FaultAction::DropAnswer)
        }]);
        let body = form(&[(
            r#"name="file"; filename="a""#,
            Some("text/plain"),
            &noise(2_000_000),
        )]);
        let length = body.len() as u64;
        let request = api
            .request(Method::POST, "/v1/files")
            .header(
                "content-type",
                format!("multipart/form-data; boundary={}", crate::wire::BOUNDARY),
            )
            .body(body);
        assert!(try_read(request).is_err());
        let line = emulator.requests().remove(0);
        assert_eq!(
            (line.status, line.bytes_in, line.bytes_out),
            (None, length, 0)
        );
        assert_eq!(emulator.files().unwrap().len(), stored);
    }
}

#[test]
fn the_first_rule_that_is_due_wins() {
    let (_emulator, api) = start(Config::default());
    let rules = json!([
        {"call": "list", "nth": 2, "do": {"status": 500}},
        {"call": "list", "times": 2, "do": {"status": 503}},
        {"call": "metadata", "id": "file_?", "do": {"status": 504}},
    ]);
    assert_eq!(api.put_faults(&rules).status, 204);
    let statuses: Vec<_> = (0..4).map(|_| api.get("/v1/files").status).collect();
    assert_eq!(statuses, [503, 500, 503, 200]);
    assert_eq!(api.get("/v1/files/file_x").status, 504);
    assert_eq!(api.get("/v1/files/file_xy").status, 404);
    let kept = read(api.bare(Method::GET, "/_emulator/faults")).ok();
    assert_eq!(kept[2]["do"], json!({"status": 504}));
}

#[test]
fn a_rule_that_is_not_understood_is_refused_by_its_name_and_changes_nothing() {
    let (_emulator, api) = start(Config::default());
    order(&api, &json!({"call": "list", "do": {"status": 500}}));
    for (rules, word) in [
        (json!([{"cal": "list", "do": {"stall": true}}]), "`cal`"),
        (json!([{"call": "lst", "do": {"stall": true}}]), "`lst`"),
        (json!([{"do": {"stal": true}}]), "`stal`"),
        (json!([{"do": {}}]), "no action"),
        (json!([{"call": "list"}]), "`do`"),
        (json!([{"do": {"delay_ms": 1, "body": "x"}}]), "`status`"),
        (json!([{"do": {"status": 99}}]), "99"),
        (
            json!([{"do": {"status": 500, "headers": {"a b": "c"}}}]),
            "a b",
        ),
        (
            json!([{"do": {"slow_bytes_per_second": 0}}]),
            "slow_bytes_per_second",
        ),
        (json!([{"when": "later", "do": {"stall": true}}]), "`later`"),
        (json!({"do": {"stall": true}}), "sequence"),
    ] {
        let reply = api.put_faults(&rules);
        let (status, _, message, _) = reply.error();
        assert_eq!(status, 400, "{rules}");
        assert!(message.contains(word), "{rules}: {message}");
    }
    assert_eq!(api.get("/v1/files").status, 500);
}

/// A process that starts another lends it a copy of every socket until its exec is through.
#[test]
fn a_connection_ends_whoever_else_has_a_copy_of_its_socket() {
    for (fault, is_reset) in [("drop_answer", false), ("reset_answer", true)] {
        let (emulator, api) = start(Config::default());
        let mut ours = connect(&emulator);
        let key = "x-api-key: k\r\nanthropic-version: 2023-06-01\r\n";
        let head = format!("GET /v1/files HTTP/1.1\r\nhost: localhost\r\n{key}\r\n");
        ours.write_all(head.as_bytes()).unwrap();
        let mut first = vec![0; 64 * 1024];
        assert!(ours.read(&mut first).unwrap() > 0);
        let copy = copy_of_other_end(&ours);
        order(&api, &json!({"call": "list", "do": {fault: true}}));
        ours.write_all(head.as_bytes()).unwrap();
        let mut rest = Vec::new();
        let ended = ours.read_to_end(&mut rest);
        assert_eq!(rest, b"");
        match ended {
            Ok(_) => assert!(!is_reset),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                assert!(is_reset);
            }
        }
        drop(copy);
    }
}

/// A second descriptor of the socket at the other end, which is in this process too.
fn copy_of_other_end(ours: &TcpStream) -> OwnedFd {
    let address = ours.local_addr().unwrap();
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let copies = (0..1024).filter_map(|fd| pidfd_getfd(&this, fd, PidfdGetfdFlags::empty()).ok());
    copies
        .into_iter()
        .find(|fd| getpeername(fd).is_ok_and(|peer| peer == Some(address.into())))
        .expect("the other end")
}
