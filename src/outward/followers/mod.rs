//! Followers: systems that are called about each change, in order, each from its own place.
//!
//! One process at a time tells a follower, by a lease; the place moves only with it. What is refused parks its member, and
//! the others go on; where nobody is there, the follower waits.

pub mod billing;
mod commands;
pub(super) mod file;
mod lanes;
mod login;
pub(super) mod receiver;
mod states;
mod walk;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::counter;
use sqlx::postgres::PgPool;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::commands::{CommandError, Standing};
pub use self::file::FileError;
use self::file::Follower;
pub use self::login::LoginError;
use self::receiver::Receiver;
use self::walk::Walker;
use super::Context;
use super::feed::Feed;
use crate::clock::Clock;
use crate::settings::Settings;
use crate::storage::{StorageError, followers};

/// How long to wait before what died is started again.
const AGAIN: Duration = Duration::from_secs(1);

/// Why followers can't be told.
#[derive(Debug, thiserror::Error)]
pub enum FollowersError {
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// No HTTP client.
    #[error("the client for followers can't be built: {0}")]
    Client(#[from] reqwest::Error),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// All followers that the file names; cloning copies references.
#[derive(Clone)]
pub struct Followers {
    pool: PgPool,
    feed: Feed,
    clock: Clock,
    settings: Arc<Settings>,
    context: Option<Arc<dyn Context>>,
    named: Arc<RwLock<Arc<Vec<Told>>>>,
    /// Counts the readings of the file.
    readings: Arc<watch::Sender<u64>>,
}

/// A follower with what receives.
pub(super) struct Told {
    follower: Follower,
    receiver: Receiver,
}

impl Follower {
    /// Has it a place, unless it has one.
    async fn take_place(&self, pool: &PgPool, now: OffsetDateTime) -> Result<(), StorageError> {
        let state = if self.from_snapshot {
            "snapshot"
        } else {
            "following"
        };
        let renamed = self.renamed_from.as_deref();
        followers::insert(pool, &self.name, self.kind.as_str(), renamed, state, now).await
    }
}

impl Followers {
    /// Reads the file; nobody is told yet. Without a context nobody can be told what needs one.
    pub fn open(
        pool: PgPool,
        feed: Feed,
        clock: Clock,
        settings: Arc<Settings>,
        context: Option<Arc<dyn Context>>,
    ) -> Result<Self, FollowersError> {
        let named = read(&settings, context.as_ref(), &pool, &clock)?;
        Ok(Self {
            context,
            pool,
            feed,
            clock,
            named: Arc::new(RwLock::new(Arc::new(named))),
            readings: Arc::new(watch::Sender::new(0)),
            settings,
        })
    }

    /// Reads the file again; one that is wrong changes nothing.
    pub fn reload(&self) {
        match read(
            &self.settings,
            self.context.as_ref(),
            &self.pool,
            &self.clock,
        ) {
            Ok(mut named) => {
                let before = self.named();
                for told in &mut named {
                    let name = &told.follower.name;
                    if let Some(before) = before.iter().find(|old| old.follower.name == *name) {
                        told.receiver.go_on_from(&before.receiver);
                    }
                }
                tracing::info!(
                    followers = named.len(),
                    "the followers' file was read again"
                );
                *self.named.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(named);
                self.readings.send_modify(|readings| *readings += 1);
            }
            Err(error) => {
                tracing::error!(%error, "the followers' file is not used: those of before are told on");
            }
        }
    }

    fn named(&self) -> Arc<Vec<Told>> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&named)
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        let named = self.named();
        named
            .iter()
            .map(|told| told.follower.name.clone())
            .collect()
    }

    /// Up to which position everything is told to everybody whom the file names; none where it names nobody.
    pub async fn told_until(&self) -> Result<Option<i64>, StorageError> {
        let mut names = self.names();
        // One that was renamed has its place under the old name until it is first told.
        for Told { follower, .. } in self.named().iter() {
            names.extend(follower.renamed_from.clone());
        }
        if names.is_empty() {
            return Ok(None);
        }
        followers::find_lowest(&self.pool, &names).await
    }

    /// Tells all of them until told to stop; those of another file as soon as it is read.
    pub async fn run(self, stop: CancellationToken) {
        let mut readings = self.readings.subscribe();
        while !stop.is_cancelled() {
            readings.mark_unchanged();
            let reading = stop.child_token();
            let mut telling = JoinSet::new();
            let named = self.named();
            for place in 0..named.len() {
                telling.spawn(
                    self.clone()
                        .tell(place, Arc::clone(&named), reading.clone()),
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                // The sender lives as long as we do.
                _ = readings.changed() => {}
            }
            reading.cancel();
            while telling.join_next().await.is_some() {}
        }
    }

    /// Tells one of them, until told to stop or until its place is gone. What dies is started again, and seen.
    async fn tell(self, at: usize, named: Arc<Vec<Told>>, stop: CancellationToken) {
        let Some(Told { follower, .. }) = named.get(at) else {
            return;
        };
        let mut is_placed = false;
        while !stop.is_cancelled() {
            let ended = if is_placed {
                let walker = Walker::new(&self, Arc::clone(&named), at, stop.clone());
                let Some(walker) = walker else { return };
                tokio::spawn(walker.run()).await
            } else {
                // Once: what vanishes later was renamed by another process, and is told there.
                let placed = follower.take_place(&self.pool, self.clock.now()).await;
                is_placed = placed.is_ok();
                match placed {
                    Ok(()) => continue,
                    Err(error) => Ok(Err(error)),
                }
            };
            let name = follower.name.clone();
            let outcome = match ended {
                Ok(Ok(())) if stop.is_cancelled() => return,
                Ok(Ok(())) => {
                    tracing::error!(
                        follower = name,
                        "its place is gone: it is told again when the file is read again"
                    );
                    return;
                }
                Ok(Err(error)) => {
                    tracing::error!(follower = name, %error, "a follower could not be told");
                    "failed"
                }
                Err(_) => {
                    tracing::error!(
                        follower = name,
                        "what tells a follower died and will be started again"
                    );
                    "died"
                }
            };
            counter!("follower_runs_total", "follower" => name, "outcome" => outcome).increment(1);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

fn read(
    settings: &Settings,
    context: Option<&Arc<dyn Context>>,
    pool: &PgPool,
    clock: &Clock,
) -> Result<Vec<Told>, FollowersError> {
    let followers = file::read(settings)?;
    let told = followers.into_iter().map(|follower| {
        let receiver = Receiver::new(&follower.kind, context.cloned(), pool, clock)?;
        Ok(Told { follower, receiver })
    });
    told.collect()
}

/// Rows by their member, in the order in which the first of each stands.
fn by_member<T>(rows: Vec<T>, member: impl Fn(&T) -> String) -> Vec<(String, Vec<T>)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut lanes: Vec<(String, Vec<T>)> = Vec::new();
    for row in rows {
        let user = member(&row);
        let place = *places.entry(user.clone()).or_insert_with(|| {
            lanes.push((user, Vec::new()));
            lanes.len() - 1
        });
        if let Some((_, lane)) = lanes.get_mut(place) {
            lane.push(row);
        }
    }
    lanes
}
