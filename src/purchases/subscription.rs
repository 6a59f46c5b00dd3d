//! The subscription at Stripe that pays for a recurring line: read, applied, ended when it was never paid.

use std::ops::ControlFlow;

use super::{Error, MAX_TRIES, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::Freshness;
use crate::domain::subscription::{Basket, Reason};
use crate::stripe::Answer;
use crate::stripe::objects::Subscription;
use crate::stripe::observe::News;

impl Purchases {
    /// Reads a subscription with its newest invoice from Stripe and applies it. Returned with why a person should
    /// look, if one should.
    pub(crate) async fn read_subscription(
        &self,
        basket: Basket,
        id: &str,
        by: &By,
    ) -> Result<(Basket, Option<&'static str>), Error> {
        let answer = self.account.client.retrieve_subscription(id).await?;
        self.apply_subscription(basket, answer, by).await
    }

    /// Applies what Stripe answered about a subscription after the basket was read; if the rows have moved since,
    /// Stripe is read again.
    pub(crate) async fn apply_subscription(
        &self,
        mut basket: Basket,
        mut answer: Answer<Subscription>,
        by: &By,
    ) -> Result<(Basket, Option<&'static str>), Error> {
        for _ in 0..MAX_TRIES {
            let observation = self.account.observer.subscription(
                &answer.body,
                answer.at,
                Freshness::Live,
                News::Plain,
            );
            let observation = match observation {
                Ok(observation) => observation,
                Err(unknown) => {
                    tracing::warn!(%unknown, checkout_id = %basket.checkout.id, "a subscription was left as it is");
                    return Ok((basket, None));
                }
            };
            match self.write_read(&basket, &observation, by).await? {
                ControlFlow::Break(applied) => return Ok((applied.basket, applied.left.flag)),
                ControlFlow::Continue(newer) => basket = newer,
            }
            let client = &self.account.client;
            answer = client.retrieve_subscription(&answer.body.id).await?;
        }
        Err(Error::Contended)
    }

    /// Ends a subscription at Stripe whose first payment failed for good, after Stripe has said once more that nothing
    /// was paid. False if something was.
    pub(crate) async fn cancel_if_unpaid(
        &self,
        basket: Basket,
        id: &str,
        by: &By,
    ) -> Result<bool, Error> {
        let (basket, _) = self.read_subscription(basket, id, by).await?;
        let unpaid = basket
            .recurring()
            .is_some_and(|line| line.reason == Reason::FirstPaymentFailed);
        if unpaid {
            let answer = self.account.client.cancel_subscription(id).await?;
            self.apply_subscription(basket, answer, by).await?;
        }
        Ok(unpaid)
    }
}
