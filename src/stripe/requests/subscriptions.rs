//! Subscriptions: look, end, change, and what a change would cost.
//!
//! None of these calls carries an idempotency key. Each sets a state: said twice it is the same state, and Stripe
//! prorates only what differs; with a key a stored failure would be answered for a day.

use std::collections::{BTreeMap, HashMap};

use serde::de::IgnoredAny;
use stripe_billing::invoice::{
    CreatePreviewInvoice, CreatePreviewInvoiceSubscriptionDetails,
    CreatePreviewInvoiceSubscriptionDetailsItems,
    CreatePreviewInvoiceSubscriptionDetailsProrationBehavior,
};
use stripe_billing::subscription::{
    CancelSubscription, ListSubscription, ListSubscriptionStatus, RetrieveSubscription,
    UpdateSubscription, UpdateSubscriptionItems, UpdateSubscriptionPaymentBehavior,
    UpdateSubscriptionProrationBehavior,
};
use stripe_client_core::{RequestBuilder, StripeRequest as _};
use time::OffsetDateTime;

use super::account::request;
use super::{CHECKOUT_KEY, PAGE, USER_KEY, metadata};
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::settings::Proration;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{List, Preview, Subscription};

/// What is expanded in every answer: the newest invoice says whether it was paid.
fn expanded() -> Vec<String> {
    vec!["latest_invoice".to_owned()]
}

/// When a subscription is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// With its period.
    AtPeriodEnd,
    /// Not with its period after all: clears `cancel_at_period_end`.
    NotAtPeriodEnd,
    /// Not on a date after all: clears `cancel_at`, which Stripe's portal sets.
    NotOnDate,
}

/// What a subscription is to bill from now on.
#[derive(Clone, Debug)]
pub struct ItemChange {
    /// `si_…`.
    pub item: String,
    /// `price_…`, if another one than now.
    pub price: Option<String>,
    /// How many. Always said: with another price Stripe would otherwise make it one.
    pub quantity: u32,
    /// What the rest of the period costs.
    pub proration: Proration,
    /// From when on the rest of the period is reckoned; none is now.
    pub at: Option<OffsetDateTime>,
}

impl Stripe {
    /// A subscription as it is now, with its newest invoice.
    pub async fn retrieve_subscription(
        &self,
        id: &str,
    ) -> Result<Answer<Subscription>, StripeError> {
        let request = RetrieveSubscription::new(id).expand(expanded());
        self.call(Operation::RetrieveSubscription, request.build(), None)
            .await
    }

    /// All subscriptions that have not ended, newest first, with their newest invoices, one page after the one named.
    pub async fn list_all_subscriptions(
        &self,
        after: Option<&str>,
    ) -> Result<Answer<List<Subscription>>, StripeError> {
        let mut request = ListSubscription::new()
            .expand(["data.latest_invoice".to_owned()])
            .limit(PAGE);
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSubscriptions, request.build(), None)
            .await
    }

    /// All subscriptions there ever were, newest first, with their customers if asked for, one page after the one named.
    pub async fn list_every_subscription(
        &self,
        with_customers: bool,
        after: Option<&str>,
    ) -> Result<Answer<List<Subscription>>, StripeError> {
        let mut request = ListSubscription::new()
            .status(ListSubscriptionStatus::All)
            .limit(PAGE);
        if with_customers {
            request = request.expand(["data.customer".to_owned()]);
        }
        if let Some(after) = after {
            request = request.starting_after(after);
        }
        self.call(Operation::ListSubscriptions, request.build(), None)
            .await
    }

    /// The newest subscriptions of a customer, ended or not.
    pub async fn list_subscriptions_of_customer(
        &self,
        customer: &str,
    ) -> Result<Answer<List<Subscription>>, StripeError> {
        let request = ListSubscription::new()
            .customer(customer)
            .status(ListSubscriptionStatus::All)
            .limit(PAGE);
        self.call(Operation::ListSubscriptions, request.build(), None)
            .await
    }

    /// Writes our ids into a subscription's metadata, beside what is there.
    pub async fn tag_subscription(
        &self,
        id: &str,
        checkout: CheckoutId,
        line: Option<SubscriptionId>,
    ) -> Result<Answer<Subscription>, StripeError> {
        let mut tags = metadata([(CHECKOUT_KEY, checkout.to_string())]);
        if let Some(line) = line {
            tags.insert(self.metadata_key.clone(), line.to_string());
        }
        let request = UpdateSubscription::new(id)
            .metadata(tags)
            .expand(expanded());
        self.call(Operation::UpdateSubscription, request.build(), None)
            .await
    }

    /// Writes whose it is into a customer's metadata, beside what is there.
    pub async fn tag_customer(
        &self,
        id: &str,
        user: &UserId,
    ) -> Result<Answer<IgnoredAny>, StripeError> {
        let operation = Operation::UpdateCustomer;
        let name = format!("metadata[{USER_KEY}]");
        let tag = BTreeMap::from([(name, user.as_str())]);
        self.call(operation, request(operation, id, &tag), None)
            .await
    }

    /// Takes entries out of a subscription's metadata: to Stripe an empty text is none.
    pub async fn clear_metadata(
        &self,
        id: &str,
        keys: &[String],
    ) -> Result<Answer<Subscription>, StripeError> {
        let none = keys.iter().map(|key| (key.clone(), String::new()));
        let request = UpdateSubscription::new(id).metadata(none.collect::<HashMap<_, _>>());
        self.call(Operation::UpdateSubscription, request.build(), None)
            .await
    }

    /// Ends a subscription at once; Stripe says that there is none when it has ended before.
    pub async fn cancel_subscription(&self, id: &str) -> Result<Answer<Subscription>, StripeError> {
        let request = CancelSubscription::new(id).expand(expanded());
        self.call(Operation::CancelSubscription, request.build(), None)
            .await
    }

    /// Says when a subscription is to end, or that it is not.
    pub async fn schedule_cancellation(
        &self,
        id: &str,
        wanted: Cancellation,
    ) -> Result<Answer<Subscription>, StripeError> {
        let request = UpdateSubscription::new(id).expand(expanded());
        let request = match wanted {
            Cancellation::AtPeriodEnd => request.cancel_at_period_end(true).build(),
            Cancellation::NotAtPeriodEnd => request.cancel_at_period_end(false).build(),
            Cancellation::NotOnDate => with_empty(request.build(), "cancel_at"),
        };
        self.call(Operation::UpdateSubscription, request, None)
            .await
    }

    /// Changes what a subscription bills; only if what is due at once is paid.
    pub async fn change_item(
        &self,
        id: &str,
        change: &ItemChange,
    ) -> Result<Answer<Subscription>, StripeError> {
        let mut item = UpdateSubscriptionItems::new();
        item.id = Some(change.item.clone());
        item.price.clone_from(&change.price);
        item.quantity = Some(change.quantity.into());
        let mut request = UpdateSubscription::new(id)
            .items(vec![item])
            .payment_behavior(UpdateSubscriptionPaymentBehavior::ErrorIfIncomplete)
            .proration_behavior(match change.proration {
                Proration::AlwaysInvoice => UpdateSubscriptionProrationBehavior::AlwaysInvoice,
                Proration::CreateProrations => {
                    UpdateSubscriptionProrationBehavior::CreateProrations
                }
                Proration::None => UpdateSubscriptionProrationBehavior::None,
            })
            .expand(expanded());
        if let Some(at) = change.at {
            request = request.proration_date(at.unix_timestamp());
        }
        self.call(Operation::UpdateSubscription, request.build(), None)
            .await
    }

    /// What a change would cost: the invoice that it would bring about at once, or else the next one.
    pub async fn preview_change(
        &self,
        id: &str,
        change: &ItemChange,
    ) -> Result<Answer<Preview>, StripeError> {
        type Behavior = CreatePreviewInvoiceSubscriptionDetailsProrationBehavior;
        let mut item = CreatePreviewInvoiceSubscriptionDetailsItems::new();
        item.id = Some(change.item.clone());
        item.price.clone_from(&change.price);
        item.quantity = Some(change.quantity.into());
        let mut details = CreatePreviewInvoiceSubscriptionDetails::new();
        details.items = Some(vec![item]);
        details.proration_behavior = Some(match change.proration {
            Proration::AlwaysInvoice => Behavior::AlwaysInvoice,
            Proration::CreateProrations => Behavior::CreateProrations,
            Proration::None => Behavior::None,
        });
        details.proration_date = change.at.map(OffsetDateTime::unix_timestamp);
        let request = CreatePreviewInvoice::new()
            .subscription(id)
            .subscription_details(details);
        self.call(Operation::PreviewInvoice, request.build(), None)
            .await
    }
}

/// Adds a parameter with an empty value, by which Stripe clears a field: the builders can't say that of a time.
fn with_empty(mut request: RequestBuilder, name: &str) -> RequestBuilder {
    let body = request.body.get_or_insert_default();
    if !body.is_empty() {
        body.push('&');
    }
    body.push_str(name);
    body.push('=');
    request
}
