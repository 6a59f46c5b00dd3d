//! What the entries of the feed say: what changed, and what is true after it.

use serde::Serialize;
use time::OffsetDateTime;

use crate::domain::ids::SubscriptionId;
use crate::domain::subscription::Subscription;

/// What is told of one change of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The line.
    pub line: SubscriptionId,
    /// As the feed names it.
    pub kind: &'static str,
    /// JSON: what is true after the change, and before it where the type says so.
    pub data: String,
}

/// What a follower may know of a line: no amounts, no names.
#[derive(Serialize)]
struct State<'a> {
    plan: &'a str,
    kind: &'a str,
    quantity: i32,
    status: &'a str,
    reason: &'a str,
    entitled: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    paid_until: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    current_period_end: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    cancel_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    activated_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
}

impl<'a> State<'a> {
    fn of(line: &'a Subscription, now: OffsetDateTime) -> Self {
        Self {
            plan: &line.plan,
            kind: line.kind.as_str(),
            quantity: line.quantity,
            status: line.status.as_str(),
            reason: line.reason.as_str(),
            entitled: line.entitled(now),
            paid_until: line.paid_until().filter(|_| line.recurring),
            current_period_end: line.current_period_end(),
            cancel_at: line.cancel_at(),
            activated_at: line.first_paid_at,
            ended_at: line.ended_at,
        }
    }
}

/// A state with what it was before.
#[derive(Serialize)]
struct Changed<'a, T> {
    from: T,
    to: T,
    #[serde(flatten)]
    state: State<'a>,
}

/// A state with the money that moved.
#[derive(Serialize)]
struct Moved<'a> {
    transaction: Money<'a>,
    #[serde(flatten)]
    state: State<'a>,
}

#[derive(Serialize)]
struct Money<'a> {
    kind: &'a str,
    state: Option<&'a str>,
    stripe_reference: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    occurred_at: OffsetDateTime,
}

/// Strings, numbers and times can always be written as JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What is true of a line now; so it is told when it was just recorded, before Stripe is asked.
pub fn state(line: &Subscription, now: OffsetDateTime) -> String {
    json(&State::of(line, now))
}

/// What is told of what happened between two states of a line, in the order in which it is told.
pub fn changed(before: &Subscription, after: &Subscription, now: OffsetDateTime) -> Vec<Told> {
    let mut told = Vec::new();
    let mut tell = |kind, data| {
        told.push(Told {
            line: after.id,
            kind,
            data,
        });
    };
    let state = || State::of(after, now);
    if (before.status, before.reason) != (after.status, after.reason) {
        let changed = Changed {
            from: before.status.as_str(),
            to: after.status.as_str(),
            state: state(),
        };
        tell("subscription.status_changed", json(&changed));
    }
    if before.plan != after.plan {
        let changed = Changed {
            from: before.plan.as_str(),
            to: after.plan.as_str(),
            state: state(),
        };
        tell("subscription.plan_changed", json(&changed));
    }
    if before.quantity != after.quantity {
        let changed = Changed {
            from: before.quantity,
            to: after.quantity,
            state: state(),
        };
        tell("subscription.quantity_changed", json(&changed));
    }
    let period = |line: &Subscription| {
        (
            line.paid_period,
            line.current_period_end(),
            line.cancel_at(),
        )
    };
    if period(before) != period(after) {
        tell("subscription.period_changed", json(&state()));
    }
    told
}

/// What is told of money of a line, as its row has it.
pub fn moved(
    line: &Subscription,
    kind: &str,
    state: Option<&str>,
    reference: &str,
    at: OffsetDateTime,
    now: OffsetDateTime,
) -> String {
    json(&Moved {
        transaction: Money {
            kind,
            state,
            stripe_reference: reference,
            occurred_at: at,
        },
        state: State::of(line, now),
    })
}
