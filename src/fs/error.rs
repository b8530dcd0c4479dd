//! What a file system call can answer, and the only table from reasons to errno values.

use std::fmt;
use std::io;

use crate::api::{ApiError, ErrorKind};
use crate::names::NameError;
use crate::state::StateError;
use crate::store::FetchError;

/// Why an operation failed, in the file system's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsError {
    /// No such name.
    NotFound,
    /// The inode is not what the name leads to any more; the kernel looks the name up again.
    Stale,
    /// Not readable here, or the key is refused.
    Access,
    /// The service would refuse the name.
    NameRefused,
    /// Over 255 bytes.
    NameTooLong,
    /// Larger than the service takes.
    TooLarge,
    /// The organisation's storage at the service is full.
    ServiceFull,
    /// The local disk is full.
    DiskFull,
    /// Still limited after our own patience.
    RateLimited,
    /// The service or the disk failed.
    Io,
    /// The caller is being ended by a signal.
    Interrupted,
    /// Something this file system does not do.
    NotPermitted,
    /// A read-only mount, or a view.
    ReadOnly,
    /// The name is taken.
    Exists,
    /// A directory where a file is needed.
    IsDirectory,
    /// A file where a directory is needed.
    NotDirectory,
    /// An argument or flag that makes no sense here.
    Invalid,
    /// No such open file.
    BadHandle,
    /// No such extended attribute.
    NoAttribute,
    /// The buffer is too small for the attribute.
    Range,
    /// An operation on this object that will never be supported.
    NotSupported,
    /// An operation the kernel need not ask for again on this mount.
    NotImplemented,
}

impl FsError {
    /// The errno value that says it.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NotFound => libc::ENOENT,
            // ESTALE from OPEN or GETATTR makes the kernel drop its entry and look the name up again, once.
            Self::Stale => libc::ESTALE,
            // Not EPERM: "Permission denied" is what tells people that the file is there and can't be read.
            Self::Access => libc::EACCES,
            Self::NameRefused | Self::Invalid => libc::EINVAL,
            Self::NameTooLong => libc::ENAMETOOLONG,
            Self::TooLarge => libc::EFBIG,
            // Not ENOSPC: the remedy is at the service, not on this disk.
            Self::ServiceFull => libc::EDQUOT,
            Self::DiskFull => libc::ENOSPC,
            Self::RateLimited => libc::EAGAIN,
            Self::Io => libc::EIO,
            Self::Interrupted => libc::EINTR,
            // mkdir(2), link(2), symlink(2), mknod(2), rename(2): "the filesystem does not support" it.
            Self::NotPermitted => libc::EPERM,
            Self::ReadOnly => libc::EROFS,
            Self::Exists => libc::EEXIST,
            Self::IsDirectory => libc::EISDIR,
            Self::NotDirectory => libc::ENOTDIR,
            Self::BadHandle => libc::EBADF,
            Self::NoAttribute => libc::ENODATA,
            Self::Range => libc::ERANGE,
            Self::NotSupported => libc::EOPNOTSUPP,
            Self::NotImplemented => libc::ENOSYS,
        }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.errno()).fmt(f)
    }
}

impl std::error::Error for FsError {}

impl From<ErrorKind> for FsError {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::NotDownloadable => {
                Self::Access
            }
            // Asked for by id: the name was there, what it stood for is gone.
            ErrorKind::NotFound => Self::Stale,
            // Listed, and not there any more. Not ESTALE: the kernel would look the same name up and ask again.
            ErrorKind::Expired => Self::NotFound,
            ErrorKind::StorageFull => Self::ServiceFull,
            ErrorKind::DiskFull => Self::DiskFull,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::Refused => Self::Invalid,
            ErrorKind::RateLimited => Self::RateLimited,
            ErrorKind::Unavailable
            | ErrorKind::Unreachable
            | ErrorKind::Interrupted
            | ErrorKind::Nonsense
            | ErrorKind::Body
            | ErrorKind::Disk => Self::Io,
        }
    }
}

impl From<&ApiError> for FsError {
    fn from(error: &ApiError) -> Self {
        error.kind.into()
    }
}

impl From<StateError> for FsError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Full => Self::DiskFull,
            StateError::Exists => Self::Exists,
            StateError::Gone => Self::Stale,
            StateError::Newer { .. } | StateError::Database(_) | StateError::Io(..) => {
                log::error!("{error}");
                Self::Io
            }
        }
    }
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => {
                log::error!("local storage failed: {error}");
                Self::Io
            }
        }
    }
}

impl From<&FetchError> for FsError {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::Api(error) => error.into(),
            FetchError::GivenUp => Self::Interrupted,
            FetchError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => Self::DiskFull,
            FetchError::Cut(_)
            | FetchError::WrongLength { .. }
            | FetchError::Changed { .. }
            | FetchError::Disk(_) => Self::Io,
        }
    }
}

impl From<NameError> for FsError {
    fn from(error: NameError) -> Self {
        match error {
            NameError::TooLong | NameError::TooLongStored => Self::NameTooLong,
            NameError::Refused(_) | NameError::NotAName => Self::NameRefused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promised_errnos() {
        let cases = [
            (FsError::from(ErrorKind::NotFound), libc::ESTALE),
            (ErrorKind::Expired.into(), libc::ENOENT),
            (ErrorKind::Unauthorized.into(), libc::EACCES),
            (ErrorKind::Forbidden.into(), libc::EACCES),
            (ErrorKind::NotDownloadable.into(), libc::EACCES),
            (ErrorKind::StorageFull.into(), libc::EDQUOT),
            (ErrorKind::TooLarge.into(), libc::EFBIG),
            (ErrorKind::Refused.into(), libc::EINVAL),
            (ErrorKind::RateLimited.into(), libc::EAGAIN),
            (ErrorKind::Unavailable.into(), libc::EIO),
            (ErrorKind::Unreachable.into(), libc::EIO),
            (ErrorKind::Interrupted.into(), libc::EIO),
            (ErrorKind::Nonsense.into(), libc::EIO),
            (ErrorKind::Disk.into(), libc::EIO),
            (ErrorKind::DiskFull.into(), libc::ENOSPC),
            (StateError::Full.into(), libc::ENOSPC),
            (StateError::Exists.into(), libc::EEXIST),
            (StateError::Gone.into(), libc::ESTALE),
            (
                io::Error::from_raw_os_error(libc::ENOSPC).into(),
                libc::ENOSPC,
            ),
            (
                io::Error::from_raw_os_error(libc::EDQUOT).into(),
                libc::ENOSPC,
            ),
            (io::Error::from_raw_os_error(libc::EIO).into(), libc::EIO),
            (FsError::NotPermitted, libc::EPERM),
            (FsError::NameTooLong, libc::ENAMETOOLONG),
            (FsError::NameRefused, libc::EINVAL),
        ];
        for (error, errno) in cases {
            assert_eq!(error.errno(), errno, "{error:?}");
        }
    }
}
