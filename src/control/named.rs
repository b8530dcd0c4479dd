//! What a word stands for that somebody typed: a name in the mount, a path below it, or an id.

use std::sync::Arc;

use crate::api::FileId;
use crate::state::{Row, State, StateError};

/// Where in the mount outputs, ids and sessions have directories of their own.
const OUTPUTS: &str = ".afs/outputs/";
const BY_ID: &str = ".afs/by-id/";
const SESSIONS: &str = ".afs/sessions/";

/// The word without the directory of a link.
pub(super) fn without_link(word: &str) -> &str {
    word.strip_prefix(OUTPUTS)
        .or_else(|| word.strip_prefix(BY_ID))
        .unwrap_or(word)
}

/// The file of a word; a name goes before an id.
pub(super) fn row_of(state: &State, word: &str) -> Result<Option<Arc<Row>>, StateError> {
    let word = without_link(word);
    let by_name = match word.strip_prefix(SESSIONS).and_then(|s| s.split_once('/')) {
        Some((session, name)) => state.lookup_scoped(session, name)?,
        None => state.lookup(word)?,
    };
    match by_name {
        Some(row) => Ok(Some(row)),
        None => state.row_of_id(&FileId::new(word.to_owned())),
    }
}

/// Where a file stands in the mount.
pub(super) fn shown(row: &Row) -> Option<String> {
    let scoped = || match (&row.scope, &row.scoped_name) {
        (Some(session), Some(name)) => Some(format!("{SESSIONS}{session}/{name}")),
        _ => None,
    };
    row.name.clone().or_else(scoped)
}

/// What people call a file: where it stands in the mount, or where that is nowhere the name it would have.
pub(super) fn called(state: &State, row: &Row) -> String {
    shown(row).unwrap_or_else(|| typed(state, &row.filename))
}

/// What people call a file that was saved here, or removed, as `filename`.
pub(super) fn typed(state: &State, filename: &str) -> String {
    state.style().typed_name(filename).into_owned()
}
