//! The words in which the year is written: when, who, and what happens to them.

/// Days from the beginning to the midnight before now: a year, and long enough for the first ones to have renewed and for
/// Stripe to have forgotten the first of what followed.
pub(super) const DAYS: i64 = 410;

/// Pays now and at every renewal.
pub(super) const GOOD_CARD: &str = "4242424242424242";
/// Pays now, and is declined at every renewal.
pub(super) const FAILING_LATER: &str = "4000000000000341";
/// Is declined.
pub(super) const DECLINED: &str = "4000000000000002";
/// A debit that arrives after days.
pub(super) const GOOD_ACCOUNT: &str = "AT611904300234573201";
/// A debit that comes back after days.
pub(super) const BAD_ACCOUNT: &str = "AT861904300235473202";

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// So many minutes after the beginning.
    Minute(i64),
    /// So many minutes before now.
    Ago(i64),
}

impl At {
    /// Seconds since 1970, in a year that begins and ends at these.
    pub(super) fn moment(self, (begin, end): (i64, i64)) -> i64 {
        match self {
            Self::Minute(minutes) => begin + minutes * 60,
            Self::Ago(minutes) => end - minutes * 60,
        }
    }

    /// A few minutes later.
    pub(super) fn and(self, more: i64) -> Self {
        match self {
            Self::Minute(minutes) => Self::Minute(minutes + more),
            Self::Ago(minutes) => Self::Ago(minutes - more),
        }
    }
}

/// A day of one of the thirteen months of thirty days, and the twenty days after them; each at another hour.
pub(super) fn on(month: i64, day: i64) -> At {
    let days = month * 30 + day;
    At::Minute(days * 24 * 60 + 8 * 60 + days * 97 % (12 * 60))
}

/// What is bought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) plan: &'static str,
    pub(super) quantity: Option<u32>,
    /// In minor units, where the buyer chooses it.
    pub(super) amount: Option<u32>,
}

const fn one(plan: &'static str) -> Line {
    Line {
        plan,
        quantity: None,
        amount: None,
    }
}

pub(super) const ANNUAL: Line = one("membership-annual");
pub(super) const MONTHLY: Line = one("membership-monthly");
pub(super) const CREDITS_20: Line = one("credits-20");
pub(super) const CREDITS_50: Line = one("credits-50");

pub(super) fn shares(number: u32) -> Line {
    Line {
        quantity: Some(number),
        ..one("share")
    }
}

pub(super) fn donation(euros: u32) -> Line {
    Line {
        amount: Some(euros * 100),
        ..one("donation")
    }
}

/// What happens to somebody. What it is done to is the newest that she bought.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Buys(Vec<Line>, Pays),
    /// `period_end` or `now`.
    Cancels(&'static str),
    /// Takes the cancellation back.
    Keeps,
    ChangesTo(&'static str),
    /// Gives Stripe another card.
    TakesCard(&'static str),
    /// Pays the open invoice on Stripe's page.
    PaysInvoice,
    /// The same, and no webhook of it ever arrives.
    PaysInvoiceUnheard,
    /// Support pays back at Stripe: so many cents, or all of it.
    Refunded(Option<i64>),
    /// The bank claims the money back.
    Disputed,
    /// The bank has decided: `won` or `lost`.
    Decided(&'static str),
    /// The bank has decided for us, and whenever the service asks what, Stripe refuses to tell.
    WonButUnreadable,
    /// Support moves the subscription, at Stripe, to a price that no plan has.
    MovedToReducedPrice,
    /// Support ends the subscription at Stripe.
    EndedBySupport,
    /// Support makes a subscription at Stripe, by hand and without our ids.
    SoldBySupport,
}

/// How somebody pays.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pays {
    /// With the card, or from the account, of this number.
    With(&'static str),
    /// With a good card, in dollars.
    InDollars,
    /// Sees the page, and leaves.
    Leaves,
    /// The card is declined, and she leaves.
    IsDeclined,
    /// With a good card; her browser never comes back, and no webhook of it arrives.
    Unheard,
}

/// Somebody of the cooperative.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Her id is `member-` and this.
    pub(super) user: &'static str,
    pub(super) name: &'static str,
    /// Before the `@example.org`.
    pub(super) mail: &'static str,
    pub(super) scenes: Vec<(At, Act)>,
}

impl Member {
    pub(super) fn id(&self) -> String {
        format!("member-{}", self.user)
    }

    pub(super) fn email(&self) -> String {
        format!("{}@example.org", self.mail)
    }

    /// And then this.
    pub(super) fn then(mut self, at: At, act: Act) -> Self {
        self.scenes.push((at, act));
        self
    }

    /// And then she buys this, with a good card.
    pub(super) fn buys(self, at: At, lines: &[Line]) -> Self {
        self.pays(at, lines, Pays::With(GOOD_CARD))
    }

    /// And then she buys this, so.
    pub(super) fn pays(self, at: At, lines: &[Line], how: Pays) -> Self {
        self.then(at, Act::Buys(lines.to_vec(), how))
    }
}

pub(super) fn member(user: &'static str, name: &'static str, mail: &'static str) -> Member {
    Member {
        user,
        name,
        mail,
        scenes: Vec::new(),
    }
}
