//! What a member still has to pay, where, and why it was not paid by itself.

use time::OffsetDateTime;

use super::Members;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::purchases::line::WishError;
use crate::stripe::declines::{self, Decline};
use crate::stripe::objects::{PaymentIntent, time_of};

/// An invoice that waits for its payment.
#[derive(Debug)]
pub struct Unpaid {
    /// Minor units.
    pub amount_due: i64,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Stripe's page; none where it has none.
    pub pay_url: Option<String>,
    /// When it was made.
    pub created_at: Option<OffsetDateTime>,
    /// When Stripe tries by itself again; none when it does not.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Why it was not paid, of the newest.
    pub decline: Option<Decline>,
}

impl Members {
    /// The open invoices of one of the member's subscriptions, newest first: at most two calls to Stripe.
    pub async fn open_invoices(
        &self,
        user: &UserId,
        id: SubscriptionId,
    ) -> Result<Vec<Unpaid>, WishError> {
        let own = self.own(user, id).await?;
        let Some(stripe) = own.row.stripe_subscription else {
            return Ok(Vec::new());
        };
        let invoices = self
            .account
            .client
            .list_open_invoices(&stripe)
            .await?
            .body
            .data;
        let newest = invoices
            .first()
            .and_then(|invoice| invoice.payment_intent_id());
        let decline = match newest {
            Some(intent) => why_unpaid(
                &self
                    .account
                    .client
                    .retrieve_payment_intent(intent)
                    .await?
                    .body,
            ),
            None => None,
        };
        let unpaid = invoices
            .into_iter()
            .enumerate()
            .map(|(number, invoice)| Unpaid {
                amount_due: invoice.amount_remaining.unwrap_or(invoice.amount_due),
                currency: invoice.currency,
                pay_url: invoice.hosted_invoice_url,
                created_at: time_of(invoice.created),
                next_attempt_at: invoice.next_payment_attempt.and_then(time_of),
                decline: decline.filter(|_| number == 0),
            });
        Ok(unpaid.collect())
    }
}

/// Why a payment has not come: it waits for the member, or its newest attempt failed.
fn why_unpaid(intent: &PaymentIntent) -> Option<Decline> {
    match (intent.status.as_deref(), &intent.last_payment_error) {
        (Some("requires_action" | "requires_confirmation"), _) => {
            Some(declines::explain(Some("authentication_required"), None))
        }
        (Some("processing" | "succeeded"), _) | (_, None) => None,
        (_, Some(error)) => Some(error.decline()),
    }
}
