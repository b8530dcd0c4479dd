//! What can be wrong with the settings, as a sentence with the exit code it deserves.

use std::fmt;

/// What is wrong where nobody names a key.
pub const NO_KEY: &str = "there is no API key";

/// And what to do about it.
pub const NAME_A_KEY: &str = "set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN, for a token), or name a file that holds \
                              the key with --key-file";

/// Settings that cannot be used: the sentence says what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The command line itself is wrong (exit code 2).
    Usage(String),
    /// The command line is fine, the surroundings are not: no key, no home directory (exit code 1).
    Unusable(String),
    /// Nobody names a key (exit code 1).
    NoKey,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Unusable(sentence) => f.write_str(sentence),
            Self::NoKey => write!(
                f,
                "{NO_KEY}: {NAME_A_KEY}; to look around without one, use --demo"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}
