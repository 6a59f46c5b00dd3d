//! Answers that go wrong on purpose, each for a number of calls.

use serde::{Deserialize, Serialize};

use super::world::World;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FaultKind {
    /// An HTTP status with a body that isn't GraphQL's; nothing was done.
    Status { status: u16 },
    /// A GraphQL error with HTTP 200; nothing was done.
    Errors { code: String, message: String },
    /// The connection is closed without an answer; nothing was done.
    Close,
    /// The connection is closed without an answer; it was done.
    CloseAfter,
    /// Done after a pause, even if the caller has gone.
    StallBefore { ms: u64 },
    /// Done at once, answered after a pause.
    StallAfter { ms: u64 },
    /// HTTP 200 with a body that isn't JSON; it was done.
    Garbage,
}

/// A fault that is waiting for its call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    #[serde(flatten)]
    pub kind: FaultKind,
    /// The root field that it hits; without one, any GraphQL request.
    #[serde(default)]
    pub operation: Option<String>,
    /// How many calls it will still hit.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Takes the fault for a request, the oldest that fits.
pub(super) fn take(world: &mut World, fields: &[String]) -> Option<FaultKind> {
    let fits = |fault: &Fault| match &fault.operation {
        Some(operation) => fields.contains(operation),
        None => true,
    };
    let at = world.faults.iter().position(fits)?;
    let fault = world.faults.get_mut(at)?;
    let kind = fault.kind.clone();
    fault.times = fault.times.saturating_sub(1);
    if fault.times == 0 {
        world.faults.remove(at);
    }
    Some(kind)
}
