//! The two dialects of the wire: what is asked for, and how a page of either shape is read.
//!
//! The service left its beta in August 2026. The files beta header still selects the shapes of before; without it
//! listings go on by an opaque `page`, and uploads may expire. What comes back is understood by its own shape, whichever
//! was asked for: a cursor is made from the page it follows, so it goes back in the words it came in.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::super::types::PageFiles;
use super::{BETAS, ClientError, Cursor, FileId, HttpConfig, ListQuery};

/// Selects the shapes of the beta.
const FILES_BETA: &str = "files-api-2025-04-14";

/// Lets `scope_id` through (managed agents guide). With [`FILES_BETA`] beside it the shapes stay those of the beta.
const SESSIONS_BETA: &str = "managed-agents-2026-04-01";

/// The shortest and the longest time after which an upload may expire (Files guide of 2026: 3600..7776000 s).
pub const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(7_776_000);

/// Which shapes of the service are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// Those of the beta, which every document describes.
    #[default]
    Beta,
    /// Those of today, "generally available".
    Ga {
        /// How long the service is to keep what is uploaded, within [`LIFETIMES`]; `None`: until it is deleted.
        expires: Option<Duration>,
    },
}

impl Dialect {
    /// How long uploads are to last, in seconds.
    pub(super) fn expires_in_seconds(self) -> Option<u64> {
        match self {
            Self::Beta => None,
            Self::Ga { expires } => expires.map(|time| time.as_secs()),
        }
    }
}

/// The `anthropic-beta` header: the Files API's own beta where the dialect has one, those of the settings, and for the
/// list of a session the managed agents' one; `None` where there is nothing to say.
pub(super) fn betas(
    config: &HttpConfig,
    of_session: bool,
) -> Result<Option<HeaderValue>, ClientError> {
    let is_beta =
        |beta: &&str| !beta.is_empty() && beta.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let own = match config.dialect {
        Dialect::Beta => Some(FILES_BETA),
        Dialect::Ga { .. } => None,
    };
    let by_header = config.headers.get(&BETAS).unwrap_or_default().split(',');
    let by_header = by_header.map(str::trim).filter(|beta| !beta.is_empty());
    let asked: Vec<&str> = config
        .betas
        .iter()
        .map(String::as_str)
        .chain(by_header)
        .collect();
    if !asked.iter().all(is_beta) {
        return Err(ClientError::BadHeader("a beta's name".to_owned()));
    }
    let session = of_session.then_some(SESSIONS_BETA);
    let mut betas: Vec<&str> = Vec::new();
    for beta in own.into_iter().chain(asked).chain(session) {
        if !betas.contains(&beta) {
            betas.push(beta);
        }
    }
    if betas.is_empty() {
        return Ok(None);
    }
    HeaderValue::from_str(&betas.join(","))
        .map(Some)
        .map_err(|_| ClientError::BadHeader("a beta's name".to_owned()))
}

/// What a list is asked with.
pub(super) fn add_query(url: &mut Url, query: &ListQuery) {
    let mut pairs = url.query_pairs_mut();
    pairs.append_pair("limit", &query.limit.to_string());
    match &query.cursor {
        Cursor::Newest => {}
        Cursor::After(id) => {
            pairs.append_pair("after_id", id.as_str());
        }
        Cursor::Page(token) => {
            pairs.append_pair("page", token);
        }
    }
    if let Some(scope) = &query.scope_id {
        pairs.append_pair("scope_id", scope);
    }
}

/// A page in either shape.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) data: PageFiles,
    #[serde(default)]
    has_more: bool,
    #[serde(default)]
    last_id: Option<FileId>,
    #[serde(default, rename = "next_page")]
    token: Option<String>,
}

impl Page {
    /// How to go on after this page. An opaque token stands before ids, which a page may carry beside it; `Err` where
    /// there is said to be more and no way to it.
    pub(super) fn next(&self) -> Result<Option<Cursor>, &'static str> {
        if let Some(token) = &self.token {
            return Ok(Some(Cursor::Page(token.clone())));
        }
        if !self.has_more {
            return Ok(None);
        }
        let last = self.data.0.last().map(|file| &file.id);
        match self.last_id.as_ref().or(last) {
            Some(id) => Ok(Some(Cursor::After(id.clone()))),
            None => Err("the page says that more files follow, and not how to get them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_either_shape_says_how_to_go_on() {
        let file = r#"{"id":"file_2","filename":"a","mime_type":"a/b","size_bytes":0,"created_at":"2026-01-01T00:00:00Z"}"#;
        let after = |id: &str| Ok(Some(Cursor::After(FileId::new(id))));
        let page = |token: &str| Ok(Some(Cursor::Page(token.to_owned())));
        for (data, rest, expected) in [
            ("", "", Ok(None)),
            ("", r#","next_page":null"#, Ok(None)),
            (file, r#","next_page":"page_1""#, page("page_1")),
            (file, r#","has_more":false,"last_id":"file_1""#, Ok(None)),
            (
                file,
                r#","has_more":true,"last_id":"file_1""#,
                after("file_1"),
            ),
            (file, r#","has_more":true,"last_id":null"#, after("file_2")),
            // Managed agents: both.
            (
                file,
                r#","has_more":true,"last_id":"file_1","next_page":"page_1""#,
                page("page_1"),
            ),
            (
                file,
                r#","has_more":true,"last_id":"file_1","next_page":null"#,
                after("file_1"),
            ),
        ] {
            let text = format!(r#"{{"data":[{data}]{rest}}}"#);
            let read: Page = serde_json::from_str(&text).unwrap();
            assert_eq!(read.next(), expected, "{text}");
        }
        let lost: Page = serde_json::from_str(r#"{"data":[],"has_more":true}"#).unwrap();
        assert!(lost.next().is_err());
    }
}
