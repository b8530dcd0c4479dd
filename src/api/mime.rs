//! Media types: which one an upload is stored under. The service decides by it which content block a file can be.
//!
//! Claude reads a document as text only when its type is `text/plain`; `text/x-python` or `application/yaml` would make
//! a file that can be stored and not be read. So everything that is text to a person is `text/plain` here: prose,
//! sources, configuration, and markup too (HTML, CSS, JavaScript, SVG). Tables keep their own types, programs read those.

use std::fmt;
use std::str::FromStr;

use super::Glob;

/// Extensions of text. This table stands before `mime_guess`, which calls `.ts` a video and `.rs` `text/x-rust`.
#[rustfmt::skip]
const TEXT: &[&str] = &[
    // Prose and markup.
    "txt", "text", "md", "markdown", "mdx", "mdown", "rst", "adoc", "asciidoc", "org", "tex", "latex", "bib", "typ",
    "textile", "wiki", "log", "out", "err", "nfo", "srt", "vtt", "po", "pot",
    "html", "htm", "xhtml", "shtml", "xml", "xsd", "xsl", "xslt", "dtd", "rss", "atom", "svg", "plist", "kml", "gpx",
    // Data and configuration.
    "json", "jsonl", "ndjson", "json5", "jsonc", "geojson", "ipynb", "yaml", "yml", "toml", "ini", "cfg", "conf",
    "config", "properties", "env", "lock", "editorconfig", "gitignore", "gitattributes", "dockerignore", "desktop",
    "service", "reg", "diff", "patch", "eml", "ics", "vcf", "pem", "crt", "pub", "asc",
    // Sources.
    "py", "pyi", "pyw", "rs", "ts", "tsx", "mts", "cts", "js", "jsx", "mjs", "cjs", "vue", "svelte", "astro", "css",
    "scss", "sass", "less", "styl", "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "ino", "m", "mm", "cs", "fs", "fsx",
    "vb", "java", "kt", "kts", "scala", "groovy", "gradle", "clj", "cljs", "edn", "go", "mod", "sum", "swift", "dart",
    "rb", "erb", "php", "pl", "pm", "lua", "r", "rmd", "jl", "hs", "lhs", "elm", "ml", "mli", "ex", "exs", "erl", "hrl",
    "lisp", "el", "scm", "rkt", "nim", "zig", "v", "sv", "vhd", "vhdl", "d", "f", "f90", "f95", "for", "pas", "ada", "adb",
    "ads", "cob", "cbl", "asm", "s", "sol", "wat", "awk", "sed", "tcl", "vim", "applescript", "coffee",
    "sql", "psql", "graphql", "gql", "proto", "thrift", "avsc", "prisma", "sh", "bash", "zsh", "fish", "ksh", "csh",
    "ps1", "psm1", "psd1", "bat", "cmd", "mk", "mak", "cmake", "make", "dockerfile", "tf", "tfvars", "hcl", "nix", "bzl",
    "bazel", "ninja", "gn", "j2", "jinja", "jinja2", "tmpl", "tpl", "hbs", "mustache", "ejs", "pug", "liquid", "dot", "gv",
    "puml", "plantuml", "mermaid", "mmd", "feature", "http", "rest", "csproj", "sln", "vcxproj", "qml", "glsl", "hlsl",
    "vert", "frag", "wgsl", "cu", "cuh", "ld", "dts", "dtsi",
];

/// What nobody knows.
const UNKNOWN: &str = "application/octet-stream";

/// A user's rule: files of this name are of this type. Written `GLOB=TYPE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimeOverride {
    glob: Glob,
    mime_type: String,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadMimeOverride(String);

/// The type to store a file under: the first rule that matches, else the tables, else what its first bytes look like.
///
/// `first_bytes` may be cut anywhere; a few hundred are enough, and none at all is an empty file.
#[must_use]
pub fn mime_type_of(filename: &str, first_bytes: &[u8], overrides: &[MimeOverride]) -> String {
    if let Some(rule) = overrides.iter().find(|rule| rule.glob.matches(filename)) {
        return rule.mime_type.clone();
    }
    by_extension(filename, first_bytes)
        .unwrap_or_else(|| sniffed(first_bytes))
        .to_owned()
}

fn by_extension(filename: &str, first_bytes: &[u8]) -> Option<&'static str> {
    let (_, extension) = filename.rsplit_once('.')?;
    let extension = extension.to_ascii_lowercase();
    if extension == "csv" {
        return Some("text/csv");
    }
    // A NUL gives away what only has the extension of text: a `.ts` from a television is a video after all.
    if TEXT.contains(&extension.as_str()) && !first_bytes.contains(&0) {
        return Some("text/plain");
    }
    mime_guess::from_ext(&extension).first_raw()
}

fn sniffed(first_bytes: &[u8]) -> &'static str {
    let is_utf8 = match std::str::from_utf8(first_bytes) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    if is_utf8 && !first_bytes.contains(&0) {
        "text/plain"
    } else {
        UNKNOWN
    }
}

impl FromStr for MimeOverride {
    type Err = BadMimeOverride;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why: &str| BadMimeOverride(format!("{text:?} is no GLOB=TYPE: {why}"));
        let (glob, mime_type) = text.split_once('=').ok_or_else(|| bad("there is no `=`"))?;
        let glob = glob
            .parse::<Glob>()
            .map_err(|error| bad(&error.to_string()))?;
        let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
        match mime_type.split_once('/') {
            Some((kind, subtype))
                if is_part(kind)
                    && !subtype.trim().is_empty()
                    && mime_type.len() <= 255
                    && mime_type.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) => {}
            _ => return Err(bad("the type must look like text/plain")),
        }
        Ok(Self {
            glob,
            mime_type: mime_type.to_owned(),
        })
    }
}

impl fmt::Display for BadMimeOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadMimeOverride {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_names_and_then_bytes() {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        #[rustfmt::skip]
        let table: [(&str, &[u8], &str); 37] = [
            ("notes.md", b"# hi", "text/plain"),
            ("a.txt", b"", "text/plain"),
            ("a.TXT", b"x", "text/plain"),
            ("latin1.txt", b"\xe4", "text/plain"),
            ("x.py", b"import os", "text/plain"),
            ("x.rs", b"fn main() {}", "text/plain"),
            ("x.ts", b"let a = 1", "text/plain"),
            ("tv.ts", b"\x47\x40\x00\x10\x00", "video/vnd.dlna.mpeg-tts"),
            ("x.tar.json", b"{}", "text/plain"),
            ("x.yaml", b"", "text/plain"),
            ("x.toml", b"", "text/plain"),
            ("x.xml", b"<a/>", "text/plain"),
            ("x.html", b"<p>", "text/plain"),
            ("x.css", b"", "text/plain"),
            ("x.js", b"", "text/plain"),
            ("x.svg", b"<svg/>", "text/plain"),
            ("x.log", b"", "text/plain"),
            ("x.sh", b"#!/bin/sh", "text/plain"),
            ("data.csv", b"a,b", "text/csv"),
            ("DATA.CSV", b"a,b", "text/csv"),
            ("data.tsv", b"a\tb", "text/tab-separated-values"),
            ("a.pdf", b"%PDF", "application/pdf"),
            ("a.png", PNG, "image/png"),
            ("a.JPG", b"\xff\xd8", "image/jpeg"),
            ("a.webp", b"RIFF", "image/webp"),
            ("a.gif", b"GIF89a", "image/gif"),
            ("a.xlsx", b"PK", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
            ("a.zip", b"PK", "application/zip"),
            ("Makefile", b"all:\n", "text/plain"),
            ("README", "Grüße".as_bytes(), "text/plain"),
            ("README", &"Grüße".as_bytes()[..3], "text/plain"),
            ("core", b"\x7fELF\x02\x01\x01\x00", UNKNOWN),
            ("latin1", b"Gr\xfc\xdfe", UNKNOWN),
            ("empty", b"", "text/plain"),
            (".bashrc", b"alias", "text/plain"),
            ("a.unheard-of", b"text", "text/plain"),
            ("a.unheard-of", b"\0\0", UNKNOWN),
        ];
        for (name, bytes, expected) in table {
            assert_eq!(mime_type_of(name, bytes, &[]), expected, "{name} {bytes:?}");
        }
    }

    #[test]
    fn rules_come_first_and_in_order() {
        let rules: Vec<MimeOverride> = [
            "*.ts=video/mp2t",
            "data-??.bin=application/x-thing; v=1",
            "*.T*=text/never",
            "*äö*=text/umlaut",
        ]
        .iter()
        .map(|rule| rule.parse().unwrap())
        .collect();
        for (name, expected) in [
            ("a.ts", "video/mp2t"),
            ("A.TS", "video/mp2t"),
            ("data-01.BIN", "application/x-thing; v=1"),
            ("data-1.bin", UNKNOWN),
            ("a.txt", "text/never"),
            ("XÄÖX", "text/umlaut"),
            ("a.pdf", "application/pdf"),
        ] {
            assert_eq!(mime_type_of(name, b"\0", &rules), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_sentence() {
        for bad in [
            "",
            "*.ts",
            "=text/plain",
            "*.ts=",
            "*.ts=video",
            "*.ts=/x",
            "*.ts=a/\r\nX: y",
            "*=a b/c",
        ] {
            let error = bad.parse::<MimeOverride>().unwrap_err();
            assert!(error.to_string().contains("is no GLOB=TYPE"), "{bad:?}");
        }
    }

    #[test]
    fn no_extension_is_listed_twice() {
        let mut sorted = TEXT.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), TEXT.len());
        assert!(TEXT.iter().all(|ext| *ext == ext.to_ascii_lowercase()));
    }
}
