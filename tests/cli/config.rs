//! Settings from the file, the environment and the command line: `afs config` shows what counts, and who said it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Ran, afs, run};

const FILE: &str = r#"
[default]
key-file = "~/key"
cache-size = "1G"
write-back = true

[presets.work]
mountpoint = "~/work"
cache-size = "2G"
scratch = ["*.bak", "draft-*"]
verbose = 2
"#;

/// A home directory with a key, and with such a settings file.
fn home(settings: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let below = home.path().join(".config/afs");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("config.toml"), settings).unwrap();
    let key = home.path().join("key");
    std::fs::write(&key, "sk-ant-canary\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    home
}

fn config(home: &Path, words: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = afs(home);
    let ran = run(command
        .arg("config")
        .args(words)
        .envs(variables.iter().copied())
        .current_dir(if home.is_dir() { home } else { Path::new("/") }));
    assert!(
        !(ran.out.clone() + &ran.err).contains("canary"),
        "{}",
        ran.out
    );
    ran
}

/// What is said of one setting: its value, and where that comes from.
fn row(ran: &Ran, key: &str) -> (String, String) {
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let rows = shown["settings"].as_array().unwrap();
    let row = rows.iter().find(|row| row["key"] == key).unwrap();
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

#[test]
fn flags_go_over_the_environment_that_over_a_preset_and_that_over_the_default() {
    let home = home(FILE);
    let is = |words: &[&str], variables: &[(&str, &str)], key: &str, value: &str, origin: &str| {
        let ran = config(home.path(), &[words, &["--json"]].concat(), variables);
        let expected = (value.to_owned(), origin.to_owned());
        assert_eq!(row(&ran, key), expected, "{words:?} {variables:?}");
    };
    let work = &["--preset", "work"][..];
    let typed = &["--preset", "work", "--cache-size", "4G"][..];
    let variable = &[("AFS_CACHE_SIZE", "3G")][..];
    is(&[], &[], "refresh", "10s", "default");
    is(&[], &[], "cache-size", "1G", "[default], line 4");
    is(work, &[], "cache-size", "2G", "[presets.work], line 9");
    is(
        &[],
        &[("AFS_PRESET", "work")],
        "cache-size",
        "2G",
        "[presets.work], line 9",
    );
    is(work, variable, "cache-size", "3G", "AFS_CACHE_SIZE");
    is(typed, variable, "cache-size", "4G", "typed");
    is(work, &[], "write-back", "true", "[default], line 5");
    is(&["--write-back=false"], &[], "write-back", "false", "typed");
    is(
        &[],
        &[("AFS_WRITE_BACK", "no")],
        "write-back",
        "false",
        "AFS_WRITE_BACK",
    );
    is(
        work,
        &[],
        "scratch",
        "*.bak,draft-*",
        "[presets.work], line 10",
    );
    is(
        work,
        &[("AFS_SCRATCH", "*.a,*.b")],
        "scratch",
        "*.a,*.b",
        "AFS_SCRATCH",
    );
    is(work, &[], "verbose", "2", "[presets.work], line 11");
    let below_home = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    is(
        work,
        &[],
        "mountpoint",
        &below_home("work"),
        "[presets.work], line 8",
    );
    is(
        &[],
        &[],
        "mountpoint",
        &below_home("claude-files"),
        "default",
    );
    is(&["here"], &[], "mountpoint", "here", "typed");
    is(&[], &[], "key", "hidden", &below_home("key"));
    let url = &[("ANTHROPIC_BASE_URL", "https://files.example")][..];
    is(
        &[],
        url,
        "base-url",
        "https://files.example",
        "ANTHROPIC_BASE_URL",
    );
    is(&["--demo"], &[], "key", "none", "the demo needs none");
    is(&["--system"], &[], "state-dir", "/var/lib/afs", "--system");
}

#[test]
fn every_setting_is_shown_by_its_flag() {
    let home = home("");
    let help = run(afs(home.path()).args(["mount", "-h"]));
    let flags = help.out.split_whitespace().filter_map(|word| {
        let flag = word.strip_prefix("--")?;
        Some(flag.trim_end_matches(|c: char| !c.is_ascii_lowercase()))
    });
    let ran = config(home.path(), &[], &[("ANTHROPIC_AUTH_TOKEN", "canary")]);
    let shown: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|line| line.split("  ").next())
        .collect();
    let no_settings = [
        "help",
        "version",
        "foreground",
        "preset",
        "system",
        "dialect",
    ];
    let mut seen = 0;
    for flag in flags.filter(|flag| !no_settings.contains(flag)) {
        assert!(shown.contains(&flag), "{flag} is not in: {}", ran.out);
        seen += 1;
    }
    assert!(seen > 30, "{}", help.out);
    assert!(ran.out.contains("ANTHROPIC_AUTH_TOKEN"), "{}", ran.out);
}

#[test]
fn without_a_key_the_rest_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let ran = config(home.path(), &["--json"], &[]);
    let (value, why) = row(&ran, "key");
    assert_eq!(value, "none");
    assert!(why.starts_with("there is no API key: "), "{why}");
    assert!(ran.out.contains("\"file_exists\": false"), "{}", ran.out);
    let ran = config(home.path(), &["--json", "--key-file", "/nowhere/key"], &[]);
    assert!(row(&ran, "key").1.contains("/nowhere/key"), "{}", ran.out);
}

#[test]
fn mistakes_are_told_where_they_stand() {
    for (settings, words, variables, says) in [
        (
            "[default]\ncache_size = 1",
            &[][..],
            &[][..],
            "config.toml, line 2: \"cache_size\" is no setting; did you mean \"cache-size\"?",
        ),
        (
            "[default]\ncache-size = \"10X\"",
            &[],
            &[],
            "config.toml, line 2: cache-size: \"10X\" is not a size",
        ),
        (
            "[default]\ndialect = \"old\"",
            &[],
            &[],
            "config.toml, line 2: dialect: \"old\" is none of beta, ga",
        ),
        (
            "[default]\ndelete-guard = -1",
            &[],
            &[],
            "config.toml, line 2: delete-guard: \"-1\" is not a whole number",
        ),
        (
            "[default]\numask = 999",
            &[],
            &[],
            "config.toml, line 2: umask: \"999\" is not a umask",
        ),
        (
            "[presets.work]\nmime-type = [\"*.tex\"]",
            &["--preset", "work"],
            &[],
            "config.toml, line 2: mime-type: \"*.tex\"",
        ),
        (
            "[default]\napi-key = \"sk-canary\"",
            &[],
            &[],
            "config.toml, line 2: \"api-key\" is no setting",
        ),
        (
            "",
            &["--preset", "work"],
            &[],
            "there is no preset \"work\" in",
        ),
        (
            "",
            &[],
            &[("AFS_REFRESH", "10")],
            "AFS_REFRESH: \"10\" is not a time: the unit is missing",
        ),
        (
            "",
            &[],
            &[("AFS_XATTR", "perhaps")],
            "AFS_XATTR is a switch: set it to true or false",
        ),
        (
            "",
            &[],
            &[("AFS_VERBOSE", "much")],
            "AFS_VERBOSE: write 0, 1 or 2",
        ),
    ] {
        let home = home(settings);
        config(home.path(), words, variables).complains(2, &[says]);
        // And so says whatever goes by these settings.
        for command in [&["mount"][..], &["ls"], &["put", "key"]] {
            let mut command = [command, words].concat();
            command.push("--state-dir=state");
            let ran = run(afs(home.path())
                .args(&command)
                .envs(variables.iter().copied())
                .current_dir(home.path()));
            ran.complains(2, &[says]);
        }
    }
}

#[test]
fn a_variable_that_is_no_setting_is_noted() {
    let home = tempfile::tempdir().unwrap();
    let ran = config(home.path(), &[], &[("AFS_CACHESIZE", "1G")]);
    assert_eq!(ran.code, Some(0));
    let says =
        "AFS_CACHESIZE is set, but \"cachesize\" is no setting; did you mean \"cache-size\"?";
    assert!(ran.err.contains(says), "{}", ran.err);
}

#[test]
fn the_environments_key_goes_over_the_files_and_under_a_presets() {
    let home = home("[default]\nkey-file = \"~/key\"\n[presets.work]\nkey-file = \"~/key\"\n");
    let of = |words: &[&str], variables: &[(&str, &str)]| {
        let ran = config(home.path(), &[words, &["--json"]].concat(), variables);
        row(&ran, "key").1
    };
    let variable = &[("ANTHROPIC_API_KEY", "sk-canary")][..];
    assert!(of(&[], &[]).ends_with("/key"));
    assert_eq!(of(&[], variable), "ANTHROPIC_API_KEY");
    assert!(of(&["--preset", "work"], variable).ends_with("/key"));
    assert!(of(&["--preset", "default"], variable).ends_with("/key"));
}

/// Some take a path for a place where the key itself belongs.
#[test]
fn a_key_in_the_place_of_a_path_is_not_repeated() {
    let home = home("");
    for variables in [&[("AFS_KEY_FILE", "sk-ant-canary")][..], &[]] {
        let words: &[&str] = if variables.is_empty() {
            &["--key-file", "sk-ant-canary"]
        } else {
            &[]
        };
        let ran = config(home.path(), words, variables);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains("is not the key itself"), "{}", ran.err);
    }
}

#[test]
fn a_home_that_is_none_or_somebody_elses_has_no_settings() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let shown = config(&dir.path().join("file"), &["--json", "."], &[]);
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(
        shown.out.contains("\"file_exists\": false"),
        "{}",
        shown.out
    );
}

/// A service that is typed goes over a demo that is not.
#[test]
fn what_is_typed_of_the_service_ends_the_demo_of_the_file() {
    let home = home("[default]\ndemo = true\n");
    let demo = |words: &[&str]| {
        let ran = config(home.path(), &[words, &["--json"]].concat(), &[]);
        row(&ran, "key").1
    };
    assert_eq!(demo(&[]), "the demo needs none");
    assert!(demo(&["--key-file", "key"]).ends_with("/key"));
    assert!(demo(&["--demo=false", "--key-file", "key"]).ends_with("/key"));
    let ran = config(home.path(), &["--json", "--key-file", "key"], &[]);
    assert_eq!(
        row(&ran, "demo"),
        ("false".to_owned(), "default".to_owned())
    );
    config(home.path(), &["--demo", "--key-file", "key"], &[])
        .complains(2, &["--demo can't be combined"]);
    assert_eq!(demo(&["--demo"]), "the demo needs none");
}

/// The library sees what excludes what on one line only.
#[test]
fn a_log_that_is_typed_takes_the_place_of_another_kind() {
    let log = |settings: &str, words: &[&str], key: &str| {
        let home = home(settings);
        let ran = config(home.path(), &[words, &["--json"]].concat(), &[]);
        row(&ran, key).0
    };
    let to_file = "[default]\nlog-file = \"/var/log/afs\"\nlog-size = \"1M\"\n";
    assert_eq!(log(to_file, &[], "log-size"), "1M");
    assert_eq!(log(to_file, &["--log-size", "2M"], "log-size"), "2M");
    assert_eq!(log(to_file, &["--syslog"], "syslog"), "/dev/log");
    assert_eq!(log(to_file, &["--syslog"], "log-file"), "none");
    let expires = "[default]\nexpires = \"7d\"\n";
    assert_eq!(log(expires, &[], "dialect"), "ga");
    assert_eq!(log(expires, &["--dialect", "beta"], "expires"), "none");
    assert_eq!(log("[default]\nsyslog = true\n", &[], "syslog"), "/dev/log");
    assert_eq!(log("[default]\nsyslog = false\n", &[], "syslog"), "none");
    let home = home("[default]\nsyslog = \"/nowhere/log\"\n");
    let demo = &["mount", "--demo", "--foreground", "none/m"];
    let mount = |more: &[&str]| {
        run(afs(home.path())
            .args(demo)
            .args(more)
            .current_dir(home.path()))
    };
    mount(&[]).complains(1, &["no log daemon listens at /nowhere/log"]);
    mount(&["--log-file", "log"]).complains(1, &["none/m"]);
}
