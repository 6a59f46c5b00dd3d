//! Baskets as they are read.

use std::collections::HashSet;

use serde::Deserialize;
use sqlx::Row as _;
use sqlx::postgres::{PgExecutor, PgRow};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::facts::Subject;
use crate::domain::ids::{CheckoutId, SubscriptionId, UserId};
use crate::domain::subscription::{
    Basket, Checkout, Dispute, DisputeState, Mode, Payment, SessionStatus,
};
use crate::storage::StorageError;
use crate::storage::parts::Parts;
use crate::storage::subscriptions::SubscriptionRow;

/// The question, with a part for each way to ask.
pub static FIND: Parts = Parts::of(include_str!("find.sql"));

/// Names that may point at baskets, of any number of subjects, and events that may have been seen.
#[derive(Debug, Default)]
pub struct Question<'a> {
    sessions: Vec<&'a str>,
    stripe_subscriptions: Vec<&'a str>,
    checkouts: Vec<Uuid>,
    lines: Vec<Uuid>,
    external: Vec<&'a str>,
    payment_intents: Vec<&'a str>,
    invoices: Vec<&'a str>,
    events: Vec<&'a str>,
}

impl<'a> Question<'a> {
    /// Asks for whatever the subject points at, by foreign key or by metadata.
    pub fn about(&mut self, subject: &'a Subject) {
        self.sessions.extend(subject.session.as_deref());
        self.stripe_subscriptions
            .extend(subject.stripe_subscription.as_deref());
        self.checkouts.extend(subject.checkout.map(|id| id.0));
        self.lines
            .extend(subject.subscriptions.iter().map(|id| id.0));
        self.external
            .extend(subject.external.iter().map(String::as_str));
        self.payment_intents
            .extend(subject.payment_intent.as_deref());
        self.invoices.extend(subject.invoice.as_deref());
    }

    /// Asks whether an event was seen.
    pub fn event(&mut self, id: &'a str) {
        self.events.push(id);
    }
}

/// What a question names.
#[derive(Debug, Default)]
pub struct Found {
    /// Each checkout once, with its lines in their order.
    pub baskets: Vec<Basket>,
    /// The events that are recorded already.
    pub seen: HashSet<String>,
}

/// Finds every checkout that is named, and which events are recorded already: one round trip.
pub async fn find(db: impl PgExecutor<'_>, asked: &Question<'_>) -> Result<Found, StorageError> {
    let by_payment = !asked.payment_intents.is_empty() || !asked.invoices.is_empty();
    let statement = FIND.with([
        !asked.sessions.is_empty(),
        !asked.stripe_subscriptions.is_empty(),
        !asked.checkouts.is_empty(),
        !asked.lines.is_empty(),
        !asked.external.is_empty(),
        by_payment,
        by_payment,
    ]);
    let rows = sqlx::query(statement)
        .bind(&asked.sessions)
        .bind(&asked.stripe_subscriptions)
        .bind(&asked.checkouts)
        .bind(&asked.lines)
        .bind(&asked.payment_intents)
        .bind(&asked.invoices)
        .bind(&asked.events)
        .bind(&asked.external)
        .fetch_all(db)
        .await?;
    let mut found = Found::default();
    for (number, row) in rows.iter().enumerate() {
        let mut columns = Columns { row, next: 0 };
        if number == 0 {
            found.seen.extend(columns.next::<Vec<String>>()?);
        } else {
            columns.next += 1;
        }
        let Some(id) = columns.next::<Option<Uuid>>()? else {
            break;
        };
        let checkout = columns.checkout(CheckoutId(id))?;
        if found.baskets.last().map(|basket| basket.checkout.id) != Some(checkout.id) {
            found.baskets.push(Basket {
                checkout,
                lines: Vec::with_capacity(1),
                payments: Vec::new(),
            });
        }
        if let Some(basket) = found.baskets.last_mut() {
            columns.line(basket)?;
        }
    }
    Ok(found)
}

/// Finds one checkout by its id.
pub async fn find_by_id(
    db: impl PgExecutor<'_>,
    id: CheckoutId,
) -> Result<Option<Basket>, StorageError> {
    let asked = Question {
        checkouts: vec![id.0],
        ..Question::default()
    };
    Ok(find(db, &asked).await?.baskets.pop())
}

/// A row read from left to right: columns by number cost no look-up by name.
pub(in crate::storage) struct Columns<'r> {
    pub(in crate::storage) row: &'r PgRow,
    pub(in crate::storage) next: usize,
}

impl<'r> Columns<'r> {
    /// The next column's value.
    pub(in crate::storage) fn next<T>(&mut self) -> Result<T, sqlx::Error>
    where
        T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column)
    }

    fn checkout(&mut self, id: CheckoutId) -> Result<Checkout, StorageError> {
        let impossible = |column| StorageError::ImpossibleRow {
            table: "checkouts",
            row: id.to_string(),
            column,
        };
        Ok(Checkout {
            id,
            user: UserId::new(self.next::<String>()?),
            mode: Mode::parse(self.next()?).ok_or_else(|| impossible("mode"))?,
            status: SessionStatus::parse(self.next()?).ok_or_else(|| impossible("status"))?,
            stripe_session: self.next()?,
            stripe_customer: self.next()?,
            cancel_requested_at: self.next()?,
            expires_at: self.next()?,
            created_at: self.next()?,
        })
    }

    fn line(&mut self, basket: &mut Basket) -> Result<(), StorageError> {
        let mut line = SubscriptionRow::read(self)?.into_line()?;
        if let Some(Json(payments)) = self.next::<Option<Json<Vec<(String, Option<String>)>>>>()? {
            let payment = |(reference, payment_intent)| Payment {
                line: line.id,
                reference,
                payment_intent,
            };
            basket.payments.extend(payments.into_iter().map(payment));
        }
        if let Some(Json(disputes)) = self.next::<Option<Json<Vec<DisputeJson>>>>()? {
            let disputes = disputes
                .into_iter()
                .map(|dispute| dispute.into_dispute(line.id));
            line.disputes = disputes.collect::<Result<_, _>>()?;
        }
        basket.lines.push(line);
        Ok(())
    }
}

/// A dispute as the query builds it.
#[derive(Deserialize)]
struct DisputeJson {
    reference: String,
    state: String,
    payment_intent: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    payment_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    lost_at: Option<OffsetDateTime>,
    part: bool,
}

impl DisputeJson {
    fn into_dispute(self, line: SubscriptionId) -> Result<Dispute, StorageError> {
        let state =
            DisputeState::parse(&self.state).ok_or_else(|| StorageError::ImpossibleRow {
                table: "transactions",
                row: format!("{line} {}", self.reference),
                column: "state",
            })?;
        let Self {
            reference,
            payment_intent,
            at,
            payment_at,
            lost_at,
            part,
            ..
        } = self;
        Ok(Dispute {
            reference,
            state,
            payment_intent,
            at,
            payment_at,
            lost_at,
            part,
        })
    }
}
