//! Keys rotate while a mount lives: where the service refuses the key, the key file is read again. Another key is used
//! only once its listing has shown a file that is known of this workspace: pending work never goes to another one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use crate::api::{
    ApiError, ApiKey, Budget, Credential, Cursor, Download, ErrorKind, FileId, FileMetadata,
    FilePage, FilesApi, HttpClient, HttpConfig, ListQuery, Upload,
};
use crate::state::{State, StateError, Workspaces, lock};

use super::workspace::Identity;

/// The service, by whatever key the file holds.
#[derive(Debug)]
pub(super) struct Rotating {
    key_file: PathBuf,
    /// All but the key.
    config: HttpConfig,
    client: RwLock<Arc<HttpClient>>,
    /// Held while another key is tried: who is refused meanwhile waits for what comes of it, as long as one call takes.
    attempts: Mutex<Attempts>,
    /// Told what answers say of limits, whichever key they are for.
    budget: Arc<Budget>,
    home: OnceLock<Home>,
}

#[derive(Debug)]
struct Attempts {
    /// The key in use.
    current: ApiKey,
    /// The key that was tried last and is not used, and why.
    passed_over: Option<(ApiKey, String)>,
}

/// The workspace whose key it has to be. Unknown until its state is open: a key that is refused before that is an error
/// of the mount.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) state: Arc<State>,
    pub(super) state_root: PathBuf,
    /// What the index of workspaces calls the service.
    pub(super) host: String,
}

/// What a look into the key file has brought.
enum Renewed {
    /// A client with another key; it is in use from now on.
    Another(Arc<HttpClient>),
    /// Nothing new.
    Nothing,
    /// Another key, which is not used; why.
    PassedOver(String),
}

impl Rotating {
    pub(super) fn new(
        key_file: PathBuf,
        config: HttpConfig,
        client: HttpClient,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            key_file,
            attempts: Mutex::new(Attempts {
                current: config.credential.secret().clone(),
                passed_over: None,
            }),
            config,
            budget,
            client: RwLock::new(Arc::new(client)),
            home: OnceLock::new(),
        }
    }

    /// Says which workspace it is. Once.
    pub(super) fn settle(&self, home: Home) {
        let _ = self.home.set(home);
    }

    fn client(&self) -> Arc<HttpClient> {
        let client = self.client.read();
        Arc::clone(&client.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Makes a call, and once more where the key was refused and another one is there.
    fn call<T>(&self, call: impl Fn(&HttpClient) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let client = self.client();
        match call(&client) {
            Err(error) if error.kind == ErrorKind::Unauthorized => match self.renew(&client) {
                Renewed::Another(client) => call(&client),
                Renewed::Nothing => Err(error),
                Renewed::PassedOver(why) => Err(explained(error, &why)),
            },
            answer => answer,
        }
    }

    /// Looks for another key than that of `refused`.
    fn renew(&self, refused: &Arc<HttpClient>) -> Renewed {
        let Some(home) = self.home.get() else {
            return Renewed::Nothing;
        };
        let mut attempts = lock(&self.attempts);
        let client = self.client();
        if !Arc::ptr_eq(&client, refused) {
            // Somebody was faster.
            return Renewed::Another(client);
        }
        let key = match ApiKey::from_file(&self.key_file) {
            Ok(key) => key,
            Err(error) => return Renewed::PassedOver(error.to_string()),
        };
        if key == attempts.current {
            return Renewed::Nothing;
        }
        if let Some((known, why)) = &attempts.passed_over
            && *known == key
        {
            return Renewed::PassedOver(why.clone());
        }
        match self.try_key(home, &key) {
            Ok(Ok(client)) => {
                log::info!("the key was refused; the new one in the key file is used from now on");
                let client = Arc::new(client);
                *self
                    .client
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&client);
                attempts.current = key;
                attempts.passed_over = None;
                // What the old key could not send need not wait any longer.
                home.state.retry(None);
                Renewed::Another(client)
            }
            Ok(Err(why)) => {
                log::warn!("the key was refused, and {why}");
                attempts.passed_over = Some((key, why.clone()));
                Renewed::PassedOver(why)
            }
            // It says nothing about the key: the next refusal has it tried again.
            Err(why) => Renewed::PassedOver(why),
        }
    }

    /// A client with this key, or why it is not for this workspace; `Err` where that can't be told now.
    fn try_key(&self, home: &Home, key: &ApiKey) -> Result<Result<HttpClient, String>, String> {
        let config = HttpConfig {
            credential: Credential::Key(key.clone()),
            ..self.config.clone()
        };
        let client = HttpClient::new(&config).map_err(|error| error.to_string())?;
        let client = client.telling(Arc::clone(&self.budget));
        let page = match client.list(&ListQuery::page(Cursor::Newest)) {
            Ok(page) => page,
            Err(error) if error.is_transient() => {
                return Err(format!(
                    "the new key in the key file could not be tried: {error}"
                ));
            }
            Err(error) => {
                return Ok(Err(format!(
                    "the new key in the key file is refused as well: {error}"
                )));
            }
        };
        let listed: Vec<FileId> = page.files.into_iter().map(|file| file.id).collect();
        let is_known = home
            .state
            .knows_any(&listed)
            .map_err(|error| error.to_string())?;
        if !is_known {
            return Ok(Err(
                "the new key in the key file shows no file that is known of this workspace, so it may be another \
                 workspace's and is not used; unmount and mount again to use it"
                    .to_owned(),
            ));
        }
        if let Err(error) = self.remember(home, key, &listed) {
            log::warn!("the new key will be looked at again at the next mount: {error}");
        }
        Ok(Ok(client))
    }

    /// Has the next mount know the key.
    fn remember(&self, home: &Home, key: &ApiKey, listed: &[FileId]) -> Result<(), StateError> {
        let identity = Identity {
            key: key.clone(),
            workspace_id: self.config.workspace_id.clone(),
            headers: self.config.headers.clone(),
        };
        let fingerprint = identity.fingerprint(&home.host);
        Workspaces::open(&home.state_root)?
            .place(&home.host, &fingerprint, listed)
            .map(drop)
    }
}

fn explained(error: ApiError, why: &str) -> ApiError {
    ApiError {
        message: format!("{}; {why}", error.message),
        ..error
    }
}

impl FilesApi for Rotating {
    /// What was sent is used up: with another key the caller has to send it again, and may, for nothing was stored.
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError> {
        let client = self.client();
        match client.upload(upload) {
            Err(error) if error.kind == ErrorKind::Unauthorized => Err(match self.renew(&client) {
                Renewed::Another(_) => ApiError {
                    kind: ErrorKind::Unreachable,
                    ..explained(error, "there is a new one, and it is sent again with that")
                },
                Renewed::Nothing => error,
                Renewed::PassedOver(why) => explained(error, &why),
            }),
            answer => answer,
        }
    }

    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError> {
        self.call(|client| client.list(query))
    }

    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError> {
        self.call(|client| client.metadata(id))
    }

    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError> {
        self.call(|client| client.download(id, from))
    }

    fn delete(&self, id: &FileId) -> Result<(), ApiError> {
        self.call(|client| client.delete(id))
    }
}
