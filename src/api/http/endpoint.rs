//! Where the calls go: the base URL's rules, and paths with opaque ids in them.

use std::fmt::Write as _;
use std::net::IpAddr;

use reqwest::Url;

use super::{ApiError, Call, ClientError, ErrorKind, FileId};

/// A checked base URL.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// Without query and fragment.
    base: Url,
    /// Its path without the trailing slash.
    prefix: String,
}

impl Endpoint {
    /// Plain http goes to this machine, and elsewhere where that is allowed.
    pub(super) fn new(base_url: &str, allow_http: bool) -> Result<Self, ClientError> {
        let bad = |why: &str| ClientError::BadBaseUrl(why.to_owned());
        let base = Url::parse(base_url.trim())
            .map_err(|error| bad(&format!("{error} (expected https://HOST)")))?;
        let host = base.host_str().ok_or_else(|| bad("it names no host"))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("it carries a user name or password"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("it ends in a query or fragment"));
        }
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(host) || allow_http => {}
            "http" => return Err(ClientError::PlainHttp(host.to_owned())),
            _ => return Err(bad("it is neither https nor http")),
        }
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self { base, prefix })
    }

    /// Whether calls go over plain http.
    pub(super) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Whether they go to this machine, which no proxy can reach and none needs to.
    pub(super) fn is_plain_and_local(&self) -> bool {
        self.is_plain() && self.base.host_str().is_some_and(is_loopback)
    }

    /// `/v1/files`
    pub(super) fn files(&self) -> Url {
        self.at("/v1/files")
    }

    /// `/v1/files/{id}` and what follows it.
    pub(super) fn file(&self, call: Call, id: &FileId, rest: &str) -> Result<Url, ApiError> {
        let id = id.as_str();
        // An empty id would ask for the list. Dots are path navigation even when they are percent-encoded (URL
        // standard, "double-dot URL path segment").
        if matches!(id, "" | "." | "..") {
            let message = format!("{id:?} is no file id");
            return Err(ApiError::local(call, ErrorKind::Refused, message));
        }
        Ok(self.at(&format!("/v1/files/{}{rest}", encoded(id))))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.prefix));
        url
    }
}

/// `localhost`, 127.0.0.0/8 and `[::1]`; the URL parser has already brought other spellings into these.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Percent-encodes all but the unreserved characters. Not left to `Url`, which drops tabs and newlines silently.
fn encoded(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_checked() {
        for (given, files) in [
            (
                "https://api.anthropic.com",
                "https://api.anthropic.com/v1/files",
            ),
            (
                "https://api.anthropic.com/",
                "https://api.anthropic.com/v1/files",
            ),
            (
                " https://proxy.example/claude/ ",
                "https://proxy.example/claude/v1/files",
            ),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/files"),
            ("http://127.8.9.1", "http://127.8.9.1/v1/files"),
            ("http://localhost:1/x", "http://localhost:1/x/v1/files"),
            ("http://LOCALHOST", "http://localhost/v1/files"),
            ("http://[::1]:99", "http://[::1]:99/v1/files"),
        ] {
            assert_eq!(Endpoint::new(given, false).unwrap().files().as_str(), files);
        }
        for plain in [
            "http://api.anthropic.com",
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]",
        ] {
            let error = Endpoint::new(plain, false).unwrap_err();
            assert!(matches!(error, ClientError::PlainHttp(_)), "{plain}");
        }
        for bad in [
            "",
            "api.anthropic.com",
            "localhost:8080",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://me:secret@example.com",
            "https://example.com/?a=b",
            "https://example.com/#x",
        ] {
            let error = Endpoint::new(bad, false).unwrap_err();
            assert!(matches!(error, ClientError::BadBaseUrl(_)), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn ids_stay_one_path_segment() {
        let endpoint = Endpoint::new("http://localhost/p", false).unwrap();
        let path = |id: &str| {
            let url = endpoint.file(Call::Metadata, &FileId::new(id), "/content");
            url.map(|url| url.to_string()).map_err(|error| error.kind)
        };
        for (id, expected) in [
            ("file_011CNha8-_", "file_011CNha8-_"),
            ("file/../x y", "file%2F..%2Fx%20y"),
            ("a?b#c", "a%3Fb%23c"),
            ("100%", "100%25"),
            ("%2e%2e", "%252e%252e"),
            ("...", "..."),
            ("tab\tnewline\n", "tab%09newline%0A"),
            ("\\", "%5C"),
            ("ä", "%C3%A4"),
        ] {
            let expected = format!("http://localhost/p/v1/files/{expected}/content");
            assert_eq!(path(id), Ok(expected));
        }
        for id in ["", ".", ".."] {
            assert_eq!(path(id), Err(ErrorKind::Refused));
        }
    }
}
