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

/// What is asked, of the member in the middle of all.
async fn questions(pool: &PgPool, size: u32) -> anyhow::Result<Vec<Question>> {
    let middle = size / 2;
    let ids: Vec<String> = sqlx::query_scalar(
        "SELECT prefix || bench_key($1) FROM unnest(ARRAY ['sub_', 'cs_test_', 'cus_', 'pi_', 'in_', 'evt_0']) AS prefix
          UNION ALL SELECT bench_uuid(kind, $1)::text FROM unnest(ARRAY [2, 3, 4]) AS kind
          UNION ALL SELECT bench_uuid(3, $1 / 5)::text",
    )
    .bind(i64::from(middle))
    .fetch_all(pool)
    .await?;
    let (stripes, rest) = ids.split_at(6);
    let (ours, deep) = rest.split_at(3);
    let deep = deep.first().context("a place deep in the list")?;
    let mut all = searches(stripes, ours, middle);
    all.extend(lists(deep, middle));
    all.extend(events(stripes.first().context("a subscription")?));
    all.push(question("the page of the day", today::FIND, "", ""));
    all.push(question(
        "counting the page of the day",
        today::REFRESH,
        "(timestamptz, timestamptz, timestamptz, date, integer)",
        "now(), now() - interval '15 minutes', now() + interval '30 days', current_date, 366",
    ));
    all.push(question(
        "counting no new change",
        today::WALK,
        "(bigint)",
        "5000",
    ));
    Ok(all)
}

fn searches(stripes: &[String], ours: &[String], middle: u32) -> Vec<Question> {
    const OURS: &str = "(uuid, text)";
    let by_stripes = stripes.iter().map(|id| {
        let what = format!("search {}", id.split_once('_').unwrap_or_default().0);
        question(
            &what,
            objects::BY_STRIPES,
            "(text[])",
            &format!("ARRAY ['{id}']"),
        )
    });
    let by_ours = ours.iter().zip(["checkout", "subscription", "transaction"]);
    let by_ours = by_ours.map(|(id, what)| {
        question(
            &format!("search our {what}"),
            objects::BY_OURS,
            OURS,
            &format!("'{id}', '{id}'"),
        )
    });
    let by_text = [
        ("a member", format!("member-{middle}")),
        ("nobody", "x".to_owned()),
    ];
    let by_text = by_text.map(|(what, text)| {
        question(
            &format!("search {what}"),
            objects::BY_OURS,
            OURS,
            &format!("NULL, '{text}'"),
        )
    });
    by_stripes.chain(by_ours).chain(by_text).collect()
}

fn lists(deep: &str, middle: u32) -> Vec<Question> {
    const NOTHING: &str = "NULL, NULL, NULL, NULL, NULL";
    let what = &subscriptions::BY_WHAT_IT_IS;
    let deep = format!("'3065-01-01', '{deep}', 21, NULL");
    let joined = "NULL, now() - interval '3 years'";
    let mut all = Vec::new();
    let mut ask = |name: &str, text, values: String| {
        all.push(question(&format!("list {name}"), text, LISTED, &values));
    };
    for (page, place) in [("first", FIRST), ("deep", deep.as_str())] {
        for (name, filters) in [
            ("plan", "NULL, 'membership-monthly', NULL, NULL, NULL"),
            ("kind", "'membership', NULL, NULL, NULL, NULL"),
            ("status", "NULL, NULL, NULL, 'ON_HOLD', NULL"),
            ("reason", "NULL, NULL, NULL, NULL, 'disputed'"),
            ("provider", "NULL, NULL, 'stripe', NULL, NULL"),
            (
                "plan, status, reason",
                "NULL, 'membership-annual', NULL, 'ON_HOLD', 'disputed'",
            ),
            ("what nobody has", "'share', NULL, NULL, 'ON_HOLD', NULL"),
        ] {
            let values = format!("{filters}, NULL, NULL, {place}");
            ask(
                &format!("by {name}, {page} page"),
                what.with([false]),
                values,
            );
        }
        let values = format!("{NOTHING}, NULL, NULL, {place}");
        ask(&format!("all, {page} page"), subscriptions::ALL, values);
    }
    for (page, at) in [
        ("first", "'1970-01-01'"),
        ("deep", "now() + interval '9 days'"),
    ] {
        let place = format!("{at}, '00000000-0000-0000-0000-000000000000', 21, NULL");
        let values = format!("{NOTHING}, now() + interval '30 days', NULL, {place}");
        ask(
            &format!("by end, {page} page"),
            subscriptions::BY_END,
            values,
        );
    }
    let among = deep.replace("'3065-01-01'", "now() - interval '401 days'");
    for (page, place) in [("first", FIRST), ("deep", among.as_str())] {
        let values = format!("{NOTHING}, {joined}, {place}");
        ask(
            &format!("by joining, {page} page"),
            subscriptions::BY_JOINING,
            values,
        );
    }
    let of_few = format!("NULL, NULL, NULL, 'ON_HOLD', NULL, {joined}, {FIRST}");
    ask("by status and joining", what.with([true]), of_few);
    let nobodys = format!("NULL, 'unknown', NULL, NULL, NULL, {joined}, {FIRST}");
    ask(
        "by joining, of a plan that nobody has",
        subscriptions::BY_JOINING,
        nobodys,
    );
    let hers = FIRST.replace("NULL", &format!("'member-{middle}'"));
    ask(
        "by member",
        subscriptions::BY_USER,
        format!("{NOTHING}, NULL, NULL, {hers}"),
    );
    all
}

fn events(object: &str) -> Vec<Question> {
    let about = format!("NULL, NULL, '{object}'");
    let mut all = Vec::new();
    for (page, at) in [
        ("first", "'3065-01-01'"),
        ("deep", "now() - interval '15 days'"),
    ] {
        for (name, parts, values) in [
            ("all", [false; 5], "NULL, NULL, NULL"),
            (
                "failed",
                [true, true, false, false, false],
                "'failed', NULL, NULL",
            ),
            (
                "applied",
                [false, true, false, false, false],
                "'applied', NULL, NULL",
            ),
            (
                "a rarer type",
                [false, false, true, true, false],
                "NULL, 'charge.dispute.created', NULL",
            ),
            (
                "a common type",
                [false, false, false, true, false],
                "NULL, 'customer.subscription.updated', NULL",
            ),
            (
                "an object",
                [false, false, false, false, true],
                about.as_str(),
            ),
        ] {
            let text = webhook_events::LIST.with(parts);
            let values = format!("{values}, {at}, '', 21");
            all.push(question(
                &format!("events: {name}, {page} page"),
                text,
                EVENTS,
                &values,
            ));
        }
    }
    all
}

fn question(what: &str, text: &'static str, types: &'static str, values: &str) -> Question {
    Question {
        what: what.to_owned(),
        text,
        types,
        values: values.to_owned(),
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
