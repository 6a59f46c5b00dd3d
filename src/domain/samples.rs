//! Rows for the tests of this room.

use time::macros::datetime;
use time::{Duration, OffsetDateTime};

use super::ids::{CheckoutId, SubscriptionId, UserId};
use super::plan::Kind;
use super::subscription::{
    Basket, Checkout, Mode, Payment, Reason, Refund, SessionStatus, Status, Subscription,
};

const START: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

/// So many seconds after the beginning.
pub(super) fn at(seconds: i64) -> OffsetDateTime {
    START + Duration::seconds(seconds)
}

/// The payment of every line of [`basket`].
pub(super) const PAYMENT: &str = "pi_0";

/// A line that nothing has happened to.
pub(super) fn line(recurring: bool) -> Subscription {
    Subscription {
        id: SubscriptionId::new(START),
        plan: "plan".into(),
        kind: Kind::Membership,
        single: true,
        upgrade_group: None,
        quantity: 1,
        quantity_open: false,
        stripe_price: "price_1".into(),
        recurring,
        term: None,
        status: Status::PendingActivation,
        reason: Reason::AwaitingPayment,
        version: 1,
        stripe_subscription: None,
        stripe_line_item: None,
        payment_intent: None,
        stripe: None,
        first_paid_at: None,
        last_paid_at: None,
        paid_period: None,
        excused_at: None,
        looked_at: None,
        payment_failed_at: None,
        term_ends_at: None,
        ended_at: None,
        refund: Refund::None,
        refund_failed: false,
        disputes: Vec::new(),
        created_at: START,
        external_id: None,
    }
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
