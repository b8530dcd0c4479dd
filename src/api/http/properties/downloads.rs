//! A download's answer: all of the file from where it was asked, the whole file, or an error; never a short end.

use std::io::{self, Read};
use std::time::Duration;

use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use proptest::prelude::*;
use reqwest::Body;
use reqwest::blocking::Response;

use super::super::download::start;
use super::*;
use crate::api::Download;

/// What comes of an answer with this body to a request from byte `from` on.
fn answered(
    status: u16,
    lines: &[(&'static str, &[u8])],
    body: Body,
    from: u64,
) -> Result<Download, ApiError> {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value).expect("a header's value");
        response.headers_mut().insert(*name, value);
    }
    start(
        &head(status, lines),
        Response::from(response),
        from,
        Duration::from_secs(60),
    )
}

/// A body of no said length, in pieces, that may break off.
fn in_pieces(bytes: &[u8], size: usize, breaks: bool) -> Body {
    let pieces = bytes
        .chunks(size)
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    let end = breaks.then(|| Err(io::Error::other("cut")));
    let frames: Vec<io::Result<Frame<Bytes>>> = pieces.chain(end).collect();
    Body::wrap(StreamBody::new(stream::iter(frames)))
}

/// A number near another one, or anywhere.
fn near(number: u64) -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(number),
        4 => (0..4_u64).prop_map(move |more| number.saturating_add(more)),
        1 => (0..4_u64).prop_map(move |less| number.saturating_sub(less)),
        1 => any::<u64>(),
    ]
}

/// From where, and a range that begins and ends about there: its first byte, its last one, and the size it speaks of.
fn range() -> impl Strategy<Value = (u64, u64, u64, Option<u64>)> {
    prop_oneof![0..20_u64, any::<u64>(), Just(u64::MAX)]
        .prop_flat_map(|from| (Just(from), near(from), near(from.saturating_add(9))))
        .prop_flat_map(|(from, first, last)| {
            let size = prop::option::weighted(0.8, near(last.saturating_add(1)));
            (Just(from), Just(first), Just(last), size)
        })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_range_is_the_rest_of_the_file_or_nonsense(
        (from, first, last, size) in range(),
        length in near(10).prop_map(|length| (length % 64) as usize),
        status in prop::sample::select(&[200_u16, 206, 206, 206, 201][..]),
        space in pattern(" {0,2}"),
    ) {
        let said = size.map_or("*".to_owned(), |size| size.to_string());
        let line = format!("{space}bytes {first}-{last}/{said}");
        let body = vec![7; length];
        let answer = answered(status, &[("content-range", line.as_bytes())], Body::from(body.clone()), from);
        // In numbers that hold all of it.
        let range = u128::from(last) + 1 - u128::from(from.min(last));
        let is_rest = first == from
            && first <= last
            && u128::from(last) < u128::from(u64::MAX)
            && size.is_none_or(|size| u128::from(size) == u128::from(last) + 1)
            && range == length as u128;
        let start = match status {
            200 => Some(0),
            206 if from > 0 && is_rest => Some(from),
            _ => None,
        };
        match answer {
            Ok(mut download) => {
                prop_assert_eq!(Some(download.start), start, "{}", line);
                prop_assert_eq!(download.length, Some(length as u64));
                prop_assert_eq!(download.honours_ranges, status == 206);
                let mut read = Vec::new();
                download.body.read_to_end(&mut read).expect("all of it");
                prop_assert_eq!(read, body);
            }
            Err(error) => prop_assert!(start.is_none() && is_nonsense(&error), "{} {}", error, line),
        }
    }

    #[test]
    fn any_range_and_units_break_nothing(
        range in hostile_text(),
        units in hostile_text(),
        from in prop_oneof![0..20_u64, any::<u64>()],
        status in prop::sample::select(&[200_u16, 206][..]),
    ) {
        let (range, units) = (heads::as_header(&range), heads::as_header(&units));
        let lines = [("content-range", range.as_slice()), ("accept-ranges", units.as_slice())];
        match answered(status, &lines, Body::from("seven b"), from) {
            Ok(download) => {
                prop_assert!(download.start == 0 && status == 200 || download.start == from);
                prop_assert_eq!(download.length, Some(7));
            }
            Err(error) => prop_assert!(status == 206 && is_nonsense(&error)),
        }
    }

    #[test]
    fn what_ends_too_early_is_an_error_for_ever(
        said in 1..24_u64,
        sent in 0..24_usize,
        piece in 1..8_usize,
        breaks in any::<bool>(),
        buffer in 1..9_usize,
    ) {
        let body: Vec<u8> = (0..sent as u8).collect();
        let line = format!("bytes 5-{}/{}", 4 + said, 5 + said);
        let lines = [("content-range", line.as_bytes())];
        let download = answered(206, &lines, in_pieces(&body, piece, breaks), 5);
        let mut download = download.expect("it begins");
        prop_assert_eq!(download.length, Some(said));
        let (mut read, mut buffer) = (Vec::<u8>::new(), vec![0; buffer]);
        let ended = loop {
            match download.body.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => read.extend(&buffer[..count]),
                Err(error) => {
                    prop_assert_ne!(error.kind(), io::ErrorKind::Interrupted);
                    break false;
                }
            }
        };
        prop_assert_eq!(read, body);
        prop_assert_eq!(ended, !breaks && sent as u64 >= said);
        prop_assert_eq!(download.body.read(&mut buffer).is_ok(), ended);
    }
}
