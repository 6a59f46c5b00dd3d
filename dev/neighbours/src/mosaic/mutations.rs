//! The mutations of the management API: their inputs, described once, and what they answer.

use async_graphql::Value as GraphQlValue;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputObject, InputValue, Object, SchemaBuilder, TypeRef,
};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::rules;
use super::schema::{arguments, authorise, done, plain, type_of};
use super::tables::Kind;
use super::values::{is_valid, normal, write_moment};
use super::world::{Refusal, Row, World, now};

/// A field of an input.
struct Given {
    name: &'static str,
    kind: Kind,
    required: bool,
}

const fn need(name: &'static str, kind: Kind) -> Given {
    Given {
        name,
        kind,
        required: true,
    }
}

const fn may(name: &'static str, kind: Kind) -> Given {
    Given {
        name,
        kind,
        required: false,
    }
}

/// A mutation: its names, what it takes, who may use it, what it does and under which name it answers the row.
struct Mutation {
    name: &'static str,
    /// Beginning of the names of its input and payload.
    prefix: &'static str,
    input: &'static [Given],
    permissions: &'static [&'static str],
    run: fn(&mut World, &Map<String, Value>) -> Result<Row, Refusal>,
    answer: (&'static str, &'static str),
    /// The answer, and the row in it, may be null: as of the functions of the database.
    nullable: bool,
}

const STATUS: Kind = Kind::Enum("SubscriptionLifecycleStatus");
const COUNTRY: Kind = Kind::Enum("Iso31661Alpha2");
const SUBSCRIPTION_EDITORS: &[&str] = &["SUBSCRIPTIONS_EDIT", "ADMIN"];

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "createSubscription",
        prefix: "CreateSubscription",
        input: &[
            need("paymentPlanId", Kind::Uuid),
            need("paymentProviderKey", Kind::Text),
            need("endUserId", Kind::Uuid),
            may("country", COUNTRY),
            may("lifecycleStatus", STATUS),
            may("paymentProviderReference", Kind::Text),
            may("periodEndDate", Kind::Moment),
            may(
                "skipValidations",
                Kind::Enums("CreateSubscriptionSkipValidations"),
            ),
            may("subscriptionId", Kind::Uuid),
        ],
        permissions: SUBSCRIPTION_EDITORS,
        run: rules::create_subscription,
        answer: ("subscription", "SubscriptionType"),
        nullable: false,
    },
    Mutation {
        name: "updateSubscription",
        prefix: "UpdateSubscription",
        input: &[
            need("subscriptionId", Kind::Uuid),
            may("activationDate", Kind::Moment),
            may("country", COUNTRY),
            may("lifecycleStatus", STATUS),
            may("lifecycleStatusChangeReason", Kind::Text),
            may("paymentProviderReference", Kind::Text),
            may("periodEndDate", Kind::Moment),
        ],
        permissions: SUBSCRIPTION_EDITORS,
        run: rules::update_subscription,
        answer: ("subscription", "SubscriptionType"),
        nullable: false,
    },
    Mutation {
        name: "createSubscriptionTransaction",
        prefix: "CreateSubscriptionTransaction",
        input: &[
            need("subscriptionId", Kind::Uuid),
            need("paymentProviderKey", Kind::Text),
            need("transactionType", Kind::Enum("SubscriptionTransactionType")),
            may("currency", Kind::Text),
            may("description", Kind::Text),
            may("method", Kind::Text),
            may("paymentProviderReference", Kind::Text),
            may("periodEndDate", Kind::Moment),
            may("totalPrice", Kind::Text),
            may("transactionDate", Kind::Moment),
        ],
        permissions: SUBSCRIPTION_EDITORS,
        run: rules::create_transaction,
        answer: ("transaction", "SubscriptionTransaction"),
        nullable: false,
    },
    Mutation {
        name: "updateSubscriptionTransaction",
        prefix: "UpdateSubscriptionTransaction",
        input: &[
            need("transactionId", Kind::Uuid),
            may("description", Kind::Text),
            may("method", Kind::Text),
            may("paymentProviderReference", Kind::Text),
            may("periodEndDate", Kind::Moment),
            may("transactionDate", Kind::Moment),
        ],
        permissions: SUBSCRIPTION_EDITORS,
        run: rules::update_transaction,
        answer: ("transaction", "SubscriptionTransaction"),
        nullable: false,
    },
    Mutation {
        name: "setSettings",
        prefix: "SetSettings",
        input: &[
            may("successRedirectVal", Kind::Text),
            may("cancelRedirectVal", Kind::Text),
            may("errorRedirectVal", Kind::Text),
            may("clientMutationId", Kind::Text),
        ],
        permissions: &["SETTINGS_EDIT", "ADMIN"],
        run: set_settings,
        answer: ("setting", "Setting"),
        nullable: true,
    },
];

/// True for a root field that is never null, so that an error leaves no data at all.
pub(super) fn is_never_null(field: &str) -> bool {
    let mut mutations = MUTATIONS.iter();
    field == "authenticateServiceAccount"
        || mutations.any(|mutation| mutation.name == field && !mutation.nullable)
}

/// What a mutation did.
struct Outcome {
    row: Row,
    client_mutation_id: Option<Value>,
}

/// Adds the mutations and their types.
pub(super) fn register(mut schema: SchemaBuilder) -> SchemaBuilder {
    let mut root = Object::new("Mutation");
    for mutation in MUTATIONS {
        let typed = |name: String| {
            if mutation.nullable {
                TypeRef::named(name)
            } else {
                TypeRef::named_nn(name)
            }
        };
        let input_name = format!("{}Input", mutation.prefix);
        let payload_name = format!("{}Payload", mutation.prefix);
        let input = mutation
            .input
            .iter()
            .fold(InputObject::new(&input_name), |object, given| {
                object.field(InputValue::new(
                    given.name,
                    type_of(given.kind, given.required),
                ))
            });
        let (answer, kind) = mutation.answer;
        let kind = typed(kind.to_owned());
        let mut payload = Object::new(&payload_name).field(Field::new(answer, kind, |context| {
            let outcome = context.parent_value.downcast_ref::<Outcome>();
            done(
                &context,
                Ok(outcome.map(|outcome| FieldValue::owned_any(Arc::clone(&outcome.row)))),
            )
        }));
        if mutation.nullable {
            let name = "clientMutationId";
            payload = payload.field(Field::new(
                name,
                TypeRef::named(TypeRef::STRING),
                |context| {
                    let outcome = context.parent_value.downcast_ref::<Outcome>();
                    let id = outcome.and_then(|outcome| outcome.client_mutation_id.clone());
                    FieldFuture::from_value(id.and_then(|id| GraphQlValue::from_json(id).ok()))
                },
            ));
        }
        schema = schema.register(input).register(payload);
        let answered = typed(payload_name);
        let field = Field::new(mutation.name, answered, move |context| {
            let outcome = authorise(&context, mutation.permissions).and_then(|(app, _)| {
                let input = read(mutation.input, &arguments(&context))?;
                let row = (mutation.run)(&mut app.world(), &input)?;
                let client_mutation_id = input.get("clientMutationId").cloned();
                Ok(Some(FieldValue::owned_any(Outcome {
                    row,
                    client_mutation_id,
                })))
            });
            done(&context, outcome)
        });
        root = root.field(field.argument(InputValue::new("input", TypeRef::named_nn(input_name))));
    }
    schema.register(root).register(setting())
}

/// Reads an input, and checks it once more: what is written here is written for good.
fn read(fields: &[Given], arguments: &Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let wrong = |what: String| Refusal::new("GRAPHQL_VALIDATION_FAILED", what);
    let input = arguments.get("input").and_then(Value::as_object);
    let input = input.ok_or_else(|| wrong("The input must be an object.".to_owned()))?;
    let mut kept = Map::new();
    for field in fields {
        let name = field.name;
        let value = match (field.kind, input.get(name)) {
            (_, None | Some(Value::Null)) if field.required => {
                return Err(wrong(format!("'{name}' is required.")));
            }
            (_, None) => continue,
            // A single value stands for a list of one.
            (Kind::Enums(_), Some(single @ Value::String(_))) => vec![single.clone()].into(),
            (_, Some(value)) => value.clone(),
        };
        if !value.is_null() && !is_valid(field.kind, &value) {
            return Err(wrong(format!("'{name}' is not what it should be.")));
        }
        kept.insert(name.to_owned(), normal(field.kind, value));
    }
    Ok(kept)
}

fn setting() -> Object {
    ["successRedirect", "cancelRedirect", "errorRedirect"]
        .into_iter()
        .fold(Object::new("Setting"), |object, name| {
            object.field(plain(name, TypeRef::named(TypeRef::STRING)))
        })
        .field(plain("createdDate", TypeRef::named_nn("Datetime")))
        .field(plain("updatedDate", TypeRef::named_nn("Datetime")))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "mutations have one shape, and others refuse"
)]
fn set_settings(world: &mut World, input: &Map<String, Value>) -> Result<Row, Refusal> {
    for (name, value) in input {
        if let Some(name) = name.strip_suffix("Val") {
            world.settings.insert(name.to_owned(), value.clone());
        }
    }
    let at = write_moment(now());
    world.settings.insert("updatedDate".to_owned(), at.into());
    Ok(Arc::new(world.settings.clone()))
}
