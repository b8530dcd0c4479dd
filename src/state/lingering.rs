//! Replaced files that stay at the service for a while, because their ids are in somebody's prompts: those that were given
//! out by a command for a day, or all for as long as the mount was told.
//!
//! Nothing here waits for them: they are hidden as what is deleted is, and their deletions come into the outbox when their
//! time is over.

use std::time::Duration;

use rusqlite::{Connection, params};

use crate::api::FileId;

use super::clock::Moment;
use super::db::{Durability, Tx};
use super::rows::insert_delete;
use super::{Doom, Millis, State, StateError};

/// How long a replaced file stays whose id was given out.
const GIVEN_OUT_FOR: Millis = 24 * 60 * 60 * 1000;

/// The fact that says how long every replaced file stays, milliseconds.
const EVERY: &str = "keep_replaced";

impl State {
    /// Somebody is handed this id: once its file is replaced, it stays at the service for a day. Durable.
    pub fn give_out(&self, id: &FileId) -> Result<(), StateError> {
        let is_given = self.db.read(|sql| is_given(sql, id))?;
        if is_given {
            return Ok(());
        }
        self.write("give out", Durability::Durable, |tx| {
            let give = "INSERT OR IGNORE INTO given (id) VALUES (?1)";
            tx.sql.execute(give, [id.as_str()])?;
            Ok(())
        })
    }

    /// How long every replaced file stays at the service, in milliseconds.
    pub fn keep_replaced(&self, time: Millis) -> Result<(), StateError> {
        self.set_fact(EVERY, &time.to_string())
    }

    /// Waits; whether the outbox stopped meanwhile.
    #[must_use]
    pub fn is_stopped_within(&self, wait: Duration) -> bool {
        self.queue.is_stopped_within(wait)
    }

    /// How many replaced files stay for a while.
    pub fn lingering(&self) -> Result<u64, StateError> {
        self.db.read(|sql| {
            let mut count = sql.prepare_cached("SELECT count(*) FROM lingering")?;
            count.query_row([], |row| Ok(row.get::<_, i64>(0)? as u64))
        })
    }

    /// The replaced files among them, newest last: id, the name people know it by, and until when, milliseconds.
    pub fn lingering_replaced(&self) -> Result<Vec<(FileId, String, Millis)>, StateError> {
        self.db.read(|sql| {
            let mut all = sql.prepare_cached(
                "SELECT id, name, until FROM lingering WHERE doom = ?1 ORDER BY until",
            )?;
            let rows = all.query_map([Doom::Replaced.to_column()], |row| {
                Ok((
                    FileId::new(row.get::<_, String>(0)?),
                    row.get(1)?,
                    row.get(2)?,
                ))
            })?;
            rows.collect()
        })
    }

    /// Hands over the deletions whose time has come at `now`, milliseconds; when the next one's comes.
    pub fn end_lingering(&self, now: Millis) -> Result<Option<Millis>, StateError> {
        let next = |state: &Self| {
            state.db.read(|sql| {
                let mut next = sql.prepare_cached("SELECT min(until) FROM lingering")?;
                next.query_row([], |row| row.get::<_, Option<Millis>>(0))
            })
        };
        if next(self)?.is_none_or(|until| until > now) {
            return next(self);
        }
        let mut entries = self.queue.entries();
        let deletes = self.write("end lingering", Durability::Durable, |tx| {
            let due = due(tx, now)?;
            let deletes = due.iter().map(|(id, name, doom)| {
                for table in ["lingering", "given"] {
                    let delete = format!("DELETE FROM {table} WHERE id = ?1");
                    tx.sql.execute(&delete, [id.as_str()])?;
                }
                insert_delete(tx, id, name, *doom, Moment::now())
            });
            deletes.collect::<Result<Vec<_>, _>>()
        })?;
        for entry in deletes {
            entries.insert_delete(entry);
        }
        drop(entries);
        next(self)
    }
}

/// Has a replaced file stay where it has to; whether it does.
pub(super) fn lingers(
    tx: &mut Tx<'_>,
    id: &FileId,
    name: &str,
    doom: Doom,
    now: Moment,
) -> Result<bool, StateError> {
    if doom == Doom::Removed {
        return Ok(false);
    }
    let is_given = is_given(&tx.sql, id)?;
    let every: Option<String> = tx
        .sql
        .prepare_cached("SELECT max(value) FROM facts WHERE key = ?1")?
        .query_row([EVERY], |row| row.get(0))?;
    let every = every.and_then(|time| time.parse().ok()).unwrap_or(0);
    let time: Millis = if is_given { GIVEN_OUT_FOR } else { 0 }.max(every);
    if time > 0 {
        tx.sql
            .prepare_cached(
                "INSERT OR REPLACE INTO lingering (id, name, doom, until) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                id.as_str(),
                name,
                doom.to_column(),
                now.wall.saturating_add(time)
            ])?;
    }
    Ok(time > 0)
}

fn is_given(sql: &Connection, id: &FileId) -> rusqlite::Result<bool> {
    sql.prepare_cached("SELECT EXISTS (SELECT 1 FROM given WHERE id = ?1)")?
        .query_row([id.as_str()], |row| row.get(0))
}

fn due(tx: &Tx<'_>, now: Millis) -> Result<Vec<(FileId, String, Doom)>, StateError> {
    let mut due = tx
        .sql
        .prepare_cached("SELECT id, name, doom FROM lingering WHERE until <= ?1")?;
    let due = due.query_map([now], |row| {
        Ok((
            FileId::new(row.get::<_, String>(0)?),
            row.get(1)?,
            Doom::from_column(row.get(2)?),
        ))
    })?;
    Ok(due.collect::<Result<_, _>>()?)
}
