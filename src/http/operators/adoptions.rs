//! Adopting a subscription that somebody made at Stripe by hand.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::acts::{ActAnswer, ActPreview, done};
use super::asking::{ACTING, Asker, act_body, to_its_end};
use crate::domain::ids::UserId;
use crate::domain::subscription::Subscription;
use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, SALE, STRIPE};
use crate::http::edge::extract::{Act, JSON, Json, STAFF};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::operators::acts::{AdoptionAsked, AdoptionPreview};

/// Longest user id, in bytes.
const USER_ID: usize = 255;

act_body! {
    /// Which subscription at Stripe is whose.
    struct Adoption {
        /// `sub_…`.
        stripe_subscription_id: String,
        /// The member whose it is.
        user_id: String,
        /// The plan's code, where its price belongs to no plan any more.
        plan: Option<String>,
    }
}

/// What would become a row.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AdoptBody {
    /// `sub_…`.
    stripe_subscription_id: String,
    /// Stripe's word for how it stands.
    #[schema(example = "active")]
    status: String,
    /// `price_…`.
    price: String,
    /// The plan's code.
    plan: String,
    /// How many of it.
    quantity: i32,
    /// `cus_…`.
    customer: String,
    /// Whose that customer is with us; null where it is nobody's.
    customer_is: Option<String>,
    /// What the member holds already.
    holds: Vec<Holding>,
    /// What would happen, in sentences.
    text: Vec<String>,
    /// What to think of first.
    warnings: Vec<String>,
}

/// What somebody holds.
#[derive(Debug, Serialize, ToSchema)]
struct Holding {
    /// Ours.
    id: Uuid,
    /// The plan's code.
    plan: String,
    /// As elsewhere.
    status: &'static str,
}

const ADOPTING: &[Code] = &[
    Code::HeldAlready,
    Code::PriceOfNoPlan,
    Code::OtherCustomer,
    Code::InProgress,
];

pub(super) fn routes() -> OpenApiRouter<AppState> {
    let all = [STAFF, JSON, DATABASE, STRIPE, SALE, ACTING, ADOPTING];
    OpenApiRouter::new().routes(routes!(adopt).problems(&all))
}

/// Take over a subscription that was made at Stripe by hand: it becomes the member's, with what was paid for it, and from
/// then on whatever Stripe says of it is hers.
#[utoipa::path(post, path = "/v1/operator/adoptions", tag = "operators", security(("bearer" = [])),
    params(("Idempotency-Key" = Option<Uuid>, Header, description = "The act's id; not for a dry run")),
    request_body = Adoption, responses((status = 200, body = ActAnswer)))]
async fn adopt(
    State(state): State<AppState>,
    asker: Asker<Act>,
    Json(body): Json<Adoption>,
) -> Result<Json<ActAnswer>, ApiError> {
    let operators = state.services.operators.clone();
    let wish = body.wish()?;
    if body.dry_run {
        let preview = operators.preview_adoption(&wish).await?;
        return Ok(Json(ActAnswer {
            action: None,
            preview: Some(ActPreview::of(preview)),
            subscription: None,
        }));
    }
    let ask = asker.ask(&state, &body.why(), None, "adopt", &body)?;
    let act = async move { operators.adopt_one_for(&wish, &ask).await };
    let acted = to_its_end(act).await?;
    done(&state, &acted).await
}

impl Adoption {
    fn wish(&self) -> Result<AdoptionAsked, ApiError> {
        let invalid =
            |field, detail| Err(ApiError::validation_failed().field(field, "invalid", detail));
        let id = self.stripe_subscription_id.trim();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !id.starts_with("sub_") || id.len() > USER_ID || !id.bytes().all(is_plain) {
            return invalid("stripe_subscription_id", "A subscription at Stripe: sub_….");
        }
        let user = &self.user_id;
        if user.trim().is_empty() || user.len() > USER_ID || user.contains('\0') {
            return invalid("user_id", "The member's id: 1 to 255 bytes.");
        }
        Ok(AdoptionAsked {
            stripe_subscription: id.to_owned(),
            user: UserId::new(user),
            plan: self.plan.clone(),
        })
    }
}

impl AdoptBody {
    pub(super) fn of(preview: AdoptionPreview) -> Self {
        let holding = |line: Subscription| Holding {
            id: line.id.0,
            plan: line.plan,
            status: line.status.as_str(),
        };
        let mut warnings = Vec::new();
        if preview.customer_is.is_none() {
            let warning = "The customer at Stripe is nobody's yet: make sure that it is this member's. It becomes hers.";
            warnings.push(warning.to_owned());
        }
        if !preview.holds.is_empty() {
            let plans: Vec<&str> = preview
                .holds
                .iter()
                .map(|line| line.plan.as_str())
                .collect();
            warnings.push(format!("The member holds already: {}.", plans.join(", ")));
        }
        Self {
            text: vec![format!(
                "The subscription becomes the member's {}, with all that was paid for it.",
                preview.plan
            )],
            warnings,
            stripe_subscription_id: preview.stripe_subscription,
            status: preview.status,
            price: preview.price,
            plan: preview.plan,
            quantity: preview.quantity,
            customer: preview.customer,
            customer_is: preview.customer_is.map(|user| user.as_str().to_owned()),
            holds: preview.holds.into_iter().map(holding).collect(),
        }
    }
}
