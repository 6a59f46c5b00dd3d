//! Whether Stripe answers, and what it lets the key do.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Check, Doctor, Finding};
use crate::settings::Settings;
use crate::stripe::requests::account::{Access, PROBES, Probe};
use crate::stripe::{Answer, StripeError};

/// Probes under way at once: Stripe allows 25 requests a second in test mode.
const AT_ONCE: usize = 4;
/// From here on a clock that is wrong is worth a word, in seconds.
const SKEW_NOTED: i64 = 2;
/// From here on it is worth a look, in seconds.
const SKEW_WRONG: i64 = 30;

/// An answer, and our time before and after.
struct Timed {
    sent: OffsetDateTime,
    received: OffsetDateTime,
    answer: Result<Answer<IgnoredAny>, StripeError>,
}

impl Doctor<'_> {
    /// Key, permissions, version and clock; whether the other checks may ask Stripe.
    pub(super) async fn access(&self, tell: &mut impl FnMut(Finding)) -> bool {
        let Some((first, rest)) = PROBES.split_first() else {
            return false;
        };
        let first = (first, self.ask(first).await);
        let version = self.stripe.version();
        let trouble = match &first.1.answer {
            Ok(_) | Err(StripeError::Refused { status: 403, .. }) => None,
            Err(StripeError::Refused { status: 401, .. }) => Some(Check::Stripe.fail(
                "Stripe does not know the key",
                "put a key of the Dashboard (Developers, API keys) into DUES__STRIPE__SECRET_KEY",
            )),
            // A page of prices asks for nothing that could be wrong, except the version.
            Err(StripeError::Refused { status: 400, .. }) => {
                tell(self.key());
                Some(Check::Version.fail(
                    format!("Stripe does not know the API version {version}"),
                    format!(
                        "set DUES__STRIPE__API_VERSION={}",
                        Settings::shipped_api_version()
                    ),
                ))
            }
            Err(error) => Some(Check::Stripe.fail(
                error.to_string(),
                "is the network open to DUES__STRIPE__API_BASE? https://status.stripe.com tells whether Stripe is up",
            )),
        };
        if let Some(trouble) = trouble {
            let known = trouble.check;
            tell(trouble);
            for check in Check::AT_STRIPE {
                if check == Check::Catalogue {
                    self.catalogue_file(tell);
                } else if check != known {
                    tell(check.skip("Stripe can't be asked"));
                }
            }
            return false;
        }
        tell(self.key());
        let mut answers = vec![first];
        answers.extend(self.ask_all(rest).await);
        for finding in permissions(&answers) {
            tell(finding);
        }
        let answered = answers
            .iter()
            .find_map(|(_, timed)| Some((timed, timed.answer.as_ref().ok()?)));
        match answered {
            Some((timed, answer)) => {
                tell(self.version(answer.version.as_deref()));
                let tolerance = self.settings.stripe.webhook_tolerance.as_secs();
                let tolerance = i64::try_from(tolerance).unwrap_or(i64::MAX);
                tell(clock(
                    skew(timed.sent, timed.received, answer.at),
                    tolerance,
                ));
            }
            None => {
                for check in [Check::Version, Check::Clock] {
                    tell(check.skip("the key may read nothing"));
                }
            }
        }
        true
    }

    async fn ask(&self, probe: &Probe) -> Timed {
        let sent = self.clock.now();
        let answer = self.stripe.probe(probe).await;
        Timed {
            sent,
            received: self.clock.now(),
            answer,
        }
    }

    /// Asks some at a time; the answers in the order of the questions.
    async fn ask_all(&self, probes: &'static [Probe]) -> Vec<(&'static Probe, Timed)> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut asking = JoinSet::new();
        for (index, probe) in probes.iter().enumerate() {
            let (stripe, clock, places) =
                (self.stripe.clone(), self.clock.clone(), Arc::clone(&places));
            asking.spawn(async move {
                // The semaphore is never closed.
                let _place = places.acquire().await;
                let sent = clock.now();
                let answer = stripe.probe(probe).await;
                let received = clock.now();
                let timed = Timed {
                    sent,
                    received,
                    answer,
                };
                (index, probe, timed)
            });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, ..)| *index);
        let answers = answers.into_iter();
        answers.map(|(_, probe, timed)| (probe, timed)).collect()
    }

    fn key(&self) -> Finding {
        let secret = self.settings.stripe.secret_key.expose();
        let live = self.settings.livemode();
        let mode = if live { "live" } else { "test" };
        let place = if self.is_real() {
            String::new()
        } else {
            format!(" at {} in Stripe's place", self.settings.stripe.api_base)
        };
        if secret.starts_with("rk_") {
            return Check::Stripe.ok(format!(
                "a restricted key of the {mode} mode is accepted{place}"
            ));
        }
        let detail = format!(
            "a secret key of the {mode} mode is accepted{place}; it may do everything with the account"
        );
        let advice = format!("safer is a restricted key with {}", wanted());
        if live {
            Check::Stripe.warn(detail, advice)
        } else {
            Check::Stripe.note(detail, advice)
        }
    }

    fn version(&self, answered: Option<&str>) -> Finding {
        let (version, shipped) = (self.stripe.version(), Settings::shipped_api_version());
        match answered {
            Some(other) if other != version => Check::Version.warn(
                format!("asked in {version}, Stripe answers in {other}"),
                format!("set DUES__STRIPE__API_VERSION={shipped}"),
            ),
            _ if version != shipped => Check::Version.warn(
                format!("Stripe answers in {version}, but Dues was made for {shipped}"),
                "take DUES__STRIPE__API_VERSION out of the settings",
            ),
            _ => Check::Version.ok(version),
        }
    }
}

/// The permissions that a restricted key needs, in Stripe's words.
fn wanted() -> String {
    let mut wanted: BTreeMap<&str, Access> = BTreeMap::from([
        ("Webhook Endpoints", Access::Write),
        ("Customer portal", Access::Write),
    ]);
    for probe in PROBES {
        let access = wanted.entry(probe.permission).or_insert(probe.access);
        *access = probe.access.max(*access);
    }
    let wanted: Vec<String> = wanted
        .into_iter()
        .map(|(permission, access)| format!("{permission}: {}", word(access)))
        .collect();
    wanted.join(", ")
}

fn word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
    }
}

/// One finding for each permission that is missing or could not be tried, or that all are there.
fn permissions(answers: &[(&'static Probe, Timed)]) -> Vec<Finding> {
    let mut missing: BTreeMap<(&str, Access), Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (probe, timed) in answers {
        let name = || format!("{}: {}", probe.permission, word(probe.access));
        match Probe::is_allowed(&timed.answer) {
            Some(true) => {}
            Some(false) => {
                let purposes = missing.entry((probe.permission, probe.access)).or_default();
                if !purposes.contains(&probe.purpose) {
                    purposes.push(probe.purpose);
                }
            }
            None => {
                let error = timed.answer.as_ref().err();
                let error = error.map(ToString::to_string).unwrap_or_default();
                findings.push(Check::Permissions.warn(
                    format!("{} could not be tried: {error}", name()),
                    "run it again",
                ));
            }
        }
    }
    for ((permission, access), purposes) in missing {
        let needed = format!("{permission}: {}", word(access));
        findings.push(Check::Permissions.fail(
            format!(
                "the key lacks \"{needed}\", without which this fails: {}",
                purposes.join(", ")
            ),
            "edit the restricted key in the Dashboard (Developers, API keys) and add it",
        ));
    }
    if findings.is_empty() {
        findings.push(Check::Permissions.ok(
            "the key may read and write all that it must (writing is inferred: requests that can't succeed were \
             refused for what they ask, not for who asks)",
        ));
    }
    findings
}

/// By how many seconds our clock is ahead of Stripe's: `Date` has whole seconds and was written between the two.
fn skew(sent: OffsetDateTime, received: OffsetDateTime, at: OffsetDateTime) -> i64 {
    let second = Duration::SECOND;
    if at + second < sent {
        (sent - at - second).whole_seconds()
    } else if at > received + second {
        (received - at + second).whole_seconds()
    } else {
        0
    }
}

fn clock(skew: i64, tolerance: i64) -> Finding {
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let by = skew.abs();
    let detail = format!("this machine's clock is {by} s {way} Stripe's");
    let advice = "let the machine's clock follow a time server (NTP)";
    if by > tolerance / 2 {
        let detail = format!("{detail}; webhooks are refused at {tolerance} s");
        Check::Clock.fail(detail, advice)
    } else if by > SKEW_WRONG {
        Check::Clock.warn(detail, advice)
    } else if by > SKEW_NOTED {
        Check::Clock.note(detail, advice)
    } else {
        Check::Clock.ok(format!("within {SKEW_NOTED} s of Stripe's"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_skew_is_what_neither_the_way_nor_whole_seconds_explain() {
        let sent = datetime!(2026-11-22 10:00:00.700 UTC);
        let received = sent + Duration::milliseconds(400);
        let cases = [
            (datetime!(2026-11-22 10:00:00 UTC), 0),
            (datetime!(2026-11-22 10:00:01 UTC), 0),
            (datetime!(2026-11-22 10:00:02 UTC), 0),
            (datetime!(2026-11-22 09:59:55 UTC), 4),
            (datetime!(2026-11-22 10:00:12 UTC), -9),
        ];
        for (at, wanted) in cases {
            assert_eq!(skew(sent, received, at), wanted, "{at}");
        }
    }

    #[test]
    fn a_wrong_clock_is_worse_the_nearer_it_is_to_what_webhooks_bear() {
        let cases = [
            (0, Status::Ok),
            (-2, Status::Ok),
            (3, Status::Note),
            (-31, Status::Warn),
            (150, Status::Warn),
            (-151, Status::Fail),
        ];
        for (skew, wanted) in cases {
            assert_eq!(clock(skew, 300).status, wanted, "{skew}");
        }
    }

    #[test]
    fn a_permission_is_missing_only_if_the_key_was_refused() {
        let refused = |status| {
            Err(StripeError::Refused {
                operation: "GET /v1/x",
                status,
                code: String::new(),
                param: String::new(),
                request_id: String::new(),
            })
        };
        for (status, allowed) in [(400, true), (404, true), (403, false), (401, false)] {
            assert_eq!(Probe::is_allowed(&refused(status)), Some(allowed));
        }
        let away = Err(StripeError::TimedOut {
            operation: "GET /v1/x",
        });
        assert_eq!(Probe::is_allowed(&away), None);
    }
}
