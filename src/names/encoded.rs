//! The encoding style: what is typed comes back as it was typed, and what is listed can be shown whatever it is.

use proptest::prelude::*;

use super::NameStyle::{Encode, Strict};
use super::properties::is_entry;
use super::*;
use crate::api::properties::config;

#[test]
fn names_are_stored_with_look_alikes_and_shown_as_they_were_typed() {
    for (name, filename) in [
        ("report.pdf", "report.pdf"),
        ("Meeting 10:30.pdf", "Meeting 10：30.pdf"),
        ("<>:\"|?*\\", "＜＞：＂｜？＊＼"),
        ("a：b", "a‛：b"),
        ("a‛：b", "a‛‛‛：b"),
        ("a‛:b", "a‛‛：b"),
        ("‛", "‛"),
        ("‛‛", "‛‛‛"),
        ("it‛s", "it‛s"),
        ("‛?‛", "‛‛？‛"),
        // No look-alikes of these eight: they are left alone, and so are escapes.
        ("a／b！", "a／b！"),
        ("100%2F", "100%2F"),
        ("%empty", "%empty"),
        ("%2E%2E", "%2E%2E"),
    ] {
        assert_eq!(Encode.filename(name).as_deref(), Ok(filename), "{name}");
        assert_eq!(Encode.directory_name(filename), name, "{filename}");
        assert_eq!(Encode.typed_name(filename), name, "{filename}");
        assert!(Encode.fits(filename));
    }
}

#[test]
fn every_look_alike_is_one_of_the_characters_the_service_refuses() {
    for c in ' '..='~' {
        let name = format!("a{c}b");
        let is_refused = check_new_name(&name).is_err() && c != '/';
        assert_eq!(wide::is_encodable(c), is_refused, "{c}");
        let wide = wide::wide(c).to_string();
        let shown = Encode.directory_name(&wide);
        assert_eq!(shown == c.to_string(), is_refused, "{c} {wide}");
    }
}

#[test]
fn what_others_store_is_shown_whatever_it_is() {
    for (filename, name) in [
        ("", "%empty"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("a/b：c", "a%2Fb:c"),
        ("line\nfeed？", "line%0Afeed?"),
        ("a:b", "a:b"),
        ("‛‛a", "‛a"),
        ("‛‛", "‛"),
    ] {
        assert_eq!(Encode.directory_name(filename), name, "{filename:?}");
    }
    // Of what is cut the extension stays.
    let long = format!("{}.pdf", "ä：".repeat(100));
    assert!(!Encode.fits(&long));
    assert!(Encode.directory_name(&long).ends_with(".pdf"));
    // What is too long for a directory in one style may fit in the other.
    let wide = "：".repeat(200);
    assert!(Encode.fits(&wide) && !Strict.fits(&wide));
}

#[test]
fn refusals_say_what_is_wrong_with_the_name() {
    let (longest, longer) = (":".repeat(85), ":".repeat(86));
    assert!(Encode.filename(&longest).is_ok());
    for (style, name, expected) in [
        (Encode, &*longer, NameError::TooLongStored),
        (Strict, &*longer, NameError::Refused(':')),
        (Encode, &"a".repeat(256), NameError::TooLong),
        (Encode, &":".repeat(256), NameError::TooLong),
        (Encode, "a\n:", NameError::Refused('\n')),
        (Encode, "a/b", NameError::Refused('/')),
        (Encode, "..", NameError::NotAName),
        (Strict, "a?", NameError::Refused('?')),
    ] {
        assert_eq!(style.filename(name), Err(expected), "{name}");
    }
    let said = NameError::Refused('?').to_string();
    assert!(said.ends_with("--names encode stores it as ？"), "{said}");
    let said = NameError::Refused('\n').to_string();
    assert!(!said.contains("--names"), "{said}");
}

#[test]
fn a_style_is_read_as_it_is_written() {
    for style in [Strict, Encode] {
        assert_eq!(style.as_str().parse(), Ok(style));
    }
    assert_eq!("Encode".parse::<NameStyle>(), Err(UnknownStyle));
}

/// Names in which everything the style cares about is frequent, and now and then far too long.
fn name() -> impl Strategy<Value = String> {
    const TOKENS: &[&str] = &[
        "‛", "‛‛", "：", "？", "＼", "＜", "＞", "＂", "｜", "＊", ":", "?", "\\", "<", ">", "\"",
        "|", "*", "／", "/", "！", "%", "%2F", "%empty", ".", "..", ".pdf", "a", "ä", "\n",
        "\u{85}", ".afs", "~",
    ];
    let token = prop_oneof![
        8 => prop::sample::select(TOKENS).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let times = prop_oneof![10 => Just(1), 1 => 2..80_usize];
    (prop::collection::vec(token, 0..8), times)
        .prop_map(|(tokens, times)| tokens.concat().repeat(times))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_typed_comes_back_as_it_was_typed(name in name()) {
        match Encode.filename(&name) {
            Ok(filename) => {
                prop_assert_eq!(Encode.directory_name(&filename), &*name, "{:?}", filename);
                prop_assert!(Encode.fits(&filename));
                prop_assert_eq!(check_new_name(&filename), Ok(()));
                prop_assert_eq!(Encode.sent_again(&filename), &*filename);
            }
            Err(NameError::TooLong) => prop_assert!(name.len() > MAX_NAME),
            Err(NameError::TooLongStored) => {
                prop_assert!(name.len() <= MAX_NAME && 3 * name.len() > MAX_NAME);
            }
            Err(NameError::Refused(c)) => {
                prop_assert!(name.contains(c) && (c == '/' || c.is_control()));
            }
            Err(NameError::NotAName) => prop_assert!(matches!(&*name, "" | "." | "..")),
        }
        prop_assert_eq!(Strict.filename(&name).map(|_| ()), check_new_name(&name));
    }

    #[test]
    fn no_two_names_are_stored_alike(name in name(), other in name()) {
        let (shown, again) = (Encode.directory_name(&name), Encode.filename(&name));
        let again = again.as_deref().unwrap_or(&name);
        for near in [&*other, &*shown, again] {
            if let (Ok(one), Ok(two)) = (Encode.filename(&name), Encode.filename(near)) {
                prop_assert_eq!(one == two, name == near, "{:?} {:?}", name, near);
            }
        }
    }

    #[test]
    fn whatever_is_listed_is_an_entry_and_can_be_sent_again(filename in name()) {
        for style in [Strict, Encode] {
            let shown = style.directory_name(&filename);
            prop_assert!(is_entry(&shown), "{:?}", shown);
            prop_assert!(is_entry(&style.name_of(&filename, true)));
        }
        let sent = Encode.sent_again(&filename);
        if sent != filename {
            prop_assert_eq!(check_new_name(&sent), Ok(()));
            prop_assert_eq!(Encode.directory_name(&sent), Encode.directory_name(&filename));
        }
        prop_assert_eq!(Strict.sent_again(&filename), filename.as_str());
    }

    #[test]
    fn a_suffix_can_be_given_to_another_name(name in name(), other in name(), id in "[a-z0-9]{1,20}") {
        let (before, after) = (Strict.directory_name(&name), Encode.directory_name(&other));
        let had = suffixed(&before, &id, |_| false);
        let suffix = suffix_of(&had, &before).expect("a suffix");
        let has = suffixed(&after, suffix, |_| false);
        prop_assert_eq!(suffix_of(&has, &after), Some(suffix));
        prop_assert!(id.ends_with(suffix));
    }
}
