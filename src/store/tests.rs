//! The store on its own: what is done to the disk, and in which order.

use std::fmt;
use std::sync::Arc;

use super::*;
use crate::api::FileMetadata;
use crate::disk::{Step, Watch};
use crate::state::{Class, Confirmed, Sealed, SealedBytes, State, When};

/// What each kept file has here: more than is read in one piece.
pub(super) const SIZE: usize = 300 * 1024;

fn limits(kept: Option<u64>) -> Limits {
    Limits {
        cache: 1 << 20,
        trash: true,
        min_free: Some(0),
        kept,
        no_progress: Duration::from_secs(60),
    }
}

/// A workspace with saved files of these names, their copies kept.
pub(super) fn kept(dir: &Path, limit: Option<u64>, names: &[&str]) -> (State, Store, Vec<FileId>) {
    let state = State::open(dir).unwrap();
    let store = Store::open(dir, &dir.join("cache"), limits(limit)).unwrap();
    let ids = names.iter().map(|name| save(&state, &store, name));
    let ids = ids.collect();
    (state, store, ids)
}

fn save(state: &State, store: &Store, name: &str) -> FileId {
    let bytes = vec![1; SIZE];
    let row = state.create(name, "text/plain", false, 1).unwrap();
    let sealed = Sealed {
        ino: row.ino,
        size: SIZE as u64,
        mime_type: "text/plain",
        digest: crate::state::Digest::of(&bytes),
        bytes: SealedBytes::Inline(&bytes),
        mtime: 1,
        ctime: 1,
        when: When::Now,
    };
    state.seal(&sealed).unwrap();
    let record = state.next_record(Class::Saves).unwrap();
    let id = FileId::new(format!("file_{name}"));
    let confirmed = Confirmed {
        file: &FileMetadata {
            id: id.clone(),
            filename: name.to_owned(),
            mime_type: "text/plain".to_owned(),
            size_bytes: SIZE as u64,
            created_at: jiff::Timestamp::UNIX_EPOCH,
            downloadable: false,
            scope: None,
            expires_at: None,
        },
        spared: false,
        kept: Some(store.keep_bytes(&bytes, &id).unwrap()),
        keeps_replaced: false,
    };
    state.confirm(record.seq, &confirmed).unwrap();
    id
}

/// Writes steps down, and refuses what it is told to.
#[derive(Default)]
struct Guard {
    refused: Mutex<&'static str>,
    done: Mutex<Vec<String>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

impl Watch for Guard {
    fn before(&self, step: &Step<'_>) -> io::Result<()> {
        let refused = *self.refused.lock().unwrap();
        if !refused.is_empty() && step.to_string() == refused {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn after(&self, step: &Step<'_>, _is_done: bool) {
        self.done.lock().unwrap().push(step.to_string());
    }
}

/// Who deletes at the service has nothing else left: what is in the trash must not be there by the grace of a disk
/// that has not lost its power yet.
#[test]
fn what_is_thrown_away_is_safe_on_the_disk_before_anybody_deletes_it() {
    let dir = tempfile::tempdir().unwrap();
    let guard = Arc::new(Guard::default());
    let disk = Disk::watched(Arc::clone(&guard) as _);
    let store = Store::open_on(&disk, dir.path(), &dir.path().join("c"), limits(None)).unwrap();
    let id = FileId::new("file_a");
    store.keep_bytes(b"text", &id).unwrap();
    guard.done.lock().unwrap().clear();
    *guard.refused.lock().unwrap() = "sync names in trash";
    store.throw_away(&id, "a").unwrap_err();
    // It is there, and not safe: the next try does not take it for done.
    store.throw_away(&id, "a").unwrap_err();
    *guard.refused.lock().unwrap() = "";
    assert!(store.throw_away(&id, "a").unwrap());
    assert_eq!(
        *guard.done.lock().unwrap(),
        [
            "make directory in trash",
            "rename kept to trash",
            "sync names in trash",
            "sync names in trash"
        ]
    );
    assert!(!store.throw_away(&FileId::new("file_b"), "b").unwrap());
    // So does the next process.
    let store = Store::open_on(&disk, dir.path(), &dir.path().join("c"), limits(None)).unwrap();
    *guard.refused.lock().unwrap() = "sync names in trash";
    store.throw_away(&id, "a").unwrap_err();
}
