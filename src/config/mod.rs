//! Settings: what the user asked for, turned into plain values that can be used as they are.
//!
//! A [`MountRequest`] is what was said, most of it unsaid; [`MountRequest::resolve`] adds environment and defaults, checks
//! everything and gives [`MountSettings`]. Below this room nobody asks the environment for settings again, and nobody knows
//! flags.

mod error;
mod file;
mod layers;
mod service;
mod shown;
mod units;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ConfigError, NAME_A_KEY, NO_KEY};
pub use file::unknown as unknown_setting;
pub use layers::{Key, Kind, Layers, Origin, PRESET_VARIABLE, Said};
pub use service::{ServiceSettings, Source};
pub use units::{parse_size, parse_time};
pub use words::{MountWords, parse_beta, parse_mount_words, parse_umask};

use crate::api::{Credential, CustomHeaders, Dialect, Glob, MimeOverride};
use crate::names::NameStyle;

/// How many files that can't be had back may be deleted in a minute.
const DEFAULT_DELETE_GUARD: usize = 200;

/// Where the service is unless somebody says otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";
/// Where a mount is that nobody names a place for, below the home directory.
const DEFAULT_MOUNTPOINT: &str = "claude-files";
/// How long a transfer may stand still.
pub const DEFAULT_NO_PROGRESS: Duration = Duration::from_secs(60);
/// How much re-downloadable content is kept on disk.
pub const DEFAULT_CACHE_SIZE: u64 = 10 << 30;
/// How old the listing may be before it is asked for again.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(10);
/// The organisation's storage, for `df`: the service does not say.
pub const DEFAULT_QUOTA: u64 = 500 << 30;
/// With write-back, the shortest time between two uploads of one name.
pub const WRITE_BACK_PACE: Duration = Duration::from_secs(10);
/// How large a log file may become.
pub const DEFAULT_LOG_SIZE: u64 = 10 << 20;
/// Where syslog(3) sends log lines.
pub const DEFAULT_SYSLOG: &str = "/dev/log";
/// Files 0600, the directory 0700.
pub const DEFAULT_UMASK: u32 = 0o077;
/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "ANTHROPIC_API_KEY";
/// The one that holds a token, where there is no key.
pub const TOKEN_VARIABLE: &str = "ANTHROPIC_AUTH_TOKEN";
/// The one that holds headers of the user's own, `Name: value` lines.
pub const HEADERS_VARIABLE: &str = "ANTHROPIC_CUSTOM_HEADERS";
/// The one that says in which workspace a credential of several acts.
pub const WORKSPACE_VARIABLE: &str = "ANTHROPIC_WORKSPACE_ID";
/// Those that hold secrets: no child gets them.
pub const SECRET_VARIABLES: [&str; 3] = [KEY_VARIABLE, TOKEN_VARIABLE, HEADERS_VARIABLE];
/// The environment variable that holds the service's address.
pub const BASE_URL_VARIABLE: &str = "ANTHROPIC_BASE_URL";

/// A mount, ready to be served: every value is there and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSettings {
    /// Where to mount, as the user wrote it.
    pub mountpoint: PathBuf,
    /// What to mount, and how to speak to it.
    pub service: ServiceSettings,
    /// Absolute; workspaces live below it.
    pub state_root: PathBuf,
    /// Absolute; re-downloadable content lives below it.
    pub cache_root: PathBuf,
    /// How much of that is kept, in bytes.
    pub cache_size: u64,
    /// Whether copies of what is deleted stay in the trash for a while.
    pub trash: bool,
    /// Whether close(2) leaves the upload to later.
    pub write_back: bool,
    /// Whether what is replaced stays at the service.
    pub keeps_replaced: bool,
    /// How many files whose bytes are not on this machine may be deleted in a minute; 0: any number.
    pub delete_guard: usize,
    /// How long everything that is replaced stays at the service before it is deleted; none: not at all.
    pub keep_replaced: Duration,
    /// How many bytes stay free on the disk of the state; `None`: the usual.
    pub min_free: Option<u64>,
    /// How many bytes of own uploads are kept to be read; `None`: all.
    pub keep_limit: Option<u64>,
    /// How old the listing may be before it is asked for again.
    pub refresh: Duration,
    /// Whether every change is refused.
    pub read_only: bool,
    /// Whether other users may enter.
    pub allow_other: bool,
    /// The owner shown.
    pub uid: u32,
    /// The group shown.
    pub gid: u32,
    /// The permission bits taken away.
    pub umask: u32,
    /// What `df` calls the size, in bytes.
    pub quota: u64,
    /// `GLOB=TYPE` rules that stand before the table of types, first match first.
    pub mime_overrides: Vec<MimeOverride>,
    /// More names that stay on this machine.
    pub scratch: Vec<Glob>,
    /// Names that are sent like any other.
    pub send: Vec<Glob>,
    /// How names are given to the service, and shown.
    pub names: NameStyle,
    /// Whether extended attributes are answered.
    pub xattr: bool,
    /// Whether the kernel may read complete files by itself.
    pub passthrough: bool,
    /// Where log lines go; `None`: to the system's log, or standard error.
    pub log_file: Option<PathBuf>,
    /// How large that file may become before another one is begun, in bytes; 0: any size.
    pub log_size: u64,
    /// The socket of the system's log, where log lines go there.
    pub syslog: Option<PathBuf>,
    /// 0 warnings, 1 information, 2 and more everything.
    pub verbosity: u8,
    /// `-o` words for the kernel.
    pub mount_options: Vec<String>,
    /// What the kernel's table shows as the source, where that is not the usual.
    pub shown_source: Option<String>,
}

/// What must not be seen: it travels neither in arguments nor in a child's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The key, or a token.
    pub credential: Credential,
    /// Headers of the user's own; their values may be secrets.
    pub headers: CustomHeaders,
    /// The file that the key is from, if it is.
    pub key_file: Option<PathBuf>,
}

/// A mount as it was asked for. `None` and empty mean: not said.
#[derive(Debug, Clone, Default)]
pub struct MountRequest {
    /// Where to mount.
    pub mountpoint: PathBuf,
    /// Whether to mount the demo.
    pub demo: bool,
    /// Secrets that came by another way than file or environment; see `mount::background`.
    pub secrets: Option<Secrets>,
    /// The file that holds the key.
    pub key_file: Option<PathBuf>,
    /// The service's address.
    pub base_url: Option<String>,
    /// Which shapes the service is asked for, without how long uploads are to last.
    pub dialect: Option<Dialect>,
    /// How long uploads are to last.
    pub expires: Option<Duration>,
    /// Further beta names.
    pub betas: Vec<String>,
    /// In which workspace a credential of several acts.
    pub workspace_id: Option<String>,
    /// Whether plain http may go elsewhere than to this machine.
    pub allow_http: bool,
    /// How long a transfer may stand still.
    pub no_progress: Option<Duration>,
    /// How many requests a minute are sent at most.
    pub rate: Option<u32>,
    /// Where state lives.
    pub state_dir: Option<PathBuf>,
    /// Where re-downloadable content lives.
    pub cache_dir: Option<PathBuf>,
    /// How much of it is kept.
    pub cache_size: Option<u64>,
    /// Whether deleted copies go at once.
    pub no_trash: bool,
    /// Whether close(2) leaves the upload to later.
    pub write_back: bool,
    /// Whether what is replaced stays at the service.
    pub keeps_replaced: bool,
    /// How many files may be deleted in a minute that are not on this machine.
    pub delete_guard: Option<usize>,
    /// How long what is replaced stays at the service.
    pub keep_replaced: Option<Duration>,
    /// How much stays free on the disk of the state.
    pub min_free: Option<u64>,
    /// How much of own uploads is kept.
    pub keep_limit: Option<u64>,
    /// How old the listing may be.
    pub refresh: Option<Duration>,
    /// Whether every change is refused.
    pub read_only: bool,
    /// Whether other users may enter.
    pub allow_other: bool,
    /// The owner shown.
    pub uid: Option<u32>,
    /// The group shown.
    pub gid: Option<u32>,
    /// The permission bits taken away.
    pub umask: Option<u32>,
    /// What `df` calls the size.
    pub quota: Option<u64>,
    /// `GLOB=TYPE` rules.
    pub mime_overrides: Vec<MimeOverride>,
    /// More names that stay on this machine.
    pub scratch: Vec<Glob>,
    /// Names that are sent like any other.
    pub send: Vec<Glob>,
    /// How names are given to the service, and shown.
    pub names: Option<NameStyle>,
    /// Whether extended attributes are answered.
    pub xattr: bool,
    /// Where log lines go.
    pub log_file: Option<PathBuf>,
    /// How large that file may become.
    pub log_size: Option<u64>,
    /// The socket of the system's log.
    pub syslog: Option<PathBuf>,
    /// How many `-v`.
    pub verbosity: u8,
    /// Whether reads of complete files are answered here all the same.
    pub no_passthrough: bool,
    /// The `-o` arguments, unparsed.
    pub mount_words: Vec<String>,
    /// What the kernel's table is to show as the source.
    pub shown_source: Option<String>,
}

/// The surroundings that settings come from beside what the user said.
pub struct Surroundings<'a> {
    /// Reads an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Who runs this.
    pub uid: u32,
    /// And in which group.
    pub gid: u32,
    /// Whether this is about the system's own mounts, which are nobody's: settings in `/etc`, the rest below `/var`.
    pub system: bool,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// A variable that is set to something.
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Where state is kept where nobody names another place.
    pub fn state_root(&self) -> Result<PathBuf, ConfigError> {
        self.directory(Below::State)
            .ok_or_else(|| no_home("--state-dir"))
    }

    /// The same of what can be downloaded again.
    pub fn cache_root(&self) -> Result<PathBuf, ConfigError> {
        self.directory(Below::Cache)
            .ok_or_else(|| no_home("--cache-dir"))
    }

    /// Where a mount is that nobody names a place for.
    pub fn mountpoint(&self) -> Result<PathBuf, ConfigError> {
        let home = self.home().filter(|_| !self.system);
        home.map(|home| home.join(DEFAULT_MOUNTPOINT))
            .ok_or_else(|| {
                ConfigError::Usage("where to mount is not said: afs mount MOUNTPOINT".to_owned())
            })
    }

    /// Where settings are read.
    fn settings_file(&self) -> Option<PathBuf> {
        Some(self.directory(Below::Config)?.join("config.toml"))
    }

    fn home(&self) -> Option<PathBuf> {
        self.absolute("HOME")
    }

    /// A directory of ours: `$XDG_..._HOME/afs`, else below the home directory.
    fn directory(&self, below: Below) -> Option<PathBuf> {
        let (xdg, below_home, of_the_system) = match below {
            Below::Config => ("XDG_CONFIG_HOME", ".config", "/etc"),
            Below::State => ("XDG_STATE_HOME", ".local/state", "/var/lib"),
            Below::Cache => ("XDG_CACHE_HOME", ".cache", "/var/cache"),
        };
        let base = if self.system {
            PathBuf::from(of_the_system)
        } else {
            self.absolute(xdg)
                .or_else(|| Some(self.home()?.join(below_home)))?
        };
        Some(base.join("afs"))
    }

    /// The XDG rule wants absolute paths and has others ignored.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        let path = self.variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    }
}

/// What a directory of ours is for (the XDG base directory specification, and for the system's the file system hierarchy
/// standard).
#[derive(Clone, Copy)]
enum Below {
    Config,
    State,
    Cache,
}

fn no_home(flag: &str) -> ConfigError {
    ConfigError::Unusable(format!(
        "there is no home directory to keep files in: set HOME, or say where with {flag} DIR"
    ))
}

impl MountRequest {
    /// Adds environment and defaults, checks everything.
    pub fn resolve(self, around: &Surroundings<'_>) -> Result<MountSettings, ConfigError> {
        let mut words = MountWords::default();
        for argument in &self.mount_words {
            parse_mount_words(argument, &mut words).map_err(ConfigError::Usage)?;
        }
        let state_root = match &self.state_dir {
            Some(dir) => absolute(dir)?,
            None => around.state_root()?,
        };
        let cache_root = match &self.cache_dir {
            Some(dir) => absolute(dir)?,
            None => around.cache_root()?,
        };
        let log_file = self.log_file.as_deref().map(absolute).transpose()?;
        let syslog = self.syslog.as_deref().map(absolute).transpose()?;
        // Last, so that whoever has no key yet hears about mistakes in the command line first.
        let service = self.service(around)?;
        Ok(MountSettings {
            mountpoint: self.mountpoint,
            service,
            state_root,
            cache_root,
            cache_size: self.cache_size.unwrap_or(DEFAULT_CACHE_SIZE),
            trash: !self.no_trash,
            keeps_replaced: self.keeps_replaced,
            delete_guard: self.delete_guard.unwrap_or(DEFAULT_DELETE_GUARD),
            keep_replaced: self.keep_replaced.unwrap_or_default(),
            min_free: self.min_free,
            keep_limit: self.keep_limit,
            write_back: self.write_back,
            passthrough: !self.no_passthrough,
            refresh: self.refresh.unwrap_or(DEFAULT_REFRESH),
            read_only: self.read_only || words.read_only == Some(true),
            allow_other: self.allow_other || words.allow_other,
            uid: self.uid.or(words.uid).unwrap_or(around.uid),
            gid: self.gid.or(words.gid).unwrap_or(around.gid),
            umask: self.umask.or(words.umask).unwrap_or(DEFAULT_UMASK),
            quota: self.quota.unwrap_or(DEFAULT_QUOTA),
            mime_overrides: self.mime_overrides,
            scratch: self.scratch,
            send: self.send,
            names: self.names.unwrap_or_default(),
            xattr: self.xattr,
            log_file,
            log_size: self.log_size.unwrap_or(DEFAULT_LOG_SIZE),
            syslog,
            verbosity: self.verbosity,
            mount_options: words.kernel,
            shown_source: self.shown_source,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|error| {
        ConfigError::Unusable(format!(
            "the path \"{}\" cannot be made absolute: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests;
