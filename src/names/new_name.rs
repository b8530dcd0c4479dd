//! What a new file may be called: what the service would refuse is refused here, before a byte is written.

use std::fmt;

use super::MAX_NAME;
use super::wide::{is_encodable, wide};

/// Why a name can't be given to a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Over 255 bytes.
    TooLong,
    /// Over 255 bytes as it would be stored: full-width forms take three each.
    TooLongStored,
    /// Holds a character the service refuses.
    Refused(char),
    /// Empty, `.` or `..`.
    NotAName,
}

/// Whether a new file may have this name (the Files API guide, "File names": none of `< > : " | ? * \ /`, no control
/// characters, 1 to 255 long; whether that counts bytes or characters is not said, the kernel counts bytes).
///
/// The guide speaks of U+0000 to U+001F only. DEL and U+0080 to U+009F are refused as well: the directory would show
/// such a file under another name than it was given.
pub fn check_new_name(name: &str) -> Result<(), NameError> {
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    if matches!(name, "" | "." | "..") {
        return Err(NameError::NotAName);
    }
    match name.chars().find(|&c| is_refused(c)) {
        Some(c) => Err(NameError::Refused(c)),
        None => Ok(()),
    }
}

fn is_refused(c: char) -> bool {
    c.is_control() || c == '/' || is_encodable(c)
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the name is longer than {MAX_NAME} bytes"),
            Self::TooLongStored => write!(
                f,
                "the name is longer than {MAX_NAME} bytes as the service would store it, with three for each of \
                 < > : \" | ? * \\"
            ),
            Self::Refused(c) if is_encodable(*c) => write!(
                f,
                "the service takes no names with {c} in them; afs mount --names encode stores it as {}",
                wide(*c)
            ),
            Self::Refused(c) => write!(f, "the service takes no names with {c:?} in them"),
            Self::NotAName => f.write_str("this is not a file name"),
        }
    }
}

impl std::error::Error for NameError {}
