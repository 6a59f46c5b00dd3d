//! The control API under `/_neighbour/`: what happens at a forum without the one who keeps its groups in step.

use axum::http::Method;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::access::SCOPES;
use super::answer::Answer;
use super::connect::{self, Payload, Refused};
use super::faults::Fault;
use super::world::{Group, Key, User, World};
use super::{Forum, users, webhook};

/// Who changes groups by hand.
const BY_HAND: &str = "by-hand";

type Controlled = Result<Value, Answer>;

fn refuse(status: u16, message: &str) -> Answer {
    Answer::json(status, json!({"error": message}))
}

fn no_group(name: &str) -> Answer {
    refuse(404, &format!("there is no group {name}"))
}

/// Answers a call of the control API, which needs no key.
pub(super) async fn answer(forum: &Forum, method: &Method, path: &str, body: &[u8]) -> Answer {
    let segments = path.split('/').skip(2);
    let segments = segments.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned());
    let segments: Vec<String> = segments.collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let outcome = if (method, segments.as_slice()) == (&Method::POST, &["login"]) {
        login(forum, body).await
    } else {
        change(&mut forum.world(), method, &segments, body)
    };
    outcome.map_or_else(|refused| refused, |value| Answer::json(200, value))
}

fn change(world: &mut World, method: &Method, segments: &[&str], body: &[u8]) -> Controlled {
    match (method, segments) {
        (&Method::GET, ["state"]) => Ok(state(world)),
        (&Method::POST, ["users"]) => add_user(world, parse(body)?),
        (&Method::POST, ["groups"]) => add_group(world, &parse(body)?),
        (&Method::PATCH, ["groups", name]) => rename_group(world, name, &parse(body)?),
        (&Method::DELETE, ["groups", name]) => delete_group(world, name),
        (&Method::POST, ["groups", name, "members"]) => {
            let Member { username } = parse(body)?;
            by_hand(world, name, &username, World::join)
        }
        (&Method::DELETE, ["groups", name, "members", username]) => {
            by_hand(world, name, username, World::part)
        }
        (&Method::POST, ["settings"]) => change_settings(world, parse(body)?),
        (&Method::POST, ["keys"]) => add_key(world, parse(body)?),
        (&Method::POST, ["faults"]) => plant(world, parse(body)?),
        (&Method::DELETE, ["faults"]) => {
            world.faults.clear();
            Ok(json!({"faults": []}))
        }
        (&Method::POST, ["rate", "reset"]) => {
            world.recent.clear();
            Ok(json!({"recent": 0}))
        }
        _ => Err(refuse(404, "no such route")),
    }
}

/// Parses a body; unknown fields are refused by the types.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| refuse(400, &error.to_string()))
}

/// What a name may consist of, so that it can stand in a list and in a path.
fn check_name(world: &World, name: &str) -> Result<(), Answer> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > 100 || !name.bytes().all(allowed) {
        return Err(refuse(400, "a name has letters, digits, '_', '.' and '-'"));
    }
    if world.is_taken(name) {
        return Err(refuse(409, &format!("{name} is taken")));
    }
    Ok(())
}

fn own_group<'a>(world: &'a World, name: &str) -> Result<&'a Group, Answer> {
    let group = world.group_named(name).ok_or_else(|| no_group(name))?;
    if group.automatic {
        return Err(refuse(403, "automatic groups can't be changed"));
    }
    Ok(group)
}

/// All that a test wants to see: automatic groups are left out.
fn state(world: &World) -> Value {
    let own = || world.groups.values().filter(|group| !group.automatic);
    let users = world.users.values().map(|user| user_json(world, user));
    let groups = own().map(|group| {
        let members = world.members_of(group).into_iter();
        let members: Vec<_> = members.map(|(user, _)| user.username.clone()).collect();
        let history = group.history.iter().map(|change| {
            json!({"action": change.action, "by": change.by, "of": change.of, "at": change.at})
        });
        let history: Vec<Value> = history.collect();
        json!({"id": group.id, "name": group.name, "members": members, "history": history})
    });
    let invitations = world.invitations.iter();
    let invitations = invitations.map(|(email, group)| json!({"email": email, "group": group}));
    json!({
        "users": users.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "requests": world.requests,
        "refused": world.refused,
        "faulted": world.faulted,
        "faults": world.faults,
        "invitations": invitations.collect::<Vec<_>>(),
        "deliveries": world.deliveries,
        "settings": settings_json(world),
    })
}

fn user_json(world: &World, user: &User) -> Value {
    let groups = world.groups_of(user.id).filter(|group| !group.automatic);
    let groups: Vec<_> = groups.map(|group| group.name.clone()).collect();
    json!({
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "email": user.email,
        "external_id": user.external_id,
        "accounts": user.accounts,
        "active": user.active,
        "admin": user.admin,
        "groups": groups,
    })
}

fn settings_json(world: &World) -> Value {
    let settings = &world.settings;
    json!({
        "connect": settings.connect_secret.is_some(),
        "overrides_groups": settings.overrides_groups,
        "overrides_email": settings.overrides_email,
        "requests_per_minute": settings.requests_per_minute,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    username: String,
    name: Option<String>,
    email: Option<String>,
    external_id: Option<String>,
    /// The provider that the id is of; `DiscourseConnect` when missing.
    provider: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    admin: bool,
    active: Option<bool>,
}

fn add_user(world: &mut World, new: NewUser) -> Controlled {
    check_name(world, &new.username)?;
    let email = new.email.as_deref();
    if email.is_some_and(|email| world.user_of_email(email).is_some()) {
        return Err(refuse(409, "the address is taken"));
    }
    let groups = new
        .groups
        .iter()
        .map(|name| own_group(world, name).map(|group| group.id));
    let groups: Vec<i64> = groups.collect::<Result<_, _>>()?;
    let mut user = User {
        username: new.username,
        name: new.name,
        email: new.email,
        active: new.active.unwrap_or(true),
        admin: new.admin,
        ..User::default()
    };
    match (new.provider, new.external_id) {
        (Some(provider), Some(id)) => {
            user.accounts.insert(provider, id);
        }
        (Some(_), None) => return Err(refuse(400, "a provider needs an external_id")),
        (None, Some(id)) if world.user_of_external_id(&id).is_some() => {
            return Err(refuse(409, "the external id is taken"));
        }
        (None, id) => user.external_id = id,
    }
    let id = world.add_user(user);
    for group in groups {
        world.join(group, id, BY_HAND);
    }
    let user = world.users.get(&id);
    Ok(user.map_or(Value::Null, |user| user_json(world, user)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

fn add_group(world: &mut World, new: &Named) -> Controlled {
    check_name(world, &new.name)?;
    let id = world.add_group(&new.name);
    Ok(json!({"id": id, "name": new.name}))
}

fn rename_group(world: &mut World, name: &str, to: &Named) -> Controlled {
    let id = own_group(world, name)?.id;
    if !name.eq_ignore_ascii_case(&to.name) {
        check_name(world, &to.name)?;
    }
    if let Some(group) = world.groups.get_mut(&id) {
        group.name.clone_from(&to.name);
    }
    Ok(json!({"id": id, "name": to.name}))
}

fn delete_group(world: &mut World, name: &str) -> Controlled {
    let id = own_group(world, name)?.id;
    world.groups.remove(&id);
    Ok(json!({"deleted": id}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    username: String,
}

fn by_hand(
    world: &mut World,
    group: &str,
    username: &str,
    act: fn(&mut World, i64, i64, &str) -> bool,
) -> Controlled {
    let group = own_group(world, group)?.id;
    let user = world.user_named(username);
    let user = user.ok_or_else(|| refuse(404, &format!("there is no user {username}")))?;
    let id = user.id;
    Ok(json!({"changed": act(world, group, id, BY_HAND)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSettings {
    overrides_groups: Option<bool>,
    overrides_email: Option<bool>,
    requests_per_minute: Option<u32>,
    /// A text turns `DiscourseConnect` on, null turns it off.
    #[serde(default, deserialize_with = "given")]
    connect_secret: Option<Value>,
}

/// Tells null from a missing field.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn change_settings(world: &mut World, new: NewSettings) -> Controlled {
    let settings = &mut world.settings;
    match new.connect_secret {
        None => {}
        Some(Value::Null) => settings.connect_secret = None,
        Some(Value::String(secret)) => settings.connect_secret = Some(secret),
        Some(_) => return Err(refuse(400, "connect_secret is a text or null")),
    }
    settings.overrides_groups = new.overrides_groups.unwrap_or(settings.overrides_groups);
    settings.overrides_email = new.overrides_email.unwrap_or(settings.overrides_email);
    let most = new.requests_per_minute;
    settings.requests_per_minute = most.unwrap_or(settings.requests_per_minute);
    Ok(settings_json(world))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    key: String,
    /// Everything is allowed when missing.
    scopes: Option<Vec<String>>,
    username: Option<String>,
}

fn add_key(world: &mut World, new: NewKey) -> Controlled {
    let scopes = new.scopes.as_deref().unwrap_or_default();
    if scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(refuse(
            400,
            &format!("the scopes are {}", SCOPES.join(", ")),
        ));
    }
    let added = json!({"key": new.key, "scopes": new.scopes, "username": new.username});
    world.keys.retain(|known| known.secret != new.key);
    world.keys.push(Key {
        secret: new.key,
        scopes: new.scopes,
        username: new.username,
    });
    Ok(added)
}

fn plant(world: &mut World, fault: Fault) -> Controlled {
    if let Some(wrong) = fault.wrong() {
        return Err(refuse(400, wrong));
    }
    world.faults.push(fault);
    Ok(json!({"faults": world.faults}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    external_id: String,
    email: Option<String>,
    username: Option<String>,
    name: Option<String>,
    /// What an identity server that manages groups itself sends.
    groups: Option<String>,
    add_groups: Option<String>,
    remove_groups: Option<String>,
}

/// A login by `DiscourseConnect`: the payload has the same effect as that of `sync_sso`, and the receiver is told.
async fn login(forum: &Forum, body: &[u8]) -> Controlled {
    let login: Login = parse(body)?;
    let fields = [
        ("external_id", Some(login.external_id)),
        ("email", login.email),
        ("username", login.username),
        ("name", login.name),
        ("groups", login.groups),
        ("add_groups", login.add_groups),
        ("remove_groups", login.remove_groups),
    ];
    let fields = fields.into_iter();
    let fields = fields.filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)));
    let payload = Payload(fields.collect());
    let (created, shown, told) = log_in(&mut forum.world(), &payload)?;
    let events: &[&str] = if created {
        &["user_created", "user_logged_in"]
    } else {
        &["user_logged_in"]
    };
    let deliveries = webhook::send(forum, events, &told).await;
    Ok(json!({"user": shown, "created": created, "deliveries": deliveries}))
}

/// Whether she is new, how the control API shows her, and how a webhook does.
fn log_in(world: &mut World, payload: &Payload) -> Result<(bool, Value, Value), Answer> {
    if world.settings.connect_secret.is_none() {
        return Err(refuse(409, "DiscourseConnect is off"));
    }
    let (id, created) = connect::apply(world, payload).map_err(|refused| match refused {
        Refused::BlankId | Refused::BannedId => refuse(422, &refused.to_string()),
        Refused::Invalid(_) => refuse(403, &refused.to_string()),
    })?;
    let user = world.users.get(&id).ok_or_else(Answer::not_found)?;
    Ok((
        created,
        user_json(world, user),
        users::webhook_view(world, user),
    ))
}
