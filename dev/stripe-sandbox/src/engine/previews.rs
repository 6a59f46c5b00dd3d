//! What an invoice would be: the change is made in a copy of the part of the world that it touches.

use serde_json::Value;

use super::changes::{self, Change};
use super::subscriptions::period_end;
use super::{drafts, periods};
use crate::world::World;
use crate::world::json::Json;

/// What belongs to nobody, and what to a customer, of all that invoices are reckoned from.
const SHARED: &[&str] = &["coupon", "price", "product", "promotion_code", "tax_rate"];
const OWNED: &[&str] = &[
    "discount",
    "invoiceitem",
    "payment_method",
    "subscription",
    "tax_id",
];

/// A world of its own with one subscription and what its invoices need; time stands still there, and nothing that
/// happens in it is told to anybody.
pub(super) fn excerpt(world: &World, subscription: &str) -> World {
    let customer = world.store.copy(subscription).text("customer").to_owned();
    let mut scratch = World {
        settings: world.settings.clone(),
        ..World::default()
    };
    let (from, into) = (&world.store, &mut scratch.store);
    into.adopt(from, from.get(&customer).into_iter());
    for kind in SHARED {
        into.adopt(from, from.all(kind).iter());
    }
    for kind in OWNED {
        let theirs = from.linked(kind, &customer);
        into.adopt(from, theirs.filter(|row| row.text("customer") == customer));
    }
    scratch.clock.frozen = Some(world.now());
    scratch
}

/// The invoice that a change would bring about at once, or else the next one; none where none will come.
pub(crate) fn preview(world: &World, id: &str, change: Option<&Change>) -> Option<Value> {
    let mut scratch = excerpt(world, id);
    let at_once = change.and_then(|change| changes::apply(&mut scratch, id, change, &|_| {}));
    let (invoice, attempt) = match at_once {
        Some(invoice) => (invoice, world.now()),
        None => (
            next(&mut scratch, id)?,
            scratch.now() + drafts::DRAFT_SECONDS,
        ),
    };
    let mut preview = scratch.store.copy(&invoice);
    let is_charged = preview.text("collection_method") == "charge_automatically";
    preview.set("billing_reason", "upcoming");
    preview.set("next_payment_attempt", is_charged.then_some(attempt));
    preview.set("automatically_finalizes_at", Value::Null);
    // There is nowhere to page the lines of something that does not exist: it shows them all.
    let lines = drafts::lines_of(&scratch, &preview).to_vec();
    preview["lines"].set("data", lines);
    preview["lines"].set("has_more", false);
    // It has an id of its own, which names nothing.
    let text = preview
        .to_string()
        .replace(&invoice, &format!("upcoming_{invoice}"));
    serde_json::from_str(&text).ok()
}

/// Lets the period end.
fn next(scratch: &mut World, id: &str) -> Option<String> {
    let before = scratch.store.copy(id);
    scratch.clock.frozen = Some(period_end(&before).max(scratch.now()));
    periods::end_period(scratch, id);
    let latest = scratch.store.copy(id)["latest_invoice"].clone();
    let is_new = latest != before["latest_invoice"];
    latest.as_str().filter(|_| is_new).map(str::to_owned)
}
