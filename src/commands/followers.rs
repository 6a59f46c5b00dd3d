//! `dues followers`: how those stand who are called about each change, and what to do about it.

use std::sync::Arc;

use clap::Subcommand;
use dues::app;
use dues::outward::followers::Standing;
use dues::settings::Settings;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What to do with followers.
#[derive(Subcommand)]
pub(crate) enum Followers {
    /// List them: how far behind each is, and what went wrong
    List {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show one, with the members whose rows it refuses
    Show {
        /// As in the file
        name: String,
        /// Print JSON instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Send a message that tells of nothing, and say what became of it
    Test {
        /// As in the file
        name: String,
    },
    /// Try again at once: everything that waits, or what waits of one member; one that was stopped goes on
    Retry {
        /// As in the file
        name: String,
        /// Only this member
        #[arg(long)]
        user: Option<String>,
    },
    /// Never tell the row that is refused; what waits behind it is told
    Skip {
        /// As in the file
        name: String,
        /// Whose row
        #[arg(long)]
        user: String,
    },
    /// Begin again: what is in force first, then each change from now on
    Resync {
        /// As in the file
        name: String,
    },
}

pub(crate) async fn followers(command: Followers) -> anyhow::Result<()> {
    let followers = app::followers(Arc::new(Settings::from_environment()?)).await?;
    match command {
        Followers::List { json: true } => {
            let all = followers.standings().await?;
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Followers::List { json: false } => {
            println!(
                "{:<20} {:<10} {:<12} {:>8} {:>7} {:<20} LAST ERROR",
                "NAME", "KIND", "STATE", "BEHIND", "PARKED", "LAST SUCCESS"
            );
            let all = followers.standings().await?;
            for one in &all {
                println!("{}", line(one));
            }
            if all.is_empty() {
                eprintln!("nobody is called: config/followers.toml names no follower");
            }
        }
        Followers::Show { name, json } => {
            let standing = followers.show(&name).await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&standing)?);
            } else {
                show(&standing);
            }
        }
        Followers::Test { name } => println!("{name} {}", followers.test(&name).await?),
        Followers::Retry { name, user } => {
            followers.retry(&name, user.as_deref()).await?;
            println!("{name} is tried again at once");
        }
        Followers::Skip { name, user } => {
            let position = followers.skip(&name, &user).await?;
            println!("{name} is never told row {position} of {user}");
        }
        Followers::Resync { name } => {
            followers.resync(&name).await?;
            println!("{name} begins again with what is in force");
        }
    }
    Ok(())
}

fn line(one: &Standing) -> String {
    format!(
        "{:<20} {:<10} {:<12} {:>8} {:>7} {:<20} {}",
        one.name,
        one.kind,
        one.state,
        one.rows_behind,
        one.parked_members,
        time(one.last_success_at),
        one.last_error.as_deref().unwrap_or_default()
    )
    .trim_end()
    .to_owned()
}

fn show(one: &Standing) {
    println!("{} ({}): {}", one.name, one.kind, one.state);
    println!("rows behind      {}", one.rows_behind);
    println!("last success     {}", time(one.last_success_at));
    if let Some(error) = &one.last_error {
        println!("last error       {error}");
    }
    if one.next_attempt_at.is_some() {
        println!("tried again      {}", time(one.next_attempt_at));
    }
    if one.compared_at.is_some() {
        println!("last compared    {}", time(one.compared_at));
    }
    if let Some(found) = &one.found {
        println!("found            {found}");
    }
    println!("parked members   {}", one.parked_members);
    for parked in &one.parked {
        println!(
            "  {} since {}: row {} refused {} time(s), {}; tried again {}",
            parked.user_id,
            time(Some(parked.since)),
            parked.position,
            parked.attempts,
            parked.last_error,
            time(Some(parked.next_attempt_at))
        );
    }
}

fn time(at: Option<OffsetDateTime>) -> String {
    let at = at.and_then(|at| at.replace_nanosecond(0).ok());
    at.and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "-".to_owned())
}
