//! Downloads: who may have which bytes, ranges, and what goes with them.

use afs::emulator::{Config, PlantedFile, Switches};
use reqwest::Method;

use crate::wire::{noise, read, start};

#[test]
fn outputs_are_given_back_whatever_their_size() {
    let (emulator, api) = start(Config::default());
    for size in [
        0,
        1,
        32 * 1024,
        32 * 1024 + 1,
        512 * 1024,
        512 * 1024 + 1,
        5_000_000,
    ] {
        let content = noise(size);
        let file = emulator
            .plant(PlantedFile::output("a.png", content.clone()))
            .unwrap();
        let request = api
            .request(
                Method::GET,
                &format!("/v1/files/{}/content?beta=true", file.id),
            )
            .header("accept", "application/binary");
        let reply = read(request);
        assert!(reply.status == 200 && reply.body == content, "{size}");
        assert_eq!(
            reply.header("content-length"),
            Some(size.to_string().as_str())
        );
        assert_eq!(
            reply.header("content-type"),
            Some("application/octet-stream")
        );
        assert_eq!(reply.header("content-disposition"), None);
    }
}

#[test]
fn uploads_are_not_given_back_unless_switched() {
    let (_emulator, api) = start(Config::default());
    let id = api.upload("a.txt", b"mine").ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let expected = (
        400,
        "invalid_request_error".to_owned(),
        "File is not downloadable".to_owned(),
        Some("file_not_downloadable".to_owned()),
    );
    assert_eq!(
        api.get(&format!("/v1/files/{id}/content")).error(),
        expected
    );

    let switches = Switches {
        uploads_downloadable: true,
        ..Switches::default()
    };
    let (_emulator, api) = start(Config {
        switches,
        ..Config::default()
    });
    let file = api.upload("a.txt", b"mine").ok();
    assert_eq!(file["downloadable"], true);
    let reply = api.get(&format!(
        "/v1/files/{}/content",
        file["id"].as_str().unwrap()
    ));
    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (200, b"mine".as_slice())
    );
}

#[test]
fn ranges_of_every_kind_of_content() {
    let (emulator, api) = start(Config::default());
    let small = emulator
        .plant(PlantedFile::output("s", "0123456789"))
        .unwrap()
        .id;
    let large = emulator
        .plant(PlantedFile::output("l", noise(3_000_000)))
        .unwrap()
        .id;
    emulator.bulk(1, "b-", 3_000_000, true).unwrap();
    let bulk = api.ids("/v1/files").remove(0);
    for id in [small, large, bulk] {
        let path = format!("/v1/files/{id}/content");
        let whole = api.get(&path);
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let size = whole.body.len();
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 1),
            ("bytes=3-6".to_owned(), 3, 7),
            (format!("bytes={}-", size - 3), size - 3, size),
            ("bytes=-4".to_owned(), size - 4, size),
            (format!("bytes=1-{}", size * 2), 1, size),
        ] {
            let reply = read(api.request(Method::GET, &path).header("range", &range));
            let expected = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(
                (reply.status, reply.header("content-range")),
                (206, Some(expected.as_str()))
            );
            assert!(reply.body == whole.body[from..to], "{range}");
        }
        let past = read(
            api.request(Method::GET, &path)
                .header("range", format!("bytes={size}-")),
        );
        assert_eq!(past.status, 416);
        assert_eq!(
            past.header("content-range"),
            Some(format!("bytes */{size}").as_str())
        );
        let conditional = api
            .request(Method::GET, &path)
            .header("range", "bytes=0-1")
            .header("if-range", "\"x\"");
        assert_eq!(read(conditional).status, 200);
    }
}

#[test]
fn what_goes_with_content_is_a_matter_of_switches() {
    let switches = Switches {
        ranges: false,
        content_length_sent: false,
        content_type_of_file: true,
        content_disposition_sent: true,
        ..Switches::default()
    };
    let (emulator, api) = start(Config {
        switches,
        ..Config::default()
    });
    let file = emulator
        .plant(PlantedFile::output("ä \"x\".png", noise(1_000_000)))
        .unwrap();
    let request = api.request(Method::GET, &format!("/v1/files/{}/content", file.id));
    let reply = read(request.header("range", "bytes=0-3"));
    assert_eq!((reply.status, reply.body.len()), (200, 1_000_000));
    assert_eq!(reply.header("accept-ranges"), None);
    assert_eq!(reply.header("content-length"), None);
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert_eq!(reply.header("content-type"), Some("image/png"));
    let disposition = reply.headers["content-disposition"].as_bytes();
    assert_eq!(
        String::from_utf8_lossy(disposition),
        "attachment; filename=\"ä _x_.png\""
    );
}

#[test]
fn a_download_goes_on_when_its_file_is_deleted() {
    let (emulator, api) = start(Config::default());
    let content = noise(20_000_000);
    let id = emulator
        .plant(PlantedFile::output("a", content.clone()))
        .unwrap()
        .id;
    let mut response = api
        .request(Method::GET, &format!("/v1/files/{id}/content"))
        .send()
        .unwrap();
    assert_eq!(api.delete(&format!("/v1/files/{id}")).status, 200);
    let mut received = Vec::new();
    response.copy_to(&mut received).unwrap();
    assert!(received == content);
}
