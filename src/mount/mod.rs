//! From settings to a mount that answers, and back: the part of the house that knows the operating system.
//!
//! A *mount* here is an entry of the kernel's table with the type `fuse.afs` and the process that serves it. [`preflight`]
//! decides whether it can be, [`prepare`] looks and makes the mount point ready, [`background`] starts the process,
//! [`registration`] lets others find it, [`unmount`] ends it and [`holders`] names who is in the way, [`table`] reads what
//! the kernel says, [`sys`] holds the few system calls. A [`Session`] is all of it but the kernel: commands use it where
//! nothing is mounted.
//!
//! A mount lives for weeks, mostly unwatched: [`log_file`] and [`syslog`] are where it may say what it has to, and
//! [`service_manager`] is who runs it where that is systemd.

pub mod background;
mod demo;
mod error;
mod helper;
pub mod holders;
mod kernel;
pub mod log_file;
pub mod preflight;
pub mod prepare;
pub mod registration;
mod rotation;
mod serve;
mod service;
pub mod service_manager;
mod session;
pub mod sys;
pub mod syslog;
pub mod table;
pub mod unmount;
mod workspace;

pub use error::MountError;
pub use serve::serve;
pub use service::bare;
pub use session::Session;
pub use workspace::{Leftovers, Unmounted, left_behind};

/// What the kernel calls mounts of this kind. Not `afs`: that is the Andrew file system.
pub const FILESYSTEM_TYPE: &str = "fuse.afs";
