//! The account as an operator sets it up: webhook endpoints, the portal's configuration, receipts, and what the key may
//! do.
//!
//! Requests are put together here rather than by the crates' builders: webhook endpoints stand in a crate of thousands
//! of types of which three requests would be used, and the probes want nothing but a page of one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::IgnoredAny;
use stripe_client_core::{RequestBuilder, StripeMethod};

use super::PAGE;
use crate::stripe::client::{Answer, Operation, Stripe, StripeError};
use crate::stripe::objects::{Charge, List, PortalConfiguration, WebhookEndpoint};

/// An id that no object has: what is asked of it changes nothing.
const NOBODY: &str = "doctor_of_dues";

/// What a key may do with a kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look.
    Read,
    /// Look and change.
    Write,
}

/// A request that tells whether the key may do something, without doing it.
#[derive(Debug)]
pub struct Probe {
    /// The kind of objects, as Stripe's Dashboard names it among a restricted key's permissions.
    pub permission: &'static str,
    /// What the key needs.
    pub access: Access,
    /// What doesn't work without it.
    pub purpose: &'static str,
    operation: Operation,
    parameters: &'static [(&'static str, &'static str)],
}

const fn read(permission: &'static str, operation: Operation, purpose: &'static str) -> Probe {
    Probe {
        permission,
        access: Access::Read,
        purpose,
        operation,
        parameters: &[("limit", "1")],
    }
}

/// Stripe judges what a key may do before it looks at what is asked. So a request about an object that does not exist
/// is refused with 403 if the key lacks the permission, and otherwise with 400 or 404: either way nothing happens.
const fn write(
    permission: &'static str,
    operation: Operation,
    parameters: &'static [(&'static str, &'static str)],
    purpose: &'static str,
) -> Probe {
    Probe {
        permission,
        access: Access::Write,
        purpose,
        operation,
        parameters,
    }
}

/// Everything that Dues needs of a key. Those that read ask for a page of one; those that write name an object that
/// does not exist, so that they can't succeed. Creating a customer takes any parameters, so it is a change of one that
/// is tried instead: it wants the same permission.
pub const PROBES: &[Probe] = &[
    read("Prices", Operation::ListPrices, "the plans"),
    read("Products", Operation::ListProducts, "the plans"),
    read("Customers", Operation::ListCustomers, "checkouts"),
    write(
        "Customers",
        Operation::UpdateCustomer,
        &[("metadata[dues_user_id]", "")],
        "checkouts",
    ),
    read(
        "Checkout Sessions",
        Operation::ListSessions,
        "finding a lost checkout",
    ),
    write(
        "Checkout Sessions",
        Operation::CreateSession,
        &[("mode", "payment"), ("customer", NOBODY)],
        "opening a checkout",
    ),
    write(
        "Checkout Sessions",
        Operation::ExpireSession,
        &[],
        "cancelling a checkout",
    ),
    read(
        "Subscriptions",
        Operation::ListSubscriptions,
        "knowing who is a member",
    ),
    write(
        "Subscriptions",
        Operation::UpdateSubscription,
        &[("cancel_at_period_end", "true")],
        "ending and changing memberships",
    ),
    read("Invoices", Operation::ListInvoices, "knowing what was paid"),
    read(
        "Invoices",
        Operation::ListInvoicePayments,
        "knowing what paid an invoice",
    ),
    write(
        "Invoices",
        Operation::PreviewInvoice,
        &[("subscription", NOBODY)],
        "telling what a change costs",
    ),
    read(
        "Credit notes",
        Operation::ListCreditNotes,
        "knowing what was paid back",
    ),
    read(
        "PaymentIntents",
        Operation::ListPaymentIntents,
        "knowing what was paid",
    ),
    read(
        "Charges and Refunds",
        Operation::ListCharges,
        "knowing what was paid",
    ),
    read(
        "Charges and Refunds",
        Operation::ListRefunds,
        "knowing what was paid back",
    ),
    write(
        "Charges and Refunds",
        Operation::CreateRefund,
        &[("payment_intent", NOBODY)],
        "operators' refunds",
    ),
    write(
        "Invoices",
        Operation::PayInvoice,
        &[("paid_out_of_band", "true")],
        "noting what was paid elsewhere",
    ),
    read(
        "Disputes",
        Operation::ListDisputes,
        "knowing what is disputed",
    ),
    read(
        "Events",
        Operation::ListEvents,
        "finding what webhooks lost",
    ),
    write(
        "Customer portal",
        Operation::CreatePortalSession,
        &[("customer", NOBODY)],
        "links to the portal",
    ),
];

impl Probe {
    /// Whether what was answered proves that the key may: an answer, or a refusal for another reason than the key.
    pub fn is_allowed(answer: &Result<Answer<IgnoredAny>, StripeError>) -> Option<bool> {
        match answer {
            Ok(_) => Some(true),
            Err(StripeError::Refused {
                status: 401 | 403, ..
            }) => Some(false),
            // Else either what was asked was judged, or nothing was.
            Err(error) => error.is_refusal().then_some(true),
        }
    }
}

/// A webhook endpoint to be made.
#[derive(Serialize)]
struct NewEndpoint<'a> {
    url: &'a str,
    api_version: &'a str,
    description: &'a str,
    enabled_events: &'a [&'a str],
}

/// A webhook endpoint's new list of events.
#[derive(Serialize)]
struct Enabled<'a> {
    enabled_events: &'a [&'a str],
}

impl Stripe {
    /// Asks for something that changes nothing, to learn whether the key may.
    pub async fn probe(&self, probe: &Probe) -> Result<Answer<IgnoredAny>, StripeError> {
        let parameters: BTreeMap<_, _> = probe.parameters.iter().copied().collect();
        self.call(
            probe.operation,
            request(probe.operation, NOBODY, &parameters),
            None,
        )
        .await
    }

    /// The webhook endpoints of the account in the key's mode: Stripe allows fewer than a page of them.
    pub async fn list_webhook_endpoints(&self) -> Result<Vec<WebhookEndpoint>, StripeError> {
        let operation = Operation::ListWebhookEndpoints;
        let page = request(operation, "", &BTreeMap::from([("limit", PAGE)]));
        let answer: Answer<List<WebhookEndpoint>> = self.call(operation, page, None).await?;
        Ok(answer.body.data)
    }

    /// Makes a webhook endpoint for events in the shape of our own version; its answer alone tells the secret.
    pub async fn create_webhook_endpoint(
        &self,
        url: &str,
        events: &[&str],
        key: &str,
    ) -> Result<WebhookEndpoint, StripeError> {
        let operation = Operation::CreateWebhookEndpoint;
        let new = NewEndpoint {
            url,
            api_version: self.version(),
            description: "Dues",
            enabled_events: events,
        };
        let answer = self.call(operation, request(operation, "", &new), Some(key));
        Ok(answer.await?.body)
    }

    /// Sets the events that a webhook endpoint gets.
    pub async fn update_webhook_endpoint(
        &self,
        id: &str,
        events: &[&str],
    ) -> Result<WebhookEndpoint, StripeError> {
        let operation = Operation::UpdateWebhookEndpoint;
        let enabled = Enabled {
            enabled_events: events,
        };
        let answer = self.call(operation, request(operation, id, &enabled), None);
        Ok(answer.await?.body)
    }

    /// The portal's configuration with that id, or the one that is used when none is named; none if it isn't there or
    /// not active.
    pub async fn portal_configuration(
        &self,
        id: Option<&str>,
    ) -> Result<Option<PortalConfiguration>, StripeError> {
        let operation = Operation::ListPortalConfigurations;
        let mut only = BTreeMap::from([("active", "true".to_owned()), ("limit", PAGE.to_string())]);
        if id.is_none() {
            only.insert("is_default", "true".to_owned());
        }
        let answer: Answer<List<PortalConfiguration>> = self
            .call(operation, request(operation, "", &only), None)
            .await?;
        let mut configurations = answer.body.data.into_iter();
        Ok(configurations.find(|configuration| id.is_none_or(|id| configuration.id == id)))
    }

    /// The newest charges.
    pub async fn newest_charges(&self) -> Result<Vec<Charge>, StripeError> {
        let operation = Operation::ListCharges;
        let page = request(operation, "", &BTreeMap::from([("limit", PAGE)]));
        let answer: Answer<List<Charge>> = self.call(operation, page, None).await?;
        Ok(answer.body.data)
    }
}

/// The request of an operation about the object with this id, if it is about one.
pub(super) fn request(
    operation: Operation,
    id: &str,
    parameters: &impl Serialize,
) -> RequestBuilder {
    let (method, template) = operation.as_str().split_once(" /v1").unwrap_or_default();
    let path: Vec<&str> = template
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                id
            } else {
                segment
            }
        })
        .collect();
    let path = path.join("/");
    if method == "GET" {
        let mut request = RequestBuilder::new(StripeMethod::Get, path).query(parameters);
        request.query = request.query.filter(|query| is_something(query));
        return request;
    }
    let mut request = RequestBuilder::new(StripeMethod::Post, path).form(parameters);
    request.body = request.body.filter(|body| is_something(body));
    request
}

/// No parameters at all are written as one without a name.
fn is_something(encoded: &str) -> bool {
    !matches!(encoded, "" | "=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_made_of_its_operation() {
        let page = BTreeMap::from([("limit", 1)]);
        let list = request(Operation::ListCharges, "", &page);
        assert_eq!(
            (list.path.as_str(), list.query.as_deref()),
            ("/charges", Some("limit=1"))
        );
        assert!(list.body.is_none() && matches!(list.method, StripeMethod::Get));
        let change = request(Operation::UpdateSubscription, "sub_1", &page);
        assert_eq!(
            (change.path.as_str(), change.body.as_deref()),
            ("/subscriptions/sub_1", Some("limit=1"))
        );
        let nothing: BTreeMap<&str, &str> = BTreeMap::new();
        assert_eq!(
            request(Operation::ExpireSession, "cs_1", &nothing).body,
            None
        );
        let new = NewEndpoint {
            url: "https://a.example/b",
            api_version: "v",
            description: "d",
            enabled_events: &["a.b", "c"],
        };
        let new = request(Operation::CreateWebhookEndpoint, "", &new);
        assert_eq!(new.path, "/webhook_endpoints");
        let body = new.body.expect("a form");
        assert!(
            body.contains("enabled_events[0]=a.b&enabled_events[1]=c"),
            "{body}"
        );
    }

    #[test]
    fn no_probe_can_take_effect() {
        for probe in PROBES {
            let text = probe.operation.as_str();
            let about_nobody =
                text.contains('{') || probe.parameters.iter().any(|(_, value)| *value == NOBODY);
            assert!(
                text.starts_with("GET ") || about_nobody,
                "{text} could succeed"
            );
            assert_ne!(probe.operation, Operation::CreateCustomer);
            assert!(!text.starts_with("DELETE "), "{text}");
        }
    }
}
