//! What other workspaces of this machine wait with, in the words of commands and mounts: a mount sends what its own
//! workspace has pending, and nothing else.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use indicatif::HumanDuration;
use serde::{Deserialize, Serialize};

use crate::state::{self, Workspaces, now};

/// A workspace of this machine that has something to send or to decide about, and that nobody has mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Where its local state is.
    pub state_dir: String,
    /// The service's address.
    pub host: String,
    /// Changes that have not reached the service.
    pub pending: usize,
    /// Files that were never closed by the program that wrote them.
    pub unfinished: usize,
    /// Since when the oldest of them waits, milliseconds since 1970.
    pub since: i64,
}

impl Waiting {
    /// Those below a directory of states. Where they can't be told, nobody's work is in danger: that is logged.
    #[must_use]
    pub fn below(state_root: &Path) -> Vec<Self> {
        if !state_root.is_dir() {
            return Vec::new();
        }
        let found = Workspaces::open(state_root).and_then(|workspaces| workspaces.waiting());
        match found {
            Ok(found) => found.into_iter().map(Self::from).collect(),
            Err(error) => {
                log::warn!("what other workspaces wait with is not known: {error}");
                Vec::new()
            }
        }
    }
}

impl From<state::Waiting> for Waiting {
    fn from(waiting: state::Waiting) -> Self {
        Self {
            state_dir: waiting.dir.display().to_string(),
            host: waiting.base_url,
            pending: waiting.pending,
            unfinished: waiting.unfinished,
            since: waiting.since,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: usize, one: &str, several: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            _ => Some(format!("{count} {several}")),
        };
        let has: Vec<String> = [
            of(self.pending, "change to send", "changes to send"),
            of(
                self.unfinished,
                "file that was never closed",
                "files that were never closed",
            ),
        ]
        .into_iter()
        .flatten()
        .collect();
        let waited = now().saturating_sub(self.since).max(0);
        write!(
            f,
            "Another workspace of this machine is not mounted and has had {} for {}: they wait until it is mounted with \
             a key of its own ({}, state in {}).",
            has.join(" and "),
            HumanDuration(Duration::from_millis(waited as u64)),
            self.host,
            self.state_dir
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_said_in_a_sentence() {
        let waiting = |pending, unfinished| Waiting {
            state_dir: "/s/ws-1".to_owned(),
            host: "https://a.example".to_owned(),
            pending,
            unfinished,
            since: now() - 3 * 3_600_000 - 1_000,
        };
        for (waiting, has) in [
            (waiting(1, 0), "1 change to send"),
            (waiting(0, 1), "1 file that was never closed"),
            (
                waiting(2, 3),
                "2 changes to send and 3 files that were never closed",
            ),
        ] {
            assert_eq!(
                waiting.to_string(),
                format!(
                    "Another workspace of this machine is not mounted and has had {has} for 3 hours: they wait until it \
                     is mounted with a key of its own (https://a.example, state in /s/ws-1)."
                )
            );
        }
    }
}
