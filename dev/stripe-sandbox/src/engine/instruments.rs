//! Test cards and test bank accounts, and how they behave.
//!
//! Numbers and behaviour: <https://docs.stripe.com/testing>.

use serde_json::{Value, json};

use crate::world::World;
use crate::world::ids;
use crate::world::json::Json;

/// Why a bank says no.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decline {
    /// Stripe's error code.
    pub code: &'static str,
    /// The bank's own code.
    pub reason: &'static str,
    /// What the buyer reads.
    pub message: &'static str,
}

/// What comes of charging an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Paid at once.
    Pays,
    /// Declined.
    Declines(&'static Decline),
    /// Paid once the buyer has authenticated.
    Authenticates,
    /// Declined after the buyer has authenticated.
    AuthenticatesThenDeclines(&'static Decline),
    /// Under way for this many times the usual time, then paid or not.
    Debits { times: i64, succeeds: bool },
}

impl Behaviour {
    /// What is left of it once the buyer has passed the bank's check, or has not.
    pub(crate) fn after_authentication(self, passed: Option<bool>) -> Self {
        match (self, passed) {
            (Self::Authenticates, Some(true)) => Self::Pays,
            (Self::AuthenticatesThenDeclines(why), Some(true)) => Self::Declines(why),
            (Self::Authenticates | Self::AuthenticatesThenDeclines(_), Some(false)) => {
                Self::Declines(&NOT_AUTHENTICATED)
            }
            (other, _) => other,
        }
    }
}

/// A test card or account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Instrument {
    /// Card number or IBAN.
    pub number: &'static str,
    /// What the hosted page calls it.
    pub label: &'static str,
    /// With the buyer present.
    pub on_session: Behaviour,
    /// Without.
    pub off_session: Behaviour,
    /// The reason of the dispute that follows a payment.
    pub disputed: Option<&'static str>,
}

const DECLINED: Decline = Decline {
    code: "card_declined",
    reason: "generic_decline",
    message: "Your card was declined.",
};
const INSUFFICIENT: Decline = Decline {
    code: "card_declined",
    reason: "insufficient_funds",
    message: "Your card has insufficient funds.",
};
const LOST: Decline = Decline {
    code: "card_declined",
    reason: "lost_card",
    message: "Your card was declined.",
};
const STOLEN: Decline = Decline {
    code: "card_declined",
    reason: "stolen_card",
    message: "Your card was declined.",
};
const EXPIRED: Decline = Decline {
    code: "expired_card",
    reason: "expired_card",
    message: "Your card has expired.",
};
const BAD_CVC: Decline = Decline {
    code: "incorrect_cvc",
    reason: "incorrect_cvc",
    message: "Your card's security code is incorrect.",
};
const PROCESSING: Decline = Decline {
    code: "processing_error",
    reason: "processing_error",
    message: "An error occurred while processing your card. Try again in a little bit.",
};
/// A debit that the bank sends back.
pub(crate) const DEBIT_FAILED: Decline = Decline {
    code: "payment_intent_payment_attempt_failed",
    reason: "insufficient_funds",
    message: "The payment failed.",
};
/// The buyer did not pass the bank's check.
pub(crate) const NOT_AUTHENTICATED: Decline = Decline {
    code: "payment_intent_authentication_failure",
    reason: "authentication_required",
    message: "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
};

const fn card(
    number: &'static str,
    label: &'static str,
    on: Behaviour,
    off: Behaviour,
) -> Instrument {
    Instrument {
        number,
        label,
        on_session: on,
        off_session: off,
        disputed: None,
    }
}

const fn declines(number: &'static str, label: &'static str, why: &'static Decline) -> Instrument {
    card(
        number,
        label,
        Behaviour::Declines(why),
        Behaviour::Declines(why),
    )
}

const fn disputed(number: &'static str, label: &'static str, reason: &'static str) -> Instrument {
    let paid = card(number, label, Behaviour::Pays, Behaviour::Pays);
    Instrument {
        disputed: Some(reason),
        ..paid
    }
}

const fn account(
    number: &'static str,
    label: &'static str,
    times: i64,
    succeeds: bool,
) -> Instrument {
    let debit = Behaviour::Debits { times, succeeds };
    card(number, label, debit, debit)
}

/// All of them, in the order in which the hosted page offers them.
pub(crate) const INSTRUMENTS: &[Instrument] = &[
    card(
        "4242424242424242",
        "Succeeds",
        Behaviour::Pays,
        Behaviour::Pays,
    ),
    declines("4000000000000002", "Is declined", &DECLINED),
    declines("4000000000009995", "Has insufficient funds", &INSUFFICIENT),
    card(
        "4000002760003184",
        "Asks for authentication",
        Behaviour::Authenticates,
        Behaviour::Authenticates,
    ),
    card(
        "4000000000000341",
        "Succeeds now, fails on renewal",
        Behaviour::Pays,
        Behaviour::Declines(&DECLINED),
    ),
    account(
        "AT611904300234573201",
        "SEPA debit: succeeds after days",
        1,
        true,
    ),
    account(
        "AT861904300235473202",
        "SEPA debit: fails after days",
        1,
        false,
    ),
    account("AT321904300235473204", "SEPA debit: succeeds late", 2, true),
    account("AT051904300235473205", "SEPA debit: fails late", 2, false),
    Instrument {
        disputed: Some("debit_not_authorized"),
        ..account(
            "AT591904300235473203",
            "SEPA debit: succeeds, then disputed",
            1,
            true,
        )
    },
    card(
        "4000002500003155",
        "Asks for authentication once",
        Behaviour::Authenticates,
        Behaviour::Pays,
    ),
    card(
        "4000003800000446",
        "Asks for authentication, was set up",
        Behaviour::Authenticates,
        Behaviour::Pays,
    ),
    card(
        "4000008260003178",
        "Authenticates, then insufficient funds",
        Behaviour::AuthenticatesThenDeclines(&INSUFFICIENT),
        Behaviour::Declines(&INSUFFICIENT),
    ),
    declines("4000000000009987", "Was lost", &LOST),
    declines("4000000000009979", "Was stolen", &STOLEN),
    declines("4000000000000069", "Has expired", &EXPIRED),
    declines("4000000000000127", "Has a wrong security code", &BAD_CVC),
    declines("4000000000000119", "Meets a processing error", &PROCESSING),
    disputed(
        "4000000000000259",
        "Succeeds, then disputed as fraud",
        "fraudulent",
    ),
    disputed(
        "4000000000002685",
        "Succeeds, then disputed: not received",
        "product_not_received",
    ),
    disputed("4000000000001976", "Succeeds, then an inquiry", "inquiry"),
    card(
        "4000000000000077",
        "Succeeds",
        Behaviour::Pays,
        Behaviour::Pays,
    ),
    card(
        "4000000000005423",
        "Succeeds",
        Behaviour::Pays,
        Behaviour::Pays,
    ),
    card(
        "5555555555554444",
        "Succeeds (Mastercard)",
        Behaviour::Pays,
        Behaviour::Pays,
    ),
];

/// Finds an instrument by number, IBAN or one of Stripe's test tokens; spaces don't matter.
pub(crate) fn find(number: &str) -> Option<&'static Instrument> {
    let compact: String = number.chars().filter(|c| !c.is_whitespace()).collect();
    let wanted = match compact.as_str() {
        "pm_card_visa" => "4242424242424242",
        "pm_card_mastercard" => "5555555555554444",
        "pm_card_chargeCustomerFail" => "4000000000000341",
        "pm_card_threeDSecure2Required" => "4000002760003184",
        "pm_card_createDispute" => "4000000000000259",
        "pm_card_createDisputeInquiry" => "4000000000001976",
        "pm_card_chargeDeclined" => "4000000000000002",
        "pm_card_chargeDeclinedInsufficientFunds" => "4000000000009995",
        other => other,
    };
    INSTRUMENTS
        .iter()
        .find(|instrument| instrument.number == wanted)
}

impl Instrument {
    /// Whether it is a bank account.
    pub(crate) fn is_account(&self) -> bool {
        self.number.starts_with(char::is_alphabetic)
    }

    /// `card` or `sepa_debit`.
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_account() {
            "sepa_debit"
        } else {
            "card"
        }
    }

    /// The last four digits.
    pub(crate) fn last4(&self) -> &'static str {
        &self.number[self.number.len() - 4..]
    }

    fn brand(&self) -> &'static str {
        if self.number.starts_with('5') {
            "mastercard"
        } else {
            "visa"
        }
    }
}

/// A payment method object for an instrument, with what the buyer said of himself.
pub(crate) fn payment_method(world: &mut World, instrument: &Instrument, billing: &Value) -> Value {
    let id = ids::new("pm");
    let mut object = json!({
        "id": id, "object": "payment_method", "allow_redisplay": "limited", "billing_details": billing,
        "created": world.now(), "customer": null, "livemode": false, "metadata": {}, "type": instrument.kind(),
    });
    if instrument.is_account() {
        object.set("sepa_debit", json!({
            "bank_code": "19043", "branch_code": "", "country": "AT", "fingerprint": ids::random(16),
            "generated_from": {"charge": null, "setup_attempt": null}, "last4": instrument.last4(),
        }));
    } else {
        object.set("card", json!({
            "brand": instrument.brand(),
            "checks": {"address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass"},
            "country": "US", "display_brand": instrument.brand(), "exp_month": 12, "exp_year": 2034,
            "fingerprint": ids::random(16), "funding": "credit", "generated_from": null, "last4": instrument.last4(),
            "networks": {"available": [instrument.brand()], "preferred": null}, "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": true}, "wallet": null,
        }));
    }
    world.store.hide(&id, "number", instrument.number);
    world.create(object, None)
}

/// Attaches a payment method to a customer.
pub(crate) fn attach(world: &mut World, method: &str, customer: &str) {
    let attached = world.change(method, |object| object.set("customer", customer));
    world.emit("payment_method.attached", &attached, None);
}

/// Gives a customer another payment method, which its subscriptions are paid with from now on.
pub(crate) fn replace_default(world: &mut World, customer: &str, instrument: &Instrument) -> Value {
    let known = world.store.copy(customer);
    let billing = json!({
        "address": known["address"], "email": known["email"], "name": known["name"], "phone": known["phone"], "tax_id": null,
    });
    let mut billing = billing;
    if billing["address"].is_null() {
        billing.set("address", json!({
            "city": null, "country": null, "line1": null, "line2": null, "postal_code": null, "state": null,
        }));
    }
    let method = payment_method(world, instrument, &billing)
        .text("id")
        .to_owned();
    attach(world, &method, customer);
    world.update(customer, "customer.updated", |object| {
        object["invoice_settings"].set("default_payment_method", method.as_str());
    });
    let theirs = |row: &Value| {
        row.text("customer") == customer
            && !row.has("ended_at")
            && row.has("default_payment_method")
    };
    for subscription in world.store.ids_linked("subscription", customer, theirs) {
        world.update(&subscription, "customer.subscription.updated", |object| {
            object.set("default_payment_method", method.as_str());
        });
    }
    world.store.copy(&method)
}

/// The instrument behind a payment method.
pub(crate) fn of_method(world: &World, method: &str) -> Option<&'static Instrument> {
    find(world.store.hidden(method, "number").as_str()?)
}

/// The payment method that a customer's subscription is paid with.
pub(crate) fn default_method(world: &World, subscription: &Value) -> Option<String> {
    if let Some(method) = subscription.opt_text("default_payment_method") {
        return Some(method.to_owned());
    }
    let customer = world.store.get(subscription.text("customer"))?;
    customer["invoice_settings"]
        .opt_text("default_payment_method")
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{INSTRUMENTS, find};

    #[test]
    fn numbers_are_unique_and_found_with_spaces() {
        for instrument in INSTRUMENTS {
            assert_eq!(
                INSTRUMENTS
                    .iter()
                    .filter(|other| other.number == instrument.number)
                    .count(),
                1
            );
        }
        assert_eq!(
            find("4242 4242 4242 4242").map(super::Instrument::last4),
            Some("4242")
        );
        assert!(find("4111111111111111").is_none());
    }
}
