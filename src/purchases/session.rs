//! A checkout's session at Stripe: read, applied, expired.

use std::ops::ControlFlow;

use time::OffsetDateTime;

use super::{Error, MAX_TRIES, Purchases};
use crate::domain::actor::By;
use crate::domain::facts::{Contradiction, Fact, Freshness, Observation, Subject};
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::Basket;
use crate::storage::baskets;
use crate::stripe::objects::Session;
use crate::stripe::observe::News;

impl Purchases {
    /// Applies what Stripe said of a checkout's session.
    pub(crate) async fn apply_session(
        &self,
        basket: Basket,
        session: &Session,
        at: OffsetDateTime,
        by: &By,
    ) -> Result<Basket, Error> {
        let by = by.clone().about(&session.id);
        let observer = &self.account.observer;
        match observer.session(session, at, Freshness::Event, News::Plain) {
            Ok(observation) => Ok(self.apply_to(basket, &observation, &by).await?.basket),
            Err(unknown) => {
                tracing::warn!(%unknown, checkout_id = %basket.checkout.id, "a session was left as it is");
                Ok(basket)
            }
        }
    }

    /// Reads a checkout's session from Stripe and applies it. The answer counts only if the rows have not moved since
    /// before the call; else Stripe is read again. Returned with why a person should look, if one should.
    pub(crate) async fn read_session(
        &self,
        mut basket: Basket,
        by: &By,
    ) -> Result<(Basket, Session, Option<&'static str>), Error> {
        for _ in 0..MAX_TRIES {
            let Some(id) = basket.checkout.stripe_session.clone() else {
                break;
            };
            let answer = self.account.client.retrieve_session(&id).await?;
            let session = answer.body;
            // The address was asked for by id, so an answer about another object is no answer.
            let other_mode = |live| live != self.account.livemode;
            if session.id != id || session.livemode.is_some_and(other_mode) {
                return Err(Contradiction::OtherSession.into());
            }
            let observer = &self.account.observer;
            let observation = observer.session(&session, answer.at, Freshness::Live, News::Plain);
            let observation = match observation {
                Ok(observation) => observation,
                Err(unknown) => {
                    tracing::warn!(%unknown, checkout_id = %basket.checkout.id, "a session was left as it is");
                    return Ok((basket, session, None));
                }
            };
            let by = by.clone().about(&id);
            match self.write_read(&basket, &observation, &by).await? {
                ControlFlow::Break(applied) => {
                    return Ok((applied.basket, session, applied.left.flag));
                }
                ControlFlow::Continue(newer) => basket = newer,
            }
        }
        Err(Error::Contended)
    }

    /// Expires a checkout's session at Stripe; if Stripe says that it is no longer open, its facts are read instead.
    pub(crate) async fn expire(&self, basket: Basket, by: &By) -> Result<Basket, Error> {
        // The wish first, so that the expiry is put down to the member even if Stripe's event is faster than we are.
        let now = self.clock.now();
        let observation = Observation {
            subject: Subject::checkout(basket.checkout.id),
            at: now,
            freshness: Freshness::Event,
            facts: vec![Fact::CancelRequested(now)],
        };
        let basket = self.apply_to(basket, &observation, by).await?.basket;
        let Some(session) = basket.checkout.stripe_session.clone() else {
            return Ok(basket);
        };
        match self.account.client.expire_session(&session).await {
            Ok(answer) => {
                self.apply_session(basket, &answer.body, answer.at, by)
                    .await
            }
            Err(error) if error.is_refusal() => Ok(self.read_session(basket, by).await?.0),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a checkout of which Stripe has no session.
    pub(crate) async fn end_unopened(&self, id: CheckoutId, by: &By) -> Result<(), Error> {
        let Some(basket) = baskets::find_by_id(&self.pool, id).await? else {
            return Ok(());
        };
        let observation = Observation {
            subject: Subject::checkout(id),
            at: self.clock.now(),
            freshness: Freshness::Event,
            facts: vec![Fact::SessionNeverOpened],
        };
        self.apply_to(basket, &observation, by).await?;
        Ok(())
    }
}
