//! `afs man`: the manual, one page a command, made of the same texts as the helps.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::settings::line;
use super::{failed, nothing_matched};

/// What can be typed after `afs man`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  afs man mount | man -l -
      read the page of a command
  afs man --write ~/.local/share/man/man1
      write all pages: then man afs-mount shows them

scripts/install and the Debian package write them by themselves.")]
pub struct ManArguments {
    /// Whose page: mount, cache evict, ... [default: that of afs itself]
    #[arg(value_name = "COMMAND", conflicts_with = "write")]
    command: Vec<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// Prints a page, or writes all of them.
#[must_use]
pub fn run(arguments: &ManArguments) -> ExitCode {
    let mut root = line();
    root.build();
    if let Some(directory) = &arguments.write {
        return match write(&root, directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!(
                "the manual cannot be written into {}: {error}",
                directory.display()
            )),
        };
    }
    let mut command = &root;
    for name in &arguments.command {
        match command.find_subcommand(name) {
            Some(below) => command = below,
            None => {
                return nothing_matched(&format!(
                    "there is no command {}",
                    arguments.command.join(" ")
                ));
            }
        }
    }
    match page(command) {
        Ok(text) => {
            // As for every other command: a reader that has heard enough is no failure.
            let _ = io::stdout().write_all(&text);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

/// Writes the pages of a command and of all below it, `afs.1`, `afs-mount.1` and so on.
fn write(command: &clap::Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let name = Man::new(command.clone()).get_filename();
    fs::write(directory.join(name), page(command)?)?;
    let mut below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    below.try_for_each(|below| write(below, directory))
}

/// A page in roff.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .source(concat!("afs ", env!("CARGO_PKG_VERSION")))
        .manual("afs");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(more) = command.get_after_long_help() {
        examples(&more.to_string()).to_writer(&mut text)?;
    }
    Ok(text)
}

/// What stands at the end of a help: the examples. Its lines are as they should be.
fn examples(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    let lines = text.trim_start_matches("Examples:").trim_matches('\n');
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}
