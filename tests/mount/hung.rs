//! A server that hangs: what is known or held here goes on at once, who waits for the server waits alone, and when it
//! moves again everybody gets the right bytes.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use afs::emulator::{FaultAction, FaultMoment, FaultRule, LoggedCall};

use super::harness::{Calls, Mount, World, errno, eventually, pattern, within};

/// What a local operation may take. The best of a few is asked, for this machine may be busy.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How often an operation is tried before its best time counts.
const TRIES: usize = 5;

/// An `ls` waits so long for a hung refresh, the first time.
const FIRST_LISTING: Duration = Duration::from_millis(2_500);

/// Runs `act` a few times; the fastest must have been [`AT_ONCE`]. None may hang.
fn at_once(what: &'static str, act: impl Fn(usize) + Send + 'static) {
    let best = within(Duration::from_secs(15), what, move || {
        (0..TRIES)
            .map(|attempt| {
                let begun = Instant::now();
                act(attempt);
                begun.elapsed()
            })
            .min()
            .expect("tried")
    });
    println!("{what}: {best:?}");
    assert!(best < AT_ONCE, "{what} took {best:?}");
}

/// `ls`, `stat` of new names, `cat` of what is here and `cp` in up to its fsync: none of them needs the server.
fn everything_local_is_at_once(mount: &Mount, local: &[(&'static str, Vec<u8>)]) {
    let path = mount.path().to_owned();
    at_once("ls", move |_| {
        assert!(fs::read_dir(&path).unwrap().count() > 0);
    });
    let path = mount.path().to_owned();
    at_once("stat of a new name", move |n| {
        let error = fs::metadata(path.join(format!("new name {n}")));
        assert_eq!(errno(error), libc::ENOENT);
    });
    for (name, content) in local {
        let (path, content) = (mount.at(name), content.clone());
        at_once("cat of a local file", move |_| {
            assert_eq!(fs::read(&path).unwrap(), content);
        });
    }
    let path = mount.path().to_owned();
    let (done, files) = std::sync::mpsc::channel();
    at_once("cp up to its fsync", move |n| {
        let mut file = fs::File::create(path.join(format!("copied {n}"))).unwrap();
        file.write_all(&pattern(300_000)).unwrap();
        file.sync_all().unwrap();
        // Its close is the save, which may wait for the server.
        done.send(file).unwrap();
    });
    drop(files);
}

fn in_background<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(act)
}

/// How many of these calls the server holds right now.
pub(crate) fn held(world: &World, call: LoggedCall) -> usize {
    let requests = world.emulator.requests();
    requests
        .iter()
        .filter(|request| request.call == call && request.ended.is_none())
        .count()
}

fn stall(call: LoggedCall) -> FaultRule {
    FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Stall)
    }
}

#[test]
fn forty_hung_readers_and_a_hung_rm_leave_everything_local_at_once() {
    let world = World::new();
    let outputs: Vec<(String, Vec<u8>)> = (0..40)
        .map(|n| (format!("out-{n:02}"), pattern(1_000 + n)))
        .collect();
    for (name, content) in &outputs {
        world.output(name, content);
    }
    for n in 0..TRIES {
        world.output(&format!("doomed {n}"), b"soon gone");
    }
    world.output("cached", b"read before");
    let mount = world.mount();
    assert_eq!(mount.sh("cat cached"), "read before");
    mount.sh("echo mine > kept");

    world.hang(&[LoggedCall::Content, LoggedCall::Delete]);
    world.forget_calls();
    let readers: Vec<_> = outputs
        .iter()
        .map(|(name, _)| {
            let path = mount.at(name);
            in_background(move || fs::read(path))
        })
        .collect();
    eventually("all readers wait at the server", || {
        held(&world, LoggedCall::Content) == 40
    });
    let path = mount.path().to_owned();
    at_once("rm", move |n| {
        fs::remove_file(path.join(format!("doomed {n}"))).unwrap();
    });
    eventually("the deletions wait at the server", || {
        held(&world, LoggedCall::Delete) == TRIES
    });

    let local = [
        ("cached", b"read before".to_vec()),
        ("kept", b"mine\n".to_vec()),
    ];
    everything_local_is_at_once(&mount, &local);
    assert!(readers.iter().all(|reader| !reader.is_finished()));
    assert_eq!(held(&world, LoggedCall::Content), 40);

    world.emulator.clear_faults();
    for ((name, content), reader) in outputs.iter().zip(readers) {
        let read = within(Duration::from_secs(20), "a reader", || reader.join());
        assert_eq!(&read.unwrap().unwrap(), content, "{name}");
    }
    eventually("the deletions arrive", || {
        let files = world.emulator.files().unwrap();
        !files.iter().any(|file| file.filename.starts_with("doomed"))
    });
    let calls = world.calls().but_lists();
    assert_eq!((calls.content, calls.delete), (40, TRIES));
}

#[test]
fn a_hung_listing_is_waited_for_once_and_then_served_from_what_is_known() {
    let world = World::new();
    world.output("a", b"1");
    let mount = world.mount_with(&["--refresh", "100ms"]);
    assert_eq!(mount.names(), ["a"]);
    world.hang(&[LoggedCall::List]);
    world.output("b", b"2");
    // The interval has to be over before a listing is asked for again.
    eventually("a listing hangs", || {
        within(FIRST_LISTING, "ls with a hung server", {
            let path = mount.path().to_owned();
            move || assert_eq!(fs::read_dir(path).unwrap().count(), 1)
        });
        held(&world, LoggedCall::List) == 1
    });
    everything_local_is_at_once(&mount, &[]);
    assert_eq!(
        held(&world, LoggedCall::List),
        1,
        "one listing for everybody"
    );

    world.emulator.clear_faults();
    eventually("the new name is shown", || mount.at("b").exists());
}

#[test]
fn a_known_workspace_mounts_while_its_listing_hangs() {
    let world = World::new();
    world.output("a", b"1");
    world.mount().unmount();
    world.hang(&[LoggedCall::List]);
    let mount = world.mount();
    let path = mount.path().to_owned();
    within(FIRST_LISTING, "ls with a hung server", move || {
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    });
    world.emulator.clear_faults();
}

#[test]
fn a_hung_upload_holds_up_its_closer_and_nobody_else() {
    let world = World::new();
    world.output("cached", b"read before");
    let mount = world.mount();
    assert_eq!(mount.sh("cat cached"), "read before");
    world.emulator.set_faults(vec![FaultRule {
        name: Some("slow*".to_owned()),
        ..stall(LoggedCall::Upload)
    }]);
    let content = pattern(200_000);
    let slow = ["slow 1", "slow 2"].map(|name| {
        let (path, content) = (mount.at(name), content.clone());
        in_background(move || fs::write(path, content))
    });
    eventually("the uploads hang", || held(&world, LoggedCall::Upload) == 2);

    let local = [
        ("cached", b"read before".to_vec()),
        // What is on its way is readable and listed already.
        ("slow 1", content.clone()),
    ];
    everything_local_is_at_once(&mount, &local);
    let other = mount.at("other");
    at_once("a save of another file", move |n| {
        fs::write(&other, format!("saved {n}")).unwrap();
    });
    eventually("only the last version is left", || {
        world.all_stored("other").len() == 1
    });
    assert_eq!(world.stored_bytes("other"), b"saved 4");
    assert!(slow.iter().all(|closer| !closer.is_finished()));

    world.emulator.clear_faults();
    for closer in slow {
        within(Duration::from_secs(20), "a closer", || closer.join())
            .unwrap()
            .unwrap();
    }
    assert_eq!(world.stored_bytes("slow 1"), content);
    assert_eq!(world.stored_bytes("slow 2"), content);
}

#[test]
fn reading_from_a_server_that_stays_silent_ends_with_an_error() {
    let world = World::new();
    let content = pattern(500_000);
    world.output("a", &content);
    world.output("b", &content);
    let mount = world.mount_with(&["--timeout", "1s"]);
    world.emulator.set_faults(vec![
        FaultRule {
            name: Some("a".to_owned()),
            ..stall(LoggedCall::Content)
        },
        // In the middle of the bytes, too. The kernel asks once more for what it had asked for ahead.
        FaultRule {
            call: Some(LoggedCall::Content),
            times: Some(1),
            ..FaultRule::new(FaultAction::StallAfterBytes(300_000))
        },
        stall(LoggedCall::Content),
    ]);
    for name in ["a", "b"] {
        let path = mount.at(name);
        let read = within(Duration::from_secs(10), "a read", || fs::read(path));
        assert_eq!(errno(read), libc::EIO, "{name}");
    }
    world.emulator.clear_faults();
    for name in ["a", "b"] {
        assert_eq!(fs::read(mount.at(name)).unwrap(), content, "{name}");
    }
}

/// The saves that a stalled server did not answer end with an error, stay readable, and arrive by themselves.
fn save_at_a_silent_server(when: FaultMoment) {
    let world = World::new();
    let mount = world.mount_with(&["--timeout", "1s"]);
    world.emulator.set_faults(vec![FaultRule {
        when,
        ..stall(LoggedCall::Upload)
    }]);
    let content = pattern(300_000);
    let path = mount.at("f");
    let closed = within(Duration::from_secs(15), "a close", {
        let (path, content) = (path.clone(), content.clone());
        move || close_of(path, &content)
    });
    assert_eq!(closed, Err(libc::EIO));
    assert_eq!(fs::read(&path).unwrap(), content, "the bytes are here");
    world.emulator.clear_faults();
    eventually("the save arrives by itself", || {
        !world.all_stored("f").is_empty() && mount_has_confirmed(&mount, "f")
    });
    assert_eq!(world.stored_bytes("f"), content);
}

/// Writes a file and closes it; what close(2) says.
pub(crate) fn close_of(path: PathBuf, content: &[u8]) -> Result<(), i32> {
    let mut file = fs::File::create(path).expect("created");
    file.write_all(content).expect("written");
    nix::unistd::close(file).map_err(|errno| errno as i32)
}

/// Whether the log says that a save arrived.
pub(crate) fn mount_has_confirmed(mount: &Mount, name: &str) -> bool {
    mount.log().lines().any(|line| {
        line.contains(&format!("{name} is saved as"))
            || line.contains(&format!("{name}: the upload had arrived"))
    })
}

#[test]
fn a_save_that_a_silent_server_never_took_arrives_later_once() {
    save_at_a_silent_server(FaultMoment::BeforeEffect);
}

#[test]
fn a_save_that_a_silent_server_took_without_a_word_is_found_again_and_not_repeated() {
    save_at_a_silent_server(FaultMoment::AfterEffect);
}

/// Another client stores the same name and size while an answer is lost: nothing tells whose is whose. None of them is
/// ever deleted, not when the file is saved again either.
#[test]
fn of_two_files_that_may_be_ours_none_is_deleted() {
    let world = World::new();
    let mount = world.mount_with(&["--timeout", "1s", "--refresh", "1h"]);
    world.emulator.set_faults(vec![FaultRule {
        when: FaultMoment::AfterEffect,
        ..stall(LoggedCall::Upload)
    }]);
    let closer = in_background({
        let path = mount.at("f");
        move || close_of(path, b"ours")
    });
    eventually("ours is stored", || world.all_stored("f").len() == 1);
    world.foreign("f", b"twin");
    assert_eq!(closer.join().unwrap(), Err(libc::EIO));
    world.emulator.clear_faults();
    eventually("the save is found", || mount_has_confirmed(&mount, "f"));
    assert!(
        mount
            .log()
            .contains("2 files at the service may be this save")
    );
    assert_eq!(mount.sh("cat f; echo newer > f; cat f"), "oursnewer\n");
    mount.unmount();
    assert_eq!(world.all_stored("f").len(), 3);
    assert_eq!(world.calls().upload, 2);
    assert_eq!(world.calls().delete, 0);
}

#[test]
fn hung_callers_do_not_keep_the_mount_from_ending() {
    let world = World::new();
    world.output("a", b"1");
    let mount = world.mount();
    world.hang(&[LoggedCall::Content, LoggedCall::Upload]);
    let reader = in_background({
        let path = mount.at("a");
        move || fs::read(path)
    });
    let closer = in_background({
        let path = mount.at("b");
        move || close_of(path, b"2")
    });
    eventually("both wait at the server", || {
        held(&world, LoggedCall::Content) + held(&world, LoggedCall::Upload) == 2
    });
    mount.signal("TERM");
    assert_eq!(mount.wait(), Some(0));
    // They are let go with an error: neither has what it asked for.
    within(Duration::from_secs(5), "the reader", || reader.join())
        .unwrap()
        .unwrap_err();
    within(Duration::from_secs(5), "the closer", || closer.join())
        .unwrap()
        .unwrap_err();

    world.emulator.clear_faults();
    let mount = world.mount();
    eventually("the save arrives", || mount_has_confirmed(&mount, "b"));
    assert_eq!(world.stored_bytes("b"), b"2");
    assert_eq!(
        world.calls().but_lists(),
        Calls {
            upload: 2,
            content: 1,
            ..Calls::NONE
        }
    );
}

/// A file is changed in some way while its upload hangs; what is left at the service when everything has moved again.
fn while_its_upload_hangs(act: &str) -> Vec<(String, Vec<u8>)> {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        name: Some("f".to_owned()),
        ..stall(LoggedCall::Upload)
    }]);
    let path = mount.at("f");
    let first = in_background(move || close_of(path, b"first"));
    eventually("the upload hangs", || held(&world, LoggedCall::Upload) == 1);
    // The shell waits for a save of its own at most, never for the first one's answer.
    let line = act.to_owned();
    let directory = mount.path().to_owned();
    let acting = in_background(move || {
        std::process::Command::new("bash")
            .args(["-c", &line])
            .current_dir(directory)
            .status()
            .unwrap()
    });
    eventually("it is done here", || {
        acting.is_finished() || fs::read(mount.at("f")).is_ok_and(|bytes| bytes == b"second")
    });
    world.emulator.clear_faults();
    let ended = within(Duration::from_secs(10), "the act", || acting.join());
    assert!(ended.unwrap().success(), "{act}");
    let closed = within(Duration::from_secs(10), "the first close", || first.join());
    assert_eq!(closed.unwrap(), Ok(()), "{act}");
    mount.unmount();
    let files = world.emulator.files().unwrap();
    let left = files.into_iter().map(|file| {
        let content = world.emulator.content(&file.id).unwrap().unwrap();
        (file.filename, content)
    });
    left.collect()
}

#[test]
fn a_file_removed_while_its_upload_hangs_is_not_left_at_the_service() {
    assert_eq!(while_its_upload_hangs("rm f"), []);
}

#[test]
fn a_file_renamed_while_its_upload_hangs_ends_under_its_new_name() {
    let left = while_its_upload_hangs("mv f g");
    assert_eq!(left, [("g".to_owned(), b"first".to_vec())]);
}

#[test]
fn a_file_saved_again_while_its_upload_hangs_ends_with_the_newest_content() {
    let left = while_its_upload_hangs("printf second > f");
    assert_eq!(left, [("f".to_owned(), b"second".to_vec())]);
}

#[test]
fn a_file_replaced_by_a_rename_while_its_upload_hangs_is_the_other_one_in_the_end() {
    let left = while_its_upload_hangs("printf second > draft; mv draft f");
    assert_eq!(left, [("f".to_owned(), b"second".to_vec())]);
}
