//! The order of the layers, and what ends what.

use std::path::Path;

use super::*;

fn keys() -> Vec<Key> {
    [
        ("cache-size", Kind::Value),
        ("read-only", Kind::Switch),
        ("key-file", Kind::Path),
        ("scratch", Kind::List),
        ("syslog", Kind::OnOrPath("/dev/log")),
        ("log-file", Kind::Path),
        ("demo", Kind::Switch),
    ]
    .map(|(name, kind)| Key::new(name, kind))
    .into()
}

/// With a home directory that has such a settings file.
fn read(
    file: Option<&str>,
    variables: &[(&str, &str)],
    preset: Option<&str>,
) -> Result<Vec<(String, String, String)>, String> {
    let home = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::create_dir_all(home.path().join(".config/afs")).unwrap();
        std::fs::write(home.path().join(".config/afs/config.toml"), text).unwrap();
    }
    let layers = read_in(home.path(), variables, preset).map_err(|error| {
        error
            .to_string()
            .replace(home.path().to_str().unwrap(), "HOME")
    })?;
    let show = |values: &[OsString]| {
        let values: Vec<_> = values.iter().map(|value| value.to_str().unwrap()).collect();
        values
            .join("+")
            .replace(home.path().to_str().unwrap(), "HOME")
    };
    let said = layers.said.iter();
    Ok(said
        .map(|(key, said)| (key.clone(), show(&said.values), said.origin.to_string()))
        .collect())
}

fn read_in(
    home: &Path,
    variables: &[(&str, &str)],
    preset: Option<&str>,
) -> Result<Layers, ConfigError> {
    let variable = |name: &str| match variables.iter().find(|(known, _)| *known == name) {
        Some((_, value)) => Some(OsString::from(value)),
        None if name == "HOME" => Some(home.into()),
        None => None,
    };
    let around = Surroundings {
        variable: &variable,
        uid: 1000,
        gid: 1000,
        system: false,
    };
    Layers::read(&around, &keys(), preset)
}

fn row(key: &str, value: &str, origin: &str) -> (String, String, String) {
    (key.to_owned(), value.to_owned(), origin.to_owned())
}

const FILE: &str = "[default]\ncache-size = \"1G\"\nkey-file = \"~/key\"\nscratch = [\"*.a\"]\n\
                    [presets.work]\ncache-size = \"2G\"\nread-only = true\n";

#[test]
fn the_environment_goes_over_the_file_and_a_preset_over_the_default() {
    let plain = read(Some(FILE), &[], None).unwrap();
    let expected = [
        row("cache-size", "1G", "[default], line 2"),
        row("key-file", "HOME/key", "[default], line 3"),
        row("scratch", "*.a", "[default], line 4"),
    ];
    assert_eq!(plain, expected);
    let variables = [
        ("AFS_SCRATCH", "*.b,*.c"),
        ("AFS_READ_ONLY", "Off"),
        ("AFS_KEY_FILE", ""),
    ];
    let expected = [
        row("cache-size", "2G", "[presets.work], line 6"),
        row("key-file", "HOME/key", "[default], line 3"),
        row("read-only", "false", "AFS_READ_ONLY"),
        row("scratch", "*.b+*.c", "AFS_SCRATCH"),
    ];
    assert_eq!(
        read(Some(FILE), &variables, Some("work")).unwrap(),
        expected
    );
    let by_variable = [&variables[..], &[("AFS_PRESET", "work")]].concat();
    assert_eq!(read(Some(FILE), &by_variable, None).unwrap(), expected);
    for (text, value) in [("1", "/dev/log"), ("off", ""), ("~/log", "HOME/log")] {
        let said = read(None, &[("AFS_SYSLOG", text)], None).unwrap();
        assert_eq!(said, [row("syslog", value, "AFS_SYSLOG")]);
    }
    // What is typed goes before the variable.
    let by_variable = [("AFS_PRESET", "no such")];
    assert!(read(Some(FILE), &by_variable, Some("work")).is_ok());
}

/// A file that names all of a service, and one preset that does.
const SERVICES: &str = "[default]\nkey-file = \"/default\"\nsyslog = true\n[presets.work]\nkey-file = \"/work\"\n\
                        [presets.demo]\nlog-file = \"/log\"\n";

#[test]
fn the_environments_own_names_go_over_the_default_and_under_a_preset() {
    let key_file = |variables: &[(&str, &str)], preset| {
        let said = read(Some(SERVICES), variables, preset).unwrap();
        said.into_iter()
            .find(|row| row.0 == "key-file")
            .map(|row| row.1)
    };
    let variable = &[("ANTHROPIC_API_KEY", "x")][..];
    assert_eq!(key_file(&[], None).as_deref(), Some("/default"));
    assert_eq!(key_file(variable, None), None);
    assert_eq!(key_file(&[("ANTHROPIC_AUTH_TOKEN", "x")], None), None);
    assert_eq!(
        key_file(&[("ANTHROPIC_BASE_URL", "x")], None).as_deref(),
        Some("/default")
    );
    assert_eq!(
        key_file(variable, Some("default")).as_deref(),
        Some("/default")
    );
    assert_eq!(key_file(variable, Some("work")).as_deref(), Some("/work"));
    let both = [variable, &[("AFS_KEY_FILE", "/typed")]].concat();
    assert_eq!(key_file(&both, None).as_deref(), Some("/typed"));
}

#[test]
fn of_what_cannot_both_be_meant_the_stronger_counts() {
    let names = |variables: &[(&str, &str)], preset| -> Vec<String> {
        let said = read(Some(SERVICES), variables, preset).unwrap();
        said.into_iter().map(|row| row.0).collect()
    };
    assert_eq!(names(&[], None), ["key-file", "syslog"]);
    assert_eq!(names(&[], Some("demo")), ["key-file", "log-file"]);
    assert_eq!(names(&[("AFS_DEMO", "1")], None), ["demo", "syslog"]);
    assert_eq!(
        names(&[("AFS_DEMO", "0")], None),
        ["demo", "key-file", "syslog"]
    );
    let mut layers = Layers::default();
    let origin = Origin::Variable("AFS".into());
    for name in ["expires", "demo", "log-file"] {
        let said = Said {
            values: Vec::new(),
            origin: origin.clone(),
        };
        layers.said.insert(name.to_owned(), said);
    }
    layers.yield_to("dialect", &["ga".into()]);
    layers.yield_to("syslog", &[]);
    assert_eq!(layers.said.len(), 3);
    layers.yield_to("dialect", &["beta".into()]);
    layers.yield_to("key-file", &["/k".into()]);
    layers.yield_to("syslog", &["/dev/log".into()]);
    assert!(layers.said.is_empty(), "{layers:?}");
}

#[test]
fn no_file_says_nothing_unless_it_was_asked_for() {
    assert_eq!(read(None, &[], None), Ok(Vec::new()));
    assert_eq!(read(None, &[], Some("default")), Ok(Vec::new()));
    for (variables, preset, sentence) in [
        (
            &[][..],
            Some("work"),
            "there is no preset \"work\": the settings file HOME/.config/afs/config.toml does not exist",
        ),
        (
            &[("AFS_CONFIG", "/nowhere/c.toml")],
            None,
            "AFS_CONFIG names the settings file /nowhere/c.toml, which does not exist",
        ),
        (
            &[("AFS_READ_ONLY", "maybe")],
            None,
            "AFS_READ_ONLY is a switch: set it to true or false",
        ),
        (
            &[("HOME", ""), ("AFS_KEY_FILE", "~/key")],
            None,
            "\"~/key\" is below the home directory, and HOME is not set",
        ),
        (
            &[("HOME", "")],
            Some("work"),
            "there is no home directory to look for the preset \"work\" in: set HOME, or AFS_CONFIG",
        ),
    ] {
        assert_eq!(read(None, variables, preset), Err(sentence.to_owned()));
    }
}

#[test]
fn the_file_is_where_the_variables_say() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("xdg/afs")).unwrap();
    let texts = [("xdg/afs/config.toml", "1G"), ("other.toml", "2G")];
    for (path, size) in texts {
        let text = format!("[default]\ncache-size = \"{size}\"\n");
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (xdg, other) = (path("xdg"), path("other.toml"));
    for (variables, size) in [
        (&[("XDG_CONFIG_HOME", xdg.as_str())][..], Some("1G")),
        (
            &[("XDG_CONFIG_HOME", &xdg), ("AFS_CONFIG", &other)],
            Some("2G"),
        ),
        // A rule of XDG: what is not absolute is not there.
        (&[("XDG_CONFIG_HOME", "xdg")], None),
    ] {
        let layers = read_in(dir.path(), variables, None).unwrap();
        let got = layers.get("cache-size").map(|said| said.values[0].clone());
        assert_eq!(got, size.map(OsString::from), "{variables:?}");
    }
}
