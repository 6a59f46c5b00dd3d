//! What a forum answers, as far as anybody here looks at it.

use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::config::same;
use crate::outward::followers::receiver::{Failure, body_within};

/// Longest answer that is read: a page of a thousand members has a fourth of it.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What was answered: the status, and the JSON where there was any.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// An account of the forum.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: i64,
    /// The names of its groups; none where the answer does not say.
    groups: Option<Vec<String>>,
}

impl Account {
    /// Reads what is told of a user.
    pub(super) fn read(user: &Value) -> Option<Self> {
        let names = |groups: &Vec<Value>| {
            let names = groups.iter().filter_map(|group| group["name"].as_str());
            names.map(str::to_owned).collect()
        };
        Some(Self {
            id: user["id"].as_i64()?,
            groups: user["groups"].as_array().map(names),
        })
    }

    /// Whether it is in a group; none where that is not known.
    pub(super) fn is_in(&self, group: &str) -> Option<bool> {
        let groups = self.groups.as_ref()?;
        Some(groups.iter().any(|name| same(name, group)))
    }
}

/// A group of the forum.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: i64,
    /// One of Discourse's own.
    pub(super) automatic: bool,
}

/// A page of a group's members, by their accounts.
#[derive(Debug)]
pub(super) struct Listed {
    /// How many there are on all pages.
    pub(super) total: usize,
    pub(super) members: Vec<i64>,
    /// Those who look after the group.
    pub(super) owners: Vec<i64>,
}

/// Settings of the site, as far as the key may see them; none: not told.
#[derive(Debug)]
pub(super) struct SiteSettings {
    pub(super) connect: Option<bool>,
    pub(super) overrides_groups: Option<bool>,
}

/// The body, as far as it may go.
pub(super) async fn read(response: Response) -> Result<Vec<u8>, Failure> {
    let body = body_within(response, ANSWER_BYTES).await?;
    body.ok_or_else(|| {
        let longest = ANSWER_BYTES / 1024 / 1024;
        Failure::refused(format!("its answer is longer than {longest} MiB"))
    })
}
