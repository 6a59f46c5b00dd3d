//! Members who switch plans in the portal.

use serde_json::{Value, json};

use crate::bench::{Bench, text};

const GOOD: &str = "4242424242424242";

/// A catalogue with two plans in a portal, and a member of the first.
struct Shop {
    bench: Bench,
    configuration: String,
    basic: String,
    annual: String,
    subscription: String,
    customer: String,
}

async fn product_of(bench: &Bench, price: &str) -> String {
    text(&bench.get(&format!("/v1/prices/{price}")).await.ok()["product"])
}

async fn features(bench: &Bench, updates: &str, behavior: &str) -> String {
    let (basic, annual) = (bench.price("monthly").await, bench.price("annual").await);
    let (basics, annuals) = (
        product_of(bench, &basic).await,
        product_of(bench, &annual).await,
    );
    let place = "features[subscription_update]";
    format!(
        "{place}[enabled]=true&{place}[proration_behavior]={behavior}{updates}\
         &{place}[products][0][product]={basics}&{place}[products][0][prices][]={basic}\
         &{place}[products][0][adjustable_quantity][enabled]=true&{place}[products][0][adjustable_quantity][maximum]=5\
         &{place}[products][1][product]={annuals}&{place}[products][1][prices][]={annual}"
    )
}

const BOTH: &str = "&features[subscription_update][default_allowed_updates][]=price\
                    &features[subscription_update][default_allowed_updates][]=quantity";

impl Shop {
    async fn open(card: &str) -> Self {
        let bench = Bench::start().await;
        let form = features(&bench, BOTH, "always_invoice").await;
        let configuration = bench
            .post("/v1/billing_portal/configurations", &form)
            .await
            .ok();
        let update = &configuration["features"]["subscription_update"];
        assert_eq!(
            update["products"][0]["adjustable_quantity"],
            json!({"enabled": true, "maximum": 5, "minimum": 1})
        );
        let customer = bench.customer().await;
        let session = bench
            .session("subscription", "monthly", &format!("&customer={customer}"))
            .await;
        let path = format!("checkout/{}/pay", text(&session["id"]));
        let body = json!({"card": card, "authenticate": true});
        bench.control(&path, body).await;
        let done = bench
            .get(&format!("/v1/checkout/sessions/{}", text(&session["id"])))
            .await
            .ok();
        Self {
            configuration: text(&configuration["id"]),
            basic: bench.price("monthly").await,
            annual: bench.price("annual").await,
            subscription: text(&done["subscription"]),
            customer,
            bench,
        }
    }

    async fn portal(&self, more: &str) -> String {
        let form = format!(
            "customer={}&configuration={}&return_url=https://app.test/account{more}",
            self.customer, self.configuration
        );
        let session = self
            .bench
            .post("/v1/billing_portal/sessions", &form)
            .await
            .ok();
        text(&session["url"])
    }

    async fn read(&self, url: &str) -> String {
        let response = self.bench.http.get(url).send().await.unwrap();
        response.text().await.unwrap()
    }

    /// Sends a form; returns status, where it leads, and the page.
    async fn submit(&self, url: &str, form: &str) -> (u16, String, String) {
        let request = self
            .bench
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("subscription={}&{form}", self.subscription));
        let response = request.send().await.unwrap();
        let location = response.headers().get("location");
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            location.unwrap_or_default(),
            response.text().await.unwrap(),
        )
    }

    async fn now(&self) -> Value {
        let path = format!(
            "/v1/subscriptions/{}?expand[]=latest_invoice",
            self.subscription
        );
        self.bench.get(&path).await.ok()
    }

    /// The moment that the page of confirmation reckons from.
    fn date(html: &str) -> &str {
        let (_, rest) = html.split_once("name=\"proration_date\" value=\"").unwrap();
        rest.split_once('"').unwrap().0
    }
}

#[tokio::test]
async fn a_member_switches_plans_and_pays_what_the_page_told() {
    let shop = Shop::open(GOOD).await;
    let url = shop.portal("").await;
    let html = shop.read(&url).await;
    for wanted in [
        "Change plan",
        "Annual membership: 30.00 EUR every year",
        "Monthly membership: 5.00 EUR every month",
        "name=\"quantity\"",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    let before = shop.now().await;
    let form = format!("action=plan&price={}&quantity=1", shop.annual);
    let (status, _, html) = shop.submit(&url, &form).await;
    assert_eq!(status, 200);
    assert!(html.contains("Confirm your change") && html.contains("Due now"));
    assert_eq!(shop.now().await, before, "nothing has happened yet");
    let form = format!(
        "action=confirm&price={}&quantity=1&proration_date={}",
        shop.annual,
        Shop::date(&html)
    );
    let (status, location, _) = shop.submit(&url, &form).await;
    assert_eq!(status, 303);
    assert!(url.ends_with(&location));
    let after = shop.now().await;
    assert_eq!(after["items"]["data"][0]["price"]["id"], json!(shop.annual));
    let paid = after["latest_invoice"]["amount_paid"].as_i64().unwrap();
    assert!(html.contains(&format!("{}.{:02} EUR", paid / 100, paid % 100)));
    assert_eq!(after["latest_invoice"]["status"], "paid");
}

#[tokio::test]
async fn a_quantity_stays_within_its_bounds() {
    let shop = Shop::open(GOOD).await;
    let url = shop.portal("").await;
    for (price, quantity, text) in [
        (&shop.basic, "6", "This quantity is not offered."),
        (&shop.basic, "0", "This quantity is not offered."),
        (&shop.basic, "many", "must be a whole number"),
    ] {
        let form = format!("action=confirm&price={price}&quantity={quantity}");
        let (status, _, html) = shop.submit(&url, &form).await;
        assert_eq!(status, 400);
        assert!(html.contains(text), "{quantity}");
    }
    let share = shop.bench.price("share").await;
    let (status, _, html) = shop
        .submit(&url, &format!("action=confirm&price={share}"))
        .await;
    assert!(status == 400 && html.contains("not offered"));
    assert_eq!(shop.now().await["items"]["data"][0]["quantity"], 1);
    let form = format!("action=confirm&price={}&quantity=5", shop.basic);
    assert_eq!(shop.submit(&url, &form).await.0, 303);
    assert_eq!(shop.now().await["items"]["data"][0]["quantity"], 5);
}

#[tokio::test]
async fn a_card_that_fails_leaves_the_plan_and_authentication_is_offered() {
    let shop = Shop::open("4000000000000341").await;
    let url = shop.portal("").await;
    let before = shop.now().await;
    let form = format!("action=confirm&price={}", shop.annual);
    let (status, _, html) = shop.submit(&url, &form).await;
    assert_eq!(status, 402);
    assert!(html.contains("has not changed") && html.contains("Your card was declined."));
    assert_eq!(shop.now().await, before);

    let shop = Shop::open("4000002760003184").await;
    let url = shop.portal("").await;
    let form = format!("action=confirm&price={}", shop.annual);
    let (_, _, html) = shop.submit(&url, &form).await;
    assert!(html.contains("Authenticate your payment") && html.contains(&shop.annual));
    let (status, ..) = shop
        .submit(&url, &format!("{form}&authenticate=false"))
        .await;
    assert_eq!(status, 402);
    let (status, ..) = shop
        .submit(&url, &format!("{form}&authenticate=true"))
        .await;
    assert_eq!(status, 303);
    assert_eq!(shop.now().await["latest_invoice"]["status"], "paid");
}

#[tokio::test]
async fn a_link_leads_straight_to_one_change() {
    let shop = Shop::open(GOOD).await;
    let item = text(&shop.now().await["items"]["data"][0]["id"]);
    let place = "flow_data[subscription_update_confirm]";
    let more = format!(
        "&flow_data[type]=subscription_update_confirm&{place}[subscription]={}&{place}[items][0][id]={item}\
         &{place}[items][0][price]={}&{place}[items][0][quantity]=1&flow_data[after_completion][type]=hosted_confirmation\
         &flow_data[after_completion][hosted_confirmation][custom_message]=Thank+you",
        shop.subscription, shop.annual
    );
    let url = shop.portal(&more).await;
    let html = shop.read(&url).await;
    assert!(html.contains("Confirm your change") && html.contains("Annual membership"));
    let form = format!("action=confirm&price={}&quantity=1", shop.annual);
    let (status, _, html) = shop.submit(&url, &form).await;
    assert_eq!(status, 200);
    assert!(html.contains("Thank you") && html.contains("https://app.test/account"));
    assert!(
        shop.read(&url).await.contains("Your subscriptions"),
        "the flow is over"
    );
    let more = format!(
        "&flow_data[type]=subscription_update&flow_data[subscription_update][subscription]={}",
        shop.subscription
    );
    let html = shop.read(&shop.portal(&more).await).await;
    assert!(html.contains("Change plan") && !html.contains("Payment method"));
}

#[tokio::test]
async fn configurations_and_flows_are_checked() {
    let bench = Bench::unrecorded().await;
    let path = "/v1/billing_portal/configurations";
    let place = "features[subscription_update]";
    let whole = features(&bench, BOTH, "none").await;
    let share = bench.price("share").await;
    let (products, updates) = (
        format!("{place}[products]"),
        format!("{place}[default_allowed_updates]"),
    );
    for (form, code, param) in [
        (
            features(&bench, "", "none").await,
            "parameter_missing",
            updates.clone(),
        ),
        (
            format!("{place}[enabled]=true&{updates}[]=price"),
            "parameter_missing",
            products.clone(),
        ),
        (
            format!("{whole}&{updates}[]=promotion_code"),
            "",
            format!("{updates}=promotion_code"),
        ),
        (
            format!("{whole}&{products}[1][prices][]={share}"),
            "",
            format!("{products}[1][prices][1]"),
        ),
        (
            format!(
                "{whole}&{place}[schedule_at_period_end][conditions][0][type]=shortening_interval"
            ),
            "",
            format!("{place}[schedule_at_period_end]"),
        ),
        (
            format!("{whole}&{place}[billing_cycle_anchor]=now"),
            "",
            format!("{place}[billing_cycle_anchor]=now"),
        ),
    ] {
        let refused = bench.post(path, &form).await;
        assert_eq!(refused.error(), (400, code, param.as_str()), "{form}");
    }
    let (id, customer) = bench.subscribe("monthly", GOOD).await;
    let form = format!(
        "customer={customer}&flow_data[type]=subscription_update&flow_data[subscription_update][subscription]={id}"
    );
    let refused = bench.post("/v1/billing_portal/sessions", &form).await;
    assert_eq!(
        refused.error(),
        (400, "", "flow_data[type]"),
        "the default configuration does not let members update"
    );
    let created = bench.post(path, &whole).await.ok();
    let off = bench
        .post(
            &format!("{path}/{}", text(&created["id"])),
            &format!("{place}[enabled]=false"),
        )
        .await
        .ok();
    assert_eq!(off["features"]["subscription_update"]["enabled"], false);
    let unknown = form.replace(&id, "sub_none") + "&configuration=" + &text(&created["id"]);
    let refused = bench.post("/v1/billing_portal/sessions", &unknown).await;
    assert_eq!(refused.error().2, "flow_data[type]");
}
