//! The service's rules: what it refuses, and in which words. Pure functions and plain values.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::config::Switches;

/// A refusal: what becomes the status and the error body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// `error.details.error_code`, where the service has one.
    pub(super) code: Option<&'static str>,
    /// `retry-after`, in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    /// What the service says with this status when it has nothing particular to say.
    pub(super) fn of_status(status: u16) -> Self {
        let (kind, message) = match status {
            401 => ("authentication_error", "Authentication error"),
            402 => ("billing_error", "Billing error"),
            403 => ("permission_error", "Permission denied"),
            404 => ("not_found_error", "Not found"),
            409 => ("conflict_error", "Conflict"),
            413 => ("request_too_large", "Request exceeds the maximum size"),
            429 => ("rate_limit_error", "Rate limited"),
            504 => ("timeout_error", "Request timeout"),
            529 => ("overloaded_error", "Overloaded"),
            500.. => ("api_error", "Internal server error"),
            _ => ("invalid_request_error", "Invalid request"),
        };
        Self {
            status,
            kind,
            message: message.to_owned(),
            code: None,
            retry_after: None,
        }
    }

    pub(super) fn with(status: u16, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::of_status(status)
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::with(400, message)
    }

    pub(super) fn no_such_file(id: &str, switches: &Switches) -> Self {
        if id.starts_with("file_") || switches.malformed_id_status == 404 {
            Self::with(404, format!("File `{id}` not found."))
        } else {
            Self::with(
                switches.malformed_id_status,
                format!("Invalid file id: {id}"),
            )
        }
    }

    /// Too many calls.
    pub(super) fn rate_limited(wait: Duration) -> Self {
        Self {
            // Whole seconds, and enough of them.
            retry_after: Some(wait.as_secs_f64().ceil().max(1.0) as u64),
            ..Self::of_status(429)
        }
    }

    pub(super) fn not_downloadable() -> Self {
        Self {
            code: Some("file_not_downloadable"),
            ..Self::invalid("File is not downloadable")
        }
    }

    /// Of content whose time is over; what is known of the file stays.
    pub(super) fn expired(id: &str) -> Self {
        Self {
            code: Some("file_expired"),
            ..Self::with(404, format!("File `{id}` has expired."))
        }
    }

    pub(super) fn storage_full(switches: &Switches) -> Self {
        Self {
            code: Some("storage_quota_exceeded"),
            ..Self::with(switches.storage_full_status, "Storage quota exceeded")
        }
    }

    /// The error body.
    pub(super) fn body(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(code) = self.code {
            error["details"] = json!({"error_code": code});
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }
}

/// Whether a request may come in at all: its key, then its version.
pub(super) fn admit(
    headers: &HeaderMap,
    keys: &[String],
    switches: &Switches,
) -> Result<(), Refusal> {
    let key = headers.get("x-api-key").map_or_else(
        || {
            let bearer = headers.get(AUTHORIZATION)?.as_bytes();
            let (scheme, key) = bearer.split_at_checked(7)?;
            scheme
                .eq_ignore_ascii_case(b"Bearer ")
                .then(|| key.trim_ascii())
        },
        |key| Some(key.as_bytes()),
    );
    match key {
        None | Some(b"") => return Err(Refusal::with(401, "x-api-key header is required")),
        Some(key) if !keys.is_empty() && !keys.iter().any(|known| known.as_bytes() == key) => {
            return Err(Refusal::with(401, "invalid x-api-key"));
        }
        Some(_) => {}
    }
    match headers.get("anthropic-version") {
        None if switches.version_required => {
            Err(Refusal::invalid("anthropic-version: header is required"))
        }
        Some(version) if !is_version(version.as_bytes()) => Err(Refusal::invalid(format!(
            "anthropic-version: {version:?} is not a valid version"
        ))),
        None | Some(_) => Ok(()),
    }
}

/// Versions are dates. Which ones there are grows, and none of them changes anything here.
fn is_version(version: &[u8]) -> bool {
    version.len() == 10
        && version.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// The boundary of a multipart body. Anything else has no `file` in it.
pub(super) fn boundary(headers: &HeaderMap) -> Result<String, Refusal> {
    let missing = || Refusal::invalid("file: Field required");
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(missing)?;
    let mut parts = kind.split(';').map(str::trim);
    let is_form = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"));
    if !is_form {
        return Err(missing());
    }
    parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value.trim_matches('"').to_owned())
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or_else(|| Refusal::invalid("Missing boundary in multipart/form-data"))
}

/// The name a file is stored under, from what stood in its part's head.
pub(super) fn stored_name(
    sent: Option<&str>,
    mime_type: &str,
    switches: &Switches,
) -> Result<String, Refusal> {
    let decoded = match sent {
        Some(sent) if switches.name_escapes_decoded => unescape(sent),
        sent => sent.unwrap_or_default().to_owned(),
    };
    let is_separator = |c| c == '/' || (c == '\\' && switches.backslash_separates);
    let name = decoded.rsplit(is_separator).next().unwrap_or_default();
    if name.is_empty() {
        return Ok(format!("unnamed{}", extension(mime_type)));
    }
    let length = if switches.name_limit_in_bytes {
        name.len()
    } else {
        name.chars().count()
    };
    if length > 255 {
        return Err(Refusal::invalid(
            "filename: must be between 1 and 255 characters long",
        ));
    }
    let is_forbidden = |c: char| c < '\u{20}' || r#"<>:"|?*\/"#.contains(c);
    if let Some(found) = name.chars().find(|&c| is_forbidden(c)) {
        return Err(Refusal::invalid(format!(
            "filename: contains the forbidden character {found:?}"
        )));
    }
    Ok(name.to_owned())
}

/// Undoes what HTTP clients do to quotes and line ends in a filename. Other `%` mean themselves.
fn unescape(name: &str) -> String {
    name.replace("%22", "\"")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
}

/// The ending for a file without a name; none for a media type that has no usual one.
fn extension(mime_type: &str) -> &'static str {
    match mime_type.split(';').next().unwrap_or_default().trim() {
        "text/plain" => ".txt",
        "text/markdown" => ".md",
        "text/html" => ".html",
        "text/csv" => ".csv",
        "application/json" => ".json",
        "application/pdf" => ".pdf",
        "application/octet-stream" => ".bin",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/gif" => ".gif",
        "image/webp" => ".webp",
        _ => "",
    }
}

/// Which bytes a request for content wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them.
    Whole,
    /// So many from an offset.
    Part {
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// Some that are not there.
    Nothing,
}

/// Reads a `Range` header. More than one range, another unit or nonsense are as good as none (RFC 9110, 14.2).
pub(super) fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some((from, to)) = range
        .and_then(|range| range.trim().strip_prefix("bytes="))
        .and_then(|set| set.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let (from, to) = (from.trim(), to.trim());
    let (offset, end) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if to.is_empty() => (from, size),
        (Err(_), Ok(last)) if from.is_empty() => (
            if last == 0 {
                size
            } else {
                size.saturating_sub(last)
            },
            size,
        ),
        _ => return Wanted::Whole,
    };
    if offset >= size {
        return Wanted::Nothing;
    }
    Wanted::Part {
        offset,
        length: end - offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |offset, length| Wanted::Part { offset, length };
        for (header, size, expected) in [
            (None, 10, Wanted::Whole),
            (Some("bytes=0-3"), 10, part(0, 4)),
            (Some("bytes=4-"), 10, part(4, 6)),
            (Some("bytes=-3"), 10, part(7, 3)),
            (Some("bytes=-30"), 10, part(0, 10)),
            (Some("bytes=9-99"), 10, part(9, 1)),
            (Some("bytes=0-18446744073709551615"), 10, part(0, 10)),
            (Some("bytes=10-"), 10, Wanted::Nothing),
            (Some("bytes=-0"), 10, Wanted::Nothing),
            (Some("bytes=0-"), 0, Wanted::Nothing),
            (Some("bytes=5-2"), 10, Wanted::Whole),
            (Some("bytes=0-1,4-5"), 10, Wanted::Whole),
            (Some("bytes=x-y"), 10, Wanted::Whole),
            (Some("lines=0-1"), 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(header, size), expected, "{header:?} of {size}");
        }
    }

    #[test]
    fn names_are_stored_as_they_are_or_refused() {
        let switches = Switches::default();
        let name = |sent: Option<&str>| stored_name(sent, "text/plain", &switches).ok();
        for (sent, expected) in [
            (Some("a.txt"), Some("a.txt")),
            (Some("\u{e4}\u{1f600}.txt"), Some("\u{e4}\u{1f600}.txt")),
            (Some("100%.txt"), Some("100%.txt")),
            (Some("dir/sub/a.txt"), Some("a.txt")),
            (Some("a%22b"), None),
            (Some("a\\b"), None),
            (Some("a\u{1f}b"), None),
            (Some(".."), Some("..")),
            (Some(""), Some("unnamed.txt")),
            (Some("dir/"), Some("unnamed.txt")),
            (None, Some("unnamed.txt")),
        ] {
            assert_eq!(name(sent).as_deref(), expected, "{sent:?}");
        }
        for c in ['<', '>', ':', '"', '|', '?', '*'] {
            let sent = format!("a{c}");
            assert_eq!(name(Some(&sent)), None, "{c}");
        }
    }

    #[test]
    fn where_the_unknown_matters_a_switch_decides() {
        let long = "\u{e4}".repeat(255);
        let by_bytes = Switches {
            name_limit_in_bytes: true,
            ..Switches::default()
        };
        assert!(stored_name(Some(&long), "text/plain", &Switches::default()).is_ok());
        assert!(stored_name(Some(&long), "text/plain", &by_bytes).is_err());
        let separating = Switches {
            backslash_separates: true,
            ..Switches::default()
        };
        let name = stored_name(Some(r"C:\dir\a.txt"), "text/plain", &separating);
        assert_eq!(name.unwrap(), "a.txt");
        let literal = Switches {
            name_escapes_decoded: false,
            ..Switches::default()
        };
        assert_eq!(
            stored_name(Some("a%22b"), "text/plain", &literal).unwrap(),
            "a%22b"
        );
    }
}
