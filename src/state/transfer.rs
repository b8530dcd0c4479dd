//! Transfers: how much of a save that is on its way has been read for sending, for those who watch.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::{Seq, State, lock};

type Counts = Arc<Mutex<HashMap<Seq, Arc<AtomicU64>>>>;

/// The transfers under way.
#[derive(Debug, Default)]
pub(super) struct Transfers(Counts);

impl Transfers {
    /// Bytes read of a save so far; 0 when it is not on its way.
    pub(super) fn sent(&self, seq: Seq) -> u64 {
        let counts = lock(&self.0);
        counts
            .get(&seq)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// A body that counts what is read of it, for as long as it lives.
pub struct Transfer {
    body: Box<dyn Read + Send>,
    seq: Seq,
    count: Arc<AtomicU64>,
    counts: Counts,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer")
            .field("seq", &self.seq)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Counts what is read of a save's body from now on.
    pub fn count_transfer(&self, seq: Seq, body: Box<dyn Read + Send>) -> Transfer {
        let count = Arc::new(AtomicU64::new(0));
        lock(&self.transfers.0).insert(seq, Arc::clone(&count));
        Transfer {
            body,
            seq,
            count,
            counts: Arc::clone(&self.transfers.0),
        }
    }
}

impl Read for Transfer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.body.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        // A later try of the same save has a count of its own.
        if counts
            .get(&self.seq)
            .is_some_and(|count| Arc::ptr_eq(count, &self.count))
        {
            counts.remove(&self.seq);
        }
    }
}
