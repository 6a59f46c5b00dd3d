//! A forum: groups and `sync_sso`.
