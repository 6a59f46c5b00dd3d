//! Members change plan and quantity, and know before what it costs.

use std::collections::HashMap;

use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, MONTH, text};
use crate::harness::own_affairs::{Plans, plans};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, at_once};
use crate::harness::replica::Replica;

/// What the service has asked Stripe about subscriptions and previews so far, as method and last part of the path.
async fn calls(app: &TestApp) -> Vec<String> {
    let calls = app.calls_of_service("").await.into_iter();
    let about = calls.filter(|call| {
        let path = text(&call["path"]);
        path.starts_with("/v1/subscriptions") || path.starts_with("/v1/invoices")
    });
    let words = |call: Value| match text(&call["path"]).rsplit_once('/') {
        Some((_, last)) if last.starts_with("sub_") => text(&call["method"]),
        Some((_, last)) => format!("{} {last}", text(&call["method"])),
        None => text(&call["path"]),
    };
    about.map(words).collect()
}

/// The invoices of a line at Stripe, newest first: total and reason.
async fn invoices(app: &TestApp, id: &str) -> Vec<(i64, String)> {
    let path = format!("/v1/invoices?subscription={}", app.at_stripes(id).await);
    let list = app.sandbox.stripe(&path).await;
    let rows = list["data"].as_array().expect("a list").iter();
    rows.map(|row| {
        (
            row["total"].as_i64().expect("a total"),
            text(&row["billing_reason"]),
        )
    })
    .collect()
}

fn time_of(value: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(&text(value), &Rfc3339).expect("a time")
}

fn sum(preview: &Value) -> i64 {
    let lines = preview["lines"].as_array().expect("lines").iter();
    lines
        .map(|line| line["amount"].as_i64().expect("an amount"))
        .sum()
}

#[tokio::test]
async fn a_change_of_plan_costs_what_its_preview_said_and_is_made_once() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let before = app.subscription(&app.member("alice"), &id).await;
    app.advance(10 * DAY).await;
    let asked = calls(&app).await.len();
    let preview = app
        .act(&id, "change/preview", json!({"plan": "yearly"}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(calls(&app).await[asked..], ["GET", "POST create_preview"]);
    let due = preview["due_now"].as_i64().expect("an amount");
    assert_eq!(preview["currency"], "eur");
    assert_eq!(due, sum(&preview), "{preview:#}");
    assert!(
        (2700..3000).contains(&due),
        "part of a month is credited: {preview:#}"
    );
    let lines = preview["lines"].as_array().expect("lines");
    let credit = lines.iter().find(|line| line["amount"].as_i64() < Some(0));
    let credit = credit.expect("a credit");
    assert_eq!(credit["proration"], true);
    assert!(credit["period_start"].is_string() && credit["period_end"].is_string());
    assert!(text(&preview["next_period_end"]) > text(&before["current_period_end"]));
    assert_eq!(app.terms(&id).await.0, "basic", "a preview changes nothing");

    // What a webhook leaves in doubt the worker reads: those calls are not the wish's.
    app.hold_deliveries().await;
    let asked = calls(&app).await.len();
    let body = json!({"plan": "yearly", "proration_date": preview["proration_date"]});
    // The change begins a new period, some time after the preview.
    app.advance(2).await;
    let changed = app
        .act(&id, "change", body.clone())
        .await
        .assert_status(200)
        .json();
    assert_eq!(calls(&app).await[asked..], ["GET", "POST"]);
    assert_eq!(
        (&changed["plan"], &changed["status"]),
        (&json!("yearly"), &json!("ACTIVE"))
    );
    // The new period begins with the change, not with the preview.
    let late = time_of(&changed["current_period_end"]) - time_of(&preview["next_period_end"]);
    assert!((0..60).contains(&late.whole_seconds()), "{late}");
    let yearly = app.price("membership_annual").await;
    assert_eq!(app.terms(&id).await, ("yearly".to_owned(), 1, yearly));
    assert_eq!(app.last_change(&id).await, "plan_changed member");
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    let total = invoices(&app, &id).await;
    assert_eq!(total[0], (due, "subscription_update".to_owned()));

    // What Stripe tells of it is known, and a repeat finds nothing to do.
    app.release_deliveries(json!({})).await;
    app.settle().await;
    let asked = calls(&app).await.len();
    let again = app.act(&id, "change", body).await.assert_status(200);
    assert_eq!(again.json(), changed);
    assert_eq!(calls(&app).await[asked..], ["GET"]);
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    assert_eq!(invoices(&app, &id).await.len(), 2);
    assert_eq!(app.path_since_active(&id).await, ["ACTIVE plan_changed"]);
    // Once it is so, it costs nothing more.
    let preview = app
        .act(&id, "change/preview", json!({"plan": "yearly"}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(
        (&preview["due_now"], &preview["lines"]),
        (&json!(0), &json!([]))
    );
}

#[tokio::test]
async fn a_change_of_quantity_is_charged_for_the_rest_of_the_period_and_credited_likewise() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("seats", GOOD_CARD).await.subscription;
    app.advance(15 * DAY).await;
    let preview = app
        .act(&id, "change/preview", json!({"quantity": 5}))
        .await
        .assert_status(200)
        .json();
    let due = preview["due_now"].as_i64().expect("an amount");
    assert!(
        (500..700).contains(&due),
        "four more for half a month: {preview:#}"
    );
    let end = app.subscription(&app.member("alice"), &id).await["current_period_end"].clone();
    assert_eq!(preview["next_period_end"], end);
    let body = json!({"quantity": 5, "proration_date": preview["proration_date"]});
    let changed = app.act(&id, "change", body).await.assert_status(200).json();
    assert_eq!(changed["quantity"], 5);
    assert_eq!(invoices(&app, &id).await[0].0, due);
    let last = app.changes(&id).await.pop().expect("a change");
    assert_eq!(
        (
            &last["reason"],
            &last["cause"],
            &last["from_quantity"],
            &last["to_quantity"]
        ),
        (
            &json!("quantity_changed"),
            &json!("member"),
            &json!(1),
            &json!(5)
        )
    );
    // Fewer cost nothing now: the credit waits at Stripe.
    let preview = app
        .act(&id, "change/preview", json!({"quantity": 2}))
        .await
        .assert_status(200)
        .json();
    assert_eq!(preview["due_now"], 0);
    assert!(sum(&preview) < 0, "{preview:#}");
    app.act(&id, "change", json!({"quantity": 2}))
        .await
        .assert_status(200);
    app.settle().await;
    assert_eq!(app.terms(&id).await.1, 2);
    app.assert_line(&id, "ACTIVE", "paid", true).await;
    // A plan and a quantity at once.
    app.act(
        &id,
        "change",
        json!({"plan": "yearly-seats", "quantity": 4}),
    )
    .await
    .assert_status(200);
    app.settle().await;
    let yearly = app.price("membership_annual").await;
    assert_eq!(app.terms(&id).await, ("yearly-seats".to_owned(), 4, yearly));
    app.assert_line(&id, "ACTIVE", "paid", true).await;
}

#[tokio::test]
async fn a_change_that_can_not_be_paid_is_not_made_and_says_why() {
    let plans = plans();
    let app = plans.sold().start().await;
    let purchase = app.sell("basic", FAILING_LATER_CARD).await;
    let id = &purchase.subscription;
    let terms = app.terms(id).await;
    let answer = app.act(id, "change", json!({"plan": "yearly"})).await;
    let problem = answer.assert_problem(402, "payment_failed").json();
    assert!(!text(&problem["errors"][0]["code"]).is_empty());
    assert!(
        text(&problem["detail"]).contains("another card"),
        "{problem}"
    );
    assert!(
        !problem.to_string().contains("Your card"),
        "Stripe's text is not ours"
    );
    app.settle().await;
    assert_eq!(app.terms(id).await, terms);
    assert_eq!(app.money(id).await, ["payment"]);
    app.assert_line(id, "ACTIVE", "paid", true).await;
    // One that asks for confirmation can't be charged here either.
    app.change_card(&purchase, "4000002760003184").await;
    app.act(id, "change", json!({"plan": "yearly"}))
        .await
        .assert_problem(402, "payment_failed")
        .assert_field("", "authentication_required");
    app.change_card(&purchase, GOOD_CARD).await;
    app.act(id, "change", json!({"plan": "yearly"}))
        .await
        .assert_status(200);
    assert_eq!(app.terms(id).await.0, "yearly");
}

#[tokio::test]
async fn a_wish_that_breaks_a_rule_names_its_field() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("seats", GOOD_CARD).await.subscription;
    let (held, other) = ("yearly-seats", "yearly");
    let hours = |hours: i64| {
        let at = app.clock.now() + time::Duration::hours(hours);
        at.replace_nanosecond(0)
            .expect("a whole second")
            .format(&Rfc3339)
            .expect("a time")
    };
    for (body, field, code) in [
        (json!({}), "plan", "required"),
        (json!({"plan": "platinum"}), "plan", "unknown_plan"),
        (json!({"plan": other}), "plan", "other_upgrade_group"),
        (json!({"plan": "credits-20"}), "plan", "other_upgrade_group"),
        (json!({"plan": "patron"}), "plan", "other_upgrade_group"),
        (json!({"quantity": 0}), "quantity", "out_of_range"),
        (json!({"quantity": 10}), "quantity", "out_of_range"),
        (json!({"quantity": -1}), "quantity", "invalid"),
        // The quantity that she has is none of the other plan's.
        (json!({"plan": held}), "quantity", "out_of_range"),
        (
            json!({"plan": held, "quantity": 3}),
            "quantity",
            "out_of_range",
        ),
        (
            json!({"quantity": 2, "proration_date": "tomorrow"}),
            "proration_date",
            "invalid",
        ),
        // Whoever chose the day would choose the price.
        (
            json!({"quantity": 2, "proration_date": hours(-2)}),
            "proration_date",
            "out_of_range",
        ),
        (
            json!({"quantity": 2, "proration_date": hours(2)}),
            "proration_date",
            "out_of_range",
        ),
        (
            json!({"quantity": 2, "price": "price_1"}),
            "price",
            "unknown_field",
        ),
    ] {
        for what in ["change", "change/preview"] {
            app.act(&id, what, body.clone())
                .await
                .assert_problem(422, "validation_failed")
                .assert_field(field, code);
        }
    }
    assert_eq!(app.terms(&id).await.1, 1);
    assert!(
        !calls(&app)
            .await
            .iter()
            .any(|call| call.starts_with("POST"))
    );
}

#[tokio::test]
async fn what_can_not_be_changed_says_why_and_somebody_elses_is_not_there() {
    let plans = plans();
    let app = plans.sold().start().await;
    let one_off = app.sell("credits-20", GOOD_CARD).await.subscription;
    let open = app.open(&app.member("alice"), "yearly").await.subscription;
    let cancelled = app.sell("seats", GOOD_CARD).await.subscription;
    app.act(&cancelled, "cancel", json!({}))
        .await
        .assert_status(200);
    let overdue = app.sell("patron", FAILING_LATER_CARD).await.subscription;
    app.advance(MONTH).await;
    let ended = cancelled.clone();
    let more = json!({"quantity": 2});
    for (id, code) in [
        (&one_off, "not_changeable"),
        (&open, "already_ended"),
        (&ended, "already_ended"),
        (&overdue, "payment_retrying"),
    ] {
        for what in ["change", "change/preview"] {
            app.act(id, what, more.clone())
                .await
                .assert_problem(409, code);
        }
    }
    let open = app.open(&app.member("alice"), "yearly").await.subscription;
    app.act(&open, "change", json!({"plan": "basic"}))
        .await
        .assert_problem(409, "awaiting_payment");
    let cancelled = app.sell("seats", GOOD_CARD).await.subscription;
    app.act(&cancelled, "cancel", json!({}))
        .await
        .assert_status(200);
    app.act(&cancelled, "change", more.clone())
        .await
        .assert_problem(409, "cancelled");
    for what in ["change", "change/preview"] {
        let call = app.post(&format!("/v1/subscriptions/{overdue}/{what}"));
        let call = call.bearer(&app.member("mallory")).json(more.clone());
        call.send().await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_charged_once() {
    let plans = plans();
    let app = plans
        .sold()
        .setting("DUES__STRIPE__TIMEOUT_MS", 300)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 600)
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let path = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    app.hold_deliveries().await;
    let fault =
        json!({"kind": "timeout_after_effect", "method": "POST", "path": path, "stall_ms": 1500});
    app.fault(fault).await;
    let wish = || json!({"plan": "yearly"});
    app.act(&id, "change", wish())
        .await
        .assert_problem(504, "stripe_timeout");
    assert_eq!(app.terms(&id).await.0, "basic");
    let changed = app.act(&id, "change", wish()).await.assert_status(200);
    assert_eq!(changed.json()["plan"], "yearly");
    app.release_deliveries(json!({"order": "reverse"})).await;
    app.settle().await;
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    assert_eq!(invoices(&app, &id).await.len(), 2);
    assert_eq!(app.path_since_active(&id).await, ["ACTIVE plan_changed"]);
    let sent = app.calls(&format!("POST {path}")).await;
    assert!(
        sent.iter()
            .all(|call| call["headers"].get("idempotency-key").is_none())
    );
}

#[tokio::test]
async fn a_change_that_breaks_off_is_tried_again_by_the_service_itself_and_charged_once() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let path = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    app.fault(json!({"kind": "disconnect_after_effect", "method": "POST", "path": path}))
        .await;
    app.act(&id, "change", json!({"plan": "yearly"}))
        .await
        .assert_status(200);
    app.settle().await;
    assert_eq!(app.calls(&format!("POST {path}")).await.len(), 2);
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    assert_eq!(invoices(&app, &id).await.len(), 2);
    assert_eq!(app.terms(&id).await.0, "yearly");
}

#[tokio::test]
async fn the_same_wish_at_two_replicas_at_once_is_charged_once() {
    let plans = plans();
    let app = plans.sold().start().await;
    let more = HashMap::from([(
        "DUES__PLANS__FILE".to_owned(),
        app.settings.plans.file.display().to_string(),
    )]);
    let database = app.settings.database.url.expose().to_owned();
    let mut replica = Replica::start(&database, app.sandbox.url(), &more).await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let alice = app.member("alice");
    let path = format!("/v1/subscriptions/{id}/change");
    let wish = |number| {
        let call = if number % 2 == 0 {
            app.post(&path)
        } else {
            replica.request(Method::POST, &path)
        };
        call.bearer(&alice).json(json!({"plan": "yearly"}))
    };
    for answer in at_once((0..6).map(wish)).await {
        assert_eq!(answer.assert_status(200).json()["plan"], "yearly");
    }
    app.settle().await;
    assert_eq!(app.money(&id).await, ["payment", "payment"]);
    assert_eq!(invoices(&app, &id).await.len(), 2);
    assert_eq!(app.path_since_active(&id).await, ["ACTIVE plan_changed"]);
    replica.stop().await;
}

#[tokio::test]
async fn what_an_operator_changed_meanwhile_is_known_before_a_wish_is_fulfilled() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    let yearly = app.price("membership_annual").await;
    app.hold_deliveries().await;
    app.move_at_stripe(&id, Some(&yearly), 1).await;
    let asked = calls(&app).await.len();
    let changed = app
        .act(&id, "change", json!({"plan": "yearly"}))
        .await
        .assert_status(200);
    assert_eq!(changed.json()["plan"], "yearly");
    assert_eq!(calls(&app).await[asked..], ["GET"]);
    // And one that ended there is no fault of Stripe.
    let path = format!("/v1/subscriptions/{}", app.at_stripes(&id).await);
    app.at_stripe(Method::DELETE, &path, &[]).await;
    app.act(&id, "change", json!({"plan": "basic"}))
        .await
        .assert_problem(409, "already_ended");
    app.release_deliveries(json!({})).await;
    app.settle().await;
    app.assert_line(&id, "ENDED", "ended", false).await;
}

#[tokio::test]
async fn where_the_difference_is_paid_later_or_never_nothing_is_due_now() {
    for (proration, later) in [("create_prorations", true), ("none", false)] {
        let plans = plans();
        let app = plans
            .sold()
            .setting("DUES__CHANGES__PRORATION", proration)
            .start()
            .await;
        let id = app.sell("seats", GOOD_CARD).await.subscription;
        app.advance(15 * DAY).await;
        let preview = app
            .act(&id, "change/preview", json!({"quantity": 3}))
            .await
            .assert_status(200)
            .json();
        assert_eq!(preview["due_now"], 0, "{proration}");
        let lines = preview["lines"].as_array().expect("lines");
        let prorated = lines.iter().any(|line| line["proration"] == true);
        assert_eq!(prorated, later, "{preview:#}");
        let body = json!({"quantity": 3, "proration_date": preview["proration_date"]});
        app.act(&id, "change", body).await.assert_status(200);
        assert_eq!(app.terms(&id).await.1, 3);
        assert_eq!(invoices(&app, &id).await.len(), 1, "{proration}");
        app.advance(MONTH - 15 * DAY).await;
        let renewal = invoices(&app, &id).await[0].0;
        assert_eq!(renewal > 900, later, "{proration}: {renewal}");
        assert_eq!(renewal, sum(&preview), "{proration}");
        app.assert_line(&id, "ACTIVE", "paid", true).await;
        // Another interval begins at once all the same.
        let wish = json!({"plan": "yearly-seats", "quantity": 2});
        let preview = app.act(&id, "change/preview", wish).await;
        let preview = preview.assert_status(200).json();
        assert!(preview["due_now"].as_i64() > Some(0), "{preview:#}");
    }
}

#[tokio::test]
async fn a_plan_that_is_not_sold_in_the_subscriptions_currency_is_no_choice() {
    let plans = plans();
    let app = plans.sold().start().await;
    let body = json!({"plan": "yearly", "currency": "usd"});
    let purchase = app.open_basket(&app.member("alice"), body).await;
    app.pay(&purchase).await;
    app.settle().await;
    app.act(&purchase.subscription, "change", json!({"plan": "basic"}))
        .await
        .assert_problem(422, "validation_failed")
        .assert_field("plan", "unavailable_currency");
    assert_eq!(app.terms(&purchase.subscription).await.0, "yearly");
}

#[tokio::test]
async fn a_plan_for_those_who_hold_something_else_is_open_to_them_alone() {
    let plans = Plans::write(
        "[[plan]]\ncode = \"small\"\nkind = \"membership\"\nprice = \"membership_monthly\"\nupgrade_group = \"m\"\n\
         [[plan]]\ncode = \"owner\"\nkind = \"membership\"\nprice = \"membership_annual\"\nupgrade_group = \"m\"\n\
         requires = \"share\"\n\
         [[plan]]\ncode = \"share\"\nkind = \"share\"\nprice = \"share\"\n",
    );
    let app = plans.sold().start().await;
    let id = app.sell("small", GOOD_CARD).await.subscription;
    let wish = || json!({"plan": "owner"});
    for what in ["change", "change/preview"] {
        app.act(&id, what, wish())
            .await
            .assert_problem(409, "requirement_unmet")
            .assert_field("plan", "requirement_unmet");
    }
    app.sell("share", GOOD_CARD).await;
    app.act(&id, "change", wish()).await.assert_status(200);
    assert_eq!(app.terms(&id).await.0, "owner");
}
