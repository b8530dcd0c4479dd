//! What the service called a file or a page goes back as it came: one segment of a path, one value of a query.

use proptest::prelude::*;
use reqwest::Url;

use super::super::dialect::add_query;
use super::super::endpoint::Endpoint;
use super::*;
use crate::api::{Call, Cursor, ListQuery};

/// The bytes that a path's segment stands for.
fn decoded(segment: &str) -> Vec<u8> {
    let mut parts = segment.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        out.push(u8::from_str_radix(digits, 16).expect("two digits"));
        out.extend(rest.as_bytes());
    }
    out
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        text().prop_map(|text| text.means),
        hostile_text(),
        pattern("\\.{0,4}|(%2e|\\.|/){1,4}")
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_id_stays_one_segment_of_the_path(id in id(), prefix in prop::sample::select(&["", "/", "/p", "/a/b/"][..])) {
        let endpoint = Endpoint::new(&format!("https://service.example{prefix}"), false).expect("an endpoint");
        match endpoint.file(Call::Download, &FileId::new(id.clone()), "/content") {
            Ok(url) => {
                prop_assert_eq!(url.host_str(), Some("service.example"));
                prop_assert!(url.query().is_none() && url.fragment().is_none());
                let begin = format!("{}/v1/files/", prefix.trim_end_matches('/'));
                let segment = url.path().strip_prefix(&begin).and_then(|rest| rest.strip_suffix("/content"));
                let segment = segment.expect("its place");
                prop_assert!(!segment.contains('/'));
                prop_assert_eq!(decoded(segment), id.as_bytes());
            }
            Err(error) => {
                prop_assert!(matches!(id.as_str(), "" | "." | ".."));
                prop_assert_eq!(error.kind, ErrorKind::Refused);
            }
        }
    }

    #[test]
    fn a_cursor_goes_back_in_the_words_it_came_in(
        id in id(),
        token in any::<bool>(),
        scope_id in prop::option::of(id()),
        limit in 1..=1000_u16,
    ) {
        let cursor = if token { Cursor::Page(id.clone()) } else { Cursor::After(FileId::new(id.clone())) };
        let mut url = Url::parse("https://service.example/v1/files").expect("a URL");
        add_query(&mut url, &ListQuery { cursor, limit, scope_id: scope_id.clone() });
        let mut expected = vec![
            ("limit".to_owned(), limit.to_string()),
            (if token { "page" } else { "after_id" }.to_owned(), id),
        ];
        expected.extend(scope_id.map(|id| ("scope_id".to_owned(), id)));
        prop_assert_eq!(url.query_pairs().into_owned().collect::<Vec<_>>(), expected);
        prop_assert_eq!(url.path(), "/v1/files");
    }
}
