//! Payments, refunds and disputes.

use std::collections::BTreeMap;

use stripe_client_core::StripeRequest as _;
use stripe_core::charge::ListCharge;
use stripe_core::dispute::ListDispute;
use stripe_core::refund::ListRefund;
use time::OffsetDateTime;

use super::account::request;
use super::{PAGE, before, since};
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{Charge, Dispute, List, PaymentIntent, Refund};

impl Stripe {
    /// A payment with its charge.
    pub async fn retrieve_payment_intent(
        &self,
        id: &str,
    ) -> Result<Answer<PaymentIntent>, StripeError> {
        // Its builder would bring those of all that can be done to a payment: 50,000 lines to compile for one GET.
        let operation = Operation::RetrievePaymentIntent;
        let expanded = BTreeMap::from([("expand", ["latest_charge"])]);
        self.call(operation, request(operation, id, &expanded), None)
            .await
    }

    /// A customer's charges made before `to`, newest first, with their refunds, one page after the charge `after`.
    pub async fn list_charges(
        &self,
        customer: &str,
        to: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Charge>>, StripeError> {
        let mut request = ListCharge::new()
            .customer(customer)
            .created(before(to))
            .expand(["data.refunds".to_owned()])
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListCharges, request.build(), None)
            .await
    }

    /// The refunds of a payment: Stripe allows fewer than a page of them.
    pub async fn list_refunds(&self, payment: &str) -> Result<Answer<List<Refund>>, StripeError> {
        let request = ListRefund::new().payment_intent(payment).limit(PAGE);
        self.call(Operation::ListRefunds, request.build(), None)
            .await
    }

    /// All refunds since `from`, newest first, one page after the refund `after`.
    pub async fn list_all_refunds(
        &self,
        from: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Refund>>, StripeError> {
        let mut request = ListRefund::new().created(since(from)).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListRefunds, request.build(), None)
            .await
    }

    /// All disputes since `from`, newest first, one page after the dispute `after`.
    pub async fn list_all_disputes(
        &self,
        from: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Dispute>>, StripeError> {
        let mut request = ListDispute::new().created(since(from)).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListDisputes, request.build(), None)
            .await
    }

    /// The disputes of a payment.
    pub async fn list_disputes(&self, payment: &str) -> Result<Answer<List<Dispute>>, StripeError> {
        let request = ListDispute::new().payment_intent(payment).limit(PAGE);
        self.call(Operation::ListDisputes, request.build(), None)
            .await
    }
}
