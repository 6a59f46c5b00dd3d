//! In which bucket a subscription at Stripe lands. Nothing is guessed: what does not tell is left to a person.

use std::collections::{HashMap, HashSet};

use super::known::known;
use super::report::{Bucket, Entry};
use super::{Operators, Walk};
use crate::catalogue::{Interval, Offer};
use crate::domain::facts::Observation;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::plan::Plan;
use crate::domain::subscription::{Basket, StripeStatus};
use crate::purchases::{Adoption, Error};
use crate::storage::{StorageError, checkouts, customers, subscriptions};
use crate::stripe::objects::{Expandable, ItemPrice, Subscription, id_of, time_of};
use crate::stripe::observe::Unknown;
use crate::stripe::requests::CHECKOUT_KEY;

/// What is to be done about a subscription.
pub(in crate::services::operators) enum Judged {
    /// Nothing.
    Left(Entry),
    /// Its row lacks something: a run was cut off after it was recorded, or none has asked for the other system's id, which
    /// then stands in the entry.
    Unfinished(Entry, Box<Basket>),
    /// It can be a row.
    Wanted(Entry, Box<Adoption>),
}

/// What keeps a subscription from being a row, by what it says itself.
struct Lack(Bucket, Option<String>);

impl Lack {
    fn of(bucket: Bucket) -> Self {
        Self(bucket, None)
    }

    fn because(bucket: Bucket, detail: &str) -> Self {
        Self(bucket, Some(detail.to_owned()))
    }
}

/// What would be taken if what can be rows had been written: where nothing is, nothing but this knows.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// Members with their single plans and groups.
    held: HashSet<(String, String)>,
    /// Whose customers are.
    members: HashMap<String, String>,
    /// With whom members buy in a currency.
    customers: HashMap<(String, String), String>,
    pub(super) external_ids: HashSet<String>,
}

/// What of a plan a member can have only once.
fn only_once(plan: &Plan) -> impl Iterator<Item = String> {
    let group = plan
        .upgrade_group
        .iter()
        .map(|group| format!("group {group}"));
    let plan_itself = std::iter::once(format!("plan {}", plan.code));
    plan_itself.chain(group).filter(|_| plan.is_single())
}

impl Planned {
    pub(super) fn note(&mut self, new: &Adoption) {
        let user = new.user.as_str().to_owned();
        let once = only_once(&new.plan).map(|what| (user.clone(), what));
        self.held.extend(once);
        let customer = &new.stripe_customer;
        self.members.insert(customer.clone(), user.clone());
        let held = self.customers.entry((user, new.currency.clone()));
        held.or_insert_with(|| customer.clone());
        self.note_id(new.external_id.as_ref());
    }

    /// A line is to be known by it.
    pub(super) fn note_id(&mut self, id: Option<&String>) {
        self.external_ids.extend(id.cloned());
    }

    fn holds(&self, user: &UserId, plan: &Plan) -> bool {
        let user = user.as_str();
        only_once(plan).any(|what| self.held.contains(&(user.to_owned(), what)))
    }
}

impl Operators {
    /// Judges one subscription; `found` are the rows that its page names.
    pub(in crate::services::operators) async fn judge(
        &self,
        walk: &mut Walk<'_>,
        subscription: &Subscription,
        said: &Result<Observation, Unknown>,
        found: &[Basket],
    ) -> Result<Judged, Error> {
        let entry = |bucket| Entry::new(&subscription.id, bucket);
        if let Some(judged) = known(walk, subscription, said, found) {
            return Ok(judged);
        }
        let livemode = self.purchases.account.livemode;
        if subscription.livemode.is_some_and(|live| live != livemode) {
            return Ok(Judged::Left(entry(Bucket::WrongMode)));
        }
        if let Err(unknown) = said {
            return Ok(Judged::Left(
                entry(Bucket::Unreadable).because(unknown.as_str()),
            ));
        }
        let new = match self.read(walk, subscription) {
            Ok(new) => new,
            Err(Lack(bucket, detail)) => {
                let entry = entry(bucket);
                return Ok(Judged::Left(Entry { detail, ..entry }));
            }
        };
        let entry = Entry {
            user_id: Some(new.user.as_str().to_owned()),
            plan: Some(new.plan.code.clone()),
            external_id: new.external_id.clone(),
            ..entry(Bucket::Adopted)
        };
        let entry = self.find_obstacle(walk, &new, entry).await?;
        Ok(match entry.bucket {
            Bucket::Adopted => Judged::Wanted(entry, Box::new(new)),
            _ => Judged::Left(entry),
        })
    }

    /// What the subscription itself says, or what it lacks.
    fn read(&self, walk: &mut Walk<'_>, subscription: &Subscription) -> Result<Adoption, Lack> {
        let status = subscription.status.as_deref().and_then(StripeStatus::parse);
        match status {
            Some(StripeStatus::Canceled | StripeStatus::IncompleteExpired) => {
                return Err(Lack::of(Bucket::Ended));
            }
            Some(StripeStatus::Incomplete) => return Err(Lack::of(Bucket::Incomplete)),
            Some(_) if subscription.ended_at.is_some() => return Err(Lack::of(Bucket::Ended)),
            Some(_) => {}
            None => return Err(Lack::because(Bucket::Unreadable, "it has no status")),
        }
        let mark = subscription.checkout_tag();
        if let Some(mark) = mark.filter(|_| !walk.how.again) {
            return Err(Lack::because(
                Bucket::Marked,
                &format!("{CHECKOUT_KEY} is {mark}"),
            ));
        }
        let (Some(_), Some(price)) = (subscription.item(), subscription.price_id()) else {
            return Err(Lack::of(Bucket::SeveralItems));
        };
        let user = walk.how.user_from.read(subscription);
        let user = user.ok_or(Lack::of(Bucket::NoUser))?;
        let customer = id_of(subscription.customer.as_ref());
        let customer = customer.ok_or(Lack::of(Bucket::NoUser))?;
        let external_id = walk.how.id_of(subscription).map(str::to_owned);
        if walk.how.id_from.is_some() && external_id.is_none() {
            return Err(Lack::of(Bucket::NoId));
        }
        let Some(plan) = self.plan_of(walk, subscription, price) else {
            let perhaps = perhaps(walk.offers, subscription);
            walk.report.tell_price(price, perhaps);
            return Err(Lack::because(Bucket::NoPlan, price));
        };
        let quantity = subscription.item_quantity().unwrap_or(1);
        let quantity = i32::try_from(quantity).ok().filter(|count| *count > 0);
        let quantity = quantity.ok_or(Lack::of(Bucket::NoQuantity))?;
        let mut lost = self.check_key(subscription, external_id.as_deref())?;
        lost.extend(mark.map(|_| CHECKOUT_KEY.to_owned()));
        let currency = subscription.currency.clone();
        let currency = currency.ok_or(Lack::because(Bucket::Unreadable, "it has no currency"))?;
        Ok(Adoption {
            stripe_subscription: subscription.id.clone(),
            stripe_customer: customer,
            stripe_price: price.to_owned(),
            quantity,
            currency,
            created_at: subscription.created.and_then(time_of),
            user: UserId::new(user),
            plan,
            external_id,
            lost,
        })
    }

    /// Only what the other system knows it by may stay under our own key; all else would contradict our row for ever, and so
    /// would several names: there each of them is one. What names a row that is lost is returned, to be taken out.
    fn check_key(
        &self,
        subscription: &Subscription,
        external_id: Option<&str>,
    ) -> Result<Vec<String>, Lack> {
        let key = &self.purchases.settings.stripe.metadata_key;
        let held = subscription.metadata.as_ref();
        let Some(held) = held.and_then(|held| held.get(key)) else {
            return Ok(Vec::new());
        };
        if external_id == Some(held.trim()) && !held.contains(',') {
            return Ok(Vec::new());
        }
        // By a mark of ours it is told from a text of others that looks like an id of ours.
        let mut names = held.split(',').map(str::trim);
        if subscription.checkout_tag().is_some() && names.all(SubscriptionId::is_one) {
            return Ok(vec![key.clone()]);
        }
        let detail = if held.contains(',') {
            format!("several names stand under {key}, separated by commas")
        } else {
            format!("{held} stands under {key}")
        };
        Err(Lack::because(Bucket::KeyTaken, &detail))
    }

    /// The plan that is sold at the subscription's price, also while it is off sale, or that was given to the price.
    fn plan_of(&self, walk: &Walk<'_>, subscription: &Subscription, price: &str) -> Option<Plan> {
        let renews = |offer: &&Offer| offer.recurring.is_some() && offer.price_id == price;
        let sold = walk
            .offers
            .iter()
            .find(renews)
            .map(|offer| offer.plan.clone());
        let key = price_of(subscription).and_then(|price| price.lookup_key.as_deref());
        let plans = self.purchases.catalogue.current();
        sold.or_else(|| plans.plan_at(price, key).cloned())
            .or_else(|| walk.plans.get(price).cloned())
    }

    /// What of ours stands in the way; else the entry as it was, perhaps with a remark.
    async fn find_obstacle(
        &self,
        walk: &Walk<'_>,
        new: &Adoption,
        entry: Entry,
    ) -> Result<Entry, StorageError> {
        let (user, customer) = (&new.user, &new.stripe_customer);
        let planned = &walk.planned;
        let owner = checkouts::find_member_of(&self.pool, customer).await?;
        let owner = owner.as_ref().map(UserId::as_str);
        let owner = owner.or(planned.members.get(customer).map(String::as_str));
        if owner.is_some_and(|owner| owner != user.as_str()) {
            let bucket = Bucket::OtherMember;
            return Ok(Entry { bucket, ..entry }.because(customer));
        }
        let is_planned = |id: &String| planned.external_ids.contains(id);
        if new.external_id.as_ref().is_some_and(is_planned) {
            let bucket = Bucket::IdTaken;
            return Ok(Entry { bucket, ..entry });
        }
        if let Some(entry) = self.find_holder(new, &entry).await? {
            return Ok(entry);
        }
        if planned.holds(user, &new.plan) {
            let bucket = Bucket::HeldAlready;
            return Ok(Entry { bucket, ..entry }.because("a newer one of hers is adopted"));
        }
        let held = customers::find_of_user(&self.pool, user).await?.into_iter();
        let held = { held }.find(|(currency, _)| *currency == new.currency);
        let place = (user.as_str().to_owned(), new.currency.clone());
        let held = held.map(|(_, held)| held);
        let held = held.or_else(|| planned.customers.get(&place).cloned());
        Ok(match held.filter(|held| held != customer) {
            Some(held) => entry.because(format!("{customer} keeps it, she buys here with {held}")),
            None => entry,
        })
    }

    /// The same entry with what the member holds already, if she does.
    pub(super) async fn find_holder(
        &self,
        new: &Adoption,
        entry: &Entry,
    ) -> Result<Option<Entry>, StorageError> {
        if !new.plan.is_single() {
            return Ok(None);
        }
        let groups: Vec<&str> = new.plan.upgrade_group.iter().map(String::as_str).collect();
        let plans = [new.plan.code.as_str()];
        let holder = subscriptions::find_holder(&self.pool, &new.user, &plans, &groups).await?;
        Ok(holder.map(|(_, id)| Entry {
            bucket: Bucket::HeldAlready,
            subscription_id: Some(id.to_string()),
            ..entry.clone()
        }))
    }
}

fn price_of(subscription: &Subscription) -> Option<&ItemPrice> {
    let price = subscription.item()?.price.as_ref();
    price.and_then(Expandable::object)
}

/// The only plan that sells the same product for the same interval: a price that lost its lookup key to a newer one is
/// probably this plan's. Probably is not surely, so that a person says so.
fn perhaps(offers: &[Offer], subscription: &Subscription) -> Option<String> {
    let price = price_of(subscription)?;
    let (product, recurring) = (price.product.as_ref()?.id(), price.recurring.as_ref()?);
    let interval = Interval {
        unit: recurring.interval.clone(),
        count: recurring.interval_count,
    };
    let same =
        |offer: &&Offer| offer.product_id == product && offer.recurring.as_ref() == Some(&interval);
    let mut same = offers.iter().filter(same);
    let first = same.next().filter(|_| same.next().is_none())?;
    Some(first.plan.code.clone())
}
