//! What an adoption finds: every subscription at Stripe lands in one bucket, so that the sums add up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// So many subscriptions of a bucket are told one by one, so that what is to be mended is not hidden by what is adopted; of
/// the others only the number.
const MOST_TOLD: u64 = 10_000;

/// Declares the buckets with their names and what they mean.
macro_rules! buckets {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $meaning:literal,)+) => {
        /// Where a subscription at Stripe lands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Bucket { $($(#[$doc])* $variant,)+ }

        impl Bucket {
            /// Every bucket, in the order in which they are printed.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What is in it, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

buckets! {
    /// It becomes a row, or has become one.
    Adopted = "adopted", "become ours",
    /// It became a row in a run that was cut off, or in one without --id-from; what was missing is made up for.
    Unfinished = "unfinished", "are ours and lack something (a run was cut off, or the id is new): completed",
    /// A row of ours names it.
    AlreadyOurs = "already_ours", "are ours already",
    /// It is over at Stripe.
    Ended = "ended", "have ended at Stripe: not written",
    /// Nobody has paid it yet, and soon it is either paid or over.
    Incomplete = "incomplete", "wait for their first payment: run this again in a day",
    /// Nothing says whose it is.
    NoUser = "no_user", "have no member under --user-from",
    /// It lacks the id that was asked for.
    NoId = "no_id", "have no id under --id-from",
    /// No plan has its price.
    NoPlan = "no_plan", "are on a price of no plan",
    /// It bills several things.
    SeveralItems = "several_items", "bill several items, or none: a line is one",
    /// It bills a quantity that a line can't have.
    NoQuantity = "no_quantity", "bill a quantity that a line can't have",
    /// The member holds a single plan, or one of its group, already.
    HeldAlready = "held_already", "are of a plan that the member holds already",
    /// Its customer is another member's.
    OtherMember = "other_member", "belong to a customer at Stripe who is another member's",
    /// Another line is known by its id.
    IdTaken = "id_taken", "have an id by which another subscription is known",
    /// Under our own metadata key stands what is no id of ours.
    KeyTaken = "key_taken", "have something else under stripe.metadata_key: name it with --id-from",
    /// A Dues whose rows are not here has adopted or sold it.
    Marked = "marked", "are marked as rows that are not here: another deployment's, or lost in a restore (--again)",
    /// It is of the other mode.
    WrongMode = "wrong_mode", "are of the other mode (test or live)",
    /// Stripe says what this version of Dues can't judge.
    Unreadable = "unreadable", "say what this version of Dues can't judge",
    /// It could not be written.
    Failed = "failed", "could not be written",
}

/// A subscription at Stripe, and what is to be said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// `sub_…`.
    pub stripe_subscription_id: String,
    /// Where it landed.
    pub bucket: Bucket,
    /// Whose it is, where that is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// On which plan it is, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// By which another system knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Our row, or the row that is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<String>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Entry {
    pub(super) fn new(stripe_subscription: &str, bucket: Bucket) -> Self {
        Self {
            stripe_subscription_id: stripe_subscription.to_owned(),
            bucket,
            user_id: None,
            plan: None,
            external_id: None,
            subscription_id: None,
            detail: None,
        }
    }

    pub(super) fn because(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The same with why a person should look, beside what was to be said already.
    pub(super) fn flagged(self, flags: &BTreeSet<&'static str>) -> Self {
        if flags.is_empty() {
            return self;
        }
        let said = self.detail.as_deref().into_iter();
        let all: Vec<&str> = said.chain(flags.iter().copied()).collect();
        let detail = all.join("; ");
        self.because(detail)
    }
}

/// A price that no plan has.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PriceOfNoPlan {
    /// How many subscriptions are on it.
    pub subscriptions: u64,
    /// The only plan that sells the same product for the same interval: perhaps the price followed this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perhaps: Option<String>,
}

/// What an adoption has found so far, and done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether anything was written.
    pub applied: bool,
    /// Subscriptions that were looked at: the sum of the buckets.
    pub listed: u64,
    /// How many are in each bucket.
    pub buckets: BTreeMap<&'static str, u64>,
    /// All but those that are ours or have ended and of which nothing is to be said, at most ten thousand
    /// of a bucket.
    pub subscriptions: Vec<Entry>,
    /// How many more there are of these.
    pub more: u64,
    /// How many of each bucket were told or left out.
    #[serde(skip)]
    to_tell: BTreeMap<Bucket, u64>,
    /// Prices of no plan, by `price_…`.
    pub prices: BTreeMap<String, PriceOfNoPlan>,
    /// Whether it has come to the end.
    pub is_whole: bool,
}

impl Report {
    pub(super) fn new(applied: bool) -> Self {
        let buckets = Bucket::ALL.iter().map(|bucket| (bucket.as_str(), 0));
        Self {
            applied,
            listed: 0,
            buckets: buckets.collect(),
            subscriptions: Vec::new(),
            more: 0,
            to_tell: BTreeMap::new(),
            prices: BTreeMap::new(),
            is_whole: false,
        }
    }

    /// How many are in a bucket.
    pub fn count(&self, bucket: Bucket) -> u64 {
        self.buckets.get(bucket.as_str()).copied().unwrap_or(0)
    }

    pub(super) fn tell(&mut self, entry: Entry) {
        self.listed += 1;
        *self.buckets.entry(entry.bucket.as_str()).or_default() += 1;
        let is_done = matches!(entry.bucket, Bucket::AlreadyOurs | Bucket::Ended);
        if is_done && entry.detail.is_none() {
            return;
        }
        let to_tell = self.to_tell.entry(entry.bucket).or_default();
        *to_tell += 1;
        if *to_tell <= MOST_TOLD {
            self.subscriptions.push(entry);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn tell_price(&mut self, price: &str, perhaps: Option<String>) {
        let told = self.prices.entry(price.to_owned()).or_default();
        told.subscriptions += 1;
        told.perhaps = perhaps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_one_bucket_hide_none_of_another() {
        let mut report = Report::new(false);
        for _ in 0..MOST_TOLD + 2 {
            report.tell(Entry::new("sub_1", Bucket::Adopted));
            report.tell(Entry::new("sub_2", Bucket::AlreadyOurs));
        }
        report.tell(Entry::new("sub_3", Bucket::KeyTaken));
        report.tell(Entry::new("sub_4", Bucket::AlreadyOurs).because("a remark"));
        let told = |bucket| {
            let entries = report.subscriptions.iter();
            entries.filter(|entry| entry.bucket == bucket).count()
        };
        let most = usize::try_from(MOST_TOLD).expect("a count");
        assert_eq!((told(Bucket::Adopted), report.more), (most, 2));
        assert_eq!((told(Bucket::KeyTaken), told(Bucket::AlreadyOurs)), (1, 1));
        assert_eq!(report.listed, 2 * (MOST_TOLD + 2) + 2);
    }
}
