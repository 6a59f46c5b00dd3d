//! `dues adopt`: what another system sold becomes ours.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use dues::app;
use dues::services::operators::adopt::{AdoptError, Bucket, Entry, How, Report, Source};
use dues::settings::Settings;
use tokio_util::sync::CancellationToken;

/// What to adopt, and how to read it.
#[derive(Args)]
pub(crate) struct Adopt {
    /// Where it stands at Stripe whose a subscription is: customer.metadata.KEY or subscription.metadata.KEY
    #[arg(long)]
    user_from: Source,
    /// Where the id stands by which the other system knows a subscription: subscription.metadata.KEY
    #[arg(long, value_parser = of_subscription)]
    id_from: Option<Source>,
    /// The plan of a price that no plan has any more, as price_…=CODE; may be given several times
    #[arg(long = "plan", value_parser = plan_of_price)]
    plans: Vec<(String, String)>,
    /// Adopt also what is marked as a row of a Dues that is not here: after a restore, never beside another deployment
    #[arg(long)]
    again: bool,
    /// Write it; without this nothing is written, here or at Stripe
    #[arg(long)]
    apply: bool,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// A customer may have several subscriptions: her metadata tells none of them from the others.
fn of_subscription(text: &str) -> Result<Source, String> {
    match text.parse()? {
        Source::Given(_) => Err("not a place at Stripe".to_owned()),
        source @ Source::Subscription(_) => Ok(source),
        Source::Customer(_) => Err("an id stands under subscription.metadata.KEY".to_owned()),
    }
}

fn plan_of_price(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let pair = pair.filter(|(price, plan)| price.starts_with("price_") && !plan.is_empty());
    let (price, plan) = pair.ok_or_else(|| format!("{text:?} is not like price_…=CODE"))?;
    Ok((price.to_owned(), plan.to_owned()))
}

/// `dues adopt …`; interrupted, it ends in order, and the next run passes over what is done.
pub(crate) async fn adopt(
    options: Adopt,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (services, _) = app::build_services(Arc::new(Settings::from_environment()?)).await?;
    let operators = services.operators.in_background();
    let how = How {
        user_from: options.user_from,
        id_from: options.id_from,
        plans: HashMap::from_iter(options.plans),
        again: options.again,
        apply: options.apply,
    };
    let stop = CancellationToken::new();
    let work = operators.adopt(&how, &stop, |so_far| {
        let (listed, adopted) = (so_far.listed, so_far.count(Bucket::Adopted));
        eprintln!("{listed} subscriptions looked at, {adopted} to adopt or adopted");
    });
    tokio::pin!(work);
    let report = tokio::select! {
        done = &mut work => done,
        () = interrupted => {
            eprintln!("stopping; the next run goes on from here");
            stop.cancel();
            work.await
        }
    };
    // What was done before it broke off is done, and is told first.
    let (report, broken) = match report {
        Ok(report) => (report, None),
        Err(AdoptError::Broken { report, cause }) => (*report, Some(*cause)),
        Err(error) => return Err(error.into()),
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if let Some(cause) = broken {
        return Err(cause.into());
    }
    let failed = report.count(Bucket::Failed);
    ensure!(failed == 0, "{failed} subscription(s) could not be adopted");
    Ok(())
}

fn print(report: &Report) {
    for bucket in Bucket::ALL {
        let entries = report.subscriptions.iter();
        for entry in entries.filter(|entry| entry.bucket == *bucket) {
            println!("{}", line(entry));
        }
    }
    if report.more > 0 {
        println!("and {} more", report.more);
    }
    for (price, told) in &report.prices {
        let count = told.subscriptions;
        match &told.perhaps {
            Some(plan) => println!(
                "{price}: {count} subscription(s); perhaps an older price of a plan: --plan {price}={plan}"
            ),
            None => println!("{price}: {count} subscription(s): --plan {price}=CODE"),
        }
    }
    for bucket in Bucket::ALL {
        let count = report.count(*bucket);
        if count > 0 {
            println!("{count:>8} {:<14} {}", bucket.as_str(), bucket.meaning());
        }
    }
    println!("{:>8} subscriptions at Stripe", report.listed);
    if !report.is_whole {
        println!("not all were looked at");
    }
    if !report.applied {
        println!("nothing was written: --apply does");
    }
}

fn line(entry: &Entry) -> String {
    let (bucket, id) = (entry.bucket.as_str(), &entry.stripe_subscription_id);
    let mut line = format!("{bucket:<14} {id}");
    let told = [
        ("user", &entry.user_id),
        ("plan", &entry.plan),
        ("known as", &entry.external_id),
        ("row", &entry.subscription_id),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            line = format!("{line}  {name} {value}");
        }
    }
    match &entry.detail {
        Some(detail) => format!("{line}: {detail}"),
        None => line,
    }
}
