//! Globs over file names, as people type them for options: `*` is any run of characters, `?` any one, all else itself.
//! Case is ignored.

use std::fmt;
use std::str::FromStr;

/// A pattern for whole file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<char>);

/// Why a text is no glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadGlob;

impl Glob {
    /// Whether the whole of `name` is what the glob describes. Goes back to the last `*` only, so that its time is bounded
    /// by the product of the lengths, however many stars there are.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let Self(glob) = self;
        let name: Vec<char> = folded(name).collect();
        let (mut g, mut n) = (0, 0);
        let mut star = None;
        while n < name.len() {
            match glob.get(g) {
                Some('*') => {
                    star = Some((g, n));
                    g += 1;
                }
                Some(&c) if c == '?' || c == name[n] => {
                    g += 1;
                    n += 1;
                }
                _ => {
                    let Some((star_at, from)) = star else {
                        return false;
                    };
                    // The star takes one character more.
                    star = Some((star_at, from + 1));
                    g = star_at + 1;
                    n = from + 1;
                }
            }
        }
        glob[g..].iter().all(|&c| c == '*')
    }
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

impl FromStr for Glob {
    type Err = BadGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(BadGlob);
        }
        Ok(Self(folded(text).collect()))
    }
}

impl fmt::Display for BadGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the glob is empty")
    }
}

impl std::error::Error for BadGlob {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("?", "a", true),
            ("?", "", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*.TAR.gz", "x.tar.tar.GZ", true),
            ("**a", "ba", true),
            ("*a*a*a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(
                glob.parse::<Glob>().unwrap().matches(name),
                expected,
                "{glob} {name}"
            );
        }
        assert_eq!("".parse::<Glob>(), Err(BadGlob));
    }
}
