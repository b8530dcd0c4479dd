//! Why a mount did not come up, as sentences: what failed, why, what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::api::{ApiError, ClientError, ErrorKind};
use crate::state::StateError;
use crate::sync::RefreshError;

use super::preflight::Refusal;

/// Why a mount did not come up, or ended badly.
#[derive(Debug)]
pub enum MountError {
    /// The surroundings do not allow it.
    Refused(Refusal),
    /// The settings make no client.
    Client(ClientError),
    /// The first listing of a workspace that nothing is known of failed.
    FirstListing {
        /// The service's address.
        base_url: String,
        /// Why.
        error: Box<RefreshError>,
    },
    /// Another mount serves the same workspace.
    Served(PathBuf),
    /// The local state can't be used.
    State(StateError),
    /// Nobody knows where the downloads of this state are.
    CacheUnknown(PathBuf),
    /// A local directory can't be used.
    Disk(PathBuf, io::Error),
    /// The demo's emulator did not start.
    Demo(String),
    /// The kernel refused the mount.
    Kernel(io::Error),
    /// The system has no thread, signal or socket for us.
    System(io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Client(error) => error.fmt(f),
            Self::FirstListing { base_url, error } => first_listing(f, base_url, error),
            Self::Served(dir) => write!(
                f,
                "this workspace is mounted already (its state in {} is in use); unmount it first: afs unmount MOUNTPOINT",
                dir.display()
            ),
            Self::State(error) => write!(f, "the local state can't be used: {error}"),
            Self::CacheUnknown(dir) => write!(
                f,
                "where its downloads are is not known, for it was never mounted by this version of afs (state in {}): \
                 mount it first",
                dir.display()
            ),
            Self::Disk(path, error) => write!(f, "{} can't be used: {error}", path.display()),
            Self::Demo(why) => write!(f, "the demo's emulator did not start: {why}"),
            Self::Kernel(error) => write!(f, "the kernel refused the mount: {error}"),
            Self::System(error) => write!(f, "the system refused what a mount needs: {error}"),
        }
    }
}

fn first_listing(f: &mut fmt::Formatter<'_>, base_url: &str, error: &RefreshError) -> fmt::Result {
    let RefreshError::Api(error) = error else {
        return write!(f, "the workspace could not be listed: {error}");
    };
    let ApiError { kind, message, .. } = error;
    match kind {
        ErrorKind::Unauthorized => write!(
            f,
            "the service refuses the key ({message}): check ANTHROPIC_API_KEY or the file given with --key-file"
        ),
        ErrorKind::Forbidden => write!(
            f,
            "the key may not list files ({message}): it needs access to the Files API of its workspace"
        ),
        ErrorKind::Unreachable | ErrorKind::Interrupted => write!(
            f,
            "{base_url} can't be reached ({message}): check the network and the address; a workspace that was mounted \
             here before mounts without it"
        ),
        _ => write!(f, "the workspace could not be listed: {error}"),
    }
}

impl std::error::Error for MountError {}

impl From<StateError> for MountError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}
