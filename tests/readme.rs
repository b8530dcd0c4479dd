//! The README's table of what programs meet in a mount says in its last column what shows each line: a program of
//! `scripts/programs`, a test, or a script. Here it is held to naming such as there are; nothing is run.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

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
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, table) = readme.split_once(HEAD).expect("the table is there");
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
