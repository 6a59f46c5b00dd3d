//! Those who are called about each change: whether they answer, and how far behind they are.

use std::sync::Arc;

use super::{Check, Doctor, Finding, TIMEOUT};
use uuid::Uuid;

use crate::catalogue::Plans;
use crate::outward::feed::Feed;
use crate::outward::followers::billing::payment_plans;
use crate::outward::followers::{Followers, FollowersError, Standing};
use crate::storage;

impl Doctor<'_> {
    /// Nothing is said where the settings name no file.
    pub(super) async fn followers(&self, tell: &mut impl FnMut(Finding)) {
        if self.settings.followers.file.is_none() {
            return;
        }
        let mut database = self.settings.database.clone();
        database.max_connections = 1;
        database.acquire_timeout = database.acquire_timeout.min(TIMEOUT);
        // What is wrong with the database is told already.
        let Ok(Ok(pool)) = tokio::time::timeout(TIMEOUT, storage::connect(&database)).await else {
            tell(Check::Followers.skip("the database can't be asked"));
            return;
        };
        let settings = Arc::new(self.settings.clone());
        let feed = Feed::new(pool.clone());
        let followers = match Followers::open(pool, feed, self.clock.clone(), settings, None) {
            Ok(followers) => followers,
            Err(FollowersError::File(error)) => {
                for problem in error.problems() {
                    tell(Check::Followers.fail(problem, "mend the followers' file"));
                }
                return;
            }
            Err(error) => {
                tell(Check::Followers.fail(error.to_string(), "run it again"));
                return;
            }
        };
        let standings = match followers.standings().await {
            Ok(standings) => standings,
            Err(error) => {
                tell(Check::Followers.skip(error.to_string()));
                return;
            }
        };
        for (name, sign) in followers.signs_of_life().await {
            let is_mosaic = |one: &Standing| one.name == name && one.kind == "mosaic";
            match sign {
                Ok(sign) => {
                    tell(Check::Followers.ok(format!("{name} {sign}")));
                    if standings.iter().any(is_mosaic) {
                        self.kept_plans(&name)
                            .await
                            .into_iter()
                            .for_each(&mut *tell);
                    }
                }
                Err(why) => tell(Check::Followers.fail(
                    format!("{name}: {why}"),
                    format!("is its url right, and does it run? dues followers test {name}"),
                )),
            }
        }
        standings.iter().flat_map(standing).for_each(tell);
    }
}

impl Doctor<'_> {
    /// Whether the plans that a Mosaic Billing Service is to keep are known there. A plan with a wrong id is refused with
    /// the first purchase, and not before.
    async fn kept_plans(&self, name: &str) -> Vec<Finding> {
        let check = Check::Followers;
        // What is wrong with the plans file is told by the catalogue's check.
        let Ok(plans) = Plans::read(&self.settings.plans.file) else {
            return Vec::new();
        };
        let kept = plans.listed().iter();
        let kept: Vec<_> = kept
            .filter_map(|plan| Some((&plan.code, plan.mosaic_payment_plan?)))
            .collect();
        if kept.is_empty() {
            let advice = "name the payment plans in the plans file: dues plans from-mosaic";
            return vec![check.note(format!("{name}: no plan has a mosaic_payment_plan"), advice)];
        }
        let there = match payment_plans(self.settings, Some(name)).await {
            Ok(there) => there,
            Err(error) => {
                let advice = "give its service account Plans: View, and run it again";
                return vec![check.note(error.to_string(), advice)];
            }
        };
        let finding = |(code, id): (&String, Uuid)| {
            let advice = "correct mosaic_payment_plan in the plans file, or the plan there";
            match there.iter().find(|plan| plan.id == id) {
                None => Some(check.fail(
                    format!("{name} has no payment plan {id}, which plan \"{code}\" names"),
                    advice,
                )),
                Some(plan) if !plan.is_active => Some(check.note(
                    format!("{name}: the payment plan of plan \"{code}\" is not active there"),
                    advice,
                )),
                Some(_) => None,
            }
        };
        kept.into_iter().filter_map(finding).collect()
    }
}

/// What is to be said of how a follower stands.
fn standing(one: &Standing) -> Vec<Finding> {
    let Standing { name, state, .. } = one;
    let error = one.last_error.as_deref().unwrap_or("no error is noted");
    let mut findings = Vec::new();
    match *state {
        "stopped" => findings.push(Check::Followers.fail(
            format!("{name} is told nothing any more: {error}"),
            format!("mend it, then dues followers retry {name}"),
        )),
        "waiting" => findings.push(Check::Followers.warn(
            format!("{name} waits, {} row(s) behind: {error}", one.rows_behind),
            format!("it is tried again by itself; at once: dues followers retry {name}"),
        )),
        "not_in_file" => findings.push(Check::Followers.note(
            format!("{name} stands in no file any more; its place is kept"),
            "name it again, or rename it with renamed_from",
        )),
        _ => {}
    }
    if one.parked_members > 0 {
        findings.push(Check::Followers.warn(
            format!("{name} refuses rows of {} member(s)", one.parked_members),
            format!("dues followers show {name}"),
        ));
    }
    if let Some(found) = &one.found {
        findings.push(Check::Followers.note(
            format!("{name}: {found}"),
            "whoever belongs there without having bought may stay; remove_by_hand = true removes all of them",
        ));
    }
    findings
}
