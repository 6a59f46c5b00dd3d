//! The customer at Stripe of a user in one currency, created at most once.

use super::{Error, Purchases};
use crate::domain::ids::UserId;
use crate::storage::customers::{self, Customer};

impl Purchases {
    /// The customer's id at Stripe, created there first if need be. Two requests at once use the same idempotency
    /// key, so Stripe gives both the same customer.
    pub(crate) async fn stripe_customer(
        &self,
        customer: &Customer,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<String, Error> {
        let email = email.filter(|_| self.settings.stripe.send_email);
        let mut held = customer.clone();
        loop {
            if let Some(id) = held.stripe_customer {
                return Ok(id);
            }
            let created = self
                .account
                .client
                .create_customer(held.id, held.generation, user, email)
                .await;
            match created {
                // Where an adoption was faster she buys with the customer whom she had: ours is left behind.
                Ok(id) => {
                    let (row, generation) = (held.id, held.generation);
                    let held =
                        customers::update_stripe_customer(&self.pool, row, generation, &id).await?;
                    return Ok(held.unwrap_or(id));
                }
                // This key will never give a customer: the next generation has another. One may be left behind at
                // Stripe, whom nobody ever charges.
                Err(error) if error.is_stored() && held.generation == customer.generation => {
                    held =
                        customers::update_generation(&self.pool, held.id, held.generation).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives up a customer whom Stripe no longer has, and creates the next one.
    pub(crate) async fn replace_stripe_customer(
        &self,
        customer: &Customer,
        user: &UserId,
        email: Option<&str>,
    ) -> Result<String, Error> {
        let next =
            customers::update_generation(&self.pool, customer.id, customer.generation).await?;
        self.stripe_customer(&next, user, email).await
    }
}
