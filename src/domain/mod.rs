//! The heart: what a purchase is and which status its facts give it. Plain data and pure functions, no I/O.

pub mod actor;
pub mod currency;
pub mod facts;
pub mod feed;
pub mod history;
pub mod ids;
pub mod invalid;
pub mod lifecycle;
pub mod listing;
pub mod plan;
pub mod records;
#[cfg(test)]
pub(crate) mod samples;
pub mod subscription;
