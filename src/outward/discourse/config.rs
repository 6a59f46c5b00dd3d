//! What the followers' file says of a forum.

use std::collections::BTreeMap;

use reqwest::header::HeaderValue;
use url::Url;

use super::rules::Rules;
use crate::outward::followers::file::Check;
use crate::settings::Secret;

/// Discourse takes none that is shorter.
const CONNECT_SECRET: usize = 10;
/// Discourse takes none that is shorter.
const WEBHOOK_SECRET: usize = 12;

/// A forum, and which of its groups follow what.
#[derive(Clone, Debug)]
pub(in crate::outward) struct Config {
    pub(super) url: Url,
    pub(super) mode: Mode,
    pub(super) api_key: HeaderValue,
    pub(super) api_username: HeaderValue,
    pub(super) webhook_secret: Secret,
    pub(super) rules: Rules,
    /// Whether people are removed who were added by hand.
    pub(super) remove_by_hand: bool,
}

/// By which of the forum's ways one member's groups are changed.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    /// `sync_sso`, signed with this secret.
    Connect(Secret),
    /// The groups' own API.
    Groups,
}

impl Config {
    /// Reads what the file says of it.
    pub(in crate::outward) fn check(check: &mut Check<'_>) -> Option<Self> {
        let url = check.url();
        let is_base = |url: &Url| url.query().is_none() && url.fragment().is_none();
        if url.as_ref().is_some_and(|url| !is_base(url)) {
            check.problem("url has a query or a fragment");
        }
        let mode = check.required("mode");
        let api_key = check.secret("api_key_env", true);
        let api_key = api_key.and_then(|key| header(check, "api_key_env", key.expose()));
        let api_username = check.required("api_username");
        let api_username = api_username.and_then(|name| header(check, "api_username", &name));
        let is_connect = mode.as_deref() == Some("connect");
        let secret = check.secret("secret_env", is_connect);
        let mode = match (mode.as_deref(), secret) {
            (Some("connect"), secret) => long(check, "secret_env", secret, CONNECT_SECRET),
            (Some("groups"), None) => Some(Mode::Groups),
            (Some("groups"), Some(_)) => {
                check.problem("secret_env goes with mode = \"connect\" alone");
                None
            }
            (Some(_), _) => {
                check.problem("mode is \"connect\" or \"groups\"");
                None
            }
            (None, _) => None,
        };
        let webhook_secret = check.secret("webhook_secret_env", true);
        let webhook_secret = webhook_secret.filter(|secret| {
            let fits = secret.expose().len() >= WEBHOOK_SECRET;
            if !fits {
                check.problem(&too_short("webhook_secret_env", WEBHOOK_SECRET));
            }
            fits
        });
        let groups = check.take::<BTreeMap<String, String>>(
            "groups",
            "a table such as { membership = \"members\", \"plan:gold\" = \"supporters\" }",
        );
        if groups.is_none() {
            check.missing("groups");
        }
        let rules = groups.and_then(|groups| Rules::check(check, groups));
        let remove_by_hand = check.take("remove_by_hand", "true or false");
        Some(Self {
            url: url.filter(is_base)?,
            mode: mode?,
            api_key: api_key?,
            api_username: api_username?,
            webhook_secret: webhook_secret?,
            rules: rules?,
            remove_by_hand: remove_by_hand.unwrap_or_default(),
        })
    }

    /// Groups that both of them own, where they are at one forum.
    pub(in crate::outward) fn shared_with(&self, other: &Self) -> Vec<&str> {
        let place = |url: &Url| (url.origin(), url.path().trim_end_matches('/').to_owned());
        if place(&self.url) != place(&other.url) {
            return Vec::new();
        }
        let is_theirs = |name: &&str| other.rules.names().any(|own| same(own, name));
        self.rules.names().filter(is_theirs).collect()
    }
}

/// Names of groups are told apart whatever their case.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn too_short(key: &str, least: usize) -> String {
    format!("{key}: a secret of Discourse has {least} characters or more")
}

fn long(check: &mut Check<'_>, key: &str, secret: Option<Secret>, least: usize) -> Option<Mode> {
    let secret = secret?;
    if secret.expose().len() < least {
        check.problem(&too_short(key, least));
        return None;
    }
    Some(Mode::Connect(secret))
}

/// What is sent as a header's value, which no log shows.
fn header(check: &mut Check<'_>, key: &str, text: &str) -> Option<HeaderValue> {
    let Ok(mut value) = HeaderValue::from_str(text) else {
        check.problem(&format!("{key}: it can't be sent in a header"));
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}
