//! `afs doctor`: what is wrong, and what to do about it. What is looked at is the business of `mount::doctor`; here it is
//! asked for and printed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::colour::Colours;
use super::failed;
use super::reaching::{Reaching, hide_secrets};
use super::settings::{explained, surroundings};
use super::status::print_json;
use super::talk::printable;
use crate::mount::doctor::{Case, Finding, Level, Machine, Naming, examine, look_at};
use crate::names::NameRules;

/// What can be typed after `afs doctor`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs doctor                      this machine, the key, state and mounts
  afs doctor --json | jq '.[] | select(.level != \"ok\")'
  afs doctor --key-file ~/.key    with another key than a mount would use
  afs doctor *.pdf                would these be uploaded?

Each line is ok, warn or fail, and what was found; below a warn or fail stands
what to do. Nothing is changed, and no check takes longer than 15 s. The service
is asked once, for one file's entry; with files it is not asked at all, and
nothing else is looked at.
Exit code 0 where nothing failed, warnings or not, 1 where something did.")]
pub struct DoctorArguments {
    /// Files that are to be uploaded: whether they would be
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON, a list with one object a check
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// Looks for what is wrong.
#[must_use]
pub fn run(arguments: &DoctorArguments) -> ExitCode {
    let findings = if arguments.files.is_empty() {
        examined(&arguments.reaching)
    } else {
        judged(&arguments.files, &arguments.reaching)
    };
    match findings {
        Ok(findings) => told(&findings, arguments.json),
        Err(said) => said,
    }
}

/// Files as a mount with these settings would take them.
fn judged(files: &[PathBuf], reaching: &Reaching) -> Result<Vec<Finding>, ExitCode> {
    let request = reaching.request(false).map_err(|why| explained(&why))?;
    let naming = Naming {
        style: request.names.unwrap_or_default(),
        rules: NameRules {
            scratch: request.scratch,
            send: request.send,
        },
    };
    Ok(look_at(files, &naming))
}

fn examined(reaching: &Reaching) -> Result<Vec<Finding>, ExitCode> {
    let around = surroundings(reaching.state().system());
    let machine = Machine::here(&around)
        .map_err(|error| failed(&format!("the mount table cannot be read: {error}")))?;
    let request = reaching.request(false).map_err(|why| explained(&why))?;
    let case = Case::of(&request, &around).map_err(|why| explained(&why))?;
    hide_secrets()?;
    Ok(examine(case, machine))
}

fn told(findings: &[Finding], json: bool) -> ExitCode {
    if json {
        print_json(&findings);
    } else {
        for line in lines(findings, Colours::of_output()) {
            say!("{line}");
        }
    }
    let count = |level| findings.iter().filter(|one| one.level == level).count();
    match count(Level::Fail) {
        0 => ExitCode::SUCCESS,
        bad => failed(&format!(
            "{bad} of {} checks failed; with each is said what to do",
            findings.len()
        )),
    }
}

/// A line for each finding, and one for what to do about it. Nothing in them steers a terminal but `colours`.
fn lines(findings: &[Finding], colours: Colours) -> Vec<String> {
    let width = findings.iter().map(|one| one.check.len()).max();
    let width = width.unwrap_or_default();
    let mut lines = Vec::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok  ".to_owned(),
            Level::Warn => colours.warned("warn"),
            Level::Fail => colours.failed("fail"),
        };
        let (check, found) = (finding.check, printable(&finding.found));
        lines.push(format!("{level}  {check:<width$}  {found}"));
        if let Some(remedy) = &finding.remedy {
            lines.push(format!(
                "{:width$}-> {}",
                "",
                printable(remedy),
                width = width + 8
            ));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::colour::PLAIN;

    fn finding(check: &'static str, level: Level, found: &str, remedy: Option<&str>) -> Finding {
        Finding {
            check,
            level,
            found: found.to_owned(),
            remedy: remedy.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn what_to_do_stands_below_what_is_wrong() {
        let findings = [
            finding("device", Level::Ok, "well", None),
            finding("key", Level::Fail, "a\nb", Some("do\u{1b}c")),
        ];
        assert_eq!(
            lines(&findings, PLAIN),
            [
                "ok    device  well",
                "fail  key     a\u{fffd}b",
                "              -> do\u{fffd}c",
            ]
        );
    }
}
