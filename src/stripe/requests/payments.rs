//! Payments, refunds and disputes.

use stripe_client_core::StripeRequest as _;
use stripe_core::dispute::ListDispute;
use stripe_core::payment_intent::RetrievePaymentIntent;
use stripe_core::refund::ListRefund;

use super::PAGE;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{Dispute, List, PaymentIntent, Refund};

impl Stripe {
    /// A payment with its charge.
    pub async fn retrieve_payment_intent(
        &self,
        id: &str,
    ) -> Result<Answer<PaymentIntent>, StripeError> {
        let request = RetrievePaymentIntent::new(id).expand(["latest_charge".to_owned()]);
        self.call(Operation::RetrievePaymentIntent, request.build(), None)
            .await
    }

    /// The refunds of a payment: Stripe allows fewer than a page of them.
    pub async fn list_refunds(&self, payment: &str) -> Result<Answer<List<Refund>>, StripeError> {
        let request = ListRefund::new().payment_intent(payment).limit(PAGE);
        self.call(Operation::ListRefunds, request.build(), None)
            .await
    }

    /// The disputes of a payment.
    pub async fn list_disputes(&self, payment: &str) -> Result<Answer<List<Dispute>>, StripeError> {
        let request = ListDispute::new().payment_intent(payment).limit(PAGE);
        self.call(Operation::ListDisputes, request.build(), None)
            .await
    }
}
