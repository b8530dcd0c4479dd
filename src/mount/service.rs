//! The service a mount talks to: one client, one budget, and for each part of the house a way of its own to ask.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{
    ApiError, Budget, Class, ClientError, Credential, Cursor, FilePage, FilesApi, HttpClient,
    HttpConfig, ListQuery, Paced, Repeats,
};
use crate::config::{MountSettings, ServiceSettings, Source};
use crate::control::Bare;

use super::MountError;
use super::demo::Demo;
use super::rotation::Rotating;
use super::workspace::Identity;

/// How long a listing is tried. It is asked for again when somebody looks next, and until then the last one is shown; and
/// who mounts an address with a mistake in it should not have to wait for a minute.
const LISTING_PATIENCE: Duration = Duration::from_secs(10);

/// The service of one mount.
pub(super) struct Service {
    /// For finding the workspace.
    pub(super) first: Arc<dyn FilesApi>,
    /// For what people read and look up.
    pub(super) reads: Arc<dyn FilesApi>,
    /// For the outbox, which has a schedule of its own.
    pub(super) saves: Arc<dyn FilesApi>,
    /// For listings that somebody looks at.
    pub(super) listings: Arc<dyn FilesApi>,
    /// For what nobody waits for.
    pub(super) background: Arc<dyn FilesApi>,
    pub(super) budget: Arc<Budget>,
    /// The client, where its key may change.
    pub(super) rotating: Option<Arc<Rotating>>,
    pub(super) identity: Identity,
    pub(super) base_url: String,
    /// What stands for the host in the index of workspaces.
    pub(super) host: String,
    pub(super) demo: Option<Demo>,
}

impl Service {
    pub(super) fn connect(settings: &mut MountSettings) -> Result<Self, MountError> {
        let demo = match &settings.service.source {
            Source::Service { .. } => None,
            Source::Demo => Some(Demo::start(settings)?),
        };
        Self::speak(&settings.service, demo)
    }

    fn speak(settings: &ServiceSettings, demo: Option<Demo>) -> Result<Self, MountError> {
        let (credential, key_file) = match settings.source.clone() {
            Source::Service {
                credential,
                key_file,
            } => (credential, key_file),
            Source::Demo => (Credential::Key(Demo::key()?), None),
        };
        let base_url = match &demo {
            Some(demo) => demo.base_url(),
            None => settings.base_url.clone(),
        };
        let config = http_config(settings, &credential, &base_url);
        let budget = Arc::new(Budget::new(settings.rate));
        let client = HttpClient::new(&config).map_err(MountError::Client)?;
        let client = client.telling(Arc::clone(&budget));
        let (client, rotating): (Arc<dyn FilesApi>, _) = match key_file {
            None => (Arc::new(client), None),
            Some(path) => {
                let told = Arc::clone(&budget);
                let rotating = Arc::new(Rotating::new(path, config, client, told));
                (Arc::clone(&rotating) as Arc<dyn FilesApi>, Some(rotating))
            }
        };
        let paced = |class, patience, repeats| -> Arc<dyn FilesApi> {
            let (api, budget) = (Arc::clone(&client), Arc::clone(&budget));
            Arc::new(Paced::new(api, budget, class, patience, repeats))
        };
        let patience = settings.no_progress;
        let short = patience.min(LISTING_PATIENCE);
        Ok(Self {
            first: paced(Class::Interactive, short, Repeats::Passing),
            reads: paced(Class::Interactive, patience, Repeats::Passing),
            saves: paced(Class::Save, patience, Repeats::Nothing),
            listings: paced(Class::Refresh, short, Repeats::Passing),
            background: paced(Class::Background, short, Repeats::Passing),
            budget,
            rotating,
            identity: Identity {
                key: credential.secret().clone(),
                workspace_id: settings.workspace_id.clone(),
                headers: settings.headers.clone(),
            },
            host: match &demo {
                Some(_) => Demo::NAME.to_owned(),
                None => base_url.clone(),
            },
            base_url,
            demo,
        })
    }
}

fn http_config(settings: &ServiceSettings, credential: &Credential, base_url: &str) -> HttpConfig {
    HttpConfig {
        credential: credential.clone(),
        dialect: settings.dialect,
        betas: settings.betas.clone(),
        workspace_id: settings.workspace_id.clone(),
        headers: settings.headers.clone(),
        allow_http: settings.allow_http,
        no_progress: settings.no_progress,
        ..HttpConfig::new(base_url, credential.secret().clone())
    }
}

/// Why the service was not heard.
#[derive(Debug)]
pub(super) enum Unheard {
    /// The settings make no client.
    Client(ClientError),
    /// The one request failed.
    Api(ApiError),
}

/// Asks the service for the newest file, in one request that nobody repeats.
pub(super) fn ask_once(
    settings: &ServiceSettings,
    credential: &Credential,
) -> Result<FilePage, Unheard> {
    let config = http_config(settings, credential, &settings.base_url);
    let client = HttpClient::new(&config).map_err(Unheard::Client)?;
    let newest = ListQuery {
        limit: 1,
        ..ListQuery::page(Cursor::Newest)
    };
    client.list(&newest).map_err(Unheard::Api)
}

/// The service with nothing but a key.
pub fn bare(settings: &ServiceSettings) -> Result<Bare, MountError> {
    let service = Service::speak(settings, None)?;
    let patience = settings.no_progress;
    Ok(Bare::new(service.reads, service.saves, patience))
}
