//! `dues plans`: for whoever edits the plans file.

use anyhow::ensure;
use clap::Subcommand;
use dues::catalogue::check::{self, Judged, Report};
use dues::settings::Settings;

use super::from_mosaic::from_mosaic;

/// What to do with the plans.
#[derive(Subcommand)]
pub(crate) enum Plans {
    /// Compare the plans file with Stripe and say what to mend; ends with 0 when every plan can be sold
    Check {
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Print a plans file of what a Mosaic Billing Service sells: the one that the followers' file names
    FromMosaic {
        /// Which, where the file names several
        #[arg(long, value_name = "NAME")]
        follower: Option<String>,
    },
}

/// `dues plans …`
pub(crate) async fn plans(command: Plans) -> anyhow::Result<()> {
    match command {
        Plans::Check { json } => check_plans(json).await,
        Plans::FromMosaic { follower } => from_mosaic(follower.as_deref()).await,
    }
}

async fn check_plans(json: bool) -> anyhow::Result<()> {
    let settings = Settings::catalogue()?;
    let report = check::of_settings(&settings).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    let wrong = report.plans.iter().filter(|plan| !plan.problems.is_empty());
    let wrong = wrong.count();
    ensure!(
        report.is_good(),
        "{wrong} of {} plans can't be sold; the service would refuse {}",
        report.plans.len(),
        settings.plans.file.display()
    );
    eprintln!("{} plans can be sold", report.plans.len());
    Ok(())
}

fn print(report: &Report) {
    for problem in &report.file {
        println!("WRONG  the file: {problem}");
    }
    for plan in &report.plans {
        println!("{}", line(plan));
    }
    for key in &report.unused {
        println!("note   {key}: an active price at Stripe that no plan uses");
    }
}

fn line(plan: &Judged) -> String {
    let Judged {
        plan: code, line, ..
    } = plan;
    let name = if code.is_empty() {
        "a plan without a code"
    } else {
        code
    };
    if !plan.problems.is_empty() {
        return format!("WRONG  {name} (line {line}): {}", plan.problems.join("; "));
    }
    let offer = plan.offer.as_deref().unwrap_or_default();
    if plan.remarks.is_empty() {
        format!("ok     {name}: {offer}")
    } else {
        format!(
            "warn   {name} (line {line}): {offer}; {}",
            plan.remarks.join("; ")
        )
    }
}
