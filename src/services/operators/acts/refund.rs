//! Money goes back: all that is left of a payment, an amount, or lines of a basket.
//!
//! What is never to happen twice is guarded thrice: of one payment one act is under way at a time (a unique index), what the
//! preview said was refunded must still be so, and what was cut off is looked for at Stripe by the act's id and not done
//! again.

use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{About, ActError, Acted, Ask, Began, Ended, Preview, Verb, cancel};
use crate::domain::actor::By;
use crate::domain::ids::SubscriptionId;
use crate::domain::plan::Kind;
use crate::domain::subscription::{Basket, DisputeState, RefundProgress, Subscription};
use crate::purchases::Error;
use crate::purchases::cancel::CancelAt;
use crate::purchases::line::Line;
use crate::services::operators::Operators;
use crate::storage::actions::ActionRow;
use crate::storage::transactions::{self, LinePayment};
use crate::stripe::money::{dispute_state, progress};
use crate::stripe::objects::{Charge, Expandable, LineItem, Refund};
use crate::stripe::requests::ACTION_KEY;
use crate::stripe::requests::payments::NewRefund;

/// So many of a line's payments can be chosen from.
const PAYMENTS: i64 = 24;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct RefundAsked {
    /// `in_…` or `pi_…`, as the payment stands in our rows; none: the newest.
    pub payment: Option<String>,
    /// Minor units; none: all that is left.
    pub amount: Option<i64>,
    /// Parts of the payment, by line.
    pub lines: Vec<LinePart>,
    /// What the preview said was refunded before, in minor units.
    pub already_refunded: Option<i64>,
    /// Whether the subscription ends too.
    pub also_cancel: Option<CancelAt>,
}

/// What goes back of one line.
#[derive(Clone, Copy, Debug)]
pub struct LinePart {
    /// Ours.
    pub line: SubscriptionId,
    /// Minor units.
    pub amount: i64,
}

/// One of the payments of a line.
#[derive(Clone, Debug)]
pub struct PaymentPreview {
    /// `in_…` or `pi_…`.
    pub reference: String,
    /// When it was paid.
    pub paid_at: OffsetDateTime,
}

/// A line of the payment, and how much of it was for that line.
#[derive(Clone, Debug)]
pub struct RefundLine {
    /// Ours.
    pub line: SubscriptionId,
    /// The plan's code.
    pub plan: String,
    /// The plan's kind.
    pub kind: Kind,
    /// Minor units that were paid for it; none where Stripe does not tell.
    pub amount: Option<i64>,
    /// Minor units that went back of it, as far as the refunds name it.
    pub refunded: i64,
    /// Minor units that are to go back.
    pub refund: i64,
}

/// What a refund would do.
#[derive(Clone, Debug)]
pub struct RefundPreview {
    /// The payment.
    pub payment: PaymentPreview,
    /// ISO 4217, lower case.
    pub currency: String,
    /// Minor units that were taken.
    pub amount: i64,
    /// Minor units that went back, or are on their way.
    pub refunded: i64,
    /// Minor units that are to go back now.
    pub refund: i64,
    /// Of which lines.
    pub lines: Vec<RefundLine>,
    /// What else could be refunded instead, newest first.
    pub others: Vec<PaymentPreview>,
    /// Minor units that went back for no line that is named.
    pub unnamed: i64,
    /// Whether the subscription would end too, and when.
    pub also_cancel: Option<CancelAt>,
}

/// What is to be done, once it is judged.
struct Meant<'a> {
    asked: &'a RefundAsked,
    already: i64,
    intent: &'a str,
    parts: &'a [Part],
}

/// A payment as it is now.
struct Paid {
    /// `pi_…`.
    intent: String,
    preview: RefundPreview,
}

/// One refund that is to be made at Stripe.
struct Part {
    line: Option<SubscriptionId>,
    amount: i64,
    is_whole_line: bool,
}

impl Paid {
    fn left(&self) -> i64 {
        self.preview.amount - self.preview.refunded
    }

    /// How the wish comes apart into refunds at Stripe: one for each line that is named.
    fn parts(&mut self, asked: &RefundAsked) -> Result<Vec<Part>, ActError> {
        let left = self.left();
        if left <= 0 {
            return Err(ActError::NothingToRefund);
        }
        if asked.lines.is_empty() {
            let amount = asked.amount.unwrap_or(left);
            let several = self.preview.lines.len() > 1;
            if !(1..=left).contains(&amount) {
                let detail = format!("From 1 to {left}: that much is left of the payment.");
                return Err(ActError::invalid("amount", "out_of_range", detail));
            }
            if several && amount < left {
                let detail =
                    "The payment was for several: say how much goes back of which, with lines.";
                return Err(ActError::invalid("amount", "names_no_line", detail));
            }
            self.preview.refund = amount;
            // Of what is left of a basket Stripe alone tells that it was all.
            let line = self.preview.lines.first().filter(|_| !several);
            let line = line.map(|line| line.line);
            if let [only] = &mut self.preview.lines[..] {
                only.refund = amount;
            } else {
                for line in &mut self.preview.lines {
                    line.refund = line.amount.map_or(0, |paid| paid - line.refunded);
                }
            }
            return Ok(vec![Part {
                line,
                amount,
                is_whole_line: line.is_some() && amount == left,
            }]);
        }
        self.parts_by_line(&asked.lines)
    }

    fn parts_by_line(&mut self, asked: &[LinePart]) -> Result<Vec<Part>, ActError> {
        let left = self.left();
        let mut parts: Vec<Part> = Vec::with_capacity(asked.len());
        for (place, part) in asked.iter().enumerate() {
            let field = |name: &str| format!("lines[{place}].{name}");
            let known = { self.preview.lines.iter_mut() }.find(|line| line.line == part.line);
            let Some(line) = known else {
                let detail = "The payment was not for that.";
                return Err(ActError::invalid(
                    &field("subscription_id"),
                    "not_of_the_payment",
                    detail,
                ));
            };
            if parts.iter().any(|other| other.line == Some(part.line)) {
                let detail = "Each line once.";
                return Err(ActError::invalid(
                    &field("subscription_id"),
                    "twice",
                    detail,
                ));
            }
            let most = line
                .amount
                .map_or(left, |paid| (paid - line.refunded).min(left));
            if !(1..=most).contains(&part.amount) {
                let detail = format!("From 1 to {most}: that much is left of it.");
                return Err(ActError::invalid(&field("amount"), "out_of_range", detail));
            }
            line.refund = part.amount;
            let is_all = line
                .amount
                .is_some_and(|paid| paid - line.refunded == part.amount);
            parts.push(Part {
                line: Some(part.line),
                amount: part.amount,
                // What went back unnamed may have been of this line: then nobody knows.
                is_whole_line: is_all && self.preview.unnamed == 0,
            });
        }
        self.preview.refund = parts.iter().map(|part| part.amount).sum();
        if self.preview.refund > left {
            let detail = format!("Together at most {left}: that much is left of the payment.");
            return Err(ActError::invalid("lines", "out_of_range", detail));
        }
        Ok(parts)
    }
}

impl Operators {
    /// What a refund would do.
    pub async fn preview_refund(
        &self,
        id: SubscriptionId,
        asked: &RefundAsked,
    ) -> Result<Preview, ActError> {
        let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
        let mut paid = self.paid(&line, asked).await?;
        paid.parts(asked)?;
        Ok(Preview::Refund(Box::new(paid.preview)))
    }

    /// Pays back, and where it was asked for ends the subscription: two acts, the second with the first as its parent.
    pub async fn refund(
        &self,
        id: SubscriptionId,
        asked: &RefundAsked,
        ask: &Ask,
    ) -> Result<Acted, ActError> {
        if let Some(action) = self.repeated(ask).await? {
            return Ok(Acted::of(action, id));
        }
        let line = self.line_for(id, ask).await?;
        if asked.also_cancel.is_some() {
            line.is_cancellable()?;
        }
        let Some(already) = asked.already_refunded else {
            let detail = "From the dry run: what was refunded before.";
            return Err(ActError::invalid("already_refunded", "missing", detail));
        };
        let mut paid = self.paid(&line, asked).await?;
        let parts = paid.parts(asked)?;
        let (subject, user) = (id.to_string(), line.basket.checkout.user.clone());
        let about = About {
            target: Some(&paid.intent),
            wanted: parts.len(),
            ..About::new(Verb::Refund, &subject, Some(&user))
        };
        if let Some(action) = self.begin(ask, &about).await? {
            return Ok(Acted::of(action, id));
        }
        let began = self.begins();
        let second = asked.also_cancel.map(|at| (second_id(ask.key), at));
        if let Some((second, second_at)) = second {
            let about = About {
                parent: Some(ask.key),
                target: Some(cancel::name_of(second_at)),
                ..About::new(Verb::Cancel, &subject, Some(&user))
            };
            // Begun before anything is done, so that nobody forgets it: where that fails, nothing is done.
            if let Err(error) = self.begin_as(second, ask, &about).await {
                tracing::error!(%error, action_id = %ask.key, "the second act of a form could not be begun");
                let action = self.note_end(ask.key, &Ended::refused("cut_off")).await?;
                return Ok(Acted::of(action, id));
            }
        }
        // The payment that was chosen, whatever is paid meanwhile.
        let pinned = RefundAsked {
            payment: Some(paid.preview.payment.reference.clone()),
            ..asked.clone()
        };
        let meant = Meant {
            asked: &pinned,
            already,
            intent: &paid.intent,
            parts: &parts,
        };
        let ended = self.pay_back(&line, &meant, ask, began).await;
        let refunded = self.conclude(ask.key, ended).await;
        if let Some((second, at)) = second {
            self.cancel_after(second, at, id, &refunded, ask).await?;
        }
        Ok(Acted::of(refunded?, id))
    }

    /// Once no other act on the payment can be under way: what was refunded is read again, then the money goes back, and then
    /// our rows learn it as they would from a webhook.
    async fn pay_back(
        &self,
        line: &Line,
        meant: &Meant<'_>,
        ask: &Ask,
        began: Began,
    ) -> Result<Ended, ActError> {
        let mut now = self.paid(line, meant.asked).await?;
        if now.preview.refunded != meant.already || now.intent != meant.intent {
            return Err(ActError::AlreadyRefundedMoved);
        }
        now.parts(meant.asked)?;
        let parts = meant.parts;
        let client = &self.purchases.account.client;
        let mut done = 0;
        for (place, part) in parts.iter().enumerate() {
            // A process that slept in between may have been taken for dead, and the act settled.
            if self.is_too_late(began) {
                return Ok(Ended::unknown("too_late").counting(done));
            }
            let new = NewRefund {
                payment: &now.intent,
                amount: part.amount,
                action: ask.key,
                line: part.line,
                is_whole_line: part.is_whole_line,
                is_duplicate: ask.reason == "duplicate",
            };
            let key = format!("action:{}:{place}", ask.key);
            match client.create_refund(&new, &key).await {
                Ok(_) => done += 1,
                Err(error) => {
                    let ended = Ended::by(&Error::Stripe(error));
                    let ended = ended.unwrap_or_else(|| Ended::unknown("stripe_unavailable"));
                    let ended = match (done, ended.state) {
                        // Some of it went back: that is no refusal any more.
                        (1.., "refused") => Ended::done("partly_refunded"),
                        _ => ended,
                    };
                    self.learn(&now.intent, ask).await;
                    return Ok(ended.counting(done));
                }
            }
        }
        self.learn(&now.intent, ask).await;
        Ok(Ended::done("refunded").counting(done))
    }

    /// Our rows learn what went back. Where that fails the webhook tells them: the money has moved all the same.
    async fn learn(&self, intent: &str, ask: &Ask) {
        if let Err(error) = self.purchases.read_payment(intent, &Self::by(ask)).await {
            tracing::warn!(%error, action_id = %ask.key, "what a refund changed could not be written: its webhook will");
        }
    }

    /// The second act of one form. Only what was surely paid back is followed by the end.
    async fn cancel_after(
        &self,
        second: Uuid,
        at: CancelAt,
        id: SubscriptionId,
        refund: &Result<ActionRow, ActError>,
        ask: &Ask,
    ) -> Result<(), ActError> {
        let refund = refund
            .as_ref()
            .map(|action| (action.state.as_str(), action.outcome.as_deref()));
        let ended = match refund {
            Ok(("done", Some("refunded"))) => {
                let line = self.purchases.line(id).await?.ok_or(ActError::NotFound)?;
                let by = By::operator(&ask.staff.user, second);
                self.cancel_line(line, at, &by).await
            }
            Ok(("done", _)) => Ok(Ended::refused("refund_in_part")),
            // Our own database may have failed after the money had moved.
            Ok(("unknown", _)) | Err(ActError::Failed(_)) => Ok(Ended::refused("refund_unknown")),
            Ok(_) | Err(_) => Ok(Ended::refused("refund_refused")),
        };
        // What became of it stands in its own record.
        self.conclude(second, ended).await.map(drop)
    }

    /// The payment that is meant, as Stripe has it now.
    async fn paid(&self, line: &Line, asked: &RefundAsked) -> Result<Paid, ActError> {
        let payments = transactions::find_payments(&self.pool, line.row.id, PAYMENTS).await?;
        let meant = match &asked.payment {
            None => payments.first(),
            Some(reference) => payments.iter().find(|payment| {
                payment.stripe_reference == *reference
                    || payment.stripe_payment_intent_id.as_ref() == Some(reference)
            }),
        };
        let meant = match (meant, &asked.payment) {
            (Some(meant), _) => meant.clone(),
            (None, None) => return Err(ActError::NothingToRefund),
            (None, Some(_)) => {
                let detail = "This is no payment of it that is known.";
                return Err(ActError::invalid("payment", "unknown_value", detail));
            }
        };
        let others = payments.iter().map(preview_of).collect();
        self.read_paid(line, meant, others, asked.also_cancel).await
    }

    async fn read_paid(
        &self,
        line: &Line,
        meant: LinePayment,
        others: Vec<PaymentPreview>,
        also_cancel: Option<CancelAt>,
    ) -> Result<Paid, ActError> {
        let client = &self.purchases.account.client;
        let intent = self
            .intent_of(&meant)
            .await?
            .ok_or(ActError::NothingToRefund)?;
        let read = client.retrieve_payment_intent(&intent).await?.body;
        let charge = read.latest_charge.and_then(Expandable::into_object);
        let charge = charge
            .filter(|charge| charge.paid)
            .ok_or(ActError::NothingToRefund)?;
        // What the bank has taken back, or may yet, would be paid back twice.
        if charge.disputed {
            let disputes = client.list_disputes(&intent).await?.body.data;
            let states = disputes
                .iter()
                .filter_map(|dispute| dispute_state(dispute.status.as_deref()?));
            if { states }.any(|state| state != DisputeState::Won) {
                return Err(ActError::NothingToRefund);
            }
        }
        let refunds = client.list_refunds(&intent).await?.body.data;
        let amounts = self.amounts(&line.basket, &meant, &charge).await?;
        let (named, unnamed) = self.went_back(&refunds, &meant);
        let lines = { line.basket.lines.iter() }
            .filter(|own| meant.lines.contains(&own.id.0))
            .map(|own| RefundLine {
                line: own.id,
                plan: own.plan.clone(),
                kind: own.kind,
                amount: amounts.get(&own.id).copied(),
                refunded: named.get(&own.id).copied().unwrap_or_default(),
                refund: 0,
            });
        let amount = charge.taken().unwrap_or_default();
        Ok(Paid {
            intent,
            preview: RefundPreview {
                payment: preview_of(&meant),
                currency: charge.currency.unwrap_or_default(),
                amount,
                refunded: charge.amount_refunded.unwrap_or_default(),
                refund: 0,
                lines: lines.collect(),
                others,
                unnamed,
                also_cancel,
            },
        })
    }

    /// `pi_…` of a payment; of an invoice our row may not have learnt it yet.
    async fn intent_of(&self, payment: &LinePayment) -> Result<Option<String>, ActError> {
        if let Some(intent) = &payment.stripe_payment_intent_id {
            return Ok(Some(intent.clone()));
        }
        let client = &self.purchases.account.client;
        let payments = client
            .list_payments_of_invoice(&payment.stripe_reference)
            .await?;
        Ok(payments.body.paid_by().map(str::to_owned))
    }

    /// What was paid for each line: all of it where it is one, else as the session's lines say.
    async fn amounts(
        &self,
        basket: &Basket,
        payment: &LinePayment,
        charge: &Charge,
    ) -> Result<HashMap<SubscriptionId, i64>, ActError> {
        let all = charge.taken().unwrap_or_default();
        if let [only] = &payment.lines[..] {
            return Ok(HashMap::from([(SubscriptionId(*only), all)]));
        }
        let Some(session) = &basket.checkout.stripe_session else {
            return Ok(HashMap::new());
        };
        let client = &self.purchases.account.client;
        let items = client.list_session_lines(session, None).await?.body.data;
        let observer = &self.purchases.account.observer;
        let is_of = |item: &LineItem, own: &Subscription| {
            own.stripe_line_item.as_ref() == Some(&item.id)
                || observer.internal_ids(item.metadata.as_ref()) == [own.id]
        };
        let amounts = basket.lines.iter().filter_map(|own| {
            let item = items.iter().find(|item| is_of(item, own))?;
            Some((own.id, item.amount_total?))
        });
        Ok(amounts.collect())
    }

    /// What went back for each line that a refund names alone, and what for none.
    fn went_back(
        &self,
        refunds: &[Refund],
        payment: &LinePayment,
    ) -> (HashMap<SubscriptionId, i64>, i64) {
        let (mut named, mut unnamed) = (HashMap::new(), 0);
        let is_void = |refund: &&Refund| progress(refund) == Some(RefundProgress::Failed);
        for refund in refunds.iter().filter(|refund| !is_void(refund)) {
            let amount = refund.amount.unwrap_or_default();
            let ids = self
                .purchases
                .account
                .observer
                .internal_ids(refund.metadata.as_ref());
            match (&ids[..], &payment.lines[..]) {
                (_, [only]) => *named.entry(SubscriptionId(*only)).or_default() += amount,
                ([id], _) => *named.entry(*id).or_default() += amount,
                _ => unnamed += amount,
            }
        }
        (named, unnamed)
    }

    /// What came of a refund that was cut off: those that Stripe has with its id.
    pub(super) async fn find_refunds(&self, intent: &str, action: Uuid) -> Result<usize, ActError> {
        let client = &self.purchases.account.client;
        let refunds = client.list_refunds(intent).await?.body.data;
        let id = action.to_string();
        let of_action = refunds.iter().filter(|refund| {
            let metadata = refund.metadata.as_ref();
            metadata.and_then(|metadata| metadata.get(ACTION_KEY)) == Some(&id)
        });
        Ok(of_action.count())
    }
}

fn preview_of(payment: &LinePayment) -> PaymentPreview {
    PaymentPreview {
        reference: payment.stripe_reference.clone(),
        paid_at: payment.occurred_at,
    }
}

/// The id of the act that comes with another: the same for every repeat.
fn second_id(first: Uuid) -> Uuid {
    use aws_lc_rs::digest::{SHA256, digest};
    let text = format!("also_cancel:{first}");
    let hash = digest(&SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
