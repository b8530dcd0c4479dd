//! Where log lines go, and which: standard error, a file, or the system's log.

use std::env;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;

use env_logger::{Builder, Target, TimestampPrecision};
use log::{LevelFilter, Record};

use crate::config::MountSettings;
use crate::mount::log_file::LogFile;
use crate::mount::syslog::{self, Syslog};

/// Which lines are wanted, in `env_logger`'s words.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// What systemd connects standard error to, as `device:inode` (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// Where lines go.
pub(super) enum Sink {
    /// Standard error, which may be the journal.
    StandardError,
    /// A file.
    File(LogFile),
    /// The system's log.
    System(Syslog),
}

impl Sink {
    /// As the settings have it; an error is a sentence.
    pub(super) fn of(settings: &MountSettings) -> Result<Self, String> {
        if let Some(path) = &settings.log_file {
            let file = LogFile::open(path, settings.log_size);
            return file.map(Self::File).map_err(|error| {
                let path = path.display();
                format!("the log file {path} cannot be opened: {error}; name another one with --log-file")
            });
        }
        let Some(path) = &settings.syslog else {
            return Ok(Self::StandardError);
        };
        Syslog::at(path).map(Self::System).map_err(|error| {
            let path = path.display();
            format!(
                "no log daemon listens at {path}: {error}; start one, name its socket with --syslog=SOCKET, or use \
                 --log-file FILE"
            )
        })
    }
}

/// Starts logging, as many `-v` as `verbosity` says. The log file, where lines go to one.
pub(super) fn start(verbosity: u8, sink: Sink) -> Option<LogFile> {
    let mut builder = wanted(verbosity, env::var(FILTER_VARIABLE).ok().as_deref());
    let mut log_file = None;
    match sink {
        Sink::StandardError if is_the_journal() => {
            builder.format(|line, record| {
                let priority = format!("<{}>", syslog::severity(record.level()));
                write_line(line, &priority, record)
            });
        }
        Sink::StandardError => {}
        Sink::File(file) => {
            builder.target(Target::Pipe(Box::new(file.clone())));
            log_file = Some(file);
        }
        Sink::System(log) => {
            builder.format(|line, record| write_line(line, &syslog::head(record.level()), record));
            builder.target(Target::Pipe(Box::new(log)));
            log_panics(|what| log::error!("{what}"));
        }
    }
    // A second start, as in tests that run a command twice, changes nothing.
    let _ = builder.try_init();
    log_file
}

/// 0 is warnings, 1 information, 2 everything; what `RUST_LOG` holds overrides.
///
/// What libraries say below a warning is left out: it is about connections, not about files.
fn wanted(verbosity: u8, filter: Option<&str>) -> Builder {
    let own = match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let filter = filter.unwrap_or_default();
    let mut builder = Builder::new();
    builder
        .filter_level(LevelFilter::Warn)
        // A level for all is meant for this program first of all; to the filter a module's own goes before it.
        .filter_module("afs", for_all(filter).unwrap_or(own))
        // What it says of certificates is said again with the call that failed.
        .filter_module("rustls_platform_verifier", LevelFilter::Off)
        .parse_filters(filter)
        .format_timestamp(Some(TimestampPrecision::Millis));
    builder
}

/// The level in a filter that is for no module of its own. The last one counts.
fn for_all(filter: &str) -> Option<LevelFilter> {
    let (words, _) = filter.split_once('/').unwrap_or((filter, ""));
    let mut levels = words.split(',').filter_map(|word| word.trim().parse().ok());
    levels.next_back()
}

/// A line for a log daemon, which knows the time, after what it wants to see first. What would end the line, or steer a
/// terminal, does not get there: names of files can hold anything.
fn write_line(line: &mut impl Write, head: &str, record: &Record<'_>) -> io::Result<()> {
    let said = record.args().to_string();
    let said = said.replace(char::is_control, "\u{fffd}");
    writeln!(line, "{head}{}: {said}", record.target())
}

/// Whether standard error goes to the journal.
fn is_the_journal() -> bool {
    let Some(stream) = env::var(JOURNAL_VARIABLE).ok() else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr
        .and_then(|stderr| stderr.metadata())
        .is_ok_and(|stderr| is_stream(&stream, &stderr))
}

/// Whether it is the file that `device:inode` names. A process can have been started by one that is in the journal, and
/// write to somewhere else.
fn is_stream(named: &str, found: &Metadata) -> bool {
    named == format!("{}:{}", found.dev(), found.ino())
}

/// Has panics said in the log too: whoever sends log lines to a daemon may have nobody at standard error.
fn log_panics(log: impl Fn(&str) + Send + Sync + 'static) {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        log(&panic.to_string());
        usual(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use log::Level;

    use super::*;

    #[test]
    fn what_is_wanted_is_logged() {
        for (verbosity, filter, afs, library) in [
            (0, "", Level::Warn, Level::Warn),
            (1, "", Level::Info, Level::Warn),
            (2, "", Level::Debug, Level::Warn),
            (0, "trace", Level::Trace, Level::Trace),
            (2, "error", Level::Error, Level::Error),
            (0, "afs=trace", Level::Trace, Level::Warn),
            (0, "afs", Level::Trace, Level::Warn),
            (1, "fuser=debug", Level::Info, Level::Debug),
            (0, "debug,afs=info", Level::Info, Level::Debug),
            (0, "info,fuser=error, debug ", Level::Debug, Level::Error),
            (0, "trace/words", Level::Trace, Level::Trace),
        ] {
            let logger = wanted(verbosity, Some(filter)).build();
            for (target, most) in [("afs::uploader", afs), ("fuser::session", library)] {
                for level in Level::iter() {
                    let record = Record::builder()
                        .target(target)
                        .level(level)
                        .args(format_args!("words"))
                        .build();
                    assert_eq!(
                        logger.matches(&record),
                        level <= most,
                        "-v {verbosity} {filter}: {level} of {target}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_it_names() {
        let mut line = Vec::new();
        let record = Record::builder()
            .target("afs::sync")
            .args(format_args!("a\n<0>b\x1b[2J\tc"))
            .build();
        write_line(&mut line, "<6>", &record).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "<6>afs::sync: a\u{fffd}<0>b\u{fffd}[2J\u{fffd}c\n"
        );
    }

    #[test]
    fn a_stream_is_known_by_its_number() {
        let file = tempfile::tempfile().unwrap().metadata().unwrap();
        let (device, inode) = (file.dev(), file.ino());
        assert!(is_stream(&format!("{device}:{inode}"), &file));
        for other in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            String::new(),
            format!("{device}"),
        ] {
            assert!(!is_stream(&other, &file), "{other}");
        }
    }

    #[test]
    fn a_panic_is_logged() {
        let (said, heard) = mpsc::channel();
        log_panics(move |what| {
            let _ = said.send(what.to_owned());
        });
        let thread = std::thread::spawn(|| panic!("a panic of this test"));
        assert!(thread.join().is_err());
        // Other tests may panic meanwhile.
        let of_this = heard.iter().find(|what| what.contains("of this test"));
        assert!(of_this.is_some_and(|what| what.contains("src/cli/logging.rs")));
    }
}
