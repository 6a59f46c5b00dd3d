use serde_json::json;

use super::*;

fn plan(kind: &str, more: &str) -> Plan {
    let text = format!("code = \"p\"\nkind = \"{kind}\"\nprice = \"key\"\n{more}");
    toml::from_str(&text).expect("a plan")
}

/// A price of 30.00 EUR, changed.
fn price(change: &serde_json::Value) -> Price {
    let mut price = json!({
        "id": "price_1", "active": true, "currency": "eur", "unit_amount": 3000, "tax_behavior": "unspecified",
        "recurring": null, "lookup_key": "key", "product": {"id": "prod_1", "active": true, "name": "A product"},
    });
    for (key, value) in change.as_object().expect("an object") {
        price[key] = value.clone();
    }
    serde_json::from_value(price).expect("a price")
}

#[test]
fn everything_that_is_wrong_with_a_price_is_said_at_once_and_what_to_do() {
    let yearly = json!({"recurring": {"interval": "year", "interval_count": 1}});
    let cases = [
        ("", json!({}), vec![]),
        (
            "",
            json!({"active": false, "product": {"id": "prod_1", "active": false}, "unit_amount": null}),
            vec![
                "the price \"key\" is archived",
                "the product of",
                "no fixed amount",
            ],
        ),
        (
            "amount = { min = 100, max = 200 }\nterm = \"P1Y\"",
            yearly.clone(),
            vec!["can't choose an amount: take", "no term: take"],
        ),
        ("trial_days = 14\nupgrade_group = \"g\"", yearly, vec![]),
        (
            "trial_days = 14\nupgrade_group = \"g\"",
            json!({}),
            vec!["no trial_days", "no upgrade_group"],
        ),
        (
            "tax_behavior = \"inclusive\"",
            json!({}),
            vec!["unspecified at Stripe, the plan says inclusive: set it at Stripe"],
        ),
        (
            "tax_behavior = \"inclusive\"",
            json!({"tax_behavior": "exclusive"}),
            vec!["make a new price"],
        ),
        (
            "tax_behavior = \"inclusive\"",
            json!({"tax_behavior": "inclusive"}),
            vec![],
        ),
        (
            "tax_behavior = \"inclusive\"\namount = { min = 100, max = 200 }",
            json!({"tax_behavior": "exclusive"}),
            vec![],
        ),
    ];
    for (more, change, wanted) in cases {
        let found = price_problems(&plan("share", more), &price(&change));
        assert_eq!(found.len(), wanted.len(), "{more} {change}: {found:?}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(found.contains(wanted), "{found} does not say {wanted}");
        }
    }
}

#[test]
fn what_is_probably_not_meant_is_remarked() {
    let cases = [
        ("share", "", json!({}), false, None),
        (
            "share",
            "",
            json!({}),
            true,
            Some("its tax behavior is unspecified"),
        ),
        (
            "share",
            "",
            json!({"tax_behavior": "exclusive"}),
            true,
            None,
        ),
        (
            "donation",
            "amount = { min = 100, max = 200 }\ntax_behavior = \"exclusive\"",
            json!({}),
            true,
            None,
        ),
        (
            "donation",
            "amount = { min = 100, max = 200 }\ntax_behavior = \"inclusive\"",
            json!({}),
            false,
            Some("a donation with its tax included"),
        ),
        (
            "donation",
            "amount = { min = 100, max = 200 }",
            json!({"currency_options": {"eur": {"unit_amount": 1}, "usd": {"unit_amount": 1}}}),
            false,
            None,
        ),
        (
            "donation",
            "amount = { min = 100, max = 200 }",
            json!({"currency_options": {"eur": {"unit_amount": 1}, "jpy": {"unit_amount": 1}}}),
            false,
            Some("in JPY they are 100 to 200"),
        ),
        (
            "donation",
            "amount = { min = 20, max = 200 }",
            json!({}),
            false,
            Some("0.20 EUR may be less"),
        ),
        ("share", "", json!({"unit_amount": 0}), false, None),
        (
            "share",
            "",
            json!({"unit_amount": 49}),
            false,
            Some("0.49 EUR may be less"),
        ),
        (
            "share",
            "",
            json!({"unit_amount": 49, "currency": "jpy"}),
            false,
            None,
        ),
    ];
    for (kind, more, change, automatic_tax, wanted) in cases {
        let found = remarks(&plan(kind, more), &price(&change), automatic_tax);
        assert_eq!(found.len(), usize::from(wanted.is_some()), "{found:?}");
        if let Some(wanted) = wanted {
            assert!(found[0].contains(wanted), "{found:?} does not say {wanted}");
        }
    }
}

#[test]
fn an_offer_is_said_in_words() {
    let cases = [
        (
            "share",
            "",
            json!({}),
            "30.00 EUR once, \"A product\", price_1",
        ),
        (
            "share",
            "name = \"Mine\"",
            json!({"recurring": {"interval": "month", "interval_count": 3}}),
            "30.00 EUR every 3 months, \"Mine\", price_1",
        ),
        (
            "membership",
            "",
            json!({"recurring": {"interval": "year", "interval_count": 1},
                   "currency_options": {"eur": {"unit_amount": 3000}, "jpy": {"unit_amount": 4000}}}),
            "30.00 EUR or 4000 JPY every year, \"A product\", price_1",
        ),
        (
            "donation",
            "amount = { min = 200, max = 5000 }",
            json!({"unit_amount": null}),
            "2.00 to 50.00 EUR once, \"A product\", price_1",
        ),
    ];
    for (kind, more, change, wanted) in cases {
        let offer = offer(&plan(kind, more), Some(&price(&change))).expect("it can be sold");
        assert_eq!(words(&offer), wanted);
    }
}
