//! What an operator asks of followers: how they stand, and to go on, to leave something out, or to begin again.

use serde::Serialize;
use time::OffsetDateTime;

use super::Followers;
use crate::storage::followers::{self, Parked, Place};
use crate::storage::{StorageError, feed};

/// So many parked members are shown.
const PARKED_SHOWN: i64 = 100;

/// How a follower stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// As in the file.
    pub name: String,
    /// `webhook`, …
    pub kind: String,
    /// `snapshot`, `following`, `waiting`, `stopped`; `not_in_file` where the file names it no longer; `new` before it was
    /// told anything.
    pub state: &'static str,
    /// Rows of the feed that it is not told yet.
    pub rows_behind: i64,
    /// Members whose rows wait.
    pub parked_members: i64,
    /// When something was told last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_success_at: Option<OffsetDateTime>,
    /// What went wrong last, if nothing was told since.
    pub last_error: Option<String>,
    /// When it is tried again.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_attempt_at: Option<OffsetDateTime>,
    /// When all that is in force was told or compared last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub compared_at: Option<OffsetDateTime>,
    /// What a person should know of that.
    pub found: Option<String>,
    /// Of one follower that is shown: members whose rows wait, those first that are tried first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedMember>,
}

/// A member whose rows wait.
#[derive(Clone, Debug, Serialize)]
pub struct ParkedMember {
    /// The member.
    pub user_id: String,
    /// The row that is refused; 0: what is in force of hers.
    pub position: i64,
    /// How often it was.
    pub attempts: i32,
    /// Why.
    pub last_error: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When it is tried again.
    #[serde(with = "time::serde::rfc3339")]
    pub next_attempt_at: OffsetDateTime,
}

impl From<Parked> for ParkedMember {
    fn from(parked: Parked) -> Self {
        Self {
            user_id: parked.user_id,
            position: parked.positions.first().copied().unwrap_or_default(),
            attempts: parked.attempts,
            last_error: parked.last_error,
            since: parked.since,
            next_attempt_at: parked.next_attempt_at,
        }
    }
}

/// Why an operator's wish can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No such follower.
    #[error("there is no follower \"{name}\"; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Nothing of that member's waits.
    #[error("nothing of this member waits at \"{0}\"")]
    NotParked(String),
    /// The receiver can't be told.
    #[error("{0}")]
    Failed(String),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Followers {
    /// How all of them stand: those of the file in its order, then those whose place is only kept.
    pub async fn standings(&self) -> Result<Vec<Standing>, StorageError> {
        let mut places = followers::find_all(&self.pool).await?;
        let mut standings = Vec::new();
        for told in self.named().iter() {
            let name = &told.follower.name;
            let place = places.iter().position(|place| place.name == *name);
            let place = place.map(|at| places.remove(at));
            standings.push(match place {
                Some(place) => self.standing(place, None).await?,
                None => Standing {
                    name: name.clone(),
                    kind: told.follower.kind.as_str().to_owned(),
                    state: "new",
                    rows_behind: 0,
                    parked_members: 0,
                    last_success_at: None,
                    last_error: None,
                    next_attempt_at: None,
                    compared_at: None,
                    found: None,
                    parked: Vec::new(),
                },
            });
        }
        for place in places {
            standings.push(self.standing(place, Some("not_in_file")).await?);
        }
        Ok(standings)
    }

    /// How one of them stands, with the members whose rows wait.
    pub async fn show(&self, name: &str) -> Result<Standing, CommandError> {
        let standings = self.standings().await?;
        let mut known = standings.iter().map(|standing| standing.name.as_str());
        if !known.any(|known| known == name) {
            return Err(self.unknown(name).await?);
        }
        let standing = standings.into_iter().find(|standing| standing.name == name);
        let mut standing = standing.ok_or_else(|| CommandError::NotParked(name.to_owned()))?;
        let parked = followers::find_parked(&self.pool, name, None, PARKED_SHOWN).await?;
        standing.parked = parked.into_iter().map(Into::into).collect();
        Ok(standing)
    }

    async fn standing(
        &self,
        place: Place,
        state: Option<&'static str>,
    ) -> Result<Standing, StorageError> {
        let head = feed::head(&self.pool).await?.position;
        let waits = place
            .next_attempt_at
            .is_some_and(|at| at > self.clock.now());
        let state = state.unwrap_or(match place.state.as_str() {
            _ if place.stopped => "stopped",
            _ if waits => "waiting",
            "snapshot" => "snapshot",
            _ => "following",
        });
        Ok(Standing {
            parked_members: followers::count_parked(&self.pool, &place.name).await?,
            name: place.name,
            kind: place.kind,
            state,
            rows_behind: (head - place.position).max(0),
            last_success_at: place.last_success_at,
            last_error: place.last_error,
            next_attempt_at: place.next_attempt_at,
            compared_at: place.compared_at,
            found: place.found,
            parked: Vec::new(),
        })
    }

    async fn unknown(&self, name: &str) -> Result<CommandError, StorageError> {
        let standings = self.standings().await?;
        let known: Vec<&str> = { standings.iter() }
            .map(|standing| standing.name.as_str())
            .collect();
        Ok(CommandError::Unknown {
            name: name.to_owned(),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
        })
    }

    /// Sends a message that tells of nothing; what became of it, in a sentence.
    pub async fn test(&self, name: &str) -> Result<String, CommandError> {
        let named = self.named();
        let Some(told) = named.iter().find(|told| told.follower.name == name) else {
            return Err(self.unknown(name).await?);
        };
        let tested = told.receiver.test().await;
        tested.map_err(|failure| CommandError::Failed(failure.why().to_owned()))
    }

    /// Asks each of the file's followers for a sign of life: its name, and what was found or what went wrong.
    pub async fn signs_of_life(&self) -> Vec<(String, Result<String, String>)> {
        let named = self.named();
        let signs = named.iter().map(async |told| {
            let sign = told.receiver.sign_of_life().await;
            let sign = sign.map_err(|failure| failure.why().to_owned());
            (told.follower.name.clone(), sign)
        });
        futures_util::future::join_all(signs).await
    }

    /// Has a follower, or one of its parked members, tried at once.
    pub async fn retry(&self, name: &str, user: Option<&str>) -> Result<(), CommandError> {
        let now = self.clock.now();
        match followers::update_retry(&self.pool, name, user, now).await? {
            0 if user.is_some() && followers::find(&self.pool, name).await?.is_some() => {
                Err(CommandError::NotParked(name.to_owned()))
            }
            0 => Err(self.unknown(name).await?),
            _ => Ok(()),
        }
    }

    /// Leaves out the row that one of its parked members waits for; returns its position.
    pub async fn skip(&self, name: &str, user: &str) -> Result<i64, CommandError> {
        let now = self.clock.now();
        match followers::delete_first_parked(&self.pool, name, user, now).await? {
            Some(position) => Ok(position),
            None if followers::find(&self.pool, name).await?.is_some() => {
                Err(CommandError::NotParked(name.to_owned()))
            }
            None => Err(self.unknown(name).await?),
        }
    }

    /// Has a follower told all that is in force, and then the feed from now on.
    pub async fn resync(&self, name: &str) -> Result<(), CommandError> {
        if followers::update_resync(&self.pool, name).await? {
            Ok(())
        } else {
            Err(self.unknown(name).await?)
        }
    }
}
