//! README and guide are held to what there is: the flags, commands, files and headings that they name, and what they say
//! shows a promise.
//!
//! The guide's table of what programs meet in a mount says in its last column what shows each line: a program of
//! `scripts/programs`, a test, or a script. Nothing of that is run here.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the table begins.
const HEAD: &str = "| programs and calls | work, or are refused with | why | shown by |";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, extension: &str, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, into);
        } else if path.extension().is_some_and(|found| found == extension) {
            into.push(path);
        }
    }
}

/// All texts of a directory in one.
fn text_of(directory: &str, extension: &str) -> String {
    let mut files = Vec::new();
    files_below(&root().join(directory), extension, &mut files);
    let texts: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    texts.join("\n")
}

/// What is between an opening and the next closing mark, each time.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open)
        .skip(1)
        .filter_map(move |rest| rest.split(close).next())
}

/// The names that `programs-test` takes.
fn programs() -> HashSet<String> {
    let text = text_of("scripts/programs", "py").replace("@program(\n    \"", "@program(\"");
    between(&text, "@program(\"", '"')
        .map(str::to_owned)
        .collect()
}

/// Functions of the tests; scenarios are functions too, and stand in an `on_both!`.
fn tests() -> HashSet<String> {
    let text = text_of("tests", "rs");
    let names = between(&text, "\n#[test]\nfn ", '(')
        .chain(between(&text, "    #[test]\n    fn ", '('))
        .chain(between(&text, "on_both! {\n", '}').flat_map(str::split_whitespace));
    names.map(str::to_owned).collect()
}

/// The cells of each line of the table.
fn lines() -> Vec<Vec<String>> {
    let guide = fs::read_to_string(root().join("src/guide.md")).unwrap();
    let (_, table) = guide.split_once(HEAD).expect("the table is there");
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let line = line.trim_matches('|').replace("\\|", "\u{a6}");
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

#[test]
fn every_line_about_programs_names_what_shows_it() {
    let (programs, tests) = (programs(), tests());
    assert!(programs.len() > 50, "{programs:?}");
    assert!(tests.len() > 300, "{} tests", tests.len());
    let lines = lines();
    assert!(lines.len() > 20, "{} lines", lines.len());
    for line in lines {
        let [_, _, _, shown] = &line[..] else {
            panic!("a line of {} cells: {line:?}", line.len());
        };
        let named: Vec<&str> = between(shown, "`", '`').step_by(2).collect();
        assert!(!named.is_empty(), "nothing shows {line:?}");
        for name in named {
            let is_there = programs.contains(name)
                || tests.contains(name)
                || name.starts_with("scripts/") && root().join(name).exists();
            assert!(is_there, "there is no {name:?}, which would show {line:?}");
        }
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What the program prints.
fn afs(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_afs"))
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The words of the help that come before two blanks: the commands.
fn commands() -> Vec<String> {
    let help = afs(&["--help"]);
    let listed = help.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("  ")?.split_once("  ")?;
        (!name.contains(' ')).then(|| name.to_owned())
    });
    listed.collect()
}

/// `--flag`s of a text.
fn flags(text: &str) -> HashSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.strip_prefix("--").is_some_and(|rest| rest.len() > 1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_reader_is_through_with_the_readme_soon() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 300, "{lines} lines");
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = read("README.md");
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let is_named = readme.contains(&format!("afs {command}"));
        assert!(is_named, "README does not speak of afs {command}");
    }
}

#[test]
fn every_flag_that_is_spoken_of_is_there() {
    let mut known = flags(&text_of("scripts/programs", "py"));
    for command in commands() {
        known.extend(flags(&afs(&[&command, "--help"])));
    }
    for entry in fs::read_dir(root().join("scripts")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            known.extend(flags(&fs::read_to_string(path).unwrap()));
        }
    }
    // Other people's programs.
    for other in [
        "--user",
        "--now",
        "--device",
        "--cap-add",
        "--verify",
        "--open",
        "--doc",
        "--nocapture",
        "--test",
    ] {
        known.insert(other.to_owned());
    }
    for name in ["README.md", "src/guide.md"] {
        // What the programs' own table says is shown by those programs.
        let text = read(name);
        let (before, rest) = text.split_once(HEAD).unwrap_or((&text, ""));
        let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
        for flag in flags(&format!("{before}{after}")) {
            assert!(
                known.contains(&flag),
                "{name} speaks of {flag}, which nothing has"
            );
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let anchors = |text: &str| -> HashSet<String> {
        let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
        headings
            .map(|heading| heading.to_lowercase().replace(' ', "-").replace(',', ""))
            .collect()
    };
    for (name, below) in [("README.md", ""), ("src/guide.md", "src")] {
        let text = read(name);
        let links: Vec<&str> = between(&text, "](", ')').collect();
        assert!(name != "README.md" || links.len() > 5, "{links:?}");
        for link in links {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = root().join(below).join(path);
            assert!(path.exists(), "{name} leads to {link}");
            let has_anchor =
                anchor.is_empty() || anchors(&fs::read_to_string(path).unwrap()).contains(anchor);
            assert!(
                has_anchor,
                "{name} leads to {link}, which has no such heading"
            );
        }
    }
}
