//! What operators did, as it was written down.

use super::Operators;
use crate::purchases::Error;
use crate::storage::actions;

/// What an operator did.
pub type Act = actions::ActionRow;
/// Which acts to list.
pub type ActFilter = actions::ActionFilter;

/// What is to be said of the chain of what operators did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Each entry follows from the one before it.
    Whole {
        /// How many there are.
        entries: i64,
        /// Of the last, in hexadecimal.
        hash: String,
    },
    /// From that entry on something was changed, taken out or put in.
    Broken(i64),
    /// The end was cut off, or the head was set back: it should be that entry.
    CutOff(i64),
}

impl Operators {
    /// Acts, newest first.
    pub async fn actions(&self, filter: &ActFilter) -> Result<Vec<Act>, Error> {
        Ok(actions::list(&self.pool, filter).await?)
    }

    /// Walks the chain from its beginning.
    pub async fn verify_actions(&self) -> Result<Chain, Error> {
        Ok(match actions::verify(&self.pool).await? {
            actions::Verified::Whole(head) => Chain::Whole {
                entries: head.seq,
                hash: hex(&head.hash),
            },
            actions::Verified::Broken(seq) => Chain::Broken(seq),
            actions::Verified::OtherHead(seq) => Chain::CutOff(seq),
        })
    }

    /// The hash of one entry, in hexadecimal; none where there is no such entry: so a log or an export can be held against it.
    pub async fn action_hash(&self, seq: i64) -> Result<Option<String>, Error> {
        let hash = actions::find_hash(&self.pool, seq).await?;
        Ok(hash.map(|hash| hex(&hash)))
    }

    /// The last entry of the chain, and its hash in hexadecimal.
    pub async fn last_entry(&self) -> Result<(i64, String), Error> {
        let head = actions::find_head(&self.pool).await?;
        Ok((head.seq, hex(&head.hash)))
    }

    /// Logs the last entry of the chain, so that a tail that is cut off later is noticed.
    pub(in crate::services) async fn log_head(&self) -> Result<usize, Error> {
        let (seq, hash) = self.last_entry().await?;
        if seq > 0 {
            tracing::info!(
                seq,
                hash,
                "the record of what operators did"
            );
        }
        Ok(0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
