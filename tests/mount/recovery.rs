//! What a start makes of what the end before left: nothing that the service has stays out of sight.

use afs::state::{Class, Digest, Ino, Renaming, Sealed, SealedBytes, State, When};

use super::harness::{PATIENCE, World, within};
use super::surface::{NEW, On, on_both};

on_both! {
    what_a_draft_was_moved_over_comes_back_when_the_draft_is_never_closed
}

/// A new file is on record as empty, takes the place of another one by a rename, and is written to afterwards. When the
/// mount ends it is unfinished, and the record of its emptiness goes; what it was to replace was hidden for ever then:
/// neither shown nor deleted.
fn what_a_draft_was_moved_over_comes_back_when_the_draft_is_never_closed(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("report.md", b"the version before").unwrap();
    let draft = fs.open("report.new", NEW).unwrap();
    fs.rename("report.new", "report.md", 0).unwrap();
    fs.pwrite(draft, 0, b"a part of").unwrap();
    fs.terminate();

    let fs = on.start(&world);
    assert_eq!(fs.unfinished(), [("report.md".to_owned(), 9)]);
    assert_eq!(fs.names(), ["report.md"]);
    assert_eq!(fs.get("report.md").unwrap(), b"the version before");
    // It is sent in its place all the same, when a person says so.
    fs.retry(Some("report.md")).unwrap();
    assert_eq!(fs.get("report.md").unwrap(), b"a part of");
    fs.end();
    assert_eq!(world.stored_bytes("report.md"), b"a part of");
}

/// A rename at once and over nothing.
pub(crate) fn renaming(ino: Ino, name: &str) -> Renaming<'_> {
    Renaming {
        ino,
        name,
        mime_type: "text/plain",
        over: None,
        when: When::Now,
        stage: &|held| panic!("{held:?} has no need of another name"),
        ctime: 2,
    }
}

/// A save that was never sent is renamed: what the service got under the new name before that is not it.
#[test]
fn what_was_never_sent_is_not_looked_for_under_its_new_name() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let ino = state.create("draft", "text/plain", false, 1).unwrap().ino;
    let sealed = Sealed {
        ino,
        size: 4,
        mime_type: "text/plain",
        digest: Digest::of(b"text"),
        bytes: SealedBytes::Inline(b"text"),
        mtime: 1,
        ctime: 1,
        when: When::Now,
    };
    state.seal(&sealed).unwrap();
    state.rename(&renaming(ino, "final")).unwrap();
    drop(state);
    let pending = State::open(dir.path()).unwrap().pending();
    let sent: Vec<_> = pending
        .iter()
        .map(|pending| (pending.record.name.as_str(), pending.record.sent_at))
        .collect();
    assert_eq!(sent, [("final", None)]);
}

/// The quiet time of a save was written down by a clock that was set back by an hour since.
#[test]
fn a_clock_that_was_set_back_does_not_delay_what_waits_for_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let ino = state.create("a.tmp", "text/plain", false, 1).unwrap().ino;
    let sealed = Sealed {
        ino,
        size: 4,
        mime_type: "text/plain",
        digest: Digest::of(b"text"),
        bytes: SealedBytes::Inline(b"text"),
        mtime: 1,
        ctime: 1,
        when: When::After(3_600_000),
    };
    state.seal(&sealed).unwrap();
    drop(state);
    let state = State::open(dir.path()).unwrap();
    let next = within(PATIENCE, "its turn", move || {
        state.next_record(Class::Saves)
    });
    assert_eq!(next.unwrap().name, "a.tmp");
}
