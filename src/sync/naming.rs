//! Which name a listed file gets in the directory, or in that of its session. Of several files with one name the newest has the plain name; a file that
//! once has a `~` suffix keeps it for as long as it exists, so a repeated `rm name` can't eat history.

use std::cell::Cell;

use crate::api::FileMetadata;
use crate::names;
use crate::state::{Ino, Merge, Millis, NewRow, Row, StateError};

/// What one listed file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// In the catalogue already.
    Known(Ino),
    /// Known, and not under a name until now.
    Back(Ino),
    /// Taken in now.
    New(Ino),
    /// Deleted or replaced here; the listing is behind.
    Hidden,
    /// Perhaps an own save whose answer has not come yet; the next listing decides.
    NotYet,
}

/// Takes one listed file into the catalogue. `in_flight` are names and sizes of own saves on their way.
pub(super) fn merge_file(
    merge: &mut Merge<'_, '_>,
    file: &FileMetadata,
    in_flight: &[(String, u64)],
    learned_at: Millis,
) -> Result<Seen, StateError> {
    if merge.is_hidden(&file.id)? {
        return Ok(Seen::Hidden);
    }
    if let Some(row) = merge.row_of_id(&file.id)? {
        if row.downloadable != file.downloadable {
            merge.set_downloadable(row.ino, file.downloadable)?;
        }
        // It is set once, at the upload. The beta never tells: what it leaves out is no news.
        if let Some(time) = file.expires_at
            && row.expires_at != Some(time)
        {
            merge.set_expires_at(row.ino, time)?;
        }
        if !row.is_shown() {
            let scope = row.scope.as_deref();
            let (name, suffixed) = if row.suffixed {
                let plain = merge.style().directory_name(&file.filename);
                (suffixed_name(merge, scope, &plain, file.id.as_str())?, true)
            } else {
                free_name(merge, scope, file)?
            };
            merge.set_name(row.ino, &name, suffixed)?;
            return Ok(Seen::Back(row.ino));
        }
        return Ok(Seen::Known(row.ino));
    }
    if in_flight
        .iter()
        .any(|(name, size)| *name == file.filename && *size == file.size_bytes)
    {
        return Ok(Seen::NotYet);
    }
    let scope = file.scope.as_ref().map(|scope| scope.id.as_str());
    let (name, suffixed) = free_name(merge, scope, file)?;
    let ino = merge.insert(&NewRow {
        name: &name,
        suffixed,
        file,
        learned_at,
    })?;
    Ok(Seen::New(ino))
}

/// The name for a file, free now, and whether it carries a suffix. An older holder of the plain name makes way.
fn free_name(
    merge: &mut Merge<'_, '_>,
    scope: Option<&str>,
    file: &FileMetadata,
) -> Result<(String, bool), StateError> {
    let style = merge.style();
    let plain = style.directory_name(&file.filename);
    if !style.fits(&file.filename) || plain == names::VIEWS {
        // Cut names may look alike; each carries its suffix from the start.
        let name = suffixed_name(merge, scope, &plain, file.id.as_str())?;
        return Ok((name, true));
    }
    let Some(holder) = merge.row_named(scope, &plain)? else {
        return Ok((plain.into_owned(), false));
    };
    if makes_way(merge, &holder, file) {
        let id = holder.id.as_ref().map_or("", |id| id.as_str());
        let name = suffixed_name(merge, scope, &plain, id)?;
        merge.displace(holder.ino, &name)?;
        return Ok((plain.into_owned(), false));
    }
    let name = suffixed_name(merge, scope, &plain, file.id.as_str())?;
    Ok((name, true))
}

/// Whether the holder of the plain name is an older file. Local content is always the newest; and a name that carries a
/// suffix stays where it is.
fn makes_way(merge: &Merge<'_, '_>, holder: &Row, file: &FileMetadata) -> bool {
    !holder.suffixed && !merge.is_local(holder) && holder.created_at < file.created_at
}

pub(super) fn suffixed_name(
    merge: &Merge<'_, '_>,
    scope: Option<&str>,
    plain: &str,
    id: &str,
) -> Result<String, StateError> {
    let failed = Cell::new(None);
    let name = names::suffixed(plain, id, |name| match merge.row_named(scope, name) {
        Ok(row) => row.is_some(),
        Err(error) => {
            failed.set(Some(error));
            false
        }
    });
    failed.take().map_or(Ok(name), Err)
}
