//! Where a browser goes after a purchase, as the service's own settings say.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use super::Mosaic;
use super::client::Answer;
use crate::outward::followers::receiver::Failure;

const SETTINGS: &str =
    "query getSettings { getSettings { successRedirect cancelRedirect errorRedirect } }";

/// How long an answer is used: somebody waits for each question.
const KEPT: Duration = Duration::from_mins(3);
/// How long nobody asks again after a question that went wrong.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// How long a browser waits for an answer at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Pages of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirects {
    /// After a purchase.
    pub success: Url,
    /// After one that was given up.
    pub cancel: Url,
    /// After one that failed.
    pub error: Url,
}

/// The last answer, and when to ask again.
#[derive(Default)]
pub(super) struct Known(Mutex<(Option<Redirects>, Option<Instant>)>);

impl Mosaic {
    /// The pages; none where the service names none, or can't be asked and never could. One asks, and the others wait.
    pub(in crate::outward) async fn redirects(&self) -> Option<Redirects> {
        let mut known = self.redirects.0.lock().await;
        if known.1.is_some_and(|again| again > Instant::now()) {
            return known.0.clone();
        }
        let slow = || Failure::away("no answer while somebody waits");
        let asked = timeout(PATIENCE, self.ask_for_redirects()).await;
        let pause = match asked.unwrap_or_else(|_| Err(slow())) {
            Ok(redirects) => {
                known.0 = redirects;
                KEPT
            }
            // Those that were known last are still the best that is known.
            Err(failure) => {
                let why = failure.why();
                tracing::warn!(why, "Mosaic Billing does not say where browsers go");
                LEFT_ALONE
            }
        };
        known.1 = Some(Instant::now() + pause);
        known.0.clone()
    }

    async fn ask_for_redirects(&self) -> Result<Option<Redirects>, Failure> {
        match self.client.ask(SETTINGS, json!({})).await? {
            Answer::Data(data) => Ok(read(&data["getSettings"])),
            Answer::Refused(why) => Err(Failure::refused(why)),
        }
    }
}

/// Only that of a success must be there; the others are like it.
fn read(settings: &Value) -> Option<Redirects> {
    let page = |name: &str| {
        let url = Url::parse(settings[name].as_str()?).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(url)
    };
    let success = page("successRedirect")?;
    Some(Redirects {
        cancel: page("cancelRedirect").unwrap_or_else(|| success.clone()),
        error: page("errorRedirect").unwrap_or_else(|| success.clone()),
        success,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_missing_are_those_of_a_success_and_without_one_there_are_none() {
        let pages = |settings: Value| {
            let found = read(&settings)?;
            Some([found.success, found.cancel, found.error].map(String::from))
        };
        let (a, b) = ("https://a.example.org/", "https://b.example.org/");
        let all = json!({ "successRedirect": a, "cancelRedirect": b, "errorRedirect": null });
        assert_eq!(pages(all), Some([a, b, a].map(str::to_owned)));
        assert_eq!(pages(json!({ "cancelRedirect": b })), None);
        assert_eq!(pages(json!({ "successRedirect": "javascript:1" })), None);
    }
}
