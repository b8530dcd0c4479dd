//! The key and the host, at the price of one request for the newest file's entry. Its answer has the service's clock too.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::service::{Unheard, ask_once};
use super::{Finding, Machine, clock, credentials, in_two};
use crate::api::{ApiError, ClientError, Credential, ErrorKind, FilePage};
use crate::config::{
    ConfigError, KEY_VARIABLE, NAME_A_KEY, NO_KEY, ServiceSettings, Source, TOKEN_VARIABLE,
};

const KEY: &str = "key";
const SERVICE: &str = "service";

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The variables that name proxies, as the HTTP client reads them.
pub(super) const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "HTTP_PROXY",
    "http_proxy",
];

pub(super) fn examine(
    service: &Result<ServiceSettings, ConfigError>,
    machine: &Machine,
) -> Vec<Finding> {
    let mut findings = vec![
        key(service),
        credentials::examine(machine, !matches!(service, Err(ConfigError::NoKey))),
    ];
    if let Ok(settings) = service
        && let Source::Service { credential, .. } = &settings.source
    {
        let settings = ServiceSettings {
            no_progress: settings.no_progress.min(PATIENCE),
            ..settings.clone()
        };
        let begun = Instant::now();
        let answer = ask_once(&settings, credential);
        let (took, now) = (begun.elapsed(), Timestamp::now());
        findings.push(host(&settings, answer.as_ref(), took, machine));
        findings.extend(answer.ok().map(|page| clock::examine(page.date, now)));
    }
    findings
}

/// Which key there is; never the key.
fn key(service: &Result<ServiceSettings, ConfigError>) -> Finding {
    let settings = match service {
        Ok(settings) => settings,
        Err(ConfigError::NoKey) => return Finding::fail(KEY, NO_KEY, NAME_A_KEY),
        Err(ConfigError::Usage(why) | ConfigError::Unusable(why)) => {
            let (found, remedy) = in_two(
                why,
                "give it as the service does, whole and alone, in a file that you can read: --key-file FILE",
            );
            return Finding::fail(KEY, found, remedy);
        }
    };
    match &settings.source {
        Source::Demo => Finding::ok(KEY, "a demo has none"),
        source @ Source::Service { .. } => Finding::ok(KEY, whence(source)),
    }
}

/// Where a key is from.
fn whence(source: &Source) -> String {
    match source {
        Source::Service {
            key_file: Some(path),
            ..
        } => format!("the key in {}, which only you can read", path.display()),
        Source::Service {
            credential: Credential::Token(_),
            ..
        } => format!("the token in {TOKEN_VARIABLE}"),
        Source::Service { .. } | Source::Demo => format!("the key in {KEY_VARIABLE}"),
    }
}

/// Whether the service can be reached and takes the key.
fn host(
    settings: &ServiceSettings,
    answer: Result<&FilePage, &Unheard>,
    took: Duration,
    machine: &Machine,
) -> Finding {
    let at = &settings.base_url;
    match answer {
        Ok(_) => {
            let took = took.as_millis();
            Finding::ok(
                SERVICE,
                format!("{at} answers in {took} ms and takes the key"),
            )
        }
        Err(Unheard::Client(error)) => client(error),
        Err(Unheard::Api(error)) => unheard(settings, error, proxy(settings, machine)),
    }
}

fn client(error: &ClientError) -> Finding {
    let remedy = match error {
        ClientError::BadBaseUrl(_) => "write it as https://HOST: --base-url, ANTHROPIC_BASE_URL",
        ClientError::PlainHttp(_) => "use https, or --allow-http where nobody can listen",
        ClientError::TwiceSet(_) | ClientError::BadHeader(_) => {
            "correct ANTHROPIC_CUSTOM_HEADERS, or unset it"
        }
        ClientError::Setup(_) => {
            "install the package ca-certificates; correct SSL_CERT_FILE, or unset it"
        }
    };
    let said = error.to_string();
    Finding::fail(SERVICE, in_two(&said, remedy).0, remedy)
}

fn unheard(settings: &ServiceSettings, error: &ApiError, proxy: Option<&str>) -> Finding {
    let (at, message) = (&settings.base_url, &error.message);
    let through = proxy.map_or_else(String::new, |name| format!(" through the proxy in {name}"));
    match error.kind {
        ErrorKind::Unauthorized => Finding::fail(
            SERVICE,
            format!("{at} refuses {} ({message})", whence(&settings.source)),
            "is it whole, of this service, and not revoked? a new one can be made in the Console",
        ),
        ErrorKind::Forbidden => Finding::fail(
            SERVICE,
            format!("the key may not list files ({message})"),
            "it needs access to the Files API of its workspace: see the Console, or --workspace-id",
        ),
        ErrorKind::RateLimited => Finding::warn(
            SERVICE,
            format!("{at} takes no more requests at present ({message})"),
            "nothing: afs waits for its turn by itself; who asks so much is in afs status",
        ),
        ErrorKind::Unavailable => Finding::warn(
            SERVICE,
            format!("{at} answers, but is in trouble ({error})"),
            "nothing: what waits is tried again; afs doctor again in a while",
        ),
        ErrorKind::Unreachable | ErrorKind::Interrupted => Finding::fail(
            SERVICE,
            format!("{at} can't be reached{through}: {message}"),
            way_there(message, proxy),
        ),
        _ => Finding::fail(
            SERVICE,
            format!("{at} does not answer as the Files API does{through}: {error}"),
            match proxy {
                Some(name) => format!("check the address (--base-url), and the proxy in {name}"),
                None => "check the address: --base-url, ANTHROPIC_BASE_URL".to_owned(),
            },
        ),
    }
}

/// What to do about a host that can't be reached.
fn way_there(message: &str, proxy: Option<&str>) -> String {
    // As `rustls` says it; it names no kind that this room could ask for.
    let is_early_or_late = ["not valid yet", "certificate expired"]
        .iter()
        .any(|words| message.contains(words));
    if is_early_or_late {
        return "is this machine's clock right? date; else the certificate of the server, or of a proxy, has to be renewed"
            .to_owned();
    }
    if message.contains("certificate") {
        return "have SSL_CERT_FILE name the certificates of your server, or of a proxy that looks into what goes through"
            .to_owned();
    }
    match proxy {
        Some(name) => format!("check the proxy in {name}, or keep the host out of it with NO_PROXY"),
        None => "check the network, and the address: --base-url, ANTHROPIC_BASE_URL; a proxy goes into HTTPS_PROXY"
            .to_owned(),
    }
}

/// The variable that names the proxy for this address. What is exempt by `NO_PROXY` is not known here; plain http goes to this
/// machine, and through no proxy, unless it is allowed elsewhere.
fn proxy(settings: &ServiceSettings, machine: &Machine) -> Option<&'static str> {
    let is_plain = settings.base_url.starts_with("http:");
    if is_plain && !settings.allow_http {
        return None;
    }
    let other = if is_plain { "https_" } else { "http_" };
    let is_for = |name: &&str| !name.to_lowercase().starts_with(other);
    let mut asked = PROXIES.into_iter().filter(is_for);
    asked.find(|name| machine.variable(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::Level::{self, Fail, Ok as Well, Warn};
    use super::super::tests::{bare_machine, is};
    use super::*;
    use crate::api::{ApiKey, Call, CustomHeaders, Dialect};

    fn settings(key_file: Option<&str>, is_token: bool) -> ServiceSettings {
        let secret = ApiKey::new("sk-canary").unwrap();
        ServiceSettings {
            source: Source::Service {
                credential: if is_token {
                    Credential::Token(secret)
                } else {
                    Credential::Key(secret)
                },
                key_file: key_file.map(Into::into),
            },
            base_url: "https://a.example".into(),
            dialect: Dialect::Beta,
            betas: Vec::new(),
            workspace_id: None,
            headers: CustomHeaders::default(),
            allow_http: false,
            no_progress: PATIENCE,
            rate: None,
        }
    }

    #[test]
    fn which_key_is_said_and_never_the_key() {
        let unusable = |why: &str| Err(ConfigError::Unusable(why.into()));
        for (service, level, says, remedy) in [
            (
                Ok(settings(None, false)),
                Well,
                "the key in ANTHROPIC_API_KEY",
                "",
            ),
            (
                Ok(settings(None, true)),
                Well,
                "the token in ANTHROPIC_AUTH_TOKEN",
                "",
            ),
            (
                Ok(settings(Some("/k"), false)),
                Well,
                "the key in /k, which only you",
                "",
            ),
            (
                Err(ConfigError::NoKey),
                Fail,
                "there is no API key",
                "set ANTHROPIC_API_KEY",
            ),
            (
                unusable(
                    "the key file /k can be read by others; make it private first: chmod 600 /k",
                ),
                Fail,
                "the key file /k can be read by others",
                "make it private first: chmod 600 /k",
            ),
            (
                unusable("the API key is empty"),
                Fail,
                "the API key is empty",
                "--key-file",
            ),
        ] {
            let finding = key(&service);
            is(&finding, level, says, remedy);
            assert!(!format!("{finding:?}").contains("canary"));
        }
    }

    /// A failure, the proxy that is asked, the message; what is found.
    type Row<'a> = (ErrorKind, Option<&'a str>, &'a str, Level, &'a str, &'a str);

    #[test]
    fn what_keeps_the_service_away_is_told_from_what_it_refuses() {
        let table: [Row<'_>; 10] = [
            (
                ErrorKind::Unauthorized,
                None,
                "no",
                Fail,
                "refuses the key in ANTHROPIC_API_KEY (no)",
                "revoked",
            ),
            (
                ErrorKind::Forbidden,
                None,
                "no",
                Fail,
                "may not list files (no)",
                "Console",
            ),
            (
                ErrorKind::RateLimited,
                None,
                "slow",
                Warn,
                "no more requests",
                "by itself",
            ),
            (
                ErrorKind::Unavailable,
                None,
                "busy",
                Warn,
                "in trouble (list failed: busy)",
                "tried again",
            ),
            (
                ErrorKind::Unreachable,
                None,
                "refused",
                Fail,
                "can't be reached: refused",
                "check the network",
            ),
            (
                ErrorKind::Interrupted,
                Some("HTTPS_PROXY"),
                "nothing moved",
                Fail,
                "through the proxy in HTTPS_PROXY: nothing moved",
                "check the proxy in HTTPS_PROXY",
            ),
            (
                ErrorKind::Unreachable,
                None,
                "certificate not valid yet: 1",
                Fail,
                "not valid yet",
                "clock",
            ),
            (
                ErrorKind::Unreachable,
                None,
                "the server's certificate is not trusted",
                Fail,
                "trusted",
                "SSL_CERT_FILE",
            ),
            (
                ErrorKind::Nonsense,
                None,
                "HTML",
                Fail,
                "does not answer as the Files API does: list",
                "--base-url",
            ),
            (
                ErrorKind::NotFound,
                Some("ALL_PROXY"),
                "?",
                Fail,
                "in ALL_PROXY: list",
                "the proxy in ALL_PROXY",
            ),
        ];
        for (kind, proxy, message, level, says, remedy) in table {
            let error = ApiError::local(Call::List, kind, message);
            is(
                &unheard(&settings(None, false), &error, proxy),
                level,
                says,
                remedy,
            );
        }
        let error = ClientError::PlainHttp("h".into());
        is(&client(&error), Fail, "unencrypted to h", "https");
    }

    #[test]
    fn the_proxy_that_is_asked_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = bare_machine(dir.path());
        for (set, url, allow_http, expected) in [
            ("HTTPS_PROXY", "https://a", false, Some("HTTPS_PROXY")),
            ("https_proxy", "https://a", false, Some("https_proxy")),
            ("HTTPS_PROXY", "http://a", true, None),
            ("http_proxy", "http://a", true, Some("http_proxy")),
            ("http_proxy", "http://a", false, None),
            ("http_proxy", "https://a", false, None),
            ("ALL_PROXY", "https://a", false, Some("ALL_PROXY")),
        ] {
            machine.variables = vec![("ANTHROPIC_PROFILE", "x".into()), (set, "p".into())];
            let settings = ServiceSettings {
                base_url: url.into(),
                allow_http,
                ..settings(None, false)
            };
            assert_eq!(proxy(&settings, &machine), expected, "{set} {url}");
        }
    }
}
