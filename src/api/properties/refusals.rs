//! What a refusal means: told by its code, then by its status, and by its words only where that is all there is.

use proptest::prelude::*;

use super::super::classify::{Refusal, classify};
use super::super::{ApiError, Call, ErrorKind};
use super::{call, config, failure, hostile_text};

/// The codes of the official clients, and what is none of them.
const CODES: [(&str, Option<ErrorKind>); 11] = [
    ("file_not_downloadable", Some(ErrorKind::NotDownloadable)),
    ("storage_quota_exceeded", Some(ErrorKind::StorageFull)),
    ("file_expired", Some(ErrorKind::Expired)),
    ("organization_on_hold", Some(ErrorKind::Forbidden)),
    (
        "claude_code_key_creator_not_member",
        Some(ErrorKind::Forbidden),
    ),
    ("cmek_key_disabled", Some(ErrorKind::Forbidden)),
    ("cmek_key_network_blocked", Some(ErrorKind::Forbidden)),
    ("", None),
    ("FILE_EXPIRED", None),
    ("file_expired ", None),
    ("not_found_error", None),
];

/// Words that are looked for, in any order and with anything between them.
fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "File not found: file_1",
        "file not found",
        "not downloadable",
        "NOT DOWNLOADABLE",
        "storage",
        "Storage ",
        "limit",
        "quota",
        "exceeded",
        "full",
        "not_found_error",
        "permission_error",
        "invalid_request_error",
        "İ",
        "ſ",
    ];
    let word = prop_oneof![
        prop::sample::select(WORDS).prop_map(str::to_owned),
        hostile_text()
    ];
    prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_code_is_believed_before_anything_else(
        call in call(),
        status in 100..1000_u16,
        error_type in words(),
        message in words(),
        (error_code, meant) in prop::sample::select(&CODES[..]),
    ) {
        let refusal = Refusal { status, error_type: &error_type, error_code, message: &message };
        let uncoded = Refusal { error_code: "", ..refusal };
        let expected = meant.unwrap_or_else(|| classify(call, uncoded));
        prop_assert_eq!(classify(call, refusal), expected);
    }

    #[test]
    fn words_decide_only_where_a_status_means_several_things(
        call in call(),
        status in prop_oneof![100..1000_u16, prop::sample::select(&[400, 403, 404, 408, 409, 429, 500, 529][..])],
        error_type in words(),
        message in words(),
    ) {
        let refusal = Refusal { status, error_type: &error_type, error_code: "", message: &message };
        let kind = classify(call, refusal);
        if !matches!(status, 400 | 403) {
            let silent = Refusal { status, ..Refusal::default() };
            prop_assert_eq!(kind, classify(call, silent));
        }
        // A file is given up as gone, an upload as sent in vain, for these statuses alone.
        let gone = matches!(status, 400 | 403 | 404 | 410);
        prop_assert!(kind != ErrorKind::NotFound || gone);
        prop_assert!(kind != ErrorKind::NotDownloadable || call == Call::Download && gone);
        prop_assert!(kind != ErrorKind::StorageFull || call == Call::Upload && gone);
        prop_assert!(kind != ErrorKind::Expired);
        // Who refuses after all or in trouble may have stored the file before: it is looked for, not sent again.
        let error = ApiError { status: Some(status), ..ApiError::local(call, kind, "no") };
        let is_refused = matches!(status, 400..=499) && !matches!(status, 408 | 409 | 425);
        prop_assert_eq!(error.may_have_happened(), !is_refused);
        prop_assert_eq!(kind == ErrorKind::RateLimited, status == 429);
        prop_assert_eq!(error.may_be_under_way(), matches!(status, 408 | 502 | 504));
    }

    #[test]
    fn what_may_be_under_way_may_have_happened_and_what_the_service_says_of_retries_counts(
        error in failure(),
    ) {
        prop_assert!(error.may_have_happened() || !error.may_be_under_way());
        if let Some(should_retry) = error.should_retry {
            prop_assert_eq!(error.is_transient(), should_retry);
        }
        // A limit, and a connection that never was, are the only ones that pass without having done anything.
        let is_clean = matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Unreachable);
        let plain = ApiError { should_retry: None, ..error };
        prop_assert!(!plain.is_transient() || plain.may_have_happened() != is_clean);
    }
}
