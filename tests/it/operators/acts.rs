//! Acts over HTTP: what they do at Stripe and in our rows, what they leave in the record, and who may not.

use dues::services::events::compare::How;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, busy, forgetful, text};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};

/// Ids of refunds of a payment at Stripe that say by which act they were made.
async fn refunds(app: &TestApp, intent: &str) -> Vec<(i64, String)> {
    let path = format!("/v1/refunds?payment_intent={intent}");
    let list = app.sandbox.stripe(&path).await;
    let refunds = list["data"].as_array().expect("a list").iter();
    refunds
        .map(|refund| {
            let amount = refund["amount"].as_i64().expect("an amount");
            (amount, text(&refund["metadata"]["dues_action_id"]))
        })
        .collect()
}

/// Fails unless our rows are what Stripe's objects alone would have made of them.
async fn stripe_says_the_same(app: &TestApp) {
    app.settle().await;
    let never = CancellationToken::new();
    let compared = app.services.events.compare(How::default(), &never, |_| {});
    let compared = compared.await.expect("it is compared");
    assert_eq!(compared.differences(), 0, "{:?}", compared.drift);
    assert_eq!(compared.errors, Vec::<String>::new());
}

fn outcome(answer: &Value) -> (String, String) {
    let action = &answer["action"];
    (text(&action["state"]), text(&action["outcome"]))
}

fn done(outcome: &str) -> (String, String) {
    ("done".to_owned(), outcome.to_owned())
}

#[tokio::test]
async fn a_webhook_that_was_lost_is_made_up_for_by_taking_over_what_stripe_says() {
    let app = forgetful().await;
    app.hold_deliveries().await;
    let alice = app.member("alice");
    let purchase = app.open(&alice, "membership-annual").await;
    app.pay(&purchase).await;
    let path = format!("subscriptions/{}/sync", purchase.subscription);
    let preview = app
        .grace_would(&path, json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(preview["action"], json!(null));
    let change = &preview["preview"]["changes"][0];
    assert_eq!(change["stripe"], "ACTIVE", "{preview}");
    assert_eq!(
        app.row(&purchase.subscription).await.status,
        "PENDING_ACTIVATION"
    );

    let answer = app
        .grace_does(&path, json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(outcome(&answer), done("taken_over"));
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    let cause: (String, String, String) = sqlx::query_as(
        "SELECT cause, actor, cause_ref FROM status_changes WHERE subscription_id = $1::uuid ORDER BY seq DESC LIMIT 1",
    )
    .bind(&purchase.subscription)
    .fetch_one(&app.pool)
    .await
    .expect("a change");
    let id = text(&answer["action"]["id"]);
    assert_eq!(cause, ("operator".to_owned(), "grace".to_owned(), id));
    // Nothing is left to be said, by the webhooks or by another look.
    app.release_deliveries(json!({})).await;
    app.settle().await;
    let again = app
        .grace_does(&path, json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(outcome(&again), done("nothing_differed"));
    assert_eq!(app.path(&purchase.subscription).await.len(), 2);
}

#[tokio::test]
async fn lines_of_a_basket_go_back_each_for_itself_and_what_is_all_of_one_ends_it() {
    let app = busy().await;
    let (purchase, lines) = app
        .sell_basket(&["membership-annual", "share", "credits-20"], GOOD_CARD)
        .await;
    let intent = app.payment_of(&purchase).await;
    let path = format!("subscriptions/{}/refund", lines[0]);
    let all = app
        .grace_would(&path, json!({}))
        .await
        .assert_status(200)
        .json();
    let told = all["preview"]["lines"].as_array().expect("lines").clone();
    assert_eq!(told.len(), 3, "{all}");
    let amount = |id: &str| {
        let line = told.iter().find(|line| line["subscription_id"] == id);
        line.expect("the line is told")["amount"]
            .as_i64()
            .expect("an amount")
    };
    let sum: i64 = lines.iter().map(|id| amount(id)).sum();
    assert_eq!(all["preview"]["payment"]["amount"], sum);
    assert_eq!(all["preview"]["refund"], sum);

    let parts = json!([
        { "subscription_id": lines[2], "amount": amount(&lines[2]) },
        { "subscription_id": lines[1], "amount": 1 },
    ]);
    let preview = app
        .grace_would(&path, json!({ "lines": parts }))
        .await
        .assert_status(200)
        .json();
    let warnings = preview["preview"]["warnings"].to_string();
    assert!(warnings.contains("capital is not withdrawn"), "{warnings}");
    let body = json!({ "lines": parts, "already_refunded": 0 });
    let answer = app.grace_does(&path, body).await.assert_status(200).json();
    assert_eq!(outcome(&answer), done("refunded"));
    let id = text(&answer["action"]["id"]);
    let made = refunds(&app, &intent).await;
    assert_eq!(made, [(1, id.clone()), (amount(&lines[2]), id)]);

    app.settle().await;
    let mut statuses = Vec::new();
    for line in &lines {
        let refunded = app.value("subscriptions", "refund_state", line).await;
        statuses.push((app.row(line).await.status, refunded.unwrap_or_default()));
    }
    let expected = [("ACTIVE", "none"), ("ACTIVE", "part"), ("ENDED", "full")];
    assert_eq!(
        statuses,
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    // Nobody has to look: every refund names its line.
    assert_eq!(app.flags().await, Vec::<String>::new());
    stripe_says_the_same(&app).await;
}

#[tokio::test]
async fn a_refund_that_was_asked_for_twice_is_made_once_and_a_stale_page_refunds_nothing() {
    let app = busy().await;
    let purchase = app.sell("credits-50", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    let (grace, tom) = (app.grace(), app.staff("tom", &["treasurer"]));
    let key = Uuid::now_v7();
    let body =
        json!({ "amount": 100, "already_refunded": 0, "reason": "goodwill", "reference": "T-1" });
    let ask = |token: &str| app.staff_act(token, &path, key, body.clone()).send();
    // A double click.
    let (one, other) = tokio::join!(ask(&grace), ask(&grace));
    for answer in [one, other] {
        answer.assert_status(200);
    }
    let again = ask(&grace).await.assert_status(200).json();
    assert_eq!(outcome(&again), done("refunded"));
    assert_eq!(refunds(&app, &intent).await.len(), 1);
    // Another act under the same key, and the same key from somebody else.
    let mut other = body.clone();
    other["amount"] = json!(200);
    let reused = app.staff_act(&grace, &path, key, other).send().await;
    reused.assert_problem(422, "idempotency_key_reused");
    ask(&tom)
        .await
        .assert_problem(422, "idempotency_key_reused");
    // Tom's page was read before.
    let stale = json!({ "amount": 100, "already_refunded": 0, "reason": "goodwill" });
    let moved = app
        .staff_act(&tom, &path, Uuid::now_v7(), stale)
        .send()
        .await;
    moved.assert_problem(409, "already_refunded_moved");
    assert_eq!(refunds(&app, &intent).await.len(), 1);
    let actions = app.look("actions?verb=refund").await;
    let states: Vec<String> = { actions["data"].as_array().expect("a list").iter() }
        .map(|action| {
            format!(
                "{} {} {}",
                action["actor"], action["state"], action["outcome"]
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            r#""tom" "refused" "already_refunded_moved""#,
            r#""grace" "done" "refunded""#
        ]
    );
    assert_eq!(actions["data"][1]["reference"], "T-1");
    assert_eq!(actions["data"][1]["role"], "operator");
    assert_eq!(actions["data"][0]["role"], "treasurer");
    assert_eq!(actions["data"][0]["user_id"], "alice");
}

#[tokio::test]
async fn of_two_operators_on_one_payment_one_is_first() {
    let app = busy().await;
    let purchase = app.sell("credits-50", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    // The first one's refund takes long.
    let slow = json!({ "kind": "stall", "method": "POST", "path": "/v1/refunds", "stall_ms": 600 });
    app.fault(slow).await;
    let body = json!({ "amount": 100, "already_refunded": 0, "reason": "goodwill" });
    let (grace, tom) = (app.grace(), app.staff("tom", &["treasurer"]));
    let first = app
        .staff_act(&grace, &path, Uuid::now_v7(), body.clone())
        .send();
    let second = async {
        app.until("the first has begun", async || {
            (app.count("actions").await == 1).then_some(())
        })
        .await;
        app.staff_act(&tom, &path, Uuid::now_v7(), body.clone())
            .send()
            .await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(outcome(&first.assert_status(200).json()), done("refunded"));
    second.assert_problem(409, "action_in_progress");
    assert_eq!(refunds(&app, &intent).await.len(), 1);
}

#[tokio::test]
async fn a_refund_of_which_stripe_did_not_answer_is_unknown_until_it_is_looked_for() {
    let app = TestApp::with()
        .setting("DUES__WORKER__INTERVAL_MS", 20)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__TIMEOUT_MS", 300)
        .start()
        .await;
    let purchase = app.sell("credits-50", GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    let body = json!({ "already_refunded": 0 });
    // The effect happens, the answer is lost.
    let fault = json!({ "kind": "timeout_after_effect", "method": "POST", "path": "/v1/refunds" });
    app.fault(fault).await;
    let answer = app
        .grace_does(&path, body.clone())
        .await
        .assert_status(200)
        .json();
    assert_eq!(
        outcome(&answer),
        ("unknown".to_owned(), "stripe_timed_out".to_owned())
    );
    let blocked = app
        .grace_does(&path, json!({ "already_refunded": 0 }))
        .await;
    // Nobody asks for it anew as long as nobody knows.
    let code = blocked.json()["code"].clone();
    assert!(
        code == "action_in_progress" || code == "nothing_to_refund",
        "{code}"
    );
    app.move_clocks(3 * 60).await;
    app.until("it is known", async || {
        let actions = app.look("actions?state=done").await;
        (actions["data"][0]["outcome"] == "refunded").then_some(())
    })
    .await;
    assert_eq!(refunds(&app, &intent).await.len(), 1);
    app.until_status(&purchase.subscription, "ENDED").await;
}

#[tokio::test]
async fn money_back_and_the_end_are_one_form_and_two_acts() {
    let app = busy().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let path = format!("subscriptions/{}/refund", purchase.subscription);
    let preview = app
        .grace_would(&path, json!({ "also_cancel": "now" }))
        .await;
    let preview = preview.assert_status(200).json();
    assert!(
        preview["preview"]["text"]
            .to_string()
            .contains("ends at once"),
        "{preview}"
    );
    let body = json!({ "also_cancel": "now", "already_refunded": 0 });
    let answer = app.grace_does(&path, body).await.assert_status(200).json();
    assert_eq!(outcome(&answer), done("refunded"));
    app.until_status(&purchase.subscription, "ENDED").await;
    let actions = app
        .look(&format!("actions?subject={}", purchase.subscription))
        .await;
    let told: Vec<(Value, Value, Value)> = { actions["data"].as_array().expect("a list").iter() }
        .map(|action| {
            (
                action["verb"].clone(),
                action["outcome"].clone(),
                action["parent"].clone(),
            )
        })
        .collect();
    let refund = answer["action"]["id"].clone();
    assert_eq!(
        told,
        [
            (json!("cancel"), json!("ended"), refund),
            (json!("refund"), json!("refunded"), json!(null)),
        ]
    );
    stripe_says_the_same(&app).await;
    // A year later the story tells who did it, as what, and why.
    let story = app.look(&format!("subscriptions/{}/story?from=rows", purchase.subscription)).await;
    let acts: Vec<(Value, Value)> = { story["data"].as_array().expect("a list").iter() }
        .filter(|entry| entry["kind"] == "action")
        .map(|entry| (entry["actor"].clone(), entry["role"].clone()))
        .collect();
    assert_eq!(acts, vec![(json!("grace"), json!("operator")); 2], "{story}");
    // She who may only move money can't end anything.
    let other = app
        .buy_with(&app.member("bob"), "membership-monthly", GOOD_CARD)
        .await;
    let path = format!("subscriptions/{}/refund", other.subscription);
    let body = json!({ "also_cancel": "now", "already_refunded": 0, "reason": "goodwill" });
    let tom = app.staff("tom", &["treasurer"]);
    let refused = app
        .staff_act(&tom, &path, Uuid::now_v7(), body)
        .send()
        .await;
    refused.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn an_operator_ends_what_a_member_may_not_and_thinks_better_of_it() {
    let app = busy().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    let path = |verb: &str| format!("subscriptions/{}/{verb}", purchase.subscription);
    let would = app
        .grace_would(&path("cancel"), json!({}))
        .await
        .assert_status(200)
        .json();
    assert!(would["preview"]["at"].is_string(), "{would}");
    let cancelled = app
        .grace_does(&path("cancel"), json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(outcome(&cancelled), done("will_not_renew"));
    let resumed = app
        .grace_does(&path("resume"), json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(outcome(&resumed), done("renews_again"));
    // A row that moved since the page was read.
    let stale = app
        .grace_does(&path("cancel"), json!({ "version": 1 }))
        .await;
    stale.assert_problem(409, "row_moved");
    let ended = app
        .grace_does(&path("cancel"), json!({ "at": "now" }))
        .await;
    assert_eq!(outcome(&ended.assert_status(200).json()), done("ended"));
    app.grace_does(&path("cancel"), json!({}))
        .await
        .assert_problem(409, "already_ended");
    stripe_says_the_same(&app).await;
    let path = app.path(&purchase.subscription).await;
    assert_eq!(path.last().map(String::as_str), Some("ENDED ended"));
}

#[tokio::test]
async fn what_was_paid_in_cash_settles_the_open_invoice_at_stripe() {
    let app = busy().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    app.change_card(&purchase, FAILING_LATER_CARD).await;
    app.advance(33 * DAY).await;
    let path = format!("subscriptions/{}/settle", purchase.subscription);
    let would = app
        .grace_would(&path, json!({}))
        .await
        .assert_status(200)
        .json();
    let invoice = text(&would["preview"]["invoice"]["id"]);
    assert!(
        would["preview"]["warnings"]
            .to_string()
            .contains("takes this back")
    );
    let support = app.staff("sue", &["support"]);
    let body = json!({ "reason": "not_received" });
    let refused = app
        .staff_act(&support, &path, Uuid::now_v7(), body)
        .send()
        .await;
    refused.assert_problem(403, "forbidden");
    let answer = app
        .grace_does(&path, json!({ "reference": "V-2026-041" }))
        .await;
    assert_eq!(outcome(&answer.assert_status(200).json()), done("settled"));
    let held = app.sandbox.stripe(&format!("/v1/invoices/{invoice}")).await;
    assert_eq!(held["status"], "paid");
    app.settle().await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    stripe_says_the_same(&app).await;
    app.grace_does(&path, json!({}))
        .await
        .assert_problem(409, "nothing_to_settle");
}

#[tokio::test]
async fn what_support_made_at_stripe_by_hand_becomes_the_members() {
    let app = busy().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let over = format!("subscriptions/{}/cancel", purchase.subscription);
    app.grace_does(&over, json!({ "at": "now" }))
        .await
        .assert_status(200);
    let customer = app.customer_of(&purchase).await;
    let prices = app
        .sandbox
        .stripe("/v1/prices?lookup_keys[]=membership_annual")
        .await;
    let price = text(&prices["data"][0]["id"]);
    let methods = format!("/v1/customers/{customer}/payment_methods");
    let method = text(&app.sandbox.stripe(&methods).await["data"][0]["id"]);
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", price.as_str()),
        ("default_payment_method", method.as_str()),
    ];
    let made = app
        .at_stripe(Method::POST, "/v1/subscriptions", &form)
        .await;
    app.settle().await;
    let stripe = text(&made["id"]);
    let body = |user: &str| json!({ "stripe_subscription_id": stripe, "user_id": user });
    let other = app.grace_would("adoptions", body("bob")).await;
    other.assert_problem(409, "other_customer");
    let would = app
        .grace_would("adoptions", body("alice"))
        .await
        .assert_status(200)
        .json();
    let told = &would["preview"];
    assert_eq!(
        (&told["plan"], &told["customer_is"]),
        (&json!("membership-annual"), &json!("alice"))
    );
    let answer = app
        .grace_does("adoptions", body("alice"))
        .await
        .assert_status(200)
        .json();
    assert_eq!(outcome(&answer), done("adopted"));
    let id = text(&answer["subscription"]["id"]);
    assert_eq!(app.row(&id).await.status, "ACTIVE");
    let held = app
        .sandbox
        .stripe(&format!("/v1/subscriptions/{stripe}"))
        .await;
    assert_eq!(held["metadata"]["dues_subscription_id"], id);
    let held = app
        .sandbox
        .stripe(&format!("/v1/customers/{customer}"))
        .await;
    assert_eq!(held["metadata"]["dues_user_id"], "alice");
    stripe_says_the_same(&app).await;
    let again = app.grace_does("adoptions", body("alice")).await;
    again.assert_problem(409, "held_already");
    let nothing = json!({ "stripe_subscription_id": "sub_nothing", "user_id": "alice" });
    let unknown = app
        .grace_would("adoptions", nothing)
        .await
        .assert_problem(422, "validation_failed");
    unknown.assert_field("stripe_subscription_id", "unknown_value");
}

#[tokio::test]
async fn a_flagged_event_is_applied_again_or_dismissed_for_a_reason() {
    let app = busy().await;
    let (purchase, lines) = app
        .sell_basket(&["membership-annual", "share"], GOOD_CARD)
        .await;
    let intent = app.payment_of(&purchase).await;
    app.refund(&intent, &[("amount", "1")]).await;
    app.settle().await;
    let flagged = async || -> String {
        sqlx::query_scalar(
            "SELECT id FROM webhook_events WHERE state = 'flagged' ORDER BY id LIMIT 1",
        )
        .fetch_one(&app.pool)
        .await
        .expect("a refund that names no line is flagged")
    };
    let event = flagged().await;
    let path = |verb: &str| format!("events/{event}/{verb}");
    let would = app
        .grace_would(&path("replay"), json!({}))
        .await
        .assert_status(200)
        .json();
    assert!(would["preview"]["text"][0].is_string());
    let replayed = app
        .grace_does(&path("replay"), json!({}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(text(&replayed["action"]["state"]), "done");
    app.settle().await;
    let path = format!("events/{}/dismiss", flagged().await);
    let dismissed = app.grace_does(&path, json!({ "reference": "T-9" })).await;
    assert_eq!(
        outcome(&dismissed.assert_status(200).json()),
        done("dismissed")
    );
    app.grace_does(&path, json!({}))
        .await
        .assert_problem(409, "event_settled");
    let actions = app.look("actions?user=alice").await;
    assert_eq!(actions["data"][0]["verb"], "dismiss", "{actions}");
    assert_eq!(lines.len(), 2);
    app.grace_does("events/evt_nothing/replay", json!({}))
        .await
        .assert_problem(404, "not_found");
}

#[tokio::test]
async fn who_may_not_act_is_told_so_and_nothing_is_begun() {
    let app = busy().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    let path = |verb: &str| format!("subscriptions/{}/{verb}", purchase.subscription);
    let body = json!({ "reason": "goodwill" });
    let key = Uuid::now_v7();
    for (roles, verb) in [
        (&["reader"][..], "sync"),
        (&["reader"], "cancel"),
        (&["treasurer"], "cancel"),
        (&["support"], "refund"),
        (&[], "sync"),
    ] {
        let token = app.staff("rita", roles);
        let refused = app
            .staff_act(&token, &path(verb), key, body.clone())
            .send()
            .await;
        refused.assert_problem(403, "forbidden");
    }
    // Nobody acts on her own, unless she may everything.
    let alice = app.staff("alice", &["support"]);
    let own = app
        .staff_act(&alice, &path("cancel"), key, body.clone())
        .send()
        .await;
    own.assert_problem(403, "own_rows");
    let wrong = [
        (json!({}), "reason", "missing"),
        (json!({ "reason": "because" }), "reason", "reason_unknown"),
        (
            json!({ "reason": "goodwill", "reference": "Ada Lovelace" }),
            "reference",
            "reference_invalid",
        ),
        (
            json!({ "reason": "goodwill", "at": "tomorrow" }),
            "at",
            "invalid",
        ),
        (
            json!({ "reason": "goodwill", "colour": "red" }),
            "colour",
            "unknown_field",
        ),
    ];
    for (body, field, code) in wrong {
        let refused = app
            .staff_act(&app.grace(), &path("cancel"), key, body)
            .send()
            .await;
        refused
            .assert_problem(422, "validation_failed")
            .assert_field(field, code);
    }
    let without = app
        .post(&format!("/v1/operator/{}", path("cancel")))
        .bearer(&app.grace());
    let without = without.json(body.clone()).send().await;
    without.assert_problem(400, "bad_idempotency_key");
    for id in ["not-a-uuid", "0190a000-0000-7000-8000-000000000000"] {
        let nobody = app
            .grace_does(&format!("subscriptions/{id}/sync"), json!({}))
            .await;
        nobody.assert_problem(404, "not_found");
    }
    assert_eq!(app.count("actions").await, 0);
    // A page of another origin has nothing to ask here.
    let origin = app.settings.client.allowed_origins.first().cloned();
    let call = app.get("/v1/operator/me").bearer(&app.grace());
    let answer = call
        .header("origin", origin.unwrap_or_default())
        .send()
        .await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_chain_of_acts_tells_what_was_changed_in_it() {
    let app = busy().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    for verb in ["sync", "cancel", "resume"] {
        let path = format!("subscriptions/{}/{verb}", purchase.subscription);
        app.grace_does(&path, json!({})).await.assert_status(200);
    }
    let verify = async || {
        let chain = app.services.operators.verify_actions().await;
        format!("{:?}", chain.expect("the database answers"))
    };
    let whole = verify().await;
    assert!(whole.starts_with("Whole { entries: 6"), "{whole}");
    let refused = sqlx::query("UPDATE actions SET reason = 'board'")
        .execute(&app.pool)
        .await;
    assert!(refused.is_err());
    for statement in [
        "DELETE FROM action_log",
        "TRUNCATE action_log",
        "DELETE FROM actions",
    ] {
        assert!(
            sqlx::query(statement).execute(&app.pool).await.is_err(),
            "{statement}"
        );
    }
    // Whoever owns the tables can take the guard away, but not what follows from the rows.
    let steps = [
        ("ALTER TABLE actions DISABLE TRIGGER ALL", "Whole"),
        (
            "UPDATE actions SET reason = 'board' WHERE verb = 'cancel'",
            "Broken(3)",
        ),
        (
            "UPDATE actions SET reason = 'member_request' WHERE verb = 'cancel'",
            "Whole",
        ),
        (
            "UPDATE actions SET outcome = 'other' WHERE verb = 'sync'",
            "Broken(2)",
        ),
        (
            "UPDATE actions SET outcome = 'nothing_differed' WHERE verb = 'sync'",
            "Whole",
        ),
        ("ALTER TABLE action_log DISABLE TRIGGER ALL", "Whole"),
        ("DELETE FROM action_log WHERE seq = 6", "Broken(5)"),
    ];
    for (statement, expected) in steps {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&app.pool)
            .await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let told = verify().await;
        assert!(told.starts_with(expected), "{statement}: {told}");
    }
}
