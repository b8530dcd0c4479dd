//! Uploads: the form as clients send it, the rules for names and sizes, bodies that never arrive whole.

use std::fmt::Write as _;
use std::io::Write;
use std::net::Shutdown;

use afs::emulator::{Config, Switches};
use reqwest::Method;
use sha2::{Digest, Sha256};

use crate::wire::{Api, BOUNDARY, connect, form, noise, read, start, wait_until};

fn stored_name(api: &Api, disposition: &str, kind: &str) -> Result<String, u16> {
    let reply = api.upload_form(&form(&[(disposition, Some(kind), b"x")]));
    if reply.status != 200 {
        assert_eq!(reply.error().1, "invalid_request_error");
        return Err(reply.status);
    }
    Ok(reply.json()["filename"].as_str().unwrap().to_owned())
}

#[test]
fn names_come_as_clients_write_them() {
    let (_emulator, api) = start(Config::default());
    for (written, stored) in [
        (r#"name="file"; filename="a.txt""#, Ok("a.txt")),
        (r#"filename="a.txt"; name="file""#, Ok("a.txt")),
        (r"name=file; filename=a.txt", Ok("a.txt")),
        (
            r#"name="file"; filename="ä 文 🦀;=.txt""#,
            Ok("ä 文 🦀;=.txt"),
        ),
        (r#"name="file"; filename="100%.txt""#, Ok("100%.txt")),
        (r#"name="file"; filename="a%2F%41.txt""#, Ok("a%2F%41.txt")),
        (r#"name="file"; filename="dir/sub/a.txt""#, Ok("a.txt")),
        (r#"name="file"; filename=".hidden""#, Ok(".hidden")),
        (r#"name="file""#, Ok("unnamed.txt")),
        (r#"name="file"; filename="""#, Ok("unnamed.txt")),
        (r#"name="file"; filename="dir/""#, Ok("unnamed.txt")),
        (r#"name="file"; filename="say %22hi%22""#, Err(400)),
        (r#"name="file"; filename="say \"hi\"""#, Err(400)),
        (r#"name="file"; filename="a\\b""#, Err(400)),
        (r#"name="file"; filename="a\b""#, Err(400)),
        (r#"name="file"; filename="line%0Aend""#, Err(400)),
        ("name=\"file\"; filename=\"tab\tbed\"", Err(400)),
    ] {
        let stored = stored.map(str::to_owned);
        assert_eq!(
            stored_name(&api, written, "text/plain"),
            stored,
            "{written}"
        );
    }
    for c in ['<', '>', ':', '|', '?', '*', '\u{1}', '\u{1f}'] {
        let written = format!(r#"name="file"; filename="a{c}b""#);
        assert_eq!(
            stored_name(&api, &written, "text/plain"),
            Err(400),
            "{written:?}"
        );
    }
}

#[test]
fn a_nameless_file_is_named_after_its_type() {
    let (_emulator, api) = start(Config::default());
    for (kind, stored) in [
        ("text/plain; charset=utf-8", "unnamed.txt"),
        ("application/pdf", "unnamed.pdf"),
        ("image/png", "unnamed.png"),
        ("application/octet-stream", "unnamed.bin"),
        ("application/x-unheard-of", "unnamed"),
    ] {
        assert_eq!(
            stored_name(&api, r#"name="file""#, kind).as_deref(),
            Ok(stored)
        );
    }
}

#[test]
fn a_name_has_up_to_255_characters() {
    for (name_limit_in_bytes, unit, count, status) in [
        (false, "a", 255, 200),
        (false, "a", 256, 400),
        (false, "ä", 255, 200),
        (false, "ä", 256, 400),
        (true, "ä", 127, 200),
        (true, "ä", 128, 400),
    ] {
        let switches = Switches {
            name_limit_in_bytes,
            ..Switches::default()
        };
        let (_emulator, api) = start(Config {
            switches,
            ..Config::default()
        });
        assert_eq!(
            api.upload(&unit.repeat(count), b"x").status,
            status,
            "{count} {unit}"
        );
    }
}

#[test]
fn the_form_needs_a_file_with_a_type_and_ignores_the_rest() {
    let (emulator, api) = start(Config::default());
    let file = (
        r#"name="file"; filename="a.txt""#,
        Some("text/plain"),
        b"first".as_slice(),
    );
    let refused = |body: &[u8], message: &str| {
        let reply = api.upload_form(body);
        assert_eq!(
            reply.error(),
            (
                400,
                "invalid_request_error".to_owned(),
                message.to_owned(),
                None
            )
        );
    };
    refused(&form(&[]), "file: Field required");
    refused(
        &form(&[(r#"name="data"; filename="a""#, Some("text/plain"), b"x")]),
        "file: Field required",
    );
    refused(
        &form(&[(file.0, None, b"x")]),
        "file: Content-Type of the part is required",
    );
    let whole = form(&[file]);
    refused(
        &whole[..whole.len() - 6],
        "Malformed multipart body: it has no end",
    );
    let json = api
        .request(Method::POST, "/v1/files")
        .header("content-type", "application/json")
        .body("{}");
    assert_eq!(read(json).error().2, "file: Field required");
    assert!(emulator.files().unwrap().is_empty());

    let expiry = (r#"name="expires_in_seconds""#, None, b"3600".as_slice());
    let second = (
        r#"name="file"; filename="b.txt""#,
        Some("text/plain"),
        b"second".as_slice(),
    );
    let stored = api.upload_form(&form(&[expiry, file, second])).ok();
    assert_eq!(
        (&stored["filename"], &stored["size_bytes"]),
        (&"a.txt".into(), &5.into())
    );
    assert_eq!(
        emulator
            .content(stored["id"].as_str().unwrap())
            .unwrap()
            .unwrap(),
        b"first"
    );
}

#[test]
fn bodies_arrive_as_they_were_sent_whatever_their_size() {
    let (emulator, api) = start(Config::default());
    for size in [0, 1, 1000, 32 * 1024, 32 * 1024 + 1, 3_000_001] {
        let mut content = noise(size);
        // Bytes that look like the end of the part, but for the last.
        content.extend_from_slice(format!("\r\n--{}", &BOUNDARY[1..]).as_bytes());
        let stored = api.upload("a.bin", &content).ok();
        let id = stored["id"].as_str().unwrap();
        assert_eq!(stored["size_bytes"], content.len());
        assert!(emulator.content(id).unwrap().unwrap() == content, "{size}");
        let listed = emulator.files().unwrap().remove(0);
        let mut hash = String::new();
        for byte in Sha256::digest(&content) {
            write!(hash, "{byte:02x}").unwrap();
        }
        assert_eq!((listed.id.as_str(), listed.sha256), (id, hash));
    }
}

#[test]
fn equal_names_are_different_files() {
    let (_emulator, api) = start(Config::default());
    let ids: Vec<_> = (0..2)
        .map(|_| api.upload("a.txt", b"x").ok()["id"].clone())
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(api.ids("/v1/files").len(), 2);
}

#[test]
fn a_file_above_the_limit_is_too_large() {
    let (emulator, api) = start(Config {
        max_file_size: 1_000_000,
        ..Config::default()
    });
    assert_eq!(api.upload("fits", &noise(1_000_000)).status, 200);
    // Far more than fits into the buffers of a connection: the refusal is still read by who goes on writing.
    for size in [1_000_001, 20_000_000] {
        let (status, kind, _, _) = api.upload("a", &noise(size)).error();
        assert_eq!((status, kind.as_str()), (413, "request_too_large"));
    }
    assert_eq!(emulator.files().unwrap().len(), 1);
}

#[test]
fn a_refused_upload_gets_its_answer_however_long_it_is() {
    let (emulator, api) = start(Config::default());
    assert_eq!(api.upload("a:b", &noise(20_000_000)).status, 400);
    let keyless = api.bare(Method::POST, "/v1/files").body(noise(20_000_000));
    assert_eq!(read(keyless).status, 401);
    assert!(emulator.files().unwrap().is_empty());
}

#[test]
fn a_full_storage_refuses_and_takes_again_after_a_delete() {
    for storage_full_status in [403, 400] {
        let switches = Switches {
            storage_full_status,
            ..Switches::default()
        };
        let (_emulator, api) = start(Config {
            quota: Some(100),
            switches,
            ..Config::default()
        });
        let first = api.upload("a", &[b'a'; 60]).ok();
        let (status, kind, _, code) = api.upload("b", &[b'b'; 41]).error();
        assert_eq!(
            (status, code.as_deref()),
            (storage_full_status, Some("storage_quota_exceeded"))
        );
        assert_eq!(
            kind,
            if status == 403 {
                "permission_error"
            } else {
                "invalid_request_error"
            }
        );
        assert_eq!(api.upload("c", &[b'c'; 40]).status, 200);
        assert_eq!(api.upload("d", b"d").status, storage_full_status);
        assert_eq!(
            api.delete(&format!("/v1/files/{}", first["id"].as_str().unwrap()))
                .status,
            200
        );
        assert_eq!(api.upload("e", &[b'e'; 60]).status, 200);
    }
}

#[test]
fn empty_files_are_taken_unless_switched() {
    for (empty_files_accepted, status) in [(true, 200), (false, 400)] {
        let switches = Switches {
            empty_files_accepted,
            ..Switches::default()
        };
        let (_emulator, api) = start(Config {
            switches,
            ..Config::default()
        });
        assert_eq!(api.upload("empty.txt", b"").status, status);
    }
}

#[test]
fn what_clients_escape_can_be_taken_literally_by_switch() {
    let switches = Switches {
        name_escapes_decoded: false,
        backslash_separates: true,
        ..Switches::default()
    };
    let (_emulator, api) = start(Config {
        switches,
        ..Config::default()
    });
    let name = |written: &str| stored_name(&api, written, "text/plain");
    assert_eq!(
        name(r#"name="file"; filename="say %22hi%22""#).as_deref(),
        Ok("say %22hi%22")
    );
    assert_eq!(
        name(r#"name="file"; filename="C:\dir\a.txt""#).as_deref(),
        Ok("a.txt")
    );
    assert_eq!(
        name(r#"name="file"; filename="dir\\a.txt""#).as_deref(),
        Ok("a.txt")
    );
}

#[test]
fn half_an_upload_stores_nothing() {
    let (emulator, _) = start(Config::default());
    let body = form(&[(
        r#"name="file"; filename="a""#,
        Some("text/plain"),
        &noise(1_000_000),
    )]);
    // Cut in the file's bytes, in the last delimiter, and after the form with more announced.
    for (sent, announced) in [
        (500_000, body.len()),
        (body.len() - 3, body.len()),
        (body.len(), body.len() + 1),
    ] {
        emulator.reset_requests();
        let mut stream = connect(&emulator);
        write!(
            stream,
            "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {announced}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(&body[..sent]).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        wait_until("the request is over", || {
            emulator
                .requests()
                .first()
                .is_some_and(|r| r.ended.is_some())
        });
        let request = emulator.requests().remove(0);
        assert_eq!(
            (request.status, request.id, request.filename.as_deref()),
            (None, None, Some("a"))
        );
    }
    assert!(emulator.files().unwrap().is_empty());
}
