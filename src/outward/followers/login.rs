//! What followers tell us: a forum, that a member has logged in.

use super::{Followers, Told};
use crate::outward::discourse::NotTaken;
use crate::storage::{StorageError, followers};

/// What is noted of a member until her groups are looked at.
const WHY: &str = "has logged in: what is in force is told at once";

/// Why what a follower tells is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No follower of that name tells us anything.
    #[error("no follower of this name tells logins")]
    Unknown,
    /// It is not signed with the secret that the file names.
    #[error("the signature is not that of webhook_secret_env")]
    Signature,
    /// It can't be read.
    #[error("the body is not an event of a forum")]
    Malformed,
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<NotTaken> for LoginError {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Signature => Self::Signature,
            NotTaken::Malformed => Self::Malformed,
        }
    }
}

impl Followers {
    /// Takes an event of a forum: has the groups of whoever has logged in looked at, by the process that tells the forum.
    /// Returns whether it was about that.
    pub async fn logged_in(
        &self,
        name: &str,
        event: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<bool, LoginError> {
        let named = self.named();
        let told = named.iter().find(|told| told.follower.name == name);
        let forum = told.and_then(|told| told.receiver.of_states());
        let (Some(Told { follower, .. }), Some(forum)) = (told, forum) else {
            return Err(LoginError::Unknown);
        };
        let Some(user) = forum.read_login(event, signature, body)? else {
            return Ok(false);
        };
        let now = self.clock.now();
        if !followers::insert_look(&self.pool, name, &user, WHY, now).await? {
            // Nobody has told it anything yet: it begins as it always does.
            follower.take_place(&self.pool, now).await?;
            followers::insert_look(&self.pool, name, &user, WHY, now).await?;
        }
        Ok(true)
    }
}
