//! `afs`: an Anthropic Files-API workspace as a directory.
//!
//! This file is the map. Each room imports only the rooms above it (`tests/house.rs` holds that):
//!
//! - [`api`]: the service as a trait of five calls, its types, its errors, and the HTTP client behind it
//! - [`names`]: what the service calls a file <-> what its directory entry is called, pure functions
//! - [`emulator`]: the Files API served locally over HTTP, for tests, `afs emulator` and the demo
//! - [`config`]: settings as plain values, from what was typed, the environment and defaults
//! - [`mount`]: from settings to a mount that answers, and back
//! - [`cli`]: the commands
pub mod api;
pub mod cli;
pub mod config;
pub mod emulator;
pub mod mount;
pub mod names;
