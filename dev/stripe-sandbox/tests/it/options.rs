//! What a session may ask its hosted page for.

use serde_json::{Value, json};

use crate::bench::{Bench, text};

async fn of(bench: &Bench, session: &Value) -> Value {
    let path = format!(
        "/v1/checkout/sessions/{}?expand[]=line_items&expand[]=subscription&expand[]=invoice&expand[]=payment_intent",
        text(&session["id"])
    );
    bench.get(&path).await.ok()
}

async fn page(bench: &Bench, session: &Value) -> String {
    let response = bench.http.get(text(&session["url"])).send().await.unwrap();
    response.text().await.unwrap()
}

async fn submit(bench: &Bench, session: &Value, form: &'static str) -> (u16, String) {
    let request = bench
        .http
        .post(text(&session["url"]))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn pay_path(session: &Value) -> String {
    format!("checkout/{}/pay", text(&session["id"]))
}

#[tokio::test]
async fn terms_must_be_accepted_where_the_session_asks() {
    let bench = Bench::start().await;
    let ask = "&consent_collection[terms_of_service]=required&consent_collection[promotions]=auto\
               &custom_text[terms_of_service_acceptance][message]=I accept <the statutes>.";
    let session = bench.session("payment", "share", ask).await;
    assert_eq!(session["consent"], json!(null));
    assert_eq!(
        session["consent_collection"],
        json!({"payment_method_reuse_agreement": null, "promotions": "auto", "terms_of_service": "required"})
    );
    let html = page(&bench, &session).await;
    assert!(
        html.contains("I accept &lt;the statutes&gt;.") && html.contains("sandbox.example/terms")
    );
    let refused = bench
        .control_answer(&pay_path(&session), json!({"accept_terms": false}))
        .await;
    assert_eq!(refused.error(), (402, "", "accept_terms"));
    let (status, html) = submit(&bench, &session, "instrument=4242424242424242").await;
    assert!(status == 200 && html.contains("Please accept the terms"));
    let (status, _) = submit(
        &bench,
        &session,
        "instrument=4242424242424242&terms=1&promotions=1",
    )
    .await;
    assert_eq!(status, 303);
    assert_eq!(
        of(&bench, &session).await["consent"],
        json!({"promotions": "opt_in", "terms_of_service": "accepted"})
    );

    let other = bench.session("payment", "share", ask).await;
    bench.pay(&other, "4242424242424242").await.ok();
    assert_eq!(
        of(&bench, &other).await["consent"],
        json!({"promotions": "opt_out", "terms_of_service": "accepted"}),
        "a program that does not say accepts the terms and wants no news"
    );
}

#[tokio::test]
async fn a_buyer_changes_the_quantity_within_its_bounds() {
    let bench = Bench::start().await;
    let share = bench.price("share").await;
    let more = format!(
        "&line_items[0][adjustable_quantity][enabled]=true&line_items[0][adjustable_quantity][maximum]=5\
         &line_items[1][price]={share}&line_items[1][quantity]=2&line_items[1][adjustable_quantity][enabled]=true\
         &line_items[1][adjustable_quantity][minimum]=2"
    );
    let session = bench.session("subscription", "monthly", &more).await;
    let line = text(&of(&bench, &session).await["line_items"]["data"][0]["id"]);
    for (wrong, field) in [
        (json!({"quantities": {"0": 6}}), "quantities"),
        (json!({"quantities": {"1": 1}}), "quantities"),
        (json!({"quantities": {"0": 0}}), "quantities"),
        (json!({"quantities": {"7": 1}}), "quantities"),
    ] {
        let refused = bench.control_answer(&pay_path(&session), wrong).await;
        assert_eq!(refused.error(), (402, "", field));
    }
    let chosen = json!({"quantities": {line: 3, "1": 4}, "card": "4242424242424242"});
    bench.control(&pay_path(&session), chosen).await;
    let done = of(&bench, &session).await;
    assert_eq!(done["amount_total"], 21_500);
    assert_eq!(done["line_items"]["data"][0]["quantity"], 3);
    assert_eq!(done["line_items"]["data"][1]["amount_total"], 20_000);
    assert_eq!(done["subscription"]["items"]["data"][0]["quantity"], 3);
    assert_eq!(done["invoice"]["total"], 21_500);
    assert_eq!(done["invoice"]["lines"]["data"][0]["quantity"], 3);
    bench.advance_days(32).await;
    let renewed = bench.look("objects/invoice").await;
    assert_eq!(renewed[1]["total"], 1_500, "renewals keep the quantity");
}

#[tokio::test]
async fn the_page_prices_a_new_quantity_before_it_is_paid() {
    let bench = Bench::start().await;
    let more = "&line_items[0][adjustable_quantity][enabled]=true&line_items[0][adjustable_quantity][maximum]=10";
    let session = bench.session("payment", "share", more).await;
    let line = text(&of(&bench, &session).await["line_items"]["data"][0]["id"]);
    let form: &'static str = format!("quantity_{line}=3&update=1").leak();
    let (status, html) = submit(&bench, &session, form).await;
    assert!(status == 200 && html.contains("150.00 EUR") && html.contains("value=\"3\""));
    assert_eq!(of(&bench, &session).await["amount_total"], 15_000);
    bench.pay(&session, "4000000000000002").await.error();
    let chosen = json!({"quantities": {"0": 2}});
    bench.control(&pay_path(&session), chosen).await;
    let done = of(&bench, &session).await;
    assert_eq!(
        done["payment_intent"]["amount_received"], 10_000,
        "the intent of the declined try follows"
    );
}

#[tokio::test]
async fn texts_colours_and_words_of_the_session_are_on_its_page() {
    let bench = Bench::start().await;
    let more = "&custom_text[submit][message]=Thank you, dear <member>.&custom_text[after_submit][message]=See you\
                &branding_settings[display_name]=Garden&branding_settings[button_color]=%23ffee00\
                &branding_settings[background_color]=%23101010&branding_settings[border_style]=pill\
                &submit_type=donate&locale=de";
    let session = bench.session("payment", "share", more).await;
    assert_eq!(
        session["branding_settings"],
        json!({"background_color": "#101010", "border_style": "pill", "button_color": "#ffee00", "display_name": "Garden",
            "font_family": "default", "icon": null, "logo": null})
    );
    let html = page(&bench, &session).await;
    for wanted in [
        "Thank you, dear &lt;member&gt;.",
        "See you",
        "Garden",
        "--button:#ffee00;--on-button:#000;--radius:2rem",
        "--back:#101010",
        ">Donate</button>",
        "in the language de",
    ] {
        assert!(html.contains(wanted), "{wanted}");
    }
    assert!(!html.contains("Sandbox Cooperative"));
}

#[tokio::test]
async fn an_address_is_asked_for_and_kept() {
    let bench = Bench::start().await;
    let more = "&billing_address_collection=required&customer_creation=always";
    let session = bench.session("payment", "share", more).await;
    assert!(
        page(&bench, &session)
            .await
            .contains("name=\"postal_code\"")
    );
    let (status, html) = submit(&bench, &session, "line1=&postal_code=1&city=x&country=DE").await;
    assert!(status == 200 && html.contains("Please enter your address."));
    let (status, _) = submit(
        &bench,
        &session,
        "line1=Weg+1&postal_code=10115&city=Berlin&country=DE",
    )
    .await;
    assert_eq!(status, 303);
    let done = of(&bench, &session).await;
    let wanted = json!({"city": "Berlin", "country": "DE", "line1": "Weg 1", "line2": null, "postal_code": "10115", "state": null});
    assert_eq!(done["customer_details"]["address"], wanted);
    let customer = bench.look("objects/customer").await;
    assert_eq!(customer[0]["address"], wanted);
    let refused = bench
        .control_answer(
            &pay_path(&bench.session("payment", "share", "").await),
            json!({"country": "Austria"}),
        )
        .await;
    assert_eq!(refused.error(), (402, "", "country"));
}

#[tokio::test]
async fn a_vat_number_is_collected_and_stays_with_the_customer() {
    let bench = Bench::start().await;
    let customer = bench.customer().await;
    let more =
        format!("&tax_id_collection[enabled]=true&customer={customer}&customer_update[name]=auto");
    let session = bench.session("subscription", "monthly", &more).await;
    assert!(page(&bench, &session).await.contains("name=\"tax_id\""));
    let wrong = bench
        .control_answer(&pay_path(&session), json!({"tax_id": "12"}))
        .await;
    assert_eq!(wrong.error(), (402, "", "tax_id"));
    let given = json!({"tax_id": "atu 12345678", "name": "Garden e.V."});
    bench.control(&pay_path(&session), given).await;
    let done = of(&bench, &session).await;
    let ids = json!([{"type": "eu_vat", "value": "ATU12345678"}]);
    assert_eq!(done["customer_details"]["tax_ids"], ids);
    assert_eq!(done["invoice"]["customer_tax_ids"], ids);
    let path = format!("/v1/customers/{customer}?expand[]=tax_ids");
    let kept = bench.get(&path).await.ok();
    assert_eq!(kept["name"], "Garden e.V.");
    assert_eq!(kept["tax_ids"]["data"][0]["value"], "ATU12345678");
    let plain = bench.session("payment", "share", "").await;
    let refused = bench
        .control_answer(&pay_path(&plain), json!({"tax_id": "ATU12345678"}))
        .await;
    assert_eq!(refused.error(), (402, "", "tax_id"));
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let bench = Bench::unrecorded().await;
    let customer = bench.customer().await;
    let share = bench.price("share").await;
    let refused = async |more: &str| {
        let form = format!(
            "mode=payment&success_url=https://x.test/ok&line_items[0][price]={share}&line_items[0][quantity]=1{more}"
        );
        let answer = bench.post("/v1/checkout/sessions", &form).await;
        let (status, code, param) = answer.error();
        (status, code.to_owned(), param.to_owned())
    };
    let long = format!("&custom_text[submit][message]={}", "x".repeat(1_201));
    let named = format!("&tax_id_collection[enabled]=true&customer={customer}");
    let adjust = "line_items[0][adjustable_quantity]";
    let cases = [
        (long.as_str(), "", "custom_text[submit][message]"),
        (named.as_str(), "", "tax_id_collection"),
        (
            "&branding_settings[button_color]=red",
            "",
            "branding_settings[button_color]",
        ),
        ("&locale=tlh", "", "locale"),
        ("&submit_type=buy", "", "submit_type"),
        (
            "&name_collection[business][enabled]=true",
            "",
            "name_collection",
        ),
        (
            "&line_items[0][adjustable_quantity][enabled]=true&line_items[0][adjustable_quantity][minimum]=2",
            "",
            "line_items[0][quantity]",
        ),
        (
            "&line_items[0][adjustable_quantity][enabled]=true&line_items[0][adjustable_quantity][maximum]=0",
            "parameter_invalid_integer",
            &format!("{adjust}[maximum]"),
        ),
    ];
    for (more, code, param) in cases {
        assert_eq!(
            refused(more).await,
            (400, code.to_owned(), param.to_owned()),
            "{more}"
        );
    }
    bench
        .control("settings", json!({"terms_of_service_url": null}))
        .await;
    let (status, _, param) = refused("&consent_collection[terms_of_service]=required").await;
    assert_eq!(
        (status, param.as_str()),
        (400, "consent_collection[terms_of_service]")
    );
}
