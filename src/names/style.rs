//! Two styles: which names new files may have, and how the service's filenames look because of it.
//!
//! The service refuses `< > : " | ? * \`, `/` and control characters in filenames. In the *strict* style so does the
//! directory, and what is typed is sent as it is. In the *encoding* style names with the first eight are stored with
//! full-width look-alikes, and every filename with these is shown with the plain characters.
//!
//! Whoever turns one kind of name into the other asks the style that the workspace's state remembers: one answer for a
//! mount, for what is left of it, and for the commands beside it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::new_name::{NameError, check_new_name};
use super::{MAX_NAME, cut_entry, escape, wide};

/// How names are given to the service, and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameStyle {
    /// As they are; what the service would refuse is refused.
    #[default]
    Strict,
    /// With full-width forms of `< > : " | ? * \` at the service.
    Encode,
}

/// A word that is no style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStyle;

impl NameStyle {
    /// The filename under which the service gets a new file of this name.
    ///
    /// `directory_name(filename(name))` is the name in the encoding style, whatever it is, and so no two names have one
    /// filename. The filename has 1 to 255 bytes and none of the characters that the service refuses.
    pub fn filename(self, name: &str) -> Result<Cow<'_, str>, NameError> {
        let filename = match self {
            Self::Strict => Cow::Borrowed(name),
            Self::Encode if name.len() > MAX_NAME => return Err(NameError::TooLong),
            Self::Encode => wide::encode(name),
        };
        match check_new_name(&filename) {
            Ok(()) => Ok(filename),
            Err(NameError::TooLong) if filename.len() > name.len() => Err(NameError::TooLongStored),
            Err(error) => Err(error),
        }
    }

    /// The directory name of a file that the service lists: at most 255 bytes; cut, its extension kept, where it does not
    /// [fit](NameStyle::fits).
    ///
    /// The encoding style leaves a literal `%2F` alone, for it has to come back as it was typed: a filename that the
    /// service would not take from us may then look like another.
    #[must_use]
    pub fn directory_name(self, filename: &str) -> Cow<'_, str> {
        cut_entry(self.uncut(filename))
    }

    /// Whether [`NameStyle::directory_name`] is the whole of it.
    #[must_use]
    pub fn fits(self, filename: &str) -> bool {
        self.uncut(filename).len() <= MAX_NAME
    }

    /// The name that was typed where a file has gone to the service from here, or is about to, as `filename`.
    #[must_use]
    pub fn typed_name(self, filename: &str) -> Cow<'_, str> {
        match self {
            Self::Strict => Cow::Borrowed(filename),
            Self::Encode => self.directory_name(filename),
        }
    }

    /// What the directory calls a file: one that was saved here, or one that only the service knew of.
    #[must_use]
    pub fn name_of(self, filename: &str, is_own: bool) -> Cow<'_, str> {
        if is_own && check_new_name(filename).is_ok() {
            self.typed_name(filename)
        } else {
            self.directory_name(filename)
        }
    }

    /// The filename under which new content goes out for a file that the service has as `filename`: that, or where the
    /// service would not take it from us, one that is shown alike.
    #[must_use]
    pub fn sent_again(self, filename: &str) -> Cow<'_, str> {
        if self == Self::Strict || check_new_name(filename).is_ok() {
            return Cow::Borrowed(filename);
        }
        let name = self.directory_name(filename);
        match self.filename(&name) {
            Ok(filename) => Cow::Owned(filename.into_owned()),
            Err(_) => Cow::Borrowed(filename),
        }
    }

    fn uncut(self, filename: &str) -> Cow<'_, str> {
        match self {
            Self::Strict => escape::escape(filename),
            Self::Encode => match wide::decode(filename) {
                Cow::Borrowed(name) => escape::harmless(name),
                Cow::Owned(name) => Cow::Owned(escape::harmless(&name).into_owned()),
            },
        }
    }

    /// The word that [`str::parse`] reads.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Encode => "encode",
        }
    }
}

impl FromStr for NameStyle {
    type Err = UnknownStyle;

    fn from_str(word: &str) -> Result<Self, UnknownStyle> {
        match word {
            "strict" => Ok(Self::Strict),
            "encode" => Ok(Self::Encode),
            _ => Err(UnknownStyle),
        }
    }
}

impl fmt::Display for UnknownStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names are \"strict\" or \"encode\"")
    }
}

impl std::error::Error for UnknownStyle {}
