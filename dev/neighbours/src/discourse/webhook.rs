//! What the forum tells others: that somebody has signed up or logged in.

use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::connect::sign;
use super::{Forum, Webhook};

/// How much of an answer is kept.
const MOST: usize = 64 * 1024;

/// Sends events about a user, one after the other, and says what the receiver answered; nothing without a receiver.
pub(super) async fn send(forum: &Forum, events: &[&str], user: &Value) -> Vec<Value> {
    let Some(webhook) = &forum.webhook else {
        return Vec::new();
    };
    let body = json!({"user": user}).to_string();
    let mut sent = Vec::new();
    for event in events {
        let id = next_id(forum);
        let delivery = match deliver(forum, webhook, event, id, &body).await {
            Ok((status, answer)) => {
                json!({"event": event, "id": id, "status": status, "body": answer})
            }
            Err(error) => json!({"event": event, "id": id, "error": error.to_string()}),
        };
        forum.world().deliveries.push(delivery.clone());
        sent.push(delivery);
    }
    sent
}

fn next_id(forum: &Forum) -> u64 {
    let mut world = forum.world();
    let id = world.next_event;
    world.next_event += 1;
    id
}

async fn deliver(
    forum: &Forum,
    webhook: &Webhook,
    event: &str,
    id: u64,
    body: &str,
) -> Result<(u16, String), reqwest::Error> {
    let signature = format!("sha256={}", sign(&webhook.secret, body.as_bytes()));
    let request = forum.client.post(&webhook.url);
    let request = request
        .header(CONTENT_TYPE, "application/json")
        .header("User-Agent", "Discourse/3.6.0.beta1")
        .header("X-Discourse-Instance", &forum.url)
        .header("X-Discourse-Event-Id", id)
        .header("X-Discourse-Event-Type", "user")
        .header("X-Discourse-Event", event)
        .header("X-Discourse-Event-Signature", signature);
    let mut response = request.body(body.to_owned()).send().await?;
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        answer.extend_from_slice(&chunk);
        if answer.len() >= MOST {
            answer.truncate(MOST);
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok((response.status().as_u16(), answer))
}
