//! Invoices and what paid them.

use std::collections::BTreeMap;

use stripe_billing::credit_note::ListCreditNote;
use stripe_billing::invoice::{ListInvoice, RetrieveInvoice};
use stripe_billing::invoice_line_item::ListInvoiceInvoiceLineItem;
use stripe_billing::invoice_payment::{
    ListInvoicePayment, ListInvoicePaymentPayment, ListInvoicePaymentPaymentType,
};
use stripe_client_core::StripeRequest as _;
use stripe_shared::InvoiceStatus;
use time::OffsetDateTime;

use super::account::request;
use super::{PAGE, before};
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{CreditNote, Invoice, InvoiceLine, InvoicePayment, List, OpenInvoice};

impl Stripe {
    /// An invoice, with its first lines.
    pub async fn retrieve_invoice(&self, id: &str) -> Result<Answer<Invoice>, StripeError> {
        let request = RetrieveInvoice::new(id).build();
        self.call(Operation::RetrieveInvoice, request, None).await
    }

    /// Says that an open invoice was paid elsewhere. Nothing takes that back. `key` makes a repeat the same.
    pub async fn settle_invoice(
        &self,
        id: &str,
        key: &str,
    ) -> Result<Answer<Invoice>, StripeError> {
        // Its builder would bring those of all that can be done to an invoice.
        let operation = Operation::PayInvoice;
        let elsewhere = BTreeMap::from([("paid_out_of_band", true)]);
        self.call(operation, request(operation, id, &elsewhere), Some(key))
            .await
    }

    /// The newest invoices of a subscription, in any state, newest first: as many as make years of renewals.
    pub async fn list_newest_invoices(
        &self,
        subscription: &str,
    ) -> Result<Answer<List<Invoice>>, StripeError> {
        self.list_invoices_of_subscription(subscription, None).await
    }

    /// The invoices of a subscription, in any state, newest first, one page after the invoice `after`.
    pub async fn list_invoices_of_subscription(
        &self,
        subscription: &str,
        after: Option<&str>,
    ) -> Result<Answer<List<Invoice>>, StripeError> {
        let mut request = ListInvoice::new()
            .subscription(subscription)
            .expand(["data.payments".to_owned()])
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListInvoices, request.build(), None)
            .await
    }

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

    /// A customer's invoices made before `to`, newest first, with their payments, one page after the invoice `after`.
    pub async fn list_invoices(
        &self,
        customer: &str,
        to: OffsetDateTime,
        after: Option<&str>,
    ) -> Result<Answer<List<Invoice>>, StripeError> {
        let mut request = ListInvoice::new()
            .customer(customer)
            .created(before(to))
            .expand(["data.payments".to_owned()])
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListInvoices, request.build(), None)
            .await
    }

    /// The lines of an invoice, one page after the line `after`.
    pub async fn list_invoice_lines(
        &self,
        invoice: &str,
        after: Option<&str>,
    ) -> Result<Answer<List<InvoiceLine>>, StripeError> {
        let mut request = ListInvoiceInvoiceLineItem::new(invoice).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListInvoiceLines, request.build(), None)
            .await
    }

    /// All credit notes of a customer, newest first, one page after the note `after`.
    pub async fn list_credit_notes_of_customer(
        &self,
        customer: &str,
        after: Option<&str>,
    ) -> Result<Answer<List<CreditNote>>, StripeError> {
        let mut request = ListCreditNote::new().customer(customer).limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListCreditNotes, request.build(), None)
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
