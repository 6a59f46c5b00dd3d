//! All that the forum knows: users, groups, keys, settings, and what was asked of it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::Options;
use super::faults::Fault;

/// Who the forum itself acts as.
pub(super) const SYSTEM: &str = "system";
/// The groups that nobody can change, with the ids that every forum has.
const AUTOMATIC: [(i64, &str); 9] = [
    (0, "everyone"),
    (1, "admins"),
    (2, "moderators"),
    (3, "staff"),
    (10, "trust_level_0"),
    (11, "trust_level_1"),
    (12, "trust_level_2"),
    (13, "trust_level_3"),
    (14, "trust_level_4"),
];
/// Ids below are kept for automatic groups.
const FIRST_GROUP: i64 = 41;

/// The moment, as Discourse writes it.
pub(super) fn now() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a forum has a clock of its own, which nobody moves"
    )]
    let moment = OffsetDateTime::now_utc();
    moment.format(&Rfc3339).unwrap_or_default()
}

/// A person with an account.
#[derive(Debug, Clone, Default)]
pub(super) struct User {
    pub id: i64,
    pub username: String,
    pub name: Option<String>,
    pub email: Option<String>,
    /// The id of the identity server, once `DiscourseConnect` has seen her.
    pub external_id: Option<String>,
    /// Accounts at other providers: name of the provider, id there.
    pub accounts: BTreeMap<String, String>,
    pub active: bool,
    pub admin: bool,
    pub created_at: String,
}

/// A group, with when each member joined and what happened to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub id: i64,
    pub name: String,
    pub automatic: bool,
    pub members: BTreeMap<i64, String>,
    /// Oldest first.
    pub history: Vec<Change>,
}

/// A line of a group's history.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub action: &'static str,
    pub by: String,
    pub of: String,
    pub at: String,
}

/// An API key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub secret: String,
    /// Nothing but these is allowed; everything when missing.
    pub scopes: Option<Vec<String>>,
    /// The only user that it may act as; any when missing.
    pub username: Option<String>,
}

/// The settings of the site that matter to groups.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub connect_secret: Option<String>,
    pub overrides_groups: bool,
    pub overrides_email: bool,
    pub requests_per_minute: u32,
}

/// All that the forum knows.
pub(super) struct World {
    pub users: BTreeMap<i64, User>,
    pub groups: BTreeMap<i64, Group>,
    pub keys: Vec<Key>,
    pub settings: Settings,
    pub faults: Vec<Fault>,
    /// When the calls of the last minute came.
    pub recent: VecDeque<Instant>,
    /// How often each route was called, by its label.
    pub requests: BTreeMap<String, u64>,
    /// How often each route was refused, by its status and label.
    pub refused: BTreeMap<String, u64>,
    /// How many calls met a planted fault, by method and path.
    pub faulted: BTreeMap<String, u64>,
    /// Addresses without an account that were sent an invitation, with the group.
    pub invitations: Vec<(String, String)>,
    /// What was sent to the receiver of webhooks, and what it said.
    pub deliveries: Vec<Value>,
    pub next_event: u64,
    pub next_user: i64,
    pub next_group: i64,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let automatic = AUTOMATIC.map(|(id, name)| {
            let group = Group {
                id,
                name: name.to_owned(),
                automatic: true,
                ..Group::default()
            };
            (id, group)
        });
        Self {
            users: BTreeMap::new(),
            groups: BTreeMap::from(automatic),
            keys: vec![Key {
                secret: options.api_key.clone(),
                scopes: None,
                username: None,
            }],
            settings: Settings {
                connect_secret: options.connect_secret.clone(),
                overrides_groups: options.overrides_groups,
                overrides_email: options.overrides_email,
                requests_per_minute: options.requests_per_minute,
            },
            faults: Vec::new(),
            recent: VecDeque::new(),
            requests: BTreeMap::new(),
            refused: BTreeMap::new(),
            faulted: BTreeMap::new(),
            invitations: Vec::new(),
            deliveries: Vec::new(),
            next_event: 1,
            next_user: 1,
            next_group: FIRST_GROUP,
        }
    }

    pub(super) fn user_named(&self, username: &str) -> Option<&User> {
        let username = username.to_lowercase();
        let mut users = self.users.values();
        users.find(|user| user.username.to_lowercase() == username)
    }

    pub(super) fn user_of_email(&self, email: &str) -> Option<&User> {
        let email = email.to_lowercase();
        let has =
            |user: &&User| user.email.as_deref().map(str::to_lowercase) == Some(email.clone());
        self.users.values().find(has)
    }

    /// The user whom the identity server knows by an id; ids are told apart by case.
    pub(super) fn user_of_external_id(&self, external_id: &str) -> Option<&User> {
        let mut users = self.users.values();
        users.find(|user| user.external_id.as_deref() == Some(external_id))
    }

    pub(super) fn group_named(&self, name: &str) -> Option<&Group> {
        let name = name.to_lowercase();
        let mut groups = self.groups.values();
        groups.find(|group| group.name.to_lowercase() == name)
    }

    /// Users and groups share one namespace, because both can be mentioned.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(SYSTEM)
            || self.user_named(name).is_some()
            || self.group_named(name).is_some()
    }

    /// Adds a user, who is in the automatic groups from then on.
    pub(super) fn add_user(&mut self, user: User) -> i64 {
        let id = self.next_user;
        self.next_user += 1;
        let admin = user.admin;
        let created_at = now();
        let user = User {
            id,
            created_at: created_at.clone(),
            ..user
        };
        self.users.insert(id, user);
        for group in self.groups.values_mut() {
            let belongs = match group.name.as_str() {
                "trust_level_0" | "trust_level_1" => true,
                "admins" | "staff" => admin,
                _ => false,
            };
            if group.automatic && belongs {
                group.members.insert(id, created_at.clone());
            }
        }
        id
    }

    pub(super) fn add_group(&mut self, name: &str) -> i64 {
        let id = self.next_group;
        self.next_group += 1;
        let group = Group {
            id,
            name: name.to_owned(),
            ..Group::default()
        };
        self.groups.insert(id, group);
        id
    }

    /// Adds a user to a group and logs it; false when she was in.
    pub(super) fn join(&mut self, group: i64, user: i64, by: &str) -> bool {
        let (Some(group), Some(user)) = (self.groups.get_mut(&group), self.users.get(&user)) else {
            return false;
        };
        if group.members.contains_key(&user.id) {
            return false;
        }
        group.members.insert(user.id, now());
        group.log("add_user_to_group", by, &user.username);
        true
    }

    /// Removes a user from a group and logs it; false when she wasn't in.
    pub(super) fn part(&mut self, group: i64, user: i64, by: &str) -> bool {
        let (Some(group), Some(user)) = (self.groups.get_mut(&group), self.users.get(&user)) else {
            return false;
        };
        let was_in = group.members.remove(&user.id).is_some();
        if was_in {
            group.log("remove_user_from_group", by, &user.username);
        }
        was_in
    }

    /// The groups that a user is in, by id.
    pub(super) fn groups_of(&self, user: i64) -> impl Iterator<Item = &Group> {
        let groups = self.groups.values();
        groups.filter(move |group| group.members.contains_key(&user))
    }

    /// The users of a group, by name.
    pub(super) fn members_of(&self, group: &Group) -> Vec<(&User, String)> {
        let members = group.members.iter();
        let mut members: Vec<_> = members
            .filter_map(|(id, at)| self.users.get(id).map(|user| (user, at.clone())))
            .collect();
        members.sort_by_cached_key(|(user, _)| user.username.to_lowercase());
        members
    }

    /// Counts a call, and its refusal where it was refused.
    pub(super) fn count(&mut self, label: &str, status: u16) {
        *self.requests.entry(label.to_owned()).or_default() += 1;
        if status >= 400 {
            let refused = self.refused.entry(format!("{status} {label}"));
            *refused.or_default() += 1;
        }
    }

    /// The groups of a user, as they stand in her object.
    pub(super) fn groups_json(&self, user: i64) -> Value {
        let groups = self.groups_of(user).map(|group| {
            json!({"id": group.id, "automatic": group.automatic, "name": group.name, "display_name": group.name})
        });
        groups.collect()
    }
}

impl Group {
    fn log(&mut self, action: &'static str, by: &str, of: &str) {
        self.history.push(Change {
            action,
            by: by.to_owned(),
            of: of.to_owned(),
            at: now(),
        });
    }
}
