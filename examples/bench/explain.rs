//! Which statements cost most, as Postgres itself counts.

use dev_postgres::Cluster;
use sqlx::{Connection as _, PgConnection};

const TOP: &str = "SELECT d.datname::text, s.calls, s.total_plan_time / s.calls, s.mean_exec_time,
        (s.shared_blks_hit + s.shared_blks_read)::float8 / s.calls, s.wal_bytes::float8 / s.calls,
        left(regexp_replace(s.query, '\\s+', ' ', 'g'), 100)
   FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
  WHERE d.datname LIKE 'members%' AND s.calls > 0
  ORDER BY s.total_plan_time + s.total_exec_time DESC LIMIT 20";

/// Counts from here on.
pub(crate) async fn begin(cluster: &Cluster) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&cluster.url("postgres")).await?;
    for statement in [
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements",
        "ALTER SYSTEM SET pg_stat_statements.track_planning = on",
        "SELECT pg_reload_conf()",
        "SELECT pg_stat_statements_reset()",
    ] {
        sqlx::query(statement).execute(&mut db).await?;
    }
    db.close().await?;
    Ok(())
}

pub(crate) async fn print(cluster: &Cluster) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(&cluster.url("postgres")).await?;
    let rows: Vec<(String, i64, f64, f64, f64, f64, String)> =
        sqlx::query_as(TOP).fetch_all(&mut db).await?;
    db.close().await?;
    println!(
        "\nStatements by all that they cost (milliseconds, buffers and bytes of WAL a call):\n"
    );
    println!(
        "{:<15} {:>8} {:>7} {:>7} {:>8} {:>7}",
        "database", "calls", "plan", "run", "buffers", "WAL"
    );
    for (database, calls, plan, run, buffers, wal, query) in rows {
        println!(
            "{database:<15} {calls:>8} {plan:>7.3} {run:>7.3} {buffers:>8.1} {wal:>7.0}  {query}"
        );
    }
    Ok(())
}
