//! Worker threads for what may wait. Three pools, so that no kind of waiting starves another: a hung server fills the
//! network pool with readers while local work and saves go on. Threads come as they are needed and leave when idle.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::api::on_behalf_of;
use crate::fs::Caller;

/// More than the kernel has requests open at once, so that the network pool never queues behind a hung server.
const NETWORK_THREADS: usize = 1100;

/// Savers wait in close(2), one thread each.
const SAVE_THREADS: usize = 1100;

/// Local work is short; more threads than this would only wait for the same disk.
const LOCAL_THREADS: usize = 16;

/// How long the end waits for local work, which is a sync of the disk at most.
const LAST_WORK: Duration = Duration::from_secs(5);

const IDLE: Duration = Duration::from_secs(10);

/// The pools.
#[derive(Debug)]
pub(super) struct Pools {
    network: Option<Runtime>,
    saves: Option<Runtime>,
    local: Option<Runtime>,
}

impl Pools {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            network: Some(pool("afs-network", NETWORK_THREADS)?),
            saves: Some(pool("afs-save", SAVE_THREADS)?),
            local: Some(pool("afs-local", LOCAL_THREADS)?),
        })
    }

    /// Work that may wait for the network; what it asks for there is for its caller.
    pub(super) fn network(&self, caller: Caller, work: impl FnOnce() + Send + 'static) {
        run(self.network.as_ref(), on_behalf(caller, work));
    }

    /// Saves: local work first, then a wait for the uploader.
    pub(super) fn saves(&self, caller: Caller, work: impl FnOnce() + Send + 'static) {
        run(self.saves.as_ref(), on_behalf(caller, work));
    }

    /// Work that waits for the local disk at most, and has something done at the service later.
    pub(super) fn local_for(&self, caller: Caller, work: impl FnOnce() + Send + 'static) {
        run(self.local.as_ref(), on_behalf(caller, work));
    }

    /// Work that waits for the local disk at most.
    pub(super) fn local(&self, work: impl FnOnce() + Send + 'static) {
        run(self.local.as_ref(), work);
    }

    /// Ends the pools. Local work is finished (the last release of a file queues what was not saved); who waits for the
    /// network is let go: after the session's end replies reach nobody.
    pub(super) fn shut_down(&mut self) {
        if let Some(local) = self.local.take() {
            local.shutdown_timeout(LAST_WORK);
        }
        for pool in [&mut self.network, &mut self.saves] {
            if let Some(pool) = pool.take() {
                pool.shutdown_background();
            }
        }
    }
}

impl Drop for Pools {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn on_behalf(
    caller: Caller,
    work: impl FnOnce() + Send + 'static,
) -> impl FnOnce() + Send + 'static {
    move || on_behalf_of(move || caller.program(), work)
}

/// A reply object that is dropped unanswered answers EIO by itself, so work that finds no pool is not left hanging.
fn run(pool: Option<&Runtime>, work: impl FnOnce() + Send + 'static) {
    if let Some(pool) = pool {
        pool.spawn_blocking(work);
    }
}

fn pool(name: &'static str, threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(threads)
        .thread_keep_alive(IDLE)
        .thread_stack_size(512 * 1024)
        .thread_name(name)
        .build()
}
