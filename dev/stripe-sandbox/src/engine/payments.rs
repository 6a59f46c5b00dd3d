//! Payment intents and charges: one attempt after the other until the money moves.

use serde_json::{Value, json};

use super::instruments::{self, Behaviour, Decline};
use crate::world::error::ApiError;
use crate::world::ids;
use crate::world::json::Json;
use crate::world::{Task, World};

/// What a payment intent is made of.
pub(crate) struct NewIntent<'a> {
    pub amount: i64,
    pub currency: &'a str,
    pub customer: Option<&'a str>,
    /// Parameters under `payment_intent_data`; null for invoices, whose payments carry no metadata.
    pub data: &'a Value,
    pub description: Option<&'a str>,
    pub kind: &'static str,
}

/// What came of an attempt.
pub(crate) enum Attempt {
    /// The money has moved.
    Paid,
    /// A debit is under way.
    Processing,
    /// The buyer must authenticate.
    NeedsAction,
    /// The bank said no.
    Failed(&'static Decline),
}

/// Creates a payment intent that waits for a payment method.
pub(crate) fn new_intent(world: &mut World, new: &NewIntent) -> Value {
    let id = ids::new("pi");
    let text = |key: &str| new.data.get(key).cloned().unwrap_or_default();
    let description = new.data.opt_text("description").or(new.description);
    let intent = json!({
        "id": id, "object": "payment_intent", "allowed_payment_method_types": null, "amount": new.amount,
        "amount_capturable": 0, "amount_details": {"tip": {}}, "amount_received": 0, "application": null,
        "application_fee_amount": null, "automatic_payment_methods": null, "canceled_at": null,
        "cancellation_reason": null, "capture_method": "automatic", "client_secret": format!("{id}_secret_{}", ids::random(25)),
        "confirmation_method": "automatic", "created": world.now(), "currency": new.currency,
        "customer": new.customer, "customer_account": null, "description": description,
        "excluded_payment_method_types": null, "last_payment_error": null, "latest_charge": null, "livemode": false,
        "managed_payments": null, "metadata": crate::world::new_metadata(new.data.get("metadata")), "next_action": null, "on_behalf_of": null,
        "payment_method": null, "payment_method_configuration_details": null, "payment_method_options": {},
        "payment_method_types": [new.kind], "payment_record": null, "processing": null,
        "receipt_email": text("receipt_email"), "review": null, "setup_future_usage": text("setup_future_usage"),
        "shipping": null, "source": null, "statement_descriptor": text("statement_descriptor"),
        "statement_descriptor_suffix": text("statement_descriptor_suffix"), "status": "requires_payment_method",
        "transfer_data": null, "transfer_group": null,
    });
    world.create(intent, Some("payment_intent.created"))
}

/// Charges a payment intent with a payment method, as its instrument behaves.
pub(crate) fn attempt(
    world: &mut World,
    intent: &str,
    method: &str,
    behaviour: Behaviour,
) -> Attempt {
    let disputed = instruments::of_method(world, method).and_then(|instrument| instrument.disputed);
    let method = &world.store.copy(method);
    world.change(intent, |pi| {
        pi.set("payment_method_types", json!([method["type"]]));
    });
    match behaviour {
        Behaviour::Pays => {
            let charge = new_charge(world, intent, method, "succeeded");
            succeed(world, intent, &charge, method.text("id"));
            if let Some(reason) = disputed {
                world.store.hide(&charge, "dispute_reason", reason);
                world.plan(world.now(), Task::OpenDispute(charge));
            }
            Attempt::Paid
        }
        Behaviour::Declines(why) => {
            fail(world, intent, method, why);
            Attempt::Failed(why)
        }
        Behaviour::Authenticates | Behaviour::AuthenticatesThenDeclines(_) => {
            let waiting = world.change(intent, |pi| {
                pi.set("status", "requires_action");
                pi.set("payment_method", method["id"].clone());
                pi.set("next_action", json!({"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}));
            });
            world.emit("payment_intent.requires_action", &waiting, None);
            Attempt::NeedsAction
        }
        Behaviour::Debits { times, succeeds } => {
            let charge = new_charge(world, intent, method, "pending");
            let pending = world.store.copy(&charge);
            world.emit("charge.pending", &pending, None);
            let waiting = world.change(intent, |pi| {
                pi.set("status", "processing");
                pi.set("payment_method", method["id"].clone());
                pi.set("latest_charge", charge.as_str());
                pi.set("next_action", Value::Null);
            });
            world.emit("payment_intent.processing", &waiting, None);
            if let Some(reason) = disputed {
                world.store.hide(&charge, "dispute_reason", reason);
            }
            let due = world.now() + times * world.settings.debit_seconds;
            world.plan(due, Task::SettleDebit(intent.to_owned(), succeeds));
            Attempt::Processing
        }
    }
}

/// Marks an intent and its charge as paid.
pub(crate) fn succeed(world: &mut World, intent: &str, charge: &str, method: &str) {
    let transaction = balance_transaction(world, charge);
    let paid = world.change(charge, |object| {
        object.set("status", "succeeded");
        object.set("paid", true);
        object.set("captured", true);
        let amount = object["amount"].clone();
        object.set("amount_captured", amount);
        object.set("balance_transaction", transaction);
    });
    let paid = receipt(world, &paid);
    let done = world.change(intent, |pi| {
        pi.set("status", "succeeded");
        let amount = pi["amount"].clone();
        pi.set("amount_received", amount);
        pi.set("latest_charge", charge);
        pi.set("payment_method", method);
        for key in ["last_payment_error", "next_action", "processing"] {
            pi.set(key, Value::Null);
        }
    });
    world.emit("charge.succeeded", &paid, None);
    world.emit("payment_intent.succeeded", &done, None);
}

/// Gives a paid charge its receipt, and mails it where there is an address to mail it to.
pub(crate) fn receipt(world: &mut World, charge: &Value) -> Value {
    let url = format!("{}/receipts/{}", world.base_url, charge.text("id"));
    let known = charge["billing_details"].opt_text("email");
    let known = known.filter(|_| world.settings.mail_receipts);
    let email = charge
        .opt_text("receipt_email")
        .or(known)
        .map(str::to_owned);
    let number = format!(
        "{:04}-{:04}",
        fastrand::u32(1_000..10_000),
        fastrand::u32(..10_000)
    );
    world.change(charge.text("id"), |object| {
        object.set("receipt_url", url);
        // The number is that of the mail: without one there is none.
        if email.is_some() && !object.has("receipt_number") {
            object.set("receipt_number", number);
        }
        object.set("receipt_email", email);
    })
}

/// Records a failed attempt: a failed charge, and an intent that wants another payment method.
fn fail(world: &mut World, intent: &str, method: &Value, why: &Decline) {
    let charge = new_charge(world, intent, method, "failed");
    fail_charge(world, intent, &charge, why);
}

/// Marks a charge as failed, and its intent as waiting for another payment method.
pub(crate) fn fail_charge(world: &mut World, intent: &str, charge: &str, why: &Decline) {
    let failed = world.change(charge, |object| {
        object.set("status", "failed");
        object.set("paid", false);
        object.set("failure_code", why.code);
        object.set("failure_message", why.message);
        object.set("outcome", json!({
            "advice_code": "try_again_later", "network_advice_code": null, "network_decline_code": "05",
            "network_status": "declined_by_network", "reason": why.reason, "risk_level": "normal",
            "seller_message": "The bank did not return any further details with this decline.", "type": "issuer_declined",
        }));
    });
    let method = world.store.copy(failed.text("payment_method"));
    let error = json!({
        "charge": charge, "code": why.code, "decline_code": why.reason, "message": why.message,
        "doc_url": format!("https://stripe.com/docs/error-codes/{}", why.code.replace('_', "-")),
        "payment_method": method, "type": if method.text("type") == "card" { "card_error" } else { "invalid_request_error" },
    });
    let waiting = world.change(intent, |pi| {
        pi.set("status", "requires_payment_method");
        pi.set("latest_charge", charge);
        pi.set("payment_method", Value::Null);
        pi.set("next_action", Value::Null);
        pi.set("last_payment_error", error);
    });
    world.emit("charge.failed", &failed, None);
    world.emit("payment_intent.payment_failed", &waiting, None);
}

/// The 402 that a declined attempt answers with.
pub(crate) fn card_error(world: &World, intent: &str, why: &Decline) -> ApiError {
    let intent = world.store.copy(intent);
    let mut error = ApiError::new(402, "card_error", Some(why.code), why.message)
        .with("decline_code", why.reason)
        .with("advice_code", "try_again_later");
    if let Some(charge) = intent.opt_text("latest_charge") {
        error = error.with("charge", charge);
    }
    error.with("payment_intent", intent)
}

fn new_charge(world: &mut World, intent: &str, method: &Value, status: &str) -> String {
    let pi = world.store.copy(intent);
    let id = ids::new("ch");
    let kind = method.text("type");
    let mut details = json!({"type": kind});
    if kind == "sepa_debit" {
        let account = &method["sepa_debit"];
        details.set("sepa_debit", json!({
            "bank_code": account["bank_code"], "branch_code": account["branch_code"], "country": account["country"],
            "fingerprint": account["fingerprint"], "last4": account["last4"], "mandate": null,
        }));
    }
    if kind == "card" {
        let card = &method["card"];
        details.set("card", json!({
            "brand": card["brand"], "checks": card["checks"], "country": card["country"], "exp_month": card["exp_month"],
            "exp_year": card["exp_year"], "fingerprint": card["fingerprint"], "funding": card["funding"],
            "last4": card["last4"], "network": card["brand"], "three_d_secure": null, "wallet": null,
        }));
    }
    let charge = json!({
        "id": id, "object": "charge", "amount": pi["amount"], "amount_captured": 0, "amount_refunded": 0,
        "application": null, "application_fee": null, "application_fee_amount": null, "balance_transaction": null,
        "billing_details": method["billing_details"], "calculated_statement_descriptor": "SANDBOX",
        "captured": status == "succeeded", "created": world.now(), "currency": pi["currency"], "customer": pi["customer"],
        "description": pi["description"], "disputed": false, "failure_balance_transaction": null,
        "failure_code": null, "failure_message": null, "fraud_details": {}, "livemode": false,
        "metadata": pi["metadata"], "on_behalf_of": null,
        "outcome": {"advice_code": null, "network_advice_code": null, "network_decline_code": null,
            "network_status": "approved_by_network", "reason": null, "risk_level": "normal",
            "seller_message": "Payment complete.", "type": "authorized"},
        "paid": status == "succeeded", "payment_intent": intent, "payment_method": method["id"],
        "payment_method_details": details, "radar_options": {}, "receipt_email": pi["receipt_email"],
        "receipt_number": null, "receipt_url": null, "refunded": false,
        "review": null, "shipping": null, "source": null, "source_transfer": null, "statement_descriptor": null,
        "statement_descriptor_suffix": null, "status": status, "transfer_data": null, "transfer_group": null,
    });
    world.create(charge, None);
    id
}

/// Money in: 1.5 % and 25 minor units are the fee.
fn balance_transaction(world: &mut World, charge: &str) -> String {
    let charge = world.store.copy(charge);
    let amount = charge.int("amount");
    let fee = amount * 15 / 1000 + 25;
    let kind = if charge["payment_method_details"].text("type") == "card" {
        "charge"
    } else {
        "payment"
    };
    transaction(world, &charge, kind, "charge", amount, fee)
}

/// A balance transaction of any type.
pub(crate) fn transaction(
    world: &mut World,
    source: &Value,
    kind: &str,
    category: &str,
    amount: i64,
    fee: i64,
) -> String {
    let id = ids::new("txn");
    let mut fees = json!([]);
    if fee != 0 {
        fees = json!([{"amount": fee, "application": null, "currency": source["currency"],
            "description": "Stripe processing fees", "type": "stripe_fee"}]);
    }
    let object = json!({
        "id": id, "object": "balance_transaction", "amount": amount, "available_on": world.now() + 2 * 86_400,
        "balance_type": "payments", "created": world.now(), "currency": source["currency"], "description": null,
        "exchange_rate": null, "fee": fee, "fee_details": fees, "net": amount - fee, "reporting_category": category,
        "source": source["id"], "status": "pending", "type": kind,
    });
    world.create(object, None);
    id
}
