//! [`HttpClient`]: the five calls over HTTP/1.1, in either dialect of the service.
//!
//! Four calls go through `reqwest::blocking`. Its `timeout`, set on the client, bounds the wait for the answer's head and
//! then *each read* of the body (`blocking/client.rs`, `blocking/response.rs`): exactly a deadline on lack of progress.
//! For a request with a body the same number bounds the whole transfer, and an answer that comes before the body's end
//! (413, 401, 429) is lost in there, so that uploads have a loop of their own: `upload.rs`.

mod answer;
mod dialect;
mod download;
mod endpoint;
mod headers;
mod multipart;
#[cfg(test)]
mod properties;
mod upload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{redirect, retry};

pub use self::dialect::{Dialect, LIFETIMES};
pub use self::headers::{BadHeaders, CustomHeaders};

use self::answer::Head;
use self::endpoint::Endpoint;
use self::upload::Uploader;
use super::{
    ApiError, ApiKey, Budget, Call, Cursor, Download, ErrorKind, FileId, FileMetadata, FilePage,
    FilesApi, ListQuery, Upload,
};

const BETAS: HeaderName = HeaderName::from_static("anthropic-beta");

/// Which workspace a credential of several acts in.
const WORKSPACE: HeaderName = HeaderName::from_static("anthropic-workspace-id");

/// The API's version, as every document of the beta gives it; what is there today takes it as well.
const API_VERSION: &str = "2023-06-01";

/// How long a connection may take to come up, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. Servers and what stands before them close theirs after a minute or more; a
/// request that meets such a close is lost, and for an upload that means to look before sending it again.
const KEPT_IDLE: Duration = Duration::from_secs(45);

/// What shows the service who asks: a secret, and the header it goes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A key, as `x-api-key`.
    Key(ApiKey),
    /// A token, as `authorization: Bearer`.
    Token(ApiKey),
}

impl Credential {
    /// The secret itself.
    #[must_use]
    pub fn secret(&self) -> &ApiKey {
        match self {
            Self::Key(secret) | Self::Token(secret) => secret,
        }
    }

    fn header(&self) -> (HeaderName, String) {
        match self {
            Self::Key(key) => (
                HeaderName::from_static("x-api-key"),
                key.reveal().to_owned(),
            ),
            Self::Token(token) => (header::AUTHORIZATION, format!("Bearer {}", token.reveal())),
        }
    }
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where the service is: `https://api.anthropic.com`, with or without a path in front of `/v1`.
    pub base_url: String,
    /// What is sent with every call to show who asks.
    pub credential: Credential,
    /// Which shapes are asked for.
    pub dialect: Dialect,
    /// Betas to ask for beside the Files API's own.
    pub betas: Vec<String>,
    /// For credentials of several workspaces: which one.
    pub workspace_id: Option<String>,
    /// Headers of the user's own.
    pub headers: CustomHeaders,
    /// Whether plain http may go elsewhere than to this machine.
    pub allow_http: bool,
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
            credential: Credential::Key(key),
            dialect: Dialect::default(),
            betas: Vec::new(),
            workspace_id: None,
            headers: CustomHeaders::default(),
            allow_http: false,
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
    /// A header that two settings want to set; its name.
    TwiceSet(String),
    /// A setting that no header can carry; its name.
    BadHeader(String),
    /// TLS, the trusted certificates or a thread could not be set up.
    Setup(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadBaseUrl(why) => write!(f, "the base URL can't be used: {why}"),
            Self::PlainHttp(host) => write!(
                f,
                "the key would travel unencrypted to {host}; use https (plain http goes to this machine only, unless --allow-http says that the way there is safe)"
            ),
            Self::TwiceSet(name) => write!(
                f,
                "the header {name} is set by the key already; take it out of ANTHROPIC_CUSTOM_HEADERS"
            ),
            Self::BadHeader(what) => write!(f, "{what} can't be sent in a header"),
            Self::Setup(why) => write!(
                f,
                "the HTTP client could not be set up: {why} (are the system's certificates installed? package \
                 ca-certificates; or is SSL_CERT_FILE set to a file without certificates?)"
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
    /// Told what answers say of limits.
    budget: Option<Arc<Budget>>,
    /// The betas of a list of a session's files.
    session_betas: Option<HeaderValue>,
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
        let builder = if $endpoint.is_plain_and_local() {
            // A proxy would see the key, and this machine needs none.
            builder.no_proxy()
        } else {
            builder
        };
        if $endpoint.is_plain() {
            // There are no certificates to load.
            builder.tls_certs_only(std::iter::empty())
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
        let endpoint = Endpoint::new(&config.base_url, config.allow_http)?;
        let client = configured!(Client::builder(), config, endpoint)
            .timeout(config.no_progress)
            .build()
            .map_err(|error| ClientError::Setup(answer::chain(&error)))?;
        let uploads = configured!(reqwest::Client::builder(), config, endpoint)
            .build()
            .map_err(|error| ClientError::Setup(answer::chain(&error)))?;
        let expires = config.dialect.expires_in_seconds();
        let uploader = Uploader::new(uploads, config.no_progress, expires)
            .map_err(|error| ClientError::Setup(error.to_string()))?;
        Ok(Self {
            endpoint,
            client,
            uploader,
            no_progress: config.no_progress,
            budget: None,
            session_betas: dialect::betas(config, true)?,
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
        dialect::add_query(&mut url, query);
        let mut request = self.client.get(url);
        if let (Some(_), Some(betas)) = (&query.scope_id, &self.session_betas) {
            request = request.header(BETAS, betas.clone());
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

/// The headers of every call.
fn headers(config: &HttpConfig) -> Result<HeaderMap, ClientError> {
    let value = |text: &str, what: &str| {
        HeaderValue::from_str(text).map_err(|_| ClientError::BadHeader(what.to_owned()))
    };
    let mut headers = HeaderMap::from_iter([
        (
            HeaderName::from_static("anthropic-version"),
            HeaderValue::from_static(API_VERSION),
        ),
        (header::ACCEPT, HeaderValue::from_static("application/json")),
        // Sizes are checked byte by byte, and nothing that unpacks itself is wanted.
        (
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        ),
    ]);
    headers.extend(dialect::betas(config, false)?.map(|betas| (BETAS, betas)));
    if let Some(id) = &config.workspace_id {
        headers.insert(WORKSPACE, value(id, "the workspace's id")?);
    }
    let (name, secret) = config.credential.header();
    if config.headers.has(&name) {
        return Err(ClientError::TwiceSet(name.to_string()));
    }
    let mut secret = value(&secret, "the API key")?;
    secret.set_sensitive(true);
    headers.insert(name, secret);
    for (name, value) in config.headers.iter() {
        // Betas were joined with the others, and a setting of its own stands before a header.
        let is_set = *name == BETAS || *name == WORKSPACE && config.workspace_id.is_some();
        if !is_set {
            headers.insert(name.clone(), value.clone());
        }
    }
    Ok(headers)
}

/// reqwest is built without a TLS provider of its own and panics where none is installed. The first one stays.
fn install_tls_provider() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Fails only if another thread was faster, which is just as good.
        let _ = ring::default_provider().install_default();
    }
}
