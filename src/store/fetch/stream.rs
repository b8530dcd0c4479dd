//! One lane of a fetch: a thread that asks for bytes, brings them in, rests while they are not wanted, and takes a
//! transfer up again that broke off.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::api::{
    ApiError, Call, Download, ErrorKind, Pace, Program, Resuming, SystemPace, on_behalf_of,
};

use super::super::Store;
use super::FetchError;
use super::arriving::Fetch;
use super::plan::LaneId;

/// How much is read from the service and written here at once.
const PIECE: usize = 256 * 1024;

/// Starts lane `lane` of a fetch, for whom this thread works.
pub(super) fn start(store: &Arc<Store>, fetch: &Arc<Fetch>, lane: LaneId) -> io::Result<()> {
    let (store, fetch) = (Arc::clone(store), Arc::clone(fetch));
    let program = Program::current();
    thread::Builder::new()
        .name("afs-fetch".into())
        .spawn(move || on_behalf_of(|| program, || carry(store, fetch, lane)))
        .map(drop)
}

fn carry(store: Arc<Store>, fetch: Arc<Fetch>, lane: LaneId) {
    // Made in the lane's thread: without one its end would be told to whoever holds the locks that it takes.
    let ending = Ending {
        store,
        fetch,
        lane,
        outcome: Err(cut("it was given up")),
    };
    let mut stream = Stream {
        store: &ending.store,
        fetch: &ending.fetch,
        lane,
        moved: Instant::now(),
        resuming: Resuming::default(),
        buffer: vec![0; PIECE],
    };
    let outcome = stream.carry();
    ending.end(outcome);
}

/// Ends a lane, however it ended: who waits for it is told.
struct Ending {
    store: Arc<Store>,
    fetch: Arc<Fetch>,
    lane: LaneId,
    outcome: Result<(), FetchError>,
}

impl Ending {
    fn end(mut self, outcome: Result<(), FetchError>) {
        self.outcome = outcome;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.fetch.ended(self.lane, self.outcome.clone()) {
            self.fetch.finish(&self.store);
        }
        self.store.lane_ended(&self.fetch);
    }
}

struct Stream<'a> {
    store: &'a Arc<Store>,
    fetch: &'a Arc<Fetch>,
    lane: LaneId,
    /// When something moved last.
    moved: Instant,
    resuming: Resuming,
    buffer: Vec<u8>,
}

impl Stream<'_> {
    /// Brings what is wanted of the lane until there is nothing left for it to bring.
    fn carry(&mut self) -> Result<(), FetchError> {
        while self.fetch.goes_on(self.lane) {
            let place = self.fetch.with_plan(|plan| {
                let at = plan.resumes_at(self.lane)?;
                Some(plan.asks_from(at))
            });
            let Some(from) = place else {
                return Ok(());
            };
            let Err(error) = self.transfer(from) else {
                return Ok(());
            };
            let (FetchError::Api(cause) | FetchError::Cut(cause)) = &error else {
                return Err(error);
            };
            let by_range = self.fetch.with_plan(|plan| plan.honours_ranges());
            let still = self.moved.elapsed();
            let patience = self.store.no_progress;
            let random = SystemPace::new().random();
            let by_range = by_range == Some(true);
            let Some(pause) = self
                .resuming
                .after(cause, by_range, still, patience, random)
            else {
                return Err(error);
            };
            log::info!("{}: {error}; it is taken up again", self.fetch.id);
            if !self.fetch.pause(self.lane, pause) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One answer of the service, from byte `from` on, as far as it is wanted.
    fn transfer(&mut self, from: u64) -> Result<(), FetchError> {
        let size = self.fetch.size;
        let mut download = self.fetch.source.ask(from).map_err(FetchError::Api)?;
        let mut at = download.start;
        if let Some(length) = download.length
            && at.checked_add(length) != Some(size)
        {
            return Err(FetchError::WrongLength {
                expected: size,
                got: at.saturating_add(length),
            });
        }
        let honoured = self.fetch.with_plan(|plan| {
            plan.answered(self.lane, from, at, download.honours_ranges);
            plan.honours_ranges()
        });
        self.store.fetches.note_ranges(honoured);
        self.fetch.tell();
        while self.fetch.goes_on(self.lane) {
            let n = read(&mut download, &mut self.buffer)?;
            let end = at + n as u64;
            if (n == 0 && at < size) || end > size {
                return Err(FetchError::WrongLength {
                    expected: size,
                    got: end,
                });
            }
            if end == size && download.length.is_none() {
                must_end(&mut download, size)?;
            }
            if self.fetch.take(self.lane, at, &self.buffer[..n])? {
                self.resuming.moved();
            }
            self.moved = Instant::now();
            at = end;
        }
        Ok(())
    }
}

/// What an answer of unknown length brings beyond the file's end is noticed before its last bytes are believed.
fn must_end(download: &mut Download, size: u64) -> Result<(), FetchError> {
    match read(download, &mut [0])? {
        0 => Ok(()),
        n => Err(FetchError::WrongLength {
            expected: size,
            got: size + n as u64,
        }),
    }
}

fn read(download: &mut Download, buffer: &mut [u8]) -> Result<usize, FetchError> {
    loop {
        match download.body.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let inner = error.get_ref().and_then(|e| e.downcast_ref::<ApiError>());
                return Err(match inner {
                    Some(cause) => FetchError::Cut(cause.clone()),
                    None => cut(&error.to_string()),
                });
            }
            Ok(n) => return Ok(n),
        }
    }
}

fn cut(why: &str) -> FetchError {
    FetchError::Cut(ApiError::local(Call::Download, ErrorKind::Interrupted, why))
}
