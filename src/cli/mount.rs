//! `afs mount`: from what was typed to a mount, in the foreground or in a process of its own.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::reaching::hide_secrets;
use super::settings::{explained, surroundings};
use super::{failed, helper, logging};
use crate::api::{Dialect, Glob, MimeOverride};
use crate::config::{
    DEFAULT_SYSLOG, MountRequest, MountSettings, Secrets, Source, parse_beta, parse_size,
    parse_time, parse_umask,
};
use crate::mount::background::{LaunchError, Ready, launch, myself, receive_secrets};
use crate::mount::service_manager::{SOCKET_VARIABLE, ServiceManager};
use crate::mount::{MountError, serve, sys};
use crate::names::NameStyle;

/// The flag that this program gives itself; see `mount::background`.
const SERVE_FLAG: &str = "--serve-in-background";

const SETTINGS: &str = "Settings";
const WORKSPACE: &str = "Workspace";
const FILES: &str = "How files look";
const STORAGE: &str = "On this machine";
const RUNNING: &str = "Running";

const EXAMPLES: &str = "\
Examples:
  afs mount ~/claude-files
      the workspace of the key in ANTHROPIC_API_KEY
  afs mount --key-file ~/.config/claude-key ~/claude-files
      with the key in a file that only you can read
  afs mount --demo /tmp/demo
      sample files on this machine, no key, no network
  afs mount -f -v --cache-size 2G --refresh 30s ~/claude-files
      in the foreground, saying what it does

Sizes: 64K, 500M, 10G, 1T or plain bytes. Times: 500ms, 10s, 5m, 2h, 7d.
The command returns when the mount answers.
To end it: afs unmount ~/claude-files";

/// What becomes of what is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Replaced {
    /// It is deleted once the new one is confirmed
    #[default]
    Delete,
    /// It stays, under a name with a suffix
    Keep,
}

/// Which shapes the service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DialectWord {
    /// As until August 2026, selected by the beta's header [default]
    Beta,
    /// As it is generally available since
    Ga,
}

impl From<DialectWord> for Dialect {
    fn from(word: DialectWord) -> Self {
        match word {
            DialectWord::Beta => Self::Beta,
            DialectWord::Ga => Self::Ga { expires: None },
        }
    }
}

/// How names are given to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NamesWord {
    /// They may not: such a name is refused [default]
    Strict,
    /// They may: it is stored with full-width look-alikes, and shown as it was typed
    Encode,
}

impl From<NamesWord> for NameStyle {
    fn from(word: NamesWord) -> Self {
        match word {
            NamesWord::Strict => Self::Strict,
            NamesWord::Encode => Self::Encode,
        }
    }
}

/// What can be typed after `afs mount`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct MountArguments {
    /// An empty directory, or a new one whose parent exists [default: ~/claude-files]
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: Option<PathBuf>,

    #[arg(long, value_name = "NAME", help_heading = SETTINGS,
        help = "Take the settings under [presets.NAME] of ~/.config/afs/config.toml over those under [default]; \
                see afs config")]
    preset: Option<String>,
    /// Mount for the machine: settings in /etc/afs, state in /var/lib/afs, downloads in /var/cache/afs
    #[arg(long, help_heading = SETTINGS)]
    pub(super) system: bool,

    #[arg(long, value_name = "FILE", help_heading = WORKSPACE,
        help = "Read the key from a file only you can read, instead of from ANTHROPIC_API_KEY")]
    key_file: Option<PathBuf>,
    #[arg(long, value_name = "URL", help_heading = WORKSPACE,
        help = "The address of the service, instead of ANTHROPIC_BASE_URL [default: https://api.anthropic.com]")]
    base_url: Option<String>,
    /// Mount sample files instead: no key, no network
    #[arg(long, help_heading = WORKSPACE)]
    demo: bool,
    /// The shapes of the service to ask for: those of its beta, or those of today
    #[arg(long, value_enum, value_name = "DIALECT", help_heading = WORKSPACE)]
    dialect: Option<DialectWord>,
    /// Have the service give up what is uploaded after this time, 1h to 90d; implies --dialect ga
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = WORKSPACE)]
    expires: Option<Duration>,
    #[arg(long, value_name = "ID", help_heading = WORKSPACE,
        help = "The workspace to act in, for keys of several, instead of ANTHROPIC_WORKSPACE_ID")]
    workspace_id: Option<String>,
    /// Let the key travel over plain http to other machines: only where nobody can listen
    #[arg(long, help_heading = WORKSPACE)]
    allow_http: bool,
    /// Add a name to the anthropic-beta header; may be repeated
    #[arg(long = "beta", value_name = "NAME", value_parser = parse_beta, help_heading = WORKSPACE)]
    betas: Vec<String>,
    /// Ask for the list of files again when it is older than this; a quiet workspace up to a minute [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = WORKSPACE)]
    refresh: Option<Duration>,
    /// Give a transfer up when nothing has moved for this long [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = WORKSPACE)]
    timeout: Option<Duration>,
    /// Send no more than N requests a minute [default: as many as the service lets through]
    #[arg(long, value_name = "N", help_heading = WORKSPACE)]
    rate: Option<u32>,

    /// Refuse every change
    #[arg(long, help_heading = FILES)]
    read_only: bool,
    /// Let other users of this machine in
    #[arg(long, help_heading = FILES)]
    allow_other: bool,
    /// Show files as owned by this user number [default: you]
    #[arg(long, value_name = "N", help_heading = FILES)]
    uid: Option<u32>,
    /// Show files as owned by this group number [default: yours]
    #[arg(long, value_name = "N", help_heading = FILES)]
    gid: Option<u32>,
    /// Permission bits to take away, in octal [default: 077]
    #[arg(long, value_name = "OCTAL", value_parser = parse_umask, help_heading = FILES)]
    umask: Option<u32>,
    /// The size that df shows [default: 500G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = FILES)]
    quota: Option<u64>,
    /// Upload names that match GLOB as this media type; may be repeated
    #[arg(long = "mime-type", value_name = "GLOB=TYPE", help_heading = FILES)]
    mime_types: Vec<MimeOverride>,
    /// Keep names that match GLOB on this machine, as editors' own files are; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = FILES)]
    scratch: Vec<Glob>,
    /// Upload names that match GLOB like any other, though they look like a program's own; may be repeated
    #[arg(long, value_name = "GLOB", help_heading = FILES)]
    send: Vec<Glob>,
    /// Whether names may have what the service takes in none: < > : " | ? * and the backslash
    #[arg(long, value_enum, value_name = "STYLE", help_heading = FILES)]
    names: Option<NamesWord>,
    /// Answer extended attributes (user.afs.id and others); makes listings slower
    #[arg(long, help_heading = FILES)]
    xattr: bool,
    #[arg(short = 'o', long = "options", value_name = "OPTIONS", help_heading = FILES,
        help = "Mount options as mount(8) writes them: ro, allow_other, uid=N, umask=022, ...")]
    mount_words: Vec<String>,

    /// Where own uploads and unfinished work are kept [default: ~/.local/state/afs]
    #[arg(long, value_name = "DIR", help_heading = STORAGE)]
    state_dir: Option<PathBuf>,
    /// Where downloads are kept [default: ~/.cache/afs]
    #[arg(long, value_name = "DIR", help_heading = STORAGE)]
    cache_dir: Option<PathBuf>,
    /// How much is kept there before the least recently used goes [default: 10G]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = STORAGE)]
    cache_size: Option<u64>,
    /// Keep no copies of what is deleted or replaced [default: for 7 days, up to 5G]
    #[arg(long, help_heading = STORAGE)]
    no_trash: bool,
    /// What becomes of the old version at the service when a file is replaced
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, help_heading = STORAGE)]
    replaced: Replaced,
    /// Refuse to delete when more files than this are deleted in a minute that nobody here could bring back; 0 never does
    /// [default: 200]
    #[arg(long, value_name = "N", help_heading = STORAGE)]
    delete_guard: Option<usize>,
    /// Delete old versions this much later, so that prompts with their ids go on working [default: at once; those that afs
    /// id and afs block gave out, after 24h]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = STORAGE)]
    keep_replaced: Option<Duration>,
    /// Refuse to write when less than this is free on the disk of the state [default: 2G, or 1% of that disk]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = STORAGE)]
    min_free: Option<u64>,
    /// Keep no more than this of what you upload; the least recently used goes, and can't be read any more [default: all]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = STORAGE)]
    keep_limit: Option<u64>,
    #[arg(long, help_heading = STORAGE,
        help = "Let close() return when the file is safe on this disk and upload it later, a name every 10s at most; \
                failures show in afs pending only")]
    write_back: bool,

    /// Answer every read here, also where the kernel could read the copy on this machine by itself
    #[arg(long, help_heading = RUNNING)]
    no_passthrough: bool,
    /// Stay in the foreground
    #[arg(short, long, help_heading = RUNNING)]
    foreground: bool,
    /// Write log lines to this file
    #[arg(long, value_name = "FILE", help_heading = RUNNING)]
    log_file: Option<PathBuf>,
    /// Begin another log file at this size, and keep five; 0 never does [default: 10M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size,
        help_heading = RUNNING)]
    log_size: Option<u64>,
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_SYSLOG,
        conflicts_with = "log_file", help_heading = RUNNING,
        help = "Send log lines to the system's log, by /dev/log unless a socket is named")]
    syslog: Option<PathBuf>,
    /// Say more; twice: everything
    #[arg(short, long, action = ArgAction::Count, help_heading = RUNNING)]
    verbose: u8,

    #[arg(
        long = "serve-in-background",
        hide = true,
        conflicts_with = "foreground"
    )]
    serve_in_background: bool,
    /// What mount(8) was told to mount: it looks for that in the kernel's table.
    #[arg(long, hide = true)]
    shown_source: Option<String>,

    /// The words after `afs mount`.
    #[arg(skip)]
    pub(super) typed: Vec<OsString>,
    /// Whether mount(8) called.
    #[arg(skip)]
    pub(super) by_mount: bool,
}

impl MountArguments {
    pub(super) fn request(self) -> MountRequest {
        MountRequest {
            mountpoint: self.mountpoint.unwrap_or_default(),
            demo: self.demo,
            secrets: None,
            key_file: self.key_file,
            base_url: self.base_url,
            dialect: self.dialect.map(Into::into),
            expires: self.expires,
            workspace_id: self.workspace_id,
            allow_http: self.allow_http,
            betas: self.betas,
            no_progress: self.timeout,
            rate: self.rate,
            state_dir: self.state_dir,
            cache_dir: self.cache_dir,
            cache_size: self.cache_size,
            no_trash: self.no_trash,
            keeps_replaced: self.replaced == Replaced::Keep,
            delete_guard: self.delete_guard,
            keep_replaced: self.keep_replaced,
            min_free: self.min_free,
            keep_limit: self.keep_limit,
            write_back: self.write_back,
            no_passthrough: self.no_passthrough,
            refresh: self.refresh,
            read_only: self.read_only,
            allow_other: self.allow_other,
            uid: self.uid,
            gid: self.gid,
            umask: self.umask,
            quota: self.quota,
            mime_overrides: self.mime_types,
            scratch: self.scratch,
            send: self.send,
            names: self.names.map(Into::into),
            xattr: self.xattr,
            log_file: self.log_file,
            log_size: self.log_size,
            syslog: self.syslog,
            verbosity: self.verbose,
            mount_words: self.mount_words,
            shown_source: self.shown_source,
        }
    }
}

/// Mounts: returns when the mount answers, or in the foreground when it has ended.
#[must_use]
pub fn run(arguments: MountArguments) -> ExitCode {
    if arguments.by_mount {
        return helper::exit_code(mount(arguments));
    }
    mount(arguments)
}

fn mount(mut arguments: MountArguments) -> ExitCode {
    let (foreground, launched) = (arguments.foreground, arguments.serve_in_background);
    let around = surroundings(arguments.system);
    let typed = std::mem::take(&mut arguments.typed);
    if arguments.mountpoint.is_none() {
        match around.mountpoint() {
            Ok(mountpoint) => arguments.mountpoint = Some(mountpoint),
            Err(error) => return explained(&error),
        }
    }
    // Whose service this is: nobody's that it starts.
    let notify_socket = std::env::var_os(SOCKET_VARIABLE);
    sys::forget_variable(SOCKET_VARIABLE);
    let mut request = arguments.request();
    if launched {
        match receive_secrets() {
            Ok(Some(secrets)) => {
                // The variables that the key was looked for in are gone here; what was found counts.
                request.key_file.clone_from(&secrets.key_file);
                request.secrets = Some(secrets);
            }
            Ok(None) => {}
            Err(error) => return failed(&format!("the key could not be handed over: {error}")),
        }
    }
    let settings = match request.resolve(&around) {
        Ok(settings) => settings,
        Err(error) => return explained(&error),
    };
    if let Err(said) = hide_secrets() {
        return said;
    }
    match (foreground, launched) {
        (true, _) => stay_in_sight(settings, notify_socket.as_deref()),
        (false, true) => stay_behind(settings),
        (false, false) => start(&settings, typed),
    }
}

/// Serves in this process, for who started it and the service manager.
fn stay_in_sight(settings: MountSettings, notify_socket: Option<&OsStr>) -> ExitCode {
    match logging::Sink::of(&settings) {
        Ok(sink) => logging::start(settings.verbosity, sink),
        Err(why) => return failed(&why),
    };
    let ready = Ready::foreground(&settings.mountpoint);
    ended(serve(settings, ready, &ServiceManager::at(notify_socket)))
}

/// Serves in this process, which nobody looks at any more.
fn stay_behind(settings: MountSettings) -> ExitCode {
    match logging::Sink::of(&settings) {
        Ok(sink) => {
            let log_file = logging::start(settings.verbosity, sink);
            let ready = Ready::background(log_file);
            ended(serve(settings, ready, &ServiceManager::none()))
        }
        Err(why) => failed(&why),
    }
}

fn ended(outcome: Result<(), MountError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Starts a process that serves, and waits until it is ready.
fn start(settings: &MountSettings, typed: Vec<OsString>) -> ExitCode {
    let words = [OsString::from("mount"), OsString::from(SERVE_FLAG)];
    let secrets = match &settings.service.source {
        Source::Service {
            credential,
            key_file,
        } => Some(Secrets {
            credential: credential.clone(),
            headers: settings.service.headers.clone(),
            key_file: key_file.clone(),
        }),
        Source::Demo => None,
    };
    match launch(
        myself(words.into_iter().chain(typed).collect()),
        secrets.as_ref(),
    ) {
        Ok(notices) => {
            for notice in notices {
                eprintln!("{notice}");
            }
            ExitCode::SUCCESS
        }
        Err(LaunchError::Ended) => ExitCode::FAILURE,
        Err(LaunchError::Vanished(status)) => failed(&format!(
            "the mount ended before it answered ({status}); run it with --foreground -v to see why"
        )),
        Err(LaunchError::Start(error)) => {
            failed(&format!("cannot start in the background: {error}"))
        }
    }
}
