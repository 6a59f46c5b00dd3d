//! Automatic tax, from the session to the renewals.

use serde_json::{Value, json};

use crate::bench::{Bench, assert_has, text};

/// Makes a price and returns its id.
pub(crate) async fn price(bench: &Bench, amount: i64, more: &str) -> String {
    let form = format!("currency=eur&unit_amount={amount}&product_data[name]=Thing{more}");
    text(&bench.post("/v1/prices", &form).await.ok()["id"])
}

async fn exempt(bench: &Bench, amount: i64) -> String {
    let form = "name=Share in the cooperative&tax_code=txcd_00000000";
    let product = text(&bench.post("/v1/products", form).await.ok()["id"]);
    let form =
        format!("currency=eur&unit_amount={amount}&product={product}&tax_behavior=exclusive");
    text(&bench.post("/v1/prices", &form).await.ok()["id"])
}

async fn open(bench: &Bench, mode: &str, prices: &[&str], extra: &str) -> Value {
    let lines: Vec<String> = prices
        .iter()
        .enumerate()
        .map(|(at, id)| format!("&line_items[{at}][price]={id}&line_items[{at}][quantity]=1"))
        .collect();
    let form = format!(
        "mode={mode}&success_url=https://x.test/ok&automatic_tax[enabled]=true{}{extra}",
        lines.concat()
    );
    bench.post("/v1/checkout/sessions", &form).await.ok()
}

async fn pay(bench: &Bench, session: &Value, with: Value) -> Value {
    let path = format!("checkout/{}/pay", text(&session["id"]));
    bench.control(&path, with).await;
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=line_items.data.taxes&expand[]=total_details.breakdown&expand[]=invoice\
         &expand[]=subscription&expand[]=payment_intent",
        text(&session["id"])
    );
    bench.get(&path).await.ok()
}

const MONTHLY: &str = "&recurring[interval]=month&tax_behavior=";

#[tokio::test]
async fn a_taxed_basket_adds_up_everywhere_and_so_do_its_renewals() {
    let bench = Bench::start().await;
    let membership = price(&bench, 1_003, &format!("{MONTHLY}exclusive")).await;
    let book = price(&bench, 1_000, "&tax_behavior=inclusive").await;
    let share = exempt(&bench, 5_000).await;
    let session = open(&bench, "subscription", &[&membership, &book, &share], "").await;
    assert_eq!(
        session["automatic_tax"],
        json!({"enabled": true, "liability": {"type": "self"}, "provider": "stripe", "status": "requires_location_inputs"})
    );
    assert_eq!(
        (
            &session["amount_total"],
            &session["total_details"]["amount_tax"]
        ),
        (&json!(7_003), &json!(0)),
        "no tax before there is a place"
    );
    let done = pay(&bench, &session, json!({"card": "4242424242424242"})).await;
    assert_eq!(done["automatic_tax"]["status"], "complete");
    assert_eq!(
        (&done["amount_subtotal"], &done["amount_total"]),
        (&json!(7_003), &json!(7_204))
    );
    assert_eq!(done["total_details"]["amount_tax"], 201 + 167);
    let lines = &done["line_items"]["data"];
    let of_line = |at: usize| {
        let line: &Value = &lines[at];
        (
            line["amount_tax"].clone(),
            line["amount_total"].clone(),
            line["taxes"][0]["taxability_reason"].clone(),
        )
    };
    assert_eq!(
        of_line(0),
        (json!(201), json!(1_204), json!("standard_rated"))
    );
    assert_eq!(
        of_line(1),
        (json!(167), json!(1_000), json!("standard_rated"))
    );
    assert_eq!(
        of_line(2),
        (json!(0), json!(5_000), json!("product_exempt"))
    );
    let rate = &lines[0]["taxes"][0]["rate"];
    assert_eq!(
        (&rate["percentage"], &rate["country"], &rate["inclusive"]),
        (&json!(20), &json!("AT"), &json!(false))
    );
    let breakdown = done["total_details"]["breakdown"]["taxes"]
        .as_array()
        .unwrap();
    assert_eq!(breakdown.len(), 3);
    assert_eq!(breakdown[1]["taxable_amount"], 833);

    let invoice = &done["invoice"];
    let sums = [
        "subtotal",
        "subtotal_excluding_tax",
        "total",
        "total_excluding_tax",
        "amount_due",
        "amount_paid",
    ];
    let wanted = [7_003, 6_836, 7_204, 6_836, 7_204, 7_204];
    for (key, amount) in sums.into_iter().zip(wanted) {
        assert_eq!(invoice[key], amount, "{key}");
    }
    assert_eq!(invoice["automatic_tax"]["status"], "complete");
    let tax = &invoice["lines"]["data"][0]["taxes"][0];
    assert_eq!(
        tax,
        &json!({"amount": 201, "tax_behavior": "exclusive", "tax_rate_details": {"tax_rate": rate["id"]},
            "taxability_reason": "standard_rated", "taxable_amount": 1_003, "type": "tax_rate_details"})
    );
    assert_eq!(invoice["total_taxes"].as_array().unwrap().len(), 3);
    let charge = bench.look("objects/charge").await;
    assert_eq!(charge[0]["amount"], 7_204);
    assert_eq!(done["subscription"]["automatic_tax"]["enabled"], true);
    let customer = bench.look("objects/customer").await;
    assert_eq!(customer[0]["address"]["country"], "AT");

    let start = bench.events().await.len();
    bench.advance_days(32).await;
    let upcoming = bench.events().await[start..].to_vec();
    let upcoming = upcoming
        .iter()
        .find(|event| event["type"] == "invoice.upcoming");
    assert_eq!(upcoming.unwrap()["data"]["object"]["total"], 1_204);
    let renewal = &bench.look("objects/invoice").await[1];
    assert_eq!(
        (
            &renewal["total"],
            &renewal["amount_paid"],
            &renewal["total_taxes"][0]["amount"]
        ),
        (&json!(1_204), &json!(1_204), &json!(201))
    );
}

#[tokio::test]
async fn the_tax_is_that_of_where_the_buyer_is() {
    let bench = Bench::start().await;
    bench
        .control("settings", json!({"tax_percent": {"FI": 25.5}}))
        .await;
    let book = price(&bench, 1_000, "&tax_behavior=exclusive").await;
    for (country, total, reason) in [
        ("DE", 1_190, "standard_rated"),
        ("FI", 1_255, "standard_rated"),
        ("US", 1_000, "not_collecting"),
        ("JP", 1_000, "not_collecting"),
    ] {
        let session = open(
            &bench,
            "payment",
            &[&book],
            "&invoice_creation[enabled]=true",
        )
        .await;
        let done = pay(&bench, &session, json!({"country": country})).await;
        assert_eq!(done["amount_total"], total, "{country}");
        assert_eq!(done["payment_intent"]["amount_received"], total);
        assert_eq!(done["customer_details"]["address"]["country"], country);
        assert_eq!(done["invoice"]["total"], total);
        let tax = &done["line_items"]["data"][0]["taxes"][0];
        assert_eq!(tax["taxability_reason"], reason, "{country}");
    }
    let refused = bench
        .control_answer("settings", json!({"tax_percent": {"FI": 120}}))
        .await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_known_customer_needs_an_address_or_leave_to_save_one() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let monthly = price(&bench, 1_000, &format!("{MONTHLY}exclusive")).await;
    let vague = price(&bench, 1_000, "").await;
    let form = |mode: &str, price: &str, more: &str| {
        format!(
            "mode={mode}&success_url=https://x.test/ok&automatic_tax[enabled]=true&line_items[0][price]={price}\
             &line_items[0][quantity]=1{more}"
        )
    };
    let named = format!("&customer={customer}");
    let refused = bench
        .post(
            "/v1/checkout/sessions",
            &form("subscription", &monthly, &named),
        )
        .await;
    assert_eq!(refused.error(), (400, "customer_tax_location_invalid", ""));
    let refused = bench
        .post("/v1/checkout/sessions", &form("payment", &vague, ""))
        .await;
    assert_eq!(refused.error(), (400, "", ""));
    assert!(text(&refused.body["error"]["message"]).contains("tax_behavior"));

    let leave = format!("{named}&customer_update[address]=auto");
    let session = open(&bench, "subscription", &[&monthly], &leave).await;
    let start = bench.events().await.len();
    let done = pay(&bench, &session, json!({"country": "DE"})).await;
    assert_eq!(done["amount_total"], 1_190);
    assert_has(&bench.types_since(start).await, &["customer.updated"]);
    let path = format!("/v1/customers/{customer}");
    assert_eq!(bench.get(&path).await.ok()["address"]["country"], "DE");

    // The address is there now: the tax goes by it, and is known from the start.
    let session = open(&bench, "subscription", &[&monthly], &named).await;
    assert_eq!(
        (
            &session["amount_total"],
            &session["automatic_tax"]["status"]
        ),
        (&json!(1_190), &json!("complete"))
    );
    let done = pay(&bench, &session, json!({"country": "AT"})).await;
    assert_eq!(
        done["amount_total"], 1_190,
        "the session may not move its customer"
    );
}

#[tokio::test]
async fn a_customer_who_moves_is_taxed_there_and_one_who_is_lost_is_not_billed() {
    let bench = Bench::start().await;
    let monthly = price(&bench, 1_000, &format!("{MONTHLY}exclusive")).await;
    let session = open(&bench, "subscription", &[&monthly], "").await;
    let done = pay(&bench, &session, json!({})).await;
    let path = format!("/v1/customers/{}", text(&done["customer"]));
    bench.post(&path, "address[country]=DE").await.ok();
    bench.advance_days(32).await;
    assert_eq!(bench.look("objects/invoice").await[1]["total"], 1_190);
    bench.post(&path, "address=").await.ok();
    let start = bench.events().await.len();
    bench.advance_days(32).await;
    assert_has(
        &bench.types_since(start).await,
        &["invoice.finalization_failed"],
    );
    let lost = bench.look("objects/invoice").await[2].clone();
    assert_eq!(
        (
            &lost["status"],
            &lost["automatic_tax"]["status"],
            &lost["last_finalization_error"]["code"]
        ),
        (
            &json!("draft"),
            &json!("requires_location_inputs"),
            &json!("customer_tax_location_invalid")
        )
    );
    let finalize = format!("/v1/invoices/{}/finalize", text(&lost["id"]));
    assert_eq!(
        bench.post(&finalize, "").await.error(),
        (400, "customer_tax_location_invalid", "")
    );
    bench.post(&path, "address[country]=AT").await.ok();
    let open = bench.post(&finalize, "").await.ok();
    assert_eq!(
        (&open["status"], &open["total"]),
        (&json!("open"), &json!(1_200))
    );
}

#[tokio::test]
async fn the_page_shows_the_tax_of_the_chosen_country() {
    let bench = Bench::start().await;
    let book = price(&bench, 1_000, "&tax_behavior=exclusive").await;
    let session = open(&bench, "payment", &[&book], "").await;
    let url = text(&session["url"]);
    let html = bench
        .http
        .get(&url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        html.contains("VAT 20 %") && html.contains("12.00 EUR"),
        "{html}"
    );
    let request = bench
        .http
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("country=DE&update=1");
    let html = request.send().await.unwrap().text().await.unwrap();
    assert!(html.contains("VAT 19 %") && html.contains("11.90 EUR"));
    assert!(html.contains("<option value=\"DE\" selected>"));
    let path = format!("/v1/checkout/sessions/{}", text(&session["id"]));
    assert_eq!(bench.get(&path).await.ok()["amount_total"], 1_190);
}

#[tokio::test]
async fn a_change_of_plan_is_taxed_as_its_preview_says() {
    let bench = Bench::start().await;
    let small = price(&bench, 1_000, &format!("{MONTHLY}exclusive")).await;
    let large = price(&bench, 3_000, &format!("{MONTHLY}exclusive")).await;
    let vague = price(&bench, 3_000, "&recurring[interval]=month").await;
    let session = open(&bench, "subscription", &[&small], "").await;
    let done = pay(&bench, &session, json!({})).await;
    let id = text(&done["subscription"]["id"]);
    let item = text(&done["subscription"]["items"]["data"][0]["id"]);
    bench.advance_days(10).await;
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    let change = |price: &str| {
        format!("items[0][id]={item}&items[0][price]={price}&proration_behavior=always_invoice")
    };
    let path = format!("/v1/subscriptions/{id}");
    let refused = bench.post(&path, &change(&vague)).await;
    assert_eq!(refused.error(), (400, "", "items[0][price]"));
    let details = "subscription_details";
    let form = format!(
        "subscription={id}&{details}[items][0][id]={item}&{details}[items][0][price]={large}\
         &{details}[proration_behavior]=always_invoice&{details}[proration_date]={now}"
    );
    let preview = bench.post("/v1/invoices/create_preview", &form).await.ok();
    let form = format!("{}&proration_date={now}", change(&large));
    bench.post(&path, &form).await.ok();
    let invoices = bench.look("objects/invoice").await;
    let billed = &invoices[1];
    for key in ["subtotal", "total", "total_excluding_tax", "amount_due"] {
        assert_eq!(preview[key], billed[key], "{key}");
    }
    let (subtotal, total) = (
        billed["subtotal"].as_i64().unwrap(),
        billed["total"].as_i64().unwrap(),
    );
    assert!((subtotal * 12 / 10 - total).abs() <= 1 && total > 1_000);
    assert_eq!(billed["amount_paid"], billed["total"]);
    let credit = &billed["lines"]["data"][0];
    assert!(
        credit["taxes"][0]["amount"].as_i64().unwrap() < 0,
        "the tax goes back too"
    );
}
