//! The demo: an emulator of our own inside this process, with sample files, state of its own, and no key.

use crate::api::ApiKey;
use crate::config::MountSettings;
use crate::emulator::{self, Emulator};

use super::MountError;

/// A running demo service; it ends with the process.
#[derive(Debug)]
pub(super) struct Demo {
    emulator: Emulator,
}

impl Demo {
    /// What names the demo's workspace: its port is another at every start.
    pub(super) const NAME: &'static str = "demo";

    /// Starts the service and points the settings' directories at the demo's own.
    pub(super) fn start(settings: &mut MountSettings) -> Result<Self, MountError> {
        settings.state_root = settings.state_root.join(Self::NAME);
        settings.cache_root = settings.cache_root.join(Self::NAME);
        let emulator = Emulator::start(emulator::Config {
            data: Some(settings.state_root.join("service")),
            seed_samples: true,
            seed_demo: true,
            ..emulator::Config::default()
        })
        .map_err(|error| MountError::Demo(error.to_string()))?;
        Ok(Self { emulator })
    }

    pub(super) fn base_url(&self) -> String {
        self.emulator.base_url()
    }

    /// Any key will do.
    pub(super) fn key() -> Result<ApiKey, MountError> {
        ApiKey::new(Self::NAME).map_err(|error| MountError::Demo(error.to_string()))
    }
}
