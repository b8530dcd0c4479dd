//! How a mount is: what `afs status` prints, and what a file in the mount says.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::Budget;
use crate::fs::WorkspaceFs;
use crate::state::{Pending, State, StateError};
use crate::store::Store;
use crate::sync::Refresher;

use super::protocol::{Expires, Status};
use super::server::{About, has_failed};
use super::traffic;
use super::waiting::Waiting;

/// How long before a file expires that is said.
const SOON: Duration = Duration::from_secs(24 * 60 * 60);

/// Looks at the parts of a mount.
#[derive(Debug, Clone)]
pub struct Reporter {
    pub(super) about: About,
    pub(super) state: Arc<State>,
    pub(super) store: Arc<Store>,
    pub(super) refresher: Arc<Refresher>,
    /// It holds what renders its status file, which holds this.
    pub(super) fs: Weak<WorkspaceFs>,
    pub(super) budget: Arc<Budget>,
}

impl Reporter {
    /// How the mount is at this moment.
    pub fn status(&self) -> Result<Status, StateError> {
        let (files, bytes) = self.state.totals()?;
        let unfinished = self.state.unfinished()?.len();
        let (scratch, pending): (Vec<Pending>, Vec<Pending>) = self
            .state
            .pending()
            .into_iter()
            .partition(|change| change.is_scratch);
        let failed = pending.iter().filter(|change| has_failed(change));
        let (held_back, queued) = traffic::outside(&pending);
        let errors = self.budget.failures();
        let errors = errors
            .iter()
            .map(|failure| traffic::failure(failure, &pending, &self.state));
        let listing = self.refresher.health();
        let now = Timestamp::now();
        let expiring = self
            .state
            .expiring(now, now.checked_add(SOON).unwrap_or(Timestamp::MAX))?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mountpoint: self.about.mountpoint.display().to_string(),
            host: self.about.host.clone(),
            pid: std::process::id(),
            state_dir: self.about.state_dir.display().to_string(),
            files,
            bytes,
            listing_age_seconds: listing.age.map(|age| age.as_secs()),
            listing_error: listing.last_error,
            pending: pending.len(),
            failed: failed.count(),
            unfinished,
            scratch: scratch.len(),
            expiring: expiring.soon,
            next_to_expire: expiring.next.map(|(name, time)| Expires {
                name,
                at: time.as_millisecond(),
            }),
            expired: expiring.expired,
            lingering: self.state.lingering()?,
            kept_bytes: self.store.kept_bytes(),
            cached_bytes: self.store.cached_bytes(),
            trash_bytes: self.store.trash_bytes(),
            refuses_deletes: self.fs.upgrade().is_some_and(|fs| fs.refuses_deletes()),
            transfers: traffic::transfers(&pending, &self.state, &self.store)?,
            requests: traffic::requests(&self.budget.traffic_before(held_back, queued)),
            errors: errors.collect::<Result<_, _>>()?,
            waiting: self.elsewhere(),
        })
    }

    /// What other workspaces of this state root wait with.
    fn elsewhere(&self) -> Vec<Waiting> {
        let root = self.about.state_dir.parent();
        root.map(Waiting::below).unwrap_or_default()
    }
}
