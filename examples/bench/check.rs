//! Whether what was answered with "applied" is in the rows: speed without effect is worth nothing.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::events::{Event, Kind, LINE, uuid};
use crate::options::Role;

/// Fails unless every one of these events is recorded as applied, every renewal's payment is there, and every
/// subscription says what its last event of each kind said.
pub(crate) async fn check(url: &str, events: &[Event], role: Role) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(url).await?;
    let ids: Vec<String> = events.iter().map(Event::id).collect();
    let states: Vec<(String, i64)> = sqlx::query_as(
        "SELECT state, count(*) FROM webhook_events WHERE id = ANY ($1) GROUP BY state",
    )
    .bind(&ids)
    .fetch_all(&mut db)
    .await?;
    let sent = i64::try_from(events.len())?;
    ensure!(
        events.is_empty() || states == [("applied".to_owned(), sent)],
        "{sent} events were answered as applied by the {}, but the table has {states:?}",
        role.as_str()
    );
    if role == Role::Service {
        let renewals = events.iter().filter(|event| event.kind == Kind::Renewal);
        let invoices: Vec<String> = renewals.map(Event::invoice).collect();
        let paid: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM transactions WHERE stripe_reference = ANY ($1) AND kind = 'payment'",
        )
        .bind(&invoices)
        .fetch_one(&mut db)
        .await?;
        ensure!(
            paid == i64::try_from(invoices.len())?,
            "{} renewals were answered as applied, but {paid} payments are recorded",
            invoices.len()
        );
    }
    lines(&mut db, events).await?;
    db.close().await?;
    Ok(())
}

async fn lines(db: &mut PgConnection, events: &[Event]) -> anyhow::Result<()> {
    const UPDATED: &str =
        "SELECT count(*) FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[])
               AS told (id, at, period_end)
          JOIN subscriptions s ON s.id = told.id AND s.stripe_state_at = told.at
           AND s.current_period_end = told.period_end AND s.status = 'ACTIVE'";
    const PAID: &str = "SELECT count(*) FROM unnest($1::uuid[], $2::timestamptz[]) AS told (id, at)
          JOIN subscriptions s ON s.id = told.id AND s.last_paid_at = told.at AND s.status = 'ACTIVE'";
    for (kind, query) in [(Kind::Update, UPDATED), (Kind::Renewal, PAID)] {
        // Events are in the order in which they were made, so the last one of each subscription stays.
        let last: HashMap<u32, &Event> = events
            .iter()
            .filter(|event| event.kind == kind)
            .map(|event| (event.n, event))
            .collect();
        let ids: Vec<Uuid> = last.keys().map(|n| uuid(LINE, *n)).collect();
        let created = times(last.values().map(|event| event.created))?;
        let ends = times(last.values().map(|event| event.period_end))?;
        let query = sqlx::query_scalar::<_, i64>(query).bind(&ids).bind(created);
        let query = if kind == Kind::Update {
            query.bind(ends)
        } else {
            query
        };
        let right = query.fetch_one(&mut *db).await?;
        ensure!(
            right == i64::try_from(last.len())?,
            "{} subscriptions had events ({kind:?}) that were answered as applied, but {right} rows show it",
            last.len()
        );
    }
    Ok(())
}

fn times(seconds: impl Iterator<Item = i64>) -> anyhow::Result<Vec<OffsetDateTime>> {
    seconds
        .map(|seconds| OffsetDateTime::from_unix_timestamp(seconds).context("a time beyond years"))
        .collect()
}
