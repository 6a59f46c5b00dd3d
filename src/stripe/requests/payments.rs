//! Payments, refunds and disputes.

use std::collections::BTreeMap;

use stripe_client_core::StripeRequest as _;
use stripe_core::charge::ListCharge;
use stripe_core::dispute::ListDispute;
use stripe_core::refund::{CreateRefund, CreateRefundReason, ListRefund};
use time::OffsetDateTime;
use uuid::Uuid;

use super::account::request;
use super::{ACTION_KEY, PAGE, WHOLE_LINE_KEY, before, metadata, since};
use crate::domain::ids::SubscriptionId;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{Charge, Dispute, List, PaymentIntent, Refund};

/// What is to be paid back.
#[derive(Clone, Copy, Debug)]
pub struct NewRefund<'a> {
    /// `pi_…`.
    pub payment: &'a str,
    /// Minor units.
    pub amount: i64,
    /// The operator's act.
    pub action: Uuid,
    /// For which line, where the payment is not all of it for one.
    pub line: Option<SubscriptionId>,
    /// Whether it leaves nothing of that line.
    pub is_whole_line: bool,
    /// Whether it was paid twice. (Of Stripe's other reasons one puts the buyer on a list of fraudsters, and one says nothing.)
    pub is_duplicate: bool,
}

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

    /// Pays back a part of a payment, or all of it. `key` makes a repeat the same refund.
    pub async fn create_refund(
        &self,
        new: &NewRefund<'_>,
        key: &str,
    ) -> Result<Answer<Refund>, StripeError> {
        let mut told = metadata([(ACTION_KEY, new.action.to_string())]);
        if let Some(line) = new.line {
            told.insert(self.metadata_key.clone(), line.to_string());
            if new.is_whole_line {
                told.insert(WHOLE_LINE_KEY.to_owned(), "yes".to_owned());
            }
        }
        let mut request = CreateRefund::new()
            .payment_intent(new.payment)
            .amount(new.amount)
            .metadata(told);
        if new.is_duplicate {
            request = request.reason(CreateRefundReason::Duplicate);
        }
        self.call(Operation::CreateRefund, request.build(), Some(key))
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
