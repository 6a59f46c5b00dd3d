//! The webhook path: every server at every size and number of connections, one after the other, in rounds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use dev_postgres::Cluster;
use dues::clock::Clock;
use tokio::task::spawn_blocking;

use crate::check::check;
use crate::children::Child;
use crate::events::Batch;
use crate::figures::{Figures, Results, Who, millis, number};
use crate::fill::Database;
use crate::load::{Load, drive};
use crate::options::{Cli, Role, rows};
use crate::{meter, pgbench, servers};

/// The bare server gets the same events again and again: it remembers none.
const CYCLE: usize = 2_048;
/// How many a second are prepared for a server that was not measured yet …
const GUESS: f64 = 8_000.0;
/// … and at most for one phase: each takes six kilobytes.
const MOST: f64 = 60_000.0;
/// Fills the pools and lets Postgres settle on its plans, unmeasured.
const WARM_UP: usize = 800;
const WARM_UP_CONNECTIONS: u16 = 16;
const WARM_UP_TIME: Duration = Duration::from_millis(1_500);
/// So many of Postgres' connections are free for pgbench beside those of the two pools.
const PGBENCH_CONNECTIONS: u16 = 64;
const SESSIONS_END: Duration = Duration::from_millis(300);

/// What a run works with.
pub(crate) struct Bench<'a> {
    pub cli: &'a Cli,
    pub cluster: &'a Cluster,
    pub scratch: &'a Path,
    pub sandbox: &'a str,
}

pub(crate) async fn measure(
    bench: &Bench<'_>,
    databases: &mut [Database],
) -> anyhow::Result<Results> {
    let mut results = Results::default();
    let pgbench = pgbench::find();
    if pgbench.is_none() {
        println!("  pgbench is not installed: its rows are left out");
    }
    for round in 1..=bench.cli.rounds {
        for database in &mut *databases {
            let at = format!("round {round}/{}", bench.cli.rounds);
            bench
                .one_size(&at, round, database, pgbench.as_ref(), &mut results)
                .await?;
        }
    }
    Ok(results)
}

impl Bench<'_> {
    async fn one_size(
        &self,
        at: &str,
        round: u8,
        database: &mut Database,
        pgbench: Option<&PathBuf>,
        results: &mut Results,
    ) -> anyhow::Result<()> {
        let variables = servers::variables(&database.url, self.sandbox);
        let mut children = Vec::new();
        for role in [Role::Service, Role::Naive, Role::Bare] {
            children.push(Child::start(role, self.scratch, &variables).await?);
        }
        for child in &children {
            self.phase(child, database, WARM_UP_CONNECTIONS, WARM_UP_TIME, WARM_UP)
                .await?;
        }
        // Whoever comes first finds the caches as the one before left them: they take turns in that too.
        children.rotate_left(usize::from(round - 1) % 3);
        for &connections in &self.cli.connections {
            let mut line = format!("  {at} {:>5} ×{connections:<3}", rows(database.size));
            for child in &children {
                let who = who(child.role).context("not a server to measure")?;
                let wanted = results.fastest(connections, who).unwrap_or(GUESS) * 1.6;
                let length = Duration::from_secs_f64(self.cli.seconds);
                let count = count(wanted * self.cli.seconds);
                let figures = self
                    .phase(child, database, connections, length, count)
                    .await?;
                write!(line, "  {} {:.0}/s", who.as_str(), figures.rate)?;
                results.add((database.size, connections, who), figures);
            }
            if let Some(program) = pgbench
                && connections <= PGBENCH_CONNECTIONS
            {
                let figures = self.pgbench(program, database, connections).await?;
                write!(line, "  pgbench {:.0}/s", figures.rate)?;
                results.add((database.size, connections, Who::Pgbench), figures);
            }
            println!("{line}");
        }
        for child in children {
            child.stop().await?;
        }
        Ok(())
    }

    /// Measures one server for a while, and checks that what it answered is true.
    async fn phase(
        &self,
        child: &Child,
        database: &mut Database,
        connections: u16,
        length: Duration,
        count: usize,
    ) -> anyhow::Result<Figures> {
        let bare = child.role == Role::Bare;
        let count = if bare { CYCLE } else { count };
        let now = Clock::system().wall().unix_timestamp();
        let Batch { requests, events } = database.events.batch(count, now)?;
        let load = Load {
            address: child.address,
            requests,
            again: bare,
            connections,
            length,
        };
        let postmaster = self.cluster.server_pid();
        meter::reset_peak(child.pid());
        let (server, postgres) = (meter::process(child.pid())?, meter::cluster(postmaster)?);
        let outcome = spawn_blocking(move || drive(load)).await?;
        let outcome = outcome.with_context(|| format!("at the {}", child.role.as_str()))?;
        let server = meter::process(child.pid())?.saturating_sub(server);
        let postgres = meter::cluster(postmaster)?.saturating_sub(postgres);
        let peak = meter::peak(child.pid())?;
        if !bare {
            let sent = events.get(..outcome.sent).unwrap_or_default();
            check(&database.url, sent, child.role).await?;
        }
        let sent = number(outcome.sent);
        Ok(Figures {
            rate: sent / outcome.elapsed.as_secs_f64(),
            p50: millis(outcome.percentile(50)),
            p99: Some(millis(outcome.percentile(99))),
            server: Some(millis(server) / sent),
            postgres: millis(postgres) / sent,
            peak: Some(f64::from(u32::try_from(peak)?) / 1_024.0),
        })
    }

    async fn pgbench(
        &self,
        program: &Path,
        database: &mut Database,
        connections: u16,
    ) -> anyhow::Result<Figures> {
        let postmaster = self.cluster.server_pid();
        let before = meter::cluster(postmaster)?;
        let run = pgbench::Run {
            program,
            variables: &self.cluster.variables(),
            scratch: self.scratch,
            connections,
            seconds: self.cli.seconds,
        };
        let told = run.run(database).await?;
        // Its sessions end a little later than it does, and count only when they have.
        tokio::time::sleep(SESSIONS_END).await;
        let postgres = meter::cluster(postmaster)?.saturating_sub(before);
        Ok(Figures {
            rate: told.rate,
            p50: told.latency,
            p99: None,
            server: None,
            postgres: millis(postgres) / told.transactions,
            peak: None,
        })
    }
}

fn who(role: Role) -> Option<Who> {
    match role {
        Role::Service => Some(Who::Service),
        Role::Naive => Some(Who::Naive),
        Role::Bare => Some(Who::Bare),
        Role::Sandbox => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between bounds that fit"
)]
fn count(wanted: f64) -> usize {
    wanted.clamp(1_000.0, MOST) as usize
}
