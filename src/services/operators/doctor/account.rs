//! What is set up in Stripe's Dashboard: the portal, receipts, and the prices of the plans.

use super::{Check, Doctor, Finding};
use crate::catalogue::check::{self, Report};
use crate::catalogue::{CatalogueError, Plans};
use crate::stripe::StripeError;
use crate::stripe::objects::{Charge, PortalConfiguration};

const MEND_PLANS: &str =
    "mend the plans file or the price at Stripe; `dues plans check` looks again";
/// Where Stripe's mails are switched on.
const MAILS: &str = "in the Dashboard switch on Settings, Business, Customer emails: successful payments and refunds; \
                     and Settings, Billing, Subscriptions and emails: upcoming renewals, failed payments, expiring cards";

impl Doctor<'_> {
    pub(super) async fn portal(&self, tell: &mut impl FnMut(Finding)) {
        let named = self.settings.portal.configuration.as_deref();
        let findings = match self.stripe.portal_configuration(named).await {
            Ok(None) if let Some(named) = named => vec![Check::Portal.fail(
                format!("Stripe has no active configuration {named} of the customer portal, so nobody gets a link to it"),
                "does DUES__PORTAL__CONFIGURATION name one of this mode (test or live)?",
            )],
            Ok(configuration) => portal(configuration.as_ref()),
            Err(StripeError::Refused { status: 403, .. }) => vec![Check::Portal.warn(
                "the key may not look at the portal's configuration",
                "add \"Customer portal: write\" to the key",
            )],
            Err(error) => vec![Check::Portal.fail(error.to_string(), "run it again")],
        };
        findings.into_iter().for_each(tell);
    }

    pub(super) async fn receipts(&self, tell: &mut impl FnMut(Finding)) {
        let live = self.settings.livemode();
        tell(match self.stripe.newest_charges().await {
            Ok(charges) => receipts(&charges, live),
            Err(StripeError::Refused { status: 403, .. }) => {
                Check::Receipts.skip("the key may not look at payments")
            }
            Err(error) => Check::Receipts.fail(error.to_string(), "run it again"),
        });
    }

    pub(super) async fn catalogue(&self, tell: &mut impl FnMut(Finding)) {
        let file = &self.settings.plans.file;
        let automatic_tax = self.settings.checkout.page.automatic_tax;
        match check::check(file, &self.stripe, automatic_tax).await {
            Ok(report) => catalogue(&report).into_iter().for_each(tell),
            Err(CatalogueError::Stripe(StripeError::Refused { status: 403, .. })) => {
                tell(Check::Catalogue.skip("the key may not look at prices"));
            }
            Err(error) => tell(Check::Catalogue.fail(one_line(&error), MEND_PLANS)),
        }
    }

    /// The plans file alone, where Stripe can't be asked.
    pub(super) fn catalogue_file(&self, tell: &mut impl FnMut(Finding)) {
        tell(match Plans::read(&self.settings.plans.file) {
            Ok(_) => Check::Catalogue
                .skip("the file can be read, but Stripe can't be asked for its prices"),
            Err(error) => Check::Catalogue.fail(one_line(&error), MEND_PLANS),
        });
    }
}

/// An error of TOML draws what it means on lines of their own.
fn one_line(error: &CatalogueError) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn portal(configuration: Option<&PortalConfiguration>) -> Vec<Finding> {
    let Some(configuration) = configuration else {
        return vec![Check::Portal.fail(
            "the customer portal is not set up, so nobody gets a link to it",
            "save its settings once in the Dashboard: Settings, Billing, Customer portal",
        )];
    };
    let id = &configuration.id;
    let features = configuration.features;
    let mut findings = Vec::new();
    if features.subscription_update.enabled {
        findings.push(Check::Portal.warn(
            format!("{id} lets members switch plans, also to prices that no plan knows"),
            "switch it off in the portal's settings, or keep the products there to those of the plans: Dues follows \
             prices that it knows and flags others",
        ));
    }
    if !features.subscription_cancel.enabled {
        findings.push(Check::Portal.warn(
            format!("{id} does not let members cancel"),
            "switch on cancellations (at the end of the period) in the portal's settings",
        ));
    }
    if !features.payment_method_update.enabled {
        findings.push(Check::Portal.warn(
            format!("{id} does not let members change their card"),
            "switch on payment methods in the portal's settings: an expired card ends a membership otherwise",
        ));
    }
    if configuration.default_return_url.is_none() {
        findings.push(Check::Portal.note(
            format!("{id} has no address of its own to return to"),
            "Dues names one with each link; links of the Dashboard have none",
        ));
    }
    if findings.is_empty() {
        findings.push(Check::Portal.ok(format!("{id} lets members change their card and cancel")));
    }
    findings
}

/// Stripe's settings for mail can't be read, but what came of them: a charge has a receipt's number once one was mailed.
fn receipts(charges: &[Charge], live: bool) -> Finding {
    let newest = charges.iter().find(|charge| charge.paid);
    match newest {
        None => Check::Receipts.note(
            "nobody has paid yet, so nobody can tell whether Stripe mails receipts",
            MAILS,
        ),
        Some(charge) if charge.receipt_number.is_some() => Check::Receipts
            .ok("for the newest payment Stripe has mailed a receipt (other mails leave no trace)"),
        Some(_) if !live => Check::Receipts.note("in test mode Stripe mails no receipts", MAILS),
        Some(_) => {
            Check::Receipts.warn("for the newest payment Stripe has mailed no receipt", MAILS)
        }
    }
}

fn catalogue(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    for problem in &report.file {
        findings.push(Check::Catalogue.fail(problem.as_str(), MEND_PLANS));
    }
    for plan in &report.plans {
        let (code, line) = (&plan.plan, plan.line);
        for problem in &plan.problems {
            let detail = format!("plan \"{code}\" (line {line}): {problem}");
            findings.push(Check::Catalogue.fail(detail, MEND_PLANS));
        }
        for remark in &plan.remarks {
            let detail = format!("plan \"{code}\" (line {line}): {remark}");
            findings.push(Check::Catalogue.warn(detail, "if it is meant, leave it"));
        }
    }
    if findings.is_empty() {
        let count = report.plans.len();
        findings.push(Check::Catalogue.ok(format!("all {count} plans can be sold")));
    }
    if !report.unused.is_empty() {
        let count = report.unused.len();
        findings.push(Check::Catalogue.note(
            format!("{count} active price(s) with a lookup key at Stripe are no plan's"),
            "`dues plans check` names them",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Status::{self, Fail, Note, Ok, Warn};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_portal_is_fine_if_members_may_cancel_and_change_their_card_and_no_more() {
        let on = json!({"enabled": true});
        let fine = json!({"subscription_cancel": on, "payment_method_update": on});
        let switch = json!({"subscription_cancel": on, "payment_method_update": on, "subscription_update": on});
        let cases: [(_, _, &[Status]); 4] = [
            (fine.clone(), Some("https://a.example"), &[Ok]),
            (fine, None, &[Note]),
            (switch, Some("https://a.example"), &[Warn]),
            (json!({}), Some("https://a.example"), &[Warn, Warn]),
        ];
        for (features, back, wanted) in cases {
            let text = json!({"id": "bpc_1", "default_return_url": back, "features": features});
            let configuration = serde_json::from_value(text).expect("a configuration");
            let found: Vec<Status> = portal(Some(&configuration))
                .iter()
                .map(|f| f.status)
                .collect();
            assert_eq!(found, wanted, "{features}");
        }
        assert_eq!(portal(None)[0].status, Fail);
    }

    #[test]
    fn a_receipt_s_number_is_the_proof_that_one_was_mailed() {
        let charge = |paid: bool, number: Option<&str>| -> Charge {
            let text = json!({"id": "ch_1", "paid": paid, "receipt_number": number});
            serde_json::from_value(text).expect("a charge")
        };
        let cases = [
            (vec![], true, Note),
            (vec![charge(false, None)], true, Note),
            (vec![charge(true, None)], false, Note),
            (vec![charge(true, None)], true, Warn),
            (
                vec![charge(false, None), charge(true, Some("1234-5678"))],
                true,
                Ok,
            ),
            (
                vec![charge(true, None), charge(true, Some("1234-5678"))],
                true,
                Warn,
            ),
        ];
        for (charges, live, wanted) in cases {
            let found = receipts(&charges, live);
            assert_eq!(found.status, wanted, "{charges:?}");
            assert!(!found.detail.contains("1234"));
        }
    }
}
