//! What of a subscription was paid, by its invoices at Stripe.

use time::OffsetDateTime;

use super::{Error, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::{Fact, Freshness, Observation, Subject};
use crate::domain::subscription::Basket;
use crate::storage::webhook_events::Settled;
use crate::stripe::StripeError;
use crate::stripe::objects::{Invoice, time_of};
use crate::stripe::observe::News;

/// Pages of lines that are read of one invoice: of thousands of lines one is looked for.
const MOST_PAGES: usize = 20;

/// What a look at the invoices of a subscription found.
#[derive(Debug)]
pub(crate) enum Look {
    /// All that was paid is in our rows.
    Done(Basket),
    /// An invoice was sent and is not due before then.
    NotDueBefore(OffsetDateTime),
}

impl Purchases {
    /// Asks Stripe which invoices of a subscription were paid, and applies it: whatever webhooks have told, after this
    /// nobody is held up who has paid, and nobody goes on for ever who has not.
    pub(crate) async fn look(&self, basket: Basket, id: &str, by: &By) -> Result<Look, Error> {
        let answer = self.account.client.list_newest_invoices(id).await?;
        let mut observation = Observation {
            subject: Subject::stripe_subscription(id),
            at: answer.at,
            freshness: Freshness::Event,
            facts: Vec::new(),
        };
        let sent = answer.body.data.iter().find_map(|invoice| {
            let waits = invoice.status.as_deref() == Some("open")
                && invoice.collection_method.as_deref() == Some("send_invoice");
            let due = invoice.due_date.filter(|_| waits).and_then(time_of)?;
            (due > answer.at).then_some(due)
        });
        let paid = |invoice: &Invoice| invoice.status.as_deref() == Some("paid");
        for mut invoice in answer.body.data.into_iter().filter(paid) {
            self.complete_lines(&mut invoice).await?;
            let observer = &self.account.observer;
            let told = observer.invoice(&invoice, answer.at, Freshness::Event, News::Plain);
            observation
                .facts
                .extend(told.into_iter().flat_map(|told| told.facts));
        }
        if sent.is_none() {
            observation.facts.push(Fact::Looked(answer.at));
        }
        let basket = self.apply_to(basket, &observation, by).await?.basket;
        Ok(sent.map_or(Look::Done(basket), Look::NotDueBefore))
    }

    /// Reads an invoice of which an event has left out the lines that tell what it covers.
    pub(crate) async fn read_invoice(&self, id: &str, by: &By) -> Result<Settled, Error> {
        let answer = self.account.client.retrieve_invoice(id).await?;
        let mut invoice = answer.body;
        self.complete_lines(&mut invoice).await?;
        let observer = &self.account.observer;
        let told = observer.invoice(&invoice, answer.at, Freshness::Event, News::Plain);
        let Some(observation) = told else {
            return Ok(Settled::Ignored);
        };
        let Some(basket) = self.find_one(&observation.subject).await? else {
            return Ok(Settled::Ignored);
        };
        let left = self.apply_to(basket, &observation, by).await?.left;
        Ok(left.flag.map_or(Settled::Applied, Settled::Flagged))
    }

    /// Reads on in an invoice's lines until one tells the period of service that it bills.
    async fn complete_lines(&self, invoice: &mut Invoice) -> Result<(), StripeError> {
        for _ in 0..MOST_PAGES {
            let told = invoice.service_period().is_some();
            let Some(lines) = invoice
                .lines
                .as_mut()
                .filter(|lines| lines.has_more && !told)
            else {
                return Ok(());
            };
            let after = lines.data.last().map(|line| line.id.clone());
            let client = &self.account.client;
            let page = client
                .list_invoice_lines(&invoice.id, after.as_deref())
                .await?;
            *lines = page.body;
        }
        Ok(())
    }
}
