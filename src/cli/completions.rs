//! `afs completions`: what a shell reads to complete the commands, their options and paths.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::settings::line;

/// What can be typed after `afs completions`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs completions bash >~/.local/share/bash-completion/completions/afs
  afs completions zsh >~/.local/share/zsh/site-functions/_afs
  afs completions fish >~/.config/fish/completions/afs.fish

scripts/install and the Debian package put them there by themselves. zsh looks
in a directory only if it is in fpath.")]
pub struct CompletionsArguments {
    /// Which shell's
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
#[must_use]
pub fn run(arguments: &CompletionsArguments) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut visible(&line()), "afs", &mut text);
    say!("{}", String::from_utf8_lossy(&text).trim_end());
    ExitCode::SUCCESS
}

/// A command without what nobody should type: the library completes hidden flags too.
fn visible(command: &clap::Command) -> clap::Command {
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let below = command.get_subcommands().map(visible);
    clap::Command::new(command.get_name().to_owned())
        .disable_help_subcommand(true)
        .about(command.get_about().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .visible_aliases(command.get_visible_aliases().map(str::to_owned))
        .args(arguments.cloned())
        .subcommands(below)
}
