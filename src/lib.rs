//! `afs`: an Anthropic Files-API workspace as a directory.
//!
//! This file is the map. Each room imports only the rooms above it (`tests/house.rs` holds that):
//!
//! - [`api`]: the service as a trait of five calls, its types, its errors, and the HTTP client behind it
//! - [`disk`]: changes to the local disk, each a step that can be watched and made to fail
//! - [`names`]: what the service calls a file <-> what its directory entry is called, pure functions
//! - [`state`]: one database a workspace: the catalogue of known files and the outbox of unconfirmed work
//! - [`store`]: bytes on disk by file id: kept, cached, staged
//! - [`sync`]: listing -> catalogue
//! - [`fs`]: every file system operation as a plain blocking method, and the errno table
//! - [`uploader`]: drains the outbox; the one place that uploads and deletes
//! - [`fuse`]: the kernel's side: convert, call, reply
//! - [`control`]: what other commands ask: of a running mount, of a state, of the service with nothing but a key
//! - [`emulator`]: the service served locally over HTTP, with persistence and faults to order
//! - [`config`]: settings as plain values, from what was typed, the environment, the settings file and defaults
//! - [`mount`]: from settings to a mount that answers, and back; a session is one without the kernel
//! - [`cli`]: the commands
//!
//! [`guide`] says how all of that behaves, case by case. Two rooms are of use to other programs, and have an example each: [`api`], a client, and [`emulator`], a service to test
//! one with. The others are there for this program.

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod disk;
pub mod emulator;
pub mod fs;
pub mod fuse;
pub mod mount;
pub mod names;
pub mod state;
pub mod store;
pub mod sync;
pub mod uploader;

#[allow(clippy::doc_markdown, reason = "the names of programs")]
#[doc = include_str!("guide.md")]
pub mod guide {}
