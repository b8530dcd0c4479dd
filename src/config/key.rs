//! Where the key comes from, and that nobody else can read it there.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{ConfigError, Key};

/// No key is longer; what is, is some other file.
const LONGEST: u64 = 4096;

/// Reads the key from a file that only its owner may read.
pub fn key_from_file(path: &Path) -> Result<Key, ConfigError> {
    let shown = path.display();
    let trouble = |why: String| ConfigError::Unusable(why);
    let file = File::open(path)
        .map_err(|error| trouble(format!("the key file {shown} cannot be opened: {error}")))?;
    let metadata = file
        .metadata()
        .map_err(|error| trouble(format!("the key file {shown} cannot be examined: {error}")))?;
    if !metadata.is_file() {
        return Err(trouble(format!(
            "the key file {shown} is not a regular file"
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(trouble(format!(
            "the key file {shown} can be read by other users (its mode is {:04o}); run: chmod 600 {shown}",
            metadata.mode() & 0o7777
        )));
    }
    let mut text = String::new();
    file.take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| trouble(format!("the key file {shown} cannot be read: {error}")))?;
    key_from_text(&text).ok_or_else(|| {
        trouble(format!(
            "the key file {shown} does not hold a key: one line, nothing else"
        ))
    })
}

/// Takes a key from what the environment, a file or a pipe holds, where that is a key at all.
#[must_use]
pub fn key_from_text(text: &str) -> Option<Key> {
    let text = text.trim();
    let fits = !text.is_empty()
        && text.len() as u64 <= LONGEST
        && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Key::new(text))
}
