//! Names: what the service calls a file, and what its directory entry is called.
//!
//! A *filename* is the service's label: any string, hostile ones included. A *directory name* is what the kernel sees:
//! 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`, and no control character (a terminal would obey it).
//! [`directory_name`] maps the first to the second and [`service_name`] back; names that are harmless, in whatever case
//! or Unicode form, are left alone. Duplicates get a suffix from their id ([`suffixed`]).
//!
//! The mapping speaks of what the service lists. A name that a user gives to a new file is sent as it is typed, once
//! [`check_new_name`] has let it pass; [`NameRules`] says of some that they are a program's own, and stay here.
//!
//! All that is the *strict* style. In the other one names with characters that the service refuses are stored with
//! look-alikes: a [`NameStyle`] is asked for every name that goes to the service or comes from there.

mod escape;
mod kind;
mod new_name;
mod pattern;
mod style;
mod suffix;
mod wide;

use std::borrow::Cow;

pub use escape::{directory_name, fits, service_name};
pub use kind::{NameKind, NameRules};
pub use new_name::{NameError, check_new_name};
pub use style::{NameStyle, UnknownStyle};
pub use suffix::{suffix_of, suffixed};

/// The longest directory entry, in bytes (`NAME_MAX` of Linux).
pub const MAX_NAME: usize = 255;

/// The one directory name that is not for files: the views' directory. A file that the service lists under it always
/// carries a suffix.
pub const VIEWS: &str = ".afs";

/// The longest extension that is kept when a name is cut; what is longer is no extension but text after a dot.
const MAX_EXTENSION: usize = 64;

/// Splits before the last dot: (`stem`, `.ext`). A leading dot makes a hidden file, not an extension, and a trailing one
/// has nothing to keep.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        None | Some(0) => (name, ""),
        Some(dot) if dot + 1 == name.len() || name.len() - dot > MAX_EXTENSION => (name, ""),
        Some(dot) => name.split_at(dot),
    }
}

/// A directory name from one that may be too long: at most 255 bytes, the extension kept.
fn cut_entry(entry: Cow<'_, str>) -> Cow<'_, str> {
    if entry.len() <= MAX_NAME {
        return entry;
    }
    let (stem, extension) = split_extension(&entry);
    let stem = cut(stem, MAX_NAME - extension.len());
    Cow::Owned(format!("{stem}{extension}"))
}

/// The longest start of `text` that ends on a character boundary within `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod encoded;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
