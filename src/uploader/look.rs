//! Looking before a second upload: whether the service has the file of a save whose answer was lost.

use crate::api::{Cursor, FileMetadata, FilesApi, ListQuery};
use crate::state::{Millis, Record, State, now};

use super::Failure;

/// Clocks are read apart and the `date` header has whole seconds.
const SLACK_MS: Millis = 2_000;

/// What an earlier try may have left at the service.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest file that may be ours.
    pub(super) newest: Option<FileMetadata>,
    /// Whether there are others: then nothing tells which is ours, and none of them is ever deleted.
    pub(super) guessed: bool,
}

/// Looks for a file of the record's name and size, unknown here, and no older than the try that began at `sent_at`, by
/// the service's clock.
pub(super) fn for_lost(
    api: &dyn FilesApi,
    state: &State,
    record: &Record,
    size: u64,
    sent_at: Millis,
) -> Result<Found, Failure> {
    let page = api.list(&ListQuery::page(Cursor::Newest))?;
    let ahead = page.date.map_or(0, |date| date.as_millisecond() - now());
    let begun = sent_at + ahead - SLACK_MS;
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
    let guessed = candidates.len() > 1;
    if guessed {
        log::warn!(
            "{}: {} files at the service may be this save; another client stored the same name and size in the same \
             moment. None of them will be deleted",
            record.name,
            candidates.len()
        );
    }
    Ok(Found {
        newest: candidates.into_iter().next(),
        guessed,
    })
}
