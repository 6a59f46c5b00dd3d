//! The calls that a forum is made, and what its answers mean. <https://docs.discourse.org>; what surprises is told where it
//! is dealt with.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::answer::{Account, Answer, Group, Listed, SiteSettings, read};
use super::config::Config;
use super::pace::Pace;
use crate::clock::Clock;
use crate::outward::followers::receiver::{Failure, client};

/// Members of a group that are listed by one call: Discourse's most.
pub(super) const MEMBERS: usize = 1_000;

/// A forum, called at its pace.
pub(super) struct Client {
    config: Config,
    http: reqwest::Client,
    pace: Arc<Pace>,
}

/// Fields as a form has them.
fn form<'a>(fields: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

/// The digits of some bytes, as signatures have them.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.collect()
}

fn key_refused() -> Failure {
    Failure::away(
        "answered 403: the key is wrong, or may not do this; it must be a global one of an administrator",
    )
}

fn unreadable(what: &str) -> Failure {
    Failure::refused(format!("answered 200 with something that is not {what}"))
}

impl Client {
    pub(super) fn new(config: Config, clock: Clock) -> Result<Self, reqwest::Error> {
        Ok(Self {
            config,
            http: client()?,
            pace: Arc::new(Pace::new(clock)),
        })
    }

    /// Keeps to the pace of the one before: what that has called counts.
    pub(super) fn go_on_from(&mut self, before: &Self) {
        self.pace = Arc::clone(&before.pace);
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// A request to a path below the forum's address. Without `.json` a reader may be given a page for browsers.
    fn request(&self, method: Method, path: &[&str], query: &str) -> RequestBuilder {
        let mut url = self.config.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url.set_path(&format!("{}.json", url.path()));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        self.http
            .request(method, url)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header("Api-Key", self.config.api_key.clone())
            .header("Api-Username", self.config.api_username.clone())
    }

    async fn get(&self, path: &[&str], query: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path, query)).await
    }

    async fn change(
        &self,
        method: Method,
        path: &[&str],
        fields: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = self.request(method, path, "");
        let request = request.header(CONTENT_TYPE, form_type);
        self.send(request.body(form(fields))).await
    }

    /// Waits for its turn and sends. What is answered with 400, 403, 404 or 422 is the caller's to judge.
    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        self.pace.turn().await;
        let response = request.send().await;
        let response = response.map_err(|error| Failure::of_error(&error))?;
        let status = response.status();
        let judged = [
            StatusCode::BAD_REQUEST,
            StatusCode::FORBIDDEN,
            StatusCode::NOT_FOUND,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        if !judged.contains(&status)
            && let Some(failure) = Failure::of_status(&response)
        {
            return Err(failure);
        }
        let body = read(response).await?;
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) if !status.is_success() => Value::Null,
            Err(_) => return Err(unreadable("JSON")),
        };
        Ok(Answer { status, body })
    }

    /// Has a member in some groups and not in others, by the id that the forum's login knows her by; none where the forum
    /// does not know her. Nothing else of hers is sent, so that no account can come into being or change hands.
    pub(super) async fn sync(
        &self,
        secret: &str,
        member: &str,
        add: &str,
        remove: &str,
    ) -> Result<Option<Account>, Failure> {
        // Discourse knows no empty ids, and none that a bug makes of a missing one.
        let banned = ["none", "nil", "blank", "null"];
        if member.trim().is_empty() || banned.contains(&member.to_lowercase().as_str()) {
            return Err(Failure::Refused {
                why: "Discourse knows nobody by such an id".to_owned(),
                is_hers: true,
            });
        }
        let fields = [
            ("external_id", member),
            ("add_groups", add),
            ("remove_groups", remove),
            // Else an account that staff has switched off would be switched on and welcomed, and one without an id taken by
            // its e-mail.
            ("require_activation", "true"),
            ("suppress_welcome_message", "true"),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let sso = STANDARD.encode(form(fields));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let sig = hex(hmac::sign(&key, sso.as_bytes()).as_ref());
        let path = ["admin", "users", "sync_sso"];
        let form = [("sso", sso.as_str()), ("sig", sig.as_str())];
        let answer = self.change(Method::POST, &path, &form).await?;
        match answer.status {
            // Of a key that is refused it says `error_type`; of an account that can't be made, `failed`: it lacks an
            // address. So she is not there.
            StatusCode::FORBIDDEN if answer.body["failed"].is_string() => Ok(None),
            StatusCode::FORBIDDEN => Err(key_refused()),
            StatusCode::NOT_FOUND => Err(Failure::away(
                "answered 404: DiscourseConnect is off, or the key is no administrator's",
            )),
            StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::away(
                "answered 422: secret_env is not the forum's discourse_connect_secret",
            )),
            StatusCode::BAD_REQUEST => Err(Failure::refused("answered 400")),
            _ => match Account::read(&answer.body) {
                Some(account) => Ok(Some(account)),
                None => Err(unreadable("a user")),
            },
        }
    }

    /// The account of a member; none where the forum does not know her.
    pub(super) async fn account(&self, member: &str) -> Result<Option<Account>, Failure> {
        let answer = self.get(&["u", "by-external", member], "").await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Ok(None),
            StatusCode::FORBIDDEN => Err(key_refused()),
            StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::refused("answered 422")),
            _ => match Account::read(&answer.body["user"]) {
                Some(account) => Ok(Some(account)),
                None => Err(unreadable("a user")),
            },
        }
    }

    /// Whose an account is; none where the login knows nothing of it, or it is gone.
    pub(super) async fn member(&self, account: i64) -> Result<Option<String>, Failure> {
        let id = account.to_string();
        let answer = self.get(&["admin", "users", &id], "").await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::FORBIDDEN => Err(key_refused()),
            status if !status.is_success() => Err(Failure::refused(answered(status))),
            _ if answer.body["id"].as_i64() != Some(account) => Err(unreadable("that user")),
            _ => {
                let member = answer.body["single_sign_on_record"]["external_id"].as_str();
                Ok(member.map(str::to_owned))
            }
        }
    }

    /// A group by its name, in any case; none where there is none.
    pub(super) async fn group(&self, name: &str) -> Result<Option<Group>, Failure> {
        let answer = self.get(&["groups", name], "").await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::FORBIDDEN => Err(key_refused()),
            status if !status.is_success() => Err(Failure::refused(answered(status))),
            _ => {
                let group = &answer.body["group"];
                let id = group["id"].as_i64().ok_or_else(|| unreadable("a group"))?;
                Ok(Some(Group {
                    id,
                    automatic: group["automatic"] == true,
                }))
            }
        }
    }

    /// A page of a group's members.
    pub(super) async fn members(&self, group: &str, offset: usize) -> Result<Listed, Failure> {
        // Without `asc` they come from Z to A, and whoever joins meanwhile moves the pages.
        let query = format!("limit={MEMBERS}&offset={offset}&asc=true");
        let answer = self.get(&["groups", group, "members"], &query).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(gone(group)),
            StatusCode::FORBIDDEN => Err(key_refused()),
            status if !status.is_success() => Err(Failure::refused(answered(status))),
            _ => {
                let total = answer.body["meta"]["total"].as_u64();
                let members = answer.body["members"].as_array();
                let (Some(total), Some(members)) = (total, members) else {
                    return Err(unreadable("a list of members"));
                };
                let ids = |of: &[Value]| {
                    let ids = of.iter().filter_map(|member| member["id"].as_i64());
                    ids.take(MEMBERS).collect()
                };
                let owners = answer.body["owners"].as_array();
                Ok(Listed {
                    total: usize::try_from(total).unwrap_or(usize::MAX),
                    members: ids(members),
                    owners: owners.map(|owners| ids(owners)).unwrap_or_default(),
                })
            }
        }
    }

    /// Adds accounts to a group, at most a thousand; whether the forum knows them all.
    pub(super) async fn add(&self, group: (i64, &str), accounts: &[i64]) -> Result<bool, Failure> {
        let answer = self.of_members(Method::PUT, group, accounts).await?;
        match answer.status {
            // They are all in already.
            StatusCode::UNPROCESSABLE_ENTITY => Ok(true),
            StatusCode::BAD_REQUEST => Ok(false),
            _ => {
                let found = answer.body["usernames"].as_array();
                let found = found.ok_or_else(|| unreadable("a list of names"))?;
                Ok(found.len() >= accounts.len())
            }
        }
    }

    /// Removes accounts from a group, at most a thousand. Whoever was not in it stays out.
    pub(super) async fn remove(&self, group: (i64, &str), accounts: &[i64]) -> Result<(), Failure> {
        let answer = self.of_members(Method::DELETE, group, accounts).await?;
        match answer.status {
            // There is no such account any more.
            StatusCode::BAD_REQUEST => Ok(()),
            StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::refused("answered 422")),
            _ if answer.body["usernames"].is_array() => Ok(()),
            _ => Err(unreadable("a list of names")),
        }
    }

    /// A change of a group, by its id: a name in its place would be read as another group.
    async fn of_members(
        &self,
        method: Method,
        (group, name): (i64, &str),
        accounts: &[i64],
    ) -> Result<Answer, Failure> {
        let ids: Vec<String> = accounts.iter().map(i64::to_string).collect();
        let id = group.to_string();
        let form = [("user_ids", ids.join(","))];
        let form = form.each_ref().map(|(field, ids)| (*field, ids.as_str()));
        let path = ["groups", &id, "members"];
        let answer = self.change(method, &path, &form).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(gone(name)),
            StatusCode::FORBIDDEN => Err(key_refused()),
            _ => Ok(answer),
        }
    }

    /// The settings that decide whether groups can be changed from outside.
    pub(super) async fn site_settings(&self) -> Result<SiteSettings, Failure> {
        const CONNECT: &str = "enable_discourse_connect";
        const OVERRIDES: &str = "discourse_connect_overrides_groups";
        // A forum that does not know the filter tells all of them.
        let query = form(&[CONNECT, OVERRIDES].map(|name| ("filter_names[]", name)));
        let answer = self.get(&["admin", "site_settings"], &query).await?;
        match answer.status {
            StatusCode::FORBIDDEN => return Err(key_refused()),
            // Whatever is an administrator's is hidden from others.
            StatusCode::NOT_FOUND => {
                return Err(Failure::away(
                    "answered 404: the key acts as somebody who is no administrator",
                ));
            }
            status if !status.is_success() => return Err(Failure::refused(answered(status))),
            _ => {}
        }
        let settings = answer.body["site_settings"].as_array();
        let settings = settings.ok_or_else(|| unreadable("a list of settings"))?;
        let value = |name: &str| {
            let setting = settings.iter().find(|setting| setting["setting"] == name)?;
            let value = &setting["value"];
            value.as_bool().or_else(|| value.as_str()?.parse().ok())
        };
        Ok(SiteSettings {
            connect: value(CONNECT),
            overrides_groups: value(OVERRIDES),
        })
    }
}

fn answered(status: StatusCode) -> String {
    format!("answered {}", status.as_u16())
}

/// What is to be said of a group that is not there.
pub(super) fn gone(group: &str) -> Failure {
    Failure::away(no_group(group))
}

pub(super) fn no_group(group: &str) -> String {
    format!("there is no group \"{group}\" at the forum: was it renamed?")
}
