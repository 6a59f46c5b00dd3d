//! What the sandbox doesn't show: older shapes of Stripe's objects, credit, payments in parts.

use serde_json::{Value, json};
use time::macros::datetime;

use super::*;
use crate::domain::plan::Kind;
use crate::services::members::statement::totals;
use crate::storage::subscriptions::OwnLine;

const RANGE: Range = Range {
    from: datetime!(2026-01-01 0:00 UTC),
    to: datetime!(2027-01-01 0:00 UTC),
};
/// 1 March 2026.
const AT: i64 = 1_772_323_200;

fn bought(number: u128, kind: Kind, plan: &str) -> OwnLine {
    OwnLine {
        id: SubscriptionId(uuid::Uuid::from_u128(number)),
        checkout: CheckoutId(uuid::Uuid::from_u128(1000)),
        plan: plan.to_owned(),
        kind,
        stripe_subscription: (kind == Kind::Membership).then(|| "sub_1".to_owned()),
        stripe_price: format!("price_{plan}"),
        stripe_line_item: None,
        stripe_session: Some("cs_1".to_owned()),
        plans_before: Vec::new(),
    }
}

fn read(charges: Value, invoices: Value, sessions: Value) -> Read {
    Read {
        charges: serde_json::from_value(charges).expect("charges"),
        invoices: serde_json::from_value(invoices).expect("invoices"),
        sessions: serde_json::from_value(sessions).expect("sessions"),
        ..Read::default()
    }
}

fn entries(read: &Read, bought: &[OwnLine]) -> Vec<Entry> {
    let observer = Observer::new("dues_subscription_id".to_owned());
    let entries = Attribution::new(read, bought, &observer).entries(RANGE);
    for entry in &entries {
        assert_eq!(
            entry.lines.iter().map(|line| line.amount).sum::<i64>(),
            entry.amount,
            "{entry:#?}"
        );
        assert_eq!(
            entry.lines.iter().map(|line| line.tax).sum::<i64>(),
            entry.tax,
            "{entry:#?}"
        );
    }
    entries
}

/// A line's plan, amount and tax.
fn lines(entry: &Entry) -> Vec<(&str, i64, i64)> {
    let plan = |line: &Line| line.bought.as_ref().map(|bought| bought.plan.clone());
    let line = |line: &Line| {
        let name = match plan(line).as_deref() {
            Some("monthly") => "monthly",
            Some("yearly") => "yearly",
            Some("share") => "share",
            _ => line.what.as_str(),
        };
        (name, line.amount, line.tax)
    };
    entry.lines.iter().map(line).collect()
}

#[test]
fn an_invoice_of_an_older_shape_says_the_same() {
    let charge = json!({
        "id": "ch_1", "status": "succeeded", "amount": 3440, "currency": "eur", "created": AT, "invoice": "in_1",
        "payment_intent": "pi_1", "receipt_url": "https://r", "paid": true,
    });
    let invoice = json!({
        "id": "in_1", "status": "paid", "amount_due": 3440, "currency": "eur", "subscription": "sub_1", "charge": "ch_1",
        "billing_reason": "subscription_create",
        "lines": {"has_more": false, "data": [
            {"id": "il_1", "type": "subscription", "subscription": "sub_1", "amount": 1000, "quantity": 1,
             "discount_amounts": [{"amount": 200, "discount": "di_1"}],
             "tax_amounts": [{"amount": 160, "inclusive": false}], "price": {"id": "price_monthly", "product": "prod_1"}},
            {"id": "il_2", "type": "invoiceitem", "subscription": "sub_1", "amount": 2480, "quantity": 1,
             "tax_amounts": [{"amount": 80, "inclusive": true}], "price": {"id": "price_share", "product": "prod_2"}},
        ]},
    });
    let bought = [
        bought(1, Kind::Membership, "monthly"),
        bought(2, Kind::Share, "share"),
    ];
    let read = read(json!([charge]), json!([invoice]), json!([]));
    let entries = entries(&read, &bought);
    assert_eq!(entries.len(), 1);
    assert_eq!(
        lines(&entries[0]),
        [("monthly", 960, 160), ("share", 2480, 80)]
    );
    assert_eq!(
        (entries[0].reference.as_str(), entries[0].tax),
        ("in_1", 240)
    );
    assert_eq!(entries[0].receipt_url.as_deref(), Some("https://r"));
}

fn current(id: &str, intents: &[&str], due: i64, lines: &Value) -> Value {
    let payments: Vec<Value> = intents
        .iter()
        .map(|intent| json!({"id": "inpay_1", "status": "paid", "payment": {"payment_intent": intent}}))
        .collect();
    json!({
        "id": id, "status": "paid", "amount_due": due, "currency": "eur", "payments": {"data": payments},
        "parent": {"subscription_details": {"subscription": "sub_1"}}, "lines": {"data": lines},
    })
}

fn line(price: &str, amount: i64) -> Value {
    json!({"id": format!("il_{price}"), "amount": amount, "quantity": 1, "pricing": {"price_details": {"price": price}},
        "parent": {"subscription_item_details": {"subscription": "sub_1", "proration": amount < 0}}})
}

fn charge(id: &str, amount: i64, at: i64) -> Value {
    json!({"id": format!("ch_{id}"), "status": "succeeded", "amount": amount, "amount_captured": amount, "captured": true,
        "currency": "eur", "created": at, "payment_intent": format!("pi_{id}"), "refunds": {"data": []}})
}

#[test]
fn credit_is_a_line_of_its_own_and_two_payments_of_one_invoice_have_their_parts() {
    let bought = [bought(1, Kind::Membership, "monthly")];
    let with_credit = current(
        "in_1",
        &["pi_1"],
        700,
        &json!([line("price_monthly", 1000)]),
    );
    let in_two = current(
        "in_2",
        &["pi_2", "pi_3"],
        1000,
        &json!([line("price_monthly", 1000)]),
    );
    let charges = json!([
        charge("1", 700, AT),
        charge("2", 400, AT + 1),
        charge("3", 600, AT + 2)
    ]);
    let read = read(charges, json!([with_credit, in_two]), json!([]));
    let entries = entries(&read, &bought);
    assert_eq!(
        lines(&entries[0]),
        [("monthly", 1000, 0), ("balance", -300, 0)]
    );
    assert_eq!(lines(&entries[1]), [("monthly", 400, 0)]);
    assert_eq!(lines(&entries[2]), [("monthly", 600, 0)]);
    let totals: Vec<i64> = totals::of(&entries)
        .iter()
        .map(|total| total.sums.net())
        .collect();
    assert_eq!(totals, [2000, -300]);
}

#[test]
fn a_payment_is_of_the_plan_that_it_was_for_then() {
    let mut member = bought(1, Kind::Membership, "yearly");
    member.plans_before = vec![(datetime!(2026-03-15 0:00 UTC), "monthly".to_owned())];
    let day = 86_400;
    let before = current("in_1", &["pi_1"], 500, &json!([line("price_monthly", 500)]));
    // The change is told a moment after it was paid, or before.
    let change = |id, intent| {
        current(
            id,
            &[intent],
            4800,
            &json!([line("price_monthly", -200), line("price_yearly", 5000)]),
        )
    };
    let charges = json!([
        charge("1", 500, AT),
        charge("2", 4800, AT + 14 * day - 5),
        charge("3", 4800, AT + 14 * day + 5),
    ]);
    let invoices = json!([before, change("in_2", "pi_2"), change("in_3", "pi_3")]);
    let read = read(charges, invoices, json!([]));
    let entries = entries(&read, &[member]);
    assert_eq!(lines(&entries[0]), [("monthly", 500, 0)]);
    for entry in &entries[1..] {
        assert_eq!(lines(entry), [("monthly", -200, 0), ("yearly", 5000, 0)]);
    }
}

#[test]
fn a_dispute_in_the_banks_own_currency_is_of_the_only_item_or_of_none() {
    let dispute = |currency: &str| {
        json!({
            "id": "du_1", "status": "needs_response", "payment_intent": "pi_1", "created": AT + 9, "amount": 1100,
            "currency": currency, "reason": "fraudulent",
        })
    };
    let one = current(
        "in_1",
        &["pi_1"],
        1000,
        &json!([line("price_monthly", 1000)]),
    );
    let two = current(
        "in_1",
        &["pi_1"],
        1000,
        &json!([line("price_monthly", 600), line("price_x", 400)]),
    );
    let cases = [
        (&one, "usd", vec![("monthly", -1100, 0)]),
        (&two, "usd", vec![("unassigned", -1100, 0)]),
        (
            &one,
            "eur",
            vec![("monthly", -1000, 0), ("unassigned", -100, 0)],
        ),
    ];
    for (invoice, currency, expected) in cases {
        let mut read = read(json!([charge("1", 1000, AT)]), json!([invoice]), json!([]));
        read.disputes = serde_json::from_value(json!([dispute(currency)])).expect("a dispute");
        let entries = entries(&read, &[bought(1, Kind::Membership, "monthly")]);
        assert_eq!(lines(&entries[1]), expected);
        assert_eq!(entries[1].currency, currency);
    }
}

#[test]
fn a_payment_that_nothing_explains_is_one_line_with_stripes_words() {
    let mut alone = charge("1", 900, AT);
    alone["description"] = json!("An old donation");
    let mut named = charge("2", 700, AT + 1);
    named["metadata"] = json!({"dues_subscription_id": uuid::Uuid::from_u128(2).to_string()});
    let mut reserved = charge("3", 500, AT);
    reserved["captured"] = json!(false);
    let mut pending = charge("4", 500, AT);
    pending["status"] = json!("pending");
    let share = [bought(2, Kind::Share, "share")];
    let read = read(
        json!([alone, named, reserved, pending]),
        json!([]),
        json!([]),
    );
    let entries = entries(&read, &share);
    assert_eq!(entries.len(), 2, "{entries:#?}");
    assert_eq!(lines(&entries[0]), [("item", 900, 0)]);
    assert_eq!(
        entries[0].lines[0].description.as_deref(),
        Some("An old donation")
    );
    assert_eq!(lines(&entries[1]), [("share", 700, 0)]);
    assert_eq!(entries[1].reference, "pi_2");
}

#[test]
fn what_names_somebody_elses_purchase_is_nobodys() {
    let mut foreign = charge("1", 700, AT);
    foreign["metadata"] = json!({"dues_subscription_id": uuid::Uuid::from_u128(77).to_string()});
    let read = read(json!([foreign]), json!([]), json!([]));
    let entries = entries(&read, &[bought(2, Kind::Share, "share")]);
    assert_eq!(lines(&entries[0]), [("item", 700, 0)]);
}

#[test]
fn a_line_without_metadata_finds_its_purchase_by_price_then_product_of_its_session() {
    let session = json!({
        "id": "cs_1", "invoice": "in_1", "subscription": "sub_1", "mode": "subscription",
        "line_items": {"data": [
            {"id": "li_1", "price": {"id": "price_inline", "product": "prod_2"},
             "metadata": {"dues_subscription_id": uuid::Uuid::from_u128(2).to_string()}},
        ]},
    });
    let once = |price: &str| {
        json!({"id": "il_2", "amount": 300, "quantity": 1,
            "pricing": {"price_details": {"price": price, "product": "prod_2"}},
            "parent": {"invoice_item_details": {"subscription": "sub_1", "proration": false}}})
    };
    for price in ["price_inline", "price_made_anew"] {
        let mut invoice = current("in_1", &["pi_1"], 300, &json!([once(price)]));
        let all = [
            bought(1, Kind::Membership, "monthly"),
            bought(2, Kind::Share, "share"),
        ];
        let charges = json!([charge("1", 300, AT)]);
        let known = read(
            charges.clone(),
            json!([invoice.clone()]),
            json!([session.clone()]),
        );
        assert_eq!(
            lines(&entries(&known, &all)[0]),
            [("share", 300, 0)],
            "{price}"
        );
        // A later invoice's one-off line has nothing to do with the checkout.
        invoice["id"] = json!("in_2");
        let later = read(charges, json!([invoice]), json!([session.clone()]));
        assert_eq!(
            lines(&entries(&later, &all)[0]),
            [("item", 300, 0)],
            "{price}"
        );
    }
}
