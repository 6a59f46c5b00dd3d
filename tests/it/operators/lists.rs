//! Subscriptions and events of everybody.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use super::all;
use crate::harness::TestApp;
use crate::harness::lifecycle::BAD_ACCOUNT;
use crate::harness::purchase::GOOD_CARD;

const LIST: &str = "/v1/operator/subscriptions";

#[tokio::test]
async fn a_subscription_is_told_with_what_it_means_what_comes_next_and_what_can_be_done() {
    let app = TestApp::start().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    let row = app
        .looked_at(&format!("{LIST}/{}", bought.subscription))
        .await;
    assert_eq!(row["user_id"], "alice");
    assert_eq!(row["means"], "It is paid, and renews by itself.");
    let next = row["next"]["text"].as_str().expect("a sentence");
    assert!(next.starts_with("It renews on "), "{next}");
    assert_eq!(row["next"]["at"], row["current_period_end"]);
    assert_eq!(row["acts"], json!(["sync", "refund", "cancel"]));
    let stripe = &row["stripe"];
    assert_eq!(
        stripe["customer_id"],
        app.customer_of(&bought).await.as_str()
    );
    assert_eq!(stripe["status"], "active");
    for (field, begins) in [("subscription_id", "sub_"), ("session_id", "cs_")] {
        assert!(
            stripe[field]
                .as_str()
                .is_some_and(|id| id.starts_with(begins))
        );
    }
    assert!(row["version"].as_i64().is_some_and(|version| version > 1));
    let nobody = uuid::Uuid::nil();
    for wrong in [nobody.to_string(), "x".to_owned(), "%00".to_owned()] {
        let call = app.get(&format!("{LIST}/{wrong}"));
        let call = call.bearer(&app.staff("boss", &["reader"]));
        call.send().await.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn every_filter_finds_its_own_alone_and_together() {
    let app = TestApp::with().following_the_sandbox().start().await;
    let alice = app.member("alice");
    let bob = app.member("bob");
    let annual = app.buy_with(&alice, "membership-annual", GOOD_CARD).await;
    let monthly = app.buy_with(&bob, "membership-monthly", GOOD_CARD).await;
    let share = app.buy_with(&bob, "share", GOOD_CARD).await;
    let open = app.open(&alice, "credits-20").await;
    let cancel = app.post(&format!(
        "/v1/subscriptions/{}/cancel",
        monthly.subscription
    ));
    cancel
        .bearer(&bob)
        .json(json!({}))
        .send()
        .await
        .assert_status(200);
    app.settle().await;
    let (annual, monthly) = (annual.subscription, monthly.subscription);
    let (share, open) = (share.subscription, open.subscription);
    for (filter, wanted) in [
        ("", vec![&open, &share, &monthly, &annual]),
        ("?plan=membership-annual", vec![&annual]),
        ("?kind=membership", vec![&monthly, &annual]),
        ("?status=CANCELLED", vec![&monthly]),
        ("?status=PENDING_ACTIVATION", vec![&open]),
        ("?reason=paid", vec![&share, &annual]),
        ("?provider=stripe", vec![&open, &share, &monthly, &annual]),
        ("?provider=cash", vec![]),
        ("?user=bob", vec![&share, &monthly]),
        ("?user=bob&kind=share", vec![&share]),
        ("?user=nobody", vec![]),
        ("?kind=membership&reason=paid", vec![&annual]),
        ("?status=ACTIVE&plan=share", vec![&share]),
        ("?plan=unknown", vec![]),
        ("?ends_before=2126-01-01", vec![&monthly]),
        ("?ends_before=2126-01-01&kind=share", vec![]),
        ("?ends_before=2020-01-01", vec![]),
        ("?joined_after=2020-01-01", vec![&share, &monthly, &annual]),
        (
            "?joined_after=2020-01-01&kind=membership",
            vec![&monthly, &annual],
        ),
        ("?joined_after=2020-01-01&status=CANCELLED", vec![&monthly]),
        ("?joined_after=2126-01-01", vec![]),
        ("?user=bob&ends_before=2126-01-01", vec![&monthly]),
    ] {
        let found = all(&app.looked_at(&format!("{LIST}{filter}")).await, "id");
        let found: Vec<&String> = found.iter().collect();
        // In a list by the time of joining, those who joined in the same second are by id.
        let (mut sorted, mut all) = (wanted.clone(), found.clone());
        sorted.sort_unstable();
        all.sort_unstable();
        assert_eq!(all, sorted, "{filter}");
        if !filter.contains("joined_after") {
            assert_eq!(found, wanted, "{filter}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_asked_is_named_and_who_may_not_is_refused() {
    let app = TestApp::start().await;
    let reader = app.staff("carol", &["reader"]);
    for (query, field) in [
        ("status=active", "status"),
        ("reason=none", "reason"),
        ("kind=gift", "kind"),
        ("plan=%00", "plan"),
        ("user=%00", "user"),
        ("provider=", "provider"),
        ("ends_before=soon", "ends_before"),
        ("joined_after=2026-13-01", "joined_after"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        (
            "joined_after=2026-01-01&cursor=01890a5d-ac96-774b-bcce-b302099a8057",
            "cursor",
        ),
        ("colour=red", "colour"),
    ] {
        let call = app.get(&format!("{LIST}?{query}")).bearer(&reader);
        let problem = call.send().await.assert_problem(422, "validation_failed");
        assert!(
            problem.text.contains(&format!("\"field\":\"{field}\"")),
            "{}",
            problem.text
        );
    }
    for (query, field) in [
        ("state=open", "state"),
        ("type=%00", "type"),
        ("object=%00", "object"),
        ("cursor=1.", "cursor"),
    ] {
        let call = app
            .get(&format!("/v1/operator/events?{query}"))
            .bearer(&reader);
        let problem = call.send().await.assert_problem(422, "validation_failed");
        assert!(
            problem.text.contains(&format!("\"field\":\"{field}\"")),
            "{}",
            problem.text
        );
    }
    let member = app.member("alice");
    for path in [
        LIST,
        "/v1/operator/subscriptions/01890a5d-ac96-774b-bcce-b302099a8057",
        "/v1/operator/members/alice",
        "/v1/operator/events",
        "/v1/operator/events/evt_1",
        "/v1/operator/parked",
        "/v1/operator/today",
    ] {
        app.get(path)
            .send()
            .await
            .assert_problem(401, "unauthorized");
        let call = app.get(path).bearer(&member);
        call.send().await.assert_problem(403, "forbidden");
        for role in ["reader", "support", "treasurer", "operator"] {
            let call = app.get(path).bearer(&app.staff("carol", &[role]));
            let answer = call.send().await;
            assert!(
                [200, 404].contains(&answer.status.as_u16()),
                "{path} {role}"
            );
        }
    }
}

#[tokio::test]
async fn pages_miss_nothing_and_tell_nothing_twice_while_rows_are_added() {
    let app = TestApp::start().await;
    // More than a page of each kind, paid at the same moment.
    let row = |n: i32| {
        format!(
            "INSERT INTO customers (id, user_id, currency, created_at)
             VALUES (md5('k{n}')::uuid, 'user{n}', 'eur', now());
             INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, request_hash, cancel_token_hash,
                                    expires_at, created_at)
             VALUES (md5('c{n}')::uuid, 'user{n}', 'eur', 'payment', 'complete', md5('k{n}')::uuid, '', '', now(), now());
             INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, recurring,
                                        status, status_reason, stripe_price_id, first_paid_at, term_ends_at, created_at,
                                        updated_at)
             VALUES (md5('s{n}')::uuid, md5('c{n}')::uuid, 0, 'user{n}', 'plan-{}', 'share', 1, false, false, 'ACTIVE',
                     'paid', 'price_1', '2026-01-01', '2126-01-0{}', now(), now());",
            n % 3,
            1 + n % 2
        )
    };
    for n in 0..25 {
        app.by_hand(&row(n)).await;
    }
    for filter in [
        "limit=10",
        "limit=10&kind=share",
        "limit=10&joined_after=2025-12-31",
        "limit=10&ends_before=2126-02-01",
    ] {
        let before: i64 = app.count("subscriptions").await;
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = app.looked_at(&format!("{LIST}?{filter}{cursor}")).await;
            seen.extend(all(&page, "id"));
            pages += 1;
            // Meanwhile one more comes, which may stand anywhere.
            let next = i32::try_from(app.count("subscriptions").await).expect("few");
            app.by_hand(&row(next)).await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(once.len(), seen.len(), "{filter}: something twice");
        assert!(pages >= 3, "{filter}: {pages} pages");
        assert!(
            i64::try_from(seen.len()).expect("few") >= before,
            "{filter}: something was missed"
        );
    }
}

#[tokio::test]
async fn events_are_found_by_state_type_and_object_with_whose_they_are() {
    let app = TestApp::start().await;
    app.first_walk_is_over().await;
    let bought = app.sell("membership-annual", GOOD_CARD).await;
    let list = app.looked_at("/v1/operator/events?limit=100").await;
    assert!(all(&list, "id").len() >= 3, "{list:#}");
    assert!(all(&list, "state").iter().all(|state| state == "applied"));
    assert!(
        all(&list, "user_id").iter().any(|user| user == "alice"),
        "{list:#}"
    );
    for (kind, is_there) in [
        ("invoice.paid", true),
        ("checkout.session.completed", true),
        ("charge.dispute.created", false),
    ] {
        let found = app
            .looked_at(&format!("/v1/operator/events?type={kind}"))
            .await;
        assert_eq!(!all(&found, "id").is_empty(), is_there, "{kind}");
        assert!(all(&found, "type").iter().all(|found| found == kind));
    }
    let of_session = app
        .looked_at("/v1/operator/events?type=checkout.session.completed&state=applied")
        .await;
    let event = &of_session["data"][0];
    assert_eq!(event["subscription_id"], bought.subscription.as_str());
    let object = event["object_id"].as_str().expect("an object");
    let by_object = app
        .looked_at(&format!("/v1/operator/events?object={object}"))
        .await;
    assert_eq!(all(&by_object, "id"), all(&of_session, "id"));
    let id = event["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        app.looked_at(&format!("/v1/operator/events/{id}")).await,
        *event
    );

    let cause =
        "an invoice of a subscription that has ended was paid: give the money back, or sell anew";
    for (state, next, cause, begins) in [
        ("flagged", "NULL", cause, "Money came for something"),
        (
            "failed",
            "NULL",
            "Stripe refused with 403",
            "Stripe refused to answer",
        ),
        (
            "deferred",
            "'2126-01-01'",
            "Stripe can't be reached (x)",
            "Stripe could not",
        ),
        ("ignored", "NULL", "dismissed: seen", "Somebody has looked"),
    ] {
        let cause = cause.replace('\'', "''");
        app.by_hand(&format!(
            "UPDATE webhook_events SET state = '{state}', next_attempt_at = {next}, last_error = '{cause}' WHERE id = '{id}'"
        ))
        .await;
        let found = app
            .looked_at(&format!("/v1/operator/events?state={state}"))
            .await;
        assert_eq!(all(&found, "id"), [id.as_str()], "{state}");
        let means = found["data"][0]["means"].as_str().expect("a sentence");
        assert!(means.starts_with(begins), "{means}");
        assert_eq!(found["data"][0]["advice"].is_null(), state == "ignored");
        let other = app
            .looked_at("/v1/operator/events?state=flagged&type=invoice.paid")
            .await;
        assert!(all(&other, "id").is_empty());
    }
    let nobody = app.get("/v1/operator/events/evt_%00");
    let nobody = nobody.bearer(&app.staff("boss", &["reader"]));
    nobody.send().await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn events_of_one_moment_are_told_once_over_pages() {
    let app = TestApp::start().await;
    app.by_hand(
        "INSERT INTO webhook_events (id, type, object_id, created, received_at, state)
         SELECT 'evt_' || n, CASE WHEN n % 2 = 0 THEN 'invoice.paid' ELSE 'refund.created' END, 'x', now(),
                now() - interval '1 day', 'applied' FROM generate_series(1, 50) AS n",
    )
    .await;
    for (filter, count) in [
        ("", 50),
        ("&type=invoice.paid", 25),
        ("&type=refund.created", 25),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app
                .looked_at(&format!("/v1/operator/events?limit=10{filter}{cursor}"))
                .await;
            seen.extend(all(&page, "id"));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let once: BTreeSet<&String> = seen.iter().collect();
        assert_eq!((seen.len(), once.len()), (count, count), "{filter}");
    }
}

#[tokio::test]
async fn members_whom_a_follower_refuses_are_told() {
    let app = TestApp::start().await;
    app.by_hand(
        "INSERT INTO followers (name, kind, state, position, created_at) VALUES ('forum', 'webhook', 'following', 0, now());
         INSERT INTO followers_parked VALUES ('forum', 'alice', '{3,4}', 2, '2026-01-02', 'it said 400', '2026-01-01')",
    )
    .await;
    let parked = app.looked_at("/v1/operator/parked").await;
    assert_eq!(
        parked["data"],
        json!([{"follower": "forum", "user_id": "alice", "waiting": 2, "attempts": 2, "since": "2026-01-01T00:00:00Z",
                "next_attempt_at": "2026-01-02T00:00:00Z", "cause": "it said 400"}])
    );
}

#[tokio::test]
async fn a_member_is_told_with_what_she_holds_and_her_customers() {
    let app = TestApp::start().await;
    let bought = app.sell("share", GOOD_CARD).await;
    let member = app.looked_at("/v1/operator/members/alice").await;
    assert_eq!(
        member["subscriptions"][0]["id"],
        bought.subscription.as_str()
    );
    let customer = app.customer_of(&bought).await;
    assert_eq!(
        member["customers"],
        json!([{"currency": "eur", "stripe_customer_id": customer}])
    );
    let failing = app.member("dora");
    app.buy_with(&failing, "membership-annual", BAD_ACCOUNT)
        .await;
    let failed = app.looked_at("/v1/operator/members/dora").await;
    assert_eq!(failed["subscriptions"].as_array().map(Vec::len), Some(1));
    for nobody in ["nobody", "%00", &"x".repeat(300)] {
        for (method, path) in [
            (Method::GET, format!("/v1/operator/members/{nobody}")),
            (
                Method::POST,
                format!("/v1/operator/members/{nobody}/reveal"),
            ),
        ] {
            let call = app
                .request(method, &path)
                .bearer(&app.staff("boss", &["support"]));
            call.send().await.assert_problem(404, "not_found");
        }
    }
}
