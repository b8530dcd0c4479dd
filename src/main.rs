//! The `afs` command: what can be asked for, and who does it.

use std::process::ExitCode;

use afs::cli::{self, Command};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(exit) => return exit,
    };
    match command {
        Command::Mount(arguments) => cli::mount::run(*arguments),
        Command::Unmount(arguments) => cli::unmount::run(&arguments),
        Command::Ls(arguments) => cli::files::ls(&arguments),
        Command::Id(arguments) => cli::files::id(&arguments),
        Command::Block(arguments) => cli::files::block(&arguments),
        Command::Show(arguments) => cli::files::show(&arguments),
        Command::Find(arguments) => cli::files::find(&arguments),
        Command::Put(arguments) => cli::transfers::put(&arguments),
        Command::Get(arguments) => cli::transfers::get(&arguments),
        Command::Rm(arguments) => cli::transfers::remove(&arguments),
        Command::Watch(arguments) => cli::watch::run(&arguments),
        Command::Status(arguments) => cli::status::status(&arguments),
        Command::Pending(arguments) => cli::status::show_pending(&arguments),
        Command::Doctor(arguments) => cli::doctor::run(&arguments),
        Command::Flush(arguments) => cli::flush::run(&arguments),
        Command::Cache(arguments) => cli::cache::run(&arguments),
        Command::Prune(arguments) => cli::prune::run(&arguments),
        Command::AllowDeletes(arguments) => cli::allow_deletes::run(&arguments),
        Command::Trash(arguments) => cli::trash::run(&arguments),
        Command::Config(arguments) => cli::config::run(*arguments),
        Command::Completions(arguments) => cli::completions::run(&arguments),
        Command::Man(arguments) => cli::man::run(&arguments),
        Command::Emulator(arguments) => cli::emulator::run(arguments),
    }
}
