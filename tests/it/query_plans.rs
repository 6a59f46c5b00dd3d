//! The hot statements are look-ups, however many rows there are and whenever they were last counted.

use std::collections::HashMap;
use std::net::SocketAddr;

use dues::storage::baskets::{FIND, WRITE};
use dues::storage::{objects, subscriptions, today, webhook_events};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};

use crate::harness::lifecycle::MONTH;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::replica::settings;
use crate::harness::{TestApp, migrated_database};

/// A statement: its name, its text, the types of its parameters where their use does not tell, and how many they are.
type Statement = (&'static str, &'static str, &'static str, usize);

/// What operators wait for, each way that it may be asked.
fn looked_at() -> Vec<Statement> {
    const LISTED: &str =
        "(text, text, text, text, text, timestamptz, timestamptz, timestamptz, uuid, bigint, text)";
    const EVENTS: &str = "(text, text, text, timestamptz, text, bigint)";
    let what = &subscriptions::BY_WHAT_IT_IS;
    let events = &webhook_events::LIST;
    assert_eq!((what.count(), events.count()), (1, 5));
    let listed = [
        ("of_all", subscriptions::ALL),
        ("by_what_it_is", what.with([false])),
        ("by_what_it_is_and_joined", what.with([true])),
        ("by_user", subscriptions::BY_USER),
        ("by_end", subscriptions::BY_END),
        ("by_joining", subscriptions::BY_JOINING),
    ];
    let told = [
        ("events", [false; 5]),
        ("events_unsettled", [true, true, false, false, false]),
        ("events_applied", [false, true, false, false, false]),
        ("events_rarer", [false, false, true, true, false]),
        ("events_common", [false, false, false, true, false]),
        ("events_about", [false, false, false, false, true]),
        ("events_unsettled_rarer_about", [true; 5]),
    ];
    let listed = listed.map(|(name, text)| (name, text, LISTED, 11));
    let told = told.map(|(name, parts)| (name, events.with(parts), EVENTS, 6));
    let others = [
        ("by_stripes", objects::BY_STRIPES, "(text[])", 1),
        ("by_ours", objects::BY_OURS, "(uuid, text)", 2),
        ("today", today::FIND, "", 0),
        ("today_walk", today::WALK, "(bigint)", 1),
        (
            "today_refresh",
            today::REFRESH,
            "(timestamptz, timestamptz, timestamptz, date, integer)",
            5,
        ),
    ];
    listed.into_iter().chain(told).chain(others).collect()
}

/// Tables of one row.
const ONE_ROW: [&str; 3] = ["today", "in_force_walk", "last_comparison"];

/// What members and webhooks wait for, with all its parts and the number of its parameters.
fn hot() -> Vec<Statement> {
    assert_eq!((FIND.count(), WRITE.count()), (7, 16));
    vec![
        ("find", FIND.with([true; 7]), "", 8),
        ("write", WRITE.with([true; 16]), "", 85),
        (
            "find_buyer",
            include_str!("../../src/storage/checkouts/find_buyer.sql"),
            "",
            4,
        ),
        (
            "insert",
            include_str!("../../src/storage/checkouts/insert.sql"),
            "",
            25,
        ),
    ]
}

/// Tables that grow.
const TABLES: [&str; 8] = [
    "customers",
    "checkouts",
    "subscriptions",
    "transactions",
    "status_changes",
    "webhook_events",
    "idempotency_keys",
    "feed",
];

/// Members with a membership each, numbered from `$1` to `$2`, with a year of payments and events.
const FILL: [&str; 6] = [
    "INSERT INTO customers (id, user_id, currency, stripe_customer_id, created_at)
     SELECT md5('k' || n)::uuid, 'user' || n, 'eur', 'cus_' || n, now() FROM generate_series($1::int, $2::int) n",
    "INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, stripe_session_id, request_hash,
                            cancel_token_hash, expires_at, created_at)
     SELECT md5('c' || n)::uuid, 'user' || n, 'eur', 'subscription', 'complete', md5('k' || n)::uuid, 'cs_' || n,
            '', '', now(), now() FROM generate_series($1::int, $2::int) n",
    "INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring, status,
                                status_reason, stripe_subscription_id, stripe_price_id, stripe_status, stripe_state_at,
                                first_paid_at, created_at, updated_at)
     SELECT md5('s' || n)::uuid, md5('c' || n)::uuid, 0, 'user' || n, 'membership-annual', 'membership', 1, true, true,
            'ACTIVE', 'paid', 'sub_' || n, 'price_1', 'active', now(), now(), now(), now()
       FROM generate_series($1::int, $2::int) n",
    "INSERT INTO transactions (id, subscription_id, kind, stripe_reference, stripe_payment_intent_id, occurred_at,
                               created_at)
     SELECT md5('t' || n)::uuid, md5('s' || n)::uuid, 'payment', 'in_' || n, 'pi_' || n, now(), now()
       FROM generate_series($1::int, $2::int) n",
    "INSERT INTO status_changes (subscription_id, to_status, reason, cause, at)
     SELECT md5('s' || n)::uuid, 'ACTIVE', 'paid', 'webhook', now() FROM generate_series($1::int, $2::int) n",
    "INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
     SELECT 'evt_' || n, 'invoice.paid', 'in_' || n, now(), now(), 'applied' FROM generate_series($1::int, $2::int) n",
];

async fn run(db: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut *db)
        .await
        .expect("the statement is good");
}

/// What of a plan reads more than it was asked for: a sentence each.
fn scans(plan: &Value, found: &mut Vec<String>) {
    let kind = plan["Node Type"].as_str().unwrap_or_default();
    let table = plan["Relation Name"].as_str();
    let by = plan["Index Name"].as_str().unwrap_or_default();
    match kind {
        _ if table.is_some_and(|table| ONE_ROW.contains(&table)) => {}
        // By its place a row is found that another part of the statement has found by an index.
        "Tid Scan" if !plan["TID Cond"].is_null() => {}
        "Seq Scan" | "Tid Scan" => {
            found.extend(table.map(|table| format!("all of {table}")));
        }
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" if plan["Index Cond"].is_null() => {
            found.push(format!("all of the index {by}"));
        }
        _ => {}
    }
    for below in plan["Plans"].as_array().into_iter().flatten() {
        scans(below, found);
    }
}

/// The plans that a new connection of the service makes of the hot statements.
async fn explain(pool: &PgPool, situation: &str) {
    let mut db = pool.acquire().await.expect("a connection").detach();
    for (name, text, types, parameters) in hot().into_iter().chain(looked_at()) {
        run(&mut db, format!("PREPARE {name} {types} AS {text}")).await;
        let nothing = vec!["NULL"; parameters].join(", ");
        let given = if parameters == 0 {
            String::new()
        } else {
            format!("({nothing})")
        };
        let explained = format!("EXPLAIN (FORMAT JSON) EXECUTE {name} {given}");
        let row = sqlx::raw_sql(AssertSqlSafe(explained))
            .fetch_one(&mut db)
            .await
            .expect("a plan");
        let plan: Value = row.try_get(0).expect("a plan is JSON");
        let mut found = Vec::new();
        scans(&plan[0]["Plan"], &mut found);
        assert!(
            found.is_empty(),
            "{name} reads {} with {situation}:\n{plan:#}",
            found.join(", ")
        );
    }
    db.close().await.expect("the connection can be closed");
}

#[tokio::test]
async fn no_statement_that_somebody_waits_for_scans_a_table_whatever_its_size_and_however_old_its_statistics()
 {
    let database = migrated_database().await;
    let settings = settings(
        database.url(),
        SocketAddr::from(([127, 0, 0, 1], 1)),
        "http://127.0.0.1:1",
        &HashMap::new(),
    );
    let pool = dues::storage::connect(&settings.database)
        .await
        .expect("the database is there");
    let mut db = pool.acquire().await.expect("a connection").detach();
    // Nobody counts the rows but this test.
    for table in TABLES {
        let off = format!("ALTER TABLE {table} SET (autovacuum_enabled = false)");
        run(&mut db, off).await;
    }
    explain(&pool, "no row and no statistics").await;
    let mut filled = 0;
    for size in [5, 1_000, 3_000, 10_000, 100_000] {
        for statement in FILL {
            sqlx::query(statement)
                .bind(filled + 1)
                .bind(size)
                .execute(&mut db)
                .await
                .expect("the rows can be written");
        }
        explain(&pool, &format!("{size} rows and statistics of {filled}")).await;
        run(&mut db, "ANALYZE".to_owned()).await;
        explain(&pool, &format!("{size} rows and fresh statistics")).await;
        filled = size;
    }
    db.close().await.expect("the connection can be closed");
}

/// A row stays on its page, and no index is written, when no column has changed that an index holds or asks about.
#[tokio::test]
async fn a_renewal_changes_no_column_that_an_index_holds() {
    let app = TestApp::with().following_the_sandbox().start().await;
    let bought = app.sell("membership-monthly", GOOD_CARD).await;
    let row = async || -> Value {
        let row: Value =
            sqlx::query_scalar("SELECT to_jsonb(s) FROM subscriptions s WHERE id = $1::uuid")
                .bind(&bought.subscription)
                .fetch_one(&app.pool)
                .await
                .expect("the row");
        row
    };
    let before = row().await;
    app.advance(MONTH).await;
    let after = app
        .until("it has renewed", async || {
            Some(row().await).filter(|after| after["paid_until"] != before["paid_until"])
        })
        .await;
    let indexed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT a.attname::text FROM pg_index i
           JOIN pg_depend d ON d.objid = i.indexrelid AND d.refobjid = i.indrelid
           JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          WHERE i.indrelid = 'subscriptions'::regclass
          UNION SELECT a.attname FROM pg_index i JOIN pg_attribute a
             ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = 'subscriptions'::regclass",
    )
    .fetch_all(&app.pool)
    .await
    .expect("the columns");
    assert!(indexed.contains(&"status".to_owned()) && indexed.contains(&"id".to_owned()));
    let changed: Vec<&String> = indexed
        .iter()
        .filter(|name| before[*name] != after[*name])
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
}

#[test]
fn a_scan_is_seen_wherever_in_a_plan_it_is() {
    let plan = serde_json::json!({"Node Type": "ModifyTable", "Plans": [
        {"Node Type": "Nested Loop", "Plans": [
            {"Node Type": "Function Scan"},
            {"Node Type": "Seq Scan", "Relation Name": "subscriptions"}]},
        {"Node Type": "Index Scan", "Index Name": "checkouts_pkey", "Index Cond": "(id = n.id)"},
        {"Node Type": "Index Only Scan", "Index Name": "customers_pkey"}]});
    let mut found = Vec::new();
    scans(&plan, &mut found);
    assert_eq!(
        found,
        ["all of subscriptions", "all of the index customers_pkey"]
    );
}
