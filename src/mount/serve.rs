//! PLACEHOLDER, to be replaced whole: the assembly of the rooms into a running mount goes here.

use std::fmt;

use super::background::Ready;
use super::preflight::Refusal;
use super::prepare::prepare;
use crate::config::MountSettings;

/// Why a mount did not come up, or ended badly.
#[derive(Debug)]
pub enum MountError {
    /// The surroundings do not allow it.
    Refused(Refusal),
    /// The rooms are not put together yet.
    NotAssembled,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NotAssembled => f.write_str("afs is not assembled yet"),
        }
    }
}

impl std::error::Error for MountError {}

/// Serves the mount until it is unmounted or told to end.
pub fn serve(settings: MountSettings, ready: Ready) -> Result<(), MountError> {
    prepare(&settings).map_err(MountError::Refused)?;
    drop((settings, ready));
    Err(MountError::NotAssembled)
}
