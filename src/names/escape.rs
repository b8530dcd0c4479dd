//! The escape: `%` and two upper-case hexadecimal digits, for the few characters a directory entry can't or shouldn't hold.
//!
//! A literal `%` is itself escaped only where it would otherwise be read as an escape: `100%.txt` and `a%20b` stay as
//! they are, `a%2Fb` becomes `a%252Fb`. That is enough for reversibility: an escape begins with `%`, which is no
//! hexadecimal digit, so the two digits after a literal `%` in the output were there in the input as well.

use std::borrow::Cow;

use super::{MAX_NAME, cut_entry};

/// Filenames that are hostile as a whole, and their directory names.
const WHOLE: [(&str, &str); 3] = [("", "%empty"), (".", "%2E"), ("..", "%2E%2E")];

/// The directory name for a service's filename. Never over 255 bytes; where [`fits`] is true [`service_name`] undoes it.
///
/// What does not fit is cut, its extension kept. Different filenames may then look alike, so that such a name must
/// always go through [`super::suffixed`]; the catalogue remembers the filename.
#[must_use]
pub fn directory_name(filename: &str) -> Cow<'_, str> {
    cut_entry(escape(filename))
}

/// Whether [`directory_name`] of this filename is the whole of it.
#[must_use]
pub fn fits(filename: &str) -> bool {
    escape(filename).len() <= MAX_NAME
}

/// The filename a directory name stands for: the inverse of [`directory_name`] wherever that did not cut.
#[must_use]
pub fn service_name(directory_name: &str) -> Cow<'_, str> {
    if let Some((filename, _)) = WHOLE.iter().find(|(_, entry)| *entry == directory_name) {
        return Cow::Borrowed(filename);
    }
    if !directory_name.contains('%') {
        return Cow::Borrowed(directory_name);
    }
    let mut out = String::with_capacity(directory_name.len());
    let mut rest = directory_name;
    while let Some(c) = rest.chars().next() {
        let (decoded, length) = escape_at(rest).unwrap_or((c, c.len_utf8()));
        out.push(decoded);
        rest = &rest[length..];
    }
    Cow::Owned(out)
}

/// The same without the cut.
pub(super) fn escape(filename: &str) -> Cow<'_, str> {
    if let Some((_, entry)) = WHOLE.iter().find(|(name, _)| *name == filename) {
        return Cow::Borrowed(entry);
    }
    let is_special = |c: char| c == '%' || is_hostile(c);
    if !filename.contains(is_special) {
        return Cow::Borrowed(filename);
    }
    // A file that is really called `%2E` or `%empty`.
    let looks_whole = WHOLE.iter().any(|(_, entry)| *entry == filename);
    let mut out = String::with_capacity(filename.len() + 8);
    for (at, c) in filename.char_indices() {
        let ambiguous =
            c == '%' && ((looks_whole && at == 0) || escape_at(&filename[at..]).is_some());
        if ambiguous || is_hostile(c) {
            push_escaped(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// What may not stand in a directory entry, or would be obeyed by the terminal that prints it (C0, DEL, C1).
/// Bidirectional marks such as U+202E are text, not control characters: they are left alone here.
fn is_hostile(c: char) -> bool {
    c == '/' || c.is_control()
}

/// Escapes each byte of the character's UTF-8.
pub(super) fn push_escaped(out: &mut String, c: char) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The filename with nothing escaped but what a directory entry can't hold, or be: there is no way back from it.
pub(super) fn harmless(filename: &str) -> Cow<'_, str> {
    if let Some((_, entry)) = WHOLE.iter().find(|(name, _)| *name == filename) {
        return Cow::Borrowed(entry);
    }
    if !filename.contains(is_hostile) {
        return Cow::Borrowed(filename);
    }
    let mut out = String::with_capacity(filename.len() + 8);
    push_harmless(&mut out, filename);
    Cow::Owned(out)
}

/// `text` with the characters escaped that a directory entry can't hold: for ids, which need no way back.
pub(super) fn push_harmless(out: &mut String, text: &str) {
    for c in text.chars() {
        if is_hostile(c) {
            push_escaped(out, c);
        } else {
            out.push(c);
        }
    }
}

/// The character an escape at the very start of `text` stands for, and the escape's length; `None` where there is none.
/// Only what [`escape`] writes is an escape: `%20`, `%2f` or `%41` are plain text.
fn escape_at(text: &str) -> Option<(char, usize)> {
    let first = hex_at(text)?;
    if first == 0xC2 {
        // The control characters U+0080..=U+009F are two bytes long.
        let second = hex_at(&text[3..])?;
        return (0x80..=0x9F)
            .contains(&second)
            .then(|| (char::from(second), 6));
    }
    let c = char::from(first);
    (c == '%' || (first.is_ascii() && is_hostile(c))).then_some((c, 3))
}

/// The byte that `%XX` at the start of `text` spells.
fn hex_at(text: &str) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    match text.as_bytes() {
        [b'%', high, low, ..] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}
