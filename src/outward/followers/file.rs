//! The file of followers, as it is written and as it is used: whatever is wrong with it is said at once.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use url::Url;

use crate::domain::feed::TYPES;
use crate::outward::{discourse, mosaic, webhook};
use crate::settings::{Secret, Settings, is_loopback};

/// Longest name of a follower.
const NAME: usize = 50;

/// A follower as the file says.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// Its place is kept under it.
    pub(super) name: String,
    /// The name it had before.
    pub(super) renamed_from: Option<String>,
    /// Whether what is in force is told first.
    pub(super) from_snapshot: bool,
    /// Of these alone; of all where there are none.
    pub(super) types: Vec<String>,
    /// How it is told.
    pub(super) kind: Kind,
}

/// How a follower is told.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Webhook(webhook::Config),
    Mosaic(mosaic::Config),
    Discourse(Box<discourse::Config>),
}

impl Kind {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mosaic(_) => "mosaic",
            Self::Discourse(_) => "discourse",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    follower: Vec<Raw>,
}

/// A follower as it is written: every key of every kind.
#[derive(Default, Deserialize)]
struct Raw {
    name: Option<String>,
    kind: Option<String>,
    url: Option<String>,
    from: Option<String>,
    renamed_from: Option<String>,
    types: Option<Vec<String>>,
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

/// What is wrong with the file; a sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the followers' file {file} is wrong: {}", problems.join("; "))]
pub struct FileError {
    file: String,
    problems: Vec<String>,
}

impl FileError {
    /// A sentence each.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// Reads the file; without one there are no followers.
pub(super) fn read(settings: &Settings) -> Result<Vec<Follower>, FileError> {
    let Some(path) = &settings.followers.file else {
        return Ok(Vec::new());
    };
    let wrong = |problems| FileError {
        file: path.display().to_string(),
        problems,
    };
    let file = parse(path).map_err(|problem| wrong(vec![problem]))?;
    let mut problems = Vec::new();
    let followers: Vec<Follower> = { file.follower.into_iter() }
        .enumerate()
        .filter_map(|(place, raw)| {
            let mut check = Check::new(place, raw, settings);
            let follower = check.follower();
            problems.append(&mut check.problems);
            follower
        })
        .collect();
    let mut names = HashSet::new();
    for follower in &followers {
        if !names.insert(follower.name.as_str()) {
            problems.push(format!(
                "follower \"{}\": name is used twice",
                follower.name
            ));
        }
    }
    let mut taken = HashSet::new();
    for follower in &followers {
        let Some(old) = &follower.renamed_from else {
            continue;
        };
        if names.contains(old.as_str()) || !taken.insert(old) {
            problems.push(format!(
                "follower \"{}\": renamed_from: \"{old}\" is another follower's",
                follower.name
            ));
        }
    }
    problems.extend(shared_groups(&followers));
    if problems.is_empty() {
        Ok(followers)
    } else {
        Err(wrong(problems))
    }
}

/// Two who own one group would undo each other's work.
fn shared_groups(followers: &[Follower]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut before: Vec<(&str, &discourse::Config)> = Vec::new();
    for follower in followers {
        let Kind::Discourse(config) = &follower.kind else {
            continue;
        };
        for (name, other) in &before {
            for group in config.shared_with(other) {
                problems.push(format!(
                    "follower \"{}\": groups: \"{group}\" is follower \"{name}\"'s already",
                    follower.name
                ));
            }
        }
        before.push((&follower.name, config));
    }
    problems
}

fn parse(path: &Path) -> Result<File, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("it can't be read ({error}): set DUES__FOLLOWERS__FILE"))?;
    toml::from_str(&text).map_err(|error| error.to_string().replace('\n', " "))
}

/// One follower of the file, with what is wrong about it.
pub(in crate::outward) struct Check<'a> {
    place: String,
    raw: Raw,
    settings: &'a Settings,
    problems: Vec<String>,
}

impl<'a> Check<'a> {
    fn new(place: usize, raw: Raw, settings: &'a Settings) -> Self {
        let place = match &raw.name {
            Some(name) => format!("follower \"{name}\""),
            None => format!("follower {}", place + 1),
        };
        Self {
            place,
            raw,
            settings,
            problems: Vec::new(),
        }
    }

    fn follower(&mut self) -> Option<Follower> {
        let name = self.raw.name.clone().unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > NAME || !name.bytes().all(is_name) {
            self.problem(&format!(
                "name takes 1 to {NAME} of letters, digits, \"-\" and \"_\""
            ));
        }
        let from_snapshot = match self.raw.from.take().as_deref() {
            None | Some("now") => false,
            Some("snapshot") => true,
            Some(_) => {
                self.problem("from is \"now\" or \"snapshot\"");
                false
            }
        };
        let mut types = self.raw.types.take().unwrap_or_default();
        for name in &types {
            if !TYPES.contains(&name.as_str()) {
                let known = TYPES.join(", ");
                self.problem(&format!("types: there is no \"{name}\"; there are {known}"));
            }
        }
        let kind = match self.raw.kind.take().as_deref() {
            Some("webhook") => webhook::Config::check(self).map(Kind::Webhook),
            Some("mosaic") => {
                let grace = self.settings.lifecycle.grace;
                mosaic::Config::check(self, grace).map(Kind::Mosaic)
            }
            Some("discourse") => {
                if !types.is_empty() {
                    self.problem("types: groups follow what is in force, whatever has changed it");
                }
                types = discourse::TYPES.map(str::to_owned).to_vec();
                discourse::Config::check(self).map(|config| Kind::Discourse(Box::new(config)))
            }
            other => {
                let what = other.map_or("is missing".to_owned(), |kind| {
                    format!("\"{kind}\" is unknown")
                });
                self.problem(&format!(
                    "kind {what}; there are webhook, mosaic and discourse"
                ));
                self.raw.others.clear();
                None
            }
        };
        let unknown: Vec<String> = self.raw.others.keys().cloned().collect();
        for key in unknown {
            self.problem(&format!("{key} is no key of this kind"));
        }
        Some(Follower {
            name,
            renamed_from: self.raw.renamed_from.take(),
            from_snapshot,
            types,
            kind: kind?,
        })
    }

    /// Notes what is wrong.
    pub(in crate::outward) fn problem(&mut self, what: &str) {
        self.problems.push(format!("{}: {what}", self.place));
    }

    /// All settings, for what a kind has to be held against.
    pub(in crate::outward) fn settings(&self) -> &Settings {
        self.settings
    }

    /// Notes that a key is missing, unless it is there and wrong.
    pub(in crate::outward) fn missing(&mut self, key: &str) {
        let is_told = |problem: &String| problem.contains(&format!(": {key} is "));
        if !self.problems.iter().any(is_told) {
            self.problem(&format!("{key} is missing"));
        }
    }

    /// The value of a key of this kind.
    pub(in crate::outward) fn take<T: for<'de> Deserialize<'de>>(
        &mut self,
        key: &str,
        should: &str,
    ) -> Option<T> {
        let value = self.raw.others.remove(key)?;
        let value = value.try_into().ok();
        if value.is_none() {
            self.problem(&format!("{key} is not {should}"));
        }
        value
    }

    /// A text that may be left out.
    pub(in crate::outward) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a text")
    }

    /// A text that may not be left out.
    pub(in crate::outward) fn required(&mut self, key: &str) -> Option<String> {
        let text = self.text(key).filter(|text| !text.is_empty());
        if text.is_none() {
            self.missing(key);
        }
        text
    }

    /// The address, https unless it stays on this machine.
    pub(in crate::outward) fn url(&mut self) -> Option<Url> {
        let text = self.raw.url.take();
        self.address("url", text)
    }

    /// Another address, https unless it stays on this machine.
    pub(in crate::outward) fn url_of(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key);
        self.address(key, text)
    }

    fn address(&mut self, key: &str, text: Option<String>) -> Option<Url> {
        let Some(text) = text else {
            self.problem(&format!("{key} is missing"));
            return None;
        };
        let url = Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        match url {
            Some(url) if url.scheme() == "https" || is_loopback(&url) => Some(url),
            Some(_) => {
                self.problem(&format!("{key} is not https"));
                None
            }
            None => {
                self.problem(&format!("{key} is not an absolute https URL"));
                None
            }
        }
    }

    /// The secret that stands in the variable which this key names; none where the key may be left out and is.
    pub(in crate::outward) fn secret(&mut self, key: &str, required: bool) -> Option<Secret> {
        let Some(variable) = self.text(key) else {
            if required {
                self.problem(&format!(
                    "{key} is missing: the name of the variable that holds the secret"
                ));
            }
            return None;
        };
        let secret = self.settings.followers.variables.get(&variable);
        let secret = secret.filter(|secret| !secret.expose().is_empty());
        if secret.is_none() {
            self.problem(&format!("the variable {variable} ({key}) is not set"));
        }
        secret.cloned()
    }
}
