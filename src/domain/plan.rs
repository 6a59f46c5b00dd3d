//! The catalogue entry that a member buys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use time::{Date, Duration, Month, OffsetDateTime};
use uuid::Uuid;

/// What a purchase is to the organisation; it decides the books, never the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The right to be a member for a period.
    Membership,
    /// Prepaid credits.
    TopUp,
    /// Equity of the organisation.
    Share,
    /// A gift.
    Donation,
}

impl Kind {
    /// Every kind, in the order in which pages and documents list them.
    pub const ALL: [Self; 4] = [Self::Membership, Self::TopUp, Self::Share, Self::Donation];

    /// The kind's name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Membership => "membership",
            Self::TopUp => "top_up",
            Self::Share => "share",
            Self::Donation => "donation",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How long a one-off purchase lasts, in whole days, months or years of the calendar (ISO 8601: `P30D`, `P6M`, `P1Y`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// That many days.
    Days(u16),
    /// That many months; the day is cut to the month's last.
    Months(u16),
    /// That many years; 29 February becomes 28 February.
    Years(u16),
}

/// A term that is not `P<n>D`, `P<n>M` or `P<n>Y` with n from 1 to 999.
#[derive(Debug)]
pub struct InvalidTerm;

impl fmt::Display for InvalidTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a term is P<n>D, P<n>M or P<n>Y with n from 1 to 999, as in P1Y")
    }
}

impl std::error::Error for InvalidTerm {}

impl Term {
    /// The moment at which a term that starts at `start` is over.
    pub fn end(self, start: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Days(days) => start.saturating_add(Duration::days(days.into())),
            Self::Months(months) => add_months(start, months.into()),
            Self::Years(years) => add_months(start, i32::from(years) * 12),
        }
    }
}

fn add_months(start: OffsetDateTime, months: i32) -> OffsetDateTime {
    let index = start.year() * 12 + i32::from(u8::from(start.month())) - 1 + months;
    let year = index.div_euclid(12);
    // 0 to 11, so that the cast and the month are always in range.
    #[expect(clippy::cast_possible_truncation)]
    let month = Month::January.nth_next(index.rem_euclid(12) as u8);
    let day = start.day().min(month.length(year));
    Date::from_calendar_date(year, month, day).map_or(start, |date| start.replace_date(date))
}

impl FromStr for Term {
    type Err = InvalidTerm;

    fn from_str(text: &str) -> Result<Self, InvalidTerm> {
        let rest = text.strip_prefix('P').ok_or(InvalidTerm)?;
        let (unit, digits) = rest.as_bytes().split_last().ok_or(InvalidTerm)?;
        let count = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|count| (1..=999).contains(count))
            .ok_or(InvalidTerm)?;
        match unit {
            b'D' => Ok(Self::Days(count)),
            b'M' => Ok(Self::Months(count)),
            b'Y' => Ok(Self::Years(count)),
            _ => Err(InvalidTerm),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(count) => write!(f, "P{count}D"),
            Self::Months(count) => write!(f, "P{count}M"),
            Self::Years(count) => write!(f, "P{count}Y"),
        }
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The bounds of an amount that the buyer chooses, in the currency's minor units.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountBounds {
    /// The least.
    pub min: i64,
    /// The most.
    pub max: i64,
    /// What a page may suggest; each within the bounds.
    #[serde(default)]
    pub presets: Vec<i64>,
}

/// How many of a plan one line may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quantity {
    /// The least; also what a line orders that doesn't say how many.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Only every so manieth from the least on.
    pub step: u32,
    /// Whether the buyer may still change it on Stripe's page.
    pub adjustable: bool,
}

impl Default for Quantity {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            step: 1,
            adjustable: false,
        }
    }
}

impl Quantity {
    /// Whether a line may order so many.
    pub fn allows(self, quantity: u32) -> bool {
        (self.min..=self.max).contains(&quantity)
            && (quantity - self.min).is_multiple_of(self.step.max(1))
    }

    /// The bounds, for the developer whose order broke them.
    pub fn in_words(self) -> String {
        let Self { min, max, step, .. } = self;
        if step == 1 {
            format!("From {min} to {max} for this plan.")
        } else {
            format!("From {min} to {max} in steps of {step} for this plan.")
        }
    }
}

/// Whether a price contains its tax, as Stripe names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaxBehavior {
    /// It does.
    Inclusive,
    /// The tax comes on top.
    Exclusive,
}

impl TaxBehavior {
    /// Stripe's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inclusive => "inclusive",
            Self::Exclusive => "exclusive",
        }
    }
}

/// One entry of the plans file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The name by which clients ask for it; never reused for something else.
    pub code: String,
    /// What it is.
    pub kind: Kind,
    /// A lookup key, or an id, of the price at Stripe.
    pub price: String,
    /// What members read; else the product's name at Stripe.
    pub name: Option<String>,
    /// A sentence for members; else the product's description at Stripe.
    pub description: Option<String>,
    /// Whether a user may hold only one that has not ended; by default true for memberships alone.
    pub single: Option<bool>,
    /// How many one line may order; one by default.
    #[serde(default)]
    pub quantity: Quantity,
    /// Lets the buyer choose the amount; the price at Stripe then gives product and currency alone.
    pub amount: Option<AmountBounds>,
    /// How long a one-off purchase lasts; without it, for ever.
    pub term: Option<Term>,
    /// Days before the first payment of one that renews, for who never had it before.
    pub trial_days: Option<u32>,
    /// The kind of which the buyer must hold something, or buy it in the same basket.
    pub requires: Option<Kind>,
    /// Whether Stripe's page takes promotion codes for it.
    #[serde(default)]
    pub promotion_codes: bool,
    /// Whether its amounts contain their tax; without it, as the price at Stripe says.
    pub tax_behavior: Option<TaxBehavior>,
    /// Plans of one group replace each other: a member changes between them, and holds one at most if they are single.
    pub upgrade_group: Option<String>,
    /// The account in the organisation's books.
    pub account_code: Option<String>,
    /// The payment plan that stands for it in a Mosaic Billing Service; one without is not told there.
    pub mosaic_payment_plan: Option<Uuid>,
    /// Left out of the public list; whoever knows the code can buy it.
    #[serde(default)]
    pub hidden: bool,
    /// Whether the member may end it at once rather than with its period.
    #[serde(default)]
    pub cancel_now: bool,
}

impl Plan {
    /// Whether a user may hold only one of this plan that has not ended.
    pub fn is_single(&self) -> bool {
        self.single.unwrap_or(self.kind == Kind::Membership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_term_ends_on_the_calendar_not_after_a_number_of_days() {
        let leap_day = datetime!(2028-02-29 12:00 UTC);
        assert_eq!(
            Term::Years(1).end(leap_day),
            datetime!(2029-02-28 12:00 UTC)
        );
        assert_eq!(
            Term::Months(1).end(datetime!(2026-01-31 0:00 UTC)),
            datetime!(2026-02-28 0:00 UTC)
        );
        assert_eq!(
            Term::Months(11).end(datetime!(2026-12-15 8:30 UTC)),
            datetime!(2027-11-15 8:30 UTC)
        );
        assert_eq!(
            Term::Days(30).end(datetime!(2026-12-15 0:00 UTC)),
            datetime!(2027-01-14 0:00 UTC)
        );
    }

    #[test]
    fn a_plan_is_single_if_it_says_so_and_otherwise_if_it_is_a_membership() {
        let plan = |kind: &str, more: &str| -> Plan {
            let text = format!("code = \"p\"\nkind = \"{kind}\"\nprice = \"p\"\n{more}");
            toml::from_str(&text).expect("a plan")
        };
        assert!(plan("membership", "").is_single());
        assert!(!plan("share", "").is_single());
        assert!(!plan("membership", "single = false").is_single());
        assert!(plan("top_up", "single = true").is_single());
        assert_eq!(plan("share", "").quantity, Quantity::default());
    }

    #[test]
    fn a_quantity_lies_between_its_bounds_and_on_its_steps() {
        let quantity = Quantity {
            min: 2,
            max: 9,
            step: 3,
            adjustable: false,
        };
        let allowed: Vec<u32> = (0..12).filter(|&count| quantity.allows(count)).collect();
        assert_eq!(allowed, [2, 5, 8]);
    }

    #[test]
    fn a_term_is_read_and_written_alike_and_nonsense_is_refused() {
        for text in ["P1Y", "P6M", "P30D", "P999D"] {
            assert_eq!(
                text.parse::<Term>()
                    .map(|term| term.to_string())
                    .ok()
                    .as_deref(),
                Some(text)
            );
        }
        for text in [
            "", "P", "PY", "P0Y", "P-1Y", "P+1Y", "P1000D", "1Y", "P1W", "P1Y6M", "Pé",
        ] {
            assert!(text.parse::<Term>().is_err(), "{text} was accepted");
        }
    }
}
