//! Whole groups compared with what our rows say, and mended in bulk.
//!
//! The forum's lists know accounts, our rows members, and no list knows both. First our rows are walked, page by page: an
//! account that is known is looked up in the lists, which cost a call a thousand; of an unknown one the forum is asked. Then
//! whoever is in a list and was not met on that walk is asked for: somebody whose membership is over, or who was added by
//! hand. All that is kept is kept in memory; where it is lost, more is asked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};

use uuid::Uuid;

use super::client::MEMBERS;
use super::config::Mode;
use super::rules::{Holding, Wish};
use super::{Discourse, SetUp, Trouble, of_all};
use crate::domain::ids::SubscriptionId;
use crate::outward::followers::receiver::Failure;
use crate::storage::{StorageError, subscriptions};

/// Rows that are walked at a time: between two pages others have their turn.
const PAGE: i64 = 100;
/// Accounts that are asked for at a time.
const ACCOUNTS: usize = 50;
/// Members of a group that are held in memory; a larger group is not compared.
const MOST: usize = 100_000;
/// So many members in a row who are refused: then it isn't about them.
const IN_A_ROW: usize = 10;

/// A comparison that has begun.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The last row that was looked at.
    after: Option<Uuid>,
    set_up: Arc<SetUp>,
    /// Of each owned group, the accounts in it.
    members: Vec<HashSet<i64>>,
    /// Of each, those who look after it at the forum: they are there for another reason.
    owners: Vec<HashSet<i64>>,
    /// Accounts of members who were looked at.
    seen: HashSet<i64>,
    /// In the second half: accounts that are still to be looked at.
    left: Option<Vec<i64>>,
    /// Of each owned group, how many were added by hand.
    by_hand: Vec<usize>,
    refused_in_a_row: usize,
}

/// How far a comparison has come.
#[derive(Debug, Default)]
pub(in crate::outward) struct Compared {
    /// The last row that was looked at.
    pub(in crate::outward) after: Option<Uuid>,
    /// Whether it goes on.
    pub(in crate::outward) goes_on: bool,
    /// Members whom the forum refuses, and why.
    pub(in crate::outward) refused: Vec<(String, String)>,
    /// At its end: what a person should know.
    pub(in crate::outward) found: Option<String>,
}

/// Accounts to be added to or removed from each owned group.
struct Changes {
    add: Vec<Vec<i64>>,
    remove: Vec<Vec<i64>>,
}

impl Changes {
    fn none(groups: usize) -> Self {
        Self {
            add: vec![Vec::new(); groups],
            remove: vec![Vec::new(); groups],
        }
    }

    /// Notes what of a wish is not so yet.
    fn note(&mut self, account: i64, wish: &Wish, members: &[HashSet<i64>]) {
        let is_in = |place: usize| {
            members
                .get(place)
                .is_some_and(|in_it| in_it.contains(&account))
        };
        for place in wish.add.iter().filter(|place| !is_in(**place)) {
            self.add[*place].push(account);
        }
        for place in wish.remove.iter().filter(|place| is_in(**place)) {
            self.remove[*place].push(account);
        }
    }
}

impl Discourse {
    /// Goes on with a comparison after a row, or begins one.
    pub(in crate::outward) async fn compare(
        &self,
        after: Option<Uuid>,
    ) -> Result<Compared, Trouble> {
        let held = self
            .comparison
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Another process may have gone on with it meanwhile, or a person have begun it again.
        let held =
            held.filter(|held| held.after == after && (after.is_some() || held.left.is_some()));
        let mut comparison = match held {
            Some(held) => held,
            None => match self.begin(after).await? {
                Ok(begun) => begun,
                Err(found) => {
                    return Ok(Compared {
                        found: Some(found),
                        ..Compared::default()
                    });
                }
            },
        };
        let mut compared = Compared {
            goes_on: true,
            ..Compared::default()
        };
        let went = if comparison.left.is_none() {
            self.walk_rows(&mut comparison, &mut compared.refused).await
        } else {
            self.ask_for_accounts(&mut comparison).await
        };
        compared.after = comparison.after;
        if comparison.left.as_ref().is_some_and(Vec::is_empty) && went.is_ok() {
            compared.goes_on = false;
            compared.found = self.found(&comparison);
        } else {
            // Also where the forum was away in the middle: what was asked need not be asked again.
            *self
                .comparison
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(comparison);
        }
        went.map(|()| compared)
    }

    /// Reads the groups' lists; a sentence where that is too much.
    async fn begin(&self, after: Option<Uuid>) -> Result<Result<Comparison, String>, Failure> {
        self.forget_set_up();
        let set_up = self.set_up().await?;
        let (mut lists, mut owners) = (Vec::new(), Vec::new());
        for name in self.rules().names() {
            let (mut members, mut owning) = (HashSet::new(), HashSet::new());
            let mut offset = 0;
            loop {
                let listed = self.client.members(name, offset).await.map_err(of_all)?;
                if listed.total > MOST {
                    return Ok(Err(format!(
                        "the group \"{name}\" has more than {MOST} members: it is not compared"
                    )));
                }
                let is_last = listed.members.is_empty() || offset + MEMBERS >= listed.total;
                members.extend(listed.members);
                owning.extend(listed.owners);
                if is_last {
                    break;
                }
                offset += MEMBERS;
            }
            lists.push(members);
            owners.push(owning);
        }
        Ok(Ok(Comparison {
            after,
            set_up,
            members: lists,
            owners,
            seen: HashSet::new(),
            left: None,
            by_hand: vec![0; self.rules().len()],
            refused_in_a_row: 0,
        }))
    }

    /// Looks at the members of the next rows.
    async fn walk_rows(
        &self,
        comparison: &mut Comparison,
        refused: &mut Vec<(String, String)>,
    ) -> Result<(), Trouble> {
        let after = comparison.after.map(SubscriptionId);
        let rows = subscriptions::find_of_all(&self.pool, after, PAGE).await?;
        let members: BTreeSet<&str> = rows.iter().map(|(member, _)| member.as_str()).collect();
        let mut changes = Changes::none(self.rules().len());
        for (member, holding) in self.holdings(&Vec::from_iter(members)).await? {
            let account = self.account_of(comparison, &member, &holding).await;
            match account {
                Ok(Some((account, wish))) => {
                    comparison.seen.insert(account);
                    changes.note(account, &wish, &comparison.members);
                    comparison.refused_in_a_row = 0;
                }
                Ok(None) => {}
                Err(Failure::Refused { why, is_hers }) => {
                    comparison.refused_in_a_row += usize::from(!is_hers);
                    if comparison.refused_in_a_row >= IN_A_ROW {
                        comparison.refused_in_a_row = 0;
                        let why = format!("{IN_A_ROW} members in a row were refused: {why}");
                        return Err(Failure::away(why).into());
                    }
                    refused.push((member, why));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        self.make(comparison, &changes).await?;
        let is_last = i64::try_from(rows.len()).is_ok_and(|length| length < PAGE);
        comparison.after = rows.last().map(|(_, line)| line.id.0).or(comparison.after);
        if is_last {
            let all: HashSet<i64> = comparison.members.iter().flatten().copied().collect();
            let left = all.difference(&comparison.seen).copied();
            comparison.left = Some(left.collect());
        }
        Ok(())
    }

    /// A member's account with what is wished for it; none where there is nothing to wish, or no account. Whose membership
    /// is over is not asked for: if she is in a list, she is met there.
    async fn account_of(
        &self,
        comparison: &mut Comparison,
        member: &str,
        holding: &Holding,
    ) -> Result<Option<(i64, Wish)>, Failure> {
        let wish = self.rules().wish(holding);
        if wish.is_empty() {
            return Ok(None);
        }
        if let Some(account) = self.known.account(member) {
            return Ok(Some((account, wish)));
        }
        if wish.add.is_empty() {
            return Ok(None);
        }
        let account = match &self.client.config().mode {
            // What is to be changed of many is changed at once.
            Mode::Groups => {
                let account = self.client.account(member).await?;
                self.note(member, account)
            }
            Mode::Connect(_) => {
                let account = self.bring_about(member, &wish).await?;
                if let Some(account) = account {
                    for place in &wish.add {
                        comparison.members[*place].insert(account);
                    }
                    for place in &wish.remove {
                        comparison.members[*place].remove(&account);
                    }
                }
                account
            }
        };
        Ok(account.map(|account| (account, wish)))
    }

    /// Looks at the next accounts that are in a list and were not met among the rows.
    async fn ask_for_accounts(&self, comparison: &mut Comparison) -> Result<(), Trouble> {
        let Some(left) = &comparison.left else {
            return Ok(());
        };
        let from = left.len().saturating_sub(ACCOUNTS);
        let mut owners: BTreeMap<i64, Option<String>> = BTreeMap::new();
        for account in &left[from..] {
            let owner = match self.known.member(*account) {
                Some(owner) => Some(owner),
                None => match self.client.member(*account).await {
                    Ok(owner) => owner,
                    // One account that can't be shown keeps no others from being looked at.
                    Err(Failure::Refused { .. }) => continue,
                    Err(failure) => return Err(failure.into()),
                },
            };
            if let Some(owner) = &owner {
                self.known.learn(owner, *account);
            }
            owners.insert(*account, owner);
        }
        let members: BTreeSet<&str> = owners.values().flatten().map(String::as_str).collect();
        let holdings = self.holdings(&Vec::from_iter(members)).await?;
        let mut changes = Changes::none(self.rules().len());
        let mut by_hand = vec![0; self.rules().len()];
        for (account, owner) in &owners {
            let holding = owner.as_ref().and_then(|owner| holdings.get(owner));
            let wish = holding
                .map(|holding| self.rules().wish(holding))
                .unwrap_or_default();
            changes.note(*account, &wish, &comparison.members);
            for (place, in_it) in comparison.members.iter().enumerate() {
                let is_ours = wish.add.contains(&place) || wish.remove.contains(&place);
                let is_owner = comparison.owners[place].contains(account);
                if in_it.contains(account) && !is_ours && !is_owner {
                    by_hand[place] += 1;
                    if self.client.config().remove_by_hand {
                        changes.remove[place].push(*account);
                    }
                }
            }
        }
        self.make(comparison, &changes).await?;
        for (counted, more) in comparison.by_hand.iter_mut().zip(by_hand) {
            *counted += more;
        }
        if let Some(left) = &mut comparison.left {
            left.truncate(from);
        }
        Ok(())
    }

    /// Makes changes, a call for each group and direction.
    async fn make(&self, comparison: &mut Comparison, changes: &Changes) -> Result<(), Failure> {
        for place in 0..self.rules().len() {
            let Some(id) = comparison.set_up.groups.get(place) else {
                continue;
            };
            let group = (*id, self.rules().name(place));
            let (add, remove) = (&changes.add[place], &changes.remove[place]);
            if !add.is_empty() {
                let all_known = self.client.add(group, add).await.map_err(of_all)?;
                if !all_known {
                    // Some accounts are gone: the next comparison asks whose they were.
                    for account in add {
                        self.known.forget(*account);
                    }
                }
                comparison.members[place].extend(add);
            }
            if !remove.is_empty() {
                self.client.remove(group, remove).await.map_err(of_all)?;
                for account in remove {
                    comparison.members[place].remove(account);
                }
            }
        }
        Ok(())
    }

    /// What a person should know: who is in a group without ever having had what it follows.
    fn found(&self, comparison: &Comparison) -> Option<String> {
        let removed = self.client.config().remove_by_hand;
        let groups = self.rules().names().zip(&comparison.by_hand);
        let groups = groups.filter(|(_, count)| **count > 0);
        let sentences = groups.map(|(name, count)| {
            let what = if removed {
                "were in it by hand and were removed"
            } else {
                "are in it by hand"
            };
            format!("group \"{name}\": {count} {what}")
        });
        let sentences: Vec<String> = sentences.collect();
        (!sentences.is_empty()).then(|| sentences.join("; "))
    }
}

impl Trouble {
    /// What the forum did; an error of our own where it is not about the forum.
    pub(in crate::outward) fn of_forum(self) -> Result<Failure, StorageError> {
        match self {
            Self::Failure(failure) => Ok(failure),
            Self::Storage(error) => Err(error),
        }
    }
}
