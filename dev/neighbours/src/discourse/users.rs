//! Users, as everybody and as an administrator sees them.

use serde_json::{Value, json};

use super::answer::{Answer, Outcome};
use super::call::{Call, to_i};
use super::world::{User, World};

/// Users a page of an administrator's list.
const PAGE: usize = 100;

fn basic(user: &User) -> Value {
    json!({
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "avatar_template": format!("/letter_avatar_proxy/v4/letter/{}/{{size}}.png", user.id),
        "active": user.active,
        "admin": user.admin,
        "moderator": false,
        "trust_level": 1,
        "created_at": user.created_at,
        "last_seen_at": null,
    })
}

fn record(user: &User) -> Value {
    let id = user.external_id.as_ref();
    id.map_or(
        Value::Null,
        |id| json!({"user_id": user.id, "external_id": id}),
    )
}

/// A user as an administrator sees her. The e-mail address isn't in it: Discourse gives it on a route of its own.
pub(super) fn admin_view(world: &World, user: &User) -> Value {
    let mut view = basic(user);
    view["groups"] = world.groups_json(user.id);
    view["single_sign_on_record"] = record(user);
    view["suspended_at"] = Value::Null;
    view
}

/// How a path names a user.
pub(super) enum By<'a> {
    /// Her name, in any case.
    Name(&'a str),
    /// Her id at the identity server.
    ExternalId(&'a str),
    /// A provider that she has connected, and her id there.
    Account(&'a str, &'a str),
}

/// A user as her profile shows her.
pub(super) fn show(world: &World, by: &By, admin: bool) -> Outcome {
    let user = match by {
        By::Name(name) => world.user_named(name),
        By::ExternalId(id) => world.user_of_external_id(id),
        By::Account(..) if !admin => return Err(Answer::invalid_access()),
        By::Account(provider, id) => {
            let has = |user: &&User| user.accounts.get(*provider).is_some_and(|at| at == id);
            world.users.values().find(has)
        }
    };
    let user = user.ok_or_else(Answer::not_found)?;
    let mut view = basic(user);
    view["groups"] = world.groups_json(user.id);
    if admin {
        view["single_sign_on_record"] = record(user);
    }
    Ok(json!({"user": view, "user_badges": []}))
}

/// A user as an administrator sees her, by id.
pub(super) fn show_as_admin(world: &World, id: &str) -> Outcome {
    let user = world.users.get(&to_i(id)).ok_or_else(Answer::not_found)?;
    Ok(admin_view(world, user))
}

/// A page of all users. Addresses are in it only with `show_emails=true`.
pub(super) fn list(world: &World, call: &Call) -> Outcome {
    let page = call.number("page", 1, usize::MAX)?.max(1) - 1;
    let (email, filter) = (call.text("email"), call.text("filter").to_lowercase());
    let users = world.users.values().filter(|user| {
        let address = user.email.as_deref().unwrap_or_default().to_lowercase();
        let found = user.username.to_lowercase().contains(&filter) || address.contains(&filter);
        found && (email.is_empty() || address == email.to_lowercase())
    });
    let users = users.skip(page.saturating_mul(PAGE)).take(PAGE);
    let users = users.map(|user| {
        let mut view = basic(user);
        if call.text("show_emails") == "true" {
            view["email"] = json!(user.email);
            view["secondary_emails"] = json!([]);
        }
        view
    });
    Ok(users.collect())
}

/// A user as a webhook tells of her.
pub(super) fn webhook_view(world: &World, user: &User) -> Value {
    let mut view = basic(user);
    view["email"] = json!(user.email);
    view["external_id"] = json!(user.external_id);
    view["groups"] = world.groups_json(user.id);
    view
}
