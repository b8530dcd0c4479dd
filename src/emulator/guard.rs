//! The door: who may talk to the emulator at all, and what every answer carries.
//!
//! An emulator on loopback can be reached by any web page in the user's browser, which would find a workspace without
//! a password. A page gives itself away by its `Origin`, or, when it has made its own name point to this machine, by
//! its `Host`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{DATE, HOST, HeaderValue, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::http::{Hangup, RequestId, Service, Unknown};
use super::rules::Refusal;

/// Lets a request in or refuses it, and puts the usual headers on the answer.
pub(super) async fn guard(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = service.next_request_id();
    let mut response = if is_foreign(request.headers(), request.uri(), service.config.listen.ip()) {
        refuse(
            &Refusal::with(403, "Requests from other hosts or origins are refused"),
            &request_id,
        )
    } else {
        request
            .extensions_mut()
            .insert(RequestId(request_id.clone()));
        next.run(request).await
    };
    if response.extensions().get::<Hangup>().is_some() {
        return response;
    }
    if let Some(Unknown(status)) = response.extensions().get().copied() {
        response = refuse(&Refusal::of_status(status.as_u16()), &request_id);
    }
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("request-id", id);
    }
    if service.workspace.is_ahead()
        && let Some(date) = date(service.workspace.now_us())
    {
        // A fault may have said another one.
        response.headers_mut().entry(DATE).or_insert(date);
    }
    response.headers_mut().insert(
        "anthropic-organization-id",
        HeaderValue::from_static("00000000-0000-4000-8000-000000000000"),
    );
    response
}

/// The `date` of a clock that is not this machine's, which is hyper's business.
pub(super) fn date(now_us: i64) -> Option<HeaderValue> {
    let now = Timestamp::from_microsecond(now_us).ok()?;
    let text = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&now)
        .ok()?;
    HeaderValue::from_str(&text).ok()
}

fn refuse(refusal: &Refusal, request_id: &str) -> Response {
    let status = axum::http::StatusCode::from_u16(refusal.status).unwrap_or_default();
    (status, axum::Json(refusal.body(request_id))).into_response()
}

/// Whether a request comes from a page of another origin, or is meant for another host. Listening beyond loopback, the
/// names this machine goes by are unknown; there a key is needed anyway.
fn is_foreign(headers: &HeaderMap, uri: &Uri, listen: IpAddr) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or_default())
    };
    let host = uri
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| text(HOST));
    let Some(host) = host else {
        return true;
    };
    let is_own_origin = |origin: &str| {
        ["http://", "https://"]
            .iter()
            .filter_map(|scheme| origin.strip_prefix(scheme))
            .any(|at| at.eq_ignore_ascii_case(host))
    };
    let is_foreign_host = listen.is_loopback() && !is_loopback(host);
    is_foreign_host || text(ORIGIN).is_some_and(|origin| !is_own_origin(origin))
}

/// Whether `name` or `name:port` is this machine by definition.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_no_foreigner() {
        for (host, origin, foreign) in [
            (Some("127.0.0.1:80"), None, false),
            (Some("localhost"), None, false),
            (Some("LOCALHOST:9"), None, false),
            (Some("[::1]:9"), None, false),
            (Some("[::1]"), None, false),
            (Some("example.com"), None, true),
            (Some("127.0.0.1.example.com"), None, true),
            (Some("localhost.example.com:80"), None, true),
            (Some("192.168.0.1"), None, true),
            (Some(""), None, true),
            (None, None, true),
            (Some("127.0.0.1:80"), Some("http://127.0.0.1:80"), false),
            (Some("127.0.0.1:80"), Some("http://127.0.0.1:81"), true),
            (Some("127.0.0.1:80"), Some("https://example.com"), true),
            (Some("127.0.0.1:80"), Some("null"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(host.map(|host| (HOST, HeaderValue::from_str(host).unwrap())));
            headers.extend(origin.map(|origin| (ORIGIN, HeaderValue::from_str(origin).unwrap())));
            let found = is_foreign(
                &headers,
                &Uri::from_static("/v1/files"),
                IpAddr::from([127, 0, 0, 1]),
            );
            assert_eq!(found, foreign, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn beyond_loopback_any_host_is_ours_but_no_other_origin() {
        let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("box.lan:9"))]);
        let everywhere = IpAddr::from([0, 0, 0, 0]);
        assert!(!is_foreign(&headers, &Uri::from_static("/"), everywhere));
        headers.insert(ORIGIN, HeaderValue::from_static("http://example.com"));
        assert!(is_foreign(&headers, &Uri::from_static("/"), everywhere));
    }
}
