//! Due work in the order of time.

use super::{billing, debits, discounts, disputes, dunning, periods, refunds};
use crate::engine::checkout;
use crate::world::json::Json;
use crate::world::{Task, World};

/// Does everything that is due by now.
pub(crate) fn run_due(world: &mut World) {
    let until = world.now();
    run_until(world, until);
}

/// Moves the clock ahead, doing what falls due on the way at its own moment.
pub(crate) fn advance_to(world: &mut World, target: i64) {
    run_until(world, target);
    let ahead = target - world.now();
    if ahead > 0 {
        world.clock.offset += ahead;
        world.dirty = true;
    }
}

fn run_until(world: &mut World, until: i64) {
    if world.clock.frozen.is_some() {
        return;
    }
    while let Some(entry) = world
        .schedule
        .first_entry()
        .filter(|entry| entry.key().0 <= until)
    {
        let ((at, _), task) = entry.remove_entry();
        world.clock.frozen = Some(at);
        run(world, task);
        world.clock.frozen = None;
        world.dirty = true;
    }
}

fn run(world: &mut World, task: Task) {
    match task {
        Task::ExpireSession(id) => {
            let session = world.store.copy(&id);
            if session.text("status") == "open" && session.int("expires_at") <= world.now() {
                checkout::expire(world, &id);
            }
        }
        Task::AnnounceRenewal(id) => periods::announce_renewal(world, &id),
        Task::AnnounceTrialEnd(id) => periods::announce_trial_end(world, &id),
        Task::EndPeriod(id) => periods::end_period(world, &id),
        Task::CancelAt(id) => periods::cancel_at(world, &id),
        Task::ExpireIncomplete(id) => periods::expire_incomplete(world, &id),
        Task::FinalizeInvoice(id) => billing::advance_draft(world, &id),
        Task::RetryInvoice(id) => dunning::retry(world, &id),
        Task::InvoiceOverdue(id) => dunning::overdue(world, &id),
        Task::SettleDebit(intent, succeeds) => {
            // Settled by hand before: nothing is left to do.
            let _ = debits::settle(world, &intent, succeeds);
        }
        Task::SettleRefund(id) => {
            refunds::succeed(world, &id);
        }
        Task::OpenDispute(charge) => disputes::open_planned(world, &charge),
        Task::ResumeCollection(id) => periods::resume_collection(world, &id),
        Task::EndOffer(id) => discounts::expire(world, &id),
        Task::ExpireResumption(invoice) => periods::expire_resumption(world, &invoice),
    }
}
