//! What has a row already, and what that row lacks.

use super::Walk;
use super::judge::Judged;
use super::report::{Bucket, Entry};
use crate::domain::facts::Observation;
use crate::domain::subscription::{Basket, Mode, Subscription as Line};
use crate::purchases::Purchases;
use crate::stripe::objects::Subscription;
use crate::stripe::observe::Unknown;

/// Whether a row of ours has it, be it by its id or by what its metadata names.
pub(super) fn known(
    walk: &Walk<'_>,
    subscription: &Subscription,
    said: &Result<Observation, Unknown>,
    found: &[Basket],
) -> Option<Judged> {
    let entry = |bucket, basket: &Basket| Entry {
        subscription_id: basket.recurring().map(|line| line.id.to_string()),
        ..Entry::new(&subscription.id, bucket)
    };
    let has_it = |basket: &&Basket| {
        let line = basket.recurring();
        line.is_some_and(|line| line.stripe_subscription.as_ref() == Some(&subscription.id))
    };
    if let Some(own) = found.iter().find(has_it) {
        let mut entry = entry(Bucket::AlreadyOurs, own);
        match name(walk, subscription, own, found) {
            Named::AsAsked => {}
            Named::Otherwise(held) => entry = entry.because(format!("it stays known as {held}")),
            Named::Taken(id) => {
                entry.bucket = Bucket::IdTaken;
                entry.external_id = Some(id);
                return Some(Judged::Left(entry));
            }
            Named::NotYet(id) => entry.external_id = Some(id),
        }
        if entry.external_id.is_none() && !Purchases::is_unfinished(own, subscription) {
            return Some(Judged::Left(entry));
        }
        entry.bucket = Bucket::Unfinished;
        return Some(Judged::Unfinished(entry, Box::new(own.clone())));
    }
    let said = said.as_ref().ok()?;
    let named = found.iter().find(|basket| said.subject.points_at(basket))?;
    // One that was bought here a moment ago knows its subscription at Stripe only by metadata.
    let bucket = match said.subject.check(named) {
        Ok(()) => Bucket::AlreadyOurs,
        Err(_) => Bucket::IdTaken,
    };
    Some(Judged::Left(entry(bucket, named)))
}

/// How a row is known to the other system, beside what --id-from reads.
enum Named {
    /// As it is read, or nothing is.
    AsAsked,
    /// Not at all: this is to be its id.
    NotYet(String),
    /// Not at all, and another line is known by what is read.
    Taken(String),
    /// By this one, which stays: whoever was told of it keeps it.
    Otherwise(String),
}

fn name(walk: &Walk<'_>, subscription: &Subscription, own: &Basket, found: &[Basket]) -> Named {
    let line = own.recurring();
    let line = line.filter(|_| own.checkout.mode == Mode::Adopted);
    let (Some(line), Some(id)) = (line, walk.how.id_of(subscription)) else {
        return Named::AsAsked;
    };
    // Our own id is none of the other system's, though it may stand where that one's would.
    if id.parse() == Ok(line.id) {
        return Named::AsAsked;
    }
    match &line.external_id {
        Some(held) if held == id => return Named::AsAsked,
        Some(held) => return Named::Otherwise(held.clone()),
        None => {}
    }
    let is_it = |line: &Line| line.external_id.as_deref() == Some(id);
    let is_taken = found.iter().flat_map(|basket| &basket.lines).any(is_it);
    if is_taken || walk.planned.external_ids.contains(id) {
        return Named::Taken(id.to_owned());
    }
    Named::NotYet(id.to_owned())
}
