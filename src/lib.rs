//! `afs`: an Anthropic Files-API workspace as a directory.
//!
//! This file is the map. Each room imports only the rooms above it (`tests/house.rs` holds that):
//!
//! - [`api`]: the service as a trait of five calls, its types, its errors, and the HTTP client behind it
//! - [`names`]: what the service calls a file <-> what its directory entry is called, pure functions
//! - [`emulator`]: the Files API served locally over HTTP, for tests, `afs emulator` and the demo
pub mod api;
pub mod emulator;
pub mod names;
