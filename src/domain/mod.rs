//! The heart: what a purchase is and which status its facts give it. Plain data and pure functions, no I/O.

pub mod currency;
pub mod facts;
pub mod history;
pub mod ids;
pub mod lifecycle;
pub mod plan;
#[cfg(test)]
mod samples;
pub mod subscription;
