//! `afs cache`: the copies on this machine.
//!
//! *Kept* copies are those of own uploads, the only ones there are; *downloaded* ones can be had again.

mod copies;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// What can be typed after `afs cache`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs cache list                  what is downloaded, and what stays
  afs cache pin chart.png         have it here, whatever the limit says
  afs cache evict --all           make room
  afs cache verify                compare kept copies with what was saved")]
pub struct CacheArguments {
    #[command(subcommand)]
    command: CacheCommand,
}

/// What can be done with copies.
#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show which outputs are downloaded
    List(copies::ListArguments),
    /// Remove downloaded copies; they are downloaded again when somebody reads them
    Evict(copies::EvictArguments),
    /// Download outputs and keep their copies, whatever --cache-size says
    Pin(copies::PinArguments),
    /// Let pinned copies go again as others do
    Unpin(copies::UnpinArguments),
    /// Compare the kept copies of your uploads with what was saved
    Verify(verify::VerifyArguments),
}

/// Does what was asked for.
#[must_use]
pub fn run(arguments: &CacheArguments) -> ExitCode {
    match &arguments.command {
        CacheCommand::List(arguments) => copies::list(arguments),
        CacheCommand::Evict(arguments) => copies::evict(arguments),
        CacheCommand::Pin(arguments) => copies::pin(arguments),
        CacheCommand::Unpin(arguments) => copies::unpin(arguments),
        CacheCommand::Verify(arguments) => verify::run(arguments),
    }
}
