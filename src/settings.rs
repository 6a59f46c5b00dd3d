//! Typed settings, checked at start.
//!
//! They come from `config/default.toml` (compiled in: it is the manual), then `config/{environment}.toml`, then the
//! environment. Whatever is wrong is reported at once, each problem in one sentence that names the setting and where
//! to set it; after [`Settings::load`] nobody checks again.

mod check;
mod raw;
mod secret;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

pub use self::secret::Secret;

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which rules apply: production is strict.
    pub environment: Environment,
    /// The HTTP server.
    pub http: Http,
    /// The database.
    pub database: Database,
    /// Stripe's API and webhooks.
    pub stripe: Stripe,
    /// Members' tokens.
    pub auth: Auth,
    /// The client app.
    pub client: Client,
    /// The catalogue.
    pub plans: Plans,
    /// Checkouts.
    pub checkout: Checkout,
    /// Changes of plan and quantity.
    pub changes: Changes,
    /// Stripe's customer portal.
    pub portal: Portal,
    /// What time does to a purchase.
    pub lifecycle: Lifecycle,
    /// What other services follow.
    pub feed: Feed,
    /// Who is told of what has changed.
    pub followers: Followers,
    /// What those find here who come from the payment connector of Mosaic Billing.
    pub mosaic: Mosaic,
    /// The operators' console.
    pub console: Console,
    /// Work that no request waits for.
    pub worker: Worker,
    /// The clock.
    pub clock: ClockSettings,
    /// The log.
    pub log: Log,
}

/// Where the service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine, a demo or a test: tokens may be minted, the clock may follow a sandbox.
    Development,
    /// Anywhere with real members.
    Production,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Http {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where browsers and Stripe reach the service; without query or fragment.
    pub public_url: Url,
    /// Address for `/metrics` alone; `None` puts it on the main port.
    pub metrics_listen: Option<SocketAddr>,
    /// Longest request body, in bytes.
    pub body_limit_bytes: usize,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Requests worked on at once.
    pub max_concurrency: usize,
    /// Requests of one member a minute, of those that cost calls to Stripe.
    pub member_requests_per_minute: u32,
    /// Connections held open at once.
    pub max_connections: usize,
    /// Time for which the service still answers after a signal to stop, while it says that it is not ready.
    pub drain: Duration,
    /// Time that requests under way have after a signal to stop.
    pub shutdown: Duration,
}

/// The database.
#[derive(Clone, Debug)]
pub struct Database {
    /// `postgres://…`, with the password.
    pub url: Secret,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Whether `serve` runs pending migrations.
    pub migrate: bool,
}

/// Stripe's API and webhooks.
#[derive(Clone, Debug)]
pub struct Stripe {
    /// A secret or restricted key.
    pub secret_key: Secret,
    /// Base of the API, without the version's path.
    pub api_base: Url,
    /// Value of the header `Stripe-Version`.
    pub api_version: String,
    /// Signing secrets of the webhook endpoint; at least one.
    pub webhook_secrets: Vec<Secret>,
    /// How far a signature's time may lie from ours, either way.
    pub webhook_tolerance: Duration,
    /// Metadata key that holds the internal subscription's id.
    pub metadata_key: String,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time for one attempt.
    pub timeout: Duration,
    /// Longest time for one call with all its attempts.
    pub total_timeout: Duration,
    /// Attempts after the first.
    pub max_retries: u32,
    /// How much newer than the stored state an event must be to be trusted without a live read.
    pub snapshot_margin: Duration,
    /// Calls to Stripe a second of this process, at most; a fifth of them is kept for work in the background.
    pub requests_per_second: u32,
    /// Whether the token's e-mail is passed on to Stripe.
    pub send_email: bool,
}

/// Members' tokens.
#[derive(Clone, Debug)]
pub struct Auth {
    /// What verifies a signature.
    pub key: AuthKey,
    /// What the claim `iss` must be; `None` accepts any, in development only.
    pub issuer: Option<String>,
    /// What the claim `aud` must contain; `None` accepts any, in development only.
    pub audience: Option<String>,
    /// Name of the claim that lists roles; a dot descends into an object.
    pub roles_claim: String,
    /// The role of an operator, who may everything.
    pub operator_role: String,
    /// The role of an operator who may look at everything but names.
    pub reader_role: String,
    /// The role of an operator who may act on what one member holds.
    pub support_role: String,
    /// The role of an operator who may move money.
    pub treasurer_role: String,
    /// The role of other services, which follow the feed.
    pub service_role: String,
    /// Of operators with a login of their own: the claim that says who she is as a member.
    pub member_claim: Option<String>,
}

/// The operators' console, and how they sign in.
#[derive(Clone, Debug)]
pub struct Console {
    /// Whether its pages are served, at `/console/`.
    pub enabled: bool,
    /// The operators' own login; `None` takes the members' tokens, with a role.
    pub login: Option<Login>,
    /// Codes of the reasons that an operator may give.
    pub reasons: Vec<String>,
}

/// A login that speaks `OpenID` Connect.
#[derive(Clone, Debug)]
pub struct Login {
    /// What verifies its access tokens.
    pub auth: Auth,
    /// Its address.
    pub issuer: Url,
    /// What the console is called there.
    pub client_id: String,
    /// What the console asks for.
    pub scope: String,
    /// Origins that the pages must reach to sign in, as browsers write them.
    pub origins: Vec<String>,
}

/// What verifies a token's signature: the settings choose, never the token.
#[derive(Clone, Debug)]
pub enum AuthKey {
    /// A shared secret of 32 bytes or more.
    Hs256(Secret),
    /// Address of the issuer's public keys.
    Jwks(Url),
}

/// The client app.
#[derive(Clone, Debug)]
pub struct Client {
    /// Page after a paid or processing checkout.
    pub success_url: Url,
    /// Page after a checkout that is still open, expired or cancelled.
    pub cancel_url: Url,
    /// Page for a return that can't be believed.
    pub error_url: Url,
    /// Page to which Stripe's customer portal leads back.
    pub portal_return_url: Url,
    /// Origins that may call from a browser, as browsers write them.
    pub allowed_origins: Vec<String>,
}

/// The catalogue.
#[derive(Clone, Debug)]
pub struct Plans {
    /// The file of plans, relative to the working directory.
    pub file: PathBuf,
    /// Age at which prices are read from Stripe again, behind the back of whoever asks.
    pub refresh: Duration,
}

/// Checkouts.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// Life of an unpaid checkout at Stripe.
    pub expires: Duration,
    /// Open checkouts that one member may have.
    pub max_open: u32,
    /// Age at which checkouts that came to nothing are deleted, in days.
    pub keep_unpaid_days: u32,
    /// Age at which a checkout without a session at Stripe is given up.
    pub orphan: Duration,
    /// What Stripe's page shows and asks for.
    pub page: CheckoutPage,
}

/// What Stripe's hosted page shows and asks for, in every checkout.
#[derive(Clone, Debug, Default)]
pub struct CheckoutPage {
    /// Whether Stripe computes tax from the buyer's address.
    pub automatic_tax: bool,
    /// Whether organisations may enter their tax ids.
    pub tax_id_collection: bool,
    /// Whether the buyer must accept the terms of service.
    pub terms_of_service: bool,
    /// The language unless the client names one; none lets the browser choose.
    pub locale: Option<String>,
    /// Sentences of the organisation's own.
    pub custom_text: CustomText,
    /// How it looks, where that differs from the account's branding.
    pub branding: Branding,
}

/// Sentences on Stripe's page, at most 1200 characters each.
#[derive(Clone, Debug, Default)]
pub struct CustomText {
    /// Beside the button that pays.
    pub submit: Option<String>,
    /// Below it.
    pub after_submit: Option<String>,
    /// In place of the usual words beside the terms of service.
    pub terms_of_service: Option<String>,
}

/// How Stripe's page looks.
#[derive(Clone, Debug, Default)]
pub struct Branding {
    /// The name at the top.
    pub display_name: Option<String>,
    /// `#rrggbb`.
    pub background_color: Option<String>,
    /// `#rrggbb`.
    pub button_color: Option<String>,
    /// `pill`, `rectangular` or `rounded`.
    pub border_style: Option<String>,
    /// One of Stripe's fonts, such as `noto_serif`.
    pub font_family: Option<String>,
    /// Of an image.
    pub logo_url: Option<Url>,
    /// Of a square image.
    pub icon_url: Option<Url>,
}

/// Changes of plan and quantity.
#[derive(Clone, Debug)]
pub struct Changes {
    /// What a change in the middle of a period costs.
    pub proration: Proration,
}

/// What a change in the middle of a period costs (Stripe's `proration_behavior`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proration {
    /// The difference, at once.
    AlwaysInvoice,
    /// The difference, with the next invoice.
    CreateProrations,
    /// Nothing.
    None,
}

/// Stripe's customer portal.
#[derive(Clone, Debug)]
pub struct Portal {
    /// `bpc_…`; `None` takes the account's own.
    pub configuration: Option<String>,
}

/// What time does to a purchase.
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    /// How long after its paid time a subscription goes on while nothing is paid; `None`: for ever.
    pub grace: Option<time::Duration>,
}

/// Work that no request waits for.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Pause between two looks for work.
    pub interval: Duration,
    /// Pieces of work done at once.
    pub concurrency: usize,
    /// Pieces of work fetched at once.
    pub batch: u32,
    /// Attempts after which a deferred event counts as failed.
    pub max_attempts: u32,
    /// Pause between two walks through Stripe's list of events.
    pub reconcile_interval: Duration,
    /// Pause between two pages of the comparison with Stripe.
    pub compare_interval: Duration,
    /// Whether that comparison mends what it finds.
    pub compare_mends: bool,
    /// Age at which settled events are deleted, in days.
    pub purge_after_days: u32,
}

/// The clock.
#[derive(Clone, Debug)]
pub struct ClockSettings {
    /// Address of the sandbox whose offset is followed.
    pub follow: Option<Url>,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A level, or `tracing` directives.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// What other services follow.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Tokens that read it, beside those of the login that name the service's role.
    pub tokens: Vec<Secret>,
    /// How long its entries are kept.
    pub keep: time::Duration,
}

/// Who is told of what has changed.
#[derive(Clone, Debug)]
pub struct Followers {
    /// The file that names them; none where nobody is told.
    pub file: Option<PathBuf>,
    /// Variables of the environment that are not settings: the file says which of them hold secrets.
    pub variables: HashMap<String, Secret>,
}

/// What those find here who come from the payment connector of Mosaic Billing.
#[derive(Clone, Copy, Debug)]
pub struct Mosaic {
    /// Whether the connector's routes answer.
    pub compatible_routes: bool,
}

/// What the catalogue needs.
#[derive(Clone, Debug)]
pub struct CatalogueSettings {
    /// Stripe's API; of the webhooks nothing is known.
    pub stripe: Stripe,
    /// The catalogue.
    pub plans: Plans,
    /// Whether Stripe computes tax.
    pub automatic_tax: bool,
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.sentences())]
pub struct SettingsError {
    problems: Vec<Problem>,
}

/// One thing that is wrong, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as `section.key`, and the environment in whose file it can be set; `None` when a whole source
    /// can't be read.
    at: Option<(String, Environment)>,
    what: String,
}

impl Settings {
    /// Reads settings the way the program does: `DUES_ENV` and `DUES_CONFIG_DIR` say where.
    pub fn from_environment() -> Result<Self, SettingsError> {
        let place = Place::of_process()?;
        Self::load(place.environment, Some(&place.directory), place.variables)
    }

    /// The same with a stand-in for the webhook secrets: before the endpoint is made at Stripe there is none.
    pub fn without_webhook_secrets() -> Result<Self, SettingsError> {
        let mut place = Place::of_process()?;
        let stand_in = ("DUES__STRIPE__WEBHOOK_SECRETS", "whsec_none_yet");
        place
            .variables
            .insert(stand_in.0.to_owned(), stand_in.1.to_owned());
        Self::load(place.environment, Some(&place.directory), place.variables)
    }

    /// The API version that this program was made for: the shipped default.
    pub fn shipped_api_version() -> String {
        raw::shipped("stripe", "api_version").unwrap_or_default()
    }

    /// Only `http.listen`, read like all settings but without a look at the others: a health check has no secrets.
    pub fn listen_address() -> Result<SocketAddr, SettingsError> {
        let place = Place::of_process()?;
        let (raw, problems) = raw::read(place.environment, Some(&place.directory), place.variables);
        // What is wrong elsewhere is not the health check's business.
        let raw = raw.ok_or(SettingsError { problems })?;
        check::listen_address(place.environment, &raw)
    }

    /// Only the database, read like all settings but without a look at the others: whoever migrates it need not hold
    /// Stripe's key.
    pub fn database() -> Result<Database, SettingsError> {
        let place = Place::of_process()?;
        let (raw, problems) = raw::read(place.environment, Some(&place.directory), place.variables);
        let Some(raw) = raw else {
            return Err(SettingsError { problems });
        };
        check::database(place.environment, raw.database, problems)
    }

    /// Only what the catalogue needs, read like all settings but without a look at the others: whoever edits the plans
    /// file has no database at hand.
    pub fn catalogue() -> Result<CatalogueSettings, SettingsError> {
        let place = Place::of_process()?;
        let (raw, problems) = raw::read(place.environment, Some(&place.directory), place.variables);
        let Some(raw) = raw else {
            return Err(SettingsError { problems });
        };
        check::catalogue(place.environment, raw, problems)
    }

    /// Reads settings from the defaults, from `{config_dir}/{environment}.toml` if that exists, and from variables
    /// named as in the environment.
    pub fn load(
        environment: Environment,
        config_dir: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let variables: HashMap<String, String> = variables.into_iter().collect();
        let others = { variables.iter() }
            .filter(|(name, _)| !name.starts_with("DUES__"))
            .map(|(name, value)| (name.clone(), Secret::new(value.trim())))
            .collect();
        let (raw, problems) = raw::read(environment, config_dir, variables);
        let Some(raw) = raw else {
            return Err(SettingsError { problems });
        };
        let mut settings = check::check(environment, raw, problems)?;
        settings.followers.variables = others;
        Ok(settings)
    }

    /// Whether the key is of Stripe's live mode, in which money moves.
    pub fn livemode(&self) -> bool {
        is_live_key(self.stripe.secret_key.expose())
    }
}

/// Whether what is called there is on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where this process finds its settings.
struct Place {
    environment: Environment,
    directory: PathBuf,
    variables: HashMap<String, String>,
}

impl Place {
    fn of_process() -> Result<Self, SettingsError> {
        // A variable that is not Unicode can't be a setting, and `std::env::vars` would panic on it.
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let set = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        Ok(Self {
            environment: match set("DUES_ENV") {
                None => Environment::Production,
                Some(name) => name.parse()?,
            },
            directory: set("DUES_CONFIG_DIR")
                .map_or_else(|| PathBuf::from("config"), PathBuf::from),
            variables,
        })
    }
}

impl SettingsError {
    /// Whether nothing is wrong but the secrets of webhooks.
    pub fn is_about_webhook_secrets(&self) -> bool {
        let mut problems = self.problems.iter();
        problems.all(|problem| problem.key() == Some("stripe.webhook_secrets"))
    }

    /// The problems, in the order of the sections.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn sentences(&self) -> String {
        let sentences: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        sentences.join("\n")
    }
}

impl From<Problem> for SettingsError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl Problem {
    fn at(environment: Environment, key: &str, what: impl Into<String>) -> Self {
        Self {
            at: Some((key.to_owned(), environment)),
            what: what.into(),
        }
    }

    fn in_source(what: impl Into<String>) -> Self {
        Self {
            at: None,
            what: what.into(),
        }
    }

    /// The setting, as `section.key`, where the problem is one setting's.
    pub fn key(&self) -> Option<&str> {
        self.at.as_ref().map(|(key, _)| key.as_str())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((key, environment)) = &self.at else {
            return f.write_str(&self.what);
        };
        let variable = key.to_uppercase().replace('.', "__");
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        write!(
            f,
            "DUES__{variable} {}; set it in the environment, or in config/{environment}.toml under [{section}]",
            self.what
        )
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

impl FromStr for Environment {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err(Problem::in_source(
                "DUES_ENV is neither development nor production; set it in the environment",
            )
            .into()),
        }
    }
}

fn is_live_key(key: &str) -> bool {
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}
