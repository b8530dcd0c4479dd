//! What is said in either dialect is understood, exactly as it is said.

use proptest::prelude::*;

use super::*;
use crate::api::classify::{Refusal, classify};
use crate::api::properties::call;
use crate::api::{Call, Cursor};

/// What a page says of how to go on.
fn tail(
    is_beta: bool,
    is_ga: bool,
    has_more: bool,
    token: &Maybe<Text>,
    last_id: &Maybe<Text>,
) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut push = |name: &str, value: String| fields.push((name.to_owned(), value));
    if is_beta {
        push("has_more", has_more.to_string());
        match last_id {
            Maybe::Absent => {}
            Maybe::Null => push("last_id", "null".to_owned()),
            Maybe::There(id) => push("last_id", id.json.clone()),
        }
    }
    if is_ga {
        match token {
            Maybe::Absent => {}
            Maybe::Null => push("next_page", "null".to_owned()),
            Maybe::There(token) => push("next_page", token.json.clone()),
        }
    }
    fields
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_files_metadata_is_understood_as_it_is_said(sample in sample()) {
        let json = sample.object.json();
        let file = head(200, &[]).file(Call::Metadata, json.as_bytes());
        prop_assert_eq!(file, Ok(sample.means), "{}", json);
    }

    #[test]
    fn a_page_of_either_dialect_is_understood_as_it_is_said(
        samples in prop::collection::vec(sample(), 0..3),
        (is_beta, is_ga, has_more) in any::<(bool, bool, bool)>(),
        token in maybe(text()),
        last_id in maybe(text()),
        extras in extras(),
        turn in 0..8_usize,
        date in 0..4_000_000_000_i64,
    ) {
        let data: Vec<String> = samples.iter().map(|sample| sample.object.json()).collect();
        let mut fields = tail(is_beta, is_ga, has_more, &token, &last_id);
        fields.push(("data".to_owned(), format!("[{}]", data.join(","))));
        let extras: Vec<_> = extras.into_iter().filter(|(name, _)| *name != "data").collect();
        let json = Object(fields).mixed(&extras, turn).json();

        let files: Vec<FileMetadata> = samples.into_iter().map(|sample| sample.means).collect();
        let token = token.there().filter(|_| is_ga).map(|token| token.means.clone());
        let last_id = last_id.there().map(|id| FileId::new(id.means.clone()));
        let last_id = last_id.or(files.last().map(|file| file.id.clone()));
        let next = match (token, is_beta && has_more, last_id) {
            (Some(token), ..) => Ok(Some(Cursor::Page(token))),
            (None, true, Some(id)) => Ok(Some(Cursor::After(id))),
            (None, true, None) => Err(()),
            (None, false, _) => Ok(None),
        };
        let date = Timestamp::from_second(date).unwrap();
        let said = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        match head(200, &[("date", said.as_bytes())]).page(json.as_bytes()) {
            Ok(page) => {
                prop_assert_eq!(page.files, files);
                prop_assert_eq!(Ok(page.next), next);
                prop_assert_eq!(page.date, Some(date));
            }
            Err(error) => prop_assert!(next.is_err() && is_nonsense(&error), "{} {}", error, json),
        }
    }

    #[test]
    fn a_deletion_is_done_where_the_answer_is_not_about_another_file(
        id in text(),
        said in maybe(text()),
        is_same in any::<bool>(),
        extras in extras(),
        status in prop::sample::select(&[200_u16, 204][..]),
    ) {
        let said = match said {
            Maybe::There(_) if is_same => Maybe::There(id.clone()),
            said => said,
        };
        let fields = match &said {
            Maybe::Absent => vec![],
            Maybe::Null => vec![("id".to_owned(), "null".to_owned())],
            Maybe::There(said) => vec![("id".to_owned(), said.json.clone())],
        };
        let json = Object(fields).mixed(&extras, 1).json();
        let done = head(status, &[]).deleted(&FileId::new(id.means.clone()), json.as_bytes());
        let is_other = said.there().is_some_and(|said| said.means != id.means);
        match done {
            Ok(()) => prop_assert!(status == 204 || !is_other),
            Err(error) => prop_assert!(status == 200 && is_other && is_nonsense(&error)),
        }
    }

    #[test]
    fn a_refusal_is_understood_as_it_is_said(
        call in call(),
        status in prop_oneof![prop::sample::select(&[400_u16, 403, 404, 429, 500][..]), 300..1000_u16],
        (error_type, message) in (maybe_text(), maybe_text()),
        error_code in prop::option::of(maybe(text())),
        request_id in maybe(text()),
        by_header in prop::option::of(pattern("[!-~]{1,9}")),
        extras in extras(),
    ) {
        let mut error = Vec::new();
        error.extend(error_type.iter().map(|text| ("type".to_owned(), text.json.clone())));
        error.extend(message.iter().map(|text| ("message".to_owned(), text.json.clone())));
        error.extend(error_code.iter().map(|code| {
            let details = match code {
                Maybe::Absent => "null".to_owned(),
                Maybe::Null => "{\"error_code\":null,\"x\":[1]}".to_owned(),
                Maybe::There(code) => format!("{{\"x\":{{}},\"error_code\":{}}}", code.json),
            };
            ("details".to_owned(), details)
        }));
        let extras: Vec<_> = extras.into_iter().filter(|(name, _)| !matches!(*name, "type" | "details")).collect();
        let mut fields = vec![("error".to_owned(), Object(error).mixed(&extras, 2).json())];
        match &request_id {
            Maybe::Absent => {}
            Maybe::Null => fields.push(("request_id".to_owned(), "null".to_owned())),
            Maybe::There(id) => fields.push(("request_id".to_owned(), id.json.clone())),
        }
        let json = Object(fields).mixed(&extras, 1).json();
        let lines = by_header.iter().map(|id| ("request-id", id.as_bytes())).collect::<Vec<_>>();
        let read = head(status, &lines).refusal(call, json.as_bytes());

        let means = |text: &Option<Text>| text.as_ref().map(|text| text.means.clone()).unwrap_or_default();
        let (error_type, message) = (means(&error_type), means(&message));
        let code = error_code.as_ref().and_then(Maybe::there).map(|code| code.means.clone()).unwrap_or_default();
        let said = Refusal { status, error_type: &error_type, error_code: &code, message: &message };
        prop_assert_eq!(read.kind, classify(call, said));
        prop_assert_eq!((read.call, read.status), (call, Some(status)));
        prop_assert!(is_tidy(&read.message) && !read.message.is_empty());
        if !message.is_empty() {
            prop_assert_eq!(&read.message, &tidied(&message));
        }
        let id = by_header.or(request_id.there().map(|id| tidied(&id.means)));
        prop_assert_eq!(read.request_id, id);
    }
}

fn maybe_text() -> impl Strategy<Value = Option<Text>> {
    prop::option::weighted(0.8, text())
}

/// The first 500 characters, those that a terminal would obey as spaces.
fn tidied(text: &str) -> String {
    text.chars()
        .take(500)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
