//! The identity service: a service account trades its secret for a token.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::dynamic::{
    Field, FieldFuture, InputObject, InputValue, Object, Schema, SchemaError, TypeRef,
};
use serde_json::{Value, json};

use super::schema::{arguments, done, plain};
use super::tokens;
use super::world::{App, Refusal, Row};

/// Builds the schema of the identity service: the part that needs no token.
pub(super) fn build(app: &Arc<App>) -> Result<Schema, SchemaError> {
    let text = || TypeRef::named_nn(TypeRef::STRING);
    let input = InputObject::new("AuthenticateServiceAccountInput")
        .field(InputValue::new("clientId", text()))
        .field(InputValue::new("clientSecret", text()));
    let payload = Object::new("AuthenticateServiceAccountPayload")
        .field(plain("accessToken", text()))
        .field(plain("expiresInSeconds", TypeRef::named_nn(TypeRef::INT)))
        .field(plain("tokenType", text()));
    let field = Field::new(
        "authenticateServiceAccount",
        TypeRef::named_nn(payload.type_name()),
        |context| {
            let found = context.ctx.data::<Arc<App>>();
            let found = found.map_err(|_| unavailable());
            done(
                &context,
                found.and_then(|app| {
                    let arguments = arguments(&context);
                    let input = arguments.get("input").cloned().unwrap_or_default();
                    let payload = authenticate(app, &input)?;
                    Ok(Some(async_graphql::dynamic::FieldValue::owned_any(payload)))
                }),
            )
        },
    );
    let input_type = TypeRef::named_nn(input.type_name());
    let mutation =
        Object::new("Mutation").field(field.argument(InputValue::new("input", input_type)));
    // A schema must have a query.
    let query = Object::new("Query").field(Field::new("version", text(), |_| {
        FieldFuture::from_value(Some("neighbour".into()))
    }));
    Schema::build("Query", Some("Mutation"), None)
        .data(Arc::clone(app))
        .disable_suggestions()
        .register(input)
        .register(payload)
        .register(mutation)
        .register(query)
        .finish()
}

fn unavailable() -> Refusal {
    Refusal::new("INTERNAL_SERVER_ERROR", "No token could be made.")
}

fn authenticate(app: &App, input: &Value) -> Result<Row, Refusal> {
    let options = &app.options;
    let right = input["clientId"] == options.client_id.as_str()
        && input["clientSecret"] == options.client_secret.as_str();
    if !right {
        let message = "The service account could not be authenticated.";
        return Err(Refusal::new("UNAUTHORIZED", message));
    }
    let lifetime = Duration::from_secs(options.token_seconds);
    let (id, permissions) = (&options.client_id, &options.permissions);
    let token = tokens::for_service(&mut app.world(), id, permissions, lifetime);
    let payload = json!({
        "accessToken": token.ok_or_else(unavailable)?, "expiresInSeconds": options.token_seconds, "tokenType": "Bearer",
    });
    Ok(Arc::new(payload.as_object().cloned().unwrap_or_default()))
}
