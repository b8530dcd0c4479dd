//! Looking before a second upload: whether the service has the file of a save whose answer was lost.

use jiff::Timestamp;

use crate::api::{Cursor, FileMetadata, FilesApi, ListQuery};
use crate::state::{Millis, Record, State, now, steady};

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

/// How long ago a try may have begun that began in the future, as the clock stands now: it was set back since, nobody
/// knows how far.
const DAY_MS: Millis = 24 * 3600 * 1000;

/// Looks for a file of the record's name and size, unknown here, and no older than the try that may have left it, by the
/// service's clock.
pub(super) fn for_lost(
    api: &dyn FilesApi,
    state: &State,
    record: &Record,
    size: u64,
    sent_at: Millis,
) -> Result<Found, Failure> {
    let page = api.list(&ListQuery::page(Cursor::Newest))?;
    let date = page.date.map_or_else(now, Timestamp::as_millisecond);
    let here = record.sent_here_at.map(|sent_at| steady() - sent_at);
    let begun = date - here.unwrap_or_else(|| since(sent_at, now())) - SLACK_MS;
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

/// How long ago a try began that another process wrote down by the wall clock. Too long is better than too short: what is
/// not found is sent again.
fn since(sent_at: Millis, now: Millis) -> Millis {
    if sent_at > now { DAY_MS } else { now - sent_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_that_began_in_the_future_began_a_day_ago() {
        for (sent_at, expected) in [(1_000, 9_000), (10_000, 0), (10_001, DAY_MS)] {
            assert_eq!(since(sent_at, 10_000), expected, "{sent_at}");
        }
    }
}
