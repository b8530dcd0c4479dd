//! What a status says of the traffic with the service: what moves, what was asked for whom, what waits, what failed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{self, Subject, Traffic, Waits};
use crate::state::{Class, Pending, State, StateError, Work};
use crate::store::{Arriving, Store};

use super::named::{shown, typed};

/// A file's bytes on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// The file's name; its id where it has none any more.
    pub name: String,
    /// Bytes that have been sent, or are here.
    pub done: u64,
    /// Bytes in all.
    pub size: u64,
    /// Bytes a second, over the last five seconds.
    pub bytes_per_second: u64,
}

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the service.
    Upload,
    /// Here.
    Download,
}

/// How requests to the service go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Those of the last minute.
    pub last_minute: usize,
    /// The programs that caused them, most first.
    #[serde(default)]
    pub by_program: Vec<Caused>,
    /// How many more may be sent at once; absent where neither the service nor `--rate` says.
    pub left: Option<u32>,
    /// What waits because requests are limited, counted.
    pub waiting: usize,
    /// The same, by what it is.
    #[serde(default)]
    pub waiting_for: WaitingFor,
    /// About how long the last of it waits.
    pub longest_wait_seconds: u64,
    /// Who limits requests; absent where nothing waits.
    pub limited_by: Option<Limiter>,
}

/// The requests of one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caused {
    /// Its name, as `ps` shows it; `afs` for listings and what the mount does by itself.
    pub program: String,
    /// How many.
    pub count: usize,
}

/// What waits: how many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitingFor {
    /// Reads of what is not on this machine.
    pub reads: usize,
    /// Questions after a single file.
    pub lookups: usize,
    /// Saves.
    pub saves: usize,
    /// Deletions.
    pub deletions: usize,
    /// Listings.
    pub listings: usize,
}

/// Who limits requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limiter {
    /// The service.
    Service,
    /// `--rate`.
    Rate,
}

/// A call to the service that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When, milliseconds since 1970; the last time where it came several times.
    pub at: i64,
    /// Which call: `upload`, `list`, `metadata`, `download` or `delete`.
    pub call: String,
    /// The file's name, where there is one.
    pub name: Option<String>,
    /// The file's id, where it has one.
    pub id: Option<String>,
    /// Why, as a sentence: the service's own where it has answered.
    pub why: String,
    /// The answer's HTTP status, where there was one.
    pub status: Option<u16>,
    /// The id that the service's support asks for, where there was an answer.
    pub request_id: Option<String>,
    /// How often the same came for the same file.
    pub times: u32,
}

/// What of the outbox waits for the rate, or for others that do: what the service has refused, and the rest.
pub(super) fn outside(pending: &[Pending]) -> (Waits, Waits) {
    let counted = |is_meant: fn(&Pending) -> bool| {
        let mut waits = Waits::default();
        for change in pending.iter().filter(|change| is_meant(change)) {
            match change.record.class() {
                Class::Saves => waits.saves += 1,
                Class::Deletes => waits.deletions += 1,
            }
        }
        waits
    };
    (
        counted(|change| change.is_held_back),
        counted(|change| change.is_queued),
    )
}

pub(super) fn requests(traffic: &Traffic) -> Requests {
    let limiter = if traffic.is_own_limit {
        Limiter::Rate
    } else {
        Limiter::Service
    };
    let waits = traffic.waiting;
    let caused = traffic.by_program.iter().map(|(program, count)| Caused {
        program: program.to_string(),
        count: *count,
    });
    Requests {
        last_minute: traffic.spent,
        by_program: caused.collect(),
        left: traffic.left,
        waiting: waits.total(),
        waiting_for: WaitingFor {
            reads: waits.reads,
            lookups: waits.lookups,
            saves: waits.saves,
            deletions: waits.deletions,
            listings: waits.listings,
        },
        longest_wait_seconds: traffic.longest_wait.as_secs_f64().ceil() as u64,
        limited_by: (waits.total() > 0).then_some(limiter),
    }
}

/// What moves: of what is pending, and of what is on its way here.
pub(super) fn transfers(
    pending: &[Pending],
    state: &State,
    store: &Store,
) -> Result<Vec<Transfer>, StateError> {
    let mut transfers: Vec<Transfer> = pending
        .iter()
        .filter_map(|change| upload(state, change))
        .collect();
    for arriving in store.arriving() {
        transfers.push(download(state, &arriving)?);
    }
    Ok(transfers)
}

fn upload(state: &State, change: &Pending) -> Option<Transfer> {
    let Work::Save { size, .. } = change.record.work else {
        return None;
    };
    Some(Transfer {
        direction: Direction::Upload,
        name: typed(state, &change.record.name),
        done: change.sent,
        size,
        bytes_per_second: change.rate?,
    })
}

fn download(state: &State, arriving: &Arriving) -> Result<Transfer, StateError> {
    let row = state.row_of_id(&arriving.id)?;
    let name = row.as_deref().and_then(shown);
    Ok(Transfer {
        direction: Direction::Download,
        name: name.unwrap_or_else(|| arriving.id.to_string()),
        done: arriving.done,
        size: arriving.size,
        bytes_per_second: arriving.rate,
    })
}

/// A failed call, with the name that its file has here; of one that is being deleted, had.
pub(super) fn failure(
    failure: &api::Failure,
    pending: &[Pending],
    state: &State,
) -> Result<Failure, StateError> {
    let (name, id) = match &failure.subject {
        Subject::Name(name) => (Some(typed(state, name)), None),
        Subject::Id(id) => {
            let row = state.row_of_id(id)?;
            let deletion = |change: &&Pending| matches!(&change.record.work, Work::Delete { id: doomed, .. } if doomed == id);
            let deleted = pending.iter().find(deletion);
            let name = row.as_deref().and_then(shown);
            let name = name.or_else(|| Some(typed(state, &deleted?.record.name)));
            (name, Some(id.to_string()))
        }
        Subject::Listing => (None, None),
    };
    let error = &failure.error;
    Ok(Failure {
        at: Timestamp::as_millisecond(failure.at),
        call: error.call.to_string(),
        name,
        id,
        why: error.message.clone(),
        status: error.status,
        request_id: error.request_id.clone(),
        times: failure.times,
    })
}
