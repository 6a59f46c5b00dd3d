//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Everything on one machine: Postgres, Stripe's sandbox, the service, a membership page and a year behind it
#[derive(Parser)]
#[command(name = "cargo demo")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
pub(crate) struct Cli {
    /// Forget what was bought in earlier runs
    #[arg(long)]
    pub(crate) reset: bool,
    /// Begin without a year behind it; so it is with --mosaic, --plans and --catalogue
    #[arg(long)]
    pub(crate) empty: bool,
    /// Port of the page; the service and the sandbox take the next ones
    #[arg(long, default_value_t = 8180)]
    pub(crate) port: u16,
    /// Where the data is kept; by default .dues/demo, with --mosaic .dues/demo-mosaic
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// With a Mosaic Billing Service that follows, and the client of its old payment connector
    #[arg(long)]
    pub(crate) mosaic: bool,
    /// With a login of the operators' own, as an organisation has one; without it they sign in with a token
    #[arg(long, conflicts_with = "mosaic")]
    pub(crate) login: bool,
    /// Who is signed in
    #[arg(long, default_value = "Ada")]
    pub(crate) member: String,
    /// Sell these plans instead of the demo's
    #[arg(long, value_name = "FILE")]
    plans: Option<PathBuf>,
    /// The products and prices that the plans point at
    #[arg(long, value_name = "FILE")]
    catalogue: Option<PathBuf>,
    /// Show the service's log
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// A setting of the service, like `LIFECYCLE__GRACE_DAYS=3`; can be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) more: Vec<(String, String)>,
}

impl Cli {
    /// Members have other ids with Mosaic, so what was bought without it is kept apart.
    pub(crate) fn dir(&self) -> PathBuf {
        let usual = if self.mosaic { "demo-mosaic" } else { "demo" };
        let usual = || project().join(".dues").join(usual);
        self.dir.clone().unwrap_or_else(usual)
    }

    pub(crate) fn plans(&self) -> PathBuf {
        let usual = || project().join("config/plans.toml");
        self.plans.clone().unwrap_or_else(usual)
    }

    pub(crate) fn catalogue(&self) -> PathBuf {
        let usual = || project().join("config/sandbox-catalogue.toml");
        self.catalogue.clone().unwrap_or_else(usual)
    }

    /// Whom a fourth port is for.
    pub(crate) fn beside(&self) -> Option<&'static str> {
        let login = self.login.then_some("the login");
        if self.mosaic { Some("Mosaic") } else { login }
    }

    /// Whether a house where nothing was bought yet gets its year: that was written for the demo's own plans.
    pub(crate) fn wants_year(&self) -> bool {
        !self.empty && !self.mosaic && self.plans.is_none() && self.catalogue.is_none()
    }
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
