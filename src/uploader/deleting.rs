//! Deletions at the service: what is here of a file goes to the trash first, for the service deletes for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::api::{ApiError, Call, ErrorKind, FileId};
use crate::names;
use crate::state::{Doom, Record, State, now};
use crate::store::{FetchError, Fetched, Source};

use super::{Failure, Worker, disk};

/// Tools' files up to this size are fetched before they are deleted because an upload took their place.
const RESCUED: u64 = 100 << 20;

/// How long a download that has come may take to be safe on the disk.
const BECOMES_A_COPY: Duration = Duration::from_secs(2);

/// How often is looked whether replaced files have stayed at the service for long enough.
const LINGERS: Duration = Duration::from_secs(10);

/// What became of bytes that were to be brought here before they are deleted at the service.
#[derive(Debug, PartialEq, Eq)]
enum Rescue {
    /// There is nothing to bring, or nowhere to.
    NotNeeded,
    /// They are here.
    Here,
    /// They can't be had.
    Impossible,
}

/// Has replaced files deleted when they have stayed for long enough.
pub(super) fn end_lingering(state: &State) {
    loop {
        if let Err(error) = state.end_lingering(now()) {
            log::warn!("replaced files stay at the service for now: {error}");
        }
        if state.is_stopped_within(LINGERS) {
            return;
        }
    }
}

impl Worker {
    pub(super) fn delete(&self, record: &Record, id: &FileId, doom: Doom) -> Result<(), Failure> {
        if doom == Doom::Replaced && self.conduct.keeps_replaced {
            return Ok(self.state.give_up_delete(record.seq, id)?);
        }
        let rescue = if doom == Doom::Replaced {
            self.rescue(record, id)?
        } else {
            Rescue::NotNeeded
        };
        if rescue == Rescue::Impossible {
            return Ok(self.state.give_up_delete(record.seq, id)?);
        }
        // What is deleted at the service is deleted for ever; what is here of it stays for a while. The bytes of a
        // renamed file live on under its new id.
        if doom != Doom::Renamed {
            let called = names::directory_name(&record.name);
            // Who read it to its end a moment ago has its bytes here, though they are no copy yet.
            self.store.settle(Instant::now() + BECOMES_A_COPY);
            let thrown = self.store.throw_away(id, &called);
            let is_in_trash = thrown.map_err(|error| disk(Call::Delete, &error))?;
            if rescue == Rescue::Here && !is_in_trash {
                let why = "what was fetched of it for the trash is gone again";
                return Err(ApiError::local(Call::Delete, ErrorKind::Unavailable, why).into());
            }
        }
        match self.api.delete(id) {
            Ok(()) => {}
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Refused) => {
                log::error!(
                    "{} ({id}) can't be deleted and will be listed again: {error}",
                    record.name
                );
                self.store
                    .take_back(id)
                    .map_err(|error| disk(Call::Delete, &error))?;
                return Ok(self.state.give_up_delete(record.seq, id)?);
            }
            Err(error) => return Err(error.into()),
        }
        log::info!("{} ({id}) is deleted", record.name);
        // First the record, then the bytes: a deletion that is done twice costs a request, bytes that are gone are gone.
        self.state.deleted(record.seq, id)?;
        self.store.forget(id);
        Ok(())
    }

    /// Brings the bytes of a tool's file here that an upload has taken the place of, so that they can go to the trash: no
    /// tool makes them again. A large one stays at the service instead.
    fn rescue(&self, record: &Record, id: &FileId) -> Result<Rescue, Failure> {
        let name = &record.name;
        let Some((size, true)) = self.state.former(id)? else {
            return Ok(Rescue::NotNeeded);
        };
        let mut rescue = Rescue::NotNeeded;
        // A cached copy may be gone or damaged without our knowing: fetching looks.
        if self.store.has_trash() && !self.store.is_kept(id) && size > 0 {
            if size > RESCUED {
                log::warn!(
                    "{name} was made by a tool and is replaced; the original ({id}) is too large for the trash, so it \
                     stays at the service, under a name with a suffix"
                );
                return Ok(Rescue::Impossible);
            }
            let (api, wanted) = (Arc::clone(&self.api), id.clone());
            let source = Source::new(move |from| api.download(&wanted, from));
            let fetched = self.store.fetch(id, size, &source);
            let whole = fetched.and_then(|fetched| match fetched {
                Fetched::Here(file) => Ok(file),
                Fetched::Arriving(reading) => reading.whole(&|| false),
            });
            match whole {
                Ok(_) => rescue = Rescue::Here,
                Err(FetchError::Api(error))
                    if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Expired) => {}
                Err(FetchError::Api(error)) if error.is_transient() => return Err(error.into()),
                Err(error @ (FetchError::Cut(_) | FetchError::Disk(_))) => {
                    let why = error.to_string();
                    return Err(ApiError::local(Call::Download, ErrorKind::Interrupted, why).into());
                }
                Err(error) => {
                    log::warn!(
                        "{name} was made by a tool and is replaced; the original ({id}) can't be had for the trash, so \
                         it stays at the service, under a name with a suffix: {error}"
                    );
                    return Ok(Rescue::Impossible);
                }
            }
        }
        log::warn!(
            "{name} was made by a tool and is replaced by an upload: the original ({id}) is removed at the service"
        );
        Ok(rescue)
    }
}
