//! A download's body: every end that is not the file's end is an error.

use std::io::{self, Read};
use std::time::Duration;

use reqwest::blocking::Response;

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

/// Takes an answer to a download apart.
pub(super) fn start(
    head: &Head,
    response: Response,
    no_progress: Duration,
) -> Result<Download, ApiError> {
    if head.status() != 200 {
        // 206 in particular: no range was asked for.
        return Err(head.nonsense(Call::Download, "the answer is not the whole file"));
    }
    let length = response.content_length();
    let body = Body {
        left: length,
        no_progress,
        request_id: head.request_id(),
        status: head.status(),
        failed: None,
        response,
    };
    Ok(Download {
        length,
        request_id: head.request_id(),
        body: Box::new(body),
    })
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
