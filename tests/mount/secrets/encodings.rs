//! The ways in which a secret can be written down.

use std::fmt::Write as _;

/// How, and what it looks like then.
pub(super) fn encodings(secret: &str) -> Vec<(&'static str, String)> {
    let mut found = vec![("as it is", secret.to_owned())];
    for (how, alphabet) in [("in base64", b"+/"), ("in base64 for URLs", b"-_")] {
        for before in 0..3 {
            found.push((how, base64_within(secret, before, *alphabet)));
        }
    }
    found.push(("percent-encoded", each_byte(secret, "%", "")));
    found.push(("percent-encoded where need be", percent(secret)));
    found.push(("in hexadecimal", each_byte(secret, "", "")));
    let bytes: Vec<_> = secret.bytes().map(|byte| byte.to_string()).collect();
    found.push(("as a list of bytes", bytes.join(", ")));
    found
}

/// What base64 makes of a text that stands behind so many bytes: without what depends on what is around it.
fn base64_within(text: &str, before: usize, special: [u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(special)
        .collect();
    let padding = std::iter::repeat_n(0, before);
    let bits: Vec<u8> = padding
        .chain(text.bytes())
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let first = (before * 8).div_ceil(6);
    let whole = bits.chunks_exact(6).skip(first);
    whole
        .map(|six| {
            let index = six.iter().fold(0, |sum, bit| sum << 1 | usize::from(*bit));
            char::from(alphabet[index])
        })
        .collect()
}

/// Each byte in hexadecimal, lower case.
fn each_byte(text: &str, before: &str, after: &str) -> String {
    text.bytes().fold(String::new(), |mut written, byte| {
        write!(written, "{before}{byte:02x}{after}").expect("a String takes all");
        written
    })
}

/// As in a URL (RFC 3986, 2.3), lower case.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut written, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            written.push(byte.into());
        } else {
            write!(written, "%{byte:02x}").expect("a String takes all");
        }
        written
    })
}
