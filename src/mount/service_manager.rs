//! What systemd hears of a mount that it runs as a service of `Type=notify`: that it answers, how it is, that it ends
//! (`sd_notify(3)`). Only the process that systemd started speaks: a mount that leaves for the background belongs to nobody's
//! service.
//!
//! The address comes by an environment variable, which whoever reads it takes out of there: what this process starts has
//! no business with it. A manager that takes no messages costs the mount nothing but a moment.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::state::{PendingCount, State};

/// The environment variable with the address.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// How long a manager may take for a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shortest time between two messages of how it is.
const PACE: Duration = Duration::from_secs(2);

/// How long the next page of a first listing may take before systemd loses patience: requests may have to wait for the
/// service's limit of a minute.
const PAGE: Duration = Duration::from_secs(180);

/// What the end may take beyond the times it has set itself: closing the state on a slow disk.
const SPARE: Duration = Duration::from_secs(15);

/// Who is told, if anybody.
#[derive(Debug, Clone)]
pub struct ServiceManager(Option<Arc<Line>>);

/// The line to the manager.
#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    said: Mutex<Said>,
}

/// What was said last.
#[derive(Debug, Default)]
struct Said {
    status: String,
    at: Option<Instant>,
    /// What goes before how it is, from when it serves.
    place: String,
}

impl ServiceManager {
    /// The one that listens at an address as systemd writes it: a path, or `@` and a name that is in no directory. None where
    /// there is no address, or one of another kind.
    #[must_use]
    pub fn at(address: Option<&OsStr>) -> Self {
        let line = address.map(Line::to).transpose();
        Self(match line {
            Ok(line) => line.map(Arc::new),
            Err(error) => {
                log::warn!("the service manager can't be told how the mount is: {error}");
                None
            }
        })
    }

    /// Nobody.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// So many files of the workspace are listed, before it is mounted for the first time.
    pub(super) fn is_listing(&self, count: usize) {
        let Some(line) = &self.0 else { return };
        let mut said = line.said();
        if said.at.is_none_or(|at| at.elapsed() >= PACE) {
            said.at = Some(Instant::now());
            let status = format!("listing the workspace: {count} files");
            line.tell(&format!("{}{}", extended(PAGE), field("STATUS", &status)));
        }
    }

    /// The mount answers. From now on the manager is told how it is, whenever that changes, until the outbox stops.
    pub(super) fn is_ready(&self, mountpoint: &Path, state: &Arc<State>) {
        let Some(line) = &self.0 else { return };
        let place = format!("mounted on {}", mountpoint.display());
        line.is_at(place, "READY=1\n", state.count_pending());
        let (line, state) = (Arc::clone(line), Arc::clone(state));
        let following = thread::Builder::new()
            .name("afs-notify".into())
            .spawn(move || line.follow(&state));
        if let Err(error) = following {
            log::warn!("no thread to tell the service manager how the mount is: {error}");
        }
    }

    /// The mount ends, in `longest` unless the disk is slow; what is due is still sent.
    pub(super) fn is_ending(&self, mountpoint: &Path, state: &State, longest: Duration) {
        let Some(line) = &self.0 else { return };
        let place = format!("unmounting {}", mountpoint.display());
        let first = format!("STOPPING=1\n{}", extended(longest + SPARE));
        line.is_at(place, &first, state.count_pending());
    }
}

impl Line {
    fn to(address: &OsStr) -> io::Result<Self> {
        let bytes = address.as_bytes();
        let address = match bytes.first() {
            Some(b'@') => SocketAddr::from_abstract_name(&bytes[1..])?,
            Some(b'/') => SocketAddr::from_pathname(PathBuf::from(address))?,
            _ => {
                let shown = address.display();
                return Err(io::Error::other(format!(
                    "{shown} is no address of a Unix socket"
                )));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            address,
            said: Mutex::default(),
        })
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends fields, each with its end of line.
    fn tell(&self, fields: &str) {
        if let Err(error) = self.socket.send_to_addr(fields.as_bytes(), &self.address) {
            log::warn!("the service manager does not hear how the mount is: {error}");
        }
    }

    /// Says `first` and how it is, at a place that it says from now on.
    fn is_at(&self, place: String, first: &str, pending: PendingCount) {
        let mut said = self.said();
        said.place = place;
        said.status = status(&said.place, pending);
        self.tell(&format!("{first}{}", field("STATUS", &said.status)));
    }

    fn follow(&self, state: &State) {
        let mut seen = 0;
        while !state.is_stopped_within(PACE) {
            seen = state.wait_for_change(seen);
            let mut said = self.said();
            let status = status(&said.place, state.count_pending());
            if status != said.status {
                self.tell(&field("STATUS", &status));
                said.status = status;
            }
        }
    }
}

/// More time from now on, for what systemd waits for.
fn extended(time: Duration) -> String {
    field("EXTEND_TIMEOUT_USEC", &time.as_micros().to_string())
}

/// A field in a line of its own, whatever its value: a path may hold anything, and every line is a field.
fn field(name: &str, value: &str) -> String {
    let value = value.replace(char::is_control, "\u{fffd}");
    format!("{name}={value}\n")
}

fn status(place: &str, pending: PendingCount) -> String {
    let mut status = match pending.all {
        0 => format!("{place}; everything saved"),
        1 => format!("{place}; 1 change pending"),
        all => format!("{place}; {all} changes pending"),
    };
    if pending.failed > 0 {
        // Writing to a string does not fail.
        let _ = write!(
            status,
            ", {} could not be sent yet: see afs pending",
            pending.failed
        );
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_is_is_a_line() {
        for (all, failed, says) in [
            (0, 0, "mounted on /m; everything saved"),
            (1, 0, "mounted on /m; 1 change pending"),
            (3, 0, "mounted on /m; 3 changes pending"),
            (
                3,
                2,
                "mounted on /m; 3 changes pending, 2 could not be sent yet: see afs pending",
            ),
        ] {
            let pending = PendingCount { all, failed };
            assert_eq!(status("mounted on /m", pending), says);
        }
        assert_eq!(
            field("STATUS", "/m\nREADY=1\r"),
            "STATUS=/m\u{fffd}READY=1\u{fffd}\n"
        );
    }

    #[test]
    fn an_address_is_a_path_or_a_name_in_no_directory() {
        let name = format!("@afs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        ServiceManager::at(Some(OsStr::new(&name))).is_listing(7);
        let mut message = [0; 200];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(
            str::from_utf8(&message[..length]).unwrap(),
            "EXTEND_TIMEOUT_USEC=180000000\nSTATUS=listing the workspace: 7 files\n"
        );
        for nobody in [None, Some(""), Some("vsock:2:1234"), Some("relative")] {
            assert!(ServiceManager::at(nobody.map(OsStr::new)).0.is_none());
        }
    }

    #[test]
    fn a_manager_that_takes_nothing_is_not_waited_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manager");
        let manager = UnixDatagram::bind(&path).unwrap();
        let told = ServiceManager::at(Some(path.as_os_str()));
        drop(manager);
        told.is_listing(1);
        std::fs::remove_file(&path).unwrap();
        told.is_listing(2);
    }
}
