//! Prorations: what a change in the middle of a period costs, as invoice items that wait for an invoice.
//!
//! Flexible billing credits what was really debited, <https://docs.stripe.com/billing/subscriptions/billing-mode>:
//! the last debit of each item is kept beside its subscription.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::amounts::share;
use crate::world::clock::add_interval;
use crate::world::clock::day;
use crate::world::ids;
use crate::world::json::Json;

/// The price of one as text, with decimals where the amount cannot be divided.
pub(crate) fn unit_of(amount: i64, quantity: i64) -> String {
    let quantity = quantity.max(1);
    if amount % quantity == 0 {
        return (amount / quantity).to_string();
    }
    let sign = if amount < 0 { "-" } else { "" };
    let fine = share(amount.abs(), 1_000_000_000_000, quantity);
    let text = format!(
        "{sign}{}.{:012}",
        fine / 1_000_000_000_000,
        fine % 1_000_000_000_000
    );
    text.trim_end_matches('0').to_owned()
}

/// When the whole period began that ends then: a first period may be shorter than its interval.
fn whole_period_start(subscription: &Value, price: &Value, end: i64) -> i64 {
    let anchor = subscription.int("billing_cycle_anchor");
    let recurring = &price["recurring"];
    let step = recurring.int("interval_count").max(1);
    let at = |periods: i64| add_interval(anchor, recurring.text("interval"), periods * step);
    let mut periods = 0;
    while at(periods) < end {
        periods += 1;
    }
    at(periods - 1)
}

/// A proration to be: one invoice item.
struct Proration<'a> {
    item: &'a Value,
    amount: i64,
    description: String,
    period: (i64, i64),
    credited: Value,
}

/// Credits the unused time of an item, as it was last debited.
pub(super) fn credit(world: &mut World, subscription: &Value, item: &Value, at: i64) {
    let debits = world
        .store
        .hidden(subscription.text("id"), "debits")
        .clone();
    let debit = &debits[item.text("id")];
    let (start, end) = (debit.int("start"), debit.int("end"));
    let amount = -share(
        debit.int("amount"),
        end - at.max(start),
        (end - start).max(1),
    );
    if end <= at || amount == 0 {
        return;
    }
    let credited = if debit.has("invoice") {
        json!({"invoice": debit["invoice"], "invoice_line_items": [debit["line"]]})
    } else {
        Value::Null
    };
    let new = Proration {
        item,
        amount,
        description: describe(world, "Unused time on", item, at),
        period: (at, end),
        credited,
    };
    add(world, subscription, &new);
}

/// Debits the remaining time of an item as it will be.
pub(super) fn debit(world: &mut World, subscription: &Value, item: &Value, at: i64) {
    let price = &item["price"];
    let end = item.int("current_period_end");
    let start = whole_period_start(subscription, price, end);
    let full = world.unit_amount(price, subscription.text("currency"))
        * item.opt_int("quantity").unwrap_or(1);
    let amount = share(full, end - at, end - start);
    let new = Proration {
        item,
        amount,
        description: describe(world, "Remaining time on", item, at),
        period: (at, end),
        credited: Value::Null,
    };
    add(world, subscription, &new);
    let debit = json!({"amount": amount, "start": at, "end": end, "invoice": null, "line": null});
    note(world, subscription.text("id"), item.text("id"), debit);
}

fn describe(world: &World, what: &str, item: &Value, at: i64) -> String {
    let product = world.store.copy(item["price"].text("product"));
    let quantity = match item.opt_int("quantity") {
        None | Some(1) => String::new(),
        Some(quantity) => format!("{quantity} × "),
    };
    format!(
        "{what} {quantity}{} after {}",
        product.text("name"),
        day(at)
    )
}

fn note(world: &mut World, subscription: &str, item: &str, debit: Value) {
    let mut debits = world.store.hidden(subscription, "debits").clone();
    if debits.is_null() {
        debits = json!({});
    }
    debits.set(item, debit);
    world.store.hide(subscription, "debits", debits);
}

/// Creates an invoice item that waits for the subscription's next invoice.
fn add(world: &mut World, subscription: &Value, new: &Proration) {
    let price = &new.item["price"];
    let quantity = new.item.opt_int("quantity").unwrap_or(1);
    // An item says what it credits in another shape than the line that it becomes.
    let credited = new.credited.is_object().then(|| {
        json!({"invoice_item": null, "invoice_line_item_details": new.credited, "type": "invoice_line_items"})
    });
    let object = json!({
        "id": ids::new("ii"), "object": "invoiceitem", "amount": new.amount, "currency": subscription["currency"],
        "customer": subscription["customer"], "customer_account": null, "date": world.now(), "description": new.description,
        "discountable": false, "discounts": [], "invoice": null, "livemode": false, "metadata": new.item["metadata"],
        "net_amount": new.amount,
        "parent": {"subscription_details": {"subscription": subscription["id"], "subscription_item": new.item["id"]},
            "type": "subscription_details"},
        "period": {"start": new.period.0, "end": new.period.1},
        "pricing": {"type": "price_details", "unit_amount_decimal": unit_of(new.amount, quantity),
            "price_details": {"price": price["id"], "product": price["product"]}},
        "proration": true, "proration_details": {"credited_items": credited, "discount_amounts": []},
        "quantity": quantity, "quantity_decimal": quantity.to_string(), "tax_rates": [],
        "test_clock": subscription["test_clock"],
    });
    world.create(object, Some("invoiceitem.created"));
}

fn pending(world: &World, subscription: &str) -> Vec<String> {
    world.store.ids_linked("invoiceitem", subscription, |row| {
        !row.has("invoice")
            && row["parent"]["subscription_details"].text("subscription") == subscription
    })
}

/// Whether something waits for the subscription's next invoice.
pub(super) fn is_pending(world: &World, subscription: &str) -> bool {
    !pending(world, subscription).is_empty()
}

/// Puts what waits for an invoice of a subscription on one, as its lines.
pub(super) fn take(world: &mut World, subscription: &str, invoice: &str) -> Vec<Value> {
    let pending = pending(world, subscription);
    let taken = pending.iter().map(|id| {
        let item = world.change(id, |object| object.set("invoice", invoice));
        line_object(&item)
    });
    taken.collect()
}

fn line_object(item: &Value) -> Value {
    let details = &item["parent"]["subscription_details"];
    let credited = &item["proration_details"]["credited_items"]["invoice_line_item_details"];
    json!({
        "id": ids::new("il"), "object": "line_item", "amount": item["amount"], "currency": item["currency"],
        "description": item["description"], "discount_amounts": [], "discountable": false, "discounts": [],
        "invoice": item["invoice"], "livemode": false, "metadata": item["metadata"],
        "parent": {"invoice_item_details": null, "type": "subscription_item_details", "subscription_item_details": {
            "invoice_item": item["id"], "proration": true,
            "proration_details": {"credited_items": credited},
            "subscription": details["subscription"], "subscription_item": details["subscription_item"]}},
        "period": item["period"], "pretax_credit_amounts": [], "pricing": item["pricing"], "quantity": item["quantity"],
        "quantity_decimal": item["quantity_decimal"], "subscription": details["subscription"],
        "subtotal": item["amount"], "taxes": [],
    })
}

/// Remembers what an invoice debits for each subscription item: that is what a later change credits.
pub(super) fn note_debits(world: &mut World, subscription: &str, lines: &[Value]) {
    for line in lines {
        let details = &line["parent"]["subscription_item_details"];
        if let (Some(item), true) = (
            details.opt_text("subscription_item"),
            line.int("amount") >= 0,
        ) {
            let debit = json!({
                "amount": line["amount"], "start": line["period"]["start"], "end": line["period"]["end"],
                "invoice": line["invoice"], "line": line["id"],
            });
            note(world, subscription, item, debit);
        }
    }
}

/// Drops what waits for an invoice that will never come: the subscription ends at once.
pub(crate) fn drop_pending(world: &mut World, subscription: &str) {
    for id in pending(world, subscription) {
        let item = world.store.copy(&id);
        world.change(&id, |object| {
            *object = json!({"id": id, "object": "invoiceitem", "deleted": true});
        });
        world.emit("invoiceitem.deleted", &item, None);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{unit_of, whole_period_start};

    #[test]
    fn the_price_of_one_has_decimals_where_it_needs_them() {
        assert_eq!(unit_of(1_000, 4), "250");
        assert_eq!(unit_of(-1_001, 2), "-500.5");
        assert_eq!(unit_of(1_000, 3), "333.333333333333");
    }

    #[test]
    fn a_short_first_period_is_measured_by_its_interval() {
        let price = json!({"recurring": {"interval": "month", "interval_count": 1}});
        let subscription = json!({"billing_cycle_anchor": 1_769_860_800});
        // The anchor is 31 January 2026: the month before it began on 31 December.
        assert_eq!(
            whole_period_start(&subscription, &price, 1_769_860_800),
            1_769_860_800 - 31 * 86_400
        );
        // The period to 28 February began on 31 January, not on the 28th.
        let february = 1_769_860_800 + 28 * 86_400;
        assert_eq!(
            whole_period_start(&subscription, &price, february),
            1_769_860_800
        );
    }
}
