//! A Mosaic Billing Service is kept in step: its subscriptions, status changes and transactions are what our rows say.

use neighbours::mosaic::Options;
use reqwest::Method;
use serde_json::json;

use crate::harness::lifecycle::{ALL_RETRIES, DAY, HOUR, MONTH};
use crate::harness::mosaic::{Billing, SECRET, mapped, member, shipped_plans, told};
use crate::harness::program::{File, run};
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD};
use crate::harness::{TestApp, usual_variables};

/// Plans that the service knows.
const PLANS: [&str; 3] = ["membership-monthly", "membership-annual", "credits-20"];

/// A service that a Mosaic Billing follows.
struct InStep {
    app: TestApp,
    billing: Billing,
    plans: File,
    file: File,
}

impl InStep {
    async fn start(more: &str) -> Self {
        Self::with(Billing::start(&PLANS).await, more).await
    }

    async fn with(billing: Billing, more: &str) -> Self {
        let plans = mapped(&shipped_plans(), &["share", "donation", "credits-50"]);
        let plans = File::new("plans.toml", &plans);
        let file = File::new("followers.toml", &billing.named("mosaic", more));
        let app = TestApp::with()
            .setting("DUES__PLANS__FILE", plans.path().display())
            .setting("DUES__FOLLOWERS__FILE", file.path().display())
            .setting("MOSAIC_SECRET", SECRET)
            .start()
            .await;
        let this = Self {
            app,
            billing,
            plans,
            file,
        };
        this.until("it is followed", "SELECT count(*) = 1 FROM followers")
            .await;
        this
    }

    /// Waits until a statement says true.
    async fn until(&self, what: &str, statement: &'static str) {
        self.app
            .until(what, async || {
                let is_so: bool = sqlx::query_scalar(statement)
                    .fetch_one(&self.app.pool)
                    .await
                    .expect("the statement is good");
                is_so.then_some(())
            })
            .await;
    }

    /// Waits until everything is told, and nobody's rows wait.
    async fn told(&self) {
        self.until(
            "everything is told",
            "SELECT f.position >= h.position AND NOT EXISTS (SELECT FROM followers_parked)
               FROM followers f, feed_head h",
        )
        .await;
    }

    async fn assert_in_step(&self) {
        self.told().await;
        self.billing
            .assert_in_step(&self.app.services, &self.app.pool, &PLANS, "at the end")
            .await;
    }

    async fn text(&self, statement: &'static str) -> String {
        sqlx::query_scalar(statement)
            .fetch_one(&self.app.pool)
            .await
            .expect("a text")
    }
}

#[tokio::test]
async fn a_membership_s_life_is_kept_in_step() {
    let step = InStep::start("").await;
    let app = &step.app;
    let (alice, token) = (member(1), app.member(&member(1)));
    let bought = app.buy_with(&token, "membership-monthly", GOOD_CARD).await;
    let id = &bought.subscription;
    step.assert_in_step().await;
    assert!(step.billing.lets_in(&alice).await);
    assert!(!step.billing.lets_in(&member(2)).await);
    app.advance(MONTH).await;
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    app.change_at_stripe(id, &[("cancel_at_period_end", "false")])
        .await;
    step.assert_in_step().await;
    let paid = format!("PAYMENT {}", told(300, "eur"));
    assert_eq!(step.billing.money(id).await, [paid.clone(), paid]);
    let state = step.billing.state().await;
    let theirs = &state["subscriptions"][0];
    let ours = app.subscription(&app.member(&alice), id).await;
    assert_eq!(
        (&theirs["id"], &theirs["userId"]),
        (&json!(id), &json!(alice))
    );
    assert!(
        theirs["periodEndDate"].as_str() > ours["paid_until"].as_str(),
        "with its grace"
    );
    let reasons: Vec<&str> = { state["statusChanges"].as_array().expect("a list").iter() }
        .filter_map(|change| change["description"].as_str())
        .collect();
    assert!(
        reasons.contains(&"cancel_scheduled: It will not be renewed."),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn who_does_not_pay_is_not_let_in_whatever_the_status() {
    let step = InStep::start("").await;
    let app = &step.app;
    let (alice, token) = (member(1), app.member(&member(1)));
    app.buy_with(&token, "membership-monthly", FAILING_LATER_CARD)
        .await;
    step.told().await;
    assert!(step.billing.lets_in(&alice).await);
    app.advance(MONTH + ALL_RETRIES).await;
    app.advance(60 * DAY).await;
    step.assert_in_step().await;
    assert!(!step.billing.lets_in(&alice).await);
    let failed = step.billing.state().await["transactions"].to_string();
    assert!(failed.contains("PAYMENT_FAILED"), "{failed}");
}

#[tokio::test]
async fn money_that_goes_back_is_told_when_it_has_gone_and_noted_when_it_did_not_arrive() {
    let step = InStep::start("dispute = \"refund\"\n").await;
    let app = &step.app;
    let token = app.member(&member(1));
    let bought = app.buy_with(&token, "credits-20", GOOD_CARD).await;
    let payment = app
        .value(
            "subscriptions",
            "stripe_payment_intent_id",
            &bought.subscription,
        )
        .await;
    let payment = payment.expect("it is paid");
    let refund = app
        .at_stripe(
            Method::POST,
            "/v1/refunds",
            &[("payment_intent", &payment), ("amount", "700")],
        )
        .await;
    app.settle().await;
    step.assert_in_step().await;
    let paid = [
        format!("PAYMENT {}", told(2_000, "eur")),
        format!("REFUND {}", told(-700, "eur")),
    ];
    assert_eq!(step.billing.money(&bought.subscription).await, paid);
    let id = refund["id"].as_str().expect("an id");
    app.sandbox
        .post(&format!("/_sandbox/refunds/{id}/fail"), json!({}))
        .await;
    app.settle().await;
    step.told().await;
    let state = step.billing.state().await;
    assert_eq!(
        state["transactions"][1]["description"],
        "This refund has failed: nothing went back"
    );
    assert_eq!(state["transactions"].as_array().map(Vec::len), Some(2));
    // A dispute that is lost is a refund, where the file says so.
    let dispute = app
        .sandbox
        .post("/_sandbox/disputes", json!({ "payment_intent": payment }))
        .await;
    let dispute = dispute["id"].as_str().expect("an id");
    app.settle().await;
    app.sandbox
        .post(
            &format!("/_sandbox/disputes/{dispute}/close"),
            json!({ "status": "lost" }),
        )
        .await;
    app.settle().await;
    step.told().await;
    let money = step.billing.money(&bought.subscription).await;
    assert_eq!(
        money.last(),
        Some(&format!("REFUND {}", told(-2_000, "eur")))
    );
    assert_eq!(
        step.billing.state().await["subscriptions"][0]["lifecycleStatus"],
        "ENDED"
    );
}

#[tokio::test]
async fn only_plans_with_a_payment_plan_are_told_and_a_member_without_a_uuid_waits() {
    let step = InStep::start("").await;
    let app = &step.app;
    app.buy_with(&app.member(&member(1)), "share", GOOD_CARD)
        .await;
    app.buy_with(&app.member("alice"), "share", GOOD_CARD).await;
    step.told().await;
    assert_eq!(step.billing.state().await["subscriptions"], json!([]));
    app.buy_with(&app.member("alice"), "credits-20", GOOD_CARD)
        .await;
    app.buy_with(&app.member(&member(2)), "credits-20", GOOD_CARD)
        .await;
    step.until("she is parked", "SELECT count(*) = 1 FROM followers_parked")
        .await;
    app.until("the other is told", async || {
        (step.billing.state().await["transactions"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let why = step.text("SELECT last_error FROM followers_parked").await;
    assert_eq!(
        why,
        "the member's id is no UUID, which Mosaic Billing wants"
    );
}

#[tokio::test]
async fn what_is_older_than_the_follower_is_made_there_when_it_moves() {
    let step = InStep::start("").await;
    let app = &step.app;
    step.file.write("");
    app.services.followers.reload();
    let bought = app
        .buy_with(&app.member(&member(1)), "membership-monthly", GOOD_CARD)
        .await;
    sqlx::query("DELETE FROM followers")
        .execute(&app.pool)
        .await
        .expect("the table is there");
    step.file.write(&step.billing.named("mosaic", ""));
    app.services.followers.reload();
    step.until("it is followed", "SELECT count(*) = 1 FROM followers")
        .await;
    assert_eq!(step.billing.state().await["subscriptions"], json!([]));
    app.advance(MONTH).await;
    step.told().await;
    let state = step.billing.state().await;
    let theirs = &state["subscriptions"][0];
    assert_eq!(
        (&theirs["id"], &theirs["lifecycleStatus"]),
        (&json!(bought.subscription), &json!("ACTIVE"))
    );
    assert_eq!(
        step.billing.money(&bought.subscription).await,
        [format!("PAYMENT {}", told(300, "eur"))]
    );
}

#[tokio::test]
async fn answers_that_never_come_after_the_effect_double_nothing() {
    let step = InStep::start("").await;
    let app = &step.app;
    let operations = [
        "createSubscription",
        "updateSubscription",
        "createSubscriptionTransaction",
    ];
    for operation in operations {
        let fault = json!({ "kind": "close_after", "operation": operation, "times": 1 });
        step.billing.fault(fault).await;
    }
    let token = app.member(&member(1));
    app.buy_with(&token, "membership-monthly", GOOD_CARD).await;
    for operation in operations {
        app.until("it is asked to", async || {
            let state = step.billing.state().await;
            (state["requests"][operation].as_i64() > Some(0)).then_some(())
        })
        .await;
        step.until("it waits", "SELECT attempts > 0 FROM followers")
            .await;
        app.advance(2 * HOUR).await;
    }
    step.assert_in_step().await;
    // Killed between effect and mark: the marks are lost, and the place is where it was.
    for statement in [
        "DELETE FROM followers_sent",
        "UPDATE followers SET position = 0, lease_token = gen_random_uuid(), lease_until = now() - interval '1 second'",
    ] {
        sqlx::query(statement)
            .execute(&app.pool)
            .await
            .expect("the table is there");
    }
    app.buy_with(&app.member(&member(2)), "credits-20", GOOD_CARD)
        .await;
    step.told().await;
    let state = step.billing.state().await;
    assert_eq!(
        (
            &state["duplicates"],
            state["transactions"].as_array().map(Vec::len)
        ),
        (&json!([]), Some(2))
    );
}

#[tokio::test]
async fn errors_are_judged_by_what_they_say_and_not_by_their_status() {
    let step = InStep::start("").await;
    let app = &step.app;
    step.billing
        .fault(json!({ "kind": "errors", "code": "SOMETHING_OF_ITS_OWN", "message": "of one subscription",
            "operation": "createSubscription", "times": 1 }))
        .await;
    let token = app.member(&member(1));
    app.open(&token, "credits-20").await;
    step.until("she is parked", "SELECT count(*) = 1 FROM followers_parked")
        .await;
    let why = step.text("SELECT last_error FROM followers_parked").await;
    assert_eq!(why, "refused with SOMETHING_OF_ITS_OWN");
    app.advance(HOUR).await;
    step.assert_in_step().await;
    for (fault, why) in [
        (
            json!({ "kind": "errors", "code": "INTERNAL_SERVER_ERROR", "message": "m", "times": 1 }),
            "refused with INTERNAL_SERVER_ERROR",
        ),
        (
            json!({ "kind": "errors", "code": "USER_NOT_AUTHORIZED", "message": "m", "times": 1 }),
            "refused with USER_NOT_AUTHORIZED",
        ),
        (
            json!({ "kind": "status", "status": 503, "times": 1 }),
            "answered 503",
        ),
        (
            json!({ "kind": "garbage", "times": 1 }),
            "answered what is no GraphQL",
        ),
        (
            json!({ "kind": "close", "times": 1 }),
            "the connection broke off",
        ),
    ] {
        step.billing.fault(fault).await;
        app.open(&app.member(&member(fastrand::u32(100..))), "credits-20")
            .await;
        step.until("it waits", "SELECT attempts = 1 FROM followers")
            .await;
        assert_eq!(step.text("SELECT last_error FROM followers").await, why);
        app.advance(2 * HOUR).await;
        step.assert_in_step().await;
    }
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_replaced_and_a_wrong_secret_is_said() {
    let step = InStep::start("").await;
    let app = &step.app;
    app.open(&app.member(&member(1)), "credits-20").await;
    step.assert_in_step().await;
    step.billing.fault(json!({ "kind": "expire_tokens" })).await;
    app.open(&app.member(&member(2)), "credits-20").await;
    step.assert_in_step().await;
    let asked = step.billing.state().await["requests"]["authenticateServiceAccount"].clone();
    assert_eq!(asked, 2);
    let billing = Billing::with(
        &PLANS,
        Options {
            client_secret: "another".to_owned(),
            ..Options::default()
        },
    )
    .await;
    let other = InStep::with(billing, "").await;
    other
        .app
        .open(&other.app.member(&member(1)), "credits-20")
        .await;
    other
        .until("it waits", "SELECT attempts = 1 FROM followers")
        .await;
    let why = other.text("SELECT last_error FROM followers").await;
    assert!(why.contains("do client_id and its secret fit?"), "{why}");
}

#[tokio::test]
async fn amounts_are_exact_whatever_a_currency_s_smallest_unit_is() {
    let billing = Billing::start(&["yen", "dinar"]).await;
    let catalogue = "[[product]]\nname = \"Yen\"\n[[product.price]]\nlookup_key = \"yen\"\ncurrency = \"jpy\"\nunit_amount = 500\n\
        [[product]]\nname = \"Dinar\"\n[[product.price]]\nlookup_key = \"dinar\"\ncurrency = \"kwd\"\nunit_amount = 5120\n";
    let plans = "[[plan]]\ncode = \"yen\"\nkind = \"top_up\"\nprice = \"yen\"\n[[plan]]\ncode = \"dinar\"\nkind = \"top_up\"\nprice = \"dinar\"\n";
    let file = File::new("followers.toml", &billing.named("mosaic", ""));
    let app = TestApp::with()
        .selling(catalogue, &mapped(plans, &[]))
        .setting("DUES__FOLLOWERS__FILE", file.path().display())
        .setting("MOSAIC_SECRET", SECRET)
        .start()
        .await;
    for (number, plan, told) in [
        (1, "yen", "PAYMENT 500 JPY"),
        (2, "dinar", "PAYMENT 5.120 KWD"),
    ] {
        let bought = app
            .buy_with(&app.member(&member(number)), plan, GOOD_CARD)
            .await;
        app.until("it is told", async || {
            (billing.money(&bought.subscription).await == [told]).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_subscription_that_leaves_for_a_plan_that_is_not_kept_there_ends_there() {
    let step = InStep::start("").await;
    let app = &step.app;
    let plans = mapped(
        &shipped_plans(),
        &["share", "donation", "credits-50", "membership-annual"],
    );
    step.plans.write(&plans);
    app.services.catalogue.reload().await;
    let token = app.member(&member(1));
    let bought = app.buy_with(&token, "membership-monthly", GOOD_CARD).await;
    let path = format!("/v1/subscriptions/{}/change", bought.subscription);
    let change = app
        .post(&path)
        .bearer(&token)
        .json(json!({ "plan": "membership-annual" }));
    change.send().await.assert_status(200);
    app.settle().await;
    step.told().await;
    let state = step.billing.state().await;
    assert_eq!(state["subscriptions"][0]["lifecycleStatus"], "ENDED");
    assert!(!step.billing.lets_in(&member(1)).await);
}

#[tokio::test]
async fn what_was_bought_once_is_let_in_at_mosaic_as_long_as_here() {
    let step = InStep::start("").await;
    let app = &step.app;
    let alice = member(1);
    app.buy_with(&app.member(&alice), "credits-20", GOOD_CARD)
        .await;
    step.assert_in_step().await;
    assert!(step.billing.lets_in(&alice).await);
}

#[tokio::test]
async fn a_payment_that_can_t_be_read_keeps_only_its_member_waiting() {
    let step = InStep::start("").await;
    let app = &step.app;
    let alice = app.open(&app.member(&member(1)), "credits-20").await;
    step.told().await;
    // Stripe answers, and not what can be understood.
    app.fault(json!({ "kind": "wrong_types", "method": "GET", "path": "/v1/payment_intents/*", "times": 1000 }))
        .await;
    app.pay(&alice).await;
    app.settle().await;
    step.until("she waits", "SELECT count(*) = 1 FROM followers_parked")
        .await;
    let why = step.text("SELECT last_error FROM followers_parked").await;
    assert_eq!(why, "what was paid can't be read at Stripe");
    let waits: bool = sqlx::query_scalar("SELECT attempts > 0 FROM followers")
        .fetch_one(&app.pool)
        .await
        .expect("the table is there");
    assert!(!waits);
    app.no_more_faults().await;
    app.advance(HOUR).await;
    step.assert_in_step().await;
}

#[tokio::test]
async fn the_doctor_says_which_plans_the_service_does_not_know() {
    let step = InStep::start("").await;
    let app = &step.app;
    let url = app.settings.database.url.expose();
    let mut variables = usual_variables(url, app.address, app.sandbox.url());
    for (name, value) in [
        ("DUES_ENV", "development"),
        ("MOSAIC_SECRET", SECRET),
        ("DUES__PLANS__FILE", &*step.plans.path().to_string_lossy()),
        (
            "DUES__FOLLOWERS__FILE",
            &*step.file.path().to_string_lossy(),
        ),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let well = run(&["doctor"], &variables).await;
    let unknown = "has no payment plan";
    assert!(!well.stdout.contains(unknown), "{well:?}");
    step.plans
        .write(&mapped(&shipped_plans(), &["donation", "credits-50"]));
    let ended = run(&["doctor"], &variables).await.assert_code(1);
    let line = ended.line("FAIL followers mosaic has no payment plan");
    assert!(line.contains("plan \"share\""), "{line}");
    step.plans.write(&shipped_plans());
    let ended = run(&["doctor"], &variables).await;
    ended.line("note followers mosaic: no plan has a mosaic_payment_plan");
}
