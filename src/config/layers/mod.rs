//! Where settings come from before anything is typed: the environment (`AFS_*`), and below it the settings file.
//!
//! A *layer* says some settings, in the words the flags would be given; what is typed goes over all of them. A list that
//! is said again takes the place of the one below.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use super::file::{DEFAULT_HEADING, SettingsFile};
use super::{
    BASE_URL_VARIABLE, ConfigError, KEY_VARIABLE, Surroundings, TOKEN_VARIABLE, WORKSPACE_VARIABLE,
};

/// The variable that names another settings file.
const FILE_VARIABLE: &str = "AFS_CONFIG";
/// The one that names a preset.
pub const PRESET_VARIABLE: &str = "AFS_PRESET";

/// What may be said: a flag of `afs mount`, by its long name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// As in `--cache-size`, without the dashes.
    pub name: String,
    /// What can be said.
    pub kind: Kind,
}

/// What kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// On or off.
    Switch,
    /// One text or number.
    Value,
    /// One path.
    Path,
    /// Off, on, or one path; on is this path.
    OnOrPath(&'static str),
    /// Any number of texts.
    List,
}

impl Kind {
    fn is_path(self) -> bool {
        matches!(self, Self::Path | Self::OnOrPath(_))
    }
}

impl Key {
    /// A setting.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
        }
    }

    /// The environment's name for it: `AFS_CACHE_SIZE`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("AFS_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// Where a setting was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A variable of the environment.
    Variable(String),
    /// Nothing but that it is about the system's own mounts.
    System,
    /// A line of the settings file.
    File {
        /// The file.
        path: PathBuf,
        /// The heading it stands under, brackets included.
        table: String,
        /// Counted from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::System => f.write_str("--system"),
            Self::File { table, line, .. } => write!(f, "{table}, line {line}"),
        }
    }
}

/// A setting as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What a flag would be given, once for each time it would be typed. A switch is `true` or `false`.
    pub values: Vec<OsString>,
    /// Where.
    pub origin: Origin,
}

impl Origin {
    /// Which of two goes over the other.
    fn rank(&self) -> usize {
        match self {
            Self::System => 0,
            Self::File { table, .. } if table == DEFAULT_HEADING => 0,
            Self::File { .. } => 1,
            Self::Variable(_) => 2,
        }
    }
}

/// Settings that the environment has names of its own for, which are not this program's alone: they go over what the
/// settings file says by default, and under a preset that somebody asked for.
const OTHERS: [(&str, &[&str]); 3] = [
    ("key-file", &[KEY_VARIABLE, TOKEN_VARIABLE]),
    ("base-url", &[BASE_URL_VARIABLE]),
    ("workspace-id", &[WORKSPACE_VARIABLE]),
];

/// Settings that one setting ends when it is said: they can't both be meant.
fn ended_by(name: &str, values: &[OsString]) -> &'static [&'static str] {
    let is = |value: &str| values.first().is_some_and(|first| first == value);
    match name {
        "demo" if is("true") => &["key-file", "base-url", "workspace-id"],
        "key-file" | "base-url" | "workspace-id" => &["demo"],
        "log-file" => &["syslog"],
        "syslog" if !values.is_empty() => &["log-file"],
        // Nothing expires in that dialect.
        "dialect" if is("beta") => &["expires"],
        "expires" => &["dialect"],
        _ => &[],
    }
}

/// Everything that was said before anything is typed.
#[derive(Debug, Default)]
pub struct Layers {
    /// By the settings' names; of several that speak of one the strongest.
    pub said: BTreeMap<String, Said>,
    /// The settings file, and whether it is there.
    pub file: Option<(PathBuf, bool)>,
    /// The preset, where one was asked for.
    pub preset: Option<String>,
}

impl Layers {
    /// Reads the environment and the settings file: `$AFS_CONFIG`, else `afs/config.toml` below `$XDG_CONFIG_HOME` or
    /// `~/.config`, and for the system's own mounts `/etc/afs/config.toml`. Without such a file nothing is said there,
    /// unless it or a preset was asked for: then that is an error.
    pub fn read(
        around: &Surroundings<'_>,
        keys: &[Key],
        preset: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let by_variable = around.variable(PRESET_VARIABLE);
        let preset = preset
            .map(str::to_owned)
            .or_else(|| Some(by_variable?.to_string_lossy().into_owned()));
        let mut layers = Self {
            preset,
            ..Self::default()
        };
        layers.add_file(around, keys)?;
        for key in keys {
            let name = key.variable();
            if let Some(text) = around.variable(&name) {
                let values = from_variable(key, &name, text)?;
                let origin = Origin::Variable(name);
                layers
                    .said
                    .insert(key.name.clone(), Said { values, origin });
            }
        }
        for key in keys.iter().filter(|key| key.kind.is_path()) {
            if let Some(said) = layers.said.get_mut(&key.name) {
                for path in &mut said.values {
                    below_home(path, around)?;
                }
            }
        }
        layers.settle(around);
        Ok(layers)
    }

    /// What is typed goes over everything here: what it ends is not said any more.
    pub fn yield_to(&mut self, name: &str, values: &[OsString]) {
        for ended in ended_by(name, values) {
            self.said.remove(*ended);
        }
    }

    /// A path for where nothing is said: the system's own.
    pub fn stand_in(&mut self, name: &str, path: PathBuf) {
        self.said.entry(name.to_owned()).or_insert_with(|| Said {
            values: vec![path.into_os_string()],
            origin: Origin::System,
        });
    }

    /// Of what can't both be meant, the stronger layer's counts.
    fn settle(&mut self, around: &Surroundings<'_>) {
        for (name, variables) in OTHERS {
            let is_weaker = self
                .said
                .get(name)
                .is_some_and(|said| said.origin.rank() < 2);
            let is_set = variables.iter().any(|name| around.variable(name).is_some());
            if is_weaker && is_set && self.preset.is_none() {
                self.said.remove(name);
            }
        }
        let said: Vec<(String, Said)> = self.said.clone().into_iter().collect();
        for (name, stronger) in said {
            for ended in ended_by(&name, &stronger.values) {
                let is_weaker = |weaker: &Said| weaker.origin.rank() < stronger.origin.rank();
                if self.said.get(*ended).is_some_and(is_weaker) {
                    self.said.remove(*ended);
                }
            }
        }
    }

    fn add_file(&mut self, around: &Surroundings<'_>, keys: &[Key]) -> Result<(), ConfigError> {
        let named = around.variable(FILE_VARIABLE).map(PathBuf::from);
        let preset = self.preset.as_deref();
        let Some(path) = named.clone().or_else(|| around.settings_file()) else {
            return match preset {
                Some(preset) => Err(ConfigError::Unusable(format!(
                    "there is no home directory to look for the preset \"{preset}\" in: set HOME, or {FILE_VARIABLE}"
                ))),
                None => Ok(()),
            };
        };
        let file = SettingsFile::read(&path)?;
        let shown = path.display();
        match (&file, preset) {
            (Some(file), _) => self.said.extend(file.said(keys, preset)?),
            (None, _) if named.is_some() => {
                return Err(ConfigError::Unusable(format!(
                    "{FILE_VARIABLE} names the settings file {shown}, which does not exist"
                )));
            }
            (None, Some(preset)) if preset != "default" => {
                return Err(ConfigError::Usage(format!(
                    "there is no preset \"{preset}\": the settings file {shown} does not exist"
                )));
            }
            (None, _) => {}
        }
        self.file = Some((path, file.is_some()));
        Ok(())
    }

    /// What a setting was said to be.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Said> {
        self.said.get(name)
    }
}

/// The values that a variable holds: a switch's in the usual words, a list's with commas between them.
fn from_variable(key: &Key, name: &str, text: OsString) -> Result<Vec<OsString>, ConfigError> {
    match key.kind {
        Kind::Value | Kind::Path => Ok(vec![text]),
        Kind::List => Ok(text
            .to_string_lossy()
            .split(',')
            .filter(|item| !item.is_empty())
            .map(OsString::from)
            .collect()),
        Kind::Switch => switched(&text)
            .map(|on| vec![on.to_string().into()])
            .ok_or_else(|| {
                ConfigError::Usage(format!("{name} is a switch: set it to true or false"))
            }),
        Kind::OnOrPath(usual) => Ok(match switched(&text) {
            Some(true) => vec![usual.into()],
            Some(false) => Vec::new(),
            None => vec![text],
        }),
    }
}

fn switched(text: &OsStr) -> Option<bool> {
    match text.to_string_lossy().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `~/` at the front of a path, as a shell reads it; here no shell has been at it.
fn below_home(path: &mut OsString, around: &Surroundings<'_>) -> Result<(), ConfigError> {
    let Some(rest) = path.to_str().and_then(|path| path.strip_prefix("~/")) else {
        return Ok(());
    };
    let home = around.home().ok_or_else(|| {
        ConfigError::Unusable(format!(
            "\"~/{rest}\" is below the home directory, and HOME is not set"
        ))
    })?;
    *path = home.join(rest).into_os_string();
    Ok(())
}

#[cfg(test)]
mod tests;
