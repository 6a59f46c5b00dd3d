//! A follower that is far behind: how fast a receiver on this machine is told, beside the same requests sent bare, and
//! how much memory that takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use futures_util::{StreamExt as _, stream};
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;

use crate::children::Child;
use crate::fill::Database;
use crate::meter;
use crate::options::Role;
use crate::servers;
use crate::webhooks::Bench;

/// A secret of 32 bytes.
const SECRET: &str = "whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyBsZW4=";
/// The service tells so many members at once.
const AT_ONCE: usize = 4;
/// No machine takes longer.
const PATIENCE: Duration = Duration::from_mins(30);

/// As the service writes them: every member has had as many changes as the others.
const FILL: &str = "
    INSERT INTO feed (position, id, type, subscription_id, user_id, data, at)
    SELECT n, gen_random_uuid(), 'subscription.period_changed', s.id, s.user_id,
           jsonb_build_object('plan', s.plan, 'kind', s.kind, 'quantity', s.quantity, 'status', s.status,
               'reason', s.status_reason, 'entitled', true, 'paid_until', s.paid_until,
               'current_period_end', s.current_period_end, 'cancel_at', null, 'activated_at', s.first_paid_at,
               'ended_at', null), now()
      FROM generate_series(1, $1) AS n
      JOIN (SELECT *, row_number() OVER (ORDER BY id) AS place FROM subscriptions) s
        ON s.place = n % (SELECT count(*) FROM subscriptions) + 1
     ORDER BY n";

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    /// Rows that it was behind.
    pub rows: u64,
    /// Rows a second.
    pub rate: f64,
    /// The same requests a second, sent bare.
    pub bare: f64,
    /// Highest memory of the service when a tenth was told, and when all was, in MB.
    pub peaks: (f64, f64),
}

pub(crate) async fn measure(
    bench: &Bench<'_>,
    database: &Database,
    rows: u32,
) -> anyhow::Result<Followed> {
    let mut db = PgConnection::connect(&database.url).await?;
    sqlx::query(FILL)
        .bind(i64::from(rows))
        .execute(&mut db)
        .await?;
    for statement in [
        "UPDATE feed_head SET position = (SELECT max(position) FROM feed)",
        "INSERT INTO followers (name, kind, state, position, created_at) VALUES ('player', 'webhook', 'following', 0, now())",
        "VACUUM (ANALYZE) feed",
    ] {
        sqlx::query(statement).execute(&mut db).await?;
    }
    db.close().await?;

    let taken = Arc::new(AtomicU64::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hooks", listener.local_addr()?);
    let router = Router::new()
        .route("/hooks", post(take))
        .with_state(Arc::clone(&taken));
    let receiver = tokio::spawn(async move { axum::serve(listener, router).await });

    let bare = bare(&url, bench.cli.seconds).await?;
    taken.store(0, Ordering::Relaxed);
    let file = bench.scratch.join("followers.toml");
    let named = format!(
        "[[follower]]\nname = \"player\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_env = \"PLAYER_SECRET\"\n"
    );
    std::fs::write(&file, named)?;
    let mut variables = servers::variables(&database.url, bench.sandbox);
    for (name, value) in [
        ("DUES__FOLLOWERS__FILE", file.display().to_string()),
        ("PLAYER_SECRET", SECRET.to_owned()),
    ] {
        variables.push((name.to_owned(), value));
    }
    let began = Instant::now();
    let service = Child::start(Role::Service, bench.scratch, &variables).await?;
    let rows = u64::from(rows);
    until(&taken, rows / 10).await?;
    let early = megabytes(service.pid())?;
    until(&taken, rows).await?;
    let rate = crate::figures::number(usize::try_from(rows)?) / began.elapsed().as_secs_f64();
    let peaks = (early, megabytes(service.pid())?);
    service.stop().await?;
    receiver.abort();
    let count = taken.load(Ordering::Relaxed);
    ensure!(count == rows, "{rows} rows, and {count} were told");
    Ok(Followed {
        rows,
        rate,
        bare,
        peaks,
    })
}

fn megabytes(pid: u32) -> anyhow::Result<f64> {
    let kilobytes = usize::try_from(meter::peak(pid)?)?;
    Ok(crate::figures::number(kilobytes) / 1024.0)
}

async fn take(State(taken): State<Arc<AtomicU64>>, _: Bytes) -> StatusCode {
    taken.fetch_add(1, Ordering::Relaxed);
    StatusCode::NO_CONTENT
}

async fn until(taken: &AtomicU64, rows: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    while taken.load(Ordering::Relaxed) < rows {
        ensure!(began.elapsed() < PATIENCE, "the follower is not told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Requests of the same size and number at once, without a database, a signature or a place to keep.
async fn bare(url: &str, seconds: f64) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let body = Bytes::from(vec![b'x'; 700]);
    let began = Instant::now();
    let until = Duration::from_secs_f64(seconds);
    let sent = stream::repeat(())
        .take_while(|()| std::future::ready(began.elapsed() < until))
        .map(|()| client.post(url).body(body.clone()).send())
        .buffered(AT_ONCE);
    let sent: Vec<_> = sent.collect().await;
    let count = sent.len();
    for answer in sent {
        answer.context("the receiver does not answer")?;
    }
    Ok(crate::figures::number(count) / began.elapsed().as_secs_f64())
}
