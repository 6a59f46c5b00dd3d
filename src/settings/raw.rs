//! Settings as they are written: what the sources say, merged but not yet checked.
//!
//! A key without a default is an `Option` here, so that the check can name every missing one at once.

use config::{Config, ConfigError, Environment as Variables, File, FileFormat};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::path::Path;

use super::{Environment, Problem};

/// The shipped defaults, which are also the manual.
const DEFAULTS: &str = include_str!("../../config/default.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) http: Http,
    pub(super) database: Database,
    pub(super) stripe: Stripe,
    pub(super) auth: Auth,
    pub(super) client: Client,
    pub(super) plans: Plans,
    pub(super) checkout: Checkout,
    pub(super) changes: Changes,
    #[serde(default)]
    pub(super) portal: Portal,
    pub(super) lifecycle: Lifecycle,
    pub(super) feed: Feed,
    #[serde(default)]
    pub(super) followers: Followers,
    pub(super) mosaic: Mosaic,
    pub(super) console: Console,
    pub(super) worker: Worker,
    #[serde(default)]
    pub(super) clock: Clock,
    pub(super) log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: String,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) public_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) metrics_listen: Option<String>,
    pub(super) body_limit_bytes: usize,
    pub(super) request_timeout_ms: u64,
    pub(super) max_concurrency: usize,
    pub(super) max_connections: usize,
    pub(super) member_requests_per_minute: u32,
    pub(super) drain_seconds: u64,
    pub(super) shutdown_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Database {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) url: Option<String>,
    pub(super) max_connections: u32,
    pub(super) acquire_timeout_ms: u64,
    pub(super) migrate: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stripe {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) secret_key: Option<String>,
    pub(super) api_base: String,
    pub(super) api_version: String,
    #[serde(default, deserialize_with = "comma_separated")]
    pub(super) webhook_secrets: Vec<String>,
    pub(super) webhook_tolerance_seconds: u64,
    pub(super) metadata_key: String,
    pub(super) connect_timeout_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) total_timeout_ms: u64,
    pub(super) max_retries: u32,
    pub(super) snapshot_margin_seconds: u64,
    pub(super) requests_per_second: u32,
    pub(super) send_email: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) hs256_secret: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) jwks_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) issuer: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) audience: Option<String>,
    pub(super) roles_claim: String,
    pub(super) operator_role: String,
    pub(super) reader_role: String,
    pub(super) support_role: String,
    pub(super) treasurer_role: String,
    pub(super) service_role: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) success_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) cancel_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) error_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) portal_return_url: Option<String>,
    #[serde(default, deserialize_with = "comma_separated")]
    pub(super) allowed_origins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plans {
    pub(super) file: String,
    pub(super) refresh_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkout {
    pub(super) expires_minutes: u64,
    pub(super) max_open: u32,
    pub(super) keep_unpaid_days: u32,
    pub(super) orphan_minutes: u64,
    pub(super) automatic_tax: bool,
    pub(super) tax_id_collection: bool,
    pub(super) terms_of_service: bool,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) locale: Option<String>,
    #[serde(default)]
    pub(super) custom_text: CustomText,
    #[serde(default)]
    pub(super) branding: Branding,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomText {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) submit: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) after_submit: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) terms_of_service: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Branding {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) display_name: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) background_color: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) button_color: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) border_style: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) font_family: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) logo_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) icon_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    pub(super) proration: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Portal {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) configuration: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lifecycle {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) grace_days: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub(super) interval_ms: u64,
    pub(super) concurrency: usize,
    pub(super) batch: u32,
    pub(super) max_attempts: u32,
    pub(super) reconcile_interval_seconds: u64,
    pub(super) compare_interval_seconds: u64,
    pub(super) compare_mends: bool,
    pub(super) purge_after_days: u32,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Followers {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mosaic {
    pub(super) compatible_routes: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Console {
    pub(super) enabled: bool,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) issuer: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) jwks_url: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) audience: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) client_id: Option<String>,
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) member_claim: Option<String>,
    pub(super) scope: String,
    #[serde(default, deserialize_with = "comma_separated")]
    pub(super) login_origins: Vec<String>,
    #[serde(deserialize_with = "comma_separated")]
    pub(super) reasons: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Feed {
    #[serde(default, deserialize_with = "comma_separated")]
    pub(super) tokens: Vec<String>,
    pub(super) keep_days: u16,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Clock {
    #[serde(default, deserialize_with = "unless_empty")]
    pub(super) follow: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

/// A text of the shipped defaults.
pub(super) fn shipped(section: &str, key: &str) -> Option<String> {
    let defaults: toml::Table = toml::from_str(DEFAULTS).ok()?;
    Some(defaults.get(section)?.get(key)?.as_str()?.to_owned())
}

/// Merges the three sources. What is wrong with a value is noted, and its default taken for it, so that one mistake does
/// not hide the others; none when even so they can't be read.
pub(super) fn read(
    environment: Environment,
    config_dir: Option<&Path>,
    mut variables: HashMap<String, String>,
) -> (Option<Raw>, Vec<Problem>) {
    // Whoever writes a secret into a file writes a line, and its end comes along.
    for value in variables.values_mut() {
        *value = value.trim().to_owned();
    }
    let own = variables.get("DUES__DATABASE__URL");
    if own.is_none_or(String::is_empty)
        && let Some(url) = variables.get("DATABASE_URL").cloned()
    {
        variables.insert("DUES__DATABASE__URL".to_owned(), url);
    }
    let mut problems = Vec::new();
    loop {
        match merged(environment, config_dir, variables.clone()) {
            Ok(raw) => return (Some(raw), problems),
            Err((problem, key)) => {
                problems.push(problem);
                // Only a variable can be taken out; what is wrong in a file hides what comes after it.
                let before = variables.len();
                if let Some(key) = key {
                    let name = format!("DUES__{}", key.replace('.', "__").to_uppercase());
                    let section = format!("{name}__");
                    variables.retain(|other, _| *other != name && !other.starts_with(&section));
                }
                if variables.len() == before {
                    return (None, problems);
                }
            }
        }
    }
}

/// The three sources as one, or the first value of a wrong type, or key that does not exist.
fn merged(
    environment: Environment,
    config_dir: Option<&Path>,
    variables: HashMap<String, String>,
) -> Result<Raw, (Problem, Option<String>)> {
    let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    if let Some(directory) = config_dir {
        let file = directory.join(format!("{environment}.toml"));
        builder = builder.add_source(File::from(file).format(FileFormat::Toml).required(false));
    }
    let merged = builder
        .add_source(
            Variables::with_prefix("DUES")
                .separator("__")
                .source(Some(variables)),
        )
        .build()
        .map_err(|error| (Problem::in_source(source_problem(error)), None))?;
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let key = error.path().to_string();
        let problem = Problem::at(environment, &key, value_problem(error.into_inner()));
        (problem, Some(key))
    })
}

/// Why a file can't be read, without the line itself: a secret may stand in it.
fn source_problem(error: ConfigError) -> String {
    match error {
        ConfigError::FileParse { uri, cause } => {
            let file = uri.unwrap_or_else(|| "a settings file".to_owned());
            match cause.downcast_ref::<toml::de::Error>() {
                Some(error) => format!("{file} is not TOML: {}", error.message()),
                None => format!("{file} can't be read or is not TOML"),
            }
        }
        _ => {
            "the settings can't be merged: is one key a table in one place and a value in another?"
                .to_owned()
        }
    }
}

/// Why a value is refused. Of the value only a number or a boolean is shown, for a text may be a secret.
fn value_problem(error: ConfigError) -> String {
    match error {
        ConfigError::Type { expected, .. } => format!("is not {expected}"),
        ConfigError::NotFound(_) => "is missing".to_owned(),
        ConfigError::At { error, .. } => value_problem(*error),
        ConfigError::Message(message) if message.starts_with("unknown ") => {
            format!("does not exist: {message}")
        }
        _ => "has a value of the wrong type".to_owned(),
    }
}

fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let text = text.map(|text| text.trim().to_owned());
    Ok(text.filter(|text| !text.is_empty()))
}

/// A list in TOML, or one text with commas: an environment variable has no other way to say a list.
fn comma_separated<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let parts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split(',').map(str::to_owned).collect(),
        OneOrMany::Many(parts) => parts,
    };
    Ok(parts
        .into_iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect())
}
