//! The checker of one promise: a version is deleted at the service only after what replaces it is there, so that at every
//! instant there is a complete one. It runs when the harness of any test ends, on all that happened in that test.
//!
//! It looks at the emulator's history alone. A version that a request deleted is *accounted for* when, as the request
//! arrived,
//!
//! - a newer file of its name was there: it was replaced, or
//! - a newer file with its bytes was there: it was renamed, or
//! - the user had said so ([`Service::removes`]).
//!
//! What is not accounted for was removed by the user, or it is a mistake. It is one when the name comes back by an upload
//! later (the order was delete, upload), and when an older upload of the name is still there (the wrong one went). A
//! test whose user does just that says so with `removes` before.

use std::fmt::Write as _;
use std::ops::Deref;
use std::sync::Mutex;
use std::thread;

use afs::emulator::{Change, ChangeKind, Config, Emulator, Tick};

/// A test's emulator; ending it checks its history.
pub(crate) struct Service {
    emulator: Option<Emulator>,
    removed: Mutex<Vec<Removed>>,
}

/// A name that the user removes from this tick on.
struct Removed {
    name: String,
    since: Tick,
}

impl Service {
    pub(crate) fn start(config: Config) -> Self {
        Emulator::start(config).expect("the emulator starts").into()
    }

    pub(crate) fn shutdown(self) {
        drop(self);
    }

    /// From now on the user removes files of this name, and may make new ones of the same name after.
    pub(crate) fn removes(&self, name: &str) {
        let since = self.history().expect("read").last().map_or(0, |c| c.done);
        let name = name.to_owned();
        self.removed.lock().unwrap().push(Removed { name, since });
    }
}

impl From<Emulator> for Service {
    fn from(emulator: Emulator) -> Self {
        Self {
            emulator: Some(emulator),
            removed: Mutex::default(),
        }
    }
}

impl Deref for Service {
    type Target = Emulator;

    fn deref(&self) -> &Emulator {
        self.emulator.as_ref().expect("there until it is dropped")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // A test that fails has said why.
        if thread::panicking() {
            return;
        }
        let history = self.history().expect("the history is readable");
        let removed = self.removed.lock().unwrap();
        let mistakes = mistakes(&history, &removed);
        assert!(
            mistakes.is_empty(),
            "versions were deleted with nothing in their place:\n{}",
            mistakes.concat()
        );
    }
}

/// The deletions that leave or left a name without its newest version, each with the history of that name.
fn mistakes(history: &[Change], removed: &[Removed]) -> Vec<String> {
    let deletions = history.iter().filter_map(|change| {
        let asked = change.asked?;
        (change.kind == ChangeKind::Deleted).then_some((change, asked))
    });
    deletions
        .filter(|(deleted, asked)| {
            !is_followed(history, deleted, *asked) && !is_removed(removed, deleted)
        })
        .filter_map(|(deleted, asked)| {
            let why = if let Some(late) = next_upload(history, deleted) {
                format!("{} came only after it", late.id)
            } else {
                let older = older_upload(history, deleted)?;
                format!("it was the newest, and {} is older", older.id)
            };
            Some(told(history, deleted, asked, &why))
        })
        .collect()
}

/// Whether a newer file of its name or with its bytes was there when the deletion was asked for.
fn is_followed(history: &[Change], deleted: &Change, asked: Tick) -> bool {
    let born = stored_at(history, &deleted.id);
    history.iter().any(|newer| {
        newer.kind == ChangeKind::Stored
            && newer.id != deleted.id
            && (born..asked).contains(&newer.done)
            && (newer.filename == deleted.filename || has_bytes_of(newer, deleted))
            && !is_deleted_by(history, &newer.id, asked)
    })
}

/// When a file came; what was there from the start came before everything.
fn stored_at(history: &[Change], id: &str) -> Tick {
    let stored = |change: &&Change| change.kind == ChangeKind::Stored && change.id == id;
    history.iter().find(stored).map_or(0, |change| change.done)
}

fn is_deleted_by(history: &[Change], id: &str, tick: Tick) -> bool {
    history
        .iter()
        .any(|change| change.kind == ChangeKind::Deleted && change.id == id && change.done < tick)
}

fn has_bytes_of(one: &Change, other: &Change) -> bool {
    one.size_bytes == other.size_bytes && one.sha256.is_some() && one.sha256 == other.sha256
}

fn is_removed(removed: &[Removed], deleted: &Change) -> bool {
    removed
        .iter()
        .any(|removed| removed.name == deleted.filename && removed.since < deleted.done)
}

/// The upload that brought the name back.
fn next_upload<'a>(history: &'a [Change], deleted: &Change) -> Option<&'a Change> {
    history.iter().find(|change| {
        change.kind == ChangeKind::Stored
            && change.asked.is_some()
            && change.filename == deleted.filename
            && change.done > deleted.done
    })
}

/// An upload of the name that is older and was still there.
fn older_upload<'a>(history: &'a [Change], deleted: &Change) -> Option<&'a Change> {
    let born = stored_at(history, &deleted.id);
    history.iter().find(|change| {
        change.kind == ChangeKind::Stored
            && change.asked.is_some()
            && change.filename == deleted.filename
            && change.done < born
            && !is_deleted_by(history, &change.id, deleted.done)
    })
}

fn told(history: &[Change], deleted: &Change, asked: Tick, why: &str) -> String {
    let mut text = format!(
        "DELETE {} ({:?}), asked for at {asked}: {why}\n",
        deleted.id, deleted.filename
    );
    for change in history {
        if change.filename == deleted.filename {
            let who = change.asked.map_or_else(
                || "by somebody else".to_owned(),
                |tick| format!("asked for at {tick}"),
            );
            let _ = writeln!(
                text,
                "    {:>6}: {:?} {} of {} bytes, {who}",
                change.done, change.kind, change.id, change.size_bytes
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history by hand: `+id name bytes` was stored, `-id` deleted; a number before a deletion is when it was asked for,
    /// `!` before anything says that somebody else did it.
    fn history(lines: &[&str]) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        for (line, done) in lines.iter().zip((10_u64..).step_by(10)) {
            let other = line.starts_with('!');
            let line = line.trim_start_matches('!');
            let (asked, what) = line
                .split_once(' ')
                .filter(|_| line.starts_with(|c: char| c.is_ascii_digit()))
                .map_or((done - 1, line), |(asked, what)| {
                    (asked.parse().unwrap(), what)
                });
            let (kind, rest) = match what.split_at(1) {
                ("+", rest) => (ChangeKind::Stored, rest),
                ("-", rest) => (ChangeKind::Deleted, rest),
                other => panic!("{other:?}"),
            };
            let mut words = rest.split(' ');
            let id = words.next().unwrap();
            let known = changes.iter().find(|change| change.id == id);
            let (name, bytes) = known.map_or_else(
                || {
                    (
                        words.next().unwrap().to_owned(),
                        words.next().unwrap().to_owned(),
                    )
                },
                |known| (known.filename.clone(), known.sha256.clone().unwrap()),
            );
            changes.push(Change {
                kind,
                id: id.to_owned(),
                filename: name,
                size_bytes: 1,
                sha256: Some(bytes),
                asked: (!other).then_some(asked),
                done,
            });
        }
        changes
    }

    fn found(lines: &[&str]) -> usize {
        mistakes(&history(lines), &[]).len()
    }

    #[test]
    fn what_is_replaced_renamed_or_removed_is_accounted_for() {
        for lines in [
            &["+1 a x", "+2 a y", "-1"][..],
            // Twice at once, deleted in any order.
            &["+1 a x", "+2 a y", "+3 a z", "-2", "-1"],
            &["+1 a x", "+2 b x", "-1"],
            // Renamed, and a new file under the old name: how editors keep a backup.
            &["+1 a x", "+2 b x", "-1", "+3 a y"],
            &["+1 a x", "-1"],
            &["+1 a x", "+2 a y", "-1", "-2"],
            // Another client's files are not ours to account for.
            &["+1 a x", "!-1", "+2 a y"],
            // An older file of somebody else, listed beside ours.
            &["!+1 a x", "+2 a y", "-2"],
        ] {
            assert_eq!(found(lines), 0, "{lines:?}");
        }
    }

    #[test]
    fn a_deletion_before_the_upload_is_a_mistake() {
        assert_eq!(found(&["+1 a x", "-1", "+2 a y"]), 1);
        assert_eq!(found(&["!+1 a x", "-1", "+2 a y"]), 1);
    }

    #[test]
    fn a_deletion_that_was_asked_for_before_the_upload_was_done_is_a_mistake() {
        // At 15 only the first was there, at 25 both.
        assert_eq!(found(&["+1 a x", "+2 a y", "15 -1", "+3 a z"]), 1);
        assert_eq!(found(&["+1 a x", "+2 a y", "25 -1", "+3 a z"]), 0);
    }

    #[test]
    fn a_newer_version_that_is_gone_again_replaces_nothing() {
        assert_eq!(found(&["+1 a x", "+2 a y", "-2", "-1", "+3 a z"]), 2);
        assert_eq!(found(&["+1 a x", "+2 b x", "-2", "-1", "+3 a z"]), 1);
    }

    #[test]
    fn deleting_the_new_version_instead_of_the_old_one_is_a_mistake() {
        assert_eq!(found(&["+1 a x", "+2 a y", "-2"]), 1);
    }

    #[test]
    fn a_name_that_the_user_removes_may_come_back_from_then_on_only() {
        let history = history(&["+1 a x", "-1", "+2 a y", "-2", "+3 a z"]);
        let removed = |name: &str, since| {
            let name = name.to_owned();
            mistakes(&history, &[Removed { name, since }]).len()
        };
        assert_eq!(removed("a", 0), 0);
        assert_eq!(removed("a", 30), 1);
        assert_eq!(removed("b", 0), 2);
    }

    /// The whole way, with real requests: the harness of a test that deletes first and uploads then fails.
    #[test]
    fn a_harness_that_saw_a_deletion_before_the_upload_fails() {
        use afs::api::{ApiKey, FilesApi, HttpClient, HttpConfig, Upload};

        let upload = |api: &HttpClient, content: &'static [u8]| {
            api.upload(Upload {
                filename: "report.md".to_owned(),
                mime_type: "text/plain".to_owned(),
                size: content.len() as u64,
                expires_in_seconds: None,
                body: Box::new(content),
            })
            .unwrap()
        };
        let ends_well = |is_mistaken: bool| {
            let service = Service::start(Config::default());
            let key = ApiKey::new(crate::harness::KEY).unwrap();
            let api = HttpClient::new(&HttpConfig::new(service.base_url(), key)).unwrap();
            let old = upload(&api, b"old");
            if is_mistaken {
                api.delete(&old.id).unwrap();
                upload(&api, b"new");
            } else {
                upload(&api, b"new");
                api.delete(&old.id).unwrap();
            }
            service.reset_requests();
            thread::spawn(move || drop(service)).join()
        };
        ends_well(false).unwrap();
        let said = ends_well(true).unwrap_err();
        let said = said.downcast_ref::<String>().unwrap();
        assert!(said.contains("\"report.md\""), "{said}");
        assert!(said.contains("came only after it"), "{said}");
    }
}
