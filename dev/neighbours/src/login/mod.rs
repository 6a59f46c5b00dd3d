//! An organisation's login: OIDC (`OpenID` Connect) for a browser client that keeps no secret.
//!
//! It is stateful and in memory, and plays Keycloak, Zitadel, MAS or Ory towards a page that uses authorization code
//! with PKCE and an API that takes the access tokens. Where those differ it takes the strict side, so that what works
//! here works there: unknown parameters are refused, redirects match to the letter, a code is good for one attempt, a
//! refresh token for one use, access tokens are not ID tokens (RFC 9068).
//!
//! The rooms, and what each may name:
//!
//! - `world`: all that is known, behind one lock: clients, people, sessions, codes, grants. `keys`: what signs.
//!   `clock`: two of them. These name nobody but each other.
//! - `parameters`: a query or a form, read strictly. `problem`: errors as OAuth has them.
//! - `authorize`, `token`, `logout`, `metadata`: the endpoints; `issue` makes the tokens, `page` what a person sees.
//! - `control`: the API under `/_login/`. `faults`: what was planted to go wrong. `cors`: which pages may call.
//! - `server`: the accept loop, and the faults around every call.
//!
//! It shares no code with the service that it is used to test, so that both cannot agree on a mistake.

mod authorize;
mod clock;
mod control;
mod cors;
mod faults;
mod issue;
mod keys;
mod logout;
mod metadata;
mod page;
mod parameters;
mod problem;
mod server;
mod token;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use clock::Clock;
use keys::Key;
pub use keys::{Algorithm, KeyError};
use world::World;

/// How to start a login.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The applications that may send people here; more come by the control API.
    pub clients: Vec<Client>,
    /// Who can sign in, in the order of the page.
    pub people: Vec<Person>,
    /// What the first key signs with.
    pub algorithm: Algorithm,
    /// How long access and ID tokens are valid, in seconds.
    pub token_seconds: u32,
    /// How long a code waits for its exchange, in seconds of wall time.
    pub code_seconds: u32,
    /// How long a refresh token waits for its use, in seconds of wall time.
    pub refresh_seconds: u32,
    /// The Stripe sandbox whose clock access tokens follow, as `http://127.0.0.1:12111`.
    pub follow: Option<String>,
}

/// An application that people sign in to: a public one, which proves itself by PKCE alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Where codes may go, to the letter; the pages of their origins may call `/token`.
    pub redirect_uris: Vec<String>,
    /// Where a browser may go after signing out, to the letter.
    pub post_logout_redirect_uris: Vec<String>,
    /// The APIs that its access tokens may be for (`resource`); the first is the one without asking.
    pub audiences: Vec<String>,
    /// What it may ask for beside `openid`, `profile` and `offline_access`.
    pub scopes: Vec<String>,
    /// Whether it may have refresh tokens.
    pub offline_access: bool,
}

/// Somebody who can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The id in `sub`.
    pub sub: String,
    /// The name on the page, and in ID tokens with the scope `profile`.
    pub name: String,
    /// What stands in `roles` of access tokens; read when a token is made, so that a refresh sees a change.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Person {
    /// Somebody with these roles.
    pub fn new(sub: &str, name: &str, roles: &[&str]) -> Self {
        Self {
            sub: sub.to_owned(),
            name: name.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            clients: vec![],
            people: vec![
                Person::new("operator", "Olga Operator", &["dues:operator"]),
                Person::new("treasurer", "Theo Treasurer", &["dues:treasurer"]),
                Person::new("support", "Sami Support", &["dues:support"]),
                Person::new("reader", "Rosa Reader", &["dues:reader"]),
                Person::new("nobody", "Noor Nobody", &[]),
            ],
            algorithm: Algorithm::Es256,
            token_seconds: 300,
            code_seconds: 60,
            refresh_seconds: 30 * 86_400,
            follow: None,
        }
    }
}

/// Why a login does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached from other machines.
    #[error("{0} can be reached from other machines, and everybody may sign in as anybody")]
    Remote(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A client to start with is not what it should be.
    #[error("a client is wrong: {0}")]
    Client(String),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The sandbox to follow can't be asked, or does not answer.
    #[error("the sandbox whose clock is followed does not answer: {0}")]
    Follow(#[source] reqwest::Error),
}

/// A running login; it stops when it is dropped.
pub struct Login {
    url: String,
    _stop: DropGuard,
}

impl Login {
    /// Starts a login where nobody has signed in.
    ///
    /// # Errors
    /// When the address or a client can't be used, or the sandbox to follow is not there.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        if !options.listen.ip().is_loopback() {
            return Err(StartError::Remote(options.listen));
        }
        if let Some(wrong) = options.clients.iter().find_map(Client::wrong) {
            return Err(StartError::Client(wrong));
        }
        let clock = Clock::new(options.follow.as_deref()).map_err(StartError::Follow)?;
        clock.ask().await.map_err(StartError::Follow)?;
        let failed = |error| StartError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let key = Key::generate(options.algorithm)?;
        let app = Arc::new(App {
            world: Mutex::new(World::new(options, key)),
            issuer: url.clone(),
            clock,
        });
        let stop = CancellationToken::new();
        tokio::spawn(server::run(app, listener, stop.clone()));
        Ok(Self {
            url,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it is reached and what stands in `iss`, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// What all tasks share.
struct App {
    world: Mutex<World>,
    issuer: String,
    clock: Clock,
}

impl App {
    /// The world, locked. Nothing that is done with it panics, so that it is whole in any case.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long others may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
