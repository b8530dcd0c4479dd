//! `afs mount` that cannot work: the sentence, the exit code, and that nothing is left behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;

use super::{afs, run};

fn mount(home: &Path, arguments: &[&str]) -> Command {
    let mut command = afs(home);
    command.arg("mount").args(arguments).current_dir(home);
    command
}

fn with_key(home: &Path, arguments: &[&str]) -> Command {
    let mut command = mount(home, arguments);
    command.env("ANTHROPIC_API_KEY", "sk-ant-canary");
    command
}

#[test]
fn no_key_is_one_sentence() {
    let home = tempfile::tempdir().unwrap();
    for mode in [&[][..], &["--foreground"]] {
        let ran = run(mount(home.path(), &["m"]).args(mode));
        ran.complains(
            1,
            &[
                "there is no API key",
                "ANTHROPIC_API_KEY",
                "--key-file",
                "--demo",
            ],
        );
    }
    assert!(!home.path().join("m").exists());
}

#[test]
fn a_key_that_is_none_is_refused_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(mount(home.path(), &["m"]).env("ANTHROPIC_API_KEY", "sk canary"));
    ran.complains(1, &["key"]);
    assert!(!ran.err.contains("canary"), "{}", ran.err);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    std::fs::write(&key, "sk-ant-canary\n").unwrap();
    for mode in [0o644, 0o640, 0o604, 0o660] {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let ran = run(&mut mount(home.path(), &["--key-file", "key", "m"]));
        ran.complains(1, &["can be read by", "chmod 600 key"]);
    }
    std::fs::remove_file(&key).unwrap();
    run(&mut mount(home.path(), &["--key-file", "key", "m"]))
        .complains(1, &["key file key", "No such file"]);
}

#[test]
fn an_unknown_option_word_is_named() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(&mut with_key(home.path(), &["-o", "ro,frobnicate", "m"]));
    ran.complains(2, &["-o frobnicate is not an option"]);
}

#[test]
fn a_style_of_names_that_there_is_not_is_told_which_there_are() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(&mut with_key(home.path(), &["--names", "rclone", "m"]));
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("[possible values: strict, encode]"),
        "{}",
        ran.err
    );
}

#[test]
fn a_bad_mount_point_is_refused_in_the_background_and_in_the_foreground() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    std::fs::create_dir_all(home.path().join("full/child")).unwrap();
    for mode in [&[][..], &["--foreground"]] {
        for (point, says) in [
            ("file", "file is not a directory"),
            ("full", "full is not empty"),
            ("none/m", "the directory it should be in does not exist"),
            ("file/m", "the directory it should be in does not exist"),
        ] {
            let ran = run(with_key(home.path(), &[point]).args(mode));
            ran.complains(1, &[says]);
        }
    }
}

#[test]
fn the_demo_wants_no_key() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(&mut mount(home.path(), &["--demo", "none/m"]));
    ran.complains(1, &["does not exist"]);
}

#[test]
fn without_a_home_the_flag_to_use_is_named() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(with_key(home.path(), &["m"]).env_remove("HOME"));
    ran.complains(1, &["HOME", "--state-dir"]);
}

#[test]
fn a_log_file_that_cannot_be_written_is_said() {
    let home = tempfile::tempdir().unwrap();
    for mode in [&[][..], &["--foreground"]] {
        let ran = run(with_key(home.path(), &["--log-file", "none/log", "m"]).args(mode));
        ran.complains(1, &["none/log"]);
    }
}

#[test]
fn a_log_daemon_that_is_not_there_is_said() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("log");
    let option = format!("--syslog={}", socket.display());
    for mode in [&[][..], &["--foreground"]] {
        let ran = run(with_key(home.path(), &[&option, "m"]).args(mode));
        let at = socket.display().to_string();
        ran.complains(1, &["no log daemon listens at", &at, "--log-file"]);
    }
    assert!(!home.path().join("m").exists());
}

#[test]
fn log_lines_go_to_one_place() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--syslog", "--log-file", "log", "m"];
    let output = with_key(home.path(), &options).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!home.path().join("log").exists());
}
