//! Connections that break, hang or crawl: a moving transfer lives however long it takes, everything else ends by itself.

use std::io::{self, Cursor as Bytes, Read};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use afs::api::{Call, ErrorKind, FilesApi};

use crate::raw_server::{RawServer, json};
use crate::{FILE, PATIENT, api_error, client, failures, id, newest, upload};

/// A deadline worth waiting for in a test.
const SHORT: Duration = Duration::from_millis(300);

/// How much later than its deadline a call may end on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// 64 MiB: more than all buffers between here and the server hold.
const LARGE: u64 = 64 << 20;

#[test]
fn every_call_ends_when_the_server_says_nothing() {
    let server = RawServer::start(|exchange| {
        exchange.until_closed();
        false
    });
    let begun = Instant::now();
    for (call, error) in failures(&client(&server.url(), SHORT)) {
        let error = error.unwrap();
        assert_eq!((error.call, error.kind), (call, ErrorKind::Interrupted));
        assert_eq!(error.message, "nothing moved for 300ms");
        assert!(error.may_have_happened());
    }
    let took = begun.elapsed();
    assert!(took >= 5 * SHORT && took < 5 * SHORT + SLACK, "{took:?}");
    server.wait_until_closed();
}

#[test]
fn an_upload_ends_when_the_server_takes_no_more() {
    let server = RawServer::start(|exchange| {
        exchange.skip(100_000);
        // Looks away until the client has gone, which it only notices when it reads on.
        exchange.wait_for_release();
        exchange.until_closed();
        false
    });
    let begun = Instant::now();
    let error = client(&server.url(), SHORT)
        .upload(upload("a", LARGE, io::repeat(7)))
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Interrupted, "{error}");
    assert!(begun.elapsed() < SHORT + SLACK);
    server.release();
    server.wait_until_closed();
}

#[test]
fn a_download_that_stalls_is_an_error_and_stays_one() {
    let server = RawServer::start(|exchange| {
        exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        exchange.until_closed();
        false
    });
    let client = client(&server.url(), SHORT);
    let mut download = client.download(&id("file_1"), 0).unwrap();
    assert_eq!(download.length, Some(10));
    let begun = Instant::now();
    let mut bytes = Vec::new();
    for _ in 0..3 {
        let error = download.body.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(api_error(&error).kind, ErrorKind::Interrupted);
        assert_eq!(bytes, b"abc");
    }
    assert!(begun.elapsed() < SHORT + SLACK);
    drop(download);
    server.wait_until_closed();
}

#[test]
fn a_cut_download_is_never_a_short_file() {
    let body = b"0123456789";
    let whole = format!(
        "HTTP/1.1 200 OK\r\nrequest-id: req_1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let whole = (whole.clone(), [whole.as_bytes(), body].concat());
    let chunked = (
        chunked.clone(),
        [chunked.as_bytes(), b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"].concat(),
    );
    for (head, answer) in [whole, chunked] {
        for cut in 0..answer.len() {
            let server = RawServer::saying(&answer[..cut]);
            let client = client(&server.url(), PATIENT);
            let mut download = match client.download(&id("file_1"), 0) {
                Ok(download) => download,
                Err(error) => {
                    assert!(cut < head.len(), "{error}");
                    assert_eq!(error.kind, ErrorKind::Interrupted, "{cut}: {error}");
                    continue;
                }
            };
            let mut bytes = Vec::new();
            let error = download
                .body
                .read_to_end(&mut bytes)
                .expect_err("a short file");
            let error = api_error(&error);
            assert_eq!(
                (error.call, error.kind),
                (Call::Download, ErrorKind::Interrupted)
            );
            assert!(body.starts_with(&bytes));
            assert!(
                download.body.read(&mut [0]).is_err(),
                "the end after an error"
            );
        }
        let server = RawServer::saying(answer);
        let mut download = client(&server.url(), PATIENT)
            .download(&id("file_1"), 0)
            .unwrap();
        let mut bytes = Vec::new();
        download.body.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, body);
    }
}

#[test]
fn a_cut_answer_is_never_half_understood() {
    let answer = json("200 OK", FILE);
    for cut in 0..answer.len() {
        let server = RawServer::saying(&answer.as_bytes()[..cut]);
        let client = client(&server.url(), PATIENT);
        let kinds = [
            client.metadata(&id("file_1")).unwrap_err().kind,
            client
                .upload(upload("a", 1, Bytes::new("a")))
                .unwrap_err()
                .kind,
            client.delete(&id("file_1")).unwrap_err().kind,
        ];
        assert_eq!(kinds, [ErrorKind::Interrupted; 3], "{cut}");
    }
}

#[test]
fn part_of_a_file_is_not_taken_for_the_file() {
    for status in ["206 Partial Content", "203 Whatever", "204 No Content"] {
        let server = RawServer::saying(format!("HTTP/1.1 {status}\r\ncontent-length: 1\r\n\r\nx"));
        let error = client(&server.url(), PATIENT)
            .download(&id("file_1"), 0)
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Nonsense);
    }
}

#[test]
fn another_part_of_a_file_is_not_taken_for_the_one_asked_for() {
    let answer = |lines: &str| format!("HTTP/1.1 206 Partial Content\r\n{lines}\r\n\r\nxyz");
    for lines in [
        "content-length: 3",
        "content-length: 3\r\ncontent-range: bytes 6-8/9",
        "content-length: 3\r\ncontent-range: bytes 7-9/20",
        "content-length: 3\r\ncontent-range: bytes 7-10/11",
        "content-length: 3\r\ncontent-type: multipart/byteranges; boundary=x",
    ] {
        let server = RawServer::saying(answer(lines));
        let error = client(&server.url(), PATIENT)
            .download(&id("file_1"), 7)
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Nonsense, "{lines}");
    }
    let server = RawServer::saying(answer("content-length: 3\r\ncontent-range: bytes 7-9/10"));
    let mut download = client(&server.url(), PATIENT)
        .download(&id("file_1"), 7)
        .unwrap();
    let mut bytes = Vec::new();
    download.body.read_to_end(&mut bytes).unwrap();
    assert_eq!((download.start, bytes.as_slice()), (7, &b"xyz"[..]));
    assert!(server.heads()[0].contains("range: bytes=7-\r\n"));
}

#[test]
fn an_answer_before_the_end_of_an_upload_is_heard() {
    for (status, kind) in [
        ("413 Payload Too Large", ErrorKind::TooLarge),
        ("401 Unauthorized", ErrorKind::Unauthorized),
        ("429 Too Many Requests", ErrorKind::RateLimited),
        // A confirmation of what can't have been read.
        ("200 OK", ErrorKind::Nonsense),
    ] {
        let (count, counted) = mpsc::channel();
        let count = Mutex::new(count);
        let server = RawServer::start(move |exchange| {
            exchange.skip(100_000);
            let answer = "content-type: text/html\r\ncontent-length: 4\r\n\r\n<h1>";
            exchange.send(format!("HTTP/1.1 {status}\r\n{answer}").as_bytes());
            let rest = exchange.until_closed();
            count.lock().unwrap().send(rest).unwrap();
            false
        });
        let client = client(&server.url(), PATIENT);
        let error = client
            .upload(upload("a", LARGE, io::repeat(7)))
            .unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        let rest = counted
            .recv_timeout(PATIENT)
            .expect("the connection is closed");
        assert!(rest < LARGE - 100_000, "the rest need not be sent");
    }
}

#[test]
fn a_body_that_fails_is_never_completed() {
    struct Failing(u64);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("disk gone"));
            }
            let n = buffer.len().min(self.0 as usize);
            self.0 -= n as u64;
            buffer[..n].fill(7);
            Ok(n)
        }
    }

    let (count, counted) = mpsc::channel();
    let count = Mutex::new(count);
    let server = RawServer::start(move |exchange| {
        let announced: u64 = exchange.header("content-length").unwrap().parse().unwrap();
        let came = exchange.until_closed();
        count.lock().unwrap().send(came < announced).unwrap();
        false
    });
    let client = client(&server.url(), PATIENT);
    for (size, body, says) in [
        (
            LARGE,
            Box::new(Failing(1 << 20)) as Box<dyn Read + Send>,
            "disk gone",
        ),
        (
            LARGE,
            Box::new(io::repeat(7).take(1 << 20)),
            "66060288 bytes shorter",
        ),
    ] {
        let error = client.upload(upload("a", size, body)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Body);
        assert!(error.message.contains(says), "{error}");
        assert!(
            counted.recv_timeout(PATIENT).unwrap(),
            "the form was complete"
        );
    }

    // Found out before anything was sent: no request at all.
    let before = server.heads().len();
    for body in [
        Box::new(Failing(0)) as Box<dyn Read + Send>,
        Box::new(io::empty()),
    ] {
        let error = client.upload(upload("a", 5, body)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Body);
    }
    assert_eq!(server.heads().len(), before);
}

#[test]
fn where_nobody_listens_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}"),
    ] {
        for (call, error) in failures(&client(&url, PATIENT)) {
            let error = error.unwrap();
            assert_eq!((error.call, error.kind), (call, ErrorKind::Unreachable));
            assert!(error.message.contains("refused"), "{error}");
            assert!(!error.may_have_happened());
        }
    }
}

#[test]
fn tls_that_is_none_is_unreachable() {
    let server = RawServer::saying(json("200 OK", FILE));
    let url = server.url().replace("http:", "https:");
    // Where there is no TLS there is no line to read either; the server closes at once.
    for (_, error) in failures(&client(&url, PATIENT)) {
        assert_eq!(error.unwrap().kind, ErrorKind::Unreachable);
    }
    assert_eq!(server.heads(), [""; 0]);
}

#[test]
fn a_reset_is_an_interruption() {
    let server = RawServer::start(|exchange| {
        exchange.close();
        false
    });
    for (call, error) in failures(&client(&server.url(), PATIENT)) {
        let error = error.unwrap();
        assert_eq!((error.call, error.kind), (call, ErrorKind::Interrupted));
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_nothing() {
    // The server ends each connection after one answer without saying so. A request sent before the client has noticed
    // would be an interruption, and rightly so; the wait below is for the client's own end of the connection.
    let server = RawServer::start(|exchange| {
        exchange.read_body();
        exchange.json("200 OK", FILE);
        exchange.end();
        exchange.until_closed();
        false
    });
    let client = client(&server.url(), PATIENT);
    for n in 1..=20 {
        client.metadata(&id("file_1")).unwrap();
        server.wait_until_closed();
        client.upload(upload("a", 1, Bytes::new("a"))).unwrap();
        server.wait_until_closed();
        assert_eq!(server.heads().len(), 2 * n, "one request each");
    }
}

#[test]
fn many_threads_share_one_client() {
    let server = RawServer::start(|exchange| {
        exchange.read_body();
        exchange.json("200 OK", FILE);
        true
    });
    let client = client(&server.url(), PATIENT);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..20 {
                    client
                        .upload(upload("a", 1_000_000, io::repeat(1)))
                        .unwrap();
                    client.metadata(&id("file_1")).unwrap();
                    client.list(&newest()).unwrap_err();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 320);
    // A connection may be opened that another's becoming free makes needless.
    assert!(
        server.connections() < 100,
        "960 calls over {} connections",
        server.connections()
    );
}

/// The one thing that can't be shown without real time: what moves lives, whatever it takes. The deadline is a few
/// seconds, the transfers last 45.
#[test]
fn transfers_of_forty_five_seconds_succeed() {
    const LASTING: Duration = Duration::from_secs(45);
    const DEADLINE: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(500);
    const STEPS: u32 = 90;

    let finished = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&finished);
    let server = RawServer::start(move |exchange| {
        let tick = |step: u32, begun: Instant| {
            let due = begun + STEP * step;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        };
        let begun = Instant::now();
        if exchange.head.starts_with("POST") {
            let announced: u64 = exchange.header("content-length").unwrap().parse().unwrap();
            // All that the buffers hold besides is read at the end.
            let each = announced / u64::from(STEPS);
            for step in 1..=STEPS {
                exchange.skip(each);
                tick(step, begun);
            }
            exchange.skip(announced - each * u64::from(STEPS));
            // Counted before the last byte: after it the client may be done first.
            counter.fetch_add(1, Ordering::SeqCst);
            exchange.json("200 OK", FILE);
        } else {
            exchange.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {STEPS}\r\n\r\n").as_bytes());
            for step in 1..=STEPS {
                tick(step, begun);
                if step == STEPS {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                exchange.send(b"x");
            }
        }
        true
    });
    let client = client(&server.url(), DEADLINE);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut text = String::new();
            let mut download = client.download(&id("file_1"), 0).unwrap();
            download.body.read_to_string(&mut text).unwrap();
            assert_eq!(text, "x".repeat(STEPS as usize));
        });
        scope.spawn(|| {
            client
                .upload(upload("a", 4 * LARGE, io::repeat(7)))
                .unwrap()
        });
    });
    assert!(begun.elapsed() >= LASTING);
    assert_eq!(finished.load(Ordering::SeqCst), 2);
}
