//! What can be wrong with the settings, as a sentence with the exit code it deserves.

use std::fmt;

/// Settings that cannot be used: the sentence says what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line itself is wrong (exit code 2).
    Usage(String),
    /// The command line is fine, the surroundings are not: no key, no home directory (exit code 1).
    Unusable(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Unusable(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for ConfigError {}
