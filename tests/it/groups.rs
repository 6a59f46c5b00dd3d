//! Webhooks that arrive together are written together: what one of them meets on the way is its own affair.

use dues::storage::{checkouts, subscriptions};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::lifecycle::text;
use crate::harness::purchase::{GOOD_CARD, Purchase};
use crate::harness::{Answer, Call, TestApp};

/// Members who have paid, with the events of which none was delivered.
struct Crowd {
    purchases: Vec<Purchase>,
    events: Vec<Value>,
}

/// So many members buy a membership and pay, while Stripe's webhooks wait.
async fn crowd(app: &TestApp, members: usize) -> Crowd {
    app.hold_deliveries().await;
    let mut purchases = Vec::new();
    for member in 0..members {
        let token = app.member(&format!("member-{member}"));
        let purchase = app.open(&token, "membership-annual").await;
        app.pay(&purchase).await;
        purchases.push(purchase);
    }
    let mut events = Vec::new();
    for kind in [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.paid",
        "invoice_payment.paid",
    ] {
        events.extend(app.events_of(kind).await);
    }
    assert_eq!(events.len(), 4 * members, "each member has them all");
    Crowd { purchases, events }
}

/// Keeps every writer from writing, until it is dropped or committed.
async fn no_writing(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut transaction = app.pool.begin().await.expect("the database is there");
    sqlx::query("LOCK TABLE webhook_events IN EXCLUSIVE MODE")
        .execute(&mut *transaction)
        .await
        .expect("the table can be locked");
    transaction
}

fn send(call: Call) -> JoinHandle<Answer> {
    tokio::spawn(call.send())
}

/// How many writers are kept from writing.
async fn blocked_writers(app: &TestApp) -> usize {
    let blocked: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '-- Writes a group%'",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the activity");
    usize::try_from(blocked).expect("a count")
}

/// Delivers events one after the other while nothing can be written: each is taken by the writer, which then is blocked,
/// or waits behind it, or needs no writing.
async fn arrive(app: &TestApp, events: &[Value]) -> Vec<JoinHandle<Answer>> {
    let mut calls = Vec::new();
    for event in events {
        calls.push(send(app.delivery(event)));
        app.until("it has arrived", async || {
            let answered = calls.iter().filter(|call| call.is_finished()).count();
            let waiting = app.services.events.waiting_deliveries();
            (answered + waiting + blocked_writers(app).await == calls.len()).then_some(())
        })
        .await;
    }
    calls
}

async fn outcomes(calls: Vec<JoinHandle<Answer>>) -> Vec<String> {
    let mut outcomes = Vec::new();
    for call in calls {
        let answer = call.await.expect("the call ends").assert_status(200);
        outcomes.push(text(&answer.json()["outcome"]));
    }
    outcomes
}

async fn all_active(app: &TestApp, crowd: &Crowd) {
    app.until("nothing is deferred", async || {
        app.events_in("deferred").await.is_empty().then_some(())
    })
    .await;
    for purchase in &crowd.purchases {
        let id = &purchase.subscription;
        assert_eq!(app.row(id).await.status, "ACTIVE");
        assert_eq!(app.transactions(id).await.len(), 1);
        let history = app.history(id).await;
        let activated = history.iter().filter(|change| change.contains(">ACTIVE"));
        assert_eq!(activated.count(), 1, "{history:?}");
    }
}

#[tokio::test]
async fn what_arrives_while_others_are_written_is_written_together() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 12).await;
    let blocked = no_writing(&app).await;
    let calls = arrive(&app, &crowd.events).await;
    blocked.rollback().await.expect("the table is free again");
    let outcomes = outcomes(calls).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| ["applied", "deferred", "foreign"].contains(&outcome.as_str())),
        "{outcomes:?}"
    );
    let writes: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT xmin::text) FROM webhook_events WHERE attempts = 0",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the events");
    // The one that had begun, and all that waited behind it; a few may have gone round again, because
    // what was deferred was settled meanwhile.
    assert!(
        writes <= app.count("webhook_events").await / 4,
        "{} events were written in {writes} transactions",
        app.count("webhook_events").await
    );
    all_active(&app, &crowd).await;
}

#[tokio::test]
async fn an_event_that_names_only_a_payment_finds_it_in_its_own_group() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 3).await;
    // Stripe lists the newest first: the link to each payment before the invoice that tells of it.
    let stop = CancellationToken::new();
    let walk = app.services.events.reconcile_events(&stop, |_, _| {});
    let walked = walk.await.expect("Stripe lists its events");
    assert!(walked.applied >= 3 * 4, "{walked:?}");
    all_active(&app, &crowd).await;
    let unknown: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM transactions WHERE stripe_payment_intent_id IS NULL",
    )
    .fetch_one(&app.pool)
    .await
    .expect("the payments");
    assert_eq!(unknown, 0, "every payment is known by its link");
}

#[tokio::test]
async fn one_bad_event_in_a_group_hurts_no_neighbour() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 3).await;
    let paid = app.events_of("invoice.paid").await;
    let mut bad = paid[0].clone();
    // No index of a database can hold it, and it can't be made small.
    let mut rng = fastrand::Rng::with_seed(1);
    let long: String = (0..9_000).map(|_| rng.alphanumeric()).collect();
    bad["id"] = json!("evt_bad");
    bad["data"]["object"]["id"] = json!(format!("in_{long}"));
    let blocked = no_writing(&app).await;
    let mut events = crowd.events.clone();
    events.insert(events.len() / 2, bad);
    let mut calls = arrive(&app, &events).await;
    let bad = calls.remove(crowd.events.len() / 2);
    blocked.rollback().await.expect("the table is free again");
    outcomes(calls).await;
    let refused = bad.await.expect("the call ends");
    refused.assert_problem(503, "unavailable");
    all_active(&app, &crowd).await;
}

#[tokio::test]
async fn a_line_that_somebody_keeps_locked_holds_up_its_own_events_and_no_others() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 3).await;
    // An operator who has opened a transaction and gone to lunch.
    let mut locked = app.pool.begin().await.expect("the database is there");
    let id = &crowd.purchases[0].subscription;
    sqlx::query("SELECT FROM subscriptions WHERE id = $1::text::uuid FOR UPDATE")
        .bind(id)
        .execute(&mut *locked)
        .await
        .expect("the line can be locked");
    let blocked = no_writing(&app).await;
    let calls = arrive(&app, &crowd.events).await;
    blocked.rollback().await.expect("the table is free again");
    let mut sent_away = 0;
    for call in calls {
        let answer = call.await.expect("the call ends");
        sent_away += usize::from(answer.status != 200);
    }
    assert!((1..=4).contains(&sent_away), "{sent_away}");
    for purchase in &crowd.purchases[1..] {
        assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    }
    assert_eq!(app.row(id).await.status, "PENDING_ACTIVATION");
    locked.rollback().await.expect("the lock is gone");
    for event in &crowd.events {
        app.deliver(event).await;
    }
    all_active(&app, &crowd).await;
}

#[tokio::test]
async fn a_basket_that_moves_goes_round_again_and_holds_up_nobody() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 6).await;
    // Somebody else is writing one of the lines while all the events arrive.
    let mut moving = app.pool.begin().await.expect("the database is there");
    let moved = &crowd.purchases[0].subscription;
    sqlx::query("UPDATE subscriptions SET version = version + 1 WHERE id::text = $1")
        .bind(moved)
        .execute(&mut *moving)
        .await
        .expect("the line is there");
    let calls: Vec<_> = crowd
        .events
        .iter()
        .map(|event| send(app.delivery(event)))
        .collect();
    app.until("a writer waits for the line", async || {
        (blocked_writers(&app).await > 0).then_some(())
    })
    .await;
    moving.commit().await.expect("the line has moved");
    outcomes(calls).await;
    all_active(&app, &crowd).await;
}

/// Waits until a writer waits for somebody's lock.
async fn writer_waits(app: &TestApp) {
    app.until("the writer waits", async || {
        (blocked_writers(app).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_that_upkeep_touches_while_an_event_is_written_lose_nothing_of_it() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-annual", GOOD_CARD).await;
    app.hold_deliveries().await;
    let stripe = app.at_stripes(&purchase.subscription).await;
    let path = format!("/v1/subscriptions/{stripe}");
    app.at_stripe(Method::DELETE, &path, &[]).await;
    let ended = app.events_of("customer.subscription.deleted").await;
    // Upkeep marks the line, and has not committed when the event has been read.
    let mut marking = app.pool.begin().await.expect("the database is there");
    let now = app.clock.now();
    subscriptions::update_looks_due(&mut *marking, None, now, 10)
        .await
        .expect("it is marked");
    let call = send(app.delivery(&ended[0]));
    writer_waits(&app).await;
    marking.commit().await.expect("it is committed");
    outcomes(vec![call]).await;
    assert_eq!(app.row(&purchase.subscription).await.status, "ENDED");

    // So it is with a checkout, which has no version.
    let other = app.open(&app.member("bob"), "credits-20").await;
    app.pay(&other).await;
    let paid = app.events_of("checkout.session.completed").await;
    let paid = paid
        .iter()
        .find(|event| event.to_string().contains(&other.session));
    let mut marking = app.pool.begin().await.expect("the database is there");
    let id = other.checkout.parse().expect("an id");
    checkouts::update_compared(&mut *marking, &[id], now)
        .await
        .expect("it is marked");
    let call = send(app.delivery(paid.expect("the payment's event")));
    writer_waits(&app).await;
    marking.commit().await.expect("it is committed");
    outcomes(vec![call]).await;
    assert_eq!(app.row(&other.subscription).await.status, "ACTIVE");
    let status = app.value("checkouts", "status", &other.checkout).await;
    assert_eq!(status.as_deref(), Some("complete"));
}

#[tokio::test]
async fn an_event_twice_in_one_group_is_told_once() {
    let app = TestApp::start().await;
    let crowd = crowd(&app, 1).await;
    let blocked = no_writing(&app).await;
    let (first, second) = (&crowd.events[0], &crowd.events[1]);
    let told = [first, second, second, second].map(Clone::clone);
    let calls = arrive(&app, &told).await;
    assert_eq!(app.services.events.waiting_deliveries(), 3);
    blocked.rollback().await.expect("the table is free again");
    let mut told = outcomes(calls).await.split_off(1);
    told.sort_unstable();
    assert_eq!(told[1..], ["duplicate", "duplicate"], "{told:?}");
    assert_ne!(told[0], "duplicate");
    assert_eq!(app.count("webhook_events").await, 2);
}

#[tokio::test]
async fn more_than_can_wait_is_sent_away_and_comes_again() {
    let app = TestApp::with()
        .setting("DUES__HTTP__MAX_CONCURRENCY", 6)
        .start()
        .await;
    let crowd = crowd(&app, 3).await;
    let blocked = no_writing(&app).await;
    let calls: Vec<_> = crowd
        .events
        .iter()
        .map(|event| send(app.delivery(event)))
        .collect();
    // All but six are answered while nothing can be written.
    let mut refused = 0;
    let mut waiting = Vec::new();
    app.until("the others are sent away", async || {
        let done = calls.iter().filter(|call| call.is_finished()).count();
        (done == crowd.events.len() - 6).then_some(())
    })
    .await;
    for call in calls {
        if call.is_finished() {
            let answer = call.await.expect("the call ends");
            let answer = answer.assert_problem(503, "overloaded");
            assert!(answer.header("retry-after").parse::<u32>().is_ok());
            refused += 1;
        } else {
            waiting.push(call);
        }
    }
    assert_eq!((refused, waiting.len()), (crowd.events.len() - 6, 6));
    blocked.rollback().await.expect("the table is free again");
    outcomes(waiting).await;
    // Stripe comes again.
    for event in &crowd.events {
        app.deliver(event).await;
    }
    all_active(&app, &crowd).await;
}

#[tokio::test]
async fn a_stop_lets_what_has_been_taken_be_written() {
    let mut app = TestApp::start().await;
    let crowd = crowd(&app, 4).await;
    let blocked = no_writing(&app).await;
    let calls = arrive(&app, &crowd.events).await;
    let address = app.address;
    let stopping = async { app.stop().await };
    let freeing = async {
        // It has begun to stop when it takes no more connections.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        blocked.rollback().await.expect("the table is free again");
    };
    tokio::join!(stopping, freeing);
    let taken = outcomes(calls).await.len();
    assert_eq!(taken, crowd.events.len(), "every call was answered");
    let recorded = app.count("webhook_events").await;
    assert!(recorded >= 3 * 4, "only {recorded} were recorded");
}

#[tokio::test]
async fn who_has_bought_is_told_so_again_when_its_answer_came_too_late() {
    let app = TestApp::start().await;
    let alice = app.member("alice");
    let purchase = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let event = app.events_of("invoice.paid").await.remove(0);
    sqlx::query("DELETE FROM webhook_events")
        .execute(&app.pool)
        .await
        .expect("the events are forgotten");
    let blocked = no_writing(&app).await;
    // Stripe gives up while the event is being written …
    let gone = arrive(&app, std::slice::from_ref(&event)).await;
    gone.iter().for_each(JoinHandle::abort);
    blocked.rollback().await.expect("the table is free again");
    app.until("it was recorded all the same", async || {
        (app.count("webhook_events").await == 1).then_some(())
    })
    .await;
    // … and comes again.
    assert_eq!(app.deliver(&event).await, "duplicate");
    assert_eq!(app.transactions(&purchase.subscription).await.len(), 1);
}
