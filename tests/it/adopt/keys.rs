//! What stands under our own keys already: another system's name, several of them, or ids of rows that are not here.

use serde_json::json;

use super::cut_off::{STEPS, applying, held_up};
use super::old::{CARD, OLD, adopt, attempt, buckets, old_id, service, with_the_old_key};

#[tokio::test]
async fn under_our_own_key_a_row_is_made_of_one_name_alone() {
    let app = with_the_old_key().await;
    let alice = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    app.write_at(&alice.stripe, "subscriptionId", &format!(" {} ", alice.id))
        .await;
    let bob = app.old_sale("bob", "membership_monthly", 2, CARD).await;
    let several = format!("{},{}", old_id(2), old_id(3));
    app.write_at(&bob.stripe, "subscriptionId", &several).await;
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({"adopted": 1, "key_taken": 1}));
    let details = report["subscriptions"].as_array().expect("a list").iter();
    let detail = { details }.find_map(|entry| entry["detail"].as_str());
    let detail = detail.expect("a detail");
    assert!(detail.contains("several names"), "{detail}");
    app.settle().await;
    let (id, standing) = app.standing(&alice.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let external = app.value("subscriptions", "external_id", &id).await;
    assert_eq!(external, Some(alice.id));
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 1, "key_taken": 1}));
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn what_others_have_written_under_our_key_meanwhile_stays() {
    let app = service().await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let (method, path) = STEPS[1];
    let fault =
        json!({"kind": "stall", "method": method, "path": path, "times": 1, "stall_ms": 60_000});
    app.fault(fault).await;
    let mut running = applying(&app).spawn().expect("the program runs");
    held_up(&app).await;
    running.kill().await.expect("kill -9");
    app.no_more_faults().await;
    app.write_at(&old.stripe, "dues_subscription_id", "theirs")
        .await;
    let finished = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&finished), json!({"unfinished": 1}));
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let tagged = app.stripe_subscription(&id).await["metadata"].clone();
    assert_eq!(tagged["dues_subscription_id"], "theirs");
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 1}));
}

#[tokio::test]
async fn what_was_adopted_since_the_dump_that_was_restored_is_adopted_again() {
    let app = service().await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let (lost, _) = app.standing(&old.stripe).await;
    sqlx::query(
        "TRUNCATE customers, checkouts, subscriptions, transactions, status_changes, feed CASCADE",
    )
    .execute(&app.pool)
    .await
    .expect("as a dump from before has them");
    let before = app.changes_at_stripe().await;
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({"marked": 1}));
    let planned = adopt(&app, &OLD, &["--again"]).await;
    assert_eq!(buckets(&planned), json!({"adopted": 1}));
    assert_eq!(app.changes_at_stripe().await, before, "nothing was written");

    // Cut off between taking out the mark and making the row, it is one that nobody has adopted yet.
    let (method, path) = STEPS[3];
    let fault =
        json!({"kind": "disconnect_after_effect", "method": method, "path": path, "times": 1});
    app.fault(fault).await;
    attempt(&app, &OLD, &["--again", "--apply"])
        .await
        .assert_code(1);
    assert_eq!(app.count("subscriptions").await, 0);
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({"adopted": 1}));
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    assert_ne!(id, lost);
    let tagged = app.stripe_subscription(&id).await["metadata"].clone();
    assert_eq!(tagged["dues_subscription_id"], json!(id));
    assert_eq!(tagged["subscriptionId"], json!(old.id), "theirs stays");
    let again = adopt(&app, &OLD, &["--again", "--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 1}));
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn adopted_again_it_is_marked_with_the_new_ids() {
    let app = service().await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let another = "01890a5d-ac96-774b-bcce-b302099a8057";
    for key in ["dues_checkout_id", "dues_subscription_id"] {
        app.write_at(&old.stripe, key, another).await;
    }
    let report = adopt(&app, &OLD, &["--again", "--apply"]).await;
    assert_eq!(buckets(&report), json!({"adopted": 1}));
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let tagged = app.stripe_subscription(&id).await["metadata"].clone();
    let checkout = app.value("subscriptions", "checkout_id", &id).await;
    assert_eq!(tagged["dues_checkout_id"], json!(checkout));
    assert_eq!(tagged["dues_subscription_id"], json!(id));
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
}
