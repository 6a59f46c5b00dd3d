//! A flat tax: one rate for a country, none on products that say so.

use serde_json::{Value, json};

use super::buyer::HOME;
use crate::world::World;
use crate::world::amounts::Percent;
use crate::world::ids;
use crate::world::json::Json;

/// The tax code of what no tax is on: <https://docs.stripe.com/tax/tax-codes>.
const NONTAXABLE: &str = "txcd_00000000";

/// The tax on one line.
#[derive(Clone)]
pub(crate) struct Tax {
    pub amount: i64,
    /// Without the tax itself.
    taxable_amount: i64,
    pub inclusive: bool,
    /// The tax rate object.
    rate: Value,
    reason: &'static str,
}

/// Whether tax is in a price or comes on top; None while the price does not say.
pub(crate) fn is_inclusive(world: &World, price: &Value, currency: &str) -> Option<bool> {
    let options = world.store.hidden(price.text("id"), "currency_options");
    let behavior = if price.text("currency") == currency {
        price.text("tax_behavior")
    } else {
        options[currency].text("tax_behavior")
    };
    match behavior {
        "inclusive" => Some(true),
        "exclusive" => Some(false),
        _ => None,
    }
}

/// The tax on an amount for a price, in a country.
pub(crate) fn on(
    world: &mut World,
    country: &str,
    (price, currency): (&Value, &str),
    amount: i64,
) -> Tax {
    let product = world.store.copy(price.text("product"));
    let inclusive = is_inclusive(world, price, currency).unwrap_or_default();
    let known = world.settings.tax_percent.get(country).copied();
    let percent = known.unwrap_or(Percent::new(0));
    let (percent, reason) = if product.text("tax_code") == NONTAXABLE {
        (Percent::new(0), "product_exempt")
    } else if percent.is_zero() {
        (percent, "not_collecting")
    } else {
        (percent, "standard_rated")
    };
    let (tax, taxable_amount) = if inclusive {
        let tax = percent.within(amount);
        (tax, amount - tax)
    } else {
        (percent.of(amount), amount)
    };
    Tax {
        amount: tax,
        taxable_amount,
        inclusive,
        rate: rate(world, country, percent, inclusive),
        reason,
    }
}

/// The tax rate object of a country, made once. Stripe archives the rates that it makes by itself at once.
fn rate(world: &mut World, country: &str, percent: Percent, inclusive: bool) -> Value {
    let mut known = world.store.all("tax_rate").iter();
    let same = |row: &&Value| {
        row.text("country") == country
            && row["percentage"] == json!(percent)
            && row.flag("inclusive") == inclusive
    };
    if let Some(rate) = known.find(same) {
        return rate.clone();
    }
    let is_european = country != "US";
    let rate = json!({
        "id": ids::new("txr"), "object": "tax_rate", "active": false, "country": country, "created": world.now(),
        "description": null, "display_name": if is_european { "VAT" } else { "Sales tax" }, "effective_percentage": percent,
        "flat_amount": null, "inclusive": inclusive, "jurisdiction": country, "jurisdiction_level": "country",
        "livemode": false, "metadata": {}, "percentage": percent, "rate_type": "percentage", "state": null,
        "tax_type": if is_european { "vat" } else { "sales_tax" },
    });
    world.create(rate, None)
}

impl Tax {
    /// What it adds to the total.
    pub(crate) fn on_top(&self) -> i64 {
        if self.inclusive { 0 } else { self.amount }
    }

    /// As lines of sessions, and the breakdown of their totals, show it.
    pub(crate) fn of_session(&self) -> Value {
        json!({"amount": self.amount, "rate": self.rate, "taxability_reason": self.reason, "taxable_amount": self.taxable_amount})
    }

    /// As invoices and their lines show it.
    pub(crate) fn of_invoice(&self) -> Value {
        json!({
            "amount": self.amount, "tax_behavior": if self.inclusive { "inclusive" } else { "exclusive" },
            "tax_rate_details": {"tax_rate": self.rate["id"]}, "taxability_reason": self.reason,
            "taxable_amount": self.taxable_amount, "type": "tax_rate_details",
        })
    }
}

/// Taxes of several lines, those of the same rate and reason as one.
pub(crate) fn summed(taxes: &[Tax]) -> Vec<Tax> {
    let mut sums: Vec<Tax> = vec![];
    for tax in taxes {
        let same = |sum: &&mut Tax| sum.rate["id"] == tax.rate["id"] && sum.reason == tax.reason;
        match sums.iter_mut().find(same) {
            Some(sum) => {
                sum.amount += tax.amount;
                sum.taxable_amount += tax.taxable_amount;
            }
            None => sums.push(tax.clone()),
        }
    }
    sums
}

/// The country that a session's tax is that of; None while it is not known.
pub(crate) fn country(world: &World, session: &Value, choices: &Value) -> Option<String> {
    let customer = world.store.copy(session.text("customer"));
    let saved = customer["address"].opt_text("country");
    let update = world.store.hidden(session.text("id"), "customer_update");
    let chosen = choices.opt_text("country");
    // What the session may not change of the customer is what the tax goes by.
    let country = if update.text("address") == "auto" {
        chosen.or(saved)
    } else {
        saved.or(chosen)
    };
    country.map(str::to_owned)
}

/// Where the tax of a page is before its buyer says where that is.
pub(crate) fn guess(choices: &mut Value) {
    if !choices.has("country") {
        choices.set("country", HOME);
    }
}

/// `automatic_tax` of sessions and invoices.
pub(crate) fn automatic(enabled: bool, is_known: bool) -> Value {
    let status = if is_known {
        "complete"
    } else {
        "requires_location_inputs"
    };
    json!({
        "enabled": enabled, "liability": enabled.then(|| json!({"type": "self"})), "provider": enabled.then_some("stripe"),
        "status": enabled.then_some(status),
    })
}
