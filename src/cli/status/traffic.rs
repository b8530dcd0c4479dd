//! The words for the traffic with the service: what moves, what was asked, what waits, what failed.

use std::fmt::Write as _;

use indicatif::HumanBytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words::labelled;
use crate::cli::colour::Colours;
use crate::cli::talk::printable;
use crate::control::{Direction, Failure, Limiter, Requests, Transfer, WaitingFor};

/// How many programs are named; the others are counted.
const NAMED: usize = 5;

/// Lines for what moves; each direction's label stands once.
pub(super) fn transfers(transfers: &[Transfer]) -> Vec<String> {
    let mut last = None;
    let lines = transfers.iter().map(|transfer| {
        let label = match transfer.direction {
            _ if last == Some(transfer.direction) => "",
            Direction::Upload => "sending",
            Direction::Download => "fetching",
        };
        last = Some(transfer.direction);
        labelled(label, moving(transfer))
    });
    lines.collect()
}

fn moving(transfer: &Transfer) -> String {
    let (name, size) = (printable(&transfer.name), HumanBytes(transfer.size));
    if transfer.direction == Direction::Upload && transfer.done >= transfer.size {
        return format!("{name}: all {size}, and waits for the service's answer");
    }
    let (done, rate) = (
        HumanBytes(transfer.done),
        HumanBytes(transfer.bytes_per_second),
    );
    format!("{name}: {done} of {size}, {rate}/s")
}

/// How many requests there were, and for whom.
pub(super) fn requests(requests: &Requests) -> String {
    let mut said = format!("{} in the last minute", requests.last_minute);
    let programs = &requests.by_program;
    let mut by: Vec<String> = programs
        .iter()
        .take(NAMED)
        .map(|caused| format!("{} by {}", caused.count, printable(&caused.program)))
        .collect();
    let rest: usize = programs.iter().skip(NAMED).map(|caused| caused.count).sum();
    if rest > 0 {
        by.push(format!("{rest} by others"));
    }
    if !by.is_empty() {
        let _ = write!(said, " ({})", by.join(", "));
    }
    if let Some(left) = requests.left {
        let _ = write!(said, ", {left} more at once");
    }
    said
}

/// What waits because requests are limited; nothing where nothing does.
pub(super) fn pacing(requests: &Requests) -> Option<String> {
    let by = match requests.limited_by? {
        Limiter::Service => "the service",
        Limiter::Rate => "--rate",
    };
    let WaitingFor {
        reads,
        lookups,
        saves,
        deletions,
        listings,
    } = requests.waiting_for;
    let kinds = [
        (reads, "read"),
        (lookups, "lookup"),
        (saves, "save"),
        (deletions, "deletion"),
        (listings, "listing"),
    ];
    let there = kinds.into_iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> = there
        .map(|(count, kind)| format!("{count} {kind}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let what = match &counted[..] {
        [] => return None,
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    };
    let verb = if requests.waiting == 1 {
        "waits"
    } else {
        "wait"
    };
    let seconds = requests.longest_wait_seconds;
    Some(format!("Paced by {by}: {what} {verb}, about {seconds} s"))
}

/// Lines for what failed of late, newest last.
pub(super) fn errors(errors: &[Failure], colours: Colours) -> Vec<String> {
    let labels = std::iter::once("errors").chain(std::iter::repeat(""));
    let lines = errors.iter().zip(labels).map(|(failure, label)| {
        let time = Timestamp::from_millisecond(failure.at).unwrap_or_default();
        let time = time
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S");
        labelled(
            label,
            format!("{time}  {}", colours.failed(&failed(failure))),
        )
    });
    lines.collect()
}

fn failed(failure: &Failure) -> String {
    let mut said = failure.call.clone();
    if let Some(file) = failure.name.as_ref().or(failure.id.as_ref()) {
        let _ = write!(said, " of {file}");
    }
    let _ = write!(said, ": {}", failure.why);
    let mut details = Vec::new();
    if let Some(status) = failure.status {
        details.push(format!("status {status}"));
    }
    if let Some(id) = &failure.request_id {
        details.push(format!("request {id}"));
    }
    if failure.times > 1 {
        details.push(format!("{} times", failure.times));
    }
    if !details.is_empty() {
        let _ = write!(said, " ({})", details.join(", "));
    }
    printable(&said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::colour::PLAIN;
    use crate::control::Caused;

    fn caused(programs: &[(&str, usize)]) -> Requests {
        let by_program = programs.iter().map(|(program, count)| Caused {
            program: (*program).to_owned(),
            count: *count,
        });
        Requests {
            last_minute: programs.iter().map(|(_, count)| count).sum(),
            by_program: by_program.collect(),
            ..Requests::default()
        }
    }

    #[test]
    fn how_many_requests_there_were_is_said_with_who_caused_them() {
        let many = [
            ("a", 9),
            ("b", 8),
            ("c", 7),
            ("d", 6),
            ("e", 5),
            ("f", 4),
            ("g", 3),
        ];
        let left = |left| Requests {
            left: Some(left),
            ..caused(&[("cp", 12)])
        };
        for (said, expected) in [
            (caused(&[]), "0 in the last minute"),
            (
                caused(&[("cp", 9), ("e\u{1b}vil", 1)]),
                "10 in the last minute (9 by cp, 1 by e\u{fffd}vil)",
            ),
            (
                left(88),
                "12 in the last minute (12 by cp), 88 more at once",
            ),
            (
                caused(&many),
                "42 in the last minute (9 by a, 8 by b, 7 by c, 6 by d, 5 by e, 7 by others)",
            ),
        ] {
            assert_eq!(requests(&said), expected);
        }
    }

    #[test]
    fn what_waits_is_said_in_words() {
        let none = WaitingFor::default();
        let row = |limited_by, waiting_for: WaitingFor, waiting, longest_wait_seconds| {
            pacing(&Requests {
                waiting,
                waiting_for,
                longest_wait_seconds,
                limited_by,
                ..Requests::default()
            })
        };
        let (saves, reads) = (
            WaitingFor { saves: 99, ..none },
            WaitingFor { reads: 1, ..none },
        );
        let several = WaitingFor {
            reads: 3,
            lookups: 2,
            deletions: 1,
            ..saves
        };
        let listings = WaitingFor {
            listings: 2,
            saves: 1,
            ..none
        };
        let service = Some(Limiter::Service);
        for (said, expected) in [
            (row(None, none, 0, 0), None),
            (
                row(service, saves, 99, 60),
                Some("Paced by the service: 99 saves wait, about 60 s"),
            ),
            (
                row(Some(Limiter::Rate), reads, 1, 6),
                Some("Paced by --rate: 1 read waits, about 6 s"),
            ),
            (
                row(service, listings, 3, 2),
                Some("Paced by the service: 1 save and 2 listings wait, about 2 s"),
            ),
            (
                row(service, several, 105, 70),
                Some(
                    "Paced by the service: 3 reads, 2 lookups, 99 saves and 1 deletion wait, about 70 s",
                ),
            ),
        ] {
            assert_eq!(said.as_deref(), expected);
        }
    }

    #[test]
    fn what_moves_is_said_with_how_far_and_how_fast() {
        let row = |direction, name: &str, done| Transfer {
            direction,
            name: name.to_owned(),
            done,
            size: 2048,
            bytes_per_second: 512,
        };
        let rows = [
            row(Direction::Upload, "a", 1024),
            row(Direction::Upload, "b\n", 2048),
            row(Direction::Download, "c", 2048),
        ];
        assert_eq!(
            transfers(&rows),
            [
                "  sending   a: 1.00 KiB of 2.00 KiB, 512 B/s",
                "            b\u{fffd}: all 2.00 KiB, and waits for the service's answer",
                "  fetching  c: 2.00 KiB of 2.00 KiB, 512 B/s",
            ]
        );
    }

    #[test]
    fn an_error_is_said_as_its_support_would_like_it() {
        let upload = Failure {
            at: 0,
            call: "upload".to_owned(),
            name: Some("report\u{202e}.pdf".to_owned()),
            id: None,
            why: "Overloaded".to_owned(),
            status: Some(529),
            request_id: Some("req_1".to_owned()),
            times: 3,
        };
        let list = Failure {
            call: "list".to_owned(),
            name: None,
            why: "connection refused".to_owned(),
            status: None,
            request_id: None,
            times: 1,
            ..upload.clone()
        };
        let delete = Failure {
            call: "delete".to_owned(),
            id: Some("file_1".to_owned()),
            ..list.clone()
        };
        let all = [upload, list, delete];
        assert_eq!(
            all.each_ref().map(failed),
            [
                "upload of report\u{fffd}.pdf: Overloaded (status 529, request req_1, 3 times)",
                "list: connection refused",
                "delete of file_1: connection refused",
            ]
        );
        let lines = errors(&all, PLAIN);
        assert!(
            lines[0].starts_with("  errors    1970-01-01 "),
            "{}",
            lines[0]
        );
        assert!(
            lines[1].starts_with("            1970-01-01 "),
            "{}",
            lines[1]
        );
    }
}
