//! How a command reaches the service where nothing is mounted: with the key, and with the state that mounts leave.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::failed;
use super::mount::DialectWord;
use super::place::Place;
use super::places::StateDir;
use super::settings::{explained, surroundings, usual};
use super::talk::Reached;
use crate::api::Dialect;
use crate::config::{ConfigError, MountRequest, PRESET_VARIABLE, SECRET_VARIABLES, parse_time};
use crate::control::Client;
use crate::mount::{self, MountError, Session, sys};

const UNMOUNTED: &str = "Where nothing is mounted";

/// What can be typed about it.
#[derive(Debug, Default, Args)]
pub(super) struct Reaching {
    #[arg(long, value_name = "FILE", help_heading = UNMOUNTED,
        help = "Read the key from a file only you can read, instead of from ANTHROPIC_API_KEY")]
    key_file: Option<PathBuf>,
    #[arg(long, value_name = "URL", help_heading = UNMOUNTED,
        help = "The address of the service, instead of ANTHROPIC_BASE_URL [default: https://api.anthropic.com]")]
    base_url: Option<String>,
    /// The shapes of the service to ask for: those of its beta, or those of today
    #[arg(long, value_enum, value_name = "DIALECT", help_heading = UNMOUNTED)]
    dialect: Option<DialectWord>,
    #[arg(long, value_name = "ID", help_heading = UNMOUNTED,
        help = "The workspace to act in, for keys of several, instead of ANTHROPIC_WORKSPACE_ID")]
    workspace_id: Option<String>,
    /// Let the key travel over plain http to other machines: only where nobody can listen
    #[arg(long, help_heading = UNMOUNTED)]
    allow_http: bool,
    /// Give up when nothing has moved for this long [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = UNMOUNTED)]
    timeout: Option<Duration>,
    /// The workspace of this preset of ~/.config/afs/config.toml, mounted or not
    #[arg(long, value_name = "NAME", help_heading = UNMOUNTED)]
    preset: Option<String>,
    #[command(flatten)]
    state: StateDir,
    /// Where downloads are kept [default: ~/.cache/afs]
    #[arg(long, value_name = "DIR", help_heading = UNMOUNTED)]
    cache_dir: Option<PathBuf>,
}

impl Reaching {
    pub(super) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Whether a key, a service or a preset was named: then no mount is meant that happens to be there.
    pub(super) fn names_service(&self) -> bool {
        self.key_file.is_some()
            || self.base_url.is_some()
            || self.workspace_id.is_some()
            || self.state.system()
            || self.preset.is_some()
            || std::env::var_os(PRESET_VARIABLE).is_some_and(|name| !name.is_empty())
    }

    /// The workspace of the key, with its state under its lock; without a home directory with nothing but the key. Files
    /// that are to `expire` take the dialect that has it.
    pub(super) fn workspace(&self, expire: bool) -> Result<Place, ExitCode> {
        let around = surroundings(self.state.system());
        let request = self.request(expire).map_err(|why| explained(&why))?;
        if self.state.dir().is_none() && around.state_root().is_err() {
            return self.bare(expire);
        }
        let settings = request.resolve(&around).map_err(|why| explained(&why))?;
        hide_secrets()?;
        match Session::without_mount(settings) {
            Ok(session) => {
                for notice in session.notices() {
                    tell!("{notice}");
                }
                Ok(Place::working(session))
            }
            // Some mount that is not seen from here has it; it does the same.
            Err(MountError::Served(dir)) => Ok(Place::Mounted(Reached {
                client: Client::connect(&dir).map_err(|error| error.to_string()),
                mountpoint: dir,
            })),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The service with nothing but the key.
    pub(super) fn bare(&self, expire: bool) -> Result<Place, ExitCode> {
        let service = self
            .request(expire)
            .and_then(|request| request.service(&surroundings(self.state.system())))
            .map_err(|why| explained(&why))?;
        let host = service.base_url.clone();
        hide_secrets()?;
        let bare = mount::bare(&service).map_err(|error| failed(&error))?;
        Ok(Place::Bare(PathBuf::from(host), Box::new(bare)))
    }

    /// Whether there is a key to ask the service with.
    pub(super) fn has_key(&self) -> bool {
        self.request(false)
            .is_ok_and(|request| request.service(&surroundings(self.state.system())).is_ok())
    }

    /// What was typed, over what environment and settings file say.
    pub(super) fn request(&self, expire: bool) -> Result<MountRequest, ConfigError> {
        let usual = usual(self.preset.as_deref(), self.state.system())?;
        let (dialect, expires) = match self.dialect.map(Into::into) {
            // Nothing expires there.
            Some(Dialect::Beta) => (Some(Dialect::Beta), None),
            None if expire => (Some(Dialect::Ga { expires: None }), usual.expires),
            typed => (typed.or(usual.dialect), usual.expires),
        };
        Ok(MountRequest {
            demo: false,
            key_file: self.key_file.clone().or(usual.key_file),
            base_url: self.base_url.clone().or(usual.base_url),
            dialect,
            expires,
            workspace_id: self.workspace_id.clone().or(usual.workspace_id),
            allow_http: self.allow_http || usual.allow_http,
            no_progress: self.timeout.or(usual.no_progress),
            state_dir: self.state.dir().map(Path::to_owned),
            cache_dir: self.cache_dir.clone(),
            ..usual
        })
    }
}

/// From here on secrets are in this process's memory only: not in what children inherit, not in a core file.
pub(super) fn hide_secrets() -> Result<(), ExitCode> {
    for name in SECRET_VARIABLES {
        sys::forget_variable(name);
    }
    sys::forbid_core_dumps()
        .map_err(|error| failed(&format!("core files cannot be switched off: {error}")))
}
