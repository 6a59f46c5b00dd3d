//! How often the issuer is asked, with a pace that a test can wait for.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// What the issuer publishes: ids, or nothing but an error.
type Published = Arc<std::sync::Mutex<Option<Vec<&'static str>>>>;

struct Issuer {
    jwks: Jwks,
    published: Published,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(pace: Pace) -> Result<Self, Box<dyn std::error::Error>> {
        let published = Published::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, count) = (Arc::clone(&published), Arc::clone(&asked));
        let router = Router::new().route(
            "/",
            get(async move || {
                count.fetch_add(1, Ordering::SeqCst);
                let ids = answer
                    .lock()
                    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
                let ids = ids.clone().ok_or(StatusCode::BAD_GATEWAY)?;
                // A point of RFC 7517, appendix A.1; nothing is signed here.
                let key = |id| {
                    json!({"kty": "EC", "crv": "P-256", "kid": id,
                        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
                };
                let keys: Vec<_> = ids.into_iter().map(key).collect();
                Ok::<_, StatusCode>(axum::Json(json!({ "keys": keys })))
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut jwks = Jwks::new(url)?;
        jwks.pace = pace;
        Ok(Self {
            jwks,
            published,
            asked,
        })
    }

    fn publish(&self, ids: Option<Vec<&'static str>>) {
        if let Ok(mut published) = self.published.lock() {
            *published = ids;
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn knows(&self, id: &str) -> Result<bool, AuthError> {
        Ok(matches!(self.jwks.find(Some(id)).await?, Lookup::Found(_)))
    }
}

const SHORT: Duration = Duration::from_millis(50);

async fn a_while() {
    tokio::time::sleep(2 * SHORT).await;
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_forgotten() -> Outcome {
    let pace = Pace {
        max_age: SHORT,
        ..PACE
    };
    let issuer = Issuer::start(pace).await?;
    issuer.publish(Some(vec!["old"]));
    assert!(issuer.knows("old").await?);
    issuer.publish(Some(vec!["new"]));
    assert!(issuer.knows("old").await?, "still kept");
    a_while().await;
    assert!(!issuer.knows("old").await?);
    assert!(issuer.knows("new").await?);
    assert_eq!(issuer.asked(), 2);
    Ok(())
}

#[tokio::test]
async fn old_keys_are_better_than_none() -> Outcome {
    let pace = Pace {
        max_age: SHORT,
        ..PACE
    };
    let issuer = Issuer::start(pace).await?;
    issuer.publish(Some(vec!["old"]));
    assert!(issuer.knows("old").await?);
    issuer.publish(None);
    a_while().await;
    for _ in 0..3 {
        assert!(issuer.knows("old").await?);
    }
    assert_eq!(issuer.asked(), 2, "a failure is not repeated at once");
    Ok(())
}

#[tokio::test]
async fn invented_ids_ask_again_only_after_a_pause() -> Outcome {
    let pace = Pace {
        unknown_key: SHORT,
        ..PACE
    };
    let issuer = Issuer::start(pace).await?;
    issuer.publish(Some(vec!["a"]));
    assert!(issuer.knows("a").await?);
    for id in ["x", "y", "z"] {
        assert!(!issuer.knows(id).await?);
    }
    assert_eq!(issuer.asked(), 2);
    a_while().await;
    issuer.publish(Some(vec!["a", "b"]));
    assert!(issuer.knows("b").await?);
    assert_eq!(issuer.asked(), 3);
    Ok(())
}

#[tokio::test]
async fn nor_do_they_ask_more_often_while_the_issuer_is_away() -> Outcome {
    let pace = Pace {
        failure: SHORT,
        ..PACE
    };
    let issuer = Issuer::start(pace).await?;
    issuer.publish(Some(vec!["a"]));
    assert!(issuer.knows("a").await?);
    issuer.publish(None);
    assert!(issuer.knows("x").await.is_err(), "nobody can tell");
    assert_eq!(issuer.asked(), 2);
    a_while().await;
    for id in ["x", "y"] {
        assert!(issuer.knows(id).await.is_err(), "nor can they now");
    }
    assert_eq!(
        issuer.asked(),
        2,
        "the pause after a failure is over, theirs is not"
    );
    assert!(issuer.knows("a").await?);
    Ok(())
}

#[tokio::test]
async fn a_failed_issuer_is_asked_again_after_a_pause() -> Outcome {
    let pace = Pace {
        failure: SHORT,
        ..PACE
    };
    let issuer = Issuer::start(pace).await?;
    assert!(issuer.knows("a").await.is_err());
    issuer.publish(Some(vec!["a"]));
    a_while().await;
    assert!(issuer.knows("a").await?);
    Ok(())
}

#[tokio::test]
async fn a_token_without_an_id_is_of_the_only_key_or_of_none() -> Outcome {
    let issuer = Issuer::start(PACE).await?;
    issuer.publish(Some(vec!["a"]));
    assert!(matches!(issuer.jwks.find(None).await?, Lookup::Found(_)));
    let crowded = Issuer::start(PACE).await?;
    crowded.publish(Some(vec!["a", "b"]));
    assert!(matches!(crowded.jwks.find(None).await?, Lookup::Unknown));
    Ok(())
}
