//! From a refusal to an [`ErrorKind`]: the one place that knows the service's statuses and wordings.

use super::{Call, ErrorKind};

/// What a refusal says of itself; a text is empty where the answer had none (or was no JSON).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refusal<'a> {
    /// The HTTP status.
    pub(crate) status: u16,
    /// `error.type`.
    pub(crate) error_type: &'a str,
    /// `error.details.error_code`: only newer servers say it.
    pub(crate) error_code: &'a str,
    /// `error.message`.
    pub(crate) message: &'a str,
}

/// The kind of failure. Typed codes are believed first, then the status; the wording decides only where several kinds
/// share a status and no code tells them apart.
pub(crate) fn classify(call: Call, refusal: Refusal<'_>) -> ErrorKind {
    if let Some(kind) = by_code(refusal.error_code) {
        return kind;
    }
    match refusal.status {
        401 => ErrorKind::Unauthorized,
        402 => ErrorKind::Forbidden,
        // A full storage is 403 in the guides of 2025 and early 2026, and 400 in the later ones.
        400 | 403 => by_wording(call, refusal),
        404 | 410 => ErrorKind::NotFound,
        // 413 may come from a proxy in front of the service, without a word of JSON.
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        // 529 is the service's "overloaded".
        408 | 409 | 425 | 500..=599 => ErrorKind::Unavailable,
        405..=499 => ErrorKind::Refused,
        // A redirect is never followed (the key would travel), and nothing else was expected.
        _ => ErrorKind::Nonsense,
    }
}

/// `error.details.error_code`, as the official clients list them.
fn by_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "file_not_downloadable" => ErrorKind::NotDownloadable,
        "storage_quota_exceeded" => ErrorKind::StorageFull,
        "file_expired" => ErrorKind::Expired,
        "organization_on_hold"
        | "claude_code_key_creator_not_member"
        | "cmek_key_disabled"
        | "cmek_key_network_blocked" => ErrorKind::Forbidden,
        _ => return None,
    })
}

/// 400 and 403 mean several things.
fn by_wording(call: Call, refusal: Refusal<'_>) -> ErrorKind {
    let message = refusal.message.to_ascii_lowercase();
    if call == Call::Download && message.contains("not downloadable") {
        return ErrorKind::NotDownloadable;
    }
    let full = ["limit", "quota", "exceed", "full"];
    if call == Call::Upload
        && message.contains("storage")
        && full.iter().any(|word| message.contains(word))
    {
        return ErrorKind::StorageFull;
    }
    // The older guide shows its 404 with this type and wording; a 400 that says so means it as well.
    if refusal.error_type == "not_found_error" || message.starts_with("file not found") {
        return ErrorKind::NotFound;
    }
    if refusal.status == 403 || refusal.error_type == "permission_error" {
        ErrorKind::Forbidden
    } else {
        ErrorKind::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        use Call::{Delete, Download, List, Metadata, Upload};
        use ErrorKind::*;
        const INVALID: &str = "invalid_request_error";
        const DENIED: &str = "permission_error";
        #[rustfmt::skip]
        let table = [
            (Metadata, 401, "authentication_error", "", "invalid x-api-key", Unauthorized),
            (Upload, 402, "billing_error", "", "Your credit balance is too low", Forbidden),
            (List, 403, DENIED, "", "Your API key does not have permission", Forbidden),
            // Both wordings of 404, and their mixtures.
            (Metadata, 404, "not_found_error", "", "File `file_1` not found.", NotFound),
            (Metadata, 404, INVALID, "", "File not found: file_1", NotFound),
            (Delete, 400, INVALID, "", "File not found: file_1", NotFound),
            (Delete, 404, "", "", "", NotFound),
            (Download, 404, "not_found_error", "file_expired", "This file has expired.", Expired),
            (Download, 400, INVALID, "file_not_downloadable", "?", NotDownloadable),
            (Download, 400, INVALID, "", "File is not downloadable", NotDownloadable),
            (Download, 403, DENIED, "", "File is not downloadable", NotDownloadable),
            (Metadata, 400, INVALID, "", "File is not downloadable", Refused),
            // The storage is full, of today and of yesterday.
            (Upload, 400, INVALID, "storage_quota_exceeded", "?", StorageFull),
            (Upload, 400, INVALID, "", "Organization storage limit reached", StorageFull),
            (Upload, 403, DENIED, "", "Storage quota exceeded", StorageFull),
            (Upload, 403, INVALID, "", "Exceeded the 100 GB storage limit", StorageFull),
            (Upload, 403, DENIED, "", "No access to storage", Forbidden),
            (List, 400, INVALID, "", "storage: limit must be 1..1000", Refused),
            (Upload, 400, INVALID, "organization_on_hold", "on hold", Forbidden),
            (Upload, 400, INVALID, "cmek_key_disabled", "key", Forbidden),
            (Upload, 400, INVALID, "", "filename: forbidden character", Refused),
            (Upload, 400, "", "", "", Refused),
            (Upload, 413, "request_too_large", "", "Request exceeds the maximum size", TooLarge),
            (Upload, 413, "", "", "", TooLarge),
            (List, 422, INVALID, "", "", Refused),
            (List, 405, "", "", "", Refused),
            (Upload, 429, "rate_limit_error", "", "Rate limited", RateLimited),
            (List, 408, "", "", "", Unavailable),
            (List, 409, "conflict_error", "", "", Unavailable),
            (List, 500, "api_error", "", "Internal server error", Unavailable),
            (List, 502, "", "", "", Unavailable),
            (List, 504, "timeout_error", "", "Request timeout", Unavailable),
            (List, 529, "overloaded_error", "", "Overloaded", Unavailable),
            (List, 302, "", "", "", Nonsense),
            (Upload, 307, "", "", "", Nonsense),
            (Delete, 100, "", "", "", Nonsense),
            (Delete, 600, "", "", "", Nonsense),
        ];
        for (call, status, error_type, error_code, message, expected) in table {
            let refusal = Refusal {
                status,
                error_type,
                error_code,
                message,
            };
            assert_eq!(classify(call, refusal), expected, "{call} {refusal:?}");
        }
    }
}
