//! What a person does about work that is pending, by name: giving it up. The kernel knows nothing of it.

use crate::names;
use crate::state::{Body, GiveUpError, GivenUp, PendingBody, Record, State, Unfinished, Work};
use crate::store::Store;

use super::WorkspaceFs;

/// One piece of work that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// What it was.
    pub kind: DroppedKind,
    /// The file's name.
    pub name: String,
    /// Bytes that were not sent.
    pub size: u64,
    /// Whether they are in the trash now.
    pub in_trash: bool,
    /// Whether the service may have it all the same; then it is looked for and deleted there.
    pub may_have_arrived: bool,
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DroppedKind {
    /// An upload.
    Save,
    /// A deletion.
    Delete,
    /// A draft that was never closed.
    Unfinished,
}

impl WorkspaceFs {
    /// Gives up what is pending under a name: the bytes that were to be sent go to the trash, and the directory shows
    /// what the service has. Drafts of the name that were never closed go first, and nothing else then.
    pub fn drop_pending(&self, name: &str) -> Result<Vec<Dropped>, GiveUpError> {
        let unfinished = self.unfinished_of(name)?;
        if !unfinished.is_empty() {
            return unfinished
                .iter()
                .map(|draft| self.drop_unfinished(draft))
                .collect();
        }
        let (dropped, given_up) = give_up_pending(&self.state, &self.store, name)?;
        if !given_up.unlisted.is_empty() {
            self.refresher.ids_are_back();
        }
        for change in &dropped {
            let what = match change.kind {
                DroppedKind::Save => "upload",
                DroppedKind::Delete => "deletion",
                DroppedKind::Unfinished => "draft",
            };
            log::info!("{}: its {what} is given up", change.name);
        }
        Ok(dropped)
    }

    fn drop_unfinished(&self, draft: &Unfinished) -> Result<Dropped, GiveUpError> {
        let style = self.state.style();
        let filename = style.filename(&draft.name);
        let called = names::directory_name(filename.as_deref().unwrap_or(&draft.name));
        let id = format!("unfinished{}", draft.seq);
        let in_trash = match self.state.unfinished_body(draft.seq)? {
            Some(PendingBody::Inline(bytes)) => self.store.throw_away_bytes(&bytes, &id, &called),
            Some(PendingBody::Staged(stage)) => self.store.throw_away_staged(&stage, &id, &called),
            None => Ok(false),
        };
        let in_trash = in_trash.map_err(GiveUpError::Disk)?;
        let cleanup = self.state.drop_unfinished(draft)?;
        self.store.drop_stages(&cleanup);
        Ok(Dropped {
            kind: DroppedKind::Unfinished,
            name: draft.name.clone(),
            size: draft.size,
            in_trash,
            may_have_arrived: false,
        })
    }
}

/// Gives up what is pending under a name, also where no mount is; drafts that were never closed are left.
pub fn give_up_pending(
    state: &State,
    store: &Store,
    name: &str,
) -> Result<(Vec<Dropped>, GivenUp), GiveUpError> {
    let claimed = state.claim(name)?;
    let dropped: Result<Vec<Dropped>, GiveUpError> = claimed
        .iter()
        .map(|record| throw_away_record(state, store, record))
        .collect();
    let dropped = match dropped {
        Ok(dropped) => dropped,
        Err(error) => {
            state.unclaim(&claimed);
            return Err(error);
        }
    };
    let given_up = state.give_up(&claimed)?;
    store.drop_stages(&given_up.cleanup);
    Ok((dropped, given_up))
}

/// Brings the bytes of a save to the trash, and those of a deletion back from there. What it did is done again
/// should the record not go after all.
pub fn throw_away_record(
    state: &State,
    store: &Store,
    record: &Record,
) -> Result<Dropped, GiveUpError> {
    // The trash speaks of filenames: whoever looks into it sees them in the style of the day.
    let called = names::directory_name(&record.name);
    let id = format!("unsent{}", record.seq);
    let (kind, size, in_trash) = match &record.work {
        Work::Save { size, body, .. } => {
            let in_trash = match body {
                Body::Inline => {
                    let bytes = state.inline_body(record.seq)?;
                    store.throw_away_bytes(&bytes, &id, &called)
                }
                Body::Staged(file) => store.throw_away_staged(file, &id, &called),
                // The bytes of what it was renamed from stay kept.
                Body::Held => Ok(false),
            };
            (
                DroppedKind::Save,
                *size,
                in_trash.map_err(GiveUpError::Disk)?,
            )
        }
        Work::Delete { id, .. } => {
            store.take_back(id).map_err(GiveUpError::Disk)?;
            (DroppedKind::Delete, 0, false)
        }
    };
    Ok(Dropped {
        kind,
        name: state.style().typed_name(&record.name).into_owned(),
        size,
        in_trash,
        may_have_arrived: kind == DroppedKind::Save && record.sent_at.is_some(),
    })
}
