//! The upload's form, written by hand: a part called `file`, its length known before the first byte is sent.
//!
//! The service reads filenames as raw UTF-8 the way its own clients write them. There is no `filename*`, and the name
//! comes from the file's owner: what could end the header or the quotes is escaped.

use std::fmt::Write as _;

use super::{ApiError, Call, ErrorKind};

/// The bytes around the file's own.
#[derive(Debug)]
pub(super) struct Form {
    /// `multipart/form-data; boundary=...`
    pub(super) content_type: String,
    /// What stands before the file's bytes.
    pub(super) head: Vec<u8>,
    /// What stands after them.
    pub(super) tail: Vec<u8>,
}

impl Form {
    /// A form for a file of this name and type.
    /// In today's dialect the service may be asked to give its bytes up after so many seconds.
    pub(super) fn new(
        filename: &str,
        mime_type: &str,
        expires_in_seconds: Option<u64>,
        boundary: &str,
    ) -> Result<Self, ApiError> {
        if mime_type.is_empty() || mime_type.contains(|c: char| c.is_control() || !c.is_ascii()) {
            let message = format!("{mime_type:?} is no media type");
            return Err(ApiError::local(Call::Upload, ErrorKind::Refused, message));
        }
        // The service's own clients send it first as well.
        let expiry = expires_in_seconds.map_or_else(String::new, |seconds| {
            format!(
                "--{boundary}\r\n\
                 Content-Disposition: form-data; name=\"expires_in_seconds\"\r\n\r\n\
                 {seconds}\r\n"
            )
        });
        let head = format!(
            "{expiry}--{boundary}\r\n\
             Content-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: {mime_type}\r\n\r\n",
            quoted(filename)
        );
        Ok(Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: head.into_bytes(),
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
        })
    }
}

/// `"` as `%22`, CR and LF as `%0D` and `%0A`, a backslash doubled, everything else as it is: what browsers and the
/// service's own Python client send.
fn quoted(filename: &str) -> String {
    let mut out = String::with_capacity(filename.len());
    for c in filename.chars() {
        match c {
            '"' => out.push_str("%22"),
            '\r' => out.push_str("%0D"),
            '\n' => out.push_str("%0A"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
    }
    out
}

/// A boundary nobody can know while writing the file: from a generator made for secrets, so that no content, however
/// crafted, ends its own part.
pub(super) fn boundary() -> Result<String, ApiError> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| {
            let message = "the system gives no random numbers";
            ApiError::local(Call::Upload, ErrorKind::Unreachable, message)
        })?;
    let mut boundary = String::from("afs-");
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(boundary, "{byte:02x}");
    }
    Ok(boundary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_the_services_clients_send() {
        let form = Form::new("report 1.pdf", "application/pdf", None, "B").unwrap();
        assert_eq!(form.content_type, "multipart/form-data; boundary=B");
        assert_eq!(
            String::from_utf8(form.head).unwrap(),
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"report 1.pdf\"\r\n\
             Content-Type: application/pdf\r\n\r\n"
        );
        assert_eq!(form.tail, b"\r\n--B--\r\n");
        let form = Form::new("a", "text/plain", Some(3600), "B").unwrap();
        assert!(form.head.starts_with(
            b"--B\r\nContent-Disposition: form-data; name=\"expires_in_seconds\"\r\n\r\n3600\r\n--B\r\n"
        ));
    }

    #[test]
    fn names_stay_between_their_quotes() {
        for (name, expected) in [
            ("Ünï 报告.md", "Ünï 报告.md"),
            ("a\"b", "a%22b"),
            ("a\r\nX-Evil: 1", "a%0D%0AX-Evil: 1"),
            ("back\\slash", "back\\\\slash"),
            ("100%22", "100%22"),
        ] {
            assert_eq!(quoted(name), expected);
        }
    }

    #[test]
    fn a_type_can_not_smuggle_headers() {
        for bad in ["", "text/plain\r\nX-Evil: 1", "text/pläin"] {
            let error = Form::new("a", bad, None, "B").unwrap_err();
            assert_eq!(error.kind, ErrorKind::Refused);
        }
    }

    #[test]
    fn boundaries_differ() {
        let (one, two) = (boundary().unwrap(), boundary().unwrap());
        assert_eq!(one.len(), 4 + 32);
        assert_ne!(one, two);
    }
}
