//! What stands before a body: read exactly where it is well written, within its bounds whatever it is.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::api::{Call, LONGEST_WAIT, RateLimits};

/// A text as a header can carry it.
pub(super) fn as_header(text: &str) -> Vec<u8> {
    text.bytes()
        .map(|byte| {
            if matches!(byte, b'\t' | b' '..=b'~' | 0x80..) {
                byte
            } else {
                b' '
            }
        })
        .collect()
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', 0x80..=0xff_u8], 0..12);
    prop_oneof![hostile_text().prop_map(|text| as_header(&text)), bytes]
}

const NAMES: [&str; 11] = [
    "date",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "request-id",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "content-type",
    "content-encoding",
    "location",
];

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds).expect("a time");
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A number of thousandths, as a decimal fraction with so many zeros and spaces around it.
fn decimal(thousandths: u64, zeros: usize, spaces: usize) -> String {
    let (zeros, spaces) = ("0".repeat(zeros), " ".repeat(spaces));
    format!(
        "{spaces}{zeros}{}.{:03}{zeros}{spaces}",
        thousandths / 1000,
        thousandths % 1000
    )
}

/// Less than a microsecond apart: waits are read by way of floating point.
fn is_about(wait: Option<Duration>, milliseconds: u64) -> bool {
    let expected = Duration::from_millis(milliseconds).min(LONGEST_WAIT);
    wait.is_some_and(|wait| wait.abs_diff(expected) < Duration::from_micros(1))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_head_is_read_within_its_bounds(
        lines in prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..8),
        status in 100..1000_u16,
    ) {
        let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let head = head(status, &lines);
        prop_assert!(head.request_id().is_none_or(|id| is_tidy(&id)));
        if let Some(limits) = head.limits() {
            // No time is further away than the last one is from the first.
            prop_assert!(limits.resets_in <= Duration::from_secs(20_000 * 366 * 86_400));
        }
        if let Err(error) = head.check_encoding(Call::Download) {
            prop_assert!(is_nonsense(&error) || error.message.chars().count() <= 550);
            prop_assert!(!error.message.contains(char::is_control));
        }
        let refusal = head.refusal(Call::Upload, b"");
        prop_assert!(refusal.retry_after.is_none_or(|wait| wait <= LONGEST_WAIT));
        prop_assert!(!refusal.message.contains(char::is_control));
        prop_assert!(refusal.message.len() <= 3000);
        if let Some(said) = refusal.should_retry {
            let text = if said { "true" } else { "false" };
            let is_said = |value: &[u8]| value.trim_ascii() == text.as_bytes();
            prop_assert!(lines.iter().any(|(name, value)| *name == "x-should-retry" && is_said(value)));
        }
    }

    #[test]
    fn the_time_to_wait_is_read_in_all_its_forms(
        milliseconds in prop::option::of(0..8_000_000_u64),
        wait in 0..8_000_000_u64,
        form in 0..4_u8,
        date in 0..4_000_000_000_i64,
        (zeros, spaces) in (0..3_usize, 0..3_usize),
    ) {
        let (after, means) = match form {
            0 => (decimal(wait, zeros, spaces), wait),
            1 => (format!("{}{}", " ".repeat(spaces), wait / 1000), wait / 1000 * 1000),
            2 => (http(date + wait as i64 / 1000), wait / 1000 * 1000),
            // A moment that is over.
            _ => (http(date - wait as i64 / 1000), 0),
        };
        let date = http(date);
        let by_milliseconds = milliseconds.map(|milliseconds| format!("{}{milliseconds}", "0".repeat(zeros)));
        let mut lines = vec![("date", date.as_bytes()), ("retry-after", after.as_bytes())];
        lines.extend(by_milliseconds.iter().map(|text| ("retry-after-ms", text.as_bytes())));
        let read = head(429, &lines).refusal(Call::List, b"");
        let means = milliseconds.unwrap_or(means);
        prop_assert!(is_about(read.retry_after, means), "{:?} {:?} {}", read.retry_after, lines, means);
    }

    #[test]
    fn limits_are_read_exactly_where_all_of_them_is_said(
        (limit, remaining) in any::<(u32, u32)>(),
        date in 0..4_000_000_000_i64,
        resets_in in -100_000..100_000_i64,
        left_out in prop::option::weighted(0.3, 0..3_usize),
        broken in prop::option::weighted(0.3, (0..3_usize, pattern("[a-z+-]{1,3}|-1|4294967296|1\\.5|"))),
    ) {
        let (limit, remaining) = (limit, remaining.min(limit));
        let reset = Timestamp::from_second(date + resets_in).expect("a time");
        let mut values = [limit.to_string(), remaining.to_string(), reset.to_string()];
        if let Some((at, value)) = &broken {
            values[*at].clone_from(value);
        }
        let date = http(date);
        let mut lines = vec![("date", date.as_bytes())];
        for at in (0..3).filter(|at| Some(*at) != left_out) {
            lines.push((NAMES[5 + at], values[at].as_bytes()));
        }
        let is_whole = left_out.is_none() && broken.is_none();
        let resets_in = Duration::from_secs(resets_in.max(0) as u64);
        let expected = is_whole.then_some(RateLimits { limit, remaining, resets_in });
        prop_assert_eq!(head(200, &lines).limits(), expected);
    }

    #[test]
    fn names_and_advice_are_read_as_they_stand(
        id in pattern("[!-~]{1,40}"),
        (advice, means) in prop::sample::select(&[
            ("true", Some(true)), ("false", Some(false)), (" true\t", Some(true)), ("True", None), ("1", None),
            ("truefalse", None), ("", None),
        ][..]),
        encoding in prop::sample::select(&["", "identity", "gzip", "identity, gzip"][..]),
    ) {
        let lines = [
            ("request-id", id.as_bytes()),
            ("x-should-retry", advice.as_bytes()),
            ("content-encoding", encoding.as_bytes()),
        ];
        let head = head(503, &lines);
        let refusal = head.refusal(Call::Delete, b"busy");
        prop_assert_eq!(refusal.should_retry, means);
        prop_assert_eq!(refusal.request_id, Some(id));
        prop_assert_eq!(head.check_encoding(Call::List).is_ok(), matches!(encoding, "" | "identity"));
    }
}
