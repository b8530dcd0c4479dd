//! The service a mount talks to: one client, one budget, and for each part of the house a way of its own to ask.

use std::sync::Arc;
use std::time::Duration;

use crate::api::{ApiKey, Budget, Class, FilesApi, HttpClient, HttpConfig, Paced, Repeats};
use crate::config::{MountSettings, Source};

use super::MountError;
use super::demo::Demo;

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
    pub(super) key: ApiKey,
    pub(super) base_url: String,
    /// What stands for the host in the index of workspaces.
    pub(super) host: String,
    pub(super) demo: Option<Demo>,
}

impl Service {
    pub(super) fn connect(settings: &mut MountSettings) -> Result<Self, MountError> {
        let (base_url, key, demo) = match settings.source.clone() {
            Source::Service { key } => (settings.base_url.clone(), key, None),
            Source::Demo => {
                let demo = Demo::start(settings)?;
                (demo.base_url(), Demo::key()?, Some(demo))
            }
        };
        let config = HttpConfig {
            betas: settings.betas.clone(),
            no_progress: settings.no_progress,
            ..HttpConfig::new(&base_url, key.clone())
        };
        let budget = Arc::new(Budget::new(settings.rate));
        let client = HttpClient::new(&config).map_err(MountError::Client)?;
        let client: Arc<dyn FilesApi> = Arc::new(client.telling(Arc::clone(&budget)));
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
            key,
            host: match &demo {
                Some(_) => Demo::NAME.to_owned(),
                None => base_url.clone(),
            },
            base_url,
            demo,
        })
    }
}
