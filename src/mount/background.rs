//! Starting in the background, and saying when the mount answers.
//!
//! `afs mount` runs itself a second time, waits until that process says *ready* over a pipe, and returns. The pipe is the
//! child's standard output: lines `notice TEXT`, then one `ready`. Until then the child shares the terminal: its sentence
//! in case of failure is seen, progress is seen, and Ctrl-C reaches it. At *ready* it leaves the terminal for good.
//! Secrets travel over the child's standard input and not in its environment, where `/proc` would show them.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use serde::{Deserialize, Serialize};

use super::log_file::LogFile;
use super::sys;
use crate::api::{ApiKey, Credential, CustomHeaders};
use crate::config::Secrets;

/// The one word that says the mount answers.
const READY: &str = "ready";
/// What stands before a line for the user.
const NOTICE: &str = "notice ";

/// The duty to say when the mount answers; whoever serves calls [`Ready::announce`] once it does.
#[derive(Debug)]
pub struct Ready(Kind);

#[derive(Debug)]
enum Kind {
    Foreground { mountpoint: PathBuf },
    Background { log_file: Option<LogFile> },
}

impl Ready {
    /// For a mount that stays in the foreground: a line on standard output.
    #[must_use]
    pub fn foreground(mountpoint: &Path) -> Self {
        Self(Kind::Foreground {
            mountpoint: mountpoint.to_owned(),
        })
    }

    /// For the process that [`launch`] started: it tells its parent and leaves the terminal. What else it says goes to the
    /// log file, if there is one.
    #[must_use]
    pub fn background(log_file: Option<LogFile>) -> Self {
        Self(Kind::Background { log_file })
    }

    /// The mount answers. `notices` are sentences for the user, shown once.
    ///
    /// Nothing here can fail in a way that should end a mount that works: what cannot be said is logged.
    pub fn announce(self, notices: &[String]) {
        let done = match self.0 {
            Kind::Foreground { mountpoint } => announce_in_foreground(&mountpoint, notices),
            Kind::Background { log_file } => announce_to_parent(log_file.as_ref(), notices),
        };
        if let Err(error) = done {
            log::warn!("mounted, but could not say so: {error}");
        }
    }
}

fn announce_in_foreground(mountpoint: &Path, notices: &[String]) -> io::Result<()> {
    for notice in notices {
        writeln!(io::stderr(), "{notice}")?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "mounted on {}", mountpoint.display())?;
    out.flush()
}

fn announce_to_parent(log_file: Option<&LogFile>, notices: &[String]) -> io::Result<()> {
    // Whatever fails here, the parent is told: it would wait for ever.
    let left = sys::leave_terminal().and_then(|()| std::env::set_current_dir("/"));
    let told = tell(&mut io::stdout().lock(), notices);
    let redirected = match log_file {
        Some(log_file) => log_file.carry_output(),
        None => OpenOptions::new()
            .write(true)
            .open("/dev/null")
            .and_then(|null| sys::output_to(&null)),
    };
    left.and(told).and(redirected)
}

fn tell(parent: &mut dyn Write, notices: &[String]) -> io::Result<()> {
    let mut message = String::new();
    for notice in notices {
        message += NOTICE;
        message += &notice.replace(['\n', '\r'], " ");
        message.push('\n');
    }
    message += READY;
    message.push('\n');
    parent.write_all(message.as_bytes())?;
    parent.flush()
}

/// Why a launched process never got ready.
#[derive(Debug)]
pub enum LaunchError {
    /// It could not be started.
    Start(io::Error),
    /// It ended with a sentence of its own on standard error.
    Ended,
    /// It ended without one.
    Vanished(ExitStatus),
}

/// This program once more, with other arguments.
#[must_use]
pub fn myself(arguments: Vec<OsString>) -> Command {
    // The name of a program that was replaced while it ran leads nowhere; the link in /proc always does.
    let program = std::env::current_exe()
        .ok()
        .filter(|path| path.exists())
        .unwrap_or_else(|| "/proc/self/exe".into());
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The secrets as they travel.
#[derive(Serialize, Deserialize)]
struct Handover {
    secret: String,
    is_token: bool,
    key_file: Option<PathBuf>,
    /// `Name: value` lines.
    headers: String,
}

impl Handover {
    fn of(secrets: &Secrets) -> Self {
        let headers = secrets.headers.iter().map(|(name, value)| {
            // Whatever can be in a header's value came as text.
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        });
        Self {
            secret: secrets.credential.secret().reveal().to_owned(),
            is_token: matches!(secrets.credential, Credential::Token(_)),
            key_file: secrets.key_file.clone(),
            headers: headers.collect(),
        }
    }

    fn secrets(self) -> Option<Secrets> {
        let secret = ApiKey::new(self.secret).ok()?;
        Some(Secrets {
            credential: if self.is_token {
                Credential::Token(secret)
            } else {
                Credential::Key(secret)
            },
            headers: CustomHeaders::parse(&self.headers).ok()?,
            key_file: self.key_file,
        })
    }
}

/// Starts `command`, hands it the secrets, waits until it is ready, and returns its notices.
pub fn launch(mut command: Command, secrets: Option<&Secrets>) -> Result<Vec<String>, LaunchError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LaunchError::Start)?;
    if let (Some(mut stdin), Some(secrets)) = (child.stdin.take(), secrets) {
        // A child that ends before it reads says why by itself.
        let _ = serde_json::to_writer(&mut stdin, &Handover::of(secrets));
    }
    let heard = child.stdout.take().and_then(listen);
    if let Some(notices) = heard {
        return Ok(notices);
    }
    let status = child.wait().map_err(LaunchError::Start)?;
    Err(match status.code() {
        Some(code) if code != 0 => LaunchError::Ended,
        _ => LaunchError::Vanished(status),
    })
}

/// Reads notices until `ready`; `None` where the child ends without it.
fn listen(output: ChildStdout) -> Option<Vec<String>> {
    notices_before_ready(BufReader::new(output))
}

fn notices_before_ready(output: impl BufRead) -> Option<Vec<String>> {
    let mut notices = Vec::new();
    for line in output.lines() {
        let line = line.ok()?;
        if line == READY {
            return Some(notices);
        }
        if let Some(notice) = line.strip_prefix(NOTICE) {
            notices.push(notice.to_owned());
        }
    }
    None
}

/// In the launched process, first of all: lets go of what the terminal handed down, and takes the secrets from standard
/// input, if they were sent.
pub fn receive_secrets() -> io::Result<Option<Secrets>> {
    sys::close_inherited();
    let text = io::read_to_string(io::stdin().lock())?;
    sys::stdin_from(&File::open("/dev/null")?)?;
    let handover: Option<Handover> = serde_json::from_str(&text).ok();
    Ok(handover.and_then(Handover::secrets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_is_told_is_heard() {
        let mut pipe = Vec::new();
        tell(&mut pipe, &["one".into(), "two\nlines".into()]).unwrap();
        assert_eq!(
            notices_before_ready(&pipe[..]),
            Some(vec!["one".to_owned(), "two lines".to_owned()])
        );
    }

    #[test]
    fn a_child_that_gets_ready_and_lives_on_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut command =
            shell("echo noise; echo notice hello; echo ready; exec cat \"$1\" >/dev/null");
        command.arg("sh").arg(&fifo);
        assert_eq!(launch(command, None).unwrap(), ["hello"]);
        // Opening for writing waits for a reader: the child is still there, and ends with this.
        drop(OpenOptions::new().write(true).open(&fifo).unwrap());
    }

    #[test]
    fn a_child_that_fails_has_said_why() {
        assert!(matches!(
            launch(shell("exit 1"), None),
            Err(LaunchError::Ended)
        ));
    }

    #[test]
    fn a_child_that_vanishes_is_noticed() {
        for script in ["exit 0", "kill -9 $$"] {
            assert!(matches!(
                launch(shell(script), None),
                Err(LaunchError::Vanished(_))
            ));
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        assert!(matches!(
            launch(Command::new("/nonexistent/afs"), None),
            Err(LaunchError::Start(_))
        ));
    }

    #[test]
    fn the_secrets_reach_the_child_by_its_standard_input() {
        let secret = ApiKey::new("sk-ant-test").unwrap();
        let headers = CustomHeaders::parse("x-a: b \"c\"\nx-d: e: f").unwrap();
        for credential in [Credential::Key(secret.clone()), Credential::Token(secret)] {
            let secrets = Secrets {
                credential,
                headers: headers.clone(),
                key_file: Some("/a/key".into()),
            };
            let notices = launch(
                shell(r#"printf 'notice %s\n' "$(cat)"; echo ready"#),
                Some(&secrets),
            )
            .unwrap();
            let handover: Handover = serde_json::from_str(&notices[0]).unwrap();
            assert_eq!(handover.secrets(), Some(secrets));
        }
    }
}
