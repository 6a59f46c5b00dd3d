//! Plan and quantity follow what Stripe charges, whoever changed it there.

use std::collections::HashMap;

use dues::services::events::compare::How;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::lifecycle::text;
use crate::harness::own_affairs::plans;
use crate::harness::purchase::GOOD_CARD;
use crate::harness::replica::Replica;

const UNKNOWN: &str =
    "the subscription at Stripe is on a price that no plan has: the plan stays as it was";
const HELD: &str = "the subscription at Stripe is on the price of a plan that the member holds already: the plan \
                    stays as it was";

#[tokio::test]
async fn a_plan_follows_the_price_that_an_operator_chose_at_stripe() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let yearly = app.price("membership_annual").await;
    app.move_at_stripe(&id, Some(&yearly), 1).await;
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert_eq!(app.terms(&id).await, ("yearly".to_owned(), 1, yearly));
    let shown = app.subscription(&app.member("alice"), &id).await;
    assert_eq!(
        (&shown["plan"], &shown["kind"]),
        (&json!("yearly"), &json!("membership"))
    );
    let changes = app.changes(&id).await;
    let last = changes.last().expect("a change");
    assert_eq!(last["reason"], "plan_changed");
    assert_eq!(last["cause"], "webhook");
    assert_eq!(
        (&last["from"], &last["to"]),
        (&json!("ACTIVE"), &json!("ACTIVE"))
    );
    assert_eq!(
        (&last["from_plan"], &last["to_plan"]),
        (&json!("basic"), &json!("yearly"))
    );
    assert_eq!(last["from_quantity"], Value::Null);
    let first = &changes[0];
    assert_eq!(
        (&first["from"], &first["from_plan"], &first["to_quantity"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn a_quantity_follows_too_and_says_so() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("seats", GOOD_CARD).await.subscription;
    app.move_at_stripe(&id, None, 4).await;
    app.settle().await;
    let (plan, quantity, _) = app.terms(&id).await;
    assert_eq!((plan.as_str(), quantity), ("seats", 4));
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    let last = app.changes(&id).await.pop().expect("a change");
    assert_eq!(last["reason"], "quantity_changed");
    assert_eq!(
        (&last["from_quantity"], &last["to_quantity"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(last["from_plan"], Value::Null);
}

#[tokio::test]
async fn a_price_that_no_plan_has_is_flagged_and_everything_else_is_applied() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.open_and_pay("yearly-seats", 2).await;
    let (_, _, own) = app.terms(&id).await;
    let foreign = app.foreign_price("membership_annual", "999").await;
    app.move_at_stripe(&id, Some(&foreign), 3).await;
    app.settle().await;
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert_eq!(
        app.terms(&id).await,
        ("yearly-seats".to_owned(), 3, foreign.clone())
    );
    assert_eq!(app.flags().await, [UNKNOWN]);
    assert_eq!(
        app.last_change(&id).await,
        "quantity_changed webhook",
        "the plan did not change"
    );
    // What follows on that price is news of its own.
    app.change_at_stripe(&id, &[("cancel_at_period_end", "true")])
        .await;
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
    assert_eq!(app.flags().await.len(), 1);
    // Two plans have the price that it goes back to: it stays on its own.
    app.move_at_stripe(&id, Some(&own), 3).await;
    app.settle().await;
    assert_eq!(app.terms(&id).await, ("yearly-seats".to_owned(), 3, own));
    assert_eq!(app.flags().await.len(), 1);
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
}

#[tokio::test]
async fn of_several_plans_with_the_price_the_one_of_the_same_upgrade_group_is_meant() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("seats", GOOD_CARD).await.subscription;
    let yearly = app.price("membership_annual").await;
    app.move_at_stripe(&id, Some(&yearly), 2).await;
    app.settle().await;
    assert_eq!(app.terms(&id).await, ("yearly-seats".to_owned(), 2, yearly));
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn a_plan_that_the_member_holds_already_is_not_taken_over_a_second_time() {
    let plans = plans();
    let app = plans.sold().start().await;
    let held = app.sell("basic", GOOD_CARD).await.subscription;
    let id = app.sell("patron", GOOD_CARD).await.subscription;
    let yearly = app.price("membership_annual").await;
    app.move_at_stripe(&id, Some(&yearly), 2).await;
    app.settle().await;
    assert_eq!(app.terms(&id).await, ("patron".to_owned(), 2, yearly));
    assert_eq!(app.flags().await, [HELD]);
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    app.assert_line(&held, "ACTIVE", "paid", true).await;
    // Nor is it a reason to be told again and again.
    app.change_at_stripe(&id, &[("cancel_at_period_end", "true")])
        .await;
    app.assert_line(&id, "CANCELLED", "cancel_scheduled", true)
        .await;
    assert_eq!(app.flags().await.len(), 1);
}

#[tokio::test]
async fn a_service_that_does_not_know_the_prices_yet_asks_for_them_before_it_judges() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    app.hold_deliveries().await;
    app.fault(json!({"kind": "error_500", "path": "/v1/prices", "times": 3}))
        .await;
    let more = HashMap::from([
        (
            "DUES__PLANS__FILE".to_owned(),
            app.settings.plans.file.display().to_string(),
        ),
        ("DUES__WORKER__INTERVAL_MS".to_owned(), "600000".to_owned()),
    ]);
    let database = app.settings.database.url.expose().to_owned();
    // Its first walk through Stripe's events would find the change before it is told.
    sqlx::query("DELETE FROM cursors")
        .execute(&app.pool)
        .await
        .expect("the walk is forgotten");
    let mut replica = Replica::start(&database, app.sandbox.url(), &more).await;
    app.first_walk_is_over().await;
    app.no_more_faults().await;
    let yearly = app.price("membership_annual").await;
    app.move_at_stripe(&id, Some(&yearly), 1).await;
    let event = app
        .events_of("customer.subscription.updated")
        .await
        .pop()
        .expect("an event");
    let body = event.to_string();
    let answer = replica.webhook(body.as_bytes()).send().await;
    assert_eq!(answer.assert_status(200).json()["outcome"], "deferred");
    // A worker has the answer, with the prices.
    app.until("the plan followed", async || {
        (app.terms(&id).await.0 == "yearly").then_some(())
    })
    .await;
    assert!(app.flags().await.is_empty());
    assert_eq!(app.last_change(&id).await, "plan_changed webhook");
    replica.stop().await;
}

#[tokio::test]
async fn a_quantity_that_the_buyer_could_change_is_what_the_paid_session_says() {
    let plans = plans();
    let app = plans.sold().start().await;
    let alice = app.member("alice");
    let body = json!({"lines": [{"plan": "bundle", "quantity": 2}]});
    // One buyer closes the window, the other returns.
    for returns in [false, true] {
        let purchase = app.open_basket(&alice, body.clone()).await;
        let id = &purchase.subscription;
        if returns {
            app.hold_deliveries().await;
        }
        // She ordered two, and takes three on Stripe's page.
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let body = json!({"card": GOOD_CARD, "quantities": {"0": 3}});
        let paid = app.sandbox.post(&path, body).await;
        if returns {
            app.browse(&text(&paid["redirect_url"])).await;
            assert_eq!(app.terms(id).await.1, 3);
            app.release_deliveries(json!({})).await;
        }
        app.settle().await;
        assert_eq!(app.terms(id).await.1, 3);
        let open = app.value("subscriptions", "quantity_open", id).await;
        assert_eq!(open.as_deref(), Some("false"));
        let changes = app.changes(id).await;
        let quantities: Vec<&Value> = changes
            .iter()
            .filter(|change| change["reason"] == "quantity_changed")
            .collect();
        assert_eq!(quantities.len(), 1, "{changes:#?}");
        assert_eq!(
            (
                &quantities[0]["from_quantity"],
                &quantities[0]["to_quantity"]
            ),
            (&json!(2), &json!(3))
        );
        app.assert_line(id, "ACTIVE", "paid", true).await;
    }
}

#[tokio::test]
async fn changes_that_are_told_backwards_and_twice_end_where_stripe_is() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let monthly = app.price("membership_monthly").await;
    let yearly = app.price("membership_annual").await;
    app.hold_deliveries().await;
    for price in [&yearly, &monthly, &yearly] {
        app.move_at_stripe(&id, Some(price), 1).await;
    }
    app.release_deliveries(json!({"order": "reverse", "duplicate": 1}))
        .await;
    app.settle().await;
    let (plan, _, price) = app.terms(&id).await;
    assert_eq!((plan.as_str(), price), ("yearly", yearly));
    let held = app.stripe_subscription(&id).await;
    assert_eq!(
        text(&held["items"]["data"][0]["price"]["lookup_key"]),
        "membership_annual"
    );
}

#[tokio::test]
async fn a_quantity_of_zero_is_flagged_and_a_change_is_judged_by_what_stripe_has() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.open_and_pay("seats", 3).await;
    app.move_at_stripe(&id, None, 0).await;
    app.settle().await;
    let flags = app.flags().await;
    assert_eq!(flags.len(), 1, "{flags:?}");
    assert!(
        flags[0].contains("a quantity that a line can't have"),
        "{flags:?}"
    );
    let (_, quantity, _) = app.terms(&id).await;
    assert_eq!(quantity, 3);
    let change = app.act(&id, "change", json!({ "quantity": 3 })).await;
    change.assert_status(200);
    let held = app.stripe_subscription(&id).await;
    assert_eq!(held["items"]["data"][0]["quantity"], 3, "{held}");
}

#[tokio::test]
async fn a_price_that_is_younger_than_what_is_known_of_the_prices_is_the_plan_s_all_the_same() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    // The prices were read just now; then the yearly plan gets another one, and the member is moved to it.
    let known = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let product = text(&known["data"][0]["product"]);
    let new = [
        ("product", product.as_str()),
        ("currency", "eur"),
        ("unit_amount", "3600"),
        ("recurring[interval]", "year"),
        ("lookup_key", "membership_annual"),
        ("transfer_lookup_key", "true"),
    ];
    let price = text(&app.at_stripe(Method::POST, "/v1/prices", &new).await["id"]);
    app.move_at_stripe(&id, Some(&price), 1).await;
    app.settle().await;
    assert_eq!(app.terms(&id).await, ("yearly".to_owned(), 1, price));
    assert!(app.flags().await.is_empty());
}

#[tokio::test]
async fn a_plan_that_is_learnt_later_is_taken_over_by_a_comparison_and_by_a_replay() {
    for by_replay in [false, true] {
        let plans = plans();
        let app = plans.sold().start().await;
        let id = app.sell("basic", GOOD_CARD).await.subscription;
        let foreign = app.foreign_price("membership_annual", "999").await;
        app.move_at_stripe(&id, Some(&foreign), 1).await;
        app.settle().await;
        assert_eq!(app.flags().await, [UNKNOWN]);
        assert_eq!(app.terms(&id).await.0, "basic");
        let lookup = [
            ("lookup_key", "membership_annual"),
            ("transfer_lookup_key", "true"),
        ];
        app.at_stripe(Method::POST, &format!("/v1/prices/{foreign}"), &lookup)
            .await;
        app.services.catalogue.reload().await;
        if by_replay {
            let event = app.events_of("customer.subscription.updated").await.pop();
            let event = text(&event.expect("it was told")["id"]);
            let replayed = app.services.events.replay(&event).await;
            replayed.expect("Stripe still has it");
        } else {
            let stop = CancellationToken::new();
            let compared = app
                .services
                .events
                .compare(
                    How {
                        apply: true,
                        since: None,
                    },
                    &stop,
                    |_| {},
                )
                .await;
            let drift = compared.expect("Stripe is there").drift;
            assert_eq!(drift.len(), 1, "{drift:?}");
            assert_eq!(drift[0].stripe_plan.as_deref(), Some("yearly"));
        }
        assert_eq!(app.terms(&id).await, ("yearly".to_owned(), 1, foreign));
    }
}
