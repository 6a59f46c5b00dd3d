//! A database of so many members who renew, as a year or two of service would leave it.

use std::time::Instant;

use anyhow::Context;
use dev_postgres::Cluster;
use dues::app;
use dues::clock::Clock;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::OffsetDateTime;

use crate::events::{PRICE, Source};
use crate::options::rows;
use crate::servers;

/// A filled database, and the events for it.
pub(crate) struct Database {
    pub size: u32,
    pub name: String,
    pub url: String,
    pub events: Source,
}

/// The same ids as in `events`, so that nothing must be read to know them.
const FUNCTIONS: [&str; 3] = [
    "CREATE FUNCTION bench_scatter(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
         RETURN n * 1103515245 % 2147483647",
    "CREATE FUNCTION bench_key(n bigint) RETURNS text LANGUAGE sql IMMUTABLE
         RETURN '1' || lpad(to_hex(n), 8, '0') || 'LkdIwHu7' || lpad(to_hex(bench_scatter(n)), 8, '0')",
    "CREATE FUNCTION bench_uuid(t integer, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE
         RETURN (lpad(to_hex(1700000000000 + n * 1000), 12, '0') || '7' || lpad(to_hex(t), 3, '0') || '8000'
             || lpad(to_hex(bench_scatter(n)), 12, '0'))::uuid",
];

/// What is left out has a default. `$1` is how many, `$2` the present; a member is one who renews, paid 401 days ago.
/// Two connections share the work.
const ROWS: [&[&str]; 2] = [
    &[
    "INSERT INTO customers (id, user_id, currency, stripe_customer_id, created_at)
     SELECT bench_uuid(1, n), 'member-' || n, 'eur', 'cus_' || bench_key(n), $2 - interval '700 days'
       FROM generate_series(1, $1) AS n",
    "INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring,
            upgrade_group, status, status_reason, version, stripe_subscription_id, stripe_price_id,
            stripe_line_item_id, stripe_status, stripe_state_at, first_paid_at, last_paid_at, current_period_end,
            paid_from, paid_until, next_look_at, created_at, updated_at)
     SELECT bench_uuid(3, n), bench_uuid(2, n), 0, 'member-' || n, 'membership-annual', 'membership', 1, true, true,
            'membership', 'ACTIVE', 'paid', 4, 'sub_' || bench_key(n), $3, 'li_' || bench_key(n), 'active',
            $2 - interval '401 days', $2 - interval '700 days', $2 - interval '401 days', $2 + interval '9 days',
            $2 - interval '356 days', $2 + interval '9 days', $2 + interval '44 days', $2 - interval '700 days',
            $2 - interval '401 days'
       FROM generate_series(1, $1) AS n",
    "INSERT INTO status_changes (subscription_id, to_status, reason, cause, actor, at)
     SELECT bench_uuid(3, n), 'PENDING_ACTIVATION', 'awaiting_payment', 'member', 'member-' || n,
            $2 - interval '700 days'
       FROM generate_series(1, $1) AS n",
    // The walk through Stripe's events has come as far as the present.
    "INSERT INTO cursors (name, position, updated_at)
     SELECT 'events', to_char($2 AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), $2
      WHERE $1 > 0 ON CONFLICT DO NOTHING",
    // And all were judged by the grace that the settings have.
    "INSERT INTO cursors (name, position, updated_at) SELECT 'grace', '35', $2 WHERE $1 > 0 ON CONFLICT DO NOTHING",
    ],
    &[
    "INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, stripe_customer_id, stripe_session_id,
            request_hash, cancel_token_hash, expires_at, created_at)
     SELECT bench_uuid(2, n), 'member-' || n, 'eur', 'subscription', 'complete', bench_uuid(1, n),
            'cus_' || bench_key(n), 'cs_test_' || bench_key(n), sha256(n::text::bytea), sha256((-n)::text::bytea),
            $2 - interval '700 days' + interval '2 hours', $2 - interval '700 days'
       FROM generate_series(1, $1) AS n",
    "INSERT INTO transactions (id, subscription_id, kind, stripe_reference, stripe_payment_intent_id, occurred_at,
            created_at)
     SELECT bench_uuid(4, n), bench_uuid(3, n), 'payment', 'in_' || bench_key(n), 'pi_' || bench_key(n),
            $2 - interval '401 days', $2 - interval '401 days'
       FROM generate_series(1, $1) AS n",
    // Those of the last month, of which each member has had one: none is old enough to be purged.
    "INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
     SELECT 'evt_0' || bench_key(n), 'customer.subscription.updated', 'sub_' || bench_key(n), at, at, 'applied'
       FROM (SELECT n, $2 - interval '30 days' + interval '30 days' * n / $1 AS at
               FROM generate_series(1, $1) AS n) AS spread",
    ],
];

/// Rows that were written a few times leave room in their pages, where the next version goes; a table filled at a
/// stroke has none, and its first updates would cost many times what they cost in a table that has lived.
const LIVED_IN: &str = "ALTER TABLE subscriptions SET (fillfactor = 75)";

impl Database {
    /// Creates, migrates and fills it. The service's own migrations make the schema.
    pub(crate) async fn create(
        cluster: &Cluster,
        name: &str,
        size: u32,
        analyze: bool,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        cluster.ensure_database(name).await?;
        let url = cluster.url(name);
        let unused = "http://127.0.0.1:9";
        app::migrate(&servers::settings(&servers::variables(&url, unused))?.database).await?;
        let mut db = PgConnection::connect(&url).await?;
        for function in FUNCTIONS {
            sqlx::query(function).execute(&mut db).await?;
        }
        let own: Option<Vec<String>> = sqlx::query_scalar(
            "SELECT reloptions FROM pg_class WHERE oid = 'subscriptions'::regclass",
        )
        .fetch_one(&mut db)
        .await?;
        // Where the schema says itself how full the pages shall be, that is how they are.
        let packed = own.is_none();
        if packed {
            sqlx::query(LIVED_IN).execute(&mut db).await?;
        }
        let now = Clock::system().wall();
        let [one, other] = ROWS.map(|inserts| fill(&url, inserts, size, now));
        tokio::try_join!(one, other)?;
        if packed {
            sqlx::query("ALTER TABLE subscriptions RESET (fillfactor)")
                .execute(&mut db)
                .await?;
        }
        // Not left to the background, which would do it in the middle of a measurement. After a restore nobody has
        // done it yet.
        if analyze {
            sqlx::query("VACUUM (ANALYZE)").execute(&mut db).await?;
        }
        sqlx::query("CHECKPOINT").execute(&mut db).await?;
        let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
            .fetch_one(&mut db)
            .await?;
        db.close().await?;
        println!(
            "  filled {:>5} subscriptions: {} MB, {:.1} s",
            rows(size),
            bytes >> 20,
            began.elapsed().as_secs_f64()
        );
        Ok(Self {
            size,
            name: name.to_owned(),
            url,
            events: Source::new(size, now.unix_timestamp()),
        })
    }
}

async fn fill(
    url: &str,
    inserts: &[&'static str],
    size: u32,
    now: OffsetDateTime,
) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(url).await?;
    for setting in [
        // The rows fit together by the way they are made; to check that a million times would take minutes.
        "SET session_replication_role = replica",
        "SET synchronous_commit = off",
    ] {
        sqlx::query(setting).execute(&mut db).await?;
    }
    for insert in inserts {
        let query = sqlx::query(*insert).bind(i64::from(size)).bind(now);
        let query = if insert.contains("$3") {
            query.bind(PRICE)
        } else {
            query
        };
        let inserted = query.execute(&mut db).await;
        inserted.with_context(|| format!("can't fill the tables: {insert}"))?;
    }
    db.close().await?;
    Ok(())
}

/// Sets the server as a production one is set, where it isn't: nothing that makes a commit less durable.
pub(crate) async fn set_up(
    cluster: &Cluster,
    analyze: bool,
    explain: bool,
) -> anyhow::Result<bool> {
    let mut db = PgConnection::connect(&cluster.url("postgres")).await?;
    let mut settings = vec![("max_wal_size", "4GB"), ("checkpoint_timeout", "15min")];
    if !analyze {
        // It would gather the statistics after a minute.
        settings.push(("autovacuum", "off"));
    }
    let available: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')",
    )
    .fetch_one(&mut db)
    .await?;
    let explain = explain && available;
    if explain {
        settings.push(("shared_preload_libraries", "pg_stat_statements"));
    }
    for (name, value) in settings {
        let statement = format!("ALTER SYSTEM SET {name} = '{value}'");
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut db)
            .await?;
    }
    sqlx::query("SELECT pg_reload_conf()")
        .execute(&mut db)
        .await?;
    db.close().await?;
    if explain {
        cluster.restart().await?;
    }
    Ok(explain)
}

/// What of the server's settings the figures depend on.
pub(crate) async fn describe(cluster: &Cluster) -> anyhow::Result<String> {
    let mut db = PgConnection::connect(&cluster.url("postgres")).await?;
    let mut told = Vec::new();
    for name in [
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "wal_sync_method",
        "shared_buffers",
        "max_wal_size",
        "checkpoint_timeout",
        "autovacuum",
    ] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut db)
            .await?;
        told.push(format!("{name} {value}"));
    }
    db.close().await?;
    Ok(told.join(", "))
}
