//! Transfers: how much of a save that is on its way has been read for sending, and how fast, for those who watch.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::api::Meter;

use super::{Seq, State, lock};

type Meters = Arc<Mutex<HashMap<Seq, Arc<Mutex<Meter>>>>>;

/// The transfers under way.
#[derive(Debug, Default)]
pub(super) struct Transfers(Meters);

impl Transfers {
    /// Bytes read of a save so far, 0 when it is not on its way; and how many a second, `None` before the first.
    pub(super) fn sent(&self, seq: Seq) -> (u64, Option<u64>) {
        let meter = lock(&self.0).get(&seq).cloned();
        meter.map_or((0, None), |meter| {
            let meter = lock(&meter);
            (meter.total(), meter.rate(Instant::now()))
        })
    }
}

/// A body that counts what is read of it, for as long as it lives.
pub struct Transfer {
    body: Box<dyn Read + Send>,
    seq: Seq,
    meter: Arc<Mutex<Meter>>,
    meters: Meters,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer")
            .field("seq", &self.seq)
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Counts what is read of a save's body from now on.
    pub fn count_transfer(&self, seq: Seq, body: Box<dyn Read + Send>) -> Transfer {
        let meter = Arc::<Mutex<Meter>>::default();
        lock(&self.transfers.0).insert(seq, Arc::clone(&meter));
        Transfer {
            body,
            seq,
            meter,
            meters: Arc::clone(&self.transfers.0),
        }
    }
}

impl Read for Transfer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.body.read(buffer)?;
        lock(&self.meter).moved(n as u64, Instant::now());
        Ok(n)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut meters = lock(&self.meters);
        // A later try of the same save has a meter of its own.
        if meters
            .get(&self.seq)
            .is_some_and(|meter| Arc::ptr_eq(meter, &self.meter))
        {
            meters.remove(&self.seq);
        }
    }
}
