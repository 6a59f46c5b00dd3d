//! Changes to what a subscription bills: prorations, the invoice that they may bring about, and its payment.

use serde_json::{Value, json};

use super::billing::{self, Collect};
use super::drafts::{self, DRAFT_SECONDS, NewInvoice};
use super::instruments::{default_method, of_method};
use super::payments::{self, Attempt, NewIntent};
use super::subscriptions::{lines, period_end};
use super::{periods, proration, terms};
use crate::world::clock::next_period_end;
use crate::world::error::{ApiError, ApiResult};
use crate::world::json::{Json, previous_attributes};
use crate::world::{Task, World};

/// What `proration_behavior` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prorate {
    /// Nothing is credited or debited.
    Never,
    /// Prorations wait for the next invoice.
    Later,
    /// Prorations are invoiced at once.
    Now,
}

/// A checked change.
pub(crate) struct Change {
    /// All items as they will be.
    pub items: Vec<Value>,
    pub prorate: Prorate,
    /// The moment that prorations are reckoned from.
    pub at: i64,
    /// Whether a payment that fails leaves everything as it was.
    pub only_if_paid: bool,
    /// What a customer who is present answers to the bank's check.
    pub authenticate: Option<bool>,
}

/// Everything else that the same request changes.
pub(crate) type Edit<'a> = &'a dyn Fn(&mut Value);

/// Whether another price or quantity is billed.
fn differs(old: &Value, new: &Value) -> bool {
    old["price"]["id"] != new["price"]["id"] || old["quantity"] != new["quantity"]
}

fn rhythm(item: &Value) -> (&Value, &Value) {
    let recurring = &item["price"]["recurring"];
    (&recurring["interval"], &recurring["interval_count"])
}

impl Change {
    /// Pairs of items before and after.
    fn pairs<'a>(&'a self, before: &'a Value) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        before["items"].items("data").iter().zip(&self.items)
    }

    fn is_change(&self, before: &Value) -> bool {
        self.pairs(before).any(|(old, new)| differs(old, new))
    }

    /// Another interval starts a new cycle, unless a trial still decides when the first one starts.
    fn resets(&self, before: &Value) -> bool {
        before.text("status") != "trialing"
            && self
                .pairs(before)
                .any(|(old, new)| rhythm(old) != rhythm(new))
    }
}

/// Changes a subscription and collects what is due at once.
///
/// # Errors
/// The failed payment, where the change is to be made only if it is paid; nothing has changed then.
pub(crate) fn perform(world: &mut World, id: &str, change: &Change, edit: Edit) -> ApiResult {
    terms::check_place(world, id)?;
    let ahead = if change.only_if_paid {
        pay_ahead(world, id, change, edit)?
    } else {
        None
    };
    if let Some(invoice) = apply(world, id, change, edit) {
        settle(world, id, &invoice, ahead.as_ref());
    }
    Ok(world.store.copy(id))
}

/// Does everything but collect; returns the invoice that the change brings about at once.
pub(super) fn apply(world: &mut World, id: &str, change: &Change, edit: Edit) -> Option<String> {
    let before = world.store.copy(id);
    let now = world.now();
    let resets = change.resets(&before);
    // The invoice is made of the subscription as it will be, also of its metadata.
    let after = world.change(id, |object| {
        object["items"].set("data", change.items.clone());
        if resets {
            restart(object, now);
        }
        edit(object);
    });
    if change.prorate != Prorate::Never && before.text("status") != "trialing" {
        for (old, new) in change.pairs(&before) {
            if resets || differs(old, new) {
                proration::credit(world, &before, old, change.at);
            }
            if !resets && differs(old, new) {
                proration::debit(world, &before, new, change.at);
            }
        }
    }
    let invoices_prorations = change.prorate == Prorate::Now
        && change.is_change(&before)
        && proration::is_pending(world, id);
    let invoice = (resets || invoices_prorations).then(|| {
        let lines = if resets {
            lines(world, &after, (now, period_end(&after)), None)
        } else {
            vec![]
        };
        let start = before["items"].items("data").first();
        let new = NewInvoice {
            customer: before.text("customer"),
            currency: before.text("currency"),
            subscription: Some(id),
            reason: "subscription_update",
            lines,
            period: (
                start.map_or(now, |item| item.int("current_period_start")),
                now,
            ),
            metadata: json!({}),
        };
        drafts::create(world, &new).text("id").to_owned()
    });
    // One event tells of the change and of the link to its invoice.
    let done = world.store.copy(id);
    let previous = previous_attributes(&before, &done);
    if !previous.is_empty() {
        world.emit("customer.subscription.updated", &done, Some(previous));
    }
    if resets {
        periods::plan(world, id, period_end(&after));
    }
    invoice
}

/// Lets all items start a period now.
fn restart(subscription: &mut Value, now: i64) {
    let Some(items) = subscription["items"]["data"].as_array_mut() else {
        return;
    };
    let mut first_end = now;
    for item in items {
        let recurring = &item["price"]["recurring"];
        let (interval, count) = (recurring.text("interval"), recurring.int("interval_count"));
        first_end = next_period_end(now, interval, count, now);
        item.set("current_period_start", now);
        item.set("current_period_end", first_end);
    }
    subscription.set("billing_cycle_anchor", now);
    if subscription.flag("cancel_at_period_end") {
        subscription.set("cancel_at", first_end);
    }
}

/// A payment made before the change that it pays for.
struct Ahead {
    intent: String,
    is_paid: bool,
}

/// Collects what the change will cost; nothing where nothing is collected at once.
fn pay_ahead(
    world: &mut World,
    id: &str,
    change: &Change,
    edit: Edit,
) -> Result<Option<Ahead>, ApiError> {
    let mut scratch = super::previews::excerpt(world, id);
    let Some(invoice) = apply(&mut scratch, id, change, edit) else {
        return Ok(None);
    };
    let invoice = scratch.store.copy(&invoice);
    let subscription = scratch.store.copy(id);
    let due = invoice.int("amount_due");
    if due == 0 || collection(&subscription) != Collection::AtOnce {
        return Ok(None);
    }
    let method = default_method(&scratch, &subscription);
    let usable = method.and_then(|method| Some((of_method(world, &method)?, method)));
    let Some((instrument, method)) = usable else {
        let message = "This customer has no attached payment source or default payment method. Please consider adding \
                       a default payment method.";
        return Err(ApiError::coded("resource_missing", message));
    };
    let new = NewIntent {
        amount: due,
        currency: subscription.text("currency"),
        customer: subscription.opt_text("customer"),
        data: &Value::Null,
        description: Some("Subscription update"),
        kind: instrument.kind(),
    };
    let intent = payments::new_intent(world, &new).text("id").to_owned();
    let behaviour = instrument
        .off_session
        .after_authentication(change.authenticate);
    let error = match payments::attempt(world, &intent, &method, behaviour) {
        Attempt::Paid => {
            return Ok(Some(Ahead {
                intent,
                is_paid: true,
            }));
        }
        Attempt::Processing => {
            return Ok(Some(Ahead {
                intent,
                is_paid: false,
            }));
        }
        Attempt::Failed(why) => payments::card_error(world, &intent, why),
        Attempt::NeedsAction => {
            let message = "Payment for this subscription requires additional user action before it can be completed \
                           successfully.";
            let code = "subscription_payment_intent_requires_action";
            ApiError::new(402, "card_error", Some(code), message)
        }
    };
    // The invoice that it was for will never be.
    billing::cancel_intent(world, &intent, "automatic");
    Err(error)
}

/// How the invoice of a change is collected.
#[derive(PartialEq, Eq)]
enum Collection {
    AtOnce,
    /// Its draft waits for the usual hour.
    AfterAnHour,
    /// Finalized at once, and then whatever the pause of collection says.
    Paused,
    /// It stays a draft.
    Never,
}

fn collection(subscription: &Value) -> Collection {
    match subscription["pause_collection"].text("behavior") {
        "keep_as_draft" => Collection::Never,
        _ if subscription.text("status") == "unpaid" => Collection::Never,
        "" if subscription.text("collection_method") == "send_invoice" => Collection::AfterAnHour,
        "" => Collection::AtOnce,
        _ => Collection::Paused,
    }
}

/// Collects the invoice of a change, or ties it to the payment that was made ahead.
fn settle(world: &mut World, id: &str, invoice: &str, ahead: Option<&Ahead>) {
    match collection(&world.store.copy(id)) {
        Collection::Never => {
            world.change(invoice, |object| object.set("auto_advance", false));
        }
        Collection::AfterAnHour => {
            let due = world.now() + DRAFT_SECONDS;
            world.change(invoice, |object| {
                object.set("automatically_finalizes_at", due);
            });
            world.plan(due, Task::FinalizeInvoice(invoice.to_owned()));
        }
        Collection::Paused => billing::advance_draft(world, invoice),
        Collection::AtOnce => {
            let open = billing::finalize(world, invoice);
            let Some(ahead) = ahead else {
                let how = Collect {
                    automatic: true,
                    ..Collect::default()
                };
                // The change stays; what fails is told by the status and dunning.
                let _ = billing::collect(world, invoice, &how);
                return;
            };
            billing::add_payment(world, &open, &ahead.intent);
            world.change(invoice, |object| {
                object.set("attempted", true);
                object.set("attempt_count", 1);
            });
            if ahead.is_paid {
                billing::mark_paid(world, invoice, false);
            }
        }
    }
}
