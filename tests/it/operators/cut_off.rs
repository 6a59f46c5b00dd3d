//! A refund that is cut off at every place where it waits for somebody: for the database, or for Stripe. Whatever it was cut
//! off at, the money went back once or not at all, the record says which, and asking again with the same key does nothing.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dues::domain::actor::{Role, Staff};
use dues::domain::ids::{SubscriptionId, UserId};
use dues::purchases::cancel::CancelAt;
use dues::services::operators::acts::{Ask, LinePart, RefundAsked};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::TestApp;
use crate::harness::lifecycle::{busy, text};
use crate::harness::purchase::GOOD_CARD;

/// Lets work go on until it has waited so many times, then cuts it off as a kill would; whether it was done before.
async fn cut_off_after<T>(work: impl Future<Output = T>, waits: usize) -> Option<T> {
    let mut work = pin!(work);
    let mut waited = 0;
    std::future::poll_fn(move |context: &mut Context<'_>| {
        // The limit is looked at before it goes on: what it waited for has happened, or not, by then.
        if waited == waits {
            return Poll::Ready(None);
        }
        waited += 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

fn ask(key: Uuid) -> Ask {
    Ask {
        key,
        staff: Staff {
            user: UserId::new("grace"),
            role: Role::Operator,
            member: None,
            may_all: true,
        },
        request_id: None,
        reason: "goodwill".to_owned(),
        reference: None,
        request: format!("refund {key}"),
        version: None,
    }
}

/// Amounts at Stripe that were refunded by that act.
async fn refunded_by(app: &TestApp, intent: &str, key: Uuid) -> Vec<i64> {
    let list = app
        .sandbox
        .stripe(&format!("/v1/refunds?limit=100&payment_intent={intent}"))
        .await;
    let refunds = list["data"].as_array().expect("a list").iter();
    let own = refunds.filter(|refund| refund["metadata"]["dues_action_id"] == key.to_string());
    own.map(|refund| refund["amount"].as_i64().expect("an amount"))
        .collect()
}

async fn already_refunded(app: &TestApp, intent: &str) -> i64 {
    let path = format!("/v1/payment_intents/{intent}?expand[]=latest_charge");
    let intent = app.sandbox.stripe(&path).await;
    intent["latest_charge"]["amount_refunded"]
        .as_i64()
        .expect("an amount")
}

/// Waits until every act has an end, long after it began.
async fn all_acts_end(app: &TestApp) {
    app.move_clocks(6 * 60).await;
    app.until("every act has an end", async || {
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM actions WHERE state IN ('started', 'unknown')",
        )
        .fetch_one(&app.pool)
        .await
        .expect("the database answers");
        (open == 0).then_some(())
    })
    .await;
}

async fn action(app: &TestApp, key: Uuid) -> Option<(String, String, Option<i32>)> {
    sqlx::query_as("SELECT state, outcome, found FROM actions WHERE id = $1")
        .bind(key)
        .fetch_optional(&app.pool)
        .await
        .expect("the database answers")
}

#[tokio::test]
async fn a_refund_of_lines_that_is_cut_off_anywhere_moves_money_once_or_not_at_all() {
    let app = busy().await;
    let (purchase, lines) = app.sell_basket(&["share", "credits-50"], GOOD_CARD).await;
    let intent = app.payment_of(&purchase).await;
    let operators = &app.services.operators;
    let line = |text: &str| SubscriptionId(text.parse().expect("a UUID"));
    let (mut outcomes, mut came_to_its_end) = (Vec::new(), 0);
    for waits in 0.. {
        let asked = RefundAsked {
            lines: lines
                .iter()
                .map(|id| LinePart {
                    line: line(id),
                    amount: 1,
                })
                .collect(),
            already_refunded: Some(already_refunded(&app, &intent).await),
            ..RefundAsked::default()
        };
        let key = app.key();
        let ask = ask(key);
        let work = operators.refund(line(&lines[0]), &asked, &ask);
        if cut_off_after(Box::pin(work), waits).await.is_some() {
            came_to_its_end += 1;
        }
        all_acts_end(&app).await;
        let made = refunded_by(&app, &intent, key).await;
        let recorded = action(&app, key).await;
        let expected = match (made.len(), &recorded) {
            (0, None) => None,
            (0, Some(_)) => Some(("refused", 0)),
            (1, _) => Some(("done", 1)),
            _ => Some(("done", 2)),
        };
        let told = recorded
            .as_ref()
            .map(|(state, _, found)| (state.as_str(), found.unwrap_or_default()));
        assert_eq!(told, expected, "after {waits} waits: {made:?} {recorded:?}");
        outcomes.push(recorded.map(|(_, outcome, _)| outcome).unwrap_or_default());
        // The same key does nothing more, whatever became of it.
        if expected.is_some() {
            let again = operators.refund(line(&lines[0]), &asked, &ask).await;
            again.expect("it is answered with what it was");
            assert_eq!(refunded_by(&app, &intent, key).await.len(), made.len());
        }
        if came_to_its_end == 2 {
            break;
        }
    }
    for wanted in ["", "never_reached_stripe", "refunded"] {
        assert!(
            outcomes.iter().any(|outcome| outcome == wanted),
            "{wanted}: {outcomes:?}"
        );
    }
    app.settle().await;
    let chain = operators
        .verify_actions()
        .await
        .expect("the database answers");
    assert!(format!("{chain:?}").starts_with("Whole"), "{chain:?}");
}

#[tokio::test]
async fn a_refund_with_the_end_that_is_cut_off_anywhere_says_of_both_what_became_of_them() {
    let app = busy().await;
    let operators = &app.services.operators;
    let mut seen = Vec::new();
    for waits in (0..).step_by(4) {
        let member = app.member(&format!("member-{waits}"));
        let purchase = app.buy_with(&member, "membership-monthly", GOOD_CARD).await;
        let intent = app.payment_of(&purchase).await;
        let id = SubscriptionId(purchase.subscription.parse().expect("a UUID"));
        let asked = RefundAsked {
            already_refunded: Some(0),
            also_cancel: Some(CancelAt::Now),
            ..RefundAsked::default()
        };
        let key = app.key();
        let ask = ask(key);
        let ended = cut_off_after(Box::pin(operators.refund(id, &asked, &ask)), waits).await;
        all_acts_end(&app).await;
        let is_back = already_refunded(&app, &intent).await > 0;
        let is_over =
            text(&app.stripe_subscription(&purchase.subscription).await["status"]) == "canceled";
        let acts: Vec<(String, String)> = sqlx::query_as(
            "SELECT verb, state FROM actions WHERE id = $1 OR parent = $1 ORDER BY seq",
        )
        .bind(key)
        .fetch_all(&app.pool)
        .await
        .expect("the database answers");
        let state = |verb: &str| {
            acts.iter()
                .find(|(own, _)| own == verb)
                .map(|(_, state)| state.as_str())
        };
        assert_eq!(
            state("refund") == Some("done"),
            is_back,
            "after {waits} waits: {acts:?}"
        );
        assert_eq!(
            state("cancel") == Some("done"),
            is_over,
            "after {waits} waits: {acts:?}"
        );
        // The end never comes without the money.
        assert!(is_back || !is_over);
        seen.push((is_back, is_over));
        if ended.is_some() {
            break;
        }
    }
    assert_eq!(seen.last(), Some(&(true, true)));
    assert!(
        seen.contains(&(false, false)) && seen.contains(&(true, false)),
        "{seen:?}"
    );
}

/// The waker is real: a future that is never woken would hang the test instead of passing it.
#[tokio::test]
async fn work_that_is_cut_off_never_ends_and_other_work_does() {
    let never = std::future::pending::<Value>();
    assert!(cut_off_after(never, 0).await.is_none());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    sender.send(1).expect("somebody listens");
    assert_eq!(cut_off_after(receiver, 5).await, Some(Ok(1)));
    let _ = Waker::noop();
}
