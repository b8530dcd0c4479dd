//! Files of sessions: read as any output is, removed for ever, and not for writing.

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile};

use super::sessions::{names, plant, session};
use crate::fetching::cached;
use crate::harness::{Calls, World, eventually};
use crate::surface::{NEW, On, Setup, calls_by_the_end, on_both};
use crate::trash::trashed;

on_both! {
    a_name_in_a_session_keeps_its_suffix_when_the_newest_is_removed
    a_file_of_a_session_is_downloaded_once
    what_a_session_was_given_is_not_readable
    removing_a_file_of_a_session_is_one_deletion
    a_removed_file_stays_away_while_listings_still_show_it
    a_removal_that_is_given_up_brings_the_file_back
    a_session_is_not_for_writing
}

fn a_name_in_a_session_keeps_its_suffix_when_the_newest_is_removed(on: On) {
    let world = World::new();
    let older = plant(&world, "sesn_1", "a", b"older");
    plant(&world, "sesn_1", "a", b"newer");
    let suffixed = format!("a~{}", &older.id[older.id.len() - 8..]);
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["a".to_owned(), suffixed.clone()]);
    world.removes("a");
    fs.unlink(&session("sesn_1/a")).unwrap();
    assert_eq!(names(&*fs, "sesn_1"), std::slice::from_ref(&suffixed));
    assert_eq!(fs.unlink(&session("sesn_1/a")), Err(libc::ENOENT));
    eventually("it is deleted", || world.all_stored("a").len() == 1);
    assert_eq!(names(&*fs, "sesn_1"), [suffixed]);
    fs.end();
    assert_eq!(world.stored("a").id, older.id);
}

fn a_file_of_a_session_is_downloaded_once(on: On) {
    const ONE_DOWNLOAD: Calls = Calls {
        content: 1,
        ..Calls::NONE
    };
    let world = World::new();
    plant(&world, "sesn_1", "a", b"text");
    let fs = on.start(&world);
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    world.forget_calls();
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    assert_eq!(world.calls(), ONE_DOWNLOAD);
    fs.end();
    let fs = on.start(&world);
    world.forget_calls();
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    assert_eq!(world.calls(), Calls::NONE);
}

fn what_a_session_was_given_is_not_readable(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "output", b"text");
    let given = world.emulator.plant(PlantedFile {
        downloadable: false,
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("given", "secret")
    });
    given.unwrap();
    let fs = on.start(&world);
    assert_eq!(names(&*fs, "sesn_1"), ["given", "output"]);
    world.forget_calls();
    assert_eq!(fs.stat(&session("sesn_1/output")).unwrap().mode, 0o400);
    assert_eq!(fs.stat(&session("sesn_1/given")).unwrap().mode, 0);
    assert_eq!(
        fs.open(&session("sesn_1/given"), libc::O_RDONLY),
        Err(libc::EACCES)
    );
    assert_eq!(
        fs.access(&session("sesn_1/given"), libc::R_OK),
        Err(libc::EACCES)
    );
    assert_eq!(fs.access(&session("sesn_1/output"), libc::R_OK), Ok(()));
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
}

fn removing_a_file_of_a_session_is_one_deletion(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "read before", b"text");
    plant(&world, "sesn_1", "dir/never read", b"gone");
    plant(&world, "sesn_1", "stays", b"stays");
    world.output("read before", b"of the workspace");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(fs.get(&session("sesn_1/read before")).unwrap(), b"text");
    if on == On::Mounted {
        // The download is synced after the reader's close; the trash takes what is here.
        eventually("it is cached", || !cached(&world).is_empty());
    }
    assert_eq!(names(&*fs, "sesn_1").len(), 3);
    world.forget_calls();
    for name in ["read before", "dir%2Fnever read"] {
        let path = session(&format!("sesn_1/{name}"));
        fs.unlink(&path).unwrap();
        assert_eq!(fs.stat(&path), Err(libc::ENOENT));
    }
    assert_eq!(names(&*fs, "sesn_1"), ["stays"]);
    assert_eq!(fs.names(), ["read before"]);
    assert_eq!(
        calls_by_the_end(&world, fs),
        Calls {
            delete: 2,
            ..Calls::NONE
        }
    );
    assert_eq!(world.emulator.files().unwrap().len(), 2);
    if on == On::Mounted {
        let expected = ("read before".to_owned(), b"text".to_vec());
        assert_eq!(trashed(&world), [expected]);
    }
}

/// A tombstone stands for the session's listing, whatever the root's says, and over a remount.
fn a_removed_file_stays_away_while_listings_still_show_it(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "a", b"text");
    plant(&world, "sesn_1", "b", b"text");
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["a", "b"]);
    world.hang(&[LoggedCall::Delete]);
    fs.unlink(&session("sesn_1/a")).unwrap();
    for _ in 0..2 {
        assert!(fs.names().is_empty());
        assert_eq!(names(&*fs, "sesn_1"), ["b"]);
    }
    fs.kill();
    world.emulator.clear_faults();
    let fs = on.start_with(&world, Setup::refreshing());
    assert_eq!(names(&*fs, "sesn_1"), ["b"]);
    fs.end();
    assert!(world.all_stored("a").is_empty());
}

fn a_removal_that_is_given_up_brings_the_file_back(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "a", b"text");
    let fs = on.start(&world);
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Delete),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(529)))
    }]);
    fs.unlink(&session("sesn_1/a")).unwrap();
    eventually("the removal is given up between two tries", || {
        fs.drop_pending("a").is_ok()
    });
    world.forget_calls();
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    assert_eq!(fs.get(&session("sesn_1/a")).unwrap(), b"text");
    assert_eq!(fs.names(), [""; 0]);
    let calls = calls_by_the_end(&world, fs);
    assert_eq!(calls, Calls::NONE, "its bytes are back from the trash");
}

fn a_session_is_not_for_writing(on: On) {
    let world = World::new();
    plant(&world, "sesn_1", "a", b"text");
    world.output("mine", b"mine");
    let fs = on.start(&world);
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    let (a, new) = (session("sesn_1/a"), session("sesn_1/new"));
    world.forget_calls();
    assert_eq!(fs.open(&new, NEW), Err(libc::EROFS));
    for flags in [
        libc::O_WRONLY,
        libc::O_RDWR,
        NEW,
        libc::O_WRONLY | libc::O_APPEND,
    ] {
        assert_eq!(fs.open(&a, flags), Err(libc::EROFS), "{flags:o}");
    }
    assert_eq!(fs.truncate(&a, 0), Err(libc::EROFS));
    assert_eq!(fs.truncate(&a, 2), Err(libc::EROFS));
    assert_eq!(fs.set_mtime(&a, 0), Err(libc::EROFS));
    assert_eq!(fs.access(&a, libc::W_OK), Err(libc::EROFS));
    assert_eq!(fs.rename(&a, &new, 0), Err(libc::EROFS));
    assert_eq!(fs.rename(&a, "out", 0), Err(libc::EROFS));
    assert_eq!(fs.rename("mine", &new, 0), Err(libc::EROFS));
    assert_eq!(fs.rename("mine", &a, 0), Err(libc::EROFS));
    assert_eq!(names(&*fs, "sesn_1"), ["a"]);
    assert_eq!(fs.names(), ["mine"]);
    assert_eq!(calls_by_the_end(&world, fs), Calls::NONE);
    assert_eq!(world.stored_bytes("a"), b"text");
}
