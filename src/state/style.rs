//! In which style the workspace's files are named. The state is told directory names and keeps the service's filename
//! beside each; outbox records, deletions to come and successors have the filename only. The style leads from one to the
//! other, and is remembered here, so that whoever opens the state next means the same names.

use std::borrow::Cow;

use rusqlite::params;

use crate::api::FileId;
use crate::names::NameStyle;

use super::catalogue::{COLUMNS, row_where};
use super::db::{Durability, Tx};
use super::unfinished::UnfinishedSeq;
use super::{Ino, Merge, Row, State, StateError, lock};

/// The fact that remembers it.
pub(super) const STYLE: &str = "names";

/// A file as it was before a change here that the service has not confirmed.
#[derive(Debug)]
pub struct Former {
    /// Its id.
    pub id: FileId,
    /// The directory name that it comes back under, should the change be given up.
    pub name: String,
    /// Whether that carries a suffix.
    pub suffixed: bool,
    /// The service's label.
    pub filename: String,
    /// Whether it was saved through this machine.
    pub own: bool,
}

impl State {
    /// The style that names are in.
    #[must_use]
    pub fn style(&self) -> NameStyle {
        *lock(&self.style)
    }

    /// Whether a style was ever chosen.
    pub fn has_style(&self) -> Result<bool, StateError> {
        Ok(self.fact(STYLE)?.is_some())
    }

    /// Changes the style, and what is named in it: all of it or nothing. `rename` gives everything its new name; it is
    /// for the moment after a start, while nobody has looked at a name.
    pub fn restyle(
        &self,
        style: NameStyle,
        rename: impl FnOnce(&mut Merge<'_, '_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.change("restyle", Durability::Relaxed, style, |merge| {
            rename(merge)?;
            merge.tx.sql.execute(
                "INSERT INTO facts (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
                [STYLE, style.as_str()],
            )?;
            Ok(())
        })?;
        *lock(&self.style) = style;
        Ok(())
    }

    /// The filename under which a new file of a directory name goes to the service. That it may have the name is for
    /// whoever gave it to see to; a name that may not be given is sent as it is, for the service to refuse.
    pub(super) fn filename_for<'a>(&self, name: &'a str) -> Cow<'a, str> {
        let filename = self.style().filename(name);
        filename.unwrap_or(Cow::Borrowed(name))
    }

    /// Whether a record that is about a filename is what a person means by a name.
    pub(super) fn is_called(&self, filename: &str, name: &str) -> bool {
        self.style().typed_name(filename) == name
    }
}

/// The filename that new content of an inode goes out under, which is the inode's from now on.
pub(super) fn send_as(
    tx: &Tx<'_>,
    ino: Ino,
    filename: String,
    style: NameStyle,
) -> Result<String, StateError> {
    let sent = style.sent_again(&filename);
    if sent == filename {
        return Ok(filename);
    }
    tx.sql.execute(
        "UPDATE files SET filename = ?2 WHERE ino = ?1",
        params![ino.0 as i64, sent],
    )?;
    Ok(sent.into_owned())
}

impl Merge<'_, '_> {
    /// Everything that stands under a name and that `is_meant`.
    pub fn shown(&self, is_meant: impl Fn(&Row) -> bool) -> Result<Vec<Row>, StateError> {
        let mut rows = self.tx.sql.prepare(&format!(
            "SELECT {COLUMNS} FROM files WHERE name IS NOT NULL OR scoped_name IS NOT NULL"
        ))?;
        let rows = rows.query_map([], Row::read)?;
        let meant = rows.filter(|row| row.as_ref().map_or(true, &is_meant));
        Ok(meant.collect::<Result<_, _>>()?)
    }

    /// Takes the name from an inode that gets another one in the same change.
    pub fn unname(&mut self, ino: Ino) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached("UPDATE files SET name = NULL, scoped_name = NULL WHERE ino = ?1")?
            .execute([ino.0 as i64])?;
        self.tx.touched.push(ino);
        Ok(())
    }

    /// The name an inode has now, in the directory.
    pub fn name_of(&self, ino: Ino) -> Result<Option<String>, StateError> {
        let row = row_where(&self.tx.sql, "ino = ?1", [ino.0 as i64])?;
        Ok(row.and_then(|row| row.name))
    }

    /// What comes back under a name should changes be given up.
    pub fn formers(&self) -> Result<Vec<Former>, StateError> {
        let mut formers = self.tx.sql.prepare(
            "SELECT id, name, suffixed, filename, own FROM former WHERE name IS NOT NULL",
        )?;
        let formers = formers.query_map([], |row| {
            Ok(Former {
                id: FileId::new(row.get::<_, String>(0)?),
                name: row.get(1)?,
                suffixed: row.get(2)?,
                filename: row.get(3)?,
                own: row.get(4)?,
            })
        })?;
        Ok(formers.collect::<Result<_, _>>()?)
    }

    /// Has such a file come back under another name.
    pub fn rename_former(&mut self, id: &FileId, name: &str) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached("UPDATE former SET name = ?2 WHERE id = ?1")?
            .execute([id.as_str(), name])?;
        Ok(())
    }

    /// Gives an unfinished draft another name.
    pub fn rename_unfinished(
        &mut self,
        draft: UnfinishedSeq,
        name: &str,
    ) -> Result<(), StateError> {
        self.tx
            .sql
            .prepare_cached("UPDATE unfinished SET name = ?2 WHERE seq = ?1")?
            .execute(params![draft.0, name])?;
        Ok(())
    }
}
