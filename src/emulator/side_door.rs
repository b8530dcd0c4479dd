//! The side door, `/_emulator/`: what the service does not let its users do. Planting files as tools and sessions make
//! them, looking at everything, deleting as somebody else, reading the request log, setting the clock
//! ahead, ordering faults. Needs no key.
//!
//! [`super::Emulator`] has the same as methods.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::mpsc;

use super::catalogue::Stored;
use super::content::{self, CHUNK, Chunks, Received};
use super::dialect::Dialect;
use super::faults::FaultRule;
use super::http::{RequestId, Service, internal, not_stored};
use super::objects::FileObject;
use super::rules::Refusal;
use super::workspace::{Expiry, NewFile};

pub(super) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/files", post(plant).get(files))
        .route("/files/{id}", axum::routing::delete(delete))
        .route("/bulk", post(bulk))
        .route("/content/{id}", get(content))
        .route("/requests", get(requests).delete(reset_requests))
        .route("/clock", axum::routing::put(set_clock))
        .route("/faults", get(faults).put(set_faults).delete(clear_faults))
}

type Shared = State<Arc<Service>>;

/// What the side door says when it refuses: as the API does, so that one reader understands both.
struct Refused(Refusal, Option<RequestId>);

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal, None)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let id = self.1.map(|id| id.0).unwrap_or_default();
        (status, Json(self.0.body(&id))).into_response()
    }
}

/// How a planted file is described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plant {
    pub(super) filename: String,
    pub(super) mime_type: Option<String>,
    pub(super) downloadable: Option<bool>,
    pub(super) session: Option<String>,
    pub(super) id: Option<String>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Plant {
    /// A tool's file may have any name the schema allows, so the rules for uploads do not apply.
    pub(super) fn into_file(self, received: Received) -> Result<NewFile, Refusal> {
        if !(1..=500).contains(&self.filename.chars().count()) {
            return Err(Refusal::invalid(
                "filename: must be between 1 and 500 characters long",
            ));
        }
        if self.id.as_deref() == Some("") || self.session.as_deref() == Some("") {
            return Err(Refusal::invalid("id and session must not be empty"));
        }
        let mime_type = self.mime_type.unwrap_or_else(|| guess(&self.filename));
        if !(1..=255).contains(&mime_type.chars().count()) {
            return Err(Refusal::invalid(
                "mime_type: must be between 1 and 255 characters long",
            ));
        }
        Ok(NewFile {
            mime_type,
            filename: self.filename,
            downloadable: self.downloadable.unwrap_or(true),
            session: self.session,
            id: self.id,
            created_us: self.created_at.map(Timestamp::as_microsecond),
            expiry: self
                .expires_at
                .map_or(Expiry::Never, |time| Expiry::At(time.as_microsecond())),
            received,
            quota: None,
            asked: None,
        })
    }
}

/// The media type a tool would give a file of this name.
pub(super) fn guess(filename: &str) -> String {
    match filename.rsplit_once('.') {
        Some((_, "md" | "txt" | "log")) => "text/plain".to_owned(),
        _ => mime_guess::from_path(filename)
            .first_or_octet_stream()
            .to_string(),
    }
}

async fn plant(
    State(service): Shared,
    query: Result<Query<Plant>, QueryRejection>,
    request: Request,
) -> Result<Response, Refused> {
    let plant = query.map_err(|problem| Refusal::invalid(problem.body_text()));
    let mut incoming = service.workspace.shelter().receive();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::invalid(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            incoming.write(data).await;
        }
    }
    let Query(plant) = plant?;
    let received = incoming.finish().await.map_err(|error| internal(&error))?;
    let new = plant.into_file(received)?;
    let stored = service
        .change(move |workspace| workspace.add(new))
        .await?
        .map_err(|error| not_stored(&error, &service))?;
    Ok(Json(FileObject::of(&stored, stored.downloadable, Dialect::Ga)).into_response())
}

/// What `bulk` is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bulk {
    count: u64,
    #[serde(default = "bulk_prefix")]
    prefix: String,
    #[serde(default = "bulk_size")]
    size: u64,
    #[serde(default = "yes")]
    downloadable: bool,
}

fn bulk_prefix() -> String {
    "bulk-".to_owned()
}

fn bulk_size() -> u64 {
    100
}

fn yes() -> bool {
    true
}

async fn bulk(State(service): Shared, body: Bytes) -> Result<Response, Refused> {
    let Bulk {
        count,
        prefix,
        size,
        downloadable,
    } = json_of(&body)?;
    if count > MOST_IN_BULK || size > service.config.max_file_size || prefix.len() > 400 {
        return Err(Refusal::invalid("count, size or prefix is too large").into());
    }
    service
        .blocking(move |service| {
            service
                .workspace
                .add_range(count, &prefix, size, downloadable)
        })
        .await?
        .map_err(|error| not_stored(&error, &service))?;
    Ok(Json(json!({ "count": count })).into_response())
}

/// More would be a slip of the finger: every file costs some memory.
const MOST_IN_BULK: u64 = 20_000_000;

/// A file as the API describes it, and what the API does not tell.
#[derive(Debug, Serialize)]
struct HashedFile<'a> {
    #[serde(flatten)]
    file: FileObject<'a>,
    sha256: String,
}

/// Streamed: a million files are hundreds of megabytes of JSON.
async fn files(State(service): Shared) -> Response {
    let (sender, mut receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut text = b"[".to_vec();
        for (count, file) in service.workspace.all().enumerate() {
            if count > 0 {
                text.extend_from_slice(b",\n");
            }
            if let Err(error) = write_hashed(&mut text, &service, &file) {
                let _ = sender.blocking_send(Err(error));
                return;
            }
            if text.len() >= CHUNK
                && sender
                    .blocking_send(Ok(Bytes::from(std::mem::take(&mut text))))
                    .is_err()
            {
                return; // The client has gone.
            }
        }
        text.push(b']');
        let _ = sender.blocking_send(Ok(text.into()));
    });
    let chunks: Chunks = Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)));
    (
        [("content-type", "application/json")],
        Body::from_stream(chunks),
    )
        .into_response()
}

fn write_hashed(text: &mut Vec<u8>, service: &Service, file: &Stored) -> std::io::Result<()> {
    let sha256 = service.workspace.sha256(file)?;
    let file = FileObject::of(file, file.downloadable, Dialect::Ga);
    Ok(serde_json::to_writer(text, &HashedFile { file, sha256 })?)
}

async fn delete(State(service): Shared, Path(id): Path<String>) -> Result<Response, Refused> {
    let asked = id.clone();
    let removed = service
        .change(move |workspace| workspace.remove(&asked, None))
        .await?;
    match removed.map_err(|error| not_stored(&error, &service))? {
        Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(Refusal::no_such_file(&id, &service.config.switches).into()),
    }
}

async fn content(State(service): Shared, Path(id): Path<String>) -> Result<Response, Refused> {
    let file = service
        .workspace
        .get(&id)
        .ok_or_else(|| Refusal::no_such_file(&id, &service.config.switches))?;
    let size = file.size;
    let opened = Arc::clone(&file);
    let reader = service
        .blocking(move |service| service.workspace.open(&opened, 0, size))
        .await?
        .map_err(|error| internal(&error))?;
    let headers = [
        ("content-type", "application/octet-stream".to_owned()),
        ("content-length", size.to_string()),
    ];
    Ok((headers, Body::from_stream(content::stream(reader, size))).into_response())
}

async fn requests(State(service): Shared) -> Response {
    Json(service.log.requests()).into_response()
}

async fn reset_requests(State(service): Shared) -> StatusCode {
    service.log.reset();
    StatusCode::NO_CONTENT
}

/// What `clock` is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    ahead_seconds: u64,
}

async fn set_clock(State(service): Shared, body: Bytes) -> Result<StatusCode, Refused> {
    let Clock { ahead_seconds } = json_of(&body)?;
    service
        .workspace
        .set_ahead(Duration::from_secs(ahead_seconds));
    Ok(StatusCode::NO_CONTENT)
}

async fn faults(State(service): Shared) -> Response {
    Json(service.faults.rules()).into_response()
}

async fn set_faults(State(service): Shared, body: Bytes) -> Result<StatusCode, Refused> {
    service.faults.set(json_of::<Vec<FaultRule>>(&body)?);
    Ok(StatusCode::NO_CONTENT)
}

async fn clear_faults(State(service): Shared) -> StatusCode {
    service.faults.set(Vec::new());
    StatusCode::NO_CONTENT
}

/// A JSON body, whatever its media type: this is a door for `curl -d`.
fn json_of<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::invalid(error.to_string()))
}
