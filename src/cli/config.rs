//! `afs config`: what a mount would be made with, and where each of it was said.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::mount::MountArguments;
use super::settings::{explained, keys, surroundings};
use super::status::print_json;
use crate::api::{ApiKey, Credential, CustomHeaders};
use crate::config::{
    BASE_URL_VARIABLE, ConfigError, KEY_VARIABLE, MountRequest, MountSettings, Secrets, Source,
    Surroundings, TOKEN_VARIABLE, WORKSPACE_VARIABLE, unknown_setting,
};

/// What can be typed after `afs config`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs config
      what afs mount would do, and who said so
  afs config --preset work --cache-size 2G
      the same of a mount with these words: all of afs mount are taken
  afs config --json

Settings are the long names of the flags of afs mount. They are looked for in
this order: on the command line, in variables such as AFS_CACHE_SIZE, under
[presets.NAME] of ~/.config/afs/config.toml if --preset NAME is given, and
under [default] there:

  [default]
  key-file = \"~/.config/afs/key\"
  write-back = true

  [presets.work]
  mountpoint = \"~/work-files\"
  key-file = \"~/.config/afs/work-key\"
  scratch = [\"*.bak\", \"draft-*\"]

AFS_CONFIG names another file, AFS_PRESET a preset. The key itself is never
shown, and never stands in that file.")]
pub struct ConfigArguments {
    #[command(flatten)]
    pub(super) mount: MountArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What was said, by whom.
    #[arg(skip)]
    pub(super) said: Vec<Row>,
    /// The settings file, and whether it is there.
    #[arg(skip)]
    pub(super) file: Option<(PathBuf, bool)>,
    /// The preset that counts.
    #[arg(skip)]
    pub(super) preset: Option<String>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) origin: String,
}

/// Prints the settings of a mount.
#[must_use]
pub fn run(arguments: ConfigArguments) -> ExitCode {
    let ConfigArguments {
        mount,
        json,
        said: typed,
        file,
        preset,
    } = arguments;
    let around = surroundings(mount.system);
    let request = mount.request();
    let key = match key(&request, &around) {
        Ok(key) => key,
        Err(error) => return explained(&error),
    };
    let settings = match without_key(request).resolve(&around) {
        Ok(settings) => settings,
        Err(error) => return explained(&error),
    };
    let rows = rows(key, &typed, &settings, &around);
    note_strangers();
    if json {
        print_json(&json!({
            "file": file.as_ref().map(|(path, _)| path),
            "file_exists": file.as_ref().is_some_and(|(_, exists)| *exists),
            "preset": preset,
            "settings": rows.iter().map(|row| json!({
                "key": row.key, "value": row.value, "origin": row.origin,
            })).collect::<Vec<_>>(),
        }));
    } else {
        print(&rows, file.as_ref(), preset.as_deref());
    }
    ExitCode::SUCCESS
}

/// Which key a mount would use; never what it is. An error where what was said can't be meant.
fn key(request: &MountRequest, around: &Surroundings<'_>) -> Result<Row, ConfigError> {
    let (value, origin) = match request.service(around).map(|service| service.source) {
        Ok(Source::Demo) => ("none".to_owned(), "the demo needs none".to_owned()),
        Ok(Source::Service {
            key_file: Some(path),
            ..
        }) => ("hidden".to_owned(), path.display().to_string()),
        Ok(Source::Service { credential, .. }) => {
            let variable = match credential {
                Credential::Key(_) => KEY_VARIABLE,
                Credential::Token(_) => TOKEN_VARIABLE,
            };
            ("hidden".to_owned(), variable.to_owned())
        }
        Err(error @ ConfigError::Usage(_)) => return Err(error),
        Err(error) => ("none".to_owned(), error.to_string()),
    };
    Ok(Row {
        key: "key".to_owned(),
        value,
        origin,
    })
}

/// The same request as one that has a key: what is shown of it holds none.
fn without_key(request: MountRequest) -> MountRequest {
    let secrets = ApiKey::new("none").ok().map(|key| Secrets {
        credential: Credential::Key(key),
        headers: CustomHeaders::default(),
        key_file: None,
    });
    MountRequest {
        key_file: None,
        secrets,
        ..request
    }
}

fn rows(key: Row, typed: &[Row], settings: &MountSettings, around: &Surroundings<'_>) -> Vec<Row> {
    let mountpoint = match around.mountpoint() {
        Ok(path) => path.display().to_string(),
        Err(_) => "none".to_owned(),
    };
    let by_default = |(name, value): (&'static str, String)| {
        let variable = match name {
            "base-url" => Some(BASE_URL_VARIABLE),
            "workspace-id" => Some(WORKSPACE_VARIABLE),
            _ => None,
        };
        let variable =
            variable.filter(|name| (around.variable)(name).is_some_and(|value| !value.is_empty()));
        Row {
            key: name.to_owned(),
            value: if name == "mountpoint" {
                mountpoint.clone()
            } else {
                value
            },
            origin: variable.unwrap_or("default").to_owned(),
        }
    };
    let shown = settings.shown().into_iter().map(|shown| {
        let said = typed.iter().find(|row| row.key == shown.0);
        said.cloned().unwrap_or_else(|| by_default(shown))
    });
    std::iter::once(key).chain(shown).collect()
}

fn print(rows: &[Row], file: Option<&(PathBuf, bool)>, preset: Option<&str>) {
    match file {
        Some((path, true)) => say!("settings file: {}", path.display()),
        Some((path, false)) => say!("settings file: {} (does not exist)", path.display()),
        None => say!("settings file: none, for HOME is not set"),
    }
    if let Some(preset) = preset {
        say!("preset: {preset}");
    }
    say!("");
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max();
    let names = width(|row| &row.key).unwrap_or_default();
    let values = width(|row| &row.value).unwrap_or_default().min(40);
    for Row { key, value, origin } in rows {
        say!("{key:names$}  {value:values$}  {origin}");
    }
}

/// A variable that looks like a setting and is none would be overlooked in silence.
fn note_strangers() {
    let keys = keys();
    for (name, _) in std::env::vars_os() {
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("AFS_")) else {
            continue;
        };
        let is_known = ["CONFIG", "PRESET"].contains(&rest)
            || keys
                .iter()
                .any(|key| Some(key.variable().as_str()) == name.to_str());
        if !is_known {
            let called = rest.to_lowercase().replace('_', "-");
            tell!(
                "afs: AFS_{rest} is set, but {}",
                unknown_setting(&called, &keys)
            );
        }
    }
}
