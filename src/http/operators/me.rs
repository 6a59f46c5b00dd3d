//! Who is signed in, and what she may.

use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::actor::{Right, Role};
use crate::http::edge::extract::{Allowed, Json, Member, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::settings::Settings;

/// Who is signed in, and what she may.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The `sub` of the token.
    user_id: String,
    /// `reader`, `support`, `treasurer`, `operator`.
    roles: Vec<&'static str>,
    may: May,
    /// Codes of the reasons that can be given.
    #[schema(example = json!(["hardship", "mistake"]))]
    reasons: Vec<String>,
}

/// What her roles carry.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "one for each right")]
struct May {
    /// Look at what is known.
    see: bool,
    /// Look at what people are called.
    names: bool,
    /// Act on what one member holds.
    act: bool,
    /// Move money.
    money: bool,
    /// Act on her own rows too.
    all: bool,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read_me).problems(&[STAFF]))
}

/// Who is signed in, what she may, and which reasons she can give for what she does.
#[utoipa::path(get, path = "/v1/operator/me", tag = "operators", security(("bearer" = [])),
    responses((status = 200, body = Me)))]
async fn read_me(
    State(settings): State<Arc<Settings>>,
    _: Allowed<See>,
    Member(principal): Member,
) -> Result<Json<Me>, ApiError> {
    let may = |right| principal.staff(right).is_some();
    Ok(Json(Me {
        may: May {
            see: may(Right::See),
            names: may(Right::Names),
            act: may(Right::Act),
            money: may(Right::Money),
            all: principal.roles.contains(&Role::Operator),
        },
        roles: principal.roles.iter().map(|role| role.as_str()).collect(),
        user_id: principal.user.as_str().to_owned(),
        reasons: settings.console.reasons.clone(),
    }))
}
