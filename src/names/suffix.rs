//! Telling files of one name apart: `stem~XXXXXXXX.ext`, from the end of the file's id.

use super::escape::push_harmless;
use super::{MAX_NAME, cut, split_extension};

/// How many characters of the id a suffix shows when that is enough.
const USUAL: usize = 8;

/// The most bytes a suffix may take, so that some of the stem is always left.
const MAX_SUFFIX: usize = 160;

/// A name beside `directory_name` for the file `id` that `taken` does not know yet.
///
/// The suffix is the last 8 characters of the id, more where that name is taken, the whole id where it is shorter; were
/// even the whole id taken (a file may be *called* so), a number follows. At most 255 bytes: the stem gives way.
pub fn suffixed(directory_name: &str, id: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut suffixes = tails(id).chain((2u64..).map(|n| format!("{}~{n}", longest_tail(id))));
    let (stem, extension) = split_extension(directory_name);
    loop {
        // An endless range: there is always a next one.
        let suffix = suffixes.next().unwrap_or_default();
        let room = MAX_NAME - extension.len() - 1 - suffix.len();
        let name = format!("{}~{suffix}{extension}", cut(stem, room));
        if !taken(&name) {
            return name;
        }
    }
}

/// The suffix of an entry that was [suffixed] beside `directory_name`; what stands behind its last `~`.
#[must_use]
pub fn suffix_of<'a>(entry: &'a str, directory_name: &str) -> Option<&'a str> {
    let (_, extension) = split_extension(directory_name);
    let (_, suffix) = entry.strip_suffix(extension)?.rsplit_once('~')?;
    Some(suffix)
}

/// The ends of the id: 8 characters (fewer if there are not as many), then one more each time.
fn tails(id: &str) -> impl Iterator<Item = String> {
    let length = id.chars().count();
    (USUAL.min(length)..=length)
        .map(|n| tail(id, n))
        .take_while(|tail| tail.len() <= MAX_SUFFIX)
}

/// The longest end of the id that a suffix has room for.
fn longest_tail(id: &str) -> String {
    tails(id).last().unwrap_or_default()
}

/// The last `n` characters of the id, harmless.
fn tail(id: &str, n: usize) -> String {
    let skip = id.chars().count() - n;
    let start = id.char_indices().nth(skip).map_or(id.len(), |(at, _)| at);
    let mut out = String::new();
    push_harmless(&mut out, &id[start..]);
    out
}
