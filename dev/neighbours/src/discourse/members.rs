//! Adding users to a group and removing them, with all that surprises there (`groups_controller.rb`).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Outcome};
use super::call::{Call, to_i};
use super::world::{Group, User, World};

const MOST: usize = 1000;

/// The group, if the caller may change it. The order matters: a name in place of the id is read as 0, which is a group
/// that nobody can change, so that the mistake is answered 403.
fn editable<'a>(world: &'a World, id: &str, caller: &Caller) -> Result<&'a Group, Answer> {
    let group = world.groups.get(&to_i(id)).ok_or_else(Answer::not_found)?;
    if group.automatic || !caller.admin {
        return Err(Answer::invalid_access());
    }
    Ok(group)
}

/// The parts of a list, as `split(",")` makes them: nothing is trimmed, and a JSON list is an exception.
fn split(value: &Value) -> Result<Vec<String>, Answer> {
    let text = value.as_str().ok_or_else(Answer::exception)?;
    let text = text.trim_end_matches(',');
    let parts = text.split(',').filter(|_| !text.is_empty());
    Ok(parts.map(str::to_lowercase).collect())
}

/// The users that a call names. Only the first selector that is there counts; who doesn't exist is dropped without a word
/// as long as somebody exists.
fn named(world: &World, call: &Call, old_names: bool) -> Result<Vec<i64>, Answer> {
    let either = |old: &str, new: &str| {
        let old = call.present(old).filter(|_| old_names);
        old.or_else(|| call.present(new)).cloned()
    };
    let lower = |text: &str| text.to_lowercase();
    let matching = |wanted: &dyn Fn(&User) -> bool| -> Vec<i64> {
        let users = world.users.values().filter(|user| wanted(user));
        users.map(|user| user.id).collect()
    };
    let (name, users) = if let Some(usernames) = either("username", "usernames") {
        let wanted = BTreeSet::from_iter(split(&usernames)?);
        let users = matching(&|user| wanted.contains(&lower(&user.username)));
        ("usernames", users)
    } else if call.present("user_id").is_some() {
        let wanted = to_i(&call.text("user_id"));
        ("user_id", matching(&|user| user.id == wanted))
    } else if call.present("user_ids").is_some() {
        // A JSON list goes through `to_s`, so that its first id is read as "[5" and lost.
        let ids = call.text("user_ids");
        let wanted: BTreeSet<i64> = ids.split(',').map(to_i).collect();
        ("user_ids", matching(&|user| wanted.contains(&user.id)))
    } else if let Some(emails) = either("user_email", "user_emails") {
        let wanted = BTreeSet::from_iter(split(&emails)?);
        let has = |user: &User| {
            user.email
                .as_deref()
                .is_some_and(|email| wanted.contains(&lower(email)))
        };
        ("user_emails", matching(&has))
    } else {
        return Ok(Vec::new());
    };
    if users.is_empty() {
        return Err(Answer::invalid_parameters(name));
    }
    Ok(users)
}

/// Adds users. One who is in already is an error when nobody else is added.
pub(super) fn add(world: &mut World, call: &Call, id: &str, caller: &Caller) -> Outcome {
    let group = editable(world, id, caller)?;
    let (group_id, group_name) = (group.id, group.name.clone());
    let mut users = named(world, call, false)?;
    let mut invited = Vec::new();
    if let Some(emails) = call.present("emails") {
        for email in split(emails)? {
            match world.user_of_email(&email) {
                Some(user) => users.push(user.id),
                None => invited.push(email),
            }
        }
    }
    if users.is_empty() && invited.is_empty() {
        return Err(Answer::invalid_parameters(
            "usernames or emails must be present",
        ));
    }
    if users.len() > MOST {
        let message = format!("Maximum {MOST} users can be added at once");
        return Err(Answer::unprocessable(&message));
    }
    let members = world.groups.get(&group_id).map(|group| &group.members);
    let unique: BTreeSet<i64> = users.iter().copied().collect();
    let already = unique
        .iter()
        .filter(|user| members.is_some_and(|members| members.contains_key(user)));
    let already: Vec<i64> = already.copied().collect();
    if already.len() == users.len() && invited.is_empty() {
        return Err(already_in(&usernames(world, &already)));
    }
    for user in &unique {
        world.join(group_id, *user, &caller.username);
    }
    for email in &invited {
        world.invitations.push((email.clone(), group_name.clone()));
    }
    let mut seen = BTreeSet::new();
    users.retain(|user| seen.insert(*user));
    Ok(json!({"success": "OK", "usernames": usernames(world, &users), "emails": invited}))
}

fn already_in(usernames: &[String]) -> Answer {
    let mut usernames = usernames.to_vec();
    usernames.sort();
    let message = match usernames.as_slice() {
        [one] => format!("'{one}' is already a member of this group."),
        all => format!(
            "The following users are already members of this group: {}",
            all.join(", ")
        ),
    };
    Answer::unprocessable(&message)
}

fn usernames(world: &World, users: &[i64]) -> Vec<String> {
    let users = users.iter().filter_map(|id| world.users.get(id));
    users.map(|user| user.username.clone()).collect()
}

/// Removes users; those who weren't in are told apart.
pub(super) fn remove(world: &mut World, call: &Call, id: &str, caller: &Caller) -> Outcome {
    let group = editable(world, id, caller)?.id;
    let users = named(world, call, true)?;
    if users.is_empty() {
        let message = "user_ids or usernames or user_emails must be present";
        return Err(Answer::invalid_parameters(message));
    }
    let (removed, skipped): (Vec<i64>, Vec<i64>) = users
        .into_iter()
        .partition(|user| world.part(group, *user, &caller.username));
    Ok(json!({
        "success": "OK",
        "usernames": usernames(world, &removed),
        "skipped_usernames": usernames(world, &skipped),
    }))
}
