//! Whose an object at Stripe is: by foreign key, by metadata, or by the payment. Nobody is told of what is somebody else's.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::reading::Read;
use super::rows::Rows;
use crate::domain::ids::SubscriptionId;
use crate::purchases::Error;
use crate::services::operators::Operators;
use crate::storage::transactions::TransactionRow;
use crate::storage::{subscriptions, transactions};
use crate::stripe::objects::{Charge, Expandable, Invoice, Metadata, Session, Subscription};
use crate::stripe::observe::Observer;

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of these lines of the member; at least one.
    Lines(Vec<SubscriptionId>),
    /// Of no line of anybody's.
    Nobody,
    /// Another member's.
    Another,
}

/// Whose everything is that Stripe has told of.
pub(super) struct Owned<'a> {
    observer: &'a Observer,
    read: &'a Read,
    /// Of each id at Stripe, and of each payment.
    lines: HashMap<String, Vec<SubscriptionId>>,
    ids: HashSet<SubscriptionId>,
    /// Lines that have a subscription at Stripe: metadata of another one does not speak about them.
    bound: HashSet<SubscriptionId>,
    /// Ids at Stripe, and ids of ours, that are another member's.
    others: HashSet<String>,
    invoice_of_payment: HashMap<&'a str, &'a Invoice>,
    session_of_payment: HashMap<&'a str, &'a Session>,
    /// What is recorded of the objects, of this member alone, beside what the story's own rows say.
    pub(super) recorded: Vec<TransactionRow>,
}

impl<'a> Owned<'a> {
    /// Asks our rows whose they are, and for the events about what they did not name before.
    pub(super) async fn find(
        operators: &'a Operators,
        rows: &mut Rows,
        read: &'a Read,
    ) -> Result<Self, Error> {
        let mut this = Self {
            observer: &operators.purchases.account.observer,
            read,
            lines: HashMap::new(),
            ids: rows.lines.iter().map(|placed| placed.line.id).collect(),
            bound: { rows.lines.iter() }
                .filter(|placed| placed.line.stripe_subscription.is_some())
                .map(|placed| placed.line.id)
                .collect(),
            others: HashSet::new(),
            invoice_of_payment: HashMap::new(),
            session_of_payment: HashMap::new(),
            recorded: Vec::new(),
        };
        this.keys_of(rows);
        for invoice in &read.invoices {
            for intent in invoice.payment_intent_ids() {
                this.invoice_of_payment.insert(intent, invoice);
            }
        }
        for session in &read.sessions {
            if let Some(intent) = &session.payment_intent {
                this.session_of_payment.insert(intent.id(), session);
            }
        }
        this.ask(operators, rows).await?;
        let unknown: Vec<String> = this
            .objects()
            .filter_map(|(id, whose)| match whose {
                Whose::Lines(lines) if !rows.places.contains_key(id) => {
                    let told = lines.iter().find(|line| rows.wanted.is_of(**line))?;
                    rows.places.insert(id.to_owned(), *told);
                    Some(id.to_owned())
                }
                _ => None,
            })
            .collect();
        if !unknown.is_empty() {
            rows.read_events(operators, unknown).await?;
        }
        Ok(this)
    }

    /// Our foreign keys.
    fn keys_of(&mut self, rows: &Rows) {
        for placed in &rows.lines {
            let line = &placed.line;
            let session = rows
                .checkout(placed)
                .and_then(|row| row.stripe_session_id.clone());
            let own = [
                line.stripe_subscription.clone(),
                line.payment_intent.clone(),
                session,
            ];
            for id in own.into_iter().flatten() {
                self.lines.entry(id).or_default().push(line.id);
            }
        }
    }

    /// What is recorded of the payments, and which objects are another member's.
    async fn ask(&mut self, operators: &Operators, rows: &Rows) -> Result<(), Error> {
        let read = self.read;
        let payments: Vec<&str> = read.charges.iter().filter_map(intent_of).collect();
        let refunds = { read.charges.iter() }.flat_map(|charge| charge.refunds.iter());
        let references: Vec<&str> = { read.invoices.iter() }
            .map(|invoice| invoice.id.as_str())
            .chain(refunds.flat_map(|list| list.data.iter().map(|refund| refund.id.as_str())))
            .chain(read.disputes.iter().map(|dispute| dispute.id.as_str()))
            .collect();
        let pool = &operators.pool;
        let found = transactions::find_of_objects(pool, &payments, &references).await?;
        for (user, row) in found {
            let keys = [
                Some(row.stripe_reference.clone()),
                row.stripe_payment_intent_id.clone(),
            ];
            for key in keys.into_iter().flatten() {
                if user == rows.user.as_str() {
                    let lines = self.lines.entry(key).or_default();
                    let line = SubscriptionId(row.subscription_id);
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                } else {
                    self.others.insert(key);
                }
            }
            if user == rows.user.as_str() {
                self.recorded.push(row);
            }
        }
        // In the order of the basket, whatever comes first here.
        let place = |id: &SubscriptionId| rows.lines.iter().position(|it| it.line.id == *id);
        for lines in self.lines.values_mut() {
            lines.sort_by_key(place);
        }
        let subscriptions: Vec<&str> = { read.subscriptions.iter() }
            .map(|(_, one)| one.id.as_str())
            .chain(read.invoices.iter().filter_map(Invoice::subscription_id))
            .collect();
        let named: Vec<Uuid> = self.named().into_iter().map(|id| id.0).collect();
        for (id, stripe, user) in subscriptions::find_users_of(pool, &subscriptions, &named).await?
        {
            if user != rows.user.as_str() {
                self.others.insert(id.to_string());
                self.others.extend(stripe);
            }
        }
        Ok(())
    }

    /// Every id of ours that metadata names.
    fn named(&self) -> HashSet<SubscriptionId> {
        let read = self.read;
        let charges = read.charges.iter().map(|charge| charge.metadata.as_ref());
        let subscriptions = { read.subscriptions.iter() }.map(|(_, one)| one.metadata.as_ref());
        let invoices = { read.invoices.iter() }.map(Invoice::subscription_metadata);
        let sessions = { read.sessions.iter() }.map(|session| session.metadata.as_ref());
        let all = charges.chain(subscriptions).chain(invoices).chain(sessions);
        all.flat_map(|metadata| self.observer.internal_ids(metadata))
            .collect()
    }

    fn objects(&self) -> impl Iterator<Item = (&'a str, Whose)> {
        let subscriptions = { self.read.subscriptions.iter() }
            .map(|(_, one)| (one.id.as_str(), self.of_subscription(one)));
        let invoices =
            { self.read.invoices.iter() }.map(|one| (one.id.as_str(), self.of_invoice(one)));
        let payments = { self.read.charges.iter() }
            .filter_map(|one| Some((intent_of(one)?, self.of_charge(one))));
        subscriptions.chain(invoices).chain(payments)
    }

    pub(super) fn of_subscription(&self, one: &Subscription) -> Whose {
        self.unless_bound(
            &one.id,
            self.whose([one.id.as_str()], one.metadata.as_ref()),
        )
    }

    /// What metadata says of a subscription at Stripe counts only for lines that have none.
    fn unless_bound(&self, subscription: &str, whose: Whose) -> Whose {
        match whose {
            Whose::Lines(lines) if !self.lines.contains_key(subscription) => {
                let free: Vec<SubscriptionId> = { lines.into_iter() }
                    .filter(|id| !self.bound.contains(id))
                    .collect();
                if free.is_empty() {
                    Whose::Nobody
                } else {
                    Whose::Lines(free)
                }
            }
            whose => whose,
        }
    }

    pub(super) fn of_session(&self, session: &Session) -> Whose {
        self.whose([session.id.as_str()], session.metadata.as_ref())
    }

    pub(super) fn of_invoice(&self, invoice: &Invoice) -> Whose {
        let session = self.read.sessions.iter().find(|session| {
            session.invoice.as_ref().map(Expandable::id) == Some(invoice.id.as_str())
        });
        let keys = [Some(invoice.id.as_str()), session.map(|it| it.id.as_str())];
        let whose = |key| self.whose(key, invoice.subscription_metadata());
        match (
            self.whose(keys.into_iter().flatten(), None),
            invoice.subscription_id(),
        ) {
            (Whose::Nobody, Some(id)) => self.unless_bound(id, whose(Some(id))),
            (Whose::Nobody, None) => whose(None),
            (known, _) => known,
        }
    }

    pub(super) fn of_charge(&self, charge: &Charge) -> Whose {
        let intent = intent_of(charge);
        let session = intent.and_then(|intent| self.session_of_payment.get(intent));
        let invoice = self.invoice_of(charge);
        let keys = [intent, session.map(|session| session.id.as_str())];
        match (
            self.whose(keys.into_iter().flatten(), charge.metadata.as_ref()),
            invoice,
        ) {
            (Whose::Nobody, Some(invoice)) => self.of_invoice(invoice),
            (whose, _) => whose,
        }
    }

    /// The invoice that a charge pays.
    pub(super) fn invoice_of(&self, charge: &Charge) -> Option<&'a Invoice> {
        let older = || {
            let id = charge.invoice.as_ref()?.id();
            self.read.invoices.iter().find(|invoice| invoice.id == id)
        };
        let paid = intent_of(charge).and_then(|intent| self.invoice_of_payment.get(intent));
        paid.copied().or_else(older)
    }

    /// By foreign keys, else by what metadata names.
    fn whose<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
        metadata: Option<&Metadata>,
    ) -> Whose {
        let mut another = false;
        for key in keys {
            if let Some(lines) = self.lines.get(key) {
                return Whose::Lines(lines.clone());
            }
            another |= self.others.contains(key);
        }
        let named = self.observer.internal_ids(metadata);
        let own: Vec<SubscriptionId> = { named.iter().copied() }
            .filter(|id| self.ids.contains(id))
            .collect();
        another |= named.iter().any(|id| self.others.contains(&id.to_string()));
        match (another, own.is_empty()) {
            (true, _) => Whose::Another,
            (false, false) => Whose::Lines(own),
            (false, true) => Whose::Nobody,
        }
    }
}

/// `pi_…` that a charge is of.
pub(super) fn intent_of(charge: &Charge) -> Option<&str> {
    charge.payment_intent.as_ref().map(Expandable::id)
}
