//! Names: whatever the service calls a file, its entry is one that a directory can hold, and no two become one.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::api::Glob;
use crate::api::properties::{config, hostile_text};

/// Names in which everything that the escape and the lists care about is frequent, and now and then far too long.
fn name() -> impl Strategy<Value = String> {
    const TOKENS: &[&str] = &[
        "%",
        "/",
        ".",
        "..",
        "%2",
        "%25",
        "%2E",
        "%2F",
        "%2f",
        "%00",
        "%C2",
        "%C2%80",
        "%C2%A0",
        "%empty",
        "0",
        "F",
        "é",
        "\u{0}",
        "\n",
        "\u{1b}",
        "\u{7f}",
        "\u{80}",
        "\u{9f}",
        "\u{a0}",
        "\u{202e}",
        "\u{1F600}",
        "~",
        "~2",
        "#",
        "$",
        ".swp",
        ".tmp",
        "tmp",
        "-wal",
        ".afs",
        ".Trash",
        "sed",
        "A",
        "İ",
        "*",
        "?",
    ];
    let token = prop_oneof![
        6 => prop::sample::select(TOKENS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => prop::collection::vec(any::<u8>(), 1..4).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    let times = prop_oneof![20 => Just(1), 1 => 2..80_usize];
    (prop::collection::vec(token, 0..8), times)
        .prop_map(|(tokens, times)| tokens.concat().repeat(times))
}

/// What a directory can hold and a terminal can show.
pub(super) fn is_entry(name: &str) -> bool {
    let is_hostile = |c: char| c == '/' || (c as u32) < 0x20 || (0x7f..0xa0).contains(&(c as u32));
    (1..=255).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(is_hostile)
}

/// Whether something in the name would be read as an escape: of a slash, a percent sign or a control character, or of a
/// name as a whole.
fn holds_escape(name: &str) -> bool {
    let escapes = name
        .split('%')
        .skip(1)
        .zip(name.split('%').skip(2).chain([""]));
    let is_escape = |(digits, next): (&str, &str)| match digits.get(..2) {
        Some("25" | "2F" | "7F") => true,
        Some("C2") => digits.len() == 2 && next.starts_with(['8', '9']) && is_hex(next.get(1..2)),
        Some(digits) => digits.starts_with(['0', '1']) && is_hex(digits.get(1..2)),
        None => false,
    };
    matches!(name, "%empty" | "%2E" | "%2E%2E") || escapes.into_iter().any(is_escape)
}

fn is_hex(digit: Option<&str>) -> bool {
    digit.is_some_and(|digit| "0123456789ABCDEF".contains(digit))
}

/// Whether the glob describes the name, by trying everything.
fn describes(glob: &[char], name: &[char]) -> bool {
    match (glob, name) {
        ([], rest) => rest.is_empty(),
        (['*', glob @ ..], name) => (0..=name.len()).any(|taken| describes(glob, &name[taken..])),
        ([g, glob @ ..], [n, name @ ..]) => (*g == '?' || g == n) && describes(glob, name),
        (_, []) => false,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_name_has_an_entry_and_what_fits_comes_back(name in name()) {
        let entry = directory_name(&name);
        prop_assert!(is_entry(&entry), "{:?}", entry);
        if fits(&name) {
            prop_assert_eq!(service_name(&entry), name.as_str());
        }
        if is_entry(&name) && !holds_escape(&name) {
            prop_assert_eq!(&entry, name.as_str());
        }
    }

    #[test]
    fn no_two_names_become_one(name in name(), other in name(), at in 0..40_usize) {
        // Names that are near: what an entry would be read as, what it would be called itself, one letter escaped.
        let (entry, read) = (directory_name(&name), service_name(&name));
        let twice = directory_name(&entry);
        let mut bent = name.clone();
        if let Some((at, c)) = name.char_indices().nth(at) {
            let mut escaped = String::new();
            escape::push_escaped(&mut escaped, c);
            bent.replace_range(at..at + c.len_utf8(), &escaped);
        }
        for near in [&*other, &*entry, &*read, &*twice, &*bent] {
            if near != name && fits(near) && fits(&name) {
                prop_assert_ne!(directory_name(near), &*entry, "{:?} {:?}", near, name);
            }
        }
    }

    #[test]
    fn any_entry_can_be_read(entry in name()) {
        // What is not an entry of ours is read as something; what is one, as its name.
        let read = service_name(&entry);
        prop_assert!(read.len() <= entry.len());
        let again = directory_name(&read);
        if fits(&read) {
            prop_assert_eq!(&service_name(&again), &read);
        }
    }

    #[test]
    fn files_of_one_name_get_entries_of_their_own(
        name in name(),
        ids in prop::collection::vec(prop_oneof![name(), hostile_text(), Just("file_1".to_owned())], 1..5),
        repeated in 0..4_usize,
    ) {
        let plain = directory_name(&name);
        let mut taken: HashSet<String> = HashSet::from([plain.to_string()]);
        for id in ids.iter().chain(ids.iter().take(repeated)) {
            let entry = suffixed(&plain, id, |entry| taken.contains(entry));
            prop_assert!(is_entry(&entry), "{:?}", entry);
            prop_assert!(entry != VIEWS && entry.contains('~'));
            prop_assert!(entry.ends_with(split_extension(&plain).1));
            prop_assert!(taken.insert(entry));
        }
    }

    #[test]
    fn a_new_name_is_an_entry_without_what_the_service_refuses(name in name()) {
        let refused = name.contains(['<', '>', ':', '"', '|', '?', '*', '\\']);
        match check_new_name(&name) {
            Ok(()) => prop_assert!(is_entry(&name) && !refused),
            Err(error @ (NameError::TooLong | NameError::TooLongStored)) => {
                prop_assert!(error == NameError::TooLong && name.len() > 255);
            },
            Err(NameError::NotAName) => prop_assert!(matches!(name.as_str(), "" | "." | "..")),
            Err(NameError::Refused(c)) => {
                prop_assert!(name.contains(c) && (refused || !is_entry(&name)));
            }
        }
    }

    #[test]
    fn every_name_is_of_a_kind_and_what_the_person_says_counts(name in name(), other in name()) {
        let lists = NameRules::default();
        let kind = lists.kind_of(&name);
        prop_assert_eq!(kind, lists.kind_of(&name));
        if !name.is_empty() {
            let scratch = [format!("{name}~"), format!(".{name}.swp"), format!("#{name}#"), format!(".~lock.{name}#")];
            for scratch in scratch {
                prop_assert_eq!(lists.kind_of(&scratch), NameKind::Scratch, "{}", scratch);
            }
            for passing in [format!("{name}.part"), format!("{name}-journal"), format!("{name}.tmp")] {
                let kind = lists.kind_of(&passing);
                prop_assert!(matches!(kind, NameKind::Provisional | NameKind::Scratch), "{}", passing);
            }
        }
        let Ok(glob) = name.parse::<Glob>() else {
            prop_assert!(name.is_empty());
            return Ok(());
        };
        let send = NameRules { send: vec![glob.clone()], scratch: vec![glob.clone()] };
        prop_assert_eq!(send.kind_of(&name), NameKind::Ordinary);
        let keep = NameRules { scratch: vec![glob.clone()], ..NameRules::default() };
        prop_assert_eq!(keep.kind_of(&name), NameKind::Scratch);
        let expected = if glob.matches(&other) { NameKind::Scratch } else { lists.kind_of(&other) };
        prop_assert_eq!(keep.kind_of(&other), expected);
    }

    #[test]
    fn a_glob_describes_what_trying_everything_says(
        glob in prop::collection::vec(prop::sample::select(&['a', 'B', '*', '?', 'ß'][..]), 1..7),
        name in prop::collection::vec(prop::sample::select(&['a', 'A', 'b', 'ß', '*'][..]), 0..7),
    ) {
        let small = |letters: &[char]| letters.iter().map(char::to_ascii_lowercase).collect::<Vec<_>>();
        let text: String = glob.iter().collect();
        let parsed: Glob = text.parse().expect("a glob");
        let expected = describes(&small(&glob), &small(&name));
        prop_assert_eq!(parsed.matches(&name.iter().collect::<String>()), expected);
    }
}
