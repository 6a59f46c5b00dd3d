//! Rows for the tests of this room.

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::ids::{CheckoutId, SubscriptionId, UserId};
use super::plan::{Kind, Plan, Quantity};
use super::subscription::{Basket, Checkout, Mode, Payment, SessionStatus, Subscription};

const START: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// So many seconds after the beginning.
pub(super) fn at(seconds: i64) -> OffsetDateTime {
    START + Duration::seconds(seconds)
}

/// The payment of every line of [`basket`].
pub(super) const PAYMENT: &str = "pi_0";

/// A line that nothing has happened to.
pub(crate) fn line(recurring: bool) -> Subscription {
    let plan = Plan {
        code: "plan".into(),
        kind: Kind::Membership,
        price: "price".into(),
        name: None,
        description: None,
        single: None,
        quantity: Quantity::default(),
        amount: None,
        term: None,
        trial_days: None,
        requires: None,
        promotion_codes: false,
        tax_behavior: None,
        upgrade_group: None,
        account_code: None,
        mosaic_payment_plan: None,
        hidden: false,
        cancel_now: false,
    };
    Subscription::new(
        SubscriptionId::new(START),
        &plan,
        "price_1",
        recurring,
        START,
    )
}

/// An open checkout with these lines, each of which [`PAYMENT`] is for.
pub(super) fn basket(lines: Vec<Subscription>) -> Basket {
    let payment = |line: &Subscription| Payment {
        line: line.id,
        reference: PAYMENT.into(),
        payment_intent: Some(PAYMENT.into()),
    };
    let payments = lines.iter().map(payment).collect();
    Basket {
        checkout: Checkout {
            id: CheckoutId::new(START),
            user: UserId::new("alice"),
            mode: Mode::Subscription,
            status: SessionStatus::Open,
            stripe_session: Some("cs_1".into()),
            stripe_customer: Some("cus_1".into()),
            cancel_requested_at: None,
            expires_at: at(3600),
            created_at: START,
        },
        lines,
        payments,
    }
}
