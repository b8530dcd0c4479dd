//! Answers as a stranger may write them, and what each of them means: JSON by hand, so that any spelling, order and
//! repetition can be had.

mod answers;
mod damaged;
mod downloads;
mod heads;
mod requests;
mod times;

use jiff::Timestamp;
use proptest::prelude::*;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::answer::Head;
use super::{ApiError, ErrorKind, FileId, FileMetadata};
use crate::api::Scope;
use crate::api::properties::{config, hostile_text, pattern};

use self::times::time;

/// The head of an answer with these lines.
fn head(status: u16, lines: &[(&'static str, &[u8])]) -> Head {
    let lines = lines.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).expect("a header's value");
        (HeaderName::from_static(name), value)
    });
    let status = StatusCode::from_u16(status).expect("a status");
    Head::of(status, &lines.collect::<HeaderMap>())
}

/// Whether it is the failure that an answer without sense is, fit for a log line.
fn is_nonsense(error: &ApiError) -> bool {
    error.kind == ErrorKind::Nonsense && error.status.is_some() && is_tidy(&error.message)
}

/// Whether a stranger's words are fit for a log line.
fn is_tidy(text: &str) -> bool {
    text.chars().count() <= 500 && !text.contains(char::is_control)
}

/// A text, and one of the ways to write it down in JSON.
#[derive(Debug, Clone)]
struct Text {
    json: String,
    means: String,
}

/// One character, or half of one that is written in two; spelled as it is, by its name, or by its number.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Whole(char, u8),
    Half(u16),
}

impl Text {
    fn of(pieces: &[Piece]) -> Self {
        let mut json = String::from('"');
        let mut units = Vec::new();
        for piece in pieces {
            match *piece {
                Piece::Half(unit) => {
                    number(unit, &mut json);
                    units.push(unit);
                }
                Piece::Whole(c, spelling) => {
                    spell(c, spelling, &mut json);
                    units.extend(c.encode_utf16(&mut [0; 2]).iter());
                }
            }
        }
        json.push('"');
        // The three bytes that half a character has each become U+FFFD.
        let means = char::decode_utf16(units)
            .map(|c| c.map_or("\u{FFFD}".repeat(3), String::from))
            .collect();
        Self { json, means }
    }
}

fn spell(c: char, spelling: u8, json: &mut String) {
    let named = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '/' => "\\/",
        '\n' => "\\n",
        '\t' => "\\t",
        '\r' => "\\r",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        _ => "",
    };
    let must_be_escaped = matches!(c, '"' | '\\' | '\0'..='\u{1f}');
    match spelling {
        0 if !must_be_escaped => json.push(c),
        0 | 1 if !named.is_empty() => json.push_str(named),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]).iter() {
                number(*unit, json);
            }
        }
    }
}

/// `\u` and four digits of either case.
fn number(unit: u16, json: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abCDEf";
    json.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        json.push(char::from(DIGITS[usize::from(unit >> shift & 15)]));
    }
}

fn whole() -> impl Strategy<Value = Piece> {
    const CHARS: &[char] = &[
        'a',
        'Z',
        '0',
        '_',
        '/',
        '\\',
        '"',
        '%',
        '.',
        ' ',
        '\0',
        '\n',
        '\u{1f}',
        '\u{7f}',
        'é',
        '\u{2028}',
        '\u{FFFD}',
        '\u{FFFF}',
        '\u{1F600}',
        '\u{10FFFF}',
    ];
    let c = prop_oneof![4 => prop::sample::select(CHARS), 1 => any::<char>()];
    (c, 0..3_u8).prop_map(|(c, spelling)| Piece::Whole(c, spelling))
}

/// A text of whole characters; now and then a very long one.
fn text() -> impl Strategy<Value = Text> {
    let length = prop_oneof![300 => Just(1), 1 => Just(1500)];
    (prop::collection::vec(whole(), 0..7), length)
        .prop_map(|(pieces, times)| Text::of(&pieces.repeat(times)))
}

/// A text in which halves of characters may be.
fn any_text() -> impl Strategy<Value = Text> {
    let half = (0xD800..0xE000_u16).prop_map(Piece::Half);
    let piece = prop_oneof![5 => whole(), 1 => half];
    prop::collection::vec(piece, 0..9).prop_map(|pieces| Text::of(&pieces))
}

/// Something that is left out, `null`, or there.
#[derive(Debug, Clone)]
enum Maybe<T> {
    Absent,
    Null,
    There(T),
}

impl<T> Maybe<T> {
    fn there(&self) -> Option<&T> {
        match self {
            Self::There(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

fn maybe<S: Strategy>(strategy: S) -> impl Strategy<Value = Maybe<S::Value>>
where
    S::Value: Clone,
{
    prop_oneof![
        Just(Maybe::Absent),
        Just(Maybe::Null),
        strategy.prop_map(Maybe::There)
    ]
}

/// The fields of an object, in their order: names, and values as they are written.
#[derive(Debug, Clone)]
struct Object(Vec<(String, String)>);

impl Object {
    /// With what nobody has heard of between the fields, and these from another one on.
    fn mixed(mut self, extras: &[(&str, &str)], turn: usize) -> Self {
        for (at, (name, value)) in extras.iter().enumerate() {
            let at = at * 3 % (self.0.len() + 1);
            self.0.insert(at, ((*name).to_owned(), (*value).to_owned()));
        }
        let turn = turn % self.0.len().max(1);
        self.0.rotate_left(turn);
        self
    }

    fn json(&self) -> String {
        let fields: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("\"{name}\" :{value}"))
            .collect();
        format!("{{{}\n}}", fields.join(", "))
    }
}

/// Fields that are to be ignored. No two have one name, and none that of a field that is read.
fn extras() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    const EXTRAS: &[(&str, &str)] = &[
        ("type", "\"file\""),
        ("Id", "7"),
        ("id ", "null"),
        ("", "\"\""),
        ("\\u0000", "1e999"),
        ("é", "-0.0e-999"),
        ("sha256", "\"\\ud800\\u0000\""),
        ("details", "{\"id\":\"file_0\",\"filename\":[{}]}"),
        ("size", "123456789012345678901234567890"),
        (
            "nested",
            "[[[[[[[[[[[[[[[[[[[[[[[[{\"a\":[]}]]]]]]]]]]]]]]]]]]]]]]]]",
        ),
        ("first_id", "null"),
    ];
    prop::sample::subsequence(EXTRAS, 0..4)
}

/// A file's metadata as it is written, and what that means.
#[derive(Debug, Clone)]
struct Sample {
    object: Object,
    means: FileMetadata,
}

prop_compose! {
    fn sample()(
        id in text(),
        filename in any_text(),
        mime_type in text(),
        size_bytes in prop_oneof![0..5000_u64, any::<u64>(), Just(u64::MAX)],
        created_at in time(),
        downloadable in prop::option::of(any::<bool>()),
        scope in maybe(text()),
        expires_at in maybe(time()),
        extras in extras(),
        turn in 0..16_usize,
    ) -> Sample {
        let mut fields = vec![
            ("id", id.json.clone()),
            ("filename", filename.json.clone()),
            ("mime_type", mime_type.json.clone()),
            ("size_bytes", size_bytes.to_string()),
            ("created_at", format!("\"{}\"", created_at.text)),
        ];
        fields.extend(downloadable.map(|downloadable| ("downloadable", downloadable.to_string())));
        match &scope {
            Maybe::Absent => {}
            Maybe::Null => fields.push(("scope", "null".to_owned())),
            Maybe::There(id) => {
                fields.push(("scope", format!("{{\"type\":\"session\",\"id\":{}}}", id.json)));
            }
        }
        match &expires_at {
            Maybe::Absent => {}
            Maybe::Null => fields.push(("expires_at", "null".to_owned())),
            Maybe::There(time) => fields.push(("expires_at", format!("\"{}\"", time.text))),
        }
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Sample {
            object: Object(fields).mixed(&extras, turn),
            means: FileMetadata {
                id: FileId::new(id.means),
                filename: filename.means,
                mime_type: mime_type.means,
                size_bytes,
                created_at: created_at.means,
                downloadable: downloadable.unwrap_or(false),
                scope: scope.there().map(|id| Scope { id: id.means.clone() }),
                expires_at: expires_at.there().map(|time| time.means),
            },
        }
    }
}
