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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{Class, NewRow};
    use super::*;
    use crate::api::{FileId, FileMetadata, Scope};

    /// The root's listings do not show a session's files: that they do not show a deleted one says nothing.
    #[test]
    fn a_removed_file_of_a_session_stays_hidden_whatever_the_roots_listing_says() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let file = FileMetadata {
            id: FileId::new("file_1"),
            filename: "a".to_owned(),
            mime_type: "text/plain".to_owned(),
            size_bytes: 1,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: None,
            downloadable: true,
            scope: Some(Scope {
                id: "sesn_1".to_owned(),
            }),
        };
        let ino = state
            .merge(|merge| {
                merge.insert(&NewRow {
                    name: "a",
                    suffixed: false,
                    file: &file,
                    learned_at: 0,
                })
            })
            .unwrap();
        assert!(state.lookup("a").unwrap().is_none());
        let row = state.lookup_scoped("sesn_1", "a").unwrap().unwrap();
        assert_eq!(row.ino, ino);
        state.unlink(ino).unwrap();
        let deletion = state.next_record(Class::Deletes).unwrap();
        state.deleted(deletion.seq, &file.id).unwrap();
        let is_hidden_after = |scope| {
            let long_after = Millis::MAX;
            state
                .merge(|merge| {
                    merge.forget_hidden(scope, long_after, &HashSet::new())?;
                    merge.is_hidden(&file.id)
                })
                .unwrap()
        };
        assert!(is_hidden_after(None));
        assert!(is_hidden_after(Some("sesn_2")));
        assert!(!is_hidden_after(Some("sesn_1")));
    }
}
