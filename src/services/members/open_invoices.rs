//! What a member still has to pay, where, and why it was not paid by itself.

use time::OffsetDateTime;

use super::Members;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::Status;
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
    /// Stripe's page; none where it has none, and while money is on its way: nobody shall pay twice.
    pub pay_url: Option<String>,
    /// Whether its payment is on its way, as a debit is for days.
    pub on_its_way: bool,
    /// When it was made.
    pub created_at: Option<OffsetDateTime>,
    /// When Stripe tries by itself again; none when it does not.
    pub next_attempt_at: Option<OffsetDateTime>,
    /// Why it was not paid.
    pub decline: Option<Decline>,
}

/// Of so many of the newest it is asked how their payments stand; nobody leaves more open.
const MOST_ASKED: usize = 3;

impl Members {
    /// The open invoices of one of the member's subscriptions, newest first: a call to Stripe, and one for each of the
    /// newest three. None of what has ended: paying it would bring nothing back.
    pub async fn open_invoices(
        &self,
        user: &UserId,
        id: SubscriptionId,
    ) -> Result<Vec<Unpaid>, WishError> {
        let own = self.own(user, id).await?;
        let ended = own.row.status == Status::Ended;
        let Some(stripe) = own.row.stripe_subscription.filter(|_| !ended) else {
            return Ok(Vec::new());
        };
        let invoices = self
            .account
            .client
            .list_open_invoices(&stripe)
            .await?
            .body
            .data;
        let mut unpaid = Vec::with_capacity(invoices.len());
        for (number, invoice) in invoices.into_iter().enumerate() {
            let intent = invoice.payment_intent_id().filter(|_| number < MOST_ASKED);
            let payment = match intent {
                Some(intent) => {
                    self.account
                        .client
                        .retrieve_payment_intent(intent)
                        .await?
                        .body
                }
                None => PaymentIntent::default(),
            };
            let on_its_way = matches!(payment.status.as_deref(), Some("processing" | "succeeded"));
            unpaid.push(Unpaid {
                amount_due: invoice.amount_remaining.unwrap_or(invoice.amount_due),
                currency: invoice.currency,
                pay_url: invoice.hosted_invoice_url.filter(|_| !on_its_way),
                on_its_way,
                created_at: time_of(invoice.created),
                next_attempt_at: invoice.next_payment_attempt.and_then(time_of),
                decline: why_unpaid(&payment).filter(|_| !on_its_way),
            });
        }
        Ok(unpaid)
    }
}

/// Why a payment has not come: it waits for the member, or its newest attempt failed.
fn why_unpaid(intent: &PaymentIntent) -> Option<Decline> {
    match (intent.status.as_deref(), &intent.last_payment_error) {
        (Some("requires_action" | "requires_confirmation"), _) => {
            Some(declines::explain(Some("authentication_required"), None))
        }
        (_, None) => None,
        (_, Some(error)) => Some(error.decline()),
    }
}
