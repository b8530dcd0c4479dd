//! The settings file: `[default]`, and under `[presets.NAME]` what is different there.
//!
//! Its keys are the long names of the flags of `afs mount`; what a value means is said once, by the flag. This file reads
//! the shape: which tables there are, which keys, what kind of value each has, and on which line it stands.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::layers::{Key, Kind, Origin, Said};

/// The table that always counts.
const DEFAULT: &str = "default";
/// How it is headed.
pub(super) const DEFAULT_HEADING: &str = "[default]";
/// The table of those that count when they are asked for.
const PRESETS: &str = "presets";
/// How alike two words must be for one to be a likely mistake for the other; as in clap's own suggestions.
const ALIKE: f64 = 0.7;

/// A settings file, read and not yet understood.
#[derive(Debug)]
pub(super) struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl SettingsFile {
    /// `None` where there is no such file, or no directory where it could be: who has no home directory, or one that is
    /// somebody else's, has no settings.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self {
                path: path.to_owned(),
                text,
            })),
            Err(_) if path.metadata().is_err() => Ok(None),
            Err(error) => Err(ConfigError::Unusable(format!(
                "the settings file {} cannot be read: {error}",
                path.display()
            ))),
        }
    }

    /// What `[default]` says, and over it what the preset says. Every table is checked, asked for or not: a mistake should
    /// be found when the file is written, not months later.
    pub(super) fn said(
        &self,
        keys: &[Key],
        preset: Option<&str>,
    ) -> Result<Vec<(String, Said)>, ConfigError> {
        let document = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, &error.message().replace('\n', ", "))
        })?;
        let mut said = Vec::new();
        let mut chosen = preset.is_none_or(|name| name == DEFAULT).then(Vec::new);
        for (name, value) in document.get_ref() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                (DEFAULT, DeValue::Table(table)) => {
                    said = self.table(table, keys, DEFAULT_HEADING)?;
                }
                (PRESETS, DeValue::Table(presets)) => {
                    for (name, value) in presets {
                        let own = self.preset(name, value, keys)?;
                        if Some(name.get_ref().as_ref()) == preset {
                            chosen = Some(own);
                        }
                    }
                }
                _ => return Err(self.outside(name, value, keys)),
            }
        }
        let Some(chosen) = chosen else {
            return Err(self.no_preset(preset.unwrap_or_default(), document.get_ref()));
        };
        // The later one counts.
        said.extend(chosen);
        Ok(said)
    }

    fn preset(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        keys: &[Key],
    ) -> Result<Vec<(String, Said)>, ConfigError> {
        let called = name.get_ref();
        let at = name.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            let why = format!("\"{called}\" is no preset: write a table, [presets.{called}]");
            return Err(self.wrong(at, &why));
        };
        if called == DEFAULT {
            let why = "no preset can be called \"default\": that is what [default] is for";
            return Err(self.wrong(at, why));
        }
        self.table(table, keys, &format!("[presets.{called}]"))
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        keys: &[Key],
        heading: &str,
    ) -> Result<Vec<(String, Said)>, ConfigError> {
        let entries = table.iter().map(|(name, value)| {
            let at = name.span().start;
            let key = keys
                .iter()
                .find(|key| key.name == name.get_ref().as_ref())
                .ok_or_else(|| self.wrong(at, &unknown(name.get_ref(), keys)))?;
            let values = values(key, value.get_ref()).map_err(|why| self.wrong(at, &why))?;
            let origin = Origin::File {
                path: self.path.clone(),
                table: heading.to_owned(),
                line: self.line(at),
            };
            Ok((key.name.clone(), Said { values, origin }))
        });
        entries.collect()
    }

    /// What stands at the top and is neither of the two tables.
    fn outside(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        keys: &[Key],
    ) -> ConfigError {
        let called = name.get_ref().as_ref();
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let why = if keys.iter().any(|key| key.name == called) && !is_table {
            format!("\"{called}\" stands outside a table: put it under [default]")
        } else if let DeValue::Table(table) = value.get_ref() {
            // Of [preset.work] the name is meant.
            let inner = table
                .iter()
                .find(|(_, value)| matches!(value.get_ref(), DeValue::Table(_)));
            let preset = inner.map_or(called, |(name, _)| name.get_ref().as_ref());
            format!("there is no table [{called}]: write [default], or [presets.{preset}]")
        } else if called == DEFAULT || called == PRESETS {
            format!("\"{called}\" is a table: write [{called}]")
        } else {
            unknown(called, keys)
        };
        self.wrong(name.span().start, &why)
    }

    fn no_preset(&self, preset: &str, document: &DeTable<'_>) -> ConfigError {
        let names = document.iter().find_map(|(name, value)| {
            let is_them = name.get_ref() == PRESETS;
            value.get_ref().as_table().filter(|_| is_them)
        });
        let names: Vec<&str> = names
            .into_iter()
            .flat_map(|table| table.iter().map(|(name, _)| name.get_ref().as_ref()))
            .collect();
        let has = match (names.as_slice(), nearest(preset, names.iter().copied())) {
            ([], _) => "it has no presets".to_owned(),
            (_, Some(alike)) => format!("did you mean \"{alike}\"?"),
            (names, None) => format!("it has {}", names.join(", ")),
        };
        ConfigError::Usage(format!(
            "there is no preset \"{preset}\" in {}: {has}",
            self.path.display()
        ))
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(&self.text);
        before.matches('\n').count() + 1
    }

    fn wrong(&self, at: usize, why: &str) -> ConfigError {
        ConfigError::Usage(format!(
            "{}, line {}: {why}",
            self.path.display(),
            self.line(at)
        ))
    }
}

/// The sentence about a name that is no setting's, with the one that was likely meant.
#[must_use]
pub fn unknown(name: &str, keys: &[Key]) -> String {
    match nearest(name, keys.iter().map(|key| key.name.as_str())) {
        Some(alike) => format!("\"{name}\" is no setting; did you mean \"{alike}\"?"),
        None => format!("\"{name}\" is no setting; afs config lists them"),
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known));
    alike
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

/// A value as the flag would be given it: several where it may be repeated.
fn values(key: &Key, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let name = &key.name;
    match (key.kind, value) {
        (Kind::Switch, DeValue::Boolean(on)) => Ok(vec![on.to_string().into()]),
        (Kind::OnOrPath(usual), DeValue::Boolean(true)) => Ok(vec![usual.into()]),
        (Kind::OnOrPath(_), DeValue::Boolean(false)) => Ok(Vec::new()),
        (Kind::Switch, _) => Err(format!("{name} is a switch: write true or false")),
        (Kind::List, DeValue::Array(items)) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.as_ref().into()),
                _ => Err(format!(
                    "{name} is a list of texts: write {name} = [\"...\"]"
                )),
            })
            .collect(),
        (Kind::Path | Kind::OnOrPath(_), DeValue::String(text)) if !is_certain(text) => Err(
            format!("{name} must be a whole path: one that begins with / or ~/"),
        ),
        (_, DeValue::String(text)) => Ok(vec![text.as_ref().into()]),
        (Kind::Value, DeValue::Integer(number)) if number.radix() == 10 => {
            Ok(vec![number.as_str().into()])
        }
        (Kind::List, _) => Err(format!(
            "{name} is a list of texts: write {name} = [\"...\"]"
        )),
        (Kind::OnOrPath(_), _) => Err(format!(
            "{name} is a switch or a path: write true, false or {name} = \"...\""
        )),
        (Kind::Value | Kind::Path, _) => {
            Err(format!("{name} wants a text: write {name} = \"...\""))
        }
    }
}

/// Whether a path means the same wherever the program is started.
fn is_certain(path: &str) -> bool {
    path.starts_with('/') || path.starts_with("~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        [
            ("cache-size", Kind::Value),
            ("read-only", Kind::Switch),
            ("key-file", Kind::Path),
            ("scratch", Kind::List),
            ("syslog", Kind::OnOrPath("/dev/log")),
        ]
        .map(|(name, kind)| Key::new(name, kind))
        .into()
    }

    fn said(text: &str, preset: Option<&str>) -> Result<Vec<(String, String, usize)>, String> {
        let file = SettingsFile {
            path: "c.toml".into(),
            text: text.into(),
        };
        let said = file.said(&keys(), preset).map_err(|error| {
            assert!(matches!(error, ConfigError::Usage(_)), "{error}");
            error.to_string()
        })?;
        Ok(said
            .into_iter()
            .map(|(key, said)| {
                let Origin::File { line, .. } = said.origin else {
                    panic!("{:?}", said.origin)
                };
                let values: Vec<_> = said.values.iter().map(|v| v.to_str().unwrap()).collect();
                (key, values.join("+"), line)
            })
            .collect())
    }

    #[test]
    fn what_a_preset_says_comes_after_the_default() {
        let text = "[default]\ncache-size = \"2G\"\nread-only = true\n\n[presets.work]\n\
                    cache-size = 4096\nscratch = [\"*.a\", \"*.b\"]\nkey-file = \"~/k\"\n[presets.\"x y\"]\n";
        let row = |key: &str, value: &str, line| (key.to_owned(), value.to_owned(), line);
        let default = vec![row("cache-size", "2G", 2), row("read-only", "true", 3)];
        assert_eq!(said(text, None), Ok(default.clone()));
        assert_eq!(said(text, Some("default")), Ok(default.clone()));
        assert_eq!(said(text, Some("x y")), Ok(default.clone()));
        let work = [
            row("cache-size", "4096", 6),
            row("key-file", "~/k", 8),
            row("scratch", "*.a+*.b", 7),
        ];
        assert_eq!(
            said(text, Some("work")),
            Ok([default, work.to_vec()].concat())
        );
        assert_eq!(said("", None), Ok(Vec::new()));
    }

    #[test]
    fn no_file_is_none_and_one_that_is_no_text_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("binary"), b"\xff").unwrap();
        for none in ["none", "binary/config.toml", "none/config.toml"] {
            assert!(SettingsFile::read(&at(none)).unwrap().is_none(), "{none}");
        }
        for wrong in ["binary", "."] {
            let why = SettingsFile::read(&at(wrong)).unwrap_err().to_string();
            assert!(why.contains("cannot be read"), "{why}");
        }
    }

    #[test]
    fn what_is_on_or_a_path_can_be_both() {
        for (text, values) in [
            ("true", "/dev/log"),
            ("false", ""),
            ("\"/run/log\"", "/run/log"),
        ] {
            let got = said(&format!("[default]\nsyslog = {text}"), None).unwrap();
            assert_eq!(got, [("syslog".to_owned(), values.to_owned(), 2)]);
        }
        for text in ["\"log\"", "1"] {
            said(&format!("[default]\nsyslog = {text}"), None).unwrap_err();
        }
    }

    #[test]
    fn mistakes_are_named_with_their_line_and_the_way_out() {
        for (text, preset, sentence) in [
            (
                "[default]\ncache_size = 1",
                None,
                "c.toml, line 2: \"cache_size\" is no setting; did you mean \"cache-size\"?",
            ),
            (
                "[default]\nfrob = 1",
                None,
                "c.toml, line 2: \"frob\" is no setting; afs config lists them",
            ),
            (
                "cache-size = 1",
                None,
                "c.toml, line 1: \"cache-size\" stands outside a table: put it under [default]",
            ),
            (
                "[work]\n",
                None,
                "c.toml, line 1: there is no table [work]: write [default], or [presets.work]",
            ),
            (
                "[preset.work]\n",
                None,
                "c.toml, line 1: there is no table [preset]: write [default], or [presets.work]",
            ),
            (
                "presets = 1",
                None,
                "c.toml, line 1: \"presets\" is a table: write [presets]",
            ),
            (
                "[presets]\nwork = 1",
                None,
                "c.toml, line 2: \"work\" is no preset: write a table, [presets.work]",
            ),
            (
                "[presets.default]\n",
                None,
                "c.toml, line 1: no preset can be called \"default\": that is what [default] is for",
            ),
            (
                "[default]\nread-only = \"yes\"",
                None,
                "c.toml, line 2: read-only is a switch: write true or false",
            ),
            (
                "[default]\nread-only = 1",
                None,
                "c.toml, line 2: read-only is a switch: write true or false",
            ),
            (
                "[default]\ncache-size = 0x10",
                None,
                "c.toml, line 2: cache-size wants a text: write cache-size = \"...\"",
            ),
            (
                "[default]\ncache-size = true",
                None,
                "c.toml, line 2: cache-size wants a text: write cache-size = \"...\"",
            ),
            (
                "[default]\nscratch = [1]",
                None,
                "c.toml, line 2: scratch is a list of texts: write scratch = [\"...\"]",
            ),
            (
                "[default]\nkey-file = \"key\"",
                None,
                "c.toml, line 2: key-file must be a whole path: one that begins with / or ~/",
            ),
            // Every table is looked at.
            (
                "\n[presets.other]\nfrob = 1",
                None,
                "c.toml, line 3: \"frob\" is no setting; afs config lists them",
            ),
            (
                "[presets.work]\n[presets.home]\n",
                Some("wrok"),
                "there is no preset \"wrok\" in c.toml: did you mean \"work\"?",
            ),
            (
                "[presets.work]\n[presets.home]\n",
                Some("x"),
                "there is no preset \"x\" in c.toml: it has home, work",
            ),
            (
                "[default]\n",
                Some("work"),
                "there is no preset \"work\" in c.toml: it has no presets",
            ),
        ] {
            assert_eq!(said(text, preset), Err(sentence.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        for text in [
            "[default",
            "[default]\n\ncache-size = ",
            "[default]\nread-only = true\nread-only = true",
        ] {
            let why = said(text, None).unwrap_err();
            let line = text.lines().count();
            assert!(why.starts_with(&format!("c.toml, line {line}: ")), "{why}");
            assert!(!why.contains('\n'), "{why}");
        }
    }
}
