//! The API key: a value that never shows itself.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An API key. It has no `Display`, its `Debug` prints `ApiKey(..)`, and what leaves it goes into one header.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// Why something is not a usable key. None of these texts contains any of it.
#[derive(Debug)]
pub enum KeyError {
    /// Nothing there.
    Empty,
    /// White space, control or other characters that no header can carry.
    BadCharacter,
    /// The key file can't be read.
    Unreadable(PathBuf, io::Error),
    /// Others can read the key file.
    Exposed(PathBuf),
}

impl ApiKey {
    /// Takes a key as it was given by the environment.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::BadCharacter);
        }
        Ok(Self(key))
    }

    /// Reads a key file: the key and at most one newline. Refused while the file's group or others may read it.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |error| KeyError::Unreadable(path.to_owned(), error);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        // Of the open file, not of the path: nothing can be exchanged in between.
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        let text = io::read_to_string(file).map_err(unreadable)?;
        let key = text.strip_suffix('\n').unwrap_or(&text);
        Self::new(key.strip_suffix('\r').unwrap_or(key))
    }

    /// The key itself, for the one header it goes into.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the API key is empty"),
            Self::BadCharacter => f.write_str(
                "the API key holds white space or other characters that no key has; was it copied whole, and alone?",
            ),
            Self::Unreadable(path, error) => {
                write!(f, "the key file {} can't be read: {error}", path.display())
            }
            Self::Exposed(path) => write!(
                f,
                "the key file {0} can be read by others; make it private first: chmod 600 {0}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Empty | Self::BadCharacter | Self::Exposed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn a_key_never_shows_itself() {
        let key = ApiKey::new("sk-ant-canary").unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "ApiKey(..) ApiKey(..)");
        for bad in ["sk ant canary", "canary\n", "canary\u{e4}", "\tcanary"] {
            let error = ApiKey::new(bad).unwrap_err();
            assert!(matches!(error, KeyError::BadCharacter), "{bad:?}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        assert!(matches!(ApiKey::new(""), Err(KeyError::Empty)));
    }

    #[test]
    fn a_key_file_must_be_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        for (content, mode, good) in [
            ("sk-1", 0o600, true),
            ("sk-1\n", 0o400, true),
            ("sk-1\r\n", 0o600, true),
            ("sk-1\n\n", 0o600, false),
            ("\n", 0o600, false),
            ("sk-1", 0o640, false),
            ("sk-1", 0o604, false),
        ] {
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let key = ApiKey::from_file(&path);
            assert_eq!(key.is_ok(), good, "{content:?} {mode:o}: {key:?}");
            match key {
                Ok(key) => assert_eq!(key.reveal(), "sk-1"),
                Err(KeyError::Exposed(_)) => assert_ne!(mode & 0o077, 0),
                Err(_) => assert_eq!(mode, 0o600),
            }
        }
        let error = ApiKey::from_file(&dir.path().join("none")).unwrap_err();
        assert!(matches!(error, KeyError::Unreadable(..)));
    }

    #[test]
    fn an_exposed_key_file_names_the_fix() {
        let error = KeyError::Exposed("/home/me/key".into());
        assert!(error.to_string().contains("chmod 600 /home/me/key"));
    }
}
