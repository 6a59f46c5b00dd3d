//! What signs tokens, and how others check it (RFC 7515, 7517, 7518).

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{self, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256; its keys are made in no time.
    #[serde(rename = "ES256")]
    Es256,
    /// RSA with SHA-256, which most logins begin with; a key takes a moment.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The machine gives no key.
#[derive(Debug, thiserror::Error)]
#[error("no key could be made")]
pub struct KeyError;

/// A key pair with its id.
pub(super) struct Key {
    pub kid: String,
    /// Whether it is in the key set; what isn't can still be recognised by us.
    pub published: bool,
    pair: Pair,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(rsa::KeyPair),
}

/// What a token says, once its signature is right.
pub(super) struct Read {
    pub header: Value,
    pub claims: Value,
}

impl Key {
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Es256)
            }
            Algorithm::Rs256 => rsa::KeyPair::generate(KeySize::Rsa2048).map(Pair::Rs256),
        };
        Ok(Self {
            kid: Uuid::new_v4().to_string(),
            published: true,
            pair: pair.map_err(|_| KeyError)?,
        })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Es256(_) => Algorithm::Es256,
            Pair::Rs256(_) => Algorithm::Rs256,
        }
    }

    /// The public half, as it stands in a key set.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Es256(pair) => {
                // An uncompressed point: a byte that says so, then both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Rs256(pair) => {
                let public = public(pair);
                let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
                json!({"kty": "RSA", "n": encode(&public.n), "e": encode(&public.e)})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        jwk
    }

    /// A signed token; what `header` says beside `alg` and `kid` may also replace them, for tokens that are to be wrong.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> Result<String, KeyError> {
        let mut full = json!({"alg": self.algorithm(), "kid": self.kid});
        merge(&mut full, header);
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let content = format!("{}.{}", encode(&full), encode(claims));
        let (random, text) = (SystemRandom::new(), content.as_bytes());
        let signature = match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random, text).map_err(|_| KeyError)?;
                URL_SAFE_NO_PAD.encode(signature)
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut signature)
                    .map_err(|_| KeyError)?;
                URL_SAFE_NO_PAD.encode(signature)
            }
        };
        Ok(format!("{content}.{signature}"))
    }

    fn verifies(&self, content: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Es256(pair) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
                    .verify(content, signature)
                    .is_ok()
            }
            Pair::Rs256(pair) => public(pair)
                .verify(&RSA_PKCS1_2048_8192_SHA256, content, signature)
                .is_ok(),
        }
    }
}

fn public(pair: &rsa::KeyPair) -> PublicKeyComponents<Vec<u8>> {
    let key = pair.public_key();
    PublicKeyComponents {
        n: key.modulus().big_endian_without_leading_zero().to_vec(),
        e: key.exponent().big_endian_without_leading_zero().to_vec(),
    }
}

/// Reads a token that one of the keys has signed, whenever that was.
pub(super) fn read(keys: &[Key], token: &str) -> Option<Read> {
    let (content, signature) = token.rsplit_once('.')?;
    let (header, claims) = content.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    let key = keys.iter().find(|key| header["kid"] == key.kid.as_str())?;
    let right = header["alg"] == json!(key.algorithm())
        && key.verifies(content.as_bytes(), &decode(signature)?);
    let claims = serde_json::from_slice(&decode(claims)?).ok()?;
    right.then_some(Read { header, claims })
}

/// Takes over what `patch` says; null takes a member out.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let (Some(target), Some(patch)) = (target.as_object_mut(), patch.as_object()) else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            target.insert(name.clone(), value.clone());
        }
    }
}

/// What nobody guesses: 256 bits, as they stand in an address.
pub(super) fn secret() -> Result<String, KeyError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| KeyError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
