//! Who a customer is: for operators who may know, passed on and kept nowhere.

use std::collections::BTreeMap;

use super::account::request;
use crate::stripe::client::{Operation, Stripe, StripeError};
use crate::stripe::objects::{List, Person};

impl Stripe {
    /// A customer; one who was deleted has neither name nor address.
    pub async fn retrieve_customer(&self, id: &str) -> Result<Person, StripeError> {
        let operation = Operation::RetrieveCustomer;
        let nothing: BTreeMap<&str, &str> = BTreeMap::new();
        let answer = self.call(operation, request(operation, id, &nothing), None);
        Ok(answer.await?.body)
    }

    /// Customers with exactly this address, as it is written, newest first.
    pub async fn list_customers_by_email(
        &self,
        email: &str,
        limit: i64,
    ) -> Result<Vec<Person>, StripeError> {
        let operation = Operation::ListCustomers;
        let wanted = BTreeMap::from([("email", email.to_owned()), ("limit", limit.to_string())]);
        let answer = self.call(operation, request(operation, "", &wanted), None);
        let page: List<Person> = answer.await?.body;
        Ok(page.data)
    }

    /// Customers in whose names this text stands. What was changed of late may not be found yet, for up to an hour:
    /// <https://docs.stripe.com/search#data-freshness>.
    pub async fn search_customers_by_name(
        &self,
        name: &str,
        limit: i64,
    ) -> Result<Vec<Person>, StripeError> {
        let operation = Operation::SearchCustomers;
        let wanted = BTreeMap::from([("query", by_name(name)), ("limit", limit.to_string())]);
        let answer = self.call(operation, request(operation, "", &wanted), None);
        let page: List<Person> = answer.await?.body;
        Ok(page.data)
    }
}

/// The query of Stripe's search language; a quote or a backslash of the name must not end the text
/// (<https://docs.stripe.com/search#search-query-language>).
fn by_name(name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("name~\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_leave_its_quotes() {
        assert_eq!(by_name("Ada"), r#"name~"Ada""#);
        assert_eq!(
            by_name(r#"A" OR email~"b\"#),
            r#"name~"A\" OR email~\"b\\""#
        );
    }
}
