//! Events as operators list them, the newest arrivals first.

use sqlx::postgres::PgExecutor;
use time::{Duration, OffsetDateTime};

use super::{EventRow, StorageError};
use crate::domain::listing::WantedEvents;
use crate::storage::parts::Parts;

/// Which come with every renewal, so that the newest few hold some of each; all others have an index.
const COMMON: [&str; 3] = [
    "invoice.paid",
    "invoice_payment.paid",
    "customer.subscription.updated",
];

/// One of the parts leads to the index by which it is read; what a statement says of an index, it must say in words, for
/// its plan is made without regard to what is asked.
///
/// $1 state  $2 type  $3 object  $4 and $5 before (time and id)  $6 at most so many
pub static LIST: Parts = Parts::of(
    "SELECT * FROM webhook_events
 WHERE received_at <= $4 AND (received_at, id) < ($4, $5)
--[ unsettled
   AND state IN ('deferred', 'failed', 'flagged', 'ignored')
--]
--[ state
   AND state = $1
--]
--[ rarer
   AND type NOT IN ('invoice.paid', 'invoice_payment.paid', 'customer.subscription.updated')
--]
--[ type
   AND type = $2
--]
--[ object
   AND object_id = $3
--]
 ORDER BY received_at DESC, id DESC LIMIT $6",
);

/// Events, the newest arrivals first.
pub async fn list(
    db: impl PgExecutor<'_>,
    wanted: &WantedEvents,
) -> Result<Vec<EventRow>, StorageError> {
    let (state, kind) = (wanted.state.as_deref(), wanted.kind.as_deref());
    let parts = [
        state.is_some_and(|state| state != "applied"),
        state.is_some(),
        kind.is_some_and(|kind| !COMMON.contains(&kind)),
        kind.is_some(),
        wanted.object.is_some(),
    ];
    // Later than whatever has come.
    let first = (
        OffsetDateTime::UNIX_EPOCH + Duration::days(400_000),
        String::new(),
    );
    let (at, id) = wanted.after.as_ref().unwrap_or(&first);
    Ok(sqlx::query_as(LIST.with(parts))
        .bind(state)
        .bind(kind)
        .bind(wanted.object.as_deref())
        .bind(at)
        .bind(id)
        .bind(wanted.limit)
        .fetch_all(db)
        .await?)
}
