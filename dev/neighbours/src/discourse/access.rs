//! Keys, what they may do and for whom, and how many calls a minute are answered.

use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::call::{Call, to_i};
use super::routes::Operation;
use super::world::{Key, SYSTEM, World};

const MINUTE: Duration = Duration::from_mins(1);

/// The scopes of Discourse's core that open an operation of ours; none of them opens a change of a group.
pub(super) const SCOPES: [&str; 6] = [
    "global:read",
    "users:sync_sso",
    "users:show",
    "users:list",
    "wordpress:discourse_connect",
    "wordpress:utilities",
];

/// Who calls.
pub(super) struct Caller {
    pub username: String,
    pub admin: bool,
}

/// Finds who calls: nobody when no key is sent. `default_current_user_provider.rb`: a key that may not do what is asked
/// for is answered like one that doesn't exist, and only calls with a good key count towards the limit.
pub(super) fn check(
    world: &mut World,
    call: &Call,
    operation: Operation,
) -> Result<Option<Caller>, Answer> {
    let given = call.header("Api-Key");
    if given.is_empty() {
        return Ok(None);
    }
    let key = world.keys.iter().find(|known| known.secret == given);
    let key = key.filter(|key| {
        let scopes = key.scopes.as_deref();
        scopes.is_none_or(|scopes| scopes.iter().any(|scope| opens(scope, operation)))
    });
    let caller = key.and_then(|key| caller(world, call, key));
    let caller = caller.ok_or_else(Answer::invalid_key)?;
    admit(world)?;
    Ok(Some(caller))
}

/// The user that a key acts as: its own, or the one that the headers name.
fn caller(world: &World, call: &Call, key: &Key) -> Option<Caller> {
    let named = call.header("Api-Username");
    let (user_id, external_id) = (
        call.header("Api-User-Id"),
        call.header("Api-User-External-Id"),
    );
    let username = match &key.username {
        Some(own) if named.is_empty() || named.eq_ignore_ascii_case(own) => own.clone(),
        Some(_) => return None,
        None if !named.is_empty() => named.to_owned(),
        None if !user_id.is_empty() => world.users.get(&to_i(user_id))?.username.clone(),
        None => world.user_of_external_id(external_id)?.username.clone(),
    };
    if username.eq_ignore_ascii_case(SYSTEM) {
        return Some(Caller {
            username,
            admin: true,
        });
    }
    let user = world.user_named(&username).filter(|user| user.active)?;
    Some(Caller {
        username: user.username.clone(),
        admin: user.admin,
    })
}

fn opens(scope: &str, operation: Operation) -> bool {
    let opened: &[Operation] = match scope {
        "global:read" => return operation.only_reads(),
        "users:sync_sso" => &[Operation::SyncSso],
        "users:show" => &[Operation::ShowUser],
        "users:list" => &[Operation::ListUsers],
        "wordpress:discourse_connect" => &[
            Operation::SyncSso,
            Operation::ListUsers,
            Operation::ShowUser,
        ],
        "wordpress:utilities" => &[Operation::ListGroups],
        _ => &[],
    };
    opened.contains(&operation)
}

/// Lets a call through, or says how long to wait. The window slides: refused calls don't count.
fn admit(world: &mut World) -> Result<(), Answer> {
    let now = Instant::now();
    while let Some(first) = world.recent.front() {
        if now.duration_since(*first) < MINUTE {
            break;
        }
        world.recent.pop_front();
    }
    let most = usize::try_from(world.settings.requests_per_minute).unwrap_or(usize::MAX);
    if world.recent.len() >= most {
        let oldest = world.recent.front().copied().unwrap_or(now);
        let wait = MINUTE.saturating_sub(now.duration_since(oldest));
        return Err(Answer::too_many((wait.as_secs() + 1).min(60)));
    }
    world.recent.push_back(now);
    Ok(())
}
