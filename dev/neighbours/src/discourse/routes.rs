//! Which operation a call means, and what happens around it.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::{self, Caller};
use super::answer::{Answer, Content, Outcome};
use super::call::Call;
use super::users::By;
use super::world::World;
use super::{connect, groups, members, users};

/// What can be asked of the forum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    About,
    ListGroups,
    ShowGroup,
    ShowGroupById,
    ListMembers,
    ShowHistory,
    AddMembers,
    RemoveMembers,
    ShowUser,
    ListUsers,
    ShowUserAsAdmin,
    SyncSso,
    ShowSettings,
}

impl Operation {
    /// Whether it changes nothing.
    pub(super) fn only_reads(self) -> bool {
        !matches!(self, Self::AddMembers | Self::RemoveMembers | Self::SyncSso)
    }

    /// Whether its route is hidden from all but administrators.
    fn is_hidden(self) -> bool {
        matches!(
            self,
            Self::ListUsers | Self::ShowUserAsAdmin | Self::SyncSso | Self::ShowSettings
        )
    }
}

/// An operation, the name that it is counted under, and what the path says.
struct Route<'a> {
    operation: Operation,
    label: &'static str,
    of: &'a str,
    by: By<'a>,
}

fn find(call: &Call) -> Option<Route<'_>> {
    use Operation::{
        About, AddMembers, ListGroups, ListMembers, ListUsers, RemoveMembers, ShowGroup,
        ShowGroupById, ShowHistory, ShowSettings, ShowUser, ShowUserAsAdmin, SyncSso,
    };
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let mut by = By::Name("");
    let (operation, label, of) = match (&call.method, segments.as_slice()) {
        (&Method::GET, ["about"]) => (About, "GET /about.json", ""),
        (&Method::GET, ["groups"]) => (ListGroups, "GET /groups.json", ""),
        (&Method::GET, ["groups", "by-id", id]) => {
            (ShowGroupById, "GET /groups/by-id/{id}.json", *id)
        }
        (&Method::GET, ["groups", name]) => (ShowGroup, "GET /groups/{name}.json", *name),
        (&Method::GET, ["groups", name, "members"]) => {
            (ListMembers, "GET /groups/{name}/members.json", *name)
        }
        (&Method::GET, ["groups", name, "logs"]) => {
            (ShowHistory, "GET /groups/{name}/logs.json", *name)
        }
        (&Method::PUT, ["groups", id, "members"] | ["admin", "groups", id, "members"]) => {
            (AddMembers, "PUT /groups/{id}/members.json", *id)
        }
        (&Method::DELETE, ["groups", id, "members"] | ["admin", "groups", id, "members"]) => {
            (RemoveMembers, "DELETE /groups/{id}/members.json", *id)
        }
        (&Method::GET, ["u" | "users", "by-external", id]) => {
            by = By::ExternalId(id);
            (ShowUser, "GET /u/by-external/{external_id}.json", *id)
        }
        (&Method::GET, ["u" | "users", "by-external", provider, id]) => {
            by = By::Account(provider, id);
            let label = "GET /u/by-external/{provider}/{external_id}.json";
            (ShowUser, label, *id)
        }
        (&Method::GET, ["u" | "users", name]) => {
            by = By::Name(name);
            (ShowUser, "GET /u/{username}.json", *name)
        }
        (&Method::GET, ["admin", "users", "list", "all"]) => {
            (ListUsers, "GET /admin/users/list/all.json", "")
        }
        (&Method::GET, ["admin", "users", id]) => {
            (ShowUserAsAdmin, "GET /admin/users/{id}.json", *id)
        }
        (&Method::POST, ["admin", "users", "sync_sso"]) => {
            (SyncSso, "POST /admin/users/sync_sso.json", "")
        }
        (&Method::GET, ["admin", "site_settings"]) => {
            (ShowSettings, "GET /admin/site_settings.json", "")
        }
        _ => return None,
    };
    Some(Route {
        operation,
        label,
        of,
        by,
    })
}

/// Answers a call and counts it.
pub(super) fn answer(world: &mut World, call: &Call) -> Answer {
    let Some(route) = find(call) else {
        world.count("unknown route", 404);
        return shown(call, Err(Answer::not_found()));
    };
    let answer = shown(call, run(world, call, &route));
    world.count(route.label, answer.status);
    answer
}

fn run(world: &mut World, call: &Call, route: &Route) -> Outcome {
    let caller = access::check(world, call, route.operation)?;
    let admin = caller.as_ref().is_some_and(|caller| caller.admin);
    if route.operation.is_hidden() && !admin {
        return Err(Answer::not_found());
    }
    match route.operation {
        Operation::About => Ok(about(world)),
        Operation::ListGroups => groups::list(world, call, admin),
        Operation::ShowGroup => groups::show(world, route.of, admin),
        Operation::ShowGroupById => groups::show_by_id(world, route.of, admin),
        Operation::ListMembers => groups::members(world, call, route.of),
        Operation::ShowHistory if admin => groups::history(world, call, route.of),
        Operation::ShowHistory => Err(Answer::invalid_access()),
        Operation::AddMembers => members::add(world, call, route.of, &signed(caller)?),
        Operation::RemoveMembers => members::remove(world, call, route.of, &signed(caller)?),
        Operation::ShowUser => users::show(world, &route.by, admin),
        Operation::ListUsers => users::list(world, call),
        Operation::ShowUserAsAdmin => users::show_as_admin(world, route.of),
        Operation::SyncSso => connect::sync(world, call),
        Operation::ShowSettings => Ok(settings(world)),
    }
}

/// A change needs somebody who makes it.
fn signed(caller: Option<Caller>) -> Result<Caller, Answer> {
    caller.ok_or_else(Answer::bad_csrf)
}

/// Whoever reads without asking for JSON gets the page that a browser would run: with 200, and without the data.
fn shown(call: &Call, outcome: Outcome) -> Answer {
    let answer = outcome.map_or_else(|refused| refused, |body| Answer::json(200, body));
    if call.json || call.method != Method::GET || answer.status == 429 {
        return answer;
    }
    let html = "<!doctype html><html lang=\"en\"><title>Forum</title><body>This page needs JavaScript.</body></html>";
    Answer {
        content: Content::Html(html.to_owned()),
        ..answer
    }
}

fn about(world: &World) -> Value {
    json!({"about": {
        "title": "Forum",
        "description": "A stand-in for Discourse",
        "version": "3.6.0.beta1",
        "stats": {"users_count": world.users.len()},
        "admins": [],
        "moderators": [],
    }})
}

fn settings(world: &World) -> Value {
    let settings = &world.settings;
    let on = settings.connect_secret.is_some();
    let flags = [
        ("enable_discourse_connect", on),
        (
            "discourse_connect_overrides_groups",
            settings.overrides_groups,
        ),
        ("auth_overrides_email", settings.overrides_email),
        ("auth_overrides_username", false),
        ("auth_overrides_name", false),
    ];
    let flags = flags.map(|(name, value)| {
        json!({
            "setting": name, "value": value.to_string(), "default": "false", "type": "bool", "category": "login",
        })
    });
    json!({"site_settings": flags})
}
