//! The composition root: builds everything from the settings, runs it, stops it in order.
//!
//! `main`, the demo and the tests all start the service through here.

mod server;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::server::Serving;
use crate::auth::Verifier;
use crate::clock::{Clock, FollowError};
use crate::http::edge::state::AppState;
use crate::http::{self, Readiness};
use crate::outward::feed::Feed;
use crate::outward::followers::Followers;
use crate::services::{self, Services};
use crate::settings::{Database, Settings};
use crate::storage::{self, MigrationError};
use crate::telemetry::Metrics;

/// Time that the worker has left when the requests were done at the deadline.
const WORKER_CUT: Duration = Duration::from_secs(1);
/// Longest time in which a client takes nothing of its answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

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
    /// The database at `DUES__DATABASE__URL` is away or refuses us.
    #[error("can't connect to the database that DUES__DATABASE__URL names: {0}")]
    Database(#[source] MigrationError),
    /// The schema is older than the program, or can't be changed.
    #[error(transparent)]
    Schema(#[from] MigrationError),
    /// The sandbox whose clock is followed is away.
    #[error(transparent)]
    Clock(#[from] FollowError),
    /// No HTTP client for the issuer's keys.
    #[error("can't set up the client for DUES__AUTH__JWKS_URL: {0}")]
    Auth(#[source] reqwest::Error),
    /// The use cases refuse: the catalogue, for one.
    #[error(transparent)]
    Services(#[from] services::BuildError),
}

impl App {
    /// Binds the ports, connects the database, checks its schema and builds the use cases.
    pub async fn build(settings: Settings) -> Result<Self, StartError> {
        // First the port: it is the cheapest check.
        let listener = listen(settings.http.listen).await?;
        Self::build_on(listener, settings).await
    }

    /// The same on a port that is already bound: for a test that must tell others the address first.
    pub async fn build_on(listener: TcpListener, settings: Settings) -> Result<Self, StartError> {
        let metrics_listener = match settings.http.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        // Before anything is counted.
        let metrics = Metrics::install();
        let settings = Arc::new(settings);
        let (services, clock) = build_services(Arc::clone(&settings)).await?;
        let verifier =
            Verifier::from_settings(&settings, clock.clone()).map_err(StartError::Auth)?;
        let verifier = Arc::new(verifier);
        let staff = Verifier::for_staff(&settings, clock.clone()).map_err(StartError::Auth)?;
        Ok(Self {
            listener,
            metrics_listener,
            state: AppState {
                settings,
                clock,
                staff_verifier: staff.map_or_else(|| Arc::clone(&verifier), Arc::new),
                verifier,
                services: Arc::new(services),
                metrics,
                readiness: Readiness::default(),
                draining: CancellationToken::new(),
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

    /// The use cases, for what the program does beside answering requests.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.state.services)
    }

    /// Answers until `shutdown` completes; then says for `http.drain_seconds` that it is not ready, while it still answers
    /// whoever asks and closes each connection with its answer; then takes no new connections, lets requests under way
    /// finish within `http.shutdown_seconds`, and cuts off the rest.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
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

        let shutdown_time = state.settings.http.shutdown;
        let working = CancellationToken::new();
        let mut worker = tokio::spawn(state.services.upkeep.clone().run(working.clone()));
        let followers = state.services.followers.clone();
        let mut telling = tokio::spawn(followers.run(working.clone()));
        // The writer answers what the server has taken: it is told to stop only when that is done.
        let written = CancellationToken::new();
        let events = state.services.events.clone();
        let mut writer = tokio::spawn(events.write_queue(written.clone()));
        let serving = Serving {
            max_connections: state.settings.http.max_connections,
            stop: stop.clone(),
            cut: state.cut.clone(),
            drain: shutdown_time,
            patience: READ_TIMEOUT,
        };
        let server = server::serve(listener, http::router(state.clone()), serving);
        let told = async {
            shutdown.await;
            tracing::info!("stopping");
            working.cancel();
            // Whoever balances learns it first; what has arrived by then, and until then, is answered.
            state.draining.cancel();
            tokio::time::sleep(state.settings.http.drain).await;
            stop.cancel();
            Instant::now()
        };
        let (finished, stopped) = tokio::join!(server, told);
        if !finished {
            tracing::warn!("requests were still under way at the deadline and were cut off");
        }
        written.cancel();
        // The worker was told before the server, and has its deadline.
        let left = shutdown_time
            .saturating_sub(stopped.elapsed())
            .max(WORKER_CUT);
        match tokio::time::timeout(left, &mut worker).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the worker ended badly"),
            Err(_) => {
                tracing::warn!("the worker was still at work at the deadline and was cut off");
                worker.abort();
            }
        }
        // What is cut off is told again: nobody is told that it was told before it is.
        if tokio::time::timeout(WORKER_CUT, &mut telling)
            .await
            .is_err()
        {
            tracing::warn!("a follower was still being told at the deadline and was cut off");
            telling.abort();
        }
        if tokio::time::timeout(WORKER_CUT, &mut writer).await.is_err() {
            tracing::warn!(
                "webhooks were still being written at the deadline: Stripe delivers them again"
            );
            writer.abort();
        }
        tracing::info!("stopped");
    }
}

/// The clock that the settings want: wall time, or in development that of a sandbox as it is now.
pub async fn clock(settings: &Settings) -> Result<Clock, FollowError> {
    let clock = Clock::system();
    if let Some(sandbox) = &settings.clock.follow {
        clock.adopt(sandbox).await?;
    }
    Ok(clock)
}

/// Wall time, whatever the settings want.
pub fn machine_clock() -> Clock {
    Clock::system()
}

/// Connects the database, checks its schema and builds the use cases, without a server: for a command that does one
/// thing and ends.
pub async fn build_services(settings: Arc<Settings>) -> Result<(Services, Clock), StartError> {
    let clock = clock(&settings).await?;
    let pool = storage::connect(&settings.database)
        .await
        .map_err(StartError::Database)?;
    if settings.database.migrate {
        storage::migrate(&pool).await?;
    }
    storage::check_migrations(&pool).await?;
    let services = Services::build(pool, settings, clock.clone()).await?;
    Ok((services, clock))
}

/// Runs the pending migrations; names those that it ran.
pub async fn migrate(database: &Database) -> Result<Vec<String>, StartError> {
    let pool = storage::connect(database)
        .await
        .map_err(StartError::Database)?;
    Ok(storage::migrate(&pool).await?)
}

/// The feed alone, for a command that needs nothing else.
pub async fn feed(database: &Database) -> Result<Feed, StartError> {
    let pool = storage::connect(database)
        .await
        .map_err(StartError::Database)?;
    storage::check_migrations(&pool).await?;
    Ok(Feed::new(pool))
}

/// The followers alone, for a command that tells nobody anything of members.
pub async fn followers(settings: Arc<Settings>) -> Result<Followers, StartError> {
    let clock = clock(&settings).await?;
    let pool = storage::connect(&settings.database)
        .await
        .map_err(StartError::Database)?;
    storage::check_migrations(&pool).await?;
    let feed = Feed::new(pool.clone());
    Followers::open(pool, feed, clock, settings, None)
        .map_err(|error| StartError::Services(error.into()))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}
