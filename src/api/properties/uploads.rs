//! An upload is sent once, however it fails: who uploads looks before a second one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::super::{
    ApiError, Budget, Call, Class, Download, ErrorKind, FileId, FileMetadata, FilePage, FilesApi,
    ListQuery, Paced, Repeats, Upload,
};
use super::{config, failure};

/// A service that fails so, and counts what it is asked.
struct Failing {
    error: Mutex<ApiError>,
    uploads: AtomicUsize,
    others: AtomicUsize,
}

impl Failing {
    fn fails<T>(&self) -> Result<T, ApiError> {
        self.others.fetch_add(1, Ordering::Relaxed);
        Err(self.error.lock().unwrap().clone())
    }
}

impl FilesApi for Failing {
    fn upload(&self, _: Upload) -> Result<FileMetadata, ApiError> {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        Err(self.error.lock().unwrap().clone())
    }
    fn list(&self, _: &ListQuery) -> Result<FilePage, ApiError> {
        self.fails()
    }
    fn metadata(&self, _: &FileId) -> Result<FileMetadata, ApiError> {
        self.fails()
    }
    fn download(&self, _: &FileId, _: u64) -> Result<Download, ApiError> {
        self.fails()
    }
    fn delete(&self, _: &FileId) -> Result<(), ApiError> {
        self.fails()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_upload_is_sent_once_however_it_fails(
        error in failure(),
        class in prop::sample::select(&[Class::Interactive, Class::Save, Class::Background][..]),
        repeats in prop::sample::select(&[Repeats::Passing, Repeats::Nothing][..]),
        size in any::<u64>(),
    ) {
        let failing = Arc::new(Failing {
            error: Mutex::new(error.clone()),
            uploads: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
        });
        let api = Arc::clone(&failing) as Arc<dyn FilesApi>;
        let budget = Arc::new(Budget::new(None));
        let paced = Paced::new(api, Arc::clone(&budget), class, Duration::from_secs(60), repeats);
        let upload = Upload {
            filename: "a".to_owned(),
            mime_type: "text/plain".to_owned(),
            size,
            expires_in_seconds: None,
            body: Box::new(std::io::empty()),
        };
        let failed = paced.upload(upload).expect_err("it fails");
        // The failure is handed on as it is, with how it stood in line.
        prop_assert!(failed.line.is_some());
        prop_assert_eq!(ApiError { line: error.line, ..failed }, error);
        prop_assert_eq!(failing.uploads.load(Ordering::Relaxed), 1);
        prop_assert_eq!(failing.others.load(Ordering::Relaxed), 0);
        prop_assert_eq!(budget.traffic().waiting.total(), 0);
    }

    #[test]
    fn what_stays_as_it_is_is_asked_for_once(error in failure(), call in super::call()) {
        // A passing failure would be waited for.
        let error = ApiError { should_retry: Some(false), kind: ErrorKind::Refused, ..error };
        let failing = Arc::new(Failing {
            error: Mutex::new(error),
            uploads: AtomicUsize::new(0),
            others: AtomicUsize::new(0),
        });
        let api = Arc::clone(&failing) as Arc<dyn FilesApi>;
        let patience = Duration::from_secs(60);
        let paced = Paced::new(api, Arc::new(Budget::new(None)), Class::Save, patience, Repeats::Passing);
        let id = FileId::new("x");
        let asked = match call {
            Call::Upload => return Ok(()),
            Call::List => paced.list(&ListQuery::page(super::super::Cursor::Newest)).is_err(),
            Call::Metadata => paced.metadata(&id).is_err(),
            Call::Download => paced.download(&id, 0).is_err(),
            Call::Delete => paced.delete(&id).is_err(),
        };
        prop_assert!(asked);
        prop_assert_eq!(failing.others.load(Ordering::Relaxed), 1);
    }
}
