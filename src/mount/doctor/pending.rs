//! What has not reached the service, of all workspaces with state here, mounted or not. The databases are only read.

use std::path::Path;
use std::time::Duration;

use indicatif::HumanDuration;

use super::super::helper;
use super::{Finding, LOOK};
use crate::state::{Backlog, backlogs, now};

const CHECK: &str = "pending";

pub(super) fn examine(state_root: &Path) -> Vec<Finding> {
    if !helper::answers(state_root, LOOK) {
        // Which is said of the state already.
        return Vec::new();
    }
    match backlogs(state_root) {
        Ok(backlogs) => judge(&backlogs),
        Err(error) => vec![Finding::fail(
            CHECK,
            format!("which workspaces there are is not known: {error}"),
            format!(
                "keep a copy of {} before anything else; its databases are whole",
                state_root.display()
            ),
        )],
    }
}

/// One finding for all that is well, and one for each workspace that somebody has to do something about.
fn judge(backlogs: &[Backlog]) -> Vec<Finding> {
    let mut on_their_way = 0;
    let mut findings = Vec::new();
    for backlog in backlogs {
        match (&backlog.left, backlog.is_served) {
            (Ok((pending, ..)), true) => on_their_way += pending,
            (Ok((0, 0, _)), false) => {}
            (Ok((pending, unfinished, since)), false) => {
                findings.push(left_alone(backlog, *pending, *unfinished, *since));
            }
            (Err(why), _) => findings.push(Finding::fail(
                CHECK,
                format!("the state in {} can't be read: {why}", backlog.dir.display()),
                "keep a copy of that directory before anything else: it may have what was not sent yet",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(match on_their_way {
            0 => Finding::ok(CHECK, "nothing waits to be sent"),
            1 => Finding::ok(CHECK, "1 change is on its way in a mount: afs pending"),
            count => Finding::ok(
                CHECK,
                format!("{count} changes are on their way in mounts: afs pending"),
            ),
        });
    }
    findings
}

fn left_alone(backlog: &Backlog, pending: usize, unfinished: usize, since: Option<i64>) -> Finding {
    let waited = now().saturating_sub(since.unwrap_or_else(now)).max(0);
    let waited = HumanDuration(Duration::from_millis(waited as u64));
    let mut has = Vec::new();
    if pending > 0 {
        has.push(format!("{pending} to send"));
    }
    if unfinished > 0 {
        has.push(format!("{unfinished} never closed"));
    }
    Finding::warn(
        CHECK,
        format!(
            "a workspace that is not mounted has waited for {waited} with {} ({}, state in {})",
            has.join(" and "),
            backlog.base_url,
            backlog.dir.display()
        ),
        "mount it with a key of its own; which files they are: afs pending",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Fail, Ok as Well, Warn};
    use super::super::tests::{is, plant};
    use super::*;

    fn backlog(is_served: bool, left: Result<(usize, usize, Option<i64>), &str>) -> Backlog {
        Backlog {
            dir: "/s/ws-1".into(),
            base_url: "https://a.example".into(),
            is_served,
            left: left.map_err(ToOwned::to_owned),
        }
    }

    #[test]
    fn who_has_left_work_behind_is_named() {
        let hours_ago = now() - 7_300_000;
        let nothing = || backlog(false, Ok((0, 0, None)));
        for (backlogs, level, says, remedy) in [
            (vec![], Well, "nothing waits", ""),
            (vec![nothing()], Well, "nothing waits", ""),
            (
                vec![nothing(), backlog(true, Ok((1, 1, Some(1))))],
                Well,
                "1 change is on its way",
                "",
            ),
            (
                vec![nothing(), backlog(false, Ok((3, 1, Some(hours_ago))))],
                Warn,
                "waited for 2 hours with 3 to send and 1 never closed (https://a.example, state in /s/ws-1)",
                "a key of its own",
            ),
            (
                vec![backlog(false, Ok((0, 2, Some(hours_ago))))],
                Warn,
                "with 2 never closed",
                "afs pending",
            ),
            (
                vec![backlog(true, Err("malformed"))],
                Fail,
                "/s/ws-1 can't be read: malformed",
                "a copy",
            ),
        ] {
            let found = judge(&backlogs);
            assert_eq!(found.len(), 1, "{found:?}");
            is(&found[0], level, says, remedy);
        }
    }

    #[test]
    fn an_index_that_is_damaged_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        is(&examine(dir.path())[0], Well, "nothing waits", "");
        plant(dir.path(), "workspaces.json", "nonsense");
        is(&examine(dir.path())[0], Fail, "is not known", "a copy");
    }
}
