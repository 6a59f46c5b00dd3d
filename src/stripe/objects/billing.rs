//! Subscriptions, invoices, credit notes.

use serde::Deserialize;

use crate::stripe::requests::CHECKOUT_KEY;

use super::{
    Expandable, LineItem, List, Metadata, Period, PriceReference, Recurring, Reference, or_default,
};

/// A subscription at Stripe.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    /// `sub_…`.
    pub id: String,
    /// Test or live.
    pub livemode: Option<bool>,
    /// See [`crate::domain::subscription::StripeStatus`].
    pub status: Option<String>,
    /// `cus_…`.
    pub customer: Option<Expandable<Customer>>,
    /// When it was made: Unix seconds.
    pub created: Option<i64>,
    /// Ours.
    pub metadata: Option<Metadata>,
    /// With their periods since 2025-03-31.
    pub items: Option<List<SubscriptionItem>>,
    /// Unix seconds; before 2025-03-31.
    pub current_period_end: Option<i64>,
    /// Unix seconds.
    pub cancel_at: Option<i64>,
    /// Ends with its period.
    #[serde(default, deserialize_with = "or_default")]
    pub cancel_at_period_end: bool,
    /// Unix seconds.
    pub ended_at: Option<i64>,
    /// Set while Stripe collects nothing.
    pub pause_collection: Option<PauseCollection>,
    /// The newest invoice.
    pub latest_invoice: Option<Expandable<Invoice>>,
    /// `sub_sched_…` that manages it: only the schedule says then how it goes on.
    pub schedule: Option<Expandable<Reference>>,
    /// ISO 4217, lower case; since 2022.
    pub currency: Option<String>,
    /// What its only item costs; a copy of the item's, in old versions the only place.
    pub plan: Option<Reference>,
    /// How many of it, likewise.
    pub quantity: Option<i64>,
}

/// A customer, as far as she tells whose a subscription is.
#[derive(Clone, Debug, Deserialize)]
pub struct Customer {
    /// `cus_…`.
    pub id: String,
    /// Of whoever made her; a deleted one has none.
    pub metadata: Option<Metadata>,
}

/// What becomes of the invoices while Stripe collects nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct PauseCollection {
    /// `keep_as_draft`, `mark_uncollectible`, `void`.
    pub behavior: Option<String>,
}

/// An item of a subscription.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscriptionItem {
    /// `si_…`.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Unix seconds; since 2025-03-31.
    pub current_period_start: Option<i64>,
    /// Unix seconds; since 2025-03-31.
    pub current_period_end: Option<i64>,
    /// What it costs; since 2020.
    pub price: Option<Expandable<ItemPrice>>,
    /// The same before prices.
    pub plan: Option<Reference>,
    /// How many.
    pub quantity: Option<i64>,
}

/// What an item of a subscription costs.
#[derive(Clone, Debug, Deserialize)]
pub struct ItemPrice {
    /// `price_…`.
    pub id: String,
    /// How often it renews.
    pub recurring: Option<Recurring>,
    /// The name under which plans find it.
    pub lookup_key: Option<String>,
    /// What is sold.
    pub product: Option<Expandable<Reference>>,
}

impl Subscription {
    /// Its item; none if it has several, of which none stands for the whole.
    pub fn item(&self) -> Option<&SubscriptionItem> {
        match self.items.as_ref()?.data.as_slice() {
            [item] => Some(item),
            _ => None,
        }
    }

    /// The id of the checkout of ours that has adopted it.
    pub fn checkout_tag(&self) -> Option<&String> {
        self.metadata.as_ref()?.get(CHECKOUT_KEY)
    }

    /// `price_…` of its item, wherever it stands.
    pub fn price_id(&self) -> Option<&str> {
        let price = self.item().and_then(|item| item.price.as_ref());
        let plan = || self.item().and_then(|item| item.plan.as_ref());
        let plan = || plan().or(self.plan.as_ref());
        price
            .map(Expandable::id)
            .or_else(|| plan().map(|plan| plan.id.as_str()))
    }

    /// How many of its item, wherever it stands.
    pub fn item_quantity(&self) -> Option<i64> {
        self.item().and_then(|item| item.quantity).or(self.quantity)
    }

    /// When the first of its items' periods ends: Unix seconds.
    pub fn period_end(&self) -> Option<i64> {
        let items = self.items.iter().flat_map(|items| &items.data);
        items
            .filter_map(|item| item.current_period_end)
            .min()
            .or(self.current_period_end)
    }
}

/// An invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct Invoice {
    /// `in_…`; empty for an upcoming one, which has none.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Test or live.
    pub livemode: Option<bool>,
    /// `draft`, `open`, `paid`, `void`, `uncollectible`.
    pub status: Option<String>,
    /// `subscription_create`, `subscription_cycle`, …
    pub billing_reason: Option<String>,
    /// Minor units; used only to tell money from none.
    pub amount_paid: Option<i64>,
    /// Minor units; used only to tell money from none.
    pub total: Option<i64>,
    /// How often payment was tried.
    pub attempt_count: Option<u64>,
    /// `cus_…`.
    pub customer: Option<Expandable<Reference>>,
    /// Since 2025-03-31.
    pub parent: Option<InvoiceParent>,
    /// Before 2025-03-31.
    pub subscription: Option<Expandable<Reference>>,
    /// Before 2025-03-31, from 2023 on.
    pub subscription_details: Option<SubscriptionDetails>,
    /// The only place before 2023 where the subscription's metadata stands.
    pub lines: Option<List<InvoiceLine>>,
    /// Before 2025-03-31.
    pub payment_intent: Option<Expandable<Reference>>,
    /// Since 2025-03-31, when expanded.
    pub payments: Option<List<InvoicePayment>>,
    /// When it changed.
    pub status_transitions: Option<StatusTransitions>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// `charge_automatically`, `send_invoice`.
    pub collection_method: Option<String>,
    /// Until when one that was sent is to be paid: Unix seconds.
    pub due_date: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Minor units that are to be paid: the total less what the customer's balance and credit notes settle.
    pub amount_due: Option<i64>,
    /// Minor units that were paid in cash, by cheque or by transfer; since 2026-05-27.
    pub amount_paid_off_stripe: Option<i64>,
    /// The same before 2025-03-31, for the whole.
    #[serde(default, deserialize_with = "or_default")]
    pub paid_out_of_band: bool,
    /// Unix seconds; none when Stripe does not try again.
    pub next_payment_attempt: Option<i64>,
    /// Minor units of credit notes after it was paid.
    pub post_payment_credit_notes_amount: Option<i64>,
    /// Its page: a bearer link, never logged.
    pub hosted_invoice_url: Option<String>,
    /// The document: a bearer link, never logged.
    pub invoice_pdf: Option<String>,
}

/// A line of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLine {
    /// `il_…`.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// Of a subscription's line at first a copy of the subscription's.
    pub metadata: Option<Metadata>,
    /// What the member reads.
    pub description: Option<String>,
    /// How many.
    pub quantity: Option<i64>,
    /// Minor units before discounts, without the tax that comes on top.
    pub amount: Option<i64>,
    /// One for each discount.
    pub discount_amounts: Option<Vec<DiscountAmount>>,
    /// Since 2025-03-31.
    pub taxes: Option<Vec<TaxAmount>>,
    /// Before 2025-03-31.
    pub tax_amounts: Option<Vec<TaxAmount>>,
    /// What it bills; since 2025-03-31.
    pub parent: Option<InvoiceLineParent>,
    /// Since 2025-03-31.
    pub pricing: Option<InvoiceLinePricing>,
    /// Before 2025-03-31.
    pub price: Option<PriceReference>,
    /// `subscription` or `invoiceitem`; before 2025-03-31.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `sub_…`: also of a line that was only billed along with it.
    pub subscription: Option<Expandable<Reference>>,
    /// Whether it is for a part of a period; before 2025-03-31.
    #[serde(default, deserialize_with = "or_default")]
    pub proration: bool,
    /// What it is for.
    pub period: Option<Period>,
}

/// What a discount takes off a line.
#[derive(Clone, Debug, Deserialize)]
pub struct DiscountAmount {
    /// Minor units.
    #[serde(default, deserialize_with = "or_default")]
    pub amount: i64,
}

/// A tax on a line.
#[derive(Clone, Debug, Deserialize)]
pub struct TaxAmount {
    /// Minor units.
    #[serde(default, deserialize_with = "or_default")]
    pub amount: i64,
    /// `inclusive` or `exclusive`; since 2025-03-31.
    pub tax_behavior: Option<String>,
    /// The same before 2025-03-31.
    pub inclusive: Option<bool>,
}

impl TaxAmount {
    fn is_inclusive(&self) -> bool {
        self.inclusive.unwrap_or(false) || self.tax_behavior.as_deref() == Some("inclusive")
    }
}

/// What a line bills.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLineParent {
    /// An item of a subscription.
    pub subscription_item_details: Option<InvoiceLineSource>,
    /// Something that is billed once.
    pub invoice_item_details: Option<InvoiceLineSource>,
}

/// Where a line comes from.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLineSource {
    /// `sub_…`.
    pub subscription: Option<Expandable<Reference>>,
    /// Whether it is for a part of a period.
    #[serde(default, deserialize_with = "or_default")]
    pub proration: bool,
}

/// What a line costs.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLinePricing {
    /// Of a price.
    pub price_details: Option<InvoiceLinePrice>,
}

/// The price of a line.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceLinePrice {
    /// `price_…`.
    pub price: Option<Expandable<Reference>>,
    /// `prod_…`.
    pub product: Option<Expandable<Reference>>,
}

impl InvoiceLine {
    fn all_taxes(&self) -> impl Iterator<Item = &TaxAmount> {
        // An object has one of the two.
        let taxes = self.taxes.as_ref().or(self.tax_amounts.as_ref());
        taxes.into_iter().flatten()
    }

    /// Its tax in minor units.
    pub fn tax(&self) -> i64 {
        self.all_taxes().map(|tax| tax.amount).sum()
    }

    /// What it adds to the invoice's total, in minor units: after discounts, with tax.
    pub fn total(&self) -> i64 {
        let on_top = self.all_taxes().filter(|tax| !tax.is_inclusive());
        let discounts = self.discount_amounts.iter().flatten();
        self.amount.unwrap_or_default() + on_top.map(|tax| tax.amount).sum::<i64>()
            - discounts.map(|discount| discount.amount).sum::<i64>()
    }

    /// `sub_…` whose item it bills, wherever it stands; none for what was only billed along with a subscription.
    pub fn billed_subscription(&self) -> Option<&str> {
        let Some(parent) = &self.parent else {
            let billed = self.proration || self.kind.as_deref() == Some("subscription");
            return self
                .subscription
                .as_ref()
                .filter(|_| billed)
                .map(Expandable::id);
        };
        let item = parent.invoice_item_details.as_ref();
        let prorated = item.filter(|source| source.proration);
        let source = parent.subscription_item_details.as_ref().or(prorated)?;
        source.subscription.as_ref().map(Expandable::id)
    }

    /// Whether it is for a part of a period, wherever that stands.
    pub fn is_proration(&self) -> bool {
        let details = self.parent.as_ref().and_then(|parent| {
            let of_item = parent.subscription_item_details.as_ref();
            of_item.or(parent.invoice_item_details.as_ref())
        });
        details.map_or(self.proration, |details| details.proration)
    }

    /// `price_…`, wherever it stands.
    pub fn price_id(&self) -> Option<&str> {
        let nested = self
            .price_details()
            .and_then(|details| details.price.as_ref());
        nested
            .map(Expandable::id)
            .or_else(|| Some(self.price.as_ref()?.id.as_str()))
    }

    /// Whether a line of the session was sold at this price.
    pub fn is_priced_as(&self, item: &LineItem) -> bool {
        let price = item.price.as_ref().map(|price| price.id.as_str());
        price.is_some() && price == self.price_id()
    }

    /// Whether a line of the session sold this product.
    pub fn is_product_of(&self, item: &LineItem) -> bool {
        let sold = item.price.as_ref().and_then(|price| price.product.as_ref());
        let nested = self
            .price_details()
            .and_then(|details| details.product.as_ref());
        let older = self.price.as_ref().and_then(|price| price.product.as_ref());
        let product = nested.or(older).map(Expandable::id);
        product.is_some() && product == sold.map(Expandable::id)
    }

    fn price_details(&self) -> Option<&InvoiceLinePrice> {
        self.pricing.as_ref()?.price_details.as_ref()
    }
}

/// What an invoice is for.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoiceParent {
    /// When it is for a subscription.
    pub subscription_details: Option<SubscriptionDetails>,
}

/// The subscription of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct SubscriptionDetails {
    /// `sub_…`.
    pub subscription: Option<Expandable<Reference>>,
    /// A copy of the subscription's.
    pub metadata: Option<Metadata>,
}

/// When an invoice changed.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusTransitions {
    /// Unix seconds.
    pub paid_at: Option<i64>,
}

/// A payment of an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePayment {
    /// `inpay_…`.
    #[serde(default, deserialize_with = "or_default")]
    pub id: String,
    /// The invoice.
    pub invoice: Option<Expandable<Invoice>>,
    /// `open`, `paid`, `canceled`.
    pub status: Option<String>,
    /// What paid.
    pub payment: Option<InvoicePaymentSource>,
}

impl List<InvoicePayment> {
    /// `pi_…` of the first payment by which the invoice was paid; none where it was paid otherwise.
    pub fn paid_by(&self) -> Option<&str> {
        let paid = |payment: &&InvoicePayment| payment.status.as_deref() == Some("paid");
        let mut paid = self.data.iter().filter(paid);
        paid.find_map(InvoicePayment::payment_intent_id)
    }
}

impl InvoicePayment {
    /// `pi_…` of what paid.
    pub fn payment_intent_id(&self) -> Option<&str> {
        self.payment
            .as_ref()?
            .payment_intent
            .as_ref()
            .map(Expandable::id)
    }
}

/// What paid an invoice.
#[derive(Clone, Debug, Deserialize)]
pub struct InvoicePaymentSource {
    /// `pi_…`.
    pub payment_intent: Option<Expandable<Reference>>,
}

impl Invoice {
    /// The period of service that it bills, as Unix seconds from and to: the newest among its lines for the
    /// subscription's items, of several that begin together the shortest. Credits and parts of a period are none, but
    /// for the first invoice's, which may begin with a part.
    pub fn service_period(&self) -> Option<Period> {
        let subscription = self.subscription_id()?;
        let first = self.billing_reason.as_deref() == Some("subscription_create");
        let lines = self.lines.iter().flat_map(|lines| &lines.data);
        let bills = |line: &&InvoiceLine| {
            line.billed_subscription() == Some(subscription)
                && line.amount.is_none_or(|amount| amount >= 0)
                && (first || !line.is_proration())
        };
        let periods = lines.filter(bills).filter_map(|line| line.period);
        periods.max_by_key(|period| (period.start, std::cmp::Reverse(period.end)))
    }

    fn details(&self) -> Option<&SubscriptionDetails> {
        self.parent
            .as_ref()
            .and_then(|parent| parent.subscription_details.as_ref())
    }

    /// When it was paid: Unix seconds.
    pub fn paid_at(&self) -> Option<i64> {
        self.status_transitions.as_ref()?.paid_at
    }

    /// `sub_…`, wherever it stands.
    pub fn subscription_id(&self) -> Option<&str> {
        let nested = self
            .details()
            .and_then(|details| details.subscription.as_ref());
        nested.or(self.subscription.as_ref()).map(Expandable::id)
    }

    /// The copy of the subscription's metadata, wherever it stands.
    pub fn subscription_metadata(&self) -> Option<&Metadata> {
        self.details()
            .or(self.subscription_details.as_ref())
            .and_then(|details| details.metadata.as_ref())
    }

    /// Every payment intent that paid or was to pay it, where the object tells.
    pub fn payment_intent_ids(&self) -> impl Iterator<Item = &str> {
        let payments = self.payments.iter().flat_map(|payments| &payments.data);
        payments
            .filter_map(InvoicePayment::payment_intent_id)
            .chain(self.payment_intent.as_ref().map(Expandable::id))
    }

    /// What was paid outside Stripe, in minor units.
    pub fn paid_off_stripe(&self) -> i64 {
        let whole = self.amount_paid.filter(|_| self.paid_out_of_band);
        self.amount_paid_off_stripe.or(whole).unwrap_or_default()
    }

    /// `pi_…` of what paid it, where the object tells.
    pub fn payment_intent_id(&self) -> Option<&str> {
        let payments = self.payments.iter().flat_map(|payments| &payments.data);
        let paid = payments
            .filter(|payment| payment.status.as_deref() == Some("paid"))
            .find_map(|payment| payment.payment.as_ref()?.payment_intent.as_ref());
        paid.or(self.payment_intent.as_ref()).map(Expandable::id)
    }
}

/// A credit note.
#[derive(Clone, Debug, Deserialize)]
pub struct CreditNote {
    /// `cn_…`.
    pub id: String,
    /// The invoice that it corrects.
    pub invoice: Option<Expandable<Reference>>,
    /// May name the lines that it is about.
    pub metadata: Option<Metadata>,
    /// The refunds that it made or took over.
    #[serde(default, deserialize_with = "or_default")]
    pub refunds: Vec<CreditedRefund>,
    /// The same before 2025-03-31.
    pub refund: Option<Expandable<Reference>>,
    /// What it takes back.
    pub lines: Option<List<CreditNoteLine>>,
    /// Unix seconds.
    pub created: Option<i64>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Minor units.
    pub amount: Option<i64>,
}

/// A line of a credit note.
#[derive(Clone, Debug, Deserialize)]
pub struct CreditNoteLine {
    /// `il_…` that it takes back, if any.
    pub invoice_line_item: Option<String>,
    /// Minor units.
    pub amount: Option<i64>,
}

/// A refund of a credit note.
#[derive(Clone, Debug, Deserialize)]
pub struct CreditedRefund {
    /// `re_…`.
    pub refund: Expandable<Reference>,
}

impl CreditNote {
    /// Whether it made or took over that refund.
    pub fn has_refund(&self, id: &str) -> bool {
        let listed = self.refunds.iter().map(|credited| &credited.refund);
        listed.chain(&self.refund).any(|refund| refund.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_and_quantity_are_found_in_every_shape_and_of_several_items_in_none() {
        let read = |json: &str| {
            let subscription: Subscription = serde_json::from_str(json).expect("a subscription");
            let price = subscription.price_id().map(str::to_owned);
            (price, subscription.item_quantity())
        };
        let one = (Some("price_1".to_owned()), Some(3));
        for json in [
            r#"{"id": "sub_1", "items": {"data": [{"id": "si_1", "quantity": 3, "price": {"id": "price_1"}}]}}"#,
            r#"{"id": "sub_1", "items": {"data": [{"quantity": 3, "price": null, "plan": {"id": "price_1"}}]}}"#,
            r#"{"id": "sub_1", "plan": {"id": "price_1"}, "quantity": 3}"#,
            r#"{"id": "sub_1", "items": {"data": [{"price": "price_1"}]}, "quantity": 3}"#,
        ] {
            assert_eq!(read(json), one, "{json}");
        }
        let several = r#"{"id": "sub_1", "plan": null, "quantity": null, "items": {"data": [
            {"quantity": 3, "price": {"id": "price_1"}}, {"quantity": 1, "price": {"id": "price_2"}}]}}"#;
        assert_eq!(read(several), (None, None));
    }
}
