//! `--import`: the files of a folder as downloadable outputs. They are read where they are, never copied, and never
//! changed; deleting one through the API only takes it out of the workspace.

use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::database::ImportKey;
use super::side_door::guess;
use super::workspace::{StoreError, Workspace};

/// Adds the folder's plain files, those of folders in it not: the workspace has no folders.
pub(super) fn import(workspace: &Workspace, folder: &Path) -> Result<(), StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Of what a link points to, not of the link.
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if !metadata.is_file() {
            continue;
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let key = ImportKey {
            name,
            size: metadata.len(),
            modified_us: modified.as_micros() as i64,
        };
        found.push((key, path));
    }
    // The order of a directory is nobody's; that of the numbers should be the same each time.
    found.sort_by(|(a, _), (b, _)| (a.modified_us, &a.name).cmp(&(b.modified_us, &b.name)));
    for (key, path) in found {
        workspace.add_import(&key, &path, guess(&key.name))?;
    }
    Ok(())
}
