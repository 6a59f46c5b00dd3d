//! What is wrong with a plans file by itself, before Stripe is asked.

use std::collections::{BTreeMap, HashSet};

use crate::domain::plan::{Kind, Plan, Quantity};

/// Stripe allows two years.
const MAX_TRIAL_DAYS: u32 = 730;

/// Something that is wrong with the file alone.
pub(super) struct FileProblem {
    /// The plan's place in the file; none where it is the file's as a whole.
    pub(super) plan: Option<usize>,
    pub(super) what: String,
}

impl FileProblem {
    pub(super) fn of_file(what: impl Into<String>) -> Self {
        Self {
            plan: None,
            what: what.into(),
        }
    }

    pub(super) fn sentence(&self, plans: &[Plan]) -> String {
        match self.plan.and_then(|index| plans.get(index)) {
            Some(plan) => format!("plan \"{}\": {}", plan.code, self.what),
            None => self.what.clone(),
        }
    }
}

/// What is wrong with the file alone.
pub(super) fn file_problems(plans: &[Plan]) -> Vec<FileProblem> {
    let mut problems = Vec::new();
    let mut codes = HashSet::new();
    for (index, plan) in plans.iter().enumerate() {
        let mut wrong = |what: &str| {
            problems.push(FileProblem {
                plan: Some(index),
                what: what.to_owned(),
            });
        };
        let is_code =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if plan.code.is_empty() || plan.code.len() > 100 || !plan.code.bytes().all(is_code) {
            wrong("code takes 1 to 100 of a-z, 0-9, \"-\", \"_\" and \".\"");
        }
        if !codes.insert(plan.code.as_str()) {
            wrong("code is used twice");
        }
        if plan.price.is_empty() || plan.price.len() > 200 {
            wrong("price is a lookup key or a price id of 1 to 200 characters");
        }
        let quantity = plan.quantity;
        if quantity.min < 1 || quantity.max < quantity.min || quantity.max > 999_999 {
            wrong("quantity needs 1 <= min <= max <= 999999");
        }
        if quantity.step < 1 || !quantity.allows(quantity.max) {
            wrong("quantity: max is not reached from min in whole steps");
        }
        if quantity.adjustable && quantity.step != 1 {
            wrong("quantity: Stripe's page knows no steps, so adjustable goes with step = 1 alone");
        }
        if quantity.adjustable && quantity.min == quantity.max {
            wrong("quantity: adjustable leaves nothing to choose, for min and max are equal");
        }
        if let Some(amount) = &plan.amount {
            if amount.min < 1 || amount.max < amount.min || amount.max > 99_999_999 {
                wrong("amount needs 1 <= min <= max <= 99999999, in minor units");
            }
            if !amount
                .presets
                .iter()
                .all(|preset| (amount.min..=amount.max).contains(preset))
            {
                wrong("amount: a preset lies outside min and max");
            }
            if quantity != Quantity::default() {
                wrong("amount is chosen by the buyer, so there is no quantity to choose");
            }
            if plan.promotion_codes {
                wrong("amount is chosen by the buyer, so no promotion code reduces it");
            }
        }
        if plan.kind == Kind::Membership && quantity.max != 1 && plan.is_single() {
            wrong(
                "a single membership can't be bought several times: set single = false or leave out quantity",
            );
        }
        if plan
            .trial_days
            .is_some_and(|days| !(1..=MAX_TRIAL_DAYS).contains(&days))
        {
            wrong("trial_days is 1 to 730");
        }
        if let Some(kind) = plan.requires
            && !plans
                .iter()
                .any(|other| other.kind == kind && other.code != plan.code)
        {
            wrong("requires a kind of which there is no other plan");
        }
        let texts = [
            ("upgrade_group", &plan.upgrade_group),
            ("account_code", &plan.account_code),
        ];
        for (key, text) in texts {
            if text
                .as_ref()
                .is_some_and(|text| text.trim().is_empty() || text.len() > 100)
            {
                wrong(&format!("{key} has 1 to 100 characters"));
            }
        }
    }
    for (group, members) in groups(plans) {
        let first = members[0];
        if members
            .iter()
            .any(|plan| plan.kind != first.kind || plan.is_single() != first.is_single())
        {
            problems.push(FileProblem::of_file(format!(
                "upgrade_group \"{group}\": its plans must be of one kind, and all single or none"
            )));
        }
    }
    if plans.is_empty() {
        problems.push(FileProblem::of_file("it has no [[plan]]"));
    }
    problems
}

/// The plans of each upgrade group.
fn groups(plans: &[Plan]) -> BTreeMap<&str, Vec<&Plan>> {
    let mut groups: BTreeMap<&str, Vec<&Plan>> = BTreeMap::new();
    for plan in plans {
        if let Some(group) = &plan.upgrade_group {
            groups.entry(group).or_default().push(plan);
        }
    }
    groups
}
