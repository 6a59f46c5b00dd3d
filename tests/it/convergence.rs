//! Every event in any order, any number of times, or never: the rows end where Stripe is.
//!
//! Each test plays a story at the sandbox with all webhooks kept back, and then tells it to two replicas on one
//! database again and again: shuffled, doubled, with holes, with the buyers' returns in between. What was lost is
//! found by reconciling. `DUES_TEST_SEED=n` begins with another seed, `DUES_TEST_CASES=n` tells each story n times.

mod stage;

use dues::domain::lifecycle::{PAID_AFTER_END, PART_DISPUTED};
use reqwest::Method;
use serde_json::json;

use self::stage::{Expected, Purchase, Stage};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const DEBIT_THAT_SUCCEEDS: &str = "AT611904300234573201";
const DEBIT_THAT_FAILS: &str = "AT861904300235473202";

#[tokio::test(flavor = "multi_thread")]
async fn memberships_that_renew_fail_recover_and_fail_for_good() {
    let mut stage = Stage::open().await;
    let steady = stage.order(json!({"plan": "daily"})).await;
    let late = stage.order(json!({"plan": "daily"})).await;
    let broke = stage.order(json!({"plan": "daily"})).await;
    let never = stage.order(json!({"plan": "daily"})).await;
    stage.begin().await;
    for (purchase, card) in [
        (&steady, GOOD_CARD),
        (&late, FAILING_LATER_CARD),
        (&broke, FAILING_LATER_CARD),
    ] {
        stage.pay(purchase, json!({"card": card})).await;
        stage.advance(1).await;
    }
    stage.advance(DAY + 2 * HOUR).await;
    stage.give_card(&late, GOOD_CARD).await;
    stage.advance(2 * DAY).await;
    stage
        .converges(&[
            Expected::new(&steady, "ACTIVE", "paid").payments(4),
            Expected::new(&late, "ACTIVE", "paid")
                .payments(4)
                .failures(1),
            Expected::new(&broke, "ENDED", "ended")
                .payments(1)
                .failures(3),
            Expected::new(&never, "ENDED", "checkout_expired"),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_that_are_cancelled_withdrawn_paused_and_ended() {
    let mut stage = Stage::open().await;
    let mut orders = Vec::new();
    for _ in 0..6 {
        orders.push(stage.order(json!({"plan": "daily"})).await);
    }
    stage.begin().await;
    let mut ids = Vec::new();
    for purchase in &orders {
        stage.pay(purchase, json!({"card": GOOD_CARD})).await;
        ids.push(stage.stripe_subscription(purchase).await);
    }
    let change = async |of: usize, key, value| {
        let path = format!("/v1/subscriptions/{}", ids[of]);
        stage.stripe(Method::POST, &path, &[(key, value)]).await;
    };
    // Ends with its period; will end with the next; was withdrawn within a second.
    change(0, "cancel_at_period_end", "true").await;
    change(1, "cancel_at_period_end", "true").await;
    change(1, "cancel_at_period_end", "false").await;
    stage.advance(DAY + 2 * HOUR).await;
    change(2, "cancel_at_period_end", "true").await;
    change(3, "pause_collection[behavior]", "void").await;
    let path = format!("/v1/subscriptions/{}", ids[4]);
    stage.stripe(Method::DELETE, &path, &[]).await;
    let soon = (stage.now().await + 3 * DAY).to_string();
    change(5, "cancel_at", &soon).await;
    stage
        .converges(&[
            Expected::new(&orders[0], "ENDED", "ended").payments(1),
            Expected::new(&orders[1], "ACTIVE", "paid").payments(2),
            Expected::new(&orders[2], "CANCELLED", "cancel_scheduled").payments(2),
            Expected::new(&orders[3], "ACTIVE", "collection_paused").payments(2),
            Expected::new(&orders[4], "ENDED", "ended").payments(2),
            Expected::new(&orders[5], "CANCELLED", "cancel_scheduled").payments(2),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_goes_back_is_claimed_back_or_stays_after_all() {
    let mut stage = Stage::open().await;
    let mut orders = Vec::new();
    for _ in 0..6 {
        orders.push(stage.order(json!({"plan": "credits-20"})).await);
    }
    let basket = json!({"lines": [{"plan": "daily"}, {"plan": "share", "quantity": 2}, {"plan": "credits-50"}]});
    let basket = stage.order(basket).await;
    let disputed = stage.order(json!({"plan": "daily"})).await;
    stage.begin().await;
    let mut payments = Vec::new();
    for purchase in &orders {
        stage.pay(purchase, json!({"card": GOOD_CARD})).await;
        payments.push(stage.payment_of(purchase).await);
    }
    for purchase in [&basket, &disputed] {
        stage.pay(purchase, json!({"card": GOOD_CARD})).await;
    }
    stage.refund(&payments[0], &[]).await;
    stage.refund(&payments[1], &[("amount", "500")]).await;
    stage.refund(&payments[1], &[("amount", "700")]).await;
    let refund = stage.refund(&payments[2], &[]).await;
    stage
        .told(&format!("/_sandbox/refunds/{refund}/fail"), json!({}))
        .await;
    for (payment, outcome) in [(3, Some("won")), (4, Some("lost")), (5, None)] {
        let dispute = stage.dispute(&payments[payment]).await;
        if let Some(outcome) = outcome {
            stage.advance(5).await;
            stage.close_dispute(&dispute, outcome).await;
        }
    }
    // Of a basket, one line is paid back, and its refund says which.
    let paid = stage.payment_of(&basket).await;
    let named = ("metadata[dues_subscription_id]", basket.lines[2].as_str());
    stage.refund(&paid, &[("amount", "5000"), named]).await;
    // A membership's payment is lost after the next one has come.
    let paid = stage.payment_of(&disputed).await;
    let dispute = stage.dispute(&paid).await;
    stage.advance(DAY + 2 * HOUR).await;
    stage.close_dispute(&dispute, "lost").await;
    stage
        .converges(&[
            Expected::new(&orders[0], "ENDED", "refunded")
                .payments(1)
                .refunds(1),
            Expected::new(&orders[1], "ACTIVE", "paid")
                .payments(1)
                .refunds(2),
            Expected::new(&orders[2], "ACTIVE", "paid")
                .payments(1)
                .refunds(1),
            Expected::new(&orders[3], "ACTIVE", "paid")
                .payments(1)
                .disputes(1),
            Expected::new(&orders[4], "ENDED", "dispute_lost")
                .payments(1)
                .disputes(1),
            Expected::new(&orders[5], "ON_HOLD", "disputed")
                .payments(1)
                .disputes(1),
            Expected::new(&basket, "ACTIVE", "paid")
                .payments(2)
                .refunds(1),
            Expected::line(&basket, 1, "ACTIVE", "paid")
                .payments(1)
                .refunds(1),
            Expected::line(&basket, 2, "ACTIVE", "paid")
                .payments(1)
                .refunds(1),
            Expected::new(&disputed, "ON_HOLD", "dispute_lost")
                .payments(2)
                .disputes(1),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn debits_that_take_days_arrive_or_fail_and_a_refund_in_full_ends_what_was_bought_once() {
    let mut stage = Stage::open().await;
    let slow = stage.order(json!({"plan": "daily"})).await;
    let bounced = stage.order(json!({"plan": "daily"})).await;
    let slow_credits = stage.order(json!({"plan": "credits-20"})).await;
    let bounced_credits = stage.order(json!({"plan": "credits-20"})).await;
    let on_its_way = stage.order(json!({"plan": "credits-50"})).await;
    let basket = json!({"lines": [{"plan": "daily"}, {"plan": "donation", "amount": 700}]});
    let basket = stage.order(basket).await;
    stage.begin().await;
    for (purchase, iban) in [
        (&slow, DEBIT_THAT_SUCCEEDS),
        (&bounced, DEBIT_THAT_FAILS),
        (&slow_credits, DEBIT_THAT_SUCCEEDS),
        (&bounced_credits, DEBIT_THAT_FAILS),
    ] {
        stage.pay(purchase, json!({"iban": iban})).await;
    }
    stage.pay(&basket, json!({"card": GOOD_CARD})).await;
    stage.advance(12 * HOUR).await;
    // What the worker would do: nobody writes to Stripe while the story is told.
    let id = stage.stripe_subscription(&bounced).await;
    let path = format!("/v1/subscriptions/{id}");
    stage.stripe(Method::DELETE, &path, &[]).await;
    let paid = stage.payment_of(&basket).await;
    stage.refund(&paid, &[]).await;
    stage
        .converges(&[
            Expected::new(&slow, "ACTIVE", "paid").payments(1),
            Expected::new(&bounced, "ENDED", "ended").failures(1),
            Expected::new(&slow_credits, "ACTIVE", "paid").payments(1),
            Expected::new(&bounced_credits, "ENDED", "payment_failed").failures(1),
            Expected::new(&on_its_way, "ENDED", "checkout_expired"),
            Expected::new(&basket, "ACTIVE", "paid")
                .payments(1)
                .refunds(1),
            Expected::line(&basket, 1, "ENDED", "refunded")
                .payments(1)
                .refunds(1),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_void_claimed_in_part_appealed_against_or_paid_after_the_end() {
    let mut stage = Stage::open().await;
    let void = stage.order(json!({"plan": "daily"})).await;
    let resumed = stage.order(json!({"plan": "daily"})).await;
    let late = stage.order(json!({"plan": "daily"})).await;
    let basket = json!({"lines": [{"plan": "daily"}, {"plan": "share"}, {"plan": "credits-50"}]});
    let basket = stage.order(basket).await;
    let appealed = stage.order(json!({"plan": "credits-20"})).await;
    let regained = stage.order(json!({"plan": "credits-20"})).await;
    stage.flags = vec![PART_DISPUTED, PAID_AFTER_END];
    stage.begin().await;
    for purchase in [&void, &resumed, &basket, &appealed, &regained] {
        stage.pay(purchase, json!({"card": GOOD_CARD})).await;
    }
    let card = json!({"card": FAILING_LATER_CARD});
    stage.pay(&late, card).await;
    let collection = async |of: &Purchase, key, value| {
        let id = stage.stripe_subscription(of).await;
        let path = format!("/v1/subscriptions/{id}");
        stage.stripe(Method::POST, &path, &[(key, value)]).await;
    };
    collection(&void, "pause_collection[behavior]", "void").await;
    collection(&resumed, "pause_collection[behavior]", "void").await;
    let part = stage.payment_of(&basket).await;
    let body = json!({"payment_intent": part, "amount": 300});
    let part = stage.told("/_sandbox/disputes", body).await;
    let part = part["id"].as_str().expect("an id").to_owned();
    let mut disputes = Vec::new();
    for purchase in [&appealed, &regained] {
        let payment = stage.payment_of(purchase).await;
        disputes.push(stage.dispute(&payment).await);
    }
    stage.advance(HOUR).await;
    stage.close_dispute(&part, "lost").await;
    for dispute in &disputes {
        stage.close_dispute(dispute, "lost").await;
        stage.close_dispute(dispute, "appeal_under_review").await;
    }
    stage.advance(DAY + 2 * HOUR).await;
    stage.close_dispute(&disputes[1], "won").await;
    collection(&resumed, "pause_collection", "").await;
    stage.advance(2 * DAY).await;
    let id = stage.stripe_subscription(&late).await;
    let path = format!("/v1/invoices?subscription={id}&status=open");
    let open = stage.stripe(Method::GET, &path, &[]).await;
    let open = open["data"][0]["id"].as_str().expect("an open invoice");
    let path = format!("/_sandbox/invoices/{open}/pay");
    stage.told(&path, json!({"card": GOOD_CARD})).await;
    stage
        .converges(&[
            Expected::new(&void, "ON_HOLD", "collection_void").payments(1),
            Expected::new(&resumed, "ACTIVE", "paid").payments(3),
            Expected::new(&late, "ENDED", "ended")
                .payments(2)
                .failures(3),
            Expected::new(&basket, "ACTIVE", "paid")
                .payments(4)
                .disputes(1),
            Expected::line(&basket, 1, "ACTIVE", "paid")
                .payments(1)
                .disputes(1),
            Expected::line(&basket, 2, "ACTIVE", "paid")
                .payments(1)
                .disputes(1),
            Expected::new(&appealed, "ENDED", "dispute_lost")
                .payments(1)
                .disputes(1),
            Expected::new(&regained, "ACTIVE", "paid")
                .payments(1)
                .disputes(1),
        ])
        .await;
}
