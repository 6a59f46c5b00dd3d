//! Events in plain sentences: what became of each, why, and what can be done about it.

use uuid::Uuid;

use super::Operators;
use crate::domain::facts::Contradiction;
use crate::domain::lifecycle::{
    PAID_AFTER_END, PART_DISPUTED, PART_OF_SEVERAL, QUANTITY_OUT_OF_RANGE,
};
use crate::domain::listing::WantedEvents;
use crate::purchases::{Error, HELD_ALREADY, NOT_ADOPTED, UNKNOWN_PRICE};
use crate::services::events::settle::{NO_SUCH_OBJECT, UNREADABLE};
use crate::storage::objects;
use crate::storage::webhook_events::{self, EventRow};
use crate::stripe::money::UNNAMED;
use crate::stripe::observe::Unknown;

/// An event with whose it is and what is to be said of it.
#[derive(Clone, Debug)]
pub struct DescribedEvent {
    /// As it was recorded.
    pub event: EventRow,
    /// Whose it is, where one of our rows has its object.
    pub user: Option<String>,
    /// Which line it is about, where one of our rows has its object.
    pub subscription: Option<Uuid>,
    /// What became of it, and why.
    pub means: &'static str,
    /// What can be done, where there is something.
    pub advice: Option<&'static str>,
}

impl Operators {
    /// Events, the newest arrivals first.
    pub async fn events(&self, wanted: &WantedEvents) -> Result<Vec<DescribedEvent>, Error> {
        let events = webhook_events::list(&self.pool, wanted).await?;
        self.described_events(events).await
    }

    /// One event.
    pub async fn described_event(&self, id: &str) -> Result<Option<DescribedEvent>, Error> {
        if id.contains('\0') {
            return Ok(None);
        }
        let event = webhook_events::find_by_id(&self.pool, id).await?;
        let described = self.described_events(event.into_iter().collect()).await?;
        Ok(described.into_iter().next())
    }

    async fn described_events(&self, events: Vec<EventRow>) -> Result<Vec<DescribedEvent>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut ids: Vec<String> = events.iter().map(|event| event.object_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let owned = objects::find_by_stripes(&self.pool, &ids).await?;
        let described = events.into_iter().map(|event| {
            let whose = owned.iter().find(|one| one.id == event.object_id);
            let cause = event.last_error.as_deref();
            let (means, advice) = said(&event.state, cause);
            DescribedEvent {
                user: whose.and_then(|one| one.user_id.clone()),
                subscription: whose.and_then(|one| one.subscription_id),
                means,
                advice,
                event,
            }
        });
        Ok(described.collect())
    }
}

/// What became of an event in that state, for that cause, and what can be done about it.
pub fn said(state: &str, cause: Option<&str>) -> (&'static str, Option<&'static str>) {
    match (state, cause) {
        ("applied", _) => ("What it told is in our rows.", None),
        ("ignored", Some(cause)) if cause.starts_with("dismissed") => {
            ("Somebody has looked at it and put it aside.", None)
        }
        ("ignored", _) => ("It told nothing that concerns us.", None),
        ("deferred", None) => (
            "It waits to be compared with Stripe, because its order could not be told.",
            Some("Nothing: that happens by itself, within seconds."),
        ),
        ("deferred", Some(cause)) => (of_trouble(cause), Some(WAIT)),
        ("failed", cause) => (of_trouble(cause.unwrap_or_default()), Some(REPLAY)),
        ("flagged", cause) => of_flag(cause.unwrap_or_default()),
        _ => ("A newer version of Dues has recorded it.", None),
    }
}

/// Of causes that nothing is said of in words: where the cause does not stand beside it, it must be told itself.
pub(super) const FAILED_OTHERWISE: &str =
    "It could not be applied, for the reason that stands as its cause.";
/// The same of what was refused.
pub(super) const FLAGGED_OTHERWISE: &str =
    "It was refused, for the reason that stands as its cause.";

const WAIT: &str =
    "Nothing yet: it is tried again by itself. If it lasts, see whether Stripe has trouble.";
const REPLAY: &str = "Replay it. If it fails again, whoever runs Dues finds the reason in its log.";
const DISMISS: &str = "Dismiss it when you have seen to it.";

/// Why an event could not be settled yet, by how its cause begins.
fn of_trouble(cause: &str) -> &'static str {
    const CAUSES: &[(&str, &str)] = &[
        (
            "Stripe can't be reached",
            "Stripe could not be reached when it was to be compared.",
        ),
        (
            "Stripe did not answer",
            "Stripe did not answer in time when it was to be compared.",
        ),
        (
            "Stripe answered",
            "Stripe had trouble of its own when it was to be compared.",
        ),
        (
            "too many calls to Stripe",
            "Too many questions to Stripe were waiting when it was to be compared.",
        ),
        (
            "Stripe refused",
            "Stripe refused to answer: perhaps the key lacks a permission.",
        ),
        (
            "Stripe's answer can't be read",
            "Stripe answered what this version of Dues can't read.",
        ),
        ("the database", "The database did not take it."),
        ("impossible row", "One of our rows is not as it can be."),
        (
            "the rows kept moving",
            "Our rows kept changing while it was to be written.",
        ),
        (
            "what was said could not be merged",
            "A fault of Dues kept it from being applied.",
        ),
        (
            "it could not be applied",
            "It was found in Stripe's list and could not be applied.",
        ),
        (
            "the plans",
            "The plans' prices could not be read at Stripe.",
        ),
    ];
    let found = CAUSES.iter().find(|(begins, _)| cause.starts_with(begins));
    match found {
        Some((_, means)) => means,
        None if cause == Unknown::SubscriptionStatus.as_str() => {
            "Stripe gives a status that this version of Dues does not know."
        }
        None if cause == Unknown::Period.as_str() => {
            "An invoice was paid, and it can't be read for which period."
        }
        None => FAILED_OTHERWISE,
    }
}

/// Why an event was refused, and what a person can do.
fn of_flag(cause: &str) -> (&'static str, Option<&'static str>) {
    let means_and_advice = match cause {
        PAID_AFTER_END => (
            "Money came for something that has ended.",
            "Refund the payment, or ask the member to buy anew.",
        ),
        QUANTITY_OUT_OF_RANGE => (
            "Stripe bills a quantity that can't be, such as zero; ours stays as it was.",
            "Set the quantity right at Stripe, or end the subscription there.",
        ),
        PART_OF_SEVERAL => (
            "A part of the price of several of a kind went back, and nobody can tell for how many.",
            "If fewer are held now, record that where the organisation keeps it. Then dismiss it.",
        ),
        PART_DISPUTED => (
            "A bank claims a part of a payment for several things, and does not say for which.",
            "See at Stripe what is disputed. Everything stays in force until you refund or cancel it.",
        ),
        UNNAMED => (
            "A part of a basket's price went back, and nobody said for what.",
            "If something of it should end, cancel that by itself. Then dismiss it.",
        ),
        UNKNOWN_PRICE => (
            "Stripe charges a price that no plan has; the plan stays as it was.",
            "Add a plan with that price to the plans file, or change the price back at Stripe. Then replay it.",
        ),
        HELD_ALREADY => (
            "Stripe charges the price of a plan that the member holds already; the plan stays as it was.",
            "End one of the two, or change the price back at Stripe. Then replay it.",
        ),
        NOT_ADOPTED => (
            "The payment is for a purchase of ours, but none of our rows takes it.",
            "Look at the payment at Stripe, and sync the subscription that it is for.",
        ),
        NO_SUCH_OBJECT => (
            "Stripe does not know any more what it is about, though it belongs to a purchase of ours.",
            DISMISS,
        ),
        UNREADABLE => (
            "Stripe's copy of the event can't be read.",
            "Sync the subscription that it is about, then dismiss it.",
        ),
        cause => match contradiction(cause) {
            Some(contradiction) => of_contradiction(contradiction),
            None => (FLAGGED_OTHERWISE, DISMISS),
        },
    };
    (means_and_advice.0, Some(means_and_advice.1))
}

const CONTRADICTIONS: [Contradiction; 7] = [
    Contradiction::SeveralCheckouts,
    Contradiction::OtherSession,
    Contradiction::OtherSubscription,
    Contradiction::OtherCustomer,
    Contradiction::OtherMode,
    Contradiction::OtherLines,
    Contradiction::NothingRecurring,
];

fn contradiction(cause: &str) -> Option<Contradiction> {
    let mut all = CONTRADICTIONS.into_iter();
    all.find(|contradiction| contradiction.as_str() == cause)
}

fn of_contradiction(contradiction: Contradiction) -> (&'static str, &'static str) {
    const ADVICE: &str = "Somebody has changed our ids at Stripe by hand, most likely: take them out of the object's \
                          metadata there. Then dismiss it.";
    let means = match contradiction {
        Contradiction::SeveralCheckouts => "It names things that were bought in several checkouts.",
        Contradiction::OtherSession => "It names a checkout that has another payment page.",
        Contradiction::OtherSubscription => {
            "It names a purchase that belongs to another subscription at Stripe."
        }
        Contradiction::OtherCustomer => {
            "It belongs to another customer than the purchase it names."
        }
        Contradiction::OtherMode => {
            "It is a payment once where the purchase renews, or the reverse."
        }
        Contradiction::OtherLines => "It names things that are not in its checkout.",
        Contradiction::NothingRecurring => "It renews, though nothing in its checkout does.",
    };
    (means, ADVICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_cause_has_a_meaning_and_an_advice_of_its_own() {
        let unknown = of_flag("");
        let flags = [
            PAID_AFTER_END,
            QUANTITY_OUT_OF_RANGE,
            PART_OF_SEVERAL,
            PART_DISPUTED,
            UNNAMED,
            UNKNOWN_PRICE,
            HELD_ALREADY,
            NOT_ADOPTED,
            NO_SUCH_OBJECT,
            UNREADABLE,
        ];
        let contradictions = CONTRADICTIONS.map(Contradiction::as_str);
        for cause in flags.into_iter().chain(contradictions) {
            let (means, advice) = said("flagged", Some(cause));
            assert_ne!(means, unknown.0, "{cause}");
            assert!(means.ends_with('.') && advice.is_some_and(|text| text.ends_with('.')));
        }
        for cause in [
            Unknown::SubscriptionStatus.as_str(),
            Unknown::Period.as_str(),
        ] {
            assert_ne!(said("failed", Some(cause)).0, of_trouble(""), "{cause}");
        }
        for error in [Error::Contended, Error::Panicked] {
            let cause = error.to_string();
            assert_ne!(said("failed", Some(&cause)).0, of_trouble(""), "{cause}");
        }
        for state in ["applied", "ignored", "deferred", "failed", "flagged"] {
            assert!(said(state, None).0.ends_with('.'), "{state}");
        }
    }
}
