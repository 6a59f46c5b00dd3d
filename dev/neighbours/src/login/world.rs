//! All that the login knows: clients, people, who is signed in, and what was given out.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use super::faults::Fault;
use super::keys::Key;
use super::{Client, Options, Person};

/// How long somebody may look at the page, in seconds.
pub(super) const PAGE_SECONDS: i64 = 600;

/// A request to sign somebody in, checked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub client_id: String,
    pub redirect_uri: String,
    pub state: String,
    pub scope: Vec<String>,
    pub nonce: Option<String>,
    pub challenge: String,
    pub audience: String,
    pub login_hint: Option<String>,
}

/// Somebody who is signed in, in one browser.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What tokens say of it; the cookie is another secret.
    pub sid: String,
    pub sub: String,
    pub auth_time: i64,
}

/// A code that was given out.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub grant: String,
    pub redirect_uri: String,
    pub challenge: String,
    pub expires: i64,
    pub used: bool,
}

/// What somebody has let a client do; all tokens come from one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Grant {
    pub id: String,
    pub client_id: String,
    pub sub: String,
    pub scope: Vec<String>,
    pub audience: String,
    pub nonce: Option<String>,
    pub auth_time: i64,
    pub sid: String,
    /// Why its tokens are worth nothing any more.
    pub revoked: Option<&'static str>,
    /// The `jti` of each access token.
    pub access_tokens: Vec<String>,
}

/// A refresh token that was given out.
#[derive(Debug, Clone)]
pub(super) struct Refresh {
    pub grant: String,
    pub expires: i64,
    pub spent: bool,
}

/// How long things live, in seconds.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_field_names, reason = "a unit belongs to a name")]
pub(super) struct Settings {
    pub token_seconds: u32,
    pub code_seconds: u32,
    pub refresh_seconds: u32,
}

/// How much was given out.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Issued {
    pub codes: u64,
    pub access_tokens: u64,
    pub id_tokens: u64,
    pub refresh_tokens: u64,
}

/// All that the login knows.
pub(super) struct World {
    pub clients: BTreeMap<String, Client>,
    pub people: Vec<Person>,
    /// The last one signs.
    pub keys: Vec<Key>,
    pub settings: Settings,
    pub faults: Vec<Fault>,
    /// Requests whose page is open, by an id in it, with when that was.
    pub open: BTreeMap<String, (Request, i64)>,
    /// By the cookie.
    pub sessions: BTreeMap<String, Session>,
    pub codes: BTreeMap<String, Code>,
    pub grants: BTreeMap<String, Grant>,
    pub refresh_tokens: BTreeMap<String, Refresh>,
    pub issued: Issued,
    /// How often each endpoint was called, by method and path.
    pub requests: BTreeMap<String, u64>,
    /// How often each error was answered.
    pub refused: BTreeMap<String, u64>,
}

impl World {
    pub(super) fn new(options: Options, key: Key) -> Self {
        let clients = options.clients.into_iter();
        Self {
            clients: clients.map(|client| (client.id.clone(), client)).collect(),
            people: options.people,
            keys: vec![key],
            settings: Settings {
                token_seconds: options.token_seconds,
                code_seconds: options.code_seconds,
                refresh_seconds: options.refresh_seconds,
            },
            faults: vec![],
            open: BTreeMap::new(),
            sessions: BTreeMap::new(),
            codes: BTreeMap::new(),
            grants: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            issued: Issued::default(),
            requests: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn person(&self, sub: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.sub == sub)
    }

    /// Takes back all that came from a grant.
    pub(super) fn revoke(&mut self, grant: &str, why: &'static str) {
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.revoked.get_or_insert(why);
        }
    }

    pub(super) fn refuse(&mut self, error: &str) {
        *self.refused.entry(error.to_owned()).or_default() += 1;
    }
}

impl Client {
    /// What can't be registered.
    pub(super) fn wrong(&self) -> Option<String> {
        if self.id.is_empty() || self.audiences.is_empty() || self.redirect_uris.is_empty() {
            return Some("it needs an id, a redirect_uri and an audience".to_owned());
        }
        let addresses = [&self.redirect_uris, &self.post_logout_redirect_uris];
        let mut addresses = addresses.into_iter().flatten();
        let wrong = addresses.find(|address| {
            let parsed = Url::parse(address).ok();
            !parsed.is_some_and(|url| url.has_host() && url.fragment().is_none())
        });
        wrong.map(|address| format!("{address:?} is no address, or has a fragment"))
    }

    /// Whether a page of an origin is one of its own.
    pub(super) fn has_origin(&self, origin: &str) -> bool {
        let registered = self.redirect_uris.iter().filter_map(|uri| origin_of(uri));
        registered.into_iter().any(|known| known == origin)
    }

    /// Whether it may ask for a scope.
    pub(super) fn may_have(&self, scope: &str) -> bool {
        match scope {
            "openid" | "profile" => true,
            "offline_access" => self.offline_access,
            other => self.scopes.iter().any(|known| known == other),
        }
    }
}

/// The origin of an address, as browsers write it.
pub(super) fn origin_of(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    Some(url.origin().ascii_serialization())
}
