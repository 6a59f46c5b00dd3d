//! One box for everything: from any id, address or name to the member and what is hers.
//!
//! Ids answer from our rows, by an index. Only what these don't know is read at Stripe, in at most [`CALLS`] calls.

mod asked;

use std::collections::BTreeSet;

use uuid::Uuid;

use self::asked::Asked;
use super::Operators;
use super::members::Look;
use crate::purchases::Error;
use crate::storage::objects::{self, Owned};
use crate::storage::webhook_events;
use crate::stripe::StripeError;
use crate::stripe::objects::{Person, id_of};
use crate::stripe::requests::tracing::Named;

/// The most hits.
const HITS: usize = 20;
/// The most calls to Stripe.
pub const CALLS: usize = 4;
/// Stripe finds no shorter part of a name.
const LETTERS: usize = 3;

/// Said beside what Stripe's search has found, or has not.
const LATE: &str = "Stripe's search by name may be up to an hour late.";
const TOO_SHORT: &str = "Nobody has that id. To search for a name, give at least three letters.";
const UNREADABLE: &str = "Nothing can be looked for in that: give an id, a mail address or a name.";
const UNKNOWN: &str = "Neither our rows nor Stripe know it.";
const NOT_OURS: &str = "Stripe knows it, but it leads to nothing of ours.";
const NOBODY: &str = "Nobody at Stripe has that address. It is compared letter by letter.";

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// `member`, `subscription`, `checkout`, `transaction`, `event`, `customer`.
    pub kind: &'static str,
    /// Ours, but for an event and a customer.
    pub id: String,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The line, where it is one line's.
    pub subscription_id: Option<Uuid>,
    /// Why it was found.
    pub why: String,
    /// Of a search by name: what the customer is called.
    pub name: Option<String>,
    /// Of a search by name.
    pub email: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// At most twenty.
    pub hits: Vec<Hit>,
    /// What is to be said beside it.
    pub note: Option<&'static str>,
}

/// Why nothing was looked for.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// It is a name, and names are not for whoever asks.
    #[error("names are not for this role")]
    NamesNotAllowed,
    /// Stripe or the database.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Operators {
    /// Whatever the text leads to. `look` is who asks, where she may know what people are called.
    pub async fn search(&self, text: &str, look: Option<Look<'_>>) -> Result<Found, SearchError> {
        match Asked::of(text) {
            Asked::Nothing => Ok(said(UNREADABLE)),
            Asked::Stripes(named, id) => Ok(self.search_stripes(named, id).await?),
            Asked::Email(email) => Ok(self.search_email(&email).await?),
            Asked::Text(id, text) => self.search_text(id, &text, look).await,
        }
    }

    async fn search_stripes(&self, named: Named, id: String) -> Result<Found, Error> {
        let owned = self.owned(std::slice::from_ref(&id)).await?;
        if !owned.is_empty() {
            let why = format!("Found by {}.", noun(named));
            return Ok(found(owned, &why));
        }
        self.search_at_stripe(named, &id).await
    }

    /// Reads what our rows don't know, and goes on from there: to the invoices that a payment paid, to its customer.
    async fn search_at_stripe(&self, named: Named, id: &str) -> Result<Found, Error> {
        let client = &self.purchases.account.client;
        if named == Named::Customer {
            return match missing(client.retrieve_customer(id).await)? {
                Some(person) => self.hits_of(vec![person], "Found by the customer.", false).await,
                None => Ok(said(UNKNOWN)),
            };
        }
        let Some(trace) = missing(client.trace(named, id).await)? else {
            return Ok(said(UNKNOWN));
        };
        let mut clues = trace.leads_to();
        if named == Named::Event {
            clues.extend(trace.id.clone());
        }
        let mut customer = id_of(trace.customer.as_ref());
        clues.extend(customer.clone());
        let by = |clue: &str| format!("Found by {}, which belongs to {clue}.", noun(named));
        if let Some(found) = self.found_by(&clues, &by).await? {
            return Ok(found);
        }
        let own_payment = (named == Named::Payment).then(|| id.to_owned());
        let payment = own_payment.or_else(|| id_of(trace.payment_intent.as_ref()));
        if let Some(payment) = payment {
            let invoices = client.list_invoices_of_payment(&payment).await?.body.data;
            let invoices = invoices.iter().filter_map(|paid| paid.invoice.as_ref());
            let clues = invoices.flat_map(|invoice| {
                let subscription = invoice
                    .object()
                    .and_then(|invoice| invoice.subscription_id());
                [
                    Some(invoice.id().to_owned()),
                    subscription.map(str::to_owned),
                ]
            });
            let clues: Vec<String> = clues.flatten().collect();
            if let Some(found) = self.found_by(&clues, &by).await? {
                return Ok(found);
            }
            if customer.is_none() {
                let intent = missing(client.trace(Named::Payment, &payment).await)?;
                customer = intent.and_then(|intent| id_of(intent.customer.as_ref()));
                let clues: Vec<String> = customer.iter().cloned().collect();
                if let Some(found) = self.found_by(&clues, &by).await? {
                    return Ok(found);
                }
            }
        }
        let Some(customer) = customer else {
            return Ok(said(NOT_OURS));
        };
        let Some(person) = missing(client.retrieve_customer(&customer).await)? else {
            return Ok(said(NOT_OURS));
        };
        self.hits_of(vec![person], &by(&customer), false).await
    }

    /// What of ours these ids lead to, if anything.
    async fn found_by(
        &self,
        clues: &[String],
        by: &(dyn Fn(&str) -> String + Sync),
    ) -> Result<Option<Found>, Error> {
        if clues.is_empty() {
            return Ok(None);
        }
        let owned = self.owned(clues).await?;
        let Some(first) = owned.first() else {
            return Ok(None);
        };
        let why = by(&first.id);
        Ok(Some(found(owned, &why)))
    }

    /// What Stripe's ids lead to in our rows; an event to whom its object leads.
    async fn owned(&self, ids: &[String]) -> Result<Vec<Owned>, Error> {
        let mut owned = objects::find_by_stripes(&self.pool, ids).await?;
        for one in owned.iter_mut().filter(|one| one.what == "event") {
            let event = webhook_events::find_by_id(&self.pool, &one.id).await?;
            let object = event.map(|event| event.object_id);
            let about = objects::find_by_stripes(&self.pool, object.as_slice()).await?;
            if let Some(about) = about.into_iter().next() {
                one.user_id = about.user_id;
                one.subscription_id = about.subscription_id;
            }
        }
        Ok(owned)
    }

    async fn search_email(&self, email: &str) -> Result<Found, Error> {
        let client = &self.purchases.account.client;
        let limit = i64::try_from(HITS).unwrap_or(i64::MAX);
        let mut people = client.list_customers_by_email(email, limit).await?;
        // Stripe compares letter by letter, and most addresses are written in small ones.
        let small = email.to_lowercase();
        if small != email {
            people.extend(client.list_customers_by_email(&small, limit).await?);
        }
        if people.is_empty() {
            return Ok(said(NOBODY));
        }
        self.hits_of(people, "The address at Stripe is this one.", false)
            .await
    }

    async fn search_text(
        &self,
        id: Option<Uuid>,
        text: &str,
        look: Option<Look<'_>>,
    ) -> Result<Found, SearchError> {
        let owned = objects::find_by_ours(&self.pool, id, text).await;
        let owned = owned.map_err(Error::from)?;
        if !owned.is_empty() {
            return Ok(found(owned, "It has this id."));
        }
        if id.is_some() {
            return Ok(said("Nothing of ours has that id."));
        }
        let Some(look) = look else {
            return Err(SearchError::NamesNotAllowed);
        };
        if text
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .count()
            < LETTERS
        {
            return Ok(said(TOO_SHORT));
        }
        let limit = i64::try_from(HITS).unwrap_or(i64::MAX);
        let client = &self.purchases.account.client;
        let people = client.search_customers_by_name(text, limit).await;
        let people = people.map_err(Error::from)?;
        let mut found = self
            .hits_of(people, "The name at Stripe holds this text.", true)
            .await?;
        for hit in &found.hits {
            let subject = hit.user_id.as_deref().unwrap_or(&hit.id);
            self.record_look(look, subject, hit.user_id.as_deref())
                .await?;
        }
        found.note = Some(LATE);
        Ok(found)
    }

    /// Customers at Stripe as hits: the members whom our rows, or else their metadata, name; or customers of nobody of ours.
    async fn hits_of(
        &self,
        people: Vec<Person>,
        why: &str,
        called: bool,
    ) -> Result<Found, Error> {
        let ids: Vec<String> = people.iter().map(|person| person.id.clone()).collect();
        let owned = objects::find_by_stripes(&self.pool, &ids).await?;
        let named = people.iter().filter_map(|person| person.user());
        let named: Vec<String> = named.map(str::to_owned).collect();
        let known = objects::find_members(&self.pool, &named).await?;
        let mut found = Found::default();
        let mut seen = BTreeSet::new();
        for person in people {
            let ours = owned.iter().find(|one| one.id == person.id);
            let ours = ours.and_then(|one| one.user_id.clone());
            let by_metadata = person.user().map(str::to_owned);
            let member = ours.or_else(|| by_metadata.clone().filter(|user| known.contains(user)));
            let (kind, id, why) = match &member {
                Some(user) => ("member", user.clone(), why.to_owned()),
                None => (
                    "customer",
                    person.id.clone(),
                    format!("{why} At Stripe, but not ours."),
                ),
            };
            if found.hits.len() < HITS && seen.insert(id.clone()) {
                found.hits.push(Hit {
                    kind,
                    id,
                    user_id: member.or(by_metadata),
                    subscription_id: None,
                    why,
                    // Whoever may know, and is written down as having looked, is told by a search for a name.
                    name: called.then_some(person.name).flatten(),
                    email: called.then_some(person.email).flatten(),
                });
            }
        }
        Ok(found)
    }
}

/// What Stripe does not know, is none.
fn missing<T>(answer: Result<T, StripeError>) -> Result<Option<T>, StripeError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_no_such_object() => Ok(None),
        Err(error) => Err(error),
    }
}

fn said(note: &'static str) -> Found {
    Found {
        hits: Vec::new(),
        note: Some(note),
    }
}

fn found(mut owned: Vec<Owned>, why: &str) -> Found {
    owned.sort_by_key(|one| rank(&one.what));
    owned.dedup_by(|one, before| (&one.what, &one.own) == (&before.what, &before.own));
    owned.truncate(HITS);
    let hits = owned.into_iter().map(|one| {
        let (kind, user) = (kind(&one), one.user_id.clone());
        let own = match kind {
            "member" => user.clone().unwrap_or(one.own),
            _ => one.own,
        };
        Hit {
            kind,
            subscription_id: one
                .subscription_id
                .or_else(|| own.parse().ok().filter(|_| kind == "subscription")),
            id: own,
            user_id: user,
            why: match one.what.as_str() {
                "action" => "What was done under this id was done to it.".to_owned(),
                _ => why.to_owned(),
            },
            name: None,
            email: None,
        }
    });
    Found {
        hits: hits.collect(),
        note: None,
    }
}

fn rank(what: &str) -> usize {
    const RANKS: [&str; 6] = [
        "member",
        "subscription",
        "checkout",
        "transaction",
        "event",
        "action",
    ];
    RANKS
        .iter()
        .position(|one| *one == what)
        .unwrap_or(RANKS.len())
}

/// What a hit is; of an action that to which it was done.
fn kind(one: &Owned) -> &'static str {
    match one.what.as_str() {
        "subscription" => "subscription",
        "checkout" => "checkout",
        "transaction" => "transaction",
        "event" => "event",
        "customer" => "customer",
        "action" if one.own.parse::<Uuid>().is_ok() => "subscription",
        "action" if Named::by(&one.own) == Some(Named::Event) => "event",
        _ => "member",
    }
}

fn noun(named: Named) -> &'static str {
    match named {
        Named::Subscription => "the subscription at Stripe",
        Named::Session => "the checkout session at Stripe",
        Named::Payment => "the payment",
        Named::Invoice => "the invoice",
        Named::Charge => "the charge",
        Named::Refund => "the refund",
        Named::Dispute => "the dispute",
        Named::Event => "the event",
        Named::Customer => "the customer",
    }
}
