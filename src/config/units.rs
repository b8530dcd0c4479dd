//! The one grammar for sizes (`10G`) and times (`7d`), wherever a user can write one.
//!
//! A *size* is a whole number of bytes with an optional ending: `K`, `M`, `G`, `T` (also `KiB`, `MiB`, ...) count in 1024s,
//! `KB`, `MB`, `GB`, `TB` in 1000s, as in the core utilities. A *time* is a whole number with an ending that must be there:
//! `ms`, `s`, `m`, `h` or `d`.

use std::time::Duration;

/// Reads a size such as `10G`, `500M`, `64KiB`, `1TB` or `4096`.
///
/// ```
/// assert_eq!(afs::config::parse_size("64K"), Ok(65_536));
/// ```
pub fn parse_size(text: &str) -> Result<u64, String> {
    let trouble = |why: &str| {
        format!("\"{text}\" is not a size: {why}; write a whole number such as 500M, 10G or 4096")
    };
    let (digits, ending) = split(text);
    let number: u64 = whole_number(digits, &trouble)?;
    let unit = match ending.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(trouble("the endings are K, M, G and T")),
    };
    number
        .checked_mul(unit)
        .ok_or_else(|| trouble("it is too large"))
}

/// Reads a time such as `500ms`, `10s`, `5m`, `2h` or `7d`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(afs::config::parse_time("5m"), Ok(Duration::from_secs(300)));
/// ```
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let trouble = |why: &str| {
        format!(
            "\"{text}\" is not a time: {why}; write a whole number with its unit, such as 500ms, 10s, 5m, 2h or 7d"
        )
    };
    let (digits, ending) = split(text);
    let number: u64 = whole_number(digits, &trouble)?;
    let milliseconds = match ending {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 0,
        "" => return Err(trouble("the unit is missing")),
        _ => return Err(trouble("the units are ms, s, m, h and d")),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(|| trouble("it is too long"))
}

/// The leading digits and what follows them.
fn split(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

fn whole_number(digits: &str, trouble: &dyn Fn(&str) -> String) -> Result<u64, String> {
    if digits.is_empty() {
        return Err(trouble("it does not begin with a digit"));
    }
    digits.parse().map_err(|_| trouble("it is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_mean_what_they_say() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("4096B", 4096),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("500M", 500 << 20),
            ("500mib", 500 << 20),
            ("10G", 10 << 30),
            ("10GB", 10_000_000_000),
            ("1T", 1 << 40),
            ("1TB", 1_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "does not begin with a digit"),
            ("G", "does not begin with a digit"),
            ("-1", "does not begin with a digit"),
            ("1.5G", "the endings are"),
            ("10 G", "the endings are"),
            ("10P", "the endings are"),
            ("10Gi", "the endings are"),
            ("18446744073709551616", "too large"),
            ("99999999999T", "too large"),
        ] {
            let sentence = parse_size(text).expect_err(text);
            assert!(sentence.contains(why), "{text}: {sentence}");
            assert!(
                sentence.starts_with(&format!("\"{text}\" is not a size")),
                "{sentence}"
            );
        }
    }

    #[test]
    fn times_mean_what_they_say() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                parse_time(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "does not begin with a digit"),
            ("10", "the unit is missing"),
            ("s", "does not begin with a digit"),
            ("1.5s", "the units are"),
            ("10 s", "the units are"),
            ("10S", "the units are"),
            ("10M", "the units are"),
            ("3w", "the units are"),
            ("99999999999999999999s", "too large"),
            ("999999999999d", "too long"),
        ] {
            let sentence = parse_time(text).expect_err(text);
            assert!(sentence.contains(why), "{text}: {sentence}");
        }
    }
}
