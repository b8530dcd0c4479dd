//! What an emulator is told at its start: [`Config`], and the [`Switches`] for everything nobody outside the real
//! service knows about it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use super::faults::FaultRule;
use crate::api::MAX_FILE_SIZE;

/// How to run an emulator. The default listens on a free loopback port, forgets everything at its end and accepts
/// any key.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Anything but loopback needs `keys`.
    pub listen: SocketAddr,
    /// Where to keep everything over restarts. `None`: in memory and a temporary directory, which
    /// is under `TMPDIR`; there a disk's speed is the emulator's.
    pub data: Option<PathBuf>,
    /// A folder whose files are served as downloadable outputs, without copying them.
    pub import: Option<PathBuf>,
    /// The keys to accept. Empty: any key but the empty one. With keys there is no side door over HTTP.
    pub keys: Vec<String>,
    /// Plant a chart, a table and a report, once.
    pub seed_samples: bool,
    /// Plant a file that says that this is a demonstration, once.
    pub seed_demo: bool,
    /// How many bytes the workspace takes before uploads are refused.
    pub quota: Option<u64>,
    /// The largest file taken.
    pub max_file_size: u64,
    /// Speak TLS, with a certificate made for this run ([`super::Emulator::certificate`]).
    pub tls: bool,
    /// How many calls a minute are answered before they are refused with 429.
    pub rate: Option<NonZeroU32>,
    /// Fixes the ids. `None`: other ids at every start, so that two emulators are two workspaces.
    pub seed: Option<u64>,
    /// The trouble to begin with.
    pub faults: Vec<FaultRule>,
    /// What is unknown about the real service.
    pub switches: Switches,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            import: None,
            keys: Vec::new(),
            seed_samples: false,
            seed_demo: false,
            quota: None,
            max_file_size: MAX_FILE_SIZE,
            tls: false,
            rate: None,
            seed: None,
            faults: Vec::new(),
            switches: Switches::default(),
        }
    }
}

impl fmt::Debug for Config {
    // Keys stay out of logs, also those of an emulator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("data", &self.data)
            .field("import", &self.import)
            .field("keys", &self.keys.len())
            .field("seed_samples", &self.seed_samples)
            .field("seed_demo", &self.seed_demo)
            .field("quota", &self.quota)
            .field("max_file_size", &self.max_file_size)
            .field("tls", &self.tls)
            .field("rate", &self.rate)
            .field("seed", &self.seed)
            .field("faults", &self.faults)
            .field("switches", &self.switches)
            .finish()
    }
}

/// One field for each thing that no document says of the real service. The defaults are the likelier guesses; a
/// client has to work with either position of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// A request without `anthropic-version` is refused. Unknown for file calls: the guide says "required", the schema
    /// does not; other calls of the service do refuse.
    pub version_required: bool,
    /// The 255 of a filename are counted in UTF-8 bytes instead of characters. The guide says characters; whether it
    /// means them is unknown.
    pub name_limit_in_bytes: bool,
    /// A `\` in an upload's filename separates folders, as `/` does, instead of being a refused character. Unknown.
    pub backslash_separates: bool,
    /// `%22`, `%0D` and `%0A` in an upload's filename are read as the characters that HTTP clients write that way.
    /// Unknown.
    pub name_escapes_decoded: bool,
    /// Uploads of no bytes are taken. Unknown.
    pub empty_files_accepted: bool,
    /// The status of "storage is full". 403 in the guides of the beta, 400 in later ones; which one is sent is unknown.
    pub storage_full_status: u16,
    /// `Range` on content is honoured (206, 416). Unknown.
    pub ranges: bool,
    /// Uploads can be downloaded. Known to be false; for clients that want to test without tools' outputs.
    pub uploads_downloadable: bool,
    /// What a list does with a cursor that names no file, or a deleted one. Unknown.
    pub unknown_cursor: UnknownCursor,
    /// `scope_id` without the managed-agents beta is ignored, so that the workspace's own files are listed, instead of
    /// refused. That the parameter needs the beta is known; what happens without it is not.
    pub scope_ignored_without_beta: bool,
    /// The status for an id that is no file's and does not begin with `file_`: 404 or 400. Unknown.
    pub malformed_id_status: u16,
    /// Content is sent with its `content-length` instead of in chunks. Unknown.
    pub content_length_sent: bool,
    /// Content is sent under the file's own media type instead of the schema's `application/octet-stream`. Unknown.
    pub content_type_of_file: bool,
    /// Content is sent with a `content-disposition` that names the file. Unknown.
    pub content_disposition_sent: bool,
    /// How many calls of a limited rate may come at once; a minute's where nothing is said. Unknown.
    pub rate_burst: Option<NonZeroU32>,
    /// Answers say what is left of a limited rate, in `anthropic-ratelimit-requests-*`, as those of the Messages API do.
    /// Unknown for files.
    pub rate_limits_said: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            version_required: true,
            name_limit_in_bytes: false,
            backslash_separates: false,
            name_escapes_decoded: true,
            empty_files_accepted: true,
            storage_full_status: 403,
            ranges: true,
            uploads_downloadable: false,
            unknown_cursor: UnknownCursor::Refused,
            scope_ignored_without_beta: false,
            malformed_id_status: 404,
            content_length_sent: true,
            content_type_of_file: false,
            content_disposition_sent: false,
            rate_burst: None,
            rate_limits_said: false,
        }
    }
}

/// What a list does with a cursor it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownCursor {
    /// 400.
    Refused,
    /// A page without files, and no more to come.
    EmptyPage,
    /// The page that would come without a cursor.
    Ignored,
}
