//! Where the official clients find credentials that are not read here: profiles on disk, and workload identities. Who logged
//! in there and has no key here should hear why that is not enough.
//!
//! Places and order are those of `anthropic-sdk-python` (`lib/credentials/_constants.py`, `_chain.py`): a profile named by
//! variable or by the file `active_config`, the three variables of a workload identity, the profile on disk.

use super::{Finding, Machine};
use crate::config::NAME_A_KEY;

const CHECK: &str = "credentials";

const PROFILE: &str = "ANTHROPIC_PROFILE";
const CONFIG_DIR: &str = "ANTHROPIC_CONFIG_DIR";
const RULE: &str = "ANTHROPIC_FEDERATION_RULE_ID";
const ORGANIZATION: &str = "ANTHROPIC_ORGANIZATION_ID";
const TOKEN_FILE: &str = "ANTHROPIC_IDENTITY_TOKEN_FILE";

/// The variables by which they are found; what they say are names and paths. The one that can hold an identity's token
/// itself (`ANTHROPIC_IDENTITY_TOKEN`) is not looked at.
pub(super) const VARIABLES: [&str; 5] = [PROFILE, CONFIG_DIR, RULE, ORGANIZATION, TOKEN_FILE];

/// `has_key`: there is a key or a token, which the clients prefer to all of these as well.
pub(super) fn examine(machine: &Machine, has_key: bool) -> Finding {
    match (found(machine), has_key) {
        (None, _) => Finding::ok(CHECK, "no profiles of the official clients"),
        (Some(found), true) => Finding::ok(
            CHECK,
            format!("{found}: the official clients would read that, afs uses its key"),
        ),
        (Some(found), false) => Finding::warn(
            CHECK,
            format!("{found}: the official clients read that, afs does not"),
            NAME_A_KEY,
        ),
    }
}

fn found(machine: &Machine) -> Option<String> {
    let dir = match (machine.variable(CONFIG_DIR), &machine.home) {
        (Some(dir), _) => Some(dir.into()),
        (None, home) => home.as_ref().map(|home| home.join(".config/anthropic")),
    };
    let active = dir.as_ref().map(|dir| dir.join("active_config"));
    let is_filled = |text: std::io::Result<String>| text.is_ok_and(|text| !text.trim().is_empty());
    if machine.variable(PROFILE).is_some() {
        return Some(format!("{PROFILE} is set"));
    }
    if machine.variable(CONFIG_DIR).is_some() {
        return Some(format!("{CONFIG_DIR} is set"));
    }
    if let Some(active) = active.filter(|path| is_filled(std::fs::read_to_string(path))) {
        return Some(format!("{} names a profile", active.display()));
    }
    let is_federated = machine.variable(RULE).is_some() && machine.variable(ORGANIZATION).is_some();
    if is_federated && machine.variable(TOKEN_FILE).is_some() {
        return Some(format!("{RULE}, {ORGANIZATION} and {TOKEN_FILE} are set"));
    }
    if is_federated {
        return Some(format!("{RULE} and {ORGANIZATION} are set"));
    }
    let profile = dir.map(|dir| dir.join("configs/default.json"))?;
    profile
        .is_file()
        .then(|| format!("{} is a profile", profile.display()))
}

#[cfg(test)]
mod tests {
    use super::super::Level::{Ok as Well, Warn};
    use super::super::tests::{bare_machine, is, plant};
    use super::*;

    #[test]
    fn what_the_clients_would_find_is_warned_of_where_there_is_no_key() {
        for (variables, planted, says) in [
            (&[PROFILE][..], "", "ANTHROPIC_PROFILE is set"),
            (&[CONFIG_DIR], "", "ANTHROPIC_CONFIG_DIR is set"),
            (&[RULE, ORGANIZATION], "", "ORGANIZATION_ID are set"),
            (
                &[RULE, ORGANIZATION, TOKEN_FILE],
                "",
                "IDENTITY_TOKEN_FILE are set",
            ),
            (&[], "active_config", "active_config names a profile"),
            (
                &[],
                "configs/default.json",
                "configs/default.json is a profile",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut machine = bare_machine(dir.path());
            machine.variables = variables.iter().map(|name| (*name, "x".into())).collect();
            if !planted.is_empty() {
                plant(
                    dir.path(),
                    &format!("home/.config/anthropic/{planted}"),
                    "work\n",
                );
            }
            is(
                &examine(&machine, false),
                Warn,
                says,
                "set ANTHROPIC_API_KEY",
            );
            is(&examine(&machine, true), Well, says, "");
        }
    }

    #[test]
    fn what_they_would_not_find_is_no_finding() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = bare_machine(dir.path());
        is(&examine(&machine, false), Well, "no profiles", "");
        plant(dir.path(), "home/.config/anthropic/active_config", " \n");
        plant(dir.path(), "home/.config/anthropic/configs/work.json", "{}");
        machine.variables = vec![(RULE, "x".into())];
        is(&examine(&machine, false), Well, "no profiles", "");
        machine.home = None;
        is(&examine(&machine, false), Well, "no profiles", "");
    }
}
