//! Whose account is whose, as far as the forum has said so: remembered to save calls, never to be relied on. After a
//! restart it is learnt anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Members who are remembered; of those beyond, each comparison asks.
const MOST: usize = 100_000;

/// Members with their accounts' ids.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    accounts: HashMap<Arc<str>, i64>,
    members: HashMap<i64, Arc<str>>,
}

impl Known {
    fn both(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers whose an account is, and forgets whose it was.
    pub(super) fn learn(&self, member: &str, account: i64) {
        let mut both = self.both();
        let before = both.accounts.get(member).copied();
        if before == Some(account) {
            return;
        }
        both.forget(account);
        if let Some(before) = before {
            both.forget(before);
        }
        if both.accounts.len() < MOST {
            let member: Arc<str> = member.into();
            both.accounts.insert(Arc::clone(&member), account);
            both.members.insert(account, member);
        }
    }

    pub(super) fn forget(&self, account: i64) {
        self.both().forget(account);
    }

    pub(super) fn account(&self, member: &str) -> Option<i64> {
        self.both().accounts.get(member).copied()
    }

    pub(super) fn member(&self, account: i64) -> Option<String> {
        self.both().members.get(&account).map(ToString::to_string)
    }
}

impl Both {
    fn forget(&mut self, account: i64) {
        if let Some(member) = self.members.remove(&account) {
            self.accounts.remove(&member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_member_s_and_a_member_has_one() {
        let known = Known::default();
        known.learn("alice", 1);
        known.learn("bob", 2);
        known.learn("alice", 2);
        assert_eq!(
            (known.account("alice"), known.account("bob")),
            (Some(2), None)
        );
        assert_eq!(
            (known.member(1), known.member(2)),
            (None, Some("alice".to_owned()))
        );
        known.forget(2);
        assert_eq!(known.account("alice"), None);
    }
}
