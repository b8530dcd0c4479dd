//! What holds whatever the service or the world says, tried on hostile samples. Every room keeps its properties in
//! modules of this name; `scripts/property-test` runs all of them with more cases than the tests do.

mod refusals;
mod uploads;
mod waiting;

use std::time::Duration;

use proptest::prelude::*;
use proptest::string::{RegexGeneratorStrategy, string_regex};
use proptest::test_runner::{Config, RngAlgorithm};

use super::{ApiError, Call, ErrorKind, InLine, LONGEST_WAIT};

/// As many cases of each property as `AFS_PROPERTY_CASES` says. A case that fails is shown in its smallest form and
/// kept nowhere: it belongs into a table beside the code.
pub(crate) fn config() -> Config {
    let cases = match std::env::var("AFS_PROPERTY_CASES") {
        Ok(cases) => cases.parse().expect("AFS_PROPERTY_CASES is a number"),
        Err(_) => 5000,
    };
    Config {
        cases,
        failure_persistence: None,
        // Chance that is cheap: there are many cases, and nobody guesses them.
        rng_algorithm: RngAlgorithm::XorShift,
        ..Config::default()
    }
}

/// Texts of this pattern, which is read once and not for every case.
pub(crate) fn pattern(pattern: &str) -> RegexGeneratorStrategy<String> {
    string_regex(pattern).expect("a pattern")
}

/// What readers of numbers, dates, ranges and names stumble over, put together as chance has it.
pub(crate) fn hostile_text() -> impl Strategy<Value = String> {
    const TOKENS: &[&str] = &[
        "",
        " ",
        "\t",
        "-",
        "+",
        ".",
        ",",
        ":",
        ";",
        "/",
        "=",
        "*",
        "%",
        "0",
        "1",
        "7",
        "60",
        "999",
        "1e9",
        "e309",
        "-0",
        "NaN",
        "inf",
        "nan",
        "0x10",
        "00000000",
        "18446744073709551615",
        "18446744073709551616",
        "4294967296",
        "true",
        "false",
        "TRUE",
        "bytes",
        "bytes ",
        "Sun, ",
        "06 Nov 1994",
        "31 Feb 2024",
        " 08:49:37",
        " 23:59:60",
        " GMT",
        " -0000",
        " +9999",
        "1994-11-06",
        "T08:50:07",
        "0000-01-01",
        "9999-12-31",
        "T24:00:00",
        "Z",
        "z",
        "+23:59",
        "-25:61",
        "[UTC]",
        ".123456789012",
        "\u{7f}",
        "\u{0}",
        "\n",
        "\r\n",
        "é",
        "٣",
        "\u{1F600}",
        "\u{feff}",
    ];
    let token = prop_oneof![
        9 => prop::sample::select(TOKENS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..8).prop_map(|tokens| tokens.concat())
}

/// Any of the calls.
pub(super) fn call() -> impl Strategy<Value = Call> {
    use Call::{Delete, Download, List, Metadata, Upload};
    prop::sample::select(&[Upload, List, Metadata, Download, Delete][..])
}

/// A length of time between nothing and more than anybody waits, in milliseconds; often at one of the limits.
pub(super) fn some_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        2 => 0..2_000_u64,
        2 => 0..130_000_u64,
        1 => 0..8_000_000_u64,
        1 => prop::sample::select(&[0, 60_000, 120_000, 3_600_000][..]),
    ]
    .prop_map(Duration::from_millis)
}

/// Any failure, with whatever its headers said: what is asked for is never longer than is read from them.
pub(super) fn failure() -> impl Strategy<Value = ApiError> {
    use ErrorKind::*;
    const KINDS: [ErrorKind; 16] = [
        Unauthorized,
        Forbidden,
        NotFound,
        Expired,
        NotDownloadable,
        StorageFull,
        TooLarge,
        Refused,
        RateLimited,
        Unavailable,
        Unreachable,
        Interrupted,
        Nonsense,
        Body,
        Disk,
        DiskFull,
    ];
    let kind = prop_oneof![
        prop::sample::select(&KINDS[..]),
        prop::sample::select(&[RateLimited, Unavailable, Interrupted, Nonsense][..]),
    ];
    let line = (some_time(), some_time()).prop_map(|(waited, quiet)| InLine { waited, quiet });
    (
        kind,
        prop::option::of(100..1000_u16),
        prop::option::weighted(0.2, any::<bool>()),
        prop::option::of(some_time().prop_map(|wait| wait.min(LONGEST_WAIT))),
        prop::option::of(line),
    )
        .prop_map(|(kind, status, should_retry, retry_after, line)| ApiError {
            status,
            retry_after,
            should_retry,
            line,
            ..ApiError::local(Call::List, kind, "no")
        })
}
