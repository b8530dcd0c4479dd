//! What the service says of files, as JSON, in the shapes of either dialect.

use serde::Serialize;

use super::catalogue::Stored;
use super::dialect::Dialect;

/// A file as the service describes it.
#[expect(
    clippy::option_option,
    reason = "left out, null and a time are three things"
)]
#[derive(Debug, Serialize)]
pub(super) struct FileObject<'a> {
    r#type: &'static str,
    pub(super) id: &'a str,
    filename: &'a str,
    mime_type: &'a str,
    size_bytes: u64,
    created_at: String,
    downloadable: bool,
    /// Left out where there is none, as in recorded answers; the schema would allow `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeObject<'a>>,
    /// In the beta's shape left out, in today's always there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Option<String>>,
}

#[derive(Debug, Serialize)]
struct ScopeObject<'a> {
    r#type: &'static str,
    id: &'a str,
}

impl<'a> FileObject<'a> {
    pub(super) fn of(file: &'a Stored, downloadable: bool, dialect: Dialect) -> Self {
        Self {
            r#type: "file",
            id: &file.id,
            filename: &file.filename,
            mime_type: &file.mime_type,
            size_bytes: file.size,
            created_at: format!("{:.6}", file.created_at()),
            downloadable,
            scope: file.session.as_deref().map(|id| ScopeObject {
                r#type: "session",
                id,
            }),
            expires_at: match dialect {
                Dialect::Beta => None,
                Dialect::Ga => Some(file.expires_at().map(|time| format!("{time:.6}"))),
            },
        }
    }
}

/// One page of a list.
#[expect(
    clippy::option_option,
    reason = "left out, null and a token are three things"
)]
#[derive(Debug, Serialize)]
pub(super) struct FileList<'a> {
    pub(super) data: Vec<FileObject<'a>>,
    #[serde(flatten)]
    pub(super) ends: Option<Ends<'a>>,
    /// Left out in the beta's shape, `null` on the last page in today's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page: Option<Option<String>>,
}

/// What the beta's shape says of a page, and today's where managed agents are known.
#[derive(Debug, Serialize)]
pub(super) struct Ends<'a> {
    pub(super) has_more: bool,
    pub(super) first_id: Option<&'a str>,
    pub(super) last_id: Option<&'a str>,
}
