//! The command line.

mod commands;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use dues::app::{self, App};
use dues::settings::Settings;
use dues::{auth, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Longest wait for an answer to a health check.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Connects an organisation's members to Stripe.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Settings: config/default.toml explains each; environment variables are named DUES__SECTION__KEY."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until a signal to stop; SIGHUP reads the plans' and the followers' file again
    Serve,
    /// Run the pending migrations and end
    Migrate,
    /// Ask the service on this machine whether it is ready; ends with 0 when it is
    Healthcheck,
    /// Look at the whole deployment and say what to do; ends with 0 when nothing must be mended
    Doctor(commands::Examination),
    /// Look at Stripe's events and apply them again
    #[command(subcommand)]
    Events(commands::Events),
    /// Look at what operators did
    #[command(subcommand)]
    Actions(commands::Actions),
    /// Look after the feed that other services follow
    #[command(subcommand)]
    Feed(commands::Feed),
    /// Look after the systems that are called about each change
    #[command(subcommand)]
    Followers(commands::Followers),
    /// Find what webhooks lost, or compare with Stripe
    Reconcile(commands::Reconcile),
    /// Take over what another system sold at Stripe
    Adopt(commands::Adopt),
    /// Compare the plans file with Stripe
    #[command(subcommand)]
    Plans(commands::Plans),
    /// Print a member's token, for development only
    Token {
        /// The member: the token's subject
        #[arg(long)]
        user: String,
        /// A role that the token names; may be given several times
        #[arg(long = "role")]
        roles: Vec<String>,
        /// How long the token is good: 90s, 15m, 8h, 30d
        #[arg(long, default_value = "8h", value_parser = lifetime)]
        ttl: Duration,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve => serve().await,
        Command::Migrate => migrate().await,
        Command::Healthcheck => healthcheck().await,
        Command::Doctor(how) => commands::doctor(how).await,
        Command::Events(command) => commands::events(command).await,
        Command::Actions(command) => commands::actions(command).await,
        Command::Feed(command) => commands::feed(command).await,
        Command::Followers(command) => commands::followers(command).await,
        Command::Reconcile(how) => match stop_signal() {
            Ok(interrupted) => commands::reconcile(how, interrupted).await,
            Err(error) => Err(error),
        },
        Command::Adopt(how) => match stop_signal() {
            Ok(interrupted) => Box::pin(commands::adopt(how, interrupted)).await,
            Err(error) => Err(error),
        },
        Command::Plans(command) => commands::plans(command).await,
        Command::Token { user, roles, ttl } => token(&user, &roles, ttl).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Our errors name their cause themselves, where it helps.
            for line in error.to_string().lines() {
                eprintln!("dues: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    telemetry::init(&settings.log)?;
    let mode = if settings.livemode() { "live" } else { "test" };
    let environment = settings.environment.to_string();
    // The handlers are in place before the first request, so that no signal is missed.
    let stop = stop_signal()?;
    let mut hangup = signal(SignalKind::hangup()).context("can't listen for SIGHUP")?;
    let app = App::build(settings).await?;
    let address = app.address()?;
    let metrics = app.metrics_address().map(tracing::field::display);
    tracing::info!(%address, metrics, environment, mode, version = env!("CARGO_PKG_VERSION"), "listening");
    let services = app.services();
    // One after the other: signals that come during a reload are one signal after it, so the last file wins.
    let reloads = tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            services.catalogue.reload().await;
            services.followers.reload();
        }
    });
    app.run(stop).await;
    reloads.abort();
    Ok(())
}

async fn migrate() -> anyhow::Result<()> {
    let database = Settings::database()?;
    let names = app::migrate(&database).await?;
    for name in &names {
        println!("applied {name}");
    }
    if names.is_empty() {
        println!("nothing to apply");
    }
    Ok(())
}

async fn healthcheck() -> anyhow::Result<()> {
    let mut address = Settings::listen_address()?;
    // "Every address" is where a server listens, not where a client can call.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    let response = reqwest::Client::builder()
        .timeout(HEALTHCHECK_TIMEOUT)
        .no_proxy()
        .build()?
        .get(format!("http://{address}/readyz"))
        .send()
        .await
        .with_context(|| format!("nobody answers at {address}"))?;
    let status = response.status();
    anyhow::ensure!(
        status.is_success(),
        "the service at {address} is not ready: {status}"
    );
    Ok(())
}

async fn token(user: &str, roles: &[String], ttl: Duration) -> anyhow::Result<()> {
    let settings = Settings::from_environment()?;
    // The service judges the token's times by this clock.
    let clock = app::clock(&settings).await?;
    let token = auth::mint_development_token(&settings, &clock, user, roles, ttl)?;
    println!("{token}");
    Ok(())
}

/// Completes at the first signal to stop: from a person, or from whatever runs the service.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a time such as 90s, 15m, 8h or 30d");
    let (number, seconds) = match text.char_indices().last() {
        Some((end, 's')) => (&text[..end], 1),
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 60 * 60),
        Some((end, 'd')) => (&text[..end], 24 * 60 * 60),
        _ => return Err(problem()),
    };
    let number: u64 = number.parse().map_err(|_| problem())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(problem)
}
