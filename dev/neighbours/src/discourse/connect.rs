//! `DiscourseConnect`: the signed payload, and what follows from it (`discourse_connect.rb`, `discourse_connect_base.rb`).

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::answer::{Answer, Content, Outcome};
use super::call::Call;
use super::users;
use super::world::{SYSTEM, User, World};

/// Ruby's `decode64` doesn't insist on what stands at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);
const BANNED: [&str; 4] = ["none", "nil", "blank", "null"];

/// The fields of a payload, by name.
#[derive(Debug, Default)]
pub(super) struct Payload(pub BTreeMap<String, String>);

/// Why a payload has no effect.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// There is no id.
    #[error("The `external_id` is required but was blank")]
    BlankId,
    /// The id is one that a bug makes of a missing one.
    #[error("this external id is banned")]
    BannedId,
    /// The account would not be valid.
    #[error("Validation failed: {0}")]
    Invalid(&'static str),
}

/// The lower hexadecimal HMAC-SHA256 of a text.
pub(super) fn sign(secret: &str, text: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, text);
    tag.as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// `POST /admin/users/sync_sso`.
pub(super) fn sync(world: &mut World, call: &Call) -> Outcome {
    let Some(secret) = &world.settings.connect_secret else {
        return Err(Answer::new(404, Content::Nothing));
    };
    let payload = Payload::open(secret, &call.text("sso"), &call.text("sig"));
    let payload = payload.ok_or_else(|| Answer::failed(422, "Login Error"))?;
    let (id, _) = apply(world, &payload).map_err(|refused| match refused {
        Refused::BlankId => Answer::failed(422, &refused.to_string()),
        // The controller rescues the other two only.
        Refused::BannedId => Answer::exception(),
        Refused::Invalid(_) => Answer::failed(403, &refused.to_string()),
    })?;
    let user = world.users.get(&id).ok_or_else(Answer::not_found)?;
    Ok(users::admin_view(world, user))
}

impl Payload {
    /// Reads a payload whose signature is right. The parameters are decoded already and are put into a query string once
    /// more, so that a `+` of the Base64 text becomes a space and isn't Base64 any more: it takes a `~` at every third
    /// place to get one, which form encoders write as `%7E`, and others as it is.
    fn open(secret: &str, sso: &str, sig: &str) -> Option<Self> {
        let query = format!("sso={sso}&sig={sig}");
        let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let sso = query.get("sso")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"=\r\n/+".contains(&byte);
        if !sso.bytes().all(fits) || query.get("sig")? != sign(secret, sso.as_bytes()).as_str() {
            return None;
        }
        let text = sso.split('=').next().unwrap_or_default();
        let mut text: Vec<u8> = text
            .bytes()
            .filter(|byte| !b"\r\n".contains(byte))
            .collect();
        if text.len() % 4 == 1 {
            text.pop();
        }
        let decoded = LENIENT.decode(text).ok()?;
        let fields = url::form_urlencoded::parse(&decoded).into_owned();
        Some(Self(fields.collect()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that is more than spaces.
    fn present(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.trim().is_empty())
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(|value| value.parse().ok())
    }

    /// The names in a list, in lower case. Nothing is trimmed: " b" of "a, b" is no group's name.
    fn names(&self, field: &str) -> Vec<String> {
        let list = self.get(field).unwrap_or_default();
        list.split(',').map(str::to_lowercase).collect()
    }
}

/// Finds or creates the user of a payload and makes her what it says; true where she is new.
pub(super) fn apply(world: &mut World, payload: &Payload) -> Result<(i64, bool), Refused> {
    let external_id = payload.present("external_id").ok_or(Refused::BlankId)?;
    if BANNED.contains(&external_id.to_lowercase().as_str()) {
        return Err(Refused::BannedId);
    }
    let (id, is_new) = match world.user_of_external_id(external_id) {
        Some(user) => (user.id, false),
        None => match_or_create(world, payload, external_id)?,
    };
    override_attributes(world, payload, id)?;
    apply_group_rules(world, payload, id);
    Ok((id, is_new))
}

/// Who has the address gets the id, also when she had another one before: whoever may send a payload may take over any
/// account with an address, unless `require_activation` is sent.
fn match_or_create(
    world: &mut World,
    payload: &Payload,
    external_id: &str,
) -> Result<(i64, bool), Refused> {
    let email = payload.present("email");
    let holder = email.and_then(|email| world.user_of_email(email));
    let holder = holder.map(|user| user.id);
    let require_activation = payload.flag("require_activation") == Some(true);
    if let Some(id) = holder.filter(|_| !require_activation) {
        if let Some(user) = world.users.get_mut(&id) {
            user.external_id = Some(external_id.to_owned());
        }
        return Ok((id, false));
    }
    let email = valid_email(world, email, None)?;
    let id = world.add_user(User {
        username: suggest(world, payload.get("username").unwrap_or_default()),
        name: payload.present("name").map(str::to_owned),
        email: Some(email),
        external_id: Some(external_id.to_owned()),
        active: !require_activation,
        ..User::default()
    });
    Ok((id, true))
}

/// An address that a user may have.
fn valid_email(world: &World, email: Option<&str>, of: Option<i64>) -> Result<String, Refused> {
    let email = email.ok_or(Refused::Invalid("Primary email can't be blank"))?;
    let parts = email.split_once('@');
    let is_address = parts.is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !email.contains(char::is_whitespace)
    });
    if !is_address {
        return Err(Refused::Invalid("Primary email is invalid."));
    }
    match world.user_of_email(email) {
        Some(user) if Some(user.id) != of => {
            Err(Refused::Invalid("Primary email has already been taken"))
        }
        _ => Ok(email.to_lowercase()),
    }
}

/// A name that is free, made of the wanted one.
fn suggest(world: &World, wanted: &str) -> String {
    let allowed = |symbol: char| symbol.is_ascii_alphanumeric() || "_.-".contains(symbol);
    let wanted = wanted.chars().take(20);
    let wanted: String = wanted
        .map(|symbol| if allowed(symbol) { symbol } else { '_' })
        .collect();
    let wanted = wanted.trim_matches(|symbol: char| !symbol.is_ascii_alphanumeric());
    let wanted = if wanted.is_empty() { "user" } else { wanted };
    let numbered = (1_u64..).map(|number| format!("{wanted}{number}"));
    let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
    names.find(|name| !world.is_taken(name)).unwrap_or_default()
}

fn override_attributes(world: &mut World, payload: &Payload, id: i64) -> Result<(), Refused> {
    let require_activation = payload.flag("require_activation") == Some(true);
    let email = payload.present("email");
    let email = match email.filter(|_| world.settings.overrides_email) {
        Some(email) => Some(valid_email(world, Some(email), Some(id))?),
        None => None,
    };
    let Some(user) = world.users.get_mut(&id) else {
        return Ok(());
    };
    if let Some(email) = email.filter(|email| user.email.as_ref() != Some(email)) {
        user.email = Some(email);
        user.active &= !require_activation;
    }
    user.active |= !require_activation;
    if let Some(admin) = payload.flag("admin") {
        user.admin = admin;
        let added_at = user.created_at.clone();
        for group in world.groups.values_mut() {
            let staff = group.automatic && ["admins", "staff"].contains(&group.name.as_str());
            if staff && admin {
                group.members.insert(id, added_at.clone());
            } else if staff {
                group.members.remove(&id);
            }
        }
    }
    Ok(())
}

/// Automatic groups stay out of it, unknown names have no effect, and who is in both lists is out in the end.
fn apply_group_rules(world: &mut World, payload: &Payload, user: i64) {
    let own = world.groups.values().filter(|group| !group.automatic);
    let own: Vec<(i64, String)> = own
        .map(|group| (group.id, group.name.to_lowercase()))
        .collect();
    let (added, removed, complete) = if world.settings.overrides_groups {
        (payload.names("groups"), Vec::new(), true)
    } else {
        let (added, removed) = (payload.names("add_groups"), payload.names("remove_groups"));
        (added, removed, false)
    };
    for (group, name) in own {
        let stays = added.contains(&name);
        if stays {
            world.join(group, user, SYSTEM);
        }
        if removed.contains(&name) || (complete && !stays) {
            world.part(group, user, SYSTEM);
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::super::Options;
    use super::{Payload, Refused, User, World, apply, sign};

    /// A forum with two groups and two users, whose external ids are `sub-ada` and `sub-bob`.
    fn world(overrides_groups: bool) -> World {
        let mut world = World::new(&Options {
            overrides_groups,
            ..Options::default()
        });
        world.add_group("members");
        world.add_group("writers");
        for name in ["ada", "bob"] {
            world.add_user(User {
                username: name.to_owned(),
                email: Some(format!("{name}@example.org")),
                external_id: Some(format!("sub-{name}")),
                ..User::default()
            });
        }
        world
    }

    fn sent(world: &mut World, fields: &[(&str, &str)]) -> Result<(i64, bool), Refused> {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        apply(world, &Payload(fields.collect()))
    }

    /// The groups of a user that aren't automatic.
    fn groups(world: &World, user: i64) -> Vec<&str> {
        let groups = world.groups_of(user).filter(|group| !group.automatic);
        groups.map(|group| group.name.as_str()).collect()
    }

    #[test]
    fn added_and_removed_in_one_payload_is_removed() {
        let mut world = world(false);
        let fields = [
            ("external_id", "sub-ada"),
            ("add_groups", "Members,writers,STAFF"),
            ("remove_groups", "writers"),
        ];
        assert_eq!(sent(&mut world, &fields), Ok((1, false)));
        assert_eq!(groups(&world, 1), ["members"]);
        assert!(
            world
                .group_named("staff")
                .is_some_and(|staff| staff.members.is_empty())
        );
    }

    #[test]
    fn a_name_after_a_space_is_no_group() {
        let mut world = world(false);
        let fields = [
            ("external_id", "sub-ada"),
            ("add_groups", "members, writers"),
        ];
        assert_eq!(sent(&mut world, &fields), Ok((1, false)));
        assert_eq!(groups(&world, 1), ["members"]);
    }

    #[test]
    fn where_groups_are_overridden_a_partial_payload_strips_them() {
        let mut world = world(true);
        let complete = [("external_id", "sub-ada"), ("groups", "Members,writers")];
        assert_eq!(sent(&mut world, &complete), Ok((1, false)));
        assert_eq!(groups(&world, 1), ["members", "writers"]);
        let partial = [("external_id", "sub-ada"), ("add_groups", "members")];
        assert_eq!(sent(&mut world, &partial), Ok((1, false)));
        assert!(groups(&world, 1).is_empty());
    }

    #[test]
    fn an_address_creates_an_account_or_takes_one_over() {
        let mut world = world(false);
        let new = [
            ("external_id", "sub-new"),
            ("email", "new@example.org"),
            ("username", "Ada"),
        ];
        assert_eq!(sent(&mut world, &new), Ok((3, true)));
        assert!(world.user_named("Ada1").is_some());
        let taken = [("external_id", "sub-other"), ("email", "Bob@example.org")];
        assert_eq!(sent(&mut world, &taken), Ok((2, false)));
        assert!(world.user_of_external_id("sub-bob").is_none());
        let safe = [
            ("external_id", "x"),
            ("email", "ada@example.org"),
            ("require_activation", "true"),
        ];
        let refused = Refused::Invalid("Primary email has already been taken");
        assert_eq!(sent(&mut world, &safe), Err(refused));
    }

    #[test]
    fn a_known_address_is_replaced_only_by_setting() {
        let mut world = world(false);
        let moved = [("external_id", "sub-ada"), ("email", "ada@example.net")];
        assert_eq!(sent(&mut world, &moved), Ok((1, false)));
        assert!(world.user_of_email("ada@example.org").is_some());
        world.settings.overrides_email = true;
        assert_eq!(sent(&mut world, &moved), Ok((1, false)));
        assert!(world.user_of_email("ada@example.org").is_none());
    }

    #[test]
    fn the_signature_is_that_of_discourse_meta() {
        // The example of <https://meta.discourse.org/t/13045>.
        let secret = "d836444a9e4084d5b224a60c208dce14";
        let payload = "bm9uY2U9Y2I2ODI1MWVlZmI1MjExZTU4YzAwZmYxMzk1ZjBjMGI=\n";
        let payload_signed = sign(secret, payload.as_bytes());
        assert_eq!(
            payload_signed,
            "2828aa29899722b35a2f191d34ef9b3ce695e0e6eeec47deb46d588d70c7cb56"
        );
    }

    #[test]
    fn a_plus_in_the_base64_text_is_not_understood() {
        let open = |text: &str| {
            let sso = BASE64_STANDARD.encode(text);
            let sig = sign("secret", sso.as_bytes());
            (
                sso.contains('+'),
                Payload::open("secret", &sso, &sig).is_some(),
            )
        };
        assert_eq!(open("external_id=ab~"), (true, false));
        assert_eq!(open("external_id=ab%7E"), (false, true));
    }
}
