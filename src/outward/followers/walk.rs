//! One follower's walk through the feed, while this process holds its lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use metrics::gauge;
use sqlx::postgres::PgPool;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lanes::{Lane, Teller};
use super::receiver::Failure;
use super::{Followers, Told};
use crate::domain::feed::{Entry, IN_FORCE};
use crate::domain::ids::{SubscriptionId, UserId};
use crate::domain::subscription::{Status, Subscription};
use crate::storage::followers::{self, Hold, Lease, Park, Parked, Place, Step};
use crate::storage::{StorageError, feed, subscriptions};

/// Rows that are told before the place is noted.
const PAGE: i64 = 100;
/// Longer than the longest request, so that nobody tells what another is still telling.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// Without a renewal for so long, telling ends: what is under way ends before the lease does.
const TRUST: Duration = Duration::from_secs(14);
/// How often somebody else's lease is looked at.
const ELSEWHERE: Duration = Duration::from_secs(2);
/// How often a follower that waits is looked at: a person may have said that it need not.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait for something new before parked members and commands are looked at.
const IDLE: Duration = Duration::from_secs(2);
/// How often the metrics are brought up to date.
const SHOW: Duration = Duration::from_secs(5);
/// So many members in a row who are refused: then it isn't about them.
const IN_A_ROW: usize = 10;
/// Parked members who are tried before the walk goes on.
const PARKED_AT_ONCE: i64 = 10;
/// Rows that are looked through at once for those of the types that are wanted.
const LOOKED_THROUGH: i64 = 10_000;
/// Rows of other types that are passed over before the place is noted.
const PASSED_OVER: i64 = 1_000;

/// Seconds until a follower is tried again, by failures in a row. A look costs it one request, so that one that was away
/// for a week is told within the hour.
const FOLLOWER_WAITS: [u32; 6] = [5, 30, 120, 600, 1_800, 3_600];
/// Seconds until a member is tried again: the schedule that Standard Webhooks suggests, and its last step for ever.
pub(super) const MEMBER_WAITS: [u32; 9] =
    [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// What a step came to.
pub(super) enum Went {
    /// Something was done.
    On,
    /// There was nothing to do.
    Nothing,
    /// The lease is somebody else's.
    Lost,
}

/// Who walks.
pub(super) struct Walker {
    followers: Followers,
    named: Arc<Vec<Told>>,
    at: usize,
    token: Uuid,
    pub(super) stop: CancellationToken,
    /// Members who were refused since the last success, and where each was.
    refused: Vec<(String, i64)>,
    /// Up to where there was nothing to tell.
    passed_over: i64,
    /// Of one that is told states: whose turn it was.
    pub(super) turn: usize,
    shown: Option<Instant>,
}

impl Walker {
    pub(super) fn new(
        followers: &Followers,
        named: Arc<Vec<Told>>,
        at: usize,
        stop: CancellationToken,
    ) -> Option<Self> {
        named.get(at)?;
        Some(Self {
            followers: followers.clone(),
            named,
            at,
            token: Uuid::from_u128(fastrand::u128(..)),
            stop,
            refused: Vec::new(),
            passed_over: 0,
            turn: 0,
            shown: None,
        })
    }

    pub(super) fn told(&self) -> &Told {
        &self.named[self.at]
    }

    pub(super) fn name(&self) -> &str {
        &self.told().follower.name
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.followers.pool
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.followers.clock.now()
    }

    pub(super) fn lease(&self) -> Lease<'_> {
        lease_of(self.name(), self.token)
    }

    /// Tells whenever the lease can be had, until told to stop, or until the place is gone: another process may have it under
    /// another name, and two of one would tell everything twice.
    pub(super) async fn run(mut self) -> Result<(), StorageError> {
        let pool = self.pool().clone();
        let named = Arc::clone(&self.named);
        let follower = &named[self.at].follower;
        let lease = lease_of(&follower.name, self.token);
        while !self.stop.is_cancelled() {
            if !followers::lease(&pool, lease).await? {
                if followers::find(&pool, &follower.name).await?.is_none() {
                    break;
                }
                pause(&self.stop, ELSEWHERE).await;
                continue;
            }
            // Others may have told meanwhile.
            self.passed_over = 0;
            self.refused.clear();
            let worked = tokio::select! {
                () = keep(&pool, lease) => Ok(()),
                worked = self.work() => worked,
            };
            // Where this fails, the lease ends by itself.
            drop(followers::release(&pool, lease).await);
            worked?;
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<(), StorageError> {
        while !self.stop.is_cancelled() {
            let Some(place) = followers::find(self.pool(), self.name()).await? else {
                return Ok(());
            };
            self.show(&place).await?;
            let waits = place.next_attempt_at.is_some_and(|at| at > self.now());
            if waits || place.stopped {
                pause(&self.stop, LOOK).await;
                continue;
            }
            let went = self.take_turns(&place).await?;
            match went {
                Went::On => {}
                Went::Lost => return Ok(()),
                Went::Nothing => {
                    let position = place.position.max(self.passed_over);
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        newer = self.followers.feed.newer_than(position, IDLE) => newer?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells the next page of the feed.
    pub(super) async fn follow(&mut self, place: &Place) -> Result<Went, StorageError> {
        let head = feed::head(self.pool()).await?.position;
        let after = place.position.max(self.passed_over.min(head));
        let types = &self.told().follower.types;
        // Of rare types there may be none among millions: nobody reads so many at once.
        let end = head.min(after.saturating_add(LOOKED_THROUGH));
        let page = feed::find(self.pool(), after, end, types, PAGE).await?;
        // After the rows: what was purged before they were read must not be passed over in silence.
        let oldest = feed::oldest(self.pool()).await?;
        let is_whole = oldest.map_or(head, |oldest| oldest - 1) <= place.position;
        if !is_whole || place.position > head {
            let why = "what follows its place is not kept any more: dues followers resync";
            return self.hold(place, None, &[], why, None).await;
        }
        let is_full = i64::try_from(page.len()).is_ok_and(|length| length >= PAGE);
        let last = page.last().map(|entry| entry.position);
        let until = last.filter(|_| is_full).unwrap_or(end);
        if page.is_empty() {
            self.passed_over = until;
            if until - place.position < PASSED_OVER {
                return Ok(if until < head {
                    Went::On
                } else {
                    Went::Nothing
                });
            }
        }
        let (waiting, page) = self.split(page).await?;
        let lanes = self.teller().tell_page(page).await?;
        let unfinished = |lane: &Lane| match &lane.failure {
            Some(Failure::Refused { .. }) => false,
            Some(Failure::Away { .. } | Failure::Stop { .. }) => true,
            None => !lane.left().is_empty(),
        };
        let mut step = Step {
            position: until,
            told: lanes.iter().any(|lane| lane.told > 0),
            parks: waiting,
            // Who is told states is told what is new while all is compared.
            in_snapshot: place.state == "snapshot",
            snapshot_after: place.snapshot_after,
            found: None,
        };
        if lanes.iter().any(unfinished) {
            let first = lanes.iter().filter_map(|lane| lane.left().first()).min();
            step.position = first.map_or(until, |first| first - 1);
            return self.held_up(place, step, &lanes).await;
        }
        for lane in &lanes {
            if lane.told > 0 {
                self.refused.clear();
            }
            if let (Some(Failure::Refused { why, is_hers }), Some(first)) =
                (&lane.failure, lane.left().first())
            {
                if !is_hers {
                    self.refused.push((lane.user.clone(), *first));
                }
                if self.refused.len() >= IN_A_ROW {
                    return self.go_back(place, step, why).await;
                }
                step.parks.push(self.park(lane, why));
            }
        }
        self.advance(place, &step).await
    }

    /// What a page has of members whose rows wait, and what of the others.
    async fn split(&self, page: Vec<Entry>) -> Result<(Vec<Park>, Vec<Entry>), StorageError> {
        let users: Vec<&str> = page.iter().map(|entry| entry.user_id.as_str()).collect();
        let parked = followers::find_parked_among(self.pool(), self.name(), &users).await?;
        let (waiting, page): (Vec<_>, Vec<_>) =
            { page.into_iter() }.partition(|entry| parked.contains(&entry.user_id));
        let waiting = super::by_member(waiting, |entry| entry.user_id.clone());
        let waiting = waiting.into_iter().map(|(user, entries)| Park {
            user,
            positions: entries.iter().map(|entry| entry.position).collect(),
            error: None,
            next_attempt_at: self.now(),
        });
        Ok((waiting.collect(), page))
    }

    fn park(&self, lane: &Lane, why: &str) -> Park {
        Park {
            user: lane.user.clone(),
            positions: lane.left().to_vec(),
            error: Some(why.to_owned()),
            next_attempt_at: self.now() + wait(&MEMBER_WAITS, 1),
        }
    }

    /// Notes what was told before nobody was there any more, or before it was time to stop.
    async fn held_up(
        &mut self,
        place: &Place,
        step: Step,
        lanes: &[Lane],
    ) -> Result<Went, StorageError> {
        let Some(place) = self.come_to(place, step).await? else {
            return Ok(Went::Lost);
        };
        let failure = { lanes.iter() }
            .filter_map(|lane| lane.failure.as_ref())
            .find(|failure| !matches!(failure, Failure::Refused { .. }));
        match failure {
            Some(failure) => self.wait_for(&place, failure).await,
            None => Ok(Went::On),
        }
    }

    /// Notes a step that ends before all was told; the place after it, none where the lease is lost.
    async fn come_to(&self, place: &Place, step: Step) -> Result<Option<Place>, StorageError> {
        if step.position <= place.position {
            return Ok(Some(place.clone()));
        }
        let after = Place {
            position: step.position,
            attempts: 0,
            ..place.clone()
        };
        let went = self.advance(place, &up_to(step)).await?;
        Ok((!matches!(went, Went::Lost)).then_some(after))
    }

    /// Has a follower wait who refuses everybody, from the first who was refused on.
    async fn go_back(
        &mut self,
        place: &Place,
        mut step: Step,
        why: &str,
    ) -> Result<Went, StorageError> {
        let refused = std::mem::take(&mut self.refused);
        let first = refused.iter().map(|(_, position)| position - 1).min();
        step.position = first.unwrap_or(place.position);
        self.passed_over = 0;
        let first = step.position;
        let Some(place) = self.come_to(place, step).await? else {
            return Ok(Went::Lost);
        };
        let users: Vec<String> = refused.into_iter().map(|(user, _)| user).collect();
        let next = self.now() + wait(&FOLLOWER_WAITS, place.attempts + 1);
        let back = Some(first).filter(|first| *first < place.position);
        let why = all_refused(why);
        self.hold(&place, back, &users, &why, Some(next)).await
    }

    /// Tells the next page of what is in force.
    pub(super) async fn snapshot(&mut self, place: &Place) -> Result<Went, StorageError> {
        let after = place.snapshot_after.map(SubscriptionId);
        let rows = subscriptions::find_of_all(self.pool(), after, PAGE).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|length| length >= PAGE);
        let last = rows.last().map(|(_, line)| line.id.0);
        let page: Vec<Entry> = { rows.iter() }
            .filter(|(_, line)| line.status != Status::Ended)
            .map(|(user, line)| self.in_force(place, user, line))
            .collect();
        let (_, page) = self.split(page).await?;
        let lanes = self.teller().tell_page(page).await?;
        // Of everything in force there is no row to go back to: it waits where it is, and those who wait come again.
        self.refused.clear();
        let mut in_a_row = 0;
        for lane in &lanes {
            if lane.told > 0 {
                in_a_row = 0;
            }
            if let Some(Failure::Refused {
                why,
                is_hers: false,
            }) = &lane.failure
            {
                in_a_row += 1;
                if in_a_row >= IN_A_ROW {
                    return self.wait_for(place, &Failure::away(all_refused(why))).await;
                }
            }
        }
        let failures = lanes.iter().filter_map(|lane| lane.failure.as_ref());
        let mut others = failures.filter(|failure| !matches!(failure, Failure::Refused { .. }));
        if let Some(failure) = others.next() {
            return self.wait_for(place, failure).await;
        }
        if self.stop.is_cancelled() {
            // Perhaps not all were begun: the page is told again.
            return Ok(Went::On);
        }
        let refused = lanes.iter().filter_map(|lane| match &lane.failure {
            Some(failure) if !lane.left().is_empty() => Some((lane, failure.why())),
            _ => None,
        });
        let step = Step {
            position: place.position,
            snapshot_after: last.filter(|_| is_full),
            in_snapshot: is_full,
            told: lanes.iter().any(|lane| lane.told > 0),
            parks: refused
                .map(|(lane, why)| Park {
                    positions: vec![0],
                    ..self.park(lane, why)
                })
                .collect(),
            found: None,
        };
        self.advance(place, &step).await
    }

    /// What is told of a line that is in force. Its id is the same within one snapshot.
    fn in_force(&self, place: &Place, user: &str, line: &Subscription) -> Entry {
        let now = self.now();
        let before = place.compared_at.map_or(0, OffsetDateTime::unix_timestamp);
        let text = format!("{} {} {before} {}", place.name, place.position, line.id);
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let mut bytes = [0; 16];
        for (byte, of_hash) in bytes.iter_mut().zip(hash.as_ref()) {
            *byte = *of_hash;
        }
        Entry {
            position: 0,
            id: uuid::Builder::from_custom_bytes(bytes).into_uuid(),
            kind: IN_FORCE.to_owned(),
            subscription_id: line.id.0,
            user_id: user.to_owned(),
            transaction_id: None,
            data: feed::state(line, now),
            origin: None,
            at: now,
        }
    }

    /// Tries parked members whose time has come.
    pub(super) async fn retry_parked(&mut self, place: &Place) -> Result<Went, StorageError> {
        let due = Some(self.now());
        let due = followers::find_parked(self.pool(), self.name(), due, PARKED_AT_ONCE).await?;
        let mut went = Went::Nothing;
        for parked in due {
            if self.stop.is_cancelled() {
                break;
            }
            went = self.retry(place, &parked).await?;
            if let Went::Lost = went {
                break;
            }
            if let Some(place) = followers::find(self.pool(), self.name()).await?
                && (place.next_attempt_at.is_some() || place.stopped)
            {
                break;
            }
        }
        Ok(went)
    }

    async fn retry(&mut self, place: &Place, parked: &Parked) -> Result<Went, StorageError> {
        let (mut told, mut failure) = (0, None);
        let forum = self.told().receiver.of_states();
        if let Some(forum) = forum {
            let (user, positions) = (parked.user_id.clone(), parked.positions.clone());
            let lane = self.teller().tell_state(forum, user, positions).await?;
            if self.stop.is_cancelled() && lane.told == 0 && lane.failure.is_none() {
                return Ok(Went::On);
            }
            (told, failure) = (lane.told, lane.failure);
        }
        let rows = parked.positions.iter().filter(|_| forum.is_none());
        for position in rows {
            let rows = self.waiting_rows(place, parked, *position).await?;
            let user = parked.user_id.clone();
            let lane = self.teller().tell_lane(user, &rows).await?;
            let is_told = lane.left().is_empty();
            failure = lane.failure;
            if !is_told || failure.is_some() {
                break;
            }
            told += 1;
        }
        if told > 0 {
            self.refused.clear();
        }
        let refused = match &failure {
            Some(Failure::Refused { why, .. }) => {
                let attempts = if told > 0 { 1 } else { parked.attempts + 1 };
                Some((why.as_str(), self.now() + wait(&MEMBER_WAITS, attempts)))
            }
            _ => None,
        };
        let is_ours =
            followers::update_parked(self.pool(), self.lease(), parked, told, refused).await?;
        match failure {
            _ if !is_ours => Ok(Went::Lost),
            Some(failure @ (Failure::Away { .. } | Failure::Stop { .. })) => {
                self.wait_for(place, &failure).await
            }
            _ => Ok(Went::On),
        }
    }

    /// What waits at a position; nothing where the row is not kept any more.
    async fn waiting_rows(
        &self,
        place: &Place,
        parked: &Parked,
        position: i64,
    ) -> Result<Vec<Entry>, StorageError> {
        if position > 0 {
            return feed::find(self.pool(), position - 1, position, &[], 1).await;
        }
        let user = UserId::new(&parked.user_id);
        let lines = subscriptions::find_not_ended(self.pool(), &user).await?;
        let in_force = lines
            .iter()
            .map(|line| self.in_force(place, &parked.user_id, line));
        Ok(in_force.collect())
    }

    pub(super) async fn wait_for(
        &self,
        place: &Place,
        failure: &Failure,
    ) -> Result<Went, StorageError> {
        let next = match failure {
            Failure::Away { again_in, .. } => {
                let usual = || wait(&FOLLOWER_WAITS, place.attempts + 1);
                let wished = again_in.and_then(|wish| time::Duration::try_from(wish).ok());
                // A wish for no time at all would be granted without end.
                let wished = wished.map(|wish| wish.max(wait(&FOLLOWER_WAITS, 1)));
                Some(self.now() + wished.unwrap_or_else(usual))
            }
            Failure::Refused { .. } | Failure::Stop { .. } => None,
        };
        self.hold(place, None, &[], failure.why(), next).await
    }

    async fn hold(
        &self,
        place: &Place,
        position: Option<i64>,
        unpark: &[String],
        error: &str,
        next_attempt_at: Option<OffsetDateTime>,
    ) -> Result<Went, StorageError> {
        let follower = self.name();
        if next_attempt_at.is_some() {
            tracing::warn!(follower, error, "a follower waits");
        } else {
            tracing::error!(
                follower,
                error,
                "a follower is stopped, until a person says otherwise"
            );
        }
        let hold = Hold {
            position,
            unpark,
            next_attempt_at,
            error,
        };
        let is_ours = followers::hold(self.pool(), self.lease(), place, &hold, self.now()).await?;
        Ok(if is_ours { Went::On } else { Went::Lost })
    }

    pub(super) async fn advance(&self, place: &Place, step: &Step) -> Result<Went, StorageError> {
        let moved = followers::advance(self.pool(), self.lease(), place, step, self.now()).await?;
        let refused = || step.parks.iter().filter_map(|park| park.error.as_deref());
        if let Some(error) = refused().next().filter(|_| moved) {
            let (follower, members) = (self.name(), refused().count());
            tracing::warn!(follower, error, members, "members are parked");
        }
        Ok(if moved { Went::On } else { Went::Lost })
    }

    fn teller(&self) -> Teller<'_> {
        Teller {
            name: self.name(),
            receiver: &self.told().receiver,
            pool: self.pool(),
            stop: &self.stop,
        }
    }

    /// Shows how far behind it is.
    async fn show(&mut self, place: &Place) -> Result<(), StorageError> {
        if self.shown.is_some_and(|shown| shown.elapsed() < SHOW) {
            return Ok(());
        }
        let head = feed::head(self.pool()).await?.position;
        let after = place.position.max(self.passed_over);
        let end = head.min(after.saturating_add(LOOKED_THROUGH));
        let next = feed::find(self.pool(), after, end, &self.told().follower.types, 1).await?;
        let waited = next
            .first()
            .map(|next| (self.now() - next.at).as_seconds_f64());
        let rows = next.first().map_or(0, |next| head - next.position + 1);
        let parked = followers::count_parked(self.pool(), self.name()).await?;
        let count = |count: i64| u32::try_from(count).unwrap_or(u32::MAX);
        let name = self.name().to_owned();
        gauge!("follower_rows_behind", "follower" => name.clone()).set(count(rows));
        gauge!("follower_seconds_behind", "follower" => name.clone())
            .set(waited.unwrap_or_default().max(0.0));
        gauge!("follower_parked_members", "follower" => name.clone()).set(count(parked));
        let stopped = u32::from(place.stopped);
        gauge!("follower_stopped", "follower" => name).set(stopped);
        self.shown = Some(Instant::now());
        Ok(())
    }
}

fn all_refused(why: &str) -> String {
    format!("{IN_A_ROW} members in a row were refused: {why}")
}

/// A step that ends before all was told: only what stands before its end waits with its member.
fn up_to(mut step: Step) -> Step {
    let until = step.position;
    for park in &mut step.parks {
        park.positions.retain(|position| *position <= until);
    }
    step.parks.retain(|park| !park.positions.is_empty());
    step
}

/// How long to wait after so many failures, with up to a fifth more, so that not all come at once.
pub(super) fn wait(waits: &[u32], attempts: i32) -> time::Duration {
    let last = waits.len().saturating_sub(1);
    let step = usize::try_from(attempts - 1).unwrap_or_default().min(last);
    let seconds = f64::from(waits.get(step).copied().unwrap_or_default());
    time::Duration::seconds_f64(seconds * (1.0 + fastrand::f64() / 5.0))
}

fn lease_of(name: &str, token: Uuid) -> Lease<'_> {
    Lease {
        name,
        token,
        seconds: LEASE.as_secs_f64(),
    }
}

/// Renews the lease; ends when it is lost, or can't be renewed for so long that it may be.
async fn keep(pool: &PgPool, lease: Lease<'_>) {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(RENEW).await;
        let asked = Instant::now();
        // A database that neither answers nor refuses is one that can't be asked.
        let left = TRUST.saturating_sub(renewed.elapsed());
        match tokio::time::timeout(left, followers::lease(pool, lease)).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) | Err(_) => return,
            Ok(Err(_)) => {}
        }
    }
}

async fn pause(stop: &CancellationToken, time: Duration) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_last_step_and_lie_apart() {
        for (attempts, least, most) in [(0, 5, 6), (1, 5, 6), (2, 300, 360), (99, 86_400, 103_680)]
        {
            let waited = wait(&MEMBER_WAITS, attempts).whole_seconds();
            assert!((least..=most).contains(&waited), "{attempts}: {waited}");
        }
    }
}
