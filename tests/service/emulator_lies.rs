//! Trouble to order, second part: answers that lie, connections that are reset, requests that are cut on their way in.

use std::io::{Read, Write};
use std::net::TcpStream;

use afs::emulator::{
    Config, Emulator, FaultAction, FaultRule, LoggedCall, PlantedFile, StoredFile,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::wire::{Api, BOUNDARY, exchange, form, noise, read, start, try_read};

const SIZE: usize = 300_000;

fn with_output() -> (Emulator, Api, StoredFile, Vec<u8>) {
    let (emulator, api) = start(Config::default());
    let content = noise(SIZE);
    let file = emulator.plant(PlantedFile::output("a.csv", content.clone()));
    (emulator, api, file.unwrap(), content)
}

fn strike(emulator: &Emulator, call: LoggedCall, action: FaultAction) {
    emulator.set_faults(vec![FaultRule {
        call: Some(call),
        ..FaultRule::new(action)
    }]);
}

fn get_raw(emulator: &Emulator, path: &str) -> Vec<u8> {
    let head =
        "Host: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\nConnection: close";
    exchange(emulator, &format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n"))
}

#[test]
fn one_byte_is_corrupt_and_all_others_are_as_they_were() {
    let (emulator, api, file, content) = with_output();
    for at in [0, 1, 150_000, SIZE - 1] {
        strike(
            &emulator,
            LoggedCall::Content,
            FaultAction::CorruptByte(at as u64),
        );
        let mut got = api.get(&format!("/v1/files/{}/content", file.id)).body;
        assert_ne!(got[at], content[at]);
        got[at] ^= 0xff;
        assert!(got == content, "{at}");
    }
}

#[test]
fn the_length_that_is_said_is_another_one() {
    let (emulator, _api, file, content) = with_output();
    let path = format!("/v1/files/{}/content", file.id);
    for (said, sent) in [(SIZE + 10, SIZE), (SIZE - 10, SIZE - 10), (0, 0)] {
        strike(
            &emulator,
            LoggedCall::Content,
            FaultAction::SaysLength(said as u64),
        );
        let answer = get_raw(&emulator, &path);
        let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        assert!(head.contains(&format!("content-length: {said}")), "{head}");
        assert!(answer[end + 4..] == content[..sent], "{said}");
    }
}

#[test]
fn fields_are_missing_or_something_else_in_every_object() {
    let (emulator, api, file, _) = with_output();
    strike(
        &emulator,
        LoggedCall::List,
        FaultAction::DropField("size_bytes".to_owned()),
    );
    let list = api.get("/v1/files").ok();
    assert_eq!(list["data"][0].get("size_bytes"), None);
    assert_eq!(list["data"][0]["id"], file.id);
    let rule = json!([{"do": {"set_fields": {"size_bytes": "many", "unknown": 1}}}]);
    assert_eq!(api.put_faults(&rule).status, 204);
    let object = api.get(&format!("/v1/files/{}", file.id)).ok();
    assert_eq!(object["size_bytes"], "many");
    assert_eq!(object.get("unknown"), None);
    // A body that is no JSON stays as it is.
    let content = api.get(&format!("/v1/files/{}/content", file.id));
    assert_eq!(content.body.len(), SIZE);
}

fn is_reset(emulator: &Emulator, request: &str) -> bool {
    let mut stream = TcpStream::connect(emulator.addr()).unwrap();
    let sent = stream.write_all(request.as_bytes());
    // Said once only, to whoever asks first.
    let ended = sent.and_then(|()| stream.read_to_end(&mut Vec::new()).map(drop));
    ended.is_err_and(|error| matches!(error.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)))
}

#[test]
fn a_connection_is_closed_or_reset() {
    let (emulator, _api, file, _) = with_output();
    let head = "Host: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01";
    let request = format!(
        "GET /v1/files/{}/content HTTP/1.1\r\n{head}\r\n\r\n",
        file.id
    );
    for (action, reset) in [
        (FaultAction::CutAfterBytes(1000), false),
        (FaultAction::ResetAfterBytes(1000), true),
        (FaultAction::DropAnswer, false),
        (FaultAction::ResetAnswer, true),
    ] {
        strike(&emulator, LoggedCall::Content, action.clone());
        assert_eq!(is_reset(&emulator, &request), reset, "{action:?}");
    }
    let refusing = FaultRule {
        times: Some(2),
        ..FaultRule::new(FaultAction::Refuse)
    };
    emulator.set_faults(vec![refusing]);
    emulator.reset_requests();
    for refused in [true, true] {
        assert_eq!(is_reset(&emulator, &request), refused);
    }
    assert_eq!(emulator.requests(), [], "no call has begun");
    assert!(get_raw(&emulator, "/v1/files").starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_request_is_cut_at_its_byte_and_nothing_is_stored() {
    let (emulator, api) = start(Config::default());
    let content = noise(1_000_000);
    let body = form(&[(r#"name="file"; filename="a""#, Some("text/plain"), &content)]);
    for bytes in [0, 1, 60, 5000, 900_000] {
        emulator.reset_requests();
        strike(
            &emulator,
            LoggedCall::Upload,
            FaultAction::CutRequestAfterBytes(bytes),
        );
        let request = api
            .request(Method::POST, "/v1/files")
            .header(
                "content-type",
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .body(body.clone());
        assert!(try_read(request).is_err());
        let line = emulator.requests().remove(0);
        assert_eq!((line.status, line.bytes_in), (None, bytes));
    }
    assert_eq!(emulator.files().unwrap(), []);
    emulator.clear_faults();
    assert_eq!(api.upload("a", b"x").status, 200);
}

#[test]
fn several_things_happen_to_one_answer() {
    let (emulator, api, file, content) = with_output();
    let rule = json!([{"call": "content", "do": {"corrupt_byte": 1, "cut_after_bytes": 1000}}]);
    assert_eq!(api.put_faults(&rule).status, 204);
    let answer = get_raw(&emulator, &format!("/v1/files/{}/content", file.id));
    let head = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap();
    let body = &answer[head + 4..];
    assert_eq!((body[0], body[1]), (content[0], content[1] ^ 0xff));
    assert!(body[2..] == content[2..1000]);
    let shown: Value = read(api.bare(Method::GET, "/_emulator/faults")).ok();
    assert_eq!(shown[0]["do"], rule[0]["do"]);
}
