//! Reads Stripe's part of a story: a few lists at once, and never more calls than were promised.

use futures_util::future::join_all;
use time::OffsetDateTime;

use super::rows::{Rows, Wanted};
use super::sentences;
use crate::purchases::Error;
use crate::services::operators::Operators;
use crate::stripe::objects::{
    Charge, CreditNote, Dispute, Expandable, Invoice, List, Session, Subscription,
};
use crate::stripe::{Answer, Stripe, StripeError};

/// So many calls are made for the story of a subscription, and for each currency of a member's.
pub(super) const MOST_CALLS: usize = 6;

/// What Stripe says, newest first in each list.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) sessions: Vec<Session>,
    pub(super) subscriptions: Vec<(OffsetDateTime, Subscription)>,
    pub(super) invoices: Vec<Invoice>,
    pub(super) charges: Vec<Charge>,
    pub(super) disputes: Vec<Dispute>,
    pub(super) credit_notes: Vec<CreditNote>,
    /// What our rows name and Stripe does not have.
    pub(super) gone: Vec<String>,
    /// Why it is not all there.
    pub(super) missing: Option<String>,
}

/// A call that is to be made.
#[derive(Clone, Debug)]
enum Call {
    Session(String),
    Subscription(String),
    InvoicesOf(String),
    Charges(String),
    Subscriptions(String),
    Invoices(String),
    Sessions(String),
    Disputes(String),
    CreditNotes(String),
}

/// What it has brought.
enum Brought {
    Session(Box<Session>),
    Subscription(OffsetDateTime, Box<Subscription>),
    Subscriptions(OffsetDateTime, Vec<Subscription>),
    Invoices(Vec<Invoice>),
    Charges(Vec<Charge>),
    Sessions(Vec<Session>),
    Disputes(Vec<Dispute>),
    CreditNotes(Vec<CreditNote>),
}

impl Read {
    /// What Stripe says of one line.
    pub(super) async fn of_line(operators: &Operators, rows: &Rows) -> Self {
        let mut first = Vec::new();
        let mut customer = None;
        if let Some(placed) = rows.told().next() {
            let checkout = rows.checkout(placed);
            let subscription = placed.line.stripe_subscription.as_ref();
            first.extend(subscription.cloned().map(Call::Subscription));
            first.extend(subscription.cloned().map(Call::InvoicesOf));
            customer = checkout.and_then(|row| row.stripe_customer_id.clone());
            first.extend(customer.clone().map(Call::Charges));
            let session = checkout.and_then(|row| row.stripe_session_id.clone());
            first.extend(session.map(Call::Session));
        }
        let mut read = Self::default();
        read.all(operators, first, rows, customer).await;
        read
    }

    /// What Stripe says of each customer that a member ever was: of each currency at once.
    pub(super) async fn of_member(operators: &Operators, rows: &Rows) -> Self {
        let mut currencies: Vec<(&str, Vec<&str>)> = Vec::new();
        for (currency, customer) in &rows.customers {
            match currencies.last_mut() {
                Some((last, customers)) if *last == currency => customers.push(customer),
                _ => currencies.push((currency, vec![customer])),
            }
        }
        let each = currencies.into_iter().map(async |(_, customers)| {
            let mut calls = Vec::new();
            for customer in &customers {
                let lists = [
                    Call::Charges,
                    Call::Subscriptions,
                    Call::Invoices,
                    Call::Sessions,
                ];
                calls.extend(lists.map(|list| list((*customer).to_owned())));
            }
            let mut read = Self::default();
            let newest = customers.first().map(|customer| (*customer).to_owned());
            read.all(operators, calls, rows, newest).await;
            read
        });
        let mut all = Self::default();
        for read in join_all(each).await {
            all.sessions.extend(read.sessions);
            all.subscriptions.extend(read.subscriptions);
            all.invoices.extend(read.invoices);
            all.charges.extend(read.charges);
            all.disputes.extend(read.disputes);
            all.credit_notes.extend(read.credit_notes);
            all.gone.extend(read.gone);
            all.missing = all.missing.or(read.missing);
        }
        all
    }

    /// Makes these calls, and those that their answers ask for, as far as they may be made.
    async fn all(
        &mut self,
        operators: &Operators,
        mut calls: Vec<Call>,
        rows: &Rows,
        customer: Option<String>,
    ) {
        if calls.len() > MOST_CALLS {
            calls.truncate(MOST_CALLS);
            self.missing = Some(sentences::TOO_MANY_CUSTOMERS.to_owned());
        }
        let account = &operators.purchases.account;
        let now = operators.purchases.clock.now();
        // The second round has what the first has left of the time that a request may take.
        let patience = operators.purchases.settings.stripe.total_timeout;
        let deadline = tokio::time::Instant::now() + patience;
        let left = MOST_CALLS - calls.len();
        self.round(&account.client, calls, now).await;
        let more = self.asked_for(left, rows, customer);
        let round = self.round(&account.client, more, now);
        if tokio::time::timeout_at(deadline, round).await.is_err() {
            self.missing = Some(sentences::TOO_SLOW.to_owned());
        }
    }

    async fn round(&mut self, stripe: &Stripe, calls: Vec<Call>, now: OffsetDateTime) {
        let answers = calls.iter().map(|call| call.make(stripe, now));
        for (call, answer) in calls.iter().zip(join_all(answers).await) {
            match answer {
                Ok(brought) => self.keep(brought),
                Err(error) if error.is_no_such_object() => self.gone.extend(call.named()),
                Err(error) => {
                    let trouble = Error::from(error).trouble();
                    self.missing = Some(sentences::stripe_away(trouble));
                }
            }
        }
    }

    fn keep(&mut self, brought: Brought) {
        match brought {
            Brought::Session(mut session) => {
                // Of a basket's first invoice its other lines know only by the session.
                let invoice = session.invoice.take();
                session.invoice = invoice
                    .as_ref()
                    .map(|it| Expandable::Id(it.id().to_owned()));
                let invoice = invoice.and_then(Expandable::into_object);
                let is_new = |new: &Invoice| self.invoices.iter().all(|known| known.id != new.id);
                self.invoices.extend(invoice.filter(is_new));
                self.sessions.push(*session);
            }
            Brought::Subscription(at, one) => self.subscriptions.push((at, *one)),
            Brought::Subscriptions(at, all) => {
                self.subscriptions
                    .extend(all.into_iter().map(|one| (at, one)));
            }
            Brought::Invoices(invoices) => self.invoices.extend(invoices),
            Brought::Charges(charges) => self.charges.extend(charges),
            Brought::Sessions(sessions) => self.sessions.extend(sessions),
            Brought::Disputes(disputes) => self.disputes.extend(disputes),
            Brought::CreditNotes(notes) => self.credit_notes.extend(notes),
        }
    }

    /// Disputes of the newest payments that have one, and what was credited beside refunds.
    fn asked_for(&self, left: usize, rows: &Rows, customer: Option<String>) -> Vec<Call> {
        let is_wanted = |charge: &&Charge| {
            let intent = charge.payment_intent.as_ref().map(Expandable::id);
            let of_line = || {
                let invoices = self.invoices.iter();
                let billed = invoices.flat_map(Invoice::payment_intent_ids);
                let bought = self
                    .sessions
                    .iter()
                    .filter_map(|session| session.payment_intent.as_ref());
                intent.is_some_and(|intent| rows.places.contains_key(intent))
                    || billed
                        .chain(bought.map(Expandable::id))
                        .any(|own| Some(own) == intent)
            };
            charge.disputed && (rows.wanted == Wanted::Member || of_line())
        };
        let disputed = self.charges.iter().filter(is_wanted);
        let disputed = disputed.filter_map(|charge| charge.payment_intent.as_ref());
        let mut calls: Vec<Call> = disputed
            .map(|intent| Call::Disputes(intent.id().to_owned()))
            .take(left)
            .collect();
        let credited = |invoice: &Invoice| invoice.post_payment_credit_notes_amount > Some(0);
        if calls.len() < left && self.invoices.iter().any(credited) {
            calls.extend(customer.map(Call::CreditNotes));
        }
        calls
    }
}

impl Call {
    async fn make(&self, stripe: &Stripe, now: OffsetDateTime) -> Result<Brought, StripeError> {
        let to = now + time::Duration::DAY;
        let begin = OffsetDateTime::UNIX_EPOCH;
        Ok(match self {
            Self::Session(id) => {
                Brought::Session(Box::new(stripe.retrieve_session(id).await?.body))
            }
            Self::Subscription(id) => {
                let answer = stripe.retrieve_subscription(id).await?;
                Brought::Subscription(answer.at, Box::new(answer.body))
            }
            Self::InvoicesOf(id) => Brought::Invoices(data(stripe.list_newest_invoices(id).await?)),
            Self::Charges(id) => Brought::Charges(data(stripe.list_charges(id, to, None).await?)),
            Self::Subscriptions(id) => {
                let answer = stripe.list_subscriptions_of_customer(id).await?;
                Brought::Subscriptions(answer.at, answer.body.data)
            }
            Self::Invoices(id) => {
                Brought::Invoices(data(stripe.list_invoices(id, to, None).await?))
            }
            Self::Sessions(id) => {
                Brought::Sessions(data(stripe.list_sessions(id, begin, None).await?))
            }
            Self::Disputes(id) => Brought::Disputes(data(stripe.list_disputes(id).await?)),
            Self::CreditNotes(id) => {
                Brought::CreditNotes(data(stripe.list_credit_notes_of_customer(id, None).await?))
            }
        })
    }

    /// The object that it reads by its id.
    fn named(&self) -> Option<String> {
        match self {
            Self::Session(id) | Self::Subscription(id) => Some(id.clone()),
            _ => None,
        }
    }
}

fn data<T>(answer: Answer<List<T>>) -> Vec<T> {
    answer.body.data
}
