//! Groups: listed, shown, with their members and their history.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::answer::{Answer, Outcome};
use super::call::{Call, to_i};
use super::world::{Group, World};

/// Groups a page, for browsers that aren't a phone's.
const PAGE: usize = 36;
const MEMBERS_DEFAULT: usize = 50;
const MEMBERS_MOST: usize = 1000;
const HISTORY_PAGE: usize = 25;
/// The group that stands for whoever isn't known, which no list shows.
const EVERYONE: i64 = 0;

fn group_json(group: &Group) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "display_name": group.name,
        "full_name": null,
        "automatic": group.automatic,
        "user_count": group.members.len(),
        "visibility_level": 0,
        "members_visibility_level": 0,
        "mentionable_level": 0,
        "messageable_level": 0,
        "primary_group": false,
        "title": null,
        "grant_trust_level": null,
        "public_admission": false,
        "public_exit": false,
        "allow_membership_requests": false,
        "can_see_members": true,
    })
}

fn is_visible(group: &Group, admin: bool) -> bool {
    group.id != EVERYONE && (admin || !group.automatic)
}

/// A page of groups. `load_more_groups` is always there, also behind the last page: only `total_rows_groups` or an empty
/// page says that there are no more (`groups_controller.rb`, `index`).
pub(super) fn list(world: &World, call: &Call, admin: bool) -> Outcome {
    let page = call.number("page", 0, usize::MAX)?;
    let mut groups: Vec<&Group> = world.groups.values().collect();
    groups.retain(|group| is_visible(group, admin));
    let ascending = call.text("asc") == "true";
    match call.text("order").as_str() {
        "user_count" if ascending => groups.sort_by_key(|group| group.members.len()),
        "user_count" => groups.sort_by_key(|group| Reverse(group.members.len())),
        "name" if !ascending => groups.sort_by_key(|group| Reverse(&group.name)),
        _ => groups.sort_by_key(|group| &group.name),
    }
    let total = groups.len();
    let shown = groups.into_iter().skip(page.saturating_mul(PAGE));
    let shown: Vec<Value> = shown.take(PAGE).map(group_json).collect();
    Ok(json!({
        "groups": shown,
        "extras": {"type_filters": ["my", "owner", "public", "close", "automatic"]},
        "total_rows_groups": total,
        "load_more_groups": format!("/groups?page={}", page.saturating_add(1)),
    }))
}

fn shown(group: Option<&Group>, admin: bool) -> Outcome {
    let group = group.filter(|group| is_visible(group, admin));
    let group = group.ok_or_else(Answer::not_found)?;
    Ok(json!({"group": group_json(group), "extras": {"visible_group_names": [group.name]}}))
}

/// A group by its name, in any case.
pub(super) fn show(world: &World, name: &str, admin: bool) -> Outcome {
    shown(world.group_named(name), admin)
}

/// A group by its id.
pub(super) fn show_by_id(world: &World, id: &str, admin: bool) -> Outcome {
    shown(world.groups.get(&to_i(id)), admin)
}

/// A page of members. From Z to A, unless `asc` is anything at all: `asc=false` is ascending too.
pub(super) fn members(world: &World, call: &Call, name: &str) -> Outcome {
    let group = world.group_named(name).ok_or_else(Answer::not_found)?;
    let limit = call.number("limit", MEMBERS_DEFAULT, MEMBERS_MOST)?;
    let offset = usize::try_from(to_i(&call.text("offset")))
        .map_err(|_| Answer::invalid_parameters("offset"))?;
    let mut members = world.members_of(group);
    let total = members.len();
    if let Some(filter) = call.present("filter").and_then(Value::as_str) {
        let wanted = filter.to_lowercase();
        members.retain(|(user, _)| user.username.to_lowercase().contains(&wanted));
    }
    if call.text("order") == "added_at" {
        members.sort_by(|(_, one), (_, other)| one.cmp(other));
    }
    if call.present("asc").is_none() {
        members.reverse();
    }
    let members = members.into_iter().skip(offset).take(limit);
    let members: Vec<Value> = members
        .map(|(user, added_at)| {
            json!({
                "id": user.id,
                "username": user.username,
                "name": user.name,
                "avatar_template": format!("/letter_avatar_proxy/v4/letter/{}/{{size}}.png", user.id),
                "title": null,
                "last_posted_at": null,
                "last_seen_at": null,
                "added_at": added_at,
                "timezone": null,
            })
        })
        .collect();
    let meta = json!({"total": total, "limit": limit, "offset": offset});
    Ok(json!({"members": members, "owners": [], "meta": meta}))
}

/// A page of a group's history, newest first; `offset` counts pages.
pub(super) fn history(world: &World, call: &Call, name: &str) -> Outcome {
    let group = world.group_named(name).ok_or_else(Answer::not_found)?;
    let page = usize::try_from(to_i(&call.text("offset"))).unwrap_or(0);
    let changes = group.history.iter().rev();
    let changes = changes.skip(page.saturating_mul(HISTORY_PAGE));
    let user = |username: &str| json!({"id": world.user_named(username).map_or(-1, |user| user.id), "username": username});
    let logs: Vec<Value> = changes
        .take(HISTORY_PAGE)
        .map(|change| {
            json!({
                "action": change.action,
                "subject": null,
                "prev_value": null,
                "new_value": null,
                "created_at": change.at,
                "acting_user": user(&change.by),
                "target_user": user(&change.of),
            })
        })
        .collect();
    Ok(json!({"all_loaded": logs.len() < HISTORY_PAGE, "logs": logs}))
}
