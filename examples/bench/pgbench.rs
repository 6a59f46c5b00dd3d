//! Postgres' own benchmark with the naive statement: what the database alone can do on this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::fill::Database;

const SCRIPT: &str = "\
\\set n random(1, :size)
\\set r random(1, 4000000000000000000)
WITH new AS (
    INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
    VALUES ('evt_2' || :r::bigint, 'customer.subscription.updated', 'sub_' || bench_key(:n::bigint),
            to_timestamp(:created::bigint), now(), 'applied') ON CONFLICT DO NOTHING RETURNING 1)
UPDATE subscriptions SET stripe_status = 'active', stripe_state_at = to_timestamp(:created::bigint),
       updated_at = now(), version = version + 1
  FROM new WHERE stripe_subscription_id = 'sub_' || bench_key(:n::bigint);
";

/// Where it is installed: among the programs, else beside a Postgres.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(std::env::var_os("PG_BIN").map(PathBuf::from));
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    places.extend(versions.flatten().map(|version| version.path().join("bin")));
    let programs = places.into_iter().map(|place| place.join("pgbench"));
    programs.into_iter().find(|program| program.is_file())
}

/// How to run it.
pub(crate) struct Run<'a> {
    pub program: &'a Path,
    /// Where the server is.
    pub variables: &'a [(&'static str, OsString)],
    pub scratch: &'a Path,
    pub connections: u16,
    pub seconds: f64,
}

/// What it says.
pub(crate) struct Told {
    pub rate: f64,
    /// The mean, in milliseconds: it tells no median.
    pub latency: f64,
    pub transactions: f64,
}

impl Run<'_> {
    pub(crate) async fn run(&self, database: &mut Database) -> anyhow::Result<Told> {
        let script = self.scratch.join("pgbench.sql");
        std::fs::write(&script, SCRIPT)?;
        let clients = self.connections.to_string();
        let output = tokio::process::Command::new(self.program)
            .args(["--no-vacuum", "--protocol=prepared"])
            .args(["--client", &clients])
            .args(["--jobs", &self.connections.min(2).to_string()])
            .args(["--time", &format!("{:.0}", self.seconds.max(1.0))])
            .args(["--define", &format!("size={}", database.size)])
            .args(["--define", &format!("created={}", database.events.moment())])
            .arg("--file")
            .arg(&script)
            .arg(&database.name)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .output()
            .await
            .context("pgbench does not run")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr));
        }
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<f64>().ok())
                .with_context(|| format!("pgbench does not say {name:?}"))
        };
        let failed = figure("number of failed transactions: ")?;
        ensure!(failed < 1.0, "{failed} of pgbench's transactions failed");
        Ok(Told {
            rate: figure("tps = ")?,
            latency: figure("latency average = ")?,
            transactions: figure("number of transactions actually processed: ")?,
        })
    }
}
