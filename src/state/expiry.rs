//! Files that the service gives up after a time: it lists them for a while longer, without their bytes.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::api::FileId;

use super::db::Durability;
use super::{Ino, Row, State, StateError};

/// Files in the directory that expire, and that have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expiring {
    /// How many expire soon.
    pub soon: u64,
    /// The name of the next one, and when.
    pub next: Option<(String, Timestamp)>,
    /// How many have expired and are listed still.
    pub expired: u64,
}

impl Row {
    /// Whether the service has given the file's bytes up, by its own word or by this machine's clock. A clock can be
    /// wrong: what is refused on its word alone must do no harm.
    #[must_use]
    pub fn may_have_expired(&self, now: Timestamp) -> bool {
        self.is_expired || self.expires_at.is_some_and(|time| time <= now)
    }
}

impl State {
    /// Remembers that the service has given a file's bytes up.
    pub fn set_expired(&self, id: &FileId) -> Result<(), StateError> {
        self.write("expired", Durability::Relaxed, |tx| {
            let ino: Option<i64> = tx
                .sql
                .prepare_cached("UPDATE files SET expired = 1 WHERE id = ?1 RETURNING ino")?
                .query_row([id.as_str()], |row| row.get(0))
                .optional()?;
            tx.touched.extend(ino.map(|ino| Ino(ino as u64)));
            Ok(())
        })
    }

    /// What in the directory expires between `now` and `soon`, and what has expired.
    pub fn expiring(&self, now: Timestamp, soon: Timestamp) -> Result<Expiring, StateError> {
        self.db.read(|sql| {
            let (now, soon) = (now.as_microsecond(), soon.as_microsecond());
            let (count, expired) = sql
                .prepare_cached(
                    "SELECT COUNT(*) FILTER (WHERE expires_at > ?1 AND expired = 0), \
                     COUNT(*) FILTER (WHERE expires_at <= ?1 OR expired = 1) \
                     FROM files WHERE expires_at <= ?2 AND name IS NOT NULL",
                )?
                .query_row(params![now, soon], |row| {
                    Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
                })?;
            let next = sql
                .prepare_cached(
                    "SELECT name, expires_at FROM files WHERE expires_at > ?1 AND expires_at <= ?2 \
                     AND name IS NOT NULL AND expired = 0 ORDER BY expires_at LIMIT 1",
                )?
                .query_row(params![now, soon], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok(Expiring {
                soon: count,
                next: next
                    .and_then(|(name, time)| Some((name, Timestamp::from_microsecond(time).ok()?))),
                expired,
            })
        })
    }
}
