//! `afs block`: the content blocks of the Messages API that hand files to Claude.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Found, id_at_service, look_up, told};
use crate::cli::place::Place;
use crate::cli::places::asked_for;
use crate::cli::reaching::Reaching;
use crate::cli::status::print_json;
use crate::cli::talk::printable;
use crate::cli::{failed, nothing_matched, typed_wrongly, worse};
use crate::control::{FileEntry, Get, Request};

/// A request to the Messages API has 32 MB at most (its document on errors).
const LONGEST_TEXT: u64 = 32 << 20;

/// What can be typed after `afs block`.
#[derive(Debug, Args)]
#[command(
    override_usage = "afs block [MOUNTPOINT] FILE|ID...",
    after_long_help = "\
Examples:
  afs block report.pdf            [{\"type\": \"document\", ...}], to paste
  afs block report.pdf --title 'Q3' --citations
  afs block *.png data.csv        one block a file, in this order
  afs block notes.md --inline     its text itself, which needs no file at all

PDFs and plain text are documents, JPEG, PNG, GIF and WebP are images. All else
is put into the container of the code execution tool, which the request then
has to have. The ids stay alive for 24 h after their files are saved again or
renamed, so that prompts that hold them go on working. The output is JSON,
always a list: the value of a message's \"content\", or part of it."
)]
pub struct BlockArguments {
    /// Names in the mount, paths of files, or ids; before them the mount point, where several are mounted
    #[arg(value_name = "FILE|ID", required = true)]
    files: Vec<PathBuf>,
    /// A title for the documents
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// What Claude should know of the documents, but not cite
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,
    /// Have Claude cite the documents
    #[arg(long)]
    citations: bool,
    /// The type of the blocks, whatever the files are
    #[arg(long = "as", value_enum, value_name = "TYPE")]
    kind: Option<BlockType>,
    /// Put the text of text files into the blocks
    #[arg(long, conflicts_with_all = ["kind", "title", "context", "citations"])]
    inline: bool,
    #[command(flatten)]
    reaching: Reaching,
}

/// The types of content blocks that take a file (Files API, "File types and content blocks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum BlockType {
    /// For PDFs and plain text
    Document,
    /// For JPEG, PNG, GIF and WebP
    Image,
    /// For the code execution tool
    ContainerUpload,
}

impl BlockType {
    fn of(mime_type: &str) -> Self {
        match mime_type {
            "application/pdf" | "text/plain" => Self::Document,
            "image/jpeg" | "image/png" | "image/gif" | "image/webp" => Self::Image,
            _ => Self::ContainerUpload,
        }
    }
}

/// Prints the blocks of files.
#[must_use]
pub fn block(arguments: &BlockArguments) -> ExitCode {
    let (mut places, words) = match asked_for(&arguments.files, &arguments.reaching) {
        Ok(asked) => asked,
        Err(exit) => return exit,
    };
    let mut exit = ExitCode::SUCCESS;
    let mut blocks = Vec::new();
    for word in &words {
        let said = match look_up(&mut places, word, !arguments.inline) {
            Ok(Found::File(n, file)) => match block_of(arguments, &mut places[n], &file) {
                Ok(block) => {
                    blocks.push(block);
                    continue;
                }
                Err(said) => said,
            },
            Ok(Found::Former(former)) => nothing_matched(&told(&former)),
            Err(said) => said,
        };
        exit = worse(exit, said);
    }
    // A part of what was asked for would be pasted for all of it.
    if exit == ExitCode::SUCCESS {
        print_json(&blocks);
    }
    exit
}

fn block_of(
    arguments: &BlockArguments,
    place: &mut Place,
    file: &FileEntry,
) -> Result<Value, ExitCode> {
    if arguments.inline {
        let text = text_of(place, file).map_err(|why| failed(&why))?;
        return Ok(json!({"type": "text", "text": text}));
    }
    let id = id_at_service(file).map_err(|why| failed(&why))?;
    let name = printable(&file.name);
    if file.expired {
        let why = format!("{name} has expired: the service has given its bytes up; save it again");
        return Err(failed(&why));
    }
    let kind = arguments
        .kind
        .unwrap_or_else(|| BlockType::of(&file.mime_type));
    let has_extras =
        arguments.title.is_some() || arguments.context.is_some() || arguments.citations;
    if has_extras && kind != BlockType::Document {
        return Err(typed_wrongly(&format!(
            "{name} is no document ({}), and only those have a title, a context or citations",
            printable(&file.mime_type)
        )));
    }
    if arguments.kind.is_none() && kind == BlockType::ContainerUpload {
        tell!("{}", advice(&name, &file.mime_type));
    }
    let source = json!({"type": "file", "file_id": id});
    Ok(match kind {
        BlockType::ContainerUpload => json!({"type": "container_upload", "file_id": id}),
        BlockType::Image => json!({"type": "image", "source": source}),
        BlockType::Document => {
            let mut block = json!({"type": "document", "source": source});
            if let Some(title) = &arguments.title {
                block["title"] = json!(title);
            }
            if let Some(context) = &arguments.context {
                block["context"] = json!(context);
            }
            if arguments.citations {
                block["citations"] = json!({"enabled": true});
            }
            block
        }
    })
}

/// What the service's document advises for types that are no documents to it.
fn advice(name: &str, mime_type: &str) -> String {
    let better = if is_office(mime_type) {
        "; to have it read as a document, convert it to PDF or text first"
    } else if is_text(mime_type) {
        "; to have its text read, use --inline"
    } else {
        ""
    };
    format!("{name}: such a block needs the code execution tool in the request{better}")
}

fn is_office(mime_type: &str) -> bool {
    mime_type.starts_with("application/vnd.openxmlformats-officedocument.")
        || mime_type.starts_with("application/vnd.oasis.opendocument.")
        || mime_type.starts_with("application/vnd.ms-")
        || mime_type == "application/msword"
}

fn is_text(mime_type: &str) -> bool {
    mime_type.starts_with("text/") || mime_type == "application/json"
}

/// The text of a file, read through its mount, or fetched with the key.
fn text_of(place: &mut Place, file: &FileEntry) -> Result<String, String> {
    let name = printable(&file.name);
    if BlockType::of(&file.mime_type) != BlockType::ContainerUpload && !is_text(&file.mime_type) {
        return Err(format!(
            "{name} is no text ({}): without --inline Claude sees it as it is",
            printable(&file.mime_type)
        ));
    }
    if file.size_bytes > LONGEST_TEXT {
        return Err(format!(
            "{name} is too long: a whole request has 32 MB at most"
        ));
    }
    let unreadable = |error: io::Error| format!("{name} can't be read: {error}");
    let bytes = match place {
        Place::Mounted(mount) => fs::read(mount.mountpoint.join(&file.name)).map_err(unreadable)?,
        Place::Bare(..) => {
            let dir = tempfile::tempdir().map_err(unreadable)?;
            let get = Get {
                what: file.id.clone().unwrap_or_default(),
                to: dir.path().join("text"),
                mode: 0o600,
            };
            place.ask(&Request::Get(get.clone()), &mut |_| {})?;
            fs::read(get.to).map_err(unreadable)?
        }
        Place::Unmounted(..) | Place::Working(..) => {
            return Err(format!("{name} can be read where it is mounted: afs mount"));
        }
    };
    String::from_utf8(bytes)
        .map_err(|_| format!("{name} is no text ({})", printable(&file.mime_type)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_file_says_which_block_takes_it() {
        use BlockType::{ContainerUpload, Document, Image};
        for (mime_type, expected) in [
            ("application/pdf", Document),
            ("text/plain", Document),
            ("image/png", Image),
            ("image/webp", Image),
            ("image/svg+xml", ContainerUpload),
            ("text/csv", ContainerUpload),
            ("application/octet-stream", ContainerUpload),
        ] {
            assert_eq!(BlockType::of(mime_type), expected, "{mime_type}");
        }
    }

    #[test]
    fn advice_says_what_would_be_better() {
        for (mime_type, expected) in [
            (
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                "convert it to PDF",
            ),
            ("application/msword", "convert it to PDF"),
            ("text/csv", "--inline"),
            ("application/zip", "in the request"),
        ] {
            let said = advice("f", mime_type);
            assert!(said.contains(expected), "{said}");
            assert_eq!(
                said.matches(';').count(),
                usize::from(expected != "in the request")
            );
        }
    }
}
