//! Whose files they are, and how the service is spoken to: what a command needs that has nothing but a key.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::{ApiKey, Credential, CustomHeaders, Dialect, LIFETIMES};

use super::{
    BASE_URL_VARIABLE, ConfigError, DEFAULT_BASE_URL, DEFAULT_NO_PROGRESS, HEADERS_VARIABLE,
    KEY_VARIABLE, MountRequest, Surroundings, TOKEN_VARIABLE, WORKSPACE_VARIABLE, absolute,
};

/// Whose files they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A workspace of the service: the one the key belongs to.
    Service {
        /// The key, or a token.
        credential: Credential,
        /// The file it was read from; absolute. It may hold another one later.
        key_file: Option<PathBuf>,
    },
    /// An emulator of our own with sample files; no key, no network.
    Demo,
}

/// How the service is spoken to: every value is there and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Whose files.
    pub source: Source,
    /// The service's address, without a slash at the end.
    pub base_url: String,
    /// Which shapes the service is asked for.
    pub dialect: Dialect,
    /// Further names for the `anthropic-beta` header.
    pub betas: Vec<String>,
    /// In which workspace a credential of several acts.
    pub workspace_id: Option<String>,
    /// Headers of the user's own.
    pub headers: CustomHeaders,
    /// Whether plain http may go elsewhere than to this machine.
    pub allow_http: bool,
    /// How long a transfer may stand still.
    pub no_progress: Duration,
    /// How many requests a minute are sent at most; `None`: as many as the service lets through.
    pub rate: Option<u32>,
}

impl MountRequest {
    /// The part that is about the service. It takes no home directory.
    pub fn service(&self, around: &Surroundings<'_>) -> Result<ServiceSettings, ConfigError> {
        let no_progress = self.no_progress.unwrap_or(DEFAULT_NO_PROGRESS);
        if no_progress.is_zero() {
            return Err(ConfigError::Usage(
                "--timeout must be longer than nothing: the default is 60s".into(),
            ));
        }
        if self.rate == Some(0) {
            return Err(ConfigError::Usage(
                "--rate must be 1 or more: leave it out to send as much as the service lets through"
                    .into(),
            ));
        }
        if self.demo
            && (self.key_file.is_some() || self.base_url.is_some() || self.workspace_id.is_some())
        {
            return Err(ConfigError::Usage(
                "--demo can't be combined with --key-file, --base-url or --workspace-id: this machine serves it, and takes \
                 no key"
                    .into(),
            ));
        }
        let dialect = self.dialect()?;
        // Last, so that whoever has no key yet hears about mistakes in the command line first.
        let headers = self.headers(around)?;
        let source = self.source(around)?;
        let workspace_id = self.workspace_id.clone().or_else(|| {
            let id = around.variable(WORKSPACE_VARIABLE)?;
            Some(id.to_string_lossy().into_owned())
        });
        Ok(ServiceSettings {
            source,
            base_url: self.base_url(around),
            dialect,
            betas: self.betas.clone(),
            workspace_id,
            headers,
            allow_http: self.allow_http,
            no_progress,
            rate: self.rate,
        })
    }

    /// Its shape is the client's to judge.
    fn base_url(&self, around: &Surroundings<'_>) -> String {
        let said = self.base_url.clone();
        let url = said
            .or_else(|| {
                Some(
                    around
                        .variable(BASE_URL_VARIABLE)?
                        .to_string_lossy()
                        .into_owned(),
                )
            })
            .unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
        url.trim_end_matches('/').to_owned()
    }

    /// An expiry is something that only today's dialect has.
    fn dialect(&self) -> Result<Dialect, ConfigError> {
        let Some(expires) = self.expires else {
            return Ok(self.dialect.unwrap_or_default());
        };
        if !LIFETIMES.contains(&expires) {
            return Err(ConfigError::Usage(
                "--expires must be between 1h and 90d: the service takes nothing else".into(),
            ));
        }
        match self.dialect {
            Some(Dialect::Beta) => Err(ConfigError::Usage(
                "--expires needs --dialect ga: in the beta nothing expires".into(),
            )),
            Some(Dialect::Ga { .. }) | None => Ok(Dialect::Ga {
                expires: Some(expires),
            }),
        }
    }

    fn headers(&self, around: &Surroundings<'_>) -> Result<CustomHeaders, ConfigError> {
        if let Some(secrets) = &self.secrets {
            return Ok(secrets.headers.clone());
        }
        let Some(text) = around.variable(HEADERS_VARIABLE).filter(|_| !self.demo) else {
            return Ok(CustomHeaders::default());
        };
        CustomHeaders::parse(&text.to_string_lossy()).map_err(|error| {
            ConfigError::Unusable(format!("{HEADERS_VARIABLE} can't be used: {error}"))
        })
    }

    fn source(&self, around: &Surroundings<'_>) -> Result<Source, ConfigError> {
        if self.demo {
            return Ok(Source::Demo);
        }
        let unusable = |why: String| ConfigError::Unusable(why);
        let by_variable = |name: &'static str| {
            around.variable(name).map(|value| {
                ApiKey::new(value.to_string_lossy())
                    .map_err(|error| unusable(format!("{name} can't be used: {error}")))
            })
        };
        let mut key_file = None;
        let credential = if let Some(path) = &self.key_file {
            let key = ApiKey::from_file(path).map_err(|error| unusable(error.to_string()))?;
            key_file = Some(absolute(path)?);
            Credential::Key(key)
        } else if let Some(secrets) = &self.secrets {
            secrets.credential.clone()
        } else if let Some(key) = by_variable(KEY_VARIABLE) {
            Credential::Key(key?)
        } else if let Some(token) = by_variable(TOKEN_VARIABLE) {
            Credential::Token(token?)
        } else {
            return Err(ConfigError::NoKey);
        };
        Ok(Source::Service {
            credential,
            key_file,
        })
    }
}
