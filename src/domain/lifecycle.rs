//! Which status a purchase has: facts are merged into the row, and the status follows from the row.
//!
//! Both steps are pure. [`merge`] is commutative and idempotent for every fact that only grows; a snapshot of the
//! subscription at Stripe, which can also go back, is taken only when it is provably the newest. So the order in which
//! events arrive, and how often, doesn't matter; the tests below hold this down by properties.

use std::borrow::Cow;

use time::{Duration, OffsetDateTime};

use super::facts::{Fact, Freshness, Observation, Scope, Snapshot, Transaction, TransactionKind};
use super::ids::SubscriptionId;
use super::subscription::{
    Basket, Checkout, Collection, Dispute, DisputeState, Held, Mode, Period, Reason, Refund,
    SessionStatus, Status, StripeStatus, Subscription,
};

/// What a merge leaves to be done beside writing the basket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Transactions to record, one a line.
    pub transactions: Vec<(SubscriptionId, Transaction)>,
    /// A snapshot could not be ordered against the one in the row: Stripe must be read.
    pub doubtful: bool,
    /// Why a person should look, though all of it was merged.
    pub flag: Option<&'static str>,
}

/// By what statuses are derived and snapshots ordered, beside the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How far apart two snapshots must be to be ordered by their times.
    pub margin: Duration,
    /// How long after the paid time a subscription goes on; none: for ever.
    pub grace: Option<Duration>,
    /// Whether what is known already is told of, too: whoever looks a second time must see what the first one saw.
    pub again: bool,
}

// Why a person should look: Stripe's answer is to be judged by somebody who knows what was meant.
/// Money came for what is over.
pub const PAID_AFTER_END: &str =
    "an invoice of a subscription that has ended was paid: give the money back, or sell anew";
/// A quantity that no line can have.
pub const QUANTITY_OUT_OF_RANGE: &str = "the subscription at Stripe bills a quantity that a line can't have (zero, for one): \
     the quantity stays as it was";
/// Nobody can say how many are left.
pub const PART_OF_SEVERAL: &str = "a part of the payment for several of a kind went back: how many are left is not told, so \
     the quantity stays as it was";
/// Nobody can say which line a claim is for.
pub const PART_DISPUTED: &str = "a dispute claims a part of a payment for several, and names none of them: all stay as they \
     are";

/// The invoice with which a subscription ends at once (`invoice_now`) is charged within an hour; what is paid later
/// than this after the end was owed from before.
pub const FINAL_INVOICE: Duration = Duration::DAY;
/// A payment is told of soon after it was made: only then is it worth asking Stripe for the period that it covers.
const FIRST_LOOK: Duration = Duration::DAY;
/// Whatever is overdue is looked at again so often.
const LOOK_AGAIN: Duration = Duration::WEEK;

/// Merges what one source says into the basket and derives every line's status as of `now`.
pub fn merge(
    basket: &mut Basket,
    observation: &Observation,
    rules: Rules,
    now: OffsetDateTime,
) -> Merged {
    let mut merged = Merged::default();
    // Whose payment it is about is judged by what was known before.
    let lines = basket.lines.iter();
    let concerned: Vec<SubscriptionId> = lines
        .filter(|line| observation.subject.concerns(basket, line))
        .map(|line| line.id)
        .collect();
    bind(basket, observation);
    for fact in &observation.facts {
        merge_fact(basket, fact, observation, &concerned, rules, &mut merged);
    }
    // A webhook's session has no line items: how many were bought must be read.
    let finished = observation.facts.contains(&Fact::SessionCompleted);
    merged.doubtful |= finished
        && observation.freshness == Freshness::Event
        && basket.lines.iter().any(|line| line.quantity_open);
    for line in &mut basket.lines {
        line.term_ends_at = line
            .term
            .zip(line.first_paid_at)
            .map(|(term, paid)| term.end(paid));
        (line.status, line.reason) = derive(line, &basket.checkout, rules.grace, now);
    }
    merged
}

/// From when on it is worth asking Stripe what of a line was paid; none while nothing is to be found out.
pub fn look_due(line: &Subscription, grace: Option<Duration>) -> Option<OffsetDateTime> {
    let held = line.stripe?;
    let in_force = match line.status {
        Status::Active | Status::Cancelled => true,
        Status::OnHold => line.reason == Reason::Overdue,
        Status::PendingActivation | Status::PendingCompletion | Status::Ended => false,
    };
    let first = line.first_paid_at.filter(|_| line.recurring && in_force)?;
    let payable = held.status != StripeStatus::Trialing && held.collection == Collection::Running;
    match line.paid_period {
        None => {
            let due = first.saturating_add(FIRST_LOOK);
            let again = |looked: OffsetDateTime| looked.saturating_add(LOOK_AGAIN);
            Some(line.looked_at.map_or(due, again))
        }
        Some(_) if !payable => None,
        Some(period) => {
            let due = overdue_from(line, period, grace?);
            let again = line.looked_at.filter(|looked| *looked > due);
            Some(again.map_or(due, |looked| looked.saturating_add(LOOK_AGAIN)))
        }
    }
}

/// When the grace after a paid period is over.
fn overdue_from(line: &Subscription, period: Period, grace: Duration) -> OffsetDateTime {
    let from = line.excused_at.map_or(period.end, |at| at.max(period.end));
    from.saturating_add(grace)
}

/// Takes over the foreign keys that [`super::facts::Subject::check`] has found to be free or equal.
fn bind(basket: &mut Basket, observation: &Observation) {
    let subject = &observation.subject;
    let checkout = &mut basket.checkout;
    // The session of what was adopted is somebody else's.
    if checkout.mode != Mode::Adopted {
        checkout.stripe_session = checkout
            .stripe_session
            .take()
            .or_else(|| subject.session.clone());
    }
    checkout.stripe_customer = checkout
        .stripe_customer
        .take()
        .or_else(|| subject.customer.clone());
    if let Some(line) = basket.lines.iter_mut().find(|line| line.recurring) {
        line.stripe_subscription = line
            .stripe_subscription
            .take()
            .or_else(|| subject.stripe_subscription.clone());
    }
}

fn merge_fact(
    basket: &mut Basket,
    fact: &Fact,
    observation: &Observation,
    concerned: &[SubscriptionId],
    rules: Rules,
    merged: &mut Merged,
) {
    match fact {
        Fact::SessionCompleted => advance(&mut basket.checkout, SessionStatus::Complete),
        Fact::SessionExpired => advance(&mut basket.checkout, SessionStatus::Expired),
        // Said of a checkout that has got its session meanwhile, it is old news.
        Fact::SessionNeverOpened => {
            if basket.checkout.stripe_session.is_none() {
                advance(&mut basket.checkout, SessionStatus::Failed);
            }
        }
        Fact::CancelRequested(at) => merge_min(&mut basket.checkout.cancel_requested_at, *at),
        Fact::Paid(at, scope) => {
            for line in in_scope(basket, *scope, concerned) {
                merge_min(&mut line.first_paid_at, *at);
            }
        }
        Fact::InvoicePaid { at, made_at } => {
            for line in in_scope(basket, Scope::Recurring, concerned) {
                merge_invoice_paid(line, *at, *made_at, rules.again, merged);
            }
        }
        Fact::PaidPeriod(period) => {
            for line in in_scope(basket, Scope::Recurring, concerned) {
                line.paid_period = line.paid_period.max(Some(*period));
            }
        }
        Fact::Looked(at) => {
            for line in in_scope(basket, Scope::Recurring, concerned) {
                merge_max(&mut line.looked_at, *at);
            }
        }
        Fact::FirstPaymentFailed(at) => {
            for line in &mut basket.lines {
                merge_min(&mut line.payment_failed_at, *at);
            }
        }
        Fact::Ended(at) => {
            for line in in_scope(basket, Scope::Recurring, concerned) {
                merge_ended(line, *at, rules.again, merged);
            }
        }
        Fact::PaymentIntent(id) => {
            for line in basket.lines.iter_mut().filter(|line| !line.recurring) {
                line.payment_intent.get_or_insert_with(|| id.clone());
            }
        }
        Fact::LineItem(id, item) => {
            for line in basket.lines.iter_mut().filter(|line| line.id == *id) {
                line.stripe_line_item.get_or_insert_with(|| item.clone());
            }
        }
        // What a snapshot has told already is newer than the session.
        Fact::Quantity(id, quantity) => {
            let open = |line: &&mut Subscription| line.id == *id && line.quantity_open;
            for line in basket.lines.iter_mut().filter(open) {
                merge_quantity(line, *quantity, merged);
            }
        }
        Fact::Transaction(transaction, scope) => {
            let lines: Vec<SubscriptionId> = in_scope(basket, *scope, concerned)
                .map(|line| line.id)
                .collect();
            for line in lines {
                let transaction = told_apart(basket, &merged.transactions, line, transaction);
                record(&mut merged.transactions, line, &transaction);
            }
        }
        Fact::Refunded(refund, named) => {
            merge_refund(
                basket,
                *refund,
                named,
                concerned,
                observation.freshness,
                merged,
            );
        }
        Fact::RefundFailed => {
            merged.doubtful |= observation.freshness == Freshness::Event;
            for line in one_offs(basket, concerned) {
                line.refund_failed = true;
            }
        }
        Fact::Disputes(disputes) => {
            let several = concerned.len() > 1;
            for line in in_scope(basket, Scope::Concerned, concerned) {
                let several = several || !line.recurring && line.quantity > 1;
                merge_disputes(line, disputes, several, rules.again, merged);
            }
        }
        Fact::Unclear => merged.doubtful = true,
        Fact::Snapshot(snapshot) => {
            for line in in_scope(basket, Scope::Recurring, concerned) {
                merge_snapshot(line, snapshot, observation, rules.margin, merged);
            }
        }
    }
}

/// Money for what is over was owed from before the end: the last invoice of what is ended at once is made with the end.
fn merge_invoice_paid(
    line: &mut Subscription,
    at: OffsetDateTime,
    made_at: Option<OffsetDateTime>,
    again: bool,
    merged: &mut Merged,
) {
    let is_news = again || line.last_paid_at.is_none_or(|newest| at > newest);
    merge_max(&mut line.last_paid_at, at);
    let owed = |end: &OffsetDateTime| made_at.is_none_or(|made| made < *end);
    if is_news && line.ended_at.filter(owed).is_some_and(|end| at > end) {
        merged.flag = Some(PAID_AFTER_END);
    }
}

/// The end may be told after the money that came later.
fn merge_ended(line: &mut Subscription, at: OffsetDateTime, again: bool, merged: &mut Merged) {
    let is_news = again || line.ended_at.is_none();
    merge_min(&mut line.ended_at, at);
    let late = |paid: OffsetDateTime| paid > at.saturating_add(FINAL_INVOICE);
    if is_news && line.last_paid_at.is_some_and(late) {
        merged.flag = Some(PAID_AFTER_END);
    }
}

/// A refund only grows, until one has failed: from then on the charge is read. So it is when a part of a basket's
/// payment went back, because only the refunds tell which line it was for. It never touches a recurring line.
fn merge_refund(
    basket: &mut Basket,
    refund: Refund,
    named: &[(SubscriptionId, Refund)],
    concerned: &[SubscriptionId],
    freshness: Freshness,
    merged: &mut Merged,
) {
    let alone = concerned.len() == 1;
    // Told of a payment that the rows don't know yet: by the time they do, nobody says it again.
    merged.doubtful |= freshness == Freshness::Event && concerned.is_empty();
    for line in one_offs(basket, concerned) {
        let told = { named.iter() }
            .filter(|(id, _)| *id == line.id)
            .map(|(_, refund)| *refund);
        let told = told.max();
        let meant = refund != Refund::Part || alone || told.is_some();
        // Of a part of a basket's payment only whoever gave it back knows that it was all of a line.
        let refund = match told {
            Some(Refund::Full) if refund == Refund::Part => Refund::Full,
            _ => refund,
        };
        if refund == Refund::Part && meant && line.quantity > 1 {
            merged.flag = Some(PART_OF_SEVERAL);
        }
        match freshness {
            Freshness::Live if meant => line.refund = refund,
            // So much is certain: it isn't all of it any more.
            Freshness::Live => line.refund = line.refund.min(Refund::Part),
            Freshness::Event if line.refund_failed || !meant => merged.doubtful = true,
            Freshness::Event => line.refund = line.refund.max(refund),
        }
    }
}

/// An invoice may be paid by several payments, each of which may go back for itself: the first one is the row of the
/// invoice, and every other one a row beside it. The first one may be told in the same breath.
fn told_apart<'a>(
    basket: &Basket,
    told: &[(SubscriptionId, Transaction)],
    line: SubscriptionId,
    transaction: &'a Transaction,
) -> Cow<'a, Transaction> {
    let Some(intent) = transaction
        .payment_intent
        .as_ref()
        .filter(|_| transaction.kind == TransactionKind::Payment)
    else {
        return Cow::Borrowed(transaction);
    };
    let held = basket.payments.iter();
    let held = held.map(|held| (held.line, &held.reference, &held.payment_intent));
    let payments = told
        .iter()
        .filter(|(_, told)| told.kind == TransactionKind::Payment);
    let told = payments.map(|(line, told)| (*line, &told.reference, &told.payment_intent));
    let is_another = held.chain(told).any(|(of, reference, paid_by)| {
        of == line
            && *reference == transaction.reference
            && paid_by.as_ref().is_some_and(|held| held != intent)
    });
    if !is_another {
        return Cow::Borrowed(transaction);
    }
    Cow::Owned(Transaction {
        reference: format!("{}#{intent}", transaction.reference),
        ..transaction.clone()
    })
}

fn one_offs<'a>(
    basket: &'a mut Basket,
    concerned: &'a [SubscriptionId],
) -> impl Iterator<Item = &'a mut Subscription> {
    in_scope(basket, Scope::Concerned, concerned).filter(|line| !line.recurring)
}

/// Takes over disputes as they were read; when one was lost is known best by who heard it first. One over a part of
/// what was paid for several, lines or shares, is flagged when it is new, and when it is decided.
fn merge_disputes(
    line: &mut Subscription,
    disputes: &[Dispute],
    several: bool,
    again: bool,
    merged: &mut Merged,
) {
    for dispute in disputes {
        let held = line.disputes.iter_mut();
        let held = { held }.find(|held| held.reference == dispute.reference);
        let new = Dispute {
            lost_at: {
                let known = held.as_ref().and_then(|held| held.lost_at);
                [known, dispute.lost_at].into_iter().flatten().min()
            },
            part: dispute.part && several,
            ..dispute.clone()
        };
        let moved = held.as_ref().is_none_or(|held| held.state != new.state);
        if new.part && (moved || again && new.state != DisputeState::Won) {
            merged.flag = Some(PART_DISPUTED);
        }
        match held {
            Some(held) => *held = new,
            None => line.disputes.push(new),
        }
    }
    line.disputes
        .sort_by(|one, other| one.reference.cmp(&other.reference));
}

/// What the disputes of a line's payments do to it: a lost one weighs more than an open one.
fn dispute_in_force(line: &Subscription) -> Option<DisputeState> {
    let in_force =
        |dispute: &&Dispute| match (dispute.state, line.last_paid_at.filter(|_| line.recurring)) {
            (DisputeState::Won, _) => false,
            (DisputeState::Open | DisputeState::Lost, None) => true,
            // Only the newest payment's dispute holds a membership up …
            (DisputeState::Open, Some(newest)) => {
                dispute.payment_at.is_none_or(|paid| paid >= newest)
            }
            // … and a payment after the loss makes up for it; where nobody told when that was, one after the opening.
            (DisputeState::Lost, Some(newest)) => newest <= dispute.lost_at.unwrap_or(dispute.at),
        };
    let states = line
        .disputes
        .iter()
        .filter(|dispute| !dispute.part)
        .filter(in_force)
        .map(|dispute| dispute.state);
    states.max_by_key(|state| *state == DisputeState::Lost)
}

/// Applies a snapshot if it is newer than the row's, leaves it if it is older or the same; doubts it if that can't be
/// told.
fn merge_snapshot(
    line: &mut Subscription,
    snapshot: &Snapshot,
    observation: &Observation,
    margin: Duration,
    merged: &mut Merged,
) {
    let at = observation.at;
    // However old it is, then it was so.
    if snapshot.excused {
        merge_max(&mut line.excused_at, at);
    }
    if let (Some(held), Freshness::Event) = (line.stripe, observation.freshness) {
        if held.at - at > margin {
            return;
        }
        if at - held.at <= margin && !says_nothing_new(line, snapshot) {
            merged.doubtful = true;
            return;
        }
    }
    line.stripe = Some(Held {
        status: snapshot.status,
        at: line.stripe.map_or(at, |held| held.at.max(at)),
        current_period_end: snapshot.current_period_end,
        cancel_at: snapshot.cancel_at,
        cancel_at_period_end: snapshot.cancel_at_period_end,
        collection: snapshot.collection,
    });
    if let Some(price) = &snapshot.price {
        line.stripe_price.clone_from(price);
    }
    if let Some(quantity) = snapshot.quantity {
        merge_quantity(line, quantity, merged);
    }
}

/// Takes over how many Stripe says, if a line can have so many.
fn merge_quantity(line: &mut Subscription, quantity: i64, merged: &mut Merged) {
    match i32::try_from(quantity) {
        Ok(quantity) if quantity > 0 => line.quantity = quantity,
        _ => merged.flag = Some(QUANTITY_OUT_OF_RANGE),
    }
    line.quantity_open = false;
}

/// Whether all that a snapshot tells is in the row already.
fn says_nothing_new(line: &Subscription, snapshot: &Snapshot) -> bool {
    snapshot_of(line).is_some_and(|held| {
        let told = Snapshot {
            price: snapshot.price.clone().or_else(|| held.price.clone()),
            quantity: snapshot.quantity.or(held.quantity),
            excused: false,
            ..snapshot.clone()
        };
        held == told
    })
}

fn snapshot_of(line: &Subscription) -> Option<Snapshot> {
    line.stripe.map(|held| Snapshot {
        status: held.status,
        current_period_end: held.current_period_end,
        cancel_at: held.cancel_at,
        cancel_at_period_end: held.cancel_at_period_end,
        collection: held.collection,
        // Not of the moment: the newest time of it is kept for itself.
        excused: false,
        price: Some(line.stripe_price.clone()),
        quantity: Some(line.quantity.into()),
    })
}

/// A session only moves on: open, then failed, expired or complete. Stripe never says two of these of one session;
/// were it to, the one in which money may have moved wins, whatever came first.
fn advance(checkout: &mut Checkout, to: SessionStatus) {
    let rank = |status| match status {
        SessionStatus::Open => 0,
        SessionStatus::Failed => 1,
        SessionStatus::Expired => 2,
        SessionStatus::Complete => 3,
    };
    if rank(to) > rank(checkout.status) {
        checkout.status = to;
    }
}

fn in_scope<'a>(
    basket: &'a mut Basket,
    scope: Scope,
    concerned: &'a [SubscriptionId],
) -> impl Iterator<Item = &'a mut Subscription> {
    basket.lines.iter_mut().filter(move |line| match scope {
        Scope::Basket => true,
        Scope::Recurring => line.recurring,
        Scope::Concerned => concerned.contains(&line.id),
    })
}

/// Adds a transaction to those to be recorded. A payment may be named twice, by a session and its invoice or by two
/// events: that is one row.
pub fn record(
    transactions: &mut Vec<(SubscriptionId, Transaction)>,
    line: SubscriptionId,
    new: &Transaction,
) {
    let same = |(id, held): &&mut (SubscriptionId, Transaction)| {
        *id == line && held.kind.as_str() == new.kind.as_str() && held.reference == new.reference
    };
    if let Some((_, held)) = transactions.iter_mut().find(same) {
        held.at = held.at.min(new.at);
        held.payment_intent = held
            .payment_intent
            .take()
            .or_else(|| new.payment_intent.clone());
        held.kind = held.kind.max(new.kind);
    } else {
        transactions.push((line, new.clone()));
    }
}

fn merge_min(held: &mut Option<OffsetDateTime>, at: OffsetDateTime) {
    *held = Some(held.map_or(at, |held| held.min(at)));
}

fn merge_max(held: &mut Option<OffsetDateTime>, at: OffsetDateTime) {
    *held = Some(held.map_or(at, |held| held.max(at)));
}

/// The status that the facts of a line and its checkout give at `now`, and why: the first rule that fits decides.
/// `grace` is how long after its paid time a subscription goes on; none: for ever.
pub fn derive(
    line: &Subscription,
    checkout: &Checkout,
    grace: Option<Duration>,
    now: OffsetDateTime,
) -> (Status, Reason) {
    if line.recurring {
        derive_recurring(line, checkout, grace)
    } else {
        derive_one_off(line, checkout, now)
    }
}

fn derive_recurring(
    line: &Subscription,
    checkout: &Checkout,
    grace: Option<Duration>,
) -> (Status, Reason) {
    let stripe = line.stripe.map(|held| held.status);
    let collection = line
        .stripe
        .map_or(Collection::Running, |held| held.collection);
    if line.ended_at.is_some() {
        return (Status::Ended, Reason::Ended);
    }
    if stripe == Some(StripeStatus::IncompleteExpired) {
        return (Status::Ended, Reason::ActivationExpired);
    }
    if line.first_paid_at.is_none() {
        let completed = checkout.status == SessionStatus::Complete;
        return if completed && line.payment_failed_at.is_some() {
            (Status::OnHold, Reason::FirstPaymentFailed)
        } else if completed || stripe.is_some_and(|status| status != StripeStatus::Incomplete) {
            (Status::PendingCompletion, Reason::PaymentProcessing)
        } else {
            unpaid(checkout)
        };
    }
    let dispute = dispute_in_force(line);
    match stripe {
        Some(StripeStatus::Unpaid) => (Status::OnHold, Reason::Unpaid),
        Some(StripeStatus::Paused) => (Status::OnHold, Reason::Paused),
        _ if dispute == Some(DisputeState::Open) => (Status::OnHold, Reason::Disputed),
        _ if dispute == Some(DisputeState::Lost) => (Status::OnHold, Reason::DisputeLost),
        _ if is_overdue(line, grace) => (Status::OnHold, Reason::Overdue),
        _ if collection == Collection::Void && is_unpaid_now(line) => {
            (Status::OnHold, Reason::CollectionVoid)
        }
        Some(StripeStatus::Canceled) => (Status::Cancelled, Reason::CancelScheduled),
        _ if line.will_end() => (Status::Cancelled, Reason::CancelScheduled),
        _ if collection != Collection::Running => (Status::Active, Reason::CollectionPaused),
        Some(StripeStatus::Trialing) => (Status::Active, Reason::Trialing),
        Some(StripeStatus::PastDue) => (Status::Active, Reason::PaymentRetrying),
        Some(StripeStatus::Active | StripeStatus::Incomplete | StripeStatus::IncompleteExpired)
        | None => (Status::Active, Reason::Paid),
    }
}

/// Whether Stripe was asked after the grace was over, and nothing more was paid by then. Our clock alone never decides.
fn is_overdue(line: &Subscription, grace: Option<Duration>) -> bool {
    let payable = line.stripe.is_none_or(|held| {
        held.status != StripeStatus::Trialing && held.collection == Collection::Running
    });
    let (Some(period), Some(grace), Some(looked)) = (line.paid_period, grace, line.looked_at)
    else {
        return false;
    };
    payable && looked > overdue_from(line, period, grace)
}

/// Whether the newest snapshot is from after the time that was paid.
fn is_unpaid_now(line: &Subscription) -> bool {
    line.stripe
        .zip(line.paid_period)
        .is_some_and(|(held, period)| held.at > period.end)
}

fn derive_one_off(
    line: &Subscription,
    checkout: &Checkout,
    now: OffsetDateTime,
) -> (Status, Reason) {
    let dispute = dispute_in_force(line);
    if line.refund == Refund::Full {
        (Status::Ended, Reason::Refunded)
    } else if dispute == Some(DisputeState::Lost) {
        (Status::Ended, Reason::DisputeLost)
    } else if dispute == Some(DisputeState::Open) {
        (Status::OnHold, Reason::Disputed)
    } else if line.term_ends_at.is_some_and(|end| end <= now) {
        (Status::Ended, Reason::TermOver)
    } else if line.first_paid_at.is_some() {
        (Status::Active, Reason::Paid)
    } else if line.payment_failed_at.is_some() {
        (Status::Ended, Reason::PaymentFailed)
    } else if checkout.status == SessionStatus::Complete {
        (Status::PendingCompletion, Reason::PaymentProcessing)
    } else {
        unpaid(checkout)
    }
}

/// Nothing was paid and the checkout was not finished: what has become of the session?
fn unpaid(checkout: &Checkout) -> (Status, Reason) {
    match checkout.status {
        SessionStatus::Failed => (Status::Ended, Reason::StripeError),
        SessionStatus::Expired if checkout.cancel_requested_at.is_some() => {
            (Status::Ended, Reason::CheckoutCancelled)
        }
        SessionStatus::Expired => (Status::Ended, Reason::CheckoutExpired),
        SessionStatus::Open | SessionStatus::Complete => {
            (Status::PendingActivation, Reason::AwaitingPayment)
        }
    }
}

#[cfg(test)]
mod tests;
