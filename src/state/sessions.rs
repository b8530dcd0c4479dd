//! The catalogue's part for sessions: files that belong to one stand under names of their own there.

use std::sync::Arc;

use rusqlite::params;

use super::catalogue::{COLUMNS, row_where};
use super::{Ino, Millis, Row, State, StateError};

impl State {
    /// The file under this name of a session's directory.
    pub fn lookup_scoped(&self, session: &str, name: &str) -> Result<Option<Arc<Row>>, StateError> {
        self.load(|sql| row_where(sql, "scope = ?1 AND scoped_name = ?2", [session, name]))
    }

    /// Up to `limit` entries of a session's directory with inode numbers above `after`, in their order.
    pub fn list_scoped(
        &self,
        session: &str,
        after: Ino,
        limit: usize,
    ) -> Result<Vec<Row>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM files WHERE scope = ?1 AND scoped_name IS NOT NULL AND ino > ?2 \
                 ORDER BY ino LIMIT ?3"
            ))?;
            let rows =
                statement.query_map(params![session, after.0 as i64, limit as i64], Row::read)?;
            rows.collect()
        })
    }

    /// Whether any file of this session is known.
    pub fn has_session(&self, session: &str) -> Result<bool, StateError> {
        self.db.read(|sql| {
            sql.prepare_cached("SELECT 1 FROM files WHERE scope = ?1 AND scoped_name IS NOT NULL")?
                .exists([session])
        })
    }

    /// The sessions of which files are known.
    pub fn sessions(&self) -> Result<Vec<String>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT DISTINCT scope FROM files WHERE scope IS NOT NULL AND scoped_name IS NOT NULL",
            )?;
            let sessions = statement.query_map([], |row| row.get(0))?;
            sessions.collect()
        })
    }

    /// Inodes that a complete listing of a session begun at `listed_at` should have shown.
    pub fn expected_in_session(
        &self,
        session: &str,
        listed_at: Millis,
    ) -> Result<Vec<Ino>, StateError> {
        self.db.read(|sql| {
            let mut statement = sql.prepare_cached(
                "SELECT ino FROM files WHERE scope = ?1 AND scoped_name IS NOT NULL AND learned_at < ?2",
            )?;
            let inodes = statement.query_map(params![session, listed_at], |row| {
                row.get::<_, i64>(0).map(|ino| Ino(ino as u64))
            })?;
            inodes.collect()
        })
    }
}
