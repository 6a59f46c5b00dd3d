//! A purchase as a client of the connector makes it, from the plan to the page on which it ends.

use reqwest::Method;
use serde_json::json;
use url::Url;

use super::{Before, CANCEL, ERROR, SUCCESS, compatible, start, wanted};
use crate::harness::TestApp;
use crate::harness::WEBHOOK_SECRET;
use crate::harness::mosaic::{mapped, shipped_plans, told};
use crate::harness::program::File;
use crate::harness::purchase::{DECLINED_CARD, Purchase};

impl TestApp {
    /// Begins a purchase by the payment plan of a plan.
    pub(super) async fn opened(&self, token: &str, code: &str) -> Purchase {
        let started = start(self, token, wanted(code, "EUR")).send().await;
        let started = started.assert_status(200).json();
        let url = started["redirectUrl"].as_str().expect("a URL").to_owned();
        let page: Url = url.parse().expect("a URL");
        let session = page.path_segments().and_then(Iterator::last);
        Purchase {
            checkout: String::new(),
            subscription: started["subscriptionId"]
                .as_str()
                .expect("an id")
                .to_owned(),
            session: session.expect("a session").to_owned(),
            url,
        }
    }

    /// Where a return ends.
    async fn ends_at(&self, path: &str) -> String {
        let answer = self.get(path).send().await.assert_status(302);
        answer.header("location").to_owned()
    }

    /// The same of an address of the service that Stripe's page has.
    async fn leads_to(&self, url: &str) -> String {
        let path = url.strip_prefix(&format!("http://{}", self.address));
        self.ends_at(path.expect("an address of the service")).await
    }
}

#[tokio::test]
async fn a_purchase_ends_where_mosaic_says_with_its_id_and_mosaic_knows_of_it() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let ada = before.ada(1).await;
    let purchase = app.opened(&ada, "membership-monthly").await;
    let again = app.opened(&ada, "membership-monthly").await;
    assert_eq!(
        (&again.url, &again.subscription),
        (&purchase.url, &purchase.subscription)
    );

    let unpaid = app
        .ends_at(&format!(
            "/success-checkout?session_id={}",
            purchase.session
        ))
        .await;
    assert_eq!(unpaid, SUCCESS);
    let back = app.pay(&purchase).await;
    let paid = app.leads_to(&back).await;
    assert_eq!(
        paid,
        format!("{SUCCESS}&subscription_id={}", purchase.subscription)
    );
    app.settle().await;
    let id = purchase.subscription.as_str();
    app.until("Mosaic Billing knows of it", async || {
        let state = before.billing.state().await;
        let theirs = &state["subscriptions"][0];
        let is_so = theirs["id"] == id && theirs["lifecycleStatus"] == "ACTIVE";
        (is_so && !before.billing.money(id).await.is_empty()).then_some(())
    })
    .await;
    let money = before.billing.money(id).await;
    assert_eq!(money, [format!("PAYMENT {}", told(300, "eur"))]);
    // Cancelled at the period's end it is hers still.
    app.change_at_stripe(id, &[("cancel_at_period_end", "true")])
        .await;
    assert_eq!(app.leads_to(&back).await, paid);
}

#[tokio::test]
async fn what_is_not_paid_ends_without_an_id_and_what_is_given_up_where_mosaic_says() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let ada = before.ada(1).await;
    for unknown in [
        "",
        "?session_id=",
        "?session_id=cs_test_of_the_connector",
        "?session_id=%00",
        "?other=1",
    ] {
        assert_eq!(
            app.ends_at(&format!("/success-checkout{unknown}")).await,
            SUCCESS
        );
    }
    let declined = app.opened(&ada, "membership-annual").await;
    let path = format!("/_sandbox/checkout/{}/pay", declined.session);
    let refused = app.sandbox.request(Method::POST, &path);
    refused.json(json!({ "card": DECLINED_CARD })).send().await;
    let back = format!("/success-checkout?session_id={}", declined.session);
    assert_eq!(app.ends_at(&back).await, SUCCESS);

    let cancel = app.sent_session().await["cancel_url"].clone();
    let with_another = cancel.replace("token=", "token=0");
    assert_eq!(app.leads_to(&with_another).await, ERROR);
    assert_eq!(
        app.row(&declined.subscription).await.status,
        "PENDING_ACTIVATION"
    );
    assert_eq!(app.leads_to(&cancel).await, CANCEL);
    assert_eq!(app.row(&declined.subscription).await.status, "ENDED");
    assert_eq!(app.ends_at(&back).await, SUCCESS);
    assert_eq!(app.ends_at("/cancel-checkout").await, ERROR);
    app.post("/success-checkout")
        .send()
        .await
        .assert_status(405);
}

#[tokio::test]
async fn a_return_that_can_t_be_verified_ends_without_an_id() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let purchase = app.opened(&before.ada(1).await, "membership-monthly").await;
    app.hold_deliveries().await;
    let back = app.pay(&purchase).await;
    let away = json!({ "kind": "error_500", "path": "/v1/checkout/sessions/*", "times": 10 });
    app.fault(away).await;
    assert_eq!(app.leads_to(&back).await, SUCCESS);
    app.no_more_faults().await;
    app.lose_database().await;
    assert_eq!(app.leads_to(&back).await, SUCCESS);
}

#[tokio::test]
async fn where_mosaic_does_not_say_browsers_end_at_our_own_pages() {
    let own = "https://app.example.org/thanks?from=dues";
    let file = File::new("plans.toml", &mapped(&shipped_plans(), &[]));
    let alone = compatible().setting("DUES__PLANS__FILE", file.path().display());
    let app = alone.start().await;
    let alice = app.member("alice");
    let purchase = app.opened(&alice, "membership-monthly").await;
    let back = app.pay(&purchase).await;
    let paid = format!("{own}&subscription_id={}", purchase.subscription);
    assert_eq!(app.leads_to(&back).await, paid);
    app.opened(&alice, "credits-20").await;
    let cancel = app.sent_session().await["cancel_url"].clone();
    assert_eq!(
        app.leads_to(&cancel).await,
        "https://app.example.org/cancelled"
    );

    let before = Before::start().await;
    let broken = json!({ "kind": "status", "status": 500, "operation": "getSettings", "times": 1 });
    before.billing.fault(broken).await;
    let app = before.service().start().await;
    assert_eq!(app.ends_at("/success-checkout").await, own);
    // Nobody asks again at once.
    assert_eq!(app.ends_at("/success-checkout").await, own);
    let asked = before.billing.state().await["requests"]["getSettings"].clone();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn what_mosaic_says_is_asked_once_in_a_while() {
    let before = Before::start().await;
    let app = before.service().start().await;
    for _ in 0..3 {
        assert_eq!(app.ends_at("/success-checkout").await, SUCCESS);
    }
    let asked = before.billing.state().await["requests"]["getSettings"].clone();
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_page_that_leads_back_elsewhere_is_not_given_to_another_client() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let ada = before.ada(1).await;
    let theirs = app.opened(&ada, "membership-monthly").await;
    let own = app.open(&ada, "membership-monthly").await;
    assert_ne!(own.url, theirs.url);
    // She can hold one of it, so one page is open.
    assert_eq!(app.sessions("open").await, [own.session.as_str()]);
    let theirs = app.opened(&ada, "membership-monthly").await;
    assert_ne!(theirs.url, own.url);
    assert_eq!(app.sessions("open").await, [theirs.session]);
}

#[tokio::test]
async fn webhooks_arrive_where_the_connector_took_them() {
    let before = Before::start().await;
    let app = before.service().start().await;
    let purchase = app.opened(&before.ada(1).await, "membership-monthly").await;
    app.hold_deliveries().await;
    app.pay(&purchase).await;
    for path in ["/webhooks", "/webhooks/"] {
        for kind in ["checkout.session.completed", "invoice.paid"] {
            for event in app.events_of(kind).await {
                let delivered = app.delivery_to(path, WEBHOOK_SECRET, &event).send().await;
                assert_eq!(delivered.assert_status(200).text, "");
            }
        }
    }
    assert_eq!(app.row(&purchase.subscription).await.status, "ACTIVE");
    let event = app.events_of("invoice.paid").await[0].clone();
    let forged = app.delivery_to("/webhooks", "whsec_of_somebody_else", &event);
    forged.send().await.assert_problem(400, "bad_signature");
    let unsigned = app.post("/webhooks").body("{}").send().await;
    unsigned.assert_problem(400, "bad_signature");
}
