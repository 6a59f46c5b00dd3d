//! `cargo run --release --example bench`: what an event and a purchase cost, beside references measured in the same run.
//!
//! `options` says what may be asked for. The servers are child processes of this program (`servers`, `children`); what
//! is sent is made before the clock starts (`events`) and what was answered is looked up in the rows afterwards
//! (`check`). `report` prints medians, ratios and which goals are reached.

mod check;
mod children;
mod events;
mod explain;
mod figures;
mod fill;
mod follow;
mod load;
mod meter;
mod operators;
mod options;
mod pgbench;
mod report;
mod servers;
mod signature;
mod subscribe;
mod webhooks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser as _;
use dev_postgres::Cluster;
use tokio::signal::unix::{SignalKind, signal};

use crate::children::Child;
use crate::fill::Database;
use crate::options::{Cli, Part, Role};
use crate::webhooks::Bench;

/// A run's directory, before the number of its process.
const RUN: &str = "bench-";

/// Purchases are measured on a middling table.
const MEMBERS: u32 = 5_000;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match (cli.role, &cli.announce) {
        (Some(role), Some(announce)) => servers::be(role, announce).await,
        _ => bench(&cli.settled()).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, and removes everything however that ends.
async fn bench(cli: &Cli) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let scratch = scratch(cli)?;
    let outcome = tokio::select! {
        outcome = in_directory(cli, &scratch) => outcome,
        () = stopped => Err(anyhow::anyhow!("stopped; everything is being removed")),
    };
    remove(&scratch.join("postgres")).await?;
    std::fs::remove_dir_all(&scratch)
        .with_context(|| format!("can't remove {}", scratch.display()))?;
    outcome
}

/// Waits for the server that a broken-off run has just left: what it had under way may hold it for a moment.
async fn remove(postgres: &Path) -> anyhow::Result<()> {
    for _ in 0..20 {
        if Cluster::remove(postgres).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(Cluster::remove(postgres).await?)
}

/// A directory of this run alone.
fn scratch(cli: &Cli) -> anyhow::Result<PathBuf> {
    let parent = cli.dir.clone();
    let parent = parent.unwrap_or_else(|| servers::project(".dues"));
    std::fs::create_dir_all(&parent)?;
    let parent = parent.canonicalize()?;
    ensure!(
        !in_memory(&parent),
        "{} is in memory, where a flush costs nothing: choose a place on a disk with --dir",
        parent.display()
    );
    clear_away(&parent);
    let scratch = parent.join(format!("{RUN}{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    Ok(scratch)
}

/// Removes what runs left behind that were killed: gigabytes, perhaps. Their servers are gone with them.
fn clear_away(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN));
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// Whether the file system that holds a path is one in memory.
fn in_memory(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        let kind = fields.next()?;
        path.starts_with(place).then_some((place.len(), kind))
    });
    let mounted = mounts.max_by_key(|(length, _)| *length);
    mounted.is_some_and(|(_, kind)| matches!(kind, "tmpfs" | "ramfs"))
}

async fn in_directory(cli: &Cli, scratch: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let (machine, ours) = (meter::machine()?, meter::ours()?);
    println!("Starting Postgres …");
    let cluster = Cluster::demo(&scratch.join("postgres")).await?;
    let explained = fill::set_up(&cluster, !cli.no_analyze, cli.explain).await?;
    if cli.explain && !explained {
        println!("  there is no pg_stat_statements: nothing will be explained");
    }
    report::head(cli, &fill::describe(&cluster).await?)?;
    let sandbox = Child::start(Role::Sandbox, scratch, &[]).await?;
    let bench = Bench {
        cli,
        cluster: &cluster,
        scratch,
        sandbox: &sandbox.url(),
    };

    let purchases = if cli.measures(Part::Subscribe) {
        println!("\nPurchases …");
        let database = Database::create(&cluster, "members", MEMBERS, !cli.no_analyze).await?;
        Some(subscribe::measure(&bench, &database).await?)
    } else {
        None
    };
    let events = if cli.measures(Part::Webhooks) {
        println!("\nWebhooks …");
        let mut databases = Vec::new();
        for &size in &cli.sizes {
            let name = format!("members_{size}");
            databases.push(Database::create(&cluster, &name, size, !cli.no_analyze).await?);
        }
        if explained {
            explain::begin(&cluster).await?;
        }
        let results = webhooks::measure(&bench, &mut databases).await?;
        if explained {
            explain::print(&cluster).await?;
        }
        Some(results)
    } else {
        None
    };

    let followed = match cli.sizes.last().filter(|_| cli.measures(Part::Follow)) {
        Some(&rows) => {
            println!("\nA follower …");
            let database = Database::create(&cluster, "followed", MEMBERS, true).await?;
            Some(follow::measure(&bench, &database, rows).await?)
        }
        None => None,
    };

    let looked_at = match cli.sizes.last().filter(|_| cli.measures(Part::Operators)) {
        Some(&size) => {
            println!("\nOperators …");
            let database = Database::create(&cluster, "looked_at", size, true).await?;
            Some((size, operators::measure(&database).await?))
        }
        None => None,
    };

    if let Some(purchases) = &purchases {
        report::purchases(purchases);
    }
    if let Some(results) = &events {
        report::events(cli, results);
    }
    if let Some(followed) = &followed {
        report::followed(followed);
    }
    if let Some((size, measured)) = &looked_at {
        report::looked_at(*size, measured);
    }
    report::goals(cli, purchases.as_deref(), events.as_ref());
    sandbox.stop().await?;
    let ours = meter::ours()?.saturating_sub(ours) + meter::cluster(cluster.server_pid())?;
    let all = meter::machine()?.saturating_sub(machine);
    report::end(began.elapsed(), all, ours);
    cluster.close().await?;
    Ok(())
}
