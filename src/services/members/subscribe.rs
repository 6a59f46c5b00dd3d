//! A member buys: our rows first, then the customer and the session at Stripe, then the session's id in our rows.

use aws_lc_rs::{digest, rand};
use time::{Duration, OffsetDateTime};

use super::Members;
pub use super::held::{Advice, Held};
use super::order::{self, Back, Chosen, ChosenLine, Order, choose, request_hash};
use crate::catalogue::{CatalogueError, Offer, Priced};
use crate::domain::actor::By;
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::invalid::Invalid;
use crate::domain::subscription::{Basket, Checkout, SessionStatus};
use crate::purchases::{Error, Repaired};
use crate::storage::StorageError;
use crate::storage::baskets;
use crate::storage::checkouts::{self, InsertError, NewCheckout, Repeated};
use crate::storage::customers::Customer;
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
    /// Plans are not sold for now: their prices at Stripe can't be.
    #[error("a plan is not sold for now")]
    Unavailable(Vec<Invalid>),
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

/// Whether anybody could have what is ordered.
fn check(order: &Order, priced: &Priced) -> Result<(), SubscribeError> {
    let unavailable = order::unavailable(order, &priced.off_sale);
    if !unavailable.is_empty() {
        return Err(SubscribeError::Unavailable(unavailable));
    }
    if order.currency.is_some() {
        choose(order, &priced.offers, &[]).map_err(SubscribeError::Invalid)?;
    }
    Ok(())
}

impl Members {
    /// Records the order and opens its checkout at Stripe. The same idempotency key again gives the same checkout.
    pub async fn subscribe(
        &self,
        buyer: &Buyer,
        order: &Order,
        key: Option<&str>,
    ) -> Result<Opened, SubscribeError> {
        order::count(order).map_err(SubscribeError::Invalid)?;
        let priced = self.catalogue.priced().await?;
        // An order that nobody could fulfil costs nobody else anything. A repeat is judged by what it repeats.
        if key.is_none() {
            check(order, &priced)?;
        }
        // Each round removes one obstacle: a failed checkout under the same key, an open one of the same basket that
        // has just closed, an abandoned one of a single plan.
        for round in 1..=MAX_ROUNDS {
            let recorded = match self.record(buyer, order, &priced, key).await {
                Ok(recorded) => recorded,
                Err(Obstacle::Repeated(id)) => match self.reopen(&buyer.user, id).await? {
                    Some(opened) => return Ok(opened),
                    None => continue,
                },
                Err(Obstacle::KeyUsed) => continue,
                Err(Obstacle::SameOpen(id)) => {
                    if let Some(opened) = self.reopen(&buyer.user, id).await?
                        && opened.url.is_some()
                        && self.share(&buyer.user, key, id).await?
                    {
                        return Ok(opened);
                    }
                    continue;
                }
                // Nothing is taken away in the last round, for nothing would take its place.
                Err(Obstacle::Held(_)) if round == MAX_ROUNDS => continue,
                Err(Obstacle::Held(chosen)) => {
                    self.make_room(&buyer.user, &chosen).await?;
                    continue;
                }
                Err(Obstacle::Other(error)) => return Err(error),
            };
            return self.open(buyer, order, recorded).await;
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

    /// Puts the purchase on record before Stripe hears of it. Requests of one member take turns, so what is read of
    /// her past holds until the commit.
    async fn record<'a>(
        &self,
        buyer: &Buyer,
        order: &Order,
        priced: &'a Priced,
        key: Option<&str>,
    ) -> Result<Recorded<'a>, Obstacle<'a>> {
        let user = &buyer.user;
        let offers: &[Offer] = &priced.offers;
        let trial = order::on_trial(order, offers);
        let trial = trial.map(|plan| (plan.code.as_str(), plan.upgrade_group.as_deref()));
        let mut transaction = checkouts::begin(&self.pool, user).await?;
        let known = checkouts::find_buyer(&mut transaction, user, key, trial).await?;
        let chosen = choose(order, offers, &known.currencies);
        if let (Err(_), Some(repeated)) = (&chosen, &known.repeated)
            && repeated.request_hash == order::hash_as_written(repeated.id, order)
        {
            return Err(Obstacle::Repeated(repeated.id));
        }
        let off_sale = order::unavailable(order, &priced.off_sale);
        if !off_sale.is_empty() {
            return Err(SubscribeError::Unavailable(off_sale).into());
        }
        let chosen = chosen.map_err(SubscribeError::Invalid)?;
        let is_same =
            |other: &&Repeated| other.request_hash == request_hash(other.id, order, &chosen);
        if let Some(repeated) = &known.repeated {
            if !is_same(&repeated) {
                return Err(SubscribeError::KeyReused.into());
            }
            return Err(Obstacle::Repeated(repeated.id));
        }
        if let Some(same) = known.open.iter().find(is_same) {
            return Err(Obstacle::SameOpen(same.id));
        }
        let unmet = chosen.unmet(&known.kinds);
        if !unmet.is_empty() {
            return Err(SubscribeError::RequirementUnmet(unmet).into());
        }
        let now = self.clock.now();
        let basket = self.new_basket(user, &chosen, now);
        let id = basket.checkout.id;
        let token = random_token()?;
        let new = NewCheckout {
            basket: &basket,
            currency: &chosen.currency,
            idempotency_key: key,
            request_hash: &request_hash(id, order, &chosen),
            cancel_token_hash: &token_hash(&token),
            next_repair_at: now + Duration::MINUTE,
        };
        let customer = match checkouts::insert(&mut transaction, &new, now).await {
            Ok(customer) => customer,
            Err(InsertError::KeyUsed) => return Err(Obstacle::KeyUsed),
            Err(InsertError::Held) => return Err(Obstacle::Held(chosen)),
            Err(InsertError::Storage(error)) => return Err(error.into()),
        };
        // Last, so that a repeat of a known key, or of a single plan, is told so rather than to wait.
        if known.open.len() >= self.settings.checkout.max_open as usize {
            return Err(SubscribeError::TooManyOpen.into());
        }
        transaction.commit().await.map_err(StorageError::from)?;
        Ok(Recorded {
            trial_days: chosen.trial_days(known.had),
            basket,
            customer,
            token,
            chosen,
        })
    }

    /// The basket as it is recorded: nothing was told of it yet.
    fn new_basket(&self, user: &UserId, chosen: &Chosen<'_>, now: OffsetDateTime) -> Basket {
        let lines = chosen.lines.iter();
        Basket {
            checkout: Checkout {
                id: CheckoutId::new(now),
                user: user.clone(),
                mode: chosen.mode,
                status: SessionStatus::Open,
                stripe_session: None,
                stripe_customer: None,
                cancel_requested_at: None,
                expires_at: now + self.settings.checkout.expires,
                created_at: now,
            },
            lines: lines
                .map(|line| order::new_subscription(SubscriptionId::new(now), line, now))
                .collect(),
            payments: Vec::new(),
        }
    }

    /// Opens the session of a recorded checkout at Stripe, with nothing of ours held open, and writes what Stripe said.
    async fn open(
        &self,
        buyer: &Buyer,
        order: &Order,
        recorded: Recorded<'_>,
    ) -> Result<Opened, SubscribeError> {
        let id = recorded.basket.checkout.id;
        let created_at = recorded.basket.checkout.created_at;
        let new = self.new_session(order, &recorded);
        let opened = self.open_at_stripe(&recorded.customer, buyer, new).await;
        let (session, customer) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.after_failure(&buyer.user, id, error).await,
        };
        // Nobody has told anything of it but in the last moment; then it is read.
        let by = By::member(&buyer.user);
        let mut basket = recorded.basket;
        basket.checkout.stripe_customer = Some(customer);
        let basket = self
            .purchases
            .apply_session(basket, &session, created_at, &by)
            .await?;
        if basket.checkout.status != SessionStatus::Open {
            // The sweep gave this checkout up, or another order of hers took its place, while Stripe kept us waiting:
            // its page must not be paid. Stripe refuses if it is no longer open anyway.
            return match self.account.client.expire_session(&session.id).await {
                Err(error) if !error.is_refusal() => Err(error.into()),
                _ => Err(SubscribeError::InProgress),
            };
        }
        Ok(Opened {
            basket,
            url: session.url,
        })
    }

    fn new_session(&self, order: &Order, recorded: &Recorded<'_>) -> NewSession {
        let (chosen, checkout) = (&recorded.chosen, &recorded.basket.checkout);
        let (id, token) = (checkout.id, &recorded.token);
        let foreign = |line: &ChosenLine| line.offer.currency != chosen.currency;
        let page = &self.settings.checkout.page;
        let base = self.public_url();
        let (success, cancel) = match order.back {
            Back::Own => ("checkout/success", "checkout/cancel"),
            Back::Connector => ("success-checkout", "cancel-checkout"),
        };
        let pairs = recorded.basket.lines.iter().zip(&chosen.lines);
        NewSession {
            checkout: id,
            customer: String::new(),
            replaced: false,
            currency: Some(chosen.currency.clone()).filter(|_| chosen.lines.iter().any(foreign)),
            locale: order.locale.clone().or_else(|| page.locale.clone()),
            page: page.clone(),
            promotion_codes: chosen.promotion_codes(),
            trial_days: recorded.trial_days,
            is_donation: chosen.is_donation(),
            lines: pairs
                .map(|(row, line)| order::new_line(row.id, line, &chosen.currency))
                .collect(),
            success_url: format!("{base}/{success}?session_id={{CHECKOUT_SESSION_ID}}"),
            cancel_url: format!("{base}/{cancel}?checkout={id}&token={token}"),
            expires_at: checkout.expires_at,
        }
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

    /// The session, and the customer for whom it was opened.
    async fn open_at_stripe(
        &self,
        customer: &Customer,
        buyer: &Buyer,
        mut new: NewSession,
    ) -> Result<(Session, String), SubscribeError> {
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
                let session = self.account.client.create_session(&new).await?;
                Ok((session, new.customer))
            }
            answer => Ok((answer?, new.customer)),
        }
    }

    fn public_url(&self) -> &str {
        self.settings.http.public_url.as_str().trim_end_matches('/')
    }
}

/// A purchase that is on record and has no session yet.
struct Recorded<'a> {
    basket: Basket,
    customer: Customer,
    /// Of the cancel link: only its hash is stored.
    token: String,
    chosen: Chosen<'a>,
    trial_days: Option<u32>,
}

/// Why a purchase was not recorded, as far as another round may help.
enum Obstacle<'a> {
    /// The key stands for this checkout.
    Repeated(CheckoutId),
    /// The key was used meanwhile.
    KeyUsed,
    /// This open checkout is of the same basket.
    SameOpen(CheckoutId),
    /// Something of it is held already.
    Held(Chosen<'a>),
    Other(SubscribeError),
}

impl<E: Into<SubscribeError>> From<E> for Obstacle<'_> {
    fn from(error: E) -> Self {
        Self::Other(error.into())
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
