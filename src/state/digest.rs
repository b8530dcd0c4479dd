//! The digest of content: SHA-256, taken when content is sealed, compared whenever the same bytes are read again to be
//! sent, and after an unclean end.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file's whole content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of bytes in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of all that `reader` gives.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<Self> {
        let mut digester = Digester::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(digester.finish()),
                Ok(n) => digester.update(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As the database keeps it; none where there is none, or another length than a digest has.
    pub(super) fn from_column(bytes: Option<Vec<u8>>) -> Option<Self> {
        bytes?.try_into().ok().map(Self)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A digest in the making, for content that arrives in pieces.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    hasher: Sha256,
    length: u64,
}

impl Digester {
    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes were taken in.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.hasher.finalize().into())
    }
}

/// Sealed content on its way out: `size` bytes with this digest, or an error. The error comes before the last byte is
/// given out, so that nobody takes damaged content for whole.
#[derive(Debug)]
pub struct Verified<R> {
    inner: R,
    left: u64,
    digester: Option<Digester>,
    expected: Digest,
}

impl<R: Read> Verified<R> {
    /// Gives out what `inner` has.
    pub fn new(inner: R, size: u64, expected: Digest) -> Self {
        Self {
            inner,
            left: size,
            digester: Some(Digester::default()),
            expected,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut buffer[..most])?;
        self.left -= n as u64;
        if let Some(digester) = &mut self.digester {
            digester.update(&buffer[..n]);
        }
        let is_end = self.left == 0 || (n == 0 && most > 0);
        if is_end && let Some(digester) = self.digester.take() {
            let is_whole = self.left == 0 && digester.finish() == self.expected;
            if !is_whole {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the bytes on this machine are not the ones that were saved",
                ));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        assert_eq!(format!("{:?}", Digest::of(b"")), EMPTY);
        let mut digester = Digester::default();
        digester.update(b"ab");
        digester.update(b"c");
        assert_eq!(digester.length(), 3);
        assert_eq!(digester.finish(), Digest::of(b"abc"));
        assert_eq!(
            Digest::of_reader(&mut &b"abc"[..]).unwrap(),
            Digest::of(b"abc")
        );
    }

    #[test]
    fn only_what_was_sealed_comes_out_whole() {
        let read = |bytes: &'static [u8], size| {
            let mut out = Vec::new();
            let outcome = Verified::new(bytes, size, Digest::of(b"abc")).read_to_end(&mut out);
            (outcome.is_ok(), out.len())
        };
        assert_eq!(read(b"abc", 3), (true, 3));
        // Longer files give what was sealed of them; changed and shorter ones fail before they look whole.
        assert_eq!(read(b"abcd", 3), (true, 3));
        assert_eq!(read(b"abX", 3), (false, 0));
        assert_eq!(read(b"ab", 3), (false, 2));
        let mut empty = Verified::new(&b""[..], 0, Digest::of(b""));
        assert_eq!(empty.read(&mut [0; 4]).unwrap(), 0);
    }
}
