//! What of a payment went back, line by line: pure arithmetic on whole minor units, in which nothing is lost.

use super::{Line, LineType};

/// Cuts an amount in proportion to weights; the parts sum to the amount exactly. Without weights all goes to the first.
fn share_out(amount: i64, weights: &[i64]) -> Vec<i64> {
    let whole: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if whole == 0 {
        let first = (0..weights.len()).map(|at| if at == 0 { amount } else { 0 });
        return first.collect();
    }
    let (mut weighed, mut given) = (0_i128, 0_i64);
    let part = |weight: &i64| {
        weighed += i128::from(*weight);
        let upto =
            i64::try_from((i128::from(amount) * weighed).div_euclid(whole)).unwrap_or(amount);
        let part = upto - given;
        given = upto;
        part
    };
    weights.iter().map(part).collect()
}

/// So much of `whole` as `amount` is of `of`.
fn portion(whole: i64, amount: i64, of: i64) -> i64 {
    if of == 0 {
        return 0;
    }
    let exact = i128::from(whole) * i128::from(amount);
    i64::try_from(exact.div_euclid(i128::from(of))).unwrap_or(whole)
}

/// Makes lines sum to what was really paid. What they say more or less than `due` becomes a line of its own; of a
/// payment that is a part of what was due, each line has its part.
pub(super) fn fit(mut lines: Vec<Line>, due: Option<i64>, paid: i64) -> Vec<Line> {
    let whole = due.filter(|due| *due > paid).unwrap_or(paid);
    let rest = whole - lines.iter().map(|line| line.amount).sum::<i64>();
    if rest != 0 || lines.is_empty() {
        lines.push(balance(rest));
    }
    if whole != paid {
        let weights: Vec<i64> = lines.iter().map(|line| line.amount).collect();
        for (line, part) in lines.iter_mut().zip(share_out(paid, &weights)) {
            line.tax = portion(line.tax, part, line.amount);
            line.amount = part;
        }
    }
    lines
}

fn balance(amount: i64) -> Line {
    Line {
        what: LineType::Balance,
        bought: None,
        description: Some("Balance".to_owned()),
        quantity: None,
        amount,
        tax: 0,
    }
}

fn unassigned(amount: i64) -> Line {
    Line {
        what: LineType::Unassigned,
        bought: None,
        description: Some("Not assigned".to_owned()),
        quantity: None,
        amount,
        tax: 0,
    }
}

/// The same lines without money, for what failed or came to nothing.
pub(super) fn emptied(lines: &[Line]) -> Vec<Line> {
    let empty = |line: &Line| Line {
        amount: 0,
        tax: 0,
        ..line.clone()
    };
    let items = lines.iter().filter(|line| line.what != LineType::Balance);
    let empty: Vec<Line> = items.map(empty).collect();
    if empty.is_empty() {
        vec![unassigned(0)]
    } else {
        empty
    }
}

/// An amount in another currency than the payment's: of its only item, or of no line.
pub(super) fn foreign(lines: &[Line], amount: i64) -> Vec<Line> {
    let only = only_item(lines).map(|at| Line {
        quantity: None,
        amount: -amount,
        tax: 0,
        ..lines[at].clone()
    });
    vec![only.unwrap_or_else(|| unassigned(-amount))]
}

/// The line, if only one was sold.
fn only_item(lines: &[Line]) -> Option<usize> {
    let mut items = (0..lines.len()).filter(|at| lines[*at].what != LineType::Balance);
    items.next().filter(|_| items.next().is_none())
}

/// The lines of a payment, and what of each has gone back so far.
#[derive(Clone, Debug)]
pub(super) struct Ledger<'a> {
    lines: &'a [Line],
    back: Vec<i64>,
    unassigned: i64,
}

impl<'a> Ledger<'a> {
    /// Nothing has gone back.
    pub(super) fn new(lines: &'a [Line]) -> Self {
        Self {
            lines,
            back: vec![0; lines.len()],
            unassigned: 0,
        }
    }

    fn rest(&self, at: usize) -> i64 {
        self.lines[at].amount - self.back[at]
    }

    /// Takes an amount back: the lines of the refund, whose amounts are negative. `named` are the lines that it is for,
    /// if anybody has said so, each with its weight; without a weight, what is left of the line is.
    ///
    /// The refund after which nothing is left empties every line, and what no line had before is then assigned.
    pub(super) fn take(&mut self, amount: i64, named: &[(usize, Option<i64>)]) -> Vec<Line> {
        let left = (0..self.lines.len()).map(|at| self.rest(at)).sum::<i64>() - self.unassigned;
        let mut parts = vec![0; self.lines.len()];
        let mut unassigned_now = 0;
        let only = only_item(self.lines);
        if amount == left {
            for (at, part) in parts.iter_mut().enumerate() {
                *part = self.rest(at);
            }
            unassigned_now = -self.unassigned;
        } else {
            let named = match only {
                Some(at) if named.is_empty() => vec![(at, None)],
                _ => named.to_vec(),
            };
            let weight = |&(at, weight): &(usize, Option<i64>)| {
                weight.unwrap_or_else(|| self.rest(at)).max(0)
            };
            let weights: Vec<i64> = named.iter().map(weight).collect();
            let room: i64 = named.iter().map(|(at, _)| self.rest(*at).max(0)).sum();
            let assigned = if named.is_empty() {
                0
            } else {
                amount.min(room)
            };
            for ((at, _), part) in named.iter().zip(share_out(assigned, &weights)) {
                parts[*at] += part;
            }
            unassigned_now += amount - assigned;
        }
        self.book(&parts, unassigned_now)
    }

    fn book(&mut self, parts: &[i64], unassigned_now: i64) -> Vec<Line> {
        let mut booked = Vec::with_capacity(1);
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| **part != 0) {
            let line = &self.lines[at];
            let tax = |back| portion(line.tax, back, line.amount);
            let before = tax(self.back[at]);
            self.back[at] += part;
            booked.push(Line {
                amount: -part,
                tax: before - tax(self.back[at]),
                quantity: line.quantity.filter(|_| *part == line.amount),
                ..line.clone()
            });
        }
        self.unassigned += unassigned_now;
        if unassigned_now != 0 || booked.is_empty() {
            booked.push(unassigned(-unassigned_now));
        }
        booked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(amount: i64, tax: i64) -> Line {
        Line {
            what: LineType::Item,
            bought: None,
            description: None,
            quantity: Some(1),
            amount,
            tax,
        }
    }

    fn amounts(lines: &[Line]) -> Vec<(LineType, i64, i64)> {
        lines
            .iter()
            .map(|line| (line.what, line.amount, line.tax))
            .collect()
    }

    fn sum(lines: &[Line]) -> i64 {
        lines.iter().map(|line| line.amount).sum()
    }

    #[test]
    fn credit_that_was_used_up_is_a_line_and_a_part_of_a_payment_has_a_part_of_each() {
        use LineType::{Balance, Item};
        let lines = vec![item(3000, 500), item(1000, 0)];
        assert_eq!(
            amounts(&fit(lines.clone(), Some(4000), 4000)),
            amounts(&lines)
        );
        let with_credit = fit(lines.clone(), Some(3500), 3500);
        assert_eq!(
            amounts(&with_credit),
            [(Item, 3000, 500), (Item, 1000, 0), (Balance, -500, 0)]
        );
        let half = fit(lines, Some(4000), 2000);
        assert_eq!(amounts(&half), [(Item, 1500, 250), (Item, 500, 0)]);
        assert_eq!(amounts(&fit(Vec::new(), None, 700)), [(Balance, 700, 0)]);
    }

    #[test]
    fn a_refund_of_all_empties_every_line() {
        let lines = [item(2500, 0), item(1200, 200)];
        let back = Ledger::new(&lines).take(3700, &[]);
        assert_eq!(
            amounts(&back),
            [(LineType::Item, -2500, 0), (LineType::Item, -1200, -200)]
        );
        assert_eq!(back[1].quantity, Some(1));
    }

    #[test]
    fn what_nobody_assigned_is_assigned_by_the_refund_that_gives_back_the_rest() {
        use LineType::{Item, Unassigned};
        let lines = [item(2500, 0), item(1200, 200)];
        let mut ledger = Ledger::new(&lines);
        assert_eq!(amounts(&ledger.take(500, &[])), [(Unassigned, -500, 0)]);
        assert_eq!(
            amounts(&ledger.take(600, &[(1, None)])),
            [(Item, -600, -100)]
        );
        let rest = ledger.take(2600, &[]);
        assert_eq!(
            amounts(&rest),
            [(Item, -2500, 0), (Item, -600, -100), (Unassigned, 500, 0)]
        );
    }

    #[test]
    fn a_part_goes_to_the_line_that_is_named_or_the_only_one_and_what_it_has_no_room_for_to_none() {
        use LineType::{Item, Unassigned};
        let lines = [item(2500, 0), item(1200, 200)];
        let named = Ledger::new(&lines).take(1500, &[(1, None)]);
        assert_eq!(
            amounts(&named),
            [(Item, -1200, -200), (Unassigned, -300, 0)]
        );
        let weighed = Ledger::new(&lines).take(1000, &[(0, Some(300)), (1, Some(700))]);
        assert_eq!(amounts(&weighed), [(Item, -300, 0), (Item, -700, -116)]);
        let only = [item(1000, 160)];
        let mut ledger = Ledger::new(&only);
        let taxes: Vec<i64> = [333, 333, 334]
            .map(|amount| ledger.take(amount, &[])[0].tax)
            .to_vec();
        assert_eq!(taxes.iter().sum::<i64>(), -160, "{taxes:?}");
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(amount in -1_000_000_000_i64..1_000_000_000, weights in prop::collection::vec(-9_999_i64..1_000_000, 1..12)) {
            prop_assert_eq!(share_out(amount, &weights).iter().sum::<i64>(), amount);
        }

        #[test]
        fn lines_sum_to_what_was_paid(
            lines in prop::collection::vec((-50_000_i64..500_000, 0_i64..50_000), 0..12),
            due in prop::option::of(0_i64..2_000_000),
            paid in 0_i64..2_000_000,
        ) {
            let lines = lines.into_iter().map(|(amount, tax)| item(amount, tax)).collect();
            prop_assert_eq!(sum(&fit(lines, due, paid)), paid);
        }

        #[test]
        fn refunds_sum_to_themselves_and_when_all_is_back_every_line_is(
            lines in prop::collection::vec((1_i64..500_000, 0_i64..200), 1..8),
            credit in 0_i64..500,
            cuts in prop::collection::vec((1_i64..100_000, prop::collection::vec((0_usize..8, prop::option::of(0_i64..1000)), 0..3)), 0..6),
        ) {
            let lines: Vec<Line> = lines.into_iter().map(|(amount, tax)| item(amount, tax.min(amount))).collect();
            let paid = (sum(&lines) - credit).max(1);
            let lines = fit(lines, None, paid);
            let mut ledger = Ledger::new(&lines);
            let (mut left, mut all) = (paid, Vec::new());
            for (amount, named) in cuts {
                let amount = amount.min(left);
                if amount == 0 { break; }
                let named: Vec<_> = named.into_iter().filter(|(at, _)| *at < lines.len()).collect();
                let back = ledger.take(amount, &named);
                prop_assert_eq!(sum(&back), -amount);
                left -= amount;
                all.extend(back);
            }
            if left > 0 {
                let back = ledger.take(left, &[]);
                prop_assert_eq!(sum(&back), -left);
                all.extend(back);
            }
            prop_assert_eq!(sum(&all), -paid);
            let tax = |lines: &[Line]| lines.iter().map(|line| line.tax).sum::<i64>();
            prop_assert_eq!(tax(&all), -tax(&lines));
            let open: i64 = all.iter().filter(|line| line.what == LineType::Unassigned).map(|line| line.amount).sum();
            prop_assert_eq!(open, 0);
        }
    }
}
