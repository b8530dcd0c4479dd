//! Looking before a second upload: whether the service has the file of a save whose answer was lost.

use crate::api::{Cursor, FileMetadata, FilesApi, ListQuery};
use crate::state::{Millis, Record, State, now};

use super::Failure;

/// Clocks are read apart and the `date` header has whole seconds.
const SLACK_MS: Millis = 2_000;

/// The file that an earlier try of `record` left at the service: one of its name and size, unknown here, and no older
/// than the record, by the service's clock.
///
/// Of several candidates one is ours and nothing tells which; the newest stands for it, and as none of the others is
/// known here, none is ever deleted.
pub(super) fn for_lost(
    api: &dyn FilesApi,
    state: &State,
    record: &Record,
    size: u64,
) -> Result<Option<FileMetadata>, Failure> {
    let page = api.list(&ListQuery::page(Cursor::Newest))?;
    let local_now = now();
    let ahead = page
        .date
        .map_or(0, |date| date.as_millisecond() - local_now);
    let begun = record.since + ahead - SLACK_MS;
    let mut candidates = Vec::new();
    for file in page.files {
        if file.filename == record.name
            && file.size_bytes == size
            && file.created_at.as_millisecond() >= begun
            && !state.is_known_id(&file.id)?
        {
            candidates.push(file);
        }
    }
    if candidates.len() > 1 {
        log::warn!(
            "{}: {} files at the service may be this save; another client stored the same name and size in the same \
             moment. None of them will be deleted",
            record.name,
            candidates.len()
        );
    }
    Ok(candidates.into_iter().next())
}
