//! What a client reads first: the discovery document, and the keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::App;
use super::keys::{Algorithm, Key};

/// OIDC Discovery 1.0, 3; RFC 8414, 2; RFC 9207, 3. There is no `userinfo_endpoint`: what is known of a person
/// stands in the ID token.
pub(super) async fn configuration(State(app): State<Arc<App>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", app.issuer);
    Json(json!({
        "issuer": app.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "end_session_endpoint": at("/logout"),
        "jwks_uri": at("/jwks"),
        "scopes_supported": ["openid", "profile", "offline_access"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [Algorithm::Rs256, Algorithm::Es256],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "prompt_values_supported": ["none", "login", "select_account", "consent"],
        "claims_supported": ["iss", "sub", "aud", "iat", "exp", "auth_time", "nonce", "at_hash", "sid", "name"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    }))
}

/// The public keys, newest first.
pub(super) async fn keys(State(app): State<Arc<App>>) -> Json<Value> {
    let world = app.world();
    let keys = world.keys.iter().rev().filter(|key| key.published);
    let keys: Vec<Value> = keys.map(Key::jwk).collect();
    Json(json!({"keys": keys}))
}
