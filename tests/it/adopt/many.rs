//! More than a page: subscriptions of an account, and payments of one subscription.

use reqwest::Method;

use super::old::{CARD, OLD, adopt, service};
use crate::harness::TestApp;
use crate::harness::lifecycle::DAY;

const CATALOGUE: &str = "[[product]]\nname = \"A day\"\n[[product.price]]\nlookup_key = \"daily\"\ncurrency = \"eur\"\n\
                         unit_amount = 100\ninterval = \"day\"\n";
const PLANS: &str = "[[plan]]\ncode = \"daily\"\nkind = \"membership\"\nprice = \"daily\"\n";

#[tokio::test]
async fn all_pages_of_stripe_s_list_are_walked() {
    let app = service().await;
    let price = app.price("membership_monthly").await;
    let customer = app.old_customer("alice", "EUR").await;
    let form = [
        ("customer", customer.as_str()),
        ("items[0][price]", &price),
        ("collection_method", "send_invoice"),
        ("days_until_due", "30"),
    ];
    for _ in 0..101 {
        app.at_stripe(Method::POST, "/v1/subscriptions", &form)
            .await;
    }
    let planned = adopt(&app, &OLD, &[]).await;
    assert_eq!(planned["listed"], 101);
    assert_eq!(planned["buckets"]["no_id"], 101);
    let planned = adopt(&app, &OLD[..3], &[]).await;
    assert_eq!(planned["buckets"]["adopted"], 1, "one is hers");
    assert_eq!(planned["buckets"]["held_already"], 100);
}

#[tokio::test]
async fn all_payments_are_read_in_from_the_first() {
    let app = TestApp::with().selling(CATALOGUE, PLANS).start().await;
    app.first_walk_is_over().await;
    let old = app.old_sale("alice", "daily", 1, CARD).await;
    let first = app.clock.now();
    app.move_clocks(102 * DAY).await;
    app.deliveries_settle().await;
    adopt(&app, &OLD, &["--apply"]).await;
    app.settle().await;
    let (id, standing) = app.standing(&old.stripe).await;
    assert_eq!(standing, "ACTIVE paid");
    let payments = app.money(&id).await.len();
    assert!(payments > 100, "{payments}");
    let since = sqlx::query_scalar("SELECT first_paid_at FROM subscriptions");
    let since: time::OffsetDateTime = since.fetch_one(&app.pool).await.expect("a row");
    assert!(
        (since - first).abs() < time::Duration::minutes(1),
        "{since}"
    );
}
