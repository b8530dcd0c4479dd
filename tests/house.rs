//! The house keeps its order: each room imports only rooms above it, each library is named in its own rooms only, and
//! each file begins by saying what it is for. Read from the sources; nothing is run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The rooms from top to bottom, as in the map in `src/lib.rs`.
const ROOMS: [&str; 14] = [
    "api", "disk", "names", "state", "store", "sync", "fs", "uploader", "fuse", "control",
    "emulator", "config", "mount", "cli",
];

/// Rooms that see less of the house than their place would allow.
const SECLUDED: [(&str, &[&str]); 2] = [("emulator", &["api"]), ("config", &["api", "names"])];

/// Libraries and the only rooms that may name them.
const LIBRARIES: [(&str, &[&str]); 5] = [
    ("fuser", &["fuse", "mount"]),
    ("clap", &["cli"]),
    ("reqwest", &["api"]),
    ("rusqlite", &["state", "emulator"]),
    ("axum", &["emulator"]),
];

/// The library's ways of telling the kernel something unasked. A daemon killed inside one leaves its callers unkillable.
const NOTIFICATIONS: [&str; 4] = ["Notifier", "notifier", "inval_entry", "inval_inode"];

/// The files outside any room: the map, and the table of contents of the program.
const OUTSIDE: [&str; 2] = ["lib.rs", "main.rs"];

#[test]
fn every_room_imports_only_rooms_above_it() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&sources, &mut files);
    assert!(files.len() > 5, "no sources below {}", sources.display());
    let mut complaints = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let inside = file.strip_prefix(&sources).unwrap();
        for complaint in check(inside, &text) {
            writeln!(complaints, "src/{}: {complaint}", inside.display()).unwrap();
        }
    }
    assert!(
        complaints.is_empty(),
        "the house is out of order:\n{complaints}"
    );
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// What is wrong with one file, given by its path below `src`.
fn check(path: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push("does not begin with //! and what it is for".to_owned());
    }
    let modules = module_path(path);
    let room = modules.first().map(String::as_str);
    match room {
        Some(name) if !ROOMS.contains(&name) => {
            complaints.push(format!(
                "{name} is no room of the house; give it a place in tests/house.rs"
            ));
        }
        None if !OUTSIDE.iter().any(|known| Path::new(known) == path) => {
            complaints.push("stands outside every room".to_owned());
        }
        _ => {}
    }
    let tokens = tokens(text);
    for target in references(&modules, &tokens) {
        if !may_import(room, &target) {
            let from = room.unwrap_or("this file");
            complaints.push(format!("{from} may not import {target}"));
        }
    }
    for (library, rooms) in LIBRARIES {
        if tokens.iter().any(|token| token == library)
            && !room.is_some_and(|room| rooms.contains(&room))
        {
            complaints.push(format!("only {} may name {library}", rooms.join(" and ")));
        }
    }
    for word in NOTIFICATIONS {
        if tokens.iter().any(|token| token == word) {
            complaints.push(format!("{word}: the kernel is never notified"));
        }
    }
    complaints
}

fn may_import(room: Option<&str>, target: &str) -> bool {
    let place = |name: &str| ROOMS.iter().position(|known| *known == name);
    // The program itself starts at the door.
    let Some(room) = room else {
        return target == "cli";
    };
    if room == target {
        return true;
    }
    if let Some((_, seen)) = SECLUDED.iter().find(|(name, _)| *name == room) {
        return seen.contains(&target);
    }
    matches!((place(room), place(target)), (Some(own), Some(other)) if other < own)
}

/// `mount/table.rs` and `mount/table/mod.rs` are both the module `mount::table`.
fn module_path(path: &Path) -> Vec<String> {
    let mut modules: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if modules.len() == 1 && OUTSIDE.iter().any(|known| Path::new(known) == path) {
        modules.clear();
    }
    if modules.last().is_some_and(|last| last == "mod") {
        modules.pop();
    }
    modules
}

/// The rooms a file names: by `crate::room`, by `afs::room`, by enough `super::`, also in braces.
fn references(modules: &[String], tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    // The depth of braces at which each module written inside the file ends.
    let mut inner: Vec<usize> = Vec::new();
    let mut braces = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                inner.retain(|end| *end <= braces);
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => inner.push(braces + 1),
            "crate" => found.extend(heads(&tokens[at + 1..])),
            "afs" if modules.is_empty() => found.extend(heads(&tokens[at + 1..])),
            "super" => {
                let steps = climb(&tokens[at..]);
                if steps == modules.len() + inner.len() {
                    found.extend(heads(&tokens[at + 2 * steps - 1..]));
                }
                at += 2 * (steps - 1);
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// How many `super` follow one another.
fn climb(tokens: &[String]) -> usize {
    tokens
        .chunks(2)
        .take_while(|pair| pair[0] == "super")
        .count()
}

/// The first names after a `::`: one, or those of a group in braces.
fn heads(tokens: &[String]) -> Vec<String> {
    match tokens {
        [colons, brace, group @ ..] if colons == "::" && brace == "{" => {
            let mut heads = Vec::new();
            let mut depth = 1;
            let mut fresh = true;
            for token in group {
                match token.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 => fresh = true,
                    name if fresh => {
                        heads.push(name.to_owned());
                        fresh = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            heads
        }
        [colons, name, ..] if colons == "::" => vec![name.clone()],
        _ => Vec::new(),
    }
}

/// Names, `::`, braces, commas and other single characters; comments and literals are left out.
fn tokens(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1).copied();
        let name = |c: char| c.is_alphanumeric() || c == '_';
        match (character, next) {
            ('/', Some('/')) => at = skip_until(&characters, at, "\n"),
            ('/', Some('*')) => at = skip_block_comment(&characters, at),
            ('"', _) => at = skip_string(&characters, at + 1),
            ('\'', _) => at = skip_quote(&characters, at),
            (':', Some(':')) => {
                tokens.push("::".to_owned());
                at += 2;
            }
            (c, _) if name(c) => {
                let word: String = characters[at..].iter().take_while(|c| name(**c)).collect();
                at += word.chars().count();
                let hashes = characters[at..].iter().take_while(|c| **c == '#').count();
                let raw = matches!(word.as_str(), "r" | "br" | "cr")
                    && characters.get(at + hashes) == Some(&'"');
                if raw {
                    let end = format!("\"{}", "#".repeat(hashes));
                    at = skip_until(&characters, at + hashes + 1, &end);
                } else {
                    tokens.push(word);
                }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                at += 1;
            }
        }
    }
    tokens
}

/// The place after the next `end`.
fn skip_until(characters: &[char], from: usize, end: &str) -> usize {
    let end: Vec<char> = end.chars().collect();
    characters[from..]
        .windows(end.len())
        .position(|window| window == end)
        .map_or(characters.len(), |found| from + found + end.len())
}

fn skip_block_comment(characters: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < characters.len() {
        match &characters[at..characters.len().min(at + 2)] {
            ['/', '*'] => (depth, at) = (depth + 1, at + 2),
            ['*', '/'] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn skip_string(characters: &[char], from: usize) -> usize {
    let mut at = from;
    while let Some(&character) = characters.get(at) {
        at += if character == '\\' { 2 } else { 1 };
        if character == '"' {
            break;
        }
    }
    at
}

/// A character such as `'x'` or `'\n'` is left out whole; of a lifetime only the quote.
fn skip_quote(characters: &[char], from: usize) -> usize {
    match characters.get(from + 1) {
        Some('\\') => skip_until(characters, from + 3, "'"),
        _ if characters.get(from + 2) == Some(&'\'') => from + 3,
        _ => from + 1,
    }
}

mod the_checker_itself {
    use super::{check, tokens};
    use std::path::Path;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), &format!("//! A file.\n{text}"))
    }

    #[test]
    fn finds_what_breaks_the_order() {
        for (path, text, complaint) in [
            (
                "fuse/mod.rs",
                "fn f(session: &S) { session.notifier(); }",
                "notifier: the kernel is never notified",
            ),
            (
                "state/mod.rs",
                "use crate::fs::Draft;",
                "state may not import fs",
            ),
            (
                "api/http.rs",
                "fn f() { crate::state::open() }",
                "api may not import state",
            ),
            (
                "fs/open.rs",
                "use crate::{api::FileId, state::{A, B}, fuse::X};",
                "fs may not import fuse",
            ),
            (
                "emulator/mod.rs",
                "use crate::state::Db;",
                "emulator may not import state",
            ),
            (
                "config/mod.rs",
                "use crate::store::Store;",
                "config may not import store",
            ),
            (
                "config.rs",
                "use super::mount::serve;",
                "config may not import mount",
            ),
            (
                "state/rows.rs",
                "use super::super::cli::run;",
                "state may not import cli",
            ),
            (
                "state/rows.rs",
                "mod tests { use super::super::super::{sync, api}; }",
                "state may not import sync",
            ),
            (
                "state/rows.rs",
                "mod a { } use super::super::sync;",
                "state may not import sync",
            ),
            ("api/mod.rs", "use crate::*;", "api may not import *"),
            (
                "fs/mod.rs",
                "use fuser::Filesystem;",
                "only fuse and mount may name fuser",
            ),
            (
                "fs/mod.rs",
                "fn f() -> ::fuser::Errno {}",
                "only fuse and mount may name fuser",
            ),
            (
                "mount/mod.rs",
                "#[derive(clap::Args)] struct A;",
                "only cli may name clap",
            ),
            (
                "emulator/mod.rs",
                "use reqwest::blocking;",
                "only api may name reqwest",
            ),
            (
                "store/mod.rs",
                "use rusqlite::Connection;",
                "only state and emulator may name rusqlite",
            ),
            (
                "cli/mod.rs",
                "use axum::Router;",
                "only emulator may name axum",
            ),
            (
                "cellar/mod.rs",
                "",
                "cellar is no room of the house; give it a place in tests/house.rs",
            ),
            (
                "main.rs",
                "use afs::{cli, mount};",
                "this file may not import mount",
            ),
            ("main.rs", "use clap::Parser;", "only cli may name clap"),
        ] {
            let found = complaints(path, text);
            assert_eq!(found, [complaint], "{path}: {text}");
        }
        let unsaid = check(Path::new("api/mod.rs"), "use std::io;\n");
        assert_eq!(unsaid, ["does not begin with //! and what it is for"]);
    }

    #[test]
    fn leaves_in_peace_what_keeps_it() {
        for (path, text) in [
            ("fs/open.rs", "use crate::{api::FileId, state, fs::Draft};"),
            ("fs/open.rs", "use super::{Draft, cli};"),
            ("fs/open.rs", "mod tests { use super::super::cli; }"),
            ("fs.rs", "use self::cli::X; mod tests { use super::mount; }"),
            (
                "fuse/mod.rs",
                "use fuser::Filesystem; use crate::uploader::Uploader;",
            ),
            (
                "emulator/mod.rs",
                "use crate::api::MAX_PAGE; use axum::Router;",
            ),
            ("main.rs", "use afs::cli::{self, Command};"),
            ("lib.rs", "pub mod api; pub mod cli;"),
            (
                "state/mod.rs",
                "// use crate::cli;\n/* crate::cli /* fuser */ clap */",
            ),
            (
                "state/mod.rs",
                r##"const A: &str = "crate::cli \" clap"; const B: &str = r#"fuser " clap"#;"##,
            ),
            (
                "state/mod.rs",
                r#"const A: char = '"'; const B: char = '\''; fn f<'a>(_: &'a str) {} // clap"#,
            ),
        ] {
            assert_eq!(
                complaints(path, text),
                Vec::<String>::new(),
                "{path}: {text}"
            );
        }
    }

    #[test]
    fn reads_names_and_not_literals() {
        assert_eq!(
            tokens(r#"a::b("c", 'd', 'e) // f"#),
            ["a", "::", "b", "(", ",", ",", "e", ")"]
        );
    }
}
