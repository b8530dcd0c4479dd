//! Settings resolved from requests and made-up surroundings.

use super::*;
use crate::api::ApiKey;

fn resolve(
    request: MountRequest,
    variables: &[(&str, &str)],
) -> Result<MountSettings, ConfigError> {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    request.resolve(&Surroundings {
        variable: &variable,
        uid: 1000,
        gid: 100,
        system: false,
    })
}

const USUAL: [(&str, &str); 2] = [("HOME", "/home/ada"), (KEY_VARIABLE, "sk-ant-secret")];

#[test]
fn nothing_said_means_the_documented_defaults() {
    let got = resolve(MountRequest::default(), &USUAL).unwrap();
    assert_eq!(got.service.base_url, "https://api.anthropic.com");
    assert_eq!(got.state_root, Path::new("/home/ada/.local/state/afs"));
    assert_eq!(got.cache_root, Path::new("/home/ada/.cache/afs"));
    assert_eq!(got.cache_size, 10 << 30);
    assert_eq!(got.refresh, Duration::from_secs(10));
    assert_eq!(got.service.no_progress, Duration::from_secs(60));
    assert_eq!(got.quota, 500 << 30);
    assert_eq!((got.uid, got.gid, got.umask), (1000, 100, 0o077));
    assert_eq!(got.names, NameStyle::Strict);
    assert!(!got.read_only && !got.allow_other && !got.xattr);
}

#[test]
fn xdg_directories_are_used_when_they_are_absolute() {
    let mut variables = USUAL.to_vec();
    variables.push(("XDG_STATE_HOME", "/var/state"));
    variables.push(("XDG_CACHE_HOME", "cache"));
    let got = resolve(MountRequest::default(), &variables).unwrap();
    assert_eq!(got.state_root, Path::new("/var/state/afs"));
    assert_eq!(got.cache_root, Path::new("/home/ada/.cache/afs"));
}

#[test]
fn without_a_home_the_flag_to_use_is_named() {
    let error = resolve(MountRequest::default(), &[(KEY_VARIABLE, "k")]).unwrap_err();
    assert!(matches!(&error, ConfigError::Unusable(why) if why.contains("--state-dir DIR")));
    let request = MountRequest {
        state_dir: Some("/s".into()),
        cache_dir: Some("/c".into()),
        ..MountRequest::default()
    };
    assert!(resolve(request, &[(KEY_VARIABLE, "k")]).is_ok());
}

#[test]
fn flags_stand_before_words_and_words_before_defaults() {
    let request = MountRequest {
        uid: Some(7),
        mount_words: vec!["ro,uid=8,gid=9".into(), "umask=022,noatime".into()],
        ..MountRequest::default()
    };
    let got = resolve(request, &USUAL).unwrap();
    assert_eq!((got.uid, got.gid, got.umask), (7, 9, 0o022));
    assert!(got.read_only);
    assert_eq!(got.mount_options, ["noatime"]);
}

#[test]
fn a_flag_that_says_read_only_is_not_undone_by_a_word() {
    let request = MountRequest {
        read_only: true,
        mount_words: vec!["rw".into()],
        ..MountRequest::default()
    };
    assert!(resolve(request, &USUAL).unwrap().read_only);
}

#[test]
fn an_unknown_word_is_a_usage_error_even_without_a_key() {
    let request = MountRequest {
        mount_words: vec!["frobnicate".into()],
        ..MountRequest::default()
    };
    let error = resolve(request, &[("HOME", "/h")]).unwrap_err();
    assert!(matches!(error, ConfigError::Usage(_)));
}

#[test]
fn no_key_is_one_sentence_that_says_what_to_do() {
    for variables in [
        vec![("HOME", "/h")],
        vec![("HOME", "/h"), (KEY_VARIABLE, "")],
    ] {
        let error = resolve(MountRequest::default(), &variables).unwrap_err();
        assert!(matches!(error, ConfigError::NoKey));
        let sentence = error.to_string();
        for hint in [
            "no API key",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "--key-file",
            "--demo",
        ] {
            assert!(sentence.contains(hint), "{sentence}");
        }
    }
}

#[test]
fn what_cannot_be_a_key_is_refused_and_not_repeated() {
    let error = resolve(
        MountRequest::default(),
        &[("HOME", "/h"), (KEY_VARIABLE, "two words")],
    )
    .unwrap_err();
    assert!(!error.to_string().contains("two words"), "{error}");
}

#[test]
fn the_demo_needs_no_key_and_uses_none() {
    let request = || MountRequest {
        demo: true,
        ..MountRequest::default()
    };
    assert_eq!(
        resolve(request(), &[("HOME", "/h")])
            .unwrap()
            .service
            .source,
        Source::Demo
    );
    assert_eq!(
        resolve(request(), &USUAL).unwrap().service.source,
        Source::Demo
    );
}

#[test]
fn debug_output_hides_the_key() {
    let got = resolve(MountRequest::default(), &USUAL).unwrap();
    assert!(!format!("{got:?}").contains("secret"));
}

#[test]
fn base_urls_come_from_flag_then_environment_then_default() {
    for (flag, variable, url) in [
        (
            Some("http://127.0.0.1:8080/"),
            Some("https://other"),
            "http://127.0.0.1:8080",
        ),
        (
            None,
            Some("https://proxy.example/anthropic/"),
            "https://proxy.example/anthropic",
        ),
        (None, Some(""), DEFAULT_BASE_URL),
        (None, None, DEFAULT_BASE_URL),
    ] {
        let mut variables = USUAL.to_vec();
        variables.extend(variable.map(|value| (BASE_URL_VARIABLE, value)));
        let request = MountRequest {
            base_url: flag.map(str::to_owned),
            ..MountRequest::default()
        };
        assert_eq!(resolve(request, &variables).unwrap().service.base_url, url);
    }
}

#[test]
fn a_timeout_of_nothing_is_refused() {
    let request = MountRequest {
        no_progress: Some(Duration::ZERO),
        ..MountRequest::default()
    };
    assert!(matches!(
        resolve(request, &USUAL),
        Err(ConfigError::Usage(_))
    ));
}

#[test]
fn a_key_file_stands_before_the_environment() {
    let request = MountRequest {
        key_file: Some("/nonexistent/key".into()),
        ..MountRequest::default()
    };
    assert!(resolve(request, &USUAL).is_err());
}

#[test]
fn a_token_is_for_those_without_a_key() {
    let credential = |variables: &[(&str, &str)]| {
        let mut all = vec![("HOME", "/h")];
        all.extend(variables);
        match resolve(MountRequest::default(), &all)
            .unwrap()
            .service
            .source
        {
            Source::Service { credential, .. } => credential,
            Source::Demo => panic!("no demo was asked for"),
        }
    };
    let secret = |text: &str| ApiKey::new(text).unwrap();
    let token = (TOKEN_VARIABLE, "token");
    assert_eq!(credential(&[token]), Credential::Token(secret("token")));
    let both = credential(&[token, (KEY_VARIABLE, "key")]);
    assert_eq!(both, Credential::Key(secret("key")));
    let empty = credential(&[token, (KEY_VARIABLE, "")]);
    assert_eq!(empty, Credential::Token(secret("token")));
}

#[test]
fn an_expiry_is_todays_dialect_and_within_the_services_bounds() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let ga = |expires| Dialect::Ga { expires };
    for (dialect, expires, expected) in [
        (None, None, Some(Dialect::Beta)),
        (Some(ga(None)), None, Some(ga(None))),
        (None, Some(hours(1)), Some(ga(Some(hours(1))))),
        (
            Some(ga(None)),
            Some(hours(90 * 24)),
            Some(ga(Some(hours(90 * 24)))),
        ),
        (Some(Dialect::Beta), Some(hours(1)), None),
        (None, Some(Duration::from_secs(3599)), None),
        (None, Some(hours(90 * 24) + Duration::from_secs(1)), None),
    ] {
        let request = MountRequest {
            dialect,
            expires,
            ..MountRequest::default()
        };
        match (resolve(request, &USUAL), expected) {
            (Ok(got), Some(expected)) => assert_eq!(got.service.dialect, expected),
            (Err(ConfigError::Usage(why)), None) => assert!(why.starts_with("--expires"), "{why}"),
            (got, _) => panic!("{dialect:?} {expires:?}: {got:?}"),
        }
    }
}

#[test]
fn headers_of_the_users_own_are_read_and_never_shown() {
    let mut variables = USUAL.to_vec();
    variables.push((HEADERS_VARIABLE, "X-Gateway: canary"));
    variables.push((WORKSPACE_VARIABLE, "wrkspc_variable"));
    let got = resolve(MountRequest::default(), &variables).unwrap();
    assert!(!format!("{got:?}").contains("canary"), "{got:?}");
    assert_eq!(
        got.service.headers,
        CustomHeaders::parse("x-gateway: canary").unwrap()
    );
    assert_eq!(got.service.workspace_id.as_deref(), Some("wrkspc_variable"));
    let request = MountRequest {
        workspace_id: Some("wrkspc_flag".to_owned()),
        ..MountRequest::default()
    };
    let got = resolve(request, &variables).unwrap();
    assert_eq!(got.service.workspace_id.as_deref(), Some("wrkspc_flag"));
    variables[2].1 = "canary";
    let error = resolve(MountRequest::default(), &variables).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(HEADERS_VARIABLE) && !said.contains("canary"),
        "{said}"
    );
}
