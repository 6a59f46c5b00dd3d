//! What upkeep does, as a table: each job has a task of its own, so that a slow one keeps no other waiting, and is
//! started again when it dies.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Upkeep;
use crate::purchases::Error;

/// How much was done, or why it could not be.
type Outcome = Result<usize, Error>;
/// One run of a job.
type Run = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Something to be done now and then. Every run looks for itself what there is to do, so that one more does no harm.
struct Job {
    /// In the log and in the metrics.
    name: &'static str,
    /// How long to wait after a run that found nothing to do, or failed.
    every: Duration,
    /// Whether a deferred event wakes it before.
    woken: bool,
    run: fn(Upkeep, CancellationToken) -> Run,
}

impl Upkeep {
    /// All jobs. To add one, add a row.
    fn jobs(&self) -> [Job; 14] {
        let worker = &self.settings.worker;
        let (often, rarely) = (worker.interval, worker.interval.max(RARELY));
        [
            Job {
                name: "settle_deferred",
                every: often,
                woken: true,
                run: |upkeep, _| Box::pin(async move { upkeep.events.settle_deferred().await }),
            },
            Job {
                name: "sweep_checkouts",
                every: often,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.sweep_checkouts().await }),
            },
            Job {
                name: "end_terms",
                every: often,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.end_terms().await }),
            },
            Job {
                name: "end_unpaid",
                every: often,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.cancel_unpaid().await }),
            },
            Job {
                name: "look_at_due",
                every: often,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.look_at_due().await }),
            },
            Job {
                name: "settle_actions",
                every: often.saturating_mul(10),
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.operators.settle_actions().await }),
            },
            Job {
                name: "log_actions",
                every: Duration::from_hours(24),
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.operators.log_head().await }),
            },
            Job {
                name: "judge_by_new_grace",
                every: Duration::from_hours(1),
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.judge_by_new_grace().await }),
            },
            Job {
                name: "purge_events",
                every: rarely,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.purge_events().await }),
            },
            Job {
                name: "purge_feed",
                every: rarely,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.purge_feed().await }),
            },
            Job {
                name: "purge_unpaid",
                every: rarely,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.purge_unpaid().await }),
            },
            Job {
                name: "compare",
                every: worker.compare_interval,
                woken: false,
                run: |upkeep, _| Box::pin(async move { upkeep.compare_next().await }),
            },
            Job {
                name: "count_today",
                every: worker.compare_interval.min(COUNT_EVERY),
                woken: false,
                run: |upkeep, stop| Box::pin(async move { upkeep.count_today(&stop).await }),
            },
            Job {
                name: "reconcile",
                every: worker.reconcile_interval,
                woken: false,
                run: |upkeep, stop| Box::pin(async move { upkeep.walk_events(&stop).await }),
            },
        ]
    }

    /// Works until told to stop; what is under way then is finished first.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for job in self.jobs() {
            tasks.spawn(self.clone().repeat(job, stop.clone()));
        }
        // A task ends only when it is told to: what a run does wrong stays in the run.
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                tracing::error!("a job ended badly");
            }
        }
    }

    async fn repeat(self, job: Job, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // In a task of its own: a panic ends this run alone.
            let run = tokio::spawn((job.run)(self.clone(), stop.clone()));
            let (did, outcome) = match run.await {
                Ok(Ok(did)) => (did, "done"),
                Ok(Err(error)) => {
                    tracing::error!(job = job.name, %error, "a job could not do its work");
                    (0, "failed")
                }
                // Where is in the log already; what the panic said may be of somebody.
                Err(_) => {
                    tracing::error!(job = job.name, "a job died and will be started again");
                    (0, "died")
                }
            };
            self.vitals.note(job.name, outcome == "died");
            counter!("job_runs_total", "job" => job.name, "outcome" => outcome).increment(1);
            if outcome == "done" {
                let now = self.clock.wall().unix_timestamp();
                let seconds = u32::try_from(now).unwrap_or(u32::MAX);
                gauge!("job_last_success_timestamp_seconds", "job" => job.name).set(seconds);
            }
            if did > 0 {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.purchases.deferred.notified(), if job.woken => {}
                () = tokio::time::sleep(job.every) => {}
            }
        }
    }
}

/// A job that has died so often, one time after the other, will not get well by itself.
const OFTEN: u32 = 3;

/// How often each job has died since it last lived.
#[derive(Clone, Debug, Default)]
pub(super) struct Vitals(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Vitals {
    fn note(&self, job: &'static str, died: bool) {
        let mut deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if died {
            *deaths.entry(job).or_default() += 1;
        } else {
            deaths.remove(job);
        }
    }

    /// The jobs that keep dying.
    pub(super) fn dying(&self) -> Vec<&'static str> {
        let deaths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dying = deaths.iter().filter(|(_, times)| **times >= OFTEN);
        dying.map(|(job, _)| *job).collect()
    }
}

/// What the page of the day shows is no older than two of these.
const COUNT_EVERY: Duration = Duration::from_mins(1);
/// What need not be looked at often.
const RARELY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_dies_again_and_again_is_told_until_it_lives() {
        let vitals = Vitals::default();
        for _ in 1..OFTEN {
            vitals.note("one", true);
            vitals.note("other", true);
        }
        assert!(vitals.dying().is_empty());
        vitals.note("one", true);
        vitals.note("other", false);
        vitals.note("other", true);
        assert_eq!(vitals.dying(), ["one"]);
        vitals.note("one", false);
        assert!(vitals.dying().is_empty());
    }
}
