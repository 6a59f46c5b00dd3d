//! A member buys: our rows first, then the customer and the session at Stripe, then the session's id in our rows.

use aws_lc_rs::{digest, rand};
use sqlx::postgres::PgConnection;
use time::Duration;

use super::Members;
pub use super::held::{Advice, Held};
use super::order::{self, Chosen, ChosenLine, Order, choose, request_hash};
use crate::catalogue::CatalogueError;
use crate::domain::actor::By;
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::invalid::Invalid;
use crate::domain::subscription::{Basket, SessionStatus};
use crate::purchases::{Error, Repaired};
use crate::storage::baskets;
use crate::storage::checkouts::{self, InsertError, NewCheckout};
use crate::storage::customers::{self, Customer};
use crate::storage::{StorageError, subscriptions};
use crate::stripe::StripeError;
use crate::stripe::objects::Session;
use crate::stripe::requests::checkout::NewSession;

/// How many obstacles to an order are removed before its client is asked to come again.
const MAX_ROUNDS: u32 = 4;

/// Who buys.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// The member.
    pub user: UserId,
    /// From the token; passed on to Stripe only if the settings say so.
    pub email: Option<String>,
}

/// An opened checkout.
#[derive(Debug)]
pub struct Opened {
    /// With its lines.
    pub basket: Basket,
    /// Stripe's page; none when it is no longer open.
    pub url: Option<String>,
}

/// Why a checkout was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The order can't be fulfilled as it is.
    #[error("the order is invalid")]
    Invalid(Vec<Invalid>),
    /// The idempotency key was sent with another order.
    #[error("the idempotency key was used for another order")]
    KeyReused,
    /// The same order is being worked on.
    #[error("the same order is in progress")]
    InProgress,
    /// The member holds the plan, or one that it excludes, and can hold only one.
    #[error("the member already holds {}", .0.line.plan)]
    AlreadyHeld(Box<Held>),
    /// Plans of the order require something that the member doesn't hold.
    #[error("the order requires something that the member doesn't hold")]
    RequirementUnmet(Vec<Invalid>),
    /// The member has too many open checkouts.
    #[error("the member has too many open checkouts")]
    TooManyOpen,
    /// Stripe did not open the checkout, the plans' prices can't be read, or the rows could not be written.
    #[error(transparent)]
    Failed(#[from] Error),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Random,
}

impl From<StripeError> for SubscribeError {
    fn from(error: StripeError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StorageError> for SubscribeError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<CatalogueError> for SubscribeError {
    fn from(error: CatalogueError) -> Self {
        Self::Failed(error.into())
    }
}

impl Members {
    /// Records the order and opens its checkout at Stripe. The same idempotency key again gives the same checkout.
    pub async fn subscribe(
        &self,
        buyer: &Buyer,
        order: &Order,
        key: Option<&str>,
    ) -> Result<Opened, SubscribeError> {
        let offers = self.catalogue.offers().await?;
        let currencies = match order.currency {
            Some(_) => Vec::new(),
            None => customers::find_currencies(&self.pool, &buyer.user).await?,
        };
        let chosen = choose(order, &offers, &currencies).map_err(SubscribeError::Invalid)?;
        // Each round removes one obstacle: a failed checkout under the same key, an open one of the same basket that
        // has just closed, an abandoned one of a single plan.
        for round in 1..=MAX_ROUNDS {
            if let Some(key) = key
                && let Some(repeated) = checkouts::find_by_key(&self.pool, &buyer.user, key).await?
            {
                if repeated.request_hash != request_hash(repeated.id, order, &chosen) {
                    return Err(SubscribeError::KeyReused);
                }
                match self.reopen(&buyer.user, repeated.id).await? {
                    Some(opened) => return Ok(opened),
                    None => continue,
                }
            }
            match self.open(buyer, order, &chosen, key).await {
                Ok(opened) => return Ok(opened),
                Err(OpenError::KeyUsed) => {}
                Err(OpenError::SameOpen(id)) => {
                    if let Some(opened) = self.reopen(&buyer.user, id).await?
                        && opened.url.is_some()
                        && self.share(&buyer.user, key, id).await?
                    {
                        return Ok(opened);
                    }
                }
                // Nothing is taken away in the last round, for nothing would take its place.
                Err(OpenError::Held) if round == MAX_ROUNDS => {}
                Err(OpenError::Held) => self.make_room(&buyer.user, &chosen).await?,
                Err(OpenError::Other(error)) => return Err(error),
            }
        }
        Err(SubscribeError::InProgress)
    }

    /// Lets another key stand for a checkout, so that its repeats are answered with it for ever; false if the key was
    /// used for something else meanwhile.
    async fn share(
        &self,
        user: &UserId,
        key: Option<&str>,
        checkout: CheckoutId,
    ) -> Result<bool, SubscribeError> {
        let Some(key) = key else { return Ok(true) };
        match checkouts::insert_key(&self.pool, user, key, checkout, self.clock.now()).await {
            Ok(()) => Ok(true),
            Err(InsertError::KeyUsed | InsertError::Held) => Ok(false),
            Err(InsertError::Storage(error)) => Err(error.into()),
        }
    }

    /// The checkout of an earlier request with the same key; none if it failed and a new one may be opened.
    async fn reopen(
        &self,
        user: &UserId,
        id: CheckoutId,
    ) -> Result<Option<Opened>, SubscribeError> {
        let by = By::member(user);
        let Some(mut basket) = baskets::find_by_id(&self.pool, id).await? else {
            return Ok(None);
        };
        if basket.checkout.status == SessionStatus::Open && basket.checkout.stripe_session.is_none()
        {
            basket = match self.purchases.repair(&basket, &by).await? {
                Repaired::Attached(basket) => basket,
                Repaired::Failed => return Ok(None),
                Repaired::TooEarly => return Err(SubscribeError::InProgress),
            };
        }
        let open = basket.checkout.status == SessionStatus::Open;
        if !open {
            return Ok(Some(Opened { basket, url: None }));
        }
        let (basket, session, _) = self.purchases.read_session(basket, &by).await?;
        Ok(Some(Opened {
            basket,
            url: session.url,
        }))
    }

    async fn open(
        &self,
        buyer: &Buyer,
        order: &Order,
        chosen: &Chosen<'_>,
        key: Option<&str>,
    ) -> Result<Opened, OpenError> {
        let now = self.clock.now();
        let id = CheckoutId::new(now);
        let token = random_token()?;
        let lines: Vec<_> = chosen
            .lines
            .iter()
            .map(|line| (SubscriptionId::new(now), line))
            .collect();
        let expires_at = now + self.settings.checkout.expires;
        // Transaction 1: the purchase is on record before Stripe hears of it. Requests of one user take turns.
        let mut transaction = self.pool.begin().await.map_err(StorageError::from)?;
        checkouts::lock_user(&mut transaction, &buyer.user).await?;
        let open = checkouts::find_open_of_user(&mut *transaction, &buyer.user).await?;
        if let Some((same, _)) = open
            .iter()
            .find(|(id, hash)| *hash == request_hash(*id, order, chosen))
        {
            return Err(OpenError::SameOpen(*same));
        }
        let trial_days = self
            .check_history(&mut transaction, &buyer.user, chosen)
            .await?;
        let customer =
            customers::insert_or_find(&mut *transaction, &buyer.user, &chosen.currency, now)
                .await?;
        let new = NewCheckout {
            id,
            user: &buyer.user,
            currency: &chosen.currency,
            mode: chosen.mode,
            customer: customer.id,
            idempotency_key: key,
            request_hash: &request_hash(id, order, chosen),
            cancel_token_hash: &token_hash(&token),
            expires_at,
            next_repair_at: now + Duration::MINUTE,
            lines: lines
                .iter()
                .map(|(id, line)| order::new_subscription(*id, line))
                .collect(),
        };
        checkouts::insert(&mut transaction, &new, now).await?;
        // Last, so that a repeat of a known key, or of a single plan, is told so rather than to wait.
        if open.len() >= self.settings.checkout.max_open as usize {
            return Err(SubscribeError::TooManyOpen.into());
        }
        transaction.commit().await.map_err(StorageError::from)?;
        // Stripe, with nothing of ours held open.
        let foreign = |line: &ChosenLine| line.offer.currency != chosen.currency;
        let page = &self.settings.checkout.page;
        let session = NewSession {
            checkout: id,
            customer: String::new(),
            replaced: false,
            currency: Some(chosen.currency.clone()).filter(|_| chosen.lines.iter().any(foreign)),
            locale: order.locale.clone().or_else(|| page.locale.clone()),
            page: page.clone(),
            promotion_codes: chosen.promotion_codes(),
            trial_days,
            is_donation: chosen.is_donation(),
            lines: lines
                .iter()
                .map(|(id, line)| order::new_line(*id, line, &chosen.currency))
                .collect(),
            success_url: format!(
                "{}/checkout/success?session_id={{CHECKOUT_SESSION_ID}}",
                self.public_url()
            ),
            cancel_url: format!(
                "{}/checkout/cancel?checkout={id}&token={token}",
                self.public_url()
            ),
            expires_at,
        };
        let session = match self.open_at_stripe(&customer, buyer, session).await {
            Ok(session) => session,
            Err(error) => return Ok(self.after_failure(&buyer.user, id, error).await?),
        };
        // Transaction 2: the session's id.
        let basket = baskets::find_by_id(&self.pool, id)
            .await?
            .ok_or(StorageError::from(sqlx::Error::RowNotFound))?;
        let basket = self
            .purchases
            .apply_session(basket, &session, now, &By::member(&buyer.user))
            .await?;
        if basket.checkout.status != SessionStatus::Open {
            // The sweep gave this checkout up, or another order of hers took its place, while Stripe kept us waiting:
            // its page must not be paid. Stripe refuses if it is no longer open anyway.
            return match self.account.client.expire_session(&session.id).await {
                Err(error) if !error.is_refusal() => Err(error.into()),
                _ => Err(SubscribeError::InProgress.into()),
            };
        }
        Ok(Opened {
            basket,
            url: session.url,
        })
    }

    /// Checks what the order's plans ask of the buyer's past: something held, and for a trial that the plan, or another
    /// of its group, was never hers. Returns the days of the trial.
    async fn check_history(
        &self,
        db: &mut PgConnection,
        user: &UserId,
        chosen: &Chosen<'_>,
    ) -> Result<Option<u32>, SubscribeError> {
        if !chosen.unmet(&[]).is_empty() {
            let held = subscriptions::find_live_kinds(&mut *db, user).await?;
            let unmet = chosen.unmet(&held);
            if !unmet.is_empty() {
                return Err(SubscribeError::RequirementUnmet(unmet));
            }
        }
        let Some(plan) = chosen.on_trial() else {
            return Ok(None);
        };
        let group = plan.upgrade_group.as_deref();
        let had = subscriptions::find_had(&mut *db, user, &plan.code, group).await?;
        Ok(plan.trial_days.filter(|_| !had))
    }

    /// What becomes of a checkout whose session Stripe did not give.
    async fn after_failure(
        &self,
        user: &UserId,
        id: CheckoutId,
        error: SubscribeError,
    ) -> Result<Opened, SubscribeError> {
        let (refused, stored) = match &error {
            SubscribeError::Failed(Error::Stripe(cause)) => (cause.is_refusal(), cause.is_stored()),
            _ => (false, false),
        };
        // The same answer would come for ever; whether it hides a session is told by Stripe's list.
        if stored {
            match self.reopen(user, id).await {
                Ok(Some(opened)) => return Ok(opened),
                Ok(None) | Err(SubscribeError::InProgress) => {}
                Err(error) => return Err(error),
            }
        }
        // Stripe said no: nobody has the URL, so the purchase is over and the key free again. On any other error the
        // session may exist; the sweep or a repeat finds out.
        if refused || stored {
            self.purchases.end_unopened(id, &By::member(user)).await?;
        }
        Err(error)
    }

    async fn open_at_stripe(
        &self,
        customer: &Customer,
        buyer: &Buyer,
        mut new: NewSession,
    ) -> Result<Session, SubscribeError> {
        new.customer = self
            .purchases
            .stripe_customer(customer, &buyer.user, buyer.email.as_deref())
            .await?;
        match self.account.client.create_session(&new).await {
            Err(error) if error.is_missing("customer") => {
                new.replaced = true;
                new.customer = self
                    .purchases
                    .replace_stripe_customer(customer, &buyer.user, buyer.email.as_deref())
                    .await?;
                Ok(self.account.client.create_session(&new).await?)
            }
            answer => Ok(answer?),
        }
    }

    fn public_url(&self) -> &str {
        self.settings.http.public_url.as_str().trim_end_matches('/')
    }
}

/// Why a checkout was not recorded, as far as another round may help.
enum OpenError {
    KeyUsed,
    SameOpen(CheckoutId),
    Held,
    Other(SubscribeError),
}

impl<E: Into<SubscribeError>> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl From<InsertError> for OpenError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::KeyUsed => Self::KeyUsed,
            InsertError::Held => Self::Held,
            InsertError::Storage(error) => Self::Other(error.into()),
        }
    }
}

pub(super) fn token_hash(token: &str) -> Vec<u8> {
    digest::digest(&digest::SHA256, token.as_bytes())
        .as_ref()
        .to_vec()
}

fn random_token() -> Result<String, SubscribeError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| SubscribeError::Random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
