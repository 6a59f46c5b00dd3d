//! `dues adopt`: what other systems sold at Stripe becomes ours, once, and whatever happens on the way.

mod cut_off;
mod keys;
mod many;
mod names;
mod old;

use reqwest::Method;
use serde_json::json;

use self::old::{CARD, OLD, Old, adopt, attempt, buckets, in_bucket, old_id, service};
use crate::harness::TestApp;
use crate::harness::lifecycle::{BAD_ACCOUNT, MONTH, text};
use crate::harness::purchase::{DECLINED_CARD, FAILING_LATER_CARD};

/// Of every kind of subscription that another system may have left at Stripe one.
struct Kinds {
    /// Paid twice.
    paid: Old,
    /// Whose second payment fails.
    failing: Old,
    /// That ends with its period.
    cancelled: Old,
    /// In its trial, in another currency.
    trialing: Old,
    /// One member's, of a group of which she has a newer one.
    older: Old,
    newer: Old,
    /// Of a customer of whom nothing is known.
    nobodys: Old,
    /// A price that was never a plan's.
    magazine: String,
}

async fn sell_every_kind(app: &TestApp) -> Kinds {
    let monthly = app.price("membership_monthly").await;
    let paid = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let failing = app
        .old_sale("carol", "membership_monthly", 2, FAILING_LATER_CARD)
        .await;
    app.advance(MONTH).await;
    let cancelled = app.old_sale("bob", "membership_annual", 3, CARD).await;
    let path = format!("/v1/subscriptions/{}", cancelled.stripe);
    let at_end = [("cancel_at_period_end", "true")];
    app.at_stripe(Method::POST, &path, &at_end).await;
    let ended = app.old_sale("dave", "membership_monthly", 4, CARD).await;
    let path = format!("/v1/subscriptions/{}", ended.stripe);
    app.at_stripe(Method::DELETE, &path, &[]).await;
    let erin = app.old_customer("erin", "USD").await;
    let trial = [
        ("subscription_data[trial_period_days]", "30"),
        ("currency", "usd"),
    ];
    let trialing = app
        .old_sale_to(&erin, "membership_annual", 5, CARD, &trial)
        .await;
    // One member with two of a group: the newer one is hers.
    let older = app.old_sale("frank", "membership_monthly", 6, CARD).await;
    let newer = app
        .old_sale_to(&older.customer, "membership_annual", 7, CARD, &[])
        .await;
    let nobody = app.at_stripe(Method::POST, "/v1/customers", &[]).await;
    let nobodys = app
        .old_sale_to(&text(&nobody["id"]), "membership_annual", 8, CARD, &[])
        .await;
    let form = [
        ("product_data[name]", "A magazine"),
        ("currency", "eur"),
        ("unit_amount", "900"),
        ("recurring[interval]", "month"),
        ("lookup_key", "magazine"),
    ];
    let magazine = app.at_stripe(Method::POST, "/v1/prices", &form).await;
    app.old_sale("grace", "magazine", 9, CARD).await;
    app.forum_sale("", &[monthly.as_str(), monthly.as_str()], CARD)
        .await;
    app.forum_sale("", &[monthly.as_str()], DECLINED_CARD).await;
    app.settle().await;
    Kinds {
        paid,
        failing,
        cancelled,
        trialing,
        older,
        newer,
        nobodys,
        magazine: text(&magazine["id"]),
    }
}

#[tokio::test]
async fn every_subscription_lands_in_one_bucket_and_only_what_is_sure_is_written() {
    let app = service().await;
    let kinds = sell_every_kind(&app).await;
    assert_eq!(app.count("subscriptions").await, 0, "all of it is foreign");

    let before = (app.everything().await, app.changes_at_stripe().await);
    let planned = adopt(&app, &OLD, &[]).await;
    let wanted = json!({
        "adopted": 5, "held_already": 1, "ended": 1, "incomplete": 1, "no_user": 1, "no_plan": 1,
        "several_items": 1,
    });
    assert_eq!(buckets(&planned), wanted, "{planned:#}");
    assert_eq!(planned["applied"], false);
    assert_eq!(in_bucket(&planned, "held_already"), [kinds.older.stripe]);
    assert_eq!(in_bucket(&planned, "no_user"), [kinds.nobodys.stripe]);
    let unknown = &planned["prices"][&kinds.magazine];
    assert_eq!(*unknown, json!({"subscriptions": 1}));
    let after = (app.everything().await, app.changes_at_stripe().await);
    assert_eq!(before, after, "nothing was written");

    let said = attempt(&app, &OLD, &["--apply"]).await.assert_code(0);
    said.line("5 adopted become ours");
    said.line("11 subscriptions at Stripe");
    assert!(
        said.stderr.contains("11 subscriptions looked at"),
        "{said:#?}"
    );
    app.settle().await;
    let standings = [
        (&kinds.paid, "ACTIVE paid"),
        (&kinds.failing, "ACTIVE payment_retrying"),
        (&kinds.cancelled, "CANCELLED cancel_scheduled"),
        (&kinds.trialing, "ACTIVE trialing"),
        (&kinds.newer, "ACTIVE paid"),
    ];
    for (old, wanted) in standings {
        let (id, standing) = app.standing(&old.stripe).await;
        assert_eq!(standing, wanted, "{old:?}");
        let external = app.value("subscriptions", "external_id", &id).await;
        assert_eq!(external.as_ref(), Some(&old.id));
        let tagged = app.stripe_subscription(&id).await["metadata"].clone();
        assert_eq!(tagged["dues_subscription_id"], json!(id));
        assert_eq!(tagged["subscriptionId"], json!(old.id), "theirs stays");
        assert_eq!(tagged["source"], "session.subscription_data");
        let history = app.history(&id).await;
        assert_eq!(
            history[0],
            ">PENDING_COMPLETION payment_processing reconcile"
        );
        assert_eq!(history.len(), 2, "{history:?}");
    }
    let (alice, _) = app.standing(&kinds.paid.stripe).await;
    assert_eq!(app.money(&alice).await, ["payment", "payment"]);
    assert_eq!(app.count("subscriptions").await, 5);
    assert_eq!(app.count("customers WHERE currency = 'usd'").await, 1);
    assert_eq!(app.count("feed WHERE origin IS NULL").await, 0);
    assert_eq!(
        app.count("feed WHERE type = 'subscription.created'").await,
        5
    );
    assert_eq!(
        app.count("feed WHERE type = 'transaction.recorded'").await,
        5
    );
    assert_eq!(app.differences().await, json!([]));
    assert!(app.flags().await.is_empty());
    let other_mode = app
        .count("checkouts WHERE mode <> 'adopted' OR stripe_session_id IS NOT NULL")
        .await;
    assert_eq!(other_mode, 0);

    let before = (app.everything().await, app.changes_at_stripe().await);
    let again = adopt(&app, &OLD, &["--apply"]).await;
    let wanted = json!({
        "already_ours": 5, "held_already": 1, "ended": 1, "incomplete": 1, "no_user": 1, "no_plan": 1,
        "several_items": 1,
    });
    assert_eq!(buckets(&again), wanted, "{again:#}");
    let after = (app.everything().await, app.changes_at_stripe().await);
    assert_eq!(before, after, "a second run changes nothing");
}

#[tokio::test]
async fn what_was_adopted_is_a_purchase_like_any_other() {
    let app = service().await;
    let alice = app.old_sale("alice", "membership_monthly", 1, CARD).await;
    let bob = app.old_sale("bob", "membership_annual", 2, CARD).await;
    let carol = app.old_sale("carol", "membership_annual", 3, CARD).await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;

    // All that was told while it was foreign is told again, late: it is in the rows already.
    let before = app.everything().await;
    for kind in [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
        "invoice_payment.paid",
    ] {
        for event in app.events_of(kind).await {
            let path = format!("/_sandbox/events/{}/send", text(&event["id"]));
            app.sandbox.post(&path, json!({})).await;
        }
    }
    app.settle().await;
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    assert_eq!(app.everything().await, before);

    // She sees it, and what she paid for it before.
    let token = app.member("alice");
    let listed = app.get("/v1/subscriptions").bearer(&token).send().await;
    let listed = listed.assert_status(200).json();
    let (id, _) = app.standing(&alice.stripe).await;
    assert_eq!(listed["data"][0]["id"], json!(id));
    assert_eq!(listed["data"][0]["entitled"], true);
    let statement = app.get("/v1/statement?from=2020-01-01").bearer(&token);
    let statement = statement.send().await.assert_status(200).json();
    let line = &statement["entries"][0]["lines"][0];
    assert_eq!(line["subscription_id"], json!(id), "{statement:#}");
    let refused = app.order(&token, json!({"plan": "membership-annual"}));
    refused.send().await.assert_problem(409, "already_held");

    // It renews, goes back, is cancelled: by webhooks, and by herself.
    app.advance(MONTH).await;
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    let (refunded, _) = app.standing(&bob.stripe).await;
    let invoice = app.stripe_subscription(&refunded).await["latest_invoice"].clone();
    let intent = app.payment_of_invoice(&text(&invoice)).await;
    app.refund(&intent, &[]).await;
    assert_eq!(app.money(&refunded).await, ["payment", "refund"]);
    let (gone, _) = app.standing(&carol.stripe).await;
    let path = format!("/v1/subscriptions/{}", carol.stripe);
    app.at_stripe(Method::DELETE, &path, &[]).await;
    app.settle().await;
    assert_eq!(app.standing(&carol.stripe).await.1, "ENDED ended");
    let cancel = app
        .post(&format!("/v1/subscriptions/{id}/cancel"))
        .bearer(&app.member("alice"));
    cancel.json(json!({})).send().await.assert_status(200);
    assert_eq!(
        app.standing(&alice.stripe).await.1,
        "CANCELLED cancel_scheduled"
    );
    app.settle().await;
    let events: Vec<String> = app.events_in("applied").await;
    for kind in [
        "invoice.paid",
        "charge.refunded",
        "customer.subscription.deleted",
    ] {
        assert!(events.iter().any(|told| told == kind), "{kind}: {events:?}");
    }
    assert!(app.flags().await.is_empty(), "{:?}", app.flags().await);
    // What happened since is told as it happens.
    assert!(app.count("feed WHERE origin IS NULL").await > 0);
    let entitled = app
        .value("subscriptions", "ended_at IS NOT NULL", &gone)
        .await;
    assert_eq!(entitled.as_deref(), Some("true"));
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn what_went_back_before_is_read_in() {
    let app = service().await;
    let mut intents = Vec::new();
    let mut sold = Vec::new();
    for (number, user) in (1..).zip(["alice", "bob", "carol"]) {
        let old = app.old_sale(user, "membership_annual", number, CARD).await;
        let path = format!("/v1/subscriptions/{}", old.stripe);
        let invoice = app.sandbox.stripe(&path).await["latest_invoice"].clone();
        intents.push(app.payment_of_invoice(&text(&invoice)).await);
        sold.push(old.stripe);
    }
    app.refund(&intents[0], &[("amount", "100")]).await;
    let failed = app.refund(&intents[1], &[]).await;
    let path = format!("/_sandbox/refunds/{failed}/fail");
    app.sandbox.post(&path, json!({})).await;
    app.dispute(&intents[2], "fraudulent").await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let mut told = Vec::new();
    for stripe in &sold {
        let (id, standing) = app.standing(stripe).await;
        told.push((standing, app.money(&id).await));
    }
    let wanted = [
        ("ACTIVE paid", "refund"),
        ("ACTIVE paid", "refund"),
        ("ON_HOLD disputed", "dispute"),
    ];
    let wanted = wanted.map(|(standing, beside)| {
        let money = ["payment", beside].map(str::to_owned);
        (standing.to_owned(), money.to_vec())
    });
    assert_eq!(told, wanted);
    assert_eq!(app.count("feed WHERE origin IS NULL").await, 0);
    assert_eq!(app.differences().await, json!([]));
}

#[tokio::test]
async fn options_that_say_nothing_are_refused() {
    let app = TestApp::start().await;
    for wrong in [
        &["adopt"][..],
        &["adopt", "--user-from", "customer.id"],
        &[
            "adopt",
            "--user-from",
            "customer.metadata.x",
            "--id-from",
            "customer.metadata.y",
        ],
        &[
            "adopt",
            "--user-from",
            "customer.metadata.x",
            "--plan",
            "monthly",
        ],
    ] {
        attempt(&app, wrong, &[]).await.assert_code(2);
    }
}

#[tokio::test]
async fn upkeep_leaves_what_was_adopted_alone() {
    let app = service().await;
    // Its first debit came back; Stripe goes on all the same, and so may whoever sold it.
    let failed = app
        .old_sale("alice", "membership_annual", 1, BAD_ACCOUNT)
        .await;
    app.advance(MONTH / 2).await;
    let paid = app.old_sale("bob", "membership_annual", 2, CARD).await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    assert_eq!(
        app.standing(&failed.stripe).await.1,
        "ON_HOLD first_payment_failed"
    );
    // One of our own meets the same fate later: when the worker has ended it, it has passed by the other.
    let own = app.open(&app.member("carol"), "membership-annual").await;
    let path = format!("/_sandbox/checkout/{}/pay", own.session);
    app.sandbox
        .post(&path, json!({ "iban": BAD_ACCOUNT }))
        .await;
    app.advance(MONTH / 2).await;
    app.until_status(&own.subscription, "ENDED").await;
    let path = format!("/v1/subscriptions/{}", failed.stripe);
    assert_eq!(app.sandbox.stripe(&path).await["status"], "active");
    // Nor is it swept, purged or counted among what is open, however old it gets.
    app.advance(3 * MONTH).await;
    assert_eq!(app.standing(&paid.stripe).await.1, "ACTIVE paid");
    assert_eq!(
        app.count("checkouts WHERE mode = 'adopted' AND status = 'complete'")
            .await,
        2
    );
    let order = app.order(&app.member("bob"), json!({"plan": "credits-20"}));
    order.send().await.assert_status(201);
    assert_eq!(app.differences().await, json!([]));
    assert_eq!(
        app.value(
            "subscriptions",
            "external_id",
            &app.standing(&paid.stripe).await.0
        )
        .await,
        Some(old_id(2))
    );
}
