//! What the buyer does on the hosted page: pay, fail, try again, come too late.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::completion::{self, Completed, Deal};
use super::instruments::{self, Behaviour, Instrument};
use super::payments::{self, Attempt, NewIntent};
use super::{buyer, offer};
use crate::world::error::{ApiError, ApiResult};
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World};

/// What a buyer enters.
#[derive(Debug, Default, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Payment {
    /// A test card's number.
    pub card: Option<String>,
    /// A test account's IBAN.
    pub iban: Option<String>,
    /// Whether the bank's check is passed, where there is one.
    pub authenticate: Option<bool>,
    /// What a donor chooses, where the price leaves it open.
    pub amount: Option<i64>,
    /// The buyer's e-mail address, where the session has none.
    pub email: Option<String>,
    /// The buyer's name.
    pub name: Option<String>,
    /// Two letters; what is known of the customer when missing, else Austria.
    pub country: Option<String>,
    /// Street and number, where the session wants a whole address.
    pub line1: Option<String>,
    /// The same for the postal code.
    pub postal_code: Option<String>,
    /// The same for the city.
    pub city: Option<String>,
    /// A VAT number, where the session collects tax ids.
    pub tax_id: Option<String>,
    /// Whether the terms are accepted where the session asks for that; a program that does not say accepts them.
    pub accept_terms: Option<bool>,
    /// Whether the buyer wants news, where the session asks.
    pub promotions: Option<bool>,
    /// Other quantities, by id or index of the line, where the session lets the buyer change them.
    pub quantities: BTreeMap<String, i64>,
    /// A promotion code, where the session takes them; an empty one takes back that of an earlier try.
    pub promotion_code: Option<String>,
    /// Whether to answer only after the webhook was accepted.
    pub wait_for_webhook: bool,
}

/// Why a payment did not go through.
pub(crate) enum NotPaid {
    /// The session is complete or expired.
    NotOpen(Value),
    /// Declined, or to be authenticated: the buyer may try again.
    Refused(ApiError),
}

impl From<ApiError> for NotPaid {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Expires an open session.
pub(crate) fn expire(world: &mut World, id: &str) -> Value {
    cancel_intent(world, id, "expired");
    let recovery = format!("{}/c/recover/{id}", world.base_url);
    let expired = world.change(id, |session| {
        session.set("status", "expired");
        session.set("url", Value::Null);
        let until = session.int("created") + 30 * 86_400;
        if session["after_expiration"]["recovery"].flag("enabled") {
            session["after_expiration"]["recovery"].set("url", recovery);
            session["after_expiration"]["recovery"].set("expires_at", until);
        }
    });
    world.emit("checkout.session.expired", &expired, None);
    expired
}

/// Cancels the payment intent of an earlier try.
fn cancel_intent(world: &mut World, session: &str, reason: &str) {
    let intent = world.store.hidden(session, "intent").as_str();
    let intent = intent.and_then(|intent| world.store.get(intent));
    let Some(intent) = intent.filter(|intent| intent.text("status") != "canceled") else {
        return;
    };
    let (id, now) = (intent.text("id").to_owned(), world.now());
    let cancelled = world.change(&id, |pi| {
        pi.set("status", "canceled");
        pi.set("canceled_at", now);
        pi.set("cancellation_reason", reason);
    });
    world.emit("payment_intent.canceled", &cancelled, None);
}

/// A discount can leave nothing to pay for the intent of an earlier try.
fn drop_intent(world: &mut World, session: &str) {
    cancel_intent(world, session, "automatic");
    world.store.hide(session, "intent", Value::Null);
    world.change(session, |object| object.set("payment_intent", Value::Null));
}

/// Opens the copy of an expired session that its recovery link promises.
///
/// # Errors
/// When the session has no recovery, or its time is over.
pub(crate) fn recover(world: &mut World, id: &str) -> ApiResult {
    let old = world.require("checkout.session", id)?;
    let recovery = &old["after_expiration"]["recovery"];
    if old.text("status") != "expired"
        || recovery
            .opt_int("expires_at")
            .is_none_or(|until| until < world.now())
    {
        return Err(ApiError::missing("checkout.session", id));
    }
    let copy_id = ids::new("cs_test_a1");
    let now = world.now();
    let mut copy = old.clone();
    for (key, value) in json!({
        "id": copy_id, "status": "open", "created": now, "expires_at": now + 86_400, "recovered_from": id,
        "url": format!("{}/c/pay/{copy_id}", world.base_url), "payment_intent": null,
    })
    .fields()
    {
        copy.set(&key, value);
    }
    copy["after_expiration"]["recovery"].set("url", Value::Null);
    copy["after_expiration"]["recovery"].set("expires_at", Value::Null);
    for key in [
        "customer_update",
        "subscription_data",
        "payment_intent_data",
    ] {
        let kept = world.store.hidden(id, key).clone();
        world.store.hide(&copy_id, key, kept);
    }
    world.plan(now + 86_400, Task::ExpireSession(copy_id.clone()));
    world.create(copy, None);
    let items = offer::offered(world, id);
    let grant = offer::fixed_grant(world, id);
    let promotions = recovery.flag("allow_promotion_codes");
    world.change(&copy_id, |copy| {
        copy.set("allow_promotion_codes", promotions);
    });
    offer::open(world, &copy_id, items, grant.as_ref());
    Ok(world.store.copy(&copy_id))
}

/// The success URL with the session's id in its place.
pub(crate) fn redirect_url(session: &Value) -> String {
    session
        .text("success_url")
        .replace("{CHECKOUT_SESSION_ID}", session.text("id"))
}

/// Pays an open session.
pub(crate) fn pay(world: &mut World, id: &str, payment: &Payment) -> Result<Completed, NotPaid> {
    let session = world.require("checkout.session", id)?;
    if session.text("status") != "open" {
        return Err(NotPaid::NotOpen(session));
    }
    if let Some(customer) = session.opt_text("customer")
        && world.store.copy(customer).flag("deleted")
    {
        return Err(ApiError::missing_reference("customer", customer, "customer").into());
    }
    let buyer = buyer::read(world, &session, payment)?;
    offer::choose(world, id, payment)?;
    let session = world.store.copy(id);
    let due = session.int("amount_total");
    let instrument = instrument_for(&session, payment, due)?;
    let method = instrument.map(|instrument| {
        instruments::payment_method(world, instrument, &buyer.billing)
            .text("id")
            .to_owned()
    });
    let (Some(instrument), Some(method), true) = (instrument, method.clone(), due > 0) else {
        drop_intent(world, id);
        let customer = buyer::customer_for(world, &session, &buyer);
        keep_method(world, &session, method.as_deref(), customer.as_deref());
        let deal = Deal {
            customer,
            method,
            intent: None,
            payment_status: "no_payment_required",
            buyer,
        };
        return Ok(completion::complete(world, id, &deal));
    };
    let intent = intent_for(world, &session, due, instrument);
    // A customer is made for a buyer who pays, not for one who is declined.
    let behaviour = instrument
        .on_session
        .after_authentication(payment.authenticate);
    let goes_through = matches!(behaviour, Behaviour::Pays | Behaviour::Debits { .. });
    let customer = if goes_through {
        buyer::customer_for(world, &session, &buyer)
    } else {
        None
    };
    if goes_through {
        world.change(&intent, |object| object.set("customer", customer.clone()));
        keep_method(world, &session, Some(&method), customer.as_deref());
    }
    let payment_status = match payments::attempt(world, &intent, &method, behaviour) {
        Attempt::Paid => "paid",
        Attempt::Processing => "unpaid",
        Attempt::NeedsAction => {
            let message = "This payment requires authentication before it can be completed.";
            let error = ApiError::new(402, "card_error", Some("authentication_required"), message);
            return Err(error
                .with("payment_intent", world.store.copy(&intent))
                .into());
        }
        Attempt::Failed(why) => return Err(payments::card_error(world, &intent, why).into()),
    };
    let deal = Deal {
        customer,
        method: Some(method),
        intent: Some(intent),
        payment_status,
        buyer,
    };
    Ok(completion::complete(world, id, &deal))
}

/// The instrument that the buyer names; none where nothing is due and none must be collected.
fn instrument_for(
    session: &Value,
    payment: &Payment,
    due: i64,
) -> Result<Option<&'static Instrument>, ApiError> {
    let number = payment.iban.as_deref().or(payment.card.as_deref());
    let is_optional = session.text("payment_method_collection") == "if_required";
    // What is bought once for nothing will never be paid.
    let is_free = due == 0 && session.text("mode") == "payment";
    if is_free || (number.is_none() && due == 0 && is_optional) {
        return Ok(None);
    }
    let Some(instrument) = instruments::find(number.unwrap_or("4242424242424242")) else {
        let message = "Your card number is incorrect. (The sandbox takes Stripe's test cards and accounts only.)";
        return Err(
            ApiError::new(402, "card_error", Some("incorrect_number"), message).param("number"),
        );
    };
    if !is_offered(session, instrument) {
        let message = format!(
            "This session does not accept payments by {}.",
            instrument.kind()
        );
        return Err(
            ApiError::new(402, "invalid_request_error", None, message).param("payment_method")
        );
    }
    Ok(Some(instrument))
}

/// Whether a session takes an instrument's kind.
pub(crate) fn is_offered(session: &Value, instrument: &Instrument) -> bool {
    session
        .items("payment_method_types")
        .iter()
        .any(|kind| kind == instrument.kind())
}

/// Attaches the payment method to the customer where it will be charged again.
fn keep_method(world: &mut World, session: &Value, method: Option<&str>, customer: Option<&str>) {
    let data = world
        .store
        .hidden(session.text("id"), "payment_intent_data");
    let kept = session.text("mode") == "subscription" || data.has("setup_future_usage");
    if let (true, Some(method), Some(customer)) = (kept, method, customer) {
        instruments::attach(world, method, customer);
    }
}

/// The session's payment intent: that of an earlier try, or a new one.
fn intent_for(world: &mut World, session: &Value, due: i64, instrument: &Instrument) -> String {
    let id = session.text("id");
    if let Some(intent) = world.store.hidden(id, "intent").as_str() {
        return intent.to_owned();
    }
    let is_subscription = session.text("mode") == "subscription";
    // Payments of invoices carry none of the session's metadata.
    let data = if is_subscription {
        Value::Null
    } else {
        world.store.hidden(id, "payment_intent_data").clone()
    };
    let new = NewIntent {
        amount: due,
        currency: session.text("currency"),
        customer: session.opt_text("customer"),
        data: &data,
        description: is_subscription.then_some("Subscription creation"),
        kind: instrument.kind(),
    };
    let intent = payments::new_intent(world, &new).text("id").to_owned();
    world.store.hide(id, "intent", intent.as_str());
    if !is_subscription {
        world.change(id, |object| object.set("payment_intent", intent.as_str()));
    }
    intent
}
