//! All words of a story, in one place so that they can be read as a whole. Whoever has read nothing else understands them:
//! no codes, nothing of Stripe's jargon. `¤` is where an amount will stand.

use time::{Duration, OffsetDateTime};

use super::{Money, Text};
use crate::domain::ids::SubscriptionId;
use crate::domain::subscription::{Reason, Status};
use crate::purchases::Trouble;
use crate::services::operators::events;
use crate::storage::actions::ActionRow;
use crate::storage::status_changes::ChangeRow;
use crate::storage::transactions::TransactionRow;
use crate::storage::webhook_events::EventRow;
use crate::stripe::objects::Charge;

// Of the story itself.

pub(super) const NOT_ASKED: &str = "Only our own rows were asked for: Stripe was not asked.";
pub(super) const TOO_SLOW: &str =
    "Stripe does not answer: it took too long. Ask again in a moment.";
pub(super) const TOO_MANY_CUSTOMERS: &str =
    "The member has been several customers at Stripe in one currency: not all of them were asked.";
pub(super) const AT_STRIPE: &str = "as Stripe has it";

pub(super) fn stripe_away(trouble: Trouble) -> String {
    let why = match trouble {
        Trouble::StripeTimedOut => "it took too long. Ask again in a moment",
        Trouble::StripeRefused => {
            "it refuses; the settings' key may lack a permission (dues doctor tells which)"
        }
        _ => "it can't be reached. Ask again in a moment",
    };
    format!("Stripe does not answer: {why}.")
}

pub(super) fn older_ones_left_out() -> Text {
    Text::new(
        "There is more before this: only the newest hundred are told.",
        [],
    )
}

pub(super) fn purged(before: OffsetDateTime) -> Text {
    let words = format!(
        "What Stripe told us one by one before {} is kept no more. Changes and payments are.",
        day(before)
    );
    Text::new(words, [])
}

pub(super) fn not_bought_here(text: Text) -> Text {
    Text {
        words: format!(
            "Of the same customer at Stripe, but not bought here: {}",
            text.words
        ),
        ..text
    }
}

// What can be done.

pub(super) const SYNC: &str = "Sync it: what Stripe says is taken over.";
pub(super) const WAIT_FOR_THE_DEBIT: &str = "Wait: a bank debit takes up to 14 days. Nobody needs to pay again, and it is settled here by itself.";
pub(super) const PAY_WHAT_IS_OPEN: &str = "Ask the member to pay it: in the app, where she sees what she holds, it is \
     offered as unpaid; the card can be changed there too.";
pub(super) const PAGE_IS_OPEN: &str =
    "The member can still pay on that page. If she says that she has paid, sync it.";
pub(super) const PAID_AFTER_THE_END: &str = "It was paid after the end, so it brings nothing back: refund it (reason: \
     mistake), and let the member buy again if she wants it.";
pub(super) const CHANGE_THE_PLAN: &str = "No plan has that price: move the subscription at Stripe to the price of a plan, or \
     give a plan that price in the plans file; then sync it.";
pub(super) const LOOK_INTO_THE_ACCOUNT: &str = "Look whether the service has the key of the right account at Stripe; deleted things stay deleted.";

pub(super) fn paid_twice(before: SubscriptionId) -> String {
    format!(
        "The same was paid within a day before (subscription {before}). If that was not meant, refund one of the two \
         (reason: duplicate)."
    )
}

pub(super) fn adopt(subscription: &str) -> String {
    format!("If it is the member's, made by hand: adopt {subscription}, so that it is known here.")
}

/// `page`: whether the page where she tried can still be paid; `invoice`: whether an invoice is open.
pub(super) fn another_card(advice: &str, (page, invoice): (bool, bool)) -> String {
    let place = match (page, invoice) {
        (true, _) => "The page where she tried is still open.",
        (false, true) => {
            "In the app, where she sees what she holds, it is offered as unpaid; the card can be changed there."
        }
        (false, false) => "She can order again in the app.",
    };
    format!("Tell the member: “{advice}” {place}")
}

pub(super) fn what_to_do(status: Status, reason: Reason, recurring: bool) -> Option<&'static str> {
    Some(match (status, reason) {
        (Status::PendingActivation, _) => {
            "If the member says that she has paid, sync it: what Stripe says is taken over."
        }
        (Status::PendingCompletion, _) => {
            "Wait: a bank debit takes up to 14 days, and nobody needs to pay again. If it was paid by card, sync it."
        }
        (Status::OnHold, Reason::Disputed) => {
            "Answer the dispute in Stripe's dashboard, or ask the member to withdraw it at her bank."
        }
        (Status::OnHold, Reason::FirstPaymentFailed) => {
            "Ask the member to buy again, with another card or account."
        }
        (Status::OnHold, Reason::Unpaid | Reason::Overdue | Reason::DisputeLost)
        | (Status::Active, Reason::PaymentRetrying) => PAY_WHAT_IS_OPEN,
        (Status::OnHold, _) => {
            "Collecting was paused in Stripe's dashboard: it is taken up again there."
        }
        (Status::Cancelled, _) => "If that was not meant, resume it before it ends.",
        (Status::Ended, Reason::Refunded) => {
            "Its price was paid back, and with that it ended. If it is wanted after all, it is bought again."
        }
        (Status::Ended, _) if recurring => {
            "It can't be taken up again: whoever wants it back buys again."
        }
        (Status::Ended | Status::Active, _) => return None,
    })
}

pub(super) fn advice_of_transaction(
    kind: &str,
    state: Option<&str>,
    is_over: bool,
) -> Option<&'static str> {
    Some(match (kind, state) {
        ("refund", Some("pending")) => {
            "Wait: until a refund has arrived can take ten working days."
        }
        ("refund", Some("failed")) => {
            "The money is still here: pay it back by another way, for example by bank transfer."
        }
        ("refund", _) => "The money has left; the bank shows it within ten working days.",
        ("dispute", Some("open")) => {
            "Answer it in Stripe's dashboard before it is due, or ask the member to withdraw it at her bank. Don't refund: it would be paid back twice."
        }
        ("dispute", Some("lost")) => {
            "The money is gone. Let the member pay again if it was a mistake."
        }
        ("payment_failed", _) if !is_over => {
            "Ask the member to use another card or account: in the app, where she sees what she holds."
        }
        _ => return None,
    })
}

// Changes.

pub(super) fn change(row: &ChangeRow, plan: &str) -> Text {
    let from_to = |from: &str, to: &str| format!("from {from} to {to}");
    let words = match (
        row.reason.as_str(),
        row.to_status.as_str(),
        row.from_status.is_none(),
    ) {
        ("plan_changed", ..) => {
            let (from, to) = (row.from_plan.as_deref(), row.to_plan.as_deref());
            format!(
                "The plan changed {}.",
                from_to(from.unwrap_or("?"), to.unwrap_or("?"))
            )
        }
        ("quantity_changed", ..) => {
            let (from, to) = (row.from_quantity.unwrap_or(0), row.to_quantity.unwrap_or(0));
            format!(
                "{plan}: how many changed {}.",
                from_to(&from.to_string(), &to.to_string())
            )
        }
        ("cancel_withdrawn", ..) => format!("{plan} goes on: its cancellation was withdrawn."),
        ("awaiting_payment", _, true) => format!("{plan} was ordered. It waits for its payment."),
        (reason, status, _) => match (Status::parse(status), Reason::parse(reason)) {
            (Some(status), Some(reason)) => format!("{plan}: {}.", our_status(status, reason)),
            _ => format!("{plan} changed ({}).", words(reason)),
        },
    };
    Text::new(words, [])
}

/// What our row says, in words.
pub(super) fn our_status(status: Status, reason: Reason) -> &'static str {
    match (status, reason) {
        (Status::PendingActivation, _) => "awaiting payment",
        (Status::PendingCompletion, _) => "ordered and not active yet, the money is on its way",
        (_, Reason::Paid) => "active, paid",
        (_, Reason::Trialing) => "active, in its free trial",
        (_, Reason::PaymentRetrying) => "active, though a renewal failed, which is tried again",
        (Status::Active, _) => "active, nothing is collected for now",
        (_, Reason::CancelScheduled) => "active until its end, it will not renew",
        (_, Reason::Unpaid) => "on hold, a renewal stayed unpaid",
        (_, Reason::Overdue) => "on hold, nothing was paid for too long",
        (Status::OnHold, Reason::Disputed) => "on hold, the payment is disputed",
        (Status::OnHold, Reason::DisputeLost) => "on hold, a dispute about its payment was lost",
        (_, Reason::FirstPaymentFailed) => "on hold, the first payment failed for good",
        (Status::OnHold, _) => "on hold, paused at Stripe",
        (Status::Cancelled, _) => "active until its end",
        (_, Reason::CheckoutExpired) => "ended, the payment page expired unpaid",
        (_, Reason::CheckoutCancelled) => "ended, the member went back from the payment page",
        (_, Reason::StripeError) => "ended, the payment page could not be opened",
        (_, Reason::ActivationExpired) => "ended, the first payment never came",
        (_, Reason::PaymentFailed) => "ended, the payment failed",
        (_, Reason::Refunded) => "ended, all of it was paid back",
        (_, Reason::DisputeLost) => "ended, a dispute about its payment was lost",
        (_, Reason::TermOver) => "ended, its time is over",
        (Status::Ended, _) => "ended",
    }
}

/// Who, as far as an action tells.
pub(super) struct Who<'a>(&'a ActionRow);

impl<'a> Who<'a> {
    pub(super) fn of(action: &'a ActionRow) -> Self {
        Self(action)
    }
}

pub(super) fn by_operator(Who(action): &Who<'_>) -> String {
    let who = Some(format!("operator {}, {}", action.actor, action.role));
    let reason = action.reason.as_deref();
    let reason = reason.map(|reason| format!("reason {}", words(reason)));
    let ticket = action.reference.as_deref();
    let ticket = ticket.map(|ticket| format!("ticket {ticket}"));
    let parts: Vec<String> = [who, reason, ticket].into_iter().flatten().collect();
    parts.join(", ")
}

pub(super) fn cause(cause: &str, event: Option<&str>) -> String {
    let told = event.map_or(String::new(), |event| format!(" ({event})"));
    match cause {
        "webhook" => format!("Stripe told us{told}"),
        "return" => "the buyer came back from Stripe's page".to_owned(),
        "member" => "the member asked for it".to_owned(),
        "operator" => "an operator did it".to_owned(),
        "reconcile" => format!("found when we compared with Stripe{told}"),
        _ => "our own tidying".to_owned(),
    }
}

// Events that are not at their end.

pub(super) fn event(row: &EventRow) -> Option<(Text, Option<&'static str>)> {
    let about = match row.r#type.split('.').collect::<Vec<_>>()[..] {
        ["checkout", ..] => "the payment page",
        ["customer", "subscription", ..] => "the subscription",
        ["customer", ..] => "the customer",
        ["charge", "dispute", ..] => "a dispute",
        ["charge" | "refund", ..] => "a refund",
        ["credit_note", ..] => "a credit note",
        _ => "an invoice",
    };
    let error = row.last_error.as_deref().unwrap_or_default();
    let (means, todo) = events::said(&row.state, row.last_error.as_deref());
    let why = match means {
        events::FAILED_OTHERWISE | events::FLAGGED_OTHERWISE if error.is_empty() => {
            "No cause is known.".to_owned()
        }
        events::FAILED_OTHERWISE | events::FLAGGED_OTHERWISE => format!("The cause: {error}."),
        means => means.to_owned(),
    };
    let (words, advice) = match (row.state.as_str(), error.strip_prefix("dismissed: ")) {
        ("failed", _) => (
            format!("Stripe told us about {about}, and it could not be taken over. {why}"),
            Some("Replay it. If it fails again, sync the subscription."),
        ),
        ("flagged", _) => (
            format!("Stripe told us about {about}, and a person should look. {why}"),
            todo,
        ),
        ("deferred", _) => (
            format!(
                "Stripe told us about {about}; it waits until Stripe was asked how things stand."
            ),
            Some("Wait: it is settled by itself within minutes. A sync does it now."),
        ),
        (_, Some(reason)) => (
            format!(
                "Stripe told us about {about}; a person has looked at it and put it aside ({}).",
                words(reason)
            ),
            None,
        ),
        _ => return None,
    };
    Some((Text::new(words, []), advice))
}

// Actions.

pub(super) fn action(row: &ActionRow) -> Text {
    let what = match row.verb.as_str() {
        "sync" => "took over what Stripe says",
        "refund" => "asked Stripe to pay back",
        "cancel" => "cancelled it",
        "resume" => "withdrew the cancellation",
        "settle" => "marked an open invoice as paid elsewhere",
        "adopt" => "took over a subscription that was made at Stripe",
        "replay" => "had something that Stripe told us taken up again",
        "dismiss" => "put something aside that Stripe told us",
        "reveal" => "looked at the member's name",
        other => return Text::new(format!("An operator did: {}.", words(other)), []),
    };
    let outcome = row.outcome.as_deref().map(words);
    let end = match (row.state.as_str(), outcome) {
        ("started", _) => ": it is under way".to_owned(),
        ("refused", outcome) => format!(": it was refused ({})", outcome.unwrap_or_default()),
        ("unknown", _) => ": nobody knows yet whether it has happened".to_owned(),
        (_, Some(outcome)) if outcome != "done" => format!(": done ({outcome})"),
        _ => String::new(),
    };
    Text::new(format!("An operator {what}{end}."), [])
}

pub(super) fn advice_of_action(row: &ActionRow) -> Option<&'static str> {
    matches!(row.state.as_str(), "started" | "unknown")
        .then_some("Don't repeat it: within minutes Stripe is asked whether it has happened.")
}

// Money.

/// By what a payment was made.
pub(super) struct Method(String);

impl Method {
    pub(super) fn of(charge: &Charge) -> Self {
        let details = charge.payment_method_details.as_ref();
        Self(match details.and_then(|details| details.kind.as_deref()) {
            Some("card") => "a card".to_owned(),
            Some("sepa_debit") => "a bank account (SEPA debit)".to_owned(),
            Some(kind) if kind.ends_with("_debit") || kind == "us_bank_account" => {
                "a bank account (debit)".to_owned()
            }
            Some(kind) => words(kind),
            None => "the member".to_owned(),
        })
    }
}

pub(super) fn paid(
    money: Money,
    Method(method): &Method,
    plans: &str,
    (recorded_after, receipt): (Option<Duration>, Option<&str>),
) -> Text {
    let recorded = recorded_after.map_or(String::new(), |after| {
        format!(", and we recorded it {}", later(after))
    });
    let receipt = receipt.map_or(String::new(), |number| format!(" Receipt {number}."));
    Text::new(
        format!(
            "Stripe took ¤ from {method}{}{recorded}.{receipt}",
            for_(plans)
        ),
        [money],
    )
}

pub(super) fn under_way(money: Money, Method(method): &Method, plans: &str) -> Text {
    Text::new(
        format!(
            "A debit of ¤ from {method}{} is under way: the bank has not said yet whether it pays. Until then it is not paid.",
            for_(plans)
        ),
        [money],
    )
}

pub(super) fn failed(
    money: Money,
    Method(method): &Method,
    plans: &str,
    (why, is_paid, next): (&str, bool, Option<OffsetDateTime>),
) -> Text {
    let then = match (is_paid, next) {
        (true, _) => " It was paid with another try.".to_owned(),
        (false, Some(next)) => format!(" Stripe tries again on {}.", day(next)),
        (false, None) => String::new(),
    };
    Text::new(
        format!(
            "A payment of ¤ from {method}{} failed. {why}{then}",
            for_(plans)
        ),
        [money],
    )
}

/// Of a try on a page of which Stripe keeps no word: what is sold as a subscription has no payment before it is paid.
pub(super) fn by_all_signs(text: Text) -> Text {
    Text {
        words: format!(
            "{} (Stripe does not say on which page that was: customer, amount and time fit this one.)",
            text.words
        ),
        ..text
    }
}

pub(super) fn refund(money: Money, state: &str, plans: &str, why: Option<&str>) -> Text {
    let why = why.map_or(String::new(), |why| format!(" ({})", words(why)));
    let what = for_(plans);
    Text::new(
        match state {
            "succeeded" => format!("¤{what} were paid back{why}."),
            "failed" => {
                format!("A refund of ¤{what} did not arrive{why}: the money is still here.")
            }
            _ => format!("A refund of ¤{what} is on its way{why}."),
        },
        [money],
    )
}

pub(super) fn dispute(
    money: Money,
    state: &str,
    plans: &str,
    (reason, due): (Option<&str>, Option<OffsetDateTime>),
) -> Text {
    let reason = reason.map_or(String::new(), |reason| {
        format!(" (reason: {})", words(reason))
    });
    let due = due
        .filter(|_| state == "open")
        .map_or(String::new(), |due| {
            format!(" It is to be answered until {}.", day(due))
        });
    let end = dispute_word(state);
    Text::new(
        format!(
            "The member's bank claimed ¤ back{}{reason}: the dispute is {end}.{due}",
            for_(plans)
        ),
        [money],
    )
}

/// Of our row alone, which knows no amount.
pub(super) fn transaction(row: &TransactionRow, plans: &str) -> Text {
    let what = for_(plans);
    let recorded = later(row.created_at - row.occurred_at);
    let state = row.state.as_deref().unwrap_or_default();
    let words = match row.kind.as_str() {
        "payment" => format!("A payment{what} came, and we recorded it {recorded}."),
        "payment_failed" => format!("A payment{what} failed."),
        "refund" if state == "succeeded" => format!("Money{what} was paid back."),
        "refund" => format!("A refund{what} is {}.", refund_word(state)),
        _ => format!(
            "The member's bank claimed a payment back{what}: the dispute is {}.",
            dispute_word(state)
        ),
    };
    Text::new(words, [])
}

pub(super) fn open_invoice(
    due: Money,
    plans: &str,
    attempts: u64,
    next: Option<OffsetDateTime>,
) -> Text {
    let tried = match attempts {
        0 => "nobody has tried to pay it".to_owned(),
        1 => "paying was tried once".to_owned(),
        _ => format!("paying was tried {attempts} times"),
    };
    let next = next.map_or(" Stripe does not try again by itself.".to_owned(), |next| {
        format!(" Stripe tries again on {}.", day(next))
    });
    Text::new(
        format!("An invoice over ¤{} is open: {tried}.{next}", for_(plans)),
        [due],
    )
}

pub(super) fn draft_invoice(due: Money, plans: &str) -> Text {
    Text::new(
        format!(
            "An invoice over ¤{} is being prepared; it is charged within the hour.",
            for_(plans)
        ),
        [due],
    )
}

pub(super) fn withdrawn_invoice(due: Money, plans: &str) -> Text {
    Text::new(
        format!(
            "An invoice over ¤{} was withdrawn: nobody can pay it any more.",
            for_(plans)
        ),
        [due],
    )
}

pub(super) fn invoice_given_up(due: Money, plans: &str) -> Text {
    Text::new(
        format!("An invoice over ¤{} was given up as lost.", for_(plans)),
        [due],
    )
}

pub(super) fn paid_without_a_charge(paid: Money, outside: bool, plans: &str) -> Text {
    let how = if outside {
        " outside Stripe (cash, cheque or transfer)"
    } else {
        ""
    };
    Text::new(
        format!("An invoice{} was settled with ¤{how}.", for_(plans)),
        [paid],
    )
}

pub(super) fn credit_note(money: Money, plans: &str) -> Text {
    Text::new(
        format!(
            "A credit note over ¤ was made for an invoice{}.",
            for_(plans)
        ),
        [money],
    )
}

// What else Stripe has.

pub(super) fn page(
    total: Option<Money>,
    plans: &str,
    (status, is_paid): (&str, bool),
    expires: Option<OffsetDateTime>,
) -> Text {
    let over = if total.is_some() { " over ¤" } else { "" };
    let then = match (status, expires) {
        ("open", Some(expires)) => format!(
            "it can be paid until {}, {:02}:{:02} UTC",
            day(expires),
            expires.hour(),
            expires.minute()
        ),
        (status, _) => page_word(status, is_paid).to_owned(),
    };
    Text::new(
        format!("A payment page{over}{} was opened: {then}.", for_(plans)),
        total,
    )
}

pub(super) fn page_word(status: &str, is_paid: bool) -> &'static str {
    match (status, is_paid) {
        ("complete", true) => "the page was completed and paid",
        ("complete", false) => "the page was completed, the money came later or is on its way",
        ("expired", _) => "the page expired unpaid",
        ("failed", _) => "no page could be opened",
        _ => "the page is open, nothing is paid",
    }
}

pub(super) fn subscription(
    status: &str,
    plan: Option<&str>,
    quantity: Option<i64>,
    (next, ends): (Option<OffsetDateTime>, Option<OffsetDateTime>),
) -> Text {
    let times = quantity
        .filter(|quantity| *quantity != 1)
        .map_or(String::new(), |many| format!(" ({many} times)"));
    let plan = plan.map_or("at a price that no plan has".to_owned(), |plan| {
        format!("for {plan}")
    });
    let status = stripe_status(status);
    let now = match (next, ends) {
        (_, Some(end)) if status == ENDED => format!("it ended on {}", day(end)),
        (_, Some(end)) => format!("it is {status}, and ends on {}", day(end)),
        (Some(next), None) if status == ACTIVE => {
            format!("it is active, and billed again on {}", day(next))
        }
        _ => format!("it is {status}"),
    };
    Text::new(
        format!("Stripe has a subscription {plan}{times}: {now}."),
        [],
    )
}

const ACTIVE: &str = "active";
const ENDED: &str = "ended";

/// Stripe's status of a subscription, in words.
pub(super) fn stripe_status(status: &str) -> &'static str {
    match status {
        "incomplete" => "waiting for its first payment",
        "incomplete_expired" => "over, the first payment never came",
        "trialing" => "in its free trial",
        "active" => ACTIVE,
        "past_due" => "active, though a renewal failed, which is tried again",
        "canceled" => ENDED,
        "unpaid" => "unpaid, nothing is tried any more",
        "paused" => "paused",
        _ => "in a state that is not known here",
    }
}

pub(super) fn refund_word(state: &str) -> &'static str {
    match state {
        "succeeded" => "paid back",
        "failed" => "not arrived, the money is still here",
        _ => "on its way",
    }
}

pub(super) fn dispute_word(state: &str) -> &'static str {
    match state {
        "won" => "won, or came to nothing",
        "lost" => "lost, the money is gone",
        _ => "open",
    }
}

pub(super) fn not_at_stripe() -> Text {
    Text::new("Stripe does not know this.", [])
}

// Small words.

pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}

/// A day as it is written in a sentence: 3 March 2026.
pub(super) fn day(at: OffsetDateTime) -> String {
    format!("{} {} {}", at.day(), at.month(), at.year())
}

fn for_(plans: &str) -> String {
    if plans.is_empty() {
        String::new()
    } else {
        format!(" for {plans}")
    }
}

fn words(code: &str) -> String {
    code.replace('_', " ")
}

fn later(after: Duration) -> String {
    let seconds = after.whole_seconds();
    let (many, unit) = match seconds {
        ..2 => return "at once".to_owned(),
        2..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{many} {unit} later")
}
