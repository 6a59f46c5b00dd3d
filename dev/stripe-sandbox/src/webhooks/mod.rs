//! Webhooks: what is sent when, signed how, and tried again how often.

pub(crate) mod delivery;
pub(crate) mod sender;

use std::time::Duration;

use crate::app::App;

/// Waits as the hosted page does: until the endpoints have answered, or time is up.
pub(crate) async fn wait_for_delivery(app: &App, event: &str) {
    let wait = Duration::from_millis(app.world().settings.redirect_wait_ms);
    app.wait_for(wait, |world| world.is_delivered(event)).await;
}
