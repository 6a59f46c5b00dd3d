//! A subscription in plain sentences, for somebody who knows nothing of Stripe: what its status means, what happens next,
//! and what can be done.

use time::{Duration, OffsetDateTime, UtcOffset};

use super::Operators;
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::subscription::{Reason, Refund, Status, StripeStatus, Subscription};
use crate::purchases::Error;
use crate::storage::subscriptions::{self, Found};

/// A subscription with whose it is, what belongs to it at Stripe, and what is to be said of it.
#[derive(Clone, Debug)]
pub struct Described {
    /// The row.
    pub line: Subscription,
    /// Its member.
    pub user: UserId,
    /// Its checkout.
    pub checkout: CheckoutId,
    /// Who settles it.
    pub provider: String,
    /// `cs_…` of its checkout.
    pub session: Option<String>,
    /// `cus_…` who pays it.
    pub customer: Option<String>,
    /// Whether the member may use it now.
    pub entitled: bool,
    /// What status and reason mean.
    pub means: &'static str,
    /// What happens next by itself.
    pub next: Next,
    /// What can be done: `sync`, `refund`, `cancel`, `resume`, `settle`.
    pub acts: Vec<&'static str>,
}

/// What happens next by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// When, where that is known.
    pub at: Option<OffsetDateTime>,
    /// What.
    pub text: String,
}

impl Operators {
    /// One subscription of anybody, described as it stands in our rows.
    pub async fn describe(&self, id: SubscriptionId) -> Result<Option<Described>, Error> {
        let found = subscriptions::find_anybodys(&self.pool, id).await?;
        Ok(found.map(|found| self.described(found)))
    }

    /// A row that was read, described.
    pub(super) fn described(&self, found: Found) -> Described {
        let now = self.purchases.clock.now();
        let grace = self.purchases.settings.lifecycle.grace;
        let Found {
            line,
            user,
            checkout,
            provider,
            session,
            customer,
            ..
        } = found;
        Described {
            entitled: line.entitled(now),
            means: means(&line),
            next: next(&line, now, grace),
            acts: acts(&line),
            line,
            user,
            checkout,
            provider,
            session,
            customer,
        }
    }
}

/// What status and reason mean, one plain sentence.
pub fn means(line: &Subscription) -> &'static str {
    match line.reason {
        Reason::Ended => "It has ended, and nothing more is charged.",
        Reason::ActivationExpired => "It was never paid in time, so it never began.",
        Reason::FirstPaymentFailed => "Its first payment failed for good, so it never began.",
        Reason::PaymentProcessing => {
            "The buyer has finished and the money is on its way; it does not count as paid yet."
        }
        Reason::CheckoutExpired => "The payment page was left until it closed; nothing was paid.",
        Reason::CheckoutCancelled => "The buyer went back from the payment page; nothing was paid.",
        Reason::StripeError => "The payment page could not be opened; nothing was paid.",
        Reason::AwaitingPayment => "The payment page is open, and nothing was paid yet.",
        Reason::Unpaid => {
            "A renewal stayed unpaid after every try, so it can't be used until that is paid."
        }
        Reason::Paused => "It was paused at Stripe, so it can't be used for now.",
        Reason::CancelScheduled => {
            "It was cancelled: it can be used to its end, and does not renew."
        }
        Reason::Paid if line.recurring => "It is paid, and renews by itself.",
        Reason::Paid => "It is paid.",
        Reason::Trialing => "It is in its free trial: it can be used, and nothing was charged yet.",
        Reason::PaymentRetrying => {
            "A renewal could not be charged; it can still be used while the payment is tried again."
        }
        Reason::CollectionPaused => "It can be used, though no payments are collected for now.",
        Reason::Refunded => "All that was paid was paid back, so it has ended.",
        Reason::TermOver => "The time for which it was bought is over.",
        Reason::PaymentFailed => "The payment was on its way and never arrived; nothing was paid.",
        Reason::Disputed => {
            "The payer's bank disputes the payment, so it can't be used until that is decided."
        }
        Reason::DisputeLost if line.status == Status::Ended => {
            "The payer's bank took the payment back, so it has ended."
        }
        Reason::DisputeLost => {
            "The payer's bank took the payment back, so it can't be used until something is paid again."
        }
        Reason::Overdue => {
            "Nothing was paid for longer than the grace allows, so it can't be used until it is paid."
        }
        Reason::CollectionVoid => {
            "No payments are collected for now and what was paid is used up, so it can't be used."
        }
        Reason::Newer => "A newer version of Dues says why; this one does not know the reason.",
    }
}

/// What happens next by itself, and when, given how long after the paid time it goes on.
pub fn next(line: &Subscription, now: OffsetDateTime, grace: Option<Duration>) -> Next {
    match line.status {
        Status::PendingActivation => says(
            "If nobody pays, the payment page closes by itself, a day after it was opened at the latest.",
        ),
        Status::PendingCompletion => says(
            "When the money arrives it begins; if the payment fails it does not. A debit takes up to two weeks.",
        ),
        Status::Active => active(line, now, grace),
        Status::OnHold => says(on_hold(line.reason)),
        Status::Cancelled => match ends_at(line) {
            Some(end) => on("It ends on", end, "."),
            None => says("It ends with the period that is paid."),
        },
        Status::Ended => says("Nothing more happens."),
    }
}

fn active(line: &Subscription, now: OffsetDateTime, grace: Option<Duration>) -> Next {
    if !line.recurring {
        return match line.term_ends_at {
            Some(end) => on("It ends on", end, "."),
            None => says("Nothing more happens: it was bought once, and stays."),
        };
    }
    let period_end = line.current_period_end();
    match (line.reason, period_end) {
        (Reason::Trialing, Some(end)) => on(
            "The trial ends on",
            end,
            ", and the first payment is charged.",
        ),
        (Reason::PaymentRetrying, _) => match line.until(now, grace) {
            Some(end) => on(
                "The payment is tried again by itself; if it stays unpaid, it is put on hold on",
                end,
                ".",
            ),
            None => says(
                "The payment is tried again by itself; if every try fails, it is put on hold or ends.",
            ),
        },
        (Reason::CollectionPaused, _) => {
            says("It goes on without payments until somebody lifts the pause at Stripe.")
        }
        (_, Some(end)) => on("It renews on", end, "."),
        (_, None) => says("It renews by itself."),
    }
}

fn on_hold(reason: Reason) -> &'static str {
    match reason {
        Reason::Disputed => {
            "The bank decides, which takes weeks to months; if it is won, it can be used again."
        }
        Reason::DisputeLost => "When something is paid again, it can be used again.",
        Reason::Paused => "Nothing, until somebody resumes it at Stripe.",
        Reason::FirstPaymentFailed => {
            "It is ended at Stripe by itself, within minutes, so that the member can buy again."
        }
        Reason::CollectionVoid => {
            "When payments are collected again and one is paid, it can be used again."
        }
        Reason::Unpaid
        | Reason::Overdue
        | Reason::Ended
        | Reason::ActivationExpired
        | Reason::PaymentProcessing
        | Reason::CheckoutExpired
        | Reason::CheckoutCancelled
        | Reason::StripeError
        | Reason::AwaitingPayment
        | Reason::CancelScheduled
        | Reason::Paid
        | Reason::Trialing
        | Reason::PaymentRetrying
        | Reason::CollectionPaused
        | Reason::Refunded
        | Reason::TermOver
        | Reason::PaymentFailed
        | Reason::Newer => "When its open invoice is paid, it can be used again.",
    }
}

/// When Stripe will end it by itself, where the newest snapshot says so.
pub fn ends_at(line: &Subscription) -> Option<OffsetDateTime> {
    let held = line.stripe?;
    let with_period = held
        .current_period_end
        .filter(|_| held.cancel_at_period_end);
    held.cancel_at.or(with_period)
}

/// What can be done to it as it is, by whoever may.
pub fn acts(line: &Subscription) -> Vec<&'static str> {
    let is_alive = matches!(
        line.status,
        Status::Active | Status::OnHold | Status::Cancelled
    );
    let renews = line.recurring && is_alive && line.stripe_subscription.is_some();
    let is_owed = line
        .stripe
        .is_some_and(|held| matches!(held.status, StripeStatus::PastDue | StripeStatus::Unpaid));
    [
        // Where no page was ever opened there is nothing to look at.
        ("sync", line.reason != Reason::StripeError),
        (
            "refund",
            line.first_paid_at.is_some() && line.refund != Refund::Full,
        ),
        ("cancel", renews),
        (
            "resume",
            renews && line.status == Status::Cancelled && line.will_end(),
        ),
        (
            "settle",
            renews && (is_owed || line.reason == Reason::Overdue),
        ),
    ]
    .into_iter()
    .filter_map(|(act, makes_sense)| makes_sense.then_some(act))
    .collect()
}

fn says(text: &str) -> Next {
    Next {
        at: None,
        text: text.to_owned(),
    }
}

fn on(before: &str, at: OffsetDateTime, after: &str) -> Next {
    Next {
        at: Some(at),
        text: format!("{before} {}{after}", day(at)),
    }
}

/// As people write it: `3 March 2027`, in UTC.
pub fn day(at: OffsetDateTime) -> String {
    let date = at.to_offset(UtcOffset::UTC).date();
    format!("{} {} {}", date.day(), date.month(), date.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples;
    use crate::domain::subscription::{Collection, Held};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn line(status: Status, reason: Reason) -> Subscription {
        Subscription {
            status,
            reason,
            ..samples::line(true)
        }
    }

    fn held(status: StripeStatus, end: i64) -> Held {
        let end = Some(NOW + Duration::days(end));
        Held {
            status,
            at: NOW,
            current_period_end: end,
            cancel_at: None,
            cancel_at_period_end: false,
            collection: Collection::Running,
        }
    }

    #[test]
    fn every_status_and_reason_is_told_in_a_sentence_without_a_word_of_ours() {
        for status in Status::ALL {
            for reason in Reason::ALL {
                let line = line(*status, *reason);
                let next = next(&line, NOW, Some(Duration::days(35)));
                for text in [means(&line), next.text.as_str()] {
                    assert!(text.ends_with('.') && text.len() > 10, "{text}");
                    for ours in ["_", "webhook", "session", "entitled", "subscription"] {
                        assert!(!text.contains(ours), "{ours}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_happens_next_has_its_date() {
        let mut paid = line(Status::Active, Reason::Paid);
        paid.stripe = Some(held(StripeStatus::Active, 31));
        let renews = next(&paid, NOW, None);
        assert_eq!(renews.text, "It renews on 1 February 1970.");
        assert_eq!(renews.at, Some(NOW + Duration::days(31)));
        let mut retrying = line(Status::Active, Reason::PaymentRetrying);
        retrying.stripe = Some(held(StripeStatus::PastDue, 31));
        retrying.first_paid_at = Some(NOW);
        let tried = next(&retrying, NOW, Some(Duration::days(28)));
        assert!(
            tried.text.ends_with("on hold on 1 March 1970."),
            "{tried:?}"
        );
        assert_eq!(next(&retrying, NOW, None).at, None);
        let mut cancelled = line(Status::Cancelled, Reason::CancelScheduled);
        cancelled.stripe = Some(held(StripeStatus::Active, 1));
        if let Some(held) = &mut cancelled.stripe {
            held.cancel_at_period_end = true;
        }
        assert_eq!(
            next(&cancelled, NOW, None).text,
            "It ends on 2 January 1970."
        );
        let once = Subscription {
            status: Status::Active,
            reason: Reason::Paid,
            ..samples::line(false)
        };
        assert!(next(&once, NOW, None).text.starts_with("Nothing more"));
    }

    #[test]
    fn what_can_be_done_follows_from_the_row() {
        let mut paid = line(Status::Active, Reason::Paid);
        paid.stripe_subscription = Some("sub_1".to_owned());
        paid.stripe = Some(held(StripeStatus::Active, 31));
        paid.first_paid_at = Some(NOW);
        assert_eq!(acts(&paid), ["sync", "refund", "cancel"]);
        paid.refund = Refund::Full;
        assert_eq!(acts(&paid), ["sync", "cancel"]);
        paid.refund = Refund::None;
        let mut owed = paid.clone();
        (owed.reason, owed.stripe) = (
            Reason::PaymentRetrying,
            Some(held(StripeStatus::PastDue, 31)),
        );
        assert_eq!(acts(&owed), ["sync", "refund", "cancel", "settle"]);
        let mut cancelled = paid.clone();
        cancelled.status = Status::Cancelled;
        if let Some(held) = &mut cancelled.stripe {
            held.cancel_at_period_end = true;
        }
        assert_eq!(acts(&cancelled), ["sync", "refund", "cancel", "resume"]);
        let mut ended = paid;
        ended.status = Status::Ended;
        assert_eq!(acts(&ended), ["sync", "refund"]);
        let open = line(Status::PendingActivation, Reason::AwaitingPayment);
        assert_eq!(acts(&open), ["sync"]);
        assert!(acts(&line(Status::Ended, Reason::StripeError)).is_empty());
    }
}
