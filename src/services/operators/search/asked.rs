//! What somebody has pasted into the one box, told by its shape.

use uuid::Uuid;

use crate::stripe::requests::tracing::Named;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Something of Stripe's.
    Stripes(Named, String),
    /// A mail address.
    Email(String),
    /// An id of ours, of a member or of another system, or else what somebody is called.
    Text(Option<Uuid>, String),
    /// Nothing that could be looked for.
    Nothing,
}

/// What stands around an id where it was copied from.
const AROUND: &[char] = &[
    '"', '\'', '`', '“', '”', '„', '‘', '’', '«', '»', '<', '>', '(', ')', '[', ']', ',', ';',
];

impl Asked {
    /// What a text asks for.
    pub(super) fn of(text: &str) -> Self {
        let trimmed = trim(text);
        if let Some(inside) = from_address(trimmed) {
            return inside;
        }
        Self::plain(trimmed)
    }

    fn plain(text: &str) -> Self {
        if let Some(named) = Named::by(text) {
            return Self::Stripes(named, text.to_owned());
        }
        let is_email = |text: &str| {
            let (before, after) = text.split_once('@').unwrap_or_default();
            !before.is_empty() && !after.is_empty() && !text.contains(char::is_whitespace)
        };
        if is_email(text) {
            return Self::Email(text.to_owned());
        }
        if text.is_empty() || text.contains('\0') {
            return Self::Nothing;
        }
        Self::Text(text.parse().ok(), text.to_owned())
    }
}

fn trim(text: &str) -> &str {
    let is_around = |letter: char| letter.is_whitespace() || AROUND.contains(&letter);
    text.trim_matches(is_around).trim_end_matches('.')
}

/// What the address of a page names: of Stripe's Dashboard, or of our own console; none if the text is no address.
fn from_address(text: &str) -> Option<Asked> {
    let url = match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        _ if text.starts_with("dashboard.stripe.com/") => {
            url::Url::parse(&format!("https://{text}")).ok()?
        }
        _ => return None,
    };
    let path: Vec<String> = url.path_segments()?.map(decoded).collect();
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    // What a page is about stands last; what a page asks for, beside it.
    let mut parts = path.iter().rev().cloned().chain(values);
    let id = parts.find(|part| Named::by(part).is_some() || part.parse::<Uuid>().is_ok());
    // Her id may hold anything: on the console's page it is a value, on others a part of the path.
    let member = || {
        if let [.., console, page] = path.as_slice()
            && (console.as_str(), page.as_str()) == ("console", "member")
        {
            let mut asked = url.query_pairs().filter(|(name, _)| name == "id");
            return asked.next().map(|(_, user)| user.into_owned());
        }
        let at = path.iter().position(|part| part == "members")?;
        path.get(at + 1).cloned()
    };
    match member() {
        Some(user) if !user.is_empty() => Some(Asked::Text(user.parse().ok(), user)),
        _ => Some(id.map_or(Asked::Nothing, |id| Asked::plain(&id))),
    }
}

/// A part of a path without its percent signs; what means something else in a form is none of its own.
fn decoded(part: &str) -> String {
    let part = part
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    let mut pairs = url::form_urlencoded::parse(part.as_bytes());
    pairs
        .next()
        .map(|(text, _)| text.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripes(named: Named, id: &str) -> Asked {
        Asked::Stripes(named, id.to_owned())
    }

    #[test]
    fn an_id_is_told_by_its_shape_whatever_stands_around_it() {
        for text in [
            "sub_1Ab",
            " sub_1Ab\n",
            "\"sub_1Ab\"",
            "„sub_1Ab“",
            "<sub_1Ab>,",
        ] {
            assert_eq!(Asked::of(text), stripes(Named::Subscription, "sub_1Ab"));
        }
        for (text, named) in [
            ("cus_1", Named::Customer),
            ("cs_test_a1", Named::Session),
            ("pi_1", Named::Payment),
            ("in_1", Named::Invoice),
            ("ch_1", Named::Charge),
            ("py_1", Named::Charge),
            ("re_1", Named::Refund),
            ("du_1", Named::Dispute),
            ("dp_1", Named::Dispute),
            ("evt_1", Named::Event),
        ] {
            assert_eq!(Asked::of(text), stripes(named, text));
        }
        let uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(
            Asked::of(uuid),
            Asked::Text(uuid.parse().ok(), uuid.to_owned())
        );
    }

    #[test]
    fn the_address_of_a_page_leads_to_what_it_shows() {
        for (text, named, id) in [
            (
                "https://dashboard.stripe.com/test/subscriptions/sub_1",
                Named::Subscription,
                "sub_1",
            ),
            (
                "dashboard.stripe.com/acct_9/test/payments/pi_1",
                Named::Payment,
                "pi_1",
            ),
            (
                "https://dashboard.stripe.com/customers/cus_1?tab=x",
                Named::Customer,
                "cus_1",
            ),
            (
                "https://dues.example.org/checkout/success?session_id=cs_test_1",
                Named::Session,
                "cs_test_1",
            ),
        ] {
            assert_eq!(Asked::of(text), stripes(named, id), "{text}");
        }
        assert_eq!(
            Asked::of("https://dues.example.org/console/members/auth0%7Cada"),
            Asked::Text(None, "auth0|ada".to_owned())
        );
        assert_eq!(
            Asked::of("https://dues.example.org/console/member?id=auth0%7Cada+b%2Fc"),
            Asked::Text(None, "auth0|ada b/c".to_owned())
        );
        assert_eq!(Asked::of("https://example.org/"), Asked::Nothing);
    }

    #[test]
    fn what_is_no_id_is_an_address_or_a_text() {
        assert_eq!(
            Asked::of(" Ada@Example.org "),
            Asked::Email("Ada@Example.org".to_owned())
        );
        for text in [
            "Ada Lovelace",
            "alice",
            "sub_",
            "sub_a b",
            "xyz_1",
            "a @ b",
            "pi_1/../x",
        ] {
            assert_eq!(
                Asked::of(text),
                Asked::Text(None, text.to_owned()),
                "{text}"
            );
        }
        for text in ["", " \"\" ", "a\0b"] {
            assert_eq!(Asked::of(text), Asked::Nothing, "{text:?}");
        }
    }
}
