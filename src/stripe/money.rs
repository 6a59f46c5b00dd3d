//! What charges, refunds and disputes mean in our words.

use time::OffsetDateTime;

use super::objects::{
    Charge, CreditNote, Dispute, Expandable, InvoicePayment, PaymentIntent, Refund, id_of, time_of,
};
use super::observe::Observer;
use super::requests::WHOLE_LINE_KEY;
use crate::domain::facts::{
    Fact, Freshness, Observation, Scope, Subject, Transaction, TransactionKind,
};
use crate::domain::ids::SubscriptionId;
use crate::domain::subscription::{self, DisputeState, RefundProgress};

/// Why a person should look, when a part of a basket's price went back and nobody said for what.
pub const UNNAMED: &str = "a partial refund of a basket names no line in its metadata";

/// Everything that Stripe says of one payment now.
#[derive(Clone, Debug)]
pub struct PaymentNow {
    /// The payment, with its charge.
    pub intent: PaymentIntent,
    /// All its refunds.
    pub refunds: Vec<Refund>,
    /// All its disputes.
    pub disputes: Vec<Dispute>,
    /// The credit notes of its invoice.
    pub credit_notes: Vec<CreditNote>,
    /// When its invoice was paid, if it has one.
    pub invoice_paid_at: Option<OffsetDateTime>,
    /// When a dispute of it was closed, if Stripe has told that already.
    pub closed_at: Option<OffsetDateTime>,
}

impl Observer {
    /// What `charge.refunded` says: its amount is cumulative.
    pub fn charge_refunded(&self, charge: &Charge, at: OffsetDateTime) -> Observation {
        let mut facts = Vec::with_capacity(2);
        facts.extend(refunded(charge).map(|refund| Fact::Refunded(refund, Vec::new())));
        facts.extend(
            charge
                .refunds
                .iter()
                .flat_map(|refunds| &refunds.data)
                .filter_map(refund_fact),
        );
        let subject = Subject {
            customer: id_of(charge.customer.as_ref()),
            subscriptions: self.internal_ids(charge.metadata.as_ref()),
            external: self.external_ids(charge.metadata.as_ref()),
            payment_intent: id_of(charge.payment_intent.as_ref()),
            ..Subject::default()
        };
        Observation {
            subject,
            at,
            freshness: Freshness::Event,
            facts,
        }
    }

    /// What `refund.created`, `.updated` and `.failed` say: how this refund stands, not what is left of the payment.
    pub fn refund(refund: &Refund, at: OffsetDateTime) -> Observation {
        let mut facts = Vec::with_capacity(2);
        facts.extend(refund_fact(refund));
        if progress(refund) == Some(RefundProgress::Failed) {
            facts.push(Fact::RefundFailed);
        }
        by_payment(id_of(refund.payment_intent.as_ref()), at, facts)
    }

    /// What `charge.dispute.*` says: that the payment's disputes must be read.
    pub fn dispute(dispute: &Dispute, at: OffsetDateTime) -> Observation {
        by_payment(
            id_of(dispute.payment_intent.as_ref()),
            at,
            vec![Fact::Unclear],
        )
    }

    /// What `credit_note.created` says: that something of the invoice may have been paid back.
    pub fn credit_note(note: &CreditNote, at: OffsetDateTime) -> Observation {
        let subject = Subject {
            invoice: id_of(note.invoice.as_ref()),
            ..Subject::default()
        };
        Observation {
            subject,
            at,
            freshness: Freshness::Event,
            facts: vec![Fact::Unclear],
        }
    }

    /// What `invoice_payment.paid` says: which payment intent paid an invoice that we know.
    pub fn invoice_payment(payment: &InvoicePayment, at: OffsetDateTime) -> Observation {
        let invoice = id_of(payment.invoice.as_ref());
        let intent = payment.payment_intent_id().map(str::to_owned);
        let facts = invoice.clone().zip(intent).map(|(reference, intent)| {
            let kind = TransactionKind::Payment;
            let payment_intent = Some(intent);
            Fact::Transaction(
                Transaction::new(kind, reference, payment_intent, at),
                Scope::Concerned,
            )
        });
        let subject = Subject {
            invoice,
            ..Subject::default()
        };
        Observation {
            subject,
            at,
            freshness: Freshness::Event,
            facts: facts.into_iter().collect(),
        }
    }

    /// What a payment without an invoice says of the checkout that its metadata names.
    pub fn payment_intent(&self, intent: &PaymentIntent, at: OffsetDateTime) -> Observation {
        let mut facts = vec![Fact::PaymentIntent(intent.id.clone())];
        if let Some(charge) = intent.latest_charge.as_ref().and_then(Expandable::object)
            && charge.paid
        {
            let at = charge.created.and_then(time_of).unwrap_or(at);
            let (kind, reference) = (TransactionKind::Payment, intent.id.clone());
            let payment_intent = Some(intent.id.clone());
            facts.push(Fact::Paid(at, Scope::Basket));
            facts.push(Fact::Transaction(
                Transaction::new(kind, reference, payment_intent, at),
                Scope::Basket,
            ));
        }
        let subject = Subject {
            customer: id_of(intent.customer.as_ref()),
            subscriptions: self.internal_ids(intent.metadata.as_ref()),
            external: self.external_ids(intent.metadata.as_ref()),
            payment_intent: Some(intent.id.clone()),
            ..Subject::default()
        };
        Observation {
            subject,
            at,
            freshness: Freshness::Live,
            facts,
        }
    }

    /// What all that Stripe says of a payment means, and why a person is needed, if one is.
    pub fn payment_now(
        &self,
        now: &PaymentNow,
        at: OffsetDateTime,
    ) -> (Observation, Option<&'static str>) {
        let charge = now
            .intent
            .latest_charge
            .as_ref()
            .and_then(Expandable::object);
        let done: Vec<&Refund> = now
            .refunds
            .iter()
            .filter(|refund| progress(refund) == Some(RefundProgress::Succeeded))
            .collect();
        // A refund names its lines itself, or its credit note does.
        let lines_of = |refund: &&Refund| {
            let notes = now
                .credit_notes
                .iter()
                .filter(|note| note.has_refund(&refund.id));
            let named = notes
                .map(|note| note.metadata.as_ref())
                .chain([refund.metadata.as_ref()]);
            named
                .flat_map(|metadata| self.internal_ids(metadata))
                .collect::<Vec<_>>()
        };
        let named = done.iter().flat_map(|refund| {
            let how_much = if is_of_a_whole_line(refund) {
                subscription::Refund::Full
            } else {
                subscription::Refund::Part
            };
            lines_of(refund).into_iter().map(move |id| (id, how_much))
        });
        let named: Vec<(SubscriptionId, subscription::Refund)> = named.collect();
        let refund = charge
            .and_then(refunded)
            .unwrap_or(subscription::Refund::None);
        let unnamed = refund == subscription::Refund::Part
            && done.iter().any(|refund| lines_of(refund).is_empty());
        let mut facts: Vec<Fact> = now.refunds.iter().filter_map(refund_fact).collect();
        facts.push(Fact::Refunded(refund, named));
        // An event that is older than the failure may still come, and knows nothing of it.
        if now
            .refunds
            .iter()
            .any(|refund| progress(refund) == Some(RefundProgress::Failed))
        {
            facts.push(Fact::RefundFailed);
        }
        facts.push(Fact::Disputes(
            now.disputes
                .iter()
                .filter_map(|dispute| dispute_now(dispute, charge, now))
                .collect(),
        ));
        let mut observation = by_payment(Some(now.intent.id.clone()), at, facts);
        observation.freshness = Freshness::Live;
        (observation, unnamed.then_some(UNNAMED))
    }
}

/// How a dispute of that status stands; none for an inquiry and for what was prevented: no money was claimed. An appeal
/// is against a loss, and a loss it stays until the appeal is won.
pub fn dispute_state(status: &str) -> Option<DisputeState> {
    match status {
        "won" => Some(DisputeState::Won),
        "lost" => Some(DisputeState::Lost),
        "prevented" => None,
        status if status.starts_with("warning_") => None,
        status if status.starts_with("appeal_") => Some(DisputeState::Lost),
        _ => Some(DisputeState::Open),
    }
}

/// A dispute as it is now; none where no money was claimed.
fn dispute_now(
    dispute: &Dispute,
    charge: Option<&Charge>,
    now: &PaymentNow,
) -> Option<subscription::Dispute> {
    let state = dispute_state(dispute.status.as_deref()?)?;
    let left = charge.and_then(|charge| {
        let taken = charge.taken()?;
        Some(taken - charge.amount_refunded.unwrap_or_default())
    });
    let part = dispute.amount.zip(left);
    Some(subscription::Dispute {
        part: part.is_some_and(|(claimed, left)| claimed < left),
        reference: dispute.id.clone(),
        state,
        payment_intent: Some(now.intent.id.clone()),
        at: dispute.created.and_then(time_of)?,
        payment_at: now.invoice_paid_at,
        lost_at: now.closed_at.filter(|_| state == DisputeState::Lost),
    })
}

fn refunded(charge: &Charge) -> Option<subscription::Refund> {
    if charge.refunded {
        Some(subscription::Refund::Full)
    } else {
        let some = charge.amount_refunded.is_some_and(|amount| amount > 0);
        some.then_some(subscription::Refund::Part)
    }
}

/// Whether whoever made it said that it leaves nothing of the line that it names.
fn is_of_a_whole_line(refund: &Refund) -> bool {
    let metadata = refund.metadata.as_ref();
    metadata.is_some_and(|metadata| metadata.contains_key(WHOLE_LINE_KEY))
}

/// How far a refund has come; none where it does not tell.
pub fn progress(refund: &Refund) -> Option<RefundProgress> {
    match refund.status.as_deref()? {
        "succeeded" => Some(RefundProgress::Succeeded),
        "failed" | "canceled" => Some(RefundProgress::Failed),
        _ => Some(RefundProgress::Pending),
    }
}

fn refund_fact(refund: &Refund) -> Option<Fact> {
    let kind = TransactionKind::Refund(progress(refund)?);
    let (reference, payment_intent) = (refund.id.clone(), id_of(refund.payment_intent.as_ref()));
    let at = refund.created.and_then(time_of)?;
    Some(Fact::Transaction(
        Transaction::new(kind, reference, payment_intent, at),
        Scope::Concerned,
    ))
}

fn by_payment(payment_intent: Option<String>, at: OffsetDateTime, facts: Vec<Fact>) -> Observation {
    let subject = Subject {
        payment_intent,
        ..Subject::default()
    };
    Observation {
        subject,
        at,
        freshness: Freshness::Event,
        facts,
    }
}
