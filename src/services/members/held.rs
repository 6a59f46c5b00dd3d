//! What a member holds already when she orders a plan of which she can hold one: an open page gives way, all else is
//! told to her, with what to do instead.

use super::Members;
use super::order::Chosen;
use super::subscribe::SubscribeError;
use crate::domain::actor::By;
use crate::domain::ids::UserId;
use crate::domain::subscription::{Basket, Reason, SessionStatus, Status, Subscription};
use crate::purchases::Repaired;
use crate::storage::{baskets, subscriptions};

/// What keeps a member from buying a single plan.
#[derive(Debug)]
pub struct Held {
    /// What she holds.
    pub line: Subscription,
    /// What to do instead of buying.
    pub advice: Advice,
}

/// What a member should do instead of buying what she holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing for now: money is on its way, or a dispute is under way.
    Wait,
    /// Withdraw the cancellation.
    Resume,
    /// Pay the open invoice.
    Pay,
    /// Change the plan of what she holds.
    ChangePlan,
    /// Look at it in Stripe's portal.
    Portal,
}

impl Advice {
    /// For the client's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Resume => "resume",
            Self::Pay => "pay",
            Self::ChangePlan => "change_plan",
            Self::Portal => "portal",
        }
    }

    pub(super) fn of(line: &Subscription, wants_other_plan: bool) -> Self {
        match (line.status, line.reason) {
            (Status::PendingActivation | Status::PendingCompletion | Status::Ended, _)
            | (Status::OnHold, Reason::FirstPaymentFailed | Reason::Disputed) => Self::Wait,
            (Status::Cancelled, _) => Self::Resume,
            (Status::OnHold, Reason::Unpaid | Reason::Overdue)
            | (Status::Active, Reason::PaymentRetrying) => Self::Pay,
            (Status::Active, _) if !line.recurring => Self::Wait,
            (Status::Active, _) if wants_other_plan => Self::ChangePlan,
            (Status::Active | Status::OnHold, _) => Self::Portal,
        }
    }
}

impl Members {
    /// Lets a member start again who left the page of a single plan without paying: her old checkout is expired at
    /// Stripe, so that she can't pay twice.
    pub(super) async fn make_room(
        &self,
        user: &UserId,
        chosen: &Chosen<'_>,
    ) -> Result<(), SubscribeError> {
        let plans = chosen.lines.iter().map(|line| &line.offer.plan);
        let codes: Vec<&str> = plans.clone().map(|plan| plan.code.as_str()).collect();
        let groups: Vec<&str> = plans
            .filter_map(|plan| plan.upgrade_group.as_deref())
            .collect();
        let holder = subscriptions::find_holder(&self.pool, user, &codes, &groups).await?;
        let Some((checkout, holder)) = holder else {
            return Ok(());
        };
        let Some(basket) = baskets::find_by_id(&self.pool, checkout).await? else {
            return Ok(());
        };
        let held = |basket: &Basket| {
            let line = basket.lines.iter().find(|line| line.id == holder).cloned();
            line.filter(|line| line.status != Status::Ended)
        };
        // Somebody else has made room meanwhile.
        let Some(line) = held(&basket) else {
            return Ok(());
        };
        let already_held = |line: Subscription| {
            let advice = Advice::of(&line, !codes.contains(&line.plan.as_str()));
            Err(SubscribeError::AlreadyHeld(Box::new(Held { line, advice })))
        };
        let by = By::member(user);
        let pending = basket
            .lines
            .iter()
            .all(|line| line.status == Status::PendingActivation);
        if !pending || basket.checkout.status != SessionStatus::Open {
            return already_held(line);
        }
        let basket = if basket.checkout.stripe_session.is_some() {
            basket
        } else {
            match self.purchases.repair(&basket, &by).await? {
                Repaired::Attached(basket) => basket,
                Repaired::Failed => return Ok(()),
                Repaired::TooEarly => return Err(SubscribeError::InProgress),
            }
        };
        let basket = self.purchases.expire(basket, &by).await?;
        held(&basket).map_or(Ok(()), already_held)
    }
}
