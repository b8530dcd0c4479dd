//! The emulator: the Files API served locally over real HTTP/1.1, for tests, for `afs emulator` and for the demo.
//!
//! It is the client's independent counterpart and shares no code of the wire with it. What is documented about the
//! service is held to; what is unknown is a field of [`Switches`] and says so. It speaks both dialects, each request's own.
//!
//! From the socket inwards:
//!
//! - `server`: connections; `tls`: encrypted ones; `guard`: who may talk at all
//! - `http`: routes; `exchange`: a call from head to answer; `upload` and `multipart`: the one that is long; `answer`
//!   and `objects`: what goes out
//! - `rules`: what the service refuses and in which words; `dialect`: which shapes a request asks for, and what a list
//!   may ask; `rate`: how often
//! - `workspace`: the files, made of `catalogue` (which, in what order), `past` (which a while ago), `content` (their
//!   bytes), `database` (what survives) and `ids`
//! - `side_door`: what the service does not let its users do; `faults`: trouble to order, and `shape`: what it makes of
//!   answers; `log`: what was asked; `history`: what came of it
//! - `import`, `samples`: files that are there from the start
//!
//! # Example
//!
//! Any client's test can have one, in any number, each at a port of its own; it ends when it is dropped. Clients in other
//! languages have `afs emulator`, and `/_emulator/` for what are methods here.
//!
//! ```
//! use afs::emulator::{
//!     Config, Emulator, FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile,
//! };
//! # use afs::api::{ApiError, ApiKey, Cursor, FilesApi, HttpClient, HttpConfig, ListQuery};
//! # /// The client that is tested.
//! # struct Client(HttpClient);
//! # impl Client {
//! #     fn new(base_url: &str, key: &str) -> Self {
//! #         let key = ApiKey::new(key).unwrap();
//! #         Self(HttpClient::new(&HttpConfig::new(base_url, key)).unwrap())
//! #     }
//! #     fn names(&self) -> Result<Vec<String>, ApiError> {
//! #         let page = self.0.list(&ListQuery::page(Cursor::Newest))?;
//! #         Ok(page.files.into_iter().map(|file| file.filename).collect())
//! #     }
//! # }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Emulator::start(Config {
//!     keys: vec!["sk-test".to_owned()],
//!     ..Config::default()
//! })?;
//! // The side door: a tool makes a file, for which the API has no call.
//! let made = service.plant(PlantedFile::output("result.json", "{}"))?;
//!
//! // The next list is refused, as when the service has too much to do; the one after it is answered.
//! service.set_faults(vec![FaultRule {
//!     call: Some(LoggedCall::List),
//!     times: Some(1),
//!     ..FaultRule::new(FaultAction::Status(FaultAnswer::status(529)))
//! }]);
//! let client = Client::new(&service.base_url(), "sk-test");
//! assert!(client.names().unwrap_err().is_transient());
//! assert_eq!(client.names()?, ["result.json"]);
//!
//! // Somebody else deletes it, and stores one of the same name.
//! assert!(service.delete(&made.id)?);
//! service.plant(PlantedFile::output("result.json", "[]"))?;
//! assert_eq!(client.names()?, ["result.json"]);
//!
//! // What was asked, and what is there.
//! assert_eq!(service.requests().len(), 3);
//! let files = service.files()?;
//! assert_eq!(service.content(&files[0].id)?.as_deref(), Some(&b"[]"[..]));
//! # Ok(())
//! # }
//! ```

mod answer;
mod catalogue;
mod config;
mod content;
mod database;
mod dialect;
mod exchange;
mod faults;
mod guard;
mod history;
mod http;
mod ids;
mod import;
mod log;
mod multipart;
mod objects;
mod past;
mod rate;
mod rules;
mod samples;
mod server;
mod shape;
mod side_door;
mod tls;
mod upload;
mod workspace;

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::watch;

pub use config::{Config, Switches, UnknownCursor};
pub use dialect::Dialect;
pub use faults::{FaultAction, FaultAnswer, FaultMoment, FaultRule};
pub use history::{Change, ChangeKind, Tick};
pub use log::{LoggedCall, LoggedRequest};

use catalogue::Stored;
use faults::Target;
use http::Service;
use side_door::Plant;
use workspace::{Expiry, NewFile, StoreError, Workspace, lock};

/// Why an emulator did not start, or did not do what it was asked.
#[derive(Debug)]
pub enum EmulatorError {
    /// Without keys it listens on loopback only.
    NeedsKey(SocketAddr),
    /// The address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// The data directory can't be used; mostly because another emulator uses it.
    Data(PathBuf, String),
    /// The folder to import can't be read.
    Import(PathBuf, String),
    /// A file can't be planted as described.
    Refused(String),
    /// This machine's trouble.
    Io(io::Error),
}

impl fmt::Display for EmulatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsKey(address) => write!(
                f,
                "listening on {address}, beyond this machine, needs a key"
            ),
            Self::Listen(address, error) => write!(f, "can't listen on {address}: {error}"),
            Self::Data(path, why) => write!(f, "can't keep data in {}: {why}", path.display()),
            Self::Import(path, why) => write!(f, "can't import {}: {why}", path.display()),
            Self::Refused(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EmulatorError {}

impl From<io::Error> for EmulatorError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for EmulatorError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => Self::Io(error),
            StoreError::Database(error) => Self::Io(io::Error::other(error)),
            StoreError::Full | StoreError::IdTaken => Self::Refused(error.to_string()),
        }
    }
}

/// A file to plant, as a tool or a session would have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlantedFile {
    /// Its name: any, of 1 to 500 characters.
    pub filename: String,
    /// Its media type; `None` guesses by the name.
    pub mime_type: Option<String>,
    /// Whether the API gives its bytes.
    pub downloadable: bool,
    /// The session it is scoped to.
    pub session: Option<String>,
    /// An id of your choice; `None` takes the next one.
    pub id: Option<String>,
    /// A time of your choice; `None` is now.
    pub created_at: Option<Timestamp>,
    /// When its bytes are given up; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl PlantedFile {
    /// A tool's output: downloadable, of no session.
    #[must_use]
    pub fn output(filename: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            filename: filename.into(),
            mime_type: None,
            downloadable: true,
            session: None,
            id: None,
            created_at: None,
            expires_at: None,
            content: content.into(),
        }
    }
}

/// A file as it is stored, with what the API does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub mime_type: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its bytes are given up.
    pub expires_at: Option<Timestamp>,
    /// Whether a tool made it.
    pub downloadable: bool,
    /// The session it is scoped to.
    pub session: Option<String>,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A running emulator. It ends when it is dropped; blocking, so not inside an asynchronous task.
#[derive(Debug)]
pub struct Emulator {
    service: Arc<Service>,
    address: SocketAddr,
    /// Of an emulator that speaks TLS, in PEM.
    certificate: Option<String>,
    runtime: Option<Runtime>,
    stop: watch::Sender<bool>,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

impl Emulator {
    /// Starts one, in threads of its own. When this returns it answers.
    pub fn start(config: Config) -> Result<Self, EmulatorError> {
        if config.keys.is_empty() && !config.listen.ip().is_loopback() {
            return Err(EmulatorError::NeedsKey(config.listen));
        }
        let tls = config
            .tls
            .then(tls::new)
            .transpose()
            .map_err(|error| EmulatorError::Io(io::Error::other(error)))?;
        let workspace = open_workspace(&config)?;
        let listener = server::bind(config.listen)
            .map_err(|error| EmulatorError::Listen(config.listen, error))?;
        let address = listener.local_addr()?;
        let runtime = server::runtime()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let service = Arc::new(Service::new(config, workspace));
        let (stop, stopped) = watch::channel(false);
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let router = http::router(&service);
        let (acceptor, certificate) = match tls {
            Some(tls) => (Some(tls.acceptor), Some(tls.pem)),
            None => (None, None),
        };
        let end = End(Arc::clone(&ended));
        let refusing = Arc::clone(&service);
        let refuses = move || refusing.faults.strike(Target::Connection).is_some();
        runtime.spawn(async move {
            server::serve(listener, acceptor, router, refuses, stopped).await;
            drop(end);
        });
        Ok(Self {
            service,
            address,
            certificate,
            runtime: Some(runtime),
            stop,
            ended,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What a client takes as its base URL.
    #[must_use]
    pub fn base_url(&self) -> String {
        let scheme = match self.certificate {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate it answers with, in PEM; `None` where it speaks plain http.
    #[must_use]
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Blocks until it ends, which without trouble it never does.
    pub fn wait(&self) {
        let (ended, signal) = &*self.ended;
        let mut guard = lock(ended);
        while !*guard {
            guard = signal
                .wait(guard)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Ends it: connections are closed, whatever they are doing.
    pub fn shutdown(self) {
        drop(self);
    }

    /// Adds a file as a tool or a session would.
    pub fn plant(&self, file: PlantedFile) -> Result<StoredFile, EmulatorError> {
        let received = self.service.workspace.shelter().receive_now(file.content)?;
        let plant = Plant {
            filename: file.filename,
            mime_type: file.mime_type,
            downloadable: Some(file.downloadable),
            session: file.session,
            id: file.id,
            created_at: file.created_at,
            expires_at: file.expires_at,
        };
        let new = plant
            .into_file(received)
            .map_err(|refusal| EmulatorError::Refused(refusal.message))?;
        let stored = self.service.workspace.add(new)?;
        self.describe(&stored)
    }

    /// Adds `count` synthetic files of `size` bytes each, named `prefix` and a number.
    pub fn bulk(
        &self,
        count: u64,
        prefix: &str,
        size: u64,
        downloadable: bool,
    ) -> Result<(), EmulatorError> {
        Ok(self
            .service
            .workspace
            .add_range(count, prefix, size, downloadable)?)
    }

    /// Every file, those of sessions too, newest first.
    pub fn files(&self) -> Result<Vec<StoredFile>, EmulatorError> {
        let files = self.service.workspace.all();
        files.map(|file| self.describe(&file)).collect()
    }

    /// A file's bytes, whether the API gives them or not; `None` when there is no such file.
    pub fn content(&self, id: &str) -> Result<Option<Vec<u8>>, EmulatorError> {
        let Some(file) = self.service.workspace.get(id) else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(file.size as usize);
        self.service
            .workspace
            .open(&file, 0, file.size)?
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Deletes a file as somebody else would: no request of anybody's is logged. False when there was none.
    pub fn delete(&self, id: &str) -> Result<bool, EmulatorError> {
        Ok(self.service.workspace.remove(id, None)?.is_some())
    }

    /// Every API call since the last reset, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.service.log.requests()
    }

    /// Every change to the workspace since this emulator started, oldest first; [`Self::reset_requests`] leaves it alone.
    pub fn history(&self) -> Result<Vec<Change>, EmulatorError> {
        Ok(self.service.workspace.history()?)
    }

    /// Empties the request log.
    pub fn reset_requests(&self) {
        self.service.log.reset();
    }

    /// Sets its clock ahead of this machine's.
    pub fn set_clock_ahead(&self, ahead: Duration) {
        self.service.workspace.set_ahead(ahead);
    }

    /// Replaces the fault rules, and lets go what the old ones held.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        self.service.faults.set(rules);
    }

    /// Ends all faults, and lets go what they held.
    pub fn clear_faults(&self) {
        self.set_faults(Vec::new());
    }

    fn describe(&self, file: &Stored) -> Result<StoredFile, EmulatorError> {
        Ok(StoredFile {
            id: file.id.clone(),
            filename: file.filename.clone(),
            mime_type: file.mime_type.clone(),
            size_bytes: file.size,
            created_at: file.created_at(),
            expires_at: file.expires_at(),
            downloadable: file.downloadable,
            session: file.session.clone(),
            sha256: self.service.workspace.sha256(file)?,
        })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        // What faults hold would be waited for in vain.
        self.clear_faults();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Tells whoever waits that it is over, also when the accept loop panics.
#[derive(Debug)]
struct End(Arc<(Mutex<bool>, Condvar)>);

impl Drop for End {
    fn drop(&mut self) {
        let (ended, signal) = &*self.0;
        *lock(ended) = true;
        signal.notify_all();
    }
}

/// The workspace as it is when the first client comes.
fn open_workspace(config: &Config) -> Result<Workspace, EmulatorError> {
    let workspace = match &config.data {
        None => Workspace::temporary(config.seed)?,
        Some(data) => Workspace::durable(data, config.seed)
            .map_err(|error| EmulatorError::Data(data.clone(), error.to_string()))?,
    };
    if let Some(folder) = &config.import {
        import::import(&workspace, folder)
            .map_err(|error| EmulatorError::Import(folder.clone(), error.to_string()))?;
    }
    if config.seed_samples && workspace.first_time("samples")? {
        for sample in samples::outputs() {
            plant_sample(&workspace, sample)?;
        }
    }
    if config.seed_demo && workspace.first_time("demo")? {
        plant_sample(&workspace, samples::demo())?;
    }
    workspace.forget_past();
    Ok(workspace)
}

fn plant_sample(workspace: &Workspace, sample: samples::Sample) -> Result<(), StoreError> {
    workspace.add(NewFile {
        filename: sample.filename.to_owned(),
        mime_type: sample.mime_type.to_owned(),
        downloadable: true,
        session: None,
        id: None,
        created_us: None,
        expiry: Expiry::Never,
        received: workspace.shelter().receive_now(sample.content)?,
        quota: None,
        asked: None,
    })?;
    Ok(())
}
