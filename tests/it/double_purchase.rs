//! No double purchase: parallel tabs, two devices, retries, and plans that exclude each other.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::own_affairs::Plans;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, at_once};
use crate::harness::{Answer, TestApp};

/// An account whose debits succeed after days.
const SLOW_ACCOUNT: &str = "AT611904300234573201";
const MONTH: i64 = 31 * 24 * 3600;

async fn cooperative() -> TestApp {
    TestApp::with().cooperative().start().await
}

fn opened(answer: Answer) -> Value {
    answer.assert_status(201).json()
}

/// What a refused order is told of what its member holds: plan, status, advice.
fn held(answer: Answer) -> (String, String, String) {
    let body = answer.assert_problem(409, "already_held").json();
    let text = |key: &str| body["subscription"][key].as_str().expect(key).to_owned();
    (text("plan"), text("status"), text("advice"))
}

#[tokio::test]
async fn the_same_basket_again_is_the_same_page_however_it_is_written() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let first = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share", "quantity": 1}]});
    let same = json!({"lines": [{"plan": "share"}, {"plan": "membership-annual", "quantity": 1}]});
    let order = |body: &Value, key: &'static str| {
        app.order(&alice, body.clone())
            .header("idempotency-key", key)
            .send()
    };
    let one = opened(order(&first, "laptop").await);
    let other = opened(order(&same, "phone").await);
    let without_key = opened(app.order(&alice, first.clone()).send().await);
    assert_eq!(one["checkout"], other["checkout"]);
    assert_eq!(one["checkout"], without_key["checkout"]);
    assert_eq!(app.count("checkouts").await, 1);
    assert_eq!(app.sessions("open").await.len(), 1);

    // Whichever device repeats its request after the payment learns of it, and opens nothing.
    app.pay(&app.purchase(&one).await).await;
    app.settle().await;
    for (body, key) in [(&first, "laptop"), (&same, "phone")] {
        let repeated = opened(order(body, key).await);
        assert_eq!(repeated["checkout"]["id"], one["checkout"]["id"]);
        assert_eq!(repeated["checkout"]["url"], Value::Null);
        assert_eq!(repeated["subscriptions"][0]["status"], "ACTIVE");
    }
    order(&json!({"plan": "share"}), "phone")
        .await
        .assert_problem(422, "idempotency_key_reused");
    assert_eq!(app.count("checkouts").await, 1);
}

#[tokio::test]
async fn what_can_be_bought_often_gets_a_new_page_once_the_old_one_is_paid() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    // Nobody has told us of the payment when she orders again.
    app.hold_deliveries().await;
    let first = app.open(&alice, "credits-20").await;
    app.pay(&first).await;
    let second = app.open(&alice, "credits-20").await;
    assert_ne!(first.session, second.session);
    assert_eq!(app.row(&first.subscription).await.status, "ACTIVE");
    app.release_deliveries(json!({})).await;
    assert_eq!(app.transactions(&first.subscription).await.len(), 1);
    assert!(app.transactions(&second.subscription).await.is_empty());
}

#[tokio::test]
async fn a_page_that_expired_unheard_is_replaced() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    app.hold_deliveries().await;
    let first = app.open(&alice, "credits-20").await;
    let path = format!("/v1/checkout/sessions/{}/expire", first.session);
    app.at_stripe(Method::POST, &path, &[]).await;
    let order = || {
        app.order(&alice, json!({"plan": "credits-20"}))
            .header("idempotency-key", "order-1")
            .send()
    };
    let second = opened(order().await);
    assert_ne!(second["checkout"]["id"], json!(first.checkout));
    assert_eq!(app.row(&first.subscription).await.status, "ENDED");
    assert_eq!(opened(order().await)["checkout"], second["checkout"]);
}

#[tokio::test]
async fn another_basket_with_the_same_single_plan_closes_the_old_page_first() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let old = app.open(&alice, "membership-annual").await;
    let with_share = json!({"lines": [{"plan": "membership-annual"}, {"plan": "share"}]});
    let new = app.open_basket(&alice, with_share).await;
    assert_ne!(old.session, new.session);
    assert_eq!(app.sessions("expired").await, [old.session.as_str()]);
    assert_eq!(app.sessions("open").await, [new.session.as_str()]);
    app.settle().await;
    let row = app.row(&old.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ENDED", "checkout_cancelled")
    );
    assert_eq!(
        app.row(&new.subscription).await.status,
        "PENDING_ACTIVATION"
    );
}

#[tokio::test]
async fn a_single_plan_that_was_paid_meanwhile_can_not_be_bought_again() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    // Nobody has told us yet when she orders again.
    app.hold_deliveries().await;
    let purchase = app.open(&alice, "membership-annual").await;
    app.pay(&purchase).await;
    for plan in ["membership-annual", "membership-annual"] {
        let basket = json!({"lines": [{"plan": plan}, {"plan": "share"}]});
        held(app.order(&alice, basket).send().await);
        held(app.order(&alice, json!({ "plan": plan })).send().await);
    }
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    app.release_deliveries(json!({})).await;
    assert_eq!(app.count("checkouts").await, 1);
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
    // Other members are free.
    app.open(&app.member("bob"), "membership-annual").await;
}

#[tokio::test]
async fn who_holds_a_single_plan_is_told_what_to_do_instead_of_buying() {
    let app = TestApp::with()
        .cooperative()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .start()
        .await;
    let told = |plan: &str, status: &str, advice: &str| {
        (plan.to_owned(), status.to_owned(), advice.to_owned())
    };
    let alice = app.member("alice");
    let again = |plan: &str| {
        // A token of its own for each: it gets old while the clock is moved.
        app.order(&app.member("alice"), json!({ "plan": plan }))
            .send()
    };

    // Money on its way.
    let purchase = app.open(&alice, "yearly").await;
    let pay = format!("/_sandbox/checkout/{}/pay", purchase.session);
    app.sandbox.post(&pay, json!({"iban": SLOW_ACCOUNT})).await;
    app.settle().await;
    assert_eq!(
        held(again("yearly").await),
        told("yearly", "PENDING_COMPLETION", "wait")
    );
    let days = 10 * 24 * 3600;
    app.advance(days).await;
    // Paid: nothing to buy, but the plan can be changed.
    assert_eq!(
        held(again("yearly").await),
        told("yearly", "ACTIVE", "portal")
    );
    assert_eq!(
        held(again("monthly").await),
        told("yearly", "ACTIVE", "change_plan")
    );
    // Cancelled, and still hers.
    let form = [("cancel_at_period_end", "true")];
    app.change_at_stripe(&purchase.subscription, &form).await;
    app.settle().await;
    assert_eq!(
        held(again("yearly").await),
        told("yearly", "CANCELLED", "resume")
    );
    // Over: it can be bought again.
    app.advance(366 * 24 * 3600).await;
    app.until_status(&purchase.subscription, "ENDED").await;
    let second = app.sell("yearly", GOOD_CARD).await;
    assert_eq!(app.row(&second.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn who_owes_a_renewal_is_told_to_pay_it() {
    let app = TestApp::with().cooperative().start().await;
    app.stripe_settings(json!({"final_failure": "unpaid"}))
        .await;
    app.sell("yearly", FAILING_LATER_CARD).await;
    app.advance(12 * MONTH).await;
    let again = || {
        app.order(&app.member("alice"), json!({"plan": "yearly"}))
            .send()
    };
    let (_, status, advice) = held(again().await);
    assert_eq!((status.as_str(), advice.as_str()), ("ACTIVE", "pay"));
    app.advance(2 * MONTH).await;
    let (_, status, advice) = held(again().await);
    assert_eq!((status.as_str(), advice.as_str()), ("ON_HOLD", "pay"));
}

#[tokio::test]
async fn of_plans_that_replace_each_other_a_member_holds_one() {
    let app = cooperative().await;
    let alice = app.member("alice");
    // Two devices, two plans of the group: one page is left.
    let order = |plan| app.order(&alice, json!({ "plan": plan }));
    for answer in at_once(["monthly", "yearly", "monthly", "yearly"].map(order)).await {
        if answer.status.as_u16() == 409 {
            answer.assert_problem(409, "in_progress");
        } else {
            answer.assert_status(201);
        }
    }
    assert_eq!(app.sessions("open").await.len(), 1);
    // Changing her mind closes the other page.
    let monthly = app.open(&alice, "monthly").await;
    assert_eq!(app.sessions("open").await, [monthly.session.as_str()]);
    app.pay(&monthly).await;
    app.settle().await;
    held(order("yearly").send().await);
    // Plans outside the group are free.
    app.open(&alice, "family").await;
}

#[tokio::test]
async fn what_a_plan_requires_is_held_already_or_bought_with_it() {
    let app = cooperative().await;
    let alice = app.member("alice");
    let share = || app.order(&alice, json!({"plan": "share"})).send();
    share()
        .await
        .assert_problem(409, "requirement_unmet")
        .assert_field("lines[0].plan", "requirement_unmet");
    assert_eq!(app.count("checkouts").await, 0);
    // An open checkout is nothing that she holds.
    app.open(&alice, "yearly").await;
    share().await.assert_problem(409, "requirement_unmet");

    let basket = json!({"lines": [{"plan": "share", "quantity": 2}, {"plan": "yearly"}]});
    let together = app.open_basket(&alice, basket).await;
    app.pay(&together).await;
    app.settle().await;
    let second = app.purchase(&opened(share().await)).await;
    app.pay(&second).await;
    app.settle().await;

    // A membership that has ended counts no more; the shares stay hers.
    let line: String = sqlx::query_scalar(
        "SELECT id::text FROM subscriptions WHERE plan = 'yearly' AND status = 'ACTIVE'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("her membership");
    let subscription = app.row(&line).await.stripe_subscription.expect("sub_…");
    app.at_stripe(
        Method::DELETE,
        &format!("/v1/subscriptions/{subscription}"),
        &[],
    )
    .await;
    app.settle().await;
    share().await.assert_problem(409, "requirement_unmet");
    assert_eq!(app.row(&second.subscription).await.status, "ACTIVE");
}

#[tokio::test]
async fn a_trial_is_for_who_never_had_the_plan_or_another_of_its_group() {
    let app = cooperative().await;
    let alice = app.member("alice");
    let trial = "subscription_data[trial_period_days]";
    // A page that nobody pays is no trial.
    let first = app.open(&alice, "monthly").await;
    assert_eq!(
        app.sent_session().await.get(trial).map(String::as_str),
        Some("14")
    );
    let path = format!("/v1/checkout/sessions/{}/expire", first.session);
    app.at_stripe(Method::POST, &path, &[]).await;
    app.settle().await;

    let purchase = app.buy_with(&alice, "monthly", GOOD_CARD).await;
    assert_eq!(
        app.sent_session().await.get(trial).map(String::as_str),
        Some("14")
    );
    let row = app.row(&purchase.subscription).await;
    assert_eq!(
        (row.status.as_str(), row.reason.as_str()),
        ("ACTIVE", "trialing")
    );
    let subscription = row.stripe_subscription.expect("sub_…");
    app.at_stripe(
        Method::DELETE,
        &format!("/v1/subscriptions/{subscription}"),
        &[],
    )
    .await;
    app.settle().await;
    app.open(&alice, "monthly").await;
    assert_eq!(app.sent_session().await.get(trial), None);

    // Bob had the yearly plan.
    let bob = app.member("bob");
    let yearly = app.buy_with(&bob, "yearly", GOOD_CARD).await;
    let subscription = app.row(&yearly.subscription).await.stripe_subscription;
    let path = format!("/v1/subscriptions/{}", subscription.expect("sub_…"));
    app.at_stripe(Method::DELETE, &path, &[]).await;
    app.settle().await;
    app.open(&bob, "monthly").await;
    assert_eq!(app.sent_session().await.get(trial), None);
}

#[tokio::test]
async fn of_several_pages_that_are_open_at_once_only_the_first_begins_with_a_trial() {
    let plans = Plans::write(
        "[[plan]]\ncode = \"family\"\nkind = \"membership\"\nprice = \"membership_monthly\"\n\
         single = false\nquantity = { max = 6 }\ntrial_days = 7\n",
    );
    let app = plans.sold().start().await;
    let alice = app.member("alice");
    let trials = async || {
        let mut opened = app.calls("POST /v1/checkout/sessions").await;
        opened.retain(|call| call["path"] == "/v1/checkout/sessions");
        let with = opened.iter().filter(|call| {
            let body = call["body"].as_str().expect("a body");
            body.contains("trial_period_days")
        });
        (with.count(), opened.len())
    };
    let first = app.open(&alice, "family").await;
    assert_eq!(trials().await, (1, 1));
    for more in [2, 3] {
        let family = json!({"lines": [{"plan": "family", "quantity": more}]});
        app.open_basket(&alice, family).await;
    }
    assert_eq!(trials().await, (1, 3));
    // Whose page came to nothing gets another chance.
    for session in app.sessions("open").await {
        let path = format!("/v1/checkout/sessions/{session}/expire");
        app.at_stripe(Method::POST, &path, &[]).await;
    }
    app.settle().await;
    assert_eq!(app.row(&first.subscription).await.status, "ENDED");
    app.open(&alice, "family").await;
    assert_eq!(trials().await, (2, 4));
}

#[tokio::test]
async fn who_is_gone_while_she_waits_for_her_turn_leaves_no_transaction_behind() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    // Somebody else has her turn.
    let mut turn = app.pool.begin().await.expect("a transaction");
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('alice', 0))")
        .execute(&mut *turn)
        .await
        .expect("a lock");
    let waiting = async |wanted: bool| {
        app.until("her order waits, or none does", async || {
            let waits: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
                        (SELECT oid FROM pg_database WHERE datname = current_database()))",
            )
            .fetch_one(&app.pool)
            .await
            .expect("the database answers");
            (waits == wanted).then_some(())
        })
        .await;
    };
    {
        let order = app.order(&alice, json!({ "plan": "credits-20" })).send();
        tokio::select! {
            _ = order => panic!("it can't be answered before its turn"),
            () = waiting(true) => {}
        }
        // The client is gone here.
    }
    turn.rollback().await.expect("a rollback");
    // Whatever was begun for her is over, and every connection writes what others see.
    app.until("nobody holds her turn", async || {
        let held: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                    (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .fetch_one(&app.pool)
        .await
        .expect("the database answers");
        (held == 0).then_some(())
    })
    .await;
    let purchase = app.open(&alice, "credits-20").await;
    app.pay(&purchase).await;
    app.until_status(&purchase.subscription, "ACTIVE").await;
}
