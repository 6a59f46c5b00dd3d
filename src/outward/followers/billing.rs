//! What is asked of the Mosaic Billing Service that follows, beside telling it.

use super::Followers;
use super::file::{self, FileError, Follower, Kind};
use super::receiver::Receiver;
use crate::outward::mosaic;
pub use crate::outward::mosaic::plans::PaymentPlan;
pub use crate::outward::mosaic::redirects::Redirects;
use crate::settings::Settings;

/// Why its plans can't be told.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody said where it is.
    #[error(
        "no follower of kind \"mosaic\" is named: write one into config/followers.toml, or into the file that \
         DUES__FOLLOWERS__FILE names, with name, url, id_url, client_id, client_secret_env and provider_key"
    )]
    None,
    /// It is not said which.
    #[error("several followers are of kind \"mosaic\": say which, with --follower {}", .0.join(" or "))]
    Several(Vec<String>),
    /// No such one.
    #[error("there is no follower \"{name}\" of kind \"mosaic\"; there are: {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It does not say.
    #[error("the plans of \"{name}\" can't be read: {why}")]
    Failed {
        /// Which.
        name: String,
        /// What went wrong.
        why: String,
    },
}

impl Followers {
    /// Where the first Mosaic Billing Service of the file has browsers go after a purchase; none without one, or where it
    /// does not say.
    pub async fn redirects(&self) -> Option<Redirects> {
        let named = self.named();
        for told in named.iter() {
            if let Receiver::Mosaic(mosaic) = &told.receiver {
                return mosaic.redirects().await;
            }
        }
        None
    }
}

/// What the Mosaic Billing Service sells that the file names, by what is sold.
pub async fn payment_plans(
    settings: &Settings,
    name: Option<&str>,
) -> Result<Vec<PaymentPlan>, BillingError> {
    let all = file::read(settings)?;
    let (name, config) = one(&all, name)?;
    let failed = |why: &str| BillingError::Failed {
        name: name.to_owned(),
        why: why.to_owned(),
    };
    let plans = mosaic::plans::payment_plans(config).await;
    plans.map_err(|failure| failed(failure.why()))
}

/// The one of that name, or the only one.
fn one<'a>(
    all: &'a [Follower],
    name: Option<&str>,
) -> Result<(&'a str, &'a mosaic::Config), BillingError> {
    let mut of_kind = Vec::new();
    for follower in all {
        if let Kind::Mosaic(config) = &follower.kind {
            of_kind.push((follower.name.as_str(), config));
        }
    }
    let known = || of_kind.iter().map(|(name, _)| (*name).to_owned()).collect();
    match (name, of_kind.as_slice()) {
        (_, []) => Err(BillingError::None),
        (None, [one]) => Ok(*one),
        (None, _) => Err(BillingError::Several(known())),
        (Some(name), _) => {
            let found = of_kind.iter().find(|(known, _)| *known == name);
            found.copied().ok_or_else(|| BillingError::Unknown {
                name: name.to_owned(),
                known: known(),
            })
        }
    }
}
