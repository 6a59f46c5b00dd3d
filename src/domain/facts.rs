//! Facts: what one event or one read of Stripe tells about one checkout, in our words.

use time::OffsetDateTime;

use super::ids::{CheckoutId, SubscriptionId};
use super::subscription::{
    Basket, Collection, Dispute, Mode, Payment, Period, Refund, RefundProgress, StripeStatus,
    Subscription,
};

/// Everything that one source says about one checkout.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Whom it is about.
    pub subject: Subject,
    /// When Stripe said it: an event's `created`, a response's `Date`.
    pub at: OffsetDateTime,
    /// How fresh it is.
    pub freshness: Freshness,
    /// What it says, in any order.
    pub facts: Vec<Fact>,
}

/// How much a snapshot can be trusted to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// An event: made at a known second, delivered at any time.
    Event,
    /// Read from Stripe, and written only if the row has not moved since before the call.
    Live,
}

/// The names by which an object at Stripe points at our rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `cs_…`.
    pub session: Option<String>,
    /// `sub_…`.
    pub stripe_subscription: Option<String>,
    /// `cus_…`.
    pub customer: Option<String>,
    /// The session's `client_reference_id`, or `dues_checkout_id` in its metadata.
    pub checkout: Option<CheckoutId>,
    /// The internal ids in the metadata.
    pub subscriptions: Vec<SubscriptionId>,
    /// What else stands there: another system may know a line by it.
    pub external: Vec<String>,
    /// The session's mode.
    pub mode: Option<Mode>,
    /// `pi_…` of the payment that it is about.
    pub payment_intent: Option<String>,
    /// `in_…` of the invoice whose payment it is about.
    pub invoice: Option<String>,
}

/// Which lines of a checkout a payment counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every line: the checkout's own payment.
    Basket,
    /// The recurring line alone: a later invoice.
    Recurring,
    /// The lines of the payment that the subject names.
    Concerned,
}

/// One thing that is true. All but [`Fact::Snapshot`] only grow: they merge in any order, any number of times.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The buyer finished the checkout.
    SessionCompleted,
    /// The session expired unpaid.
    SessionExpired,
    /// No session was ever opened: Stripe knows of none.
    SessionNeverOpened,
    /// The member went back and asked us to end the checkout.
    CancelRequested(OffsetDateTime),
    /// A payment arrived, or a first invoice of zero.
    Paid(OffsetDateTime, Scope),
    /// An invoice was paid.
    InvoicePaid {
        /// When, as it says itself.
        at: OffsetDateTime,
        /// When it was made.
        made_at: Option<OffsetDateTime>,
    },
    /// A paid invoice covers that period, whatever its total.
    PaidPeriod(Period),
    /// Stripe was asked then what was paid, and all that it said is told beside this.
    Looked(OffsetDateTime),
    /// The first payment failed for good.
    FirstPaymentFailed(OffsetDateTime),
    /// The subscription at Stripe, as it was when it was looked at.
    Snapshot(Snapshot),
    /// Stripe ended the subscription.
    Ended(OffsetDateTime),
    /// The payment of the one-off lines.
    PaymentIntent(String),
    /// The line item at Stripe of one of our lines.
    LineItem(SubscriptionId, String),
    /// How many of one of our lines the buyer took, as the completed session says.
    Quantity(SubscriptionId, i64),
    /// Money moved, or failed to.
    Transaction(Transaction, Scope),
    /// So much of the payment that the subject names was paid back, in all; the lines are those that the refunds name, each
    /// with how much of it they say went back.
    Refunded(Refund, Vec<(SubscriptionId, Refund)>),
    /// A refund of the payment that the subject names has failed.
    RefundFailed,
    /// The disputes of the payment that the subject names, read from Stripe: all there are.
    Disputes(Vec<Dispute>),
    /// The source leaves out what we need: Stripe must be read.
    Unclear,
}

/// What a subscription object says that only a newer one may replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Stripe's status.
    pub status: StripeStatus,
    /// The earliest end of a period among its items.
    pub current_period_end: Option<OffsetDateTime>,
    /// When it will end.
    pub cancel_at: Option<OffsetDateTime>,
    /// Whether it ends with its period.
    pub cancel_at_period_end: bool,
    /// Whether Stripe collects its payments.
    pub collection: Collection,
    /// Whether it need not be paid now, or need not have been just before: a trial, or a pause.
    pub excused: bool,
    /// `price_…` of its item; none where it does not tell, or has several.
    pub price: Option<String>,
    /// How many of that price; none where it does not tell. Stripe also knows zero.
    pub quantity: Option<i64>,
}

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionKind {
    /// Money came.
    Payment,
    /// Money did not come.
    PaymentFailed,
    /// Money went back.
    Refund(RefundProgress),
}

impl TransactionKind {
    /// The text in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::PaymentFailed => "payment_failed",
            Self::Refund(_) => "refund",
        }
    }
}

/// A reference to money that moved, failed to, went back or is claimed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What it is.
    pub kind: TransactionKind,
    /// `in_…`, `in_…#attempt` or `pi_…`: see the data model.
    pub reference: String,
    /// `pi_…`, when the source names it.
    pub payment_intent: Option<String>,
    /// When it happened.
    pub at: OffsetDateTime,
}

impl Transaction {
    /// A reference to something that happened to money then.
    pub fn new(
        kind: TransactionKind,
        reference: String,
        payment_intent: Option<String>,
        at: OffsetDateTime,
    ) -> Self {
        Self {
            kind,
            reference,
            payment_intent,
            at,
        }
    }
}

/// Why an object that names one of our rows is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Rule 1: it names lines of more than one checkout.
    SeveralCheckouts,
    /// Rule 2: the checkout has another session.
    OtherSession,
    /// Rule 3: the line has another subscription at Stripe.
    OtherSubscription,
    /// Rule 4: the checkout has another customer.
    OtherCustomer,
    /// Rule 5: the checkout has another mode.
    OtherMode,
    /// Rule 6: the metadata names lines that are not the checkout's.
    OtherLines,
    /// Rule 7: no line of the checkout is recurring.
    NothingRecurring,
}

impl Contradiction {
    /// The rule in words for an operator.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SeveralCheckouts => "the object names lines of more than one checkout",
            Self::OtherSession => "the checkout already belongs to another session at Stripe",
            Self::OtherSubscription => "the line already belongs to another subscription at Stripe",
            Self::OtherCustomer => {
                "the object belongs to another customer at Stripe than the checkout"
            }
            Self::OtherMode => "the session's mode is not the checkout's",
            Self::OtherLines => "the object's metadata names lines that are not in the checkout",
            Self::NothingRecurring => {
                "the object is a subscription, but no line of the checkout is recurring"
            }
        }
    }
}

impl Subject {
    /// One of our checkouts.
    pub fn checkout(id: CheckoutId) -> Self {
        Self {
            checkout: Some(id),
            ..Self::default()
        }
    }

    /// A line of ours, and with it its checkout.
    pub fn line(id: SubscriptionId) -> Self {
        Self {
            subscriptions: vec![id],
            ..Self::default()
        }
    }

    /// Whatever belongs to a Checkout Session at Stripe.
    pub fn session(id: &str) -> Self {
        Self {
            session: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Whatever belongs to a subscription at Stripe.
    pub fn stripe_subscription(id: &str) -> Self {
        Self {
            stripe_subscription: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Whatever was paid by a payment at Stripe.
    pub fn payment(id: &str) -> Self {
        Self {
            payment_intent: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// Checks that this subject may speak about that basket; metadata alone never overrides a foreign key.
    pub fn check(&self, basket: &Basket) -> Result<(), Contradiction> {
        let differs = |ours: &Option<String>, theirs: &Option<String>| matches!((ours, theirs), (Some(ours), Some(theirs)) if ours != theirs);
        let checkout = &basket.checkout;
        // Rule 1: one checkout. (Another one's lines are rule 6; its own id is checked here.)
        if self.checkout.is_some_and(|id| id != checkout.id) {
            return Err(Contradiction::SeveralCheckouts);
        }
        // Rule 2: the session is the checkout's own, or its first.
        if differs(&checkout.stripe_session, &self.session) {
            return Err(Contradiction::OtherSession);
        }
        // Rules 3 and 7: so is the subscription, and there is a line for it.
        if self.stripe_subscription.is_some() {
            let line = basket.recurring().ok_or(Contradiction::NothingRecurring)?;
            if differs(&line.stripe_subscription, &self.stripe_subscription) {
                return Err(Contradiction::OtherSubscription);
            }
        }
        // Rule 4: same customer. Where only metadata leads here, both must be known: metadata can be edited by hand.
        let by_metadata = self.is_from_stripe() && !self.is_held_by(basket);
        if differs(&checkout.stripe_customer, &self.customer)
            || by_metadata && (checkout.stripe_customer.is_none() || self.customer.is_none())
        {
            return Err(Contradiction::OtherCustomer);
        }
        // Rule 5: same mode. What was adopted had a session too, of whoever sold it.
        let mode = match checkout.mode {
            Mode::Adopted => Mode::Subscription,
            own => own,
        };
        if self.mode.is_some_and(|told| told != mode) {
            return Err(Contradiction::OtherMode);
        }
        // Rule 6: the lines that it names are the checkout's.
        if !self
            .subscriptions
            .iter()
            .all(|id| basket.lines.iter().any(|line| line.is_named(*id)))
        {
            return Err(Contradiction::OtherLines);
        }
        Ok(())
    }

    /// Whether it names an object at Stripe, and not only a row of ours.
    fn is_from_stripe(&self) -> bool {
        self.session.is_some()
            || self.stripe_subscription.is_some()
            || self.payment_intent.is_some()
    }

    /// Whether one of the basket's foreign keys is the subject's.
    fn is_held_by(&self, basket: &Basket) -> bool {
        same(
            basket.checkout.stripe_session.as_deref(),
            self.session.as_deref(),
        ) || basket.lines.iter().any(|line| {
            let (ours, theirs) = (&line.stripe_subscription, &self.stripe_subscription);
            same(ours.as_deref(), theirs.as_deref()) || self.concerns(basket, line)
        })
    }

    /// Whether the payment that it names is the line's.
    pub fn concerns(&self, basket: &Basket, line: &Subscription) -> bool {
        let (intent, invoice) = (self.payment_intent.as_deref(), self.invoice.as_deref());
        if intent.is_none() && invoice.is_none() {
            return false;
        }
        let paid_by = |payment: &Payment| {
            payment.line == line.id
                && (same(payment.payment_intent.as_deref(), intent)
                    || invoice == Some(payment.reference.as_str()))
        };
        same(line.payment_intent.as_deref(), intent) || basket.payments.iter().any(paid_by)
    }

    /// Whether its metadata names the line.
    fn names(&self, line: &Subscription) -> bool {
        let external = |name: &String| line.external_id.as_ref() == Some(name);
        self.subscriptions.contains(&line.id) || self.external.iter().any(external)
    }

    /// Whether one of its names leads to the basket, be it a foreign key or only metadata.
    pub fn points_at(&self, basket: &Basket) -> bool {
        self.checkout == Some(basket.checkout.id)
            || self.is_held_by(basket)
            || basket.lines.iter().any(|line| self.names(line))
    }
}

/// Whether both are known and equal.
fn same(ours: Option<&str>, theirs: Option<&str>) -> bool {
    theirs.is_some() && ours == theirs
}

impl Basket {
    /// The one line that renews, if any.
    pub fn recurring(&self) -> Option<&Subscription> {
        self.lines.iter().find(|line| line.recurring)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, basket, line};
    use super::*;

    /// A bound basket of a recurring and a one-off line, and a subject that may speak about it.
    fn pair() -> (Basket, Subject) {
        let mut basket = basket(vec![line(true), line(false)]);
        basket.lines[0].stripe_subscription = Some("sub_1".into());
        let subject = Subject {
            session: Some("cs_1".into()),
            stripe_subscription: Some("sub_1".into()),
            customer: Some("cus_1".into()),
            checkout: Some(basket.checkout.id),
            subscriptions: basket.lines.iter().map(|line| line.id).collect(),
            mode: Some(Mode::Subscription),
            ..Subject::default()
        };
        (basket, subject)
    }

    #[test]
    fn each_rule_is_broken_by_what_it_is_about_and_by_nothing_else() {
        type Edit = fn(&mut Subject);
        let other = || Some("other".to_owned());
        let (basket, subject) = pair();
        assert_eq!(subject.check(&basket), Ok(()));
        let cases: [(Edit, Contradiction); 5] = [
            (
                |s| s.checkout = Some(CheckoutId::new(at(1))),
                Contradiction::SeveralCheckouts,
            ),
            (
                |s| s.session = Some("cs_2".into()),
                Contradiction::OtherSession,
            ),
            (
                |s| s.stripe_subscription = Some("sub_2".into()),
                Contradiction::OtherSubscription,
            ),
            (|s| s.mode = Some(Mode::Payment), Contradiction::OtherMode),
            (
                |s| s.subscriptions.push(SubscriptionId::new(at(1))),
                Contradiction::OtherLines,
            ),
        ];
        for (edit, contradiction) in cases {
            let mut subject = subject.clone();
            edit(&mut subject);
            assert_eq!(subject.check(&basket), Err(contradiction));
        }
        let foreign = Subject {
            customer: other(),
            ..subject.clone()
        };
        assert_eq!(foreign.check(&basket), Err(Contradiction::OtherCustomer));
        let mut one_off = basket.clone();
        one_off.lines.remove(0);
        let subject = Subject {
            subscriptions: Vec::new(),
            ..subject
        };
        assert_eq!(
            subject.check(&one_off),
            Err(Contradiction::NothingRecurring)
        );
    }

    #[test]
    fn metadata_alone_counts_only_with_the_same_customer() {
        let (mut basket, mut subject) = pair();
        basket.checkout.stripe_session = None;
        basket.lines[0].stripe_subscription = None;
        assert_eq!(
            subject.check(&basket),
            Ok(()),
            "metadata and customer agree"
        );
        subject.customer = None;
        assert_eq!(subject.check(&basket), Err(Contradiction::OtherCustomer));
        basket.checkout.stripe_customer = None;
        subject.customer = Some("cus_1".into());
        assert_eq!(subject.check(&basket), Err(Contradiction::OtherCustomer));
        basket.checkout.stripe_session = Some("cs_1".into());
        assert_eq!(subject.check(&basket), Ok(()), "a foreign key is enough");
        let payment = Subject {
            payment_intent: Some("pi_1".into()),
            ..Subject::default()
        };
        assert_eq!(payment.check(&basket), Err(Contradiction::OtherCustomer));
        basket.lines[1].payment_intent = Some("pi_1".into());
        assert_eq!(payment.check(&basket), Ok(()), "its payment is a line's");
        basket.lines[1].payment_intent = None;
        let session = Subject {
            session: Some("cs_1".into()),
            ..Subject::default()
        };
        basket.checkout.stripe_session = None;
        assert_eq!(session.check(&basket), Err(Contradiction::OtherCustomer));
        let ours = Subject {
            checkout: Some(basket.checkout.id),
            ..Subject::default()
        };
        assert_eq!(
            ours.check(&basket),
            Ok(()),
            "our own wish names nothing at Stripe"
        );
    }

    #[test]
    fn another_system_s_id_leads_to_the_line_that_it_names_and_to_no_other() {
        let (mut basket, subject) = pair();
        let name = "da6cdb9d-822c-4a33-8953-39a34bd6bc71";
        let named = Subject {
            checkout: None,
            subscriptions: vec![name.parse().expect("an id")],
            external: vec![name.to_owned()],
            stripe_subscription: None,
            session: None,
            ..subject
        };
        assert!(!named.points_at(&basket));
        assert_eq!(named.check(&basket), Err(Contradiction::OtherLines));
        basket.lines[0].external_id = Some(name.to_owned());
        assert!(named.points_at(&basket));
        assert_eq!(named.check(&basket), Ok(()));
        // What is no id at all leads to its line as well, and is nobody's business where no line has it.
        let text = Subject {
            subscriptions: Vec::new(),
            external: vec!["membership 42".to_owned()],
            ..named
        };
        assert!(!text.points_at(&basket));
        assert_eq!(text.check(&basket), Ok(()));
        basket.lines[0].external_id = Some("membership 42".to_owned());
        assert!(text.points_at(&basket));
    }

    #[test]
    fn the_session_of_what_was_adopted_is_believed_and_not_taken_over() {
        let (mut basket, subject) = pair();
        basket.checkout.mode = Mode::Adopted;
        basket.checkout.stripe_session = None;
        assert_eq!(subject.check(&basket), Ok(()));
        let once = Subject {
            mode: Some(Mode::Payment),
            ..subject
        };
        assert_eq!(once.check(&basket), Err(Contradiction::OtherMode));
    }
}
