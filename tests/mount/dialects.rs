//! The service of today (`--dialect ga`) costs and does what that of the beta does; and files that expire.

use std::fs;
use std::time::Duration;

use afs::emulator::{Config, Dialect, LoggedCall, PlantedFile, StoredFile};
use jiff::Timestamp;

use super::harness::{Calls, World, errno, eventually};

/// Today's dialect, and nothing is refreshed while a test counts.
const QUIET: &[&str] = &["--dialect", "ga", "--refresh", "1h"];

const HOUR: Duration = Duration::from_secs(3600);

/// What all tests here assert at their end: no request has fallen back to the beta.
fn was_spoken(world: &World, dialect: Dialect) {
    let requests = world.emulator.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.dialect, dialect, "{request:?}");
    }
}

#[test]
fn the_usual_actions_cost_the_same_today() {
    for (dialect, spoken) in [("beta", Dialect::Beta), ("ga", Dialect::Ga)] {
        let world = World::new();
        let options = &["--dialect", dialect, "--refresh", "1h"][..];
        world.emulator.bulk(2_500, "doc-", 10, true).unwrap();
        world.output("chart.png", b"not really a picture");
        fs::write(world.dir.path().join("report.md"), "text").unwrap();

        world.forget_calls();
        let mount = world.mount_with(options);
        assert_eq!(mount.sh("ls -l").lines().count(), 2_502);
        let list = |list| Calls {
            list,
            ..Calls::NONE
        };
        assert_eq!(world.calls(), list(3), "{dialect}");
        was_spoken(&world, spoken);

        let act = |line: &str| {
            let calls = world.calls_of(|| drop(mount.sh(line)));
            (calls.but_lists(), world.emulator.requests())
        };
        let upload = Calls {
            upload: 1,
            ..Calls::NONE
        };
        assert_eq!(act("cp ../report.md .").0, upload);
        assert_eq!(world.stored_bytes("report.md"), b"text");
        assert_eq!(world.stored("report.md").mime_type, "text/plain");
        assert_eq!(act("cat report.md").0, Calls::NONE);
        let content = Calls {
            content: 1,
            ..Calls::NONE
        };
        assert_eq!(act("cat chart.png").0, content);
        assert_eq!(act("cat chart.png").0, Calls::NONE);
        world.forget_calls();
        mount.sh("echo other > report.md");
        let replaced = Calls {
            upload: 1,
            delete: 1,
            ..Calls::NONE
        };
        eventually("the old version is deleted", || {
            world.calls().but_lists() == replaced
        });
        assert_eq!(world.stored_bytes("report.md"), b"other\n");
        world.forget_calls();
        mount.sh("rm chart.png");
        let deleted = Calls {
            delete: 1,
            ..Calls::NONE
        };
        eventually("it is deleted", || world.calls().but_lists() == deleted);
        was_spoken(&world, spoken);
        mount.unmount();

        world.forget_calls();
        let mount = world.mount_with(options);
        assert_eq!(mount.sh("ls | wc -l; cat report.md"), "2501\nother\n");
        assert_eq!(world.calls(), list(1));
        was_spoken(&world, spoken);
    }
}

#[test]
fn sessions_are_listed_today_as_well() {
    let world = World::new();
    let planted = world.emulator.plant(PlantedFile {
        session: Some("sesn_1".to_owned()),
        ..PlantedFile::output("theirs", "bytes")
    });
    planted.unwrap();
    let mount = world.mount_with(QUIET);
    assert_eq!(mount.sh("cat .afs/sessions/sesn_1/theirs"), "bytes");
    was_spoken(&world, Dialect::Ga);
}

/// An output that expires in an hour.
fn expiring(world: &World, name: &str) -> StoredFile {
    let planted = world.emulator.plant(PlantedFile {
        expires_at: Some(Timestamp::now() + HOUR),
        ..PlantedFile::output(name, "bytes")
    });
    planted.unwrap()
}

#[test]
fn what_has_expired_is_listed_and_not_there_to_be_read() {
    for dialect in ["beta", "ga"] {
        let world = World::new();
        let options = &["--dialect", dialect, "--refresh", "1h"][..];
        let output = expiring(&world, "read later");
        expiring(&world, "read before");
        let mount = world.mount_with(options);
        assert_eq!(mount.sh("cat 'read before'"), "bytes");
        world.emulator.set_clock_ahead(2 * HOUR);
        world.forget_calls();
        for _ in 0..3 {
            assert_eq!(errno(fs::read(mount.at("read later"))), libc::ENOENT);
        }
        let content = Calls {
            content: 1,
            ..Calls::NONE
        };
        assert_eq!(world.calls().but_lists(), content, "{dialect}: asked once");
        assert!(mount.log().contains("has expired"), "{}", mount.log());
        assert_eq!(mount.names(), ["read before", "read later"]);
        // What is here stays readable: an id's bytes never change.
        assert_eq!(mount.sh("cat 'read before'"), "bytes");
        mount.unmount();

        let mount = world.mount_with(options);
        world.forget_calls();
        assert_eq!(errno(fs::read(mount.at("read later"))), libc::ENOENT);
        assert_eq!(world.calls().but_lists(), Calls::NONE, "known for good");
        // The name can be used: the file it had is deleted, as any that is replaced.
        mount.sh("echo new > 'read later'");
        eventually("it is replaced", || {
            let stored = world.all_stored("read later");
            stored.iter().all(|file| file.id != output.id)
        });
        assert_eq!(mount.sh("cat 'read later'"), "new\n");
    }
}

#[test]
fn own_uploads_expire_at_the_service_and_stay_readable_here() {
    let world = World::with(Config::default());
    let mount = world.mount_with(&["--expires", "7d", "--refresh", "1h", "--xattr"]);
    mount.sh("echo mine > f");
    was_spoken(&world, Dialect::Ga);
    let first = world.stored("f");
    let expires_at = first.expires_at.expect("an expiry");
    assert_eq!(first.created_at + 7 * 24 * HOUR, expires_at);
    let mut value = [0; 100];
    let length = rustix::fs::getxattr(mount.at("f"), "user.afs.expires_at", &mut value[..]);
    assert_eq!(&value[..length.unwrap()], expires_at.to_string().as_bytes());

    mount.unmount();
    world.emulator.set_clock_ahead(8 * 24 * HOUR);
    // The machine's own clock goes on as it was: known is what the service says when it is asked.
    let mount = world.mount_with(&["--expires", "7d", "--refresh", "0s"]);
    assert_eq!(mount.sh("cat f"), "mine\n");
    assert_eq!(mount.names(), ["f"]);
    // And whoever wants it to last longer says something new.
    mount.sh("echo more >> f");
    eventually("it is replaced", || {
        world.all_stored("f").iter().all(|file| file.id != first.id)
    });
    let second = world.stored("f");
    assert!(second.expires_at.unwrap() > expires_at);
    assert_eq!(world.stored_bytes("f"), b"mine\nmore\n");
    was_spoken(&world, Dialect::Ga);
}

#[test]
fn the_same_bytes_are_sent_again_where_the_old_ones_have_expired() {
    let world = World::new();
    let mount = world.mount_with(&["--expires", "1h", "--refresh", "1h"]);
    mount.sh("echo same > f");
    mount.unmount();
    let database = rusqlite::Connection::open(world.state_dir().join("state.db")).unwrap();
    // An hour later, by this machine's clock.
    let past = Timestamp::now().as_microsecond() - 1;
    let changed = database
        .execute("UPDATE files SET expires_at = ?1 WHERE name = 'f'", [past])
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let mount = world.mount_with(&["--expires", "1h", "--refresh", "1h"]);
    let first = world.stored("f").id;
    world.emulator.set_clock_ahead(2 * HOUR);
    world.forget_calls();
    mount.sh("echo same > f");
    eventually("there is another one", || {
        world.all_stored("f").iter().all(|file| file.id != first)
    });
    let calls = world.calls();
    assert_eq!((calls.upload, calls.delete), (1, 1), "{calls:?}");
}

#[test]
fn status_warns_a_day_before_a_file_expires() {
    let world = World::new();
    let plant = |name: &str, hours: u64| {
        let planted = world.emulator.plant(PlantedFile {
            expires_at: Some(Timestamp::now() + HOUR * u32::try_from(hours).unwrap()),
            ..PlantedFile::output(name, "bytes")
        });
        planted.unwrap();
    };
    plant("in two hours", 2);
    plant("tomorrow", 23);
    plant("next week", 24 * 7);
    let mount = world.mount_with(QUIET);
    let ask = |arguments: &[&str]| {
        let output = world
            .afs()
            .arg("status")
            .args(arguments)
            .arg(mount.path())
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let said = ask(&[]);
    let line = said
        .lines()
        .find(|line| line.contains("expiring"))
        .expect(&said);
    assert!(
        line.contains("2 files within a day; the next is in two hours, 20"),
        "{line}"
    );
    let status: serde_json::Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    assert_eq!(status[0]["expiring"], 2);
    assert_eq!(status[0]["expired"], 0);
    assert_eq!(status[0]["next_to_expire"]["name"], "in two hours");
}

#[test]
fn an_expiry_the_service_does_not_know_is_said() {
    let world = World::new();
    // A service that answers in the beta's shapes whatever it is asked: it has no expiry.
    let mount = world.mount_with(&[
        "--expires",
        "7d",
        "--beta",
        "files-api-2025-04-14",
        "--refresh",
        "1h",
    ]);
    mount.sh("echo x > f");
    assert!(mount.log().contains("f (file_"), "{}", mount.log());
    assert!(mount.log().contains("was to expire"), "{}", mount.log());
    was_spoken(&world, Dialect::Beta);
    let uploads = |r: &&afs::emulator::LoggedRequest| r.call == LoggedCall::Upload;
    assert_eq!(world.emulator.requests().iter().filter(uploads).count(), 1);
}
