//! How other commands talk to a running mount: a Unix socket in the workspace's state directory that only its owner can
//! open, one JSON value a line.
//!
//! A client sends one [`Request`] and reads [`Reply`] lines until one that ends it. A command that works where nothing is
//! mounted asks the same [`Server`] in its own process, the parts of it that take a state only ([`Files`], [`Trash`],
//! [`Holdings`]), or with nothing but a key [`Bare`].
//!
//! What is asked for by name is asked of the outbox and the catalogue; nothing here waits for the network but
//! [`Request::Flush`], [`Request::Pin`], [`Request::Put`], [`Request::Get`], [`Request::Remove`], a listing that is due, and
//! [`Request::File`] for what nobody knows.

mod bare;
mod client;
mod downloads;
mod entries;
mod files;
mod landing;
mod named;
mod protocol;
mod server;
mod status;
mod traffic;
mod transfers;
mod trash;
mod waiting;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

pub use bare::Bare;
pub use client::{Client, ControlError};
pub use downloads::Holdings;
pub use entries::{FileEntry, FormerFile, Get, Put, TrashFile, Which};
pub use files::{Files, Live};
pub use protocol::{
    Change, ChangeKind, Copies, Download, Downloads, DroppedChange, Expires, Progress, Reply,
    Request, Status,
};
pub use server::{About, Server, backlog, give_up, serve};
pub use status::Reporter;
pub use traffic::{Caused, Direction, Failure, Limiter, Requests, Transfer, WaitingFor};
pub use transfers::{Transfers, must_be_file};
pub use trash::Trash;
pub use waiting::Waiting;

/// Is told an answer's lines, and says whether anybody still listens.
pub type Say<'a> = &'a mut dyn FnMut(&Reply) -> bool;

/// The socket's name in a workspace's state directory.
const SOCKET: &str = "control.sock";

/// A path to the socket that is short whatever the state directory's is: an address holds 108 bytes (unix(7)). It is
/// good for as long as the returned directory is open.
fn address(state_dir: &Path) -> io::Result<(File, PathBuf)> {
    let directory = File::open(state_dir)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok((directory, path.into()))
}
