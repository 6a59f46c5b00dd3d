//! `dues actions …`: what operators did, and whether the record of it is whole; and how a command's own acts are recorded.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use dues::app;
use dues::domain::actor::{Role, Staff};
use dues::domain::ids::UserId;
use dues::services::operators::Operators;
use dues::services::operators::actions::{ActFilter, Chain};
use dues::services::operators::acts::{ActError, Acted, Ask};
use dues::settings::Settings;
use uuid::Uuid;

/// What to do with what operators did.
#[derive(Subcommand)]
pub(crate) enum Actions {
    /// List the newest acts
    List {
        /// Only to that: a subscription of ours, sub_…, evt_…, a user id
        #[arg(long)]
        subject: Option<String>,
        /// Only those that concern that member
        #[arg(long)]
        user: Option<String>,
        /// Only by that operator
        #[arg(long)]
        actor: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Walk the chain of hashes: ends with 0 when nothing in it was changed, taken out or cut off
    Verify {
        /// An entry as the log or an export has it, SEQ:HASH: it must still be there, with that hash
        #[arg(long, value_parser = entry)]
        expect: Option<(i64, String)>,
    },
}

/// Who acts by a command, and why.
#[derive(Args)]
pub(crate) struct Why {
    /// Who does it: her user id
    #[arg(long = "as", value_name = "USER")]
    actor: String,
    /// Why: a code of console.reasons
    #[arg(long)]
    reason: String,
    /// A ticket, minute or voucher; no names
    #[arg(long)]
    reference: Option<String>,
}

impl Why {
    /// The whole question, under a key of its own.
    pub(crate) fn ask(self, operators: &Operators, request: &str) -> anyhow::Result<Ask> {
        let wrong = operators.what_is_wrong_with(Some(&self.reason), self.reference.as_deref());
        if let Some(wrong) = wrong.first() {
            anyhow::bail!("--{}: {}", wrong.field, wrong.detail);
        }
        anyhow::ensure!(
            (1..=255).contains(&self.actor.len()),
            "--as: a user id has 1 to 255 bytes"
        );
        Ok(Ask {
            key: Uuid::now_v7(),
            staff: Staff {
                member: None,
                user: UserId::new(self.actor),
                // Whoever can run commands here can do everything.
                role: Role::Operator,
                may_all: true,
            },
            request_id: None,
            reason: self.reason,
            reference: self.reference,
            request: request.to_owned(),
            version: None,
        })
    }
}

/// Says what came of an act.
pub(crate) fn told(acted: Result<Acted, ActError>, id: &str) -> anyhow::Result<()> {
    let action = match acted {
        Ok(acted) => acted.action,
        Err(ActError::EventSettled) => {
            anyhow::bail!("{id} neither failed nor was flagged: dues events show {id}")
        }
        Err(ActError::NotFound) => anyhow::bail!("no event {id} is recorded"),
        Err(error) => return Err(error.into()),
    };
    let outcome = action.outcome.as_deref().unwrap_or(&action.state);
    println!("{id} {outcome} (action {})", action.id);
    anyhow::ensure!(action.state == "done", "it was not done");
    Ok(())
}

fn entry(text: &str) -> Result<(i64, String), String> {
    let parts = text.split_once(':');
    let parts = parts.and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.to_ascii_lowercase())));
    parts.ok_or_else(|| format!("{text:?} is not like 17:9f2c…"))
}

/// `dues actions …`
pub(crate) async fn actions(command: Actions) -> anyhow::Result<()> {
    let (services, _) = app::build_services(Arc::new(Settings::from_environment()?)).await?;
    let operators = &services.operators;
    match command {
        Actions::List {
            subject,
            user,
            actor,
            limit,
            json,
        } => {
            let filter = ActFilter {
                subject,
                user_id: user,
                actor,
                limit: limit.into(),
                ..ActFilter::default()
            };
            let acts = operators.actions(&filter).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&acts)?);
                return Ok(());
            }
            println!(
                "{:<25} {:<20} {:<10} {:<8} {:<38} {:<16} OUTCOME",
                "AT", "WHO", "AS", "WHAT", "TO", "WHY"
            );
            for act in &acts {
                let at = act.at.replace_nanosecond(0).context("a time")?;
                let why = [act.reason.as_deref(), act.reference.as_deref()];
                let why: Vec<&str> = why.into_iter().flatten().collect();
                let outcome = act.outcome.as_deref().unwrap_or("");
                let columns = (
                    &act.actor,
                    &act.role,
                    &act.verb,
                    &act.subject,
                    why.join(" "),
                );
                println!(
                    "{:<25} {:<20} {:<10} {:<8} {:<38} {:<16} {} {outcome}",
                    at.to_string(),
                    columns.0,
                    columns.1,
                    columns.2,
                    columns.3,
                    columns.4,
                    act.state
                );
            }
            eprintln!("{} act(s)", acts.len());
        }
        Actions::Verify { expect } => {
            match operators.verify_actions().await? {
                Chain::Whole { entries, hash } => {
                    println!("the record is whole: {entries} entries, the last {entries}:{hash}");
                }
                Chain::Broken(seq) => anyhow::bail!(
                    "the record is broken at entry {seq}: from there on something was changed, taken out or put in"
                ),
                Chain::CutOff(seq) => {
                    anyhow::bail!("the record's end was cut off: its last entry should be {seq}")
                }
            }
            if let Some((seq, hash)) = expect {
                let held = operators.action_hash(seq).await?;
                anyhow::ensure!(
                    held.as_ref() == Some(&hash),
                    "entry {seq} is {}, and not {hash}: the record was written anew",
                    held.as_deref().unwrap_or("not there")
                );
            }
        }
    }
    Ok(())
}
