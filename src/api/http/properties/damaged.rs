//! Answers that are cut, bent or no answers at all: nonsense, said in words that a log can bear, and never a panic.

use proptest::prelude::*;

use super::*;
use crate::api::{Call, MAX_PAGE};

const FILE: &str = r#"{"type":"file","id":"file_1","filename":"a\ud83d\ude00/\u0000.txt","mime_type":"text/plain","size_bytes":18446744073709551615,"created_at":"2025-04-15T18:37:24.100435Z","downloadable":true,"scope":{"type":"session","id":"sesn_1"},"expires_at":null}"#;

fn page(rest: &str) -> String {
    format!(r#"{{"data":[{FILE},{FILE}]{rest}}}"#)
}

#[test]
fn an_answer_that_is_cut_at_any_byte_makes_no_sense() {
    let head = head(200, &[]);
    let file = FileId::new("file_1");
    let beta = page(r#","has_more":true,"first_id":"file_1","last_id":"file_1""#);
    let ga = page(r#","next_page":"page_1""#);
    let deleted = r#"{"id":"file_1","type":"file_deleted"}"#;
    assert!(head.file(Call::Metadata, FILE.as_bytes()).is_ok());
    assert!(head.deleted(&file, deleted.as_bytes()).is_ok());
    for end in 0..FILE.len() {
        let error = head
            .file(Call::Upload, &FILE.as_bytes()[..end])
            .unwrap_err();
        assert!(is_nonsense(&error), "{end}");
    }
    for page in [beta, ga] {
        assert_eq!(head.page(page.as_bytes()).unwrap().files.len(), 2);
        for end in 0..page.len() {
            assert!(
                is_nonsense(&head.page(&page.as_bytes()[..end]).unwrap_err()),
                "{end}"
            );
        }
    }
    for end in 0..deleted.len() {
        let error = head.deleted(&file, &deleted.as_bytes()[..end]).unwrap_err();
        assert!(is_nonsense(&error), "{end}");
    }
}

#[test]
fn a_refusal_that_is_cut_at_any_byte_is_known_by_its_status() {
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"No","details":{"error_code":"file_expired"}}}"#;
    let head = head(404, &[("content-type", b"text/\xffhtml")]);
    let whole = head.refusal(Call::Download, body.as_bytes());
    assert_eq!(
        (whole.kind, whole.message.as_str()),
        (ErrorKind::Expired, "No")
    );
    for end in 0..body.len() {
        let cut = head.refusal(Call::Download, &body.as_bytes()[..end]);
        assert_eq!(cut.kind, ErrorKind::NotFound, "{end}");
        assert_eq!(cut.message, "the server answered \"Not Found\"", "{end}");
    }
}

#[test]
fn depth_and_number_are_bounded() {
    let head = head(200, &[]);
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    // Beside what is read nothing is too deep; in place of it everything is.
    let beside = FILE.replacen("\"file\"", &deep, 1);
    assert!(head.file(Call::Metadata, beside.as_bytes()).is_ok());
    for field in ["\"file_1\"", "\"text/plain\"", "null", "true"] {
        let in_place = FILE.replacen(field, &deep, 1);
        let error = head.file(Call::Metadata, in_place.as_bytes()).unwrap_err();
        assert!(is_nonsense(&error));
    }
    for body in [
        deep.clone(),
        format!("{{\"data\":{deep}}}"),
        "{\"data\":[{\"id\":".repeat(100_000),
    ] {
        assert!(is_nonsense(&head.page(body.as_bytes()).unwrap_err()));
    }
    for body in [&deep, &format!("{{\"id\":{deep}}}")] {
        let deleted = head.deleted(&FileId::new("a"), body.as_bytes());
        assert!(is_nonsense(&deleted.unwrap_err()));
    }
    for (count, is_read) in [
        (usize::from(MAX_PAGE), true),
        (usize::from(MAX_PAGE) + 1, false),
    ] {
        let body = format!("{{\"data\":[{}]}}", vec![FILE; count].join(","));
        let read = head.page(body.as_bytes());
        assert_eq!(
            read.as_ref().is_ok_and(|page| page.files.len() == count),
            is_read
        );
        assert!(is_read || is_nonsense(&read.unwrap_err()));
    }
}

/// Values of all types, each in place of a field's own; whether it can be that of a text, a length, a yes or no.
const VALUES: [(&str, [bool; 3]); 18] = [
    ("null", [false, false, false]),
    ("true", [false, false, true]),
    ("1", [false, true, false]),
    ("18446744073709551615", [false, true, false]),
    ("18446744073709551616", [false, false, false]),
    ("-1", [false, false, false]),
    ("1.0", [false, false, false]),
    ("1e3", [false, false, false]),
    ("1e999", [false, false, false]),
    ("01", [false, false, false]),
    ("NaN", [false, false, false]),
    ("\"\"", [true, false, false]),
    ("\"1\"", [true, false, false]),
    ("\"\\ud800\"", [false, false, false]),
    ("[]", [false, false, false]),
    ("{}", [false, false, false]),
    ("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", [false, false, false]),
    ("", [false, false, false]),
];

/// Whether a file is understood of which this field has that value; `None`: it is left out.
fn is_understood(field: &str, value: Option<(&str, [bool; 3])>) -> bool {
    match (field, value) {
        ("downloadable" | "scope" | "expires_at", None) => true,
        ("scope" | "expires_at", Some((value, _))) => value == "null",
        ("filename", Some((value, [is_text, ..]))) => is_text || value == "\"\\ud800\"",
        ("id" | "mime_type", Some((_, [is_text, ..]))) => is_text,
        ("size_bytes", Some((_, [_, is_length, _]))) => is_length,
        ("downloadable", Some((_, [_, _, is_truth]))) => is_truth,
        _ => false,
    }
}

/// A change to an answer's bytes: where (of 10000), how many go, and what comes.
fn changes() -> impl Strategy<Value = Vec<(usize, usize, Vec<u8>)>> {
    const TOKENS: &[&[u8]] = &[
        b"",
        b"\0",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\xff",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"9",
        b"-",
        b"e",
        b"null",
        b" ",
        b"\n",
        b"\xef\xbb\xbf",
    ];
    let token = prop_oneof![
        prop::sample::select(TOKENS).prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec((0..10_000_usize, 0..3_usize, token), 1..4)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_field_that_is_missing_of_another_type_or_there_twice_is_nonsense_and_nothing_else(
        sample in sample(),
        field in prop::sample::select(&[
            "id", "filename", "mime_type", "size_bytes", "created_at", "downloadable", "scope", "expires_at",
        ][..]),
        value in prop::option::of(prop::sample::select(&VALUES[..])),
        twice in any::<bool>(),
    ) {
        let mut object = sample.object;
        let is_there = object.0.iter().any(|(name, _)| name == field);
        let is_twice = twice && is_there && value.is_some();
        if !is_twice {
            object.0.retain(|(name, _)| name != field);
        }
        object.0.extend(value.map(|(value, _)| (field.to_owned(), value.to_owned())));
        let json = object.json();
        match head(200, &[]).file(Call::Metadata, json.as_bytes()) {
            Ok(file) => {
                prop_assert!(!is_twice && is_understood(field, value), "{}", json);
                prop_assert!(field == "id" || file.id == sample.means.id);
                prop_assert!(field == "filename" || file.filename == sample.means.filename);
                prop_assert!(field == "size_bytes" || file.size_bytes == sample.means.size_bytes);
                prop_assert!(field == "expires_at" || file.expires_at == sample.means.expires_at);
            }
            Err(error) => {
                prop_assert!(is_twice || !is_understood(field, value), "{} {}", error, json);
                prop_assert!(is_nonsense(&error));
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_makes_no_sense(sample in sample(), part in 0..10_000_usize, is_page in any::<bool>()) {
        let file = sample.object.json();
        let json = if is_page { format!("{{\"data\":[{file}],\"next_page\":null}}") } else { file };
        let cut = &json.as_bytes()[..json.len() * part / 10_000];
        let head = head(200, &[]);
        let read = if is_page { head.page(cut).map(drop) } else { head.file(Call::Upload, cut).map(drop) };
        prop_assert!(read.is_err_and(|error| is_nonsense(&error)), "{}", json);
    }

    #[test]
    fn a_damaged_answer_is_read_or_nonsense(
        sample in sample(),
        changes in changes(),
        status in prop_oneof![Just(200_u16), 400..600_u16],
        content_type in prop::option::of(hostile_text()),
    ) {
        let mut body = format!("{{\"data\":[{}],\"has_more\":true}}", sample.object.json()).into_bytes();
        for (at, length, bytes) in changes {
            let at = body.len() * at / 10_000;
            let end = (at + length).min(body.len());
            body.splice(at..end, bytes);
        }
        check(&body, status, content_type.as_deref())?;
        // The file alone.
        check(&body[9.min(body.len())..body.len().saturating_sub(18)], status, None)?;
    }

    #[test]
    fn any_bytes_are_read_or_nonsense(
        body in prop::collection::vec(any::<u8>(), 0..60),
        text in hostile_text(),
        status in prop_oneof![Just(200_u16), 100..1000_u16],
    ) {
        check(&body, status, Some(&text))?;
        check(text.as_bytes(), status, None)?;
    }
}

/// Reads the body as everything that it could be.
fn check(body: &[u8], status: u16, content_type: Option<&str>) -> Result<(), TestCaseError> {
    let content_type = content_type.map(heads::as_header);
    let lines = content_type
        .iter()
        .map(|value| ("content-type", value.as_slice()))
        .collect::<Vec<_>>();
    let head = head(status, &lines);
    let failures = [
        head.file(Call::Metadata, body).err(),
        head.page(body).err(),
        head.deleted(&FileId::new("file_1"), body).err(),
    ];
    for error in failures.into_iter().flatten() {
        prop_assert!(
            is_nonsense(&error) && error.status == Some(status),
            "{:?}",
            error
        );
    }
    let refusal = head.refusal(Call::List, body);
    prop_assert!(
        is_tidy(&refusal.message) && !refusal.message.is_empty(),
        "{:?}",
        refusal
    );
    prop_assert_eq!(refusal.status, Some(status));
    prop_assert!(refusal.request_id.is_none_or(|id| is_tidy(&id)));
    Ok(())
}
