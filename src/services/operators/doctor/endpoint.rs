//! The webhook endpoint: whether Stripe tells us what happens, and how that is mended.

use super::{Check, Doctor, Finding, is_loopback};
use crate::services::events::replay::types;
use crate::stripe::StripeError;
use crate::stripe::objects::WebhookEndpoint;

/// Stands for every type of event, almost.
const ALL: &str = "*";

/// What can be mended at Stripe at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Make the webhook endpoint.
    Create {
        /// Where events are to go.
        url: String,
    },
    /// Give the webhook endpoint the events that it lacks.
    Update {
        /// `we_…`.
        id: String,
        /// All that it is to get.
        events: Vec<String>,
    },
}

impl Doctor<'_> {
    /// The address that Stripe should send events to.
    fn webhook_url(&self) -> String {
        // The public URL is an origin, written with a slash.
        format!("{}webhooks/stripe", self.settings.http.public_url)
    }

    /// What plays Stripe elsewhere has another name for this machine.
    fn as_stand_in_sees_it(&self, url: String, endpoints: &[WebhookEndpoint]) -> String {
        if !self.is_played_elsewhere() || !is_loopback(&self.settings.http.public_url) {
            return url;
        }
        let mut urls = endpoints.iter().map(|endpoint| &endpoint.url);
        let ours = urls.find(|url| url.ends_with("/webhooks/stripe"));
        ours.cloned().unwrap_or(url)
    }

    /// Where the routes of Mosaic's connector answer, its endpoint may have stayed as it was.
    fn as_the_connector_had_it(&self, url: String, endpoints: &[WebhookEndpoint]) -> String {
        let before = format!("{}webhooks", self.settings.http.public_url);
        let has = |url: &str| endpoints.iter().any(|endpoint| is_at(endpoint, url));
        if self.settings.mosaic.compatible_routes && has(&before) && !has(&url) {
            before
        } else {
            url
        }
    }

    pub(super) async fn endpoints(&self, tell: &mut impl FnMut(Finding)) -> Option<Remedy> {
        let url = self.webhook_url();
        if self.is_real() && is_loopback(&self.settings.http.public_url) {
            tell(Check::Webhook.warn(
                format!("Stripe can't reach {url}, an address of this machine"),
                format!("for development: stripe listen --forward-to {url}; its secret goes into DUES__STRIPE__WEBHOOK_SECRETS"),
            ));
            return None;
        }
        let endpoints = match self.stripe.list_webhook_endpoints().await {
            Ok(endpoints) => endpoints,
            Err(StripeError::Refused { status: 403, .. }) => {
                tell(Check::Webhook.warn(
                    "the key may not look at webhook endpoints, so nobody knows whether Stripe sends events here",
                    "add \"Webhook Endpoints: read\" to the key for this check; Dues works without it",
                ));
                return None;
            }
            Err(error) => {
                tell(Check::Webhook.fail(error.to_string(), "run it again"));
                return None;
            }
        };
        let types: Vec<&str> = types().collect();
        let url = self.as_stand_in_sees_it(url, &endpoints);
        let url = self.as_the_connector_had_it(url, &endpoints);
        let (findings, remedy) = judge(&endpoints, &url, self.stripe.version(), &types);
        for finding in findings {
            tell(finding);
        }
        remedy
    }

    /// Mends it at Stripe, and tells what came of it: the secret of a new endpoint stands in the advice, for Stripe tells
    /// it only once.
    pub async fn apply(&self, remedy: &Remedy) -> Finding {
        let advice = "add \"Webhook Endpoints: write\" to the key, or do it in the Dashboard (Developers, Webhooks)";
        let done = match remedy {
            Remedy::Create { url } => {
                let types: Vec<&str> = types().collect();
                let key = format!("doctor:{:016x}", fastrand::u64(..));
                self.stripe.create_webhook_endpoint(url, &types, &key).await
            }
            Remedy::Update { id, events } => {
                let events: Vec<&str> = events.iter().map(String::as_str).collect();
                self.stripe.update_webhook_endpoint(id, &events).await
            }
        };
        match (done, remedy) {
            (Ok(made), Remedy::Create { url }) => Check::Webhook.warn(
                format!("{} was made for {url}, but its secret is not in the settings yet", made.id),
                format!(
                    "put this into DUES__STRIPE__WEBHOOK_SECRETS (Stripe tells it only now) and start the service \
                     again: {}",
                    made.secret.unwrap_or_default()
                ),
            ),
            (Ok(changed), Remedy::Update { .. }) => {
                Check::Webhook.ok(format!("{} gets all events now", changed.id))
            }
            (Err(StripeError::Refused { status: 400, .. }), Remedy::Create { url }) => {
                Check::Webhook.fail(
                    format!("Stripe takes no endpoint {url}"),
                    "it must be https and reachable from the internet; an account has at most 16 endpoints",
                )
            }
            (Err(error), _) => Check::Webhook.fail(error.to_string(), advice),
        }
    }
}

/// As the router takes it: with a slash at its end, or without.
fn is_at(endpoint: &WebhookEndpoint, url: &str) -> bool {
    endpoint.url.strip_suffix('/').unwrap_or(&endpoint.url) == url
}

/// What is to be said of the endpoints of the account.
fn judge(
    endpoints: &[WebhookEndpoint],
    url: &str,
    version: &str,
    types: &[&str],
) -> (Vec<Finding>, Option<Remedy>) {
    let ours: Vec<&WebhookEndpoint> = endpoints
        .iter()
        .filter(|endpoint| is_at(endpoint, url))
        .collect();
    let enabled: Vec<&WebhookEndpoint> = ours
        .iter()
        .copied()
        .filter(|endpoint| endpoint.status == "enabled")
        .collect();
    let (Some(newest), Some(_)) = (ours.first(), enabled.first()) else {
        return missing(&ours, url);
    };
    let mut findings = Vec::new();
    let mut remedy = None;
    if enabled.len() > 1 {
        findings.push(Check::Webhook.warn(
            format!(
                "{} endpoints send to {url}: each event comes as often (and is applied once)",
                enabled.len()
            ),
            "when a change of secret or version is over, delete the older ones in the Dashboard",
        ));
    }
    // An endpoint that has everything will do, whatever the others lack.
    let best = enabled
        .iter()
        .copied()
        .min_by_key(|endpoint| {
            (
                lacking(endpoint, types).len(),
                endpoint.api_version.as_deref() != Some(version),
            )
        })
        .unwrap_or(newest);
    let id = &best.id;
    let lacking = lacking(best, types);
    if !lacking.is_empty() {
        let mut events = best.enabled_events.clone();
        events.extend(lacking.iter().map(|&kind| kind.to_owned()));
        findings.push(Check::Webhook.fail(
            format!("{id} does not get {}", lacking.join(", ")),
            "dues doctor --update-webhook-endpoint adds them",
        ));
        remedy = Some(Remedy::Update {
            id: id.clone(),
            events,
        });
    }
    match best.api_version.as_deref() {
        Some(theirs) if theirs == version => {}
        theirs => findings.push(Check::Webhook.warn(
            match theirs {
                Some(theirs) => format!("{id} sends events in the version {theirs}, not {version}"),
                None => format!("{id} sends events in the account's default version, which changes under it"),
            },
            "Dues reads every version since 2020; an endpoint's can't be changed: make a second one, put its secret \
             beside the first, then delete the first",
        )),
    }
    let more: Vec<&str> = best
        .enabled_events
        .iter()
        .map(String::as_str)
        .filter(|kind| !types.contains(kind))
        .collect();
    if more.contains(&ALL) {
        findings.push(Check::Webhook.note(
            format!("{id} gets every event, of which Dues ignores most"),
            "subscribe it to what `dues events types` lists: while the service is down, Stripe holds up invoices \
             whose invoice.created nobody takes",
        ));
    } else if !more.is_empty() {
        findings.push(Check::Webhook.note(
            format!("{id} also gets {}, which Dues ignores", more.join(", ")),
            "they do no harm",
        ));
    }
    if findings.is_empty() {
        findings.push(Check::Webhook.ok(format!(
            "{id} sends {} types of events to {url}",
            types.len()
        )));
    }
    (findings, remedy)
}

fn missing(ours: &[&WebhookEndpoint], url: &str) -> (Vec<Finding>, Option<Remedy>) {
    if let Some(disabled) = ours.first() {
        let finding = Check::Webhook.fail(
            format!("{} for {url} is disabled: Stripe sends nothing", disabled.id),
            "enable it in the Dashboard (Developers, Webhooks); `dues reconcile` then finds what was lost",
        );
        return (vec![finding], None);
    }
    let finding = Check::Webhook.fail(
        format!("Stripe has no webhook endpoint {url}"),
        "dues doctor --create-webhook-endpoint makes it",
    );
    let remedy = Remedy::Create {
        url: url.to_owned(),
    };
    (vec![finding], Some(remedy))
}

/// The types that an endpoint does not get.
fn lacking<'a>(endpoint: &WebhookEndpoint, types: &[&'a str]) -> Vec<&'a str> {
    let gets = |kind: &str| {
        let mut events = endpoint.enabled_events.iter();
        events.any(|event| event == ALL || event == kind)
    };
    types.iter().copied().filter(|kind| !gets(kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Status::{self, Fail, Note, Ok, Warn};
    use super::*;

    const URL: &str = "https://dues.example.org/webhooks/stripe";

    fn endpoint(id: &str, status: &str, events: &[&str], version: Option<&str>) -> WebhookEndpoint {
        WebhookEndpoint {
            id: id.to_owned(),
            url: URL.to_owned(),
            status: status.to_owned(),
            enabled_events: events.iter().map(|&event| event.to_owned()).collect(),
            api_version: version.map(str::to_owned),
            secret: None,
        }
    }

    #[track_caller]
    fn found(endpoints: &[WebhookEndpoint], wanted: &[(Status, &str)]) -> Option<Remedy> {
        let (findings, remedy) = judge(endpoints, URL, "v2", &["a", "b"]);
        assert_eq!(findings.len(), wanted.len(), "{findings:?}");
        for (finding, (status, text)) in findings.iter().zip(wanted) {
            assert_eq!(finding.status, *status, "{finding:?}");
            assert!(finding.detail.contains(text), "{finding:?}");
        }
        remedy
    }

    #[test]
    fn one_enabled_endpoint_with_our_events_in_our_version_is_fine() {
        let good = endpoint("we_1", "enabled", &["a", "b"], Some("v2"));
        assert_eq!(found(&[good], &[(Ok, "we_1 sends 2 types")]), None);
    }

    #[test]
    fn none_or_a_disabled_one_is_a_failure_and_only_none_is_made() {
        let mut other = endpoint("we_0", "enabled", &["*"], None);
        other.url = "https://other.example.org/webhooks/stripe".to_owned();
        let remedy = found(&[other], &[(Fail, "no webhook endpoint")]);
        assert_eq!(
            remedy,
            Some(Remedy::Create {
                url: URL.to_owned()
            })
        );
        let disabled = endpoint("we_1", "disabled", &["a", "b"], Some("v2"));
        assert_eq!(found(&[disabled], &[(Fail, "we_1 for https")]), None);
    }

    #[test]
    fn missing_events_are_named_and_added_to_those_that_are_there() {
        let poor = endpoint("we_1", "enabled", &["b", "c"], Some("v2"));
        let remedy = found(&[poor], &[(Fail, "does not get a"), (Note, "also gets c")]);
        let events = ["b", "c", "a"].map(str::to_owned).to_vec();
        let id = "we_1".to_owned();
        assert_eq!(remedy, Some(Remedy::Update { id, events }));
    }

    #[test]
    fn another_version_and_every_event_are_worth_a_word() {
        let all = endpoint("we_1", "enabled", &["*"], None);
        found(
            &[all],
            &[(Warn, "account's default"), (Note, "every event")],
        );
        let old = endpoint("we_1", "enabled", &["a", "b"], Some("v1"));
        found(&[old], &[(Warn, "in the version v1, not v2")]);
    }

    #[test]
    fn of_two_the_better_one_counts() {
        let old = endpoint("we_1", "enabled", &["a"], Some("v1"));
        let new = endpoint("we_2", "enabled", &["a", "b"], Some("v2"));
        assert_eq!(found(&[old, new], &[(Warn, "2 endpoints send")]), None);
    }
}
