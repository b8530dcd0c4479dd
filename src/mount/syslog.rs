//! The system's log as a place for log lines: datagrams to the socket that syslog(3) speaks to. journald listens there as
//! well, so one way serves both.
//!
//! Whoever logs never waits for a log daemon that hangs, and never fails for one that is gone: what it does not take is
//! counted, and the count is logged once it takes something again.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;
use log::Level;

/// How long a daemon that has taken every line so far may take for the next one. One that has not is given no time.
const PATIENCE: Duration = Duration::from_millis(200);

/// What of a line is sent; daemons cut longer ones, each at a place of its own (RFC 5424 section 6.1, journald's `LineMax`).
const LONGEST: usize = 8 * 1024;

/// The facility *daemon* (RFC 5424 section 6.2.1), where it has its bits.
const DAEMON: u8 = 3 << 3;

/// Severities as syslog(3) numbers them; there is none below debug.
#[must_use]
pub fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// What a datagram begins with, as syslog(3) writes it: priority, local time, who it is.
#[must_use]
pub fn head(level: Level) -> String {
    head_at(level, &Zoned::now())
}

fn head_at(level: Level, time: &Zoned) -> String {
    format!(
        "<{}>{} afs[{}]: ",
        DAEMON | severity(level),
        time.strftime("%b %e %H:%M:%S"),
        std::process::id()
    )
}

/// The system's log. Each write is a line of it, with its [`head`].
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    /// Lines that were not taken since one was.
    lost: u64,
}

impl Syslog {
    /// The log daemon that listens at `path`; an error where none does.
    pub fn at(path: &Path) -> io::Result<Self> {
        // Says whether somebody is there, without a word to them.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            lost: 0,
        })
    }

    /// By the path each time: a daemon that was started anew has a new socket there.
    fn send(&mut self, line: &[u8]) -> bool {
        let line = cut(line);
        let has_time = self.lost == 0;
        let sent = self
            .socket
            .set_nonblocking(!has_time)
            .and_then(|()| self.socket.send_to(line, &self.path));
        sent.is_ok()
    }

    fn log(&mut self, line: &[u8]) {
        if self.lost > 0 {
            let note = format!(
                "{}{} lines before this one did not reach the log",
                head(Level::Warn),
                self.lost
            );
            if self.send(note.as_bytes()) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.send(line) {
            self.lost += 1;
        }
    }
}

/// As much of a line as is sent: whole characters.
fn cut(line: &[u8]) -> &[u8] {
    let mut end = line.len().min(LONGEST);
    while line.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    &line[..end]
}

impl Write for Syslog {
    /// Takes all of it, as one line. Nothing is logged in here, for the log is locked.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log(line.trim_ascii_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// What has come, without waiting for more.
    fn received(daemon: &UnixDatagram) -> Vec<String> {
        daemon.set_nonblocking(true).unwrap();
        let mut datagram = vec![0; 64 * 1024];
        let mut received = Vec::new();
        while let Ok(length) = daemon.recv(&mut datagram) {
            received.push(String::from_utf8(datagram[..length].to_vec()).unwrap());
        }
        received
    }

    #[test]
    fn a_head_is_what_syslog_writes() {
        let time: Zoned = "2026-11-05T07:08:09[UTC]".parse().unwrap();
        let me = std::process::id();
        for (level, priority) in [
            (Level::Error, 27),
            (Level::Warn, 28),
            (Level::Info, 30),
            (Level::Debug, 31),
            (Level::Trace, 31),
        ] {
            assert_eq!(
                head_at(level, &time),
                format!("<{priority}>Nov  5 07:08:09 afs[{me}]: ")
            );
        }
    }

    #[test]
    fn a_daemon_that_comes_back_is_told_how_much_it_missed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = Syslog::at(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        assert_eq!(received(&daemon), ["one"]);
        drop(daemon);
        log.write_all(b"two\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        log.write_all(b"three\n").unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        log.write_all(b"four\n").unwrap();
        log.write_all(b"five\n").unwrap();
        let received = received(&daemon);
        assert_eq!(received.len(), 3, "{received:?}");
        assert!(
            received[0].ends_with(": 2 lines before this one did not reach the log"),
            "{received:?}"
        );
        assert_eq!(received[1..], ["four", "five"]);
    }

    #[test]
    fn a_daemon_that_hangs_is_waited_for_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = Syslog::at(&path).unwrap();
        let begun = Instant::now();
        // Larger than any queue of datagrams is long.
        let count = 20_000;
        for n in 0..count {
            log.write_all(format!("{n}\n").as_bytes()).unwrap();
        }
        assert!(log.lost > 0);
        assert!(begun.elapsed() < Duration::from_secs(10));
        let taken = received(&daemon).len() as u64;
        assert_eq!(taken + log.lost, count);
        log.write_all(b"again\n").unwrap();
        assert_eq!(received(&daemon)[1..], ["again"]);
    }

    #[test]
    fn a_line_of_any_length_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut log = Syslog::at(&path).unwrap();
        for (long, sent) in [
            ("x".repeat(1 << 20), "x".repeat(LONGEST)),
            // Three bytes each: the last one would be in two pieces.
            ("\u{20ac}".repeat(1 << 20), "\u{20ac}".repeat(LONGEST / 3)),
        ] {
            log.write_all(long.as_bytes()).unwrap();
            assert_eq!(received(&daemon), [sent]);
        }
    }

    #[test]
    fn where_nobody_listens_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Syslog::at(&dir.path().join("none")).is_err());
    }
}
