//! Tables for the names people and tools really use; properties for the rest.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn harmless_names_stay_as_they_are() {
    for name in [
        "report.pdf",
        "100%.txt",
        "a%20b.txt",
        "50%2f.txt",
        "%",
        "%%",
        "%2",
        "%C2.txt",
        "%2E.txt",
        ".hidden",
        "...",
        "Ünïcödé.txt",
        "U\u{0308}.txt",
        "报告.md",
        "a b  c",
        "back\\slash",
        "what?*<>|\".txt",
        "\u{202E}gnp.exe",
        "-rf",
        "~",
    ] {
        assert_eq!(directory_name(name), name);
        assert_eq!(service_name(name), name);
        assert!(fits(name));
    }
}

#[test]
fn hostile_names_are_mapped_and_back() {
    for (filename, entry) in [
        ("", "%empty"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("%empty", "%25empty"),
        ("%2E", "%252E"),
        ("%2E%2E", "%252E%2E"),
        ("/", "%2F"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("a/b.txt", "a%2Fb.txt"),
        ("a%2Fb.txt", "a%252Fb.txt"),
        ("a%25", "a%2525"),
        ("nul\0.txt", "nul%00.txt"),
        ("line\nfeed", "line%0Afeed"),
        ("%\n", "%%0A"),
        ("\u{1b}[31mred", "%1B[31mred"),
        ("del\u{7f}", "del%7F"),
        ("c1\u{9b}31m", "c1%C2%9B31m"),
        ("c1%C2%9B31m", "c1%25C2%9B31m"),
        ("%C2\u{80}", "%C2%C2%80"),
    ] {
        assert_eq!(directory_name(filename), entry, "{filename:?}");
        assert_eq!(service_name(entry), filename, "{entry:?}");
    }
}

#[test]
fn long_names_are_cut_on_a_character_and_keep_their_extension() {
    let long = format!("{}.pdf", "ä".repeat(200));
    let entry = directory_name(&long);
    assert_eq!(entry, format!("{}.pdf", "ä".repeat(125)));
    assert!(!fits(&long));

    // Escapes count as they are written.
    let slashes = "/".repeat(86);
    assert!(!fits(&slashes));
    assert!(directory_name(&slashes).len() <= MAX_NAME);

    // What follows the dot of a sentence is no extension.
    let sentence = format!("Mr. {}", "x".repeat(300));
    assert_eq!(directory_name(&sentence).len(), MAX_NAME);
}

#[test]
fn a_suffix_stands_before_the_extension() {
    let id = "file_011CNha8iCJcU1wXNR6q4V8w";
    for (name, expected) in [
        ("report.pdf", "report~NR6q4V8w.pdf"),
        ("a.tar.gz", "a.tar~NR6q4V8w.gz"),
        ("README", "README~NR6q4V8w"),
        (".bashrc", ".bashrc~NR6q4V8w"),
        (".config.json", ".config~NR6q4V8w.json"),
        ("dot.", "dot.~NR6q4V8w"),
        ("...", "...~NR6q4V8w"),
    ] {
        assert_eq!(suffixed(name, id, |_| false), expected);
    }
}

#[test]
fn a_suffix_grows_until_it_is_unique() {
    let taken: HashSet<&str> = ["a~cdefghij.txt", "a~bcdefghij.txt"].into();
    let is_taken = |name: &str| taken.contains(name);
    assert_eq!(
        suffixed("a.txt", "abcdefghij", is_taken),
        "a~abcdefghij.txt"
    );
    assert_eq!(suffixed("a.txt", "xcdefghij", is_taken), "a~xcdefghij.txt");
    assert_eq!(suffixed("a.txt", "cdefghij", is_taken), "a~cdefghij~2.txt");
    assert_eq!(suffixed("a.txt", "id1", is_taken), "a~id1.txt");
    assert_eq!(suffixed("a.txt", "", |n| n == "a~.txt"), "a~~2.txt");
    assert_eq!(suffixed("a", "../../xy/z", is_taken), "a~%2F..%2Fxy%2Fz");
}

#[test]
fn new_names_are_held_to_the_services_rules() {
    let longest = "x".repeat(255);
    for name in [
        "a", "a b.txt", ".hidden", "...", "Ünï.md", "a%2Fb", "~", &longest,
    ] {
        assert_eq!(check_new_name(name), Ok(()), "{name:?}");
    }
    for c in "<>:\"|?*\\/\0\n\u{1f}\u{7f}\u{85}".chars() {
        assert_eq!(
            check_new_name(&format!("a{c}b")),
            Err(NameError::Refused(c))
        );
    }
    for name in ["", ".", ".."] {
        assert_eq!(check_new_name(name), Err(NameError::NotAName));
    }
    // Bytes count, and the length is looked at first.
    assert_eq!(check_new_name(&"ä".repeat(128)), Err(NameError::TooLong));
    assert_eq!(check_new_name(&"?".repeat(256)), Err(NameError::TooLong));
}

/// Text in which everything the escape cares about is frequent.
fn nasty() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("%".to_owned()),
        Just("/".to_owned()),
        Just(".".to_owned()),
        Just("%2".to_owned()),
        Just("%25".to_owned()),
        Just("%2E".to_owned()),
        Just("%2F".to_owned()),
        Just("%C2".to_owned()),
        Just("%empty".to_owned()),
        "[0-9A-F]{1,2}",
        "[\u{0}-\u{1f}\u{7f}-\u{9f}]",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn what_fits_comes_back(name in nasty()) {
        let entry = directory_name(&name);
        prop_assert!(!entry.is_empty() && entry.len() <= MAX_NAME);
        prop_assert!(entry != "." && entry != "..");
        prop_assert!(!entry.contains(|c: char| c == '/' || c.is_control()));
        if fits(&name) {
            prop_assert_eq!(service_name(&entry), name.as_str());
        }
    }

    #[test]
    fn long_names_fit_in_the_end(name in "\\PC{0,400}(\\.[a-zä]{0,80})?") {
        let entry = directory_name(&name);
        prop_assert!(!entry.is_empty() && entry.len() <= MAX_NAME);
    }

    #[test]
    fn suffixed_names_are_entries_and_unique(
        name in "\\PC{0,90}(\\.[a-zä]{0,80})?",
        id in "[-_a-z0-9/ä]{0,300}",
        collisions in 0usize..400,
    ) {
        let seen = std::cell::RefCell::new(HashSet::new());
        let result = suffixed(&directory_name(&name), &id, |candidate| {
            seen.borrow_mut().insert(candidate.to_owned());
            seen.borrow().len() <= collisions
        });
        // Every refused candidate was another one, so that the search ends.
        prop_assert_eq!(seen.borrow().len(), collisions + 1);
        prop_assert!(!result.is_empty() && result.len() <= MAX_NAME);
        prop_assert!(result.contains('~') && !result.contains('/'));
    }
}
