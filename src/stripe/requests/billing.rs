//! Invoices and what paid them.

use stripe_billing::credit_note::ListCreditNote;
use stripe_billing::invoice::ListInvoice;
use stripe_billing::invoice_payment::{
    ListInvoicePayment, ListInvoicePaymentPayment, ListInvoicePaymentPaymentType,
};
use stripe_client_core::StripeRequest as _;
use stripe_shared::InvoiceStatus;

use super::PAGE;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{CreditNote, InvoicePayment, List, OpenInvoice};

impl Stripe {
    /// The open invoices of a subscription, newest first, with their payments.
    pub async fn list_open_invoices(
        &self,
        subscription: &str,
    ) -> Result<Answer<List<OpenInvoice>>, StripeError> {
        let request = ListInvoice::new()
            .subscription(subscription)
            .status(InvoiceStatus::Open)
            .expand(["data.payments".to_owned()])
            .limit(PAGE);
        self.call(Operation::ListInvoices, request.build(), None)
            .await
    }

    /// Which invoices a payment paid, with the invoices.
    pub async fn list_invoices_of_payment(
        &self,
        payment: &str,
    ) -> Result<Answer<List<InvoicePayment>>, StripeError> {
        let mut by = ListInvoicePaymentPayment::new(ListInvoicePaymentPaymentType::PaymentIntent);
        by.payment_intent = Some(payment.to_owned());
        let request = ListInvoicePayment::new()
            .payment(by)
            .expand(["data.invoice".to_owned()]);
        self.call(Operation::ListInvoicePayments, request.build(), None)
            .await
    }

    /// Which payments paid an invoice.
    pub async fn list_payments_of_invoice(
        &self,
        invoice: &str,
    ) -> Result<Answer<List<InvoicePayment>>, StripeError> {
        let request = ListInvoicePayment::new().invoice(invoice).limit(PAGE);
        self.call(Operation::ListInvoicePayments, request.build(), None)
            .await
    }

    /// The credit notes of an invoice.
    pub async fn list_credit_notes(
        &self,
        invoice: &str,
    ) -> Result<Answer<List<CreditNote>>, StripeError> {
        let request = ListCreditNote::new().invoice(invoice).limit(PAGE);
        self.call(Operation::ListCreditNotes, request.build(), None)
            .await
    }
}
