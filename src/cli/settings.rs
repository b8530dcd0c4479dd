//! What is typed goes over what environment and settings file say: here a command line meets both.
//!
//! The layers below become the defaults of the flags, so that one grammar judges all three, and the flags' own sentences
//! say what is wrong. Switches can then be turned off as well as on: `--read-only=false`.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::num::ParseIntError;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, ValueHint, value_parser};

use super::config::Row;
use super::mount::MountArguments;
use super::{Arguments, Command, USAGE, failed, typed_wrongly};
use crate::config::{
    ConfigError, DEFAULT_SYSLOG, Key, Kind, Layers, MountRequest, Origin, Said, Surroundings,
};
use crate::mount::sys;

/// The command whose flags are the settings, and the one that shows them.
const SETTERS: [&str; 2] = ["mount", "config"];
/// Flags of these that are no settings: they say how one run goes.
const NO_SETTINGS: [&str; 8] = [
    "help",
    "version",
    "foreground",
    "preset",
    "system",
    "json",
    "serve-in-background",
    "shown-source",
];
/// Flags of other commands that say where things are on this machine. What such a command says of a service is no layer's:
/// it lays that over [`usual`] itself, for it matters there whether somebody typed it.
const EVERYWHERE: [&str; 2] = ["state-dir", "cache-dir"];

/// Where a key is named, and some write the key itself.
const KEY_FILE: &str = "key-file";
/// What is said then.
const NO_KEY_FILE: &str = "it names a file that holds the key, and is not the key itself";

/// Reads a command line whose first word is the program's name. Where it is wrong, or a layer is, says so.
pub(super) fn parse(typed: &[OsString]) -> Result<Command, ExitCode> {
    let plain = line();
    let bare = with_layers(plain.clone(), &Layers::default());
    let matches = match bare.try_get_matches_from(typed) {
        Ok(matches) => matches,
        // Without the words that turn switches off: nobody looks for them in a help.
        Err(error) if !error.use_stderr() => plain.clone().get_matches_from(typed),
        Err(error) => return Err(wrong(&error)),
    };
    if !has_state(&plain, &matches) {
        return command(&matches);
    }
    let layers = layers(leaf(&matches)).map_err(|error| explained(&error))?;
    let matches = with_layers(plain, &layers)
        .try_get_matches_from(typed)
        .map_err(|error| wrong(&error))?;
    let mut command = command(&matches)?;
    let own = leaf(&matches);
    match &mut command {
        Command::Mount(arguments) => {
            arguments.typed = typed.iter().skip(2).cloned().collect();
        }
        Command::Config(arguments) => {
            arguments.said = rows(own, &layers);
            arguments.file = layers.file;
            arguments.preset = layers.preset;
        }
        _ => {}
    }
    Ok(command)
}

/// The command line as it is shown: the flags of a mount once, though they can be typed after `afs config` too.
pub(super) fn line() -> clap::Command {
    Arguments::command().mut_subcommand(SETTERS[1], |config| {
        config.mut_args(|arg| match name(&arg) {
            "help" | "version" | "preset" | "system" | "json" => arg,
            _ => arg.hide(true),
        })
    })
}

/// What environment and settings file say, as a mount would hear it.
pub(super) fn usual(preset: Option<&str>, system: bool) -> Result<MountRequest, ConfigError> {
    let layers = checked(&surroundings(system), preset)?;
    let matches = with_layers(Arguments::command(), &layers).get_matches_from(["afs", SETTERS[0]]);
    let arguments = MountArguments::from_arg_matches(leaf(&matches))
        .map_err(|error| ConfigError::Usage(error.to_string()))?;
    Ok(arguments.request())
}

/// What a command's settings come from beside its words; of the system's mounts where `system` is set.
pub(super) fn surroundings(system: bool) -> Surroundings<'static> {
    Surroundings {
        variable: &|name| std::env::var_os(name),
        uid: sys::uid(),
        gid: sys::gid(),
        system,
    }
}

/// Says what is wrong with settings and gives the exit code for it.
pub(super) fn explained(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::Usage(_) => typed_wrongly(error),
        ConfigError::Unusable(_) | ConfigError::NoKey => failed(error),
    }
}

/// Every setting, in the order of the help.
pub(super) fn keys() -> Vec<Key> {
    keys_and_ids().into_iter().map(|(key, _)| key).collect()
}

/// The same, each with what the library calls its flag.
fn keys_and_ids() -> Vec<(Key, String)> {
    let command = Arguments::command();
    let mount = command.find_subcommand(SETTERS[0]);
    let arguments = mount.into_iter().flat_map(clap::Command::get_arguments);
    arguments
        .filter_map(|arg| Some((key(arg)?, arg.get_id().as_str().to_owned())))
        .collect()
}

/// The setting that a flag of `afs mount` is.
fn key(arg: &Arg) -> Option<Key> {
    let name = name(arg);
    let kind = match arg.get_action() {
        ArgAction::SetTrue => Kind::Switch,
        ArgAction::Append => Kind::List,
        _ if may_stand_alone(arg) => Kind::OnOrPath(DEFAULT_SYSLOG),
        _ if arg.get_value_hint() == ValueHint::AnyPath => Kind::Path,
        _ => Kind::Value,
    };
    (!NO_SETTINGS.contains(&name)).then(|| Key::new(name, kind))
}

/// Whether a flag with a value can be typed without one.
fn may_stand_alone(arg: &Arg) -> bool {
    arg.get_num_args()
        .is_some_and(|count| count.min_values() == 0)
}

fn name(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

/// The flags of the command at the end of the line.
fn leaf(matches: &ArgMatches) -> &ArgMatches {
    let mut leaf = matches;
    while let Some((_, below)) = leaf.subcommand() {
        leaf = below;
    }
    leaf
}

/// Whether a command has to know where states are. Asked of its definition: what was matched tells of unknown flags in
/// programs that are built for debugging only.
fn has_state(line: &clap::Command, matches: &ArgMatches) -> bool {
    let (mut command, mut matches) = (line, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(found) = command.find_subcommand(name) else {
            return false;
        };
        (command, matches) = (found, below);
    }
    command
        .get_arguments()
        .any(|arg| name(arg) == EVERYWHERE[0])
}

/// The layers below a command line, without what ends where something else is typed.
fn layers(own: &ArgMatches) -> Result<Layers, ConfigError> {
    let preset = own.try_get_one::<String>("preset").ok().flatten();
    let system = own.try_get_one::<bool>("system").ok().flatten();
    let around = surroundings(system.copied().unwrap_or_default());
    let mut layers = checked(&around, preset.map(String::as_str))?;
    for (key, id) in keys_and_ids() {
        if let Some(values) = typed(own, &id) {
            if key.name == KEY_FILE && values.iter().any(|value| is_key(value)) {
                return Err(ConfigError::Usage(format!("--{KEY_FILE}: {NO_KEY_FILE}")));
            }
            layers.yield_to(&key.name, &values);
        }
    }
    if around.system {
        layers.stand_in(EVERYWHERE[0], around.state_root()?);
        layers.stand_in(EVERYWHERE[1], around.cache_root()?);
    }
    Ok(layers)
}

/// What was typed for a flag, if it was.
fn typed(own: &ArgMatches, id: &str) -> Option<Vec<OsString>> {
    let is_typed = own.try_contains_id(id).unwrap_or_default()
        && own.value_source(id) == Some(ValueSource::CommandLine);
    let values = is_typed.then(|| own.get_raw(id)).flatten()?;
    Some(values.map(OsString::from).collect())
}

/// The layers, each value of which its flag would take.
fn checked(around: &Surroundings<'_>, preset: Option<&str>) -> Result<Layers, ConfigError> {
    let layers = Layers::read(around, &keys(), preset)?;
    for (name, said) in &layers.said {
        check(name, said)?;
    }
    Ok(layers)
}

fn check(name: &str, said: &Said) -> Result<(), ConfigError> {
    let Err(why) = said
        .values
        .iter()
        .try_for_each(|value| refusal(name, value))
    else {
        return Ok(());
    };
    Err(ConfigError::Usage(match &said.origin {
        origin @ (Origin::Variable(_) | Origin::System) => format!("{origin}: {why}"),
        Origin::File { path, line, .. } => {
            format!("{}, line {line}: {name}: {why}", path.display())
        }
    }))
}

/// Whether a text looks like a key of the service.
fn is_key(value: &OsStr) -> bool {
    value.as_encoded_bytes().starts_with(b"sk-")
}

/// Why a flag would not take a value.
fn refusal(name: &str, value: &OsStr) -> Result<(), String> {
    match name {
        // No flag, and any path will do.
        "mountpoint" => return Ok(()),
        // Who takes it for the key should not find it in a log.
        KEY_FILE if is_key(value) => return Err(NO_KEY_FILE.to_owned()),
        // A flag that counts takes no value.
        "verbose" => {
            let count = value.to_str().and_then(|value| value.parse::<u8>().ok());
            return count.map(drop).ok_or_else(|| "write 0, 1 or 2".to_owned());
        }
        _ => {}
    }
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    let words = ["afs".into(), SETTERS[0].into(), word];
    let line = with_layers(Arguments::command(), &Layers::default());
    let Err(error) = line.try_get_matches_from(words) else {
        return Ok(());
    };
    Err(match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) if why.is::<ParseIntError>() => {
            format!("\"{}\" is not a whole number", value.display())
        }
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(valid))) => {
            format!("\"{}\" is none of {}", value.display(), valid.join(", "))
        }
        (None, _) => "it can't be empty".to_owned(),
    })
}

/// The command line with what the layers say for what is not typed.
fn with_layers(command: clap::Command, layers: &Layers) -> clap::Command {
    command.mut_subcommands(|command| {
        if SETTERS.contains(&command.get_name()) {
            return command.mut_args(|arg| setting(arg, layers));
        }
        elsewhere(command, layers)
    })
}

fn setting(arg: Arg, layers: &Layers) -> Arg {
    let Some(key) = key(&arg) else { return arg };
    let arg = if key.kind == Kind::Switch {
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(value_parser!(bool))
            .default_missing_value("true")
            .default_value("false")
    } else {
        arg
    };
    match layers.get(&key.name) {
        Some(said) => arg.default_values(said.values.clone()),
        None => arg,
    }
}

/// The same for a command that is no mount, and those below it.
fn elsewhere(command: clap::Command, layers: &Layers) -> clap::Command {
    let command = command.mut_subcommands(|below| elsewhere(below, layers));
    command.mut_args(|arg| match layers.get(name(&arg)) {
        Some(said) if EVERYWHERE.contains(&name(&arg)) => arg.default_values(said.values.clone()),
        _ => arg,
    })
}

fn command(matches: &ArgMatches) -> Result<Command, ExitCode> {
    Arguments::from_arg_matches(matches)
        .map(|arguments| arguments.command)
        .map_err(|error| wrong(&error))
}

/// Says what was typed wrongly in the library's words, and gives the exit code for it.
fn wrong(error: &clap::Error) -> ExitCode {
    // Where nobody reads it there is nobody to tell.
    let _ = error.print();
    ExitCode::from(USAGE)
}

/// What was said of each setting, typed or before that.
fn rows(own: &ArgMatches, layers: &Layers) -> Vec<Row> {
    let said = |key: &Key, id: &str| {
        if let Some(values) = typed(own, id) {
            return Some((values, "typed".to_owned()));
        }
        let said = layers.get(&key.name)?;
        Some((said.values.clone(), said.origin.to_string()))
    };
    let row = |(key, id): &(Key, String)| {
        let (values, origin) = said(key, id)?;
        let values: Vec<_> = values.iter().map(|value| value.to_string_lossy()).collect();
        Some(Row {
            key: key.name.clone(),
            value: if values.is_empty() {
                "none".to_owned()
            } else {
                values.join(",")
            },
            origin,
        })
    };
    keys_and_ids().iter().filter_map(row).collect()
}
