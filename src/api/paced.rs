//! [`Paced`]: the service as one part of the house sees it, that asks for its turn before each request and repeats what
//! may be repeated. Each part has one of its own, over the same client and the same [`Budget`].

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::{Budget, Class};
use super::failures::is_failure;
use super::policy::Policy;
use super::retry::{Pace, SystemPace};
use super::{
    ApiError, Call, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi, InLine,
    ListQuery, Subject, Upload,
};

/// How long anything is tried while the service is in trouble: once a call was given up, nobody waits for another one as
/// long until something gets through. Looking through a directory must not cost a minute for each of its files.
const AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// Which failures are met by another try here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Those of all calls but uploads.
    Passing,
    /// None: who calls has a schedule of its own.
    Nothing,
}

/// A service whose requests wait for their turn.
pub struct Paced {
    api: Arc<dyn FilesApi>,
    budget: Arc<Budget>,
    class: Class,
    policy: Policy,
    repeats: Repeats,
}

impl std::fmt::Debug for Paced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paced")
            .field("class", &self.class)
            .field("policy", &self.policy)
            .field("repeats", &self.repeats)
            .finish_non_exhaustive()
    }
}

impl Paced {
    /// The requests of `class` over a client that tells the same budget what its answers say of limits.
    pub fn new(
        api: Arc<dyn FilesApi>,
        budget: Arc<Budget>,
        class: Class,
        patience: Duration,
        repeats: Repeats,
    ) -> Self {
        Self {
            api,
            budget,
            class,
            policy: Policy { patience },
            repeats,
        }
    }

    /// Makes a call, and again where that may help. The last failure is the answer then, and noted.
    fn call<T>(
        &self,
        call: Call,
        subject: Subject,
        ask: impl FnMut() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.noting(subject, self.repeated(call, ask))
    }

    fn noting<T>(&self, subject: Subject, result: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(error) = &result
            && is_failure(error, self.repeats == Repeats::Nothing)
        {
            self.budget.failed(subject, error.clone());
        }
        result
    }

    fn repeated<T>(
        &self,
        call: Call,
        mut ask: impl FnMut() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let begun = Instant::now();
        let mut in_line = Duration::ZERO;
        let mut attempt = 0;
        loop {
            let error = match self.once(call, begun, &mut ask) {
                Err(error) if self.repeats == Repeats::Passing => error,
                result => return result,
            };
            in_line += error.line.map_or(Duration::ZERO, |line| line.waited);
            let still = match error.kind {
                ErrorKind::RateLimited => begun.elapsed(),
                // The line is no trouble of what comes after it.
                _ => begun.elapsed().saturating_sub(in_line),
            };
            let random = SystemPace::new().random();
            let Some(wait) = self.policy().repeats(&error, attempt, still, random) else {
                if error.is_transient() && error.kind != ErrorKind::RateLimited {
                    self.budget.gave_up();
                }
                return Err(error);
            };
            log::info!("{error}; it is asked again in {wait:?}");
            // A limit holds everybody: the line itself waits.
            if error.kind != ErrorKind::RateLimited {
                SystemPace::new().sleep(wait);
            }
            attempt += 1;
        }
    }

    /// Makes a call once, when it is its turn.
    fn once<T>(
        &self,
        call: Call,
        begun: Instant,
        ask: &mut dyn FnMut() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let patience = self.policy.patience_with_limits();
        let turn = self.budget.turn(call, self.class, begun, patience)?;
        let waited = turn.waited;
        let result = ask();
        turn.ended(&result);
        result.map_err(|error| ApiError {
            line: Some(InLine {
                waited,
                quiet: self.budget.quiet(),
            }),
            ..error
        })
    }

    fn policy(&self) -> Policy {
        if self.budget.is_away() {
            Policy {
                patience: self.policy.patience.min(AWAY_PATIENCE),
            }
        } else {
            self.policy
        }
    }
}

impl FilesApi for Paced {
    /// Once: the body is gone with the first try, and who uploads looks before a second one.
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        let subject = Subject::Name(upload.filename.clone());
        let mut upload = Some(upload);
        let mut send = || match upload.take() {
            Some(upload) => self.api.upload(upload),
            None => Err(ApiError::local(
                Call::Upload,
                ErrorKind::Body,
                "it was sent already",
            )),
        };
        self.noting(subject, self.once(Call::Upload, Instant::now(), &mut send))
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        self.call(Call::List, Subject::Listing, || self.api.list(query))
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        let subject = Subject::Id(id.clone());
        self.call(Call::Metadata, subject, || self.api.metadata(id))
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        let subject = Subject::Id(id.clone());
        let ask = || self.api.download(id, from);
        let download = self.call(Call::Download, subject.clone(), ask)?;
        Ok(Download {
            body: Box::new(Noting {
                body: download.body,
                subject,
                budget: Arc::clone(&self.budget),
            }),
            ..download
        })
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        let subject = Subject::Id(id.clone());
        self.call(Call::Delete, subject, || self.api.delete(id))
    }
}

/// A download's bytes; notes where they break off.
struct Noting {
    body: Box<dyn Read + Send>,
    subject: Subject,
    budget: Arc<Budget>,
}

impl Read for Noting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer);
        if let Err(error) = &read
            && let Some(cause) = error.get_ref().and_then(|e| e.downcast_ref::<ApiError>())
        {
            self.budget.failed(self.subject.clone(), cause.clone());
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Answers deletions as it was told to, and counts them.
    #[derive(Default)]
    struct Scripted {
        answers: Mutex<VecDeque<Result<(), ApiError>>>,
        asked: Mutex<usize>,
    }

    impl FilesApi for Scripted {
        fn upload(&self, _: Upload) -> Result<FileMetadata, ApiError> {
            *self.asked.lock().unwrap() += 1;
            Err(failure(ErrorKind::Unavailable))
        }
        fn list(&self, _: &ListQuery) -> Result<FilePage, ApiError> {
            Ok(FilePage::default())
        }
        fn metadata(&self, _: &FileId) -> Result<FileMetadata, ApiError> {
            Err(failure(ErrorKind::NotFound))
        }
        fn download(&self, _: &FileId, _: u64) -> Result<Download, ApiError> {
            Err(failure(ErrorKind::NotFound))
        }
        fn delete(&self, _: &FileId) -> Result<(), ApiError> {
            *self.asked.lock().unwrap() += 1;
            self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))
        }
    }

    /// A failure that may be repeated at once.
    fn failure(kind: ErrorKind) -> ApiError {
        ApiError {
            retry_after: Some(Duration::ZERO),
            ..ApiError::local(Call::Delete, kind, "no")
        }
    }

    /// What a deletion comes to that is answered so, and how often it was asked for.
    fn deletion(
        repeats: Repeats,
        answers: impl IntoIterator<Item = Result<(), ApiError>>,
    ) -> (Result<(), ErrorKind>, usize) {
        let scripted = Arc::new(Scripted {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Scripted::default()
        });
        let api = Arc::clone(&scripted) as Arc<dyn FilesApi>;
        let budget = Arc::new(Budget::new(None));
        let patience = Duration::from_secs(60);
        let paced = Paced::new(api, budget, Class::Interactive, patience, repeats);
        let outcome = paced.delete(&FileId::new("x")).map_err(|error| error.kind);
        let asked = *scripted.asked.lock().unwrap();
        (outcome, asked)
    }

    #[test]
    fn what_may_pass_is_repeated_and_what_stays_is_not() {
        use ErrorKind::*;
        let fails = |kinds: &[ErrorKind]| kinds.iter().map(|kind| Err(failure(*kind))).collect();
        let passing = [Unavailable, RateLimited, Unreachable, Interrupted];
        for (kinds, repeats, expected) in [
            (&passing[..], Repeats::Passing, (Ok(()), 5)),
            (&passing[..], Repeats::Nothing, (Err(Unavailable), 1)),
            (
                &[Unavailable, NotFound],
                Repeats::Passing,
                (Err(NotFound), 2),
            ),
            (&[Nonsense], Repeats::Passing, (Err(Nonsense), 1)),
            (&[Unauthorized], Repeats::Passing, (Err(Unauthorized), 1)),
        ] {
            let answers: Vec<_> = fails(kinds);
            assert_eq!(deletion(repeats, answers), expected, "{kinds:?}");
        }
    }

    /// Looking through a directory offline must not cost a minute for each file.
    #[test]
    fn a_service_that_is_away_is_not_waited_for_long() {
        let budget = Arc::new(Budget::new(None));
        let asked = |budget: &Arc<Budget>| {
            let slow = ApiError {
                retry_after: Some(AWAY_PATIENCE),
                ..failure(ErrorKind::Unavailable)
            };
            let scripted = Arc::new(Scripted {
                answers: Mutex::new(VecDeque::from([Err(slow)])),
                ..Scripted::default()
            });
            let paced = Paced::new(
                Arc::clone(&scripted) as Arc<dyn FilesApi>,
                Arc::clone(budget),
                Class::Interactive,
                Duration::from_secs(60),
                Repeats::Passing,
            );
            let outcome = paced.delete(&FileId::new("x")).is_ok();
            (outcome, *scripted.asked.lock().unwrap())
        };
        budget.gave_up();
        assert_eq!(asked(&budget), (false, 1));
        budget
            .turn(Call::List, Class::Save, Instant::now(), AWAY_PATIENCE)
            .unwrap()
            .ended(&Ok(()));
        assert_eq!(asked(&budget), (true, 2));
    }

    #[test]
    fn what_a_call_came_to_is_noted_and_not_the_tries_before() {
        use ErrorKind::*;
        let noted = |answers: Vec<Result<(), ApiError>>| {
            let scripted = Arc::new(Scripted {
                answers: Mutex::new(answers.into()),
                ..Scripted::default()
            });
            let budget = Arc::new(Budget::new(None));
            let (api, told) = (scripted as Arc<dyn FilesApi>, Arc::clone(&budget));
            let long = Duration::from_secs(60);
            let paced = Paced::new(api, told, Class::Interactive, long, Repeats::Passing);
            let _ = paced.delete(&FileId::new("x"));
            let failures = budget.failures().into_iter();
            failures
                .map(|failure| (failure.error.kind, failure.subject, failure.times))
                .collect::<Vec<_>>()
        };
        assert_eq!(noted(vec![Err(failure(Unavailable)), Ok(())]), []);
        let of_x = Subject::Id(FileId::new("x"));
        assert_eq!(
            noted(vec![Err(failure(Unavailable)), Err(failure(Refused))]),
            [(Refused, of_x, 1)]
        );
    }

    #[test]
    fn an_upload_is_sent_once() {
        let scripted = Arc::new(Scripted::default());
        let paced = Paced::new(
            Arc::clone(&scripted) as Arc<dyn FilesApi>,
            Arc::new(Budget::new(None)),
            Class::Save,
            Duration::from_secs(60),
            Repeats::Passing,
        );
        let upload = Upload {
            filename: "a".to_owned(),
            mime_type: "text/plain".to_owned(),
            size: 0,
            expires_in_seconds: None,
            body: Box::new(std::io::empty()),
        };
        let error = paced.upload(upload).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(*scripted.asked.lock().unwrap(), 1);
    }
}
