//! What Stripe's page is asked to show and to ask for: by the settings, by the plans, by the order.

use std::collections::HashMap;

use serde_json::json;

use crate::harness::TestApp;

/// The sent fields that begin like this.
fn fields(sent: &HashMap<String, String>, prefix: &str) -> Vec<(String, String)> {
    let mut fields: Vec<_> = sent
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    fields.sort();
    fields
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn the_settings_of_the_page_reach_stripe() {
    let app = TestApp::with()
        .setting("DUES__CHECKOUT__AUTOMATIC_TAX", "true")
        .setting("DUES__CHECKOUT__TAX_ID_COLLECTION", "true")
        .setting("DUES__CHECKOUT__TERMS_OF_SERVICE", "true")
        .setting("DUES__CHECKOUT__LOCALE", "de")
        .setting("DUES__CHECKOUT__CUSTOM_TEXT__SUBMIT", "Willkommen!")
        .setting(
            "DUES__CHECKOUT__CUSTOM_TEXT__TERMS_OF_SERVICE",
            "I join the cooperative.",
        )
        .setting("DUES__CHECKOUT__BRANDING__DISPLAY_NAME", "Coop")
        .setting("DUES__CHECKOUT__BRANDING__BUTTON_COLOR", "#0a5c4a")
        .setting("DUES__CHECKOUT__BRANDING__BORDER_STYLE", "pill")
        .setting("DUES__CHECKOUT__BRANDING__FONT_FAMILY", "noto_serif")
        .setting(
            "DUES__CHECKOUT__BRANDING__LOGO_URL",
            "https://app.example.org/logo.png",
        )
        .cooperative()
        .setting(
            "DUES__PLANS__FILE",
            crate::harness::in_project("tests/it/cooperative/taxed.toml").display(),
        )
        .start()
        .await;
    let alice = app.member("alice");
    app.open(&alice, "taxed").await;
    let sent = app.sent_session().await;
    for (prefix, expected) in [
        (
            "automatic_tax",
            pairs(&[("automatic_tax[enabled]", "true")]),
        ),
        (
            "customer_update",
            pairs(&[
                ("customer_update[address]", "auto"),
                ("customer_update[name]", "auto"),
            ]),
        ),
        (
            "tax_id_collection",
            pairs(&[("tax_id_collection[enabled]", "true")]),
        ),
        (
            "consent_collection",
            pairs(&[("consent_collection[terms_of_service]", "required")]),
        ),
        (
            "custom_text",
            pairs(&[
                ("custom_text[submit][message]", "Willkommen!"),
                (
                    "custom_text[terms_of_service_acceptance][message]",
                    "I join the cooperative.",
                ),
            ]),
        ),
        (
            "branding_settings",
            pairs(&[
                ("branding_settings[border_style]", "pill"),
                ("branding_settings[button_color]", "#0a5c4a"),
                ("branding_settings[display_name]", "Coop"),
                ("branding_settings[font_family]", "noto_serif"),
                ("branding_settings[logo][type]", "url"),
                (
                    "branding_settings[logo][url]",
                    "https://app.example.org/logo.png",
                ),
            ]),
        ),
        ("locale", pairs(&[("locale", "de")])),
    ] {
        assert_eq!(fields(&sent, prefix), expected);
    }
    // The client's wish weighs more.
    app.open_basket(&app.member("bob"), json!({"plan": "taxed", "locale": "fr"}))
        .await;
    assert_eq!(app.sent_session().await["locale"], "fr");
}

#[tokio::test]
async fn nothing_is_asked_for_unless_it_is_set() {
    let app = TestApp::start().await;
    app.open(&app.member("alice"), "share").await;
    let sent = app.sent_session().await;
    for prefix in [
        "automatic_tax",
        "customer_update",
        "tax_id_collection",
        "consent_collection",
        "custom_text",
        "branding_settings",
        "locale",
        "allow_promotion_codes",
        "subscription_data",
        "line_items[0][adjustable_quantity]",
    ] {
        assert_eq!(fields(&sent, prefix), [], "{prefix}");
    }
    assert_eq!(sent["adaptive_pricing[enabled]"], "false");
    assert_eq!(sent["submit_type"], "pay");
}

#[tokio::test]
async fn promotion_codes_are_taken_where_every_plan_of_the_basket_allows_them() {
    let app = TestApp::with().cooperative().start().await;
    let alice = app.member("alice");
    for (lines, taken) in [
        (json!([{"plan": "yearly"}, {"plan": "credits"}]), true),
        (json!([{"plan": "yearly"}, {"plan": "share"}]), false),
        (
            json!([{"plan": "credits", "quantity": 20}, {"plan": "gift", "amount": 500}]),
            false,
        ),
    ] {
        app.open_basket(&alice, json!({ "lines": lines })).await;
        let sent = app.sent_session().await;
        assert_eq!(
            sent.get("allow_promotion_codes").map(String::as_str),
            taken.then_some("true"),
            "{lines}"
        );
    }
}

#[tokio::test]
async fn a_quantity_may_be_left_to_the_page_and_a_gift_says_whether_it_contains_tax() {
    let app = TestApp::with().cooperative().start().await;
    let alice = app.member("alice");
    let basket =
        json!({"lines": [{"plan": "seats", "quantity": 3}, {"plan": "gift", "amount": 700}]});
    app.open_basket(&alice, basket).await;
    let sent = app.sent_session().await;
    assert_eq!(
        fields(&sent, "line_items[0][adjustable_quantity]"),
        pairs(&[
            ("line_items[0][adjustable_quantity][enabled]", "true"),
            ("line_items[0][adjustable_quantity][maximum]", "8"),
            ("line_items[0][adjustable_quantity][minimum]", "1"),
        ])
    );
    assert_eq!(sent["line_items[0][quantity]"], "3");
    let gift = "line_items[1][price_data]";
    assert_eq!(sent[&format!("{gift}[unit_amount]")], "700");
    assert_eq!(sent[&format!("{gift}[tax_behavior]")], "inclusive");
    assert_eq!(sent["submit_type"], "pay");
    // Where nothing is bought the button says so.
    app.open_basket(&alice, json!({"lines": [{"plan": "gift", "amount": 700}]}))
        .await;
    assert_eq!(app.sent_session().await["submit_type"], "donate");
}
