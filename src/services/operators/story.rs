//! The story of a purchase or of a member: what our rows and Stripe's objects tell, in one order, a sentence each.
//!
//! Our rows come first, then Stripe's lists, a few calls at once and never more than six; then both are
//! put together: what a row and an object tell alike is one entry. Nothing of Stripe's is kept.

mod differs;
mod money;
mod ours;
mod ownership;
mod reading;
mod rows;
mod sentences;
mod stripe;

use time::OffsetDateTime;

use self::ownership::Owned;
use self::reading::Read;
use self::rows::{Rows, Wanted};
use self::stripe::Teller;
use super::Operators;
use crate::domain::ids::{SubscriptionId, UserId};
use crate::purchases::Error;

/// The most entries of a story.
pub const MOST: usize = 100;

/// What has happened, newest first.
#[derive(Clone, Debug)]
pub struct Story {
    /// At most [`MOST`].
    pub entries: Vec<Entry>,
    /// Why Stripe's part is not all there; none where it is.
    pub missing: Option<String>,
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A change of status, plan or quantity.
    Change,
    /// Money, as our rows have it.
    Transaction,
    /// Something that Stripe told, and that is not at its end.
    Event,
    /// What an operator did.
    Action,
    /// What only Stripe has.
    Stripe,
    /// What is to be known of the story itself.
    Note,
}

impl EntryKind {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Transaction => "transaction",
            Self::Event => "event",
            Self::Action => "action",
            Self::Stripe => "stripe",
            Self::Note => "note",
        }
    }
}

/// An amount of money in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: String,
}

/// A sentence whose amounts are not written yet: [`Text::HOLE`] stands for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    words: String,
    amounts: Vec<Money>,
}

impl Text {
    /// The sign that stands for a currency where none is meant.
    pub const HOLE: char = '¤';

    /// A sentence with as many amounts as it has holes.
    fn new(words: impl Into<String>, amounts: impl IntoIterator<Item = Money>) -> Self {
        Self {
            words: words.into(),
            amounts: amounts.into_iter().collect(),
        }
    }

    /// The sentence, with its amounts written.
    pub fn written(&self, mut write: impl FnMut(&Money) -> String) -> String {
        let mut amounts = self.amounts.iter();
        let mut parts = self.words.split(Self::HOLE);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            if let Some(amount) = amounts.next() {
                text.push_str(&write(amount));
            }
            text.push_str(part);
        }
        text
    }
}

/// One thing that has happened, or that is so.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When: by our clock what we did, by Stripe's what happened there.
    pub at: OffsetDateTime,
    /// Of what.
    pub kind: EntryKind,
    /// What.
    pub text: Text,
    /// By which way it came about, or why.
    pub cause: Option<String>,
    /// `stripe`, `upkeep`, `browser`, `member`, or an operator's user id.
    pub actor: Option<String>,
    /// Of the operator.
    pub role: Option<String>,
    /// At Stripe, or of the event or the action.
    pub reference: Option<String>,
    /// The line; of several that were paid together the first.
    pub subscription: Option<SubscriptionId>,
    /// What Stripe says and what our rows say, where that is not the same.
    pub differs: Option<Text>,
    /// What can be done.
    pub advice: Option<String>,
    order: Order,
}

/// Where an entry stands: of what happened at the same time, causes before effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    at: OffsetDateTime,
    rank: Rank,
    seq: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Note,
    Ordered,
    Action,
    Opened,
    Billed,
    Failed,
    Paid,
    Refunded,
    Disputed,
    Event,
    Change,
    Now,
}

impl Entry {
    fn new(kind: EntryKind, rank: Rank, at: OffsetDateTime, text: Text) -> Self {
        Self {
            at,
            kind,
            text,
            cause: None,
            actor: None,
            role: None,
            reference: None,
            subscription: None,
            differs: None,
            advice: None,
            order: Order { at, rank, seq: 0 },
        }
    }

    /// Puts it after what brought it about. Stripe's times are cut off to whole seconds: only within one second does that
    /// say more than the times themselves.
    fn after(&mut self, cause: OffsetDateTime) {
        if self.order.at < cause && self.order.at.unix_timestamp() == cause.unix_timestamp() {
            self.order.at = cause;
        }
    }
}

impl Operators {
    /// The story of one subscription; none if there is no such. Stripe is asked unless only our rows are wanted.
    pub async fn story_of_subscription(
        &self,
        id: SubscriptionId,
        from_rows: bool,
    ) -> Result<Option<Story>, Error> {
        match Rows::of_subscription(self, id).await? {
            Some(rows) => self.tell(rows, from_rows).await.map(Some),
            None => Ok(None),
        }
    }

    /// The story of a member; none if nothing is known of her.
    pub async fn story_of_member(
        &self,
        user: &UserId,
        from_rows: bool,
    ) -> Result<Option<Story>, Error> {
        match Rows::of_member(self, user).await? {
            Some(rows) => self.tell(rows, from_rows).await.map(Some),
            None => Ok(None),
        }
    }

    async fn tell(&self, mut rows: Rows, from_rows: bool) -> Result<Story, Error> {
        let now = self.purchases.clock.now();
        if from_rows {
            let entries = rows.entries(now);
            return Ok(Story {
                entries: in_order(entries),
                missing: Some(sentences::NOT_ASKED.to_owned()),
            });
        }
        let read = match &rows.wanted {
            Wanted::Line(_) => Read::of_line(self, &rows).await,
            Wanted::Member => Read::of_member(self, &rows).await,
        };
        let owned = Owned::find(self, &mut rows, &read).await?;
        let mut entries = Teller::new(self, &mut rows, &read, &owned, now).entries();
        entries.extend(rows.entries(now));
        Ok(Story {
            entries: in_order(entries),
            missing: read.missing,
        })
    }
}

/// The newest, newest first; where older ones are left out, the last says so.
fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|one, other| (other.order, &other.reference).cmp(&(one.order, &one.reference)));
    if entries.len() > MOST {
        entries.truncate(MOST - 1);
        let oldest = entries.last().map(|entry| entry.at);
        entries.extend(oldest.map(|at| {
            Entry::new(
                EntryKind::Note,
                Rank::Note,
                at,
                sentences::older_ones_left_out(),
            )
        }));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_where_their_holes_are() {
        let euros = |amount| Money {
            amount,
            currency: "eur".into(),
        };
        let text = Text::new("¤ of ¤ went back.", [euros(1), euros(2)]);
        let written = text.written(|money| format!("{} {}", money.amount, money.currency));
        assert_eq!(written, "1 eur of 2 eur went back.");
        assert_eq!(
            Text::new("Nothing.", []).written(|_| String::new()),
            "Nothing."
        );
    }

    #[test]
    fn what_happened_in_one_second_stands_after_its_cause_and_the_rest_by_its_time() {
        let second = OffsetDateTime::UNIX_EPOCH;
        let half = second + time::Duration::milliseconds(500);
        let entry = |rank, at| Entry::new(EntryKind::Note, rank, at, Text::new("x", []));
        let ordered = entry(Rank::Ordered, half);
        let mut opened = entry(Rank::Opened, second);
        opened.after(half);
        let mut paid = entry(Rank::Paid, second);
        paid.after(half);
        let changed = entry(Rank::Change, half + time::Duration::MILLISECOND);
        let late = entry(Rank::Action, second + time::Duration::DAY);
        let told = in_order(vec![late, changed, ordered, paid, opened]);
        let ranks: Vec<Rank> = told.iter().map(|entry| entry.order.rank).collect();
        assert_eq!(
            ranks,
            [
                Rank::Action,
                Rank::Change,
                Rank::Paid,
                Rank::Opened,
                Rank::Ordered
            ]
        );
        let mut other = entry(Rank::Paid, second);
        other.after(second + time::Duration::DAY);
        assert_eq!(other.order.at, second);
    }

    #[test]
    fn of_more_than_a_hundred_the_newest_are_told_and_that_there_are_more() {
        let second = time::Duration::SECOND;
        let entries = (0..150).map(|n| {
            let at = OffsetDateTime::UNIX_EPOCH + second * n;
            Entry::new(EntryKind::Change, Rank::Change, at, Text::new("x", []))
        });
        let told = in_order(entries.collect());
        assert_eq!(told.len(), MOST);
        assert_eq!(told[0].at, OffsetDateTime::UNIX_EPOCH + second * 149);
        let last = told.last().expect("there are a hundred");
        assert_eq!(last.kind, EntryKind::Note);
        assert_eq!(last.at, told[MOST - 2].at);
    }
}
