//! A webhook's body.
#![no_main]

use dues::stripe::observe::Observer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let observer = Observer::new("dues_subscription_id");
    drop(observer.event(body));
});
