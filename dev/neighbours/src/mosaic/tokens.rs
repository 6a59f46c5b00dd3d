//! Access tokens: signed by one of two issuers, read back with every call, expired on demand.

use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::world::{Refusal, World, new_id, now};
use super::{APPLICATION_ID, ENVIRONMENT_ID, SERVICE_ISSUER, TENANT_ID, USER_ISSUER};

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Issuer {
    /// The identity service, for service accounts.
    Id,
    /// The user service, for members.
    User,
}

/// Who calls, by her token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// User id of a member; nothing for a service account.
    pub user: Option<String>,
    pub email: Option<String>,
    pub name: String,
    /// What a service account may do at the Billing Service.
    pub permissions: Vec<String>,
}

struct Signer {
    key: KeyPair,
    kid: String,
}

impl Signer {
    fn generate() -> Option<Self> {
        let key = KeyPair::generate(KeySize::Rsa2048).ok()?;
        let hash = digest(
            &SHA256,
            key.public_key().modulus().big_endian_without_leading_zero(),
        );
        let kid = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..16)?);
        Some(Self { key, kid })
    }

    fn public(&self) -> PublicKeyComponents<Vec<u8>> {
        let key = self.key.public_key();
        PublicKeyComponents {
            n: key.modulus().big_endian_without_leading_zero().to_vec(),
            e: key.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }
}

/// The key of an issuer: made once a process, because that costs more than all else here.
fn signer(issuer: Issuer) -> Option<&'static Signer> {
    static KEYS: [OnceLock<Option<Signer>>; 2] = [OnceLock::new(), OnceLock::new()];
    let [id, user] = &KEYS;
    let key = match issuer {
        Issuer::Id => id,
        Issuer::User => user,
    };
    key.get_or_init(Signer::generate).as_ref()
}

/// The issuer's key set.
pub(super) fn jwks(issuer: Issuer) -> Value {
    let keys = signer(issuer).map(|signer| {
        let public = signer.public();
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": signer.kid,
            "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e),
        })
    });
    json!({"keys": keys.into_iter().collect::<Vec<_>>()})
}

fn sign(issuer: Issuer, claims: &Value) -> Option<String> {
    let signer = signer(issuer)?;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": signer.kid});
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let content = format!("{}.{}", encode(&header), encode(claims));
    let mut signature = vec![0; signer.key.public_modulus_len()];
    let (random, text) = (SystemRandom::new(), content.as_bytes());
    signer
        .key
        .sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
        .ok()?;
    Some(format!("{content}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn number(world: &mut World) -> String {
    world.next_token += 1;
    (world.next_token - 1).to_string()
}

/// A token for the service account.
pub(super) fn for_service(
    world: &mut World,
    client_id: &str,
    permissions: &[String],
    lifetime: Duration,
) -> Option<String> {
    let issued = now();
    let claims = json!({
        "iat": issued.unix_timestamp(), "exp": (issued + lifetime).unix_timestamp(),
        "iss": SERVICE_ISSUER, "sub": client_id, "aud": "*", "jti": number(world),
        "tenantId": TENANT_ID, "environmentId": ENVIRONMENT_ID, "subjectType": "ServiceAccount",
        "permissions": {"ax-billing-service": permissions},
    });
    sign(Issuer::Id, &claims)
}

/// Whom a member's token is about.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub sub: String,
    pub email: Option<String>,
    pub name: Option<String>,
    /// Seconds; negative for a token that has expired already.
    pub expires_in: Option<i32>,
}

/// A token for a member.
pub(super) fn for_member(world: &mut World, member: &Member) -> Option<String> {
    let issued = now().unix_timestamp();
    let mut claims = json!({
        "iat": issued, "exp": issued + i64::from(member.expires_in.unwrap_or(3600)),
        "iss": USER_ISSUER, "sub": member.sub, "aud": "*", "jti": number(world),
        "name": member.name.as_deref().unwrap_or("A Member"),
        "tenantId": TENANT_ID, "environmentId": ENVIRONMENT_ID, "applicationId": APPLICATION_ID,
        "subjectType": "EndUserAccount", "sessionId": new_id(), "profileId": member.sub, "extensions": {},
    });
    if let Some(email) = &member.email {
        claims["email"] = email.as_str().into();
    }
    sign(Issuer::User, &claims)
}

/// Who calls, by the `Authorization` header.
pub(super) fn read(world: &World, issuer: Issuer, header: Option<&str>) -> Result<Caller, Refusal> {
    let Some(header) = header.filter(|header| !header.is_empty()) else {
        return Err(Refusal::new(
            "ACCESS_TOKEN_REQUIRED",
            "Access token is required.",
        ));
    };
    let Some(token) = header.strip_prefix("Bearer ") else {
        let message = "The authorization header must be 'Bearer' and the token.";
        return Err(Refusal::new("MALFORMED_TOKEN", message));
    };
    let claims = verify(issuer, token)?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let wanted = match issuer {
        Issuer::Id => (SERVICE_ISSUER, "ServiceAccount"),
        Issuer::User => (USER_ISSUER, "EndUserAccount"),
    };
    if (text("iss"), text("subjectType")) != (Some(wanted.0), Some(wanted.1)) {
        return Err(invalid());
    }
    let expired = claims.get("exp").and_then(Value::as_i64).unwrap_or(0) <= now().unix_timestamp();
    let number = text("jti")
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    if expired || number < world.tokens_expired_below {
        return Err(Refusal::new(
            "ACCESS_TOKEN_EXPIRED",
            "Access token is expired.",
        ));
    }
    let permissions = claims["permissions"]["ax-billing-service"].as_array();
    let named = permissions.into_iter().flatten().filter_map(Value::as_str);
    Ok(Caller {
        user: text("sub")
            .filter(|_| issuer == Issuer::User)
            .map(str::to_lowercase),
        email: text("email").map(str::to_owned),
        name: text("name").unwrap_or_default().to_owned(),
        permissions: named.map(str::to_owned).collect(),
    })
}

fn invalid() -> Refusal {
    Refusal::new("ACCESS_TOKEN_INVALID", "Access token is invalid.")
}

fn verify(issuer: Issuer, token: &str) -> Result<Value, Refusal> {
    let malformed = || Refusal::new("MALFORMED_TOKEN", "Access token is malformed.");
    let (content, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = content.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).map_err(|_| malformed());
    let (header, claims) = (parse(decode(header)?)?, parse(decode(claims)?)?);
    let signature = decode(signature)?;
    let signer = signer(issuer).ok_or_else(invalid)?;
    if header["alg"] != "RS256" {
        return Err(invalid());
    }
    if header["kid"] != signer.kid.as_str() {
        let message = "Unable to find a signing key that matches the token.";
        return Err(Refusal::new("SIGNING_KEY_NOT_FOUND", message));
    }
    signer
        .public()
        .verify(&RSA_PKCS1_2048_8192_SHA256, content.as_bytes(), &signature)
        .map_err(|_| invalid())?;
    Ok(claims)
}
