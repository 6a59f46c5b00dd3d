//! The customer at Stripe of a user in one currency, created at most once.

use super::Services;
use super::subscribe::SubscribeError;
use crate::domain::ids::UserId;
use crate::storage::StorageError;
use crate::storage::customers::{self, Customer};

impl Services {
    /// The customer's id at Stripe, created there first if need be. Two requests at once use the same idempotency
    /// key, so Stripe gives both the same customer.
    pub(super) async fn stripe_customer(
        &self,
        customer: &Customer,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<String, SubscribeError> {
        if let Some(id) = &customer.stripe_customer {
            return Ok(id.clone());
        }
        let email = email.filter(|_| self.settings.stripe.send_email);
        let id = self
            .stripe
            .create_customer(customer.id, customer.generation, user, email)
            .await?;
        customers::update_stripe_customer(&self.pool, customer.id, customer.generation, &id)
            .await?;
        Ok(id)
    }

    /// Gives up a customer whom Stripe no longer has, and creates the next one.
    pub(super) async fn replace_stripe_customer(
        &self,
        customer: &Customer,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<String, SubscribeError> {
        let next: Result<Customer, StorageError> =
            customers::update_generation(&self.pool, customer.id, customer.generation).await;
        self.stripe_customer(&next?, user, email).await
    }
}
