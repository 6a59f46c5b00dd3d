//! Whose a subscription is, by which id another system knows it, and which plan it is on: what tells, and what does not.

use reqwest::Method;
use serde_json::json;

use super::cut_off::held_up;
use super::old::{
    CARD, OLD, adopt, attempt, buckets, in_bucket, old_id, service, with_the_old_key,
};
use crate::harness::lifecycle::{MONTH, text};

/// What a forum's plugin sold is adopted with this.
const FORUM: [&str; 3] = ["adopt", "--user-from", "subscription.metadata.user_id"];

#[tokio::test]
async fn what_a_forum_s_plugin_sold_is_adopted_by_the_member_s_number() {
    let app = service().await;
    let monthly = app.price("membership_monthly").await;
    let first = app.forum_sale("42", &[monthly.as_str()], CARD).await;
    let nobodys = app.forum_sale("", &[monthly.as_str()], CARD).await;
    // Another system's id under our own key is no id of ours.
    let taken = app.forum_sale("44", &[monthly.as_str()], CARD).await;
    let path = format!("/v1/subscriptions/{taken}");
    let tag = [("metadata[dues_subscription_id]", "another deployment's")];
    app.at_stripe(Method::POST, &path, &tag).await;
    let report = adopt(&app, &FORUM, &["--apply"]).await;
    assert_eq!(
        buckets(&report),
        json!({"adopted": 1, "no_user": 1, "key_taken": 1})
    );
    assert_eq!(in_bucket(&report, "no_user"), [nobodys]);
    app.settle().await;
    let (id, standing) = app.standing(&first).await;
    assert_eq!(standing, "ACTIVE paid");
    assert_eq!(app.value("subscriptions", "external_id", &id).await, None);
    let tagged = app.stripe_subscription(&id).await["metadata"].clone();
    assert_eq!(tagged["user_id"], "42");
    assert_eq!(tagged["dues_subscription_id"], json!(id));
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn an_older_price_is_a_plan_s_only_when_somebody_says_so() {
    let app = service().await;
    let old = app.old_sale("alice", "membership_annual", 1, CARD).await;
    let older = app.price("membership_annual").await;
    let product = app.sandbox.stripe(&format!("/v1/prices/{older}")).await;
    let product = text(&product["product"]);
    let new = [
        ("product", product.as_str()),
        ("currency", "eur"),
        ("unit_amount", "3600"),
        ("recurring[interval]", "year"),
        ("lookup_key", "membership_annual"),
        ("transfer_lookup_key", "true"),
    ];
    app.at_stripe(Method::POST, "/v1/prices", &new).await;
    let planned = adopt(&app, &OLD, &[]).await;
    assert_eq!(buckets(&planned), json!({"no_plan": 1}));
    let perhaps = json!({"subscriptions": 1, "perhaps": "membership-annual"});
    assert_eq!(planned["prices"][&older], perhaps);
    let said = attempt(&app, &OLD, &[]).await.assert_code(0);
    let advice = format!("--plan {older}=membership-annual");
    assert!(said.stdout.contains(&advice), "{said:#?}");

    let wrong = format!("{older}=credits-20");
    let refused = attempt(&app, &OLD, &["--apply", "--plan", &wrong]).await;
    let refused = refused.assert_code(1);
    assert!(
        refused.stderr.contains("no plan that renews"),
        "{refused:#?}"
    );
    let sold = app.price("membership_annual").await;
    let needless = format!("{sold}=membership-monthly");
    let refused = attempt(&app, &OLD, &["--apply", "--plan", &needless]).await;
    let refused = refused.assert_code(1);
    let word = "the price is sold already, by the plan membership-annual";
    assert!(refused.stderr.contains(word), "{refused:#?}");
    let right = format!("{older}=membership-annual");
    adopt(&app, &OLD, &["--apply", "--plan", &right]).await;
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let plan = app.value("subscriptions", "plan", &id).await;
    assert_eq!(plan.as_deref(), Some("membership-annual"));
    let price = app.value("subscriptions", "stripe_price_id", &id).await;
    assert_eq!(price, Some(older));
    assert_eq!(app.differences().await, json!([]));
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn where_the_old_id_stands_under_our_own_key_it_leads_to_the_row() {
    let app = with_the_old_key().await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let unnamed = attempt(&app, &OLD[..3], &["--json"]).await.assert_code(0);
    assert_eq!(buckets(&unnamed.json()), json!({"key_taken": 1}));
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let (id, _) = app.standing(&old.stripe).await;
    let tagged = app.stripe_subscription(&id).await["metadata"].clone();
    assert_eq!(
        tagged["subscriptionId"],
        json!(old.id),
        "it is left as it is"
    );
    app.advance(MONTH).await;
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    // The session's own event comes late: nothing leads to our row but the id of the old system.
    let late = |customer: &str| {
        json!({"type": "checkout.session.completed",
               "object_patch": {"subscription": null, "invoice": null, "customer": customer}})
    };
    app.forge(late(&old.customer)).await;
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    let checkout = app.value("subscriptions", "checkout_id", &id).await;
    let session = app.session_of(&checkout.expect("a checkout")).await;
    assert_eq!(session, None, "it is not ours");
    app.forge(late("cus_other")).await;
    assert_eq!(
        app.flags().await.len(),
        1,
        "another customer's is not believed"
    );
    assert_eq!(app.differences().await, json!([]));

    // One id, two subscriptions: the second is not taken for the first.
    app.old_sale("bob", "membership_monthly", 1, CARD).await;
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 1, "id_taken": 1}));
    // What is bought here has our own id under that key, as ever.
    let own = app
        .buy_with(&app.member("carol"), "membership-annual", CARD)
        .await;
    app.until_status(&own.subscription, "ACTIVE").await;
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 2, "id_taken": 1}));
}

#[tokio::test]
async fn nobody_gets_another_member_s_customer() {
    let app = service().await;
    // She buys here already, with a customer of ours, and keeps it; the old one is hers besides.
    let own = app.buy_with(&app.member("alice"), "credits-20", CARD).await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let planned = adopt(&app, &OLD, &[]).await;
    let remark = text(&planned["subscriptions"][0]["detail"]);
    assert!(remark.starts_with(&old.customer), "{remark}");
    adopt(&app, &OLD, &["--apply"]).await;
    let buys_with = app.customer_of(&own).await;
    let kept: String = sqlx::query_scalar("SELECT stripe_customer_id FROM customers")
        .fetch_one(&app.pool)
        .await
        .expect("one customer");
    assert_eq!(kept, buys_with);
    let token = app.member("alice");
    let statement = app.get("/v1/statement?from=2020-01-01").bearer(&token);
    let statement = statement.send().await.assert_status(200).json();
    assert_eq!(
        statement["entries"].as_array().map(Vec::len),
        Some(2),
        "{statement:#}"
    );
    // Somebody has written another member into that customer since: whose she is can't be told.
    let path = format!("/v1/customers/{}", old.customer);
    let edited = [("metadata[end_user_id]", "mallory")];
    app.at_stripe(Method::POST, &path, &edited).await;
    app.old_sale_to(&old.customer, "membership_annual", 2, CARD, &[])
        .await;
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(
        buckets(&report),
        json!({"already_ours": 1, "other_member": 1})
    );
}

#[tokio::test]
async fn an_id_that_was_not_asked_for_at_first_is_taken_over_by_a_later_run() {
    let app = service().await;
    let alice = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let bob = app.old_sale("bob", "membership_annual", 2, CARD).await;
    adopt(&app, &OLD[..3], &["--apply"]).await;
    app.settle().await;
    let (id, _) = app.standing(&alice.stripe).await;
    assert_eq!(app.value("subscriptions", "external_id", &id).await, None);

    let before = app.everything().await;
    let planned = adopt(&app, &OLD, &[]).await;
    assert_eq!(buckets(&planned), json!({"unfinished": 2}));
    assert_eq!(app.everything().await, before, "nothing was written");
    let posts = app.changes_at_stripe().await;
    adopt(&app, &OLD, &["--apply"]).await;
    for old in [&alice, &bob] {
        let (id, standing) = app.standing(&old.stripe).await;
        assert_eq!(standing, "ACTIVE paid");
        let external = app.value("subscriptions", "external_id", &id).await;
        assert_eq!(external.as_ref(), Some(&old.id));
    }
    assert_eq!(app.changes_at_stripe().await, posts, "it is marked already");
    let again = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&again), json!({"already_ours": 2}));

    // The id that a row has it keeps; one that another row has is given to none.
    app.write_at(&alice.stripe, "subscriptionId", &old_id(3))
        .await;
    app.old_sale("carol", "membership_monthly", 2, CARD).await;
    adopt(&app, &OLD[..3], &["--apply"]).await;
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({"already_ours": 2, "id_taken": 1}));
    let kept = in_bucket(&report, "already_ours");
    assert_eq!(kept, [alice.stripe], "of the other nothing is to be said");
    let details = report["subscriptions"].as_array().expect("a list").iter();
    let details: Vec<&str> = details
        .filter_map(|entry| entry["detail"].as_str())
        .collect();
    assert_eq!(details, [format!("it stays known as {}", alice.id)]);
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn a_purchase_at_the_same_moment_is_made_with_the_customer_who_was_adopted() {
    let app = service().await;
    let old = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let fault = json!({"kind": "stall", "method": "POST", "path": "/v1/customers", "times": 1, "stall_ms": 1_500});
    app.fault(fault).await;
    let token = app.member("alice");
    let adopted = async {
        held_up(&app).await;
        // Only what an adoption does first: of the rest nothing is to be waited for.
        let held = sqlx::query(
            "UPDATE customers SET stripe_customer_id = $1 WHERE stripe_customer_id IS NULL",
        );
        let held = held.bind(&old.customer).execute(&app.pool).await;
        assert_eq!(held.expect("a row").rows_affected(), 1);
    };
    let (own, ()) = tokio::join!(app.open(&token, "credits-20"), adopted);
    assert_eq!(app.customer_of(&own).await, old.customer);
    let held = sqlx::query_scalar("SELECT stripe_customer_id FROM customers");
    let held: Vec<String> = held.fetch_all(&app.pool).await.expect("rows");
    assert_eq!(held, [old.customer]);
    let report = adopt(&app, &OLD, &["--apply"]).await;
    assert_eq!(buckets(&report), json!({"adopted": 1}));
    assert_eq!(report["subscriptions"][0]["detail"], json!(null));
}
