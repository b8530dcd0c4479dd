//! Giving pending work up, by the user's wish. Its records are *claimed* first, as a worker claims what it sends, so that
//! nobody sends them while their bytes are brought to the trash; then they go, and what the service has is shown again.
//!
//! A record that the service may have seen does not go at once: its file does, and the uploader finds out whether it had
//! arrived, and deletes what did.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

use rusqlite::params;

use crate::api::FileId;

use super::catalogue::row_where;
use super::clock::now;
use super::db::{Durability, Tx};
use super::queue::EntriesGuard;
use super::rows::{drop_records, forget, forget_former};
use super::superseding::take_superseded;
use super::{Body, Cleanup, Ino, Millis, Record, Seq, State, StateError, Work};

/// Why pending work was not given up.
#[derive(Debug)]
pub enum GiveUpError {
    /// There is none of that name.
    NotPending,
    /// A worker has it.
    InFlight,
    /// A program has the file open for writing.
    Open,
    /// That was done already; what is left is to look whether the service has it.
    BeingLookedFor,
    /// The local disk.
    Disk(io::Error),
    /// The database.
    State(StateError),
}

impl fmt::Display for GiveUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPending => f.write_str("nothing of that name is pending; see afs pending"),
            Self::InFlight => f.write_str(
                "it is on its way to the service at this moment; try again when it has arrived or failed",
            ),
            Self::Open => f.write_str(
                "a program has it open for writing; close it there, then try again",
            ),
            Self::BeingLookedFor => f.write_str(
                "it is given up already; afs will look whether it had reached the service, and delete it there",
            ),
            Self::Disk(error) => write!(
                f,
                "the local disk failed, so everything stays as it was: {error}"
            ),
            Self::State(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for GiveUpError {}

impl From<StateError> for GiveUpError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct GivenUp {
    /// Staged files that nothing needs any more.
    pub cleanup: Cleanup,
    /// Ids of the service that are shown again only after the next listing.
    pub unlisted: Vec<FileId>,
}

impl State {
    /// Claims all work of a name, so that nobody else has it in hand. Let it go with [`State::unclaim`] or
    /// [`State::give_up`].
    pub fn claim(&self, name: &str) -> Result<Vec<Record>, GiveUpError> {
        let shown = self.lookup(name)?.map(|row| row.ino);
        let mut entries = self.queue.entries();
        let mut meant = BTreeSet::new();
        let mut is_looked_for = false;
        for entry in entries.all() {
            let is_named = self.is_called(&entry.record.name, name);
            match entry.record.ino() {
                None if is_named => {
                    meant.insert(entry.record.seq);
                }
                Some(ino) if shown == Some(ino) || is_named => {
                    if self.row(ino)?.is_some() {
                        meant.extend(entries.of_inode(ino));
                    } else {
                        is_looked_for = true;
                    }
                }
                _ => {}
            }
        }
        if meant.is_empty() {
            return Err(if is_looked_for {
                GiveUpError::BeingLookedFor
            } else {
                GiveUpError::NotPending
            });
        }
        let records: Vec<Record> = meant
            .iter()
            .filter_map(|seq| entries.get(*seq))
            .map(|entry| entry.record.clone())
            .collect();
        for record in &records {
            if entries.get(record.seq).is_some_and(|entry| entry.in_flight) {
                return Err(GiveUpError::InFlight);
            }
            if record
                .ino()
                .is_some_and(|ino| entries.is_being_written(ino))
            {
                return Err(GiveUpError::Open);
            }
        }
        for seq in meant {
            if let Some(entry) = entries.get_mut(seq) {
                entry.in_flight = true;
            }
        }
        Ok(records)
    }

    /// Lets claimed work go on as if nothing had been.
    pub fn unclaim(&self, claimed: &[Record]) {
        let mut entries = self.queue.entries();
        for record in claimed {
            if let Some(entry) = entries.get_mut(record.seq) {
                entry.in_flight = false;
            }
        }
    }

    /// Gives claimed work up, durably. Where that is refused it goes on as if nothing had been.
    ///
    /// What the service has is shown under a new inode number: the kernel may hold pages and sizes of what is given up
    /// under the old one.
    pub fn give_up(&self, claimed: &[Record]) -> Result<GivenUp, GiveUpError> {
        let result = self.try_give_up(claimed);
        if result.is_err() {
            self.unclaim(claimed);
        }
        result
    }

    fn try_give_up(&self, claimed: &[Record]) -> Result<GivenUp, GiveUpError> {
        let mut entries = self.queue.entries();
        let inodes: BTreeSet<Ino> = claimed.iter().filter_map(Record::ino).collect();
        must_be_still(&entries, &inodes, claimed)?;
        let (doubtful, certain): (Vec<&Record>, Vec<&Record>) =
            claimed.iter().partition(|record| is_doubtful(record));
        let certain: Vec<Seq> = certain.iter().map(|record| record.seq).collect();
        let now = now();
        let unlisted = self.write("try give up", Durability::Durable, |tx| {
            drop_records(tx, &certain)?;
            for record in &doubtful {
                empty(tx, record)?;
            }
            let mut back = Vec::new();
            for ino in &inodes {
                back.extend(take_out(tx, *ino)?);
            }
            for record in claimed {
                if let Work::Delete { id, .. } = &record.work {
                    back.push(id.clone());
                }
            }
            let mut unlisted = Vec::new();
            for id in back {
                if !bring_back(tx, &id, now)? {
                    unlisted.push(id);
                }
            }
            Ok(unlisted)
        })?;
        let mut cleanup = forget(&mut entries, &certain);
        for record in doubtful {
            if let Some(entry) = entries.get_mut(record.seq) {
                if let Work::Save { body, .. } = &mut entry.record.work
                    && let Body::Staged(stage) = std::mem::replace(body, Body::Held)
                {
                    cleanup.push(stage);
                }
                entry.in_flight = false;
                entry.on_hold = false;
                entry.not_before = 0;
                entry.wants_room = false;
                // Who still waits for it waits for nothing.
                entry.ticket.settle(Ok(()));
            }
        }
        Ok(GivenUp { cleanup, unlisted })
    }
}

/// Takes its bytes from a record: it is only looked for from now on.
fn empty(tx: &Tx<'_>, record: &Record) -> Result<(), StateError> {
    tx.sql.execute(
        "UPDATE outbox SET inline = NULL, stage = NULL, held = 1 WHERE seq = ?1",
        [record.seq.0],
    )?;
    Ok(())
}

/// Whether the service may have it.
fn is_doubtful(record: &Record) -> bool {
    record.sent_at.is_some() && matches!(record.work, Work::Save { .. })
}

/// Nothing was written to the inodes since their work was claimed.
fn must_be_still(
    entries: &EntriesGuard<'_>,
    inodes: &BTreeSet<Ino>,
    claimed: &[Record],
) -> Result<(), GiveUpError> {
    for ino in inodes {
        let is_claimed = |seq: &Seq| claimed.iter().any(|record| record.seq == *seq);
        if entries.is_being_written(*ino) || !entries.of_inode(*ino).iter().all(is_claimed) {
            return Err(GiveUpError::Open);
        }
    }
    Ok(())
}

/// Takes an inode out of the catalogue; the ids at the service that it stands for, or would have replaced.
pub(super) fn take_out(tx: &mut Tx<'_>, ino: Ino) -> Result<Vec<FileId>, StateError> {
    let row = row_where(&tx.sql, "ino = ?1", [ino.0 as i64])?;
    let mut ids: Vec<FileId> = row.and_then(|row| row.id).into_iter().collect();
    ids.extend(take_superseded(tx, ino)?);
    tx.sql
        .execute("DELETE FROM files WHERE ino = ?1", [ino.0 as i64])?;
    tx.touched.push(ino);
    Ok(ids)
}

/// Shows an id again as it was before it was changed; `false` where only a listing can say how: its name is taken, or it
/// was not in the directory.
pub(super) fn bring_back(tx: &mut Tx<'_>, id: &FileId, now: Millis) -> Result<bool, StateError> {
    tx.sql
        .execute("DELETE FROM hidden WHERE id = ?1", [id.as_str()])?;
    let rows = tx.sql.execute(
        "INSERT INTO files (name, suffixed, id, filename, mime_type, size, created_at, mtime, ctime, downloadable, \
         own, spared, sha256, kept_size, kept_mtime, learned_at) SELECT name, suffixed, id, filename, mime_type, size, created_at, mtime, mtime, \
         downloadable, own, spared, sha256, kept_size, kept_mtime, ?2 FROM former WHERE id = ?1 AND name IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM files WHERE files.name = former.name OR files.id = former.id)",
        params![id.as_str(), now],
    )?;
    forget_former(tx, id)?;
    Ok(rows > 0)
}

#[cfg(test)]
mod tests {
    use super::super::rows::remember_replaced;
    use super::super::{Confirmed, Nanos};
    use super::*;
    use crate::api::FileMetadata;

    /// The database makes floating point of what 64 bits do not hold, and such a row could not be read any more.
    #[test]
    fn a_file_of_any_time_comes_back_as_it_was() {
        for (created_at, mtime) in [
            ("2025-04-15T18:37:24.100435Z", 1_744_742_244_100_435_000),
            ("9999-12-30T00:00:00Z", Nanos::MAX),
            ("0001-01-01T00:00:00Z", Nanos::MIN),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let state = State::open(dir.path()).unwrap();
            let file = FileMetadata {
                id: FileId::new("file_1"),
                filename: "a".to_owned(),
                mime_type: "text/plain".to_owned(),
                size_bytes: 1,
                created_at: created_at.parse().unwrap(),
                downloadable: false,
                scope: None,
                expires_at: None,
            };
            let confirmed = Confirmed {
                file: &file,
                spared: false,
                kept: None,
                keeps_replaced: false,
            };
            let is_back = state.write("test", Durability::Relaxed, |tx| {
                remember_replaced(tx, &confirmed, None, Some(("a".to_owned(), false)))?;
                bring_back(tx, &file.id, 0)
            });
            assert!(is_back.unwrap());
            let row = state.lookup("a").unwrap().expect("it is back");
            assert_eq!((row.created_at, row.mtime), (file.created_at, mtime));
        }
    }
}
