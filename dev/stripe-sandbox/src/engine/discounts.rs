//! Coupons at work: who may redeem one, what it takes off, and for how long.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::amounts::Percent;
use crate::world::clock::add_interval;
use crate::world::ids;
use crate::world::json::Json;

/// What a discount comes from.
#[derive(Clone)]
pub(crate) struct Grant {
    pub coupon: String,
    pub promotion_code: Option<String>,
}

/// Why a coupon cannot be redeemed for an amount in a currency.
pub(crate) fn coupon_flaw(world: &World, id: &str, currency: &str) -> Option<&'static str> {
    let coupon = world.store.copy(id);
    if coupon.flag("deleted") || !coupon.flag("valid") {
        return Some("This coupon has expired or has been redeemed too often.");
    }
    (coupon.has("amount_off") && coupon.text("currency") != currency)
        .then_some("This coupon is in another currency.")
}

/// Why a promotion code cannot be redeemed in a session.
pub(crate) fn code_flaw(
    world: &World,
    code: &Value,
    session: &Value,
    subtotal: i64,
) -> Option<&'static str> {
    let currency = session.text("currency");
    if !code.flag("active") {
        return Some("This code is not active any more.");
    }
    if code.has("customer") && code["customer"] != session["customer"] {
        return Some("This code is somebody else's.");
    }
    let restrictions = &code["restrictions"];
    let least = restrictions.opt_int("minimum_amount");
    let applies = restrictions.text("minimum_amount_currency") == currency;
    if least.is_some_and(|least| !applies || subtotal < least) {
        return Some("This code is for larger purchases.");
    }
    coupon_flaw(world, code["promotion"].text("coupon"), currency)
}

/// The active promotion code that buyers know by a text; its case does not matter.
pub(crate) fn find_code(world: &World, text: &str) -> Option<Value> {
    let mut codes = world.store.all("promotion_code").iter();
    let same = |row: &&Value| row.flag("active") && row.text("code").eq_ignore_ascii_case(text);
    codes.find(same).cloned()
}

/// Makes the discount of a session. The coupon is kept with it: it works on when the coupon is deleted.
pub(crate) fn create(world: &mut World, session: &str, grant: &Grant) -> String {
    let id = ids::new("di");
    let coupon = world.store.copy(&grant.coupon);
    let products = world.store.hidden(&grant.coupon, "applies_to").clone();
    let discount = json!({
        "id": id, "object": "discount", "checkout_session": session, "customer": null, "customer_account": null,
        "end": null, "invoice": null, "invoice_item": null, "promotion_code": grant.promotion_code,
        "source": {"coupon": grant.coupon, "type": "coupon"}, "start": world.now(), "subscription": null,
        "subscription_item": null,
    });
    world.store.hide(&id, "coupon", coupon);
    world.store.hide(&id, "applies_to", products);
    world.create(discount, None);
    id
}

/// What a discount takes off each of these prices and amounts.
///
/// An amount is spread in proportion, over what recurs first, so that a session and its invoice, which puts that first,
/// come to the same.
pub(crate) fn shares(world: &World, discount: &str, charges: &[(Value, i64)]) -> Vec<i64> {
    let coupon = world.store.hidden(discount, "coupon");
    shares_of(coupon, world.store.hidden(discount, "applies_to"), charges)
}

/// The same for a coupon that nobody has redeemed yet.
pub(crate) fn shares_of(coupon: &Value, applies_to: &Value, charges: &[(Value, i64)]) -> Vec<i64> {
    let products = applies_to["products"].as_array();
    let base = |(price, amount): &(Value, i64)| {
        let fits = products.is_none_or(|products| products.contains(&price["product"]));
        if fits { (*amount).max(0) } else { 0 }
    };
    let percent = serde_json::from_value::<Percent>(coupon["percent_off"].clone());
    if let Ok(percent) = percent {
        return charges
            .iter()
            .map(|charge| percent.of(base(charge)))
            .collect();
    }
    let sum: i64 = charges.iter().map(base).sum();
    let off = coupon.int("amount_off").min(sum);
    let mut order: Vec<usize> = (0..charges.len()).collect();
    order.sort_by_key(|at| !charges[*at].0.has("recurring"));
    let mut shares = vec![0; charges.len()];
    let (mut so_far, mut given) = (0, 0);
    for at in order {
        so_far += base(&charges[at]);
        let until = if sum == 0 {
            0
        } else {
            i64::try_from(i128::from(off) * i128::from(so_far) / i128::from(sum)).unwrap_or(off)
        };
        shares[at] = until - given;
        given = until;
    }
    shares
}

/// Counts a redemption; what was the last one ends the coupon or the code.
pub(crate) fn redeem(world: &mut World, discount: &str) {
    let discount = world.store.copy(discount);
    let coupon = discount["source"].text("coupon").to_owned();
    let code = discount.text("promotion_code").to_owned();
    for (id, field) in [(&coupon, "valid"), (&code, "active")] {
        world.change(id, |object| {
            let times = object.int("times_redeemed") + 1;
            if object
                .opt_int("max_redemptions")
                .is_some_and(|most| times >= most)
            {
                object.set(field, false);
            }
            object.set("times_redeemed", times);
        });
    }
    if world.store.copy(&coupon).flag("valid") {
        return;
    }
    end_codes(world, &coupon);
}

/// A coupon that nobody can redeem has no active codes.
pub(crate) fn end_codes(world: &mut World, coupon: &str) {
    let is_its = |row: &Value| row["promotion"].text("coupon") == coupon && row.flag("active");
    for code in world.store.ids_where("promotion_code", is_its) {
        world.change(&code, |object| object.set("active", false));
    }
}

/// A coupon or a code has reached its last day.
pub(crate) fn expire(world: &mut World, id: &str) {
    let object = world.store.copy(id);
    if object.text("object") == "coupon" {
        world.update(id, "coupon.updated", |coupon| coupon.set("valid", false));
        end_codes(world, id);
    } else if object.flag("active") {
        world.update(id, "promotion_code.updated", |code| {
            code.set("active", false);
        });
    }
}

/// Gives the discount of a session to the subscription that came of it.
pub(crate) fn grant(world: &mut World, discount: &str, subscription: &str, customer: &str) {
    let coupon = world.store.hidden(discount, "coupon").clone();
    let now = world.now();
    let end = coupon
        .opt_int("duration_in_months")
        .map(|months| add_interval(now, "month", months));
    let granted = world.change(discount, |object| {
        object.set("subscription", subscription);
        object.set("customer", customer);
        object.set("start", now);
        object.set("end", end);
    });
    world.change(subscription, |object| {
        object.set("discounts", json!([discount]));
    });
    world.emit("customer.discount.created", &granted, None);
}

/// The discounts that a subscription still has.
pub(crate) fn of_subscription(world: &World, subscription: &Value) -> Vec<String> {
    let ids = subscription.items("discounts").iter();
    ids.filter_map(Value::as_str)
        .filter(|id| {
            let end = world.store.get(id).and_then(|row| row.opt_int("end"));
            end.is_none_or(|end| end > world.now())
        })
        .map(str::to_owned)
        .collect()
}

/// After an invoice: what was for once is used up as soon as it took something off, what was for months ends with them.
pub(crate) fn use_up(world: &mut World, subscription: &str, invoice: &Value) {
    let used = invoice.items("total_discount_amounts");
    let before = world.store.copy(subscription);
    let kept: Vec<String> = of_subscription(world, &before)
        .into_iter()
        .filter(|id| {
            let once = world.store.hidden(id, "coupon").text("duration") == "once";
            !(once && used.iter().any(|used| used.text("discount") == id))
        })
        .collect();
    let ended = before
        .items("discounts")
        .iter()
        .filter(|id| !kept.iter().any(|kept| *id == kept));
    for id in ended {
        let gone = world.store.copy(id.as_str().unwrap_or_default());
        world.emit("customer.discount.deleted", &gone, None);
    }
    world.change(subscription, |object| object.set("discounts", kept));
}
