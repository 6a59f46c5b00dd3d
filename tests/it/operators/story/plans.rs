//! What a story reads is bounded and found by indexes, whatever the tables' size.

use dues::storage::{actions, status_changes, transactions, webhook_events};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};

use crate::harness::TestApp;

/// Forty thousand rows of each table, of as many members. Foreign keys are not the point.
const FILL: &str = "
    SET session_replication_role = replica;
    INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring, status,
                               status_reason, stripe_price_id, created_at, updated_at)
    SELECT md5(n::text)::uuid, md5('c' || n)::uuid, 0, 'user' || n, 'p', 'share', 1, false, false, 'ACTIVE', 'paid',
           'price_1', now(), now() FROM generate_series(1, 40000) n;
    INSERT INTO status_changes (subscription_id, to_status, reason, cause, at)
    SELECT md5(n::text)::uuid, 'ACTIVE', 'paid', 'webhook', now() FROM generate_series(1, 40000) n;
    INSERT INTO transactions (id, subscription_id, kind, stripe_reference, stripe_payment_intent_id, occurred_at, created_at)
    SELECT md5('t' || n)::uuid, md5(n::text)::uuid, 'payment', 'in_' || n, 'pi_' || n, now(), now()
      FROM generate_series(1, 40000) n;
    INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
    SELECT 'evt_' || n, 'invoice.paid', 'in_' || n, now(), now(), 'applied' FROM generate_series(1, 40000) n;
    INSERT INTO actions (id, seq, at, actor, role, request_hash, verb, subject, user_id, target, reason, state, outcome)
    SELECT md5('a' || n)::uuid, n, now(), 'olga', 'operator', '', 'refund', 'x' || n, 'user' || n, 'pi_' || n, 'mistake',
           'done', 'done' FROM generate_series(1, 40000) n;
    ANALYZE";

/// Each statement with what it is asked.
fn statements() -> [(&'static str, &'static str); 5] {
    // A plan for any parameters does not look at them.
    [
        (status_changes::FIND_OF_LINES, "'{}', 101"),
        (transactions::FIND_OF_LINES, "'{}', 101"),
        (transactions::FIND_OF_OBJECTS, "'{}', '{}'"),
        (webhook_events::FIND_ABOUT, "'{}', '{}', 101"),
        (actions::FIND_ABOUT, "'{}', '{}', 'x1', 101"),
    ]
}

/// What of a plan reads a whole table or index.
fn scans(plan: &Value, found: &mut Vec<String>) {
    let kind = plan["Node Type"].as_str().unwrap_or_default();
    let name = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    match kind {
        "Seq Scan" => found.push(name("Relation Name")),
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" if plan["Index Cond"].is_null() => {
            found.push(name("Index Name"));
        }
        _ => {}
    }
    for below in plan["Plans"].as_array().into_iter().flatten() {
        scans(below, found);
    }
}

#[tokio::test]
async fn no_statement_of_a_story_reads_a_table_from_end_to_end() {
    let app = TestApp::start().await;
    let mut db = app.pool.acquire().await.expect("a connection").detach();
    sqlx::raw_sql(FILL).execute(&mut db).await.expect("rows");
    for (number, (text, asked)) in statements().into_iter().enumerate() {
        let prepared = format!(
            "SET plan_cache_mode = force_generic_plan; PREPARE s{number} AS {text};
             EXPLAIN (FORMAT JSON) EXECUTE s{number} ({asked})"
        );
        let explained = sqlx::raw_sql(AssertSqlSafe(prepared));
        let rows = explained.fetch_all(&mut db).await.expect("a plan");
        let plan: Value = rows[0].try_get(0).expect("a plan is JSON");
        let mut found = Vec::new();
        scans(&plan[0]["Plan"], &mut found);
        assert!(found.is_empty(), "{found:?} of {text}\n{plan:#}");
    }
}
