//! What is worth a row of history between two states of a line.

use super::subscription::{Status, Subscription};

/// One change, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The status before.
    pub from: Status,
    /// The status from then on; the same where something else changed.
    pub to: Status,
    /// What happened: it need not be the row's reason.
    pub reason: &'static str,
    /// The plan before and from then on, where it changed.
    pub plan: Option<(String, String)>,
    /// How many before and from then on, where that changed.
    pub quantity: Option<(i32, i32)>,
}

/// The changes between two states of a line, in the order in which the history tells them.
pub fn changes(before: &Subscription, after: &Subscription) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.status != after.status {
        let withdrawn = (before.status, after.status) == (Status::Cancelled, Status::Active);
        changes.push(Change {
            from: before.status,
            to: after.status,
            reason: if withdrawn {
                "cancel_withdrawn"
            } else {
                after.reason.as_str()
            },
            plan: None,
            quantity: None,
        });
    }
    let beside = |reason| Change {
        from: after.status,
        to: after.status,
        reason,
        plan: None,
        quantity: None,
    };
    if before.plan != after.plan {
        changes.push(Change {
            plan: Some((before.plan.clone(), after.plan.clone())),
            ..beside("plan_changed")
        });
    }
    if before.quantity != after.quantity {
        changes.push(Change {
            quantity: Some((before.quantity, after.quantity)),
            ..beside("quantity_changed")
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::samples::line;
    use super::super::subscription::Reason;
    use super::*;

    #[test]
    fn each_kind_of_change_is_a_row_and_the_statuses_stay_a_chain() {
        let mut before = line(true);
        (before.status, before.reason) = (Status::Cancelled, Reason::CancelScheduled);
        assert_eq!(changes(&before, &before), []);
        let mut after = before.clone();
        (after.status, after.reason) = (Status::Active, Reason::Paid);
        (after.plan, after.quantity) = ("other".into(), 3);
        let all = changes(&before, &after);
        let told: Vec<_> = all
            .iter()
            .map(|change| (change.from, change.to, change.reason))
            .collect();
        let (cancelled, active) = (Status::Cancelled, Status::Active);
        assert_eq!(
            told,
            [
                (cancelled, active, "cancel_withdrawn"),
                (active, active, "plan_changed"),
                (active, active, "quantity_changed"),
            ]
        );
        assert_eq!(all[1].plan, Some(("plan".into(), "other".into())));
        assert_eq!(all[2].quantity, Some((1, 3)));
        assert!(all[0].plan.is_none() && all[0].quantity.is_none());
    }

    #[test]
    fn a_status_changes_for_the_reason_of_the_row_unless_a_cancellation_was_withdrawn() {
        let before = line(true);
        let mut after = before.clone();
        (after.status, after.reason) = (Status::Active, Reason::Trialing);
        assert_eq!(changes(&before, &after)[0].reason, "trialing");
        let (mut cancelled, mut ended) = (after.clone(), after);
        cancelled.status = Status::Cancelled;
        (ended.status, ended.reason) = (Status::Ended, Reason::Ended);
        assert_eq!(changes(&cancelled, &ended)[0].reason, "ended");
    }
}
