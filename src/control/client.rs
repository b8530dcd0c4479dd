//! The asking side, for the other commands.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Reply, Request, address};

/// How long a mount may be silent before it counts as gone. During a flush it says something every second.
const SILENCE: Duration = Duration::from_secs(10);

/// Why a mount did not answer.
#[derive(Debug)]
pub enum ControlError {
    /// Nobody is listening.
    Unreachable(io::Error),
    /// It stopped talking.
    Silent(io::Error),
    /// It said something else than asked for.
    Confused(String),
    /// It said why not.
    Refused(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the mount's process can't be reached: {error}"),
            Self::Silent(error) => write!(f, "the mount's process does not answer: {error}"),
            Self::Confused(what) => write!(
                f,
                "the mount's process answered something unexpected ({what}); it may be of another version of afs: \
                 unmount and mount again"
            ),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ControlError {}

/// A conversation with one mount.
#[derive(Debug)]
pub struct Client {
    lines: BufReader<UnixStream>,
}

impl Client {
    /// Reaches the mount whose state is in `state_dir`.
    pub fn connect(state_dir: &Path) -> Result<Self, ControlError> {
        let connect = || {
            let (_directory, path) = address(state_dir)?;
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            Ok(stream)
        };
        connect()
            .map(|stream| Self {
                lines: BufReader::new(stream),
            })
            .map_err(ControlError::Unreachable)
    }

    /// Asks, and gives the first answer.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ControlError> {
        let mut line = serde_json::to_string(request)
            .map_err(|error| ControlError::Confused(error.to_string()))?;
        line.push('\n');
        self.lines
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(ControlError::Silent)?;
        self.hear()
    }

    /// The next line of an answer that has several.
    pub fn hear(&mut self) -> Result<Reply, ControlError> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => return Err(ControlError::Silent(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(ControlError::Silent(error)),
        }
        match serde_json::from_str(&line) {
            Ok(Reply::Failed { why }) => Err(ControlError::Refused(why)),
            Ok(reply) => Ok(reply),
            Err(error) => Err(ControlError::Confused(error.to_string())),
        }
    }
}
