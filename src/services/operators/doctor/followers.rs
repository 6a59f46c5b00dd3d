//! Those who are called about each change: whether they answer, and how far behind they are.

use std::sync::Arc;

use super::{Check, Doctor, Finding, TIMEOUT};
use crate::outward::feed::Feed;
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
            match sign {
                Ok(sign) => tell(Check::Followers.ok(format!("{name} {sign}"))),
                Err(why) => tell(Check::Followers.fail(
                    format!("{name}: {why}"),
                    format!("is its url right, and does it run? dues followers test {name}"),
                )),
            }
        }
        standings.iter().flat_map(standing).for_each(tell);
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
