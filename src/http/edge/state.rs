//! What every handler can reach.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::health::Readiness;
use crate::auth::Verifier;
use crate::clock::Clock;
use crate::outward::feed::Feed;
use crate::outward::followers::Followers;
use crate::services::Services;
use crate::services::events::Events;
use crate::services::members::Members;
use crate::services::operators::Operators;
use crate::settings::Settings;
use crate::telemetry::Metrics;

/// Shared by all requests; cloning copies references.
#[derive(Clone)]
pub struct AppState {
    /// Settings, checked at start.
    pub settings: Arc<Settings>,
    /// The clock.
    pub clock: Clock,
    /// Verifies members' tokens.
    pub verifier: Arc<Verifier>,
    /// Verifies operators' tokens: the same one, unless they have a login of their own.
    pub staff_verifier: Arc<Verifier>,
    /// The use cases.
    pub services: Arc<Services>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What the last look at the database said.
    pub readiness: Readiness,
    /// Cancelled when the service is told to stop: it still answers, but wants no more.
    pub draining: CancellationToken,
    /// Cancelled when the deadline of a shutdown has passed: requests still under way are cut off.
    pub cut: CancellationToken,
}

impl FromRef<AppState> for Arc<Verifier> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.verifier)
    }
}

impl FromRef<AppState> for Members {
    fn from_ref(state: &AppState) -> Self {
        state.services.members.clone()
    }
}

impl FromRef<AppState> for Operators {
    fn from_ref(state: &AppState) -> Self {
        state.services.operators.clone()
    }
}

impl FromRef<AppState> for Arc<Settings> {
    fn from_ref(state: &AppState) -> Self {
        Arc::clone(&state.settings)
    }
}

impl FromRef<AppState> for Clock {
    fn from_ref(state: &AppState) -> Self {
        state.clock.clone()
    }
}

impl FromRef<AppState> for Feed {
    fn from_ref(state: &AppState) -> Self {
        state.services.feed.clone()
    }
}

impl FromRef<AppState> for Followers {
    fn from_ref(state: &AppState) -> Self {
        state.services.followers.clone()
    }
}

impl FromRef<AppState> for Events {
    fn from_ref(state: &AppState) -> Self {
        state.services.events.clone()
    }
}
