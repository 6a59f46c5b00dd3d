//! What may be asked for, and within which bounds.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the webhook path and the purchase beside references, in one run on this machine.
///
/// A private Postgres with fsync on; the service, a bare HTTP server that only checks the signature, and a naive server
/// that does one statement an event take turns, in rounds, and what is printed are medians. Ratios of one run count, not
/// absolute figures. Everything listens on this machine alone and is removed at the end.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Cli {
    /// How many subscriptions the tables hold: 1k, 5k, 1m, or a number; several with commas
    #[arg(long, value_delimiter = ',', value_parser = size, default_value = "1k,5k,100k,1m")]
    pub sizes: Vec<u32>,
    /// How many connections deliver at once; several with commas
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=256), default_value = "1,16,64")]
    pub connections: Vec<u16>,
    /// How often everything is measured; the medians count
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=20), default_value_t = 3)]
    pub rounds: u8,
    /// How long each server is measured at a time
    #[arg(long, value_parser = seconds, default_value_t = 3.0)]
    pub seconds: f64,
    /// Measure only one part
    #[arg(long)]
    pub only: Option<Part>,
    /// Leave the filled tables without statistics, as after a restore
    #[arg(long)]
    pub no_analyze: bool,
    /// Print in the end which statements cost most (needs the extension `pg_stat_statements`; costs a little itself)
    #[arg(long)]
    pub explain: bool,
    /// A look within two minutes: 1 k and 100 k rows, one round of a second each
    #[arg(long)]
    pub quick: bool,
    /// Where the data is put meanwhile: on a disk, not in memory [default: .dues in the project]
    #[arg(long, value_name = "DIRECTORY")]
    pub dir: Option<PathBuf>,
    /// Used by the program itself: be one of the servers …
    #[arg(long, hide = true)]
    pub role: Option<Role>,
    /// … and write its address there
    #[arg(long, hide = true, requires = "role")]
    pub announce: Option<PathBuf>,
}

/// The things that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Stripe's events
    Webhooks,
    /// Purchases
    Subscribe,
    /// A follower that is as many rows behind as the largest size says
    Follow,
    /// What operators look at, with as many rows as the largest size says
    Operators,
}

/// What a process of this program can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Role {
    /// The service itself.
    Service,
    /// Checks the signature and answers.
    Bare,
    /// One statement an event.
    Naive,
    /// Plays Stripe.
    Sandbox,
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Bare => "bare",
            Self::Naive => "naive",
            Self::Sandbox => "sandbox",
        }
    }
}

impl Cli {
    /// What is really measured: sizes ascend, and `--quick` makes everything small.
    pub(crate) fn settled(mut self) -> Self {
        if self.quick {
            (self.sizes, self.rounds, self.seconds) = (vec![1_000, 100_000], 1, 1.0);
        }
        self.sizes.sort_unstable();
        self.sizes.dedup();
        self.connections.sort_unstable();
        self.connections.dedup();
        self
    }

    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

/// A number of rows as people say it.
pub(crate) fn rows(size: u32) -> String {
    match size {
        0 => "0".to_owned(),
        millions if millions % 1_000_000 == 0 => format!("{} M", millions / 1_000_000),
        thousands if thousands % 1_000 == 0 => format!("{} k", thousands / 1_000),
        other => other.to_string(),
    }
}

fn size(text: &str) -> Result<u32, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, unit) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (lower.as_str(), 1),
    };
    let count = digits.parse::<u32>().ok();
    count
        .and_then(|count| count.checked_mul(unit))
        .filter(|count| (500..=5_000_000).contains(count))
        .ok_or_else(|| "a number between 500 and 5m, such as 1k".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.2..=60.0).contains(seconds))
        .ok_or_else(|| "a number between 0.2 and 60".to_owned())
}
