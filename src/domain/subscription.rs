//! The internal subscription, its checkout, and the words for their states.

use time::{Duration, OffsetDateTime};

use super::ids::{CheckoutId, SubscriptionId, UserId};
use super::plan::{Kind, Plan, Term};

/// Declares an enum whose variants have one fixed text in the database and in the API.
macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The text in the database and in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value that a text stands for.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

text_enum! {
    /// The lifecycle status: derived, never set.
    Status {
        /// Recorded; nothing was paid.
        PendingActivation = "PENDING_ACTIVATION",
        /// The buyer has finished; the money is on its way.
        PendingCompletion = "PENDING_COMPLETION",
        /// Paid and in force.
        Active = "ACTIVE",
        /// Suspended until something is settled.
        OnHold = "ON_HOLD",
        /// In force until its date; it will not renew.
        Cancelled = "CANCELLED",
        /// Over.
        Ended = "ENDED",
    }
}

text_enum! {
    /// Why a subscription has its status.
    Reason {
        /// Stripe ended it.
        Ended = "ended",
        /// The first payment was never made in time.
        ActivationExpired = "activation_expired",
        /// The first payment failed for good.
        FirstPaymentFailed = "first_payment_failed",
        /// The money is on its way.
        PaymentProcessing = "payment_processing",
        /// The checkout expired unpaid.
        CheckoutExpired = "checkout_expired",
        /// The member went back from the checkout.
        CheckoutCancelled = "checkout_cancelled",
        /// The checkout could not be opened at Stripe: nobody ever had its URL.
        StripeError = "stripe_error",
        /// Nothing was paid yet.
        AwaitingPayment = "awaiting_payment",
        /// A renewal stayed unpaid.
        Unpaid = "unpaid",
        /// Paused at Stripe.
        Paused = "paused",
        /// It ends at a known date.
        CancelScheduled = "cancel_scheduled",
        /// Paid.
        Paid = "paid",
        /// In its trial.
        Trialing = "trialing",
        /// A renewal failed and is tried again.
        PaymentRetrying = "payment_retrying",
        /// Stripe collects no payments for now.
        CollectionPaused = "collection_paused",
        /// Paid back in full.
        Refunded = "refunded",
        /// Its fixed term is over.
        TermOver = "term_over",
        /// The delayed payment failed.
        PaymentFailed = "payment_failed",
        /// The payment is disputed.
        Disputed = "disputed",
        /// The payment was disputed, and the dispute lost.
        DisputeLost = "dispute_lost",
        /// Nothing was paid for longer than the grace allows.
        Overdue = "overdue",
        /// Stripe voids the invoices for now: no service is meant.
        CollectionVoid = "collection_void",
        /// One that a newer version of Dues has given, which may run beside this one while it is rolled out.
        Newer = "newer_version",
    }
}

text_enum! {
    /// Stripe's status of a subscription (`Subscription.status`).
    StripeStatus {
        /// The first payment is still to be made.
        Incomplete = "incomplete",
        /// It was not made within 23 hours.
        IncompleteExpired = "incomplete_expired",
        /// In its trial.
        Trialing = "trialing",
        /// In good standing; says nothing about money (delayed debits).
        Active = "active",
        /// The newest invoice is overdue.
        PastDue = "past_due",
        /// Ended, or about to be.
        Canceled = "canceled",
        /// Retries are exhausted.
        Unpaid = "unpaid",
        /// Paused.
        Paused = "paused",
    }
}

text_enum! {
    /// What Stripe says of a checkout's session.
    SessionStatus {
        /// The buyer may still pay; also: not asked for yet.
        Open = "open",
        /// The buyer has finished.
        Complete = "complete",
        /// Nobody can pay any more, nobody has.
        Expired = "expired",
        /// No session was ever opened.
        Failed = "failed",
    }
}

text_enum! {
    /// How much was paid back.
    Refund {
        /// Nothing.
        None = "none",
        /// Some.
        Part = "part",
        /// All.
        Full = "full",
    }
}

text_enum! {
    /// How a dispute stands.
    DisputeState {
        /// The bank has not decided.
        Open = "open",
        /// It was won, or came to nothing.
        Won = "won",
        /// The money is gone.
        Lost = "lost",
    }
}

text_enum! {
    /// How a refund stands; it only moves on.
    RefundProgress {
        /// On its way.
        Pending = "pending",
        /// Done.
        Succeeded = "succeeded",
        /// It failed or was cancelled: the money is still ours.
        Failed = "failed",
    }
}

/// A dispute of a payment, as it was last read from Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// Its id at Stripe.
    pub reference: String,
    /// How it stands.
    pub state: DisputeState,
    /// `pi_…` of the disputed payment.
    pub payment_intent: Option<String>,
    /// When it was opened.
    pub at: OffsetDateTime,
    /// When the disputed invoice was paid; none for a payment without one.
    pub payment_at: Option<OffsetDateTime>,
    /// The earliest time at which it is known to be lost.
    pub lost_at: Option<OffsetDateTime>,
    /// Whether it claims less than was left of a payment for several lines: then nobody can say for which.
    pub part: bool,
}

text_enum! {
    /// Of a checkout's session at Stripe.
    Mode {
        /// One-off lines alone.
        Payment = "payment",
        /// One line renews.
        Subscription = "subscription",
        /// None: another system sold what renews, and Dues has taken it over.
        Adopted = "adopted",
    }
}

/// Whether Stripe collects the payments of a subscription (`pause_collection`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// As ever.
    Running,
    /// Not for now: invoices are kept as drafts or given up. Service goes on.
    Paused,
    /// Not for now, and invoices are voided: no service is meant.
    Void,
}

/// A stretch of time. Of two the one that begins later is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// Its beginning.
    pub start: OffsetDateTime,
    /// Its end, which belongs to the next.
    pub end: OffsetDateTime,
}

/// What the newest snapshot of the subscription at Stripe says that can also go back: only a newer one replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Stripe's status.
    pub status: StripeStatus,
    /// When Stripe made the snapshot, by Stripe's clock.
    pub at: OffsetDateTime,
    /// The earliest end of a period among its items.
    pub current_period_end: Option<OffsetDateTime>,
    /// When it will end.
    pub cancel_at: Option<OffsetDateTime>,
    /// Whether it ends with its period.
    pub cancel_at_period_end: bool,
    /// Whether Stripe collects its payments.
    pub collection: Collection,
}

impl Held {
    /// Whether Stripe will end it by itself.
    pub fn will_end(&self) -> bool {
        self.cancel_at_period_end || self.cancel_at.is_some()
    }
}

/// A payment that was recorded for a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The line that it is for.
    pub line: SubscriptionId,
    /// `in_…`, or else `pi_…`.
    pub reference: String,
    /// `pi_…`, when known.
    pub payment_intent: Option<String>,
}

/// One line of a checkout: a row of `subscriptions` and the facts in it.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state"
)]
pub struct Subscription {
    /// Our id.
    pub id: SubscriptionId,
    /// The plan's code.
    pub plan: String,
    /// The plan's kind.
    pub kind: Kind,
    /// Whether a user may hold only one of the plan, or of its upgrade group.
    pub single: bool,
    /// The plan's upgrade group.
    pub upgrade_group: Option<String>,
    /// How many, as ordered or as Stripe has told since.
    pub quantity: i32,
    /// Whether the buyer could change the quantity on Stripe's page, and nothing has told yet.
    pub quantity_open: bool,
    /// `price_…`, as ordered or as the newest snapshot says.
    pub stripe_price: String,
    /// Whether it renews.
    pub recurring: bool,
    /// How long a one-off lasts.
    pub term: Option<Term>,
    /// The derived status.
    pub status: Status,
    /// The derived reason.
    pub reason: Reason,
    /// Raised by every write.
    pub version: i64,
    /// `sub_…`.
    pub stripe_subscription: Option<String>,
    /// `li_…`.
    pub stripe_line_item: Option<String>,
    /// `pi_…` of a one-off payment.
    pub payment_intent: Option<String>,
    /// The newest snapshot.
    pub stripe: Option<Held>,
    /// The earliest payment.
    pub first_paid_at: Option<OffsetDateTime>,
    /// When the newest paid invoice was paid.
    pub last_paid_at: Option<OffsetDateTime>,
    /// The newest period that a paid invoice covers.
    pub paid_period: Option<Period>,
    /// The newest time at which it was not to be paid: in its trial, or while it was paused.
    pub excused_at: Option<OffsetDateTime>,
    /// When Stripe was last asked what of it was paid.
    pub looked_at: Option<OffsetDateTime>,
    /// When the first payment failed for good.
    pub payment_failed_at: Option<OffsetDateTime>,
    /// `first_paid_at` plus `term`.
    pub term_ends_at: Option<OffsetDateTime>,
    /// When Stripe ended it.
    pub ended_at: Option<OffsetDateTime>,
    /// How much was paid back.
    pub refund: Refund,
    /// Whether a refund of its payment ever failed.
    pub refund_failed: bool,
    /// Of its payments, in the order of their ids.
    pub disputes: Vec<Dispute>,
    /// When it was bought.
    pub created_at: OffsetDateTime,
    /// By which another system knows it, where that one sold it.
    pub external_id: Option<String>,
}

impl Subscription {
    /// A line of a plan at a price of which nothing was told yet: one, nothing paid.
    pub fn new(
        id: SubscriptionId,
        plan: &Plan,
        stripe_price: &str,
        recurring: bool,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            id,
            plan: plan.code.clone(),
            kind: plan.kind,
            single: plan.is_single(),
            upgrade_group: plan.upgrade_group.clone(),
            quantity: 1,
            quantity_open: false,
            stripe_price: stripe_price.to_owned(),
            recurring,
            term: plan.term,
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
            created_at: now,
            external_id: None,
        }
    }

    /// Whether that id in metadata means it: its own, or the one by which another system knows it.
    pub fn is_named(&self, id: SubscriptionId) -> bool {
        let external = || self.external_id.as_deref()?.parse().ok();
        self.id == id || external() == Some(id)
    }

    /// Whether the member may use what she bought at `now`.
    pub fn entitled(&self, now: OffsetDateTime) -> bool {
        match self.status {
            Status::Active => self.term_ends_at.is_none_or(|end| now < end),
            Status::Cancelled => self.cancelled_until().is_some_and(|end| now < end),
            Status::PendingActivation
            | Status::PendingCompletion
            | Status::OnHold
            | Status::Ended => false,
        }
    }

    /// When access ends if nothing more is paid, given how long after the paid time it goes on; none: there is no
    /// bound, or no access. Never in the past while she is entitled: it takes more than our clock to end it.
    pub fn until(&self, now: OffsetDateTime, grace: Option<Duration>) -> Option<OffsetDateTime> {
        let collection = self.stripe.map(|held| held.collection);
        match self.status {
            Status::Active if !self.recurring => self.term_ends_at,
            Status::Active => match collection {
                Some(Collection::Paused) => None,
                Some(Collection::Void) => self.paid_until().map(|end| end.max(now)),
                Some(Collection::Running) | None => self.unpaid_until(now, grace),
            },
            // It may end sooner, where its last period is not paid.
            Status::Cancelled => {
                let unpaid = self.unpaid_until(now, grace);
                let unpaid = unpaid.filter(|_| collection == Some(Collection::Running));
                [self.cancelled_until(), unpaid].into_iter().flatten().min()
            }
            Status::PendingActivation
            | Status::PendingCompletion
            | Status::OnHold
            | Status::Ended => None,
        }
    }

    fn unpaid_until(&self, now: OffsetDateTime, grace: Option<Duration>) -> Option<OffsetDateTime> {
        let end = self.paid_until()?.saturating_add(grace?);
        Some(end.max(now))
    }

    fn cancelled_until(&self) -> Option<OffsetDateTime> {
        self.cancel_at().or(self.current_period_end())
    }

    /// The end of the newest period that a paid invoice covers. Of what was paid before Dues noted it, and not looked
    /// up since, the period that Stripe bills stands in.
    pub fn paid_until(&self) -> Option<OffsetDateTime> {
        let paid = self.paid_period.map(|period| period.end);
        paid.or_else(|| self.first_paid_at.and(self.current_period_end()))
    }

    /// By which Stripe bills, as the newest snapshot says.
    pub fn current_period_end(&self) -> Option<OffsetDateTime> {
        self.stripe?.current_period_end
    }

    /// At which date Stripe will end it, where one is set, as the newest snapshot says.
    pub fn cancel_at(&self) -> Option<OffsetDateTime> {
        self.stripe?.cancel_at
    }

    /// Whether Stripe will end it by itself, as the newest snapshot says.
    pub fn will_end(&self) -> bool {
        self.stripe.is_some_and(|held| held.will_end())
    }
}

/// A checkout: what its lines have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Our id.
    pub id: CheckoutId,
    /// Who buys.
    pub user: UserId,
    /// Of the session.
    pub mode: Mode,
    /// What Stripe says of the session.
    pub status: SessionStatus,
    /// `cs_…`.
    pub stripe_session: Option<String>,
    /// `cus_…`.
    pub stripe_customer: Option<String>,
    /// When the member went back.
    pub cancel_requested_at: Option<OffsetDateTime>,
    /// When Stripe will expire the session.
    pub expires_at: OffsetDateTime,
    /// When the member asked.
    pub created_at: OffsetDateTime,
}

/// A checkout with its lines: what one fact may touch, read and written as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Basket {
    /// What the lines have in common.
    pub checkout: Checkout,
    /// At least one, in their order.
    pub lines: Vec<Subscription>,
    /// Of the payments of its lines those that the question named with which it was read, and those merged since.
    pub payments: Vec<Payment>,
}

impl Basket {
    /// One of its lines.
    pub fn line(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.lines.iter().find(|line| line.id == id)
    }

    /// Whether every line has left the two pending states, so that the buyer's return needs no answer from Stripe.
    pub fn is_settled(&self) -> bool {
        self.lines.iter().all(|line| {
            !matches!(
                line.status,
                Status::PendingActivation | Status::PendingCompletion
            )
        })
    }

    /// The status of the least advanced line: what the buyer is told on her return.
    pub fn least_advanced(&self) -> (Status, Reason) {
        let rank = |status| match status {
            Status::Ended => 0,
            Status::OnHold => 1,
            Status::PendingActivation => 2,
            Status::PendingCompletion => 3,
            Status::Cancelled => 4,
            Status::Active => 5,
        };
        let least = self.lines.iter().min_by_key(|line| rank(line.status));
        least.map_or(
            (Status::PendingActivation, Reason::AwaitingPayment),
            |line| (line.status, line.reason),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{basket, line};
    use super::*;

    #[test]
    fn a_basket_is_settled_when_no_line_is_pending_and_tells_of_its_least_advanced() {
        let mut basket = basket(vec![line(true), line(false)]);
        assert!(!basket.is_settled());
        basket.lines[0].status = Status::Active;
        assert!(!basket.is_settled());
        assert_eq!(basket.least_advanced().0, Status::PendingActivation);
        basket.lines[1].status = Status::PendingCompletion;
        assert!(!basket.is_settled());
        assert_eq!(basket.least_advanced().0, Status::PendingCompletion);
        basket.lines[1].status = Status::Ended;
        assert!(basket.is_settled());
        assert_eq!(basket.least_advanced().0, Status::Ended);
    }
}
