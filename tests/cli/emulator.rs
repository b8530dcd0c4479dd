//! `afs emulator`: from its first line to its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{afs, run};

/// A running one, ended when the test is over.
struct Running {
    child: Child,
    /// `127.0.0.1:PORT`
    address: String,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_afs"))
            .arg("emulator")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim_end()
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("the first line is {line:?}"))
            .to_owned();
        Self { child, address }
    }

    /// The status and body of a list call.
    fn list(&self, key: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "GET /v1/files HTTP/1.1\r\nhost: {}\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n\
             anthropic-beta: files-api-2025-04-14\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    /// The status of an upload.
    fn upload(&self, name: &str, content: &str) -> u16 {
        let body = format!(
            "--frontier\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             content-type: text/plain\r\n\r\n{content}\r\n--frontier--\r\n"
        );
        let head = format!(
            "POST /v1/files HTTP/1.1\r\nhost: {}\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\
             anthropic-beta: files-api-2025-04-14\r\ncontent-type: multipart/form-data; boundary=frontier\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn ends_with(mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_answers_once_it_has_said_where_and_ends_on_a_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let emulator = Running::start(&[]);
        assert_eq!(emulator.list("any").0, 200);
        assert_eq!(emulator.ends_with(signal), Some(0), "{signal}");
    }
}

#[test]
fn its_flags_reach_it() {
    let emulator = Running::start(&["--seed-samples", "--key", "right", "--key", "other"]);
    assert_eq!(emulator.list("wrong").0, 401);
    for key in ["right", "other"] {
        let (status, body) = emulator.list(key);
        assert_eq!(status, 200);
        assert!(body.contains("chart"), "{body}");
    }
}

#[test]
fn it_begins_with_the_trouble_that_a_file_has() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.json");
    let text = r#"[{"call": "list", "every": 2, "do": {"status": 503}}]"#;
    std::fs::write(&rules, text).unwrap();
    let emulator = Running::start(&["--faults", rules.to_str().unwrap()]);
    let statuses = [(); 4].map(|()| emulator.list("any").0);
    assert_eq!(statuses, [503, 200, 503, 200]);
}

#[test]
fn what_it_cannot_do_is_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    let rules = home.path().join("rules.json");
    std::fs::write(&rules, r#"[{"do": {"stal": true}}]"#).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, says) in [
        (["--listen", &address], "can't listen on"),
        (["--listen", "0.0.0.0:0"], "needs a key"),
        (["--import", "/nonexistent"], "can't import /nonexistent"),
        (
            ["--data", "/proc/nonexistent"],
            "can't keep data in /proc/nonexistent",
        ),
        (["--faults", "/nonexistent"], "/nonexistent can't be read"),
        (
            ["--faults", rules.to_str().unwrap()],
            "unknown field `stal`",
        ),
    ] {
        let ran = run(afs(home.path()).arg("emulator").args(arguments));
        ran.complains(1, &[says]);
    }
}

#[test]
fn what_was_answered_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let arguments = ["--data", data.to_str().unwrap()];
    let emulator = Running::start(&arguments);
    for n in 0..5 {
        assert_eq!(emulator.upload(&format!("kept-{n}.txt"), "content"), 200);
    }
    assert_eq!(emulator.ends_with(Signal::SIGKILL), None);

    let again = Running::start(&arguments);
    let (status, listed) = again.list("k");
    assert_eq!(status, 200);
    for n in 0..5 {
        assert!(listed.contains(&format!("kept-{n}.txt")), "{listed}");
    }
}
