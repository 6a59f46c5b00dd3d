//! Sums by currency and kind. They are gross: what Stripe takes for its service is not the member's.

use std::collections::BTreeMap;

use super::{Entry, EntryType};
use crate::domain::plan::Kind;

/// What came and went of one kind in one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// What she paid.
    pub paid: i64,
    /// What she got back, as a positive number.
    pub refunded: i64,
    /// What banks took back, as a positive number.
    pub disputed: i64,
    /// Tax in what remains.
    pub tax: i64,
}

/// The sums of one kind in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// None for what is no purchase of ours, or not known which.
    pub kind: Option<Kind>,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The sums.
    pub sums: Sums,
}

impl Sums {
    /// What remains.
    pub fn net(self) -> i64 {
        self.paid - self.refunded - self.disputed
    }
}

/// The sums of all lines, by currency, then by kind with the unknown last.
pub(super) fn of(entries: &[Entry]) -> Vec<Total> {
    let mut sums: BTreeMap<(&str, bool, Option<Kind>), Sums> = BTreeMap::new();
    for entry in entries {
        for line in entry.lines.iter().filter(|line| line.amount != 0) {
            let kind = line.kind();
            let sums = sums
                .entry((&entry.currency, kind.is_none(), kind))
                .or_default();
            match entry.what {
                EntryType::Payment | EntryType::PaymentFailed => sums.paid += line.amount,
                EntryType::Refund => sums.refunded -= line.amount,
                EntryType::Dispute => sums.disputed -= line.amount,
            }
            sums.tax += line.tax;
        }
    }
    let total = |((currency, _, kind), sums): ((&str, bool, Option<Kind>), Sums)| Total {
        kind,
        currency: currency.to_owned(),
        sums,
    };
    // What was not assigned at first and then was has come to nothing.
    let moved = sums
        .into_iter()
        .filter(|(_, sums)| *sums != Sums::default());
    moved.map(total).collect()
}
