//! The operator's commands: look at events and apply them again, compare with Stripe, check the plans,
//! look at the whole deployment.

mod actions;
mod adopt;
mod doctor;
mod feed;
mod followers;
mod from_mosaic;
mod plans;

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use dues::app;
use dues::domain::ids::ActionId;
use dues::services::events::Events as Told;
use dues::services::events::compare::{Compared, How};
use dues::services::events::replay::types;
use dues::settings::Settings;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub(crate) use self::actions::{Actions, actions};
use self::actions::{Why, told};
pub(crate) use self::adopt::{Adopt, adopt};
pub(crate) use self::doctor::{Examination, doctor};
pub(crate) use self::feed::{Feed, feed};
pub(crate) use self::followers::{Followers, followers};
pub(crate) use self::plans::{Plans, plans};

/// What to do with events.
#[derive(Subcommand)]
pub(crate) enum Events {
    /// List the newest events
    List {
        /// Only those in this state: applied, ignored, deferred, failed, flagged
        #[arg(long, value_parser = ["applied", "ignored", "deferred", "failed", "flagged"])]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// List the types that Dues acts on: what the webhook endpoint at Stripe should be subscribed to
    Types,
    /// Show one event as JSON
    Show {
        /// evt_…
        id: String,
    },
    /// Read events from Stripe again and apply them, whatever became of them before
    Replay {
        /// evt_…, one or several
        #[arg(required_unless_present = "state")]
        ids: Vec<String>,
        /// All that are in this state, the newest first
        #[arg(long, value_parser = ["deferred", "failed", "flagged"], conflicts_with = "ids")]
        state: Option<String>,
        /// At most so many of them
        #[arg(long, default_value_t = 1000, requires = "state")]
        limit: u32,
    },
    /// Take an event that failed or was flagged off the list of what wants attention
    Dismiss {
        /// evt_…
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

/// How to reconcile.
#[derive(Args)]
pub(crate) struct Reconcile {
    /// Compare every checkout that has not ended with Stripe, instead of walking Stripe's events
    #[arg(long)]
    full: bool,
    /// Write what Stripe says where the two differ
    #[arg(long, requires = "full")]
    apply: bool,
    /// How far back refunds, disputes, sessions and what has ended are looked at, as a date (2026-01-31); by default 120
    /// days
    #[arg(long, requires = "full", value_parser = date)]
    since: Option<OffsetDateTime>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// A day's beginning.
fn date(text: &str) -> Result<OffsetDateTime, String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    let day = time::Date::parse(text, &format).map_err(|_| "not a date such as 2026-01-31")?;
    Ok(day.midnight().assume_utc())
}

async fn events_at_stripe() -> anyhow::Result<Told> {
    let (services, _) = app::build_services(Arc::new(Settings::from_environment()?)).await?;
    Ok(services.events.in_background())
}

/// `dues events …`
pub(crate) async fn events(command: Events) -> anyhow::Result<()> {
    match command {
        Events::Types => {
            for name in types() {
                println!("{name}");
            }
        }
        Events::List { state, limit, json } => {
            let told = events_at_stripe().await?;
            let events = told.list(state.as_deref(), limit.into()).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&events)?);
                return Ok(());
            }
            println!(
                "{:<10} {:<32} {:<45} {:<22} CAUSE",
                "STATE", "EVENT", "TYPE", "ABOUT"
            );
            for event in &events {
                let cause = event.last_error.as_deref().unwrap_or("");
                let columns = (&event.state, &event.id, &event.r#type, &event.object_id);
                println!(
                    "{:<10} {:<32} {:<45} {:<22} {cause}",
                    columns.0, columns.1, columns.2, columns.3
                );
            }
            eprintln!("{} event(s)", events.len());
        }
        Events::Show { id } => {
            let told = events_at_stripe().await?;
            let event = told.find(&id).await?.with_context(|| {
                format!("no event {id} is recorded: it concerns none of our rows, or it never came (dues events replay {id})")
            })?;
            println!("{}", serde_json::to_string_pretty(&event)?);
        }
        Events::Replay { ids, state, limit } => {
            let told = events_at_stripe().await?;
            let ids = match &state {
                Some(state) => {
                    let events = told.list(Some(state), limit.into()).await?;
                    events.into_iter().map(|event| event.id).collect()
                }
                None => ids,
            };
            replay(&told, &ids).await?;
        }
        Events::Dismiss { id, why } => {
            let settings = Arc::new(Settings::from_environment()?);
            let (services, clock) = app::build_services(settings).await?;
            let key = ActionId::new(clock.now());
            let ask = why.ask(&services.operators, key, &format!("dismiss {id}"))?;
            let acted = services.operators.dismiss(&id, &ask).await;
            told(acted, &id)?;
        }
    }
    Ok(())
}

/// Replays each; one that can't be replayed keeps no other from it.
async fn replay(told: &Told, ids: &[String]) -> anyhow::Result<()> {
    let mut refused = 0;
    for id in ids {
        match told.replay(id).await {
            Ok(outcome) => println!("{id} {}", outcome.as_str()),
            Err(error) => {
                eprintln!("{id} can't be replayed: {error}");
                refused += 1;
            }
        }
    }
    anyhow::ensure!(
        refused == 0,
        "{refused} of {} could not be replayed",
        ids.len()
    );
    Ok(())
}

/// `dues reconcile …`; interrupted, it ends in order, and the next run goes on.
pub(crate) async fn reconcile(
    how: Reconcile,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let told = events_at_stripe().await?;
    let stop = CancellationToken::new();
    let work = async {
        if how.full {
            let compare = How {
                apply: how.apply,
                since: how.since,
            };
            let compared = told
                .compare(compare, &stop, |so_far| {
                    eprintln!(
                        "{} checkouts compared, {} differ",
                        so_far.checkouts,
                        so_far.differences()
                    );
                })
                .await?;
            report(&compared, how.json)
        } else {
            let walked = told
                .reconcile_events(&stop, |at, so_far| {
                    eprintln!(
                        "up to {at}: {} events listed, {} applied",
                        so_far.listed, so_far.applied
                    );
                })
                .await?;
            if how.json {
                println!("{}", serde_json::to_string(&walked)?);
            } else {
                println!(
                    "{} events listed; new to us: {} applied, {} left to the worker, {} flagged, {} failed",
                    walked.listed, walked.applied, walked.deferred, walked.flagged, walked.failed
                );
            }
            if walked.gap {
                eprintln!(
                    "Stripe has no events of some of the time since the last walk any more: run dues reconcile --full"
                );
            }
            Ok(())
        }
    };
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = interrupted => {
            eprintln!("stopping; the next run goes on from here");
            stop.cancel();
            work.await
        }
    }
}

fn report(compared: &Compared, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(compared)?);
    } else {
        println!(
            "{:<38} {:<24} {:<20} {:<20} DIFFERS MENDED",
            "SUBSCRIPTION", "PLAN", "HERE", "AT STRIPE"
        );
        for drift in &compared.drift {
            let mended = if drift.mended { "yes" } else { "no" };
            let mut stripe = drift.stripe.to_owned();
            for more in [&drift.stripe_plan, &drift.stripe_price]
                .into_iter()
                .flatten()
            {
                stripe = format!("{stripe} {more}");
            }
            if let Some(quantity) = drift.stripe_quantity {
                stripe = format!("{stripe} x{quantity}");
            }
            let columns = (&drift.subscription_id, &drift.plan, drift.ours);
            let differs = drift.differs.join(" ");
            println!(
                "{:<38} {:<24} {:<20} {stripe:<20} {differs} {mended}",
                columns.0, columns.1, columns.2
            );
            if let Some(flag) = drift.flag {
                println!("{:<38} {flag}", "");
            }
        }
        println!(
            "{} checkouts compared, {} subscriptions differ",
            compared.checkouts,
            compared.differences()
        );
        for error in &compared.errors {
            eprintln!("not compared: {error}");
        }
    }
    anyhow::ensure!(
        compared.errors.is_empty(),
        "{} checkouts could not be compared",
        compared.errors.len()
    );
    Ok(())
}
