//! Other programs run for a moment, never waited for longer than said.

use std::io::{self, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::config::SECRET_VARIABLES;

/// How a helper ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It ran to its end: its status, and what it said on standard error.
    Ended(ExitStatus, String),
    /// It was still running at the deadline. It is killed and not waited for: a process that hangs in a dead mount
    /// cannot be waited for.
    StillRunning,
}

/// Runs a program with plain English messages, no input, and without the user's secrets.
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Outcome> {
    for name in SECRET_VARIABLES {
        // `afs unmount` is typed where the key is in the environment, and has not taken it out of there.
        command.env_remove(name);
    }
    let mut child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            let mut said = String::new();
            if let Some(stderr) = child.stderr.take() {
                // Best effort: the status is what counts.
                let _ = stderr.take(4096).read_to_string(&mut said);
            }
            return Ok(Outcome::Ended(status, said.trim().to_owned()));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            return Ok(Outcome::StillRunning);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_ends_is_heard() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo trouble >&2; exit 3"]);
        match run(&mut command, Duration::from_secs(60)).unwrap() {
            Outcome::Ended(status, said) => {
                assert_eq!(status.code(), Some(3));
                assert_eq!(said, "trouble");
            }
            Outcome::StillRunning => panic!("a shell that only exits was still running"),
        }
    }

    #[test]
    fn a_helper_that_hangs_is_left_behind() {
        let mut command = Command::new("sleep");
        command.arg("600");
        assert!(matches!(
            run(&mut command, Duration::ZERO).unwrap(),
            Outcome::StillRunning
        ));
    }

    #[test]
    fn a_helper_that_is_not_there_is_an_error() {
        let error = run(&mut Command::new("/nonexistent/helper"), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
