//! What of a subscription was paid, by its invoices at Stripe.

use time::OffsetDateTime;

use super::{Error, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::{Fact, Freshness, Observation, Subject};
use crate::domain::subscription::Basket;
use crate::storage::webhook_events::Settled;
use crate::stripe::objects::{Invoice, List, time_of};
use crate::stripe::observe::News;
use crate::stripe::{Answer, StripeError};

/// Pages of lines that are read of one invoice: of thousands of lines one is looked for.
const MOST_PAGES: usize = 20;

impl Purchases {
    /// Asks Stripe which invoices of a subscription were paid, and applies it: whatever webhooks have told, after this
    /// nobody is held up who has paid, and nobody goes on for ever who has not. With the time before which nothing is
    /// due, where all that is open was sent to her with time to pay.
    pub(crate) async fn look(
        &self,
        basket: Basket,
        id: &str,
        by: &By,
    ) -> Result<(Basket, Option<OffsetDateTime>), Error> {
        let answer = self.account.client.list_newest_invoices(id).await?;
        let open = answer.body.data.iter();
        let due = open.filter_map(|invoice| {
            let waits = invoice.status.as_deref() == Some("open")
                && invoice.collection_method.as_deref() == Some("send_invoice");
            invoice.due_date.filter(|_| waits).and_then(time_of)
        });
        // A newer invoice excuses no older one.
        let not_before = due.min().filter(|due| *due > answer.at);
        let mut observation = Observation {
            subject: Subject::stripe_subscription(id),
            at: answer.at,
            freshness: Freshness::Event,
            facts: self.paid(answer).await?,
        };
        if not_before.is_none() {
            observation.facts.push(Fact::Looked(observation.at));
        }
        let basket = self.apply_to(basket, &observation, by).await?.basket;
        Ok((basket, not_before))
    }

    /// What the paid ones among invoices tell, each with so many of its lines as tell its period.
    pub(crate) async fn paid(&self, answer: Answer<List<Invoice>>) -> Result<Vec<Fact>, Error> {
        let paid = |invoice: &Invoice| invoice.status.as_deref() == Some("paid");
        let mut facts = Vec::new();
        for mut invoice in answer.body.data.into_iter().filter(paid) {
            self.complete_lines(&mut invoice).await?;
            let observer = &self.account.observer;
            let told = observer.invoice(&invoice, answer.at, Freshness::Event, News::Plain);
            facts.extend(told.into_iter().flat_map(|told| told.facts));
        }
        Ok(facts)
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
