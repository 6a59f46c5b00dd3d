//! The year that lies behind the demo: a cooperative's, lived through in seconds by the sandbox's clock.
//!
//! Nothing is written by hand. Members order over the API and pay at the sandbox, time goes by, Stripe's webhooks arrive,
//! and the rows are what the service made of them. `cast.rs` is the screenplay; it has no chance in it, so that every year
//! is the same but for its dates and Stripe's ids.

mod cast;
mod kept;
mod mails;
mod person;
mod script;
mod stage;

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use anyhow::ensure;
use dues::clock::Clock;
use dues::services::Services;
use dues::settings::Settings;
use futures_util::future::try_join_all;
use serde_json::json;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

pub(crate) use self::kept::{Kept, Mentions, Past};
pub(crate) use self::mails::mails;
use self::person::Person;
use self::script::DAYS;
use self::stage::Stage;

/// Seconds in which what falls due is told together: an invoice is due an hour after its period, which many share.
const TOGETHER: i64 = 4_000;
/// Seconds.
const DAY: i64 = 86_400;

/// What the service needs while a year passes in seconds, beside what it is told anyway. Nothing of it stays.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    // The sandbox has no limit, and a year's worth of calls is made.
    ("STRIPE__REQUESTS_PER_SECOND", "10000"),
    ("WORKER__INTERVAL_MS", "50"),
    // It looks for lost webhooks every ten minutes of the machine's: by the clock once a year, and would rightly complain.
    ("LOG__LEVEL", "error,dues::services::events::reconcile=off"),
];

/// When the year begins, in seconds since 1970: at a midnight.
pub(crate) fn begins(clock: &Clock) -> i64 {
    let now = clock.wall().unix_timestamp();
    now - now.rem_euclid(DAY) - DAYS * DAY
}

/// Lives through it, up to now; what is to be remembered of it.
pub(crate) async fn live(
    (service, sandbox): (&str, &str),
    settings: &Settings,
    clock: &Clock,
    services: &Services,
) -> anyhow::Result<Past> {
    let stage = Stage::new((service, sandbox), settings, clock)?;
    let span = (begins(clock), clock.wall().unix_timestamp());
    let mut people: Vec<Person> = cast::cast().into_iter().map(Person::new).collect();
    let (mut progress, mut has_walked) = (Progress::default(), false);
    set_up(&stage).await?;
    for moment in moments(&people, span) {
        while let Some(due) = stage.due().await?.map(|due| due + TOGETHER)
            && due < moment
        {
            stage.advance(due).await?;
            progress.show(due, &people);
        }
        stage.advance(moment).await?;
        if moment > span.1 - DAY && !has_walked {
            // From here on the service's own walk goes on, ten minutes from its start: until then what is lost stays lost.
            has_walked = true;
            let stop = CancellationToken::new();
            services.events.reconcile_events(&stop, |_, _| ()).await?;
        }
        let acting = people
            .iter_mut()
            .map(|person| act(&stage, person, span, moment));
        try_join_all(acting).await?;
        stage.settle().await?;
        progress.show(moment, &people);
    }
    stage.arrive_now().await?;
    tidy_up(&stage).await?;
    progress.end();
    let mentions = people.iter().filter_map(|person| {
        let id = person.mentions.clone()?;
        Some((person.member.user.to_owned(), id))
    });
    Ok(Past::Lived {
        mentions: mentions.collect(),
        forbidden: people.iter().find_map(|person| person.forbidden.clone()),
    })
}

/// A sandbox forgets with its end what it was told to refuse, and the service tries again at each start what has failed:
/// what has failed for good goes on failing until somebody sees to it.
pub(crate) async fn forbid_again(
    past: &Past,
    (service, sandbox): (&str, &str),
    settings: &Settings,
) -> anyhow::Result<()> {
    let Past::Lived {
        forbidden: Some(path),
        ..
    } = past
    else {
        return Ok(());
    };
    let stage = Stage::new((service, sandbox), settings, &Clock::system())?;
    if stage.failed().await? > 0 {
        stage.forbid(path).await?;
    }
    Ok(())
}

/// All that somebody does at one moment, one after the other.
async fn act(
    stage: &Stage,
    person: &mut Person,
    span: (i64, i64),
    moment: i64,
) -> anyhow::Result<()> {
    let scenes = person.member.scenes.iter();
    let due = scenes.filter(|(at, _)| at.moment(span) == moment);
    let acts: Vec<_> = due.map(|(_, act)| act.clone()).collect();
    for act in &acts {
        person.act(stage, act).await?;
    }
    Ok(())
}

/// When somebody does something, in order.
fn moments(people: &[Person], span: (i64, i64)) -> BTreeSet<i64> {
    let scenes = people.iter().flat_map(|person| &person.member.scenes);
    scenes.map(|(at, _)| at.moment(span)).collect()
}

/// How Stripe is set up in this year: three tries in eight days, then the subscription stays unpaid.
async fn set_up(stage: &Stage) -> anyhow::Result<()> {
    let settings = json!({
        "final_failure": "unpaid", "retry_hours": [48, 72, 72], "webhook_concurrency": 16,
        // Whoever looks in a week still finds one on its way.
        "debit_seconds": 9 * DAY,
    });
    stage.control("settings", settings).await.map(drop)
}

/// Leaves the sandbox as it would have begun, but for what it refuses.
async fn tidy_up(stage: &Stage) -> anyhow::Result<()> {
    ensure!(stage.failed().await? > 0, "no event has failed for good");
    let settings = json!({
        "final_failure": "cancel", "retry_hours": [48, 48, 48, 48, 48, 48, 48], "webhook_concurrency": 4,
        "debit_seconds": 3 * DAY,
    });
    stage.control("settings", settings).await.map(drop)
}

/// One line in the terminal that says how far it is, or one a month where the output is kept.
#[derive(Default)]
struct Progress {
    shown: String,
}

impl Progress {
    fn show(&mut self, moment: i64, people: &[Person]) {
        let Ok(at) = OffsetDateTime::from_unix_timestamp(moment) else {
            return;
        };
        let month = format!("{} {}", at.month(), at.year());
        if month == self.shown {
            return;
        }
        let members = people.iter().filter(|person| person.is_member()).count();
        let line = format!("  living through a year: {month}, {members} members …");
        if std::io::stdout().is_terminal() {
            print!("\r{line:<72}");
            // Progress that can't be shown is no reason to stop.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
        self.shown = month;
    }

    fn end(&self) {
        if !self.shown.is_empty() && std::io::stdout().is_terminal() {
            println!();
        }
    }
}
