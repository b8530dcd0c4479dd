//! Settings in words: each value as it can be typed again.

use std::time::Duration;

use super::{MountSettings, Source};
use crate::api::Dialect;

/// What a setting is where there is nothing to name.
const NONE: &str = "none";

impl MountSettings {
    /// Every setting by its flag's name, in the order of the flags, with its value as it can be typed, or in words where
    /// the value depends on more than was said. What holds secrets is not among them.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        let mut shown = vec![("mountpoint", self.mountpoint.display().to_string())];
        shown.extend(self.about_the_service());
        shown.extend(self.about_files());
        shown.extend(self.about_this_machine());
        shown
    }

    fn about_the_service(&self) -> Vec<(&'static str, String)> {
        let service = &self.service;
        let (dialect, expires) = match service.dialect {
            Dialect::Beta => ("beta", None),
            Dialect::Ga { expires } => ("ga", expires),
        };
        let key_file = match &service.source {
            Source::Service {
                key_file: Some(path),
                ..
            } => Some(path.display().to_string()),
            _ => None,
        };
        vec![
            ("key-file", or_none(key_file)),
            ("base-url", service.base_url.clone()),
            ("demo", (service.source == Source::Demo).to_string()),
            ("dialect", dialect.to_owned()),
            ("expires", or_none(expires.map(time))),
            ("workspace-id", or_none(service.workspace_id.clone())),
            ("allow-http", service.allow_http.to_string()),
            ("beta", or_none(list(&service.betas))),
            ("refresh", time(self.refresh)),
            ("timeout", time(service.no_progress)),
            (
                "rate",
                match service.rate {
                    Some(rate) => rate.to_string(),
                    None => "as the service lets through".to_owned(),
                },
            ),
        ]
    }

    fn about_files(&self) -> Vec<(&'static str, String)> {
        vec![
            ("read-only", self.read_only.to_string()),
            ("allow-other", self.allow_other.to_string()),
            ("uid", self.uid.to_string()),
            ("gid", self.gid.to_string()),
            ("umask", format!("{:03o}", self.umask)),
            ("quota", size(self.quota)),
            // These are never there without being said, and are shown as that.
            ("mime-type", NONE.to_owned()),
            ("scratch", NONE.to_owned()),
            ("send", NONE.to_owned()),
            ("names", self.names.as_str().to_owned()),
            ("xattr", self.xattr.to_string()),
            ("options", or_none(list(&self.mount_options))),
        ]
    }

    fn about_this_machine(&self) -> Vec<(&'static str, String)> {
        let replaced = if self.keeps_replaced {
            "keep"
        } else {
            "delete"
        };
        let min_free = self
            .min_free
            .map_or_else(|| "2G, or 1% of that disk".to_owned(), size);
        let log_file = self
            .log_file
            .as_ref()
            .map(|path| path.display().to_string());
        vec![
            ("state-dir", self.state_root.display().to_string()),
            ("cache-dir", self.cache_root.display().to_string()),
            ("cache-size", size(self.cache_size)),
            ("no-trash", (!self.trash).to_string()),
            ("replaced", replaced.to_owned()),
            ("delete-guard", self.delete_guard.to_string()),
            (
                "keep-replaced",
                if self.keep_replaced.is_zero() {
                    "0s, or 24h where afs gave the id out".to_owned()
                } else {
                    time(self.keep_replaced)
                },
            ),
            ("min-free", min_free),
            (
                "keep-limit",
                self.keep_limit.map_or_else(|| "all".to_owned(), size),
            ),
            ("write-back", self.write_back.to_string()),
            ("no-passthrough", (!self.passthrough).to_string()),
            ("log-file", or_none(log_file)),
            ("log-size", size(self.log_size)),
            ("syslog", self.syslog.is_some().to_string()),
            ("verbose", self.verbosity.to_string()),
        ]
    }
}

fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| NONE.to_owned())
}

fn list(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(","))
}

/// Bytes, in the largest unit that loses nothing.
fn size(bytes: u64) -> String {
    let units = [
        ("T", 1 << 40),
        ("G", 1 << 30),
        ("M", 1 << 20),
        ("K", 1 << 10),
    ];
    let whole = units
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((ending, unit)) => format!("{}{ending}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// A time, in the largest unit that loses nothing of its milliseconds.
fn time(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    let whole = units
        .iter()
        .find(|(_, unit)| milliseconds >= *unit && milliseconds.is_multiple_of(*unit));
    match whole {
        Some((ending, unit)) => format!("{}{ending}", milliseconds / unit),
        None if milliseconds == 0 => "0s".to_owned(),
        None => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{parse_size, parse_time};

    #[test]
    fn sizes_and_times_are_written_as_they_are_read() {
        for (bytes, text) in [
            (0, "0"),
            (4095, "4095"),
            (4096, "4K"),
            (10 << 30, "10G"),
            (1536 << 20, "1536M"),
            (2 << 40, "2T"),
        ] {
            assert_eq!(size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for (milliseconds, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1500, "1500ms"),
            (10_000, "10s"),
            (60_000, "1m"),
            (90_000, "90s"),
            (86_400_000, "1d"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(time(duration), text);
            assert_eq!(parse_time(text), Ok(duration));
        }
    }
}
