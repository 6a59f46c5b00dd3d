//! The composition root: builds everything from the settings, runs it, stops it in order.
//!
//! `main`, the demo and the tests all start the service through here.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::auth::Verifier;
use crate::clock::{Clock, FollowError};
use crate::http;
use crate::http::state::AppState;
use crate::services::{self, Services};
use crate::settings::Settings;
use crate::storage::schema::{self, SchemaError};
use crate::telemetry::Metrics;

/// Time that requests have to notice that they were cut off.
const CUT: Duration = Duration::from_secs(1);

/// The service, built and bound, not yet answering.
pub struct App {
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    state: AppState,
}

/// Why the service does not start; one sentence each, which says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or not ours to take.
    #[error(
        "can't listen on {address} (DUES__HTTP__LISTEN or DUES__HTTP__METRICS_LISTEN): {source}"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The database is away, or refuses us.
    #[error("can't connect to the database at DUES__DATABASE__URL: {0}")]
    Database(#[source] sqlx::Error),
    /// The schema can't be read or changed.
    #[error("can't check the database's schema: {0}")]
    Schema(#[from] SchemaError),
    /// The schema is older than the program.
    #[error("migrations are pending ({}): run `dues migrate`, or set DUES__DATABASE__MIGRATE=true", .0.join(", "))]
    PendingMigrations(Vec<String>),
    /// The sandbox whose clock is followed is away.
    #[error(transparent)]
    Clock(#[from] FollowError),
    /// No HTTP client for the issuer's keys.
    #[error("can't set up the client for DUES__AUTH__JWKS_URL: {0}")]
    Auth(#[source] reqwest::Error),
    /// The use cases refuse: the catalogue, for one.
    #[error(transparent)]
    Services(#[from] services::StartError),
}

impl App {
    /// Binds the ports, connects the database, checks its schema and builds the use cases.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        // First the ports: it is the cheapest check, and the address is known before anything is changed.
        let listener = listen(settings.http.listen).await?;
        let metrics_listener = match settings.http.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let clock = Clock::system();
        if let Some(sandbox) = &settings.clock.follow {
            clock.adopt(sandbox).await?;
        }
        let pool = schema::connect(&settings.database)
            .await
            .map_err(StartError::Database)?;
        if settings.database.migrate {
            schema::migrate(&pool).await?;
        }
        let pending = schema::pending(&pool).await?;
        if !pending.is_empty() {
            return Err(StartError::PendingMigrations(pending));
        }
        let settings = Arc::new(settings);
        let verifier =
            Verifier::from_settings(&settings, clock.clone()).map_err(StartError::Auth)?;
        let metrics = Metrics::install();
        let services = Services::build(Arc::clone(&settings), clock.clone(), pool).await?;
        Ok(Self {
            listener,
            metrics_listener,
            state: AppState {
                settings,
                clock,
                verifier: Arc::new(verifier),
                services,
                metrics,
                cut: CancellationToken::new(),
            },
        })
    }

    /// Where the service listens: the port that was taken when port 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where `/metrics` listens, when it has a port of its own.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref()?.local_addr().ok()
    }

    /// The clock that everything here lives by.
    pub fn clock(&self) -> Clock {
        self.state.clock.clone()
    }

    /// The use cases, for commands and tests that run beside the server.
    pub fn services(&self) -> Services {
        self.state.services.clone()
    }

    /// Answers until `shutdown` completes; then takes no new connections, lets requests under way finish within
    /// `http.shutdown_seconds`, and cuts off the rest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let Self {
            listener,
            metrics_listener,
            state,
        } = self;
        let stop = CancellationToken::new();

        // What nobody waits for at the end.
        let mut background = JoinSet::new();
        background.spawn(state.metrics.clone().upkeep());
        if let Some(sandbox) = state.settings.clock.follow.clone() {
            let clock = state.clock.clone();
            background.spawn(async move {
                if let Err(error) = clock.follow(sandbox).await {
                    tracing::error!(%error, "the sandbox's clock is not followed");
                }
            });
        }
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(state.clone());
            background.spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::error!(%error, "metrics are no longer served");
                }
            });
        }

        let mut worker = tokio::spawn(services::worker::run(state.services.clone(), stop.clone()));
        let mut server = serve(listener, http::router(state.clone()), stop.clone());
        tokio::select! {
            () = shutdown => {}
            // Only a listener that broke ends the server before it is told to.
            ended = &mut server => return ended.map_err(std::io::Error::other)?,
        }

        tracing::info!("stopping");
        stop.cancel();
        let drained = async {
            let (server, worker) = tokio::join!(&mut server, &mut worker);
            if let Err(error) = worker {
                tracing::error!(%error, "the worker ended badly");
            }
            server.map_err(std::io::Error::other)?
        };
        let drained = tokio::time::timeout(state.settings.http.shutdown, drained).await;
        let outcome = if let Ok(outcome) = drained {
            outcome
        } else {
            tracing::warn!("requests were still under way at the deadline and are cut off");
            state.cut.cancel();
            worker.abort();
            if tokio::time::timeout(CUT, &mut server).await.is_err() {
                server.abort();
            }
            Ok(())
        };
        tracing::info!("stopped");
        outcome
    }
}

/// Runs the pending migrations; names those that it ran.
pub async fn migrate(settings: &Settings) -> Result<Vec<String>, StartError> {
    let pool = schema::connect(&settings.database)
        .await
        .map_err(StartError::Database)?;
    let pending = schema::pending(&pool).await?;
    schema::migrate(&pool).await?;
    Ok(pending)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> JoinHandle<std::io::Result<()>> {
    tokio::spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    })
}
