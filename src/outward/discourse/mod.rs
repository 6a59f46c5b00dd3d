//! A forum whose groups follow membership (Discourse). Not what has happened is told, but what is true: for the member of
//! each change it is looked up what she holds now, and her groups are made so. Whoever has no account there is none of the
//! forum's business; her first login brings her in ([`login`]), and so does the comparison once a week ([`compare`]).

mod answer;
mod client;
mod compare;
mod config;
mod known;
mod login;
mod pace;
mod rules;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use sqlx::postgres::PgPool;
use time::{Duration, OffsetDateTime};

use self::answer::Account;
use self::client::{Client, no_group};
use self::compare::Comparison;
pub(super) use self::config::Config;
use self::config::Mode;
use self::known::Known;
pub(super) use self::login::NotTaken;
use self::rules::{Holding, Rules, Wish};
use super::followers::receiver::Failure;
use crate::clock::Clock;
use crate::storage::{StorageError, subscriptions};

/// What can change what a member holds. Her payments and periods change nothing as long as her status doesn't.
pub(super) const TYPES: [&str; 2] = ["subscription.status_changed", "subscription.plan_changed"];
/// How long the forum's set-up is taken to be as it was found.
const SET_UP: Duration = Duration::HOUR;

/// Why a member's groups are not as they should be.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The forum.
    Failure(Failure),
    /// Our own rows.
    Storage(StorageError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// What is refused of no member in particular is about all of them.
fn of_all(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { why, .. } => Failure::away(why),
        other => other,
    }
}

/// A forum.
pub(super) struct Discourse {
    client: Client,
    pool: PgPool,
    clock: Clock,
    webhook_key: hmac::Key,
    known: Known,
    set_up: Mutex<Option<Arc<SetUp>>>,
    /// Where a comparison is; whoever works on it has taken it.
    comparison: Mutex<Option<Comparison>>,
}

/// The forum as it was found.
#[derive(Debug)]
struct SetUp {
    /// The ids of the owned groups, in their order.
    groups: Vec<i64>,
    at: OffsetDateTime,
    /// Whether it was found while an answer said otherwise: such answers say what was before.
    in_spite: bool,
}

impl Discourse {
    pub(super) fn new(config: Config, pool: PgPool, clock: Clock) -> Result<Self, reqwest::Error> {
        let webhook_secret = config.webhook_secret.expose();
        let webhook_key = hmac::Key::new(hmac::HMAC_SHA256, webhook_secret.as_bytes());
        Ok(Self {
            client: Client::new(config, clock.clone())?,
            pool,
            clock,
            webhook_key,
            known: Known::default(),
            set_up: Mutex::default(),
            comparison: Mutex::default(),
        })
    }

    /// Takes over from the one before, when the file was read again.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        self.client.go_on_from(&before.client);
    }

    fn rules(&self) -> &Rules {
        &self.client.config().rules
    }

    /// Makes a member's groups what they should be now.
    pub(super) async fn tell(&self, member: &str) -> Result<(), Trouble> {
        let members = [member];
        let mut holdings = self.holdings(&members).await?;
        let wish = self
            .rules()
            .wish(&holdings.remove(member).unwrap_or_default());
        if !wish.is_empty() {
            self.bring_about(member, &wish).await?;
        }
        Ok(())
    }

    /// Has a member's groups so; her account, if the forum knows her.
    async fn bring_about(&self, member: &str, wish: &Wish) -> Result<Option<i64>, Failure> {
        // Before anything is changed: where the forum overrides groups, a list of some would take all others from her.
        let set_up = self.set_up().await?;
        let account = match &self.client.config().mode {
            Mode::Connect(secret) => {
                let (add, remove) = (self.list(&wish.add), self.list(&wish.remove));
                let account = self.client.sync(secret.expose(), member, &add, &remove);
                let account = account.await?;
                if let Some(account) = &account {
                    self.verify(account, wish, &set_up).await?;
                }
                account
            }
            Mode::Groups => {
                let account = self.client.account(member).await?;
                if let Some(account) = &account {
                    self.change(account, wish, &set_up).await?;
                }
                account
            }
        };
        Ok(self.note(member, account))
    }

    /// Remembers whose an account is, or that she has none.
    fn note(&self, member: &str, account: Option<Account>) -> Option<i64> {
        if let Some(account) = &account {
            self.known.learn(member, account.id);
        } else if let Some(before) = self.known.account(member) {
            self.known.forget(before);
        }
        account.map(|account| account.id)
    }

    /// The names of groups as Discourse reads lists: without spaces.
    fn list(&self, places: &[usize]) -> String {
        let names: Vec<&str> = places.iter().map(|at| self.rules().name(*at)).collect();
        names.join(",")
    }

    /// Whether the groups are as they were asked for: what the forum doesn't know or doesn't want it passes over in
    /// silence.
    async fn verify(&self, account: &Account, wish: &Wish, found: &SetUp) -> Result<(), Failure> {
        let is = |place: &usize| account.is_in(self.rules().name(*place));
        let is_so = wish.add.iter().all(|place| is(place) != Some(false))
            && wish.remove.iter().all(|place| is(place) != Some(true));
        if is_so || found.in_spite {
            return Ok(());
        }
        self.forget_set_up();
        let found = self.look(true).await.map_err(of_all)?;
        self.remember_set_up(found);
        Ok(())
    }

    async fn change(&self, account: &Account, wish: &Wish, found: &SetUp) -> Result<(), Failure> {
        let group = |place: usize| Some((*found.groups.get(place)?, self.rules().name(place)));
        for (place, wanted) in { wish.add.iter().map(|place| (*place, true)) }
            .chain(wish.remove.iter().map(|place| (*place, false)))
        {
            let Some(group) = group(place) else { continue };
            if account.is_in(group.1) == Some(wanted) {
                continue;
            }
            let changed = if wanted {
                self.client.add(group, &[account.id]).await.map(|_| ())
            } else {
                self.client.remove(group, &[account.id]).await
            };
            // It may be another group by now.
            changed.inspect_err(|_| self.forget_set_up())?;
        }
        Ok(())
    }

    /// What members hold and held, by their ids.
    async fn holdings(&self, members: &[&str]) -> Result<BTreeMap<String, Holding>, StorageError> {
        let now = self.clock.now();
        let mut holdings: BTreeMap<String, Holding> = BTreeMap::new();
        for (member, line) in subscriptions::find_in_force_of(&self.pool, members).await? {
            if line.entitled(now) {
                let holding = holdings.entry(member).or_default();
                holding.now.push((line.plan, line.kind));
            }
        }
        for (member, plan, kind) in subscriptions::find_ever_in_force(&self.pool, members).await? {
            holdings.entry(member).or_default().ever.push((plan, kind));
        }
        Ok(holdings)
    }

    /// Whose groups are to be looked at after an event of the forum's.
    pub(super) fn read_login(
        &self,
        event: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<Option<String>, NotTaken> {
        login::read(&self.webhook_key, event, signature, body)
    }

    /// What of the forum's set-up keeps groups from following, all of it at once.
    pub(super) async fn sign_of_life(&self) -> Result<String, Failure> {
        self.look(false).await?;
        let groups: Vec<&str> = self.rules().names().collect();
        Ok(format!(
            "has the groups {}, and its key may change them",
            groups.join(", ")
        ))
    }

    /// The forum as it was found less than an hour ago, or is now.
    async fn set_up(&self) -> Result<Arc<SetUp>, Failure> {
        let held = self
            .set_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now = self.clock.now();
        if let Some(held) = held.filter(|held| held.at <= now && now - held.at < SET_UP) {
            return Ok(held);
        }
        let found = self.look(false).await.map_err(of_all)?;
        Ok(self.remember_set_up(found))
    }

    fn remember_set_up(&self, found: SetUp) -> Arc<SetUp> {
        let found = Arc::new(found);
        let mut held = self.set_up.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(Arc::clone(&found));
        found
    }

    fn forget_set_up(&self) {
        *self.set_up.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks at the forum's set-up.
    async fn look(&self, in_spite: bool) -> Result<SetUp, Failure> {
        let settings = self.client.site_settings().await?;
        let mut problems = Vec::new();
        if let Mode::Connect(_) = self.client.config().mode {
            if settings.connect == Some(false) {
                problems.push("enable_discourse_connect is off, so that mode = \"connect\" has no effect: turn it on, or use mode = \"groups\"".to_owned());
            }
            if settings.overrides_groups == Some(true) {
                problems.push("discourse_connect_overrides_groups is on, so that every login and every call would take all other groups from a member: turn it off, or use mode = \"groups\"".to_owned());
            }
        }
        let mut groups = Vec::new();
        for name in self.rules().names() {
            match self.client.group(name).await? {
                None => problems.push(no_group(name)),
                Some(group) if group.automatic => problems.push(format!(
                    "the group \"{name}\" is one of Discourse's own, which nobody can change"
                )),
                Some(group) => groups.push(group.id),
            }
        }
        if problems.is_empty() {
            Ok(SetUp {
                groups,
                at: self.clock.now(),
                in_spite,
            })
        } else {
            Err(Failure::away(problems.join("; ")))
        }
    }
}
