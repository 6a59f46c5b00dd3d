//! What is measured, and medians of it.

use std::collections::BTreeMap;
use std::time::Duration;

/// Whose figures they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Service,
    Naive,
    Bare,
    Pgbench,
}

impl Who {
    pub(crate) const ALL: [Self; 4] = [Self::Service, Self::Naive, Self::Bare, Self::Pgbench];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Naive => "naive",
            Self::Bare => "bare",
            Self::Pgbench => "pgbench",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Events a second.
    pub rate: f64,
    /// Milliseconds, as all times here.
    pub p50: f64,
    pub p99: Option<f64>,
    /// CPU time an event in the server …
    pub server: Option<f64>,
    /// … and in Postgres.
    pub postgres: f64,
    /// The server's highest memory in MB.
    pub peak: Option<f64>,
}

/// Table size, connections, and who.
pub(crate) type Cell = (u32, u16, Who);

/// All measurements of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<Cell, Vec<Figures>>);

impl Results {
    pub(crate) fn add(&mut self, cell: Cell, figures: Figures) {
        self.0.entry(cell).or_default().push(figures);
    }

    /// Each figure's median over the rounds.
    pub(crate) fn of(&self, cell: Cell) -> Option<Figures> {
        let rounds = self.0.get(&cell)?;
        let of = |figure: fn(&Figures) -> Option<f64>| median(rounds.iter().filter_map(figure));
        Some(Figures {
            rate: of(|figures| Some(figures.rate))?,
            p50: of(|figures| Some(figures.p50))?,
            p99: of(|figures| figures.p99),
            server: of(|figures| figures.server),
            postgres: of(|figures| Some(figures.postgres))?,
            peak: of(|figures| figures.peak),
        })
    }

    /// The rates of a server over all sizes.
    pub(crate) fn rates(&self, connections: u16, who: Who) -> Vec<f64> {
        let cells = self
            .0
            .keys()
            .filter(|cell| (cell.1, cell.2) == (connections, who));
        cells
            .filter_map(|cell| Some(self.of(*cell)?.rate))
            .collect()
    }

    /// The fastest so far, to know how many events the next phase needs.
    pub(crate) fn fastest(&self, connections: u16, who: Who) -> Option<f64> {
        let cells = self.0.iter();
        let same = cells.filter(|(cell, _)| (cell.1, cell.2) == (connections, who));
        same.flat_map(|(_, rounds)| rounds.iter().map(|figures| figures.rate))
            .max_by(f64::total_cmp)
    }
}

/// The middle one, or the mean of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let above = *values.get(values.len() / 2)?;
    let below = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(below, above))
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// A count as a number to reckon with; none here is beyond four thousand millions.
pub(crate) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
