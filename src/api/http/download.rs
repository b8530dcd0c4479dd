//! A download's body: every end that is not the file's end is an error.

use std::io::{self, Read};
use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::header::{self, HeaderMap};

use super::answer::Head;
use super::{ApiError, Call, Download, ErrorKind};

/// The answer's bytes, on their way in.
#[derive(Debug)]
struct Body {
    response: Response,
    /// How many bytes are still to come, where the answer said so.
    left: Option<u64>,
    no_progress: Duration,
    request_id: Option<String>,
    status: u16,
    /// What ended the transfer. It stays: a reader that asks again must not take the silence for the end.
    failed: Option<ApiError>,
}

/// Takes an answer to a download apart that was asked for from byte `from` on.
pub(super) fn start(
    head: &Head,
    response: Response,
    from: u64,
    no_progress: Duration,
) -> Result<Download, ApiError> {
    let said = response.content_length();
    let (start, length) = match head.status() {
        // To a range too: "a server MAY ignore the Range header field" (RFC 9110, 14.2).
        200 => (0, said),
        206 if from > 0 => match range_of(response.headers(), from) {
            Some(length) if said.is_none_or(|said| said == length) => (from, Some(length)),
            _ => {
                return Err(head.nonsense(Call::Download, "the answer is another part of the file"));
            }
        },
        // 206 in particular, where no range was asked for.
        _ => return Err(head.nonsense(Call::Download, "the answer is not the whole file")),
    };
    let honours_ranges = head.status() == 206 || accepts_ranges(response.headers());
    let body = Body {
        left: length,
        no_progress,
        request_id: head.request_id(),
        status: head.status(),
        failed: None,
        response,
    };
    Ok(Download {
        start,
        length,
        honours_ranges,
        request_id: head.request_id(),
        body: Box::new(body),
    })
}

/// How many bytes a partial answer brings: `bytes FROM-LAST/SIZE`, and it must be all from `from` to the file's end. An
/// answer in several parts has no such header.
fn range_of(headers: &HeaderMap, from: u64) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (place, size) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = place.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    let is_rest = size == "*" || size.parse() == Ok(end);
    let length = end.checked_sub(from).filter(|length| *length > 0)?;
    (is_rest && first.parse() == Ok(from)).then_some(length)
}

fn accepts_ranges(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::ACCEPT_RANGES).iter();
    said.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|unit| unit.trim().eq_ignore_ascii_case("bytes"))
}

impl Body {
    fn fail(&mut self, message: String) -> io::Error {
        let error = ApiError {
            status: Some(self.status),
            request_id: self.request_id.clone(),
            ..ApiError::local(Call::Download, ErrorKind::Interrupted, message)
        };
        self.failed = Some(error.clone());
        // Never `io::ErrorKind::Interrupted`: `read_exact` and `copy` take that for "try again" and would do so for ever.
        io::Error::other(error)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(io::Error::other(error.clone()));
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.response.read(buffer) {
            Ok(0) => match self.left {
                Some(left @ 1..) => Err(self.fail(format!("{left} bytes of the file are missing"))),
                _ => Ok(0),
            },
            Ok(n) => {
                self.left = self.left.map(|left| left.saturating_sub(n as u64));
                Ok(n)
            }
            Err(error) => {
                let message = super::answer::io_message(&error, self.no_progress);
                Err(self.fail(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_answer_is_the_rest_of_the_file_or_nonsense() {
        for (said, length) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 5-9/*", Some(5)),
            ("bytes 5-5/6", Some(1)),
            // Less than the rest, more than the file, another place.
            ("bytes 5-8/10", None),
            ("bytes 5-10/10", None),
            ("bytes 4-9/10", None),
            ("bytes 6-9/10", None),
            ("bytes 5-4/5", None),
            ("bytes 5-3/4", None),
            ("bytes 5-18446744073709551615/*", None),
            ("bytes */10", None),
            ("lines 5-9/10", None),
            ("bytes=5-9/10", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_RANGE, said.parse().unwrap())]);
            assert_eq!(range_of(&headers, 5), length, "{said}");
        }
        assert_eq!(range_of(&HeaderMap::new(), 5), None);
    }
}
