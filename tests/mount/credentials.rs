//! Who a mount says it is, and that it says so to nobody else: keys, tokens, headers of the user's own, and keys that
//! rotate while it lives.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use afs::emulator::Config;

use super::failing::lasting;
use super::harness::{KEY, World, eventually};
use super::hung::close_of;
use super::versions::Service;
use super::wiretap::Wiretap;

const NEW_KEY: &str = "sk-test-rotated-canary-81";

/// Every request carries this line, in lower case.
fn all_say(heard: &str, line: &str) {
    let count = |what: &str| heard.lines().filter(|said| *said == what).count();
    let requests = count("anthropic-version: 2023-06-01");
    assert!(requests >= 2, "{heard}");
    assert_eq!(count(line), requests, "{line} in {heard}");
}

#[test]
fn what_the_environment_says_of_the_user_reaches_the_service() {
    let mut world = World::with(Config {
        keys: vec!["sk-token".to_owned()],
        ..Config::default()
    });
    let tap = Wiretap::before(world.emulator.addr());
    world.variables = vec![
        ("ANTHROPIC_BASE_URL", tap.url()),
        ("ANTHROPIC_AUTH_TOKEN", "sk-token".to_owned()),
        ("ANTHROPIC_WORKSPACE_ID", "wrkspc_1".to_owned()),
        (
            "ANTHROPIC_CUSTOM_HEADERS",
            "X-Gateway: canary-Header\nanthropic-beta: one, two".to_owned(),
        ),
    ];
    let mount = world.try_mount(&[], "").unwrap();
    mount.sh("echo x > f");
    let heard = tap.heard();
    for line in [
        "authorization: bearer sk-token",
        "anthropic-workspace-id: wrkspc_1",
        "x-gateway: canary-header",
        "anthropic-beta: files-api-2025-04-14,one,two",
        &format!("user-agent: afs/{}", env!("CARGO_PKG_VERSION")),
    ] {
        all_say(&heard, line);
    }
    assert!(!heard.contains("x-api-key"), "{heard}");
    assert!(!mount.log().to_ascii_lowercase().contains("canary"));
    mount.unmount();

    // Another workspace of the same key is another one here: nothing of the first is shown or sent there.
    let states = || {
        let states = fs::read_dir(world.state_root()).unwrap();
        states
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!(states(), 1);
    world.emulator.delete(&world.stored("f").id).unwrap();
    let mount = world
        .try_mount(&["--workspace-id", "wrkspc_2"], "")
        .unwrap();
    assert_eq!(mount.names(), [""; 0]);
    assert_eq!(states(), 2);
    let last = tap.heard();
    let last = &last[heard.len()..];
    assert!(last.contains("anthropic-workspace-id: wrkspc_2"), "{last}");
    assert!(!last.contains("wrkspc_1"), "{last}");
}

#[test]
fn headers_that_cannot_be_are_one_sentence_without_their_values() {
    let mut world = World::new();
    for (headers, says) in [
        ("canary without a colon", "line 1 is no header"),
        ("x: y\nHost: canary", "the header host"),
        ("X-Api-Key: canary", "the header x-api-key"),
    ] {
        world.variables = vec![("ANTHROPIC_CUSTOM_HEADERS", headers.to_owned())];
        let path = world.dir.path().join("m");
        let output = world.afs().arg("mount").arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains(says) && said.contains("ANTHROPIC_CUSTOM_HEADERS"),
            "{said}"
        );
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn plain_http_to_others_needs_a_word() {
    let world = World::new();
    let path = world.dir.path().join("m");
    let ask = |options: &[&str]| {
        let output = world
            .afs()
            .args([
                "mount",
                "--timeout",
                "1s",
                "--base-url",
                "http://afs-test.invalid",
            ])
            .args(options)
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = ask(&[]);
    assert!(
        refused.contains("unencrypted to afs-test.invalid"),
        "{refused}"
    );
    assert!(refused.contains("--allow-http"), "{refused}");
    let allowed = ask(&["--allow-http"]);
    assert!(allowed.contains("can't be reached"), "{allowed}");
}

/// A key file, its key, and a service that takes that key only.
struct Rotated {
    world: World,
    file: PathBuf,
    data: tempfile::TempDir,
}

fn write_key(file: &Path, key: &str) {
    // As careful people do: the new file takes the old one's place at once.
    let new = file.with_extension("new");
    fs::write(&new, format!("{key}\n")).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, file).unwrap();
}

impl Rotated {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let world = World::with(Config {
            keys: vec![KEY.to_owned()],
            ..lasting(data.path())
        });
        let file = world.dir.path().join("key");
        write_key(&file, KEY);
        Self { world, file, data }
    }

    /// The key is not taken any more; another one is, by the workspace in `data`.
    fn rotate(&mut self, data: &Path) {
        let address = self.world.emulator.addr();
        let spare = Service::start(Config::default());
        std::mem::replace(&mut self.world.emulator, spare).shutdown();
        self.world.emulator = Service::start(Config {
            listen: address,
            keys: vec![NEW_KEY.to_owned()],
            ..lasting(data)
        });
    }
}

#[test]
fn a_key_that_rotates_while_the_mount_lives_is_read_again() {
    let mut rotated = Rotated::new();
    let options = [
        "--key-file",
        rotated.file.to_str().unwrap(),
        "--refresh",
        "0s",
    ];
    let options = options.map(str::to_owned);
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let mount = rotated.world.mount_with(&options);
    mount.sh("echo known > a");
    let data = rotated.data.path().to_owned();
    rotated.rotate(&data);
    // Nothing new in the file yet: the key is refused, and said to be.
    assert_eq!(close_of(mount.at("b"), b"early"), Err(libc::EACCES));
    write_key(&rotated.file, NEW_KEY);
    close_of(mount.at("c"), b"later").unwrap();
    assert_eq!(rotated.world.stored_bytes("c"), b"later");
    eventually("what was refused is sent", || {
        rotated.world.all_stored("b").len() == 1
    });
    assert_eq!(mount.names(), ["a", "b", "c"]);
    let log = mount.log();
    assert!(log.contains("the new one in the key file is used"), "{log}");
    assert!(!log.contains("canary"), "{log}");
    mount.unmount();

    // The next mount knows it, without a look at what it lists.
    rotated.world.forget_calls();
    let mount = rotated.world.mount_with(&options[..2]);
    assert_eq!(mount.sh("cat a"), "known\n");
    assert_eq!(rotated.world.calls().list, 0);
}

#[test]
fn a_key_of_another_workspace_in_the_key_file_is_not_used() {
    let mut rotated = Rotated::new();
    let file = rotated.file.to_str().unwrap().to_owned();
    let mount = rotated
        .world
        .mount_with(&["--key-file", &file, "--refresh", "0s"]);
    mount.sh("echo known > a");
    let other = tempfile::tempdir().unwrap();
    rotated.rotate(other.path());
    rotated.world.output("theirs", b"1");
    write_key(&rotated.file, NEW_KEY);
    for name in ["b", "c"] {
        assert_eq!(close_of(mount.at(name), b"mine"), Err(libc::EACCES));
    }
    // Nothing was sent there, and nothing of it is shown here.
    assert_eq!(rotated.world.calls().upload, 2, "refused with the old key");
    assert_eq!(rotated.world.emulator.files().unwrap().len(), 1);
    assert_eq!(mount.names(), ["a", "b", "c"]);
    let sentence = "it may be another workspace's and is not used";
    eventually("the log says so", || mount.log().contains(sentence));
    let ask = |word: &str| {
        let output = rotated.world.afs().arg(word).arg(mount.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    eventually("status says so", || ask("status").contains(sentence));
    assert!(ask("pending").contains(sentence), "{}", ask("pending"));
    assert!(!mount.log().contains("canary"), "{}", mount.log());
    let warned = mount.log().matches("the key was refused, and").count();
    assert_eq!(warned, 1, "once for each key: {}", mount.log());
}
