//! One box for everything.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::actor::Right;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{Allowed, JSON, Json, Member, RequestId, STAFF, See};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::Operators;
use crate::services::operators::members::Look;
use crate::services::operators::search::{Hit, SearchError};

/// Longest text that is looked for, in characters.
const LONGEST: usize = 200;

/// What to look for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Search {
    /// An id of ours or of Stripe's, the address of a page that shows it, a member's id, a mail address or a name; 1 to 200
    /// characters.
    #[schema(example = "sub_1AbCdEf")]
    q: String,
}

/// What was found, at most twenty.
#[derive(Debug, Serialize, ToSchema)]
struct SearchResult {
    data: Vec<SearchHit>,
    /// What is to be said beside it: why nothing was found, or how old the answer may be.
    note: Option<&'static str>,
}

/// Something that was found.
#[derive(Debug, Serialize, ToSchema)]
struct SearchHit {
    /// `member`, `subscription`, `checkout`, `transaction`, `event` or `customer`: one at Stripe of whom no row of ours
    /// tells.
    kind: &'static str,
    /// Ours; of an event `evt_…`, of a customer `cus_…`.
    id: String,
    /// The member whose it is; null where none is known.
    user_id: Option<String>,
    /// The line that it is about; null where it is about none, or about several.
    subscription_id: Option<Uuid>,
    /// Why it was found.
    why: String,
    /// What the customer is called at Stripe; only of a search by name.
    name: Option<String>,
    /// The customer's address at Stripe; only of a search by name.
    email: Option<String>,
}

/// Answered by Stripe too.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search).problems(&[STAFF, JSON, DATABASE, STRIPE]))
}

/// Whatever a text leads to. Ids are found in our rows at once; what these don't know, mail addresses and names are asked at
/// Stripe. A name is for roles that may see names, and each that is shown is recorded.
#[utoipa::path(post, path = "/v1/operator/search", tag = "operators", security(("bearer" = [])),
    request_body = Search, responses((status = 200, body = SearchResult)))]
async fn search(
    State(operators): State<Operators>,
    _: Allowed<See>,
    Member(principal): Member,
    RequestId(request_id): RequestId,
    Json(body): Json<Search>,
) -> Result<Json<SearchResult>, ApiError> {
    let text = checked(&body.q)?;
    let names = principal.staff(Right::Names);
    let look = names.as_ref().map(|staff| Look {
        staff,
        request_id: &request_id,
    });
    let found = operators.search(text, look).await.map_err(refused)?;
    Ok(Json(SearchResult {
        data: found.hits.into_iter().map(SearchHit::of).collect(),
        note: found.note,
    }))
}

fn checked(text: &str) -> Result<&str, ApiError> {
    let wrong = |code, detail: String| ApiError::validation_failed().field("q", code, detail);
    if text.trim().is_empty() {
        return Err(wrong("required", "Give something to look for.".to_owned()));
    }
    if text.chars().count() > LONGEST {
        return Err(wrong("too_long", format!("At most {LONGEST} characters.")));
    }
    Ok(text)
}

fn refused(error: SearchError) -> ApiError {
    match error {
        SearchError::NamesNotAllowed => ApiError::new(Code::Forbidden).detail(
            "This is no id that is known, and looking for names takes a role that may see them.",
        ),
        SearchError::Failed(error) => error.into(),
    }
}

impl SearchHit {
    fn of(hit: Hit) -> Self {
        Self {
            kind: hit.kind,
            id: hit.id,
            user_id: hit.user_id,
            subscription_id: hit.subscription_id,
            why: hit.why,
            name: hit.name,
            email: hit.email,
        }
    }
}
