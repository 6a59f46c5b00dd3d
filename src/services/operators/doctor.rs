//! A deployment looked at from the operator's seat: what is well, what isn't, and what to do about it.
//!
//! Nothing is changed unless a [`Remedy`] is applied. Every check runs even if others fail; one that can't run says why.
//! What is found is data: the command prints it. Neither secrets nor Stripe's own texts stand in it.

mod access;
mod account;
mod endpoint;
mod followers;
mod surroundings;

use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::services::BuildError;
use crate::settings::{Environment, Settings, SettingsError, is_loopback};
use crate::stripe::Stripe;

pub use self::endpoint::Remedy;

/// Longest time for one attempt at anything outside.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Stripe's own API.
const STRIPE_HOST: &str = "api.stripe.com";

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Well.
    Ok,
    /// Well, with something to know.
    Note,
    /// It works, but somebody should look.
    Warn,
    /// It does not work.
    Fail,
    /// It could not be looked at.
    Skip,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: Check,
    /// How it is.
    pub status: Status,
    /// What it is.
    pub detail: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// What is looked at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Check {
    Settings,
    Database,
    Events,
    Followers,
    Stripe,
    Permissions,
    Version,
    Clock,
    Webhook,
    Portal,
    Receipts,
    Catalogue,
    Pages,
    Service,
}

impl Check {
    /// What can't be looked at without Stripe.
    const AT_STRIPE: [Self; 7] = [
        Self::Permissions,
        Self::Version,
        Self::Clock,
        Self::Webhook,
        Self::Portal,
        Self::Receipts,
        Self::Catalogue,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Database => "database",
            Self::Events => "events",
            Self::Followers => "followers",
            Self::Stripe => "stripe",
            Self::Permissions => "permissions",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Webhook => "webhook",
            Self::Portal => "portal",
            Self::Receipts => "receipts",
            Self::Catalogue => "catalogue",
            Self::Pages => "pages",
            Self::Service => "service",
        }
    }

    fn found(self, status: Status, detail: impl Into<String>) -> Finding {
        Finding {
            check: self,
            status,
            detail: detail.into(),
            advice: None,
        }
    }

    fn ok(self, detail: impl Into<String>) -> Finding {
        self.found(Status::Ok, detail)
    }

    fn skip(self, why: impl Into<String>) -> Finding {
        self.found(Status::Skip, why)
    }

    fn note(self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.found(Status::Note, detail).advise(advice)
    }

    fn warn(self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.found(Status::Warn, detail).advise(advice)
    }

    fn fail(self, detail: impl Into<String>, advice: impl Into<String>) -> Finding {
        self.found(Status::Fail, detail).advise(advice)
    }
}

impl Finding {
    fn advise(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// Looks at a deployment.
pub struct Doctor<'a> {
    settings: &'a Settings,
    clock: Clock,
    stripe: Stripe,
}

impl<'a> Doctor<'a> {
    /// Prepares for a look; nothing is asked yet.
    pub fn new(settings: &'a Settings, clock: Clock) -> Result<Self, BuildError> {
        // Impatient: what takes longer than this is a finding of its own.
        let mut hasty = settings.stripe.clone();
        hasty.timeout = hasty.timeout.min(TIMEOUT);
        hasty.total_timeout = hasty.total_timeout.min(TIMEOUT + Duration::from_secs(1));
        hasty.max_retries = hasty.max_retries.min(1);
        let stripe = Stripe::new(&hasty).map_err(|error| BuildError::Stripe(error.to_string()))?;
        Ok(Self {
            settings,
            clock,
            stripe,
        })
    }

    /// Looks at everything and tells each finding as soon as it is known; returns what could be mended at once.
    pub async fn examine(&self, tell: &mut impl FnMut(Finding)) -> Option<Remedy> {
        self.database(tell).await;
        self.followers(tell).await;
        let remedy = if self.access(tell).await {
            let remedy = self.endpoints(tell).await;
            self.portal(tell).await;
            self.receipts(tell).await;
            self.catalogue(tell).await;
            remedy
        } else {
            None
        };
        self.pages(tell).await;
        self.service(tell).await;
        remedy
    }

    /// Whether Stripe is the real one.
    fn is_real(&self) -> bool {
        self.settings.stripe.api_base.host_str() == Some(STRIPE_HOST)
    }

    /// Whether something else plays Stripe, and not on this machine: then a browser's addresses of this machine, and
    /// Stripe's, are not those from here, as between containers.
    fn is_played_elsewhere(&self) -> bool {
        !self.is_real() && !is_loopback(&self.settings.stripe.api_base)
    }
}

/// What is wrong with the settings, and that nothing else could be looked at.
pub fn bad_settings(error: &SettingsError) -> Vec<Finding> {
    let rest = [Check::Database, Check::Events, Check::Stripe]
        .into_iter()
        .chain(Check::AT_STRIPE)
        .chain([Check::Pages, Check::Service]);
    setting_problems(error)
        .into_iter()
        .chain(rest.map(|check| check.skip("the settings can't be used")))
        .collect()
}

/// What is wrong with the settings alone.
pub fn setting_problems(error: &SettingsError) -> Vec<Finding> {
    let problems = error.problems().iter().map(ToString::to_string);
    problems
        .map(|problem| match problem.split_once("; ") {
            Some((what, advice)) => Check::Settings.fail(what, advice),
            None => Check::Settings.found(Status::Fail, problem),
        })
        .collect()
}

/// What is to be said of settings that can be used.
pub fn good_settings(settings: &Settings) -> Vec<Finding> {
    let production = settings.environment == Environment::Production;
    let live = settings.livemode();
    let mode = if live { "live" } else { "test" };
    let mut findings = vec![Check::Settings.ok(format!(
        "environment {}, Stripe's {mode} mode",
        settings.environment
    ))];
    if !live && production {
        findings.push(Check::Settings.note(
            "a test key in production: nobody really pays",
            "put a live key into DUES__STRIPE__SECRET_KEY when you open",
        ));
    }
    let public = &settings.http.public_url;
    if production && is_loopback(public) {
        findings.push(Check::Settings.warn(
            format!("DUES__HTTP__PUBLIC_URL is {public}, where only this machine reaches it"),
            "name the address at which browsers and Stripe reach the service",
        ));
    }
    let level = settings.log.level.to_lowercase();
    if production && (level.contains("debug") || level.contains("trace")) {
        findings.push(Check::Settings.warn(
            format!("the log level is {level}: many lines, and those of libraries may name more than ours do"),
            "set DUES__LOG__LEVEL=info",
        ));
    }
    findings
}
