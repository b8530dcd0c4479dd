//! [`HttpClient`]: the five calls over HTTP/1.1, as the documents of the service's beta dialect describe them.
//!
//! Four calls go through `reqwest::blocking`. Its `timeout`, set on the client, bounds the wait for the answer's head and
//! then *each read* of the body (`blocking/client.rs`, `blocking/response.rs`): exactly a deadline on lack of progress.
//! For a request with a body the same number bounds the whole transfer, and an answer that comes before the body's end
//! (413, 401, 429) is lost in there, so that uploads have a loop of their own: `upload.rs`.

mod answer;
mod download;
mod endpoint;
mod multipart;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Url, redirect, retry};

use self::answer::Head;
use self::endpoint::Endpoint;
use self::upload::Uploader;
use super::{
    ApiError, ApiKey, Budget, Call, Cursor, Download, ErrorKind, FileId, FileMetadata, FilePage,
    FilesApi, ListQuery, Upload,
};

const BETAS: &str = "anthropic-beta";

/// Selects the documented shapes of the Files API.
const FILES_BETA: &str = "files-api-2025-04-14";

/// Lets `scope_id` through (managed agents guide). With [`FILES_BETA`] beside it the shapes stay the documented ones.
const SESSIONS_BETA: &str = "managed-agents-2026-04-01";

/// The API's version, as every document of the beta dialect gives it.
const API_VERSION: &str = "2023-06-01";

/// How long a connection may take to come up, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. Servers and what stands before them close theirs after a minute or more; a
/// request that meets such a close is lost, and for an upload that means to look before sending it again.
const KEPT_IDLE: Duration = Duration::from_secs(45);

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the service is: `https://api.anthropic.com`, with or without a path in front of `/v1`.
    pub base_url: String,
    /// The key that is sent with every call.
    pub key: ApiKey,
    /// Betas to ask for beside the Files API's own.
    pub betas: Vec<String>,
    /// How long a call may make no progress before it is given up.
    pub no_progress: Duration,
    /// What the client calls itself.
    pub user_agent: String,
}

impl HttpConfig {
    /// The usual settings for this service and key.
    #[must_use]
    pub fn new(base_url: impl Into<String>, key: ApiKey) -> Self {
        Self {
            base_url: base_url.into(),
            key,
            betas: Vec::new(),
            no_progress: Duration::from_secs(60),
            user_agent: concat!("afs/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Why there is no client; each a sentence for the person who wrote the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// The base URL is none.
    BadBaseUrl(String),
    /// Plain http to somewhere else than this machine.
    PlainHttp(String),
    /// A setting that no header can carry; its name.
    BadHeader(&'static str),
    /// TLS, the trusted certificates or a thread could not be set up.
    Setup(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBaseUrl(why) => write!(f, "the base URL can't be used: {why}"),
            Self::PlainHttp(host) => write!(
                f,
                "the key would travel unencrypted to {host}; use https (plain http goes to this machine only)"
            ),
            Self::BadHeader(what) => write!(f, "{what} can't be sent in a header"),
            Self::Setup(why) => write!(
                f,
                "the HTTP client could not be set up: {why} (are the system's certificates installed? package ca-certificates)"
            ),
        }
    }
}

impl std::error::Error for ClientError {}

/// The service over HTTP. Shared by all threads; connections are kept and used again.
#[derive(Debug)]
pub struct HttpClient {
    endpoint: Endpoint,
    client: Client,
    uploader: Uploader,
    no_progress: Duration,
    /// The betas of a list of a session's files.
    session_betas: HeaderValue,
    /// Told what answers say of limits.
    budget: Option<Arc<Budget>>,
}

/// The settings both of reqwest's client builders share.
macro_rules! configured {
    ($builder:expr, $config:expr, $endpoint:expr) => {{
        let builder = $builder
            .default_headers(headers($config)?)
            .user_agent(&$config.user_agent)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(KEPT_IDLE)
            // reqwest's own default is 30 s, which would end a stalled transfer before our deadline does.
            .tcp_user_timeout($config.no_progress);
        if $endpoint.is_plain() {
            // A proxy would see the key, and this machine needs none. Nor are there certificates to load.
            builder.no_proxy().tls_certs_only(std::iter::empty())
        } else {
            builder
        }
    }};
}

impl HttpClient {
    /// Sets up a client. Nothing is sent yet, but its threads run from now on: a process that goes to the background by
    /// `fork` makes its client after that.
    pub fn new(config: &HttpConfig) -> Result<Self, ClientError> {
        install_tls_provider();
        let endpoint = Endpoint::new(&config.base_url)?;
        let client = configured!(Client::builder(), config, endpoint)
            .timeout(config.no_progress)
            .build()
            .map_err(|error| ClientError::Setup(answer::chain(&error)))?;
        let uploads = configured!(reqwest::Client::builder(), config, endpoint)
            .build()
            .map_err(|error| ClientError::Setup(answer::chain(&error)))?;
        let uploader = Uploader::new(uploads, config.no_progress)
            .map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Self {
            endpoint,
            client,
            uploader,
            no_progress: config.no_progress,
            session_betas: betas(config, Some(SESSIONS_BETA))?,
            budget: None,
        })
    }

    /// Tells the budget from now on what answers say of limits.
    #[must_use]
    pub fn telling(self, budget: Arc<Budget>) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    fn hear(&self, head: &Head) {
        if let (Some(budget), Some(limits)) = (&self.budget, head.limits()) {
            budget.heard(limits);
        }
    }

    /// Sends a request without a body; what comes back is a success of some kind.
    fn send(&self, call: Call, request: RequestBuilder) -> Result<(Head, Response), ApiError> {
        let mut response = request
            .send()
            .map_err(|error| answer::broken(call, &error, self.no_progress))?;
        let head = Head::of(response.status(), response.headers());
        self.hear(&head);
        if head.is_success() {
            head.check_encoding(call)?;
            return Ok((head, response));
        }
        // The refusal is known by its status; what its body adds is welcome but not needed.
        let mut body = Vec::new();
        let _ = answer::read_up_to(&mut response, answer::MAX_ERROR, &mut body);
        Err(head.refusal(call, &body))
    }

    /// The same, and the answer's whole body.
    fn ask(
        &self,
        call: Call,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<(Head, Vec<u8>), ApiError> {
        let (head, mut response) = self.send(call, request)?;
        let mut body = Vec::new();
        match answer::read_up_to(&mut response, limit, &mut body) {
            Ok(true) => Ok((head, body)),
            Ok(false) => Err(head.nonsense(call, format!("the answer is over {limit} bytes"))),
            Err(error) => Err(head.cut(call, &error, self.no_progress)),
        }
    }
}

impl FilesApi for HttpClient {
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        let hear = |head: &Head| self.hear(head);
        self.uploader.upload(self.endpoint.files(), upload, &hear)
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        let mut url = self.endpoint.files();
        add_query(&mut url, query);
        let mut request = self.client.get(url);
        if query.scope_id.is_some() {
            request = request.header(BETAS, self.session_betas.clone());
        }
        let (head, body) = self.ask(Call::List, request, answer::MAX_LIST)?;
        head.page(&body)
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        let url = self.endpoint.file(Call::Metadata, id, "")?;
        let (head, body) = self.ask(Call::Metadata, self.client.get(url), answer::MAX_OBJECT)?;
        let metadata = head.file(Call::Metadata, &body)?;
        if metadata.id == *id {
            Ok(metadata)
        } else {
            Err(head.nonsense(Call::Metadata, "the answer is about another file"))
        }
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        let url = self.endpoint.file(Call::Download, id, "/content")?;
        let mut request = self
            .client
            .get(url)
            .header(header::ACCEPT, "application/binary");
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let (head, response) = self.send(Call::Download, request)?;
        download::start(&head, response, from, self.no_progress)
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        let url = self.endpoint.file(Call::Delete, id, "")?;
        let (head, body) = self.ask(Call::Delete, self.client.delete(url), answer::MAX_OBJECT)?;
        head.deleted(id, &body)
    }
}

fn add_query(url: &mut Url, query: &ListQuery) {
    let mut pairs = url.query_pairs_mut();
    pairs.append_pair("limit", &query.limit.to_string());
    match &query.cursor {
        Cursor::Newest => {}
        Cursor::After(id) => {
            pairs.append_pair("after_id", id.as_str());
        }
        Cursor::Before(id) => {
            pairs.append_pair("before_id", id.as_str());
        }
    }
    if let Some(scope) = &query.scope_id {
        pairs.append_pair("scope_id", scope);
    }
}

/// The headers of every call.
fn headers(config: &HttpConfig) -> Result<HeaderMap, ClientError> {
    let value =
        |text: &str, what| HeaderValue::from_str(text).map_err(|_| ClientError::BadHeader(what));
    let mut key = value(config.key.reveal(), "the API key")?;
    key.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (HeaderName::from_static("x-api-key"), key),
        (
            HeaderName::from_static("anthropic-version"),
            HeaderValue::from_static(API_VERSION),
        ),
        (HeaderName::from_static(BETAS), betas(config, None)?),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        // Sizes are checked byte by byte, and nothing that unpacks itself is wanted.
        (
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ),
    ]))
}

/// The Files API's beta, those of the settings, and one more where it is not among them.
fn betas(config: &HttpConfig, more: Option<&'static str>) -> Result<HeaderValue, ClientError> {
    let is_beta =
        |beta: &String| !beta.is_empty() && beta.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if !config.betas.iter().all(is_beta) {
        return Err(ClientError::BadHeader("a beta's name"));
    }
    let mut betas = vec![FILES_BETA];
    betas.extend(config.betas.iter().map(String::as_str));
    betas.extend(more.filter(|more| !betas.contains(more)));
    HeaderValue::from_str(&betas.join(",")).map_err(|_| ClientError::BadHeader("a beta's name"))
}

/// reqwest is built without a TLS provider of its own and panics where none is installed. The first one stays.
fn install_tls_provider() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Fails only if another thread was faster, which is just as good.
        let _ = ring::default_provider().install_default();
    }
}
