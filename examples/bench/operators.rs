//! What operators wait for: each statement on a full table, warm, with the indexes by which it is read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use dues::storage::{objects, subscriptions, today, webhook_events};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row as _};
use time::OffsetDateTime;

use crate::fill::Database;
use crate::servers;

/// The goal for each, in ms.
pub(crate) const GOAL: f64 = 50.0;
/// Runs of each; the first ones warm it up.
const RUNS: usize = 4;

/// Some of everything: plans, cancellations, what is on hold or over, a history of a year and a half, events that need
/// somebody and some of rarer types.
const VARIETY: &[&str] = &[
    "UPDATE subscriptions SET plan = 'membership-monthly' WHERE ('x' || right(id::text, 2))::bit(8)::int % 16 = 1",
    "UPDATE subscriptions SET status = 'CANCELLED', status_reason = 'cancel_scheduled', cancel_at = current_period_end,
            cancel_at_period_end = true WHERE ('x' || right(id::text, 2))::bit(8)::int % 32 = 2",
    "UPDATE subscriptions SET status = 'ON_HOLD', status_reason = 'unpaid', stripe_status = 'unpaid'
      WHERE ('x' || right(id::text, 3))::bit(12)::int % 128 = 3",
    "UPDATE subscriptions SET status = 'ENDED', status_reason = 'ended' WHERE ('x' || right(id::text, 2))::bit(8)::int % 32 = 4",
    "UPDATE subscriptions SET status = 'ON_HOLD', status_reason = 'disputed'
      WHERE ('x' || right(id::text, 4))::bit(16)::int % 4096 = 5",
    "INSERT INTO status_changes (subscription_id, from_status, to_status, reason, cause, at)
     SELECT id, 'PENDING_ACTIVATION', 'ACTIVE', 'paid', 'webhook',
            now() - interval '1 day' * (('x' || substr(md5(id::text), 1, 4))::bit(16)::int % 500) FROM subscriptions",
    "INSERT INTO status_changes (subscription_id, from_status, to_status, reason, cause, at)
     SELECT id, 'ACTIVE', status, status_reason, 'webhook', now() - interval '1 hour'
       FROM subscriptions WHERE status IN ('ON_HOLD', 'ENDED', 'CANCELLED')",
    "UPDATE webhook_events SET state = 'failed', last_error = 'x'
      WHERE id IN (SELECT id FROM webhook_events ORDER BY received_at LIMIT 1000)",
    "UPDATE webhook_events SET type = 'charge.dispute.created'
      WHERE id IN (SELECT id FROM webhook_events ORDER BY received_at OFFSET 5000 LIMIT 1000)",
    "UPDATE in_force_walk SET done = 0, seen = (SELECT max(seq) FROM status_changes)",
];

const LISTED: &str =
    "(text, text, text, text, text, timestamptz, timestamptz, timestamptz, uuid, bigint, text)";
const EVENTS: &str = "(text, text, text, timestamptz, text, bigint)";
const FIRST: &str = "'3065-01-01', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 21, NULL";

/// What was asked, and what it took.
pub(crate) struct Asked {
    pub what: String,
    pub ms: f64,
    pub by: String,
}

/// What was measured.
pub(crate) struct Measured {
    pub asked: Vec<Asked>,
    /// The whole history, counted for the first time: changes and time.
    pub walk: (i64, Duration),
    pub recount: Duration,
}

/// One way of asking: what, the statement, the types of its parameters, and their values as SQL.
struct Question {
    what: String,
    text: &'static str,
    types: &'static str,
    values: String,
}

pub(crate) async fn measure(database: &Database) -> anyhow::Result<Measured> {
    let unused = "http://127.0.0.1:9";
    let settings = servers::settings(&servers::variables(&database.url, unused))?;
    let pool = dues::storage::connect(&settings.database).await?;
    let mut db = pool.acquire().await?.detach();
    run(&mut db, "SET statement_timeout = 0; SET enable_seqscan = on; SET session_replication_role = replica").await?;
    for statement in VARIETY {
        run(&mut db, statement).await?;
    }
    run(&mut db, "VACUUM (ANALYZE)").await?;
    let walked = walk(&pool).await?;
    let now: OffsetDateTime = sqlx::query_scalar("SELECT now()").fetch_one(&pool).await?;
    let began = Instant::now();
    today::update_recounted(&pool, now).await?;
    let recount = began.elapsed();
    today::update(&pool, now).await?;
    today::update_seen(&pool).await?;
    let mut asked = Vec::new();
    for question in questions(&pool, database.size).await? {
        asked.push(ask(&pool, question).await?);
    }
    Ok(Measured {
        asked,
        walk: walked,
        recount,
    })
}

async fn walk(pool: &PgPool) -> anyhow::Result<(i64, Duration)> {
    let changes: i64 = sqlx::query_scalar("SELECT count(*) FROM status_changes")
        .fetch_one(pool)
        .await?;
    let began = Instant::now();
    while !today::update_walked(pool, 5_000).await? {}
    Ok((changes, began.elapsed()))
}

async fn questions(pool: &PgPool, size: u32) -> anyhow::Result<Vec<Question>> {
    let middle = size / 2;
    let one = async |text: &str| -> anyhow::Result<String> {
        let text = text.replace("$1", &middle.to_string());
        let found = sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(pool);
        Ok(found.await?)
    };
    let mut all = Vec::new();
    for prefix in ["sub_", "cs_test_", "cus_", "pi_", "in_", "evt_0"] {
        let id = one(&format!("SELECT '{prefix}' || bench_key($1)")).await?;
        all.push(question(
            format!("search {prefix}"),
            objects::BY_STRIPES,
            "(text[])",
            format!("ARRAY ['{id}']"),
        ));
    }
    for (what, kind) in [("checkout", 2), ("subscription", 3), ("transaction", 4)] {
        let id = one(&format!("SELECT bench_uuid({kind}, $1)::text")).await?;
        all.push(question(
            format!("search our {what}"),
            objects::BY_OURS,
            "(uuid, text)",
            format!("'{id}', '{id}'"),
        ));
    }
    let member = format!("NULL, 'member-{middle}'");
    all.push(question(
        "search a member".to_owned(),
        objects::BY_OURS,
        "(uuid, text)",
        member,
    ));
    all.push(question(
        "search nobody".to_owned(),
        objects::BY_OURS,
        "(uuid, text)",
        "NULL, 'x'".to_owned(),
    ));
    let deep = one("SELECT bench_uuid(3, $1 / 10)::text").await?;
    let deep = format!("'3065-01-01', '{deep}', 21, NULL");
    let what = &subscriptions::BY_WHAT_IT_IS;
    for (name, filters) in [
        ("plan", "NULL, 'membership-monthly', NULL, NULL, NULL"),
        ("kind", "'membership', NULL, NULL, NULL, NULL"),
        ("status", "NULL, NULL, NULL, 'ON_HOLD', NULL"),
        ("reason", "NULL, NULL, NULL, NULL, 'disputed'"),
        ("provider", "NULL, NULL, 'stripe', NULL, NULL"),
        (
            "plan, status and reason",
            "NULL, 'membership-annual', NULL, 'ON_HOLD', 'disputed'",
        ),
        (
            "nothing that is there",
            "'share', NULL, NULL, 'ON_HOLD', NULL",
        ),
    ] {
        for (page, place) in [("first", FIRST), ("deep", deep.as_str())] {
            let values = format!("{filters}, NULL, NULL, {place}");
            all.push(question(
                format!("list by {name}, {page} page"),
                what.with([false]),
                LISTED,
                values,
            ));
        }
    }
    let nothing = "NULL, NULL, NULL, NULL, NULL";
    for (page, place) in [("first", FIRST), ("deep", deep.as_str())] {
        let values = format!("{nothing}, NULL, NULL, {place}");
        all.push(question(
            format!("list all, {page} page"),
            subscriptions::ALL,
            LISTED,
            values,
        ));
    }
    let values = format!(
        "{nothing}, NULL, NULL, {}",
        FIRST.replace("NULL", &format!("'member-{middle}'"))
    );
    all.push(question(
        "list by member".to_owned(),
        subscriptions::BY_USER,
        LISTED,
        values,
    ));
    let ends = [
        ("first", "'1970-01-01'"),
        ("deep", "now() + interval '9 days'"),
    ];
    for (page, at) in ends {
        let values = format!(
            "{nothing}, now() + interval '30 days', NULL, {at}, '00000000-0000-0000-0000-000000000000', 21, NULL"
        );
        all.push(question(
            format!("list by end, {page} page"),
            subscriptions::BY_END,
            LISTED,
            values,
        ));
    }
    let joined = "NULL, now() - interval '3 years'";
    for (page, place) in [
        ("first", FIRST.to_owned()),
        (
            "deep",
            deep.replace("'3065-01-01'", "now() - interval '401 days'"),
        ),
    ] {
        let values = format!("{nothing}, {joined}, {place}");
        all.push(question(
            format!("list by joining, {page} page"),
            subscriptions::BY_JOINING,
            LISTED,
            values,
        ));
    }
    let values = format!("NULL, NULL, NULL, 'ON_HOLD', NULL, {joined}, {FIRST}");
    all.push(question(
        "list by status and joining".to_owned(),
        what.with([true]),
        LISTED,
        values,
    ));
    let values = format!("NULL, 'unknown', NULL, NULL, NULL, {joined}, {FIRST}");
    all.push(question(
        "list by joining long ago and a plan that nobody has".to_owned(),
        subscriptions::BY_JOINING,
        LISTED,
        values,
    ));
    let object = one("SELECT 'sub_' || bench_key($1)").await?;
    for (name, parts, values) in [
        ("all", [false; 5], "NULL, NULL, NULL".to_owned()),
        (
            "failed",
            [true, true, false, false, false],
            "'failed', NULL, NULL".to_owned(),
        ),
        (
            "applied",
            [false, true, false, false, false],
            "'applied', NULL, NULL".to_owned(),
        ),
        (
            "a rarer type",
            [false, false, true, true, false],
            "NULL, 'charge.dispute.created', NULL".to_owned(),
        ),
        (
            "a common type",
            [false, false, false, true, false],
            "NULL, 'customer.subscription.updated', NULL".to_owned(),
        ),
        (
            "an object",
            [false, false, false, false, true],
            format!("NULL, NULL, '{object}'"),
        ),
    ] {
        for (page, at) in [
            ("first", "'3065-01-01'"),
            ("deep", "now() - interval '15 days'"),
        ] {
            let text = webhook_events::LIST.with(parts);
            let values = format!("{values}, {at}, '', 21");
            all.push(question(
                format!("events: {name}, {page} page"),
                text,
                EVENTS,
                values,
            ));
        }
    }
    all.push(question(
        "the page of the day".to_owned(),
        today::FIND,
        "",
        String::new(),
    ));
    all.push(question(
        "counting the page of the day".to_owned(),
        today::REFRESH,
        "(timestamptz, timestamptz, timestamptz, date, integer)",
        "now(), now() - interval '15 minutes', now() + interval '30 days', current_date, 366"
            .to_owned(),
    ));
    all.push(question(
        "counting no new change".to_owned(),
        today::WALK,
        "(bigint)",
        "5000".to_owned(),
    ));
    Ok(all)
}

fn question(what: String, text: &'static str, types: &'static str, values: String) -> Question {
    Question {
        what,
        text,
        types,
        values,
    }
}

/// Asks on a connection as the service has them; the quickest of the warm runs.
async fn ask(pool: &PgPool, question: Question) -> anyhow::Result<Asked> {
    let mut db = pool.acquire().await?;
    let Question {
        what,
        text,
        types,
        values,
    } = question;
    run(&mut db, &format!("PREPARE asked {types} AS {text}")).await?;
    let given = if values.is_empty() {
        values
    } else {
        format!("({values})")
    };
    let explained = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked {given}");
    let (mut ms, mut by) = (f64::INFINITY, BTreeSet::new());
    for _ in 0..RUNS {
        let row = sqlx::raw_sql(AssertSqlSafe(explained.clone()))
            .fetch_one(&mut *db)
            .await
            .with_context(|| what.clone())?;
        let plan: Value = row.try_get(0)?;
        let took = |field: &str| plan[0][field].as_f64().unwrap_or_default();
        ms = ms.min(took("Execution Time"));
        by.clear();
        indexes(&plan[0]["Plan"], &mut by);
    }
    run(&mut db, "DEALLOCATE asked").await?;
    let by = by.into_iter().collect::<Vec<_>>().join(" ");
    Ok(Asked { what, ms, by })
}

fn indexes(plan: &Value, found: &mut BTreeSet<String>) {
    if let Some(index) = plan["Index Name"].as_str() {
        found.insert(index.to_owned());
    } else if plan["Node Type"] == "Seq Scan" {
        found.insert(format!("ALL OF {}", plan["Relation Name"]));
    }
    for below in plan["Plans"].as_array().into_iter().flatten() {
        indexes(below, found);
    }
}

async fn run(db: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    let ran = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(db);
    ran.await.with_context(|| statement.to_owned())?;
    Ok(())
}
