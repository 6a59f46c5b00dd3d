//! What receives: each kind of follower, called in the same way.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use sqlx::postgres::PgPool;

use super::file::Kind;
use crate::clock::Clock;
use crate::domain::feed::Entry;
use crate::outward::Context;
use crate::outward::discourse::Discourse;
use crate::outward::mosaic::Mosaic;
use crate::outward::webhook::Webhook;

/// Longest wait for an answer: what Standard Webhooks suggests at least.
pub(in crate::outward) const TIMEOUT: Duration = Duration::from_secs(15);
/// A receiver that asks for longer is asked again after so long.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// Why something could not be told. The sentences say nothing that a body said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::outward) enum Failure {
    /// Nobody is there to be told, whoever it is about.
    Away {
        /// What happened.
        why: String,
        /// How long the receiver wants to be left alone.
        again_in: Option<Duration>,
    },
    /// This was refused; another member's may not be.
    Refused {
        /// What happened.
        why: String,
        /// Whether it is certain that it is about this member, and not about all.
        is_hers: bool,
    },
    /// The receiver wants no more.
    Stop {
        /// What happened.
        why: String,
    },
}

impl Failure {
    pub(in crate::outward) fn why(&self) -> &str {
        match self {
            Self::Away { why, .. } | Self::Refused { why, .. } | Self::Stop { why } => why,
        }
    }

    pub(in crate::outward) fn away(why: impl Into<String>) -> Self {
        Self::Away {
            why: why.into(),
            again_in: None,
        }
    }

    pub(in crate::outward) fn refused(why: impl Into<String>) -> Self {
        Self::Refused {
            why: why.into(),
            is_hers: false,
        }
    }

    /// What a request that brought no answer means.
    pub(in crate::outward) fn of_error(error: &reqwest::Error) -> Self {
        let why = if error.is_timeout() {
            format!("no answer within {} s", TIMEOUT.as_secs())
        } else if error.is_connect() {
            "no connection".to_owned()
        } else {
            "the connection broke off".to_owned()
        };
        Self::away(why)
    }

    /// What an answer's status means; none where all is well.
    pub(in crate::outward) fn of_status(response: &Response) -> Option<Self> {
        let status = response.status();
        let why = format!("answered {}", status.as_u16());
        match status {
            status if status.is_success() => None,
            StatusCode::GONE => Some(Self::Stop {
                why: "answered 410: it wants no more".to_owned(),
            }),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Some(Self::Away {
                why,
                again_in: retry_after(response),
            }),
            status if status.is_redirection() => {
                Some(Self::refused(format!("{why}: redirects are not followed")))
            }
            _ => Some(Self::refused(why)),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WISH))
}

/// The body of an answer; none where it is longer than that.
pub(in crate::outward) async fn body_within(
    mut response: Response,
    longest: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| Failure::of_error(&error))? else {
            return Ok(Some(body));
        };
        if body.len() + chunk.len() > longest {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
}

/// A client for receivers: no redirects, no proxy of the surroundings, no patience.
pub(in crate::outward) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT)
        .connect_timeout(Duration::from_secs(5))
        .user_agent(concat!("dues/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A follower that can be told.
pub(super) enum Receiver {
    Webhook(Webhook),
    Mosaic(Box<Mosaic>),
    Discourse(Box<Discourse>),
}

impl Receiver {
    pub(super) fn new(
        kind: &Kind,
        context: Option<Arc<dyn Context>>,
        pool: &PgPool,
        clock: &Clock,
    ) -> Result<Self, reqwest::Error> {
        Ok(match kind {
            Kind::Webhook(config) => Self::Webhook(Webhook::new(config.clone())?),
            Kind::Mosaic(config) => {
                let mosaic = Mosaic::new(config.clone(), context, pool.clone())?;
                Self::Mosaic(Box::new(mosaic))
            }
            Kind::Discourse(config) => {
                let config = config.as_ref().clone();
                let forum = Discourse::new(config, pool.clone(), clock.clone())?;
                Self::Discourse(Box::new(forum))
            }
        })
    }

    /// Takes over from the one of that name before, when the file was read again.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        if let (Self::Discourse(forum), Self::Discourse(before)) = (self, before) {
            forum.go_on_from(before);
        }
    }

    /// Whether it can't know a repeat, so that we must.
    pub(super) fn forgets(&self) -> bool {
        match self {
            Self::Webhook(_) | Self::Discourse(_) => false,
            Self::Mosaic(_) => true,
        }
    }

    /// Members who are told something at once; one member's rows always follow each other.
    pub(super) fn at_once(&self) -> usize {
        match self {
            Self::Webhook(_) | Self::Mosaic(_) => 4,
            Self::Discourse(_) => 1,
        }
    }

    /// One that is not told what has happened, but made to be what is true now of the member of each row: the last of her
    /// rows stands for all.
    pub(super) fn of_states(&self) -> Option<&Discourse> {
        match self {
            Self::Webhook(_) | Self::Mosaic(_) => None,
            Self::Discourse(forum) => Some(forum),
        }
    }

    /// Tells one row.
    pub(super) async fn tell(&self, entry: &Entry) -> Result<(), Failure> {
        match self {
            Self::Webhook(webhook) => webhook.tell(entry).await,
            Self::Mosaic(mosaic) => mosaic.tell(entry).await,
            // Lanes tell it states.
            Self::Discourse(_) => Ok(()),
        }
    }

    /// Asks for a sign of life that changes nothing; what was found, in a few words.
    pub(super) async fn sign_of_life(&self) -> Result<String, Failure> {
        match self {
            Self::Webhook(webhook) => webhook.sign_of_life().await,
            Self::Mosaic(mosaic) => mosaic.sign_of_life().await,
            Self::Discourse(forum) => forum.sign_of_life().await,
        }
    }

    /// Sends something of which the receiver knows that it is a test.
    pub(super) async fn test(&self) -> Result<String, Failure> {
        match self {
            Self::Webhook(webhook) => webhook.test().await,
            // Whatever is written there is a record of somebody's.
            Self::Mosaic(mosaic) => mosaic.sign_of_life().await,
            // There is nothing that would change nothing.
            Self::Discourse(forum) => forum.sign_of_life().await,
        }
    }
}
