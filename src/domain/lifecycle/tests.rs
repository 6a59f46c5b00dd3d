//! The table of the design row by row, then what holds for any facts in any order.

use proptest::prelude::*;

use super::*;
use crate::domain::facts::{Subject, TransactionKind};
use crate::domain::plan::Term;
use crate::domain::samples::{PAYMENT, at, basket, line};

const GRACE: Duration = Duration::days(35);
const RULES: Rules = Rules {
    again: false,
    margin: Duration::seconds(2),
    grace: Some(GRACE),
};

fn observe(facts: Vec<Fact>, at: OffsetDateTime, freshness: Freshness) -> Observation {
    Observation {
        subject: Subject::payment(PAYMENT),
        at,
        freshness,
        facts,
    }
}

fn snapshot(status: StripeStatus) -> Snapshot {
    Snapshot {
        status,
        current_period_end: Some(at(86_400)),
        cancel_at: None,
        cancel_at_period_end: false,
        collection: Collection::Running,
        excused: false,
        price: Some("price_1".into()),
        quantity: Some(1),
    }
}

/// The status of a single line of a fresh basket after these facts, at `now` seconds.
fn status_after(recurring: bool, facts: &[Fact], now: i64) -> (Status, Reason) {
    let mut basket = basket(vec![line(recurring)]);
    if facts.contains(&Fact::SessionNeverOpened) {
        basket.checkout.stripe_session = None;
    }
    let observation = observe(facts.to_vec(), at(0), Freshness::Event);
    merge(&mut basket, &observation, RULES, at(now));
    (basket.lines[0].status, basket.lines[0].reason)
}

fn paid() -> Fact {
    Fact::Paid(at(10), Scope::Basket)
}

fn invoice_paid(seconds: i64) -> Fact {
    Fact::InvoicePaid {
        at: at(seconds),
        made_at: None,
    }
}

fn period(start: i64, end: i64) -> Period {
    Period {
        start: at(start),
        end: at(end),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_row_of_the_recurring_table() {
    use StripeStatus as S;
    let snap = |status| Fact::Snapshot(snapshot(status));
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = snapshot(S::Active);
        change(&mut snapshot);
        Fact::Snapshot(snapshot)
    };
    let failed = Fact::FirstPaymentFailed(at(5));
    let cases: &[(&[Fact], Status, Reason)] = &[
        (&[], Status::PendingActivation, Reason::AwaitingPayment),
        (
            &[Fact::SessionExpired],
            Status::Ended,
            Reason::CheckoutExpired,
        ),
        (
            &[Fact::SessionExpired, Fact::CancelRequested(at(1))],
            Status::Ended,
            Reason::CheckoutCancelled,
        ),
        (
            &[Fact::CancelRequested(at(1))],
            Status::PendingActivation,
            Reason::AwaitingPayment,
        ),
        (
            &[Fact::SessionNeverOpened],
            Status::Ended,
            Reason::StripeError,
        ),
        (
            &[Fact::SessionCompleted],
            Status::PendingCompletion,
            Reason::PaymentProcessing,
        ),
        (
            &[snap(S::Incomplete)],
            Status::PendingActivation,
            Reason::AwaitingPayment,
        ),
        (
            &[snap(S::Active)],
            Status::PendingCompletion,
            Reason::PaymentProcessing,
        ),
        // Stripe says active while a delayed debit is on its way: that is no payment.
        (
            &[Fact::SessionCompleted, snap(S::Active)],
            Status::PendingCompletion,
            Reason::PaymentProcessing,
        ),
        (
            &[Fact::SessionCompleted, failed.clone()],
            Status::OnHold,
            Reason::FirstPaymentFailed,
        ),
        (
            &[Fact::SessionCompleted, failed.clone(), paid()],
            Status::Active,
            Reason::Paid,
        ),
        (
            std::slice::from_ref(&failed),
            Status::PendingActivation,
            Reason::AwaitingPayment,
        ),
        (
            &[snap(S::IncompleteExpired)],
            Status::Ended,
            Reason::ActivationExpired,
        ),
        (
            &[paid(), snap(S::IncompleteExpired)],
            Status::Ended,
            Reason::ActivationExpired,
        ),
        (&[Fact::Ended(at(20))], Status::Ended, Reason::Ended),
        (
            &[paid(), Fact::Ended(at(20)), snap(S::Canceled)],
            Status::Ended,
            Reason::Ended,
        ),
        (
            &[paid(), Fact::SessionExpired],
            Status::Active,
            Reason::Paid,
        ),
        (&[paid()], Status::Active, Reason::Paid),
        (&[paid(), snap(S::Active)], Status::Active, Reason::Paid),
        (&[paid(), snap(S::Incomplete)], Status::Active, Reason::Paid),
        (
            &[paid(), snap(S::Trialing)],
            Status::Active,
            Reason::Trialing,
        ),
        (
            &[paid(), snap(S::PastDue)],
            Status::Active,
            Reason::PaymentRetrying,
        ),
        (&[paid(), snap(S::Unpaid)], Status::OnHold, Reason::Unpaid),
        (&[paid(), snap(S::Paused)], Status::OnHold, Reason::Paused),
        (
            &[paid(), snap(S::Canceled)],
            Status::Cancelled,
            Reason::CancelScheduled,
        ),
        (
            &[paid(), with(|s| s.cancel_at_period_end = true)],
            Status::Cancelled,
            Reason::CancelScheduled,
        ),
        (
            &[paid(), with(|s| s.cancel_at = Some(at(99)))],
            Status::Cancelled,
            Reason::CancelScheduled,
        ),
        (
            &[paid(), with(|s| s.collection = Collection::Paused)],
            Status::Active,
            Reason::CollectionPaused,
        ),
        (
            &[
                paid(),
                with(|s| (s.status, s.cancel_at) = (S::Unpaid, Some(at(99)))),
            ],
            Status::OnHold,
            Reason::Unpaid,
        ),
        (
            &[
                paid(),
                with(|s| (s.status, s.cancel_at) = (S::PastDue, Some(at(99)))),
            ],
            Status::Cancelled,
            Reason::CancelScheduled,
        ),
    ];
    for (facts, status, reason) in cases {
        assert_eq!(
            status_after(true, facts, 30),
            (*status, *reason),
            "{facts:?}"
        );
    }
}

#[test]
fn a_subscription_that_is_known_without_a_snapshot_counts_as_incomplete() {
    let mut basket = basket(vec![line(true)]);
    let mut tell = |facts| {
        let mut observation = observe(facts, at(0), Freshness::Event);
        observation.subject.stripe_subscription = Some("sub_1".into());
        merge(&mut basket, &observation, RULES, at(1));
        let line = &basket.lines[0];
        assert_eq!(line.stripe_subscription.as_deref(), Some("sub_1"));
        (line.status, line.reason)
    };
    assert_eq!(
        tell(Vec::new()),
        (Status::PendingActivation, Reason::AwaitingPayment)
    );
    let active = Fact::Snapshot(snapshot(StripeStatus::Active));
    assert_eq!(
        tell(vec![active]),
        (Status::PendingCompletion, Reason::PaymentProcessing)
    );
}

/// In seconds.
const DAY: i64 = 86_400;

/// The status of a paid membership whose paid time is over after ten days, after these facts as well.
fn after_its_time(facts: Vec<Fact>) -> (Status, Reason) {
    let mut told = vec![paid(), Fact::PaidPeriod(period(0, 10 * DAY))];
    told.extend(facts);
    let mut basket = basket(vec![line(true)]);
    // The snapshot comes after the paid time.
    merge(
        &mut basket,
        &observe(told, at(11 * DAY), Freshness::Event),
        RULES,
        at(90 * DAY),
    );
    (basket.lines[0].status, basket.lines[0].reason)
}

#[test]
fn what_is_not_paid_goes_on_for_the_grace_and_until_stripe_was_asked_then() {
    let past_due = || Fact::Snapshot(snapshot(StripeStatus::PastDue));
    let retrying = (Status::Active, Reason::PaymentRetrying);
    let overdue = (Status::OnHold, Reason::Overdue);
    assert_eq!(
        after_its_time(vec![past_due()]),
        retrying,
        "nobody has asked"
    );
    let asked = |day| Fact::Looked(at(day * DAY));
    assert_eq!(
        after_its_time(vec![past_due(), asked(45)]),
        retrying,
        "to the second"
    );
    assert_eq!(after_its_time(vec![past_due(), asked(46)]), overdue);
    let paid_again = Fact::PaidPeriod(period(10 * DAY, 20 * DAY));
    assert_eq!(
        after_its_time(vec![past_due(), asked(46), paid_again]),
        retrying
    );
    // A debit that fails leaves the subscription active, and one that is cancelled is no better.
    let active = Fact::Snapshot(snapshot(StripeStatus::Active));
    assert_eq!(after_its_time(vec![active, asked(46)]), overdue);
    let mut cancelled = snapshot(StripeStatus::Active);
    cancelled.cancel_at = Some(at(400 * DAY));
    assert_eq!(
        after_its_time(vec![Fact::Snapshot(cancelled), asked(46)]),
        overdue
    );
    // Whoever is in a trial, or need not pay, is not overdue; and after that the grace begins anew.
    let mut trial = snapshot(StripeStatus::Trialing);
    trial.excused = true;
    let trial = Fact::Snapshot(trial);
    assert_eq!(
        after_its_time(vec![trial.clone(), asked(46)]),
        (Status::Active, Reason::Trialing)
    );
    let mut ended = snapshot(StripeStatus::PastDue);
    ended.excused = true;
    assert_eq!(
        after_its_time(vec![Fact::Snapshot(ended.clone()), asked(46)]),
        retrying
    );
    assert_eq!(
        after_its_time(vec![Fact::Snapshot(ended), asked(47)]),
        overdue
    );
}

#[test]
fn without_a_grace_nothing_is_overdue() {
    let mut basket = basket(vec![line(true)]);
    let facts = vec![
        paid(),
        Fact::PaidPeriod(period(0, 10)),
        Fact::Snapshot(snapshot(StripeStatus::PastDue)),
        Fact::Looked(at(9000 * DAY)),
    ];
    let for_ever = Rules {
        grace: None,
        ..RULES
    };
    merge(
        &mut basket,
        &observe(facts, at(0), Freshness::Event),
        for_ever,
        at(9001 * DAY),
    );
    assert_eq!(basket.lines[0].reason, Reason::PaymentRetrying);
    assert_eq!(look_due(&basket.lines[0], None), None);
}

#[test]
fn what_is_paused_without_service_is_on_hold_once_the_paid_time_is_over() {
    let paused = |collection| {
        let mut paused = snapshot(StripeStatus::Active);
        (paused.collection, paused.excused) = (collection, true);
        Fact::Snapshot(paused)
    };
    assert_eq!(
        after_its_time(vec![paused(Collection::Void)]),
        (Status::OnHold, Reason::CollectionVoid)
    );
    assert_eq!(
        after_its_time(vec![paused(Collection::Paused)]),
        (Status::Active, Reason::CollectionPaused)
    );
    let longer = Fact::PaidPeriod(period(1, 12 * DAY));
    assert_eq!(
        after_its_time(vec![paused(Collection::Void), longer]),
        (Status::Active, Reason::CollectionPaused)
    );
}

#[test]
fn the_period_that_begins_later_counts_also_when_it_ends_earlier() {
    let paid_until = |periods: [Period; 2]| {
        let facts = periods.map(Fact::PaidPeriod).to_vec();
        let mut basket = basket(vec![line(true), line(false)]);
        merge(
            &mut basket,
            &observe(facts, at(0), Freshness::Event),
            RULES,
            at(1),
        );
        assert_eq!(basket.lines[1].paid_period, None);
        basket.lines[0].paid_period
    };
    let (annual, monthly) = (period(0, 365 * DAY), period(30 * DAY, 60 * DAY));
    assert_eq!(paid_until([annual, monthly]), Some(monthly));
    assert_eq!(paid_until([monthly, annual]), Some(monthly));
}

#[test]
fn a_look_is_due_when_the_grace_is_over_and_not_while_nothing_can_be_overdue() {
    let mut line = line(true);
    assert_eq!(look_due(&line, RULES.grace), None, "nothing was paid");
    line.first_paid_at = Some(at(10));
    line.status = Status::Active;
    line.stripe = Some(Held {
        status: StripeStatus::Active,
        at: at(10),
        current_period_end: Some(at(99)),
        cancel_at: None,
        cancel_at_period_end: false,
        collection: Collection::Running,
    });
    let due = |line: &Subscription| look_due(line, RULES.grace);
    assert_eq!(
        due(&line),
        Some(at(10) + FIRST_LOOK),
        "the period is not known"
    );
    line.looked_at = Some(at(20));
    assert_eq!(
        due(&line),
        Some(at(20) + LOOK_AGAIN),
        "and Stripe knows none"
    );
    line.paid_period = Some(period(0, 100));
    assert_eq!(due(&line), Some(at(100) + GRACE));
    line.excused_at = Some(at(150));
    assert_eq!(due(&line), Some(at(150) + GRACE));
    let late = at(151) + GRACE;
    line.looked_at = Some(late);
    assert_eq!(due(&line), Some(late + LOOK_AGAIN), "it is overdue");
    for (status, reason, wanted) in [
        (Status::OnHold, Reason::Overdue, true),
        (Status::OnHold, Reason::Unpaid, false),
        (Status::Cancelled, Reason::CancelScheduled, true),
        (Status::Ended, Reason::Ended, false),
    ] {
        (line.status, line.reason) = (status, reason);
        assert_eq!(due(&line).is_some(), wanted, "{status:?} {reason:?}");
    }
    line.status = Status::Active;
    for (status, collection) in [
        (StripeStatus::Trialing, Collection::Running),
        (StripeStatus::Active, Collection::Paused),
        (StripeStatus::Active, Collection::Void),
    ] {
        let held = line.stripe.as_mut().expect("it has a snapshot");
        (held.status, held.collection) = (status, collection);
        assert_eq!(due(&line), None, "{status:?} {collection:?}");
    }
    line.recurring = false;
    assert_eq!(due(&line), None);
}

#[test]
fn access_lasts_as_long_as_paid_time_and_grace_and_never_ends_in_the_past() {
    let mut held = line(true);
    (held.status, held.first_paid_at) = (Status::Active, Some(at(0)));
    held.paid_period = Some(period(0, 100));
    let mut stripe = Held {
        status: StripeStatus::Active,
        at: at(0),
        current_period_end: Some(at(900)),
        cancel_at: None,
        cancel_at_period_end: false,
        collection: Collection::Running,
    };
    held.stripe = Some(stripe);
    let grace = Some(Duration::seconds(50));
    assert_eq!(held.until(at(10), grace), Some(at(150)));
    assert_eq!(
        held.until(at(151), grace),
        Some(at(151)),
        "Stripe was not asked yet"
    );
    assert_eq!(held.until(at(10), None), None, "for ever");
    stripe.collection = Collection::Void;
    held.stripe = Some(stripe);
    assert_eq!(
        held.until(at(10), grace),
        Some(at(100)),
        "no service is meant"
    );
    stripe.collection = Collection::Paused;
    held.stripe = Some(stripe);
    assert_eq!(held.until(at(10), grace), None);
    (held.status, held.paid_period) = (Status::Cancelled, None);
    assert_eq!(held.until(at(10), grace), Some(at(900)));
    assert_eq!(
        held.paid_until(),
        Some(at(900)),
        "nobody has noted what was paid"
    );
    held.status = Status::OnHold;
    assert_eq!(held.until(at(10), grace), None);
}

#[test]
fn money_that_comes_after_the_end_is_flagged_once_in_any_order() {
    let pay = |seconds: i64, made_at: Option<i64>| Fact::InvoicePaid {
        at: at(seconds),
        made_at: made_at.map(at),
    };
    let flags = |facts: Vec<Fact>| {
        let mut basket = basket(vec![line(true)]);
        let tell = |fact: Fact| {
            let observation = observe(vec![fact], at(0), Freshness::Event);
            merge(&mut basket, &observation, RULES, at(300 * DAY))
                .flag
                .is_some()
        };
        facts.into_iter().map(tell).collect::<Vec<_>>()
    };
    let ended = || Fact::Ended(at(10 * DAY));
    let late = || pay(12 * DAY, Some(DAY));
    assert_eq!(flags(vec![ended(), late(), late()]), [false, true, false]);
    assert_eq!(flags(vec![late(), ended(), ended()]), [false, true, false]);
    assert_eq!(
        flags(vec![ended(), pay(9 * DAY, Some(DAY))]),
        [false, false],
        "paid before"
    );
    // The last invoice of what is ended at once is made with the end and charged within an hour.
    let last = || pay(10 * DAY + 3_600, Some(10 * DAY));
    assert_eq!(flags(vec![ended(), last()]), [false, false]);
    assert_eq!(flags(vec![last(), ended()]), [false, false]);
    assert_eq!(
        flags(vec![ended(), pay(12 * DAY, None)]),
        [false, true],
        "who knows when it was made"
    );
}

#[test]
fn a_quantity_that_a_line_can_t_have_is_flagged_and_left_out() {
    for wrong in [0, -1, i64::from(i32::MAX) + 1] {
        let mut basket = basket(vec![line(true)]);
        basket.lines[0].quantity = 3;
        let mut told = snapshot(StripeStatus::Active);
        told.quantity = Some(wrong);
        let observation = observe(vec![Fact::Snapshot(told)], at(10), Freshness::Event);
        assert!(
            merge(&mut basket, &observation, RULES, at(20))
                .flag
                .is_some(),
            "{wrong}"
        );
        assert_eq!(basket.lines[0].quantity, 3);
    }
}

#[test]
fn a_part_of_what_several_of_a_kind_cost_is_flagged_and_of_one_it_is_not() {
    let flagged = |quantity, lines: Vec<Subscription>, refund| {
        let mut basket = basket(lines);
        basket.lines[0].quantity = quantity;
        let named = vec![(basket.lines[0].id, refund)];
        let facts = vec![paid(), Fact::Refunded(refund, named)];
        let read = observe(facts, at(20), Freshness::Live);
        merge(&mut basket, &read, RULES, at(30)).flag.is_some()
    };
    assert!(flagged(4, vec![line(false)], Refund::Part));
    assert!(flagged(4, vec![line(false), line(false)], Refund::Part));
    assert!(!flagged(4, vec![line(false)], Refund::Full));
    assert!(!flagged(1, vec![line(false)], Refund::Part));
    assert!(
        !flagged(4, vec![line(true)], Refund::Part),
        "it renews: nothing ends by it"
    );
}

#[test]
fn every_row_of_the_one_off_table() {
    let failed = Fact::FirstPaymentFailed(at(5));
    let cases: &[(&[Fact], Status, Reason)] = &[
        (&[], Status::PendingActivation, Reason::AwaitingPayment),
        (
            &[Fact::SessionExpired],
            Status::Ended,
            Reason::CheckoutExpired,
        ),
        (
            &[Fact::SessionExpired, Fact::CancelRequested(at(1))],
            Status::Ended,
            Reason::CheckoutCancelled,
        ),
        (
            &[Fact::SessionNeverOpened],
            Status::Ended,
            Reason::StripeError,
        ),
        (
            &[Fact::SessionCompleted],
            Status::PendingCompletion,
            Reason::PaymentProcessing,
        ),
        (
            &[Fact::SessionCompleted, failed.clone()],
            Status::Ended,
            Reason::PaymentFailed,
        ),
        (
            &[Fact::SessionCompleted, failed, paid()],
            Status::Active,
            Reason::Paid,
        ),
        (
            &[Fact::SessionCompleted, paid()],
            Status::Active,
            Reason::Paid,
        ),
        (
            &[Fact::Paid(at(10), Scope::Recurring)],
            Status::PendingActivation,
            Reason::AwaitingPayment,
        ),
    ];
    for (facts, status, reason) in cases {
        assert_eq!(
            status_after(false, facts, 30),
            (*status, *reason),
            "{facts:?}"
        );
    }
    let mut refunded = basket(vec![line(false)]);
    refunded.lines[0].refund = Refund::Full;
    merge(
        &mut refunded,
        &observe(vec![paid()], at(0), Freshness::Event),
        RULES,
        at(30),
    );
    assert_eq!(
        (refunded.lines[0].status, refunded.lines[0].reason),
        (Status::Ended, Reason::Refunded)
    );
}

#[test]
fn a_fixed_term_runs_from_the_earliest_payment_and_ends_to_the_second() {
    let mut basket = basket(vec![line(false)]);
    basket.lines[0].term = Some(Term::Days(1));
    for paid in [20, 10, 15] {
        let facts = vec![Fact::Paid(at(paid), Scope::Basket)];
        merge(
            &mut basket,
            &observe(facts, at(paid), Freshness::Event),
            RULES,
            at(30),
        );
    }
    let end = at(10) + Duration::DAY;
    assert_eq!(basket.lines[0].term_ends_at, Some(end));
    assert_eq!(
        (basket.lines[0].first_paid_at, basket.lines[0].last_paid_at),
        (Some(at(10)), None)
    );
    let status = |now| derive(&basket.lines[0], &basket.checkout, RULES.grace, now);
    assert_eq!(
        status(end - Duration::SECOND),
        (Status::Active, Reason::Paid)
    );
    assert_eq!(status(end), (Status::Ended, Reason::TermOver));
    assert!(basket.lines[0].entitled(end - Duration::SECOND) && !basket.lines[0].entitled(end));
}

#[test]
fn a_cancelled_subscription_entitles_until_its_date_and_one_on_hold_not_at_all() {
    let mut held = line(true);
    held.status = Status::Cancelled;
    assert!(!held.entitled(at(0)), "no date is known");
    let mut stripe = Held {
        status: StripeStatus::Active,
        at: at(0),
        current_period_end: Some(at(100)),
        cancel_at: None,
        cancel_at_period_end: true,
        collection: Collection::Running,
    };
    held.stripe = Some(stripe);
    assert!(held.entitled(at(99)) && !held.entitled(at(100)));
    stripe.cancel_at = Some(at(50));
    held.stripe = Some(stripe);
    assert!(held.entitled(at(49)) && !held.entitled(at(50)));
    for status in [
        Status::PendingActivation,
        Status::PendingCompletion,
        Status::OnHold,
        Status::Ended,
    ] {
        held.status = status;
        assert!(!held.entitled(at(0)), "{status:?}");
    }
    held.status = Status::Active;
    assert!(
        held.entitled(at(1_000_000)),
        "an active one is told over by Stripe, not by the clock"
    );
}

#[test]
fn a_later_invoice_counts_for_the_recurring_line_alone() {
    let mut basket = basket(vec![line(true), line(false)]);
    let payment = Transaction {
        kind: TransactionKind::Payment,
        reference: "in_2".into(),
        payment_intent: None,
        at: at(10),
    };
    let facts = vec![
        Fact::Paid(at(10), Scope::Recurring),
        Fact::Transaction(payment.clone(), Scope::Recurring),
    ];
    let merged = merge(
        &mut basket,
        &observe(facts, at(10), Freshness::Event),
        RULES,
        at(30),
    );
    assert_eq!(merged.transactions, [(basket.lines[0].id, payment.clone())]);
    assert_eq!(
        (basket.lines[0].status, basket.lines[1].status),
        (Status::Active, Status::PendingActivation)
    );
    let facts = vec![
        Fact::Transaction(payment, Scope::Basket),
        Fact::PaymentIntent("pi_1".into()),
    ];
    let merged = merge(
        &mut basket,
        &observe(facts, at(10), Freshness::Event),
        RULES,
        at(30),
    );
    assert_eq!(
        merged.transactions.len(),
        2,
        "the checkout's own payment is one row a line"
    );
    assert_eq!(basket.lines[0].payment_intent, None);
    assert_eq!(basket.lines[1].payment_intent.as_deref(), Some("pi_1"));
}

#[test]
fn a_snapshot_is_applied_kept_out_or_doubted_by_its_time() {
    let merge_at = |basket: &mut Basket, status, seconds, freshness| {
        let observation = observe(
            vec![Fact::Snapshot(snapshot(status))],
            at(seconds),
            freshness,
        );
        merge(basket, &observation, RULES, at(1000)).doubtful
    };
    let state = |basket: &Basket| basket.lines[0].stripe.map(|held| (held.status, held.at));
    let mut basket = basket(vec![line(true)]);
    assert!(
        !merge_at(&mut basket, StripeStatus::Active, 100, Freshness::Event),
        "the first is taken"
    );
    assert!(
        merge_at(&mut basket, StripeStatus::PastDue, 102, Freshness::Event),
        "two seconds later tells nothing"
    );
    assert!(
        merge_at(&mut basket, StripeStatus::PastDue, 98, Freshness::Event),
        "nor two seconds earlier"
    );
    assert_eq!(state(&basket), Some((StripeStatus::Active, at(100))));
    assert!(
        !merge_at(&mut basket, StripeStatus::PastDue, 97, Freshness::Event),
        "what is older is old news"
    );
    assert_eq!(state(&basket), Some((StripeStatus::Active, at(100))));
    assert!(
        !merge_at(&mut basket, StripeStatus::Active, 101, Freshness::Event),
        "the same again is no doubt"
    );
    assert_eq!(state(&basket), Some((StripeStatus::Active, at(101))));
    assert!(
        !merge_at(&mut basket, StripeStatus::PastDue, 104, Freshness::Event),
        "what is newer is taken"
    );
    assert_eq!(state(&basket), Some((StripeStatus::PastDue, at(104))));
    assert!(
        !merge_at(&mut basket, StripeStatus::Unpaid, 103, Freshness::Live),
        "what was read is how it is"
    );
    assert_eq!(
        state(&basket),
        Some((StripeStatus::Unpaid, at(104))),
        "and time does not go back"
    );
    let observation = observe(vec![Fact::Unclear], at(0), Freshness::Event);
    assert!(merge(&mut basket, &observation, RULES, at(1000)).doubtful);
}

#[test]
fn a_line_item_is_noted_at_its_own_line_and_stays() {
    let mut basket = basket(vec![line(true), line(false)]);
    for item in ["li_1", "li_2"] {
        let facts = vec![Fact::LineItem(basket.lines[1].id, item.into())];
        merge(
            &mut basket,
            &observe(facts, at(0), Freshness::Live),
            RULES,
            at(1),
        );
    }
    let items: Vec<_> = basket
        .lines
        .iter()
        .map(|line| line.stripe_line_item.as_deref())
        .collect();
    assert_eq!(items, [None, Some("li_1")]);
}

#[test]
fn a_quantity_that_the_buyer_could_change_is_read_once_she_has_finished() {
    let mut basket = basket(vec![line(true), line(false)]);
    basket.lines[1].quantity_open = true;
    let id = basket.lines[1].id;
    let completed = || vec![Fact::SessionCompleted];
    let event = |facts| observe(facts, at(0), Freshness::Event);
    assert!(merge(&mut basket, &event(completed()), RULES, at(1)).doubtful);
    let expired = event(vec![Fact::SessionExpired]);
    assert!(!merge(&mut basket, &expired, RULES, at(1)).doubtful);
    // What was read settles it, whether it names the line or not.
    let live = observe(completed(), at(0), Freshness::Live);
    assert!(!merge(&mut basket, &live, RULES, at(1)).doubtful);
    assert!(basket.lines[1].quantity_open);
    let told = observe(vec![Fact::Quantity(id, 5)], at(0), Freshness::Live);
    merge(&mut basket, &told, RULES, at(1));
    assert_eq!(
        (basket.lines[1].quantity, basket.lines[1].quantity_open),
        (5, false)
    );
    assert_eq!(basket.lines[0].quantity, 1);
    assert!(!merge(&mut basket, &event(completed()), RULES, at(1)).doubtful);
}

#[test]
fn a_snapshot_s_quantity_and_price_are_newer_than_the_session_s() {
    let quantity = |first: Fact, second: Fact| {
        let mut basket = basket(vec![line(true)]);
        basket.lines[0].quantity_open = true;
        for mut fact in [first, second] {
            if let Fact::Quantity(id, _) = &mut fact {
                *id = basket.lines[0].id;
            }
            let observation = observe(vec![fact], at(10), Freshness::Event);
            merge(&mut basket, &observation, RULES, at(20));
        }
        let line = &basket.lines[0];
        (line.quantity, line.quantity_open, line.stripe_price.clone())
    };
    let mut changed = snapshot(StripeStatus::Active);
    (changed.quantity, changed.price) = (Some(2), Some("price_2".into()));
    let told = Fact::Quantity(NO_LINE, 3);
    let end = (2, false, "price_2".to_owned());
    let changed = Fact::Snapshot(changed);
    assert_eq!(quantity(told.clone(), changed.clone()), end);
    assert_eq!(quantity(changed, told.clone()), end);
    // One that does not tell leaves both as they were.
    let mut silent = snapshot(StripeStatus::Active);
    (silent.quantity, silent.price) = (None, None);
    let end = (3, false, "price_1".to_owned());
    let silent = Fact::Snapshot(silent);
    assert_eq!(quantity(told.clone(), silent.clone()), end);
    assert_eq!(quantity(silent, told), end);
}

#[test]
fn a_snapshot_that_tells_less_but_nothing_else_is_no_doubt() {
    let mut basket = basket(vec![line(true)]);
    let mut told = snapshot(StripeStatus::Active);
    let first = observe(vec![Fact::Snapshot(told.clone())], at(10), Freshness::Event);
    merge(&mut basket, &first, RULES, at(20));
    (told.price, told.quantity) = (None, None);
    let same = observe(vec![Fact::Snapshot(told.clone())], at(11), Freshness::Event);
    assert!(!merge(&mut basket, &same, RULES, at(20)).doubtful);
    told.quantity = Some(9);
    let other = observe(vec![Fact::Snapshot(told)], at(12), Freshness::Event);
    assert!(merge(&mut basket, &other, RULES, at(20)).doubtful);
}

#[test]
fn a_checkout_that_got_its_session_meanwhile_is_not_given_up() {
    let mut basket = basket(vec![line(true)]);
    let observation = observe(vec![Fact::SessionNeverOpened], at(0), Freshness::Event);
    merge(&mut basket, &observation, RULES, at(1));
    assert_eq!(basket.checkout.status, SessionStatus::Open);
}

fn dispute(
    id: &str,
    state: DisputeState,
    payment_at: Option<i64>,
    lost_at: Option<i64>,
) -> Dispute {
    Dispute {
        reference: id.into(),
        state,
        payment_intent: Some("pi_1".into()),
        at: at(20),
        payment_at: payment_at.map(at),
        lost_at: lost_at.map(at),
        part: false,
    }
}

/// The status of a single paid line (the newest invoice at 10) with these disputes.
fn disputed(recurring: bool, disputes: &[Dispute]) -> (Status, Reason) {
    let facts = [paid(), invoice_paid(10), Fact::Disputes(disputes.to_vec())];
    status_after(recurring, &facts, 30)
}

#[test]
fn an_open_dispute_holds_a_line_up_and_a_lost_one_ends_what_it_paid_for() {
    use DisputeState::{Lost, Open, Won};
    let (open, won) = (
        dispute("du_1", Open, Some(10), None),
        dispute("du_1", Won, Some(10), None),
    );
    let lost = dispute("du_1", Lost, Some(10), Some(25));
    assert_eq!(
        disputed(true, std::slice::from_ref(&open)),
        (Status::OnHold, Reason::Disputed)
    );
    assert_eq!(
        disputed(false, std::slice::from_ref(&open)),
        (Status::OnHold, Reason::Disputed)
    );
    assert_eq!(
        disputed(true, std::slice::from_ref(&won)),
        (Status::Active, Reason::Paid)
    );
    assert_eq!(disputed(false, &[won]), (Status::Active, Reason::Paid));
    assert_eq!(
        disputed(true, std::slice::from_ref(&lost)),
        (Status::OnHold, Reason::DisputeLost)
    );
    assert_eq!(
        disputed(false, std::slice::from_ref(&lost)),
        (Status::Ended, Reason::DisputeLost)
    );
    let both = [open, dispute("du_2", Lost, Some(10), Some(25))];
    assert_eq!(
        disputed(false, &both),
        (Status::Ended, Reason::DisputeLost),
        "what is lost weighs more"
    );
}

#[test]
fn only_the_newest_payment_s_dispute_holds_a_membership_up_and_a_later_payment_makes_up_for_a_loss()
{
    use DisputeState::{Lost, Open};
    assert_eq!(
        disputed(true, &[dispute("du_1", Open, Some(9), None)]),
        (Status::Active, Reason::Paid)
    );
    assert_eq!(
        disputed(true, &[dispute("du_1", Open, None, None)]),
        (Status::OnHold, Reason::Disputed)
    );
    assert_eq!(
        disputed(true, &[dispute("du_1", Lost, Some(5), Some(9))]),
        (Status::Active, Reason::Paid)
    );
    assert_eq!(
        disputed(true, &[dispute("du_1", Lost, Some(5), Some(10))]),
        (Status::OnHold, Reason::DisputeLost)
    );
}

#[test]
fn a_loss_that_nobody_dated_counts_from_the_opening() {
    use DisputeState::Lost;
    // It was opened at 20; the newest invoice was paid at 10.
    assert_eq!(
        disputed(true, &[dispute("du_1", Lost, Some(10), None)]),
        (Status::OnHold, Reason::DisputeLost)
    );
    let facts = [
        paid(),
        invoice_paid(21),
        Fact::Disputes(vec![dispute("du_1", Lost, Some(10), None)]),
    ];
    assert_eq!(
        status_after(true, &facts, 30),
        (Status::Active, Reason::Paid)
    );
}

#[test]
fn a_dispute_over_a_part_of_a_basket_ends_nothing_and_is_flagged_when_it_moves() {
    use DisputeState::{Lost, Open};
    let part = |state| Dispute {
        part: true,
        ..dispute("du_1", state, Some(10), None)
    };
    let tell = |basket: &mut Basket, state| {
        let facts = vec![paid(), invoice_paid(10), Fact::Disputes(vec![part(state)])];
        merge(
            basket,
            &observe(facts, at(50), Freshness::Live),
            RULES,
            at(60),
        )
        .flag
        .is_some()
    };
    let mut several = basket(vec![line(true), line(false), line(false)]);
    let flags = [Open, Open, Lost].map(|state| tell(&mut several, state));
    assert_eq!(flags, [true, false, true]);
    let paid = (Status::Active, Reason::Paid);
    assert!(
        several
            .lines
            .iter()
            .all(|line| (line.status, line.reason) == paid)
    );
    // What is paid for one line alone names it by itself, also in a basket of several.
    let mut one = basket(vec![line(false)]);
    assert!(!tell(&mut one, Open));
    assert_eq!(one.lines[0].status, Status::OnHold);
    let mut renewal = basket(vec![line(true), line(false)]);
    renewal.payments.truncate(1);
    assert!(!tell(&mut renewal, Open));
    assert_eq!(renewal.lines[0].status, Status::OnHold);
}

#[test]
fn a_dispute_is_overwritten_by_a_newer_read_but_the_earliest_time_of_its_loss_stays() {
    let mut basket = basket(vec![line(true)]);
    for (state, lost_at) in [
        (DisputeState::Open, None),
        (DisputeState::Lost, Some(40)),
        (DisputeState::Lost, Some(25)),
        (DisputeState::Lost, Some(33)),
    ] {
        let facts = vec![Fact::Disputes(vec![dispute(
            "du_1",
            state,
            Some(10),
            lost_at,
        )])];
        merge(
            &mut basket,
            &observe(facts, at(50), Freshness::Live),
            RULES,
            at(60),
        );
    }
    assert_eq!(
        basket.lines[0].disputes,
        [dispute("du_1", DisputeState::Lost, Some(10), Some(25))]
    );
    basket.payments.clear();
    let facts = vec![Fact::Disputes(vec![dispute(
        "du_2",
        DisputeState::Open,
        None,
        None,
    )])];
    merge(
        &mut basket,
        &observe(facts, at(50), Freshness::Live),
        RULES,
        at(60),
    );
    assert_eq!(
        basket.lines[0].disputes.len(),
        1,
        "another payment's dispute is not this line's"
    );
}

#[test]
fn a_full_refund_ends_every_one_off_line_and_no_recurring_one() {
    let mut basket = basket(vec![line(true), line(false), line(false)]);
    let facts = vec![paid(), Fact::Refunded(Refund::Full, Vec::new())];
    merge(
        &mut basket,
        &observe(facts, at(20), Freshness::Event),
        RULES,
        at(30),
    );
    let statuses: Vec<_> = basket
        .lines
        .iter()
        .map(|line| (line.status, line.refund))
        .collect();
    let ended = (Status::Ended, Refund::Full);
    assert_eq!(statuses, [(Status::Active, Refund::None), ended, ended]);
}

#[test]
fn a_partial_refund_of_a_basket_is_read_and_touches_the_lines_that_it_names() {
    let mut basket = basket(vec![line(true), line(false), line(false)]);
    let event = observe(
        vec![paid(), Fact::Refunded(Refund::Part, Vec::new())],
        at(20),
        Freshness::Event,
    );
    assert!(merge(&mut basket, &event, RULES, at(30)).doubtful);
    assert!(basket.lines.iter().all(|line| line.refund == Refund::None));
    let named = vec![(basket.lines[1].id, Refund::Part)];
    let live = observe(
        vec![Fact::Refunded(Refund::Part, named)],
        at(20),
        Freshness::Live,
    );
    assert!(!merge(&mut basket, &live, RULES, at(30)).doubtful);
    let refunds: Vec<_> = basket.lines.iter().map(|line| line.refund).collect();
    assert_eq!(refunds, [Refund::None, Refund::Part, Refund::None]);
    assert!(
        basket
            .lines
            .iter()
            .all(|line| line.status == Status::Active)
    );
}

#[test]
fn all_of_a_line_that_went_back_ends_it_and_none_beside_it() {
    let mut basket = basket(vec![line(true), line(false), line(false)]);
    basket.lines[1].quantity = 4;
    let named = vec![
        (basket.lines[1].id, Refund::Full),
        (basket.lines[1].id, Refund::Part),
    ];
    let facts = vec![paid(), Fact::Refunded(Refund::Part, named)];
    let merged = merge(
        &mut basket,
        &observe(facts, at(20), Freshness::Live),
        RULES,
        at(30),
    );
    assert_eq!((merged.flag, merged.doubtful), (None, false));
    let statuses: Vec<_> = basket.lines.iter().map(|line| line.status).collect();
    assert_eq!(statuses, [Status::Active, Status::Ended, Status::Active]);
}

#[test]
fn a_refund_only_grows_until_one_has_failed_and_then_stripe_is_read() {
    let mut basket = basket(vec![line(false)]);
    let mut tell = |fact, freshness| {
        let observation = observe(vec![paid(), fact], at(20), freshness);
        let doubtful = merge(&mut basket, &observation, RULES, at(30)).doubtful;
        (basket.lines[0].refund, doubtful)
    };
    let refunded = |refund| Fact::Refunded(refund, Vec::new());
    assert_eq!(
        tell(refunded(Refund::Part), Freshness::Event),
        (Refund::Part, false)
    );
    assert_eq!(
        tell(refunded(Refund::Full), Freshness::Event),
        (Refund::Full, false)
    );
    assert_eq!(
        tell(refunded(Refund::Part), Freshness::Event),
        (Refund::Full, false)
    );
    assert_eq!(
        tell(Fact::RefundFailed, Freshness::Event),
        (Refund::Full, true)
    );
    assert_eq!(
        tell(refunded(Refund::Part), Freshness::Live),
        (Refund::Part, false)
    );
    assert_eq!(
        tell(refunded(Refund::Full), Freshness::Event),
        (Refund::Part, true)
    );
    assert_eq!(
        tell(refunded(Refund::None), Freshness::Live),
        (Refund::None, false)
    );
    let mut basket = self::basket(vec![line(false)]);
    basket.payments.clear();
    merge(
        &mut basket,
        &observe(
            vec![refunded(Refund::Full), Fact::RefundFailed],
            at(20),
            Freshness::Event,
        ),
        RULES,
        at(30),
    );
    assert_eq!(
        (basket.lines[0].refund, basket.lines[0].refund_failed),
        (Refund::None, false)
    );
}

#[test]
fn a_refund_of_a_payment_that_no_line_knows_yet_is_read() {
    let mut basket = basket(vec![line(false)]);
    basket.payments.clear();
    let facts = vec![Fact::Refunded(Refund::Full, Vec::new())];
    let mut tell = |freshness| {
        let observation = observe(facts.clone(), at(20), freshness);
        merge(&mut basket, &observation, RULES, at(30)).doubtful
    };
    assert!(tell(Freshness::Event));
    assert!(!tell(Freshness::Live));
    assert_eq!(basket.lines[0].refund, Refund::None);
}

#[test]
fn a_refund_that_is_read_as_failed_keeps_older_events_from_being_believed() {
    let mut basket = basket(vec![line(false)]);
    let read = vec![
        paid(),
        Fact::Refunded(Refund::None, Vec::new()),
        Fact::RefundFailed,
    ];
    let read = observe(read, at(20), Freshness::Live);
    assert!(!merge(&mut basket, &read, RULES, at(30)).doubtful);
    let old = vec![Fact::Refunded(Refund::Full, Vec::new())];
    let old = observe(old, at(10), Freshness::Event);
    assert!(merge(&mut basket, &old, RULES, at(30)).doubtful);
    assert_eq!(basket.lines[0].refund, Refund::None);
}

#[test]
fn a_refund_named_twice_by_one_source_is_one_row_that_has_come_furthest() {
    use crate::domain::subscription::RefundProgress::{Pending, Succeeded};
    let refund = |progress, seconds, payment_intent: Option<&str>| {
        let kind = TransactionKind::Refund(progress);
        let payment_intent = payment_intent.map(Into::into);
        Fact::Transaction(
            Transaction {
                kind,
                reference: "re_1".into(),
                payment_intent,
                at: at(seconds),
            },
            Scope::Concerned,
        )
    };
    let mut basket = basket(vec![line(false)]);
    let facts = vec![
        refund(Succeeded, 9, None),
        refund(Pending, 7, Some("pi_1")),
        refund(Pending, 8, None),
    ];
    let merged = merge(
        &mut basket,
        &observe(facts, at(20), Freshness::Event),
        RULES,
        at(30),
    );
    let (kind, reference) = (TransactionKind::Refund(Succeeded), "re_1".into());
    let row = Transaction {
        kind,
        reference,
        payment_intent: Some("pi_1".into()),
        at: at(7),
    };
    assert_eq!(merged.transactions, [(basket.lines[0].id, row)]);
}

/// Stands for a line that is not there yet.
const NO_LINE: SubscriptionId = SubscriptionId(uuid::Uuid::nil());

/// Puts the basket's lines into facts that were made before it: three were bought of the first, four of the second.
fn of_lines(facts: &[Fact], basket: &Basket) -> Vec<Fact> {
    let filled = |fact: &Fact| match fact {
        Fact::Quantity(_, 3) => Fact::Quantity(basket.lines[0].id, 3),
        Fact::Quantity(_, count) => Fact::Quantity(basket.lines[1].id, *count),
        fact => fact.clone(),
    };
    facts.iter().map(filled).collect()
}

fn growing_fact() -> impl Strategy<Value = Fact> {
    let scope = prop_oneof![Just(Scope::Basket), Just(Scope::Recurring)];
    let seconds = 0..200_i64;
    prop_oneof![
        Just(Fact::SessionCompleted),
        Just(Fact::SessionExpired),
        Just(Fact::SessionNeverOpened),
        seconds.clone().prop_map(|s| Fact::CancelRequested(at(s))),
        (seconds.clone(), scope.clone()).prop_map(|(s, scope)| Fact::Paid(at(s), scope)),
        seconds
            .clone()
            .prop_map(|s| Fact::FirstPaymentFailed(at(s))),
        seconds.clone().prop_map(|s| Fact::Ended(at(s))),
        Just(Fact::PaymentIntent("pi_1".into())),
        // The session never says another quantity of the same line; which line is filled in below.
        (0..2_usize).prop_map(|line| Fact::Quantity(NO_LINE, [3, 4][line])),
        seconds.clone().prop_map(invoice_paid),
        (seconds.clone(), 1..3_i64).prop_map(|(s, long)| Fact::PaidPeriod(period(s, s + long))),
        seconds.clone().prop_map(|s| Fact::Looked(at(s))),
        prop_oneof![Just(Refund::Part), Just(Refund::Full)]
            .prop_map(|refund| Fact::Refunded(refund, Vec::new())),
        (seconds, scope, 0..3_u8).prop_map(|(s, scope, n)| {
            let (kind, reference) = (TransactionKind::Payment, format!("in_{n}"));
            Fact::Transaction(
                Transaction {
                    kind,
                    reference,
                    payment_intent: None,
                    at: at(s),
                },
                scope,
            )
        }),
    ]
}

/// Cases in the ordinary run; `PROPTEST_CASES=1000000 cargo test --release --lib lifecycle` runs a million.
fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(3000),
        ..ProptestConfig::default()
    }
}

fn merge_all(mut basket: Basket, facts: &[Fact]) -> Basket {
    for fact in facts {
        merge(
            &mut basket,
            &observe(vec![fact.clone()], at(0), Freshness::Event),
            RULES,
            at(300),
        );
    }
    basket
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn facts_that_grow_merge_in_any_order_and_any_number_of_times(
        (facts, shuffled) in prop::collection::vec(growing_fact(), 0..12).prop_flat_map(|facts| {
            let doubled: Vec<Fact> = facts.iter().chain(&facts).cloned().collect();
            (Just(facts), Just(doubled).prop_shuffle())
        }),
        cut in 0..24_usize,
        term in prop_oneof![Just(None), Just(Some(Term::Days(1)))],
    ) {
        let mut start = basket(vec![line(true), line(false)]);
        start.lines[1].term = term;
        start.lines.iter_mut().for_each(|line| line.quantity_open = true);
        let (facts, shuffled) = (of_lines(&facts, &start), of_lines(&shuffled, &start));
        let once = merge_all(start.clone(), &facts);
        prop_assert_eq!(&merge_all(start.clone(), &shuffled), &once);
        let together = {
            let mut basket = start.clone();
            merge(&mut basket, &observe(facts.clone(), at(0), Freshness::Event), RULES, at(300));
            basket
        };
        prop_assert_eq!(&together, &once);
        let prefix = merge_all(start, &shuffled[..cut.min(shuffled.len())]);
        prop_assert_eq!(&merge_all(prefix, &facts), &once);
    }

    #[test]
    fn snapshots_in_any_order_end_at_the_truth_once_a_doubt_is_settled_by_reading(
        (history, delivered) in prop::collection::vec(
            (0..6_i64, 0..StripeStatus::ALL.len(), any::<bool>(), 1..3_i64, 0..3_u8),
            1..8,
        )
            .prop_map(|steps| {
                let mut time = 0;
                steps.into_iter().map(|(gap, status, cancel, quantity, price)| {
                    time += gap;
                    let mut state = snapshot(StripeStatus::ALL[status]);
                    state.cancel_at_period_end = cancel;
                    state.quantity = Some(quantity);
                    state.price = Some(format!("price_{price}"));
                    (time, state)
                }).collect::<Vec<_>>()
            })
            .prop_flat_map(|history| {
                let doubled: Vec<_> = history.iter().chain(&history).cloned().collect();
                (Just(history), Just(doubled).prop_shuffle())
            }),
    ) {
        let mut basket = basket(vec![line(true)]);
        let (_, truth) = history[history.len() - 1].clone();
        let mut doubtful = false;
        for (seconds, state) in delivered {
            let observation = observe(vec![Fact::Snapshot(state)], at(seconds), Freshness::Event);
            doubtful |= merge(&mut basket, &observation, RULES, at(300)).doubtful;
        }
        if doubtful {
            let read = vec![Fact::Snapshot(truth.clone())];
            merge(&mut basket, &observe(read, at(100), Freshness::Live), RULES, at(300));
        }
        prop_assert_eq!(snapshot_of(&basket.lines[0]), Some(truth));
    }

    #[test]
    fn refunds_and_disputes_in_any_order_end_at_the_truth_once_a_doubt_is_settled_by_reading(
        (told, truth, disputes, cut) in (
            prop::sample::select(vec![Refund::None, Refund::Part, Refund::Full]),
            prop::option::of(prop::sample::select(vec![Refund::None, Refund::Part])),
            prop::collection::vec(0..3_usize, 0..3),
        ).prop_flat_map(|(highest, after_failure, disputes)| {
            let mut told: Vec<Fact> = [Refund::Part, Refund::Full]
                .into_iter()
                .filter(|refund| *refund <= highest)
                .map(|refund| Fact::Refunded(refund, Vec::new()))
                .collect();
            let truth = match after_failure.filter(|left| *left < highest) {
                Some(left) => {
                    told.push(Fact::RefundFailed);
                    left
                }
                None => highest,
            };
            let disputes: Vec<Dispute> = disputes.into_iter().enumerate().map(|(number, state)| {
                told.push(Fact::Unclear);
                let state = [DisputeState::Open, DisputeState::Won, DisputeState::Lost][state];
                dispute(&format!("du_{number}"), state, None, None)
            }).collect();
            told.extend(told.clone());
            let length = told.len();
            (Just(told).prop_shuffle(), Just(truth), Just(disputes), 0..=length)
        }),
    ) {
        let mut basket = basket(vec![line(false)]);
        let now = |facts, freshness| observe(facts, at(100), freshness);
        merge(&mut basket, &now(vec![paid()], Freshness::Event), RULES, at(300));
        // The worker reads whenever it gets round to it: in the middle, and at the end.
        for told in [&told[..cut], &told[cut..]] {
            let mut doubtful = false;
            for fact in told {
                let event = now(vec![fact.clone()], Freshness::Event);
                doubtful |= merge(&mut basket, &event, RULES, at(300)).doubtful;
            }
            if doubtful {
                let read = vec![Fact::Refunded(truth, Vec::new()), Fact::Disputes(disputes.clone())];
                merge(&mut basket, &now(read, Freshness::Live), RULES, at(300));
            }
        }
        prop_assert_eq!(basket.lines[0].refund, truth);
        prop_assert_eq!(&basket.lines[0].disputes, &disputes);
    }
}
