//! A stateful, in-memory Stripe over HTTP: as strict and as awkward as the real one.
//!
//! A request goes from `server` (the accept loop) to `gateway` and `api` when its path begins with `/v1`, else to
//! `web` (the pages that a buyer sees) or `control` (the API under `/_sandbox/`). All of them change one `World`
//! behind one lock; `engine` knows what follows from what. Each change emits events, and `sender` delivers them to the
//! webhook endpoints.
//!
//! The crate shares no code with whatever it is used to test, so that both cannot agree on a mistake.

#![forbid(unsafe_code)]
// Objects of Stripe are long literals.
#![recursion_limit = "256"]

mod api;
mod app;
mod clock;
mod control;
mod delivery;
mod engine;
mod error;
mod expand;
mod faults;
mod form;
mod gateway;
mod idempotency;
mod ids;
mod journal;
mod json;
mod listing;
mod percent;
mod queue;
mod render;
mod seed;
mod sender;
mod server;
mod settings;
mod store;
mod table;
mod web;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use app::Sandbox;

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Allows an address that other machines can reach.
    pub allow_remote: bool,
    /// Where browsers reach it, if that isn't where it listens: links to its pages begin with this.
    pub public_url: Option<String>,
    /// File that every call and event is appended to, as JSON Lines. Without one, a file of its own in the
    /// directory that `STRIPE_SANDBOX_JOURNAL_DIR` names, if that is set.
    pub journal: Option<PathBuf>,
    /// File that the state is loaded from and saved to.
    pub state: Option<PathBuf>,
    /// TOML file with products and prices to start with.
    pub catalogue: Option<PathBuf>,
    /// The only API key that is accepted.
    pub secret_key: String,
    /// A webhook endpoint to start with.
    pub webhook: Option<Webhook>,
}

/// Where webhooks go from the start, and the secrets that sign them.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The endpoint.
    pub url: String,
    /// One signature is made with each of them.
    pub secrets: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            public_url: None,
            journal: None,
            state: None,
            catalogue: None,
            secret_key: "sk_test_sandbox".to_owned(),
            webhook: None,
        }
    }
}

/// Why a sandbox does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can be reached from other machines.
    #[error(
        "{0} can be reached from other machines; the sandbox listens on loopback only, unless allow_remote is set"
    )]
    Remote(SocketAddr),
    /// A live key.
    #[error("the sandbox refuses live keys; use one that starts with sk_test_ or rk_test_")]
    LiveKey,
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The journal cannot be opened.
    #[error("cannot open the journal {0}: {1}")]
    Journal(PathBuf, #[source] std::io::Error),
    /// The state cannot be read.
    #[error("cannot read the state {0}: {1}")]
    State(PathBuf, #[source] std::io::Error),
    /// The catalogue cannot be read.
    #[error("cannot read the catalogue {0}: {1}")]
    CatalogueFile(PathBuf, #[source] std::io::Error),
    /// The catalogue is not what it should be.
    #[error("the catalogue is wrong: {0}")]
    Catalogue(String),
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}
