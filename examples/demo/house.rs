//! What earlier runs have left, and whether a year is to be lived through before anybody comes.

use std::path::PathBuf;

use dev_postgres::Cluster;

use crate::cli::Cli;
use crate::machine::remove;
use crate::year::{Kept, Past};

/// Where the data is.
pub(crate) struct House {
    pub(crate) dir: PathBuf,
    pub(crate) postgres: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) kept: Kept,
    /// Nothing has happened in it yet, and something shall have.
    pub(crate) lives: bool,
}

impl House {
    /// Opens it, emptied where that was asked for, or where a year in it was cut off.
    pub(crate) async fn open(cli: &Cli) -> anyhow::Result<Self> {
        let dir = cli.dir();
        let mut house = Self {
            postgres: dir.join("postgres"),
            state: dir.join("stripe.json"),
            kept: Kept::in_directory(&dir),
            dir,
            lives: false,
        };
        let cut_off = matches!(house.kept.look()?, Some(Past::Begun));
        if cut_off {
            println!("  the first start was cut off in the middle of its year: it begins afresh");
        }
        if cli.reset || cut_off {
            house.empty().await?;
        }
        // What was bought before there was a year, or without one, stays as it is.
        house.lives = cli.wants_year() && !house.state.exists();
        if house.lives {
            house.kept.note(&Past::Begun)?;
        }
        Ok(house)
    }

    async fn empty(&self) -> anyhow::Result<()> {
        // Whoever is cut off in here has half of what was, and begins afresh too.
        self.kept.note(&Past::Begun)?;
        Cluster::remove(&self.postgres).await?;
        remove(&self.state)?;
        self.kept.forget()
    }
}
