//! What operators do to what one member holds, or to one event. Each act is written down before its effect and its outcome
//! after it; whatever it was cut off at, it is never repeated: `outcome` finds out what came of it.

mod adoption;
mod cancel;
mod events;
mod outcome;
mod refund;
mod settle;
mod sync;

pub use self::adoption::{AdoptionAsked, AdoptionPreview};
pub use self::refund::{LinePart, PaymentPreview, RefundAsked, RefundLine, RefundPreview};
pub use self::settle::SettlePreview;

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Operators;
use crate::domain::actor::{By, Staff};
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::invalid::Invalid;
use crate::purchases::cancel::CancelAt;
use crate::purchases::line::{Line, Obstacle, WishError};
use crate::purchases::{Error, Trouble};
use crate::services::events::compare::Drift;
use crate::storage::StorageError;
use crate::storage::actions::{self, ActionRow, BeginError, NewAction, Outcome};
use crate::stripe::StripeError;

/// An act that has not reached Stripe by then will not, and whoever cut it off is gone.
const REACHES_STRIPE_WITHIN: Duration = Duration::from_mins(1);

/// Longest reference to a ticket, minute or voucher.
const REFERENCE: usize = 40;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Our rows take over what Stripe says.
    Sync,
    /// Money goes back.
    Refund,
    /// It will not renew, or ends.
    Cancel,
    /// It renews again.
    Resume,
    /// An invoice was paid elsewhere.
    Settle,
    /// A subscription at Stripe becomes a row of ours.
    Adopt,
    /// An event is applied again.
    Replay,
    /// An event needs nobody any more.
    Dismiss,
    /// A name was looked at.
    Reveal,
}

impl Verb {
    /// The text in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Refund => "refund",
            Self::Cancel => "cancel",
            Self::Resume => "resume",
            Self::Settle => "settle",
            Self::Adopt => "adopt",
            Self::Replay => "replay",
            Self::Dismiss => "dismiss",
            Self::Reveal => "reveal",
        }
    }
}

/// Who asks for an act, why, and by which key a repeat is known.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The client's idempotency key: the action's id.
    pub key: Uuid,
    /// Who.
    pub staff: Staff,
    /// Of the request, as in the log.
    pub request_id: Option<String>,
    /// A code of `console.reasons`.
    pub reason: String,
    /// A ticket, minute or voucher.
    pub reference: Option<String>,
    /// All that was asked, in one text: tells a repeat from another request.
    pub request: String,
    /// The version of the row that the page has shown.
    pub version: Option<i64>,
}

/// What an operator sees before she does it, or after.
#[derive(Clone, Debug)]
pub enum Preview {
    /// What differs, line by line.
    Sync(Vec<Drift>),
    /// What goes back, and what of it already did.
    Refund(Box<RefundPreview>),
    /// It ends: with the period that was paid, until when, where that is known; or at once.
    Ends(CancelAt, Option<OffsetDateTime>),
    /// It renews again, and when.
    Renews(Option<OffsetDateTime>),
    /// The invoice that counts as paid.
    Settle(SettlePreview),
    /// What would become a row.
    Adopt(Box<AdoptionPreview>),
}

/// What came of an act.
#[derive(Clone, Debug)]
pub struct Acted {
    /// As it is written down.
    pub action: ActionRow,
    /// The line that it concerns, where there is one.
    pub line: Option<SubscriptionId>,
}

impl Acted {
    fn of(action: ActionRow, line: SubscriptionId) -> Self {
        Self {
            action,
            line: Some(line),
        }
    }
}

/// Why an act was not begun, or came to nothing before it touched anything.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum ActError {
    #[error("there is nothing of that id")]
    NotFound,
    #[error("the request is invalid")]
    Invalid(Vec<Invalid>),
    #[error("nobody acts on her own rows")]
    OwnRows,
    #[error("the key was used for another act")]
    KeyReused,
    #[error("another act on the same money is under way")]
    InProgress,
    #[error("the row has moved since the page was read")]
    RowMoved,
    #[error("what was refunded has moved since the preview")]
    AlreadyRefundedMoved,
    #[error("there is nothing to refund")]
    NothingToRefund,
    #[error("there is nothing to settle")]
    NothingToSettle,
    #[error("it is held already")]
    HeldAlready,
    #[error("no plan has that price")]
    PriceOfNoPlan,
    #[error("the customer is another member's")]
    OtherCustomer,
    #[error("the event needs nobody")]
    EventSettled,
    #[error("the subscription does not allow it: {0:?}")]
    Obstacle(Obstacle),
    #[error(transparent)]
    Failed(#[from] Error),
}

impl ActError {
    /// What is wrong with one field of the wish.
    fn invalid(field: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Invalid::new(field, code, detail)])
    }
}

impl From<StorageError> for ActError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StripeError> for ActError {
    fn from(error: StripeError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Obstacle> for ActError {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

/// How the effect of an act ended.
pub(super) struct Ended {
    state: &'static str,
    outcome: String,
    found: Option<i32>,
}

impl Ended {
    fn done(outcome: &str) -> Self {
        Self {
            state: "done",
            outcome: outcome.to_owned(),
            found: None,
        }
    }

    fn refused(outcome: impl Into<String>) -> Self {
        Self {
            state: "refused",
            outcome: outcome.into(),
            found: None,
        }
    }

    fn unknown(outcome: &str) -> Self {
        Self {
            state: "unknown",
            outcome: outcome.to_owned(),
            found: None,
        }
    }

    fn counting(self, found: usize) -> Self {
        Self {
            found: i32::try_from(found).ok(),
            ..self
        }
    }

    /// By what kept it from being done. None where our own database is at fault: then it stays begun, and is settled later.
    fn by(error: &Error) -> Option<Self> {
        Some(match error {
            Error::Stripe(StripeError::Crowded { .. }) => Self::refused("stripe_busy"),
            Error::Stripe(StripeError::Refused { code, .. }) => Self::refused(as_code(code)),
            Error::Stripe(StripeError::PaymentFailed { .. }) => Self::refused("payment_failed"),
            error => match error.trouble() {
                Trouble::StripeTimedOut => Self::unknown("stripe_timed_out"),
                Trouble::StripeAway => Self::unknown("stripe_unavailable"),
                Trouble::StripeRefused | Trouble::CurrencyLocked => Self::refused("stripe_refused"),
                Trouble::DatabaseAway | Trouble::Busy | Trouble::Fault => return None,
            },
        })
    }
}

/// Stripe's code as one of ours: small letters, digits and underscores.
fn as_code(code: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = (1..=60).contains(&code.len())
        && code.bytes().all(is_plain)
        && code.starts_with(|first: char| first.is_ascii_lowercase());
    if fits { code } else { "stripe_refused" }.to_owned()
}

/// What an act is about.
struct About<'a> {
    verb: Verb,
    subject: &'a str,
    user: Option<&'a UserId>,
    /// The payment or the invoice, where money is moved.
    target: Option<&'a str>,
    /// Of how many effects at Stripe it consists.
    wanted: usize,
    parent: Option<Uuid>,
}

impl<'a> About<'a> {
    fn new(verb: Verb, subject: &'a str, user: Option<&'a UserId>) -> Self {
        Self {
            verb,
            subject,
            user,
            target: None,
            wanted: 1,
            parent: None,
        }
    }
}

/// When an act was begun, by two clocks: one stands still while a machine sleeps, the other may be set.
#[derive(Clone, Copy)]
pub(super) struct Began(Instant, OffsetDateTime);

impl Operators {
    fn begins(&self) -> Began {
        Began(Instant::now(), self.purchases.clock.now())
    }

    /// Whether whoever looks after acts that were cut off may have given this one up.
    fn is_too_late(&self, began: Began) -> bool {
        let Began(instant, at) = began;
        instant.elapsed() > REACHES_STRIPE_WITHIN
            || self.purchases.clock.now() - at > REACHES_STRIPE_WITHIN
    }

    /// What is wrong with why somebody acts: the reason is one of the settings' codes, and nothing that she writes can hold a
    /// name.
    pub fn what_is_wrong_with(
        &self,
        reason: Option<&str>,
        reference: Option<&str>,
    ) -> Vec<Invalid> {
        let known = &self.purchases.settings.console.reasons;
        let mut wrong = Vec::new();
        match reason {
            None => wrong.push(Invalid::new("reason", "missing", "Say why: a code.")),
            Some(given) if known.iter().any(|code| code == given) => {}
            Some(_) => {
                let detail = format!("One of: {}.", known.join(", "));
                wrong.push(Invalid::new("reason", "reason_unknown", detail));
            }
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./_-".contains(&byte);
        let fits =
            |given: &str| (1..=REFERENCE).contains(&given.len()) && given.bytes().all(is_plain);
        if reference.is_some_and(|given| !fits(given)) {
            let detail = "The number of a ticket, minute or voucher: 1 to 40 letters, digits and ./_- alone. No names.";
            wrong.push(Invalid::new("reference", "reference_invalid", detail));
        }
        wrong
    }

    /// A line to act upon, if she who asks may.
    async fn line_for(&self, id: SubscriptionId, ask: &Ask) -> Result<Line, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        may_act_on(&ask.staff, &line.basket.checkout.user)?;
        if ask
            .version
            .is_some_and(|version| version != line.row.version)
        {
            return Err(ActError::RowMoved);
        }
        Ok(line)
    }

    /// With a key that is not in the database: amounts are few enough to be guessed from a bare hash.
    fn hash(&self, ask: &Ask) -> Vec<u8> {
        let secret = self.purchases.settings.stripe.secret_key.expose();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let text = format!("{} {}", ask.key, ask.request);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    }

    fn is_of(&self, action: &ActionRow, ask: &Ask) -> bool {
        action.actor == ask.staff.user.as_str() && action.request_hash == self.hash(ask)
    }

    /// What was done before under the same key; an act that is repeated is not done again.
    async fn repeated(&self, ask: &Ask) -> Result<Option<ActionRow>, ActError> {
        match actions::find(&self.pool, ask.key).await? {
            None => Ok(None),
            Some(held) if self.is_of(&held, ask) => Ok(Some(held)),
            Some(_) => Err(ActError::KeyReused),
        }
    }

    /// Writes down that an act begins. Somebody may have been faster with the same key: then here is what became of it.
    async fn begin(&self, ask: &Ask, about: &About<'_>) -> Result<Option<ActionRow>, ActError> {
        let begun = self.begin_as(ask.key, ask, about).await;
        match begun {
            Ok(()) => Ok(None),
            Err(BeginError::Known) => self.repeated(ask).await,
            Err(BeginError::Busy) => Err(ActError::InProgress),
            Err(BeginError::Storage(error)) => Err(error.into()),
        }
    }

    async fn begin_as(&self, id: Uuid, ask: &Ask, about: &About<'_>) -> Result<(), BeginError> {
        let new = NewAction {
            id,
            at: self.purchases.clock.now(),
            actor: ask.staff.user.as_str(),
            role: ask.staff.role.as_str(),
            request_id: ask.request_id.as_deref(),
            request_hash: &self.hash(ask),
            verb: about.verb.as_str(),
            subject: about.subject,
            user_id: about.user.map(UserId::as_str),
            target: about.target,
            wanted: i32::try_from(about.wanted).unwrap_or(1),
            reason: Some(&ask.reason),
            reference: ask.reference.as_deref(),
            parent: about.parent,
        };
        actions::begin(&self.pool, &new).await?;
        tracing::info!(action_id = %id, verb = about.verb.as_str(), role = ask.staff.role.as_str(), "an operator acts");
        Ok(())
    }

    /// Writes down what came of an act, and reads it as it stands.
    async fn note_end(&self, id: Uuid, ended: &Ended) -> Result<ActionRow, ActError> {
        let outcome = Outcome {
            state: ended.state,
            outcome: &ended.outcome,
            found: ended.found,
        };
        let now = self.purchases.clock.now();
        actions::finish(&self.pool, id, outcome, now).await?;
        tracing::info!(action_id = %id, state = ended.state, outcome = ended.outcome, "an operator's act has ended");
        let row = actions::find(&self.pool, id).await?;
        row.ok_or(ActError::NotFound)
    }

    /// Writes down how an act ended that may have failed; what is our own database's fault is left to be settled later.
    async fn conclude(
        &self,
        id: Uuid,
        result: Result<Ended, ActError>,
    ) -> Result<ActionRow, ActError> {
        let ended = match result {
            Ok(ended) => ended,
            Err(ActError::Failed(error)) => match Ended::by(&error) {
                Some(ended) => {
                    tracing::warn!(action_id = %id, %error, "an operator's act did not go through");
                    ended
                }
                None => return Err(error.into()),
            },
            Err(ActError::Obstacle(obstacle)) => Ended::refused(name_of(obstacle)),
            Err(error) => {
                // Told to her who asks; the record says it too.
                let code = match &error {
                    ActError::AlreadyRefundedMoved => "already_refunded_moved",
                    ActError::NothingToRefund => "nothing_to_refund",
                    ActError::NothingToSettle => "nothing_to_settle",
                    ActError::HeldAlready => "held_already",
                    ActError::OtherCustomer => "other_customer",
                    ActError::RowMoved => "row_moved",
                    _ => "refused",
                };
                self.note_end(id, &Ended::refused(code)).await?;
                return Err(error);
            }
        };
        self.note_end(id, &ended).await
    }

    /// By whom our rows are changed by an act.
    fn by(ask: &Ask) -> By {
        By::operator(&ask.staff.user, ask.key)
    }
}

/// Nobody acts on what is her own, unless she may everything.
fn may_act_on(staff: &Staff, user: &UserId) -> Result<(), ActError> {
    if !staff.may_all && staff.member.as_ref() == Some(user) {
        return Err(ActError::OwnRows);
    }
    Ok(())
}

fn wish(error: WishError) -> ActError {
    match error {
        WishError::NotFound => ActError::NotFound,
        WishError::Obstacle(obstacle) => obstacle.into(),
        WishError::Invalid(wrong)
        | WishError::Unavailable(wrong)
        | WishError::RequirementUnmet(wrong) => ActError::Invalid(wrong),
        // No operator's act makes a payment.
        WishError::PaymentFailed(_) => ActError::Failed(Error::Contended),
        WishError::Failed(error) => ActError::Failed(error),
    }
}

fn name_of(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NotCancellable => "not_cancellable",
        Obstacle::NotResumable => "not_resumable",
        Obstacle::NotChangeable => "not_changeable",
        Obstacle::AwaitingPayment => "awaiting_payment",
        Obstacle::PaymentProcessing => "payment_processing",
        Obstacle::AlreadyEnded => "already_ended",
        Obstacle::CancelNowNotAllowed => "cancel_now_not_allowed",
        Obstacle::OnHold => "on_hold",
        Obstacle::Cancelled => "cancelled",
        Obstacle::PaymentRetrying => "payment_retrying",
        Obstacle::ManagedBySchedule => "managed_by_schedule",
        Obstacle::NoCustomer => "no_customer",
    }
}
