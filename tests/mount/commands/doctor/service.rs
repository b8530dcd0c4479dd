//! The key, the host and the clock: services that refuse, lie and hang.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use afs::emulator::{Config, FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::{Found, ONE_LIST, command, examined};
use crate::harness::{Calls, KEY, World};

#[test]
fn a_key_is_told_from_a_wrong_one_and_from_a_file_that_others_can_read() {
    let world = World::with(Config {
        keys: vec![KEY.to_owned()],
        ..Config::default()
    });
    let file = world.dir.path().join("key");
    for (key, mode, check, level, says, remedy) in [
        (KEY, 0o600, "key", "ok", "the key in ", ""),
        (KEY, 0o600, "service", "ok", "takes the key", ""),
        (
            KEY,
            0o644,
            "key",
            "fail",
            "can be read by others",
            "chmod 600 ",
        ),
        (
            "sk-other",
            0o600,
            "service",
            "fail",
            "refuses the key in ",
            "revoked",
        ),
    ] {
        fs::write(&file, key).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        world.forget_calls();
        let found = Found::by(&world, command(&world).arg("--key-file").arg(&file));
        found.is(check, level, says, remedy);
        let asks = usize::from(mode == 0o600);
        assert_eq!(
            world.calls(),
            Calls {
                list: asks,
                ..Calls::NONE
            },
            "{key} {mode:o}"
        );
    }
    let found = Found::by(
        &world,
        command(&world).env("ANTHROPIC_API_KEY", "two words"),
    );
    found.is(
        "key",
        "fail",
        "ANTHROPIC_API_KEY can't be used",
        "copied whole",
    );
    let found = Found::by(
        &world,
        command(&world)
            .env("ANTHROPIC_AUTH_TOKEN", "t")
            .env_remove("ANTHROPIC_API_KEY"),
    );
    found.is("key", "ok", "the token in ANTHROPIC_AUTH_TOKEN", "");
}

#[test]
fn a_service_that_can_not_be_reached_or_is_none_is_said_to_be_so() {
    let world = World::new();
    let at = |url: &str| Found::by(&world, command(&world).args(["--base-url", url]));
    at("http://127.0.0.1:1").is(
        "service",
        "fail",
        "http://127.0.0.1:1 can't be reached",
        "--base-url",
    );
    at("http://192.0.2.1").is("service", "fail", "unencrypted to 192.0.2.1", "https");
    at("nowhere").is(
        "service",
        "fail",
        "the base URL can't be used",
        "https://HOST",
    );
    for (status, level, says, remedy) in [
        (403, "fail", "may not list files", "Console"),
        (
            404,
            "fail",
            "does not answer as the Files API does",
            "--base-url",
        ),
        (429, "warn", "takes no more requests", "by itself"),
        (529, "warn", "is in trouble", "tried again"),
    ] {
        let answer = FaultAction::Status(FaultAnswer::status(status));
        world.emulator.set_faults(vec![FaultRule::new(answer)]);
        world.forget_calls();
        examined(&world).is("service", level, says, remedy);
        assert_eq!(world.calls(), ONE_LIST, "{status} was repeated");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_said_to_be_so() {
    let world = World::with(Config {
        tls: true,
        ..Config::default()
    });
    let others = World::with(Config {
        tls: true,
        ..Config::default()
    });
    for (certificate, level, says, remedy) in [
        (&world, "ok", "takes the key", ""),
        (
            &others,
            "fail",
            "certificate is not trusted",
            "SSL_CERT_FILE",
        ),
    ] {
        let path = world.dir.path().join("certificate.pem");
        fs::write(&path, certificate.emulator.certificate().unwrap()).unwrap();
        let found = Found::by(&world, command(&world).env("SSL_CERT_FILE", &path));
        found.is("service", level, says, remedy);
    }
}

#[test]
fn a_service_that_never_answers_is_given_up_and_the_rest_is_told() {
    let world = World::new();
    world.hang(&[LoggedCall::List]);
    let begun = Instant::now();
    let found = examined(&world);
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    found.is("service", "fail", "nothing moved for 5s", "--base-url");
    found.is("device", "ok", "", "");
    found.is("state", "ok", "is made by the first mount", "");
    assert_eq!(world.calls(), ONE_LIST);
    world.emulator.clear_faults();
}

#[test]
fn a_clock_that_is_off_is_warned_of() {
    let world = World::new();
    let hour = 3_600;
    for (skew, says) in [
        (-hour, "ahead of the service's"),
        (hour, "behind the service's"),
    ] {
        world
            .emulator
            .set_faults(vec![FaultRule::new(FaultAction::SkewedClock(skew))]);
        examined(&world).is("clock", "warn", says, "timedatectl");
    }
}
