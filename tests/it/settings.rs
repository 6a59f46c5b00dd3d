//! A wrong setting stops the start with a sentence that names it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dues::settings::{AuthKey, Environment, Secret, Settings, SettingsError};

use crate::harness::{in_project, usual_variables};

/// Settings that are fine for production.
fn good() -> HashMap<String, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], 8080));
    usual_variables(
        "postgres://localhost/dues",
        address,
        "https://api.stripe.com",
    )
}

fn load(environment: Environment, changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut variables = good();
    for (name, value) in changes {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    Settings::load(environment, None, variables)
}

#[track_caller]
fn problems(environment: Environment, changes: &[(&str, &str)]) -> Vec<String> {
    match load(environment, changes) {
        Ok(_) => panic!("{changes:?} is accepted"),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn good_settings_are_accepted_everywhere() {
    for environment in [Environment::Development, Environment::Production] {
        let settings = load(environment, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert!(!settings.livemode());
        assert_eq!(settings.http.request_timeout, Duration::from_secs(30));
    }
}

#[test]
fn the_portal_leads_back_to_where_a_paid_checkout_does_unless_it_is_told_otherwise() {
    let leads_to = |changes: &[(&str, &str)]| {
        let settings = load(Environment::Production, changes);
        let client = settings.unwrap_or_else(|error| panic!("{error}")).client;
        (client.portal_return_url, client.success_url)
    };
    let (portal, success) = leads_to(&[]);
    assert_eq!(portal, success);
    let account = "https://app.example.org/account";
    let (portal, _) = leads_to(&[("DUES__CLIENT__PORTAL_RETURN_URL", account)]);
    assert_eq!(portal.as_str(), account);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_bad_setting_is_named_with_what_is_wrong_and_where_to_set_it() {
    let too_long = "x".repeat(1201);
    let cases = [
        (
            "DUES__HTTP__LISTEN",
            "8080",
            "is not an address with a port",
        ),
        ("DUES__HTTP__PUBLIC_URL", "", "is missing"),
        (
            "DUES__HTTP__PUBLIC_URL",
            "dues.example.org",
            "is not an absolute http or https URL",
        ),
        (
            "DUES__HTTP__PUBLIC_URL",
            "https://example.org/dues",
            "has a path or a query",
        ),
        (
            "DUES__HTTP__PUBLIC_URL",
            "http://example.org",
            "is not https",
        ),
        (
            "DUES__HTTP__METRICS_LISTEN",
            "localhost",
            "is not an address with a port",
        ),
        (
            "DUES__HTTP__BODY_LIMIT_BYTES",
            "10",
            "is 10, less than 1024",
        ),
        ("DUES__HTTP__BODY_LIMIT_BYTES", "many", "is not"),
        (
            "DUES__HTTP__REQUEST_TIMEOUT_MS",
            "20000",
            "is not longer than stripe.total_timeout_ms",
        ),
        ("DUES__HTTP__MAX_CONCURRENCY", "0", "is 0, less than 1"),
        ("DUES__DATABASE__URL", "", "is missing"),
        (
            "DUES__DATABASE__URL",
            "mysql://localhost/dues",
            "does not begin with postgres://",
        ),
        ("DUES__DATABASE__MAX_CONNECTIONS", "1", "is 1, less than 2"),
        ("DUES__DATABASE__MIGRATE", "perhaps", "is not"),
        ("DUES__STRIPE__SECRET_KEY", "", "is missing"),
        (
            "DUES__STRIPE__SECRET_KEY",
            "pk_test_0123",
            "does not look like a secret or restricted key",
        ),
        (
            "DUES__STRIPE__SECRET_KEY",
            "sk_test_",
            "does not look like a secret or restricted key",
        ),
        (
            "DUES__STRIPE__API_BASE",
            "stripe",
            "is not an absolute http or https URL",
        ),
        ("DUES__STRIPE__WEBHOOK_SECRETS", "", "is missing"),
        (
            "DUES__STRIPE__WEBHOOK_SECRETS",
            "whsec_long_enough,secret",
            "has an entry that does not look like whsec_",
        ),
        (
            "DUES__STRIPE__WEBHOOK_SECRETS",
            "whsec_",
            "has an entry that does not look like whsec_",
        ),
        (
            "DUES__STRIPE__METADATA_KEY",
            "dues[id]",
            "must have 1 to 40 characters",
        ),
        (
            "DUES__STRIPE__METADATA_KEY",
            "dues_checkout_id",
            "is a key that Dues uses",
        ),
        (
            "DUES__STRIPE__TOTAL_TIMEOUT_MS",
            "5000",
            "is 5000, less than 10000",
        ),
        (
            "DUES__AUTH__HS256_SECRET",
            "short",
            "is 5 bytes long, shorter than 32",
        ),
        (
            "DUES__AUTH__HS256_SECRET",
            "",
            "is missing, and auth.jwks_url too",
        ),
        (
            "DUES__AUTH__JWKS_URL",
            "https://login.example.org/jwks",
            "is set, and auth.jwks_url too",
        ),
        ("DUES__AUTH__ISSUER", "", "is missing"),
        ("DUES__AUTH__AUDIENCE", "", "is missing"),
        ("DUES__AUTH__ROLES_CLAIM", " ", "is empty"),
        (
            "DUES__CLIENT__SUCCESS_URL",
            "/thanks",
            "is not an absolute http or https URL",
        ),
        (
            "DUES__CLIENT__CANCEL_URL",
            "http://app.example.org/",
            "is not https",
        ),
        ("DUES__CLIENT__ERROR_URL", "", "is missing"),
        (
            "DUES__CLIENT__PORTAL_RETURN_URL",
            "/account",
            "is not an absolute http or https URL",
        ),
        (
            "DUES__CLIENT__PORTAL_RETURN_URL",
            "http://app.example.org/",
            "is not https",
        ),
        (
            "DUES__CLIENT__ALLOWED_ORIGINS",
            "https://app.example.org/",
            "is not an origin",
        ),
        ("DUES__CLIENT__ALLOWED_ORIGINS", "*", "is not an origin"),
        ("DUES__PLANS__FILE", "", "is empty"),
        (
            "DUES__CHECKOUT__EXPIRES_MINUTES",
            "10",
            "is not between 30 and 1440",
        ),
        ("DUES__CHECKOUT__MAX_OPEN", "0", "is 0, less than 1"),
        (
            "DUES__CHANGES__PRORATION",
            "later",
            "is none of always_invoice",
        ),
        (
            "DUES__PORTAL__CONFIGURATION",
            "pc_1",
            "does not look like the id",
        ),
        (
            "DUES__CHECKOUT__CUSTOM_TEXT__TERMS_OF_SERVICE",
            "I agree.",
            "but checkout.terms_of_service is not",
        ),
        (
            "DUES__CHECKOUT__CUSTOM_TEXT__SUBMIT",
            &too_long,
            "has more than 1200 characters",
        ),
        (
            "DUES__CHECKOUT__BRANDING__BUTTON_COLOR",
            "green",
            "is not a color such as #1a2b3c",
        ),
        (
            "DUES__CHECKOUT__BRANDING__BORDER_STYLE",
            "round",
            "is neither pill nor rectangular nor rounded",
        ),
        (
            "DUES__CHECKOUT__BRANDING__LOGO_URL",
            "logo.png",
            "is not an absolute http or https URL",
        ),
        (
            "DUES__WORKER__PURGE_AFTER_DAYS",
            "30",
            "is 30, less than 31",
        ),
        (
            "DUES__CLOCK__FOLLOW",
            "http://127.0.0.1:12111",
            "in production time is never moved",
        ),
        ("DUES__LOG__LEVEL", "loud,=", "is neither a level"),
        ("DUES__LOG__FORMAT", "xml", "is neither json nor pretty"),
        ("DUES__STRIPE__SECRT_KEY", "sk_test_0123", "does not exist"),
        ("DUES__STRPE__SECRET_KEY", "sk_test_0123", "does not exist"),
    ];
    for (name, value, what) in cases {
        let problems = problems(Environment::Production, &[(name, value)]);
        let named = match name {
            // One of two settings is at fault, and the first stands for both.
            "DUES__AUTH__JWKS_URL" => "DUES__AUTH__HS256_SECRET",
            // The whole section is unknown.
            "DUES__STRPE__SECRET_KEY" => "DUES__STRPE",
            _ => name,
        };
        let [problem] = problems.as_slice() else {
            panic!("{name}={value}: {problems:#?}");
        };
        assert!(
            problem.starts_with(&format!("{named} ")),
            "{name}={value}: {problem}"
        );
        assert!(problem.contains(what), "{name}={value}: {problem}");
        assert!(
            problem.contains("; set it in the environment, or in config/production.toml under ["),
            "{problem}"
        );
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = Settings::load(Environment::Production, None, []).expect_err("nothing is set");
    let named: Vec<_> = error
        .problems()
        .iter()
        .filter_map(|problem| problem.key())
        .collect();
    let expected = [
        "http.public_url",
        "database.url",
        "stripe.secret_key",
        "stripe.webhook_secrets",
        "auth.hs256_secret",
        "auth.issuer",
        "auth.audience",
        "client.success_url",
        "client.cancel_url",
        "client.error_url",
    ];
    assert_eq!(named, expected);
    assert_eq!(error.to_string().lines().count(), expected.len());
}

#[test]
fn a_bad_value_hides_no_problem_of_its_section() {
    let problems = problems(
        Environment::Production,
        &[
            ("DUES__HTTP__METRICS_LISTEN", "9090"),
            ("DUES__HTTP__MAX_CONNECTIONS", "0"),
            ("DUES__CLOCK__FOLLOW", "nowhere"),
        ],
    );
    for name in ["METRICS_LISTEN", "MAX_CONNECTIONS", "CLOCK__FOLLOW"] {
        assert!(
            problems.iter().any(|problem| problem.contains(name)),
            "{name}: {problems:?}"
        );
    }
    let of_the_clock = problems.iter().filter(|problem| problem.contains("CLOCK"));
    assert_eq!(of_the_clock.count(), 2, "{problems:?}");
}

#[test]
fn a_live_key_is_sent_to_nobody_but_stripe() {
    let live = ("DUES__STRIPE__SECRET_KEY", "rk_live_0123");
    let problems = problems(
        Environment::Production,
        &[live, ("DUES__STRIPE__API_BASE", "http://127.0.0.1:12111")],
    );
    assert!(
        problems[0].starts_with("DUES__STRIPE__API_BASE is not Stripe's"),
        "{problems:?}"
    );
    for base in ["https://api.stripe.com", "https://api.stripe.com/"] {
        let settings = load(
            Environment::Production,
            &[live, ("DUES__STRIPE__API_BASE", base)],
        );
        assert!(settings.is_ok_and(|settings| settings.livemode()));
    }
}

#[test]
fn public_keys_come_by_https_or_from_this_machine() {
    let with = |url| {
        load(
            Environment::Production,
            &[
                ("DUES__AUTH__HS256_SECRET", ""),
                ("DUES__AUTH__JWKS_URL", url),
            ],
        )
    };
    for url in [
        "https://login.example.org/jwks",
        "http://127.0.0.1:9/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
    ] {
        assert!(
            matches!(with(url), Ok(settings) if matches!(settings.auth.key, AuthKey::Jwks(_))),
            "{url}"
        );
    }
    for url in [
        "http://login.example.org/jwks",
        "http://localhost.example.org/jwks",
        "http://10.0.0.1/jwks",
    ] {
        let error = with(url).expect_err("not https");
        assert!(
            error
                .to_string()
                .starts_with("DUES__AUTH__JWKS_URL is not https"),
            "{error}"
        );
    }
}

#[test]
fn development_may_follow_a_clock_and_accept_any_issuer() {
    let settings = load(
        Environment::Development,
        &[
            ("DUES__CLOCK__FOLLOW", "http://127.0.0.1:12111"),
            ("DUES__AUTH__ISSUER", ""),
            ("DUES__AUTH__AUDIENCE", ""),
        ],
    );
    assert!(settings.is_ok_and(|settings| settings.clock.follow.is_some()));
}

#[test]
fn lists_are_separated_by_commas() {
    let settings = load(
        Environment::Production,
        &[(
            "DUES__STRIPE__WEBHOOK_SECRETS",
            "whsec_the_new_one, whsec_the_old_one,",
        )],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let secrets: Vec<_> = settings
        .stripe
        .webhook_secrets
        .iter()
        .map(Secret::expose)
        .collect();
    assert_eq!(secrets, ["whsec_the_new_one", "whsec_the_old_one"]);
}

#[test]
fn a_secret_of_digits_stays_as_it_is_written() {
    let secret = "00123456789012345678901234567890";
    let settings = load(
        Environment::Production,
        &[("DUES__AUTH__HS256_SECRET", secret)],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(settings.auth.key, AuthKey::Hs256(key) if key.expose() == secret));
}

#[test]
fn the_database_url_of_the_platform_is_honoured_and_ours_wins() {
    let platform = ("DATABASE_URL", "postgres://platform/dues");
    let mut variables = good();
    variables.remove("DUES__DATABASE__URL");
    variables.insert(platform.0.to_owned(), platform.1.to_owned());
    let settings = Settings::load(Environment::Production, None, variables)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.database.url.expose(), platform.1);
    let settings =
        load(Environment::Production, &[platform]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.database.url.expose(), "postgres://localhost/dues");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let settings = load(
        Environment::Production,
        &[("DUES__DATABASE__URL", "postgres://dues:pa55word@db/dues")],
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let text = format!("{settings:?}");
    for secret in [
        "pa55word",
        "sk_test_sandbox",
        crate::harness::WEBHOOK_SECRET,
        crate::harness::TOKEN_SECRET,
    ] {
        assert!(!text.contains(secret), "{secret} shows");
    }
}

#[test]
fn the_file_of_the_environment_overrides_the_defaults_and_variables_override_the_file() {
    let directory = scratch("[http]\nlisten = \"127.0.0.1:1111\"\nmax_concurrency = 7\n");
    let mut variables = good();
    variables.insert("DUES__HTTP__LISTEN".to_owned(), "127.0.0.1:2222".to_owned());
    let settings = Settings::load(Environment::Production, Some(&directory), variables)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.http.listen.port(), 2222);
    assert_eq!(settings.http.max_concurrency, 7);
}

#[test]
fn a_broken_file_is_named_without_the_line_that_may_hold_a_secret() {
    let directory = scratch("[stripe]\nsecret_key = sk_test_unquoted\n");
    let error =
        Settings::load(Environment::Production, Some(&directory), good()).expect_err("not TOML");
    let text = error.to_string();
    assert!(text.contains("production.toml is not TOML"), "{text}");
    assert!(!text.contains("unquoted"), "{text}");
}

#[test]
fn every_shipped_file_is_accepted() {
    let directory = in_project("config");
    let development = Settings::load(Environment::Development, Some(&directory), [])
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(!development.livemode());
    // It listens to everybody, so the metrics must have a port of their own.
    let metrics = ("DUES__HTTP__METRICS_LISTEN", "127.0.0.1:9090");
    let mut variables = good();
    variables.insert(metrics.0.to_owned(), metrics.1.to_owned());
    let production = Settings::load(Environment::Production, Some(&directory), variables)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(production.http.listen.ip().is_unspecified());
    let plans =
        std::fs::read_to_string(directory.join("plans.toml")).expect("the plans are shipped");
    let plans: toml::Table = plans.parse().unwrap_or_else(|error| panic!("{error}"));
    assert!(plans.contains_key("plan"));
}

/// A configuration directory of its own, whose file for production says this; it stays in the target directory.
fn scratch(production: &str) -> std::path::PathBuf {
    let name = std::thread::current()
        .name()
        .unwrap_or("settings")
        .replace("::", "-");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&directory).expect("a directory for scratch files");
    std::fs::write(directory.join("production.toml"), production).expect("a scratch file");
    directory
}

#[test]
fn what_comes_with_a_newline_is_taken_without_it() {
    let changes = [
        ("DUES__STRIPE__SECRET_KEY", "sk_test_0123\n"),
        ("DUES__STRIPE__WEBHOOK_SECRETS", " whsec_0123456789abcdef\n"),
        ("DUES__STRIPE__API_BASE", "https://api.stripe.com\r\n"),
        ("DUES__AUTH__ISSUER", "https://login.example.org\n"),
        ("DUES__HTTP__MAX_CONCURRENCY", "7\n"),
    ];
    let settings =
        load(Environment::Production, &changes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.stripe.secret_key.expose(), "sk_test_0123");
    assert_eq!(
        settings.stripe.webhook_secrets[0].expose(),
        "whsec_0123456789abcdef"
    );
    assert_eq!(
        settings.auth.issuer.as_deref(),
        Some("https://login.example.org")
    );
    assert_eq!(settings.http.max_concurrency, 7);
}

#[test]
fn what_must_not_pass_in_an_environment_stops_the_start_with_a_sentence() {
    use Environment::{Development, Production};
    let published = "a development secret that everyone may know";
    let cases = [
        (
            Development,
            "DUES__STRIPE__SECRET_KEY",
            "sk_live_0123",
            "is a live key, but in development",
        ),
        (
            Production,
            "DUES__STRIPE__SECRET_KEY",
            "sk_test_01 23",
            "does not look like",
        ),
        (
            Production,
            "DUES__STRIPE__WEBHOOK_SECRETS",
            "whsec_development",
            "stands in the sources",
        ),
        (
            Production,
            "DUES__STRIPE__WEBHOOK_SECRETS",
            "whsec_a",
            "too short",
        ),
        (
            Production,
            "DUES__AUTH__HS256_SECRET",
            published,
            "stands in the sources",
        ),
        (
            Production,
            "DUES__HTTP__LISTEN",
            "0.0.0.0:8080",
            "anybody can read them",
        ),
        (
            Production,
            "DUES__LIFECYCLE__GRACE_DAYS",
            "0",
            "is not a number of days",
        ),
        (
            Production,
            "DUES__LIFECYCLE__GRACE_DAYS",
            "soon",
            "is not a number of days",
        ),
    ];
    for (environment, name, value, what) in cases {
        let told = problems(environment, &[(name, value)]);
        assert_eq!(told.len(), 1, "{name}={value}: {told:?}");
        assert!(told[0].contains(what), "{name}={value}: {told:?}");
    }
    let private = [
        ("DUES__HTTP__LISTEN", "0.0.0.0:8080"),
        ("DUES__HTTP__METRICS_LISTEN", "127.0.0.1:9090"),
    ];
    load(Production, &private).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_value_of_the_wrong_type_hides_no_other_problem() {
    let changes = [
        ("DUES__HTTP__MAX_CONCURRENCY", "many"),
        ("DUES__HTTP__LISTEN", "8080"),
        ("DUES__DATABASE__MAX_CONNECTIONS", "some"),
        ("DUES__DATABASE__MIGRATED", "true"),
        ("DUES__STRIPE__SECRET_KEY", "pk_test_0123"),
    ];
    let told = problems(Environment::Production, &changes);
    assert_eq!(told.len(), changes.len(), "{told:#?}");
    for (name, _) in changes {
        assert!(
            told.iter().any(|problem| problem.contains(name)),
            "{name} in {told:#?}"
        );
    }
}

#[test]
fn the_usual_name_of_the_database_counts_where_ours_is_empty() {
    let changes = [
        ("DUES__DATABASE__URL", ""),
        ("DATABASE_URL", "postgres://localhost/usual"),
    ];
    let settings =
        load(Environment::Production, &changes).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.database.url.expose(), "postgres://localhost/usual");
}
