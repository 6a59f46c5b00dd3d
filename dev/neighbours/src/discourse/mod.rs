//! A forum: groups and `sync_sso`.
//!
//! A stateful, in-memory Discourse over HTTP, with the traps of the real one that whoever keeps its groups in step falls
//! into. What it does is taken from Discourse's sources (`groups_controller.rb`, `admin/users_controller.rb`,
//! `discourse_connect.rb`, `discourse_connect_base.rb`), cited where a line would surprise.
//!
//! The rooms, and what each may name:
//!
//! - `world`: all that is known, behind one lock: users, groups, keys, settings, what was called. It names nobody.
//! - `answer`: what is sent back, and the shapes of Discourse's errors. `call`: a request, read as Rails reads it.
//! - `access`: keys, scopes, the limit a minute. `routes`: which operation a call means, and what happens around it.
//! - `groups`, `members`, `users`, `connect`: the operations. They name `world`, `answer`, `call`.
//! - `control`: the API under `/_neighbour/`. `webhook`: what is sent on login. `page`: what a person sees at `/`.
//! - `faults`: what was planted to go wrong. `server`: the accept loop, and the faults around every call.

mod access;
mod answer;
mod call;
mod connect;
mod control;
mod faults;
mod groups;
mod members;
mod page;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod users;
mod webhook;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use world::World;

/// How to start a forum.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key of all users that may do everything; others are given by the control API.
    pub api_key: String,
    /// The secret of `DiscourseConnect`, which is off without one.
    pub connect_secret: Option<String>,
    /// Whether `groups` of a payload is the complete list and `add_groups` and `remove_groups` are ignored.
    pub overrides_groups: bool,
    /// Whether the e-mail address of a payload replaces that of a known user.
    pub overrides_email: bool,
    /// How many calls with a key are answered in any sixty seconds, across all keys.
    pub requests_per_minute: u32,
    /// Who is told of logins.
    pub webhook: Option<Webhook>,
}

/// Where the forum sends its events, and the secret that signs them.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The receiver.
    pub url: String,
    /// The key of the HMAC in `X-Discourse-Event-Signature`.
    pub secret: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_key: "forum-admin-key".to_owned(),
            connect_secret: None,
            overrides_groups: false,
            overrides_email: false,
            requests_per_minute: 60,
            webhook: None,
        }
    }
}

/// Why a forum does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// A running forum; it stops when it is dropped.
pub struct Discourse {
    url: String,
    _stop: DropGuard,
}

impl Discourse {
    /// Starts a forum with nobody in it.
    ///
    /// # Errors
    /// When the address can't be listened on.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = format!("http://{address}");
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .map_err(StartError::Client)?;
        let forum = Arc::new(Forum {
            world: Mutex::new(World::new(&options)),
            url: url.clone(),
            client,
            webhook: options.webhook,
        });
        let stop = CancellationToken::new();
        tokio::spawn(server::run(forum, listener, stop.clone()));
        Ok(Self {
            url,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it is reached, as `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// What all tasks share.
struct Forum {
    world: Mutex<World>,
    url: String,
    client: reqwest::Client,
    webhook: Option<Webhook>,
}

impl Forum {
    /// The world, locked. Nothing that is done with it panics, so that it is whole in any case.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
