//! `.afs/sessions/SESSION_ID/`: which sessions are found, and what is listed of them when somebody looks.

use std::collections::HashSet;
use std::time::Duration;

use afs::emulator::{
    Config, FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile, StoredFile, Switches,
};

use super::names_of;
use crate::harness::{Calls, World, eventually};
use crate::surface::{On, Setup, Surface, on_both};

on_both! {
    a_session_is_listed_once_when_somebody_looks
    a_large_session_takes_a_list_for_each_thousand_files
    a_session_that_was_not_listed_is_found_by_its_file
    names_in_a_session_follow_the_rules_of_the_root
    a_session_without_files_is_missing_by_one_list
    names_that_are_no_sessions_are_never_asked_for
    the_roots_listing_leaves_sessions_alone
    a_session_shows_what_came_and_went_after_the_interval
    a_session_that_can_not_be_listed_says_why
    a_session_that_is_known_is_shown_while_its_listing_fails
    sessions_have_inode_numbers_of_their_own_and_keep_them
    a_server_that_ignores_the_session_is_not_believed
}

pub(super) fn session(id: &str) -> String {
    format!(".afs/sessions/{id}")
}

pub(crate) fn plant(world: &World, session: &str, name: &str, content: &[u8]) -> StoredFile {
    let planted = world.emulator.plant(PlantedFile {
        session: Some(session.to_owned()),
        ..PlantedFile::output(name, content)
    });
    planted.expect("planted")
}

pub(super) fn lists(count: usize) -> Calls {
    Calls {
        list: count,
        ..Calls::NONE
    }
}

pub(super) fn names(fs: &dyn Surface, id: &str) -> Vec<String> {
    names_of(fs.list(&session(id)).expect("listed"))
}

fn a_session_is_listed_once_when_somebody_looks(on: On) {
    let world = World::new();
    world.output("of the workspace", b"0");
    plant(&world, "sesn_1", "a", b"1");
    plant(&world, "sesn_1", "b", b"22");
    plant(&world, "sesn_2", "a", b"333");
    let fs = on.start(&world);
    assert_eq!(fs.names(), ["of the workspace"]);
    world.forget_calls();
    assert_eq!(fs.list(".afs/sessions").unwrap(), []);
    assert_eq!(world.calls(), Calls::NONE);
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    assert_eq!(world.calls(), lists(1));
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    assert_eq!(fs.stat(&session("sesn_1/b")).unwrap().size, 2);
    assert_eq!(fs.stat(&session("sesn_1/c")), Err(libc::ENOENT));
    assert_eq!(world.calls(), lists(1));
    assert_eq!(fs.stat(&session("sesn_2/a")).unwrap().size, 3);
    assert_eq!(world.calls(), lists(2));
    assert_eq!(
        names_of(fs.list(".afs/sessions").unwrap()),
        ["sesn_1", "sesn_2"]
    );
    assert_eq!(fs.names(), ["of the workspace"]);
    assert_eq!(world.calls(), lists(2));
    fs.end();
    // By the next mount too, which looks at each once more.
    let fs = on.start(&world);
    world.forget_calls();
    assert_eq!(
        names_of(fs.list(".afs/sessions").unwrap()),
        ["sesn_1", "sesn_2"]
    );
    assert_eq!(fs.stat(&session("sesn_1/b")).unwrap().size, 2);
    assert_eq!(world.calls(), Calls::NONE);
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    assert_eq!(world.calls(), lists(1));
}

fn a_large_session_takes_a_list_for_each_thousand_files(on: On) {
    let world = World::new();
    for n in 0..2001 {
        plant(&world, "sesn_1", &format!("{n:04}"), b"x");
    }
    let fs = on.start(&world);
    world.forget_calls();
    let listed = fs.list(&session("sesn_1")).unwrap();
    assert_eq!(world.calls(), lists(3));
    let distinct: HashSet<_> = listed.iter().collect();
    assert_eq!((listed.len(), distinct.len()), (2001, 2001));
    assert_eq!(fs.list(&session("sesn_1")).unwrap(), listed);
    assert_eq!(world.calls(), lists(3));
}

/// One file of a session can be known by its id alone: that is not the session.
fn a_session_that_was_not_listed_is_found_by_its_file(on: On) {
    let world = World::new();
    let file = plant(&world, "sesn_1", "a", b"1");
    plant(&world, "sesn_1", "b", b"2");
    let fs = on.start(&world);
    let by_id = fs.stat(&format!(".afs/by-id/{}", file.id)).unwrap();
    assert_eq!(names_of(fs.list(".afs/sessions").unwrap()), ["sesn_1"]);
    world.forget_calls();
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    assert_eq!(world.calls(), lists(1));
    assert_eq!(fs.stat(&session("sesn_1/a")).unwrap(), by_id);
}

fn names_in_a_session_follow_the_rules_of_the_root(on: On) {
    let world = World::new();
    let older = plant(&world, "sesn_1", "a.md", b"older");
    plant(&world, "sesn_1", "a.md", b"newer");
    for hostile in ["dir/a.md", "..", "x\ny", ".afs"] {
        plant(&world, "sesn_1", hostile, hostile.as_bytes());
    }
    // The same name elsewhere is another name.
    world.output("a.md", b"of the workspace");
    plant(&world, "sesn_2", "a.md", b"of another session");
    let suffixed = |file: &StoredFile| format!("a~{}.md", &file.id[file.id.len() - 8..]);
    let fs = on.start_with(&world, Setup::refreshing());
    let found = names(&*fs, "sesn_1");
    let mut expected = vec![
        "%2E%2E".to_owned(),
        "a.md".to_owned(),
        suffixed(&older),
        "dir%2Fa.md".to_owned(),
        "x%0Ay".to_owned(),
    ];
    let views = found.iter().find(|name| name.starts_with(".afs~")).cloned();
    expected.extend(views);
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(fs.get(&session("sesn_1/a.md")).unwrap(), b"newer");
    assert_eq!(fs.get(&session("sesn_1/dir%2Fa.md")).unwrap(), b"dir/a.md");
    assert_eq!(fs.get(&session("sesn_1/%2E%2E")).unwrap(), b"..");
    assert_eq!(
        fs.get(&session("sesn_2/a.md")).unwrap(),
        b"of another session"
    );
    assert_eq!(fs.get("a.md").unwrap(), b"of the workspace");
    // Names stay under another listing, and under one that brings a newer file of the name.
    assert_eq!(names(&*fs, "sesn_1"), found);
    plant(&world, "sesn_1", "a.md", b"newest");
    eventually("the newest is shown", || {
        names(&*fs, "sesn_1").len() == found.len() + 1
    });
    let path = session(&format!("sesn_1/{}", suffixed(&older)));
    assert_eq!(fs.get(&path).unwrap(), b"older");
    assert_eq!(fs.get(&session("sesn_1/a.md")).unwrap(), b"newest");
    let found = names(&*fs, "sesn_1");
    fs.end();
    let fs = on.start(&world);
    assert_eq!(names(&*fs, "sesn_1"), found);
}

fn a_session_without_files_is_missing_by_one_list(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    world.forget_calls();
    for _ in 0..3 {
        assert_eq!(fs.stat(&session("sesn_1")), Err(libc::ENOENT));
        assert_eq!(fs.stat(&session("sesn_1/a")), Err(libc::ENOENT));
    }
    assert_eq!(world.calls(), lists(1));
    assert_eq!(fs.list(".afs/sessions").unwrap(), []);
    fs.end();
    let fs = on.start_with(&world, Setup::refreshing());
    plant(&world, "sesn_1", "a", b"text");
    assert_eq!(fs.stat(&session("sesn_1/a")).unwrap().size, 4);
}

fn names_that_are_no_sessions_are_never_asked_for(on: On) {
    let world = World::new();
    let fs = on.start_with(&world, Setup::refreshing());
    world.forget_calls();
    for name in [
        ".git",
        "desktop.ini",
        "file_1",
        "sesn_",
        "sesn_a.md",
        "\u{e4}",
    ] {
        assert_eq!(fs.stat(&session(name)), Err(libc::ENOENT), "{name}");
    }
    assert_eq!(world.calls(), Calls::NONE);
}

fn the_roots_listing_leaves_sessions_alone(on: On) {
    let world = World::new();
    let kept = plant(&world, "sesn_1", "a", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    let before = fs.stat(&session("sesn_1/a")).unwrap();
    world.output("new", b"new");
    for _ in 0..3 {
        assert_eq!(fs.names(), ["new"]);
    }
    world.forget_calls();
    assert_eq!(fs.stat(&session("sesn_1/a")).unwrap(), before);
    assert_eq!(fs.stat(&format!(".afs/by-id/{}", kept.id)).unwrap(), before);
    assert_eq!(world.calls(), Calls::NONE);
    // Nor does a session's listing hide anything of the root.
    plant(&world, "sesn_1", "b", b"text");
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    assert_eq!(fs.names(), ["new"]);
}

fn a_session_shows_what_came_and_went_after_the_interval(on: On) {
    let world = World::new();
    let gone = plant(&world, "sesn_1", "gone", b"text");
    plant(&world, "sesn_1", "stays", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["gone", "stays"]);
    let by_id = format!(".afs/by-id/{}", gone.id);
    fs.stat(&by_id).unwrap();
    world.emulator.delete(&gone.id).unwrap();
    plant(&world, "sesn_1", "came", b"text");
    let calls = world.calls_of(|| assert_eq!(names(&*fs, "sesn_1"), ["came", "stays"]));
    assert_eq!(calls, lists(1));
    assert_eq!(fs.stat(&session("sesn_1/gone")), Err(libc::ENOENT));
    assert_eq!(fs.stat(&by_id), Err(libc::ENOENT));
    // A name that is new is found without a listing before it.
    plant(&world, "sesn_1", "newer", b"text");
    assert_eq!(fs.get(&session("sesn_1/newer")).unwrap(), b"text");
}

fn a_session_that_can_not_be_listed_says_why(on: On) {
    for (status, errno) in [
        (401, libc::EACCES),
        (403, libc::EACCES),
        (404, libc::ENOENT),
        (400, libc::ENOENT),
        (429, libc::EAGAIN),
        (529, libc::EIO),
    ] {
        let world = World::new();
        plant(&world, "sesn_1", "a", b"text");
        let mut setup = Setup::refreshing();
        setup.conduct.patience = Duration::from_secs(3);
        let fs = on.start_with(&world, setup);
        world.emulator.set_faults(vec![FaultRule {
            call: Some(LoggedCall::List),
            ..FaultRule::new(FaultAction::Status(FaultAnswer::status(status)))
        }]);
        assert_eq!(fs.stat(&session("sesn_1")), Err(errno), "{status}");
        world.emulator.clear_faults();
        // After limits the next request may have to wait for longer than anybody sits through.
        eventually("it is asked again", || fs.list(&session("sesn_1")).is_ok());
        assert_eq!(names(&*fs, "sesn_1"), ["a"], "{status}");
    }
}

fn a_session_that_is_known_is_shown_while_its_listing_fails(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "a", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::List),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(529)))
    }]);
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    // While it hangs, too.
    world.hang(&[LoggedCall::List]);
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    world.emulator.clear_faults();
}

fn sessions_have_inode_numbers_of_their_own_and_keep_them(on: On) {
    let world = World::new();
    let ids = ["sesn_1", "sesn_2", "sesn_3"];
    for id in ids {
        plant(&world, id, "a", b"text");
    }
    let fs = on.start(&world);
    let numbers = || ids.map(|id| fs.stat(&session(id)).unwrap().ino);
    let first = numbers();
    let listed = fs.list(".afs/sessions").unwrap();
    assert_eq!(numbers(), first);
    assert_eq!(
        listed,
        ids.map(str::to_owned)
            .into_iter()
            .zip(first)
            .collect::<Vec<_>>()
    );
    let mut all: HashSet<u64> = first.into();
    for path in ["", ".afs", ".afs/by-id", ".afs/outputs", ".afs/sessions"] {
        all.insert(fs.stat(path).unwrap().ino);
    }
    assert_eq!(all.len(), 8);
    assert_eq!(fs.stat(&session("sesn_1")).unwrap().mode, 0o700);
}

/// Without the beta's header on its way a server may answer with the workspace's own files.
fn a_server_that_ignores_the_session_is_not_believed(on: On) {
    let world = World::with(Config {
        switches: Switches {
            scope_ignored_without_beta: true,
            ..Switches::default()
        },
        ..Config::default()
    });
    world.output("mine", b"mine");
    let fs = on.start(&world);
    // What such a server says is its ordinary list.
    let list = serde_json::json!({
        "data": [{"type": "file", "id": "file_other", "filename": "mine", "mime_type": "text/plain",
                  "size_bytes": 4, "created_at": "2025-04-15T18:37:24Z", "downloadable": true}],
        "has_more": false, "first_id": "file_other", "last_id": "file_other",
    });
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::List),
        ..FaultRule::new(FaultAction::Status(FaultAnswer {
            body: Some(list),
            ..FaultAnswer::status(200)
        }))
    }]);
    assert_eq!(fs.stat(&session("sesn_1")), Err(libc::EIO));
    world.emulator.clear_faults();
    assert_eq!(fs.names(), ["mine"]);
}
