//! A stateful, in-memory Stripe over HTTP: as strict and as awkward as the real one.
//!
//! The rooms, and what each may name (`tests/it/house.rs` reads the sources and holds them to it):
//!
//! - `world`: all that is known, behind one lock: objects, clock, schedule, queue of webhooks. Data; it names nobody.
//! - `spec`: what Stripe's description says of parameters and objects, and the shapes of older versions. Names `world`.
//! - `engine`: what follows from what when money or time moves. Names `world` and `spec`, and never `api`.
//! - `api`: the operations under `/v1`. Names `engine`, `spec`, `world`.
//! - `app`: the world behind its lock, shared by all tasks, and with what it starts. Names `api`, `engine`, `spec`,
//!   `world`.
//! - `webhooks`: sends what the world has queued. Names `app`, `spec`, `world`.
//! - `pages`: what a buyer sees. `control`: the API under `/_sandbox/`. Both change the world through `engine`.
//! - `transport`: the accept loop, and what happens around every call under `/v1`. Names `api`, `app`, `spec`, `world`.
//! - `sandbox`: loads, starts and stops it all. Nobody names it.
//!
//! A call goes from `transport::server` to `transport::gateway` (key, version, faults, idempotency) and to the handler in
//! `api` when its path begins with `/v1`, else to `pages` or `control`. Whatever changes the world goes through
//! `App::with`, which first does what has fallen due. Each change emits events, and `webhooks::sender` delivers them.
//!
//! The crate shares no code with whatever it is used to test, so that both cannot agree on a mistake.

#![forbid(unsafe_code)]
// Objects of Stripe are long literals.
#![recursion_limit = "256"]

mod api;
mod app;
mod control;
mod engine;
mod pages;
mod sandbox;
mod spec;
mod transport;
mod webhooks;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

pub use sandbox::Sandbox;

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
    /// Where its clock begins, in seconds since 1970, while nothing is there yet; a state that was saved keeps its own clock.
    /// For who wants a past to live through up to today: the clock goes forwards only.
    pub clock_start: Option<i64>,
    /// Starts as an operator leaves an account that is set up: the portal's settings are saved, and the endpoint to start
    /// with has the newest version.
    pub set_up: bool,
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
            clock_start: None,
            set_up: false,
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
    /// The portal's settings can't be saved.
    #[error("cannot save the portal's settings: {0}")]
    Portal(String),
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}
