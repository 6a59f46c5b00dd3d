//! What an entry of the feed means to Mosaic Billing.

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::Dispute;
use crate::domain::feed::Entry;
use crate::outward::followers::receiver::Failure;

/// Money came.
pub(super) const PAYMENT: &str = "PAYMENT";
/// Money was to come and did not.
pub(super) const PAYMENT_FAILED: &str = "PAYMENT_FAILED";
/// Money went back.
const REFUND: &str = "REFUND";
/// Said of a refund that did not arrive.
pub(super) const REFUND_FAILED: &str = "This refund has failed: nothing went back";
/// Why a subscription ends that goes on under a plan without a payment plan there.
pub(super) const LEFT: &str = "plan_changed: It goes on under a plan that is not kept here.";

/// The end of what has none: the service's consumers let nobody in without one.
pub(super) const FOR_EVER: OffsetDateTime = time::macros::datetime!(2999-12-31 0:00 UTC);

/// What an entry says.
#[derive(Debug, Deserialize)]
pub(super) struct Data {
    pub(super) plan: String,
    pub(super) status: String,
    reason: String,
    entitled: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) paid_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    current_period_end: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    cancel_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub(super) activated_at: Option<OffsetDateTime>,
    pub(super) transaction: Option<Moved>,
    /// What it was before: a status, a plan or a number.
    from: Option<serde_json::Value>,
    #[serde(skip)]
    is_of_plan: bool,
}

/// Money of an entry.
#[derive(Debug, Deserialize)]
pub(super) struct Moved {
    kind: String,
    state: Option<String>,
    stripe_reference: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(super) occurred_at: OffsetDateTime,
}

/// What bounds access beside what an entry says.
pub(super) struct Bounds {
    /// How long after its paid time a subscription goes on.
    pub(super) grace: Option<Duration>,
    /// Of what was bought once: the end of its term, or [`FOR_EVER`].
    pub(super) once: Option<OffsetDateTime>,
}

impl Data {
    pub(super) fn read(entry: &Entry) -> Result<Self, Failure> {
        let mut data: Self = serde_json::from_str(&entry.data)
            .map_err(|_| Failure::refused("a row of the feed can't be understood"))?;
        data.is_of_plan = entry.kind == "subscription.plan_changed";
        Ok(data)
    }

    /// The plan before, where this is its change.
    pub(super) fn plan_before(&self) -> Option<&str> {
        self.from.as_ref().filter(|_| self.is_of_plan)?.as_str()
    }

    /// The reason's code, which programs may know, and a sentence for whoever looks.
    pub(super) fn reason(&self) -> String {
        let sentence = match self.reason.as_str() {
            "paid" => "It is paid.",
            "trialing" => "Its trial has begun.",
            "awaiting_payment" => "Nothing was paid yet.",
            "payment_processing" => "The payment is on its way.",
            "payment_retrying" => "A renewal failed and is tried again.",
            "cancel_scheduled" => "It will not be renewed.",
            "unpaid" => "A renewal stayed unpaid.",
            "overdue" => "Nothing was paid for longer than its grace.",
            "paused" | "collection_paused" | "collection_void" => "Payments are paused.",
            "disputed" => "A payment is disputed.",
            "dispute_lost" => "A disputed payment went back.",
            "refunded" => "It was paid back.",
            "first_payment_failed" | "payment_failed" => "The payment failed.",
            "checkout_expired" | "checkout_cancelled" | "activation_expired" => {
                "It was never paid."
            }
            "term_over" => "Its term is over.",
            _ => "The subscription ended.",
        };
        format!("{}: {sentence}", self.reason)
    }

    /// Until when the member is let in. The service's consumers let in by this date whatever the status, so what
    /// entitles to nothing gets a date that is over. None before anything is paid.
    pub(super) fn period_end(&self, at: OffsetDateTime, bounds: &Bounds) -> Option<OffsetDateTime> {
        if !self.entitled {
            self.activated_at?;
            return Some(self.paid_until.map_or(at, |paid| paid.min(at)));
        }
        if bounds.once.is_some() {
            return bounds.once;
        }
        // While Stripe collects nothing, nothing is unpaid.
        let grace = bounds.grace.filter(|_| self.reason != "collection_paused");
        let unpaid = self.paid_until.zip(grace);
        let unpaid = unpaid.map(|(paid, grace)| paid.saturating_add(grace));
        let end = match self.status.as_str() {
            "CANCELLED" => {
                let ends = self.cancel_at.or(self.current_period_end);
                [ends, unpaid].into_iter().flatten().min()
            }
            _ => unpaid,
        };
        end.or(self.current_period_end).map(|end| end.max(at))
    }
}

impl Moved {
    /// As what it is recorded; none where it isn't.
    pub(super) fn transaction_type(&self, dispute: Dispute) -> Option<&'static str> {
        match (self.kind.as_str(), self.state.as_deref()) {
            ("payment", _) => Some(PAYMENT),
            ("payment_failed", _) => Some(PAYMENT_FAILED),
            // One that has failed was perhaps told when it had succeeded.
            ("refund", Some("succeeded" | "failed")) => Some(REFUND),
            ("dispute", Some("lost")) if dispute == Dispute::Refund => Some(REFUND),
            _ => None,
        }
    }

    /// Whether it came to nothing.
    pub(super) fn has_failed(&self) -> bool {
        self.kind == "refund" && self.state.as_deref() == Some("failed")
    }

    /// Whether others share its reference: attempts at one invoice, and several payments of one.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.stripe_reference.contains('#')
    }

    /// Stripe's id, without what we add.
    pub(super) fn reference(&self) -> &str {
        let reference = self.stripe_reference.split_once('#');
        reference.map_or(self.stripe_reference.as_str(), |(id, _)| id)
    }

    /// For whoever looks at it.
    pub(super) fn description(&self, plan: &str) -> String {
        match self.kind.as_str() {
            "payment" => format!("Payment received for: {plan}"),
            "payment_failed" => format!("Payment failed for: {plan}"),
            "dispute" => "Reason: a dispute was lost".to_owned(),
            _ => format!("Paid back of: {plan}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use time::macros::datetime;

    const AT: OffsetDateTime = datetime!(2026-11-10 12:00 UTC);

    fn data(more: &Value) -> Data {
        let mut data = json!({ "plan": "p", "status": "ACTIVE", "reason": "paid", "entitled": true,
            "paid_until": "2026-12-01T00:00:00Z", "current_period_end": "2026-12-01T00:00:00Z", "cancel_at": null,
            "activated_at": "2026-11-01T00:00:00Z", "transaction": null });
        for (key, value) in more.as_object().into_iter().flatten() {
            data[key] = value.clone();
        }
        serde_json::from_value(data).expect("data")
    }

    #[test]
    fn who_is_let_in_is_let_in_until_what_is_paid_and_its_grace_are_over() {
        let grace = Some(Duration::days(35));
        let end = |more: Value, grace| {
            let bounds = Bounds { grace, once: None };
            data(&more).period_end(AT, &bounds)
        };
        let paid = datetime!(2026-12-01 0:00 UTC);
        assert_eq!(end(json!({}), grace), Some(paid + Duration::days(35)));
        assert_eq!(end(json!({}), None), Some(paid));
        let cancelled = json!({ "status": "CANCELLED", "cancel_at": "2026-12-05T00:00:00Z" });
        let until = datetime!(2026-12-05 0:00 UTC);
        assert_eq!(end(cancelled, grace), Some(until));
        let held = json!({ "status": "ON_HOLD", "entitled": false });
        assert_eq!(end(held.clone(), grace), Some(AT));
        let mut over = held;
        over["paid_until"] = json!("2026-11-02T00:00:00Z");
        assert_eq!(end(over, grace), Some(datetime!(2026-11-02 0:00 UTC)));
        let never = json!({ "status": "PENDING_ACTIVATION", "entitled": false, "activated_at": null,
            "paid_until": null });
        assert_eq!(end(never, grace), None);
        let paused =
            json!({ "reason": "collection_paused", "current_period_end": "2027-01-01T00:00:00Z" });
        let period = datetime!(2027-01-01 0:00 UTC);
        assert_eq!(end(paused, grace), Some(period));
        let once = |term| {
            let bounds = Bounds {
                grace,
                once: Some(term),
            };
            data(&json!({ "paid_until": null, "current_period_end": null })).period_end(AT, &bounds)
        };
        assert_eq!(once(period), Some(period));
        assert_eq!(once(FOR_EVER), Some(FOR_EVER));
    }

    #[test]
    fn money_is_told_when_it_has_moved() {
        let moved = |kind: &str, state: Option<&str>| Moved {
            kind: kind.to_owned(),
            state: state.map(str::to_owned),
            stripe_reference: "in_1#2".to_owned(),
            occurred_at: AT,
        };
        let status = |kind, state| moved(kind, state).transaction_type(Dispute::Status);
        assert_eq!(status("payment", None), Some(PAYMENT));
        assert_eq!(status("payment_failed", None), Some(PAYMENT_FAILED));
        assert_eq!(status("refund", Some("pending")), None);
        assert_eq!(status("refund", Some("succeeded")), Some(REFUND));
        assert_eq!(status("dispute", Some("lost")), None);
        let lost = moved("dispute", Some("lost")).transaction_type(Dispute::Refund);
        assert_eq!(lost, Some(REFUND));
        let open = moved("dispute", Some("open")).transaction_type(Dispute::Refund);
        assert_eq!(open, None);
        assert!(moved("refund", Some("failed")).has_failed());
        assert_eq!(moved("payment_failed", None).reference(), "in_1");
    }
}
