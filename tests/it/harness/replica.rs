//! The service alone: any number of replicas on one database, and what a replica is told by hand.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use dues::app::{self, App};
use dues::auth::mint_development_token;
use dues::clock::Clock;
use dues::services::Services;
use dues::settings::{Environment, Settings};
use reqwest::Method;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Call, WEBHOOK_SECRET, client, usual_variables};

/// A running service; its database and its sandbox are somebody else's.
pub(crate) struct Replica {
    address: SocketAddr,
    settings: Settings,
    clock: Clock,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// The settings of a replica that lives by the clock of a sandbox.
pub(crate) fn settings(
    database_url: &str,
    address: SocketAddr,
    sandbox_url: &str,
    more: &HashMap<String, String>,
) -> Settings {
    let mut variables = usual_variables(database_url, address, sandbox_url);
    variables.insert("DUES__CLOCK__FOLLOW".to_owned(), sandbox_url.to_owned());
    variables.extend(more.clone());
    Settings::load(Environment::Development, None, variables)
        .unwrap_or_else(|error| panic!("the settings of the test are wrong:\n{error}"))
}

/// The use cases without a server, as a command has them.
pub(crate) async fn services(settings: &Settings) -> Services {
    let (services, _) = app::build_services(Arc::new(settings.clone()))
        .await
        .unwrap_or_else(|error| panic!("the use cases can't be built: {error}"));
    services
}

impl Replica {
    /// Starts one.
    pub(crate) async fn start(
        database_url: &str,
        sandbox_url: &str,
        more: &HashMap<String, String>,
    ) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(anywhere, database_url, sandbox_url, more).await
    }

    /// Starts one at an address that others know already.
    pub(crate) async fn start_at(
        address: SocketAddr,
        database_url: &str,
        sandbox_url: &str,
        more: &HashMap<String, String>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let settings = settings(database_url, address, sandbox_url, more);
        let app = App::build_on(listener, settings.clone())
            .await
            .unwrap_or_else(|error| panic!("the service does not start: {error}"));
        let clock = app.clock();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async move {
            // Also when the test is over and the sender is gone.
            let _ = stopped.await;
        }));
        Self {
            address,
            settings,
            clock,
            client: client(),
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// A request to it.
    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        Call::new(
            &self.client,
            method,
            &format!("http://{}{path}", self.address),
        )
    }

    /// A member's token, good for an hour.
    pub(crate) fn member(&self, user: &str) -> String {
        let life = Duration::from_hours(1);
        mint_development_token(&self.settings, &self.clock, user, &[], life)
            .expect("tests run in development, with a secret")
    }

    /// A webhook as Stripe would deliver it now.
    pub(crate) fn webhook(&self, body: &[u8]) -> Call {
        let call = self.request(Method::POST, "/webhooks/stripe");
        call.header("stripe-signature", signature(body)).body(body)
    }

    /// Ends it as a signal to stop would, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.await.expect("the service ends in order");
        }
    }
}

/// The header that Stripe sends with these bytes now.
pub(crate) fn signature(body: &[u8]) -> impl Display {
    #[expect(
        clippy::disallowed_methods,
        reason = "signatures carry real time, whatever the clocks say"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
    let mut signed = format!("{now}.").into_bytes();
    signed.extend_from_slice(body);
    let mut hex = String::new();
    for byte in hmac::sign(&key, &signed).as_ref() {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
    }
    format!("t={now},v1={hex}")
}
