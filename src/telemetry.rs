//! How logs and metrics leave the process.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{Log, LogFormat};

/// Upper bounds in seconds: a webhook takes milliseconds, a checkout waits for Stripe.
const SECONDS: [f64; 12] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// How often recorded values are sorted into buckets, so that they don't pile up where nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Crates that log values which they don't know, and that may be somebody's e-mail: nobody needs their word for it.
const OTHER_PEOPLES_VALUES: [&str; 6] = [
    "stripe_billing",
    "stripe_checkout",
    "stripe_core",
    "stripe_product",
    "stripe_shared",
    "stripe_types",
];

/// The process has one recorder; tests build many apps in one process, and they share it.
static RECORDER: OnceLock<Metrics> = OnceLock::new();

/// Why telemetry can't start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Something else has set up the log of this process.
    #[error("the log of this process is set up twice")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// The level was checked with the settings, so this is a bug.
    #[error("the log level can't be parsed")]
    Level(#[from] tracing_subscriber::filter::ParseError),
}

/// The page of metrics.
#[derive(Clone)]
pub struct Metrics {
    handle: Option<PrometheusHandle>,
}

/// Sets up the log: once, from the program and never from a library or a test.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let mut targets: Targets = log.level.parse()?;
    for crates in OTHER_PEOPLES_VALUES {
        targets = targets.with_target(crates, LevelFilter::OFF);
    }
    let lines = match log.format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        LogFormat::Pretty => fmt::layer().compact().boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init()?;
    // A panic's message may hold data of the request: the log says only where it happened.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panic");
    }));
    Ok(())
}

impl Metrics {
    /// Installs the recorder at the first call; later calls get the same one.
    pub fn install() -> Self {
        RECORDER
            .get_or_init(|| {
                let handle = PrometheusBuilder::new()
                    .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
                    .and_then(PrometheusBuilder::install_recorder);
                describe();
                begin();
                if let Err(error) = &handle {
                    // Members can still be served without metrics.
                    tracing::error!(%error, "there will be no metrics");
                }
                Self {
                    handle: handle.ok(),
                }
            })
            .clone()
    }

    /// Keeps the recorder's memory bounded; runs until dropped.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            if let Some(handle) = &self.handle {
                handle.run_upkeep();
            }
        }
    }

    /// The page in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle
            .as_ref()
            .map(PrometheusHandle::render)
            .unwrap_or_default()
    }
}

/// A series that begins with its first increase shows none: those on which somebody is alerted begin at nothing.
fn begin() {
    metrics::counter!("reconciled_events_total").increment(0);
    metrics::counter!("reconcile_gaps_total").increment(0);
    for direction in ["paid_not_active", "active_not_paid", "other"] {
        metrics::counter!("reconcile_drift_total", "direction" => direction).increment(0);
    }
}

fn describe() {
    metrics::describe_counter!(
        "http_requests_total",
        "Requests answered, by route template, method and status"
    );
    metrics::describe_histogram!(
        "http_request_seconds",
        "Time from a request's head to its answer, by route template and method"
    );
    metrics::describe_counter!(
        "http_problems_total",
        "Error answers, by the code of their problem document"
    );
    metrics::describe_counter!(
        "catalogue_reloads_total",
        "Reloads of the plans file, by outcome (reloaded, or why the file was refused)"
    );
    metrics::describe_gauge!(
        "catalogue_plans_off_sale",
        "Plans whose price at Stripe can't be sold for now"
    );
    metrics::describe_counter!(
        "reconcile_drift_total",
        "Lines of which the comparison in the background found that they are not what Stripe says, by direction"
    );
    metrics::describe_gauge!(
        "reconcile_compared_timestamp_seconds",
        "When that comparison last came to its end: Unix seconds"
    );
    metrics::describe_counter!(
        "reconcile_gaps_total",
        "Walks over Stripe's events that began later than Stripe keeps them"
    );
    metrics::describe_counter!(
        "upkeep_pieces_failed_total",
        "Pieces of work that failed alone, by job"
    );
    metrics::describe_gauge!(
        "webhook_deliveries_waiting",
        "Webhooks that wait for this process's writer"
    );
    metrics::describe_histogram!("webhook_group_size", "Webhooks that were written together");
    metrics::describe_counter!(
        "webhook_groups_died_total",
        "Groups of webhooks that a fault of ours kept from being written; Stripe delivers them again"
    );
    metrics::describe_counter!(
        "job_runs_total",
        "Runs of upkeep's jobs, by job and outcome (done, failed, died)"
    );
    metrics::describe_gauge!(
        "job_last_success_timestamp_seconds",
        "When a job of upkeep was last done, by job: Unix seconds"
    );
    metrics::describe_gauge!(
        "database_connections",
        "Connections of the pool, by state (busy, idle)"
    );
}
