//! Who is told what has changed, and how: the feed, which other services read, and the followers, which are called.

pub mod feed;
mod discourse;
pub mod followers;
mod webhook;
