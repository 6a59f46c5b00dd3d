//! Sends webhooks: a fresh signature per attempt, no redirects, whatever is not 2xx is a failure.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::task::JoinSet;

use super::delivery::Job;
use crate::app::App;
use crate::world::clock::{wall, wall_ms};
use crate::world::ids;

/// Sends what is due until the sandbox stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut sending = JoinSet::new();
    loop {
        let (jobs, next) = app.world().take_due_deliveries();
        for job in jobs {
            let app = Arc::clone(&app);
            sending.spawn(async move {
                let answer = send(&app.client, &job).await;
                app.world().finish_delivery(job.delivery, answer);
                app.deliveries_changed();
            });
        }
        let pause = next.map_or(3_600_000, |due| (due - wall_ms()).max(1));
        let pause = Duration::from_millis(u64::try_from(pause).unwrap_or(1));
        tokio::select! {
            () = app.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(_) = sending.join_next() => {}
            () = app.stop.cancelled() => return,
        }
    }
}

async fn send(client: &reqwest::Client, job: &Job) -> Result<u16, String> {
    let response = client
        .post(&job.url)
        .timeout(Duration::from_millis(job.timeout_ms))
        .header("content-type", "application/json; charset=utf-8")
        .header(
            "user-agent",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        )
        .header(
            "stripe-signature",
            signature(&job.secrets, &job.body, wall()),
        )
        .body(job.body.clone())
        .send()
        .await;
    match response {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) if error.is_timeout() => Err("timed out".to_owned()),
        Err(error) if error.is_connect() => Err("cannot connect".to_owned()),
        Err(error) => Err(error.without_url().to_string()),
    }
}

/// `t=…,v1=…` with one `v1` per secret, and a `v0` that means nothing.
fn signature(secrets: &[String], body: &str, at: i64) -> String {
    let mut header = format!("t={at}");
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        header.push_str(",v1=");
        header.push_str(&hex(tag.as_ref()));
    }
    let bogus = ids::random(32);
    header.push_str(",v0=");
    header.push_str(&hex(bogus.as_bytes()));
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn there_is_one_v1_per_secret_and_a_v0() {
        let header = signature(&["whsec_a".into(), "whsec_b".into()], "{}", 12);
        assert_eq!(header.matches("v1=").count(), 2);
        assert_eq!(header.matches("v0=").count(), 1);
        assert!(header.starts_with("t=12,v1="));
    }

    #[test]
    fn the_signature_is_hmac_sha256_over_time_dot_body() {
        // Computed with: printf '1.{}' | openssl dgst -sha256 -hmac whsec_test
        let expected = "7500d5d4be4b3ef07af1fe56f7d522d135cdaa7530de557e67cc1049c52de094";
        let header = signature(&["whsec_test".into()], "{}", 1);
        assert!(header.contains(&format!("v1={expected},")), "{header}");
    }
}
