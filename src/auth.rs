//! Who calls: members' JSON Web Tokens, verified with the organisation's own secret or public keys.
//!
//! The rules, in the order in which they are checked, each tagged where it is met:
//!
//! 1. The algorithm comes from the settings and the key; a token's header may only agree.
//! 2. No critical header parameters: we know none (RFC 7515, section 4.1.11).
//! 3. The signature is the key's.
//! 4. `exp` is there and not over; `nbf`, where it is there, has come; both with 30 seconds of leeway, on our clock.
//! 5. `iss` and `aud` are what the settings say.
//! 6. `sub` is there, not empty, at most 255 bytes.
//! 7. Where operators have a login of their own, what it signs for the client (an ID token) opens nothing.

mod claims;
mod jwks;

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

pub use self::jwks::FetchError;
use self::jwks::{Jwks, Lookup};
use crate::clock::Clock;
use crate::domain::actor::{Right, Role, Staff};
use crate::domain::ids::UserId;
use crate::settings::{Auth, AuthKey, Environment, Settings};

/// How far the issuer's clock may be off.
const LEEWAY_SECONDS: i64 = 30;
/// Longest subject, in bytes.
const SUBJECT_BYTES: usize = 255;
/// Longest token that is looked at, in bytes.
const TOKEN_BYTES: usize = 16 * 1024;

/// Who calls, as a verified token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The member: the token's `sub`.
    pub user: UserId,
    /// The operator's roles that the token names.
    pub roles: Vec<Role>,
    /// Who an operator is as a member: another login than the members' may call her otherwise, or not tell.
    pub member: Option<UserId>,
    /// Whether it names the role of other services.
    pub service: bool,
    /// The token's `email`, never stored; passed on to Stripe only by setting.
    pub email: Option<String>,
    /// The token's `name`, never stored.
    pub name: Option<String>,
}

impl Principal {
    /// Who acts, where one of the roles carries the right: by the least of them.
    pub fn staff(&self, right: Right) -> Option<Staff> {
        let role = { self.roles.iter().copied() }.find(|role| role.has(right))?;
        Some(Staff {
            user: self.user.clone(),
            role,
            member: self.member.clone(),
            may_all: self.roles.contains(&Role::Operator),
        })
    }
}

/// Why a caller is not known.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is to be refused.
    #[error(transparent)]
    Invalid(#[from] InvalidToken),
    /// The issuer's keys can't be had, so nobody can tell whether the token is good.
    #[error("the keys at auth.jwks_url are not available")]
    KeysUnavailable {
        /// Time until the keys are asked for again.
        retry_after: Duration,
        /// What was wrong with the last answer.
        #[source]
        source: Arc<FetchError>,
    },
}

/// Why a token is refused; the text is for the client's developer and holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum InvalidToken {
    #[error("The token is not a JWT.")]
    Malformed,
    #[error("The token is signed with an algorithm that its key is not for.")]
    Algorithm,
    #[error("The token needs an extension that is not known here.")]
    CriticalHeader,
    #[error("The token names a key that its issuer does not have.")]
    UnknownKey,
    #[error("The token's signature is wrong.")]
    Signature,
    #[error("The token has no expiry (exp).")]
    NoExpiry,
    #[error("The token has expired.")]
    Expired,
    #[error("The token is not valid yet (nbf).")]
    NotYet,
    #[error("The token is of another issuer (iss).")]
    Issuer,
    #[error("The token is for another audience (aud).")]
    Audience,
    #[error("The token has no usable subject (sub): 1 to 255 bytes.")]
    Subject,
    #[error("This is an ID token, which says who somebody is: send the access token.")]
    IdToken,
}

/// Why no development token can be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// In production the organisation's login signs tokens, and nothing else may.
    #[error(
        "tokens are only minted in development; in production the organisation's own login issues them"
    )]
    Production,
    /// With public keys the signing key is the issuer's.
    #[error(
        "tokens can only be minted with DUES__AUTH__HS256_SECRET; with DUES__AUTH__JWKS_URL the issuer has the key"
    )]
    NoSecret,
    /// The library refused.
    #[error("the token can't be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Verifies tokens by the settings.
pub struct Verifier {
    keys: Keys,
    clock: Clock,
    settings: Auth,
    /// Whether the issuer also signs ID tokens for the same people.
    refuses_id_tokens: bool,
}

enum Keys {
    Secret(DecodingKey),
    Jwks(Box<Jwks>),
}

impl Verifier {
    /// A verifier for the configured key; public keys are fetched when the first token comes.
    pub fn from_settings(settings: &Settings, clock: Clock) -> Result<Self, reqwest::Error> {
        Self::new(settings.auth.clone(), clock, false)
    }

    /// The one for operators, where they have a login of their own.
    pub fn for_staff(settings: &Settings, clock: Clock) -> Result<Option<Self>, reqwest::Error> {
        let login = settings.console.login.as_ref();
        let verifier = login.map(|login| Self::new(login.auth.clone(), clock, true));
        verifier.transpose()
    }

    fn new(settings: Auth, clock: Clock, refuses_id_tokens: bool) -> Result<Self, reqwest::Error> {
        let keys = match &settings.key {
            AuthKey::Hs256(secret) => {
                Keys::Secret(DecodingKey::from_secret(secret.expose().as_bytes()))
            }
            AuthKey::Jwks(url) => Keys::Jwks(Box::new(Jwks::new(url.clone())?)),
        };
        Ok(Self {
            keys,
            clock,
            settings,
            refuses_id_tokens,
        })
    }

    /// Who the bearer of this token is.
    pub async fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        if token.len() > TOKEN_BYTES {
            return Err(InvalidToken::Malformed.into());
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| InvalidToken::Malformed)?;
        // Rule 2.
        if header.crit.is_some() {
            return Err(InvalidToken::CriticalHeader.into());
        }
        let claims = match &self.keys {
            Keys::Secret(key) => decode(token, &header, key, Algorithm::HS256)?,
            Keys::Jwks(jwks) => match jwks.find(header.kid.as_deref()).await? {
                Lookup::Found(key) => decode(token, &header, &key.decoding, key.algorithm)?,
                Lookup::Unknown => return Err(InvalidToken::UnknownKey.into()),
            },
        };
        Ok(self.principal(&claims)?)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, InvalidToken> {
        // Rule 4.
        let now = self.clock.now().unix_timestamp();
        let expires = claims::seconds(claims, "exp")
            .map_err(|()| InvalidToken::NoExpiry)?
            .ok_or(InvalidToken::NoExpiry)?;
        if now >= expires.saturating_add(LEEWAY_SECONDS) {
            return Err(InvalidToken::Expired);
        }
        let not_before = claims::seconds(claims, "nbf").map_err(|()| InvalidToken::NotYet)?;
        if not_before.is_some_and(|from| now < from.saturating_sub(LEEWAY_SECONDS)) {
            return Err(InvalidToken::NotYet);
        }
        // Rule 5.
        if let Some(issuer) = &self.settings.issuer
            && claims::text(claims, "iss") != Some(issuer)
        {
            return Err(InvalidToken::Issuer);
        }
        if let Some(audience) = &self.settings.audience
            && !claims::list(claims.get("aud")).any(|entry| entry == audience)
        {
            return Err(InvalidToken::Audience);
        }
        // Rule 6.
        let subject = claims::text(claims, "sub")
            .filter(|subject| (1..=SUBJECT_BYTES).contains(&subject.len()))
            // Postgres can't store it, and no login issues it.
            .filter(|subject| !subject.contains('\0'))
            .ok_or(InvalidToken::Subject)?;
        // Rule 7: what only ID tokens carry (OpenID Connect Core, section 2), and Keycloak's own word for it.
        let only_there = ["nonce", "at_hash", "c_hash"];
        if self.refuses_id_tokens
            && (only_there.iter().any(|claim| claims.contains_key(*claim))
                || claims::text(claims, "typ") == Some("ID"))
        {
            return Err(InvalidToken::IdToken);
        }
        let roles = claims::at_path(claims, &self.settings.roles_claim);
        let names = |wanted: &str| claims::list(roles).any(|role| role == wanted);
        let member = match (&self.settings.member_claim, self.refuses_id_tokens) {
            (Some(claim), _) => claims::at_path(claims, claim).and_then(Value::as_str),
            (None, true) => None,
            (None, false) => Some(subject),
        };
        Ok(Principal {
            member: member.map(UserId::new),
            user: UserId::new(subject),
            roles: { Role::ALL.into_iter() }
                .filter(|role| names(name_of(*role, &self.settings)))
                .collect(),
            service: names(&self.settings.service_role),
            // One that the login has not verified may be anybody's.
            email: claims::text(claims, "email")
                .filter(|_| !claims::is_denied(claims, "email_verified"))
                .map(str::to_owned),
            name: claims::text(claims, "name")
                .filter(|name| !name.trim().is_empty())
                .map(str::to_owned),
        })
    }
}

/// What the organisation calls a role.
fn name_of(role: Role, settings: &Auth) -> &str {
    match role {
        Role::Reader => &settings.reader_role,
        Role::Support => &settings.support_role,
        Role::Treasurer => &settings.treasurer_role,
        Role::Operator => &settings.operator_role,
    }
}

/// Rules 1 and 3. The claims are judged by us, on our clock: the library would ask the machine's.
fn decode(
    token: &str,
    header: &Header,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Map<String, Value>, InvalidToken> {
    if header.alg != algorithm {
        return Err(InvalidToken::Algorithm);
    }
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode(token, key, &validation)
        .map(|token| token.claims)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => InvalidToken::Signature,
            jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => InvalidToken::Algorithm,
            _ => InvalidToken::Malformed,
        })
}

/// A token for development, signed with the HS256 secret and with the configured issuer and audience.
pub fn mint_development_token(
    settings: &Settings,
    clock: &Clock,
    user: &str,
    roles: &[String],
    lifetime: Duration,
) -> Result<String, MintError> {
    if settings.environment == Environment::Production {
        return Err(MintError::Production);
    }
    let AuthKey::Hs256(secret) = &settings.auth.key else {
        return Err(MintError::NoSecret);
    };
    let now = clock.now().unix_timestamp();
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), user.into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(lifetime).into());
    if let Some(issuer) = &settings.auth.issuer {
        claims.insert("iss".to_owned(), issuer.as_str().into());
    }
    if let Some(audience) = &settings.auth.audience {
        claims.insert("aud".to_owned(), audience.as_str().into());
    }
    if !roles.is_empty() {
        claims::insert_at_path(&mut claims, &settings.auth.roles_claim, roles.into());
    }
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &key,
    )?)
}
