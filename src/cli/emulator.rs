//! `afs emulator`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{failed, logging};
use crate::config::parse_size;
use crate::emulator::{Config, Emulator, FaultRule};
use crate::mount::sys::Signals;

/// What can be typed after `afs emulator`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs emulator --seed-samples
  afs emulator --listen 127.0.0.1:8080 --data ~/emulated --key secret
  ANTHROPIC_API_KEY=any afs mount --base-url http://127.0.0.1:8080 /tmp/files
  afs emulator --listen 127.0.0.1:8443 --tls /tmp/emulator.pem
  SSL_CERT_FILE=/tmp/emulator.pem ANTHROPIC_API_KEY=any afs mount --base-url https://127.0.0.1:8443 /tmp/files

A file as a tool would make it:
  curl --data-binary @chart.png 'http://127.0.0.1:8080/_emulator/files?filename=chart.png&downloadable=true'

Prints `listening on http://127.0.0.1:PORT` (https with --tls) when it is ready and runs until Ctrl-C.

Trouble to order (--faults FILE, or PUT /_emulator/faults; GET shows it, DELETE ends it): a JSON list of rules. For every
call the first rule is carried out that matches and is due.
  matches: call (upload list metadata content delete), name, id (`*` and `?` as in a shell)
  due:     nth (from this call on, once), every (each so many-th), times (so often), from_s, to_s (seconds since the
           rules were set), probability (0 to 1) with seed
  when:    before_effect (unless said) or after_effect
  do:      status with headers and body; delay_ms; stall (until the rules change); drop_answer, reset_answer;
           cut_after_bytes, reset_after_bytes, stall_after_bytes, slow_bytes_per_second, corrupt_byte, says_length
           (of the answer's body); drop_field, set_fields (of JSON answers); cut_request_after_bytes (of the
           request's body; without name and id); refuse (connections; without call, name and id);
           stale_listing_s (lists answer as the workspace was so long ago, an hour at most); quota_full (uploads);
           skewed_clock_s (+ ahead, - behind: `created_at` of uploads and `date` of answers)
  [{\"call\": \"upload\", \"every\": 2, \"when\": \"after_effect\", \"do\": {\"drop_answer\": true}},
   {\"call\": \"list\", \"times\": 3, \"do\": {\"status\": 429, \"headers\": {\"retry-after\": \"2\"}}},
   {\"call\": \"content\", \"name\": \"*.csv\", \"do\": {\"corrupt_byte\": 7, \"cut_after_bytes\": 1000}}]")]
pub struct EmulatorArguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Keep everything in this directory, over restarts; without it all is gone at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve the files of this directory as tool outputs, without copying them
    #[arg(long, value_name = "DIR")]
    import: Option<PathBuf>,
    /// Accept only this key; may be repeated. Without it any key will do, and only this machine may connect
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Begin with sample outputs: a chart, a table, a report
    #[arg(long)]
    seed_samples: bool,
    /// Be full at this size, such as 100M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    quota: Option<u64>,
    /// Speak TLS with a certificate made for this run, and write that to this file
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// Answer so many calls a minute, and the rest with 429 and `retry-after`
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// Begin with this trouble; see below
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
}

/// Serves until told to end.
#[must_use]
pub fn run(arguments: EmulatorArguments) -> ExitCode {
    // Before the emulator starts its threads: they must not be the ones the signals go to.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return failed(&format!("signals cannot be waited for: {error}")),
    };
    logging::start(0, logging::Sink::StandardError);
    let certificate = arguments.tls.clone();
    let config = match arguments.config() {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let emulator = match Emulator::start(config) {
        Ok(emulator) => emulator,
        Err(error) => return failed(&format!("the emulator cannot start: {error}")),
    };
    if let (Some(path), Some(pem)) = (certificate, emulator.certificate())
        && let Err(error) = std::fs::write(&path, pem)
    {
        return failed(&format!(
            "the certificate can't be written to {}: {error}",
            path.display()
        ));
    }
    if let Err(error) = announce(&emulator.base_url()) {
        return failed(&format!("standard output is closed: {error}"));
    }
    let signal = signals.wait();
    log::info!("ending: {signal}");
    emulator.shutdown();
    ExitCode::SUCCESS
}

fn announce(base_url: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {base_url}")?;
    out.flush()
}

impl EmulatorArguments {
    fn config(self) -> Result<Config, String> {
        let faults = self.faults.as_deref().map(read_faults).transpose()?;
        Ok(Config {
            listen: self.listen,
            data: self.data,
            import: self.import,
            keys: self.keys,
            seed_samples: self.seed_samples,
            quota: self.quota,
            tls: self.tls.is_some(),
            rate: self.rate,
            faults: faults.unwrap_or_default(),
            ..Config::default()
        })
    }
}

fn read_faults(path: &Path) -> Result<Vec<FaultRule>, String> {
    let text = std::fs::read(path)
        .map_err(|error| format!("the rules {} can't be read: {error}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| format!("the rules {} make no sense: {error}", path.display()))
}
