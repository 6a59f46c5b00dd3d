//! Who is told what has changed, and how: the feed, which other services read.

pub mod feed;
