//! The shapes of names that programs make up.

/// What the random letters in a name are.
pub(super) type Letters = fn(u8) -> bool;

/// One shape.
pub(super) enum Pattern {
    /// Exactly this.
    Whole(&'static str),
    /// This, and something after it.
    Begins(&'static str),
    /// Something, and this at its end.
    Ends(&'static str),
    /// The first, something, and the second.
    Between(&'static str, &'static str),
    /// This, and so many random letters.
    Random(&'static str, usize, Letters),
    /// The same, and perhaps an extension.
    RandomStem(&'static str, usize, Letters),
    /// The first, random letters with a digit among them, and the second.
    RandomBetween(&'static str, Letters, &'static str),
    /// This, something, a dot and so many random letters.
    Around(&'static str, usize, Letters),
    /// Something, a dot, this and so many random letters with a digit or a capital among them.
    Extends(&'static str, usize, Letters),
}

use Pattern::{Around, Begins, Between, Ends, Extends, Random, RandomBetween, RandomStem, Whole};

pub(super) fn alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

pub(super) fn alphabetic(c: u8) -> bool {
    c.is_ascii_alphabetic()
}

pub(super) fn lower_or_digit(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_'
}

impl Pattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        let all = |random: &str, count: usize, letters: Letters| {
            random.len() == count && random.bytes().all(letters)
        };
        let is_some = |rest: &str| !rest.is_empty();
        match *self {
            Whole(whole) => name == whole,
            Begins(start) => name.strip_prefix(start).is_some_and(is_some),
            Ends(end) => name.strip_suffix(end).is_some_and(is_some),
            Between(start, end) => name
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
                .is_some_and(is_some),
            Random(start, count, letters) => name
                .strip_prefix(start)
                .is_some_and(|random| all(random, count, letters)),
            RandomStem(start, count, letters) => name
                .strip_prefix(start)
                .map(|rest| rest.split_once('.').map_or(rest, |(stem, _)| stem))
                .is_some_and(|random| all(random, count, letters)),
            RandomBetween(start, letters, end) => name
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
                .is_some_and(|random| {
                    random.bytes().all(letters) && random.bytes().any(|c| c.is_ascii_digit())
                }),
            Around(start, count, letters) => name
                .strip_prefix(start)
                .and_then(|rest| rest.rsplit_once('.'))
                .is_some_and(|(middle, random)| {
                    is_some(middle)
                        && all(random, count, letters)
                        && (!start.is_empty() || is_mixed(random))
                }),
            Extends(start, count, letters) => name
                .rsplit_once('.')
                .and_then(|(stem, extension)| Some((stem, extension.strip_prefix(start)?)))
                .is_some_and(|(stem, random)| {
                    is_some(stem)
                        && all(random, count, letters)
                        && !random.bytes().all(|c| c.is_ascii_lowercase())
                }),
        }
    }
}

/// Whether letters look random rather than like an extension: both cases, and not only its first letter is a capital.
fn is_mixed(letters: &str) -> bool {
    let is_capital = |c: u8| c.is_ascii_uppercase();
    letters.bytes().skip(1).any(is_capital) && !letters.bytes().all(is_capital)
}
