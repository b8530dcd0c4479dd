//! The API over HTTP: its routes, and what is behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::config::Config;
use super::exchange::call;
use super::faults::Faults;
use super::ids::{self, Mint};
use super::log::{LoggedCall, RequestLog};
use super::rate::Bucket;
use super::rules::Refusal;
use super::workspace::{StoreError, Workspace};
use super::{guard, side_door};

/// Everything behind the routes.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) config: Config,
    pub(super) workspace: Workspace,
    pub(super) faults: Faults,
    pub(super) log: RequestLog,
    pub(super) rate: Option<Bucket>,
    request_ids: Mint,
    requests: AtomicU64,
}

impl Service {
    pub(super) fn new(config: Config, workspace: Workspace) -> Self {
        // Request ids go on being new after a restart.
        let request_ids = Mint::new(config.seed.unwrap_or_else(ids::random) ^ workspace.salt());
        let faults = Faults::new();
        faults.set(config.faults.clone());
        let burst = config.switches.rate_burst;
        let rate = config
            .rate
            .map(|rate| Bucket::new(rate, burst.unwrap_or(rate), Instant::now()));
        Self {
            rate,
            config,
            workspace,
            faults,
            log: RequestLog::default(),
            request_ids,
            requests: AtomicU64::new(0),
        }
    }

    pub(super) fn next_request_id(&self) -> String {
        self.request_ids
            .request_id(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs what may wait for a disk where nothing else waits for it.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Service) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&service))
            .await
            .map_err(|error| internal(&error))
    }

    /// Changes the workspace; without `--data` that is a matter of memory, and needs no thread.
    pub(super) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Workspace) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if self.workspace.waits_for_disk() {
            self.blocking(|service| work(&service.workspace)).await
        } else {
            Ok(work(&self.workspace))
        }
    }
}

pub(super) fn router(service: &Arc<Service>) -> Router {
    let mut router = Router::new()
        .route("/v1/files", post(upload).get(list))
        .route("/v1/files/{id}", get(metadata).delete(delete))
        .route("/v1/files/{id}/content", get(content));
    // Who runs an emulator with keys does not want its back door open.
    if service.config.keys.is_empty() {
        router = router.nest("/_emulator", side_door::router());
    }
    router
        .fallback(async || Err::<(), _>(Unknown(StatusCode::NOT_FOUND)))
        .method_not_allowed_fallback(async || Err::<(), _>(Unknown(StatusCode::METHOD_NOT_ALLOWED)))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(service),
            guard::guard,
        ))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(service))
}

/// No such path, or not with this method. The guard writes the body, since it knows the request's id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown(pub(super) StatusCode);

impl axum::response::IntoResponse for Unknown {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0;
        response.extensions_mut().insert(self);
        response
    }
}

type Shared = State<Arc<Service>>;
type Id = Result<Path<String>, PathRejection>;

async fn upload(State(service): Shared, request: Request) -> Response {
    call(service, LoggedCall::Upload, None, request).await
}

async fn list(State(service): Shared, request: Request) -> Response {
    call(service, LoggedCall::List, None, request).await
}

async fn metadata(State(service): Shared, id: Id, request: Request) -> Response {
    call(service, LoggedCall::Metadata, Some(text(id)), request).await
}

async fn content(State(service): Shared, id: Id, request: Request) -> Response {
    call(service, LoggedCall::Content, Some(text(id)), request).await
}

async fn delete(State(service): Shared, id: Id, request: Request) -> Response {
    call(service, LoggedCall::Delete, Some(text(id)), request).await
}

/// An id that is no UTF-8 is nobody's.
fn text(id: Id) -> String {
    id.map_or_else(|_| "\u{fffd}".to_owned(), |Path(id)| id)
}

/// The name of this request's answer, given by the guard.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Makes the connection close without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hangup;

/// This machine's trouble, as the service would tell its own.
pub(super) fn internal(error: &dyn std::error::Error) -> Refusal {
    log::error!("emulator: {error}");
    Refusal::with(500, format!("Internal server error: {error}"))
}

/// The refusal of a file that could not be stored.
pub(super) fn not_stored(error: &StoreError, service: &Service) -> Refusal {
    match error {
        StoreError::Full => Refusal::storage_full(&service.config.switches),
        StoreError::IdTaken => Refusal::with(409, error.to_string()),
        StoreError::Io(_) | StoreError::Database(_) => internal(error),
    }
}
