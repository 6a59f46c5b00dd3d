//! What tests may rely on: a database each, cheaply, whoever else runs.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use dev_postgres::{Cluster, TestDatabase};
use sqlx::{Connection, PgConnection, PgPool};

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// Leaves its pool open, as a careless caller would.
async fn prepare(url: String) -> Outcome {
    let pool = PgPool::connect(&url).await?;
    sqlx::query("CREATE TABLE member (id int PRIMARY KEY)")
        .execute(&pool)
        .await?;
    std::mem::forget(pool);
    Ok(())
}

async fn exists(name: &str) -> Result<bool, Box<dyn StdError + Send + Sync>> {
    let cluster = Cluster::test().await?;
    let mut session = PgConnection::connect(&cluster.url("postgres")).await?;
    let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    Ok(sqlx::query_scalar(sql)
        .bind(name)
        .fetch_one(&mut session)
        .await?)
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own_that_goes_with_it() -> Outcome {
    let first = TestDatabase::create("one-table", prepare).await?;
    let second = TestDatabase::create("one-table", prepare).await?;
    let pool = PgPool::connect(first.url()).await?;
    sqlx::query("INSERT INTO member VALUES (1)")
        .execute(&pool)
        .await?;
    let mut session = PgConnection::connect(second.url()).await?;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM member")
        .fetch_one(&mut session)
        .await?;
    assert_eq!(count, 0);

    let name = first.name().to_owned();
    // Though a pool still has sessions in it.
    drop(first);
    assert!(!exists(&name).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn template_is_prepared_once_however_many_ask() -> Outcome {
    let key = format!("key of {:?}", Instant::now());
    let prepared = Arc::new(AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (key, prepared) = (key.clone(), Arc::clone(&prepared));
        tasks.push(tokio::spawn(async move {
            TestDatabase::create(&key, async |url| {
                prepared.fetch_add(1, Ordering::SeqCst);
                prepare(url).await
            })
            .await
        }));
    }
    let mut databases = Vec::new();
    for task in tasks {
        databases.push(task.await??);
    }
    assert_eq!(prepared.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn failed_preparation_is_reported_and_tried_again() -> Outcome {
    let key = format!("key of {:?}", Instant::now());
    let failed = TestDatabase::create(&key, async |_| Err("migration 7 is broken".into())).await;
    let said = failed.map_or_else(|error| error.to_string(), |_| String::new());
    assert!(said.contains("migration 7 is broken"), "{said}");
    TestDatabase::create(&key, prepare).await?;
    Ok(())
}

#[tokio::test]
async fn database_of_a_failed_test_is_kept() -> Outcome {
    let test = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let database = TestDatabase::create("one-table", prepare).await?;
            if !database.name().is_empty() {
                std::panic::panic_any(database.name().to_owned());
            }
            Outcome::Ok(())
        })
    });
    let Err(panicked) = test.join() else {
        return Err("it did not fail".into());
    };
    let name = panicked.downcast::<String>().map_err(|_| "no name")?;
    assert!(exists(&name).await?);

    let cluster = Cluster::test().await?;
    let mut session = PgConnection::connect(&cluster.url("postgres")).await?;
    let drop_it = sqlx::AssertSqlSafe(format!("DROP DATABASE {name}"));
    sqlx::query(drop_it).execute(&mut session).await?;
    Ok(())
}
