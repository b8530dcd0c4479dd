//! `multipart/form-data` while it arrives (RFC 7578): pieces of a body go in, parts and pieces of parts come out.
//!
//! Our own, because the emulator answers for how a part's head is read, byte by byte, and because file bytes pass
//! through uncopied: a piece is only held back where it ends in what may be the beginning of a delimiter.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

/// The longest head of a part: a filename of 500 characters, escaped, with room to spare.
const MAX_HEAD: usize = 16 * 1024;

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part that began last.
    Data(Bytes),
    /// The last part is over. Whatever follows is to be ignored.
    End,
}

/// What the head of a part says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartHead {
    pub(super) name: String,
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter; what stands here means nothing.
    Preamble,
    /// Right behind a delimiter.
    Delimited,
    /// In a part's head.
    Head,
    /// In a part's bytes.
    Data,
    /// Behind the last delimiter.
    End,
}

/// A body on its way through.
#[derive(Debug)]
pub(super) struct Multipart {
    delimiter: Finder<'static>,
    buffer: Bytes,
    state: State,
}

impl Multipart {
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            delimiter: Finder::new(&format!("\r\n--{boundary}")).into_owned(),
            // The first delimiter needs no line end before it; giving it one makes all delimiters alike.
            buffer: Bytes::from_static(b"\r\n"),
            state: State::Preamble,
        }
    }

    /// Takes the next piece of the body. Ask [`Multipart::next`] until it has nothing more before the next one.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = piece;
        } else {
            let mut joined = BytesMut::with_capacity(self.buffer.len() + piece.len());
            joined.extend_from_slice(&self.buffer);
            joined.extend_from_slice(&piece);
            self.buffer = joined.freeze();
        }
    }

    /// What the pieces so far amount to; `None` when more are needed.
    pub(super) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Preamble => {
                    let Some(_) = self.up_to_delimiter() else {
                        return Ok(None);
                    };
                    self.state = State::Delimited;
                }
                State::Delimited => {
                    let Some(next) = self.behind_delimiter()? else {
                        return Ok(None);
                    };
                    self.state = next;
                }
                State::Head => return self.head(),
                State::Data => {
                    let (data, state) = match self.up_to_delimiter() {
                        Some(data) => (data, State::Delimited),
                        None => (self.certain(), State::Data),
                    };
                    self.state = state;
                    if !data.is_empty() {
                        return Ok(Some(Event::Data(data)));
                    }
                    if state == State::Data {
                        return Ok(None);
                    }
                }
                State::End => return Ok(Some(Event::End)),
            }
        }
    }

    /// Takes the bytes before the next delimiter and the delimiter, if it is there.
    fn up_to_delimiter(&mut self) -> Option<Bytes> {
        let at = self.delimiter.find(&self.buffer)?;
        let before = self.buffer.split_to(at);
        self.buffer.advance(self.delimiter.needle().len());
        Some(before)
    }

    /// Takes all bytes that can't belong to a delimiter that has not come whole.
    fn certain(&mut self) -> Bytes {
        let needle = self.delimiter.needle();
        let longest = self.buffer.len().min(needle.len() - 1);
        let held = (1..=longest)
            .rev()
            .find(|&length| self.buffer.ends_with(&needle[..length]))
            .unwrap_or(0);
        self.buffer.split_to(self.buffer.len() - held)
    }

    /// `--` ends the body, a line end begins a part; blanks before it are allowed.
    fn behind_delimiter(&mut self) -> Result<Option<State>, Malformed> {
        let blanks = self
            .buffer
            .iter()
            .take_while(|&&byte| byte == b' ' || byte == b'\t')
            .count();
        let rest = &self.buffer[blanks..];
        let (taken, state) = match rest {
            [b'-', b'-', ..] if blanks == 0 => (2, State::End),
            // The line end stays: a part without any head line ends its head with it.
            [b'\r', b'\n', ..] => (blanks, State::Head),
            [] | [b'-' | b'\r'] if blanks < MAX_HEAD => return Ok(None),
            _ => return Err(Malformed("Malformed multipart delimiter")),
        };
        self.buffer.advance(taken);
        Ok(Some(state))
    }

    fn head(&mut self) -> Result<Option<Event>, Malformed> {
        let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > MAX_HEAD {
                Err(Malformed("Multipart part head too long"))
            } else {
                Ok(None)
            };
        };
        let head = self.buffer.split_to(at);
        self.buffer.advance(4);
        self.state = State::Data;
        let head = std::str::from_utf8(&head)
            .map_err(|_| Malformed("Multipart part head is not UTF-8"))?;
        Ok(Some(Event::Part(part_head(head))))
    }
}

fn part_head(head: &str) -> PartHead {
    let mut part = PartHead::default();
    for (name, value) in head.split("\r\n").filter_map(|line| line.split_once(':')) {
        let value = value.trim_matches([' ', '\t']);
        if name.eq_ignore_ascii_case("content-type") {
            part.content_type = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-disposition") {
            for (parameter, value) in parameters(value) {
                match parameter.to_ascii_lowercase().as_str() {
                    "name" => part.name = value,
                    "filename" => part.filename = Some(value),
                    _ => {}
                }
            }
        }
    }
    part
}

/// The parameters of a header's value, `name="text"` or `name=token`. In quotes `\\` is `\` and `\"` is `"`; any other
/// backslash means itself, as in `C:\dir`, which no client escapes.
fn parameters(value: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some((_, parameter)) = rest.split_once(';') {
        let Some((name, text)) = parameter.split_once('=') else {
            break;
        };
        let (text, behind) = if let Some(quoted) = text.strip_prefix('"') {
            unquote(quoted)
        } else {
            let end = text.find(';').unwrap_or(text.len());
            (text[..end].trim().to_owned(), &text[end..])
        };
        found.push((name.trim(), text));
        rest = behind;
    }
    found
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => {
                let escaped = characters.next_if(|&(_, next)| next == '\\' || next == '"');
                text.push(escaped.map_or('\\', |(_, next)| next));
            }
            other => text.push(other),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body that arrives in pieces of `step` bytes: the parts' names, and all their bytes in one.
    fn read(body: &[u8], step: usize) -> Result<Vec<(PartHead, Vec<u8>)>, Malformed> {
        let mut parser = Multipart::new("XyZ");
        let mut parts = Vec::new();
        for piece in body.chunks(step) {
            parser.push(Bytes::copy_from_slice(piece));
            while let Some(event) = parser.next()? {
                match event {
                    Event::Part(head) => parts.push((head, Vec::new())),
                    Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                    Event::End => return Ok(parts),
                }
            }
        }
        Err(Malformed("no end"))
    }

    fn form(data: &[u8]) -> Vec<u8> {
        let mut body = b"ignored\r\n--XyZ\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nv\r\n--XyZ  \r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a;\\\\b%22.txt\"\r\nContent-Type: text/plain\r\n\
            \r\n"
            .to_vec();
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n--XyZ--\r\nignored");
        body
    }

    #[test]
    fn a_body_reads_the_same_however_it_is_cut() {
        for data in [
            &b""[..],
            b"\r\n",
            b"\r\n--Xy",
            b"a\r\n--X\r\n--XyYb\r",
            b"--XyZ",
            b"\r\n\r\n\r\n--",
        ] {
            let body = form(data);
            for step in 1..=body.len() {
                let parts = read(&body, step).unwrap();
                let names: Vec<_> = parts.iter().map(|(head, _)| head.name.as_str()).collect();
                assert_eq!(names, ["other", "file"], "step {step}");
                assert_eq!(parts[1].0.filename.as_deref(), Some("a;\\b%22.txt"));
                assert_eq!(parts[1].0.content_type.as_deref(), Some("text/plain"));
                assert_eq!(parts[1].1, data, "step {step}");
            }
        }
    }

    #[test]
    fn no_preamble_and_no_head_are_fine() {
        let parts = read(b"--XyZ\r\n\r\ndata\r\n--XyZ--", 4).unwrap();
        assert_eq!(parts, [(PartHead::default(), b"data".to_vec())]);
    }

    #[test]
    fn nonsense_is_refused() {
        for body in [
            &b""[..],
            b"nothing",
            b"--XyZ\r\n",
            b"--XyZ\r\n\r\ndata",
            b"--XyZ\r\n\r\ndata\r\n--XyZ",
            b"--XyZgarbage\r\n\r\n",
            b"--XyZ\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n\r\n--XyZ--",
        ] {
            assert!(read(body, 3).is_err(), "{}", String::from_utf8_lossy(body));
        }
        let endless = [b"--XyZ\r\n".as_slice(), &vec![b'a'; 2 * MAX_HEAD]].concat();
        assert_eq!(
            read(&endless, 100),
            Err(Malformed("Multipart part head too long"))
        );
    }
}
