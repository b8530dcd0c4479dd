//! The command line: what can be typed, what is printed, and the exit codes. The only room that names `clap`.
//!
//! Arguments are not settings: each command turns what was typed into a plain request and hands it on. Exit codes: 0 done,
//! 1 failed, 2 typed wrongly, 3 nothing of that name, or nothing mounted, 4 refused because something would be lost.

/// Prints a line. Where nobody reads it any more (`afs status | head -1`) that is no reason to end in a panic.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// The same on standard error.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

pub mod allow_deletes;
pub mod cache;
mod colour;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod emulator;
pub mod files;
pub mod flush;
mod helper;
mod logging;
pub mod man;
pub mod mount;
mod place;
mod places;
pub mod prune;
mod reaching;
mod settings;
pub mod status;
mod talk;
pub mod transfers;
pub mod trash;
pub mod unmount;
pub mod watch;

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Typed wrongly.
const USAGE: u8 = 2;

/// Nothing matches the name that was typed.
const NOTHING_MATCHED: u8 = 3;

/// It could be done, and would cost something that nobody has said may go.
const REFUSED: u8 = 4;

/// An Anthropic Files-API workspace as a directory.
#[derive(Debug, Parser)]
#[command(
    name = "afs",
    version,
    max_term_width = 100,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    help_template = SCREEN,
    after_help = FOOT,
    after_long_help = FOOT
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One screen, whichever help is asked for.
const SCREEN: &str = "\
An Anthropic Files-API workspace as a directory: what you copy in is uploaded,
what tools made can be read, what you delete is deleted at the service.

{usage-heading} {usage}

{subcommands}{after-help}
";

/// What stands below the commands, and in the manual.
const FOOT: &str = "\
Examples:
  afs mount ~/claude-files    the workspace of the key in ANTHROPIC_API_KEY
  afs mount --demo /tmp/demo  look around without a key
  afs COMMAND --help          what a command does, with examples of its own

Exit codes: 0 done, 1 failed (the sentence says why), 2 typed wrongly,
3 nothing of that name or nothing mounted, 4 refused for safety.";

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount a workspace as a directory
    Mount(Box<mount::MountArguments>),
    /// End a mount
    #[command(visible_alias = "umount")]
    Unmount(unmount::UnmountArguments),
    /// List the files of a workspace with their ids
    #[command(visible_alias = "list")]
    Ls(files::LsArguments),
    /// Print the ids of files, for prompts
    Id(files::IdArguments),
    /// Print the content blocks that hand files to Claude
    Block(files::BlockArguments),
    /// Show what is known of a file
    #[command(visible_alias = "metadata")]
    Show(files::ShowArguments),
    /// Find the file of an id, or files by their names
    Find(files::FindArguments),
    /// Upload files of this machine
    #[command(visible_alias = "upload")]
    Put(Box<transfers::PutArguments>),
    /// Download files to this machine
    #[command(visible_alias = "download")]
    Get(Box<transfers::GetArguments>),
    /// Delete files at the service
    #[command(visible_alias = "delete")]
    Rm(Box<transfers::RemoveArguments>),
    /// Have what tools make land in a directory as it appears
    Watch(Box<watch::WatchArguments>),
    /// Show how your mounts are
    Status(status::StatusArguments),
    /// Show what has not reached the service yet, and why
    Pending(status::PendingArguments),
    /// Find out what is wrong, and what to do about it
    Doctor(Box<doctor::DoctorArguments>),
    /// Wait until the service has everything
    Flush(flush::FlushArguments),
    /// Look after the copies on this machine
    Cache(cache::CacheArguments),
    /// Get back what was deleted or replaced
    Trash(trash::TrashArguments),
    /// Delete old files, after showing which
    Prune(prune::PruneArguments),
    /// Let many deletions through for a while
    AllowDeletes(allow_deletes::AllowDeletesArguments),
    /// Show the settings of a mount and where they come from
    Config(Box<config::ConfigArguments>),
    /// Print what makes a shell complete these commands
    Completions(completions::CompletionsArguments),
    /// Print manual pages, or write them all
    Man(man::ManArguments),
    /// Serve the Files API on this machine, for tests and demos
    Emulator(emulator::EmulatorArguments),
}

/// Reads the command line, and under it what environment and settings file say. Where something is wrong with them, says
/// so and gives the exit code; `--help` and `--version` end the program with 0.
pub fn parse() -> Result<Command, ExitCode> {
    let typed: Vec<OsString> = std::env::args_os().collect();
    match helper::translated(&typed) {
        None => settings::parse(&typed),
        Some(words) => words.and_then(|words| {
            let mut command = settings::parse(&words).map_err(helper::exit_code)?;
            if let Command::Mount(arguments) = &mut command {
                arguments.by_mount = true;
            }
            Ok(command)
        }),
    }
}

/// Says what failed and gives the exit code for it.
fn failed(why: &dyn Display) -> ExitCode {
    complain(why);
    ExitCode::FAILURE
}

/// Says what was typed wrongly and gives the exit code for it.
fn typed_wrongly(why: &dyn Display) -> ExitCode {
    complain(why);
    ExitCode::from(USAGE)
}

/// Says which name nothing matches and gives the exit code for it.
fn nothing_matched(why: &dyn Display) -> ExitCode {
    complain(why);
    ExitCode::from(NOTHING_MATCHED)
}

/// Of two outcomes the one that says more.
fn worse(one: ExitCode, other: ExitCode) -> ExitCode {
    let rank = |exit: &ExitCode| match exit {
        exit if *exit == ExitCode::from(USAGE) => 4,
        exit if *exit == ExitCode::from(REFUSED) => 3,
        exit if *exit == ExitCode::FAILURE => 2,
        exit if *exit == ExitCode::from(NOTHING_MATCHED) => 1,
        _ => 0,
    };
    if rank(&one) >= rank(&other) {
        one
    } else {
        other
    }
}

/// Says what would be lost and gives the exit code for it.
fn refused(why: &dyn Display) -> ExitCode {
    complain(why);
    ExitCode::from(REFUSED)
}

fn complain(why: &dyn Display) {
    tell!("afs: {why}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
