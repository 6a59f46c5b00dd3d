//! Prints, as JSON, every operation of Stripe that the code calls and every event type that it acts on, so that CI can
//! look for each in the journal of the test run.

use dues::stripe::Operation;
use dues::stripe::event::EventType;

fn main() {
    let operations: Vec<&str> = Operation::ALL
        .iter()
        .map(|operation| operation.as_str())
        .collect();
    let events: Vec<&str> = EventType::ALL.iter().map(|kind| kind.as_str()).collect();
    println!(
        "{}",
        serde_json::json!({ "operations": operations, "events": events })
    );
}
