//! Other programs run for a moment, never waited for longer than said.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
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
    let mut child = start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let Some(status) = end(&mut child, limit)? else {
        return Ok(Outcome::StillRunning);
    };
    Ok(Outcome::Ended(status, heard(child.stderr.take())))
}

/// What a program says on standard output before it ends well; `None` where it does not, is not there, or takes longer.
pub(super) fn output(command: &mut Command, limit: Duration) -> Option<String> {
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::null())).ok()?;
    let status = end(&mut child, limit).ok()??;
    status.success().then(|| heard(child.stdout.take()))
}

/// Whether a path's file system answers within `limit`, with whatever result. A look at one whose server is gone may never
/// come back, and a process that waits for it cannot even end: so somebody else looks first. It is asked for its size: what a
/// file is the kernel may still know, without asking anybody.
pub(super) fn answers(path: &Path, limit: Duration) -> bool {
    let mut stat = Command::new("stat");
    stat.args(["-f", "--"]).arg(path);
    !matches!(run(&mut stat, limit), Ok(Outcome::StillRunning))
}

fn start(command: &mut Command) -> io::Result<Child> {
    for name in SECRET_VARIABLES {
        // `afs unmount` is typed where the key is in the environment, and has not taken it out of there.
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null()).spawn()
}

/// Its status; `None` where it was still running, and is killed.
fn end(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn heard(from: Option<impl Read>) -> String {
    let mut said = String::new();
    if let Some(from) = from {
        // Best effort: the status is what counts.
        let _ = from.take(4096).read_to_string(&mut said);
    }
    said.trim().to_owned()
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
    fn what_a_helper_prints_counts_where_it_ends_well_and_in_time() {
        let said = |script: &str, limit| output(Command::new("sh").args(["-c", script]), limit);
        let soon = Duration::from_secs(60);
        assert_eq!(
            said("echo hello; echo trouble >&2", soon).as_deref(),
            Some("hello")
        );
        assert_eq!(said("echo hello; exit 3", soon), None);
        assert_eq!(said("echo hello; exec sleep 600", Duration::ZERO), None);
        assert_eq!(output(&mut Command::new("/nonexistent/helper"), soon), None);
    }

    #[test]
    fn a_path_answers_where_it_is_not_there_too() {
        for path in ["/", "/nonexistent"] {
            assert!(answers(Path::new(path), Duration::from_secs(60)), "{path}");
        }
    }

    #[test]
    fn a_helper_that_is_not_there_is_an_error() {
        let error = run(&mut Command::new("/nonexistent/helper"), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
