//! Bringing here what only the service has: for whoever reads it, and for whoever wants it to stay.

use std::sync::Arc;

use crate::api::FileId;
use crate::store::{FetchError, Fetched, Source};

use super::{Ino, WorkspaceFs, lock};

impl WorkspaceFs {
    /// The bytes of an output: from the copy that is here, or from the service, which is asked when somebody reads.
    pub fn fetch_copy(&self, id: &FileId, size: u64) -> Result<Fetched, FetchError> {
        let (api, wanted) = (Arc::clone(&self.api), id.clone());
        let source = Source::new(move |from| api.download(&wanted, from));
        self.store.fetch(id, size, &source)
    }

    /// Whether somebody has the file open.
    #[must_use]
    pub fn is_open(&self, ino: Ino) -> bool {
        lock(&self.nodes).contains_key(&ino)
    }
}
