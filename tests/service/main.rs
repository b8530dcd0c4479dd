//! The service as the house sees it: the contract every `FilesApi` is held to, the HTTP client against servers that
//! lie, cut and stall, and the emulator's rules.

mod contract;
mod cuts;
mod emulator_content;
mod emulator_dialects;
mod emulator_faults;
mod emulator_lies;
mod emulator_lists;
mod emulator_persistence;
mod emulator_rules;
mod emulator_side_door;
mod emulator_states;
mod emulator_uploads;
mod http_client;
mod http_trouble;
mod raw_server;
mod wire;

use std::io::{self, Cursor as Bytes, Read};
use std::time::Duration;

use afs::api::{
    ApiError, ApiKey, Call, Cursor, Dialect, FileId, FilesApi, HttpClient, HttpConfig, ListQuery,
    Upload,
};

/// A file as the service describes it.
pub(crate) const FILE: &str = r#"{"id":"file_1","type":"file","filename":"a.txt","mime_type":"text/plain","size_bytes":3,
    "created_at":"2025-04-15T18:37:24.100435Z"}"#;

/// Long enough for anything that moves.
pub(crate) const PATIENT: Duration = Duration::from_secs(20);

pub(crate) fn client(url: &str, no_progress: Duration) -> HttpClient {
    client_of(url, no_progress, Dialect::Beta)
}

pub(crate) fn client_of(url: &str, no_progress: Duration, dialect: Dialect) -> HttpClient {
    let key = ApiKey::new("sk-canary").unwrap();
    let config = HttpConfig {
        no_progress,
        dialect,
        betas: vec!["beta-2".to_owned()],
        ..HttpConfig::new(url, key)
    };
    HttpClient::new(&config).unwrap()
}

pub(crate) fn id(id: &str) -> FileId {
    FileId::new(id)
}

pub(crate) fn upload(filename: &str, size: u64, body: impl Read + Send + 'static) -> Upload {
    Upload {
        filename: filename.to_owned(),
        mime_type: "text/plain".to_owned(),
        size,
        expires_in_seconds: None,
        body: Box::new(body),
    }
}

pub(crate) fn newest() -> ListQuery {
    ListQuery::page(Cursor::Newest)
}

/// Makes each of the five calls and returns its failure, a download's body included.
pub(crate) fn failures(client: &HttpClient) -> Vec<(Call, Option<ApiError>)> {
    let download = || {
        let mut download = client.download(&id("file_1"), 0)?;
        let mut bytes = Vec::new();
        let read = download.body.read_to_end(&mut bytes);
        read.map(drop).map_err(|error| api_error(&error))
    };
    vec![
        (
            Call::Upload,
            client.upload(upload("a.txt", 3, Bytes::new("abc"))).err(),
        ),
        (Call::List, client.list(&newest()).err()),
        (Call::Metadata, client.metadata(&id("file_1")).err()),
        (Call::Download, download().err()),
        (Call::Delete, client.delete(&id("file_1")).err()),
    ]
}

/// What a failed read carries.
pub(crate) fn api_error(error: &io::Error) -> ApiError {
    assert_ne!(
        error.kind(),
        io::ErrorKind::Interrupted,
        "would be tried again for ever"
    );
    let inner = error.get_ref().expect("a cause");
    inner
        .downcast_ref::<ApiError>()
        .expect("an ApiError")
        .clone()
}
