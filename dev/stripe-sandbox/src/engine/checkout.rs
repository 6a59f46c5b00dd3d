//! What the buyer does on the hosted page: pay, fail, try again, come too late.

use serde_json::{Value, json};

use super::billing::{self, Line, NewInvoice};
use super::instruments::{self, Instrument};
use super::payments::{self, Attempt, NewIntent};
use super::subscriptions::{self, NewSubscription};
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::json::Json;
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
    /// Whether to answer only after the webhook was accepted.
    pub wait_for_webhook: bool,
}

/// A session that the buyer has completed.
pub(crate) struct Completed {
    pub session: Value,
    pub redirect_url: String,
    /// The id of `checkout.session.completed`.
    pub event: String,
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
    let intent = world.store.hidden(id, "intent").as_str().map(str::to_owned);
    if let Some(intent) =
        intent.filter(|intent| world.store.copy(intent).text("status") != "canceled")
    {
        let now = world.now();
        let cancelled = world.change(&intent, |pi| {
            pi.set("status", "canceled");
            pi.set("canceled_at", now);
            pi.set("cancellation_reason", "expired");
        });
        world.emit("payment_intent.canceled", &cancelled, None);
    }
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
    for key in ["line_items", "subscription_data", "payment_intent_data"] {
        let kept = world.store.hidden(id, key).clone();
        world.store.hide(&copy_id, key, kept);
    }
    world.plan(now + 86_400, Task::ExpireSession(copy_id));
    Ok(world.create(copy, None))
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
    let number = payment
        .iban
        .as_deref()
        .or(payment.card.as_deref())
        .unwrap_or("4242424242424242");
    let Some(instrument) = instruments::find(number) else {
        let message = "Your card number is incorrect. (The sandbox takes Stripe's test cards and accounts only.)";
        return Err(
            ApiError::new(402, "card_error", Some("incorrect_number"), message)
                .param("number")
                .into(),
        );
    };
    if let Some(customer) = session.opt_text("customer")
        && world.store.copy(customer).flag("deleted")
    {
        return Err(ApiError::missing_reference("customer", customer, "customer").into());
    }
    let lines = choose_amount(world, id, payment.amount)?;
    let total: i64 = lines.iter().map(|line| line.int("amount_total")).sum();
    let due = if session.text("mode") == "subscription" {
        session.int("amount_total")
    } else {
        total
    };
    let billing_details = buyer(world, &session, payment);
    let method = instruments::payment_method(world, instrument, &billing_details);
    let customer = session.opt_text("customer").map(str::to_owned);
    if due == 0 {
        let customer = customer_for(world, &session, customer, &billing_details);
        finish_method(world, &method, customer.as_deref());
        return Ok(complete(
            world,
            id,
            customer.as_deref(),
            &method,
            None,
            "no_payment_required",
            &billing_details,
        ));
    }
    let intent = intent_for(world, &session, due, instrument);
    let tried = payments::attempt(
        world,
        &intent,
        &method,
        instrument,
        instrument.on_session,
        payment.authenticate,
    );
    let status = match tried {
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
    let customer = customer_for(world, &session, customer, &billing_details);
    if let Some(customer) = &customer {
        for paid in [
            intent.clone(),
            world.store.copy(&intent).text("latest_charge").to_owned(),
        ] {
            world.change(&paid, |object| object.set("customer", customer.as_str()));
        }
    }
    if session.text("mode") == "subscription" || session_saves_method(world, id) {
        finish_method(world, &method, customer.as_deref());
    }
    Ok(complete(
        world,
        id,
        customer.as_deref(),
        &method,
        Some(&intent),
        status,
        &billing_details,
    ))
}

fn session_saves_method(world: &World, id: &str) -> bool {
    world
        .store
        .hidden(id, "payment_intent_data")
        .has("setup_future_usage")
}

/// The lines, with the amount that a donor chose.
fn choose_amount(world: &mut World, id: &str, amount: Option<i64>) -> Result<Vec<Value>, ApiError> {
    let mut lines = world
        .store
        .hidden(id, "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let Some(line) = lines
        .iter_mut()
        .find(|line| line["price"].has("custom_unit_amount"))
    else {
        return Ok(lines);
    };
    let open = line["price"]["custom_unit_amount"].clone();
    let Some(amount) = amount.or(open.opt_int("preset")) else {
        return Err(ApiError::new(
            402,
            "invalid_request_error",
            None,
            "Please choose an amount.",
        )
        .param("amount"));
    };
    let bounds =
        open.opt_int("minimum").unwrap_or(50)..=open.opt_int("maximum").unwrap_or(99_999_999);
    if !bounds.contains(&amount) {
        let message = format!(
            "The amount must be between {} and {}.",
            bounds.start(),
            bounds.end()
        );
        return Err(ApiError::new(402, "invalid_request_error", None, message).param("amount"));
    }
    line.set("amount_subtotal", amount);
    line.set("amount_total", amount);
    world.store.hide(id, "line_items", lines.clone());
    world.change(id, |session| {
        session.set("amount_subtotal", amount);
        session.set("amount_total", amount);
    });
    Ok(lines)
}

fn buyer(world: &World, session: &Value, payment: &Payment) -> Value {
    let known = world.store.copy(session.text("customer"));
    let email = known
        .opt_text("email")
        .or(session.opt_text("customer_email"))
        .or(payment.email.as_deref());
    let name = payment.name.as_deref().or(known.opt_text("name"));
    json!({
        "address": {"city": null, "country": "AT", "line1": null, "line2": null, "postal_code": null, "state": null},
        "email": email.unwrap_or("buyer@example.com"), "name": name.unwrap_or("Sandbox Buyer"), "phone": null,
        "tax_id": null,
    })
}

/// The customer of a session: its own, or a new one where the mode or the session asks for it.
fn customer_for(
    world: &mut World,
    session: &Value,
    known: Option<String>,
    billing: &Value,
) -> Option<String> {
    if known.is_some() {
        return known;
    }
    let wanted = session.text("mode") == "subscription"
        || session.text("customer_creation") == "always"
        || session["invoice_creation"].flag("enabled");
    wanted.then(|| {
        let params = json!({"email": billing["email"], "name": billing["name"]});
        crate::api::new_customer(world, &params)
            .text("id")
            .to_owned()
    })
}

fn finish_method(world: &mut World, method: &Value, customer: Option<&str>) {
    if let Some(customer) = customer {
        instruments::attach(world, method.text("id"), customer);
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

/// Completes a session whose payment went through, is under way, or is not needed.
fn complete(
    world: &mut World,
    id: &str,
    customer: Option<&str>,
    method: &Value,
    intent: Option<&str>,
    payment_status: &str,
    billing: &Value,
) -> Completed {
    let session = world.store.copy(id);
    let mut links = json!({});
    if session.text("mode") == "subscription" {
        let (subscription, invoice) = subscribe(
            world,
            &session,
            customer.unwrap_or_default(),
            method,
            intent,
            payment_status,
        );
        links.set("subscription", subscription);
        links.set("invoice", invoice);
    } else {
        if session["invoice_creation"].flag("enabled") {
            let invoice = bill_once(
                world,
                &session,
                customer.unwrap_or_default(),
                intent,
                payment_status,
            );
            links.set("invoice", invoice);
        }
        if let (Some(intent), "paid") = (intent, payment_status) {
            settle_fee(world, intent);
        }
    }
    let done = world.change(id, |session| {
        session.set("status", "complete");
        session.set("payment_status", payment_status);
        session.set("url", Value::Null);
        session.set("customer", customer);
        session.set("customer_details", json!({
            "address": billing["address"], "business_name": null, "email": billing["email"], "individual_name": null,
            "name": billing["name"], "phone": null, "tax_exempt": "none", "tax_ids": [],
        }));
        for (key, value) in links.fields() {
            session.set(&key, value);
        }
    });
    let event = world.emit("checkout.session.completed", &done, None);
    Completed {
        redirect_url: redirect_url(&done),
        session: done,
        event,
    }
}

/// The fee of a one-off charge is known a moment later.
fn settle_fee(world: &mut World, intent: &str) {
    let charge = world
        .store
        .copy(world.store.copy(intent).text("latest_charge"));
    let previous = json!({"balance_transaction": null, "receipt_url": null}).fields();
    world.emit("charge.updated", &charge, Some(previous));
}

/// Creates the subscription of a paid session, with its first invoice.
fn subscribe(
    world: &mut World,
    session: &Value,
    customer: &str,
    method: &Value,
    intent: Option<&str>,
    payment_status: &str,
) -> (Value, Value) {
    let id = session.text("id");
    let data = world.store.hidden(id, "subscription_data").clone();
    let lines = world
        .store
        .hidden(id, "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let (recurring, once): (Vec<_>, Vec<_>) = lines
        .into_iter()
        .partition(|line| line["price"].text("type") == "recurring");
    let new = NewSubscription {
        customer,
        currency: session.text("currency"),
        items: recurring
            .iter()
            .map(|line| (line["price"].clone(), line.int("quantity")))
            .collect(),
        method: Some(method.text("id")),
        data: &data,
        collection_method: "charge_automatically",
        days_until_due: None,
        status: "active",
    };
    let subscription = subscriptions::create(world, &new);
    let subscription_id = subscription.text("id").to_owned();
    let (start, end) = (world.now(), subscriptions::period_end(&subscription));
    let free = (subscription.text("status") == "trialing").then_some("Free trial for");
    let mut invoice_lines = subscriptions::lines(world, &subscription, (start, end), free);
    // What the session promised is what is billed: a trial costs nothing, a short first period less.
    for (line, promised) in invoice_lines.iter_mut().zip(&recurring) {
        line.amount = promised.int("amount_total");
    }
    invoice_lines.extend(once.iter().map(|line| once_line(line, start)));
    let new = NewInvoice {
        customer,
        currency: session.text("currency"),
        subscription: Some(&subscription_id),
        reason: "subscription_create",
        lines: invoice_lines,
        period: (start, start),
        metadata: json!({}),
    };
    let draft = billing::draft(world, new);
    // The subscription is announced before its invoice, and names it.
    let subscription = world.store.copy(&subscription_id);
    world.emit("customer.subscription.created", &subscription, None);
    world.emit("invoice.created", &draft, None);
    let invoice = draft.text("id").to_owned();
    settle_first(world, &invoice, intent, payment_status);
    (subscription_id.into(), invoice.into())
}

/// Creates the invoice of a one-off session that asks for one.
fn bill_once(
    world: &mut World,
    session: &Value,
    customer: &str,
    intent: Option<&str>,
    payment_status: &str,
) -> Value {
    let lines = world
        .store
        .hidden(session.text("id"), "line_items")
        .as_array()
        .cloned()
        .unwrap_or_default();
    let now = world.now();
    let metadata = session["invoice_creation"]["invoice_data"]
        .get("metadata")
        .filter(|m| m.is_object())
        .cloned();
    let new = NewInvoice {
        customer,
        currency: session.text("currency"),
        subscription: None,
        reason: "manual",
        lines: lines.iter().map(|line| once_line(line, now)).collect(),
        period: (now, now),
        metadata: metadata.unwrap_or_else(|| json!({})),
    };
    let invoice = billing::create(world, new).text("id").to_owned();
    settle_first(world, &invoice, intent, payment_status);
    invoice.into()
}

fn once_line(line: &Value, at: i64) -> Line {
    Line {
        price: line["price"].clone(),
        quantity: line.int("quantity"),
        amount: line.int("amount_total"),
        description: line.text("description").to_owned(),
        period: (at, at),
        item: None,
        metadata: json!({}),
    }
}

/// Finalizes the invoice of a checkout, which was paid before it existed.
fn settle_first(world: &mut World, invoice: &str, intent: Option<&str>, payment_status: &str) {
    let open = billing::finalize(world, invoice);
    if let Some(intent) = intent {
        billing::add_payment(world, &open, intent);
    }
    world.change(invoice, |object| {
        object.set("attempted", true);
        object.set("attempt_count", i64::from(intent.is_some()));
    });
    if payment_status != "unpaid" {
        billing::mark_paid(world, invoice, false);
    }
}
