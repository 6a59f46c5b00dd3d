//! Stripe's customer portal: one for each currency in which the member is a customer.

use super::Members;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::invalid::Invalid;
use crate::domain::subscription::Status;
use crate::purchases::line::{Obstacle, WishError, is_alive};
use crate::storage::customers;
use crate::stripe::requests::portal::is_locale;
use crate::stripe::requests::portal::{Flow, NewPortalSession};

/// What a member wants of the portal.
#[derive(Clone, Debug, Default)]
pub struct PortalWish {
    /// ISO 4217, lower case; none for all that she has.
    pub currency: Option<String>,
    /// The page's language.
    pub locale: Option<String>,
    /// One of hers: then only its customer's portal.
    pub subscription: Option<SubscriptionId>,
    /// The one thing to do there.
    pub flow: Option<PortalFlow>,
}

/// One thing to do in the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortalFlow {
    /// Enter another card or account.
    PaymentMethodUpdate,
    /// Cancel the subscription.
    SubscriptionCancel,
}

/// An opened portal.
#[derive(Debug)]
pub struct Portal {
    /// ISO 4217, lower case.
    pub currency: String,
    /// Good for minutes, and for whoever has it.
    pub url: String,
}

impl Members {
    /// Opens the portal of each of the member's customers. One that Stripe no longer has is left out.
    pub async fn open_portals(
        &self,
        user: &UserId,
        wish: &PortalWish,
    ) -> Result<Vec<Portal>, WishError> {
        check(wish)?;
        let own = match wish.subscription {
            Some(id) => Some(self.own(user, id).await?),
            None => None,
        };
        let cancels = match (&own, wish.flow) {
            (Some(own), Some(PortalFlow::SubscriptionCancel)) => {
                if !own.row.recurring {
                    return Err(Obstacle::NotCancellable.into());
                }
                is_alive(&own.row)?;
                if own.row.status == Status::Cancelled {
                    return Err(Obstacle::Cancelled.into());
                }
                Some(own.at_stripe()?)
            }
            _ => None,
        };
        let flow = match (wish.flow, &cancels) {
            (Some(PortalFlow::PaymentMethodUpdate), _) => Some(Flow::PaymentMethodUpdate),
            (_, Some(stripe)) => Some(Flow::SubscriptionCancel(stripe)),
            (_, None) => None,
        };
        let only = own.and_then(|own| own.basket.checkout.stripe_customer);
        let known = customers::find_of_user(&self.pool, user).await?;
        let wanted = known.into_iter().filter(|(currency, customer)| {
            wish.currency.as_ref().is_none_or(|only| only == currency)
                && only.as_ref().is_none_or(|only| only == customer)
        });
        let mut portals = Vec::new();
        for (currency, customer) in wanted {
            let new = NewPortalSession {
                customer: &customer,
                return_url: self.settings.client.portal_return_url.as_str(),
                locale: wish.locale.as_deref(),
                configuration: self.settings.portal.configuration.as_deref(),
                flow,
            };
            match self.account.client.create_portal_session(&new).await {
                Ok(session) => portals.push(Portal {
                    currency,
                    url: session.url,
                }),
                Err(error) if error.is_missing("customer") => {
                    customers::update_deleted(&self.pool, &customer).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if portals.is_empty() {
            return Err(Obstacle::NoCustomer.into());
        }
        Ok(portals)
    }
}

fn check(wish: &PortalWish) -> Result<(), WishError> {
    let mut wrong = Vec::new();
    if wish
        .locale
        .as_deref()
        .is_some_and(|locale| !is_locale(locale))
    {
        let detail = "Stripe's page does not speak this language.";
        wrong.push(Invalid::new("locale", "unknown_locale", detail));
    }
    if wish.flow == Some(PortalFlow::SubscriptionCancel) && wish.subscription.is_none() {
        let detail = "Say which one to cancel.";
        wrong.push(Invalid::new("subscription", "required", detail));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(WishError::Invalid(wrong))
    }
}
