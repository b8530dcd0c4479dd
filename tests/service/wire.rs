//! The simplest client there can be, so that the emulator is tested by what goes over the wire and by nothing of ours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use afs::emulator::{Config, Emulator};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Longer than anything here can take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A form's boundary.
pub(crate) const BOUNDARY: &str = "8d4b0f6c2e";

pub(crate) fn start(config: Config) -> (Emulator, Api) {
    let emulator = Emulator::start(config).expect("the emulator starts");
    let api = Api::new(&emulator);
    (emulator, api)
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not within the deadline: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub(crate) struct Api {
    client: Client,
    base: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The parts of an error body that clients look at.
    pub(crate) fn error(&self) -> (u16, String, String, Option<String>) {
        let body = self.json();
        assert_eq!(body["type"], "error");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let error = &body["error"];
        (
            self.status,
            text(&error["type"]).unwrap(),
            text(&error["message"]).unwrap(),
            text(&error["details"]["error_code"]),
        )
    }

    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }
}

impl Api {
    pub(crate) fn new(emulator: &Emulator) -> Self {
        // The build carries no default provider, and a client wants one even where it never speaks TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self {
            client,
            base: emulator.base_url(),
        }
    }

    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .header("x-api-key", "some-key")
            .header("anthropic-version", "2023-06-01")
            .header("anthropic-beta", "files-api-2025-04-14")
    }

    /// As a client of today: no beta, and the key as a token.
    pub(crate) fn today(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path)
            .header("authorization", "Bearer some-key")
            .header("anthropic-version", "2026-10-21")
    }

    pub(crate) fn get_today(&self, path: &str) -> Reply {
        read(self.today(Method::GET, path))
    }

    pub(crate) fn upload_today(&self, body: &[u8]) -> Reply {
        let request = self
            .today(Method::POST, "/v1/files")
            .header(
                "content-type",
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .body(body.to_vec());
        read(request)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        read(self.request(Method::GET, path))
    }

    /// As a client that knows of sessions.
    pub(crate) fn get_scoped(&self, path: &str) -> Reply {
        let request = self.request(Method::GET, path);
        read(request.header("anthropic-beta", "other, managed-agents-2026-04-01"))
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        read(self.request(Method::DELETE, path))
    }

    /// Uploads bytes under a name that needs no escaping.
    pub(crate) fn upload(&self, filename: &str, content: &[u8]) -> Reply {
        let head = format!(r#"name="file"; filename="{filename}""#);
        self.upload_form(&form(&[(&head, Some("text/plain"), content)]))
    }

    pub(crate) fn upload_form(&self, body: &[u8]) -> Reply {
        let request = self
            .request(Method::POST, "/v1/files?beta=true")
            .header(
                "content-type",
                format!("multipart/form-data; boundary={BOUNDARY}"),
            )
            .body(body.to_vec());
        read(request)
    }

    pub(crate) fn put_faults(&self, rules: &Value) -> Reply {
        read(
            self.bare(Method::PUT, "/_emulator/faults")
                .body(rules.to_string()),
        )
    }

    pub(crate) fn ids(&self, path: &str) -> Vec<String> {
        ids(self.get(path))
    }

    /// The same as a client that knows of sessions.
    pub(crate) fn scoped_ids(&self, path: &str) -> Vec<String> {
        ids(self.get_scoped(path))
    }
}

fn ids(page: Reply) -> Vec<String> {
    let page = page.ok();
    let files = page["data"].as_array().unwrap();
    files
        .iter()
        .map(|file| file["id"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn read(request: RequestBuilder) -> Reply {
    try_read(request).expect("an answer")
}

pub(crate) fn try_read(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send()?;
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes()?.to_vec(),
    })
}

/// A form of parts, each with the parameters of its disposition, its type and its bytes.
pub(crate) fn form(parts: &[(&str, Option<&str>, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, content_type, content) in parts {
        write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n"
        )
        .unwrap();
        if let Some(content_type) = content_type {
            write!(body, "Content-Type: {content_type}\r\n").unwrap();
        }
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    write!(body, "--{BOUNDARY}--\r\n").unwrap();
    body
}

/// Sends these bytes and returns everything that comes back until the connection ends.
pub(crate) fn exchange(emulator: &Emulator, request: &str) -> Vec<u8> {
    let mut stream = connect(emulator);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

pub(crate) fn connect(emulator: &Emulator) -> TcpStream {
    let stream = TcpStream::connect(emulator.addr()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Bytes that are the same each time and like no other's.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
