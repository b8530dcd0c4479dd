//! Full-width look-alikes: how a name with characters that the service refuses is stored there all the same.
//!
//! `:` is stored as `：`, and the others alike: U+FF01 to U+FF5E are the printable ASCII characters in the width of an
//! ideograph, in the same order. A name that has such a form itself has it stored behind the quote `‛` (U+201B), so that
//! it comes back as it was typed. rclone stores names so, with the same quote.
//!
//! [`encode`] and [`decode`] are no pair of inverses: `decode(encode(name))` is the name, for every name, and so no two
//! names are stored alike. What others have stored may be nothing that [`encode`] writes (`‛‛a`, `a:b`): [`decode`] reads
//! it all the same, and different filenames may then read alike.

use std::borrow::Cow;

/// What says of the character behind it that it stands for itself.
const QUOTE: char = '\u{201B}';

/// From an ASCII character to its full-width form.
const DISTANCE: u32 = 0xFEE0;

/// Whether the service refuses the character, and it has a form that the service takes. `/` is in no directory entry.
pub(super) fn is_encodable(c: char) -> bool {
    matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\\')
}

/// The form under which an [encodable](is_encodable) character is stored.
pub(super) fn wide(c: char) -> char {
    char::from_u32(u32::from(c) + DISTANCE).unwrap_or(c)
}

/// The character that a full-width form stands for; `None` for every other character.
fn narrow(c: char) -> Option<char> {
    let narrow = char::from_u32(u32::from(c).checked_sub(DISTANCE)?)?;
    is_encodable(narrow).then_some(narrow)
}

/// What is quoted where it is meant itself.
fn is_quotable(c: char) -> bool {
    c == QUOTE || narrow(c).is_some()
}

/// The name as it is stored. Up to three times as long in bytes, or twice where all of it is quotes.
pub(super) fn encode(name: &str) -> Cow<'_, str> {
    if !name.contains(|c| is_encodable(c) || is_quotable(c)) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    let mut characters = name.chars().peekable();
    while let Some(c) = characters.next() {
        // A quote that stands before nothing it could quote is left alone: most are apostrophes.
        let would_quote = |next: &char| is_encodable(*next) || is_quotable(*next);
        if narrow(c).is_some() || (c == QUOTE && characters.peek().is_some_and(would_quote)) {
            out.push(QUOTE);
        }
        out.push(if is_encodable(c) { wide(c) } else { c });
    }
    Cow::Owned(out)
}

/// The name that a stored one stands for. Never longer than that, and never empty where that is not.
pub(super) fn decode(filename: &str) -> Cow<'_, str> {
    if !filename.contains(is_quotable) {
        return Cow::Borrowed(filename);
    }
    let mut out = String::with_capacity(filename.len());
    let mut characters = filename.chars().peekable();
    while let Some(c) = characters.next() {
        match characters.next_if(|next| c == QUOTE && is_quotable(*next)) {
            Some(quoted) => out.push(quoted),
            None => out.push(narrow(c).unwrap_or(c)),
        }
    }
    Cow::Owned(out)
}
