//! Where log lines go: standard error, or a file.

use std::io;
use std::path::Path;

use env_logger::{Builder, Target, TimestampPrecision};
use log::LevelFilter;

use crate::mount::background::open_log;

/// Starts logging. 0 is warnings, 1 information, 2 everything; `RUST_LOG` overrides.
///
/// What libraries say below a warning is left out: it is about connections, not about files.
pub(super) fn start(verbosity: u8, file: Option<&Path>) -> io::Result<()> {
    let own = match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = Builder::new();
    builder
        .filter_level(LevelFilter::Warn)
        .filter_module("afs", own)
        // What it says of certificates is said again with the call that failed.
        .filter_module("rustls_platform_verifier", LevelFilter::Off)
        .parse_default_env()
        .format_timestamp(Some(TimestampPrecision::Millis));
    if let Some(path) = file {
        builder.target(Target::Pipe(Box::new(open_log(path)?)));
    }
    // A second start, as in tests that run a command twice, changes nothing.
    let _ = builder.try_init();
    Ok(())
}
