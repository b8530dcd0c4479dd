//! Directories of sessions. A session is found by its id: one of which no file is known is asked for at the service, and
//! is there when it has some. Its files can be read and removed, not written: whatever is uploaded belongs to the
//! workspace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::api::ErrorKind;
use crate::names;
use crate::state::{Ino, Row, lock};
use crate::sync::{RefreshError, SessionError};

use super::{Add, BATCH, Caller, DirEntry, Entry, FsError, SESSION_DIRS, WorkspaceFs};

/// The sessions that have a directory here, each under its number: a number is given once and stays for as long as the
/// mount does.
#[derive(Debug, Default)]
pub(in crate::fs) struct SessionDirs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, usize>,
}

impl SessionDirs {
    /// The session's number, a new one where it has none.
    fn number(&self, session: &str) -> u64 {
        let mut known = lock(&self.0);
        if let Some(number) = known.numbers.get(session) {
            return *number as u64;
        }
        let (name, number) = (Arc::<str>::from(session), known.names.len());
        known.names.push(Arc::clone(&name));
        known.numbers.insert(name, number);
        number as u64
    }

    fn name(&self, number: u64) -> Option<Arc<str>> {
        let number = usize::try_from(number).ok()?;
        lock(&self.0).names.get(number).cloned()
    }
}

impl WorkspaceFs {
    /// The session whose directory this is.
    pub(super) fn session_of(&self, ino: Ino) -> Result<Arc<str>, FsError> {
        let number = ino.0.checked_sub(SESSION_DIRS).ok_or(FsError::Stale)?;
        self.session_dirs.name(number).ok_or(FsError::Stale)
    }

    pub(super) fn lookup_session(&self, name: &str, caller: Caller) -> Result<Entry, FsError> {
        if !is_directory_name(name) {
            return Err(FsError::NotFound);
        }
        if !self.state.has_session(name)? {
            if !looks_like_a_session(name) {
                return Err(FsError::NotFound);
            }
            self.refresh_session(name, caller)?;
            if !self.state.has_session(name)? {
                return Err(FsError::NotFound);
            }
        }
        self.session_entry(name)
    }

    fn session_entry(&self, session: &str) -> Result<Entry, FsError> {
        self.view_entry(Ino(SESSION_DIRS + self.session_dirs.number(session)))
    }

    /// Lists the session's files where that is due.
    pub(super) fn refresh_session(&self, session: &str, caller: Caller) -> Result<(), FsError> {
        let sessions = self.refresher.sessions();
        match sessions.refresh(session, &|| caller.is_dying()) {
            Ok(()) => Ok(()),
            Err(SessionError::GivenUp) => Err(FsError::Interrupted),
            Err(SessionError::Failed(error)) => Err(reason(&error)),
        }
    }

    pub(super) fn lookup_scoped(
        &self,
        session: &str,
        name: &str,
        caller: Caller,
    ) -> Result<Entry, FsError> {
        if name.len() > names::MAX_NAME {
            return Err(FsError::NameTooLong);
        }
        let mut row = self.state.lookup_scoped(session, name)?;
        if row.is_none() && self.may_be_new(name) {
            self.refresh_session(session, caller)?;
            row = self.state.lookup_scoped(session, name)?;
        }
        Ok(self.scoped_entry(&*row.ok_or(FsError::NotFound)?))
    }

    /// Looked up anew each time, as all in a view is: its listing shows at once what went.
    fn scoped_entry(&self, row: &Row) -> Entry {
        Entry {
            attr: self.row_attr(row),
            is_lasting: false,
        }
    }

    /// The file under a name of a session's directory; `None` where the directory is none of a session.
    pub(in crate::fs) fn row_in_session(
        &self,
        parent: Ino,
        name: &std::ffi::OsStr,
    ) -> Result<Option<Arc<Row>>, FsError> {
        if !(SESSION_DIRS..super::LINKS).contains(&parent.0) {
            return Ok(None);
        }
        let session = self.session_of(parent)?;
        let name = name.to_str().ok_or(FsError::NotFound)?;
        let row = self.state.lookup_scoped(&session, name)?;
        row.ok_or(FsError::NotFound).map(Some)
    }

    pub(super) fn list_scoped(
        &self,
        session: &str,
        after: Ino,
        add: Add<'_>,
    ) -> Result<(), FsError> {
        Self::list_rows(
            after,
            |after| Ok(self.state.list_scoped(session, after, BATCH)?),
            |row| Some((row.scoped_name.clone()?, self.scoped_entry(row))),
            add,
        )
    }

    /// Gives each session of which files are known its number.
    pub(super) fn learn_sessions(&self) -> Result<(), FsError> {
        for session in self.state.sessions()? {
            if is_directory_name(&session) {
                self.session_dirs.number(&session);
            }
        }
        Ok(())
    }

    /// The sessions of which files are known, behind the dots, each at its number.
    pub(super) fn list_sessions(&self, offset: u64, add: Add<'_>) -> Result<(), FsError> {
        let mut number = offset.saturating_sub(2);
        while let Some(session) = self.session_dirs.name(number) {
            number += 1;
            if !self.state.has_session(&session)? {
                continue;
            }
            let entry = DirEntry {
                offset: number + 2,
                name: session.to_string(),
                entry: self.session_entry(&session)?,
            };
            if !add(&entry) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a session's id can be a directory's name as it is. Those that can't have none: their files are found by id.
fn is_directory_name(session: &str) -> bool {
    session.len() <= names::MAX_NAME && names::directory_name(session) == session
}

/// Whether a name is worth a question to the service. Programs ask every directory for names of theirs, which begin
/// otherwise.
fn looks_like_a_session(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    name.strip_prefix("sesn_")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_plain))
}

/// Why a session can't be shown.
fn reason(error: &RefreshError) -> FsError {
    match error {
        // What the service says of a session that it does not know is written nowhere.
        RefreshError::Api(error)
            if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Refused) =>
        {
            FsError::NotFound
        }
        RefreshError::Api(error) => error.into(),
        RefreshError::Contradictory(_) | RefreshError::State(_) | RefreshError::Stopped => {
            FsError::Io
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_session_is_asked_for() {
        for (name, expected) in [
            ("sesn_011CZkZAtmR3yMPDzynEDxu7", true),
            ("sesn_a-b_c", true),
            ("sesn_", false),
            ("sesn_a.txt", false),
            ("sesn_a b", false),
            (".git", false),
            ("desktop.ini", false),
            ("file_011", false),
        ] {
            assert_eq!(looks_like_a_session(name), expected, "{name}");
        }
    }

    #[test]
    fn ids_that_lead_elsewhere_have_no_directory() {
        for (id, expected) in [
            ("sesn_1", true),
            ("session 1", true),
            ("", false),
            (".", false),
            ("..", false),
            ("../..", false),
            ("a/b", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_directory_name(id), expected, "{id:?}");
        }
        assert!(!is_directory_name(&"s".repeat(256)));
    }

    #[test]
    fn a_session_keeps_its_number() {
        let dirs = SessionDirs::default();
        assert_eq!(
            (dirs.number("a"), dirs.number("b"), dirs.number("a")),
            (0, 1, 0)
        );
        assert_eq!(dirs.name(1).as_deref(), Some("b"));
        assert_eq!(dirs.name(2), None);
    }
}
