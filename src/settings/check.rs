//! From settings as written to settings as used: every rule once, every broken one reported.

mod checkout;
mod console;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::filter::LevelFilter;
use url::Url;

use super::raw::{self, Raw};
use super::{
    Auth, AuthKey, CatalogueSettings, Changes, Client, ClockSettings, Database, Environment, Feed,
    Followers, Http, Lifecycle, Log, LogFormat, Mosaic, Plans, Portal, Problem, Proration, Secret,
    Settings, SettingsError, Stripe, Worker, is_live_key, is_loopback,
};

/// Stripe's own API; a live key is sent nowhere else.
const STRIPE_API: &str = "https://api.stripe.com/";
/// HS256 wants a key as long as its hash (RFC 7518, section 3.2).
const HS256_SECRET_BYTES: usize = 32;
/// Stripe repeats an event for 30 days; one that we have forgotten by then would be applied again.
const PURGE_AFTER_DAYS: u32 = 31;

/// The files of ours that hold secrets which everyone may know.
const PUBLISHED: [&str; 2] = [
    include_str!("../../config/development.toml"),
    include_str!("../../config/playground.env"),
];
/// Stripe's have 32 after `whsec_`; whoever typed one has fewer.
const WEBHOOK_SECRET_CHARACTERS: usize = 8;
/// Nobody guesses one of so many.
const FEED_TOKEN_BYTES: usize = 32;
/// Where followers are named, if the file is there.
const FOLLOWERS_FILE: &str = "config/followers.toml";
/// Longer than any two renewals lie apart.
const MAX_GRACE_DAYS: u16 = 3650;

/// Checks every section, so that one start reports all that is wrong, beside what was wrong with values already.
pub(super) fn check(
    environment: Environment,
    raw: Raw,
    problems: Vec<Problem>,
) -> Result<Settings, SettingsError> {
    let mut check = Check {
        environment,
        problems,
    };
    let http = check.http(&raw.http, raw.stripe.total_timeout_ms);
    let database = check.database(raw.database);
    let stripe = check.stripe(raw.stripe);
    let auth = check.auth(raw.auth);
    let client = check.client(&raw.client);
    let plans = check.plans(raw.plans);
    let checkout = check.checkout(raw.checkout);
    let changes = check.changes(&raw.changes);
    let portal = check.portal(raw.portal);
    let lifecycle = check.lifecycle(&raw.lifecycle);
    let feed = check.feed(raw.feed);
    let followers = followers(raw.followers);
    let mosaic = Mosaic {
        compatible_routes: raw.mosaic.compatible_routes,
    };
    let console = auth
        .as_ref()
        .and_then(|auth| check.console(raw.console, auth));
    let worker = check.worker(&raw.worker);
    let clock = check.clock(raw.clock);
    let log = check.log(raw.log);
    let settings = (|| {
        Some(Settings {
            environment,
            http: http?,
            database: database?,
            stripe: stripe?,
            auth: auth?,
            client: client?,
            plans,
            checkout,
            changes: changes?,
            portal,
            lifecycle,
            feed,
            followers,
            mosaic,
            console: console?,
            worker,
            clock: clock?,
            log: log?,
        })
    })();
    match settings {
        Some(settings) if check.problems.is_empty() => Ok(settings),
        _ => Err(SettingsError {
            problems: check.problems,
        }),
    }
}

/// The one address that a health check needs.
pub(super) fn listen_address(
    environment: Environment,
    raw: &Raw,
) -> Result<SocketAddr, SettingsError> {
    let mut check = Check {
        environment,
        problems: Vec::new(),
    };
    check
        .address("http.listen", &raw.http.listen)
        .ok_or(SettingsError {
            problems: check.problems,
        })
}

/// What is wrong with values of these sections; the others are somebody else's business.
fn within(mut problems: Vec<Problem>, sections: &[&str]) -> Vec<Problem> {
    problems.retain(|problem| {
        let key = problem.at.as_ref().map(|(key, _)| key.as_str());
        let section = key.and_then(|key| key.split('.').next());
        section.is_none_or(|section| sections.contains(&section))
    });
    problems
}

/// The one section that a migration needs.
pub(super) fn database(
    environment: Environment,
    raw: raw::Database,
    problems: Vec<Problem>,
) -> Result<Database, SettingsError> {
    let mut check = Check {
        environment,
        problems: within(problems, &["database"]),
    };
    match check.database(raw) {
        Some(database) if check.problems.is_empty() => Ok(database),
        _ => Err(SettingsError {
            problems: check.problems,
        }),
    }
}

/// What the catalogue needs; webhooks are not its business.
pub(super) fn catalogue(
    environment: Environment,
    mut raw: Raw,
    problems: Vec<Problem>,
) -> Result<CatalogueSettings, SettingsError> {
    raw.stripe.webhook_secrets = vec!["whsec_unused_by_the_catalogue".to_owned()];
    let mut check = Check {
        environment,
        problems: within(problems, &["stripe", "plans", "checkout"]),
    };
    let stripe = check.stripe(raw.stripe);
    let plans = check.plans(raw.plans);
    match stripe {
        Some(stripe) if check.problems.is_empty() => Ok(CatalogueSettings {
            stripe,
            plans,
            automatic_tax: raw.checkout.automatic_tax,
        }),
        _ => Err(SettingsError {
            problems: check.problems,
        }),
    }
}

/// What the file says is checked where it is read.
fn followers(raw: raw::Followers) -> Followers {
    let usual = PathBuf::from(FOLLOWERS_FILE);
    let file = raw.file.map(PathBuf::from);
    Followers {
        file: file.or_else(|| usual.exists().then_some(usual)),
        variables: HashMap::new(),
    }
}

/// Whether a secret stands in one of our own files.
fn is_published(secret: &str) -> bool {
    let words = |file: &'static str| file.split(['"', '=', '\n']);
    PUBLISHED
        .iter()
        .any(|file| words(file).any(|word| word == secret))
}

struct Check {
    environment: Environment,
    problems: Vec<Problem>,
}

impl Check {
    fn http(&mut self, raw: &raw::Http, stripe_total_timeout_ms: u64) -> Option<Http> {
        let listen = self.address("http.listen", &raw.listen);
        let public_url = self.public_url("http.public_url", raw.public_url.as_deref());
        if let Some(url) = &public_url
            && (url.path() != "/" || url.query().is_some() || url.fragment().is_some())
        {
            self.problem(
                "http.public_url",
                "has a path or a query: name the origin alone",
            );
        }
        let metrics_listen = raw
            .metrics_listen
            .as_ref()
            .map(|text| self.address("http.metrics_listen", text).ok_or(()));
        let is_public = listen
            .as_ref()
            .is_some_and(|address| !address.ip().is_loopback());
        if is_public && metrics_listen.is_none() && self.environment == Environment::Production {
            self.problem(
                "http.metrics_listen",
                "is missing: without a port of their own the metrics are on http.listen, where anybody can read them",
            );
        }
        self.at_least("http.body_limit_bytes", raw.body_limit_bytes as u64, 1024);
        self.at_least(
            "http.member_requests_per_minute",
            raw.member_requests_per_minute.into(),
            1,
        );
        self.at_least("http.max_connections", raw.max_connections as u64, 1);
        self.at_least("http.max_concurrency", raw.max_concurrency as u64, 1);
        if raw.request_timeout_ms <= stripe_total_timeout_ms {
            self.problem(
                "http.request_timeout_ms",
                "is not longer than stripe.total_timeout_ms, so requests would be cut off while Stripe still answers",
            );
        }
        Some(Http {
            listen: listen?,
            public_url: public_url?,
            metrics_listen: metrics_listen.transpose().ok()?,
            body_limit_bytes: raw.body_limit_bytes,
            request_timeout: Duration::from_millis(raw.request_timeout_ms),
            max_concurrency: raw.max_concurrency,
            member_requests_per_minute: raw.member_requests_per_minute,
            max_connections: raw.max_connections,
            drain: Duration::from_secs(raw.drain_seconds),
            shutdown: Duration::from_secs(raw.shutdown_seconds),
        })
    }

    fn database(&mut self, raw: raw::Database) -> Option<Database> {
        let url = self.required("database.url", raw.url);
        if let Some(url) = &url
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            self.problem("database.url", "does not begin with postgres://");
        }
        self.at_least("database.max_connections", raw.max_connections.into(), 2);
        self.at_least("database.acquire_timeout_ms", raw.acquire_timeout_ms, 1);
        Some(Database {
            url: Secret::new(url?),
            max_connections: raw.max_connections,
            acquire_timeout: Duration::from_millis(raw.acquire_timeout_ms),
            migrate: raw.migrate,
        })
    }

    fn stripe(&mut self, raw: raw::Stripe) -> Option<Stripe> {
        let secret_key = self.required("stripe.secret_key", raw.secret_key);
        let api_base = self.web_url("stripe.api_base", &raw.api_base);
        if let Some(key) = &secret_key {
            self.stripe_key(key, api_base.as_ref());
        }
        if raw.webhook_secrets.is_empty() {
            self.problem("stripe.webhook_secrets", "is missing: one secret at least");
        }
        if let Some(what) = raw
            .webhook_secrets
            .iter()
            .find_map(|secret| self.wrong_secret(secret))
        {
            self.problem("stripe.webhook_secrets", what);
        }
        if raw.api_version.trim().is_empty() {
            self.problem("stripe.api_version", "is empty");
        }
        // https://docs.stripe.com/api/metadata
        if raw.metadata_key.is_empty()
            || raw.metadata_key.len() > 40
            || raw.metadata_key.contains(['[', ']'])
        {
            self.problem(
                "stripe.metadata_key",
                "must have 1 to 40 characters, none of them [ or ]",
            );
        }
        if ["dues_checkout_id", "dues_user_id"].contains(&raw.metadata_key.as_str()) {
            self.problem(
                "stripe.metadata_key",
                "is a key that Dues uses for something else",
            );
        }
        self.at_least("stripe.connect_timeout_ms", raw.connect_timeout_ms, 1);
        self.at_least("stripe.timeout_ms", raw.timeout_ms, 1);
        self.at_least(
            "stripe.total_timeout_ms",
            raw.total_timeout_ms,
            raw.timeout_ms,
        );
        self.at_least(
            "stripe.webhook_tolerance_seconds",
            raw.webhook_tolerance_seconds,
            1,
        );
        self.at_least(
            "stripe.requests_per_second",
            raw.requests_per_second.into(),
            2,
        );
        Some(Stripe {
            secret_key: Secret::new(secret_key?),
            api_base: api_base?,
            api_version: raw.api_version,
            webhook_secrets: raw.webhook_secrets.into_iter().map(Secret::new).collect(),
            webhook_tolerance: Duration::from_secs(raw.webhook_tolerance_seconds),
            metadata_key: raw.metadata_key,
            connect_timeout: Duration::from_millis(raw.connect_timeout_ms),
            timeout: Duration::from_millis(raw.timeout_ms),
            total_timeout: Duration::from_millis(raw.total_timeout_ms),
            max_retries: raw.max_retries,
            snapshot_margin: Duration::from_secs(raw.snapshot_margin_seconds),
            requests_per_second: raw.requests_per_second,
            send_email: raw.send_email,
        })
    }

    /// What is wrong with a signing secret.
    fn wrong_secret(&self, secret: &str) -> Option<&'static str> {
        let rest = secret.strip_prefix("whsec_").unwrap_or_default();
        let is_production = self.environment == Environment::Production;
        if rest.is_empty() {
            Some("has an entry that does not look like whsec_…")
        } else if is_production && is_published(secret) {
            Some(
                "has a secret that stands in the sources of Dues, so that anybody can sign with it",
            )
        } else if is_production && rest.len() < WEBHOOK_SECRET_CHARACTERS {
            Some(
                "has an entry that is too short to be a secret: Stripe shows it beside the endpoint",
            )
        } else {
            None
        }
    }

    fn stripe_key(&mut self, key: &str, api_base: Option<&Url>) {
        const PREFIXES: [&str; 4] = ["sk_test_", "rk_test_", "sk_live_", "rk_live_"];
        if !PREFIXES.iter().any(|prefix| {
            key.strip_prefix(prefix).is_some_and(|rest| {
                !rest.is_empty()
                    && rest
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
        }) {
            self.problem(
                "stripe.secret_key",
                "does not look like a secret or restricted key (sk_test_…, sk_live_…, rk_test_…, rk_live_…)",
            );
        }
        if is_live_key(key) && self.environment == Environment::Development {
            self.problem(
                "stripe.secret_key",
                "is a live key, but in development anybody can have a token (dues token): set DUES_ENV=production",
            );
        }
        if is_live_key(key) && api_base.is_some_and(|base| base.as_str() != STRIPE_API) {
            self.problem(
                "stripe.api_base",
                "is not Stripe's, but stripe.secret_key is a live key, which is sent to nobody else",
            );
        }
    }

    fn auth(&mut self, raw: raw::Auth) -> Option<Auth> {
        let key = match (raw.hs256_secret, raw.jwks_url) {
            (Some(secret), None) => {
                if secret.len() < HS256_SECRET_BYTES {
                    self.problem(
                        "auth.hs256_secret",
                        format!(
                            "is {} bytes long, shorter than {HS256_SECRET_BYTES}",
                            secret.len()
                        ),
                    );
                }
                if self.environment == Environment::Production && is_published(&secret) {
                    self.problem(
                        "auth.hs256_secret",
                        "stands in the sources of Dues, so that anybody can make tokens with it",
                    );
                }
                Some(AuthKey::Hs256(Secret::new(secret)))
            }
            (None, Some(url)) => {
                let url = self.web_url("auth.jwks_url", &url);
                if url.as_ref().is_some_and(|url| !is_safe(url)) {
                    self.problem("auth.jwks_url", "is not https");
                }
                url.map(AuthKey::Jwks)
            }
            (Some(_), Some(_)) => {
                self.problem(
                    "auth.hs256_secret",
                    "is set, and auth.jwks_url too: set one of the two",
                );
                None
            }
            (None, None) => {
                self.problem(
                    "auth.hs256_secret",
                    "is missing, and auth.jwks_url too: set one of the two",
                );
                None
            }
        };
        if self.environment == Environment::Production {
            self.required("auth.issuer", raw.issuer.clone());
            self.required("auth.audience", raw.audience.clone());
        }
        for (name, value) in [
            ("auth.roles_claim", &raw.roles_claim),
            ("auth.operator_role", &raw.operator_role),
            ("auth.reader_role", &raw.reader_role),
            ("auth.support_role", &raw.support_role),
            ("auth.treasurer_role", &raw.treasurer_role),
            ("auth.service_role", &raw.service_role),
        ] {
            if value.trim().is_empty() {
                self.problem(name, "is empty");
            }
        }
        Some(Auth {
            key: key?,
            issuer: raw.issuer,
            audience: raw.audience,
            roles_claim: raw.roles_claim,
            operator_role: raw.operator_role,
            reader_role: raw.reader_role,
            support_role: raw.support_role,
            treasurer_role: raw.treasurer_role,
            service_role: raw.service_role,
            member_claim: None,
        })
    }

    fn client(&mut self, raw: &raw::Client) -> Option<Client> {
        let success_url = self.public_url("client.success_url", raw.success_url.as_deref());
        let cancel_url = self.public_url("client.cancel_url", raw.cancel_url.as_deref());
        let error_url = self.public_url("client.error_url", raw.error_url.as_deref());
        let portal_return_url = match &raw.portal_return_url {
            Some(text) => self.public_url("client.portal_return_url", Some(text)),
            None => success_url.clone(),
        };
        let mut allowed_origins = Vec::new();
        for origin in &raw.allowed_origins {
            let parsed = Url::parse(origin).ok().as_ref().map(Url::origin);
            match parsed.filter(url::Origin::is_tuple) {
                Some(parsed) if parsed.ascii_serialization() == *origin => {
                    allowed_origins.push(origin.clone());
                }
                _ => self.problem(
                    "client.allowed_origins",
                    format!("has the entry {origin:?}, which is not an origin such as https://app.example.org"),
                ),
            }
        }
        Some(Client {
            success_url: success_url?,
            cancel_url: cancel_url?,
            error_url: error_url?,
            portal_return_url: portal_return_url?,
            allowed_origins,
        })
    }

    fn plans(&mut self, raw: raw::Plans) -> Plans {
        if raw.file.trim().is_empty() {
            self.problem("plans.file", "is empty");
        }
        Plans {
            file: PathBuf::from(raw.file),
            refresh: Duration::from_secs(raw.refresh_seconds),
        }
    }

    fn changes(&mut self, raw: &raw::Changes) -> Option<Changes> {
        let proration = match raw.proration.as_str() {
            "always_invoice" => Proration::AlwaysInvoice,
            "create_prorations" => Proration::CreateProrations,
            "none" => Proration::None,
            _ => {
                self.problem(
                    "changes.proration",
                    "is none of always_invoice, create_prorations and none",
                );
                return None;
            }
        };
        Some(Changes { proration })
    }

    fn portal(&mut self, raw: raw::Portal) -> Portal {
        let configuration = raw.configuration;
        if configuration
            .as_ref()
            .is_some_and(|id| !id.starts_with("bpc_"))
        {
            self.problem(
                "portal.configuration",
                "does not look like the id of a configuration (bpc_…)",
            );
        }
        Portal { configuration }
    }

    fn feed(&mut self, raw: raw::Feed) -> Feed {
        if raw
            .tokens
            .iter()
            .any(|token| token.len() < FEED_TOKEN_BYTES)
        {
            let what = format!("has one that is shorter than {FEED_TOKEN_BYTES} characters");
            self.problem("feed.tokens", &what);
        }
        self.at_least("feed.keep_days", raw.keep_days.into(), 1);
        Feed {
            tokens: raw.tokens.into_iter().map(Secret::new).collect(),
            keep: time::Duration::days(raw.keep_days.into()),
        }
    }

    fn lifecycle(&mut self, raw: &raw::Lifecycle) -> Lifecycle {
        let days = raw.grace_days.as_deref().map(|text| {
            let days: Option<u16> = text.trim().parse().ok();
            days.filter(|days| (1..=MAX_GRACE_DAYS).contains(days))
        });
        if days == Some(None) {
            self.problem(
                "lifecycle.grace_days",
                format!("is not a number of days from 1 to {MAX_GRACE_DAYS}; empty means for ever"),
            );
        }
        Lifecycle {
            grace: days.flatten().map(|days| time::Duration::days(days.into())),
        }
    }

    fn worker(&mut self, raw: &raw::Worker) -> Worker {
        self.at_least("worker.interval_ms", raw.interval_ms, 10);
        self.at_least("worker.concurrency", raw.concurrency as u64, 1);
        self.at_least("worker.batch", raw.batch.into(), 1);
        self.at_least("worker.max_attempts", raw.max_attempts.into(), 1);
        self.at_least(
            "worker.reconcile_interval_seconds",
            raw.reconcile_interval_seconds,
            1,
        );
        self.at_least(
            "worker.compare_interval_seconds",
            raw.compare_interval_seconds,
            1,
        );
        self.at_least(
            "worker.purge_after_days",
            raw.purge_after_days.into(),
            PURGE_AFTER_DAYS.into(),
        );
        Worker {
            interval: Duration::from_millis(raw.interval_ms),
            concurrency: raw.concurrency,
            batch: raw.batch,
            max_attempts: raw.max_attempts,
            reconcile_interval: Duration::from_secs(raw.reconcile_interval_seconds),
            compare_interval: Duration::from_secs(raw.compare_interval_seconds),
            compare_mends: raw.compare_mends,
            purge_after_days: raw.purge_after_days,
        }
    }

    fn clock(&mut self, raw: raw::Clock) -> Option<ClockSettings> {
        let follow = raw
            .follow
            .map(|url| self.web_url("clock.follow", &url).ok_or(()));
        if follow.is_some() && self.environment == Environment::Production {
            self.problem(
                "clock.follow",
                "is set, but in production time is never moved",
            );
        }
        Some(ClockSettings {
            follow: follow.transpose().ok()?,
        })
    }

    fn log(&mut self, raw: raw::Log) -> Option<Log> {
        if !raw.level.split(',').all(is_directive) {
            self.problem(
                "log.level",
                "is neither a level nor a list of directives such as info,dues=debug",
            );
        }
        let format = match raw.format.as_str() {
            "json" => Some(LogFormat::Json),
            "pretty" => Some(LogFormat::Pretty),
            _ => {
                self.problem("log.format", "is neither json nor pretty");
                None
            }
        };
        Some(Log {
            level: raw.level,
            format: format?,
        })
    }

    fn problem(&mut self, key: &str, what: impl Into<String>) {
        let (problem, what) = (Problem::at(self.environment, key, ""), what.into());
        // A value that could not be taken is not missing as well.
        let is_known = self.problems.iter().any(|known| known.at == problem.at);
        if !is_known || !what.starts_with("is missing") {
            self.problems.push(Problem { what, ..problem });
        }
    }

    fn required(&mut self, key: &str, value: Option<String>) -> Option<String> {
        if value.is_none() {
            self.problem(key, "is missing");
        }
        value
    }

    fn at_least(&mut self, key: &str, value: u64, least: u64) {
        if value < least {
            self.problem(key, format!("is {value}, less than {least}"));
        }
    }

    fn address(&mut self, key: &str, text: &str) -> Option<SocketAddr> {
        let address = text.parse().ok();
        if address.is_none() {
            self.problem(key, "is not an address with a port, such as 127.0.0.1:8080");
        }
        address
    }

    fn web_url(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if url.is_none() {
            self.problem(key, "is not an absolute http or https URL");
        }
        url
    }

    /// A URL that browsers visit: required, and in production https unless it stays on this machine.
    fn public_url(&mut self, key: &str, text: Option<&str>) -> Option<Url> {
        let Some(text) = text else {
            self.problem(key, "is missing");
            return None;
        };
        let url = self.web_url(key, text)?;
        if self.environment == Environment::Production && !is_safe(&url) {
            self.problem(key, "is not https, which production wants");
        }
        Some(url)
    }
}

/// A level, or a module with a level. The log itself would also take a bare module, and so a misspelt level.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.split_once('=').unwrap_or(("dues", text));
    !target.trim().is_empty() && level.trim().parse::<LevelFilter>().is_ok()
}

fn is_safe(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}
