//! What went wrong of late: the last failed calls, as somebody would send them to the service's support.
//!
//! What counts is what a call came to. A try that was repeated and went well is in the log only; a save's every try
//! counts, for it is repeated minutes later, and so does a download that broke off, though it may have been taken up again.
//! An answer is no failure: that there is no file of an id, which programs ask for, or that one is gone that was to be
//! deleted. Nor is a refusal for the rate: it is waited for, and only when that was in vain it is one.
//!
//! The same failure of the same file stands here once, with how often it came: one save that the service refuses every half
//! minute must not hide everything else.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::{ApiError, Call, ErrorKind, FileId};

/// How many are kept.
const KEPT: usize = 10;

/// Which file a call was about, as far as the call says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An upload under this name.
    Name(String),
    /// The file of this id.
    Id(FileId),
    /// No single one.
    Listing,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When; the last time where it came several times.
    pub at: Timestamp,
    /// Of which file.
    pub subject: Subject,
    /// What failed, and why; the last time.
    pub error: ApiError,
    /// How often it came.
    pub times: u32,
}

/// The last failed calls, oldest first.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Failure>);

impl Failures {
    pub(super) fn add(&mut self, at: Timestamp, subject: Subject, error: ApiError) {
        let is_same = |failure: &Failure| {
            let known = (failure.error.call, failure.error.kind);
            known == (error.call, error.kind) && failure.subject == subject
        };
        let before = self.0.iter().position(is_same);
        let before = before.and_then(|place| self.0.remove(place));
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(Failure {
            at,
            subject,
            error,
            times: before.map_or(0, |before| before.times).saturating_add(1),
        });
    }

    pub(super) fn all(&self) -> Vec<Failure> {
        self.0.iter().cloned().collect()
    }
}

/// Whether what a call came to is a failure. `is_repeated` says that who calls tries again by a schedule of its own.
pub(super) fn is_failure(error: &ApiError, is_repeated: bool) -> bool {
    match (error.kind, error.call) {
        (ErrorKind::NotFound, Call::Metadata | Call::Delete | Call::List) => false,
        // Without a status it was not even sent.
        (ErrorKind::RateLimited, _) => !is_repeated || error.status.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(call: Call, kind: ErrorKind, request: &str) -> ApiError {
        ApiError {
            request_id: Some(request.to_owned()),
            ..ApiError::local(call, kind, "no")
        }
    }

    fn said(failures: &Failures) -> Vec<(String, u32)> {
        let all = failures.all().into_iter();
        all.map(|f| (f.error.request_id.unwrap(), f.times))
            .collect()
    }

    #[test]
    fn the_last_ten_are_kept_and_the_same_one_stands_once() {
        let mut failures = Failures::default();
        let mut add = |name: &str, kind, request: &str| {
            let subject = Subject::Name(name.to_owned());
            failures.add(
                Timestamp::UNIX_EPOCH,
                subject,
                error(Call::Upload, kind, request),
            );
            said(&failures)
        };
        add("a", ErrorKind::Unavailable, "1");
        add("b", ErrorKind::Unavailable, "2");
        add("a", ErrorKind::StorageFull, "3");
        let expected = [("2", 1), ("3", 1), ("4", 2)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(add("a", ErrorKind::Unavailable, "4"), expected);
        for n in 5..14 {
            add(&n.to_string(), ErrorKind::Unavailable, &n.to_string());
        }
        let all = said(&failures);
        assert_eq!(all.len(), KEPT);
        assert_eq!(all[0], ("4".to_owned(), 2));
        assert_eq!(all[9], ("13".to_owned(), 1));
    }

    #[test]
    fn an_answer_and_a_limit_that_is_waited_for_are_no_failures() {
        use ErrorKind::*;
        for (call, kind, status, is_repeated, expected) in [
            (Call::Metadata, NotFound, Some(404), false, false),
            (Call::Delete, NotFound, Some(404), true, false),
            (Call::Download, NotFound, Some(404), false, true),
            (Call::Upload, RateLimited, Some(429), true, false),
            (Call::Upload, RateLimited, None, true, true),
            (Call::Download, RateLimited, Some(429), false, true),
            (Call::Upload, Unavailable, Some(529), true, true),
            (Call::List, Unauthorized, Some(401), false, true),
            (Call::Upload, Unreachable, None, true, true),
        ] {
            let error = ApiError {
                status,
                ..error(call, kind, "1")
            };
            assert_eq!(is_failure(&error, is_repeated), expected, "{error}");
        }
    }
}
