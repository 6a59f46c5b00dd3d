//! What those see and do who look after members.

mod acts;
mod cut_off;
mod lists;
mod login;
mod search;
mod story;
mod today;
mod traps;

use serde_json::Value;
use sqlx::AssertSqlSafe;

use crate::harness::TestApp;

impl TestApp {
    /// What an operator is answered at that path.
    pub(crate) async fn looked_at(&self, path: &str) -> Value {
        let call = self.get(path).bearer(&self.staff("boss", &["operator"]));
        call.send().await.assert_status(200).json()
    }

    /// Writes into the database by hand.
    pub(crate) async fn by_hand(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

/// One field of each entry of a list.
pub(crate) fn all(list: &Value, field: &str) -> Vec<String> {
    let entries = list["data"].as_array().expect("a list").iter();
    let text = |entry: &Value| match &entry[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    entries.map(text).collect()
}
