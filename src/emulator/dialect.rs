//! The two dialects, chosen by each request's beta header, and what a list may ask for in either.
//!
//! The guide of 2026: with `files-api-2025-04-14` the shapes of the beta; without it those of today, where pages go on by
//! an opaque `page`, up to a hundred files are asked for by `ids[]`, and `after_id` and `before_id` are refused, unless
//! the managed-agents beta is named.

use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};

use super::catalogue::{Cursor, PageQuery};
use super::config::Switches;
use super::ids::Mint;
use super::rules::Refusal;

/// Selects the shapes of the beta.
const FILES_BETA: &str = "files-api-2025-04-14";

/// The beta without which there is no `scope_id` (managed agents guide).
const SESSIONS_BETA: &str = "managed-agents-2026-04-01";

/// The most `ids[]` of one list.
const MOST_IDS: usize = 100;

/// Which shapes a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Those of the files beta.
    Beta,
    /// Those of today.
    Ga,
}

/// What the beta headers of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) dialect: Dialect,
    /// Whether it knows of managed agents.
    pub(super) sessions: bool,
}

impl Spoken {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            dialect: if has_beta(headers, FILES_BETA) {
                Dialect::Beta
            } else {
                Dialect::Ga
            },
            sessions: has_beta(headers, SESSIONS_BETA),
        }
    }

    /// Whether a page says what its first and last files are.
    pub(super) fn tells_ids(self) -> bool {
        self.dialect == Dialect::Beta || self.sessions
    }

    /// Whether a page says how to go on from it.
    pub(super) fn tells_next(self) -> bool {
        self.dialect == Dialect::Ga
    }
}

/// Whether a request asks for a beta. The header is a comma list, or repeated, or both.
fn has_beta(headers: &HeaderMap, beta: &str) -> bool {
    headers
        .get_all("anthropic-beta")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|named| named.trim() == beta)
}

/// What a list asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A page.
    Page(PageQuery),
    /// These files.
    Ids(Vec<String>),
}

/// The parameters of a query that a list knows; all others are ignored.
#[derive(Debug, Default)]
struct Parameters {
    limit: Option<String>,
    after: Option<String>,
    before: Option<String>,
    page: Option<String>,
    scope: Option<String>,
    ids: Vec<String>,
}

impl Parameters {
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                .map_err(|_| Refusal::invalid("The query string is malformed"))?;
        let mut found = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "limit" => found.limit = Some(value),
                "after_id" => found.after = Some(value),
                "before_id" => found.before = Some(value),
                "page" => found.page = Some(value),
                "scope_id" => found.scope = Some(value),
                "ids[]" => found.ids.push(value),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Reads what a list asks for.
pub(super) fn wish(
    uri: &Uri,
    spoken: Spoken,
    mint: Mint,
    switches: &Switches,
) -> Result<Wish, Refusal> {
    let mut asked = Parameters::of(uri)?;
    match spoken.dialect {
        Dialect::Beta => {
            asked.page = None;
            asked.ids.clear();
        }
        Dialect::Ga => {
            // Each counts once, the client library's documents say.
            asked.ids.sort_unstable();
            asked.ids.dedup();
            check_ga(&asked, spoken)?;
        }
    }
    if !asked.ids.is_empty() {
        return Ok(Wish::Ids(asked.ids));
    }
    let limit = limit(asked.limit.as_deref())?;
    let cursor = match (asked.after, asked.before, asked.page) {
        (Some(_), Some(_), _) => {
            return Err(Refusal::invalid(
                "after_id and before_id can't be used together",
            ));
        }
        (Some(id), None, _) => Some(Cursor::After(id)),
        (None, Some(id), _) => Some(Cursor::Before(id)),
        (None, None, Some(token)) => {
            let place = mint
                .page_place(&token)
                .ok_or_else(|| Refusal::invalid("page: Invalid page token"))?;
            Some(Cursor::Below(place))
        }
        (None, None, None) => None,
    };
    let is_scoped = asked.scope.is_some() && spoken.sessions;
    if asked.scope.is_some() && !is_scoped && !switches.scope_ignored_without_beta {
        return Err(Refusal::invalid(format!(
            "scope_id: requires the beta {SESSIONS_BETA}"
        )));
    }
    Ok(Wish::Page(PageQuery {
        limit,
        cursor,
        session: asked.scope.filter(|_| is_scoped),
    }))
}

/// What goes together today. The wording of the refusals is ours; that they are 400s is documented.
fn check_ga(asked: &Parameters, spoken: Spoken) -> Result<(), Refusal> {
    let cursor = match (&asked.after, &asked.before) {
        (Some(_), _) => Some("after_id"),
        (None, Some(_)) => Some("before_id"),
        (None, None) => None,
    };
    if let Some(cursor) = cursor {
        if !spoken.sessions {
            return Err(Refusal::invalid(format!(
                "{cursor}: Extra inputs are not permitted; use page"
            )));
        }
        if asked.page.is_some() || !asked.ids.is_empty() {
            return Err(Refusal::invalid(format!(
                "{cursor} can't be used with page or ids[]"
            )));
        }
    }
    if !asked.ids.is_empty() && (asked.page.is_some() || asked.limit.is_some()) {
        return Err(Refusal::invalid("ids[] can't be used with page or limit"));
    }
    if asked.ids.len() > MOST_IDS {
        return Err(Refusal::invalid(format!(
            "ids[]: at most {MOST_IDS} ids may be asked for"
        )));
    }
    Ok(())
}

fn limit(asked: Option<&str>) -> Result<usize, Refusal> {
    let Some(text) = asked else {
        return Ok(20);
    };
    let limit: i64 = text
        .parse()
        .map_err(|_| Refusal::invalid("limit: Input should be a valid integer"))?;
    if limit < 1 {
        return Err(Refusal::invalid(
            "limit: Input should be greater than or equal to 1",
        ));
    }
    if limit > 1000 {
        return Err(Refusal::invalid(
            "limit: Input should be less than or equal to 1000",
        ));
    }
    Ok(limit as usize)
}

/// The refusal of a cursor that names no file.
pub(super) fn unknown_cursor(query: &PageQuery) -> Refusal {
    match &query.cursor {
        Some(Cursor::Before(id)) => Refusal::invalid(format!("before_id: no such file: {id}")),
        Some(Cursor::After(id)) => Refusal::invalid(format!("after_id: no such file: {id}")),
        Some(Cursor::Below(_)) | None => Refusal::of_status(400),
    }
}

/// How long the bytes of an upload are to last, in seconds, as its form says it.
pub(super) fn lifetime(field: &[u8]) -> Result<i64, Refusal> {
    let refusal = |what: &str| Refusal::invalid(format!("expires_in_seconds: {what}"));
    let seconds: i64 = std::str::from_utf8(field)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| refusal("Input should be a valid integer"))?;
    match seconds {
        ..3600 => Err(refusal("Input should be greater than or equal to 3600")),
        3600..=7_776_000 => Ok(seconds),
        _ => Err(refusal("Input should be less than or equal to 7776000")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_dialect_is_that_of_the_beta_header() {
        let both = "files-api-2025-04-14,managed-agents-2026-04-01";
        for (values, dialect, sessions) in [
            (&[][..], Dialect::Ga, false),
            (&["files-api-2025-04-14"], Dialect::Beta, false),
            (&["x-1,files-api-2025-04-14"], Dialect::Beta, false),
            (&["x-1", "y , files-api-2025-04-14 "], Dialect::Beta, false),
            (&["files-api-2025-04-15"], Dialect::Ga, false),
            (&["managed-agents-2026-04-01"], Dialect::Ga, true),
            (&[both], Dialect::Beta, true),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("anthropic-beta", HeaderValue::from_static(value));
            }
            let spoken = Spoken { dialect, sessions };
            assert_eq!(Spoken::of(&headers), spoken, "{values:?}");
        }
    }

    #[test]
    fn what_goes_together_depends_on_the_dialect() {
        let mint = Mint::new(1);
        let place = super::super::catalogue::Place {
            created_us: -5,
            seq: 7,
        };
        let token = mint.page_token(place);
        let ids = |count: u32| {
            let ids: Vec<_> = (0..count).map(|id| format!("ids[]={id}")).collect();
            ids.join("&")
        };
        let (beta, ga, agents) = (
            (Dialect::Beta, false),
            (Dialect::Ga, false),
            (Dialect::Ga, true),
        );
        for ((dialect, sessions), query, good) in [
            (beta, "after_id=a".to_owned(), true),
            (beta, "after_id=a&before_id=b".to_owned(), false),
            (beta, "after_id=a&page=nonsense&ids[]=b".to_owned(), true),
            (ga, "after_id=a".to_owned(), false),
            (ga, "before_id=a".to_owned(), false),
            (ga, format!("page={token}&limit=3"), true),
            (ga, "page=page_nonsense".to_owned(), false),
            (ga, "page=".to_owned(), false),
            (ga, "ids[]=a&ids%5B%5D=b".to_owned(), true),
            (ga, "ids[]=a&limit=3".to_owned(), false),
            (ga, format!("ids[]=a&page={token}"), false),
            (ga, ids(100), true),
            (ga, ids(101), false),
            (ga, "ids[]=a&".repeat(200), true),
            (agents, "after_id=a".to_owned(), true),
            (agents, "after_id=a&before_id=b".to_owned(), false),
            (agents, format!("before_id=a&page={token}"), false),
            (agents, "before_id=a&ids[]=b".to_owned(), false),
        ] {
            let uri = format!("/v1/files?{query}").parse().unwrap();
            let spoken = Spoken { dialect, sessions };
            let wish = wish(&uri, spoken, mint, &Switches::default());
            assert_eq!(wish.is_ok(), good, "{spoken:?} {query}: {wish:?}");
        }
    }

    #[test]
    fn a_lifetime_is_an_hour_to_ninety_days() {
        for (field, expected) in [
            (&b"3600"[..], Some(3600)),
            (b"7776000", Some(7_776_000)),
            (b"3599", None),
            (b"7776001", None),
            (b"-1", None),
            (b"", None),
            (b"1e4", None),
            (b"\xff", None),
        ] {
            assert_eq!(lifetime(field).ok(), expected, "{field:?}");
        }
    }
}
