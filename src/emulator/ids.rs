//! Ids as the service writes them: `file_01` and 22 characters that look random.
//!
//! They are no such thing: a [`Mint`] computes an id from a file's number and can read the number back, so a million
//! synthetic files need no index of their ids.

use std::hash::{BuildHasher, RandomState};

use super::catalogue::Place;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Digits to the base 58 that hold 128 bits.
const DIGITS: usize = 22;

/// Makes ids out of numbers, its own way for each salt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mint {
    salt: u64,
}

impl Mint {
    pub(super) fn new(salt: u64) -> Self {
        Self { salt }
    }

    /// The id of the file with this number.
    pub(super) fn file_id(self, seq: u64) -> String {
        format!("file_01{}", encode(self.scramble(seq)))
    }

    /// The name of the answer with this number.
    pub(super) fn request_id(self, count: u64) -> String {
        format!("req_01{}", encode(self.scramble(count)))
    }

    /// The number in an id of this mint; `None` for any other text.
    pub(super) fn seq(self, id: &str) -> Option<u64> {
        let number = decode(id.strip_prefix("file_01")?)?;
        let high = (number >> 64) as u64;
        let seq = (number as u64) ^ mix(high ^ self.salt.rotate_left(32));
        (self.scramble(seq) == number).then_some(seq)
    }

    /// A list's opaque way on: to the files below this place.
    pub(super) fn page_token(self, place: Place) -> String {
        let number = (u128::from(place.created_us as u64) << 64) | u128::from(place.seq);
        format!(
            "page_{}{}",
            encode(number ^ self.scramble(0)),
            encode(self.seal(place))
        )
    }

    /// The place in a token of this mint; `None` for any other text.
    pub(super) fn page_place(self, token: &str) -> Option<Place> {
        let (number, seal) = token.strip_prefix("page_")?.split_at_checked(DIGITS)?;
        let number = decode(number)? ^ self.scramble(0);
        let place = Place {
            created_us: (number >> 64) as i64,
            seq: number as u64,
        };
        (decode(seal)? == self.seal(place)).then_some(place)
    }

    fn seal(self, place: Place) -> u128 {
        self.scramble(place.seq ^ mix(place.created_us as u64))
    }

    fn scramble(self, seq: u64) -> u128 {
        let high = mix(seq ^ self.salt);
        let low = seq ^ mix(high ^ self.salt.rotate_left(32));
        (u128::from(high) << 64) | u128::from(low)
    }
}

/// A number that is another one at every call.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// The finaliser of splitmix64: every bit of the answer depends on every bit of the question.
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn encode(mut number: u128) -> String {
    let mut digits = [ALPHABET[0]; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 58) as usize];
        number /= 58;
    }
    digits.iter().map(|&digit| char::from(digit)).collect()
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != DIGITS {
        return None;
    }
    text.bytes().try_fold(0_u128, |number, byte| {
        let digit = ALPHABET.iter().position(|&known| known == byte)?;
        number.checked_mul(58)?.checked_add(digit as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_its_number() {
        let mint = Mint::new(7);
        for seq in [0, 1, 2, 57, 58, 999_999, u64::MAX] {
            let id = mint.file_id(seq);
            assert_eq!(id.len(), "file_011CNha8iCJcU1wXNR6q4V8w".len());
            assert_eq!(mint.seq(&id), Some(seq));
        }
    }

    #[test]
    fn a_page_token_reads_back_as_its_place() {
        let mint = Mint::new(7);
        for (created_us, seq) in [(0, 0), (1_700_000_000_000_000, 1), (-1, u64::MAX)] {
            let place = Place { created_us, seq };
            let token = mint.page_token(place);
            assert_eq!(mint.page_place(&token), Some(place));
            assert_eq!(Mint::new(8).page_place(&token), None);
            assert_eq!(mint.page_place(&token[..token.len() - 1]), None);
            assert_eq!(mint.page_place(&format!("{token}1")), None);
        }
        for text in ["", "page_", "page_\u{e4}", &"1".repeat(49)] {
            assert_eq!(mint.page_place(text), None, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_ids_of_this_mint() {
        let mint = Mint::new(7);
        let foreign = Mint::new(8).file_id(1);
        let highest = format!("file_01{}", "z".repeat(DIGITS));
        for id in [
            "",
            "abc",
            "file_",
            "file_01",
            "file_011CNha8iCJcU1wXNR6q4V8w",
            &foreign,
            &highest,
        ] {
            assert_eq!(mint.seq(id), None, "{id}");
        }
    }
}
