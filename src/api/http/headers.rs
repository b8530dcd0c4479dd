//! Headers of the user's own, for gateways and other hosts: `Name: value` lines, as the official clients read them from
//! `ANTHROPIC_CUSTOM_HEADERS`. Their values may be secrets, and are never shown.

use std::fmt;

use reqwest::header::{HeaderName, HeaderValue};

/// Headers that the connection, the answer's size checks or other settings depend on.
const OURS: &[&str] = &[
    "accept",
    "accept-encoding",
    "anthropic-version",
    "connection",
    "content-length",
    "content-type",
    "host",
    "if-range",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Headers to send with every call, beside our own.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CustomHeaders(Vec<(HeaderName, HeaderValue)>);

/// Why a text is no list of headers. It says where, and never what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadHeaders {
    /// The line of this number is no `Name: value`.
    Line(usize),
    /// The header of this name is set by this program.
    Ours(String),
}

impl fmt::Display for BadHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(
                f,
                "line {number} is no header; each line is written \"Name: value\""
            ),
            Self::Ours(name) => write!(f, "the header {name} is afs's own to set"),
        }
    }
}

impl std::error::Error for BadHeaders {}

impl CustomHeaders {
    /// Reads `Name: value` lines; empty ones are left out.
    pub fn parse(text: &str) -> Result<Self, BadHeaders> {
        let mut headers = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let bad = BadHeaders::Line(at + 1);
            let (name, value) = line.split_once(':').ok_or_else(|| bad.clone())?;
            let name: HeaderName = name.trim().parse().map_err(|_| bad.clone())?;
            if OURS.contains(&name.as_str()) {
                return Err(BadHeaders::Ours(name.to_string()));
            }
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| bad)?;
            value.set_sensitive(true);
            // The last one counts, as in the official clients.
            headers.retain(|(known, _)| *known != name);
            headers.push((name, value));
        }
        Ok(Self(headers))
    }

    /// The value of a header, where it is text.
    pub(super) fn get(&self, name: &HeaderName) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        value.to_str().ok()
    }

    /// Whether a header is among them.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|(name, _)| name.as_str());
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_headers_and_never_show_their_values() {
        let text = "X-Gateway: canary-1\n\nX-Gateway:canary-2: x\r\nanthropic-beta: a,b";
        let headers = CustomHeaders::parse(text).unwrap();
        assert!(!format!("{headers:?} {headers:#?}").contains("canary"));
        let beta = HeaderName::from_static("anthropic-beta");
        assert_eq!(headers.get(&beta), Some("a,b"));
        let all: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [("x-gateway", "canary-2: x"), ("anthropic-beta", "a,b")];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_no_header_or_ours_is_said_without_its_value() {
        for (text, expected) in [
            ("canary", BadHeaders::Line(1)),
            ("A: b\nsk canary: x", BadHeaders::Line(2)),
            ("A: can\u{7}ary", BadHeaders::Line(1)),
            (": canary", BadHeaders::Line(1)),
            ("Host: canary", BadHeaders::Ours("host".to_owned())),
            (
                "Content-Length: 1",
                BadHeaders::Ours("content-length".to_owned()),
            ),
        ] {
            let error = CustomHeaders::parse(text).unwrap_err();
            assert_eq!(error, expected);
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }
}
