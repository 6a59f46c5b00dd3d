//! Tax, discounts, credit and changes of plan: an entry's lines sum to what was paid all the same.

use reqwest::Method;
use serde_json::{Value, json};

use super::{list, shorts, totals};
use crate::harness::TestApp;
use crate::harness::lifecycle::{DAY, HOUR, MONTH, text};
use crate::harness::own_affairs::plans;
use crate::harness::purchase::{GOOD_CARD, Purchase};

const CATALOGUE: &str = r#"
[[product]]
name = "Membership"
price = [{ lookup_key = "member", currency = "eur", unit_amount = 1000, interval = "month", tax_behavior = "exclusive" }]
[[product]]
name = "Share"
tax_code = "txcd_00000000"
price = [{ lookup_key = "share", currency = "eur", unit_amount = 2500, tax_behavior = "inclusive" }]
[[product]]
name = "Ticket"
price = [{ lookup_key = "ticket", currency = "eur", unit_amount = 1200, tax_behavior = "inclusive" }]
"#;
const PLANS: &str = r#"
[[plan]]
code = "member"
kind = "membership"
price = "member"
promotion_codes = true
[[plan]]
code = "share"
kind = "share"
price = "share"
[[plan]]
code = "ticket"
kind = "top_up"
price = "ticket"
promotion_codes = true
"#;

async fn taxing() -> TestApp {
    let app = TestApp::with().selling(CATALOGUE, PLANS);
    let app = app
        .setting("DUES__CHECKOUT__AUTOMATIC_TAX", true)
        .start()
        .await;
    app.stripe_settings(json!({"tax_percent": {"AT": 20}}))
        .await;
    app
}

impl TestApp {
    /// Buys these plans of alice's in one checkout, as somebody from Austria.
    async fn buy_in_austria(&self, plans: &[&str], more: Value) -> Purchase {
        let lines: Vec<Value> = plans.iter().map(|plan| json!({ "plan": plan })).collect();
        let purchase = self
            .open_basket(&self.member("alice"), json!({ "lines": lines }))
            .await;
        let mut payment = json!({"card": GOOD_CARD, "country": "AT", "line1": "Gasse 1", "postal_code": "1010", "city": "Wien"});
        for (key, value) in more.as_object().into_iter().flatten() {
            payment[key] = value.clone();
        }
        let path = format!("/_sandbox/checkout/{}/pay", purchase.session);
        self.sandbox.post(&path, payment).await;
        self.settle().await;
        purchase
    }
}

/// The entries' taxes, in all and by line.
fn taxes(statement: &Value) -> Vec<(i64, Vec<i64>)> {
    let of = |value: &Value| value["tax"].as_i64().expect("a tax");
    let entries = list(&statement["entries"]).iter();
    entries
        .map(|entry| (of(entry), list(&entry["lines"]).iter().map(of).collect()))
        .collect()
}

#[tokio::test]
async fn tax_is_that_of_each_line_whether_it_was_on_top_or_contained() {
    let app = taxing().await;
    let lines = ["member", "share", "ticket"];
    let first = app.buy_in_austria(&lines, json!({})).await;
    app.advance(HOUR).await;
    let second = app.buy_in_austria(&["share", "ticket"], json!({})).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 4900: membership 1200, share 2500, top_up 1200",
            "payment 3700: share 2500, top_up 1200"
        ]
    );
    assert_eq!(
        taxes(&statement),
        [(400, vec![200, 0, 200]), (200, vec![0, 200])]
    );
    let ticket: Option<String> = sqlx::query_scalar(
        "SELECT id::text FROM subscriptions WHERE checkout_id = $1::uuid AND plan = 'ticket'",
    )
    .bind(&second.checkout)
    .fetch_optional(&app.pool)
    .await
    .expect("a query");
    let ticket = ticket.expect("a line");
    app.advance(HOUR).await;
    let named = [
        ("amount", "600"),
        ("metadata[dues_subscription_id]", ticket.as_str()),
    ];
    app.refund(&app.payment_of(&second).await, &named).await;
    app.advance(HOUR).await;
    app.refund(&app.payment_of(&first).await, &[]).await;
    app.advance(MONTH).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement)[2..],
        [
            "refund succeeded -600: top_up -600",
            "refund succeeded -4900: membership -1200, share -2500, top_up -1200",
            "payment 1200: membership 1200",
        ]
    );
    assert_eq!(
        taxes(&statement)[2..],
        [
            (-100, vec![-100]),
            (-400, vec![-200, 0, -200]),
            (200, vec![200])
        ]
    );
    let rows = app.statement_rows().await;
    assert_eq!(
        (rows[0][8].as_str(), rows[0][9].as_str()),
        ("12.00", "2.00")
    );
    let total = |kind: &str| {
        let totals = list(&statement["totals"]).iter();
        totals
            .filter(|total| total["kind"] == kind)
            .map(|total| total["tax"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (total("membership"), total("share"), total("top_up")),
        (vec![json!(200)], vec![json!(0)], vec![json!(100)])
    );
}

#[tokio::test]
async fn a_discount_is_taken_off_the_lines_that_it_is_for() {
    let app = taxing().await;
    let coupon = app
        .at_stripe(
            Method::POST,
            "/v1/coupons",
            &[("percent_off", "10"), ("duration", "once")],
        )
        .await;
    let coupon = text(&coupon["id"]);
    let code = [
        ("promotion[type]", "coupon"),
        ("promotion[coupon]", coupon.as_str()),
        ("code", "TEN"),
    ];
    app.at_stripe(Method::POST, "/v1/promotion_codes", &code)
        .await;
    app.buy_in_austria(&["member", "ticket"], json!({"promotion_code": "TEN"}))
        .await;
    app.advance(HOUR).await;
    app.buy_in_austria(&["ticket"], json!({"promotion_code": "TEN"}))
        .await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 2160: membership 1080, top_up 1080",
            "payment 1080: top_up 1080"
        ]
    );
    assert_eq!(taxes(&statement), [(360, vec![180, 180]), (180, vec![180])]);
}

#[tokio::test]
async fn credit_that_pays_a_part_of_an_invoice_is_a_line() {
    let app = TestApp::start().await;
    let purchase = app.sell("membership-monthly", GOOD_CARD).await;
    let customer = app.customer_of(&purchase).await;
    app.at_stripe(
        Method::POST,
        &format!("/v1/customers/{customer}"),
        &[("balance", "-100")],
    )
    .await;
    app.advance(MONTH).await;
    let statement = app.statement("").await;
    assert_eq!(
        shorts(&statement),
        [
            "payment 300: membership 300",
            "payment 200: membership 300, balance -100"
        ]
    );
    assert_eq!(
        totals(&statement),
        ["membership eur 600-0-0=600", "? eur -100-0-0=-100"]
    );
}

#[tokio::test]
async fn a_change_of_plan_shows_what_was_paid_for_which() {
    let plans = plans();
    let app = plans.sold().start().await;
    let id = app.sell("basic", GOOD_CARD).await.subscription;
    app.advance(10 * DAY).await;
    let held = app.stripe_subscription(&id).await;
    let (item, yearly) = (
        text(&held["items"]["data"][0]["id"]),
        app.price("membership_annual").await,
    );
    app.change_at_stripe(
        &id,
        &[
            ("items[0][id]", item.as_str()),
            ("items[0][price]", &yearly),
            ("proration_behavior", "always_invoice"),
        ],
    )
    .await;
    let statement = app.statement("").await;
    let of_entry = |entry: &Value| -> Vec<String> {
        let lines = list(&entry["lines"]).iter();
        lines
            .map(|line| {
                format!(
                    "{} {}",
                    text(&line["plan"]),
                    line["amount"].as_i64().unwrap_or_default().signum()
                )
            })
            .collect()
    };
    let entries = list(&statement["entries"]);
    assert_eq!(entries.len(), 2, "{statement:#}");
    assert_eq!(of_entry(&entries[0]), ["basic 1"]);
    assert_eq!(of_entry(&entries[1]), ["basic -1", "yearly 1"]);
}
