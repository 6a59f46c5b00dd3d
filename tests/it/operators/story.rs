//! The story of a purchase and of a member: "I paid but …", answered from our rows and from Stripe.

mod cases;
mod plans;

use std::time::Duration;

use dues::auth::mint_development_token;
use dues::storage::actions::{self, NewAction, Outcome};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::lifecycle::{DAY, forgetful, text};
use crate::harness::purchase::{DECLINED_CARD, GOOD_CARD};
use crate::harness::{Answer, TestApp};

/// A token of somebody with these roles.
pub(super) fn staff(app: &TestApp, user: &str, roles: &[&str]) -> String {
    let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
    mint_development_token(
        &app.settings,
        &app.clock,
        user,
        &roles,
        Duration::from_hours(1),
    )
    .expect("tests run in development, with a secret")
}

/// A story as a reader of stories gets it; its entries, newest first.
pub(super) struct Story(pub(super) Value);

pub(super) async fn ask(app: &TestApp, path: &str) -> Answer {
    let token = staff(app, "rita", &["dues:reader"]);
    app.get(&format!("/v1/operator/{path}"))
        .bearer(&token)
        .send()
        .await
}

pub(super) async fn story_of(app: &TestApp, id: &str) -> Story {
    let answer = ask(app, &format!("subscriptions/{id}/story")).await;
    Story::of(&answer.assert_status(200))
}

pub(super) async fn story_of_member(app: &TestApp, user: &str) -> Story {
    let answer = ask(app, &format!("members/{user}/story")).await;
    Story::of(&answer.assert_status(200))
}

pub(super) async fn from_rows(app: &TestApp, id: &str) -> Story {
    let answer = ask(app, &format!("subscriptions/{id}/story?from=rows")).await;
    Story::of(&answer.assert_status(200))
}

impl Story {
    fn of(answer: &Answer) -> Self {
        let story = Self(answer.json());
        let times: Vec<&str> = { story.entries().iter() }
            .filter_map(|entry| entry["at"].as_str())
            .map(|at| &at[..19])
            .collect();
        let sorted = times.is_sorted_by(|newer, older| newer >= older);
        assert!(sorted, "newest first: {:#}", story.0);
        story
    }

    pub(super) fn entries(&self) -> &[Value] {
        self.0["data"].as_array().expect("a list")
    }

    /// The entry whose sentence begins like this; there is one.
    #[track_caller]
    pub(super) fn entry(&self, beginning: &str) -> &Value {
        let found: Vec<&Value> = self.all(beginning);
        assert_eq!(found.len(), 1, "{beginning}\n{:#}", self.0);
        found[0]
    }

    pub(super) fn all(&self, beginning: &str) -> Vec<&Value> {
        let entries = self.entries().iter();
        entries
            .filter(|entry| {
                entry["text"]
                    .as_str()
                    .is_some_and(|text| text.starts_with(beginning))
            })
            .collect()
    }

    /// Fails unless all is told, and nothing differs.
    #[track_caller]
    pub(super) fn assert_agreed(&self) -> &Self {
        assert_eq!(self.0["complete"], true, "{:#}", self.0);
        let differing = self
            .entries()
            .iter()
            .find(|entry| !entry["differs"].is_null());
        assert!(differing.is_none(), "{:#}", self.0);
        self
    }
}

/// The field of an entry, which holds these words.
#[track_caller]
pub(super) fn assert_says(entry: &Value, field: &str, words: &str) {
    let said = entry[field].as_str().unwrap_or_default();
    assert!(said.contains(words), "{field} lacks {words:?}: {entry:#}");
}

#[tokio::test]
async fn a_purchase_is_told_step_by_step_newest_first_and_its_amounts_only_by_stripe() {
    let app = forgetful().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    let id = &purchase.subscription;
    let story = story_of(&app, id).await;
    story.assert_agreed();
    let now = &story.entries()[0];
    assert_says(
        now,
        "text",
        "Stripe has a subscription for membership-annual: it is active, and billed again on",
    );
    let paid =
        story.entry("Stripe took €30.00 from a card for membership-annual, and we recorded it");
    assert_eq!(paid["kind"], "transaction");
    assert_eq!(paid["subscription_id"], json!(id));
    assert!(text(&paid["reference"]).starts_with("in_"), "{paid:#}");
    let page = story.entry("A payment page over €30.00 for membership-annual was opened: the page was completed and paid.");
    assert_eq!(page["reference"], json!(purchase.session));
    let ordered = story.entry("membership-annual was ordered.");
    assert_eq!(
        (&ordered["actor"], &ordered["cause"]),
        (&json!("member"), &json!("the member asked for it"))
    );
    let active = story.entry("membership-annual: active, paid.");
    assert_eq!(active["actor"], "stripe");
    assert_says(active, "cause", "Stripe told us (");
    let place = |entry: &Value| story.entries().iter().position(|other| other == entry);
    let places = [active, paid, page, ordered].map(|entry| place(entry).expect("it is there"));
    assert!(places.is_sorted(), "{places:?} {:#}", story.0);
    assert!(
        story.entries().iter().all(|entry| entry["kind"] != "event"),
        "{:#}",
        story.0
    );

    let calls = app.service_calls_but_events().await;
    let rows = from_rows(&app, id).await;
    assert_eq!(app.service_calls_but_events().await, calls);
    assert_eq!(rows.0["complete"], false);
    assert_says(&rows.0, "missing", "Stripe was not asked");
    rows.entry("A payment for membership-annual came, and we recorded it");
    assert!(!rows.0.to_string().contains('€'), "{:#}", rows.0);
    let again = from_rows(&app, id).await;
    assert_eq!(again.0, rows.0);
}

#[tokio::test]
async fn only_who_has_a_role_reads_stories_and_what_is_not_known_is_not_found() {
    let app = TestApp::start().await;
    let purchase = app.open(&app.member("alice"), "share").await;
    let id = &purchase.subscription;
    let paths = [
        format!("/v1/operator/subscriptions/{id}/story"),
        "/v1/operator/members/alice/story?from=rows".to_owned(),
    ];
    for path in &paths {
        for role in ["reader", "support", "treasurer", "operator"] {
            let token = staff(&app, "rita", &[&format!("dues:{role}")]);
            app.get(path).bearer(&token).send().await.assert_status(200);
        }
        let alice = app.get(path).bearer(&app.member("alice"));
        alice.send().await.assert_problem(403, "forbidden");
        app.get(path)
            .send()
            .await
            .assert_problem(401, "unauthorized");
    }
    for path in [
        "subscriptions/0190a5b0-0000-7000-8000-000000000000/story",
        "subscriptions/nothing/story",
        "members/nobody/story",
        "members/%00/story",
    ] {
        ask(&app, path).await.assert_problem(404, "not_found");
    }
    for wrong in ["from=stripe", "form=rows"] {
        let path = format!("subscriptions/{id}/story?{wrong}");
        ask(&app, &path)
            .await
            .assert_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn stripe_is_asked_at_most_six_times_and_a_currency() {
    let app = TestApp::with().cooperative().start().await;
    app.first_walk_is_over().await;
    let alice = app.member("alice");
    let mut bought = Vec::new();
    for currency in ["eur", "usd"] {
        for _ in 0..4 {
            let body = json!({"lines": [{"plan": "credits"}], "currency": currency});
            let purchase = app.open_basket(&alice, body).await;
            app.pay(&purchase).await;
            app.settle().await;
            bought.push(purchase);
        }
    }
    for purchase in &bought {
        app.dispute(&app.payment_of(purchase).await, "fraudulent")
            .await;
    }
    let before = app.service_calls_but_events().await;
    let story = story_of_member(&app, "alice").await;
    let calls = app.service_calls_but_events().await - before;
    assert_eq!(calls, 12, "six a currency");
    assert_eq!(
        story.all("The member's bank claimed").len(),
        8,
        "{:#}",
        story.0
    );
    assert_eq!(
        story.all("The member's bank claimed €").len(),
        2,
        "of the newest the amounts"
    );
    assert_eq!(
        story.all("The member's bank claimed $").len(),
        2,
        "{:#}",
        story.0
    );
    let currencies = ["€", "$"].map(|sign| story.all(&format!("Stripe took {sign}")).len());
    assert_eq!(currencies, [4, 4], "{:#}", story.0);

    let before = app.service_calls_but_events().await;
    story_of(&app, &bought[0].subscription).await;
    let calls = app.service_calls_but_events().await - before;
    assert!(calls <= 6, "{calls}");
}

#[tokio::test]
async fn where_stripe_is_away_our_part_is_told_and_that_the_rest_is_missing() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .start()
        .await;
    app.first_walk_is_over().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    for path in [
        "/v1/charges",
        "/v1/invoices",
        "/v1/subscriptions/*",
        "/v1/checkout/sessions/*",
    ] {
        let fault = json!({"kind": "error_500", "method": "GET", "path": path, "times": 1});
        app.fault(fault).await;
    }
    let story = story_of(&app, &purchase.subscription).await;
    assert_eq!(story.0["complete"], false);
    assert_says(&story.0, "missing", "Stripe does not answer: ");
    story.entry("A payment for membership-annual came");
    story.entry("membership-annual: active, paid.");
    app.no_more_faults().await;
    story_of(&app, &purchase.subscription).await.assert_agreed();
}

#[tokio::test]
async fn nobody_elses_objects_are_told_and_what_was_made_by_hand_is_found_with_its_customer() {
    let app = forgetful().await;
    let own = app.sell("membership-monthly", GOOD_CARD).await;
    let other = app.sell("share", GOOD_CARD).await;
    let bobs = app
        .buy_with(&app.member("bob"), "credits-50", GOOD_CARD)
        .await;
    // By the customer alone bob's and alice's things can't be told apart where somebody has mixed them up.
    let customer = app.customer_of(&own).await;
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &app.price("membership_annual").await),
    ];
    let by_hand = app
        .at_stripe(Method::POST, "/v1/subscriptions", &form)
        .await;
    // As if somebody had copied the metadata too: what it names has its subscription.
    let copied = [
        ("customer", customer.as_str()),
        ("items[0][price]", &app.price("membership_annual").await),
        ("metadata[dues_subscription_id]", &own.subscription),
    ];
    let copied = app
        .at_stripe(Method::POST, "/v1/subscriptions", &copied)
        .await;
    let metadata = [
        ("customer", customer.as_str()),
        ("items[0][price]", &app.price("membership_annual").await),
        ("metadata[dues_subscription_id]", &bobs.subscription),
    ];
    let claimed = app
        .at_stripe(Method::POST, "/v1/subscriptions", &metadata)
        .await;
    app.settle().await;

    let story = story_of(&app, &own.subscription).await;
    for foreign in [
        &by_hand["id"],
        &copied["id"],
        &claimed["id"],
        &json!(other.session),
        &json!(bobs.session),
    ] {
        assert!(
            !story.0.to_string().contains(&text(foreign)),
            "{:#}",
            story.0
        );
    }
    assert_eq!(story.all("Stripe took").len(), 1, "{:#}", story.0);

    let story = story_of_member(&app, "alice").await;
    let found = story.all("Of the same customer at Stripe, but not bought here: Stripe has a subscription for membership-annual");
    assert_eq!(found.len(), 2, "{:#}", story.0);
    for by_hand in [&by_hand["id"], &copied["id"]] {
        let found = found
            .iter()
            .find(|entry| entry["reference"] == *by_hand)
            .expect("it is found");
        assert_eq!(found["subscription_id"], Value::Null);
        assert_says(found, "advice", &format!("adopt {}", text(by_hand)));
    }
    story.entry("Stripe took €3.00 from a card for membership-monthly");
    story.entry("Stripe took €25.00 from a card for share");
    let told = story.0.to_string();
    assert!(
        !told.contains(&text(&claimed["id"])) && !told.contains(&bobs.session),
        "{:#}",
        story.0
    );
    let bob = story_of_member(&app, "bob").await;
    assert!(!bob.0.to_string().contains(&customer), "{:#}", bob.0);
    bob.entry("Stripe took €50.00 from a card for credits-50");
}

#[tokio::test]
async fn neither_names_nor_cards_are_told_and_what_a_card_was_declined_for_is() {
    let app = forgetful().await;
    let purchase = app.sell_declined("credits-20", DECLINED_CARD).await;
    let story = story_of(&app, &purchase.subscription).await;
    let failed = story.entry(
        "A payment of €20.00 from a card for credits-20 failed. The bank declined the payment",
    );
    assert_says(failed, "advice", "The page where she tried is still open.");
    let told = story.0.to_string();
    for secret in ["visa", "0002", "@", "client_secret", "https://"] {
        assert!(!told.contains(secret), "{secret}: {:#}", story.0);
    }
}

#[tokio::test]
async fn a_basket_is_one_payment_for_all_its_lines_and_each_line_knows_it() {
    let app = forgetful().await;
    let (_, lines) = app
        .sell_basket(&["membership-annual", "share", "credits-20"], GOOD_CARD)
        .await;
    for line in &lines {
        let story = story_of(&app, line).await;
        story.assert_agreed();
        let paid = story
            .entry("Stripe took €75.00 from a card for membership-annual, share and credits-20");
        assert_eq!(paid["subscription_id"], json!(line));
        assert!(
            story.all("A payment").len() < 2,
            "the page alone: {:#}",
            story.0
        );
    }
    let story = story_of_member(&app, "alice").await;
    story.assert_agreed();
    assert_eq!(story.all("Stripe took").len(), 1, "{:#}", story.0);
    let payment = story.entry("Stripe took")["reference"].clone();
    let once = story
        .entries()
        .iter()
        .filter(|entry| entry["reference"] == payment);
    assert_eq!(once.count(), 1, "{:#}", story.0);
}

#[tokio::test]
async fn what_another_system_sold_is_told_without_a_page_of_ours() {
    let app = forgetful().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let adopted =
        "UPDATE checkouts SET mode = 'adopted', stripe_session_id = NULL WHERE id = $1::uuid";
    let adopted = sqlx::query(adopted)
        .bind(&purchase.checkout)
        .execute(&app.pool);
    assert_eq!(adopted.await.expect("it can be written").rows_affected(), 1);
    let story = story_of(&app, &purchase.subscription).await;
    story.assert_agreed();
    story.entry("Stripe took €3.00 from a card for membership-monthly");
    story.entry("Stripe has a subscription for membership-monthly: it is active");
    assert!(story.all("A payment page").is_empty(), "{:#}", story.0);
}

#[tokio::test]
async fn of_a_member_who_was_several_customers_not_all_are_asked_and_that_is_said() {
    let app = forgetful().await;
    let purchase = app.sell("credits-20", GOOD_CARD).await;
    let customer = app.customer_of(&purchase).await;
    app.at_stripe(Method::DELETE, &format!("/v1/customers/{customer}"), &[])
        .await;
    app.settle().await;
    app.sell("credits-50", GOOD_CARD).await;
    let before = app.service_calls_but_events().await;
    let story = story_of_member(&app, "alice").await;
    assert_eq!(app.service_calls_but_events().await - before, 6);
    assert_eq!(story.0["complete"], false);
    assert_says(&story.0, "missing", "several customers");
    story.entry("Stripe took €20.00 from a card for credits-20");
    story.entry("Stripe took €50.00 from a card for credits-50");
}

#[tokio::test]
async fn a_stripe_that_is_slow_is_not_waited_for_longer_than_a_request_may_take() {
    let app = TestApp::with()
        .setting("DUES__STRIPE__MAX_RETRIES", 0)
        .setting("DUES__STRIPE__TIMEOUT_MS", 400)
        .setting("DUES__STRIPE__TOTAL_TIMEOUT_MS", 500)
        .start()
        .await;
    app.first_walk_is_over().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let stall = json!({"kind": "stall", "method": "GET", "path": "/v1/charges", "times": 1, "stall_ms": 3000});
    app.fault(stall).await;
    let begun = std::time::Instant::now();
    let story = story_of(&app, &purchase.subscription).await;
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_says(
        &story.0,
        "missing",
        "Stripe does not answer: it took too long",
    );
    story.entry("A payment for share came");
    story.entry("A payment page over €25.00 for share was opened");
}

/// An act as the rows of it are written.
async fn act(app: &TestApp, verb: &str, subject: &str, target: Option<&str>, state: &str) -> Uuid {
    let id = Uuid::from_u128(
        u128::from_le_bytes(*b"an action's name")
            ^ subject.len() as u128
            ^ ((verb.len() as u128) << 64),
    );
    let new = NewAction {
        id,
        at: app.clock.now(),
        actor: "olga",
        role: "treasurer",
        request_id: None,
        request_hash: b"hash",
        verb,
        subject,
        user_id: Some("alice"),
        target,
        wanted: 1,
        reason: (verb != "reveal").then_some("duplicate"),
        reference: (verb != "reveal").then_some("T-12"),
        parent: None,
    };
    actions::begin(&app.pool, &new).await.expect("it is begun");
    let outcome = if state == "refused" {
        "nothing_to_refund"
    } else {
        "done"
    };
    let outcome = Outcome {
        state,
        outcome,
        found: None,
    };
    actions::finish(&app.pool, id, outcome, app.clock.now())
        .await
        .expect("it is ended");
    id
}

#[tokio::test]
async fn what_operators_did_is_told_with_reason_and_ticket_refused_and_unknown_too() {
    let app = forgetful().await;
    let purchase = app.sell("credits-20", GOOD_CARD).await;
    let id = &purchase.subscription;
    let payment = app.payment_of(&purchase).await;
    act(&app, "sync", id, None, "refused").await;
    act(&app, "reveal", "alice", None, "done").await;
    act(&app, "settle", "elsewhere", Some(&payment), "unknown").await;
    let refund = act(&app, "refund", "another", Some("pi_other"), "done").await;
    let form = [("metadata[dues_action_id]", &*refund.to_string())];
    app.refund(&payment, &form).await;
    let story = story_of(&app, id).await;
    let refused =
        story.entry("An operator took over what Stripe says: it was refused (nothing to refund).");
    assert_eq!(
        (&refused["actor"], &refused["role"]),
        (&json!("olga"), &json!("treasurer"))
    );
    assert_eq!(
        refused["cause"],
        "operator olga, treasurer, reason duplicate, ticket T-12"
    );
    assert_eq!(refused["subscription_id"], json!(id));
    story.entry("An operator looked at the member's name.");
    let unknown =
        story.entry("An operator marked an open invoice as paid elsewhere: nobody knows yet");
    assert_says(unknown, "advice", "Don't repeat it");
    assert!(
        story.all("An operator asked Stripe to pay back").is_empty(),
        "it was another payment"
    );
    let member = story_of_member(&app, "alice").await;
    member.entry("An operator asked Stripe to pay back.");
    let back = member.entry("€20.00 for credits-20 were paid back");
    assert_eq!(
        back["cause"],
        "operator olga, treasurer, reason duplicate, ticket T-12"
    );
    assert_eq!(
        (&back["actor"], &back["role"]),
        (&json!("olga"), &json!("treasurer"))
    );
}

#[tokio::test]
async fn events_that_are_not_at_their_end_are_told_and_that_old_ones_are_gone() {
    let app = forgetful().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    for (kind, state, error) in [
        ("invoice.paid", "failed", "the rows kept moving"),
        (
            "customer.subscription.created",
            "flagged",
            "an invoice of a subscription that has ended was paid",
        ),
        (
            "checkout.session.completed",
            "ignored",
            "dismissed: by_phone",
        ),
    ] {
        let update = "UPDATE webhook_events SET state = $2, last_error = $3 WHERE type = $1";
        let update = sqlx::query(update).bind(kind).bind(state).bind(error);
        let updated = update.execute(&app.pool).await.expect("it can be written");
        assert_eq!(updated.rows_affected(), 1, "{kind}");
    }
    let story = story_of(&app, &purchase.subscription).await;
    let failed = story.entry(
        "Stripe told us about an invoice, and it could not be taken over. Our rows kept changing while it was to be written.",
    );
    assert_eq!(
        (&failed["kind"], &failed["cause"]),
        (&json!("event"), &json!("Stripe told us (invoice.paid)"))
    );
    assert_eq!(failed["subscription_id"], json!(purchase.subscription));
    assert_says(failed, "advice", "Replay it.");
    let flagged = story.entry("Stripe told us about the subscription, and a person should look");
    assert_says(flagged, "advice", "Dismiss it when you have seen to it.");
    story.entry("Stripe told us about the payment page; a person has looked at it and put it aside (by phone).");
    assert!(story.all("What Stripe told us one by one").is_empty());
    app.move_clocks(40 * DAY).await;
    let story = from_rows(&app, &purchase.subscription).await;
    let note = story.entry("What Stripe told us one by one before");
    assert_eq!(note["kind"], "note");
}
