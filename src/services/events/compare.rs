//! Drift: our rows are held against what Stripe alone says, all of it: status, plan, price, quantity, paid time, dates,
//! refunds, disputes, failed debits.
//!
//! Stripe's account-wide lists are read page by page, a hundred objects a call, and each page is judged by what it says.
//! Only what looks different there is read object by object, and only that is told, or mended. What no list has shown is
//! read at the end.

mod judge;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::judge::{Direction, Drift};

use super::Events;
use crate::domain::facts::{Observation, Subject};
use crate::domain::ids::CheckoutId;
use crate::domain::subscription::Basket;
use crate::purchases::Error;
use crate::storage::baskets::{self, Question};
use crate::storage::{StorageError, checkouts, cursors, differing, today, transactions};
use crate::stripe::objects::{List, id_of};
use crate::stripe::observe::{News, Unknown};

/// Rows that are fetched at once.
const BATCH: i64 = 100;
/// So far back goes a comparison that isn't told otherwise: a dispute may come so late.
const BACK: Duration = Duration::days(120);
/// So many differences, and so many errors, are told one by one; of the others only the number.
const MOST_TOLD: usize = 10_000;

/// How to compare.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Whether to write what Stripe says.
    pub apply: bool,
    /// How far back refunds, disputes, sessions and what has ended are looked at; none: 120 days.
    pub since: Option<OffsetDateTime>,
}

/// What a comparison has done so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Checkouts that were held against Stripe.
    pub checkouts: u64,
    /// What was found, at most ten thousand.
    pub drift: Vec<Drift>,
    /// What was found beyond that.
    pub more_drift: usize,
    /// What could not be compared, and why.
    pub errors: Vec<String>,
    /// Whether it has come to the end.
    pub is_whole: bool,
}

impl Compared {
    fn tell(&mut self, drift: Vec<Drift>) {
        for one in drift {
            if self.drift.len() < MOST_TOLD {
                self.drift.push(one);
            } else {
                self.more_drift += 1;
            }
        }
    }

    fn fail(&mut self, what: &str, error: &Error) {
        if self.errors.len() < MOST_TOLD {
            self.errors.push(format!("{what}: {error}"));
        }
    }

    /// How many differences were found.
    pub fn differences(&self) -> usize {
        self.drift.len() + self.more_drift
    }
}

/// Which of Stripe's lists is being read; one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Subscriptions,
    Sessions,
    Refunds,
    Disputes,
    /// Payments of ours of which something is on its way.
    Pending,
    /// Checkouts of ours that none of the lists has shown.
    Rest,
}

impl Part {
    fn next(self) -> Option<Self> {
        match self {
            Self::Subscriptions => Some(Self::Sessions),
            Self::Sessions => Some(Self::Refunds),
            Self::Refunds => Some(Self::Disputes),
            Self::Disputes => Some(Self::Pending),
            Self::Pending => Some(Self::Rest),
            Self::Rest => None,
        }
    }
}

/// Where a comparison has come to: stored after every page, so that the next one goes on there.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    /// Microseconds since 1970, as the database keeps them: it tells one comparison from the next.
    began: i128,
    /// Unix seconds.
    since: i64,
    /// What was asked for: another wish begins at the beginning.
    #[serde(default)]
    asked: (bool, Option<i64>),
    part: Part,
    /// The last object of that part that is done.
    after: Option<String>,
}

impl How {
    fn asked(self) -> (bool, Option<i64>) {
        (self.apply, self.since.map(OffsetDateTime::unix_timestamp))
    }
}

impl Place {
    fn beginning(now: OffsetDateTime, how: How) -> Self {
        let since = how.since.unwrap_or_else(|| now.saturating_sub(BACK));
        Self {
            began: now.unix_timestamp_nanos() / 1_000,
            since: since.unix_timestamp(),
            asked: how.asked(),
            part: Part::Subscriptions,
            after: None,
        }
    }

    fn began(&self) -> OffsetDateTime {
        let began = OffsetDateTime::from_unix_timestamp_nanos(self.began.saturating_mul(1_000));
        began.unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    fn since(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.since).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Goes on after that object, or with the next part; false at the end of all.
    fn go_on(&mut self, last: Option<String>) -> bool {
        if last.is_some() {
            self.after = last;
            return true;
        }
        self.after = None;
        match self.part.next() {
            Some(part) => {
                self.part = part;
                true
            }
            None => false,
        }
    }
}

/// The id of the last object of a page, where another page follows.
fn last_of<T>(page: &List<T>, id: impl Fn(&T) -> &str) -> Option<String> {
    let last = page.data.last().filter(|_| page.has_more)?;
    Some(id(last).to_owned())
}

impl Events {
    /// Compares everything with Stripe, and with `apply` writes what Stripe says. It can be stopped; the next comparison
    /// goes on where this one ended.
    pub async fn compare(
        &self,
        how: How,
        stop: &CancellationToken,
        mut progress: impl FnMut(&Compared),
    ) -> Result<Compared, Error> {
        const CURSOR: &str = "compare";
        let mut compared = Compared::default();
        let stored = cursors::find(&self.pool, CURSOR).await?;
        let stored = stored.and_then(|text| serde_json::from_str(&text).ok());
        let stored = stored.filter(|place: &Place| place.asked == how.asked());
        let mut place = stored.unwrap_or_else(|| Place::beginning(self.clock.now(), how));
        while !stop.is_cancelled() {
            let known = compared.drift.len();
            let goes_on = self
                .compare_page(&mut place, how.apply, &mut compared)
                .await?;
            self.keep_differing(&place, &compared, known).await?;
            progress(&compared);
            if !goes_on {
                compared.is_whole = true;
                self.keep_found(place.began()).await?;
                cursors::delete(&self.pool, CURSOR).await?;
                break;
            }
            let position = serde_json::to_string(&place).unwrap_or_default();
            cursors::update(&self.pool, CURSOR, &position, self.clock.now()).await?;
        }
        Ok(compared)
    }

    /// Compares the next page in the background, where no replica has within `every`; none when one has, and when the
    /// last comparison began less than a day ago and is over.
    pub(in crate::services) async fn compare_next(
        &self,
        apply: bool,
        every: Duration,
    ) -> Result<Option<Compared>, Error> {
        const CURSOR: &str = "compare in the background";
        let now = self.clock.now();
        let turn = cursors::take_turn(&self.pool, CURSOR, now, now - every).await?;
        let Some(stored) = turn else {
            return Ok(None);
        };
        let how = How { apply, since: None };
        let place: Option<Place> = serde_json::from_str(&stored).ok();
        let mut place = place.unwrap_or_else(|| Place::beginning(now, how));
        if place.began() > now {
            return Ok(None);
        }
        let mut compared = Compared::default();
        let goes_on = self.compare_page(&mut place, apply, &mut compared).await?;
        self.keep_differing(&place, &compared, 0).await?;
        if !goes_on {
            compared.is_whole = true;
            self.keep_found(place.began()).await?;
            place = Place::beginning(now.max(place.began() + Duration::DAY), how);
        }
        let position = serde_json::to_string(&place).unwrap_or_default();
        // Another replica that took the same page meanwhile, because it took long, has gone on from there.
        cursors::go_on(&self.pool, CURSOR, &stored, &position).await?;
        Ok(Some(compared))
    }

    /// Keeps which subscriptions a page has found, beyond the first `known` that were told, and not mended.
    async fn keep_differing(
        &self,
        place: &Place,
        compared: &Compared,
        known: usize,
    ) -> Result<(), Error> {
        let new = compared.drift.iter().skip(known);
        let found: Vec<(Uuid, &str)> = { new.filter(|drift| !drift.mended) }
            .filter_map(|drift| {
                let direction = drift.direction.in_the_list()?;
                Some((drift.subscription_id.parse().ok()?, direction))
            })
            .collect();
        if !found.is_empty() {
            differing::upsert(&self.pool, &found, place.began(), self.clock.now()).await?;
        }
        Ok(())
    }

    /// Keeps what a comparison has found that came to its end.
    async fn keep_found(&self, began: OffsetDateTime) -> Result<(), Error> {
        differing::delete_older(&self.pool, began).await?;
        today::update_compared(&self.pool, self.clock.now()).await?;
        Ok(())
    }

    /// Compares what the next page says; false when there is none.
    async fn compare_page(
        &self,
        place: &mut Place,
        apply: bool,
        compared: &mut Compared,
    ) -> Result<bool, Error> {
        let client = &self.account.client;
        let (after, since) = (place.after.clone(), place.since());
        let after = after.as_deref();
        let last = match place.part {
            Part::Subscriptions => {
                let page = client.list_all_subscriptions(after).await?;
                let told = page.body.data.iter().map(|subscription| {
                    let observer = &self.account.observer;
                    let said = observer.subscription(subscription, page.at, LIVE, News::Plain);
                    (Subject::stripe_subscription(&subscription.id), said)
                });
                let told: Vec<_> = told.collect();
                self.compare_told(&told, judge::by_subscription, place, apply, compared)
                    .await?;
                last_of(&page.body, |subscription| &subscription.id)
            }
            Part::Sessions => {
                let page = client.list_all_sessions(since, after).await?;
                let told = page.body.data.iter().map(|session| {
                    let said = self
                        .account
                        .observer
                        .session(session, page.at, LIVE, News::Plain);
                    (Subject::session(&session.id), said)
                });
                let told: Vec<_> = told.collect();
                self.compare_told(&told, judge::by_session, place, apply, compared)
                    .await?;
                last_of(&page.body, |session| &session.id)
            }
            Part::Refunds => {
                let page = client.list_all_refunds(since, after).await?.body;
                let refunds = page.data.iter();
                let intents = refunds.filter_map(|refund| id_of(refund.payment_intent.as_ref()));
                let intents: Vec<String> = intents.collect();
                self.compare_payments(&intents, apply, compared).await?;
                last_of(&page, |refund| &refund.id)
            }
            Part::Disputes => {
                let page = client.list_all_disputes(since, after).await?.body;
                let disputes = page.data.iter();
                let intents = disputes.filter_map(|dispute| id_of(dispute.payment_intent.as_ref()));
                let intents: Vec<String> = intents.collect();
                self.compare_payments(&intents, apply, compared).await?;
                last_of(&page, |dispute| &dispute.id)
            }
            Part::Pending => {
                let after = after.unwrap_or_default();
                let pending = transactions::find_pending_payments(&self.pool, after, BATCH).await?;
                self.compare_payments(&pending, apply, compared).await?;
                pending.last().cloned()
            }
            Part::Rest => {
                let after = after.and_then(|id| id.parse().ok());
                let rest =
                    checkouts::find_uncompared(&self.pool, after, place.began(), since, BATCH);
                let (rest, last) = rest.await?;
                for id in &rest {
                    self.compare_one(*id, apply, compared).await;
                }
                compared.checkouts +=
                    checkouts::update_compared(&self.pool, &rest, place.began()).await?;
                last.as_ref().map(CheckoutId::to_string)
            }
        };
        Ok(place.go_on(last))
    }

    /// Holds what a page says against our rows; what looks different is read object by object.
    async fn compare_told(
        &self,
        told: &[(Subject, Result<Observation, Unknown>)],
        forget: fn(&mut Basket),
        place: &Place,
        apply: bool,
        compared: &mut Compared,
    ) -> Result<(), Error> {
        let mut baskets = self
            .find_all(told.iter().map(|(subject, _)| subject))
            .await?;
        if place.part == Part::Sessions {
            // Once it is paid, the session of what renews is history.
            let is_history = |basket: &Basket| {
                let recurring = basket.recurring();
                recurring.is_some_and(|line| line.first_paid_at.is_some())
            };
            baskets.retain(|basket| !is_history(basket));
        }
        let mut done = Vec::with_capacity(baskets.len());
        for basket in baskets {
            let id = basket.checkout.id;
            let said = told.iter().find(|(subject, _)| subject.points_at(&basket));
            let agrees = match said {
                Some((_, Ok(said))) => self.agrees(&basket, said, forget),
                Some((_, Err(_))) | None => false,
            };
            if !agrees {
                self.compare_one(id, apply, compared).await;
            }
            done.push(id);
        }
        compared.checkouts += checkouts::update_compared(&self.pool, &done, place.began()).await?;
        Ok(())
    }

    /// Every checkout that the subjects name.
    async fn find_all(
        &self,
        subjects: impl Iterator<Item = &Subject>,
    ) -> Result<Vec<Basket>, StorageError> {
        let mut asked = Question::default();
        for subject in subjects {
            asked.about(subject);
        }
        Ok(baskets::find(&self.pool, &asked).await?.baskets)
    }

    /// Compares one checkout. One that can't be read must not hide the drift of the others.
    async fn compare_one(&self, id: CheckoutId, apply: bool, compared: &mut Compared) {
        match self.compare_checkout(id, apply.into()).await {
            Ok(drift) => compared.tell(drift),
            Err(error) => compared.fail(&format!("checkout {id}"), &error),
        }
    }

    /// Compares what came of payments, of those that are ours.
    async fn compare_payments(
        &self,
        intents: &[String],
        apply: bool,
        compared: &mut Compared,
    ) -> Result<(), Error> {
        let subjects: Vec<Subject> = intents.iter().map(|id| Subject::payment(id)).collect();
        let baskets = self.find_all(subjects.iter()).await?;
        for basket in baskets {
            for id in intents {
                let subject = Subject::payment(id);
                if !basket
                    .lines
                    .iter()
                    .any(|line| subject.concerns(&basket, line))
                {
                    continue;
                }
                match self.compare_payment(&basket, id, apply.into()).await {
                    Ok(drift) => compared.tell(drift),
                    Err(error) => compared.fail(&format!("payment {id}"), &error),
                }
            }
        }
        Ok(())
    }
}

/// What was read now.
const LIVE: crate::domain::facts::Freshness = crate::domain::facts::Freshness::Live;
