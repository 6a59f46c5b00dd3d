//! Coupons and promotion codes, from their creation to later invoices.

use serde_json::{Value, json};

use crate::bench::{Bench, assert_has, text};

async fn coupon(bench: &Bench, form: &str) -> String {
    text(&bench.post("/v1/coupons", form).await.ok()["id"])
}

async fn code(bench: &Bench, coupon: &str, code: &str, more: &str) -> Value {
    let form = format!("promotion[type]=coupon&promotion[coupon]={coupon}&code={code}{more}");
    bench.post("/v1/promotion_codes", &form).await.ok()
}

async fn of(bench: &Bench, session: &Value) -> Value {
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=line_items.data.discounts&expand[]=total_details.breakdown&expand[]=invoice\
         &expand[]=subscription&expand[]=payment_intent&expand[]=discounts.promotion_code",
        text(&session["id"])
    );
    bench.get(&path).await.ok()
}

fn pay_path(session: &Value) -> String {
    format!("checkout/{}/pay", text(&session["id"]))
}

/// The totals of all invoices, oldest first.
async fn totals(bench: &Bench) -> Vec<i64> {
    let invoices = bench.look("objects/invoice").await;
    let invoices = invoices.as_array().unwrap();
    invoices
        .iter()
        .map(|row| row["total"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_promotion_code_takes_its_part_off_everything() {
    let bench = Bench::start().await;
    let spring = coupon(&bench, "percent_off=25&duration=once&name=Spring").await;
    let spring_code = code(&bench, &spring, "SPRING-26", "").await;
    let share = bench.price("share").await;
    let more = format!(
        "&allow_promotion_codes=true&line_items[1][price]={share}&line_items[1][quantity]=1"
    );
    let session = bench.session("subscription", "monthly", &more).await;
    let refused = bench
        .control_answer(&pay_path(&session), json!({"promotion_code": "AUTUMN"}))
        .await;
    assert_eq!(refused.error(), (402, "", "promotion_code"));
    bench
        .control(&pay_path(&session), json!({"promotion_code": "spring-26"}))
        .await;
    let done = of(&bench, &session).await;
    assert_eq!(
        (&done["amount_subtotal"], &done["amount_total"]),
        (&json!(5_500), &json!(4_125))
    );
    assert_eq!(done["total_details"]["amount_discount"], 1_375);
    assert_eq!(done["discounts"][0]["coupon"], json!(null));
    assert_eq!(done["discounts"][0]["promotion_code"]["code"], "SPRING-26");
    let line = &done["line_items"]["data"][1];
    for (key, amount) in [
        ("amount_subtotal", 5_000),
        ("amount_discount", 1_250),
        ("amount_total", 3_750),
    ] {
        assert_eq!(line[key], amount, "{key}");
    }
    assert_eq!(line["discounts"][0]["amount"], 1_250);
    let given = &done["total_details"]["breakdown"]["discounts"][0];
    assert_eq!(given["amount"], 1_375);
    assert_eq!(
        given["discount"]["source"],
        json!({"coupon": spring, "type": "coupon"})
    );
    assert_eq!(given["discount"]["promotion_code"], spring_code["id"]);

    let invoice = &done["invoice"];
    for (key, amount) in [
        ("subtotal", 5_500),
        ("total", 4_125),
        ("amount_paid", 4_125),
    ] {
        assert_eq!(invoice[key], amount, "{key}");
    }
    let id = &given["discount"]["id"];
    assert_eq!(
        invoice["total_discount_amounts"],
        json!([{"amount": 1_375, "discount": id}])
    );
    assert_eq!(
        invoice["lines"]["data"][1]["discount_amounts"],
        json!([{"amount": 1_250, "discount": id}])
    );
    let path = format!(
        "/v1/invoices/{}?expand[]=discounts.source.coupon",
        text(&invoice["id"])
    );
    let expanded = bench.get(&path).await.ok();
    assert_eq!(
        expanded["discounts"][0]["source"]["coupon"]["name"],
        "Spring"
    );
    let redeemed = bench.get(&format!("/v1/coupons/{spring}")).await.ok();
    assert_eq!(redeemed["times_redeemed"], 1);

    assert_eq!(
        done["subscription"]["discounts"],
        json!([]),
        "it was for once"
    );
    bench.advance_days(32).await;
    assert_eq!(totals(&bench).await, [4_125, 500]);
}

#[tokio::test]
async fn a_coupon_works_as_long_as_it_says() {
    for (duration, wanted) in [
        ("once", [400, 500, 500, 500]),
        ("repeating&duration_in_months=2", [400, 400, 500, 500]),
        ("forever", [400, 400, 400, 400]),
    ] {
        let bench = Bench::start().await;
        let form = format!("amount_off=100&currency=eur&duration={duration}");
        let id = coupon(&bench, &form).await;
        let more = format!("&discounts[0][coupon]={id}");
        let session = bench.session("subscription", "monthly", &more).await;
        assert_eq!(session["amount_total"], 400);
        assert_eq!(
            session["discounts"],
            json!([{"coupon": id, "promotion_code": null}])
        );
        let start = bench.events().await.len();
        bench.pay(&session, "4242424242424242").await.ok();
        assert_has(
            &bench.types_since(start).await,
            &["customer.discount.created"],
        );
        // Whoever has it keeps it.
        bench.delete(&format!("/v1/coupons/{id}")).await.ok();
        for _ in 0..3 {
            bench.advance_days(31).await;
        }
        assert_eq!(totals(&bench).await, wanted, "{duration}");
    }
}

#[tokio::test]
async fn a_trial_does_not_use_up_what_is_for_once() {
    let bench = Bench::start().await;
    let half = coupon(&bench, "percent_off=50").await;
    let more = format!("&discounts[0][coupon]={half}&subscription_data[trial_period_days]=7");
    let session = bench.session("subscription", "monthly", &more).await;
    bench.pay(&session, "4242424242424242").await.ok();
    bench.advance_days(8).await;
    bench.advance_days(32).await;
    assert_eq!(totals(&bench).await, [0, 250, 500]);
}

#[tokio::test]
async fn a_discount_comes_before_the_tax() {
    let bench = Bench::start().await;
    let net = crate::tax::price(&bench, 1_000, "&tax_behavior=exclusive").await;
    let gross = crate::tax::price(&bench, 1_200, "&tax_behavior=inclusive").await;
    let tenth = coupon(&bench, "percent_off=10").await;
    let form = format!(
        "mode=payment&success_url=https://x.test/ok&automatic_tax[enabled]=true&invoice_creation[enabled]=true\
         &line_items[0][price]={net}&line_items[0][quantity]=1&line_items[1][price]={gross}&line_items[1][quantity]=1\
         &discounts[0][coupon]={tenth}"
    );
    let session = bench.post("/v1/checkout/sessions", &form).await.ok();
    bench.pay(&session, "4242424242424242").await.ok();
    let done = of(&bench, &session).await;
    // 900 and 180 of tax; 1080, which holds 180.
    assert_eq!(
        (&done["amount_total"], &done["total_details"]["amount_tax"]),
        (&json!(2_160), &json!(360))
    );
    let invoice = &done["invoice"];
    for (key, amount) in [
        ("subtotal", 2_200),
        ("subtotal_excluding_tax", 2_000),
        ("total", 2_160),
        ("total_excluding_tax", 1_800),
        ("amount_paid", 2_160),
    ] {
        assert_eq!(invoice[key], amount, "{key}");
    }
    // Half of the first line goes back, with half of its discount and tax.
    let line = text(&invoice["lines"]["data"][0]["id"]);
    let form = format!(
        "invoice={}&lines[0][type]=invoice_line_item&lines[0][invoice_line_item]={line}&lines[0][amount]=500\
         &refund_amount=540",
        text(&invoice["id"])
    );
    let note = bench.post("/v1/credit_notes", &form).await.ok();
    for (key, amount) in [
        ("subtotal", 500),
        ("discount_amount", 50),
        ("total_excluding_tax", 450),
        ("total", 540),
    ] {
        assert_eq!(note[key], amount, "{key}");
    }
    assert_eq!(note["total_taxes"][0]["amount"], 90);
}

#[tokio::test]
async fn an_amount_is_spread_without_losing_a_cent() {
    let bench = Bench::start().await;
    let hundred = coupon(&bench, "amount_off=100&currency=eur").await;
    let mut form =
        format!("mode=payment&success_url=https://x.test/ok&discounts[0][coupon]={hundred}");
    for (at, amount) in [333, 333, 334].iter().enumerate() {
        let line = format!(
            "&line_items[{at}][price_data][currency]=eur&line_items[{at}][price_data][unit_amount]={amount}\
             &line_items[{at}][price_data][product_data][name]=x&line_items[{at}][quantity]=1"
        );
        form.push_str(&line);
    }
    let session = bench.post("/v1/checkout/sessions", &form).await.ok();
    let items = of(&bench, &session).await["line_items"]["data"].clone();
    let off: Vec<i64> = (0..3)
        .map(|at| items[at]["amount_discount"].as_i64().unwrap())
        .collect();
    assert_eq!(off, [33, 33, 34]);
    assert_eq!(session["amount_total"], 900);
}

#[tokio::test]
async fn a_coupon_can_be_for_some_products() {
    let bench = Bench::start().await;
    let share = bench.price("share").await;
    let product = text(&bench.get(&format!("/v1/prices/{share}")).await.ok()["product"]);
    let form = format!("percent_off=50&applies_to[products][0]={product}");
    let half = coupon(&bench, &form).await;
    let more = format!(
        "&discounts[0][coupon]={half}&line_items[1][price]={share}&line_items[1][quantity]=1"
    );
    let session = bench.session("subscription", "monthly", &more).await;
    assert_eq!(session["amount_total"], 3_000);
    let path = format!("/v1/coupons/{half}?expand[]=applies_to");
    let known = bench.get(&path).await.ok();
    assert_eq!(known["applies_to"]["products"], json!([product]));
}

#[tokio::test]
async fn what_costs_nothing_is_not_paid() {
    let bench = Bench::start().await;
    let gift = coupon(&bench, "percent_off=100").await;
    code(&bench, &gift, "GIFT", "").await;
    let more = "&allow_promotion_codes=true&invoice_creation[enabled]=true";
    let session = bench.session("payment", "share", more).await;
    bench.pay(&session, "4000000000000002").await.error();
    let path = pay_path(&session);
    let paid = bench
        .control(&path, json!({"promotion_code": "GIFT"}))
        .await;
    assert_eq!(paid["payment_status"], "no_payment_required");
    let done = of(&bench, &session).await;
    assert_eq!(
        (&done["amount_total"], &done["payment_intent"]),
        (&json!(0), &json!(null))
    );
    assert_eq!(
        (&done["invoice"]["status"], &done["invoice"]["total"]),
        (&json!("paid"), &json!(0))
    );
    let intent = bench.look("objects/payment_intent").await;
    assert_eq!(intent[0]["status"], "canceled", "that of the declined try");
}

#[tokio::test]
async fn codes_end_with_their_time_their_number_and_their_coupon() {
    let bench = Bench::start().await;
    let now = bench.look("clock").await["now"].as_i64().unwrap();
    let tenth = coupon(&bench, "percent_off=10&max_redemptions=2").await;
    let until = format!("&expires_at={}", now + 7_200);
    let soon = code(&bench, &tenth, "SOON", &until).await;
    code(&bench, &tenth, "ONE", "&max_redemptions=1").await;
    code(&bench, &tenth, "ANY", "").await;
    let buy = async |code: &str| {
        let more = "&allow_promotion_codes=true";
        let session = bench.session("payment", "share", more).await;
        let body = json!({"promotion_code": code});
        bench.control_answer(&pay_path(&session), body).await.status
    };
    assert_eq!(buy("ONE").await, 200);
    assert_eq!(buy("ONE").await, 402, "once is enough");
    bench.advance_days(1).await;
    let path = format!("/v1/promotion_codes/{}", text(&soon["id"]));
    assert_eq!(bench.get(&path).await.ok()["active"], false);
    assert_eq!(buy("SOON").await, 402);
    assert_eq!(buy("ANY").await, 200);
    assert_eq!(buy("ANY").await, 402, "the coupon is used up");
    let known = bench.get(&format!("/v1/coupons/{tenth}")).await.ok();
    assert_eq!(
        (&known["valid"], &known["times_redeemed"]),
        (&json!(false), &json!(2))
    );
    let active = bench.get("/v1/promotion_codes?active=true").await.ok();
    assert_eq!(active["data"], json!([]));
    let found = bench.get("/v1/promotion_codes?code=any").await.ok();
    assert_eq!(found["data"][0]["times_redeemed"], 1);
}

#[tokio::test]
async fn a_code_that_runs_out_before_the_payment_must_be_taken_back() {
    let bench = Bench::start().await;
    let tenth = coupon(&bench, "percent_off=10").await;
    let ten = code(&bench, &tenth, "TEN", "").await;
    let session = bench
        .session("payment", "share", "&allow_promotion_codes=true")
        .await;
    let path = pay_path(&session);
    let tried = json!({"promotion_code": "TEN", "card": "4000000000000002"});
    bench.control_answer(&path, tried).await.error();
    assert_eq!(of(&bench, &session).await["amount_total"], 4_500);
    let code = format!("/v1/promotion_codes/{}", text(&ten["id"]));
    bench.post(&code, "active=false").await.ok();
    let refused = bench.control_answer(&path, json!({})).await;
    assert_eq!(refused.error(), (402, "", "promotion_code"));
    bench.control(&path, json!({"promotion_code": ""})).await;
    let done = of(&bench, &session).await;
    assert_eq!(done["payment_intent"]["amount_received"], 5_000);
    let unused = bench.get(&format!("/v1/coupons/{tenth}")).await.ok();
    assert_eq!(unused["times_redeemed"], 0);
}

#[tokio::test]
async fn a_code_is_typed_on_the_page_and_taken_back() {
    let bench = Bench::start().await;
    let tenth = coupon(&bench, "percent_off=10").await;
    code(&bench, &tenth, "TEN", "").await;
    let session = bench
        .session("payment", "share", "&allow_promotion_codes=true")
        .await;
    let send = async |form: &'static str| {
        let request = bench
            .http
            .post(text(&session["url"]))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        request.send().await.unwrap().text().await.unwrap()
    };
    let html = send("promotion_code=NONE&update=1").await;
    assert!(html.contains("This code is not valid."));
    let html = send("promotion_code=TEN&update=1").await;
    for wanted in ["Discount TEN", "45.00 EUR", "value=\"TEN\""] {
        assert!(html.contains(wanted), "{wanted}");
    }
    assert_eq!(of(&bench, &session).await["amount_total"], 4_500);
    assert!(!send("promotion_code=&update=1").await.contains("Discount"));
    assert_eq!(of(&bench, &session).await["discounts"], json!([]));
}

#[tokio::test]
async fn coupons_that_make_no_sense_are_refused() {
    let bench = Bench::unrecorded().await;
    for (form, code, param) in [
        ("duration=once", "parameter_missing", "percent_off"),
        (
            "percent_off=5&amount_off=5&currency=eur",
            "parameters_exclusive",
            "amount_off",
        ),
        ("amount_off=5", "parameter_missing", "currency"),
        ("percent_off=0", "", "percent_off"),
        ("percent_off=101", "", "percent_off"),
        (
            "percent_off=5&duration=repeating",
            "parameter_missing",
            "duration_in_months",
        ),
        (
            "percent_off=5&duration_in_months=3",
            "",
            "duration_in_months",
        ),
        ("percent_off=5&redeem_by=5", "", "redeem_by"),
        (
            "percent_off=5&applies_to[products][0]=prod_0",
            "resource_missing",
            "applies_to[products][0]",
        ),
    ] {
        let answer = bench.post("/v1/coupons", form).await;
        assert_eq!(answer.error(), (400, code, param), "{form}");
    }
    coupon(&bench, "percent_off=5&id=FIVE").await;
    assert_eq!(
        bench
            .post("/v1/coupons", "percent_off=5&id=FIVE")
            .await
            .error(),
        (400, "resource_already_exists", "id")
    );
    code(&bench, "FIVE", "HELLO", "").await;
    let form = "promotion[type]=coupon&promotion[coupon]=FIVE&code=hello";
    let again = bench.post("/v1/promotion_codes", form).await;
    assert_eq!(again.error(), (400, "", "code"));
}

#[tokio::test]
async fn discounts_that_do_not_fit_their_session_are_refused() {
    let bench = Bench::unrecorded().await;
    let euro = coupon(&bench, "amount_off=4990&currency=eur").await;
    let dollar = coupon(&bench, "amount_off=100&currency=usd").await;
    let known = code(&bench, &euro, "HELLO", "").await;
    let by_code = format!("&discounts[0][promotion_code]={}", text(&known["id"]));
    let (euro, dollar) = (
        format!("&discounts[0][coupon]={euro}"),
        format!("&discounts[0][coupon]={dollar}"),
    );
    let exclusive = format!("{dollar}&allow_promotion_codes=true");
    let two = format!("{dollar}&discounts[1][coupon]=EURO");
    let none = "&discounts[0][coupon]=NONE".to_owned();
    for (key, more, code, param) in [
        (
            "share",
            &exclusive,
            "parameters_exclusive",
            "allow_promotion_codes",
        ),
        ("share", &two, "", "discounts"),
        ("share", &dollar, "", "discounts[0][coupon]"),
        ("share", &none, "resource_missing", "discounts[0][coupon]"),
        ("share", &euro, "amount_too_small", ""),
        ("share", &by_code, "amount_too_small", ""),
        ("donation", &euro, "", "line_items"),
    ] {
        let price = bench.price(key).await;
        let form = format!(
            "mode=payment&success_url=https://x.test/ok&line_items[0][price]={price}&line_items[0][quantity]=1{more}"
        );
        let answer = bench.post("/v1/checkout/sessions", &form).await;
        assert_eq!(answer.error(), (400, code, param), "{more}");
    }
}

#[tokio::test]
async fn a_change_credits_what_was_paid_and_not_what_was_asked() {
    let bench = Bench::start().await;
    let half = coupon(&bench, "percent_off=50&duration=once").await;
    let form = "name=Large membership";
    let product = text(&bench.post("/v1/products", form).await.ok()["id"]);
    let form = format!("currency=eur&unit_amount=5000&product={product}&recurring[interval]=month");
    let large = text(&bench.post("/v1/prices", &form).await.ok()["id"]);
    let more = format!("&discounts[0][coupon]={half}");
    let session = bench.session("subscription", "monthly", &more).await;
    bench.pay(&session, "4242424242424242").await.ok();
    let subscription = of(&bench, &session).await["subscription"].clone();
    let start = &subscription["items"]["data"][0]["current_period_start"];
    let form = format!(
        "items[0][id]={}&items[0][price]={large}&proration_behavior=always_invoice&proration_date={start}",
        text(&subscription["items"]["data"][0]["id"])
    );
    let path = format!("/v1/subscriptions/{}", text(&subscription["id"]));
    bench.post(&path, &form).await.ok();
    assert_eq!(totals(&bench).await, [250, 4_750]);
}

#[tokio::test]
async fn a_running_discount_and_a_proration_are_too_much_at_once() {
    let bench = Bench::unrecorded().await;
    let tenth = coupon(&bench, "percent_off=10&duration=forever").await;
    let more = format!("&discounts[0][coupon]={tenth}");
    let session = bench.session("subscription", "monthly", &more).await;
    bench.pay(&session, "4242424242424242").await.ok();
    let subscription = of(&bench, &session).await["subscription"].clone();
    let item = text(&subscription["items"]["data"][0]["id"]);
    let path = format!("/v1/subscriptions/{}", text(&subscription["id"]));
    let form = format!("items[0][id]={item}&items[0][quantity]=2");
    let refused = bench.post(&path, &form).await;
    assert_eq!(refused.status, 400);
    assert!(text(&refused.body["error"]["message"]).contains("does not model"));
    let form = format!("{form}&proration_behavior=none");
    bench.post(&path, &form).await.ok();
    bench.advance_days(32).await;
    assert_eq!(totals(&bench).await, [450, 900]);
}
