//! A member's statement, as JSON or CSV, written out entry by entry.

mod csv;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::http::edge::codes::Code;
use crate::http::edge::errors::{DATABASE, STRIPE};
use crate::http::edge::extract::{MEMBER, Member, QUERY, Query};
use crate::http::edge::openapi::Problems as _;
use crate::http::edge::problem::ApiError;
use crate::http::edge::state::AppState;
use crate::services::members::statement::{self, MAX_ENTRIES, Range, StatementError};

/// So many entries are written at once.
const CHUNK: usize = 100;

/// Which statement.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct StatementQuery {
    /// A day (UTC) or an RFC 3339 time, included; by default a year before `to`.
    #[param(example = "2026-01-01")]
    from: Option<String>,
    /// A day (UTC), included, or an RFC 3339 time, not included; by default now.
    #[param(example = "2026-12-31")]
    to: Option<String>,
    /// `json` (default) or `csv`; a client that accepts `text/csv` gets that without it.
    format: Option<String>,
}

/// What a member paid, got back and failed to pay. All amounts are whole minor units, before Stripe's fees.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "the answer is written part by part; this describes the whole"
)]
struct Statement {
    /// The first moment.
    #[schema(value_type = String, format = DateTime)]
    from: OffsetDateTime,
    /// The first moment after.
    #[schema(value_type = String, format = DateTime)]
    to: OffsetDateTime,
    /// Oldest first.
    entries: Vec<Entry>,
    /// By currency and kind.
    totals: Vec<Total>,
    /// The shares held at the end of the range, or now if that is to come.
    shares: Shares,
}

/// A payment, a payment that failed, a refund or a dispute. Its lines sum to its amount and tax.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementEntry)]
struct Entry {
    /// When, by Stripe's clock.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    /// `payment`, `payment_failed`, `refund` or `dispute`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Of a refund `pending`, `succeeded`, `failed`; of a dispute `open`, `won`, `lost`; else null.
    state: Option<&'static str>,
    /// At Stripe: the invoice or else the payment intent, the refund, the dispute.
    #[schema(example = "in_1Abc")]
    reference: String,
    /// ISO 4217, lower case.
    #[schema(example = "eur")]
    currency: String,
    /// Minor units; what goes back is negative, what failed or came to nothing is 0.
    amount: i64,
    /// What failed, in minor units; null for what did not.
    attempted_amount: Option<i64>,
    /// Tax in the amount, in minor units.
    tax: i64,
    /// What it was for; at least one.
    lines: Vec<Line>,
    /// Stripe's receipt.
    receipt_url: Option<String>,
    /// Stripe's page of the invoice.
    invoice_url: Option<String>,
    /// The invoice as a document.
    invoice_pdf: Option<String>,
    /// Why it failed or went back.
    cause: Option<Cause>,
}

/// What a part of an entry was for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementLine)]
struct Line {
    /// `item`; `balance`: what the payment is more or less than its items, such as credit that was used up;
    /// `unassigned`: a part of a basket that went back without a word for which line.
    #[serde(rename = "type")]
    what: &'static str,
    /// Ours; null for what was not bought here, or is not known.
    subscription_id: Option<Uuid>,
    /// The plan's code.
    plan: Option<String>,
    /// `membership`, `top_up`, `share` or `donation`.
    kind: Option<&'static str>,
    /// As Stripe's page, invoice or receipt says.
    description: Option<String>,
    /// How many; null for a part of a line.
    quantity: Option<i64>,
    /// Minor units, with tax.
    amount: i64,
    /// Tax in the amount, in minor units.
    tax: i64,
}

/// Why money did not come or went back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementCause)]
struct Cause {
    /// For programs.
    #[schema(example = "insufficient_funds")]
    code: String,
    /// For people.
    message: String,
    /// What to do, if something is.
    advice: Option<&'static str>,
}

/// What came and went of one kind in one currency, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementTotal)]
struct Total {
    /// Null for what was not bought here, or is not known.
    kind: Option<&'static str>,
    /// ISO 4217, lower case.
    currency: String,
    /// What was paid.
    paid: i64,
    /// What was paid back, as a positive number.
    refunded: i64,
    /// What banks took back, as a positive number.
    disputed: i64,
    /// `paid` less `refunded` and `disputed`.
    net: i64,
    /// Tax in `net`.
    tax: i64,
}

/// The shares held at a moment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatementShares)]
struct Shares {
    /// The moment.
    #[serde(with = "time::serde::rfc3339")]
    on: OffsetDateTime,
    /// Oldest first.
    held: Vec<HeldShares>,
    /// How many in all.
    quantity: i64,
}

/// Shares that were bought together.
#[derive(Debug, Serialize, ToSchema)]
struct HeldShares {
    /// Ours.
    subscription_id: Uuid,
    /// The plan's code.
    plan: String,
    /// How many.
    quantity: i32,
    /// When they were paid.
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(show).problems(&[
        MEMBER,
        QUERY,
        DATABASE,
        STRIPE,
        &[Code::RangeTooLarge],
    ]))
}

/// Everything that the member paid, got back and failed to pay, read live from Stripe.
#[utoipa::path(get, path = "/v1/statement", tag = "subscriptions", security(("bearer" = [])), params(StatementQuery),
    responses((status = 200, content((Statement = "application/json"), (String = "text/csv")))))]
async fn show(
    State(state): State<AppState>,
    Member(member): Member,
    headers: HeaderMap,
    Query(query): Query<StatementQuery>,
) -> Result<Response, ApiError> {
    let format = Format::asked(query.format.as_deref(), &headers);
    let range = Range::parse(
        query.from.as_deref(),
        query.to.as_deref(),
        state.clock.now(),
    );
    let (format, range) = match (format, range) {
        (Some(format), Ok(range)) => (format, range),
        (format, range) => return Err(bad_query(format, range.err().unwrap_or_default())),
    };
    let statement = state
        .services
        .members
        .statement(&member.user, range)
        .await?;
    Ok(match format {
        Format::Json => json(range, statement),
        Format::Csv => csv::response(range, statement),
    })
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    Csv,
}

impl Format {
    /// None for one that we don't have.
    fn asked(name: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        match name {
            Some("json") => Some(Self::Json),
            Some("csv") => Some(Self::Csv),
            Some(_) => None,
            None => {
                let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
                let accepted = accepted.unwrap_or_default();
                let csv = weight(accepted, "text/csv");
                let json = weight(accepted, "application/json").unwrap_or_default();
                let wanted = csv.is_some_and(|csv| csv > 0.0 && csv >= json);
                Some(if wanted { Self::Csv } else { Self::Json })
            }
        }
    }
}

/// How much a media type is wanted (RFC 9110, section 12.5.1); none where it is not named.
fn weight(accepted: &str, wanted: &str) -> Option<f32> {
    accepted.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next()?.eq_ignore_ascii_case(wanted);
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        named.then(|| weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
    })
}

fn bad_query(format: Option<Format>, range: Vec<statement::Invalid>) -> ApiError {
    let problem = ApiError::validation_failed().fields(range);
    match format {
        Some(_) => problem,
        None => problem.field("format", "unknown_value", "One of json, csv."),
    }
}

impl From<StatementError> for ApiError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::TooLarge => Self::new(Code::RangeTooLarge)
                .detail(format!("At most {MAX_ENTRIES}: ask for a shorter range.")),
            StatementError::Failed(error) => {
                let at_stripe = error.trouble().is_at_stripe();
                let problem = Self::from(error);
                if at_stripe {
                    problem.detail("Nothing was changed: repeat the request.")
                } else {
                    problem
                }
            }
        }
    }
}

/// Written a few entries at a time: the whole text never exists at once.
fn json(range: Range, statement: statement::Statement) -> Response {
    let head = format!(
        r#"{{"from":{},"to":{},"entries":["#,
        json_text(&instant(range.from)),
        json_text(&instant(range.to))
    );
    let totals: Vec<Total> = statement.totals.into_iter().map(Total::from).collect();
    let tail = format!(
        r#"],"totals":{},"shares":{}}}"#,
        json_text(&totals),
        json_text(&Shares::from(statement.shares))
    );
    let mut separator = "";
    let body = chunks(head, statement.entries, tail, move |entry, text| {
        text.push_str(separator);
        separator = ",";
        text.push_str(&json_text(&Entry::from(entry)));
    });
    ([(CONTENT_TYPE, "application/json".to_owned())], body).into_response()
}

fn chunks(
    head: String,
    entries: Vec<statement::Entry>,
    tail: String,
    mut write: impl FnMut(statement::Entry, &mut String) + Send + 'static,
) -> Body {
    let mut entries = entries.into_iter();
    let middle = std::iter::from_fn(move || {
        let mut text = String::new();
        for entry in entries.by_ref().take(CHUNK) {
            write(entry, &mut text);
        }
        (!text.is_empty()).then_some(text)
    });
    let all = std::iter::once(head)
        .chain(middle)
        .chain(std::iter::once(tail));
    let all = all.filter(|text| !text.is_empty());
    Body::from_stream(stream::iter(
        all.map(|text| Ok::<_, Infallible>(Bytes::from(text))),
    ))
}

/// Our own types have text keys and no numbers that JSON doesn't know, so they can always be written.
fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn instant(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

impl From<statement::Entry> for Entry {
    fn from(entry: statement::Entry) -> Self {
        Self {
            at: entry.at,
            kind: entry.what.as_str(),
            state: entry.state,
            reference: entry.reference,
            currency: entry.currency,
            amount: entry.amount,
            attempted_amount: entry.attempted_amount,
            tax: entry.tax,
            lines: entry.lines.into_iter().map(Line::from).collect(),
            receipt_url: entry.receipt_url,
            invoice_url: entry.invoice_url,
            invoice_pdf: entry.invoice_pdf,
            cause: entry.cause.map(|cause| Cause {
                code: cause.code,
                message: cause.message,
                advice: cause.advice,
            }),
        }
    }
}

impl From<statement::Line> for Line {
    fn from(line: statement::Line) -> Self {
        Self {
            what: line.what.as_str(),
            subscription_id: line.bought.as_ref().map(|bought| bought.id.0),
            kind: line.kind().map(crate::domain::plan::Kind::as_str),
            plan: line.bought.map(|bought| bought.plan),
            description: line.description,
            quantity: line.quantity,
            amount: line.amount,
            tax: line.tax,
        }
    }
}

impl From<statement::Total> for Total {
    fn from(total: statement::Total) -> Self {
        Self {
            kind: total.kind.map(crate::domain::plan::Kind::as_str),
            currency: total.currency,
            paid: total.sums.paid,
            refunded: total.sums.refunded,
            disputed: total.sums.disputed,
            net: total.sums.net(),
            tax: total.sums.tax,
        }
    }
}

impl From<statement::Shares> for Shares {
    fn from(shares: statement::Shares) -> Self {
        let held = shares.held.into_iter().map(|held| HeldShares {
            subscription_id: held.subscription.0,
            plan: held.plan,
            quantity: held.quantity,
            since: held.since,
        });
        let held: Vec<HeldShares> = held.collect();
        Self {
            on: shares.on,
            quantity: held.iter().map(|held| i64::from(held.quantity)).sum(),
            held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_for_who_wants_it_at_least_as_much() {
        for (accept, csv) in [
            ("text/csv", true),
            ("application/json, text/csv", true),
            ("text/csv;q=0.5, application/json;q=0.4", true),
            ("application/json, text/csv;q=0", false),
            ("application/json, text/csv; q=0.9", false),
            ("application/json", false),
            ("text/csvx", false),
            ("*/*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().expect("a header"));
            let asked = Format::asked(None, &headers);
            assert_eq!(matches!(asked, Some(Format::Csv)), csv, "{accept}");
        }
    }
}
