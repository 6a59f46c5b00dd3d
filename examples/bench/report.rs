//! What is printed in the end: figures, ratios, and the goals of the design.

use std::time::Duration;

use crate::figures::{Figures, Results, Who, number};
use crate::follow::Followed;
use crate::operators::{self, Asked, Measured};
use crate::options::{Cli, rows};
use crate::servers;
use crate::subscribe::Purchase;

const AGAINST_NAIVE: f64 = 1.5;
const AGAINST_NAIVE_ALONE: f64 = 0.8;
const CPU: f64 = 0.10;
const FLAT: f64 = 0.85;
const PEAK: f64 = 40.0;
const PURCHASE: f64 = 10.0;

/// What it was measured on, and how.
pub(crate) fn head(cli: &Cli, postgres: &str) -> anyhow::Result<()> {
    let settings = servers::settings(&servers::variables("postgres:///x", "http://127.0.0.1:9"))?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown");
    println!(
        "Machine   {cores} cores, which servers, Postgres and load share; load before the start {load}"
    );
    println!("Postgres  {postgres}");
    println!(
        "Servers   each a process on tokio's default runtime; the service's defaults: {} connections (so many has the \
         naive server too), http.max_concurrency {}, its log as JSON at info; Stripe's rate is not held down",
        settings.database.max_connections, settings.http.max_concurrency
    );
    println!(
        "Load      half renewals, half updates, 5 kB, signed, spread at random over all subscriptions; closed loop, \
         keep-alive; {} round(s) of {} s, medians{}",
        cli.rounds,
        cli.seconds,
        if cli.no_analyze {
            "; WITHOUT statistics and autovacuum"
        } else {
            ""
        }
    );
    Ok(())
}

/// A follower that was behind.
pub(crate) fn followed(followed: &Followed) {
    let (early, late) = followed.peaks;
    println!(
        "\nA follower, {} rows behind, is told {:.0} a second (bare requests, as many at once: {:.0}); peak memory {:.1} MB \
         after a tenth, {:.1} MB after all",
        followed.rows, followed.rate, followed.bare, early, late
    );
}

/// What operators wait for.
pub(crate) fn looked_at(size: u32, measured: &Measured) {
    println!(
        "\nOperators, {} rows, ms in Postgres, warm, and the indexes that are read:\n",
        rows(size)
    );
    for Asked { what, ms, by } in &measured.asked {
        let verdict = if *ms <= operators::GOAL {
            ""
        } else {
            "  TOO LONG"
        };
        println!("  {what:<52} {ms:>8.2}{verdict}  {by}");
    }
    let (changes, took) = measured.walk;
    println!(
        "\n  the whole history for the first time: {changes} changes in {:.1} s; once a day, the sums held against the rows: {} ms",
        took.as_secs_f64(),
        measured.recount.as_millis()
    );
}

/// How far the figures can be trusted: whoever else was at work took from all, but not from all alike.
pub(crate) fn end(took: Duration, machine: Duration, ours: Duration) {
    let cores = number(std::thread::available_parallelism().map_or(1, usize::from));
    let whole = took.as_secs_f64() * cores;
    let others = machine.saturating_sub(ours).as_secs_f64() / whole * 100.0;
    println!(
        "\n{:.0} s in all, in which others used {others:.0} % of the machine.",
        took.as_secs_f64()
    );
    if others > 10.0 {
        println!(
            "So much that rates and times say little, and CPU times more: repeat it when the machine is idle."
        );
    }
}

pub(crate) fn purchases(purchases: &[Purchase]) {
    println!("\nPurchases in ms, and the bare calls to Stripe that they make:\n");
    println!("member     at once │ service p50    p95 │ bare p50    p95 │ difference");
    println!("───────────────────┼────────────────────┼─────────────────┼───────────");
    for purchase in purchases {
        let Purchase {
            returning,
            at_once,
            bare,
            service,
        } = purchase;
        println!(
            "{:<9} {at_once:>8} │ {:>11.1} {:>6.1} │ {:>8.1} {:>6.1} │ {:>10.1}",
            member(*returning),
            service.p50,
            service.p95,
            bare.p50,
            bare.p95,
            service.p50 - bare.p50
        );
    }
}

fn member(returning: bool) -> &'static str {
    if returning { "returning" } else { "new" }
}

pub(crate) fn events(cli: &Cli, results: &Results) {
    println!("\nEvents (times in ms; pgbench's p50 is a mean):\n");
    println!(
        "  rows conns server  │ events/s      p50      p99 │ CPU/event: server Postgres │ peak MB"
    );
    println!(
        "─────────────────────┼────────────────────────────┼────────────────────────────┼────────"
    );
    for &size in &cli.sizes {
        for &connections in &cli.connections {
            for who in Who::ALL {
                let Some(figures) = results.of((size, connections, who)) else {
                    continue;
                };
                println!(
                    "{:>6} {connections:>5} {:<7} │ {:>8.0} {:>8.2} {:>8} │ {:>17} {:>8.3} │ {:>7}",
                    rows(size),
                    who.as_str(),
                    figures.rate,
                    figures.p50,
                    optional(figures.p99, 2),
                    optional(figures.server, 3),
                    figures.postgres,
                    optional(figures.peak, 1),
                );
            }
        }
    }
    println!("\nRatios of rates, and of all CPU time an event (server and Postgres):\n");
    println!("  rows conns │ service/naive service/bare naive/pgbench │ CPU: naive/service");
    println!("─────────────┼──────────────────────────────────────────┼───────────────────");
    for &size in &cli.sizes {
        for &connections in &cli.connections {
            let ratio = |one, other| ratio(results, size, connections, one, other);
            let cpu = |who| {
                let Figures {
                    server, postgres, ..
                } = results.of((size, connections, who))?;
                Some(server? + postgres)
            };
            let cheaper = cpu(Who::Naive).zip(cpu(Who::Service));
            println!(
                "{:>6} {connections:>5} │ {:>13} {:>12} {:>13}  │ {:>18}",
                rows(size),
                optional(ratio(Who::Service, Who::Naive), 2),
                optional(ratio(Who::Service, Who::Bare), 3),
                optional(ratio(Who::Naive, Who::Pgbench), 2),
                optional(cheaper.map(|(naive, service)| naive / service), 2),
            );
        }
    }
    println!(
        "\nWhat limits: how many cores a server and Postgres keep busy at these rates (the load takes part of another;"
    );
    println!("what is missing to all of them is waiting, for the disk and for each other):\n");
    println!("  rows conns │ service Postgres │ naive Postgres");
    println!("─────────────┼──────────────────┼───────────────");
    for &size in &cli.sizes {
        for &connections in &cli.connections {
            let busy = |who, cpu: fn(&Figures) -> Option<f64>| {
                let figures = results.of((size, connections, who));
                let cores = figures.and_then(|of| Some(of.rate * cpu(&of)? / 1000.0));
                optional(cores, 2)
            };
            println!(
                "{:>6} {connections:>5} │ {:>7} {:>8} │ {:>5} {:>8}",
                rows(size),
                busy(Who::Service, |figures| figures.server),
                busy(Who::Service, |figures| Some(figures.postgres)),
                busy(Who::Naive, |figures| figures.server),
                busy(Who::Naive, |figures| Some(figures.postgres)),
            );
        }
    }
    if cli.sizes.len() > 1 {
        println!("\nFlatness: the lowest rate over all sizes, as a part of the highest:\n");
        for &connections in &cli.connections {
            let flat = |who| optional(flatness(results, connections, who), 2);
            println!(
                "  ×{connections:<3}  service {}   naive {}   pgbench {}",
                flat(Who::Service),
                flat(Who::Naive),
                flat(Who::Pgbench)
            );
        }
    }
}

fn optional(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.digits$}"))
}

fn ratio(results: &Results, size: u32, connections: u16, one: Who, other: Who) -> Option<f64> {
    let one = results.of((size, connections, one))?;
    let other = results.of((size, connections, other))?;
    Some(one.rate / other.rate)
}

fn flatness(results: &Results, connections: u16, who: Who) -> Option<f64> {
    let rates = results.rates(connections, who);
    let lowest = rates.iter().copied().min_by(f64::total_cmp)?;
    let highest = rates.iter().copied().max_by(f64::total_cmp)?;
    Some(lowest / highest)
}

/// The worst of what was measured counts.
pub(crate) fn goals(cli: &Cli, purchases: Option<&[Purchase]>, events: Option<&Results>) {
    println!("\nGOALS, each judged by its worst case\n");
    if let Some(purchases) = purchases {
        for purchase in purchases.iter().filter(|purchase| purchase.at_once == 8) {
            let more = purchase.service.p50 - purchase.bare.p50;
            let what = format!(
                "a {} member's purchase, eight at once: bare calls plus at most {PURCHASE} ms",
                member(purchase.returning)
            );
            goal(&what, &format!("{more:.1} ms"), more <= PURCHASE);
        }
    }
    let Some(results) = events else { return };
    let over_sizes = |figure: &dyn Fn(u32) -> Option<f64>| {
        cli.sizes
            .iter()
            .filter_map(|size| figure(*size))
            .collect::<Vec<_>>()
    };
    let lowest = |figures: Vec<f64>| figures.into_iter().min_by(f64::total_cmp);
    let highest = |figures: Vec<f64>| figures.into_iter().max_by(f64::total_cmp);
    for &connections in &cli.connections {
        let least = if connections == 1 {
            AGAINST_NAIVE_ALONE
        } else {
            AGAINST_NAIVE
        };
        let rate = |size| ratio(results, size, connections, Who::Service, Who::Naive);
        if let Some(rate) = lowest(over_sizes(&rate)) {
            let what = format!(
                "rate at {}: at least {least} times naive",
                plural(connections)
            );
            goal(&what, &format!("{rate:.2} times"), rate >= least);
        }
    }
    if let Some(&most) = cli.connections.last() {
        let service = |size| results.of((size, most, Who::Service));
        let server = highest(over_sizes(&|size| service(size)?.server));
        let postgres = highest(over_sizes(&|size| Some(service(size)?.postgres)));
        for (whose, cpu) in [("the service's", server), ("Postgres'", postgres)] {
            if let Some(cpu) = cpu {
                let what = format!(
                    "{whose} CPU an event at {}: at most {CPU:.2} ms",
                    plural(most)
                );
                goal(&what, &format!("{cpu:.3} ms"), cpu <= CPU);
            }
        }
    }
    if cli.sizes.len() > 1 {
        for &connections in &cli.connections {
            if let Some(flat) = flatness(results, connections, Who::Service) {
                let what = format!(
                    "flat over all sizes at {}: within 15 %",
                    plural(connections)
                );
                let less = (1.0 - flat) * 100.0;
                goal(&what, &format!("{less:.0} %"), flat >= FLAT);
            }
        }
    }
    let peaks = cli.connections.iter().flat_map(|connections| {
        over_sizes(&|size| results.of((size, *connections, Who::Service))?.peak)
    });
    if let Some(peak) = peaks.max_by(f64::total_cmp) {
        let what = format!("the service's highest memory: at most {PEAK:.0} MB");
        goal(&what, &format!("{peak:.1} MB"), peak <= PEAK);
    }
}

fn plural(connections: u16) -> String {
    let s = if connections == 1 { "" } else { "s" };
    format!("{connections} connection{s}")
}

fn goal(what: &str, found: &str, reached: bool) {
    let verdict = if reached { "reached" } else { "NOT REACHED" };
    println!("  {what:<78} {found:>12}   {verdict}");
}
