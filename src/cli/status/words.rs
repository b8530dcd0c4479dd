//! How a mount is, in words: the lines of `afs status`.

use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration};
use jiff::Timestamp;

use crate::cli::talk::printable;
use crate::control::{Limiter, Requests, Status};

pub(super) fn print_status(status: &Status) {
    say!("{}", status.mountpoint);
    say!("  service   {}", status.host);
    say!(
        "  files     {} ({})",
        status.files,
        HumanBytes(status.bytes)
    );
    say!("  listing   {}", listing(status));
    say!("  pending   {}", pending(status));
    say!("  requests  {}", requests(&status.requests));
    if status.refuses_deletes {
        say!(
            "  deletes   refused, for there were too many in a minute; if that is no mistake: afs allow-deletes {}",
            status.mountpoint
        );
    }
    if status.lingering > 0 {
        say!(
            "  replaced  {} at the service for a while, because their ids may be used",
            match status.lingering {
                1 => "1 file stays".to_owned(),
                count => format!("{count} files stay"),
            }
        );
    }
    if let Some(expiring) = expiring(status) {
        say!("  expiring  {expiring}");
    }
    say!(
        "  on disk   {} kept, {} cached, {} in the trash",
        HumanBytes(status.kept_bytes),
        HumanBytes(status.cached_bytes),
        HumanBytes(status.trash_bytes)
    );
    say!("  process   {}, state in {}", status.pid, status.state_dir);
}

fn listing(status: &Status) -> String {
    let age = status.listing_age_seconds.map_or_else(
        || "of an earlier mount".to_owned(),
        |age| format!("{} old", HumanDuration(Duration::from_secs(age))),
    );
    match &status.listing_error {
        Some(error) => format!("{age}; the last refresh failed: {}", printable(error)),
        None => age,
    }
}

fn requests(requests: &Requests) -> String {
    let mut said = format!("{} in the last minute", requests.last_minute);
    if let Some(left) = requests.left {
        said = format!("{said}, {left} more at once");
    }
    let by = match requests.limited_by {
        None => return said,
        Some(Limiter::Service) => "paced by the service",
        Some(Limiter::Rate) => "paced by --rate",
    };
    let wait = match requests.waiting {
        1 => "1 request waits".to_owned(),
        count => format!("{count} requests wait"),
    };
    let seconds = requests.longest_wait_seconds;
    said + &format!("; {by}: {wait}, about {seconds} s")
}

/// What the service gives up soon, and what it has given up.
fn expiring(status: &Status) -> Option<String> {
    let mut said = Vec::new();
    if let Some(next) = &status.next_to_expire {
        let time = Timestamp::from_millisecond(next.at).unwrap_or_default();
        said.push(format!(
            "{} within a day; the next is {}, {}",
            files(status.expiring as usize),
            printable(&next.name),
            time.strftime("%Y-%m-%d %H:%M UTC")
        ));
    }
    if status.expired > 0 {
        said.push(format!(
            "{} expired and listed still",
            files(status.expired as usize)
        ));
    }
    Some(said.join("; ")).filter(|said| !said.is_empty())
}

fn pending(status: &Status) -> String {
    let mut said = vec![pending_changes(status)];
    if status.unfinished > 0 {
        let whose = if status.unfinished == 1 {
            "its program"
        } else {
            "their programs"
        };
        said.push(format!(
            "{} never closed by {whose}: afs pending",
            files(status.unfinished)
        ));
    }
    if status.scratch > 0 {
        said.push(format!(
            "{} on this machine only, by their names: afs pending",
            scratch_files(status.scratch)
        ));
    }
    said.join("; ")
}

fn pending_changes(status: &Status) -> String {
    match (status.pending, status.failed) {
        (0, _) => "nothing".to_owned(),
        (pending, 0) => changes(pending),
        (pending, failed) => format!(
            "{}, {failed} failed and tried again; why: afs pending",
            changes(pending)
        ),
    }
}

pub(in crate::cli) fn changes(count: usize) -> String {
    match count {
        1 => "1 change".to_owned(),
        count => format!("{count} changes"),
    }
}

pub(in crate::cli) fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    }
}

pub(in crate::cli) fn scratch_files(count: usize) -> String {
    match count {
        1 => "1 scratch file".to_owned(),
        count => format!("{count} scratch files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_requests_go_is_said_in_words() {
        let row = |last_minute, left, waiting, longest_wait_seconds, limited_by| {
            requests(&Requests {
                last_minute,
                left,
                waiting,
                longest_wait_seconds,
                limited_by,
                ..Requests::default()
            })
        };
        for (said, expected) in [
            (row(0, None, 0, 0, None), "0 in the last minute"),
            (
                row(12, Some(88), 0, 0, None),
                "12 in the last minute, 88 more at once",
            ),
            (
                row(100, None, 99, 60, Some(Limiter::Service)),
                "100 in the last minute; paced by the service: 99 requests wait, about 60 s",
            ),
            (
                row(9, Some(0), 1, 6, Some(Limiter::Rate)),
                "9 in the last minute, 0 more at once; paced by --rate: 1 request waits, about 6 s",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
