//! "I paid but …": each of the eight cases, driven at the sandbox, with what differs and what can be done.

use reqwest::Method;
use serde_json::json;

use super::{assert_says, from_rows, story_of, story_of_member};
use crate::harness::TestApp;
use crate::harness::lifecycle::{ALL_RETRIES, DAY, GOOD_ACCOUNT, MONTH, forgetful, text};
use crate::harness::own_affairs::plans;
use crate::harness::purchase::{FAILING_LATER_CARD, GOOD_CARD, Purchase};

const EMPTY_CARD: &str = "4000000000009995";

impl TestApp {
    /// From now on whatever Stripe tells is lost.
    async fn lose_webhooks(&self) {
        let drop = json!({"drop": 1.0});
        self.sandbox.post("/_sandbox/chaos", drop).await;
    }

    async fn hear_webhooks(&self) {
        self.sandbox.post("/_sandbox/chaos", json!({})).await;
    }

    /// A purchase of alice's that she has tried to pay.
    pub(super) async fn sell_declined(&self, plan: &str, card: &str) -> Purchase {
        let purchase = self.open(&self.member("alice"), plan).await;
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        let paid = self.sandbox.request(Method::POST, &path);
        paid.json(json!({ "card": card }))
            .send()
            .await
            .assert_status(402);
        self.settle().await;
        purchase
    }

    /// A purchase of alice's whose webhooks never come.
    async fn sell_unheard(&self, plan: &str) -> Purchase {
        self.lose_webhooks().await;
        let purchase = self.open(&self.member("alice"), plan).await;
        self.pay(&purchase).await;
        self.hear_webhooks().await;
        purchase
    }
}

#[tokio::test]
async fn declined() {
    let app = forgetful().await;
    let purchase = app.sell_declined("membership-monthly", EMPTY_CARD).await;
    let story = story_of(&app, &purchase.subscription).await;
    story.assert_agreed();
    let failed = story.entry(
        "A payment of €3.00 from a card for membership-monthly failed. There was not enough money in the account.",
    );
    assert_says(failed, "advice", "Tell the member: “Top up the account");
    assert_says(failed, "advice", "The page where she tried is still open.");
    // What is bought once has its payment from the beginning.
    let once = app.sell_declined("credits-20", EMPTY_CARD).await;
    let story = story_of(&app, &once.subscription).await;
    let failed = story.entry("A payment of €20.00 from a card for credits-20 failed.");
    assert!(!failed.to_string().contains("does not say"), "{failed:#}");
    // A renewal.
    let bob = app.member("bob");
    let purchase = app
        .buy_with(&bob, "membership-monthly", FAILING_LATER_CARD)
        .await;
    app.advance(MONTH).await;
    let story = story_of(&app, &purchase.subscription).await;
    story.assert_agreed();
    let failed = story.entry("A payment of €3.00 from a card for membership-monthly failed.");
    assert_eq!(failed["kind"], "transaction");
    assert_says(failed, "text", " Stripe tries again on ");
    assert_says(
        failed,
        "advice",
        "In the app, where she sees what she holds",
    );
    let open = story.entry(
        "An invoice over €3.00 for membership-monthly is open: paying was tried once. Stripe tries again on ",
    );
    assert_eq!(open["kind"], "stripe");
    let active = story.entry("membership-monthly: active, paid.");
    assert_eq!(active["advice"], json!(null), "that was before");
    let rows = from_rows(&app, &purchase.subscription).await;
    let failed = rows.entry("A payment for membership-monthly failed.");
    assert_says(failed, "advice", "Ask the member to use another card");
    app.advance(ALL_RETRIES).await;
    let rows = from_rows(&app, &purchase.subscription).await;
    assert!(
        rows.all("A payment for membership-monthly failed.").len() > 2,
        "{:#}",
        rows.0
    );
}

#[tokio::test]
async fn the_debit_is_under_way() {
    let app = forgetful().await;
    for (plan, amount) in [("credits-20", "€20.00"), ("membership-monthly", "€3.00")] {
        let purchase = app.sell(plan, GOOD_ACCOUNT).await;
        let story = story_of(&app, &purchase.subscription).await;
        story.assert_agreed();
        let debit =
            format!("A debit of {amount} from a bank account (SEPA debit) for {plan} is under way");
        assert_says(
            story.entry(&debit),
            "advice",
            "a bank debit takes up to 14 days",
        );
        let change = format!("{plan}: ordered and not active yet, the money is on its way.");
        assert_says(story.entry(&change), "advice", "Wait");
        let rows = from_rows(&app, &purchase.subscription).await;
        assert_says(rows.entry(&change), "advice", "Wait");
    }
    app.advance(14 * DAY).await;
    let story = story_of_member(&app, "alice").await;
    story.entry(
        "Stripe took €20.00 from a bank account (SEPA debit) for credits-20, and we recorded it",
    );
    assert!(story.all("A debit of").is_empty(), "{:#}", story.0);
}

#[tokio::test]
async fn paid_twice() {
    const PAID: &str = "Stripe took €20.00 from a card for credits-20";
    let app = forgetful().await;
    let first = app.sell("credits-20", GOOD_CARD).await;
    app.advance(60).await;
    let second = app.sell("credits-20", GOOD_CARD).await;
    let story = story_of(&app, &second.subscription).await;
    let again = story.entry(PAID);
    assert_says(again, "advice", "refund one of the two (reason: duplicate)");
    assert_says(again, "advice", &first.subscription);
    let rows = from_rows(&app, &second.subscription).await;
    assert_says(
        rows.entry("A payment for credits-20 came"),
        "advice",
        &first.subscription,
    );
    let story = story_of(&app, &first.subscription).await;
    assert_eq!(story.entry(PAID)["advice"], json!(null));
    let story = story_of_member(&app, "alice").await;
    let both = story.all(PAID);
    let advised = both
        .iter()
        .filter(|entry| !entry["advice"].is_null())
        .count();
    assert_eq!((both.len(), advised), (2, 1), "{:#}", story.0);
    // What was paid back is settled.
    app.refund(&app.payment_of(&second).await, &[]).await;
    let story = story_of(&app, &second.subscription).await;
    assert_eq!(story.entry(PAID)["advice"], json!(null));
    app.advance(2 * DAY).await;
    let third = app.sell("credits-20", GOOD_CARD).await;
    let story = story_of(&app, &third.subscription).await;
    assert_eq!(story.entry(PAID)["advice"], json!(null));
}

#[tokio::test]
async fn paid_and_not_activated() {
    let app = forgetful().await;
    for (plan, amount) in [("credits-20", "€20.00"), ("membership-monthly", "€3.00")] {
        let purchase = app.sell_unheard(plan).await;
        for story in [
            story_of(&app, &purchase.subscription).await,
            story_of_member(&app, "alice").await,
        ] {
            assert_eq!(story.0["complete"], true, "{:#}", story.0);
            let paid = story.entry(&format!("Stripe took {amount} from a card for {plan}."));
            assert_eq!(paid["kind"], "stripe");
            let differs = format!("Stripe says: {amount} were paid. Ours: no payment.");
            assert_eq!(paid["differs"], differs);
            assert_eq!(paid["advice"], "Sync it: what Stripe says is taken over.");
            let page = format!("A payment page over {amount} for {plan} was opened");
            assert_eq!(
                story.entry(&page)["differs"],
                "Stripe says: the page was completed and paid. Ours: the page is open, nothing is paid."
            );
        }
        let rows = from_rows(&app, &purchase.subscription).await;
        let ordered = rows.entry(&format!("{plan} was ordered."));
        assert_says(
            ordered,
            "advice",
            "If the member says that she has paid, sync it",
        );
    }
    // It is known, and the news of its end is lost.
    let purchase = app
        .buy_with(&app.member("bob"), "membership-monthly", GOOD_CARD)
        .await;
    let path = format!(
        "/v1/subscriptions/{}",
        app.at_stripes(&purchase.subscription).await
    );
    app.lose_webhooks().await;
    app.at_stripe(Method::DELETE, &path, &[]).await;
    let story = story_of(&app, &purchase.subscription).await;
    let now = &story.entries()[0];
    assert_eq!(
        now["differs"], "Stripe says: ended. Ours: active, paid.",
        "{:#}",
        story.0
    );
    assert_eq!(now["advice"], "Sync it: what Stripe says is taken over.");
}

#[tokio::test]
async fn refunded() {
    let app = forgetful().await;
    let purchase = app.sell("credits-20", GOOD_CARD).await;
    let payment = app.payment_of(&purchase).await;
    let part = [("amount", "500"), ("reason", "duplicate")];
    let part = app.refund(&payment, &part).await;
    let story = story_of(&app, &purchase.subscription).await;
    story.assert_agreed();
    let back = story.entry("€5.00 for credits-20 were paid back (duplicate).");
    assert_eq!(
        (&back["reference"], &back["kind"]),
        (&json!(part), &json!("transaction"))
    );
    assert_says(back, "advice", "within ten working days");
    app.refund(&payment, &[]).await;
    let story = story_of(&app, &purchase.subscription).await;
    story.entry("€15.00 for credits-20 were paid back.");
    let ended = story.entry("credits-20: ended, all of it was paid back.");
    assert_says(ended, "advice", "Its price was paid back");
    let rows = from_rows(&app, &purchase.subscription).await;
    let back = rows.all("Money for credits-20 was paid back.");
    assert_eq!(back.len(), 2, "{:#}", rows.0);

    // One of which nothing was heard.
    let purchase = app.sell("share", GOOD_CARD).await;
    let payment = app.payment_of(&purchase).await;
    app.lose_webhooks().await;
    let form = [("payment_intent", &*payment)];
    app.at_stripe(Method::POST, "/v1/refunds", &form).await;
    let story = story_of(&app, &purchase.subscription).await;
    let back = story.entry("€25.00 for share were paid back.");
    let differs = "Stripe says: a refund of €25.00, paid back. Ours: no refund.";
    assert_eq!(back["differs"], differs);
    assert_says(back, "advice", "Sync it");
}

#[tokio::test]
async fn disputed() {
    let app = forgetful().await;
    let purchase = app.sell("share", GOOD_CARD).await;
    let payment = app.payment_of(&purchase).await;
    let dispute = app.dispute(&payment, "product_not_received").await;
    let claimed = "The member's bank claimed €25.00 back for share (reason: product not received): the dispute is";
    let story = story_of(&app, &purchase.subscription).await;
    story.assert_agreed();
    let open = story.entry(&format!("{claimed} open. It is to be answered until "));
    assert_eq!(open["reference"], json!(dispute));
    assert_says(open, "advice", "Answer it in Stripe's dashboard");
    let hold = story.entry("share: on hold, the payment is disputed.");
    assert_says(hold, "advice", "Answer the dispute");
    let rows = from_rows(&app, &purchase.subscription).await;
    rows.entry("The member's bank claimed a payment back for share: the dispute is open.");
    app.close_dispute(&dispute, "lost").await;
    let story = story_of(&app, &purchase.subscription).await;
    story.entry(&format!("{claimed} lost, the money is gone."));
    story.entry("share: ended, a dispute about its payment was lost.");
}

#[tokio::test]
async fn the_wrong_plan() {
    let sold = plans();
    let app = sold.sold().start().await;
    app.first_walk_is_over().await;
    let id = app.open_and_pay("basic", 1).await;
    let price = app.foreign_price("membership_monthly", "450").await;
    app.move_at_stripe(&id, Some(&price), 1).await;
    app.settle().await;
    let story = story_of(&app, &id).await;
    let now = &story.entries()[0];
    assert_says(
        now,
        "text",
        "Stripe has a subscription at a price that no plan has",
    );
    let differs =
        format!("Stripe says: the price {price}, which no plan has. Ours: the plan basic.");
    assert_eq!(now["differs"], differs);
    assert_says(
        now,
        "advice",
        "move the subscription at Stripe to the price of a plan",
    );
    story.entry("Stripe told us about the subscription, and a person should look");
    // It is moved to another plan, and that is not heard.
    app.lose_webhooks().await;
    let yearly = app.price("membership_annual").await;
    app.move_at_stripe(&id, Some(&yearly), 1).await;
    let story = story_of(&app, &id).await;
    let now = &story.entries()[0];
    assert_says(now, "differs", "Stripe says: the plan yearly");
    assert_says(now, "differs", "Ours: the plan basic");
    assert_says(now, "advice", "Sync it");
}

#[tokio::test]
async fn paid_after_the_end() {
    let app = forgetful().await;
    let purchase = app.sell("membership-monthly", FAILING_LATER_CARD).await;
    app.advance(MONTH).await;
    let id = app.at_stripes(&purchase.subscription).await;
    let path = format!("/v1/invoices?subscription={id}&status=open");
    let open = text(&app.sandbox.stripe(&path).await["data"][0]["id"]);
    let path = format!("/v1/subscriptions/{id}");
    app.at_stripe(Method::DELETE, &path, &[]).await;
    app.advance(2 * DAY).await;
    let path = format!("/_sandbox/invoices/{open}/pay");
    app.sandbox.post(&path, json!({"card": GOOD_CARD})).await;
    app.settle().await;
    let story = story_of(&app, &purchase.subscription).await;
    let paid = story.all("Stripe took €3.00 from a card for membership-monthly");
    assert_eq!(paid.len(), 2, "{:#}", story.0);
    assert_says(
        paid[0],
        "advice",
        "It was paid after the end, so it brings nothing back: refund it",
    );
    assert_eq!(paid[1]["advice"], json!(null));
    story.entry("Stripe told us about an invoice, and a person should look");
    let rows = from_rows(&app, &purchase.subscription).await;
    let late = rows.all("A payment for membership-monthly came")[0];
    assert_says(late, "advice", "It was paid after the end");
}
