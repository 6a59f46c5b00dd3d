//! What another system sold becomes ours: Stripe's subscriptions that no row names are walked, each lands in a bucket, and,
//! when asked for, those that can be rows become rows. Whatever it was cut off at, the next run goes on there.

mod judge;
mod known;
mod report;
mod source;

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

pub use self::report::{Bucket, Entry, PriceOfNoPlan, Report};
pub use self::source::Source;

pub(super) use self::judge::Judged;
use self::judge::Planned;
use super::Operators;
use crate::catalogue::Offer;
use crate::domain::actor::By;
use crate::domain::facts::{Freshness, Observation};
use crate::domain::plan::Plan;
use crate::domain::subscription::Basket;
use crate::purchases::{Adopted, Adoption, Error, Purchases};
use crate::storage::baskets::{self, Question};
use crate::storage::subscriptions;
use crate::stripe::objects::Subscription;
use crate::stripe::observe::{News, Unknown};

/// What to adopt, and how to read it.
#[derive(Clone, Debug)]
pub struct How {
    /// Where it stands whose a subscription is.
    pub user_from: Source,
    /// Where the id stands by which the other system knows it; none: it has none that matters.
    pub id_from: Option<Source>,
    /// Plans of prices that no plan has any more: `price_…` and the plan's code.
    pub plans: HashMap<String, String>,
    /// Whether what is marked as a row that is not here is adopted all the same.
    pub again: bool,
    /// Whether to write.
    pub apply: bool,
}

impl How {
    /// By which id the other system knows it, if that is asked for and said. Space around it is nobody's: it is left out
    /// where metadata is read for names as well.
    fn id_of<'a>(&'a self, subscription: &'a Subscription) -> Option<&'a str> {
        let id = self.id_from.as_ref()?.read(subscription)?.trim();
        Some(id).filter(|id| !id.is_empty())
    }
}

/// Why nothing was adopted (any more).
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A price was given a plan that the plans file does not have.
    #[error("--plan {price}={plan}: there is no plan that renews with that code")]
    UnknownPlan {
        /// `price_…`.
        price: String,
        /// As it was given.
        plan: String,
    },
    /// A price was given a plan and is sold by one already.
    #[error("--plan {price}={plan}: the price is sold already, by the plan {sold}")]
    SoldPrice {
        /// `price_…`.
        price: String,
        /// As it was given.
        plan: String,
        /// Whose it is.
        sold: String,
    },
    /// Stripe or the database, before anything was looked at.
    #[error(transparent)]
    Work(#[from] Error),
    /// Stripe or the database, on the way.
    #[error("{cause}")]
    Broken {
        /// What was found and done before.
        report: Box<Report>,
        /// What broke it off.
        cause: Box<Error>,
    },
}

/// What is known while the walk goes on.
pub(super) struct Walk<'a> {
    how: &'a How,
    offers: &'a [Offer],
    /// Of prices that no plan has any more.
    plans: HashMap<&'a str, Plan>,
    /// What the rows would be that were not written.
    planned: Planned,
    report: Report,
}

impl<'a> Walk<'a> {
    pub(super) fn new(how: &'a How, offers: &'a [Offer], plans: HashMap<&'a str, Plan>) -> Self {
        Self {
            how,
            offers,
            plans,
            planned: Planned::default(),
            report: Report::new(how.apply),
        }
    }
}

/// A subscription of a page, and what Stripe says by it.
type Told = (Subscription, Result<Observation, Unknown>);

impl Operators {
    /// Walks all subscriptions at Stripe, newest first; `progress` is told after every page. When `stop` is cancelled the walk
    /// ends after the subscription at hand; the next one passes over what is done. What broke it off on the way comes with
    /// what was done before.
    pub async fn adopt(
        &self,
        how: &How,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Report),
    ) -> Result<Report, AdoptError> {
        let priced = self.purchases.catalogue.priced().await;
        let offers = priced.map_err(Error::from)?.offers;
        let plans = self.given_plans(how, &offers)?;
        let mut walk = Walk::new(how, &offers, plans);
        match self.walk(&mut walk, stop, &mut progress).await {
            Ok(()) => Ok(walk.report),
            Err(cause) => Err(AdoptError::Broken {
                report: Box::new(walk.report),
                cause: Box::new(cause),
            }),
        }
    }

    async fn walk(
        &self,
        walk: &mut Walk<'_>,
        stop: &CancellationToken,
        progress: &mut impl FnMut(&Report),
    ) -> Result<(), Error> {
        let client = &self.purchases.account.client;
        let with_customers = matches!(walk.how.user_from, Source::Customer(_));
        let mut after: Option<String> = None;
        while !stop.is_cancelled() {
            let page = client.list_every_subscription(with_customers, after.as_deref());
            let page = page.await?;
            let (at, page) = (page.at, page.body);
            let last = page.data.last().filter(|_| page.has_more);
            after = last.map(|subscription| subscription.id.clone());
            let observer = &self.purchases.account.observer;
            let told = page.data.into_iter().map(|subscription| {
                let said = observer.subscription(&subscription, at, Freshness::Live, News::Plain);
                (subscription, said)
            });
            let whole = self.adopt_page(walk, told.collect(), stop).await?;
            progress(&walk.report);
            if after.is_none() {
                walk.report.is_whole = whole;
                break;
            }
        }
        Ok(())
    }

    /// The plans that were given to prices; each must be one that can renew, and none may be of a price that is sold: what is
    /// on it is on that plan, whatever is given.
    pub(super) fn given_plans<'a>(
        &self,
        how: &'a How,
        offers: &[Offer],
    ) -> Result<HashMap<&'a str, Plan>, AdoptError> {
        let plans = self.purchases.catalogue.current();
        let once = |code: &str| {
            let mut known = offers.iter().filter(|offer| offer.plan.code == code);
            known.any(|offer| offer.recurring.is_none())
        };
        let given = how.plans.iter().map(|(price, code)| {
            let sold = offers.iter().find(|offer| offer.price_id == *price);
            let sold = sold.map(|offer| &offer.plan);
            if let Some(sold) = sold.or(plans.plan_at(price, None)) {
                return Err(AdoptError::SoldPrice {
                    price: price.clone(),
                    plan: code.clone(),
                    sold: sold.code.clone(),
                });
            }
            let plan = plans.plan(code).filter(|_| !once(code)).cloned();
            plan.map(|plan| (price.as_str(), plan))
                .ok_or_else(|| AdoptError::UnknownPlan {
                    price: price.clone(),
                    plan: code.clone(),
                })
        });
        given.collect()
    }

    /// Judges a page, and writes what is to be written; false if it was stopped on the way.
    async fn adopt_page(
        &self,
        walk: &mut Walk<'_>,
        mut told: Vec<Told>,
        stop: &CancellationToken,
    ) -> Result<bool, Error> {
        // By the id of the other system a row may be known already, whatever stands under our own key.
        for (subscription, said) in &mut told {
            if let (Some(id), Ok(said)) = (walk.how.id_of(subscription), said) {
                said.subject.external.push(id.to_owned());
            }
        }
        let mut asked = Question::default();
        for (_, said) in &told {
            if let Ok(said) = said {
                asked.about(&said.subject);
            }
        }
        let found = baskets::find(&self.pool, &asked).await?.baskets;
        for (subscription, said) in &told {
            if stop.is_cancelled() {
                return Ok(false);
            }
            let entry = self.adopt_one(walk, subscription, said, &found).await?;
            walk.report.tell(entry);
        }
        Ok(true)
    }

    async fn adopt_one(
        &self,
        walk: &mut Walk<'_>,
        subscription: &Subscription,
        said: &Result<Observation, Unknown>,
        found: &[Basket],
    ) -> Result<Entry, Error> {
        let by = &By::adoption();
        match self.judge(walk, subscription, said, found).await? {
            Judged::Left(entry) => Ok(entry),
            Judged::Unfinished(entry, _) if !walk.how.apply => {
                walk.planned.note_id(entry.external_id.as_ref());
                Ok(entry)
            }
            Judged::Unfinished(entry, basket) => {
                self.finish(entry, *basket, subscription, by).await
            }
            Judged::Wanted(entry, new) if !walk.how.apply => {
                walk.planned.note(&new);
                Ok(entry)
            }
            Judged::Wanted(entry, new) => self.write(entry, &new, by).await,
        }
    }

    /// Makes up for what its row lacks: the id of the other system, and what was to be read.
    async fn finish(
        &self,
        entry: Entry,
        basket: Basket,
        subscription: &Subscription,
        by: &By,
    ) -> Result<Entry, Error> {
        if let (Some(id), Some(line)) = (&entry.external_id, basket.recurring()) {
            match subscriptions::update_external_id(&self.pool, line.id, id).await {
                Ok(()) => {}
                Err(error) if error.constraint() == Some("subscriptions_external") => {
                    let bucket = Bucket::IdTaken;
                    return Ok(Entry { bucket, ..entry });
                }
                Err(error) => return failed(entry, error.into()),
            }
        }
        if !Purchases::is_unfinished(&basket, subscription) {
            return Ok(entry);
        }
        match self.purchases.finish_adoption(basket, by).await {
            Ok(finished) => Ok(entry.flagged(&finished.flags)),
            Err(error) => failed(entry, error),
        }
    }

    /// Makes it a row. Somebody else may have been faster since it was judged.
    async fn write(&self, entry: Entry, new: &Adoption, by: &By) -> Result<Entry, Error> {
        let adopted = match self.purchases.adopt_subscription(new, by).await {
            Ok(adopted) => adopted,
            Err(error) => return failed(entry, error),
        };
        let bucket = match adopted {
            Adopted::Done(finished) => {
                let line = finished.basket.recurring();
                let entry = Entry {
                    subscription_id: line.map(|line| line.id.to_string()),
                    ..entry
                };
                return Ok(entry.flagged(&finished.flags));
            }
            Adopted::Known => Bucket::AlreadyOurs,
            Adopted::IdTaken => Bucket::IdTaken,
            Adopted::OtherMember => Bucket::OtherMember,
            Adopted::Held => {
                if let Some(held) = self.find_holder(new, &entry).await? {
                    return Ok(held);
                }
                Bucket::HeldAlready
            }
        };
        Ok(Entry { bucket, ..entry })
    }
}

/// What is wrong with one is told, and keeps none of the others from being adopted; an outage would be wrong with all.
fn failed(entry: Entry, error: Error) -> Result<Entry, Error> {
    if error.is_outage() {
        return Err(error);
    }
    tracing::warn!(subscription = entry.stripe_subscription_id, %error, "a subscription could not be adopted");
    let bucket = Bucket::Failed;
    Ok(Entry { bucket, ..entry }.because(error.to_string()))
}
