//! Lists, cursors, filters, expansion.

use serde_json::{Value, json};

use crate::bench::{Bench, text};

fn names(list: &Value) -> Vec<String> {
    list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| text(&row["name"]))
        .collect()
}

async fn five_customers() -> Bench {
    let bench = Bench::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        bench
            .post("/v1/customers", &format!("name={name}"))
            .await
            .ok();
    }
    bench
}

#[tokio::test]
async fn cursors_walk_both_ways() {
    let bench = five_customers().await;
    let first = bench.get("/v1/customers?limit=2").await.ok();
    assert_eq!(
        (names(&first), &first["has_more"]),
        (vec!["e".into(), "d".into()], &json!(true))
    );
    let cursor = text(&first["data"][1]["id"]);
    let second = bench
        .get(&format!("/v1/customers?limit=2&starting_after={cursor}"))
        .await
        .ok();
    assert_eq!(names(&second), ["c", "b"]);
    let last = text(&second["data"][1]["id"]);
    let back = bench
        .get(&format!("/v1/customers?limit=2&ending_before={last}"))
        .await
        .ok();
    assert_eq!(
        (names(&back), &back["has_more"]),
        (vec!["d".into(), "c".into()], &json!(true))
    );
    let end = bench
        .get(&format!("/v1/customers?limit=10&starting_after={last}"))
        .await
        .ok();
    assert_eq!(
        (names(&end), &end["has_more"]),
        (vec!["a".into()], &json!(false))
    );
    assert_eq!(end["url"], "/v1/customers");
}

#[tokio::test]
async fn wrong_limits_and_cursors_are_refused() {
    let bench = Bench::unrecorded().await;
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("starting_after=cus_none", "starting_after"),
        ("colour=red", "colour"),
        ("expand[]=total_count", "expand"),
        ("expand[]=data.name", "expand"),
        ("starting_after=a&ending_before=b", "ending_before"),
    ] {
        let answer = bench.get(&format!("/v1/customers?{query}")).await;
        let (status, _, given) = answer.error();
        assert_eq!((status, given), (400, param), "{query}");
    }
    let refused = bench
        .get("/v1/invoice_payments?payment[payment_intent]=pi_1")
        .await;
    assert_eq!(refused.error(), (400, "parameter_missing", "payment[type]"));
}

#[tokio::test]
async fn events_are_filtered_by_type_time_and_delivery() {
    let (bench, hook) = Bench::with_hook().await;
    hook.answer(&[500]);
    bench
        .control("settings", json!({"webhook_retry_ms": []}))
        .await;
    bench.customer().await;
    bench.control("deliveries/settle", json!({})).await;
    bench.advance_days(1).await;
    let (_, customer) = bench.subscribe("annual", "4242424242424242").await;
    bench
        .delete(&format!("/v1/customers/{customer}"))
        .await
        .ok();
    bench.control("deliveries/settle", json!({})).await;
    let count = async |query: &str| {
        let list = bench
            .get(&format!("/v1/events?limit=100&{query}"))
            .await
            .ok();
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(count("type=customer.created").await, 2);
    assert_eq!(count("type=invoice.*").await, 4);
    assert_eq!(
        count("types[]=customer.deleted&types[]=invoice.paid").await,
        2
    );
    assert_eq!(count("delivery_success=false").await, 1);
    assert_eq!(
        count("delivery_success=true&type=customer.created").await,
        1
    );
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    assert_eq!(count(&format!("created[lt]={}", now - 3_600)).await, 1);
    assert_eq!(
        count(&format!(
            "created[gte]={}&type=customer.created",
            now - 3_600
        ))
        .await,
        1
    );
    bench.advance_days(31).await;
    assert_eq!(
        count("type=customer.created").await,
        0,
        "events are kept for 30 days"
    );
}

#[tokio::test]
async fn expansion_goes_four_levels_deep_and_through_lists() {
    let bench = Bench::start().await;
    let (id, _) = bench.subscribe("annual", "4242424242424242").await;
    let path = "/v1/subscriptions?expand[]=data.customer&expand[]=data.latest_invoice.payments&expand[]=data.default_payment_method";
    let list = bench.get(path).await.ok();
    let found = &list["data"][0];
    assert_eq!(found["id"], json!(id));
    assert_eq!(found["customer"]["email"], "member@example.com");
    assert_eq!(
        found["latest_invoice"]["payments"]["data"][0]["status"],
        "paid"
    );
    assert_eq!(found["default_payment_method"]["card"]["last4"], "4242");
    let invoice = text(&found["latest_invoice"]["id"]);
    let path = format!("/v1/invoices/{invoice}?expand[]=payments.data.payment.payment_intent");
    let deep = bench.get(&path).await.ok();
    assert_eq!(
        deep["payments"]["data"][0]["payment"]["payment_intent"]["status"],
        "succeeded"
    );
    let prices = bench
        .get("/v1/prices?lookup_keys[]=annual&expand[]=data.currency_options&expand[]=data.product")
        .await
        .ok();
    assert_eq!(
        prices["data"][0]["currency_options"]["usd"]["unit_amount"],
        3_300
    );
    assert_eq!(prices["data"][0]["product"]["name"], "Annual membership");
    let plain = bench.get("/v1/prices?lookup_keys[]=annual").await.ok();
    assert!(plain["data"][0].get("currency_options").is_none());
}

#[tokio::test]
async fn sessions_are_found_by_what_they_led_to() {
    let bench = Bench::start().await;
    let (subscription, customer) = bench.subscribe("annual", "4242424242424242").await;
    bench.session("payment", "share", "").await;
    for query in [
        format!("subscription={subscription}"),
        format!("customer={customer}"),
        "status=complete".to_owned(),
    ] {
        let found = bench
            .get(&format!("/v1/checkout/sessions?{query}"))
            .await
            .ok();
        assert_eq!(found["data"].as_array().unwrap().len(), 1, "{query}");
    }
    let session = text(
        &bench
            .get("/v1/checkout/sessions?status=complete")
            .await
            .ok()["data"][0]["id"],
    );
    let lines = bench
        .get(&format!("/v1/checkout/sessions/{session}/line_items"))
        .await
        .ok();
    assert_eq!(lines["data"][0]["price"]["lookup_key"], "annual");
}

#[tokio::test]
async fn an_invoice_shows_ten_lines_and_pages_the_rest() {
    let bench = Bench::start().await;
    let mut more = String::new();
    for at in 1..=12 {
        let line = format!("line_items[{at}]");
        let data = format!("{line}[price_data]");
        more += &[
            format!("&{line}[quantity]=1&{data}[currency]=eur&{data}[unit_amount]={at}00"),
            format!("&{data}[product_data][name]=Thing+{at}"),
        ]
        .concat();
    }
    let session = bench.session("subscription", "annual", &more).await;
    bench.pay(&session, "4242424242424242").await.ok();
    let invoice = bench.get("/v1/invoices").await.ok()["data"][0].clone();
    let lines = &invoice["lines"];
    assert_eq!(
        (&lines["has_more"], lines["data"].as_array().unwrap().len()),
        (&json!(true), 10)
    );
    assert_eq!(invoice["total"], 3_000 + 7_800);
    let url = text(&lines["url"]);
    let last = text(&lines["data"][9]["id"]);
    let rest = bench
        .get(&format!("{url}?starting_after={last}"))
        .await
        .ok();
    assert_eq!(
        (&rest["has_more"], rest["data"].as_array().unwrap().len()),
        (&json!(false), 3)
    );
    assert_eq!(rest["data"][2]["description"], "Thing 12");
    let all = bench.get(&format!("{url}?limit=100")).await.ok();
    assert_eq!(all["data"].as_array().unwrap().len(), 13);
    let thirteenth = text(&all["data"][12]["id"]);
    let form = format!(
        "invoice={}&lines[0][type]=invoice_line_item&lines[0][invoice_line_item]={thirteenth}&lines[0][quantity]=1&refund_amount=1200",
        text(&invoice["id"])
    );
    let note = bench.post("/v1/credit_notes", &form).await.ok();
    assert_eq!(note["total"], 1_200);
}
