//! Questions to the service that a caller waits for: the wait ends with the caller. The kernel's own interrupts do not
//! reach a file system behind this library, so who waits looks at the caller's signals.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::api::{Program, on_behalf_of};

use super::{Caller, FsError};

/// How often who waits looks whether it still should.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Asks in a thread of its own and waits for the answer, or until a signal is killing the caller; the question goes on
/// then, and what it learns is learned.
pub(super) fn ask<T: Send + 'static>(
    caller: Caller,
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FsError> {
    let (said, heard) = sync_channel(1);
    let program = Program::current();
    thread::Builder::new()
        .name("afs-ask".into())
        .spawn(move || {
            // Nobody may be listening any more.
            let _ = said.send(on_behalf_of(|| program, question));
        })
        .map_err(|error| {
            log::error!("no thread for a question to the service: {error}");
            FsError::Io
        })?;
    loop {
        match heard.recv_timeout(LOOK_AROUND) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) if caller.is_dying() => {
                return Err(FsError::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(FsError::Io),
        }
    }
}
